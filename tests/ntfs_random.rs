// SPDX-License-Identifier: GPL-2.0-or-later
//! Ten thousand random steps on a volume against a model: files and folders made, removed, renamed, overwritten, grown,
//! given other permissions. Every so often the programs that look at the whole volume judge it, and an ntfs-3g mount
//! has to show exactly what the model holds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![allow(clippy::cast_possible_truncation)]

mod ntfs_support;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use coldfix::device::SharedDevice;
use coldfix::device::memory::MemoryDevice;
use coldfix::error::{Error, Kind};
use coldfix::security::sddl;
use coldfix::volume::Volume;
use coldfix::volume::ntfs::NtfsVolume;

use ntfs_support::{Mount, judge, run, scratch, seen, temporary};

const STEPS: u32 = 10_000;
const NOW: u64 = 133_500_000_000_000_000;

/// Numbers that look random and are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// What is to be on the volume: by path, the content of a file, or `None` for a folder.
type Model = BTreeMap<String, Option<Vec<u8>>>;

/// Names whose upper case is plain, so that the model can fold them.
fn name(random: &mut Random) -> String {
    const WORDS: [&str; 6] = [
        "key",
        "Key",
        "a long name of a file",
        "ÄRGER",
        "x",
        "MachineKeys",
    ];
    let word = WORDS[random.below(WORDS.len())];
    format!("{word}{:03}", random.below(400))
}

fn folded(path: &str) -> String {
    path.to_uppercase()
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').unwrap().0
}

fn content(random: &mut Random) -> Vec<u8> {
    let longest = [1, 300, 900, 9000][random.below(4)];
    let len = random.below(longest);
    (0..len).map(|at| (at * 31 + len) as u8).collect()
}

struct Walk {
    device: SharedDevice,
    volume: NtfsVolume,
    model: Model,
    random: Random,
    descriptors: Vec<Vec<u8>>,
    /// How often each kind of step was done, and refused.
    done: BTreeMap<&'static str, (u32, u32)>,
}

impl Walk {
    fn pick(&mut self, folder: bool) -> Option<String> {
        let all: Vec<&String> = self
            .model
            .iter()
            .filter(|(path, content)| content.is_none() == folder && path.contains('/'))
            .map(|(path, _)| path)
            .collect();
        (!all.is_empty()).then(|| all[self.random.below(all.len())].clone())
    }

    fn place(&mut self) -> String {
        let folders: Vec<&String> = self
            .model
            .iter()
            .filter(|(path, content)| content.is_none() && path.matches('/').count() < 3)
            .map(|(path, _)| path)
            .collect();
        let folder = folders[self.random.below(folders.len())].clone();
        format!("{folder}/{}", name(&mut self.random))
    }

    fn exists(&self, path: &str) -> bool {
        self.model.keys().any(|known| folded(known) == folded(path))
    }

    fn note(&mut self, kind: &'static str, result: Result<(), Error>, expected: bool) -> bool {
        let count = self.done.entry(kind).or_default();
        match result {
            Ok(()) => {
                assert!(expected, "{kind} should have been refused");
                count.0 += 1;
                true
            }
            Err(error) => {
                // A record that a content fills has no room for a longer name.
                let full = error.to_string().contains("has room for a name of");
                assert!(!expected || full, "{kind}: {error}");
                assert_eq!(error.kind(), Kind::Refused, "{kind}: {error}");
                count.1 += 1;
                false
            }
        }
    }

    fn step(&mut self) {
        let descriptor = self.descriptors[self.random.below(self.descriptors.len())].clone();
        match self.random.below(100) {
            0..=33 => {
                let (path, bytes) = (self.place(), content(&mut self.random));
                let free = !self.exists(&path);
                let made = self.volume.create_file(&path, &bytes, &descriptor, NOW);
                if self.note("make a file", made, free) {
                    self.model.insert(path, Some(bytes));
                }
            }
            34..=38 => {
                let path = self.place();
                let free = !self.exists(&path);
                let made = self.volume.create_directory(&path, &descriptor, NOW);
                if self.note("make a folder", made, free) {
                    self.model.insert(path, None);
                }
            }
            39..=63 => {
                let Some(path) = self.pick(false) else { return };
                let gone = self.volume.remove(&path, NOW);
                assert!(self.note("remove a file", gone, true));
                self.model.remove(&path);
            }
            64..=67 => {
                let Some(path) = self.pick(true) else { return };
                let below = format!("{path}/");
                let empty = !self.model.keys().any(|known| known.starts_with(&below));
                let gone = self.volume.remove(&path, NOW);
                if self.note("remove a folder", gone, empty) {
                    self.model.remove(&path);
                }
            }
            68..=85 => {
                let folder = self.random.below(8) == 0;
                let Some(path) = self.pick(folder) else {
                    return;
                };
                let new = name(&mut self.random);
                let to = format!("{}/{new}", parent(&path));
                let free = folded(&to) == folded(&path) || !self.exists(&to);
                let renamed = self.volume.rename(&path, &new, NOW);
                if self.note("rename", renamed, free) {
                    let below = format!("{path}/");
                    let moved: Vec<String> = self
                        .model
                        .keys()
                        .filter(|known| **known == path || known.starts_with(&below))
                        .cloned()
                        .collect();
                    for old in moved {
                        let content = self.model.remove(&old).unwrap();
                        let rest = old.strip_prefix(path.as_str()).unwrap();
                        self.model.insert(format!("{to}{rest}"), content);
                    }
                }
            }
            86..=92 => {
                let Some(path) = self.pick(false) else { return };
                let bytes = content(&mut self.random);
                let written = self.volume.replace(&path, &bytes);
                assert!(self.note("overwrite", written, true));
                self.model.insert(path, Some(bytes));
            }
            _ => {
                let Some(path) = self.pick(false) else { return };
                let set = self.volume.set_security(&descriptor, &[&path], NOW);
                assert!(self.note("permissions", set, true));
                assert!(*self.volume.security(&[&path]).unwrap()[0] == *descriptor);
            }
        }
    }

