// SPDX-License-Identifier: GPL-2.0-or-later
//! Operations on bytes and bits, which have no LSN: the last one wins.

#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

use super::bench::*;
use super::writer::{Action, Payload, put};

/// One action, done again or taken back: the disk after it.
fn done(
    bench: &Bench,
    action: &Action,
    own: (u16, Payload),
    undo: bool,
) -> Result<Vec<u8>, String> {
    let mut bench = bench.clone();
    let mut action = action.clone();
    if undo {
        action.undo = own;
    } else {
        action.redo = own;
    }
    bench.begin(Vec::new(), Vec::new());
    bench.add(&action, ID, 0);
    if !undo {
        bench.forget(ID);
    }
    let (disk, done) = bench.replay()?;
    assert_eq!(
        (done.redone, done.undone),
        (usize::from(!undo), usize::from(undo))
    );
    Ok(disk)
}

#[test]
fn update_nonresident_value() {
    for cluster in [512, 1024, 4096, 0x1_0000, 0x20_0000] {
        for undo in [false, true] {
            let bench = Bench::new(cluster, 1024);
            // Across the end of a cluster, where clusters are small.
            for (start, len) in [(0, 8), (0x600, 0x900), (0x3F8, 0x808), (0x1000, 0x1000)] {
                let mut action = bench.action(Target::Bytes, start & !0x1FF, (start & 0x1FF) + len);
                action.record_offset = (start & 0x1F0) as u16;
                action.attribute_offset = (start & 0xF) as u16;
                let payload = vec![0x5C; len];
                let disk = done(&bench, &action, (8, Payload::of(&payload)), undo).unwrap();
                let mut expected = bench.disk.clone();
                put(&mut expected, bench.place(Target::Bytes, start), &payload);
                assert!(disk == expected, "{cluster} {undo} {start:#x}");
                // What is not in the log is zeros.
                for absent in [Payload::Absent(len as u16), Payload::Beyond(len as u16)] {
                    let disk = done(&bench, &action, (8, absent), undo).unwrap();
                    put(
                        &mut expected,
                        bench.place(Target::Bytes, start),
                        &vec![0; len],
                    );
                    assert!(disk == expected, "{cluster} {undo} {start:#x}");
                }
            }
        }
    }
}

/// The gaps of $SDS: the bytes that the record has are those of before, and what is done again is zeros.
#[test]
fn bytes_shared_by_both_directions_belong_to_the_undo() {
    for forgotten in [true, false] {
        let mut bench = Bench::new(4096, 1024);
        bench.begin(Vec::new(), Vec::new());
        let mut action = bench.action(Target::Bytes, 0, 64);
        action.redo = (8, Payload::of(&[0x5C; 64]));
        action.undo = (8, Payload::Shared);
        let mut record = action.record(ID, 0, 0);
        record.flags = 2;
        bench.log.add(&record);
        if forgotten {
            bench.forget(ID);
        }
        let (disk, _) = bench.replay().unwrap();
        let expected = if forgotten { [0; 64] } else { [0x5C; 64] };
        let place = bench.place(Target::Bytes, 0);
        assert_eq!(disk[place..place + 64], expected);
        bench.only(&disk, Target::Bytes, 0, 64);
    }
}

#[test]
fn bytes_that_are_not_the_records_own_are_refused() {
    let bench = Bench::new(4096, 1024);
    for undo in [false, true] {
        let refused = |target, start: usize, from: u16, len: usize, why: &str| {
            let mut action = bench.action(target, start, 1);
            action.attribute_offset = from;
            let error = done(&bench, &action, (8, Payload::of(&vec![1; len])), undo).unwrap_err();
            assert!(error.contains(why), "{undo}: {error}");
        };
        // Past the clusters of the record.
        let inside = "bytes inside the clusters of the record";
        refused(Target::Bytes, 0x2000, 0xFF9, 8, inside);
        refused(Target::Bytes, 0x2000, 0x1000, 8, inside);
        refused(Target::Bytes, 0x2000, 0, 0x1001, inside);
        // The content of files, and $MFT without a record.
        let logged = "whose bytes Windows logs";
        refused(Target::Mft, 0, 0, 8, logged);
        let error = {
            let action = bench.action(Target::User, 0, 8);
            done(&bench, &action, (8, Payload::of(&[1; 8])), undo).unwrap_err()
        };
        assert!(
            error.contains("would overwrite the content of the file"),
            "{error}"
        );
    }
}

/// The bits of a target from a byte of it on, as one number per bit.
fn model(bytes: &mut [u8], first: usize, count: usize, set: bool) {
    for bit in first..first + count {
        let mask = 1 << (bit % 8);
        match set {
            true => bytes[bit / 8] |= mask,
            false => bytes[bit / 8] &= !mask,
        }
    }
}

