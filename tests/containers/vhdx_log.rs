// SPDX-License-Identifier: GPL-2.0-or-later
//! Logs of VHDX files that were not closed: which entries count, and what becomes of those that do not.

use std::sync::Arc;

use coldfix::container;
use coldfix::device::memory::MemoryDevice;
use coldfix::error::{Kind, Result};
use uuid::Uuid;

use super::build::{self, BAT, LOG, MIB, Step, Vhdx, entry, log_entry};
use super::disks::{open, qemu_raw, write_image};
use super::support;

const GUID: Uuid = Uuid::from_u128(0x1234_5678);

/// A disk of 4 MiB in blocks of 1 MiB, of which none is in the file, but three places that a log may name: filled
/// with 1, 2 and 3.
fn disk() -> build::Image {
    let mut vhdx = Vhdx::new(4 * MIB, MIB as u32);
    vhdx.log_guid = GUID;
    let mut image = vhdx.build();
    for fill in 1..=3_u8 {
        image.put(place(fill) << 20, vec![fill; MIB as usize]);
    }
    image
}

/// In MiB.
fn place(fill: u8) -> u64 {
    (BAT >> 20) + u64::from(fill)
}

/// The BAT's first sector with block 0 at the place of `fill`.
fn bat(fill: u8) -> Vec<u8> {
    let mut sector = vec![0; 4096];
    sector[..8].copy_from_slice(&entry(6, place(fill)).to_le_bytes());
    sector
}

/// Entries at places of the log; what block 0 then holds.
fn replayed(image: &build::Image, entries: &[(u64, Vec<u8>)]) -> Result<u8> {
    let mut bytes = image.bytes();
    for (at, entry) in entries {
        for (sector, data) in entry.chunks(4096).enumerate() {
            let at = (at + 4096 * sector as u64) % MIB;
            bytes[(LOG + at) as usize..][..4096].copy_from_slice(data);
        }
    }
    let device = Arc::new(MemoryDevice::new(bytes));
    let container = container::open(device.clone())?;
    let mut found = [0];
    container.disk.read_at(5, &mut found)?;
    // Replayed once and for all: another look finds a closed file.
    let again = container::open(device)?;
    assert!(again.notes.is_empty(), "{:?}", again.notes);
    Ok(found[0])
}

/// An entry that gives block 0 the place of `fill`.
fn to(fill: u8, sequence: u64, tail: u32) -> Vec<u8> {
    let len = disk().len;
    log_entry(GUID, sequence, tail, len, &[Step::Data(BAT, bat(fill))])
}

#[test]
fn the_newest_whole_run_counts() {
    let image = disk();
    // Each entry has two sectors.
    let two = 8192;
    let run = |entries: &[(u64, Vec<u8>)]| replayed(&image, entries).unwrap();
    assert_eq!(run(&[(0, to(1, 1, 0))]), 1);
    // Somewhere in the log, also over its end.
    assert_eq!(run(&[(40960, to(2, 9, 40960))]), 2);
    let end = MIB - 4096;
    assert_eq!(run(&[(end, to(3, 9, end as u32))]), 3);
    // In order, the last one wins; beginning at the tail of the last.
    assert_eq!(run(&[(0, to(1, 5, 0)), (two, to(2, 6, 0))]), 2);
    assert_eq!(run(&[(0, to(1, 5, 0)), (two, to(2, 6, two as u32))]), 2);
    assert_eq!(
        run(&[(end, to(1, 5, end as u32)), (4096, to(2, 6, end as u32))]),
        2
    );
    // Not adjacent, or not consecutive: two runs, and the higher number counts.
    assert_eq!(
        run(&[(0, to(1, 5, 0)), (4 * two, to(2, 6, 4 * two as u32))]),
        2
    );
    assert_eq!(run(&[(0, to(1, 9, 0)), (two, to(2, 4, two as u32))]), 1);
    // The last one was torn: what comes before it counts.
    let mut torn = to(2, 6, 0);
    torn[5000] ^= 1;
    assert_eq!(run(&[(0, to(1, 5, 0)), (two, torn)]), 1);
    // Entries of an earlier life of the log do not count, whatever their number.
    let stale = log_entry(
        Uuid::from_u128(1),
        99,
        0,
        image.len,
        &[Step::Data(BAT, bat(3))],
    );
    assert_eq!(run(&[(0, to(1, 5, 0)), (two, stale)]), 1);
    // A run whose tail is gone loses against an older whole one.
    assert_eq!(
        run(&[(0, to(1, 5, 0)), (10 * two, to(2, 50, 9 * two as u32))]),
        1
    );
    // Many descriptors: more than one sector of them, and zeros that come before data of a later entry.
    let mut steps: Vec<Step> = (0..200)
        .map(|at| Step::Zero(BAT + (at % 8) * 4096, 4096))
        .collect();
    steps.push(Step::Data(BAT, bat(3)));
    let large = log_entry(GUID, 5, 0, image.len, &steps);
    assert_eq!(large.len(), 3 * 4096);
    assert_eq!(run(&[(0, large)]), 3);
}

