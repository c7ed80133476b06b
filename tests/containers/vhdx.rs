// SPDX-License-Identifier: GPL-2.0-or-later
//! VHDX files that Windows, qemu and disk2vhd made, and files that we wrote, against qemu-img and libvhdi.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use coldfix::container::ContainerKind;
use coldfix::device::Device as _;
use coldfix::partition;
use uuid::Uuid;

use super::build::{BAT, Vhdx, entry};
use super::disks::{
    Noise, assert_same, assert_same_raw, dissect_raw, each_real, guids, libvhdi_at, libvhdi_raw,
    open, qemu_check, qemu_raw, qemu_replayed, real, require_libvhdi, write_both, write_image,
};
use super::support;

pub const REAL: [(&str, ContainerKind); 9] = [
    ("w10-ntfs-fixed.vhdx", ContainerKind::FixedVhdx),
    ("w10-ntfs-parent.vhdx", ContainerKind::FixedVhdx),
    ("w10-fat-parent.vhdx", ContainerKind::FixedVhdx),
    ("w10-ntfs-dynamic.vhdx", ContainerKind::DynamicVhdx),
    ("ws2022-gpt-ntfs.vhdx", ContainerKind::DynamicVhdx),
    ("w8-dynamic-1g.vhdx", ContainerKind::DynamicVhdx),
    ("disk2vhd.vhdx", ContainerKind::DynamicVhdx),
    (
        "w10-ntfs-differential.vhdx",
        ContainerKind::DifferencingVhdx,
    ),
    ("w10-fat-differential.vhdx", ContainerKind::DifferencingVhdx),
];

pub const DIRTY: [&str; 2] = ["w10-dirty-log.vhdx", "qemu-dirty-log-10g.vhdx"];

#[test]
fn every_real_vhdx_is_the_disk_that_others_read() {
    each_real(REAL, |name, real| {
        let raw = real.place("raw");
        let (image, parents) = (real.image(), real.parents());
        assert!(real.opened.overlay.is_unchanged());
        if parents.is_empty() {
            qemu_raw("vhdx", image, &raw);
            assert_same(real.disk(), &raw, &format!("{name}, qemu-img"));
            assert!(real.opened.container.notes.is_empty());
        }
        libvhdi_raw(image, &parents, &raw);
        assert_same(real.disk(), &raw, &format!("{name}, libvhdi"));
        dissect_raw(image, &raw);
        assert_same(real.disk(), &raw, &format!("{name}, dissect"));
        if name.starts_with('w') && !name.starts_with("w8") {
            let table = partition::scan(real.disk()).unwrap();
            assert_eq!(table.partitions.len(), 1, "{name}");
        }
    });
}

#[test]
fn a_log_is_replayed_as_qemu_replays_it_and_closed_by_what_is_committed() {
    if !support::require("qemu-img") {
        return;
    }
    let folder = support::temporary();
    let raw = folder.path().join("raw");
    let theirs = folder.path().join("theirs.vhdx");
    let ours = folder.path().join("ours.vhdx");
    for name in DIRTY {
        let Some(image) = real(name, folder.path()) else {
            return;
        };
        let before = support::sha256(&image);
        qemu_replayed(&image, &theirs);
        qemu_raw("vhdx", &theirs, &raw);
        let opened = open(&image).unwrap();
        assert!(!opened.overlay.is_unchanged());
        assert_same(opened.disk(), &raw, name);
        let notes = opened.container.notes.join(" ");
        assert!(notes.contains("not closed cleanly"), "{notes}");
        // All but the headers is, byte by byte, what qemu made of it.
        opened.commit_to(&ours);
        assert_eq!(support::sha256(&image), before);
        let (one, two) = (File::open(&theirs).unwrap(), File::open(&ours).unwrap());
        assert_eq!(one.metadata().unwrap().len(), two.metadata().unwrap().len());
        let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
        for piece in 0..one.metadata().unwrap().len() >> 20 {
            one.read_exact_at(&mut a, piece << 20).unwrap();
            two.read_exact_at(&mut b, piece << 20).unwrap();
            if piece == 0 {
                a[64 << 10..192 << 10].fill(0);
                b[64 << 10..192 << 10].fill(0);
            }
            assert!(a == b, "{name}: MiB {piece}");
        }
        // Closed: nothing left to replay, for qemu and for us; what the disk holds is not other than before.
        qemu_check(&ours);
        let again = open(&ours).unwrap();
        assert!(again.overlay.is_unchanged());
        assert!(again.container.notes.is_empty());
        assert_same(again.disk(), &raw, &format!("{name}, reopened"));
        assert_eq!(guids(&ours).1, guids(&image).1, "data write GUID");
        assert_ne!(guids(&ours).0, guids(&image).0, "file write GUID");
    }
}

