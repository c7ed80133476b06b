// SPDX-License-Identifier: GPL-2.0-or-later
//! The boot sector, and the numbers that the other modules share.
//!
//! ```text
//! 00 jump   03 "NTFS    "   0B u16 bytes per sector   0D u8 sectors per cluster (> 80: 2^(100-x))
//! 28 u64 sectors of the volume (the backup boot sector is the one after them)
//! 30 u64 $MFT LCN   38 u64 $MFTMirr LCN   40 i8 clusters per record (negative: 2^-n bytes)
//! 48 u64 serial number                    1FE 55 AA
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. Everything is little-endian. The backup boot sector is not
//! used: a bad primary one is an error, because a volume that Windows itself would not mount needs more
//! than coldfix does.

use crate::bytes;
use crate::error::{Error, Result};

/// Attribute types (section 4.1).
pub(super) mod attribute_type {
    pub(in super::super) const STANDARD_INFORMATION: u32 = 0x10;
    pub(in super::super) const ATTRIBUTE_LIST: u32 = 0x20;
    pub(in super::super) const FILE_NAME: u32 = 0x30;
    pub(in super::super) const OBJECT_ID: u32 = 0x40;
    pub(in super::super) const SECURITY_DESCRIPTOR: u32 = 0x50;
    pub(in super::super) const VOLUME_NAME: u32 = 0x60;
    pub(in super::super) const VOLUME_INFORMATION: u32 = 0x70;
    pub(in super::super) const DATA: u32 = 0x80;
    pub(in super::super) const INDEX_ROOT: u32 = 0x90;
    pub(in super::super) const INDEX_ALLOCATION: u32 = 0xA0;
    pub(in super::super) const BITMAP: u32 = 0xB0;
    pub(in super::super) const REPARSE_POINT: u32 = 0xC0;
    pub(in super::super) const EA: u32 = 0xE0;
    /// Not a type: ends the attributes of a record.
    pub(in super::super) const END: u32 = 0xFFFF_FFFF;
}

/// Attribute flags (section 4.1).
pub(super) mod attribute_flag {
    /// The low byte holds the compression method; any of it set means compressed.
    pub(in super::super) const COMPRESSED: u16 = 0x00FF;
    pub(in super::super) const ENCRYPTED: u16 = 0x4000;
    pub(in super::super) const SPARSE: u16 = 0x8000;
}

/// Record numbers that every volume has.
pub(super) mod record_number {
    pub(in super::super) const MFT: u64 = 0;
    pub(in super::super) const MFT_MIRROR: u64 = 1;
    pub(in super::super) const LOG_FILE: u64 = 2;
    pub(in super::super) const VOLUME: u64 = 3;
    pub(in super::super) const ROOT: u64 = 5;
    pub(in super::super) const BITMAP: u64 = 6;
    pub(in super::super) const SECURE: u64 = 9;
    pub(in super::super) const UPCASE: u64 = 10;
    /// Records below this one are the file system's own; users' files come after.
    pub(in super::super) const FIRST_USER: u64 = 24;
}

/// Where a cluster lies: clusters from the start of the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lcn(pub(super) u64);

/// A reference to a record: its number and the sequence number it must carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileReference {
    /// Index of the record in $MFT.
    pub(super) record: u64,
    /// Counts how often the record was given to a new file.
    pub(super) sequence: u16,
}

impl FileReference {
    /// From the packed form: 48 bits of record number, 16 bits of sequence number.
    pub(super) fn from_packed(packed: u64) -> Self {
        let [a, b, c, d, e, f, low, high] = packed.to_le_bytes();
        FileReference {
            record: u64::from_le_bytes([a, b, c, d, e, f, 0, 0]),
            sequence: u16::from_le_bytes([low, high]),
        }
    }

