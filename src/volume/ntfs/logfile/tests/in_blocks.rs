// SPDX-License-Identifier: GPL-2.0-or-later
//! Every operation on blocks of an index, done again and taken back on blocks laid by hand.

#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

use super::bench::*;
use super::writer::{Payload, put};

const LEN: usize = 0x1000;

fn bench() -> Bench {
    Bench::new(4096, 1024)
}

fn becomes_in(case: &Case, before: &[u8], after: &[u8]) {
    becomes(&bench(), Target::Index, case, before, after);
}

fn refused_in(case: &Case, before: &[u8], why: &str) {
    refused(&bench(), Target::Index, case, before, why);
}

fn three() -> Vec<Vec<u8>> {
    vec![entry(40, 'B', None), entry(41, 'D', None), end_entry(None)]
}

/// Where entry `slot` of a block begins.
fn at(len: usize, entries: &[Vec<u8>], slot: usize) -> usize {
    first_entry(len) + entries[..slot].iter().map(Vec::len).sum::<usize>()
}

fn with(entry: Vec<u8>, slot: usize) -> Vec<Vec<u8>> {
    let mut entries = three();
    entries.insert(slot, entry);
    entries
}

/// Clusters smaller than a block, as large, and larger, up to those of which a block is a small part.
#[test]
fn add_and_delete_in_every_geometry() {
    for cluster in [512, 1024, 2048, 4096, 0x1_0000, 0x20_0000] {
        for (len, major) in [(512, 0), (0x1000, 1)] {
            let mut bench = Bench::new(cluster, 1024);
            (bench.block, bench.major) = (len, major);
            let new = entry(42, 'C', None);
            let few = block(len, 3, &three());
            let more = block(len, 3, &with(new.clone(), 1));
            let place = (0, at(len, &three(), 1));
            becomes(
                &bench,
                Target::Index,
                &Case::new(0x0E, place, &new),
                &few,
                &more,
            );
            let case = Case::new(0x0F, place, &[]).other(new.len());
            becomes(&bench, Target::Index, &case, &more, &few);
        }
    }
}

#[test]
fn add_and_delete_index_entry_allocation() {
    let new = entry(42, 'C', None);
    let few = block(LEN, 3, &three());
    for slot in 0..3 {
        let more = block(LEN, 3, &with(new.clone(), slot));
        let place = (0, at(LEN, &three(), slot));
        becomes_in(&Case::new(0x0E, place, &new), &few, &more);
        becomes_in(&Case::new(0x0F, place, &[]).other(new.len()), &more, &few);
    }
    let boundary = "a place where an entry begins";
    let second = at(LEN, &three(), 1);
    for code in [0x0E, 0x0F] {
        for place in [second + 8, second - 8, at(LEN, &three(), 3), 0, LEN, 0xFFF8] {
            refused_in(&Case::new(code, (0, place), &new), &few, boundary);
        }
    }
    refused_in(
        &Case::new(0x0F, (0, at(LEN, &three(), 2)), &[]),
        &few,
        "an entry",
    );
    refused_in(
        &Case::new(0x0E, (0, second), &end_entry(None)),
        &few,
        "an index entry",
    );
    refused_in(
        &Case::new(0x0E, (0, second), &new[..0x50]),
        &few,
        "an index entry",
    );
    // What fits to the last byte, and 8 bytes more.
    let first = at(LEN, &[], 0);
    for (len, fits) in [(LEN - first - 0x10, true), (LEN - first - 8, false)] {
        let mut big = vec![0; len];
        put(&mut big, 8, &(len as u16).to_le_bytes());
        let case = Case::new(0x0E, (0, first), &big);
        let empty = block(LEN, 3, &[end_entry(None)]);
        match fits {
            true => becomes_in(&case, &empty, &block(LEN, 3, &[big, end_entry(None)])),
            false => refused_in(&case, &empty, "room for the entries"),
        }
    }
}

