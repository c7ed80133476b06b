// SPDX-License-Identifier: GPL-2.0-or-later
//! Whole volumes with a journal that somebody changed: opened, written, and looked at for what was written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod ntfs_log;
mod ntfs_support;
mod support;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
use coldfix::device::{Device, SharedDevice};
use coldfix::volume::ntfs::NtfsVolume;
use coldfix::volume::{JournalVerdict, Volume};

use ntfs_log::Random;
use ntfs_log::happenings::history;
use ntfs_log::image::pieces;
use ntfs_log::mutate::mutated;
use ntfs_log::writer::{Newest, Version};
use ntfs_support::*;

const NOW: u64 = 133_500_000_000_000_000;
const PAGE: usize = 0x1000;

/// What may not be written: the boot sector and its code, and the journal but for its two restart pages.
struct Forbidden(Vec<(u64, u64)>);

impl Forbidden {
    fn check(&self, overlay: &Overlay, what: &str) {
        for change in overlay.changes().unwrap() {
            let end = change.offset + change.after.len() as u64;
            for (first, last) in &self.0 {
                assert!(
                    end <= *first || change.offset >= *last,
                    "{what}: {:#x}..{end:#x}",
                    change.offset
                );
            }
        }
    }
}

#[test]
fn changed_journals_of_whole_volumes() {
    let mut totals = [0_u64; 4];
    let mut longest = Duration::ZERO;
    for (geometry, version, seed) in [
        ((8, 512, 512), Version::Fast, 21),
        ((8, 1024, 512), Version::Tail, 22),
        ((8, 4096, 512), Version::Fast, 23),
    ] {
        let Some(image) = made_with(geometry, 60) else {
            return;
        };
        let image = fs::read(image).unwrap();
        let history = history(&image, seed, version, 5, &["many", "Windows"]);
        let mut random = Random(seed);
        for end in [history.len(), history.len() - 2, history.len() / 2] {
            let crash = history.crash(end, &mut random);
            let file = crash.log.file(&crash.restart, Newest::InPlace);
            let cluster = history.parts.cluster;
            let journal = pieces(&history.parts.journal, cluster, 2 * PAGE, usize::MAX / 2);
            let mut forbidden = vec![(0, 0x2000)];
            forbidden.extend(
                journal
                    .iter()
                    .map(|(at, len)| (*at as u64, (at + len) as u64)),
            );
            let forbidden = Forbidden(forbidden);
            let base: SharedDevice = Arc::new(MemoryDevice::new(crash.image));
            for round in 0..1500 {
                let what = format!(
                    "{geometry:?} {version:?} cut {end} round {round} from {:#x}",
                    random.0
                );
                let changed = mutated(&file, &mut random.0);
                let left = Arc::new(Overlay::new(Arc::clone(&base)));
                let mut rest: &[u8] = &changed;
                for (at, len) in pieces(&history.parts.journal, cluster, 0, changed.len()) {
                    left.write_at(at as u64, &rest[..len]).unwrap();
                    rest = &rest[len..];
                }
                let overlay = Arc::new(Overlay::new(left));
                let began = Instant::now();
                match NtfsVolume::open(overlay.clone()) {
                    Err(_) => totals[3] += 1,
                    Ok(volume) => {
                        assert!(overlay.is_unchanged(), "{what}");
                        let state = volume.state().journal.clone().unwrap();
                        totals[match (state.verdict, state.is_replayed()) {
                            (JournalVerdict::Refused, _) | (JournalVerdict::Pending, false) => 2,
                            (_, true) => 0,
                            _ => 1,
                        }] += 1;
                        if let Ok(root) = volume.security(&[""]) {
                            let _ = volume.set_security(&root[0], &[""], NOW);
                        }
                    }
                }
                longest = longest.max(began.elapsed());
                forbidden.check(&overlay, &what);
            }
        }
    }
    let [replayed, idle, refused, none] = totals;
    eprintln!(
        "{replayed} replayed, {idle} with nothing to do, {refused} refused, {none} not opened; longest {longest:?}"
    );
    assert!(replayed > 100 && refused > 100, "{totals:?}");
    assert!(longest < Duration::from_secs(10), "{longest:?}");
    support::proof("mutations", "ntfs-log", totals.iter().sum());
}
