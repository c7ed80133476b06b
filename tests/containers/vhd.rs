// SPDX-License-Identifier: GPL-2.0-or-later
//! VHDs that Windows, Virtual PC and qemu made, and VHDs that we wrote, against qemu-img and libvhdi.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use coldfix::container::{self, ContainerKind};
use coldfix::device::Device as _;
use coldfix::error::Kind;
use coldfix::partition;

use super::build;
use super::disks::{
    ID, KIB, Noise, PARENT, assert_same, assert_same_raw, contents, each_real, in_memory,
    libvhdi_at, libvhdi_raw, open, qemu_raw, real, require_libvhdi, with_block, with_block_of,
    write_both, write_sparse,
};
use super::support;

pub const REAL: [(&str, ContainerKind); 9] = [
    ("w10-ntfs-fixed.vhd", ContainerKind::FixedVhd),
    ("w10-ntfs-parent.vhd", ContainerKind::FixedVhd),
    ("w10-fat-parent.vhd", ContainerKind::FixedVhd),
    ("w10-ntfs-dynamic.vhd", ContainerKind::DynamicVhd),
    ("w10-18363-dynamic.vhd", ContainerKind::DynamicVhd),
    ("w2012r2-dynamic-127g.vhd", ContainerKind::DynamicVhd),
    ("virtualpc-dynamic-127g.vhd", ContainerKind::DynamicVhd),
    ("w10-ntfs-differential.vhd", ContainerKind::DifferencingVhd),
    ("w10-fat-differential.vhd", ContainerKind::DifferencingVhd),
];

#[test]
fn every_real_vhd_is_the_disk_that_others_read() {
    each_real(REAL, |name, real| {
        let raw = real.place("raw");
        let (image, parents) = (real.image(), real.parents());
        assert!(real.opened.overlay.is_unchanged());
        let small = real.disk().len() < 1 << 30;
        if parents.is_empty() {
            qemu_raw("vpc", image, &raw);
            assert_same(real.disk(), &raw, &format!("{name}, qemu-img"));
        }
        if name == "w10-fat-differential.vhd" {
            // Windows set single bits of some bytes here, and libvhdi takes bits by the byte. One sector differs:
            // WPSettings.dat, of which the child has nothing, is zeros to libvhdi, and what Windows writes to us.
            libvhdi_raw(image, &parents, &raw);
            let (ours, theirs) = (contents(real.disk()), fs::read(&raw).unwrap());
            let differ = |sector: &usize| {
                let at = sector * 512;
                ours[at..at + 512] != theirs[at..at + 512]
            };
            let sectors: Vec<usize> = (0..ours.len() / 512).filter(differ).collect();
            assert_eq!(sectors, [186]);
            assert_eq!(theirs[186 * 512..187 * 512], [0; 512]);
            let parent = contents(open(parents[0]).unwrap().disk());
            assert!(ours[186 * 512..187 * 512] == parent[186 * 512..187 * 512]);
            assert_eq!(ours[186 * 512..][..4], [12, 0, 0, 0]);
        } else if small {
            libvhdi_raw(image, &parents, &raw);
            assert_same(real.disk(), &raw, &format!("{name}, libvhdi"));
        } else {
            let offsets = [0, 1 << 31, real.disk().len() - 4096];
            for (offset, theirs) in offsets.iter().zip(libvhdi_at(image, &parents, &offsets)) {
                let mut ours = vec![0; 4096];
                real.disk().read_at(*offset, &mut ours).unwrap();
                assert_eq!(ours, theirs, "{name} at {offset:#x}");
            }
        }
        // Each but the two empty ones holds an MBR with one partition.
        if small {
            let table = partition::scan(real.disk()).unwrap();
            assert_eq!(
                (table.partitions.len(), table.notes.len()),
                (1, 0),
                "{name}"
            );
        }
        let notes = real.opened.container.notes.join(" ");
        assert_eq!(notes.contains("geometry"), name.starts_with("virtualpc"));
        assert_eq!(notes.contains("read from its parent"), !parents.is_empty());
    });
}

