// SPDX-License-Identifier: GPL-2.0-or-later
//! Volumes under an overlay, descriptors for them, and the judgement of what becomes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coldfix::device::SharedDevice;
use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
use coldfix::security::Descriptor;
use coldfix::volume::Volume;
use coldfix::volume::ntfs::NtfsVolume;

use crate::foreign::{audit, dissect, dissect_records, getfattr, istat, mean_the_same};
use crate::ntfs_support::{FileDevice, Mount, judge, run, scratch};
use crate::support;

/// A descriptor with owner and group SYSTEM and a DACL of SYSTEM and `entries` accounts that `number` makes
/// different, as Windows lays it out.
pub fn descriptor(number: u32, entries: u32) -> Vec<u8> {
    let sid = |parts: &[u32]| {
        let mut sid = vec![1, parts.len() as u8, 0, 0, 0, 0, 0, 5];
        sid.extend(parts.iter().flat_map(|part| part.to_le_bytes()));
        sid
    };
    let ace = |mask: u32, sid: &[u8]| {
        let mut ace = vec![0, 3];
        ace.extend((8 + sid.len() as u16).to_le_bytes());
        ace.extend(mask.to_le_bytes());
        ace.extend(sid);
        ace
    };
    let system = sid(&[18]);
    let mut aces = ace(0x001F_01FF, &system);
    for entry in 0..entries {
        aces.extend(ace(0x0012_0089, &sid(&[21, 1, 2, 3, number, entry])));
    }
    let mut acl = vec![2, 0];
    acl.extend((8 + aces.len() as u16).to_le_bytes());
    acl.extend((1 + entries as u16).to_le_bytes());
    acl.extend([0, 0]);
    acl.extend(aces);
    let owner = 20 + acl.len() as u32;
    let mut bytes = vec![1, 0, 4, 0x94];
    for offset in [owner, owner + 12, 0, 20] {
        bytes.extend(offset.to_le_bytes());
    }
    bytes.extend(acl);
    bytes.extend([&system[..], &system].concat());
    assert!(Descriptor::parse(&bytes).unwrap().to_bytes().unwrap() == bytes);
    bytes
}

pub const NOW: u64 = 0x01DA_5C1B_2F00_1234;

/// A volume of its own in a file, under an overlay.
pub struct Subject {
    /// The image, which stays as it is.
    pub image: PathBuf,
    /// What changes.
    pub overlay: Arc<Overlay>,
    /// The volume on it.
    pub volume: NtfsVolume,
}

impl Subject {
    pub fn of(image: PathBuf) -> Subject {
        // Small ones in memory.
        let small = fs::metadata(&image).unwrap().len() < 64 << 20;
        let base: SharedDevice = match small {
            true => Arc::new(MemoryDevice::new(fs::read(&image).unwrap())),
            false => FileDevice::open(&image),
        };
        let overlay = Arc::new(Overlay::new(base));
        let volume = NtfsVolume::open(overlay.clone()).unwrap();
        volume.check_writable().unwrap();
        Subject {
            image,
            overlay,
            volume,
        }
    }

    /// Bytes that differ from what the file has.
    pub fn changed(&self) -> usize {
        let changes = self.overlay.changes().unwrap();
        changes.iter().map(|change| change.after.len()).sum()
    }

    /// The volume as it is now, in a file.
    pub fn export(&self) -> tempfile::NamedTempFile {
        use std::os::unix::fs::FileExt;
        let target = tempfile::NamedTempFile::new_in(scratch()).unwrap();
        support::copy(&self.image, target.path());
        let file = fs::File::options().write(true).open(target.path()).unwrap();
        for change in self.overlay.changes().unwrap() {
            file.write_all_at(&change.after, change.offset).unwrap();
        }
        target
    }

    /// Lets everyone judge the volume: `files` have these descriptors and ids, everything else what it had.
    pub fn judge(&self, name: &str, before: &Known, files: &BTreeMap<String, Expected>) {
        let target = self.export();
        let image = target.path();
        let path = image.to_str().unwrap();
        audit(path);
        judge::check(image);
        let mut paths: Vec<&str> = before.keys().map(String::as_str).collect();
        let more = files.keys().filter(|path| !before.contains_key(*path));
        paths.extend(more.map(String::as_str));
        let ours = self.volume.security(&paths).unwrap();
        let dissect = dissect_records(image, &paths);
        // A file may have several names.
        let mut changed = BTreeMap::new();
        for (path, (record, ..)) in paths.iter().zip(&dissect) {
            if let Some(file) = files.get(*path) {
                changed.insert(*record, file);
            }
        }
        let mut all: BTreeMap<&str, &[u8]> = BTreeMap::new();
        for (path, (ours, (record, id, theirs))) in paths.iter().zip(ours.iter().zip(&dissect)) {
            let wanted: &[u8] = match changed.get(record) {
                Some(file) => {
                    assert_eq!(*id, file.id, "{name}: {path}, dissect");
                    &file.descriptor
                }
                None => &before[*path],
            };
            assert!(ours[..] == *wanted, "{name}: {path}, our reader");
            assert!(theirs == wanted, "{name}: {path}, dissect");
            all.insert(path, wanted);
        }
        let mount = Mount::read_only(image);
        for (path, found) in paths.iter().zip(getfattr(mount.path(), &paths)) {
            if let Some(found) = found {
                assert!(mean_the_same(&found, all[path]), "{name}: {path}, ntfs-3g");
            }
        }
        // Sleuthkit 4.11 does not read clusters of more than 64 KiB, and finds owners only where $SII has blocks.
        let mut owners = 0;
        if !name.starts_with("w10-2mcluster") {
            let records = changed.iter().step_by(changed.len().div_ceil(5).max(1));
            for (record, file) in records {
                let wanted = Descriptor::parse(&file.descriptor).unwrap();
                let wanted = wanted.owner.unwrap().to_string();
                let (id, owner) = istat(image, *record);
                assert_eq!(id, file.id, "{name}: {record}, istat");
                if !owner.is_empty() {
                    assert_eq!(owner, wanted, "{name}: {record}, istat");
                    owners += 1;
                }
            }
            run("fls", &["-r", path]);
        }
        let mut groups: BTreeMap<&[u8], Vec<&str>> = BTreeMap::new();
        for path in files.keys() {
            groups.entry(all[path.as_str()]).or_default().push(path);
        }
        let (mut asked, mut opinions) = (0, 0);
        for (wanted, paths) in groups.into_iter().take(50) {
            let agrees = |descriptor: &[u8]| {
                self.volume
                    .second_reader_agrees_on_security(&paths, descriptor)
            };
            let opinion = agrees(wanted);
            assert_ne!(opinion, Some(false), "{name}: {paths:?}");
            let other = agrees(&descriptor(u32::MAX, 1));
            assert_ne!(other, Some(true), "{name}: {paths:?}");
            assert!(
                opinion.is_none() || other == Some(false),
                "{name}: {paths:?}"
            );
            asked += 1;
            opinions += usize::from(opinion.is_some());
        }
        eprintln!(
            "{name}: the crate has an opinion on {opinions} of {asked} descriptors, sleuthkit on {owners} owners"
        );
    }
}

