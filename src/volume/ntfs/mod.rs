// SPDX-License-Identifier: GPL-2.0-or-later
//! NTFS volumes: read in any state, written when Windows left them in order.
//!
//! ```text
//! format        boot sector, numbers          multi_sector  torn-write protection of FILE, INDX, RSTR
//! record        MFT record, attributes        runs          mapping pairs -> clusters
//! mft           record by number              stream        one attribute, all its extents -> content
//! compression   LZNT1                         upcase, index names of a folder
//! reparse, walk path -> file                  logfile, journal  what waits in the journal, closing it
//! replay        the journal, carried out when the volume is opened
//! state, gate   what must hold before writing write         overwriting in place
//! mft::store    the one door to the device
//! stream_edit   attributes: write, set, make, remove       grow  make them longer
//! bitmap        what is in use                allocate, clusters  which clusters, and whose
//! records       taken from $MFT, given back   name, create, remove  files and folders
//! rename        another name                  times         of a file
//! secure        security descriptors          find_files, spans, subtree  very many files at once
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. Not handled: moving clusters, spreading a file over more
//! records than it has, writing compressed, sparse and encrypted files, alternate data streams, NTFS below 3.0 when
//! writing.
//!
//! Folders are walked by our own code too; the `ntfs` crate is the second reader of every file that was
//! edited. Its version 0.4 cannot open records behind the first extent of an $MFT that has an attribute
//! list (old, fragmented disks), takes a record that lies in two pieces (512-byte clusters) for one, looks
//! for index blocks that are smaller than a cluster in the wrong place, and never ends on an index whose
//! blocks point to each other. The tests show all four.

mod allocate;
mod bitmap;
mod clusters;
mod compression;
mod create;
mod find_files;
mod format;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod grow;
mod index;
mod journal;
mod logfile;
mod mft;
mod multi_sector;
#[cfg(test)]
mod parts;
mod record;
mod records;
mod remove;
mod rename;
mod reparse;
mod replay;
mod runs;
mod second_reader;
mod secure;
mod spans;
mod state;
mod stream;
mod stream_edit;
mod subtree;
mod times;
mod upcase;
mod walk;
mod write;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::device::SharedDevice;
use crate::error::{Result, ResultExt};
use crate::volume::path;
use crate::volume::{Entry, Security, State, TreeEntry, Volume};

use create::New;
use format::{BOOT_SECTOR_LEN, BootSector};
use gate::Gate;
use mft::Mft;
use state::Condition;
use upcase::Upcase;
use walk::Tree;
use write::Change;

/// An NTFS volume on a device that begins with its boot sector.
#[derive(Debug)]
pub struct NtfsVolume {
    tree: Tree,
    condition: Condition,
    notes: Mutex<Vec<String>>,
    gate: Gate,
}

impl NtfsVolume {
    /// Opens the volume for reading, in whatever state Windows left it; [`Volume::check_writable`] judges that. What waits
    /// in its journal is carried out in memory first; nothing of that reaches `device` before something is written.
    ///
    /// `Refused` for BitLocker, `Unsupported` for another file system, `Damaged` when the boot sector, $MFT,
    /// $Volume, $UpCase or the root folder cannot be read, or when the device is shorter than the volume.
    pub fn open(device: SharedDevice) -> Result<NtfsVolume> {
        NtfsVolume::open_with(device, true)
    }

    /// The same; with `replay` false as the disk was left, whatever waits in the journal.
    pub fn open_with(device: SharedDevice, replay: bool) -> Result<NtfsVolume> {
        let mut sector = [0; BOOT_SECTOR_LEN];
        device
            .read_at(0, &mut sector)
            .context(|| "reading the boot sector")?;
        let boot = BootSector::parse(&sector, device.len())?;
        let mft = Mft::open(device, boot)?;
        let journal = journal::judge(&mft);
        let (mft, outcome) = replay::replay(mft, &journal, replay);
        let upcase = Upcase::read(&mft)?;
        let tree = Tree {
            mft,
            upcase,
            last_names: find_files::LastNames::default(),
        };
        let condition = Condition::read(&tree, journal, outcome)?;
        Ok(NtfsVolume {
            tree,
            condition,
            notes: Mutex::default(),
            gate: Gate::default(),
        })
    }

    /// Keeps what the person should know of, once.
    fn note(&self, more: Vec<String>) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        for note in more {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
}

impl Volume for NtfsVolume {
    fn state(&self) -> &State {
        &self.condition.state
    }

    fn check_writable(&self) -> Result<()> {
        self.check_gates()
    }

    fn entry(&self, path: &str) -> Result<Option<Entry>> {
        let node = self.tree.resolve(path)?;
        node.map(|node| self.tree.entry(&node)).transpose()
    }

    fn list(&self, path: &str) -> Result<Vec<Entry>> {
        self.tree.list(path)
    }

    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>> {
        let node = self.tree.expect(path)?;
        let stream = self.tree.content(path, &node)?;
        if stream.len() > limit {
            return Err(path::too_long(path, stream.len(), limit));
        }
        stream
            .read(&self.tree.mft)
            .context(|| format!("reading {path}"))
    }

