// SPDX-License-Identifier: GPL-2.0-or-later
//! User rights through the binary: every trigger, its cure, and the shape of an entry that is made again, as
//! hivex reads it.
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
use std::path::PathBuf;
use std::process::Output;

use support::ends;
use support::foreign::{self, Dump, Reader};
use tempfile::TempDir;

const ACCOUNTS: &str = r"Policy\Accounts";

struct Bench {
    folder: TempDir,
    state: TempDir,
}

impl Bench {
    fn new() -> Option<Bench> {
        if !Reader::Hivex.available() {
            return None;
        }
        let folder = support::temporary();
        support::fixture("folder/healthy", folder.path())?;
        Some(Bench {
            folder,
            state: support::temporary(),
        })
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("healthy")
    }

    fn hive(&self) -> PathBuf {
        self.target().join("Windows/System32/config/SECURITY")
    }

    /// Makes SECURITY anew, with masks that differ from the healthy ones.
    fn make(&self, masks: &[&str]) {
        let arguments: Vec<&str> = masks.iter().flat_map(|mask| ["--mask", mask]).collect();
        support::make_accounts("SECURITY", &arguments, &self.hive());
    }

    fn run(&self, arguments: &[&str]) -> Output {
        support::coldfix(self.state.path())
            .arg(arguments[0])
            .arg(self.target())
            .args(&arguments[1..])
            .output()
            .expect("run coldfix")
    }

    fn findings(&self) -> BTreeMap<String, String> {
        let output = self.run(&["diagnose", "--format", "json"]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| {
                let text = |name: &str| finding[name].as_str().unwrap().to_owned();
                (text("id"), text("severity"))
            })
            .collect()
    }

    fn accounts(&self) -> Dump {
        foreign::dump_key(Reader::Hivex, &self.hive(), ACCOUNTS)
    }
}

fn is(findings: &[(&str, &str)]) -> BTreeMap<String, String> {
    findings
        .iter()
        .map(|(id, severity)| ((*id).to_owned(), (*severity).to_owned()))
        .collect()
}

/// Each trigger, and that its cure leaves what a healthy machine has.
#[test]
fn every_trigger_is_cured_to_the_healthy_state() {
    let Some(bench) = Bench::new() else { return };
    bench.make(&[]);
    let healthy = bench.accounts();
    // Twelve entries of key, descriptor and SID; nine with a mask, eight with privileges.
    assert_eq!(healthy.len(), 1 + 12 * 3 + 9 + 8);
    let broken = "broken";
    let risk = "risk";
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)]);
    let cases: [Case<'_>; 7] = [
        (&["S-1-1-0=0x802"], &[("user-rights.denied", broken)]),
        (&["S-1-5-32-544=0x487"], &[("user-rights.denied", broken)]),
        (
            &["S-1-5-32-545=0x43"],
            &[("user-rights.console-denied", risk)],
        ),
        (
            &["S-1-5-32-544=0x7", "S-1-5-32-555=none"],
            &[("user-rights.nobody", broken)],
        ),
        (
            &["S-1-5-32-544=none", "S-1-5-32-555=none", "S-1-5-32-545=0x2"],
            &[
                ("user-rights.nobody", broken),
                ("user-rights.nobody-locally", risk),
            ],
        ),
        (&["S-1-5-80-0=none"], &[("user-rights.services", risk)]),
        (&["S-1-5-80-0=0x210"], &[("user-rights.services", risk)]),
    ];
    for (masks, expected) in cases {
        bench.make(masks);
        assert_eq!(bench.findings(), is(expected), "{masks:?}");
        let before = fs::read(bench.hive()).unwrap();
        let is_broken = expected.iter().any(|(_, severity)| *severity == broken);
        let arguments = match is_broken {
            true => &["repair", "--yes"][..],
            false => &["repair", "--fix", "user-rights", "--yes"],
        };
        ends(&bench.run(arguments), 0);
        assert!(bench.findings().is_empty(), "{masks:?}");
        let after = bench.accounts();
        // Entries that were cut to nothing had more rights and privileges, which nobody knows any more.
        let lost = masks.contains(&"S-1-5-32-544=none");
        if !lost {
            assert_eq!(after, healthy, "{masks:?}");
        }
        ends(&bench.run(&["undo", "--yes"]), 0);
        assert!(fs::read(bench.hive()).unwrap() == before);
    }
}

