// SPDX-License-Identifier: GPL-2.0-or-later
//! Registry hives: taken apart, searched, edited, and recovered from their logs.
//!
//! With the test data SYSTEM is one of a real Windows 10; else it is the small one that `scripts/make-fixtures` makes.
//! Its name is part of each benchmark's.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

#[path = "../tests/support/mod.rs"]
mod support;
#[allow(dead_code, reason = "the tests of logs make more of them")]
#[path = "../tests/hive_logs/writer.rs"]
mod writer;

use std::fs;
use std::hint::black_box;

use coldfix::hive::Hive;
use coldfix::hive::log::{LogFile, State, recover};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const KEY: &str = "ControlSet001\\Services\\TermService";
const NOW: u64 = 133_485_408_000_000_000;
const REG_BINARY: u32 = 3;
const REG_DWORD: u32 = 4;

/// A file of the test data, where that is there.
fn real(name: &str) -> Option<Vec<u8>> {
    let path = support::data_folder().join(name);
    path.exists().then(|| support::unxz(&path))
}

/// The largest SYSTEM that can be had, and what it is called.
fn system() -> (&'static str, Vec<u8>) {
    if let Some(hive) = real("hives/system-w10-clean.xz") {
        return ("system-w10", hive);
    }
    let made = support::fixtures(&["folder/everything-wrong"]).unwrap();
    let path = "folder/everything-wrong/Windows/System32/config/SYSTEM";
    ("system-made", fs::read(made.join(path)).unwrap())
}

fn lookups(criterion: &mut Criterion) {
    let (name, image) = system();
    let hive = Hive::parse(image.clone()).unwrap();
    let mut group = criterion.benchmark_group("hive lookup");
    group.bench_function(BenchmarkId::new("value", name), |bencher| {
        bencher.iter(|| {
            let key = hive.key(black_box(KEY)).unwrap().unwrap();
            key.value("Start").unwrap().unwrap().data().unwrap().len()
        });
    });
    group.bench_function(BenchmarkId::new("key that is not there", name), |bencher| {
        let missing = format!("{KEY}\\Parameters\\No such key");
        bencher.iter(|| hive.key(black_box(&missing)).unwrap().is_none());
    });
    group.bench_function(BenchmarkId::new("names of services", name), |bencher| {
        let services = hive.key("ControlSet001\\Services").unwrap().unwrap();
        bencher.iter(|| services.subkeys().unwrap().len());
    });
    group.finish();
    let mut group = criterion.benchmark_group("hive open");
    group.throughput(Throughput::Bytes(image.len() as u64));
    group.bench_function(BenchmarkId::new("parse", name), |bencher| {
        bencher.iter_batched(
            || image.clone(),
            |image| Hive::parse(image).unwrap(),
            BatchSize::LargeInput,
        );
    });
    group.bench_function(BenchmarkId::new("check", name), |bencher| {
        bencher.iter(|| hive.check().len());
    });
    group.finish();
}

fn edits(criterion: &mut Criterion) {
    let (name, image) = system();
    let mut group = criterion.benchmark_group("hive edit");
    let mut set = |what: &str, value: &str, kind: u32, data: [Vec<u8>; 2]| {
        let mut hive = Hive::parse(image.clone()).unwrap();
        let mut turn = 0;
        group.bench_function(BenchmarkId::new(what, name), |bencher| {
            bencher.iter(|| {
                turn += 1;
                let data = black_box(&data[turn % 2]);
                hive.set_value(KEY, value, kind, data, NOW).unwrap();
            });
        });
        let key = hive.key(KEY).unwrap().unwrap();
        let left = key.value(value).unwrap().unwrap();
        assert_eq!(*left.data().unwrap(), data[turn % 2]);
    };
    let numbers = [2_u32, 4].map(|number| number.to_le_bytes().to_vec());
    set("set a number", "Start", REG_DWORD, numbers);
    set(
        "set a value of another length",
        "bench",
        REG_BINARY,
        [vec![1; 40], vec![2; 4000]],
    );
    let mut hive = Hive::parse(image.clone()).unwrap();
    group.bench_function(BenchmarkId::new("make and delete a key", name), |bencher| {
        let path = format!("{KEY}\\bench");
        bencher.iter(|| {
            hive.create_key(black_box(&path), NOW).unwrap();
            hive.delete_key(&path, NOW).unwrap()
        });
    });
    group.finish();
}

/// A hive that has to be recovered.
struct Dirty {
    name: &'static str,
    primary: Vec<u8>,
    logs: Vec<(&'static str, Vec<u8>)>,
}

impl Dirty {
    /// That of a real Windows 10, or one of bins with nothing in them.
    fn any() -> Dirty {
        let logs = [".LOG1", ".LOG2"];
        let files = logs.map(|log| real(&format!("hives/system-w10-dirty{log}.xz")));
        if let (Some(primary), [Some(one), Some(two)]) = (real("hives/system-w10-dirty.xz"), files)
        {
            return Dirty {
                name: "system-w10",
                primary,
                logs: vec![(logs[0], one), (logs[1], two)],
            };
        }
        let bins = 2000;
        let entries: Vec<_> = (0..24)
            .map(|number| {
                let pages: Vec<_> = (0..20).map(|page| (number * 80 + page, 9)).collect();
                writer::entry(8 + number as u32, bins, &pages)
            })
            .collect();
        Dirty {
            name: "made",
            primary: writer::hive((8, 7), &vec![1; bins]),
            logs: vec![(logs[0], writer::new_log(8, &entries))],
        }
    }
}

fn replay(criterion: &mut Criterion) {
    let Dirty {
        name,
        primary,
        logs,
    } = Dirty::any();
    let logs: Vec<_> = logs
        .iter()
        .map(|(name, bytes)| LogFile { name, bytes })
        .collect();
    let bytes: usize = logs.iter().map(|log| log.bytes.len()).sum();
    let mut group = criterion.benchmark_group("hive log replay");
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function(BenchmarkId::new("recover", name), |bencher| {
        bencher.iter_batched(
            || primary.clone(),
            |primary| {
                let recovered = recover(primary, &logs).unwrap();
                assert_eq!(recovered.state, State::Replayed);
                recovered
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(hive, lookups, edits, replay);
criterion_main!(hive);
