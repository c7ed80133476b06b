// SPDX-License-Identifier: GPL-2.0-or-later
//! The metadata region: what kind of disk it is.
//!
//! ```text
//!  0 "metadata"   8 reserved   10 entry count   12 reserved
//! 32 entries of 32 bytes:   0 item GUID   16 offset in the region   20 length   24 flags
//!                           flags: bit 0 user, bit 1 virtual disk, bit 2 required
//! 64 KiB  the items: file parameters, sizes, disk id, parent locator
//! ```
//!
//! [MS-VHDX] 2.6. An item that nobody here knows, and that is required to understand the file, ends it.

use uuid::Uuid;

use super::format::*;
use super::locator::ParentLocator;
use super::region::Region;
use crate::bytes;
use crate::device::SharedDevice;
use crate::error::{Error, Result};

/// What the items say.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    /// Bytes of a payload block, a power of two.
    pub(super) block_size: u32,
    /// A fixed disk: all blocks are meant to stay.
    pub(super) leave_blocks_allocated: bool,
    /// Bytes of the virtual disk.
    pub(super) disk_size: u64,
    /// 512 or 4096.
    pub(super) logical_sector_size: u32,
    pub(super) physical_sector_size: u32,
    /// The same in a child and its parent.
    pub(super) disk_id: Uuid,
    /// The parent of a differencing disk.
    pub(super) parent: Option<ParentLocator>,
}

/// One entry of the table.
struct Item {
    guid: Uuid,
    offset: u32,
    length: u32,
    flags: u32,
    /// Where the entry stands in the file.
    place: u64,
}

impl Metadata {
    /// Reads and checks the items of `region`.
    pub(super) fn read(device: &SharedDevice, region: Region) -> Result<Metadata> {
        let reader = Reader {
            device,
            region,
            items: read_table(device, region)?,
        };
        reader.check_known()?;

        let (place, parameters) = reader.required::<8>(FILE_PARAMETERS, "file parameters")?;
        let block_size = bytes::u32_le(&parameters, 0).unwrap_or(0);
        let flags = bytes::u32_le(&parameters, 4).unwrap_or(0);
        if !block_size.is_power_of_two() || !(MIN_BLOCK_SIZE..=MAX_BLOCK_SIZE).contains(&block_size)
        {
            return Err(damaged(
                "VHDX file parameters",
                place,
                "a block size from 1 to 256 MiB, a power of two",
                block_size.to_string(),
            ));
        }
        if flags & !(LEAVE_BLOCKS_ALLOCATED | HAS_PARENT) != 0 {
            return Err(damaged(
                "VHDX file parameters",
                place.saturating_add(4),
                "flags 1 and 2 only",
                format!("{flags:#x}"),
            ));
        }
        let sector_size = |guid, name: &str| {
            let (place, size) = reader.required::<4>(guid, name)?;
            match u32::from_le_bytes(size) {
                size @ (512 | 4096) => Ok(size),
                other => Err(damaged(
                    &format!("VHDX {name}"),
                    place,
                    "512 or 4096",
                    other.to_string(),
                )),
            }
        };
        let logical_sector_size = sector_size(LOGICAL_SECTOR_SIZE, "logical sector size")?;
        let physical_sector_size = sector_size(PHYSICAL_SECTOR_SIZE, "physical sector size")?;
        let (place, size) = reader.required::<8>(VIRTUAL_DISK_SIZE, "virtual disk size")?;
        let disk_size = u64::from_le_bytes(size);
        let whole = disk_size.checked_rem(u64::from(logical_sector_size)) == Some(0);
        if disk_size == 0 || disk_size > MAX_DISK_SIZE || !whole {
            return Err(damaged(
                "VHDX virtual disk size",
                place,
                &format!("whole sectors of {logical_sector_size} bytes, at most 64 TiB"),
                disk_size.to_string(),
            ));
        }
        let (_, disk_id) = reader.required::<16>(VIRTUAL_DISK_ID, "virtual disk id")?;
        let parent = match flags & HAS_PARENT {
            0 => None,
            _ => {
                let (place, locator) = reader
                    .find(PARENT_LOCATOR)?
                    .ok_or_else(|| reader.missing("parent locator"))?;
                Some(ParentLocator::parse(&locator, place)?)
            }
        };
        Ok(Metadata {
            block_size,
            leave_blocks_allocated: flags & LEAVE_BLOCKS_ALLOCATED != 0,
            disk_size,
            logical_sector_size,
            physical_sector_size,
            disk_id: Uuid::from_bytes_le(disk_id),
            parent,
        })
    }
}

fn damaged(what: &str, place: u64, expected: &str, found: String) -> Error {
    Error::damaged(what, place, expected, found).with_hint("opening the VHDX", super::DAMAGED_HINT)
}

