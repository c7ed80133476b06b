// SPDX-License-Identifier: GPL-2.0-or-later
//! The requests that a Windows volume or disk answers (DeviceIoControl), and how their answers are laid out.
//!
//! ```text
//! GET_LENGTH_INFORMATION              0  length, 8 bytes
//! DISK_GEOMETRY                       0  cylinders, 8   8  media  12  tracks  16  sectors  20  bytes a sector
//! DISK_GEOMETRY_EX                    0  geometry, 24  24  size of the disk, 8
//! STORAGE_ACCESS_ALIGNMENT_DESCRIPTOR 0  version  4  size  8, 12  cache line  16  bytes a logical sector
//!                                    20  bytes a physical sector  24  offset of sector 0 in it
//! VOLUME_DISK_EXTENTS                 0  count    8  extents of 24 bytes: 0 disk number, 8 start, 16 length
//! ```
//!
//! All little-endian. Source: Microsoft's pages on winioctl.h and ntddstor.h.

use super::system::Handle;
use crate::bytes::{u32_le, u64_le};

/// Waits until nobody has a file open, writes out what is cached, and keeps everybody else out.
pub(super) const FSCTL_LOCK_VOLUME: u32 = 0x0009_0018;
/// Lets others in again.
pub(super) const FSCTL_UNLOCK_VOLUME: u32 = 0x0009_001c;
/// Takes the file system off the volume; the next access mounts it afresh.
pub(super) const FSCTL_DISMOUNT_VOLUME: u32 = 0x0009_0020;
/// Leaves the check of bounds to the driver below NTFS, which alone knows the volume's last sectors.
pub(super) const FSCTL_ALLOW_EXTENDED_DASD_IO: u32 = 0x0009_0083;
/// The length of a disk or volume.
pub(super) const IOCTL_DISK_GET_LENGTH_INFO: u32 = 0x0007_405c;
/// Cylinders, and the logical sector.
pub(super) const IOCTL_DISK_GET_DRIVE_GEOMETRY: u32 = 0x0007_0000;
/// The same and the disk's size.
pub(super) const IOCTL_DISK_GET_DRIVE_GEOMETRY_EX: u32 = 0x0007_00a0;
/// Succeeds when the medium may be written.
pub(super) const IOCTL_DISK_IS_WRITABLE: u32 = 0x0007_0024;
/// Properties of the device below; only the alignment is asked for.
pub(super) const IOCTL_STORAGE_QUERY_PROPERTY: u32 = 0x002d_1400;
/// On which disks a volume lies.
pub(super) const IOCTL_VOLUME_GET_VOLUME_DISK_EXTENTS: u32 = 0x0056_0000;

/// STORAGE_PROPERTY_QUERY for StorageAccessAlignmentProperty (6), standard query.
pub(super) const QUERY_ALIGNMENT: [u8; 12] = [6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The logical sectors that disks have.
const SECTORS: [u32; 4] = [512, 1024, 2048, 4096];

/// More disks than one volume of Windows can span.
const EXTENTS: usize = 64;

/// The length of the device in bytes, as the first of the requests says that is answered; else its end.
pub(super) fn length(handle: &impl Handle) -> std::io::Result<u64> {
    let mut answer = [0; 64];
    if let Ok(len) = handle.control(IOCTL_DISK_GET_LENGTH_INFO, &[], &mut answer)
        && len >= 8
        && let Some(length) = u64_le(&answer, 0)
    {
        return Ok(length);
    }
    if let Ok(len) = handle.control(IOCTL_DISK_GET_DRIVE_GEOMETRY_EX, &[], &mut answer)
        && len >= 32
        && let Some(length) = u64_le(&answer, 24)
    {
        return Ok(length);
    }
    handle.end()
}

/// Bytes a logical sector: as the storage says, as the old geometry says, or by trying.
pub(super) fn sector_size(handle: &impl Handle, probe: impl Fn(u32) -> bool) -> u32 {
    let mut answer = [0; 64];
    let sound = |size: Option<u32>| size.filter(|size| SECTORS.contains(size));
    if let Ok(len) = handle.control(IOCTL_STORAGE_QUERY_PROPERTY, &QUERY_ALIGNMENT, &mut answer)
        && len >= 24
        && let Some(size) = sound(u32_le(&answer, 16))
    {
        return size;
    }
    if let Ok(len) = handle.control(IOCTL_DISK_GET_DRIVE_GEOMETRY, &[], &mut answer)
        && len >= 24
        && let Some(size) = sound(u32_le(&answer, 20))
    {
        return size;
    }
    if probe(512) { 512 } else { 4096 }
}

/// The numbers of the disks that a volume lies on; none when it cannot say.
pub(super) fn disks(handle: &impl Handle) -> Vec<u32> {
    let mut answer = [0; 8 + 24 * EXTENTS];
    let Ok(len) = handle.control(IOCTL_VOLUME_GET_VOLUME_DISK_EXTENTS, &[], &mut answer) else {
        return Vec::new();
    };
    let answer = answer.get(..len).unwrap_or_default();
    let count = u32_le(answer, 0).unwrap_or(0);
    let mut disks: Vec<u32> = (0..usize::try_from(count).unwrap_or(0).min(EXTENTS))
        .filter_map(|index| u32_le(answer, index.saturating_mul(24).saturating_add(8)))
        .collect();
    disks.sort_unstable();
    disks.dedup();
    disks
}
