// SPDX-License-Identifier: GPL-2.0-or-later
//! What dirty pages say: where clusters are now, which of them were freed or replaced, and which records are needed.

#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

use super::bench::*;
use super::protocol::{UNTOUCHED, bytes, seen};
use super::writer::{
    Action, DirtyPage, Log, Newest, Payload, Version, attribute_at, protect, put, restore,
};
use super::*;

/// Redo goes by the dirty page, not by what the record says: a cluster that was freed later is not written, and what lies behind it
/// of the same record is not either.
#[test]
fn delete_dirty_clusters() {
    let cluster = 1024;
    let payload: Vec<u8> = (1..=4).flat_map(|part| vec![part; cluster]).collect();
    for (freed, count, written) in [
        (None, 0, 4),
        (Some(0), 1, 0),
        (Some(1), 1, 1),
        (Some(2), 1, 2),
        (Some(3), 9, 3),
        (Some(4), 9, 4),
        (Some(0), 4, 0),
    ] {
        let mut bench = Bench::new(cluster, 1024);
        bench.begin(Vec::new(), Vec::new());
        let mut action = bench.action(Target::Bytes, 0x1000, 0x1000);
        action.redo = (8, Payload::of(&payload));
        bench.add(&action, ID, 0);
        let first = bench.lcn(Target::Bytes) + 4;
        if let Some(slot) = freed {
            let mut free = Action::bare(0x0A, 0);
            // Ranges in no order, one inside another.
            let ranges: [[u64; 2]; 3] = [[first + slot, count], [first + slot, 1], [3, 2]];
            free.redo.1 = Payload::of(
                &ranges
                    .as_flattened()
                    .iter()
                    .flat_map(|n| n.to_le_bytes())
                    .collect::<Vec<u8>>(),
            );
            bench.log.add(&free.record(ID, 0, 0));
        }
        bench.forget(ID);
        let (disk, done) = bench.replay().unwrap();
        let places = [0x1000, 0x1400, 0x1800, 0x1C00];
        let expected: Vec<u8> = (0..4)
            .map(|part| if part < written { part + 1 } else { UNTOUCHED })
            .collect();
        assert_eq!(seen(&bench, &disk, &places), expected, "{freed:?}");
        assert_eq!(done.redone, usize::from(written > 0), "{freed:?}");
        // They are taken again, by a later record, elsewhere.
        let mut again = bench.action(Target::Bytes, 0x1000, 0x1000);
        again.redo = (8, Payload::of(&payload));
        again.lcns = (first + 20..first + 24).collect();
        bench.add(&again, ID, 0);
        bench.forget(ID);
        let (disk, _) = bench.replay().unwrap();
        assert_eq!(
            seen(&bench, &disk, &[0x1000 + 20 * 1024, 0x1000 + 23 * 1024]),
            [1, 4],
            "{freed:?}"
        );
    }
    // A structure of which a part is gone is gone.
    for slot in 0..4 {
        let mut bench = Bench::new(cluster, 4096);
        let before = record(4096, HEAD, &[resident(0x10, "", 0, false, &[0x11; 0x30])]);
        bench.lay(Target::Mft, 0x2000, &before);
        bench.begin(Vec::new(), Vec::new());
        let mut action = bench.action(Target::Mft, 0x2000, 4096);
        action.redo = (7, Payload::of(&[9; 8]));
        action.record_offset = first_attribute(4096) as u16;
        action.attribute_offset = 0x18;
        bench.add(&action, ID, 0);
        let mut free = Action::bare(0x0A, 0);
        free.redo.1 = Payload::of(
            &[
                (bench.lcn(Target::Mft) + 8 + slot).to_le_bytes(),
                1_u64.to_le_bytes(),
            ]
            .concat(),
        );
        bench.log.add(&free.record(ID, 0, 0));
        bench.forget(ID);
        let (disk, done) = bench.replay().unwrap();
        assert!(disk == bench.disk && done.redone == 0, "{slot}");
    }
    // Odd lengths and ranges past all numbers.
    for payload in [
        vec![0; 12],
        [u64::MAX.to_le_bytes(), 2_u64.to_le_bytes()].concat(),
    ] {
        let mut bench = Bench::new(cluster, 1024);
        bench.begin(Vec::new(), Vec::new());
        let mut free = Action::bare(0x0A, 0);
        free.redo.1 = Payload::of(&payload);
        bench.log.add(&free.record(ID, 0, 0));
        assert!(bench.replay().unwrap_err().contains("ranges of clusters"));
    }
}

