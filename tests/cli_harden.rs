// SPDX-License-Identifier: GPL-2.0-or-later
//! What is done by name: fixes that change no fault, what lowers security and what puts it back, and the presets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use support::ends;
use support::foreign::{self, Reader};
use support::keys::{FOLDER, IIS_KEY, RDP_KEY, descriptors, judges, key};
use support::machine::Machine;

const LISTENER: &str = r"ControlSet001\Control\Terminal Server\WinStations\RDP-Tcp";
const POLICY: &str = r"Policies\Microsoft\Windows NT\Terminal Services";
const CRASH: &str = r"ControlSet001\Control\CrashControl";

/// What a healthy disk gets from `arguments`: nothing.
#[track_caller]
fn writes_nothing(arguments: &[&str]) {
    let Some(machine) = Machine::new("healthy") else {
        return;
    };
    let original = machine.sums();
    ends(&machine.repair(arguments), 0);
    assert_eq!(machine.sums(), original, "{arguments:?}");
}

#[test]
fn a_healthy_disk_gets_no_write() {
    writes_nothing(&["--fix", "harden"]);
    for fix in [
        "fips=off",
        "domain-credentials",
        "guest-logons",
        "cipher-policy",
        "udp-transport=on",
        "keep-alive=off",
        "process-dumps=off",
        "crash-restart=on",
        "rdp-enable",
        "rdp-listener",
        "nla=on",
        "group-policy=release",
    ] {
        writes_nothing(&["--fix", fix]);
    }
    let Some(machine) = Machine::new("healthy") else {
        return;
    };
    assert_eq!(machine.found(true), Vec::<String>::new());
}

/// Everything lowered by name and by hand is told, and put back to what it was.
#[test]
fn what_lowers_security_is_told_and_put_back() {
    if !Reader::Hivex.available() {
        return;
    }
    let Some(machine) = Machine::new("healthy") else {
        return;
    };
    let before = machine.dumps();
    let lower = [
        "--fix",
        "nla=off",
        "--fix",
        "tls=1.0,1.1",
        "--fix",
        "firewall-off",
        "--fix",
        "group-policy=hold",
    ];
    ends(&machine.repair(&lower), 0);
    machine.import(&format!(
        concat!(
            "[HKEY_LOCAL_MACHINE\\SYSTEM\\{}]\n\"SecurityLayer\"=dword:00000000\n\"MinEncryptionLevel\"=dword:00000001\n\n",
            "[HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001\\Control\\Lsa]\n\"LimitBlankPasswordUse\"=dword:00000000\n"
        ),
        LISTENER
    ));
    let lowered = machine.found(true);
    for id in [
        "harden.nla",
        "harden.encryption",
        "harden.old-tls",
        "harden.blank-passwords",
        "firewall.off",
        "group-policy.held",
    ] {
        assert!(lowered.iter().any(|found| found == id), "{id}: {lowered:?}");
    }
    assert_eq!(lowered.len(), 6, "{lowered:?}");
    ends(&machine.run(&["diagnose"]), 0);

    ends(&machine.repair(&["--fix", "harden"]), 0);
    assert_eq!(machine.found(true), Vec::<String>::new());
    for (then, now) in before.iter().zip(&machine.dumps()) {
        assert_eq!(foreign::differences(then, now), Vec::<String>::new());
    }
    let hardened = machine.sums();
    ends(&machine.repair(&["--fix", "harden"]), 0);
    assert_eq!(machine.sums(), hardened, "a second time writes nothing");
}

