// SPDX-License-Identifier: GPL-2.0-or-later
//! FAT volumes: read and changed by us, judged by fsck.fat, mtools and sleuthkit; and hostile ones.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    clippy::cast_possible_truncation
)]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
use coldfix::device::{Device as _, SharedDevice};
use coldfix::error::Kind;
use coldfix::volume::Volume;
use coldfix::volume::fat::FatVolume;

const MIB: u64 = 1 << 20;

/// How a volume is made.
struct Made {
    name: &'static str,
    size: u64,
    options: &'static [&'static str],
    file_system: &'static str,
}

const MADE: [Made; 6] = [
    made("fat12", 2 * MIB, &["-F", "12", "-s", "1"], "fat12"),
    made(
        "fat12-odd",
        3 * MIB,
        &["-F", "12", "-s", "8", "-r", "224"],
        "fat12",
    ),
    made("fat16", 16 * MIB, &["-F", "16", "-s", "4"], "fat16"),
    made(
        "fat16-4096",
        32 * MIB,
        &["-F", "16", "-S", "4096", "-s", "1"],
        "fat16",
    ),
    made("fat32", 40 * MIB, &["-F", "32", "-s", "1"], "fat32"),
    made(
        "fat32-one-table",
        36 * MIB,
        &["-F", "32", "-s", "1", "-f", "1"],
        "fat32",
    ),
];

const fn made(
    name: &'static str,
    size: u64,
    options: &'static [&'static str],
    file_system: &'static str,
) -> Made {
    Made {
        name,
        size,
        options,
        file_system,
    }
}

fn tools() -> bool {
    [
        "mkfs.fat", "fsck.fat", "mmd", "mcopy", "mdel", "icat", "ifind",
    ]
    .into_iter()
    .all(support::require)
}

fn mtool(tool: &str, image: &Path) -> std::process::Command {
    let mut command = support::program(tool);
    command.env("MTOOLS_SKIP_CHECK", "1").arg("-i").arg(image);
    command
}

/// Deterministic bytes.
fn content(seed: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| ((at * 31 + seed * 17) ^ (at >> 8)) as u8)
        .collect()
}

const STORE: &str = "EFI/Microsoft/Boot/BCD";

/// A volume with the folders of an EFI system partition, a store in pieces, and long names.
fn make(made: &Made, folder: &Path) -> PathBuf {
    let image = folder.join(made.name);
    let file = std::fs::File::create(&image).unwrap();
    file.set_len(made.size).unwrap();
    drop(file);
    support::run(
        support::program("mkfs.fat")
            .args(made.options)
            .args(["-n", "SYSTEM", "-i", "C01DF1C5"])
            .arg(&image),
    );
    support::run(mtool("mmd", &image).args([
        "::/EFI",
        "::/EFI/Microsoft",
        "::/EFI/Microsoft/Boot",
        "::/A folder with a long name",
    ]));
    let put = |name: &str, bytes: &[u8]| {
        let source = folder.join("source");
        std::fs::write(&source, bytes).unwrap();
        support::run(
            mtool("mcopy", &image)
                .arg(&source)
                .arg(format!("::/{name}")),
        );
    };
    // Holes of one piece each between files that stay, so that the store lies in many pieces.
    for number in 0..24 {
        put(&format!("keep{number}.bin"), &content(number, 5000));
        put(&format!("hole{number}.bin"), &content(number, 5000));
    }
    for number in 0..24 {
        support::run(mtool("mdel", &image).arg(format!("::/hole{number}.bin")));
    }
    put(STORE, &content(99, 45_056));
    put("A folder with a long name/Größe ohne Grenzen.txt", b"long");
    put("empty.txt", b"");
    image
}

fn open(image: &Path) -> (Arc<MemoryDevice>, FatVolume) {
    let device = Arc::new(MemoryDevice::new(std::fs::read(image).unwrap()));
    let volume = FatVolume::open(Arc::clone(&device) as SharedDevice).unwrap();
    (device, volume)
}

#[track_caller]
fn fsck(image: &Path) {
    let output = support::program("fsck.fat")
        .args(["-n", "-v"])
        .arg(image)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    for word in ["differ", "wrong", "Free cluster summary", "bad", "truncat"] {
        assert!(!text.contains(word), "{text}");
    }
}

