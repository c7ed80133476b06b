// SPDX-License-Identifier: GPL-2.0-or-later
//! A repair that goes to a new disk, stopped at any call: under its name there is nothing, or the repaired disk; and the
//! disk that it was made of is only read.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;

use super::bench::{Bench, said, state};
use super::calls::{REPAIR, chosen};
use super::strace::{self, Fault};
use super::support;

#[test]
fn a_copy_of_a_raw_disk() {
    stopped("new-raw", "gpt-broken.raw", "new.raw");
}

#[test]
fn a_child_of_a_vhdx() {
    stopped("new-vhdx-child", "vhdx-dynamic.vhdx", "new.vhdx");
}

fn stopped(name: &str, fixture: &str, file: &str) {
    let Some(mut bench) = Bench::new(fixture, &REPAIR) else {
        return;
    };
    if !support::require("strace") {
        return;
    }
    let new = bench.folder.path().join(file);
    let journals = bench.folder.path().join(format!("{file}.coldfix"));
    let to = ["--output", new.to_str().unwrap()].map(str::to_owned);
    bench.arguments.extend(to);
    let clear = || {
        let _ = fs::remove_file(&new);
        let _ = fs::remove_dir_all(&journals);
    };
    let calls = strace::calls(&bench.command(), &bench.target, 0);
    let list = || -> Vec<_> {
        let entries = fs::read_dir(bench.folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let whole = list();
    let mut tried = 0;
    for (call, fault) in chosen(name, &calls) {
        clear();
        let (output, injected) = strace::inject(&bench.command(), call, fault);
        if !injected {
            continue;
        }
        tried += 1;
        let text = said(&output);
        let what = format!("{name}: {fault:?} at {}: {text}", call.line);
        match (output.status.code(), output.status.signal(), fault) {
            (Some(0), ..) => assert!(new.exists(), "{what}"),
            (Some(2 | 3), ..) => assert!(text.contains("error: "), "{what}"),
            (None, Some(signal), Fault::Signal(name)) if signal == strace::signal(name) => {}
            _ => panic!("{what}: {:?}", output.status),
        }
        assert!(!text.contains("panicked"), "{what}");
        assert!(bench.state() == bench.old, "{what}");
        let was_there = new.exists();
        if was_there {
            // It is the repaired one: there is nothing left to do.
            let found = state(&new);
            let again = bench.ours_on(&new, &REPAIR).output().unwrap();
            let again = said(&again);
            assert!(again.contains("nothing to "), "{what}\nthen {again}");
            assert!(state(&new) == found, "{what}\nthen {again}");
        }
        // The same again.
        let again = bench.command().output().unwrap();
        let code = if was_there { 3 } else { 0 };
        let then = said(&again);
        assert_eq!(again.status.code(), Some(code), "{what}\nthen {then}");
        assert!(
            new.exists() && bench.state() == bench.old,
            "{what}\nthen {then}"
        );
        if !was_there {
            assert_eq!(list(), whole, "{what}\nthen {then}");
        }
    }
    assert!(tried > 40, "{tried}");
    support::proof("faults", &format!("calls-{name}"), tried);
}
