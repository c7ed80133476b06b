// SPDX-License-Identifier: GPL-2.0-or-later
//! A mounted folder as what is written to: its files' bytes, names and security descriptors, and files as a whole.
//!
//! ```text
//! root  -> O_PATH handle                     may be reached through links
//!  part -> handle, O_NOFOLLOW | O_DIRECTORY  a link on the way: refused
//!   last -> what is meant: opened, or named relative to the handle of its folder
//! ```
//!
//! A journal may be a forgery, and what lies in the folder may have been planted there: neither leads out
//! of it. Descriptors are extended attributes, and Linux has no call that takes such a handle and a name; so
//! `/proc/self/fd/HANDLE/NAME` stands for the two.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat, unlinkat};
use rustix::io::Errno;

use super::folder_file::FolderFile;
use super::target::{FileIdentity, Target, TargetFile};
use crate::device::FileCopy;
use crate::device::attribute::{self, Security};
use crate::error::{Error, Result, ResultExt};

/// Enough to walk on from, without the right to read.
#[cfg(any(target_os = "linux", target_os = "android"))]
const WALK: OFlags = OFlags::PATH;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const WALK: OFlags = OFlags::RDONLY;

/// What of a file's mode is kept: not what kind of file it is.
const PERMISSIONS: u32 = 0o777;

/// The files of a mounted folder.
#[derive(Debug)]
pub struct FolderTarget {
    root: PathBuf,
    /// The folder walked to last: most files that follow lie in the same.
    last: Mutex<Option<Walked>>,
}

/// A folder that was walked to.
#[derive(Debug)]
struct Walked {
    /// Relative to the root.
    path: PathBuf,
    handle: Arc<OwnedFd>,
    /// In which attribute its files have their descriptors, once one of them has been asked.
    attribute: Option<&'static str>,
}

/// A file or folder: the handle of the folder it is in, and its name there.
struct Place {
    folder: Arc<OwnedFd>,
    name: OsString,
}

impl Place {
    /// A path for calls that take no handle.
    fn path(&self) -> PathBuf {
        let mut path = PathBuf::from(format!("/proc/self/fd/{}", self.folder.as_raw_fd()));
        path.push(&self.name);
        path
    }
}

