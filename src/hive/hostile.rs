// SPDX-License-Identifier: GPL-2.0-or-later
//! Hives that are cut off, flipped bit by bit, or built to mislead: no panic, bounded work, and whatever
//! the check accepts can be edited without harm.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "numbers that the tests made themselves"
)]

use super::*;

/// A small hive with every kind of record: two security records, a class name, nested and many keys, values
/// inline, in a cell and in big data.
fn specimen(minor: u32) -> Hive {
    let mut hive = Hive::create(minor, "ROOT", 1).unwrap();
    hive.create_key("tree\\one\\two", 2).unwrap();
    for key in 0..20 {
        hive.create_key(&format!("many\\key{key}"), 2).unwrap();
    }
    let mut descriptor = security::default_descriptor();
    descriptor[32] = 1;
    hive.set_security("tree\\one", &descriptor, 2).unwrap();
    for (name, len) in [("", 4), ("cell", 40), ("empty", 0), ("Я", 3)] {
        hive.set_value("tree", name, 3, &vec![7; len], 2).unwrap();
    }
    hive.set_value("big", "x", 3, &[], 2).unwrap_err();
    hive.create_key("big", 2).unwrap();
    hive.set_value("big", "big", 3, &vec![0; 16345], 2).unwrap();
    let class = hive.allocate_with(&[0x43, 0, 0x6c, 0]).unwrap();
    let key = hive.key("tree").unwrap().unwrap().cell_offset();
    hive.bins.write_u32(key, key_node::CLASS, class.0).unwrap();
    hive.bins
        .write_cell(key, key_node::CLASS_LENGTH, &[4, 0])
        .unwrap();
    hive
}

/// Reads all that can be reached without going deeper than `depth`.
fn walk(key: &Key<'_>, depth: usize, steps: &mut usize) {
    *steps += 1;
    assert!(*steps < 100_000, "unbounded");
    let _name = (key.name().to_string(), key.name().to_string_lossy());
    let _path = key.path();
    let _class = key.class();
    let _security = key.security();
    let _value = key.value("absent");
    for value in key.values().unwrap_or_default() {
        let _data = (value.name().to_string(), value.data());
    }
    if depth > 0 {
        for subkey in key.subkeys().unwrap_or_default() {
            walk(&subkey, depth - 1, steps);
        }
    }
}

/// A large hive is checked in parts: they find what one walk finds, or say that they cannot tell.
fn in_parts_as_whole(hive: &Hive, mut whole: Vec<Fault>) {
    for parts in [2, 8] {
        let Some(mut found) = check::in_parts(hive, parts) else {
            assert!(!whole.is_empty(), "{parts} parts meet in a sound hive");
            continue;
        };
        let order = |fault: &Fault| (fault.offset, fault.to_string());
        found.sort_by_key(order);
        whole.sort_by_key(order);
        assert_eq!(found, whole, "{parts} parts");
    }
}

/// Everything there is to do with an image.
fn handle(image: Vec<u8>) {
    let Ok(mut hive) = Hive::parse(image) else {
        return;
    };
    let faults = hive.check();
    let accepted = faults.iter().all(|fault| !fault.fatal);
    in_parts_as_whole(&hive, faults);
    if let Ok(root) = hive.root() {
        walk(&root, 4, &mut 0);
    }
    let _found = hive.key("tree\\one\\two");
    let edits: [fn(&mut Hive) -> Result<()>; 7] = [
        |hive| hive.set_value("tree", "cell", 3, &[9; 40], 3),
        |hive| hive.set_value("tree", "cell", 3, &[9; 400], 3),
        |hive| hive.set_value("big", "big", 3, &[9; 16346], 3),
        |hive| hive.create_key("many\\key15a\\below", 3).map(|_| ()),
        |hive| hive.set_security("tree", &security::default_descriptor(), 3),
        |hive| hive.delete_key("tree", 3).map(|_| ()),
        |hive| hive.delete_value("big", "big", 3).map(|_| ()),
    ];
    for (index, edit) in edits.into_iter().enumerate() {
        let before = hive.bytes().to_vec();
        if edit(&mut hive).is_err() {
            assert!(
                hive.bytes() == before,
                "edit {index} failed and left something behind"
            );
        } else if accepted {
            let faults = hive.check();
            let fatal: Vec<_> = faults.iter().filter(|fault| fault.fatal).collect();
            assert!(
                fatal.is_empty(),
                "edit {index} of an accepted hive: {fatal:#?}"
            );
        }
    }
}

