// SPDX-License-Identifier: GPL-2.0-or-later
//! A virtual disk made of blocks: what dynamic and differencing VHD and VHDX have in common.
//!
//! ```text
//! disk     |block 0      |block 1      |block 2      |..   each extent of it is
//!           here  parent  zeros         here                 in the file, in the parent, or zeros
//! ```
//!
//! Reading follows the extents. Writing to one that is in the file goes there, in place; writing to another
//! first gives it a place ([`Blocks::grow_extent`]), but only when it changes anything: zeros over zeros cost
//! nothing. A parent is read, never written; past its end it is zeros.

use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

use crate::device::{Device, SharedDevice, bounds};
use crate::error::{Error, Result};

/// Where bytes of the virtual disk are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the container's file, from this offset.
    File(u64),
    /// Nowhere: they are zeros.
    Zeros,
    /// In the parent, at the same offset of its disk.
    Parent,
}

/// A run of the virtual disk that is in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) place: Place,
    /// Bytes, at least one.
    pub(super) len: u64,
}

/// What a container format knows about its blocks. Offsets are bytes of the virtual disk.
pub(super) trait Blocks: Debug + Send + Sync {
    /// The container's file.
    fn file(&self) -> &SharedDevice;
    /// The parent's disk; `None` for disks that stand alone.
    fn parent(&self) -> Option<&SharedDevice>;
    /// Bytes of the virtual disk.
    fn size(&self) -> u64;
    /// Logical sector size of the virtual disk.
    fn sector_size(&self) -> u32;
    /// What is at `offset`, for at most `len` bytes. Both lie in the disk.
    fn extent(&self, offset: u64, len: u64) -> Result<Extent>;
    /// Gives `len` bytes at `offset`, which are one extent, a place in the file. They keep their content.
    fn grow_extent(&self, offset: u64, len: u64) -> Result<()>;
    /// Called before each write: `Refused` or `Damaged` when the file must not be written.
    fn check_writable(&self) -> Result<()>;
}

/// Where the bytes of a disk are, for whoever need not know its format.
pub(super) trait Extents: Debug + Send + Sync {
    /// What is at `offset`, for at most `len` bytes. Both lie in the disk.
    fn extent(&self, offset: u64, len: u64) -> Result<Extent>;
}

impl<B: Blocks> Extents for BlockDisk<B> {
    fn extent(&self, offset: u64, len: u64) -> Result<Extent> {
        self.blocks.extent(offset, len)
    }
}

/// How much is compared and grown at a time: ours. Also what a write takes in memory.
const PIECE: u64 = 64 << 10;

/// The virtual disk over blocks.
#[derive(Debug)]
pub(super) struct BlockDisk<B> {
    blocks: B,
    /// Held by whoever changes tables.
    writing: Mutex<()>,
}

impl<B: Blocks> BlockDisk<B> {
    pub(super) fn new(blocks: B) -> BlockDisk<B> {
        BlockDisk {
            blocks,
            writing: Mutex::new(()),
        }
    }

    pub(super) fn blocks(&self) -> &B {
        &self.blocks
    }

    fn piece(&self, offset: u64, len: usize) -> Result<(Place, usize)> {
        let wanted = u64::try_from(len).unwrap_or(u64::MAX);
        let extent = self.blocks.extent(offset, wanted)?;
        match usize::try_from(extent.len.min(wanted)) {
            Ok(len) if len > 0 => Ok((extent.place, len)),
            _ => Err(no_extent(offset)),
        }
    }
}

/// Fills `buffer` with what `place`, which is not the file, holds at `offset`.
pub(super) fn read_elsewhere(
    blocks: &dyn Blocks,
    place: Place,
    offset: u64,
    buffer: &mut [u8],
) -> Result<()> {
    let parent = match place {
        Place::Parent => blocks.parent(),
        Place::File(_) | Place::Zeros => None,
    };
    let Some(parent) = parent else {
        buffer.fill(0);
        return Ok(());
    };
    let inside = parent.len().saturating_sub(offset);
    let inside = usize::try_from(inside).map_or(buffer.len(), |len| len.min(buffer.len()));
    let (there, past) = buffer
        .split_at_mut_checked(inside)
        .ok_or_else(|| no_extent(offset))?;
    past.fill(0);
    match there.is_empty() {
        true => Ok(()),
        false => parent
            .read_at(offset, there)
            .map_err(|error| error.context("reading the parent")),
    }
}

/// Extents are made so that this cannot happen; if it does, nothing must be written.
fn no_extent(offset: u64) -> Error {
    Error::damaged("virtual disk", offset, "a block", "none")
}

impl<B: Blocks> Device for BlockDisk<B> {
    fn len(&self) -> u64 {
        self.blocks.size()
    }

    fn sector_size(&self) -> u32 {
        self.blocks.sector_size()
    }

    fn read_at(&self, mut offset: u64, buffer: &mut [u8]) -> Result<()> {
        bounds::check("read of the disk", self.len(), offset, buffer.len())?;
        let mut rest = buffer;
        while !rest.is_empty() {
            let (place, len) = self.piece(offset, rest.len())?;
            let (part, after) = rest
                .split_at_mut_checked(len)
                .ok_or_else(|| no_extent(offset))?;
            match place {
                Place::File(at) => self.blocks.file().read_at(at, part)?,
                _ => read_elsewhere(&self.blocks, place, offset, part)?,
            }
            rest = after;
            offset = offset.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    fn write_at(&self, mut offset: u64, data: &[u8]) -> Result<()> {
        bounds::check("write to the disk", self.len(), offset, data.len())?;
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.blocks.check_writable()?;
        let mut rest = data;
        while !rest.is_empty() {
            let (place, len) = self.piece(offset, rest.len())?;
            let len = match place {
                Place::File(_) => len,
                _ => len.min(usize::try_from(PIECE).unwrap_or(len)),
            };
            let (part, after) = rest
                .split_at_checked(len)
                .ok_or_else(|| no_extent(offset))?;
            let len = u64::try_from(len).unwrap_or(u64::MAX);
            if let Place::File(at) = place {
                self.blocks.file().write_at(at, part)?;
            } else {
                let mut present = vec![0; part.len()];
                read_elsewhere(&self.blocks, place, offset, &mut present)?;
                if present != part {
                    self.blocks.grow_extent(offset, len)?;
                    match self.blocks.extent(offset, len)? {
                        Extent {
                            place: Place::File(at),
                            len: grown,
                        } if grown == len => self.blocks.file().write_at(at, part)?,
                        _ => return Err(no_extent(offset)),
                    }
                }
            }
            rest = after;
            offset = offset.saturating_add(len);
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.blocks.file().flush()
    }
}
