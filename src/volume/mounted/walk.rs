// SPDX-License-Identifier: GPL-2.0-or-later
//! From a path to a host file: walks the host's folders, comparing names as Windows does.
//!
//! ```text
//! path -> part -> the name as written    -> there: that one
//!                 names in another case  -> one: that one; several: refused
//! ```
//!
//! At each step the entry itself is looked at, never what a link points to: a link (ntfs-3g shows junctions
//! and other reparse points as links too) is `Other` and not walked through, and `..` is no name. So a
//! path cannot leave the root. Names that are not UTF-8 are listed with replacement characters and cannot be
//! reached.
//!
//! A host folder may itself compare without case (vfat, `lowntfs-3g`, macOS, Windows). Then the name as
//! written would be found in any case, and one file would go by two names; so there the folder is searched.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::volume::{EntryKind, path};

/// The mounted folder.
#[derive(Debug)]
pub(super) struct Tree {
    /// Absolute, without links.
    root: PathBuf,
}

/// A file or folder that a path led to.
#[derive(Debug)]
pub(super) struct Node {
    /// Where it is on the host.
    pub(super) host: PathBuf,
    /// Its name as stored; empty for the root.
    pub(super) name: String,
    /// What it is.
    pub(super) kind: EntryKind,
    /// Length in bytes on the host.
    pub(super) len: u64,
}

impl Node {
    fn new(host: PathBuf, name: String, metadata: &Metadata) -> Node {
        let kind = match metadata.file_type() {
            kind if kind.is_file() => EntryKind::File,
            kind if kind.is_dir() => EntryKind::Directory,
            _ => EntryKind::Other,
        };
        Node {
            host,
            name,
            kind,
            len: if kind == EntryKind::File {
                metadata.len()
            } else {
                0
            },
        }
    }
}

impl Tree {
    /// The tree below `root`, which may be reached through links.
    pub(super) fn open(root: &Path) -> Result<Tree> {
        let opening = || Error::io(format!("opening {}", root.display()));
        let real = root.canonicalize().map_err(opening())?;
        if !fs::metadata(&real).map_err(opening())?.is_dir() {
            return Err(Error::unsupported(
                format!("{} is not a folder", root.display()),
                "give the folder where the Windows volume is mounted",
            ));
        }
        Ok(Tree { root: real })
    }

    /// The folder's absolute path.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// What `path` leads to; `None` when a part of it does not exist.
    pub(super) fn resolve(&self, path: &str) -> Result<Option<Node>> {
        let looking = Error::io(format!("looking for {path}"));
        let metadata = fs::symlink_metadata(&self.root).map_err(looking)?;
        let mut node = Node::new(self.root.clone(), String::new(), &metadata);
        for part in path::parts(path) {
            match node.kind {
                EntryKind::Directory => {}
                EntryKind::File => return Ok(None),
                EntryKind::Other => return Err(not_followed(path, &node.name)),
            }
            let Some(name) = stored_name(path, &node.host, part)? else {
                return Ok(None);
            };
            let host = node.host.join(&name);
            let Some(metadata) = look(&host).map_err(Error::io(format!("looking for {path}")))?
            else {
                return Ok(None);
            };
            node = Node::new(host, name, &metadata);
        }
        Ok(Some(node))
    }

    /// What `path` leads to; an error when it does not exist.
    fn expect(&self, path: &str) -> Result<Node> {
        self.resolve(path)?.ok_or_else(|| path::not_found(path))
    }

    /// The plain file that `path` leads to.
    pub(super) fn expect_file(&self, path: &str) -> Result<Node> {
        let node = self.expect(path)?;
        match node.kind {
            EntryKind::File => Ok(node),
            EntryKind::Directory => Err(Error::unsupported(
                format!("{path} is a folder"),
                "give the path of a file in it",
            )),
            EntryKind::Other => Err(not_followed(path, &node.name)),
        }
    }

