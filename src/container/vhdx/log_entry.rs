// SPDX-License-Identifier: GPL-2.0-or-later
//! One entry of the log: what it restores where.
//!
//! ```text
//! entry       |head: length, tail, sequence, log GUID|descriptors ...|data sector|data sector|...
//! head         0 "loge" 4 CRC-32C 8 length 12 tail 16 SEQUENCE 24 descriptors 32 LOG GUID 48 flushed 56 last offset
//! data desc.   0 "desc" 4 trailing 4 bytes   8 leading 8 bytes   16 file offset   24 sequence
//! zero desc.   0 "zero" 8 length                                 16 file offset   24 sequence
//! data sector  0 "data" 4 sequence, high     8 4084 bytes        4092 sequence, low
//! restored     |leading 8|4084|trailing 4|
//! ```
//!
//! [MS-VHDX] 2.3.1. An entry with another log GUID than the header's, a wrong CRC-32C or a torn sector is none. Each
//! sector begins with the signature of what it is, so no two entries claim the same one before their checksums are
//! looked at: reading all entries takes time in proportion to the log.

use uuid::Uuid;

use super::format::*;
use crate::bytes;
use crate::device::SharedDevice;
use crate::error::Result;

/// A whole entry.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Where it begins, in the log.
    pub(super) offset: u64,
    pub(super) length: u64,
    /// Where the oldest entry that has to be replayed with it begins.
    pub(super) tail: u64,
    pub(super) sequence: u64,
    pub(super) descriptors: Vec<Descriptor>,
    /// The file must be at least this long, or it lost something.
    pub(super) flushed: u64,
    /// The file is made at least this long.
    pub(super) last: u64,
}

/// What to write where.
#[derive(Clone, Copy, Debug)]
pub(super) enum Descriptor {
    Data {
        offset: u64,
        leading: [u8; 8],
        trailing: [u8; 4],
        /// Where its data sector is, in the log.
        sector: u64,
    },
    Zero {
        offset: u64,
        length: u64,
    },
}

/// The log of a file.
pub(super) struct Log<'a> {
    pub(super) device: &'a SharedDevice,
    /// Where it is in the file.
    pub(super) offset: u64,
    pub(super) length: u64,
    /// What its entries carry.
    pub(super) guid: Uuid,
}

