// SPDX-License-Identifier: GPL-2.0-or-later
//! Accounts and groups of real SAM hives, compared with what chntpw's tools, regipy and impacket read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use coldfix::device::Access;
use coldfix::sam::NtHash;
use coldfix::security::Sid;
use coldfix::target::Target;
use coldfix::windows::{Accounts, View, membership};
use support::foreign;

/// An account as several programs see it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    rid: u32,
    name: String,
    control: u32,
}

/// Puts real hives into an installation and reads it.
fn with_hives(hives: &[(&str, &str)], check: impl FnOnce(&Path, &coldfix::windows::Installation)) {
    let folder = support::temporary();
    if support::fixture("folder/healthy", folder.path()).is_none() {
        return;
    }
    let config = folder.path().join("healthy/Windows/System32/config");
    for (name, file) in hives {
        let Some(packed) = support::data(&format!("hives/{file}.xz")) else {
            return;
        };
        fs::write(config.join(name), support::unxz(&packed)).unwrap();
    }
    let target = Target::open(&folder.path().join("healthy"), Access::Read).unwrap();
    check(&config, &target.installation(None).unwrap());
}

fn lines(tool: &str, argument: &str, sam: &Path) -> Vec<Vec<String>> {
    let output = support::program(tool)
        .arg(argument)
        .arg(sam)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text
        .lines()
        .map(|line| line.split(':').map(str::to_owned).collect());
    let lines: Vec<Vec<String>> = lines
        .filter(|parts: &Vec<String>| parts.len() > 3)
        .collect();
    assert!(lines.len() > 2, "{tool}: {text}");
    lines
}

#[test]
fn accounts_groups_and_members_are_those_of_other_readers() {
    if !support::require("samusrgrp") || !support::require("sampasswd") {
        return;
    }
    let mut read = 0;
    for name in ["sam-w7", "sam-w81", "sam-velo"] {
        with_hives(&[("SAM", name)], |config, installation| {
            let view = View::new(&installation.registry, &[]);
            let accounts = Accounts::read(view).unwrap();
            assert_eq!(accounts.faults, [], "{name}");
            let sam = config.join("SAM");
            let hex = |text: &str| u32::from_str_radix(text, 16).unwrap();
            let mut expected: Vec<Seen> = lines("sampasswd", "-l", &sam)
                .into_iter()
                .map(|parts| Seen {
                    rid: hex(&parts[0]),
                    name: parts[1].clone(),
                    // 8000 is the tool's own word for: disabled.
                    control: hex(&parts[3]) & 0x7fff,
                })
                .collect();
            expected.sort();
            let mut found: Vec<Seen> = accounts
                .users
                .iter()
                .map(|account| Seen {
                    rid: account.rid,
                    name: account.name.clone(),
                    control: account.user.control() & 0x7fff,
                })
                .collect();
            found.sort();
            assert_eq!(found, expected, "{name}");

            let mut expected: BTreeMap<u32, Vec<String>> = BTreeMap::new();
            for parts in lines("samusrgrp", "-L", &sam) {
                let members = expected.entry(hex(&parts[0])).or_default();
                members.push(parts.last().unwrap().clone());
            }
            let mut found: BTreeMap<u32, Vec<String>> = BTreeMap::new();
            for group in &accounts.groups {
                assert_eq!(group.alias.rid(), group.rid);
                assert!(!group.alias.name().is_empty());
                let members = group.alias.members().iter().map(|sid| sid.to_string());
                if !group.alias.members().is_empty() {
                    found.insert(group.rid, members.collect());
                }
                // Both records agree.
                for member in group.alias.members() {
                    let groups = membership::groups_of(view, member).unwrap().unwrap();
                    assert!(groups.contains(&group.rid), "{name} {member}");
                }
            }
            assert_eq!(found, expected, "{name}");
            read += 1;
        });
    }
    assert!(read == 3 || !support::data_folder().is_dir());
}

