// SPDX-License-Identifier: GPL-2.0-or-later
//! Hives that Windows has lost: what a diagnosis says of them and of their copies, and that it is a report all the same.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::path::Path;

use serde_json::Value;
use support::bench::{Bench, named};
use support::ends;

const CONFIG: &str = "Windows/System32/config";

/// One way to lose a hive, and the finding that it gives for SYSTEM.
type Loss = (&'static str, fn(&Path), &'static str);

const LOSSES: [Loss; 6] = [
    (
        "missing",
        |hive| std::fs::remove_file(hive).unwrap(),
        "broken hive.missing",
    ),
    ("empty", |hive| cut(hive, 0), "broken hive.unreadable"),
    (
        "shorter than its base block",
        |hive| cut(hive, 100),
        "broken hive.unreadable",
    ),
    (
        "cut in its bins",
        |hive| cut(hive, 0x1800),
        "broken hive.unreadable",
    ),
    (
        "without a base block",
        |hive| alter(hive, |bytes| bytes[..0x200].fill(0)),
        "broken hive.unreadable",
    ),
    (
        "without its first bin",
        |hive| alter(hive, |bytes| bytes[0x1000..0x2000].fill(0xff)),
        "broken hive.damaged",
    ),
];

fn cut(path: &Path, length: u64) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_len(length).unwrap();
}

fn alter(path: &Path, change: fn(&mut [u8])) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

fn report(bench: &Bench) -> Value {
    let text = ends(&bench.run("diagnose", &["--format", "json"]), 1);
    serde_json::from_str(&text).unwrap()
}

/// The ids of a list of checks.
fn ids(list: &Value) -> Vec<&str> {
    let list = list.as_array().into_iter().flatten();
    list.map(|check| check["id"].as_str().unwrap()).collect()
}

fn finding<'r>(report: &'r Value, id: &str) -> &'r Value {
    let findings = report["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["id"] == id);
    found.unwrap_or_else(|| panic!("{id}: {findings:#?}"))
}

/// What is in RegBack of a hive, as the report has it.
fn copy<'r>(finding: &'r Value, hive: &str) -> &'r str {
    let evidence = finding["evidence"].as_array().unwrap().iter();
    let place = format!(r"\Windows\System32\config\RegBack\{hive}");
    let mut found = evidence.filter(|evidence| evidence["location"] == place.as_str());
    found.next().unwrap()["found"].as_str().unwrap()
}

#[test]
fn a_lost_system_is_a_finding_and_what_needs_it_is_skipped() {
    for (how, lose, found) in LOSSES {
        let Some(bench) = Bench::new("folder/healthy") else {
            return;
        };
        lose(&bench.target.join(CONFIG).join("SYSTEM"));
        let before = bench.sum();
        let report = report(&bench);
        assert_eq!(report["verdict"], "broken", "{how}");
        assert!(report["error"].is_null(), "{how}");
        assert_eq!(named(&report["findings"][0]), found, "{how}");
        let place = report["findings"][0]["evidence"][0]["location"].as_str();
        let place = place.unwrap();
        assert!(
            place.starts_with(r"\Windows\System32\config\SYSTEM"),
            "{how}: {place}"
        );
        let copies = finding(&report, "registry-backup.none");
        assert_eq!(copy(copies, "SYSTEM"), "no such file", "{how}");
        // Every check has looked, or is said not to have.
        assert_eq!(ids(&report["healthy"]), ["volume"], "{how}");
        let skipped = report["skipped"].as_array().unwrap();
        assert!(skipped.len() > 30, "{how}");
        assert!(
            skipped.iter().all(|check| check["needs"] == "SYSTEM"),
            "{how}"
        );

        let text = ends(&bench.run("diagnose", &[]), 1);
        assert!(
            text.contains("Not looked at, because SYSTEM is missing or cannot be used"),
            "{how}: {text}"
        );
        let last = text.lines().last().unwrap();
        assert!(last.contains(": broken (1 fault, 1 notice): "), "{last}");
        let page = ends(&bench.run("diagnose", &["--format", "html"]), 1);
        assert!(page.contains("Not looked at"), "{how}");

        let refused = bench.run("repair", &["--yes", "--fix", "tls"]);
        assert_eq!(refused.status.code(), Some(2), "{how}: {refused:?}");
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains("SYSTEM") && said.contains("next: "), "{said}");
        assert!(bench.sum() == before, "{how}: nothing is written");
    }
}

