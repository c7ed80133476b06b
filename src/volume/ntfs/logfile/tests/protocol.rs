// SPDX-License-Identifier: GPL-2.0-or-later
//! Transactions, nested actions, checkpoints: which records are done again, and which are taken back.

#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

use super::bench::*;
use super::writer::{Action, DirtyPage, OpenAttribute, Payload, Transaction, attribute_at, put};
use super::*;

/// Overwrites 8 bytes of $SDS at `at`, which were `old`.
pub(super) fn bytes(bench: &Bench, at: usize, old: u8, new: u8) -> Action {
    let mut action = bench.action(Target::Bytes, at & !0x1FF, 8 + (at & 0x1FF));
    action.redo = (8, Payload::of(&[new; 8]));
    action.undo = (8, Payload::of(&[old; 8]));
    action.record_offset = (at & 0x1FF) as u16;
    action
}

/// What the first of the 8 bytes of $SDS at each of these places is.
pub(super) fn seen(bench: &Bench, disk: &[u8], places: &[usize]) -> Vec<u8> {
    places
        .iter()
        .map(|at| disk[bench.place(Target::Bytes, *at)])
        .collect()
}

pub(super) const UNTOUCHED: u8 = 0xA5;

/// Several at once, each with its own chain: those that are forgotten stay, those that are not go, and one that is prepared or
/// committed stays too.
#[test]
fn transactions_side_by_side() {
    for major in [0, 1] {
        let mut bench = Bench::new(4096, 1024);
        bench.major = major;
        bench.begin(Vec::new(), Vec::new());
        let ids = [0x18, 0x40, 0x68, 0x90, 0xB8];
        let mut previous = [0; 5];
        for step in 0..3_usize {
            for (slot, id) in ids.iter().enumerate() {
                let old = if step == 0 { UNTOUCHED } else { step as u8 };
                let action = bytes(&bench, 0x200 * slot, old, step as u8 + 1);
                previous[slot] = bench.add(&action, *id, previous[slot]);
            }
        }
        bench
            .log
            .add(&Action::bare(0x19, 0).record(0x68, previous[2], previous[2]));
        bench
            .log
            .add(&Action::bare(0x1A, 0).record(0x90, previous[3], previous[3]));
        bench.forget(0x40);
        let (disk, done) = bench.replay().unwrap();
        let places = [0, 0x200, 0x400, 0x600, 0x800];
        assert_eq!(
            seen(&bench, &disk, &places),
            [UNTOUCHED, 3, 3, 3, UNTOUCHED]
        );
        assert_eq!((done.redone, done.undone), (15, 6));
        let journal = judge(&Bytes(bench.file()), bench.geometry());
        let Verdict::Pending(pending) = journal.verdict else {
            panic!("{:?}", journal.verdict)
        };
        let open: Vec<(u32, bool)> = pending
            .open
            .iter()
            .map(|open| (open.id, open.prepared))
            .collect();
        assert_eq!(open, [(0x18, false), (0x68, true), (0xB8, false)]);
    }
}

/// A nested action that is over stays when the rest is taken back; compensation records skip what is taken back already.
#[test]
fn nested_actions_and_compensation() {
    for end in [0x18, 0] {
        let mut bench = Bench::new(4096, 1024);
        bench.begin(Vec::new(), Vec::new());
        let outer = bench.add(&bytes(&bench, 0, UNTOUCHED, 1), ID, 0);
        let nested = bench.add(&bytes(&bench, 0x200, UNTOUCHED, 2), ID, outer);
        let nested = bench.add(&bytes(&bench, 0x400, UNTOUCHED, 3), ID, nested);
        // Its end: the operation of its own, or as Windows has it, nothing with a compensation.
        let over = bench
            .log
            .add(&Action::bare(end, 1).record(ID, nested, outer));
        let last = bench.add(&bytes(&bench, 0x600, UNTOUCHED, 4), ID, over);
        let places = [0, 0x200, 0x400, 0x600];
        let (disk, _) = bench.replay().unwrap();
        assert_eq!(seen(&bench, &disk, &places), [UNTOUCHED, 2, 3, UNTOUCHED]);

        // Windows had begun to take it back: the last one is undone already, and that is redone only.
        let mut back = bytes(&bench, 0x600, 4, UNTOUCHED);
        back.undo = (1, Payload::None);
        bench.log.add(&back.record(ID, last, over));
        let (disk, done) = bench.replay().unwrap();
        assert_eq!(seen(&bench, &disk, &places), [UNTOUCHED, 2, 3, UNTOUCHED]);
        assert_eq!(done.undone, 1);
        // And then the first.
        let mut back = bytes(&bench, 0, 1, UNTOUCHED);
        back.undo = (1, Payload::None);
        bench.log.add(&back.record(ID, last, 0));
        let (disk, done) = bench.replay().unwrap();
        assert_eq!(seen(&bench, &disk, &places), [UNTOUCHED, 2, 3, UNTOUCHED]);
        assert_eq!(done.undone, 0);
    }
}

