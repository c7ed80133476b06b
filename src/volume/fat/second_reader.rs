// SPDX-License-Identifier: GPL-2.0-or-later
//! What a reader that is not ours, the crate fatfs, finds in a file.
//!
//! fatfs 0.3 is the last release line (2023); it follows whatever the tables say, for ever around a ring, and
//! panics on cluster numbers below two (its issues 56 and 72). So it is asked only where it comes to the same file as our own
//! reader, whose walk has found the folders and the chain sound; it may read only so much in all; and a panic in it
//! is no answer.

use std::io::{self, Read, Seek, SeekFrom, Write};

use fatfs::{FileSystem, FsOptions};

use crate::device::SharedDevice;
use crate::volume::second_reader::ask;

/// Folders and tables that may be read besides the file: ours.
const BESIDES: u64 = 16 << 20;

/// Whether the file at `path`, its parts separated by `/`, holds `content`. `None` when fatfs does not read it.
pub(super) fn agrees(device: &SharedDevice, path: &str, content: &[u8]) -> Option<bool> {
    ask(|| compare(device, path, content))
}

fn compare(device: &SharedDevice, path: &str, content: &[u8]) -> Option<bool> {
    let len = u64::try_from(content.len()).ok()?;
    let window = Window {
        device: SharedDevice::clone(device),
        position: 0,
        left: len.saturating_add(BESIDES),
    };
    let file_system = FileSystem::new(window, FsOptions::new()).ok()?;
    let mut found = Vec::new();
    let file = file_system.root_dir().open_file(path).ok()?;
    file.take(len.saturating_add(1))
        .read_to_end(&mut found)
        .ok()?;
    Some(found == content)
}

/// The device as fatfs wants it. Nothing is written.
struct Window {
    device: SharedDevice,
    position: u64,
    /// How many bytes may still be read; a read counts for at least a few.
    left: u64,
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = self.device.len().saturating_sub(self.position);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let len = buffer.len().min(room);
        let part = buffer.get_mut(..len).unwrap_or_default();
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        self.left = self
            .left
            .checked_sub(len.max(8))
            .ok_or_else(|| io::Error::other("it reads too much"))?;
        self.device
            .read_at(self.position, part)
            .map_err(io::Error::other)?;
        self.position = self.position.saturating_add(len);
        Ok(part.len())
    }
}

impl Write for Window {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.device.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or_else(|| io::Error::other("a place before the start"))?;
        Ok(self.position)
    }
}
