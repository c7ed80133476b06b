// SPDX-License-Identifier: GPL-2.0-or-later
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_lossless
)]

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::device::memory::MemoryDevice;
use crate::error::Kind;

const BASIC_DATA: Uuid = uuid::uuid!("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7");
const EFI_SYSTEM: Uuid = uuid::uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");

use uuid::Uuid;

fn put(disk: &mut [u8], offset: usize, data: &[u8]) {
    disk[offset..offset + data.len()].copy_from_slice(data);
}

/// An NTFS boot sector for a volume of `len` bytes.
fn ntfs(sector: usize, len: usize) -> Vec<u8> {
    let mut boot = vec![0; 512];
    put(&mut boot, 0, b"\xeb\x52\x90NTFS    ");
    put(&mut boot, 11, &(sector as u16).to_le_bytes());
    boot[13] = 8;
    put(&mut boot, 0x28, &((len / sector - 1) as u64).to_le_bytes());
    put(&mut boot, 510, &[0x55, 0xaa]);
    boot
}

/// Writes a boot record's entries (status, type, start, sectors) and mark at `offset`.
fn put_record(disk: &mut [u8], offset: usize, entries: &[(u8, u8, u32, u32)]) {
    for (index, &(status, kind, start, sectors)) in entries.iter().enumerate() {
        let at = offset + 446 + 16 * index;
        disk[at] = status;
        disk[at + 4] = kind;
        put(disk, at + 8, &start.to_le_bytes());
        put(disk, at + 12, &sectors.to_le_bytes());
    }
    put(disk, offset + 510, &[0x55, 0xaa]);
}

/// Writes both copies of a GPT with these partitions (type, first, last), and the protective record.
fn put_gpt(disk: &mut [u8], sector: usize, partitions: &[(Uuid, u64, u64)]) {
    let last = (disk.len() / sector - 1) as u64;
    put_record(disk, 0, &[(0, 0xee, 1, (last as u32).max(1))]);
    let mut entries = vec![0; 16384];
    for (index, &(kind, first, last)) in partitions.iter().enumerate() {
        let at = index * 128;
        put(&mut entries, at, &kind.to_bytes_le());
        put(&mut entries, at + 16, &[index as u8 + 1; 16]);
        put(&mut entries, at + 32, &first.to_le_bytes());
        put(&mut entries, at + 40, &last.to_le_bytes());
        for (i, unit) in "Basic data ü".encode_utf16().enumerate() {
            put(&mut entries, at + 56 + 2 * i, &unit.to_le_bytes());
        }
    }
    let entry_sectors = (16384 / sector) as u64;
    for (own, other, place) in [(1, last, 2), (last, 1, last - entry_sectors)] {
        put(disk, place as usize * sector, &entries);
        let mut header = vec![0; sector];
        put(&mut header, 0, b"EFI PART");
        put(&mut header, 8, &0x10000_u32.to_le_bytes());
        put(&mut header, 12, &92_u32.to_le_bytes());
        put(&mut header, 24, &own.to_le_bytes());
        put(&mut header, 32, &other.to_le_bytes());
        put(&mut header, 40, &(2 + entry_sectors).to_le_bytes());
        put(&mut header, 48, &(last - entry_sectors - 1).to_le_bytes());
        put(&mut header, 56, &[0xd1; 16]);
        put(&mut header, 72, &place.to_le_bytes());
        put(&mut header, 80, &128_u32.to_le_bytes());
        put(&mut header, 84, &128_u32.to_le_bytes());
        put(&mut header, 88, &crc32fast::hash(&entries).to_le_bytes());
        put(disk, own as usize * sector, &header);
        seal(disk, own as usize * sector);
    }
}

/// Makes a header's CRC right again.
fn seal(disk: &mut [u8], header: usize) {
    put(disk, header + 16, &[0; 4]);
    let crc = crc32fast::hash(&disk[header..header + 92]);
    put(disk, header + 16, &crc.to_le_bytes());
}

