// SPDX-License-Identifier: GPL-2.0-or-later
//! A volume or disk of a Windows host as a device.
//!
//! ```text
//! reading   open
//! writing   a volume   open -> lock -> leave bounds to the driver -> ... -> flush -> dismount -> unlock -> close
//!           a disk     find its volumes, open and lock each -> open the disk -> ... -> dismount, unlock, close each
//! ```
//!
//! The lock is Windows' word that nobody has a file open on the volume, and keeps everybody out until the handle is
//! closed, by a crash too. A locked volume is taken as dismounted; without the lock Windows refuses writes to it. The
//! dismount at the end makes the next access read the volume anew instead of trusting what was in memory. The running
//! Windows' own volume, its disk, and volumes that span disks are refused before anything is locked.
//! Source: Microsoft's pages on CreateFileW, WriteFile, FSCTL_LOCK_VOLUME, FSCTL_DISMOUNT_VOLUME.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::control;
use super::holders;
use super::name::Named;
use super::sectors::{Buffer, pieces, window};
use super::system::{Handle, System, explain, is_not_offered};
use crate::device::{Access, Device, bounds};
use crate::error::{Error, Result, ResultExt};

/// How often a lock is tried, half a second apart: indexers and virus scanners open files for moments.
const ATTEMPTS: u32 = 10;

/// A volume that is locked for us until this is dropped.
#[derive(Debug)]
struct LockedVolume<H: Handle> {
    handle: H,
}

impl<H: Handle> Drop for LockedVolume<H> {
    fn drop(&mut self) {
        // Where the file system refuses, unlocking alone has to do; what was written has been flushed.
        let _ = self
            .handle
            .control(control::FSCTL_DISMOUNT_VOLUME, &[], &mut []);
        let _ = self
            .handle
            .control(control::FSCTL_UNLOCK_VOLUME, &[], &mut []);
    }
}

#[derive(Debug)]
enum Opened<H: Handle> {
    /// For reading; or a disk, whose volumes are locked apart.
    Plain(H),
    /// A volume for writing.
    Locked(LockedVolume<H>),
}

/// An open volume or disk.
#[derive(Debug)]
pub(super) struct RawDevice<H: Handle> {
    name: String,
    // Dropped in this order: the disk is closed before its volumes are let go.
    opened: Opened<H>,
    /// Of a disk: held, not asked.
    _volumes: Vec<LockedVolume<H>>,
    access: Access,
    len: u64,
    sector: u32,
    /// One caller at a time: its memory is shared, and a partial sector is read and written as one step.
    buffer: Mutex<Buffer>,
    flush_failed: AtomicBool,
}

/// Opens what `named` means. `Refused` where writing would not be safe, with the reason and the way out.
pub(super) fn open<S: System>(
    system: &S,
    named: &Named,
    access: Access,
) -> Result<RawDevice<S::Handle>> {
    let name = named.device();
    let mut volumes = Vec::new();
    let opened = match (named, access) {
        (_, Access::Read) => Opened::Plain(open_handle(system, name, access)?),
        (Named::Volume { letter, .. }, Access::Write) => {
            check_not_system(system, name, *letter)?;
            let handle = open_handle(system, name, access)?;
            check_writable(name, &handle)?;
            if control::disks(&handle).len() > 1 {
                return Err(spans(name));
            }
            let locked = lock(system, name, *letter, handle)?;
            allow_whole(name, &locked.handle)?;
            Opened::Locked(locked)
        }
        (Named::Disk { number, .. }, Access::Write) => {
            let handle = open_handle(system, name, access)?;
            check_writable(name, &handle)?;
            volumes = lock_volumes(system, name, *number)?;
            Opened::Plain(handle)
        }
    };
    let mut device = RawDevice {
        name: name.to_owned(),
        opened,
        _volumes: volumes,
        access,
        len: 0,
        sector: 4096,
        buffer: Mutex::new(Buffer::new()),
        flush_failed: AtomicBool::new(false),
    };
    let handle = device.handle();
    let sector = control::sector_size(handle, |size| device.can_read(size));
    let len =
        control::length(handle).map_err(|error| explain(name, "asking for its length", error))?;
    if len == 0 {
        return Err(Error::unsupported(
            format!("Windows gives {name} a length of 0 bytes"),
            "check that a medium is in the drive; or name the whole disk as \\\\.\\PhysicalDriveN",
        ));
    }
    // A volume's end lies between sectors only by a driver's mistake; what no sector holds cannot be reached.
    device.len = len.saturating_sub(len.checked_rem(u64::from(sector)).unwrap_or(0));
    device.sector = sector;
    Ok(device)
}