fn mcopy(image: &Path, name: &str) -> Vec<u8> {
    support::run(mtool("mcopy", image).arg(format!("::/{name}")).arg("-")).stdout
}

fn icat(image: &Path, name: &str) -> Vec<u8> {
    let output = support::run(
        support::program("ifind")
            .args(["-n", &format!("/{name}")])
            .arg(image),
    );
    let inode = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    support::run(support::program("icat").arg(image).arg(inode)).stdout
}

#[test]
fn foreign_programs_and_ours_read_the_same_files() {
    if !tools() {
        return;
    }
    let folder = support::temporary();
    for made in &MADE {
        let image = make(made, folder.path());
        let (_, volume) = open(&image);
        let state = volume.state();
        assert_eq!(state.file_system, made.file_system, "{}", made.name);
        assert_eq!(state.label.as_deref(), Some("SYSTEM"));
        assert_eq!(state.serial.as_deref(), Some("C01DF1C5"));
        assert!(!state.dirty);
        volume.check_writable().unwrap();
        let root: Vec<String> = volume
            .list("")
            .unwrap()
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        assert_eq!(root.len(), 24 + 3, "{root:?}");
        assert!(root.contains(&"A folder with a long name".to_owned()));
        for name in [
            "keep3.bin",
            STORE,
            "A folder with a long name/Größe ohne Grenzen.txt",
        ] {
            let ours = volume.read(name, u64::MAX).unwrap();
            assert_eq!(ours, mcopy(&image, name), "{} {name}", made.name);
            assert!(volume.holds(name, &ours).unwrap());
        }
        assert_eq!(volume.read(STORE, u64::MAX).unwrap(), icat(&image, STORE));
        // Names are matched without case, with both separators, and by their short form.
        for name in [r"\efi\MICROSOFT\boot\bcd", "EFI/MICROS~1/BOOT/BCD"] {
            assert_eq!(volume.entry(name).unwrap().unwrap().len, 45_056);
        }
        let agrees = volume.second_reader_agrees(STORE, &content(99, 45_056));
        assert_eq!(agrees, Some(true), "{}", made.name);
        let differs = volume.second_reader_agrees(STORE, &content(98, 45_056));
        assert_eq!(differs, Some(false));
        assert_eq!(volume.entry("empty.txt").unwrap().unwrap().len, 0);
        assert_eq!(volume.read("empty.txt", 0).unwrap(), b"");
        assert_eq!(volume.entry("nothing").unwrap(), None);
        assert_eq!(volume.entry("keep3.bin/x").unwrap(), None);
        assert_eq!(volume.entry("..").unwrap(), None);
        assert!(volume.read(STORE, 45_055).is_err());
        assert!(volume.read("EFI", u64::MAX).is_err());
        assert_eq!(volume.tree("EFI").unwrap().len(), 4);
        let error = volume.security(&["EFI"]).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
    }
}

#[test]
fn files_are_replaced_in_place_grow_and_shrink() {
    if !tools() {
        return;
    }
    let folder = support::temporary();
    for made in &MADE {
        let image = make(made, folder.path());
        fsck(&image);
        let (device, volume) = open(&image);
        let before = device.contents();
        let others: Vec<(String, Vec<u8>)> = (0..24)
            .map(|number| format!("keep{number}.bin"))
            .map(|name| (name.clone(), volume.read(&name, u64::MAX).unwrap()))
            .collect();
        // The same content changes no byte.
        volume.replace(STORE, &content(99, 45_056)).unwrap();
        assert_eq!(device.contents(), before);
        for (seed, len) in [
            (1, 45_056),
            (2, 45_057),
            (3, 49_152),
            (4, 100_000),
            (5, 1),
            (6, 0),
            (7, 65_536),
            (8, 45_056),
        ] {
            let new = content(seed, len);
            volume.replace(STORE, &new).unwrap();
            let written = folder.path().join("written");
            std::fs::write(&written, device.contents()).unwrap();
            fsck(&written);
            assert_eq!(mcopy(&written, STORE), new, "{} {len}", made.name);
            if len > 0 {
                assert_eq!(icat(&written, STORE), new, "{} {len}", made.name);
            }
            assert_eq!(volume.read(STORE, u64::MAX).unwrap(), new);
            assert!(volume.capacity(STORE).unwrap() >= len as u64);
            if len > 0 {
                assert_eq!(volume.second_reader_agrees(STORE, &new), Some(true));
            }
            for (name, old) in &others {
                assert_eq!(volume.read(name, u64::MAX).unwrap(), *old, "{name}");
            }
        }
        volume.replace("empty.txt", &content(9, 10_000)).unwrap();
        let written = folder.path().join("written");
        std::fs::write(&written, device.contents()).unwrap();
        fsck(&written);
        assert_eq!(mcopy(&written, "empty.txt"), content(9, 10_000));
    }
}

