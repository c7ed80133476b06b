// SPDX-License-Identifier: GPL-2.0-or-later
//! Hives of real machines, diagnosed: every finding that is more than a notice, and why it is true.
//!
//! What MANIFEST.md of the test data says of them: Remote Desktop is on (fDenyTSConnections 0) on the Windows 7 alone;
//! XP, 8.1, 1709 and 10 have it off. On 8.1 a policy opens the firewall; on XP there is no firewall of the kind that is
//! judged; on 1709 and 10 the stock rules of a machine whose Remote Desktop was never on are off.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use support::foreign::{self, Reader};
use support::machine::Machine;

const OFF: &str = "rdp-enable.off";
const RULE_OFF: &str = "firewall.rule-off";

/// A machine of these hives: SYSTEM with its logs where there are any, and SOFTWARE where there is one of its own.
/// Without one, nothing may be concluded from that of another machine.
fn machine(system: &str, software: Option<&str>) -> Option<Machine> {
    let machine = Machine::new("healthy")?;
    let put = |hive: &str, source: &str| {
        let packed = support::data(&format!("hives/{source}.xz"))?;
        std::fs::write(machine.hive(hive), support::unxz(&packed)).unwrap();
        Some(())
    };
    put("SYSTEM", system)?;
    for log in ["LOG1", "LOG2"] {
        if system == "system-w10-dirty" {
            put(&format!("SYSTEM.{log}"), &format!("{system}.{log}"))?;
        }
    }
    match software {
        Some(software) => put("SOFTWARE", software)?,
        None => std::fs::remove_file(machine.hive("SOFTWARE")).unwrap(),
    }
    Some(machine)
}

#[test]
fn every_finding_on_real_hives_is_true() {
    for (system, software, expected) in [
        ("system-xp", None, &[OFF][..]),
        ("system-w7x86", Some("software-w7x86"), &[]),
        (
            "system-w81-dirty-nolog",
            Some("software-w81-dirty-nolog"),
            &[OFF],
        ),
        ("system-w10-dirty", None, &[RULE_OFF, OFF]),
        ("system-w10-clean", None, &[RULE_OFF, OFF]),
    ] {
        let Some(machine) = machine(system, software) else {
            return;
        };
        let found: Vec<String> = machine
            .found(false)
            .into_iter()
            // The state of the hives is another test's: dirty without logs, or without SOFTWARE. And the folder holds
            // hives only, so programs that they name are not there.
            .filter(|id| !id.starts_with("hive.") && !id.starts_with("network-provider."))
            .collect();
        assert_eq!(found, expected, "{system}");

        // What the finding says is what other readers find.
        if !Reader::ALL.into_iter().all(Reader::available) {
            continue;
        }
        let key = r"ControlSet001\Control\Terminal Server";
        for reader in Reader::ALL {
            let value = foreign::value(reader, &machine.hive("SYSTEM"), key, "fDenyTSConnections");
            let off = value.unwrap().dword() != 0;
            assert_eq!(off, expected.contains(&OFF), "{system} by {reader:?}");
        }
    }
}

/// Of the notices on real machines, those of this component.
#[test]
fn notices_on_real_hives_are_true() {
    let own = |id: &String| {
        [
            "rdp-",
            "nla.",
            "authentication.",
            "cipher-",
            "harden.",
            "group-policy.",
            "crash-dump.",
        ]
        .iter()
        .any(|check| id.starts_with(check) && !id.starts_with("rdp-certificate."))
    };
    for (system, software, expected) in [
        ("system-xp", None, &[][..]),
        // UserAuthentication is 0: Windows 7 asks for Network Level Authentication only when told to.
        ("system-w7x86", Some("software-w7x86"), &["harden.nla"]),
        ("system-w10-clean", None, &[]),
    ] {
        let Some(machine) = machine(system, software) else {
            return;
        };
        let found: Vec<String> = machine.found(true).into_iter().filter(own).collect();
        let notices: Vec<&String> = found.iter().filter(|id| *id != OFF).collect();
        assert_eq!(notices, expected, "{system}");
    }
}

/// Repaired by the program, read by three others.
#[test]
fn repaired_real_hives_are_read_by_others() {
    if !Reader::ALL.into_iter().all(Reader::available) {
        return;
    }
    let Some(machine) = machine("system-w10-clean", None) else {
        return;
    };
    support::ends(
        &machine.repair(&["--fix", "rdp-enable", "--fix", "rdp-listener"]),
        0,
    );
    let server = r"ControlSet001\Control\Terminal Server";
    let listener = format!(r"{server}\WinStations\RDP-Tcp");
    for reader in Reader::ALL {
        let read = |key: &str, name| {
            let value = foreign::value(reader, &machine.hive("SYSTEM"), key, name);
            value.map(|value| value.dword())
        };
        assert_eq!(read(server, "fDenyTSConnections"), Some(0), "{reader:?}");
        assert_eq!(read(server, "TSEnabled"), None, "{reader:?}: never created");
        assert_eq!(
            read(&listener, "SecurityLayer"),
            Some(2),
            "{reader:?}: left"
        );
        assert_eq!(
            read(&listener, "MinEncryptionLevel"),
            Some(2),
            "{reader:?}: left"
        );
    }
    let regipy = foreign::regipy_dump(&machine.hive("SYSTEM"), server);
    let line = regipy.lines().next().unwrap();
    assert!(
        line.contains("\"fDenyTSConnections\", \"REG_DWORD\", \"0\""),
        "{line}"
    );
}
