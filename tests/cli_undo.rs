// SPDX-License-Identifier: GPL-2.0-or-later
//! Taking back: exact undo, what refuses it, edit by edit after Windows has run; and plans that are reviewed first.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use support::ends;
use support::foreign::{self, Reader};

/// How `bare-broken.raw` spells it.
const BARE: &str = "WINDOWS/system32/Config/SYSTEM";
const TERM: &str = r"ControlSet001\Services\TermService";
const NLA: &str = r"ControlSet001\Control\Terminal Server\WinStations\RDP-Tcp";

struct Bench {
    folder: tempfile::TempDir,
    target: PathBuf,
}

impl Bench {
    fn new(fixture: &str) -> Option<Bench> {
        let folder = support::temporary();
        let made = support::fixtures(&[fixture])?.join(fixture);
        // A blank, which the printed undo command has to quote.
        let target = folder.path().join("the disk");
        support::copy(&made, &target);
        Some(Bench { folder, target })
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.run_on(&self.target, arguments)
    }

    /// `coldfix COMMAND TARGET ARGUMENTS`, where COMMAND may be `reg add` or the like.
    fn run_on(&self, target: &Path, arguments: &[&str]) -> Output {
        let (command, rest) = arguments.split_first().unwrap();
        support::coldfix(self.folder.path())
            .args(command.split(' '))
            .arg(target)
            .args(rest)
            .output()
            .expect("run coldfix")
    }

    #[track_caller]
    fn ends(&self, arguments: &[&str], code: i32) -> String {
        ends(&self.run(arguments), code)
    }

    #[track_caller]
    fn json(&self, arguments: &[&str], code: i32) -> serde_json::Value {
        let output = self.run(&[arguments, &["--format", "json"]].concat());
        let shown = ends(&output, code);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {shown}"))
    }

