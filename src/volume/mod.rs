// SPDX-License-Identifier: GPL-2.0-or-later
//! Volumes: what holds files. An NTFS volume on a device, or a folder where the host mounted one.
//!
//! Paths are relative to the volume's root, parts separated by `/` or `\`, names compared without case
//! as Windows does. A path never leaves the volume.

pub mod mounted;
pub mod ntfs;
mod path;

use crate::error::{Error, Result};

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

/// What is known of a volume before anything is done to it. `inspect` prints it; the gates judge it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct State {
    /// `ntfs`, `folder`, ...
    pub file_system: &'static str,
    /// Volume label, where there is one.
    pub label: Option<String>,
    /// Volume serial number (NTFS), as 16 upper-case hexadecimal digits.
    pub serial: Option<String>,
    /// Cluster size in bytes (NTFS).
    pub cluster_size: Option<u32>,
    /// `$Volume` carries the dirty flag: Windows will check the volume at the next start.
    pub dirty: bool,
    /// Hibernated or shut down with fast start-up: `hiberfil.sys` holds a live image.
    pub hibernated: bool,
    /// `$LogFile` is not clean; the text says how.
    pub unclean_journal: Option<String>,
}

/// A volume whose files can be read and, in place, written.
///
/// Writes do not reach the host: an NTFS volume writes through the overlay below it, a mounted folder
/// collects its own patches.
pub trait Volume: Send + Sync + std::fmt::Debug {
    /// What is known of the volume.
    fn state(&self) -> &State;

    /// `Err(Refused)` with the reason and the next step when nothing may be written to this volume.
    fn check_writable(&self) -> Result<()>;

    /// The entry at `path`, or `None` when a part of the path does not exist.
    fn entry(&self, path: &str) -> Result<Option<Entry>>;

    /// The entries of the folder at `path` (`""` is the root), sorted by name, without `.` and `..` and
    /// without a second entry for a short (8.3) name.
    fn list(&self, path: &str) -> Result<Vec<Entry>>;

    /// The whole content of the file at `path`; an error when it is longer than `limit` bytes.
    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>>;

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

    /// Makes `content` the content of the existing file at `path`, in place, touching only bytes that
    /// differ. A content longer than [`Volume::capacity`], a compressed, encrypted, sparse or
    /// WOF-compressed file is refused before anything is written.
    fn replace(&self, path: &str, content: &[u8]) -> Result<()>;
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
