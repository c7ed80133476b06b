// SPDX-License-Identifier: GPL-2.0-or-later
//! The GUID partition table. Little-endian; GUIDs in the mixed-endian form of EFI and Windows.
//!
//! ```text
//! LBA 0          protective boot record: one entry of type EE
//! LBA 1          header          |                        the primary
//! LBA 2..        entries         |
//! ...            partitions
//! ..             entries         |                        the backup
//! last LBA       header          |
//!
//! header   0 "EFI PART"   8 revision 00010000   12 header size (92..sector)   16 CRC of the header, itself as 0
//!         24 own LBA     32 the other's LBA    40 first and 48 last usable LBA   56 disk GUID
//!         72 entries' LBA   80 how many   84 size of one (128 * 2^n)   88 CRC of all entries
//! entry    0 type (zero: unused)   16 unique id   32 first and 40 last LBA   48 attributes   56 name, 36 UTF-16
//! ```
//!
//! UEFI specification 2.10, chapter 5. A copy counts only when both of its CRCs are right; the primary is
//! taken if it does, else the backup, and both cases are told. Nothing is repaired here.

use uuid::Uuid;

use super::draft::{Draft, bytes_of};
use super::mbr::Entry as BootEntry;
use super::types;
use crate::bytes;
use crate::device::Device;
use crate::error::{Error, Result};

/// The largest array of entries that is read: ours. Everyone writes 16 KiB (128 entries of 128 bytes).
const ENTRIES_LIMIT: u64 = 1 << 20;
/// The largest single entry: ours. The specification gives no limit, and everyone writes 128.
const ENTRY_LIMIT: u32 = 4096;

/// A copy of the table whose checksums are right.
#[derive(Clone, Debug)]
struct Copy {
    lba: u64,
    other_lba: u64,
    first_usable: u64,
    last_usable: u64,
    disk_guid: Uuid,
    entry_size: usize,
    entries: Vec<u8>,
}

/// A table that was found: the partitions are drafts until the module above has looked at them.
#[derive(Debug)]
pub(super) struct Found {
    /// The primary copy was sound.
    pub(super) by_primary: bool,
    pub(super) sector_size: u32,
    pub(super) disk_id: String,
    pub(super) drafts: Vec<Draft>,
    pub(super) notes: Vec<String>,
}

/// The table by its primary copy, with sectors of `sector_size` bytes. The backup is compared.
pub(super) fn by_primary(disk: &dyn Device, sector_size: u32) -> Result<Found> {
    let primary = read_copy(disk, 1, sector_size)?;
    let mut notes = Vec::new();
    match read_copy(disk, primary.other_lba, sector_size) {
        Err(error) => notes.push(format!(
            "The backup GPT is damaged; the primary one is used. ({error})"
        )),
        Ok(backup)
            if backup.entries != primary.entries || backup.disk_guid != primary.disk_guid =>
        {
            notes.push(
                "The backup GPT differs from the primary one; the primary one is used.".to_owned(),
            );
        }
        Ok(_) => {}
    }
    let last = last_lba(disk, sector_size);
    if last.is_some_and(|last| primary.other_lba < last) && notes.is_empty() {
        notes.push(
            "The backup GPT is not at the disk's end: the disk was made larger after it was partitioned."
                .to_owned(),
        );
    }
    Ok(found(&primary, sector_size, notes))
}

/// The table by its backup copy, because the primary one failed with `primary`. `protective` is the entry of
/// the boot record that says how long the disk was when the table was made.
pub(super) fn by_backup(
    disk: &dyn Device,
    sector_size: u32,
    protective: Option<&BootEntry>,
    primary: &Error,
) -> Result<Found> {
    let mut places: Vec<u64> = Vec::new();
    // Where it has to be; where it was when the disk was smaller; where a damaged primary says.
    places.extend(last_lba(disk, sector_size));
    places.extend(protective.and_then(|entry| {
        let end = u64::from(entry.start).checked_add(u64::from(entry.sectors))?;
        end.checked_sub(1)
    }));
    places.extend(claimed_backup(disk, sector_size));
    let mut first_error = None;
    for place in places {
        match read_copy(disk, place, sector_size) {
            Ok(backup) => {
                let note =
                    format!("The primary GPT is damaged; the backup one is used. ({primary})");
                return Ok(found(&backup, sector_size, vec![note]));
            }
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| {
        Error::damaged(
            "backup GPT header",
            0,
            "a disk of at least one sector",
            "a shorter one",
        )
    }))
}

