// SPDX-License-Identifier: GPL-2.0-or-later
//! Names of partition types: for people, and to know which ones may hold Windows. Nothing is decided by a type
//! except what links, protects or extends a table.

use uuid::{Uuid, uuid};

/// A link to logical partitions, as the master boot record has three numbers for it.
pub(super) const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
/// The one entry that keeps tools that know no GPT away.
pub(super) const PROTECTIVE: u8 = 0xee;
/// Windows' dynamic disks (Logical Disk Manager).
pub(super) const DYNAMIC_DISK: u8 = 0x42;
/// The same on GPT: metadata, then data.
pub(super) const DYNAMIC_DISK_GUIDS: [Uuid; 2] = [
    uuid!("5808c8aa-7e8f-42e0-85d2-e1e90434cfb3"),
    uuid!("af9b60a0-1431-4f62-bc68-3311714a69ad"),
];
/// Storage Spaces.
pub(super) const STORAGE_SPACES: Uuid = uuid!("e75caf8f-f680-4cee-afa3-b001e56efc2d");

const NUMBERS: &[(u8, &str)] = &[
    (0x01, "FAT12"),
    (0x04, "FAT16 below 32 MiB"),
    (0x05, "extended"),
    (0x06, "FAT16"),
    (0x07, "NTFS or exFAT"),
    (0x0b, "FAT32"),
    (0x0c, "FAT32, LBA"),
    (0x0e, "FAT16, LBA"),
    (0x0f, "extended, LBA"),
    (0x11, "hidden FAT12"),
    (0x14, "hidden FAT16 below 32 MiB"),
    (0x16, "hidden FAT16"),
    (0x17, "hidden NTFS"),
    (0x1b, "hidden FAT32"),
    (0x1c, "hidden FAT32, LBA"),
    (0x1e, "hidden FAT16, LBA"),
    (0x27, "Windows recovery"),
    (0x42, "Windows dynamic disk"),
    (0x82, "Linux swap"),
    (0x83, "Linux"),
    (0x85, "Linux extended"),
    (0x8e, "Linux LVM"),
    (0xa5, "FreeBSD"),
    (0xa8, "macOS"),
    (0xaf, "HFS+"),
    (0xde, "Dell utility"),
    (0xee, "GPT protective"),
    (0xef, "EFI system"),
    (0xfd, "Linux RAID"),
];

const GUIDS: &[(Uuid, &str)] = &[
    (
        uuid!("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"),
        "Microsoft basic data",
    ),
    (
        uuid!("e3c9e316-0b5c-4db8-817d-f92df00215ae"),
        "Microsoft reserved",
    ),
    (
        uuid!("de94bba4-06d1-4d40-a16a-bfd50179d6ac"),
        "Windows recovery",
    ),
    (DYNAMIC_DISK_GUIDS[0], "Windows dynamic disk metadata"),
    (DYNAMIC_DISK_GUIDS[1], "Windows dynamic disk data"),
    (STORAGE_SPACES, "Storage Spaces"),
    (
        uuid!("558d43c5-a1ac-43c0-aac8-d1472b2923d1"),
        "Storage Replica",
    ),
    (uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"), "EFI system"),
    (uuid!("21686148-6449-6e6f-744e-656564454649"), "BIOS boot"),
    (
        uuid!("024dee41-33e7-11d3-9d69-0008c781f39f"),
        "MBR partition scheme",
    ),
    (uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4"), "Linux"),
    (uuid!("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f"), "Linux swap"),
    (uuid!("e6d6d379-f507-44c2-a23c-238f2a3df928"), "Linux LVM"),
    (uuid!("a19d880f-05fc-4d3b-a006-743f0f84911e"), "Linux RAID"),
    (
        uuid!("bc13c2ff-59e6-4262-a352-b275fd6f7172"),
        "Linux extended boot",
    ),
    (uuid!("48465300-0000-11aa-aa11-00306543ecac"), "HFS+"),
    (uuid!("7c3457ef-0000-11aa-aa11-00306543ecac"), "APFS"),
];

/// True for the types that Windows gives to NTFS volumes.
pub(super) fn may_hold_ntfs(guid: Uuid) -> bool {
    [
        uuid!("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"),
        uuid!("de94bba4-06d1-4d40-a16a-bfd50179d6ac"),
    ]
    .contains(&guid)
}

/// `NTFS or exFAT (0x07)`.
pub(super) fn number_name(number: u8) -> String {
    match NUMBERS.iter().find(|(known, _)| *known == number) {
        Some((_, name)) => format!("{name} (0x{number:02x})"),
        None => format!("0x{number:02x}"),
    }
}

/// `Microsoft basic data (ebd0a0a2-b9e5-4433-87c0-68b6b72699c7)`.
pub(super) fn guid_name(guid: Uuid) -> String {
    match GUIDS.iter().find(|(known, _)| *known == guid) {
        Some((_, name)) => format!("{name} ({guid})"),
        None => guid.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_and_unknown_types_have_a_name() {
        assert_eq!(number_name(7), "NTFS or exFAT (0x07)");
        assert_eq!(number_name(0x99), "0x99");
        assert_eq!(
            guid_name(uuid!("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7")),
            "Microsoft basic data (ebd0a0a2-b9e5-4433-87c0-68b6b72699c7)"
        );
        assert_eq!(
            guid_name(Uuid::nil()),
            "00000000-0000-0000-0000-000000000000"
        );
    }
}
