// SPDX-License-Identifier: GPL-2.0-or-later
//! The two headers: which one counts, and how both are written anew.
//!
//! ```text
//!  0 "head"  4 CRC-32C  8 SEQUENCE NUMBER  16 file write GUID  32 data write GUID  48 log GUID
//! 64 log version 0     66 version 1       68 log length       72 log offset      80 zeros to 4096
//!
//! header 1     header 2      the one that counts
//! good         good          the one with the higher sequence number; either, when they are the same
//! good         bad           the good one, and the other way round
//! bad          bad           none: damaged
//! ```
//!
//! [MS-VHDX] 2.2.2. A new header goes over the one that does not count, with the next sequence number, and then
//! once more over the other: so the old one counts until the new one is whole, and in the end both say the same.

use uuid::Uuid;

use super::format::*;
use crate::bytes;
use crate::device::SharedDevice;
use crate::error::{Error, Result};

/// A header that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// 0 or 1: which of the two it is.
    pub(super) slot: usize,
    pub(super) sequence: u64,
    /// New whenever anything in the file is about to change.
    pub(super) file_write_guid: Uuid,
    /// New whenever what the disk holds is about to change. By this a child knows its parent.
    pub(super) data_write_guid: Uuid,
    /// Nil, or that of the log entries that have to be replayed.
    pub(super) log_guid: Uuid,
    pub(super) log_length: u32,
    pub(super) log_offset: u64,
    /// Why the other one does not count, unless it is merely older.
    pub(super) other: Option<String>,
}

impl Header {
    /// The current header of the file. `Damaged` when neither is sound.
    pub(super) fn read(device: &SharedDevice) -> Result<Header> {
        let [one, two] = HEADERS.map(|offset| {
            let slot = usize::from(offset != HEADERS[0]);
            read_one(device, offset, slot)
        });
        let unreadable = |error: &Error| Some(error.to_string());
        let header = match (one, two) {
            (Ok(one), Err(error)) => Header {
                other: unreadable(&error),
                ..one
            },
            (Err(error), Ok(two)) => Header {
                other: unreadable(&error),
                ..two
            },
            (Ok(one), Ok(two)) if one.sequence > two.sequence => one,
            (Ok(one), Ok(two)) if one.sequence < two.sequence => two,
            (Ok(one), Ok(two))
                if Header {
                    slot: 0,
                    ..two.clone()
                } == one =>
            {
                one
            }
            (Ok(one), Ok(_)) => {
                return Err(Error::damaged(
                    "VHDX headers",
                    HEADERS[1],
                    "a sequence number of its own, or the content of the first",
                    format!("sequence number {} in both", one.sequence),
                )
                .with_hint("opening the VHDX", super::DAMAGED_HINT));
            }
            (Err(Error::Io { what, source }), Err(_)) => return Err(Error::Io { what, source }),
            (Err(one), Err(two)) => {
                return Err(Error::damaged(
                    "VHDX headers",
                    HEADERS[0],
                    "a sound one of two",
                    format!("none ({one}; {two})"),
                )
                .with_hint("opening the VHDX", super::DAMAGED_HINT));
            }
        };
        header.check(device.len())?;
        Ok(header)
    }

    /// Checks where the log is.
    fn check(&self, file_len: u64) -> Result<()> {
        let offset = HEADERS.get(self.slot).copied().unwrap_or(0);
        let end = self.log_offset.checked_add(u64::from(self.log_length));
        let sound = self.log_offset >= MIB
            && self.log_offset.is_multiple_of(MIB)
            && self.log_length > 0
            && u64::from(self.log_length).is_multiple_of(MIB)
            && end.is_some_and(|end| end <= file_len);
        match sound {
            true => Ok(()),
            false => Err(Error::damaged(
                "VHDX header",
                offset.saturating_add(68),
                format!("a log of whole MiB in the file, which is {file_len:#x} bytes long"),
                format!(
                    "one of {:#x} bytes at {:#x}",
                    self.log_length, self.log_offset
                ),
            )
            .with_hint("opening the VHDX", super::DAMAGED_HINT)),
        }
    }

