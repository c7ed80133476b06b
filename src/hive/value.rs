// SPDX-License-Identifier: GPL-2.0-or-later
//! Reading values: the key value record and the three ways its data are stored.
//!
//! ```text
//! up to 4 bytes      in the record itself (top bit of the size set)
//! up to 16344 bytes  vk -> cell
//! more               vk -> db -> segment list -> cells of 16344 bytes, the last one the rest
//! ```
//!
//! Big data (db) exist from minor version 4 on; before, and where a foreign writer did not know them, long
//! data lie in one cell. The type is any number and says nothing about the data: the data are bytes.

use std::borrow::Cow;
use std::fmt;

use super::Hive;
use super::format::{CellOffset, KeyValue, big_data, damaged, key_value};
use super::names::Name;
use crate::bytes::{slice, u16_le, u32_le};
use crate::error::Result;

/// A value of a key.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    hive: &'a Hive,
    offset: CellOffset,
    cell: &'a [u8],
    pub(crate) record: KeyValue,
}

/// How a value's data are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// In the record, or nowhere because there are none.
    Inline,
    /// In one cell.
    Cell(CellOffset),
    /// In segments.
    BigData {
        record: CellOffset,
        list: CellOffset,
        count: usize,
    },
}

impl<'a> Value<'a> {
    /// The value whose record is in the cell at `offset`.
    pub(crate) fn read(hive: &'a Hive, offset: CellOffset) -> Result<Value<'a>> {
        let cell = hive.bins.cell("key value (vk)", offset)?;
        let record = KeyValue::read(offset, cell)?;
        Ok(Value {
            hive,
            offset,
            cell,
            record,
        })
    }

    /// The value's name; empty for a key's default value.
    pub fn name(&self) -> Name<'a> {
        self.record.name(self.cell)
    }

    /// The type as stored, whatever number it is (1 REG_SZ, 3 REG_BINARY, 4 REG_DWORD, ...).
    pub fn kind(&self) -> u32 {
        self.record.kind
    }

    /// Where the key value's cell begins: bytes from the start of the file.
    pub fn offset(&self) -> u64 {
        self.offset.in_file()
    }

    /// Where the key value's cell begins: bytes from the first hive bin.
    pub(crate) fn cell_offset(&self) -> CellOffset {
        self.offset
    }

    /// Bytes of data that the record claims.
    pub fn data_len(&self) -> usize {
        self.record.len()
    }

    /// The data as stored. Borrowed unless they are in segments.
    ///
    /// # Errors
    /// `Damaged` when they do not fit their cells.
    pub fn data(&self) -> Result<Cow<'a, [u8]>> {
        let len = self.record.len();
        match self.storage()? {
            Storage::Inline => slice(self.cell, key_value::DATA, len)
                .map(Cow::Borrowed)
                .ok_or_else(|| self.damaged("inline data", format!("{len} bytes"))),
            Storage::Cell(offset) => {
                let cell = self.hive.bins.cell("value data", offset)?;
                slice(cell, 0, len)
                    .map(Cow::Borrowed)
                    .ok_or_else(|| self.too_short(cell.len()))
            }
            Storage::BigData { list, count, .. } => {
                let mut data = Vec::with_capacity(len);
                for segment in self.hive.segments(list, count)? {
                    let left = len.saturating_sub(data.len()).min(big_data::SEGMENT);
                    let cell = self.hive.bins.cell("big data segment", segment)?;
                    let part = slice(cell, 0, left).ok_or_else(|| {
                        let found = format!("a cell of {}", cell.len());
                        damaged("big data segment", segment, format!("{left} bytes"), found)
                    })?;
                    data.extend_from_slice(part);
                }
                Ok(Cow::Owned(data))
            }
        }
    }

    /// How the data are stored. Big data's segment list is not looked at.
    pub(crate) fn storage(&self) -> Result<Storage> {
        let len = self.record.len();
        if self.record.is_inline() || len == 0 {
            return Ok(Storage::Inline);
        }
        let bins_size = usize::try_from(self.hive.bins.size()).unwrap_or(usize::MAX);
        if len > bins_size {
            return Err(self.damaged("data that fit the hive", format!("{len} bytes")));
        }
        let cell = self.hive.bins.cell("value data", self.record.data)?;
        let may_be_big = len > big_data::SEGMENT && self.hive.minor() >= big_data::MINOR;
        if may_be_big && cell.starts_with(big_data::SIGNATURE) {
            match self.big_data(cell) {
                // Plain data of a foreign writer may begin with the letters "db".
                Err(_) if cell.len() >= len => {}
                found => return found,
            }
        }
        match cell.len() >= len {
            true => Ok(Storage::Cell(self.record.data)),
            false => Err(self.too_short(cell.len())),
        }
    }

    fn big_data(&self, cell: &[u8]) -> Result<Storage> {
        let what = "big data (db)";
        let record = self.record.data;
        let needed = self.record.len().div_ceil(big_data::SEGMENT);
        let count = u16_le(cell, big_data::COUNT).map_or(0, usize::from);
        let list = CellOffset(u32_le(cell, big_data::LIST).unwrap_or(u32::MAX));
        if count != needed {
            let found = format!("{count} segments");
            return Err(damaged(what, record, format!("{needed} segments"), found));
        }
        Ok(Storage::BigData {
            record,
            list,
            count,
        })
    }

    fn damaged(&self, expected: &str, found: String) -> crate::error::Error {
        damaged("key value (vk)", self.offset, expected, found)
    }

    fn too_short(&self, found: usize) -> crate::error::Error {
        let expected = format!("{} bytes of value data", self.record.len());
        let found = format!("a cell of {found}");
        damaged("value data", self.record.data, expected, found)
    }
}

impl Hive {
    /// The segments of big data, of which the list in the cell at `list` names `count`.
    pub(crate) fn segments(
        &self,
        list: CellOffset,
        count: usize,
    ) -> Result<impl Iterator<Item = CellOffset> + use<'_>> {
        let cell = self.bins.cell("big data segment list", list)?;
        let bytes = count.checked_mul(4).and_then(|len| slice(cell, 0, len));
        let bytes = bytes.ok_or_else(|| {
            let found = format!("a cell of {} bytes", cell.len());
            damaged(
                "big data segment list",
                list,
                format!("{count} segments"),
                found,
            )
        })?;
        let segments = bytes.chunks_exact(4);
        Ok(segments.map(|offset| CellOffset(u32_le(offset, 0).unwrap_or(u32::MAX))))
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value")
            .field("name", &self.name())
            .field("kind", &self.kind())
            .field("len", &self.data_len())
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}