#[test]
fn set_and_clear_bits() {
    for target in [Target::Bitmap, Target::Records] {
        for cluster in [512, 1024, 4096, 0x1_0000, 0x20_0000] {
            let bench = Bench::new(cluster, 1024);
            for (code, set) in [(0x15, true), (0x16, false)] {
                for undo in [false, true] {
                    // From a byte of the target: bit, count; also across a cluster of 512 bytes.
                    for (from, first, count) in [
                        (0_usize, 0_u32, 1_u32),
                        (0, 3, 11),
                        (0x800, 4090, 20),
                        (0xE08, 1, 7),
                        (0, 0x7FFF, 1),
                        (0x200, 5, 0),
                    ] {
                        let bytes = (first + count).div_ceil(8) as usize;
                        let mut action =
                            bench.action(target, from & !0x1FF, (from & 0x1FF) + bytes);
                        action.record_offset = (from & 0x1FF) as u16;
                        let payload = [first.to_le_bytes(), count.to_le_bytes()].concat();
                        let mut disk = done_or_void(&bench, &action, (code, &payload), undo, count);
                        let place = bench.place(target, from);
                        let mut expected = bench.disk.clone();
                        model(&mut expected[place..], first as usize, count as usize, set);
                        assert!(
                            disk == expected,
                            "{cluster} {code:#x} {undo} {from:#x} {first} {count}"
                        );
                        disk.clear();
                    }
                }
            }
        }
    }
}

fn done_or_void(
    bench: &Bench,
    action: &Action,
    (code, payload): (u16, &[u8]),
    undo: bool,
    count: u32,
) -> Vec<u8> {
    if count > 0 {
        return done(bench, action, (code, Payload::of(payload)), undo).unwrap();
    }
    let mut bench = bench.clone();
    let mut action = action.clone();
    action.redo = (code, Payload::of(payload));
    bench.begin(Vec::new(), Vec::new());
    bench.add(&action, ID, 0);
    bench.forget(ID);
    bench.replay().unwrap().0
}

#[test]
fn bits_that_are_not_the_records_own_are_refused() {
    let bench = Bench::new(4096, 1024);
    for undo in [false, true] {
        for (target, first, count, why) in [
            (
                Target::Bitmap,
                0x8000_u32,
                1_u32,
                "bits inside the clusters",
            ),
            (Target::Bitmap, 0x7FFF, 2, "bits inside the clusters"),
            (Target::Bitmap, 0, 0x8001, "bits inside the clusters"),
            (
                Target::Bitmap,
                u32::MAX,
                u32::MAX,
                "bits inside the clusters",
            ),
            (Target::Bytes, 0, 1, "a bitmap as its target"),
            (Target::User, 0, 1, "a bitmap as its target"),
            (Target::Mft, 0, 1, "a bitmap as its target"),
            (Target::Index, 0, 1, "a bitmap as its target"),
        ] {
            let action = bench.action(target, 0, 1);
            let payload = [first.to_le_bytes(), count.to_le_bytes()].concat();
            let error = done(&bench, &action, (0x15, Payload::of(&payload)), undo).unwrap_err();
            assert!(error.contains(why), "{target:?} {first} {count}: {error}");
        }
        for payload in [&[0; 4][..], &[0; 16], &[]] {
            let action = bench.action(Target::Records, 0, 1);
            let error = done(&bench, &action, (0x16, Payload::of(payload)), undo).unwrap_err();
            assert!(error.contains("the first bit and how many"), "{error}");
        }
    }
}

/// Neither $Boot, nor the journal, nor what is outside the volume is written, whatever a record or a dirty page says.
#[test]
fn clusters_that_must_not_be_written() {
    for cluster in [512, 1024, 4096] {
        for undo in [false, true] {
            let mut bench = Bench::new(cluster, 1024);
            let last = bench.geometry().clusters - 1;
            let boot = 0x2000 / cluster as u64;
            let journal = bench.lcn(Target::Records);
            bench.own = vec![(journal, journal + 3)];
            for (lcn, good) in [
                (boot - 1, false),
                (boot, true),
                (last, true),
                (last + 1, false),
                (u64::MAX, false),
                (1 << 63, false),
                (journal - 1, true),
                (journal, false),
                (journal + 2, false),
                (journal + 3, true),
            ] {
                let mut action = bench.action(Target::Bytes, 0, 8);
                action.lcns = vec![lcn];
                let result = done(&bench, &action, (8, Payload::of(&[1; 8])), undo);
                assert_eq!(
                    result.is_ok(),
                    good,
                    "{cluster} {lcn:#x} {:?}",
                    result.err()
                );
            }
        }
    }
}