    /// What foreign programs see of the volume is what the model holds.
    fn audit(&self) {
        let mut image = vec![0; self.device.len() as usize];
        self.device.read_at(0, &mut image).unwrap();
        let file = temporary(&image);
        judge::check(file.path());
        support::foreign::ntfssecaudit(file.path());
        let text =
            String::from_utf8(run("fls", &["-r", "-p", file.path().to_str().unwrap()])).unwrap();
        let listed = text
            .lines()
            .filter_map(|line| line.split_once(":\t"))
            .filter(|(head, path)| !head.contains('*') && path.starts_with("random"));
        let mut listed: Vec<String> = listed.map(|(_, path)| path.to_owned()).collect();
        listed.sort();
        let names: Vec<String> = self.model.keys().cloned().collect();
        assert_eq!(listed, names, "fls");
        let mount = Mount::read_only(file.path());
        let found = seen(&mount.path().join("random"));
        let found: Model = found
            .into_iter()
            .map(|(path, seen)| (format!("random/{path}"), seen.content))
            .chain([("random".to_owned(), None)])
            .collect();
        assert!(found == self.model, "ntfs-3g");
    }
}

#[test]
fn ten_thousand_random_steps_are_those_of_the_model() {
    let tools = [
        "mkntfs",
        "ntfsfix",
        "ntfsresize",
        "ntfssecaudit",
        "fls",
        "ntfs-3g",
    ];
    if !ntfs_support::require(&tools) {
        return;
    }
    for (cluster, seed) in [
        ("4096", 0x9E37_79B9_7F4A_7C15),
        ("512", 0xD1B5_4A32_D192_ED03),
    ] {
        let folder = tempfile::tempdir_in(scratch()).unwrap();
        let path = folder.path().join("volume");
        std::fs::File::create(&path)
            .unwrap()
            .set_len(32 << 20)
            .unwrap();
        run(
            "mkntfs",
            &[
                "-q",
                "-Q",
                "-F",
                "-c",
                cluster,
                "-p",
                "0",
                "-H",
                "255",
                "-S",
                "63",
                path.to_str().unwrap(),
            ],
        );
        let device: SharedDevice = Arc::new(MemoryDevice::new(std::fs::read(&path).unwrap()));
        let descriptors = (0..40).map(|number| {
            let text = format!("O:SYG:SYD:PAI(A;;FA;;;SY)(A;;FR;;;S-1-5-21-1-2-3-{number})");
            sddl::parse(&text, None).unwrap().to_bytes().unwrap()
        });
        let mut walk = Walk {
            volume: NtfsVolume::open(device.clone()).unwrap(),
            device,
            model: Model::from([("random".to_owned(), None)]),
            random: Random(seed),
            descriptors: descriptors.collect(),
            done: BTreeMap::new(),
        };
        walk.volume
            .create_directory("random", &walk.descriptors[0], NOW)
            .unwrap();
        for step in 1..=STEPS {
            walk.step();
            if step % 2500 == 0 {
                walk.audit();
                // What was kept in memory must not matter.
                walk.volume = NtfsVolume::open(walk.device.clone()).unwrap();
            }
        }
        eprintln!(
            "{cluster}-byte clusters: {} names, {:?}",
            walk.model.len(),
            walk.done
        );
        assert!(walk.done.values().all(|(done, _)| *done > 20));
        assert!(walk.model.len() > 300);
        support::proof(
            "steps",
            &format!("ntfs-{cluster}-byte-clusters"),
            STEPS.into(),
        );
    }
}
