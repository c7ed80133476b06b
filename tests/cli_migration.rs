// SPDX-License-Identifier: GPL-2.0-or-later
//! Tools of another virtualisation platform: switched off by name only, with their filters, and taken back.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use support::ends;
use support::foreign::{self, Reader};
use support::machine::{Machine, finding};

const SERVICES: &str = r"ControlSet001\Services";
const DISKS: &str = r"ControlSet001\Control\Class\{4d36e967-e325-11ce-bfc1-08002be10318}";
const MICE: &str = r"ControlSet001\Control\Class\{4d36e96f-e325-11ce-bfc1-08002be10318}";

/// A machine of this manufacturer with the tools of both platforms.
fn machine(maker: &str) -> Option<Machine> {
    let mut text = String::from("\n");
    for (service, start) in [
        ("vmci", 0),
        ("VMTools", 2),
        ("vm3dmp", 3),
        ("prl_strg", 0),
        ("prl_mouf", 1),
        ("prl_tg", 4),
        ("rhelscsi", 0),
        ("Relay", 2),
    ] {
        text += &format!(
            "[HKEY_LOCAL_MACHINE\\SYSTEM\\{SERVICES}\\{service}]\n\"Start\"=dword:{start:08x}\n\n"
        );
    }
    // LowerFilters: prl_strg, other; UpperFilters of mice: PRL_MOUF alone.
    let list = |names: &[&str]| -> String {
        let units = names
            .iter()
            .flat_map(|name| name.encode_utf16().chain([0]))
            .chain([0]);
        let bytes: Vec<String> = units
            .flat_map(u16::to_le_bytes)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("hex(7):{}", bytes.join(","))
    };
    text += &format!(
        "[HKEY_LOCAL_MACHINE\\SYSTEM\\{DISKS}]\n\"LowerFilters\"={}\n\"UpperFilters\"={}\n\n",
        list(&["prl_strg", "other"]),
        list(&["partmgr"]),
    );
    text += &format!(
        "[HKEY_LOCAL_MACHINE\\SYSTEM\\{MICE}]\n\"UpperFilters\"={}\n\n",
        list(&["PRL_MOUF"])
    );
    if !maker.is_empty() {
        text += &format!(
            "[HKEY_LOCAL_MACHINE\\SYSTEM\\HardwareConfig]\n\"LastConfig\"=\"{{1}}\"\n\n\
             [HKEY_LOCAL_MACHINE\\SYSTEM\\HardwareConfig\\{{1}}]\n\"SystemManufacturer\"=\"{maker}\"\n"
        );
    }
    Machine::with(&text)
}

fn starts(machine: &Machine) -> [Option<u32>; 8] {
    [
        "vmci", "VMTools", "vm3dmp", "prl_strg", "prl_mouf", "prl_tg", "rhelscsi", "Relay",
    ]
    .map(|service| machine.dword("SYSTEM", &format!("{SERVICES}\\{service}"), "Start"))
}

fn filters(machine: &Machine, class: &str, name: &str) -> Option<String> {
    let value = foreign::hivex_value(&machine.hive("SYSTEM"), class, name)?;
    assert_eq!(value.kind, 7);
    Some(value.text().replace('\0', "|"))
}

#[test]
fn tools_of_other_platforms_are_switched_off_by_name_only() {
    if !Reader::Hivex.available() {
        return;
    }
    let Some(machine) = machine("Microsoft Corporation") else {
        return;
    };
    let all = [0, 2, 3, 0, 1, 4, 0, 2].map(Some);
    assert_eq!(starts(&machine), all);
    let before = machine.sums();
    let report = machine.report();
    let left = finding(&report, "migration.left-over");
    assert_eq!(left["fixes"][0], "migration");
    assert_eq!(left["severity"], "notice");
    // Nothing happens without the name, and nothing in a dry run.
    machine.repair(&[]);
    ends(
        &machine.run(&["repair", "--fix", "migration", "--dry-run"]),
        0,
    );
    assert_eq!(machine.sums(), before);

    let said = ends(&machine.repair(&["--fix", "migration"]), 0);
    // What starts on demand and what is nobody's stays.
    let off = [4, 4, 3, 4, 4, 4, 4, 2].map(Some);
    assert_eq!(starts(&machine), off, "{said}");
    assert_eq!(filters(&machine, DISKS, "LowerFilters").unwrap(), "other");
    assert_eq!(filters(&machine, DISKS, "UpperFilters").unwrap(), "partmgr");
    assert_eq!(filters(&machine, MICE, "UpperFilters"), None);
    assert!(
        !machine
            .found(true)
            .contains(&"migration.left-over".to_owned())
    );
    let said = ends(&machine.repair(&["--fix", "migration"]), 0);
    assert!(
        said.contains("no service of VMware or Parallels starts by itself"),
        "{said}"
    );
    ends(&machine.run(&["undo", "--yes"]), 0);
    assert_eq!(machine.sums(), before);
}

#[test]
fn the_platform_that_the_machine_runs_on_keeps_its_tools() {
    if !Reader::Hivex.available() {
        return;
    }
    let Some(vmware) = machine("VMware, Inc.") else {
        return;
    };
    ends(&vmware.repair(&["--fix", "migration"]), 0);
    assert_eq!(starts(&vmware), [0, 2, 3, 4, 4, 4, 4, 2].map(Some));
    // A disk that was moved and has not run since still tells of the old machine: then the platform is named.
    ends(&vmware.repair(&["--fix", "migration=vmware"]), 0);
    assert_eq!(starts(&vmware), [4, 4, 3, 4, 4, 4, 4, 2].map(Some));
}

#[test]
fn where_nothing_tells_the_platform_it_has_to_be_named() {
    if !Reader::Hivex.available() {
        return;
    }
    let Some(machine) = machine("") else {
        return;
    };
    let before = machine.sums();
    let said = ends(&machine.repair(&["--fix", "migration"]), 3);
    assert!(said.contains("--fix migration=VMware"), "{said}");
    let said = ends(&machine.repair(&["--fix", "migration=xen"]), 2);
    assert!(said.contains("VMware or Parallels"), "{said}");
    assert_eq!(machine.sums(), before);
    ends(&machine.repair(&["--fix", "migration=Parallels"]), 0);
    assert_eq!(starts(&machine), [0, 2, 3, 4, 4, 4, 4, 2].map(Some));
}
