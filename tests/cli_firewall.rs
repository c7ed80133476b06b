// SPDX-License-Identifier: GPL-2.0-or-later
//! Windows Firewall and IPsec rules through the program: the right finding and no other, its cure, a clean second
//! diagnosis, and the undo.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;
use support::ends;
use support::foreign::{self, Reader};

const FIREWALL: &str = r"ControlSet001\Services\SharedAccess\Parameters\FirewallPolicy";
const POLICY: &str = r"Policies\Microsoft\WindowsFirewall";
const RULE: &str = "RemoteDesktop-UserMode-In-TCP";

/// A copy of a fixture's folder, and a place for journals.
struct Machine {
    _folder: tempfile::TempDir,
    state: tempfile::TempDir,
    target: PathBuf,
}

impl Machine {
    fn new(name: &str) -> Option<Machine> {
        let (folder, state) = (support::temporary(), support::temporary());
        let target = support::fixture(&format!("folder/{name}"), folder.path())?;
        Some(Machine {
            _folder: folder,
            state,
            target,
        })
    }

    fn run(&self, arguments: &[&str]) -> Output {
        support::coldfix(self.state.path())
            .arg(arguments[0])
            .arg(&self.target)
            .args(&arguments[1..])
            .output()
            .expect("run coldfix")
    }

    fn report(&self) -> Value {
        let output = self.run(&["diagnose", "--format", "json"]);
        serde_json::from_slice(&output.stdout).expect("a report")
    }

    /// The ids of what is found, in the report's order, down to a severity.
    fn found(&self, with_notices: bool) -> Vec<String> {
        let report = self.report();
        let findings = report["findings"].as_array().unwrap().iter();
        findings
            .filter(|finding| with_notices || finding["severity"] != "notice")
            .map(|finding| finding["id"].as_str().unwrap().to_owned())
            .collect()
    }

    fn hive(&self, name: &str) -> PathBuf {
        self.target.join("Windows/System32/config").join(name)
    }

    /// A value as hivex reads it.
    fn text(&self, hive: &str, key: &str, name: &str) -> Option<String> {
        foreign::hivex_value(&self.hive(hive), key, name).map(|value| value.text())
    }

    fn sums(&self) -> std::collections::BTreeMap<PathBuf, String> {
        support::sha256_tree(&self.target)
    }
}

fn finding<'a>(report: &'a Value, id: &str) -> &'a Value {
    let mut findings = report["findings"].as_array().unwrap().iter();
    findings.find(|finding| finding["id"] == id).expect(id)
}

/// Diagnose, repair with these arguments, diagnose again, undo. `left` is what is not cured.
#[track_caller]
fn road(name: &str, found: &[&str], arguments: &[&str], left: &[&str]) {
    let Some(machine) = Machine::new(name) else {
        return;
    };
    let original = machine.sums();
    assert_eq!(machine.found(false), found, "{name}");
    assert_eq!(machine.sums(), original, "{name}: diagnose writes nothing");
    let repair = [&["repair", "--yes"], arguments].concat();
    ends(
        &machine.run(&repair),
        i32::from(!left.is_empty() && arguments.is_empty()),
    );
    assert_eq!(machine.found(false), left, "{name} after {arguments:?}");
    let repaired = machine.sums();
    assert_ne!(repaired, original, "{name}: something was written");
    machine.run(&repair);
    assert_eq!(
        machine.sums(),
        repaired,
        "{name}: a second repair writes nothing"
    );
    ends(&machine.run(&["undo", "--yes"]), 0);
    assert_eq!(
        machine.sums(),
        original,
        "{name}: undo gives every bit back"
    );
}

const NAMED: &[&str] = &["--fix", "firewall-rule"];

#[test]
fn a_rule_that_is_off_everywhere() {
    for arguments in [&[], NAMED] {
        road(
            "firewall-rule-inactive",
            &["firewall.rule-off"],
            arguments,
            &[],
        );
    }
}

