// SPDX-License-Identifier: GPL-2.0-or-later
//! The gates before writing: what stops a write, with which words, and that reading goes on all the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod ntfs_support;
mod support;

use std::fs;
use std::sync::Arc;

use coldfix::device::memory::MemoryDevice;
use coldfix::error::{Error, Kind, Result};
use coldfix::volume::Volume;
use coldfix::volume::ntfs::NtfsVolume;
use ntfs_support::*;

const GEOMETRY: Geometry = (16, 2048, 512);
const SMALL: &str = "Windows/System32/config/small";

fn open(image: Vec<u8>) -> Result<NtfsVolume> {
    NtfsVolume::open(Arc::new(MemoryDevice::new(image)))
}

/// The image with a `hiberfil.sys` that begins like this and has this length.
fn hibernated(image: &[u8], name: &str, magic: &[u8], len: usize) -> Vec<u8> {
    let file = temporary(image);
    {
        let mount = Mount::with(file.path(), "big_writes");
        let mut content = vec![0; len];
        content[..magic.len()].copy_from_slice(magic);
        fs::write(mount.path().join(name), content).unwrap();
    }
    fs::read(file.path()).unwrap()
}

/// The volume opens and reads, but neither gate nor writer lets a write through.
fn stopped(image: Vec<u8>) -> (NtfsVolume, Error) {
    let device = Arc::new(MemoryDevice::new(image.clone()));
    let volume = NtfsVolume::open(device.clone()).unwrap();
    let content = volume.read(SMALL, 1000).unwrap();
    assert_eq!(content.len(), 100);
    let error = volume.check_writable().unwrap_err();
    for same in [
        volume.replace(SMALL, &[0; 100]),
        volume.replace(SMALL, &[0; 10_000]),
        volume.create_directory("new", &[], 0),
        volume.create_file("new", b"", &[], 0),
        volume.remove(SMALL, 0),
        volume.rename(SMALL, "new", 0),
        volume.set_security(&[], &[SMALL], 0),
    ] {
        assert_eq!(same.unwrap_err().to_string(), error.to_string());
    }
    assert!(device.contents() == image);
    (volume, error)
}

/// What ntfs-3g thinks of mounting it for writing.
fn probe(image: &[u8]) -> bool {
    let file = temporary(image);
    attempt(
        "ntfs-3g.probe",
        &["--readwrite", file.path().to_str().unwrap()],
    )
    .0
}

#[test]
fn hibernation() {
    let Some(image) = made(GEOMETRY) else {
        return;
    };
    let image = fs::read(image).unwrap();
    assert!(probe(&image));
    for (name, magic, len) in [
        ("hiberfil.sys", &b"hibr"[..], 40_000),
        ("HiberFil.SYS", b"HIBR", 4096),
        ("hiberfil.sys", b"hibr", 100),
        ("hiberfil.sys", b"", 4095),
        ("hiberfil.sys", b"", 0),
    ] {
        let image = hibernated(&image, name, magic, len);
        // ntfs-3g knows the name in small letters only.
        assert!(probe(&image) == (name != "hiberfil.sys"), "{magic:?} {len}");
        let (volume, error) = stopped(image);
        assert!(volume.state().hibernated);
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().contains("hibernated"), "{error}");
        assert!(error.hint().unwrap().contains("shutdown /s /t 0"));
    }
    // Unknown to everyone: ntfs-3g would write.
    let (_, error) = stopped(hibernated(&image, "hiberfil.sys", b"RSTR", 40_000));
    assert!(error.to_string().contains("RSTR"), "{error}");
    for magic in [&b"wake"[..], b"WAKE", b""] {
        let image = hibernated(&image, "hiberfil.sys", magic, 40_000);
        assert!(probe(&image), "{magic:?}");
        let volume = open(image).unwrap();
        assert!(!volume.state().hibernated);
        volume.check_writable().unwrap();
    }
    // A folder of that name is not a hibernation.
    let file = temporary(&image);
    fs::create_dir(
        Mount::with(file.path(), "big_writes")
            .path()
            .join("hiberfil.sys"),
    )
    .unwrap();
    open(fs::read(file.path()).unwrap())
        .unwrap()
        .check_writable()
        .unwrap();
}

/// The bytes of a file of the volume in the image, where they lie in one piece.
fn place(image: &[u8], path: &str) -> usize {
    let volume = open(image.to_vec()).unwrap();
    let content = volume.read(path, 64 << 20).unwrap();
    image
        .windows(4096)
        .step_by(512)
        .position(|window| window == &content[..4096])
        .unwrap()
        * 512
}

