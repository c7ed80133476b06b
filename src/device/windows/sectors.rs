// SPDX-License-Identifier: GPL-2.0-or-later
//! Whole sectors around any range: what a handle without the host's cache can read and write.
//!
//! ```text
//! sectors   |-------|-------|-------|-------|
//! wanted         [ ============== ]
//! window    [ ~~~~~ ============== ~~~~ ]      read; for writing the first and last are read before
//! ```
//!
//! Windows wants offset and length as multiples of the logical sector and the buffer's address as one of the
//! physical sector; 4096 serves every disk. Source: Microsoft's page "File Buffering".

use std::ops::Range;

/// To what the address of a buffer is aligned: the largest physical sector that disks have.
const ADDRESS: usize = 4096;

/// How much is read or written by one call. Ours; a driver may take less at a time than it is asked for.
pub(super) const LONGEST: usize = 1 << 20;

/// The whole sectors that hold a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Where the first sector begins.
    pub(super) start: u64,
    /// Bytes of the sectors together.
    pub(super) len: usize,
    /// How far into them the range begins.
    pub(super) into: usize,
}

/// The sectors of `sector` bytes around `len` bytes at `offset`; `None` when they do not fit into numbers.
pub(super) fn window(offset: u64, len: usize, sector: u32) -> Option<Window> {
    let sector = u64::from(sector);
    let into = offset.checked_rem(sector)?;
    let start = offset.checked_sub(into)?;
    let end = offset.checked_add(u64::try_from(len).ok()?)?;
    let end = end.checked_next_multiple_of(sector)?;
    Some(Window {
        start,
        len: usize::try_from(end.checked_sub(start)?).ok()?,
        into: usize::try_from(into).ok()?,
    })
}

/// Cuts `len` bytes at `offset` into ranges of at most [`LONGEST`] bytes that end at multiples of it on the
/// device: no sector lies in two of them, save where the whole begins or ends inside one.
pub(super) fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, Range<usize>)> {
    let mut done = 0_usize;
    std::iter::from_fn(move || {
        let left = len.checked_sub(done).filter(|&left| left > 0)?;
        let at = offset.checked_add(u64::try_from(done).ok()?)?;
        let into = usize::try_from(at.checked_rem(u64::try_from(LONGEST).ok()?)?).ok()?;
        let here = LONGEST.saturating_sub(into).min(left);
        let range = done..done.saturating_add(here);
        done = range.end;
        Some((at, range))
    })
}

/// Memory at an aligned address, made once for the longest window.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    from: usize,
}

impl Buffer {
    pub(super) fn new() -> Buffer {
        let bytes = vec![0; LONGEST.saturating_add(ADDRESS)];
        let from = bytes.as_ptr().align_offset(ADDRESS);
        Buffer { bytes, from }
    }

    /// Its first `len` bytes; `None` when it is not that long.
    pub(super) fn first(&mut self, len: usize) -> Option<&mut [u8]> {
        let end = self.from.checked_add(len)?;
        self.bytes.get_mut(self.from..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_whole_sectors() {
        let of = |offset, len, sector| {
            let Window { start, len, into } = window(offset, len, sector).unwrap();
            (start, len, into)
        };
        assert_eq!(of(0, 512, 512), (0, 512, 0));
        assert_eq!(of(0, 513, 512), (0, 1024, 0));
        assert_eq!(of(511, 1, 512), (0, 512, 511));
        assert_eq!(of(511, 2, 512), (0, 1024, 511));
        assert_eq!(of(512, 1, 512), (512, 512, 0));
        assert_eq!(of(4095, 4098, 4096), (0, 12_288, 4095));
        assert_eq!(of(700, 0, 512), (512, 512, 188));
        assert_eq!(of(1024, 0, 512), (1024, 0, 0));
        assert_eq!(window(u64::MAX, 1, 512), None);
        assert_eq!(window(u64::MAX - 600, 500, 512), None);
        assert_eq!(window(5, 5, 0), None);
    }

    #[test]
    fn pieces_meet_and_end_at_multiples() {
        let longest = LONGEST as u64;
        for (offset, len) in [
            (0, 1),
            (0, LONGEST),
            (1, LONGEST),
            (longest - 1, 2),
            (longest * 3 + 7, LONGEST * 2 + 9),
        ] {
            let mut next = 0;
            for (at, range) in pieces(offset, len) {
                assert_eq!((at, range.start), (offset + next as u64, next));
                assert!(!range.is_empty() && range.len() <= LONGEST);
                assert!(range.end == len || (at + range.len() as u64).is_multiple_of(longest));
                // With its sectors it still fits into the buffer.
                assert!(window(at, range.len(), 4096).unwrap().len <= LONGEST);
                next = range.end;
            }
            assert_eq!(next, len);
        }
        assert_eq!(pieces(9, 0).count(), 0);
    }

    #[test]
    fn the_buffer_is_aligned() {
        let mut buffer = Buffer::new();
        let all = buffer.first(LONGEST).unwrap();
        assert_eq!(all.as_ptr().align_offset(ADDRESS), 0);
        assert_eq!(buffer.first(LONGEST + ADDRESS + 1), None);
    }
}
