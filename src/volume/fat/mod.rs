// SPDX-License-Identifier: GPL-2.0-or-later
//! FAT12, FAT16 and FAT32 volumes: the EFI system partition, and what else a disk may have beside Windows.
//!
//! ```text
//! boot_sector  where everything lies, checked
//! table        which cluster follows which; free ones
//! directory    names
//! replace      a file's content, with more or fewer clusters
//! references   who else refers to a cluster
//! second_reader  the crate fatfs, for verification
//! ```
//!
//! Files are read and replaced. FAT has no journal: a volume marked dirty is one that was not closed, and nothing
//! waits in it. It has no permissions either. Not handled: making, renaming and removing files; repairing the volume
//! itself, which is for `fsck.fat` or `chkdsk`.

mod boot_sector;
mod directory;
mod references;
mod replace;
mod second_reader;
mod table;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use boot_sector::{Geometry, Width};
use directory::{Folder, Record};
use table::Table;

use super::{Entry, EntryKind, State, TreeEntry, Volume, path};
use crate::device::SharedDevice;
use crate::error::{Error, Result, ResultExt};

/// How many files and folders a listing of a whole tree has at most: ours.
const LARGEST_TREE: usize = 1 << 20;

/// A FAT volume on a device.
#[derive(Debug)]
pub struct FatVolume {
    device: SharedDevice,
    geometry: Geometry,
    state: State,
    /// See [`Volume::notes`].
    notes: Mutex<Vec<String>>,
}

impl Geometry {
    /// Where a cluster that exists begins.
    fn offset_of(&self, cluster: u32) -> u64 {
        let number = u64::from(cluster.saturating_sub(2));
        let size = u64::from(self.cluster_size);
        self.data_offset.saturating_add(number.saturating_mul(size))
    }
}

impl FatVolume {
    /// Opens the volume that fills `device`.
    ///
    /// # Errors
    /// `Damaged` when its boot sector or root folder is.
    pub fn open(device: SharedDevice) -> Result<FatVolume> {
        let mut sector = [0; 512];
        device.read_at(0, &mut sector)?;
        let geometry = Geometry::parse(&sector, device.len())?;
        let root = directory::read_root(device.as_ref(), &geometry)?;
        let dirty = geometry.dirty || Table::new(device.as_ref(), &geometry).is_dirty()?;
        let label = root
            .label
            .unwrap_or_else(|| directory::oem(&geometry.label));
        let state = State {
            file_system: match geometry.width {
                Width::Fat12 => "fat12",
                Width::Fat16 => "fat16",
                Width::Fat32 => "fat32",
            },
            label: Some(label).filter(|label| !label.is_empty() && label != "NO NAME"),
            serial: Some(format!("{:08X}", geometry.serial)),
            cluster_size: Some(geometry.cluster_size),
            dirty,
            ..State::default()
        };
        Ok(FatVolume {
            device,
            geometry,
            state,
            notes: Mutex::default(),
        })
    }

    fn note(&self, note: String) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    fn root(&self) -> Result<Folder> {
        directory::read_root(self.device.as_ref(), &self.geometry)
    }

    fn folder(&self, record: &Record) -> Result<Folder> {
        directory::read(self.device.as_ref(), &self.geometry, record.first_cluster)
    }

    /// The record at `path`: `Ok(None)` when there is none, `Ok(Some(None))` for the root.
    fn find(&self, path: &str) -> Result<Option<Option<Record>>> {
        let mut found: Option<Record> = None;
        for part in path::parts(path) {
            let next = match &found {
                None => self.root()?,
                Some(record) if record.kind() == EntryKind::Directory => self.folder(record)?,
                Some(_) => return Ok(None),
            };
            match next.find(part) {
                Some(record) => found = Some(record.clone()),
                None => return Ok(None),
            }
        }
        Ok(Some(found))
    }

    /// The file at `path`.
    fn file(&self, path: &str) -> Result<Record> {
        match self.find(path)? {
            Some(Some(record)) if record.kind() == EntryKind::File => Ok(record),
            Some(_) => Err(Error::unsupported(
                format!("{path} is a folder"),
                "check that the path names the file you mean",
            )),
            None => Err(path::not_found(path)),
        }
    }

    fn no_permissions() -> Error {
        Error::unsupported(
            "a FAT volume has no permissions",
            "choose the volume that holds Windows with --partition N",
        )
    }
}

impl Volume for FatVolume {
    fn state(&self) -> &State {
        &self.state
    }

    /// Nothing waits on a FAT volume, and a read-only flag protects a file from people, not from a repair.
    fn check_writable(&self) -> Result<()> {
        Ok(())
    }

    fn entry(&self, path: &str) -> Result<Option<Entry>> {
        Ok(self.find(path)?.map(|found| match found {
            Some(record) => Entry {
                kind: record.kind(),
                len: record.len,
                name: record.name,
            },
            None => Entry {
                name: String::new(),
                kind: EntryKind::Directory,
                len: 0,
            },
        }))
    }

