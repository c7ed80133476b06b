// SPDX-License-Identifier: GPL-2.0-or-later
//! What is refused, what damage is survived, and what damage is told.

use std::fs;
use std::sync::Arc;

use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
use coldfix::device::{Device, SharedDevice};
use coldfix::error::{Error, Kind};
use coldfix::volume::Volume;
use coldfix::volume::ntfs::NtfsVolume;

use crate::foreign::*;
use crate::ntfs_support::judge::Subject;
use crate::ntfs_support::*;
use crate::real::bare;
use crate::subject::{NOW, descriptor};

const GEOMETRY: Geometry = (16, 4096, 512);
const SMALL: &str = "Windows/System32/config/small";

/// A volume of Windows, small enough for memory: a file with a security id, the id, and its descriptor.
type Windows = (Vec<u8>, String, u32, Arc<[u8]>);

fn windows() -> Option<Windows> {
    python()?;
    let image = bare("w-10m-many-files.raw.xz", 0)?;
    let volume = NtfsVolume::open(FileDevice::open(&image)).unwrap();
    let tree = volume.tree("").unwrap();
    let mut files = tree.iter().map(|entry| entry.path.clone());
    let path = files.find(|path| !path.starts_with('$') && !path.is_empty())?;
    let (id, _) = dissect(&image, &[&path]).remove(0);
    let descriptor = volume.security(&[&path]).unwrap().remove(0);
    Some((fs::read(image).unwrap(), path, id, descriptor))
}

fn places(image: &[u8], bytes: &[u8]) -> Vec<usize> {
    image
        .windows(bytes.len())
        .enumerate()
        .filter(|(_, window)| *window == bytes)
        .map(|(place, _)| place)
        .collect()
}

/// The record of a file.
fn number(image: &[u8], path: &str) -> u64 {
    let file = temporary(image);
    let mount = Mount::read_only(file.path());
    seen(mount.path())[path].record
}

/// Overwrites bytes at `offset` of the first attribute of this type of a record near the start of $MFT.
fn patch_record(image: &mut [u8], number: u64, kind: u32, offset: usize, bytes: &[u8]) {
    let word = |image: &[u8], at: usize| {
        u32::from_le_bytes(image[at..at + 4].try_into().unwrap()) as usize
    };
    let mft = word(image, 0x30) * 512 * usize::from(image[0xD]);
    let at = mft + number as usize * 1024;
    assert!(image[at..].starts_with(b"FILE") && word(image, at + 0x2C) == number as usize);
    let mut place = at + usize::from(image[at + 0x14]);
    while word(image, place) != kind as usize {
        place += word(image, place + 4);
    }
    // Neither in the way of the update sequence nor guarded by it.
    let (start, end) = (place + offset, place + offset + bytes.len());
    assert!((start..end).all(|at| at % 512 < 510));
    image[start..end].copy_from_slice(bytes);
}

fn open(image: &[u8]) -> NtfsVolume {
    NtfsVolume::open(Arc::new(MemoryDevice::new(image.to_vec()))).unwrap()
}

/// The bytes of a file system's own damage, and the fault that comes of it.
fn fault(image: &[u8], path: &str) -> Error {
    let volume = open(image);
    let error = volume.security(&[path]).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged, "{error}");
    assert!(error.to_string().starts_with(path), "{error}");
    assert!(!volume.check_security().unwrap().is_empty(), "{error}");
    // What cannot be read is not written over.
    let error = volume.set_security(&descriptor(1, 1), &[path], NOW);
    assert_eq!(error.unwrap_err().kind(), Kind::Damaged);
    open(image).security(&[path]).unwrap_err()
}

#[test]
fn a_bad_first_copy_is_made_up_for_by_the_second() {
    let Some((image, path, id, descriptor)) = windows() else {
        return;
    };
    let copies = places(&image, &descriptor);
    assert_eq!(copies.len(), 2, "{copies:x?}");
    assert_eq!(open(&image).check_security().unwrap(), [""; 0]);
    // In the descriptor; in its hash, id, offset and length.
    for place in [0, 30, descriptor.len().cast_signed() - 1, -20, -16, -12, -4] {
        let mut bad = image.clone();
        bad[copies[0].checked_add_signed(place).unwrap()] ^= 1;
        let volume = open(&bad);
        assert_eq!(volume.security(&[&path]).unwrap()[0], descriptor);
        let notes = volume.notes();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].contains("second copy") && notes[0].contains(&format!("{id:#x}")));
        assert_eq!(volume.check_security().unwrap().len(), 1);

        bad[copies[1].checked_add_signed(place).unwrap()] ^= 2;
        let error = fault(&bad, &path);
        assert!(error.to_string().contains("$SDS"), "{error}");

        let mut other = image.clone();
        other[copies[1].checked_add_signed(place).unwrap()] ^= 1;
        let volume = open(&other);
        assert_eq!(volume.security(&[&path]).unwrap()[0], descriptor);
        assert_eq!(volume.notes(), [""; 0]);
        assert_eq!(volume.check_security().unwrap().len(), 1);
    }
}

