// SPDX-License-Identifier: GPL-2.0-or-later
//! Containers: what a disk image file wraps around the virtual disk. Raw images and fixed VHDs are opened;
//! every other kind is recognised and refused by its name.
//!
//! ```text
//! raw         |disk...........................................|
//! fixed VHD   |disk...................................|footer |
//! ```
//!
//! The kind is found by content, never by the file's extension. What has no container's signature is raw,
//! whatever it holds: the partition layer says whether there is a disk in it.

mod children;
mod foreign;
mod vhd;

pub use children::check_no_children;

use crate::device::SharedDevice;
use crate::device::slice::Slice;
use crate::error::{Error, Result};

/// The kind of container that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum ContainerKind {
    /// No container: the file is the disk.
    #[serde(rename = "raw")]
    Raw,
    /// A VHD whose disk lies in the file as it is, with a footer behind it.
    #[serde(rename = "vhd-fixed")]
    FixedVhd,
}

impl ContainerKind {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            ContainerKind::Raw => "raw",
            ContainerKind::FixedVhd => "vhd-fixed",
        }
    }
}

/// An opened container.
#[derive(Clone, Debug)]
pub struct Container {
    /// What kind it is.
    pub kind: ContainerKind,
    /// The virtual disk in it. Reads and writes go through to the device it was opened on.
    pub disk: SharedDevice,
    /// What is odd about it, but no reason to stop: whole sentences for a person.
    pub notes: Vec<String>,
}

/// Opens the container on `device`. Reads only its first and last sectors.
///
/// `Unsupported`, naming the format and the way out, for a dynamic or differencing VHD, VHDX, QCOW2, VMDK,
/// VDI, E01 and compressed images; `Damaged` for a VHD whose footer is cut, wrong or missing.
pub fn open(device: SharedDevice) -> Result<Container> {
    let mut head = [0; vhd::FOOTER_LEN];
    let head_len = usize::try_from(device.len()).map_or(head.len(), |len| len.min(head.len()));
    let head = head.get_mut(..head_len).unwrap_or_default();
    device.read_at(0, head)?;

    if let Some(error) = foreign::recognise(head) {
        return Err(error);
    }
    match vhd::find(&device, head)? {
        None => Ok(Container {
            kind: ContainerKind::Raw,
            notes: raw_notes(device.len()),
            disk: device,
        }),
        Some(footer) => {
            let notes = footer.notes(device.len());
            let disk = Slice::new(device, 0, footer.current_size).map_err(|error| {
                // `find` has compared the sizes; this stays in case it ever does not.
                Error::context(error, "fixed VHD")
            })?;
            Ok(Container {
                kind: ContainerKind::FixedVhd,
                disk: std::sync::Arc::new(disk),
                notes,
            })
        }
    }
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
