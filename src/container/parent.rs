// SPDX-License-Identifier: GPL-2.0-or-later
//! Finds and opens the parent of a differencing disk.
//!
//! ```text
//! stored in the child            looked for
//! relative  .\base.vhdx          that path, from the folder of the child
//! absolute  C:\VMs\base.vhdx     base.vhdx in the folder of the child; on Windows first that path itself
//! ```
//!
//! In that order, without regard to case where the host has any. A file counts only when it is what the child
//! calls its parent: the VHD with that unique id, the VHDX with that data write GUID. Anything else under the
//! name is a broken chain, for reading it as the parent would give another disk. Parents are opened for reading
//! only, each over an overlay of its own that nobody commits.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::Container;
use crate::device::overlay::Overlay;
use crate::device::{self, Access, SharedDevice};
use crate::error::{Error, Result, ResultExt};

/// How many files a chain may have: ours. Hyper-V allows 50 checkpoints.
const MAX_CHAIN: usize = 64;

/// By what a child knows its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// A VHD's unique id.
    Vhd(Uuid),
    /// A VHDX's data write GUID.
    Vhdx(Uuid),
}

impl Identity {
    fn describe(self) -> String {
        match self {
            Identity::Vhd(id) => format!("the VHD with the unique id {id}"),
            Identity::Vhdx(id) => format!("the VHDX with the data write GUID {id}"),
        }
    }
}

/// A Windows path as a child stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StoredPath {
    /// From the folder of the child.
    Relative(String),
    /// With a drive or volume.
    Absolute(String),
}

impl StoredPath {
    fn text(&self) -> &str {
        let (StoredPath::Relative(text) | StoredPath::Absolute(text)) = self;
        text
    }
}

/// The files of a chain that are being opened, the child first, links resolved.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain(Vec<PathBuf>);

impl Chain {
    /// The chain that begins at `path`.
    pub(super) fn of(path: Option<&Path>) -> Chain {
        Chain(path.map(real).into_iter().collect())
    }
}

/// What a child says about its parent.
pub(super) struct Wanted<'a> {
    pub(super) identity: Identity,
    /// Another one that counts as well.
    pub(super) identity_2: Option<Identity>,
    /// Where in the child's file it says so.
    pub(super) place: u64,
    /// How it names it, best first.
    pub(super) paths: &'a [StoredPath],
    /// When the parent's file was changed last, in seconds since 2000; `None` when that is not stored.
    pub(super) time_stamp: Option<u32>,
}

/// Opens the parent of the child whose file is `child`.
///
/// `Refused`, naming what was looked for, when it is not there; `Damaged` when another file has its name, or
/// the chain runs in a circle.
pub(super) fn open(wanted: &Wanted<'_>, child: Option<&Path>, chain: &Chain) -> Result<Container> {
    let Some(child) = child else {
        return Err(missing(wanted, &[]));
    };
    let candidates = candidates(child, wanted.paths);
    let mut failure = None;
    for path in candidates.iter().filter(|path| path.is_file()) {
        match open_candidate(wanted, path, chain) {
            Ok(parent) => return Ok(parent),
            // The first file that has the name tells most.
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| missing(wanted, &candidates)))
}

fn open_candidate(wanted: &Wanted<'_>, path: &Path, chain: &Chain) -> Result<Container> {
    let shown = path.display();
    let path = real(path);
    let circle = |found: &str| {
        Error::damaged(
            "chain of differencing disks",
            wanted.place,
            "a parent that is another file",
            found,
        )
    };
    if chain.0.contains(&path) {
        return Err(circle(&format!("{shown} again")));
    }
    if chain.0.len() >= MAX_CHAIN {
        return Err(circle(&format!("more than {MAX_CHAIN} files")));
    }
    let mut longer = chain.clone();
    longer.0.push(path.clone());
    let device: SharedDevice = Arc::new(Overlay::new(device::open(&path, Access::Read)?));
    let mut parent =
        super::open_in(device, Some(&path), &longer).context(|| format!("the parent {shown}"))?;
    let expected = [Some(wanted.identity), wanted.identity_2];
    let found = parent.identity();
    if found.is_none() || !expected.contains(&found) {
        return Err(Error::damaged(
            "parent of the differencing disk",
            wanted.place,
            wanted.identity.describe(),
            match found {
                Some(found) => format!("{} in {shown}", found.describe()),
                None => format!("no VHD or VHDX in {shown}"),
            },
        )
        .with_hint(
            "opening the parent",
            "the parent was changed after the checkpoint was made, or another disk took its name: restore the \
             parent as it was; nothing was changed",
        ));
    }
    let mut notes: Vec<String> = parent
        .notes
        .drain(..)
        .map(|note| format!("In the parent {shown}: {note}"))
        .collect();
    notes.insert(
        0,
        format!("What this disk does not hold is read from its parent {shown}."),
    );
    if let Some(stored) = wanted.time_stamp
        && modified(&path).is_some_and(|found| found != stored)
    {
        notes.push(format!(
            "The parent {shown} carries another time of change than when this disk was made from it (a copied \
             file does, and so does a changed one). Its unique id is the right one."
        ));
    }
    parent.notes = notes;
    Ok(parent)
}

