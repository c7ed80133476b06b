// SPDX-License-Identifier: GPL-2.0-or-later
//! Advisory locks: what keeps two programs from the same disk.
//!
//! Two kinds matter, because programs look for one or the other:
//! - `flock`, on the open file: other coldfix runs; on block devices also udev and the partitioning tools;
//! - `fcntl`, on bytes of the file: qemu (a running machine, qemu-img, qemu-nbd), and ntfs-3g when it starts
//!   (it loses its own lock when it goes to the background; its mount is found by other means).
//!
//! For writing both are taken, the second on the whole file. On network file systems the first is made of
//! the second, and the two would keep each other out; there only `flock` is taken, which then does both jobs.
//! An `fcntl` lock belongs to the process and goes when any descriptor of the file is closed; the `flock`
//! stays until the device is dropped.
//!
//! For reading only a shared `flock` is taken; an `fcntl` one would keep qemu from even looking at the image.
//! Whether some other program writes the file is read from the kernel's list instead:
//!
//! ```text
//! /proc/locks     1: OFDLCK ADVISORY  READ -1 fe:00:10045302 100 101
//!                 id  kind             type pid device:inode  first and last byte (or EOF)
//! ```
//!
//! qemu locks byte 101 of what it has open for writing, always with a read lock (block/file-posix.c). The
//! list shows another device number than `stat` on btrfs, where a writer is not seen this way.

use std::fs::{File, TryLockError};
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::host::Access;
use crate::error::{Error, Result};

/// A file with its locks; they end when it is dropped.
#[derive(Debug)]
pub(super) struct Locked(File);

impl Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for Locked {
    /// Unlocks, instead of leaving that to the close: a program that another thread is just starting shares
    /// the open file until it runs, and with it the lock.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Locks `file` as `access` demands: exclusively, or shared with other readers.
///
/// `patience` is how often to try again, 50 ms apart: udev holds a block device for a moment whenever
/// somebody closes it. `Refused` when another program has it, and for writing also where the file system
/// knows no locks.
pub(super) fn take(file: File, path: &Path, access: Access, patience: u32) -> Result<Locked> {
    let file = Locked(file);
    let mut attempt = 0;
    let result = loop {
        let result = match access {
            Access::Read => file.try_lock_shared(),
            Access::Write => file.try_lock(),
        };
        match result {
            Err(TryLockError::WouldBlock) if attempt < patience => {
                attempt = attempt.saturating_add(1);
                std::thread::sleep(Duration::from_millis(50));
            }
            other => break other,
        }
    };
    match result {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(held(path, access)),
        // Reading harms nobody, and a lock is only asked for.
        Err(TryLockError::Error(_)) if access == Access::Read => {}
        Err(TryLockError::Error(error)) => {
            return Err(Error::refused(
                format!(
                    "{} cannot be locked ({error}), so another program could write it at the same time",
                    path.display()
                ),
                "copy the image to a local file system and repair the copy",
            ));
        }
    }
    match access {
        // Without the list there is nothing to go by, as on a file system without locks.
        Access::Read => {
            let (Ok(list), Ok(metadata)) =
                (std::fs::read_to_string("/proc/locks"), file.metadata())
            else {
                return Ok(file);
            };
            if has_writer(&list, metadata.dev(), metadata.ino()) {
                return Err(held(path, access));
            }
            Ok(file)
        }
        Access::Write if on_network(&file) => Ok(file),
        Access::Write => {
            match rustix::fs::fcntl_lock(&*file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::AGAIN | Errno::ACCESS) => Err(held(path, access)),
                // The first lock stands; a file system without this kind has no program that uses it.
                Ok(()) | Err(_) => Ok(file),
            }
        }
    }
}

/// True when the kernel's list of locks shows a program that writes the file.
fn has_writer(list: &str, device: u64, inode: u64) -> bool {
    list.lines()
        .filter_map(parse_lock)
        .any(|lock| lock.device == device && lock.inode == inode && lock.is_of_writer())
}

/// An `fcntl` lock in the kernel's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listed {
    device: u64,
    inode: u64,
    exclusive: bool,
    first: u64,
    last: u64,
}

impl Listed {
    fn is_of_writer(&self) -> bool {
        // qemu's permissions lie in bytes 100 to 199; a reader's lock on the whole file covers them too.
        self.exclusive || (100..=101).contains(&self.first) && (101..200).contains(&self.last)
    }
}

/// One line; `None` for other kinds of locks, and for a program that still waits for its lock.
fn parse_lock(line: &str) -> Option<Listed> {
    let mut fields = line.split_whitespace().skip(1);
    if !matches!(fields.next()?, "POSIX" | "OFDLCK") {
        return None;
    }
    let exclusive = fields.nth(1)? == "WRITE";
    let mut place = fields.nth(1)?.split(':');
    let mut number = |radix| u32::from_str_radix(place.next()?, radix).ok();
    let device = rustix::fs::makedev(number(16)?, number(16)?);
    let inode = place.next()?.parse().ok()?;
    let first = fields.next()?.parse().ok()?;
    let last = match fields.next()? {
        "EOF" => u64::MAX,
        last => last.parse().ok()?,
    };
    Some(Listed {
        device,
        inode,
        exclusive,
        first,
        last,
    })
}

fn held(path: &Path, access: Access) -> Error {
    let how = match access {
        Access::Read => "another program is writing it",
        Access::Write => "another program has it open",
    };
    Error::refused(
        format!("{} is locked: {how}", path.display()),
        "shut down the virtual machine, unmount the image, or wait for the other coldfix run to end; then \
         try again (`lslocks` or `fuser -v` name the program)",
    )
}

/// True for NFS and SMB, where Linux makes `flock` out of `fcntl` locks.
#[cfg(target_os = "linux")]
fn on_network(file: &File) -> bool {
    // The kernel's NFS_SUPER_MAGIC, CIFS_SUPER_MAGIC, SMB2_SUPER_MAGIC, SMB_SUPER_MAGIC.
    const NETWORK: [u64; 4] = [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x517b];
    rustix::fs::fstatfs(file).is_ok_and(|status| {
        // The field's type differs between machines; a 32-bit one would carry its sign along.
        u64::try_from(i128::from(status.f_type) & 0xffff_ffff)
            .is_ok_and(|kind| NETWORK.contains(&kind))
    })
}

#[cfg(not(target_os = "linux"))]
fn on_network(_: &File) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_are_told_from_readers() {
        let list = "1: OFDLCK ADVISORY  READ -1 fe:00:10 100 101\n\
                    2: OFDLCK ADVISORY  READ -1 fe:00:11 100 100\n\
                    2: OFDLCK ADVISORY  READ -1 fe:00:11 201 203\n\
                    3: POSIX  ADVISORY  WRITE 17 fe:00:12 0 EOF\n\
                    4: POSIX  ADVISORY  READ 17 fe:00:13 0 EOF\n\
                    5: FLOCK  ADVISORY  WRITE 17 fe:00:14 0 EOF\n\
                    5: -> POSIX  ADVISORY  WRITE 17 fe:00:15 0 EOF\n\
                    nonsense\n\n6: POSIX ADVISORY WRITE 1 xx:00:16 0 EOF\n";
        let device = rustix::fs::makedev(0xfe, 0);
        let writers: Vec<u64> = (10..20)
            .filter(|&inode| has_writer(list, device, inode))
            .collect();
        assert_eq!(writers, [10, 12]);
        assert!(!has_writer(list, rustix::fs::makedev(8, 0), 10));
    }
}
