// SPDX-License-Identifier: GPL-2.0-or-later
//! Reads and writes that do a part of what they are asked for, and those that a signal interrupts: every one of a run.

use std::fs;
use std::path::Path;

use super::bench::{Bench, said};
use super::calls::{REPAIR, growing};
use super::support;

/// What is put before the C library; `None`, and counted, without a compiler.
fn library(folder: &Path) -> Option<std::path::PathBuf> {
    if !support::require("cc") {
        return None;
    }
    let library = folder.join("short.so");
    let source = support::root().join("tests/faults/short.c");
    support::run(
        support::program("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(source)
            .arg("-ldl"),
    );
    Some(library)
}

#[test]
fn every_read_and_write_is_short() {
    let place = support::temporary();
    let Some(library) = library(place.path()) else {
        return;
    };
    let list = place.path().join("calls");
    let mut tried = 0;
    for bench in [
        Bench::new("gpt-broken.raw", &REPAIR),
        growing("vhd-dynamic.vhd"),
        Bench::new("vhdx-dynamic.vhdx", &REPAIR),
        Bench::new("folder/demo", &REPAIR),
    ] {
        let Some(bench) = bench else {
            return;
        };
        let new = bench.new_state();
        let short = |command: &mut std::process::Command| {
            command
                .env("LD_PRELOAD", &library)
                .env("COLDFIX_SHORT", &list);
            let output = command.output().unwrap();
            let count: u64 = fs::read_to_string(&list).unwrap().trim().parse().unwrap();
            fs::remove_file(&list).unwrap();
            (output, count)
        };
        let (output, count) = short(&mut bench.command());
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(bench.state() == new);
        let (output, more) = short(&mut bench.ours(&["undo", "--yes"]));
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(bench.state() == bench.old);
        let (output, most) = short(&mut bench.ours(&["diagnose"]));
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(count > 50 && more > 20 && most > 0, "{count} {more} {most}");
        tried += count + more + most;
    }
    support::proof("faults", "short-reads-and-writes", tried);
}
