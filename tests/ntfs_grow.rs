// SPDX-License-Identifier: GPL-2.0-or-later
//! Files grow, on volumes of every geometry and on those of Windows; foreign readers and checkers judge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod ntfs_support;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use coldfix::error::Kind;
use coldfix::volume::{EntryKind, Volume};
use ntfs_support::judge::*;
use ntfs_support::*;

const LIMIT: u64 = 64 << 20;
const SMALL: &str = "Windows/System32/config/small";
const SYSTEM: &str = "Windows/System32/config/SYSTEM";

/// Clusters and sectors.
const SCATTERED: [(u32, u32); 5] = [
    (512, 512),
    (1024, 512),
    (4096, 512),
    (65536, 512),
    (4096, 4096),
];

fn pattern(len: u64) -> Vec<u8> {
    (0..len)
        .map(|i| u8::try_from(i % 241 + 1).unwrap())
        .collect()
}

fn free_clusters(subject: &Subject) -> u64 {
    let bitmap = subject.volume.read("$Bitmap", LIMIT).unwrap();
    bitmap
        .iter()
        .map(|byte| u64::from(byte.count_zeros()))
        .sum()
}

/// The overlay has all changes; what is below is as it was.
fn unharmed(subject: &Subject, image: &[u8]) {
    let mut below = vec![0; image.len()];
    subject.overlay.base().read_at(0, &mut below).unwrap();
    assert!(below == image);
}

#[test]
fn files_grow_from_their_records_into_clusters() {
    let Some(python) = python() else {
        return;
    };
    for geometry in GEOMETRIES {
        let Some(image) = made(geometry) else {
            return;
        };
        let image = fs::read(image).unwrap();
        let mut expected = judge(&image);
        let subject = Subject::of(image.clone());
        let cluster = u64::from(geometry.1);
        let mut last = 0;
        for len in [
            600, 650, 700, 750, 800, 850, 900, 950, 1000, 3600, 4096, 70_000,
        ] {
            let content = pattern(len);
            let free = free_clusters(&subject);
            subject.volume.replace(SMALL, &content).unwrap();
            assert!(subject.volume.read(SMALL, LIMIT).unwrap() == content);
            let taken = free - free_clusters(&subject);
            let capacity = subject.volume.capacity(SMALL).unwrap();
            assert!(capacity >= len);
            // Either still in the record, or in exactly the clusters that are needed.
            if taken > 0 {
                assert_eq!(
                    capacity,
                    len.next_multiple_of(cluster),
                    "{geometry:?}, {len}"
                );
            }
            let file = temporary(&subject.image());
            check(file.path());
            read_by_three(&python, file.path(), &[(SMALL, &content)]);
            last = len;
        }
        expected.get_mut(SMALL).unwrap().content = Some(pattern(last));
        // By one byte more than there are clusters for, by some clusters, by many.
        for more in [1, 70_000, 500_000] {
            for path in [SYSTEM, "fragmented", "linked"] {
                let mut content = expected[path].content.clone().unwrap();
                let capacity = subject.volume.capacity(path).unwrap();
                content.resize(capacity.try_into().unwrap(), 7);
                content.extend(pattern(more));
                subject.volume.replace(path, &content).unwrap();
                expected.get_mut(path).unwrap().content = Some(content);
            }
            let linked = expected["linked"].content.clone();
            expected.get_mut("Windows/linked-again").unwrap().content = linked;
            assert!(judge(&subject.image()) == expected, "{geometry:?}, {more}");
        }
        index_sizes(python.to_str().unwrap(), &subject);
        unharmed(&subject, &image);
    }
}

/// Prints the sizes in the index entries of a folder and in the records they lead to.
const INDEX_SIZES: &str = r#"
import sys
from dissect.ntfs import NTFS
fs = NTFS(open(sys.argv[1], "rb"))
for path in sys.argv[2:]:
    for entry in fs.mft.get(path).index("$I30").entries():
        name = entry.attribute
        record = entry.dereference()
        if record.is_dir() or not record.attributes[0x80]: continue
        data = record.attributes[0x80][0]
        resident = data.header.resident
        allocated = (data.header.size + 7) // 8 * 8 if resident else data.header.allocated_size
        print(name.file_name, name.file_size, data.header.size, name.allocated_size, allocated, sep="|")
