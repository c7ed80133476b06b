// SPDX-License-Identifier: GPL-2.0-or-later
//! The host's side of one file: opened so that no link is followed and no pipe waited for, and read to a limit.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::Path;

use crate::error::{Error, Result};
use crate::volume::buffer;

/// How much of a file is read at a time where it need not be in memory whole; ours.
const PIECE: usize = 256 << 10;

/// The whole content of the file at `path`. An error when it is longer than `limit` bytes, no plain file, or not of one
/// length from beginning to end.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let (file, len) = open_to(path, limit)?;
    let room = usize::try_from(len)
        .map_err(std::io::Error::other)
        .and_then(|len| buffer::with_room(len).map_err(std::io::Error::other));
    let mut content = room.map_err(Error::io(format!(
        "making room for {len} bytes of {}",
        path.display()
    )))?;
    // One byte more tells of a file that grows meanwhile.
    (&file)
        .take(len.saturating_add(1))
        .read_to_end(&mut content)
        .map_err(Error::io(format!("reading {}", path.display())))?;
    match u64::try_from(content.len()) == Ok(len) {
        true => Ok(content),
        false => Err(length_changed(path)),
    }
}

/// Hands the whole content of the file at `path` on, a piece at a time; gives the handle it was read through. Errors as
/// of [`read`].
pub(super) fn pieces(path: &Path, limit: u64, mut receive: impl FnMut(&[u8])) -> Result<File> {
    let (file, len) = open_to(path, limit)?;
    let mut buffer = vec![0; PIECE];
    let mut left = len;
    loop {
        let count = match (&file).read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.map_err(Error::io(format!("reading {}", path.display())))?,
        };
        let piece = buffer.get(..count).unwrap_or_default();
        if piece.is_empty() && left == 0 {
            return Ok(file);
        }
        left = u64::try_from(count)
            .ok()
            .and_then(|count| left.checked_sub(count))
            .filter(|_| !piece.is_empty())
            .ok_or_else(|| length_changed(path))?;
        receive(piece);
    }
}

/// Opens the plain file at `path`, which may have `limit` bytes; its length.
fn open_to(path: &Path, limit: u64) -> Result<(File, u64)> {
    let (file, len) = open(path)?;
    if len > limit {
        let path = path.display().to_string();
        return Err(crate::volume::path::too_long(&path, len, limit));
    }
    Ok((file, len))
}

fn length_changed(path: &Path) -> Error {
    Error::refused(
        format!("{} changed its length while it was read", path.display()),
        "close whatever else uses the folder and run the command again",
    )
}

/// The first `len` bytes of the file at `path`, or all of it where it is shorter.
pub(super) fn read_start(path: &Path, len: usize) -> Result<Vec<u8>> {
    let (file, _) = open(path)?;
    let mut content = Vec::new();
    file.take(u64::try_from(len).unwrap_or(u64::MAX))
        .read_to_end(&mut content)
        .map_err(Error::io(format!("reading {}", path.display())))?;
    Ok(content)
}

