// SPDX-License-Identifier: GPL-2.0-or-later
//! The block allocation table.
//!
//! ```text
//! BAT      |P0|P1|...|P(R-1)|B0|PR|P(R+1)|...|P(2R-1)|B1|...      R payload entries, one bitmap entry
//! entry    bits 0-2 STATE   3-19 reserved   20-63 FILE OFFSET in MiB
//! ```
//!
//! [MS-VHDX] 2.5. R, the chunk ratio, is 2^23 * sector size / block size. The bitmap entries stand between
//! the payload entries of every disk, also where nothing uses them. The table is read entry by entry when it is
//! needed, so a disk of 64 TiB costs nothing to open.

use super::format::*;
use super::metadata::Metadata;
use super::region::Region;
use crate::container::occupied::Occupied;
use crate::device::SharedDevice;
use crate::error::{Error, Result, ResultExt};

/// What the BAT says of a payload block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// Nothing: it is the parent's, or zeros.
    NotPresent,
    /// Zeros, whatever the parent holds: zero, unmapped and undefined blocks.
    Zeros,
    /// All here, from this file offset.
    Full(u64),
    /// Here, from this file offset, are the sectors that the sector bitmap names; the others are the parent's.
    Partial(u64),
}

/// The table, and what is needed to find and judge its entries.
#[derive(Clone, Debug)]
pub(super) struct Bat {
    pub(super) file: SharedDevice,
    region: Region,
    block_size: u64,
    sector_size: u64,
    /// Payload blocks of the disk.
    blocks: u64,
    /// Payload blocks of a chunk.
    pub(super) chunk_ratio: u64,
    has_parent: bool,
}

impl Bat {
    /// `Damaged` when the region is too small for the disk.
    pub(super) fn new(file: SharedDevice, region: Region, metadata: &Metadata) -> Result<Bat> {
        let block_size = u64::from(metadata.block_size);
        let sector_size = u64::from(metadata.logical_sector_size);
        let chunk = SECTORS_PER_CHUNK.saturating_mul(sector_size);
        let blocks = metadata.disk_size.div_ceil(block_size.max(1));
        let bat = Bat {
            file,
            region,
            block_size,
            sector_size,
            blocks,
            chunk_ratio: chunk.checked_div(block_size).unwrap_or(1).max(1),
            has_parent: metadata.parent.is_some(),
        };
        let entries = bat.entries();
        let room = u64::from(region.length).div_euclid(8);
        if entries > room {
            return Err(Error::damaged(
                "VHDX BAT region",
                region.offset,
                format!("room for {entries} entries, which a disk of this size has"),
                format!("{room}"),
            )
            .with_hint("opening the VHDX", super::DAMAGED_HINT));
        }
        Ok(bat)
    }

    pub(super) fn block_size(&self) -> u64 {
        self.block_size
    }

    pub(super) fn sector_size(&self) -> u64 {
        self.sector_size
    }

    fn chunks(&self) -> u64 {
        self.blocks.div_ceil(self.chunk_ratio)
    }

    /// How many entries the table has: up to the last payload block, and in a differencing disk up to the last
    /// chunk's bitmap.
    fn entries(&self) -> u64 {
        let bitmaps = match self.has_parent {
            true => {
                return self
                    .chunks()
                    .saturating_mul(self.chunk_ratio.saturating_add(1));
            }
            false => self.blocks.saturating_sub(1).checked_div(self.chunk_ratio),
        };
        self.blocks.saturating_add(bitmaps.unwrap_or(0))
    }

    /// Which entry is that of payload block `block`.
    fn payload_index(&self, block: u64) -> u64 {
        block.saturating_add(block.checked_div(self.chunk_ratio).unwrap_or(0))
    }

    /// Which entry is that of the sector bitmap block of `chunk`.
    pub(super) fn bitmap_index(&self, chunk: u64) -> u64 {
        self.chunk_ratio
            .saturating_mul(chunk.saturating_add(1))
            .saturating_add(chunk)
    }

    fn is_bitmap(&self, index: u64) -> bool {
        index.checked_rem(self.chunk_ratio.saturating_add(1)) == Some(self.chunk_ratio)
    }

