// SPDX-License-Identifier: GPL-2.0-or-later
//! Setting and deleting values.
//!
//! ```text
//! new data fit where the old ones are  -> overwritten there; nothing else of the value moves
//! otherwise                            -> old cells freed, new ones taken, the record points to them
//! new value                            -> record appended to the value list (longer list when full)
//! ```
//!
//! Data of more than 16344 bytes become big data (db) from minor version 4 on, one cell of at most 1 MiB
//! before. The key's longest-name and largest-data fields are raised when needed and never lowered; its
//! time is set. Setting what is already there changes nothing, not even the time. The spelling of an
//! existing value's name is kept.

use super::Hive;
use super::format::{CellOffset, big_data, damaged, key_node, key_value};
use super::key::Key;
use super::names::NewName;
use super::value::{Storage, Value};
use crate::bytes::{put, slice, u32_le};
use crate::error::{Error, Result};

/// Longest data before big data existed (Windows' limit).
const MAX_PLAIN: usize = 1024 * 1024;
/// In [`key_value::FLAGS`]: the value marks a deletion in a layered key.
const FLAG_TOMBSTONE: u16 = 2;

impl Hive {
    /// Sets the value `name` (`""`: the default value) of the key at `path`. `kind` is the type number as
    /// stored, `data` the raw bytes, `now` a FILETIME.
    ///
    /// # Errors
    /// `Refused` when the key does not exist, is a symbolic link or holds a predefined handle, when name or
    /// data are too long, or when the hive cannot grow any more; `Damaged` when a structure that must be
    /// changed is not sound. The hive is then unchanged.
    pub fn set_value(
        &mut self,
        path: &str,
        name: &str,
        kind: u32,
        data: &[u8],
        now: u64,
    ) -> Result<()> {
        let Some(key) = self.key(path)? else {
            let what = format!("the key {path:?} does not exist");
            return Err(Error::refused(what, "create the key first"));
        };
        self.check_editable(&key, name)?;
        if data.len() > MAX_PLAIN && self.minor() < big_data::MINOR {
            let what = format!("{} bytes are too long for a value of this hive", data.len());
            return Err(Error::refused(what, "store at most 1 MiB"));
        }
        let offset = key.cell_offset();
        match key.value(name)? {
            None => self.edit(|hive| {
                hive.add_value(offset, name, kind, data)?;
                hive.touch_key(offset, now)
            }),
            Some(value) if value.record.flags & FLAG_TOMBSTONE != 0 => {
                let what = format!("the value {name:?} marks a deletion in a layered key");
                Err(Error::refused(what, "edit the hive below the layer"))
            }
            Some(value) if value.kind() == kind && *value.data()? == *data => Ok(()),
            Some(value) => {
                let value = value.cell_offset();
                self.edit(|hive| {
                    hive.change_value(value, kind, data)?;
                    hive.raise(offset, key_node::MAX_VALUE_DATA, data.len())?;
                    hive.touch_key(offset, now)
                })
            }
        }
    }

    /// Deletes the value `name` (`""`: the default value) of the key at `path`. False when the key or the
    /// value is not there. `now` is a FILETIME.
    ///
    /// # Errors
    /// As [`Hive::set_value`].
    pub fn delete_value(&mut self, path: &str, name: &str, now: u64) -> Result<bool> {
        let Some(key) = self.key(path)? else {
            return Ok(false);
        };
        let Some(value) = key.value(name)? else {
            return Ok(false);
        };
        self.check_editable(&key, name)?;
        let (offset, value) = (key.cell_offset(), value.cell_offset());
        let (list, count) = (key.node.value_list, key.node.value_count);
        let kept: Vec<u8> = key
            .value_targets()?
            .filter(|&target| target != value)
            .flat_map(|target| target.0.to_le_bytes())
            .collect();
        let left = u32::try_from(kept.len() >> 2).unwrap_or(u32::MAX);
        if left.checked_add(1) != Some(count) {
            let found = format!("{left} others of {count}");
            return Err(damaged("value list", list, "every value once", found));
        }
        self.edit(|hive| {
            hive.free_value(value)?;
            match left {
                0 => {
                    hive.release(list)?;
                    hive.bins
                        .write_u32(offset, key_node::VALUE_LIST, CellOffset::NIL.0)?;
                }
                _ => hive.bins.write_cell(list, 0, &kept)?,
            }
            hive.bins.write_u32(offset, key_node::VALUE_COUNT, left)?;
            hive.touch_key(offset, now)?;
            Ok(true)
        })
    }

