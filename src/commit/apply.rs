// SPDX-License-Identifier: GPL-2.0-or-later
//! Writing in place: a change set forwards, and backwards over whatever a crash left.
//!
//! Both directions may be cut off anywhere and started again: each byte is then the old or the new one,
//! each length lies between the two, and each operation of the host (`operations`) is done or not. Forwards
//! bytes come first and names last; backwards it is the other way round. Only [`super::recover`] and
//! [`super::commit`] call this, and only while a durable journal holds both sides.

use super::compare::{self, Comparison};
use super::operations::{self, Operations};
use super::pieces::{self, Piece};
use super::target::{Target, TargetFile};
use super::{Progress, Stage};
use crate::device::{ChangeSet, Patch};
use crate::error::{Error, Result, ResultExt};

/// What an operation of the host counts as in the progress, in bytes: ours.
const OPERATION: u64 = 512;
/// How much is gathered before it is written back: ours.
const RUN: usize = 1 << 20;
/// Across how long a gap ranges are dropped from the cache together: ours.
const DROPPED: u64 = 1 << 20;

/// A patch and the open, locked file it is for.
#[derive(Debug)]
pub(super) struct OpenPatch<'a> {
    pub(super) patch: &'a Patch,
    pub(super) file: Box<dyn TargetFile>,
}

/// A change set and the target it is for.
#[derive(Debug)]
pub(super) struct OpenChanges<'a> {
    files: Vec<OpenPatch<'a>>,
    operations: Operations<'a>,
    /// Bytes in all, for the progress.
    total: u64,
}

/// A change set compared with its target.
#[derive(Debug)]
pub(super) struct Comparisons {
    files: Vec<Comparison>,
    operations: operations::Comparison,
}

impl Comparisons {
    pub(super) fn is_after(&self) -> bool {
        self.files.iter().all(Comparison::is_after) && self.operations.not_after.is_empty()
    }

    /// What no crash explains, in words.
    pub(super) fn foreign(&self) -> Option<String> {
        let files = self.files.iter().filter_map(Comparison::foreign);
        joined(files.chain(self.operations.foreign.describe()))
    }

    /// What is not as before, in words.
    pub(super) fn not_before(&self) -> Option<String> {
        let files = self.files.iter().filter_map(Comparison::not_before);
        joined(files.chain(self.operations.not_before.describe()))
    }

    /// Fails unless everything is as after.
    fn check_after(&self) -> Result<()> {
        for comparison in &self.files {
            comparison.check_after()?;
        }
        match self.operations.not_after.describe() {
            None => Ok(()),
            Some(found) => Err(Error::damaged(
                "the folder, read back",
                0,
                "the names and permissions that were set",
                found,
            )),
        }
    }
}

