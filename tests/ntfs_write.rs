// SPDX-License-Identifier: GPL-2.0-or-later
//! Reads and overwrites files of every kind on volumes of every geometry; foreign readers judge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod ntfs_support;
mod support;

use std::collections::BTreeMap;
use std::fs;

use coldfix::error::Kind;
use coldfix::volume::ntfs::NtfsVolume;
use coldfix::volume::{EntryKind, Volume};
use ntfs_support::judge::*;
use ntfs_support::*;

const LIMIT: u64 = 64 << 20;
const SYSTEM: &str = "Windows/System32/config/SYSTEM";
/// How much of the file `initialised` counts as written.
const INITIALISED: usize = 100_001;

/// The made image, with a part of `initialised` never written as Windows sees it.
fn sample(geometry: Geometry) -> Option<Vec<u8>> {
    let mut image = fs::read(made(geometry)?).unwrap();
    let initialised = (INITIALISED as u64).to_le_bytes();
    patch_attribute(&mut image, "initialised", 0x80, 0x38, &initialised);
    Some(image)
}

/// Our reading of a volume must be that of the judges.
fn compare(volume: &NtfsVolume, theirs: &BTreeMap<String, Seen>) -> usize {
    let mut ours = BTreeMap::new();
    for (path, entry) in walk(volume) {
        if path.starts_with('$') {
            continue;
        }
        let content = (entry.kind == EntryKind::File).then(|| volume.read(&path, LIMIT));
        if let Some(Ok(content)) = &content {
            assert_eq!(content.len() as u64, entry.len, "{path}");
            // The crate is the fourth reader, where it has an opinion.
            assert_ne!(
                volume.second_reader_agrees(&path, content),
                Some(false),
                "the ntfs crate: {path}"
            );
        }
        ours.insert(path, content);
    }
    let names = |keys: Vec<&String>| keys.into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(names(ours.keys().collect()), names(theirs.keys().collect()));
    let mut same = 0;
    for (path, content) in ours {
        match (content, &theirs[&path].content) {
            (Some(Ok(ours)), Some(theirs)) => {
                assert!(ours == *theirs, "{path}");
                same += 1;
            }
            (None, None) => {}
            // Links that only ntfs-3g knows as links.
            (Some(Ok(_)), None) if path == "link" => {}
            (Some(Err(error)), None) if path == "wof" => {
                assert_eq!(error.kind(), Kind::Unsupported)
            }
            (ours, theirs) => panic!("{path}: {ours:?}, {theirs:?}"),
        }
    }
    same
}

#[test]
fn every_kind_of_file_is_read() {
    for geometry in GEOMETRIES {
        let Some(image) = sample(geometry) else {
            return;
        };
        let theirs = judge(&image);
        let subject = Subject::of(image);
        let same = compare(&subject.volume, &theirs);
        eprintln!(
            "{geometry:?}: {} paths, {same} contents the same",
            theirs.len()
        );
        assert!(same > 350);
        for (path, opinion) in [(SYSTEM, true), ("initialised", false), ("sparse", false)] {
            let mut content = subject.volume.read(path, LIMIT).unwrap();
            let agrees = subject.volume.second_reader_agrees(path, &content);
            assert_eq!(agrees, opinion.then_some(true), "{path}");
            content[0] ^= 1;
            let agrees = subject.volume.second_reader_agrees(path, &content);
            assert_eq!(agrees, opinion.then_some(false), "{path}, changed");
        }
        let long = "a long name with a short one.txt";
        let entry = |path: &str| subject.volume.entry(path).unwrap();
        assert_eq!(entry("alongn~1.txt").unwrap().name, long);
        assert_eq!(
            entry("windows\\SYSTEM32\\Config\\system~9").unwrap().name,
            "SYSTEM"
        );
        assert_eq!(entry("case").unwrap().len, 60);
        assert_eq!(entry("Case").unwrap().len, 50);
        assert_eq!(
            subject.volume.entry("CASE").unwrap_err().kind(),
            Kind::Refused
        );
        assert_eq!(entry("ünïCODE 日本 😀/NAÏVE ω.TXT").unwrap().len, 5000);
        for path in ["junction", "junction/System32"] {
            let error = subject.volume.read(path, LIMIT).unwrap_err();
            assert_eq!(error.kind(), Kind::Unsupported, "{path}: {error}");
        }
        assert_eq!(entry("junction").unwrap().kind, EntryKind::Other);
        let state = subject.volume.state();
        assert_eq!(state.label.as_deref(), Some("Label ä"));
        assert_eq!(state.cluster_size, Some(geometry.1));
        subject.volume.check_writable().unwrap();
    }
}

/// How many pieces of 512 bytes, in which the overlay counts, differ.
fn sectors(before: &[u8], after: &[u8]) -> usize {
    let pairs = before.chunks(512).zip(after.chunks(512));
    pairs.filter(|(before, after)| before != after).count()
}

