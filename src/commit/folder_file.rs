// SPDX-License-Identifier: GPL-2.0-or-later
//! A file of a folder that is written to, once the folder has found and opened it.

use std::fs::File;
use std::io;
#[cfg(unix)]
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::target::TargetFile;
use crate::device::host::forget_cached;
#[cfg(windows)]
use crate::device::windows::positioned::FileExt;
use crate::error::{Error, Result};

/// An open file, and the path that errors name.
#[derive(Debug)]
pub(super) struct FolderFile {
    handle: File,
    path: PathBuf,
}

impl FolderFile {
    /// `handle` is open for reading and writing.
    pub(super) fn new(handle: File, path: PathBuf) -> Self {
        FolderFile { handle, path }
    }

    fn doing(&self, what: &str) -> impl FnOnce(io::Error) -> Error + use<> {
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
        self.handle
            .read_exact_at(buffer, offset)
            .map_err(self.doing("reading"))
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.handle
            .write_all_at(data, offset)
            .map_err(self.doing("writing"))
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
