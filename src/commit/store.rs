// SPDX-License-Identifier: GPL-2.0-or-later
//! Where journals are kept: the handful of file system steps that the journal folder is made of.
//!
//! They are apart from [`super::JournalDir`] so that crash tests can stop between any two of them, and
//! forget whatever has not been synced. Names are single file names, never paths.

use std::any::Any;
use std::fmt::Debug;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

#[cfg(unix)]
mod owner;

/// A place for journal files.
pub trait Store: Debug + Send + Sync {
    /// The folder, for messages and for the path that a report names.
    fn place(&self) -> &Path;

    /// Why the folder is not to be believed: who it belongs to, when that is somebody who has no business there.
    fn stranger(&self) -> io::Result<Option<String>> {
        Ok(None)
    }

    /// Makes the folder durable if it does not exist, and keeps every other run out until the returned
    /// value is dropped; `WouldBlock` when another run is in.
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>>;

    /// The names of the files; none when the folder does not exist.
    fn names(&self) -> io::Result<Vec<String>>;

    /// A file's content, and its length in bytes.
    fn open(&self, name: &str) -> io::Result<(Box<dyn Read>, u64)>;

    /// Makes a new file, readable by its owner only, and syncs its content (not its name). The content
    /// is what `write` writes. After an error the file may be there, with any content.
    fn create(
        &self,
        name: &str,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()>;

    /// Makes a new empty file; durable after [`Store::sync_folder`].
    fn create_empty(&self, name: &str) -> io::Result<()>;

    /// Renames in one step; durable after [`Store::sync_folder`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names durable.
    fn sync_folder(&self) -> io::Result<()>;
}

/// The file that is locked. It stays: removing it would let two runs lock two different files.
const LOCK: &str = "lock";

/// A folder of the host.
#[derive(Debug)]
pub struct HostFolder {
    path: PathBuf,
}

impl HostFolder {
    /// The folder at `path`, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        HostFolder { path: path.into() }
    }

    fn new_file(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600); // journals hold pieces of hives
        options.open(self.path.join(name))
    }
}

impl Store for HostFolder {
    fn place(&self) -> &Path {
        &self.path
    }

    #[cfg(unix)]
    fn stranger(&self) -> io::Result<Option<String>> {
        owner::stranger(&self.path)
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        let lock = self.path.join(LOCK);
        create_folder(&self.path)?;
        if !lock.exists() {
            // Somebody else made the folder, or a run that was cut off before it was durable. The lock
            // file is made after this, so where it is, this has been done.
            sync_folder(parent_of(&self.path))?;
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(lock)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let folder = match std::fs::read_dir(&self.path) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in folder {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<(Box<dyn Read>, u64)> {
        let path = self.path.join(name);
        let metadata = std::fs::metadata(&path)?;
        if !metadata.is_file() {
            // A pipe under this name would let the open wait for ever.
            return Err(io::Error::other("not a file"));
        }
        let file = File::open(path)?;
        Ok((Box::new(io::BufReader::new(file)), metadata.len()))
    }

    fn create(
        &self,
        name: &str,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut buffered = BufWriter::with_capacity(1 << 16, self.new_file(name)?);
        write(&mut buffered)?;
        let file = buffered
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.sync_all()
    }

    fn create_empty(&self, name: &str) -> io::Result<()> {
        self.new_file(name).map(drop)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        sync_folder(&self.path)
    }
}

/// Makes `path` and the folders above it that are missing, for their owner only, each durable in the
/// one above it.
fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = parent_of(path);
    create_folder(parent)?;
    #[cfg_attr(not(unix), allow(unused_mut))]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        // Another run was quicker; its folder is as good.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        other => other?,
    }
    sync_folder(parent)
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Windows has no handle of a folder to flush; NTFS logs names in the order they were made.
#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}
