// SPDX-License-Identifier: GPL-2.0-or-later
//! Device elements: read as far as a person or a comparison needs it. None is ever written anew; an edit that
//! would need it is refused.
//!
//! ```text
//! 0x00 GUID of an object with options, zero for none
//! 0x10 type   0x14 flags   0x18 size from 0x10 on   0x1c 0
//! type 0      local: 0x20 kind (3 RAM disk), 0x38 a file: u32 1, u32 its size, u32 5, then a descriptor like that
//!             at 0x10, and behind it the path as UTF-16
//! type 5      boot: the device that the boot manager came from
//! type 6      partition: 0x20 GPT: unique id | MBR: offset in bytes, u64
//!                        0x34 0 GPT, 1 MBR     0x38 GPT: disk GUID | MBR: signature, u32
//! type 8      locate: 0x20 u32 0, 0x24 the element whose path is looked for on all volumes
//! ```
//!
//! Source: stores that Windows made, and the boot loaders that read them (ReactOS `boot/environ/include/bl.h`).
//! Anything else is [`Device::Unknown`].

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

/// How deep devices are followed into each other: ours. Windows goes two levels, a file on a partition.
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
            Device::RamDisk { device, .. } => device.partition(),
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

/// Reads the descriptor that begins with its type.
fn parse_descriptor(descriptor: &[u8], options: Option<Uuid>, depth: usize) -> Device {
    let kind = u32_le(descriptor, 0);
    let read = || -> Option<Device> {
        let size = usize::try_from(u32_le(descriptor, 8)?).ok()?;
        let descriptor = slice(descriptor, 0, size)?;
        match u32_le(descriptor, 0)? {
            0 => parse_local(descriptor, options, depth),
            5 => Some(Device::Boot),
            6 => match u32_le(descriptor, 0x24)? {
                0 => Some(Device::Partition(PartitionId::Gpt {
                    partition: Uuid::from_bytes_le(array(descriptor, 0x10)?),
                    disk: Uuid::from_bytes_le(array(descriptor, 0x28)?),
                })),
                1 => Some(Device::Partition(PartitionId::Mbr {
                    offset: u64_le(descriptor, 0x10)?,
                    signature: u32_le(descriptor, 0x28)?,
                })),
                _ => None,
            },
            8 => match u32_le(descriptor, 0x10)? {
                0 => Some(Device::Locate(ElementType(u32_le(descriptor, 0x14)?))),
                _ => None,
            },
            _ => None,
        }
    };
    read().unwrap_or(Device::Unknown {
        kind,
        len: descriptor.len().saturating_add(16),
    })
}

/// A local device: a RAM disk, made of a file on another device.
fn parse_local(descriptor: &[u8], options: Option<Uuid>, depth: usize) -> Option<Device> {
    const RAM_DISK: u32 = 3;
    /// Where the file's record begins.
    const FILE: usize = 0x28;
    if depth >= DEEPEST || u32_le(descriptor, 0x10)? != RAM_DISK {
        return None;
    }
    let file = descriptor.get(FILE..)?;
    if u32_le(file, 0)? != 1 || u32_le(file, 8)? != 5 {
        return None;
    }
    let len = usize::try_from(u32_le(file, 4)?).ok()?;
    let inner = slice(file, 0, len)?.get(12..)?;
    let size = usize::try_from(u32_le(inner, 8)?).ok()?;
    Some(Device::RamDisk {
        device: Box::new(parse_descriptor(inner, None, depth.saturating_add(1))),
        path: utf16(inner.get(size..)?)?,
        options,
    })
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