fn open_handle<S: System>(system: &S, name: &str, access: Access) -> Result<S::Handle> {
    system
        .open(name, access)
        .map_err(|error| explain(name, &format!("opening it for {}", access.verb()), error))
}

/// Refuses the volume that the running Windows is on.
fn check_not_system<S: System>(system: &S, name: &str, letter: Option<char>) -> Result<()> {
    let Some(windows) = system_letter(system)? else {
        return Ok(());
    };
    let same = letter == Some(windows)
        || system.volume_of(windows).is_ok_and(|volume| {
            let volume = volume.trim_end_matches('\\');
            name.eq_ignore_ascii_case(volume)
                || letter
                    .and_then(|letter| system.volume_of(letter).ok())
                    .is_some_and(|own| own.trim_end_matches('\\').eq_ignore_ascii_case(volume))
        });
    match same {
        true => Err(running(name)),
        false => Ok(()),
    }
}

fn running(name: &str) -> Error {
    Error::refused(
        format!("{name} holds the Windows that is running"),
        "start this machine from another medium (Windows PE or Linux), or attach its disk to another machine, and \
         run coldfix there",
    )
}

fn spans(name: &str) -> Error {
    Error::refused(
        format!("{name} spans several disks, or lies beside a volume that does"),
        "coldfix writes to volumes on one disk only: copy the volume into an image and repair that",
    )
}

fn system_letter<S: System>(system: &S) -> Result<Option<char>> {
    let folder = system
        .windows_folder()
        .map_err(Error::io("asking where the running Windows is"))?;
    let letter = folder.chars().next().filter(char::is_ascii_alphabetic);
    Ok(letter.map(|letter| letter.to_ascii_uppercase()))
}

/// Refuses what Windows calls write-protected; opening it works all the same, only the first write would fail.
fn check_writable(name: &str, handle: &impl Handle) -> Result<()> {
    match handle.control(control::IOCTL_DISK_IS_WRITABLE, &[], &mut []) {
        Err(error) if error.raw_os_error() == Some(19) => Err(Error::refused(
            format!("{name} is write-protected"),
            "take the protection off (`attributes disk clear readonly` and `attributes volume clear readonly` in \
             diskpart, or the switch on its case), or repair a copy",
        )),
        // Any other answer says nothing about the medium.
        _ => Ok(()),
    }
}

/// Locks every volume that lies on a disk; if one refuses, those locked before are let go.
fn lock_volumes<S: System>(
    system: &S,
    name: &str,
    number: u32,
) -> Result<Vec<LockedVolume<S::Handle>>> {
    let windows = match system_letter(system)? {
        Some(letter) => system.volume_of(letter).ok(),
        None => None,
    };
    let windows = windows
        .as_deref()
        .map(|volume| volume.trim_end_matches('\\'));
    let volumes = system
        .volumes()
        .map_err(|error| explain(name, "listing the volumes of this machine", error))?;
    let mut concerned = Vec::new();
    for volume in volumes {
        let volume = volume.trim_end_matches('\\');
        // A drive without a medium, or one that lies on no disk. If it is on this one after all, Windows
        // refuses to write to it, because it is not locked.
        let Ok(handle) = system.open(volume, Access::Read) else {
            continue;
        };
        let disks = control::disks(&handle);
        if !disks.contains(&number) {
            continue;
        }
        if windows.is_some_and(|windows| windows.eq_ignore_ascii_case(volume)) {
            return Err(running(name));
        }
        if disks.len() > 1 {
            return Err(spans(name));
        }
        concerned.push(volume.to_owned());
    }
    let mut locked = Vec::new();
    for volume in concerned {
        let handle = open_handle(system, &volume, Access::Write)?;
        let volume =
            lock(system, &volume, None, handle).context(|| format!("{name}, a volume on it"))?;
        locked.push(volume);
    }
    Ok(locked)
}

/// Locks an open volume, trying for five seconds.
fn lock<S: System>(
    system: &S,
    name: &str,
    letter: Option<char>,
    handle: S::Handle,
) -> Result<LockedVolume<S::Handle>> {
    let mut attempt = 1;
    let error = loop {
        match handle.control(control::FSCTL_LOCK_VOLUME, &[], &mut []) {
            Ok(_) => return Ok(LockedVolume { handle }),
            Err(error) if error.raw_os_error() == Some(5) && attempt < ATTEMPTS => {
                attempt = attempt.saturating_add(1);
                system.wait();
            }
            Err(error) => break error,
        }
    };
    if error.raw_os_error() != Some(5) {
        return Err(explain(name, "locking the volume", error));
    }
    if letter.is_some_and(|letter| system.has_page_file(letter)) {
        return Err(Error::refused(
            format!("{name} cannot be locked: this Windows keeps a page file on it"),
            "move the page file to another volume (System Properties, Advanced, Performance, Virtual memory) and \
             restart, or attach the disk to another machine",
        ));
    }
    Err(holders::refusal(system, name, &handle))
}

