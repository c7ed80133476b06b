// SPDX-License-Identifier: GPL-2.0-or-later
//! Logs as they can lie in their file: versions, copies of the newest page, records across pages and across the end of the circular
//! area, and what a cut leaves.

#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

use super::bench::*;
use super::writer::{Action, Log, Newest, Payload, Restart as Pages, Version};
use super::*;

/// Overwrites `len` bytes of $SDS with `new`: a record as long as needed.
fn long(bench: &Bench, len: usize, new: u8) -> Action {
    let mut action = bench.action(Target::Bytes, 0, len);
    action.redo = (8, Payload::of(&vec![new; len]));
    action.undo = (8, Payload::of(&[0xA5; 8]));
    action
}

/// A bench whose log begins with this page and sequence.
fn bench(version: Version, usable: u64, first: u64, sequence: u64) -> Bench {
    let mut bench = Bench::new(4096, 1024);
    bench.log = Log::new(version, usable, first, sequence);
    bench
}

const VERSIONS: [Version; 2] = [Version::Tail, Version::Fast];

/// Wherever a log begins, and however long its records are: the last one counts, and it is found.
#[test]
fn records_of_all_lengths_from_every_page() {
    for version in VERSIONS {
        let usable = 0x3_2000;
        let pages = (usable - version.first()) / 0x1000;
        for first in 0..pages {
            let mut bench = bench(version, usable, first, 7);
            bench.begin(Vec::new(), Vec::new());
            // One that fills its page exactly, one that leaves no room for a header, one over several pages.
            for (number, len) in [0x10, 0xF00, 0x0ED0, 0x0EC8, 0x2800, 8, 0x1F40, 0xFB0]
                .iter()
                .enumerate()
            {
                bench.add(&long(&bench, *len, number as u8), ID, 0);
            }
            bench.forget(ID);
            assert!((bench.log.page_count() as u64) < pages);
            let (disk, done) = bench
                .replay()
                .unwrap_or_else(|why| panic!("{version:?} {first}: {why}"));
            assert_eq!(done.redone, 8);
            let place = bench.place(Target::Bytes, 0);
            let at = |at: usize| disk[place + at];
            assert_eq!(
                [
                    at(0),
                    at(0xFAF),
                    at(0xFB0),
                    at(0x1F3F),
                    at(0x1F40),
                    at(0x27FF),
                    at(0x2800)
                ],
                [7, 7, 6, 6, 4, 4, 0xA5]
            );
        }
    }
}

/// A log that has gone round: older pages are of the sequence before.
#[test]
fn a_log_that_goes_round() {
    for version in VERSIONS {
        let mut bench = bench(version, 0x3_2000, 0, 7);
        bench.begin(Vec::new(), Vec::new());
        let pages = bench.log.page_count();
        assert_eq!(pages, 1);
        // Two turns and a half.
        let all = (0x3_2000 - version.first()) / 0x1000;
        let mut number = 0_u64;
        while bench.log.newest_place() != version.first() + (all / 2) * 0x1000 || number < 3 * all {
            bench.add(&long(&bench, 0xC00, (number % 251) as u8), ID, 0);
            bench.forget(ID);
            number += 1;
        }
        // Its beginning is overwritten: only a newer checkpoint makes sense of it.
        let error = bench.replay().unwrap_err();
        assert!(!error.is_empty());
        bench.oldest = 0;
        let before = bench.log.lsns.len();
        bench.begin(Vec::new(), Vec::new());
        bench.oldest = bench.log.lsns[before - 1];
        bench.add(&long(&bench, 0x1800, 0xEE), ID, 0);
        bench.forget(ID);
        for newest in [
            Newest::InPlace,
            Newest::Copy(1),
            Newest::TornInPlace(0),
            Newest::TornCopy(1),
        ] {
            bench.newest = newest;
            let (disk, done) = bench
                .replay()
                .unwrap_or_else(|why| panic!("{version:?} {newest:?}: {why}"));
            assert_eq!(done.redone, 1);
            let place = bench.place(Target::Bytes, 0);
            assert_eq!(
                [disk[place], disk[place + 0x17FF], disk[place + 0x1800]],
                [0xEE, 0xEE, 0xA5]
            );
        }
    }
}

