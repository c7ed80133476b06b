// SPDX-License-Identifier: GPL-2.0-or-later
//! A record or a block on its way from what it was to what it is, action by action.

use super::changes::Effect;
use super::image::{attributes, name, u16_at, u32_at, u64_at, value};
use super::nodes::{between_nodes, entries};
use super::writer::{Payload, put};

/// An action that has no place yet.
#[derive(Clone, Debug)]
pub struct Draft {
    pub redo: (u16, Payload),
    pub undo: (u16, Payload),
    pub record_offset: usize,
    pub attribute_offset: usize,
    pub effect: Effect,
    pub back: Effect,
}

/// A record that was free: first what takes it back, then its bytes.
pub fn created(new: &[u8]) -> Option<Vec<Draft>> {
    if u16_at(new, 0x16) & 1 == 0 {
        return None;
    }
    let mut freed = new.to_vec();
    put(&mut freed, 0x16, &(u16_at(new, 0x16) & !1).to_le_bytes());
    put(
        &mut freed,
        0x10,
        &(u16_at(new, 0x10).wrapping_add(1).max(1)).to_le_bytes(),
    );
    let mut payload = new[..u32_at(new, 0x18) as usize].to_vec();
    put(&mut payload, 8, &[0; 8]);
    let bare = |redo, undo, effect, back| Draft {
        redo,
        undo,
        record_offset: 0,
        attribute_offset: 0,
        effect,
        back,
    };
    Some(vec![
        bare(
            (0, Payload::None),
            (3, Payload::None),
            Effect::Nothing,
            Effect::Structure(freed),
        ),
        bare(
            (2, Payload::of(&payload)),
            (0, Payload::None),
            Effect::Structure(new.to_vec()),
            Effect::Nothing,
        ),
    ])
}

pub fn whole_block(old: Option<&[u8]>, new: &[u8]) -> Draft {
    let prepared = |block: &[u8]| {
        let mut payload = block[..0x18 + u32_at(block, 0x1C) as usize].to_vec();
        put(&mut payload, 8, &[0; 8]);
        payload
    };
    Draft {
        redo: (8, Payload::of(&prepared(new))),
        undo: match old {
            Some(old) => (8, Payload::of(&prepared(old))),
            None => (0, Payload::None),
        },
        record_offset: 0,
        attribute_offset: 0,
        effect: Effect::Structure(new.to_vec()),
        back: old.map_or(Effect::Nothing, |old| Effect::Structure(old.to_vec())),
    }
}

/// A structure on its way from the old to the new.
pub struct Editor {
    memory: Vec<u8>,
    drafts: Vec<Draft>,
}

/// Which attribute of a record it is.
fn key(attribute: &[u8]) -> (u32, String, u16) {
    (
        u32_at(attribute, 0),
        name(attribute),
        u16_at(attribute, 0x0E),
    )
}

impl Editor {
    pub fn new(memory: Vec<u8>) -> Editor {
        Editor {
            memory,
            drafts: Vec::new(),
        }
    }

    /// One action: `change` is what it does.
    fn step(
        &mut self,
        redo: (u16, &[u8]),
        undo: (u16, &[u8]),
        at: (usize, usize),
        change: impl FnOnce(&mut Vec<u8>),
    ) {
        let back = self.memory.clone();
        change(&mut self.memory);
        self.drafts.push(Draft {
            redo: (redo.0, Payload::of(redo.1)),
            undo: (undo.0, Payload::of(undo.1)),
            record_offset: at.0,
            attribute_offset: at.1,
            effect: Effect::Structure(self.memory.clone()),
            back: Effect::Structure(back),
        });
    }

    /// The actions that make `new` of this record, which is in use.
    pub fn become_record(mut self, new: &[u8]) -> Option<Vec<Draft>> {
        let wanted: Vec<Vec<u8>> = attributes(new)
            .iter()
            .map(|(at, len)| new[*at..at + len].to_vec())
            .collect();
        let mut at = usize::from(u16_at(&self.memory, 0x14));
        let mut next = 0;
        loop {
            let own = attributes(&self.memory)
                .into_iter()
                .find(|(place, _)| *place == at);
            let own = own.map(|(at, len)| self.memory[at..at + len].to_vec());
            match (own, wanted.get(next)) {
                (Some(own), Some(new)) if key(&own) == key(new) => {
                    self.become_attribute(at, &own, new);
                    at += new.len();
                    next += 1;
                }
                (Some(own), _) if !wanted[next..].iter().any(|new| key(new) == key(&own)) => {
                    self.remove(at, &own)
                }
                (_, Some(new)) => {
                    self.insert(at, new);
                    at += new.len();
                    next += 1;
                }
                _ => break,
            }
        }
        if u16_at(new, 0x16) & 1 == 0 {
            let header = self.memory[..0x18].to_vec();
            self.step((3, &[]), (2, &header), (0, 0), |memory| {
                let flags = u16_at(memory, 0x16) & !1;
                let sequence = u16_at(memory, 0x10).wrapping_add(1).max(1);
                put(memory, 0x16, &flags.to_le_bytes());
                put(memory, 0x10, &sequence.to_le_bytes());
            });
        }
        (same(&self.memory, new)).then_some(self.drafts)
    }

