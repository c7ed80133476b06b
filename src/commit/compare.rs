// SPDX-License-Identifier: GPL-2.0-or-later
//! How a target stands to its patch: old, new, between, or something that is neither.
//!
//! ```text
//! a file that grows        |---- before_len ----|
//!                          |----------- after_len ---------|
//! before                   b b b b b b b b b b b 0 0 0 0 0 0    past its end a file counts as zeros,
//! after                    a a b b a a b b b b b a a 0 0 0 0    and so does what no change covers
//! ```
//!
//! Content is judged in pieces: the part of one change that lies in one 512-byte sector. A piece is old,
//! new, torn (each byte is the old or the new one) or foreign. A drive writes a sector whole or tears
//! it, and a second crash while the first is taken back can tear it again at another place: so torn
//! means any mix, not only one cut. Where a drive tears 4096 bytes at once, each of the eight parts is
//! judged alone, which is the same.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::apply::OpenPatch;
use super::{Progress, Stage, journal};
use crate::device::{Change, Patch};
use crate::error::{Error, Result, ResultExt};

/// The smallest unit that drives write whole.
const SECTOR: u64 = 512;
/// How much is read at a time: ours.
const CHUNK: usize = 1 << 20;
/// How many ranges a message names.
const NAMED: usize = 8;

/// Why the patches cannot be right, in words.
pub(super) fn check_patches(patches: &[Patch]) -> Result<(), String> {
    let mut files = BTreeSet::new();
    for patch in patches {
        if !files.insert(&patch.file) {
            return Err(format!("two patches for {}", patch.file.display()));
        }
        check_patch(patch)?;
    }
    Ok(())
}

fn check_patch(patch: &Patch) -> Result<(), String> {
    let longest = patch.before_len.max(patch.after_len);
    let mut free_from = 0;
    for change in &patch.changes {
        let place = format!("change at {:#x} of {}", change.offset, patch.file.display());
        if change.before.len() != change.after.len() || change.before.is_empty() {
            return Err(format!("{place} has no two equal, non-empty halves"));
        }
        let end = u64::try_from(change.after.len())
            .ok()
            .and_then(|len| change.offset.checked_add(len));
        match end {
            Some(end) if end <= longest && change.offset >= free_from => free_from = end,
            _ => {
                return Err(format!(
                    "{place} overlaps the one before it or the file's end"
                ));
            }
        }
        let zero_past = |bytes: &[u8], length: u64| {
            let inside = length.saturating_sub(change.offset);
            let inside = usize::try_from(inside).unwrap_or(usize::MAX);
            bytes.iter().skip(inside).all(|byte| *byte == 0)
        };
        if !zero_past(&change.before, patch.before_len)
            || !zero_past(&change.after, patch.after_len)
        {
            return Err(format!("{place} has content past the file's end"));
        }
    }
    Ok(())
}

/// False when before and after are the same.
pub(super) fn changes_anything(patch: &Patch) -> bool {
    patch.before_len != patch.after_len
        || patch
            .changes
            .iter()
            .any(|change| change.before != change.after)
}

/// Ranges of a file, in ascending order; neighbours become one.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    named: Vec<(u64, u64)>,
    more: u64,
}

