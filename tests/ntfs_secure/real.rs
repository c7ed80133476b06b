// SPDX-License-Identifier: GPL-2.0-or-later
//! Volumes that Windows made, and the samples of others.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use coldfix::volume::Volume;
use coldfix::volume::ntfs::NtfsVolume;

use crate::foreign::{audit, stored};
use crate::ntfs_support::*;
use crate::subject::*;

/// The real images, where their volume begins in sectors, and whether Windows left them clean.
const SAMPLES: [(&str, u64, bool); 12] = [
    ("linux-mkntfs-dfvfs.raw.xz", 0, true),
    ("linux-mkntfs-testfs1.raw.xz", 0, true),
    ("linux-ntfs3-attrlist.raw.xz", 0, true),
    ("w-10m-many-files.raw.xz", 0, true),
    ("w-2kcluster-index.raw.xz", 128, true),
    ("w-vss-512cluster.raw.xz", 0, true),
    ("w10-20h1-64g-vss.tgz", 2048, true),
    ("w10-lastaccess.raw.xz", 128, true),
    ("w10-ptrn.raw.xz", 128, true),
    ("w10-2mcluster.raw.xz", 128, true),
    ("w10-1kcluster-log2-dirty.raw.xz", 0, false),
    ("w10-cloud-reparse-log2-dirty.raw.xz", 0, false),
];

/// The volume of an image on its own, with the copy of the boot sector behind it, for programs that know no
/// offset; must not be changed.
pub fn bare(name: &str, sector: u64) -> Option<PathBuf> {
    let disk = image(name)?;
    let device = FileDevice::open(&disk);
    let mut sectors = [0; 8];
    device.read_at(sector * 512 + 0x28, &mut sectors).unwrap();
    let len = (u64::from_le_bytes(sectors) + 1) * 512;
    if len == device.len() {
        return Some(disk);
    }
    let bare = disk.with_extension("volume");
    if !bare.exists() {
        let own = tempfile::NamedTempFile::new_in(scratch()).unwrap();
        cut(&disk, sector * 512, len, own.as_file());
        own.persist(&bare).unwrap();
    }
    Some(bare)
}

/// Copies a part of a file; holes stay holes, and are not even read.
fn cut(disk: &Path, offset: u64, len: u64, target: &fs::File) {
    use rustix::fs::{SeekFrom, seek};
    let source = fs::File::open(disk).unwrap();
    target.set_len(len).unwrap();
    let end = offset + len;
    let mut at = offset;
    while let Ok(data) = seek(&source, SeekFrom::Data(at)) {
        let hole = seek(&source, SeekFrom::Hole(data)).unwrap().min(end);
        if data >= end {
            break;
        }
        let mut piece = vec![0; usize::try_from(hole - data).unwrap()];
        source.read_exact_at(&mut piece, data).unwrap();
        target.write_all_at(&piece, data - offset).unwrap();
        at = hole;
    }
}

#[test]
fn every_descriptor_of_every_real_volume_reads_as_foreign_readers_read_it() {
    if python().is_none() || !require(&["ntfs-3g", "getfattr", "xz"]) {
        return;
    }
    for (name, sector, _) in SAMPLES {
        let Some(image) = bare(name, sector) else {
            return;
        };
        let volume = NtfsVolume::open(FileDevice::open(&image)).unwrap();
        compare(name, &volume, &image);
    }
}

#[test]
fn descriptors_are_set_on_every_clean_real_volume() {
    if python().is_none() || !require(&["ntfs-3g", "getfattr", "xz", "ntfssecaudit", "ntfsresize"])
    {
        return;
    }
    for (name, sector, clean) in SAMPLES {
        if !clean {
            continue;
        }
        let Some(image) = bare(name, sector) else {
            return;
        };
        audit(image.to_str().unwrap());
        let subject = Subject::of(image);
        let before = known(&subject.volume);
        let paths: Vec<&str> = before.keys().map(String::as_str).collect();
        let ids = ids(&subject.image, &paths);
        let mut highest = ids.iter().copied().max().unwrap();
        // The highest id need not be that of a file.
        highest = highest.max(stored(&subject.image));
        let mut files = BTreeMap::new();

        // One that another file has: nothing but the record changes.
        let giver = ids.iter().position(|id| *id != 0);
        let taker = paths.iter().zip(&ids).rposition(|(path, id)| {
            *id != 0 && giver.is_some_and(|giver| before[*path] != before[paths[giver]])
        });
        let set = |path: &str, descriptor: &[u8]| {
            subject
                .volume
                .set_security(descriptor, &[path], NOW)
                .unwrap();
        };
        let mut reused = false;
        if let (Some(giver), Some(taker)) = (giver, taker) {
            let descriptor = before[paths[giver]].to_vec();
            set(paths[taker], &descriptor);
            assert_eq!(subject.changed(), 512, "{name}: {}", paths[taker]);
            let expected = Expected {
                id: ids[giver],
                descriptor,
            };
            files.insert(paths[taker].to_owned(), expected);
            subject.judge(name, &before, &files);
            reused = true;
        }
        // New ones, from small to as large as can be, on files and folders.
        for (number, entries) in [1, 2, 3, 40, 400, 1560].into_iter().enumerate() {
            let descriptor = descriptor(number as u32, entries);
            let path = paths[number * paths.len() / 6];
            let old = subject.changed();
            set(path, &descriptor);
            let changed = subject.changed();
            if entries == 1 {
                eprintln!("{name}: one new descriptor changes {} bytes", changed - old);
                assert!(changed - old <= 16 << 10, "{name}");
            }
            // The same again: nothing at all, not even the time.
            subject
                .volume
                .set_security(&descriptor, &[path], NOW + 7)
                .unwrap();
            assert_eq!(subject.changed(), changed);
            highest += 1;
            let id = highest;
            files.insert(path.to_owned(), Expected { id, descriptor });
            if entries != 2 && entries != 40 {
                subject.judge(name, &before, &files);
            }
        }
        // Many files at once, of which some have it already.
        let descriptor = descriptor(3, 40);
        let id = highest - 2;
        subject
            .volume
            .set_security(&descriptor, &paths, NOW)
            .unwrap();
        for path in &paths {
            let descriptor = descriptor.clone();
            files.insert((*path).to_owned(), Expected { id, descriptor });
        }
        subject.judge(name, &before, &files);
        assert_eq!(subject.volume.check_security().unwrap(), [""; 0]);
        eprintln!(
            "{name}: {} files, an id used again: {reused}, {} bytes changed",
            paths.len(),
            subject.changed()
        );
    }
}
