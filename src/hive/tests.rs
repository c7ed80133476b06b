// SPDX-License-Identifier: GPL-2.0-or-later
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "numbers that the tests made themselves"
)]

use super::*;
use std::collections::BTreeMap;

const NOW: u64 = 0x01d9_0000_0000_0000;

fn new(minor: u32) -> Hive {
    Hive::create(minor, "ROOT", 1).unwrap()
}

#[track_caller]
fn sound(hive: &Hive) {
    let faults = hive.check();
    assert!(faults.is_empty(), "{:#?}", &faults[..faults.len().min(5)]);
}

fn names(hive: &Hive, path: &str) -> Vec<String> {
    let key = hive.key(path).unwrap().unwrap();
    let subkeys = key.subkeys().unwrap();
    subkeys.iter().map(|key| key.name().to_string()).collect()
}

fn data(hive: &Hive, path: &str, name: &str) -> Option<(u32, Vec<u8>)> {
    let value = hive.key(path).unwrap()?.value(name).unwrap()?;
    Some((value.kind(), value.data().unwrap().into_owned()))
}

/// Bytes whose value depends on their place, so that a misplaced segment shows.
fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|place| (place * 31 + place / 251) as u8)
        .collect()
}

#[test]
fn a_new_hive_is_sound_in_every_version() {
    for minor in 3..=6 {
        let hive = new(minor);
        sound(&hive);
        assert_eq!(hive.bytes().len(), 8192);
        let root = hive.root().unwrap();
        assert_eq!(root.name().to_string(), "ROOT");
        assert_eq!(root.path().unwrap(), "");
        assert_eq!(root.last_written(), 1);
    }
    assert!(Hive::create(2, "ROOT", 1).is_err());
    assert!(Hive::create(7, "ROOT", 1).is_err());
}

#[test]
fn keys_are_made_with_their_parents_and_found_without_case() {
    let mut hive = new(5);
    assert!(hive.create_key("Alpha\\Beta\\Gamma", NOW).unwrap());
    assert!(!hive.create_key("ALPHA\\beta", NOW).unwrap());
    assert!(hive.create_key("\\alpha\\Привет\\", NOW).unwrap());
    sound(&hive);
    let key = hive.key("alpha\\BETA\\gamma").unwrap().unwrap();
    assert_eq!(key.path().unwrap(), "Alpha\\Beta\\Gamma");
    assert_eq!(key.last_written(), NOW);
    assert_eq!(names(&hive, "Alpha"), ["Beta", "Привет"]);
    assert!(hive.key("Alpha\\Delta").unwrap().is_none());
    assert!(hive.create_key("a\\\\b", NOW).is_err());
    assert_eq!(hive.root().unwrap().node.max_subkey_name, 10);
}

#[test]
fn a_key_name_has_255_units_at_most() {
    for minor in [3, 5] {
        for (len, accepted) in [(254, true), (255, true), (256, false)] {
            for c in ['n', 'Я'] {
                let mut hive = new(minor);
                let before = hive.bytes().to_vec();
                let name: String = std::iter::repeat_n(c, len).collect();
                assert_eq!(hive.create_key(&name, NOW).is_ok(), accepted);
                assert_eq!(hive.bytes() == before, !accepted);
                sound(&hive);
                assert_eq!(hive.key(&name).unwrap().is_some(), accepted);
            }
        }
    }
}

#[test]
fn a_failed_edit_leaves_no_trace() {
    let mut hive = new(5);
    hive.create_key("a", NOW).unwrap();
    hive.set_value("a", "v", 1, &pattern(100), NOW).unwrap();
    let before = hive.bytes().to_vec();
    // The first two names could be inserted.
    assert!(hive.create_key("b\\c\\ı", NOW).is_err());
    assert_eq!(hive.bytes(), before);
    assert!(hive.set_value("missing", "v", 1, &[], NOW).is_err());
    assert!(
        hive.set_value("a", &"n".repeat(16384), 1, &[], NOW)
            .is_err()
    );
    assert!(hive.delete_key("", NOW).is_err());
    assert_eq!(hive.bytes(), before);
    // A big value whose second half cannot be freed.
    hive.set_value("a", "big", 3, &pattern(20_000), NOW)
        .unwrap();
    let value = hive
        .key("a")
        .unwrap()
        .unwrap()
        .value("big")
        .unwrap()
        .unwrap();
    let value::Storage::BigData { list, count, .. } = value.storage().unwrap() else {
        panic!("no big data");
    };
    let segments: Vec<CellOffset> = hive.segments(list, count).unwrap().collect();
    let mut image = hive.into_bytes();
    let at = segments[1].in_file() as usize;
    let size = i32::from_le_bytes(image[at..at + 4].try_into().unwrap());
    image[at..at + 4].copy_from_slice(&(-size).to_le_bytes());
    let mut hive = Hive::parse(image.clone()).unwrap();
    assert!(hive.check().iter().any(|fault| fault.fatal));
    assert!(hive.delete_key("a", NOW).is_err());
    assert!(hive.delete_value("a", "big", NOW).is_err());
    assert_eq!(hive.bytes(), image);
}

