// SPDX-License-Identifier: GPL-2.0-or-later
//! Full disks: for the journal, for an image that has to grow or to fill its holes, for a new disk, for a report.

use std::fs;
use std::path::{Path, PathBuf};

use super::bench::{Bench, State, all, said, state};
use super::calls::{REPAIR, growing};
use super::support;

/// A file system in memory, of this size.
struct Small {
    point: tempfile::TempDir,
}

impl Small {
    /// `None`, and counted, where nothing may be mounted.
    fn new(options: &str) -> Option<Small> {
        let point = support::temporary();
        let options = format!("mode=0700,{options}");
        let output = support::program("mount")
            .args(["-t", "tmpfs", "-o", &options, "none"])
            .arg(point.path())
            .output()
            .unwrap();
        if !output.status.success() {
            support::skip("mounting a small tmpfs (needs root)");
            return None;
        }
        Some(Small { point })
    }

    fn path(&self) -> &Path {
        self.point.path()
    }

    fn options(&self, options: &str) {
        let remount = format!("remount,{options}");
        support::run(
            support::program("mount")
                .args(["-o", &remount])
                .arg(self.path()),
        );
    }

    fn names(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path()).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = support::program("umount")
            .arg("-l")
            .arg(self.path())
            .output();
    }
}

/// The sizes from `first` to `last`, in pages, or some of them.
fn sizes(first: u64, last: u64) -> Vec<u64> {
    let step = if all() {
        1
    } else {
        ((last - first) / 12).max(1)
    };
    (first..=last).step_by(step as usize).collect()
}

const PAGE: u64 = 4096;
const HUGE: &str = "size=256m,nr_inodes=1000";

#[test]
fn a_journal_that_does_not_fit() {
    let Some(bench) = Bench::new("gpt-broken.raw", &REPAIR) else {
        return;
    };
    let new = bench.new_state();
    let Some(small) = Small::new(HUGE) else {
        return;
    };
    let folder = small.path().join("journals");
    let there = ["--journal-dir", folder.to_str().unwrap()];
    let repair = [&REPAIR[..], &there].concat();
    let undo = [&["undo", "--yes"][..], &there].concat();
    support::ends(&bench.run(&repair), 0);
    let used: u64 = support::sha256_tree(&folder)
        .keys()
        .map(|path| fs::metadata(path).unwrap().len().div_ceil(PAGE))
        .sum();
    support::ends(&bench.run(&undo), 0);
    let (mut failed, mut fitted) = (0, 0);
    // Too few bytes, and too few names: the folder, its lock, the journal, the marker.
    let bytes = sizes(1, used + 3)
        .into_iter()
        .map(|size| format!("size={},nr_inodes=1000", size * PAGE));
    let names = (1..8).map(|count| format!("size=256m,nr_inodes={count}"));
    for options in bytes.chain(names) {
        let Some(small) = Small::new(&options) else {
            return;
        };
        let folder = small.path().join("journals");
        let there = ["--journal-dir", folder.to_str().unwrap()];
        let repair = [&REPAIR[..], &there].concat();
        let undo = [&["undo", "--yes"][..], &there].concat();
        let output = bench.run(&repair);
        let text = said(&output);
        match output.status.code() {
            Some(0) => {
                assert!(bench.state() == new, "{options}: {text}");
                fitted += 1;
            }
            Some(2) if text.contains("could not be marked as done") => {
                assert!(bench.state() == new, "{options}: {text}");
                failed += 1;
            }
            Some(2) => {
                assert!(text.contains("No space left"), "{options}: {text}");
                assert!(text.contains("--journal-dir"), "{options}: {text}");
                assert!(bench.state() == bench.old, "{options}: {text}");
                let left = support::sha256_tree(small.path()).into_keys();
                let left: Vec<_> = left.filter(|path| !path.ends_with("lock")).collect();
                assert!(left.is_empty(), "{options}: {left:?}");
                failed += 1;
            }
            _ => panic!("{options}: {text}"),
        }
        small.options(HUGE);
        support::ends(&bench.run(&repair), 0);
        assert!(bench.state() == new, "{options}");
        support::ends(&bench.run(&undo), 0);
        assert!(bench.state() == bench.old, "{options}");
    }
    assert!(failed > 3 && fitted > 0, "{failed} failed, {fitted} fitted");
    support::proof("faults", "full-journal", failed);
}