fn gpt_disk(sector: usize) -> Vec<u8> {
    let mut disk = vec![0; 256 * sector];
    put_gpt(
        &mut disk,
        sector,
        &[(EFI_SYSTEM, 40, 59), (BASIC_DATA, 60, 199)],
    );
    put(&mut disk, 60 * sector, &ntfs(sector, 140 * sector));
    disk
}

fn device(bytes: Vec<u8>) -> SharedDevice {
    Arc::new(MemoryDevice::new(bytes))
}

fn scan_bytes(bytes: &[u8]) -> Result<Table> {
    scan(&device(bytes.to_vec()))
}

fn shape(table: &Table) -> Vec<(u32, u64, u64, Content)> {
    let one = |one: &Partition| (one.number, one.offset, one.len, one.content);
    table.partitions.iter().map(one).collect()
}

fn error_of(bytes: &[u8]) -> (Kind, String) {
    let error = scan_bytes(bytes).unwrap_err();
    assert!(error.hint().is_some(), "{error} has no next step");
    (error.kind(), error.to_string())
}

#[test]
fn mbr_partitions_have_the_numbers_of_their_places() {
    let mut disk = vec![0; 512 * 400];
    put(&mut disk, 440, &0x1234_abcd_u32.to_le_bytes());
    put_record(
        &mut disk,
        0,
        &[
            (0, 7, 8, 100),
            (0, 0, 0, 0),
            (0x80, 0x0c, 108, 50),
            (0, 0x99, 158, 242),
        ],
    );
    put(&mut disk, 8 * 512, &ntfs(512, 100 * 512));
    disk[160 * 512] = 1;
    disk[158 * 512] = 1;
    let table = scan_bytes(&disk).unwrap();
    assert_eq!((table.scheme, table.sector_size), (Scheme::Mbr, 512));
    assert_eq!(table.disk_id.as_deref(), Some("1234abcd"));
    assert_eq!(
        shape(&table),
        [
            (1, 8 * 512, 100 * 512, Content::Ntfs),
            (3, 108 * 512, 50 * 512, Content::Empty),
            (4, 158 * 512, 242 * 512, Content::Other)
        ]
    );
    assert_eq!(table.partitions[0].type_name, "NTFS or exFAT (0x07)");
    assert_eq!(
        table
            .partitions
            .iter()
            .map(|one| one.active)
            .collect::<Vec<_>>(),
        [false, true, false]
    );
    assert!(table.notes.is_empty(), "{:?}", table.notes);

    let base = Arc::new(MemoryDevice::new(disk));
    let shared: SharedDevice = base.clone();
    let volume = table.partitions[0].open(&shared).unwrap();
    assert_eq!(volume.len(), 100 * 512);
    volume.write_at(100 * 512 - 1, &[0xab]).unwrap();
    assert_eq!(base.contents()[108 * 512 - 1], 0xab);
}

/// Extended partition at 100..300 with logical partitions at 110 and 210.
fn extended_disk() -> Vec<u8> {
    let mut disk = vec![0; 512 * 400];
    put_record(&mut disk, 0, &[(0, 7, 8, 92), (0, 0x0f, 100, 200)]);
    put_record(&mut disk, 100 * 512, &[(0, 7, 10, 90), (0, 5, 100, 100)]);
    put_record(&mut disk, 200 * 512, &[(0, 0x83, 10, 90)]);
    put(&mut disk, 110 * 512, &ntfs(512, 90 * 512));
    disk
}

#[test]
fn logical_partitions_count_from_five() {
    let table = scan_bytes(&extended_disk()).unwrap();
    assert_eq!(
        shape(&table),
        [
            (1, 8 * 512, 92 * 512, Content::Empty),
            (5, 110 * 512, 90 * 512, Content::Ntfs),
            (6, 210 * 512, 90 * 512, Content::Empty)
        ]
    );
    assert!(table.notes.is_empty(), "{:?}", table.notes);
}

