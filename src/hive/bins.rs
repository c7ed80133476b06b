// SPDX-License-Identifier: GPL-2.0-or-later
//! The image of a hive as bins and cells, and the only place that changes its bytes.
//!
//! ```text
//! base block (4096) | hbin | hbin | ...           | slack to the end of the file
//!                   |<------ hive bins data ----->|
//! hbin: header (32) | cell | cell | ...   the cells fill the bin to its last byte
//! ```
//!
//! A bin whose header is wrong does not stop the reading: its pages belong to no bin, no cell in them can
//! be read, and [`Bins::faults`] names it. Every change is recorded while a transaction is open, so that an
//! edit that fails half-way leaves no trace; the record holds the bytes that were replaced, not the image.

use super::base_block::{self, BASE_BLOCK_SIZE};
use super::check::Fault;
use super::format::{BIN_HEADER, CELL_HEADER, CellOffset, PAGE, bin, damaged};
use crate::bytes::{i32_le, put, slice, u32_le};
use crate::error::{Error, Result};

/// One hive bin: where it is, in bytes from the first bin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bin {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// What it takes to go back.
#[derive(Debug)]
struct Undo {
    writes: Vec<(usize, Vec<u8>)>,
    len: usize,
    size: u32,
    bins: usize,
    pages: usize,
}

/// A hive's bytes.
#[derive(Debug)]
pub(crate) struct Bins {
    bytes: Vec<u8>,
    size: u32,
    bins: Vec<Bin>,
    /// For every page of the bins data its bin; an empty one for none.
    page_bins: Vec<Bin>,
    faults: Vec<Fault>,
    undo: Option<Undo>,
}

impl Bins {
    /// Walks the bins of `bytes`, of whose data the base block says that they have `size` bytes.
    pub(crate) fn walk(bytes: Vec<u8>, size: u32) -> Bins {
        let stored = bytes.len().saturating_sub(BASE_BLOCK_SIZE);
        let usable = u32::try_from(stored).unwrap_or(u32::MAX).min(size);
        let usable = usable.checked_div(PAGE).unwrap_or(0).saturating_mul(PAGE);
        let mut walked = Bins {
            bytes,
            size: usable,
            bins: Vec::new(),
            page_bins: Vec::new(),
            faults: Vec::new(),
            undo: None,
        };
        if usable != size {
            let (expected, found) = (format!("{size} bytes"), format!("{stored} bytes"));
            let fault = Fault::fatal(BASE_BLOCK_SIZE as u64, "hive bins data", expected, found);
            walked.faults.push(fault);
        }
        let mut start = 0_u32;
        let mut lost = false;
        while start < usable {
            match walked.read_bin(start) {
                Ok(bin) => {
                    walked.push(bin);
                    start = bin.end;
                    lost = false;
                }
                Err(error) => {
                    if !lost {
                        walked.faults.extend(Fault::from_error(error, true));
                    }
                    lost = true;
                    walked.page_bins.push(Bin { start: 0, end: 0 });
                    start = start.saturating_add(PAGE);
                }
            }
        }
        walked
    }

    fn push(&mut self, bin: Bin) {
        let pages = bin.end.saturating_sub(bin.start).checked_div(PAGE);
        self.bins.push(bin);
        for _ in 0..pages.unwrap_or(0) {
            self.page_bins.push(bin);
        }
    }

    fn read_bin(&self, start: u32) -> Result<Bin> {
        let offset = CellOffset(start);
        let at = file_index(offset);
        let header = slice(&self.bytes, at, 32)
            .ok_or_else(|| damaged("hive bin", offset, "32 bytes", "the end"))?;
        if !header.starts_with(bin::SIGNATURE) {
            let found = header.get(..4).unwrap_or_default().escape_ascii();
            let found = format!("\"{found}\"");
            return Err(damaged("hive bin", offset, "\"hbin\"", found));
        }
        let own = u32_le(header, bin::OFFSET).unwrap_or_default();
        if own != start {
            let (expected, found) = (format!("own offset {start:#x}"), format!("{own:#x}"));
            return Err(damaged("hive bin", offset, expected, found));
        }
        let size = u32_le(header, bin::SIZE).unwrap_or_default();
        match start.checked_add(size) {
            Some(end) if size > 0 && size.is_multiple_of(PAGE) && end <= self.size => {
                Ok(Bin { start, end })
            }
            _ => {
                let expected = "a size of whole pages inside the hive bins data";
                Err(damaged("hive bin", offset, expected, format!("{size:#x}")))
            }
        }
    }

