// SPDX-License-Identifier: GPL-2.0-or-later
//! Headers, regions, metadata and block states of VHDX files, one rule of the specification at a time.

use std::fs;
use std::sync::Arc;

use coldfix::container;
use coldfix::device::memory::MemoryDevice;
use coldfix::error::Kind;
use uuid::Uuid;

use super::build::{self, BAT, LOG, METADATA, MIB, Vhdx, entry};
use super::disks::{
    contents, guids, in_memory, libvhdi_raw, open, require_libvhdi, small, write_image,
};
use super::support;

#[test]
fn the_header_that_counts_is_found_and_both_are_written() {
    let (_, image) = small();
    let whole = image.bytes();
    let header = |bytes: &[u8], slot: usize| bytes[(64 << 10) * (slot + 1)..][..4096].to_vec();
    let sequence = |header: &[u8]| u64::from_le_bytes(header[8..16].try_into().unwrap());
    let written = |bytes: Vec<u8>| {
        let device = Arc::new(MemoryDevice::new(bytes.clone()));
        let container = container::open(device.clone()).unwrap();
        container.disk.write_at(5, b"x").unwrap();
        container.seal(&[]).unwrap();
        let after = device.contents();
        assert!(after[..64 << 10] == bytes[..64 << 10]);
        (header(&after, 0), header(&after, 1), container.notes)
    };
    // Slot 1 counts (4 over 3): slot 0 gets 5, then slot 1 gets 6.
    let (one, two, notes) = written(whole.clone());
    assert_eq!((sequence(&one), sequence(&two)), (5, 6));
    assert!(notes.is_empty());
    assert!(one[16..] == two[16..]);
    assert!(one[16..48] != header(&whole, 1)[16..48]);
    for slot in [&one, &two] {
        let mut sealed = slot.clone();
        build::seal_vhdx(&mut sealed);
        assert_eq!(&sealed, slot);
    }
    // Either alone will do, and both are made good.
    for (bad, expected) in [(0, (5, 6)), (1, (5, 4))] {
        let mut bytes = whole.clone();
        bytes[(64 << 10) * (bad + 1) + 3000] ^= 1;
        let (one, two, notes) = written(bytes);
        assert_eq!((sequence(&one), sequence(&two)), expected);
        assert!(notes[0].contains("One of the two headers"), "{notes:?}");
    }
    // The same in both (as disk2vhd writes them) is fine; another with the same number is not.
    let mut same = whole.clone();
    same.copy_within(64 << 10..68 << 10, 128 << 10);
    let (one, two, _) = written(same.clone());
    assert_eq!((sequence(&one), sequence(&two)), (5, 4));
    let at = 128 << 10;
    same[at + 32] ^= 1;
    build::seal_vhdx(&mut same[at..at + 4096]);
    let error = container::open(Arc::new(MemoryDevice::new(same))).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);
    assert!(
        error.to_string().contains("sequence number 3 in both"),
        "{error}"
    );
    // Neither.
    let mut none = whole;
    none[(64 << 10) + 3000] ^= 1;
    none[(128 << 10) + 3000] ^= 1;
    let error = container::open(Arc::new(MemoryDevice::new(none))).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);
    assert!(error.to_string().contains("CRC-32C"), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn sealing_gives_the_same_changes_the_same_guids() {
    let folder = support::temporary();
    let path = folder.path().join("disk.vhdx");
    let (_, image) = small();
    write_image(&path, &image);
    let sealed = |text: &[u8]| {
        let opened = open(&path).unwrap();
        opened.disk().write_at(2 * MIB, text).unwrap();
        let target = folder.path().join("target.vhdx");
        opened.commit_to(&target);
        let once = guids(&target);
        // Again: nothing more changes.
        let changes = opened.overlay.changes().unwrap();
        opened.container.seal(&changes).unwrap();
        assert_eq!(opened.overlay.changes().unwrap(), changes);
        once
    };
    let (one, same, other) = (sealed(b"one"), sealed(b"one"), sealed(b"two"));
    assert_eq!(one, same);
    assert!(one.0 != other.0 && one.1 != other.1);
    let before = guids(&path);
    assert!(one.0 != before.0 && one.1 != before.1 && one.0 != one.1);
    // A look changes nothing.
    let opened = open(&path).unwrap();
    let _ = contents(opened.disk());
    assert!(opened.overlay.is_unchanged());
}

#[test]
fn every_payload_state_is_read_as_it_should_be() {
    let folder = support::temporary();
    let place = |name: &str| folder.path().join(name);
    // The parent: 8 blocks of 1 MiB, all 0x55.
    let mut parent = Vhdx::new(8 * MIB, MIB as u32);
    let at = (BAT + parent.bat_len()) >> 20;
    parent.bat = (0..8).map(|block| (block, entry(6, at + block))).collect();
    let mut image = parent.build();
    image.put(at << 20, vec![0x55; 8 * MIB as usize]);
    write_image(&place("base.vhdx"), &image);

    // The child: one block of each state, with a file offset that means nothing where none is due. Block 7 has
    // the first sector and sector 9.
    let mut child = Vhdx::new(8 * MIB, MIB as u32);
    child.parent = Some((
        parent.data_write_guid,
        r"C:\never\looked\at\..\base.vhdx".into(),
    ));
    let at = (BAT + child.bat_len()) >> 20;
    let ratio = child.chunk_ratio();
    child.bat = vec![
        (0, entry(0, 0)),
        (1, entry(1, at)),
        (2, entry(2, at)),
        (3, entry(3, at)),
        (4, entry(5, 0)),
        (5, entry(6, at)),
        (6, entry(0, at)),
        (7, entry(7, at + 1)),
        (ratio, entry(6, at + 2)),
    ];
    let mut image = child.build();
    image.put(at << 20, vec![0xaa; 2 * MIB as usize]);
    let bitmap = (at + 2) << 20;
    let bits = bitmap + 7 * MIB / 512 / 8;
    image.put(bits, [0b0000_0001, 0b0000_0010]);
    // Bits of a block that is not partially present mean nothing.
    image.put(bitmap + 6 * MIB / 512 / 8, [0xff; 16]);
    image.len = image.len.max((at + 3) << 20);
    write_image(&place("child.vhdx"), &image);
    let opened = open(&place("child.vhdx")).unwrap();
    let mut expected = vec![0x55; 8 * MIB as usize];
    expected[MIB as usize..5 * MIB as usize].fill(0);
    expected[5 * MIB as usize..6 * MIB as usize].fill(0xaa);
    expected[7 * MIB as usize..][..512].fill(0xaa);
    expected[7 * MIB as usize + 9 * 512..][..512].fill(0xaa);
    assert!(contents(opened.disk()) == expected);
    // A write clears the stale bits first.
    opened.disk().write_at(6 * MIB + 4096, &[1; 100]).unwrap();
    expected[6 * MIB as usize + 4096..][..100].fill(1);
    assert!(contents(opened.disk()) == expected);
    opened.disk().write_at(2 * MIB + 9, &[2; 100]).unwrap();
    expected[2 * MIB as usize + 9..][..100].fill(2);
    opened.disk().write_at(7 * MIB + 512, &[3; 512]).unwrap();
    expected[7 * MIB as usize + 512..][..512].fill(3);
    assert!(contents(opened.disk()) == expected);
    if require_libvhdi() {
        let written = place("written.vhdx");
        opened.commit_to(&written);
        let raw = place("raw");
        libvhdi_raw(&written, &[&place("base.vhdx")], &raw);
        let theirs = fs::read(&raw).unwrap();
        // libvhdi shows the parent where a child has zeros; the other blocks it reads as we do.
        for block in [0, 2, 5, 6, 7] {
            let range = block * MIB as usize..(block + 1) * MIB as usize;
            assert!(
                theirs[range.clone()] == expected[range],
                "libvhdi, block {block}"
            );
        }
    }

    // Without a parent, 7 is no state, and neither is 4 anywhere.
    let (vhdx, _) = small();
    for (state, readable) in [
        (0, true),
        (1, true),
        (2, true),
        (3, true),
        (4, false),
        (5, true),
        (7, false),
    ] {
        let mut vhdx = vhdx.clone();
        vhdx.bat[1].1 = entry(state, 1);
        let device = in_memory(&vhdx.build());
        let disk = container::open(device).unwrap().disk;
        let result = disk.read_at(2 * MIB, &mut [0; 16]);
        assert_eq!(result.is_ok(), readable, "{state}");
        if let Err(error) = result {
            assert_eq!(error.kind(), Kind::Damaged);
            assert!(error.to_string().contains("entry 2"), "{error}");
        }
    }
}

#[test]
fn a_block_table_that_lists_some_space_twice_is_read_but_never_written() {
    let (vhdx, _) = small();
    let place = (BAT + vhdx.bat_len()) >> 20;
    for (what, wrong, readable) in [
        ("the block again", entry(6, place), true),
        ("the BAT", entry(6, BAT >> 20), true),
        ("the log", entry(6, LOG >> 20), true),
        ("the metadata", entry(6, METADATA >> 20), true),
        ("the headers", entry(6, 0), false),
        ("past the end", entry(6, place + 1), false),
        ("far past the end", entry(6, (1 << 44) - 1), false),
        ("reserved bits", entry(6, place) | 8, false),
    ] {
        let mut vhdx = vhdx.clone();
        vhdx.bat.push((1, wrong));
        let mut image = vhdx.build();
        image.put(place << 20, vec![0xaa; MIB as usize]);
        let device = in_memory(&image);
        let before = device.contents();
        let container = container::open(device.clone()).unwrap();
        let mut sector = [0; 512];
        container.disk.read_at(0, &mut sector).unwrap();
        assert_eq!(sector, [0xaa; 512]);
        let read = container.disk.read_at(MIB, &mut sector);
        assert_eq!(read.is_ok(), readable, "{what}");
        let error = container.disk.write_at(0, &[1]).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged, "{what}: {error}");
        assert!(error.hint().is_some(), "{what}");
        assert!(device.contents() == before);
    }
}

