// SPDX-License-Identifier: GPL-2.0-or-later
//! Partitions: MBR with logical partitions, GPT, or one bare volume from the disk's first byte on.
//!
//! ```text
//! sector 0 holds                                               the disk is
//!   a volume's boot sector, and no table that leads anywhere    bare
//!   a boot record with an entry of type EE                      GPT (primary, else backup)
//!   a boot record with other entries                            MBR
//!   nothing usable, but a GPT checks                            GPT (told)
//!   anything else                                               refused, saying what it looks like
//! ```
//!
//! A boot sector and a boot record both end in 55 AA, and partitioning tools leave the first 440 bytes of
//! sector 0 as they were, an old volume's name included. So next to a boot sector a table wins when it leads
//! somewhere: to a GPT whose checksums are right, or to a partition with a known volume in it. A boot sector's
//! code does not do that by chance. A table that could be one, but leads nowhere, is refused as ambiguous;
//! what cannot be a table is a boot sector's code.
//!
//! Nothing here trusts a number: partitions that overlap, leave the disk or lie on the table are listed with
//! their fault and cannot be opened. Dynamic disks and Storage Spaces are told, not read.

mod content;
mod draft;
mod gpt;
mod mbr;
mod scan;
mod types;

use std::sync::Arc;

pub use content::Content;
pub use scan::scan;

use crate::device::SharedDevice;
use crate::device::slice::Slice;
use crate::error::{Error, Result};

/// How a disk is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Not at all: one volume from the first byte on.
    Bare,
    /// By a master boot record.
    Mbr,
    /// By a GUID partition table.
    Gpt,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Partition {
    /// As the operating systems count: MBR 1 to 4 for primary and 5 on for logical ones, GPT the entry's
    /// place from 1 on; 1 for a bare volume.
    pub number: u32,
    /// Where it begins: bytes from the start of the disk.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// Logical sector size in bytes, as the table (or the bare volume) has it.
    pub sector_size: u32,
    /// What its first sector says it holds.
    pub content: Content,
    /// The table's type, for people: a known name and the number or GUID.
    pub type_name: String,
    /// The GPT's name for it.
    pub name: Option<String>,
    /// The GPT's unique id for it, in the usual lower-case form.
    pub id: Option<String>,
    /// The GPT's attribute bits; 0 elsewhere.
    pub attributes: u64,
    /// MBR: the active flag. GPT: the legacy BIOS boot attribute.
    pub active: bool,
    /// Why it cannot be opened, if so.
    pub fault: Option<String>,
}

impl Partition {
    /// The partition as a device, with the table's sector size. Reads and writes go through to `disk`.
    ///
    /// `Damaged` when the table says something impossible of it ([`Partition::fault`]).
    pub fn open(&self, disk: &SharedDevice) -> Result<SharedDevice> {
        if let Some(fault) = &self.fault {
            return Err(Error::damaged(
                format!("partition {}", self.number),
                self.offset,
                "a place of its own inside the disk",
                fault,
            )
            .with_hint(
                "opening the partition",
                "the partition table or the image is damaged (was the image cut short?); mend that first, for \
                 example with TestDisk on a copy",
            ));
        }
        let slice = Slice::new(disk.clone(), self.offset, self.len)?;
        Ok(Arc::new(slice.with_sector_size(self.sector_size)))
    }
}

/// A disk's partitions.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Table {
    /// How the disk is divided.
    pub scheme: Scheme,
    /// Logical sector size in bytes, as the table (or the bare volume) has it.
    pub sector_size: u32,
    /// GPT: the disk's GUID in the usual lower-case form. MBR: the disk signature, eight hexadecimal digits.
    pub disk_id: Option<String>,
    /// In the table's order.
    pub partitions: Vec<Partition>,
    /// What is odd or was worked around: whole sentences for a person.
    pub notes: Vec<String>,
}

#[cfg(test)]
mod tests;
