// SPDX-License-Identifier: GPL-2.0-or-later
//! Reading keys: a key node with its name, subkeys, values, class name and security descriptor.
//!
//! ```text
//! key node -> subkey list (li, lf, lh)             -> key nodes
//!          -> subkey list (ri) -> (li, lf, lh) ... -> key nodes
//!          -> value list -> key values
//!          -> class name;  -> key security
//! ```
//!
//! A lookup takes the hashes of an lh list as a first filter and then, before it says "absent", compares
//! every name: a foreign writer may have sorted or hashed wrongly. What a list claims is bounded by its
//! cell and by the size of the hive.
//!
//! Not handled: volatile subkeys (not on disk), and predefined-handle keys, which have no values of
//! their own.

use std::fmt;

use super::Hive;
use super::format::{CellOffset, KeyNode, ListKind, MAX_DEPTH, SubkeyList, damaged, key_node};
use super::names::{Name, NewName};
use super::value::Value;
use crate::bytes::{slice, u16_le, u32_le};
use crate::error::{Error, Result};

/// Fewest bytes a key node's cell has: header, fields, a name of one character, rounded up.
const LEAST_KEY: u32 = 88;

/// A key of a hive.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    hive: &'a Hive,
    offset: CellOffset,
    cell: &'a [u8],
    pub(crate) node: KeyNode,
}

impl<'a> Key<'a> {
    /// The key whose node is in the cell at `offset`.
    pub(crate) fn read(hive: &'a Hive, offset: CellOffset) -> Result<Key<'a>> {
        let cell = hive.bins.cell("key node (nk)", offset)?;
        let node = KeyNode::read(offset, cell)?;
        Ok(Key {
            hive,
            offset,
            cell,
            node,
        })
    }

    /// The key's own name.
    pub fn name(&self) -> Name<'a> {
        self.node.name(self.cell)
    }

    /// Where the key node's cell begins: bytes from the start of the file.
    pub fn offset(&self) -> u64 {
        self.offset.in_file()
    }

    /// Where the key node's cell begins: bytes from the first hive bin.
    pub(crate) fn cell_offset(&self) -> CellOffset {
        self.offset
    }

    /// The names from below the root down to this key, with backslashes between; empty for the root.
    ///
    /// # Errors
    /// `Damaged` when the parents do not lead to the root within 512 steps.
    pub fn path(&self) -> Result<String> {
        let root = self.hive.root_offset();
        let mut names = Vec::new();
        let mut key = *self;
        while key.offset != root {
            if names.len() >= MAX_DEPTH {
                let expected = "the root within 512 parents";
                return Err(damaged("key node (nk)", self.offset, expected, "no root"));
            }
            names.push(key.name().to_string());
            key = Key::read(self.hive, key.node.parent)?;
        }
        names.reverse();
        Ok(names.join("\\"))
    }

    /// When the key was last written: FILETIME.
    pub fn last_written(&self) -> u64 {
        self.node.last_written
    }

    /// How many subkeys the key node claims; [`Key::subkeys`] counts them.
    pub fn subkey_count(&self) -> u32 {
        self.node.subkey_count
    }

    /// How many values the key node claims; [`Key::values`] counts them.
    pub fn value_count(&self) -> u32 {
        self.node.value_count
    }

    /// True when the key stands for another one, named by its value `SymbolicLinkValue`.
    pub fn is_symlink(&self) -> bool {
        self.node.has(key_node::FLAG_SYMLINK)
    }

    /// The class name as UTF-16 units.
    ///
    /// # Errors
    /// `Damaged` when it does not fit its cell.
    pub fn class(&self) -> Result<Option<Vec<u16>>> {
        let len = usize::from(self.node.class_length);
        if self.node.class.is_nil() || len == 0 {
            return Ok(None);
        }
        let cell = self.hive.bins.cell("class name", self.node.class)?;
        let bytes = slice(cell, 0, len).ok_or_else(|| {
            let found = format!("{len} bytes in a cell of {}", cell.len());
            damaged(
                "class name",
                self.node.class,
                "a name inside the cell",
                found,
            )
        })?;
        let units = bytes.chunks_exact(2);
        Ok(Some(units.filter_map(|unit| u16_le(unit, 0)).collect()))
    }

