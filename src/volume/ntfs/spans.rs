// SPDX-License-Identifier: GPL-2.0-or-later
//! Many records: read in the order of $MFT, neighbours in one go.
//!
//! ```text
//! wanted   100 101 104        9000        one read of records 100 to 104, one of 9000
//! ```

use super::format::FileReference;
use super::mft::{Mft, check_meant};
use super::record::Record;
use crate::error::{Error, Result};

/// How many records are read in one go at most. Ours: 256 KiB, in the processor's cache.
const MOST: u64 = 256;

/// How far apart two records may be to be read in one go. Ours: reading 16 KiB costs little more than 1.
const NEAR: u64 = 16;

/// Consecutive records as they are on disk.
struct Span {
    first: u64,
    record_size: usize,
    bytes: Vec<u8>,
}

impl Span {
    fn read(mft: &Mft, first: u64, count: u64) -> Result<Span> {
        let record_size = usize::try_from(mft.boot.record_size).unwrap_or(0);
        let mut bytes = Vec::new();
        for piece in mft.places(first, count)? {
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
            bytes,
        })
    }

    /// Record `number`; `None` when it is not in the span.
    fn record(&self, number: u64) -> Option<Result<Record>> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let start = index.checked_mul(self.record_size)?;
        let disk = crate::bytes::slice(&self.bytes, start, self.record_size)?;
        Some(Record::parse(number, disk.to_vec()))
    }
}

/// Cuts ascending numbers into runs that are read in one go.
fn runs(mut order: &[(u64, usize)]) -> impl Iterator<Item = &[(u64, usize)]> {
    std::iter::from_fn(move || {
        let first = order.first()?.0;
        let apart = |pair: &[(u64, usize)]| match pair {
            [one, next] => {
                next.0.saturating_sub(one.0) > NEAR || next.0.saturating_sub(first) >= MOST
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
            let (Some(first), Some(last)) = (run.first(), run.last()) else {
                continue;
            };
            let count = last.0.saturating_sub(first.0).saturating_add(1);
            // Where that fails, each record is read by itself, for the error to hit the right one.
            let span = match Span::read(self, first.0, count) {
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
}
