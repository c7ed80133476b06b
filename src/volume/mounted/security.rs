// SPDX-License-Identifier: GPL-2.0-or-later
//! Security descriptors of the host's files: read from it, and the new ones kept here until a commit.
//!
//! ```text
//! host --read--> first   what a file had when it was first looked at
//!                pending what it is to have
//! ```
//!
//! Equal descriptors are kept once: a volume has some hundreds of them for its hundred thousand files. A
//! descriptor belongs to a file, not to a name: of a file with several names, the first one asked for stands for
//! all. ntfs-3g keeps the bytes as they are given to it, and so refuses those that are none of its kind.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bytes::{u16_le, u32_le};
use crate::device::HostOperation;
use crate::device::attribute::{self, LONGEST, Security};
use crate::error::{Error, Result};
use crate::volume::path;

/// The bit of the control that says that the parts are at offsets. [MS-DTYP] 2.4.6.
const SELF_RELATIVE: u16 = 0x8000;

/// All descriptors that were looked at or set. Files go by their host paths.
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    shared: HashSet<Arc<[u8]>>,
    first: HashMap<PathBuf, Arc<[u8]>>,
    pending: BTreeMap<PathBuf, Arc<[u8]>>,
    /// Files with several names, by device and number: the path they go by.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Descriptors {
    /// The descriptor that the file at `host` is to have, or has. `path` is for messages.
    pub(super) fn get(&mut self, path: &str, host: PathBuf) -> Result<Arc<[u8]>> {
        let host = self.one_path(path, host)?;
        if let Some(pending) = self.pending.get(&host) {
            return Ok(Arc::clone(pending));
        }
        let present = self.ask(path, &host)?;
        // The first reading counts: an edit may stand on it, whatever a later one finds.
        self.first
            .entry(host)
            .or_insert_with(|| Arc::clone(&present));
        Ok(present)
    }

    /// Makes sure that the descriptor of the file at `host` can be replaced: it still is what it was when it was
    /// first read. The path that the file goes by.
    pub(super) fn check(&mut self, path: &str, host: PathBuf) -> Result<PathBuf> {
        let host = self.one_path(path, host)?;
        let present = self.ask(path, &host)?;
        let first = self
            .first
            .entry(host.clone())
            .or_insert_with(|| Arc::clone(&present));
        if *first == present {
            return Ok(host);
        }
        Err(Error::refused(
            format!("the permissions of {path} have changed since they were read"),
            "nothing was changed; close whatever else uses the folder and run the command again",
        ))
    }

    /// Keeps `descriptor` for files that [`Descriptors::check`] has checked.
    pub(super) fn set(&mut self, descriptor: &[u8], hosts: Vec<PathBuf>) {
        let descriptor = self.share(descriptor.to_vec());
        for host in hosts {
            if self.first.get(&host) == Some(&descriptor) {
                self.pending.remove(&host);
            } else {
                self.pending.insert(host, Arc::clone(&descriptor));
            }
        }
    }

    /// Whether the file at `host` is to have another descriptor.
    pub(super) fn is_pending(&self, host: &Path) -> bool {
        self.pending.contains_key(host)
    }

    /// What the host is to do, sorted by file.
    pub(super) fn operations(&self) -> Vec<HostOperation> {
        let operation = |(host, after): (&PathBuf, &Arc<[u8]>)| {
            Some(HostOperation::SetSecurity {
                file: host.clone(),
                before: Arc::clone(self.first.get(host)?),
                after: Arc::clone(after),
            })
        };
        self.pending.iter().filter_map(operation).collect()
    }

    /// The path that stands for a file, of all it may have.
    fn one_path(&mut self, path: &str, host: PathBuf) -> Result<PathBuf> {
        let metadata =
            fs::symlink_metadata(&host).map_err(Error::io(format!("looking at {path}")))?;
        match other_names(&metadata) {
            Some(number) => Ok(self.links.entry(number).or_insert(host).clone()),
            None => Ok(host),
        }
    }

    fn ask(&mut self, path: &str, host: &Path) -> Result<Arc<[u8]>> {
        let reading = Error::io(format!("reading the permissions of {path}"));
        match attribute::read(host).map_err(reading)? {
            Security::Found { descriptor, .. } => Ok(self.share(descriptor)),
            Security::Missing => Err(path::not_found(path)),
            Security::NotOffered => Err(not_offered(path)),
        }
    }

    fn share(&mut self, descriptor: Vec<u8>) -> Arc<[u8]> {
        if let Some(shared) = self.shared.get(descriptor.as_slice()) {
            return Arc::clone(shared);
        }
        let shared: Arc<[u8]> = descriptor.into();
        self.shared.insert(Arc::clone(&shared));
        shared
    }
}

/// Why a file has no descriptor.
pub(super) fn not_offered(path: &str) -> Error {
    Error::refused(
        format!("{path}: the folder's file system offers no Windows permissions"),
        "give coldfix the disk itself, or its image, instead of the mounted folder; or mount the volume \
         with ntfs-3g",
    )
}

/// Device and number of a file that has more than one name.
#[cfg(unix)]
fn other_names(metadata: &fs::Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;

    (!metadata.is_dir() && metadata.nlink() > 1).then(|| (metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn other_names(_: &fs::Metadata) -> Option<(u64, u64)> {
    None
}

/// Refuses a descriptor that no host would take: ntfs-3g wants an owner and a group. What its parts say is
/// not looked at.
pub(super) fn check(descriptor: &[u8]) -> Result<()> {
    let part = |field| u32_le(descriptor, field).is_some_and(|offset| offset >= 20);
    let sound = descriptor.first() == Some(&1)
        && u16_le(descriptor, 2).is_some_and(|control| control & SELF_RELATIVE != 0)
        && part(4)
        && part(8);
    let what = if !sound {
        "it is not a self-relative one with an owner and a group".to_owned()
    } else if descriptor.len() > LONGEST {
        format!(
            "it has {} bytes and not at most {LONGEST}",
            descriptor.len()
        )
    } else {
        return Ok(());
    };
    Err(Error::refused(
        format!("a mounted folder does not take this security descriptor: {what}"),
        "give coldfix the disk itself, or its image, instead of the mounted folder",
    ))
}
