// SPDX-License-Identifier: GPL-2.0-or-later
//! Bitmaps: which clusters of the volume, or which records of $MFT, are in use.
//!
//! ```text
//! $Bitmap, unnamed $DATA   bit n = cluster n      byte n / 8, bit n % 8 from the lowest; 1 = in use
//! $MFT, $BITMAP            bit n = record n       bits past the end of what they stand for count for nothing
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. Read a piece at a time: a volume of 64 TiB has a bitmap
//! of 2 GiB. A range is only ever turned over as a whole: a cluster that is given away must have been free,
//! and one that is given back must have been in use, or else the bitmap is damaged.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::error::{Error, Result};

use super::format::{attribute_type, record_number};
use super::mft::Mft;
use super::stream::Stream;
use super::stream_edit::write_stream;

/// How much of a bitmap is looked at a time, in bytes. Ours: bounds memory.
const CHUNK: u64 = 64 << 10;

/// A bitmap of the volume.
#[derive(Debug)]
pub(super) struct Bitmap<'v> {
    mft: &'v Mft,
    /// The file it belongs to, and which of its attributes it is.
    base: u64,
    kind: u32,
    name: &'static str,
    stream: Stream,
    bits: u64,
}

impl<'v> Bitmap<'v> {
    /// $Bitmap: the clusters of the volume.
    pub(super) fn clusters(mft: &'v Mft) -> Result<Bitmap<'v>> {
        let (base, kind) = (record_number::BITMAP, attribute_type::DATA);
        Bitmap::open(mft, base, kind, "$Bitmap", mft.boot.clusters)
    }

    /// The bitmap of $MFT: its records.
    pub(super) fn records(mft: &'v Mft) -> Result<Bitmap<'v>> {
        let (base, kind) = (record_number::MFT, attribute_type::BITMAP);
        Bitmap::open(mft, base, kind, "$BITMAP of $MFT", mft.records())
    }

    fn open(
        mft: &'v Mft,
        base: u64,
        kind: u32,
        name: &'static str,
        bits: u64,
    ) -> Result<Bitmap<'v>> {
        let record = Arc::new(mft.system(base, name)?);
        let stream = Stream::find(mft, &record, kind, "")?;
        let len = stream.as_ref().map_or(0, Stream::len);
        match stream {
            Some(stream) if len.saturating_mul(8) >= bits => Ok(Bitmap {
                mft,
                base,
                kind,
                name,
                stream,
                bits,
            }),
            _ => Err(Error::damaged(
                name,
                0,
                format!("at least {bits} bits"),
                format!("{len} bytes"),
            )),
        }
    }

    /// How many clusters or records there are.
    pub(super) fn len(&self) -> u64 {
        self.bits
    }

    /// How many of them are free.
    #[cfg(test)]
    pub(super) fn count_free(&self) -> Result<u64> {
        let mut free = 0_u64;
        self.free_runs(0, self.bits, &mut |_, len| {
            free = free.saturating_add(len);
            ControlFlow::Continue(())
        })?;
        Ok(free)
    }

    /// How many are free from `from` on without one in use between, at most `most`.
    pub(super) fn free_at(&self, from: u64, most: u64) -> Result<u64> {
        let mut free = 0;
        self.free_runs(from, from.saturating_add(most), &mut |start, len| {
            if start == from {
                free = len;
            }
            ControlFlow::Break(())
        })?;
        Ok(free)
    }

    /// Tells the free runs from `from` to before `to`, first and length, in order, until `each` has had enough.
    pub(super) fn free_runs(
        &self,
        from: u64,
        to: u64,
        each: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<()> {
        let to = to.min(self.bits);
        let mut scan = Scan {
            from,
            to,
            open: None,
        };
        let mut byte = from / 8;
        let end = to.div_ceil(8);
        let mut buffer = Vec::new();
        while byte < end {
            let len = end.saturating_sub(byte).min(CHUNK);
            buffer.resize(usize::try_from(len).unwrap_or(0), 0);
            self.stream.read_at(self.mft, byte, &mut buffer)?;
            if scan.bytes(byte.saturating_mul(8), &buffer, each).is_break() {
                return Ok(());
            }
            byte = byte.saturating_add(len);
        }
        // What each says of the last run changes nothing any more.
        let _ = scan.close(to, each);
        Ok(())
    }

    /// The first of `count` bits from `first` that is not as `used` says; `None` when all are.
    pub(super) fn find_other(&self, first: u64, count: u64, used: bool) -> Result<Option<u64>> {
        let end = first.saturating_add(count);
        if end > self.bits {
            return Ok(Some(self.bits.max(first)));
        }
        let mut at = first;
        let mut other = None;
        self.free_runs(first, end, &mut |start, len| {
            if used {
                other = Some(start);
                return ControlFlow::Break(());
            }
            if start != at {
                return ControlFlow::Break(());
            }
            at = start.saturating_add(len);
            ControlFlow::Continue(())
        })?;
        Ok(other.or((!used && at != end).then_some(at)))
    }

    /// Marks `count` of them from `first` on as used or as free. All must have been the opposite.
    pub(super) fn set(&mut self, first: u64, count: u64, used: bool) -> Result<()> {
        if let Some(wrong) = self.find_other(first, count, !used)? {
            let say = |used| if used { "in use" } else { "free" };
            return Err(Error::damaged(
                self.name,
                wrong / 8,
                format!("bit {wrong}, of {}, {}", self.bits, say(!used)),
                format!("it is {}", say(used)),
            ));
        }
        let end = first.saturating_add(count);
        let mut at = first;
        while at < end {
            // Up to the end of a piece of the bitmap.
            let byte = at / 8;
            let limit = byte.saturating_add(CHUNK).saturating_mul(8).min(end);
            let len = limit.div_ceil(8).saturating_sub(byte);
            let mut bits = vec![0; usize::try_from(len).unwrap_or(0)];
            self.stream.read_at(self.mft, byte, &mut bits)?;
            fill(&mut bits, byte.saturating_mul(8), at, limit, used);
            write_stream(self.mft, self.base, self.kind, "", byte, &bits)?;
            at = limit;
        }
        // A resident bitmap is held in memory.
        let record = Arc::new(self.mft.system(self.base, self.name)?);
        if let Some(stream) = Stream::find(self.mft, &record, self.kind, "")? {
            self.stream = stream;
        }
        Ok(())
    }
}

/// Sets or clears the bits `from` to before `to` in bytes whose first bit is `first`.
pub(super) fn fill(bytes: &mut [u8], first: u64, from: u64, to: u64, used: bool) {
    let mut at = first;
    for byte in bytes {
        for mask in MASKS {
            if (from..to).contains(&at) {
                *byte = if used { *byte | mask } else { *byte & !mask };
            }
            at = at.saturating_add(1);
        }
    }
}

const MASKS: [u8; 8] = [1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80];

/// Puts the free runs together from one piece of a bitmap to the next.
struct Scan {
    from: u64,
    to: u64,
    /// Where a free run began that has not ended yet.
    open: Option<u64>,
}

impl Scan {
    /// Looks at bytes whose first bit is `first`.
    fn bytes(
        &mut self,
        first: u64,
        bytes: &[u8],
        each: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut at = first;
        for byte in bytes {
            let next = at.saturating_add(8);
            let whole = at >= self.from && next <= self.to;
            match (byte, self.open) {
                (0xFF, None) => {}
                (0, Some(_)) if whole => {}
                (0, None) if whole => self.open = Some(at),
                _ => self.byte(at, *byte, each)?,
            }
            at = next;
        }
        ControlFlow::Continue(())
    }

    fn byte(
        &mut self,
        first: u64,
        byte: u8,
        each: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for (at, mask) in (first..).zip(MASKS) {
            if !(self.from..self.to).contains(&at) {
                continue;
            }
            if byte & mask != 0 {
                self.close(at, each)?;
            } else if self.open.is_none() {
                self.open = Some(at);
            }
        }
        ControlFlow::Continue(())
    }

    /// Ends the run that is open, before `at`.
    fn close(
        &mut self,
        at: u64,
        each: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self.open.take() {
            Some(start) => each(start, at.saturating_sub(start)),
            None => ControlFlow::Continue(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The free runs of `bits`, looked at in pieces of `piece` bytes.
    fn runs(bytes: &[u8], from: u64, to: u64, piece: usize) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        let mut each = |start, len| {
            found.push((start, len));
            ControlFlow::Continue(())
        };
        let mut scan = Scan {
            from,
            to,
            open: None,
        };
        for (index, chunk) in bytes.chunks(piece).enumerate() {
            let first = u64::try_from(index.saturating_mul(piece).saturating_mul(8)).unwrap();
            assert!(scan.bytes(first, chunk, &mut each).is_continue());
        }
        assert!(scan.close(to, &mut each).is_continue());
        found
    }

    #[test]
    fn runs_cross_bytes_and_pieces() {
        let bytes = [0xFF, 0x0F, 0, 0, 0xFE, 0xFF];
        for piece in 1..7 {
            assert_eq!(runs(&bytes, 0, 48, piece), [(12, 21)]);
            assert_eq!(runs(&bytes, 14, 20, piece), [(14, 6)]);
            assert_eq!(runs(&bytes, 33, 48, piece), []);
            assert_eq!(runs(&[0; 6], 3, 47, piece), [(3, 44)]);
        }
    }

    proptest! {
        #[test]
        fn filling_and_finding_agree_with_a_list_of_bits(
            start in prop::collection::vec(prop_oneof![Just(0), Just(0xFF), any::<u8>()], 1..40),
            ranges in prop::collection::vec((0_u64..320, 0_u64..320, any::<bool>()), 0..6),
            window in (0_u64..320, 0_u64..320),
            piece in 1_usize..9,
        ) {
            let mut bytes = start.clone();
            let count = u64::try_from(start.len()).unwrap().saturating_mul(8);
            let mut bits: Vec<bool> = start
                .iter()
                .flat_map(|byte| MASKS.map(|mask| byte & mask != 0))
                .collect();
            for (from, to, used) in ranges {
                fill(&mut bytes, 0, from, to, used);
                for (at, bit) in (0..).zip(&mut bits) {
                    if (from..to).contains(&at) {
                        *bit = used;
                    }
                }
            }
            let (from, to) = (window.0.min(window.1).min(count), window.0.max(window.1).min(count));
            let free: Vec<u64> = runs(&bytes, from, to, piece)
                .into_iter()
                .flat_map(|(start, len)| start..start.saturating_add(len))
                .collect();
            let expected: Vec<u64> = (from..to)
                .filter(|at| !bits[usize::try_from(*at).unwrap()])
                .collect();
            prop_assert_eq!(free, expected);
        }
    }
}
