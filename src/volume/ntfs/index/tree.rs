// SPDX-License-Identifier: GPL-2.0-or-later
//! Finding things in an index. Each node holds entries in order; the keys below an entry's child come before it.
//!
//! ```text
//!            [ d | h | end ]          a B-tree: inner nodes hold entries, too
//!             /    |     \
//!   [a b c end] [e f end] [i k end]   all leaves are at the same depth
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. What a node says is not believed: keys must be well
//! formed and ascend, lie between the entries that led to the node, and no node may be met twice on one way.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};

use super::collation::Collation;
use super::node::Node;

/// The most levels that are followed. With ntfs-3g the number is the same; a tree of 32 levels has billions of nodes.
pub(super) const DEPTH: usize = 32;

/// Where the nodes of one index are kept.
pub(super) trait Store {
    /// What the index is called in errors.
    fn what(&self) -> String;

    /// The root.
    fn root(&self) -> Result<Node>;

    /// The block with this VCN.
    fn block(&self, vcn: u64) -> Result<Node>;

    /// How many bytes the entries of the root may take once the index has so many blocks, used or not.
    fn root_room(&self, blocks: u64) -> usize;

    /// How many bytes the entries of a new block may take.
    fn block_room(&self) -> usize;

    /// By how much the VCNs of neighbouring blocks differ.
    fn step(&self) -> u64;

    /// How many blocks there are, used or not.
    fn blocks(&self) -> u64;

    /// $BITMAP says that the block is used; counted from 0.
    fn is_used(&self, block: u64) -> bool;

    /// Refuses a change for which records have no room. Nothing is written.
    fn check(&self, change: &Changes) -> Result<()>;

    /// Writes a change.
    fn write(&mut self, change: Changes) -> Result<()>;
}

/// What a change to an index leaves to be written.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The root, where it changes.
    pub(super) root: Option<Node>,
    /// Changed blocks by VCN; true for those that were not used before.
    pub(super) blocks: BTreeMap<u64, (Node, bool)>,
    /// Blocks that become used or free, counted from 0.
    pub(super) marks: BTreeMap<u64, bool>,
}

impl Changes {
    /// How many blocks there must be for it.
    pub(super) fn blocks(&self) -> u64 {
        let taken = self.marks.iter().rfind(|mark| *mark.1);
        taken.map_or(0, |(block, _)| block.saturating_add(1))
    }
}

/// Which node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The value of $INDEX_ROOT.
    Root,
    /// The block with this VCN.
    Block(u64),
}

/// One node on the way to an entry, and the slot in it where the way goes on or ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) place: Place,
    pub(super) slot: usize,
}

/// An index with those of its nodes that were looked at.
#[derive(Debug)]
pub(super) struct Tree<'s, S> {
    pub(super) store: &'s S,
    pub(super) collation: Collation<'s>,
    nodes: BTreeMap<Place, Node>,
}

impl<'s, S: Store> Tree<'s, S> {
    /// The index in `store`.
    pub(super) fn new(store: &'s S, collation: Collation<'s>) -> Self {
        Tree {
            store,
            collation,
            nodes: BTreeMap::new(),
        }
    }

    /// A node, checked when it is first looked at.
    pub(super) fn node(&mut self, place: Place) -> Result<&mut Node> {
        if !self.nodes.contains_key(&place) {
            let node = match place {
                Place::Root => self.store.root()?,
                Place::Block(vcn) => self.store.block(vcn)?,
            };
            self.check(place, &node)?;
            self.nodes.insert(place, node);
        }
        let what = self.store.what();
        let node = self.nodes.get_mut(&place);
        node.ok_or_else(|| Error::damaged(what, 0, "a node", "none"))
    }

    /// Puts a node in place of what is there.
    pub(super) fn put(&mut self, place: Place, node: Node) {
        self.nodes.insert(place, node);
    }

    /// Forgets a node, and returns what is known of it.
    pub(super) fn take(&mut self, place: Place) -> Option<Node> {
        self.nodes.remove(&place)
    }

    /// An error in a node.
    pub(super) fn damaged(&self, place: Place, expected: &str, found: &str) -> Error {
        let what = match place {
            Place::Root => format!("{}, root", self.store.what()),
            Place::Block(vcn) => format!("{}, block {vcn}", self.store.what()),
        };
        Error::damaged(what, 0, expected, found)
    }

    fn check(&self, place: Place, node: &Node) -> Result<()> {
        let mut previous: Option<&[u8]> = None;
        for entry in node.entries() {
            let key = entry.key();
            if !self.collation.is_key(key) {
                let found = format!("one of {} bytes", key.len());
                return Err(self.damaged(place, "a key of the kind that the index has", &found));
            }
            let ascends = previous
                .is_none_or(|previous| self.collation.compare(previous, key) == Ordering::Less);
            if !ascends {
                return Err(self.damaged(place, "keys in ascending order", "one out of order"));
            }
            previous = Some(key);
        }
        Ok(())
    }

