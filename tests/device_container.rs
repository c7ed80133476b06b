// SPDX-License-Identifier: GPL-2.0-or-later
//! Containers as qemu-img and Windows make them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use coldfix::container::{self, Container, ContainerKind};
use coldfix::device::{self, Access, SharedDevice};
use coldfix::error::{Kind, Result};
use coldfix::partition;

fn open(path: &Path, access: Access) -> Result<Container> {
    container::open(device::open(path, access)?)
}

fn contents(disk: &SharedDevice) -> Vec<u8> {
    let mut all = vec![0; usize::try_from(disk.len()).unwrap()];
    disk.read_at(0, &mut all).unwrap();
    all
}

fn convert(arguments: &[&str], from: &Path, to: &Path) {
    let mut convert = support::program("qemu-img");
    support::run(convert.arg("convert").args(arguments).arg(from).arg(to));
}

/// A raw image with something everywhere, `len` bytes long.
fn raw(path: &Path, len: u64) -> Vec<u8> {
    let bytes: Vec<u8> = (0..len / 8)
        .flat_map(|word| (word * 0x9e37_79b9).to_le_bytes())
        .collect();
    fs::write(path, &bytes).unwrap();
    bytes
}

#[test]
fn a_fixed_vhd_of_qemu_is_the_raw_disk() {
    if !support::require("qemu-img") {
        return;
    }
    let folder = support::temporary();
    let source = folder.path().join("disk.raw");
    let vhd = folder.path().join("disk.img");
    let bytes = raw(&source, 3 << 20);
    let fixed = "subformat=fixed,force_size=on";
    convert(&["-f", "raw", "-O", "vpc", "-o", fixed], &source, &vhd);
    assert_eq!(fs::metadata(&vhd).unwrap().len(), (3 << 20) + 512);
    let container = open(&vhd, Access::Write).unwrap();
    assert_eq!(container.kind, ContainerKind::FixedVhd);
    assert!(container.notes.is_empty());
    assert_eq!(contents(&container.disk), bytes);

    // What is written through it, qemu finds in both forms.
    let plain = File::options().write(true).open(&source).unwrap();
    for (offset, text) in [
        (0, &b"first"[..]),
        (1 << 20, b"middle"),
        ((3 << 20) - 4, b"last"),
    ] {
        container.disk.write_at(offset, text).unwrap();
        plain.write_all_at(text, offset).unwrap();
    }
    container.disk.write_at((3 << 20) - 3, b"past").unwrap_err();
    container.disk.flush().unwrap();
    drop(container);
    let mut compare = support::program("qemu-img");
    compare.args(["compare", "-f", "raw", "-F", "vpc"]);
    support::run(compare.arg(&source).arg(&vhd));

    // Without force_size qemu rounds the disk up to a whole geometry.
    convert(
        &["-f", "raw", "-O", "vpc", "-o", "subformat=fixed"],
        &source,
        &vhd,
    );
    let container = open(&vhd, Access::Read).unwrap();
    assert_eq!(
        container.disk.len() + 512,
        fs::metadata(&vhd).unwrap().len()
    );
    let mut start = contents(&container.disk);
    let padding = start.split_off(3 << 20);
    assert!(padding.iter().all(|byte| *byte == 0));
    assert_eq!(start, fs::read(&source).unwrap());
}

#[test]
fn a_fixed_vhd_past_4_gib_ends_where_qemu_says() {
    if !support::require("qemu-img") {
        return;
    }
    let folder = support::temporary();
    let vhd = folder.path().join("disk.vhd");
    let len = (6_u64 << 30) + (1 << 20);
    let mut create = support::program("qemu-img");
    create.args([
        "create",
        "-q",
        "-f",
        "vpc",
        "-o",
        "subformat=fixed,force_size=on",
    ]);
    support::run(create.arg(&vhd).arg(len.to_string()));
    let container = open(&vhd, Access::Write).unwrap();
    assert_eq!(
        (container.kind, container.disk.len()),
        (ContainerKind::FixedVhd, len)
    );
    container.disk.write_at(len - 6, b"to end").unwrap();
    container.disk.flush().unwrap();
    drop(container);
    let mut found = [0; 6];
    File::open(&vhd)
        .unwrap()
        .read_exact_at(&mut found, len - 6)
        .unwrap();
    assert_eq!(&found, b"to end");
    let mut info = support::program("qemu-img");
    info.args(["info", "-f", "vpc", "--output=json"]).arg(&vhd);
    let info = String::from_utf8(support::run(&mut info).stdout).unwrap();
    assert!(info.contains(&format!("\"virtual-size\": {len}")), "{info}");
}