/// The newest page, in place or in a copy, torn or not.
#[test]
fn the_newest_page_and_its_copies() {
    for version in VERSIONS {
        let mut bench = bench(version, 0x4_0000, 3, 7);
        bench.begin(Vec::new(), Vec::new());
        bench.add(&long(&bench, 0x40, 1), ID, 0);
        bench.forget(ID);
        let slots: &[usize] = if version == Version::Tail {
            &[0, 1]
        } else {
            &[0, 1, 15, 16, 31]
        };
        for slot in slots {
            for newest in [
                Newest::InPlace,
                Newest::Copy(*slot),
                Newest::TornInPlace(*slot),
                Newest::TornCopy(*slot),
            ] {
                bench.newest = newest;
                let (disk, _) = bench.replay().unwrap();
                assert_eq!(disk[bench.place(Target::Bytes, 0)], 1, "{newest:?}");
            }
        }
        // Nowhere: the log is one page long, so nothing of it is left.
        bench.newest = Newest::Lost;
        assert!(bench.replay().unwrap_err().contains("lost or torn"));
        // An older state of the page in place, and the newest only in a copy, or the other way round: the newest counts, and with
        // it torn, what the older one has, unless the restart page knows of more.
        let older = bench.log.clone();
        let end = older.end();
        bench.add(&long(&bench, 0x40, 2), ID, 0);
        bench.forget(ID);
        let place = bench.log.newest_place() as usize;
        assert_eq!(place, older.newest_place() as usize);
        for (in_place, copied) in [(false, true), (true, false)] {
            for torn in [false, true] {
                for known in [end, bench.log.end()] {
                    let pages = Pages::open(known, bench.oldest, bench.checkpoint);
                    let mut file = bench.log.file(&pages, Newest::Lost);
                    let (new, old) = match (in_place, copied) {
                        (true, _) => (bench.log.newest_page(), older.newest_copy()),
                        _ => (bench.log.newest_copy(), older.newest_page()),
                    };
                    let (new_at, old_at) = if in_place {
                        (place, 0x2000)
                    } else {
                        (0x2000, place)
                    };
                    file[new_at..new_at + 0x1000].copy_from_slice(&new);
                    file[old_at..old_at + 0x1000].copy_from_slice(&old);
                    if torn {
                        file[new_at + 0x9FF] ^= 1;
                    }
                    let journal = judge(&Bytes(file), bench.geometry());
                    let what = format!("{version:?} {in_place} {torn} {known:#x}");
                    match torn && known > end {
                        true => assert!(matches!(journal.verdict, Verdict::Refused(_)), "{what}"),
                        false => {
                            let expected = if torn { end } else { bench.log.end() };
                            assert_eq!(
                                journal.end.unwrap().lsn,
                                expected,
                                "{what}: {:?}",
                                journal.verdict
                            );
                        }
                    }
                }
            }
        }
    }
}

/// A record of which the last page is missing is not in the log; one in whose middle a page is missing refuses it.
#[test]
fn records_that_were_cut_off() {
    for version in VERSIONS {
        let mut bench = bench(version, 0x4_0000, 0, 7);
        bench.begin(Vec::new(), Vec::new());
        bench.add(&long(&bench, 0x40, 1), ID, 0);
        let known = bench.forget(ID);
        let short = bench.log.clone();
        bench.add(&long(&bench, 0x2800, 2), ID, 0);
        let pages = Pages::open(known, bench.oldest, bench.checkpoint);
        let whole = bench.log.file(&pages, Newest::InPlace);
        assert_eq!(bench.log.page_count(), 3);
        let first = version.first() as usize;
        for missing in 0..8_usize {
            let mut file = whole.clone();
            for page in 0..3 {
                if missing & 1 << page != 0 {
                    file[first + page * 0x1000..][..0x1000].fill(0xFF);
                }
            }
            let journal = judge(&Bytes(file.clone()), bench.geometry());
            match missing {
                0 => assert_eq!(journal.end.unwrap().lsn, bench.log.end()),
                // The page with the checkpoint is gone.
                _ if missing & 1 != 0 => assert!(matches!(journal.verdict, Verdict::Refused(_))),
                2 => assert!(
                    matches!(journal.verdict, Verdict::Refused(_)),
                    "{version:?}"
                ),
                _ => {
                    assert_eq!(journal.end.unwrap().lsn, known, "{version:?} {missing}");
                    bench.log.lsns = short.lsns.clone();
                    let (disk, _) = bench.replay_file(file).unwrap();
                    assert_eq!(disk[bench.place(Target::Bytes, 0)], 1);
                    bench.log.lsns.push(0);
                    bench.log.lsns = {
                        let mut again = short.clone();
                        again.add(&long(&bench, 0x2800, 2).record(ID, 0, 0));
                        again.lsns
                    };
                }
            }
        }
    }
}

