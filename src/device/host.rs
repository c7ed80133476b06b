// SPDX-License-Identifier: GPL-2.0-or-later
//! The host's side: an image file or a block device, opened so that nobody else changes it meanwhile.
//!
//! ```text
//!            reading                          writing
//! image      shared lock, pread (or a map)    exclusive lock, not in use, pread and pwrite
//! block      shared lock, pread               not in use, O_EXCL, exclusive lock, pread and pwrite
//! ```
//!
//! On a Windows host `windows` opens them, and Windows itself keeps others out.
//!
//! What "in use" means is in `usage`, what the locks keep out in `lock`. A folder is no device; whoever
//! takes a target from a person looks for that first. The kind of image is the container layer's matter:
//! here every file is a run of bytes.

use std::fs::{File, Metadata};
use std::io;
#[cfg(unix)]
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[cfg(unix)]
use super::lock::Locked;
#[cfg(unix)]
use super::mmap::Map;
#[cfg(windows)]
use super::windows::positioned::FileExt;
use super::{Device, SharedDevice, bounds, fixed_length};
#[cfg(unix)]
use super::{block, file};
use crate::error::{Error, Result};

/// From how many bytes on a read goes past the memory map; ours.
#[cfg(unix)]
const LONG_READ: usize = 256 << 10;

/// On Windows an open file is locked by how it was opened.
#[cfg(windows)]
type Locked = File;

/// What a device is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only; others may read too.
    Read,
    /// Reading and writing; nobody else.
    Write,
}

impl Access {
    pub(super) fn verb(self) -> &'static str {
        match self {
            Access::Read => "reading",
            Access::Write => "writing",
        }
    }
}

/// Opens the image file or block device at `path`. Writes nothing.
///
/// `Refused` when another program holds it, when it is mounted or otherwise in use (for writing), or
/// when the file is marked read-only (for writing); `Unsupported` for a folder or anything else that is
/// neither a file nor a block device; `Io`, with a hint where there is one, when the host refuses.
pub fn open(path: &Path, access: Access) -> Result<SharedDevice> {
    #[cfg(windows)]
    return super::windows::open(path, access);
    #[cfg(unix)]
    open_unix(path, access)
}

#[cfg(unix)]
fn open_unix(path: &Path, access: Access) -> Result<SharedDevice> {
    // Looked at before it is opened: opening a named pipe would wait for its other end.
    let metadata = std::fs::metadata(path).map_err(|error| host_error(path, access, error))?;
    let device = if is_block_device(&metadata) {
        block::open(path, access)?
    } else if metadata.is_file() {
        file::open(path, access)?
    } else {
        return Err(not_a_disk(path, &metadata));
    };
    Ok(Arc::new(device))
}

#[cfg(unix)]
fn is_block_device(metadata: &Metadata) -> bool {
    metadata.file_type().is_block_device()
}

/// The error for something at `path` that is neither a file nor a block device.
pub(super) fn not_a_disk(path: &Path, metadata: &Metadata) -> Error {
    let what = if metadata.is_dir() {
        "a folder"
    } else {
        "neither a file nor a block device"
    };
    let next = if cfg!(windows) {
        "give an image file, a drive such as F:, or a disk such as \\\\.\\PhysicalDrive2"
    } else {
        "give an image file, a block device such as /dev/sdc, or the folder where the Windows volume is \
         mounted"
    };
    Error::unsupported(format!("{} is {what}", path.display()), next)
}

/// The host's refusal to open `path`, with the next step where there is one.
#[cfg(unix)]
pub(super) fn host_error(path: &Path, access: Access, error: io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => Some("check the path".to_owned()),
        io::ErrorKind::PermissionDenied => Some(format!(
            "{} needs the right to open it for {}: run as root, or have its owner allow it",
            path.display(),
            access.verb()
        )),
        io::ErrorKind::ReadOnlyFilesystem => Some(
            "it lies on a read-only medium or file system: copy the image to a place that can be written"
                .to_owned(),
        ),
        _ => None,
    };
    Error::Context {
        context: path.display().to_string(),
        hint,
        source: Box::new(Error::io(format!("opening it for {}", access.verb()))(
            error,
        )),
    }
}

/// An open image file or block device.
#[derive(Debug)]
pub(super) struct HostDevice {
    path: PathBuf,
    file: Locked,
    len: AtomicU64,
    sector_size: u32,
    access: Access,
    /// A file's length can change, by us and under us; a block device's cannot.
    resizable: bool,
    flush_failed: AtomicBool,
    #[cfg(unix)]
    map: Option<Map>,
    /// What it stands on, locked as well.
    #[cfg(unix)]
    _beneath: Option<Locked>,
}