    /// The whole file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The whole file.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes of bins data that are there.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// The sound bins in order.
    pub(crate) fn bins(&self) -> &[Bin] {
        &self.bins
    }

    /// What is wrong with the bins; empty when they tile the bins data.
    pub(crate) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The bin in which `offset` lies; an empty one when there is none.
    pub(crate) fn bin_of(&self, offset: CellOffset) -> Bin {
        let page = usize::try_from(offset.0 / PAGE).unwrap_or(usize::MAX);
        let none = Bin { start: 0, end: 0 };
        self.page_bins.get(page).copied().unwrap_or(none)
    }

    /// The cells that tile a bin: place, size with the header, and whether it is in use. Ends behind the first error.
    pub(crate) fn cells(
        &self,
        bin: Bin,
    ) -> impl Iterator<Item = Result<(CellOffset, u32, bool)>> + use<'_> {
        let start = file_index(CellOffset(bin.start));
        let len = usize::try_from(bin.end.saturating_sub(bin.start)).unwrap_or(0);
        let bytes = slice(&self.bytes, start, len).unwrap_or_default();
        let mut offset = bin.start.saturating_add(BIN_HEADER);
        std::iter::from_fn(move || {
            if offset >= bin.end {
                return None;
            }
            let here = CellOffset(offset);
            let inside = usize::try_from(offset.saturating_sub(bin.start)).unwrap_or(usize::MAX);
            let header = i32_le(bytes, inside).unwrap_or(0);
            let (size, used) = (header.unsigned_abs(), header < 0);
            let room = bin.end.saturating_sub(offset);
            if size < 8 || !size.is_multiple_of(8) || size > room {
                offset = bin.end;
                return Some(Err(wrong_size("cell", here, header)));
            }
            offset = offset.saturating_add(size);
            Some(Ok((here, size, used)))
        })
    }

    /// Size of the cell at `offset` with its header, and whether it is in use. The cell lies wholly inside
    /// its bin; that a cell begins there is for the caller to know.
    pub(crate) fn cell_size(&self, what: &str, offset: CellOffset) -> Result<(u32, bool)> {
        let bin = self.bin_of(offset);
        let behind_header = bin.start.saturating_add(BIN_HEADER);
        if offset.0 < behind_header || offset.0 >= bin.end || !offset.0.is_multiple_of(8) {
            let expected = "a cell inside a hive bin";
            let found = format!("offset {:#x}", offset.0);
            return Err(damaged(what, offset, expected, found));
        }
        let header = i32_le(&self.bytes, file_index(offset)).unwrap_or(0);
        let size = header.unsigned_abs();
        let fits = offset.0.checked_add(size).is_some_and(|end| end <= bin.end);
        if size < 8 || !size.is_multiple_of(8) || !fits {
            return Err(wrong_size(what, offset, header));
        }
        Ok((size, header < 0))
    }

    /// The data of the cell in use at `offset`. `what` is the record it should hold, for the error.
    pub(crate) fn cell(&self, what: &str, offset: CellOffset) -> Result<&[u8]> {
        let (size, used) = self.cell_size(what, offset)?;
        if !used {
            return Err(damaged(what, offset, "a cell in use", "a free cell"));
        }
        let start = file_index(offset).saturating_add(4);
        let len = usize::try_from(size.saturating_sub(CELL_HEADER)).unwrap_or(usize::MAX);
        slice(&self.bytes, start, len).ok_or_else(|| damaged(what, offset, "a cell", "the end"))
    }

    /// Opens a transaction: from here on [`Bins::roll_back`] can take everything back.
    pub(crate) fn begin(&mut self) {
        self.undo = Some(Undo {
            writes: Vec::new(),
            len: self.bytes.len(),
            size: self.size,
            bins: self.bins.len(),
            pages: self.page_bins.len(),
        });
    }

    /// Closes the transaction and keeps what was done.
    pub(crate) fn commit(&mut self) {
        self.undo = None;
    }

    /// Closes the transaction and takes everything back.
    pub(crate) fn roll_back(&mut self) {
        let Some(undo) = self.undo.take() else {
            return;
        };
        for (at, before) in undo.writes.iter().rev() {
            // Every recorded range lies in the image, which only ever grows inside a transaction.
            let _whole = put(&mut self.bytes, *at, before);
        }
        self.bytes.truncate(undo.len);
        self.size = undo.size;
        self.bins.truncate(undo.bins);
        self.page_bins.truncate(undo.pages);
    }

    /// Replaces bytes of the file; nothing happens where they are the same already.
    fn write(&mut self, at: usize, data: &[u8]) -> Result<()> {
        let before = slice(&self.bytes, at, data.len())
            .ok_or_else(|| outside(at, data.len(), self.bytes.len()))?;
        if before == data {
            return Ok(());
        }
        if let Some(undo) = &mut self.undo {
            undo.writes.push((at, before.to_vec()));
        }
        match put(&mut self.bytes, at, data) {
            true => Ok(()),
            false => Err(outside(at, data.len(), self.bytes.len())),
        }
    }

    /// Replaces bytes inside the data of the cell in use at `offset`.
    pub(crate) fn write_cell(
        &mut self,
        offset: CellOffset,
        place: usize,
        data: &[u8],
    ) -> Result<()> {
        let cell = self.cell("cell", offset)?;
        if slice(cell, place, data.len()).is_none() {
            return Err(outside(place, data.len(), cell.len()).context("writing a cell"));
        }
        let at = file_index(offset).saturating_add(4).saturating_add(place);
        self.write(at, data)
    }

    /// Replaces a 32-bit field inside the data of the cell in use at `offset`.
    pub(crate) fn write_u32(&mut self, offset: CellOffset, place: usize, value: u32) -> Result<()> {
        self.write_cell(offset, place, &value.to_le_bytes())
    }

    /// Writes a cell's header: `size` bytes with the header, in use or free.
    pub(crate) fn write_header(&mut self, offset: CellOffset, size: u32, used: bool) -> Result<()> {
        let header = i32::try_from(size)
            .ok()
            .and_then(|size| if used { size.checked_neg() } else { Some(size) })
            .ok_or_else(|| damaged("cell", offset, "a size below 2 GiB", size.to_string()))?;
        self.write(file_index(offset), &header.to_le_bytes())
    }

    /// Fills the data of the cell at `offset` with zeros.
    pub(crate) fn zero_cell(&mut self, offset: CellOffset, size: u32) -> Result<()> {
        let len = usize::try_from(size.saturating_sub(CELL_HEADER)).unwrap_or(usize::MAX);
        let at = file_index(offset).saturating_add(4);
        if slice(&self.bytes, at, len).is_none() {
            return Err(outside(at, len, self.bytes.len()));
        }
        self.write(at, &vec![0; len])
    }

    /// Appends a bin of `size` bytes (whole pages) that holds one free cell, in the slack of the file as
    /// far as it reaches and past the end of the file from there.
    pub(crate) fn append_bin(&mut self, size: u32) -> Result<CellOffset> {
        let refused = || {
            let what = "the hive would grow past 2 GiB".to_owned();
            Error::refused(what, "delete something from the hive first")
        };
        let start = self.size;
        let end = start.checked_add(size).ok_or_else(refused)?;
        if i32::try_from(end).is_err() {
            return Err(refused());
        }
        let at = file_index(CellOffset(start));
        let len = file_index(CellOffset(end));
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
        let mut content = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        let cell = size.saturating_sub(BIN_HEADER);
        let filled = put(&mut content, 0, bin::SIGNATURE)
            && put(&mut content, bin::OFFSET, &start.to_le_bytes())
            && put(&mut content, bin::SIZE, &size.to_le_bytes())
            && put(&mut content, 32, &cell.to_le_bytes());
        if !filled {
            return Err(damaged("hive bin", CellOffset(start), "a page", "less"));
        }
        self.write(at, &content)?;
        self.size = end;
        self.push(Bin { start, end });
        self.edit_base_block(|image| base_block::set_bins_size(image, end))?;
        Ok(CellOffset(start.saturating_add(BIN_HEADER)))
    }

    /// Changes the base block through one of its own setters.
    pub(crate) fn edit_base_block(
        &mut self,
        set: impl FnOnce(&mut [u8]) -> Result<()>,
    ) -> Result<()> {
        if let Some(undo) = &mut self.undo {
            let sector = self.bytes.get(..base_block::SECTOR_SIZE);
            undo.writes.push((0, sector.unwrap_or_default().to_vec()));
        }
        set(&mut self.bytes)
    }
}

/// Index of a cell's header in the file.
fn file_index(offset: CellOffset) -> usize {
    usize::try_from(offset.in_file()).unwrap_or(usize::MAX)
}

#[cold]
fn wrong_size(what: &str, offset: CellOffset, header: i32) -> Error {
    let found = format!("{header:#x}");
    damaged(what, offset, "a cell size inside the bin", found)
}

fn outside(at: usize, len: usize, available: usize) -> Error {
    Error::damaged(
        "hive image",
        at as u64,
        format!("{len} bytes"),
        format!("the end at {available:#x}"),
    )
}