    /// The packed form. Record numbers have 48 bits on every volume that there is room for.
    pub(super) fn to_packed(self) -> u64 {
        let [a, b, c, d, e, f, ..] = self.record.to_le_bytes();
        let [low, high] = self.sequence.to_le_bytes();
        u64::from_le_bytes([a, b, c, d, e, f, low, high])
    }
}

/// What the boot sector says, checked against the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BootSector {
    /// Bytes in a sector: 512 to 4096.
    pub(super) bytes_per_sector: u32,
    /// Bytes in a cluster: 512 to 2 MiB.
    pub(super) cluster_size: u32,
    /// Whole clusters in the volume.
    pub(super) clusters: u64,
    /// First cluster of $MFT.
    pub(super) mft: Lcn,
    /// First cluster of $MFTMirr.
    pub(super) mft_mirror: Lcn,
    /// Bytes in a record of $MFT: 1024 to 4096.
    pub(super) record_size: u32,
    /// Volume serial number.
    pub(super) serial: u64,
    /// It ends in 55 AA. Windows mounts volumes where it does not, so they are read; but not written.
    pub(super) signed: bool,
}

/// The identifier BitLocker To Go puts in a sector that otherwise claims to be FAT32.
const BITLOCKER_TO_GO: [u8; 16] = [
    0x3B, 0xD6, 0x67, 0x49, 0x29, 0x2E, 0xD8, 0x4A, 0x83, 0x99, 0xF6, 0xA3, 0x39, 0xE3, 0xD0, 0x01,
];

/// Bytes of the boot sector that are looked at, whatever the sector size.
pub(super) const BOOT_SECTOR_LEN: usize = 512;

impl BootSector {
    /// Reads the first 512 bytes of a volume on a device of `device_len` bytes.
    ///
    /// `Refused` for BitLocker, `Unsupported` for another known file system, `Damaged` for anything else.
    pub(super) fn parse(sector: &[u8; BOOT_SECTOR_LEN], device_len: u64) -> Result<BootSector> {
        check_kind(sector)?;
        let field = Fields(sector);
        let bytes_per_sector = u32::from(field.u16(0x0B));
        if !bytes_per_sector.is_power_of_two() || !(512..=4096).contains(&bytes_per_sector) {
            return Err(bad(
                0x0B,
                "512, 1024, 2048 or 4096 bytes per sector",
                bytes_per_sector,
            ));
        }
        let cluster_size = cluster_size(field.u8(0x0D), bytes_per_sector)?;
        let sectors = field.u64(0x28);
        let volume_len = sectors
            .checked_mul(u64::from(bytes_per_sector))
            .filter(|len| *len <= device_len && *len >= u64::from(cluster_size))
            .ok_or_else(|| {
                Error::damaged(
                    "NTFS boot sector: sectors in the volume",
                    0x28,
                    format!(
                        "at most {} sectors of {bytes_per_sector} bytes, for that is all there is",
                        device_len
                            .checked_div(u64::from(bytes_per_sector))
                            .unwrap_or(0)
                    ),
                    format!("{sectors} sectors (is the image cut off?)"),
                )
            })?;
        let clusters = volume_len.checked_div(u64::from(cluster_size)).unwrap_or(0);
        let lcn = |offset: usize, what: &str| {
            let lcn = field.u64(offset);
            if lcn == 0 || lcn >= clusters {
                let place = u64::try_from(offset).unwrap_or(0);
                return Err(bad(
                    place,
                    &format!("{what} in clusters 1 to {clusters}"),
                    lcn,
                ));
            }
            Ok(Lcn(lcn))
        };
        Ok(BootSector {
            bytes_per_sector,
            cluster_size,
            clusters,
            mft: lcn(0x30, "$MFT")?,
            mft_mirror: lcn(0x38, "$MFTMirr")?,
            record_size: record_size(field.u8(0x40), cluster_size)?,
            serial: field.u64(0x48),
            signed: field.u16(0x1FE) == 0xAA55,
        })
    }
}