#[test]
fn what_is_written_others_read_back() {
    let dirty = DIRTY.map(|name| (name, ContainerKind::DynamicVhdx));
    each_real(REAL.into_iter().chain(dirty), |name, real| {
        let (model, raw) = (real.place("model"), real.place("raw"));
        let written = real.place("written.vhdx");
        let (image, parents) = (real.image(), real.parents());
        let is_dirty = DIRTY.contains(&name);
        if is_dirty {
            qemu_replayed(image, &written);
            qemu_raw("vhdx", &written, &model);
        } else {
            libvhdi_raw(image, &parents, &model);
        }
        write_both(real.disk(), &model, 40, &mut Noise::new(11));
        assert_same(real.disk(), &model, &format!("{name}, through the overlay"));
        real.opened.commit_to(&written);
        if parents.is_empty() {
            qemu_check(&written);
            qemu_raw("vhdx", &written, &raw);
            assert_same_raw(&model, &raw);
        }
        if real.disk().len() <= 1 << 30 {
            libvhdi_raw(&written, &parents, &raw);
            assert_same_raw(&model, &raw);
            dissect_raw(&written, &raw);
            assert_same(real.disk(), &raw, &format!("{name}, written, dissect"));
        }
        real.assert_written(&written, &model, name);
        let (old, new) = (guids(image), guids(&written));
        assert!(old.0 != new.0 && old.1 != new.1, "{name}");
    });
}

/// Blocks -1, 0 and +1 of the first and the second chunk border, for both usual block sizes, written by us and read
/// by others; and placed by the builder and read by us.
#[test]
fn past_4_gib_blocks_are_where_the_bitmap_entries_leave_them() {
    if !support::require("qemu-img") || !require_libvhdi() {
        return;
    }
    let folder = support::temporary();
    let image = folder.path().join("disk.vhdx");
    let written = folder.path().join("written.vhdx");
    for block_size in [2_u32 << 20, 32 << 20] {
        let block = u64::from(block_size);
        let mut vhdx = Vhdx::new(9 << 30, block_size);
        let ratio = vhdx.chunk_ratio();
        assert_eq!(ratio * block, 4 << 30);
        // By the specification: one bitmap entry more for each chunk before.
        let tables = (BAT + vhdx.bat_len()) >> 20;
        let mib = block >> 20;
        let placed = [
            (ratio - 1, ratio - 1, tables),
            (ratio, ratio + 1, tables + mib),
            (2 * ratio, 2 * ratio + 2, tables + 2 * mib),
        ];
        vhdx.bat = placed
            .iter()
            .map(|(_, index, place)| (*index, entry(6, *place)))
            .collect();
        let mut made = vhdx.build();
        for (block_number, _, place) in placed {
            made.put(place << 20, format!("block {block_number}").into_bytes());
            made.len = made.len.max((place + mib) << 20);
        }
        write_image(&image, &made);
        let opened = open(&image).unwrap();
        let expect = |block_number: u64, text: &str| {
            let mut found = vec![0; text.len()];
            opened
                .disk()
                .read_at(block_number * block, &mut found)
                .unwrap();
            assert_eq!(String::from_utf8(found).unwrap(), text);
        };
        for (block_number, ..) in placed {
            expect(block_number, &format!("block {block_number}"));
        }
        let new = [0, ratio - 2, ratio + 1, 2 * ratio - 1, 2 * ratio + 1];
        for block_number in new {
            let text = format!("written {block_number}");
            opened
                .disk()
                .write_at(block_number * block, text.as_bytes())
                .unwrap();
            expect(block_number, &text);
        }
        // Over the border of two chunks in one write.
        let border = ratio * block - 3;
        opened.disk().write_at(border, b"border").unwrap();
        let last = (9 << 30) - 4096;
        opened.disk().write_at(last, &[0x77; 4096]).unwrap();
        opened.commit_to(&written);
        qemu_check(&written);

        let raw = folder.path().join("raw");
        qemu_raw("vhdx", &written, &raw);
        assert_same(opened.disk(), &raw, "past 4 GiB, qemu-img");
        let offsets: Vec<u64> = new
            .into_iter()
            .chain(placed.map(|(number, ..)| number))
            .map(|number| number * block)
            .chain([border & !4095, last])
            .collect();
        for (offset, theirs) in offsets.iter().zip(libvhdi_at(&written, &[], &offsets)) {
            let mut ours = vec![0; 4096];
            opened.disk().read_at(*offset, &mut ours).unwrap();
            assert!(ours == theirs, "libvhdi at {offset:#x}");
            assert!(ours.iter().any(|byte| *byte != 0));
        }
    }
}

