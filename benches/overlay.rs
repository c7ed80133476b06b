// SPDX-License-Identifier: GPL-2.0-or-later
//! The overlay that every edit goes to: reads and writes where very many pieces of it are changed already.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::arithmetic_side_effects
)]

use std::hint::black_box;
use std::sync::Arc;

use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
use coldfix::device::{Device as _, SharedDevice};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const LEN: u64 = 64 << 20;
const SECTOR: u64 = 512;
/// A piece of a read or write: an MFT record's neighbourhood, a cluster, a hive's bins.
const PIECES: [usize; 3] = [512, 4096, 1 << 20];

/// A device of which every eighth sector of the first so many is changed.
fn changed(base: &SharedDevice, extents: u64) -> Overlay {
    let overlay = Overlay::new(Arc::clone(base));
    for extent in 0..extents {
        let sector = [7; 512];
        overlay.write_at(extent * 8 * SECTOR, &sector).unwrap();
    }
    overlay
}

/// Offsets that jump about, and are the same each time.
fn scattered(turn: &mut u64, len: usize) -> u64 {
    *turn = turn.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*turn ^ (*turn >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 20;
    mixed % (LEN - len as u64) / SECTOR * SECTOR
}

fn overlay(criterion: &mut Criterion) {
    let base: SharedDevice = Arc::new(MemoryDevice::new(vec![1; usize::try_from(LEN).unwrap()]));
    for extents in [0, 100, 16_000] {
        let mut group = criterion.benchmark_group(format!("overlay of {extents} extents"));
        let overlay = changed(&base, extents);
        for len in PIECES {
            group.throughput(Throughput::Bytes(len as u64));
            group.bench_function(BenchmarkId::new("read", len), |bencher| {
                let (mut buffer, mut turn) = (vec![0; len], 1);
                bencher.iter(|| {
                    let offset = scattered(&mut turn, len);
                    overlay.read_at(offset, black_box(&mut buffer)).unwrap();
                });
            });
        }
        // Onto changed sectors, so that the overlay stays as it is.
        group.throughput(Throughput::Bytes(SECTOR));
        if extents > 0 {
            group.bench_function("write again", |bencher| {
                let (mut sector, mut turn) = ([2; 512], 1);
                bencher.iter(|| {
                    turn += 1;
                    sector[0] ^= 1;
                    let offset = turn % extents * 8 * SECTOR;
                    overlay.write_at(offset, black_box(&sector)).unwrap();
                });
            });
            group.throughput(Throughput::Elements(extents));
            group.bench_function("changes", |bencher| {
                bencher.iter(|| overlay.changes().unwrap().len());
            });
        }
        group.throughput(Throughput::Bytes(1 << 20));
        group.bench_function("write 1 MiB that is new", |bencher| {
            let data = vec![3; 1 << 20];
            bencher.iter_batched(
                || changed(&base, extents.min(100)),
                |overlay| {
                    overlay.write_at(LEN / 2, black_box(&data)).unwrap();
                    overlay
                },
                BatchSize::LargeInput,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, overlay);
criterion_main!(benches);
