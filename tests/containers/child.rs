// SPDX-License-Identifier: GPL-2.0-or-later
//! New children and full copies, as libvhdi and qemu-img read them.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use coldfix::container::ContainerKind;
use coldfix::container::child::{Fresh, create_child};
use coldfix::container::copy::{CopyFormat, copy_whole};
use coldfix::error::Kind;
use uuid::Uuid;

use super::build::{self, Vhdx};
use super::disks::{
    ID, KIB, Noise, Real, assert_same, dissect_raw, guids, libvhdi_at, libvhdi_raw, open,
    qemu_check, qemu_raw, real, real_parent, require_dissect, require_libvhdi, write_both,
    write_image, write_sparse,
};
use super::support;

fn fresh(seed: u128) -> Fresh {
    Fresh {
        ids: [seed, seed + 1, seed + 2].map(Uuid::from_u128),
        now: 1_700_000_000,
    }
}

/// Every kind of parent: the child shows the parent, to us and to others; and what is then written to the child,
/// others read in the chain.
///
/// An empty VHDX child is judged by dissect: libvhdi takes the file's first bytes for the sector bitmap of a chunk
/// that has none, also for blocks that are not in the file and so need none.
#[test]
fn a_new_child_shows_its_parent_until_it_is_written() {
    if !require_libvhdi() || !require_dissect() {
        return;
    }
    let folder = support::temporary();
    let (raw, model) = (folder.path().join("raw"), folder.path().join("model"));
    for name in [
        "w10-ntfs-fixed.vhd",
        "w10-ntfs-dynamic.vhd",
        "w10-ntfs-differential.vhd",
        "w10-18363-dynamic.vhd",
        "w10-ntfs-fixed.vhdx",
        "w10-ntfs-dynamic.vhdx",
        "w10-ntfs-differential.vhdx",
        "ws2022-gpt-ntfs.vhdx",
    ] {
        let Some(image) = real(name, folder.path()) else {
            return;
        };
        let grandparent = real_parent(name).map(|parent| real(&parent, folder.path()).unwrap());
        let before = support::sha256(&image);
        let below = folder.path().join("below");
        fs::create_dir_all(&below).unwrap();
        let extension = image.extension().unwrap().to_str().unwrap();
        for child in [
            folder.path().join(format!("child.{extension}")),
            below.join(format!("child.{extension}")),
        ] {
            let parent = open(&image).unwrap();
            let made = create_child(&image, &parent.container, &child, &fresh(100)).unwrap();
            write_sparse(&child, made.len, &made.parts);
            let mut parents: Vec<&Path> = vec![&image];
            parents.extend(grandparent.iter().map(|path| path.as_path()));
            match extension {
                "vhd" => libvhdi_raw(&child, &parents, &model),
                _ => dissect_raw(&child, &model),
            }
            let what = format!("{name}, its child by others");
            assert_same(parent.disk(), &model, &what);
            drop(parent);
            let opened = open(&child).unwrap();
            assert!(opened.overlay.is_unchanged());
            assert!(matches!(
                opened.container.kind,
                ContainerKind::DifferencingVhd | ContainerKind::DifferencingVhdx
            ));
            assert_same(opened.disk(), &model, &format!("{name}, its child"));
            write_both(opened.disk(), &model, 25, &mut Noise::new(23));
            let written = child.with_file_name(format!("written.{extension}"));
            opened.commit_to(&written);
            libvhdi_raw(&written, &parents, &raw);
            let what = format!("{name}, its child written");
            assert_same(opened.disk(), &raw, &format!("{what}, libvhdi"));
            if extension == "vhdx" {
                dissect_raw(&written, &raw);
                assert_same(opened.disk(), &raw, &format!("{what}, dissect"));
            }
            drop(opened);
            let again = open(&written).unwrap();
            assert_same(again.disk(), &model, &format!("{name}, its child reopened"));
            fs::remove_file(&child).unwrap();
            fs::remove_file(&written).unwrap();
        }
        assert_eq!(support::sha256(&image), before);
    }
}

#[test]
fn a_child_of_8_tib_is_small_and_right_at_its_ends() {
    if !require_libvhdi() {
        return;
    }
    let folder = support::temporary();
    let (image, child) = (
        folder.path().join("base.vhdx"),
        folder.path().join("child.vhdx"),
    );
    let size = 8_u64 << 40;
    write_image(&image, &Vhdx::new(size, 32 << 20).build());
    let parent = open(&image).unwrap();
    let made = create_child(&image, &parent.container, &child, &fresh(1)).unwrap();
    assert!(made.parts.iter().map(|(_, data)| data.len()).sum::<usize>() < 1 << 20);
    write_sparse(&child, made.len, &made.parts);
    let opened = open(&child).unwrap();
    opened.disk().write_at(size - 4096, &[6; 4096]).unwrap();
    let written = folder.path().join("written.vhdx");
    opened.commit_to(&written);
    let found = libvhdi_at(&written, &[&image], &[0, size - 4096]);
    assert_eq!(found, [vec![0; 4096], vec![6; 4096]]);
}