    /// Writes the header with these GUIDs and without a log to replay: first over the other slot, then over
    /// its own.
    pub(super) fn write_both(
        &self,
        device: &SharedDevice,
        file_write_guid: Uuid,
        data_write_guid: Uuid,
    ) -> Result<()> {
        let mut sequence = self.sequence;
        let other = HEADERS.len().saturating_sub(1).saturating_sub(self.slot);
        for slot in [other, self.slot] {
            sequence = sequence.checked_add(1).ok_or_else(|| {
                Error::damaged(
                    "VHDX header",
                    HEADERS[0].saturating_add(8),
                    "a sequence number that can be counted up",
                    sequence.to_string(),
                )
            })?;
            let new = Header {
                slot,
                sequence,
                file_write_guid,
                data_write_guid,
                log_guid: Uuid::nil(),
                ..self.clone()
            };
            let offset = HEADERS.get(slot).copied().unwrap_or(HEADERS[0]);
            device.write_at(offset, &new.to_bytes())?;
        }
        Ok(())
    }

    /// The header's 4096 bytes, with its checksum.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut header = vec![0; HEADER_LEN];
        let fields: [(usize, &[u8]); 9] = [
            (0, HEADER_SIGNATURE),
            (HEADER_SEQUENCE, &self.sequence.to_le_bytes()),
            (HEADER_FILE_WRITE_GUID, &self.file_write_guid.to_bytes_le()),
            (HEADER_DATA_WRITE_GUID, &self.data_write_guid.to_bytes_le()),
            (HEADER_LOG_GUID, &self.log_guid.to_bytes_le()),
            (HEADER_LOG_VERSION, &LOG_VERSION.to_le_bytes()),
            (HEADER_VERSION, &VERSION.to_le_bytes()),
            (HEADER_LOG_LENGTH, &self.log_length.to_le_bytes()),
            (HEADER_LOG_OFFSET, &self.log_offset.to_le_bytes()),
        ];
        for (offset, field) in fields {
            // The fields lie inside the 4096 bytes.
            let _ = bytes::put(&mut header, offset, field);
        }
        let checksum = checksum(&header);
        let _ = bytes::put(&mut header, CHECKSUM, &checksum.to_le_bytes());
        header
    }
}

fn read_one(device: &SharedDevice, offset: u64, slot: usize) -> Result<Header> {
    let damaged = |at: usize, expected: String, found: String| {
        let at = offset.saturating_add(u64::try_from(at).unwrap_or(0));
        Error::damaged("VHDX header", at, expected, found)
    };
    let cut = || damaged(0, "4096 bytes".into(), "fewer".into());
    let mut header = vec![0; HEADER_LEN];
    device.read_at(offset, &mut header)?;
    if !header.starts_with(HEADER_SIGNATURE) {
        return Err(damaged(0, "\"head\"".into(), "something else".into()));
    }
    let stored = bytes::u32_le(&header, CHECKSUM).ok_or_else(cut)?;
    let computed = checksum(&header);
    if stored != computed {
        return Err(damaged(
            CHECKSUM,
            format!("CRC-32C {computed:#010x}"),
            format!("{stored:#010x}"),
        ));
    }
    let version = bytes::u16_le(&header, HEADER_VERSION).ok_or_else(cut)?;
    if version != VERSION {
        return Err(damaged(
            HEADER_VERSION,
            format!("version {VERSION}"),
            version.to_string(),
        ));
    }
    let guid = |at| bytes::array(&header, at).map(Uuid::from_bytes_le);
    let log_guid = guid(HEADER_LOG_GUID).ok_or_else(cut)?;
    let log_version = bytes::u16_le(&header, HEADER_LOG_VERSION).ok_or_else(cut)?;
    if log_version != LOG_VERSION && !log_guid.is_nil() {
        return Err(damaged(
            HEADER_LOG_VERSION,
            format!("log version {LOG_VERSION}"),
            log_version.to_string(),
        ));
    }
    Ok(Header {
        slot,
        sequence: bytes::u64_le(&header, HEADER_SEQUENCE).ok_or_else(cut)?,
        file_write_guid: guid(HEADER_FILE_WRITE_GUID).ok_or_else(cut)?,
        data_write_guid: guid(HEADER_DATA_WRITE_GUID).ok_or_else(cut)?,
        log_guid,
        log_length: bytes::u32_le(&header, HEADER_LOG_LENGTH).ok_or_else(cut)?,
        log_offset: bytes::u64_le(&header, HEADER_LOG_OFFSET).ok_or_else(cut)?,
        other: None,
    })
}

/// The CRC-32C that a header or region table should carry: its own four bytes count as zeros.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let after = CHECKSUM.saturating_add(4);
    let before = bytes.get(..CHECKSUM).unwrap_or_default();
    let rest = bytes.get(after..).unwrap_or_default();
    let crc = crc32c::crc32c(before);
    let crc = crc32c::crc32c_append(crc, &[0; 4]);
    crc32c::crc32c_append(crc, rest)
}
