// SPDX-License-Identifier: GPL-2.0-or-later
//! Many records: read, and overwritten in place, in the order of $MFT; neighbours in one go.
//!
//! ```text
//! wanted   100 101 104        9000        one read of records 100 to 104, one of 9000
//! changed  100     104                    one write of records 100 to 104
//! ```
//!
//! A record whose change stays in its first sector keeps its update sequence number, for there is nothing to
//! tear (see [`Record::to_disk`]); so it can be changed as it is on disk, without being taken apart. Records
//! that $MFTMirr may repeat go through [`Mft::store`].

use crate::bytes;
use crate::error::{Error, Result};

use super::format::FileReference;
use super::mft::{Mft, check_meant};
use super::multi_sector::STRIDE;
use super::record::Record;
use super::runs::Piece;

/// How many records are read in one go at most. Ours: 256 KiB, in the processor's cache.
const MOST: u64 = 256;

/// How far apart two records may be to be read in one go. Ours: reading 16 KiB costs little more than 1.
const NEAR: u64 = 16;

/// Consecutive records as they are on disk.
struct Span {
    first: u64,
    record_size: usize,
    pieces: Vec<Piece>,
    bytes: Vec<u8>,
}

impl Span {
    fn read(mft: &Mft, first: u64, count: u64) -> Result<Span> {
        let record_size = usize::try_from(mft.boot.record_size).unwrap_or(0);
        let mut bytes = Vec::new();
        let pieces = mft.places(first, count)?;
        for piece in &pieces {
            let start = bytes.len();
            let len = usize::try_from(piece.len).unwrap_or(0);
            bytes.resize(start.saturating_add(len), 0);
            if let (Some(place), Some(part)) = (piece.place, bytes.get_mut(start..)) {
                mft.device.read_at(place, part)?;
            }
        }
        Ok(Span {
            first,
            record_size,
            pieces,
            bytes,
        })
    }

    /// Where record `number` begins; `None` when it is not in the span.
    fn start(&self, number: u64) -> Option<usize> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        index.checked_mul(self.record_size)
    }

    /// Record `number`; `None` when it is not in the span.
    fn record(&self, number: u64) -> Option<Result<Record>> {
        let disk = bytes::slice(&self.bytes, self.start(number)?, self.record_size)?;
        Some(Record::parse(number, disk.to_vec()))
    }

    /// Overwrites bytes of record `number`. False where they do not lie in its first sector, between the update
    /// sequence array and the two bytes that it guards.
    fn overwrite(&mut self, number: u64, offset: usize, data: &[u8]) -> bool {
        let range = |span: &Span| {
            let start = span.start(number)?;
            let record = bytes::slice(&span.bytes, start, span.record_size)?;
            let array = usize::from(bytes::u16_le(record, 4)?);
            let entries = usize::from(bytes::u16_le(record, 6)?);
            let array_end = array.checked_add(entries.checked_mul(2)?)?;
            let end = offset.checked_add(data.len())?;
            let plain = offset >= array_end && end <= FIRST_GUARDED;
            start.checked_add(offset).filter(|_| plain)
        };
        range(self).is_some_and(|at| bytes::put(&mut self.bytes, at, data))
    }
}

/// The first byte of a record that the update sequence array guards.
pub(super) const FIRST_GUARDED: usize = STRIDE - 2;

/// Cuts ascending numbers, each with something to go with it, into runs that are read in one go.
fn runs(mut order: &[(u64, usize)]) -> impl Iterator<Item = &[(u64, usize)]> {
    std::iter::from_fn(move || {
        let (first, _) = *order.first()?;
        let apart = |pair: &[(u64, usize)]| match pair {
            [(one, _), (next, _)] => {
                next.saturating_sub(*one) > NEAR || next.saturating_sub(first) >= MOST
            }
            _ => true,
        };
        let end = order.windows(2).position(apart);
        let end = end.map_or(order.len(), |last| last.saturating_add(1));
        let (run, rest) = order.split_at_checked(end)?;
        order = rest;
        Some(run)
    })
}

/// The first number of a run, and how many records it reaches over.
fn reach(run: &[(u64, usize)]) -> (u64, u64) {
    let first = run.first().map_or(0, |(number, _)| *number);
    let last = run.last().map_or(0, |(number, _)| *number);
    (first, last.saturating_sub(first).saturating_add(1))
}

