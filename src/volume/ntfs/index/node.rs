// SPDX-License-Identifier: GPL-2.0-or-later
//! One node of an index: the root, or a block of $INDEX_ALLOCATION.
//!
//! ```text
//! $INDEX_ROOT value:  10 node header   20 entries
//! INDX block:         0 "INDX"  8 LSN  10 u64 own VCN  18 node header  28 update sequence  entries
//! node header:        0 u32 first entry  4 u32 used  8 u32 allocated (all from the header)  C u8 1 = inner
//! entry:              8 u16 length  A u16 key length  C u16 flags  10 key, for views data behind it
//!                     flags: 1 = its last 8 bytes are the VCN of the child before it, 2 = end, no key
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. Here everything is in memory and without a place: a node is
//! taken apart, changed, and laid out again. Bytes behind the used ones stay as they are, as under Windows.

use std::cmp::Ordering;

use crate::bytes;
use crate::error::{Error, Result};

const HAS_CHILD: u16 = 1;
const END: u16 = 2;

/// Length of an entry without key and child.
const BARE: usize = 0x10;

/// Length of a child's VCN.
const CHILD: usize = 8;

/// Where the node header is in a value of $INDEX_ROOT.
pub(in super::super) const ROOT_HEADER: usize = 0x10;

/// Where the node header is in an INDX block.
pub(in super::super) const BLOCK_HEADER: usize = 0x18;

/// Length of a node header; in a root the entries follow.
const HEADER: usize = 0x10;

/// The entries of the smallest root that has a child: the end entry.
pub(super) const SMALLEST_INNER: usize = BARE + CHILD;

/// An entry with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// As it stands in a leaf.
    bytes: Vec<u8>,
    /// The node with the keys before this one.
    child: Option<u64>,
}

impl Entry {
    /// From its bytes as they stand in a leaf; `None` when they are no such entry.
    pub(super) fn new(bytes: &[u8]) -> Option<Entry> {
        let (entry, len) = read_entry(bytes, 0)?;
        entry.filter(|entry| len == bytes.len() && entry.child.is_none())
    }

    /// Its key.
    pub(super) fn key(&self) -> &[u8] {
        let len = bytes::u16_le(&self.bytes, 0x0A).map_or(0, usize::from);
        bytes::slice(&self.bytes, BARE, len).unwrap_or_default()
    }

    /// Its bytes as they stand in a leaf.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same entry before another child.
    pub(super) fn with_child(self, child: Option<u64>) -> Entry {
        Entry { child, ..self }
    }

    fn len(&self) -> usize {
        let child = self.child.map_or(0, |_| CHILD);
        self.bytes.len().saturating_add(child)
    }
}

/// A node, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    entries: Vec<Entry>,
    /// The node with the keys after the last one.
    end: Option<u64>,
    /// How many bytes its entries may take where it lies, the end entry included.
    pub(super) room: usize,
}

impl Node {
    /// Takes a node apart whose header is at `header` in `bytes`, which are those of the whole block or value.
    pub(super) fn parse(bytes: &[u8], header: usize, what: &str) -> Result<Node> {
        let fault = |at: usize, expected: &str, found: &str| {
            Error::damaged(what, u64::try_from(at).unwrap_or(0), expected, found)
        };
        let field = |offset: usize| {
            let value = bytes::u32_le(bytes, header.checked_add(offset)?)?;
            usize::try_from(value).ok()
        };
        let Some(((first, used), allocated)) = field(0).zip(field(4)).zip(field(8)) else {
            return Err(fault(header, "a node header", "less"));
        };
        let body = bytes.get(header..).unwrap_or_default();
        if first < HEADER || first > used || used > allocated || allocated > body.len() {
            let found = format!("first {first:#x}, used {used:#x}, allocated {allocated:#x}");
            return Err(fault(header, "entries inside their node", &found));
        }
        let inner = body.get(0x0C).copied().unwrap_or(0) & 1 != 0;
        let used_bytes = body.get(..used).unwrap_or_default();
        let mut entries = Vec::new();
        let mut at = first;
        let end = loop {
            let place = header.saturating_add(at);
            let Some((entry, len)) = read_entry(used_bytes, at) else {
                return Err(fault(place, "an index entry inside its node", "none"));
            };
            at = at.saturating_add(len);
            let child = match &entry {
                Some(entry) => entry.child,
                None => read_child(used_bytes, at, len),
            };
            if child.is_some() != inner {
                let found = "a leaf's and an inner node's entries in one";
                return Err(fault(
                    place,
                    "entries all with or all without a child",
                    found,
                ));
            }
            match entry {
                Some(entry) => entries.push(entry),
                None => break child,
            }
        };
        if at != used {
            let place = header.saturating_add(at);
            return Err(fault(place, "the end entry last", "used bytes behind it"));
        }
        Ok(Node {
            entries,
            end,
            room: allocated.saturating_sub(first),
        })
    }

