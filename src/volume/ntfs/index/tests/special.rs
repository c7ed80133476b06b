// SPDX-License-Identifier: GPL-2.0-or-later
//! What random changes do not meet: leaves that others left empty, disorder, damage, entries that are none.

use std::collections::BTreeSet;

use super::*;

/// A leaf with these entries.
fn leaf(entries: &[Vec<u8>]) -> Node {
    let mut node = Node::empty();
    for (slot, bytes) in entries.iter().enumerate() {
        node.insert(slot, Entry::new(bytes).unwrap());
    }
    node
}

fn ulong(id: u32) -> Vec<u8> {
    Keys::Ulong.make(id, 0).1
}

/// An index of two levels: the root parts leaves with the ids between them. All of it as bytes.
fn two_levels(parts: &[u32], leaves: &[&[u32]]) -> Memory {
    let mut store = Memory::new(512, 1000);
    let mut root = Node::above(u64::try_from(leaves.len() - 1).unwrap(), 0);
    for (slot, id) in parts.iter().enumerate() {
        let child = Some(u64::try_from(slot).unwrap());
        let entry = Entry::new(&ulong(*id)).unwrap();
        root.insert(slot, entry.with_child(child));
    }
    store.root = root.to_root(&store.root).unwrap();
    for (vcn, ids) in (0..).zip(leaves) {
        let node = leaf(&ids.iter().map(|id| ulong(*id)).collect::<Vec<_>>());
        let mut block = new_block(512, vcn).unwrap();
        assert!(node.write(&mut block, BLOCK_HEADER) && multi_sector::protect(&mut block));
        store.blocks.push(block);
        store.used.push(true);
    }
    store
}

/// The ids in an index, in order.
fn ids(store: &Memory) -> Vec<u32> {
    let tree = || Tree::new(store, Collation::Ulong);
    let found = tree().entries_from(&[0; 4], usize::MAX).unwrap();
    let id = |bytes: &Vec<u8>| crate::bytes::u32_le(bytes, 0x10).unwrap();
    assert_eq!(tree().last().unwrap().as_ref(), found.last());
    found.iter().map(id).collect()
}

#[test]
fn empty_leaves_that_others_left_do_no_harm() {
    // One at each end, one in the middle, two beside each other, and nothing else at all.
    let cases: [(&[u32], &[&[u32]]); 5] = [
        (&[10, 20], &[&[], &[15], &[25]]),
        (&[10, 20], &[&[5], &[], &[25]]),
        (&[10, 20], &[&[5], &[15], &[]]),
        (&[10, 20, 30], &[&[5], &[], &[], &[35]]),
        (&[10, 20], &[&[], &[], &[]]),
    ];
    for (parts, leaves) in cases {
        let all: BTreeSet<u32> = parts
            .iter()
            .chain(leaves.iter().copied().flatten())
            .copied()
            .collect();
        let whole = || two_levels(parts, leaves);
        assert_eq!(ids(&whole()), all.iter().copied().collect::<Vec<_>>());
        for id in &all {
            let mut store = whole();
            let mut removed = None;
            let key = id.to_le_bytes();
            store.change(
                |plan| removed = plan.remove(&key).unwrap(),
                Collation::Ulong,
            );
            assert_eq!(removed, Some(ulong(*id)), "{parts:?} {leaves:?}: {id}");
            let left: Vec<u32> = all.iter().copied().filter(|other| other != id).collect();
            assert_eq!(ids(&store), left);
        }
        for id in [1, 12, 22, 40] {
            let mut store = whole();
            store.change(|plan| plan.insert(&ulong(id)).unwrap(), Collation::Ulong);
            let mut more = all.clone();
            more.insert(id);
            assert_eq!(ids(&store), more.into_iter().collect::<Vec<_>>());
        }
        // And all of it.
        let mut store = whole();
        for id in &all {
            store.change(
                |plan| assert!(plan.remove(&id.to_le_bytes()).unwrap().is_some()),
                Collation::Ulong,
            );
        }
        assert!(ids(&store).is_empty());
    }
}

