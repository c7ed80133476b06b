// SPDX-License-Identifier: GPL-2.0-or-later
//! Every firewall rule of real hives, held against another reader and another splitter; and what the check says of
//! machines as Windows left them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use coldfix::firewall::rule::Action;
use coldfix::firewall::{ConnectionSecurityRule, Rule};
use coldfix::hive::Hive;
use coldfix::windows::value;
use support::foreign::{self, Reader};

const HIVES: [&str; 5] = [
    "system-w7x86",
    "system-w81-dirty-nolog",
    "system-w10-dirty",
    "system-w10-clean",
    "software-w81-dirty-nolog",
];

fn unpacked(name: &str, folder: &Path) -> Option<PathBuf> {
    let packed = support::data(&format!("hives/{name}.xz"))?;
    let target = folder.join(name);
    std::fs::write(&target, support::unxz(&packed)).unwrap();
    Some(target)
}

/// The text of a value as our own reader finds it.
fn our_text(hive: &Hive, key: &str, name: &str) -> String {
    let key = hive.key(key).unwrap().unwrap();
    let found = key.value(name).unwrap().unwrap();
    assert_eq!(found.kind(), value::SZ, "{name}");
    let data = found.data().unwrap();
    value::text(&data).unwrap()
}

#[test]
fn every_rule_of_real_hives_is_read_as_another_reads_it_and_written_back() {
    if !support::require_python("Registry") {
        return;
    }
    let folder = support::temporary();
    let mut rules = 0;
    for name in HIVES {
        let Some(file) = unpacked(name, folder.path()) else {
            return;
        };
        let hive = Hive::parse(std::fs::read(&file).unwrap()).unwrap();
        let output = support::run(
            Command::new(foreign::python("Registry"))
                .arg(support::root().join("tests/oracles/firewall_rules.py"))
                .arg(&file),
        );
        let mut here = 0;
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let theirs: serde_json::Value = serde_json::from_str(line).unwrap();
            let word = |name: &str| theirs[name].as_str().unwrap();
            let text = our_text(&hive, word("key"), word("name"));
            assert_eq!(text, word("text"));
            let rule = Rule::parse(&text).unwrap();
            assert_eq!(rule.to_text(), text, "written back");
            assert_eq!(rule.version(), word("version"));
            let fields: Vec<[&str; 2]> = rule
                .fields()
                .iter()
                .map(|(key, value)| [key, value])
                .collect();
            assert_eq!(serde_json::json!(fields), theirs["fields"], "{text}");
            assert_eq!(
                rule.is_active(),
                theirs["active"].as_bool().unwrap(),
                "{text}"
            );
            assert_eq!(
                rule.is_inbound(),
                theirs["inbound"].as_bool().unwrap(),
                "{text}"
            );
            let action = match word("action") {
                "Allow" => Action::Allow,
                "Block" => Action::Block,
                other => panic!("{other}"),
            };
            assert_eq!(rule.action(), Some(action), "{text}");
            let profiles: Vec<&str> = rule.profiles().iter().map(|known| known.word()).collect();
            assert_eq!(serde_json::json!(profiles), theirs["profiles"], "{text}");
            // The other kind of rule has the same grammar.
            let consec = ConnectionSecurityRule::parse(&text).unwrap();
            assert_eq!(consec.to_text(), text);
            here += 1;
        }
        assert!(here > 10, "{name}: {here} rules");
        rules += here;
    }
    assert!(rules > 3000, "{rules} rules");
    eprintln!("{rules} rules of {} hives", HIVES.len());
}

/// A folder with real hives in the place of ours.
fn machine(system: &str, software: Option<&str>, folder: &Path) -> Option<PathBuf> {
    let target = support::fixture("folder/healthy", folder)?;
    let config = target.join("Windows/System32/config");
    for (name, source) in [("SYSTEM", Some(system)), ("SOFTWARE", software)] {
        if let Some(source) = source {
            let file = unpacked(source, folder)?;
            std::fs::copy(file, config.join(name)).unwrap();
        }
    }
    Some(target)
}

