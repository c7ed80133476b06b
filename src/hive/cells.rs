// SPDX-License-Identifier: GPL-2.0-or-later
//! Free cells: which there are, taking one, giving one back, and growing when none fits.
//!
//! ```text
//! take   | free 40      |            -> | used 24 | free 16 |     first fit; the rest stays free
//! give   | free 16 | used 24 | free 8 | -> | free 48          |   merged inside the bin
//! grow   ... | last bin |            -> ... | last bin | new bin |
//! ```
//!
//! The list of free cells is built by one walk over all cells when the first one is needed, and kept up to
//! date from then on. Neighbouring free cells that some writer left unmerged count as one. Sizes are
//! multiples of 8, so a remainder is 0 or at least 8 bytes: never an unusable 1 to 7.

use std::collections::BTreeMap;

use super::Hive;
use super::bins::Bins;
use super::format::{BIN_HEADER, CELL_HEADER, CellOffset, PAGE, damaged};
use crate::error::{Error, Result};

/// All free cells: offset to size, both in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FreeCells(BTreeMap<u32, u32>);

impl FreeCells {
    /// Walks all cells. An error when they do not tile their bins.
    pub(crate) fn scan(bins: &Bins) -> Result<FreeCells> {
        let mut free = FreeCells(BTreeMap::new());
        if let Some(fault) = bins.faults().first() {
            return Err(fault.to_error());
        }
        for cell in bins.bins().iter().flat_map(|bin| bins.cells(*bin)) {
            let (offset, size, used) = cell?;
            if !used {
                free.insert(offset.0, size);
            }
        }
        Ok(free)
    }

    /// Adds a free cell, merged with its free neighbours; returns the merged cell. Cells of different bins
    /// never touch: a bin's header lies between them.
    fn insert(&mut self, mut offset: u32, mut size: u32) -> (u32, u32) {
        if let Some(after) = self.0.remove(&offset.saturating_add(size)) {
            size = size.saturating_add(after);
        }
        let before = self
            .0
            .range(..offset)
            .next_back()
            .map(|(&at, &len)| (at, len));
        if let Some((at, len)) = before
            && at.saturating_add(len) == offset
        {
            offset = at;
            size = size.saturating_add(len);
        }
        self.0.insert(offset, size);
        (offset, size)
    }

    /// Free bytes in all, with the cells' headers.
    #[cfg(test)]
    pub(crate) fn total(&self) -> u32 {
        self.0.values().sum()
    }

    /// The first free cell of at least `need` bytes, taken off the list.
    fn take(&mut self, need: u32) -> Option<(u32, u32)> {
        let found = self.0.iter().find(|(_, size)| **size >= need);
        let (offset, size) = found.map(|(&offset, &size)| (offset, size))?;
        self.0.remove(&offset);
        Some((offset, size))
    }
}

/// Bytes of a cell that holds `len` bytes of data.
pub(crate) fn cell_for(len: usize) -> Result<u32> {
    u32::try_from(len)
        .ok()
        .and_then(|len| len.checked_add(CELL_HEADER)?.checked_next_multiple_of(8))
        .filter(|&size| i32::try_from(size).is_ok())
        .ok_or_else(|| {
            let what = format!("{len} bytes do not fit a hive cell");
            Error::refused(what, "store less data")
        })
}

impl Hive {
    fn free_cells(&mut self) -> Result<&mut FreeCells> {
        if self.free.is_none() {
            self.free = Some(FreeCells::scan(&self.bins)?);
        }
        self.free
            .as_mut()
            .ok_or_else(|| damaged("free cells", CellOffset(0), "a list", "none"))
    }

    /// A new cell in use with room for `len` bytes, all zero.
    pub(crate) fn allocate(&mut self, len: usize) -> Result<CellOffset> {
        let need = cell_for(len)?;
        let found = match self.free_cells()?.take(need) {
            Some(found) => found,
            None => self.grow_bins(need)?,
        };
        let (offset, size) = found;
        let rest = size.saturating_sub(need);
        if rest > 0 {
            let at = offset.saturating_add(need);
            self.bins.write_header(CellOffset(at), rest, false)?;
            self.free_cells()?.insert(at, rest);
        }
        let offset = CellOffset(offset);
        self.bins.write_header(offset, need, true)?;
        self.bins.zero_cell(offset, need)?;
        Ok(offset)
    }

    /// A new cell in use that begins with `record`.
    pub(crate) fn allocate_with(&mut self, record: &[u8]) -> Result<CellOffset> {
        let offset = self.allocate(record.len())?;
        self.bins.write_cell(offset, 0, record)?;
        Ok(offset)
    }

    /// Gives the cell at `offset` back. Its old bytes stay where they are.
    pub(crate) fn release(&mut self, offset: CellOffset) -> Result<()> {
        let (size, used) = self.bins.cell_size("cell", offset)?;
        if !used {
            let expected = "a cell in use (it is to be freed)";
            return Err(damaged("cell", offset, expected, "a free cell"));
        }
        let (at, merged) = self.free_cells()?.insert(offset.0, size);
        self.bins.write_header(CellOffset(at), merged, false)
    }

    /// Makes room for `len` bytes in the cell at `offset` by taking the free cell behind it; false when
    /// that is not there or too small. Bytes that come in are zero.
    pub(crate) fn extend(&mut self, offset: CellOffset, len: usize) -> Result<bool> {
        let need = cell_for(len)?;
        let (size, _) = self.bins.cell_size("cell", offset)?;
        if size >= need {
            return Ok(true);
        }
        let after = offset.0.saturating_add(size);
        let free = self.free_cells()?;
        let Some(&available) = free.0.get(&after) else {
            return Ok(false);
        };
        let Some(rest) = size.saturating_add(available).checked_sub(need) else {
            return Ok(false);
        };
        free.0.remove(&after);
        if rest > 0 {
            let at = offset.0.saturating_add(need);
            free.0.insert(at, rest);
            self.bins.write_header(CellOffset(at), rest, false)?;
        }
        self.bins.write_header(offset, need, true)?;
        let old = usize::try_from(size.saturating_sub(CELL_HEADER)).unwrap_or(usize::MAX);
        let added = usize::try_from(need.saturating_sub(size)).unwrap_or(0);
        self.bins.write_cell(offset, old, &vec![0; added])?;
        Ok(true)
    }

    /// Appends a bin in which a cell of `need` bytes fits; returns its one free cell, which is not on the
    /// list.
    fn grow_bins(&mut self, need: u32) -> Result<(u32, u32)> {
        let size = need
            .checked_add(BIN_HEADER)
            .and_then(|size| size.checked_next_multiple_of(PAGE))
            .ok_or_else(|| Error::refused("the hive would grow past 2 GiB", "store less data"))?;
        let offset = self.bins.append_bin(size)?;
        self.refresh_base_block()?;
        Ok((offset.0, size.saturating_sub(BIN_HEADER)))
    }
}
