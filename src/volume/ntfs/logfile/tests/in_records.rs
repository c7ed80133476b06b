// SPDX-License-Identifier: GPL-2.0-or-later
//! Every operation on MFT records, done again and taken back on records laid by hand.

#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

mod attributes;
mod roots;

use super::bench::*;
use super::writer::{Payload, put};

/// $STANDARD_INFORMATION.
fn times() -> Vec<u8> {
    resident(0x10, "", 0, false, &[0x11; 0x30])
}

/// A name of the file, which a folder's index has too.
fn name(id: u16) -> Vec<u8> {
    resident(0x30, "", id, true, &[0x33; 0x44])
}

/// Eight clusters in one run; the pairs fill 8 bytes.
const PAIRS: [u8; 8] = [0x21, 8, 0x34, 0x12, 0, 0, 0, 0];

fn data() -> Vec<u8> {
    outside(0x80, 2, (0, 7), [0x8000, 0x7F00, 0x7000], &PAIRS)
}

fn folder(entries: &[Vec<u8>]) -> Vec<u8> {
    resident(0x90, "$I30", 3, false, &root(entries))
}

fn bitmap(id: u16) -> Vec<u8> {
    resident(0xB0, "$I30", id, false, &[1, 0, 0, 0, 0, 0, 0, 0])
}

fn three() -> [Vec<u8>; 3] {
    [entry(40, 'B', None), entry(41, 'D', None), end_entry(None)]
}

/// The usual record: times, a name, data, a root.
fn parts() -> Vec<Vec<u8>> {
    vec![times(), name(1), data(), folder(&three())]
}

/// Where part `slot` of a record begins; behind the last one, the end mark.
fn at(len: usize, parts: &[Vec<u8>], slot: usize) -> usize {
    first_attribute(len) + parts[..slot].iter().map(Vec::len).sum::<usize>()
}

/// The record with one part replaced.
fn with(len: usize, slot: usize, part: Vec<u8>) -> Vec<u8> {
    let mut parts = parts();
    parts[slot] = part;
    record(len, HEAD, &parts)
}

/// Sizes of clusters and records that between them have all ways in which a record lies in clusters.
const SIZES: [(usize, usize); 8] = [
    (512, 1024),
    (512, 4096),
    (1024, 1024),
    (1024, 4096),
    (4096, 1024),
    (4096, 4096),
    (0x1_0000, 1024),
    (0x20_0000, 1024),
];

const LEN: usize = 1024;

fn bench() -> Bench {
    Bench::new(4096, LEN)
}

fn becomes_in(case: &Case, before: &[u8], after: &[u8]) {
    becomes(&bench(), Target::Mft, case, before, after);
}

fn refused_in(case: &Case, before: &[u8], why: &str) {
    refused(&bench(), Target::Mft, case, before, why);
}

#[test]
fn update_resident_value_in_every_geometry() {
    for (cluster, len) in SIZES {
        for major in [0, 1] {
            let mut bench = Bench::new(cluster, len);
            bench.major = major;
            let before = record(len, HEAD, &parts());
            let mut after = before.clone();
            let place = at(len, &parts(), 0) + 0x18;
            put(&mut after, place + 9, b"changed");
            let case = Case::new(7, (place - 0x18, 0x18 + 9), b"changed");
            becomes(&bench, Target::Mft, &case, &before, &after);
        }
    }
}

