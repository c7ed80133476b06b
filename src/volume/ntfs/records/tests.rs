// SPDX-License-Identifier: GPL-2.0-or-later
#![allow(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows fails"
)]

use super::*;
use crate::volume::ntfs::parts::fresh;
use crate::volume::ntfs::stream_edit::tests::{GEOMETRIES, Subject};

/// A record that is in use and holds nothing.
fn fill(mft: &Mft, file: FileReference) {
    let model = mft.read(record_number::MFT).unwrap();
    let mut record = blank(file.record, &model).unwrap();
    assert!(record.set_new(file.sequence, false));
    mft.store(&record).unwrap();
}

#[test]
fn the_table_grows_when_it_is_full_and_records_come_back() {
    for (cluster, sector) in GEOMETRIES {
        let Some(image) = fresh(cluster, sector) else {
            return;
        };
        let subject = Subject::of(image);
        let mft = &subject.mft;
        let before = mft.records();
        let mut taken = Vec::new();
        while mft.records() < before + 3 * MORE {
            let file = take_record(mft).unwrap();
            assert!(!taken.contains(&file));
            fill(mft, file);
            taken.push(file);
        }
        // Those from 64 on come first, in order; then those of the system's are left.
        let numbers: Vec<u64> = taken.iter().map(|file| file.record).collect();
        let behind = numbers.iter().filter(|number| **number >= FIRST_FILE);
        assert!(behind.is_sorted());
        assert!(
            numbers
                .iter()
                .all(|number| *number >= record_number::FIRST_USER)
        );
        // What the table says of itself is what another reading of it says.
        let again = Mft::open(subject.overlay.clone(), mft.boot.clone()).unwrap();
        assert_eq!(again.records(), mft.records());
        // mkntfs gives no numbers to the records before.
        for number in record_number::FIRST_USER..again.records() {
            let record = again.read(number).unwrap();
            let file = taken.iter().find(|file| file.record == number);
            if let Some(file) = file {
                assert_eq!(record.reference(), *file);
                assert!(record.is_in_use());
            }
        }
        subject.judged();
        for file in &taken {
            free_record(mft, mft.read(file.record).unwrap()).unwrap();
        }
        subject.judged();
        // The same record again is another file.
        let first = taken[0];
        let found = find_free(mft).unwrap().unwrap().record;
        let next = take_record(mft).unwrap();
        assert_eq!(next.record, found);
        assert!(found >= FIRST_FILE);
        let old = taken.iter().find(|file| file.record == next.record);
        if let Some(old) = old {
            assert_eq!(next.sequence, old.sequence + 1);
        }
        assert!(free_record(mft, mft.read(first.record.min(5)).unwrap()).is_err());
    }
}

#[test]
fn a_record_in_use_whose_bit_says_free_is_damage() {
    let Some(image) = fresh(4096, 512) else {
        return;
    };
    let subject = Subject::of(image);
    let mft = &subject.mft;
    let file = take_record(mft).unwrap();
    fill(mft, file);
    clear_bits(mft, file.record, file.record + 1).unwrap();
    let changes = subject.overlay.changes().unwrap();
    let error = take_record(mft).unwrap_err();
    assert_eq!(error.kind(), crate::error::Kind::Damaged, "{error}");
    assert!(
        error.to_string().contains("in use") && error.hint().is_some(),
        "{error}"
    );
    assert_eq!(subject.overlay.changes().unwrap(), changes);
}
