// SPDX-License-Identifier: GPL-2.0-or-later
//! The block allocation table and the sector bitmaps. Big-endian.
//!
//! ```text
//! table    |entry 0|entry 1|...      4 bytes: the sector where the block begins, FFFFFFFF = not in the file
//! block    |sector bitmap, whole sectors|data .................................|
//! bitmap   byte 0: sectors 0 1 2 3 4 5 6 7 from the HIGHEST bit down
//!          dynamic: 1 = has data, 0 = zeros.   differencing: 1 = here, 0 = in the parent
//! ```
//!
//! Virtual Hard Disk Image Format Specification 1.0. The table is read entry by entry when it is needed, so a
//! large disk costs nothing to open.

use super::format::*;
use super::header::Header;
use crate::bytes;
use crate::container::occupied::Occupied;
use crate::device::SharedDevice;
use crate::error::{Error, Result, ResultExt};

/// The table, and what is needed to judge its entries.
#[derive(Clone, Debug)]
pub(super) struct Bat {
    file: SharedDevice,
    header: Header,
}

/// A block that is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Where its sector bitmap is.
    pub(super) bitmap: u64,
    /// Where its data is.
    pub(super) data: u64,
}

impl Bat {
    pub(super) fn new(file: SharedDevice, header: Header) -> Bat {
        Bat { file, header }
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    fn entry_offset(&self, number: u64) -> Result<u64> {
        let entries = u64::from(self.header.max_entries);
        number
            .checked_mul(4)
            .filter(|_| number < entries)
            .and_then(|offset| self.header.table_offset.checked_add(offset))
            .ok_or_else(|| {
                Error::damaged(
                    "VHD block allocation table",
                    self.header.table_offset,
                    format!("one of {entries} entries"),
                    format!("entry {number}"),
                )
            })
    }

    /// Where block `number` is; `None` when it is not in the file. `Damaged` when it cannot be where its entry
    /// says.
    pub(super) fn find(&self, number: u64) -> Result<Option<Block>> {
        let offset = self.entry_offset(number)?;
        let mut entry = [0; 4];
        self.file.read_at(offset, &mut entry)?;
        self.parse(u32::from_be_bytes(entry), offset, number)
    }

    fn parse(&self, entry: u32, offset: u64, number: u64) -> Result<Option<Block>> {
        if entry == ABSENT {
            return Ok(None);
        }
        let bitmap = u64::from(entry).saturating_mul(SECTOR);
        let data = bitmap.saturating_add(self.header.bitmap_len());
        let end = data.saturating_add(u64::from(self.header.block_size));
        let first = self.header.offset.min(self.header.table_offset);
        if end > self.file.len() || bitmap < first {
            return Err(Error::damaged(
                format!("VHD block allocation table, entry {number}"),
                offset,
                format!(
                    "a block that lies in the file ({first:#x} to {:#x})",
                    self.file.len()
                ),
                format!("one from {bitmap:#x} to {end:#x}"),
            )
            .with_hint("reading a block of the VHD", super::footer::TRUNCATED_HINT));
        }
        Ok(Some(Block { bitmap, data }))
    }

    /// Makes block `number` begin at `bitmap`, a multiple of 512.
    pub(super) fn set(&self, number: u64, bitmap: u64) -> Result<()> {
        let sector = u32::try_from(bitmap.div_euclid(SECTOR))
            .ok()
            .filter(|sector| *sector != ABSENT && bitmap.is_multiple_of(SECTOR))
            .ok_or_else(|| {
                Error::unsupported(
                    format!("a VHD cannot have a block at {bitmap:#x}"),
                    "convert the disk to VHDX (`Convert-VHD`)",
                )
            })?;
        self.file
            .write_at(self.entry_offset(number)?, &sector.to_be_bytes())
            .context(|| format!("VHD block allocation table, entry {number}"))
    }

    /// The space that the blocks take, all of it in `occupied`, whose unit is the sector. Reads the whole table,
    /// a piece at a time.
    pub(super) fn occupy(&self, occupied: &mut Occupied) -> Result<()> {
        let len = self
            .header
            .bitmap_len()
            .saturating_add(u64::from(self.header.block_size));
        self.for_each(&mut |_, block| occupied.add(block.bitmap, len))
    }

    /// Where the last block ends; 0 without blocks. Does not mind that it is past the file's end.
    pub(super) fn end(&self) -> Result<u64> {
        let mut end = 0;
        self.for_each_raw(&mut |_, _, entry| {
            if entry != ABSENT {
                let block = u64::from(entry)
                    .saturating_mul(SECTOR)
                    .saturating_add(self.header.bitmap_len())
                    .saturating_add(u64::from(self.header.block_size));
                end = block.max(end);
            }
            Ok(())
        })?;
        Ok(end)
    }

    fn for_each(&self, visit: &mut dyn FnMut(u64, Block) -> Result<()>) -> Result<()> {
        self.for_each_raw(
            &mut |number, offset, entry| match self.parse(entry, offset, number)? {
                Some(block) => visit(number, block),
                None => Ok(()),
            },
        )
    }

    fn for_each_raw(&self, visit: &mut dyn FnMut(u64, u64, u32) -> Result<()>) -> Result<()> {
        /// Entries read at a time: ours.
        const PIECE: u64 = 16 << 10;
        let entries = u64::from(self.header.max_entries);
        let mut number = 0;
        while number < entries {
            let count = entries.saturating_sub(number).min(PIECE);
            let bytes_len = usize::try_from(count.saturating_mul(4)).unwrap_or(0);
            let mut piece = vec![0; bytes_len];
            let mut offset = self.entry_offset(number)?;
            self.file.read_at(offset, &mut piece)?;
            for entry in piece.as_chunks::<4>().0 {
                visit(number, offset, u32::from_be_bytes(*entry))?;
                number = number.saturating_add(1);
                offset = offset.saturating_add(4);
            }
        }
        Ok(())
    }

    /// How the bitmap of `block` begins at sector `first`: the bit there, and how many sectors from there, of
    /// the next `count`, have the same.
    pub(super) fn run(&self, block: Block, first: u64, count: u64) -> Result<(bool, u64)> {
        let start = first.div_euclid(8);
        let end = first.saturating_add(count).div_ceil(8);
        let len = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
        let mut bitmap = vec![0; len];
        self.file
            .read_at(block.bitmap.saturating_add(start), &mut bitmap)?;
        let bit = |sector: u64| {
            let byte = sector.div_euclid(8).saturating_sub(start);
            let byte = usize::try_from(byte).ok().and_then(|at| bitmap.get(at));
            byte.is_some_and(|byte| byte & mask(sector) != 0)
        };
        let value = bit(first);
        let end = first.saturating_add(count);
        let same = (first..end).take_while(|sector| bit(*sector) == value);
        Ok((value, u64::try_from(same.count()).unwrap_or(0)))
    }

    /// Sets the bits of `count` sectors from `first`.
    pub(super) fn set_bits(&self, block: Block, first: u64, count: u64) -> Result<()> {
        let start = first.div_euclid(8);
        let end = first.saturating_add(count).div_ceil(8);
        let len = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
        let place = block.bitmap.saturating_add(start);
        let mut bitmap = vec![0; len];
        self.file.read_at(place, &mut bitmap)?;
        for sector in first..first.saturating_add(count) {
            let at = sector.div_euclid(8).saturating_sub(start);
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            let byte = bytes::array::<1>(&bitmap, at).map_or(0, |[byte]| byte);
            if !bytes::put(&mut bitmap, at, &[byte | mask(sector)]) {
                return Err(Error::damaged(
                    "VHD sector bitmap",
                    place,
                    "a bit for every sector",
                    format!("none for sector {sector}"),
                ));
            }
        }
        self.file.write_at(place, &bitmap)
    }
}

/// The bit of a sector in its byte of the bitmap.
fn mask(sector: u64) -> u8 {
    0x80_u8 >> (sector % 8)
}