/// What F says, as regipy reads it.
#[test]
fn times_and_counts_are_those_of_regipy() {
    if !support::require_python("regipy") {
        return;
    }
    let script = "
import sys, json
from regipy.registry import RegistryHive
from regipy.plugins.sam.samparse import SAMParsePlugin
plugin = SAMParsePlugin(RegistryHive(sys.argv[1]), as_json=True)
plugin.run()
print(json.dumps(plugin.entries, default=str))
";
    for name in ["sam-w7", "sam-w81", "sam-velo"] {
        with_hives(&[("SAM", name)], |config, installation| {
            let accounts = Accounts::read(View::new(&installation.registry, &[])).unwrap();
            let output = support::run(
                Command::new(foreign::python("regipy"))
                    .args(["-c", script])
                    .arg(config.join("SAM")),
            );
            let entries: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let entries = entries.as_array().unwrap();
            assert_eq!(entries.len(), accounts.users.len());
            for entry in entries {
                let rid = u32::try_from(entry["rid"].as_u64().unwrap()).unwrap();
                let account = accounts.users.iter().find(|user| user.rid == rid).unwrap();
                assert_eq!(entry["account_flags"], account.user.control() & 0xffff);
                let bad = account.user.bad_password_count();
                assert_eq!(entry["failed_login_count"], bad);
                let time = |filetime: u64| coldfix::windows::filetime_text(filetime);
                for (field, ours) in [
                    ("last_login", account.user.last_logon()),
                    ("password_last_set", account.user.password_last_set()),
                ] {
                    match entry[field].as_str() {
                        Some(text) => {
                            let text = format!("{} UTC", text[..19].replace('T', " "));
                            assert_eq!(text, time(ours), "{name} {rid} {field}");
                        }
                        None => assert_eq!(ours, 0, "{name} {rid} {field}: {entry}"),
                    }
                }
            }
        });
    }
}

/// The one machine whose SAM and SYSTEM we have: every stored hash decrypts to what impacket finds.
#[test]
fn hashes_of_a_real_machine_are_those_of_impacket() {
    if !support::require_python("impacket") {
        return;
    }
    let hives = [("SAM", "sam-w81"), ("SYSTEM", "system-w81-dirty-nolog")];
    with_hives(&hives, |config, installation| {
        let key = installation.hash_key().unwrap();
        let accounts = Accounts::read(View::new(&installation.registry, &[])).unwrap();
        let output = support::run(
            Command::new(foreign::python("impacket"))
                .arg(support::root().join("tests/oracles/sam_dump.py"))
                .arg(config.join("SAM"))
                .arg(config.join("SYSTEM")),
        );
        let text = String::from_utf8(output.stdout).unwrap();
        let mut blank = Vec::new();
        for line in text.lines() {
            let parts: Vec<&str> = line.split('\t').collect();
            let account = accounts.find(parts[0]).unwrap();
            assert_eq!(account.name, parts[1]);
            let stored = account.hash.as_ref().unwrap();
            let hash = key.decrypt(stored, account.rid).unwrap();
            let hash = hash.unwrap_or_else(|| NtHash::of(""));
            // A hash says of itself no more than whether it is another's.
            assert_eq!(hash.to_hex().as_str(), parts[2]);
            if account.is_blank(Some(&key)) == Some(true) {
                blank.push(account.rid);
            }
        }
        // Administrator has a hash, of an empty password.
        assert_eq!(blank, [500, 501]);
        let administrator = accounts.find("500").unwrap();
        assert_eq!(administrator.is_blank(None), None);
        assert_eq!(accounts.users.len(), text.lines().count());
    });
}

/// A SAM with more accounts than any machine has is read in bounded time, and said to be so.
#[test]
fn very_many_accounts_are_a_fault_and_take_no_hour() {
    with_hives(&[], |config, _| {
        let sid: Vec<u8> = "S-1-5-21-1-2-3".parse::<Sid>().unwrap().to_bytes();
        let mut v = vec![0; 0x30];
        v[0x10] = 24;
        v.extend(sid);
        let v: Vec<String> = v.iter().map(|byte| format!("{byte:02x}")).collect();
        let domain = r"HKEY_LOCAL_MACHINE\SAM\SAM\Domains\Account";
        let mut text = format!(
            "Windows Registry Editor Version 5.00\n[{domain}]\n\"V\"=hex:{}\n",
            v.join(",")
        );
        for rid in 0..20_500 {
            text.push_str(&format!("[{domain}\\Users\\{rid:08X}]\n"));
        }
        let source = config.join("SAM.reg");
        fs::write(&source, text).unwrap();
        support::run(
            support::program("/usr/bin/python3")
                .arg(support::root().join("fixtures/make_hive.py"))
                .args(["--prefix", r"HKEY_LOCAL_MACHINE\SAM", "-o"])
                .arg(config.join("SAM"))
                .arg(&source),
        );
        let root = config.ancestors().nth(3).unwrap();
        let target = Target::open(root, Access::Read).unwrap();
        let installation = target.installation(None).unwrap();
        let before = std::time::Instant::now();
        let accounts = Accounts::read(View::new(&installation.registry, &[])).unwrap();
        assert!(accounts.users.is_empty());
        let said =
            |fault: &&coldfix::windows::accounts::Fault| fault.found.contains("20000 are read");
        assert_eq!(accounts.faults.iter().filter(said).count(), 1);
        let seconds = before.elapsed().as_secs();
        assert!(seconds < 30, "{seconds} s");
    });
}
