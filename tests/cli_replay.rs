// SPDX-License-Identifier: GPL-2.0-or-later
//! A disk whose Windows volume has a journal in which changes wait, from `inspect` to `undo`.
//!
//! The volume is one of Windows, planted with a Windows by our own writers. Its journal is a real one, cut inside of a
//! transaction by `scripts/ntfs_log.py`, which also makes the last thing that was logged, and not written, the folder
//! that the keys of Remote Desktop are in: without a replay nobody finds them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod ntfs_support;
mod support;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Arc, OnceLock};

use coldfix::device::overlay::Overlay;
use coldfix::volume::ntfs::NtfsVolume;
use coldfix::volume::{EntryKind, Volume};
use ntfs_support::*;
use support::foreign::{self, Reader};
use support::{boot_store, ends};

const MIB: u64 = 1 << 20;
/// Where the Windows volume begins: behind the ESP and a reserved partition.
const WINDOWS: u64 = 36 * MIB;
const DATA: &str = "w10-cloud-reparse-log2-dirty.raw.xz";
/// $LogFile of that volume.
const JOURNAL: u64 = 84616 * 4096;
/// The checkpoint from which a replay begins, and the last record that is left of the real journal: a transaction has
/// begun, and is not over.
const CHECKPOINT: &str = "0x405a91";
const CUT: &str = "0x405abc";
/// The record that puts the folder into the root folder.
const WITHHELD: &str = "0x405ae6";
const FOLDER: &str = "ProgramData";
const KEYS: &str = r"ProgramData\Microsoft\Crypto\RSA\MachineKeys";
const LISTENER: &str = r"ControlSet001\Control\Terminal Server\WinStations\RDP-Tcp";
const SYSTEM: &str = "Windows/System32/config/SYSTEM";
const PRESET: [&str; 3] = ["repair", "--preset", "azure-internal-error"];
const GUIDS: [(&str, &str); 4] = [
    ("", "7A3B5C10-0C0F-4D11-9E55-C01DF1C5D15C"),
    (
        "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        "7A3B5C10-0C0F-4D11-9E55-C01DF1C50001",
    ),
    (
        "E3C9E316-0B5C-4DB8-817D-F92DF00215AE",
        "7A3B5C10-0C0F-4D11-9E55-C01DF1C50002",
    ),
    (
        "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7",
        "7A3B5C10-0C0F-4D11-9E55-C01DF1C50003",
    ),
];

fn open(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap()
}

fn log(arguments: &[&str]) {
    let script = support::root().join("scripts/ntfs_log.py");
    support::run(
        support::program("python3")
            .arg("-B")
            .arg(script)
            .args(arguments),
    );
}

/// The Windows of the shipped disk on a copy of the real volume, whose journal knows nothing of that.
fn plant(source: &Path, folder: &Path) -> Option<PathBuf> {
    let volume = folder.join("volume");
    support::copy(&image(DATA)?, &volume);
    let file = open(&volume);
    let mut boot = [0; 512];
    file.read_exact_at(&mut boot, 0).unwrap();
    let sectors = u64::from_le_bytes(boot[0x28..0x30].try_into().unwrap());
    file.write_all_at(&boot, sectors * 512).unwrap();
    let mut restart = vec![0; 0x2000];
    file.read_exact_at(&mut restart, JOURNAL).unwrap();

    let shipped = NtfsVolume::open(partition(FileDevice::open(source), WINDOWS / 512)).unwrap();
    let overlay = Arc::new(Overlay::new(FileDevice::open(&volume)));
    let target = NtfsVolume::open(overlay.clone()).unwrap();
    // One that is there already, so that $Secure stays as it is.
    let descriptor = target.security(&["OneDrive"]).unwrap().remove(0);
    for (path, entry) in walk(&shipped) {
        if path.starts_with('$') || path.starts_with("System Volume Information") {
            continue;
        }
        match entry.kind {
            EntryKind::Directory => target.create_directory(&path, &descriptor, 1).unwrap(),
            _ => {
                let content = shipped.read(&path, 64 << 20).unwrap();
                target.create_file(&path, &content, &descriptor, 1).unwrap();
            }
        }
    }
    for change in overlay.changes().unwrap() {
        file.write_all_at(&change.after, change.offset).unwrap();
    }
    file.write_all_at(&restart, JOURNAL).unwrap();
    Some(volume)
}

