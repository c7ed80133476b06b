// SPDX-License-Identifier: GPL-2.0-or-later
//! Disks in dynamic and differencing containers, as a user repairs them: diagnose, repair, ask foreign programs, undo.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

#[path = "containers/build.rs"]
#[allow(dead_code, missing_docs, unreachable_pub)]
mod build;
mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use coldfix::commit::JournalDir;
use coldfix::container::child::{Fresh, create_child};
use coldfix::container::{self};
use coldfix::device::{self, Access};
use support::foreign::{self, Reader};
use uuid::Uuid;

const SYSTEM: &str = "Windows/System32/config/SYSTEM";
const TLS: &str = r"ControlSet001\Control\SecurityProviders\SCHANNEL\Protocols\TLS 1.2\Server";
const LISTENER: &str = r"ControlSet001\Control\Terminal Server\WinStations\RDP-Tcp";
const REPAIR: [&str; 6] = ["repair", "--fix", "tls", "--fix", "nla", "--yes"];
/// Where the Windows volume of the fixtures begins.
const OFFSET: u64 = 36 << 20;

struct Bench {
    folder: tempfile::TempDir,
    target: PathBuf,
}

impl Bench {
    fn new(fixture: &str) -> Option<Bench> {
        if !Reader::Hivex.available()
            || !support::require("icat")
            || !support::require("qemu-img")
            || !support::require_python("pyvhdi")
        {
            return None;
        }
        let folder = support::temporary();
        let target = support::fixture(fixture, folder.path())?;
        Some(Bench { folder, target })
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str], target: &Path) -> Output {
        support::coldfix(self.folder.path())
            .arg(arguments[0])
            .arg(target)
            .args(&arguments[1..])
            .env("SOURCE_DATE_EPOCH", "1800000000")
            .output()
            .expect("run coldfix")
    }

    #[track_caller]
    fn ends(&self, arguments: &[&str], target: &Path, code: i32) -> String {
        let output = self.run(arguments, target);
        let shown = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(output.status.code(), Some(code), "{shown}");
        shown
    }

    /// The disk as libvhdi reads it. Parents follow the image.
    fn raw(&self, images: &[&Path]) -> PathBuf {
        let raw = self.place("raw");
        foreign::libvhdi_raw(images[0], &images[1..], &raw);
        raw
    }

    /// The two values that a repair sets, as hivex reads them in the hive that sleuthkit takes out of a raw disk.
    fn values(&self, raw: &Path) -> [Option<u32>; 2] {
        let hive = self.place("hive");
        fs::write(&hive, foreign::icat(raw, OFFSET, SYSTEM)).unwrap();
        let value = |key: &str, name: &str| {
            foreign::hivex_value(&hive, key, name).map(|value| value.dword())
        };
        [value(TLS, "Enabled"), value(LISTENER, "UserAuthentication")]
    }
}

const REPAIRED: [Option<u32>; 2] = [Some(1), Some(1)];

#[test]
fn dynamic_disks_go_the_whole_road() {
    for (fixture, name, format) in [
        ("vhd-dynamic.vhd", "vhd-dynamic", "vpc"),
        ("vhdx-dynamic.vhdx", "vhdx-dynamic", "vhdx"),
    ] {
        let Some(bench) = Bench::new(fixture) else {
            return;
        };
        let target = bench.target.clone();
        let original = support::sha256(&target);
        let shown = bench.ends(&["inspect"], &target, 0);
        assert!(shown.contains(name), "{shown}");
        bench.ends(&["diagnose"], &target, 1);
        bench.ends(&["repair", "--fix", "tls", "--dry-run"], &target, 0);
        assert_eq!(support::sha256(&target), original, "nothing is written yet");
        assert_ne!(bench.values(&bench.raw(&[&target])), REPAIRED);

        bench.ends(&REPAIR, &target, 0);
        assert_eq!(bench.values(&bench.raw(&[&target])), REPAIRED);
        let converted = bench.place("converted");
        foreign::qemu_raw(format, &target, &converted);
        assert_eq!(bench.values(&converted), REPAIRED);
        if format == "vhdx" {
            foreign::qemu_check(&target);
        }
        let repaired = support::sha256(&target);
        let shown = bench.ends(&REPAIR, &target, 0);
        assert!(shown.contains("nothing to change"), "{shown}");
        assert_eq!(support::sha256(&target), repaired);
        bench.ends(&["undo", "--yes"], &target, 0);
        assert_eq!(support::sha256(&target), original);
    }
}