#[test]
fn a_chain_that_lies_ends_with_a_note() {
    type Spoil = fn(&mut Vec<u8>);
    let cases: [(&str, &str, usize, Spoil); 6] = [
        ("cycle", "leads back", 3, |disk| {
            put_record(disk, 200 * 512, &[(0, 0x83, 10, 90), (0, 5, 0, 100)]);
        }),
        ("out of the extended partition", "leaves its", 3, |disk| {
            put_record(disk, 200 * 512, &[(0, 0x83, 10, 90), (0, 5, 200, 100)]);
        }),
        ("no record", "no boot record", 2, |disk| {
            disk[200 * 512 + 510] = 0
        }),
        ("only the mark", "only its mark", 2, |disk| {
            disk[200 * 512 + 446] = 0x41
        }),
        ("past the disk", "past the disk's end", 3, |disk| {
            put_record(disk, 0, &[(0, 7, 8, 92), (0, 0x0f, 100, u32::MAX)]);
            put_record(
                disk,
                200 * 512,
                &[(0, 0x83, 10, 90), (0, 5, 4_000_000, 100)],
            );
        }),
        ("logical too long", "reaches past", 3, |disk| {
            put_record(disk, 200 * 512, &[(0, 0x83, 10, 91)]);
        }),
    ];
    for (name, says, count, spoil) in cases {
        let mut disk = extended_disk();
        spoil(&mut disk);
        let table = scan_bytes(&disk).unwrap();
        assert_eq!(table.partitions.len(), count, "{name}");
        assert!(
            table.notes.concat().contains(says),
            "{name}: {:?}",
            table.notes
        );
    }
}

#[test]
fn a_chain_without_end_is_cut_at_its_limit() {
    let mut disk = vec![0; 512 * 2000];
    put_record(&mut disk, 0, &[(0, 0x0f, 1, 1999)]);
    for link in 0..900_u32 {
        let at = (1 + 2 * link as usize) * 512;
        put_record(&mut disk, at, &[(0, 0x83, 1, 1), (0, 5, 2 * link + 2, 2)]);
    }
    let table = scan_bytes(&disk).unwrap();
    assert_eq!(table.partitions.len(), 100);
    assert_eq!(table.partitions[99].number, 104);
    assert!(table.notes.concat().contains("more than 100 links"));
}

#[test]
fn partitions_that_cannot_be_are_listed_and_not_opened() {
    let mut disk = vec![0; 512 * 400];
    put_record(
        &mut disk,
        0,
        &[
            (0, 7, 0, 5),
            (0, 7, 100, 100),
            (0, 7, 199, 50),
            (0, 7, 300, 101),
        ],
    );
    let shared = device(disk.clone());
    let table = scan(&shared).unwrap();
    let faults: Vec<_> = table
        .partitions
        .iter()
        .map(|one| one.fault.as_deref().unwrap())
        .collect();
    assert!(faults[0].contains("sector 0"));
    assert_eq!(faults[1], "it overlaps partition 3");
    assert_eq!(faults[2], "it overlaps partition 2");
    assert!(faults[3].contains("the disk has only 204800"));
    assert_eq!(table.notes.len(), 4);
    for partition in &table.partitions {
        let error = partition.open(&shared).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged);
        assert!(error.hint().is_some());
    }
    // Neighbours share nothing.
    put_record(
        &mut disk,
        0,
        &[
            (0, 7, 1, 99),
            (0, 7, 100, 100),
            (0, 7, 200, 50),
            (0, 7, 250, 150),
        ],
    );
    assert!(scan_bytes(&disk).unwrap().notes.is_empty());
}

#[test]
fn gpt_is_read_with_both_sector_sizes_whatever_the_device_says() {
    for sector in [512_usize, 4096] {
        for says in [512, 4096] {
            let disk: SharedDevice =
                Arc::new(MemoryDevice::new(gpt_disk(sector)).with_sector_size(says));
            let table = scan(&disk).unwrap();
            assert_eq!(table.scheme, Scheme::Gpt);
            assert_eq!(table.sector_size, sector as u32);
            let s = sector as u64;
            assert_eq!(
                shape(&table),
                [
                    (1, 40 * s, 20 * s, Content::Empty),
                    (2, 60 * s, 140 * s, Content::Ntfs)
                ]
            );
            assert_eq!(
                table.disk_id.as_deref(),
                Some("d1d1d1d1-d1d1-d1d1-d1d1-d1d1d1d1d1d1")
            );
            let two = &table.partitions[1];
            assert_eq!(two.name.as_deref(), Some("Basic data ü"));
            assert_eq!(
                two.id.as_deref(),
                Some("02020202-0202-0202-0202-020202020202")
            );
            assert!(two.type_name.starts_with("Microsoft basic data"));
            assert_eq!(two.open(&disk).unwrap().sector_size(), sector as u32);
            assert_eq!(
                table.notes.is_empty(),
                says == sector as u32,
                "{:?}",
                table.notes
            );
        }
    }
}