#[test]
fn a_rule_that_is_lost_comes_from_the_stock() {
    for arguments in [&[], NAMED] {
        road(
            "firewall-rule-lost",
            &["firewall.rule-missing"],
            arguments,
            &[],
        );
    }
    let Some(machine) = Machine::new("firewall-rule-lost") else {
        return;
    };
    if !Reader::Hivex.available() {
        return;
    }
    ends(&machine.run(&["repair", "--yes"]), 0);
    let rules = format!(r"{FIREWALL}\FirewallRules");
    let stock = rules.replace("Parameters", "Defaults");
    let stock = machine.text("SYSTEM", &stock, RULE).unwrap();
    assert_eq!(
        machine.text("SYSTEM", &rules, RULE).unwrap(),
        stock.replace("Active=FALSE", "Active=TRUE")
    );
}

/// Off in one profile is a notice, until the machine is known to have been in such a network.
#[test]
fn a_rule_that_is_off_in_one_profile() {
    let Some(machine) = Machine::new("firewall-rule-one-profile") else {
        return;
    };
    assert_eq!(machine.found(true), ["firewall.profile"]);
    ends(&machine.run(&["diagnose"]), 0);
    let untouched = machine.sums();
    ends(&machine.run(&["repair", "--yes"]), 0);
    assert_eq!(
        machine.sums(),
        untouched,
        "a notice is not repaired unasked"
    );

    let last = "firewall-closed-in-last-network";
    let risk = ["firewall.profile-in-force"];
    road(last, &risk, NAMED, &[]);
    road(last, &risk, &["--fix", "network-profile=private"], &[]);
    let Some(machine) = Machine::new(last) else {
        return;
    };
    ends(
        &machine.run(&["repair", "--yes", "--fix", "firewall-rule"]),
        0,
    );
    assert_eq!(
        machine.found(true),
        Vec::<String>::new(),
        "open in every profile"
    );
}

#[test]
fn rules_that_block() {
    for arguments in [&[], NAMED] {
        road(
            "firewall-block-rule",
            &["firewall.block-rule"],
            arguments,
            &[],
        );
    }
    let Some(machine) = Machine::new("firewall-block-rule") else {
        return;
    };
    if !Reader::Hivex.available() {
        return;
    }
    let before = foreign::dump(Reader::Hivex, &machine.hive("SYSTEM"));
    ends(&machine.run(&["repair", "--yes"]), 0);
    let after = foreign::dump(Reader::Hivex, &machine.hive("SYSTEM"));
    let changed = foreign::differences(&before, &after);
    assert_eq!(changed.len(), 2, "one value: {changed:#?}");
    let text = machine
        .text(
            "SYSTEM",
            &format!(r"{FIREWALL}\FirewallRules"),
            "{7C1B0A52-5E0E-4C51-9D0B-1E5C2F0E9A11}",
        )
        .unwrap();
    assert_eq!(
        text,
        "v2.31|Action=Block|Active=FALSE|Dir=In|Protocol=6|LPort2_10=3380-3390|Name=No remote control|Desc=Größe = 1|"
    );
}

/// A rule that leaves profiles out is made to hold in every one.
#[test]
fn a_rule_for_the_domain_alone() {
    let Some(machine) = Machine::new("firewall-rule-domain-only") else {
        return;
    };
    assert_eq!(machine.found(true), ["firewall.profile"]);
    ends(
        &machine.run(&["repair", "--yes", "--fix", "firewall-rule"]),
        0,
    );
    assert_eq!(machine.found(true), Vec::<String>::new());
    if !Reader::Hivex.available() {
        return;
    }
    let text = machine
        .text("SYSTEM", &format!(r"{FIREWALL}\FirewallRules"), RULE)
        .unwrap();
    assert!(
        text.contains("|Active=TRUE|") && !text.contains("Profile="),
        "{text}"
    );
}