#[test]
fn one_of_many_targets_without_system_keeps_no_other_from_its_report() {
    let (Some(bad), Some(good)) = (Bench::new("folder/healthy"), Bench::new("folder/healthy"))
    else {
        return;
    };
    cut(&bad.target.join(CONFIG).join("SYSTEM"), 0);
    let more = good.target.to_str().unwrap();
    let text = ends(&bad.run("diagnose", &[more, "--format", "jsonl"]), 1);
    let verdicts: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["verdict"].is_string())
        .map(|line| line["verdict"].clone())
        .collect();
    assert_eq!(verdicts, ["broken", "healthy"]);
    let text = ends(&bad.run("diagnose", &[more]), 1);
    let last = text.lines().last().unwrap();
    assert!(
        last.contains("1 healthy, 1 with findings, 0 not judged"),
        "{last}"
    );
}

/// Size and date of each copy, whether it is sound, and the commands that get them: which do, and cure.
#[test]
fn copies_are_told_and_the_commands_get_them() {
    let Some(bench) = Bench::new("folder/healthy") else {
        return;
    };
    let config = bench.target.join(CONFIG);
    let read = |name: &str| std::fs::read(config.join(name)).unwrap();
    for name in ["SYSTEM", "SOFTWARE", "SAM"] {
        bench.put(&format!("{CONFIG}/RegBack/{name}"), &read(name));
    }
    bench.put(&format!("{CONFIG}/RegBack/SECURITY"), &[]);
    bench.put(
        &format!("{CONFIG}/RegBack/DEFAULT"),
        &read("DEFAULT")[..0x1100],
    );
    assert!(bench.found().is_empty(), "a sound registry asks for none");
    let system = read("SYSTEM");
    cut(&config.join("SYSTEM"), 0x1800);

    let report_of_system = report(&bench);
    let copies = finding(&report_of_system, "registry-backup.usable");
    let filetime = u64::from_le_bytes(system[12..20].try_into().unwrap());
    let seconds = i64::try_from(filetime / 10_000_000).unwrap() - 11_644_473_600;
    let found = copy(copies, "SYSTEM");
    let expected = format!("sound, {} bytes, written ", system.len());
    let told = found.strip_prefix(&expected);
    let told: jiff::Timestamp = told.unwrap_or_else(|| panic!("{found}")).parse().unwrap();
    assert_eq!(told.as_second(), seconds);
    assert_eq!(copy(copies, "SECURITY"), "an empty file");
    assert!(!copy(copies, "DEFAULT").starts_with("sound"));

    // As a person would type them.
    let (taken, state) = (support::temporary(), support::temporary());
    let commands: Vec<&str> = report_of_system["commands"]
        .as_array()
        .unwrap()
        .iter()
        .map(|command| command["command"].as_str().unwrap())
        .collect();
    assert_eq!(commands.len(), 2, "the pair: {commands:?}");
    for command in &commands {
        support::typed(command, state.path(), taken.path());
    }
    assert!(std::fs::read(taken.path().join("SYSTEM")).unwrap() == system);
    assert!(std::fs::read(taken.path().join("SOFTWARE")).unwrap() == read("SOFTWARE"));
    let text = ends(&bench.run("diagnose", &[]), 1);
    assert!(
        text.contains(&format!(
            "copies out what Windows kept of its registry:\n           {}",
            commands[0]
        )),
        "{text}"
    );
    for name in ["SYSTEM", "SOFTWARE"] {
        bench.put(
            &format!("{CONFIG}/{name}"),
            &std::fs::read(taken.path().join(name)).unwrap(),
        );
    }
    ends(&bench.run("diagnose", &[]), 0);

    // SAM has a copy, but not the SECURITY that belongs to it.
    cut(&config.join("SAM"), 0);
    let report_of_sam = report(&bench);
    finding(&report_of_sam, "registry-backup.none");
    let commands = report_of_sam["commands"].as_array();
    assert!(commands.is_none_or(Vec::is_empty), "{commands:?}");
}

#[test]
fn lost_accounts_and_rights_are_a_fault_and_not_called_healthy() {
    for (hive, check) in [("SAM", "accounts"), ("SECURITY", "user-rights")] {
        for (how, lose, _) in LOSSES {
            let Some(bench) = Bench::new("folder/healthy") else {
                return;
            };
            lose(&bench.target.join(CONFIG).join(hive));
            let report = report(&bench);
            assert_eq!(
                named(&report["findings"][0]),
                "broken hive.logon-lost",
                "{hive} {how}"
            );
            assert!(!ids(&report["healthy"]).contains(&check), "{hive} {how}");
            assert!(ids(&report["healthy"]).contains(&"tls"), "{hive} {how}");
            // What is read in part is looked at, and says that it is not clear.
            let judged = report["findings"].to_string().contains(check);
            assert!(
                judged || ids(&report["skipped"]).contains(&check),
                "{hive} {how}"
            );
        }
    }
}