#[test]
fn a_damaged_copy_of_the_gpt_is_told_and_the_other_used() {
    for sector in [512_usize, 4096] {
        let good = gpt_disk(sector);
        let whole = scan_bytes(&good).unwrap();
        let last = good.len() - sector;
        let last_entries = last - 16384;
        for (place, says) in [
            (sector, "primary GPT is damaged"),
            (sector + 56, "primary GPT is damaged"),
            (sector + 16, "primary GPT is damaged"),
            (2 * sector + 40, "primary GPT is damaged"),
            (2 * sector + 16383, "primary GPT is damaged"),
            (last, "backup GPT is damaged"),
            (last + 91, "backup GPT is damaged"),
            (last_entries + 128 * 127, "backup GPT is damaged"),
        ] {
            let mut disk = good.clone();
            disk[place] ^= 1;
            let table = scan_bytes(&disk).unwrap();
            assert_eq!(table.partitions, whole.partitions, "{place:#x}");
            assert_eq!(table.disk_id, whole.disk_id);
            assert!(
                table.notes[0].contains(says),
                "{place:#x}: {:?}",
                table.notes
            );
            // Both at once.
            disk[sector + 60] ^= 1;
            disk[last + 60] ^= 1;
            let (kind, message) = error_of(&disk);
            assert_eq!(kind, Kind::Damaged);
            assert!(
                message.contains("primary") && message.contains("backup"),
                "{message}"
            );
        }
    }
}

#[test]
fn a_differing_or_displaced_backup_is_told() {
    let mut disk = gpt_disk(512);
    let last = disk.len() - 512;
    put(&mut disk, last + 56, &[9; 16]);
    seal(&mut disk, last);
    let table = scan_bytes(&disk).unwrap();
    assert!(table.notes[0].contains("differs"));
    assert_eq!(
        table.disk_id.as_deref(),
        Some("d1d1d1d1-d1d1-d1d1-d1d1-d1d1d1d1d1d1")
    );

    // The disk grew: the primary says where the backup is, and the protective record too.
    let mut disk = gpt_disk(512);
    disk.extend(vec![0; 512 * 100]);
    assert!(scan_bytes(&disk).unwrap().notes[0].contains("made larger"));
    disk[512 + 70] ^= 1;
    assert!(scan_bytes(&disk).unwrap().notes[0].contains("primary GPT is damaged"));
    put(&mut disk, 512, &[0; 512]);
    assert!(scan_bytes(&disk).unwrap().notes[0].contains("primary GPT is damaged"));
    // Not even that: nothing says where.
    put_record(&mut disk, 0, &[(0, 0xee, 1, u32::MAX)]);
    assert_eq!(error_of(&disk).0, Kind::Damaged);
}

#[test]
fn impossible_headers_with_right_checksums_are_damaged() {
    let cases: [(&str, usize, &[u8]); 9] = [
        ("revision", 8, &[0, 0, 2, 0]),
        ("header", 12, &[91, 0, 0, 0]),
        ("header", 12, &[1, 2, 0, 0]),
        ("its own LBA", 24, &[2, 0]),
        ("entries inside", 72, &[0xff; 8]),
        ("entries inside", 72, &[250, 0]),
        ("at most", 80, &[0xff; 4]),
        ("a power of two", 84, &[0xff; 4]),
        ("a power of two", 84, &[127, 0, 0, 0]),
    ];
    for (says, field, value) in cases {
        let mut disk = gpt_disk(512);
        put(&mut disk, 512 + field, value);
        seal(&mut disk, 512);
        let table = scan_bytes(&disk).unwrap();
        let note = &table.notes[0];
        assert!(
            note.contains("primary GPT is damaged") && note.contains(says),
            "{note}"
        );
        assert_eq!(table.partitions.len(), 2);
    }
}

