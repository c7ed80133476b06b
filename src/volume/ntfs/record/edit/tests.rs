// SPDX-License-Identifier: GPL-2.0-or-later
#![allow(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows fails"
)]

use proptest::prelude::*;

use super::super::{blank, non_resident, resident};
use super::*;
use crate::volume::ntfs::format::attribute_type;
use crate::volume::ntfs::multi_sector;

/// An empty record of this size.
fn empty(size: usize) -> Record {
    let mut bytes = vec![0; size];
    bytes[..8].copy_from_slice(b"FILE\x30\0\x03\0");
    bytes[6] = u8::try_from(1 + size / 512).unwrap();
    bytes[0x14] = if size == 1024 { 0x38 } else { 0x48 };
    let at = usize::from(bytes[0x14]);
    bytes[at..at + 4].fill(0xFF);
    bytes[0x18] = bytes[0x14] + 8;
    bytes[0x1C..0x1E].copy_from_slice(&u16::try_from(size).unwrap().to_le_bytes());
    assert!(multi_sector::protect(&mut bytes));
    let model = Record::parse(0, bytes).unwrap();
    let made = blank(0, &model).unwrap();
    assert_eq!(made.attributes, model.attributes);
    assert_eq!(made.u16(0x14), model.u16(0x14));
    let numbered = blank(0x1_2345, &model).unwrap();
    let disk = numbered.to_disk(&[]).unwrap();
    assert_eq!(
        Record::parse(0x1_2345, disk).unwrap().reference().sequence,
        1
    );
    made
}

fn units(name: &str) -> Vec<u16> {
    name.encode_utf16().collect()
}

/// An attribute as it ought to be.
#[derive(Clone, Debug)]
struct Model {
    kind: u32,
    name: String,
    value: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Edit {
    Insert(Model),
    Remove(usize),
    SetValue(usize, Vec<u8>),
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..120)
}

fn edit() -> impl Strategy<Value = Edit> {
    let kind = prop::sample::select(vec![0x10_u32, 0x30, 0x80, 0x90, 0xB0, 0x100]);
    let name = prop::sample::select(vec!["", "$I30", "a", "B", "b", "_", "longer"]);
    prop_oneof![
        4 => (kind, name, value()).prop_map(|(kind, name, value)| Edit::Insert(Model {
            kind,
            name: name.to_owned(),
            value,
        })),
        1 => any::<usize>().prop_map(Edit::Remove),
        2 => (any::<usize>(), value()).prop_map(|(at, value)| Edit::SetValue(at, value)),
    ]
}

/// The order of the specification, for names of ASCII letters.
fn key(model: &Model) -> (u32, String, String) {
    (model.kind, model.name.to_uppercase(), model.name.clone())
}

fn check(record: &Record, model: &[Model]) -> Result<(), TestCaseError> {
    let disk = record.to_disk(&[]).unwrap();
    let read = Record::parse(0, disk).unwrap();
    let found: Vec<(u32, Vec<u16>, Vec<u8>)> = read
        .attributes()
        .iter()
        .map(|found| {
            let value = read.value(found).unwrap();
            (found.kind, found.name.clone(), value.to_vec())
        })
        .collect();
    let expected: Vec<(u32, Vec<u16>, Vec<u8>)> = model
        .iter()
        .map(|model| (model.kind, units(&model.name), model.value.clone()))
        .collect();
    prop_assert_eq!(found, expected);
    let mut instances: Vec<u16> = read
        .attributes()
        .iter()
        .map(|found| found.instance)
        .collect();
    instances.sort_unstable();
    instances.dedup();
    prop_assert_eq!(instances.len(), model.len());
    // Nothing is left behind the end mark, but for the update sequence.
    let used = read.used().unwrap();
    prop_assert!(read.bytes[used..].iter().all(|byte| *byte == 0));
    Ok(())
}

proptest! {
    #[test]
    fn edits_follow_a_sorted_list(
        size in prop::sample::select(vec![1024_usize, 4096]),
        edits in prop::collection::vec(edit(), 0..40),
    ) {
        let upcase = Upcase::ascii();
        let mut record = empty(size);
        let mut model: Vec<Model> = Vec::new();
        for edit in edits {
            let before = record.clone();
            let done = match &edit {
                Edit::Insert(new) => {
                    if model.iter().any(|old| key(old) == key(new)) {
                        continue;
                    }
                    let instance = record.next_instance().unwrap();
                    let name = units(&new.name);
                    let attribute = resident(new.kind, &name, instance, false, &new.value);
                    record.insert(&upcase, &attribute.unwrap())
                }
                Edit::Remove(at) | Edit::SetValue(at, _) => {
                    if model.is_empty() {
                        continue;
                    }
                    let found = record.attributes()[at % model.len()].clone();
                    match &edit {
                        Edit::SetValue(_, value) => {
                            let fits = value.len() <= record.room(&found).unwrap();
                            let done = record.set_value(&found, value);
                            prop_assert_eq!(done, fits);
                            done
                        }
                        _ => record.remove(&found),
                    }
                }
            };
            if !done {
                prop_assert_eq!(&record, &before);
                continue;
            }
            match edit {
                Edit::Insert(new) => {
                    model.push(new);
                    model.sort_by_key(key);
                }
                Edit::Remove(at) => {
                    let at = at % model.len();
                    model.remove(at);
                }
                Edit::SetValue(at, value) => {
                    let at = at % model.len();
                    model[at].value = value;
                }
            }
            check(&record, &model)?;
        }
    }
}

