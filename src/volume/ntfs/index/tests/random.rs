// SPDX-License-Identifier: GPL-2.0-or-later
//! Random changes to indexes in memory, each compared with an ordered map and checked to the last byte.

use std::collections::BTreeMap;

use super::*;

/// An index beside its model.
struct Subject<'u> {
    store: Memory,
    keys: Keys,
    collation: Collation<'u>,
    model: BTreeMap<ModelKey, Vec<u8>>,
    depth: usize,
}

impl Subject<'_> {
    fn insert(&mut self, seed: u32, head: u64) {
        let (key, bytes) = self.keys.make(seed, head);
        let known = self.model.contains_key(&key);
        let mut plan = Change::new(&self.store, self.collation);
        let done = plan.insert(&bytes);
        if known {
            assert_eq!(done.unwrap_err().kind(), Kind::Refused);
            return;
        }
        done.unwrap();
        let changes = plan.finish().unwrap();
        self.store.write(changes).unwrap();
        self.model.insert(key, bytes);
        self.check();
    }

    fn remove(&mut self, seed: u32) {
        let (key, bytes) = self.keys.make(seed, 0);
        // The key as it is stored: its case may be another one.
        let stored = self.model.remove(&key).unwrap_or(bytes);
        let known = self.find(&key_of(&stored)).is_some();
        let mut removed = None;
        self.store.change(
            |plan| removed = plan.remove(&key_of(&stored)).unwrap(),
            self.collation,
        );
        assert_eq!(removed, known.then_some(stored));
        self.check();
    }

    fn find(&self, key: &[u8]) -> Option<Vec<u8>> {
        Tree::new(&self.store, self.collation).find(key).unwrap()
    }

    fn check(&mut self) {
        let (found, depth) = check(&self.store, self.collation);
        let model: Vec<&Vec<u8>> = self.model.values().collect();
        assert!(found.iter().eq(model.iter().copied()));
        self.depth = self.depth.max(depth);
    }

    /// What the reading functions say.
    fn ask(&self, seed: u32, limit: usize) {
        let tree = || Tree::new(&self.store, self.collation);
        assert_eq!(tree().last().unwrap().as_ref(), self.model.values().last());
        let (model, bytes) = self.keys.make(seed, 1);
        let from = tree().entries_from(&key_of(&bytes), limit).unwrap();
        let mut expected: Vec<Vec<u8>> = self
            .model
            .range(model.clone()..)
            .map(|e| e.1.clone())
            .collect();
        // A name in another case may come before the one that is sought.
        if expected.first().is_some_and(|first| {
            self.collation
                .compare(&key_of(first), &key_of(&bytes))
                .is_lt()
        }) {
            expected.remove(0);
        }
        expected.truncate(limit);
        assert_eq!(from, expected);
        if let Some(stored) = self.model.get(&model) {
            assert_eq!(self.find(&key_of(stored)).as_ref(), Some(stored));
        }
    }
}

#[test]
fn ten_thousand_random_steps_for_each_collation() {
    let upcase = Upcase::ascii();
    // Keys, block length, room of the root, how many keys there are, what depth is reached.
    let cases = [
        (Keys::Names(60), 512, 0x18, 150, 5),
        (Keys::Names(60), 512, 2000, 150, 3),
        (Keys::Names(190), 1024, 300, 200, 4),
        (Keys::Names(255), 4096, 0x28, 300, 3),
        (Keys::Names(255), 4096, 700, 300, 3),
        (Keys::Ulong, 512, 0x18, 300, 4),
        (Keys::Ulong, 512, 600, 300, 3),
        (Keys::Ulong, 1024, 3000, 500, 2),
        (Keys::Ulong, 4096, 300, 900, 2),
        (Keys::Hash, 512, 0x18, 250, 4),
        (Keys::Hash, 512, 900, 250, 3),
        (Keys::Hash, 1024, 300, 400, 3),
        (Keys::Hash, 4096, 300, 900, 2),
    ];
    for (keys, block_len, room, universe, depth) in cases {
        let of_its_kind = cases
            .iter()
            .filter(|case| std::mem::discriminant(&case.0) == std::mem::discriminant(&keys));
        let steps = 10_000 / of_its_kind.count() + 1;
        let mut subject = Subject {
            store: Memory::new(block_len, room),
            keys,
            collation: keys.collation(&upcase),
            model: BTreeMap::new(),
            depth: 0,
        };
        let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
        let mut growing = true;
        let mut most = 0;
        for step in 0..steps {
            let seed = u32::try_from(numbers.next(universe)).unwrap();
            let size = subject.model.len() as u64;
            most = most.max(size);
            growing = match growing {
                true => size < universe * 9 / 10,
                // Down to nothing every other time.
                false => size == 0 || (size < universe / 5 && step % 7 == 0),
            };
            // Removing what is there, not what is not, mostly.
            match numbers.next(10) < if growing { 8 } else { 1 } {
                true => subject.insert(seed, numbers.next(1000)),
                false if numbers.next(10) == 0 => subject.remove(seed),
                false => {
                    let seeds: Vec<u32> = (0..40)
                        .map(|_| u32::try_from(numbers.next(universe)).unwrap())
                        .filter(|seed| subject.model.contains_key(&keys.make(*seed, 0).0))
                        .collect();
                    subject.remove(seeds.first().copied().unwrap_or(seed));
                }
            }
            if step % 5 == 0 {
                subject.ask(seed, 1 + step % 50);
            }
        }
        // And empty it: every block is free again and the root as small as at first.
        for seed in 0..u32::try_from(universe).unwrap() {
            subject.remove(seed);
        }
        assert!(subject.store.used.iter().all(|used| !used));
        assert_eq!(subject.store.root, Memory::new(block_len, room).root);
        eprintln!(
            "{keys:?} {block_len} {room}: depth {}, {most} entries, {} blocks",
            subject.depth,
            subject.store.blocks.len()
        );
        assert!(
            subject.depth >= depth,
            "{keys:?} {block_len} {room}: {}",
            subject.depth
        );
    }
}
