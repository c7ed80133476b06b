// SPDX-License-Identifier: GPL-2.0-or-later
//! VHD: fixed, dynamic and differencing disks.
//!
//! ```text
//! fixed          |disk ...........................................|footer|
//! dynamic, diff. |copy of footer|header|block table|blocks .......|footer|
//!
//! footer at the end    copy at 0      then
//! good                 good           as the footer says
//! good                 bad            the copy is made good in memory
//! bad or missing       good           the footer is made good in memory, behind the last block
//! bad                  bad            damaged
//! ```
//!
//! "In memory" is in the overlay that the container is opened on: a repair commits it with everything else, a
//! diagnosis drops it. Virtual Hard Disk Image Format Specification 1.0 (2006).

mod bat;
mod create;
mod disk;
mod footer;
mod format;
mod header;

pub(super) use self::create::{NewParent, NewVhd};
pub(super) use self::format::EPOCH;

use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use self::bat::Bat;
use self::disk::VhdBlocks;
use self::footer::{DiskType, Footer, TRUNCATED_HINT};
use self::format::*;
use self::header::Header;
use super::extent::BlockDisk;
use super::parent::{self, Chain, Identity, Wanted};
use super::{Container, ContainerKind, Details};
use crate::bytes;
use crate::device::SharedDevice;
use crate::device::slice::Slice;
use crate::error::{Error, Result, ResultExt};

/// A footer, and where it was found.
struct Found {
    footer: Footer,
    /// Where the footer at the file's end begins.
    offset: u64,
    /// Its length: 512, or 511.
    len: u64,
    /// One of the two footers was put back.
    mended: bool,
    notes: Vec<String>,
}

/// Opens the VHD on `device`, or `None` when it is none. `head` is its first sector, `path` where it lies.
///
/// `Damaged` for a VHD with a bad footer or header, or one that its sizes show to be cut or to have grown;
/// `Refused` when the parent of a differencing disk is not found.
pub(super) fn open(
    device: &SharedDevice,
    head: &[u8],
    path: Option<&Path>,
    chain: &Chain,
) -> Result<Option<Container>> {
    let Some(found) = find(device, head)? else {
        return Ok(None);
    };
    found.footer.check_size(found.offset)?;
    match found.footer.disk_type {
        DiskType::Fixed => open_fixed(device, found),
        DiskType::Dynamic | DiskType::Differencing => open_blocks(device, found, path, chain),
    }
    .map(Some)
}

/// The unique id in the footer at the end of `device`, or in its copy; `None` when there is no sound one.
pub(super) fn unique_id(device: &SharedDevice) -> Result<Option<Uuid>> {
    let at_end =
        footer::at_end(device)?.and_then(|(bytes, offset, _)| Footer::parse(&bytes, offset).ok());
    let mut head = [0; FOOTER_LEN];
    if at_end.is_none() && device.len() >= SECTOR {
        device.read_at(0, &mut head)?;
    }
    Ok(at_end
        .or_else(|| Footer::parse(&head, 0).ok())
        .map(|footer| footer.unique_id))
}

/// The unique id of the parent of the differencing VHD on `device`; `None` when it is none.
pub(super) fn parent_id(device: &SharedDevice) -> Result<Option<Uuid>> {
    let mut head = [0; FOOTER_LEN];
    if device.len() < SECTOR {
        return Ok(None);
    }
    device.read_at(0, &mut head)?;
    let at_end =
        footer::at_end(device)?.and_then(|(bytes, offset, _)| Footer::parse(&bytes, offset).ok());
    let Some(footer) = at_end.or_else(|| Footer::parse(&head, 0).ok()) else {
        return Ok(None);
    };
    if footer.disk_type != DiskType::Differencing {
        return Ok(None);
    }
    let header = Header::read(device, footer.data_offset, footer.current_size)?;
    Ok(Some(header.parent_id))
}

fn find(device: &SharedDevice, head: &[u8]) -> Result<Option<Found>> {
    let copy = <&[u8; FOOTER_LEN]>::try_from(head)
        .ok()
        .and_then(|head| Footer::parse(head, 0).ok())
        .filter(|copy| copy.disk_type != DiskType::Fixed);
    let at_end = footer::at_end(device)?
        .map(|(bytes, offset, len)| (Footer::parse(&bytes, offset), offset, len));
    match (at_end, copy) {
        (Some((Ok(footer), offset, len)), copy) => {
            let mut found = Found {
                notes: footer.notes(),
                footer,
                offset,
                len: u64::try_from(len).unwrap_or(0),
                mended: false,
            };
            if found.footer.disk_type != DiskType::Fixed {
                mend_copy(device, &mut found, copy)?;
            }
            Ok(Some(found))
        }
        (_, Some(copy)) => mend_footer(device, copy).map(Some),
        (Some((Err(error), ..)), None) => Err(error),
        (None, None) if head.starts_with(FOOTER_COOKIE) => Err(without_footer(head, device.len())),
        (None, None) => footer::find_displaced(device)?.map_or(Ok(None), Err),
    }
}

/// Makes the copy at 0 good when it is not.
fn mend_copy(device: &SharedDevice, found: &mut Found, copy: Option<Footer>) -> Result<()> {
    match copy {
        Some(copy) if copy.bytes == found.footer.bytes => {}
        Some(_) => found.notes.push(
            "The VHD's footer and its copy at the file's start differ; the one at the end counts."
                .to_owned(),
        ),
        None => {
            device
                .write_at(0, &found.footer.bytes)
                .context(|| "mending the copy of the VHD's footer in memory")?;
            found.mended = true;
            found.notes.push(
                "The copy of the VHD's footer at the file's start is damaged; in memory it is mended from the \
                 footer at the end."
                    .to_owned(),
            );
        }
    }
    Ok(())
}

