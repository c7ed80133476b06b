// SPDX-License-Identifier: GPL-2.0-or-later
//! The disk that ships with the repository, a dynamic VHDX with an ESP and Windows, repaired by the whole of Microsoft's
//! article in one run: in place, into a differencing child, and into a whole copy. Judged by qemu-img, dissect, hivex,
//! regipy, Samba, ntfs-3g's auditors and fsck.fat.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::boot_store::{self, LOADER};
use support::foreign::{self, Dump, Reader};
use support::keys::{self, FOLDER, IIS_KEY, RDP_KEY};

const SYSTEM: &str = "Windows/System32/config/SYSTEM";
const PRESET: [&str; 4] = ["repair", "--preset", "azure-internal-error", "--yes"];
/// Where the Windows volume begins, and how long it is.
const WINDOWS: (u64, u64) = (36 << 20, 64 << 20);
/// Every value of the article in SYSTEM, below ControlSet001: key, name, what it is to be.
const DOCUMENTED: [(&str, &str, u32); 9] = [
    (r"Control\CrashControl", "CrashDumpEnabled", 1),
    (r"Control\CrashControl", "NMICrashDump", 1),
    (
        r"Control\Terminal Server\WinStations\RDP-Tcp",
        "UserAuthentication",
        1,
    ),
    (
        r"Control\SecurityProviders\SCHANNEL\Protocols\TLS 1.0\Server",
        "Enabled",
        1,
    ),
    (
        r"Control\SecurityProviders\SCHANNEL\Protocols\TLS 1.0\Server",
        "DisabledByDefault",
        0,
    ),
    (
        r"Control\SecurityProviders\SCHANNEL\Protocols\TLS 1.1\Server",
        "Enabled",
        1,
    ),
    (
        r"Control\SecurityProviders\SCHANNEL\Protocols\TLS 1.1\Server",
        "DisabledByDefault",
        0,
    ),
    (
        r"Control\SecurityProviders\SCHANNEL\Protocols\TLS 1.2\Server",
        "Enabled",
        1,
    ),
    (
        r"Control\SecurityProviders\SCHANNEL\Protocols\TLS 1.2\Server",
        "DisabledByDefault",
        0,
    ),
];

struct Bench {
    folder: tempfile::TempDir,
    target: PathBuf,
    original: String,
}

/// What others find on a disk.
#[derive(Debug, PartialEq)]
struct Found {
    system: Dump,
    store: Dump,
    /// Of the MachineKeys folder, Remote Desktop's key and another one.
    descriptors: Vec<String>,
}

impl Bench {
    fn new() -> Option<Bench> {
        let there = ["qemu-img", "gzip", "ntfscat"]
            .into_iter()
            .all(support::require)
            && support::require_python("dissect.hypervisor")
            && boot_store::tools()
            && keys::judges();
        if !there {
            return None;
        }
        let folder = support::temporary();
        let target = support::shipped_disk(folder.path());
        let original = support::sha256(&target);
        Some(Bench {
            folder,
            target,
            original,
        })
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[track_caller]
    fn ends(&self, arguments: &[&str], target: &Path, code: i32) -> String {
        let output = support::coldfix(self.folder.path())
            .arg(arguments[0])
            .arg(target)
            .args(&arguments[1..])
            .output()
            .expect("run coldfix");
        support::ends(&output, code)
    }

    /// What is on a raw disk, whose volumes foreign checkers find sound.
    fn find(&self, raw: &Path) -> Found {
        let volume = self.place("volume");
        foreign::cut_volume(raw, WINDOWS.0, WINDOWS.1, &volume);
        keys::audit(&volume);
        let hive = self.place("hive");
        fs::write(&hive, foreign::ntfscat(&volume, SYSTEM)).unwrap();
        assert!(foreign::icat(raw, WINDOWS.0, SYSTEM) == fs::read(&hive).unwrap());
        let paths = [FOLDER, &keys::key(RDP_KEY), &keys::key(IIS_KEY)];
        Found {
            system: foreign::dump(Reader::Hivex, &hive),
            store: boot_store::dump(&boot_store::extract(raw, self.folder.path(), true)),
            descriptors: keys::descriptors(&volume, &paths),
        }
    }

    /// The broken disk, as qemu-img reads it.
    fn before(&self) -> Found {
        let raw = self.place("before.raw");
        foreign::qemu_raw("vhdx", &self.target, &raw);
        self.find(&raw)
    }

    /// All of the article is on the raw disk, and nothing else has changed.
    fn assert_repaired(&self, before: &Found, raw: &Path) {
        let after = self.find(raw);
        let mut system = before.system.clone();
        for (key, name, data) in DOCUMENTED {
            let path = format!(r"ControlSet001\{key}");
            let value = |dump: &Dump| {
                let values = &dump.get(&path)?.values;
                Some(values.iter().find(|value| value.name == name)?.clone())
            };
            let found = value(&after.system).unwrap_or_else(|| panic!("no {key} {name}"));
            assert_eq!((found.kind, found.dword()), (4, data), "{key} {name}");
            assert_ne!(value(&before.system), Some(found.clone()), "{key} {name}");
            // A key that is made has a parent.
            let parent = path.rsplit_once('\\').unwrap().0.to_owned();
            let empty = foreign::Key {
                class: None,
                values: Vec::new(),
            };
            system.entry(parent).or_insert_with(|| empty.clone());
            let entry = system.entry(path).or_insert(empty);
            entry.values.retain(|value| value.name != name);
            entry.values.push(found);
            entry.values.sort();
        }
        let differ = foreign::differences(&system, &after.system);
        assert_eq!(differ, [""; 0], "nothing else changes");

        let store = boot_store::extract(raw, self.folder.path(), true);
        boot_store::assert_five(&store, LOADER);
        assert_eq!(
            boot_store::changed(&before.store, &after.store),
            boot_store::five(LOADER)
        );

        let (all, read, full) = (
            "(0;0x0;0x1f01ff;S-1-5-18)",
            "(0;0x0;0x120089;S-1-5-20)",
            "(0;0x0;0x1f01ff;S-1-5-32-544)",
        );
        let owner = "O:S-1-5-32-544G:S-1-5-18C:0x9404D:";
        assert_eq!(
            after.descriptors,
            [
                format!("{owner}{full}{read}{all}(0;0x0;0x12019f;S-1-1-0)"),
                format!("{owner}{read}{all}{full}"),
                format!("{owner}{read}{all}{full}(0;0x0;0x120089;S-1-5-32-568)"),
            ]
        );
    }

    /// What the article does not speak of is told, and stays: the service and the port; and how it lowers security.
    #[track_caller]
    fn assert_remains(&self, disk: &Path) {
        let text = self.ends(&["diagnose"], disk, 1);
        let ids: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with(['B', 'R', 'N']))
            .filter_map(|line| Some(line.strip_suffix(']')?.rsplit_once('[')?.1))
            .collect();
        let expected = [
            "firewall.port-closed",
            "services.rdp-disabled",
            "rdp-port.moved",
            "harden.old-tls",
            "harden.machine-keys",
        ];
        assert_eq!(ids, expected, "{text}");
        assert!(text.contains("broken (2 faults, 3 notices)"), "{text}");
    }
}

