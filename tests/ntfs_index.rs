// SPDX-License-Identifier: GPL-2.0-or-later
//! Files and folders get other names: the indexes of folders grow, split and shrink, and foreign readers judge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "numbers that the test makes itself"
)]

mod ntfs_support;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;

use coldfix::device::overlay::Overlay;
use coldfix::error::{Error, Kind};
use coldfix::security::sddl;
use coldfix::volume::Volume;
use coldfix::volume::ntfs::NtfsVolume;
use ntfs_support::judge::{self, check};
use ntfs_support::*;

/// The time of every change: 2024-01-01.
const NOW: u64 = 133_485_408_000_000_000;

/// The names of a folder with their records.
type Names = BTreeMap<String, u64>;

/// A volume under an overlay, and a copy of it that foreign programs look at.
struct Subject {
    overlay: Arc<Overlay>,
    volume: NtfsVolume,
    copy: tempfile::NamedTempFile,
}

impl Subject {
    /// A volume that begins with the image.
    fn of(image: &Path) -> Subject {
        let copy = tempfile::NamedTempFile::new_in(scratch()).unwrap();
        let target = copy.path().to_str().unwrap();
        run("cp", &["--sparse=always", image.to_str().unwrap(), target]);
        let overlay = Arc::new(Overlay::new(FileDevice::open(image)));
        let volume = NtfsVolume::open(overlay.clone()).unwrap();
        Subject {
            overlay,
            volume,
            copy,
        }
    }

    /// Brings the copy up to date.
    fn copy(&self) -> &Path {
        let file = OpenOptions::new()
            .write(true)
            .open(self.copy.path())
            .unwrap();
        for change in self.overlay.changes().unwrap() {
            file.write_all_at(&change.after, change.offset).unwrap();
        }
        self.copy.path()
    }

    fn rename(&self, path: &str, name: &str) {
        let done = self.volume.rename(path, name, NOW);
        done.unwrap_or_else(|error| panic!("{path} -> {name}: {error}"));
    }

    /// An attempt that must be refused and change nothing.
    fn refused(&self, path: &str, name: &str) -> Error {
        let before = self.overlay.changes().unwrap();
        let error = self.volume.rename(path, name, NOW).unwrap_err();
        assert!(
            self.overlay.changes().unwrap() == before,
            "{path} -> {name}"
        );
        assert_eq!(error.kind(), Kind::Refused, "{path} -> {name}: {error}");
        assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{error}");
        error
    }
}

