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
use super::operations;
use super::pieces::{self, length};
use crate::device::{ChangeSet, Patch};
use crate::error::{Error, Result};

/// How many ranges a message names.
const NAMED: usize = 8;

/// Why the changes cannot be right, in words.
pub(super) fn check_changes(changes: &ChangeSet) -> Result<(), String> {
    let mut files = BTreeSet::new();
    for patch in &changes.patches {
        if !files.insert(&patch.file) {
            return Err(format!("two patches for {}", patch.file.display()));
        }
        check_patch(patch)?;
    }
    operations::check(changes)
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
pub(super) fn changes_anything(changes: &ChangeSet) -> bool {
    let differs = |patch: &Patch| {
        let mut changes = patch.changes.iter();
        patch.before_len != patch.after_len || changes.any(|change| change.before != change.after)
    };
    !changes.operations.is_empty() || changes.patches.iter().any(differs)
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

    /// An error unless the file holds what was written.
    pub(super) fn check_after(&self) -> Result<()> {
        let Some(found) = self.difference(self.after_len, &self.not_after) else {
            return Ok(());
        };
        let offset = self.not_after.named.first().map_or(0, |range| range.0);
        Err(Error::damaged(
            format!("{} read back", self.file.display()),
            offset,
            "the bytes that were written",
            format!("other bytes: {found}"),
        ))
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

/// Compares one file with its patch.
pub(super) fn compare(open: &OpenPatch<'_>, read: &mut dyn FnMut(u64)) -> Result<Comparison> {
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
    pieces::visit(open, &mut |piece| {
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