/// An empty child of `parent`.
fn make_child(parent: &Path, child: &Path) {
    let device = device::open(parent, Access::Read).unwrap();
    let opened = container::open_file(device, parent).unwrap();
    let fresh = Fresh {
        ids: [1, 2, 3].map(Uuid::from_u128),
        now: 1_800_000_000,
    };
    let made = create_child(parent, &opened, child, &fresh).unwrap();
    let file = File::create(child).unwrap();
    file.set_len(made.len).unwrap();
    for (offset, data) in made.parts {
        file.write_all_at(&data, offset).unwrap();
    }
}

#[test]
fn a_checkpoint_is_repaired_and_its_parent_left_alone() {
    for (fixture, name) in [
        ("vhd-broken.vhd", "vhd-differencing"),
        ("vhd-dynamic.vhd", "vhd-differencing"),
        ("vhdx-dynamic.vhdx", "vhdx-differencing"),
    ] {
        let Some(bench) = Bench::new(fixture) else {
            return;
        };
        let parent = bench.target.clone();
        let extension = parent.extension().unwrap().to_str().unwrap();
        let child = bench.place(&format!("checkpoint.a{extension}"));
        let made = bench.place(&format!("checkpoint.{extension}"));
        make_child(&parent, &made);
        fs::rename(&made, &child).unwrap();
        let (below, above) = (support::sha256(&parent), support::sha256(&child));
        let len = fs::metadata(&child).unwrap().len();

        // The parent may be read, and is not written.
        bench.ends(&["diagnose"], &parent, 1);
        let shown = bench.ends(&REPAIR, &parent, 3);
        let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("checkpoint.a"), "{shown}");
        assert!(words.contains("repair the newest checkpoint"), "{shown}");

        let shown = bench.ends(&["inspect"], &child, 0);
        assert!(shown.contains(name), "{shown}");
        bench.ends(&["diagnose"], &child, 1);
        assert_eq!(support::sha256(&child), above);
        bench.ends(&REPAIR, &child, 0);
        assert!(fs::metadata(&child).unwrap().len() > len, "it grew");
        assert_eq!(bench.values(&bench.raw(&[&child, &parent])), REPAIRED);
        assert_ne!(bench.values(&bench.raw(&[&parent])), REPAIRED);
        assert_eq!(support::sha256(&parent), below);

        // What it grew by is cut off again.
        let shown = bench.ends(&["log"], &child, 0);
        assert!(shown.contains("repair"), "{shown}");
        bench.ends(&["undo", "--dry-run"], &child, 0);
        bench.ends(&["undo", "--yes"], &child, 0);
        assert_eq!(support::sha256(&child), above);
        // Two operations, of which the second starts from another length than the first.
        bench.ends(&REPAIR, &child, 0);
        bench.ends(
            &["repair", "--fix", "services", "--fix", "rdp-port", "--yes"],
            &child,
            0,
        );
        let dir = JournalDir::open(format!("{}.coldfix", child.display()));
        let operations = dir.list().unwrap().operations;
        let [.., first, second] = operations.as_slice() else {
            panic!("{operations:?}")
        };
        let (first, second) = (&first.header.id, &second.header.id);
        let shown = bench.ends(&["undo", first, "--yes"], &child, 3);
        assert!(shown.contains(&format!("undo {second} first")), "{shown}");
        bench.ends(&["undo", "--yes"], &child, 0);
        let shown = bench.ends(&["log"], &child, 0);
        assert!(shown.contains(first) && shown.contains(second), "{shown}");
        bench.ends(&["undo", "--yes"], &child, 0);
        assert_eq!(support::sha256(&child), above);

        // Without its parent there is no disk.
        fs::rename(&parent, bench.place("elsewhere")).unwrap();
        let shown = bench.ends(&REPAIR, &child, 3);
        let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("its parent is missing"), "{shown}");
        assert_eq!(support::sha256(&child), above);
    }
}

/// Puts a log entry into a VHDX as a writer that was cut off leaves it: block 0 of the BAT, which stays what it is.
fn leave_log(image: &Path) {
    let file = File::options().read(true).write(true).open(image).unwrap();
    let guid = Uuid::from_u128(0xfeed);
    let mut header = vec![0; 4096];
    let mut log = 0;
    for at in [64 << 10, 128 << 10] {
        file.read_exact_at(&mut header, at).unwrap();
        log = u64::from_le_bytes(header[72..80].try_into().unwrap());
        header[48..64].copy_from_slice(&guid.to_bytes_le());
        build::seal_vhdx(&mut header);
        file.write_all_at(&header, at).unwrap();
    }
    let mut regions = vec![0; 64 << 10];
    file.read_exact_at(&mut regions, 192 << 10).unwrap();
    let bat = regions[16..].chunks(32).find_map(|entry| {
        let guid = Uuid::from_bytes_le(entry[..16].try_into().unwrap());
        (guid.to_string() == "2dc27766-f623-4200-9d64-115e9bfd4a08")
            .then(|| u64::from_le_bytes(entry[16..24].try_into().unwrap()))
    });
    let bat = bat.unwrap();
    let mut sector = vec![0; 4096];
    file.read_exact_at(&mut sector, bat).unwrap();
    let len = file.metadata().unwrap().len();
    let entry = build::log_entry(guid, 4, 0, len, &[build::Step::Data(bat, sector.clone())]);
    file.write_all_at(&entry, log).unwrap();
    // What the log restores is not there: without it, the disk has lost its first blocks.
    sector[..64].fill(0);
    file.write_all_at(&sector, bat).unwrap();
}

