// SPDX-License-Identifier: GPL-2.0-or-later
#![allow(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows fails"
)]

use super::*;
use crate::volume::ntfs::format::attribute_flag;
use crate::volume::ntfs::parts::part;
use crate::volume::ntfs::runs;

/// An attribute with this value.
fn resident(kind: u32, instance: u8, value: &[u8]) -> Vec<u8> {
    let len = (0x18 + value.len()).next_multiple_of(8);
    let mut attribute = vec![0; len];
    attribute[..4].copy_from_slice(&kind.to_le_bytes());
    attribute[4..8].copy_from_slice(&u32::try_from(len).unwrap().to_le_bytes());
    attribute[0x0E] = instance;
    attribute[0x10..0x14].copy_from_slice(&u32::try_from(value.len()).unwrap().to_le_bytes());
    attribute[0x14] = 0x18;
    attribute[0x18..0x18 + value.len()].copy_from_slice(value);
    attribute
}

/// Record 30 with $DATA `abc` between two other attributes, on disk.
fn sample() -> Vec<u8> {
    let mut record = vec![0; 1024];
    record[..8].copy_from_slice(b"FILE\x30\0\x03\0");
    record[0x10] = 7;
    record[0x14] = 0x38;
    record[0x16] = 1;
    record[0x1C..0x20].copy_from_slice(&1024_u32.to_le_bytes());
    record[0x2C] = 30;
    let mut at = 0x38;
    for attribute in [
        resident(0x10, 0, &[1; 72]),
        resident(0x80, 1, b"abc"),
        resident(0x100, 2, &[2; 16]),
    ] {
        record[at..at + attribute.len()].copy_from_slice(&attribute);
        at += attribute.len();
    }
    record[at..at + 4].fill(0xFF);
    record[0x18..0x1C].copy_from_slice(&u32::try_from(at + 8).unwrap().to_le_bytes());
    assert!(multi_sector::protect(&mut record));
    record
}

fn data(record: &Record) -> &Attribute {
    record.first(attribute_type::DATA).unwrap()
}

#[test]
fn fields_and_values() {
    let record = Record::parse(30, sample()).unwrap();
    assert_eq!((record.number(), record.reference().sequence), (30, 7));
    assert!(record.is_in_use() && !record.is_directory() && record.base().is_none());
    assert_eq!(record.attributes().len(), 3);
    assert_eq!(record.value(data(&record)).unwrap(), b"abc");
    assert_eq!(
        Record::parse(31, sample())
            .unwrap_err()
            .to_string()
            .matches("record number")
            .count(),
        1
    );
}

#[test]
fn values_grow_and_shrink_and_what_is_behind_them_moves() {
    let original = Record::parse(30, sample()).unwrap();
    let room = original.room(data(&original)).unwrap();
    for len in [0, 1, 7, 8, 9, 100, room - 1, room] {
        let mut record = original.clone();
        let value = vec![0xEE; len];
        assert!(record.set_value(&data(&original).clone(), &value), "{len}");
        let read = Record::parse(30, record.to_disk(&[]).unwrap()).unwrap();
        assert_eq!(read.value(data(&read)).unwrap(), value);
        let last = read.attributes().last().unwrap();
        assert_eq!(read.value(last).unwrap(), [2; 16]);
        assert_eq!(read.room(data(&read)).unwrap(), room);
        assert!(read.used().unwrap() <= 1024);
        // And back: the record is as it was, but for its update sequence number.
        let mut back = read.clone();
        assert!(back.set_value(&data(&read).clone(), b"abc"));
        assert_eq!(back.attributes(), original.attributes());
        assert_eq!(back.bytes[0x38..], original.bytes[0x38..]);
    }
    let mut record = original.clone();
    assert!(!record.set_value(data(&original), &vec![0; room + 1]));
    assert_eq!(record, original);
}