#[test]
fn overwriting_touches_the_changed_sectors_and_nothing_else() {
    for geometry in GEOMETRIES {
        let Some(image) = sample(geometry) else {
            return;
        };
        let mut expected = judge(&image);
        let subject = Subject::of(image);
        for (path, places) in [
            (SYSTEM, vec![0, 4095, 4096, 500_000, 999_999]),
            ("fragmented", (0..2_500_000).step_by(333).collect()),
            ("linked", vec![69_999]),
            ("ünïcode 日本 😀\\naïve ω.txt", vec![512]),
        ] {
            let path = subject
                .volume
                .entry(path)
                .unwrap()
                .map_or(path.to_owned(), |entry| match path.rsplit_once('\\') {
                    Some(_) => format!("Ünïcode 日本 😀/{}", entry.name),
                    None => path.to_owned(),
                });
            let before = subject.volume.read(&path, LIMIT).unwrap();
            let mut after = before.clone();
            for place in places {
                after[place] ^= 0x55;
            }
            let written: usize = subject
                .changes()
                .iter()
                .map(|change| change.after.len())
                .sum();
            subject.volume.replace(&path, &after).unwrap();
            let now: usize = subject
                .changes()
                .iter()
                .map(|change| change.after.len())
                .sum();
            assert_eq!(now - written, sectors(&before, &after) * 512, "{path}");
            assert!(
                subject.volume.read(&path, LIMIT).unwrap() == after,
                "{path}"
            );
            expected.get_mut(&path).unwrap().content = Some(after);
        }
        let linked = expected["linked"].content.clone();
        expected.get_mut("Windows/linked-again").unwrap().content = linked;
        assert!(judge(&subject.image()) == expected);

        // The same again changes nothing; the old content takes everything back.
        let count = subject.changes();
        for (path, file) in &expected {
            if matches!(
                path.as_str(),
                SYSTEM | "fragmented" | "Windows/System32/config/small"
            ) {
                subject
                    .volume
                    .replace(path, file.content.as_ref().unwrap())
                    .unwrap();
            }
        }
        assert_eq!(subject.changes(), count);
    }
}

#[test]
fn sizes_change_inside_what_is_allocated() {
    let Some(python) = python() else {
        return;
    };
    for geometry in GEOMETRIES {
        let Some(image) = sample(geometry) else {
            return;
        };
        let mut expected = judge(&image);
        let subject = Subject::of(image);
        let volume = &subject.volume;
        let set = |path: &str, content: Vec<u8>, expected: &mut BTreeMap<String, Seen>| {
            volume.replace(path, &content).unwrap();
            assert!(volume.read(path, LIMIT).unwrap() == content, "{path}");
            assert_eq!(
                volume.entry(path).unwrap().unwrap().len,
                content.len() as u64
            );
            expected.get_mut(path).unwrap().content = Some(content);
        };
        let pattern = |len: u64| {
            (0..len)
                .map(|i| u8::try_from(i % 241 + 1).unwrap())
                .collect::<Vec<u8>>()
        };

        for path in [
            SYSTEM,
            "Windows/System32/config/small",
            "case",
            "linked",
            "initialised",
            "empty.not",
        ] {
            if path == "empty.not" {
                assert_eq!(volume.capacity(path).unwrap_err().kind(), Kind::Io);
                continue;
            }
            let capacity = volume.capacity(path).unwrap();
            let clusters = volume.read("$Bitmap", LIMIT).unwrap();
            set(path, pattern(capacity), &mut expected);
            assert_eq!(volume.capacity(path).unwrap(), capacity, "{path}");
            assert!(volume.read("$Bitmap", LIMIT).unwrap() == clusters, "{path}");
        }
        expected.get_mut("Windows/linked-again").unwrap().content =
            expected["linked"].content.clone();
        let full = judge(&subject.image());
        assert!(full == expected);

        // Shorter: the clusters stay, the record's room comes back.
        set("Windows/System32/config/small", Vec::new(), &mut expected);
        set("Windows/System32/config/empty", pattern(9), &mut expected);
        set("case", pattern(1), &mut expected);
        set(SYSTEM, pattern(3), &mut expected);
        set("fragmented", pattern(2_499_999), &mut expected);
        // Not 0: icat 4.11 shows the whole clusters of a stream with clusters and no length.
        set("initialised", pattern(1), &mut expected);
        assert!(judge(&subject.image()) == expected);
        // And long again: what was cut off must not come back by itself.
        let mut zeros = pattern(3);
        zeros.resize(900_000, 0);
        set(SYSTEM, zeros, &mut expected);
        assert!(judge(&subject.image()) == expected);
        compare(
            &NtfsVolume::open(subject.overlay.clone()).unwrap(),
            &expected,
        );

        index_sizes(python.to_str().unwrap(), &subject.image(), &expected);
    }
}

/// Prints the sizes in the index entries of a folder, once for each name.
const INDEX_SIZES: &str = r#"
import sys
from dissect.ntfs import NTFS
fs = NTFS(open(sys.argv[1], "rb"))
for path in sys.argv[2:]:
    for entry in fs.mft.get(path).index("$I30").entries():
        name = entry.attribute
        print(path, name.file_name, name.file_size, sep="|")
"#;

