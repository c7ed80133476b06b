// SPDX-License-Identifier: GPL-2.0-or-later
//! The VHD footer, and which kind of VHD a file is. Big-endian.
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
//! Virtual Hard Disk Image Format Specification 1.0 (2006). The checksum is the complement of the sum of all
//! bytes but its own four. Very old Virtual PC files end after 511 of the 512 bytes. Dynamic and differencing
//! disks are recognised, not opened.

use crate::bytes;
use crate::device::SharedDevice;
use crate::error::{Error, Result};

/// Bytes of a footer.
pub(super) const FOOTER_LEN: usize = 512;
/// Bytes of a footer that Virtual PC before 2004 wrote.
const OLD_FOOTER_LEN: usize = 511;

const COOKIE: &[u8; 8] = b"conectix";
const VERSION: u32 = 0x0001_0000;
const FIXED: u32 = 2;
const DYNAMIC: u32 = 3;
const DIFFERENCING: u32 = 4;

/// How far from the end a footer is looked for that something was appended to: ours.
const SEARCHED: u64 = 64 << 10;

const TRUNCATED_HINT: &str = "the file was cut short or damaged, probably while it was copied: copy it again, or take it \
                              from a backup; nothing was changed";

/// What a fixed VHD's footer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    /// Bytes of the virtual disk.
    pub(super) current_size: u64,
    /// Bytes of the footer itself: 512, or 511 in very old files.
    len: u64,
    /// The machine was suspended when the file was written.
    saved_state: bool,
}

impl Footer {
    /// What a person should know about a file of `file_len` bytes with this footer.
    pub(super) fn notes(&self, file_len: u64) -> Vec<String> {
        let mut notes = Vec::new();
        let unused = file_len
            .saturating_sub(self.len)
            .saturating_sub(self.current_size);
        if unused > 0 {
            notes.push(format!(
                "The VHD's footer gives the disk {} bytes; {unused} more between its end and the footer are \
                 not part of it.",
                self.current_size
            ));
        }
        if self.saved_state {
            notes.push(
                "The VHD's footer says that the virtual machine was saved (suspended), not shut down: what \
                 it has in memory may not fit a changed disk."
                    .to_owned(),
            );
        }
        notes
    }
}

/// The footer of the fixed VHD on `device`, or `None` when it is no VHD at all. `head` is its first sector.
///
/// `Unsupported` for a dynamic or differencing VHD; `Damaged` for a VHD with a bad footer, or one that its
/// sizes show to be cut or to have grown.
pub(super) fn find(device: &SharedDevice, head: &[u8]) -> Result<Option<Footer>> {
    let len = device.len();
    if let Some((footer, offset, footer_len)) = footer_at_end(device)? {
        return read(&footer, offset, footer_len).map(Some);
    }
    if head.starts_with(COOKIE) {
        return Err(without_footer(head, len));
    }
    find_displaced(device)?.map_or(Ok(None), Err)
}

/// The unique id in the footer at the end of `device`; `None` when there is no sound one.
pub(super) fn unique_id(device: &SharedDevice) -> Result<Option<[u8; 16]>> {
    Ok(footer_at_end(device)?
        .filter(|(footer, ..)| bytes::u32_be(footer, 64) == Some(checksum(footer)))
        .and_then(|(footer, ..)| bytes::array(&footer, 68)))
}

/// Where the dynamic header is, when `footer` is that of a differencing VHD.
pub(super) fn differencing_header(footer: &[u8; FOOTER_LEN]) -> Option<u64> {
    let is_differencing =
        footer.starts_with(COOKIE) && bytes::u32_be(footer, 60) == Some(DIFFERENCING);
    bytes::u64_be(footer, 16).filter(|_| is_differencing)
}

/// What has a footer's cookie at the end of `device`, its offset and its length.
fn footer_at_end(device: &SharedDevice) -> Result<Option<([u8; FOOTER_LEN], u64, usize)>> {
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
        if footer.starts_with(COOKIE) {
            return Ok(Some((footer, offset, footer_len)));
        }
    }
    Ok(None)
}