#[test]
fn values_of_every_length_class_come_back() {
    for minor in 3..=6 {
        let mut hive = new(minor);
        hive.create_key("k", NOW).unwrap();
        let mut expected = BTreeMap::new();
        for len in [
            0, 1, 3, 4, 5, 8, 12, 4000, 4060, 4064, 8000, 16343, 16344, 16345, 16348, 32687, 32688,
            32689, 70_000, 1_048_576,
        ] {
            let name = format!("v{len}");
            hive.set_value("k", &name, len as u32, &pattern(len), NOW)
                .unwrap();
            expected.insert(name, (len as u32, pattern(len)));
            sound(&hive);
        }
        for (name, value) in &expected {
            assert_eq!(
                data(&hive, "k", name).as_ref(),
                Some(value),
                "{minor} {name}"
            );
        }
        let key = hive.key("k").unwrap().unwrap();
        assert_eq!(key.values().unwrap().len(), expected.len());
        let big = |name: &str| {
            let value = key.value(name).unwrap().unwrap();
            matches!(value.storage().unwrap(), value::Storage::BigData { .. })
        };
        assert!(!big("v16344"));
        assert_eq!(big("v16345"), minor >= 4);
        assert_eq!(big("v70000"), minor >= 4);
        let too_long = hive.set_value("k", "w", 3, &vec![0; 1_048_577], NOW);
        assert_eq!(too_long.is_ok(), minor >= 4);
        for name in expected.keys() {
            assert!(hive.delete_value("k", name, NOW).unwrap());
            sound(&hive);
        }
    }
}

#[test]
fn a_value_moves_between_all_length_classes() {
    let lens = [0, 4, 5, 100, 16344, 16345, 40_000];
    for from in lens {
        for to in lens {
            let mut hive = new(5);
            hive.set_value("", "before", 3, &pattern(10), NOW).unwrap();
            hive.set_value("", "v", 3, &pattern(from), NOW).unwrap();
            hive.set_value("", "after", 3, &pattern(10), NOW).unwrap();
            hive.set_value("", "V", 4, &pattern(to), NOW).unwrap();
            sound(&hive);
            assert_eq!(data(&hive, "", "v"), Some((4, pattern(to))), "{from} {to}");
            assert_eq!(data(&hive, "", "before"), Some((3, pattern(10))));
            assert_eq!(data(&hive, "", "after"), Some((3, pattern(10))));
            let value = hive.root().unwrap().value("v").unwrap().unwrap();
            assert_eq!(value.name().to_string(), "v");
        }
    }
}

#[test]
fn setting_the_same_changes_nothing_and_a_same_size_value_only_its_bytes() {
    let mut hive = new(5);
    hive.create_key("k", NOW).unwrap();
    hive.set_value("k", "small", 4, &[1, 2, 3, 4], NOW).unwrap();
    hive.set_value("k", "long", 3, &pattern(100), NOW).unwrap();
    hive.set_value("k", "big", 3, &pattern(20_000), NOW)
        .unwrap();
    let before = hive.bytes().to_vec();
    hive.set_value("k", "SMALL", 4, &[1, 2, 3, 4], NOW + 1)
        .unwrap();
    hive.set_value("k", "long", 3, &pattern(100), NOW + 1)
        .unwrap();
    hive.set_value("k", "big", 3, &pattern(20_000), NOW + 1)
        .unwrap();
    assert_eq!(hive.bytes(), before);

    let changed = |before: &[u8], after: &[u8]| -> usize {
        assert_eq!(before.len(), after.len());
        before.iter().zip(after).filter(|(a, b)| a != b).count()
    };
    for (name, len) in [("small", 4), ("long", 100), ("big", 20_000)] {
        let before = hive.bytes().to_vec();
        let mut new = data(&hive, "k", name).unwrap();
        new.1[len - 1] ^= 0xff;
        hive.set_value("k", name, new.0, &new.1, NOW).unwrap();
        // The time is the same: the one byte is all there is.
        assert_eq!(changed(&before, hive.bytes()), 1, "{name}");
    }
    let before = hive.bytes().to_vec();
    hive.set_value("k", "small", 11, &[1, 2, 3, 0xfb], NOW)
        .unwrap();
    assert_eq!(changed(&before, hive.bytes()), 1);
}

