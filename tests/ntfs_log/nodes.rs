// SPDX-License-Identifier: GPL-2.0-or-later
//! How the entries of a node of an index became others.

use super::image::{u16_at, u32_at};

/// The entries of a node: offset in it and bytes, the end last.
pub fn entries(node: &[u8], header: usize) -> Vec<(usize, Vec<u8>)> {
    let mut at = header + u32_at(node, header) as usize;
    let mut found = Vec::new();
    loop {
        let len = usize::from(u16_at(node, at + 8));
        found.push((at, node[at..at + len].to_vec()));
        if node[at + 0x0C] & 2 != 0 {
            return found;
        }
        at += len;
    }
}

/// How one entry changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Added,
    Removed,
    Child,
    Name,
}

/// A change of an entry: where it begins, which bytes behind that become which, and the payloads.
pub struct Change {
    pub how: How,
    pub at: usize,
    pub from: usize,
    pub old: Vec<u8>,
    pub new: Vec<u8>,
    pub redo: Vec<u8>,
    pub undo: Vec<u8>,
}

impl Change {
    /// The codes for adding, removing, a child, a name: that of this change, and of its undo.
    pub fn codes(&self, [add, delete, child, name]: [u16; 4]) -> Option<(u16, u16)> {
        Some(match self.how {
            How::Added => (add, delete),
            How::Removed => (delete, add),
            How::Child => (child, child),
            How::Name => (name, name),
        })
    }
}

pub fn between_nodes(own: &[(usize, Vec<u8>)], wanted: &[(usize, Vec<u8>)]) -> Option<Vec<Change>> {
    let mut changes = Vec::new();
    let mut own: Vec<(usize, Vec<u8>)> = own.to_vec();
    let last = own.len() - 1;
    let (end, new_end) = (own[last].1.clone(), wanted[wanted.len() - 1].1.clone());
    if end != new_end {
        // Its child is another.
        let change = exchange(own[last].0, &end, &new_end)?;
        changes.push(change);
        own[last].1 = new_end;
    }
    let head = own
        .iter()
        .zip(wanted)
        .take_while(|(own, new)| own.1 == new.1)
        .count();
    let tail = own[head..].iter().rev().zip(wanted[head..].iter().rev());
    let tail = tail.take_while(|(own, new)| own.1 == new.1).count();
    let (was, is) = (
        &own[head..own.len() - tail],
        &wanted[head..wanted.len() - tail],
    );
    let mut at = own.get(head).map_or(0, |entry| entry.0);
    if let ([was], [is]) = (was, is)
        && let Some(change) = exchange(at, &was.1, &is.1)
    {
        changes.push(change);
        return Some(changes);
    }
    for (_, entry) in was {
        changes.push(Change {
            how: How::Removed,
            at,
            from: 0,
            old: entry.clone(),
            new: Vec::new(),
            redo: Vec::new(),
            undo: entry.clone(),
        });
    }
    for (_, entry) in is {
        changes.push(Change {
            how: How::Added,
            at,
            from: 0,
            old: Vec::new(),
            new: entry.clone(),
            redo: entry.clone(),
            undo: Vec::new(),
        });
        at += entry.len();
    }
    Some(changes)
}

/// Another child, or other times and sizes, of one entry.
fn exchange(at: usize, was: &[u8], is: &[u8]) -> Option<Change> {
    let child = is[0x0C] & 1 != 0;
    let range = |how, from: usize, to: usize| {
        let alike = was.len() == is.len() && was[..from] == is[..from] && was[to..] == is[to..];
        alike.then(|| Change {
            how,
            at,
            from,
            old: was[from..to].to_vec(),
            new: is[from..to].to_vec(),
            redo: is[from..to].to_vec(),
            undo: was[from..to].to_vec(),
        })
    };
    if was.len() == is.len()
        && child
        && let Some(change) = range(How::Child, is.len() - 8, is.len())
    {
        return Some(change);
    }
    match is.len() >= 0x50 && is[0x0C] & 2 == 0 && was.len() == is.len() {
        true => range(How::Name, 0x18, 0x50),
        false => None,
    }
}
