// SPDX-License-Identifier: GPL-2.0-or-later
//! What is written to: one image or block device, or the files of a mounted folder (`folder`).
//!
//! A mounted folder is more than its files' bytes: it also has names and security descriptors, which its host
//! changes for us, and files that it makes and removes.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use crate::device::{FileCopy, SharedDevice};
use crate::error::{Error, Result};

/// A place whose files can be patched. Tests put a crashing one here.
///
/// The methods with a default are for a mounted folder. Each means the file or folder itself, also where it
/// is a link, and none goes through a link on its way.
pub trait Target: Debug {
    /// Opens the file that a patch names, for reading and writing, locked against other programs until
    /// the returned handle is dropped.
    fn open(&mut self, file: &Path) -> Result<Box<dyn TargetFile>>;

    /// The security descriptor of a file or folder; `None` when there is nothing of this name.
    fn security(&self, file: &Path) -> Result<Option<Vec<u8>>> {
        Err(no_host(file))
    }

    /// Gives a file or folder this security descriptor: after a crash it has the old one or this one.
    fn set_security(&self, file: &Path, _descriptor: &[u8]) -> Result<()> {
        Err(no_host(file))
    }

    /// What tells a file or folder from every other; `None` when there is nothing of this name.
    fn identity(&self, file: &Path) -> Result<Option<FileIdentity>> {
        Err(no_host(file))
    }

    /// Gives a file or folder another name in its folder, never over one that exists. After a crash it has
    /// the old name, the new one or both.
    fn rename(&self, file: &Path, _name: &str) -> Result<()> {
        Err(no_host(file))
    }

    /// Removes this name of a file or folder that is known to have another one, and never its content.
    fn remove_name(&self, file: &Path) -> Result<()> {
        Err(no_host(file))
    }

    /// The plain file of this name, whole; of one that is longer than `longest` bytes at least one byte more than
    /// those. `None` when there is nothing of this name.
    fn copy_of(&self, file: &Path, _longest: usize) -> Result<Option<FileCopy>> {
        Err(no_host(file))
    }

    /// Makes a file, never over one that exists, and makes its content durable. After a crash it may be there in
    /// part.
    fn write_file(&self, file: &Path, _copy: &FileCopy) -> Result<()> {
        Err(no_host(file))
    }

    /// Removes a plain file. After a crash it is there or not.
    fn remove_file(&self, file: &Path) -> Result<()> {
        Err(no_host(file))
    }

    /// Makes durable what the methods above have done to these files.
    fn flush_entries(&self, files: &BTreeSet<PathBuf>) -> Result<()> {
        match files.first() {
            Some(file) => Err(no_host(file)),
            None => Ok(()),
        }
    }
}

/// What tells a file or folder from every other, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    /// The file system it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

/// Only a folder has files with names and permissions.
fn no_host(file: &Path) -> Error {
    Error::refused(
        format!(
            "a name or permissions of {} on a target that is no folder",
            file.display()
        ),
        "nothing was changed; the journal does not belong to this target",
    )
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

    /// An image file grows with a container's blocks, and is cut when that is taken back.
    fn set_length(&self, length: u64) -> Result<()> {
        if self.device.is_resizable() {
            return self.device.set_length(length);
        }
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
