// SPDX-License-Identifier: GPL-2.0-or-later
//! The journal of an operation that was killed in the middle, cut at any length, and with any byte another one: no run
//! believes it, none touches the target, and with the journal as it was the target is old again.

use std::fs;

use super::bench::{Bench, Random, all, said};
use super::calls::{REPAIR, growing};
use super::strace::{self, Fault};
use super::support;

#[test]
fn of_a_raw_disk() {
    let Some(bench) = Bench::new("gpt-broken.raw", &REPAIR) else {
        return;
    };
    spoil("raw-ntfs", &bench);
}

#[test]
fn of_a_growing_vhd() {
    let Some(bench) = growing("vhd-dynamic.vhd") else {
        return;
    };
    spoil("growing-vhd", &bench);
}

#[test]
fn of_a_folder() {
    let Some(bench) = Bench::new("folder/demo", &REPAIR) else {
        return;
    };
    spoil("folder", &bench);
}

fn spoil(name: &str, bench: &Bench) {
    if !support::require("strace") {
        return;
    }
    let new = bench.new_state();
    let calls = strace::calls(&bench.command(), &bench.target, 0);
    bench.take_back();
    let writes: Vec<_> = calls
        .iter()
        .filter(|call| call.name == "pwrite64")
        .collect();
    let middle = writes[writes.len() / 2];
    let (_, killed) = strace::inject(&bench.command(), middle, Fault::Signal("SIGKILL"));
    assert!(killed);
    let between = bench.state();
    assert!(between != bench.old && between != new, "half-written");
    let folder = bench.journals().expect("a journal folder");
    let journal = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "journal"))
        .expect("a journal");
    let whole = fs::read(&journal).unwrap();

    let mut random = Random::new(name);
    let count = if all() { whole.len() } else { 40 };
    // The head and the end are where most can be wrong.
    let edges = (0..whole.len()).filter(|at| *at < 64 || whole.len() - at < 64);
    let middles = (64..whole.len() - 64).collect();
    let mut places = random.some(edges.collect(), count / 2);
    places.extend(random.some(middles, count));
    let mut tried = 0;
    for (round, at) in places.into_iter().enumerate() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << random.below(8);
        for (what, bytes) in [("cut", &whole[..at]), ("flipped", &flipped[..])] {
            fs::write(&journal, bytes).unwrap();
            let output = match round % 2 {
                0 => bench.command().output().unwrap(),
                _ => bench.run(&["undo", "--yes"]),
            };
            let text = said(&output);
            let code = output.status.code();
            assert!(matches!(code, Some(2 | 3)), "{what} at {at}: {text}");
            assert!(text.contains(".journal"), "{what} at {at}: {text}");
            assert!(text.contains("next:"), "{what} at {at}: {text}");
            assert!(bench.state() == between, "{what} at {at}: {text}");
            tried += 1;
        }
    }
    // Bytes behind its end are not its own.
    fs::write(&journal, [&whole[..], b"\0"].concat()).unwrap();
    let output = bench.command().output().unwrap();
    assert!(
        matches!(output.status.code(), Some(2 | 3)),
        "{}",
        said(&output)
    );
    assert!(bench.state() == between);
    fs::write(&journal, &whole).unwrap();
    support::ends(&bench.command().output().unwrap(), 0);
    assert!(bench.state() == new);
    bench.take_back();
    support::proof("faults", &format!("journal-{name}"), tried + 1);
}