#[test]
fn faults() {
    let plain = Record::parse(30, sample()).unwrap().bytes;
    let first = 0x38;
    let second = first + 0x60;
    let faults: [(&str, usize, &[u8]); 14] = [
        ("used more than there is", 0x18, &[0, 8]),
        ("allocated more than there is", 0x1C, &[1, 4]),
        ("first attribute over the array", 0x14, &[0x30]),
        ("first attribute off its boundary", 0x14, &[0x3A]),
        ("first attribute behind the end", 0x14, &[0xF8, 3]),
        ("attribute of length 0", first + 4, &[0]),
        ("attribute off its boundary", first + 4, &[0x61]),
        ("attribute past the end", first + 4, &[0, 3]),
        ("value past the attribute", first + 0x10, &[73]),
        ("value over the header", second + 0x14, &[0x10]),
        ("value at no place", second + 0x14, &[0xFF, 0xFF]),
        ("name past the attribute", second + 9, &[200]),
        ("non-resident without a header", second + 8, &[1]),
        ("no end mark", 0x18, &[0xE0]),
    ];
    for (name, offset, bytes) in faults {
        let mut bad = plain.clone();
        bad[offset..offset + bytes.len()].copy_from_slice(bytes);
        assert!(multi_sector::protect(&mut bad));
        assert!(Record::parse(30, bad).is_err(), "{name}");
    }
}

/// All records of a piece of $MFT that are in use.
fn records(name: &str, size: usize) -> Vec<Record> {
    let table = part(name).unwrap_or_default();
    let chunks = table.chunks_exact(size).enumerate();
    chunks
        .filter(|(_, chunk)| chunk.starts_with(b"FILE"))
        .map(|(index, chunk)| Record::parse(index.try_into().unwrap(), chunk.to_vec()).unwrap())
        .filter(Record::is_in_use)
        .collect()
}

/// The runs of the $DATA of one record: LCN (-1 for a hole) and clusters.
fn data_runs(records: &[Record], number: u64) -> Vec<(i64, u64)> {
    let record = records
        .iter()
        .find(|record| record.number() == number)
        .unwrap();
    let attribute = record
        .attributes()
        .iter()
        .find(|found| found.kind == attribute_type::DATA && found.name.is_empty())
        .unwrap();
    let Form::NonResident {
        lowest, highest, ..
    } = attribute.form
    else {
        panic!("resident");
    };
    let pairs = record.mapping_pairs(attribute).unwrap();
    let runs = runs::decode(pairs, lowest, highest, 1 << 40, "sample", 0).unwrap();
    runs.iter()
        .map(|run| {
            (
                run.lcn.map_or(-1, |lcn| lcn.0.try_into().unwrap()),
                run.clusters,
            )
        })
        .collect()
}

#[test]
fn tables_of_windows() {
    if part("mft.bin.xz").is_none() {
        return;
    }
    // The runs are those that dissect.ntfs 3.16 finds.
    let table = records("mapping_pairs_1.mft.xz", 1024);
    assert_eq!(data_runs(&table, 41), [(-1, 32)]);
    assert_eq!(
        data_runs(&table, 44),
        [(1222, 4), (1227, 9), (1897, 150), (1237, 41)]
    );
    let holes = [(-1, 10), (1216, 1), (-1, 9), (1226, 1), (-1, 9), (1236, 1)];
    assert_eq!(data_runs(&table, 64), holes);
    assert_eq!(data_runs(&table, 73), [(1278, 1), (-1, 3), (1282, 1)]);
    let table = records("mapping_pairs_2.mft.xz", 1024);
    assert_eq!(data_runs(&table, 2), [(85_892, 1224)]);
    assert_eq!(data_runs(&table, 43), [(2004, 16)]);
    let table = records("4k-large.mft.xz", 4096);
    assert_eq!(data_runs(&table, 0), [(10_666, 256)]);
    assert_eq!(data_runs(&table, 28), []);
    assert_eq!(data_runs(&table, 35), [(1481, 512)]);
    let table = records("compressed_sparse.mft.xz", 1024);
    let flagged = |flag: u16| {
        let attributes = table.iter().flat_map(|record| record.attributes());
        attributes
            .filter(|attribute| attribute.flags & flag != 0)
            .count()
    };
    assert!(flagged(attribute_flag::COMPRESSED) > 0 && flagged(attribute_flag::SPARSE) > 0);
    assert!(!records("mft.bin.xz", 1024).is_empty());
    // Single records: with extended attributes, and with a reparse point.
    for (name, kind) in [
        ("frs_ea.bin", 0xE0),
        ("rp.bin", attribute_type::REPARSE_POINT),
    ] {
        let disk = part(name).unwrap();
        let number = u32::from_le_bytes(disk[0x2C..0x30].try_into().unwrap());
        let record = Record::parse(number.into(), disk).unwrap();
        assert!(record.first(kind).is_some(), "{name}");
    }
}