/// Windows and UEFI go by the length of the tables; mtools and fatfs count clusters, and have no opinion here.
#[test]
fn a_small_volume_can_be_fat32() {
    if !tools() {
        return;
    }
    let folder = support::temporary();
    let image = folder.path().join("small");
    let file = std::fs::File::create(&image).unwrap();
    file.set_len(16 * MIB).unwrap();
    support::run(
        support::program("mkfs.fat")
            .args(["-F", "32", "-s", "8", "-n", "SMALL"])
            .arg(&image),
    );
    let (_, volume) = open(&image);
    assert_eq!(volume.state().file_system, "fat32");
    assert_eq!(volume.state().label.as_deref(), Some("SMALL"));
    assert_eq!(volume.list("").unwrap(), []);
    assert_eq!(volume.second_reader_agrees("x", b""), None);
}

#[test]
fn a_full_volume_is_refused_before_anything_is_written() {
    if !tools() {
        return;
    }
    let folder = support::temporary();
    let image = make(&MADE[0], folder.path());
    let (device, volume) = open(&image);
    let before = device.contents();
    let error = volume.replace(STORE, &content(1, 3 << 20)).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("more clusters"), "{error}");
    assert_eq!(device.contents(), before);
    assert!(volume.replace("nothing", b"").is_err());
    assert!(volume.replace("EFI", b"").is_err());
    assert_eq!(device.contents(), before);
    // The copies of the table differ where the file's chain is: it can be overwritten, but not grow.
    let mut bytes = before;
    let sectors = u16::from_le_bytes([bytes[22], bytes[23]]) as usize;
    let second = 512 + sectors * 512;
    bytes[second + 3..second + 300].fill(0xaa);
    let device = Arc::new(MemoryDevice::new(bytes.clone()));
    let volume = FatVolume::open(Arc::clone(&device) as SharedDevice).unwrap();
    let error = volume.replace(STORE, &content(1, 60_000)).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);
    assert!(error.hint().unwrap().contains("fsck.fat"), "{error}");
    assert_eq!(device.contents(), bytes);
    volume.replace(STORE, &content(1, 45_056)).unwrap();
}

#[test]
fn a_read_only_file_and_a_dirty_volume_are_no_obstacle() {
    if !tools() || !support::require("mattrib") {
        return;
    }
    let folder = support::temporary();
    for made in [&MADE[2], &MADE[4]] {
        let image = make(made, folder.path());
        support::run(mtool("mattrib", &image).args(["+r", "+h", "+s", &format!("::/{STORE}")]));
        let mut bytes = std::fs::read(&image).unwrap();
        let flags = if made.file_system == "fat32" { 65 } else { 37 };
        bytes[flags] |= 1;
        let device = Arc::new(MemoryDevice::new(bytes));
        let volume = FatVolume::open(Arc::clone(&device) as SharedDevice).unwrap();
        assert!(volume.state().dirty);
        volume.check_writable().unwrap();
        assert_eq!(volume.notes(), [""; 0]);
        volume.replace(STORE, &content(5, 50_000)).unwrap();
        assert_eq!(volume.read(STORE, u64::MAX).unwrap(), content(5, 50_000));
        assert!(
            volume.notes()[0].contains("not closed"),
            "{:?}",
            volume.notes()
        );
    }
}

/// What `fsck.fat` says of a volume that is not sound.
fn fsck_finds(bytes: &[u8], folder: &Path, what: &str) {
    let image = folder.join("unsound");
    std::fs::write(&image, bytes).unwrap();
    let output = support::program("fsck.fat")
        .args(["-n", "-v"])
        .arg(&image)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(what), "{what}: {text}");
}