#[test]
fn gpt_partitions_that_cannot_be_are_not_opened() {
    let mut disk = vec![0; 256 * 512];
    put_gpt(
        &mut disk,
        512,
        &[
            (BASIC_DATA, 60, 59),
            (BASIC_DATA, 0, 100),
            (BASIC_DATA, 200, 300),
            (BASIC_DATA, 1 << 60, u64::MAX),
            (BASIC_DATA, 120, 130),
            (BASIC_DATA, 110, 199),
            (BASIC_DATA, 0, u64::MAX),
        ],
    );
    let shared = device(disk);
    let table = scan(&shared).unwrap();
    assert_eq!(table.partitions.len(), 7);
    for partition in &table.partitions {
        assert!(partition.fault.is_some(), "{partition:?}");
        partition.open(&shared).unwrap_err();
    }
}

#[test]
fn a_gpt_needs_its_protective_record_unless_sector_0_is_lost() {
    // Lost: used, and told.
    let mut disk = gpt_disk(512);
    disk[..512].fill(0);
    let table = scan_bytes(&disk).unwrap();
    assert_eq!(table.scheme, Scheme::Gpt);
    assert!(table.notes[0].contains("protective"));
    // Replaced by an ordinary table: left over, not used.
    let mut disk = gpt_disk(512);
    put_record(&mut disk, 0, &[(0, 7, 60, 140)]);
    let table = scan_bytes(&disk).unwrap();
    assert_eq!(table.scheme, Scheme::Mbr);
    assert!(table.notes[0].contains("does not announce"));
    // An empty table and only a backup: left over.
    let mut disk = gpt_disk(512);
    disk[446..510].fill(0);
    disk[512..1024].fill(0);
    let table = scan_bytes(&disk).unwrap();
    assert_eq!((table.scheme, table.partitions.len()), (Scheme::Mbr, 0));
    // A hybrid: the GPT.
    let mut disk = gpt_disk(512);
    put_record(&mut disk, 0, &[(0, 0xee, 1, 59), (0x80, 7, 60, 140)]);
    let table = scan_bytes(&disk).unwrap();
    assert_eq!((table.scheme, table.partitions.len()), (Scheme::Gpt, 2));
    assert!(table.notes[0].contains("hybrid"));
}

#[test]
fn a_bare_volume_is_told_from_a_table_that_kept_its_boot_sector() {
    let len = 512 * 400;
    let mut bare = vec![0; len];
    put(&mut bare, 0, &ntfs(512, len));
    let table = scan_bytes(&bare).unwrap();
    assert_eq!(table.scheme, Scheme::Bare);
    assert_eq!(shape(&table), [(1, 0, len as u64, Content::Ntfs)]);
    assert!(table.notes.is_empty());

    // Boot code that cannot be a table, because a status is impossible or an entry lies outside.
    let mut text = bare.clone();
    put(
        &mut text,
        446,
        b"BOOTMGR is missing\r\nPress Ctrl+Alt+Del to restart\r\n",
    );
    assert_eq!(scan_bytes(&text).unwrap().scheme, Scheme::Bare);
    let mut outside = bare.clone();
    put_record(&mut outside, 0, &[(0, 7, 300, 200)]);
    assert_eq!(scan_bytes(&outside).unwrap().scheme, Scheme::Bare);
    let mut itself = bare.clone();
    put_record(&mut itself, 0, &[(0, 7, 0, 400)]);
    assert_eq!(scan_bytes(&itself).unwrap().scheme, Scheme::Bare);

    // A table over the old boot sector that leads to a volume.
    let mut table_over = bare.clone();
    put_record(&mut table_over, 0, &[(0, 7, 100, 200)]);
    put(&mut table_over, 100 * 512, &ntfs(512, 200 * 512));
    assert_eq!(scan_bytes(&table_over).unwrap().scheme, Scheme::Mbr);
    // One that leads to nothing known: not ours to decide.
    let mut unclear = bare.clone();
    put_record(&mut unclear, 0, &[(0, 0x83, 100, 200)]);
    let (kind, message) = error_of(&unclear);
    assert_eq!(kind, Kind::Refused, "{message}");
    // The same with GPT.
    let mut gpt = gpt_disk(512);
    put(&mut gpt, 0, &ntfs(512, 256 * 512)[..440]);
    assert_eq!(scan_bytes(&gpt).unwrap().scheme, Scheme::Gpt);
    gpt[512] ^= 1;
    assert_eq!(scan_bytes(&gpt).unwrap().scheme, Scheme::Gpt);
    gpt[255 * 512] ^= 1;
    assert_eq!(error_of(&gpt).0, Kind::Refused);
}

