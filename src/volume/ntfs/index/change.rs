// SPDX-License-Identifier: GPL-2.0-or-later
//! Changing an index: all of it worked out in memory, then handed to the store in one piece.
//!
//! ```text
//! a block is full:   [a b c d e]          ->  parent gets c;  [a b] stays, [d e] goes to a free block
//! the root is full:  root [p q]           ->  root [end] -> block [p q]: the tree gets a level
//! from inner node:   [d] over [a b c]     ->  [c] over [a b]: the entry before it takes its place
//! a leaf gets empty: [d h] over [], [e f] ->  [h] over [d e f]: what parted them goes to the neighbour
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's index.c, whose results Windows takes. Nodes are never
//! merged otherwise: Windows does not either. A block is taken only where $BITMAP says that it is free and no
//! entry points to it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};

use super::collation::Collation;
use super::node::{Entry, Node, SMALLEST_INNER};
use super::tree::{Changes, DEPTH, Place, Step, Store, Tree, exactly};

/// Changes to an index that are not written yet.
#[derive(Debug)]
pub(super) struct Change<'s, S> {
    tree: Tree<'s, S>,
    changed: BTreeSet<Place>,
    /// Blocks that were free before.
    fresh: BTreeSet<u64>,
    marks: BTreeMap<u64, bool>,
    /// $BITMAP was compared with what entries point to.
    bitmap_checked: bool,
}

impl<'s, S: Store> Change<'s, S> {
    /// No change yet.
    pub(super) fn new(store: &'s S, collation: Collation<'s>) -> Self {
        Change {
            tree: Tree::new(store, collation),
            changed: BTreeSet::new(),
            fresh: BTreeSet::new(),
            marks: BTreeMap::new(),
            bitmap_checked: false,
        }
    }

    /// Adds an entry, given as it stands in a leaf. Refused when its key exists, or a name that differs in case only.
    pub(super) fn insert(&mut self, bytes: &[u8]) -> Result<()> {
        let entry = self.new_entry(bytes)?;
        let alike =
            |collation: &Collation<'_>, other: &[u8]| collation.compare_loosely(entry.key(), other);
        if self.tree.descend(&alike)?.1 {
            return Err(Error::refused(
                format!("{} has an entry with this key already", self.what()),
                "choose another name, or remove the old one first",
            ));
        }
        self.add(entry)
    }

    /// Adds an entry whose key there is not.
    fn add(&mut self, entry: Entry) -> Result<()> {
        let (path, _) = self.tree.descend(&exactly(entry.key()))?;
        if let Some(step) = path.last() {
            self.edit(step.place)?.insert(step.slot, entry);
        }
        self.relieve(&path)
    }

    /// Takes the entry with this key out, and returns it; `None` when there is none.
    pub(super) fn remove(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        // Each round but the last removes an empty leaf that something else left; there are seldom any.
        for _ in 0..DEPTH {
            let (path, found) = self.tree.descend(&exactly(key))?;
            let Some(step) = path.last().copied().filter(|_| found) else {
                return Ok(None);
            };
            let Some(vcn) = self.tree.node(step.place)?.child(step.slot) else {
                let removed = self.edit(step.place)?.remove(step.slot);
                if let Some(orphan) = self.prune(&path)? {
                    self.add(orphan)?;
                }
                self.lower()?;
                return Ok(removed.map(|entry| entry.bytes().to_vec()));
            };
            let leaf = self.highest_leaf(&path, vcn)?;
            if let Some(removed) = self.replace_by_predecessor(step, &path, &leaf)? {
                self.lower()?;
                return Ok(Some(removed));
            }
        }
        let found = "one empty leaf beside the other";
        Err(self.tree.damaged(Place::Root, "leaves with entries", found))
    }

