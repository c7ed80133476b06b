// SPDX-License-Identifier: GPL-2.0-or-later
//! Indexes: B-trees of names in folders (`$I30`), of security ids and hashes in `$Secure` (`$SII`, `$SDH`).
//!
//! ```text
//! directory   reads the names of a folder           block      the root's header, blocks on the disk
//! node        one node, taken apart and laid out    collation  the order of the keys
//! tree        finds entries                         change     inserts and removes them, in memory
//! store       where the nodes are: $INDEX_ROOT, $INDEX_ALLOCATION, $BITMAP   sound  whether they hold together
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. A change is worked out in memory, from nodes that are in
//! order; an index that is not is left alone. Each question and each change reads the index anew, so that
//! an [`Index`] is never out of date.

mod block;
mod change;
mod collation;
mod directory;
mod node;
mod sound;
mod store;
mod tree;

use crate::error::{Error, Result};

use super::mft::Mft;

pub(super) use block::Block;
pub(super) use collation::{Collation, name_key};
pub(super) use directory::{Directory, FileName, IndexEntry, namespace};
pub(super) use node::{BLOCK_HEADER, EntryPlace, ROOT_HEADER, entry_places};
pub(super) use sound::check as check_sound;

use change::Change;
use node::Entry;
use store::Attributes;
use tree::{Changes, Store, Tree};

/// An index that can be changed.
///
/// Entries are given and returned as they stand in a leaf: whole, without the VCN of a child. Keys are those bytes of
/// an entry that are its key; [`name_key`] makes one of a name.
#[derive(Debug)]
pub(super) struct Index<'v> {
    mft: &'v Mft,
    base: u64,
    name: String,
    collation: Collation<'v>,
}

impl<'v> Index<'v> {
    /// Opens the index `name` of the file with this base record. `Damaged` when it is none with this collation.
    pub(super) fn open(
        mft: &'v Mft,
        base: u64,
        name: &str,
        collation: Collation<'v>,
    ) -> Result<Index<'v>> {
        let index = Index {
            mft,
            base,
            name: name.to_owned(),
            collation,
        };
        index.store()?;
        Ok(index)
    }

    /// The entry with this key.
    pub(super) fn find(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let store = self.store()?;
        self.check_key(key, &store)?;
        Tree::new(&store, self.collation).find(key)
    }

    /// Up to `limit` entries in order, from the first one that is not before `key`.
    pub(super) fn entries_from(&self, key: &[u8], limit: usize) -> Result<Vec<Vec<u8>>> {
        let store = self.store()?;
        self.check_key(key, &store)?;
        Tree::new(&store, self.collation).entries_from(key, limit)
    }

    /// The entry with the highest key.
    pub(super) fn last(&self) -> Result<Option<Vec<u8>>> {
        Tree::new(&self.store()?, self.collation).last()
    }

    /// Adds an entry. Refused, before anything is written, when its key exists, or a name that differs in case only,
    /// and when records or the volume are full.
    pub(super) fn insert(&self, entry: &[u8]) -> Result<()> {
        self.plan(|change| change.insert(entry))?.1.write()
    }

    /// Removes the entry with this key; false when there is none.
    pub(super) fn remove(&self, key: &[u8]) -> Result<bool> {
        self.check_key(key, &self.store()?)?;
        let (removed, plan) = self.plan(|change| change.remove(key))?;
        plan.write()?;
        Ok(removed.is_some())
    }

    /// Overwrites bytes of the entry with this key, from `offset` in the entry on: what is not its key, its lengths
    /// or its flags, such as the sizes in a $FILE_NAME. False when there is no such entry.
    pub(super) fn overwrite(&self, key: &[u8], offset: usize, data: &[u8]) -> Result<bool> {
        self.check_key(key, &self.store()?)?;
        let (found, plan) = self.plan(|change| change.overwrite(key, offset, data))?;
        plan.write()?;
        Ok(found)
    }

    /// Works out how one entry takes the place of another, and writes nothing. Refused as with [`Index::insert`];
    /// `Damaged` when there is no entry `key`.
    pub(super) fn plan_replacement(&self, key: &[u8], entry: &[u8]) -> Result<Planned<'v>> {
        self.check_key(key, &self.store()?)?;
        let replace = |change: &mut Change<'_, Attributes<'v>>| {
            let removed = change.remove(key)?;
            change.insert(entry)?;
            Ok(removed.is_some())
        };
        match self.plan(replace)? {
            (true, plan) => Ok(plan),
            (false, plan) => {
                let what = plan.store.what();
                Err(Error::damaged(what, 0, "an entry to be replaced", "none"))
            }
        }
    }

    fn plan<T>(
        &self,
        change: impl FnOnce(&mut Change<'_, Attributes<'v>>) -> Result<T>,
    ) -> Result<(T, Planned<'v>)> {
        let store = self.store()?;
        let mut plan = Change::new(&store, self.collation);
        let result = change(&mut plan)?;
        let changes = plan.finish()?;
        Ok((result, Planned { store, changes }))
    }

    fn store(&self) -> Result<Attributes<'v>> {
        Attributes::open(self.mft, self.base, &self.name, self.collation.numbers())
    }

    fn check_key(&self, key: &[u8], store: &Attributes<'v>) -> Result<()> {
        if self.collation.is_key(key) {
            return Ok(());
        }
        let found = format!("{} other bytes", key.len());
        Err(Error::damaged(store.what(), 0, "a key to look for", found))
    }
}

/// The key of an entry as [`Index`] returns it; empty for what is no entry.
pub(super) fn key_of(entry: &[u8]) -> Vec<u8> {
    let entry = Entry::new(entry);
    entry.map_or_else(Vec::new, |entry| entry.key().to_vec())
}

/// A change to an index that was worked out and not yet written. Nothing else may be written to the index before.
#[derive(Debug)]
pub(super) struct Planned<'v> {
    store: Attributes<'v>,
    changes: Changes,
}

impl Planned<'_> {
    /// Writes the change.
    pub(super) fn write(mut self) -> Result<()> {
        self.store.write(self.changes)
    }
}

/// Nothing is lost of a node that is taken apart and laid out again; see `fuzzing`.
#[cfg(feature = "fuzzing")]
pub(super) fn node_round_trip(memory: &[u8]) {
    for header in [node::ROOT_HEADER, node::BLOCK_HEADER] {
        let Ok(node) = node::Node::parse(memory, header, "input") else {
            continue;
        };
        let mut written = memory.to_vec();
        let fits = node.write(&mut written, header);
        let again = node::Node::parse(&written, header, "again");
        assert!(
            !fits || again.as_ref().is_ok_and(|again| *again == node),
            "{node:?} became {again:?}"
        );
        let root = node.to_root(memory);
        let again = root.map(|root| node::Node::parse(&root, node::ROOT_HEADER, "root"));
        if let Some(again) = again {
            let same = again
                .as_ref()
                .is_ok_and(|again| again.entries() == node.entries());
            assert!(same, "{node:?} became the root {again:?}");
        }
        let mut left = node.clone();
        if let Some((median, right)) = left.split() {
            let parts = left.entries().len().saturating_add(right.entries().len());
            assert!(
                parts.saturating_add(1) == node.entries().len(),
                "{median:?}"
            );
        }
    }
}

#[cfg(test)]
mod tests;
