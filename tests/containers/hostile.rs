// SPDX-License-Identifier: GPL-2.0-or-later
//! Turned bits, cut files and random bytes in every structure: an answer in bounded time and memory, and no panic.

use std::sync::Arc;

use coldfix::container;
use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
use proptest::prelude::*;

use super::build::{self, BAT, LOG, METADATA, MIB, Step, Vhdx, entry, log_entry};
use super::disks::{ID, KIB, PARENT, contents, open, small, with_block, write_image};
use super::support;

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

/// The demonstration disk in a VHDX of 64 TiB whose table has 512 MiB; with its last block once more the first one.
fn windows(twice: bool) -> build::Image {
    let folder = support::temporary();
    let content = contents(open(&support::shipped_disk(folder.path())).unwrap().disk());
    let mut vhdx = Vhdx::new(64 << 40, MIB as u32);
    let ratio = vhdx.chunk_ratio();
    let index = |block: u64| block + block / ratio;
    let first = (BAT + vhdx.bat_len()) >> 20;
    let blocks: Vec<(u64, &[u8])> = (0..)
        .zip(content.chunks(MIB as usize))
        .filter(|(_, block)| block.iter().any(|byte| *byte != 0))
        .collect();
    let placed = blocks.iter().zip(first..);
    vhdx.bat = placed
        .map(|((block, _), place)| (index(*block), entry(6, place)))
        .collect();
    if twice {
        vhdx.bat.push((index((64 << 20) - 1), entry(6, first)));
    }
    let mut image = vhdx.build();
    for ((_, data), place) in blocks.iter().zip(first..) {
        image.put(place << 20, *data);
    }
    image.len = image.len.next_multiple_of(MIB);
    image
}

/// Large files, mostly holes, whose tables claim all that can be claimed: name, file, how inspect, diagnose and repair
/// end, and what the repair says.
fn large() -> Vec<(&'static str, build::Image, [u64; 3], &'static str)> {
    let guid = uuid::Uuid::from_u128(1);
    // As long as its table says: 64 TiB in blocks of 1 MiB, a table of 512 MiB and more.
    let empty = Vhdx::new(64 << 40, MIB as u32);
    let mut ring = Vhdx::new(8 << 40, 32 << 20);
    // Every block is the first one.
    let place = (BAT + ring.bat_len()) >> 20;
    let count = (8_u64 << 40) / (32 << 20);
    let ratio = ring.chunk_ratio();
    let whole = (0..count).map(|block| (block + block / ratio, entry(6, place)));
    ring.bat = whole.collect();
    let mut ring = ring.build();
    ring.put(place << 20, vec![0; 4096]);
    ring.len = (place + 32) << 20;
    // Beyond the file, at the end of what an entry can name.
    let mut beyond = Vhdx::new(8 << 40, 32 << 20);
    beyond.bat = vec![(0, entry(6, (1 << 44) - 1))];
    // A log of nearly 4 GiB that has to be searched, and is empty.
    let mut log = Vhdx::new(4 * MIB, MIB as u32);
    log.log_guid = guid;
    let mut log = log.build();
    for (offset, data) in &mut log.parts {
        if [64 << 10, 128 << 10].contains(offset) {
            data[68..72].copy_from_slice(&(0xfff_u32 << 20).to_le_bytes());
            data[72..80].copy_from_slice(&(1_u64 << 30).to_le_bytes());
            build::seal_vhdx(data);
        }
    }
    log.len = 6 << 30;
    // A table of 16 GiB, whose every entry is the footer's copy.
    let mut vhd = build::vhd(2040 << 30, 2 << 20, ID, None);
    for (offset, data) in &mut vhd.parts {
        if *offset == 512 {
            data[28..32].fill(0xff);
            data[32..36].copy_from_slice(&512_u32.to_be_bytes());
            build::seal_vhd(data, 36);
        }
    }
    let (_, footer) = vhd.parts.pop().unwrap();
    vhd.parts.retain(|(offset, _)| *offset < 1536);
    vhd.put(20 << 30, footer);
    // The name of a parent, of nearly 4 GiB.
    let mut name = build::vhd(64 << 20, 2 << 20, ID, Some((PARENT, "none.vhd")));
    for (offset, data) in &mut name.parts {
        if *offset == 512 {
            data[576 + 4..576 + 12].fill(0xff);
            build::seal_vhd(data, 36);
        }
    }
    let (_, footer) = name.parts.pop().unwrap();
    name.put(5 << 30, footer);
    let zeros = "the first sector is all zeros";
    vec![
        ("empty.vhdx", empty.build(), [2; 3], zeros),
        ("ring.vhdx", ring, [2; 3], zeros),
        ("beyond.vhdx", beyond.build(), [2; 3], "VHDX BAT, entry 0"),
        ("log.vhdx", log, [2; 3], "more than coldfix replays"),
        ("table.vhd", vhd, [2; 3], "expected a block size"),
        ("name.vhd", name, [3; 3], "its parent is missing"),
        (
            "windows.vhdx",
            windows(false),
            [0, 1, 1],
            "repaired and verified",
        ),
        (
            "twice.vhdx",
            windows(true),
            [0, 1, 2],
            "a place of its own for every block",
        ),
    ]
}

/// What the binary needs for files of many GiB and tables of many MiB: measured from outside.
#[test]
fn hostile_files_of_any_size_are_answered_in_little_memory_and_time() {
    if !support::require("gzip") {
        return;
    }
    const MEASURE: &str = "
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
sys.stdout.write(done.stdout + done.stderr)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(done.returncode, used.ru_maxrss, int((used.ru_utime + used.ru_stime) * 1000))
";
    let folder = support::temporary();
    for (name, image, codes, about) in large() {
        let path = folder.path().join(name);
        write_image(&path, &image);
        let written = path.metadata().unwrap().modified().unwrap();
        let commands = [&["inspect"][..], &["diagnose"], &["repair", "--yes"]];
        for (command, expected) in commands.into_iter().zip(codes) {
            let ours = support::coldfix(folder.path());
            let mut measure = std::process::Command::new("/usr/bin/python3");
            measure.args(["-c", MEASURE]).arg(ours.get_program());
            measure.arg(command[0]).arg(&path).args(&command[1..]);
            measure.envs(
                ours.get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            );
            let output = support::run(&mut measure);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let last = text.lines().last().unwrap();
            let numbers: Vec<u64> = last.split(' ').map(|word| word.parse().unwrap()).collect();
            let [code, kib, milliseconds] = numbers[..] else {
                panic!("{text}")
            };
            eprintln!("{name} {command:?}: exit {code}, {kib} KiB, {milliseconds} ms");
            assert_eq!(code, expected, "{name} {command:?}: {text}");
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            if command[0] == "repair" {
                assert!(words.contains(about), "{name}: {text}");
            }
            assert!(kib < 256 << 10, "{name} {command:?}: {kib} KiB");
            assert!(
                milliseconds < 20_000,
                "{name} {command:?}: {milliseconds} ms"
            );
        }
        let now = path.metadata().unwrap().modified().unwrap();
        assert_eq!(now == written, codes[2] != 1, "{name}: written");
        std::fs::remove_file(&path).unwrap();
    }
}