    /// A leaf without entries.
    pub(super) fn empty() -> Node {
        Node {
            entries: Vec::new(),
            end: None,
            room: 0,
        }
    }

    /// An inner node with one child and no entry.
    pub(super) fn above(child: u64, room: usize) -> Node {
        Node {
            entries: Vec::new(),
            end: Some(child),
            room,
        }
    }

    /// Its entries in order, without the end.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// It has no children.
    pub(super) fn is_leaf(&self) -> bool {
        self.end.is_none()
    }

    /// The child before entry `slot`; the one after the last entry for the slot behind it.
    pub(super) fn child(&self, slot: usize) -> Option<u64> {
        match self.entries.get(slot) {
            Some(entry) => entry.child,
            None => self.end.filter(|_| slot == self.entries.len()),
        }
    }

    /// Sets that child.
    pub(super) fn set_child(&mut self, slot: usize, child: Option<u64>) {
        match self.entries.get_mut(slot) {
            Some(entry) => entry.child = child,
            None => self.end = child,
        }
    }

    /// All children.
    pub(super) fn children(&self) -> impl Iterator<Item = u64> + '_ {
        let before = self.entries.iter().filter_map(|entry| entry.child);
        before.chain(self.end)
    }

    /// How many bytes its entries take, the end entry included.
    pub(super) fn len(&self) -> usize {
        let end = if self.is_leaf() { BARE } else { SMALLEST_INNER };
        let lens = self.entries.iter().map(Entry::len);
        lens.fold(end, usize::saturating_add)
    }

    /// Its entries have room where it lies.
    pub(super) fn fits(&self) -> bool {
        self.len() <= self.room
    }

    /// The slot of the entry that `order` says is equal, or where it would have to be.
    pub(super) fn search(&self, order: impl Fn(&[u8]) -> Ordering) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| order(entry.key()))
    }

    /// Puts an entry before the one at `slot`.
    pub(super) fn insert(&mut self, slot: usize, entry: Entry) {
        let slot = slot.min(self.entries.len());
        self.entries.insert(slot, entry);
    }

    /// Takes the entry at `slot` out, and its child pointer with it.
    pub(super) fn remove(&mut self, slot: usize) -> Option<Entry> {
        (slot < self.entries.len()).then(|| self.entries.remove(slot))
    }

    /// Puts another entry in the place of the one at `slot`, before the same child. Returns the old one.
    pub(super) fn replace(&mut self, slot: usize, entry: Entry) -> Option<Entry> {
        let place = self.entries.get_mut(slot)?;
        let entry = entry.with_child(place.child);
        Some(std::mem::replace(place, entry))
    }

    /// Overwrites bytes of the entry at `slot`. False when they do not lie in it, or would change its lengths or flags.
    #[must_use]
    pub(super) fn patch(&mut self, slot: usize, offset: usize, data: &[u8]) -> bool {
        let Some(entry) = self.entries.get_mut(slot) else {
            return false;
        };
        let fixed = bytes::array::<8>(&entry.bytes, 8);
        bytes::put(&mut entry.bytes, offset, data) && bytes::array::<8>(&entry.bytes, 8) == fixed
    }

    /// Cuts the node at the entry in the middle of its bytes. Keeps what is before it, and returns that entry, without
    /// a child, and a node with what is after it. `None`, and nothing done, for less than three entries: one of the
    /// two nodes would be empty.
    pub(super) fn split(&mut self) -> Option<(Entry, Node)> {
        let last = self.entries.len().checked_sub(2).filter(|last| *last > 0)?;
        let half = self.len().checked_div(2)?;
        let mut middle = 0_usize;
        let mut before = 0_usize;
        for entry in &self.entries {
            before = before.saturating_add(entry.len());
            if before > half {
                break;
            }
            middle = middle.saturating_add(1);
        }
        let middle = middle.clamp(1, last);
        let after = self.entries.split_off(middle.checked_add(1)?);
        let median = self.entries.pop()?;
        let right = Node {
            entries: after,
            end: self.end,
            room: self.room,
        };
        self.end = median.child;
        Some((median.with_child(None), right))
    }

    /// Lays the node out in a block or value that has its header, with the first entry, at `header`. False when it
    /// does not fit.
    #[must_use]
    pub(super) fn write(&self, target: &mut [u8], header: usize) -> bool {
        self.try_write(target, header).is_some()
    }

    fn try_write(&self, target: &mut [u8], header: usize) -> Option<()> {
        let body = target.get_mut(header..)?;
        let first = usize::try_from(bytes::u32_le(body, 0)?).ok()?;
        let allocated = usize::try_from(bytes::u32_le(body, 8)?).ok()?;
        let used = first.checked_add(self.len())?;
        if used > allocated.min(body.len()) {
            return None;
        }
        let mut at = first;
        for entry in &self.entries {
            at = lay(body, at, &entry.bytes, entry.child)?;
        }
        let mut end = [0; BARE];
        bytes::put(&mut end, 8, &u16::try_from(BARE).ok()?.to_le_bytes()).then_some(())?;
        bytes::put(&mut end, 0x0C, &END.to_le_bytes()).then_some(())?;
        at = lay(body, at, &end, self.end)?;
        bytes::put(body, 4, &u32::try_from(at).ok()?.to_le_bytes()).then_some(())?;
        let flags = body.get_mut(0x0C)?;
        *flags = (*flags & !1) | u8::from(!self.is_leaf());
        Some(())
    }

    /// The value of $INDEX_ROOT with this node: the 16 bytes before the node header from `old`, then the node.
    pub(super) fn to_root(&self, old: &[u8]) -> Option<Vec<u8>> {
        let len = HEADER.checked_add(self.len())?;
        let mut value = old.get(..ROOT_HEADER)?.to_vec();
        value.resize(ROOT_HEADER.checked_add(len)?, 0);
        let len = u32::try_from(len).ok()?.to_le_bytes();
        let first = u32::try_from(HEADER).ok()?.to_le_bytes();
        let put = bytes::put(&mut value, ROOT_HEADER, &first)
            && bytes::put(&mut value, ROOT_HEADER.checked_add(8)?, &len);
        (put && self.write(&mut value, ROOT_HEADER)).then_some(value)
    }
}