/// Reads the footer that stands at `offset`, the end of the file.
fn read(footer: &[u8; FOOTER_LEN], offset: u64, footer_len: usize) -> Result<Footer> {
    let damaged = |at: u64, expected: String, found: String| {
        Error::damaged("VHD footer", offset.saturating_add(at), expected, found)
            .with_hint("opening the VHD", TRUNCATED_HINT)
    };
    let cut = || damaged(0, "512 bytes".into(), "fewer".into());
    let stored = bytes::u32_be(footer, 64).ok_or_else(cut)?;
    let computed = checksum(footer);
    if stored != computed {
        return Err(damaged(
            64,
            format!("checksum {computed:#010x}"),
            format!("{stored:#010x}"),
        ));
    }
    let version = bytes::u32_be(footer, 12).ok_or_else(cut)?;
    if version != VERSION {
        return Err(damaged(
            12,
            format!("version {VERSION:#010x}"),
            format!("{version:#010x}"),
        ));
    }
    let current_size = bytes::u64_be(footer, 48).ok_or_else(cut)?;
    match bytes::u32_be(footer, 60).ok_or_else(cut)? {
        FIXED => {}
        DYNAMIC => return Err(dynamic()),
        DIFFERENCING => return Err(differencing()),
        other => {
            return Err(damaged(
                60,
                "disk type 2 (fixed), 3 (dynamic) or 4 (differencing)".into(),
                other.to_string(),
            ));
        }
    }
    if current_size > offset {
        return Err(Error::damaged(
            "VHD footer",
            offset.saturating_add(48),
            format!("at most the {offset} bytes before the footer"),
            format!("a disk of {current_size} bytes"),
        )
        .with_hint(
            "opening the VHD",
            format!(
                "{TRUNCATED_HINT}; if this is a single volume that was taken out of a VHD, cut the footer off \
                 in a copy (`truncate -s {offset} COPY`) and use that"
            ),
        ));
    }
    if current_size == 0 || current_size % 512 != 0 {
        return Err(damaged(
            48,
            "whole sectors of 512 bytes, at least one".into(),
            format!("a disk of {current_size} bytes"),
        ));
    }
    Ok(Footer {
        current_size,
        len: u64::try_from(footer_len).unwrap_or(0),
        saved_state: bytes::array::<1>(footer, 84).is_some_and(|[state]| state != 0),
    })
}

/// The error for a file that begins with a footer but does not end with one: a dynamic or differencing VHD
/// that lost its end.
fn without_footer(head: &[u8], file_len: u64) -> Error {
    let kind = match bytes::u32_be(head, 60) {
        Some(DYNAMIC) => "dynamic VHD",
        Some(DIFFERENCING) => "differencing VHD",
        _ => "VHD",
    };
    Error::damaged(
        format!("footer of the {kind}"),
        file_len.saturating_sub(512),
        "\"conectix\", as at the file's start",
        "something else",
    )
    .with_hint("opening the VHD", TRUNCATED_HINT)
}

/// The error for a footer near the end, but not where it has to be: cut in the middle, or followed by
/// something. `None` when there is none.
///
/// A disk may hold anything in its last sectors, so a whole footer counts only when it describes exactly
/// what lies before it; a cut one, only when the file ends inside it.
fn find_displaced(device: &SharedDevice) -> Result<Option<Error>> {
    let len = device.len();
    let start = len.saturating_sub(SEARCHED).next_multiple_of(512);
    let Ok(tail_len) = usize::try_from(len.saturating_sub(start)) else {
        return Ok(None);
    };
    let mut tail = vec![0; tail_len];
    device.read_at(start, &mut tail)?;
    let mut offset = start;
    for sector in tail.chunks(FOOTER_LEN) {
        if sector.starts_with(COOKIE) {
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
                Ok(footer)
                    if bytes::u32_be(footer, 64) == Some(checksum(footer))
                        && bytes::u32_be(footer, 60) == Some(FIXED)
                        && bytes::u64_be(footer, 48) == Some(place) =>
                {
                    let after = len.saturating_sub(place).saturating_sub(512);
                    return Ok(Some(
                        damaged("the file's end after it", format!("{after} more bytes"))
                            .with_hint(
                                "opening the VHD",
                                format!(
                                    "something was appended to the file; if that is not wanted, cut it off in a \
                                     copy: `truncate -s {} COPY`",
                                    place.saturating_add(512)
                                ),
                            ),
                    ));
                }
                Ok(_) => {}
            }
        }
        offset = offset.saturating_add(512);
    }
    Ok(None)
}

/// The checksum that a footer should carry.
fn checksum(footer: &[u8; FOOTER_LEN]) -> u32 {
    let sum: u32 = footer
        .iter()
        .enumerate()
        .filter(|(index, _)| !(64..68).contains(index))
        .fold(0, |sum, (_, &byte)| sum.wrapping_add(u32::from(byte)));
    !sum
}

fn dynamic() -> Error {
    Error::unsupported(
        "this is a dynamic VHD, which coldfix does not open yet",
        "convert it with `qemu-img convert -f vpc -O raw IMAGE disk.raw` and repair disk.raw",
    )
}

// qemu-img opens a differencing VHD without complaint and reads zeros where the parent should show through,
// so it must not be the advice here.
fn differencing() -> Error {
    Error::unsupported(
        "this is a differencing VHD (a checkpoint): it holds only what changed since its parent",
        "merge it with its parent first (Hyper-V Manager, or `Merge-VHD`); do not convert it with qemu-img, \
         which loses the parent's data",
    )
}
