// SPDX-License-Identifier: GPL-2.0-or-later
//! The disk in a dynamic or differencing VHD: where its sectors are, and how blocks are added.
//!
//! ```text
//! before   |...|bitmap|block     |   |footer|
//! after    |...|bitmap|block     |   |bitmap|block                  |   |footer|
//!                                 data at a multiple of 4096          end at a multiple of 4096
//! ```
//!
//! As Windows does it: a new block takes the footer's place, and the footer moves behind it. A dynamic disk's
//! new block has all bits of its bitmap set; a differencing disk's has those of the sectors that were written,
//! rounded out to 4096 bytes, because old readers take a bitmap's bits by the byte.
//!
//! Everything here is written to an overlay. The commit that brings it to the file has its own order and can
//! take it back, so the order of writes does not matter.

use std::sync::OnceLock;

use super::bat::{Bat, Block};
use super::footer::Footer;
use super::format::*;
use crate::container::extent::{Blocks, Extent, Place, read_elsewhere};
use crate::container::occupied::Occupied;
use crate::device::SharedDevice;
use crate::error::{Error, Result};

/// Sectors that a differencing disk keeps together: 4096 bytes.
const TOGETHER: u64 = 8;

#[derive(Debug)]
pub(super) struct VhdBlocks {
    file: SharedDevice,
    footer: Footer,
    /// Bytes of the footer at the end: 512, or 511 in very old files.
    footer_len: u64,
    bat: Bat,
    parent: Option<SharedDevice>,
    /// Set once nothing in the file overlaps.
    sound: OnceLock<()>,
}

impl VhdBlocks {
    /// The disk that `footer` and `bat` describe; `parent` for a differencing one.
    pub(super) fn new(
        file: SharedDevice,
        footer: Footer,
        footer_len: u64,
        bat: Bat,
        parent: Option<SharedDevice>,
    ) -> VhdBlocks {
        VhdBlocks {
            file,
            footer,
            footer_len,
            bat,
            parent,
            sound: OnceLock::new(),
        }
    }

    fn block_size(&self) -> u64 {
        u64::from(self.bat.header().block_size)
    }

    /// The block of `offset`, and where in it that is.
    fn locate(&self, offset: u64) -> (u64, u64) {
        let size = self.block_size();
        (
            offset.checked_div(size).unwrap_or(0),
            offset.checked_rem(size).unwrap_or(0),
        )
    }

    /// Where bytes are that no sector of this file holds.
    fn elsewhere(&self) -> Place {
        match self.parent {
            Some(_) => Place::Parent,
            None => Place::Zeros,
        }
    }

    /// A new block, with its bitmap, in the footer's place.
    fn grow_file(&self, number: u64) -> Result<Block> {
        let bitmap_len = self.bat.header().bitmap_len();
        let footer_now = self.file.len().saturating_sub(self.footer_len);
        let places = || {
            let data = footer_now
                .checked_add(bitmap_len)?
                .checked_next_multiple_of(ALIGNMENT)?;
            let end = data
                .checked_add(self.block_size())?
                .checked_add(SECTOR)?
                .checked_next_multiple_of(ALIGNMENT)?;
            Some((data.checked_sub(bitmap_len)?, data, end))
        };
        let (bitmap, data, end) = places()
            .filter(|(_, _, end)| *end <= MAX_FILE_LEN)
            .ok_or_else(|| {
                Error::unsupported(
                    format!(
                        "the VHD file cannot grow by another block: no VHD may be longer than {} GiB",
                        MAX_FILE_LEN >> 30
                    ),
                    "convert the disk to VHDX (`Convert-VHD`), which has room",
                )
            })?;
        self.file.set_length(end)?;
        // The old footer becomes part of the bitmap or of the gap before it.
        self.file
            .write_at(footer_now, &vec![0; FOOTER_LEN])
            .and_then(|()| {
                self.file
                    .write_at(end.saturating_sub(SECTOR), &self.footer.bytes)
            })?;
        if self.parent.is_none() {
            let ones = vec![0xff; usize::try_from(bitmap_len).unwrap_or(0)];
            self.file.write_at(bitmap, &ones)?;
        }
        self.bat.set(number, bitmap)?;
        Ok(Block { bitmap, data })
    }
}

