// SPDX-License-Identifier: GPL-2.0-or-later
//! Putting a key into its parent's subkey list and taking it out.
//!
//! ```text
//! none                    -> one leaf: lh from minor version 5 on, lf before
//! lf full (507)           -> li, in place (minor 3 and 4 only make li this way)
//! lh or li full (1013)    -> ri with the two halves
//! leaf under an ri full   -> two halves, the second one after it in the ri
//! ```
//!
//! These are the steps Windows takes; hives that it made show their result (leaves of 506 under an ri). A leaf keeps its kind, whatever the version: a foreign writer may have chosen another.
//! Below the ri the leaves are one sorted sequence; a name goes into the first leaf whose last name is not
//! smaller. A list whose neighbours are not in order is left alone: Windows would not find the new key.

use std::cmp::Ordering;

use super::Hive;
use super::format::{CellOffset, ListKind, SubkeyList, damaged, key_node};
use super::key::Key;
use super::names::Name;
use crate::error::{Error, Result};

/// First minor version whose lists are hashed.
const HASH_LEAF_MINOR: u32 = 5;

/// A leaf and where it stands: its place in the ri above it, if there is one.
#[derive(Clone, Copy)]
struct Leaf {
    offset: CellOffset,
    in_root: Option<(CellOffset, usize)>,
}

impl Hive {
    /// Adds `key`, whose name is `name`, to the list of `parent` and counts it there.
    pub(crate) fn insert_subkey(
        &mut self,
        parent: CellOffset,
        key: CellOffset,
        name: Name<'_>,
    ) -> Result<()> {
        let node = Key::read(self, parent)?.node;
        let count = self.count_subkeys(parent)?;
        if count == 0 {
            let kind = match self.minor() >= HASH_LEAF_MINOR {
                true => ListKind::HashLeaf,
                false => ListKind::FastLeaf,
            };
            let list = self.new_list(kind, &element(kind, key, name))?;
            self.set_list(parent, list)?;
        } else {
            let mut leaf = self.leaf_for(parent, name)?;
            let list = self.subkey_list(leaf.offset)?;
            if list.len() >= list.kind.capacity() {
                self.make_room(parent, leaf)?;
                leaf = self.leaf_for(parent, name)?;
            }
            let list = self.subkey_list(leaf.offset)?;
            let kind = list.kind;
            let index = self.position(&list, name)?;
            let moved = self.insert_element(leaf.offset, index, &element(kind, key, name))?;
            self.move_leaf(parent, leaf, moved)?;
        }
        let count = node.subkey_count.checked_add(1).ok_or_else(|| {
            damaged(
                "key node (nk)",
                parent,
                "a count of subkeys",
                "the largest number",
            )
        })?;
        self.bins.write_u32(parent, key_node::SUBKEY_COUNT, count)
    }

    /// Takes `key` out of the list of `parent` and counts it off there.
    pub(crate) fn remove_subkey(&mut self, parent: CellOffset, key: CellOffset) -> Result<()> {
        let count = self.count_subkeys(parent)?;
        let (leaf, index) = self.find_subkey(parent, key)?;
        if self.remove_element(leaf.offset, index)? == 0 {
            self.release(leaf.offset)?;
            match leaf.in_root {
                None => self.set_list(parent, CellOffset::NIL)?,
                Some((root, place)) => {
                    if self.remove_element(root, place)? == 0 {
                        self.release(root)?;
                        self.set_list(parent, CellOffset::NIL)?;
                    }
                }
            }
        }
        let count = count.saturating_sub(1);
        self.bins.write_u32(parent, key_node::SUBKEY_COUNT, count)
    }

    /// How many subkeys the lists of `key` hold; an error when the key node says otherwise.
    fn count_subkeys(&self, offset: CellOffset) -> Result<u32> {
        let key = Key::read(self, offset)?;
        let listed = key
            .leaves()?
            .iter()
            .fold(0_usize, |sum, list| sum.saturating_add(list.len()));
        match u32::try_from(listed) {
            Ok(listed) if listed == key.subkey_count() => Ok(listed),
            _ => {
                let expected = format!("{} subkeys in its lists", key.subkey_count());
                Err(damaged(
                    "key node (nk)",
                    offset,
                    expected,
                    listed.to_string(),
                ))
            }
        }
    }

