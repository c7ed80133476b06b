// SPDX-License-Identifier: GPL-2.0-or-later
//! Volumes and whole disks. An input is damage to a disk that was made: mutated bytes of a disk would seldom be more
//! than a disk whose first structure is wrong.
//!
//! `COLDFIX_FUZZ_DISKS` names a folder with `ntfs.raw`, `fat.raw` and, below `disk/`, whole disks.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use coldfix::checks::{self, Facts, Severity};
use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
use coldfix::device::{Device as _, SharedDevice};
use coldfix::security::sddl;
use coldfix::target::Target;
use coldfix::volume::fat::FatVolume;
use coldfix::volume::ntfs::NtfsVolume;
use coldfix::volume::{EntryKind, Volume};
use coldfix::{plan, verify};

use crate::containers::undo;
use crate::damage::Subject;
use crate::structures::{Bytes, find};

/// No file longer than this is read.
const LIMIT: u64 = 1 << 20;
/// More entries are not visited.
const VISITED: usize = 300;

/// A disk that was made, and where its structures are.
struct Made {
    device: SharedDevice,
    subject: Subject,
}

impl Made {
    fn read(path: &std::path::Path) -> Made {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let device: SharedDevice = Arc::new(MemoryDevice::new(bytes));
        let places = find(&OnDevice(Overlay::new(Arc::clone(&device))));
        Made {
            device,
            subject: Subject::new(places),
        }
    }

    /// The disk with the damage that the input tells.
    fn damaged(&self, recipe: &[u8]) -> SharedDevice {
        let mut disk = OnDevice(Overlay::new(Arc::clone(&self.device)));
        self.subject.damage(&mut disk, recipe);
        Arc::new(disk.0)
    }
}

struct OnDevice(Overlay);

impl Bytes for OnDevice {
    fn len(&self) -> u64 {
        coldfix::device::Device::len(&self.0)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) {
        self.0.read_at(offset, buffer).expect("inside the disk");
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        self.0.write_at(offset, data).expect("inside the disk");
    }
}

fn folder() -> PathBuf {
    std::env::var_os("COLDFIX_FUZZ_DISKS")
        .expect("COLDFIX_FUZZ_DISKS, see scripts/fuzz")
        .into()
}

/// Files read, replaced, made, renamed, removed; permissions set.
fn exercise(volume: &dyn Volume, now: u64) {
    let _ = (volume.check_writable(), volume.state().journal.clone());
    let mut folders = vec![String::new()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in volume.list(&folder).unwrap_or_default() {
            seen += 1;
            if seen > VISITED {
                break;
            }
            let path = format!("{folder}/{}", entry.name);
            if entry.kind == EntryKind::Directory {
                folders.push(path);
                continue;
            }
            let Ok(mut content) = volume.read(&path, LIMIT) else {
                continue;
            };
            content.push(1);
            if seen % 8 == 0 {
                content.resize(content.len() + 5000, 2);
            }
            if volume.replace(&path, &content).is_ok() {
                let again = volume
                    .read(&path, LIMIT + 6000)
                    .expect("a replaced file reads");
                assert!(again == content, "{path} reads as something else");
                assert_ne!(
                    volume.second_reader_agrees(&path, &content),
                    Some(false),
                    "{path}"
                );
            }
        }
    }
    let descriptor = sddl::parse("O:BAG:SYD:PAI(A;OICI;FA;;;BA)", None).expect("a descriptor");
    let descriptor = descriptor.to_bytes().expect("bytes");
    for folder in ["", "many", "Windows/System32"] {
        let path = |name: &str| format!("{folder}/{name}");
        let _ = volume.create_directory(&path("new"), &descriptor, now);
        for content in [&[][..], &[1; 700], &[2; 3000]] {
            let file = path(&format!("new/{}", content.len()));
            if volume.create_file(&file, content, &descriptor, now).is_ok() {
                let again = volume.read(&file, LIMIT).expect("a new file reads");
                assert!(again == content, "{file} reads as something else");
            }
            let _ = volume.rename(&file, "another name", now);
        }
        let paths = [folder, &path("new")];
        if volume.set_security(&descriptor, &paths, now).is_ok() {
            let found = volume
                .security(&paths)
                .expect("permissions that were set are read");
            assert!(
                found.iter().all(|found| **found == descriptor[..]),
                "other permissions"
            );
            let _ = volume.second_reader_agrees_on_security(&paths, &descriptor);
        }
        let _ = volume.tree_with_security(&path("new"));
        let _ = volume.remove(&path("new/another name"), now);
        let _ = volume.remove(&path("new"), now);
    }
    let _ = (volume.check_security(), volume.notes());
}

