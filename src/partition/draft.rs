// SPDX-License-Identifier: GPL-2.0-or-later
//! From what a table says to partitions that can be used: what each holds, and which ones cannot be.
//!
//! A table's numbers are claims. A partition that ends behind the disk, shares bytes with another one or lies
//! on its own table keeps its place in the list, with the reason why it is not opened.

use super::Partition;
use super::content::{self, Content};
use crate::device::slice::Slice;
use crate::device::{Device, SharedDevice};

/// A partition as a table describes it, before anyone looked whether that can be. Offset and length in bytes;
/// `None` where they pass 2^64.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) number: u32,
    pub(super) offset: Option<u64>,
    pub(super) len: Option<u64>,
    pub(super) sector_size: u32,
    pub(super) type_name: String,
    pub(super) may_hold_ntfs: bool,
    pub(super) active: bool,
    pub(super) name: Option<String>,
    pub(super) id: Option<String>,
    pub(super) attributes: u64,
    pub(super) fault: Option<String>,
}

impl Draft {
    /// What of the partition lies inside the disk, when that is at least a sector.
    fn there(&self, disk: &SharedDevice) -> Option<Slice> {
        let offset = self.offset?;
        let len = self.len?.min(disk.len().checked_sub(offset)?);
        if len < 512 {
            return None;
        }
        Slice::new(disk.clone(), offset, len).ok()
    }
}

/// Sectors as bytes.
pub(super) fn bytes_of(sectors: Option<u64>, sector_size: u32) -> Option<u64> {
    sectors?.checked_mul(u64::from(sector_size))
}

/// How many of `drafts` hold a volume that is known. One that lost its end counts, one that lies on its own
/// table does not.
pub(super) fn known_volumes(disk: &SharedDevice, drafts: &[Draft]) -> usize {
    let holds_volume = |draft: &&Draft| {
        draft.fault.is_none()
            && draft
                .there(disk)
                .is_some_and(|slice| content::of(&slice).is_ok_and(Content::is_volume))
    };
    drafts.iter().filter(holds_volume).count()
}

/// Turns drafts into partitions: looks what they hold, and finds those that cannot be.
pub(super) fn finish(
    disk: &SharedDevice,
    drafts: Vec<Draft>,
    notes: &mut Vec<String>,
) -> Vec<Partition> {
    let mut partitions: Vec<Partition> = drafts
        .into_iter()
        .map(|draft| finish_one(disk, draft, notes))
        .collect();
    mark_overlaps(&mut partitions);
    for partition in &partitions {
        if let Some(fault) = &partition.fault {
            notes.push(format!(
                "Partition {} cannot be used: {fault}.",
                partition.number
            ));
        }
    }
    partitions
}

fn finish_one(disk: &SharedDevice, draft: Draft, notes: &mut Vec<String>) -> Partition {
    // A partition that lost its end is still worth naming.
    let there = draft.there(disk);
    let mut fault = draft.fault;
    let end = draft
        .offset
        .zip(draft.len)
        .and_then(|(offset, len)| offset.checked_add(len));
    if fault.is_none() && end.is_none_or(|end| end > disk.len()) {
        let end = end.map_or_else(|| "2^64".to_owned(), |end| end.to_string());
        fault = Some(format!(
            "it ends at byte {end}, but the disk has only {}",
            disk.len()
        ));
    }
    let mut found = Content::Other;
    if let Some(slice) = there {
        match content::of(&slice) {
            Ok(content) => found = content,
            Err(error) => notes.push(format!(
                "The first sectors of partition {} cannot be read. ({error})",
                draft.number
            )),
        }
        if fault.is_none()
            && draft.may_hold_ntfs
            && !found.is_volume()
            && has_backup_boot_sector(&slice, draft.sector_size)
        {
            notes.push(format!(
                "Partition {} has no valid boot sector, but the backup in its last sector is that of an NTFS \
                 volume: the boot sector was damaged. TestDisk can restore it.",
                draft.number
            ));
        }
    }
    Partition {
        number: draft.number,
        offset: draft.offset.unwrap_or(u64::MAX),
        len: draft.len.unwrap_or(0),
        sector_size: draft.sector_size,
        content: found,
        type_name: draft.type_name,
        name: draft.name,
        id: draft.id,
        attributes: draft.attributes,
        active: draft.active,
        fault,
    }
}

/// True when the last sector is an NTFS boot sector, where NTFS keeps its backup.
pub(super) fn has_backup_boot_sector(volume: &dyn Device, sector_size: u32) -> bool {
    let mut last = [0; 512];
    let offset = volume.len().checked_sub(u64::from(sector_size.max(512)));
    offset.is_some_and(|offset| volume.read_at(offset, &mut last).is_ok())
        && content::ntfs_geometry(&last).is_some()
}

/// Gives every partition that shares bytes with another one its fault.
fn mark_overlaps(partitions: &mut [Partition]) {
    let mut order: Vec<usize> = (0..partitions.len()).collect();
    order.sort_by_key(|&index| partitions.get(index).map(|one| (one.offset, one.number)));
    // Of those seen so far, the one that reaches furthest.
    let mut furthest: Option<(u64, usize)> = None;
    let mut pairs = Vec::new();
    for index in order {
        // One without a length shares nothing, and must not hide how far the others reach.
        let Some(one) = partitions.get(index).filter(|one| one.len > 0) else {
            continue;
        };
        let end = one.offset.saturating_add(one.len);
        match furthest {
            Some((reach, other)) if one.offset < reach => {
                pairs.push((index, other));
                if end > reach {
                    furthest = Some((end, index));
                }
            }
            _ => furthest = Some((end, index)),
        }
    }
    for (a, b) in pairs {
        let numbers = [b, a].map(|index| partitions.get(index).map(|one| one.number));
        for (index, other) in [a, b].into_iter().zip(numbers) {
            if let (Some(one), Some(other)) = (partitions.get_mut(index), other) {
                one.fault
                    .get_or_insert_with(|| format!("it overlaps partition {other}"));
            }
        }
    }
}
