// SPDX-License-Identifier: GPL-2.0-or-later
//! Whether firmware comes to a store, and how a store calls a partition.
//!
//! ```text
//!        UEFI: \EFI\Microsoft\Boot\BCD             BIOS: \Boot\BCD
//! GPT    on an EFI system partition             never: Windows starts from GPT with UEFI alone
//! MBR    on an EFI system partition, or on      on an active partition
//!        any FAT volume
//! ```
//!
//! GPT's attribute "legacy BIOS bootable" is for other loaders. What starts from an MBR disk by UEFI is a stick or a disk
//! prepared with `bcdboot /f ALL`: a FAT volume, active too, with both stores. Which of them counts is then the
//! firmware's to say, not the disk's.
//!
//! Source: Microsoft, "BCDBoot Command-Line Options" and "UEFI/GPT-based and BIOS/MBR-based hard drive partitions"; UEFI
//! specification, "System partition".

use super::UEFI_STORE;
use crate::bcd::PartitionId;
use crate::bcd::format::parse_guid;
use crate::partition::{Content, Partition, Scheme, Table};

/// Why no firmware starts the boot manager beside the store at `path`, on a disk of this kind.
pub(super) fn unreached(scheme: Scheme, partition: &Partition, path: &str) -> Option<String> {
    let number = partition.number;
    let is_esp = partition.type_name.contains("EFI system");
    match (scheme, path == UEFI_STORE) {
        // A volume without its disk does not tell.
        (Scheme::Bare, _) => None,
        (Scheme::Gpt, true) => {
            (!is_esp).then(|| format!("partition {number} is no EFI system partition"))
        }
        (Scheme::Gpt, false) => {
            Some("the disk is GPT, from which no BIOS starts Windows".to_owned())
        }
        (Scheme::Mbr, true) => (!is_esp && partition.content != Content::Fat).then(|| {
            format!("partition {number} is neither FAT nor an EFI system partition, so that no UEFI starts from it")
        }),
        (Scheme::Mbr, false) => (!partition.active)
            .then(|| format!("partition {number} is not active, so that no BIOS starts from it")),
    }
}

/// How a store names a partition of this table.
pub fn identity(table: &Table, partition: &Partition) -> Option<PartitionId> {
    match table.scheme {
        Scheme::Bare => None,
        Scheme::Gpt => Some(PartitionId::Gpt {
            partition: parse_guid(partition.id.as_deref()?)?,
            disk: parse_guid(table.disk_id.as_deref()?)?,
        }),
        Scheme::Mbr => Some(PartitionId::Mbr {
            offset: partition.offset,
            signature: u32::from_str_radix(table.disk_id.as_deref()?, 16).ok()?,
        }),
    }
}