impl FolderTarget {
    /// `root` is the folder. Patches and operations name files relative to it, or absolute inside it.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        FolderTarget {
            root: root.into(),
            last: Mutex::default(),
        }
    }

    /// The path from the root, without `.` and `..`.
    fn relative(&self, file: &Path) -> Result<PathBuf> {
        let inside = if file.is_absolute() {
            match file.strip_prefix(&self.root) {
                Ok(inside) => Some(inside),
                Err(_) => {
                    let root = self
                        .root
                        .canonicalize()
                        .map_err(Error::io(format!("opening {}", self.root.display())))?;
                    file.strip_prefix(root).ok()
                }
            }
        } else {
            Some(file)
        };
        let parts = |path: &Path| -> Option<PathBuf> {
            path.components()
                .filter(|part| !matches!(part, Component::CurDir))
                .map(|part| match part {
                    Component::Normal(name) => Some(name),
                    _ => None,
                })
                .collect()
        };
        inside.and_then(parts).ok_or_else(|| {
            Error::refused(
                format!(
                    "{} lies outside the folder {}",
                    file.display(),
                    self.root.display()
                ),
                "name the folder that the operation was done in",
            )
        })
    }

    /// The place of a file; the root itself is `.` in the root.
    fn place(&self, file: &Path) -> Result<Place> {
        let relative = self.relative(file)?;
        let folder = self.walk(relative.parent().unwrap_or(Path::new("")))?;
        let name = relative.file_name().unwrap_or(OsStr::new("."));
        Ok(Place {
            folder,
            name: name.to_owned(),
        })
    }

    /// As [`FolderTarget::place`]; `None` when the way does not exist.
    fn find(&self, file: &Path) -> Result<Option<Place>> {
        match self.place(file) {
            Ok(place) => Ok(Some(place)),
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The handle of a folder below the root.
    fn walk(&self, relative: &Path) -> Result<Arc<OwnedFd>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(walked) = &*last
            && walked.path == relative
        {
            return Ok(Arc::clone(&walked.handle));
        }
        let flags = WALK | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut path = self.root.clone();
        let mut handle = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(|error| Error::io(format!("opening {}", path.display()))(error.into()))
            .context(|| "the target folder itself")?;
        for part in relative {
            path.push(part);
            handle = openat(&handle, part, flags | OFlags::NOFOLLOW, Mode::empty())
                .map_err(|error| not_opened(&handle, part, &path, error))?;
        }
        let handle = Arc::new(handle);
        *last = Some(Walked {
            path: relative.to_owned(),
            handle: Arc::clone(&handle),
            attribute: None,
        });
        Ok(handle)
    }

    /// A folder's names have changed: what was walked to may go by another path now.
    fn forget_walk(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// In which attribute the files of the folder walked to last have their descriptors, where known.
    fn attribute(&self) -> Option<&'static str> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().and_then(|walked| walked.attribute)
    }

    /// The descriptor of a file that is there; `None` where the file system offers none.
    fn offered(&self, file: &Path, place: &Place) -> Result<Option<Vec<u8>>> {
        let reading = Error::io(format!("reading the permissions of {}", file.display()));
        match attribute::read(&place.path()).map_err(reading)? {
            Security::NotOffered => Ok(None),
            Security::Found { .. } | Security::Missing => self.ask(file, place),
        }
    }

    /// Asks for a descriptor and remembers how it was given.
    fn ask(&self, file: &Path, place: &Place) -> Result<Option<Vec<u8>>> {
        let reading = || Error::io(format!("reading the permissions of {}", file.display()));
        match attribute::read(&place.path()).map_err(reading())? {
            Security::Found {
                attribute,
                descriptor,
            } => {
                let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(walked) = &mut *last {
                    walked.attribute = Some(attribute);
                }
                Ok(Some(descriptor))
            }
            Security::NotOffered => Err(Error::refused(
                format!(
                    "the file system offers no Windows permissions for {}",
                    file.display()
                ),
                "mount the volume with ntfs-3g, as it was when the operation was done",
            )),
            // Without /proc nothing is found, which must not look as if it were not there.
            Security::Missing if !Path::new("/proc/self/fd").exists() => {
                Err(reading()(io::Error::other("/proc is not mounted")))
            }
            Security::Missing => Ok(None),
        }
    }
}

/// Why something in a folder could not be opened: a link, most of all.
fn not_opened(folder: impl AsFd, name: &OsStr, path: &Path, error: Errno) -> Error {
    let status = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    if status.is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Symlink) {
        return Error::refused(
            format!("{} is a link, which is not followed", path.display()),
            "nothing was changed there; name the folder that the operation was done in",
        );
    }
    Error::io(format!("opening {}", path.display()))(error.into())
}

