// SPDX-License-Identifier: GPL-2.0-or-later
//! What leads to a user's session: faults found, cured, read back by other programs, and undone; and what real hives of
//! healthy machines get (nothing).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use support::bench::{Bench, cured, named, read};
use support::ends;
use support::foreign::{self, Reader};

const MANAGER: &str = r"ControlSet001\Control\Session Manager";
const SUBSYSTEMS: &str = r"ControlSet001\Control\Session Manager\SubSystems";
const WINLOGON: &str = r"Microsoft\Windows NT\CurrentVersion\Winlogon";
const USER: &str = r"Microsoft\Windows NT\CurrentVersion\ProfileList\S-1-5-21-1111111111-2222222222-3333333333-1001";
const SAFER: &str = r"Policies\Microsoft\Windows\Safer\CodeIdentifiers";

fn readers() -> bool {
    Reader::Hivex.available() && Reader::PythonRegistry.available()
}

fn text(kind: u32, text: &str) -> Option<(u32, String)> {
    Some((kind, text.to_owned()))
}

/// What may be somebody's wish is cured by name only.
const NAMED: [&str; 2] = ["--fix", "logon"];

#[test]
fn programs_at_boot_that_are_not_there() {
    let Some(bench) = Bench::new("folder/boot-execute-missing") else {
        return;
    };
    if !readers() {
        return;
    }
    cured(&bench, "risk logon.boot-execute", &NAMED, |bench| {
        let hive = bench.hive("SYSTEM");
        let entries = read(&hive, MANAGER, "BootExecute");
        assert_eq!(entries, text(7, "autocheck autochk *|autocheck cmd"));
        assert_eq!(read(&hive, MANAGER, "SetupExecute"), None);
        assert_eq!(bench.findings().0, 0);
    });
}

/// Without the check of disks nothing is broken; by name it comes back as the first entry.
#[test]
fn the_check_of_disks_comes_back_by_name() {
    let Some(bench) = Bench::new("folder/boot-execute-missing") else {
        return;
    };
    if !readers() {
        return;
    }
    let key = format!(r"HKLM\SYSTEM\{MANAGER}");
    let set = |data: &str| {
        let arguments = [
            key.as_str(),
            "-v",
            "BootExecute",
            "-t",
            "REG_MULTI_SZ",
            "-d",
            data,
            "-f",
            "--yes",
        ];
        ends(&bench.run("reg add", &arguments), 0);
    };
    ends(
        &bench.run("reg delete", &[&key, "-v", "SetupExecute", "--yes"]),
        0,
    );
    set("cmd.exe");
    let before = bench.sum();
    assert_eq!(bench.found(), ["notice logon.no-autocheck"]);
    ends(&bench.run("repair", &["--yes"]), 0);
    assert!(bench.sum() == before);
    ends(&bench.run("repair", &["--fix", "logon", "--yes"]), 0);
    let entries = read(&bench.hive("SYSTEM"), MANAGER, "BootExecute");
    assert_eq!(entries, text(7, "autocheck autochk *|cmd.exe"));
    assert_eq!(bench.found(), [""; 0]);

    set("gone.exe");
    ends(&bench.run("repair", &["--fix", "logon", "--yes"]), 0);
    let entries = read(&bench.hive("SYSTEM"), MANAGER, "BootExecute");
    assert_eq!(entries, text(7, "autocheck autochk *"));

    std::fs::remove_file(bench.target.join("Windows/System32/autochk.exe")).unwrap();
    let known = [
        key.as_str(),
        "-v",
        "ExcludeFromKnownDlls",
        "-t",
        "REG_MULTI_SZ",
        "-d",
        "ole32.dll",
        "--yes",
    ];
    ends(&bench.run("reg add", &known), 0);
    let found = ["notice logon.known-dlls", "notice logon.autochk-missing"];
    assert_eq!(bench.found(), found);
}

