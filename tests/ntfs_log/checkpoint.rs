// SPDX-License-Identifier: GPL-2.0-or-later
//! The tables of a checkpoint of `$LogFile`, as Windows writes them. Shared like `writer`.

#![allow(
    missing_docs,
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

use super::writer::{Action, Payload, put};

/// An open attribute. `at` is the offset of its entry.
#[derive(Clone, Debug)]
pub struct OpenAttribute {
    pub at: u16,
    pub kind: u32,
    /// Record number and, above 48 bits, sequence number.
    pub file: u64,
    pub opened: u64,
    pub block_len: u32,
    pub name: String,
}

/// A dirty page.
#[derive(Clone, Debug)]
pub struct DirtyPage {
    pub target: u16,
    pub vcn: u64,
    pub oldest: u64,
    pub lcns: Vec<u64>,
}

/// A transaction that is not over. Its number is the offset of its entry.
#[derive(Clone, Debug)]
pub struct Transaction {
    pub id: u32,
    pub state: u8,
    pub first: u64,
    pub previous: u64,
    pub undo_next: u64,
}

/// What a checkpoint keeps.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub attributes: Vec<OpenAttribute>,
    pub pages: Vec<DirtyPage>,
    pub transactions: Vec<Transaction>,
}

/// The offset of entry `slot` of the open attribute table.
pub fn attribute_at(major: u32, slot: u16) -> u16 {
    0x18 + slot * attribute_len(major)
}

/// Length of an entry of the open attribute table.
pub fn attribute_len(major: u32) -> u16 {
    if major == 0 { 0x2C } else { 0x28 }
}

impl OpenAttribute {
    /// Its entry.
    pub fn entry(&self, major: u32) -> Vec<u8> {
        let mut entry = vec![0; usize::from(attribute_len(major))];
        put(&mut entry, 0, &[0xFF; 4]);
        let (kind, file, opened, block) = match major {
            0 => (0x1C, 8, 0x10, 0x28),
            _ => (8, 0x10, 0x18, 4),
        };
        put(&mut entry, kind, &self.kind.to_le_bytes());
        put(&mut entry, file, &self.file.to_le_bytes());
        put(&mut entry, opened, &self.opened.to_le_bytes());
        put(&mut entry, block, &self.block_len.to_le_bytes());
        entry
    }

    /// Its name in UTF-16.
    pub fn utf16(&self) -> Vec<u8> {
        let units = self.name.encode_utf16();
        units.flat_map(u16::to_le_bytes).collect()
    }

    /// The action that opens it in the middle of a log.
    pub fn opening(&self, major: u32) -> Action {
        Action {
            redo: (0x1C, Payload::Bytes(self.entry(major))),
            undo: (0, Payload::of(&self.utf16())),
            target: self.at,
            ..Action::bare(0x1C, 0)
        }
    }
}

impl DirtyPage {
    pub fn entry(&self, major: u32) -> Vec<u8> {
        let (vcn, oldest, lcns) = match major {
            0 => (0x14, 0x1C, 0x24),
            _ => (0x10, 0x18, 0x20),
        };
        let mut entry = vec![0; lcns + 8 * self.lcns.len()];
        put(&mut entry, 0, &[0xFF; 4]);
        put(&mut entry, 4, &u32::from(self.target).to_le_bytes());
        put(&mut entry, 8, &0x1000_u32.to_le_bytes());
        put(&mut entry, 0x0C, &(self.lcns.len() as u32).to_le_bytes());
        put(&mut entry, vcn, &self.vcn.to_le_bytes());
        put(&mut entry, oldest, &self.oldest.to_le_bytes());
        for (slot, lcn) in self.lcns.iter().enumerate() {
            put(&mut entry, lcns + 8 * slot, &lcn.to_le_bytes());
        }
        entry
    }
}

impl Transaction {
    pub fn entry(&self) -> Vec<u8> {
        let mut entry = vec![0; 0x28];
        put(&mut entry, 0, &[0xFF; 4]);
        entry[4] = self.state;
        put(&mut entry, 8, &self.first.to_le_bytes());
        put(&mut entry, 0x10, &self.previous.to_le_bytes());
        put(&mut entry, 0x18, &self.undo_next.to_le_bytes());
        entry
    }
}

/// A table of entries at their offsets; what is between them is free, and one more entry at the end.
pub fn table(entries: &[(usize, Vec<u8>)], len: usize) -> Vec<u8> {
    let end = entries.iter().map(|(at, _)| at + len).max().unwrap_or(0x18);
    let count = (end - 0x18) / len + 1;
    let mut table = vec![0; 0x18 + count * len];
    put(&mut table, 0, &(len as u16).to_le_bytes());
    put(&mut table, 2, &(count as u16).to_le_bytes());
    put(&mut table, 4, &(entries.len() as u16).to_le_bytes());
    put(&mut table, 0x0C, &[0xFF; 4]);
    let mut free = Vec::new();
    for slot in 0..count {
        let at = 0x18 + slot * len;
        match entries.iter().find(|(place, _)| *place == at) {
            Some((_, entry)) => put(&mut table, at, entry),
            None => free.push(at),
        }
    }
    put(&mut table, 0x10, &(free[0] as u32).to_le_bytes());
    put(
        &mut table,
        0x14,
        &(free[free.len() - 1] as u32).to_le_bytes(),
    );
    for pair in free.windows(2) {
        put(&mut table, pair[0], &(pair[1] as u32).to_le_bytes());
    }
    table
}
