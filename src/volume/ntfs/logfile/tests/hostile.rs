// SPDX-License-Identifier: GPL-2.0-or-later
//! Logs that somebody made to do harm: never a panic, never a write where none may go, and an end within a time and memory that
//! the size of the log sets.

#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

use std::time::{Duration, Instant};

use super::bench::*;
use super::mutate::mutated;
use super::writer::{
    Action, DirtyPage, Log, Newest, Payload, Transaction, Version, attribute_at, protect, restore,
};
use super::*;
use crate::volume::ntfs::format::FileReference;

/// A target, which structure of it, the operation with its bytes, its undo with its bytes, record and attribute offset.
type Wanted = (Target, usize, u16, Vec<u8>, u16, Vec<u8>, (usize, usize));

/// A log with something of everything.
fn rich(version: Version, cluster: usize, record_len: usize) -> Bench {
    let mut bench = Bench::new(cluster, record_len);
    bench.log = Log::new(version, 0x3_2000, 4, 3);
    let times = resident(0x10, "", 0, false, &[0x11; 0x30]);
    let data = outside(
        0x80,
        1,
        (0, 7),
        [0x8000; 3],
        &[0x21, 8, 0x34, 0x12, 0, 0, 0, 0],
    );
    let entries = [entry(40, 'B', None), entry(41, 'D', None), end_entry(None)];
    let root = resident(0x90, "$I30", 2, false, &root(&entries));
    let parts = [times.clone(), data.clone(), root];
    let first = first_attribute(record_len);
    for number in 0..8 {
        bench.lay(
            Target::Mft,
            number * record_len,
            &record(record_len, HEAD, &parts),
        );
    }
    for number in 0..4 {
        bench.lay(
            Target::Index,
            number * 0x1000,
            &block(0x1000, number as u64, &entries),
        );
    }
    let mut bits = [0; 16];
    bits[0] = 40;
    bits[4] = 9;
    bench.begin(Vec::new(), Vec::new());
    let at_data = first + times.len();
    let at_root = at_data + data.len();
    let new = entry(42, 'C', None);
    let (in_root, in_block) = (
        0x40 + entries[0].len(),
        first_entry(0x1000) + entries[0].len(),
    );
    let all: [Wanted; 12] = [
        (
            Target::Mft,
            1,
            7,
            vec![9; 8],
            7,
            vec![0x11; 8],
            (first, 0x18),
        ),
        (
            Target::Mft,
            1,
            7,
            vec![9; 0x38],
            7,
            vec![0x11; 0x30],
            (first, 0x18),
        ),
        (
            Target::Mft,
            2,
            9,
            vec![0x21, 3, 0x34, 0x12, 0],
            9,
            vec![0x21, 8, 0x34, 0x12, 0],
            (at_data, 0x40),
        ),
        (
            Target::Mft,
            2,
            0x0B,
            vec![0; 24],
            0x0B,
            vec![0; 24],
            (at_data, 0),
        ),
        (
            Target::Mft,
            3,
            0x0C,
            new.clone(),
            0x0D,
            vec![],
            (at_root, in_root),
        ),
        (
            Target::Mft,
            3,
            0x13,
            vec![7; 0x38],
            0x13,
            vec![6; 0x38],
            (at_root, 0x40),
        ),
        (Target::Mft, 4, 6, vec![], 5, data, (at_data, 0)),
        (
            Target::Index,
            1,
            0x0E,
            new.clone(),
            0x0F,
            vec![],
            (0, in_block),
        ),
        (
            Target::Index,
            2,
            0x0F,
            vec![],
            0x0E,
            entries[0].clone(),
            (0, first_entry(0x1000)),
        ),
        (
            Target::Index,
            3,
            0x10,
            entries[2].clone(),
            0x10,
            entries[1..].concat(),
            (0, in_block),
        ),
        (
            Target::Bitmap,
            0,
            0x15,
            [40_u32, 9].iter().flat_map(|n| n.to_le_bytes()).collect(),
            0x16,
            bits[..8].to_vec(),
            (0, 0),
        ),
        (
            Target::Bytes,
            0,
            8,
            vec![0x5C; 0x1900],
            8,
            vec![0x5D; 16],
            (0, 0),
        ),
    ];
    let mut previous = [0; 2];
    for (number, (target, slot, redo, payload, undo, old, at)) in all.into_iter().enumerate() {
        let len = match target {
            Target::Mft => record_len,
            Target::Index => 0x1000,
            _ => payload.len().max(8),
        };
        let mut action = bench.action(target, slot * len, len);
        action.redo = (redo, Payload::of(&payload));
        action.undo = (undo, Payload::of(&old));
        (action.record_offset, action.attribute_offset) = (at.0 as u16, at.1 as u16);
        let own = number % 2;
        previous[own] = bench.add(&action, [ID, 0x68][own], previous[own]);
        if number == 5 {
            let clusters = (0x1000 / cluster).max(1) as u64;
            let first = bench.lcn(Target::Mft);
            let dirty = (0..(4 * record_len / 0x1000) as u64).map(|page| DirtyPage {
                target: attribute_at(1, 0),
                vcn: page * clusters,
                oldest: bench.log.lsns[3],
                lcns: (first + page * clusters..first + (page + 1) * clusters).collect(),
            });
            let dirty: Vec<DirtyPage> = dirty.collect();
            let open = [ID, 0x68].map(|id| Transaction {
                id,
                state: 1,
                first: bench.log.lsns[3],
                previous: previous[usize::from(id == 0x68)],
                undo_next: previous[usize::from(id == 0x68)],
            });
            bench.begin(dirty, open.to_vec());
        }
    }
    let mut free = Action::bare(0x0A, 0);
    free.redo.1 = Payload::of(&[1_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat());
    bench.log.add(&free.record(ID, previous[0], previous[0]));
    bench.forget(ID);
    bench.newest = Newest::InPlace;
    bench
}

/// What replaying a journal on a disk may have written.
fn check_writes(bench: &Bench, disk: &[u8], what: &str) {
    assert!(disk[..0x2000] == bench.disk[..0x2000], "{what}");
    for (first, end) in &bench.own {
        let own = *first as usize * bench.cluster..*end as usize * bench.cluster;
        assert!(disk[own.clone()] == bench.disk[own], "{what}");
    }
    assert_eq!(disk.len(), bench.disk.len());
}

#[test]
fn mutated_journals_end_and_write_nowhere_else() {
    let (mut done, mut refused, mut clean) = (0, 0, 0);
    let mut longest = Duration::ZERO;
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for (version, cluster, record) in [
        (Version::Tail, 512, 1024),
        (Version::Fast, 1024, 1024),
        (Version::Fast, 4096, 1024),
        (Version::Tail, 4096, 4096),
    ] {
        let mut bench = rich(version, cluster, record);
        let journal = bench.lcn(Target::Records);
        bench.own = vec![(journal, journal + 4)];
        let (disk, replayed) = bench.replay().unwrap();
        check_writes(&bench, &disk, "as it was made");
        assert_eq!((replayed.redone, replayed.undone), (12, 6), "{replayed:?}");
        let file = bench.file();
        for round in 0..6000 {
            let before = random;
            let mutated = mutated(&file, &mut random);
            let what = format!("{version:?} {cluster} round {round} from {before:#x}");
            let log = Bytes(mutated);
            let began = Instant::now();
            let journal = judge(&log, bench.geometry());
            let device = crate::device::memory::MemoryDevice::new(bench.disk.clone());
            let mapping = |_: FileReference, _: u32, _: &str, vcn: u64| Some(vcn % 0x1_0000);
            let on = Disk {
                device: &device,
                log: &bench.own,
                mapping: &mapping,
            };
            match journal.verdict {
                Verdict::Clean | Verdict::Idle => clean += 1,
                Verdict::Refused(_) => refused += 1,
                Verdict::Pending(_) => match journal.replay(&log, bench.geometry(), &on) {
                    Ok(_) => done += 1,
                    Err(_) => refused += 1,
                },
            }
            longest = longest.max(began.elapsed());
            check_writes(&bench, &device.contents(), &what);
        }
    }
    eprintln!(
        "{done} replayed, {refused} refused, {clean} with nothing to do; longest {longest:?}"
    );
    assert!(done > 500 && refused > 2000, "{done} {refused} {clean}");
    assert!(longest < Duration::from_secs(10), "{longest:?}");
}

/// Changes the client data of a record that lies on one page.
fn patched(bench: &Bench, lsn: u64, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut file = bench.file();
    let offset = ((lsn & ((1 << bench.log.place_bits) - 1)) * 8) as usize;
    let page = &mut file[offset & !0xFFF..][..0x1000];
    assert!(restore(page));
    let at = (offset & 0xFFF) + 0x30;
    let len = u32::from_le_bytes(page[at - 0x18..at - 0x14].try_into().unwrap()) as usize;
    change(&mut page[at..at + len]);
    protect(page, 0x33);
    file
}

/// The tables of a checkpoint: sizes, counts, links, names, entries, each wrong in its own way.
#[test]
fn tables_of_wrong_shapes() {
    let mut bench = Bench::new(4096, 1024);
    bench.newest = Newest::InPlace;
    bench.begin(Vec::new(), Vec::new());
    let mut action = bench.action(Target::Bytes, 0, 8);
    action.redo = (8, Payload::of(&[1; 8]));
    let lsn = bench.add(&action, ID, 0);
    let dirty = DirtyPage {
        target: attribute_at(1, 4),
        vcn: 0,
        oldest: lsn,
        lcns: vec![bench.lcn(Target::Bytes)],
    };
    let open = Transaction {
        id: ID,
        state: 1,
        first: lsn,
        previous: lsn,
        undo_next: lsn,
    };
    bench.begin(vec![dirty], vec![open]);
    // Open attributes, names, dirty pages, transactions, checkpoint.
    let [attributes, names, pages, transactions, checkpoint] =
        *bench.log.lsns.last_chunk::<5>().unwrap();
    assert_eq!(bench.replay().unwrap().1.undone, 0);
    let body = 0x28;
    let refused = |table: u64, at: usize, bytes: &[u8], why: &str| {
        let file = patched(&bench, table, |data| {
            data[at..at + bytes.len()].copy_from_slice(bytes)
        });
        let error = bench.replay_file(file).expect_err(why);
        assert!(error.contains(why), "{table:#x} {at:#x}: {error}");
    };
    for table in [attributes, pages, transactions] {
        // Entry size and count, how many are in use, the free list, and what is in an entry.
        refused(table, body, &[0, 0], "entries that fill it");
        refused(table, body, &[4, 0], "entries that fill it");
        refused(table, body, &[0xFF, 0xFF], "entries that fill it");
        refused(table, body + 2, &[0, 0], "entries that fill it");
        refused(table, body + 2, &[0xFF, 0xFF], "entries that fill it");
        refused(
            table,
            body + 4,
            &[0, 0],
            "as many entries in use as it says",
        );
        refused(
            table,
            body + 4,
            &[0xFF, 0xFF],
            "as many entries in use as it says",
        );
        refused(table, body + 0x10, &[1], "free links inside it");
        refused(table, body + 0x10, &[0xFF; 4], "free links inside it");
        refused(table, body + 0x14, &[0, 0, 1, 0], "free links inside it");
        refused(table, body + 0x18, &[3, 0, 0, 0], "free links inside it");
        // Not the table that the checkpoint speaks of.
        refused(table, 0, &[0x1E], "operation 0x1");
        refused(table, 6, &[8, 0], "operation 0x");
    }
    refused(attributes, 0, &[0x20], "operation 0x1d");
    // An entry that is nobody's: a name, and a dirty page.
    refused(names, body, &[0x77, 0x07], "the name of an open attribute");
    refused(names, body + 2, &[0xFF, 0xFF], "names inside the table");
    refused(
        pages,
        body + 0x18 + 4,
        &[0x77, 7, 0, 0],
        "an open attribute",
    );
    refused(
        pages,
        body + 0x18 + 4,
        &[0, 0, 1, 0],
        "the offset of an open attribute",
    );
    refused(pages, body + 0x18 + 0x0C, &[2], "clusters a page");
    refused(pages, body + 0x18 + 0x0C, &[0xFF; 4], "clusters a page");
    refused(
        pages,
        body + 0x18 + 0x18,
        &[1, 0, 0, 0, 0, 0, 0, 0],
        "the oldest LSN",
    );
    for lcn in [1, u64::MAX, 1 << 40, bench.geometry().clusters] {
        refused(
            pages,
            body + 0x18 + 0x20,
            &lcn.to_le_bytes(),
            "behind $Boot",
        );
    }
    refused(transactions, body + 0x40 + 4, &[9], "state 9");
    // The checkpoint itself.
    refused(checkpoint, 0, &[2], "version 0 or 1");
    refused(checkpoint, 0x50, &[0, 2, 0, 0], "as in the boot sector");
    refused(checkpoint, 8, &[0xFF; 8], "an LSN inside");
    for table in 0..4 {
        refused(checkpoint, 0x30 + 4 * table, &[1, 0, 0, 0], "operation 0x");
        refused(checkpoint, 0x10 + 8 * table, &[0xFF; 8], "an LSN inside");
        refused(
            checkpoint,
            0x10 + 8 * table,
            &checkpoint.to_le_bytes(),
            "an action",
        );
    }
    // VCNs of the smallest clusters are those of pages.
    let mut small = Bench::new(512, 1024);
    small.newest = Newest::InPlace;
    small.begin(Vec::new(), Vec::new());
    let lcn = small.lcn(Target::Bytes);
    small.begin(
        vec![DirtyPage {
            target: attribute_at(1, 4),
            vcn: 3,
            oldest: 0,
            lcns: vec![lcn; 8],
        }],
        Vec::new(),
    );
    assert!(
        small
            .replay()
            .unwrap_err()
            .contains("a VCN where a page begins")
    );
}

/// A log as large as its records allow, all of them to do again and to take back: the time goes with its size.
#[test]
fn a_large_log_takes_its_time_once() {
    let mut bench = Bench::new(512, 1024);
    bench.log = Log::new(Version::Fast, 0x40_0000, 0, 3);
    bench.newest = Newest::InPlace;
    bench.begin(Vec::new(), Vec::new());
    let mut previous = 0;
    let mut free = Action::bare(0x0A, 0);
    free.redo.1 = Payload::of(
        &[[5_u64, 1], [9, 2], [7, 1]]
            .as_flattened()
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect::<Vec<u8>>(),
    );
    let mut number = 0_u64;
    while (bench.log.page_count() as u64) < 0x3D0 {
        let mut action = bench.action(Target::Bytes, (number as usize % 100) * 512, 8);
        // Each in a page of its own, which is dirty from then on.
        action.vcn = number * 8;
        action.redo = (8, Payload::of(&[1; 8]));
        action.undo = (8, Payload::of(&[2; 8]));
        previous = bench.add(&action, ID, previous);
        previous = bench.log.add(&free.record(ID, previous, previous));
        number += 1;
    }
    let file = Bytes(bench.file());
    let began = Instant::now();
    let verdict = judge(&file, bench.geometry()).verdict;
    eprintln!("judged in {:?}", began.elapsed());
    assert!(!matches!(verdict, Verdict::Idle | Verdict::Clean));
    let result = bench.replay();
    let took = began.elapsed();
    match result {
        Ok((_, done)) => assert_eq!(done.undone as u64, number),
        Err(error) => assert!(error.contains("ranges of clusters"), "{error}"),
    }
    eprintln!("{number} records to do again, as many ranges freed: {took:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
}
