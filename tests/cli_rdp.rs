// SPDX-License-Identifier: GPL-2.0-or-later
//! Remote Desktop's own settings through the program: each wrong value, a policy against the machine's own setting in
//! both directions, and where a policy comes from.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use support::ends;
use support::foreign::Reader;
use support::machine::{Machine, finding, samba_policy, write_policy};

const SERVER: &str = r"ControlSet001\Control\Terminal Server";
const LISTENER: &str = r"ControlSet001\Control\Terminal Server\WinStations\RDP-Tcp";
const POLICY: &str = r"Policies\Microsoft\Windows NT\Terminal Services";

/// A `.reg` text that sets one REG_DWORD.
fn dword(hive: &str, key: &str, name: &str, value: u32) -> String {
    format!("[HKEY_LOCAL_MACHINE\\{hive}\\{key}]\n\"{name}\"=dword:{value:08x}\n\n")
}

fn own(name: &str, value: u32) -> String {
    let key = if name == "fDenyTSConnections" {
        SERVER
    } else {
        LISTENER
    };
    dword("SYSTEM", key, name, value)
}

fn policy(name: &str, value: u32) -> String {
    dword("SOFTWARE", POLICY, name, value)
}

/// The wrong values, each with a right one that a policy may have, and the ids of policy, own and overridden.
const TWINS: [(&str, u32, u32, [&str; 3]); 4] = [
    (
        "fDenyTSConnections",
        1,
        0,
        [
            "rdp-enable.policy",
            "rdp-enable.off",
            "rdp-enable.overridden",
        ],
    ),
    (
        "UserAuthentication",
        7,
        1,
        ["nla.policy", "nla.invalid", "nla.overridden"],
    ),
    (
        "SecurityLayer",
        5,
        2,
        [
            "rdp-listener.policy",
            "rdp-listener.invalid",
            "rdp-listener.overridden",
        ],
    ),
    (
        "MinEncryptionLevel",
        9,
        3,
        [
            "rdp-listener.policy",
            "rdp-listener.invalid",
            "rdp-listener.overridden",
        ],
    ),
];

/// Found and nothing else, repaired without being named, found no more, repaired again without a write, undone.
#[track_caller]
fn cured(text: &str, found: &[&str]) {
    let Some(machine) = Machine::with(text) else {
        return;
    };
    let original = machine.sums();
    assert_eq!(machine.found(true), found, "{text}");
    ends(&machine.run(&["diagnose"]), 1);
    assert_eq!(machine.sums(), original, "diagnose writes nothing");
    let named = named_where_nothing_is_broken(&machine);
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    if !named.is_empty() {
        ends(&machine.repair(&[]), 1);
        assert_eq!(machine.sums(), original, "a risk is cured by name only");
    }
    ends(&machine.repair(&named), 0);
    assert_eq!(machine.found(true), Vec::<String>::new(), "after {text}");
    let repaired = machine.sums();
    ends(&machine.repair(&named), 0);
    assert_eq!(machine.sums(), repaired, "a second repair writes nothing");
    ends(&machine.run(&["undo", "--yes"]), 0);
    assert_eq!(machine.sums(), original, "undo gives every bit back");
}

/// Where nothing is broken: the fixes that the report offers for the risks.
fn named_where_nothing_is_broken(machine: &Machine) -> Vec<String> {
    let report = machine.report();
    let findings = report["findings"].as_array().unwrap();
    if findings.iter().any(|found| found["severity"] == "broken") {
        return Vec::new();
    }
    let risks = findings.iter().filter(|found| found["severity"] == "risk");
    let fixes = risks.filter_map(|found| found["fixes"][0].as_str());
    let named = fixes.flat_map(|fix| ["--fix".to_owned(), fix.to_owned()]);
    named.collect()
}

/// Found and nothing else, and no repair touches it.
#[track_caller]
fn only_told(text: &str, found: &[&str]) {
    let Some(machine) = Machine::with(text) else {
        return;
    };
    let original = machine.sums();
    assert_eq!(machine.found(true), found, "{text}");
    machine.repair(&[]);
    assert_eq!(machine.sums(), original, "{text}: nothing is written");
}