/// The tables of a checkpoint in the middle: what it says was on the disk is left alone, transactions go on from it.
#[test]
fn a_checkpoint_in_the_middle() {
    for (major, cluster) in [(0, 4096), (1, 4096), (0, 512), (1, 1024), (1, 0x1_0000)] {
        let mut bench = Bench::new(cluster, 1024);
        bench.major = major;
        bench.begin(Vec::new(), Vec::new());
        let clusters = 0x1000_usize.div_ceil(cluster).min(8) as u64;
        let page = (0x1000 / cluster.min(0x1000)) as u64;
        // Page 0 is clean at the checkpoint, page 1 dirty since its second record.
        let one = bench.add(&bytes(&bench, 0x10, UNTOUCHED, 1), ID, 0);
        let two = bench.add(&bytes(&bench, 0x1_0000 - 0x800, UNTOUCHED, 2), ID, one);
        let three = bench.add(&bytes(&bench, 0x1_0000 - 0x800 + 8, UNTOUCHED, 3), ID, two);
        let other = bench.add(&bytes(&bench, 0x20, UNTOUCHED, 4), 0x68, 0);
        let vcn = (0x1_0000 - 0x1000) / cluster.min(0x1000);
        let vcn = if cluster > 0x1000 { 0 } else { vcn as u64 };
        let first = bench.lcn(Target::Bytes) + vcn;
        let dirty = DirtyPage {
            target: attribute_at(major, 4),
            vcn,
            oldest: three,
            lcns: (first..first + page.max(1)).collect(),
        };
        assert_eq!(clusters, page.max(1));
        let transactions = [
            (ID, 1, one, three),
            (0x68, 1, other, other),
            (0x90, 0, 0, 0),
        ]
        .map(|(id, state, first, last)| Transaction {
            id,
            state,
            first,
            previous: last,
            undo_next: last,
        });
        // Clean pages are on the disk, and here hold what no record says, to be seen again.
        let place = bench.place(Target::Bytes, 0x10);
        if cluster <= 0x1000 {
            put(&mut bench.disk, place, &[0x77; 8]);
        }
        bench.begin(vec![dirty], transactions.to_vec());
        let four = bench.add(&bytes(&bench, 0x800, UNTOUCHED, 5), ID, three);
        let places = [0x10, 0x1_0000 - 0x800, 0x1_0000 - 0x800 + 8, 0x800, 0x20];
        let mut bench_forgotten = bench.clone();
        bench_forgotten.forget(ID);
        let (disk, _) = bench_forgotten.replay().unwrap();
        let clean = if cluster <= 0x1000 { 0x77 } else { UNTOUCHED };
        assert_eq!(
            seen(&bench, &disk, &places),
            [clean, UNTOUCHED, 3, 5, UNTOUCHED],
            "{major} {cluster}"
        );
        // Taken back altogether.
        assert!(four > three);
        let (disk, done) = bench.replay().unwrap();
        assert_eq!(
            seen(&bench, &disk, &places),
            [UNTOUCHED; 5],
            "{major} {cluster}"
        );
        assert_eq!(done.undone, 5, "{major} {cluster}");
    }
}

