// SPDX-License-Identifier: GPL-2.0-or-later
//! What is written to: one image or block device, or the files of a mounted folder.
//!
//! Not handled: creating, renaming or deleting files; security descriptors.

use std::fmt::Debug;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::device::SharedDevice;
use crate::device::host::forget_cached;
use crate::error::{Error, Result};

/// A place whose files can be patched. Tests put a crashing one here.
pub trait Target: Debug {
    /// Opens the file that a patch names, for reading and writing, locked against other programs until
    /// the returned handle is dropped.
    fn open(&mut self, file: &Path) -> Result<Box<dyn TargetFile>>;
}

/// One open file of a target. Offsets and lengths are bytes.
pub trait TargetFile: Debug {
    /// The present length.
    fn length(&self) -> Result<u64>;
    /// Fills `buffer` from `offset`; reading past the end is an error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;
    /// Writes `data` at `offset`, inside the present length.
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()>;
    /// Cuts the file or lengthens it with zeros.
    fn set_length(&self, length: u64) -> Result<()>;
    /// Makes everything so far durable, the length included.
    fn flush(&self) -> Result<()>;
    /// Asks the host to forget its cached copy of these bytes, so that the next read comes from the medium.
    /// Called after a flush; may do nothing.
    fn forget_cached(&self, _offset: u64, _len: u64) {}
}

/// An image file or block device, opened for writing (and locked) by the device layer.
#[derive(Debug)]
pub struct DeviceTarget {
    device: SharedDevice,
    path: PathBuf,
}

impl DeviceTarget {
    /// `device` is the host file or block device itself, not a window into it; `path` is where it lies.
    pub fn new(device: SharedDevice, path: impl Into<PathBuf>) -> Self {
        DeviceTarget {
            device,
            path: path.into(),
        }
    }
}

impl Target for DeviceTarget {
    /// There is one file only, so its name in the patch does not matter: an image may have been renamed
    /// since the journal was written.
    fn open(&mut self, _file: &Path) -> Result<Box<dyn TargetFile>> {
        Ok(Box::new(DeviceFile {
            device: SharedDevice::clone(&self.device),
            path: self.path.clone(),
        }))
    }
}

#[derive(Debug)]
struct DeviceFile {
    device: SharedDevice,
    path: PathBuf,
}

impl TargetFile for DeviceFile {
    fn length(&self) -> Result<u64> {
        Ok(self.device.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.device.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.device.write_at(offset, data)
    }

    fn set_length(&self, length: u64) -> Result<()> {
        Err(Error::refused(
            format!(
                "{}: a disk's length cannot be changed (to {length} bytes)",
                self.path.display()
            ),
            "nothing was changed; the journal or patch does not belong to this target",
        ))
    }

    fn flush(&self) -> Result<()> {
        self.device.flush()
    }

    fn forget_cached(&self, offset: u64, len: u64) {
        self.device.forget_cached(offset, len);
    }
}

/// The files of a mounted folder.
#[derive(Debug)]
pub struct FolderTarget {
    root: PathBuf,
}

impl FolderTarget {
    /// `root` is the folder. Patches name files relative to it, or absolute inside it.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        FolderTarget { root: root.into() }
    }

    /// The file's real place. The journal, or a link in the folder, must not lead out of it.
    fn resolve(&self, file: &Path) -> Result<PathBuf> {
        let named = self.root.join(file);
        let real = named
            .canonicalize()
            .map_err(Error::io(format!("opening {}", named.display())))?;
        let root = self
            .root
            .canonicalize()
            .map_err(Error::io(format!("opening {}", self.root.display())))?;
        if real.starts_with(&root) {
            return Ok(real);
        }
        Err(Error::refused(
            format!(
                "{} lies outside the folder {}",
                named.display(),
                self.root.display()
            ),
            "name the folder that the operation was done in",
        ))
    }
}

impl Target for FolderTarget {
    fn open(&mut self, file: &Path) -> Result<Box<dyn TargetFile>> {
        let path = self.resolve(file)?;
        let opening = || format!("opening {} for writing", path.display());
        let handle = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(Error::io(opening()))?;
        if !handle.metadata().map_err(Error::io(opening()))?.is_file() {
            return Err(Error::unsupported(
                format!("{} is not a file", path.display()),
                "name the folder that holds the Windows folder",
            ));
        }
        match handle.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::refused(
                    format!("{} is locked by another program", path.display()),
                    "let the other program end, then run again",
                ));
            }
            // A file system without locks: the lock is a courtesy to other runs, the journal's lock stays.
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => {
                return Err(Error::io(format!("locking {}", path.display()))(error));
            }
        }
        Ok(Box::new(FolderFile { handle, path }))
    }
}

#[derive(Debug)]
struct FolderFile {
    handle: File,
    path: PathBuf,
}

impl FolderFile {
    fn doing(&self, what: &str) -> impl FnOnce(std::io::Error) -> Error + use<> {
        Error::io(format!("{what} {}", self.path.display()))
    }
}

impl TargetFile for FolderFile {
    fn length(&self) -> Result<u64> {
        let metadata = self
            .handle
            .metadata()
            .map_err(self.doing("looking at the length of"))?;
        Ok(metadata.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        positioned::read_exact_at(&self.handle, buffer, offset).map_err(self.doing("reading"))
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        positioned::write_all_at(&self.handle, data, offset).map_err(self.doing("writing"))
    }

    fn set_length(&self, length: u64) -> Result<()> {
        self.handle
            .set_len(length)
            .map_err(self.doing("changing the length of"))
    }

    fn flush(&self) -> Result<()> {
        self.handle.sync_all().map_err(self.doing("flushing"))
    }

    fn forget_cached(&self, offset: u64, len: u64) {
        forget_cached(&self.handle, offset, len);
    }
}

#[cfg(unix)]
mod positioned {
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::FileExt;

    pub(super) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        file.read_exact_at(buffer, offset)
    }

    pub(super) fn write_all_at(file: &File, data: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(data, offset)
    }
}

#[cfg(not(unix))]
mod positioned {
    use std::fs::File;
    use std::io::{self, Read, Seek, SeekFrom, Write};

    // The handle has one owner and one thread, so that its position is free to move.
    pub(super) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut file = file;
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }

    pub(super) fn write_all_at(file: &File, data: &[u8], offset: u64) -> io::Result<()> {
        let mut file = file;
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(data)
    }
}
