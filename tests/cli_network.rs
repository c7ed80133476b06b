// SPDX-License-Identifier: GPL-2.0-or-later
//! Addresses, name servers, providers, adapters and control sets: found, cured, and read back by other programs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use support::bench::{Bench, cured, read};
use support::ends;
use support::foreign::Reader;

const ADAPTER: &str =
    r"ControlSet001\Services\Tcpip\Parameters\Interfaces\{6bd1e4a2-3f0b-4d7c-9a54-0c8f7e12ab34}";

fn readers() -> bool {
    Reader::Hivex.available() && Reader::PythonRegistry.available()
}

fn text(kind: u32, text: &str) -> Option<(u32, String)> {
    Some((kind, text.to_owned()))
}

#[test]
fn an_address_set_by_hand_on_a_cloud_machine() {
    let Some(bench) = Bench::new("folder/dhcp-static-azure") else {
        return;
    };
    if !readers() {
        return;
    }
    let fix = ["--fix", "network-dhcp"];
    cured(&bench, "risk network-dhcp.static-in-cloud", &fix, |bench| {
        let hive = bench.hive("SYSTEM");
        assert_eq!(read(&hive, ADAPTER, "EnableDHCP"), text(4, "0x1"));
        for name in [
            "IPAddress",
            "SubnetMask",
            "DefaultGateway",
            "DefaultGatewayMetric",
        ] {
            assert_eq!(read(&hive, ADAPTER, name), None, "{name}");
        }
        assert_eq!(read(&hive, ADAPTER, "DhcpIPAddress"), text(1, "10.0.0.4"));
        assert_eq!(bench.findings().0, 0);
    });
}

#[test]
fn providers_that_are_not_installed() {
    let Some(bench) = Bench::new("folder/network-provider-orphan") else {
        return;
    };
    if !readers() {
        return;
    }
    cured(&bench, "broken network-provider.orphan", &[], |bench| {
        let hive = bench.hive("SYSTEM");
        for list in ["Order", "HwOrder"] {
            let key = format!(r"ControlSet001\Control\NetworkProvider\{list}");
            let order = read(&hive, &key, "ProviderOrder");
            assert_eq!(order, text(1, "RDPNP,LanmanWorkstation"), "{list}");
        }
        assert_eq!(bench.findings().0, 0);
    });
}

/// A file that cannot be looked up is not missing: without the rest of Windows only what the registry itself says counts.
#[test]
fn a_provider_is_not_judged_by_a_folder_of_hives() {
    let Some(bench) = Bench::new("folder/network-provider-orphan") else {
        return;
    };
    std::fs::remove_file(bench.target.join("Windows/System32/ntdll.dll")).unwrap();
    let (_, findings) = bench.findings();
    let evidence = findings[0]["evidence"].as_array().unwrap();
    assert_eq!(evidence.len(), 1, "{evidence:?}");
    assert!(evidence[0]["found"].as_str().unwrap().starts_with("OldVpn"));
}

/// A file of Windows' own provider that is gone is reported; the provider stays in the list.
#[test]
fn windows_own_provider_is_never_dropped() {
    let Some(bench) = Bench::new("folder/healthy") else {
        return;
    };
    std::fs::remove_file(bench.target.join("Windows/System32/ntlanman.dll")).unwrap();
    let before = bench.sum();
    assert_eq!(bench.found(), ["risk network-provider.damaged"]);
    ends(&bench.run("repair", &["--yes"]), 1);
    ends(
        &bench.run("repair", &["--fix", "network-provider", "--yes"]),
        0,
    );
    assert!(bench.sum() == before);
}

#[test]
fn rpc_and_its_endpoint_mapper_apart() {
    let Some(bench) = Bench::new("folder/rpc-host-differs") else {
        return;
    };
    if !readers() {
        return;
    }
    cured(&bench, "broken rpc-host.different", &[], |bench| {
        let key = r"ControlSet001\Services\RpcEptMapper";
        let path = read(&bench.hive("SYSTEM"), key, "ImagePath");
        assert_eq!(
            path,
            text(2, r"%SystemRoot%\system32\svchost.exe -k rpcss -p")
        );
        assert_eq!(bench.findings().0, 0);
    });
}