fn last_lba(disk: &dyn Device, sector_size: u32) -> Option<u64> {
    disk.len()
        .checked_div(u64::from(sector_size))?
        .checked_sub(1)
}

/// Where a header at LBA 1 that may be damaged says that its backup is. Only a place to look.
fn claimed_backup(disk: &dyn Device, sector_size: u32) -> Option<u64> {
    let mut header = [0; 92];
    disk.read_at(u64::from(sector_size), &mut header).ok()?;
    let claimed = bytes::u64_le(&header, 32)?;
    (header.starts_with(b"EFI PART") && claimed > 1).then_some(claimed)
}

/// Reads and checks the copy whose header is at `lba`.
fn read_copy(disk: &dyn Device, lba: u64, sector_size: u32) -> Result<Copy> {
    let name = if lba == 1 { "primary" } else { "backup" };
    let offset = bytes_of(Some(lba), sector_size).unwrap_or(u64::MAX);
    let damaged = |at: u64, expected: String, found: String| {
        let what = format!("{name} GPT header");
        Error::damaged(what, offset.saturating_add(at), expected, found)
    };
    let mut header = vec![0; usize::try_from(sector_size).unwrap_or(512)];
    disk.read_at(offset, &mut header)?;
    let cut = || damaged(0, "a sector of at least 92 bytes".into(), "less".into());

    let signature: [u8; 8] = bytes::array(&header, 0).ok_or_else(cut)?;
    if &signature != b"EFI PART" {
        return Err(damaged(0, "\"EFI PART\"".into(), "something else".into()));
    }
    let revision = bytes::u32_le(&header, 8).ok_or_else(cut)?;
    if revision >> 16 != 1 {
        return Err(damaged(
            8,
            "revision 1.x".into(),
            format!("{revision:#010x}"),
        ));
    }
    let size = bytes::u32_le(&header, 12).ok_or_else(cut)?;
    if !(92..=sector_size).contains(&size) {
        return Err(damaged(
            12,
            format!("a header of 92 to {sector_size} bytes"),
            size.to_string(),
        ));
    }
    let stored = bytes::u32_le(&header, 16).ok_or_else(cut)?;
    if !bytes::put(&mut header, 16, &[0; 4]) {
        return Err(cut());
    }
    let covered = usize::try_from(size)
        .ok()
        .and_then(|size| header.get(..size));
    let computed = crc32fast::hash(covered.ok_or_else(cut)?);
    if stored != computed {
        return Err(damaged(
            16,
            format!("CRC {computed:#010x}"),
            format!("{stored:#010x}"),
        ));
    }
    let own = bytes::u64_le(&header, 24).ok_or_else(cut)?;
    if own != lba {
        return Err(damaged(24, format!("its own LBA {lba}"), own.to_string()));
    }

    let count = bytes::u32_le(&header, 80).ok_or_else(cut)?;
    let entry_size = bytes::u32_le(&header, 84).ok_or_else(cut)?;
    if !(128..=ENTRY_LIMIT).contains(&entry_size) || !entry_size.is_power_of_two() {
        return Err(damaged(
            84,
            format!("entries of 128 to {ENTRY_LIMIT} bytes, a power of two"),
            entry_size.to_string(),
        ));
    }
    let entries_len = u64::from(count)
        .checked_mul(u64::from(entry_size))
        .filter(|&len| len <= ENTRIES_LIMIT)
        .and_then(|len| usize::try_from(len).ok())
        .ok_or_else(|| {
            let expected = format!("at most {ENTRIES_LIMIT} bytes of entries");
            damaged(80, expected, format!("{count} of {entry_size} bytes"))
        })?;
    let entries_lba = bytes::u64_le(&header, 72).ok_or_else(cut)?;
    let entries_offset = bytes_of(Some(entries_lba), sector_size).ok_or_else(|| {
        damaged(
            72,
            "entries inside the disk".into(),
            format!("LBA {entries_lba}"),
        )
    })?;
    // Before the memory is taken: the disk may be shorter than the array.
    let end = u64::try_from(entries_len)
        .ok()
        .and_then(|len| entries_offset.checked_add(len));
    if end.is_none_or(|end| end > disk.len()) {
        return Err(damaged(
            72,
            "entries inside the disk".into(),
            format!("LBA {entries_lba}"),
        ));
    }
    let mut entries = vec![0; entries_len];
    disk.read_at(entries_offset, &mut entries)?;
    let stored = bytes::u32_le(&header, 88).ok_or_else(cut)?;
    let computed = crc32fast::hash(&entries);
    if stored != computed {
        return Err(Error::damaged(
            format!("entries of the {name} GPT"),
            entries_offset,
            format!("CRC {stored:#010x}, as the header says"),
            format!("{computed:#010x}"),
        ));
    }
    Ok(Copy {
        lba,
        other_lba: bytes::u64_le(&header, 32).ok_or_else(cut)?,
        first_usable: bytes::u64_le(&header, 40).ok_or_else(cut)?,
        last_usable: bytes::u64_le(&header, 48).ok_or_else(cut)?,
        disk_guid: Uuid::from_bytes_le(bytes::array(&header, 56).ok_or_else(cut)?),
        entry_size: usize::try_from(entry_size).map_err(|_| cut())?,
        entries,
    })
}

