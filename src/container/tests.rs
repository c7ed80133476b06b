// SPDX-License-Identifier: GPL-2.0-or-later
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::device::memory::MemoryDevice;
use crate::error::Kind;

/// A footer as Windows writes it, with a right checksum.
fn footer(size: u64, kind: u32) -> Vec<u8> {
    let mut footer = vec![0; 512];
    footer[..8].copy_from_slice(b"conectix");
    footer[11] = 2;
    footer[13] = 1;
    footer[16..24].fill(0xff);
    footer[28..32].copy_from_slice(b"win ");
    footer[36..40].copy_from_slice(b"Wi2k");
    footer[40..48].copy_from_slice(&size.to_be_bytes());
    footer[48..56].copy_from_slice(&size.to_be_bytes());
    footer[60..64].copy_from_slice(&kind.to_be_bytes());
    footer[68..84].fill(0x77);
    seal(&mut footer);
    footer
}

fn seal(footer: &mut [u8]) {
    footer[64..68].fill(0);
    let sum: u32 = footer.iter().map(|&byte| u32::from(byte)).sum();
    footer[64..68].copy_from_slice(&(!sum).to_be_bytes());
}

fn disk(sectors: usize) -> Vec<u8> {
    (0..sectors * 512).map(|i| (i % 251) as u8).collect()
}

fn open_bytes(bytes: Vec<u8>) -> Result<Container> {
    open(Arc::new(MemoryDevice::new(bytes)))
}

fn refusal(bytes: Vec<u8>) -> (Kind, String, String) {
    let error = open_bytes(bytes).unwrap_err();
    let hint = error.hint().expect("a next step").to_owned();
    (error.kind(), error.to_string(), hint)
}

#[test]
fn anything_without_a_signature_is_raw() {
    for bytes in [vec![], vec![0], vec![0; 511], disk(1), disk(300)] {
        let container = open_bytes(bytes.clone()).unwrap();
        assert_eq!(container.kind, ContainerKind::Raw);
        assert_eq!(container.disk.len(), bytes.len() as u64);
        assert_eq!(container.notes.is_empty(), bytes.len() % 512 == 0);
    }
}

#[test]
fn a_fixed_vhd_is_its_disk_without_the_footer() {
    let bytes = [disk(8), footer(4096, 2)].concat();
    let device = Arc::new(MemoryDevice::new(bytes.clone()));
    let container = open(device.clone()).unwrap();
    assert_eq!(container.kind, ContainerKind::FixedVhd);
    assert!(container.notes.is_empty());
    assert_eq!(container.disk.len(), 4096);
    let mut read = vec![0; 4096];
    container.disk.read_at(0, &mut read).unwrap();
    assert_eq!(read, disk(8));
    container.disk.write_at(4090, &[1; 6]).unwrap();
    container.disk.write_at(4090, &[1; 7]).unwrap_err();
    assert_eq!(device.contents()[4096..], bytes[4096..]);
}

#[test]
fn a_footer_of_511_bytes_is_read() {
    let mut bytes = [disk(8), footer(4096, 2)].concat();
    bytes.pop();
    let container = open_bytes(bytes).unwrap();
    assert_eq!(
        (container.kind, container.disk.len()),
        (ContainerKind::FixedVhd, 4096)
    );
}

#[test]
fn oddities_become_notes() {
    let container = open_bytes([disk(9), footer(4096, 2)].concat()).unwrap();
    assert_eq!(container.disk.len(), 4096);
    assert!(container.notes[0].contains("512 more"));

    let mut saved = footer(4096, 2);
    saved[84] = 1;
    seal(&mut saved);
    let container = open_bytes([disk(8), saved].concat()).unwrap();
    assert!(container.notes[0].contains("suspended"));
}