#[test]
fn a_vhdx_with_a_log_is_judged_as_the_log_says_and_closed_by_a_repair() {
    let Some(bench) = Bench::new("vhdx-dynamic.vhdx") else {
        return;
    };
    let target = bench.target.clone();
    leave_log(&target);
    let original = support::sha256(&target);
    for command in [&["inspect"][..], &["diagnose"]] {
        let code = i32::from(command[0] == "diagnose");
        let shown = bench.ends(command, &target, code);
        let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("not closed cleanly"), "{shown}");
    }
    bench.ends(&["repair", "--fix", "tls", "--dry-run"], &target, 0);
    assert_eq!(support::sha256(&target), original);
    // A repair that has nothing to do leaves the log, too.
    bench.ends(&["repair", "--fix", "rdp-enable", "--yes"], &target, 0);
    assert_eq!(support::sha256(&target), original);
    bench.ends(&REPAIR, &target, 0);
    foreign::qemu_check(&target);
    assert_eq!(bench.values(&bench.raw(&[&target])), REPAIRED);
    let shown = bench.ends(&["inspect"], &target, 0);
    assert!(!shown.contains("closed cleanly"), "{shown}");
    bench.ends(&["undo", "--yes"], &target, 0);
    assert_eq!(support::sha256(&target), original);
}

/// Both headers tore: the file opens for nobody, and is taken back all the same.
#[test]
fn a_vhdx_that_a_crash_left_unreadable_is_taken_back() {
    let Some(bench) = Bench::new("vhdx-dynamic.vhdx") else {
        return;
    };
    let target = bench.target.clone();
    let original = support::sha256(&target);
    bench.ends(&REPAIR, &target, 0);
    let repaired = support::sha256(&target);
    let journals = PathBuf::from(format!("{}.coldfix", target.display()));
    let dir = JournalDir::open(&journals);
    let id = dir.list().unwrap().operations[0].header.id.clone();
    let (_, changes) = dir.load(&id).unwrap();
    fs::remove_file(journals.join(format!("{id}.done"))).unwrap();
    let file = File::options().write(true).open(&target).unwrap();
    let mut torn = 0;
    for change in &changes.patches[0].changes {
        if [64 << 10, 128 << 10].contains(&change.offset) {
            // The GUIDs are the old ones again, sequence number and checksum the new ones.
            file.write_all_at(&change.before[16..48], change.offset + 16)
                .unwrap();
            torn += 1;
        }
    }
    assert_eq!(torn, 2);
    let between = support::sha256(&target);
    for command in [
        &["diagnose"][..],
        &["inspect"],
        &["log"],
        &["repair", "--fix", "tls", "--dry-run"],
    ] {
        let shown = bench.ends(command, &target, 2);
        let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("was interrupted"), "{shown}");
        assert!(words.contains("coldfix undo"), "{shown}");
    }
    assert_eq!(support::sha256(&target), between);
    let copy = bench.place("copy.vhdx");
    fs::copy(&target, &copy).unwrap();
    let shown = bench.ends(&REPAIR, &target, 0);
    assert!(shown.contains("taken back"), "{shown}");
    assert_eq!(support::sha256(&target), repaired);
    bench.ends(&["undo", "--yes"], &target, 0);
    assert_eq!(support::sha256(&target), original);
    // A copy has no journal beside it: then it is damaged, and nothing is guessed.
    let shown = bench.ends(&REPAIR, &copy, 2);
    assert!(shown.contains("VHDX headers"), "{shown}");
    assert_eq!(support::sha256(&copy), between);
}

