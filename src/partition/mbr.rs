// SPDX-License-Identifier: GPL-2.0-or-later
//! The master boot record, and the chain of extended boot records that hold logical partitions.
//!
//! ```text
//! sector 0   0 code   440 disk signature   446 entry | entry | entry | entry   510: 55 AA
//! entry      0 status 00 or 80   1 first CHS   4 type   5 last CHS   8 u32 first sector   12 u32 sectors
//!
//! extended   |EBR|logical ....|EBR|logical ....|        each EBR: entry 0 the logical partition, counted from
//!             \____ entry 1 ___^                        this EBR; entry 1 the next EBR, counted from the first
//! ```
//!
//! Little-endian; sectors are the disk's logical ones. CHS fields mean nothing on disks of this century and
//! are not looked at. The chain may hold cycles and lies: a record is visited once, only inside its extended
//! partition, and at most [`CHAIN_LIMIT`] of them.

use std::collections::BTreeSet;

use super::draft::{Draft, bytes_of};
use super::types::{self, EXTENDED, PROTECTIVE};
use crate::bytes;
use crate::device::Device;

/// Linux follows 100 links, Windows about as many; ours is the same.
const CHAIN_LIMIT: usize = 100;

/// One of the four entries of a boot record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    status: u8,
    pub(super) kind: u8,
    /// First sector, from wherever this record counts.
    pub(super) start: u32,
    /// Sectors.
    pub(super) sectors: u32,
}

impl Entry {
    /// True when the entry describes a partition or a link.
    pub(super) fn is_used(&self) -> bool {
        self.kind != 0 && self.sectors != 0
    }

    fn is_extended(&self) -> bool {
        EXTENDED.contains(&self.kind)
    }
}

/// A boot record's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BootRecord {
    signature: u32,
    pub(super) entries: [Entry; 4],
}

impl BootRecord {
    /// The table in `sector`; `None` without the mark 55 AA.
    pub(super) fn parse(sector: &[u8]) -> Option<BootRecord> {
        if bytes::array(sector, 510)? != [0x55, 0xaa] {
            return None;
        }
        let entry = |offset| {
            let entry = bytes::slice(sector, offset, 16)?;
            let [status] = bytes::array(entry, 0)?;
            let [kind] = bytes::array(entry, 4)?;
            Some(Entry {
                status,
                kind,
                start: bytes::u32_le(entry, 8)?,
                sectors: bytes::u32_le(entry, 12)?,
            })
        };
        Some(BootRecord {
            signature: bytes::u32_le(sector, 440)?,
            entries: [entry(446)?, entry(462)?, entry(478)?, entry(494)?],
        })
    }

    /// The first status byte that no table has: this is a volume's boot code, or garbage. With its offset in
    /// the sector.
    pub(super) fn impossible_status(&self) -> Option<(u64, u8)> {
        let offsets = [446, 462, 478, 494];
        offsets
            .into_iter()
            .zip(&self.entries)
            .find(|(_, entry)| !matches!(entry.status, 0x00 | 0x80))
            .map(|(offset, entry)| (offset, entry.status))
    }

    /// True when this can be a partition table and has something in it.
    pub(super) fn is_table(&self) -> bool {
        self.impossible_status().is_none() && self.entries.iter().any(Entry::is_used)
    }

    /// True when every entry lies inside a disk of `len` bytes and behind sector 0.
    pub(super) fn fits(&self, len: u64, sector_size: u32) -> bool {
        self.entries
            .iter()
            .filter(|entry| entry.is_used())
            .all(|entry| {
                let end = u64::from(entry.start).checked_add(u64::from(entry.sectors));
                entry.start != 0 && bytes_of(end, sector_size).is_some_and(|end| end <= len)
            })
    }

    /// The entry that protects a GPT.
    pub(super) fn protective(&self) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.kind == PROTECTIVE && entry.is_used())
            .filter(|_| self.impossible_status().is_none())
    }

    /// The disk signature as Windows and fdisk print it, eight hexadecimal digits; `None` when it is zero.
    pub(super) fn disk_id(&self) -> Option<String> {
        (self.signature != 0).then(|| format!("{:08x}", self.signature))
    }
}