/// A dirty volume on which another file has the store's clusters, or one that looks free.
#[test]
fn the_clusters_of_another_file_are_not_freed_taken_or_written() {
    if !tools() {
        return;
    }
    let folder = support::temporary();
    let image = make(&MADE[2], folder.path());
    let whole = {
        let mut bytes = std::fs::read(&image).unwrap();
        // FAT16: the flag for a volume that was closed, in both tables.
        for table in [0, 1] {
            let sectors = u16::from_le_bytes([bytes[22], bytes[23]]) as usize;
            let at = entry_offset(&bytes, 1) + table * sectors * 512;
            bytes[at + 1] &= 0x7f;
        }
        bytes
    };
    let sectors = u16::from_le_bytes([whole[22], whole[23]]) as usize;
    let next = |cluster: usize| {
        let at = entry_offset(&whole, cluster);
        u16::from_le_bytes([whole[at], whole[at + 1]]) as usize
    };
    let chain = |first: usize| {
        let chain = std::iter::successors(Some(first), |cluster| Some(next(*cluster)));
        chain
            .take_while(|cluster| *cluster < 0xfff8)
            .collect::<Vec<_>>()
    };
    let (_, store) = first_cluster(&whole, b"BCD        ");
    let store = chain(store);
    let (other_at, other) = first_cluster(&whole, b"KEEP3   BIN");
    let other = chain(other);
    let clusters = (2..).take_while(|cluster| entry_offset(&whole, *cluster) < 512 + sectors * 512);
    // Where growing would go first: behind the store's last cluster.
    let last = *store.last().unwrap();
    let free = clusters
        .clone()
        .find(|cluster| *cluster > last && next(*cluster) == 0)
        .unwrap();
    let changed = |edits: &[(usize, u16)]| {
        let mut bytes = whole.clone();
        for (place, value) in edits {
            bytes[*place..*place + 2].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    };
    // The same entry in both tables.
    let entry = |cluster: usize, value: usize| {
        let at = entry_offset(&whole, cluster);
        let value = value as u16;
        [(at, value), (at + sectors * 512, value)]
    };
    let record = |cluster: usize| [(other_at + 26, cluster as u16)];
    let middle = store[store.len() / 2];
    for (what, edits, writable) in [
        (
            "a record that begins in the store",
            &record(middle)[..],
            false,
        ),
        ("the same first cluster", &record(store[0]), false),
        (
            "a chain that runs into the store",
            &entry(*other.last().unwrap(), middle),
            false,
        ),
        (
            "a lost chain that runs into the store",
            &entry(free + 40, middle),
            false,
        ),
        ("a record whose cluster looks free", &record(free), true),
        (
            "a chain into a cluster that looks free",
            &entry(*other.last().unwrap(), free),
            true,
        ),
    ] {
        let bytes = changed(edits);
        if what == "the same first cluster" {
            fsck_finds(&bytes, folder.path(), "share clusters");
        }
        for len in [45_056 + 4096, 10_000, 0, 45_056] {
            let device = Arc::new(MemoryDevice::new(bytes.clone()));
            let volume = FatVolume::open(Arc::clone(&device) as SharedDevice).unwrap();
            assert!(volume.state().dirty);
            let replaced = volume.replace(STORE, &content(5, len));
            // What looks free is in the way of growing alone.
            if writable && len <= 45_056 {
                replaced.unwrap();
                continue;
            }
            let error = replaced.unwrap_err();
            assert_eq!(error.kind(), Kind::Damaged, "{what}: {error}");
            assert!(error.to_string().contains("reference"), "{what}: {error}");
            assert!(
                error.hint().unwrap().contains("fsck.fat"),
                "{what}: {error}"
            );
            assert!(device.contents() == bytes, "{what}: written");
        }
    }
    // Dirty and sound: all of it goes, and fsck.fat finds nothing but the mark.
    for len in [60_000, 10_000, 0, 45_056] {
        let device = Arc::new(MemoryDevice::new(whole.clone()));
        let volume = FatVolume::open(Arc::clone(&device) as SharedDevice).unwrap();
        volume.replace(STORE, &content(6, len)).unwrap();
        let mut bytes = device.contents();
        for table in [0, 1] {
            bytes[entry_offset(&whole, 1) + table * sectors * 512 + 1] |= 0x80;
        }
        let written = folder.path().join("written");
        std::fs::write(&written, bytes).unwrap();
        fsck(&written);
        assert_eq!(mcopy(&written, STORE), content(6, len));
    }
}

/// A folder that cannot be read may hold records of the store's clusters.
#[test]
fn behind_a_broken_folder_files_keep_their_length() {
    if !tools() {
        return;
    }
    let folder = support::temporary();
    let image = make(&MADE[2], folder.path());
    let mut bytes = std::fs::read(&image).unwrap();
    let (at, _) = first_cluster(&bytes, b"AFOLDE~1   ");
    bytes[at + 26..at + 28].copy_from_slice(&1_u16.to_le_bytes());
    for len in [60_000, 10_000] {
        let device = Arc::new(MemoryDevice::new(bytes.clone()));
        let volume = FatVolume::open(Arc::clone(&device) as SharedDevice).unwrap();
        let error = volume.replace(STORE, &content(5, len)).unwrap_err();
        assert!(
            error.to_string().contains("A folder with a long name"),
            "{error}"
        );
        assert!(device.contents() == bytes);
    }
    let (device, volume) = {
        let device = Arc::new(MemoryDevice::new(bytes));
        let volume = FatVolume::open(Arc::clone(&device) as SharedDevice).unwrap();
        (device, volume)
    };
    volume.replace(STORE, &content(5, 45_000)).unwrap();
    assert!(
        volume.notes()[0].contains("cannot be told"),
        "{:?}",
        volume.notes()
    );
    let written = folder.path().join("written");
    std::fs::write(&written, device.contents()).unwrap();
    assert_eq!(mcopy(&written, STORE), content(5, 45_000));
}

/// A FAT12 volume that Windows 10 made, in a fixed VHD.
#[test]
fn a_volume_that_windows_made() {
    let Some(packed) = support::data("vhd/w10-fat-parent.vhd.xz") else {
        return;
    };
    if !tools() {
        return;
    }
    let folder = support::temporary();
    let vhd = support::unxz(&packed);
    // One partition at sector 128.
    let start = 128 * 512;
    let sectors = u32::from_le_bytes(vhd[446 + 12..446 + 16].try_into().unwrap());
    let image = folder.path().join("volume");
    let mut bytes = vhd[start..start + sectors as usize * 512].to_vec();
    // Windows keeps the label in the root folder alone, which fsck.fat calls a fault.
    bytes[43..54].copy_from_slice(b"TESTVOLUME ");
    std::fs::write(&image, bytes).unwrap();
    fsck(&image);
    let (device, volume) = open(&image);
    assert_eq!(volume.state().file_system, "fat12");
    let tree = volume.tree("").unwrap();
    let files: Vec<String> = tree
        .iter()
        .filter(|entry| entry.kind == coldfix::volume::EntryKind::File)
        .map(|entry| entry.path.clone())
        .collect();
    assert!(!files.is_empty(), "{tree:?}");
    for name in &files {
        let ours = volume.read(name, u64::MAX).unwrap();
        assert_eq!(ours, mcopy(&image, name), "{name}");
        if !ours.is_empty() {
            assert_eq!(volume.second_reader_agrees(name, &ours), Some(true));
        }
        let longer = content(1, ours.len() + 20_000);
        volume.replace(name, &longer).unwrap();
        let written = folder.path().join("written");
        std::fs::write(&written, device.contents()).unwrap();
        fsck(&written);
        assert_eq!(mcopy(&written, name), longer, "{name}");
    }
}

/// Where a table's entry of 16 bits lies, on the volume `fat16`.
fn entry_offset(bytes: &[u8], cluster: usize) -> usize {
    let reserved = u16::from_le_bytes([bytes[14], bytes[15]]) as usize;
    reserved * 512 + cluster * 2
}

/// First cluster of a file, by its short record.
fn first_cluster(bytes: &[u8], short: &[u8; 11]) -> (usize, usize) {
    let at = bytes
        .windows(11)
        .position(|window| window == short)
        .expect("the record");
    let cluster = u16::from_le_bytes([bytes[at + 26], bytes[at + 27]]);
    (at, cluster as usize)
}

#[test]
fn rings_and_wild_numbers_end_in_errors() {
    if !tools() {
        return;
    }
    let folder = support::temporary();
    let image = make(&MADE[2], folder.path());
    let whole = std::fs::read(&image).unwrap();
    let (store_at, store) = first_cluster(&whole, b"BCD        ");
    let (folder_at, boot) = first_cluster(&whole, b"BOOT       ");
    let changed = |edits: &[(usize, u16)]| {
        let mut bytes = whole.clone();
        for (place, value) in edits {
            bytes[*place..*place + 2].copy_from_slice(&value.to_le_bytes());
        }
        let device = Arc::new(MemoryDevice::new(bytes));
        FatVolume::open(device as SharedDevice)
    };
    let entry = |cluster| entry_offset(&whole, cluster);
    for (what, edits) in [
        ("a ring of one", vec![(entry(store), store as u16)]),
        ("a free cluster", vec![(entry(store), 0)]),
        ("a reserved number", vec![(entry(store), 1)]),
        ("a bad cluster", vec![(entry(store), 0xfff7)]),
        ("a wild number", vec![(entry(store), 0xff00)]),
        ("an early end", vec![(entry(store), 0xffff)]),
        ("a record at cluster 0", vec![(store_at + 26, 0)]),
        ("a record at cluster 1", vec![(store_at + 26, 1)]),
        ("a record far away", vec![(store_at + 26, 0xfff0)]),
        ("a length of 4 GiB", vec![(store_at + 30, 0xffff)]),
    ] {
        let started = Instant::now();
        let volume = changed(&edits).unwrap();
        let error = volume.read(STORE, u64::MAX).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged, "{what}: {error}");
        if what != "an early end" && what != "a length of 4 GiB" && what != "a record at cluster 0"
        {
            let replaced = volume.replace(STORE, &content(1, 100_000));
            assert_eq!(replaced.unwrap_err().kind(), Kind::Damaged, "{what}");
        }
        assert!(started.elapsed() < Duration::from_secs(5), "{what}");
    }
    // Rings of folders: in the chain, and in the tree.
    for edits in [vec![(entry(boot), boot as u16)], vec![(folder_at + 26, 1)]] {
        let volume = changed(&edits).unwrap();
        let error = volume.list("EFI/Microsoft/Boot").unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged, "{error}");
        assert!(volume.entry(STORE).is_err());
        assert!(volume.tree("").is_err());
    }
    let (_, efi) = first_cluster(&whole, b"EFI        ");
    let volume = changed(&[(folder_at + 26, efi as u16)]).unwrap();
    let tree = volume.tree("").unwrap();
    assert!(tree.len() < 100, "{}", tree.len());
    assert_eq!(volume.entry(STORE).unwrap(), None);
}