    fn entry_offset(&self, index: u64) -> Result<u64> {
        let entries = self.entries();
        index
            .checked_mul(8)
            .filter(|_| index < entries)
            .and_then(|offset| self.region.offset.checked_add(offset))
            .ok_or_else(|| {
                Error::damaged(
                    "VHDX BAT",
                    self.region.offset,
                    format!("one of {entries} entries"),
                    format!("entry {index}"),
                )
            })
    }

    fn read_entry(&self, index: u64) -> Result<u64> {
        let mut entry = [0; 8];
        self.file.read_at(self.entry_offset(index)?, &mut entry)?;
        Ok(u64::from_le_bytes(entry))
    }

    pub(super) fn damaged(&self, index: u64, expected: String, found: String) -> Error {
        let offset = self.region.offset.saturating_add(index.saturating_mul(8));
        Error::damaged(format!("VHDX BAT, entry {index}"), offset, expected, found)
            .with_hint("reading a block of the VHDX", super::DAMAGED_HINT)
    }

    /// The file offset in `entry`, when `len` bytes from there are a place in the file.
    fn place(&self, index: u64, entry: u64, len: u64) -> Result<u64> {
        let offset = (entry >> 20).saturating_mul(MIB);
        let end = offset.saturating_add(len);
        if offset >= MIB && end <= self.file.len() {
            return Ok(offset);
        }
        Err(self.damaged(
            index,
            format!("a block in the file, from 1 MiB to {:#x}", self.file.len()),
            format!("one from {offset:#x} to {end:#x}"),
        ))
    }

    /// What the BAT says of payload block `block`.
    pub(super) fn payload(&self, block: u64) -> Result<Payload> {
        let index = self.payload_index(block);
        self.parse_payload(index, self.read_entry(index)?)
    }

    fn parse_payload(&self, index: u64, entry: u64) -> Result<Payload> {
        if entry & BAT_RESERVED != 0 {
            return Err(self.damaged(index, "zeros in bits 3 to 19".into(), format!("{entry:#x}")));
        }
        match entry & BAT_STATE {
            NOT_PRESENT => Ok(Payload::NotPresent),
            UNDEFINED | ZERO | UNMAPPED | UNMAPPED_BEFORE_1_0 => Ok(Payload::Zeros),
            FULLY_PRESENT => Ok(Payload::Full(self.place(index, entry, self.block_size)?)),
            PARTIALLY_PRESENT if self.has_parent => Ok(Payload::Partial(self.place(
                index,
                entry,
                self.block_size,
            )?)),
            state => Err(self.damaged(
                index,
                match self.has_parent {
                    true => "state 0 to 3, 6 or 7".into(),
                    false => "state 0 to 3 or 6".into(),
                },
                format!("state {state}"),
            )),
        }
    }

    /// Makes payload block `block` have `state` and begin at `offset`.
    pub(super) fn set_payload(&self, block: u64, payload: Payload) -> Result<()> {
        let (state, offset) = match payload {
            Payload::NotPresent => (NOT_PRESENT, 0),
            Payload::Zeros => (ZERO, 0),
            Payload::Full(offset) => (FULLY_PRESENT, offset),
            Payload::Partial(offset) => (PARTIALLY_PRESENT, offset),
        };
        self.write_entry(self.payload_index(block), state, offset)
    }

    pub(super) fn write_entry(&self, index: u64, state: u64, offset: u64) -> Result<()> {
        let entry = (offset.div_euclid(MIB) << 20) | state;
        self.file
            .write_at(self.entry_offset(index)?, &entry.to_le_bytes())
            .context(|| format!("VHDX BAT, entry {index}"))
    }

    /// Where the sector bitmap block of `chunk` is; `None` when there is none.
    pub(super) fn bitmap(&self, chunk: u64) -> Result<Option<u64>> {
        let index = self.bitmap_index(chunk);
        self.parse_bitmap(index, self.read_entry(index)?)
    }

    fn parse_bitmap(&self, index: u64, entry: u64) -> Result<Option<u64>> {
        match entry & (BAT_STATE | BAT_RESERVED) {
            NOT_PRESENT => Ok(None),
            BITMAP_PRESENT => self.place(index, entry, MIB).map(Some),
            _ => Err(self.damaged(
                index,
                "state 0 or 6 of a sector bitmap block".into(),
                format!("{entry:#x}"),
            )),
        }
    }