/// Prints the names of folders as dissect finds them: all that the blocks of the index hold. Some of them are sought, too.
const DISSECT: &str = r#"
import sys, json
from dissect.ntfs import NTFS
from dissect.ntfs.util import segment_reference
fs = NTFS(open(sys.argv[1], "rb"))
def record(entry): return segment_reference(entry.header.FileReference)
for path in sys.argv[2:]:
    index = fs.mft.get(path).index("$I30")
    names = [(e.attribute.file_name, e.attribute.flags, record(e)) for e in index.entries()]
    for name, flags, segment in names[::len(names) // 40 + 1]:
        assert record(index.search(name)) == segment, name
    print(json.dumps(sorted(names)))
"#;

fn dissect(image: &Path, folders: &[&str]) -> Vec<Vec<(String, u8, u64)>> {
    let Some(python) = python() else {
        return Vec::new();
    };
    let mut arguments = vec!["-c", DISSECT, image.to_str().unwrap()];
    arguments.extend(folders);
    let out = String::from_utf8(run(python.to_str().unwrap(), &arguments)).unwrap();
    let lines = out.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// Clusters of more than 4096 bytes, as the boot sector says.
fn has_large_clusters(image: &Path) -> bool {
    let mut sector = [0; 16];
    fs::File::open(image)
        .unwrap()
        .read_exact_at(&mut sector, 0)
        .unwrap();
    // More than 0x80 is the exponent of a power of two, negative.
    let sectors = if sector[13] > 0x80 {
        256
    } else {
        u32::from(sector[13])
    };
    sectors * u32::from(u16::from_le_bytes([sector[11], sector[12]])) > 4096
}

fn same(reader: &str, found: &BTreeSet<&str>, expected: &BTreeSet<&str>) {
    let only = |left: &BTreeSet<&str>, right: &BTreeSet<&str>| {
        left.difference(right)
            .map(|name| (*name).to_owned())
            .collect::<Vec<String>>()
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(only(found, expected), none, "only {reader} finds");
    assert_eq!(only(expected, found), none, "{reader} does not find");
}

/// Every foreign reader must find these names, and no others, in this folder with this record; and the checkers must
/// consent.
fn audit(image: &Path, folder: &str, record: u64, names: &Names) {
    audit_with_ntfs_3g(image, folder, names);
    // Sleuthkit 4.11 reads no index blocks that are smaller than a cluster: there it shows what is in the records.
    if !has_large_clusters(image) {
        // `r/r 64-128-1:` and a tab before each name; what has a star is left in unused bytes of blocks.
        let out = run(
            "fls",
            &["-f", "ntfs", image.to_str().unwrap(), &record.to_string()],
        );
        let out = String::from_utf8(out).unwrap();
        let lines = out.lines().filter(|line| !line.contains(" * "));
        let found = lines.filter_map(|line| Some(line.split_once('\t')?.1));
        same(
            "fls",
            &found.collect(),
            &names.keys().map(String::as_str).collect(),
        );
    }
    for found in dissect(image, &[folder]) {
        let long = found.iter().filter(|name| name.1 != 2);
        let found: Names = long.map(|name| (name.0.clone(), name.2)).collect();
        assert!(found == *names, "dissect");
    }
}

/// The same with those readers that look at $BITMAP. ntfs-3g leaves old entries in blocks that it frees; the others show them.
fn audit_with_ntfs_3g(image: &Path, folder: &str, names: &Names) {
    check(image);
    let out = run("ntfsls", &["-a", "-p", folder, image.to_str().unwrap()]);
    let out = String::from_utf8(out).unwrap();
    let found = out.lines().filter(|name| ![".", ".."].contains(name));
    same(
        "ntfsls",
        &found.collect(),
        &names.keys().map(String::as_str).collect(),
    );

    let mount = Mount::read_only(image);
    let root = mount.path().join(folder);
    let found = fs::read_dir(&root).unwrap().map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        // This searches the index; the listing reads it from end to end.
        let record = fs::symlink_metadata(root.join(&name)).unwrap().ino();
        (name, record)
    });
    assert!(found.collect::<Names>() == *names, "ntfs-3g");
}

/// The names of a folder as ntfs-3g lists them.
fn names_of(image: &Path, folder: &str) -> Names {
    let mount = Mount::read_only(image);
    let entries = fs::read_dir(mount.path().join(folder)).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            let record = entry.metadata().unwrap().ino();
            (entry.file_name().into_string().unwrap(), record)
        })
        .collect()
}

fn tools() -> bool {
    require(&[
        "ntfsls",
        "fls",
        "ntfsresize",
        "ntfsfix",
        "ntfs-3g",
        "setfattr",
        "getfattr",
    ])
}

/// Numbers that are the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }

    /// A name; seldom a long one.
    fn name(&mut self) -> String {
        let len = match self.next(20) {
            0 => self.next(255),
            1..=4 => self.next(80),
            _ => self.next(12),
        };
        let letters = ["a", "B", "x", "Y", "_", "é", "日", "7", "~", " b", ".c"];
        let mut name = format!("{:x}", self.next(4000));
        while name.encode_utf16().count() < len as usize {
            name.insert_str(0, letters[self.next(letters.len() as u64) as usize]);
        }
        name.trim_start().to_owned()
    }
}

/// Renames in one folder beside a model of it.
struct Random<'s> {
    subject: &'s Subject,
    folder: &'static str,
    record: u64,
    /// By the name in upper case: the name and its record.
    model: BTreeMap<String, (String, u64)>,
    numbers: Numbers,
    exists: usize,
}