/// A disk with sectors of 4096 bytes, whose partition table and volume count in them.
#[test]
fn a_disk_with_large_sectors_in_a_vhdx() {
    let Some(bench) = Bench::new("gpt-4096.raw") else {
        return;
    };
    if !support::require("ntfscat") {
        return;
    }
    let content = fs::read(&bench.target).unwrap();
    let mut vhdx = build::Vhdx::new(content.len() as u64, 1 << 20);
    vhdx.sector_size = 4096;
    // Every block that is not zeros, in the order of the disk.
    let mut place = (build::BAT + vhdx.bat_len()) >> 20;
    let mut blocks = Vec::new();
    for (number, block) in (0_u64..).zip(content.chunks(1 << 20)) {
        if block.iter().any(|byte| *byte != 0) {
            let index = number + number / vhdx.chunk_ratio();
            vhdx.bat.push((index, build::entry(6, place)));
            blocks.push((place << 20, block));
            place += 1;
        }
    }
    let image = vhdx.build();
    let target = bench.place("large-sectors.vhdx");
    let file = File::create(&target).unwrap();
    file.set_len(place << 20).unwrap();
    for (offset, data) in image.parts {
        file.write_all_at(&data, offset).unwrap();
    }
    for (offset, data) in blocks {
        file.write_all_at(data, offset).unwrap();
    }
    let original = support::sha256(&target);
    assert!(fs::read(bench.raw(&[&target])).unwrap() == content);
    bench.ends(&["diagnose"], &target, 1);
    bench.ends(&REPAIR, &target, 0);
    let raw = bench.raw(&[&target]);
    let volume = bench.place("volume");
    foreign::cut_volume(&raw, OFFSET, 64 << 20, &volume);
    let hive = bench.place("hive");
    fs::write(&hive, foreign::ntfscat(&volume, SYSTEM)).unwrap();
    let value =
        |key: &str, name: &str| foreign::hivex_value(&hive, key, name).map(|value| value.dword());
    let values = [value(TLS, "Enabled"), value(LISTENER, "UserAuthentication")];
    assert_eq!(values, REPAIRED);
    bench.ends(&["undo", "--yes"], &target, 0);
    assert_eq!(support::sha256(&target), original);
}

/// Repairs that leave the disk alone and make a new one.
#[test]
fn a_repair_goes_to_a_new_disk() {
    for (fixture, file, full) in [
        ("vhd-dynamic.vhd", "child.vhd", false),
        ("vhd-broken.vhd", "child.vhd", false),
        ("vhdx-dynamic.vhdx", "child.vhdx", false),
        ("vhdx-dynamic.vhdx", "copy.vhdx", true),
        ("vhdx-dynamic.vhdx", "copy.img", true),
        ("vhd-dynamic.vhd", "copy.vhd", true),
        ("vhd-broken.vhd", "copy.vhdx", true),
        ("gpt-broken.raw", "copy.raw", false),
        ("gpt-broken.raw", "copy.vhd", false),
    ] {
        let Some(bench) = Bench::new(fixture) else {
            return;
        };
        let target = bench.target.clone();
        let original = support::sha256(&target);
        let new = bench.place(file);
        let path = new.to_str().unwrap();
        let mut arguments = REPAIR.to_vec();
        arguments.extend(["--output", path]);
        if full {
            arguments.push("--full-copy");
        }

        // Nothing is made where nothing is done.
        let mut dry = arguments.clone();
        dry.extend(["--dry-run"]);
        let shown = bench.ends(&dry, &target, 0);
        assert!(shown.contains("was not made"), "{shown}");
        let mut declined = arguments.clone();
        declined.retain(|argument| *argument != "--yes");
        bench.ends(&declined, &target, 3);
        let mut healthy = arguments.clone();
        healthy[2] = "rdp-enable";
        healthy[4] = "rdp-enable";
        bench.ends(&healthy, &target, 0);
        assert!(!new.exists(), "{file} of {fixture}");

        let shown = bench.ends(&arguments, &target, 0);
        let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("is untouched"), "{shown}");
        assert_eq!(support::sha256(&target), original, "{fixture}");
        assert!(!bench.place(&format!("{fixture}.coldfix")).exists());
        let child = file.starts_with("child");
        let raw = match (child, file.rsplit_once('.').unwrap().1) {
            (_, "raw" | "img") => new.clone(),
            // libvhdi misreads the bitmaps of VHDX children.
            (true, "vhdx") => {
                let raw = bench.place("raw");
                foreign::dissect_raw(&new, &raw);
                raw
            }
            (true, _) => bench.raw(&[&new, &target]),
            (false, _) => bench.raw(&[&new]),
        };
        assert_eq!(bench.values(&raw), REPAIRED, "{file} of {fixture}");
        if file == "copy.vhdx" {
            foreign::qemu_check(&new);
        }

        // What is there is not overwritten; what was made is a disk like others.
        let made = support::sha256(&new);
        bench.ends(&arguments, &target, 3);
        assert_eq!(support::sha256(&new), made);
        bench.ends(&["undo", "--yes"], &new, 0);
        assert_ne!(support::sha256(&new), made);
        let shown = bench.ends(&["undo", "--yes", "--output", path], &new, 3);
        assert!(shown.contains("--output"), "{shown}");
        assert_eq!(support::sha256(&target), original, "{fixture}");
    }
}
