// SPDX-License-Identifier: GPL-2.0-or-later
//! Runs that were cut off: the state is made from outside out of the journal, or by killing a real process. The next
//! run brings the target to the old or the new state, never to a third, or refuses and changes nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod support;

use support::ends;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use coldfix::commit::JournalDir;
use coldfix::device::{Change, Patch};

const FIX: [&str; 6] = ["repair", "--fix", "tls", "--fix", "nla", "--yes"];
const KINDS: [&str; 5] = [
    "gpt-broken.raw",
    "vhd-broken.vhd",
    "vhd-dynamic.vhd",
    "vhdx-dynamic.vhdx",
    "folder/demo",
];
const SECTOR: u64 = 512;

struct Bench {
    folder: tempfile::TempDir,
    target: PathBuf,
}

impl Bench {
    fn new(fixture: &str) -> Option<Bench> {
        let folder = support::temporary();
        let made = support::fixtures(&[fixture])?.join(fixture);
        let target = folder.path().join("disk");
        support::copy(&made, &target);
        Some(Bench { folder, target })
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let (command, rest) = arguments.split_first().unwrap();
        let mut run = support::coldfix(self.folder.path());
        // Times in the hive come from the clock; this one makes every run the same to the bit.
        run.args(command.split(' '))
            .arg(&self.target)
            .args(rest)
            .env("SOURCE_DATE_EPOCH", "1800000000");
        run
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("run coldfix")
    }

    #[track_caller]
    fn ends(&self, arguments: &[&str], code: i32) -> String {
        ends(&self.run(arguments), code)
    }

    fn state(&self) -> BTreeMap<PathBuf, String> {
        if self.target.is_dir() {
            support::sha256_tree(&self.target)
        } else {
            BTreeMap::from([(self.target.clone(), support::sha256(&self.target))])
        }
    }

    /// Where the journals of this target lie when nothing else is said.
    fn journal_dir(&self) -> PathBuf {
        if self.target.is_dir() {
            let mut found = support::sha256_tree(self.folder.path()).into_keys();
            let journal = found.find(|path| path.extension().is_some_and(|end| end == "journal"));
            journal.expect("a journal").parent().unwrap().to_owned()
        } else {
            PathBuf::from(format!("{}.coldfix", self.target.display()))
        }
    }

    /// Repairs; the id, and what the journal says was changed.
    fn repair(&self) -> (String, Vec<Patch>) {
        self.ends(&FIX, 0);
        let dir = JournalDir::open(self.journal_dir());
        let id = dir
            .list()
            .unwrap()
            .operations
            .last()
            .unwrap()
            .header
            .id
            .clone();
        let (_, changes) = dir.load(&id).unwrap();
        (id, changes.patches)
    }

    /// As if the run had been cut off before its end.
    fn unmark(&self, id: &str) {
        fs::remove_file(self.journal_dir().join(format!("{id}.done"))).unwrap();
    }

    fn open(&self, patch: &Patch) -> File {
        let path = match self.target.is_dir() {
            true => self.target.join(&patch.file),
            false => self.target.clone(),
        };
        File::options().write(true).open(path).unwrap()
    }
}

fn put_back(file: &File, change: &Change) {
    file.write_all_at(&change.before, change.offset).unwrap();
}

/// Puts back one half of what a change did in a sector: a write that tore. False when the change is too small.
fn tear(file: &File, change: &Change) -> bool {
    let differing: Vec<u64> = (change.offset..)
        .zip(change.before.iter().zip(&change.after))
        .filter(|(_, (before, after))| before != after)
        .map(|(place, _)| place)
        .collect();
    let Some(last) = differing.last() else {
        return false;
    };
    let torn: Vec<u64> = differing
        .iter()
        .copied()
        .filter(|place| place / SECTOR == last / SECTOR)
        .collect();
    for place in &torn[..torn.len() / 2] {
        let at = (place - change.offset) as usize;
        file.write_all_at(&change.before[at..=at], *place).unwrap();
    }
    torn.len() > 1
}

/// What a crash left, by how much of the operation is missing.
#[derive(Clone, Copy, Debug)]
enum Left {
    Nothing,
    EveryOther,
    Torn,
    LastOnly,
    All,
}

impl Left {
    const EVERY: [Left; 5] = [
        Left::Nothing,
        Left::EveryOther,
        Left::Torn,
        Left::LastOnly,
        Left::All,
    ];