#[test]
fn what_is_not_in_order_is_left_alone() {
    let fails = |store: &Memory, id: u32| {
        let mut plan = Change::new(store, Collation::Ulong);
        let error = plan
            .insert(&ulong(id))
            .and_then(|()| plan.finish().map(|_| ()));
        error.unwrap_err()
    };
    // Keys out of order in a leaf, a leaf beyond the entries that lead to it, a block reached twice.
    let store = two_levels(&[10], &[&[5, 3], &[15]]);
    assert_eq!(fails(&store, 4).kind(), Kind::Damaged);
    let store = two_levels(&[10], &[&[5, 12], &[15]]);
    assert_eq!(fails(&store, 4).kind(), Kind::Damaged);
    let store = two_levels(&[10], &[&[5], &[8, 15]]);
    assert_eq!(fails(&store, 20).kind(), Kind::Damaged);

    // A block that is full has to be split; then what $BITMAP says matters.
    let full: Vec<u32> = (100..111).collect();
    let store = || two_levels(&[10], &[&[5], &full]);
    let mut split = store();
    split.change(|plan| plan.insert(&ulong(200)).unwrap(), Collation::Ulong);
    assert_eq!(split.blocks.len(), 3);
    let mut unmarked = store();
    unmarked.used[0] = false;
    assert!(fails(&unmarked, 200).to_string().contains("$BITMAP"));
    // A free block is taken before the index grows.
    let mut gap = two_levels(&[10], &[&[5], &full, &[]]);
    let mut root = Node::above(1, 0);
    root.insert(0, Entry::new(&ulong(10)).unwrap().with_child(Some(0)));
    gap.root = root.to_root(&gap.root).unwrap();
    gap.used[2] = false;
    gap.change(|plan| plan.insert(&ulong(200)).unwrap(), Collation::Ulong);
    assert_eq!((gap.blocks.len(), gap.used[2]), (3, true));
    check(&gap, Collation::Ulong);

    // A root that leads to itself through a block.
    let mut store = two_levels(&[10], &[&[5], &[15]]);
    let mut node = Node::above(0, 0);
    node.insert(0, Entry::new(&ulong(4)).unwrap().with_child(Some(0)));
    let mut block = new_block(512, 0).unwrap();
    assert!(node.write(&mut block, BLOCK_HEADER) && multi_sector::protect(&mut block));
    store.blocks[0] = block;
    assert_eq!(fails(&store, 4).kind(), Kind::Refused);
    assert_eq!(fails(&store, 5).kind(), Kind::Damaged);
    let mut tree = Tree::new(&store, Collation::Ulong);
    assert!(tree.entries_from(&[0; 4], 100).is_err());
}

#[test]
fn entries_are_refused_that_are_none_or_too_long() {
    let upcase = Upcase::ascii();
    let names = Collation::FileName(&upcase);
    let named = |units: usize| entry(1, &name_key(&vec![0x41; units]).unwrap(), &[]);
    for (block_len, most) in [(512, 63), (1024, 191), (4096, 255)] {
        let store = Memory::new(block_len, 300);
        let insert = |units: usize| Change::new(&store, names).insert(&named(units));
        insert(most).unwrap();
        if most < 255 {
            let error = insert(most + 4).unwrap_err();
            assert_eq!(error.kind(), Kind::Refused);
            assert!(error.to_string().contains("small blocks"), "{error}");
        }
    }
    let store = Memory::new(4096, 300);
    let insert = |bytes: &[u8]| Change::new(&store, names).insert(bytes).unwrap_err().kind();
    let good = named(5);
    assert_eq!(insert(&good[..good.len() - 8]), Kind::Damaged);
    assert_eq!(insert(&[&good[..], &[0; 8]].concat()), Kind::Damaged);
    assert_eq!(insert(&ulong(5)), Kind::Damaged);
    for (place, value) in [(0x0A, 0), (0x0A, 0xFF), (0x0C, 1), (0x0C, 2), (0x50, 200)] {
        let mut bad = good.clone();
        bad[place] = value;
        assert_eq!(insert(&bad), Kind::Damaged, "{place:#x}");
    }
}

