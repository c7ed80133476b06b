// SPDX-License-Identifier: GPL-2.0-or-later
//! Exact undo: the same changes, `before` and `after` swapped, committed as an operation of its own.
//!
//! Undo is exact or it is not done: every byte that the operation wrote must still be there, every name and
//! descriptor that it set, and the old names must be free. An undo
//! can be undone in its turn, which does the first operation again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::apply::OpenChanges;
use super::directory::{Entry, JournalDir, LockedDir, Status};
use super::operations::Moved;
use super::pieces::length;
use super::target::Target;
use super::whole_files;
use super::{Committed, OperationHeader, Progress, Stage, TargetIdentity, commit};
use crate::device::{ChangeSet, HostOperation, Patch};
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

/// Checks that the operation can be taken back; the changes that do so.
fn prepare(
    dir: &JournalDir,
    id: &str,
    identity: &TargetIdentity,
    target: &mut dyn Target,
    progress: &mut dyn FnMut(Progress),
) -> Result<ChangeSet> {
    let listing = dir.list()?;
    let lengths = listing.lengths(identity);
    if let Some(damaged) = listing.damaged.into_iter().find(|damaged| damaged.id == id) {
        let context = format!("operation {id} cannot be undone: its journal cannot be read");
        return Err(damaged.error.with_hint(context, REVERT));
    }
    let mut operations = listing.operations.into_iter();
    let Some(entry) = operations.find(|entry| entry.header.id == id) else {
        return Err(dir.no_operation(id));
    };
    check_status(&entry)?;
    check_target(&entry, identity, &lengths)?;
    let (_, changes) = dir
        .load(id)
        .map_err(|error| error.with_hint(format!("operation {id} cannot be undone"), REVERT))?;
    let inverse = invert(changes);
    // The iterator has gone past `entry`: what is left is later.
    for later in operations {
        check_later(dir, &inverse, &later, identity, &lengths)?;
    }
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
fn check_target(entry: &Entry, identity: &TargetIdentity, lengths: &BTreeSet<u64>) -> Result<()> {
    let earlier = &entry.header.target;
    if earlier.may_be(identity, lengths) {
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

/// Operations are undone in the reverse of their order where they touch the same.
fn check_later(
    dir: &JournalDir,
    inverse: &ChangeSet,
    later: &Entry,
    identity: &TargetIdentity,
    lengths: &BTreeSet<u64>,
) -> Result<()> {
    // An undo that stands cancels with the operation it undid, which is why it needs no look.
    if later.status != Status::Done || later.header.undoes.is_some() {
        return Ok(());
    }
    if check_target(later, identity, lengths).is_err() {
        return Ok(());
    }
    // A later journal that cannot be read says nothing; the comparison of the content decides.
    let Ok((_, changes)) = dir.load(&later.header.id) else {
        return Ok(());
    };
    let Some(same) = touch_the_same(inverse, &changes) else {
        return Ok(());
    };
    let id = &later.header.id;
    Err(Error::refused(
        format!("the later operation {id} changed the same {same}"),
        format!("undo {id} first"),
    ))
}

/// What both change, in a word. The paths of the inverse are those from after the operation, and so those
/// that a later one starts from.
fn touch_the_same(inverse: &ChangeSet, later: &ChangeSet) -> Option<&'static str> {
    let mut patches = BTreeMap::new();
    for patch in &later.patches {
        patches.insert(&patch.file, patch);
    }
    let overlaps = |patch: &Patch| {
        let other = patches.get(&patch.file);
        other.is_some_and(|other| overlap(patch, other))
    };
    if inverse.patches.iter().any(overlaps) {
        return Some("bytes");
    }
    let secured: BTreeSet<&Path> = descriptors(later).collect();
    if descriptors(inverse).any(|file| secured.contains(file)) {
        return Some("permissions");
    }
    if whole_files_meet(inverse, later) || whole_files_meet(later, inverse) {
        return Some("files");
    }
    (names_meet(inverse, later) || names_meet(later, inverse)).then_some("names")
}

/// True when `one` makes or removes a file that `other` changes in any way.
fn whole_files_meet(one: &ChangeSet, other: &ChangeSet) -> bool {
    let whole: BTreeSet<&Path> = whole_files::of(&one.operations)
        .map(|whole| whole.file)
        .collect();
    let patched = other.patches.iter().map(|patch| patch.file.as_path());
    let operated = other.operations.iter().map(HostOperation::file);
    patched.chain(operated).any(|file| whole.contains(file))
}

fn descriptors(changes: &ChangeSet) -> impl Iterator<Item = &Path> {
    let set = |operation: &&HostOperation| matches!(operation, HostOperation::SetSecurity { .. });
    let operations = changes.operations.iter().filter(set);
    operations.map(HostOperation::file)
}

/// True when `one` renames what `other` changes, or a folder above it, or to a name that `other` renames to.
fn names_meet(one: &ChangeSet, other: &ChangeSet) -> bool {
    let names = |changes: &ChangeSet| -> BTreeSet<PathBuf> {
        let renamed = changes
            .operations
            .iter()
            .filter_map(|operation| match operation {
                HostOperation::Rename { file, name } => {
                    Some([file.clone(), file.with_file_name(name)])
                }
                HostOperation::SetSecurity { .. }
                | HostOperation::Make { .. }
                | HostOperation::Remove { .. } => None,
            });
        renamed.flatten().collect()
    };
    let renamed = names(one);
    if renamed.is_empty() {
        return false;
    }
    let patched = other.patches.iter().map(|patch| patch.file.as_path());
    let operated = other.operations.iter().map(HostOperation::file);
    let new_names = names(other);
    let mut touched = patched
        .chain(operated)
        .chain(new_names.iter().map(PathBuf::as_path));
    touched.any(|file| file.ancestors().any(|above| renamed.contains(above)))
}

fn overlap(one: &Patch, other: &Patch) -> bool {
    let resizes = |patch: &Patch| patch.before_len != patch.after_len;
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
    change.offset.saturating_add(length(&change.after))
}

/// The same the other way round. Its paths are those from after the operation.
fn invert(changes: ChangeSet) -> ChangeSet {
    let moved = Moved::all(&changes.operations);
    let operations = changes
        .operations
        .iter()
        .map(|operation| {
            let now = moved.locate(operation.file()).into_owned();
            match operation {
                HostOperation::SetSecurity { before, after, .. } => HostOperation::SetSecurity {
                    file: now,
                    before: Arc::clone(after),
                    after: Arc::clone(before),
                },
                HostOperation::Rename { file, .. } => HostOperation::Rename {
                    file: now,
                    // The check of the journal has made sure that it is one.
                    name: file
                        .file_name()
                        .and_then(std::ffi::OsStr::to_str)
                        .unwrap_or_default()
                        .to_owned(),
                },
                HostOperation::Make { copy, .. } => HostOperation::Remove {
                    file: now,
                    copy: Arc::clone(copy),
                },
                HostOperation::Remove { copy, .. } => HostOperation::Make {
                    file: now,
                    copy: Arc::clone(copy),
                },
            }
        })
        .collect();
    let mut patches = changes.patches;
    for patch in &mut patches {
        patch.file = moved.locate(&patch.file).into_owned();
        std::mem::swap(&mut patch.before_len, &mut patch.after_len);
        for change in &mut patch.changes {
            std::mem::swap(&mut change.before, &mut change.after);
        }
    }
    ChangeSet {
        patches,
        operations,
    }
}

/// As [`commit`] checks again, but with the hint that fits here.
fn check_unchanged(
    id: &str,
    inverse: &ChangeSet,
    target: &mut dyn Target,
    progress: &mut dyn FnMut(Progress),
) -> Result<()> {
    let open = OpenChanges::open(inverse, target)?;
    match open.compare(Stage::Checking, progress)?.not_before() {
        None => Ok(()),
        Some(changed) => Err(Error::refused(
            format!("the target has changed since operation {id}: {changed}"),
            format!(
                "nothing was changed; Windows or another program has written there since; {REVERT}"
            ),
        )),
    }
}
