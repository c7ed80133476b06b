// SPDX-License-Identifier: GPL-2.0-or-later
//! The structures of a new VHDX, as bytes.
//!
//! ```text
//! |file id, headers, region tables: 1 MiB|log 1 MiB|metadata 1 MiB|BAT, whole MiB|blocks ...|
//! ```
//!
//! [MS-VHDX] 2. Dynamic disks and children; blocks of 2 MiB; both headers and both region tables.

use uuid::Uuid;

use super::format::*;
use super::header::{Header, checksum};
use crate::bytes;
use crate::container::child::Part;
use crate::error::{Error, Result};

/// Ours: with Windows' 32 MiB a child and a copy would grow faster than what changes.
pub(in crate::container) const BLOCK_SIZE: u32 = 2 << 20;
const LOG_OFFSET: u64 = MIB;
const METADATA_OFFSET: u64 = 2 * MIB;
const BAT_OFFSET: u64 = 3 * MIB;

/// A disk to be.
#[derive(Clone, Debug)]
pub(in crate::container) struct NewVhdx {
    pub(in crate::container) size: u64,
    pub(in crate::container) logical_sector_size: u32,
    pub(in crate::container) physical_sector_size: u32,
    pub(in crate::container) disk_id: Uuid,
    pub(in crate::container) file_write_guid: Uuid,
    pub(in crate::container) data_write_guid: Uuid,
    /// The parent's data write GUID, and its Windows path from the child's folder.
    pub(in crate::container) parent: Option<(Uuid, String)>,
}

impl NewVhdx {
    /// How many blocks the disk has.
    pub(in crate::container) fn blocks(&self) -> u64 {
        self.size.div_ceil(u64::from(BLOCK_SIZE))
    }

    fn chunk_ratio(&self) -> u64 {
        SECTORS_PER_CHUNK
            .saturating_mul(u64::from(self.logical_sector_size))
            .div_euclid(u64::from(BLOCK_SIZE))
            .max(1)
    }

    fn bat_len(&self) -> u64 {
        let ratio = self.chunk_ratio();
        let chunks = self.blocks().div_ceil(ratio);
        chunks
            .saturating_mul(ratio.saturating_add(1))
            .saturating_mul(8)
            .next_multiple_of(MIB)
    }

    /// Where the first block begins.
    pub(in crate::container) fn tables_end(&self) -> u64 {
        BAT_OFFSET.saturating_add(self.bat_len())
    }

    /// Everything but the blocks, of which `blocks` says where each begins: parts of the file. What is not in
    /// them is zeros.
    pub(in crate::container) fn tables(&self, blocks: &[Option<u64>]) -> Result<Vec<Part>> {
        if self.size > MAX_DISK_SIZE {
            return Err(Error::unsupported(
                "no VHDX can be larger than 64 TiB",
                "choose another name: .raw for a raw image",
            ));
        }
        let mut identifier = FILE_SIGNATURE.to_vec();
        identifier.extend(utf16(concat!("coldfix ", env!("CARGO_PKG_VERSION"))));
        let mut parts = vec![(0, identifier)];
        for (slot, offset) in HEADERS.into_iter().enumerate() {
            let header = Header {
                slot,
                sequence: u64::try_from(slot).unwrap_or(0).saturating_add(1),
                file_write_guid: self.file_write_guid,
                data_write_guid: self.data_write_guid,
                log_guid: Uuid::nil(),
                log_length: u32::try_from(MIB).unwrap_or(0),
                log_offset: LOG_OFFSET,
                other: None,
            };
            parts.push((offset, header.to_bytes()));
        }
        let table = self.region_table()?;
        for offset in REGION_TABLES {
            parts.push((offset, table.clone()));
        }
        parts.extend(self.metadata());
        let ratio = self.chunk_ratio();
        // Runs of entries, so that an empty table of a large disk costs nothing.
        for (number, block) in (0_u64..).zip(blocks) {
            if let Some(offset) = block {
                let index = number.saturating_add(number.checked_div(ratio).unwrap_or(0));
                let entry = (offset.div_euclid(MIB) << 20) | FULLY_PRESENT;
                let place = BAT_OFFSET.saturating_add(index.saturating_mul(8));
                match parts.last_mut() {
                    Some((start, run)) if ends_at(*start, run, place) => {
                        run.extend(entry.to_le_bytes());
                    }
                    _ => parts.push((place, entry.to_le_bytes().to_vec())),
                }
            }
        }
        Ok(parts)
    }

