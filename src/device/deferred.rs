// SPDX-License-Identifier: GPL-2.0-or-later
//! Changes that are read at once, and reach the device below together with the first write.
//!
//! ```text
//! read             the changes, else the device below
//! write            first all changes go to the device below, then what is written does; from there on nothing is held back
//! ```
//!
//! A file system's journal, replayed: who only reads sees what is to be, and the device stays as it is; who writes cannot forget
//! that it has to be replayed. The device below is itself an overlay wherever something is written.

use std::sync::{Mutex, PoisonError};

use super::overlay::Overlay;
use super::{Device, SharedDevice};
use crate::error::Result;

/// A device with changes that are held back. See the module.
#[derive(Debug)]
pub(crate) struct Deferred {
    /// What is held back.
    changes: Overlay,
    /// One thread at a time lets go of it.
    settling: Mutex<()>,
}

impl Deferred {
    /// `changes` over their device.
    pub(crate) fn new(changes: Overlay) -> Deferred {
        Deferred {
            changes,
            settling: Mutex::new(()),
        }
    }

    /// Writes what is held back to the device below. Nothing is done the second time.
    fn settle(&self) -> Result<()> {
        let _alone = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        self.changes.write_through()
    }

    fn below(&self) -> &SharedDevice {
        self.changes.base()
    }
}

impl Device for Deferred {
    fn len(&self) -> u64 {
        self.below().len()
    }

    fn sector_size(&self) -> u32 {
        self.below().sector_size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.changes.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.settle()?;
        self.below().write_at(offset, data)
    }

    fn flush(&self) -> Result<()> {
        self.below().flush()
    }

    fn forget_cached(&self, offset: u64, len: u64) {
        self.below().forget_cached(offset, len);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::device::memory::MemoryDevice;

    #[test]
    fn what_is_held_back_is_read_and_written_with_the_first_write() {
        let below = Arc::new(MemoryDevice::new(vec![7; 4096]));
        let changes = Overlay::new(Arc::clone(&below) as SharedDevice);
        changes.write_at(600, b"changed").unwrap();
        let device = Deferred::new(changes);
        let read = |device: &dyn Device, offset: u64| {
            let mut bytes = [0; 7];
            device.read_at(offset, &mut bytes).unwrap();
            bytes
        };
        assert_eq!(&read(&device, 600), b"changed");
        assert_eq!(read(below.as_ref(), 600), [7; 7]);
        device.write_at(603, b"XX").unwrap();
        assert_eq!(&read(&device, 600), b"chaXXed");
        assert_eq!(&read(below.as_ref(), 600), b"chaXXed");
        device.write_at(0, b"once").unwrap();
        assert_eq!(&read(below.as_ref(), 600), b"chaXXed");
        // Past the end nothing is written, and nothing is lost.
        assert!(device.write_at(4095, b"ab").is_err());
    }
}
