// SPDX-License-Identifier: GPL-2.0-or-later
//! Journals whose replay would leave a volume that contradicts itself: nothing of them is done, the volume is read as it was left, and
//! says why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![allow(clippy::cast_possible_truncation)]

mod ntfs_log;
mod ntfs_support;
mod support;

use std::fs;
use std::sync::Arc;

use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
use coldfix::error::Kind;
use coldfix::security::sddl;
use coldfix::volume::ntfs::NtfsVolume;
use coldfix::volume::{JournalVerdict, ReplayVerdict, Volume};

use ntfs_log::Random;
use ntfs_log::changes::{Effect, Step};
use ntfs_log::happenings::{changed, contents};
use ntfs_log::history::History;
use ntfs_log::image::{Parts, Target, attributes, name, u16_at, u32_at};
use ntfs_log::writer::{Payload, Version, put};
use ntfs_support::*;

const NOW: u64 = 133_500_000_000_000_000;
const SMALL: &str = "Windows/System32/config/small";

fn image() -> Option<Vec<u8>> {
    made_with((8, 1024, 512), 60).map(|path| fs::read(path).unwrap())
}

/// One transaction with these steps, and the volume after it: none of it, or some, on the disk.
fn crashed(image: &[u8], steps: Vec<Step>, seed: u64) -> (History, Vec<u8>, Vec<u8>) {
    let mut history = History::new(image.to_vec(), Version::Fast, 0x3_2000, 0, 1);
    for step in steps {
        history.step(0x18, step);
    }
    history.forget(0x18);
    let crash = history.crash(history.len(), &mut Random(seed));
    (history, crash.image, crash.expected)
}

/// Opened, it is as it was left, and says why; nothing goes through the gate.
fn refused(image: &[u8], steps: Vec<Step>, why: &str) {
    for seed in 1..6 {
        let (_, crash, _) = crashed(image, steps.clone(), seed);
        let overlay = Arc::new(Overlay::new(Arc::new(MemoryDevice::new(crash.clone()))));
        let volume = NtfsVolume::open(overlay.clone()).unwrap();
        let state = volume.state().journal.clone().unwrap();
        assert_eq!(state.verdict, JournalVerdict::Pending, "{why}");
        let replay = state.replay.clone().unwrap();
        assert_eq!(replay.verdict, ReplayVerdict::Refused, "{why}");
        let reason = replay.reason.unwrap();
        assert!(reason.contains(why), "{why}: {reason}");
        assert!(!state.is_replayed());
        let how = volume.state().unclean_journal.clone().unwrap();
        assert!(
            how.contains("cannot be replayed") && how.contains(&reason),
            "{how}"
        );
        assert_eq!(volume.read(SMALL, 1000).unwrap().len(), 100);
        let error = volume.create_directory("new", &[], NOW).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(
            error.to_string().contains("changes wait in the journal"),
            "{error}"
        );
        assert!(overlay.is_unchanged());
        assert!(contents(&overlay) == crash);
    }
}

/// Carried out, closed, and as it has to be.
fn accepted(image: &[u8], steps: Vec<Step>) {
    for seed in 1..6 {
        let (history, crash, expected) = crashed(image, steps.clone(), seed);
        let overlay = Arc::new(Overlay::new(Arc::new(MemoryDevice::new(crash))));
        let volume = NtfsVolume::open(overlay.clone()).unwrap();
        assert!(volume.state().journal.as_ref().unwrap().is_replayed());
        let root = volume.security(&[""]).unwrap();
        volume.set_security(&root[0], &[""], NOW).unwrap();
        let differences = history.differences(&contents(&overlay), &expected);
        assert!(differences.is_empty(), "{differences:#?}");
    }
}

/// What a change of the volume is as steps.
fn steps(
    image: &[u8],
    change: impl FnOnce(&dyn Volume) -> coldfix::error::Result<()>,
) -> Vec<Step> {
    let after = changed(image, change).unwrap();
    History::changes(image, &after).unwrap().concat()
}

fn without(steps: &[Step], target: &Target, code: u16) -> Vec<Step> {
    let kept = steps
        .iter()
        .filter(|step| step.target != *target || step.redo.0 != code);
    let kept: Vec<Step> = kept.cloned().collect();
    assert!(kept.len() < steps.len());
    kept
}

#[test]
fn bitmaps_that_contradict_records() {
    let Some(image) = image() else {
        return;
    };
    let text = "O:BAG:SYD:PAI(A;;FA;;;BA)";
    let descriptor = sddl::parse(text, None).unwrap().to_bytes().unwrap();
    // So that its descriptor is known already.
    let first = |volume: &dyn Volume| volume.create_file("first", b"", &descriptor, NOW);
    let image = changed(&image, first).unwrap();
    let made = steps(&image, |volume| {
        volume.create_file("Windows/new", &[7; 9000], &descriptor, NOW)
    });
    accepted(&image, made.clone());
    // Its clusters, and its record, are not marked.
    refused(&image, without(&made, &Target::Clusters, 0x15), "$Bitmap");
    refused(
        &image,
        without(&made, &Target::Records, 0x15),
        "$BITMAP of $MFT",
    );
    let gone = steps(&image, |volume| volume.remove("linked", NOW));
    accepted(&image, gone);
    let gone = steps(&image, |volume| volume.remove("Case", NOW));
    accepted(&image, gone.clone());
    refused(
        &image,
        without(&gone, &Target::Records, 0x16),
        "$BITMAP of $MFT",
    );
}