impl Target for FolderTarget {
    fn open(&mut self, file: &Path) -> Result<Box<dyn TargetFile>> {
        let path = self.root.join(file);
        let opening = || format!("opening {} for writing", path.display());
        let Place { folder, name } = self.place(file)?;
        // A pipe is not waited for, a link not followed.
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let handle = openat(&folder, name.as_os_str(), flags, Mode::empty())
            .map_err(|error| not_opened(&folder, &name, &path, error))?;
        let handle = File::from(handle);
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
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => {
                return Err(Error::io(format!("locking {}", path.display()))(error));
            }
        }
        Ok(Box::new(FolderFile::new(handle, path)))
    }

    fn security(&self, file: &Path) -> Result<Option<Vec<u8>>> {
        match self.find(file)? {
            Some(place) => self.ask(file, &place),
            None => Ok(None),
        }
    }

    fn set_security(&self, file: &Path, descriptor: &[u8]) -> Result<()> {
        let place = self.place(file)?;
        if self.attribute().is_none() {
            self.ask(file, &place)?;
        }
        let writing = || Error::io(format!("writing the permissions of {}", file.display()));
        let missing = || writing()(io::ErrorKind::NotFound.into());
        let attribute = self.attribute().ok_or_else(missing)?;
        set_attribute(&place.path(), attribute, descriptor).map_err(writing())
    }

    fn identity(&self, file: &Path) -> Result<Option<FileIdentity>> {
        let Some(Place { folder, name }) = self.find(file)? else {
            return Ok(None);
        };
        match statat(&folder, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) => Ok(Some(FileIdentity {
                device: widen(status.st_dev),
                inode: widen(status.st_ino),
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(Error::io(format!("looking at {}", file.display()))(
                error.into(),
            )),
        }
    }

    fn rename(&self, file: &Path, name: &str) -> Result<()> {
        let Place { folder, name: old } = self.place(file)?;
        let new = OsStr::new(name);
        let outcome = rename_no_replace(&folder, &old, new);
        self.forget_walk();
        outcome.map_err(|error| Error::io(format!("renaming {}", file.display()))(error.into()))
    }

    fn remove_name(&self, file: &Path) -> Result<()> {
        let Place { folder, name } = self.place(file)?;
        let removing = || Error::io(format!("removing the name {}", file.display()));
        let status = statat(&folder, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| removing()(error.into()))?;
        let flags = match FileType::from_raw_mode(status.st_mode) {
            // Not of a folder with content, unless the host finds that it has another name.
            FileType::Directory => AtFlags::REMOVEDIR,
            _ if status.st_nlink > 1 => AtFlags::empty(),
            _ => {
                return Err(Error::refused(
                    format!("{} is the only name of its file", file.display()),
                    "check the volume with chkdsk before anything else is written to it",
                ));
            }
        };
        let outcome = unlinkat(&folder, name.as_os_str(), flags);
        self.forget_walk();
        outcome.map_err(|error| removing()(error.into()))
    }

    fn copy_of(&self, file: &Path, longest: usize) -> Result<Option<FileCopy>> {
        let Some(place) = self.find(file)? else {
            return Ok(None);
        };
        let path = self.root.join(file);
        let reading = || Error::io(format!("reading {}", path.display()));
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let handle = match openat(&place.folder, place.name.as_os_str(), flags, Mode::empty()) {
            Ok(handle) => File::from(handle),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(not_opened(&place.folder, &place.name, &path, error)),
        };
        let metadata = handle.metadata().map_err(reading())?;
        if !metadata.is_file() {
            return Err(Error::refused(
                format!("{} is not a plain file", path.display()),
                "nothing was changed there; name the folder that the operation was done in",
            ));
        }
        let mut content = Vec::new();
        let most = u64::try_from(longest).unwrap_or(u64::MAX).saturating_add(1);
        handle
            .take(most)
            .read_to_end(&mut content)
            .map_err(reading())?;
        Ok(Some(FileCopy {
            content,
            descriptor: self.offered(file, &place)?.map(Arc::from),
            mode: std::os::unix::fs::MetadataExt::mode(&metadata) & PERMISSIONS,
        }))
    }

    fn write_file(&self, file: &Path, copy: &FileCopy) -> Result<()> {
        let place = self.place(file)?;
        let making = || Error::io(format!("making {}", self.root.join(file).display()));
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let handle = openat(&place.folder, place.name.as_os_str(), flags, mode)
            .map_err(|error| making()(error.into()))?;
        let mut handle = File::from(handle);
        handle.write_all(&copy.content).map_err(making())?;
        // Before the descriptor, which a host may derive from these bits. One that keeps none may say so.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(copy.mode & PERMISSIONS);
        match handle.set_permissions(mode) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
            outcome => outcome.map_err(making())?,
        }
        if let Some(descriptor) = &copy.descriptor {
            self.set_security(file, descriptor)?;
            if self.ask(file, &place)?.as_deref() != Some(&descriptor[..]) {
                return Err(Error::refused(
                    format!(
                        "the host keeps other permissions for {} than it was given",
                        file.display()
                    ),
                    "give coldfix the disk itself, or its image, instead of the mounted folder",
                ));
            }
        }
        handle.sync_all().map_err(making())
    }

    fn remove_file(&self, file: &Path) -> Result<()> {
        let Place { folder, name } = self.place(file)?;
        let removing = || Error::io(format!("removing {}", file.display()));
        let status = statat(&folder, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| removing()(error.into()))?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(Error::refused(
                format!("{} is not a plain file", file.display()),
                "nothing was changed there; name the folder that the operation was done in",
            ));
        }
        unlinkat(&folder, name.as_os_str(), AtFlags::empty())
            .map_err(|error| removing()(error.into()))
    }

    /// `fsync` of every folder concerned, and before it once `syncfs`. ntfs-3g flushes the whole volume at an
    /// `fsync` of any file or folder, and is not told of a `syncfs`; ntfs3 keeps descriptors in `$Secure`,
    /// which the `fsync` of another file does not reach, and a `syncfs` does.
    fn flush_entries(&self, files: &BTreeSet<PathBuf>) -> Result<()> {
        let mut folders = BTreeSet::new();
        for file in files {
            let relative = self.relative(file)?;
            folders.insert(relative.parent().unwrap_or(Path::new("")).to_owned());
        }
        let mut synced = BTreeSet::new();
        for folder in folders {
            let flushing = || Error::io(format!("flushing {}", self.root.join(&folder).display()));
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let handle = openat(&self.walk(&folder)?, ".", flags, Mode::empty())
                .map_err(|error| flushing()(error.into()))?;
            let status = rustix::fs::fstat(&handle).map_err(|error| flushing()(error.into()))?;
            if synced.insert(widen(status.st_dev)) {
                sync_file_system(&handle).map_err(|error| flushing()(error.into()))?;
            }
            rustix::fs::fsync(&handle).map_err(|error| flushing()(error.into()))?;
        }
        Ok(())
    }
}