impl Random<'_> {
    fn step(&mut self) {
        let count = self.model.len() as u64;
        let chosen = self.numbers.next(count) as usize;
        let (old, record) = self.model.values().nth(chosen).unwrap().clone();
        let path = format!("{}/{old}", self.folder);
        let mut new = self.numbers.name();
        match self.numbers.next(20) {
            0 | 1 => new = old.to_uppercase(),
            2 => {
                let other = self.numbers.next(count) as usize;
                new = self.model.values().nth(other).unwrap().0.to_lowercase();
            }
            _ => {}
        }
        let free = self
            .model
            .get(&new.to_uppercase())
            .is_none_or(|other| other.0 == old);
        match self.subject.volume.rename(&path, &new, NOW) {
            Ok(()) => {
                assert!(free, "{path} -> {new} exists");
                self.model.remove(&old.to_uppercase());
                self.model.insert(new.to_uppercase(), (new, record));
            }
            Err(error) => {
                assert!(!free, "{path} -> {new}: {error}");
                assert_eq!(error.kind(), Kind::Refused);
                assert!(error.to_string().contains("exists"), "{error}");
                self.exists += 1;
            }
        }
    }

    fn names(&self) -> Names {
        self.model.values().cloned().collect()
    }

    fn audit(&self) {
        audit(self.subject.copy(), self.folder, self.record, &self.names());
    }
}

/// ntfs-3g goes on with the folder as it is now: it removes every other name and adds new ones.
fn go_on(random: &Random<'_>) {
    let copy = tempfile::NamedTempFile::new_in(scratch()).unwrap();
    let target = copy.path().to_str().unwrap();
    let image = random.subject.copy();
    run("cp", &["--sparse=always", image.to_str().unwrap(), target]);
    let mut names = random.names();
    let mount = Mount::with(copy.path(), "rw");
    let root = mount.path().join(random.folder);
    for old in random.names().into_keys().step_by(2) {
        let path = root.join(&old);
        let gone = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        gone.unwrap_or_else(|error| panic!("{old}: {error}"));
        names.remove(&old);
    }
    for number in 0..names.len() {
        let new = format!("{number} from ntfs-3g");
        match fs::write(root.join(&new), "") {
            // One volume of Windows is full to the brim.
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
            done => done.unwrap(),
        }
        names.insert(new.clone(), fs::metadata(root.join(&new)).unwrap().ino());
    }
    drop(mount);
    audit_with_ntfs_3g(copy.path(), random.folder, &names);
}

/// `steps` random renames in a folder, judged `audits` times.
fn random(image: &Path, folder: &'static str, steps: usize, audits: usize, seed: u64) {
    let subject = Subject::of(image);
    let names = names_of(image, folder);
    let record = fs::symlink_metadata(Mount::read_only(image).path().join(folder))
        .unwrap()
        .ino();
    let count = names.len();
    let mut random = Random {
        subject: &subject,
        folder,
        record,
        model: names
            .into_iter()
            .map(|(name, record)| (name.to_uppercase(), (name, record)))
            .collect(),
        numbers: Numbers(seed),
        exists: 0,
    };
    let first = random.names();
    for step in 1..=steps {
        random.step();
        if step % steps.div_ceil(audits) == 0 {
            random.audit();
        }
    }
    random.audit();
    go_on(&random);
    // And all names back again: what was split and emptied still holds them.
    let by_record: BTreeMap<u64, &String> =
        first.iter().map(|(name, record)| (*record, name)).collect();
    for round in ["%", ""] {
        for (name, record) in random.names() {
            // Under another name first, so that none is in the way of the other.
            let new = match round {
                "" => by_record[&record].clone(),
                mark => format!("{mark}{record}"),
            };
            let old = random.model.remove(&name.to_uppercase()).unwrap();
            subject.rename(&format!("{folder}/{}", old.0), &new);
            random.model.insert(new.to_uppercase(), (new, record));
        }
    }
    assert_eq!(random.names(), first);
    random.audit();
    eprintln!(
        "{}: {count} names, {steps} steps, {} refused",
        image.display(),
        random.exists
    );
    assert!(steps < 500 || random.exists > steps / 100);
}

#[test]
fn ten_thousand_random_renames_in_a_large_folder() {
    if !tools() {
        return;
    }
    let Some(image) = made_with((24, 4096, 512), 2200) else {
        return;
    };
    random(&image, "many", 10_000, 10, 0x9E37_79B9_7F4A_7C15);
}

