// SPDX-License-Identifier: GPL-2.0-or-later
//! Event logs as evidence: disks that carry logs which Windows wrote, and logs made for what none of those tells.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap
)]

#[path = "support/event_log.rs"]
mod event_log;
mod mounted_support;
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use event_log::NewEvent;
use mounted_support::Mount;
use serde_json::Value;
use support::ends;

const LOGS: &str = "Windows/System32/winevt/Logs";
const CONNECTION_MANAGER: &str =
    "Microsoft-Windows-TerminalServices-RemoteConnectionManager%4Operational.evtx";
const SESSION_MANAGER: &str =
    "Microsoft-Windows-TerminalServices-LocalSessionManager%4Operational.evtx";
const RDP_CORE: &str = "Microsoft-Windows-RemoteDesktopServices-RdpCoreTS%4Operational.evtx";

/// A Windows in a folder, with event logs.
struct Bench {
    state: tempfile::TempDir,
    target: PathBuf,
}

impl Bench {
    fn new(fixture: &str) -> Option<Bench> {
        let state = tempfile::tempdir().unwrap();
        let target = support::fixture(&format!("folder/{fixture}"), state.path())?;
        fs::create_dir_all(target.join(LOGS)).unwrap();
        Some(Bench { state, target })
    }

    /// Puts a real log there.
    fn real(&self, file: &str, name: &str) -> bool {
        let Some(packed) = support::data(&format!("evtx/{name}.evtx.xz")) else {
            return false;
        };
        fs::write(self.target.join(LOGS).join(file), support::unxz(&packed)).unwrap();
        true
    }

    fn made(&self, file: &str, events: &[NewEvent]) {
        fs::write(self.target.join(LOGS).join(file), event_log::log(events)).unwrap();
    }

    fn coldfix(&self, arguments: &[&str], code: i32) -> String {
        let output = support::coldfix(self.state.path())
            .arg(arguments[0])
            .arg(&self.target)
            .args(&arguments[1..])
            .output()
            .unwrap();
        ends(&output, code);
        String::from_utf8(output.stdout).unwrap()
    }

    fn report(&self, code: i32) -> Value {
        serde_json::from_str(&self.coldfix(&["diagnose", "--format", "json"], code)).unwrap()
    }
}

/// The findings' ids.
fn ids(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().unwrap();
    findings
        .iter()
        .map(|finding| finding["id"].as_str().unwrap())
        .collect()
}

fn finding<'r>(report: &'r Value, id: &str) -> &'r Value {
    let findings = report["findings"].as_array().unwrap();
    findings
        .iter()
        .find(|finding| finding["id"] == id)
        .unwrap_or_else(|| panic!("no {id} in {:?}", ids(report)))
}

/// What the evidence of kind `event` says.
fn evidence(finding: &Value) -> Vec<String> {
    let evidence = finding["evidence"].as_array().unwrap();
    evidence
        .iter()
        .filter(|evidence| evidence["kind"] == "event")
        .map(|evidence| {
            format!(
                "{}: {}",
                evidence["location"].as_str().unwrap(),
                evidence["found"].as_str().unwrap()
            )
        })
        .collect()
}

fn service_failed(time: &'static str, service: &str, id: u32) -> NewEvent {
    NewEvent::new(
        time,
        "Service Control Manager",
        id,
        &[("param1", service), ("param2", "%%13")],
    )
}

const MONDAY: &str = "2026-03-02T08:00:00Z";
const TUESDAY: &str = "2026-03-03T08:00:00Z";