/// By policy, with the other place of CredSSP's setting, and with values beside those that are deleted.
#[test]
fn what_a_policy_lowers() {
    let text = format!(
        concat!(
            "[HKEY_LOCAL_MACHINE\\SOFTWARE\\{0}]\n\"UserAuthentication\"=dword:00000000\n\"SecurityLayer\"=dword:00000000\n\n",
            "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Policies\\System\\CredSSP\\Parameters]\n\"AllowEncryptionOracle\"=dword:00000002\n\n",
            "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Microsoft\\Windows\\CredentialsDelegation]\n\"AllowEncryptionOracle\"=dword:00000002\n\n",
            "[HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001\\Control\\SecurityProviders\\SCHANNEL\\Protocols\\TLS 1.0\\Server]\n\"Enabled\"=dword:ffffffff\n\"Other\"=\"x\"\n\n",
            "[HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001\\Control\\SecurityProviders\\SCHANNEL\\Protocols\\TLS 1.0\\Client]\n\"Enabled\"=dword:00000000\n\n",
            "[HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001\\Control\\SecurityProviders\\SCHANNEL\\Protocols\\TLS 1.1\\Server]\n\"DisabledByDefault\"=dword:00000000\n\n",
            "[HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001\\Control\\SecurityProviders\\SCHANNEL\\Protocols\\SSL 3.0\\Server]\n\"Enabled\"=dword:00000000\n\"DisabledByDefault\"=dword:00000000\n",
        ),
        POLICY
    );
    let Some(machine) = Machine::with(&text) else {
        return;
    };
    let mut lowered = machine.found(true);
    lowered.sort();
    assert_eq!(
        lowered,
        [
            "harden.credssp",
            "harden.encryption",
            "harden.nla",
            "harden.old-tls"
        ]
    );
    ends(&machine.repair(&["--fix", "harden"]), 0);
    assert_eq!(machine.found(true), Vec::<String>::new());
    if !Reader::Hivex.available() {
        return;
    }
    let protocols = r"ControlSet001\Control\SecurityProviders\SCHANNEL\Protocols";
    let left = foreign::dump_key(Reader::Hivex, &machine.hive("SYSTEM"), protocols);
    let left: Vec<String> = left
        .iter()
        .flat_map(|(key, found)| {
            let key = key.rsplit("Protocols").next().unwrap().to_owned();
            let values = found.values.iter();
            values.map(move |value| format!(r"{key}\{}", value.name))
        })
        .collect();
    assert_eq!(
        left,
        [
            r"\SSL 3.0\Server\DisabledByDefault",
            r"\SSL 3.0\Server\Enabled",
            r"\TLS 1.0\Client\Enabled",
            r"\TLS 1.0\Server\Other",
        ]
    );
}

/// The over-broad grant of the documented procedure: told, and put back for the folder and Remote Desktop's key.
#[test]
fn permissions_of_machine_keys_are_put_back() {
    if !judges() {
        return;
    }
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(disk) = support::fixture("keys-healthy.raw", folder.path()) else {
        return;
    };
    let run = |arguments: &[&str]| {
        support::coldfix(state.path())
            .arg(arguments[0])
            .arg(&disk)
            .args(&arguments[1..])
            .output()
            .unwrap()
    };
    let paths = [FOLDER.to_owned(), key(RDP_KEY), key(IIS_KEY)];
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let before = descriptors(&disk, &paths);
    let text = ends(&run(&["repair", "--yes", "--fix", "harden"]), 0);
    assert!(text.contains("nothing to change"), "{text}");
    ends(
        &run(&["repair", "--yes", "--fix", "machine-keys=documented"]),
        0,
    );
    let text = ends(&run(&["diagnose"]), 0);
    assert!(text.contains("harden.machine-keys"), "{text}");
    let broad = descriptors(&disk, &paths);
    let text = ends(&run(&["repair", "--yes", "--fix", "harden"]), 0);
    assert!(text.contains("other keys in MachineKeys keep"), "{text}");
    let after = descriptors(&disk, &paths);
    assert_eq!(
        after[..2],
        before[..2],
        "the folder and Remote Desktop's key"
    );
    assert_eq!(after[2], broad[2], "another key keeps what it has");
    assert_ne!(broad[2], before[2]);
    let text = ends(&run(&["diagnose"]), 0);
    assert!(!text.contains("harden.machine-keys"), "{text}");
    // Not ntfssecaudit: version 1.5.0 reads on behind the tenth entry of the copy of `$SDS`, and falls.
    for (tool, arguments) in [
        ("ntfsresize", &["-i", "-f"][..]),
        ("ntfsfix", &["-n"]),
        ("fls", &["-r"]),
    ] {
        support::run(support::program(tool).args(arguments).arg(&disk));
    }
}