    fn make(self, bench: &Bench, patches: &[Patch]) {
        if matches!(self, Left::Torn) {
            let mut changes = patches.iter().flat_map(|patch| {
                let file = bench.open(patch);
                patch
                    .changes
                    .iter()
                    .map(move |change| (file.try_clone().unwrap(), change))
            });
            assert!(
                changes.any(|(file, change)| tear(&file, change)),
                "something can tear"
            );
            return;
        }
        let count: usize = patches.iter().map(|patch| patch.changes.len()).sum();
        let mut number = 0;
        for patch in patches {
            let file = bench.open(patch);
            for change in &patch.changes {
                number += 1;
                match self {
                    Left::Nothing => put_back(&file, change),
                    Left::EveryOther if number % 2 == 0 => put_back(&file, change),
                    Left::LastOnly if number != count => put_back(&file, change),
                    _ => {}
                }
            }
            if matches!(self, Left::Nothing) {
                file.set_len(patch.before_len).unwrap();
            }
        }
    }
}

#[test]
fn what_a_crash_leaves_is_told_and_settled() {
    for fixture in KINDS {
        let Some(bench) = Bench::new(fixture) else {
            return;
        };
        let old = bench.state();
        let (_, patches) = bench.repair();
        let new = bench.state();
        let count: usize = patches.iter().map(|patch| patch.changes.len()).sum();
        assert!(count > 2, "{fixture}: {count} ranges");
        bench.ends(&["undo", "--yes"], 0);
        for left in Left::EVERY {
            for settling in ["repair", "undo"] {
                let _ = fs::remove_dir_all(bench.journal_dir());
                let (id, patches) = bench.repair();
                assert!(bench.state() == new, "a repair is the same every time");
                bench.unmark(&id);
                left.make(&bench, &patches);
                let between = bench.state();
                let what = format!("{fixture}, {left:?}, {settling}");

                // Reading commands say so and touch nothing; a dry run cannot judge such a target.
                let told = bench.run(&["diagnose"]);
                let told = format!(
                    "{}{}",
                    String::from_utf8_lossy(&told.stdout),
                    String::from_utf8_lossy(&told.stderr)
                );
                let words = told.split_whitespace().collect::<Vec<_>>().join(" ");
                assert!(words.contains("was interrupted"), "{what}: {told}");
                assert!(bench.ends(&["log"], 0).contains("interrupted"), "{what}");
                bench.ends(&["repair", "--dry-run"], 3);
                bench.ends(&["undo", "--dry-run"], 3);
                assert!(bench.state() == between, "{what}: nothing was touched");

                match settling {
                    "repair" => {
                        let text = bench.ends(&FIX, 0);
                        let outcome = match left {
                            Left::All => "complete",
                            _ => "taken back",
                        };
                        assert!(
                            text.contains(&format!("the interrupted operation {id} is {outcome}")),
                            "{what}: {text}"
                        );
                        assert!(bench.state() == new, "{what}");
                        bench.ends(&["undo", "--yes"], 0);
                    }
                    _ => {
                        // Taken back, nothing is left to undo; completed, it is undone like any other.
                        let code = if matches!(left, Left::All) { 0 } else { 2 };
                        bench.ends(&["undo", "--yes"], code);
                    }
                }
                assert!(bench.state() == old, "{what}");
            }
        }
    }
}

/// A byte that is neither the old nor the new one: somebody else has been there.
#[test]
fn what_no_crash_leaves_is_refused() {
    for fixture in KINDS {
        let Some(bench) = Bench::new(fixture) else {
            return;
        };
        let (id, patches) = bench.repair();
        bench.unmark(&id);
        Left::EveryOther.make(&bench, &patches);
        let (patch, change, at) = patches
            .iter()
            .flat_map(|patch| patch.changes.iter().map(move |change| (patch, change)))
            .find_map(|(patch, change)| {
                let at = change
                    .before
                    .iter()
                    .zip(&change.after)
                    .position(|(one, other)| one != other)?;
                Some((patch, change, at))
            })
            .unwrap();
        let foreign = (0..=255_u8)
            .find(|byte| *byte != change.before[at] && *byte != change.after[at])
            .unwrap();
        let place = change.offset + at as u64;
        bench.open(patch).write_all_at(&[foreign], place).unwrap();
        let before = bench.state();
        for command in [
            &FIX[..],
            &["undo", "--yes"],
            &["reg add", r"HKLM\SYSTEM\New", "-f"],
        ] {
            let refused = bench.ends(command, 3);
            assert!(
                refused.contains("something else has changed the target"),
                "{refused}"
            );
            assert!(
                refused.contains("0x") || refused.contains(&place.to_string()),
                "names the range: {refused}"
            );
            assert!(refused.contains(&format!("{id}.journal")), "{refused}");
            assert!(bench.state() == before, "{fixture}");
        }
    }
}

