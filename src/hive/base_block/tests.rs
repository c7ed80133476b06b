// SPDX-License-Identifier: GPL-2.0-or-later
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use super::*;

/// A 4096-byte block with a known value in every field.
fn block() -> Vec<u8> {
    let mut block = vec![0; BASE_BLOCK_SIZE];
    block[..4].copy_from_slice(b"regf");
    for (offset, value) in [
        (4, 7u32),
        (8, 6),
        (20, 1),
        (24, 5),
        (28, 0),
        (32, 1),
        (36, 0x20),
    ] {
        block[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    }
    block[12..20].copy_from_slice(&0x01d8_0102_0304_0506_u64.to_le_bytes());
    block[40..44].copy_from_slice(&0x5000_u32.to_le_bytes());
    block[44] = 1;
    for (index, unit) in "SYSTEM".encode_utf16().enumerate() {
        block[48 + 2 * index..50 + 2 * index].copy_from_slice(&unit.to_le_bytes());
    }
    block[144] = 3;
    let sum = block[..508].chunks(4).fold(0, |sum, word| {
        sum ^ u32::from_le_bytes(word.try_into().unwrap())
    });
    block[508..512].copy_from_slice(&sum.to_le_bytes());
    block
}

#[test]
fn every_field_is_read_from_its_place() {
    let parsed = BaseBlock::parse(&block()).unwrap();
    assert_eq!((parsed.primary_sequence, parsed.secondary_sequence), (7, 6));
    assert_eq!(parsed.last_written, 0x01d8_0102_0304_0506);
    assert_eq!((parsed.major, parsed.minor, parsed.format), (1, 5, 1));
    assert_eq!(parsed.file_type, FileType::Primary);
    assert_eq!(
        (parsed.root_offset, parsed.bins_size, parsed.clustering),
        (0x20, 0x5000, 1)
    );
    assert_eq!(parsed.file_name, "SYSTEM");
    assert_eq!(parsed.flags, 3);
    assert!(parsed.has_pending_transactions());
    assert!(parsed.checksum_valid());
    assert!(parsed.is_dirty());
}

#[test]
fn setters_change_their_field_and_the_checksum_only() {
    let before = block();
    let mut after = before.clone();
    set_sequences(&mut after, 9, 9).unwrap();
    set_bins_size(&mut after, 0x6000).unwrap();
    set_file_type(&mut after, FileType::NewLog).unwrap();
    set_last_written(&mut after, 5).unwrap();
    set_flags(&mut after, 2).unwrap();
    let parsed = BaseBlock::parse(&after).unwrap();
    assert_eq!((parsed.primary_sequence, parsed.secondary_sequence), (9, 9));
    assert_eq!(
        (parsed.bins_size, parsed.file_type),
        (0x6000, FileType::NewLog)
    );
    assert_eq!((parsed.last_written, parsed.flags), (5, 2));
    assert!(parsed.checksum_valid() && !parsed.is_dirty());
    for at in (0..before.len()).filter(|&at| before[at] != after[at]) {
        let fields = [4..20, 28..32, 40..44, 144..148, 508..512];
        assert!(
            fields.iter().any(|field| field.contains(&at)),
            "byte {at} changed"
        );
    }
}

#[test]
fn trivial_checksums_are_replaced() {
    assert_eq!(checksum(&[0; 512]), Some(1));
    let mut ones = [0; 512];
    ones[..4].copy_from_slice(&[0xff; 4]);
    assert_eq!(checksum(&ones), Some(0xffff_fffe));
    assert_eq!(checksum(&[0; 507]), None);
    assert_eq!(checksum(&[0; 508]), Some(1));
}

#[test]
fn a_wrong_checksum_makes_the_hive_dirty_and_update_mends_it() {
    let mut block = block();
    set_sequences(&mut block, 7, 7).unwrap();
    block[200] ^= 1;
    let parsed = BaseBlock::parse(&block).unwrap();
    assert!(!parsed.checksum_valid() && parsed.is_dirty());
    update_checksum(&mut block).unwrap();
    assert!(!BaseBlock::parse(&block).unwrap().is_dirty());
}

#[test]
fn short_or_foreign_bytes_are_refused_and_left_alone() {
    assert!(BaseBlock::parse(&[]).is_err());
    assert!(BaseBlock::parse(&block()[..511]).is_err());
    assert!(BaseBlock::parse(&block()[..512]).is_ok());
    let mut foreign = vec![b'x'; 4096];
    let message = set_sequences(&mut foreign, 1, 1).unwrap_err().to_string();
    assert!(
        message.contains("expected \"regf\", found \"xxxx\""),
        "{message}"
    );
    assert_eq!(foreign, vec![b'x'; 4096]);
}

#[test]
fn file_type_numbers_survive_a_round_trip() {
    for number in 0..9 {
        assert_eq!(u32::from(FileType::from(number)), number);
    }
    assert_eq!(FileType::from(2), FileType::OldLog(2));
    assert_eq!(FileType::from(6), FileType::NewLog);
}