/// An attribute that is opened behind the checkpoint, in a slot that another had before.
#[test]
fn attributes_opened_on_the_way() {
    for major in [0, 1] {
        let mut bench = Bench::new(4096, 1024);
        bench.major = major;
        bench.begin(Vec::new(), Vec::new());
        bench.add(&bytes(&bench, 0, UNTOUCHED, 1), ID, 0);
        let mut index = OpenAttribute {
            at: attribute_at(major, 7),
            kind: 0xA0,
            file: 55 | 2 << 48,
            opened: bench.log.end(),
            block_len: 0x1000,
            name: "$O".into(),
        };
        bench.log.add(&index.opening(major).record(0x68, 0, 0));
        bench.forget(0x68);
        let leaf = [view_entry(&[1, 2, 3, 4], &[5; 12], None), end_entry(None)];
        bench.lay(Target::Index, 0x1000, &block(0x1000, 1, &leaf));
        let mut action = bench.action(Target::Index, 0x1000, 0x1000);
        action.target = index.at;
        action.redo = (0x22, Payload::of(&[6; 12]));
        action.attribute_offset = first_entry(0x1000) as u16;
        bench.add(&action, ID, 0);
        bench.forget(ID);
        let (disk, done) = bench.replay().unwrap();
        let found = bench.found(&disk, Target::Index, 0x1000, 0x1000);
        let expected = [view_entry(&[1, 2, 3, 4], &[6; 12], None), end_entry(None)];
        assert!(used(&found) == used(&block(0x1000, 1, &expected)));
        let (file, name) = done.indexes.first().unwrap();
        assert_eq!((file.record, file.sequence, name.as_str()), (55, 2, "$O"));

        // Records older than the opening of what has the slot now are of another attribute.
        index.at = attribute_at(major, 4);
        index.opened = bench.log.end();
        bench.log.add(&index.opening(major).record(0x68, 0, 0));
        let error = bench.replay().unwrap_err();
        assert!(error.contains("an open attribute as its target"), "{error}");
        // An entry of a wrong length, and the target that is in no table.
        for (target, payload) in [(index.at, vec![0xFF; 0x20]), (0x999, vec![])] {
            let mut bench = bench.clone();
            let mut action = bench.action(Target::Bytes, 0, 8);
            action.target = target;
            action.redo = match payload.is_empty() {
                true => (8, Payload::of(&[0; 8])),
                false => (0x1C, Payload::of(&payload)),
            };
            bench.add(&action, ID, 0);
            assert!(bench.replay().is_err());
        }
    }
}

/// Chains that go round, forward, to another transaction, before the log, or into the middle of a record.
#[test]
fn undo_chains_that_lead_astray() {
    let chain = |next: &dyn Fn(u64, u64) -> u64, why: &str| {
        let mut bench = Bench::new(4096, 1024);
        bench.begin(Vec::new(), Vec::new());
        let other = bench.add(&bytes(&bench, 0x200, UNTOUCHED, 1), 0x68, 0);
        let first = bench.add(&bytes(&bench, 0, UNTOUCHED, 2), ID, 0);
        let next = next(first, other);
        bench
            .log
            .add(&bytes(&bench, 0, 2, 3).record(ID, first, next));
        bench.forget(0x68);
        let error = bench.replay().unwrap_err();
        assert!(error.contains(why), "{why}: {error}");
    };
    chain(&|_, other| other, "a record of transaction 0x40");
    chain(&|first, _| first + 0x1000, "an older record next");
    chain(&|first, _| first + 1, "its own LSN");
    chain(&|first, _| first - 1, "its own LSN");
    chain(&|_, _| 1, "a record that the log still holds");
    chain(&|_, _| u64::MAX, "an older record next");
    // To itself.
    let mut bench = Bench::new(4096, 1024);
    bench.begin(Vec::new(), Vec::new());
    let lsn = bench.clone().add(&bytes(&bench, 0, UNTOUCHED, 2), ID, 0);
    bench
        .log
        .add(&bytes(&bench, 0, UNTOUCHED, 2).record(ID, 0, lsn));
    assert!(bench.replay().unwrap_err().contains("an older record next"));
}

/// Numbers of transactions are offsets in their table.
#[test]
fn malformed_transactions() {
    for (id, good) in [
        (0, false),
        (0x17, false),
        (0x18, true),
        (0x19, false),
        (0x40, true),
        (0x18 + 0x28 * 5000, true),
        (u32::MAX, false),
    ] {
        let mut bench = Bench::new(4096, 1024);
        bench.begin(Vec::new(), Vec::new());
        bench.add(&bytes(&bench, 0, UNTOUCHED, 1), id, 0);
        assert_eq!(bench.replay().is_ok(), good, "{id:#x}");
    }
    for (state, good) in [
        (0, true),
        (1, true),
        (2, true),
        (3, true),
        (4, false),
        (255, false),
    ] {
        let mut bench = Bench::new(4096, 1024);
        bench.begin(Vec::new(), Vec::new());
        let lsn = bench.add(&bytes(&bench, 0, UNTOUCHED, 1), ID, 0);
        let entry = Transaction {
            id: ID,
            state,
            first: lsn,
            previous: lsn,
            undo_next: lsn,
        };
        bench.begin(Vec::new(), vec![entry]);
        assert_eq!(bench.replay().is_ok(), good, "{state}");
        let undone = bench.replay().map_or(0, |(_, done)| done.undone);
        assert_eq!(undone, usize::from(state == 1), "{state}");
    }
}
