// SPDX-License-Identifier: GPL-2.0-or-later
//! Files and folders are made and removed; foreign readers and checkers judge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod ntfs_support;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use coldfix::error::{Error, Kind};
use coldfix::security::sddl;
use coldfix::volume::ntfs::NtfsVolume;
use coldfix::volume::{EntryKind, Volume};
use ntfs_support::judge::*;
use ntfs_support::*;

const LIMIT: u64 = 64 << 20;

/// The time of every change: 2024-01-01, as FILETIME and in seconds since 1970.
const NOW: (u64, i64) = (133_485_408_000_000_000, 1_704_067_200);

/// Full control for administrators and the system, to be inherited.
fn descriptor() -> Vec<u8> {
    let text = "O:BAG:SYD:PAI(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)";
    sddl::parse(text, None).unwrap().to_bytes().unwrap()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| u8::try_from(i % 241 + 1).unwrap())
        .collect()
}

fn free_clusters(volume: &NtfsVolume) -> u64 {
    let bitmap = volume.read("$Bitmap", LIMIT).unwrap();
    bitmap
        .iter()
        .map(|byte| u64::from(byte.count_zeros()))
        .sum()
}

fn directory(subject: &Subject, path: &str) {
    let done = subject.volume.create_directory(path, &descriptor(), NOW.0);
    done.unwrap_or_else(|error| panic!("{path}: {error}"));
}

fn file(subject: &Subject, path: &str, content: &[u8]) {
    let done = subject
        .volume
        .create_file(path, content, &descriptor(), NOW.0);
    done.unwrap_or_else(|error| panic!("{path}: {error}"));
}