    /// The leaf into which `name` belongs. The key has at least one subkey.
    fn leaf_for(&self, parent: CellOffset, name: Name<'_>) -> Result<Leaf> {
        let top = self.subkey_list(Key::read(self, parent)?.node.subkey_list)?;
        if top.kind != ListKind::IndexRoot {
            return Ok(Leaf {
                offset: top.offset,
                in_root: None,
            });
        }
        let mut chosen = None;
        for (place, target) in top.targets().enumerate() {
            chosen = Some(Leaf {
                offset: target,
                in_root: Some((top.offset, place)),
            });
            let leaf = self.subkey_list(target)?;
            if leaf.kind == ListKind::IndexRoot {
                let expected = "a leaf (li, lf or lh) below an ri";
                return Err(damaged("subkey list", target, expected, "another ri"));
            }
            let last = leaf.targets().next_back();
            let last = last.ok_or_else(|| damaged("subkey list", target, "a subkey", "none"))?;
            if self.key_name(last)?.cmp_ignore_case(name) != Ordering::Less {
                break;
            }
        }
        chosen.ok_or_else(|| damaged("subkey list", top.offset, "a leaf below the ri", "none"))
    }

    /// The leaf and the place in it at which `key` is listed.
    fn find_subkey(&self, parent: CellOffset, key: CellOffset) -> Result<(Leaf, usize)> {
        let top = self.subkey_list(Key::read(self, parent)?.node.subkey_list)?;
        let leaves: Vec<Leaf> = match top.kind {
            ListKind::IndexRoot => top
                .targets()
                .enumerate()
                .map(|(place, offset)| Leaf {
                    offset,
                    in_root: Some((top.offset, place)),
                })
                .collect(),
            _ => vec![Leaf {
                offset: top.offset,
                in_root: None,
            }],
        };
        for leaf in leaves {
            let mut targets = self.subkey_list(leaf.offset)?.targets();
            if let Some(index) = targets.position(|target| target == key) {
                return Ok((leaf, index));
            }
        }
        let expected = format!("the subkey at {:#x}", key.in_file());
        Err(damaged(
            "subkey list",
            top.offset,
            expected,
            "other subkeys",
        ))
    }

    /// Where `name` belongs in a leaf, by halving; its neighbours there are seen to be in order.
    fn position(&self, leaf: &SubkeyList<'_>, name: Name<'_>) -> Result<usize> {
        let (mut low, mut high) = (0_usize, leaf.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.compare(leaf, middle, name)? {
                Ordering::Less => low = middle.saturating_add(1),
                _ => high = middle,
            }
        }
        let before_fits = match low.checked_sub(1) {
            Some(before) => self.compare(leaf, before, name)? == Ordering::Less,
            None => true,
        };
        let after_fits = low >= leaf.len() || self.compare(leaf, low, name)? == Ordering::Greater;
        if !before_fits || !after_fits {
            let expected = "subkeys sorted by name";
            return Err(damaged(
                "subkey list",
                leaf.offset,
                expected,
                "another order",
            ));
        }
        Ok(low)
    }

    /// How subkey `index` of a leaf compares with `name`.
    fn compare(&self, leaf: &SubkeyList<'_>, index: usize, name: Name<'_>) -> Result<Ordering> {
        let target = leaf.target(index).unwrap_or(CellOffset::NIL);
        Ok(self.key_name(target)?.cmp_ignore_case(name))
    }

    /// Turns a full leaf into one or two that are not full.
    fn make_room(&mut self, parent: CellOffset, leaf: Leaf) -> Result<()> {
        let kind = self.subkey_list(leaf.offset)?.kind;
        match leaf.in_root {
            None if kind == ListKind::FastLeaf => self.fast_leaf_to_index_leaf(leaf.offset),
            None => {
                let offset = leaf.offset.0.to_le_bytes();
                let root = self.new_list(ListKind::IndexRoot, &offset)?;
                self.set_list(parent, root)?;
                self.split(
                    parent,
                    Leaf {
                        in_root: Some((root, 0)),
                        ..leaf
                    },
                )
            }
            Some(_) => self.split(parent, leaf),
        }
    }

    fn fast_leaf_to_index_leaf(&mut self, offset: CellOffset) -> Result<()> {
        let targets: Vec<CellOffset> = self.subkey_list(offset)?.targets().collect();
        let list = list_record(
            ListKind::IndexLeaf,
            targets.len(),
            targets.iter().flat_map(|target| target.0.to_le_bytes()),
        )?;
        self.bins.write_cell(offset, 0, &list)
    }