#[test]
fn sessions_and_transport_by_name() {
    if !Reader::Hivex.available() {
        return;
    }
    let Some(machine) = Machine::with(&format!(
        "[HKEY_LOCAL_MACHINE\\SYSTEM\\{LISTENER}]\n\"MaxConnectionTime\"=dword:0000ea60\n\"fInheritMaxSessionTime\"=dword:00000000\n\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\{POLICY}]\n\"MaxIdleTime\"=dword:0000ea60\n"
    )) else {
        return;
    };
    assert_eq!(machine.found(true), ["rdp-sessions.limited"]);
    let original = machine.sums();
    ends(&machine.repair(&["--fix", "rdp-sessions"]), 0);
    assert_eq!(machine.found(true), Vec::<String>::new());
    for (name, value) in [
        ("KeepAliveTimeout", 1),
        ("fInheritReconnectSame", 1),
        ("fReconnectSame", 0),
        ("fInheritMaxSessionTime", 1),
        ("MaxConnectionTime", 0),
        ("MaxInstanceCount", u32::MAX),
        ("fQueryUserConfigFromLocalMachine", 1),
        ("SecurityLayer", 2),
    ] {
        assert_eq!(
            machine.dword("SYSTEM", LISTENER, name),
            Some(value),
            "{name}"
        );
    }
    for (name, value) in [
        ("KeepAliveEnable", Some(1)),
        ("KeepAliveInterval", Some(1)),
        ("fDisableAutoReconnect", Some(0)),
        ("MaxIdleTime", None),
    ] {
        assert_eq!(machine.dword("SOFTWARE", POLICY, name), value, "{name}");
    }
    ends(
        &machine.repair(&["--fix", "udp-transport=off", "--fix", "keep-alive=5"]),
        0,
    );
    assert_eq!(
        machine.dword("SOFTWARE", POLICY, "SelectTransport"),
        Some(1)
    );
    assert_eq!(
        machine.dword("SOFTWARE", POLICY, "KeepAliveInterval"),
        Some(5)
    );
    ends(
        &machine.repair(&["--fix", "udp-transport=on", "--fix", "keep-alive=off"]),
        0,
    );
    assert_eq!(machine.dword("SOFTWARE", POLICY, "SelectTransport"), None);
    assert_eq!(machine.dword("SOFTWARE", POLICY, "KeepAliveEnable"), None);
    for _ in 0..3 {
        ends(&machine.run(&["undo", "--yes"]), 0);
    }
    assert_eq!(machine.sums(), original, "undo gives every bit back");

    // Without a listener no policy is left behind for it.
    let Some(machine) = Machine::new("listener-missing") else {
        return;
    };
    let original = machine.sums();
    ends(&machine.repair(&["--fix", "rdp-sessions"]), 0);
    assert_eq!(machine.sums(), original);
}