    fn check_editable(&self, key: &Key<'_>, name: &str) -> Result<()> {
        let refuse = |why: &str, next: &str| {
            let what = format!("the key {:?} {why}", key.name());
            Err(Error::refused(what, next))
        };
        if key.is_symlink() && !name.eq_ignore_ascii_case("SymbolicLinkValue") {
            return refuse("is a symbolic link", "edit the link's target");
        }
        if key.node.has(key_node::FLAG_PREDEFINED_HANDLE) {
            return refuse("has a predefined handle and no values", "edit another key");
        }
        if name.encode_utf16().count() > key_value::MAX_NAME {
            return refuse(
                "can have value names of 16383 UTF-16 units",
                "shorten the name",
            );
        }
        Ok(())
    }

    /// Raises one of the key's "largest so far" fields.
    fn raise(&mut self, key: CellOffset, field: usize, size: usize) -> Result<()> {
        let cell = self.bins.cell("key node (nk)", key)?;
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        match u32_le(cell, field) {
            Some(present) if present >= size => Ok(()),
            _ => self.bins.write_u32(key, field, size),
        }
    }

    fn add_value(&mut self, key: CellOffset, name: &str, kind: u32, data: &[u8]) -> Result<()> {
        let name = NewName::new(name);
        let (size, field) = self.store(data)?;
        let record = value_record(&name, size, field, kind)?;
        let value = self.allocate_with(&record)?;
        let node = Key::read(self, key)?.node;
        let count = node.value_count.checked_add(1).ok_or_else(|| {
            damaged(
                "key node (nk)",
                key,
                "a count of values",
                "the largest number",
            )
        })?;
        let used = usize::try_from(node.value_count)
            .unwrap_or(usize::MAX)
            .saturating_mul(4);
        let need = used.saturating_add(4);
        let list = match node.value_count {
            0 => self.allocate(4)?,
            _ if self.bins.cell("value list", node.value_list)?.len() >= need => node.value_list,
            _ if self.extend(node.value_list, need)? => node.value_list,
            _ => {
                let cell = self.bins.cell("value list", node.value_list)?;
                let old = slice(cell, 0, used).unwrap_or_default().to_vec();
                let list = self.allocate(need)?;
                self.bins.write_cell(list, 0, &old)?;
                self.release(node.value_list)?;
                list
            }
        };
        self.bins.write_u32(list, used, value.0)?;
        self.bins.write_u32(key, key_node::VALUE_LIST, list.0)?;
        self.bins.write_u32(key, key_node::VALUE_COUNT, count)?;
        let longest = name.as_name().len().saturating_mul(2);
        self.raise(key, key_node::MAX_VALUE_NAME, longest)?;
        self.raise(key, key_node::MAX_VALUE_DATA, data.len())
    }

    fn change_value(&mut self, offset: CellOffset, kind: u32, data: &[u8]) -> Result<()> {
        let value = Value::read(self, offset)?;
        let storage = value.storage()?;
        if !self.overwrite(&storage, data)? {
            self.free_storage(&storage)?;
            let (size, field) = self.store(data)?;
            self.bins
                .write_cell(offset, key_value::DATA_SIZE, &size.to_le_bytes())?;
            self.bins.write_cell(offset, key_value::DATA, &field)?;
        } else {
            let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
            self.bins.write_u32(offset, key_value::DATA_SIZE, size)?;
        }
        self.bins.write_u32(offset, key_value::KIND, kind)
    }

