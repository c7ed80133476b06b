// SPDX-License-Identifier: GPL-2.0-or-later
//! Decides how a disk is divided, by what its sector 0 is. The rule is in the module above.

use super::content;
use super::draft::{finish, has_backup_boot_sector, known_volumes};
use super::gpt::{self, Found};
use super::mbr::{self, BootRecord};
use super::{Partition, Scheme, Table, types};
use crate::device::SharedDevice;
use crate::error::{Error, Result};

/// Finds the partitions of `disk`. Reads the tables and the first sector of each partition.
///
/// `Unsupported` when there is neither a table nor a known volume; `Damaged` when there is one, but no copy of
/// it is sound.
pub fn scan(disk: &SharedDevice) -> Result<Table> {
    let mut first = [0; 4096];
    let len = usize::try_from(disk.len()).map_or(first.len(), |len| len.min(first.len()));
    let first = first.get_mut(..len).unwrap_or_default();
    if len < 512 {
        return Err(Error::unsupported(
            format!("a disk of {len} bytes has no room for anything"),
            "is this the right file?",
        ));
    }
    disk.read_at(0, first)?;
    let record = BootRecord::parse(first);
    let table = record.as_ref().filter(|record| record.is_table());
    let protective = table.and_then(BootRecord::protective);
    let is_volume = content::recognise(first).is_volume();

    if let Some(protective) = protective {
        match scan_gpt(disk, Some(protective)) {
            Ok(found) => return Ok(gpt_table(disk, found, table)),
            Err(_) if is_volume => return Err(ambiguous()),
            Err(error) => return Err(error),
        }
    }
    if let Some(record) = table {
        let (sector_size, leads_somewhere) = mbr_sector_size(disk, record);
        if !is_volume || leads_somewhere {
            return Ok(scan_mbr(disk, record, sector_size));
        }
        if record.fits(disk.len(), sector_size) {
            return Err(ambiguous());
        }
    }
    if is_volume {
        return Ok(bare(disk, first));
    }
    // Sector 0 was lost, but the table itself may stand. An intact boot record without partitions was made
    // after the GPT, of which then only a backup may be left over: that one does not count.
    let lost = record
        .as_ref()
        .is_none_or(|record| record.impossible_status().is_some());
    if let Ok(mut found) = scan_gpt(disk, None)
        && (lost || found.by_primary)
    {
        let note = "The protective boot record in sector 0 is missing or damaged.";
        found.notes.push(note.to_owned());
        return Ok(gpt_table(disk, found, None));
    }
    nothing(disk, first, record.as_ref())
}

/// The sector sizes to try: the device's own first.
fn sector_sizes(disk: &SharedDevice) -> [u32; 2] {
    match disk.sector_size() {
        4096 => [4096, 512],
        _ => [512, 4096],
    }
}

/// The refusal when sector 0 is a volume's boot sector and a partition table in one, and nothing shows which
/// of the two is left over.
fn ambiguous() -> Error {
    Error::refused(
        "sector 0 is both a volume's boot sector and a partition table, and one of them is left over from \
         before; writing by the wrong one would destroy data",
        "find out which is current (`lsblk -f`, `fdisk -l`, `mmls`), remove the other one on a copy, or give the \
         partition itself as the target",
    )
}

/// The disk's GPT. With both sector sizes the primary copy is tried before any backup; a sector size whose
/// table leads to known volumes goes before one that does not.
fn scan_gpt(disk: &SharedDevice, protective: Option<&mbr::Entry>) -> Result<Found> {
    let mut best: Option<(usize, Found)> = None;
    let mut failures = Vec::new();
    for sector_size in sector_sizes(disk) {
        match gpt::by_primary(disk.as_ref(), sector_size) {
            Ok(found) => {
                let known = known_volumes(disk, &found.drafts);
                if best.as_ref().is_none_or(|(most, _)| known > *most) {
                    best = Some((known, found));
                }
            }
            Err(error) => failures.push((sector_size, error)),
        }
    }
    if let Some((_, found)) = best {
        return Ok(found);
    }
    let mut last_error = None;
    for (sector_size, primary) in &failures {
        match gpt::by_backup(disk.as_ref(), *sector_size, protective, primary) {
            Ok(found) => return Ok(found),
            // The device's own sector size comes first, and its error says most.
            Err(error) => last_error = last_error.or(Some((primary, error))),
        }
    }
    Err(match last_error {
        Some((primary, backup)) => Error::damaged(
            "GPT",
            0,
            "a primary or a backup copy with right checksums",
            format!("neither (primary: {primary}; backup: {backup})"),
        )
        .with_hint(
            "reading the partition table",
            "was the image cut short? Otherwise mend the table first, for example with `gdisk` or TestDisk on \
             a copy",
        ),
        None => Error::damaged("GPT", 0, "a disk with sectors", "none"),
    })
}

/// The sector size that an MBR counts in, and whether it leads to any known volume. Where it does with the
/// other size than the device's own, that one is right: an image file of a 4096-byte disk does not know.
fn mbr_sector_size(disk: &SharedDevice, record: &BootRecord) -> (u32, bool) {
    let sizes = sector_sizes(disk);
    for sector_size in sizes {
        let drafts = mbr::partitions(disk.as_ref(), record, sector_size, &mut Vec::new());
        if known_volumes(disk, &drafts) > 0 {
            return (sector_size, true);
        }
    }
    let [own, _] = sizes;
    (own, false)
}