#[test]
fn a_wrong_policy_is_the_cause_although_the_machines_own_setting_is_right() {
    for (name, wrong, _, [by_policy, _, _]) in TWINS {
        cured(&policy(name, wrong), &[by_policy]);
    }
}

#[test]
fn a_wrong_setting_without_a_policy() {
    for (name, wrong, _, [_, by_machine, _]) in TWINS {
        cured(&own(name, wrong), &[by_machine]);
    }
}

#[test]
fn both_wrong_are_both_cured_because_the_machines_own_holds_afterwards() {
    for (name, wrong, _, [by_policy, by_machine, _]) in TWINS {
        let text = policy(name, wrong) + &own(name, wrong);
        cured(&text, &[by_policy, by_machine]);
    }
    let Some(machine) = Machine::with(&(policy("SecurityLayer", 5) + &own("SecurityLayer", 5)))
    else {
        return;
    };
    let cause = finding(&machine.report(), "rdp-listener.policy")["cause"].to_string();
    assert!(!cause.contains("own setting is right"), "{cause}");
    if !Reader::Hivex.available() {
        return;
    }
    ends(&machine.repair(&[]), 0);
    assert_eq!(machine.dword("SYSTEM", LISTENER, "SecurityLayer"), Some(2));
    assert_eq!(machine.dword("SOFTWARE", POLICY, "SecurityLayer"), None);
}

#[test]
fn a_right_policy_takes_the_blame_from_the_machines_own_setting() {
    for (name, wrong, right, [_, _, overridden]) in TWINS {
        let text = policy(name, right) + &own(name, wrong);
        only_told(&text, &[overridden]);
        let Some(machine) = Machine::with(&text) else {
            return;
        };
        ends(&machine.run(&["diagnose"]), 0);
        // By name it is put right all the same.
        let fix = overridden.split('.').next().unwrap();
        ends(&machine.repair(&["--fix", fix]), 0);
        assert_eq!(machine.found(true), Vec::<String>::new(), "{name}");
    }
}

/// A fallback control set alone is a risk, and is cured along with the policy.
#[test]
fn a_fault_in_a_control_set_that_is_not_started() {
    let mut text =
        String::from("[HKEY_LOCAL_MACHINE\\SYSTEM\\Select]\n\"LastKnownGood\"=dword:00000002\n\n");
    for service in ["TermService", "SessionEnv", "UmRdpService"] {
        text += &format!(
            "[HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet002\\Services\\{service}]\n\"Start\"=dword:00000003\n\"ObjectName\"=\"NT Authority\\\\NetworkService\"\n\n"
        );
    }
    text += &dword(
        "SYSTEM",
        &SERVER.replace("001", "002"),
        "fDenyTSConnections",
        1,
    );
    text += &dword(
        "SYSTEM",
        &LISTENER.replace("001", "002"),
        "SecurityLayer",
        7,
    );
    let Some(machine) = Machine::with(&text) else {
        return;
    };
    assert_eq!(
        machine.found(false),
        ["rdp-enable.off", "rdp-listener.invalid"]
    );
    let report = machine.report();
    for id in ["rdp-enable.off", "rdp-listener.invalid"] {
        let found = finding(&report, id);
        assert_eq!(found["severity"], "risk", "{id}");
        let cause = found["cause"].as_str().unwrap();
        assert!(cause.contains("fallback"), "{cause}");
    }
    let named = named_where_nothing_is_broken(&machine);
    assert_eq!(named, ["--fix", "rdp-enable", "--fix", "rdp-listener"]);
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    ends(&machine.repair(&named), 0);
    assert_eq!(machine.found(false), Vec::<String>::new());
}

