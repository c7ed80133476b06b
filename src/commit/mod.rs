// SPDX-License-Identifier: GPL-2.0-or-later
//! The only writer: brings a change set onto the real target so that a crash leaves it old or new.
//!
//! ```text
//! check     every `before` is compared with the target         differs -> refused, nothing touched
//! journal   before and after into DIR/ID.journal, made durable  fails   -> nothing touched
//! write     every `after` in place, then descriptors, files, names     fails   -> taken back at once
//! flush     every file and folder                               fails   -> stop; the next start takes it back
//! read back every `after` compared with the target              differs -> stop; likewise
//! mark      DIR/ID.done, made durable                           fails   -> the next start marks it
//! ```
//!
//! [`recover`] is called at the next start, before anything is read for a repair; [`undo`] is an
//! operation like any other, with `before` and `after` swapped. `docs/crash-safety.md` argues step by
//! step what a crash leaves behind. Nothing here knows a format: ranges of bytes, names and blobs only.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use apply::OpenChanges;
use directory::Marker;

use crate::device::ChangeSet;
use crate::error::{Error, Result};

mod apply;
mod compare;
mod directory;
#[cfg(unix)]
mod folder;
mod folder_file;
pub mod journal;
mod new_file;
mod operations;
mod pieces;
#[cfg(not(unix))]
mod plain_folder;
mod recover;
mod store;
mod target;
mod undo;
mod whole_files;

pub use directory::{DamagedJournal, Entry, JournalDir, Listing, LockedDir, Status};
#[cfg(unix)]
pub use folder::FolderTarget;
pub use new_file::{NewFile, Sink};
#[cfg(not(unix))]
pub use plain_folder::FolderTarget;
pub use recover::{Outcome, Recovery, recover};
pub use store::{HostFolder, Store};
pub use target::{DeviceTarget, FileIdentity, Target, TargetFile};
pub use undo::{check_undo, undo};

/// What an operation is, for a person and for the programs that read the report. Never holds passwords
/// or other secrets: the caller leaves them out of `command` and `edits`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationHeader {
    /// Names the operation and its files; made by [`JournalDir::new_id`], so that ids sort by age.
    pub id: String,
    /// When it started, RFC 3339.
    pub started: String,
    /// The version of coldfix that wrote it.
    pub tool_version: String,
    /// The command as a person would type it.
    pub command: String,
    /// What it was done to.
    pub target: TargetIdentity,
    /// The logical edits, as the report shows them; not looked at here.
    pub edits: Vec<serde_json::Value>,
    /// The operation that this one takes back. Set by [`undo`].
    pub undoes: Option<String>,
    /// The target is made by this operation, and gets its name when everything else is done: an operation that was cut
    /// off has left nothing under that name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub new_disk: bool,
}

/// What a target is known by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetIdentity {
    /// Absolute path of the image, block device or folder.
    pub path: String,
    /// `raw`, `vhd`, `folder`, ...
    pub container: String,
    /// Length in bytes of the image or device; 0 for a folder.
    pub len: u64,
    /// In a journal: the length after the operation, when that is another. Set by [`commit`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub len_after: Option<u64>,
    /// What the disk calls itself (GPT disk GUID, MBR signature, volume serial number), where known.
    pub disk_id: Option<String>,
    /// What `path` is.
    pub kind: TargetKind,
}

impl TargetIdentity {
    /// Two known disk ids that differ.
    fn is_other_disk(&self, other: &TargetIdentity) -> bool {
        match (&self.disk_id, &other.disk_id) {
            (Some(one), Some(another)) => one != another,
            _ => false,
        }
    }

    fn has_id_of(&self, other: &TargetIdentity) -> bool {
        self.disk_id.is_some() && self.disk_id == other.disk_id
    }

    /// A target of `len` bytes may be as long as this one was before the operation, after it, or when the
    /// operation was cut off.
    fn fits_length(&self, len: u64) -> bool {
        let after = self.len_after.unwrap_or(self.len);
        (self.len.min(after)..=self.len.max(after)).contains(&len)
    }

    /// Of the same kind and no other disk, and of one of these lengths, which are those that `other` has and
    /// had: see [`Listing::lengths`].
    fn may_be(&self, other: &TargetIdentity, lengths: &BTreeSet<u64>) -> bool {
        self.kind == other.kind
            && !self.is_other_disk(other)
            && lengths.iter().any(|len| self.fits_length(*len))
    }

    /// By all that is known the same target, or a copy of it: for listings and for undo, which compares
    /// the content anyway.
    fn is_like(&self, other: &TargetIdentity, lengths: &BTreeSet<u64>) -> bool {
        self.may_be(other, lengths) && (self.has_id_of(other) || self.path == other.path)
    }
}

/// What the path of a target leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// An image file.
    Image,
    /// A block device.
    Device,
    /// The folder a volume is mounted at.
    Folder,
}

/// An operation that is written, flushed, read back and marked as done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its id.
    pub id: String,
    /// How many ranges were written.
    pub ranges: u64,
    /// How many bytes they hold.
    pub bytes: u64,
    /// How many names, security descriptors and whole files the host was made to change.
    pub operations: u64,
    /// The journal file, which `undo` needs.
    pub journal: PathBuf,
}

