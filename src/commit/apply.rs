// SPDX-License-Identifier: GPL-2.0-or-later
//! Writing in place: patches forwards, and backwards over whatever a crash left.
//!
//! Both directions may be cut off anywhere and started again: each byte is then the old or the new one,
//! and each length lies between the two. Only [`super::recover`] and [`super::commit`] call this, and
//! only while a durable journal holds both sides.

use super::compare::{self, Piece};
use super::target::{Target, TargetFile};
use super::{Progress, Stage, journal};
use crate::device::Patch;
use crate::error::{Error, Result, ResultExt};

/// A patch and the open, locked file it is for.
#[derive(Debug)]
pub(super) struct OpenPatch<'a> {
    pub(super) patch: &'a Patch,
    pub(super) file: Box<dyn TargetFile>,
}

/// Opens every file before any is looked at, so that all are locked at once.
pub(super) fn open_all<'a>(
    patches: &'a [Patch],
    target: &mut dyn Target,
) -> Result<Vec<OpenPatch<'a>>> {
    let mut files = Vec::with_capacity(patches.len());
    for patch in patches {
        let file = target.open(&patch.file)?;
        files.push(OpenPatch { patch, file });
    }
    Ok(files)
}

/// Writes every `after`, file by file in order of offset.
pub(super) fn write_all(files: &[OpenPatch<'_>], progress: &mut dyn FnMut(Progress)) -> Result<()> {
    let total = journal::totals(files.iter().map(|open| open.patch)).1;
    let mut done = 0_u64;
    for OpenPatch { patch, file } in files {
        write_patch(patch, file.as_ref(), &mut |bytes| {
            done = done.saturating_add(bytes);
            progress(Progress {
                stage: Stage::Writing,
                done,
                total,
            });
        })
        .context(|| format!("writing {}", patch.file.display()))?;
    }
    Ok(())
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
        written(u64::try_from(change.after.len()).unwrap_or(u64::MAX));
    }
    if patch.after_len < patch.before_len {
        file.set_length(patch.after_len)?;
    }
    Ok(())
}

/// Makes every file durable. An error here is final for this run: after one, the host may call lost pages
/// clean, so that another flush succeeds and proves nothing. Recovery drops the cache before it looks.
pub(super) fn flush_all(files: &[OpenPatch<'_>], progress: &mut dyn FnMut(Progress)) -> Result<()> {
    let total = u64::try_from(files.len()).unwrap_or(u64::MAX);
    for (done, OpenPatch { patch, file }) in (1_u64..).zip(files) {
        file.flush()
            .context(|| format!("flushing {}", patch.file.display()))?;
        progress(Progress {
            stage: Stage::Flushing,
            done,
            total,
        });
    }
    Ok(())
}

/// Makes the next reads of the patched ranges come from the medium, where the host lets us.
pub(super) fn forget_cached(files: &[OpenPatch<'_>]) {
    for open in files {
        for change in &open.patch.changes {
            let len = u64::try_from(change.after.len()).unwrap_or(u64::MAX);
            open.file.forget_cached(change.offset, len);
        }
    }
}

/// Fails unless every file now holds its `after`, read from the medium where the host lets us.
pub(super) fn read_back(files: &[OpenPatch<'_>], progress: &mut dyn FnMut(Progress)) -> Result<()> {
    forget_cached(files);
    let comparisons = compare::compare_all(files, Stage::ReadingBack, progress)?;
    compare::check_after(&comparisons)
}

/// Brings every file back to its `before`, writing only what differs, and makes it durable. The caller
/// has made sure that nothing foreign is there.
pub(super) fn take_back(files: &[OpenPatch<'_>], progress: &mut dyn FnMut(Progress)) -> Result<()> {
    for open in files {
        take_back_file(open).context(|| format!("taking {} back", open.patch.file.display()))?;
    }
    flush_all(files, progress)?;
    forget_cached(files);
    let comparisons = compare::compare_all(files, Stage::ReadingBack, progress)?;
    if comparisons.iter().all(compare::Comparison::is_before) {
        return Ok(());
    }
    Err(Error::damaged(
        "the target, read back after it was taken back",
        0,
        "the bytes that were written",
        "other bytes",
    ))
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
    compare::visit(open, &mut |piece: Piece<'_>| {
        let end = start.saturating_add(u64::try_from(run.len()).unwrap_or(u64::MAX));
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

/// How much [`take_back_file`] gathers before it writes: ours.
const RUN: usize = 1 << 20;

/// The part of `data`, which belongs at `offset`, that lies before `length`.
fn clip(offset: u64, data: &[u8], length: u64) -> &[u8] {
    let inside = usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX);
    data.get(..inside.min(data.len())).unwrap_or_default()
}
