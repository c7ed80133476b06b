// SPDX-License-Identifier: GPL-2.0-or-later
//! The check of the tree of keys: from the root down, each key with its lists, values, class name and use of
//! a security record. Every cell that is met is claimed, so that none is used twice.
//!
//! Keys still to be looked at wait in a list of their own, not on the stack. What cannot be read is noted and
//! not followed.

use super::super::format::{
    CellOffset, ListKind, MAX_DEPTH, SubkeyList, big_data, damaged, key_node,
};
use super::super::key::Key;
use super::super::names::Name;
use super::super::security::check_descriptor;
use super::super::value::{Storage, Value};
use super::Check;
use crate::bytes::u32_le;
use crate::error::Result;

/// A key still to be looked at.
#[derive(Clone)]
pub(super) struct Pending {
    offset: CellOffset,
    parent: CellOffset,
    depth: usize,
}

impl<'a> Check<'a> {
    /// The root key, to be looked at.
    pub(super) fn root(&mut self) -> Vec<Pending> {
        let root = Pending {
            offset: self.hive.root_offset(),
            parent: CellOffset::NIL,
            depth: 0,
        };
        match self.claim("key node (nk)", root.offset) {
            Ok(()) => vec![root],
            Err(error) => {
                self.note(error, None);
                Vec::new()
            }
        }
    }

    /// Checks these keys and every key that can be reached from them.
    pub(super) fn walk(&mut self, mut pending: Vec<Pending>) {
        while let Some(next) = pending.pop() {
            self.visit(&next, &mut pending);
        }
    }

    /// Checks one key, and adds those below it to `pending`.
    pub(super) fn visit(&mut self, next: &Pending, pending: &mut Vec<Pending>) {
        match Key::read(self.hive, next.offset) {
            Ok(key) => self.key(&key, next, pending),
            Err(error) => self.note(error, None),
        }
    }

    fn key(&mut self, key: &Key<'a>, place: &Pending, pending: &mut Vec<Pending>) {
        let node = &key.node;
        let what = "key node (nk)";
        let is_root = place.parent.is_nil();
        if !is_root && node.parent != place.parent {
            let expected = format!("parent {:#x}", place.parent.0);
            let found = format!("{:#x}", node.parent.0);
            self.note(damaged(what, place.offset, expected, found), Some(key));
        }
        // A root without the root flag is what Windows' own offreg.dll writes.
        if node.has(key_node::FLAG_ROOT) && !is_root || node.has(key_node::FLAG_VOLATILE) {
            let found = format!("flags {:#x}", node.flags);
            let error = damaged(what, place.offset, "the flags of a stored key", found);
            self.blemish(error, Some(key));
        }
        if key.name().len() > key_node::MAX_NAME {
            let found = format!("{} UTF-16 units", key.name().len());
            let error = damaged(what, place.offset, "a name of at most 255", found);
            self.note(error, Some(key));
        }
        if let Err(error) = self.class(key) {
            self.note(error, Some(key));
        }
        if let Err(error) = self.security(key) {
            self.is_ordered = true;
            self.note(error, Some(key));
        }
        if let Err(error) = self.values(key) {
            self.note(error, Some(key));
        }
        if place.depth >= MAX_DEPTH {
            let error = damaged(what, place.offset, "at most 512 levels of keys", "more");
            return self.note(error, Some(key));
        }
        if let Err(error) = self.subkeys(key, place.depth, pending) {
            self.note(error, Some(key));
        }
    }

    fn class(&mut self, key: &Key<'a>) -> Result<()> {
        if key.node.class.is_nil() || key.node.class_length == 0 {
            return Ok(());
        }
        self.claim("class name", key.node.class)?;
        key.class().map(|_| ())
    }

    fn security(&mut self, key: &Key<'a>) -> Result<()> {
        let offset = key.node.security;
        let count = self.references.entry(offset).or_insert(0);
        *count = count.saturating_add(1);
        if *count > 1 {
            return Ok(());
        }
        if !self.cells.get(offset) {
            let found = format!("offset {:#x}", offset.0);
            return Err(damaged("key security (sk)", offset, "a cell in use", found));
        }
        let descriptor = key.security()?;
        check_descriptor(descriptor)
            .map_err(|(expected, found)| damaged("key security (sk)", offset, expected, found))
    }