    fn read_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Vec<Vec<u8>>> {
        let node = self.tree.expect(path)?;
        let stream = self.tree.content(path, &node)?;
        let read = |range: &Range<u64>| {
            let len = range.end.min(stream.len()).saturating_sub(range.start);
            let mut content = stream::zeroed(len, path)?;
            if len > 0 {
                stream.read_at(&self.tree.mft, range.start, &mut content)?;
            }
            Ok(content)
        };
        let read: Result<Vec<Vec<u8>>> = ranges.iter().map(read).collect();
        read.context(|| format!("reading {path}"))
    }

    fn modified(&self, path: &str) -> Result<Option<u64>> {
        let node = self.tree.expect(path)?;
        Ok(times::modified(&node.record))
    }

    fn holds(&self, path: &str, content: &[u8]) -> Result<bool> {
        let node = self.tree.expect(path)?;
        let stream = self.tree.content(path, &node)?;
        stream
            .holds(&self.tree.mft, content)
            .context(|| format!("reading {path}"))
    }

    fn second_reader_agrees(&self, path: &str, content: &[u8]) -> Option<bool> {
        // The crate shows what is in the clusters also where the file was never written.
        let node = self.tree.resolve(path).ok()??;
        let stream = self.tree.content(path, &node).ok()?;
        if !stream.is_all_initialised() {
            return None;
        }
        let record = node.record.number();
        second_reader::agrees(&self.tree.mft.device, path, record, content)
    }

    fn tree(&self, path: &str) -> Result<Vec<TreeEntry>> {
        self.tree.subtree(path)
    }

    fn tree_with_security(&self, path: &str) -> Result<Vec<(TreeEntry, Security)>> {
        let (entries, files) = self.tree.subtree_files(path)?;
        let mut notes = Vec::new();
        let found = secure::many::of_files(&self.tree, &files, &mut notes);
        self.note(notes);
        let found = found?.into_iter();
        let found = found.map(|found| found.map_err(|error| error.to_string()));
        Ok(entries.into_iter().zip(found).collect())
    }

    fn security(&self, paths: &[&str]) -> Result<Vec<Arc<[u8]>>> {
        let mut notes = Vec::new();
        let descriptors = secure::many::read(&self.tree, paths, &mut notes);
        self.note(notes);
        descriptors
    }

    fn second_reader_agrees_on_security(&self, paths: &[&str], descriptor: &[u8]) -> Option<bool> {
        let files = self.tree.find_files(paths).ok()?;
        let records: Vec<u64> = files.iter().map(|file| file.record).collect();
        second_reader::security::agrees(&self.tree.mft.device, &records, descriptor)
    }

    fn check_security(&self) -> Result<Vec<String>> {
        secure::check::faults(&self.tree.mft)
    }

    fn set_security(&self, descriptor: &[u8], paths: &[&str], now: u64) -> Result<()> {
        self.begin_metadata()?;
        let mut notes = Vec::new();
        let done = secure::many::write(&self.tree, descriptor, paths, now, &mut notes);
        self.note(notes);
        done
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.gate.notes();
        notes.extend_from_slice(&self.notes.lock().unwrap_or_else(PoisonError::into_inner));
        notes
    }

    fn capacity(&self, path: &str) -> Result<u64> {
        let node = self.tree.expect(path)?;
        let stream = self.tree.content(path, &node)?;
        write::capacity(path, &node, &stream)
    }

    fn replace(&self, path: &str, content: &[u8]) -> Result<()> {
        self.check_gates()?;
        let node = self.tree.expect(path)?;
        let stream = self.tree.content(path, &node)?;
        let begin = |change| match change {
            Change::Content => self.begin_content(path, &node, &stream),
            Change::Metadata => self.begin_metadata(),
        };
        write::replace(&self.tree, path, &node, &stream, content, &begin)
            .context(|| format!("writing {path}"))
    }

    fn create_directory(&self, path: &str, descriptor: &[u8], now: u64) -> Result<()> {
        self.begin_metadata()?;
        let id = || secure::id_for(&self.tree.mft, descriptor);
        create::create(&self.tree, path, New::Directory, id, now)
            .context(|| format!("making the folder {path}"))
    }

    fn create_file(&self, path: &str, content: &[u8], descriptor: &[u8], now: u64) -> Result<()> {
        self.begin_metadata()?;
        let id = || secure::id_for(&self.tree.mft, descriptor);
        create::create(&self.tree, path, New::File(content), id, now)
            .context(|| format!("making the file {path}"))
    }

    fn check_removable(&self, path: &str) -> Result<()> {
        remove::check(&self.tree, path)
    }

    fn remove(&self, path: &str, now: u64) -> Result<()> {
        self.begin_metadata()?;
        remove::remove(&self.tree, path, now).context(|| format!("removing {path}"))
    }

    fn rename(&self, path: &str, name: &str, now: u64) -> Result<()> {
        self.begin_metadata()?;
        rename::rename(&self.tree, path, name, now).context(|| format!("renaming {path}"))
    }

    fn discard_journal(&self) -> Result<()> {
        self.agree_to_discard()
    }
}
