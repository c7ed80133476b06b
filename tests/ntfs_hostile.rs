// SPDX-License-Identifier: GPL-2.0-or-later
//! Damaged volumes: no panic, no endless walk, no write that was not asked for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod ntfs_support;
mod support;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
use coldfix::device::slice::Slice;
use coldfix::device::{Device, SharedDevice};
use coldfix::error::Kind;
use coldfix::security::sddl;
use coldfix::volume::ntfs::NtfsVolume;
use coldfix::volume::{EntryKind, Volume};
use ntfs_support::*;

const LIMIT: u64 = 8 << 20;
/// Far more than a sound volume of this size takes, far less than a walk without end.
const PATIENCE: Duration = Duration::from_secs(10);

fn image() -> Option<Vec<u8>> {
    made_with((8, 1024, 512), 60).map(|path| fs::read(path).unwrap())
}

/// Everything a caller can do with a volume; errors are fine. How many calls succeeded and failed.
fn exercise(device: SharedDevice) -> (usize, usize) {
    let (mut good, mut bad) = (0, 0);
    let mut count = |ok: bool| if ok { good += 1 } else { bad += 1 };
    let volume = match NtfsVolume::open(Arc::new(Overlay::new(device))) {
        Ok(volume) => volume,
        Err(_) => return (0, 1),
    };
    count(volume.check_writable().is_ok());
    let mut folders = vec![String::new()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        let entries = volume.list(&folder);
        count(entries.is_ok());
        for entry in entries.unwrap_or_default() {
            seen += 1;
            // A folder that holds itself gives ever longer paths; the caller has to stop somewhere.
            if seen > 2000 {
                return (good, bad);
            }
            let path = format!("{folder}/{}", entry.name);
            if entry.kind == EntryKind::Directory {
                folders.push(path);
                continue;
            }
            count(volume.entry(&path).is_ok());
            count(volume.capacity(&path).is_ok());
            let content = volume.read(&path, LIMIT);
            count(content.is_ok());
            if let Ok(mut content) = content {
                content.push(1);
                count(volume.replace(&path, &content).is_ok());
                // By some clusters, now and then.
                if seen % 4 == 0 {
                    content.resize(content.len() + 5000, 2);
                    count(volume.replace(&path, &content).is_ok());
                }
            }
        }
    }
    let descriptor = sddl::parse("O:BAG:SYD:PAI(A;OICI;FA;;;BA)", None).unwrap();
    let descriptor = descriptor.to_bytes().unwrap();
    for folder in ["", "many", "Windows/System32"] {
        let path = |name: &str| format!("{folder}/{name}");
        count(
            volume
                .create_directory(&path("new"), &descriptor, 1)
                .is_ok(),
        );
        for content in [&[][..], &[1; 700], &[2; 3000]] {
            let path = path(&format!("new/{}", content.len()));
            count(volume.create_file(&path, content, &descriptor, 2).is_ok());
            count(volume.rename(&path, "another name", 3).is_ok());
        }
        let paths = [folder, &path("new")];
        count(volume.set_security(&descriptor, &paths, 4).is_ok());
        count(volume.remove(&path("new/another name"), 5).is_ok());
        count(volume.remove(&path("new"), 6).is_ok());
    }
    for number in [2, 3, 30, 31, 58] {
        let path = format!("many/file with the number {number}");
        // Long enough that blocks are split, short enough that they are emptied again.
        let long = format!("{number}").repeat(60);
        count(volume.rename(&path, &long, 8).is_ok());
        count(volume.rename(&format!("many/{long}"), "z", 9).is_ok());
    }
    for path in ["many/file with the number 1", "linked", "case"] {
        count(volume.remove(path, 7).is_ok());
    }
    (good, bad)
}

/// Numbers that differ from run to run of the loop, but not of the test.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// Where the structures of the volume are: the places worth damaging, with their lengths.
fn structures(image: &[u8]) -> Vec<(usize, usize)> {
    let mut found = vec![(0, 0x54)];
    for at in (0..image.len()).step_by(512) {
        match &image[at..at + 4] {
            // Mostly in what is used of a record.
            b"FILE" if image[at + 0x16] & 1 == 1 => found.push((at, 0x1A0)),
            b"INDX" => found.push((at, 0x400)),
            _ => {}
        }
    }
    found
}

/// Damages one place; what was there.
fn damage(device: &MemoryDevice, random: &mut Random, place: (usize, usize)) -> (u64, Vec<u8>) {
    let offset = (place.0 + random.below(place.1)) as u64;
    let values: [&[u8]; 8] = [
        &[0],
        &[0xFF],
        &[0, 0],
        &[0xFF, 0xFF],
        &[0xFF, 0xFF, 0xFF, 0x7F],
        &[0; 8],
        &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F],
        &[0xFF; 8],
    ];
    let choice = random.below(values.len() * 2);
    let mut before = vec![0; values.get(choice).map_or(1, |value| value.len())];
    device.read_at(offset, &mut before).unwrap();
    match values.get(choice) {
        Some(value) => device.write_at(offset, value).unwrap(),
        None => device
            .write_at(offset, &[before[0] ^ (1 << random.below(8))])
            .unwrap(),
    }
    (offset, before)
}