#[test]
fn fixed_vhds_of_windows_are_the_disks_that_qemu_reads() {
    if !support::require("qemu-img") {
        return;
    }
    let folder = support::temporary();
    for name in ["w10-ntfs-fixed", "w10-ntfs-parent", "w10-fat-parent"] {
        let Some(packed) = support::data(&format!("vhd/{name}.vhd.xz")) else {
            return;
        };
        let vhd = folder.path().join(name);
        support::unxz_to(&packed, &vhd);
        let container = open(&vhd, Access::Read).unwrap();
        assert_eq!(container.kind, ContainerKind::FixedVhd);
        assert!(container.notes.is_empty(), "{:?}", container.notes);
        let converted = folder.path().join("converted");
        convert(&["-f", "vpc", "-O", "raw"], &vhd, &converted);
        assert_eq!(
            contents(&container.disk),
            fs::read(&converted).unwrap(),
            "{name}"
        );
        let table = partition::scan(&container.disk).unwrap();
        assert_eq!(
            (table.scheme, table.partitions.len()),
            (partition::Scheme::Mbr, 1)
        );
        assert!(table.notes.is_empty(), "{:?}", table.notes);

        // Cut at every kind of place: refused, or (without a trace of a footer) a raw image that is too short.
        let whole = fs::read(&vhd).unwrap();
        drop(container);
        for lost in [1024, 513, 512, 511, 500, 256, 2] {
            fs::write(&vhd, &whole[..whole.len() - lost]).unwrap();
            match open(&vhd, Access::Read) {
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Damaged, "{name} - {lost}: {error}");
                    assert!(error.hint().is_some());
                    assert!((2..=504).contains(&lost), "{name} - {lost}: {error}");
                }
                Ok(container) => {
                    assert_eq!(container.kind, ContainerKind::Raw, "{name} - {lost}");
                    assert!(lost > 504, "{name} - {lost}");
                }
            }
        }
        // The footer stands, but what it describes does not.
        fs::write(
            &vhd,
            [&whole[..1 << 20], &whole[whole.len() - 512..]].concat(),
        )
        .unwrap();
        let error = open(&vhd, Access::Read).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged);
    }
}

#[test]
fn the_parent_of_a_checkpoint_is_not_written() {
    let folder = support::temporary();
    let names = ["ntfs", "fat"];
    for (name, other) in names.iter().zip(names.iter().rev()) {
        for extension in ["vhd", "vhdx"] {
            let place = |name: &str| folder.path().join(format!("{name}.{extension}"));
            let packed = |name: &str, what: &str| {
                support::data(&format!("vhd/w10-{name}-{what}.{extension}.xz"))
            };
            let Some(parent) = packed(name, "parent") else {
                return;
            };
            support::unxz_to(&parent, &place("parent"));
            let check = || {
                let device = device::open(&place("parent"), Access::Write).unwrap();
                container::check_no_children(&place("parent"), &device)
            };
            check().unwrap();
            // By content: under another name, and from a link elsewhere.
            let other_name = folder
                .path()
                .join(format!("checkpoint of {name}.A{extension}"));
            support::unxz_to(&packed(name, "differential").unwrap(), &other_name);
            let error = check().unwrap_err();
            assert_eq!(error.kind(), Kind::Refused);
            assert!(
                error.to_string().contains(other_name.to_str().unwrap()),
                "{error}"
            );
            assert!(error.hint().unwrap().contains("Merge-VHD"));
            let elsewhere = support::temporary();
            let link = elsewhere.path().join("disk");
            std::os::unix::fs::symlink(place("parent"), &link).unwrap();
            let device = device::open(&link, Access::Read).unwrap();
            container::check_no_children(&link, &device).unwrap_err();
            drop(device);
            // Also one that somebody has locked.
            let lock = File::open(&other_name).unwrap();
            lock.lock().unwrap();
            check().unwrap_err();
            drop(lock);
            fs::remove_file(&other_name).unwrap();
            check().unwrap();
            // Somebody else's child does not matter.
            support::unxz_to(&packed(other, "differential").unwrap(), &place("other"));
            check().unwrap();
            fs::remove_file(place("other")).unwrap();
        }
    }
}

#[test]
fn images_of_other_kinds_are_refused_by_name() {
    if !support::require("qemu-img") {
        return;
    }
    let folder = support::temporary();
    let source = folder.path().join("disk.raw");
    raw(&source, 1 << 20);
    for (format, options, expected) in [
        ("qcow2", "", "QCOW2"),
        ("vmdk", "", "VMDK"),
        ("vmdk", "subformat=monolithicFlat", "VMDK"),
        ("vdi", "", "VDI"),
        ("qed", "", "QED"),
        ("parallels", "", "Parallels"),
    ] {
        let image = folder.path().join(format!("{format}{}", options.len()));
        let mut arguments = vec!["-f", "raw", "-O", format];
        if !options.is_empty() {
            arguments.extend(["-o", options]);
        }
        convert(&arguments, &source, &image);
        let error = open(&image, Access::Read).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported, "{format}: {error}");
        assert!(error.to_string().contains(expected), "{format}: {error}");
        assert!(error.hint().unwrap().contains("convert"), "{format}");
    }
}