#[test]
fn zeros_are_written_and_the_file_is_lengthened() {
    let mut vhdx = Vhdx::new(4 * MIB, MIB as u32);
    vhdx.log_guid = GUID;
    let at = place(1);
    vhdx.bat = vec![(0, entry(6, at))];
    let mut image = vhdx.build();
    image.put(at << 20, vec![0xaa; MIB as usize]);
    let whole = image.len;
    let steps = [Step::Zero((at << 20) + 8192, 4096)];
    let entry = log_entry(GUID, 1, 0, whole, &steps);
    image.put(LOG, entry);
    let device = Arc::new(MemoryDevice::new(image.bytes()));
    let container = container::open(device).unwrap();
    let mut found = vec![0; 3 * 4096];
    container.disk.read_at(4096, &mut found).unwrap();
    let expected = [vec![0xaa; 4096], vec![0; 4096], vec![0xaa; 4096]].concat();
    assert_eq!(found, expected);
    assert!(
        container.notes[0].contains("1 entry"),
        "{:?}",
        container.notes
    );

    // The last file offset lies behind the file's end: a block that was allocated and not yet written.
    let mut entry = log_entry(GUID, 1, 0, whole, &[Step::Data(BAT, bat(4))]);
    let longer = (place(4) + 1) << 20;
    entry[56..64].copy_from_slice(&longer.to_le_bytes());
    build::seal_vhdx(&mut entry);
    let mut image = disk();
    image.put(LOG, entry);
    let device = Arc::new(MemoryDevice::new(image.bytes()));
    let container = container::open(device.clone()).unwrap();
    assert_eq!(device.contents().len() as u64, longer);
    container.disk.read_at(0, &mut found).unwrap();
    assert_eq!(found, vec![0; 3 * 4096]);
}

