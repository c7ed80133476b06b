// SPDX-License-Identifier: GPL-2.0-or-later
//! Opens block devices: whole disks, partitions, loop and mapped devices.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;

use super::host::{Access, HostDevice, host_error, not_a_disk};
use super::{lock, usage};
use crate::error::{Error, Result, ResultExt};

/// How often to try again, 50 ms apart: udev and its probes look at a device for a moment after each close.
const PATIENCE: u32 = 20;

/// Opens the block device at `path`. For writing only when it, its partitions and the disk it is part of
/// are not in use, and with the kernel's word (`O_EXCL`) that nobody mounts it meanwhile.
pub(super) fn open(path: &Path, access: Access) -> Result<HostDevice> {
    let metadata = std::fs::metadata(path).map_err(|error| host_error(path, access, error))?;
    let mut options = OpenOptions::new();
    options.read(true);
    if access == Access::Write {
        // Asked first because it can say who; the kernel only says "busy".
        usage::check_unused(path, usage::Target::of(&metadata))?;
        if is_read_only(&metadata) {
            return Err(Error::refused(
                format!("{} is read-only", path.display()),
                format!(
                    "switch off the write protection of the disk or its adapter (or `blockdev --setrw {}`), or \
                     repair a copy",
                    path.display()
                ),
            ));
        }
        options.write(true);
        options.custom_flags(i32::try_from(OFlags::EXCL.bits()).unwrap_or(0));
    }
    let file = open_patiently(&options, path).map_err(|error| match error.kind() {
        ErrorKind::ResourceBusy => Error::refused(
            format!("{} is in use by another program", path.display()),
            "find out by which (`lsblk`, `fuser -vm`), end that, and try again",
        ),
        _ => host_error(path, access, error),
    })?;
    let opened = file
        .metadata()
        .map_err(|error| host_error(path, access, error))?;
    if !opened.file_type().is_block_device()
        || usage::Target::of(&opened) != usage::Target::of(&metadata)
    {
        return Err(not_a_disk(path, &opened));
    }
    let file = lock::take(file, path, access, PATIENCE)?;
    let beneath = lock_image(path, metadata.rdev(), access)?;
    let len = (&*file)
        .seek(SeekFrom::End(0))
        .map_err(|error| Error::io(format!("asking {} for its length", path.display()))(error))?;
    let sector_size = sector_size(&file).map_err(|error| {
        Error::io(format!("asking {} for its sector size", path.display()))(error)
    })?;
    Ok(HostDevice::new(path, file, len, sector_size, access, false).standing_on(beneath))
}

/// Locks the image that a loop device stands on, as if it had been opened by its own name: another run may be at
/// work on that, or on another loop device over it. `None` for other devices, and where the image cannot be reached.
fn lock_image(path: &Path, device: u64, access: Access) -> Result<Option<lock::Locked>> {
    let Some(image) = usage::backing_file(device) else {
        return Ok(None);
    };
    let write = access == Access::Write;
    let Ok(file) = OpenOptions::new().read(true).write(write).open(&image) else {
        return Ok(None);
    };
    let locked = lock::take(file, &image, access, 0)
        .context(|| format!("the image that {} stands on", path.display()))?;
    Ok(Some(locked))
}

fn open_patiently(options: &OpenOptions, path: &Path) -> std::io::Result<File> {
    for _ in 0..PATIENCE {
        match options.open(path) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy => {
                std::thread::sleep(Duration::from_millis(50));
            }
            other => return other,
        }
    }
    options.open(path)
}

/// True when the kernel has the device as read-only. Opening it for writing works all the same; only the
/// first write would fail.
fn is_read_only(metadata: &Metadata) -> bool {
    let flag = usage::sys_folder(metadata.rdev()).join("ro");
    std::fs::read_to_string(flag).is_ok_and(|flag| flag.trim() != "0")
}

#[cfg(target_os = "linux")]
fn sector_size(file: &File) -> std::io::Result<u32> {
    Ok(rustix::fs::ioctl_blksszget(file)?)
}

#[cfg(not(target_os = "linux"))]
fn sector_size(_: &File) -> std::io::Result<u32> {
    Err(ErrorKind::Unsupported.into())
}