/// Writes at random places, commits to a copy, and holds that copy against the same writes on a raw file.
#[test]
fn what_is_written_others_read_back() {
    each_real(REAL, |name, real| {
        let (model, raw) = (real.place("model"), real.place("raw"));
        let written = real.place("written.vhd");
        let (image, parents) = (real.image(), real.parents());
        match parents.is_empty() {
            true => qemu_raw("vpc", image, &model),
            // What the test above has judged; libvhdi misreads its single bits.
            false if name.contains("fat") => fs::write(&model, contents(real.disk())).unwrap(),
            false => libvhdi_raw(image, &parents, &model),
        }
        write_both(real.disk(), &model, 40, &mut Noise::new(7));
        assert_same(real.disk(), &model, &format!("{name}, through the overlay"));
        real.opened.commit_to(&written);
        if parents.is_empty() {
            qemu_raw("vpc", &written, &raw);
            assert_same_raw(&model, &raw);
        }
        if real.disk().len() < 1 << 30 {
            libvhdi_raw(&written, &parents, &raw);
            assert!(
                fs::read(&raw).unwrap() == fs::read(&model).unwrap(),
                "{name}"
            );
        } else {
            let changed: Vec<u64> = data_places(&model).into_iter().take(40).collect();
            assert!(changed.len() > 20);
            let theirs = libvhdi_at(&written, &parents, &changed);
            let file = File::open(&model).unwrap();
            for (offset, theirs) in changed.iter().zip(theirs) {
                let mut expected = vec![0; 4096];
                file.read_exact_at(&mut expected, *offset).unwrap();
                assert_eq!(theirs, expected, "{name} at {offset:#x}");
            }
        }
        // And we ourselves, from the bottom, with nothing left to mend.
        real.assert_written(&written, &model, name);
        let len = fs::metadata(&written).unwrap().len();
        if len > fs::metadata(image).unwrap().len() {
            assert_eq!(len % 4096, 0);
        }
        if real.opened.container.kind != ContainerKind::FixedVhd {
            let (start, end) = ends(&written);
            assert_eq!(start, end, "{name}: the two footers");
        }
    });
}

/// Where a file with holes has data, in whole MiB, aligned to 4096.
fn data_places(path: &Path) -> Vec<u64> {
    let file = File::open(path).unwrap();
    let mut found = Vec::new();
    let mut at = 0;
    while let Ok(data) = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(at)) {
        found.push(data & !4095);
        at = data + (1 << 20);
    }
    found
}

/// The first and the last sector of a file.
fn ends(path: &Path) -> (Vec<u8>, Vec<u8>) {
    let file = File::open(path).unwrap();
    let len = file.metadata().unwrap().len();
    let (mut start, mut end) = (vec![0; 512], vec![0; 512]);
    file.read_exact_at(&mut start, 0).unwrap();
    file.read_exact_at(&mut end, len - 512).unwrap();
    (start, end)
}

#[test]
fn a_lost_footer_is_put_back_from_its_copy_and_the_other_way_round() {
    if !support::require("qemu-img") {
        return;
    }
    let folder = support::temporary();
    let Some(image) = real("w10-18363-dynamic.vhd", folder.path()) else {
        return;
    };
    let raw = folder.path().join("raw");
    qemu_raw("vpc", &image, &raw);
    let whole = fs::read(&image).unwrap();
    let len = whole.len();
    let mended = folder.path().join("mended.vhd");
    type Damage = fn(&mut Vec<u8>);
    // Name, damage, what the note says, the length after mending.
    let cases: [(&str, Damage, &str, usize); 7] = [
        (
            "bit",
            |bytes| flip_last(bytes, 100),
            "mended from its copy",
            len,
        ),
        (
            "zeros",
            |bytes| zero_last(bytes, 512),
            "mended from its copy",
            len,
        ),
        ("511", |bytes| cut(bytes, 1), "mended from its copy", len),
        (
            "cut",
            |bytes| cut(bytes, 512),
            "mended from its copy",
            len - 512,
        ),
        // All that is between the last block and the footer is gone as well.
        (
            "cut",
            |bytes| cut(bytes, 3584),
            "mended from its copy",
            len - 3584,
        ),
        (
            "copy",
            |bytes| bytes[70] ^= 1,
            "copy of the VHD's footer",
            len,
        ),
        (
            "copy",
            |bytes| bytes[..512].fill(0),
            "copy of the VHD's footer",
            len,
        ),
    ];
    for (name, damage, note, mended_len) in cases {
        let mut bytes = whole.clone();
        damage(&mut bytes);
        fs::write(&image, &bytes).unwrap();
        // A footer of 511 bytes is an old one: its last byte counts as zero.
        let old = name == "511";
        let opened = open(&image).unwrap();
        assert_same(opened.disk(), &raw, name);
        let notes = opened.container.notes.join(" ");
        assert_eq!(notes.contains(note), !old, "{name}: {notes}");
        assert_eq!(fs::read(&image).unwrap(), bytes);
        if old {
            assert!(opened.overlay.is_unchanged());
            continue;
        }
        opened.commit_to(&mended);
        assert_eq!(
            ends(&mended),
            (whole[..512].to_vec(), whole[len - 512..].to_vec())
        );
        assert_eq!(
            fs::metadata(&mended).unwrap().len() as usize,
            mended_len,
            "{name}"
        );
        qemu_raw("vpc", &mended, &folder.path().join("again"));
        assert!(fs::read(folder.path().join("again")).unwrap() == fs::read(&raw).unwrap());
    }
    // Something was appended: it stays, and the footer comes behind it.
    let mut bytes = whole.clone();
    bytes.extend([7; 10_000]);
    fs::write(&image, &bytes).unwrap();
    let opened = open(&image).unwrap();
    assert_same(opened.disk(), &raw, "appended");
    opened.commit_to(&mended);
    let result = fs::read(&mended).unwrap();
    assert_eq!(result[..bytes.len()], bytes);
    assert_eq!(result.len(), bytes.len().next_multiple_of(512) + 512);
    assert_eq!(result[result.len() - 512..], whole[..512]);
    drop(opened);
    // A block is cut: nothing is made up.
    let bytes = whole[..len - 4608].to_vec();
    fs::write(&image, bytes).unwrap();
    let error = open(&image).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);
    assert!(
        error.to_string().contains("dynamic VHD without its end"),
        "{error}"
    );
    assert!(error.hint().is_some());
    // Neither of the two is left.
    let mut bytes = whole.clone();
    bytes[70] ^= 1;
    flip_last(&mut bytes, 70);
    fs::write(&image, bytes).unwrap();
    let error = open(&image).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);
    assert!(error.to_string().contains("checksum"), "{error}");
}