/// A cluster that was replaced is written where it is now; one of which no page is dirty is nothing to the replay.
#[test]
fn hot_fix() {
    for dirty in [true, false] {
        let mut bench = Bench::new(4096, 1024);
        bench.begin(Vec::new(), Vec::new());
        if dirty {
            bench.add(&bytes(&bench, 0x1000, UNTOUCHED, 1), ID, 0);
        }
        let mut fix = bench.action(Target::Bytes, 0x1000, 8);
        fix.lcns = vec![bench.lcn(Target::Bytes) + 5];
        fix.redo.0 = 0x17;
        bench.add(&fix, ID, 0);
        bench.forget(ID);
        let (disk, done) = bench.replay().unwrap();
        let expected = if dirty {
            [UNTOUCHED, 1]
        } else {
            [UNTOUCHED; 2]
        };
        assert_eq!(seen(&bench, &disk, &[0x1000, 0x5000]), expected);
        assert_eq!(done.redone, usize::from(dirty));
    }
}

/// A structure that is newer than the log was written under another one.
#[test]
fn structures_newer_than_the_log() {
    let mut bench = Bench::new(4096, 1024);
    let times = resident(0x10, "", 0, false, &[0x11; 0x30]);
    bench.begin(Vec::new(), Vec::new());
    let mut action = bench.action(Target::Mft, 0x400, 0x400);
    action.redo = (7, Payload::of(&[9; 8]));
    action.record_offset = first_attribute(1024) as u16;
    action.attribute_offset = 0x18;
    let lsn = bench.add(&action, ID, 0);
    let end = bench.forget(ID);
    for (own, good) in [
        (0, true),
        (lsn - 1, true),
        (lsn, true),
        (end, true),
        (end + 1, false),
        (u64::MAX, false),
    ] {
        let mut before = record(1024, HEAD, std::slice::from_ref(&times));
        put(&mut before, 8, &u64::to_le_bytes(own));
        bench.lay(Target::Mft, 0x400, &before);
        match bench.replay() {
            Ok((disk, done)) => {
                assert!(good);
                assert_eq!(disk == bench.disk, own >= lsn);
                assert_eq!(
                    (done.redone, done.on_disk),
                    (usize::from(own < lsn), usize::from(own >= lsn))
                );
            }
            Err(error) => assert!(!good && error.contains("with another log"), "{error}"),
        }
    }
}

/// What a dirty page needs must still be there.
#[test]
fn records_that_are_needed_and_gone() {
    let mut bench = Bench::new(4096, 1024);
    bench.begin(Vec::new(), Vec::new());
    let lsn = bench.add(&bytes(&bench, 0, UNTOUCHED, 1), ID, 0);
    bench.forget(ID);
    let dirty = |target: u16, vcn: u64, oldest: u64, count: u64| DirtyPage {
        target,
        vcn,
        oldest,
        lcns: (0..count)
            .map(|slot| bench.lcn(Target::Bytes) + slot)
            .collect(),
    };
    let target = attribute_at(1, 4);
    for (page, why) in [
        (dirty(target, 0, lsn, 1), None),
        (
            dirty(target, 0, bench.oldest - 8, 1),
            Some("nothing needed before the oldest LSN"),
        ),
        (dirty(0x999, 0, lsn, 1), Some("an open attribute")),
        (dirty(target, 0, lsn, 2), Some("1 clusters a page")),
    ] {
        let mut bench = bench.clone();
        bench.begin(vec![page], Vec::new());
        match (bench.replay(), why) {
            (Ok((disk, _)), None) => assert_eq!(seen(&bench, &disk, &[0]), [1]),
            (Err(error), Some(why)) => assert!(error.contains(why), "{error}"),
            (found, why) => panic!("{why:?} {:?}", found.map(|_| ())),
        }
    }
}