#[test]
fn random_renames_on_every_geometry() {
    if !tools() {
        return;
    }
    for geometry in GEOMETRIES {
        let Some(image) = made(geometry) else {
            return;
        };
        random(
            &image,
            "many",
            600,
            1,
            0xD1B5_4A32_D192_ED03 + u64::from(geometry.1),
        );
    }
}

/// An image with folders for each case, made by ntfs-3g.
fn prepared(geometry: Geometry) -> Option<tempfile::NamedTempFile> {
    let made = made(geometry)?;
    let image = tempfile::NamedTempFile::new_in(scratch()).unwrap();
    let path = image.path().to_str().unwrap();
    run("cp", &["--sparse=always", made.to_str().unwrap(), path]);
    let mount = Mount::with(image.path(), "rw");
    let root = mount.path();
    let dos_name = |path: &str, name: &str| {
        let path = root.join(path);
        let path = path.to_str().unwrap();
        run(
            "setfattr",
            &["-n", "system.ntfs_dos_name", "-v", name, path],
        );
    };
    fs::create_dir_all(root.join("folder/MachineKeys/deep")).unwrap();
    fs::write(root.join("folder/MachineKeys/deep/file"), "deep").unwrap();
    dos_name("folder/MachineKeys", "MACHIN~1");
    fs::create_dir(root.join("few")).unwrap();
    // More than a record of 4096 bytes holds of the longest names, and three for the others.
    let few = if geometry.2 == 4096 {
        "abcdefgh"
    } else {
        "abc"
    };
    for name in few.split("").filter(|name| !name.is_empty()) {
        fs::write(root.join("few").join(name), name).unwrap();
    }
    fs::create_dir(root.join("names")).unwrap();
    for name in [
        "BOTH.TXT",
        "a long one.txt",
        "plain",
        "other",
        "LINK",
        "Übung",
    ] {
        fs::write(root.join("names").join(name), name).unwrap();
    }
    dos_name("names/BOTH.TXT", "BOTH.TXT");
    dos_name("names/a long one.txt", "ALONGO~1.TXT");
    fs::hard_link(root.join("names/LINK"), root.join("names/LINK AGAIN")).unwrap();
    fs::hard_link(root.join("names/LINK"), root.join("folder/LINK")).unwrap();
    fs::write(root.join("names/full"), vec![b'f'; 300]).unwrap();
    let long = root.join("names").join("L".repeat(255));
    fs::create_dir(&long).unwrap();
    fs::write(long.join("inside"), "inside").unwrap();
    drop(mount);
    Some(image)
}

/// The names in a folder with their namespaces, as dissect reads the index.
fn spaces(image: &Path, folder: &str) -> BTreeMap<String, u8> {
    let found = dissect(image, &[folder]).remove(0);
    found.into_iter().map(|name| (name.0, name.1)).collect()
}