#[test]
fn initialize_file_record_segment() {
    let new = record(LEN, HEAD, &parts());
    let len = u32::from_le_bytes(new[0x18..0x1C].try_into().unwrap()) as usize;
    let free = Head {
        flags: 0,
        sequence: 4,
        ..HEAD
    };
    let old = record(LEN, free, &[times()]);
    becomes_in(&Case::new(2, (0, 0), &new[..len]), &old, &new);
    // What deallocating a record is taken back with: its old header.
    let gone = record(
        LEN,
        Head {
            flags: 2,
            sequence: 6,
            ..HEAD
        },
        &parts(),
    );
    becomes_in(&Case::new(2, (0, 0), &new[..0x18]), &gone, &new);
    // A blank record of a table that grows has 3C bytes: up to the end mark.
    let blank = record(
        LEN,
        Head {
            flags: 0,
            links: 0,
            next: 0,
            sequence: 1,
        },
        &[],
    );
    assert_eq!(first_attribute(LEN), 0x38);
    let mut case = Case::new(2, (0, 0), &blank[..0x3C]);
    case.other = 8;
    becomes_in(&case, &blank, &blank);

    // Over something that is no record, or a torn one: only when it is done again, and with a record from its start.
    for torn in [false, true] {
        for undo in [false, true] {
            let mut bench = bench();
            let place = bench.place(Target::Mft, 2 * LEN);
            if torn {
                bench.lay(Target::Mft, 2 * LEN, &old);
                bench.disk[place + 1023] ^= 1;
            }
            bench.begin(Vec::new(), Vec::new());
            let mut action = bench.action(Target::Mft, 2 * LEN, LEN);
            let own = (2, Payload::of(&new[..len]));
            if undo {
                action.undo = own;
            } else {
                action.redo = own;
            }
            let lsn = bench.add(&action, ID, 0);
            if undo {
                let error = bench.replay().unwrap_err();
                assert!(error.contains("a record that is whole"), "{error}");
                continue;
            }
            bench.forget(ID);
            let (disk, _) = bench.replay().unwrap();
            let found = bench.found(&disk, Target::Mft, 2 * LEN, LEN);
            assert!(used(&found) == used(&new) && lsn_of(&found) == lsn);
        }
    }
    for (payload, at, why) in [
        (&new[..len - 8], 0, "the bytes of a record"),
        (
            &[&b"BAAD"[..], &new[4..len]].concat()[..],
            0,
            "the bytes of a record",
        ),
        (&[0; 1032][..], 0, "the bytes of a record"),
        (&[7; 16][..], LEN - 8, "the bytes of a record"),
    ] {
        refused_in(
            &Case::new(2, (at, 0), payload),
            &record(LEN, free, &[]),
            why,
        );
    }
}

#[test]
fn deallocate_file_record_segment() {
    for payload in [&[][..], &[0x55; 8], &[0x55; 0x18]] {
        for (old, new) in [(5, 6), (0xFFFE, 0xFFFF), (0xFFFF, 1)] {
            let before = record(
                LEN,
                Head {
                    sequence: old,
                    ..HEAD
                },
                &parts(),
            );
            let after = record(
                LEN,
                Head {
                    sequence: new,
                    flags: 2,
                    ..HEAD
                },
                &parts(),
            );
            becomes_in(&Case::new(3, (0, 0), payload), &before, &after);
        }
    }
}

#[test]
fn write_end_of_file_record_segment() {
    let before = record(LEN, HEAD, &parts());
    let place = at(LEN, &parts(), 2);
    let end = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];
    let new = folder(&[end_entry(None)]);
    let tail = [&new[..], &end].concat();
    let after = record(LEN, HEAD, &[times(), name(1), new.clone()]);
    becomes_in(&Case::new(4, (place, 0), &tail), &before, &after);
    // The end mark alone, also without the four bytes behind it.
    for len in [4, 8] {
        let after = record(LEN, HEAD, &[times(), name(1)]);
        becomes_in(&Case::new(4, (place, 0), &end[..len]), &before, &after);
    }
    // Longer than before, from the end mark on.
    let more = [&bitmap(4)[..], &end].concat();
    let mut longer = parts();
    longer.push(bitmap(4));
    let case = Case::new(4, (at(LEN, &parts(), 4), 0), &more);
    becomes_in(&case, &before, &record(LEN, HEAD, &longer));

    let refuse = |place: usize, payload: &[u8], why: &str| {
        refused_in(&Case::new(4, (place, 0), payload), &before, why);
    };
    refuse(place + 8, &tail, "a place where an attribute begins");
    refuse(place - 8, &tail, "a place where an attribute begins");
    refuse(0, &tail, "a place where an attribute begins");
    refuse(place, &new, "attributes up to the end mark");
    refuse(
        place,
        &[&end[..], &new].concat(),
        "a sound record afterwards",
    );
    let long = resident(0x90, "", 4, false, &[0; 900]);
    refuse(
        place,
        &[&long[..], &end].concat(),
        "attributes up to the end mark",
    );
}