/// Nobody has the command line any more: it is reported, and none is invented.
#[test]
fn a_lost_subsystem_without_a_copy() {
    let Some(bench) = Bench::new("folder/csrss-lost") else {
        return;
    };
    let before = bench.sum();
    let (code, findings) = bench.findings();
    assert_eq!(code, 1);
    assert_eq!(named(&findings[0]), "broken logon.csrss");
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0]["fixes"].as_array().unwrap().len(), 0);
    ends(&bench.run("repair", &["--yes"]), 1);
    ends(&bench.run("repair", &["--fix", "logon", "--yes"]), 0);
    assert!(bench.sum() == before);
}

/// The last known good control set has it: every byte of it is taken over.
#[test]
fn a_lost_subsystem_comes_from_the_last_known_good_set() {
    for change in [
        &["reg delete", "-v", "Windows"][..],
        &[
            "reg add",
            "-v",
            "Windows",
            "-t",
            "REG_SZ",
            "-f",
            "-d",
            r"%SystemRoot%\system32\csrss.exe x",
        ],
        &[
            "reg add",
            "-v",
            "Windows",
            "-t",
            "REG_EXPAND_SZ",
            "-f",
            "-d",
            r"%SystemRoot%\system32\gone.exe x",
        ],
    ] {
        let Some(bench) = Bench::new("folder/last-known-good-002") else {
            return;
        };
        if !readers() {
            return;
        }
        let stock = read(&bench.hive("SYSTEM"), SUBSYSTEMS, "Windows").unwrap();
        let key = format!(r"HKLM\SYSTEM\{SUBSYSTEMS}");
        let arguments = [&[key.as_str()], &change[1..], &["--yes"]].concat();
        ends(&bench.run(change[0], &arguments), 0);
        cured(&bench, "broken logon.csrss", &[], |bench| {
            let now = read(&bench.hive("SYSTEM"), SUBSYSTEMS, "Windows").unwrap();
            assert_eq!(now, stock);
            assert_eq!(bench.found(), [""; 0]);
        });
    }
}

/// The program itself is gone: no command line cures that.
#[test]
fn a_subsystem_without_its_program() {
    let Some(bench) = Bench::new("folder/last-known-good-002") else {
        return;
    };
    bench.put("Windows/System32/csrss.exe", b"");
    let before = bench.sum();
    assert_eq!(bench.found(), ["broken logon.csrss"]);
    ends(&bench.run("repair", &["--yes"]), 1);
    assert!(bench.sum() == before);
}

#[test]
fn setup_mode_without_a_program() {
    let Some(bench) = Bench::new("folder/setup-mode-missing") else {
        return;
    };
    if !readers() {
        return;
    }
    cured(&bench, "broken logon.setup-mode", &[], |bench| {
        let hive = bench.hive("SYSTEM");
        assert_eq!(read(&hive, "Setup", "SetupType"), text(4, "0x0"));
        assert_eq!(read(&hive, "Setup", "CmdLine"), text(1, ""));
        assert_eq!(bench.found(), [""; 0]);
    });
}

#[test]
fn setup_mode_with_its_program_is_left_alone() {
    let Some(bench) = Bench::new("folder/setup-mode-running") else {
        return;
    };
    let before = bench.sum();
    assert_eq!(bench.found(), ["risk logon.setup-command"]);
    ends(&bench.run("repair", &["--yes"]), 1);
    ends(&bench.run("repair", &["--fix", "logon", "--yes"]), 0);
    assert!(bench.sum() == before);
}