#[test]
fn unclean_journal() {
    let Some(image) = made(GEOMETRY) else {
        return;
    };
    let image = fs::read(image).unwrap();
    let journal = place(&image, "$LogFile");
    for (part, clean) in [
        ("LogFile_7.bin.xz", true),
        ("LogFile_10_downgraded.bin.xz", true),
        ("LogFile_10.bin.xz", false),
        ("LogFile_10_large.bin.xz", false),
    ] {
        let Some(path) = support::data(&format!("ntfs/parts/{part}")) else {
            return;
        };
        let mut image = image.clone();
        let restart = &support::unxz(&path)[..0x2000];
        image[journal..journal + 0x2000].copy_from_slice(restart);
        assert_eq!(probe(&image), clean, "{part}");
        if clean {
            open(image).unwrap().check_writable().unwrap();
            continue;
        }
        let (volume, error) = stopped(image);
        let how = volume.state().unclean_journal.as_deref().unwrap();
        assert!(how.contains("version 2.0"), "{how}");
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().contains("$LogFile"), "{error}");
        assert!(error.hint().unwrap().contains("chkdsk"));
    }
    // Only the records are left: no restart page tells what they are worth.
    let mut erased = image;
    erased[journal + 0x4000] = 0;
    assert!(
        open(erased)
            .unwrap()
            .check_writable()
            .unwrap_err()
            .to_string()
            .contains("erased")
    );
}

/// Sets the flags of $Volume in $MFT and $MFTMirr.
fn flagged(image: &[u8], flags: u16) -> Vec<u8> {
    let mut image = image.to_vec();
    patch_attribute(
        &mut image,
        "$Volume",
        0x70,
        0x18 + 0x0A,
        &flags.to_le_bytes(),
    );
    mirror(&mut image);
    image
}

/// Makes $MFTMirr the same as $MFT again.
fn mirror(image: &mut [u8]) {
    let (main, copy) = tables(image);
    image.copy_within(main..main + 4096, copy);
}

/// Where $MFT and $MFTMirr begin.
fn tables(image: &[u8]) -> (usize, usize) {
    let place = |at: usize| usize::from(image[at]) + usize::from(image[at + 1]) * 256;
    let cluster = usize::try_from(GEOMETRY.1).unwrap();
    (place(0x30) * cluster, place(0x38) * cluster)
}

#[test]
fn volume_flags() {
    let Some(image) = made(GEOMETRY) else {
        return;
    };
    let image = fs::read(image).unwrap();
    assert!(!open(image.clone()).unwrap().state().dirty);
    // Dirty: said, not refused.
    let volume = open(flagged(&image, 1)).unwrap();
    assert!(volume.state().dirty);
    volume.check_writable().unwrap();
    volume.replace(SMALL, &[0; 100]).unwrap();
    // What real Windows 10 volumes have.
    open(flagged(&image, 0x80))
        .unwrap()
        .check_writable()
        .unwrap();
    let (_, error) = stopped(flagged(&image, 0x4000));
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("chkdsk"), "{error}");
}

#[test]
fn mirror_and_signature() {
    let Some(image) = made(GEOMETRY) else {
        return;
    };
    let image = fs::read(image).unwrap();
    let (_, copy) = tables(&image);
    for at in [copy, copy + 1023, copy + 3 * 1024 + 100] {
        let mut image = image.clone();
        image[at] ^= 1;
        let (_, error) = stopped(image);
        assert_eq!(error.kind(), Kind::Damaged);
        assert!(error.to_string().contains("$MFTMirr"), "{error}");
        assert!(error.hint().unwrap().contains("chkdsk"));
    }
    let mut unsigned = image;
    unsigned[0x1FE..0x200].fill(0);
    let (_, error) = stopped(unsigned);
    assert_eq!(error.kind(), Kind::Damaged);
}

#[test]
fn the_first_gate_speaks() {
    let Some(image) = made(GEOMETRY) else {
        return;
    };
    // Everything at once: hibernation is what matters most.
    let image = hibernated(&fs::read(image).unwrap(), "hiberfil.sys", b"hibr", 8192);
    let journal = place(&image, "$LogFile");
    let mut image = flagged(&image, 0x4001);
    image[journal..journal + 4].copy_from_slice(b"BAAD");
    let (volume, error) = stopped(image);
    assert!(error.to_string().contains("hibernated"), "{error}");
    let state = volume.state();
    assert!(state.dirty && state.hibernated && state.unclean_journal.is_some());
}

#[test]
fn what_is_no_ntfs_volume_does_not_open() {
    let Some(image) = made(GEOMETRY) else {
        return;
    };
    let image = fs::read(image).unwrap();
    let error = open(image[..image.len() / 2].to_vec()).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);
    assert!(error.to_string().contains("cut off"), "{error}");

    let mut bitlocker = image.clone();
    bitlocker[3..11].copy_from_slice(b"-FVE-FS-");
    let error = open(bitlocker).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("BitLocker"), "{error}");

    assert_eq!(open(vec![b'a'; 100_000]).unwrap_err().kind(), Kind::Damaged);
    assert!(open(Vec::new()).is_err());
    assert!(open(image[..512].to_vec()).is_err());

    if support::require("mkfs.fat") {
        for (bits, mib) in [("12", 2), ("16", 16), ("32", 40)] {
            let fat = temporary(&vec![0; mib << 20]);
            run("mkfs.fat", &["-F", bits, fat.path().to_str().unwrap()]);
            let error = open(fs::read(fat.path()).unwrap()).unwrap_err();
            assert_eq!(error.kind(), Kind::Unsupported);
            assert!(error.to_string().contains(&format!("FAT{bits}")), "{error}");
        }
    }
}
