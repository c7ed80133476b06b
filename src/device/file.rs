// SPDX-License-Identifier: GPL-2.0-or-later
//! Opens image files.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::host::{Access, HostDevice, host_error, not_a_disk};
use super::{lock, usage};
use crate::error::{Error, Result};

/// Opens the image file at `path`. For reading with a shared lock, and a memory map where nobody can change the file; for
/// writing with an exclusive lock, and only when it is not attached or mounted anywhere.
pub(super) fn open(path: &Path, access: Access) -> Result<HostDevice> {
    let file = OpenOptions::new()
        .read(true)
        .write(access == Access::Write)
        .open(path)
        .map_err(|error| match access {
            Access::Write => {
                marked_read_only(path).unwrap_or_else(|| host_error(path, access, error))
            }
            Access::Read => host_error(path, access, error),
        })?;
    let metadata = file
        .metadata()
        .map_err(|error| host_error(path, access, error))?;
    if !metadata.is_file() {
        return Err(not_a_disk(path, &metadata));
    }
    // For root the host opens it all the same.
    if access == Access::Write
        && let Some(error) = marked_read_only(path)
    {
        return Err(error);
    }
    let file = lock::take(file, path, access, 0)?;
    if access == Access::Write {
        usage::check_unused(path, usage::Target::of(&metadata))?;
    }
    // The length only now: whoever held the lock before may have changed it.
    let len = file
        .metadata()
        .map_err(|error| host_error(path, access, error))?
        .len();
    let cannot_change = access == Access::Read && is_on_read_only_file_system(&file);
    let device = HostDevice::new(path, file, len, 512, access, true);
    Ok(match cannot_change {
        true => device.map_for_reading(),
        false => device,
    })
}

/// Whether the file lies where nobody on this host can write.
fn is_on_read_only_file_system(file: &File) -> bool {
    let file_system = rustix::fs::fstatvfs(file);
    file_system.is_ok_and(|found| found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// The refusal when nobody may write the file at `path`: whoever took the right away meant it.
fn marked_read_only(path: &Path) -> Option<Error> {
    let mode = std::fs::metadata(path).ok()?.mode();
    (mode & 0o222 == 0).then(|| {
        Error::refused(
            format!("{} is marked read-only", path.display()),
            format!(
                "if it may be changed, allow it (chmod u+w {}); or repair a copy",
                path.display()
            ),
        )
    })
}
