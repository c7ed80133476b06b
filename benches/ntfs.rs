// SPDX-License-Identifier: GPL-2.0-or-later
//! NTFS: a journal carried out, names put into the index of a folder, descriptors found by their hash.
//!
//! The volumes are made by mkntfs and ntfs-3g, and the journal by the tests' own writer; without those programs there is
//! nothing to measure.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

#[path = "../tests/ntfs_log/mod.rs"]
mod ntfs_log;
#[path = "../tests/ntfs_support/mod.rs"]
mod ntfs_support;
#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::hint::black_box;
use std::sync::Arc;

use coldfix::device::SharedDevice;
use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
use coldfix::security::descriptor::Descriptor;
use coldfix::security::sddl;
use coldfix::volume::ntfs::{NtfsVolume, fuzzing};
use coldfix::volume::{JournalVerdict, Volume as _};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use ntfs_log::Random;
use ntfs_log::happenings::history;
use ntfs_log::writer::Version;

const NOW: u64 = 133_485_408_000_000_000;

fn memory(image: Vec<u8>) -> SharedDevice {
    Arc::new(MemoryDevice::new(image))
}

/// A volume that can be changed without its base.
fn open(base: &SharedDevice) -> NtfsVolume {
    NtfsVolume::open(Arc::new(Overlay::new(Arc::clone(base)))).unwrap()
}

/// A volume that was cut off while changes waited in its journal.
fn pending() -> Option<SharedDevice> {
    let image = ntfs_support::made_with((8, 1024, 512), 60)?;
    let folders = ["", "many", "Windows", "Windows/System32/config"];
    let history = history(&fs::read(image).unwrap(), 7, Version::Tail, 30, &folders);
    let crash = history.crash(history.len(), &mut Random(7));
    Some(memory(crash.image))
}

fn journal(criterion: &mut Criterion) {
    let Some(base) = pending() else {
        return;
    };
    let state = open(&base).state().journal.clone().unwrap();
    assert_eq!(state.verdict, JournalVerdict::Pending, "{state:?}");
    assert_eq!(state.replay_refusal(), None);
    let mut group = criterion.benchmark_group("ntfs journal");
    for (what, replay) in [("open and replay", true), ("open as it was left", false)] {
        group.bench_function(BenchmarkId::new(what, state.redo), |bencher| {
            bencher.iter(|| NtfsVolume::open_with(Arc::clone(black_box(&base)), replay));
        });
    }
    group.finish();
}

fn index(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ntfs index");
    for names in [60, 5000] {
        let Some(image) = ntfs_support::made_with((32, 1024, 512), names) else {
            return;
        };
        let base = memory(fs::read(image).unwrap());
        let volume = open(&base);
        let like = "many/file with the number 1";
        group.bench_function(BenchmarkId::new("find a name", names), |bencher| {
            bencher.iter(|| volume.entry(black_box(like)).unwrap().is_some());
        });
        group.bench_function(BenchmarkId::new("insert a name", names), |bencher| {
            let new = format!("many/file with the number {}, new", names / 2);
            bencher.iter_batched(
                || open(&base),
                |volume| {
                    let made = volume.create_file_like(black_box(&new), &[], like, NOW);
                    made.unwrap();
                    volume
                },
                BatchSize::LargeInput,
            );
        });
        let mut turn = 0;
        let own = ["1", "no number"].map(|name| format!("file with the number {name}"));
        group.bench_function(BenchmarkId::new("rename", names), |bencher| {
            bencher.iter(|| {
                let path = format!("many/{}", own[turn % 2]);
                turn += 1;
                volume.rename(&path, &own[turn % 2], NOW).unwrap();
            });
        });
    }
    group.finish();
}

/// The descriptor of a folder with as many entries.
fn descriptor(entries: usize) -> Vec<u8> {
    let rights: String = (0..entries)
        .map(|rid| format!("(A;OICI;0x1200a9;;;S-1-5-21-1-2-3-{})", 1000 + rid))
        .collect();
    let descriptor = sddl::parse(&format!("O:BAG:SYD:PAI{rights}"), None).unwrap();
    descriptor.to_bytes().unwrap()
}

fn descriptors(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("descriptor");
    for entries in [4, 200] {
        let bytes = descriptor(entries);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::new("hash", entries), |bencher| {
            bencher.iter(|| fuzzing::descriptor_hash(black_box(&bytes)));
        });
        group.bench_function(BenchmarkId::new("parse", entries), |bencher| {
            bencher.iter(|| Descriptor::parse(black_box(&bytes)).unwrap());
        });
    }
    group.finish();
    let Some(image) = ntfs_support::made_with((32, 1024, 512), 60) else {
        return;
    };
    // As many different descriptors in $Secure, so that both of its indexes have inner nodes.
    let volume = open(&memory(fs::read(image).unwrap()));
    let known: Vec<_> = (1..=400).map(descriptor).collect();
    for descriptor in &known {
        volume.set_security(descriptor, &["many"], NOW).unwrap();
    }
    let mut group = criterion.benchmark_group("ntfs security");
    group.bench_function("set one of 400 descriptors", |bencher| {
        let mut turn = 0;
        bencher.iter(|| {
            turn += 1;
            let descriptor = black_box(&known[turn % 2]);
            volume.set_security(descriptor, &["many"], NOW).unwrap();
        });
    });
    group.bench_function("read one of 400 descriptors", |bencher| {
        bencher.iter(|| volume.security(black_box(&["many"])).unwrap().len());
    });
    group.finish();
}

criterion_group!(ntfs, journal, index, descriptors);
criterion_main!(ntfs);