#[test]
fn what_is_required_and_not_known_is_refused_and_what_is_optional_is_not() {
    let (vhdx, _) = small();
    let stranger = Uuid::from_u128(0xabcd);
    let open = |vhdx: &Vhdx| container::open(in_memory(&vhdx.build()));
    for (flags, kind) in [
        (0, None),
        (4, Some(Kind::Unsupported)),
        (1, None),
        (5, Some(Kind::Unsupported)),
    ] {
        let mut vhdx = vhdx.clone();
        vhdx.items = vec![(stranger, flags, vec![1, 2, 3])];
        assert_eq!(
            open(&vhdx).err().map(|error| error.kind()),
            kind,
            "item {flags}"
        );
    }
    let free = BAT + vhdx.bat_len();
    for (offset, flags, kind) in [
        (free, 0, None),
        (free, 1, Some(Kind::Unsupported)),
        (BAT, 0, Some(Kind::Damaged)),
        (LOG, 0, Some(Kind::Damaged)),
        (free + 512, 0, Some(Kind::Damaged)),
        (0, 0, Some(Kind::Damaged)),
        (1 << 40, 0, Some(Kind::Damaged)),
    ] {
        let mut vhdx = vhdx.clone();
        vhdx.regions = vec![(stranger, offset, MIB as u32, flags)];
        let mut image = vhdx.build();
        image.len = free + 2 * MIB;
        let result = container::open(in_memory(&image));
        assert_eq!(
            result.err().map(|error| error.kind()),
            kind,
            "region {offset:#x} {flags}"
        );
    }
    let incomplete = Uuid::parse_str("71cc85f0-1b69-4e28-9558-c3bf83ae75d3").unwrap();
    let mut unfinished = vhdx.clone();
    unfinished.items = vec![(incomplete, 4, Vec::new())];
    let error = open(&unfinished).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("never finished"), "{error}");

    // Either region table will do.
    for bad in [192 << 10, 256 << 10] {
        let mut bytes = vhdx.build().bytes();
        bytes[bad + 20] ^= 1;
        let container = container::open(Arc::new(MemoryDevice::new(bytes))).unwrap();
        assert!(
            container.notes[0].contains("region tables"),
            "{:?}",
            container.notes
        );
    }
    let mut bytes = vhdx.build().bytes();
    bytes[(192 << 10) + 20] ^= 1;
    bytes[(256 << 10) + 20] ^= 1;
    let error = container::open(Arc::new(MemoryDevice::new(bytes))).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);

    type Change = fn(&mut Vhdx);
    let cases: [(&str, Change, Kind); 7] = [
        (
            "block size",
            |vhdx| vhdx.block_size = 3 << 20,
            Kind::Damaged,
        ),
        ("sector size", |vhdx| vhdx.sector_size = 1024, Kind::Damaged),
        ("size zero", |vhdx| vhdx.size = 0, Kind::Damaged),
        ("odd size", |vhdx| vhdx.size = 1000, Kind::Damaged),
        (
            "over 64 TiB",
            |vhdx| vhdx.size = (64 << 40) + 512,
            Kind::Damaged,
        ),
        (
            "item twice",
            |vhdx| {
                let id = Uuid::parse_str("beca12ab-b2e6-4523-93ef-c309e000c746").unwrap();
                vhdx.items = vec![(id, 6, vec![0; 16])];
            },
            Kind::Damaged,
        ),
        (
            "no linkage",
            |vhdx| vhdx.parent = Some((Uuid::nil(), String::new())),
            Kind::Refused,
        ),
    ];
    for (what, change, kind) in cases {
        let (mut vhdx, _) = small();
        vhdx.bat.clear();
        let before = vhdx.clone();
        change(&mut vhdx);
        // The tables are laid out for the sound disk.
        let mut image = before.build();
        let changed = Vhdx {
            size: vhdx.size.min(1 << 30),
            ..vhdx.clone()
        };
        for (offset, data) in changed.build().parts {
            if offset == METADATA || (offset > METADATA && offset < BAT) {
                image.put(offset, data);
            }
        }
        if vhdx.size > 1 << 30 {
            image.put(METADATA + (64 << 10) + 8, vhdx.size.to_le_bytes());
        }
        let error = container::open(in_memory(&image)).unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert!(error.hint().is_some(), "{what}");
    }
    // A BAT that is too small for the disk.
    let (vhdx, _) = small();
    let mut image = vhdx.build();
    image.put(METADATA + (64 << 10) + 8, (1_u64 << 40).to_le_bytes());
    let error = container::open(in_memory(&image)).unwrap_err();
    assert!(error.to_string().contains("BAT region"), "{error}");
}