/// A record that fatfs takes for the long name of the one behind it, and Windows and we do not: fatfs would open
/// another file in place of the store, here one whose first cluster makes it panic.
#[test]
fn the_second_reader_is_not_led_to_another_file() {
    if !tools() {
        return;
    }
    let folder = support::temporary();
    let image = make(&MADE[2], folder.path());
    let mut bytes = std::fs::read(&image).unwrap();
    let (at, _) = first_cluster(&bytes, b"BCD        ");
    let store: [u8; 32] = bytes[at..at + 32].try_into().unwrap();
    let short = *b"X          ";
    let checksum = short
        .iter()
        .fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let mut long = [0xff; 32];
    long[0] = 0x41;
    long[1..9].copy_from_slice(b"B\0C\0D\0\0\0");
    (long[11], long[12], long[13]) = (0x1f, 0, checksum);
    (long[26], long[27]) = (0, 0);
    let mut other = store;
    other[..11].copy_from_slice(&short);
    other[11] = 0x20;
    other[26..28].copy_from_slice(&1_u16.to_le_bytes());
    bytes[at..at + 96].copy_from_slice(&[long, other, store].concat());
    let device = Arc::new(MemoryDevice::new(bytes));
    let volume = FatVolume::open(device as SharedDevice).unwrap();
    let found = volume.read(STORE, 1 << 20).unwrap();
    assert_eq!(found, content(99, 45_056));
    assert_eq!(volume.second_reader_agrees(STORE, &found), None);
    let (_, whole) = open(&image);
    assert_eq!(whole.second_reader_agrees(STORE, &found), Some(true));
}