/// An entry that is gone comes back in the shape that Windows gives it: three subkeys, unnamed values of type 0, the
/// SID in binary, the descriptor that all entries have.
#[test]
fn an_entry_made_again_has_the_shape_of_windows() {
    let Some(bench) = Bench::new() else { return };
    bench.make(&["S-1-5-32-544=0x7", "S-1-5-32-555=none"]);
    let before = bench.accounts();
    let key = |name: &str| format!(r"{ACCOUNTS}\S-1-5-32-555{name}");
    assert!(!before.contains_key(&key("")));
    ends(&bench.run(&["repair", "--yes", "--fix", "user-rights"]), 0);
    let after = bench.accounts();
    let made: Vec<&String> = after
        .keys()
        .filter(|key| !before.contains_key(*key))
        .collect();
    assert_eq!(
        made,
        [
            &key(""),
            &key(r"\ActSysAc"),
            &key(r"\SecDesc"),
            &key(r"\Sid")
        ]
    );
    let value = |name: &str| {
        let values = &after[&key(name)].values;
        assert_eq!(values.len(), 1);
        assert_eq!(values[0].name, "");
        (values[0].kind, values[0].data.clone())
    };
    assert_eq!(value(""), (3, vec![]));
    assert_eq!(value(r"\ActSysAc"), (0, vec![0, 4, 0, 0]));
    let sid = vec![1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 43, 2, 0, 0];
    assert_eq!(value(r"\Sid"), (0, sid));
    let (kind, descriptor) = value(r"\SecDesc");
    assert_eq!((kind, descriptor.len()), (0, 100));
    let others = after.iter().filter(|(key, _)| key.ends_with(r"\SecDesc"));
    for (key, found) in others {
        assert_eq!(found.values[0].data, descriptor, "{key}");
    }
}

/// An entry with privileges alone gets a mask and nothing else; one that is not whole gets nothing.
#[test]
fn an_entry_that_is_not_whole_is_left_alone() {
    let Some(bench) = Bench::new() else { return };
    bench.make(&[
        "S-1-5-32-544=privileges",
        "S-1-5-32-555=none",
        "S-1-5-32-545=0x2",
    ]);
    let before = bench.accounts();
    let act = format!(r"{ACCOUNTS}\S-1-5-32-544\ActSysAc");
    assert!(!before.contains_key(&act));
    ends(&bench.run(&["repair", "--yes"]), 0);
    let after = bench.accounts();
    assert_eq!(after[&act].values[0].data, [1, 4, 0, 0]);
    assert!(bench.findings().is_empty());

    bench.make(&["S-1-5-32-544=privileges", "S-1-5-32-555=none"]);
    let sid = r"HKLM\SECURITY\Policy\Accounts\S-1-5-32-544\Sid";
    let mut delete = support::coldfix(bench.state.path());
    delete.args(["reg", "delete"]).arg(bench.target());
    ends(&delete.args([sid, "--yes"]).output().unwrap(), 0);
    let before = fs::read(bench.hive()).unwrap();
    assert_eq!(bench.findings()["user-rights.nobody"], "broken");
    let shown = ends(&bench.run(&["repair", "--yes", "--fix", "user-rights"]), 3);
    assert!(shown.contains("no whole Sid and SecDesc"), "{shown}");
    ends(&bench.run(&["repair", "--yes"]), 1);
    assert!(fs::read(bench.hive()).unwrap() == before);
}

