// SPDX-License-Identifier: GPL-2.0-or-later
//! The whole road as a user goes it: diagnose, repair, ask foreign programs, repair again, undo.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Output;

use support::ends;
use support::foreign::{self, Reader};

const SYSTEM: &str = "Windows/System32/config/SYSTEM";
const LISTENER: &str = r"Control\Terminal Server\WinStations\RDP-Tcp";
/// The whole cure of the broken server. The moved port needs to be named: it is somebody's setting.
const REPAIR: [&str; 10] = [
    "repair", "--fix", "tls", "--fix", "nla", "--fix", "services", "--fix", "rdp-port", "--yes",
];
const DRY_RUN: [&str; 10] = [
    "repair",
    "--fix",
    "tls",
    "--fix",
    "nla",
    "--fix",
    "services",
    "--fix",
    "rdp-port",
    "--dry-run",
];
const TLS: &str = r"Control\SecurityProviders\SCHANNEL\Protocols\TLS 1.2\Server";

fn coldfix(state: &Path, arguments: &[&str], target: &Path) -> Output {
    support::coldfix(state)
        .arg(arguments[0])
        .arg(target)
        .args(&arguments[1..])
        .output()
        .expect("run coldfix")
}

/// The last line of standard output stands alone and fits a remote runner's tail.
#[track_caller]
fn check_summary(output: &Output) {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let last = text.lines().last().unwrap_or_default();
    assert!(
        !last.trim().is_empty() && last.chars().count() <= 200,
        "the summary is {last:?}"
    );
}

/// Takes the SYSTEM hive out of a disk with sleuthkit.
fn extract(disk: &Path, offset: u64, folder: &Path, path: &str) -> PathBuf {
    let hive = folder.join("extracted-SYSTEM");
    std::fs::write(&hive, foreign::icat(disk, offset, path)).unwrap();
    hive
}

fn dword(hive: &Path, set: &str, key: &str, name: &str) -> Option<u32> {
    foreign::hivex_value(hive, &format!("{set}\\{key}"), name).map(|value| value.dword())
}

/// The four faults of the broken server are gone from one control set.
#[track_caller]
fn check_repaired(hive: &Path, set: &str) {
    assert_eq!(dword(hive, set, TLS, "Enabled"), Some(1));
    assert_ne!(dword(hive, set, TLS, "DisabledByDefault"), Some(1));
    assert_eq!(dword(hive, set, LISTENER, "UserAuthentication"), Some(1));
    assert_eq!(dword(hive, set, LISTENER, "PortNumber"), Some(3389));
    assert_eq!(dword(hive, set, r"Services\TermService", "Start"), Some(3));
}

