// SPDX-License-Identifier: GPL-2.0-or-later
//! The whole tool, seen from outside: every broken fixture is diagnosed, cured and undone; every problem that the tool
//! knows is provoked; healthy machines and real ones have only what is true of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

#[path = "acceptance_support/real.rs"]
mod real;
#[path = "acceptance_support/rows.rs"]
mod rows;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::Value;
use support::bench::Bench;
use support::{boot_store, ends};

/// A fixture, what is changed in it, and what has to come of it.
pub struct Row {
    fixture: &'static str,
    changes: &'static [Change],
    found: &'static str,
    cure: Cure,
}

/// What is done to a fixture before it is diagnosed.
pub enum Change {
    /// A key below `HKEY_LOCAL_MACHINE`, and lines of a `.reg` text below it.
    Reg(&'static [&'static str]),
    /// SAM or SECURITY made anew with these arguments of `fixtures/accounts.py`.
    Accounts(&'static str, &'static [&'static str]),
    /// A file's bytes.
    Bytes(&'static str, fn(&mut [u8])),
    /// A file cut to this length.
    Cut(&'static str, u64),
    /// A file or folder taken away.
    Without(&'static str),
    /// `bcd set` with these arguments.
    Bcd(&'static [&'static str]),
    /// The store's bytes on the ESP; without a function, no store.
    Store(Option<fn(&mut [u8])>),
}

/// How what is broken, or at risk, ends.
#[derive(Clone, Copy)]
pub enum Cure {
    /// There is nothing of the kind, and `repair --yes` writes nothing.
    Nothing,
    /// `repair --yes` cures everything.
    Plain,
    /// `repair --yes` leaves the first, which these fixes cure when they are named.
    Named(&'static str, &'static str),
    /// The same, and the third is left then, for which there is no fix.
    NamedLeaves(&'static str, &'static str, &'static str),
    /// The same, and the third is left then, which the fourth cures when it is named.
    NamedTwice(&'static str, &'static str, &'static str, &'static str),
    /// `repair --yes` leaves this, for which there is no fix.
    Left(&'static str),
    /// All of it is reported only.
    Told,
    /// A repair is refused, with this exit code, and writes nothing.
    Refused(i32),
    /// Not even a diagnosis is made; both end with this exit code.
    NotRead(i32),
}

/// A fixture as it is.
pub const fn row(fixture: &'static str, found: &'static str, cure: Cure) -> Row {
    changed(fixture, &[], found, cure)
}

/// A fixture with changes.
pub const fn changed(
    fixture: &'static str,
    changes: &'static [Change],
    found: &'static str,
    cure: Cure,
) -> Row {
    Row {
        fixture,
        changes,
        found,
        cure,
    }
}

fn all_rows() -> impl Iterator<Item = &'static Row> {
    [rows::FOLDERS, rows::DISKS, rows::BAD, rows::CHANGED]
        .into_iter()
        .flatten()
}

/// The fixtures of all rows, made once for all tests of this file.
fn made(folders: bool) -> Option<PathBuf> {
    static MADE: [OnceLock<Option<PathBuf>>; 2] = [OnceLock::new(), OnceLock::new()];
    MADE[usize::from(folders)]
        .get_or_init(|| {
            let names: BTreeSet<&str> = all_rows().map(|row| row.fixture).collect();
            let names: Vec<&str> = names
                .into_iter()
                .filter(|name| name.starts_with("folder/") == folders)
                .collect();
            support::fixtures(&names)
        })
        .clone()
}

/// What is broken or at risk, as in the rows, and the fixes that the report offers for it.
fn listed(findings: &[Value]) -> (String, BTreeSet<String>) {
    let mut list = Vec::new();
    let mut fixes = BTreeSet::new();
    for finding in findings {
        let sign = match finding["severity"].as_str().unwrap() {
            "broken" => '!',
            "risk" => '?',
            _ => continue,
        };
        list.push(format!("{sign}{}", finding["id"].as_str().unwrap()));
        let offered = finding["fixes"].as_array().unwrap().iter();
        fixes.extend(offered.map(|fix| fix.as_str().unwrap().to_owned()));
    }
    (list.join(" "), fixes)
}

fn change(bench: &Bench, change: &Change) {
    let state = support::temporary();
    // Not in the state of the bench, whose undo must not find it.
    let coldfix = |words: &[&str], more: &[&str]| {
        let mut command = support::coldfix(state.path());
        command.args(words).arg(&bench.target).args(more);
        ends(&command.arg("--yes").output().unwrap(), 0);
    };
    let file = |path: &str| bench.target.join(path);
    match change {
        Change::Reg(text) => {
            let import = state.path().join("import.reg");
            let lines = text[1..].join("\n");
            let text = format!(
                "Windows Registry Editor Version 5.00\n\n[HKEY_LOCAL_MACHINE\\{}]\n{lines}\n",
                text[0]
            );
            std::fs::write(&import, text).unwrap();
            coldfix(&["reg", "import"], &[import.to_str().unwrap()]);
        }
        Change::Accounts(hive, arguments) => {
            let target = file(&format!("Windows/System32/config/{hive}"));
            support::make_accounts(hive, arguments, &target);
        }
        Change::Bytes(path, alter) => {
            let mut bytes = std::fs::read(file(path)).unwrap();
            alter(&mut bytes);
            std::fs::write(file(path), bytes).unwrap();
        }
        Change::Cut(path, length) => {
            let file = std::fs::File::options().write(true).open(file(path));
            file.unwrap().set_len(*length).unwrap();
        }
        Change::Without(path) => {
            let path = file(path);
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap();
            } else {
                std::fs::remove_file(path).unwrap();
            }
        }
        Change::Bcd(words) => coldfix(&["bcd", "set"], words),
        Change::Store(alter) => {
            let store = state.path().join("store");
            boot_store::get(&bench.target, boot_store::START, "BCD", &store);
            boot_store::delete(&bench.target, boot_store::START);
            if let Some(alter) = alter {
                let mut bytes = std::fs::read(&store).unwrap();
                alter(&mut bytes);
                std::fs::write(&store, bytes).unwrap();
                boot_store::put(&bench.target, boot_store::START, &store, "BCD");
            }
        }
    }
}

/// `bench.findings`, held against the row; the fixes that are offered.
#[track_caller]
fn finds(bench: &Bench, expected: &str, name: &str) -> BTreeSet<String> {
    let (code, findings) = bench.findings();
    let (found, fixes) = listed(&findings);
    assert_eq!(found, expected, "{name}");
    assert_eq!(code, i32::from(!expected.is_empty()), "{name}");
    fixes
}

/// Diagnosed, repaired, diagnosed again, undone.
fn goes_its_road(row: &Row) {
    let Some(made) = made(row.fixture.starts_with("folder/")) else {
        return;
    };
    let bench = Bench::copy_of(&made.join(row.fixture));
    for step in row.changes {
        change(&bench, step);
    }
    let name = format!(
        "{} with {} changes, {}",
        row.fixture,
        row.changes.len(),
        row.found
    );
    let (before, kept) = (bench.sum(), bench.kept());
    if let Cure::NotRead(code) = row.cure {
        for command in ["diagnose", "repair"] {
            ends(
                &bench.run(command, &["--yes"][..usize::from(command == "repair")]),
                code,
            );
        }
        assert!(bench.sum() == before, "{name}: nothing is written");
        assert_eq!(bench.kept(), 0, "{name}: no journal");
        return;
    }

    let offered = finds(&bench, row.found, &name);
    let (code, left) = match row.cure {
        Cure::Nothing | Cure::Plain => (0, ""),
        Cure::Named(left, _)
        | Cure::NamedLeaves(left, _, _)
        | Cure::NamedTwice(left, _, _, _)
        | Cure::Left(left) => (1, left),
        Cure::Told => (1, row.found),
        Cure::Refused(code) => (code, row.found),
        Cure::NotRead(_) => unreachable!(),
    };
    assert_eq!(
        row.found.is_empty(),
        matches!(row.cure, Cure::Nothing),
        "{name}"
    );
    ends(&bench.run("repair", &["--yes"]), code);
    let writes = left != row.found;
    assert_eq!(bench.sum() != before, writes, "{name}: what is written");
    assert_eq!(bench.kept() != kept, writes, "{name}: the journal");
    let offered_then = finds(&bench, left, &name);
    let mut repairs = usize::from(writes);
    match row.cure {
        Cure::Plain => assert!(!offered.is_empty(), "{name}: a fix is offered"),
        Cure::Left(_) | Cure::Told => {
            assert!(
                offered_then.is_empty(),
                "{name}: {offered_then:?} is offered"
            );
        }
        Cure::Named(_, fixes) => {
            by_name(&bench, fixes, &offered_then, &name);
            repairs += 1;
            finds(&bench, "", &name);
        }
        Cure::NamedLeaves(_, fixes, rest) => {
            by_name(&bench, fixes, &offered_then, &name);
            repairs += 1;
            let offered = finds(&bench, rest, &name);
            assert!(offered.is_empty(), "{name}: {offered:?} is offered");
        }
        Cure::NamedTwice(_, fixes, then, more) => {
            by_name(&bench, fixes, &offered_then, &name);
            let offered = finds(&bench, then, &name);
            by_name(&bench, more, &offered, &name);
            repairs += 2;
            finds(&bench, "", &name);
        }
        _ => {}
    }
    // A second repair of what is cured.
    if repairs > 0 {
        let repaired = bench.sum();
        bench.run("repair", &["--yes"]);
        assert!(
            bench.sum() == repaired,
            "{name}: a second repair writes nothing"
        );
    }
    for _ in 0..repairs {
        ends(&bench.run("undo", &["--yes"]), 0);
    }
    assert!(bench.sum() == before, "{name}: undo gives every bit back");
    if matches!(row.cure, Cure::Plain) {
        // What the report offers by name cures as well.
        let named = offered.iter().flat_map(|fix| ["--fix", fix]);
        let arguments: Vec<&str> = ["--yes"].into_iter().chain(named).collect();
        ends(&bench.run("repair", &arguments), 0);
        finds(&bench, "", &name);
        ends(&bench.run("undo", &["--yes"]), 0);
        assert!(bench.sum() == before, "{name}: undo gives every bit back");
    }
}

/// Repaired with fixes that are named, all of which were offered.
#[track_caller]
fn by_name(bench: &Bench, fixes: &'static str, offered: &BTreeSet<String>, name: &str) {
    let mut arguments = vec!["--yes"];
    for fix in fixes.split_whitespace() {
        assert!(offered.contains(fix), "{name}: {offered:?}");
        arguments.extend(["--fix", fix]);
    }
    ends(&bench.run("repair", &arguments), 0);
}

/// All of a table, also after one that fails.
#[track_caller]
fn all_go_their_road(rows: &[Row]) {
    let failed: Vec<String> = rows
        .iter()
        .filter(|row| std::panic::catch_unwind(|| goes_its_road(row)).is_err())
        .map(|row| format!("{} {}", row.fixture, row.found))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_broken_folder_is_diagnosed_cured_and_undone() {
    all_go_their_road(rows::FOLDERS);
}

#[test]
fn every_broken_disk_is_diagnosed_cured_and_undone() {
    all_go_their_road(rows::DISKS);
}

#[test]
fn what_must_be_refused_is_refused_and_stays_as_it_is() {
    all_go_their_road(rows::BAD);
}

#[test]
fn faults_that_fixtures_do_not_have_are_diagnosed_cured_and_undone() {
    if !["mcopy", "mdel"].into_iter().all(support::require) {
        return;
    }
    all_go_their_road(rows::CHANGED);
}

/// A fixture without a row would be one that nobody judges.
#[test]
fn every_fixture_has_a_row() {
    let script = support::root().join("scripts/make-fixtures");
    let output = support::run(
        support::program("/usr/bin/python3")
            .arg(script)
            .arg("--list"),
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let known: BTreeSet<&str> = text.lines().collect();
    let tables = [rows::FOLDERS, rows::DISKS, rows::BAD];
    let rows: Vec<&str> = tables
        .into_iter()
        .flatten()
        .map(|row| row.fixture)
        .collect();
    let judged: BTreeSet<&str> = rows.iter().copied().collect();
    assert_eq!(judged.len(), rows.len(), "one row each");
    let missing: Vec<_> = known.symmetric_difference(&judged).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The code's own list of what can be found.
#[test]
fn every_problem_is_provoked() {
    let state = support::temporary();
    let output = support::run(support::coldfix(state.path()).args(["checks", "--format", "json"]));
    let checks: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut problems: BTreeMap<&str, &str> = BTreeMap::new();
    for check in checks.as_array().unwrap() {
        for problem in check["problems"].as_array().into_iter().flatten() {
            let [id, severity] = ["id", "severity"].map(|name| problem[name].as_str().unwrap());
            if severity != "notice" {
                problems.insert(id, severity);
            }
        }
    }
    assert!(problems.len() > 100, "{problems:?}");
    let rows: BTreeSet<&str> = all_rows()
        .flat_map(|row| row.found.split_whitespace())
        .map(|found| found.trim_start_matches(['!', '?']))
        .collect();
    let unknown: Vec<_> = rows
        .iter()
        .filter(|id| !problems.contains_key(*id))
        .collect();
    assert!(unknown.is_empty(), "no problems of the tool: {unknown:?}");
    for [id, file, _] in rows::ELSEWHERE {
        assert!(!rows.contains(id), "{id} has a row");
        let text = std::fs::read_to_string(support::root().join("tests").join(file)).unwrap();
        assert!(
            text.contains(&format!("\"{id}\"")),
            "{file} does not know {id}"
        );
    }
    let elsewhere: BTreeSet<&str> = rows::ELSEWHERE.iter().map(|[id, _, _]| *id).collect();
    let untested: Vec<_> = problems
        .keys()
        .filter(|id| !rows.contains(*id) && !elsewhere.contains(*id))
        .collect();
    assert!(untested.is_empty(), "provoked by no row: {untested:?}");
    eprintln!("{} problems, {} rows", problems.len(), all_rows().count());
}