#[test]
fn the_specimen_is_sound() {
    for minor in 3..=6 {
        let hive = specimen(minor);
        assert_eq!(hive.check(), []);
        handle(hive.into_bytes());
    }
}

#[test]
fn every_flipped_bit() {
    for minor in [3, 5] {
        let image = specimen(minor).into_bytes();
        let used = |at: usize| {
            at < 512
                || at >= BASE_BLOCK_SIZE
                    && image[at.saturating_sub(32)..]
                        .iter()
                        .take(64)
                        .any(|&byte| byte != 0)
        };
        let mut flipped = 0;
        for at in (0..image.len()).filter(|&at| used(at)) {
            for bit in [at % 8, 7] {
                let mut image = image.clone();
                image[at] ^= 1 << bit;
                handle(image);
                flipped += 1;
            }
        }
        assert!(flipped > 5000, "{flipped}");
    }
}

#[test]
fn every_truncation() {
    let image = specimen(5).into_bytes();
    for len in (0..image.len()).step_by(37) {
        handle(image[..len].to_vec());
    }
}

/// Words of every record replaced by values that mislead.
#[test]
fn misleading_words() {
    let image = specimen(5).into_bytes();
    let end = 0x1000 + 3000;
    for word in [
        0,
        1,
        8,
        0x20,
        0x28,
        0x7fff_fff8,
        0x8000_0000_u32,
        0xffff_fff8,
        0xffff_ffff,
    ] {
        for at in (0x1000..end).step_by(4) {
            let mut image = image.clone();
            image[at..at + 4].copy_from_slice(&word.to_le_bytes());
            handle(image);
        }
    }
}

#[test]
fn a_key_below_itself_is_found_and_not_followed() {
    let mut hive = specimen(5);
    let two = hive.key("tree\\one\\two").unwrap().unwrap().cell_offset();
    let tree = hive.key("tree").unwrap().unwrap();
    let (list, tree) = (tree.node.subkey_list, tree.cell_offset());
    hive.bins.write_u32(two, key_node::SUBKEY_COUNT, 1).unwrap();
    hive.bins
        .write_u32(two, key_node::SUBKEY_LIST, list.0)
        .unwrap();
    let faults = hive.check();
    assert!(
        faults
            .iter()
            .any(|fault| fault.fatal && fault.found.contains("something else"))
    );
    assert!(hive.delete_key("tree", 3).is_err());
    hive.bins.write_u32(tree, key_node::PARENT, tree.0).unwrap();
    assert!(hive.key("tree\\one").unwrap().unwrap().path().is_err());
}

#[test]
fn a_list_of_lists_does_not_multiply() {
    // An ri of 400 elements that all point to one leaf of 400.
    let mut hive = Hive::create(5, "ROOT", 1).unwrap();
    for key in 0..400 {
        hive.create_key(&format!("p\\k{key:03}"), 2).unwrap();
    }
    let key = hive.key("p").unwrap().unwrap();
    let (leaf, key) = (key.node.subkey_list, key.cell_offset());
    let mut root = b"ri\x90\x01".to_vec();
    root.extend(leaf.0.to_le_bytes().repeat(400));
    let root = hive.allocate_with(&root).unwrap();
    hive.bins
        .write_u32(key, key_node::SUBKEY_LIST, root.0)
        .unwrap();
    hive.bins
        .write_u32(key, key_node::SUBKEY_COUNT, 160_000)
        .unwrap();
    assert!(hive.key("p").unwrap().unwrap().subkeys().is_err());
    assert!(hive.key("p\\k001").is_err());
    assert!(hive.check().iter().any(|fault| fault.fatal));
}

#[test]
fn faults_are_counted_not_hoarded() {
    let mut hive = Hive::create(3, "ROOT", 1).unwrap();
    for key in 0..1500 {
        hive.create_key(&format!("p\\k{key:04}"), 2).unwrap();
    }
    let keys: Vec<CellOffset> = {
        let key = hive.key("p").unwrap().unwrap();
        key.subkeys()
            .unwrap()
            .iter()
            .map(Key::cell_offset)
            .collect()
    };
    for key in keys {
        hive.bins.write_u32(key, key_node::PARENT, 0).unwrap();
    }
    let faults = hive.check();
    assert_eq!(faults.len(), check::MAX_FAULTS + 1);
    assert_eq!(faults.last().unwrap().found, "500 more");
}