impl HostDevice {
    /// A device over an open `file` of `len` bytes. `resizable` for image files: their length is looked
    /// at again before each write.
    pub(super) fn new(
        path: &Path,
        file: Locked,
        len: u64,
        sector_size: u32,
        access: Access,
        resizable: bool,
    ) -> HostDevice {
        HostDevice {
            path: path.to_owned(),
            file,
            len: AtomicU64::new(len),
            sector_size,
            access,
            resizable,
            flush_failed: AtomicBool::new(false),
            #[cfg(unix)]
            map: None,
            #[cfg(unix)]
            _beneath: None,
        }
    }

    /// Reads through a memory map from now on, where the host gives one. For files that nobody can cut.
    #[cfg(unix)]
    pub(super) fn map_for_reading(mut self) -> HostDevice {
        self.map = Map::new(&self.file, self.len());
        self
    }

    /// The same, and this stays locked as long as it is open.
    #[cfg(unix)]
    pub(super) fn standing_on(mut self, beneath: Option<Locked>) -> HostDevice {
        self._beneath = beneath;
        self
    }

    fn check_writable(&self) -> Result<()> {
        if self.access == Access::Write {
            return Ok(());
        }
        Err(Error::refused(
            format!("{} was opened for reading only", self.path.display()),
            "nothing was written; this is a fault in coldfix, please report it",
        ))
    }

    fn doing(&self, what: &str, len: usize, offset: u64) -> String {
        format!(
            "{what} {len} bytes at {offset:#x} of {}",
            self.path.display()
        )
    }

    /// An error when the file has been cut so that it ends before `end`. A write there would silently
    /// make it longer again, with zeros for what is lost.
    fn check_length(&self, end: u64) -> io::Result<()> {
        if self.resizable && self.file.metadata()?.len() < end {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file was made shorter while it was open",
            ));
        }
        Ok(())
    }
}

/// Drops the clean pages that hold these bytes of a file from the host's cache, where the host can.
pub fn forget_cached(file: &File, offset: u64, len: u64) {
    /// Only whole pages are dropped; no host has larger ones.
    const PAGE: u64 = 64 << 10;
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    {
        // Advice: that it was not taken only means that the data is read back from the cache.
        let start = offset
            .checked_rem(PAGE)
            .map_or(0, |into| offset.saturating_sub(into));
        let end = offset.saturating_add(len).checked_next_multiple_of(PAGE);
        let len = end
            .and_then(|end| end.checked_sub(start))
            .and_then(std::num::NonZeroU64::new);
        if len.is_some() {
            let _ = rustix::fs::fadvise(file, start, len, rustix::fs::Advice::DontNeed);
        }
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    {
        let _ = (file, offset, len, PAGE);
    }
}

impl Device for HostDevice {
    fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    fn sector_size(&self) -> u32 {
        self.sector_size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let range = bounds::check(self.path.display(), self.len(), offset, buffer.len())?;
        let len = buffer.len();
        let failed = |error| Error::io(self.doing("reading", len, offset))(error);
        // A long read costs less as a call than as pages that are mapped first.
        #[cfg(unix)]
        if let Some(map) = self.map.as_ref().filter(|_| len < LONG_READ)
            && map.read(offset, buffer)
        {
            return Ok(());
        }
        // A read that ends early tells by itself; only then is it asked why.
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|error| self.check_length(range.end).err().unwrap_or(error))
            .map_err(failed)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.check_writable()?;
        let range = bounds::check(self.path.display(), self.len(), offset, data.len())?;
        self.check_length(range.end)
            .and_then(|()| self.file.write_all_at(data, offset))
            .map_err(|error| Error::io(self.doing("writing", data.len(), offset))(error))
    }

    /// Makes everything written durable, through the disk's own cache.
    ///
    /// Once a flush has failed every later one fails too: the kernel reports a lost write only once and
    /// then forgets it, so a second, successful flush would prove nothing.
    fn flush(&self) -> Result<()> {
        if self.access == Access::Read {
            return Ok(());
        }
        let what = || format!("flushing {}", self.path.display());
        if self.flush_failed.load(Ordering::Acquire) {
            return Err(Error::io(what())(io::Error::other(
                "an earlier flush failed, so what was written may be lost",
            )));
        }
        let synced = match self.resizable {
            // The length too: of a file that was cut, the data alone would not bring it along.
            true => self.file.sync_all(),
            false => self.file.sync_data(),
        };
        synced.map_err(|error| {
            self.flush_failed.store(true, Ordering::Release);
            Error::io(what())(error)
        })
    }

    fn is_resizable(&self) -> bool {
        self.resizable
    }

    fn set_length(&self, len: u64) -> Result<()> {
        self.check_writable()?;
        if !self.resizable {
            return Err(fixed_length(self.len(), len));
        }
        self.file.set_len(len).map_err(|error| {
            let path = self.path.display();
            Error::io(format!("making {path} {len} bytes long"))(error)
        })?;
        self.len.store(len, Ordering::Release);
        Ok(())
    }

    fn forget_cached(&self, offset: u64, len: u64) {
        forget_cached(&self.file, offset, len);
    }
}