impl Log<'_> {
    /// Reads the sector at `place` of the log, beyond whose end it goes on at its start.
    pub(super) fn read_sector(&self, place: u64) -> Result<[u8; 4096]> {
        let mut sector = [0; 4096];
        let place = place.checked_rem(self.length).unwrap_or(0);
        self.device
            .read_at(self.offset.saturating_add(place), &mut sector)?;
        Ok(sector)
    }

    /// The whole entry at `offset` of the log; `None` when there is none.
    pub(super) fn read_entry(&self, offset: u64) -> Result<Option<Entry>> {
        let first = self.read_sector(offset)?;
        let guid = bytes::array(&first, ENTRY_LOG_GUID).map(Uuid::from_bytes_le);
        if !first.starts_with(ENTRY_SIGNATURE) || guid != Some(self.guid) {
            return Ok(None);
        }
        let (
            Some(checksum),
            Some(length),
            Some(tail),
            Some(sequence),
            Some(count),
            Some(flushed),
            Some(last),
        ) = (
            bytes::u32_le(&first, CHECKSUM),
            bytes::u32_le(&first, ENTRY_LENGTH).map(u64::from),
            bytes::u32_le(&first, ENTRY_TAIL).map(u64::from),
            bytes::u64_le(&first, ENTRY_SEQUENCE),
            bytes::u32_le(&first, ENTRY_DESCRIPTORS).map(u64::from),
            bytes::u64_le(&first, ENTRY_FLUSHED_FILE_OFFSET),
            bytes::u64_le(&first, ENTRY_LAST_FILE_OFFSET),
        )
        else {
            return Ok(None);
        };
        let head_len = count
            .saturating_mul(32)
            .saturating_add(64)
            .next_multiple_of(LOG_SECTOR);
        let whole = length > 0
            && length % LOG_SECTOR == 0
            && length <= self.length
            && head_len <= length
            && tail % LOG_SECTOR == 0
            && tail < self.length
            && sequence > 0;
        if !whole {
            return Ok(None);
        }
        let mut entry = Entry {
            offset,
            length,
            tail,
            sequence,
            descriptors: Vec::new(),
            flushed,
            last,
        };
        match self.read_rest(&mut entry, &first, count, head_len)? {
            Some(computed) if computed == checksum => Ok(Some(entry)),
            _ => Ok(None),
        }
    }

    /// Reads descriptors and data sectors; the checksum of the whole entry, or `None` when one of them is none.
    fn read_rest(
        &self,
        entry: &mut Entry,
        first: &[u8; 4096],
        count: u64,
        head_len: u64,
    ) -> Result<Option<u32>> {
        let mut crc = super::header::checksum(first);
        let mut sector = *first;
        let mut next_data = head_len;
        let mut at = 0_u64;
        let mut place = ENTRY_HEADER_LEN;
        for _ in 0..count {
            if place >= sector.len() {
                at = at.saturating_add(LOG_SECTOR);
                sector = self.read_sector(entry.offset.saturating_add(at))?;
                crc = crc32c::crc32c_append(crc, &sector);
                place = 0;
            }
            let bytes = bytes::slice(&sector, place, DESCRIPTOR_LEN).unwrap_or_default();
            let data = entry.offset.saturating_add(next_data);
            let Some(descriptor) = parse_descriptor(bytes, entry.sequence, data) else {
                return Ok(None);
            };
            if matches!(descriptor, Descriptor::Data { .. }) {
                next_data = next_data.saturating_add(LOG_SECTOR);
            }
            if next_data > entry.length {
                return Ok(None);
            }
            entry.descriptors.push(descriptor);
            place = place.saturating_add(DESCRIPTOR_LEN);
        }
        if next_data != entry.length {
            return Ok(None);
        }
        let mut at = head_len;
        while at < entry.length {
            let sector = self.read_sector(entry.offset.saturating_add(at))?;
            let high = bytes::u32_le(&sector, SECTOR_SEQUENCE_HIGH).map(u64::from);
            let low = bytes::u32_le(&sector, SECTOR_SEQUENCE_LOW).map(u64::from);
            let sequence = high.zip(low).map(|(high, low)| high << 32 | low);
            if !sector.starts_with(SECTOR_SIGNATURE) || sequence != Some(entry.sequence) {
                return Ok(None);
            }
            crc = crc32c::crc32c_append(crc, &sector);
            at = at.saturating_add(LOG_SECTOR);
        }
        Ok(Some(crc))
    }
}

/// A descriptor of the entry with number `sequence`; `data` is where its data sector would be in the log.
fn parse_descriptor(descriptor: &[u8], sequence: u64, data: u64) -> Option<Descriptor> {
    let offset = bytes::u64_le(descriptor, DESCRIPTOR_FILE_OFFSET)?;
    if bytes::u64_le(descriptor, DESCRIPTOR_SEQUENCE)? != sequence || offset % LOG_SECTOR != 0 {
        return None;
    }
    match &bytes::array::<4>(descriptor, 0)? {
        DATA_SIGNATURE => Some(Descriptor::Data {
            offset,
            leading: bytes::array(descriptor, DATA_LEADING)?,
            trailing: bytes::array(descriptor, DATA_TRAILING)?,
            sector: data,
        }),
        ZERO_SIGNATURE => {
            let length = bytes::u64_le(descriptor, ZERO_LENGTH)?;
            (length % LOG_SECTOR == 0).then_some(Descriptor::Zero { offset, length })
        }
        _ => None,
    }
}