#[test]
fn default_and_oddly_named_values() {
    let mut hive = new(3);
    for name in ["", "a\\b", "ı😀", "null\0inside", "x", &"n".repeat(16383)] {
        hive.set_value("", name, 1, name.as_bytes(), NOW).unwrap();
        sound(&hive);
        assert_eq!(data(&hive, "", name), Some((1, name.as_bytes().to_vec())));
    }
    assert!(hive.delete_value("", "", NOW).unwrap());
    assert!(!hive.delete_value("", "", NOW).unwrap());
    assert!(!hive.delete_value("nowhere", "", NOW).unwrap());
    assert_eq!(hive.root().unwrap().value_count(), 5);
    sound(&hive);
}

/// The lists of a key, as signatures with their counts; leaves of an ri in parentheses.
fn lists(hive: &Hive, path: &str) -> String {
    let key = hive.key(path).unwrap().unwrap();
    let shown = |list: &format::SubkeyList<'_>| {
        let signature = String::from_utf8_lossy(list.kind.signature()).into_owned();
        format!("{signature}{}", list.len())
    };
    let leaves: Vec<String> = key.leaves().unwrap().iter().map(shown).collect();
    match hive.subkey_list(key.node.subkey_list) {
        Ok(top) if top.kind == format::ListKind::IndexRoot => {
            format!("{}({})", shown(&top), leaves.join(" "))
        }
        _ => leaves.join(" "),
    }
}

#[test]
fn lists_grow_as_windows_grows_them() {
    for (minor, steps) in [
        (
            3,
            &[
                (506, "lf506"),
                (507, "lf507"),
                (508, "li508"),
                (1013, "li1013"),
                (1014, "ri2(li506 li508)"),
                (1520, "ri3(li506 li506 li508)"),
            ][..],
        ),
        (
            5,
            &[
                (506, "lh506"),
                (507, "lh507"),
                (508, "lh508"),
                (1012, "lh1012"),
                (1013, "lh1013"),
                (1014, "ri2(lh506 lh508)"),
                (1519, "ri2(lh506 lh1013)"),
                (1520, "ri3(lh506 lh506 lh508)"),
            ][..],
        ),
    ] {
        let mut hive = new(minor);
        let mut made = 0;
        for &(count, shape) in steps {
            while made < count {
                hive.create_key(&format!("p\\key{made:05}"), NOW).unwrap();
                made += 1;
            }
            sound(&hive);
            assert_eq!(lists(&hive, "p"), shape, "1.{minor} {count}");
        }
        for key in 0..made {
            assert!(hive.key(&format!("P\\KEY{key:05}")).unwrap().is_some());
        }
        for key in (0..made).rev() {
            assert!(hive.delete_key(&format!("p\\key{key:05}"), NOW).unwrap());
            if key % 101 == 0 {
                sound(&hive);
            }
        }
        let key = hive.key("p").unwrap().unwrap();
        assert_eq!(
            (key.subkey_count(), key.node.subkey_list.is_nil()),
            (0, true)
        );
        sound(&hive);
    }
}

#[test]
fn lists_stay_sorted_whatever_the_order_of_insertion() {
    for minor in [3, 5] {
        let mut hive = new(minor);
        let mut expected = Vec::new();
        for step in 0..1200_u32 {
            let name = format!("{:08X}", step.wrapping_mul(0x9E37_79B1));
            hive.create_key(&name, NOW).unwrap();
            expected.push(name);
        }
        expected.sort();
        assert_eq!(names(&hive, ""), expected);
        sound(&hive);
    }
}

#[test]
fn deleting_gives_every_byte_back() {
    let mut hive = new(5);
    hive.create_key("stays", NOW).unwrap();
    let free = |hive: &mut Hive| {
        hive.free = None;
        let first = hive.allocate(0).unwrap();
        hive.release(first).unwrap();
        hive.free.as_ref().unwrap().total()
    };
    let before = free(&mut hive);
    hive.create_key("tree\\a\\b\\c", NOW).unwrap();
    hive.create_key("tree\\d", NOW).unwrap();
    for (path, name, len) in [
        ("tree\\a", "x", 5000),
        ("tree\\a\\b", "", 4),
        ("tree", "y", 5),
    ] {
        hive.set_value(path, name, 3, &pattern(len), NOW).unwrap();
    }
    assert_eq!(hive.bytes().len(), 16384);
    assert!(hive.delete_key("TREE", NOW).unwrap());
    assert!(!hive.delete_key("tree", NOW).unwrap());
    sound(&hive);
    let after = free(&mut hive);
    // The bin that was added is free but for its header; the root's list keeps room for a second key.
    assert_eq!(after, before + 8192 - 32 - 8);
}