    /// What the folder at `path` holds, in no order.
    pub(super) fn list(&self, path: &str) -> Result<Vec<Node>> {
        let node = self.expect(path)?;
        match node.kind {
            EntryKind::Directory => {}
            EntryKind::File => {
                return Err(Error::unsupported(
                    format!("{path} is not a folder"),
                    "give the path of a folder",
                ));
            }
            EntryKind::Other => return Err(not_followed(path, &node.name)),
        }
        let listing = || Error::io(format!("listing {path}"));
        let mut nodes = Vec::new();
        for entry in fs::read_dir(&node.host).map_err(listing())? {
            let entry = entry.map_err(listing())?;
            let name = entry.file_name().to_string_lossy().into_owned();
            match look(&entry.path()) {
                Ok(Some(metadata)) => nodes.push(Node::new(entry.path(), name, &metadata)),
                Ok(None) => {} // deleted meanwhile
                // One bad entry must not hide the others; whoever opens it is told.
                Err(_) => nodes.push(Node {
                    host: entry.path(),
                    name,
                    kind: EntryKind::Other,
                    len: 0,
                }),
            }
        }
        Ok(nodes)
    }
}

fn not_followed(path: &str, name: &str) -> Error {
    Error::unsupported(
        format!(
            "{path}: {name} is a link or another thing that is neither file nor folder; it is not followed"
        ),
        "give the path that it points to",
    )
}

/// What lies at `host`, itself and not what it points to; `None` when nothing does.
fn look(host: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(host) {
        Ok(metadata) => Ok(Some(metadata)),
        // Names that the host cannot have: with a zero, or too long.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::InvalidFilename
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The name in `folder` that `part` means, as it is stored; `None` when there is none.
fn stored_name(path: &str, folder: &Path, part: &str) -> Result<Option<String>> {
    if part == ".." {
        return Ok(None);
    }
    let looking = || Error::io(format!("looking for {path}"));
    if is_stored_exactly(folder, part).map_err(looking())? {
        return Ok(Some(part.to_owned()));
    }
    let mut found: Option<String> = None;
    let mut several = false;
    for entry in fs::read_dir(folder).map_err(looking())? {
        let name = entry.map_err(looking())?.file_name();
        let Some(name) = name.to_str() else {
            continue;
        };
        if name == part {
            return Ok(Some(name.to_owned()));
        }
        if same_without_case(name, part) {
            several |= found.is_some();
            found = Some(name.to_owned());
        }
    }
    if several {
        return Err(Error::refused(
            format!("{path}: several names differ from {part} in upper and lower case only"),
            "write the name exactly as it is stored",
        ));
    }
    Ok(found)
}

/// True when `folder` surely stores the name `part` as it is written; found without searching the folder,
/// which may hold many thousands of names.
#[cfg(unix)]
fn is_stored_exactly(folder: &Path, part: &str) -> io::Result<bool> {
    if look(&folder.join(part))?.is_none() {
        return Ok(false);
    }
    let mut other = part.to_uppercase();
    if other == part {
        other = part.to_lowercase();
    }
    // Found in both spellings: there are two, or the folder compares without case.
    Ok(other == part || look(&folder.join(other))?.is_none())
}

/// Never sure here: the host would also find 8.3 names, devices and names with dots at the end.
#[cfg(not(unix))]
fn is_stored_exactly(_folder: &Path, _part: &str) -> io::Result<bool> {
    Ok(false)
}

fn same_without_case(left: &str, right: &str) -> bool {
    left.chars().map(upcase).eq(right.chars().map(upcase))
}

/// One character in upper case, as Windows does it: one for one, so that "ß" stays; and only where the way
/// back leads to the same character, so that "ı" and "ſ" stay, which are letters of their own to Windows.
fn upcase(character: char) -> char {
    let single =
        |mut mapped: std::char::ToUppercase| mapped.next().filter(|_| mapped.next().is_none());
    match single(character.to_uppercase()) {
        Some(upper) if upper.to_lowercase().eq([character]) => upper,
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use super::same_without_case;

    #[test]
    fn names_compare_as_in_windows() {
        assert!(same_without_case("system32", "SYSTEM32"));
        assert!(same_without_case("Überprüfung", "üBERPRÜFUNG"));
        assert!(same_without_case("систем", "СИСТЕМ"));
        assert!(!same_without_case("straße", "STRASSE"));
        assert!(!same_without_case("ſystem", "SYSTEM"));
        assert!(!same_without_case("wındows", "WINDOWS"));
        assert!(!same_without_case("SYSTEM", "SYSTEM1"));
        assert!(!same_without_case("SYSTEM1", "SYSTEM"));
    }
}