/// The disk, to be copied. None, and counted, without the data or the programs.
fn made() -> Option<&'static Path> {
    static DISK: OnceLock<Option<(tempfile::TempDir, PathBuf)>> = OnceLock::new();
    let disk = DISK.get_or_init(|| {
        let tools = ["python3", "sgdisk", "qemu-img", "gzip"];
        if !require(&tools) {
            return None;
        }
        let folder = tempfile::tempdir_in(scratch()).unwrap();
        let shipped = folder.path().join("shipped.raw");
        foreign::qemu_raw("vhdx", &support::shipped_disk(folder.path()), &shipped);
        let volume = plant(&shipped, folder.path())?;
        let [crash, expected] = ["crash", "expected"].map(|name| folder.path().join(name));
        log(&[
            "crash",
            volume.to_str().unwrap(),
            crash.to_str().unwrap(),
            expected.to_str().unwrap(),
            "--checkpoint",
            CHECKPOINT,
            "--cut",
            CUT,
            "--withhold",
            FOLDER,
        ]);
        let disk = folder.path().join("disk.raw");
        wrap(&shipped, &crash, &disk);
        Some((folder, disk))
    });
    disk.as_ref().map(|(_, disk)| disk.as_path())
}

/// Puts the ESP of `shipped` and a volume on a GPT disk, with the identities that the boot configuration names.
fn wrap(shipped: &Path, volume: &Path, disk: &Path) {
    let len = File::open(volume)
        .unwrap()
        .metadata()
        .unwrap()
        .len()
        .next_multiple_of(MIB);
    let file = File::create(disk).unwrap();
    file.set_len(WINDOWS + len + MIB).unwrap();
    let ends = [MIB, 35 * MIB, WINDOWS, WINDOWS + len];
    let mut sgdisk = support::program("sgdisk");
    sgdisk.args(["-o", "-U", GUIDS[0].1]);
    for number in 1..=3 {
        let (first, last) = (ends[number - 1] / 512, ends[number] / 512 - 1);
        let (kind, guid) = GUIDS[number];
        sgdisk.args(["-n", &format!("{number}:{first}:{last}")]);
        sgdisk.args(["-t", &format!("{number}:{kind}")]);
        sgdisk.args(["-u", &format!("{number}:{guid}")]);
    }
    support::run(sgdisk.arg(disk));
    let place = |source: &Path, skip: u64, seek: u64, len: u64| {
        let mut dd = support::program("dd");
        dd.arg(format!("if={}", source.display()))
            .arg(format!("of={}", disk.display()));
        dd.args([
            format!("skip={skip}"),
            format!("seek={seek}"),
            format!("count={len}"),
        ]);
        dd.args(["bs=64k", "iflag=skip_bytes,count_bytes", "oflag=seek_bytes"]);
        support::run(dd.args(["conv=sparse,notrunc", "status=none"]));
    };
    place(shipped, MIB, MIB, 34 * MIB);
    place(volume, 0, WINDOWS, len);
}

/// A copy of the disk, and the program on it.
struct Disk {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Disk {
    fn new() -> Option<Disk> {
        let made = made()?;
        let folder = tempfile::tempdir_in(scratch()).unwrap();
        let path = folder.path().join("disk.raw");
        support::copy(made, &path);
        Some(Disk { folder, path })
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = support::coldfix(self.folder.path());
        command
            .arg(arguments[0])
            .arg(&self.path)
            .args(&arguments[1..]);
        command.output().unwrap()
    }

    fn sum(&self) -> String {
        support::sha256(&self.path)
    }