    /// Overwrites bytes of the entry with this key, from `offset` in it. False when there is no such entry.
    pub(super) fn overwrite(&mut self, key: &[u8], offset: usize, data: &[u8]) -> Result<bool> {
        let (path, found) = self.tree.descend(&exactly(key))?;
        let Some(step) = path.last().copied().filter(|_| found) else {
            return Ok(false);
        };
        let collation = self.tree.collation;
        let node = self.edit(step.place)?;
        let done = node.patch(step.slot, offset, data);
        let same = node.entries().get(step.slot).is_some_and(|entry| {
            collation.is_key(entry.key()) && collation.compare(entry.key(), key) == Ordering::Equal
        });
        if done && same {
            return Ok(true);
        }
        let found = format!("{} bytes at {offset:#x}", data.len());
        Err(self
            .tree
            .damaged(step.place, "bytes of the entry beside its key", &found))
    }

    /// What is to be written.
    pub(super) fn finish(mut self) -> Result<Changes> {
        let mut changes = Changes::default();
        for place in std::mem::take(&mut self.changed) {
            let Some(node) = self.tree.take(place) else {
                continue;
            };
            match place {
                Place::Root => changes.root = Some(node),
                Place::Block(vcn) => {
                    self.check_used(vcn)?;
                    changes
                        .blocks
                        .insert(vcn, (node, self.fresh.contains(&vcn)));
                }
            }
        }
        // What was taken and given back, or the other way round, is as it was.
        let store = self.tree.store;
        self.marks
            .retain(|block, used| store.is_used(*block) != *used);
        changes.marks = self.marks;
        store.check(&changes)?;
        Ok(changes)
    }

    fn what(&self) -> String {
        self.tree.store.what()
    }

    /// Checks an entry that is to be inserted.
    fn new_entry(&self, bytes: &[u8]) -> Result<Entry> {
        let entry = Entry::new(bytes).filter(|entry| self.tree.collation.is_key(entry.key()));
        let Some(entry) = entry else {
            let found = format!("{} other bytes", bytes.len());
            return Err(Error::damaged(
                self.what(),
                0,
                "a new entry of its kind",
                found,
            ));
        };
        // Two entries with children and the end must fit into a block: else it cannot always be split.
        let most = self.tree.store.block_room().saturating_sub(SMALLEST_INNER);
        let most = most.checked_div(2).unwrap_or(0).saturating_sub(8);
        if bytes.len() > most {
            return Err(Error::refused(
                format!(
                    "{} has small blocks: an entry may have {most} bytes, and the new one would have {}",
                    self.what(),
                    bytes.len()
                ),
                "choose a shorter name",
            ));
        }
        Ok(entry)
    }

    /// A node that is going to change.
    fn edit(&mut self, place: Place) -> Result<&mut Node> {
        self.changed.insert(place);
        self.tree.node(place)
    }

    /// Splits what is too full on the way from the root to a node that has grown.
    fn relieve(&mut self, path: &[Step]) -> Result<()> {
        let mut path = path;
        while let Some((step, above)) = path.split_last() {
            let (Place::Block(vcn), Some(parent)) = (step.place, above.last()) else {
                return self.relieve_root();
            };
            if self.tree.node(step.place)?.fits() {
                return Ok(());
            }
            let right = self.split(vcn, *parent)?;
            for place in [step.place, Place::Block(right)] {
                if !self.tree.node(place)?.fits() {
                    let found = "less than two entries need";
                    return Err(self
                        .tree
                        .damaged(place, "room for the half of a block", found));
                }
            }
            path = above;
        }
        Ok(())
    }

    /// Splits a block; `parent` is the step above it. Returns the VCN of the right half.
    fn split(&mut self, vcn: u64, parent: Step) -> Result<u64> {
        let right_vcn = self.take_block()?;
        let room = self.tree.store.block_room();
        let Some((median, mut right)) = self.edit(Place::Block(vcn))?.split() else {
            return Err(Error::refused(
                format!("{} has no room: two entries fill block {vcn}", self.what()),
                "choose a shorter name",
            ));
        };
        right.room = room;
        self.put_fresh(right_vcn, right);
        let node = self.edit(parent.place)?;
        node.insert(parent.slot, median.with_child(Some(vcn)));
        node.set_child(parent.slot.saturating_add(1), Some(right_vcn));
        Ok(right_vcn)
    }

