// SPDX-License-Identifier: GPL-2.0-or-later
//! Device elements: read as far as a person or a comparison needs it. None is ever written anew; an edit that
//! would need it is refused.
//!
//! ```text
//! 0x00 GUID of an object with options, zero for none
//! 0x10 descriptor: type   0x14 flags   0x18 size from 0x10 on   0x1c 0   0x20 what the type says
//!
//! type 0  local      0x20 disk
//! type 5  boot       the device that the boot manager came from
//! type 6  partition  0x20 GPT: unique id | MBR: offset in bytes, u64      0x30 disk
//! type 8  locate     0x20 u32 0   0x24 the element whose path is looked for, on all volumes or on the volumes of
//!                    0x28 the device whose descriptor begins there, counted from 0x10; 0 for none
//!                    0x2c a path, not used with an element
//!
//! disk    +0 kind    0 hard disk      +4 0 GPT, 1 MBR   +8 GPT: disk GUID | MBR: signature, u32
//!                    3 RAM disk       +24 file
//!                    5 file as disk   +4 file
//!                    6 virtual disk   +4 as a hard disk's, 0 where it is not known   +24 descriptor of its file
//! file    +0 u32 1   +4 size from here on   +8 u32 5   +12 descriptor of its device, behind it the path as UTF-16
//! ```
//!
//! Windows itself names a partition inside a VHD by type 6; what `bcdedit /set` makes of `vhd=` is of type 8.
//!
//! Source: stores that Windows made; the boot loader that reads them (ReactOS `boot/environ/include/bl.h`); programs
//! that take such elements apart or make them (BCD-SYS `update_device.sh`). Anything else is [`Device::Unknown`].

use std::fmt;

use uuid::Uuid;

use super::format::{ElementType, braced};
use crate::bytes::{array, slice, u16_le, u32_le, u64_le};

/// How a device element names a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartitionId {
    /// By the unique id in its GPT entry and the disk's GUID.
    Gpt {
        /// The partition's.
        partition: Uuid,
        /// The disk's.
        disk: Uuid,
    },
    /// By its place on a disk with this signature in its master boot record.
    Mbr {
        /// The partition's first byte.
        offset: u64,
        /// The disk's.
        signature: u32,
    },
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PartitionId::Gpt { partition, disk } => {
                write!(f, "{} of disk {}", braced(*partition), braced(*disk))
            }
            PartitionId::Mbr { offset, signature } => {
                write!(f, "at {offset:#x} of disk {signature:08x}")
            }
        }
    }
}

/// What a device element says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// The device that the boot manager itself came from.
    Boot,
    /// A partition.
    Partition(PartitionId),
    /// The volume on which the path in another element is found.
    Locate(ElementType),
    /// A file that is used as a disk as it is.
    File {
        /// Where the file lies.
        device: Box<Device>,
        /// Its path there.
        path: String,
    },
    /// A partition of a virtual disk, which is a file.
    Vhd {
        /// Where the file lies.
        device: Box<Device>,
        /// Its path there.
        path: String,
        /// The partition is the one on which the path in this element is found; else it is named by its ids.
        locate: Option<ElementType>,
    },
    /// A file that is loaded into memory and used as a disk.
    RamDisk {
        /// Where the file lies.
        device: Box<Device>,
        /// Its path there.
        path: String,
        /// The object with the RAM disk's options.
        options: Option<Uuid>,
    },
    /// One that is not understood.
    Unknown {
        /// Its type.
        kind: Option<u32>,
        /// Its length in bytes.
        len: usize,
    },
}

/// How deep devices are followed into each other: ours. `vhd=` goes four levels: a partition looked for, on a virtual
/// disk, which is a file, on a partition.
const DEEPEST: usize = 4;

impl Device {
    /// Reads a device element. Whatever it cannot read is [`Device::Unknown`].
    pub fn parse(data: &[u8]) -> Device {
        let options = array::<16>(data, 0)
            .map(Uuid::from_bytes_le)
            .filter(|id| !id.is_nil());
        match data.get(16..) {
            Some(descriptor) => parse_descriptor(descriptor, options, 0),
            None => Device::Unknown {
                kind: None,
                len: data.len(),
            },
        }
    }

    /// The partition that it stands for, directly or as the place of a file.
    pub fn partition(&self) -> Option<PartitionId> {
        match self {
            Device::Partition(id) => Some(*id),
            Device::File { device, .. }
            | Device::Vhd { device, .. }
            | Device::RamDisk { device, .. } => device.partition(),
            _ => None,
        }
    }

    /// As `bcdedit` shows it. `number` gives a partition's number on this disk, which stands for the drive letter
    /// that an offline disk does not have; `path_of` the text of another element of the same object.
    pub fn display(
        &self,
        number: &dyn Fn(PartitionId) -> Option<u32>,
        path_of: &dyn Fn(ElementType) -> Option<String>,
    ) -> String {
        let place = |device: &Device| match device {
            Device::Partition(id) => {
                number(*id).map_or_else(|| id.to_string(), |number| format!("partition {number}"))
            }
            Device::Locate(_) => "locate".to_owned(),
            other => other.display(number, path_of),
        };
        match self {
            Device::Boot => "boot".to_owned(),
            Device::Partition(id) => match number(*id) {
                Some(number) => format!("partition={number}"),
                None => format!("partition={id}"),
            },
            Device::Locate(element) => {
                let path = path_of(*element);
                format!("locate={}", path.as_deref().unwrap_or("unknown"))
            }
            Device::File { device, path } => format!("file=[{}]{path}", place(device)),
            Device::Vhd {
                device,
                path,
                locate,
            } => {
                let locate =
                    locate.map_or(String::new(), |element| format!(",locate=custom:{element}"));
                format!("vhd=[{}]{path}{locate}", place(device))
            }
            Device::RamDisk {
                device,
                path,
                options,
            } => {
                let options = options.map_or(String::new(), |id| format!(",{}", braced(id)));
                format!("ramdisk=[{}]{path}{options}", place(device))
            }
            Device::Unknown { kind, len } => match kind {
                Some(kind) => format!("unknown (type {kind}, {len} bytes)"),
                None => format!("unknown ({len} bytes)"),
            },
        }
    }
}