#[test]
fn an_event_joins_the_finding_that_it_proves() {
    let Some(bench) = Bench::new("termservice-disabled") else {
        return;
    };
    // The name is German, the binary data tell the service.
    let mut failed = service_failed(MONDAY, "Remotedesktopdienste", 7000);
    failed.data[1].1 = "%%1058".to_owned();
    let name: String = "TermService\0"
        .encode_utf16()
        .map(|unit| format!("{:02X}{:02X}", unit & 0xff, unit >> 8))
        .collect();
    failed.data.push(("Binary", name));
    bench.made("System.evtx", &[failed.clone(), failed, started(TUESDAY)]);
    let report = bench.report(1);
    let proved = finding(&report, "services.rdp-disabled");
    assert_eq!(
        evidence(proved),
        [
            "System log, Service Control Manager 7000: 2026-03-02 08:00:00 UTC, 24 hours before the newest record: \
             TermService (Remotedesktopdienste) did not start: error 1058 (it is disabled) (2 such events since \
             2026-03-02 08:00:00 UTC)"
        ]
    );
    assert!(!ids(&report).contains(&"events.rdp-service"));
    let events = report["events"].as_array().unwrap();
    assert_eq!(events[0]["text"], "Windows started");
    assert_eq!(events[0]["finding"], Value::Null);
    assert_eq!(events[1]["finding"], "services.rdp-disabled");
    assert_eq!(events[1]["time"], "2026-03-02T08:00:00Z");

    // Repaired: the events are still there, and condemn nothing.
    bench.coldfix(&["repair", "--yes"], 0);
    let report = bench.report(0);
    assert_eq!(finding(&report, "events.rdp-service")["severity"], "notice");
    assert_eq!(report["verdict"], "healthy");
}

fn started(time: &'static str) -> NewEvent {
    NewEvent::new(time, "Microsoft-Windows-Kernel-General", 12, &[])
}

/// A key that Remote Desktop may not read, on a real NTFS volume, with a log that ntfs-3g wrote.
#[test]
fn a_log_on_ntfs_proves_that_a_key_cannot_be_read() {
    let state = tempfile::tempdir().unwrap();
    let Some(disk) = support::fixture("keys-denied.raw", state.path()) else {
        return;
    };
    let mut events: Vec<NewEvent> = std::iter::repeat_n(started(MONDAY), 500).collect();
    let key = [
        ("Type", "server"),
        ("ErrorCode", "0x8009030d"),
        ("ErrorStatus", "10001"),
    ];
    events.push(NewEvent::new(TUESDAY, "Schannel", 36872, &[]));
    events.push(NewEvent::new(TUESDAY, "Schannel", 36870, &key));
    let log = event_log::log(&events);
    assert!(log.len() > 200_000, "several clusters");
    let at = state.path().join("mount");
    let Some(mount) = Mount::ntfs("ntfs-3g", "rw", &disk, &at) else {
        return;
    };
    fs::create_dir_all(at.join(LOGS)).unwrap();
    fs::write(at.join(LOGS).join("System.evtx"), &log).unwrap();
    drop(mount);

    let bench = Bench {
        state,
        target: disk,
    };
    let report = bench.report(1);
    assert_eq!(
        evidence(finding(&report, "machine-keys.key-unreadable")),
        [
            "System log, Schannel 36870: 2026-03-03 08:00:00 UTC: the private key of a TLS server's certificate cannot \
             be used: server, 0x8009030d, 10001",
            "System log, Schannel 36872: 2026-03-03 08:00:00 UTC: no certificate for a TLS server is there"
        ]
    );
    assert_eq!(
        report["events"][0]["finding"],
        "machine-keys.key-unreadable"
    );
    // Of the starts the newest five.
    assert_eq!(report["events"].as_array().unwrap().len(), 7);
    bench.coldfix(&["repair", "--yes"], 0);
    let report = bench.report(0);
    // 36872 alone is nothing to speak of.
    assert_eq!(evidence(finding(&report, "events.certificate")).len(), 1);
    assert_eq!(report["verdict"], "healthy");
}

#[test]
fn tls_that_the_log_proves() {
    let Some(bench) = Bench::new("tls12-off") else {
        return;
    };
    let schannel = |kind: &str| {
        NewEvent::new(
            MONDAY,
            "Schannel",
            36871,
            &[("/Type", kind), ("ErrorCode", "10013")],
        )
    };
    // Programs that connect out log the same; it says nothing of the listener.
    bench.made("System.evtx", &[schannel("client")]);
    let report = bench.report(1);
    assert_eq!(
        evidence(finding(&report, "tls.disabled")),
        Vec::<String>::new()
    );
    assert_eq!(report["events"].as_array().unwrap().len(), 0);

    bench.made("System.evtx", &[schannel("client"), schannel("server")]);
    let report = bench.report(1);
    assert_eq!(
        evidence(finding(&report, "tls.disabled")),
        [
            "System log, Schannel 36871: 2026-03-02 08:00:00 UTC: a TLS server cannot be set up: server, 10013"
        ]
    );
    let text = bench.coldfix(&["diagnose"], 1);
    assert!(text.contains("System log, Schannel 36871"), "{text}");
}