/// The partitions of the table in `record`, with sectors of `sector_size` bytes: primary ones by their place,
/// 1 to 4, logical ones from 5 on in the chain's order. Extended partitions are only the way to the logical
/// ones and are not listed.
pub(super) fn partitions(
    disk: &dyn Device,
    record: &BootRecord,
    sector_size: u32,
    notes: &mut Vec<String>,
) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for (entry, number) in record.entries.iter().zip(1_u32..) {
        if entry.is_used() && !entry.is_extended() {
            drafts.push(draft(entry, 0, number, sector_size));
        } else if entry.kind == 0 && entry.sectors != 0 {
            notes.push(format!(
                "Entry {number} of the partition table has a length but no type; it is taken as unused."
            ));
        }
    }
    let mut chain = Chain {
        disk,
        sector_size,
        next_number: 5,
        visited: BTreeSet::new(),
        drafts,
        notes,
    };
    for entry in record
        .entries
        .iter()
        .filter(|entry| entry.is_used() && entry.is_extended())
    {
        chain.follow(entry);
    }
    chain.drafts
}

fn draft(entry: &Entry, base: u64, number: u32, sector_size: u32) -> Draft {
    // Two 32-bit numbers and one base of at most 33 bits, times at most 2^32: no overflow in 128 bits, but
    // `bytes_of` checks all the same.
    Draft {
        number,
        offset: bytes_of(base.checked_add(u64::from(entry.start)), sector_size),
        len: bytes_of(Some(u64::from(entry.sectors)), sector_size),
        sector_size,
        type_name: types::number_name(entry.kind),
        may_hold_ntfs: matches!(entry.kind, 0x07 | 0x17 | 0x27),
        active: entry.status == 0x80,
        name: None,
        id: None,
        attributes: 0,
        fault: (base == 0 && entry.start == 0)
            .then(|| "it begins at sector 0, where the partition table is".to_owned()),
    }
}

/// The way along the extended boot records.
struct Chain<'a> {
    disk: &'a dyn Device,
    sector_size: u32,
    next_number: u32,
    /// Sectors of records seen, so that a cycle ends.
    visited: BTreeSet<u64>,
    drafts: Vec<Draft>,
    notes: &'a mut Vec<String>,
}

impl Chain<'_> {
    /// Follows the chain of one extended partition.
    fn follow(&mut self, extended: &Entry) {
        let first = u64::from(extended.start);
        let end = first.saturating_add(u64::from(extended.sectors));
        let mut place = first;
        loop {
            let stop = |why: &str| {
                format!(
                    "The chain of logical partitions ends early at sector {place}: {why}. Logical partitions \
                     after that are not seen."
                )
            };
            if self.visited.len() >= CHAIN_LIMIT {
                self.notes
                    .push(stop(&format!("it has more than {CHAIN_LIMIT} links")));
                return;
            }
            if !self.visited.insert(place) {
                self.notes.push(stop("it leads back into itself"));
                return;
            }
            let record = match self.read(place) {
                Ok(record) => record,
                Err(why) => {
                    self.notes.push(stop(&why));
                    return;
                }
            };
            self.add_logical(&record, place, end);
            let Some(link) = record
                .entries
                .iter()
                .find(|entry| entry.is_used() && entry.is_extended())
            else {
                return;
            };
            place = first.saturating_add(u64::from(link.start));
            if place >= end {
                self.notes.push(format!(
                    "The chain of logical partitions leaves its extended partition (sectors {first} to {end}) \
                     for sector {place} and is not followed."
                ));
                return;
            }
        }
    }

    /// Adds the logical partitions of the record at `place`. Normally it is one; more are counted as Linux
    /// does.
    fn add_logical(&mut self, record: &BootRecord, place: u64, end: u64) {
        for entry in &record.entries {
            if entry.sectors == 0 || entry.is_extended() {
                continue;
            }
            let number = self.next_number;
            self.next_number = self.next_number.saturating_add(1);
            if entry.kind == 0 {
                self.notes.push(format!(
                    "Logical partition {number} has a length but no type; it is taken as unused."
                ));
                continue;
            }
            let mut draft = draft(entry, place, number, self.sector_size);
            let start = place.saturating_add(u64::from(entry.start));
            if entry.start == 0 {
                draft.fault = Some("it begins on its own boot record".to_owned());
            } else if start.saturating_add(u64::from(entry.sectors)) > end {
                draft.fault = Some("it reaches past the extended partition it is in".to_owned());
            }
            self.drafts.push(draft);
        }
    }

    fn read(&self, place: u64) -> Result<BootRecord, String> {
        let offset = bytes_of(Some(place), self.sector_size)
            .filter(|offset| {
                offset
                    .checked_add(512)
                    .is_some_and(|end| end <= self.disk.len())
            })
            .ok_or("it lies past the disk's end")?;
        let mut sector = [0; 512];
        self.disk
            .read_at(offset, &mut sector)
            .map_err(|error| error.to_string())?;
        let record = BootRecord::parse(&sector).ok_or("there is no boot record (55 AA) there")?;
        match record.impossible_status() {
            None => Ok(record),
            Some(_) => Err("there is no boot record there, only its mark".to_owned()),
        }
    }
}
