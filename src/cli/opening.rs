// SPDX-License-Identifier: GPL-2.0-or-later
//! Opening a target: where its journals lie, and what is done about an operation that was interrupted.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::Writing;
use crate::commit::{self, JournalDir, LockedDir, Outcome, Status, TargetIdentity, TargetKind};
use crate::device::Access;
use crate::error::{Error, Result};
use crate::target::Target;

/// Where the journals of a target lie.
///
/// Beside an image, so that they travel with it. A block device's and a folder's go to the user's state
/// folder; a disk's under its own id, because `/dev/sdc` may be another disk tomorrow.
pub(super) fn journal_dir(wanted: Option<&Path>, target: &Target) -> JournalDir {
    let identity = target.identity();
    if wanted.is_some() || identity.kind == TargetKind::Image {
        return image_journal_dir(wanted, &target.path);
    }
    let name = match &identity.disk_id {
        Some(id) => format!("disk-{id}"),
        None => format!("at{}", identity.path),
    };
    let name: String = name
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .collect();
    JournalDir::open(state_folder().join(name))
}

/// The same for an image, of which no more than its place need be known.
fn image_journal_dir(wanted: Option<&Path>, image: &Path) -> JournalDir {
    if let Some(path) = wanted {
        return JournalDir::open(path);
    }
    let mut path = image.to_owned().into_os_string();
    path.push(".coldfix");
    JournalDir::open(PathBuf::from(path))
}

fn state_folder() -> PathBuf {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("LOCALAPPDATA")
        .filter(|_| cfg!(windows))
        .or_else(|| variable("XDG_STATE_HOME"))
        .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(|| PathBuf::from("."))
        .join("coldfix")
}

/// Opens a target for a command that only reads. Where that fails because an operation on the image was
/// interrupted, the error says so.
///
/// `replay`: what waits in the journals of its volumes is carried out in memory.
pub(super) fn look(path: &Path, journal_dir: Option<&Path>, replay: bool) -> Result<Target> {
    Target::open_with(path, Access::Read, replay).map_err(|error| {
        let note = || {
            let dir = image_journal_dir(journal_dir, path);
            if !dir.has_operations().ok()? {
                return None;
            }
            let (identity, _) = Target::unread(path, Access::Read).ok()??;
            interrupted(&dir, &identity).ok()?
        };
        match note() {
            Some(note) => error.with_hint(
                note,
                "`coldfix undo` with the same journal folder takes the interrupted operation back first",
            ),
            None => error,
        }
    })
}

/// Settles the interrupted operation that may have left an image so that it cannot be opened; `failure` is why it
/// could not, and stays the error when there was none.
pub(super) fn settle_unread(path: &Path, writing: &Writing, failure: Error) -> Result<()> {
    let dir = image_journal_dir(writing.journal_dir.as_deref(), path);
    if !path.is_file() || !dir.has_operations()? {
        return Err(failure);
    }
    let Ok(Some((identity, mut sink))) = Target::unread(path, Access::Write) else {
        return Err(failure);
    };
    let locked = dir.lock()?;
    if !settle(&locked, &identity, sink.as_mut())? {
        return Err(failure);
    }
    Ok(())
}

/// Settles interrupted operations; true when there were any.
pub(super) fn settle(
    locked: &LockedDir,
    identity: &TargetIdentity,
    sink: &mut dyn commit::Target,
) -> Result<bool> {
    let recovered = commit::recover(locked, identity, sink, &mut |_| {})?;
    for recovery in &recovered {
        let what = match recovery.outcome {
            Outcome::TakenBack => "taken back: the target is as before it",
            Outcome::Completed => "complete: all of it had been written",
        };
        // Said at once: the rest of the run may fail.
        let _ = writeln!(
            std::io::stderr(),
            "note: the interrupted operation {} is {what}",
            recovery.id
        );
    }
    Ok(!recovered.is_empty())
}

/// Says so when an operation on this target was interrupted.
pub(super) fn interrupted(dir: &JournalDir, identity: &TargetIdentity) -> Result<Option<String>> {
    let listing = dir.list()?;
    let found = listing
        .on(identity)
        .find(|entry| entry.status == Status::Interrupted);
    Ok(found.map(|entry| {
        format!(
            "operation {} of {} was interrupted: the target is neither as before it nor as after it",
            entry.header.id, entry.header.started
        )
    }))
}

/// The note for commands that only read. A journal folder that cannot be read is no reason to fail them.
pub(super) fn interrupted_note(target: &Target) -> Option<String> {
    interrupted(&journal_dir(None, target), &target.identity())
        .ok()
        .flatten()
        .map(|note| format!("{note}; the next `coldfix repair` or `coldfix undo` settles it"))
}