#[test]
fn other_values_of_the_listener_and_of_terminal_services() {
    cured(&own("fEnableWinStation", 0), &["rdp-listener.invalid"]);
    cured(&own("fLogonDisabled", 1), &["rdp-listener.invalid"]);
    cured(
        &own("fAllowSecProtocolNegotiation", 0),
        &["rdp-listener.negotiation"],
    );
    cured(&own("MaxInstanceCount", 0), &["rdp-sessions.none"]);
    cured(&policy("MaxInstanceCount", 0), &["rdp-sessions.none"]);
    cured(
        &dword("SYSTEM", SERVER, "TSServerDrainMode", 1),
        &["rdp-enable.off"],
    );
    cured(
        &format!("[HKEY_LOCAL_MACHINE\\SYSTEM\\{SERVER}]\n\"fDenyTSConnections\"=-\n"),
        &["rdp-enable.off"],
    );
    // A level that TLS does not allow, of the machine and of a policy.
    let weak = ["rdp-listener.encryption", "harden.encryption"];
    cured(&own("MinEncryptionLevel", 1), &weak);
    cured(&policy("MinEncryptionLevel", 1), &weak);
    // What is found must be gone after its cure, also where both say the same.
    let both = |name, value| policy(name, value) + &own(name, value);
    cured(&both("MinEncryptionLevel", 1), &weak);
    cured(&both("MaxInstanceCount", 0), &["rdp-sessions.none"]);
    // Without TLS it is valid: a notice that security is lowered.
    only_told(
        &(own("MinEncryptionLevel", 1) + &own("SecurityLayer", 1)),
        &["harden.encryption"],
    );
}

#[test]
fn what_only_the_owner_can_decide_is_told() {
    only_told(
        &format!("[HKEY_LOCAL_MACHINE\\SYSTEM\\{LISTENER}]\n\"WdName\"=\"Other Driver 1\"\n"),
        &["rdp-listener.third-party"],
    );
    only_told(&own("LanAdapter", 3), &["rdp-listener.adapter"]);
    only_told(&policy("MaxIdleTime", 900_000), &["rdp-sessions.limited"]);
    only_told(&own("MaxInstanceCount", 2), &["rdp-sessions.limited"]);
    // Of a listener's own limit only one that is not left to the account.
    only_told(&own("MaxIdleTime", 900_000), &[]);
    only_told(
        &(own("MaxIdleTime", 900_000) + &own("fInheritMaxIdleTime", 0)),
        &["rdp-sessions.limited"],
    );
    let lsa = |name, value| dword("SYSTEM", r"ControlSet001\Control\Lsa", name, value);
    only_told(&lsa("CrashOnAuditFail", 2), &["authentication.audit-full"]);
    only_told(&lsa("CrashOnAuditFail", 1), &[]);
    only_told(
        &lsa("disabledomaincreds", 1),
        &["authentication.stored-credentials"],
    );
    only_told(
        &dword(
            "SYSTEM",
            r"ControlSet001\Control\Lsa\MSV1_0",
            "RestrictReceivingNTLMTraffic",
            2,
        ),
        &["authentication.ntlm"],
    );
    only_told(
        &dword(
            "SYSTEM",
            r"ControlSet001\Control\Lsa\FIPSAlgorithmPolicy",
            "Enabled",
            1,
        ),
        &["authentication.fips"],
    );
    only_told(
        &dword(
            "SOFTWARE",
            r"Microsoft\Windows\CurrentVersion\Policies\System\CredSSP\Parameters",
            "AllowEncryptionOracle",
            0,
        ),
        &["authentication.credssp-strict"],
    );
    cured(&lsa("ForceGuest", 1), &["authentication.guest"]);
}

/// Found, of another type than Windows reads: told, never overwritten, also when the fix is named.
#[test]
fn values_that_cannot_be_judged_are_left_alone() {
    for (hive, key, name, id, fix) in [
        (
            "SYSTEM",
            SERVER,
            "fDenyTSConnections",
            "rdp-enable.unclear",
            None,
        ),
        (
            "SYSTEM",
            SERVER,
            "TSUserEnabled",
            "rdp-enable.unclear",
            None,
        ),
        (
            "SOFTWARE",
            POLICY,
            "fDenyTSConnections",
            "rdp-enable.unclear",
            Some("rdp-enable"),
        ),
        (
            "SOFTWARE",
            POLICY,
            "UserAuthentication",
            "nla.unclear",
            Some("nla=on"),
        ),
        (
            "SYSTEM",
            LISTENER,
            "SecurityLayer",
            "rdp-listener.unclear",
            Some("rdp-listener"),
        ),
        (
            "SYSTEM",
            LISTENER,
            "fAllowSecProtocolNegotiation",
            "rdp-listener.unclear",
            Some("rdp-listener"),
        ),
        (
            "SOFTWARE",
            POLICY,
            "MaxInstanceCount",
            "rdp-sessions.unclear",
            None,
        ),
        (
            "SYSTEM",
            r"ControlSet001\Control\Lsa",
            "ForceGuest",
            "authentication.unclear",
            Some("guest-logons"),
        ),
    ] {
        let text = format!("[HKEY_LOCAL_MACHINE\\{hive}\\{key}]\n\"{name}\"=\"1\"\n");
        only_told(&text, &[id]);
        if let Some(fix) = fix {
            let machine = Machine::with(&text).unwrap();
            ends(&machine.repair(&["--fix", fix]), 0);
            assert_eq!(machine.found(true), [id], "{name} is still there");
        }
    }
}