fn found(copy: &Copy, sector_size: u32, mut notes: Vec<String>) -> Found {
    let mut drafts = Vec::new();
    for (entry, number) in copy.entries.chunks_exact(copy.entry_size).zip(1_u32..) {
        let Some(draft) = draft(entry, number, sector_size, copy, &mut notes) else {
            continue;
        };
        drafts.push(draft);
    }
    Found {
        by_primary: copy.lba == 1,
        sector_size,
        disk_id: copy.disk_guid.to_string(),
        drafts,
        notes,
    }
}

/// The partition in `entry`; `None` when it is unused.
fn draft(
    entry: &[u8],
    number: u32,
    sector_size: u32,
    copy: &Copy,
    notes: &mut Vec<String>,
) -> Option<Draft> {
    let kind = Uuid::from_bytes_le(bytes::array(entry, 0)?);
    if kind.is_nil() {
        return None;
    }
    let id = Uuid::from_bytes_le(bytes::array(entry, 16)?);
    let first = bytes::u64_le(entry, 32)?;
    let last = bytes::u64_le(entry, 40)?;
    let attributes = bytes::u64_le(entry, 48)?;
    let mut fault = None;
    if last < first {
        fault = Some(format!(
            "it ends (LBA {last}) before it begins (LBA {first})"
        ));
    } else if (first..=last).contains(&copy.lba) || first <= 1 {
        fault = Some("it covers the partition table itself".to_owned());
    } else if first < copy.first_usable || last > copy.last_usable {
        notes.push(format!(
            "Partition {number} (LBA {first} to {last}) reaches outside the range that the GPT gives to \
             partitions (LBA {} to {}).",
            copy.first_usable, copy.last_usable
        ));
    }
    if types::DYNAMIC_DISK_GUIDS.contains(&kind) {
        notes.push(format!(
            "Partition {number} belongs to a dynamic disk; the volumes in it are not seen."
        ));
    } else if kind == types::STORAGE_SPACES {
        notes.push(format!(
            "Partition {number} belongs to Storage Spaces; the volumes in it are not seen."
        ));
    }
    let sectors = last.checked_sub(first).and_then(|more| more.checked_add(1));
    Some(Draft {
        number,
        offset: bytes_of(Some(first), sector_size),
        len: bytes_of(sectors, sector_size),
        sector_size,
        type_name: types::guid_name(kind),
        may_hold_ntfs: types::may_hold_ntfs(kind),
        // Legacy BIOS bootable.
        active: attributes & 4 != 0,
        name: Some(name(bytes::slice(entry, 56, 72)?)).filter(|name| !name.is_empty()),
        id: Some(id.to_string()),
        attributes,
        fault,
    })
}

fn name(field: &[u8]) -> String {
    let units: Vec<u16> = field
        .chunks_exact(2)
        .filter_map(|unit| bytes::u16_le(unit, 0))
        .take_while(|&unit| unit != 0)
        .collect();
    String::from_utf16_lossy(&units)
}