/// Records that begin in one another, each as long as the rest of the log: reading them all would take a day.
#[test]
fn records_inside_one_another() {
    let mut bench = Bench::new(4096, 1024);
    bench.log = Log::new(Version::Fast, 0x200_0000, 0, 3);
    bench.newest = Newest::InPlace;
    bench.begin(Vec::new(), Vec::new());
    let start = bench.log.clone().add(&Action::bare(0, 0).record(ID, 0, 0));
    let bits = bench.log.place_bits;
    let offset = ((start & ((1 << bits) - 1)) * 8) as usize;
    let len = 0x1D0_0000;
    let mut data = vec![0; len];
    let mut previous = 0_u64;
    // On every page behind its first, at every place where a header can be.
    let mut page = offset / 0x1000 + 1;
    let mut from = 0x1000 - (offset % 0x1000 + 0x30);
    while from + 0xFC0 <= len {
        let mut at = 0x40;
        while at + 0x58 <= 0x1000 {
            let lsn = (page * 0x1000 + at) as u64 >> 3 | start >> bits << bits;
            let fake = from + at - 0x40;
            put(&mut data, fake, &lsn.to_le_bytes());
            put(&mut data, fake + 0x10, &previous.to_le_bytes());
            put(
                &mut data,
                fake + 0x18,
                &((len - fake - 0x30) as u32).to_le_bytes(),
            );
            data[fake + 0x20] = 1;
            data[fake + 0x24] = ID as u8;
            previous = lsn;
            at += 0x58;
        }
        (page, from) = (page + 1, from + 0xFC0);
    }
    let around = Action::bare(0, 0).record(0x68, 0, 0);
    put(&mut data, 0, &around.data);
    bench.log.add(&super::writer::Record { data, ..around });
    bench.forget(0x68);
    bench.log.add(&Action::bare(0, 0).record(ID, 0, previous));
    // Every page says that a record begins there which goes on behind it.
    let mut file = bench.file();
    let last = bench.log.newest_place() as usize / 0x1000;
    for page in offset / 0x1000 + 1..last {
        let content = &mut file[page * 0x1000..][..0x1000];
        assert!(restore(content));
        let lsn = (page * 0x1000 + 0x40) as u64 >> 3 | start >> bits << bits;
        put(content, 8, &lsn.to_le_bytes());
        protect(content, 5);
    }
    let began = std::time::Instant::now();
    let error = bench.replay_file(file).unwrap_err();
    assert!(
        error.contains("records that lie behind each other"),
        "{error}"
    );
    assert!(
        began.elapsed() < std::time::Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}

/// Clusters that the log does not tell are looked up in the mapping of their file, but not without end.
#[test]
fn clusters_that_the_log_does_not_tell() {
    for (count, good) in [(1, true), (0x4000, true), (0x4001, false)] {
        let mut bench = Bench::new(512, 1024);
        bench.log = Log::new(Version::Fast, 0x80_0000, 0, 3);
        bench.newest = Newest::InPlace;
        let before = record(1024, HEAD, &[resident(0x10, "", 0, false, &[0x11; 0x30])]);
        bench.lay(Target::Mft, 0x400, &before);
        bench.begin(Vec::new(), Vec::new());
        let mut action = bench.action(Target::Mft, 0x400, 0x400);
        action.redo = (7, Payload::of(&[9; 8]));
        action.record_offset = first_attribute(1024) as u16;
        action.attribute_offset = 0x18;
        // The second half of the record is not said.
        action.lcns.truncate(1);
        for _ in 0..count {
            bench.add(&action, ID, 0);
        }
        bench.forget(ID);
        let log = Bytes(bench.file());
        let device = crate::device::memory::MemoryDevice::new(bench.disk.clone());
        let asked = std::cell::Cell::new(0);
        let mapping =
            |file: crate::volume::ntfs::format::FileReference, kind: u32, name: &str, vcn: u64| {
                assert_eq!((file.record, kind, name, vcn), (0, 0x80, "", 3));
                asked.set(asked.get() + 1);
                Some(bench.lcn(Target::Mft) + 3)
            };
        let disk = Disk {
            device: &device,
            log: &[],
            mapping: &mapping,
        };
        let done = judge(&log, bench.geometry()).replay(&log, bench.geometry(), &disk);
        match done {
            Ok(done) => assert!(good && done.redone == count),
            Err(error) => assert!(
                !good && error.to_string().contains("clusters that are known"),
                "{error}"
            ),
        }
        assert_eq!(asked.get(), count.min(0x4000));
    }
}
