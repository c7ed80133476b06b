// SPDX-License-Identifier: GPL-2.0-or-later
//! From two contents of a file to the patch between them.
//!
//! ```text
//! before   |aaaa|bbbb|cccc|dd              past its end a content counts as zeros
//! after    |aaaa|bXbb|cccc|ddee|ff
//! changes       [1   ]    [2      ]        whole sectors of 512 bytes, cut at the longer end
//! ```

use std::path::Path;

use crate::device::{Change, Patch};

/// What is compared and written as one: the smallest unit that drives write whole.
const SECTOR: usize = 512;

/// A patch in the making: the old content comes in pieces, so that a long file need not be in memory twice.
pub(super) struct Difference<'a> {
    after: &'a [u8],
    changes: Vec<Change>,
    /// Where the last change ends, so that neighbours become one.
    end: usize,
    /// Where the next sector begins.
    start: usize,
    /// The old bytes from there on: less than a sector.
    rest: Vec<u8>,
}

impl<'a> Difference<'a> {
    /// Of a file that is to hold `after`.
    pub(super) fn new(after: &'a [u8]) -> Difference<'a> {
        Difference {
            after,
            changes: Vec::new(),
            end: 0,
            start: 0,
            rest: Vec::new(),
        }
    }

    /// The next piece of the old content.
    pub(super) fn piece(&mut self, piece: &[u8]) {
        let joined;
        let piece = match self.rest.is_empty() {
            true => piece,
            false => {
                joined = [std::mem::take(&mut self.rest).as_slice(), piece].concat();
                &joined
            }
        };
        let mut sectors = piece.chunks_exact(SECTOR);
        for sector in &mut sectors {
            self.compare(sector, SECTOR);
        }
        self.rest = sectors.remainder().to_vec();
    }

    /// The patch of `file`; `None` when the contents are the same.
    pub(super) fn finish(mut self, file: &Path) -> Option<Patch> {
        let rest = std::mem::take(&mut self.rest);
        let before_len = self.start.saturating_add(rest.len());
        let longest = before_len.max(self.after.len());
        let mut old = rest.as_slice();
        while self.start < longest {
            self.compare(old, SECTOR.min(longest.saturating_sub(self.start)));
            old = &[];
        }
        let is_same = self.changes.is_empty() && before_len == self.after.len();
        (!is_same).then(|| Patch {
            file: file.to_owned(),
            before_len: length(before_len),
            after_len: length(self.after.len()),
            changes: self.changes,
        })
    }

    /// Compares the next sector, of `len` bytes, whose old bytes are `old` and zeros.
    fn compare(&mut self, old: &[u8], len: usize) {
        let start = self.start;
        self.start = start.saturating_add(len);
        let end = self.start.min(self.after.len());
        let new = self.after.get(start..end).unwrap_or_default();
        if old == new {
            return;
        }
        let (old, new) = (padded(old, len), padded(new, len));
        if old == new {
            return;
        }
        match self.changes.last_mut() {
            Some(last) if self.end == start => {
                last.before.extend_from_slice(&old);
                last.after.extend_from_slice(&new);
            }
            _ => self.changes.push(Change {
                offset: length(start),
                before: old,
                after: new,
            }),
        }
        self.end = self.start;
    }
}

/// Makes of `content`, as it was when the patch was made, what it is to be.
pub(super) fn apply(patch: &Patch, content: &mut Vec<u8>) {
    let after_len = usize::try_from(patch.after_len).unwrap_or(usize::MAX);
    content.resize(after_len, 0);
    for change in &patch.changes {
        let start = usize::try_from(change.offset).unwrap_or(usize::MAX);
        let place = content.get_mut(start..).unwrap_or_default();
        // What is cut off is listed too, as zeros.
        for (byte, new) in place.iter_mut().zip(&change.after) {
            *byte = *new;
        }
    }
}

/// `content` with zeros up to `len` bytes.
fn padded(content: &[u8], len: usize) -> Vec<u8> {
    let mut content = content.to_vec();
    content.resize(len, 0);
    content
}

fn length(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
mod tests {
    use super::*;

    /// The patch, the old content given in pieces of `piece` bytes.
    fn in_pieces(before: &[u8], after: &[u8], piece: usize) -> Option<Patch> {
        let mut difference = Difference::new(after);
        before
            .chunks(piece)
            .for_each(|piece| difference.piece(piece));
        difference.finish(Path::new("/f"))
    }

    fn patch(before: &[u8], after: &[u8]) -> Option<Patch> {
        let patch = in_pieces(before, after, usize::MAX);
        for piece in [1, 100, 512, 1024, 1500] {
            assert_eq!(in_pieces(before, after, piece), patch, "{piece}");
        }
        patch
    }

    /// The ranges of the patch, after checking that it leads from one content to the other and back.
    fn ranges(before: &[u8], after: &[u8]) -> Vec<(u64, usize)> {
        let patch = patch(before, after).unwrap();
        assert_eq!(patch.before_len, before.len() as u64);
        assert_eq!(patch.after_len, after.len() as u64);
        let mut applied = before.to_vec();
        apply(&patch, &mut applied);
        assert_eq!(applied, after);
        let mut forward = before.to_vec();
        let mut back = after.to_vec();
        let longest = before.len().max(after.len());
        forward.resize(longest, 0);
        back.resize(longest, 0);
        for change in &patch.changes {
            let range = change.offset as usize..change.offset as usize + change.after.len();
            assert_eq!(forward[range.clone()], change.before);
            assert_eq!(back[range.clone()], change.after);
            forward[range.clone()].copy_from_slice(&change.after);
            back[range].copy_from_slice(&change.before);
        }
        forward.truncate(after.len());
        back.truncate(before.len());
        assert_eq!(forward, after);
        assert_eq!(back, before);
        let range = |change: &Change| (change.offset, change.after.len());
        patch.changes.iter().map(range).collect()
    }

    #[test]
    fn only_differing_sectors_and_neighbours_as_one() {
        let before = vec![1; 4096];
        let mut after = before.clone();
        after[511] = 2;
        after[512] = 2;
        after[4095] = 2;
        assert_eq!(ranges(&before, &after), [(0, 1024), (3584, 512)]);
        assert_eq!(patch(&before, &before), None);
    }

    #[test]
    fn growing_and_shrinking_at_and_around_a_sector() {
        let long = vec![7; 1025];
        for len in [0, 1, 511, 512, 513, 1023, 1024] {
            let short = &long[..len];
            let start = len / 512 * 512;
            let expected = [(start as u64, long.len() - start)];
            assert_eq!(ranges(short, &long), expected);
            assert_eq!(ranges(&long, short), expected);
        }
    }

    #[test]
    fn zeros_at_the_end_need_no_change_but_a_length() {
        let before = vec![7; 512];
        let mut after = before.clone();
        after.resize(2000, 0);
        assert_eq!(ranges(&before, &after), []);
        assert_eq!(ranges(&after, &before), []);
    }
}