    fn list(&self, path: &str) -> Result<Vec<Entry>> {
        let folder = match self.find(path)? {
            Some(None) => self.root()?,
            Some(Some(record)) if record.kind() == EntryKind::Directory => self.folder(&record)?,
            Some(Some(_)) => {
                return Err(Error::unsupported(
                    format!("{path} is a file"),
                    "name a folder",
                ));
            }
            None => return Err(path::not_found(path)),
        };
        let records = folder.records.into_iter();
        let mut entries: Vec<Entry> = records
            .map(|record| Entry {
                kind: record.kind(),
                len: record.len,
                name: record.name,
            })
            .collect();
        entries.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(entries)
    }

    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>> {
        let record = self.file(path)?;
        if record.len > limit {
            return Err(path::too_long(path, record.len, limit));
        }
        let cluster_size = usize::try_from(self.geometry.cluster_size).unwrap_or(usize::MAX);
        let len = usize::try_from(record.len).unwrap_or(usize::MAX);
        let needed = len.div_ceil(cluster_size);
        if needed == 0 {
            return Ok(Vec::new());
        }
        let mut table = Table::new(self.device.as_ref(), &self.geometry);
        // Before memory is taken: a length may say anything.
        let chain = table
            .chain(record.first_cluster, needed)
            .context(|| path.to_owned())?;
        if chain.len() < needed {
            return Err(Error::damaged(
                format!("{path}, chain of clusters from {}", record.first_cluster),
                record.offset,
                format!("{needed} clusters for {len} bytes"),
                chain.len().to_string(),
            ));
        }
        let mut content = vec![0; len];
        for (cluster, part) in chain.iter().zip(content.chunks_mut(cluster_size)) {
            self.device
                .read_at(self.geometry.offset_of(*cluster), part)?;
        }
        Ok(content)
    }

    fn second_reader_agrees(&self, path: &str, content: &[u8]) -> Option<bool> {
        if !self.geometry.is_usual {
            return None;
        }
        let parts: Vec<&str> = path::parts(path).collect();
        let folders = (0..parts.len()).map(|above| {
            let folder = parts.get(..above).unwrap_or_default().join("/");
            match self.find(&folder).ok()?? {
                None => self.root().ok(),
                Some(record) => self.folder(&record).ok(),
            }
        });
        let folders: Option<Vec<Folder>> = folders.collect();
        if folders?.iter().any(|folder| folder.is_ambiguous) {
            return None;
        }
        second_reader::agrees(&self.device, &parts.join("/"), content)
    }

    fn capacity(&self, path: &str) -> Result<u64> {
        let record = self.file(path)?;
        if record.first_cluster == 0 {
            return Ok(0);
        }
        let mut table = Table::new(self.device.as_ref(), &self.geometry);
        let chain = table.file_chain(record.first_cluster)?;
        let clusters = u64::try_from(chain.len()).unwrap_or(u64::MAX);
        Ok(clusters.saturating_mul(u64::from(self.geometry.cluster_size)))
    }

    fn replace(&self, path: &str, content: &[u8]) -> Result<()> {
        let record = self.file(path)?;
        self.replace_content(path, &record, content)
            .context(|| format!("replacing {path}"))?;
        if self.state.dirty {
            self.note(
                "the FAT volume is marked as not closed; that mark stays, so that it is checked where it is next mounted"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn notes(&self) -> Vec<String> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.clone()
    }

    fn tree(&self, path: &str) -> Result<Vec<TreeEntry>> {
        let start = self.find(path)?.ok_or_else(|| path::not_found(path))?;
        let parts: Vec<&str> = path::parts(path).collect();
        // A folder that is reached twice, as in a ring, is entered once.
        let mut entered = HashSet::new();
        let mut listed = Vec::new();
        let mut pending = vec![(parts.join("/"), start)];
        while let Some((path, record)) = pending.pop() {
            let kind = record.as_ref().map_or(EntryKind::Directory, Record::kind);
            let cluster = record.as_ref().map_or(0, |record| record.first_cluster);
            if kind == EntryKind::Directory && entered.insert(cluster) {
                let folder = match &record {
                    Some(record) => self.folder(record)?,
                    None => self.root()?,
                };
                let prefix = match path.as_str() {
                    "" => String::new(),
                    path => format!("{path}/"),
                };
                for record in folder.records.into_iter().rev() {
                    pending.push((format!("{prefix}{}", record.name), Some(record)));
                }
            }
            listed.push(TreeEntry { path, kind });
            if listed.len().saturating_add(pending.len()) > LARGEST_TREE {
                return Err(Error::unsupported(
                    "a tree of more than a million files and folders",
                    "name a folder further down",
                ));
            }
        }
        Ok(listed)
    }

    fn security(&self, _paths: &[&str]) -> Result<Vec<Arc<[u8]>>> {
        Err(FatVolume::no_permissions())
    }

    fn set_security(&self, _descriptor: &[u8], _paths: &[&str], _now: u64) -> Result<()> {
        Err(FatVolume::no_permissions())
    }
}