fn joined(parts: impl Iterator<Item = String>) -> Option<String> {
    let parts: Vec<String> = parts.collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

impl<'a> OpenChanges<'a> {
    /// Opens every file before any is looked at, so that all are locked at once.
    pub(super) fn open(changes: &'a ChangeSet, target: &'a mut dyn Target) -> Result<Self> {
        let mut files = Vec::with_capacity(changes.patches.len());
        let moved = operations::moved(&changes.operations, target)?;
        for patch in &changes.patches {
            let file = target.open(&moved.locate(&patch.file))?;
            files.push(OpenPatch { patch, file });
        }
        let operations = Operations::new(&changes.operations, target);
        let count = u64::try_from(operations.count()).unwrap_or(u64::MAX);
        Ok(OpenChanges {
            files,
            operations,
            total: changes
                .totals()
                .1
                .saturating_add(count.saturating_mul(OPERATION)),
        })
    }

    /// A closure that counts bytes done at this stage.
    fn counted<'p>(
        &self,
        stage: Stage,
        progress: &'p mut dyn FnMut(Progress),
    ) -> impl FnMut(u64) + 'p {
        let total = self.total;
        let mut done = 0_u64;
        move |bytes| {
            done = done.saturating_add(bytes).min(total);
            progress(Progress { stage, done, total });
        }
    }

    /// Compares everything with what is there.
    pub(super) fn compare(
        &self,
        stage: Stage,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Comparisons> {
        let mut count = self.counted(stage, progress);
        let mut files = Vec::with_capacity(self.files.len());
        for open in &self.files {
            let comparison = compare::compare(open, &mut count)
                .context(|| format!("comparing {}", open.patch.file.display()))?;
            files.push(comparison);
        }
        let operations = self.operations.compare(&mut || count(OPERATION))?;
        Ok(Comparisons { files, operations })
    }

    /// Writes every `after`, file by file in order of offset, and does every operation.
    pub(super) fn write_all(&self, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        let mut count = self.counted(Stage::Writing, progress);
        for OpenPatch { patch, file } in &self.files {
            write_patch(patch, file.as_ref(), &mut count)
                .context(|| format!("writing {}", patch.file.display()))?;
        }
        self.operations.apply(&mut || count(OPERATION))
    }

    /// Makes everything durable. An error here is final for this run: after one, the host may call lost pages
    /// clean, so that another flush succeeds and proves nothing. Recovery drops the cache before it looks.
    pub(super) fn flush_all(&self, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        let total = u64::try_from(self.files.len()).unwrap_or(u64::MAX);
        for (done, OpenPatch { patch, file }) in (1_u64..).zip(&self.files) {
            file.flush()
                .context(|| format!("flushing {}", patch.file.display()))?;
            progress(Progress {
                stage: Stage::Flushing,
                done,
                total,
            });
        }
        self.operations.flush()
    }

    /// Makes the next reads of the patched ranges come from the medium, where the host lets us.
    pub(super) fn forget_cached(&self) {
        for OpenPatch { patch, file } in &self.files {
            let mut range: Option<(u64, u64)> = None;
            for change in &patch.changes {
                let end = change.offset.saturating_add(pieces::length(&change.after));
                match &mut range {
                    // What lies between is dropped too, which costs nothing but another read.
                    Some((_, last)) if change.offset.saturating_sub(*last) <= DROPPED => {
                        *last = end;
                    }
                    _ => {
                        if let Some((start, end)) = range.replace((change.offset, end)) {
                            file.forget_cached(start, end.saturating_sub(start));
                        }
                    }
                }
            }
            if let Some((start, end)) = range {
                file.forget_cached(start, end.saturating_sub(start));
            }
        }
    }

    /// Fails unless everything is now as after, read from the medium where the host lets us.
    pub(super) fn read_back(&self, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        self.forget_cached();
        self.compare(Stage::ReadingBack, progress)?.check_after()
    }

    /// Brings everything back to its `before`, writing only what differs, and makes it durable. The caller
    /// has made sure that nothing foreign is there.
    pub(super) fn take_back(&self, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        self.operations.take_back()?;
        for open in &self.files {
            take_back_file(open)
                .context(|| format!("taking {} back", open.patch.file.display()))?;
        }
        self.flush_all(progress)?;
        self.forget_cached();
        let comparisons = self.compare(Stage::ReadingBack, progress)?;
        match comparisons.not_before() {
            None => Ok(()),
            Some(found) => Err(Error::damaged(
                "the target, read back after it was taken back",
                0,
                "what was there before",
                found,
            )),
        }
    }
}

fn write_patch(patch: &Patch, file: &dyn TargetFile, written: &mut dyn FnMut(u64)) -> Result<()> {
    if patch.after_len > patch.before_len {
        file.set_length(patch.after_len)?;
    }
    for change in &patch.changes {
        let data = clip(change.offset, &change.after, patch.after_len);
        if !data.is_empty() {
            file.write_at(change.offset, data)?;
        }
        written(pieces::length(&change.after));
    }
    if patch.after_len < patch.before_len {
        file.set_length(patch.after_len)?;
    }
    Ok(())
}

fn take_back_file(open: &OpenPatch<'_>) -> Result<()> {
    let before_len = open.patch.before_len;
    let length = open.file.length()?;
    if length < before_len {
        open.file.set_length(before_len)?;
    }
    // Differing pieces that follow each other are written together.
    let mut start = 0_u64;
    let mut run: Vec<u8> = Vec::new();
    let write = |start: u64, run: &mut Vec<u8>| -> Result<()> {
        let data = clip(start, run, before_len);
        if !data.is_empty() {
            open.file.write_at(start, data)?;
        }
        run.clear();
        Ok(())
    };
    pieces::visit(open, &mut |piece: Piece<'_>| {
        let end = start.saturating_add(pieces::length(&run));
        if piece.present == piece.before || end != piece.offset || run.len() >= RUN {
            write(start, &mut run)?;
        }
        if piece.present != piece.before {
            if run.is_empty() {
                start = piece.offset;
            }
            run.extend_from_slice(piece.before);
        }
        Ok(())
    })?;
    write(start, &mut run)?;
    if length > before_len {
        open.file.set_length(before_len)?;
    }
    Ok(())
}

/// The part of `data`, which belongs at `offset`, that lies before `length`.
fn clip(offset: u64, data: &[u8], length: u64) -> &[u8] {
    let inside = usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX);
    data.get(..inside.min(data.len())).unwrap_or_default()
}