/// A damaged NTFS volume, written.
pub fn ntfs_volume(input: &[u8]) {
    static MADE: OnceLock<Made> = OnceLock::new();
    let made = MADE.get_or_init(|| Made::read(&folder().join("ntfs.raw")));
    let overlay = Arc::new(Overlay::new(made.damaged(input)));
    if let Ok(volume) = NtfsVolume::open(overlay.clone()) {
        exercise(&volume, 1);
    }
    undo(&overlay);
}

/// A damaged FAT volume, written.
pub fn fat(input: &[u8]) {
    static MADE: OnceLock<Made> = OnceLock::new();
    let made = MADE.get_or_init(|| Made::read(&folder().join("fat.raw")));
    let overlay = Arc::new(Overlay::new(made.damaged(input)));
    if let Ok(volume) = FatVolume::open(overlay.clone()) {
        exercise(&volume, 1);
    }
    undo(&overlay);
}

/// A damaged disk, chosen by the first byte: opened, diagnosed, repaired in memory, verified.
pub fn disk(input: &[u8]) {
    static MADE: OnceLock<Vec<Made>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let entries = fs::read_dir(folder().join("disk")).expect("a folder of disks");
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a disk").path()).collect();
        paths.sort();
        paths.iter().map(|path| Made::read(path)).collect()
    });
    let Some((choice, recipe)) = input.split_first() else {
        return;
    };
    let made = &made[usize::from(*choice) % made.len()];
    let host = made.damaged(recipe);
    let Ok(target) = Target::in_memory(Arc::clone(&host)) else {
        return;
    };
    let Ok(mut installation) = target.installation(None) else {
        return;
    };
    let now = jiff::Timestamp::from_second(1_760_000_000).expect("a moment");
    let edits = {
        let Ok(facts) = Facts::gather(&installation, now) else {
            let _ = checks::diagnose_files(&installation);
            return;
        };
        let findings = checks::diagnose(&facts).findings;
        let _ = checks::timeline(&facts, &findings);
        let bad = findings
            .iter()
            .filter(|finding| finding.severity >= Severity::Risk);
        let cures = bad.flat_map(|finding| {
            finding
                .cure
                .iter()
                .map(|edit| (edit.clone(), finding.id.to_owned()))
        });
        cures.collect::<Vec<_>>()
    };
    let stored = plan::check_writable(&installation, edits.iter().map(|(edit, _)| edit))
        .and_then(|()| plan::apply(&mut installation, &edits, 133_000_000_000_000_000))
        .and_then(|steps| {
            plan::store(&mut installation, &steps, 133_000_000_000_000_000).map(|()| steps)
        });
    let Ok(steps) = stored else {
        return;
    };
    let changes = target.changes().expect("changes of a repair");
    let _ = verify::verify(&target, &installation, &steps);
    let again = Overlay::new(host);
    for patch in &changes.patches {
        if patch.after_len > again.len() {
            coldfix::device::Device::set_length(&again, patch.after_len).expect("a longer file");
        }
        for change in &patch.changes {
            let mut before = vec![0; change.before.len()];
            again
                .read_at(change.offset, &mut before)
                .expect("what is changed is there");
            assert!(
                before == change.before,
                "the journal would hold something else"
            );
            again
                .write_at(change.offset, &change.after)
                .expect("a write to memory");
        }
    }
    undo(&again);
}