#[test]
fn damaged_vhds_are_refused_with_their_place() {
    let mut bad_checksum = footer(4096, 2);
    bad_checksum[100] ^= 1;
    let mut version = footer(4096, 2);
    version[12] = 9;
    seal(&mut version);
    let cut = |len: usize| [disk(8), footer(4096, 2)].concat()[..4096 + len].to_vec();
    for (name, bytes, says) in [
        ("bad checksum", [disk(8), bad_checksum].concat(), "checksum"),
        ("version", [disk(8), version].concat(), "version"),
        (
            "too large",
            [disk(8), footer(4608, 2)].concat(),
            "a disk of 4608 bytes",
        ),
        (
            "absurd",
            [disk(8), footer(u64::MAX, 2)].concat(),
            "a disk of 1844",
        ),
        (
            "size zero",
            [disk(8), footer(0, 2)].concat(),
            "a disk of 0 bytes",
        ),
        (
            "odd size",
            [disk(8), footer(4095, 2)].concat(),
            "a disk of 4095",
        ),
        ("type", [disk(8), footer(4096, 7)].concat(), "found 7"),
        (
            "middle cut out",
            [disk(7), footer(4096, 2)].concat(),
            "at most the 3584",
        ),
        ("cut in the footer", cut(510), "after 510"),
        ("cut early in the footer", cut(8), "after 8"),
        (
            "appended",
            [disk(8), footer(4096, 2), vec![0; 700]].concat(),
            "700 more",
        ),
        (
            "no header",
            [footer(4096, 3), disk(9)].concat(),
            "dynamic disk header",
        ),
        (
            "no header of a child",
            [footer(4096, 4), disk(9)].concat(),
            "dynamic disk header",
        ),
        (
            "footer at the start only",
            [footer(4096, 2), disk(9)].concat(),
            "VHD",
        ),
    ] {
        let (kind, message, _) = refusal(bytes);
        assert_eq!(kind, Kind::Damaged, "{name}: {message}");
        assert!(message.contains(says), "{name}: {message}");
    }
}

#[test]
fn a_disk_that_only_mentions_the_footer_stays_raw() {
    // A whole footer in the last sectors, but for another disk: what a disk image inside a disk looks like.
    let bytes = [disk(8), footer(4608, 2), disk(3)].concat();
    assert_eq!(open_bytes(bytes).unwrap().kind, ContainerKind::Raw);
    let bytes = [disk(8), b"conectix".to_vec(), disk(2)].concat();
    assert_eq!(open_bytes(bytes).unwrap().kind, ContainerKind::Raw);
}

#[test]
fn other_formats_are_named_with_a_way_out() {
    let with = |offset: usize, signature: &[u8]| {
        let mut bytes = vec![0; 4096];
        bytes[offset..offset + signature.len()].copy_from_slice(signature);
        bytes
    };
    for (bytes, name, way) in [
        (with(0, b"QFI\xfb"), "QCOW2", "qemu-img convert"),
        (with(0, b"KDMV"), "VMDK", "qemu-img convert"),
        (with(0, b"COWD"), "VMDK", "qemu-img convert"),
        (
            with(0, b"# Disk DescriptorFile\n"),
            "VMDK",
            "qemu-img convert",
        ),
        (with(64, b"\x7f\x10\xda\xbe"), "VDI", "qemu-img convert"),
        (with(0, b"EVF\x09\x0d\x0a\xff\x00"), "E01", "ewfexport"),
        (with(0, b"\x1f\x8b\x08"), "gzip", "unpack"),
        (with(0, b"\xfd7zXZ\0"), "xz", "unpack"),
        (with(0, b"PK\x03\x04"), "ZIP", "unpack"),
    ] {
        let (kind, message, hint) = refusal(bytes);
        assert_eq!(kind, Kind::Unsupported, "{message}");
        assert!(message.contains(name), "{message}");
        assert!(hint.contains(way), "{hint}");
    }
    // The same first bytes in a boot sector are its code.
    let mut boot = with(0, b"\x1f\x8b\x08");
    boot[510..512].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(open_bytes(boot).unwrap().kind, ContainerKind::Raw);
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(head in prop::collection::vec(any::<u8>(), 0..1500)) {
        let _ = open_bytes(head);
    }

    /// Whatever bit of a footer is turned, the checksum or the cookie notices.
    #[test]
    fn a_turned_bit_in_the_footer_is_noticed(bit in 0_usize..4096) {
        let mut bytes = [disk(8), footer(4096, 2)].concat();
        bytes[4096 + bit / 8] ^= 1 << (bit % 8);
        match open_bytes(bytes) {
            Err(error) => prop_assert_eq!(error.kind(), Kind::Damaged),
            // Without its cookie it is no footer at all, and the file a raw one with an odd last sector.
            Ok(container) => {
                prop_assert_eq!(container.kind, ContainerKind::Raw);
                prop_assert!(bit < 64);
            }
        }
    }
}