#[test]
fn mapping_pairs_grow_and_a_value_moves_out() {
    let upcase = Upcase::ascii();
    let mut record = empty(1024);
    for (kind, value) in [
        (0x10, [1; 72].as_slice()),
        (0x80, b"abc"),
        (0x100, &[2; 16]),
    ] {
        let instance = record.next_instance().unwrap();
        let attribute = resident(kind, &[], instance, false, value).unwrap();
        assert!(record.insert(&upcase, &attribute));
    }
    let sizes = Sizes {
        allocated: 0x4000,
        data: 3,
        initialised: 3,
    };
    let data = record.first(attribute_type::DATA).unwrap().clone();
    assert!(record.set_non_resident(&data, &[0x21, 4, 0x34, 0x12, 0], 4, sizes));
    let moved = record.first(attribute_type::DATA).unwrap().clone();
    assert_eq!(moved.instance, data.instance);
    let Form::NonResident {
        lowest,
        highest,
        sizes: found,
        ..
    } = moved.form
    else {
        panic!("resident");
    };
    assert_eq!((lowest, highest, found), (0, 3, Some(sizes)));
    assert_eq!(
        record.mapping_pairs(&moved).unwrap()[..5],
        [0x21, 4, 0x34, 0x12, 0]
    );

    // Longer, shorter, empty; what is behind follows.
    for pairs in [vec![0x11; 60], vec![0x11, 1, 1, 0], vec![0]] {
        let now = record.first(attribute_type::DATA).unwrap().clone();
        assert!(record.set_mapping(&now, &pairs, 9));
        let now = record.first(attribute_type::DATA).unwrap();
        let found = record.mapping_pairs(now).unwrap();
        assert_eq!(found.len(), pairs.len().next_multiple_of(8));
        assert!(found.starts_with(&pairs));
        let last = record.attributes().last().unwrap();
        assert_eq!(record.value(last).unwrap(), [2; 16]);
    }
    let now = record.first(attribute_type::DATA).unwrap().clone();
    assert!(record.set_mapping(&now, &[0], 0));
    let now = record.first(attribute_type::DATA).unwrap().clone();
    assert!(matches!(
        now.form,
        Form::NonResident {
            highest: u64::MAX,
            ..
        }
    ));
    let before = record.clone();
    assert!(!record.set_mapping(&now, &vec![0x11; 1024], 9));
    assert!(!record.set_value(&now, b"resident only"));
    assert!(!record.set_sizes(record.clone().first(0x10).unwrap(), sizes));
    assert_eq!(record, before);
    // Sizes that contradict each other leave no record.
    let wrong = Sizes {
        initialised: 4,
        ..sizes
    };
    assert!(!record.set_sizes(&now, wrong));
    assert_eq!(record, before);
}

#[test]
fn new_attributes_are_as_the_specification_draws_them() {
    let name = units("$I30");
    let made = resident(0x90, &name, 7, true, b"value").unwrap();
    assert_eq!(made.len(), 0x28);
    assert_eq!(
        made[..0x18],
        [
            0x90, 0, 0, 0, 0x28, 0, 0, 0, 0, 4, 0x18, 0, 0, 0, 7, 0, 5, 0, 0, 0, 0x20, 0, 1, 0
        ]
    );
    assert_eq!(made[0x18..0x20], *b"$\0I\x003\x000\0");
    assert_eq!(made[0x20..], *b"value\0\0\0");
    let sizes = Sizes {
        allocated: 0x1000,
        data: 0x800,
        initialised: 0x700,
    };
    let made = non_resident(0xA0, &name, 8, &[0x11, 1, 9, 0], 1, sizes).unwrap();
    assert_eq!(made.len(), 0x50);
    assert_eq!(
        made[..0x10],
        [0xA0, 0, 0, 0, 0x50, 0, 0, 0, 1, 4, 0x40, 0, 0, 0, 8, 0]
    );
    assert_eq!(made[0x20..0x24], [0x48, 0, 0, 0]);
    assert_eq!(made[0x48..], [0x11, 1, 9, 0, 0, 0, 0, 0]);
    assert!(resident(0x80, &[], 0, false, &vec![0; 0x1_0000]).is_none());
    assert!(resident(0x80, &vec![0x41; 256], 0, false, &[]).is_none());
}

#[test]
fn giving_a_record_up_counts_its_sequence_number_on() {
    let mut record = empty(1024);
    for (before, after) in [(1_u16, 2_u16), (0xFFFF, 1), (0, 1)] {
        assert!(record.set_new(before, true));
        assert!(record.is_in_use() && record.is_directory() && record.links() == 1);
        assert!(record.set_free());
        assert!(!record.is_in_use());
        assert_eq!(record.reference().sequence, after);
    }
}

#[test]
fn one_sector_keeps_the_number_and_two_do_not() {
    let mut record = empty(1024);
    let old = record.to_disk(&[]).unwrap();
    assert_eq!(record.to_disk(&old).unwrap(), old);
    assert!(record.patch(0x20, &[9]));
    let one = record.to_disk(&old).unwrap();
    assert_eq!(one[510..512], old[510..512]);
    assert_eq!(one[512..], old[512..]);
    // The saved bytes of the second sector are in the first one: two sectors differ.
    assert!(record.patch(1022, &[0xAA, 0xBB]));
    let still = record.to_disk(&old).unwrap();
    assert_eq!(still[512..], old[512..]);
    assert!(record.patch(600, &[1]));
    let two = record.to_disk(&old).unwrap();
    assert_ne!(two[510..512], old[510..512]);
    assert_eq!(two[510..512], two[1022..]);
    for disk in [one, still, two] {
        Record::parse(0, disk).unwrap();
    }
}
