// SPDX-License-Identifier: GPL-2.0-or-later
//! Stops the commit of what each NTFS writer changes after every single write, and its undo likewise: the volume is
//! then old or new, never a third.
//!
//! A volume has millions of bytes of which a change touches a few sectors, and a commit neither reads nor writes the
//! others. So the simulated disk holds the changed ranges alone, one unchanged sector between each two; that they are
//! the whole change is checked on the volume itself first.

#![allow(missing_docs, dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![allow(clippy::cast_possible_truncation)]

mod commit_simulation;
mod ntfs_log;
mod ntfs_support;
mod support;

use std::fs;
use std::sync::Arc;

use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
use coldfix::device::{Change, Device, SharedDevice};
use coldfix::security::sddl;
use coldfix::volume::Volume;
use coldfix::volume::ntfs::NtfsVolume;

use commit_simulation::Lies;
use commit_simulation::explore::{Scenario, explore_commit, explore_undo};
use ntfs_log::Random;
use ntfs_log::happenings::{contents, history};
use ntfs_log::writer::Version;

const NOW: u64 = 133_500_000_000_000_000;
const SECTOR: usize = 512;

fn descriptor(text: &str) -> Vec<u8> {
    sddl::parse(text, None).unwrap().to_bytes().unwrap()
}

fn plain() -> Vec<u8> {
    descriptor("O:SYG:SYD:PAI(A;;FA;;;SY)(A;;FA;;;BA)")
}

