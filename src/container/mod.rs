// SPDX-License-Identifier: GPL-2.0-or-later
//! Containers: what a disk image file wraps around the virtual disk. Raw images, VHD and VHDX are opened; every
//! other kind is recognised and refused by its name.
//!
//! ```text
//! raw                |disk.........................................|
//! VHD     fixed      |disk.................................|footer |
//!         others     |tables|block|block|block.............|footer |
//! VHDX               |headers|log|tables|block|block|block.........|
//! ```
//!
//! Of a dynamic disk the file holds only the blocks that were ever written; of a differencing disk those that
//! differ from its parent's, which lies in another file. The kind is found by content, never by the file's
//! extension. What has no container's signature is raw, whatever it holds: the partition layer says whether there
//! is a disk in it.
//!
//! A container may have to be mended before it can be read: a log is replayed, a lost footer put back. That is
//! written to the device it is opened on, which therefore is an overlay.

pub mod child;
mod children;
pub mod copy;
mod extent;
mod foreign;
mod occupied;
mod parent;
mod vhd;
mod vhdx;

use std::path::Path;
use std::sync::Arc;

pub use children::check_no_children;

use crate::device::{Change, SharedDevice};
use crate::error::Result;
use extent::Extents;
use parent::{Chain, Identity};
use uuid::Uuid;

/// The kind of container that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum ContainerKind {
    /// No container: the file is the disk.
    #[serde(rename = "raw")]
    Raw,
    /// A VHD whose disk lies in the file as it is, with a footer behind it.
    #[serde(rename = "vhd-fixed")]
    FixedVhd,
    /// A VHD of blocks.
    #[serde(rename = "vhd-dynamic")]
    DynamicVhd,
    /// A VHD of the blocks that differ from its parent's.
    #[serde(rename = "vhd-differencing")]
    DifferencingVhd,
    /// A VHDX all of whose blocks are in the file.
    #[serde(rename = "vhdx-fixed")]
    FixedVhdx,
    /// A VHDX of blocks.
    #[serde(rename = "vhdx-dynamic")]
    DynamicVhdx,
    /// A VHDX of the blocks that differ from its parent's.
    #[serde(rename = "vhdx-differencing")]
    DifferencingVhdx,
}

impl ContainerKind {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            ContainerKind::Raw => "raw",
            ContainerKind::FixedVhd => "vhd-fixed",
            ContainerKind::DynamicVhd => "vhd-dynamic",
            ContainerKind::DifferencingVhd => "vhd-differencing",
            ContainerKind::FixedVhdx => "vhdx-fixed",
            ContainerKind::DynamicVhdx => "vhdx-dynamic",
            ContainerKind::DifferencingVhdx => "vhdx-differencing",
        }
    }
}

/// An opened container.
#[derive(Clone, Debug)]
pub struct Container {
    /// What kind it is.
    pub kind: ContainerKind,
    /// The virtual disk in it. Reads and writes go through to the device it was opened on, which grows when a
    /// block is added.
    pub disk: SharedDevice,
    /// What is odd about it, but no reason to stop: whole sentences for a person.
    pub notes: Vec<String>,
    details: Details,
    /// Something was written to the device in order to read it: a log replayed, a footer put back.
    mended: bool,
    /// Where the disk's bytes are; `None` where it lies in one piece.
    extents: Option<Arc<dyn Extents>>,
    vhdx: Option<vhdx::Vhdx>,
}

/// What a format knows of a disk besides its bytes: what children and copies need.
#[derive(Clone, Debug)]
enum Details {
    Raw,
    Vhd {
        unique_id: Uuid,
        geometry: [u8; 4],
    },
    Vhdx {
        physical_sector_size: u32,
        disk_id: Uuid,
        data_write_guid: Uuid,
    },
}

impl Container {
    /// By what children know it.
    fn identity(&self) -> Option<Identity> {
        match self.details {
            Details::Raw => None,
            Details::Vhd { unique_id, .. } => Some(Identity::Vhd(unique_id)),
            Details::Vhdx {
                data_write_guid, ..
            } => Some(Identity::Vhdx(data_write_guid)),
        }
    }

    /// Makes the container's own marks fit what was changed in its file: a VHDX says that it is another state of
    /// the disk by new GUIDs. To be called before a commit, with the overlay's changes; what it writes comes to
    /// them. Sealing the same changes again changes nothing.
    pub fn seal(&self, changes: &[Change]) -> Result<()> {
        match &self.vhdx {
            Some(vhdx) => vhdx.seal(changes),
            None => Ok(()),
        }
    }
}

/// Opens the container on `device`, whose place among other files is not known: a differencing disk is refused,
/// because its parent cannot be found. See [`open_file`].
pub fn open(device: SharedDevice) -> Result<Container> {
    open_in(device, None, &Chain::default())
}

/// Opens the container on `device`, the file at `path`. Parents are looked for from there, and opened for reading.
///
/// `Unsupported`, naming the format and the way out, for QCOW2, VMDK, VDI, E01 and compressed images; `Damaged`
/// for a VHD or VHDX whose structures do not hold; `Refused` for a differencing disk without its parent.
pub fn open_file(device: SharedDevice, path: &Path) -> Result<Container> {
    open_in(device, Some(path), &Chain::of(Some(path)))
}

fn open_in(device: SharedDevice, path: Option<&Path>, chain: &Chain) -> Result<Container> {
    let mut head = [0; 512];
    let head_len = usize::try_from(device.len()).map_or(head.len(), |len| len.min(head.len()));
    let head = head.get_mut(..head_len).unwrap_or_default();
    device.read_at(0, head)?;

    if let Some(error) = foreign::recognise(head) {
        return Err(error);
    }
    if vhdx::is_vhdx(head) {
        return vhdx::open(&device, path, chain);
    }
    if let Some(container) = vhd::open(&device, head, path, chain)? {
        return Ok(container);
    }
    Ok(Container {
        kind: ContainerKind::Raw,
        notes: raw_notes(device.len()),
        disk: device,
        details: Details::Raw,
        mended: false,
        extents: None,
        vhdx: None,
    })
}

fn raw_notes(len: u64) -> Vec<String> {
    match len % 512 {
        0 => Vec::new(),
        rest => vec![format!(
            "The image ends {rest} bytes into a sector: it may have been cut short."
        )],
    }
}

#[cfg(test)]
mod tests;