    /// The content of the target, file by file.
    fn state(&self) -> BTreeMap<PathBuf, String> {
        if self.target.is_dir() {
            support::sha256_tree(&self.target)
        } else {
            BTreeMap::from([(self.target.clone(), support::sha256(&self.target))])
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The SYSTEM hive of a bare volume as ntfs-3g reads it.
    fn hive(&self) -> PathBuf {
        let hive = self.file("extracted");
        fs::write(&hive, foreign::ntfscat(&self.target, BARE)).unwrap();
        hive
    }

    /// What Windows would do: another program edits the hive, and the file system writes it back.
    fn as_windows(&self, reg: &str) {
        let hive = self.hive();
        let text = self.file("windows.reg");
        fs::write(
            &text,
            format!("Windows Registry Editor Version 5.00\n\n{reg}"),
        )
        .unwrap();
        support::run(
            support::program("hivexregedit")
                .args(["--merge", "--prefix", r"HKEY_LOCAL_MACHINE\SYSTEM"])
                .arg(&hive)
                .arg(&text),
        );
        support::run(
            support::program("ntfscp")
                .arg("-f")
                .arg(&self.target)
                .arg(&hive)
                .arg(BARE),
        );
    }

    fn dword(&self, key: &str, name: &str) -> Option<u32> {
        foreign::hivex_value(&self.hive(), key, name).map(|value| value.dword())
    }
}

fn tools() -> bool {
    Reader::Hivex.available()
        && ["ntfscat", "ntfscp", "hivexregedit"]
            .into_iter()
            .all(support::require)
}

fn id_of(report: &serde_json::Value) -> String {
    report["operation"]["id"]
        .as_str()
        .expect("an id")
        .to_owned()
}

const FIX: [&str; 4] = ["repair", "--fix", "tls", "--yes"];

/// Repair, undo, undo of the undo, and undo of that: always one of the two states, to the bit.
#[test]
fn undo_is_exact_and_can_be_undone() {
    for fixture in ["bare-broken.raw", "vhd-broken.vhd", "folder/demo"] {
        let Some(bench) = Bench::new(fixture) else {
            return;
        };
        let old = bench.state();
        let repaired = bench.json(&FIX, 0);
        let new = bench.state();
        assert!(new != old, "{fixture}");
        let dry = bench.json(&["undo", "--dry-run"], 0);
        assert_eq!(dry["operation"]["ranges"], repaired["operation"]["ranges"]);
        assert!(bench.state() == new, "{fixture}: a dry run writes nothing");

        let undone = bench.json(&["undo", "--yes"], 0);
        assert_eq!(undone["operation"]["verified"], true);
        assert!(bench.state() == old, "{fixture}");
        // Without an id there is nothing more to take back: the undo is not offered as a step of its own.
        assert!(bench.ends(&["undo", "--yes"], 2).contains("no operation"));
        bench.ends(&["undo", &id_of(&repaired), "--yes"], 3);
        assert!(bench.state() == old, "{fixture}");

        let redone = bench.json(&["undo", &id_of(&undone), "--yes"], 0);
        assert!(bench.state() == new, "{fixture}: the undo is undone");
        bench.ends(&["undo", &id_of(&redone), "--yes"], 0);
        assert!(bench.state() == old, "{fixture}");

        let log = bench.json(&["log"], 0);
        let operations = log["operations"].as_array().unwrap();
        assert_eq!(operations.len(), 4, "{log}");
        assert_eq!(log["schema"], "coldfix.log/1");
        assert_eq!(operations[1]["undoes"], operations[0]["id"]);
        assert_eq!(operations[3]["status"], "done", "{log}");
        let text = bench.ends(&["log"], 0);
        assert!(text.ends_with("4 operations\n"), "{text}");
        assert!(
            text.contains(&format!("undone by {}", id_of(&undone))),
            "{text}"
        );
    }
}

#[test]
fn the_printed_command_works_in_a_shell() {
    let Some(bench) = Bench::new("folder/demo") else {
        return;
    };
    let old = bench.state();
    let journal = bench.file("it's a journal");
    let arguments = [&FIX[..], &["--journal-dir", journal.to_str().unwrap()]].concat();
    let text = bench.ends(&arguments, 0);
    let undo = text
        .lines()
        .find_map(|line| line.strip_prefix("undo: "))
        .unwrap();
    assert!(bench.state() != old);
    let program = Path::new(env!("CARGO_BIN_EXE_coldfix")).parent().unwrap();
    let path = format!("{}:/usr/bin:/bin", program.display());
    support::run(
        support::program("sh")
            .args(["-c", &format!("{undo} --yes")])
            .env("PATH", path)
            .env("HOME", bench.folder.path()),
    );
    assert!(bench.state() == old, "{undo}");
}

/// Operations that touch the same bytes come off in the reverse of their order; others in any.
#[test]
fn a_later_operation_on_the_same_bytes_stands_in_the_way() {
    let Some(bench) = Bench::new("bare-broken.raw") else {
        return;
    };
    let old = bench.state();
    let first = bench.json(&FIX, 0);
    let between = bench.state();
    let second = bench.json(&["repair", "--fix", "nla", "--yes"], 0);
    let last = bench.state();
    // Both changed the hive's base block.
    let refused = bench.ends(&["undo", &id_of(&first), "--yes"], 3);
    assert!(
        refused.contains(&format!("undo {} first", id_of(&second))),
        "{refused}"
    );
    bench.ends(&["undo", &id_of(&first), "--dry-run"], 3);
    assert!(bench.state() == last);
    bench.ends(&["undo", "--yes"], 0);
    assert!(bench.state() == between, "the latest one is taken");
    bench.ends(&["undo", "--yes"], 0);
    assert!(bench.state() == old);
    bench.ends(&["undo", "no-such-operation", "--yes"], 2);
}

#[test]
fn a_target_that_changed_since_is_refused_with_its_ranges() {
    if !tools() {
        return;
    }
    let Some(bench) = Bench::new("bare-broken.raw") else {
        return;
    };
    let repaired = bench.json(&FIX, 0);
    // Straight into a byte that the operation wrote: the value's cell, found in the journal's ranges.
    let listing = coldfix::commit::JournalDir::open(format!("{}.coldfix", bench.target.display()));
    let (_, changes) = listing.load(&id_of(&repaired)).unwrap();
    let change = changes.patches[0].changes.last().unwrap();
    let disk = fs::File::options().write(true).open(&bench.target).unwrap();
    disk.write_all_at(&[change.after[0] ^ 0x55], change.offset)
        .unwrap();
    let changed = bench.state();
    for arguments in [&["undo", "--yes"][..], &["undo", "--dry-run"]] {
        let refused = bench.ends(arguments, 3);
        assert!(refused.contains("has changed since"), "{refused}");
        assert!(refused.contains("--revert"), "{refused}");
        assert!(
            refused.contains(&format!("{:#x}", change.offset))
                || refused.contains(&change.offset.to_string()),
            "names the range at {:#x}: {refused}",
            change.offset
        );
        assert!(bench.state() == changed);
    }
}

/// Another program has written the hive since. What is still ours goes back, what is not stays, and both are told.
#[test]
fn revert_takes_back_what_is_still_ours() {
    if !tools() {
        return;
    }
    let Some(bench) = Bench::new("bare-broken.raw") else {
        return;
    };
    let nla = bench.dword(NLA, "UserAuthentication");
    let file = bench.file("ours.reg");
    fs::write(
        &file,
        concat!(
            "Windows Registry Editor Version 5.00\n",
            "[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\TermService]\n\"Start\"=dword:2\n\"Ours\"=dword:1\n\"ErrorControl\"=dword:3\n\"DisplayName\"=-\n",
            "[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\Terminal Server\\WinStations\\RDP-Tcp]\n\"UserAuthentication\"=dword:1\n",
            "[HKEY_LOCAL_MACHINE\\SYSTEM\\Empty\\Below]\n",
            "[HKEY_LOCAL_MACHINE\\SYSTEM\\Filled]\n\"ours\"=dword:1\n",
        ),
    )
    .unwrap();
    let error_control = bench.dword(TERM, "ErrorControl");
    bench.ends(&["reg import", file.to_str().unwrap(), "--yes"], 0);
    // Windows: changes one of the values, deletes another, puts something into a key of ours.
    bench.as_windows(concat!(
        "[HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001\\Services\\TermService]\n\"Start\"=dword:00000001\n\"Windows\"=dword:00000007\n\"Ours\"=-\n\n",
        "[HKEY_LOCAL_MACHINE\\SYSTEM\\Filled]\n\"theirs\"=dword:00000001\n",
    ));
    let refused = bench.ends(&["undo", "--yes"], 3);
    assert!(refused.contains("--revert"), "{refused}");

    let before = bench.state();
    let dry = bench.ends(&["undo", "--revert", "--dry-run"], 1);
    assert!(dry.contains("would be taken back"), "{dry}");
    assert!(bench.state() == before, "a dry run writes nothing");
    bench.ends(&["undo", "--revert"], 3);
    assert!(bench.state() == before, "asks first");

    let text = bench.ends(&["undo", "--revert", "--yes"], 1);
    let left: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("left alone: "))
        .collect();
    assert_eq!(left.len(), 2, "{text}");
    assert!(
        left.iter().any(|line| line.contains(r"TermService\Start")),
        "{text}"
    );
    assert!(
        left.iter().any(|line| line.contains(r"SYSTEM\Filled")),
        "{text}"
    );

    assert_eq!(bench.dword(TERM, "Start"), Some(1), "Windows' own");
    assert_eq!(bench.dword(TERM, "Windows"), Some(7), "Windows' own");
    assert_eq!(bench.dword(TERM, "Ours"), None);
    assert_eq!(bench.dword(TERM, "ErrorControl"), error_control);
    assert_eq!(bench.dword(NLA, "UserAuthentication"), nla);
    assert!(foreign::hivex_value(&bench.hive(), TERM, "DisplayName").is_some());
    let hive = bench.hive();
    let filled = foreign::dump_key(Reader::Hivex, &hive, "Filled");
    let names: Vec<&str> = filled["Filled"]
        .values
        .iter()
        .map(|value| value.name.as_str())
        .collect();
    assert_eq!(names, ["theirs"]);
    assert!(
        foreign::dump_key(Reader::Hivex, &hive, "Empty").is_empty(),
        "made by us, empty again"
    );

    // Taking it back is an operation like any other.
    bench.ends(&["undo", "--yes"], 0);
    assert!(bench.state() == before);
}

#[test]
fn an_undo_has_no_edits_to_revert() {
    let Some(bench) = Bench::new("folder/demo") else {
        return;
    };
    let repaired = bench.json(&FIX, 0);
    let undone = bench.json(&["undo", "--yes"], 0);
    let old = bench.state();
    let refused = bench.ends(&["undo", &id_of(&undone), "--revert", "--yes"], 3);
    assert!(refused.contains("itself the undo"), "{refused}");
    let refused = bench.ends(&["undo", &id_of(&repaired), "--revert", "--yes"], 3);
    assert!(refused.contains("already undone"), "{refused}");
    assert!(bench.state() == old);
}

/// A deleted tree comes back with its values, edit by edit too.
#[test]
fn a_deleted_tree_comes_back() {
    if !tools() {
        return;
    }
    let Some(bench) = Bench::new("bare-broken.raw") else {
        return;
    };
    let old = foreign::dump_key(
        Reader::Hivex,
        &bench.hive(),
        r"ControlSet001\Control\Terminal Server",
    );
    assert!(old.len() > 2);
    let key = r"HKLM\SYSTEM\CurrentControlSet\Control\Terminal Server";
    bench.ends(&["reg delete", key, "-f"], 0);
    bench.as_windows("[HKEY_LOCAL_MACHINE\\SYSTEM\\ByWindows]\n\"x\"=dword:00000001\n");
    bench.ends(&["undo", "--revert", "--yes"], 0);
    let hive = bench.hive();
    let new = foreign::dump_key(
        Reader::Hivex,
        &hive,
        r"ControlSet001\Control\Terminal Server",
    );
    assert_eq!(foreign::differences(&old, &new), [""; 0]);
    assert_eq!(
        foreign::dump_key(Reader::Hivex, &hive, "ByWindows").len(),
        1
    );
}

#[test]
fn a_plan_is_applied_exactly_or_not_at_all() {
    let Some(bench) = Bench::new("bare-broken.raw") else {
        return;
    };
    let old = bench.state();
    let plan = bench.file("plan.json");
    let plan_name = plan.to_str().unwrap();
    bench.ends(
        &[
            "repair",
            "--fix",
            "tls",
            "--fix",
            "services",
            "--dry-run",
            "--plan-out",
            plan_name,
        ],
        0,
    );
    assert!(bench.state() == old);
    let saved: serde_json::Value = serde_json::from_slice(&fs::read(&plan).unwrap()).unwrap();
    assert_eq!(saved["schema"], "coldfix.plan/1");
    let steps = saved["steps"].as_array().unwrap().len();
    assert!(steps >= 2, "{saved}");
    let apply = ["repair", "--plan", plan_name, "--yes"];

    // One bit of the plan is not what was reviewed.
    let edited = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut other = saved.clone();
        change(&mut other);
        let path = bench.file("edited.json");
        fs::write(&path, other.to_string()).unwrap();
        bench.run(&["repair", "--plan", path.to_str().unwrap(), "--yes"])
    };
    ends(
        &edited(&|plan| plan["steps"][0]["before"] = "REG_DWORD 0x77".into()),
        3,
    );
    ends(&edited(&|plan| plan["disk_id"] = "another".into()), 3);
    ends(&edited(&|plan| plan["partition"] = 4.into()), 2);
    ends(&edited(&|plan| plan["files"][0]["sha256"] = "00".into()), 3);
    ends(&edited(&|plan| plan["schema"] = "coldfix.plan/2".into()), 2);
    ends(
        &edited(&|plan| plan["steps"][0]["inverse"] = serde_json::json!([])),
        3,
    );
    assert!(bench.state() == old);
    let text = bench.file("text");
    fs::write(&text, "no plan").unwrap();
    bench.ends(&["repair", "--plan", text.to_str().unwrap(), "--yes"], 2);
    bench.ends(
        &[
            "repair",
            "--plan",
            bench.file("none").to_str().unwrap(),
            "--yes",
        ],
        2,
    );

