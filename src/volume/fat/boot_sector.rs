// SPDX-License-Identifier: GPL-2.0-or-later
//! The boot sector: where the tables, the root folder and the clusters lie.
//!
//! ```text
//! | boot sector, reserved | FAT | FAT | root folder (12, 16) | cluster 2 | cluster 3 | ...
//! 11 bytes a sector   13 sectors a cluster   14 reserved   16 FATs   17 root entries   19, 32 sectors in all
//! 22, 36 sectors a FAT   40 flags (7: only one FAT counts, 0-3 which)   44 root cluster   48 FSInfo   67, 39 serial
//! ```
//!
//! FAT32 is told by the length of its tables, as Windows and UEFI do; FAT12 from FAT16 by the number of clusters.
//! Every number is checked against the others and against the device before anything is read by it.
//!
//! Source: Microsoft, "FAT: General Overview of On-Disk Format", version 1.03.

use crate::bytes::{array, u16_le, u32_le};
use crate::error::{Error, Result};

/// How wide the entries of the table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Fat12,
    Fat16,
    Fat32,
}

/// The numbers of a volume, checked. Offsets are bytes from the volume's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) width: Width,
    pub(super) sector_size: u32,
    pub(super) cluster_size: u32,
    /// How many clusters there are; their numbers begin at 2.
    pub(super) clusters: u32,
    /// Where each table begins that is kept up to date; the first is the one that is read.
    pub(super) tables: Vec<u64>,
    /// FAT12 and FAT16: where the root folder lies.
    pub(super) root_offset: u64,
    /// FAT12 and FAT16: how long it is; 0 for FAT32.
    pub(super) root_len: u64,
    /// FAT32: the root folder's first cluster.
    pub(super) root_cluster: u32,
    /// Where cluster 2 begins.
    pub(super) data_offset: u64,
    /// FAT32: where the sector with the count of free clusters is.
    pub(super) info_offset: Option<u64>,
    pub(super) serial: u32,
    /// The label in the boot sector, as stored.
    pub(super) label: [u8; 11],
    /// The boot sector says that the volume was not closed.
    pub(super) dirty: bool,
    /// The second reader, which goes by the number of clusters alone, takes it for the same width and can count its
    /// table's bits in 32 bits.
    pub(super) is_usual: bool,
}

/// FAT12 has fewer clusters than this, FAT16 at least as many. The specification's.
const FAT16_FROM: u32 = 4085;
/// FAT16 has fewer clusters than this. The specification's.
const FAT32_FROM: u32 = 65_525;
/// A table with fewer bits than 2^32.
const LARGEST_USUAL_TABLE: u64 = 1 << 29;
/// Entries of 28 bits, of which the last ones mean something else. The specification's.
const FAT32_LIMIT: u32 = 0x0fff_fff5;