#[test]
fn zero_end_of_file_record() {
    let before = record(LEN, HEAD, &parts());
    let end = at(LEN, &parts(), 4) + 8;
    for undo in [false, true] {
        let mut bench = bench();
        let mut dirty = before.clone();
        dirty[end..].fill(0xDD);
        bench.lay(Target::Mft, 3 * LEN, &dirty);
        bench.begin(Vec::new(), Vec::new());
        let mut action = bench.action(Target::Mft, 3 * LEN, LEN);
        let own = (0x25, Payload::Absent((LEN - end) as u16));
        if undo {
            action.undo = own;
        } else {
            action.redo = own;
        }
        action.record_offset = end as u16;
        bench.add(&action, ID, 0);
        if !undo {
            bench.forget(ID);
        }
        let (disk, _) = bench.replay().unwrap();
        let found = bench.found(&disk, Target::Mft, 3 * LEN, LEN);
        assert!(used(&found) == used(&before));
        assert!(found[end..].iter().all(|byte| *byte == 0));
    }
    let bytes = "bytes behind the attributes";
    let case =
        |at: (usize, usize), len: u16| Case::new(0x25, at, &[]).payload(Payload::Absent(len));
    refused_in(&case((end, 0), (LEN - end + 1) as u16), &before, bytes);
    refused_in(&case((end, 8), (LEN - end) as u16), &before, bytes);
    refused_in(&case((LEN, 0xFF00), 1), &before, bytes);
    // The end mark itself.
    refused_in(&case((end - 8, 0), 8), &before, bytes);
}

/// Operations that are for blocks, or for bytes, or that nobody knows.
#[test]
fn other_operations_are_not_for_records() {
    let before = record(LEN, HEAD, &parts());
    for (code, why) in [
        (0x0E, "a block of an index as its target"),
        (0x0F, "a block of an index as its target"),
        (0x10, "a block of an index as its target"),
        (0x12, "a block of an index as its target"),
        (0x14, "a block of an index as its target"),
        (0x22, "a block of an index as its target"),
        (0x08, "an attribute whose bytes Windows logs"),
        (0x15, "a bitmap as its target"),
        (0x16, "a bitmap as its target"),
        (0x23, "a known operation"),
        (0x24, "a known operation"),
        (0x26, "a known operation"),
        (0xFFFF, "a known operation"),
    ] {
        refused_in(&Case::new(code, (0, 0), &[0; 8]), &before, why);
    }
}

/// Records are those of $MFT alone, where one begins, and no other attribute's.
#[test]
fn operations_on_records_need_a_record_of_mft() {
    let before = record(LEN, HEAD, &parts());
    let case = Case::new(7, (first_attribute(LEN), 0x18), &[9; 8]);
    for target in [
        Target::Index,
        Target::Bitmap,
        Target::Records,
        Target::Bytes,
        Target::User,
    ] {
        refused(
            &bench(),
            target,
            &case,
            &before,
            "a record of $MFT as its target",
        );
    }
    let mut bench = bench();
    bench.lay(Target::Mft, 3 * LEN, &before);
    bench.begin(Vec::new(), Vec::new());
    let mut action = bench.action(Target::Mft, 3 * LEN, LEN);
    action.redo = (7, Payload::of(&[9; 8]));
    action.cluster_offset -= 1;
    bench.add(&action, ID, 0);
    bench.forget(ID);
    let error = bench.replay().unwrap_err();
    assert!(error.contains("a record of $MFT as its target"), "{error}");
}