/// Puts the footer that is known from its copy at 0 behind the last block, when all blocks are there.
fn mend_footer(device: &SharedDevice, footer: Footer) -> Result<Found> {
    let len = device.len();
    let header = Header::read(device, footer.data_offset, footer.current_size)?;
    let tables = u64::from(header.max_entries)
        .saturating_mul(4)
        .saturating_add(header.table_offset);
    let blocks_end = Bat::new(Arc::clone(device), header).end()?.max(tables);
    if blocks_end > len {
        let kind = match footer.disk_type {
            DiskType::Differencing => "differencing VHD",
            _ => "dynamic VHD",
        };
        return Err(Error::damaged(
            format!("{kind} without its end"),
            len,
            format!("blocks up to {blocks_end:#x} and a footer behind them"),
            "the file's end",
        )
        .with_hint("opening the VHD", TRUNCATED_HINT));
    }
    // In its place right behind the last block; behind all that was appended, if there is more than a footer.
    let places = || {
        let appended = len.saturating_sub(blocks_end) >= ALIGNMENT.saturating_add(SECTOR);
        let footer_place = match appended {
            true => len,
            false => len.saturating_sub(SECTOR).max(blocks_end),
        };
        let offset = footer_place.checked_next_multiple_of(SECTOR)?;
        Some((offset, offset.checked_add(SECTOR)?))
    };
    let (offset, end) = places().ok_or_else(|| without_footer(&footer.bytes, len))?;
    if end > len {
        device.set_length(end)?;
    }
    device
        .write_at(offset, &footer.bytes)
        .context(|| "mending the VHD's footer in memory")?;
    let mut notes = footer.notes();
    notes.push(
        "The VHD's footer at the file's end is damaged or missing; in memory it is mended from its copy at the \
         file's start."
            .to_owned(),
    );
    Ok(Found {
        footer,
        offset,
        len: SECTOR,
        mended: true,
        notes,
    })
}

/// The error for a file that begins with a footer's cookie but has no sound footer anywhere.
fn without_footer(head: &[u8], file_len: u64) -> Error {
    let kind = match bytes::u32_be(head, FOOTER_DISK_TYPE) {
        Some(DYNAMIC) => "dynamic VHD",
        Some(DIFFERENCING) => "differencing VHD",
        _ => "VHD",
    };
    Error::damaged(
        format!("footer of the {kind}"),
        file_len.saturating_sub(SECTOR),
        "\"conectix\", as at the file's start",
        "something else",
    )
    .with_hint("opening the VHD", TRUNCATED_HINT)
}

fn open_fixed(device: &SharedDevice, found: Found) -> Result<Container> {
    let Found {
        footer,
        offset,
        mut notes,
        ..
    } = found;
    let size = footer.current_size;
    if size > offset {
        return Err(Error::damaged(
            "VHD footer",
            offset.saturating_add(48),
            format!("at most the {offset} bytes before the footer"),
            format!("a disk of {size} bytes"),
        )
        .with_hint(
            "opening the VHD",
            format!(
                "{TRUNCATED_HINT}; if this is a single volume that was taken out of a VHD, cut the footer off \
                 in a copy (`truncate -s {offset} COPY`) and use that"
            ),
        ));
    }
    if size < offset {
        notes.insert(
            0,
            format!(
                "The VHD's footer gives the disk {size} bytes; {} more between its end and the footer are \
                 not part of it.",
                offset.saturating_sub(size)
            ),
        );
    }
    let disk = Slice::new(Arc::clone(device), 0, size)
        .map_err(|error| Error::context(error, "fixed VHD"))?;
    Ok(Container {
        kind: ContainerKind::FixedVhd,
        disk: Arc::new(disk),
        notes,
        details: details(&footer),
        mended: false,
        extents: None,
        vhdx: None,
    })
}

fn open_blocks(
    device: &SharedDevice,
    found: Found,
    path: Option<&Path>,
    chain: &Chain,
) -> Result<Container> {
    let Found {
        footer,
        len,
        mended,
        mut notes,
        ..
    } = found;
    let header = Header::read(device, footer.data_offset, footer.current_size)?;
    if let Some(size) = footer.other_size() {
        notes.push(format!(
            "The VHD's footer gives the disk {} bytes, its geometry {size}: a guest of Virtual PC or an old qemu \
             sees the latter, everybody else the former.",
            footer.current_size
        ));
    }
    let (kind, parent) = match footer.disk_type {
        DiskType::Differencing => {
            let wanted = Wanted {
                identity: Identity::Vhd(header.parent_id),
                identity_2: None,
                place: header.offset.saturating_add(40),
                paths: &header.parent_paths,
                time_stamp: Some(header.parent_time_stamp).filter(|stamp| *stamp != 0),
            };
            let parent = parent::open(&wanted, path, chain)?;
            notes.extend(parent.notes);
            (ContainerKind::DifferencingVhd, Some(parent.disk))
        }
        _ => (ContainerKind::DynamicVhd, None),
    };
    let details = details(&footer);
    let bat = Bat::new(Arc::clone(device), header);
    let blocks = VhdBlocks::new(Arc::clone(device), footer, len, bat, parent);
    let disk = Arc::new(BlockDisk::new(blocks));
    Ok(Container {
        kind,
        disk: disk.clone(),
        notes,
        details,
        mended,
        extents: Some(disk),
        vhdx: None,
    })
}

fn details(footer: &Footer) -> Details {
    Details::Vhd {
        unique_id: footer.unique_id,
        geometry: bytes::array(&footer.bytes, FOOTER_GEOMETRY).unwrap_or_default(),
    }
}