/// A list of blocked addresses is no fault, and neither is a firewall that is off.
#[test]
fn what_prevents_nothing_is_a_notice() {
    for (name, id) in [
        ("firewall-block-some", "firewall.sources"),
        ("firewall-off", "firewall.off"),
        ("firewall-lets-all-in", "firewall.off"),
    ] {
        let Some(machine) = Machine::new(name) else {
            return;
        };
        assert_eq!(machine.found(true), [id]);
        let untouched = machine.sums();
        ends(&machine.run(&["diagnose"]), 0);
        ends(&machine.run(&["repair", "--yes"]), 0);
        assert_eq!(machine.sums(), untouched);
    }
}

#[test]
fn no_exceptions_allowed() {
    for arguments in [&[], NAMED] {
        road(
            "firewall-blocks-all",
            &["firewall.no-exceptions"],
            arguments,
            &[],
        );
    }
}

/// What policy says is changed by name only, and the report says that it comes back.
#[test]
fn policy_against_the_machines_own_rules() {
    let dropped = ["firewall.own-rules-dropped"];
    road("firewall-own-rules-dropped", &dropped, NAMED, &[]);
    let blocks = ["firewall.block-rule", "firewall.no-exceptions"];
    road("firewall-policy-blocks", &blocks, NAMED, &[]);
    let managed = ["firewall.block-rule"];
    road("firewall-managed-block", &managed, NAMED, &[]);
    let Some(machine) = Machine::new("firewall-managed-block") else {
        return;
    };
    ends(&machine.run(&["repair", "--yes"]), 1);
    let report = machine.report();
    let cause = finding(&report, managed[0])["cause"].as_str().unwrap();
    assert!(
        cause.contains("Device management") && !cause.contains("Group Policy"),
        "{cause}"
    );
    for (name, found) in [
        ("firewall-own-rules-dropped", &dropped[..]),
        ("firewall-policy-blocks", &blocks[..]),
    ] {
        let Some(machine) = Machine::new(name) else {
            return;
        };
        let untouched = machine.sums();
        ends(&machine.run(&["repair", "--yes"]), 1);
        assert_eq!(machine.sums(), untouched, "{name}: not without its name");
        let report = machine.report();
        for id in found {
            let cause = finding(&report, id)["cause"].as_str().unwrap();
            assert!(cause.contains("--fix group-policy=hold"), "{cause}");
            let evidence = finding(&report, id)["evidence"].to_string();
            assert!(evidence.contains(r"SOFTWARE\\Policies"), "{evidence}");
        }
        let text = ends(
            &machine.run(&["repair", "--yes", "--fix", "firewall-rule"]),
            0,
        );
        assert!(text.contains("group-policy=hold"), "{text}");
    }
}

/// Policy lets it in, in each of its ways, though the machine's own rules are off: no finding.
#[test]
fn policy_for_remote_desktop() {
    for name in ["firewall-policy-opens", "firewall-opened-by-policy"] {
        let Some(machine) = Machine::new(name) else {
            return;
        };
        assert_eq!(machine.found(false), Vec::<String>::new(), "{name}");
        let untouched = machine.sums();
        ends(&machine.run(&["repair", "--yes"]), 0);
        assert_eq!(machine.sums(), untouched, "{name}");
    }
}

#[test]
fn everything_at_once() {
    let all = [
        "firewall.rule-off",
        "firewall.block-rule",
        "firewall.no-exceptions",
        "firewall.own-rules-dropped",
    ];
    let of_policy = [
        "firewall.block-rule",
        "firewall.no-exceptions",
        "firewall.own-rules-dropped",
    ];
    road("firewall-everything-wrong", &all, &[], &of_policy);
    road("firewall-everything-wrong", &all, NAMED, &[]);
}