impl Geometry {
    /// Reads the boot sector of a volume of `len` bytes.
    ///
    /// # Errors
    /// `Damaged`, naming the field, when a number is impossible.
    pub(super) fn parse(sector: &[u8], len: u64) -> Result<Geometry> {
        let cut = || damaged(0, "a boot sector of 512 bytes", "less");
        let byte = |offset| {
            array::<1>(sector, offset)
                .map(|[byte]| byte)
                .ok_or_else(cut)
        };
        let short = |offset| u16_le(sector, offset).ok_or_else(cut);
        let long = |offset| u32_le(sector, offset).ok_or_else(cut);
        let sector_size = u32::from(short(11)?);
        let per_cluster = u32::from(byte(13)?);
        let reserved = u64::from(short(14)?);
        let copies = u64::from(byte(16)?);
        let root_entries = u64::from(short(17)?);
        let is_fat32 = short(22)? == 0;
        let table_sectors = match short(22)? {
            0 => u64::from(long(36)?),
            short => u64::from(short),
        };
        let total = match short(19)? {
            0 => u64::from(long(32)?),
            short => u64::from(short),
        };
        let bytes_a_sector = u64::from(sector_size);
        if !matches!(sector_size, 512 | 1024 | 2048 | 4096) {
            let found = sector_size.to_string();
            return Err(damaged(
                11,
                "sectors of 512, 1024, 2048 or 4096 bytes",
                found,
            ));
        }
        if !per_cluster.is_power_of_two() {
            let found = per_cluster.to_string();
            return Err(damaged(13, "a power of two of sectors a cluster", found));
        }
        if reserved == 0 {
            return Err(damaged(14, "at least one reserved sector", "0"));
        }
        if !(1..=2).contains(&copies) {
            return Err(damaged(16, "one table or two", copies.to_string()));
        }
        if is_fat32 && root_entries != 0 {
            let found = root_entries.to_string();
            return Err(damaged(17, "no root folder of fixed length", found));
        }
        if table_sectors == 0 {
            return Err(damaged(36, "a table of at least one sector", "0"));
        }
        // Below 2^32 sectors of at most 4096 bytes: nothing of this can pass 64 bits.
        let bytes = |sectors: u64| sectors.saturating_mul(bytes_a_sector);
        if bytes(total) > len {
            let found = format!("{total} sectors in {len} bytes");
            return Err(damaged(32, "a volume no longer than its partition", found));
        }
        let root_len = root_entries.saturating_mul(32);
        let root_sectors = root_len.div_ceil(bytes_a_sector);
        let tables_end = reserved.saturating_add(table_sectors.saturating_mul(copies));
        let data = tables_end.saturating_add(root_sectors);
        let clusters = total
            .checked_sub(data)
            .and_then(|sectors| sectors.checked_div(u64::from(per_cluster)))
            .and_then(|clusters| u32::try_from(clusters).ok())
            .filter(|clusters| *clusters > 0)
            .ok_or_else(|| {
                let found = format!("{total} sectors, of which {data} come before them");
                damaged(32, "room for clusters", found)
            })?;
        let width = match clusters {
            _ if is_fat32 => Width::Fat32,
            clusters if clusters < FAT16_FROM => Width::Fat12,
            clusters if clusters < FAT32_FROM => Width::Fat16,
            clusters => {
                let found = clusters.to_string();
                return Err(damaged(22, "fewer than 65525 clusters on FAT16", found));
            }
        };
        if clusters >= FAT32_LIMIT {
            return Err(damaged(
                32,
                "fewer than 2^28 clusters",
                clusters.to_string(),
            ));
        }
        let bits: u64 = match width {
            Width::Fat12 => 12,
            Width::Fat16 => 16,
            Width::Fat32 => 32,
        };
        // The table may be shorter than the clusters would have it: what it does not know of is not used.
        let known = bytes(table_sectors)
            .saturating_mul(8)
            .checked_div(bits)
            .unwrap_or(0)
            .saturating_sub(2);
        let clusters = u32::try_from(known).map_or(clusters, |known| known.min(clusters));
        let flags = if is_fat32 { short(40)? } else { 0 };
        let mut tables: Vec<u64> = (0..copies)
            .map(|copy| bytes(reserved.saturating_add(copy.saturating_mul(table_sectors))))
            .collect();
        if flags & 0x80 != 0 {
            // Only one of them counts.
            let active = usize::from(flags & 0xf);
            tables = tables.get(active).copied().into_iter().collect();
            if tables.is_empty() {
                let found = format!("table {active} of {copies}");
                return Err(damaged(40, "an active table that is there", found));
            }
        }
        let info = u64::from(if is_fat32 { short(48)? } else { 0 });
        let (serial, label) = if is_fat32 { (67, 71) } else { (39, 43) };
        let flags = byte(if is_fat32 { 65 } else { 37 })?;
        Ok(Geometry {
            width,
            sector_size,
            cluster_size: sector_size.saturating_mul(per_cluster),
            clusters,
            tables,
            root_offset: bytes(tables_end),
            root_len,
            root_cluster: if is_fat32 { long(44)? } else { 0 },
            data_offset: bytes(data),
            info_offset: (info > 0 && info < reserved).then(|| bytes(info)),
            serial: long(serial)?,
            label: array(sector, label).ok_or_else(cut)?,
            dirty: flags & 1 != 0,
            is_usual: (clusters >= FAT32_FROM) == is_fat32
                && bytes(table_sectors) < LARGEST_USUAL_TABLE,
        })
    }
}

/// The error for a boot sector's field at `offset`.
fn damaged(offset: u64, expected: &str, found: impl Into<String>) -> Error {
    Error::damaged("FAT boot sector", offset, expected, found).with_hint(
        "opening the volume",
        "the volume's boot sector is damaged; check it with fsck.fat or chkdsk, on a copy first",
    )
}