#[test]
fn update_nonresident_value_is_a_whole_block() {
    // As prepared in memory: no number yet, LSN 0, up to the used bytes.
    let prepared = |entries: &[Vec<u8>]| {
        let mut new = block(LEN, 3, entries);
        new[8..16].fill(0);
        let used = 0x18 + u32::from_le_bytes(new[0x1C..0x20].try_into().unwrap()) as usize;
        new.truncate(used);
        new
    };
    let before = block(LEN, 3, &three());
    let new = with(entry(42, 'C', None), 1);
    becomes_in(
        &Case::new(8, (0, 0), &prepared(&new)),
        &before,
        &block(LEN, 3, &new),
    );
    // Bytes inside a block.
    let mut changed = three();
    changed[0][0x18..0x20].fill(0x99);
    let place = at(LEN, &three(), 0) + 0x18;
    becomes_in(
        &Case::new(8, (0, place), &[0x99; 8]),
        &before,
        &block(LEN, 3, &changed),
    );
    refused_in(
        &Case::new(8, (0, LEN - 4), &[0x99; 8]),
        &before,
        "bytes of the block",
    );
    refused_in(
        &Case::new(8, (0, place - 0x18 + 8), &[0x99; 8]),
        &before,
        "entries up to an end entry",
    );
    refused_in(
        &Case::new(8, (0, 0), &[0; LEN + 8]),
        &before,
        "bytes of the block",
    );

    // Over what is no block, only when done again.
    for undo in [false, true] {
        let mut bench = bench();
        bench.begin(Vec::new(), Vec::new());
        let mut action = bench.action(Target::Index, 2 * LEN, LEN);
        let own = (8, Payload::of(&prepared(&new)));
        if undo {
            action.undo = own;
        } else {
            action.redo = own;
        }
        let lsn = bench.add(&action, ID, 0);
        if undo {
            let error = bench.replay().unwrap_err();
            assert!(error.contains("an index block that is whole"), "{error}");
            continue;
        }
        bench.forget(ID);
        let (disk, done) = bench.replay().unwrap();
        let found = bench.found(&disk, Target::Index, 2 * LEN, LEN);
        assert!(used(&found) == used(&block(LEN, 3, &new)) && lsn_of(&found) == lsn);
        assert_eq!(done.indexes.len(), 1);
    }
}

/// What comes before a block is filled anew needs no block to be there; the same without that later record does.
#[test]
fn a_block_that_is_filled_later_need_not_be_one() {
    for filled in [true, false] {
        let mut bench = bench();
        bench.begin(Vec::new(), Vec::new());
        let new = entry(42, 'C', None);
        let mut action = bench.action(Target::Index, 2 * LEN, LEN);
        action.redo = (0x0E, Payload::of(&new));
        action.attribute_offset = at(LEN, &three(), 1) as u16;
        bench.add(&action, ID, 0);
        if filled {
            action.redo = (8, Payload::of(&block(LEN, 3, &three())));
            action.attribute_offset = 0;
            bench.add(&action, ID, 0);
        }
        bench.forget(ID);
        match bench.replay() {
            Ok((disk, done)) => {
                let found = bench.found(&disk, Target::Index, 2 * LEN, LEN);
                assert!(filled && used(&found) == used(&block(LEN, 3, &three())));
                assert_eq!((done.void, done.redone), (1, 1));
            }
            Err(error) => assert!(!filled && error.contains("that is whole"), "{error}"),
        }
    }
}