/// A block of `len` bytes with this VCN and no entries, for [`Node::write`]. `None` for a length that is none.
pub(super) fn new_block(len: usize, vcn: u64) -> Option<Vec<u8>> {
    let numbers = len.checked_div(512)?.checked_add(1)?;
    let first = first_entry(len)?;
    let mut block = vec![0; len];
    let u32 = |number: usize| u32::try_from(number).ok();
    let put = bytes::put(&mut block, 0, b"INDX")
        && bytes::put(&mut block, 4, &0x28_u16.to_le_bytes())
        && bytes::put(&mut block, 6, &u16::try_from(numbers).ok()?.to_le_bytes())
        && bytes::put(&mut block, 0x10, &vcn.to_le_bytes())
        && bytes::put(&mut block, BLOCK_HEADER, &u32(first)?.to_le_bytes())
        && bytes::put(
            &mut block,
            BLOCK_HEADER.checked_add(8)?,
            &u32(len.checked_sub(BLOCK_HEADER)?)?.to_le_bytes(),
        );
    put.then_some(block)
}

/// How many bytes the entries of a new block of `len` bytes may take.
pub(super) fn block_room(len: usize) -> usize {
    let room = || {
        len.checked_sub(BLOCK_HEADER)?
            .checked_sub(first_entry(len)?)
    };
    room().unwrap_or(0)
}

/// Where the first entry of a block of `len` bytes is, from its node header: behind the update sequence.
fn first_entry(len: usize) -> Option<usize> {
    let numbers = len.checked_div(512)?.checked_add(1)?;
    let end = HEADER.checked_add(numbers.checked_mul(2)?)?;
    end.checked_next_multiple_of(8)
}

/// Where an entry of a node is, and what it says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct EntryPlace {
    /// Where it begins: bytes from the start of the block or value.
    pub(in super::super) offset: usize,
    /// Its length in bytes.
    pub(in super::super) len: usize,
    flags: u16,
}