#[test]
fn dumps_by_name() {
    if !Reader::Hivex.available() {
        return;
    }
    let Some(machine) = Machine::with(&format!(
        "[HKEY_LOCAL_MACHINE\\SYSTEM\\{CRASH}]\n\"AutoReboot\"=dword:00000000\n\"DedicatedDumpFile\"=\"D:\\\\dump.sys\"\n"
    )) else {
        return;
    };
    assert_eq!(machine.found(true), ["crash-dump.stays"]);
    let text = ends(&machine.repair(&["--fix", "crash-dump=kernel"]), 0);
    assert!(text.contains(r"D:\dump.sys"), "{text}");
    assert!(text.contains("crash-restart"), "{text}");
    assert_eq!(machine.dword("SYSTEM", CRASH, "CrashDumpEnabled"), Some(2));
    assert_eq!(machine.dword("SYSTEM", CRASH, "NMICrashDump"), Some(1));
    let dedicated = || foreign::hivex_value(&machine.hive("SYSTEM"), CRASH, "DedicatedDumpFile");
    ends(&machine.repair(&["--fix", r"dedicated-dump=E:\dd.sys"]), 0);
    assert_eq!(dedicated().unwrap().text(), r"E:\dd.sys");
    ends(&machine.repair(&["--fix", "dedicated-dump=none"]), 0);
    assert_eq!(dedicated(), None);
    ends(&machine.repair(&["--fix", "crash-restart"]), 0);
    assert_eq!(machine.found(true), Vec::<String>::new());
    ends(&machine.repair(&["--fix", "process-dumps"]), 0);
    let local = r"Microsoft\Windows\Windows Error Reporting\LocalDumps";
    assert_eq!(machine.dword("SOFTWARE", local, "DumpType"), Some(2));
    assert_eq!(machine.dword("SOFTWARE", local, "DumpCount"), Some(10));
    let folder = foreign::hivex_value(&machine.hive("SOFTWARE"), local, "DumpFolder").unwrap();
    assert_eq!((folder.kind, folder.text().as_str()), (2, r"C:\CrashDumps"));
}

#[test]
fn values_that_no_fix_takes() {
    let Some(machine) = Machine::new("healthy") else {
        return;
    };
    for fix in [
        "harden=all",
        "keep-alive=0",
        "keep-alive=6",
        "keep-alive=",
        "udp-transport=tcp",
        "fips=maybe",
        "crash-dump=none",
        "crash-restart=1",
        "process-dumps=full",
        "dedicated-dump",
        "dedicated-dump=dd.sys",
        r"dedicated-dump=E:\",
        "rdp-sessions=1",
        "cipher-policy=x",
        "guest-logons=on",
        "domain-credentials=on",
        "firewall-rule=0",
        "firewall-rule=65536",
    ] {
        let text = ends(&machine.repair(&["--fix", fix]), 2);
        assert!(text.contains("this value is not known"), "{text}");
    }
}

#[test]
fn presets() {
    writes_nothing(&["--preset", "reset-rdp"]);
    let Some(machine) = Machine::new("demo") else {
        return;
    };
    machine.import(&format!(
        concat!(
            "[HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001\\Control\\Terminal Server]\n\"fDenyTSConnections\"=dword:00000001\n\n",
            "[HKEY_LOCAL_MACHINE\\SOFTWARE\\{}]\n\"fDenyTSConnections\"=dword:00000001\n\n",
            "[HKEY_LOCAL_MACHINE\\SYSTEM\\{}]\n\"fEnableWinStation\"=dword:00000000\n\n",
            "[HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001\\Services\\SharedAccess\\Parameters\\FirewallPolicy\\PublicProfile]\n\"DoNotAllowExceptions\"=dword:00000001\n"
        ),
        POLICY, LISTENER
    ));
    let original = machine.sums();
    ends(&machine.repair(&["--preset", "reset-rdp"]), 0);
    let mut left = machine.found(false);
    left.sort();
    assert_eq!(left, ["nla.invalid", "tls.disabled"]);
    if Reader::Hivex.available() {
        let rules = r"ControlSet001\Services\SharedAccess\Parameters\FirewallPolicy\FirewallRules";
        let own = foreign::hivex_value(&machine.hive("SYSTEM"), rules, "RDP-Repair-In-TCP-3390");
        assert_eq!(own, None, "the port that is left gets no rule");
    }
    ends(&machine.run(&["undo", "--yes"]), 0);
    assert_eq!(machine.sums(), original, "undo gives every bit back");

    let text = ends(&machine.repair(&["--preset", "diagnostics"]), 0);
    assert!(text.contains("serial-console is left out"), "{text}");
    ends(&machine.run(&["undo", "--yes"]), 0);
    assert_eq!(machine.sums(), original, "undo gives every bit back");
}