/// How far an operation has come; handed to the caller's closure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Bytes done of `total`.
    pub done: u64,
    /// Bytes to do.
    pub total: u64,
}

/// The stages of an operation, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Comparing the target with what was read from it.
    Checking,
    /// Writing the journal.
    Journal,
    /// Writing in place.
    Writing,
    /// Making it durable.
    Flushing,
    /// Comparing the target with what was written.
    ReadingBack,
}

/// Brings `changes` onto `target`, crash-safely.
///
/// The patches are one for an image or block device, or one for each changed file of a folder; only a folder
/// has operations of its host. When this returns, the target is new and durable, and the operation is in
/// `dir` for [`undo`].
///
/// # Errors
/// - Refused, target and folder untouched: the target is not what the changes were made from, an earlier
///   operation on it was interrupted ([`recover`] first), or the changes contradict themselves.
/// - Io naming the journal folder, target untouched: the journal could not be made durable.
/// - Io while writing in place: what had been written was taken back, and the hint says so; or else the
///   operation stays in `dir` as [`Status::Interrupted`] for [`recover`].
pub fn commit(
    dir: &LockedDir,
    mut header: OperationHeader,
    changes: &ChangeSet,
    target: &mut dyn Target,
    progress: &mut dyn FnMut(Progress),
) -> Result<Committed> {
    compare::check_changes(changes)
        .map_err(|fault| Error::refused(format!("the changes are not sound: {fault}"), REPORT))?;
    let (ranges, bytes) = changes.totals();
    if !compare::changes_anything(changes) {
        return Err(Error::refused(
            "there is nothing to write",
            "the target already is what it should be",
        ));
    }
    refuse_after_interruption(dir, &header.target)?;
    let open = OpenChanges::open(changes, target)?;
    if let Some(found) = open.compare(Stage::Checking, progress)?.not_before() {
        return Err(Error::refused(
            format!("the target has changed since it was read: {found}"),
            "nothing was changed; close whatever else uses the target and run the command again",
        ));
    }

    // After a crash the target may have either length, and must be known by both.
    header.target.len_after = match (header.target.kind, changes.patches.as_slice()) {
        (TargetKind::Image, [patch]) => {
            Some(patch.after_len).filter(|after| *after != patch.before_len)
        }
        _ => None,
    };
    let journal = dir.write_journal(&header, changes, progress)?;
    if let Err(error) = open.write_all(progress) {
        return Err(take_back_at_once(
            dir, &header.id, &journal, &open, error, progress,
        ));
    }
    open.flush_all(progress)
        .and_then(|()| open.read_back(progress))
        .map_err(|error| interrupted(error, &header.id, &journal))?;
    dir.mark(&header.id, Marker::Done).map_err(|error| {
        error.with_hint(
            format!(
                "operation {} is written and verified, but could not be marked as done",
                header.id
            ),
            format!(
                "free space in the journal folder and run `coldfix log` with the same journal folder \
                 before Windows starts from this disk; the journal is {}",
                journal.display()
            ),
        )
    })?;
    Ok(Committed {
        id: header.id,
        ranges,
        bytes,
        operations: u64::try_from(changes.operations.len()).unwrap_or(u64::MAX),
        journal,
    })
}

const REPORT: &str = "nothing was changed; this is a fault in coldfix, please report it";

/// An unfinished earlier operation must be settled first: its ranges are in an unknown state.
fn refuse_after_interruption(dir: &JournalDir, target: &TargetIdentity) -> Result<()> {
    match recover::unfinished(dir, target)?.first() {
        None => Ok(()),
        Some(entry) => Err(Error::refused(
            format!(
                "operation {} on this target was interrupted",
                entry.header.id
            ),
            "run the command again: the interrupted operation is taken back first",
        )),
    }
}

/// A write failed, the host lives: the target need not stay half-written until the next start.
fn take_back_at_once(
    dir: &LockedDir,
    id: &str,
    journal: &std::path::Path,
    open: &OpenChanges<'_>,
    error: Error,
    progress: &mut dyn FnMut(Progress),
) -> Error {
    let taken_back = open
        .take_back(progress)
        .and_then(|()| dir.mark(id, Marker::TakenBack));
    match taken_back {
        Ok(()) => {
            let cure = match error.hint() {
                Some(hint) => hint.to_owned(),
                None => "cure the cause (space, connection, permission) and run again".to_owned(),
            };
            error.with_hint(
                format!("operation {id} could not be written and was taken back"),
                format!("the target is as it was before; {cure}"),
            )
        }
        Err(_) => interrupted(error, id, journal),
    }
}

/// The hint for an operation that stays unfinished.
fn interrupted(error: Error, id: &str, journal: &std::path::Path) -> Error {
    error.with_hint(
        format!("operation {id} was interrupted and is partly written"),
        format!(
            "do not start Windows from this disk; when the disk can be written again, run coldfix again \
             with the same journal folder: the operation is then taken back; its journal is {}",
            journal.display()
        ),
    )
}