fn flip_last(bytes: &mut [u8], at: usize) {
    let start = bytes.len() - 512;
    bytes[start + at] ^= 1;
}

fn zero_last(bytes: &mut [u8], count: usize) {
    let start = bytes.len() - count;
    bytes[start..].fill(0);
}

fn cut(bytes: &mut Vec<u8>, count: usize) {
    bytes.truncate(bytes.len() - count);
}

#[test]
fn a_sector_without_its_bit_is_zeros_and_stays_so_beside_one_that_is_written() {
    // Sectors 0, 9 and 15.
    let image = with_block(
        build::vhd(2048 * KIB, 512 * KIB as u32, ID, None),
        &[0b1000_0000, 0b0100_0001],
    );
    let device = in_memory(&image);
    let container = container::open(device.clone()).unwrap();
    let mut expected = vec![0; 2048 * KIB as usize];
    for sector in [0, 9, 15] {
        expected[sector * 512..][..512].fill(0xaa);
    }
    assert!(contents(&container.disk) == expected);
    container.disk.write_at(3 * 512 + 5, &[1, 2, 3]).unwrap();
    expected[3 * 512 + 5..][..3].copy_from_slice(&[1, 2, 3]);
    assert!(contents(&container.disk) == expected);
    // Zeros over zeros cost nothing: no block, no bit.
    let len = device.len();
    container.disk.write_at(20 * 512, &[0; 5000]).unwrap();
    container
        .disk
        .write_at(900 * KIB, &vec![0; 900 * KIB as usize])
        .unwrap();
    assert_eq!(device.len(), len);
    assert_eq!(
        device.contents()[4096 - 512..][..4],
        [0b1001_0000, 0b0100_0001, 0, 0]
    );
    // A new block has all its bits, and the footer behind it.
    container.disk.write_at(1024 * KIB - 1, &[9]).unwrap();
    expected[1024 * KIB as usize - 1] = 9;
    assert!(contents(&container.disk) == expected);
    let file = device.contents();
    assert_eq!(file.len() % 4096, 0);
    assert_eq!(file[file.len() - 512..], file[..512]);
    let entry = u32::from_be_bytes(file[1540..1544].try_into().unwrap()) as usize * 512;
    assert_eq!((entry + 512) % 4096, 0);
    assert_eq!(file[entry..entry + 128], [0xff; 128]);
    let again = container::open(device).unwrap();
    assert!(contents(&again.disk) == expected);
}