/// With anything else about the services changed too, which path is right is not guessed.
#[test]
fn rpc_services_that_were_changed_otherwise_are_left_alone() {
    let Some(bench) = Bench::new("folder/rpc-host-differs") else {
        return;
    };
    let key = r"HKLM\SYSTEM\ControlSet001\Services\RpcSs";
    let change = [key, "-v", "Group", "-t", "REG_SZ", "-d", "Other", "--yes"];
    ends(&bench.run("reg add", &change), 0);
    let before = bench.sum();
    assert_eq!(bench.found(), ["risk rpc-host.unclear"]);
    ends(&bench.run("repair", &["--yes"]), 1);
    ends(&bench.run("repair", &["--fix", "rpc-host", "--yes"]), 3);
    assert!(bench.sum() == before);
}

#[test]
fn a_driver_that_loses_the_network_is_reported() {
    let Some(bench) = Bench::new("folder/netvsc-driver") else {
        return;
    };
    let before = bench.sum();
    assert_eq!(bench.found(), ["risk network-adapter.driver"]);
    ends(&bench.run("repair", &["--yes"]), 1);
    assert!(bench.sum() == before);
}

/// On premises nothing of this is a fault, and a repair without names writes nothing.
#[test]
fn what_somebody_may_have_meant_is_changed_by_name_only() {
    let Some(bench) = Bench::new("folder/network-notices") else {
        return;
    };
    if !readers() {
        return;
    }
    let before = bench.sum();
    let (code, _) = bench.findings();
    let mut found = bench.found();
    found.sort();
    assert_eq!(code, 0);
    assert_eq!(
        found,
        [
            "notice migration.left-over",
            "notice network-adapter.several",
            "notice network-dhcp.static",
            "notice network-dns.by-hand",
            "notice network-mtu.unusual",
            "notice port-holder.forwarded",
            "notice port-holder.reserved",
            "notice port-holder.service",
            "notice services.other-disabled",
            "notice temp-folder.moved",
        ]
    );
    ends(&bench.run("repair", &["--yes"]), 0);
    assert!(bench.sum() == before);

    let fixes = [
        "--preset",
        "reset-network",
        "--fix",
        "mtu=1300",
        "--fix",
        "temp-folder",
        "--fix",
        "clock=utc",
        "--fix",
        "registry-backup",
        "--yes",
    ];
    let said = ends(&bench.run("repair", &fixes), 0);
    assert!(said.contains("10.9.8.53"), "says what it took away: {said}");
    let hive = bench.hive("SYSTEM");
    assert_eq!(read(&hive, ADAPTER, "EnableDHCP"), text(4, "0x1"));
    assert_eq!(read(&hive, ADAPTER, "IPAddress"), None);
    assert_eq!(read(&hive, ADAPTER, "NameServer"), text(1, ""));
    assert_eq!(read(&hive, ADAPTER, "MTU"), text(4, "0x514"));
    let environment = r"ControlSet001\Control\Session Manager\Environment";
    let folder = text(2, r"%SystemRoot%\TEMP");
    assert_eq!(read(&hive, environment, "TEMP"), folder);
    let clock = r"ControlSet001\Control\TimeZoneInformation";
    assert_eq!(read(&hive, clock, "RealTimeIsUniversal"), text(4, "0x1"));
    let time = r"ControlSet001\Services\W32Time";
    assert_eq!(read(&hive, time, "Start"), text(4, "0x3"));
    let mut left = bench.found();
    left.sort();
    assert_eq!(
        left,
        [
            "notice migration.left-over",
            "notice network-adapter.several",
            "notice port-holder.forwarded",
            "notice port-holder.reserved",
            "notice port-holder.service",
        ]
    );
    ends(
        &bench.run(
            "repair",
            &["--fix", "mtu=default", "--fix", "clock=local", "--yes"],
        ),
        0,
    );
    let hive = bench.hive("SYSTEM");
    assert_eq!(read(&hive, ADAPTER, "MTU"), None);
    assert_eq!(read(&hive, clock, "RealTimeIsUniversal"), None);
    for _ in 0..2 {
        ends(&bench.run("undo", &["--yes"]), 0);
    }
    assert!(bench.sum() == before, "undo gives every bit back");
}