#[test]
fn what_the_index_says_is_held_against_the_stream() {
    let Some((image, path, id, descriptor)) = windows() else {
        return;
    };
    let copy = places(&image, &descriptor)[0];
    let place = &image[copy - 20..copy];
    let entry = [&id.to_le_bytes(), place].concat();
    let found = places(&image, &entry);
    // Once in $SII; in $SDH the id comes before it too, behind the hash.
    let key_len = |at: usize| image[at - 6];
    // And where it lay before, in the journal and in the record's slack.
    let in_index = |at: usize| image[at & !4095..].starts_with(b"INDX");
    let by_id: Vec<usize> = found
        .into_iter()
        .filter(|at| key_len(*at) == 4 && in_index(*at))
        .collect();
    assert_eq!(by_id.len(), 1, "{by_id:x?}");
    let data = by_id[0] + 4;
    for (offset, bytes, why) in [
        (0, vec![1, 2, 3, 4], "another hash"),
        (4, vec![0, 1, 0, 0], "another id"),
        (8, vec![8], "not aligned"),
        (8, vec![0, 0, 4, 0], "in a block of copies"),
        (8, vec![0xF0, 0xFF, 3, 0], "reaching into a block of copies"),
        (8, vec![0, 0, 8, 0], "past the end"),
        (8, vec![0xFF; 8], "past all numbers"),
        (0x10, vec![0, 0, 0, 0], "nothing"),
        (0x10, vec![39, 0, 0, 0], "too short"),
        (0x10, vec![0x15, 0, 1, 0], "too long"),
        (0x10, vec![0xFF; 4], "far too long"),
    ] {
        let mut bad = image.clone();
        bad[data + offset..data + offset + bytes.len()].copy_from_slice(&bytes);
        let error = fault(&bad, &path);
        eprintln!("{why}: {error}");
    }
    // Not there at all: the key is another one.
    let mut bad = image.clone();
    bad[by_id[0]..data].copy_from_slice(&(id + 0x8000).to_le_bytes());
    let error = open(&bad).security(&[&path]).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged, "{error}");
    assert!(!open(&bad).check_security().unwrap().is_empty());
}

#[test]
fn descriptors_that_hold_nothing_together_are_told() {
    let Some((image, path, ..)) = windows() else {
        return;
    };
    let number = number(&image, &path);
    // The file says an id that no entry has.
    let mut bad = image.clone();
    patch_record(&mut bad, number, 0x10, 0x18 + 0x34, &[0xFF, 0xFF, 0, 0]);
    let error = open(&bad).security(&[&path]).unwrap_err();
    assert!(error.to_string().contains("0xffff"), "{error}");
    // It can be given another.
    let volume = open(&bad);
    volume
        .set_security(&descriptor(1, 1), &[&path], NOW)
        .unwrap();
    assert_eq!(volume.security(&[&path]).unwrap()[0][..], descriptor(1, 1));
    // No id, and no descriptor of its own: it gets one.
    let mut bad = image;
    patch_record(&mut bad, number, 0x10, 0x18 + 0x34, &[0, 0, 0, 0]);
    let volume = open(&bad);
    let error = volume.security(&[&path]).unwrap_err();
    assert!(error.to_string().contains("neither"), "{error}");
    assert!(error.hint().unwrap().contains("permissions"));
    volume
        .set_security(&descriptor(1, 1), &[&path], NOW)
        .unwrap();
    assert_eq!(volume.security(&[&path]).unwrap()[0][..], descriptor(1, 1));
}