fn read_table(device: &SharedDevice, region: Region) -> Result<Vec<Item>> {
    let offset = region.offset;
    let mut table = vec![0; METADATA_TABLE_LEN];
    device.read_at(offset, &mut table)?;
    if !table.starts_with(METADATA_SIGNATURE) {
        return Err(damaged(
            "VHDX metadata table",
            offset,
            "\"metadata\"",
            "something else".into(),
        ));
    }
    let count = bytes::u16_le(&table, METADATA_COUNT).unwrap_or(u16::MAX);
    if count > MAX_METADATA_ITEMS {
        return Err(damaged(
            "VHDX metadata table",
            offset.saturating_add(10),
            &format!("at most {MAX_METADATA_ITEMS} entries"),
            count.to_string(),
        ));
    }
    let mut items: Vec<Item> = Vec::new();
    let mut place = offset.saturating_add(32);
    let entries = table
        .get(METADATA_ENTRIES..)
        .unwrap_or_default()
        .chunks_exact(METADATA_ENTRY_LEN);
    for entry in entries.take(usize::from(count)) {
        let (Some(guid), Some(offset), Some(length), Some(flags)) = (
            bytes::array(entry, 0).map(Uuid::from_bytes_le),
            bytes::u32_le(entry, ITEM_OFFSET),
            bytes::u32_le(entry, ITEM_LENGTH),
            bytes::u32_le(entry, ITEM_FLAGS),
        ) else {
            continue;
        };
        let table_len = u32::try_from(METADATA_TABLE_LEN).unwrap_or(u32::MAX);
        let inside = offset
            .checked_add(length)
            .is_some_and(|end| offset >= table_len && end <= region.length);
        // An item without content has no place.
        let empty = length == 0 && offset == 0;
        if length > MAX_ITEM_LEN || !(inside || empty) {
            return Err(damaged(
                "VHDX metadata table entry",
                place,
                &format!(
                    "at most 1 MiB in the region, from {table_len:#x} to {:#x}",
                    region.length
                ),
                format!("{length:#x} bytes at {offset:#x}"),
            ));
        }
        let user = flags & ITEM_USER;
        if items
            .iter()
            .any(|item| item.guid == guid && item.flags & ITEM_USER == user)
        {
            return Err(damaged(
                "VHDX metadata table entry",
                place,
                "each item once",
                format!("{{{guid}}} again"),
            ));
        }
        items.push(Item {
            guid,
            offset,
            length,
            flags,
            place,
        });
        place = place.saturating_add(32);
    }
    Ok(items)
}

struct Reader<'a> {
    device: &'a SharedDevice,
    region: Region,
    items: Vec<Item>,
}

impl Reader<'_> {
    /// Refuses what is required and not known, and a file that was never finished.
    fn check_known(&self) -> Result<()> {
        for item in &self.items {
            let known = [
                FILE_PARAMETERS,
                VIRTUAL_DISK_SIZE,
                VIRTUAL_DISK_ID,
                LOGICAL_SECTOR_SIZE,
                PHYSICAL_SECTOR_SIZE,
                PARENT_LOCATOR,
            ];
            if item.guid == INCOMPLETE_FILE {
                return Err(Error::refused(
                    format!(
                        "the VHDX was never finished: its metadata say so at {:#x}",
                        item.place
                    ),
                    "create or copy it again, or use its source",
                ));
            }
            if item.flags & ITEM_REQUIRED != 0 && !known.contains(&item.guid) {
                return Err(Error::unsupported(
                    format!(
                        "the VHDX has a metadata item {{{}}} that is required to understand it",
                        item.guid
                    ),
                    "convert the disk with the program that made it, or `Convert-VHD`, and use that",
                ));
            }
        }
        Ok(())
    }

    /// The item's place in the file and its bytes.
    fn find(&self, guid: Uuid) -> Result<Option<(u64, Vec<u8>)>> {
        let item = self
            .items
            .iter()
            .find(|item| item.guid == guid && item.flags & ITEM_USER == 0);
        let Some(item) = item else {
            return Ok(None);
        };
        let place = self.region.offset.saturating_add(u64::from(item.offset));
        let mut content = vec![0; usize::try_from(item.length).unwrap_or(0)];
        self.device.read_at(place, &mut content)?;
        Ok(Some((place, content)))
    }

    /// An item of `N` bytes that every disk has.
    fn required<const N: usize>(&self, guid: Uuid, name: &str) -> Result<(u64, [u8; N])> {
        let (place, content) = self.find(guid)?.ok_or_else(|| self.missing(name))?;
        match <[u8; N]>::try_from(content) {
            Ok(content) => Ok((place, content)),
            Err(content) => Err(damaged(
                &format!("VHDX {name}"),
                place,
                &format!("{N} bytes"),
                content.len().to_string(),
            )),
        }
    }

    fn missing(&self, name: &str) -> Error {
        damaged(
            "VHDX metadata table",
            self.region.offset,
            &format!("an item for the {name}"),
            "none".into(),
        )
    }
}
