// SPDX-License-Identifier: GPL-2.0-or-later
//! The structural check of a hive: every fault with its place, not only the first.
//!
//! ```text
//! base block   checksum
//! hive bins    signature, own offset, size; cells tile every bin
//! keys         from the root down: each cell is used once; parent, name, depth, flags
//! lists        signature, leaves only below an ri, order, hash and hint, count
//! values       record, name, data cells, big data
//! security     descriptor, ring, references
//! the rest     cells in use that nothing points to
//! ```
//!
//! It asks what Windows asks when it loads a hive (and answers with a failed load or by deleting the
//! offending key), and what our editors rely on. A fault is *fatal* when an edit could make things worse or
//! Windows would not load the hive; the others are blemishes that the writer of the hive, often Windows
//! itself, left behind. Time and memory are linear in the hive's size; at most [`MAX_FAULTS`] are listed.

use std::collections::HashMap;

use super::Hive;
use super::format::{
    BIN_HEADER, CellOffset, ListKind, MAX_DEPTH, PAGE, SubkeyList, big_data, damaged, key_node,
};
use super::key::Key;
use super::names::Name;
use super::security::check_descriptor;
use super::value::{Storage, Value};
use crate::bytes::u32_le;
use crate::error::{Error, Result};

/// How many faults are listed; a last one says when there are more.
pub const MAX_FAULTS: usize = 1000;

/// Something in a hive that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// Where the structure begins: bytes from the start of the file.
    pub offset: u64,
    /// The structure, by its specification's name.
    pub structure: String,
    /// The key it belongs to, as a path below the root, where that is known.
    pub key: Option<String>,
    /// What the format demands.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// True when the hive must not be edited before this is repaired.
    pub fatal: bool,
}

impl Fault {
    /// A fatal fault that belongs to no key.
    pub(crate) fn fatal(
        offset: u64,
        structure: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Fault {
        Fault {
            offset,
            structure: structure.to_owned(),
            key: None,
            expected: expected.into(),
            found: found.into(),
            fatal: true,
        }
    }

    /// The fault that a reader met; `None` for errors that are not about the data.
    pub(crate) fn from_error(error: Error, fatal: bool) -> Option<Fault> {
        let Error::Damaged {
            what,
            offset,
            expected,
            found,
        } = error
        else {
            return None;
        };
        Some(Fault {
            offset,
            structure: what,
            key: None,
            expected,
            found,
            fatal,
        })
    }

    /// The fault as an error.
    pub fn to_error(&self) -> Error {
        let what = match &self.key {
            Some(key) => format!("{} of {key:?}", self.structure),
            None => self.structure.clone(),
        };
        Error::damaged(what, self.offset, &self.expected, &self.found)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.to_error())
    }
}

/// See [`Hive::check`].
pub(crate) fn check(hive: &Hive) -> Vec<Fault> {
    let pages = hive.bins.size().checked_div(PAGE).unwrap_or(0);
    let mut check = Check {
        hive,
        faults: hive.bins.faults().to_vec(),
        more: 0,
        cells: Bits::new(pages),
        seen: Bits::new(pages),
        references: HashMap::new(),
    };
    check.base_block();
    check.tile();
    check.tree();
    check.ring();
    check.unused();
    let mut faults = check.faults;
    if check.more > 0 {
        let found = format!("{} more", check.more);
        faults.push(Fault::fatal(0, "hive", "no further faults", found));
    }
    faults
}

/// One bit for every place where a cell can begin.
struct Bits(Vec<u64>);

impl Bits {
    fn new(pages: u32) -> Bits {
        // 4096 / 8 places in a page, 64 bits in a word.
        let words = usize::try_from(pages).unwrap_or(0).saturating_mul(8);
        Bits(vec![0; words])
    }

    fn place(offset: CellOffset) -> (usize, u64) {
        let place = offset.0 >> 3;
        let word = usize::try_from(place >> 6).unwrap_or(usize::MAX);
        (word, 1_u64.rotate_left(place & 63))
    }

    fn get(&self, offset: CellOffset) -> bool {
        let (word, bit) = Self::place(offset);
        offset.0.is_multiple_of(8) && self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    fn set(&mut self, offset: CellOffset) {
        let (word, bit) = Self::place(offset);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }
}

struct Check<'a> {
    hive: &'a Hive,
    faults: Vec<Fault>,
    more: usize,
    /// Where cells in use begin.
    cells: Bits,
    /// Where cells begin that something points to.
    seen: Bits,
    /// How many keys use each security record.
    references: HashMap<CellOffset, u32>,
}

/// A key still to be looked at.
struct Pending {
    offset: CellOffset,
    parent: CellOffset,
    depth: usize,
}

impl<'a> Check<'a> {
    fn push(&mut self, fault: Fault) {
        match self.faults.len() < MAX_FAULTS {
            true => self.faults.push(fault),
            false => self.more = self.more.saturating_add(1),
        }
    }

    /// Notes an error met while reading; it is fatal.
    fn note(&mut self, error: Error, key: Option<&Key<'_>>) {
        self.report(error, key, true);
    }

    /// Notes what an editor can live with.
    fn blemish(&mut self, error: Error, key: Option<&Key<'_>>) {
        self.report(error, key, false);
    }

    fn report(&mut self, error: Error, key: Option<&Key<'_>>, fatal: bool) {
        if let Some(mut fault) = Fault::from_error(error, fatal) {
            fault.key = key.and_then(|key| key.path().ok());
            self.push(fault);
        }
    }

