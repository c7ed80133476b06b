// SPDX-License-Identifier: GPL-2.0-or-later
//! Turned bits, cut files and random bytes in every structure: an answer in bounded time and memory, and no panic.

use std::sync::Arc;

use coldfix::container;
use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
use proptest::prelude::*;

use super::build::{self, LOG, METADATA, MIB, Step, Vhdx, log_entry};
use super::disks::{ID, KIB, PARENT, small, with_block};

/// Opens, reads and writes; true when it opened. What does not open says what to do next.
fn look(bytes: Vec<u8>) -> bool {
    // Over an overlay, as it always is: a log may ask for a file of many TiB.
    let device = Arc::new(Overlay::new(Arc::new(MemoryDevice::new(bytes))));
    let container = match container::open(device) {
        Ok(container) => container,
        Err(error) => {
            assert!(error.hint().is_some(), "{error}");
            return false;
        }
    };
    let size = container.disk.len();
    let mut sector = [0; 512];
    for offset in [0, size / 3, size / 2, size.saturating_sub(512)] {
        if offset + 512 <= size {
            let _ = container.disk.read_at(offset, &mut sector);
        }
    }
    let _ = container.disk.write_at(0, &[1; 10]);
    let _ = container.disk.write_at(size.saturating_sub(10), &[1; 10]);
    let _ = container.seal(&[]);
    true
}

/// What came of many looks.
#[derive(Debug, Default)]
struct Tally {
    opened: usize,
    refused: usize,
}

impl Tally {
    fn look(&mut self, bytes: Vec<u8>) {
        match look(bytes) {
            true => self.opened += 1,
            false => self.refused += 1,
        }
    }
}

#[test]
fn vhds_with_a_turned_bit_or_cut_are_answered() {
    let plain = build::vhd(1536 * KIB, 512 * KIB as u32, ID, None);
    let child = build::vhd(1536 * KIB, 512 * KIB as u32, ID, Some((PARENT, "none.vhd")));
    let mut tally = Tally::default();
    for image in [plain, child] {
        let whole = with_block(image, &[0xff; 64]).bytes();
        let len = whole.len();
        for at in (0..1560).chain(len - 512..len) {
            // All bits would take minutes; two of each byte do not.
            for bit in [0, 7] {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                tally.look(bytes);
            }
        }
        for cut in (0..8192).step_by(256).chain(len - 1100..len) {
            tally.look(whole[..cut].to_vec());
        }
    }
    eprintln!("{tally:?}");
    assert!(tally.opened > 1000 && tally.refused > 1000);
}

/// The places of a VHDX's structures: headers, region tables, a log entry, metadata, BAT.
fn structures() -> Vec<usize> {
    let ranges = [
        0..520,
        64 << 10..(64 << 10) + 96,
        128 << 10..(128 << 10) + 96,
        192 << 10..(192 << 10) + 96,
        256 << 10..(256 << 10) + 96,
        LOG as usize..LOG as usize + 160,
        LOG as usize + 4096..LOG as usize + 4120,
        METADATA as usize..METADATA as usize + 250,
        (METADATA as usize + (64 << 10))..(METADATA as usize + (64 << 10) + 200),
        3 << 20..(3 << 20) + 40,
    ];
    ranges.into_iter().flatten().collect()
}

/// A small disk with a log to replay, with and without a parent.
fn vhdx(parent: bool) -> Vec<u8> {
    let (mut vhdx, image) = small();
    vhdx.log_guid = uuid::Uuid::from_u128(1);
    vhdx.parent = parent.then(|| (uuid::Uuid::from_u128(9), r".\none.vhdx".to_owned()));
    let mut made = vhdx.build();
    made.len = image.len;
    let mut sector = vec![0; 4096];
    sector[..8].copy_from_slice(&vhdx.bat[0].1.to_le_bytes());
    let steps = [
        Step::Data(3 * MIB, sector),
        Step::Zero(3 * MIB + 8192, 4096),
    ];
    made.put(LOG, log_entry(vhdx.log_guid, 3, 0, image.len, &steps));
    made.bytes()
}

/// Seals every structure of a VHDX that has a checksum, so that what is in it is judged.
fn seal(bytes: &mut [u8]) {
    for at in [64 << 10, 128 << 10] {
        build::seal_vhdx(&mut bytes[at..at + 4096]);
    }
    for at in [192 << 10, 256 << 10] {
        build::seal_vhdx(&mut bytes[at..at + (64 << 10)]);
    }
    build::seal_vhdx(&mut bytes[LOG as usize..LOG as usize + 8192]);
}

#[test]
fn vhdx_files_with_a_turned_bit_or_cut_are_answered() {
    let mut tally = Tally::default();
    for parent in [false, true] {
        let whole = vhdx(parent);
        for at in structures() {
            for (bit, sealed) in [(0, false), (7, true)] {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                if sealed {
                    seal(&mut bytes);
                }
                tally.look(bytes);
            }
        }
        for cut in (0..whole.len())
            .step_by(100_000)
            .chain([1, 7, 8, 9, 512, whole.len() - 1])
        {
            tally.look(whole[..cut].to_vec());
        }
    }
    eprintln!("{tally:?}");
    assert!(tally.opened > 500 && tally.refused > 500);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Several bytes of the structures at once, with right checksums: what a fuzzer would find first.
    #[test]
    fn random_bytes_in_sound_structures_are_answered(
        parent in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let places = structures();
        let mut bytes = vhdx(parent);
        for (place, value) in changes {
            bytes[*place.get(&places)] = value;
        }
        seal(&mut bytes);
        look(bytes);
    }

    #[test]
    fn random_bytes_in_a_sound_vhd_are_answered(
        changes in prop::collection::vec((0_usize..1560, any::<u8>()), 1..8),
        differencing in any::<bool>(),
    ) {
        let parent = differencing.then_some((PARENT, "none.vhd"));
        let image = build::vhd(1536 * KIB, 512 * KIB as u32, ID, parent);
        let mut bytes = with_block(image, &[0xff; 64]).bytes();
        for (at, value) in changes {
            bytes[at] = value;
        }
        let len = bytes.len();
        build::seal_vhd(&mut bytes[..512], 64);
        build::seal_vhd(&mut bytes[512..1536], 36);
        bytes.copy_within(..512, len - 512);
        look(bytes);
    }
}

/// Tables as large as they can be claimed to be, in a file that is not: nothing is reserved for them.
#[test]
fn claims_of_size_cost_no_memory() {
    let mut vhdx = Vhdx::new(64 << 40, 1 << 20);
    vhdx.size = 64 << 40;
    let image = vhdx.build();
    let bytes: Vec<u8> = {
        let mut short = image.clone();
        short.parts.retain(|(offset, _)| *offset < 3 << 20);
        short.len = 4 << 20;
        short.bytes()
    };
    assert!(!look(bytes));
}