/// A repair of an image that does not find room for all that it writes.
fn image(name: &str, bench: Option<Bench>) {
    let Some(bench) = bench else {
        return;
    };
    let pages = |path: &Path| {
        use std::os::unix::fs::MetadataExt as _;
        (fs::metadata(path).unwrap().blocks() * 512).div_ceil(PAGE)
    };
    // A differencing disk comes with its parent.
    let parent = ["vhd", "vhdx"].map(|end| bench.folder.path().join(format!("parent.{end}")));
    let copied = |small: &Small| {
        for file in parent
            .iter()
            .chain([&bench.target])
            .filter(|file| file.exists())
        {
            support::copy(file, &small.path().join(file.file_name().unwrap()));
        }
        small.path().join(bench.target.file_name().unwrap())
    };
    let journals = bench.folder.path().join("state");
    let there = ["--journal-dir", journals.to_str().unwrap()];
    let Some(small) = Small::new("size=1g") else {
        return;
    };
    let target = copied(&small);
    let run = |target: &Path, undo: bool| {
        let mut command = match undo {
            false => bench.command_on(target),
            true => bench.ours_on(target, &["undo", "--yes"]),
        };
        command.args(there).output().unwrap()
    };
    let files = small.names().len();
    let by_name = |state: State| state.into_values().collect::<Vec<_>>();
    let old = by_name(state(&target));
    let used = || small.names().iter().map(|file| pages(file)).sum::<u64>();
    let first = used();
    support::ends(&run(&target, false), 0);
    let new = by_name(state(&target));
    let last = used();
    assert!(last > first, "{name} takes room: {first} to {last} pages");
    support::ends(&run(&target, true), 0);
    assert!(by_name(state(&target)) == old);
    bench.forget();
    drop(small);
    let mut failed = 0;
    for size in sizes(first, last) {
        let Some(small) = Small::new("size=1g") else {
            return;
        };
        let target = copied(&small);
        small.options(&format!("size={}", size * PAGE));
        let output = run(&target, false);
        let text = said(&output);
        match output.status.code() {
            Some(0) => assert!(by_name(state(&target)) == new, "{name}, {size}: {text}"),
            Some(2) => {
                assert!(text.contains("No space left"), "{name}, {size}: {text}");
                assert!(text.contains("was taken back"), "{name}, {size}: {text}");
                assert!(text.contains("next:"), "{name}, {size}: {text}");
                assert!(by_name(state(&target)) == old, "{name}, {size}: {text}");
                failed += 1;
            }
            _ => panic!("{name}, {size}: {text}"),
        }
        assert_eq!(small.names().len(), files, "nothing is left behind");
        small.options("size=1g");
        support::ends(&run(&target, false), 0);
        assert!(by_name(state(&target)) == new, "{name}, {size}");
        support::ends(&run(&target, true), 0);
        assert!(by_name(state(&target)) == old, "{name}, {size}");
        bench.forget();
    }
    assert!(failed > 3, "{failed}");
    support::proof("faults", &format!("full-{name}"), failed);
}

#[test]
fn a_vhd_that_cannot_grow() {
    image("growing-vhd", growing("vhd-dynamic.vhd"));
}

#[test]
fn a_vhdx_that_cannot_grow() {
    image("growing-vhdx", growing("vhdx-dynamic.vhdx"));
}

#[test]
fn a_raw_image_whose_holes_cannot_be_filled() {
    let Some(mut bench) = Bench::new("gpt-broken.raw", &[]) else {
        return;
    };
    // The hive grows past its clusters, into what was never written.
    let mut text = String::from(
        "Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\SYSTEM\\Large]\r\n",
    );
    for number in 0..8 {
        let bytes: Vec<String> = (0..60_000_u32)
            .map(|at| format!("{:02x}", (at * 7 + number) % 251 + 1))
            .collect();
        text.push_str(&format!("\"{number}\"=hex:{}\r\n", bytes.join(",")));
    }
    let place = support::temporary();
    let file = place.path().join("large.reg");
    fs::write(&file, text).unwrap();
    bench.arguments = ["reg import", file.to_str().unwrap(), "--yes"]
        .map(str::to_owned)
        .to_vec();
    image("raw-holes", Some(bench));
}

