// SPDX-License-Identifier: GPL-2.0-or-later
//! Every system call of a run that writes: fails, lies, or is met by a signal.

use std::collections::BTreeSet;
use std::fs;

use super::bench::{Bench, Met, Random, all};
use super::mounted_support::Mount;
use super::strace::{self, Call, Fault};
use super::support;

/// Changes two hives, or one in two places.
pub(crate) const REPAIR: [&str; 6] = ["repair", "--fix", "tls", "--fix", "nla", "--yes"];

/// How many faults are a sample.
const SAMPLE: usize = 60;

#[test]
fn a_raw_disk() {
    sweep("raw-ntfs", Bench::new("gpt-broken.raw", &REPAIR));
}

#[test]
fn a_fixed_vhd() {
    sweep("fixed-vhd", Bench::new("vhd-broken.vhd", &REPAIR));
}

#[test]
fn a_vhd_that_grows() {
    sweep("growing-vhd", growing("vhd-dynamic.vhd"));
}

#[test]
fn a_vhdx_that_grows() {
    sweep("growing-vhdx", growing("vhdx-dynamic.vhdx"));
}

#[test]
fn a_dynamic_vhdx() {
    sweep("dynamic-vhdx", Bench::new("vhdx-dynamic.vhdx", &REPAIR));
}

#[test]
fn a_fat_volume() {
    let set = ["bcd set", "{bootmgr}", "bootems", "yes", "--yes"];
    sweep("fat-esp", Bench::new("gpt-broken.raw", &set));
}

#[test]
fn a_folder() {
    sweep("folder", Bench::new("folder/demo", &REPAIR));
}

/// The host sets descriptors and gives another name.
#[test]
fn a_folder_that_ntfs_3g_mounts() {
    for (name, fix) in [
        ("mounted-descriptors", "machine-keys"),
        ("mounted-names", "machine-keys=rename"),
    ] {
        let repair = ["repair", "--fix", fix, "--yes"];
        let Some(mut bench) = Bench::new("keys-denied.raw", &repair) else {
            return;
        };
        let place = support::temporary();
        let Some(_mount) = Mount::ntfs("ntfs-3g", "windows_names", &bench.target, place.path())
        else {
            return;
        };
        bench.target = place.path().to_owned();
        bench.old = bench.state();
        sweep(name, Some(bench));
    }
}

/// A change that needs new blocks: in a differencing disk that is still empty, every one does.
pub(crate) fn growing(fixture: &str) -> Option<Bench> {
    let mut bench = Bench::new(fixture, &REPAIR)?;
    let (_, extension) = fixture.rsplit_once('.').unwrap();
    let parent = bench.folder.path().join(format!("parent.{extension}"));
    fs::rename(&bench.target, &parent).unwrap();
    let child = bench.folder.path().join(format!("child.{extension}"));
    let make = [&REPAIR[..], &["--output", child.to_str().unwrap()]].concat();
    support::ends(&bench.ours_on(&parent, &make).output().unwrap(), 0);
    bench.target = child;
    let after = fs::metadata(&bench.target).unwrap().len();
    support::ends(&bench.run(&["undo", "--yes"]), 0);
    let before = fs::metadata(&bench.target).unwrap().len();
    assert!(after > before, "{fixture} grows");
    bench.begin();
    Some(bench)
}

/// Meets every call of the command with every fault, or a sample of them.
fn sweep(name: &str, bench: Option<Bench>) {
    let Some(bench) = bench else {
        return;
    };
    if !support::require("strace") {
        return;
    }
    let new = bench.new_state();
    let calls = strace::calls(&bench.command(), &bench.target, 0);
    bench.take_back();
    let (mut tried, mut missed, mut failures) = (0_u64, 0, Vec::new());
    for (step, (call, fault)) in chosen(name, &calls).into_iter().enumerate() {
        let Some(met) = meet(&bench, call, fault) else {
            eprintln!("{name}: not come to: {fault:?} at {}", call.line);
            missed += 1;
            bench.pass_over();
            continue;
        };
        tried += 1;
        if let Err(wrong) = bench.judge(&new, &met, step) {
            let failure = format!("{name}: {fault:?} at {}: {wrong}", call.line);
            eprintln!("{failure}");
            assert!(!name.starts_with("mounted"), "{failure}");
            failures.push(failure);
            bench.reset();
        }
    }
    eprintln!("{name}: {} calls: {:?}", calls.len(), strace::names(&calls));
    assert!(
        failures.is_empty(),
        "{} of {tried}:\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    assert!(tried >= SAMPLE as u64, "{tried}");
    // Calls that ask for memory are not the same in every run, and whoever started the tests may have made signals be ignored.
    assert!(missed <= tried / 20, "{missed} beside {tried}");
    support::proof("faults", &format!("calls-{name}"), tried);
}

/// The places and what happens there. Of the calls that only read, few; of the others each kind with each fault once at
/// least.
pub(crate) fn chosen<'a>(name: &str, calls: &'a [Call]) -> Vec<(&'a Call, Fault)> {
    let pairs = |calls: &'a [Call]| -> Vec<(&'a Call, Fault)> {
        let each = |call: &'a Call| call.faults().iter().map(move |fault| (call, *fault));
        calls.iter().flat_map(each).collect()
    };
    let (reading, writing) = calls.split_at(strace::first_write(calls));
    if all() {
        // Calls that only read are many and alike: each meets one of its faults.
        let one = reading.iter().enumerate().map(|(number, call)| {
            let faults = call.faults();
            (call, faults[number % faults.len()])
        });
        return one.chain(pairs(writing)).collect();
    }
    let mut random = Random::new(name);
    let mut chosen = random.some(pairs(reading), SAMPLE / 4);
    let mut writing = pairs(writing);
    let mut seen = BTreeSet::new();
    for _ in 0..writing.len() {
        // In an order of chance, and those first that have not had their turn.
        let next = writing.swap_remove(random.below(writing.len()));
        let late = chosen.len() >= SAMPLE;
        if seen.insert((&next.0.name, next.1)) || !late && random.below(8) == 0 {
            chosen.push(next);
        }
    }
    chosen
}

/// The run with one fault; `None` when it did not come to it.
fn meet(bench: &Bench, call: &Call, fault: Fault) -> Option<Met> {
    let (output, injected) = strace::inject(&bench.command(), call, fault);
    if !injected {
        return None;
    }
    let signal = match fault {
        Fault::Signal(name) => Some(strace::signal(name)),
        _ => None,
    };
    // The standard library tries these again. What is opened or flushed without it, folders, gives up.
    let retried = match call.name.as_str() {
        "openat" => call.line.starts_with("openat(AT_FDCWD") && !call.line.contains("O_DIRECTORY"),
        "fsync" => !bench.target.is_dir(),
        "pread64" | "pwrite64" | "read" | "write" | "fdatasync" | "ftruncate" => true,
        _ => false,
    };
    Some(Met {
        output,
        signal,
        must_succeed: fault == Fault::Error("EINTR") && retried,
        leaves_files: false,
    })
}