    /// Marks the cell at `offset` as pointed to.
    fn claim(&mut self, what: &str, offset: CellOffset) -> Result<()> {
        if !self.cells.get(offset) {
            let found = format!("offset {:#x}", offset.0);
            return Err(damaged(what, offset, "the start of a cell in use", found));
        }
        if self.seen.get(offset) {
            let found = "a cell that something else uses too";
            return Err(damaged(what, offset, "a cell of its own", found));
        }
        self.seen.set(offset);
        Ok(())
    }

    fn base_block(&mut self) {
        let block = self.hive.base_block();
        if !block.checksum_valid() {
            let expected = format!("checksum {:#010x}", block.computed_checksum);
            let found = format!("{:#010x}", block.checksum);
            self.push(Fault::fatal(0, "hive base block", expected, found));
        }
    }

    fn tile(&mut self) {
        for bin in self.hive.bins.bins() {
            let mut offset = CellOffset(bin.start.saturating_add(BIN_HEADER));
            while offset.0 < bin.end {
                match self.hive.bins.cell_size("cell", offset) {
                    Ok((size, used)) => {
                        if used {
                            self.cells.set(offset);
                        }
                        offset = CellOffset(offset.0.saturating_add(size));
                    }
                    Err(error) => {
                        self.note(error, None);
                        break;
                    }
                }
            }
        }
    }

    fn tree(&mut self) {
        let root = Pending {
            offset: self.hive.root_offset(),
            parent: CellOffset::NIL,
            depth: 0,
        };
        let mut pending = vec![root];
        while let Some(next) = pending.pop() {
            let key = self
                .claim("key node (nk)", next.offset)
                .and_then(|()| Key::read(self.hive, next.offset));
            match key {
                Ok(key) => self.key(&key, &next, &mut pending),
                Err(error) => self.note(error, None),
            }
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
        if key.class()?.is_some() {
            self.claim("class name", key.node.class)?;
        }
        Ok(())
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
        let first = pending.len();
        let mut last: Option<Name<'a>> = None;
        let mut longest = 0;
        for list in key.leaves()? {
            self.claim("subkey list", list.offset)?;
            if list.len() == 0 {
                let error = damaged("subkey list", list.offset, "at least one subkey", "none");
                self.note(error, Some(key));
            }
            for (element, target) in list.elements().zip(list.targets()) {
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
        let listed = pending.len().saturating_sub(first);
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
        match value.storage()? {
            Storage::Inline => Ok(()),
            Storage::Cell(cell) => {
                let foreign =
                    value.data_len() > big_data::SEGMENT && self.hive.minor() >= big_data::MINOR;
                self.claim("value data", cell)?;
                if foreign {
                    let found = format!("{} bytes in one cell", value.data_len());
                    self.blemish(damaged("value data", cell, "big data (db)", found), None);
                }
                Ok(())
            }
            Storage::BigData {
                record,
                list,
                segments,
            } => {
                self.claim("big data (db)", record)?;
                self.claim("big data segment list", list)?;
                for segment in segments {
                    self.claim("big data segment", segment)?;
                }
                value.data().map(|_| ())
            }
        }
    }

    /// The ring of security records, and how often each is used.
    fn ring(&mut self) {
        let Ok(root) = self.hive.root() else {
            return;
        };
        let start = root.node.security;
        let mut offset = start;
        loop {
            let security = self
                .claim("key security (sk)", offset)
                .and_then(|()| self.hive.key_security(offset));
            let security = match security {
                Ok(security) => security,
                Err(error) => return self.note(error, None),
            };
            let what = "key security (sk)";
            let used = self.references.remove(&offset).unwrap_or(0);
            if security.references != used {
                let expected = format!("{used} references");
                let error = damaged(what, offset, expected, security.references.to_string());
                // Too many only keep the record alive; too few free it while keys still use it.
                self.report(error, None, security.references < used);
            }
            match self.hive.key_security(security.next) {
                Ok(next) if next.previous == offset => {}
                Ok(next) => {
                    let expected = format!("previous {:#x}", offset.0);
                    let found = format!("{:#x}", next.previous.0);
                    self.note(damaged(what, security.next, expected, found), None);
                }
                Err(error) => return self.note(error, None),
            }
            offset = security.next;
            if offset == start {
                break;
            }
        }
        let mut strays: Vec<CellOffset> = self.references.keys().copied().collect();
        strays.sort();
        for stray in strays {
            self.seen.set(stray);
            let found = "a record outside it";
            self.note(
                damaged("key security (sk)", stray, "a record in the ring", found),
                None,
            );
        }
    }

    /// Cells in use that nothing points to.
    fn unused(&mut self) {
        if self.faults.iter().any(|fault| fault.fatal) {
            // What a broken structure points to cannot be known.
            return;
        }
        let words = self.cells.0.iter().zip(&self.seen.0).enumerate();
        let mut lost = Vec::new();
        for (index, (cells, seen)) in words {
            let mut left = cells & !seen;
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left.wrapping_sub(1);
                let place = u32::try_from(index).unwrap_or(0).saturating_mul(64);
                lost.push(CellOffset(place.saturating_add(bit).saturating_mul(8)));
            }
        }
        for offset in lost {
            let found = "a cell in use that nothing points to";
            self.blemish(damaged("cell", offset, "a record of the hive", found), None);
        }
    }
}