    /// The self-relative security descriptor.
    ///
    /// # Errors
    /// `Damaged` when the key security record is not sound.
    pub fn security(&self) -> Result<&'a [u8]> {
        self.hive.descriptor(self.node.security)
    }

    /// The subkeys in the order of their list.
    ///
    /// # Errors
    /// `Damaged` when a list or a subkey's key node is not sound.
    pub fn subkeys(&self) -> Result<Vec<Key<'a>>> {
        let mut keys = Vec::new();
        for list in self.leaves()? {
            for target in list.targets() {
                keys.push(Key::read(self.hive, target)?);
            }
        }
        Ok(keys)
    }

    /// The subkey of this name, compared without case as Windows does.
    ///
    /// # Errors
    /// `Damaged` when it is not found and a list or a subkey that could be it is not sound.
    pub fn subkey(&self, name: &str) -> Result<Option<Key<'a>>> {
        let leaves = self.leaves()?;
        let wanted = NewName::new(name);
        let hash = wanted.as_name().hash().to_le_bytes();
        for list in leaves.iter().filter(|list| list.kind == ListKind::HashLeaf) {
            let elements = list.elements().zip(list.targets());
            for (_, target) in elements.filter(|(element, _)| element.ends_with(&hash)) {
                if let Ok(key) = Key::read(self.hive, target)
                    && key.name().eq_ignore_case(name)
                {
                    return Ok(Some(key));
                }
            }
        }
        // Not by its hash: either absent, or not an lh list, or a list hashed by a writer that errs.
        let mut unreadable = None;
        let units = wanted.as_name().len();
        for target in leaves.iter().flat_map(|list| list.targets()) {
            match self.hive.key_name(target) {
                // The lengths are equal too, since upper-casing never changes them, and quick to compare.
                Ok(found) if found.len() == units && found.eq_ignore_case(name) => {
                    return Key::read(self.hive, target).map(Some);
                }
                Ok(_) => {}
                Err(error) => unreadable = unreadable.or(Some(error)),
            }
        }
        unreadable.map_or(Ok(None), Err)
    }

    /// The lists that hold the subkeys, in order; none is an ri.
    pub(crate) fn leaves(&self) -> Result<Vec<SubkeyList<'a>>> {
        if self.node.subkey_count == 0 {
            return Ok(Vec::new());
        }
        let top = self.hive.subkey_list(self.node.subkey_list)?;
        if top.kind != ListKind::IndexRoot {
            return Ok(vec![top]);
        }
        let most = self.hive.bins.size().checked_div(LEAST_KEY).unwrap_or(0);
        let mut count = 0_usize;
        let mut leaves = Vec::new();
        for target in top.targets() {
            let leaf = self.hive.subkey_list(target)?;
            if leaf.kind == ListKind::IndexRoot {
                let expected = "a leaf (li, lf or lh) below an ri";
                return Err(damaged("subkey list", target, expected, "another ri"));
            }
            count = count.saturating_add(leaf.len());
            if u32::try_from(count).unwrap_or(u32::MAX) > most {
                let expected = format!("at most {most} subkeys in a hive of this size");
                return Err(damaged("subkey list", top.offset, expected, "more"));
            }
            leaves.push(leaf);
        }
        Ok(leaves)
    }

    /// The values in the order of their list, which is the order of their making.
    ///
    /// # Errors
    /// `Damaged` when the list or a value's record is not sound.
    pub fn values(&self) -> Result<Vec<Value<'a>>> {
        let targets = self.value_targets()?;
        targets
            .map(|target| Value::read(self.hive, target))
            .collect()
    }

    /// The value of this name, compared without case; `""` is the default value.
    ///
    /// # Errors
    /// `Damaged` when it is not found and the list or a value that could be it is not sound.
    pub fn value(&self, name: &str) -> Result<Option<Value<'a>>> {
        let mut unreadable: Option<Error> = None;
        for target in self.value_targets()? {
            match Value::read(self.hive, target) {
                Ok(value) if value.name().eq_ignore_case(name) => return Ok(Some(value)),
                Ok(_) => {}
                Err(error) => unreadable = unreadable.or(Some(error)),
            }
        }
        unreadable.map_or(Ok(None), Err)
    }

    /// What the value list points at, in order.
    pub(crate) fn value_targets(&self) -> Result<impl Iterator<Item = CellOffset> + use<'a>> {
        let mut list: &[u8] = &[];
        if self.node.value_count > 0 && !self.node.has(key_node::FLAG_PREDEFINED_HANDLE) {
            let cell = self.hive.bins.cell("value list", self.node.value_list)?;
            list = usize::try_from(self.node.value_count)
                .ok()
                .and_then(|count| slice(cell, 0, count.checked_mul(4)?))
                .ok_or_else(|| {
                    let found = format!("{} values, {} bytes", self.node.value_count, cell.len());
                    let expected = "a list inside the cell";
                    damaged("value list", self.node.value_list, expected, found)
                })?;
        }
        let targets = list.chunks_exact(4);
        Ok(targets.map(|target| CellOffset(u32_le(target, 0).unwrap_or(u32::MAX))))
    }
}

impl fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("name", &self.name())
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl Hive {
    /// The root key.
    ///
    /// # Errors
    /// `Damaged` when its key node is not sound.
    pub fn root(&self) -> Result<Key<'_>> {
        Key::read(self, self.root_offset())
    }

    /// The key at `path`: names below the root with backslashes between, compared without case; `""` is
    /// the root. A backslash before the first and after the last name is overlooked.
    ///
    /// # Errors
    /// `Damaged` when a key on the way is not sound; `Refused` when the path is not one.
    pub fn key(&self, path: &str) -> Result<Option<Key<'_>>> {
        let mut key = self.root()?;
        for name in path_names(path)? {
            match key.subkey(name)? {
                Some(subkey) => key = subkey,
                None => return Ok(None),
            }
        }
        Ok(Some(key))
    }

    /// The subkey list in the cell at `offset`.
    pub(crate) fn subkey_list(&self, offset: CellOffset) -> Result<SubkeyList<'_>> {
        SubkeyList::read(offset, self.bins.cell("subkey list", offset)?)
    }

    /// The name of the key whose node is in the cell at `offset`.
    pub(crate) fn key_name(&self, offset: CellOffset) -> Result<Name<'_>> {
        KeyNode::read_name(offset, self.bins.cell("key node (nk)", offset)?)
    }
}

/// The names of a path, outermost first.
pub(crate) fn path_names(path: &str) -> Result<Vec<&str>> {
    let inner = path.strip_prefix('\\').unwrap_or(path);
    let inner = inner.strip_suffix('\\').unwrap_or(inner);
    if inner.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = inner.split('\\').collect();
    if names.len() >= MAX_DEPTH || names.iter().any(|name| name.is_empty()) {
        let what = format!("{path:?} is no registry path");
        let next = "write names with one backslash between, at most 511 of them";
        return Err(Error::refused(what, next));
    }
    Ok(names)
}
