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
use coldfix::volume::Volume;
use coldfix::volume::ntfs::NtfsVolume;
use ntfs_support::judge::check;
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

/// Prints the names of folders as dissect finds them: all that blocks of the index hold, and by search.
const DISSECT: &str = r#"
import sys, json
from dissect.ntfs import NTFS
fs = NTFS(open(sys.argv[1], "rb"))
for path in sys.argv[2:]:
    folder = fs.mft.get(path)
    index = folder.index("$I30")
    names = [(e.attribute.file_name, e.attribute.flags, e.dereference().segment) for e in index.entries()]
    for name, flags, segment in names:
        assert index.search(name).dereference().segment == segment, name
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

/// Every foreign reader must find these names, and no others, in this folder with this record; and the checkers must consent.
fn audit(image: &Path, folder: &str, record: u64, names: &Names) {
    let path = image.to_str().unwrap();
    check(image);
    let expected: BTreeSet<&str> = names.keys().map(String::as_str).collect();

    let out = String::from_utf8(run("ntfsls", &["-a", "-p", folder, path])).unwrap();
    let found = out.lines().filter(|name| ![".", ".."].contains(name));
    same("ntfsls", &found.collect(), &expected);

    // Sleuthkit 4.11 reads no index blocks that are smaller than a cluster: there it shows what is in the records.
    if !has_large_clusters(image) {
        // `r/r 64-128-1:` and a tab before each name; what has a star is left in unused bytes of blocks.
        let out = run("fls", &["-f", "ntfs", path, &record.to_string()]);
        let out = String::from_utf8(out).unwrap();
        let lines = out.lines().filter(|line| !line.contains(" * "));
        let found = lines.filter_map(|line| Some(line.split_once('\t')?.1));
        same("fls", &found.collect(), &expected);
    }

    for found in dissect(image, &[folder]) {
        let long = found.iter().filter(|name| name.1 != 2);
        let found: Names = long.map(|name| (name.0.clone(), name.2)).collect();
        assert!(found == *names, "dissect");
    }

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
    assert!(random.exists > steps / 100);
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