#[test]
fn a_child_past_4_gib_keeps_a_bitmap_for_each_chunk() {
    if !require_libvhdi() {
        return;
    }
    let folder = support::temporary();
    let (base, child) = (
        folder.path().join("base.vhdx"),
        folder.path().join("child.vhdx"),
    );
    let block = 2 << 20;
    let mut parent = Vhdx::new(9 << 30, block as u32);
    let tables = (BAT + parent.bat_len()) >> 20;
    // Three blocks of the parent hold something: the last of chunk 0, the first of chunk 1 and of chunk 2.
    let numbers = [2047, 2048, 4096];
    for (at, number) in numbers.iter().enumerate() {
        let place = tables + 2 * at as u64;
        parent.bat.push((number + number / 2048, entry(6, place)));
    }
    let mut made = parent.build();
    for (at, number) in numbers.iter().enumerate() {
        let place = (tables + 2 * at as u64) << 20;
        made.put(place, Noise::new(*number).bytes(block as usize));
    }
    write_image(&base, &made);
    let mut vhdx = Vhdx::new(9 << 30, block as u32);
    vhdx.data_write_guid = Uuid::from_u128(5);
    vhdx.parent = Some((parent.data_write_guid, r".\base.vhdx".into()));
    // A zero block in the child hides the parent's.
    vhdx.bat = vec![(4098, entry(2, 0))];
    write_image(&child, &vhdx.build());
    let opened = open(&child).unwrap();
    assert_eq!(opened.container.kind, ContainerKind::DifferencingVhdx);
    let read = |offset: u64| {
        let mut found = vec![0; 4096];
        opened.disk().read_at(offset, &mut found).unwrap();
        found
    };
    assert_eq!(read(4096 * block), [0; 4096]);
    assert!(read(2048 * block) == Noise::new(2048).bytes(4096));
    for number in [2047_u64, 2048, 2049, 4096] {
        opened
            .disk()
            .write_at(number * block + 8192 + 700, b"child")
            .unwrap();
    }
    opened.disk().write_at(2048 * block - 2, b"both").unwrap();
    let written = folder.path().join("written.vhdx");
    opened.commit_to(&written);
    let mut offsets = Vec::new();
    for number in [2047_u64, 2048, 2049, 4096] {
        for at in [0, 4096, 8192, 12288, block - 4096] {
            offsets.push(number * block + at);
        }
    }
    let theirs = libvhdi_at(&written, &[&base], &offsets);
    for (offset, theirs) in offsets.iter().zip(theirs) {
        assert!(read(*offset) == theirs, "libvhdi at {offset:#x}");
    }
    // One bitmap block for the first chunk, one for the second; the block that was zeros is whole and has none.
    let bat = |index: u64| {
        let mut entry = [0; 8];
        let file = File::open(&written).unwrap();
        file.read_exact_at(&mut entry, BAT + index * 8).unwrap();
        u64::from_le_bytes(entry) & 7
    };
    let states = [2047, 2048, 2049, 2050, 4097, 4098, 6146].map(bat);
    assert_eq!(states, [7, 6, 7, 7, 6, 6, 0]);
    drop(opened);
    let again = open(&written).unwrap();
    assert!(again.overlay.is_unchanged());
}

