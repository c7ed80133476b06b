// SPDX-License-Identifier: GPL-2.0-or-later
//! A device in memory: tests, and small payloads that have to be taken apart first.

use std::sync::{PoisonError, RwLock};

use super::{Device, bounds, fixed_length};
use crate::error::Result;

/// Bytes in memory that look like a disk.
#[derive(Debug)]
pub struct MemoryDevice {
    bytes: RwLock<Vec<u8>>,
    sector_size: u32,
}

impl MemoryDevice {
    /// A device that holds `bytes`, with sectors of 512 bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        MemoryDevice {
            bytes: RwLock::new(bytes),
            sector_size: 512,
        }
    }

    /// The same device with another logical sector size (bytes).
    #[must_use]
    pub fn with_sector_size(mut self, sector_size: u32) -> Self {
        self.sector_size = sector_size;
        self
    }

    /// A copy of what the device holds now.
    pub fn contents(&self) -> Vec<u8> {
        self.read().clone()
    }

    // A panic elsewhere cannot leave the bytes half-written in a way a disk could not, so a poisoned
    // lock is as good as any.
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<u8>> {
        self.bytes.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Device for MemoryDevice {
    fn len(&self) -> u64 {
        u64::try_from(self.read().len()).unwrap_or(u64::MAX)
    }

    fn sector_size(&self) -> u32 {
        self.sector_size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let bytes = self.read();
        let range = bounds::check_in_memory("read of memory", bytes.len(), offset, buffer.len())?;
        if let Some(source) = bytes.get(range) {
            buffer.copy_from_slice(source);
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        let mut bytes = self.bytes.write().unwrap_or_else(PoisonError::into_inner);
        let range = bounds::check_in_memory("write to memory", bytes.len(), offset, data.len())?;
        if let Some(place) = bytes.get_mut(range) {
            place.copy_from_slice(data);
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn is_resizable(&self) -> bool {
        true
    }

    fn set_length(&self, len: u64) -> Result<()> {
        let mut bytes = self.bytes.write().unwrap_or_else(PoisonError::into_inner);
        let now = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let len = usize::try_from(len).map_err(|_| fixed_length(now, len))?;
        bytes.resize(len, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn reads_back_what_was_written() {
        let device = MemoryDevice::new(vec![0; 1024]).with_sector_size(4096);
        device.write_at(510, b"abcd").unwrap();
        let mut buffer = [0; 6];
        device.read_at(509, &mut buffer).unwrap();
        assert_eq!(&buffer, b"\0abcd\0");
        assert_eq!(device.len(), 1024);
        assert_eq!(device.sector_size(), 4096);
        assert_eq!(&device.contents()[510..514], b"abcd");
    }

    #[test]
    fn the_end_is_exact_and_a_refused_write_changes_nothing() {
        let device = MemoryDevice::new(vec![7; 16]);
        device.read_at(12, &mut [0; 4]).unwrap();
        device.read_at(16, &mut []).unwrap();
        for (offset, len) in [(13, 4), (16, 1), (17, 0), (u64::MAX, 1), (u64::MAX - 1, 4)] {
            let error = device.read_at(offset, &mut vec![0; len]).unwrap_err();
            assert_eq!(error.kind(), Kind::Damaged, "{offset} {len}");
            device.write_at(offset, &vec![1; len]).unwrap_err();
        }
        assert_eq!(device.contents(), vec![7; 16]);
    }

    #[test]
    fn grows_with_zeros_and_can_be_cut() {
        let device = MemoryDevice::new(vec![7; 3]);
        assert!(device.is_resizable());
        device.set_length(5).unwrap();
        assert_eq!(device.contents(), [7, 7, 7, 0, 0]);
        device.set_length(2).unwrap();
        assert_eq!((device.len(), device.contents()), (2, vec![7, 7]));
    }
}
