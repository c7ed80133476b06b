// SPDX-License-Identifier: GPL-2.0-or-later
//! A window: part of a device seen as a device of its own. A partition, or a container's payload.
//!
//! ```text
//! base   |.......|###################|.......|
//!                offset              offset + len
//! slice          |0               len|
//! ```

use super::{Device, SharedDevice, bounds};
use crate::error::{Error, Result};

/// Bytes `offset..offset + len` of a device.
#[derive(Clone, Debug)]
pub struct Slice {
    base: SharedDevice,
    offset: u64,
    len: u64,
    sector_size: u32,
}

impl Slice {
    /// The `len` bytes from `offset` of `base`, with the sector size of `base`.
    ///
    /// `Damaged` when they do not lie wholly inside it.
    pub fn new(base: SharedDevice, offset: u64, len: u64) -> Result<Slice> {
        match offset.checked_add(len) {
            Some(end) if end <= base.len() => Ok(Slice {
                sector_size: base.sector_size(),
                base,
                offset,
                len,
            }),
            _ => Err(Error::damaged(
                "part of a disk",
                offset,
                format!("{len} bytes there"),
                format!("a disk of {} bytes", base.len()),
            )),
        }
    }

    /// The same window with another logical sector size (bytes): a partition table knows it better than
    /// an image file does.
    #[must_use]
    pub fn with_sector_size(mut self, sector_size: u32) -> Self {
        self.sector_size = sector_size;
        self
    }

    /// The place in the base of `offset` in here, when `len` bytes from there are inside.
    fn place(&self, what: &str, offset: u64, len: usize) -> Result<u64> {
        bounds::check(what, self.len, offset, len)?;
        self.offset.checked_add(offset).ok_or_else(|| {
            Error::damaged(
                what,
                offset,
                "an offset below 2^64",
                "a window that passes it",
            )
        })
    }
}

impl Device for Slice {
    fn len(&self) -> u64 {
        self.len
    }

    fn sector_size(&self) -> u32 {
        self.sector_size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let place = self.place("read of a partition", offset, buffer.len())?;
        self.base.read_at(place, buffer)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        let place = self.place("write to a partition", offset, data.len())?;
        self.base.write_at(place, data)
    }

    fn flush(&self) -> Result<()> {
        self.base.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::device::memory::MemoryDevice;

    #[test]
    fn stays_inside_its_window() {
        let base = Arc::new(MemoryDevice::new((0..100).collect()).with_sector_size(4096));
        let slice = Slice::new(base.clone(), 10, 20).unwrap();
        assert_eq!((slice.len(), slice.sector_size()), (20, 4096));
        let mut buffer = [0; 2];
        slice.read_at(18, &mut buffer).unwrap();
        assert_eq!(buffer, [28, 29]);
        slice.read_at(19, &mut buffer).unwrap_err();
        slice.read_at(u64::MAX, &mut buffer).unwrap_err();
        slice.write_at(19, &[1, 1]).unwrap_err();
        slice.write_at(19, &[200]).unwrap();
        slice.read_at(20, &mut []).unwrap();
        let mut expected: Vec<u8> = (0..100).collect();
        expected[29] = 200;
        assert_eq!(base.contents(), expected);
        assert_eq!(slice.with_sector_size(512).sector_size(), 512);
    }

    #[test]
    fn a_window_past_the_end_is_refused() {
        let base: SharedDevice = Arc::new(MemoryDevice::new(vec![0; 100]));
        Slice::new(base.clone(), 0, 100).unwrap();
        Slice::new(base.clone(), 100, 0).unwrap();
        for (offset, len) in [(0, 101), (100, 1), (101, 0), (u64::MAX, 2), (1, u64::MAX)] {
            Slice::new(base.clone(), offset, len).unwrap_err();
        }
    }
}