/// What a disk is, before its own numbers.
mod disk {
    pub(super) const HARD_DISK: u32 = 0;
    pub(super) const RAM_DISK: u32 = 3;
    pub(super) const FILE: u32 = 5;
    pub(super) const VIRTUAL_DISK: u32 = 6;
    /// Where what a RAM disk or a virtual disk is made of begins.
    pub(super) const MADE_OF: usize = 24;
}

/// Where a descriptor's own part begins.
const BODY: usize = 0x10;

/// Reads the descriptor that begins with its type.
fn parse_descriptor(descriptor: &[u8], options: Option<Uuid>, depth: usize) -> Device {
    let kind = u32_le(descriptor, 0);
    let read = || -> Option<Device> {
        let size = usize::try_from(u32_le(descriptor, 8)?).ok()?;
        let body = slice(descriptor, 0, size)?.get(BODY..)?;
        let deeper = depth.checked_add(1).filter(|depth| *depth <= DEEPEST)?;
        match u32_le(descriptor, 0)? {
            0 => parse_local(body, options, deeper),
            5 => Some(Device::Boot),
            6 => parse_partition(body, deeper),
            8 => parse_locate(body, deeper),
            _ => None,
        }
    };
    read().unwrap_or(Device::Unknown {
        kind,
        len: descriptor.len().saturating_add(16),
    })
}

/// A disk itself: one made of a file on another device.
fn parse_local(disk: &[u8], options: Option<Uuid>, depth: usize) -> Option<Device> {
    match u32_le(disk, 0)? {
        disk::RAM_DISK => {
            let (device, path) = parse_file(disk.get(disk::MADE_OF..)?, depth)?;
            Some(Device::RamDisk {
                device,
                path,
                options,
            })
        }
        disk::FILE => {
            let (device, path) = parse_file(disk.get(4..)?, depth)?;
            Some(Device::File { device, path })
        }
        _ => None,
    }
}

/// A partition, of a disk of its own or of a virtual one.
fn parse_partition(body: &[u8], depth: usize) -> Option<Device> {
    /// Behind the partition's id.
    const DISK: usize = 0x10;
    let disk = body.get(DISK..)?;
    match u32_le(disk, 0)? {
        disk::HARD_DISK => match u32_le(disk, 4)? {
            0 => Some(Device::Partition(PartitionId::Gpt {
                partition: Uuid::from_bytes_le(array(body, 0)?),
                disk: Uuid::from_bytes_le(array(disk, 8)?),
            })),
            1 => Some(Device::Partition(PartitionId::Mbr {
                offset: u64_le(body, 0)?,
                signature: u32_le(disk, 8)?,
            })),
            _ => None,
        },
        disk::VIRTUAL_DISK => parse_virtual(disk, None, depth),
        _ => None,
    }
}

/// A volume that is looked for by an element's path: anywhere, or on a virtual disk.
fn parse_locate(body: &[u8], depth: usize) -> Option<Device> {
    const BY_ELEMENT: u32 = 0;
    if u32_le(body, 0)? != BY_ELEMENT {
        return None;
    }
    let element = ElementType(u32_le(body, 4)?);
    let parent = match usize::try_from(u32_le(body, 8)?).ok()? {
        0 => return Some(Device::Locate(element)),
        offset => body.get(offset.checked_sub(BODY)?..)?,
    };
    let size = usize::try_from(u32_le(parent, 8)?).ok()?;
    let disk = slice(parent, 0, size)?.get(BODY..)?;
    match (u32_le(parent, 0)?, u32_le(disk, 0)?) {
        (0, disk::VIRTUAL_DISK) => parse_virtual(disk, Some(element), depth),
        _ => None,
    }
}

/// A virtual disk, made of a file.
fn parse_virtual(disk: &[u8], locate: Option<ElementType>, depth: usize) -> Option<Device> {
    match parse_descriptor(disk.get(disk::MADE_OF..)?, None, depth) {
        Device::File { device, path } => Some(Device::Vhd {
            device,
            path,
            locate,
        }),
        _ => None,
    }
}

/// A file: the device that it lies on, and its path there.
fn parse_file(file: &[u8], depth: usize) -> Option<(Box<Device>, String)> {
    if u32_le(file, 0)? != 1 || u32_le(file, 8)? != 5 {
        return None;
    }
    let len = usize::try_from(u32_le(file, 4)?).ok()?;
    let device = slice(file, 0, len)?.get(12..)?;
    let size = usize::try_from(u32_le(device, 8)?).ok()?;
    let path = utf16(device.get(size..)?)?;
    Some((Box::new(parse_descriptor(device, None, depth)), path))
}

/// The text up to its terminator.
fn utf16(bytes: &[u8]) -> Option<String> {
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .filter_map(|unit| u16_le(unit, 0))
        .take_while(|unit| *unit != 0)
        .collect();
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests;
