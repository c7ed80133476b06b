// SPDX-License-Identifier: GPL-2.0-or-later
//! Device elements, made as Windows and the programs beside it make them.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use uuid::{Uuid, uuid};

use super::super::format::{ElementType, element};
use super::{Device, PartitionId};

const PARTITION: Uuid = uuid!("8e0f2c38-e4ea-47ba-b7fc-9d8c74dccf0b");
const DISK: Uuid = uuid!("0b2394a9-095e-487d-8d48-719ecd4d78ca");

fn u32s(numbers: &[u32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

/// A descriptor of this type.
fn descriptor(kind: u32, body: &[u8]) -> Vec<u8> {
    let size = (body.len() + 16) as u32;
    [&u32s(&[kind, 0, size, 0]), body].concat()
}

/// A partition of a GPT disk.
fn partition() -> Vec<u8> {
    let disk = [&u32s(&[0, 0]), &DISK.to_bytes_le()[..], &[0; 16]].concat();
    descriptor(6, &[&PARTITION.to_bytes_le()[..], &disk].concat())
}

/// The record of a file on a device.
fn file(device: &[u8], path: &str) -> Vec<u8> {
    let path: Vec<u8> = format!("{path}\0")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let size = (12 + device.len() + path.len()) as u32;
    [&u32s(&[1, size, 5])[..], device, &path].concat()
}

/// A file as a disk.
fn file_disk(device: &[u8], path: &str) -> Vec<u8> {
    descriptor(0, &[&u32s(&[5])[..], &file(device, path)].concat())
}

/// A virtual disk: its kind, its own ids, and the file.
fn virtual_disk(ids: &[u8; 20], file: &[u8]) -> Vec<u8> {
    [&u32s(&[6])[..], ids, file].concat()
}

/// A volume that is looked for by an element's path, on the device `parent`.
fn locate(element: ElementType, parent: &[u8]) -> Vec<u8> {
    let offset = if parent.is_empty() { 0 } else { 0x1e };
    let body = [&u32s(&[0, element.0, offset])[..], &[0, 0], parent].concat();
    descriptor(8, &body)
}

/// The element with this descriptor.
fn with_options(descriptor: &[u8]) -> Vec<u8> {
    [&[0; 16][..], descriptor].concat()
}

fn shown(descriptor: &[u8]) -> String {
    let number = |id| match id {
        PartitionId::Gpt {
            partition: PARTITION,
            disk: DISK,
        } => Some(3),
        _ => None,
    };
    Device::parse(&with_options(descriptor)).display(&number, &|_| None)
}

/// A partition of a GPT disk, as a live store has it.
fn gpt_device() -> Vec<u8> {
    with_options(&partition())
}

#[test]
fn devices_are_read_as_far_as_they_are_known() {
    let gpt = PartitionId::Gpt {
        partition: PARTITION,
        disk: DISK,
    };
    assert_eq!(Device::parse(&gpt_device()), Device::Partition(gpt));
    let mut mbr = gpt_device();
    mbr[32..48].fill(0);
    mbr[34] = 0x10;
    mbr[52] = 1;
    mbr[56..72].fill(0);
    mbr[56..60].copy_from_slice(&[0xbb, 0x6b, 0xba, 0xdd]);
    let mbr_id = PartitionId::Mbr {
        offset: 0x10_0000,
        signature: 0xddba_6bbb,
    };
    assert_eq!(Device::parse(&mbr), Device::Partition(mbr_id));
    let mut boot = vec![0; 88];
    boot[16] = 5;
    boot[24] = 0x48;
    assert_eq!(Device::parse(&boot), Device::Boot);
    let mut locate = vec![0; 46];
    locate[16] = 8;
    locate[24] = 0x1e;
    locate[0x24..0x28].copy_from_slice(&0x1200_0002_u32.to_le_bytes());
    let locate = Device::parse(&locate);
    assert_eq!(locate, Device::Locate(element::PATH));
    let shown = locate.display(&|_| None, &|_| Some("\\x".to_owned()));
    assert_eq!(shown, "locate=\\x");
    let shown = Device::Partition(mbr_id).display(&|_| None, &|_| None);
    assert_eq!(shown, "partition=at 0x100000 of disk ddba6bbb");
    // A RAM disk in a RAM disk in a RAM disk ... is not followed for ever.
    let mut nested = gpt_device();
    for _ in 0..20 {
        let mut outer = vec![0; 0x44];
        outer[0x18..0x1c].copy_from_slice(&(nested.len() as u32 + 0x34).to_le_bytes());
        outer[0x20] = 3;
        outer[0x38] = 1;
        outer[0x3c..0x40].copy_from_slice(&(nested.len() as u32 - 4).to_le_bytes());
        outer[0x40] = 5;
        outer.extend_from_slice(&nested[16..]);
        nested = outer;
    }
    let _ = Device::parse(&nested);
    for cut in 0..88 {
        assert!(matches!(
            Device::parse(&gpt_device()[..cut]),
            Device::Unknown { .. }
        ));
    }
}

/// As `bcdedit` shows them: with `[C:]` where there is a letter.
#[test]
fn virtual_disks_and_files_are_shown_with_their_paths() {
    let boot = descriptor(5, &[0; 0x38]);
    let anywhere = locate(element::PATH, &[]);
    let mut mbr_ids = [0; 20];
    mbr_ids[0] = 1;
    mbr_ids[4..8].copy_from_slice(&[1, 2, 3, 4]);
    for (device, place) in [
        (partition(), "partition 3"),
        (boot, "boot"),
        (anywhere, "locate"),
    ] {
        let disk = file_disk(&device, r"\disks\a.vhdx");
        assert_eq!(shown(&disk), format!(r"file=[{place}]\disks\a.vhdx"));
        // What `bcdedit /set {id} osdevice vhd=` makes.
        let parent = descriptor(0, &virtual_disk(&[0; 20], &disk));
        let made = locate(element::SYSTEM_ROOT, &parent);
        assert_eq!(
            shown(&made),
            format!(r"vhd=[{place}]\disks\a.vhdx,locate=custom:22000002")
        );
        // What Windows makes of it: a partition of the virtual disk, by its ids.
        let named = descriptor(6, &[&[7; 16][..], &virtual_disk(&mbr_ids, &disk)].concat());
        assert_eq!(shown(&named), format!(r"vhd=[{place}]\disks\a.vhdx"));
        let named = Device::parse(&with_options(&named));
        let lies_on = (place == "partition 3").then_some(PartitionId::Gpt {
            partition: PARTITION,
            disk: DISK,
        });
        assert_eq!(named.partition(), lies_on);
    }
    let ram = [
        &u32s(&[3, 0, 0, 0, 0, 0])[..],
        &file(&partition(), r"\boot.wim"),
    ]
    .concat();
    assert_eq!(
        shown(&descriptor(0, &ram)),
        r"ramdisk=[partition 3]\boot.wim"
    );
}

/// The partition that a virtual disk's id could be taken for is not one of this disk.
#[test]
fn a_partition_of_a_virtual_disk_is_none_of_this_one() {
    let mut ids = [0; 20];
    ids[4..].copy_from_slice(&DISK.to_bytes_le());
    let broken = [&PARTITION.to_bytes_le()[..], &virtual_disk(&ids, &[0; 40])].concat();
    let broken = Device::parse(&with_options(&descriptor(6, &broken)));
    assert!(
        matches!(broken, Device::Unknown { kind: Some(6), .. }),
        "{broken:?}"
    );
}
