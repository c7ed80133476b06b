// SPDX-License-Identifier: GPL-2.0-or-later
//! The fixtures hold what they claim, as foreign programs see it. No line of coldfix runs here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::path::Path;

use support::foreign::{self, Reader};

const SYSTEM: &str = "Windows/System32/config/SYSTEM";
const LISTENER: &str = r"ControlSet001\Control\Terminal Server\WinStations\RDP-Tcp";
const TLS: &str = r"ControlSet001\Control\SecurityProviders\SCHANNEL\Protocols\TLS 1.2\Server";

fn readers() -> Vec<Reader> {
    Reader::ALL
        .into_iter()
        .filter(|reader| reader.available())
        .collect()
}

#[test]
fn three_readers_see_the_same_in_a_hive_of_our_writer() {
    let readers = readers();
    let Some(made) = support::fixtures(&["folder/two-sets", "folder/healthy"]) else {
        return;
    };
    for name in ["folder/two-sets", "folder/healthy"] {
        for hive in ["SYSTEM", "SOFTWARE", "SAM"] {
            let hive = made.join(name).join("Windows/System32/config").join(hive);
            let dumps: Vec<_> = readers
                .iter()
                .map(|reader| foreign::dump(*reader, &hive))
                .collect();
            for (reader, dump) in readers.iter().zip(&dumps) {
                assert!(!dump.is_empty());
                let mut expected = dumps[0].clone();
                // hivex, the first, does not tell class names.
                for (path, key) in &mut expected {
                    key.class = dump[path].class.clone();
                    for value in &mut key.values {
                        if *reader == Reader::Libregf {
                            let seen = foreign::as_libregf(value.kind, &value.data);
                            value.data = seen.to_vec();
                        }
                    }
                }
                assert_eq!(
                    foreign::differences(&expected, dump),
                    Vec::<String>::new(),
                    "{reader:?} on {}",
                    hive.display()
                );
            }
        }
    }
}

#[test]
fn class_names_are_kept() {
    let reader = Reader::PythonRegistry;
    let (true, Some(made)) = (reader.available(), support::fixtures(&["folder/healthy"])) else {
        return;
    };
    let key = r"ControlSet001\Control\Lsa\JD";
    let dump = foreign::dump_key(reader, &made.join("folder/healthy").join(SYSTEM), key);
    assert_eq!(dump[key].class.as_deref(), Some("59f0c1a2"));
}

#[test]
fn the_broken_server_is_broken_as_its_name_says() {
    if !Reader::Hivex.available() {
        return;
    }
    let Some(made) = support::fixtures(&["folder/demo", "folder/healthy"]) else {
        return;
    };
    let dword = |folder: &str, key: &str, name: &str| {
        foreign::hivex_value(&made.join(folder).join(SYSTEM), key, name).map(|value| value.dword())
    };
    assert_eq!(
        dword("folder/demo", LISTENER, "UserAuthentication"),
        Some(7)
    );
    assert_eq!(dword("folder/demo", LISTENER, "PortNumber"), Some(3390));
    assert_eq!(dword("folder/demo", TLS, "Enabled"), Some(0));
    assert_eq!(
        dword(
            "folder/demo",
            r"ControlSet001\Services\TermService",
            "Start"
        ),
        Some(4)
    );

    assert_eq!(
        dword("folder/healthy", LISTENER, "UserAuthentication"),
        Some(1)
    );
    assert_eq!(dword("folder/healthy", LISTENER, "PortNumber"), Some(3389));
    assert_eq!(dword("folder/healthy", TLS, "Enabled"), None);
    assert_eq!(
        dword(
            "folder/healthy",
            r"ControlSet001\Services\TermService",
            "Start"
        ),
        Some(3)
    );
}