#[test]
fn a_moved_port_is_for_its_owner() {
    let closed = ["firewall.port-closed"];
    for arguments in [
        &["--fix", "firewall-rule"][..],
        &["--fix", "rdp-port=3389"],
        &["--fix", "rdp-port=3390"],
    ] {
        road("rdp-port-3390", &closed, arguments, &[]);
    }
    let Some(machine) = Machine::new("rdp-port-3390") else {
        return;
    };
    let untouched = machine.sums();
    ends(&machine.run(&["repair", "--yes"]), 1);
    assert_eq!(machine.sums(), untouched);
    if !Reader::Hivex.available() {
        return;
    }
    ends(
        &machine.run(&["repair", "--yes", "--fix", "firewall-rule"]),
        0,
    );
    let rules = format!(r"{FIREWALL}\FirewallRules");
    assert_eq!(
        machine
            .text("SYSTEM", &rules, "RDP-Repair-In-TCP-3390")
            .unwrap(),
        r"v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=3390|App=%SystemRoot%\system32\svchost.exe|Svc=termservice|Name=Remote Desktop (TCP 3390)|"
    );
}

/// What cannot be judged is reported and stays as it is, also when a fix is named.
#[test]
fn malformed_values_are_left_alone() {
    let Some(machine) = Machine::new("firewall-malformed") else {
        return;
    };
    assert_eq!(
        machine.found(true),
        ["firewall.unclear", "firewall.malformed"]
    );
    if !Reader::Hivex.available() {
        return;
    }
    let keep = [
        (format!(r"{FIREWALL}\PublicProfile"), "EnableFirewall"),
        (format!(r"{FIREWALL}\FirewallRules"), "CoreNet-DHCP-In"),
        (format!(r"{FIREWALL}\FirewallRules"), "WINRM-HTTP-In-TCP"),
    ];
    let values = || {
        let hive = machine.hive("SYSTEM");
        keep.clone()
            .map(|(key, name)| foreign::hivex_value(&hive, &key, name).unwrap())
    };
    let before = values();
    for fix in ["firewall-rule", "firewall-off", "firewall-on"] {
        machine.run(&["repair", "--yes", "--fix", fix]);
    }
    assert_eq!(values(), before);
}

#[test]
fn the_firewall_as_a_whole() {
    let Some(machine) = Machine::new("healthy") else {
        return;
    };
    if !Reader::Hivex.available() {
        return;
    }
    let enabled = || {
        ["DomainProfile", "StandardProfile", "PublicProfile"].map(|profile| {
            let key = format!(r"{FIREWALL}\{profile}");
            let value = foreign::hivex_value(&machine.hive("SYSTEM"), &key, "EnableFirewall");
            value.unwrap().dword()
        })
    };
    let output = machine.run(&[
        "repair",
        "--yes",
        "--fix",
        "firewall-off",
        "--format",
        "json",
    ]);
    ends(&output, 0);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        report["lowers_security"].as_array().unwrap().len(),
        1,
        "{report}"
    );
    assert_eq!(enabled(), [0; 3]);
    assert_eq!(machine.found(true), ["firewall.off"]);
    ends(
        &machine.run(&["repair", "--yes", "--fix", "firewall-on"]),
        0,
    );
    assert_eq!(enabled(), [1; 3]);
    assert_eq!(machine.found(true), Vec::<String>::new());
}

#[test]
fn ping_and_agent_rules_by_name() {
    let Some(machine) = Machine::new("healthy") else {
        return;
    };
    if !Reader::Hivex.available() {
        return;
    }
    ends(
        &machine.run(&[
            "repair",
            "--yes",
            "--fix",
            "firewall-rule=ping",
            "--fix",
            "firewall-rule=agent",
        ]),
        0,
    );
    let rules = format!(r"{FIREWALL}\FirewallRules");
    let text = |name: &str| machine.text("SYSTEM", &rules, name).unwrap();
    assert!(text("FPS-ICMP4-ERQ-In").contains("|Active=TRUE|"));
    for direction in ["In", "Out"] {
        assert_eq!(
            text(&format!("AzurePlatform-{direction}")),
            format!(
                "v2.31|Action=Allow|Active=TRUE|Dir={direction}|RA4=168.63.129.16|Name=AzurePlatform|"
            )
        );
    }
    let output = machine.run(&["repair", "--yes", "--fix", "firewall-rule=everything"]);
    ends(&output, 2);
}

