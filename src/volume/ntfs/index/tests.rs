// SPDX-License-Identifier: GPL-2.0-or-later
//! An index in memory, kept as the bytes that are on a disk, and what the tests of indexes share.
#![allow(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows fails"
)]

mod random;
mod sound;
mod special;

use std::collections::BTreeSet;

use super::change::Change;
use super::collation::{Collation, name_key};
use super::node::{BLOCK_HEADER, Entry, Node, ROOT_HEADER, block_room, new_block};
use super::tree::{Changes, Store, Tree};
use crate::error::{Error, Kind, Result};
use crate::volume::ntfs::multi_sector;
use crate::volume::ntfs::upcase::Upcase;

/// An index in memory, kept as the bytes that are on a disk.
struct Memory {
    root: Vec<u8>,
    /// How many bytes the entries of the root may take.
    room: usize,
    blocks: Vec<Vec<u8>>,
    used: Vec<bool>,
    block_len: usize,
    step: u64,
}

impl Memory {
    /// An empty index as mkntfs makes it.
    fn new(block_len: usize, room: usize) -> Memory {
        let mut root = vec![7; 0x10];
        root.extend([0x10, 0, 0, 0, 0x20, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0]);
        root.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 2, 0, 0, 0]);
        Memory {
            root,
            room,
            blocks: Vec::new(),
            used: Vec::new(),
            block_len,
            step: if block_len < 4096 { 1 } else { 8 },
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Change<'_, Memory>), collation: Collation<'_>) {
        let mut plan = Change::new(&*self, collation);
        change(&mut plan);
        let changes = plan.finish().unwrap();
        self.write(changes).unwrap();
    }
}

impl Store for Memory {
    fn what(&self) -> String {
        "an index in memory".into()
    }

    fn root(&self) -> Result<Node> {
        Node::parse(&self.root, ROOT_HEADER, "root")
    }

    fn block(&self, vcn: u64) -> Result<Node> {
        let number = usize::try_from(vcn / self.step).unwrap_or(usize::MAX);
        let found = self
            .blocks
            .get(number)
            .filter(|_| vcn.is_multiple_of(self.step));
        let none = || Error::damaged("block", vcn, "a block", "none");
        let mut block = found.ok_or_else(none)?.clone();
        multi_sector::restore(&mut block, b"INDX", "block", 0)?;
        if crate::bytes::u64_le(&block, 0x10) != Some(vcn) {
            return Err(none());
        }
        Node::parse(&block, BLOCK_HEADER, "block")
    }

    fn root_room(&self, blocks: u64) -> usize {
        // Growing takes room from the record.
        let growth = if blocks > self.blocks() { 16 } else { 0 };
        self.room.saturating_sub(growth).max(0x18)
    }

    fn block_room(&self) -> usize {
        block_room(self.block_len)
    }

    fn step(&self) -> u64 {
        self.step
    }

    fn blocks(&self) -> u64 {
        self.blocks.len().try_into().unwrap()
    }

    fn is_used(&self, block: u64) -> bool {
        let found = self.used.get(usize::try_from(block).unwrap());
        found.copied().unwrap_or(false)
    }

    fn check(&self, _: &Changes) -> Result<()> {
        Ok(())
    }

    fn write(&mut self, change: Changes) -> Result<()> {
        if let Some(root) = &change.root {
            assert!(root.len() <= self.room.max(0x18), "{}", root.len());
            self.root = root.to_root(&self.root).unwrap();
        }
        for (block, used) in &change.marks {
            let number = usize::try_from(*block).unwrap();
            if number >= self.used.len() {
                assert_eq!(number, self.used.len(), "blocks are taken in order");
                self.used.push(false);
                self.blocks.push(vec![0xEE; self.block_len]);
            }
            assert_ne!(self.used[number], *used);
            self.used[number] = *used;
        }
        for (vcn, (node, fresh)) in &change.blocks {
            let number = usize::try_from(vcn / self.step).unwrap();
            assert!(self.used[number]);
            let mut block = match fresh {
                true => new_block(self.block_len, *vcn).unwrap(),
                false => {
                    let mut block = self.blocks[number].clone();
                    multi_sector::restore(&mut block, b"INDX", "block", 0).unwrap();
                    block
                }
            };
            assert!(node.write(&mut block, BLOCK_HEADER));
            assert!(multi_sector::protect(&mut block));
            self.blocks[number] = block;
        }
        Ok(())
    }
}

