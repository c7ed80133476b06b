// SPDX-License-Identifier: GPL-2.0-or-later
//! Creating and deleting keys.
//!
//! A new key has the name as it was written, no class, no values, its parent's security record (which is
//! counted once more), and the time that the caller gives. Its parent's longest-name field is raised when
//! needed and never lowered; its parent's time is set too.
//!
//! Deleting frees the key, all below it, their values, lists, class names and, where nobody else uses them,
//! security records. Keys that Windows would not delete (the root, no-delete keys) are refused.
//!
//! Each of these either happens as a whole or leaves the hive as it was.

use super::Hive;
use super::format::{CellOffset, ListKind, MAX_DEPTH, damaged, key_node};
use super::key::{Key, path_names};
use super::names::NewName;
use crate::bytes::put;
use crate::error::{Error, Result};

impl Hive {
    /// Creates the key at `path` and the parents that are missing. True when something was created, false
    /// when the key was there. `now` is a FILETIME.
    ///
    /// # Errors
    /// `Refused` for a name that is not safe to insert, below a symbolic link, or when the hive cannot
    /// grow any more; `Damaged` when a structure that must be changed is not sound. The hive is then
    /// unchanged.
    pub fn create_key(&mut self, path: &str, now: u64) -> Result<bool> {
        let names = path_names(path)?;
        let mut parent = self.root()?;
        let mut missing = names.as_slice();
        while let Some((name, rest)) = missing.split_first() {
            let Some(key) = parent.subkey(name)? else {
                break;
            };
            parent = key;
            missing = rest;
        }
        if missing.is_empty() {
            return Ok(false);
        }
        if parent.is_symlink() {
            let what = format!("{:?} is a symbolic link to another key", parent.name());
            return Err(Error::refused(
                what,
                "create the key below the link's target",
            ));
        }
        let mut offset = parent.cell_offset();
        self.edit(|hive| {
            for name in missing {
                offset = hive.add_key(offset, name, now)?;
            }
            Ok(true)
        })
    }

    /// Deletes the key at `path` with everything below it. False when it is not there. `now` is a
    /// FILETIME, for the parent.
    ///
    /// # Errors
    /// `Refused` for the root and for keys marked as not to be deleted; `Damaged` when a structure that
    /// must be freed is not sound. The hive is then unchanged.
    pub fn delete_key(&mut self, path: &str, now: u64) -> Result<bool> {
        let Some(key) = self.key(path)? else {
            return Ok(false);
        };
        let (offset, parent) = (key.cell_offset(), key.node.parent);
        if offset == self.root_offset() {
            let what = "the root key of a hive cannot be deleted".to_owned();
            return Err(Error::refused(what, "name a key below it"));
        }
        self.edit(|hive| {
            hive.remove_subkey(parent, offset)?;
            hive.free_tree(offset, parent)?;
            hive.touch_key(parent, now)?;
            Ok(true)
        })
    }

    /// Sets a key's time.
    pub(crate) fn touch_key(&mut self, key: CellOffset, now: u64) -> Result<()> {
        self.bins
            .write_cell(key, key_node::LAST_WRITTEN, &now.to_le_bytes())
    }

    /// Makes a key below `parent`, in which there is none of that name.
    fn add_key(&mut self, parent: CellOffset, name: &str, now: u64) -> Result<CellOffset> {
        let name = NewName::for_key(name)?;
        let node = Key::read(self, parent)?.node;
        let record = key_record(&name, parent, node.security, now)?;
        let key = self.allocate_with(&record)?;
        self.reference_security(node.security)?;
        self.insert_subkey(parent, key, name.as_name())?;
        let longest = u16::try_from(name.as_name().len().saturating_mul(2)).unwrap_or(u16::MAX);
        if longest > node.max_subkey_name {
            let field = longest.to_le_bytes();
            self.bins
                .write_cell(parent, key_node::MAX_SUBKEY_NAME, &field)?;
        }
        self.touch_key(parent, now)?;
        Ok(key)
    }