/// When the file was changed last, in seconds since 2000.
fn modified(path: &Path) -> Option<u32> {
    let time = std::fs::metadata(path).ok()?.modified().ok()?;
    let since_1970 = time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    u32::try_from(since_1970.checked_sub(super::vhd::EPOCH)?).ok()
}

/// The refusal when none of `candidates` is there.
fn missing(wanted: &Wanted<'_>, candidates: &[PathBuf]) -> Error {
    let stored: Vec<String> = wanted
        .paths
        .iter()
        .map(|path| format!("{:?}", path.text()))
        .collect();
    let stored = match stored.is_empty() {
        true => "no name".to_owned(),
        false => stored.join(", "),
    };
    let looked: Vec<String> = candidates
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let looked = match looked.is_empty() {
        true => String::new(),
        false => format!("; looked for {}", looked.join(", ")),
    };
    Error::refused(
        format!(
            "this is a differencing disk (a checkpoint), and its parent is missing: {}, stored as {stored}{looked}",
            wanted.identity.describe()
        ),
        "put the parent, and its own parents, into the same folder under that name; or merge the checkpoint where \
         the parent is (delete it in Hyper-V Manager, or `Merge-VHD`) and use the merged disk; do not convert it \
         with qemu-img, which loses the parent's data",
    )
}

/// The places to look at, each once.
fn candidates(child: &Path, stored: &[StoredPath]) -> Vec<PathBuf> {
    let child = real(child);
    let folder = child.parent().unwrap_or(Path::new("."));
    let mut found: Vec<PathBuf> = Vec::new();
    let mut add = |path: PathBuf| {
        if !found.contains(&path) {
            found.push(path);
        }
    };
    for path in stored {
        let text = path.text();
        let relative = matches!(path, StoredPath::Relative(_))
            && !text.contains(':')
            && !text.starts_with(['\\', '/']);
        let parts = || text.split(['\\', '/']).filter(|part| !part.is_empty());
        if relative {
            let mut place = folder.to_owned();
            place.extend(parts().filter(|part| *part != "."));
            add(place);
        } else if cfg!(windows) && text.chars().nth(1) == Some(':') {
            // A drive's path only: one on another machine would tell that machine who opens the file.
            add(PathBuf::from(text));
        }
        if let Some(name) = parts().next_back().filter(|name| *name != "..") {
            add(beside(folder, name));
        }
    }
    found
}

/// `name` in `folder`: the file of exactly that name, or else one that differs in case only.
fn beside(folder: &Path, name: &str) -> PathBuf {
    let exact = folder.join(name);
    if exact.exists() {
        return exact;
    }
    let wanted = name.to_lowercase();
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            let found = path.file_name().and_then(|name| name.to_str());
            found.is_some_and(|found| found.to_lowercase() == wanted)
        })
        .unwrap_or(exact)
}

/// The path with links resolved, where it leads to something.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_windows_become_places_beside_the_child() {
        let folder = tempfile::tempdir().unwrap();
        let folder = std::fs::canonicalize(folder.path()).unwrap();
        let child = folder.join("child.vhdx");
        let found = candidates(
            &child,
            &[
                StoredPath::Relative(r".\base.vhdx".into()),
                StoredPath::Relative(r"..\other\Base.vhdx".into()),
                StoredPath::Absolute(r"C:\VMs\base.vhdx".into()),
                StoredPath::Absolute(r"\\?\Volume{0}\VMs\far.vhdx".into()),
                StoredPath::Relative(r"C:\trick.vhdx".into()),
                StoredPath::Relative(r"\\server\share\x.vhdx".into()),
                StoredPath::Relative("..".into()),
            ],
        );
        let expected = [
            folder.join("base.vhdx"),
            folder.join("../other/Base.vhdx"),
            folder.join("Base.vhdx"),
            folder.join("far.vhdx"),
            folder.join("trick.vhdx"),
            folder.join("x.vhdx"),
            folder.join(".."),
        ];
        assert_eq!(found, expected);
    }
}