    fn region_table(&self) -> Result<Vec<u8>> {
        let bat_len = u32::try_from(self.bat_len()).map_err(|_| {
            Error::unsupported(
                "the block table of so large a VHDX would not fit",
                "choose another name: .raw for a raw image",
            )
        })?;
        let metadata_len = u32::try_from(MIB).unwrap_or(0);
        let mut table = vec![0; REGION_TABLE_LEN];
        put(&mut table, 0, REGION_SIGNATURE);
        put(&mut table, REGION_COUNT, &2_u32.to_le_bytes());
        let regions = [
            (BAT_REGION, BAT_OFFSET, bat_len),
            (METADATA_REGION, METADATA_OFFSET, metadata_len),
        ];
        let mut at = REGION_ENTRIES;
        for (guid, offset, length) in regions {
            put(&mut table, at, &guid.to_bytes_le());
            put(
                &mut table,
                at.saturating_add(REGION_OFFSET),
                &offset.to_le_bytes(),
            );
            put(
                &mut table,
                at.saturating_add(REGION_LENGTH),
                &length.to_le_bytes(),
            );
            put(
                &mut table,
                at.saturating_add(REGION_FLAGS),
                &REGION_REQUIRED.to_le_bytes(),
            );
            at = at.saturating_add(REGION_ENTRY_LEN);
        }
        let checksum = checksum(&table);
        put(&mut table, CHECKSUM, &checksum.to_le_bytes());
        Ok(table)
    }

    fn metadata(&self) -> [Part; 2] {
        let flags = match self.parent {
            Some(_) => HAS_PARENT,
            None => 0,
        };
        let mut items = vec![
            (
                FILE_PARAMETERS,
                ITEM_REQUIRED,
                [BLOCK_SIZE.to_le_bytes(), flags.to_le_bytes()].concat(),
            ),
            (
                VIRTUAL_DISK_SIZE,
                ITEM_REQUIRED | ITEM_VIRTUAL_DISK,
                self.size.to_le_bytes().to_vec(),
            ),
            (
                LOGICAL_SECTOR_SIZE,
                ITEM_REQUIRED | ITEM_VIRTUAL_DISK,
                self.logical_sector_size.to_le_bytes().to_vec(),
            ),
            (
                PHYSICAL_SECTOR_SIZE,
                ITEM_REQUIRED | ITEM_VIRTUAL_DISK,
                self.physical_sector_size.to_le_bytes().to_vec(),
            ),
            (
                VIRTUAL_DISK_ID,
                ITEM_REQUIRED | ITEM_VIRTUAL_DISK,
                self.disk_id.to_bytes_le().to_vec(),
            ),
        ];
        if let Some((linkage, path)) = &self.parent {
            items.push((PARENT_LOCATOR, ITEM_REQUIRED, locator(*linkage, path)));
        }
        let mut table = vec![0; METADATA_TABLE_LEN];
        put(&mut table, 0, METADATA_SIGNATURE);
        let count = u16::try_from(items.len()).unwrap_or(0);
        put(&mut table, METADATA_COUNT, &count.to_le_bytes());
        let mut content = Vec::new();
        let mut at = METADATA_ENTRIES;
        for (guid, flags, item) in items {
            let offset = u32::try_from(METADATA_TABLE_LEN.saturating_add(content.len()));
            let length = u32::try_from(item.len()).unwrap_or(0);
            put(&mut table, at, &guid.to_bytes_le());
            put(
                &mut table,
                at.saturating_add(ITEM_OFFSET),
                &offset.unwrap_or(0).to_le_bytes(),
            );
            put(
                &mut table,
                at.saturating_add(ITEM_LENGTH),
                &length.to_le_bytes(),
            );
            put(
                &mut table,
                at.saturating_add(ITEM_FLAGS),
                &flags.to_le_bytes(),
            );
            content.extend(item);
            at = at.saturating_add(METADATA_ENTRY_LEN);
        }
        let items_at =
            METADATA_OFFSET.saturating_add(u64::try_from(METADATA_TABLE_LEN).unwrap_or(0));
        [(METADATA_OFFSET, table), (items_at, content)]
    }
}

/// A parent locator with the keys that every reader needs.
fn locator(linkage: Uuid, relative: &str) -> Vec<u8> {
    let linkage = format!("{{{linkage}}}");
    let entries = [
        (PARENT_LINKAGE, linkage.as_str()),
        (RELATIVE_PATH, relative),
    ];
    let text_at = entries
        .len()
        .saturating_mul(LOCATOR_ENTRY_LEN)
        .saturating_add(LOCATOR_ENTRIES);
    let mut head = LOCATOR_TYPE.to_bytes_le().to_vec();
    head.extend([0; 2]);
    head.extend(u16::try_from(entries.len()).unwrap_or(0).to_le_bytes());
    let mut text = Vec::new();
    for (key, value) in entries {
        let (key, value) = (utf16(key), utf16(value));
        let key_at = text_at.saturating_add(text.len());
        let value_at = key_at.saturating_add(key.len());
        head.extend(u32::try_from(key_at).unwrap_or(0).to_le_bytes());
        head.extend(u32::try_from(value_at).unwrap_or(0).to_le_bytes());
        head.extend(u16::try_from(key.len()).unwrap_or(0).to_le_bytes());
        head.extend(u16::try_from(value.len()).unwrap_or(0).to_le_bytes());
        text.extend(key);
        text.extend(value);
    }
    head.extend(text);
    head
}

fn ends_at(start: u64, run: &[u8], place: u64) -> bool {
    let len = u64::try_from(run.len()).unwrap_or(u64::MAX);
    start >= BAT_OFFSET && start.checked_add(len) == Some(place)
}

fn put(place: &mut [u8], offset: usize, field: &[u8]) {
    // All offsets are those of the format, inside what they are put into.
    let _ = bytes::put(place, offset, field);
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}