#[test]
fn write_end_of_index_buffer() {
    let all = [three(), three()].concat();
    let all: Vec<Vec<u8>> = all
        .into_iter()
        .filter(|entry| entry[0x0C] & 2 == 0)
        .chain([end_entry(None)])
        .collect();
    let before = block(LEN, 3, &all);
    // A split: the second half goes, and comes back.
    let half = [&all[..2], &[end_entry(None)]].concat();
    let place = (0, at(LEN, &all, 2));
    let gone = all[2..].concat();
    let case = Case::new(0x10, place, &end_entry(None)).other(gone.len());
    becomes_in(&case, &before, &block(LEN, 3, &half));
    let case = Case::new(0x10, place, &gone).other(0x10);
    becomes_in(&case, &block(LEN, 3, &half), &before);
    let refuse = |place: usize, payload: &[u8], why: &str| {
        refused_in(&Case::new(0x10, (0, place), payload), &before, why);
    };
    refuse(
        place.1 + 8,
        &end_entry(None),
        "a place where an entry begins",
    );
    refuse(place.1, &entry(42, 'C', None), "entries up to an end entry");
    refuse(
        place.1,
        &[&end_entry(None)[..], &end_entry(None)].concat(),
        "entries up to an end entry",
    );
    refuse(place.1, &vec![0; LEN], "room for the entries");
}

#[test]
fn changes_of_entries() {
    let inner = |first: u64, end: u64| vec![entry(40, 'B', Some(first)), end_entry(Some(end))];
    for (slot, after) in [(0, inner(9, 8)), (1, inner(7, 9))] {
        let case = Case::new(0x12, (0, at(LEN, &inner(7, 8), slot)), &9_u64.to_le_bytes());
        becomes_in(&case, &block(LEN, 3, &inner(7, 8)), &block(LEN, 3, &after));
    }
    let leaf = block(LEN, 3, &three());
    let (first, second, end) = (
        (0, at(LEN, &three(), 0)),
        (0, at(LEN, &three(), 1)),
        (0, at(LEN, &three(), 2)),
    );
    let child = "8 bytes for an entry with a child";
    refused_in(&Case::new(0x12, first, &[0; 8]), &leaf, child);
    refused_in(
        &Case::new(0x12, first, &[0; 16]),
        &block(LEN, 3, &inner(7, 8)),
        child,
    );

    let mut entries = three();
    entries[1][0x18..0x50].fill(0x99);
    becomes_in(
        &Case::new(0x14, second, &[0x99; 0x38]),
        &leaf,
        &block(LEN, 3, &entries),
    );
    let names = "38 bytes for the entry of a name";
    refused_in(&Case::new(0x14, second, &[0x99; 0x30]), &leaf, names);
    refused_in(&Case::new(0x14, end, &[0x99; 0x38]), &leaf, names);

    let view = |data: &[u8]| {
        block(
            LEN,
            3,
            &[view_entry(&[1, 2, 3, 4], data, None), end_entry(None)],
        )
    };
    becomes_in(
        &Case::new(0x22, first, &[6; 20]),
        &view(&[5; 20]),
        &view(&[6; 20]),
    );
    refused_in(
        &Case::new(0x22, first, &[6; 21]),
        &view(&[5; 20]),
        "data inside their entry",
    );
    for code in [0x12, 0x14, 0x22] {
        let case = Case::new(code, (0, first.1 + 8), &[0; 8]);
        refused_in(&case, &leaf, "a place where an entry begins");
    }
}

/// A block is one by its table of open attributes, of a size that blocks have.
#[test]
fn operations_on_blocks_need_a_block() {
    let leaf = block(LEN, 3, &three());
    let case = Case::new(0x0E, (0, at(LEN, &three(), 1)), &entry(42, 'C', None));
    for target in [
        Target::Mft,
        Target::Bitmap,
        Target::Records,
        Target::Bytes,
        Target::User,
    ] {
        refused(
            &bench(),
            target,
            &case,
            &leaf,
            "a block of an index as its target",
        );
    }
    for len in [0, 8, 256, 3000, 0x2_0000] {
        let mut bench = bench();
        bench.block = len;
        refused(
            &bench,
            Target::Index,
            &case,
            &leaf,
            "a block of an index as its target",
        );
    }
    for code in [0x02, 0x05, 0x07, 0x09, 0x0B, 0x0C, 0x25] {
        let case = Case::new(code, (0, 0), &[0; 8]);
        refused_in(&case, &leaf, "a record of $MFT as its target");
    }
}