#[test]
fn userinit_and_shell() {
    if !readers() {
        return;
    }
    let Some(bench) = Bench::new("folder/userinit-missing") else {
        return;
    };
    let was = read(&bench.hive("SOFTWARE"), WINLOGON, "Userinit")
        .unwrap()
        .1;
    assert!(!was.contains("userinit.exe"));
    cured(&bench, "broken logon.userinit", &[], |bench| {
        let list = read(&bench.hive("SOFTWARE"), WINLOGON, "Userinit");
        let kept = r"C:\Windows\system32\userinit.exe,C:\Windows\System32\cmd.exe,";
        assert_eq!(list, text(1, kept));
        assert_eq!(bench.found(), ["notice logon.extra-command"]);
    });
    let Some(bench) = Bench::new("folder/shell-missing") else {
        return;
    };
    cured(&bench, "broken logon.shell", &[], |bench| {
        let list = read(&bench.hive("SOFTWARE"), WINLOGON, "Shell");
        assert_eq!(list, text(1, "explorer.exe"));
        assert_eq!(bench.found(), [""; 0]);
    });
    // A kiosk whose program is there, and a path to a drive that is not here.
    bench.put("kiosk/kiosk.exe", b"MZ");
    assert_eq!(bench.found(), ["notice logon.shell-other"]);
    let key = format!(r"HKLM\SOFTWARE\{WINLOGON}");
    let set = |name: &str, data: &str| {
        let arguments = [
            key.as_str(),
            "-v",
            name,
            "-t",
            "REG_SZ",
            "-d",
            data,
            "-f",
            "--yes",
        ];
        ends(&bench.run("reg add", &arguments), 0);
    };
    set("Shell", r"Z:\kiosk.exe");
    assert_eq!(bench.found(), ["notice logon.shell-other"]);
    set("Shell", "EXPLORER");
    set("Userinit", "");
    let before = bench.sum();
    assert_eq!(bench.found(), ["broken logon.userinit"]);
    // Without the program itself the list would lead nowhere again.
    std::fs::remove_file(bench.target.join("Windows/System32/userinit.exe")).unwrap();
    ends(&bench.run("repair", &["--yes"]), 1);
    bench.put(
        "Windows/System32/userinit.exe",
        &[b"MZ".as_slice(), &[0; 510]].concat(),
    );
    assert!(bench.sum() == before);
    ends(&bench.run("repair", &["--yes"]), 0);
    let list = read(&bench.hive("SOFTWARE"), WINLOGON, "Userinit");
    assert_eq!(list, text(1, r"C:\Windows\system32\userinit.exe,"));
}

/// A Server Core has no desktop.
#[test]
fn server_core_needs_no_explorer() {
    let Some(bench) = Bench::new("folder/shell-missing") else {
        return;
    };
    let key = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion";
    let arguments = [
        key,
        "-v",
        "InstallationType",
        "-t",
        "REG_SZ",
        "-d",
        "Server Core",
        "-f",
        "--yes",
    ];
    ends(&bench.run("reg add", &arguments), 0);
    assert_eq!(bench.found(), [""; 0]);
}

#[test]
fn a_profile_that_was_put_aside() {
    let Some(bench) = Bench::new("folder/profile-twin") else {
        return;
    };
    if !readers() {
        return;
    }
    cured(&bench, "risk logon.profile-twin", &NAMED, |bench| {
        let hive = bench.hive("SOFTWARE");
        let value = |key: &str, name: &str| read(&hive, key, name);
        assert_eq!(
            value(USER, "ProfileImagePath"),
            text(2, r"C:\Users\Default")
        );
        assert_eq!(value(USER, "State"), text(4, "0x8000"));
        assert_eq!(value(USER, "RefCount"), text(4, "0x0"));
        assert_eq!(value(USER, "Sid"), text(3, "[01, 05]"));
        assert_eq!(
            value(&format!(r"{USER}\Preference"), "Kept"),
            text(1, "yes")
        );
        let aside = format!("{USER}.old");
        assert_eq!(value(&aside, "ProfileImagePath"), text(2, r"C:\Users\TEMP"));
        assert_eq!(value(&aside, "State"), text(4, "0x8"));
        let backup = foreign::dump_key(Reader::Hivex, &hive, &format!("{USER}.bak"));
        assert!(backup.is_empty(), "{backup:?}");
        assert_eq!(bench.found(), [""; 0]);
    });
    // Somebody has tried before.
    let key = format!(r"HKLM\SOFTWARE\{USER}.old");
    ends(&bench.run("reg add", &[&key, "--yes"]), 0);
    let before = bench.sum();
    assert_eq!(bench.found(), ["risk logon.profile-twin-left"]);
    ends(&bench.run("repair", &["--yes"]), 1);
    assert!(bench.sum() == before);
}