/// All that a checker of volumes would look at. Returns the entries in order and the depth.
fn check(store: &Memory, collation: Collation<'_>) -> (Vec<Vec<u8>>, usize) {
    fn look(
        store: &Memory,
        node: Node,
        depth: usize,
        reached: &mut BTreeSet<u64>,
        found: &mut Vec<Vec<u8>>,
        leaves: &mut BTreeSet<usize>,
    ) {
        assert!(depth == 1 || !node.is_leaf() || !node.entries().is_empty());
        if node.is_leaf() {
            leaves.insert(depth);
        }
        for slot in 0..=node.entries().len() {
            if let Some(vcn) = node.child(slot) {
                assert!(reached.insert(vcn / store.step), "reached twice");
                let below = store.block(vcn).unwrap();
                assert!(below.fits());
                look(store, below, depth + 1, reached, found, leaves);
            }
            found.extend(node.entries().get(slot).map(|e| e.bytes().to_vec()));
        }
    }
    let mut found = Vec::new();
    let (mut reached, mut leaves) = (BTreeSet::new(), BTreeSet::new());
    let root = store.root().unwrap();
    look(store, root, 1, &mut reached, &mut found, &mut leaves);
    assert_eq!(leaves.len(), 1, "leaves at different depths");
    let used = (0..store.blocks()).filter(|block| store.is_used(*block));
    assert_eq!(used.collect::<BTreeSet<_>>(), reached);
    let keys: Vec<Vec<u8>> = found.iter().map(|bytes| key_of(bytes)).collect();
    for pair in keys.windows(2) {
        assert_eq!(
            collation.compare(&pair[0], &pair[1]),
            std::cmp::Ordering::Less
        );
    }
    (found, leaves.pop_last().unwrap())
}

fn key_of(bytes: &[u8]) -> Vec<u8> {
    Entry::new(bytes).unwrap().key().to_vec()
}

/// An entry with this key; `data` is what a view has behind its key.
fn entry(head: u64, key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = head.to_le_bytes().to_vec();
    let len = (0x10 + key.len() + data.len()).next_multiple_of(8);
    bytes.extend(u16::try_from(len).unwrap().to_le_bytes());
    bytes.extend(u16::try_from(key.len()).unwrap().to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(key);
    bytes.extend(data);
    bytes.resize(len, 0);
    bytes
}

/// What a key is in the model: compared as the index has to.
type ModelKey = Vec<u32>;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Keys {
    Names(usize),
    Ulong,
    Hash,
}

impl Keys {
    fn collation(self, upcase: &Upcase) -> Collation<'_> {
        match self {
            Keys::Names(_) => Collation::FileName(upcase),
            Keys::Ulong => Collation::Ulong,
            Keys::Hash => Collation::SecurityHash,
        }
    }

    /// The entry that `seed` stands for; equal seeds have equal keys.
    fn make(self, seed: u32, head: u64) -> (ModelKey, Vec<u8>) {
        match self {
            Keys::Names(longest) => {
                let units = ["a", "B", "_", "é", "日", "Z", ".", "1"];
                let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
                let mut name = format!("{seed:x}");
                while name.encode_utf16().count() < (seed as usize % longest).max(1) {
                    state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
                    name.insert_str(0, units[(state >> 16) as usize % units.len()]);
                }
                // Only the case differs.
                if head % 2 == 1 {
                    name.make_ascii_uppercase();
                }
                let units: Vec<u16> = name.encode_utf16().collect();
                let upper = name.to_ascii_uppercase();
                let model = upper.encode_utf16().map(u32::from).collect();
                (model, entry(head, &name_key(&units).unwrap(), &[]))
            }
            Keys::Ulong => (vec![seed], entry(head, &seed.to_le_bytes(), &[9; 20])),
            Keys::Hash => {
                let hash = seed.wrapping_mul(2_654_435_761) & 0xF000_0FFF;
                let key = [hash.to_le_bytes(), seed.to_le_bytes()].concat();
                (vec![hash, seed], entry(head, &key, &[8; 24]))
            }
        }
    }
}

/// Numbers that are the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }
}