"#;

/// The folders must tell the lengths and the allocated sizes that the records tell, under every name.
fn index_sizes(python: &str, subject: &Subject) {
    let file = temporary(&subject.image());
    let path = file.path().to_str().unwrap();
    let folders = ["", "Windows", "Windows/System32/config"];
    let mut arguments = vec!["-c", INDEX_SIZES, path];
    arguments.extend(folders);
    let out = String::from_utf8(run(python, &arguments)).unwrap();
    for name in [
        "SYSTEM",
        "SYSTEM~9",
        "small",
        "linked",
        "linked-again",
        "fragmented",
    ] {
        let line = out
            .lines()
            .find(|line| line.starts_with(&format!("{name}|")));
        let line: Vec<&str> = line
            .unwrap_or_else(|| panic!("{name} in {out}"))
            .split('|')
            .collect();
        assert_eq!(line[1], line[2], "{line:?}");
        assert_eq!(line[3], line[4], "{line:?}");
    }
}

#[test]
fn scattered_free_space_is_used_until_the_record_is_full() {
    let Some(python) = python() else {
        return;
    };
    let mut full_records = 0;
    for geometry in SCATTERED {
        let Some(path) = scattered(geometry) else {
            return;
        };
        let image = fs::read(path).unwrap();
        let subject = Subject::of(image.clone());
        let cluster = u64::from(geometry.0);
        for path in ["clusters", "resident"] {
            let mut step = 1;
            let (mut grown, mut before) = (0, subject.volume.read(path, LIMIT).unwrap());
            let error = loop {
                // Each time into the next pieces.
                let capacity = subject.volume.capacity(path).unwrap();
                let content = pattern(capacity + step * cluster);
                let changes = subject.changes();
                match subject.volume.replace(path, &content) {
                    Ok(()) => before = content,
                    Err(error) => {
                        assert!(subject.changes() == changes, "{error}");
                        break error;
                    }
                }
                grown += 1;
                step += step / 4 + 1;
                assert!(subject.volume.read(path, LIMIT).unwrap() == before);
                let file = temporary(&subject.image());
                if grown % 4 == 0 {
                    check(file.path());
                    read_by_three(&python, file.path(), &[(path, &before)]);
                }
            };
            assert_eq!(error.kind(), Kind::Refused, "{error}");
            assert!(error.hint().is_some());
            let text = error.to_string();
            // The volume may be full before: a record of 4096 bytes holds very many runs.
            assert!(text.contains("is full"), "{text}");
            full_records += u32::from(text.contains("MFT record"));
            eprintln!("{geometry:?}, {path}: {} bytes, then: {text}", before.len());
            let file = temporary(&subject.image());
            assert_eq!(verdicts(file.path()), (true, true));
            read_by_three(&python, file.path(), &[(path, &before)]);
        }
        unharmed(&subject, &image);
    }
    assert!(full_records >= 4, "{full_records}");
}

#[test]
fn a_full_volume_is_refused_and_untouched() {
    let Some(python) = python() else {
        return;
    };
    for geometry in GEOMETRIES {
        let Some(image) = made(geometry) else {
            return;
        };
        let image = fs::read(image).unwrap();
        let subject = Subject::of(image.clone());
        let cluster = u64::from(geometry.1);
        let room = subject.volume.capacity(SYSTEM).unwrap() + free_clusters(&subject) * cluster;
        let error = subject.refused(SYSTEM, &pattern(room + 1));
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().contains("the volume is full"), "{error}");
        assert!(subject.overlay.is_unchanged());
        // To the last cluster, where the free space is not in more pieces than a record can tell.
        match subject.volume.replace(SYSTEM, &pattern(room)) {
            Ok(()) => {
                assert_eq!(free_clusters(&subject), 0);
                let file = temporary(&subject.image());
                assert_eq!(verdicts(file.path()), (true, true));
                read_by_three(&python, file.path(), &[(SYSTEM, &pattern(room))]);
                let error = subject.refused(SMALL, &pattern(5000));
                assert!(error.to_string().contains("0 are free"), "{error}");
                let error = subject.refused(SYSTEM, &pattern(room + 1));
                assert!(error.to_string().contains("0 are free"), "{error}");
            }
            Err(error) => {
                assert!(
                    error.to_string().contains("is full"),
                    "{geometry:?}: {error}"
                );
                assert!(subject.overlay.is_unchanged());
            }
        }
        unharmed(&subject, &image);
    }
}