#[test]
fn a_profile_marked_as_temporary() {
    let Some(bench) = Bench::new("folder/profile-temporary") else {
        return;
    };
    if !readers() {
        return;
    }
    cured(&bench, "risk logon.profile-temporary", &NAMED, |bench| {
        let hive = bench.hive("SOFTWARE");
        assert_eq!(read(&hive, USER, "State"), text(4, "0x100"));
        assert_eq!(read(&hive, USER, "RefCount"), text(4, "0x0"));
        assert_eq!(bench.found(), [""; 0]);
    });
    std::fs::remove_dir_all(bench.target.join("Users")).unwrap();
    let before = bench.sum();
    assert_eq!(bench.found(), ["risk logon.profile-temporary-left"]);
    ends(&bench.run("repair", &["--yes"]), 1);
    assert!(bench.sum() == before);
}

/// Security of somebody's: reported, and taken away by name only.
#[test]
fn policies_that_block_programs() {
    if !readers() {
        return;
    }
    let Some(bench) = Bench::new("folder/software-restriction") else {
        return;
    };
    bench.put(
        "Windows/System32/GroupPolicy/Machine/Registry.pol",
        b"PReg\x01\0\0\0",
    );
    bench.put("Windows/System32/AppLocker/one", b"1");
    std::fs::create_dir_all(bench.target.join("Windows/System32/GroupPolicyUsers")).unwrap();
    let before = bench.sum();
    assert_eq!(bench.found(), ["risk policy-block.programs"]);
    ends(&bench.run("repair", &["--yes"]), 1);
    assert!(bench.sum() == before, "not without its name");
    let fix = ["--fix", "policy-block"];
    cured(&bench, "risk policy-block.programs", &fix, |bench| {
        let hive = bench.hive("SOFTWARE");
        assert_eq!(read(&hive, SAFER, "DefaultLevel"), None);
        assert_eq!(read(&hive, SAFER, "authenticodeenabled"), text(4, "0x0"));
        let system = bench.target.join("Windows/System32");
        assert!(system.join("GroupPolicy.old/Machine/Registry.pol").exists());
        assert!(system.join("AppLocker.old/one").exists());
        assert!(!system.join("GroupPolicy").exists());
        assert!(system.join("GroupPolicyUsers").exists(), "it holds no file");
    });
    // A rule for the Windows folder makes it a policy like any other.
    let rule = format!(r"HKLM\SOFTWARE\{SAFER}\262144\Paths\{{one}}");
    let path = r"%HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\SystemRoot%";
    let arguments = [
        rule.as_str(),
        "-v",
        "ItemData",
        "-t",
        "REG_EXPAND_SZ",
        "-d",
        path,
        "--yes",
    ];
    ends(&bench.run("reg add", &arguments), 0);
    assert_eq!(bench.found(), ["notice policy-block.limits"]);
}