/// Hardening that leaves somebody is not a fault.
#[test]
fn what_is_narrower_but_leaves_somebody_stays() {
    let Some(bench) = Bench::new() else { return };
    for masks in [
        &["S-1-5-32-555=none"][..],
        &["S-1-1-0=none"],
        &[
            "S-1-5-32-544=0x407",
            "S-1-5-32-555=none",
            "S-1-5-32-545=none",
        ],
        &["S-1-5-113=0x8c0"],
        &["S-1-5-32-546=0x8c0"],
        &["S-1-5-21-2571216883-1664221321-2985017447-1000=0x800"],
    ] {
        bench.make(masks);
        let before = fs::read(bench.hive()).unwrap();
        assert!(bench.findings().is_empty(), "{masks:?}");
        ends(&bench.run(&["repair", "--yes"]), 0);
        assert!(fs::read(bench.hive()).unwrap() == before);
    }
    // By name the documented target comes back.
    bench.make(&["S-1-5-32-555=none"]);
    ends(&bench.run(&["repair", "--yes", "--fix", "user-rights"]), 0);
    bench.make(&[]);
    let before = fs::read(bench.hive()).unwrap();
    let shown = ends(&bench.run(&["repair", "--yes", "--fix", "user-rights"]), 0);
    assert!(shown.contains("nothing to change"), "{shown}");
    assert!(fs::read(bench.hive()).unwrap() == before);
}

/// What the template of this Windows does not grant is not granted.
#[test]
fn the_template_on_the_disk_decides() {
    let Some(bench) = Bench::new() else { return };
    bench.make(&["S-1-5-32-544=0x7", "S-1-5-32-555=none"]);
    let inf = bench.target().join("Windows/INF/defltbase.inf");
    let text = "[Privilege Rights]\r\nSeRemoteInteractiveLogonRight = *S-1-5-32-544\r\n";
    fs::write(&inf, text).unwrap();
    ends(&bench.run(&["repair", "--yes"]), 0);
    let after = bench.accounts();
    let act = |sid: &str| after.get(&format!(r"{ACCOUNTS}\{sid}\ActSysAc"));
    assert_eq!(act("S-1-5-32-544").unwrap().values[0].data, [7, 4, 0, 0]);
    assert!(act("S-1-5-32-555").is_none());
    assert!(bench.findings().is_empty());

    // Without a template, what Windows' documentation says; of a domain controller less.
    fs::remove_file(&inf).unwrap();
    bench.make(&["S-1-5-32-544=0x7", "S-1-5-32-555=none"]);
    ends(&bench.run(&["repair", "--yes"]), 0);
    let key = format!(r"{ACCOUNTS}\S-1-5-32-555\ActSysAc");
    assert!(bench.accounts().contains_key(&key));
    bench.make(&["S-1-5-32-544=0x7", "S-1-5-32-555=none"]);
    fs::create_dir_all(bench.target().join("Windows/NTDS")).unwrap();
    fs::write(bench.target().join("Windows/NTDS/ntds.dit"), b"x").unwrap();
    ends(&bench.run(&["repair", "--yes"]), 0);
    assert!(!bench.accounts().contains_key(&key));
}

/// A mask that cannot be read stops the judging of all.
#[test]
fn an_unreadable_mask_is_reported_and_nothing_is_written() {
    let Some(bench) = Bench::new() else { return };
    for (kind, data) in [
        ("REG_NONE", "0700"),
        ("REG_NONE", ""),
        ("REG_BINARY", "07000000"),
    ] {
        bench.make(&["S-1-5-32-544=0x7", "S-1-5-32-555=none"]);
        let key = r"HKLM\SECURITY\Policy\Accounts\S-1-5-32-545\ActSysAc";
        let mut add = support::coldfix(bench.state.path());
        add.args(["reg", "add"]).arg(bench.target());
        add.args([key, "--ve", "-t", kind, "-d", data, "--yes"]);
        ends(&add.output().unwrap(), 0);
        assert_eq!(bench.findings(), is(&[("user-rights.unclear", "risk")]));
        let before = fs::read(bench.hive()).unwrap();
        ends(&bench.run(&["repair", "--yes"]), 1);
        ends(&bench.run(&["repair", "--yes", "--fix", "user-rights"]), 3);
        assert!(fs::read(bench.hive()).unwrap() == before);
    }
}

/// The policies of two real machines are healthy.
#[test]
fn real_policies_are_healthy() {
    let Some(bench) = Bench::new() else { return };
    for name in ["security-w81", "security-w10-dirty-nolog"] {
        let Some(packed) = support::data(&format!("hives/{name}.xz")) else {
            return;
        };
        fs::write(bench.hive(), support::unxz(&packed)).unwrap();
        let found = bench.findings();
        assert!(
            !found.keys().any(|id| id.starts_with("user-rights")),
            "{name}: {found:?}"
        );
    }
}