    /// The Windows volume on its own.
    fn volume(&self) -> PathBuf {
        let target = self.folder.path().join("volume");
        let (start, len) = foreign::partitions(&self.path)[2];
        foreign::cut_volume(&self.path, start, len, &target);
        target
    }
}

#[test]
fn what_waits_is_carried_out_by_a_repair_and_taken_back_by_undo() {
    let tools = [
        "ntfs-3g.probe",
        "ntfsresize",
        "ntfsfix",
        "ntfssecaudit",
        "fls",
        "ntfscat",
        "sfdisk",
    ];
    if !require(&tools) || !boot_store::tools() {
        return;
    }
    let Some(disk) = Disk::new() else { return };
    let original = disk.sum();
    let keys = |listed: &str| listed.contains(KEYS);

    let text = ends(&disk.run(&["inspect"]), 0);
    for line in [
        "  journal ($LogFile): pending, carried out in memory, version 2.0, its end at LSN 0x405afe, 1 transaction, 3 \
         pages; 5 records to do again, 2 to take back\n",
        "    open transaction 0x18: to be taken back, from LSN 0x405abc\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let text = ends(&disk.run(&["diagnose"]), 1);
    assert!(
        text.contains("[volume.journal-pending]") && text.contains("[tls.disabled]"),
        "{text}"
    );
    assert!(keys(&text), "{text}");

    // As the disk was left nobody finds the folder, and the folders of the volume may not be changed.
    let text = ends(&disk.run(&["diagnose", "--replay-journal=off"]), 1);
    assert!(
        text.contains("[volume.journal-not-replayed]") && !keys(&text),
        "{text}"
    );
    let grant = ["acl", "grant", "Windows", "*S-1-1-0:R", "--yes"];
    let grant = |more: &[&str]| {
        let mut command = support::coldfix(disk.folder.path());
        command
            .args(&grant[..2])
            .arg(&disk.path)
            .args(&grant[2..])
            .args(more);
        command.output().unwrap()
    };
    let text = ends(&grant(&["--replay-journal=off"]), 3);
    assert!(
        text.contains("until Windows has carried them out"),
        "{text}"
    );

    let text = ends(&disk.run(&[&PRESET[..], &["--dry-run"]].concat()), 0);
    assert!(
        text.contains("carried out what waited in the journal"),
        "{text}"
    );
    assert_eq!(disk.sum(), original, "so far nothing was written");

    let text = ends(&disk.run(&[&PRESET[..], &["--yes"]].concat()), 0);
    assert!(
        text.contains("5 records done again, 0 found on the disk already, 2 of what was never finished taken back"),
        "{text}"
    );
    let folder = disk.folder.path();
    let volume = disk.volume();
    let hive = folder.join("SYSTEM");
    std::fs::write(&hive, foreign::ntfscat(&volume, SYSTEM)).unwrap();
    for version in ["1.0", "1.1", "1.2"] {
        let key = format!(
            r"ControlSet001\Control\SecurityProviders\SCHANNEL\Protocols\TLS {version}\Server"
        );
        for reader in Reader::ALL {
            let value = |name| foreign::value(reader, &hive, &key, name).map(|value| value.dword());
            assert_eq!(value("Enabled"), Some(1), "{reader:?} on TLS {version}");
            assert_eq!(
                value("DisabledByDefault"),
                Some(0),
                "{reader:?} on TLS {version}"
            );
        }
    }
    for (key, name, wanted) in [
        (LISTENER, "UserAuthentication", 1),
        (r"ControlSet001\Control\CrashControl", "CrashDumpEnabled", 1),
        (r"ControlSet001\Control\CrashControl", "NMICrashDump", 1),
    ] {
        let found = foreign::hivex_value(&hive, key, name).map(|value| value.dword());
        assert_eq!(found, Some(wanted), "{name}");
    }
    let store = boot_store::extract(&disk.path, folder, true);
    boot_store::assert_five(&store, boot_store::LOADER);

    // What others say of the volume, and that they find the folder.
    let path = volume.to_str().unwrap();
    run("ntfs-3g.probe", &["--readwrite", path]);
    run("ntfsfix", &["-n", path]);
    let text = String::from_utf8(run("ntfsresize", &["--info", "--force", path])).unwrap();
    assert!(
        !text.contains("ERROR") && text.contains("You might resize at"),
        "{text}"
    );
    foreign::ntfssecaudit(&volume);
    let names = String::from_utf8(run("fls", &["-r", "-p", path])).unwrap();
    assert!(names.contains(&KEYS.replace('\\', "/")), "{names}");
    let repaired = disk.sum();
    let text = ends(&disk.run(&[&PRESET[..], &["--yes"]].concat()), 0);
    assert!(!text.contains("$LogFile"), "{text}");
    assert_eq!(disk.sum(), repaired, "a second repair writes nothing");
    ends(&disk.run(&["undo", "--yes"]), 0);
    assert_eq!(disk.sum(), original, "undo gives every bit back");

    // A change of a folder, by itself.
    ends(&grant(&[]), 0);
    let volume = disk.volume();
    let path = volume.to_str().unwrap();
    run("ntfs-3g.probe", &["--readwrite", path]);
    assert!(run("fls", &["-r", "-p", path]).len() > 1000);
    ends(&disk.run(&["undo", "--yes"]), 0);
    assert_eq!(disk.sum(), original);
}

/// One record is of an operation that nobody knows: nothing of the journal is believed.
#[test]
fn an_unknown_operation_is_refused_by_name() {
    let Some(disk) = Disk::new() else { return };
    log(&[
        "--offset",
        &WINDOWS.to_string(),
        "unknown-operation",
        disk.path.to_str().unwrap(),
        "--record",
        WITHHELD,
        "--operation",
        "0x26",
    ]);
    let original = disk.sum();
    let text = ends(&disk.run(&[&PRESET[..], &["--yes"]].concat()), 3);
    eprintln!("{text}");
    assert!(text.contains(WITHHELD) && text.contains("0x26"), "{text}");
    let text = ends(&disk.run(&["inspect"]), 0);
    assert!(text.contains(WITHHELD) && text.contains("0x26"), "{text}");
    assert_eq!(disk.sum(), original);
}
