// SPDX-License-Identifier: GPL-2.0-or-later
//! A transaction log of Windows NT to 8: a base block of type 1 or 2, a bitmap, and the dirty sectors.
//!
//! ```text
//!   0 base block, 512 bytes
//! 512 "DIRT" | bitmap: bit i, lowest bit of a byte first, stands for 512 bytes at 512 * i of the hive bins
//!     padding to a multiple of 512
//!     the sectors whose bit is set, in the order of the bits, without gaps | remnants of earlier logs
//! ```
//!
//! The bitmap has (hive bins data size / 512) bits; that size comes from the log's own base block. Nothing
//! here carries a hash, so the hive bins that result are walked before a log is taken. Source:
//! msuhanov/regf, "Old format". Clustering factors other than 1 are not handled: Windows on disks with
//! 4096-byte sectors and this log format never existed.

use super::Page;
use crate::bytes::{array, slice};
use crate::hive::base_block::{BaseBlock, SECTOR_SIZE};

const SIGNATURE: [u8; 4] = *b"DIRT";
/// Where the bitmap begins: the signature stands before it.
const BITMAP: usize = SECTOR_SIZE + SIGNATURE.len();

/// The bitmap and the sectors of a log; every sector lies inside the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct DirtySectors<'a> {
    bitmap: &'a [u8],
    sectors: &'a [u8],
}

impl<'a> DirtySectors<'a> {
    /// Reads the log's body; the error says in plain words why it cannot be used.
    pub(super) fn read(log: &'a [u8], base: &BaseBlock) -> Result<Self, String> {
        if array(log, SECTOR_SIZE) != Some(SIGNATURE) {
            return Err(String::from("its bitmap does not begin with \"DIRT\""));
        }
        if let Some(why) = super::bins_size_fault(base.bins_size) {
            return Err(why);
        }
        // 512 bytes to a bit, 8 bits to a byte.
        let length = usize::try_from(base.bins_size / 4096).unwrap_or(usize::MAX);
        let bitmap = slice(log, BITMAP, length).ok_or("its bitmap is cut off")?;
        let start = BITMAP
            .checked_add(length)
            .and_then(|end| end.checked_next_multiple_of(SECTOR_SIZE));
        let bits = bitmap.iter().map(|byte| byte.count_ones());
        let count = bits.fold(0_usize, |sum, ones| {
            sum.saturating_add(usize::try_from(ones).unwrap_or_default())
        });
        let sectors = start
            .zip(count.checked_mul(SECTOR_SIZE))
            .and_then(|(start, length)| slice(log, start, length))
            .ok_or_else(|| format!("it is cut off before the last of its {count} dirty sectors"))?;
        if count == 0 {
            return Err(String::from("its bitmap names no dirty sector"));
        }
        Ok(DirtySectors { bitmap, sectors })
    }

    /// The sectors in ascending order of their place in the hive.
    pub(super) fn pages(self) -> impl Iterator<Item = Page<'a>> + use<'a> {
        let bits = self.bitmap.iter().zip(0_u32..).flat_map(|(&byte, index)| {
            (0_u32..8)
                .filter(move |bit| byte >> bit & 1 == 1)
                .map(move |bit| index.saturating_mul(8).saturating_add(bit))
        });
        let sectors = self.sectors.chunks_exact(SECTOR_SIZE);
        bits.zip(sectors).map(|(bit, bytes)| Page {
            offset: bit.saturating_mul(512),
            bytes,
        })
    }
}