/// Fields of the boot sector; all offsets asked for are constants inside it.
struct Fields<'a>(&'a [u8; BOOT_SECTOR_LEN]);

impl Fields<'_> {
    fn u8(&self, offset: usize) -> u8 {
        self.0.get(offset).copied().unwrap_or(0)
    }

    fn u16(&self, offset: usize) -> u16 {
        bytes::u16_le(self.0, offset).unwrap_or(0)
    }

    fn u64(&self, offset: usize) -> u64 {
        bytes::u64_le(self.0, offset).unwrap_or(0)
    }
}

fn bad(offset: u64, expected: &str, found: impl std::fmt::Display) -> Error {
    Error::damaged("NTFS boot sector", offset, expected, found.to_string())
}

/// Says what the volume is when it is not NTFS.
fn check_kind(sector: &[u8; BOOT_SECTOR_LEN]) -> Result<()> {
    let at = |offset: usize, text: &[u8]| bytes::slice(sector, offset, text.len()) == Some(text);
    let to_go = sector.windows(16).any(|window| window == BITLOCKER_TO_GO);
    if at(3, b"NTFS    ") {
        return Ok(());
    }
    if at(3, b"-FVE-FS-") || (at(3, b"MSWIN4.1") && to_go) {
        return Err(Error::refused(
            "the volume is encrypted with BitLocker: what is on it cannot be read without the key",
            "unlock it first: attach the disk to a Windows computer and run `manage-bde -unlock X: \
             -RecoveryPassword ...` then `manage-bde -off X:`, or give coldfix the decrypted volume \
             (`dislocker` on Linux makes one); suspending BitLocker is not enough",
        ));
    }
    let other = [
        (3, &b"ReFS"[..], "ReFS"),
        (3, b"EXFAT   ", "exFAT"),
        (0x52, b"FAT32   ", "FAT32"),
        (0x36, b"FAT16   ", "FAT16"),
        (0x36, b"FAT12   ", "FAT12"),
        (0x36, b"FAT     ", "FAT"),
    ];
    for (offset, text, name) in other {
        if at(offset, text) {
            return Err(Error::unsupported(
                format!("the volume is {name}, not NTFS"),
                "choose the partition that holds Windows (`coldfix inspect` lists them)",
            ));
        }
    }
    let found = bytes::slice(sector, 3, 8).unwrap_or_default();
    Err(bad(
        3,
        "the name \"NTFS    \"",
        format!("\"{}\"", found.escape_ascii()),
    ))
}

fn cluster_size(sectors_per_cluster: u8, bytes_per_sector: u32) -> Result<u32> {
    // The largest cluster that Windows formats. Its own limit, not the format's.
    const MAX: u32 = 2 << 20;
    let sectors = match sectors_per_cluster {
        few @ 0..=0x80 => u32::from(few),
        many => 1_u32
            .checked_shl(u32::from(many.wrapping_neg()))
            .unwrap_or(0),
    };
    sectors
        .checked_mul(bytes_per_sector)
        .filter(|size| size.is_power_of_two() && *size <= MAX)
        .ok_or_else(|| {
            bad(
                0x0D,
                "sectors per cluster: a power of two, clusters of at most 2 MiB",
                format!("{sectors_per_cluster:#04x}"),
            )
        })
}

fn record_size(clusters_per_record: u8, cluster_size: u32) -> Result<u32> {
    let size = match clusters_per_record {
        clusters @ 1..=0x7F => u32::from(clusters).checked_mul(cluster_size),
        exponent => 1_u32.checked_shl(u32::from(exponent.wrapping_neg())),
    };
    // Windows knows 1024 and 4096; 2048 costs nothing.
    size.filter(|size| matches!(size, 1024 | 2048 | 4096))
        .ok_or_else(|| {
            bad(
                0x40,
                "clusters per MFT record that give 1024 to 4096 bytes",
                format!("{clusters_per_record:#04x}"),
            )
        })
}

#[cfg(test)]
mod tests;
