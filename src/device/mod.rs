// SPDX-License-Identifier: GPL-2.0-or-later
//! The narrow waist: everything from the host file up to a volume is a [`Device`].

pub mod attribute;
#[cfg(unix)]
mod block;
pub(crate) mod bounds;
mod change;
pub(crate) mod deferred;
pub mod fault;
#[cfg(unix)]
mod file;
pub mod host;
#[cfg(unix)]
mod lock;
pub mod memory;
#[cfg(unix)]
mod mmap;
pub mod overlay;
pub mod slice;
#[cfg(unix)]
mod usage;
pub(crate) mod windows;

use std::sync::Arc;

pub use change::{Change, ChangeSet, FileCopy, HostOperation, Patch};
pub use host::{Access, open};

use crate::error::{Error, Result};

/// A flat run of bytes that can be read and, if it allows, written.
///
/// An image file, a block device, a partition window, a container's payload, a memory buffer and a
/// copy-on-write overlay all look like this. Methods take `&self`: a device is shared by the layers that
/// stand on it and guards its own state.
pub trait Device: Send + Sync + std::fmt::Debug {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// True when there is not a single byte.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Logical sector size in bytes: 512 or 4096. For a plain file it is 512 until a partition table or
    /// a volume says otherwise.
    fn sector_size(&self) -> u32;

    /// Fills `buffer` from `offset` (bytes). Reading past the end is an error, never a short read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// Writes `data` at `offset` (bytes). Never changes the length.
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()>;

    /// Makes everything written so far durable.
    fn flush(&self) -> Result<()>;

    /// True when [`Device::set_length`] can work: image files and what lies in memory; never a disk.
    fn is_resizable(&self) -> bool {
        false
    }

    /// Lengthens the device with zeros, or cuts it. `Refused` where its length is fixed.
    fn set_length(&self, len: u64) -> Result<()> {
        Err(fixed_length(self.len(), len))
    }

    /// Drops what the host keeps of these bytes in memory, where it can, so that the next read asks the disk.
    fn forget_cached(&self, _offset: u64, _len: u64) {}
}

/// The refusal to make a device of `len` bytes `wanted` bytes long.
pub(crate) fn fixed_length(len: u64, wanted: u64) -> Error {
    Error::refused(
        format!("the length of this disk ({len} bytes) cannot be changed (to {wanted})"),
        "copy the image to a file and give coldfix that",
    )
}

/// A device that several layers hold.
pub type SharedDevice = Arc<dyn Device>;
