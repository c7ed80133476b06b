// SPDX-License-Identifier: GPL-2.0-or-later
//! The disk in a VHDX: where its sectors are, and how blocks are added.
//!
//! ```text
//! write to a block that is ...     then
//! fully present                    in place
//! partially present, sector here   in place
//! partially present, in the parent sectors copied from the parent, bits set
//! not present, of a differencing   a block at the file's end, partially present; a sector bitmap block, if the
//!                                  chunk has none; sectors copied from the parent, bits set
//! anything else                    a block of zeros at the file's end, fully present
//! ```
//!
//! A differencing disk's sectors are taken in groups of 4096 bytes. A child never gets a block in state "zero":
//! some readers show the parent there. Blocks that were given back are not used again: who owns their space is
//! not written anywhere.
//!
//! Everything here is written to an overlay. The commit that brings it to the file has its own order and can
//! take it back, which is what the format's own log is for; so tables are written in place.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::bat::{Bat, Payload};
use super::format::*;
use super::header::Header;
use super::region::Region;
use crate::container::extent::{Blocks, Extent, Place, read_elsewhere};
use crate::container::occupied::Occupied;
use crate::device::{Change, SharedDevice};
use crate::error::{Error, Result};

/// Bytes that a differencing disk keeps together.
const TOGETHER: u64 = 4096;

#[derive(Debug)]
pub(super) struct VhdxBlocks {
    file: SharedDevice,
    /// The header as it was when the file was opened, its log replayed.
    header: Header,
    /// Everything that is neither header nor block: log, BAT, metadata, others.
    regions: Vec<Region>,
    bat: Bat,
    disk_size: u64,
    sector_size: u32,
    parent: Option<SharedDevice>,
    /// Set once nothing in the file overlaps.
    sound: OnceLock<()>,
    /// Something that the disk holds was changed.
    written: AtomicBool,
}

impl VhdxBlocks {
    pub(super) fn new(
        file: SharedDevice,
        header: Header,
        regions: Vec<Region>,
        bat: Bat,
        disk_size: u64,
        sector_size: u32,
        parent: Option<SharedDevice>,
    ) -> VhdxBlocks {
        VhdxBlocks {
            file,
            header,
            regions,
            bat,
            disk_size,
            sector_size,
            parent,
            sound: OnceLock::new(),
            written: AtomicBool::new(false),
        }
    }

    /// Gives the file a new file write GUID, and a new data write GUID when what the disk holds was changed.
    ///
    /// Both are made from the old ones and all of `changes` but those of the headers. So they are new whenever
    /// the content is, the same changes to the same file always give the same file, and sealing twice is sealing
    /// once.
    pub(super) fn seal(&self, changes: &[Change]) -> Result<()> {
        let headers_end = HEADERS[1].saturating_add(HEADERS[0]);
        let mut digest = Sha256::new();
        digest.update(self.header.file_write_guid.as_bytes());
        digest.update(self.header.data_write_guid.as_bytes());
        for change in changes {
            if change.offset < headers_end {
                continue;
            }
            digest.update(change.offset.to_le_bytes());
            let len = u64::try_from(change.before.len()).unwrap_or(u64::MAX);
            digest.update(len.to_le_bytes());
            digest.update(&change.before);
            digest.update(&change.after);
        }
        let digest = digest.finalize();
        let (one, two) = digest.split_at_checked(16).unwrap_or_default();
        let guid = |half: &[u8]| {
            let bytes = <[u8; 16]>::try_from(half).unwrap_or_default();
            uuid::Builder::from_random_bytes(bytes).into_uuid()
        };
        let data_write_guid = match self.written.load(Ordering::Acquire) {
            true => guid(two),
            false => self.header.data_write_guid,
        };
        self.header
            .write_both(&self.file, guid(one), data_write_guid)
    }

    /// The block of `offset`, and where in it that is.
    fn locate(&self, offset: u64) -> (u64, u64) {
        let size = self.bat.block_size();
        (
            offset.checked_div(size).unwrap_or(0),
            offset.checked_rem(size).unwrap_or(0),
        )
    }

    /// `len` bytes of zeros, whole MiB, at the end of the file: where they begin.
    fn grow_file(&self, len: u64) -> Result<u64> {
        let places = || {
            let start = self.file.len().checked_next_multiple_of(MIB)?;
            Some((start, start.checked_add(len)?))
        };
        let (start, end) = places().ok_or_else(|| {
            Error::unsupported(
                "the VHDX file cannot grow any further",
                "convert the disk (`Convert-VHD`)",
            )
        })?;
        self.file.set_length(end)?;
        Ok(start)
    }
}