impl Blocks for VhdBlocks {
    fn file(&self) -> &SharedDevice {
        &self.file
    }

    fn parent(&self) -> Option<&SharedDevice> {
        self.parent.as_ref()
    }

    fn size(&self) -> u64 {
        self.footer.current_size
    }

    fn sector_size(&self) -> u32 {
        512
    }

    fn extent(&self, offset: u64, len: u64) -> Result<Extent> {
        let (number, inside) = self.locate(offset);
        let len = len.min(self.block_size().saturating_sub(inside));
        let Some(block) = self.bat.find(number)? else {
            return Ok(Extent {
                place: self.elsewhere(),
                len,
            });
        };
        let first = inside.div_euclid(SECTOR);
        let into = inside.rem_euclid(SECTOR);
        let count = into.saturating_add(len).div_ceil(SECTOR);
        let (here, count) = self.bat.run(block, first, count)?;
        let len = len.min(count.saturating_mul(SECTOR).saturating_sub(into));
        let place = match here {
            true => Place::File(block.data.saturating_add(inside)),
            false => self.elsewhere(),
        };
        Ok(Extent { place, len })
    }

    fn grow_extent(&self, offset: u64, len: u64) -> Result<()> {
        let (number, inside) = self.locate(offset);
        let block = match self.bat.find(number)? {
            Some(block) => block,
            None => {
                let block = self.grow_file(number)?;
                if self.parent.is_none() {
                    return Ok(());
                }
                block
            }
        };
        // Sectors of this block, from `first` up to `end`, that are to be here.
        let together = match self.parent {
            Some(_) => TOGETHER,
            None => 1,
        };
        let first = inside
            .div_euclid(SECTOR.saturating_mul(together))
            .saturating_mul(together);
        let block_start = offset.saturating_sub(inside);
        let in_disk = self
            .size()
            .saturating_sub(block_start)
            .min(self.block_size());
        let end = inside
            .saturating_add(len)
            .div_ceil(SECTOR)
            .next_multiple_of(together)
            .min(in_disk.div_euclid(SECTOR));
        let mut sector = first;
        while sector < end {
            let (here, count) = self.bat.run(block, sector, end.saturating_sub(sector))?;
            let next = sector.saturating_add(count.max(1));
            if !here {
                let place = sector.saturating_mul(SECTOR);
                let bytes = count.saturating_mul(SECTOR);
                let mut content = vec![0; usize::try_from(bytes).unwrap_or(0)];
                let from = block_start.saturating_add(place);
                read_elsewhere(self, self.elsewhere(), from, &mut content)?;
                self.file
                    .write_at(block.data.saturating_add(place), &content)?;
            }
            sector = next;
        }
        self.bat.set_bits(block, first, end.saturating_sub(first))
    }

    fn check_writable(&self) -> Result<()> {
        if self.sound.get().is_some() {
            return Ok(());
        }
        let footer_at = self.file.len().saturating_sub(self.footer_len);
        let mut occupied = Occupied::new("VHD", SECTOR, footer_at);
        let header = self.bat.header();
        occupied.add(0, SECTOR)?;
        occupied.add(header.offset, u64::try_from(HEADER_LEN).unwrap_or(0))?;
        let table_len = u64::from(header.max_entries).saturating_mul(4);
        occupied.add(header.table_offset, table_len)?;
        for (start, end) in &header.locator_data {
            occupied.add(*start, end.saturating_sub(*start))?;
        }
        self.bat.occupy(&mut occupied)?;
        occupied.check()?;
        let _ = self.sound.set(());
        Ok(())
    }
}