    /// Overwrites the data where they are; false, and nothing written, when the new ones are of another
    /// size class or do not fit.
    fn overwrite(&mut self, storage: &Storage, data: &[u8]) -> Result<bool> {
        let big = data.len() > big_data::SEGMENT && self.minor() >= big_data::MINOR;
        match storage {
            Storage::Inline => Ok(false),
            Storage::Cell(cell) => {
                let room = self.bins.cell("value data", *cell)?.len();
                if big || data.len() <= key_value::MAX_INLINE || room < data.len() {
                    return Ok(false);
                }
                self.bins.write_cell(*cell, 0, data)?;
                Ok(true)
            }
            Storage::BigData { list, count, .. } => {
                let segments: Vec<CellOffset> = self.segments(*list, *count)?.collect();
                let parts: Vec<&[u8]> = data.chunks(big_data::SEGMENT).collect();
                if !big || parts.len() != segments.len() {
                    return Ok(false);
                }
                for (segment, part) in segments.iter().zip(&parts) {
                    if self.bins.cell("big data segment", *segment)?.len() < part.len() {
                        return Ok(false);
                    }
                }
                for (segment, part) in segments.iter().zip(&parts) {
                    self.bins.write_cell(*segment, 0, part)?;
                }
                Ok(true)
            }
        }
    }

    /// Stores data in new cells; returns the record's size and data fields.
    fn store(&mut self, data: &[u8]) -> Result<(u32, [u8; 4])> {
        let too_long = || {
            let what = format!("{} bytes are too long for a value", data.len());
            Error::refused(what, "store less data")
        };
        let size = u32::try_from(data.len()).map_err(|_| too_long())?;
        if data.len() <= key_value::MAX_INLINE {
            let mut field = [0; 4];
            return match put(&mut field, 0, data) {
                true => Ok((size | key_value::INLINE, field)),
                false => Err(too_long()),
            };
        }
        if data.len() <= big_data::SEGMENT || self.minor() < big_data::MINOR {
            let cell = self.allocate_with(data)?;
            return Ok((size, cell.0.to_le_bytes()));
        }
        let mut list = Vec::new();
        for part in data.chunks(big_data::SEGMENT) {
            list.extend(self.allocate_with(part)?.0.to_le_bytes());
        }
        let count = u16::try_from(list.len() >> 2).map_err(|_| too_long())?;
        let list = self.allocate_with(&list)?;
        let mut record = big_data::SIGNATURE.to_vec();
        record.extend(count.to_le_bytes());
        record.extend(list.0.to_le_bytes());
        // Four bytes that mean nothing follow in Windows' own records.
        record.extend([0; 4]);
        let record = self.allocate_with(&record)?;
        Ok((size, record.0.to_le_bytes()))
    }

    /// Frees a value's record and data.
    pub(crate) fn free_value(&mut self, offset: CellOffset) -> Result<()> {
        let storage = Value::read(self, offset)?.storage()?;
        self.free_storage(&storage)?;
        self.release(offset)
    }

    fn free_storage(&mut self, storage: &Storage) -> Result<()> {
        match storage {
            Storage::Inline => Ok(()),
            Storage::Cell(cell) => self.release(*cell),
            Storage::BigData {
                record,
                list,
                count,
            } => {
                let segments: Vec<CellOffset> = self.segments(*list, *count)?.collect();
                for segment in segments {
                    self.release(segment)?;
                }
                self.release(*list)?;
                self.release(*record)
            }
        }
    }
}

/// The record of a new value.
fn value_record(name: &NewName, size: u32, data: [u8; 4], kind: u32) -> Result<Vec<u8>> {
    use key_value::*;
    let latin1 = name.is_latin1() && !name.as_name().is_empty();
    let flags = if latin1 { FLAG_LATIN1 } else { 0 };
    let length = u16::try_from(name.bytes().len());
    let length = length.map_err(|_| Error::refused("the value name is too long", "shorten it"))?;
    let mut record = vec![0; NAME];
    let whole = put(&mut record, 0, SIGNATURE)
        && put(&mut record, NAME_LENGTH, &length.to_le_bytes())
        && put(&mut record, DATA_SIZE, &size.to_le_bytes())
        && put(&mut record, DATA, &data)
        && put(&mut record, KIND, &kind.to_le_bytes())
        && put(&mut record, FLAGS, &flags.to_le_bytes());
    if !whole {
        return Err(damaged(
            "key value (vk)",
            CellOffset(0),
            "20 bytes",
            "fewer",
        ));
    }
    record.extend_from_slice(name.bytes());
    Ok(record)
}