    /// Frees a key, which must be a child of `parent`, and everything below it. Not by recursion: the threads of some
    /// hosts have a small stack, and keys nest 512 deep.
    fn free_tree(&mut self, offset: CellOffset, parent: CellOffset) -> Result<()> {
        let mut pending = vec![(offset, parent, 0_usize)];
        while let Some((offset, parent, depth)) = pending.pop() {
            if depth >= MAX_DEPTH {
                let expected = "at most 512 levels of keys";
                return Err(damaged("key node (nk)", offset, expected, "deeper ones"));
            }
            let subkeys = self.free_key(offset, parent)?;
            let depth = depth.saturating_add(1);
            // The last one is taken first.
            let subkeys = subkeys.into_iter().rev();
            pending.extend(subkeys.map(|subkey| (subkey, offset, depth)));
        }
        Ok(())
    }

    /// Frees a key, which must be a child of `parent`, without those below it: these are given back.
    fn free_key(&mut self, offset: CellOffset, parent: CellOffset) -> Result<Vec<CellOffset>> {
        let key = Key::read(self, offset)?;
        let node = key.node;
        if node.parent != parent {
            let expected = format!("parent {:#x}", parent.0);
            let found = format!("{:#x}", node.parent.0);
            return Err(damaged("key node (nk)", offset, expected, found));
        }
        if node.has(key_node::FLAG_NO_DELETE) || node.has(key_node::FLAG_ROOT) {
            let what = format!("the key {:?} is marked as not to be deleted", key.name());
            return Err(Error::refused(what, "delete the other keys one by one"));
        }
        let mut lists: Vec<CellOffset> = key.leaves()?.iter().map(|list| list.offset).collect();
        let mut subkeys = Vec::new();
        for list in key.leaves()? {
            subkeys.extend(list.targets());
        }
        if node.subkey_count > 0 && self.subkey_list(node.subkey_list)?.kind == ListKind::IndexRoot
        {
            lists.push(node.subkey_list);
        }
        let values: Vec<CellOffset> = key.value_targets()?.collect();
        let class = key.class()?.map(|_| node.class);
        for value in &values {
            self.free_value(*value)?;
        }
        if !values.is_empty() {
            lists.push(node.value_list);
        }
        for cell in lists.into_iter().chain(class) {
            self.release(cell)?;
        }
        self.release_security(node.security)?;
        self.release(offset)?;
        Ok(subkeys)
    }
}

/// The record of a new key.
pub(crate) fn key_record(
    name: &NewName,
    parent: CellOffset,
    security: CellOffset,
    now: u64,
) -> Result<Vec<u8>> {
    use key_node::*;
    let flags = if name.is_latin1() { FLAG_LATIN1 } else { 0 };
    let length = u16::try_from(name.bytes().len()).unwrap_or(u16::MAX);
    let nil = CellOffset::NIL.0.to_le_bytes();
    let mut record = vec![0; NAME];
    let whole = put(&mut record, 0, SIGNATURE)
        && put(&mut record, FLAGS, &flags.to_le_bytes())
        && put(&mut record, LAST_WRITTEN, &now.to_le_bytes())
        && put(&mut record, PARENT, &parent.0.to_le_bytes())
        && put(&mut record, SUBKEY_LIST, &nil)
        && put(&mut record, VOLATILE_LIST, &nil)
        && put(&mut record, VALUE_LIST, &nil)
        && put(&mut record, SECURITY, &security.0.to_le_bytes())
        && put(&mut record, CLASS, &nil)
        && put(&mut record, NAME_LENGTH, &length.to_le_bytes());
    if !whole {
        return Err(damaged("key node (nk)", parent, "76 bytes", "fewer bytes"));
    }
    record.extend_from_slice(name.bytes());
    Ok(record)
}