#[test]
fn a_bare_volume_brings_its_sector_size_and_its_length() {
    let mut disk = vec![0; 4096 * 10];
    put(&mut disk, 0, &ntfs(4096, 4096 * 10));
    let table = scan_bytes(&disk).unwrap();
    assert_eq!(
        (table.sector_size, table.partitions[0].sector_size),
        (4096, 4096)
    );
    // One sector less is a volume without its backup boot sector, as copying it often leaves it.
    put(&mut disk, 0, &ntfs(4096, 4096 * 11));
    assert!(scan_bytes(&disk).unwrap().notes.is_empty());
    put(&mut disk, 0, &ntfs(4096, 4096 * 12));
    assert!(scan_bytes(&disk).unwrap().notes[0].contains("cut short"));
}

#[test]
fn an_mbr_of_a_4096_byte_disk_is_read_from_a_plain_file() {
    let mut disk = vec![0; 4096 * 100];
    put_record(&mut disk, 0, &[(0, 7, 16, 80)]);
    put(&mut disk, 16 * 4096, &ntfs(4096, 80 * 4096));
    let table = scan_bytes(&disk).unwrap();
    assert_eq!((table.scheme, table.sector_size), (Scheme::Mbr, 4096));
    assert_eq!(shape(&table), [(1, 16 * 4096, 80 * 4096, Content::Ntfs)]);
    assert!(table.notes[0].contains("4096"));
    // And the other way round: a 512-byte table on a device that says 4096.
    let mut disk = vec![0; 512 * 800];
    put_record(&mut disk, 0, &[(0, 7, 16, 80)]);
    put(&mut disk, 16 * 512, &ntfs(512, 80 * 512));
    let disk: SharedDevice = Arc::new(MemoryDevice::new(disk).with_sector_size(4096));
    assert_eq!(scan(&disk).unwrap().sector_size, 512);
}