#[test]
fn a_list_of_cipher_suites() {
    let key =
        r"[HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Cryptography\Configuration\SSL\00010002]";
    cured(
        &format!("{key}\n\"Functions\"=\"\"\n"),
        &["cipher-policy.empty"],
    );
    cured(
        &format!("{key}\n\"Functions\"=\" ,;\"\n"),
        &["cipher-policy.empty"],
    );
    // A REG_MULTI_SZ of nothing.
    cured(
        &format!("{key}\n\"Functions\"=hex(7):00,00\n"),
        &["cipher-policy.empty"],
    );
    only_told(
        &format!("{key}\n\"Functions\"=\"TLS_AES_256_GCM_SHA384\"\n"),
        &[],
    );
    only_told(
        &format!("{key}\n\"EccCurves\"=hex(7):00,00\n"),
        &["cipher-policy.curves"],
    );
    only_told(
        &format!("{key}\n\"Functions\"=dword:00000001\n"),
        &["cipher-policy.unclear"],
    );
    let Some(machine) = Machine::with(&format!("{key}\n\"Functions\"=\"TLS_A\"\n")) else {
        return;
    };
    let text = ends(&machine.repair(&["--fix", "cipher-policy"]), 0);
    assert!(text.contains("somebody may have chosen"), "{text}");
}

/// The key's time is what the program's clock said when it was written.
#[test]
fn a_grace_period_that_is_over() {
    let Some(machine) = Machine::new("healthy") else {
        return;
    };
    let key = r"[HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001\Control\Terminal Server\RCM\GracePeriod]";
    machine.import(&format!(
        "{key}\n\"L$RTMTIMEBOMB_1320153D-8DA3-4e8e-B27B-0D888223A588\"=hex:01,02\n"
    ));
    let found = |days: i64| {
        let now = jiff::Timestamp::now().as_second() + days * 86_400;
        let output = machine
            .command(&["diagnose", "--format", "json"])
            .env("SOURCE_DATE_EPOCH", now.to_string())
            .output()
            .unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap().clone();
        findings
            .iter()
            .any(|finding| finding["id"] == "rdp-licensing.grace-period")
    };
    assert!(!found(0));
    assert!(!found(119));
    assert!(found(122));
    let original = machine.sums();
    machine.repair(&[]);
    assert_eq!(machine.sums(), original, "it is never reset");
    machine.import(
        "[HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001\\Services\\TermService\\Parameters\\LicenseServers]\n\"SpecifiedLicenseServers\"=hex(7):61,00,00,00,00,00\n",
    );
    assert!(!found(122), "a licence server is named");
}

const POLICY_FILE: &str = "Windows/System32/GroupPolicy/Machine/Registry.pol";
const COPY: &str = "Windows/System32/GroupPolicy/DataStore/0/sysvol/d.example/Policies/{31B2F340-016D-11D2-945F-00C04FB984F9}/Machine/Registry.pol";
const RECORD: &str = "ProgramData/ntuser.pol";

/// Has Samba write a policy file that gives fDenyTSConnections a number.
fn put_policy(machine: &Machine, path: &str, value: u32) -> bool {
    if !support::require_python("samba") {
        return false;
    }
    let path = machine.target.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let key = format!(r"SOFTWARE\{POLICY}");
    let name = "fDenyTSConnections".to_owned();
    let one = (key, name, 4, value.to_le_bytes().to_vec());
    samba_policy(&[write_policy(&path, &[one])]);
    true
}