/// Files of users whose content is stored plainly, and what is in them.
fn plain_files(volume: &dyn Volume) -> Vec<(String, Vec<u8>)> {
    walk(volume)
        .into_iter()
        .filter(|(path, entry)| {
            entry.kind == EntryKind::File
                && !path.starts_with(['$'])
                // Stores of shadow copies, which Windows fills below the file system.
                && !path.ends_with("{3808876b-c176-4e48-b7ae-04046e6cc752}")
                && volume.capacity(path).is_ok()
        })
        .filter_map(|(path, _)| Some((path.clone(), volume.read(&path, LIMIT).ok()?)))
        .collect()
}

#[test]
fn files_on_volumes_of_windows_grow() {
    let Some(python) = python() else {
        return;
    };
    if !require(&["icat", "ntfscat", "ntfsresize", "ntfsfix", "xz"]) {
        return;
    }
    for image in clean_volumes() {
        grow_on(&python, &image);
    }
}

fn grow_on(python: &Path, image: &Path) {
    let before = verdicts(image);
    let subject = Subject::on(FileDevice::open(image));
    let cluster = u64::from(subject.volume.state().cluster_size.unwrap());
    let mut expected = Vec::new();
    let mut refused = 0;
    let all = plain_files(&subject.volume);
    let records = records(
        python,
        image,
        &all.iter()
            .map(|(path, _)| path.as_str())
            .collect::<Vec<_>>(),
    );
    let mut grown = BTreeSet::new();
    for (number, (path, mut content)) in all.iter().cloned().enumerate() {
        // A file with several names once; its other names have to show the new content too.
        if expected.len() == 12 || !grown.insert(records[number].clone()) {
            continue;
        }
        let capacity = subject.volume.capacity(&path).unwrap();
        let more = [1, cluster, 5 * cluster + 3, 300][number % 4];
        content.resize((capacity + more).try_into().unwrap(), 0xA5);
        let changes = subject.changes();
        match subject.volume.replace(&path, &content) {
            Ok(()) => expected.push((path, content)),
            Err(error) => {
                assert_eq!(error.kind(), Kind::Refused, "{path}: {error}");
                assert!(subject.changes() == changes, "{path}: {error}");
                eprintln!("{}, {path}: {error}", image.display());
                refused += 1;
            }
        }
    }
    let copy = changed_copy(image, &subject.changes());
    assert_eq!(verdicts(copy.path()), before, "{}", image.display());
    for ((path, _), record) in all.iter().zip(&records) {
        let same = |(other, _): &&(String, Vec<u8>)| {
            let at = all.iter().position(|(path, _)| path == other).unwrap();
            records[at] == *record && other != path
        };
        if let Some((_, content)) = expected.iter().find(same) {
            expected.push((path.clone(), content.clone()));
        }
    }
    let files: Vec<(&str, &[u8])> = expected
        .iter()
        .map(|(path, content)| (path.as_str(), content.as_slice()))
        .collect();
    read_by_three(python, copy.path(), &files);
    // Nobody else's content has changed.
    let volume = coldfix::volume::ntfs::NtfsVolume::open(FileDevice::open(copy.path())).unwrap();
    let mut others = 0;
    for (path, content) in &all {
        if !expected.iter().any(|(grown, _)| grown == path) {
            assert!(volume.read(path, LIMIT).unwrap() == *content, "{path}");
            others += 1;
        }
    }
    volume.check_writable().unwrap();
    eprintln!(
        "{}: {} files grown, {refused} refused, {others} others as they were, checkers {before:?}",
        image.file_name().unwrap().display(),
        expected.len()
    );
}
