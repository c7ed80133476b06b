// SPDX-License-Identifier: GPL-2.0-or-later
//! Sector bitmaps of differencing disks: which sectors of a partially present block are in this file.
//!
//! ```text
//! chunk    2^23 sectors; their bits fill one sector bitmap block of 1 MiB
//!          |bits of block 0|bits of block 1|...|bits of block R-1|
//! bits     the first sector in the LOWEST bit of byte 0; 1 = in this file, 0 = in the parent
//! ```
//!
//! [MS-VHDX] 2.4. Bits of blocks in any other state mean nothing, so they are cleared before a block becomes
//! partially present.

use super::bat::Bat;
use super::format::BITMAP_PRESENT;
use crate::bytes;
use crate::error::{Error, Result};

impl Bat {
    /// Where in the file the bitmap of `block` begins, and how many bytes it has.
    fn bitmap_of(&self, block: u64) -> Result<(u64, u64)> {
        let chunk = block.checked_div(self.chunk_ratio).unwrap_or(0);
        let number = block.checked_rem(self.chunk_ratio).unwrap_or(0);
        let start = self.bitmap(chunk)?.ok_or_else(|| {
            self.damaged(
                self.bitmap_index(chunk),
                format!("a sector bitmap block, as payload block {block} is partially present"),
                "none".into(),
            )
        })?;
        let sectors = self
            .block_size()
            .checked_div(self.sector_size())
            .unwrap_or(0);
        let len = sectors.div_euclid(8);
        Ok((start.saturating_add(number.saturating_mul(len)), len))
    }

    /// How the bitmap of `block` begins at its sector `first`: the bit there, and how many sectors from there,
    /// of the next `count`, have the same.
    pub(super) fn run(&self, block: u64, first: u64, count: u64) -> Result<(bool, u64)> {
        let (place, bits) = self.read_bits(block, first, count)?;
        let bit = |sector: u64| {
            let at = sector.div_euclid(8).saturating_sub(place.first_byte);
            let byte = usize::try_from(at).ok().and_then(|at| bits.get(at));
            byte.is_some_and(|byte| byte & mask(sector) != 0)
        };
        let value = bit(first);
        let same = (first..first.saturating_add(count)).take_while(|sector| bit(*sector) == value);
        Ok((value, u64::try_from(same.count()).unwrap_or(0)))
    }

    /// Sets the bits of `count` sectors of `block` from its sector `first`.
    pub(super) fn set_bits(&self, block: u64, first: u64, count: u64) -> Result<()> {
        let (place, mut bits) = self.read_bits(block, first, count)?;
        for sector in first..first.saturating_add(count) {
            let at = sector.div_euclid(8).saturating_sub(place.first_byte);
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            let byte = bytes::array::<1>(&bits, at).map_or(0, |[byte]| byte);
            if !bytes::put(&mut bits, at, &[byte | mask(sector)]) {
                return Err(Error::damaged(
                    "VHDX sector bitmap",
                    place.offset,
                    "a bit for every sector",
                    format!("none for sector {sector} of block {block}"),
                ));
            }
        }
        self.file.write_at(place.offset, &bits)
    }

    fn read_bits(&self, block: u64, first: u64, count: u64) -> Result<(BitmapPart, Vec<u8>)> {
        let (start, len) = self.bitmap_of(block)?;
        let first_byte = first.div_euclid(8);
        let end = first.saturating_add(count).div_ceil(8).min(len);
        let part = BitmapPart {
            first_byte,
            offset: start.saturating_add(first_byte),
        };
        let wanted = usize::try_from(end.saturating_sub(first_byte)).unwrap_or(0);
        let mut bits = vec![0; wanted];
        self.file.read_at(part.offset, &mut bits)?;
        Ok((part, bits))
    }

    /// Makes `block` have a bitmap without a bit set. `grow` gives a sector bitmap block, of zeros, a place when
    /// the chunk has none.
    pub(super) fn clear_bits(
        &self,
        block: u64,
        grow: &mut dyn FnMut() -> Result<u64>,
    ) -> Result<()> {
        let chunk = block.checked_div(self.chunk_ratio).unwrap_or(0);
        if self.bitmap(chunk)?.is_none() {
            let offset = grow()?;
            return self.write_entry(self.bitmap_index(chunk), BITMAP_PRESENT, offset);
        }
        let (start, len) = self.bitmap_of(block)?;
        let zeros = vec![0; usize::try_from(len).unwrap_or(0)];
        self.file.write_at(start, &zeros)
    }
}

/// Part of a block's bitmap.
struct BitmapPart {
    /// Which byte of the bitmap it begins with.
    first_byte: u64,
    /// Where that is in the file.
    offset: u64,
}

/// The bit of a sector in its byte of the bitmap.
fn mask(sector: u64) -> u8 {
    1_u8 << (sector % 8)
}
