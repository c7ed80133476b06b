// SPDX-License-Identifier: GPL-2.0-or-later
//! Volumes of every geometry that mkntfs and ntfs-3g made: new files keep descriptors of their own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use coldfix::volume::Volume;
use coldfix::volume::ntfs::NtfsVolume;

use crate::foreign::*;
use crate::ntfs_support::*;
use crate::subject::*;
use crate::support;

fn tools() -> bool {
    let programs = [
        "mkntfs",
        "ntfs-3g",
        "getfattr",
        "setfattr",
        "ntfssecaudit",
        "ntfsresize",
    ];
    python().is_some() && require(&programs)
}

/// An image of each geometry; empty, and counted, where they cannot be made.
fn images() -> Vec<(Geometry, PathBuf)> {
    if !tools() {
        return Vec::new();
    }
    GEOMETRIES
        .iter()
        .filter_map(|geometry| Some((*geometry, made(*geometry)?)))
        .collect()
}

#[test]
fn every_descriptor_of_made_volumes_reads_as_foreign_readers_read_it() {
    for (geometry, image) in images() {
        let volume = NtfsVolume::open(FileDevice::open(&image)).unwrap();
        compare(&format!("{geometry:?}"), &volume, &image);
    }
}

#[test]
fn descriptors_of_their_own_give_way_to_ids() {
    for (geometry, image) in images() {
        let name = format!("{geometry:?}");
        let mut highest = stored(&image);
        let subject = Subject::of(image);
        let before = known(&subject.volume);
        let mut files = BTreeMap::new();
        // A file, one in clusters, one in many pieces, folders, links, and the root.
        let chosen = [
            "Windows/System32/config/small",
            "linked",
            "fragmented",
            "many",
            "Windows/System32",
            "junction",
            "link",
            "wof",
            "",
        ];
        for (number, path) in chosen.iter().enumerate() {
            if !before.contains_key(*path) {
                assert_eq!(*path, "fragmented", "{name}");
                continue;
            }
            let descriptor = descriptor(number as u32, 2);
            subject
                .volume
                .set_security(&descriptor, &[path], NOW)
                .unwrap();
            highest += 1;
            let id = highest;
            files.insert((*path).to_owned(), Expected { id, descriptor });
        }
        // One file under two names.
        files.insert("Windows/linked-again".into(), files["linked"].clone());
        subject.judge(&name, &before, &files);

        // All at once; the paths in any spelling, some twice.
        let descriptor = descriptor(3, 2);
        let id = files["many"].id;
        let mut paths: Vec<String> = before
            .keys()
            .map(|path| match path.to_ascii_lowercase().as_str() {
                // Two files whose names differ in case only.
                "case" => path.clone(),
                _ => path.to_uppercase().replace('/', "\\"),
            })
            .collect();
        paths.push("windows/linked-AGAIN".into());
        paths.push("ALONGN~1.TXT".into());
        paths.push("many/".into());
        paths.push("/./many/.".into());
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        subject
            .volume
            .set_security(&descriptor, &paths, NOW)
            .unwrap();
        for path in before.keys() {
            let descriptor = descriptor.clone();
            files.insert(path.clone(), Expected { id, descriptor });
        }
        subject.judge(&name, &before, &files);
        assert_eq!(subject.volume.check_security().unwrap(), [""; 0]);
        let changed = subject.changed();
        subject
            .volume
            .set_security(&descriptor, &paths, NOW + 1)
            .unwrap();
        assert_eq!(subject.changed(), changed);
        let times = times(&subject, "Windows/System32/config/small");
        assert_eq!(times, "2024-02-10 12:17:58", "{name}");
        eprintln!("{name}: {} files", before.len());
    }
}

/// When the record of a file last changed, with istat.
fn times(subject: &Subject, path: &str) -> String {
    let target = subject.export();
    let image = target.path().to_str().unwrap();
    let listing = String::from_utf8(run("fls", &["-rp", image])).unwrap();
    let line = listing.lines().find(|line| line.ends_with(path)).unwrap();
    let number = line.split([' ', ':']).nth(1).unwrap();
    let number = number.split('-').next().unwrap();
    let text = support::program("istat")
        .args(["-z", "UTC", image, number])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    let line = text.lines().find(|line| line.contains("MFT Modified"));
    line.unwrap()
        .split_once('\t')
        .unwrap()
        .1
        .split('.')
        .next()
        .unwrap()
        .to_owned()
}