/// The bytes of the file at `path` in each of these ranges, shortened at its end.
pub(super) fn read_ranges(path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Vec<u8>>> {
    let (mut file, len) = open(path)?;
    let mut found = Vec::new();
    for range in ranges {
        let len = range.end.min(len).saturating_sub(range.start);
        let mut content = Vec::new();
        file.seek(SeekFrom::Start(range.start))
            .and_then(|_| (&file).take(len).read_to_end(&mut content))
            .map_err(Error::io(format!("reading {}", path.display())))?;
        found.push(content);
    }
    Ok(found)
}

/// Opens the plain file at `path` for reading; its length is in bytes. The walk has looked at it before, but
/// what lies there may have become something else.
fn open(path: &Path) -> Result<(File, u64)> {
    let doing = || format!("opening {}", path.display());
    let file = open_plainly(path).map_err(Error::io(doing()))?;
    let metadata = file.metadata().map_err(Error::io(doing()))?;
    if !metadata.is_file() {
        return Err(Error::unsupported(
            format!("{} is not a plain file", path.display()),
            "check that the path names the file you mean",
        ));
    }
    Ok((file, metadata.len()))
}

#[cfg(unix)]
fn open_plainly(path: &Path) -> std::io::Result<File> {
    use rustix::fs::{Mode, OFlags};

    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

#[cfg(not(unix))]
fn open_plainly(path: &Path) -> std::io::Result<File> {
    File::open(path)
}

/// What [`check_mounted_for_writing`] can be asked about.
pub(super) trait OnFileSystem {
    /// Whether the file system is mounted read-only. `false` where the host cannot be asked.
    fn is_mounted_read_only(&self) -> std::io::Result<bool>;
}

impl OnFileSystem for Path {
    fn is_mounted_read_only(&self) -> std::io::Result<bool> {
        #[cfg(unix)]
        let answer = read_only(&rustix::fs::statvfs(self)?);
        #[cfg(not(unix))]
        let answer = false;
        Ok(answer)
    }
}

impl OnFileSystem for File {
    fn is_mounted_read_only(&self) -> std::io::Result<bool> {
        #[cfg(unix)]
        let answer = read_only(&rustix::fs::fstatvfs(self)?);
        #[cfg(not(unix))]
        let answer = false;
        Ok(answer)
    }
}

#[cfg(unix)]
fn read_only(answer: &rustix::fs::StatVfs) -> bool {
    answer
        .f_flag
        .contains(rustix::fs::StatVfsMountFlags::RDONLY)
}

/// Refuses when the file system of the folder or file is mounted read-only.
pub(super) fn check_mounted_for_writing(place: &(impl OnFileSystem + ?Sized)) -> Result<()> {
    let read_only = place
        .is_mounted_read_only()
        .map_err(Error::io("asking how the folder is mounted"))?;
    if !read_only {
        return Ok(());
    }
    Err(Error::refused(
        "the folder is mounted read-only",
        "unmount it and mount it again for writing (`mount -o rw`). If it was not you who mounted it \
         read-only: ntfs-3g and the kernel do so with a volume that Windows did not leave in order; start \
         this Windows and shut it down fully first",
    ))
}

/// Refuses when something is mounted at the folder `host`, whose place the mount keeps.
#[cfg(unix)]
pub(super) fn check_not_mounted_on(path: &str, folder: &Path, host: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;

    let device = |place: &Path| {
        std::fs::symlink_metadata(place)
            .map(|metadata| metadata.dev())
            .map_err(Error::io(format!("looking at {}", place.display())))
    };
    if device(folder)? == device(host)? {
        return Ok(());
    }
    Err(Error::refused(
        format!("{path} is where another file system is mounted"),
        "unmount it, or give coldfix the folder that it is mounted at",
    ))
}

#[cfg(not(unix))]
pub(super) fn check_not_mounted_on(_: &str, _: &Path, _: &Path) -> Result<()> {
    Ok(())
}

/// Refuses where the host may show another spelling of the name `stored` than the volume has, so that an undo
/// could not give it back: lowntfs-3g with `ignore_case` shows every name in small letters.
#[cfg(target_os = "linux")]
pub(super) fn check_spelling(path: &str, folder: &Path, stored: &str) -> Result<()> {
    let capital = stored.to_uppercase();
    if stored != stored.to_lowercase()
        || stored == capital
        || std::fs::symlink_metadata(folder.join(capital)).is_err()
    {
        return Ok(());
    }
    Err(Error::refused(
        format!("{path} may be spelt otherwise on the volume than {stored}, as it is shown"),
        "mount the volume without `ignore_case`",
    ))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn check_spelling(_: &str, _: &Path, _: &str) -> Result<()> {
    Ok(())
}

/// The short (8.3) name of a file, where ntfs-3g tells of one besides its long name.
#[cfg(target_os = "linux")]
pub(super) fn short_name(host: &Path) -> Option<String> {
    let mut short = [0; 64];
    let len = rustix::fs::lgetxattr(host, "system.ntfs_dos_name", &mut short[..]).ok()?;
    let short = std::str::from_utf8(short.get(..len)?).ok()?;
    let long = host.file_name()?.to_str()?;
    (!short.is_empty() && !short.eq_ignore_ascii_case(long)).then(|| short.to_owned())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn short_name(_: &Path) -> Option<String> {
    None
}
