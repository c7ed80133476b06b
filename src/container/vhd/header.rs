// SPDX-License-Identifier: GPL-2.0-or-later
//! The dynamic disk header, and the names of a differencing disk's parent. Big-endian.
//!
//! ```text
//!   0 "cxsparse"   8 all ones      16 OFFSET OF THE BLOCK TABLE    24 version 00010000
//!  28 MAX ENTRIES 32 BLOCK SIZE    36 checksum                     40 parent's unique id
//!  56 parent's time stamp          64 parent's name, 512 bytes     576 eight parent locators
//!
//! locator: 0 platform code "W2ru", "W2ku"   4 data space   8 data length   16 data offset
//!          -> the path in UTF-16, LITTLE-endian, not terminated
//! ```
//!
//! Virtual Hard Disk Image Format Specification 1.0. It counts the data space in sectors; Windows writes bytes.
//! The space only says how much is reserved, so we go by the length alone.

use uuid::Uuid;

use super::footer::{TRUNCATED_HINT, checksum};
use super::format::*;
use crate::bytes;
use crate::container::parent::StoredPath;
use crate::device::SharedDevice;
use crate::error::{Error, Result};

/// A sound dynamic disk header.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// Where it stands.
    pub(super) offset: u64,
    /// Where the block allocation table stands.
    pub(super) table_offset: u64,
    /// How many entries it has.
    pub(super) max_entries: u32,
    /// Bytes of a block's data, a power of two.
    pub(super) block_size: u32,
    /// The parent's unique id; meaningful in differencing disks, as all that follows.
    pub(super) parent_id: Uuid,
    /// Seconds since 2000; 0 when the creator did not care.
    pub(super) parent_time_stamp: u32,
    /// How the parent is named, best first.
    pub(super) parent_paths: Vec<StoredPath>,
    /// Where the locators' data stand: start and end.
    pub(super) locator_data: Vec<(u64, u64)>,
}

impl Header {
    /// Reads the header at `offset`, and checks it against a disk of `disk_size` bytes.
    pub(super) fn read(device: &SharedDevice, offset: u64, disk_size: u64) -> Result<Header> {
        let damaged = |at: usize, expected: String, found: String| {
            let at = offset.saturating_add(u64::try_from(at).unwrap_or(0));
            Error::damaged("VHD dynamic disk header", at, expected, found)
                .with_hint("opening the VHD", TRUNCATED_HINT)
        };
        let mut header = [0; HEADER_LEN];
        let end = offset.checked_add(u64::try_from(HEADER_LEN).unwrap_or(0));
        if offset < SECTOR || end.is_none_or(|end| end > device.len()) {
            return Err(damaged(
                0,
                format!("a place in the file, which ends at {:#x}", device.len()),
                format!("{offset:#x}"),
            ));
        }
        device.read_at(offset, &mut header)?;
        let cut = || damaged(0, "1024 bytes".into(), "fewer".into());
        if !header.starts_with(HEADER_COOKIE) {
            return Err(damaged(0, "\"cxsparse\"".into(), "something else".into()));
        }
        let stored = bytes::u32_be(&header, HEADER_CHECKSUM).ok_or_else(cut)?;
        let computed = checksum(&header, HEADER_CHECKSUM);
        if stored != computed {
            return Err(damaged(
                HEADER_CHECKSUM,
                format!("checksum {computed:#010x}"),
                format!("{stored:#010x}"),
            ));
        }
        let version = bytes::u32_be(&header, HEADER_VERSION).ok_or_else(cut)?;
        if version != VERSION {
            return Err(damaged(
                HEADER_VERSION,
                format!("version {VERSION:#010x}"),
                format!("{version:#010x}"),
            ));
        }
        let block_size = bytes::u32_be(&header, HEADER_BLOCK_SIZE).ok_or_else(cut)?;
        let range = MIN_BLOCK_SIZE..=MAX_BLOCK_SIZE;
        if !block_size.is_power_of_two() || !range.contains(&block_size) {
            return Err(damaged(
                HEADER_BLOCK_SIZE,
                format!("a block size from {MIN_BLOCK_SIZE} to {MAX_BLOCK_SIZE}, a power of two"),
                block_size.to_string(),
            ));
        }
        let max_entries = bytes::u32_be(&header, HEADER_MAX_ENTRIES).ok_or_else(cut)?;
        let blocks = disk_size.div_ceil(u64::from(block_size));
        if u64::from(max_entries) < blocks {
            return Err(damaged(
                HEADER_MAX_ENTRIES,
                format!("{blocks} entries, one for each block of the disk"),
                max_entries.to_string(),
            ));
        }
        let table_offset = bytes::u64_be(&header, HEADER_TABLE_OFFSET).ok_or_else(cut)?;
        let table_end = u64::from(max_entries)
            .checked_mul(4)
            .and_then(|len| table_offset.checked_add(len));
        if table_offset % SECTOR != 0 || table_end.is_none_or(|end| end > device.len()) {
            return Err(damaged(
                HEADER_TABLE_OFFSET,
                format!(
                    "a whole sector with room for {max_entries} entries in a file of {} bytes",
                    device.len()
                ),
                format!("{table_offset:#x}"),
            ));
        }
        let mut found = Header {
            offset,
            table_offset,
            max_entries,
            block_size,
            parent_id: Uuid::from_bytes(bytes::array(&header, HEADER_PARENT_ID).ok_or_else(cut)?),
            parent_time_stamp: bytes::u32_be(&header, HEADER_PARENT_TIME_STAMP).ok_or_else(cut)?,
            parent_paths: Vec::new(),
            locator_data: Vec::new(),
        };
        found.read_locators(device, &header)?;
        let name = bytes::slice(&header, HEADER_PARENT_NAME, PARENT_NAME_LEN).ok_or_else(cut)?;
        let name = utf16(name, u16::from_be_bytes);
        if !name.is_empty() {
            found.parent_paths.push(StoredPath::Absolute(name));
        }
        Ok(found)
    }