    /// Moves what is in the root into blocks below it, until the root fits into its record.
    fn relieve_root(&mut self) -> Result<()> {
        for _ in 0..DEPTH {
            if self.root_fits(Place::Root)? {
                return Ok(());
            }
            let vcn = self.take_block()?;
            let above = Node::above(vcn, 0);
            let mut below = std::mem::replace(self.edit(Place::Root)?, above);
            if below.len() <= SMALLEST_INNER {
                break;
            }
            below.room = self.tree.store.block_room();
            self.put_fresh(vcn, below);
            // Seldom more than one block: only where a root in a large record has small blocks.
            let mut slot = 0_usize;
            while let Some(vcn) = self.tree.node(Place::Root)?.child(slot) {
                let parent = Step {
                    place: Place::Root,
                    slot,
                };
                if self.tree.node(Place::Block(vcn))?.fits() {
                    slot = slot.saturating_add(1);
                } else {
                    self.split(vcn, parent)?;
                }
            }
        }
        Err(Error::refused(
            format!(
                "{}: there is no room in the MFT record of the root",
                self.what()
            ),
            "choose a shorter name, or let Windows do it",
        ))
    }

    /// The entries of this node have room in the root.
    fn root_fits(&mut self, place: Place) -> Result<bool> {
        let step = self.tree.store.step().max(1);
        let taken = self.fresh.last().and_then(|vcn| vcn.checked_div(step));
        let blocks = taken.map_or(0, |block| block.saturating_add(1));
        let room = self
            .tree
            .store
            .root_room(blocks.max(self.tree.store.blocks()));
        Ok(self.tree.node(place)?.len() <= room)
    }

    /// The way on from `path` to the leaf with the highest keys below the block.
    fn highest_leaf(&mut self, path: &[Step], vcn: u64) -> Result<Vec<Step>> {
        let mut path = path.to_vec();
        let mut next = Some(vcn);
        while let Some(vcn) = next {
            let place = Place::Block(vcn);
            self.tree.check_step(&path, place)?;
            let node = self.tree.node(place)?;
            let slot = node.entries().len();
            next = node.child(slot);
            path.push(Step { place, slot });
        }
        Ok(path)
    }

    /// Puts the last entry of a leaf into the place of the one at `step` of an inner node, and returns that. `None`
    /// when there was no last entry; then the leaf has gone.
    fn replace_by_predecessor(
        &mut self,
        step: Step,
        path: &[Step],
        leaf: &[Step],
    ) -> Result<Option<Vec<u8>>> {
        let mut removed = None;
        if let Some(last) = leaf.last()
            && let Some(slot) = last.slot.checked_sub(1)
        {
            let predecessor = self.edit(last.place)?.remove(slot);
            let Some(predecessor) = predecessor else {
                return Ok(None);
            };
            let between = self.tree.entry(step)?.and_then(|bytes| Entry::new(&bytes));
            let between = between.is_some_and(|old| {
                let compare = self.tree.collation.compare(predecessor.key(), old.key());
                compare == Ordering::Less
            });
            if !between {
                let found = "one out of order";
                return Err(self
                    .tree
                    .damaged(last.place, "keys in ascending order", found));
            }
            removed = self.edit(step.place)?.replace(step.slot, predecessor);
        }
        let orphan = self.prune(leaf)?;
        // The predecessor may be longer than what it replaced.
        self.relieve(path)?;
        if let Some(orphan) = orphan {
            self.add(orphan)?;
        }
        Ok(removed.map(|entry| entry.bytes().to_vec()))
    }

    /// Takes the leaf at the end of the path out of the tree when it is empty, and nodes above it that have nothing
    /// else below them. Returns the entry that parted it from its neighbour, which has no place now.
    fn prune(&mut self, path: &[Step]) -> Result<Option<Entry>> {
        let mut path = path;
        while let Some((step, above)) = path.split_last() {
            let node = self.tree.node(step.place)?;
            if !node.is_leaf() || !node.entries().is_empty() {
                return Ok(None);
            }
            let (Place::Block(vcn), Some(parent)) = (step.place, above.last()) else {
                return Ok(None);
            };
            self.free_block(vcn);
            let node = self.edit(parent.place)?;
            let count = node.entries().len();
            if parent.slot < count {
                return Ok(node.remove(parent.slot).map(|entry| entry.with_child(None)));
            }
            // It was the last child: the one before it becomes the last.
            let last = count.checked_sub(1);
            let before = last.and_then(|last| node.child(last));
            node.set_child(count, before);
            if let Some(last) = last {
                return Ok(node.remove(last).map(|entry| entry.with_child(None)));
            }
            path = above;
        }
        Ok(None)
    }

