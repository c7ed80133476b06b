// SPDX-License-Identifier: GPL-2.0-or-later
//! The VHD footer, and where a file has it. Big-endian.
//!
//! ```text
//! fixed          |disk ...........................................|footer|
//! dynamic, diff. |copy of footer|header|block table|blocks .......|footer|
//!
//!   0 "conectix"   8 features  12 version 00010000  16 offset of the dynamic header (fixed: all FF)
//!  24 time stamp  28 creator   32 its version       36 its host        40 original size
//!  48 CURRENT SIZE            56 geometry           60 TYPE 2 fixed, 3 dynamic, 4 differencing
//!  64 CHECKSUM    68 unique id                      84 saved state     85 zeros to 512
//! ```
//!
//! Virtual Hard Disk Image Format Specification 1.0 (2006). Very old Virtual PC files end after 511 of the 512
//! bytes. Whether the copy at 0 can stand in for a bad footer is decided in the module above.

use uuid::Uuid;

use super::format::*;
use crate::bytes;
use crate::device::SharedDevice;
use crate::error::{Error, Result};

/// How far from the end a footer is looked for that something was appended to: ours.
const SEARCHED: u64 = 64 << 10;

pub(super) const TRUNCATED_HINT: &str = "the file was cut short or damaged, probably while it was copied: copy it again, or \
                                         take it from a backup; nothing was changed";

/// The disk types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DiskType {
    Fixed,
    Dynamic,
    Differencing,
}

/// A sound footer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    /// The bytes, as they stand in the file.
    pub(super) bytes: [u8; FOOTER_LEN],
    /// Where the dynamic header is.
    pub(super) data_offset: u64,
    /// Bytes of the virtual disk.
    pub(super) current_size: u64,
    pub(super) disk_type: DiskType,
    pub(super) unique_id: Uuid,
    /// Seconds since 2000.
    pub(super) time_stamp: u32,
}

impl Footer {
    /// The footer that stands at `offset`; `Damaged` unless its checksum and its fields hold.
    pub(super) fn parse(footer: &[u8; FOOTER_LEN], offset: u64) -> Result<Footer> {
        let damaged = |at: usize, expected: String, found: String| {
            let at = offset.saturating_add(u64::try_from(at).unwrap_or(0));
            Error::damaged("VHD footer", at, expected, found)
                .with_hint("opening the VHD", TRUNCATED_HINT)
        };
        let cut = || damaged(0, "512 bytes".into(), "fewer".into());
        if !footer.starts_with(FOOTER_COOKIE) {
            return Err(damaged(0, "\"conectix\"".into(), "something else".into()));
        }
        let stored = bytes::u32_be(footer, FOOTER_CHECKSUM).ok_or_else(cut)?;
        let computed = checksum(footer, FOOTER_CHECKSUM);
        if stored != computed {
            return Err(damaged(
                FOOTER_CHECKSUM,
                format!("checksum {computed:#010x}"),
                format!("{stored:#010x}"),
            ));
        }
        let version = bytes::u32_be(footer, FOOTER_VERSION).ok_or_else(cut)?;
        if version != VERSION {
            return Err(damaged(
                FOOTER_VERSION,
                format!("version {VERSION:#010x}"),
                format!("{version:#010x}"),
            ));
        }
        let disk_type = match bytes::u32_be(footer, FOOTER_DISK_TYPE).ok_or_else(cut)? {
            FIXED => DiskType::Fixed,
            DYNAMIC => DiskType::Dynamic,
            DIFFERENCING => DiskType::Differencing,
            other => {
                return Err(damaged(
                    FOOTER_DISK_TYPE,
                    "disk type 2 (fixed), 3 (dynamic) or 4 (differencing)".into(),
                    other.to_string(),
                ));
            }
        };
        Ok(Footer {
            bytes: *footer,
            data_offset: bytes::u64_be(footer, FOOTER_DATA_OFFSET).ok_or_else(cut)?,
            current_size: bytes::u64_be(footer, FOOTER_CURRENT_SIZE).ok_or_else(cut)?,
            disk_type,
            unique_id: Uuid::from_bytes(bytes::array(footer, FOOTER_UNIQUE_ID).ok_or_else(cut)?),
            time_stamp: bytes::u32_be(footer, FOOTER_TIME_STAMP).ok_or_else(cut)?,
        })
    }

    /// `Damaged` unless the disk, told by the footer at `offset`, has whole sectors, at least one.
    pub(super) fn check_size(&self, offset: u64) -> Result<()> {
        if self.current_size > 0 && self.current_size.is_multiple_of(SECTOR) {
            return Ok(());
        }
        Err(Error::damaged(
            "VHD footer",
            offset.saturating_add(48),
            "whole sectors of 512 bytes, at least one",
            format!("a disk of {} bytes", self.current_size),
        )
        .with_hint("opening the VHD", TRUNCATED_HINT))
    }