#[test]
fn growth_takes_the_slack_of_the_file_first() {
    let mut image = new(5).into_bytes();
    image.resize(65536, 0xcc);
    let mut hive = Hive::parse(image).unwrap();
    hive.set_value("", "v", 3, &pattern(16344), NOW).unwrap();
    sound(&hive);
    assert_eq!(hive.bytes().len(), 65536);
    assert_eq!(hive.base_block().bins_size, 4096 + 16384);
    assert_eq!(hive.bytes()[65535], 0xcc);
    hive.set_value("", "w", 3, &pattern(50_000), NOW).unwrap();
    sound(&hive);
    assert_eq!(
        hive.bytes().len(),
        4096 + hive.base_block().bins_size as usize
    );
    assert!(hive.bytes().len() > 65536);
}

#[test]
fn security_records_are_shared_counted_and_freed() {
    let mut hive = new(5);
    hive.create_key("a\\b", NOW).unwrap();
    hive.create_key("c", NOW).unwrap();
    let shared = hive.root().unwrap().security().unwrap().to_vec();
    let mut other = shared.clone();
    other[36] = 0x19; // another access mask
    assert!(hive.set_security("a", &other[..119], NOW).is_err());
    hive.set_security("a", &other, NOW).unwrap();
    sound(&hive);
    hive.set_security("a\\b", &other, NOW).unwrap();
    sound(&hive);
    let record = |hive: &Hive, path: &str| hive.key(path).unwrap().unwrap().node.security;
    assert_eq!(record(&hive, "a"), record(&hive, "a\\b"));
    assert_ne!(record(&hive, "a"), record(&hive, "c"));
    hive.create_key("a\\inherits", NOW).unwrap();
    assert_eq!(record(&hive, "a"), record(&hive, "a\\inherits"));
    hive.set_security("a", &shared, NOW).unwrap();
    assert_eq!(record(&hive, "a"), record(&hive, "c"));
    sound(&hive);
    hive.delete_key("a", NOW).unwrap();
    sound(&hive);
    let root = record(&hive, "");
    assert_eq!(hive.key_security(root).unwrap().next, root);
    assert_eq!(hive.key_security(root).unwrap().references, 2);
}

#[test]
fn sealing_sets_both_numbers_the_time_and_the_checksum() {
    let mut hive = new(5);
    hive.seal(77, NOW).unwrap();
    let block = hive.base_block();
    assert_eq!((block.primary_sequence, block.secondary_sequence), (77, 77));
    assert_eq!(block.last_written, NOW);
    assert!(!block.is_dirty());
    assert_eq!(BaseBlock::parse(hive.bytes()).unwrap(), *hive.base_block());
}

#[test]
fn keys_nest_511_deep_and_no_deeper() {
    let mut hive = new(5);
    let deep = vec!["k"; 511].join("\\");
    assert!(hive.create_key(&deep, NOW).unwrap());
    sound(&hive);
    assert!(hive.create_key(&format!("{deep}\\k"), NOW).is_err());
    assert!(hive.delete_key("k", NOW).unwrap());
    sound(&hive);
    assert!(names(&hive, "").is_empty());
}

#[test]
fn links_and_handles_are_not_edited() {
    let mut hive = new(5);
    hive.create_key("link", NOW).unwrap();
    let key = hive.key("link").unwrap().unwrap().cell_offset();
    let flags = key_node::FLAG_LATIN1 | key_node::FLAG_SYMLINK;
    hive.bins
        .write_cell(key, key_node::FLAGS, &flags.to_le_bytes())
        .unwrap();
    assert!(hive.create_key("link\\below", NOW).is_err());
    assert!(hive.set_value("link", "v", 4, &[0; 4], NOW).is_err());
    hive.set_value("link", "SymbolicLinkValue", 6, &[0; 4], NOW)
        .unwrap();
    let flags = key_node::FLAG_LATIN1 | key_node::FLAG_PREDEFINED_HANDLE;
    hive.bins
        .write_cell(key, key_node::FLAGS, &flags.to_le_bytes())
        .unwrap();
    assert!(hive.set_value("link", "v", 4, &[0; 4], NOW).is_err());
    let flags = key_node::FLAG_LATIN1 | key_node::FLAG_NO_DELETE;
    hive.bins
        .write_cell(key, key_node::FLAGS, &flags.to_le_bytes())
        .unwrap();
    assert!(hive.delete_key("link", NOW).is_err());
}