/// A log that Windows let go of stays as it is, whatever its records say.
#[test]
fn a_closed_log_is_clean() {
    for version in VERSIONS {
        let mut bench = bench(version, 0x4_0000, 0, 7);
        bench.begin(Vec::new(), Vec::new());
        bench.add(&long(&bench, 0x40, 1), ID, 0);
        for (in_use, flags) in [(0xFFFF, 0), (0, 2), (0xFFFF, 2)] {
            let pages = Pages {
                in_use,
                flags,
                ..Pages::open(bench.log.end(), bench.oldest, bench.checkpoint)
            };
            let journal = judge(
                &Bytes(bench.log.file(&pages, Newest::Copy(0))),
                bench.geometry(),
            );
            // Version 2.0 says that it was not let go of.
            assert_eq!(journal.verdict == Verdict::Clean, version == Version::Tail);
        }
    }
}

/// Restart pages are written in turn: the newer one counts, wherever it is; with the newer one torn, the older one leads to the same,
/// from a checkpoint earlier.
#[test]
fn restart_pages_in_turn() {
    for version in VERSIONS {
        let mut bench = bench(version, 0x4_0000, 0, 7);
        bench.begin(Vec::new(), Vec::new());
        let older = Pages::open(bench.checkpoint, bench.oldest, bench.checkpoint);
        bench.add(&long(&bench, 0x40, 1), ID, 0);
        bench.forget(ID);
        let page = super::writer::DirtyPage {
            target: super::writer::attribute_at(1, 4),
            vcn: 0,
            oldest: bench.log.lsns[3],
            lcns: vec![bench.lcn(Target::Bytes)],
        };
        bench.begin(vec![page], Vec::new());
        bench.add(&long(&bench, 0x20, 2), ID, 0);
        bench.forget(ID);
        let newer = Pages::open(bench.checkpoint, bench.oldest, bench.checkpoint);
        let (expected, _) = bench.replay().unwrap();
        let whole = bench.log.file(&newer, Newest::InPlace);
        let pages = [older, newer].map(|page| bench.log.restart_page(&page));
        for turned in [false, true] {
            for torn in [None, Some(0), Some(1)] {
                let mut file = whole.clone();
                let [first, second] = if turned { [1, 0] } else { [0, 1] };
                file[..0x1000].copy_from_slice(&pages[first]);
                file[0x1000..0x2000].copy_from_slice(&pages[second]);
                if let Some(torn) = torn {
                    file[torn * 0x1000 + 0x3FE] ^= 1;
                }
                let journal = judge(&Bytes(file.clone()), bench.geometry());
                let newer_is_whole = torn != Some(usize::from(!turned));
                assert_eq!(
                    journal.records,
                    if newer_is_whole { 6 } else { 9 },
                    "{turned} {torn:?}"
                );
                let how = journal.uncleanness().unwrap();
                assert_eq!(how.contains("restart page is bad"), torn.is_some(), "{how}");
                let (disk, _) = bench.replay_file(file).unwrap();
                assert!(disk == expected, "{version:?} {turned} {torn:?}");
            }
        }
        // Both torn: nothing is known.
        let mut file = whole;
        (file[0x3FE], file[0x13FE]) = (!file[0x3FE], !file[0x13FE]);
        let error = bench.replay_file(file).unwrap_err();
        assert!(error.contains("no good restart page"), "{error}");
    }
}