#[test]
fn thousands_of_different_descriptors() {
    const COUNT: u32 = 3000;
    for (geometry, image) in images() {
        let first = stored(&image) + 1;
        let subject = Subject::of(image);
        let before = known(&subject.volume);
        let mut paths: Vec<String> = before.keys().cloned().collect();
        paths.retain(|path| path.starts_with("many/"));
        let mut files = BTreeMap::new();
        for number in 0..COUNT {
            let path = &paths[number as usize % paths.len()];
            let descriptor = descriptor(number.wrapping_mul(0x9E37_79B1), 1 + number % 5);
            subject
                .volume
                .set_security(&descriptor, &[path], NOW)
                .unwrap();
            let id = first + number;
            files.insert(path.clone(), Expected { id, descriptor });
        }
        subject.judge(&format!("{geometry:?}"), &before, &files);
        assert_eq!(subject.volume.check_security().unwrap(), [""; 0]);
        let target = subject.export();
        // Dissect takes its time: every seventh, and the last ones.
        let numbers = (0..COUNT).filter(|number| number % 7 == 0 || number + 10 > COUNT);
        let ids: Vec<u32> = numbers.map(|number| first + number).collect();
        let entries = entries(target.path(), &ids);
        for (id, (_, bytes)) in ids.iter().zip(&entries) {
            let number = id - first;
            let descriptor = descriptor(number.wrapping_mul(0x9E37_79B1), 1 + number % 5);
            assert!(bytes == &descriptor, "{geometry:?}: {number}");
        }
        let (last, _) = entries.last().unwrap();
        assert!(*last >= 0x8_0000, "{last:#x}");
        // Found again, each by its hash.
        for number in [0, 1, 777, COUNT - 1] {
            let descriptor = descriptor(number.wrapping_mul(0x9E37_79B1), 1 + number % 5);
            subject
                .volume
                .set_security(&descriptor, &[""], NOW)
                .unwrap();
        }
        assert_eq!(stored(subject.export().path()), first + COUNT - 1);
        ntfs_3g_goes_on(&subject, &paths, first + COUNT);
        eprintln!("{geometry:?}: {COUNT} descriptors, the last at {last:#x}");
    }
}

/// ntfs-3g adds to what we have made, and we to what it has.
fn ntfs_3g_goes_on(subject: &Subject, paths: &[String], next: u32) {
    let target = subject.export();
    let image = target.path();
    let new = |number: usize| descriptor(0x7000_0000 + number as u32, 3);
    let old = descriptor(0, 1);
    {
        let mount = Mount::with(image, "big_writes");
        for (number, path) in paths.iter().take(60).enumerate() {
            let descriptor = if number == 30 {
                old.clone()
            } else {
                new(number)
            };
            let digits: String = descriptor
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let file = mount.path().join(path);
            let value = format!("0x{digits}");
            let arguments = [
                "-n",
                "system.ntfs_acl",
                "-v",
                &value,
                file.to_str().unwrap(),
            ];
            run("setfattr", &arguments);
        }
    }
    audit(image.to_str().unwrap());
    assert_eq!(stored(image), next + 58);
    let volume = NtfsVolume::open(FileDevice::open(image)).unwrap();
    assert_eq!(volume.check_security().unwrap(), [""; 0]);
    let files: Vec<&str> = paths.iter().map(String::as_str).take(60).collect();
    for (number, found) in volume.security(&files).unwrap().iter().enumerate() {
        let wanted = if number == 30 {
            old.clone()
        } else {
            new(number)
        };
        assert!(found[..] == wanted, "{number}");
    }
    // On the file itself: it is ours.
    volume.set_security(&new(1000), &files, NOW).unwrap();
    volume.set_security(&new(5), &files[..1], NOW).unwrap();
    drop(volume);
    audit(image.to_str().unwrap());
    judge::check(image);
    let mut ids = ids(image, &files);
    assert_eq!(ids.remove(0), next + 5);
    assert!(ids.iter().all(|id| *id == next + 59), "{ids:x?}");
}

/// A descriptor of so many bytes.
fn sized(number: u32, len: usize) -> Vec<u8> {
    let mut bytes = descriptor(number, 1);
    bytes.resize(len, 0);
    bytes
}

#[test]
fn entries_end_where_a_block_does() {
    for (geometry, image) in images() {
        for (last, end) in [
            (0xFF00 - 4, 0x3_FFFC),
            (0xFF00, 0x4_0000),
            (0xFF00 + 4, 0x8_FF04),
        ] {
            let name = format!("{geometry:?} {end:#x}");
            let first = stored(&image) + 1;
            let subject = Subject::of(image.clone());
            let before = known(&subject.volume);
            let mut files = BTreeMap::new();
            // Three as long as can be, to 0x30100; that one; and two more.
            let lengths = [0x1_0000, 0x1_0000, 0x1_0000, last, 0x90, 0x94];
            for (number, len) in lengths.into_iter().enumerate() {
                let descriptor = sized(number as u32, len - 20);
                let path = format!("many/file with the number {}", number + 1);
                subject
                    .volume
                    .set_security(&descriptor, &[&path], NOW)
                    .unwrap();
                let id = first + number as u32;
                files.insert(path, Expected { id, descriptor });
            }
            subject.judge(&name, &before, &files);
            assert_eq!(subject.volume.check_security().unwrap(), [""; 0]);
            let ids: Vec<u32> = (first..first + 6).collect();
            let found = entries(subject.export().path(), &ids);
            let ends: Vec<u64> = found
                .iter()
                .map(|(offset, bytes)| offset + 20 + bytes.len() as u64)
                .collect();
            assert_eq!(ends[2..4], [0x3_0100, end], "{name}");
            let next = if end < 0x8_0000 { 0x8_0000 } else { 0x8_FF10 };
            assert_eq!(found[4].0, next, "{name}");
            assert_eq!(found[5].0, next + 0x90, "{name}");
        }
    }
}