#[test]
fn ipsec_rules() {
    let blocks = ["ipsec.blocks"];
    for name in ["ipsec-demanded", "ipsec-demanded-by-policy"] {
        for arguments in [&[][..], &["--fix", "ipsec"]] {
            road(name, &blocks, arguments, &[]);
        }
    }
    let Some(machine) = Machine::new("ipsec-demanded") else {
        return;
    };
    if !Reader::Hivex.available() {
        return;
    }
    let before = foreign::dump(Reader::Hivex, &machine.hive("SYSTEM"));
    ends(&machine.run(&["repair", "--yes"]), 0);
    let after = foreign::dump(Reader::Hivex, &machine.hive("SYSTEM"));
    let key = format!(r"{FIREWALL}\ConSecRules");
    let id = "{3A6E3C5B-0C5C-4C0E-8B5B-6C0C5E1B0001}";
    let text = |dump: &foreign::Dump| {
        let mut values = dump[&key].values.iter();
        values.find(|value| value.name == id).unwrap().text()
    };
    assert_eq!(
        text(&after),
        text(&before).replace("Active=TRUE", "Active=FALSE")
    );
    assert_eq!(foreign::differences(&before, &after).len(), 2);

    let Some(machine) = Machine::new("ipsec-demanded-by-policy") else {
        return;
    };
    let report = machine.report();
    let cause = finding(&report, "ipsec.blocks")["cause"].as_str().unwrap();
    assert!(cause.contains("--fix group-policy=hold"), "{cause}");
    let policy = format!(r"{POLICY}\ConSecRules");
    ends(&machine.run(&["repair", "--yes"]), 0);
    let text = machine
        .text(
            "SOFTWARE",
            &policy,
            "{3A6E3C5B-0C5C-4C0E-8B5B-6C0C5E1B0005}",
        )
        .unwrap();
    assert!(text.contains("|Active=FALSE|"), "{text}");
}

/// Rules that policy drops are none, and what cannot be told is said and left alone until it is named.
#[test]
fn ipsec_rules_that_are_not_plain() {
    let Some(machine) = Machine::new("ipsec-rules-dropped") else {
        return;
    };
    assert_eq!(machine.found(true), Vec::<String>::new());

    let Some(machine) = Machine::new("ipsec-scoped") else {
        return;
    };
    assert_eq!(machine.found(true), ["ipsec.unclear"]);
    let evidence = |machine: &Machine| {
        let report = machine.report();
        finding(&report, "ipsec.unclear")["evidence"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(evidence(&machine), 3);
    let untouched = machine.sums();
    ends(&machine.run(&["repair", "--yes"]), 1);
    ends(&machine.run(&["repair", "--yes", "--fix", "ipsec"]), 0);
    assert_eq!(machine.sums(), untouched);
    let named = "ipsec={3A6E3C5B-0C5C-4C0E-8B5B-6C0C5E1B0006}";
    ends(&machine.run(&["repair", "--yes", "--fix", named]), 0);
    assert_eq!(evidence(&machine), 2);
    ends(
        &machine.run(&["repair", "--yes", "--fix", "ipsec=nobody"]),
        2,
    );
}

/// Both control sets are judged and cured.
#[test]
fn a_fallback_control_set_is_cured_too() {
    let Some(machine) = Machine::new("two-sets") else {
        return;
    };
    if !Reader::Hivex.available() {
        return;
    }
    machine.run(&["repair", "--yes", "--fix", "rdp-port=3390"]);
    for set in ["ControlSet001", "ControlSet002"] {
        let rules = format!(r"{}\FirewallRules", FIREWALL.replace("ControlSet001", set));
        let text = machine.text("SYSTEM", &rules, "RDP-Repair-In-TCP-3390");
        assert!(text.is_some(), "{set}");
    }
    assert!(
        !machine
            .found(false)
            .contains(&"firewall.port-closed".to_owned())
    );
}