    fn subkeys(&mut self, key: &Key<'a>, depth: usize, pending: &mut Vec<Pending>) -> Result<()> {
        if key.node.subkey_count == 0 {
            return Ok(());
        }
        let top = self.hive.subkey_list(key.node.subkey_list)?;
        if top.kind == ListKind::IndexRoot {
            self.claim("subkey list (ri)", top.offset)?;
        }
        let mut listed = 0_usize;
        let mut last: Option<Name<'a>> = None;
        let mut longest = 0;
        for list in key.leaves()? {
            self.claim("subkey list", list.offset)?;
            if list.len() == 0 {
                let error = damaged("subkey list", list.offset, "at least one subkey", "none");
                self.note(error, Some(key));
            }
            listed = listed.saturating_add(list.len());
            for (element, target) in list.elements().zip(list.targets()) {
                // Claimed before anything else is done with it: a key listed a million times is one fault
                // each, and no more work.
                if let Err(error) = self.claim("key node (nk)", target) {
                    self.note(error, Some(key));
                    continue;
                }
                pending.push(Pending {
                    offset: target,
                    parent: key.cell_offset(),
                    depth: depth.saturating_add(1),
                });
                // A key that cannot be read is reported when its turn comes.
                if let Ok(name) = self.hive.key_name(target) {
                    self.element(key, &list, element, name, last);
                    longest = longest.max(name.len().saturating_mul(2));
                    last = Some(name);
                }
            }
        }
        if usize::try_from(key.node.subkey_count) != Ok(listed) {
            let expected = format!("{} subkeys in its lists", key.node.subkey_count);
            let error = damaged(
                "key node (nk)",
                key.cell_offset(),
                expected,
                listed.to_string(),
            );
            self.note(error, Some(key));
        }
        // Windows XP has left it 0 here and there.
        if (1..longest).contains(&usize::from(key.node.max_subkey_name)) {
            let expected = format!("a longest subkey name of {longest} bytes");
            let found = key.node.max_subkey_name.to_string();
            let error = damaged("key node (nk)", key.cell_offset(), expected, found);
            self.blemish(error, Some(key));
        }
        Ok(())
    }

    /// One element of a leaf: its hash or hint, and its place after `last`.
    fn element(
        &mut self,
        key: &Key<'a>,
        list: &SubkeyList<'a>,
        element: &[u8],
        name: Name<'a>,
        last: Option<Name<'a>>,
    ) {
        if last.is_some_and(|last| last.cmp_ignore_case(name).is_ge()) {
            let expected = "subkeys sorted by name, each once";
            let found = format!("{name:?} after {last:?}");
            self.note(
                damaged("subkey list", list.offset, expected, found),
                Some(key),
            );
        }
        let stored = u32_le(element, 4).unwrap_or(0);
        let computed = match list.kind {
            ListKind::HashLeaf => name.hash(),
            ListKind::FastLeaf => u32::from_le_bytes(name.hint()),
            ListKind::IndexLeaf | ListKind::IndexRoot => return,
        };
        if stored != computed {
            let expected = format!("{computed:#010x} beside {name:?}");
            let error = damaged(
                "subkey list",
                list.offset,
                expected,
                format!("{stored:#010x}"),
            );
            self.blemish(error, Some(key));
        }
    }

    fn values(&mut self, key: &Key<'a>) -> Result<()> {
        let mut targets = key.value_targets()?.peekable();
        if targets.peek().is_none() {
            return Ok(());
        }
        self.claim("value list", key.node.value_list)?;
        let mut longest = 0;
        let mut largest = 0;
        for target in targets {
            let value = self
                .claim("key value (vk)", target)
                .and_then(|()| Value::read(self.hive, target))
                .and_then(|value| self.data(&value).map(|()| value));
            match value {
                Ok(value) => {
                    longest = longest.max(value.name().len().saturating_mul(2));
                    largest = largest.max(value.data_len());
                }
                Err(error) => self.note(error, Some(key)),
            }
        }
        for (what, stored, least) in [
            ("name", key.node.max_value_name, longest),
            ("data", key.node.max_value_data, largest),
        ] {
            if usize::try_from(stored).is_ok_and(|stored| stored < least) {
                let expected = format!("a longest value {what} of {least} bytes");
                let offset = key.cell_offset();
                let error = damaged("key node (nk)", offset, expected, stored.to_string());
                self.blemish(error, Some(key));
            }
        }
        Ok(())
    }

    fn data(&mut self, value: &Value<'a>) -> Result<()> {
        if value.record.is_inline() || value.data_len() == 0 {
            return Ok(());
        }
        // Claimed first here too, so that cells that many values share are read once.
        self.claim("value data", value.record.data)?;
        match value.storage()? {
            Storage::Inline => Ok(()),
            Storage::Cell(cell) => {
                let len = value.data_len();
                if len > big_data::SEGMENT && self.hive.minor() >= big_data::MINOR {
                    let found = format!("{len} bytes in one cell");
                    self.blemish(damaged("value data", cell, "big data (db)", found), None);
                }
                Ok(())
            }
            Storage::BigData { list, count, .. } => {
                self.claim("big data segment list", list)?;
                for segment in self.hive.segments(list, count)? {
                    self.claim("big data segment", segment)?;
                }
                value.data().map(|_| ())
            }
        }
    }
}
