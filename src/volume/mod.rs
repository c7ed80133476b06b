// SPDX-License-Identifier: GPL-2.0-or-later
//! Volumes: what holds files. An NTFS or FAT volume on a device, or a folder where the host mounted one.
//!
//! Paths are relative to the volume's root, parts separated by `/` or `\`, names compared without case
//! as Windows does. A path never leaves the volume.

mod buffer;
pub mod fat;
mod journal;
pub mod mounted;
mod name;
pub mod ntfs;
mod path;
mod second_reader;

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};

pub use journal::{
    ConcernedFile, JournalState, JournalVerdict, OpenTransaction, Replay, ReplayVerdict,
    TransactionState, WaitingOperation,
};

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A file with content.
    File,
    /// A folder.
    Directory,
    /// A link, junction, cloud placeholder or anything else that must not be followed.
    Other,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name as stored (its long form where there are two).
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Length of the content in bytes; 0 for folders.
    pub len: u64,
}

/// One file or folder in a listing of a whole tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// Its path from the volume's root, parts separated by `/`, spelt as on the disk.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
}

/// What is known of a volume before anything is done to it. `inspect` prints it; the gates judge it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct State {
    /// `ntfs`, `fat12`, `fat16`, `fat32`, `folder`.
    pub file_system: &'static str,
    /// Volume label, where there is one.
    pub label: Option<String>,
    /// Volume serial number, as upper-case hexadecimal digits: 16 of NTFS, 8 of FAT.
    pub serial: Option<String>,
    /// Cluster size in bytes (NTFS, FAT).
    pub cluster_size: Option<u32>,
    /// The volume carries its dirty flag: Windows will check it at the next start.
    pub dirty: bool,
    /// Hibernated or shut down with fast start-up: `hiberfil.sys` holds a live image.
    pub hibernated: bool,
    /// `$LogFile` is not clean; the text says how.
    pub unclean_journal: Option<String>,
    /// What is known of the journal; `null` where there is none or the host looks after it.
    pub journal: Option<JournalState>,
}

/// A volume whose files can be read and, in place, written.
///
/// Writes do not reach the host: an NTFS volume writes through the overlay below it, a mounted folder
/// collects its own patches.
pub trait Volume: Send + Sync + std::fmt::Debug {
    /// What is known of the volume.
    fn state(&self) -> &State;

    /// `Err(Refused)` with the reason and the next step when nothing may be written to this volume. `Ok` when
    /// something may: with a pending journal, only contents that it does not concern. Changes nothing.
    fn check_writable(&self) -> Result<()>;

    /// The entry at `path`, or `None` when a part of the path does not exist.
    fn entry(&self, path: &str) -> Result<Option<Entry>>;

    /// The entries of the folder at `path` (`""` is the root), sorted by name, without `.` and `..` and
    /// without a second entry for a short (8.3) name.
    fn list(&self, path: &str) -> Result<Vec<Entry>>;

    /// The whole content of the file at `path`; an error when it is longer than `limit` bytes.
    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>>;

    /// The bytes of the file at `path` in each of these ranges, for files too long to be held. A range is shortened at
    /// the end of the file. All of them are held at once; the caller bounds them.
    fn read_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Vec<Vec<u8>>> {
        let _ = (path, ranges);
        Err(not_offered("reading parts of files"))
    }

    /// When the content of the file at `path` was last changed, as a FILETIME; `None` where the volume does not tell.
    fn modified(&self, path: &str) -> Result<Option<u64>> {
        let _ = path;
        Ok(None)
    }

    /// Whether the content of the file at `path` is `content`.
    fn holds(&self, path: &str, content: &[u8]) -> Result<bool> {
        let limit = u64::try_from(content.len()).unwrap_or(u64::MAX);
        let len = self.entry(path)?.map(|entry| entry.len);
        Ok(len == Some(limit) && self.read(path, limit)? == content)
    }

    /// Whether a reader that is not ours finds `content` in the file at `path`, for verification; `None`
    /// where there is no such reader, or it has no opinion on this file.
    fn second_reader_agrees(&self, _path: &str, _content: &[u8]) -> Option<bool> {
        None
    }

    /// Up to how many bytes the file at `path` can hold without allocating: its clusters, or for a
    /// resident file its record. A mounted folder answers `u64::MAX`.
    fn capacity(&self, path: &str) -> Result<u64>;

    /// Makes `content` the content of the existing file at `path`, touching only bytes that differ. In place
    /// where it fits into [`Volume::capacity`], else the file grows. A compressed, encrypted, sparse or
    /// WOF-compressed file is refused before anything is written.
    fn replace(&self, path: &str, content: &[u8]) -> Result<()>;

    /// The file or folder at `path` and everything below it, depth first: itself, then each entry with what is
    /// below that one. Links are listed and not entered.
    fn tree(&self, path: &str) -> Result<Vec<TreeEntry>> {
        let _ = path;
        Err(not_offered("listing whole trees"))
    }

    /// [`Volume::tree`] with the security descriptor of each, or why it cannot be read: one bad file must not hide the
    /// others. Equal ones are shared.
    fn tree_with_security(&self, path: &str) -> Result<Vec<(TreeEntry, Security)>> {
        let entries = self.tree(path)?;
        let paths: Vec<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
        let found = each_security(self, &paths);
        Ok(entries.into_iter().zip(found).collect())
    }

    /// The self-relative security descriptors of the files and folders at `paths`, in their order. A link's
    /// own, not that of what it points to. Equal ones are shared.
    fn security(&self, paths: &[&str]) -> Result<Vec<Arc<[u8]>>> {
        let _ = paths;
        Err(not_offered("reading permissions"))
    }