#[test]
fn every_kind_of_name_is_changed() {
    if !tools() || python().is_none() {
        return;
    }
    for geometry in GEOMETRIES {
        let Some(image) = prepared(geometry) else {
            return;
        };
        let mut expected = judge::judge(&fs::read(image.path()).unwrap());
        let subject = Subject::of(image.path());
        let rename = |path: &str, name: &str, expected: &mut BTreeMap<String, Seen>| {
            subject.rename(path, name);
            let (above, _) = path.rsplit_once('/').unwrap_or(("", path));
            let new = format!("{above}/{name}");
            let new = new.trim_start_matches('/');
            let below: Vec<String> = expected
                .keys()
                .filter(|found| {
                    found
                        .strip_prefix(path)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                })
                .cloned()
                .collect();
            assert!(!below.is_empty(), "{path}");
            for old in below {
                let seen = expected.remove(&old).unwrap();
                expected.insert(old.replacen(path, new, 1), seen);
            }
        };
        let all = &mut expected;
        // A folder with what is in it; longer, shorter, sorting elsewhere, only the case.
        rename("folder/MachineKeys", "MachineKeys_old", all);
        rename("folder/MachineKeys_old", "aMK", all);
        rename("folder/aMK", "AMk", all);
        rename("folder/AMk", "zz the last of all", all);
        // Long and short, both in one, plain, with a capital outside ASCII.
        rename("names/a long one.txt", "another long one.txt", all);
        rename("names/BOTH.TXT", "Both.doc", all);
        rename("names/Übung", "ÜBUNG", all);
        rename("names/plain", "日本 😀", all);
        // Of three links only this one.
        rename("names/LINK", "link renamed", all);
        // A link, not what it points to.
        rename("junction", "junction elsewhere", all);
        // The root's own folder, and a file in the root.
        rename("Windows", "Windows.old", all);
        rename("linked", "unlinked", all);
        let found = spaces(subject.copy(), "names");
        let space = |name: &str| found.get(name).copied();
        assert_eq!(space("another long one.txt"), Some(1));
        assert_eq!(space("ALONGO~1.TXT"), Some(2));
        assert_eq!(space("Both.doc"), Some(3));
        assert_eq!(space("link renamed"), Some(0));
        // No 8.3 name any more, and so POSIX, as all names where Windows makes no short ones.
        rename("names/Both.doc", "Both of them", &mut expected);
        // Under its short name the file is found, too.
        subject.rename("names/ALONGO~1.TXT", "long again");
        let moved = expected.remove("names/another long one.txt").unwrap();
        expected.insert("names/long again".into(), moved);
        assert!(
            judge::judge(&fs::read(subject.copy()).unwrap()) == expected,
            "{geometry:?}"
        );
        let found = spaces(subject.copy.path(), "names");
        assert_eq!(found.get("Both of them"), Some(&0));
        assert_eq!(found.get("long again"), Some(&1));
        assert_eq!(found.get("ALONGO~1.TXT"), Some(&2));
        {
            let mount = Mount::read_only(subject.copy.path());
            let path = mount.path().join("names/long again");
            let arguments = [
                "--only-values",
                "-n",
                "system.ntfs_dos_name",
                path.to_str().unwrap(),
            ];
            assert_eq!(run("getfattr", &arguments), b"ALONGO~1.TXT");
        }
        times(&subject, "names", &["long again", "Both of them"]);
        crate_finds(&subject, &expected);
    }
}

/// Prints times of a folder and of files in it: modified, MFT changed; and MFT changed in $FILE_NAME.
const TIMES: &str = r#"
import sys
from dissect.ntfs import NTFS
fs = NTFS(open(sys.argv[1], "rb"))
def ns(time): return time // 100 + 116444736000000000
for path in sys.argv[2:]:
    record = fs.mft.get(path)
    info = record.attributes.STANDARD_INFORMATION[0]
    name = [n for n in record.attributes.FILE_NAME if n.file_name == path.split("/")[-1]][0]
    print(ns(info.last_modification_time_ns), ns(info.last_change_time_ns), ns(name.last_change_time_ns))
"#;

/// The folder was modified and changed now; the files in it changed now.
fn times(subject: &Subject, folder: &str, files: &[&str]) {
    let python = python().unwrap();
    let files: Vec<String> = files
        .iter()
        .map(|file| format!("{folder}/{file}"))
        .collect();
    let mut arguments = vec!["-c", TIMES, subject.copy.path().to_str().unwrap(), folder];
    arguments.extend(files.iter().map(String::as_str));
    let out = String::from_utf8(run(python.to_str().unwrap(), &arguments)).unwrap();
    for (index, line) in out.lines().enumerate() {
        let times: Vec<u64> = line.split(' ').map(|time| time.parse().unwrap()).collect();
        assert_eq!(times[0] == NOW, index == 0, "modified: {line}");
        assert_eq!(times[1], NOW, "changed: {line}");
        assert_eq!(times[2] == NOW, index != 0, "changed, in the name: {line}");
    }
}