#[test]
fn boot_sectors_with_impossible_numbers_are_refused() {
    if !tools() {
        return;
    }
    let folder = support::temporary();
    for made in [&MADE[0], &MADE[2], &MADE[4]] {
        let image = make(made, folder.path());
        let whole = std::fs::read(&image).unwrap();
        let table = if made.file_system == "fat32" { 36 } else { 22 };
        for (place, value) in [
            (11, vec![0, 0]),
            (11, vec![0xff, 0xff]),
            (13, vec![0]),
            (13, vec![3]),
            (14, vec![0, 0]),
            (14, vec![0xff, 0xff]),
            (16, vec![0]),
            (16, vec![255]),
            (19, vec![0xff, 0xff]),
            (19, vec![1, 0]),
            (table, vec![0xff, 0xff]),
        ] {
            let mut bytes = whole.clone();
            bytes[place..place + value.len()].copy_from_slice(&value);
            let device = Arc::new(MemoryDevice::new(bytes));
            // On the largest one these could be: what they lead to is then walked, and comes to an end.
            let possible =
                made.file_system == "fat32" && [14, 19].contains(&place) && value[0] == 0xff;
            match FatVolume::open(device as SharedDevice) {
                Err(error) => assert_eq!(error.kind(), Kind::Damaged, "{} {place}", made.name),
                Ok(volume) => {
                    assert!(possible, "{} {place} {value:?}", made.name);
                    let _ = volume.tree("");
                    let _ = volume.second_reader_agrees(STORE, &content(99, 45_056));
                }
            }
        }
        for cut in [0, 100, 511, 512, 513, 4096, 40_000] {
            let device = Arc::new(MemoryDevice::new(whole[..cut].to_vec()));
            assert!(FatVolume::open(device as SharedDevice).is_err(), "{cut}");
        }
    }
}

