// SPDX-License-Identifier: GPL-2.0-or-later
//! What the next start does about an operation that was cut off.
//!
//! ```text
//! flush, drop the host's cache, compare.
//! The target is ...                             then
//! new everywhere                                mark as done
//! old everywhere                                mark as taken back
//! between: each byte, name and descriptor the   bring the old ones back, flush, read back, mark as taken back
//!          old or the new one
//! anything else                                 refused, nothing touched
//! ```
//!
//! Back is the default direction, because the person has not yet been told that the operation was done.
//! Cut off itself, recovery leaves one of the first three cases, and the next start begins again.

use std::path::Path;

use super::apply::OpenChanges;
use super::directory::{Entry, JournalDir, LockedDir, Marker, Status};
use super::target::Target;
use super::{Progress, Stage, TargetIdentity};
use crate::error::{Error, Result, ResultExt};

/// What was done about an operation that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The operation.
    pub id: String,
    /// Which way it went.
    pub outcome: Outcome,
}

/// Which way an interrupted operation went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The target is as before the operation.
    TakenBack,
    /// Everything had been written: the target is as after the operation.
    Completed,
}

/// Settles every interrupted operation on the target that is `identity`. Call it before the target is
/// read for anything else, and read the target afresh if it returns any.
///
/// # Errors
/// - Refused, nothing touched: the target holds something that neither the operation nor a crash put
///   there, or it cannot be told whether an interrupted operation was on this target.
/// - Damaged: the journal of an interrupted operation is not what was written.
/// - Io: the operation stays interrupted; recovery may be tried again.
pub fn recover(
    dir: &LockedDir,
    identity: &TargetIdentity,
    target: &mut dyn Target,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Recovery>> {
    let mut recoveries = Vec::new();
    // The newest first: should there be two, the later one was made from what the earlier one left.
    for entry in unfinished(dir, identity)?.iter().rev() {
        let id = &entry.header.id;
        let outcome = settle(dir, entry, target, progress)
            .context(|| format!("recovering the interrupted operation {id}"))?;
        recoveries.push(Recovery {
            id: id.clone(),
            outcome,
        });
    }
    Ok(recoveries)
}

fn settle(
    dir: &LockedDir,
    entry: &Entry,
    target: &mut dyn Target,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome> {
    let id = &entry.header.id;
    let (_, changes) = dir
        .load(id)
        .map_err(|error| unreadable(error, &entry.journal))?;
    let open = OpenChanges::open(&changes, target)?;
    // The run may have been cut off before its flush, or its flush may have failed: then the host's
    // cache holds bytes that never reached the disk and never will. So judge what the disk gives.
    open.flush_all(progress)?;
    open.forget_cached();
    let comparisons = open.compare(Stage::Checking, progress)?;
    if comparisons.is_after() {
        dir.mark(id, Marker::Done)?;
        return Ok(Outcome::Completed);
    }
    if let Some(foreign) = comparisons.foreign() {
        return Err(Error::refused(
            format!("something else has changed the target since: {foreign}"),
            format!(
                "nothing was changed; if this is another disk, use another --journal-dir; if the disk \
                 has been in use since, check it with chkdsk and then move {} out of its folder (it \
                 holds the bytes from before)",
                entry.journal.display()
            ),
        ));
    }
    open.take_back(progress)?;
    dir.mark(id, Marker::TakenBack)?;
    Ok(Outcome::TakenBack)
}

/// The interrupted operations on this target, oldest first.
///
/// # Errors
/// Refused when one might be on this target and it cannot be told.
pub(super) fn unfinished(dir: &JournalDir, identity: &TargetIdentity) -> Result<Vec<Entry>> {
    let listing = dir.list()?;
    if let Some(damaged) = listing.damaged.into_iter().find(|damaged| !damaged.ended) {
        return Err(unreadable(damaged.error, &damaged.journal));
    }
    let mut unfinished = Vec::new();
    for entry in listing.operations {
        if entry.status == Status::Interrupted && is_same(&entry, identity)? {
            unfinished.push(entry);
        }
    }
    Ok(unfinished)
}

/// Without its journal nobody can tell what an interrupted operation has left.
fn unreadable(error: Error, journal: &Path) -> Error {
    error.with_hint(
        "the journal of an operation that was interrupted cannot be read",
        format!(
            "it may be this target that is half-written: restore {} from a backup, or, if its operation \
             was on another target or is known to be harmless, move it out of its folder",
            journal.display()
        ),
    )
}

/// Whether an interrupted operation was on the target at hand. Wrongly yes is caught by the comparison
/// of the content; wrongly no would leave a half-written disk unnoticed, so doubt is refused.
fn is_same(entry: &Entry, identity: &TargetIdentity) -> Result<bool> {
    let earlier = &entry.header.target;
    if earlier.kind != identity.kind {
        return Ok(false);
    }
    if earlier.is_other_disk(identity) {
        // Another disk has taken the path of the first.
        return Ok(false);
    }
    if earlier.path == identity.path {
        if earlier.fits_length(identity.len) {
            return Ok(true);
        }
        return Err(Error::refused(
            format!(
                "operation {} was interrupted on {}, which was {} bytes long then and is {} now",
                entry.header.id, earlier.path, earlier.len, identity.len
            ),
            format!(
                "if this is another disk, use another --journal-dir; if it was resized, restore its \
                 length; the journal is {}",
                entry.journal.display()
            ),
        ));
    }
    // Moved, not copied: of two copies only the one at the old path is known to be half-written.
    let known_by_id = earlier.has_id_of(identity);
    Ok(known_by_id && earlier.fits_length(identity.len) && !Path::new(&earlier.path).exists())
}