/// The `ntfs` crate walks to the same files, and finds each by its name. (Version 0.4 looks for index blocks that are
/// smaller than a cluster where clusters with their numbers are.)
fn crate_finds(subject: &Subject, expected: &BTreeMap<String, Seen>) {
    let mut stream = Stream::new(subject.overlay.clone());
    let found = walk_with_crate(&mut stream);
    if has_large_clusters(subject.copy.path()) {
        assert!(found.is_err());
        return;
    }
    let found = found.unwrap();
    let found: BTreeMap<String, u64> = found
        .into_iter()
        .filter(|found| !found.0.starts_with('$'))
        .collect();
    let expected_records: BTreeMap<String, u64> = expected
        .iter()
        .map(|(path, seen)| (path.clone(), seen.record))
        .collect();
    assert!(found == expected_records);
    for (path, seen) in expected {
        let Some(content) = &seen.content else {
            continue;
        };
        // Links of ntfs-3g and files that it unpacks are others to the crate.
        let agrees = subject.volume.second_reader_agrees(path, content);
        assert_ne!(agrees, Some(false), "{path}");
    }
}

#[test]
fn a_small_folder_becomes_a_large_one_and_goes_on() {
    if !tools() {
        return;
    }
    for geometry in GEOMETRIES {
        let Some(image) = prepared(geometry) else {
            return;
        };
        let subject = Subject::of(image.path());
        let mut names = names_of(image.path(), "few");
        let record = fs::symlink_metadata(Mount::read_only(image.path()).path().join("few"))
            .unwrap()
            .ino();
        let free = free_clusters(image.path());
        for (len, audits) in [
            (60, true),
            (120, true),
            (250, true),
            (200, false),
            (3, true),
        ] {
            for (old, file) in names.clone() {
                let first: String = old.chars().take(1).collect();
                let new = first.repeat(len);
                subject.rename(&format!("few/{old}"), &new);
                names.remove(&old);
                names.insert(new, file);
            }
            if audits {
                audit(subject.copy(), "few", record, &names);
            }
        }
        // The index has clusters now, and the volume knows it.
        let now = free_clusters(subject.copy.path());
        assert!(now < free, "{geometry:?}: {free} -> {now} free clusters");
    }
}