/// Whatever single bytes say in the records of $Secure and of files, in its indexes and in $SDS: an answer or an error
/// comes, soon, and what was set reads back.
#[test]
fn any_byte_may_be_wrong() {
    let Some((image, path, _, own)) = windows() else {
        return;
    };
    // The records of the first files, the blocks of $SII and $SDH (all that name the place of this descriptor), and
    // the descriptor in $SDS: bytes that say something.
    let own = places(&image, &own);
    let named = places(&image, &image[own[0] - 20..own[0]]);
    let mut bytes: Vec<usize> = (0..image.len()).filter(|at| image[*at] != 0).collect();
    bytes.retain(|at| {
        let file = image[at & !1023..].starts_with(b"FILE") && image[(at & !1023) + 0x2C] < 12;
        let index = image[at & !4095..].starts_with(b"INDX")
            && named.iter().any(|named| named & !4095 == at & !4095);
        file || index || own.iter().any(|own| own & !511 == at & !511)
    });
    assert!(bytes.len() > 2000, "{}", bytes.len());
    let base: SharedDevice = Arc::new(MemoryDevice::new(image.clone()));
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = |limit: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % limit as u64).unwrap()
    };
    let (mut set, mut failed) = (0, 0);
    for round in 0..3000 {
        let overlay = Arc::new(Overlay::new(base.clone()));
        let place = bytes[next(bytes.len())];
        let byte = match round % 3 {
            0 => 0xFF,
            1 => 0,
            _ => u8::try_from(next(256)).unwrap(),
        };
        overlay.write_at(place as u64, &[byte]).unwrap();
        let Ok(volume) = NtfsVolume::open(overlay) else {
            continue;
        };
        let tree = volume.tree("").unwrap_or_default();
        let paths: Vec<&str> = tree
            .iter()
            .map(|entry| entry.path.as_str())
            .take(30)
            .collect();
        drop(volume.security(&paths));
        drop(volume.check_security());
        let new = descriptor(round, 2);
        match volume.set_security(&new, &[&path], NOW) {
            Ok(()) => {
                let found = volume.security(&[&path]).unwrap();
                assert!(found[0][..] == new, "{place:#x} {byte:#x}");
                set += 1;
            }
            Err(_) => failed += 1,
        }
    }
    eprintln!("{set} set, {failed} refused");
    assert!(set > 1000 && failed > 50);
}

#[test]
fn a_volume_without_shared_descriptors() {
    let Some((mut image, path, ..)) = windows() else {
        return;
    };
    // The stream has another name.
    patch_record(&mut image, 9, 0x80, 0x42, b"s");
    let volume = open(&image);
    let errors = [
        volume.security(&[&path]).unwrap_err(),
        volume
            .set_security(&descriptor(1, 1), &[&path], NOW)
            .unwrap_err(),
        volume.check_security().unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), Kind::Unsupported, "{error}");
        assert!(error.to_string().contains("NTFS 3.0"), "{error}");
    }
}

/// An attempt that must fail and change nothing.
fn refused(subject: &Subject, descriptor: &[u8], paths: &[&str]) -> Error {
    let before = subject.changes();
    let set = subject.volume.set_security(descriptor, paths, NOW);
    assert_eq!(subject.changes(), before, "{paths:?}");
    set.unwrap_err()
}

#[test]
fn what_is_refused_changes_nothing() {
    let Some(image) = made(GEOMETRY) else {
        return;
    };
    let subject = Subject::of(fs::read(image).unwrap());
    let good = descriptor(1, 1);
    for path in [
        "$MFT",
        "$Secure",
        "$boot",
        "$Extend",
        "$EXTEND\\$quota",
        "$Extend/$ObjId",
    ] {
        let error = refused(&subject, &good, &[SMALL, path]);
        assert_eq!(error.kind(), Kind::Refused, "{path}: {error}");
        assert!(error.to_string().contains(path), "{error}");
        assert!(error.to_string().contains("file system itself"), "{error}");
    }
    for path in [
        "none",
        "many/none",
        "none/none",
        "linked/none",
        "many/FILE WITH THE NUMBER 7",
    ] {
        let error = refused(&subject, &good, &[SMALL, path]);
        assert_eq!(error.kind(), Kind::Io, "{path}: {error}");
        assert!(error.to_string().contains(path), "{error}");
        assert!(subject.volume.security(&[path]).is_err());
    }
    for path in ["junction/System32", "junction\\x\\y"] {
        let error = refused(&subject, &good, &[SMALL, path]);
        assert_eq!(error.kind(), Kind::Unsupported, "{path}: {error}");
        assert!(error.to_string().contains("is a link"), "{error}");
    }
    let error = refused(&subject, &good, &["CASE", SMALL]);
    assert_eq!(error.kind(), Kind::Refused, "{error}");

    let mut no_owner = good.clone();
    no_owner[4..8].fill(0);
    let mut absolute = good.clone();
    absolute[3] &= 0x7F;
    let mut long = good.clone();
    long.resize(0x1_0000 - 19, 0);
    for bad in [
        &[][..],
        &good[..good.len() - 1],
        &good[..good.len() - 4],
        &no_owner,
        &absolute,
        &long,
    ] {
        let error = refused(&subject, bad, &[SMALL]);
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        assert!(error.hint().unwrap().contains("self-relative"));
    }
    subject.volume.set_security(&good, &[], NOW).unwrap();
    assert!(subject.changes().is_empty());
}

