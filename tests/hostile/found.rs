// SPDX-License-Identifier: GPL-2.0-or-later
//! Inputs that mutations and fuzz targets found, each made anew by what makes it special.

use std::fs;
use std::sync::Arc;

use coldfix::device::memory::MemoryDevice;
use coldfix::volume::Volume as _;
use coldfix::volume::ntfs::NtfsVolume;

use super::structures::{Kind, find, seal, unseal};
use super::{batch, ntfs_support};

/// The crate `ntfs` adds to the size before it compares it, and panics; our reader does not need it.
#[test]
fn an_index_block_of_four_gib_is_no_opinion_of_the_second_reader() {
    let Some(image) = ntfs_support::made_with((8, 1024, 512), 60) else {
        return;
    };
    let path = "many/file with the number 1";
    let mut bytes = fs::read(&image).unwrap();
    let open =
        |bytes: &[u8]| NtfsVolume::open(Arc::new(MemoryDevice::new(bytes.to_vec()))).unwrap();
    let volume = open(&bytes);
    let content = volume.read(path, 1 << 20).unwrap();
    let descriptor = volume.security(&[path]).unwrap().remove(0);
    assert_eq!(volume.second_reader_agrees(path, &content), Some(true));
    let places = find(&batch::DiskFile::open(&image));
    let blocks = places.iter().filter(|place| place.kind == Kind::IndexBlock);
    for place in blocks {
        let block = &mut bytes[place.offset as usize..][..place.len];
        unseal(place.kind, block);
        block[0x20..0x24].copy_from_slice(&0xFFFF_FFF8_u32.to_le_bytes());
        seal(place.kind, block);
    }
    let volume = open(&bytes);
    assert_eq!(volume.read(path, 1 << 20).unwrap(), content);
    assert_eq!(volume.second_reader_agrees(path, &content), None);
    let _ = volume.second_reader_agrees_on_security(&[path], &descriptor);
}