    /// The space that blocks and bitmaps take, all of it in `occupied`. Reads the whole table, a piece at a time,
    /// and is `Damaged` where an entry is.
    pub(super) fn occupy(&self, occupied: &mut Occupied) -> Result<()> {
        /// Entries read at a time: ours.
        const PIECE: u64 = 16 << 10;
        let entries = self.entries();
        let mut index = 0;
        while index < entries {
            let count = entries.saturating_sub(index).min(PIECE);
            let mut piece = vec![0; usize::try_from(count.saturating_mul(8)).unwrap_or(0)];
            self.file.read_at(self.entry_offset(index)?, &mut piece)?;
            for entry in piece.as_chunks::<8>().0 {
                let entry = u64::from_le_bytes(*entry);
                if self.is_bitmap(index) {
                    // Without a parent they mean nothing, whatever they hold.
                    if self.has_parent
                        && let Some(offset) = self.parse_bitmap(index, entry)?
                    {
                        occupied.add(offset, MIB)?;
                    }
                } else if self.is_payload(index) {
                    match self.parse_payload(index, entry)? {
                        Payload::Full(offset) | Payload::Partial(offset) => {
                            occupied.add(offset, self.block_size)?;
                        }
                        Payload::NotPresent | Payload::Zeros => {}
                    }
                }
                index = index.saturating_add(1);
            }
        }
        Ok(())
    }

    /// False for entries of the last chunk behind the disk's end.
    fn is_payload(&self, index: u64) -> bool {
        let row = self.chunk_ratio.saturating_add(1);
        let bitmaps_before = index.checked_div(row).unwrap_or(0);
        index.saturating_sub(bitmaps_before) < self.blocks
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::container::vhdx::locator::ParentLocator;
    use crate::device::memory::MemoryDevice;

    fn bat(block_size: u32, sector_size: u32, disk_size: u64, has_parent: bool) -> Bat {
        let metadata = Metadata {
            block_size,
            leave_blocks_allocated: false,
            disk_size,
            logical_sector_size: sector_size,
            physical_sector_size: 4096,
            disk_id: Uuid::nil(),
            parent: has_parent.then_some(ParentLocator {
                place: 0,
                linkage: Uuid::nil(),
                linkage_2: None,
                paths: Vec::new(),
            }),
        };
        let region = Region {
            offset: 3 << 20,
            length: 1 << 30,
        };
        Bat::new(Arc::new(MemoryDevice::new(Vec::new())), region, &metadata).unwrap()
    }

    /// By the formulas of [MS-VHDX] 2.5.
    #[test]
    fn bitmap_entries_stand_between_the_payload_entries() {
        let gib = 1 << 30;
        let dynamic = bat(2 << 20, 512, 4 * gib, false);
        assert_eq!((dynamic.chunk_ratio, dynamic.blocks), (2048, 2048));
        assert_eq!(dynamic.entries(), 2048);
        let dynamic = bat(2 << 20, 512, 4 * gib + 512, false);
        assert_eq!((dynamic.blocks, dynamic.entries()), (2049, 2050));
        for (block, index) in [
            (0, 0),
            (2047, 2047),
            (2048, 2049),
            (4095, 4096),
            (4096, 4098),
        ] {
            assert_eq!(dynamic.payload_index(block), index);
            assert!(!dynamic.is_bitmap(index));
        }
        for (chunk, index) in [(0, 2048), (1, 4097), (2, 6146)] {
            assert_eq!(dynamic.bitmap_index(chunk), index);
            assert!(dynamic.is_bitmap(index));
        }
        assert!(dynamic.is_payload(2049) && !dynamic.is_payload(2050));
        let child = bat(2 << 20, 512, 4 * gib + 512, true);
        assert_eq!(child.entries(), 2 * 2049);
        let large = bat(32 << 20, 4096, 64 << 40, true);
        assert_eq!((large.chunk_ratio, large.chunks()), (1024, 2048));
        let largest = bat(256 << 20, 512, 64 << 40, false);
        assert_eq!(largest.chunk_ratio, 16);
    }
}