#[test]
fn the_whole_article_in_one_run_and_taken_back() {
    let Some(bench) = Bench::new() else { return };
    let before = bench.before();
    let text = bench.ends(&["diagnose"], &bench.target, 1);
    assert!(text.contains("broken (5 faults, 1 notice)"), "{text}");
    let dry = ["repair", "--preset", "azure-internal-error", "--dry-run"];
    bench.ends(&dry, &bench.target, 0);
    assert_eq!(support::sha256(&bench.target), bench.original);

    let text = bench.ends(&PRESET, &bench.target, 0);
    assert!(text.contains("18 changes; 2 findings left"), "{text}");
    assert!(!text.contains("left out"), "{text}");
    foreign::qemu_check(&bench.target);
    let raw = bench.place("after.raw");
    foreign::qemu_raw("vhdx", &bench.target, &raw);
    bench.assert_repaired(&before, &raw);
    bench.assert_remains(&bench.target);
    let repaired = support::sha256(&bench.target);
    let text = bench.ends(&PRESET, &bench.target, 0);
    assert!(text.contains("nothing to change"), "{text}");
    assert_eq!(support::sha256(&bench.target), repaired);

    // The rest is named; then nothing is left. Both operations are taken back.
    let rest = [
        "repair",
        "--fix",
        "services",
        "--fix",
        "rdp-port=3389",
        "--yes",
    ];
    bench.ends(&rest, &bench.target, 0);
    bench.ends(&["diagnose"], &bench.target, 0);
    foreign::qemu_check(&bench.target);
    bench.ends(&["undo", "--yes"], &bench.target, 0);
    assert_eq!(support::sha256(&bench.target), repaired);
    bench.ends(&["undo", "--yes"], &bench.target, 0);
    assert_eq!(support::sha256(&bench.target), bench.original);
    assert_eq!(bench.before(), before);
}

#[test]
fn into_a_child_and_into_a_whole_copy() {
    let Some(bench) = Bench::new() else { return };
    let before = bench.before();
    for (name, full) in [
        ("fixed.vhdx", false),
        ("copy.vhdx", true),
        ("copy.vhd", true),
    ] {
        let new = bench.place(name);
        let mut arguments = PRESET.to_vec();
        arguments.extend(["--output", new.to_str().unwrap()]);
        if full {
            arguments.push("--full-copy");
        }
        let text = bench.ends(&arguments, &bench.target, 0);
        assert!(text.contains("18 changes; 2 findings left"), "{text}");
        assert_eq!(support::sha256(&bench.target), bench.original, "{name}");
        let raw = bench.place("after.raw");
        match name {
            // Layered on its parent; libvhdi misreads the bitmaps of VHDX children.
            "fixed.vhdx" => {
                let len = |path: &Path| path.metadata().unwrap().len();
                assert!(len(&new) < len(&bench.target), "it holds what changed");
                foreign::dissect_raw(&new, &raw);
            }
            "copy.vhdx" => {
                foreign::qemu_check(&new);
                foreign::qemu_raw("vhdx", &new, &raw);
            }
            _ => foreign::qemu_raw("vpc", &new, &raw),
        }
        bench.assert_repaired(&before, &raw);
        bench.assert_remains(&new);
        // Without the original there is no child; a copy stands alone.
        let away = bench.place("away");
        fs::rename(&bench.target, &away).unwrap();
        bench.ends(&["diagnose"], &new, if full { 1 } else { 3 });
        fs::rename(&away, &bench.target).unwrap();
        bench.ends(&["undo", "--yes"], &new, 0);
        match full {
            false => foreign::dissect_raw(&new, &raw),
            true if name == "copy.vhdx" => foreign::qemu_raw("vhdx", &new, &raw),
            true => foreign::qemu_raw("vpc", &new, &raw),
        }
        assert_eq!(bench.find(&raw), before, "{name}, undone");
        assert_eq!(support::sha256(&bench.target), bench.original, "{name}");
        fs::remove_file(&new).unwrap();
    }
}
