// SPDX-License-Identifier: GPL-2.0-or-later
//! Exact undo: the same ranges, `before` and `after` swapped, committed as an operation of its own.
//!
//! Undo is exact or it is not done: every byte that the operation wrote must still be there. An undo
//! can be undone in its turn, which does the first operation again.

use super::compare::{self, Comparison};
use super::directory::{Entry, JournalDir, LockedDir, Status};
use super::target::Target;
use super::{Committed, OperationHeader, Progress, Stage, TargetIdentity, apply, commit};
use crate::device::Patch;
use crate::error::{Error, Result, ResultExt};

/// Takes the operation `id` back, bit for bit. `header` describes the undo itself; its `undoes` is set
/// here. After this the target's bytes and the lengths of its files are those from before `id`.
///
/// # Errors
/// Refused, nothing touched: there is no such operation, it is on another target, it is already undone
/// or never took effect, a later operation that still stands overlaps it, or the target has changed
/// since. Otherwise as [`commit`].
pub fn undo(
    dir: &LockedDir,
    id: &str,
    header: OperationHeader,
    target: &mut dyn Target,
    progress: &mut dyn FnMut(Progress),
) -> Result<Committed> {
    let inverse = prepare(dir, id, &header.target, target, progress)?;
    let header = OperationHeader {
        undoes: Some(id.to_owned()),
        ..header
    };
    commit(dir, header, &inverse, target, progress).context(|| format!("undoing operation {id}"))
}

/// What [`undo`] looks at before it writes, for a dry run: an error is the one that `undo` would end with.
pub fn check_undo(
    dir: &JournalDir,
    id: &str,
    identity: &TargetIdentity,
    target: &mut dyn Target,
) -> Result<()> {
    prepare(dir, id, identity, target, &mut |_| {}).map(|_| ())
}

/// Checks that the operation can be taken back; the patches that do so.
fn prepare(
    dir: &JournalDir,
    id: &str,
    identity: &TargetIdentity,
    target: &mut dyn Target,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Patch>> {
    let listing = dir.list()?;
    if let Some(damaged) = listing.damaged.into_iter().find(|damaged| damaged.id == id) {
        let context = format!("operation {id} cannot be undone: its journal cannot be read");
        return Err(damaged.error.with_hint(context, REVERT));
    }
    let mut operations = listing.operations.into_iter();
    let Some(entry) = operations.find(|entry| entry.header.id == id) else {
        return Err(dir.no_operation(id));
    };
    check_status(&entry)?;
    check_target(&entry, identity)?;
    let (_, patches) = dir
        .load(id)
        .map_err(|error| error.with_hint(format!("operation {id} cannot be undone"), REVERT))?;
    // The iterator has gone past `entry`: what is left is later.
    for later in operations {
        check_later(dir, &patches, &later, identity)?;
    }
    let inverse: Vec<Patch> = patches.into_iter().map(invert).collect();
    check_unchanged(id, &inverse, target, progress)?;
    Ok(inverse)
}

const REVERT: &str = "`coldfix undo TARGET ID --revert` takes back the logical edits instead";

fn check_status(entry: &Entry) -> Result<()> {
    let id = &entry.header.id;
    let (what, next) = match &entry.status {
        Status::Done => return Ok(()),
        Status::Interrupted => (
            format!("operation {id} was interrupted"),
            "run the command again: the interrupted operation is taken back first".to_owned(),
        ),
        Status::TakenBack => (
            format!("operation {id} was cut off and taken back; it changed nothing"),
            "there is nothing to undo".to_owned(),
        ),
        Status::Undone { by } => (
            format!("operation {id} is already undone, by operation {by}"),
            format!("to do it again, undo {by}"),
        ),
    };
    Err(Error::refused(what, next))
}

/// The path may differ: an image may have been moved or copied. The content is compared anyway.
fn check_target(entry: &Entry, identity: &TargetIdentity) -> Result<()> {
    let earlier = &entry.header.target;
    if earlier.kind == identity.kind
        && earlier.len == identity.len
        && !earlier.is_other_disk(identity)
    {
        return Ok(());
    }
    Err(Error::refused(
        format!(
            "operation {} was on another target: {}, {} bytes, disk id {}",
            entry.header.id,
            earlier.path,
            earlier.len,
            earlier.disk_id.as_deref().unwrap_or("unknown")
        ),
        "name the target that the operation was done on",
    ))
}

/// Operations are undone in the reverse of their order where they touch the same bytes.
fn check_later(
    dir: &JournalDir,
    patches: &[Patch],
    later: &Entry,
    identity: &TargetIdentity,
) -> Result<()> {
    // An undo that stands cancels with the operation it undid, which is why it needs no look.
    if later.status != Status::Done || later.header.undoes.is_some() {
        return Ok(());
    }
    if check_target(later, identity).is_err() {
        return Ok(());
    }
    // A later journal that cannot be read says nothing; the comparison of the content decides.
    let Ok((_, later_patches)) = dir.load(&later.header.id) else {
        return Ok(());
    };
    if !patches
        .iter()
        .any(|patch| later_patches.iter().any(|other| overlap(patch, other)))
    {
        return Ok(());
    }
    let id = &later.header.id;
    Err(Error::refused(
        format!("the later operation {id} changed the same bytes"),
        format!("undo {id} first"),
    ))
}

fn overlap(one: &Patch, other: &Patch) -> bool {
    let resizes = |patch: &Patch| patch.before_len != patch.after_len;
    if one.file != other.file {
        return false;
    }
    if resizes(one) || resizes(other) {
        return true;
    }
    // Both are sorted: step the one that ends first.
    let (mut ones, mut others) = (
        one.changes.iter().peekable(),
        other.changes.iter().peekable(),
    );
    while let (Some(a), Some(b)) = (ones.peek(), others.peek()) {
        if end(a) <= b.offset {
            ones.next();
        } else if end(b) <= a.offset {
            others.next();
        } else {
            return true;
        }
    }
    false
}

fn end(change: &crate::device::Change) -> u64 {
    let length = u64::try_from(change.after.len()).unwrap_or(u64::MAX);
    change.offset.saturating_add(length)
}

fn invert(patch: Patch) -> Patch {
    let mut inverse = Patch {
        before_len: patch.after_len,
        after_len: patch.before_len,
        ..patch
    };
    for change in &mut inverse.changes {
        std::mem::swap(&mut change.before, &mut change.after);
    }
    inverse
}

/// As [`commit`] checks again, but with the hint that fits here.
fn check_unchanged(
    id: &str,
    inverse: &[Patch],
    target: &mut dyn Target,
    progress: &mut dyn FnMut(Progress),
) -> Result<()> {
    let files = apply::open_all(inverse, target)?;
    let changed: Vec<String> = compare::compare_all(&files, Stage::Checking, progress)?
        .iter()
        .filter_map(Comparison::not_before)
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    Err(Error::refused(
        format!(
            "the target has changed since operation {id}: {}",
            changed.join("; ")
        ),
        format!(
            "nothing was changed; Windows or another program has written there since; {REVERT}"
        ),
    ))
}