/// Bytes flipped anywhere in tables and folders: whatever comes of it comes soon, and no panic.
#[test]
fn flipped_bytes_do_no_harm() {
    if !tools() {
        return;
    }
    let folder = support::temporary();
    for made in &MADE {
        let image = make(made, folder.path());
        let whole = std::fs::read(&image).unwrap();
        let device = Arc::new(MemoryDevice::new(whole.clone()));
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        // The boot sector, the tables and the first clusters, where the folders are.
        let longer = content(7, 60_000);
        let area = whole.len().min(300_000) as u64;
        let started = Instant::now();
        let mut opened = 0;
        let rounds = std::env::var("COLDFIX_ROUNDS").map_or(200, |rounds| rounds.parse().unwrap());
        for round in 0..rounds {
            let mut undo = Vec::new();
            for _ in 0..1 + round % 20 {
                let place = match round % 3 {
                    0 => random() % 512,
                    _ => random() % area,
                };
                let mut old = [0];
                device.read_at(place, &mut old).unwrap();
                undo.push((place, old));
                device.write_at(place, &[random() as u8]).unwrap();
            }
            // What is written is dropped with the overlay.
            let overlay = Arc::new(Overlay::new(Arc::clone(&device) as SharedDevice));
            if let Ok(volume) = FatVolume::open(overlay as SharedDevice) {
                opened += 1;
                let _ = volume.tree("");
                if let Ok(found) = volume.read(STORE, 1 << 20) {
                    let _ = volume.second_reader_agrees(STORE, &found);
                }
                let _ = volume.capacity(STORE);
                let _ = volume.replace(STORE, &longer);
                if let Ok(found) = volume.read(STORE, 1 << 20) {
                    let _ = volume.second_reader_agrees(STORE, &found);
                }
            }
            for (place, old) in undo.iter().rev() {
                device.write_at(*place, old).unwrap();
            }
        }
        assert!(opened > 20, "{}: only {opened} opened", made.name);
        let limit = Duration::from_secs(60)
            .max(Duration::from_millis(200) * u32::try_from(rounds).unwrap());
        assert!(started.elapsed() < limit, "{}", made.name);
        support::proof("mutations", &format!("fat-{}", made.name), rounds);
    }
}