#[test]
fn what_is_no_disk_is_refused_by_what_it_looks_like() {
    let text: Vec<u8> = "Dear reader, this is no disk.\n"
        .bytes()
        .cycle()
        .take(5000)
        .collect();
    let mut noise: Vec<u8> = (0..5000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    noise[510] = 1;
    for (bytes, kind, says) in [
        (vec![], Kind::Unsupported, "no room"),
        (vec![0; 511], Kind::Unsupported, "no room"),
        (vec![0; 5000], Kind::Unsupported, "all zeros"),
        (text, Kind::Unsupported, "text file"),
        (noise.clone(), Kind::Unsupported, "neither"),
    ] {
        let (found, message) = error_of(&bytes);
        assert_eq!(found, kind, "{message}");
        assert!(message.contains(says), "{message}");
    }
    put(&mut noise, 510, &[0x55, 0xaa]);
    noise[446] = 0x41;
    let (kind, message) = error_of(&noise);
    assert_eq!(kind, Kind::Damaged);
    assert!(message.contains("status"), "{message}");
    let mut empty = vec![0; 5000];
    put(&mut empty, 510, &[0x55, 0xaa]);
    let table = scan_bytes(&empty).unwrap();
    assert!(table.partitions.is_empty() && table.notes[0].contains("no partitions"));
}

#[test]
fn a_lost_boot_sector_is_found_by_its_backup() {
    let len = 512 * 400;
    let mut disk = vec![0; len];
    put(&mut disk, len - 512, &ntfs(512, len));
    let (kind, message) = error_of(&disk);
    assert_eq!(kind, Kind::Damaged);
    assert!(message.contains("backup"), "{message}");

    let mut disk = vec![0; len];
    put_record(&mut disk, 0, &[(0, 7, 8, 100)]);
    put(&mut disk, 107 * 512, &ntfs(512, 100 * 512));
    let table = scan_bytes(&disk).unwrap();
    assert!(
        table.notes[0].contains("boot sector was damaged"),
        "{:?}",
        table.notes
    );
}

/// Whatever a scan gives, its openable partitions are inside the disk and share no byte.
fn check_promises(bytes: &[u8]) {
    let disk = device(bytes.to_vec());
    let Ok(table) = scan(&disk) else {
        return;
    };
    let mut places = Vec::new();
    for partition in &table.partitions {
        if let Ok(volume) = partition.open(&disk) {
            assert_eq!(volume.len(), partition.len);
            places.push((partition.offset, partition.offset + partition.len));
        }
    }
    places.sort_unstable();
    for pair in places.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "{places:?}");
    }
    assert!(table.notes.len() < 1000);
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(mut bytes in prop::collection::vec(any::<u8>(), 0..3000), mark in any::<bool>()) {
        if mark && bytes.len() > 512 {
            put(&mut bytes, 510, &[0x55, 0xaa]);
        }
        check_promises(&bytes);
    }

    #[test]
    fn any_entries_give_an_answer(
        entries in prop::collection::vec(
            (prop_oneof![Just(0_u8), Just(0x80)], prop_oneof![Just(7_u8), Just(5), Just(0x0f), Just(0xee), any::<u8>()],
             prop_oneof![0_u32..500, any::<u32>()], prop_oneof![0_u32..500, any::<u32>()]),
            0..=4,
        ),
        records in prop::collection::vec((1_usize..400, 0_u32..400, 0_u32..400, 0_u32..400), 0..6),
    ) {
        let mut disk = vec![0; 512 * 400];
        put_record(&mut disk, 0, &entries);
        for (place, start, sectors, next) in records {
            put_record(&mut disk, place * 512, &[(0, 7, start, sectors), (0, 5, next, 100)]);
        }
        check_promises(&disk);
    }

    /// Turned bits in a GPT: the CRCs notice, so the partitions are the right ones or there is an error.
    #[test]
    fn turned_bits_in_the_tables_never_give_other_partitions(
        turns in prop::collection::vec((0_usize..2, 0_usize..(512 + 16384) * 8), 1..8),
    ) {
        let good = gpt_disk(512);
        let whole = scan_bytes(&good).unwrap();
        let mut disk = good.clone();
        for (copy, bit) in turns {
            // Header and entries lie side by side in both copies. Past 92 bytes a header means nothing.
            let at = if copy == 0 { 512 } else { disk.len() - 512 - 16384 };
            disk[at + bit / 8] ^= 1 << (bit % 8);
        }
        match scan_bytes(&disk) {
            Ok(table) => prop_assert_eq!(table.partitions, whole.partitions),
            Err(error) => prop_assert_eq!(error.kind(), Kind::Damaged),
        }
    }

    /// Right checksums around any entries: bounded, no panic, nothing that cannot be.
    #[test]
    fn any_gpt_entries_give_an_answer(
        partitions in prop::collection::vec(
            (prop_oneof![0_u64..300, any::<u64>()], prop_oneof![0_u64..300, any::<u64>()]), 0..20),
        count in prop_oneof![0_u32..200, any::<u32>()],
        size in prop_oneof![Just(128_u32), Just(256), any::<u32>()],
    ) {
        let mut disk = vec![0; 256 * 512];
        let partitions: Vec<_> = partitions.into_iter().map(|(first, last)| (BASIC_DATA, first, last)).collect();
        put_gpt(&mut disk, 512, &partitions);
        check_promises(&disk);
        put(&mut disk, 512 + 80, &count.to_le_bytes());
        put(&mut disk, 512 + 84, &size.to_le_bytes());
        seal(&mut disk, 512);
        check_promises(&disk);
    }
}