#[test]
fn values_that_make_no_sense_are_refused() {
    let Some(bench) = Bench::new("folder/healthy") else {
        return;
    };
    let before = bench.sum();
    for fix in [
        "mtu",
        "mtu=575",
        "mtu=1501",
        "mtu=x",
        "clock=zulu",
        "network-dhcp=on",
        "network-dns=8.8.8.8",
        "logon=x",
        "policy-block=x",
        "last-known-good=0",
        "last-known-good=x",
        "registry-backup=restore",
        "temp-folder=C:",
    ] {
        ends(&bench.run("repair", &["--fix", fix, "--yes"]), 2);
    }
    assert!(bench.sum() == before);
}

/// Two sets: the other one is started, and both remain.
#[test]
fn another_control_set() {
    let Some(bench) = Bench::new("folder/last-known-good-002") else {
        return;
    };
    if !readers() {
        return;
    }
    let before = bench.sum();
    assert_eq!(bench.found(), [""; 0]);
    ends(
        &bench.run("repair", &["--fix", "last-known-good", "--yes"]),
        0,
    );
    let hive = bench.hive("SYSTEM");
    for (name, number) in [
        ("Current", "0x2"),
        ("Default", "0x2"),
        ("Failed", "0x1"),
        ("LastKnownGood", "0x2"),
    ] {
        assert_eq!(read(&hive, "Select", name), text(4, number), "{name}");
    }
    assert_eq!(bench.found(), ["notice control-set.failed"]);
    ends(&bench.run("undo", &["--yes"]), 0);
    assert!(bench.sum() == before);
    ends(
        &bench.run("repair", &["--fix", "last-known-good=3", "--yes"]),
        3,
    );
    assert!(bench.sum() == before);
}

/// No other set: refused, and none is made.
#[test]
fn a_control_set_that_is_not_there() {
    let Some(bench) = Bench::new("folder/healthy") else {
        return;
    };
    let before = bench.sum();
    for fix in ["last-known-good", "last-known-good=2"] {
        ends(&bench.run("repair", &["--fix", fix, "--yes"]), 3);
    }
    assert!(bench.sum() == before);
}

/// A damaged hive and its copies: which are sound, and of when.
#[test]
fn copies_of_a_damaged_registry_are_found() {
    let Some(bench) = Bench::new("folder/healthy") else {
        return;
    };
    const CONFIG: &str = "Windows/System32/config";
    let take = |name: &str| std::fs::read(bench.target.join(CONFIG).join(name)).unwrap();
    let (system, software) = (take("SYSTEM"), take("SOFTWARE"));
    let copy = |name: &str| format!("{CONFIG}/RegBack/{name}");
    bench.put(&copy("SYSTEM"), &system);
    bench.put(&copy("SOFTWARE"), &software);
    bench.put(&copy("SAM"), b"");
    bench.put(&format!("{CONFIG}/TxR/a.blf"), &[0; 512]);
    assert_eq!(bench.found(), [""; 0], "a sound registry needs no copy");

    let mut damaged = software.clone();
    damaged[0x1000..0x1004].copy_from_slice(b"XXXX");
    bench.put(&format!("{CONFIG}/SOFTWARE"), &damaged);
    let (code, findings) = bench.findings();
    assert_eq!(code, 1);
    let kept = findings
        .iter()
        .find(|finding| finding["id"] == "registry-backup.usable")
        .unwrap();
    let said: Vec<&str> = kept["evidence"]
        .as_array()
        .unwrap()
        .iter()
        .map(|evidence| evidence["found"].as_str().unwrap())
        .collect();
    assert!(
        said[0].ends_with("written 2024-05-14T11:26:53.5897932Z"),
        "{said:?}"
    );
    let sound = format!("sound, {} bytes, ", software.len());
    assert!(said[1].starts_with(&sound), "{said:?}");
    assert_eq!(
        said[2..],
        [
            "an empty file",
            "no such file",
            "no such file",
            "1 transaction logs of 512 bytes"
        ]
    );

    bench.put(&copy("SOFTWARE"), &damaged);
    let found = bench.found();
    assert!(
        found.contains(&"notice registry-backup.none".to_owned()),
        "{found:?}"
    );
}

