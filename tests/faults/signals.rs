// SPDX-License-Identifier: GPL-2.0-or-later
//! Signals at any moment, not only at a system call: while the program reads, computes, writes.

use std::process::Stdio;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::bench::{Bench, Met, Random, all};
use super::calls::{REPAIR, growing};
use super::support;

#[test]
fn a_signal_at_any_moment() {
    let mut tried = 0;
    for bench in [
        Bench::new("gpt-broken.raw", &REPAIR),
        growing("vhdx-dynamic.vhdx"),
        Bench::new("folder/demo", &REPAIR),
    ] {
        let Some(bench) = bench else {
            return;
        };
        let new = bench.new_state();
        let begun = Instant::now();
        support::ends(&bench.command().output().unwrap(), 0);
        let whole = begun.elapsed();
        bench.take_back();
        let mut random = Random::new("signals");
        let signals = [
            (Signal::INT, 2),
            (Signal::TERM, 15),
            (Signal::HUP, 1),
            (Signal::KILL, 9),
        ];
        let rounds = if all() { 500 } else { 16 };
        for step in 0..rounds {
            let (signal, number) = signals[step / 2 % signals.len()];
            let run = bench
                .command()
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let id = Pid::from_raw(run.id().try_into().unwrap()).unwrap();
            std::thread::sleep(whole.mul_f64(random.below(1000) as f64 / 1000.0));
            let _ = kill_process(id, signal);
            let output = run.wait_with_output().unwrap();
            tried += u64::from(output.status.code().is_none());
            let met = Met {
                output,
                signal: Some(number),
                must_succeed: false,
                leaves_files: false,
            };
            if let Err(wrong) = bench.judge(&new, &met, step) {
                panic!("{} {number}: {wrong}", bench.target.display());
            }
        }
    }
    support::proof("faults", "signals", tried);
}