    /// Moves the second half of a leaf under an ri to a new leaf after it.
    fn split(&mut self, parent: CellOffset, leaf: Leaf) -> Result<()> {
        let Some((root, place)) = leaf.in_root else {
            return Err(damaged(
                "subkey list",
                leaf.offset,
                "a leaf under an ri",
                "a leaf",
            ));
        };
        let list = self.subkey_list(root)?;
        if list.len() >= ListKind::IndexRoot.capacity() {
            let what = format!("the subkey list at {:#x} is full", root.in_file());
            return Err(Error::refused(what, "create the key elsewhere"));
        }
        let list = self.subkey_list(leaf.offset)?;
        let kind = list.kind;
        let kept = list.len() >> 1;
        let moved: Vec<u8> = list.elements().skip(kept).flatten().copied().collect();
        let second = self.new_list(kind, &moved)?;
        self.set_count(leaf.offset, kept)?;
        let after = place.saturating_add(1);
        let moved = self.insert_element(root, after, &second.0.to_le_bytes())?;
        if moved != root {
            self.set_list(parent, moved)?;
        }
        Ok(())
    }

    /// A new list of these elements.
    fn new_list(&mut self, kind: ListKind, elements: &[u8]) -> Result<CellOffset> {
        let count = elements.len().checked_div(kind.element()).unwrap_or(0);
        let record = list_record(kind, count, elements.iter().copied())?;
        self.allocate_with(&record)
    }

    fn set_list(&mut self, parent: CellOffset, list: CellOffset) -> Result<()> {
        self.bins.write_u32(parent, key_node::SUBKEY_LIST, list.0)
    }

    fn set_count(&mut self, list: CellOffset, count: usize) -> Result<()> {
        self.bins.write_cell(list, 2, &count_field(count)?)
    }

    /// Points whatever pointed at `leaf` to where it has moved.
    fn move_leaf(&mut self, parent: CellOffset, leaf: Leaf, moved: CellOffset) -> Result<()> {
        match leaf.in_root {
            _ if moved == leaf.offset => Ok(()),
            None => self.set_list(parent, moved),
            Some((root, place)) => {
                let at = place.saturating_mul(4).saturating_add(SubkeyList::HEADER);
                self.bins.write_u32(root, at, moved.0)
            }
        }
    }

    /// Puts an element before place `index` of a list; returns where the list is now.
    fn insert_element(
        &mut self,
        offset: CellOffset,
        index: usize,
        element: &[u8],
    ) -> Result<CellOffset> {
        let list = self.subkey_list(offset)?;
        let count = count_field(list.len().saturating_add(1))?;
        let mut elements: Vec<u8> = list.elements().take(index).flatten().copied().collect();
        let unchanged = elements.len();
        elements.extend_from_slice(element);
        elements.extend(list.elements().skip(index).flatten());
        let signature = list.kind.signature();
        let room = self.bins.cell("subkey list", offset)?.len();
        let need = elements.len().saturating_add(SubkeyList::HEADER);
        if room >= need || self.extend(offset, need)? {
            let tail = elements.get(unchanged..).unwrap_or_default();
            let at = unchanged.saturating_add(SubkeyList::HEADER);
            self.bins.write_cell(offset, at, tail)?;
            self.bins.write_cell(offset, 2, &count)?;
            return Ok(offset);
        }
        let record = [signature.as_slice(), &count, &elements].concat();
        let moved = self.allocate_with(&record)?;
        self.release(offset)?;
        Ok(moved)
    }

    /// Takes element `index` out of a list; returns how many are left.
    fn remove_element(&mut self, offset: CellOffset, index: usize) -> Result<usize> {
        let list = self.subkey_list(offset)?;
        let left = list.len().saturating_sub(1);
        let after = index.saturating_add(1);
        let tail: Vec<u8> = list.elements().skip(after).flatten().copied().collect();
        let at = index.saturating_mul(list.kind.element());
        self.bins
            .write_cell(offset, at.saturating_add(SubkeyList::HEADER), &tail)?;
        self.set_count(offset, left)?;
        Ok(left)
    }
}

/// A list's element for a key.
fn element(kind: ListKind, key: CellOffset, name: Name<'_>) -> Vec<u8> {
    let mut element = key.0.to_le_bytes().to_vec();
    match kind {
        ListKind::FastLeaf => element.extend(name.hint()),
        ListKind::HashLeaf => element.extend(name.hash().to_le_bytes()),
        ListKind::IndexLeaf | ListKind::IndexRoot => {}
    }
    element
}

fn list_record(
    kind: ListKind,
    count: usize,
    elements: impl Iterator<Item = u8>,
) -> Result<Vec<u8>> {
    let mut record = kind.signature().to_vec();
    record.extend(count_field(count)?);
    record.extend(elements);
    Ok(record)
}

fn count_field(count: usize) -> Result<[u8; 2]> {
    u16::try_from(count).map(u16::to_le_bytes).map_err(|_| {
        let what = format!("a subkey list cannot hold {count} elements");
        Error::refused(what, "create the key elsewhere")
    })
}