/// A writer, and what it does to a volume.
type Writer = (&'static str, fn(&dyn Volume));

const WRITERS: [Writer; 11] = [
    ("a new descriptor", |volume| {
        let new = descriptor("O:BAG:SYD:PAI(A;;FR;;;S-1-5-21-1-2-3-1001)");
        volume
            .set_security(&new, &["Windows/System32/config/small"], NOW)
            .unwrap();
    }),
    ("a descriptor that exists", |volume| {
        let known = volume.security(&[""]).unwrap();
        volume
            .set_security(&known[0], &["Windows/System32/config/small", "linked"], NOW)
            .unwrap();
    }),
    ("many new descriptors", |volume| {
        for number in 0..60 {
            let new = descriptor(&format!(
                "O:BAG:SYD:PAI(A;;FR;;;S-1-5-21-1-2-{number}-1001)"
            ));
            volume.set_security(&new, &["linked"], NOW).unwrap();
        }
    }),
    ("a rename", |volume| {
        volume
            .rename("Windows/System32/config/small", "smaller than before", NOW)
            .unwrap();
    }),
    ("a rename in a large folder", |volume| {
        let names = volume.list("many").unwrap();
        let path = format!("many/{}", names[names.len() / 2].name);
        volume.rename(&path, "zz another place", NOW).unwrap();
    }),
    ("a new folder", |volume| {
        volume
            .create_directory("Windows/MachineKeys", &plain(), NOW)
            .unwrap();
    }),
    ("a new file in clusters", |volume| {
        volume
            .create_file("Windows/key", &[7; 9000], &plain(), NOW)
            .unwrap();
    }),
    ("a file removed", |volume| {
        volume.remove("Windows/System32/config/small", NOW).unwrap();
    }),
    ("a file replaced, what it held and its log kept", |volume| {
        let system = "Windows/System32/config/SYSTEM";
        let old = volume.read(system, 1 << 24).unwrap();
        volume
            .create_file_like(&format!("{system}.coldfix-old"), &old, system, NOW)
            .unwrap();
        let new: Vec<u8> = old.iter().map(|byte| byte ^ 0x5A).collect();
        volume.replace(system, &new).unwrap();
        volume
            .rename(
                "Windows/System32/config/small",
                "SYSTEM.coldfix-old.LOG1",
                NOW,
            )
            .unwrap();
    }),
    ("a file that leaves its record", |volume| {
        volume
            .replace("Windows/System32/config/small", &[3; 5000])
            .unwrap();
    }),
    ("a file that grows", |volume| {
        let mut content = volume
            .read("Windows/System32/config/SYSTEM", 1 << 24)
            .unwrap();
        content.resize(1_100_000, 9);
        volume
            .replace("Windows/System32/config/SYSTEM", &content)
            .unwrap();
    }),
];

/// Those that follow a replay.
const AFTER_A_REPLAY: [&str; 5] = [
    "a new descriptor",
    "a rename",
    "a new folder",
    "a new file in clusters",
    "a file that leaves its record",
];

/// What a writer changes on a volume; the volume below stays as it was.
fn changes(image: &[u8], writer: fn(&dyn Volume)) -> Vec<Change> {
    let base: SharedDevice = Arc::new(MemoryDevice::new(image.to_vec()));
    let overlay = Arc::new(Overlay::new(base.clone()));
    let volume = NtfsVolume::open(overlay.clone()).unwrap();
    writer(&volume);
    let mut below = vec![0; image.len()];
    base.read_at(0, &mut below).unwrap();
    assert!(below == image, "nothing is written below the overlay");
    let changes = overlay.changes().unwrap();
    assert!(!changes.is_empty());
    // The ranges are the whole change.
    let mut patched = image.to_vec();
    for change in &changes {
        let at = change.offset as usize;
        assert_eq!(patched[at..at + change.before.len()], change.before);
        patched[at..at + change.after.len()].copy_from_slice(&change.after);
    }
    let mut above = vec![0; image.len()];
    overlay.read_at(0, &mut above).unwrap();
    assert!(above == patched);
    changes
}

/// A disk of the changed ranges alone. Long ones are cut to their ends: a run is written by one call anyway.
fn scenario(changes: &[Change]) -> Scenario {
    const LONGEST: usize = 8 * SECTOR;
    let mut old = vec![0xA5; SECTOR];
    let mut parts = Vec::new();
    for change in changes {
        let half = |bytes: &[u8]| -> Vec<u8> {
            match bytes.len() > LONGEST {
                true => [&bytes[..LONGEST / 2], &bytes[bytes.len() - LONGEST / 2..]].concat(),
                false => bytes.to_vec(),
            }
        };
        parts.push((old.len(), half(&change.after)));
        old.extend(half(&change.before));
        old.extend([0xA5; SECTOR]);
    }
    let len = old.len();
    Scenario::new(vec![("disk.raw", old, len, parts)])
}

#[test]
fn after_a_crash_at_any_write_of_any_writer_the_volume_is_old_or_new() {
    // Small clusters and large: where structures share sectors and where they do not.
    for geometry in [(16, 512, 512), (16, 4096, 512)] {
        let Some(image) = ntfs_support::made(geometry) else {
            return;
        };
        let image = fs::read(image).unwrap();
        let mut crashes = 0;
        for (name, writer) in WRITERS {
            let changes = changes(&image, writer);
            let scenario = scenario(&changes);
            let (runs, faults) = explore_commit(&scenario, Lies::default());
            assert!(faults.is_empty(), "{name}: {faults:#?}");
            let (undone, faults) = explore_undo(&scenario);
            assert!(faults.is_empty(), "{name}, undo: {faults:#?}");
            crashes += runs + undone;
        }
        let name = format!("ntfs-writers-{}-byte-clusters", geometry.1);
        support::proof("crashes", &name, crashes);
    }
}

/// A volume whose journal waits for a replay that takes something back, as this seed has it.
fn waiting(image: &[u8], seed: u64, version: Version) -> Vec<u8> {
    let history = history(image, seed, version, 6, &["many"]);
    let mut random = Random(seed);
    for end in (3..history.len()).rev() {
        let crash = history.crash(end, &mut random);
        let volume = NtfsVolume::open(Arc::new(MemoryDevice::new(crash.image.clone()))).unwrap();
        let state = volume.state().journal.clone().unwrap();
        let replay = state.replay.unwrap_or_default();
        if replay.undone > 1 && replay.redone > 3 {
            return crash.image;
        }
    }
    panic!("nothing to take back in the history of seed {seed}");
}

/// A repair whose plan includes what waited in the journal: in one operation, or not at all, and undone with it.
#[test]
fn after_a_crash_at_any_write_of_a_replay_the_volume_waits_as_before_or_is_new() {
    let Some(image) = ntfs_support::made_with((8, 1024, 512), 60) else {
        return;
    };
    let image = fs::read(image).unwrap();
    for (seed, version) in [(11, Version::Tail), (12, Version::Fast)] {
        let old = waiting(&image, seed, version);
        let mut crashes = 0;
        for (name, writer) in WRITERS {
            // One of each kind that the small volume has room for.
            if !AFTER_A_REPLAY.contains(&name) {
                continue;
            }
            let changes = changes(&old, writer);
            let scenario = scenario(&changes);
            let (runs, faults) = explore_commit(&scenario, Lies::default());
            assert!(faults.is_empty(), "{name}: {faults:#?}");
            let (undone, faults) = explore_undo(&scenario);
            assert!(faults.is_empty(), "{name}, undo: {faults:#?}");
            crashes += runs + undone;
            // The old volume waits still, and comes to the same again; the new one does not wait.
            let overlay = Arc::new(Overlay::new(Arc::new(MemoryDevice::new(old.clone()))));
            let volume = NtfsVolume::open(overlay.clone()).unwrap();
            assert!(volume.state().journal.as_ref().unwrap().is_replayed());
            writer(&volume);
            assert_eq!(overlay.changes().unwrap(), changes, "{name}");
            let new = contents(&overlay);
            let volume = NtfsVolume::open(Arc::new(MemoryDevice::new(new))).unwrap();
            assert_eq!(volume.state().unclean_journal, None, "{name}");
        }
        support::proof("crashes", &format!("ntfs-replay-{version:?}"), crashes);
    }
}
