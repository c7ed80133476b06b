// SPDX-License-Identifier: GPL-2.0-or-later
//! What a partition holds, by its first sector alone.
//!
//! ```text
//!          jump  3: name of the maker      11: BIOS parameter block                  510: 55 AA
//! NTFS     ...   "NTFS    "                sector, cluster, ... 0x28 length       (or without the mark)
//! BitLocker EB 52 90 (Vista) or EB 58 90, "-FVE-FS-"
//! To Go    ...   "MSWIN4.1"                a FAT32 block, and BitLocker's GUID later in the sector
//! ReFS     000   "ReFS\0\0\0\0"            "FSRS"
//! exFAT    ...   "EXFAT   "
//! FAT      EB xx 90 or E9, any maker       a block whose numbers are possible
//! ```
//!
//! A name is enough to say what a partition holds. Whether sector 0 of a *disk* is a volume's boot sector or a
//! master boot record that kept an old volume's first bytes needs more: see the module above.

use uuid::Uuid;

use crate::bytes;
use crate::device::Device;
use crate::error::Result;

/// What a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// An NTFS volume.
    Ntfs,
    /// A FAT12, FAT16 or FAT32 volume.
    Fat,
    /// An exFAT volume.
    ExFat,
    /// A volume encrypted by BitLocker, suspended or not.
    BitLocker,
    /// A ReFS volume.
    Refs,
    /// Nothing: the first 4096 bytes are zero.
    Empty,
    /// Anything else.
    Other,
}

impl Content {
    /// The name for a person.
    pub fn name(self) -> &'static str {
        match self {
            Content::Ntfs => "NTFS",
            Content::Fat => "FAT",
            Content::ExFat => "exFAT",
            Content::BitLocker => "BitLocker",
            Content::Refs => "ReFS",
            Content::Empty => "empty",
            Content::Other => "unknown",
        }
    }

    /// True for a volume that was recognised by its boot sector.
    pub fn is_volume(self) -> bool {
        !matches!(self, Content::Empty | Content::Other)
    }
}

/// BitLocker's mark in a To Go volume's FAT32 boot sector; the second for volumes encrypted while empty.
const BITLOCKER: [Uuid; 2] = [
    uuid::uuid!("4967d63b-2e29-4ad8-8399-f6a339e3d001"),
    uuid::uuid!("92a84d3b-dd80-4d0e-9e4e-b1e3284eaed8"),
];

/// What `volume` holds. Reads at most its first 4096 bytes.
pub(super) fn of(volume: &dyn Device) -> Result<Content> {
    let mut first = [0; 4096];
    let len = usize::try_from(volume.len()).map_or(first.len(), |len| len.min(first.len()));
    let first = first.get_mut(..len).unwrap_or_default();
    volume.read_at(0, first)?;
    Ok(recognise(first))
}

/// What a volume that begins with `first` (at least a sector) holds.
pub(super) fn recognise(first: &[u8]) -> Content {
    let name: [u8; 8] = bytes::array(first, 3).unwrap_or_default();
    let marked = bytes::array(first, 510) == Some([0x55, 0xaa]);
    match &name {
        b"-FVE-FS-" => return Content::BitLocker,
        b"MSWIN4.1" if mentions_bitlocker(first) => return Content::BitLocker,
        b"ReFS\0\0\0\0" => return Content::Refs,
        // A volume that was never meant to start a computer may lack the mark; then its numbers must do.
        b"NTFS    " if marked || ntfs_geometry(first).is_some() => return Content::Ntfs,
        b"EXFAT   " if marked => return Content::ExFat,
        _ => {}
    }
    if marked && is_fat(first) {
        Content::Fat
    } else if first.iter().all(|&byte| byte == 0) {
        Content::Empty
    } else {
        Content::Other
    }
}

fn mentions_bitlocker(first: &[u8]) -> bool {
    let sector = first.get(..512).unwrap_or(first);
    BITLOCKER
        .iter()
        .any(|guid| sector.windows(16).any(|part| part == guid.to_bytes_le()))
}

/// True when the numbers of a FAT boot sector are all possible. Its text ("FAT16   ") is only a comment.
fn is_fat(first: &[u8]) -> bool {
    let check = || {
        let jump = matches!(bytes::array(first, 0)?, [0xeb, _, 0x90] | [0xe9, _, _]);
        let sector = bytes::u16_le(first, 11)?;
        let [cluster] = bytes::array(first, 13)?;
        let reserved = bytes::u16_le(first, 14)?;
        let [copies] = bytes::array(first, 16)?;
        let root_entries = bytes::u16_le(first, 17)?;
        let short_total = bytes::u16_le(first, 19)?;
        let [media] = bytes::array(first, 21)?;
        let short_fat = bytes::u16_le(first, 22)?;
        let long_total = bytes::u32_le(first, 32)?;
        let long_fat = bytes::u32_le(first, 36)?;
        let is_fat32 = root_entries == 0 && short_fat == 0 && long_fat != 0;
        let is_fat16 = root_entries != 0 && short_fat != 0;
        Some(
            jump && matches!(sector, 512 | 1024 | 2048 | 4096)
                && cluster.is_power_of_two()
                && reserved != 0
                && matches!(copies, 1 | 2)
                && (media == 0xf0 || media >= 0xf8)
                && (short_total != 0 || long_total != 0)
                && (is_fat32 || is_fat16),
        )
    };
    check().unwrap_or(false)
}

