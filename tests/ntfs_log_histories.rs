// SPDX-License-Identifier: GPL-2.0-or-later
//! Volumes on which something happened, cut off at every record of their journal: afterwards each is what the transactions made of
//! it that were over, and never a third.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod ntfs_log;
mod ntfs_support;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use coldfix::device::SharedDevice;
use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
use coldfix::volume::ntfs::NtfsVolume;
use coldfix::volume::{JournalVerdict, Volume};

use ntfs_log::Random;
use ntfs_log::happenings::{contents, history};
use ntfs_log::history::{Crash, History};
use ntfs_log::writer::Version;
use ntfs_support::*;

const FOLDERS: [&str; 4] = ["", "many", "Windows", "Windows/System32/config"];
const NOW: u64 = 133_500_000_000_000_000;

/// What becomes of a volume when it is opened and something is written that changes nothing else.
struct Closed {
    image: Vec<u8>,
    verdict: JournalVerdict,
    undone: u64,
}

fn closed(image: Vec<u8>, what: &str) -> Closed {
    let base: SharedDevice = Arc::new(MemoryDevice::new(image.clone()));
    let overlay = Arc::new(Overlay::new(base));
    let volume =
        NtfsVolume::open(overlay.clone()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let state = volume.state().journal.clone().unwrap();
    assert_ne!(state.verdict, JournalVerdict::Refused, "{what}: {state:?}");
    assert_eq!(state.replay_refusal(), None, "{what}");
    assert!(overlay.is_unchanged(), "{what}: opening writes nothing");
    let root = volume
        .security(&[""])
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let done = volume.set_security(&root[0], &[""], NOW);
    done.unwrap_or_else(|error| panic!("{what}: {error}"));
    Closed {
        image: contents(&overlay),
        verdict: state.verdict,
        undone: state.replay.map_or(0, |replay| replay.undone),
    }
}

/// The volume is what it has to be and its journal is closed; now and then, nothing more comes of opening it again, and the programs
/// of ntfs-3g that look at every cluster agree.
fn check(history: &History, crash: &Crash, end: usize, what: &str) -> Closed {
    let after = closed(crash.image.clone(), what);
    let differences = history.differences(&after.image, &crash.expected);
    assert!(differences.is_empty(), "{what}: {differences:#?}");
    if end.is_multiple_of(4) {
        let again = closed(after.image.clone(), what);
        assert_eq!(again.verdict, JournalVerdict::Clean, "{what}");
        assert!(
            again.image == after.image,
            "{what}: a closed journal is replayed"
        );
    }
    after
}

#[test]
fn after_a_cut_at_every_record_the_volume_is_what_was_over() {
    if !require(&["ntfsfix", "ntfsresize"]) {
        return;
    }
    let geometries = [(8, 512, 512), (8, 1024, 512), (8, 4096, 512)];
    let mut totals = [0_u64; 4];
    let mut operations = BTreeMap::new();
    for (geometry, seed) in geometries.into_iter().zip(41..) {
        let Some(image) = made_with(geometry, 60) else {
            return;
        };
        let image = fs::read(image).unwrap();
        for (version, round) in [(Version::Tail, 0), (Version::Fast, 1)] {
            let seed = seed * 1000 + round;
            let history = history(&image, seed, version, 8, &FOLDERS);
            for (code, count) in history.operations() {
                *operations.entry(code).or_insert(0) += count;
            }
            let mut random = Random(seed + 7);
            for end in 3..=history.len() {
                let crash = history.crash(end, &mut random);
                let what = format!(
                    "{geometry:?} {version:?} seed {seed} cut {end} of {}",
                    history.len()
                );
                let after = check(&history, &crash, end, &what);
                totals[0] += 1;
                totals[1] += u64::from(after.verdict == JournalVerdict::Pending);
                totals[2] += u64::from(after.undone > 0);
                totals[3] += u64::from(history.unfinished(end) > 1);
            }
        }
    }
    eprintln!(
        "{} cuts, {} pending, {} taken back, {} with two open",
        totals[0], totals[1], totals[2], totals[3]
    );
    eprintln!("operations: {operations:x?}");
    support::proof("crashes", "ntfs-log-cuts", totals[0]);
    assert!(totals.iter().all(|count| *count > 0), "{totals:?}");
    for code in [2, 5, 6, 7, 8, 9, 0x0B, 0x0C, 0x0E, 0x15, 0x16] {
        assert!(operations.contains_key(&code), "{code:#x}: {operations:x?}");
    }
}
