// SPDX-License-Identifier: GPL-2.0-or-later
//! A full copy of a disk as a new file of any kind, piece by piece.
//!
//! ```text
//! raw            |disk.......................|           pieces that are not zeros
//! fixed VHD      |disk.......................|footer|
//! dynamic        |tables|block|block|....|(footer)|      blocks that are not zeros; tables come last
//! ```
//!
//! Nothing is written here: each step says which bytes the new file has where, and the last one its length. Tables
//! and footers come last, so that a copy that was cut off is not taken for a whole one. Moment and ids come from
//! the caller.

use std::path::Path;

use super::child::{Fresh, Part};
use super::extent::Place;
use super::vhd::NewVhd;
use super::vhdx::{BLOCK_SIZE, NewVhdx};
use super::{Container, ContainerKind, Details};
use crate::error::{Error, Result};

/// What a full copy can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    /// The disk as it is.
    Raw,
    /// The disk with a footer behind it, as Azure takes it.
    FixedVhd,
    /// A VHD of the blocks that are not zeros.
    DynamicVhd,
    /// A VHDX of the blocks that are not zeros.
    DynamicVhdx,
}

impl CopyFormat {
    /// By the extension of the file to be: `.vhdx`, `.raw` or `.img`; `.vhd` is fixed for a disk that lies in one
    /// piece already, and dynamic for others. `Unsupported` for any other.
    pub fn of(target: &Path, source: &Container) -> Result<CopyFormat> {
        let extension = target
            .extension()
            .map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match (extension.as_deref(), source.kind) {
            (Some("raw" | "img"), _) => Ok(CopyFormat::Raw),
            (Some("vhd"), ContainerKind::Raw | ContainerKind::FixedVhd) => Ok(CopyFormat::FixedVhd),
            (Some("vhd"), _) => Ok(CopyFormat::DynamicVhd),
            (Some("vhdx"), _) => Ok(CopyFormat::DynamicVhdx),
            _ => Err(Error::unsupported(
                format!(
                    "{}: what kind of image that is to be is not known",
                    target.display()
                ),
                "choose a name that ends in .vhdx, .vhd, .raw or .img",
            )),
        }
    }
}

/// How much is read at a time; also the block size of both dynamic formats.
const PIECE: u64 = 2 << 20;

/// A copy in the making: an iterator over parts of the new file, offset and bytes. What no part names is zeros.
#[derive(Debug)]
pub struct WholeCopy<'a> {
    source: &'a Container,
    format: CopyFormat,
    vhd: NewVhd,
    vhdx: NewVhdx,
    /// Where the next piece of the disk begins.
    next: u64,
    /// Where each block of the new file begins.
    blocks: Vec<Option<u64>>,
    /// Where the blocks so far end.
    end: u64,
    /// Parts that are ready.
    ready: Vec<Part>,
    done: bool,
    len: u64,
}

/// Begins a full copy of the disk in `source`. `Unsupported` when the disk is too large for the format, or has
/// sectors that it does not know.
pub fn copy_whole<'a>(
    source: &'a Container,
    format: CopyFormat,
    fresh: &Fresh,
) -> Result<WholeCopy<'a>> {
    let size = source.disk.len();
    let sector_size = source.disk.sector_size();
    if matches!(format, CopyFormat::FixedVhd | CopyFormat::DynamicVhd) && sector_size != 512 {
        return Err(Error::unsupported(
            format!("a VHD has sectors of 512 bytes, this disk {sector_size}"),
            "choose a name that ends in .vhdx",
        ));
    }
    if format != CopyFormat::Raw && !size.is_multiple_of(u64::from(sector_size)) {
        return Err(Error::unsupported(
            format!("the disk has {size} bytes, which are no whole sectors of {sector_size}"),
            "choose a name that ends in .raw",
        ));
    }
    let (physical_sector_size, disk_id) = match source.details {
        Details::Vhdx {
            physical_sector_size,
            ..
        } => (physical_sector_size, fresh.ids[2]),
        Details::Raw | Details::Vhd { .. } => (4096, fresh.ids[2]),
    };
    let vhd = NewVhd {
        size,
        unique_id: fresh.ids[0],
        now: fresh.now,
    };
    let vhdx = NewVhdx {
        size,
        logical_sector_size: sector_size,
        physical_sector_size,
        disk_id,
        file_write_guid: fresh.ids[0],
        data_write_guid: fresh.ids[1],
        parent: None,
    };
    // What cannot be is said before anything is read.
    let end = match format {
        CopyFormat::Raw | CopyFormat::FixedVhd => 0,
        CopyFormat::DynamicVhd => {
            vhd.dynamic_tables(&[], 0, None)?;
            vhd.tables_end()
        }
        CopyFormat::DynamicVhdx => {
            vhdx.tables(&[])?;
            vhdx.tables_end()
        }
    };
    Ok(WholeCopy {
        source,
        format,
        vhd,
        vhdx,
        next: 0,
        blocks: Vec::new(),
        end,
        ready: Vec::new(),
        done: false,
        len: 0,
    })
}