/// The sector size and the length (both bytes) that an NTFS boot sector gives its volume, without the backup
/// boot sector behind it; `None` when a number in it is impossible.
pub(super) fn ntfs_geometry(first: &[u8]) -> Option<(u32, u64)> {
    if bytes::array(first, 3)? != *b"NTFS    " {
        return None;
    }
    let sector = bytes::u16_le(first, 11)?;
    let [cluster] = bytes::array(first, 13)?;
    // FAT's fields, which NTFS leaves zero: reserved sectors, copies, root entries, sectors; FAT length.
    let unused = bytes::slice(first, 14, 7)?
        .iter()
        .chain(bytes::slice(first, 22, 2)?);
    let sectors = bytes::u64_le(first, 0x28)?;
    let possible = matches!(sector, 512 | 1024 | 2048 | 4096)
        // Sectors per cluster, or from 0xE1 on the negative power of two that gives clusters to 2 MiB.
        && (cluster.is_power_of_two() || cluster >= 0xe1)
        && unused.into_iter().all(|&byte| byte == 0)
        && sectors != 0;
    let len = sectors.checked_mul(u64::from(sector))?;
    possible.then_some((u32::from(sector), len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(name: &[u8; 8]) -> Vec<u8> {
        let mut sector = vec![0; 4096];
        sector[..3].copy_from_slice(&[0xeb, 0x52, 0x90]);
        sector[3..11].copy_from_slice(name);
        sector[510..512].copy_from_slice(&[0x55, 0xaa]);
        sector
    }

    #[test]
    fn volumes_are_told_by_their_first_sector() {
        assert_eq!(recognise(&sector(b"NTFS    ")), Content::Ntfs);
        assert_eq!(recognise(&sector(b"EXFAT   ")), Content::ExFat);
        assert_eq!(recognise(&sector(b"ReFS\0\0\0\0")), Content::Refs);
        assert_eq!(recognise(&sector(b"-FVE-FS-")), Content::BitLocker);
        let mut windows7 = sector(b"-FVE-FS-");
        windows7[1] = 0x58;
        assert_eq!(recognise(&windows7), Content::BitLocker);
        assert_eq!(recognise(&sector(b"whatever")), Content::Other);
        assert_eq!(recognise(&[0; 4096]), Content::Empty);
        assert_eq!(recognise(&[]), Content::Empty);
        let mut unmarked = sector(b"NTFS    ");
        unmarked[510] = 0;
        assert_eq!(recognise(&unmarked), Content::Other);
    }

    /// The numbers of a FAT32 volume of 64 MiB.
    fn fat32() -> Vec<u8> {
        let mut fat = sector(b"MSWIN4.1");
        fat[11..13].copy_from_slice(&512_u16.to_le_bytes());
        fat[13] = 1;
        fat[14] = 32;
        fat[16] = 2;
        fat[21] = 0xf8;
        fat[32..36].copy_from_slice(&131_072_u32.to_le_bytes());
        fat[36..40].copy_from_slice(&1009_u32.to_le_bytes());
        fat
    }

    #[test]
    fn fat_is_told_by_its_numbers_and_to_go_by_its_guid() {
        assert_eq!(recognise(&fat32()), Content::Fat);
        let mut to_go = fat32();
        to_go[424..440].copy_from_slice(&[
            0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e, 0xd8, 0x4a, 0x83, 0x99, 0xf6, 0xa3, 0x39, 0xe3,
            0xd0, 0x01,
        ]);
        assert_eq!(recognise(&to_go), Content::BitLocker);
        for (offset, value) in [
            (11, 1),
            (13, 3),
            (13, 0),
            (14, 0),
            (16, 0),
            (21, 7),
            (36, 0),
            (0, 0),
        ] {
            let mut fat = fat32();
            fat[offset] = value;
            if offset == 36 {
                fat[37] = 0;
            }
            assert_eq!(recognise(&fat), Content::Other, "{offset}");
        }
    }

    #[test]
    fn ntfs_geometry_wants_possible_numbers() {
        let mut ntfs = sector(b"NTFS    ");
        ntfs[11..13].copy_from_slice(&512_u16.to_le_bytes());
        ntfs[13] = 8;
        ntfs[0x28..0x30].copy_from_slice(&2047_u64.to_le_bytes());
        assert_eq!(ntfs_geometry(&ntfs), Some((512, 2047 * 512)));
        for (offset, value) in [
            (11, 1),
            (12, 0),
            (13, 0),
            (13, 3),
            (14, 1),
            (16, 2),
            (22, 9),
            (0x2f, 0xff),
        ] {
            let mut bad = ntfs.clone();
            bad[offset] = value;
            assert_eq!(ntfs_geometry(&bad), None, "{offset}");
        }
        let mut unmarked = ntfs.clone();
        unmarked[510] = 0;
        assert_eq!(recognise(&unmarked), Content::Ntfs);
        ntfs[13] = 0xf4;
        assert!(ntfs_geometry(&ntfs).is_some());
    }
}