#[test]
fn single_bits_of_a_child_are_honoured_and_new_ones_come_in_eights() {
    if !require_libvhdi() {
        return;
    }
    let folder = support::temporary();
    let size = 6 * KIB * KIB;
    let block = 2 * KIB * KIB;
    // The parent: fixed, everywhere 0x55.
    let mut parent = build::Image::default();
    parent.put(0, vec![0x55; size as usize]);
    parent.put(size, build::vhd_footer(size, 2, PARENT));
    let base = folder.path().join("base.vhd");
    write_sparse(&base, parent.len, &parent.parts);
    let child = build::vhd(size, block as u32, ID, Some((PARENT, "base.vhd")));
    // Sector 3 and sectors 8 to 15.
    let child = with_block_of(block, child, &[0b0001_0000, 0xff]);
    let path = folder.path().join("child.vhd");
    write_sparse(&path, child.len, &child.parts);
    let opened = open(&path).unwrap();
    assert_eq!(opened.container.kind, ContainerKind::DifferencingVhd);
    let mut expected = vec![0x55; size as usize];
    expected[3 * 512..4 * 512].fill(0xaa);
    expected[8 * 512..16 * 512].fill(0xaa);
    assert!(contents(opened.disk()) == expected);
    // libvhdi takes the bits by the byte, so it is asked only when that makes no difference: after the writes.
    // (It also misreads blocks of 512 KiB, whose bitmap does not fill its sector.)
    let raw = folder.path().join("raw");

    let mut write = |offset: usize, data: &[u8]| {
        opened.disk().write_at(offset as u64, data).unwrap();
        expected[offset..offset + data.len()].copy_from_slice(data);
    };
    write(20 * 512 + 7, &[1]);
    write(2 * 512, &[2; 512]);
    write(3000 * KIB as usize - 3, &[3; 6]);
    write(size as usize - 1, &[4]);
    write(0, &[0x55; 512]);
    assert!(contents(opened.disk()) == expected);
    let mut bitmap = [0; 4];
    opened.overlay.read_at(4096 - 512, &mut bitmap).unwrap();
    assert_eq!(bitmap, [0xff, 0xff, 0xff, 0]);
    let written = folder.path().join("written.vhd");
    opened.commit_to(&written);
    libvhdi_raw(&written, &[&base], &raw);
    let theirs = fs::read(&raw).unwrap();
    let wrong = (0..expected.len()).find(|at| theirs[*at] != expected[*at]);
    assert_eq!(wrong, None, "libvhdi after writing");
    drop(opened);
    let again = open(&written).unwrap();
    assert!(contents(again.disk()) == expected);
}

#[test]
fn a_block_table_that_lists_some_space_twice_is_read_but_never_written() {
    let block = 512 * KIB;
    let image = with_block(build::vhd(2048 * KIB, block as u32, ID, None), &[0xff; 128]);
    let entry = |number: u64, sector: u32| {
        let mut image = image.clone();
        image.put(1536 + number * 4, sector.to_be_bytes());
        in_memory(&image)
    };
    let mut sector = [0; 512];
    for (what, wrong, readable) in [
        ("the block again", 4096 / 512 - 1, true),
        ("into the block", 4096 / 512 + 3, false), // ends past the file
        ("the header", 0, false),
        ("the table", 2, true),
        ("past the end", 1 << 30, false),
        ("the last sector there is", u32::MAX - 1, false),
    ] {
        let device = entry(2, wrong);
        let before = device.contents();
        let disk = container::open(device.clone()).unwrap().disk;
        disk.read_at(0, &mut sector).unwrap();
        assert_eq!(sector, [0xaa; 512]);
        let read = disk.read_at(2 * block, &mut sector);
        assert_eq!(read.is_ok(), readable, "{what}");
        let error = disk.write_at(0, &[1]).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged, "{what}: {error}");
        assert!(error.hint().is_some(), "{what}");
        assert!(device.contents() == before);
    }
}

#[test]
fn a_file_never_grows_past_2040_gib() {
    let folder = support::temporary();
    let path = folder.path().join("large.vhd");
    let size = 2040 << 30;
    let image = build::vhd(size, 2 << 20, ID, None);
    let (footer_at, footer) = image.parts.last().cloned().unwrap();
    for (room, fits) in [(4 << 20, true), (2 << 20, false)] {
        let end = (2040 << 30) - room;
        write_sparse(&path, end, &image.parts);
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&[0; 512], footer_at).unwrap();
        file.write_all_at(&footer, end - 512).unwrap();
        let opened = open(&path).unwrap();
        assert_eq!(opened.disk().len(), size);
        let result = opened.disk().write_at(size - 1, &[1]);
        match result {
            Ok(()) => assert!(fits),
            Err(error) => {
                assert!(!fits, "{error}");
                assert_eq!(error.kind(), Kind::Unsupported);
                assert!(error.hint().unwrap().contains("VHDX"));
            }
        }
    }
}

#[test]
fn a_disk_that_cannot_grow_says_so() {
    use coldfix::device::fault::FaultDevice;
    use coldfix::device::overlay::Overlay;
    let image = with_block(
        build::vhd(2048 * KIB, 512 * KIB as u32, ID, None),
        &[0xff; 128],
    );
    let device = Arc::new(FaultDevice::new(image.bytes(), 512));
    let disk = container::open(Arc::new(Overlay::new(device)))
        .unwrap()
        .disk;
    disk.write_at(1000, &[1; 5]).unwrap();
    let error = disk.write_at(600 * KIB, &[1]).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.hint().unwrap().contains("copy the image to a file"));
}