/// `coldfix reg add` of one value.
#[track_caller]
fn set(bench: &Bench, key: &str, name: &str, kind: &str, data: &str) {
    let arguments = [key, "-v", name, "-t", kind, "-d", data, "-f", "--yes"];
    ends(&bench.run("reg add", &arguments), 0);
}

/// The cloud is told by its agent or by the manufacturer; several addresses are left alone in a cloud too, and 0.0.0.0 is
/// none.
#[test]
fn what_tells_a_cloud() {
    let Some(bench) = Bench::new("folder/network-notices") else {
        return;
    };
    let adapter = format!(r"HKLM\SYSTEM\{ADAPTER}");
    let machine = r"HKLM\SYSTEM\HardwareConfig\{00000000-0000-0000-0000-00000000abcd}";
    let about = |bench: &Bench, check: &str| -> Vec<String> {
        let mut found = bench.found();
        found.retain(|id| id.contains(check));
        found
    };
    assert_eq!(about(&bench, "dhcp"), ["notice network-dhcp.static"]);
    assert!(about(&bench, "clock").is_empty());
    set(
        &bench,
        machine,
        "SystemManufacturer",
        "REG_SZ",
        "Amazon EC2",
    );
    assert_eq!(about(&bench, "dhcp"), ["risk network-dhcp.static-in-cloud"]);
    let zone = r"HKLM\SYSTEM\ControlSet001\Control\TimeZoneInformation";
    set(&bench, zone, "Bias", "REG_DWORD", "60");
    assert_eq!(about(&bench, "clock"), ["notice clock.local"]);
    ends(&bench.run("repair", &["--fix", "clock", "--yes"]), 0);
    assert!(about(&bench, "clock").is_empty());
    set(
        &bench,
        machine,
        "SystemManufacturer",
        "REG_SZ",
        "VMware, Inc.",
    );
    assert_eq!(about(&bench, "dhcp"), ["notice network-dhcp.static"]);
    assert!(
        about(&bench, "migration").is_empty(),
        "VMware's tools on VMware"
    );

    let agent = r"HKLM\SYSTEM\ControlSet001\Services\RdAgent";
    set(&bench, agent, "Start", "REG_DWORD", "4");
    assert_eq!(about(&bench, "dhcp"), ["risk network-dhcp.static-in-cloud"]);
    assert_eq!(
        about(&bench, "azure"),
        ["notice azure-agent.disabled", "notice azure-agent.missing"]
    );
    set(
        &bench,
        &adapter,
        "IPAddress",
        "REG_MULTI_SZ",
        r"10.9.8.7\010.9.8.8",
    );
    let before = bench.sum();
    assert_eq!(
        about(&bench, "dhcp"),
        ["notice network-dhcp.several-in-cloud"]
    );
    ends(&bench.run("repair", &["--yes"]), 0);
    assert!(bench.sum() == before);
    set(&bench, &adapter, "IPAddress", "REG_MULTI_SZ", "0.0.0.0");
    assert!(about(&bench, "dhcp").is_empty());
    set(&bench, &adapter, "EnableDHCP", "REG_SZ", "0");
    assert_eq!(about(&bench, "dhcp"), ["risk network-dhcp.unclear"]);
    set(
        &bench,
        &adapter,
        "DhcpNameServer",
        "REG_SZ",
        "10.9.8.54 10.9.8.53",
    );
    assert!(
        about(&bench, "dns").is_empty(),
        "the same servers in another order"
    );
}