    /// Whether a reader that is not ours finds this security descriptor for all of `paths`, for verification;
    /// `None` where there is no such reader, or it has no opinion on one of them.
    fn second_reader_agrees_on_security(
        &self,
        _paths: &[&str],
        _descriptor: &[u8],
    ) -> Option<bool> {
        None
    }

    /// What is wrong in how the volume keeps its security descriptors, in plain words; for verification after a
    /// change. Empty where nothing is, or where the volume keeps none itself.
    fn check_security(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Gives the files and folders at `paths` this self-relative security descriptor. `now` is a FILETIME.
    fn set_security(&self, descriptor: &[u8], paths: &[&str], now: u64) -> Result<()> {
        let _ = (descriptor, paths, now);
        Err(not_offered("writing permissions"))
    }

    /// Gives the file or folder at `path` another name in the same folder. Refused where the name exists or
    /// is none that Windows takes. `now` is a FILETIME.
    fn rename(&self, path: &str, name: &str, now: u64) -> Result<()> {
        let _ = (path, name, now);
        Err(not_offered("renaming"))
    }

    /// Makes a folder with this self-relative security descriptor. `now` is a FILETIME.
    fn create_directory(&self, path: &str, descriptor: &[u8], now: u64) -> Result<()> {
        let _ = (path, descriptor, now);
        Err(not_offered("making folders"))
    }

    /// Makes a file with this content and self-relative security descriptor. `now` is a FILETIME.
    fn create_file(&self, path: &str, content: &[u8], descriptor: &[u8], now: u64) -> Result<()> {
        let _ = (path, content, descriptor, now);
        Err(not_offered("making files"))
    }

    /// Makes a file with this content and the permissions of the file at `like`. `now` is a FILETIME.
    fn create_file_like(&self, path: &str, content: &[u8], like: &str, now: u64) -> Result<()> {
        let found = self.security(&[like])?.into_iter().next();
        let descriptor = found.ok_or_else(|| path::not_found(like))?;
        self.create_file(path, content, &descriptor, now)
    }

    /// `Err` with the reason when [`Volume::remove`] would refuse what is at `path`. Changes nothing.
    fn check_removable(&self, path: &str) -> Result<()> {
        let _ = path;
        Err(not_offered("removing files"))
    }

    /// Removes a file or an empty folder. `now` is a FILETIME.
    fn remove(&self, path: &str, now: u64) -> Result<()> {
        let _ = (path, now);
        Err(not_offered("removing files"))
    }

    /// Agrees to throw away what waits in the volume's journal: the first change then closes the journal and
    /// marks the volume dirty, so that Windows checks it when it starts. Nothing is to be agreed to, and
    /// nothing more is done, where nothing waits. `Refused` where that is not enough, as with hibernation.
    fn discard_journal(&self) -> Result<()> {
        Err(not_offered("discarding the journal"))
    }

    /// What the changes made so far did besides what was asked for, in plain words, such as a journal closed.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A self-relative security descriptor, or why it cannot be read, in plain words.
pub type Security = Result<Arc<[u8]>, String>;

/// The descriptor of each path, or why it cannot be read.
fn each_security<V: Volume + ?Sized>(volume: &V, paths: &[&str]) -> Vec<Security> {
    match volume.security(paths) {
        Ok(found) => found.into_iter().map(Ok).collect(),
        Err(_) => paths
            .iter()
            .map(|path| match volume.security(&[path]) {
                Ok(found) => found
                    .into_iter()
                    .next()
                    .ok_or_else(|| "it was not read".to_owned()),
                Err(error) => Err(error.to_string()),
            })
            .collect(),
    }
}

/// The error of a volume that cannot do what is asked, whatever its state.
fn not_offered(what: &str) -> Error {
    Error::unsupported(
        format!("{what} is not possible on this volume"),
        "give coldfix the disk itself, or its image, instead of the mounted folder",
    )
}

/// Says why Windows may be hibernated on a volume whose `hiberfil.sys` begins with `header`; `None` when it
/// is not. `header` holds the first `header_len` bytes, or the whole file where it is shorter.
///
/// Source: ntfs-3g (volume.c): `hibr` is a live image, zeros and `wake` are none. A shorter
/// file comes from a hibernation on another volume (ntfs-3g's rule); what is unknown counts as hibernated.
fn hibernation(header: &[u8], header_len: usize) -> Option<String> {
    let magic = crate::bytes::array::<4>(header, 0);
    match magic {
        _ if header.len() < header_len => Some("hiberfil.sys is shorter than its header".into()),
        Some([0, 0, 0, 0] | [b'w', b'a', b'k', b'e'] | [b'W', b'A', b'K', b'E']) => None,
        Some([b'h', b'i', b'b', b'r'] | [b'H', b'I', b'B', b'R']) => {
            Some("hiberfil.sys holds a live image".into())
        }
        other => Some(format!(
            "hiberfil.sys begins with \"{}\", which is not known",
            other.unwrap_or_default().escape_ascii()
        )),
    }
}

/// The refusal to write a volume that [`hibernation`] says is in use by a sleeping Windows.
fn hibernated(how: &str) -> Error {
    Error::refused(
        format!("Windows is hibernated on this volume or was shut down with fast start-up: {how}"),
        "start this Windows and shut it down fully (`shutdown /s /t 0`, after `powercfg /h off` or with fast \
         start-up switched off); whatever is written before that is lost or does damage when it resumes",
    )
}