/// The SYSTEM hive on every kind of disk is the one that was put there, three readers agreeing.
#[test]
fn every_disk_holds_its_hive() {
    let three = support::require("ntfscat")
        && support::require("icat")
        && support::require("sfdisk")
        && support::require_python("dissect.ntfs");
    let names = [
        "folder/demo",
        "bare-broken.raw",
        "gpt-broken.raw",
        "mbr-logical.raw",
        "vhd-broken.vhd",
        "gpt-4096.raw",
    ];
    let (true, Some(made)) = (three, support::fixtures(&names)) else {
        return;
    };
    let expected = std::fs::read(made.join("folder/demo").join(SYSTEM)).unwrap();
    let folder = support::temporary();
    for (name, place) in [
        ("bare-broken.raw", None),
        ("gpt-broken.raw", Some(2)),
        ("mbr-logical.raw", Some(2)),
        ("vhd-broken.vhd", Some(2)),
        ("gpt-4096.raw", Some(2)),
    ] {
        let disk = made.join(name);
        let (offset, length) = match place {
            None => (0, disk.metadata().unwrap().len()),
            // sfdisk takes a file for 512-byte sectors and finds no table here.
            Some(_) if name == "gpt-4096.raw" => (36 << 20, 64 << 20),
            Some(number) => foreign::partitions(&disk)[number],
        };
        let path = if name == "bare-broken.raw" {
            "WINDOWS/system32/Config/SYSTEM"
        } else {
            SYSTEM
        };
        let volume = folder.path().join("volume");
        foreign::cut_volume(&disk, offset, length, &volume);
        assert!(
            foreign::ntfscat(&volume, path) == expected,
            "ntfscat on {name}"
        );
        assert!(
            foreign::icat(&disk, offset, path) == expected,
            "icat on {name}"
        );
        assert!(
            foreign::dissect_ntfs(&disk, offset, path) == expected,
            "dissect on {name}"
        );
    }
}

/// ntfs-3g's probe names the states in which no one may write.
#[test]
fn volumes_that_must_be_refused_are_refused_by_ntfs_3g() {
    let names = [
        "bad/hibernated.raw",
        "bad/unclean-log.raw",
        "bare-broken.raw",
    ];
    let (true, Some(made)) = (support::require("ntfs-3g.probe"), support::fixtures(&names)) else {
        return;
    };
    let probe = |path: &Path| {
        support::program("ntfs-3g.probe")
            .arg("--readwrite")
            .arg(path)
            .output()
            .unwrap()
            .status
            .code()
    };
    assert_eq!(probe(&made.join("bare-broken.raw")), Some(0));
    assert_eq!(probe(&made.join("bad/hibernated.raw")), Some(14));
    assert_eq!(probe(&made.join("bad/unclean-log.raw")), Some(15));
}

/// The disk in the repository is the one that the script makes, as far as the kind of disk and the hives go.
#[test]
fn the_shipped_disk_is_current() {
    let mut tools = ["icat", "qemu-img", "sgdisk"].into_iter();
    let (true, Some(made)) = (
        tools.all(support::require),
        support::fixtures(&["folder/demo"]),
    ) else {
        return;
    };
    let folder = support::temporary();
    let image = support::shipped_disk(folder.path());
    let shown = support::run(
        support::program("qemu-img")
            .args(["info", "--output=json"])
            .arg(&image),
    );
    let info: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(info["format"], "vhdx");
    // Dynamic: zeros take no room.
    assert!(info["actual-size"].as_u64() < Some(30 << 20), "{info}");
    let disk = folder.path().join("disk.raw");
    foreign::qemu_raw("vhdx", &image, &disk);
    let table = support::run(support::program("sgdisk").arg("-p").arg(&disk)).stdout;
    let table = String::from_utf8_lossy(&table);
    let kinds: Vec<&str> = ["EF00", "0C01", "0700"]
        .into_iter()
        .filter(|kind| table.contains(kind))
        .collect();
    assert_eq!(kinds, ["EF00", "0C01", "0700"], "{table}");
    for hive in ["SYSTEM", "SOFTWARE", "SAM", "SECURITY"] {
        let path = format!("Windows/System32/config/{hive}");
        assert!(
            foreign::icat(&disk, 36 << 20, &path)
                == std::fs::read(made.join("folder/demo").join(&path)).unwrap(),
            "{hive}: build the disk again with scripts/make-fixtures --demo"
        );
    }
}