impl Ranges {
    fn add(&mut self, start: u64, end: u64) {
        if let Some(last) = self.named.last_mut()
            && last.1 == start
        {
            last.1 = end;
        } else if self.named.len() < NAMED {
            self.named.push((start, end));
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    fn describe(&self, file: &Path) -> String {
        let named: Vec<String> = self
            .named
            .iter()
            .map(|(start, end)| format!("{start:#x}..{end:#x}"))
            .collect();
        let more = match self.more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{} at {}{more}", file.display(), named.join(", "))
    }
}

/// One file compared with its patch.
#[derive(Debug)]
pub(super) struct Comparison {
    file: PathBuf,
    length: u64,
    before_len: u64,
    after_len: u64,
    /// Where the content is not the old one, not the new one, and neither.
    not_before: Ranges,
    not_after: Ranges,
    foreign: Ranges,
}

impl Comparison {
    pub(super) fn is_before(&self) -> bool {
        self.length == self.before_len && self.not_before.is_empty()
    }

    pub(super) fn is_after(&self) -> bool {
        self.length == self.after_len && self.not_after.is_empty()
    }

    /// What no crash explains, in words.
    pub(super) fn foreign(&self) -> Option<String> {
        let shortest = self.before_len.min(self.after_len);
        let longest = self.before_len.max(self.after_len);
        if self.length < shortest || self.length > longest {
            return Some(format!(
                "{} is {} bytes long, neither {} as before nor {} as after",
                self.file.display(),
                self.length,
                self.before_len,
                self.after_len
            ));
        }
        (!self.foreign.is_empty()).then(|| self.foreign.describe(&self.file))
    }

    /// Where the file is not as before, in words.
    pub(super) fn not_before(&self) -> Option<String> {
        self.difference(self.before_len, &self.not_before)
    }

    fn difference(&self, length: u64, ranges: &Ranges) -> Option<String> {
        if self.length != length {
            return Some(format!(
                "{} is {} bytes long, not {length}",
                self.file.display(),
                self.length
            ));
        }
        (!ranges.is_empty()).then(|| ranges.describe(&self.file))
    }
}

/// Compares all files with their patches.
pub(super) fn compare_all(
    files: &[OpenPatch<'_>],
    stage: Stage,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Comparison>> {
    let total = journal::totals(files.iter().map(|open| open.patch)).1;
    let mut done = 0_u64;
    let mut comparisons = Vec::with_capacity(files.len());
    for open in files {
        let comparison = compare(open, &mut |bytes| {
            done = done.saturating_add(bytes).min(total);
            progress(Progress { stage, done, total });
        })
        .context(|| format!("comparing {}", open.patch.file.display()))?;
        comparisons.push(comparison);
    }
    Ok(comparisons)
}

/// Refuses unless every file is what its patch was made from.
pub(super) fn check_before(
    files: &[OpenPatch<'_>],
    progress: &mut dyn FnMut(Progress),
) -> Result<()> {
    let differences: Vec<String> = compare_all(files, Stage::Checking, progress)?
        .iter()
        .filter_map(Comparison::not_before)
        .collect();
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::refused(
        format!(
            "the target has changed since it was read: {}",
            differences.join("; ")
        ),
        "nothing was changed; close whatever else uses the target and run the command again",
    ))
}

/// Fails unless every file holds what was written.
pub(super) fn check_after(comparisons: &[Comparison]) -> Result<()> {
    for comparison in comparisons {
        if let Some(found) = comparison.difference(comparison.after_len, &comparison.not_after) {
            let offset = comparison
                .not_after
                .named
                .first()
                .map_or(0, |range| range.0);
            return Err(Error::damaged(
                format!("{} read back", comparison.file.display()),
                offset,
                "the bytes that were written",
                format!("other bytes: {found}"),
            ));
        }
    }
    Ok(())
}

fn compare(open: &OpenPatch<'_>, read: &mut dyn FnMut(u64)) -> Result<Comparison> {
    let patch = open.patch;
    let mut comparison = Comparison {
        file: patch.file.clone(),
        length: open.file.length()?,
        before_len: patch.before_len,
        after_len: patch.after_len,
        not_before: Ranges::default(),
        not_after: Ranges::default(),
        foreign: Ranges::default(),
    };
    visit(open, &mut |piece| {
        let end = piece.offset.saturating_add(length(piece.present));
        if piece.present != piece.before {
            comparison.not_before.add(piece.offset, end);
        }
        if piece.present != piece.after {
            comparison.not_after.add(piece.offset, end);
            if piece.present != piece.before && !piece.is_torn() {
                comparison.foreign.add(piece.offset, end);
            }
        }
        read(length(piece.present));
        Ok(())
    })?;
    Ok(comparison)
}

/// A part of one change in one sector; the three slices are of one length.
pub(super) struct Piece<'a> {
    pub(super) offset: u64,
    pub(super) before: &'a [u8],
    pub(super) after: &'a [u8],
    pub(super) present: &'a [u8],
}

impl Piece<'_> {
    /// Every byte is the old one or the new one.
    fn is_torn(&self) -> bool {
        let sides = self.before.iter().zip(self.after);
        let mut bytes = self.present.iter().zip(sides);
        bytes.all(|(present, (before, after))| present == before || present == after)
    }
}

/// Calls `piece` for every piece of the patch, in ascending order, with the bytes that are there now.
pub(super) fn visit(
    open: &OpenPatch<'_>,
    piece: &mut dyn FnMut(Piece<'_>) -> Result<()>,
) -> Result<()> {
    let patch = open.patch;
    let file_length = open.file.length()?;
    let shortest = patch.before_len.min(patch.after_len);
    let longest = patch.before_len.max(patch.after_len);
    let mut seen = shortest;
    for change in &patch.changes {
        // What the longer of the two has and no change names is zeros on both sides.
        if change.offset > seen {
            visit_zeros(open, file_length, seen, change.offset, piece)?;
        }
        visit_change(open, file_length, change, piece)?;
        seen = seen.max(change.offset.saturating_add(length(&change.after)));
    }
    visit_zeros(open, file_length, seen, longest, piece)
}

fn visit_zeros(
    open: &OpenPatch<'_>,
    file_length: u64,
    mut start: u64,
    end: u64,
    piece: &mut dyn FnMut(Piece<'_>) -> Result<()>,
) -> Result<()> {
    // Past the file's present end there is nothing to look at, however long a journal claims it was.
    let end = end.min(file_length);
    let zeros = vec![0; CHUNK.min(usize::try_from(end.saturating_sub(start)).unwrap_or(CHUNK))];
    while start < end {
        let rest = usize::try_from(end.saturating_sub(start)).unwrap_or(CHUNK);
        let zeros = zeros.get(..rest.min(CHUNK)).unwrap_or_default();
        visit_chunk(open, file_length, start, zeros, zeros, piece)?;
        start = start.saturating_add(length(zeros));
    }
    Ok(())
}

fn visit_change(
    open: &OpenPatch<'_>,
    file_length: u64,
    change: &Change,
    piece: &mut dyn FnMut(Piece<'_>) -> Result<()>,
) -> Result<()> {
    let mut offset = change.offset;
    for (before, after) in change.before.chunks(CHUNK).zip(change.after.chunks(CHUNK)) {
        visit_chunk(open, file_length, offset, before, after, piece)?;
        offset = offset.saturating_add(length(after));
    }
    Ok(())
}

/// Reads one chunk and cuts it at sector boundaries.
fn visit_chunk(
    open: &OpenPatch<'_>,
    file_length: u64,
    mut offset: u64,
    mut before: &[u8],
    mut after: &[u8],
    piece: &mut dyn FnMut(Piece<'_>) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; after.len()];
    let inside = file_length.saturating_sub(offset).min(length(after));
    let inside = usize::try_from(inside).unwrap_or(0);
    if let Some(readable) = buffer.get_mut(..inside)
        && !readable.is_empty()
    {
        open.file.read_at(offset, readable)?;
    }
    let mut present = buffer.as_slice();
    while !present.is_empty() {
        let into_sector = offset.checked_rem(SECTOR).unwrap_or(0);
        let to_boundary = usize::try_from(SECTOR.saturating_sub(into_sector)).unwrap_or(usize::MAX);
        let cut = to_boundary.min(present.len());
        let (Some(p), Some(b), Some(a)) = (
            present.split_at_checked(cut),
            before.split_at_checked(cut),
            after.split_at_checked(cut),
        ) else {
            return Ok(()); // the three are of one length
        };
        piece(Piece {
            offset,
            before: b.0,
            after: a.0,
            present: p.0,
        })?;
        (present, before, after) = (p.1, b.1, a.1);
        offset = offset.saturating_add(length(p.0));
    }
    Ok(())
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