impl WholeCopy<'_> {
    /// Bytes of the disk that are done, and all of them.
    pub fn progress(&self) -> (u64, u64) {
        (self.next, self.source.disk.len())
    }

    /// The length of the new file; right once the iterator has ended.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True for a copy of nothing.
    pub fn is_empty(&self) -> bool {
        self.source.disk.is_empty()
    }

    /// The next piece of the disk, when it is not zeros all over.
    fn read_piece(&mut self) -> Result<Option<Part>> {
        let size = self.source.disk.len();
        let offset = self.next;
        let len = size.saturating_sub(offset).min(PIECE);
        if let Some(extents) = &self.source.extents {
            let extent = extents.extent(offset, len)?;
            if extent.place == Place::Zeros && extent.len >= len {
                self.next = offset.saturating_add(len);
                return Ok(None);
            }
        }
        let mut piece = vec![0; usize::try_from(len).unwrap_or(0)];
        self.source.disk.read_at(offset, &mut piece)?;
        self.next = offset.saturating_add(len);
        let is_zeros = piece.iter().all(|byte| *byte == 0);
        Ok((!is_zeros).then_some((offset, piece)))
    }

    fn step(&mut self) -> Result<()> {
        let size = self.source.disk.len();
        if self.next < size {
            let piece = self.read_piece()?;
            return self.place(piece);
        }
        self.done = true;
        match self.format {
            CopyFormat::Raw => self.len = size,
            CopyFormat::FixedVhd => {
                let footer = self.vhd.fixed_footer();
                self.len = size.saturating_add(u64::try_from(footer.len()).unwrap_or(0));
                self.ready.push((size, footer));
            }
            CopyFormat::DynamicVhd => {
                let (mut parts, len) = self.vhd.dynamic_tables(&self.blocks, self.end, None)?;
                self.len = len;
                self.ready.append(&mut parts);
            }
            CopyFormat::DynamicVhdx => {
                self.len = self.end;
                self.ready.append(&mut self.vhdx.tables(&self.blocks)?);
            }
        }
        self.ready.reverse();
        Ok(())
    }

    /// Gives a piece of the disk its place in the new file.
    fn place(&mut self, piece: Option<Part>) -> Result<()> {
        let dynamic = match self.format {
            CopyFormat::Raw | CopyFormat::FixedVhd => {
                self.ready.extend(piece);
                return Ok(());
            }
            format => format,
        };
        let Some((_, data)) = piece else {
            self.blocks.push(None);
            return Ok(());
        };
        if dynamic == CopyFormat::DynamicVhd {
            let (bitmap, start, end) = NewVhd::place_block(self.end)?;
            // All sectors are here; those behind the disk's end, if any, are zeros.
            self.ready.push((start, data));
            self.ready.push((bitmap, vec![0xff; 512]));
            self.blocks.push(Some(bitmap));
            self.end = end;
        } else {
            self.ready.push((self.end, data));
            self.blocks.push(Some(self.end));
            self.end = self.end.saturating_add(u64::from(BLOCK_SIZE));
        }
        Ok(())
    }
}

impl Iterator for WholeCopy<'_> {
    type Item = Result<Part>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(part) = self.ready.pop() {
                return Some(Ok(part));
            }
            if self.done {
                return None;
            }
            if let Err(error) = self.step() {
                self.done = true;
                return Some(Err(error));
            }
        }
    }
}