#[test]
fn a_policy_file_on_the_disk_brings_the_value_back() {
    for path in [POLICY_FILE, COPY] {
        let Some(machine) = Machine::with(&policy("fDenyTSConnections", 1)) else {
            return;
        };
        if !put_policy(&machine, path, 1) {
            return;
        }
        let original = machine.sums();
        assert_eq!(machine.found(true), ["rdp-enable.policy"]);
        let report = machine.report();
        let found = finding(&report, "rdp-enable.policy");
        let shown = found.to_string();
        assert!(shown.contains("Registry.pol"), "names the file: {shown}");
        assert!(shown.contains("own setting is right"), "{shown}");
        assert!(
            shown.contains("sets fDenyTSConnections to REG_DWORD 0x1"),
            "{shown}"
        );
        assert!(
            shown.contains("puts it back at its next refresh"),
            "{shown}"
        );
        assert_eq!(
            found["fixes"],
            serde_json::json!(["rdp-enable", "group-policy=hold"])
        );

        // Cured, but it will come back: told until it is held.
        ends(&machine.repair(&[]), 0);
        assert_eq!(machine.found(true), ["group-policy.returns"], "{path}");
        ends(&machine.run(&["diagnose"]), 0);
        ends(&machine.run(&["undo", "--yes"]), 0);
        assert_eq!(machine.sums(), original);
        let fixes = ["--fix", "rdp-enable", "--fix", "group-policy=hold"];
        let text = ends(&machine.repair(&fixes), 0);
        assert!(text.contains("sets it again at the next refresh"), "{text}");
        assert_eq!(machine.found(true), ["group-policy.held"]);
        ends(&machine.run(&["undo", "--yes"]), 0);
        assert_eq!(machine.sums(), original, "undo gives every bit back");
    }
}

/// A policy file that will do harm, before it has; and one that will do good.
#[test]
fn what_the_next_refresh_will_do() {
    let Some(machine) = Machine::new("healthy") else {
        return;
    };
    if !put_policy(&machine, POLICY_FILE, 1) {
        return;
    }
    assert_eq!(machine.found(true), ["group-policy.returns"]);
    // The domain's policy is applied after the local one.
    assert!(put_policy(&machine, COPY, 0));
    assert_eq!(machine.found(true), Vec::<String>::new());
}

/// The record of applied policies and the machine's domain tell of a policy that is not on the disk.
#[test]
fn a_policy_of_a_domain_that_is_not_on_the_disk() {
    let Some(packed) = support::data("hives/security-w81.xz") else {
        return;
    };
    let Some(machine) = Machine::with(&policy("fDenyTSConnections", 1)) else {
        return;
    };
    if !put_policy(&machine, RECORD, 1) {
        return;
    }
    let cause = || {
        let report = machine.report();
        finding(&report, "rdp-enable.policy").to_string()
    };
    assert!(
        cause().contains("does not tell whether"),
        "SECURITY is empty: {}",
        cause()
    );
    std::fs::write(machine.hive("SECURITY"), support::unxz(&packed)).unwrap();
    assert!(
        cause().contains("domain internal.greendale.edu"),
        "{}",
        cause()
    );
    assert!(cause().contains("group-policy=hold"), "{}", cause());
    // Recorded as applied, and the machine is in no domain: the local policy has dropped it since.
    let workgroup = support::data("hives/security-w10-dirty-nolog.xz").unwrap();
    std::fs::write(machine.hive("SECURITY"), support::unxz(&workgroup)).unwrap();
    assert!(
        cause().contains("does not come back by itself"),
        "{}",
        cause()
    );
    assert!(!cause().contains("group-policy=hold"), "{}", cause());
}

#[test]
fn a_policy_file_that_cannot_be_read() {
    let Some(machine) = Machine::with(&policy("fDenyTSConnections", 1)) else {
        return;
    };
    let path = machine.target.join(POLICY_FILE);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, b"PReg\x01\0\0\0[\0S").unwrap();
    assert_eq!(
        machine.found(true),
        ["rdp-enable.policy", "group-policy.unreadable"]
    );
    let report = machine.report();
    let shown = finding(&report, "rdp-enable.policy").to_string();
    assert!(shown.contains("does not tell whether"), "{shown}");
    ends(&machine.repair(&[]), 0);
    assert_eq!(std::fs::read(&path).unwrap(), b"PReg\x01\0\0\0[\0S");
    // Larger than any such file: not read.
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(1 << 30).unwrap();
    assert_eq!(machine.found(true), ["group-policy.unreadable"]);
}