#[test]
fn a_new_disk_that_does_not_fit() {
    let mut failed = 0;
    for (fixture, file, more) in [
        ("vhdx-dynamic.vhdx", "new.vhdx", &[][..]),
        ("vhd-dynamic.vhd", "new.vhd", &[]),
        ("gpt-broken.raw", "new.raw", &[]),
        ("gpt-broken.raw", "new.vhdx", &["--full-copy"]),
    ] {
        let Some(bench) = Bench::new(fixture, &REPAIR) else {
            return;
        };
        let journals = bench.folder.path().join("state");
        let run = |small: &Small| {
            let to = small.path().join(file);
            let output = [
                "--output",
                to.to_str().unwrap(),
                "--journal-dir",
                journals.to_str().unwrap(),
            ];
            bench.run(&[&REPAIR[..], &output, more].concat())
        };
        let Some(small) = Small::new("size=1g") else {
            return;
        };
        support::ends(&run(&small), 0);
        use std::os::unix::fs::MetadataExt as _;
        let last = (fs::metadata(small.path().join(file)).unwrap().blocks() * 512).div_ceil(PAGE);
        for size in sizes(1, last + 1) {
            bench.forget();
            let Some(small) = Small::new(&format!("size={}", size * PAGE)) else {
                return;
            };
            let output = run(&small);
            let text = said(&output);
            match output.status.code() {
                Some(0) => assert_eq!(small.names(), [small.path().join(file)]),
                Some(2) => {
                    assert!(text.contains("No space left"), "{file}, {size}: {text}");
                    assert_eq!(small.names(), [] as [PathBuf; 0], "{file}, {size}: {text}");
                    failed += 1;
                }
                _ => panic!("{file}, {size}: {text}"),
            }
            assert!(
                bench.state() == bench.old,
                "{file}, {size}: the source is only read"
            );
        }
    }
    support::proof("faults", "full-new-disk", failed);
}

/// A report that cannot be written does not hide what was done to the disk.
#[test]
fn a_report_that_does_not_fit() {
    let Some(bench) = Bench::new("gpt-broken.raw", &REPAIR) else {
        return;
    };
    let new = bench.new_state();
    let mut failed = 0;
    for format in ["text", "json", "html"] {
        let Some(small) = Small::new(&format!("size={PAGE}")) else {
            return;
        };
        let file = small.path().join("report");
        let report = ["--format", format, "-o", file.to_str().unwrap()];
        fs::write(small.path().join("filler"), vec![1; 4000]).unwrap();
        let text = support::ends(&bench.run(&[&["diagnose"][..], &report].concat()), 2);
        assert!(
            text.contains("No space left") && text.contains("report"),
            "{text}"
        );
        let repair = [&REPAIR[..], &report].concat();
        let text = support::ends(&bench.run(&repair), 2);
        assert!(
            text.contains("No space left") && text.contains("report"),
            "{text}"
        );
        assert_eq!(small.names(), [small.path().join("filler")]);
        judged(&bench, &new, &text);
        failed += 2;
        // The same on standard output.
        let mut run = bench.ours(&[&REPAIR[..], &["--format", format]].concat());
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = run.stdout(full).output().unwrap();
        let text = support::ends(&output, 2);
        assert!(text.contains("standard output"), "{text}");
        judged(&bench, &new, &text);
        failed += 1;
    }
    support::proof("faults", "full-report", failed);
}

/// The disk is old, or it is new and the message says so.
fn judged(bench: &Bench, new: &State, text: &str) {
    let found = bench.state();
    if found == bench.old {
        return;
    }
    assert!(found == *new);
    assert!(
        text.contains("coldfix undo"),
        "what was done, and how it is taken back: {text}"
    );
    bench.take_back();
}