    fn insert(&mut self, at: usize, new: &[u8]) {
        self.step((5, new), (6, &[]), (at, 0), |memory| {
            splice(memory, at, 0, new);
            let indexed = u16::from(new[8] == 0 && new[0x16] & 1 != 0);
            let (links, next) = (u16_at(memory, 0x12), u16_at(memory, 0x28));
            put(memory, 0x12, &(links + indexed).to_le_bytes());
            put(memory, 0x28, &next.max(u16_at(new, 0x0E) + 1).to_le_bytes());
        });
    }

    fn remove(&mut self, at: usize, old: &[u8]) {
        self.step((6, &[]), (5, old), (at, 0), |memory| {
            splice(memory, at, old.len(), &[]);
            let indexed = u16::from(old[8] == 0 && old[0x16] & 1 != 0);
            let links = u16_at(memory, 0x12);
            put(memory, 0x12, &(links - indexed).to_le_bytes());
        });
    }

    fn become_attribute(&mut self, at: usize, old: &[u8], new: &[u8]) {
        if old == new {
            return;
        }
        let (memory, drafts) = (self.memory.clone(), self.drafts.len());
        let fields: &[(usize, usize)] = match new[8] {
            0 => &[(4, 8), (0x10, 0x14)],
            _ => &[(4, 8), (0x18, 0x20), (0x28, 0x40)],
        };
        let head = usize::from(u16_at(new, if new[8] == 0 { 0x14 } else { 0x20 }));
        let alike = (0..head.min(old.len())).all(|at| {
            let may = fields.iter().any(|(from, to)| (*from..*to).contains(&at));
            may || old[at] == new[at]
        });
        if alike && new[8] == 0 {
            self.become_value(at, old, new, head);
        } else if alike {
            self.become_mapping(at, old, new, head);
        }
        if self.memory[at..at + new.len()] != *new {
            self.memory = memory;
            self.drafts.truncate(drafts);
            self.remove(at, old);
            self.insert(at, new);
        }
    }

    fn become_value(&mut self, at: usize, old: &[u8], new: &[u8], head: usize) {
        if u32_at(new, 0) == 0x90 && self.become_root(at, old, new, head).is_some() {
            return;
        }
        let (was, is) = (value(old), value(new));
        let first = was.iter().zip(is).position(|(old, new)| old != new);
        let first = first.unwrap_or(was.len().min(is.len())) & !3;
        let (was, is) = (&was[first..], &is[first..]);
        let value_len = (first + is.len()) as u32;
        self.step((7, is), (7, was), (at, head + first), |memory| {
            let mut raw = old[..head + first].to_vec();
            raw.extend_from_slice(is);
            if is.len() == was.len() {
                raw.extend_from_slice(&old[raw.len()..]);
            } else {
                raw.resize(raw.len().next_multiple_of(8), 0);
                let len = raw.len() as u32;
                put(&mut raw, 4, &len.to_le_bytes());
                put(&mut raw, 0x10, &value_len.to_le_bytes());
            }
            splice(memory, at, old.len(), &raw);
        });
    }

    fn become_mapping(&mut self, at: usize, old: &[u8], new: &[u8], head: usize) {
        let pairs = |raw: &[u8]| {
            let mut end = head;
            while raw[end] != 0 {
                end += 1 + usize::from(raw[end] & 15) + usize::from(raw[end] >> 4);
            }
            raw[head..=end].to_vec()
        };
        let (was, is) = (pairs(old), pairs(new));
        if was != is {
            // Only what differs, as far as that is whole runs is no matter.
            let first = was
                .iter()
                .zip(&is)
                .position(|(old, new)| old != new)
                .unwrap_or(0);
            let (was, tail) = (&was[first..], &is[first..]);
            self.step((9, tail), (9, was), (at, head + first), |memory| {
                let mut raw = memory[at..at + head + first].to_vec();
                raw.extend_from_slice(tail);
                raw.resize(raw.len().next_multiple_of(8), 0);
                let len = raw.len() as u32;
                put(&mut raw, 4, &len.to_le_bytes());
                put(&mut raw, 0x18, &new[0x18..0x20]);
                splice(memory, at, old.len(), &raw);
            });
        }
        if old[0x28..0x40] != new[0x28..0x40] && u64_at(new, 0x10) == 0 {
            let sizes =
                |raw: &[u8]| [&raw[0x28..0x30], &raw[0x38..0x40], &raw[0x30..0x38]].concat();
            self.step(
                (0x0B, &sizes(new)),
                (0x0B, &sizes(old)),
                (at, 0),
                |memory| {
                    put(memory, at + 0x28, &new[0x28..0x40]);
                },
            );
        }
    }