    // A log that is not what it was: Windows may have been at it.
    if support::require("ntfscp") {
        let log = bench.file("log");
        fs::write(&log, vec![1; 512]).unwrap();
        let twin = bench.file("twin.raw");
        support::copy(&bench.target, &twin);
        support::run(
            support::program("ntfscp")
                .arg("-f")
                .arg(&twin)
                .arg(&log)
                .arg(format!("{BARE}.LOG1")),
        );
        let before = support::sha256(&twin);
        let refused = ends(&bench.run_on(&twin, &apply), 3);
        assert!(refused.contains("changed since the plan"), "{refused}");
        assert_eq!(support::sha256(&twin), before);
    }

    let report = bench.json(&apply, 0);
    assert_eq!(
        report["operation"]["edits"].as_array().unwrap().len(),
        steps
    );
    let new = bench.state();
    let refused = bench.ends(&apply, 3);
    assert!(refused.contains("changed since the plan"), "{refused}");
    assert!(bench.state() == new, "a plan fits once");
    bench.ends(&["undo", "--yes"], 0);
    bench.ends(&apply, 0);
    assert!(bench.state() != old, "and again after the undo");

    // The same plan on another disk.
    if let Some(other) = Bench::new("mbr-broken.raw") {
        let before = other.state();
        other.ends(&apply, 3);
        assert!(other.state() == before);
    }
}
