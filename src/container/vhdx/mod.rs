// SPDX-License-Identifier: GPL-2.0-or-later
//! VHDX: fixed, dynamic and differencing disks.
//!
//! ```text
//! open     file identifier -> header that counts -> log, replayed in memory -> regions -> metadata -> BAT
//! read     BAT entry -> block, zeros, or parent                                  (on demand)
//! write    first: nothing overlaps  -> block in place, or a new one at the end
//! seal     new file write GUID, new data write GUID, no log: both headers        (before the commit)
//! ```
//!
//! "In memory" is in the overlay that the container is opened on: a repair commits it with everything else, a
//! diagnosis drops it. Source: [MS-VHDX] Virtual Hard Disk v2 (VHDX) File Format.

mod bat;
mod bitmap;
mod create;
mod disk;
mod format;
mod header;
mod locator;
mod log;
mod log_entry;
mod metadata;
mod region;

pub(super) use self::create::{BLOCK_SIZE, NewVhdx};

use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use self::bat::Bat;
use self::disk::VhdxBlocks;
use self::format::FILE_SIGNATURE;
use self::header::Header;
use self::metadata::Metadata;
use self::region::{Region, Regions};
use super::extent::BlockDisk;
use super::parent::{self, Chain, Identity, Wanted};
use super::{Container, ContainerKind, Details};
use crate::device::{Change, SharedDevice};
use crate::error::Result;

const DAMAGED_HINT: &str = "the file was cut short or damaged, probably while it was copied: copy it again, or take it \
                            from a backup; nothing was changed";

/// An open VHDX, for what concerns the file and not the disk in it.
#[derive(Clone, Debug)]
pub(super) struct Vhdx(Arc<BlockDisk<VhdxBlocks>>);

impl Vhdx {
    /// Writes the headers so that they fit what was changed. See [`super::Container::seal`].
    pub(super) fn seal(&self, changes: &[Change]) -> Result<()> {
        self.0.blocks().seal(changes)
    }
}

/// True for the first sector of a VHDX.
pub(super) fn is_vhdx(head: &[u8]) -> bool {
    head.starts_with(FILE_SIGNATURE)
}

/// The data write GUID of the VHDX on `device`, its log not replayed: a log never changes it.
pub(super) fn data_write_guid(device: &SharedDevice) -> Result<Uuid> {
    disk::data_write_guid(device)
}

/// The data write GUIDs by which the differencing VHDX on `device` knows its parent; none when it is none.
pub(super) fn parent_linkages(device: &SharedDevice) -> Result<Vec<Uuid>> {
    let header = Header::read(device)?;
    let regions = Regions::read(device, &header)?;
    let metadata = Metadata::read(device, regions.metadata)?;
    Ok(metadata
        .parent
        .map(|parent| std::iter::once(parent.linkage).chain(parent.linkage_2))
        .into_iter()
        .flatten()
        .collect())
}

/// Opens the VHDX on `device`, which lies at `path`.
pub(super) fn open(device: &SharedDevice, path: Option<&Path>, chain: &Chain) -> Result<Container> {
    let mut notes = Vec::new();
    let mut header = Header::read(device)?;
    if let Some(reason) = &header.other {
        notes.push(format!(
            "One of the two headers of the VHDX is damaged, the other one is used: {reason}."
        ));
    }
    let replayed = log::replay(device, &header)?;
    if let Some(replayed) = replayed {
        notes.push(format!(
            "The VHDX was not closed cleanly. Its log ({}, {} bytes) is replayed in memory; nothing of that is \
             written unless a repair is, and then with it.",
            match replayed.entries {
                1 => "1 entry".to_owned(),
                many => format!("{many} entries"),
            },
            replayed.bytes
        ));
        header = Header::read(device)?;
    }
    let regions = Regions::read(device, &header)?;
    notes.extend(regions.notes.iter().cloned());
    let metadata = Metadata::read(device, regions.metadata)?;
    let bat = Bat::new(Arc::clone(device), regions.bat, &metadata)?;
    let (kind, parent) = match &metadata.parent {
        Some(locator) => {
            let wanted = Wanted {
                identity: Identity::Vhdx(locator.linkage),
                identity_2: locator.linkage_2.map(Identity::Vhdx),
                place: locator.place,
                paths: &locator.paths,
                time_stamp: None,
            };
            let parent = parent::open(&wanted, path, chain)?;
            notes.extend(parent.notes);
            (ContainerKind::DifferencingVhdx, Some(parent.disk))
        }
        None if metadata.leave_blocks_allocated => (ContainerKind::FixedVhdx, None),
        None => (ContainerKind::DynamicVhdx, None),
    };
    let details = Details::Vhdx {
        physical_sector_size: metadata.physical_sector_size,
        disk_id: metadata.disk_id,
        data_write_guid: header.data_write_guid,
    };
    let mut taken = regions.all;
    taken.push(Region {
        offset: header.log_offset,
        length: header.log_length,
    });
    let disk = Arc::new(BlockDisk::new(VhdxBlocks::new(
        Arc::clone(device),
        header,
        taken,
        bat,
        metadata.disk_size,
        metadata.logical_sector_size,
        parent,
    )));
    Ok(Container {
        kind,
        disk: disk.clone(),
        notes,
        details,
        mended: replayed.is_some(),
        extents: Some(disk.clone()),
        vhdx: Some(Vhdx(disk)),
    })
}