    /// Entries that come and go in a root; nothing where it changes in another way.
    fn become_root(&mut self, at: usize, old: &[u8], new: &[u8], head: usize) -> Option<()> {
        let header = head + 0x10;
        let alike = old[head..header + 4] == new[head..header + 4]
            && old[header + 0x0C] == new[header + 0x0C];
        if !alike {
            return None;
        }
        let (own, wanted) = (entries(old, header), entries(new, header));
        for change in between_nodes(&own, &wanted)? {
            let place = change.at;
            let codes = change.codes([0x0C, 0x0D, 0x11, 0x13])?;
            self.step(
                (codes.0, &change.redo),
                (codes.1, &change.undo),
                (at, place),
                |memory| {
                    splice(
                        memory,
                        at + place + change.from,
                        change.old.len(),
                        &change.new,
                    );
                    for field in [4, 0x10, header + 4, header + 8] {
                        let len = u32_at(memory, at + field) as usize + change.new.len();
                        let len = (len - change.old.len()) as u32;
                        put(memory, at + field, &len.to_le_bytes());
                    }
                },
            );
        }
        Some(())
    }

    /// The actions that make `new` of this block.
    pub fn become_block(mut self, new: &[u8]) -> Option<Vec<Draft>> {
        let before = self.memory.clone();
        let alike = before[0x10..0x1C] == new[0x10..0x1C] && before[0x20..0x28] == new[0x20..0x28];
        let (own, wanted) = (entries(&before, 0x18), entries(new, 0x18));
        let common = own
            .iter()
            .zip(&wanted)
            .take_while(|(own, new)| own.1 == new.1)
            .count();
        if alike && own.len() > common + 3 {
            // A split: the end of the node goes.
            let at = own[common].0;
            let tail = |all: &[(usize, Vec<u8>)]| {
                all[common..]
                    .iter()
                    .flat_map(|entry| entry.1.clone())
                    .collect::<Vec<u8>>()
            };
            let (was, is) = (tail(&own), tail(&wanted));
            self.step((0x10, &is), (0x10, &was), (0, at), |memory| {
                put(memory, at, &is);
                put(memory, 0x1C, &((at + is.len() - 0x18) as u32).to_le_bytes());
            });
        } else if alike && let Some(changes) = between_nodes(&own, &wanted) {
            for change in changes {
                let codes = change.codes([0x0E, 0x0F, 0x12, 0x14])?;
                let place = change.at;
                self.step(
                    (codes.0, &change.redo),
                    (codes.1, &change.undo),
                    (0, place),
                    |memory| {
                        let end = 0x18 + u32_at(memory, 0x1C) as usize;
                        let from = place + change.from;
                        let behind = memory[from + change.old.len()..end].to_vec();
                        put(memory, from, &change.new);
                        put(memory, from + change.new.len(), &behind);
                        let used = (from + change.new.len() + behind.len() - 0x18) as u32;
                        put(memory, 0x1C, &used.to_le_bytes());
                    },
                );
            }
        }
        if !same(&self.memory, new) {
            return Some(vec![whole_block(Some(&before), new)]);
        }
        Some(self.drafts)
    }
}

/// The same but for LSN, update sequence, the next attribute's number, and what is not used.
pub fn same(own: &[u8], other: &[u8]) -> bool {
    comparable(own) == comparable(other)
}

/// What counts of a structure in memory.
pub fn comparable(structure: &[u8]) -> Vec<u8> {
    let len = match structure.starts_with(b"FILE") {
        true if u16_at(structure, 0x16) & 1 == 0 => return b"a free record".to_vec(),
        true => u32_at(structure, 0x18) as usize,
        false => 0x18 + u32_at(structure, 0x1C) as usize,
    };
    let mut used = structure[..len].to_vec();
    used[8..16].fill(0);
    let array = usize::from(structure[4]);
    used[array..array + 2 * (structure.len() / 512 + 1)].fill(0);
    if structure.starts_with(b"FILE") {
        used[0x28..0x2A].fill(0);
        // What is behind the end mark and what fills attributes up is nobody's.
        let end = used.len() - 4;
        used[end..].fill(0);
        for (at, len) in attributes(structure) {
            let attribute = &structure[at..at + len];
            let mut filled = match attribute[8] {
                0 => usize::from(u16_at(attribute, 0x14)) + u32_at(attribute, 0x10) as usize,
                _ => usize::from(u16_at(attribute, 0x20)),
            };
            if attribute[8] != 0 {
                while attribute[filled] != 0 {
                    filled += 1
                        + usize::from(attribute[filled] & 15)
                        + usize::from(attribute[filled] >> 4);
                }
            }
            used[at + filled..at + len].fill(0);
        }
    }
    used
}

/// Replaces bytes of a record, and moves what is behind.
fn splice(memory: &mut [u8], at: usize, len: usize, new: &[u8]) {
    let used = u32_at(memory, 0x18) as usize;
    let behind = memory[at + len..used].to_vec();
    put(memory, at, new);
    put(memory, at + new.len(), &behind);
    put(
        memory,
        0x18,
        &((used + new.len() - len) as u32).to_le_bytes(),
    );
}