/// Diagnose, repair, judge with foreign readers, repair again, undo: on every kind of disk.
fn whole_road(name: &str, offset: u64, path: &str, sets: &[&str]) {
    if !Reader::Hivex.available() || !support::require("icat") {
        return;
    }
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(disk) = support::fixture(name, folder.path()) else {
        return;
    };
    let original = support::sha256(&disk);
    let before = extract(&disk, offset, folder.path(), path);
    let old = foreign::dump(Reader::Hivex, &before);

    let output = coldfix(state.path(), &["diagnose"], &disk);
    ends(&output, 1);
    check_summary(&output);
    assert_eq!(support::sha256(&disk), original, "diagnose writes nothing");

    ends(&coldfix(state.path(), &DRY_RUN, &disk), 0);
    assert_eq!(support::sha256(&disk), original, "a dry run writes nothing");

    let output = coldfix(state.path(), &REPAIR, &disk);
    let text = ends(&output, 0);
    check_summary(&output);
    assert!(text.contains("coldfix undo"), "prints how to undo: {text}");

    let hive = extract(&disk, offset, folder.path(), path);
    for set in sets {
        check_repaired(&hive, set);
    }
    let new = foreign::dump(Reader::Hivex, &hive);
    for difference in foreign::differences(&old, &new) {
        assert!(
            ["TLS 1.2", "RDP-Tcp", "TermService"]
                .iter()
                .any(|part| difference.contains(part)),
            "changed what it should not: {difference}"
        );
    }
    let top = |dump: &foreign::Dump| {
        dump.keys()
            .filter(|key| !key.contains('\\'))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(top(&old), top(&new), "no control set is invented");
    let listener = format!("{}\\{LISTENER}", sets[0]);
    let export = foreign::reged_export(&hive, &listener);
    assert!(
        export.contains("\"PortNumber\"=dword:00000d3d"),
        "reged agrees"
    );

    let repaired = support::sha256(&disk);
    ends(&coldfix(state.path(), &["diagnose"], &disk), 0);
    ends(&coldfix(state.path(), &REPAIR, &disk), 0);
    assert_eq!(
        support::sha256(&disk),
        repaired,
        "a second repair writes nothing"
    );
    ends(&coldfix(state.path(), &["log"], &disk), 0);

    ends(&coldfix(state.path(), &["undo", "--yes"], &disk), 0);
    assert_eq!(
        support::sha256(&disk),
        original,
        "undo gives every bit back"
    );
}

#[test]
fn a_bare_volume_with_names_in_other_letters() {
    whole_road(
        "bare-broken.raw",
        0,
        "WINDOWS/system32/Config/SYSTEM",
        &["ControlSet001"],
    );
}

#[test]
fn a_gpt_disk() {
    whole_road("gpt-broken.raw", 36 << 20, SYSTEM, &["ControlSet001"]);
}

#[test]
fn a_gpt_disk_whose_primary_table_is_bad() {
    whole_road("gpt-bad-primary.raw", 36 << 20, SYSTEM, &["ControlSet001"]);
}

#[test]
fn a_gpt_disk_of_4096_byte_sectors() {
    whole_road("gpt-4096.raw", 36 << 20, SYSTEM, &["ControlSet001"]);
}

#[test]
fn two_control_sets() {
    whole_road(
        "gpt-two-sets.raw",
        36 << 20,
        SYSTEM,
        &["ControlSet001", "ControlSet002"],
    );
}

#[test]
fn an_mbr_disk() {
    whole_road("mbr-broken.raw", 9 << 20, SYSTEM, &["ControlSet001"]);
}

#[test]
fn a_logical_volume() {
    whole_road("mbr-logical.raw", 10 << 20, SYSTEM, &["ControlSet001"]);
}

#[test]
fn a_fixed_vhd() {
    whole_road("vhd-broken.vhd", 36 << 20, SYSTEM, &["ControlSet001"]);
}

/// The backup table is used, and that it was is said.
#[test]
fn a_bad_primary_table_is_reported() {
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(disk) = support::fixture("gpt-bad-primary.raw", folder.path()) else {
        return;
    };
    let text = ends(&coldfix(state.path(), &["inspect"], &disk), 0);
    assert!(text.to_lowercase().contains("backup"), "{text}");
}

#[test]
fn a_healthy_disk_gets_no_write() {
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(disk) = support::fixture("bare-healthy.raw", folder.path()) else {
        return;
    };
    let original = support::sha256(&disk);
    let output = coldfix(state.path(), &["diagnose"], &disk);
    ends(&output, 0);
    check_summary(&output);
    let output = coldfix(state.path(), &["repair", "--yes"], &disk);
    ends(&output, 0);
    check_summary(&output);
    assert_eq!(support::sha256(&disk), original);
}

/// A folder where a volume is mounted: every broken text is found, and what was repaired is undone to the bit.
#[test]
fn every_broken_text_is_found_in_a_folder() {
    // (folder, the finding's severity makes diagnose end with 1)
    let found = [
        "tls12-off",
        "rdp-denied",
        "rdp-denied-value-missing",
        "rdp-denied-by-policy",
        "rdp-drained",
        "rdp-port-3390",
        "nla-out-of-range",
        "security-layer-out-of-range",
        "encryption-level-out-of-range",
        "listener-off",
        "listener-missing",
        "services-disabled",
        "termservice-disabled",
        "termservice-missing",
        "firewall-rule-inactive",
        "firewall-rule-lost",
        "cipher-policy-empty",
        "firewall-loopback-type",
    ];
    let names: Vec<String> = found.iter().map(|name| format!("folder/{name}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let Some(made) = support::fixtures(&names) else {
        return;
    };
    let mut wrong = Vec::new();
    for name in names {
        let (folder, state) = (support::temporary(), support::temporary());
        let target = folder.path().join("disk");
        support::copy(&made.join(name), &target);
        let original = support::sha256_tree(&target);
        let diagnosed = coldfix(state.path(), &["diagnose"], &target);
        if diagnosed.status.code() != Some(1) {
            wrong.push(format!("{name}: diagnose {:?}", diagnosed.status));
            continue;
        }
        // What cannot be repaired (a missing key), or needs a decision (a moved port, a listener bound to one adapter), remains: 1. All else must be healthy afterwards.
        let repaired = coldfix(state.path(), &["repair", "--yes"], &target);
        let expected = if (name.ends_with("-missing") && !name.contains("value"))
            || name.ends_with("rdp-port-3390")
            || name.ends_with("listener-off")
        {
            1
        } else {
            0
        };
        if repaired.status.code() != Some(expected) {
            wrong.push(format!("{name}: repair {repaired:?}"));
            continue;
        }
        if support::sha256_tree(&target) != original {
            let undone = coldfix(state.path(), &["undo", "--yes"], &target);
            if undone.status.code() != Some(0) || support::sha256_tree(&target) != original {
                wrong.push(format!("{name}: undo {undone:?}"));
            }
        } else if expected == 0 {
            wrong.push(format!("{name}: said it was repaired and changed nothing"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A dirty hive of a real Windows 10, with its logs, on a GPT disk: the procedure of Microsoft's article.
#[test]
fn a_real_hive_with_its_logs() {
    let Some(packed) = support::data("hives/system-w10-dirty.xz") else {
        return;
    };
    if !Reader::ALL.into_iter().all(Reader::available) || !support::require("icat") {
        return;
    }
    let (folder, state) = (support::temporary(), support::temporary());
    if support::fixtures(&["bare-healthy.raw"]).is_none() {
        return;
    }
    let unpack = |ending: &str| {
        let target = folder.path().join(format!("SYSTEM{ending}"));
        let source = packed.with_file_name(format!("system-w10-dirty{ending}.xz"));
        std::fs::write(&target, support::unxz(&source)).unwrap();
        target
    };
    let (system, log1, log2) = (unpack(""), unpack(".LOG1"), unpack(".LOG2"));
    support::run(
        support::program("/usr/bin/python3")
            .arg(support::root().join("scripts/make-fixtures"))
            .arg(folder.path())
            .arg("--system")
            .arg(&system)
            .arg("--log1")
            .arg(&log1)
            .arg("--log2")
            .arg(&log2),
    );
    let disk = folder.path().join("real.raw");
    let original = support::sha256(&disk);

    let text = ends(&coldfix(state.path(), &["diagnose"], &disk), 1);
    assert!(
        text.contains("fDenyTSConnections"),
        "names the evidence: {text}"
    );
    assert_eq!(support::sha256(&disk), original);

    ends(
        &coldfix(
            state.path(),
            &["repair", "--preset", "azure-internal-error", "--yes"],
            &disk,
        ),
        0,
    );
    let hive = extract(&disk, 36 << 20, folder.path(), SYSTEM);
    for version in ["1.0", "1.1", "1.2"] {
        let key = format!(
            r"ControlSet001\Control\SecurityProviders\SCHANNEL\Protocols\TLS {version}\Server"
        );
        for reader in Reader::ALL {
            let value = foreign::value(reader, &hive, &key, "Enabled");
            assert_eq!(
                value.map(|value| value.dword()),
                Some(1),
                "{reader:?} on TLS {version}"
            );
        }
    }
    let nla = format!("ControlSet001\\{LISTENER}");
    for reader in Reader::ALL {
        let value = foreign::value(reader, &hive, &nla, "UserAuthentication");
        assert_eq!(
            value.map(|value| value.dword()),
            Some(1),
            "{reader:?} on NLA"
        );
    }
    assert!(
        foreign::dump_key(Reader::Hivex, &hive, "ControlSet002").is_empty(),
        "no control set is invented"
    );

    let query = support::coldfix(state.path())
        .args(["reg", "query"])
        .arg(&disk)
        .args([
            &format!(r"HKLM\SYSTEM\CurrentControlSet\{LISTENER}"),
            "-v",
            "UserAuthentication",
        ])
        .output()
        .unwrap();
    assert!(ends(&query, 0).contains("0x1"), "reg query agrees");

    let repaired = support::sha256(&disk);
    ends(
        &coldfix(
            state.path(),
            &["repair", "--preset", "azure-internal-error", "--yes"],
            &disk,
        ),
        0,
    );
    assert_eq!(
        support::sha256(&disk),
        repaired,
        "a second repair writes nothing"
    );

    ends(&coldfix(state.path(), &["undo", "--yes"], &disk), 0);
    assert_eq!(
        support::sha256(&disk),
        original,
        "undo gives every bit back"
    );
}

/// The machine SID of real SAM hives is what the last 12 bytes of `Account\V` say to another reader.
#[test]
fn the_machine_sid_is_that_of_the_sam() {
    if !Reader::PythonRegistry.available() {
        return;
    }
    for name in ["sam-w7", "sam-w81", "sam-velo"] {
        let Some(packed) = support::data(&format!("hives/{name}.xz")) else {
            return;
        };
        let (folder, state) = (support::temporary(), support::temporary());
        let Some(target) = support::fixture("folder/healthy", folder.path()) else {
            return;
        };
        let sam = target.join("Windows/System32/config/SAM");
        std::fs::write(&sam, support::unxz(&packed)).unwrap();
        let value =
            foreign::value(Reader::PythonRegistry, &sam, r"SAM\Domains\Account", "V").unwrap();
        let tail = &value.data[value.data.len() - 12..];
        let part = |at: usize| u32::from_le_bytes(tail[at..at + 4].try_into().unwrap());
        let expected = format!("S-1-5-21-{}-{}-{}", part(0), part(4), part(8));
        let output = support::coldfix(state.path())
            .args(["diagnose", "--format", "json"])
            .arg(&target)
            .output()
            .unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            report["installations"][0]["machine_sid"], expected,
            "{name}"
        );
    }
}

/// A risk may be somebody's wish: a repair without names leaves it, ends with 1, and tells the command that cures it.
#[test]
fn a_repair_without_names_leaves_risks_and_tells_what_cures_them() {
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(target) = support::fixture("folder/listener-off", folder.path()) else {
        return;
    };
    let found = |code: i32| -> Vec<String> {
        let output = coldfix(state.path(), &["diagnose", "--format", "json"], &target);
        let report: serde_json::Value = serde_json::from_str(&ends(&output, code)).unwrap();
        let findings = report["findings"].as_array().unwrap();
        findings.iter().map(support::bench::named).collect()
    };
    let both = ["broken rdp-listener.invalid", "risk rdp-listener.adapter"];
    assert_eq!(found(1), both);

    let output = coldfix(state.path(), &["repair", "--yes"], &target);
    let text = ends(&output, 1);
    check_summary(&output);
    assert_eq!(found(1), both[1..]);
    assert!(
        text.contains("[rdp-listener.adapter], cured by --fix rdp-listener\n"),
        "{text}"
    );
    let command = text
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("coldfix repair "));
    let command = command.expect("the command that cures the rest");
    let last = text.lines().last().unwrap();
    let fits = format!("; next: {command}");
    assert!(
        last.ends_with(&fits) || last.chars().count() + fits.chars().count() > 200,
        "{last}"
    );

    // With nothing broken nothing is written, and it is said again.
    let before = support::sha256_tree(&target);
    let json = coldfix(
        state.path(),
        &["repair", "--yes", "--format", "json"],
        &target,
    );
    let report: serde_json::Value = serde_json::from_str(&ends(&json, 1)).unwrap();
    assert!(report["operation"].is_null());
    assert_eq!(report["verdict"], "at-risk");
    assert_eq!(report["commands"][0]["severity"], "risk");
    assert_eq!(report["commands"][0]["command"], command);
    assert_eq!(support::sha256_tree(&target), before);

    support::typed(&format!("{command} --yes"), state.path(), folder.path());
    assert!(found(0).is_empty());
}
