// SPDX-License-Identifier: GPL-2.0-or-later
//! Reads what a patch covers, as it is now, and cuts it into pieces: the part of one change in one sector.
//!
//! ```text
//! changes   [ a ]  [ b       ]                  [ c ]
//! reads     |------------------|                |---|     neighbours in one, gaps and all
//! sectors   |     |     |     |     |     |     |     |
//! pieces    [ a ] [ b1 ][ b2  ]                 [ c ]
//! ```
//!
//! A hundred thousand changes are then read as fast as the disk reads on, instead of one by one. The bytes
//! in a gap are nobody's business: where a read fails, each change is read alone.

use super::apply::OpenPatch;
use crate::error::Result;

/// The smallest unit that drives write whole.
pub(super) const SECTOR: u64 = 512;
/// How much is read at a time: ours.
const CHUNK: usize = 1 << 20;
/// The longest gap that is read over rather than skipped: ours.
const GAP: u64 = 16 << 10;

/// A part of one change in one sector; the three slices are of one length.
pub(super) struct Piece<'a> {
    pub(super) offset: u64,
    pub(super) before: &'a [u8],
    pub(super) after: &'a [u8],
    pub(super) present: &'a [u8],
}

impl Piece<'_> {
    /// Every byte is the old one or the new one.
    pub(super) fn is_torn(&self) -> bool {
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
    // Past the file's present end there is nothing to look at, however long a journal claims it was.
    let longest = patch.before_len.max(patch.after_len).min(file_length);
    let room = usize::try_from(longest.saturating_sub(shortest)).unwrap_or(CHUNK);
    let zeros = vec![0; CHUNK.min(room)];
    let mut reader = Reader {
        open,
        file_length,
        segments: Vec::new(),
        buffer: Vec::new(),
        piece,
    };
    let mut seen = shortest;
    for change in &patch.changes {
        // What the longer of the two has and no change names is zeros on both sides.
        reader.add_zeros(&zeros, seen, change.offset.min(longest))?;
        reader.add(change.offset, &change.before, &change.after)?;
        seen = seen.max(change.offset.saturating_add(length(&change.after)));
    }
    reader.add_zeros(&zeros, seen, longest)?;
    reader.finish()
}

/// What is there is compared with two sides of one length, at most `CHUNK`.
struct Segment<'a> {
    offset: u64,
    before: &'a [u8],
    after: &'a [u8],
}

impl Segment<'_> {
    fn end(&self) -> u64 {
        self.offset.saturating_add(length(self.after))
    }
}

struct Reader<'a, 'p> {
    open: &'a OpenPatch<'a>,
    file_length: u64,
    /// Those that the next read covers, in ascending order.
    segments: Vec<Segment<'a>>,
    buffer: Vec<u8>,
    piece: &'p mut dyn FnMut(Piece<'_>) -> Result<()>,
}

impl<'a> Reader<'a, '_> {
    fn add(&mut self, mut offset: u64, before: &'a [u8], after: &'a [u8]) -> Result<()> {
        for (before, after) in before.chunks(CHUNK).zip(after.chunks(CHUNK)) {
            let segment = Segment {
                offset,
                before,
                after,
            };
            offset = segment.end();
            self.add_segment(segment)?;
        }
        Ok(())
    }

    fn add_zeros(&mut self, zeros: &'a [u8], mut start: u64, end: u64) -> Result<()> {
        while start < end {
            let rest = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
            let zeros = zeros.get(..rest.min(zeros.len())).unwrap_or_default();
            if zeros.is_empty() {
                break;
            }
            self.add(start, zeros, zeros)?;
            start = start.saturating_add(length(zeros));
        }
        Ok(())
    }

    fn add_segment(&mut self, segment: Segment<'a>) -> Result<()> {
        if let (Some(first), Some(last)) = (self.segments.first(), self.segments.last()) {
            let gap = segment.offset.saturating_sub(last.end());
            let whole = segment.end().saturating_sub(first.offset);
            if gap > GAP || usize::try_from(whole).map_or(true, |whole| whole > CHUNK) {
                self.finish()?;
            }
        }
        self.segments.push(segment);
        Ok(())
    }

    /// Reads what has been gathered and hands it on.
    fn finish(&mut self) -> Result<()> {
        let segments = std::mem::take(&mut self.segments);
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
            return Ok(());
        };
        let start = first.offset;
        let len = usize::try_from(last.end().saturating_sub(start)).unwrap_or(usize::MAX);
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.resize(len, 0); // past its end a file counts as zeros
        if self.read(start, &mut buffer).is_err() {
            for segment in &segments {
                let range = within(start, segment);
                let part = buffer.get_mut(range).unwrap_or_default();
                self.read(segment.offset, part)?;
            }
        }
        for segment in &segments {
            let present = buffer.get(within(start, segment)).unwrap_or_default();
            self.cut(segment, present)?;
        }
        self.buffer = buffer;
        Ok(())
    }

    /// Reads as much of `buffer` as the file has.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let inside = self.file_length.saturating_sub(offset).min(length(buffer));
        let inside = usize::try_from(inside).unwrap_or(0);
        match buffer.get_mut(..inside) {
            Some(readable) if !readable.is_empty() => self.open.file.read_at(offset, readable),
            _ => Ok(()),
        }
    }

    /// Cuts one segment at sector boundaries.
    fn cut(&mut self, segment: &Segment<'_>, mut present: &[u8]) -> Result<()> {
        let (mut before, mut after) = (segment.before, segment.after);
        let mut offset = segment.offset;
        while !present.is_empty() {
            let into_sector = offset.checked_rem(SECTOR).unwrap_or(0);
            let to_boundary =
                usize::try_from(SECTOR.saturating_sub(into_sector)).unwrap_or(usize::MAX);
            let cut = to_boundary.min(present.len());
            let (Some(p), Some(b), Some(a)) = (
                present.split_at_checked(cut),
                before.split_at_checked(cut),
                after.split_at_checked(cut),
            ) else {
                return Ok(()); // the three are of one length
            };
            (self.piece)(Piece {
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
}

/// Where the segment lies in a buffer that begins at `start`.
fn within(start: u64, segment: &Segment<'_>) -> std::ops::Range<usize> {
    let from = usize::try_from(segment.offset.saturating_sub(start)).unwrap_or(usize::MAX);
    from..from.saturating_add(segment.after.len())
}

pub(super) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