/// Field types of `stat` differ between hosts.
fn widen(number: impl TryInto<u64>) -> u64 {
    number.try_into().unwrap_or(u64::MAX)
}

#[cfg(target_os = "linux")]
fn sync_file_system(handle: &OwnedFd) -> Result<(), Errno> {
    rustix::fs::syncfs(handle)
}

#[cfg(not(target_os = "linux"))]
fn sync_file_system(_handle: &OwnedFd) -> Result<(), Errno> {
    Ok(())
}

/// Renames, and never over what exists. FUSE drivers as old as ntfs-3g's do not know how to promise that;
/// there we look first, and nobody else is at work on a volume under repair.
fn rename_no_replace(folder: &OwnedFd, old: &OsStr, new: &OsStr) -> Result<(), Errno> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(folder, old, folder, new, flags) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            other => return other,
        }
    }
    match statat(folder, new, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => rustix::fs::renameat(folder, old, folder, new),
        Ok(_) => Err(Errno::EXIST),
        Err(error) => Err(error),
    }
}

/// Sets an extended attribute that is known to be there.
#[cfg(target_os = "linux")]
fn set_attribute(path: &Path, attribute: &str, value: &[u8]) -> io::Result<()> {
    let flags = rustix::fs::XattrFlags::empty();
    Ok(rustix::fs::lsetxattr(path, attribute, value, flags)?)
}

/// Never called: other hosts offer none.
#[cfg(not(target_os = "linux"))]
fn set_attribute(_: &Path, _: &str, _: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