fn remove(subject: &Subject, path: &str) {
    let done = subject.volume.remove(path, NOW.0);
    done.unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// An attempt that must be refused and change nothing.
fn refused(subject: &Subject, attempt: impl FnOnce(&NtfsVolume) -> Result<(), Error>) -> Error {
    let before = subject.changes();
    let error = attempt(&subject.volume).unwrap_err();
    assert!(subject.changes() == before, "{error}");
    assert!(
        error.kind() == Kind::Io || error.hint().is_some(),
        "{error}"
    );
    error
}

/// Prints what $STANDARD_INFORMATION, $FILE_NAME and the entry in the folder say of a file.
const DISSECT: &str = r#"
import sys
from dissect.ntfs import NTFS
fs = NTFS(open(sys.argv[1], "rb"))
for path in sys.argv[2:]:
    folder, _, name = path.rpartition("/")
    entry = fs.mft.get(folder).index("$I30").search(name)
    record = entry.dereference()
    assert fs.mft.get(path).segment == record.segment
    own = [a.attribute for a in record.attributes[0x30] if a.attribute.file_name == name][0]
    assert entry.attribute.attr.FileAttributes == own.attr.FileAttributes
    for seen in (own, entry.attribute):
        times = {seen.creation_time_ns, seen.last_modification_time_ns, seen.last_change_time_ns, seen.last_access_time_ns}
        assert len(times) == 1, times
    standard = record.attributes[0x10][0].attribute
    times = {standard.creation_time_ns, standard.last_modification_time_ns, standard.last_change_time_ns}
    data = record.attributes[0x80][0].header if record.attributes[0x80] else None
    resident = data is not None and data.resident
    allocated = 0 if data is None else (data.size + 7) // 8 * 8 if resident else data.allocated_size
    size = 0 if data is None else data.size
    assert (own.file_size, own.allocated_size) == (size, allocated), (path, own.file_size, own.allocated_size)
    assert (entry.attribute.file_size, entry.attribute.allocated_size) == (size, allocated), path
    print(path, own.flags, hex(own.attr.FileAttributes), hex(standard.attr.FileAttributes), times.pop() // 10**9, record.is_dir(),
        record.header.ReferenceCount, sep="|")
"#;

fn dissect(python: &Path, image: &Path, paths: &[&str]) -> Vec<String> {
    let mut arguments = vec!["-c", DISSECT, image.to_str().unwrap()];
    arguments.extend(paths);
    let out = run(python.to_str().unwrap(), &arguments);
    String::from_utf8(out)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// What is to be made: path, and the content of a file.
fn wanted(cluster: usize) -> Vec<(String, Option<Vec<u8>>)> {
    let mut all: Vec<(String, Option<Vec<u8>>)> = vec![
        ("made".into(), None),
        (
            "made/UPPER.TXT".into(),
            Some(b"its own short name".to_vec()),
        ),
        ("made/a longer name.bin".into(), Some(Vec::new())),
        ("made/Ünï 日本 😀".into(), None),
        ("made/Ünï 日本 😀/deep".into(), Some(pattern(300))),
        ("Windows/new".into(), Some(pattern(100_000))),
        ("new in the root".into(), Some(pattern(cluster))),
    ];
    for len in [600, 650, 700, 710, 720, 730, 740, 750, 760, 800, 4000] {
        all.push((format!("made/length {len}"), Some(pattern(len))));
    }
    for len in [cluster - 1, cluster + 1, 3 * cluster] {
        all.push((format!("made/clusters {len}"), Some(pattern(len))));
    }
    all
}

#[test]
fn what_is_made_is_there_for_everybody_and_goes_without_a_trace() {
    let Some(python) = python() else {
        return;
    };
    for geometry in GEOMETRIES {
        let Some(image) = made(geometry) else {
            return;
        };
        let image = fs::read(image).unwrap();
        let before = judge(&image);
        let subject = Subject::of(image.clone());
        let free = free_clusters(&subject.volume);
        let wanted = wanted(geometry.1 as usize);
        for (path, content) in &wanted {
            match content {
                None => directory(&subject, path),
                Some(content) => file(&subject, path, content),
            }
            let entry = subject.volume.entry(path).unwrap().unwrap();
            let len = content.as_ref().map_or(0, Vec::len);
            assert_eq!(entry.len, len as u64, "{path}");
            assert_eq!(entry.kind == EntryKind::Directory, content.is_none());
            if let Some(content) = content {
                assert!(subject.volume.holds(path, content).unwrap());
                let opinion = subject.volume.second_reader_agrees(path, content);
                // The crate takes a record in two pieces for one.
                if geometry.1 > 512 {
                    assert_eq!(opinion, Some(true), "{path}");
                }
            }
        }
        // All that was there, and what was made; ntfs-3g, ntfscat, icat and the checkers read it all.
        let after = judge(&subject.image());
        let mut expected = before.clone();
        for (path, content) in &wanted {
            let record = after[path].record;
            let content = content.clone();
            expected.insert(path.clone(), Seen { record, content });
        }
        assert!(after == expected, "{geometry:?}");
        let copy = temporary(&subject.image());
        let paths: Vec<&str> = wanted.iter().map(|(path, _)| path.as_str()).collect();
        for (line, (path, content)) in dissect(&python, copy.path(), &paths).iter().zip(&wanted) {
            let upper = path.ends_with("UPPER.TXT");
            let namespace = if upper { 3 } else { 0 };
            let (own, standard, folder) = match content {
                None => ("0x10000000", "0x0", "True"),
                Some(_) => ("0x20", "0x20", "False"),
            };
            let wanted = format!("{path}|{namespace}|{own}|{standard}|{}|{folder}|1", NOW.1);
            assert_eq!(*line, wanted);
        }
        let listed = run("fls", &["-r", "-p", copy.path().to_str().unwrap()]);
        let listed = String::from_utf8(listed).unwrap();
        for (path, _) in &wanted {
            let line = listed
                .lines()
                .find(|line| line.ends_with(&format!(":\t{path}")));
            let line = line.unwrap_or_else(|| panic!("fls: {path}"));
            assert!(!line.contains('*'), "{line}");
            let record = after[path].record.to_string();
            let stat = run("istat", &[copy.path().to_str().unwrap(), &record]);
            let stat = String::from_utf8_lossy(&stat).into_owned();
            assert!(
                stat.contains("Allocated") && stat.contains("Links: 1"),
                "{stat}"
            );
        }
        // The descriptor, as ntfs-3g reads it.
        {
            let mount = Mount::read_only(copy.path());
            for (path, _) in &wanted {
                let path = mount.path().join(path);
                let acl = run(
                    "getfattr",
                    &[
                        "--absolute-names",
                        "--only-values",
                        "-n",
                        "system.ntfs_acl",
                        path.to_str().unwrap(),
                    ],
                );
                assert_eq!(acl, descriptor());
                assert_eq!(fs::metadata(&path).unwrap().mtime(), NOW.1);
            }
            let folder = fs::metadata(mount.path().join("Windows")).unwrap();
            assert_eq!((folder.mtime(), folder.ctime()), (NOW.1, NOW.1));
        }
        let audit = run("ntfssecaudit", &["-av", copy.path().to_str().unwrap()]);
        let audit = String::from_utf8_lossy(&audit).into_owned();
        assert!(audit.contains("No errors were found"), "{audit}");

        for (path, _) in wanted.iter().rev() {
            remove(&subject, path);
            assert!(subject.volume.entry(path).unwrap().is_none());
        }
        assert!(judge(&subject.image()) == before);
        // $MFT, $Secure and the root folder may have become larger.
        let kept = free - free_clusters(&subject.volume);
        let most = 64 * 1024 * 4 + 0x8_0000 + 0x1_0000;
        assert!(kept * u64::from(geometry.1) <= most, "{kept} clusters");
        let mut below = vec![0; image.len()];
        subject.overlay.base().read_at(0, &mut below).unwrap();
        assert!(below == image);
    }
}

#[test]
fn very_many_files_make_the_tables_grow() {
    for geometry in GEOMETRIES {
        let Some(image) = made(geometry) else {
            return;
        };
        let subject = Subject::of(fs::read(image).unwrap());
        many(&subject, 600);
    }
    // $MFT in pieces, with an attribute list of its own.
    let Some(image) = fragmented_mft() else {
        return;
    };
    let subject = Subject::of(fs::read(image).unwrap());
    many(&subject, 200);
}

fn many(subject: &Subject, count: usize) {
    let volume = &subject.volume;
    let table = volume.entry("$MFT").unwrap().unwrap().len;
    directory(subject, "heap");
    let free = free_clusters(volume);
    let mut expected = BTreeMap::new();
    for number in 0..count {
        let path = format!("heap/the file with the number {number}");
        let content = format!("content {number}").into_bytes();
        let done = volume.create_file(&path, &content, &descriptor(), NOW.0);
        if let Err(error) = done {
            // $MFT may be in so many pieces that its own record is full.
            assert_eq!(error.kind(), Kind::Refused, "{error}");
            eprintln!("after {number} files: {error}");
            break;
        }
        expected.insert(path, content);
    }
    let grown = volume.entry("$MFT").unwrap().unwrap().len - table;
    eprintln!("{} files, $MFT by {grown} bytes longer", expected.len());
    assert!(expected.len() > 100);
    let copy = temporary(&subject.image());
    check(copy.path());
    {
        let mount = Mount::read_only(copy.path());
        let heap = seen(&mount.path().join("heap"));
        assert_eq!(heap.len(), expected.len());
        for (path, content) in &expected {
            let name = path.strip_prefix("heap/").unwrap();
            assert_eq!(heap[name].content.as_ref(), Some(content));
        }
    }
    // Another opening of the volume finds the longer table.
    let again = NtfsVolume::open(subject.overlay.clone()).unwrap();
    again.check_writable().unwrap();
    assert_eq!(again.list("heap").unwrap().len(), expected.len());
    for path in expected.keys() {
        again.remove(path, NOW.0).unwrap();
    }
    let error = refused(subject, |volume| volume.remove("nothing", NOW.0));
    assert_eq!(error.kind(), Kind::Io);
    again.remove("heap", NOW.0).unwrap();
    check(temporary(&subject.image()).path());
    assert!(free_clusters(&again) + grown / 512 + 400 > free);
}

#[test]
fn names_and_links_go_one_by_one() {
    for geometry in GEOMETRIES {
        let Some(image) = made(geometry) else {
            return;
        };
        let subject = Subject::of(fs::read(image).unwrap());
        let mut expected = judge(&subject.image());
        let mut gone = |paths: &[&str], subject: &Subject| {
            for path in paths {
                expected.remove(*path).unwrap();
            }
            assert!(
                judge(&subject.image()) == expected,
                "{geometry:?}: {paths:?}"
            );
        };
        let links = |subject: &Subject, path: &str| {
            let copy = temporary(&subject.image());
            let mount = Mount::read_only(copy.path());
            fs::metadata(mount.path().join(path)).unwrap().nlink()
        };
        let free = free_clusters(&subject.volume);
        assert_eq!(links(&subject, "linked"), 2);
        remove(&subject, "Windows/linked-again");
        gone(&["Windows/linked-again"], &subject);
        assert_eq!(links(&subject, "linked"), 1);
        assert_eq!(free_clusters(&subject.volume), free);
        remove(&subject, "linked");
        gone(&["linked"], &subject);
        let clusters = 70_000_u64.div_ceil(u64::from(geometry.1));
        assert_eq!(free_clusters(&subject.volume), free + clusters);
        // By its short name; both go.
        remove(&subject, "ALONGN~1.TXT");
        let long = "a long name with a short one.txt";
        gone(&[long], &subject);
        for path in ["ALONGN~1.TXT", long] {
            assert!(subject.volume.entry(path).unwrap().is_none());
        }
        // By its long name, and one of two that differ in case only.
        remove(&subject, "Windows/System32/config/SYSTEM");
        remove(&subject, "case");
        gone(&["Windows/System32/config/SYSTEM", "case"], &subject);
        assert_eq!(subject.volume.entry("case").unwrap().unwrap().len, 50);
        if geometry.1 <= 4096 {
            let paths = [
                "compressed/text",
                "compressed/mixed",
                "compressed/zeros",
                "sparse",
            ];
            for path in paths {
                remove(&subject, path);
            }
            gone(&paths, &subject);
        }
        // A name that was free before is free again.
        file(&subject, long, b"another");
        remove(&subject, long);
        gone(&[], &subject);
    }
}

#[test]
fn what_must_stay_is_refused_and_untouched() {
    for geometry in [(16, 4096, 512), (16, 512, 512)] {
        let Some(image) = made(geometry) else {
            return;
        };
        let subject = Subject::of(fs::read(image).unwrap());
        let remove = |path: &str| refused(&subject, |volume| volume.remove(path, NOW.0));
        for (path, kind, word) in [
            ("Windows", Kind::Refused, "something in it"),
            ("", Kind::Refused, "file system"),
            (".", Kind::Refused, "file system"),
            ("$MFT", Kind::Refused, "file system"),
            ("$Extend", Kind::Refused, "file system"),
            ("$Extend/$ObjId", Kind::Refused, "file system"),
            ("junction", Kind::Unsupported, "link"),
            ("wof", Kind::Unsupported, "reparse"),
            ("Windows/none", Kind::Io, "none"),
            ("CASE", Kind::Refused, "case"),
        ] {
            let error = remove(path);
            assert_eq!(error.kind(), kind, "{path}: {error}");
            assert!(error.to_string().contains(word), "{path}: {error}");
        }
        if geometry.1 == 4096 {
            let error = remove("fragmented");
            assert_eq!(error.kind(), Kind::Unsupported, "{error}");
            assert!(error.to_string().contains("several records"), "{error}");
        }
        let make = |path: &str| {
            let as_file = refused(&subject, |volume| {
                volume.create_file(path, b"x", &descriptor(), NOW.0)
            });
            let as_folder = refused(&subject, |volume| {
                volume.create_directory(path, &descriptor(), NOW.0)
            });
            assert_eq!(as_file.kind(), as_folder.kind(), "{path}");
            as_file
        };
        for (path, kind) in [
            ("", Kind::Refused),
            ("WINDOWS", Kind::Refused),
            ("windows/SYSTEM32", Kind::Refused),
            ("alongn~1.txt", Kind::Refused),
            ("$Extend/new", Kind::Refused),
            ("Windows/none/new", Kind::Io),
            ("case/new", Kind::Unsupported),
            ("junction/new", Kind::Unsupported),
            ("a:b", Kind::Refused),
            ("NUL.txt", Kind::Refused),
            ("ends in a dot.", Kind::Refused),
        ] {
            let error = make(path);
            assert_eq!(error.kind(), kind, "{path}: {error}");
        }
        let long = format!("Windows/{}", "x".repeat(256));
        assert_eq!(make(&long).kind(), Kind::Refused);
        file(
            &subject,
            long.strip_suffix("x").unwrap(),
            b"as long as can be",
        );
        // More than there is.
        let content = vec![1; 32 << 20];
        let error = refused(&subject, |volume| {
            volume.create_file("big", &content, &descriptor(), NOW.0)
        });
        assert!(error.to_string().contains("the volume is full"), "{error}");
        let error = refused(&subject, |volume| {
            volume.create_file("bad", b"", b"no descriptor", NOW.0)
        });
        assert_ne!(error.kind(), Kind::Io);
        check(temporary(&subject.image()).path());
    }
}

#[test]
fn on_volumes_of_windows() {
    let Some(python) = python() else {
        return;
    };
    if !require(&["icat", "ntfscat", "ntfsresize", "ntfsfix", "xz"]) {
        return;
    }
    for image in clean_volumes() {
        let before = verdicts(&image);
        let subject = Subject::on(FileDevice::open(&image));
        let cluster: usize = subject
            .volume
            .state()
            .cluster_size
            .unwrap()
            .try_into()
            .unwrap();
        let contents = [pattern(20), pattern(2000), pattern(cluster + 1)];
        let name = image.file_name().unwrap().display();
        let result = subject
            .volume
            .create_directory("made here", &descriptor(), NOW.0);
        if let Err(error) = result {
            // Nothing that could be done: the root folder, or $Secure, has no room.
            assert_eq!(error.kind(), Kind::Refused, "{name}: {error}");
            eprintln!("{name}: {error}");
            continue;
        }
        let paths: Vec<String> = (0..contents.len())
            .map(|number| format!("made here/file {number}"))
            .collect();
        for (path, content) in paths.iter().zip(&contents) {
            file(&subject, path, content);
        }
        let copy = changed_copy(&image, &subject.changes());
        assert_eq!(verdicts(copy.path()), before, "{name}");
        let all: Vec<(&str, &[u8])> = paths
            .iter()
            .zip(&contents)
            .map(|(path, content)| (path.as_str(), content.as_slice()))
            .collect();
        read_by_three(&python, copy.path(), &all);
        for path in paths.iter().rev() {
            remove(&subject, path);
        }
        remove(&subject, "made here");
        let copy = changed_copy(&image, &subject.changes());
        assert_eq!(verdicts(copy.path()), before, "{name}");
        // And something of Windows' own.
        let own = walk(&subject.volume).into_iter().find(|(path, entry)| {
            entry.kind == EntryKind::File
                && !path.starts_with('$')
                && subject.volume.remove(path, NOW.0).is_ok()
        });
        let copy = changed_copy(&image, &subject.changes());
        assert_eq!(verdicts(copy.path()), before, "{name}");
        eprintln!(
            "{name}: made and removed; also {:?}",
            own.map(|(path, _)| path)
        );
    }
}