#[test]
fn a_sign_in_after_it_refutes_an_event() {
    let Some(bench) = Bench::new("rdp-port-3390") else {
        return;
    };
    let key = NewEvent::new(
        MONDAY,
        "Microsoft-Windows-TerminalServices-RemoteConnectionManager",
        1057,
        &[("/Status", "Keyset does not exist")],
    );
    bench.made("System.evtx", &[key]);
    let report = bench.report(1);
    assert_eq!(
        evidence(finding(&report, "events.certificate")),
        [
            "System log, Microsoft-Windows-TerminalServices-RemoteConnectionManager 1057: 2026-03-02 08:00:00 UTC: \
             no self-signed certificate could be made: Keyset does not exist"
        ]
    );
    let signed_in = |address: &str| {
        NewEvent::new(
            TUESDAY,
            "Microsoft-Windows-TerminalServices-LocalSessionManager",
            21,
            &[
                ("/User", r"COLD\admin"),
                ("SessionID", "2"),
                ("Address", address),
            ],
        )
    };
    // At the console that refutes nothing.
    bench.made(SESSION_MANAGER, &[signed_in("LOCAL")]);
    assert!(ids(&bench.report(1)).contains(&"events.certificate"));
    bench.made(SESSION_MANAGER, &[signed_in("192.0.2.7")]);
    let report = bench.report(1);
    assert!(
        !ids(&report).contains(&"events.certificate"),
        "{:?}",
        ids(&report)
    );
    let texts: Vec<&str> = report["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["text"].as_str().unwrap())
        .collect();
    assert_eq!(
        texts,
        [
            r"COLD\admin signed in by Remote Desktop from 192.0.2.7",
            "no self-signed certificate could be made: Keyset does not exist"
        ]
    );
}

#[test]
fn events_of_long_ago_prove_nothing() {
    let Some(bench) = Bench::new("termservice-disabled") else {
        return;
    };
    let failed = service_failed("2026-01-01T00:00:00Z", "TermService", 7023);
    bench.made(
        "System.evtx",
        &[failed.clone(), started("2026-02-01T00:00:01Z")],
    );
    let report = bench.report(1);
    assert_eq!(
        evidence(finding(&report, "services.rdp-disabled")),
        Vec::<String>::new()
    );
    // Thirty days are recent, whatever the host's clock says.
    bench.made("System.evtx", &[failed, started("2026-01-31T00:00:00Z")]);
    let report = bench.report(1);
    assert_eq!(evidence(finding(&report, "services.rdp-disabled")).len(), 1);
}

#[test]
fn failed_sign_ins_are_counted_by_reason_account_and_address() {
    let Some(bench) = Bench::new("rdp-denied") else {
        return;
    };
    let failed = |user: &str, status: &str, sub: &str, kind: &str, address: &str| {
        NewEvent::new(
            MONDAY,
            "Microsoft-Windows-Security-Auditing",
            4625,
            &[
                ("TargetUserName", user),
                ("TargetDomainName", "COLD"),
                ("Status", status),
                ("SubStatus", sub),
                ("LogonType", kind),
                ("IpAddress", address),
            ],
        )
    };
    let mut events = vec![
        failed("admin", "0xc000006d", "0xc000006a", "10", "192.0.2.7"),
        failed("admin", "0xc0000234", "0x0", "3", "192.0.2.7"),
        failed("guest", "0xc000006e", "0xc0000072", "3", "192.0.2.8"),
        failed("guest", "0xc000015b", "0x0", "7", "-"),
        // At the console.
        failed("admin", "0xc000006d", "0xc000006a", "2", "127.0.0.1"),
    ];
    bench.made("Security.evtx", &events);
    let report = bench.report(1);
    let found = finding(&report, "events.logon-failures");
    assert_eq!(found["severity"], "notice");
    assert_eq!(
        evidence(found),
        [
            r"Security log, Microsoft-Windows-Security-Auditing 4625: 4 from 2026-03-02 08:00:00 UTC to 2026-03-02 08:00:00 UTC; reasons: the account has no right to sign in this way (0xc000015b) (1), the account is disabled (0xc0000072) (1), the account is locked (0xc0000234) (1), wrong password (0xc000006a) (1); accounts: COLD\admin (2), COLD\guest (2); addresses: 192.0.2.7 (2), 192.0.2.8 (1)"
        ]
    );
    let texts = report["events"].to_string();
    assert!(
        texts
            .contains(r"COLD\\admin could not sign in from 192.0.2.7: wrong password (0xc000006a)"),
        "{texts}"
    );

    // Many attempts of one address.
    let one = failed("admin", "0xc000006d", "0xc000006a", "3", "198.51.100.1");
    events.extend(std::iter::repeat_n(one.clone(), 49));
    bench.made("Security.evtx", &events);
    assert!(ids(&bench.report(1)).contains(&"events.logon-failures"));
    events.push(one);
    bench.made("Security.evtx", &events);
    let report = bench.report(1);
    assert!(!ids(&report).contains(&"events.logon-failures"));
    let guessed = evidence(finding(&report, "events.guessed-passwords")).concat();
    assert!(
        guessed.contains("addresses: 198.51.100.1 (50)"),
        "{guessed}"
    );
    // The timeline names the newest twenty for that reason, and the others.
    assert_eq!(report["events"].as_array().unwrap().len(), 23);
}

#[test]
fn real_logs_of_remote_desktop() {
    let Some(bench) = Bench::new("rdp-denied") else {
        return;
    };
    if !bench.real(RDP_CORE, "w10-rdpcorets-140")
        || !bench.real("System.evtx", "w10-system-termservice1056")
        || !bench.real(CONNECTION_MANAGER, "w10-rcm-1149")
    {
        return;
    }
    let report = bench.report(1);
    let guessed = evidence(finding(&report, "events.guessed-passwords")).concat();
    // The other reader finds 126 such events; those behind a cut come on top.
    assert!(
        guessed.contains("RdpCoreTS 140: 128 from 2018-08-0"),
        "{guessed}"
    );
    let unread = finding(&report, "events.unread")["evidence"].to_string();
    assert!(
        unread.contains("damaged chunks: 0, damaged records: 4, records read: 1975"),
        "{unread}"
    );
    let events = report["events"].as_array().unwrap();
    assert!(events.len() <= 200);
    let times: Vec<&str> = events
        .iter()
        .map(|event| event["time"].as_str().unwrap())
        .collect();
    assert!(
        times.is_sorted_by(|left, right| left >= right),
        "newest first"
    );
    let of = |id: u32| events.iter().filter(|event| event["id"] == id).count();
    assert_eq!((of(1056), of(1149), of(261) + of(131)), (1, 5, 3));
    assert!(of(12) > 0);
}

#[test]
fn real_sign_ins_and_failures() {
    let Some(bench) = Bench::new("rdp-denied") else {
        return;
    };
    if !bench.real(SESSION_MANAGER, "dc-2021-lsm")
        || !bench.real("System.evtx", "dc-2021-system")
        || !bench.real(CONNECTION_MANAGER, "dc-2021-rcm")
        || !bench.real("Security.evtx", "w-4625-account-restriction")
    {
        return;
    }
    let report = bench.report(1);
    let events = report["events"].to_string();
    for text in [
        r"WINDOMAIN\\vagrant came back by Remote Desktop from 192.168.38.1",
        "vagrant was let in from 192.168.38.1",
        "an account that is not told could not sign in from 10.23.23.9: the account is restricted (a blank password, hours, or machines) (0xc000006e)",
        "Windows was shut down",
    ] {
        assert!(events.contains(text), "{text} is not in {events}");
    }
    // Of October, the others of February: after the last sign-in.
    assert!(ids(&report).contains(&"events.logon-failures"));
}

#[test]
fn a_firewall_list_of_a_wrong_type_is_deleted() {
    let Some(bench) = Bench::new("firewall-loopback-type") else {
        return;
    };
    let report = bench.report(1);
    assert_eq!(
        ids(&report),
        [
            "firewall-service.loopback-type",
            "firewall-service.leftover"
        ]
    );
    assert_eq!(
        finding(&report, "firewall-service.loopback-type")["severity"],
        "broken"
    );
    bench.coldfix(&["repair", "--yes"], 0);
    assert_eq!(ids(&bench.report(0)), ["firewall-service.leftover"]);
    let hive = bench.target.join("Windows/System32/config/SYSTEM");
    if support::require("hivexget") {
        let key = r"ControlSet001\Services\mpssvc\Parameters\AppCs";
        let left = support::foreign::hivexget(&hive, key, "DebugedLoopbackApps_");
        assert!(!left.is_empty());
        let lost = support::foreign::hivex_value(&hive, key, "DebugedLoopbackApps");
        assert_eq!(lost, None);
    }
}

#[test]
fn a_firewall_list_of_text_is_deleted_only_when_the_log_condemns_it() {
    let Some(bench) = Bench::new("firewall-loopback-text") else {
        return;
    };
    assert_eq!(ids(&bench.report(0)), Vec::<&str>::new());
    // Another service, another event.
    for other in [
        service_failed(MONDAY, "Spooler", 7023),
        service_failed(MONDAY, "MpsSvc", 7036),
    ] {
        bench.made("System.evtx", &[other]);
        assert_eq!(ids(&bench.report(0)), Vec::<&str>::new());
    }
    for id in [7000, 7001, 7023, 7024, 7031, 7034] {
        for name in ["MpsSvc", "Windows Defender Firewall", "Windows Firewall"] {
            bench.made("System.evtx", &[service_failed(MONDAY, name, id)]);
            let report = bench.report(1);
            assert_eq!(
                ids(&report),
                ["firewall-service.loopback-text"],
                "{name} {id}"
            );
        }
    }
    // The account is not that list's fault.
    bench.made("System.evtx", &[service_failed(MONDAY, "MpsSvc", 7038)]);
    assert_eq!(ids(&bench.report(0)), ["events.firewall-service"]);
    bench.made("System.evtx", &[service_failed(MONDAY, "mpssvc", 7024)]);
    assert_eq!(
        evidence(finding(&bench.report(1), "firewall-service.loopback-text")),
        [
            "System log, Service Control Manager 7024: 2026-03-02 08:00:00 UTC: mpssvc ended: error 13 (the data is invalid)"
        ]
    );
    bench.coldfix(&["repair", "--yes"], 0);
    assert_eq!(ids(&bench.report(0)), ["events.firewall-service"]);
    bench.coldfix(&["repair", "--yes", "--fix", "firewall-service"], 0);
}

#[test]
fn a_home_edition_is_said_first() {
    let Some(bench) = Bench::new("home-edition") else {
        return;
    };
    let report = bench.report(1);
    assert_eq!(ids(&report)[0], "edition.home");
    assert_eq!(report["findings"][0]["severity"], "broken");
    assert_eq!(report["findings"][0]["stage"], "platform");
    assert_eq!(report["installations"][0]["display_version"], "21H2");
}

#[test]
fn an_update_level_with_a_known_fault_is_told() {
    let Some(bench) = Bench::new("update-level") else {
        return;
    };
    let report = bench.report(1);
    assert_eq!(ids(&report), ["updates.known-fault"]);
    let evidence = &report["findings"][0]["evidence"][0];
    assert_eq!(
        evidence["found"],
        "20348.405, the cumulative update of 2021-12-14: a black screen, slow sign-in, or no answer to Remote Desktop at all; the machine may hang"
    );
    assert!(evidence["expected"].as_str().unwrap().contains("20348.407"));
    assert_eq!(report["installations"][0]["build"], "20348.405");
}

#[test]
fn packages_tell_the_update_level_where_there_is_no_ubr() {
    let Some(bench) = Bench::new("update-package") else {
        return;
    };
    let report = bench.report(1);
    assert_eq!(ids(&report), ["updates.known-fault"]);
    let evidence = &report["findings"][0]["evidence"][0];
    let package = "Package_for_RollupFix~31bf3856ad364e35~amd64~~20348.405.1.9";
    assert!(
        evidence["location"].as_str().unwrap().ends_with(package),
        "{evidence}"
    );
    assert!(
        evidence["found"]
            .as_str()
            .unwrap()
            .ends_with(&format!("; package {package}")),
        "{evidence}"
    );
}

/// Logs cost a healthy disk nothing but a look.
#[test]
fn a_diagnosis_writes_nothing_to_logs() {
    let Some(bench) = Bench::new("firewall-loopback-text") else {
        return;
    };
    bench.made("System.evtx", &[started(MONDAY)]);
    let before = snapshot(&bench.target);
    bench.report(0);
    bench.coldfix(&["repair", "--yes"], 0);
    assert_eq!(snapshot(&bench.target), before);
}

fn snapshot(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false => files.push((path.clone(), fs::read(path).unwrap())),
            }
        }
    }
    files.sort();
    files
}