#[test]
fn a_proxy_for_the_machine() {
    let Some(bench) = Bench::new("folder/healthy") else {
        return;
    };
    if !readers() {
        return;
    }
    let settings = r"Microsoft\Windows\CurrentVersion\Internet Settings";
    let twin = format!(r"Wow6432Node\{settings}");
    let full = |key: &str| format!(r"HKLM\SOFTWARE\{key}");
    set(
        &bench,
        &full(settings),
        "ProxyServer",
        "REG_SZ",
        "proxy:8080",
    );
    set(&bench, &full(settings), "ProxyEnable", "REG_DWORD", "0");
    assert_eq!(bench.found(), [""; 0], "inert");
    set(&bench, &full(settings), "ProxyEnable", "REG_DWORD", "1");
    set(
        &bench,
        &full(&twin),
        "AutoConfigURL",
        "REG_SZ",
        "http://x/proxy.pac",
    );
    let fix = ["--fix", "network-proxy"];
    cured(&bench, "notice network-proxy.on", &fix, |bench| {
        let hive = bench.hive("SOFTWARE");
        assert_eq!(read(&hive, settings, "ProxyEnable"), text(4, "0x0"));
        assert_eq!(read(&hive, settings, "ProxyServer"), None);
        assert_eq!(read(&hive, &twin, "AutoConfigURL"), None);
        assert_eq!(bench.found(), [""; 0]);
    });
}

/// Start types that differ between builds, and a domain that SECURITY of a real machine names.
#[test]
fn start_types_follow_the_build() {
    if !readers() {
        return;
    }
    let version = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion";
    let services = ["ndiscap", "wanarp", "Netlogon", "Dhcp", "sacsvr"];
    for (build, security, expected) in [
        ("7601", None, ["0x3", "0x3", "0x3", "0x2", "0x2"]),
        (
            "16299",
            Some("security-w10-dirty-nolog"),
            ["0x3", "0x2", "0x3", "0x2", "0x2"],
        ),
        (
            "20348",
            Some("security-w81"),
            ["0x1", "0x3", "0x2", "0x2", "0x2"],
        ),
    ] {
        let Some(bench) = Bench::new("folder/healthy") else {
            return;
        };
        if let Some(name) = security {
            let Some(packed) = support::data(&format!("hives/{name}.xz")) else {
                return;
            };
            let path = "Windows/System32/config/SECURITY";
            bench.put(path, &support::unxz(&packed));
        }
        set(&bench, version, "CurrentBuild", "REG_SZ", build);
        for service in services {
            let key = format!(r"HKLM\SYSTEM\ControlSet001\Services\{service}");
            set(&bench, &key, "Start", "REG_DWORD", "4");
        }
        let dhcp = r"HKLM\SYSTEM\ControlSet001\Services\Dhcp";
        set(&bench, dhcp, "ObjectName", "REG_SZ", "LocalSystem");
        let found = bench.found();
        for finding in [
            "broken services.dhcp-account",
            "broken services.network-disabled",
            "notice services.other-disabled",
        ] {
            assert!(found.contains(&finding.to_owned()), "{build}: {found:?}");
        }
        ends(&bench.run("repair", &["--fix", "services", "--yes"]), 0);
        let hive = bench.hive("SYSTEM");
        let key = |service: &str| format!(r"ControlSet001\Services\{service}");
        for (service, start) in services.iter().zip(expected) {
            let now = read(&hive, &key(service), "Start");
            assert_eq!(now, text(4, start), "{service} of {build}");
        }
        let account = read(&hive, &key("Dhcp"), "ObjectName");
        assert_eq!(account, text(1, r"NT Authority\LocalService"));
        assert_eq!(read(&hive, &key("Dhcp"), "Type"), text(4, "0x20"));
        let left = bench.found();
        assert!(!left.iter().any(|id| id.contains(" services.")), "{left:?}");
    }
}