/// A change of one structure by hand: `bytes` at `at` of it, as this operation does it.
fn by_hand(
    image: &[u8],
    target: &Target,
    at: usize,
    code: u16,
    (record_offset, attribute_offset): (usize, usize),
    from: usize,
    bytes: &[u8],
) -> Step {
    let parts = Parts::of(image);
    let before = parts.structure(image, target, at).unwrap();
    let mut after = before.clone();
    put(&mut after, from, bytes);
    Step {
        target: target.clone(),
        at,
        len: before.len(),
        redo: (code, Payload::of(bytes)),
        undo: (code, Payload::of(&before[from..from + bytes.len()])),
        record_offset,
        attribute_offset,
        effect: Effect::Structure(after),
        back: Effect::Structure(before),
    }
}

/// The folder with blocks: its index, its record, and where root and bitmap of it begin there.
fn folder(image: &[u8], parts: &Parts) -> (Target, usize, usize, usize) {
    let target = parts.blocks.keys().find(|target| match target {
        Target::Index(file, name) => {
            name == "$I30"
                && (file & 0xFFFF_FFFF) >= 24
                && parts.used[target].iter().filter(|used| **used).count() > 1
        }
        _ => false,
    });
    let target = target.unwrap().clone();
    let Target::Index(file, _) = &target else {
        panic!("an index");
    };
    let number = usize::try_from(file & 0xFFFF_FFFF).unwrap();
    let record = parts.record(image, number).unwrap();
    let begins = |kind: u32| {
        let all = attributes(&record).into_iter();
        let mut all = all.filter(|(at, len)| {
            u32_at(&record, *at) == kind && name(&record[*at..at + len]) == "$I30"
        });
        all.next().unwrap().0
    };
    let (root, bitmap) = (begins(0x90), begins(0xB0));
    (target, number * parts.record, root, bitmap)
}

#[test]
fn indexes_that_do_not_hold_together() {
    let Some(image) = image() else {
        return;
    };
    let parts = Parts::of(&image);
    let (index, at, root, bitmap) = folder(&image, &parts);
    let record = parts.structure(&image, &Target::Mft, at).unwrap();
    // The first child of the root becomes the second one.
    let value = root + usize::from(u16_at(&record, root + 0x14));
    let first = value + 0x10 + 0x10;
    let end = first + usize::from(u16_at(&record, first + 8));
    assert!(record[first + 0x0C] == 1 && record[end + 0x0C] & 1 == 1);
    let last = end + usize::from(u16_at(&record, end + 8)) - 8;
    let child = record[last..last + 8].to_vec();
    let same = record[end - 8..end].to_vec();
    let set = |bytes: &[u8]| {
        by_hand(
            &image,
            &Target::Mft,
            at,
            0x11,
            (root, first - root),
            end - 8,
            bytes,
        )
    };
    accepted(&image, vec![set(&same)]);
    refused(&image, vec![set(&child)], "two parents");
    refused(&image, vec![set(&0x7777_u64.to_le_bytes())], "in use");
    // Its blocks are free.
    let bits = bitmap + usize::from(u16_at(&record, bitmap + 0x14));
    let clear = by_hand(
        &image,
        &Target::Mft,
        at,
        7,
        (bitmap, bits - bitmap),
        bits,
        &[0],
    );
    refused(&image, vec![clear], "says is free");
    // A block that says it is another.
    let block = by_hand(&image, &index, 0, 8, (0, 0x10), 0x10, &9_u64.to_le_bytes());
    refused(&image, vec![block], "block 0");
}

/// What $MFTMirr repeats is made equal, whichever of both is the newer.
#[test]
fn the_mirror_follows() {
    let Some(image) = image() else {
        return;
    };
    let parts = Parts::of(&image);
    let at = 3 * parts.record;
    let record = parts.structure(&image, &Target::Mft, at).unwrap();
    let begin = usize::from(u16_at(&record, 0x14));
    let step = by_hand(
        &image,
        &Target::Mft,
        at,
        7,
        (begin, 0x18),
        begin + 0x18,
        &[0x5A; 8],
    );
    for seed in 1..9 {
        let (history, mut crash, expected) = crashed(&image, vec![step.clone()], seed);
        if seed % 2 == 0 {
            let stale = parts.mirror.iter().map(|run| {
                (
                    run.0 as usize * parts.cluster,
                    run.1 as usize * parts.cluster,
                )
            });
            for (at, len) in stale {
                crash[at..at + len].copy_from_slice(&image[at..at + len]);
            }
        }
        let overlay = Arc::new(Overlay::new(Arc::new(MemoryDevice::new(crash))));
        let volume = NtfsVolume::open(overlay.clone()).unwrap();
        let root = volume.security(&[""]).unwrap();
        volume.set_security(&root[0], &[""], NOW).unwrap();
        let differences = history.differences(&contents(&overlay), &expected);
        assert!(differences.is_empty(), "{seed}: {differences:#?}");
    }
}