#[test]
fn what_cannot_be_a_parent_or_a_child_is_refused() {
    let folder = support::temporary();
    let place = |name: &str| folder.path().join(name);
    let vhd = build::vhd(2048 * KIB, 512 * KIB as u32, ID, None);
    write_image(&place("base.vhd"), &vhd);
    fs::write(place("disk.raw"), vec![0; 8192]).unwrap();
    let child = |parent: &str, child: &str| {
        let opened = open(&place(parent)).unwrap();
        create_child(&place(parent), &opened.container, &place(child), &fresh(1))
    };
    child("base.vhd", "child.VHD").unwrap();
    for (parent, name, says) in [
        ("base.vhd", "child.vhdx", ".vhd"),
        ("base.vhd", "child", ".vhd"),
        ("disk.raw", "child.vhd", "raw image"),
    ] {
        let error = child(parent, name).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported, "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert!(error.hint().is_some());
    }
    // A parent whose footer had to be put back.
    let mut bytes = vhd.bytes();
    let len = bytes.len();
    bytes[len - 1] ^= 1;
    fs::write(place("base.vhd"), bytes).unwrap();
    let error = child("base.vhd", "child.vhd").unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    if let Some(dirty) = real("w10-dirty-log.vhdx", folder.path()) {
        let opened = open(&dirty).unwrap();
        let error =
            create_child(&dirty, &opened.container, &place("c.vhdx"), &fresh(1)).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
    }
}

/// Writes a copy as a caller of the iterator would.
fn write_copy(source: &coldfix::container::Container, target: &Path, format: CopyFormat) {
    let file = File::create(target).unwrap();
    let mut copy = copy_whole(source, format, &fresh(500)).unwrap();
    for part in copy.by_ref() {
        let (offset, data) = part.unwrap();
        file.write_all_at(&data, offset).unwrap();
    }
    assert_eq!(copy.progress().0, copy.progress().1);
    file.set_len(copy.len()).unwrap();
}

#[test]
fn a_full_copy_is_the_same_disk_in_every_format() {
    if !support::require("qemu-img") || !require_libvhdi() {
        return;
    }
    let folder = support::temporary();
    let (raw, theirs) = (
        folder.path().join("source.raw"),
        folder.path().join("theirs"),
    );
    for name in [
        "w10-ntfs-differential.vhd",
        "w10-ntfs-differential.vhdx",
        "w10-18363-dynamic.vhd",
        "w8-dynamic-1g.vhdx",
        "ws2022-gpt-ntfs.vhdx",
    ] {
        let Some(real) = Real::open(name) else {
            return;
        };
        let (image, parents) = (real.image(), real.parents());
        libvhdi_raw(image, &parents, &raw);
        let source = &real.opened;
        for (file, format, kind) in [
            ("copy.raw", CopyFormat::Raw, ContainerKind::Raw),
            (
                "copy.vhd",
                CopyFormat::DynamicVhd,
                ContainerKind::DynamicVhd,
            ),
            ("fixed.vhd", CopyFormat::FixedVhd, ContainerKind::FixedVhd),
            (
                "copy.vhdx",
                CopyFormat::DynamicVhdx,
                ContainerKind::DynamicVhdx,
            ),
        ] {
            let target = folder.path().join(file);
            if file.starts_with("copy") {
                assert_eq!(CopyFormat::of(&target, &source.container).unwrap(), format);
            }
            write_copy(&source.container, &target, format);
            let what = format!("{name} as {file}");
            let opened = open(&target).unwrap();
            assert_eq!(opened.container.kind, kind, "{what}");
            assert!(
                opened.container.notes.is_empty(),
                "{:?}",
                opened.container.notes
            );
            assert!(opened.overlay.is_unchanged());
            assert_same(opened.disk(), &raw, &what);
            match kind {
                ContainerKind::Raw => continue,
                ContainerKind::DynamicVhdx => {
                    qemu_check(&target);
                    qemu_raw("vhdx", &target, &theirs);
                }
                _ => qemu_raw("vpc", &target, &theirs),
            }
            assert_same(opened.disk(), &theirs, &format!("{what}, qemu-img"));
            libvhdi_raw(&target, &[], &theirs);
            assert_same(opened.disk(), &theirs, &format!("{what}, libvhdi"));
            // It can be written like any other, and its ids are its own.
            opened.disk().write_at(1000, b"written").unwrap();
            opened.commit_to(&folder.path().join("written"));
            if kind == ContainerKind::DynamicVhdx {
                assert_ne!(guids(&target).1, guids(&folder.path().join("written")).1);
            }
        }
    }
}

#[test]
fn a_raw_disk_becomes_a_fixed_vhd_as_azure_takes_it() {
    if !support::require("qemu-img") {
        return;
    }
    let folder = support::temporary();
    let (image, target) = (
        folder.path().join("disk.raw"),
        folder.path().join("disk.vhd"),
    );
    let mut content = vec![0; 5 << 20];
    content[3 << 20..(3 << 20) + 700].fill(7);
    fs::write(&image, &content).unwrap();
    let source = open(&image).unwrap();
    let format = CopyFormat::of(&target, &source.container).unwrap();
    assert_eq!(format, CopyFormat::FixedVhd);
    write_copy(&source.container, &target, format);
    assert_eq!(fs::metadata(&target).unwrap().len(), (5 << 20) + 512);
    qemu_raw("vpc", &target, &folder.path().join("theirs"));
    assert!(fs::read(folder.path().join("theirs")).unwrap() == content);
    let error = CopyFormat::of(&folder.path().join("disk.qcow2"), &source.container).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    // 4096-byte sectors have no place in a VHD.
    let mut vhdx = Vhdx::new(8 << 20, 1 << 20);
    vhdx.sector_size = 4096;
    write_image(&folder.path().join("4k.vhdx"), &vhdx.build());
    let source = open(&folder.path().join("4k.vhdx")).unwrap();
    let error = copy_whole(&source.container, CopyFormat::DynamicVhd, &fresh(1)).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
}