    /// What a person should know about the machine that had the disk.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self
            .bytes
            .get(FOOTER_SAVED_STATE)
            .is_some_and(|state| *state != 0)
        {
            notes.push(
                "The VHD's footer says that the virtual machine was saved (suspended), not shut down: what \
                 it has in memory may not fit a changed disk."
                    .to_owned(),
            );
        }
        notes
    }

    /// The size that the geometry gives, where a guest of the creator (Virtual PC, old qemu) sees that one
    /// and it is another. Windows and all newer programs go by the current size, and so do we.
    pub(super) fn other_size(&self) -> Option<u64> {
        /// The largest geometry; it stands for every larger disk too.
        const LARGEST: u64 = 65535 * 16 * 255;
        let creator: [u8; 4] = bytes::array(&self.bytes, FOOTER_CREATOR)?;
        let [high, low, heads, sectors] = bytes::array(&self.bytes, FOOTER_GEOMETRY)?;
        let total = u64::from(u16::from_be_bytes([high, low]))
            .checked_mul(u64::from(heads))?
            .checked_mul(u64::from(sectors))?;
        let size = total.checked_mul(SECTOR)?;
        let by_geometry = [*b"vpc ", *b"qemu"].contains(&creator) && (1..LARGEST).contains(&total);
        (by_geometry && size != self.current_size).then_some(size)
    }
}

/// The checksum that a footer or header should carry, of which it itself stands at `place`.
pub(super) fn checksum(bytes: &[u8], place: usize) -> u32 {
    let own = place..place.saturating_add(4);
    let sum = bytes
        .iter()
        .enumerate()
        .filter(|(index, _)| !own.contains(index))
        .fold(0_u32, |sum, (_, &byte)| sum.wrapping_add(u32::from(byte)));
    !sum
}

/// What has a footer's cookie at the end of `device`, its offset and its length.
pub(super) fn at_end(device: &SharedDevice) -> Result<Option<([u8; FOOTER_LEN], u64, usize)>> {
    for footer_len in [FOOTER_LEN, OLD_FOOTER_LEN] {
        let Some(offset) = u64::try_from(footer_len)
            .ok()
            .and_then(|footer_len| device.len().checked_sub(footer_len))
        else {
            continue;
        };
        let mut footer = [0; FOOTER_LEN];
        // The missing byte of an old footer counts as the zero that it would be.
        if let Some(part) = footer.get_mut(..footer_len) {
            device.read_at(offset, part)?;
        }
        if footer.starts_with(FOOTER_COOKIE) {
            return Ok(Some((footer, offset, footer_len)));
        }
    }
    Ok(None)
}

/// The error for a footer near the end, but not where it has to be: cut in the middle, or followed by
/// something. `None` when there is none.
///
/// A disk may hold anything in its last sectors, so a whole footer counts only when it describes exactly
/// what lies before it; a cut one, only when the file ends inside it.
pub(super) fn find_displaced(device: &SharedDevice) -> Result<Option<Error>> {
    let len = device.len();
    let start = len.saturating_sub(SEARCHED).next_multiple_of(SECTOR);
    let Ok(tail_len) = usize::try_from(len.saturating_sub(start)) else {
        return Ok(None);
    };
    let mut tail = vec![0; tail_len];
    device.read_at(start, &mut tail)?;
    let mut offset = start;
    for sector in tail.chunks(FOOTER_LEN) {
        if sector.starts_with(FOOTER_COOKIE) {
            let place = offset;
            let damaged = |expected: &str, found: String| {
                Error::damaged("VHD footer", place, expected, found)
            };
            match <&[u8; FOOTER_LEN]>::try_from(sector) {
                Err(_) => {
                    let found = format!("the file's end after {}", sector.len());
                    return Ok(Some(
                        damaged("512 bytes", found).with_hint("opening the VHD", TRUNCATED_HINT),
                    ));
                }
                Ok(bytes)
                    if Footer::parse(bytes, place).is_ok_and(|footer| {
                        footer.disk_type == DiskType::Fixed && footer.current_size == place
                    }) =>
                {
                    let after = len.saturating_sub(place).saturating_sub(SECTOR);
                    return Ok(Some(
                        damaged("the file's end after it", format!("{after} more bytes"))
                            .with_hint(
                                "opening the VHD",
                                format!(
                                    "something was appended to the file; if that is not wanted, cut it off in a \
                                     copy: `truncate -s {} COPY`",
                                    place.saturating_add(SECTOR)
                                ),
                            ),
                    ));
                }
                Ok(_) => {}
            }
        }
        offset = offset.saturating_add(SECTOR);
    }
    Ok(None)
}