#[test]
fn a_volume_in_use_by_a_sleeping_windows_is_not_written() {
    let Some(image) = made(GEOMETRY) else {
        return;
    };
    let file = temporary(&fs::read(image).unwrap());
    {
        let mount = Mount::with(file.path(), "big_writes");
        let mut content = vec![0; 40_000];
        content[..4].copy_from_slice(b"hibr");
        fs::write(mount.path().join("hiberfil.sys"), content).unwrap();
    }
    let subject = Subject::of(fs::read(file.path()).unwrap());
    let gate = subject.volume.check_writable().unwrap_err();
    let error = refused(&subject, &descriptor(1, 1), &[SMALL]);
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(error.to_string(), gate.to_string());
    // Reading goes on.
    subject.volume.security(&[SMALL]).unwrap();
}

#[test]
fn a_record_without_room_for_an_id_is_refused() {
    let Some(image) = made(GEOMETRY) else {
        return;
    };
    let mut image = fs::read(image).unwrap();
    {
        let device = Arc::new(MemoryDevice::new(image));
        let volume = NtfsVolume::open(device.clone()).unwrap();
        let room = volume.capacity(SMALL).unwrap() as usize;
        volume.replace(SMALL, &vec![7; room]).unwrap();
        image = device.contents();
    }
    // Its own descriptor goes, which makes room.
    let subject = Subject::of(image.clone());
    subject
        .volume
        .set_security(&descriptor(1, 1), &[SMALL], NOW)
        .unwrap();
    // Without one of its own (the attribute is given a type of which nobody knows anything) there is none.
    patch_attribute(&mut image, "small", 0x50, 0, &[0x60]);
    let subject = Subject::of(image);
    let error = refused(&subject, &descriptor(1, 1), &["linked", SMALL]);
    assert_eq!(error.kind(), Kind::Refused, "{error}");
    let text = error.to_string();
    assert!(text.contains(SMALL) && text.contains("is full"), "{text}");
}

/// Lets the file have its content as its security descriptor: the type of its first attribute of each kind changes
/// places. What was its descriptor becomes its empty content.
fn make_private(image: &mut [u8], name: &str) {
    let at = find_record(image, name);
    let word = |image: &[u8], at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
    let mut places = Vec::new();
    let mut place = at + usize::from(image[at + 0x14]);
    while word(image, place) != u32::MAX {
        places.push((word(image, place), place));
        place += word(image, place + 4) as usize;
    }
    let [.., (0x50, own), (0x80, content)] = places[..] else {
        panic!("{places:x?}");
    };
    // All in the first sector: no byte of it is guarded.
    let end = content + word(image, content + 4) as usize;
    assert!(end - at < 510 && image[own + 8] == 0 && image[content + 8] == 1);
    let mut new = image[content..end].to_vec();
    new[..4].copy_from_slice(&[0x50, 0, 0, 0]);
    let mut empty = image[own..content].to_vec();
    empty[..4].copy_from_slice(&[0x80, 0, 0, 0]);
    empty[0x10..0x14].fill(0);
    new.extend(empty);
    image[own..end].copy_from_slice(&new);
}