fn scan_mbr(disk: &SharedDevice, record: &BootRecord, sector_size: u32) -> Table {
    let mut notes = Vec::new();
    let drafts = mbr::partitions(disk.as_ref(), record, sector_size, &mut notes);
    if record
        .entries
        .iter()
        .any(|entry| entry.kind == types::DYNAMIC_DISK)
    {
        notes.push("This is a dynamic disk; the volumes in it are not all seen.".to_owned());
    }
    if gpt::by_primary(disk.as_ref(), sector_size).is_ok() {
        notes.push(
            "There is a GPT too, but the boot record does not announce it; the boot record's partitions are \
             used, as Windows does."
                .to_owned(),
        );
    }
    if sector_size != disk.sector_size() {
        notes.push(sector_size_note(sector_size, disk.sector_size()));
    }
    Table {
        scheme: Scheme::Mbr,
        sector_size,
        disk_id: record.disk_id(),
        partitions: finish(disk, drafts, &mut notes),
        notes,
    }
}

/// The table for a GPT beside the boot record `record`.
fn gpt_table(disk: &SharedDevice, found: Found, record: Option<&BootRecord>) -> Table {
    let mut notes = found.notes;
    let used = |record: &BootRecord| {
        record
            .entries
            .iter()
            .filter(|entry| entry.is_used())
            .count()
    };
    if record.map_or(0, used) > 1 {
        notes.push("The disk has a hybrid boot record beside its GPT; the GPT is used.".to_owned());
    }
    if found.sector_size != disk.sector_size() {
        notes.push(sector_size_note(found.sector_size, disk.sector_size()));
    }
    Table {
        scheme: Scheme::Gpt,
        sector_size: found.sector_size,
        disk_id: Some(found.disk_id),
        partitions: finish(disk, found.drafts, &mut notes),
        notes,
    }
}

fn sector_size_note(table: u32, device: u32) -> String {
    format!("The partition table counts in sectors of {table} bytes, not of {device}.")
}

/// The table of a disk that is one volume.
fn bare(disk: &SharedDevice, first: &[u8]) -> Table {
    let content = content::recognise(first);
    let mut notes = Vec::new();
    let mut sector_size = disk.sector_size();
    if let Some((own, len)) = content::ntfs_geometry(first) {
        // 1024 and 2048 are possible in NTFS, but no disk has them.
        if matches!(own, 512 | 4096) {
            sector_size = own;
        }
        if len > disk.len() {
            notes.push(format!(
                "The volume says that it is {len} bytes long, but only {} are there: the image was cut short.",
                disk.len()
            ));
        }
    }
    Table {
        scheme: Scheme::Bare,
        sector_size,
        disk_id: None,
        partitions: vec![Partition {
            number: 1,
            offset: 0,
            len: disk.len(),
            sector_size,
            content,
            type_name: "volume without a partition table".to_owned(),
            name: None,
            id: None,
            attributes: 0,
            active: false,
            fault: None,
        }],
        notes,
    }
}

/// The end for a disk in which nothing was recognised: an empty table, or an error that says what is there.
fn nothing(disk: &SharedDevice, first: &[u8], record: Option<&BootRecord>) -> Result<Table> {
    if has_backup_boot_sector(disk.as_ref(), disk.sector_size()) {
        return Err(Error::damaged(
            "NTFS boot sector",
            0,
            "\"NTFS    \" at byte 3 and 55 AA at byte 510",
            "neither, though the disk's last sector is the backup of one",
        )
        .with_hint(
            "looking for partitions",
            "the volume's boot sector was damaged: restore it from its backup with TestDisk, on a copy first",
        ));
    }
    if let Some(record) = record {
        return match record.impossible_status() {
            Some((offset, status)) => Err(Error::damaged(
                "master boot record",
                offset,
                "a partition's status 00 or 80",
                format!("{status:02x}"),
            )
            .with_hint(
                "looking for partitions",
                "the partition table is damaged: look for lost partitions with TestDisk, on a copy first",
            )),
            None => Ok(Table {
                scheme: Scheme::Mbr,
                sector_size: disk.sector_size(),
                disk_id: record.disk_id(),
                partitions: Vec::new(),
                notes: vec!["The partition table has no partitions in it.".to_owned()],
            }),
        };
    }
    let sector = first.get(..512).unwrap_or(first);
    let looks_like = if sector.iter().all(|&byte| byte == 0) {
        "the first sector is all zeros"
    } else if sector
        .iter()
        .all(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..))
    {
        "it looks like a text file"
    } else {
        "the first sector is neither a partition table nor that of a known file system"
    };
    Err(Error::unsupported(
        format!("no partition table and no Windows volume at the start: {looks_like}"),
        "is this the right file? Give a whole disk, or a single NTFS volume, as a raw image or a fixed VHD; if it \
         was one, look for lost partitions with TestDisk, on a copy",
    ))
}
