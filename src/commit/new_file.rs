// SPDX-License-Identifier: GPL-2.0-or-later
//! New disk images: a file that appears whole and durable, or not at all.
//!
//! ```text
//! NAME.coldfix-part -> parts, length, fsync -> whatever else is to be done -> NAME, unless it is taken -> fsync of the folder
//! ```
//!
//! What no part names stays a hole. Until somebody keeps the new file it has its own name not yet, and goes away again
//! with its [`NewFile`]: a repair that is refused, declined or cut off leaves no disk that could be taken for a repaired
//! one. What a killed run has left under the other name is removed by the next that makes the same file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::error::{Error, Result};

/// Takes part of the content: offset and bytes.
pub type Sink<'s> = dyn FnMut(u64, &[u8]) -> Result<()> + 's;

/// What the name of a file ends in that is not finished.
const PART: &str = ".coldfix-part";

/// A file that was made, and is removed unless it is kept.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    place: TempPath,
}

impl NewFile {
    /// Makes the file that is to have the name `path`. `fill` hands over its content and returns its length in bytes.
    ///
    /// # Errors
    /// `Refused` when there is something at `path`, or another run makes it; those of `fill`; `Io`.
    pub fn make(path: &Path, fill: impl FnOnce(&mut Sink<'_>) -> Result<u64>) -> Result<NewFile> {
        let doing = || format!("making {}", path.display());
        let (mut file, made) = begin(path)?;
        let len = fill(&mut |offset, bytes| {
            file.seek(SeekFrom::Start(offset))
                .and_then(|_| file.write_all(bytes))
                .map_err(Error::io(doing()))
        })?;
        file.set_len(len)
            .and_then(|()| file.sync_all())
            .map_err(Error::io(doing()))?;
        Ok(made)
    }

    /// Makes a file that shares the clusters of the file at `source`, where the file system can; `None` where not.
    ///
    /// # Errors
    /// As [`NewFile::make`].
    pub fn reflink(path: &Path, source: &Path) -> Result<Option<NewFile>> {
        let (file, made) = begin(path)?;
        let original =
            File::open(source).map_err(Error::io(format!("opening {}", source.display())))?;
        if !clone_into(&file, &original) {
            return Ok(None);
        }
        file.sync_all()
            .map_err(Error::io(format!("making {}", path.display())))?;
        Ok(Some(made))
    }

    /// Where it is as yet.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// It stays, and has its own name from now on, durably.
    ///
    /// # Errors
    /// `Refused` when that is taken by now, `Io`; the file is gone then.
    pub fn keep(self) -> Result<()> {
        let NewFile { path, place } = self;
        let doing = || format!("making {}", path.display());
        place.persist_noclobber(&path).map_err(|error| {
            match error.error.kind() == std::io::ErrorKind::AlreadyExists {
                true => taken(&path),
                false => Error::io(doing())(error.error),
            }
        })?;
        #[cfg(unix)]
        File::open(folder_of(&path))
            .and_then(|folder| folder.sync_all())
            .map_err(Error::io(doing()))?;
        Ok(())
    }
}

#[cfg(unix)]
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A new file beside `path`, at which nothing must be yet. It is locked while it is open.
fn begin(path: &Path) -> Result<(File, NewFile)> {
    if path.symlink_metadata().is_ok() {
        return Err(taken(path));
    }
    let mut name = path.to_owned().into_os_string();
    name.push(PART);
    let place = PathBuf::from(name);
    remove_remains(&place)?;
    let making = || Error::io(format!("making {}", place.display()));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&place).map_err(making())?;
    let made = NewFile {
        path: path.to_owned(),
        place: TempPath::try_from_path(&place).map_err(making())?,
    };
    // Where there are no locks, nobody looks for one.
    let _ = file.try_lock();
    Ok((file, made))
}

/// Removes what a killed run has left, unless the run lives.
fn remove_remains(place: &Path) -> Result<()> {
    let Ok(metadata) = place.symlink_metadata() else {
        return Ok(());
    };
    if !metadata.is_file() {
        return Err(taken(place));
    }
    let removing = || Error::io(format!("removing {}", place.display()));
    let remains = File::open(place).map_err(removing())?;
    if let Err(TryLockError::WouldBlock) = remains.try_lock() {
        return Err(Error::refused(
            format!("another run is making {}", place.display()),
            "wait until it has ended, or name another file",
        ));
    }
    drop(remains);
    std::fs::remove_file(place).map_err(removing())
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
        // What a killed run has left is in nobody's way, what a living one makes is.
        let left = folder.path().join("new.coldfix-part");
        std::fs::write(&left, "half a disk").unwrap();
        let made = make().unwrap();
        assert!(!path.exists() && made.place() == left);
        let living = File::open(&left).unwrap();
        living.try_lock().unwrap();
        assert_eq!(make().unwrap_err().kind(), crate::error::Kind::Refused);
        drop(living);
        made.keep().unwrap();
        assert!(!left.exists());
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
        // A name that was taken meanwhile stays with who took it.
        let late = NewFile::make(&other, |_| Ok(1)).unwrap();
        std::fs::write(&other, "somebody's").unwrap();
        assert_eq!(late.keep().unwrap_err().kind(), crate::error::Kind::Refused);
        assert_eq!(std::fs::read(&other).unwrap(), b"somebody's");
        std::fs::remove_file(&other).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        // Where clusters can be shared the copy is the same; where not nothing is left.
        match NewFile::reflink(&other, &path).unwrap() {
            Some(made) => assert_eq!(std::fs::read(made.place()).unwrap(), content),
            None => assert!(!other.exists()),
        }
    }
}
