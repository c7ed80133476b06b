// SPDX-License-Identifier: GPL-2.0-or-later
//! Files that are to be made or removed: kept here until a commit.
//!
//! What is to be removed is kept whole, because an undo has to make it again: content, descriptor and mode. A file with
//! anything more to it (another name, another stream) is refused. The paths of both stand for what is on the host, so
//! nothing is made or removed below what is renamed in the same operation.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::lookup::Lookup;
use super::{Fingerprint, MountedFolder, file, lock};
use crate::device::attribute::{self, Security};
use crate::device::{FileCopy, HostOperation};
use crate::error::{Error, Result, ResultExt};
use crate::volume::{name, path};

/// The longest file that is made or removed, in bytes; ours, because it is held in memory and in the journal.
const LONGEST: u64 = 1 << 30;

const WITHOUT_THE_FOLDER: &str =
    "give coldfix the disk itself, or its image, instead of the mounted folder";

/// By host path, what is to be made and what is to be removed.
#[derive(Debug, Default)]
pub(super) struct WholeFiles {
    made: BTreeMap<PathBuf, Arc<FileCopy>>,
    removed: BTreeMap<PathBuf, Arc<FileCopy>>,
}

impl WholeFiles {
    /// The file at `host`, when it is one that is to be made.
    pub(super) fn made(&self, host: &Path) -> Option<&FileCopy> {
        self.made.get(host).map(Arc::as_ref)
    }

    /// Gives a file that is to be made another content; false when it is none of those.
    pub(super) fn replace(&mut self, host: &Path, content: &[u8]) -> bool {
        match self.made.get_mut(host) {
            Some(made) => {
                *made = Arc::new(FileCopy {
                    content: content.to_vec(),
                    descriptor: made.descriptor.clone(),
                    mode: made.mode,
                });
                true
            }
            None => false,
        }
    }

    /// Removes a file; true when the host has to.
    pub(super) fn remove(&mut self, host: &Path, copy: FileCopy) -> bool {
        if self.made.remove(host).is_some() {
            return false;
        }
        self.removed.insert(host.to_owned(), Arc::new(copy));
        true
    }

    /// What the host is to do, sorted by file.
    pub(super) fn operations(&self) -> Vec<HostOperation> {
        let made = self.made.iter().map(|(host, copy)| HostOperation::Make {
            file: host.clone(),
            copy: Arc::clone(copy),
        });
        let removed = self
            .removed
            .iter()
            .map(|(host, copy)| HostOperation::Remove {
                file: host.clone(),
                copy: Arc::clone(copy),
            });
        made.chain(removed).collect()
    }
}

impl MountedFolder {
    /// Keeps a file that is to be made at `path`.
    pub(super) fn make(&self, path: &str, copy: FileCopy) -> Result<()> {
        crate::volume::Volume::check_writable(self)?;
        let parts: Vec<&str> = path::parts(path).collect();
        let Some((name, above)) = parts.split_last() else {
            return Err(Error::refused(
                "the root folder exists on every volume",
                "give the path of something in it",
            ));
        };
        name::check(name)?;
        let mut lookup = Lookup::new(&self.tree);
        let folder = lookup.find(&above.join("/"))?;
        if let Some(taken) = lookup.taken(path, &folder, None, name)? {
            return Err(Error::refused(
                format!("{path} cannot be made: there is {taken}"),
                "choose another name, or remove the old one first",
            ));
        }
        let content = u64::try_from(copy.content.len()).unwrap_or(u64::MAX);
        if content > LONGEST {
            return Err(path::too_long(path, content, LONGEST));
        }
        file::check_mounted_for_writing(folder.as_path())?;
        let host = folder.join(name);
        self.check_not_moved(path, &host)?;
        lock(&self.whole).made.insert(host.clone(), Arc::new(copy));
        self.tree.changes_mut().make(&host, content);
        Ok(())
    }