impl EntryPlace {
    /// It ends the node and has no key.
    pub(in super::super) fn is_end(&self) -> bool {
        self.flags & END != 0
    }

    /// It ends with the VCN of a child.
    pub(in super::super) fn has_child(&self) -> bool {
        self.flags & HAS_CHILD != 0
    }
}

/// Where the entries of a node are whose header is at `header` in `bytes`, the end entry last; it ends exactly where the
/// used bytes do. What is in them is not looked at.
pub(in super::super) fn entry_places(bytes: &[u8], header: usize) -> Option<Vec<EntryPlace>> {
    let field = |offset: usize| {
        let value = bytes::u32_le(bytes, header.checked_add(offset)?)?;
        header.checked_add(usize::try_from(value).ok()?)
    };
    let (mut at, used, allocated) = (field(0)?, field(4)?, field(8)?);
    if at < header.checked_add(HEADER)? || used > allocated {
        return None;
    }
    bytes.get(..allocated)?;
    let used_bytes = bytes.get(..used)?;
    let mut places = Vec::new();
    loop {
        let len = usize::from(bytes::u16_le(used_bytes, at.checked_add(8)?)?);
        let flags = bytes::u16_le(used_bytes, at.checked_add(0x0C)?)?;
        let least = match flags & HAS_CHILD {
            0 => BARE,
            _ => SMALLEST_INNER,
        };
        if len < least || !len.is_multiple_of(8) {
            return None;
        }
        let place = EntryPlace {
            offset: at,
            len,
            flags,
        };
        at = at.checked_add(len).filter(|end| *end <= used)?;
        places.push(place);
        if place.is_end() {
            return (at == used).then_some(places);
        }
    }
}

/// Puts an entry at `at` in a node; returns where the next one goes.
fn lay(node: &mut [u8], at: usize, entry: &[u8], child: Option<u64>) -> Option<usize> {
    bytes::put(node, at, entry).then_some(())?;
    let mut end = at.checked_add(entry.len())?;
    if let Some(child) = child {
        bytes::put(node, end, &child.to_le_bytes()).then_some(())?;
        end = end.checked_add(CHILD)?;
        let flags = bytes::u16_le(entry, 0x0C)? | HAS_CHILD;
        let len = u16::try_from(end.checked_sub(at)?).ok()?;
        let put = bytes::put(node, at.checked_add(0x0C)?, &flags.to_le_bytes())
            && bytes::put(node, at.checked_add(8)?, &len.to_le_bytes());
        put.then_some(())?;
    }
    Some(end)
}

/// The entry at `at` (`None` for the end entry) and its length. `node` ends with the used bytes.
fn read_entry(node: &[u8], at: usize) -> Option<(Option<Entry>, usize)> {
    let len = usize::from(bytes::u16_le(node, at.checked_add(8)?)?);
    let entry = bytes::slice(node, at, len).filter(|_| len >= BARE && len.is_multiple_of(8))?;
    let flags = bytes::u16_le(entry, 0x0C)?;
    let (body, child) = match flags & HAS_CHILD {
        0 => (entry, None),
        _ => {
            let vcn = len.checked_sub(CHILD).filter(|vcn| *vcn >= BARE)?;
            (entry.get(..vcn)?, Some(bytes::u64_le(entry, vcn)?))
        }
    };
    if flags & END != 0 {
        return Some((None, len));
    }
    let key_len = usize::from(bytes::u16_le(entry, 0x0A)?);
    bytes::slice(body, BARE, key_len)?;
    let mut own = body.to_vec();
    let put = bytes::put(&mut own, 8, &u16::try_from(body.len()).ok()?.to_le_bytes())
        && bytes::put(&mut own, 0x0C, &(flags & !HAS_CHILD).to_le_bytes());
    put.then_some(())?;
    Some((Some(Entry { bytes: own, child }), len))
}

/// The child of the end entry of `len` bytes that ends at `end`.
fn read_child(node: &[u8], end: usize, len: usize) -> Option<u64> {
    let flags = bytes::u16_le(node, end.checked_sub(len)?.checked_add(0x0C)?)?;
    let vcn = end.checked_sub(CHILD)?;
    (flags & HAS_CHILD != 0).then(|| bytes::u64_le(node, vcn))?
}