#[test]
fn a_descriptor_of_its_own_in_clusters_gives_them_back() {
    for geometry in [(16, 512, 512), GEOMETRY, (24, 65536, 512)] {
        let Some(image) = made(geometry) else {
            return;
        };
        if !require(&["ntfssecaudit", "ntfsresize", "getfattr"]) || python().is_none() {
            return;
        }
        let file = temporary(&fs::read(image).unwrap());
        let long = descriptor(5, 500);
        assert!(long.len() > 20_000);
        {
            let mount = Mount::with(file.path(), "big_writes");
            fs::write(mount.path().join("private"), &long).unwrap();
        }
        let mut image = fs::read(file.path()).unwrap();
        make_private(&mut image, "private");
        let file = temporary(&image);
        assert!(dissect(file.path(), &["private"]) == [(0, long.clone())]);
        {
            let mount = Mount::read_only(file.path());
            let found = getfattr(mount.path(), &["private"]).remove(0);
            assert!(mean_the_same(&found.unwrap(), &long));
        }
        let subject = Subject::of(image);
        let volume = &subject.volume;
        assert!(volume.security(&["private"]).unwrap()[0][..] == long);
        assert_eq!(
            volume.second_reader_agrees_on_security(&["private"], &long),
            None
        );
        // Another file gets it first, with all that takes.
        let short = descriptor(5, 5);
        volume.set_security(&short, &[SMALL], NOW).unwrap();
        let used = used(temporary(&subject.image()).path());
        volume.set_security(&short, &["private"], NOW).unwrap();
        let after = temporary(&subject.image());
        audit(after.path().to_str().unwrap());
        judge::check(after.path());
        let (id, found) = dissect(after.path(), &["private"]).remove(0);
        assert!(id > 0x101 && found == short);
        let cluster = u64::from(geometry.1);
        let gone = (long.len() as u64).div_ceil(cluster) * cluster;
        eprintln!("{geometry:?}: {gone} bytes given back");
        assert_eq!(used - self::used(after.path()), gone, "{used}");
    }
}

/// How many bytes of clusters are in use.
fn used(image: &std::path::Path) -> u64 {
    let text = String::from_utf8(run("ntfsinfo", &["-m", image.to_str().unwrap()])).unwrap();
    let number = |name: &str| -> u64 {
        let line = text.lines().find(|line| line.contains(name)).unwrap();
        let value = line.split(':').nth(1).unwrap().trim();
        value.split(' ').next().unwrap().parse().unwrap()
    };
    let clusters = number("Volume Size in Clusters") - number("Free Clusters");
    clusters * number("Cluster Size")
}

#[test]
fn a_stream_of_another_length_than_its_entries_need() {
    let Some((image, path, ..)) = windows() else {
        return;
    };
    let size = 0x4_0790_u64;
    let with = |size: u64| {
        let mut image = image.clone();
        for offset in [0x30, 0x38] {
            patch_record(&mut image, 9, 0x80, offset, &size.to_le_bytes());
        }
        image
    };
    assert!(with(size) == image);
    // Longer: what something else left behind is written over.
    for longer in [size + 1, size + 0x100, 0x4_1000] {
        let subject = Subject::of(with(longer));
        for number in 0..20 {
            let descriptor = descriptor(number, 2);
            subject
                .volume
                .set_security(&descriptor, &[&path], NOW)
                .unwrap();
        }
        assert_eq!(subject.volume.check_security().unwrap(), [""; 0]);
        let file = temporary(&subject.image());
        audit(file.path().to_str().unwrap());
        judge::check(file.path());
        let (_, bytes) = dissect(file.path(), &[&path]).remove(0);
        assert!(bytes == descriptor(19, 2));
    }
    // Shorter: the last copy is cut off.
    for shorter in [size - 1, size - 0x100] {
        let subject = Subject::of(with(shorter));
        let error = refused(&subject, &descriptor(1, 1), &[&path]);
        assert_eq!(error.kind(), Kind::Damaged, "{error}");
        assert!(error.to_string().contains("$SDS"), "{error}");
    }
}

#[test]
fn a_folder_that_holds_itself_ends_the_listing() {
    let Some(image) = made(GEOMETRY) else {
        return;
    };
    let mut image = fs::read(image).unwrap();
    let number = |image: &[u8], name: &str| {
        let at = find_record(image, name);
        let record = u32::from_le_bytes(image[at + 0x2C..at + 0x30].try_into().unwrap());
        let sequence = u16::from_le_bytes([image[at + 0x10], image[at + 0x11]]);
        u64::from(record) | u64::from(sequence) << 48
    };
    let above = number(&image, "Windows");
    assert!(open(&image).tree("").unwrap().len() > 300);
    // `config`, in the folder System32, is the folder Windows. The entry is the first in the index root.
    patch_attribute(
        &mut image,
        "System32",
        0x90,
        0x20 + 0x20,
        &above.to_le_bytes(),
    );
    let error = open(&image).tree("windows").unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged, "{error}");
    assert!(
        error.to_string().contains("one way that leads to it"),
        "{error}"
    );
}
