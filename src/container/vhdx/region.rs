// SPDX-License-Identifier: GPL-2.0-or-later
//! The region table: where the BAT and the metadata are.
//!
//! ```text
//!  0 "regi"   4 CRC-32C over 64 KiB   8 entry count   12 reserved
//! 16 entries of 32 bytes:   0 GUID   16 FILE OFFSET   24 LENGTH   28 flags, bit 0: required
//! ```
//!
//! [MS-VHDX] 2.2.3. There are two copies; the first sound one counts. A region that nobody here knows, and that
//! is required to understand the file, ends it.

use uuid::Uuid;

use super::format::*;
use super::header::{Header, checksum};
use crate::bytes;
use crate::device::SharedDevice;
use crate::error::{Error, Result};

/// A part of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) offset: u64,
    pub(super) length: u32,
}

impl Region {
    fn end(self) -> u64 {
        self.offset.saturating_add(u64::from(self.length))
    }
}

/// The regions of a file.
#[derive(Clone, Debug)]
pub(super) struct Regions {
    pub(super) bat: Region,
    pub(super) metadata: Region,
    /// All of them, also those that are not known and not required.
    pub(super) all: Vec<Region>,
    pub(super) notes: Vec<String>,
}

impl Regions {
    /// The regions that the file's tables list. `Damaged` when neither table is sound, `Unsupported` for a
    /// required region that is not known.
    pub(super) fn read(device: &SharedDevice, header: &Header) -> Result<Regions> {
        let [one, two] = REGION_TABLES.map(|offset| read_table(device, offset));
        let mut notes = Vec::new();
        let (table, offset) = match (one, two) {
            (Ok(one), Ok(two)) => {
                if one != two {
                    notes.push(
                        "The two region tables of the VHDX differ; the first one counts."
                            .to_owned(),
                    );
                }
                (one, REGION_TABLES[0])
            }
            (Ok(one), Err(error)) => {
                notes.push(format!(
                    "One of the two region tables of the VHDX is damaged, the other one is used: {error}."
                ));
                (one, REGION_TABLES[0])
            }
            (Err(error), Ok(two)) => {
                notes.push(format!(
                    "One of the two region tables of the VHDX is damaged, the other one is used: {error}."
                ));
                (two, REGION_TABLES[1])
            }
            (Err(Error::Io { what, source }), Err(_)) => return Err(Error::Io { what, source }),
            (Err(one), Err(two)) => {
                return Err(Error::damaged(
                    "VHDX region tables",
                    REGION_TABLES[0],
                    "a sound one of two",
                    format!("none ({one}; {two})"),
                )
                .with_hint("opening the VHDX", super::DAMAGED_HINT));
            }
        };
        parse(&table, offset, device.len(), header, notes)
    }
}

fn read_table(device: &SharedDevice, offset: u64) -> Result<Vec<u8>> {
    let damaged = |at: u64, expected: String, found: String| {
        Error::damaged(
            "VHDX region table",
            offset.saturating_add(at),
            expected,
            found,
        )
    };
    let mut table = vec![0; REGION_TABLE_LEN];
    device.read_at(offset, &mut table)?;
    if !table.starts_with(REGION_SIGNATURE) {
        return Err(damaged(0, "\"regi\"".into(), "something else".into()));
    }
    let stored = bytes::u32_le(&table, CHECKSUM).unwrap_or(0);
    let computed = checksum(&table);
    if stored != computed {
        return Err(damaged(
            4,
            format!("CRC-32C {computed:#010x}"),
            format!("{stored:#010x}"),
        ));
    }
    let count = bytes::u32_le(&table, REGION_COUNT).unwrap_or(u32::MAX);
    if count > MAX_REGIONS {
        return Err(damaged(
            8,
            format!("at most {MAX_REGIONS} entries"),
            count.to_string(),
        ));
    }
    Ok(table)
}

fn parse(
    table: &[u8],
    table_offset: u64,
    file_len: u64,
    header: &Header,
    notes: Vec<String>,
) -> Result<Regions> {
    let count = bytes::u32_le(table, REGION_COUNT).unwrap_or(0);
    let entries = table
        .get(REGION_ENTRIES..)
        .unwrap_or_default()
        .chunks_exact(REGION_ENTRY_LEN)
        .take(usize::try_from(count).unwrap_or(0));
    let (mut bat, mut metadata) = (None, None);
    let mut taken = vec![Region {
        offset: header.log_offset,
        length: header.log_length,
    }];
    let mut place = table_offset.saturating_add(16);
    for entry in entries {
        let damaged = |expected: String, found: String| {
            Error::damaged("VHDX region table entry", place, expected, found)
                .with_hint("opening the VHDX", super::DAMAGED_HINT)
        };
        let (Some(guid), Some(offset), Some(length), Some(flags)) = (
            bytes::array(entry, 0).map(Uuid::from_bytes_le),
            bytes::u64_le(entry, REGION_OFFSET),
            bytes::u32_le(entry, REGION_LENGTH),
            bytes::u32_le(entry, REGION_FLAGS),
        ) else {
            continue;
        };
        let region = Region { offset, length };
        let slot = match guid {
            BAT_REGION => Some(&mut bat),
            METADATA_REGION => Some(&mut metadata),
            _ if flags & REGION_REQUIRED != 0 => {
                return Err(Error::unsupported(
                    format!("the VHDX has a region {{{guid}}} that is required to understand it"),
                    "convert the disk with the program that made it, or `Convert-VHD`, and use that",
                ));
            }
            _ => None,
        };
        let whole =
            offset >= MIB && offset % MIB == 0 && length > 0 && u64::from(length) % MIB == 0;
        if !whole
            || offset
                .checked_add(u64::from(length))
                .is_none_or(|end| end > file_len)
        {
            return Err(damaged(
                format!("whole MiB in the file, which is {file_len:#x} bytes long"),
                format!("{length:#x} bytes at {offset:#x}"),
            ));
        }
        if let Some(other) = taken
            .iter()
            .find(|other| other.offset < region.end() && offset < other.end())
        {
            return Err(damaged(
                "a place of its own".into(),
                format!(
                    "{offset:#x}, where the region or log at {:#x} is",
                    other.offset
                ),
            ));
        }
        taken.push(region);
        if let Some(slot) = slot
            && slot.replace(region).is_some()
        {
            return Err(damaged(
                "each region once".into(),
                format!("{{{guid}}} again"),
            ));
        }
        place = place.saturating_add(32);
    }
    let missing = |name: &str| {
        Error::damaged(
            "VHDX region table",
            table_offset,
            format!("the {name} region"),
            "none",
        )
        .with_hint("opening the VHDX", super::DAMAGED_HINT)
    };
    taken.remove(0);
    Ok(Regions {
        bat: bat.ok_or_else(|| missing("BAT"))?,
        metadata: metadata.ok_or_else(|| missing("metadata"))?,
        all: taken,
        notes,
    })
}
