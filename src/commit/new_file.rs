// SPDX-License-Identifier: GPL-2.0-or-later
//! New disk images: a file that appears whole and durable, or not at all.
//!
//! ```text
//! temporary file beside it -> parts, length, fsync -> name, unless it is taken -> fsync of the folder
//! ```
//!
//! What no part names stays a hole. Until somebody keeps the new file it goes away again with its [`NewFile`]: a
//! repair that is refused or declined leaves no half-useful disk behind.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Takes part of the content: offset and bytes.
pub type Sink<'s> = dyn FnMut(u64, &[u8]) -> Result<()> + 's;

/// A file that was made, and is removed unless it is kept.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    kept: bool,
}

impl NewFile {
    /// Makes the file at `path`. `fill` hands over its content and returns its length in bytes.
    ///
    /// # Errors
    /// `Refused` when there is something at `path`; those of `fill`; `Io`.
    pub fn make(path: &Path, fill: impl FnOnce(&mut Sink<'_>) -> Result<u64>) -> Result<NewFile> {
        let doing = || format!("making {}", path.display());
        let (folder, temporary) = temporary(path)?;
        let mut file = temporary.as_file();
        let len = fill(&mut |offset, bytes| {
            file.seek(SeekFrom::Start(offset))
                .and_then(|_| file.write_all(bytes))
                .map_err(Error::io(doing()))
        })?;
        file.set_len(len).map_err(Error::io(doing()))?;
        finish(&folder, temporary, path)
    }

    /// Makes a file that shares the clusters of the file at `source`, where the file system can; `None` where not.
    ///
    /// # Errors
    /// As [`NewFile::make`].
    pub fn reflink(path: &Path, source: &Path) -> Result<Option<NewFile>> {
        let (folder, temporary) = temporary(path)?;
        let original =
            File::open(source).map_err(Error::io(format!("opening {}", source.display())))?;
        match clone_into(temporary.as_file(), &original) {
            true => finish(&folder, temporary, path).map(Some),
            false => Ok(None),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// It stays.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            // It holds nothing that is not elsewhere; that it cannot be removed is no reason for an error.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A temporary file in the folder of `path`, at which nothing must be yet.
fn temporary(path: &Path) -> Result<(PathBuf, tempfile::NamedTempFile)> {
    if path.symlink_metadata().is_ok() {
        return Err(taken(path));
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let temporary = tempfile::NamedTempFile::new_in(&folder)
        .map_err(Error::io(format!("making a file in {}", folder.display())))?;
    Ok((folder, temporary))
}

/// Gives the temporary file its name, durably.
fn finish(folder: &Path, temporary: tempfile::NamedTempFile, path: &Path) -> Result<NewFile> {
    let doing = || format!("making {}", path.display());
    temporary.as_file().sync_all().map_err(Error::io(doing()))?;
    temporary.persist_noclobber(path).map_err(|error| {
        match error.error.kind() == std::io::ErrorKind::AlreadyExists {
            true => taken(path),
            false => Error::io(doing())(error.error),
        }
    })?;
    #[cfg(unix)]
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(Error::io(doing()))?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(NewFile {
        path: path.to_owned(),
        kept: false,
    })
}

fn taken(path: &Path) -> Error {
    Error::refused(
        format!("{} is there already", path.display()),
        "name a file that does not exist; nothing is overwritten",
    )
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn clone_into(new: &File, original: &File) -> bool {
    rustix::fs::ioctl_ficlone(new, original).is_ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn clone_into(_new: &File, _original: &File) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_stays_when_kept_and_overwrites_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        let make = || {
            NewFile::make(&path, |sink| {
                sink(1000, b"later")?;
                sink(0, b"first")?;
                Ok(2000)
            })
        };
        drop(make().unwrap());
        assert!(!path.exists());
        make().unwrap().keep();
        let content = std::fs::read(&path).unwrap();
        assert_eq!(
            (content.len(), &content[..5], &content[1000..1005]),
            (2000, &b"first"[..], &b"later"[..])
        );
        let error = make().unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Refused);
        assert_eq!(std::fs::read(&path).unwrap(), content);
        let other = folder.path().join("other");
        let failed = NewFile::make(&other, |_| Err(taken(&other)));
        assert!(failed.is_err() && !other.exists());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        // Where clusters can be shared the copy is the same; where not nothing is left.
        match NewFile::reflink(&other, &path).unwrap() {
            Some(made) => assert_eq!(std::fs::read(made.path()).unwrap(), content),
            None => assert!(!other.exists()),
        }
    }
}