    /// The way to the entry that `order` finds equal, and whether there is one. Else the way ends in the leaf, and
    /// at the slot, where it would have to be.
    ///
    /// `order` says how the key sought compares to the one that it is given.
    pub(super) fn descend(
        &mut self,
        order: &impl Fn(&Collation<'_>, &[u8]) -> Ordering,
    ) -> Result<(Vec<Step>, bool)> {
        let mut path = Vec::new();
        let mut bounds = (None, None);
        let mut place = Place::Root;
        loop {
            self.check_step(&path, place)?;
            self.check_bounds(place, &bounds)?;
            let collation = self.collation;
            let node = self.node(place)?;
            // `search` wants to know how the entry compares to what is sought.
            let found = node.search(|key| order(&collation, key).reverse());
            let (Ok(slot) | Err(slot)) = found;
            path.push(Step { place, slot });
            let child = node.child(slot);
            let (Err(_), Some(vcn)) = (found, child) else {
                return Ok((path, found.is_ok()));
            };
            let key = |slot: usize| node.entries().get(slot).map(|entry| entry.key().to_vec());
            bounds = (
                slot.checked_sub(1).and_then(key).or(bounds.0),
                key(slot).or(bounds.1),
            );
            place = Place::Block(vcn);
        }
    }

    /// A node that `path` leads on to must be a new one.
    pub(super) fn check_step(&self, path: &[Step], place: Place) -> Result<()> {
        if path.len() >= DEPTH || path.iter().any(|step| step.place == place) {
            let expected = format!("a tree of at most {DEPTH} levels");
            return Err(self.damaged(place, &expected, "more, or a loop"));
        }
        Ok(())
    }

    /// The keys of a node must lie between the entries that led to it.
    fn check_bounds(
        &mut self,
        place: Place,
        bounds: &(Option<Vec<u8>>, Option<Vec<u8>>),
    ) -> Result<()> {
        let collation = self.collation;
        let entries = self.node(place)?.entries();
        let above = |low: &Vec<u8>| {
            let first = entries.first();
            first.is_none_or(|first| collation.compare(low, first.key()) == Ordering::Less)
        };
        let below = |high: &Vec<u8>| {
            let last = entries.last();
            last.is_none_or(|last| collation.compare(last.key(), high) == Ordering::Less)
        };
        if bounds.0.as_ref().is_none_or(above) && bounds.1.as_ref().is_none_or(below) {
            return Ok(());
        }
        Err(self.damaged(
            place,
            "keys between those of the entries that lead here",
            "others",
        ))
    }

    /// The entry with this key, which must be one of the index's kind.
    pub(super) fn find(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let (path, found) = self.descend(&exactly(key))?;
        match path.last() {
            Some(step) if found => self.entry(*step),
            _ => Ok(None),
        }
    }

    /// The entry that a step ends at; `None` behind the last one.
    pub(super) fn entry(&mut self, step: Step) -> Result<Option<Vec<u8>>> {
        let entries = self.node(step.place)?.entries();
        Ok(entries.get(step.slot).map(|entry| entry.bytes().to_vec()))
    }

    /// Up to `limit` entries in order, from the first one that is not before `key`.
    pub(super) fn entries_from(&mut self, key: &[u8], limit: usize) -> Result<Vec<Vec<u8>>> {
        let (path, found) = self.descend(&exactly(key))?;
        let mut walk = Walk::new(path, found);
        let mut entries: Vec<Vec<u8>> = Vec::new();
        while entries.len() < limit {
            match walk.next(self)? {
                Some(entry) => entries.push(entry),
                None => break,
            }
        }
        Ok(entries)
    }

    /// The entry with the highest key.
    pub(super) fn last(&mut self) -> Result<Option<Vec<u8>>> {
        let (path, _) = self.descend(&|_, _| Ordering::Greater)?;
        // The highest leaf may be empty: then it is the last entry above it.
        for step in path.iter().rev() {
            if let Some(slot) = step.slot.checked_sub(1) {
                return self.entry(Step { slot, ..*step });
            }
        }
        Ok(None)
    }
}

/// The order in which [`Tree::descend`] seeks this key.
pub(super) fn exactly(key: &[u8]) -> impl Fn(&Collation<'_>, &[u8]) -> Ordering + '_ {
    |collation, other| collation.compare(key, other)
}

/// A way through the entries in order.
struct Walk {
    path: Vec<Step>,
    /// What the path ends at comes next, not what is below it.
    here: bool,
    seen: BTreeSet<Place>,
    previous: Option<Vec<u8>>,
}

impl Walk {
    fn new(path: Vec<Step>, here: bool) -> Walk {
        let seen = path.iter().map(|step| step.place).collect();
        Walk {
            path,
            here,
            seen,
            previous: None,
        }
    }

    fn next<S: Store>(&mut self, tree: &mut Tree<'_, S>) -> Result<Option<Vec<u8>>> {
        while let Some(step) = self.path.last_mut() {
            let place = step.place;
            let node = tree.node(place)?;
            if let (Some(vcn), false) = (node.child(step.slot), self.here) {
                self.enter(tree, Place::Block(vcn))?;
                continue;
            }
            let Some(entry) = node.entries().get(step.slot) else {
                // The end of this node: on with the entry that led to it.
                tree.take(place);
                self.path.pop();
                self.here = true;
                continue;
            };
            let (key, bytes) = (entry.key().to_vec(), entry.bytes().to_vec());
            step.slot = step.slot.saturating_add(1);
            self.here = false;
            let ascends = self
                .previous
                .as_ref()
                .is_none_or(|previous| tree.collation.compare(previous, &key) == Ordering::Less);
            if !ascends {
                return Err(tree.damaged(place, "keys in ascending order", "one out of order"));
            }
            self.previous = Some(key);
            return Ok(Some(bytes));
        }
        Ok(None)
    }

    fn enter<S: Store>(&mut self, tree: &Tree<'_, S>, place: Place) -> Result<()> {
        tree.check_step(&self.path, place)?;
        if !self.seen.insert(place) {
            return Err(tree.damaged(place, "a tree", "a block that is reached twice"));
        }
        self.path.push(Step { place, slot: 0 });
        Ok(())
    }
}
