// SPDX-License-Identifier: GPL-2.0-or-later
//! A folder of a Windows host as what is written to: the bytes of its files, nothing else.
//!
//! Names and security descriptors of a Windows volume are changed on the raw volume, which the drive letter names
//! and which is locked for it; here both are refused. As on other hosts nothing leads out of the folder: every part
//! of the way below the root is looked at, and a link or another reparse point is refused. Nobody keeps a link from
//! being put there between the look and the opening; who can do so already writes to the volume under repair.

use std::fs::OpenOptions;
use std::os::windows::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use super::folder_file::FolderFile;
use super::target::{FileIdentity, Target, TargetFile};
use crate::device::FileCopy;
use crate::error::{Error, Result};

/// FILE_ATTRIBUTE_REPARSE_POINT: links, junctions, and files that only look as if they were there.
const REPARSE_POINT: u32 = 0x400;

/// The files of a folder.
#[derive(Debug)]
pub struct FolderTarget {
    root: PathBuf,
}

impl FolderTarget {
    /// `root` is the folder. Patches name files relative to it, or absolute inside it.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        FolderTarget { root: root.into() }
    }

    /// Where a file lies, when no part of the way to it leads elsewhere.
    fn place(&self, file: &Path) -> Result<PathBuf> {
        let outside = || {
            Error::refused(
                format!(
                    "{} lies outside the folder {}",
                    file.display(),
                    self.root.display()
                ),
                "name the folder that the operation was done in",
            )
        };
        let opening = |path: &Path| Error::io(format!("opening {}", path.display()));
        let relative = if file.is_absolute() {
            match file.strip_prefix(&self.root) {
                Ok(inside) => inside.to_owned(),
                Err(_) => {
                    let root = self.root.canonicalize().map_err(opening(&self.root))?;
                    file.strip_prefix(root).map_err(|_| outside())?.to_owned()
                }
            }
        } else {
            file.to_owned()
        };
        let mut path = self.root.clone();
        for part in relative.components() {
            match part {
                Component::CurDir => continue,
                // A colon would name another stream of the file.
                Component::Normal(name) if !name.to_string_lossy().contains(':') => path.push(name),
                _ => return Err(outside()),
            }
            let metadata = std::fs::symlink_metadata(&path).map_err(opening(&path))?;
            if metadata.file_attributes() & REPARSE_POINT != 0 {
                return Err(Error::refused(
                    format!("{} is a link, which is not followed", path.display()),
                    "nothing was changed there; name the folder that the operation was done in",
                ));
            }
        }
        Ok(path)
    }
}

/// Names and permissions are for the raw volume.
fn raw_only(what: &str, file: &Path) -> Error {
    Error::refused(
        format!("{what} of {} in a folder on Windows", file.display()),
        "name the drive letter (F:) instead of the folder: coldfix then changes the volume itself",
    )
}

impl Target for FolderTarget {
    fn open(&mut self, file: &Path) -> Result<Box<dyn TargetFile>> {
        let path = self.place(file)?;
        // Nobody else may have it open: a hive that is loaded is refused here.
        let handle = OpenOptions::new()
            .read(true)
            .write(true)
            .share_mode(0)
            .open(&path)
            .map_err(|error| match error.raw_os_error() {
                Some(32) => Error::refused(
                    format!("{} is open in another program", path.display()),
                    "unload the hive (`reg unload`) or end that program, then run again",
                ),
                _ => Error::io(format!("opening {} for writing", path.display()))(error),
            })?;
        let metadata = handle
            .metadata()
            .map_err(Error::io(format!("looking at {}", path.display())))?;
        if !metadata.is_file() {
            return Err(Error::unsupported(
                format!("{} is not a file", path.display()),
                "name the folder that holds the Windows folder",
            ));
        }
        Ok(Box::new(FolderFile::new(handle, path)))
    }

    fn security(&self, file: &Path) -> Result<Option<Vec<u8>>> {
        Err(raw_only("the permissions", file))
    }

    fn set_security(&self, file: &Path, _descriptor: &[u8]) -> Result<()> {
        Err(raw_only("the permissions", file))
    }

    fn identity(&self, file: &Path) -> Result<Option<FileIdentity>> {
        Err(raw_only("the name", file))
    }

    fn rename(&self, file: &Path, _name: &str) -> Result<()> {
        Err(raw_only("the name", file))
    }

    fn remove_name(&self, file: &Path) -> Result<()> {
        Err(raw_only("the name", file))
    }

    fn copy_of(&self, file: &Path, _longest: usize) -> Result<Option<FileCopy>> {
        Err(raw_only("making or removing", file))
    }

    fn write_file(&self, file: &Path, _copy: &FileCopy) -> Result<()> {
        Err(raw_only("making", file))
    }

    fn remove_file(&self, file: &Path) -> Result<()> {
        Err(raw_only("removing", file))
    }
}