    /// Bytes of a block's sector bitmap: one bit a sector, in whole sectors.
    pub(super) fn bitmap_len(&self) -> u64 {
        let bits = u64::from(self.block_size).div_euclid(SECTOR);
        bits.div_ceil(8).next_multiple_of(SECTOR)
    }

    /// The Windows locators: relative ones first. Those of other platforms, and what leads out of the file,
    /// are passed over: there may be another.
    fn read_locators(&mut self, device: &SharedDevice, header: &[u8; HEADER_LEN]) -> Result<()> {
        let entries = header
            .get(HEADER_LOCATORS..)
            .unwrap_or_default()
            .chunks_exact(LOCATOR_LEN)
            .take(LOCATORS);
        let mut absolute = Vec::new();
        for entry in entries {
            let (Some(code), Some(len), Some(offset)) = (
                bytes::array::<4>(entry, 0),
                bytes::u32_be(entry, LOCATOR_DATA_LEN),
                bytes::u64_be(entry, LOCATOR_DATA_OFFSET),
            ) else {
                continue;
            };
            let Some(end) = offset.checked_add(u64::from(len)) else {
                continue;
            };
            if code == [0; 4] || end > device.len() {
                continue;
            }
            self.locator_data.push((offset, end));
            if (&code != RELATIVE_PATH && &code != ABSOLUTE_PATH) || len > MAX_LOCATOR_DATA {
                continue;
            }
            let mut path = vec![0; usize::try_from(len).unwrap_or(0)];
            device.read_at(offset, &mut path)?;
            let path = utf16(&path, u16::from_le_bytes);
            match &code {
                _ if path.is_empty() => {}
                RELATIVE_PATH => self.parent_paths.push(StoredPath::Relative(path)),
                _ => absolute.push(StoredPath::Absolute(path)),
            }
        }
        self.parent_paths.append(&mut absolute);
        Ok(())
    }
}

/// Text up to the first zero.
fn utf16(bytes: &[u8], order: fn([u8; 2]) -> u16) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| order(*pair));
    char::decode_utf16(units.take_while(|unit| *unit != 0))
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}