/// The folders must tell the sizes that the records tell, under every name.
fn index_sizes(python: &str, image: &[u8], expected: &BTreeMap<String, Seen>) {
    let file = temporary(image);
    let path = file.path().to_str().unwrap();
    let out = run(
        python,
        &[
            "-c",
            INDEX_SIZES,
            path,
            "",
            "Windows",
            "Windows/System32/config",
        ],
    );
    let out = String::from_utf8(out).unwrap();
    let len = |path: &str| expected[path].content.as_ref().unwrap().len();
    for (folder, name, path) in [
        ("Windows/System32/config", "SYSTEM", SYSTEM),
        ("Windows/System32/config", "SYSTEM~9", SYSTEM),
        (
            "Windows/System32/config",
            "small",
            "Windows/System32/config/small",
        ),
        ("", "case", "case"),
        ("", "linked", "linked"),
        ("Windows", "linked-again", "linked"),
        ("", "initialised", "initialised"),
    ] {
        let line = format!("{folder}|{name}|{}", len(path));
        assert!(out.lines().any(|found| found == line), "{line} in\n{out}");
    }
}

#[test]
fn what_was_never_written_reads_as_zeros_until_it_is() {
    for geometry in GEOMETRIES {
        let Some(image) = sample(geometry) else {
            return;
        };
        let subject = Subject::of(image);
        let content = subject.volume.read("initialised", LIMIT).unwrap();
        assert_eq!(content.len(), 300_000);
        assert!(content[INITIALISED..].iter().all(|byte| *byte == 0));
        assert!(
            content[..INITIALISED]
                .iter()
                .rev()
                .take(9)
                .any(|byte| *byte != 0)
        );
        // Zeros where zeros are already: nothing to do.
        subject.volume.replace("initialised", &content).unwrap();
        assert!(subject.overlay.is_unchanged());
        // One byte far behind: what lies between must become zeros on disk too.
        let mut after = content;
        after[250_000] = 1;
        subject.volume.replace("initialised", &after).unwrap();
        let seen = judge(&subject.image());
        assert!(seen["initialised"].content.as_ref().unwrap() == &after);
    }
}

#[test]
fn what_cannot_be_written_is_refused_and_untouched() {
    let Some(image) = sample((16, 4096, 512)) else {
        return;
    };
    let subject = Subject::of(image.clone());
    for path in [
        "compressed/text",
        "compressed/random",
        "compressed/resident",
        "sparse",
        "wof",
        "junction",
    ] {
        let error = subject.refused(path, b"x");
        assert_eq!(error.kind(), Kind::Unsupported, "{path}: {error}");
        assert!(
            error.to_string().contains(path) && error.hint().is_some(),
            "{error}"
        );
        assert_eq!(
            subject.volume.capacity(path).unwrap_err().kind(),
            Kind::Unsupported
        );
    }
    for path in ["$MFT", "$LogFile", "$Boot", "$UpCase", "$Volume"] {
        let error = subject.refused(path, b"x");
        assert!(
            matches!(error.kind(), Kind::Refused | Kind::Unsupported),
            "{path}: {error}"
        );
    }
    assert_eq!(subject.refused("Windows", b"").kind(), Kind::Unsupported);
    assert_eq!(subject.refused("Windows/nothing", b"").kind(), Kind::Io);
    assert_eq!(subject.refused("CASE", b"").kind(), Kind::Refused);

    // Encrypted: the flag of the attribute.
    let mut encrypted = image.clone();
    patch_attribute(&mut encrypted, "SYSTEM", 0x80, 0x0D, &[0x40]);
    let subject = Subject::of(encrypted);
    assert!(
        subject
            .volume
            .read(SYSTEM, LIMIT)
            .unwrap_err()
            .to_string()
            .contains("encrypted")
    );
    assert_eq!(subject.refused(SYSTEM, b"x").kind(), Kind::Unsupported);

    // A cluster that $Bitmap says is free.
    let subject = Subject::of(image.clone());
    let mut content = subject.volume.read(SYSTEM, LIMIT).unwrap();
    content[0] ^= 1;
    let bitmap = subject.volume.read("$Bitmap", LIMIT).unwrap();
    let at = image
        .windows(bitmap.len())
        .position(|window| window == bitmap)
        .unwrap();
    let mut freed = image.clone();
    freed[at..at + bitmap.len()].fill(0);
    let subject = Subject::of(freed);
    let error = subject.refused(SYSTEM, &content);
    assert_eq!(error.kind(), Kind::Damaged);
    assert!(error.to_string().contains("$Bitmap"), "{error}");

    // A record whose clusters are those of $MFT.
    let mut crossed = image;
    let pairs = mapping_pairs(&crossed, "SYSTEM", 0x80);
    // 245 clusters in one run at the first cluster of $MFT.
    let run = [0x22, 245, 0, crossed[0x30], crossed[0x31], 0];
    patch_attribute(&mut crossed, "SYSTEM", 0x80, pairs, &run);
    let subject = Subject::of(crossed);
    let error = subject.refused(SYSTEM, &content);
    assert!(error.to_string().contains("$MFT"), "{error}");
}