#[test]
fn what_cannot_be_replayed_is_refused_and_nothing_is_changed() {
    let image = disk();
    let len = image.len;
    let with = |steps: &[Step]| log_entry(GUID, 5, 0, len, steps);
    let cut = {
        let mut entry = to(1, 5, 0);
        entry[48..56].copy_from_slice(&(len + MIB).to_le_bytes());
        build::seal_vhdx(&mut entry);
        entry
    };
    let huge = {
        let mut entry = to(1, 5, 0);
        entry[56..64].copy_from_slice(&(1_u64 << 60).to_le_bytes());
        build::seal_vhdx(&mut entry);
        entry
    };
    for (what, entry, kind, says) in [
        ("no entry", Vec::new(), Kind::Damaged, "none"),
        (
            "tail elsewhere",
            to(1, 5, 8192),
            Kind::Damaged,
            "the first of them is missing",
        ),
        ("cut", cut, Kind::Damaged, "cut short"),
        ("huge", huge, Kind::Damaged, "128 TiB"),
        (
            "over the headers",
            with(&[Step::Data(64 << 10, vec![7; 4096])]),
            Kind::Damaged,
            "behind the headers",
        ),
        (
            "over the log",
            with(&[Step::Data(LOG + 8192, vec![7; 4096])]),
            Kind::Damaged,
            "outside the log",
        ),
        (
            "past the end",
            with(&[Step::Data(len, vec![7; 4096])]),
            Kind::Damaged,
            "in the file",
        ),
        (
            "zeros past the end",
            with(&[Step::Zero(BAT, 1 << 62)]),
            Kind::Damaged,
            "in the file",
        ),
    ] {
        let mut image = image.clone();
        if !entry.is_empty() {
            image.put(LOG, entry);
        }
        let device = Arc::new(MemoryDevice::new(image.bytes()));
        let before = device.contents();
        let error = container::open(device.clone()).unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert!(error.to_string().contains(says), "{what}: {error}");
        assert!(error.hint().is_some(), "{what}");
        assert!(device.contents() == before, "{what}");
    }
    // An entry whose parts contradict each other is none.
    for at in [0, 8, 12, 16, 24, 32, 64, 80, 88, 4096, 4100, 8188] {
        let mut entry = to(1, 5, 0);
        entry[at] ^= 1;
        if at != 0 {
            // With a right checksum, so that the fields themselves are judged.
            build::seal_vhdx(&mut entry);
        }
        let mut image = image.clone();
        image.put(LOG, entry);
        let result = container::open(Arc::new(MemoryDevice::new(image.bytes())));
        assert!(result.is_err(), "byte {at}");
    }
}

/// A log full of sectors that look like the beginnings of long entries takes no longer than one that is not.
#[test]
fn a_hostile_log_takes_no_time() {
    let mut vhdx = Vhdx::new(4 * MIB, MIB as u32);
    vhdx.log_guid = GUID;
    let mut image = vhdx.build();
    let mut sector = log_entry(GUID, 5, 0, image.len, &[]);
    for length in [4096_u32, 8192, MIB as u32] {
        sector[8..12].copy_from_slice(&length.to_le_bytes());
        for count in [0_u32, 1, 126, u32::MAX] {
            sector[24..28].copy_from_slice(&count.to_le_bytes());
            build::seal_vhdx(&mut sector);
            image.put(LOG, sector.repeat(256));
            let started = std::time::Instant::now();
            let _ = container::open(Arc::new(MemoryDevice::new(image.bytes())));
            assert!(started.elapsed().as_millis() < 1000);
        }
    }
    // A run that would go round for ever if numbers did not have to rise.
    let image = disk();
    let ring: Vec<(u64, Vec<u8>)> = (0..128).map(|at| (at * 8192, to(1, 1 + at, 0))).collect();
    assert_eq!(replayed(&image, &ring).unwrap(), 1);
}

/// The same log, replayed by qemu.
#[test]
fn qemu_replays_such_a_log_to_the_same_disk() {
    if !support::require("qemu-img") {
        return;
    }
    let folder = support::temporary();
    let mut image = disk();
    for (at, entry) in [(0, to(1, 5, 0)), (8192, to(2, 6, 0)), (16384, to(3, 7, 0))] {
        image.put(LOG + at, entry);
    }
    let path = folder.path().join("dirty.vhdx");
    write_image(&path, &image);
    let opened = open(&path).unwrap();
    let mut ours = vec![0; 4 * MIB as usize];
    opened.disk().read_at(0, &mut ours).unwrap();
    assert_eq!(ours[0], 3);
    let mut check = support::program("qemu-img");
    support::run(
        check
            .args(["check", "-q", "-f", "vhdx", "-r", "all"])
            .arg(&path),
    );
    let raw = folder.path().join("raw");
    qemu_raw("vhdx", &path, &raw);
    assert!(std::fs::read(&raw).unwrap() == ours);
}