/// A journal that is damaged while its operation is open: it may be this target that is half-written.
#[test]
fn an_open_operation_whose_journal_is_damaged_is_refused() {
    for fixture in ["gpt-broken.raw", "folder/demo"] {
        let Some(bench) = Bench::new(fixture) else {
            return;
        };
        let (id, patches) = bench.repair();
        bench.unmark(&id);
        Left::EveryOther.make(&bench, &patches);
        let before = bench.state();
        let path = bench.journal_dir().join(format!("{id}.journal"));
        let whole = fs::read(&path).unwrap();
        for damage in [whole.len() / 2, whole.len() - 1, 5] {
            let mut bytes = whole.clone();
            bytes[damage] ^= 1;
            fs::write(&path, bytes).unwrap();
            ends_one_of(&bench.run(&FIX), &[2, 3]);
            ends_one_of(&bench.run(&["undo", "--yes"]), &[2, 3]);
            assert!(bench.state() == before, "{fixture}: byte {damage}");
        }
        fs::write(&path, &whole[..whole.len() - 40]).unwrap();
        ends_one_of(&bench.run(&FIX), &[2, 3]);
        assert!(bench.state() == before);
        fs::write(&path, whole).unwrap();
        bench.ends(&FIX, 0);
    }
}

#[track_caller]
fn ends_one_of(output: &Output, codes: &[i32]) {
    let code = output.status.code().unwrap_or(-1);
    assert!(codes.contains(&code), "{output:?}");
}

/// A real process, killed at a moment of no choosing, thirty times over.
#[test]
fn a_killed_run_leaves_the_old_or_the_new() {
    let Some(bench) = Bench::new("gpt-broken.raw") else {
        return;
    };
    let old = support::sha256(&bench.target);
    let mut text = String::from("Windows Registry Editor Version 5.00\n");
    for number in 0..120 {
        text.push_str(&format!(
            "[HKEY_LOCAL_MACHINE\\SYSTEM\\Kill\\K{number:03}]\n\"v\"=\"{number} {}\"\n",
            "x".repeat(200)
        ));
    }
    let file = bench.folder.path().join("many.reg");
    fs::write(&file, text).unwrap();
    let import = ["reg import", file.to_str().unwrap(), "--yes"];
    let start = || {
        let mut command = bench.command(&import);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let begun = Instant::now();
    support::run(&mut start());
    let whole = begun.elapsed();
    let new = support::sha256(&bench.target);
    assert_ne!(new, old);
    bench.ends(&["undo", "--yes"], 0);
    assert_eq!(support::sha256(&bench.target), old);

    let journals = bench.journal_dir();
    let (mut killed, mut begun_writing, mut whole_runs) = (0, 0, 0);
    for round in 0..30_u32 {
        let _ = fs::remove_dir_all(&journals);
        let mut child = start().spawn().unwrap();
        let begun = Instant::now();
        if round % 2 == 0 {
            // Anywhere in the run.
            std::thread::sleep(whole.mul_f64(f64::from(round) / 30.0));
        } else {
            // From the moment the journal has its name: the writing in place comes next.
            while !has_journal(&journals) && begun.elapsed() < Duration::from_secs(20) {
                if child.try_wait().unwrap().is_some() {
                    break;
                }
            }
            std::thread::sleep(Duration::from_micros(u64::from(round) * 60));
        }
        let _ = child.kill();
        if child.wait().unwrap().success() {
            whole_runs += 1;
        } else {
            killed += 1;
        }
        if has_journal(&journals) {
            begun_writing += 1;
        }
        // The next run settles it before it does anything else; that there is nothing to delete comes after.
        let next = bench.run(&["reg delete", r"HKLM\SYSTEM\No such key", "-f"]);
        ends(&next, 2);
        let now = support::sha256(&bench.target);
        assert!(now == old || now == new, "round {round} left a third state");
        // And the whole thing can be done, or taken back, after all.
        if now == new {
            bench.ends(&["undo", "--yes"], 0);
            assert_eq!(support::sha256(&bench.target), old, "round {round}");
        }
    }
    eprintln!("{killed} killed, {whole_runs} ended first, {begun_writing} had a journal");
    assert!(killed >= 10, "{killed} of 30 runs were killed in time");
    assert!(
        begun_writing >= 5,
        "{begun_writing} of 30 runs had come to writing"
    );
}

fn has_journal(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.path().extension().is_some_and(|end| end == "journal"))
    })
}