/// What a file is to have.
#[derive(Clone)]
pub struct Expected {
    pub id: u32,
    pub descriptor: Vec<u8>,
}

/// Paths with the descriptors that they have.
pub type Known = BTreeMap<String, Arc<[u8]>>;

/// The descriptors of all files that have one, but for those of the file system itself.
pub fn known(volume: &NtfsVolume) -> Known {
    let tree = volume.tree("").unwrap();
    let users = tree.iter().map(|entry| entry.path.as_str());
    let users = users.filter(|path| !path.starts_with('$'));
    users
        .filter_map(|path| Some((path.to_owned(), volume.security(&[path]).ok()?.remove(0))))
        .collect()
}

/// The ids that the files have, with dissect.
pub fn ids(image: &Path, paths: &[&str]) -> Vec<u32> {
    dissect(image, paths)
        .into_iter()
        .map(|(id, _)| id)
        .collect()
}

/// Compares our reading of every file of a volume with dissect's and ntfs-3g's. Returns what was read.
pub fn compare(name: &str, volume: &NtfsVolume, image: &Path) -> Vec<(String, Arc<[u8]>)> {
    let tree = volume.tree("").unwrap();
    for entry in &tree {
        let kind = volume.entry(&entry.path).unwrap().unwrap().kind;
        assert_eq!(entry.kind, kind, "{name}: {}", entry.path);
    }
    let all: Vec<&str> = tree.iter().map(|entry| entry.path.as_str()).collect();
    let theirs = dissect(image, &all);
    // Without a descriptor: refused by name, so they are left out of what is asked for at once.
    let with: Vec<(&str, &[u8])> = all
        .iter()
        .zip(&theirs)
        .filter(|(_, (_, descriptor))| !descriptor.is_empty())
        .map(|(path, (_, descriptor))| (*path, descriptor.as_slice()))
        .collect();
    for (path, (_, descriptor)) in all.iter().zip(&theirs) {
        if descriptor.is_empty() {
            let error = volume.security(&[path]).unwrap_err();
            assert!(error.to_string().contains("neither"), "{path}: {error}");
        }
    }
    let paths: Vec<&str> = with.iter().map(|(path, _)| *path).collect();
    let ours = volume.security(&paths).unwrap();
    assert_eq!(ours.len(), paths.len());
    for ((path, theirs), ours) in with.iter().zip(&ours) {
        assert!(
            *theirs == &ours[..],
            "{name}: {path}: {theirs:02x?} {ours:02x?}"
        );
        let alone = volume.security(&[path]).unwrap();
        assert_eq!(&alone[0], ours, "{name}: {path} alone");
    }
    let (mut seen, mut reordered) = (0, 0);
    {
        let mount = Mount::read_only(image);
        for ((path, found), ours) in paths.iter().zip(getfattr(mount.path(), &paths)).zip(&ours) {
            // ntfs-3g does not show the file system's own files by name, nor what is in cloud folders.
            let Some(found) = found else {
                let hidden = path.starts_with('$') || path.starts_with("OneDrive/");
                assert!(hidden, "{name}: {path}");
                continue;
            };
            assert!(mean_the_same(&found, ours), "{name}: {path}");
            seen += 1;
            reordered += usize::from(found != ours[..]);
        }
    }
    let different: BTreeSet<&Arc<[u8]>> = ours.iter().collect();
    eprintln!(
        "{name}: {} files, {} without a descriptor, {} different descriptors; dissect agrees on {}, ntfs-3g on {seen} \
         ({reordered} in another order)",
        all.len(),
        all.len() - with.len(),
        different.len(),
        ours.len(),
    );
    assert!(volume.notes().is_empty(), "{:?}", volume.notes());
    paths
        .iter()
        .map(|path| (*path).to_owned())
        .zip(ours)
        .collect()
}