/// Free clusters, as ntfs-3g counts them.
fn free_clusters(image: &Path) -> u64 {
    let out = run("ntfsinfo", &["-m", image.to_str().unwrap()]);
    let out = String::from_utf8(out).unwrap();
    let line = out
        .lines()
        .find(|line| line.contains("Free Clusters"))
        .unwrap();
    let number = line.split(':').nth(1).unwrap();
    number.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn what_is_refused_changes_nothing() {
    if !tools() {
        return;
    }
    for geometry in [GEOMETRIES[0], GEOMETRIES[3], GEOMETRIES[5]] {
        let Some(image) = prepared(geometry) else {
            return;
        };
        let subject = Subject::of(image.path());
        let says = |path: &str, name: &str, text: &str| {
            let error = subject.refused(path, name);
            assert!(
                error.to_string().contains(text),
                "{path} -> {name}: {error}"
            );
        };
        for name in [
            "", ".", "..", "a/b", "a\\b", "a:b", "x.", "x ", "con", "NUL.txt", "a\u{1}", "q?",
        ] {
            says("names/plain", name, "no name");
        }
        says("names/plain", &"x".repeat(256), "255");
        for (path, name, text) in [
            ("names/plain", "OTHER", "for another file"),
            ("names/plain", "other", "for another file"),
            ("names/plain", "übung", "for another file"),
            ("names/plain", "alongo~1.txt", "for another file"),
            ("names/a long one.txt", "alongo~1.txt", "its short one"),
            ("names/LINK", "Link Again", "another name of the same file"),
            ("Case", "case", "for another file"),
            ("CASE", "new", "upper and lower case only"),
            ("$MFT", "new", "the file system itself"),
            ("$Extend", "new", "the file system itself"),
            ("$Extend/$ObjId", "new", "the file system itself"),
            ("", "new", "the root folder"),
            ("/.", "new", "the root folder"),
        ] {
            says(path, name, text);
        }
        let error = |path: &str| subject.volume.rename(path, "new", NOW).unwrap_err();
        assert_eq!(error("names/nothing").kind(), Kind::Io);
        assert_eq!(error("nothing/plain").kind(), Kind::Io);
        assert_eq!(error("names/plain/x").kind(), Kind::Io);
        assert_eq!(error("junction/System32").kind(), Kind::Unsupported);
        // The same name again is no change.
        subject.rename("names/PLAIN", "plain");
        assert!(subject.overlay.is_unchanged());

        // A record without room: what fits is said, and fits.
        if geometry.2 == 512 {
            // The folder's own name leaves its record no room for the attributes of a large index.
            let long = format!("names/{}", "L".repeat(255));
            says(
                &format!("{long}/inside"),
                &"i".repeat(200),
                "no room in the MFT record",
            );
            subject.rename(&long, "short");
            subject.rename("names/short/inside", &"i".repeat(200));
            says("names/short", &"L".repeat(255), "has room for a name");
            let error = subject.refused("names/full", &"y".repeat(255));
            let text = error.to_string();
            let (_, rest) = text.split_once("a name of ").unwrap();
            let most: usize = rest.split(' ').next().unwrap().parse().unwrap();
            assert!(error.hint().unwrap().contains(&most.to_string()));
            says("names/full", &"y".repeat(most + 1), "has room for a name");
            subject.rename("names/full", &"y".repeat(most));
            check(subject.copy());
            assert_eq!(
                run(
                    "ntfscat",
                    &[
                        subject.copy.path().to_str().unwrap(),
                        &format!("names/{}", "y".repeat(most))
                    ]
                ),
                vec![b'f'; 300]
            );
        }
    }
}

#[test]
fn folders_that_windows_made_take_other_names() {
    if !tools() {
        return;
    }
    for (name, sector, folder, steps) in [
        ("w-10m-many-files.raw.xz", 0, "Large Directory", 1500),
        ("w-2kcluster-index.raw.xz", 128, "test_dir", 200),
        ("w-vss-512cluster.raw.xz", 0, "a_directory", 100),
        (
            "w10-lastaccess.raw.xz",
            128,
            "System Volume Information",
            100,
        ),
        (
            "w10-2mcluster.raw.xz",
            128,
            "System Volume Information",
            100,
        ),
    ] {
        let Some(image) = bare(name, sector) else {
            return;
        };
        random(&image, folder, steps, 1, 0xA076_1D64_78BD_642F);
        // What is in the root: longer, to the other end of the folder, and back.
        let subject = Subject::of(&image);
        let before = names_of(&image, "");
        let users = before.keys().filter(|name| !name.starts_with('$'));
        for old in users {
            subject.rename(old, &format!("{old}_old"));
            subject.rename(&format!("{old}_OLD"), &format!("zz {old}"));
        }
        check(subject.copy());
        let after = names_of(subject.copy.path(), "");
        let expected: Names = before
            .iter()
            .map(|(name, record)| match name.starts_with('$') {
                true => (name.clone(), *record),
                false => (format!("zz {name}"), *record),
            })
            .collect();
        assert!(after == expected, "{name}: {after:?}");
        for old in before.keys().filter(|name| !name.starts_with('$')) {
            subject.rename(&format!("zz {old}"), old);
        }
        check(subject.copy());
        assert!(names_of(subject.copy.path(), "") == before, "{name}");
    }
}

#[test]
fn a_folder_is_emptied_and_filled_again() {
    if !tools() {
        return;
    }
    let descriptor = sddl::parse("O:BAG:SYD:(A;OICI;FA;;;WD)", None).unwrap();
    let descriptor = descriptor.to_bytes().unwrap();
    for geometry in GEOMETRIES {
        let Some(image) = made(geometry) else {
            return;
        };
        let subject = Subject::of(&image);
        let record = fs::symlink_metadata(Mount::read_only(&image).path().join("many"))
            .unwrap()
            .ino();
        let names = names_of(&image, "many");
        let paths = names.keys().map(|name| format!("many/{name}"));
        for path in paths {
            subject.volume.remove(&path, NOW).unwrap();
        }
        audit(subject.copy(), "many", record, &Names::new());
        for number in 0..names.len() {
            let path = format!("many/{}{number}", "n".repeat(number % 100));
            subject
                .volume
                .create_file(&path, b"new", &descriptor, NOW)
                .unwrap();
        }
        let names = names_of(subject.copy(), "many");
        assert!(names.len() > 300);
        audit(subject.copy(), "many", record, &names);
    }
}