#[test]
fn names_that_differ_in_case_stay_apart_and_none_is_added() {
    let upcase = Upcase::ascii();
    let names = Collation::FileName(&upcase);
    let named = |name: &str| {
        let units: Vec<u16> = name.encode_utf16().collect();
        entry(7, &name_key(&units).unwrap(), &[])
    };
    // As a folder with case sensitivity has them.
    let mut store = Memory::new(512, 1000);
    let all = ["FILE", "File", "file"].map(named);
    store.root = leaf(&all).to_root(&store.root).unwrap();
    for new in ["fILE", "FiLe"] {
        let error = Change::new(&store, names).insert(&named(new)).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
    }
    let mut removed = None;
    store.change(
        |plan| removed = plan.remove(&key_of(&all[1])).unwrap(),
        names,
    );
    assert_eq!(removed.as_ref(), Some(&all[1]));
    let (found, _) = check(&store, names);
    assert_eq!(found, [all[0].clone(), all[2].clone()]);
}

#[test]
fn overwriting_keeps_the_key_and_the_lengths() {
    let mut store = two_levels(&[10], &[&[5], &[15]]);
    for id in [5_u32, 10, 15] {
        let key = id.to_le_bytes();
        store.change(
            |plan| assert!(plan.overwrite(&key, 0x14, &[1, 2, 3]).unwrap()),
            Collation::Ulong,
        );
        let found = Tree::new(&store, Collation::Ulong)
            .find(&key)
            .unwrap()
            .unwrap();
        let mut expected = ulong(id);
        expected[0x14..0x17].copy_from_slice(&[1, 2, 3]);
        assert_eq!(found, expected);
        for (offset, data) in [
            (0x10, &[99][..]),
            (8, &[0]),
            (0x0C, &[1]),
            (0x27, &[1, 2]),
            (usize::MAX, &[1]),
        ] {
            let mut plan = Change::new(&store, Collation::Ulong);
            assert!(plan.overwrite(&key, offset, data).is_err(), "{offset:#x}");
        }
    }
    let mut plan = Change::new(&store, Collation::Ulong);
    assert!(!plan.overwrite(&[7, 0, 0, 0], 0x14, &[1]).unwrap());
}

#[test]
fn damaged_nodes_end_in_errors() {
    let upcase = Upcase::ascii();
    for (keys, block_len) in [
        (Keys::Names(40), 512),
        (Keys::Hash, 1024),
        (Keys::Ulong, 4096),
    ] {
        let collation = keys.collation(&upcase);
        let mut store = Memory::new(block_len, 200);
        let count = 400;
        for seed in 0..count {
            let (_, bytes) = keys.make(seed * 7 % count, 2);
            store.change(|plan| plan.insert(&bytes).unwrap(), collation);
        }
        store.used.iter_mut().for_each(|used| *used = true);
        let mut numbers = Numbers(0x2545_F491_4F6C_DD1D);
        let mut noticed = 0;
        for _ in 0..2000 {
            let choice = usize::try_from(numbers.next(store.blocks.len() as u64 + 1)).unwrap();
            let place = store.blocks.get_mut(choice).unwrap_or(&mut store.root);
            let before = place.clone();
            // What two bytes of each 512 are is checked elsewhere.
            let len = place.len().min(500) as u64;
            let at = usize::try_from(numbers.next(len)).unwrap();
            place[at] = [0, 0xFF, 1, 8, 0x10, 0x80][usize::try_from(numbers.next(6)).unwrap()];
            let seed = u32::try_from(numbers.next(u64::from(count))).unwrap();
            let (_, bytes) = keys.make(seed, 2);
            let key = key_of(&bytes);
            let mut results = Vec::new();
            let tree = || Tree::new(&store, collation);
            results.push(tree().find(&key).is_ok());
            results.push(tree().last().is_ok());
            results.push(tree().entries_from(&key, 1000).is_ok());
            let mut plan = Change::new(&store, collation);
            let removed = plan.remove(&key);
            results.push(removed.is_ok());
            if removed.is_ok() {
                results.push(plan.insert(&bytes).is_ok());
                results.push(plan.finish().is_ok());
            }
            noticed += usize::from(results.contains(&false));
            match store.blocks.get_mut(choice) {
                Some(block) => *block = before,
                None => store.root = before,
            }
        }
        eprintln!("{keys:?}: {noticed} of 2000 noticed");
        assert!(noticed > 50);
    }
}