    /// Where the file at `path` is and what an undo would make again; an error when it cannot be removed so that it
    /// could be made again.
    pub(super) fn removal(&self, path: &str) -> Result<(PathBuf, FileCopy)> {
        let mut lookup = Lookup::new(&self.tree);
        let host = lookup.find(path)?;
        if let Some(made) = lock(&self.whole).made(&host) {
            return Ok((host, made.clone()));
        }
        self.tree.expect_file(path)?;
        self.check_not_moved(path, &host)?;
        if let Some(folder) = host.parent() {
            file::check_mounted_for_writing(folder)?;
        }
        let refuse = |why: &str| {
            Err(Error::refused(
                format!("{path} is not removed: {why}"),
                WITHOUT_THE_FOLDER,
            ))
        };
        if has_other_names(path, &host)? {
            return refuse("it has more than one name (hard links)");
        }
        if has_streams(&host) {
            return refuse("it has more than its content (other streams)");
        }
        let changed = self
            .files()
            .get(&host)
            .is_some_and(|known| known.patch.is_some());
        if changed || lock(&self.descriptors).is_pending(&host) {
            return refuse("it is changed in the same operation");
        }
        let content = file::read(&host, LONGEST).context(|| format!("reading {path}"))?;
        let before = Fingerprint::of(&content);
        let known = self.files().get(&host).map(|known| known.before);
        if known.is_some_and(|known| known != before) {
            return Err(super::changed(path));
        }
        let (descriptor, mode) = permissions(path, &host)?;
        let copy = FileCopy {
            content,
            descriptor,
            mode,
        };
        Ok((host, copy))
    }

    /// Refuses what is only to be made: it is made as it is to be, not changed afterwards.
    pub(super) fn check_not_made(&self, path: &str, host: &Path) -> Result<()> {
        match lock(&self.whole).made(host) {
            None => Ok(()),
            Some(_) => Err(Error::refused(
                format!("{path} is made in the same operation"),
                "do one after the other, in runs of their own",
            )),
        }
    }

    /// Refuses to rename what holds a file that is to be made or removed, or is one.
    pub(super) fn check_nothing_made_below(&self, path: &str, host: &Path) -> Result<()> {
        let whole = lock(&self.whole);
        let mut files = whole.made.keys().chain(whole.removed.keys());
        match files.any(|file| file.starts_with(host)) {
            false => Ok(()),
            true => Err(Error::refused(
                format!("in {path} a file is made or removed in the same operation"),
                "do one after the other, in runs of their own",
            )),
        }
    }

    fn check_not_moved(&self, path: &str, host: &Path) -> Result<()> {
        match self.tree.changes().is_moved(host) {
            false => Ok(()),
            true => Err(Error::refused(
                format!("{path}, or a folder above it, is renamed in the same operation"),
                "do one after the other, in runs of their own",
            )),
        }
    }
}

/// The descriptor of a file, where its file system offers one, and its mode.
pub(super) fn permissions(path: &str, host: &Path) -> Result<(Option<Arc<[u8]>>, u32)> {
    let reading = || Error::io(format!("reading the permissions of {path}"));
    let descriptor = match attribute::read(host).map_err(reading())? {
        Security::Found { descriptor, .. } => Some(descriptor.into()),
        Security::NotOffered => None,
        Security::Missing => return Err(path::not_found(path)),
    };
    let metadata = fs::symlink_metadata(host).map_err(reading())?;
    Ok((descriptor, mode(&metadata)))
}

#[cfg(unix)]
fn mode(metadata: &fs::Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o777
}

#[cfg(not(unix))]
fn mode(_: &fs::Metadata) -> u32 {
    0
}

#[cfg(unix)]
fn has_other_names(path: &str, host: &Path) -> Result<bool> {
    let looking = Error::io(format!("looking at {path}"));
    let metadata = fs::symlink_metadata(host).map_err(looking)?;
    Ok(std::os::unix::fs::MetadataExt::nlink(&metadata) > 1)
}

#[cfg(not(unix))]
fn has_other_names(_: &str, _: &Path) -> Result<bool> {
    Ok(false)
}

/// Whether the host lists extended attributes of users, as which it may show other streams. One that lists none, as
/// ntfs-3g without `streams_interface=xattr`, hides them.
#[cfg(target_os = "linux")]
fn has_streams(host: &Path) -> bool {
    let mut names = Vec::with_capacity(attribute::LONGEST);
    match rustix::fs::llistxattr(host, rustix::buffer::spare_capacity(&mut names)) {
        Ok(_) => names
            .split(|byte| *byte == 0)
            .any(|name| name.starts_with(b"user.")),
        // Not offered: there is nothing that the host could lose.
        Err(_) => false,
    }
}

#[cfg(not(target_os = "linux"))]
fn has_streams(_: &Path) -> bool {
    false
}
