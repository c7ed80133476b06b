// SPDX-License-Identifier: GPL-2.0-or-later
//! An image that somebody cuts while it is read, or while it is repaired, whatever the locks say.

use std::fs::File;

use super::bench::{Bench, Random, all, said};
use super::calls::REPAIR;
use super::strace;
use super::support;

#[test]
fn an_image_that_is_cut_while_it_is_read() {
    let Some(bench) = Bench::new("gpt-broken.raw", &["diagnose"]) else {
        return;
    };
    if !support::require("strace") {
        return;
    }
    let calls = strace::calls(&bench.command(), &bench.target, 1);
    let whole = std::fs::metadata(&bench.target).unwrap().len();
    let mut random = Random::new("cut");
    let count = if all() { calls.len() } else { 16 };
    let (mut tried, mut noticed) = (0, 0);
    for call in random.some(calls.iter().collect(), count) {
        // To nothing, to within the partition table, to within the volume.
        let len = [0, 1024, 40 << 20, whole - 512][random.below(4)];
        let Some(run) = strace::pause(&bench.command(), call) else {
            continue;
        };
        cut(&bench, len);
        let output = run.go_on();
        let text = said(&output);
        let code = output.status.code();
        // Of what it has read already it may make its report.
        assert!(
            matches!(code, Some(1 | 2)),
            "{len} at {}: {:?} {text}",
            call.line,
            output.status
        );
        assert!(!text.contains("panicked"), "{text}");
        noticed += u64::from(text.contains("made shorter") || code == Some(2));
        assert_eq!(
            std::fs::metadata(&bench.target).unwrap().len(),
            len,
            "nothing is written"
        );
        tried += 1;
        bench.reset();
    }
    assert!(noticed > tried / 4, "{noticed} of {tried}");
    support::proof("faults", "cut-while-read", tried);
}

#[test]
fn an_image_that_is_cut_while_it_is_repaired() {
    let Some(bench) = Bench::new("gpt-broken.raw", &REPAIR) else {
        return;
    };
    if !support::require("strace") {
        return;
    }
    let calls = strace::calls(&bench.command(), &bench.target, 0);
    bench.take_back();
    let mut random = Random::new("cut while repaired");
    let count = if all() { calls.len() } else { 16 };
    let mut tried = 0;
    // A write is preceded by a look at the length; nothing helps against a cut between the two.
    let places = calls.iter().filter(|call| call.name != "statx").collect();
    for call in random.some(places, count) {
        let Some(run) = strace::pause(&bench.command(), call) else {
            bench.pass_over();
            continue;
        };
        let len = 1 << 20;
        cut(&bench, len);
        let output = run.go_on();
        let text = said(&output);
        assert!(
            matches!(output.status.code(), Some(0 | 2 | 3)),
            "{}: {text}",
            call.line
        );
        // What is gone is gone; it is not made up for with zeros.
        assert_eq!(
            std::fs::metadata(&bench.target).unwrap().len(),
            len,
            "{}: {text}",
            call.line
        );
        tried += 1;
        bench.reset();
    }
    support::proof("faults", "cut-while-repaired", tried);
}

fn cut(bench: &Bench, len: u64) {
    let file = File::options().write(true).open(&bench.target).unwrap();
    file.set_len(len).unwrap();
}