impl Blocks for VhdxBlocks {
    fn file(&self) -> &SharedDevice {
        &self.file
    }

    fn parent(&self) -> Option<&SharedDevice> {
        self.parent.as_ref()
    }

    fn size(&self) -> u64 {
        self.disk_size
    }

    fn sector_size(&self) -> u32 {
        self.sector_size
    }

    fn extent(&self, offset: u64, len: u64) -> Result<Extent> {
        let (block, inside) = self.locate(offset);
        let len = len.min(self.bat.block_size().saturating_sub(inside));
        let at = |place| Ok(Extent { place, len });
        let data = match self.bat.payload(block)? {
            Payload::NotPresent if self.parent.is_some() => return at(Place::Parent),
            Payload::NotPresent | Payload::Zeros => return at(Place::Zeros),
            Payload::Full(data) => return at(Place::File(data.saturating_add(inside))),
            Payload::Partial(data) => data,
        };
        let sector = self.bat.sector_size();
        let first = inside.checked_div(sector).unwrap_or(0);
        let into = inside.checked_rem(sector).unwrap_or(0);
        let count = into.saturating_add(len).div_ceil(sector.max(1));
        let (here, count) = self.bat.run(block, first, count)?;
        Ok(Extent {
            place: match here {
                true => Place::File(data.saturating_add(inside)),
                false => Place::Parent,
            },
            len: len.min(count.saturating_mul(sector).saturating_sub(into)),
        })
    }

    fn grow_extent(&self, offset: u64, len: u64) -> Result<()> {
        let (block, inside) = self.locate(offset);
        let data = match self.bat.payload(block)? {
            Payload::Full(_) => return Ok(()),
            Payload::Partial(data) => data,
            Payload::NotPresent if self.parent.is_some() => {
                self.bat.clear_bits(block, &mut || self.grow_file(MIB))?;
                let data = self.grow_file(self.bat.block_size())?;
                self.bat.set_payload(block, Payload::Partial(data))?;
                data
            }
            Payload::NotPresent | Payload::Zeros => {
                let data = self.grow_file(self.bat.block_size())?;
                return self.bat.set_payload(block, Payload::Full(data));
            }
        };
        // Sectors of this block, from `first` up to `end`, that are to be here.
        let sector_size = self.bat.sector_size().max(1);
        let together = TOGETHER.checked_div(sector_size).unwrap_or(1).max(1);
        let block_start = offset.saturating_sub(inside);
        let in_disk = self
            .disk_size
            .saturating_sub(block_start)
            .min(self.bat.block_size())
            .div_ceil(sector_size);
        let first = inside
            .checked_div(sector_size.saturating_mul(together))
            .unwrap_or(0)
            .saturating_mul(together);
        let end = inside
            .saturating_add(len)
            .div_ceil(sector_size)
            .next_multiple_of(together)
            .min(in_disk);
        let mut sector = first;
        while sector < end {
            let (here, count) = self.bat.run(block, sector, end.saturating_sub(sector))?;
            if !here {
                let place = sector.saturating_mul(sector_size);
                let bytes = count.saturating_mul(sector_size);
                let mut content = vec![0; usize::try_from(bytes).unwrap_or(0)];
                let from = block_start.saturating_add(place);
                read_elsewhere(self, Place::Parent, from, &mut content)?;
                self.file.write_at(data.saturating_add(place), &content)?;
            }
            sector = sector.saturating_add(count.max(1));
        }
        self.bat.set_bits(block, first, end.saturating_sub(first))
    }

    fn check_writable(&self) -> Result<()> {
        if self.sound.get().is_none() {
            let mut occupied = Occupied::new("VHDX", MIB, self.file.len());
            occupied.add(0, MIB)?;
            for region in &self.regions {
                occupied.add(region.offset, u64::from(region.length))?;
            }
            self.bat.occupy(&mut occupied)?;
            occupied.check()?;
            let _ = self.sound.set(());
        }
        self.written.store(true, Ordering::Release);
        Ok(())
    }
}

/// The data write GUID, by which children know the file.
pub(super) fn data_write_guid(device: &SharedDevice) -> Result<Uuid> {
    Ok(Header::read(device)?.data_write_guid)
}