#[test]
fn large_disks_open_at_once() {
    let folder = support::temporary();
    let path = folder.path().join("large.vhdx");
    for (size, block_size) in [
        (8_u64 << 40, 2_u32 << 20),
        (64 << 40, 1 << 20),
        (64 << 40, 256 << 20),
    ] {
        let mut vhdx = Vhdx::new(size, block_size);
        let blocks = size / u64::from(block_size);
        let last = blocks - 1 + (blocks - 1) / vhdx.chunk_ratio();
        let place = (BAT + vhdx.bat_len()) >> 20;
        vhdx.bat = vec![(last, entry(6, place))];
        let mut image = vhdx.build();
        image.len += u64::from(block_size);
        write_image(&path, &image);
        let started = Instant::now();
        let opened = open(&path).unwrap();
        let took = started.elapsed();
        assert!(took < Duration::from_millis(200), "{size}: {took:?}");
        assert_eq!(opened.disk().len(), size);
        let mut sector = [1; 512];
        opened.disk().read_at(size / 2, &mut sector).unwrap();
        opened.disk().read_at(size - 512, &mut sector).unwrap();
        assert_eq!(sector, [0; 512]);
        // The first write looks at the whole table, once.
        let started = Instant::now();
        opened.disk().write_at(size - 5, b"hello").unwrap();
        opened.disk().write_at(size / 2, b"there").unwrap();
        eprintln!(
            "{} TiB, blocks of {} MiB: opened in {took:?}, written in {:?}",
            size >> 40,
            block_size >> 20,
            started.elapsed()
        );
        let mut found = [0; 5];
        opened.disk().read_at(size - 5, &mut found).unwrap();
        assert_eq!(&found, b"hello");
        assert_eq!(opened.overlay.len(), image.len + u64::from(block_size));
    }
}

#[test]
fn sectors_of_4096_bytes_make_chunks_of_32_gib() {
    if !require_libvhdi() {
        return;
    }
    let folder = support::temporary();
    let (base, child) = (
        folder.path().join("base.vhdx"),
        folder.path().join("child.vhdx"),
    );
    let size = 40_u64 << 30;
    let mut parent = Vhdx::new(size, 32 << 20);
    parent.sector_size = 4096;
    assert_eq!(
        parent.chunk_ratio() * u64::from(parent.block_size),
        32 << 30
    );
    write_image(&base, &parent.build());
    let opened = open(&base).unwrap();
    assert_eq!(opened.disk().sector_size(), 4096);
    let places = [0_u64, (32 << 30) - 4096, 32 << 30, size - 4096];
    for place in places {
        opened.disk().write_at(place, &[0x42; 4096]).unwrap();
    }
    let written = folder.path().join("new.vhdx");
    opened.commit_to(&written);
    for theirs in libvhdi_at(&written, &[], &places) {
        assert_eq!(theirs, [0x42; 4096]);
    }
    drop(opened);
    fs::rename(&written, &base).unwrap();
    let mut vhdx = parent.clone();
    vhdx.parent = Some((guids(&base).1, r".\base.vhdx".into()));
    write_image(&child, &vhdx.build());
    let opened = open(&child).unwrap();
    opened.disk().write_at((32 << 30) + 100, b"child").unwrap();
    opened
        .disk()
        .write_at((32 << 30) + 3 * 4096, &[7; 8192])
        .unwrap();
    opened.commit_to(&written);
    let offsets: Vec<u64> = (0..8)
        .map(|at| (32 << 30) + at * 4096)
        .chain(places)
        .collect();
    for (offset, theirs) in offsets.iter().zip(libvhdi_at(&written, &[&base], &offsets)) {
        let mut ours = vec![0; 4096];
        opened.disk().read_at(*offset, &mut ours).unwrap();
        assert!(ours == theirs, "{offset:#x}");
    }
}
