// SPDX-License-Identifier: GPL-2.0-or-later
//! Advisory locks: what keeps two programs from the same disk.
//!
//! Two kinds are taken, because programs look for one or the other:
//! - `flock`, on the open file: other coldfix runs; on block devices also udev and the partitioning tools;
//! - `fcntl`, on the whole file: qemu (a running machine, qemu-img, qemu-nbd) and ntfs-3g.
//!
//! On network file systems the first is made of the second, and the two would keep each other out; there
//! only `flock` is taken, which then does both jobs. An `fcntl` lock belongs to the process and goes when
//! any descriptor of the file is closed; the `flock` stays until the device is dropped.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::host::Access;
use crate::error::{Error, Result};

/// Locks `file` as `access` demands: exclusively, or shared with other readers. The lock ends when the
/// file is closed.
///
/// `patience` is how often to try again, 50 ms apart: udev holds a block device for a moment whenever
/// somebody closes it. `Refused` when another program has it, and for writing also where the file system
/// knows no locks.
pub(super) fn take(file: &File, path: &Path, access: Access, patience: u32) -> Result<()> {
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
    if on_network(file) {
        return Ok(());
    }
    let operation = match access {
        Access::Read => FlockOperation::NonBlockingLockShared,
        Access::Write => FlockOperation::NonBlockingLockExclusive,
    };
    match rustix::fs::fcntl_lock(file, operation) {
        Err(Errno::AGAIN | Errno::ACCESS) => Err(held(path, access)),
        // The first lock stands; a file system without this kind has no program that uses it.
        Ok(()) | Err(_) => Ok(()),
    }
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