#[test]
fn damaged_structures() {
    let Some(image) = image() else {
        return;
    };
    let places = structures(&image);
    let device = Arc::new(MemoryDevice::new(image.clone()));
    let sound = exercise(device.clone());
    let mut random = Random(1);
    let (mut noticed, mut slowest) = (0, Duration::ZERO);
    const ROUNDS: usize = 800;
    for round in 0..ROUNDS {
        // The boot sector and the system files come first; each has to have its turn.
        let place = match round % 3 {
            0 => places[random.below(20)],
            _ => places[random.below(places.len())],
        };
        let mut undo = vec![damage(&device, &mut random, place)];
        if round % 5 == 0 {
            undo.push(damage(&device, &mut random, place));
        }
        let start = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| exercise(device.clone())));
        let took = start.elapsed();
        let result = result.unwrap_or_else(|_| panic!("round {round}: {undo:x?}"));
        assert!(took < PATIENCE, "round {round}: {took:?}, {undo:x?}");
        slowest = slowest.max(took);
        noticed += usize::from(result != sound);
        for (offset, before) in undo.into_iter().rev() {
            device.write_at(offset, &before).unwrap();
        }
    }
    assert!(
        device.contents() == image,
        "something was written below the overlay"
    );
    eprintln!(
        "{} places, {noticed} of {ROUNDS} faults noticed, slowest {slowest:?}",
        places.len()
    );
    assert!(noticed > ROUNDS / 5);
    support::proof("mutations", "ntfs-second-reader", ROUNDS as u64);
}

#[test]
fn truncated_images() {
    let Some(image) = image() else {
        return;
    };
    let len = image.len() as u64;
    let device: SharedDevice = Arc::new(MemoryDevice::new(image));
    let volume = NtfsVolume::open(device.clone()).unwrap();
    drop(volume);
    for cut in [
        0,
        1,
        511,
        512,
        513,
        4096,
        16 << 10,
        100_000,
        len / 2,
        len - 1024,
        len - 513,
    ] {
        let device = Arc::new(Slice::new(device.clone(), 0, cut).unwrap());
        let error = NtfsVolume::open(device).unwrap_err();
        assert!(
            matches!(error.kind(), Kind::Damaged | Kind::Io),
            "{cut}: {error}"
        );
    }
    // The last sector is the copy of the boot sector, which nobody needs for reading.
    let device = Arc::new(Slice::new(device, 0, len - 512).unwrap());
    NtfsVolume::open(device).unwrap();
}

/// Makes a block of the index of the folder `many` its own child; where, and the image.
fn looped(mut image: Vec<u8>) -> Vec<u8> {
    let word = |image: &[u8], at: usize| u16::from_le_bytes([image[at], image[at + 1]]);
    let name: Vec<u8> = "file with the number"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let at = (0..image.len())
        .step_by(512)
        .find(|at| {
            let block = &image[*at..];
            block.starts_with(b"INDX")
                && block[..2048]
                    .windows(name.len())
                    .any(|window| window == name)
        })
        .unwrap();
    let own = image[at + 0x10..at + 0x18].to_vec();
    // The end entry is made an inner one: 8 bytes longer, with the VCN of its own block.
    let used = word(&image, at + 0x1C);
    let end = 0x18 + usize::from(used) - 0x10;
    let clear = |from: usize| from % 512 < 512 - 0x20;
    assert!(clear(end), "{end:#x} is near an update sequence number");
    image[at + 0x1C..at + 0x1E].copy_from_slice(&(used + 8).to_le_bytes());
    image[at + end + 8] = 0x18;
    image[at + end + 12] = 3;
    image[at + end + 0x10..at + end + 0x18].copy_from_slice(&own);
    image[at + 0x24] |= 1;
    image
}

#[test]
fn an_index_that_leads_back_to_itself_ends() {
    let Some(image) = image() else {
        return;
    };
    let device: SharedDevice = Arc::new(MemoryDevice::new(looped(image)));
    let volume = NtfsVolume::open(device.clone()).unwrap();
    let error = volume.list("many").unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);
    assert!(
        error.to_string().contains("reached twice") || error.to_string().contains("key"),
        "{error}"
    );
    let _ = volume.entry("many/file with the number 1");
    assert_eq!(volume.list("Windows").unwrap().len(), 2);
    // The crate goes on until the device stops it.
    let mut stream = Stream::new(device);
    stream.left = 100_000;
    let result = walk_with_crate(&mut stream);
    eprintln!(
        "the ntfs crate: {:?}, {} reads left",
        result.err(),
        stream.left
    );
}