fn report(state: &Path, target: &Path) -> serde_json::Value {
    let output = support::coldfix(state)
        .args(["diagnose", "--format", "json"])
        .arg(target)
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The findings of the firewall's two checks: id and severity.
fn findings(report: &serde_json::Value) -> Vec<(String, String)> {
    assert!(report["error"].is_null(), "{}", report["error"]);
    let findings = report["findings"].as_array().unwrap().iter();
    let pairs = findings.map(|finding| {
        let word = |name: &str| finding[name].as_str().unwrap().to_owned();
        (word("id"), word("severity"))
    });
    pairs
        .filter(|(id, _)| id.starts_with("firewall.") || id.starts_with("ipsec."))
        .collect()
}

fn pair(id: &str, severity: &str) -> (String, String) {
    (id.to_owned(), severity.to_owned())
}

/// Windows 7 in a domain, Remote Desktop on for two profiles, the domain's network the last one: a notice at most.
#[test]
fn a_machine_that_serves_remote_desktop_is_healthy() {
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(target) = machine("system-w7x86", Some("software-w7x86"), folder.path()) else {
        return;
    };
    assert_eq!(
        findings(&report(state.path(), &target)),
        [pair("firewall.profile", "notice")]
    );
}

/// Windows 8.1 in a domain: its own rule is off, policy has an older one that is on.
#[test]
fn policy_opens_what_the_machines_own_rules_do_not() {
    let (folder, state) = (support::temporary(), support::temporary());
    let hives = ("system-w81-dirty-nolog", "software-w81-dirty-nolog");
    let Some(target) = machine(hives.0, Some(hives.1), folder.path()) else {
        return;
    };
    assert_eq!(findings(&report(state.path(), &target)), []);
    // Without that policy it is a fault.
    let elsewhere = support::temporary();
    let Some(alone) = machine(hives.0, None, elsewhere.path()) else {
        return;
    };
    assert_eq!(
        findings(&report(state.path(), &alone)),
        [pair("firewall.rule-off", "broken")]
    );
}

/// Windows 10 on which Remote Desktop was never on: its rule is off, and switching it on changes the three rules of
/// the group, to what Windows' own stock says of them with TRUE.
#[test]
fn a_stock_machine_gets_its_own_rules() {
    if !Reader::Hivex.available() {
        return;
    }
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(target) = machine("system-w10-clean", None, folder.path()) else {
        return;
    };
    let hive = target.join("Windows/System32/config/SYSTEM");
    let before = foreign::dump(Reader::Hivex, &hive);
    let original = support::sha256_tree(&target);
    assert_eq!(
        findings(&report(state.path(), &target)),
        [pair("firewall.rule-off", "broken")]
    );
    let repair = |arguments: &[&str]| {
        let output = support::coldfix(state.path())
            .arg("repair")
            .arg(&target)
            .args(arguments)
            .arg("--yes")
            .output()
            .unwrap();
        support::ends(&output, 0)
    };
    repair(&["--fix", "firewall-rule"]);
    assert_eq!(findings(&report(state.path(), &target)), []);
    let after = foreign::dump(Reader::Hivex, &hive);
    let rules = r"ControlSet001\Services\SharedAccess\Parameters\FirewallPolicy\FirewallRules";
    let stock = r"ControlSet001\Services\SharedAccess\Defaults\FirewallPolicy\FirewallRules";
    let changed = foreign::differences(&before, &after);
    assert_eq!(changed.len(), 6, "three values, old and new: {changed:#?}");
    for name in [
        "RemoteDesktop-UserMode-In-TCP",
        "RemoteDesktop-UserMode-In-UDP",
        "RemoteDesktop-Shadow-In-TCP",
    ] {
        let text = |key: &str| {
            let values = &after[key].values;
            let value = values.iter().find(|value| value.name == name).unwrap();
            assert_eq!(
                (value.kind, &value.data[value.data.len() - 2..]),
                (1, &[0, 0][..])
            );
            value.text()
        };
        assert_eq!(
            text(rules),
            text(stock).replace("Active=FALSE", "Active=TRUE")
        );
    }
    let output = support::coldfix(state.path())
        .args(["undo", "--yes"])
        .arg(&target)
        .output()
        .unwrap();
    support::ends(&output, 0);
    assert_eq!(support::sha256_tree(&target), original);
}