#[test]
fn applocker() {
    if !readers() {
        return;
    }
    let Some(bench) = Bench::new("folder/applocker-blocks") else {
        return;
    };
    let found = ["risk policy-block.programs", "notice policy-block.limits"];
    assert_eq!(bench.found(), found);
    let fix = ["--fix", "policy-block"];
    let said = ends(
        &bench.run("repair", &[&fix[..], &["--dry-run"]].concat()),
        0,
    );
    assert!(said.contains("AppLocker no longer limit"), "{said}");
    cured(&bench, found[0], &fix, |bench| {
        let hive = bench.hive("SOFTWARE");
        let left = foreign::dump_key(Reader::Hivex, &hive, r"Policies\Microsoft\Windows\SrpV2");
        let collections: Vec<&str> = left
            .keys()
            .filter_map(|key| key.split("SrpV2\\").nth(1))
            .filter(|key| !key.contains('\\'))
            .collect();
        assert_eq!(collections, ["Dll", "Msi"]);
        assert_eq!(bench.found(), [""; 0]);
    });
    // What lets Windows' own programs run makes it a policy like any other.
    let rule = r"HKLM\SOFTWARE\Policies\Microsoft\Windows\SrpV2\Exe\{11111111-0000-0000-0000-000000000009}";
    for condition in [
        r#"Path="%WINDIR%\*""#,
        r#"PublisherName="O=MICROSOFT CORPORATION, L=REDMOND, S=WASHINGTON, C=US""#,
    ] {
        let value = format!(r#"<Rule Action="Allow"><Condition {condition}/></Rule>"#);
        let arguments = [
            rule, "-v", "Value", "-t", "REG_SZ", "-d", &value, "-f", "--yes",
        ];
        ends(&bench.run("reg add", &arguments), 0);
        assert_eq!(bench.found(), ["notice policy-block.limits"], "{condition}");
    }
}

/// Commands of a local policy: the folder is put aside, programs' limits are not.
#[test]
fn scripts_at_start_up() {
    let Some(bench) = Bench::new("folder/healthy") else {
        return;
    };
    let list = "\u{feff}\r\n[Startup]\r\n0CmdLine=once.cmd\r\n0Parameters=\r\n[Shutdown]\r\n0CmdLine=x\r\n";
    let wide: Vec<u8> = list.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let path = "Windows/System32/GroupPolicy/Machine/Scripts/scripts.ini";
    bench.put(path, &wide);
    bench.put("Windows/System32/AppLocker/one", b"1");
    bench.put("Windows/System32/GroupPolicy.old/x", b"earlier");
    let fix = ["--fix", "policy-block"];
    cured(&bench, "notice policy-block.scripts", &fix, |bench| {
        let system = bench.target.join("Windows/System32");
        assert!(
            system
                .join("GroupPolicy.old2/Machine/Scripts/scripts.ini")
                .exists()
        );
        assert!(system.join("AppLocker/one").exists());
        assert_eq!(bench.found(), [""; 0]);
    });
    bench.put(path, b"[Shutdown]\r\n0CmdLine=x\r\n");
    assert_eq!(bench.found(), [""; 0]);
}

/// The same on an NTFS volume, all at once.
#[test]
fn a_disk_with_all_of_it() {
    let Some(bench) = Bench::new("bare-logon.raw") else {
        return;
    };
    if !readers() || !support::require("icat") {
        return;
    }
    let fixes = [
        "--fix",
        "logon",
        "--fix",
        "policy-block",
        "--fix",
        "network-provider",
        "--fix",
        "network-dhcp",
    ];
    cured(&bench, "broken logon.userinit", &fixes, |bench| {
        let (system, software) = (bench.hive("SYSTEM"), bench.hive("SOFTWARE"));
        assert_eq!(
            read(&system, MANAGER, "BootExecute"),
            text(7, "autocheck autochk *|autocheck cmd")
        );
        assert_eq!(read(&software, USER, "State"), text(4, "0x8000"));
        if support::require_python("regipy") {
            let said = foreign::regipy_dump(&software, WINLOGON);
            assert!(said.contains("system32\\\\userinit.exe,"), "{said}");
            let said =
                foreign::regipy_dump(&system, r"ControlSet001\Control\NetworkProvider\Order");
            assert!(said.contains("\"RDPNP,LanmanWorkstation\""), "{said}");
        }
        let script = foreign::ntfscat(
            &bench.target,
            "Windows/System32/GroupPolicy.old/Machine/Scripts/scripts.ini",
        );
        assert!(script.starts_with(b"[Logon]"));
        assert_eq!(bench.found(), ["notice logon.extra-command"]);
    });
}

/// Every hive that a real Windows left, with everything that these checks say of it. Clients of five releases; none was
/// switched off because of these things. Programs cannot be looked up beside hives alone, so that none is missing.
#[test]
fn real_hives_get_no_false_finding() {
    const OURS: [&str; 17] = [
        "services",
        "rpc-host",
        "logon",
        "policy-block",
        "control-set",
        "registry-backup",
        "network-dhcp",
        "network-dns",
        "network-provider",
        "network-adapter",
        "network-mtu",
        "network-proxy",
        "port-holder",
        "migration",
        "azure-agent",
        "clock",
        "temp-folder",
    ];
    // A damaged hive has no copies here. A SOFTWARE that was not copied is not lost.
    const LOST: &str = "notice registry-backup.none";
    let cases: [(&str, Option<&str>, &[&str]); 6] = [
        // RAS adapters have EnableDHCP 0 and 0.0.0.0: no address. CmdLine is a list of texts, and inert.
        ("system-xp", None, &[]),
        // Two network cards with addresses and name servers of a company's network, set by hand.
        (
            "system-w7x86",
            Some("software-w7x86"),
            &[
                "notice network-dhcp.static",
                "notice network-adapter.several",
                "notice network-dns.by-hand",
            ],
        ),
        // VBoxSF stands first in the list of providers, and belongs there.
        (
            "system-w81-dirty-nolog",
            Some("software-w81-dirty-nolog"),
            &[],
        ),
        // vmhgfs too; VMware's services start on what HardwareConfig says is VMware.
        ("system-w10-clean", None, &[]),
        // ndiscap 3 and wanarp 2, as that build has them.
        ("system-w10-dirty", None, &[]),
        // Damaged: what can still be read gives no further finding.
        ("system-xp-corrupt", None, &[LOST]),
    ];
    for (system, software, expected) in cases {
        let bench = Bench::empty();
        let config = "Windows/System32/config";
        for (name, hive) in [("SYSTEM", Some(system)), ("SOFTWARE", software)] {
            let Some(hive) = hive else { continue };
            let Some(packed) = support::data(&format!("hives/{hive}.xz")) else {
                return;
            };
            bench.put(&format!("{config}/{name}"), &support::unxz(&packed));
        }
        let found: Vec<String> = bench
            .found()
            .into_iter()
            .filter(|finding| {
                let id = finding.split(' ').nth(1).unwrap();
                OURS.contains(&id.split('.').next().unwrap())
            })
            .collect();
        assert_eq!(found, expected, "{system}");
    }
}

/// The descriptor of a key as python-registry's record has it, in hexadecimal.
fn key_security(hive: &std::path::Path, key: &str) -> String {
    const SCRIPT: &str = "import sys; from Registry import Registry; \
        record = Registry.Registry(sys.argv[1]).open(sys.argv[2])._nkrecord.sk_record(); \
        print(record.unpack_binary(0x14, record.unpack_dword(0x10)).hex())";
    let output = support::run(
        std::process::Command::new(foreign::python("Registry"))
            .args(["-c", SCRIPT])
            .arg(hive)
            .arg(key),
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A profile's key keeps its permissions when it changes places.
#[test]
fn a_profile_keeps_the_permissions_of_its_key() {
    let Some(bench) = Bench::new("folder/profile-twin") else {
        return;
    };
    if !readers() {
        return;
    }
    let backup = format!("{USER}.bak");
    let fixtures = support::root().join("fixtures");
    support::run(
        support::program("/usr/bin/python3")
            .arg(fixtures.join("make_hive.py"))
            .args([
                "--prefix",
                r"HKEY_LOCAL_MACHINE\SOFTWARE",
                "--pad",
                "262144",
                "-o",
            ])
            .arg(bench.hive("SOFTWARE"))
            .args(["--protect", &backup])
            .arg(fixtures.join("software.reg"))
            .arg(fixtures.join("broken/profile-twin.reg")),
    );
    let hive = bench.hive("SOFTWARE");
    let (own, other) = (key_security(&hive, &backup), key_security(&hive, USER));
    assert_ne!(own, other);
    let inner = key_security(&hive, &format!(r"{backup}\Preference"));
    assert_eq!(inner, other);
    cured(&bench, "risk logon.profile-twin", &NAMED, |bench| {
        let hive = bench.hive("SOFTWARE");
        assert_eq!(key_security(&hive, USER), own);
        assert_eq!(key_security(&hive, &format!(r"{USER}\Preference")), inner);
        assert_eq!(key_security(&hive, &format!("{USER}.old")), other);
    });
}

/// A value of the wrong type is reported, and neither a repair nor the fix by name writes over it.
#[test]
fn values_of_another_type_are_never_overwritten() {
    let session = format!(r"HKLM\SYSTEM\{MANAGER}");
    let subsystems = format!(r"HKLM\SYSTEM\{SUBSYSTEMS}");
    let winlogon = format!(r"HKLM\SOFTWARE\{WINLOGON}");
    let safer = format!(r"HKLM\SOFTWARE\{SAFER}");
    let setup = r"HKLM\SYSTEM\Setup".to_owned();
    let order = r"HKLM\SYSTEM\ControlSet001\Control\NetworkProvider\Order".to_owned();
    let cases = [
        (
            &session,
            "BootExecute",
            "REG_SZ",
            "gone.exe",
            "risk logon.unclear",
            "logon",
        ),
        (
            &session,
            "SetupExecute",
            "REG_DWORD",
            "1",
            "risk logon.unclear",
            "logon",
        ),
        (
            &subsystems,
            "Windows",
            "REG_BINARY",
            "00ff",
            "broken logon.csrss-unclear",
            "logon",
        ),
        (
            &setup,
            "SetupType",
            "REG_SZ",
            "2",
            "risk logon.unclear",
            "logon",
        ),
        (
            &winlogon,
            "Userinit",
            "REG_BINARY",
            "41",
            "risk logon.unclear",
            "logon",
        ),
        (
            &winlogon,
            "Shell",
            "REG_DWORD",
            "1",
            "risk logon.unclear",
            "logon",
        ),
        (
            &safer,
            "DefaultLevel",
            "REG_SZ",
            "0",
            "risk policy-block.unclear",
            "policy-block",
        ),
        (
            &order,
            "ProviderOrder",
            "REG_DWORD",
            "1",
            "risk network-provider.unclear",
            "network-provider",
        ),
    ];
    for (key, name, kind, data, expected, fix) in cases {
        let Some(bench) = Bench::new("folder/healthy") else {
            return;
        };
        let arguments = [key, "-v", name, "-t", kind, "-d", data, "-f", "--yes"];
        ends(&bench.run("reg add", &arguments), 0);
        let before = bench.sum();
        assert_eq!(bench.found(), [expected], "{name}");
        ends(&bench.run("repair", &["--yes"]), 1);
        ends(&bench.run("repair", &["--fix", fix, "--yes"]), 0);
        assert!(bench.sum() == before, "{name}");
    }
}

/// Where bare names are looked for, and what cannot be looked up.
#[test]
fn programs_are_looked_for_where_windows_looks() {
    let Some(bench) = Bench::new("folder/healthy") else {
        return;
    };
    let set = |key: &str, name: &str, data: &str| {
        let arguments = [key, "-v", name, "-t", "REG_SZ", "-d", data, "-f", "--yes"];
        ends(&bench.run("reg add", &arguments), 0);
    };
    let winlogon = format!(r"HKLM\SOFTWARE\{WINLOGON}");
    let environment = r"HKLM\SYSTEM\ControlSet001\Control\Session Manager\Environment";
    let broken = ["broken logon.shell"];
    let other = ["notice logon.shell-other"];
    set(&winlogon, "Shell", "kiosk");
    assert_eq!(bench.found(), broken, "nowhere");
    bench.put("tools/kiosk.exe", b"MZ");
    set(environment, "Path", r"%SystemRoot%\system32;C:\Tools");
    assert_eq!(bench.found(), other, "in a folder of Path");
    std::fs::remove_file(bench.target.join("tools/kiosk.exe")).unwrap();
    assert_eq!(bench.found(), broken);
    set(environment, "Path", r"%SystemRoot%\system32;D:\Tools");
    assert_eq!(bench.found(), other, "perhaps on another drive");
    set(environment, "Path", "");
    for unknown in [
        r"\\server\share\kiosk.exe",
        r"%ProgramFiles%\kiosk.exe",
        r"D:\kiosk.exe",
    ] {
        set(&winlogon, "Shell", unknown);
        assert_eq!(bench.found(), other, "{unknown}");
    }
    bench.put("Program Files/My Kiosk/kiosk.exe", b"MZ");
    for there in [
        r"C:\Program Files\My Kiosk\kiosk.exe -full C:\x",
        r#""C:\Program Files\My Kiosk\kiosk.exe" -full"#,
        r"\??\C:\Program Files\My Kiosk\kiosk.exe",
        r"%SystemDrive%\Program Files\My Kiosk\kiosk",
    ] {
        set(&winlogon, "Shell", there);
        assert_eq!(bench.found(), other, "{there}");
    }
    set(
        &winlogon,
        "Shell",
        r"C:\Program Files\Other Kiosk\kiosk.exe",
    );
    assert_eq!(bench.found(), broken);
    // Behind a link nothing is missing.
    #[cfg(unix)]
    {
        let link = bench.target.join("Program Files/Other Kiosk");
        std::os::unix::fs::symlink("/nowhere", link).unwrap();
        assert_eq!(bench.found(), other);
    }
}

/// Lists longer than any Windows has: told, left alone, and soon done with.
#[test]
fn endless_lists_are_left_alone() {
    let Some(bench) = Bench::new("folder/healthy") else {
        return;
    };
    let many = |text: &str, count: usize| vec![text; count].join(",");
    let lines = format!(
        "Windows Registry Editor Version 5.00\r\n[HKEY_LOCAL_MACHINE\\SYSTEM\\{order}]\r\n\"ProviderOrder\"=\"{}\"\r\n\
         [HKEY_LOCAL_MACHINE\\SYSTEM\\{environment}]\r\n\"Path\"=\"{}\"\r\n\
         [HKEY_LOCAL_MACHINE\\SYSTEM\\{MANAGER}]\r\n\"BootExecute\"=hex(7):{}\r\n\
         [HKEY_LOCAL_MACHINE\\SOFTWARE\\{WINLOGON}]\r\n\"Userinit\"=\"{}\"\r\n\"Shell\"=\"{}\"\r\n",
        many("gone", 50_000),
        vec![r"C:\\none"; 20_000].join(";"),
        many("78,00,00,00", 20_000) + ",00,00",
        many("gone.exe", 50_000),
        vec!["gone and gone"; 32].join(","),
        order = r"ControlSet001\Control\NetworkProvider\Order",
        environment = r"ControlSet001\Control\Session Manager\Environment",
    );
    let file = bench.target.with_extension("reg");
    std::fs::write(&file, lines).unwrap();
    ends(
        &bench.run("reg import", &[file.to_str().unwrap(), "--yes"]),
        0,
    );
    let before = bench.sum();
    let found = bench.found();
    assert_eq!(
        found,
        [
            "risk logon.unclear",
            "risk network-provider.unclear",
            "notice logon.shell-other"
        ]
    );
    ends(
        &bench.run(
            "repair",
            &["--fix", "logon", "--fix", "network-provider", "--yes"],
        ),
        0,
    );
    assert!(bench.sum() == before);
}