impl Mft {
    /// Hands the base record that each of `files` names to `each`, with its index in `files`, in the order of
    /// their numbers. An error of `each` ends it.
    pub(super) fn for_each(
        &self,
        files: &[FileReference],
        mut each: impl FnMut(usize, Result<Record>) -> Result<()>,
    ) -> Result<()> {
        let places = files.iter().enumerate();
        let mut order: Vec<(u64, usize)> =
            places.map(|(index, file)| (file.record, index)).collect();
        order.sort_unstable();
        for run in runs(&order) {
            let (first, count) = reach(run);
            // Where that fails, each record is read by itself, for the error to hit the right one.
            let span = match Span::read(self, first, count) {
                Err(Error::Damaged { .. }) => None,
                span => Some(span?),
            };
            for (number, index) in run {
                let record = span.as_ref().and_then(|span| span.record(*number));
                let record = record.unwrap_or_else(|| self.read(*number));
                let record = record.and_then(|record| {
                    if let Some(file) = files.get(*index) {
                        check_meant(&record, *file)?;
                    }
                    Ok(record)
                });
                each(*index, record)?;
            }
        }
        Ok(())
    }

    /// Overwrites the same fields in many records. `places`: each record, in ascending order, and where in it the
    /// offsets of `fields` count from; all before [`FIRST_GUARDED`].
    pub(super) fn overwrite_all(
        &self,
        places: &[(u64, usize)],
        fields: &[(usize, &[u8])],
    ) -> Result<()> {
        let mirrored = self.mirrored_records()?;
        let low = places.partition_point(|(number, _)| *number < mirrored);
        let (low, high) = places.split_at_checked(low).unwrap_or((places, &[]));
        for (number, base) in low {
            let mut record = self.read(*number)?;
            for (offset, data) in fields {
                if !record.patch(base.saturating_add(*offset), data) {
                    return Err(outside(*number, *base));
                }
            }
            self.store(&record)?;
        }
        for run in runs(high) {
            let (first, count) = reach(run);
            let mut span = Span::read(self, first, count)?;
            for (number, base) in run {
                for (offset, data) in fields {
                    if !span.overwrite(*number, base.saturating_add(*offset), data) {
                        return Err(outside(*number, *base));
                    }
                }
            }
            self.write_pieces(&span.pieces, &span.bytes)?;
        }
        Ok(())
    }
}

fn outside(number: u64, base: usize) -> Error {
    let what = format!("MFT record {number}");
    let offset = u64::try_from(base).unwrap_or(0);
    Error::damaged(what, offset, "fields in its first sector", "others")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_read_in_one_go() {
        let cut = |numbers: &[u64]| -> Vec<Vec<u64>> {
            let order: Vec<(u64, usize)> = numbers.iter().map(|number| (*number, 0)).collect();
            let found: Vec<Vec<u64>> = runs(&order)
                .map(|run| run.iter().map(|(number, _)| *number).collect())
                .collect();
            found
        };
        assert_eq!(cut(&[]), Vec::<Vec<u64>>::new());
        assert_eq!(cut(&[7]), [[7]]);
        assert_eq!(cut(&[7, 7, 8, 24]), [[7, 7, 8, 24]]);
        assert_eq!(cut(&[7, 24]), [[7], [24]]);
        assert_eq!(cut(&[0, u64::MAX]), [[0], [u64::MAX]]);
        let all: Vec<u64> = (1000..2000).collect();
        let cut = cut(&all);
        assert_eq!(cut.concat(), all);
        let lens: Vec<usize> = cut.iter().map(Vec::len).collect();
        assert_eq!(lens, [256, 256, 256, 232]);
    }

    #[test]
    fn only_what_is_on_disk_as_in_memory_is_overwritten() {
        let mut bytes = vec![0; 1024];
        bytes[4] = 0x30;
        bytes[6] = 3;
        let mut span = Span {
            first: 100,
            record_size: 1024,
            pieces: Vec::new(),
            bytes,
        };
        assert!(span.overwrite(100, 0x36, &[1, 2]));
        assert!(span.overwrite(100, 0x1FC, &[3, 4]));
        for (number, offset) in [
            (100, 0x35),
            (100, 0x1FD),
            (100, 0x1FE),
            (100, 0x200),
            (99, 0x40),
            (101, 0x40),
        ] {
            assert!(
                !span.overwrite(number, offset, &[5, 6]),
                "{number} {offset:#x}"
            );
        }
        assert!(!span.bytes.contains(&5) && span.bytes.contains(&4));
    }
}