/// Lets a volume's handle reach its last sectors, where NTFS keeps the copy of its boot sector.
fn allow_whole(name: &str, handle: &impl Handle) -> Result<()> {
    match handle.control(control::FSCTL_ALLOW_EXTENDED_DASD_IO, &[], &mut []) {
        Ok(_) => Ok(()),
        // No file system that would check bounds; the driver does.
        Err(error) if is_not_offered(&error) => Ok(()),
        Err(error) => Err(explain(name, "opening its last sectors", error)),
    }
}

impl<H: Handle> RawDevice<H> {
    fn handle(&self) -> &H {
        match &self.opened {
            Opened::Plain(handle) => handle,
            Opened::Locked(locked) => &locked.handle,
        }
    }

    /// True when the device gives its first `size` bytes.
    fn can_read(&self, size: u32) -> bool {
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        let sector = usize::try_from(size).ok().and_then(|len| buffer.first(len));
        sector.is_some_and(|sector| self.handle().read_sectors(0, sector).is_ok())
    }

    fn failed(&self, doing: &str, len: usize, offset: u64, error: io::Error) -> Error {
        let doing = format!("{doing} {len} bytes at {offset:#x}");
        explain(&self.name, &doing, error)
    }
}

/// What no device of less than 2^64 bytes reaches.
fn too_far() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidInput)
}

impl<H: Handle> Device for RawDevice<H> {
    fn len(&self) -> u64 {
        self.len
    }

    fn sector_size(&self) -> u32 {
        self.sector
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        bounds::check(&self.name, self.len, offset, buffer.len())?;
        let total = buffer.len();
        let mut memory = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, range) in pieces(offset, total) {
            let len = range.len();
            let read = window(at, len, self.sector).and_then(|window| {
                let sectors = memory.first(window.len)?;
                Some(self.handle().read_sectors(window.start, sectors).map(|()| {
                    let wanted = crate::bytes::slice(sectors, window.into, len)?;
                    buffer.get_mut(range)?.copy_from_slice(wanted);
                    Some(())
                }))
            });
            match read {
                Some(Ok(Some(()))) => {}
                Some(Err(error)) => return Err(self.failed("reading", len, at, error)),
                None | Some(Ok(None)) => return Err(self.failed("reading", len, at, too_far())),
            }
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        if self.access == Access::Read {
            return Err(Error::refused(
                format!("{} was opened for reading only", self.name),
                "nothing was written; this is a fault in coldfix, please report it",
            ));
        }
        bounds::check(&self.name, self.len, offset, data.len())?;
        let mut memory = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, range) in pieces(offset, data.len()) {
            let len = range.len();
            let fail = |error| self.failed("writing", len, at, error);
            let window = window(at, len, self.sector).ok_or_else(|| fail(too_far()))?;
            let sectors = memory.first(window.len).ok_or_else(|| fail(too_far()))?;
            if window.len != len {
                self.handle()
                    .read_sectors(window.start, sectors)
                    .map_err(|error| self.failed("reading", window.len, window.start, error))?;
            }
            let fits = data
                .get(range)
                .is_some_and(|data| crate::bytes::put(sectors, window.into, data));
            if !fits {
                return Err(fail(too_far()));
            }
            self.handle()
                .write_sectors(window.start, sectors)
                .map_err(fail)?;
        }
        Ok(())
    }

    /// Makes everything written durable. Once that has failed it fails ever after: a second, successful flush
    /// would prove nothing about what the first one lost.
    fn flush(&self) -> Result<()> {
        if self.access == Access::Read {
            return Ok(());
        }
        if self.flush_failed.load(Ordering::Acquire) {
            let error =
                io::Error::other("an earlier flush failed, so what was written may be lost");
            return Err(explain(&self.name, "flushing", error));
        }
        self.handle().flush().map_err(|error| {
            self.flush_failed.store(true, Ordering::Release);
            explain(&self.name, "flushing", error)
        })
    }
}

#[cfg(test)]
mod tests;