    /// A root with one child and nothing else takes over what the child has, where that has children in turn: the
    /// tree loses a level. (A root over one leaf is what Windows leaves, too.)
    fn lower(&mut self) -> Result<()> {
        for _ in 0..DEPTH {
            let root = self.tree.node(Place::Root)?;
            let (true, Some(vcn)) = (root.entries().is_empty(), root.child(0)) else {
                break;
            };
            let place = Place::Block(vcn);
            if self.tree.node(place)?.is_leaf() || !self.root_fits(place)? {
                break;
            }
            if let Some(node) = self.tree.take(place) {
                *self.edit(Place::Root)? = node;
            }
            self.free_block(vcn);
        }
        Ok(())
    }

    /// Puts a node into a block that was free.
    fn put_fresh(&mut self, vcn: u64, node: Node) {
        self.tree.put(Place::Block(vcn), node);
        self.changed.insert(Place::Block(vcn));
    }

    fn block_number(&self, vcn: u64) -> Result<u64> {
        let step = self.tree.store.step();
        let block = vcn.checked_div(step).filter(|_| vcn.is_multiple_of(step));
        block.ok_or_else(|| {
            let expected = format!("a multiple of {step}");
            self.tree
                .damaged(Place::Block(vcn), &expected, "another VCN")
        })
    }

    fn is_used(&self, block: u64) -> bool {
        let mark = self.marks.get(&block).copied();
        mark.unwrap_or_else(|| self.tree.store.is_used(block))
    }

    fn check_used(&self, vcn: u64) -> Result<()> {
        if self.is_used(self.block_number(vcn)?) {
            return Ok(());
        }
        let found = "an entry points to it";
        Err(self.tree.damaged(
            Place::Block(vcn),
            "a block that $BITMAP says is used",
            found,
        ))
    }

    fn free_block(&mut self, vcn: u64) {
        self.tree.take(Place::Block(vcn));
        self.changed.remove(&Place::Block(vcn));
        if let Ok(block) = self.block_number(vcn) {
            self.marks.insert(block, false);
        }
    }

    /// Takes the first free block; its VCN.
    fn take_block(&mut self) -> Result<u64> {
        if !self.bitmap_checked {
            self.check_bitmap()?;
            self.bitmap_checked = true;
        }
        let mut block = 0_u64;
        while self.is_used(block) {
            block = block.saturating_add(1);
        }
        let vcn = block.saturating_mul(self.tree.store.step());
        self.marks.insert(block, true);
        self.fresh.insert(vcn);
        Ok(vcn)
    }

    /// Each block that an entry on the disk points to must be marked as used, and be pointed to once: else a free one
    /// is not free. Leaves are not read: the first one tells how deep they are.
    fn check_bitmap(&self) -> Result<()> {
        let mut tree = Tree::new(self.tree.store, self.tree.collation);
        let (path, _) = tree.descend(&|_, _| Ordering::Less)?;
        let mut found = BTreeSet::new();
        let mut level = vec![Place::Root];
        for _ in 1..path.len() {
            let mut next = Vec::new();
            for place in level {
                for vcn in tree.node(place)?.children().collect::<Vec<_>>() {
                    let child = Place::Block(vcn);
                    if !found.insert(vcn) {
                        return Err(tree.damaged(child, "a tree", "a block that is reached twice"));
                    }
                    if !tree.store.is_used(self.block_number(vcn)?) {
                        let expected = "a block that $BITMAP says is used";
                        return Err(tree.damaged(child, expected, "an entry points to it"));
                    }
                    next.push(child);
                }
                tree.take(place);
            }
            level = next;
        }
        Ok(())
    }
}
