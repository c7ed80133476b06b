// SPDX-License-Identifier: GPL-2.0-or-later
//! MFT records and index blocks, laid by hand, byte by byte, as they are in memory.

#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

use super::writer::put;

/// The LSN of a structure.
pub(super) fn lsn_of(structure: &[u8]) -> u64 {
    u64::from_le_bytes(structure[8..16].try_into().unwrap())
}

/// The used bytes of a record or block without its LSN and update sequence.
pub(super) fn used(structure: &[u8]) -> Vec<u8> {
    let u32_at = |at: usize| u32::from_le_bytes(structure[at..at + 4].try_into().unwrap()) as usize;
    let len = match structure.starts_with(b"FILE") {
        true => u32_at(0x18),
        false => 0x18 + u32_at(0x1C),
    };
    let mut used = structure[..len].to_vec();
    used[8..16].fill(0);
    let array = usize::from(structure[4]);
    let entries = structure.len() / 512 + 1;
    used[array..array + 2 * entries].fill(0);
    used
}

/// The header of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) sequence: u16,
    pub(super) links: u16,
    pub(super) flags: u16,
    pub(super) next: u16,
}

pub(super) const HEAD: Head = Head {
    sequence: 5,
    links: 1,
    flags: 3,
    next: 6,
};

/// Where the first attribute of a record of this length begins.
pub(super) fn first_attribute(len: usize) -> usize {
    (0x30 + 2 * (len / 512 + 1)).next_multiple_of(8)
}

/// A record of `len` bytes in memory.
pub(super) fn record(len: usize, head: Head, attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut record = vec![0; len];
    let first = first_attribute(len);
    let all = attributes.concat();
    let used = first + all.len() + 8;
    put(&mut record, 0, b"FILE\x30\0");
    put(&mut record, 6, &((len / 512 + 1) as u16).to_le_bytes());
    put(&mut record, 8, &1_u64.to_le_bytes());
    put(&mut record, 0x10, &head.sequence.to_le_bytes());
    put(&mut record, 0x12, &head.links.to_le_bytes());
    put(&mut record, 0x14, &(first as u16).to_le_bytes());
    put(&mut record, 0x16, &head.flags.to_le_bytes());
    put(&mut record, 0x18, &(used as u32).to_le_bytes());
    put(&mut record, 0x1C, &(len as u32).to_le_bytes());
    put(&mut record, 0x28, &head.next.to_le_bytes());
    put(&mut record, 0x2C, &3_u32.to_le_bytes());
    put(&mut record, first, &all);
    put(
        &mut record,
        first + all.len(),
        &[0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0],
    );
    record
}

/// A resident attribute.
pub(super) fn resident(kind: u32, name: &str, id: u16, indexed: bool, value: &[u8]) -> Vec<u8> {
    let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let offset = (0x18 + name.len()).next_multiple_of(8);
    let mut raw = vec![0; (offset + value.len()).next_multiple_of(8)];
    let len = raw.len() as u32;
    put(&mut raw, 0, &kind.to_le_bytes());
    put(&mut raw, 4, &len.to_le_bytes());
    raw[9] = (name.len() / 2) as u8;
    raw[0x0A] = 0x18;
    put(&mut raw, 0x0E, &id.to_le_bytes());
    put(&mut raw, 0x10, &(value.len() as u32).to_le_bytes());
    raw[0x14] = offset as u8;
    raw[0x16] = u8::from(indexed);
    put(&mut raw, 0x18, &name);
    put(&mut raw, offset, value);
    raw
}

/// Sizes of an attribute: allocated, data, initialised.
pub(super) type Three = [u64; 3];

/// An attribute in clusters: from `lowest` to `highest`.
pub(super) fn outside(
    kind: u32,
    id: u16,
    (lowest, highest): (u64, u64),
    sizes: Three,
    pairs: &[u8],
) -> Vec<u8> {
    let mut raw = vec![0; (0x40 + pairs.len()).next_multiple_of(8)];
    let len = raw.len() as u32;
    put(&mut raw, 0, &kind.to_le_bytes());
    put(&mut raw, 4, &len.to_le_bytes());
    raw[8] = 1;
    raw[0x0A] = 0x40;
    put(&mut raw, 0x0E, &id.to_le_bytes());
    put(&mut raw, 0x10, &lowest.to_le_bytes());
    put(&mut raw, 0x18, &highest.to_le_bytes());
    raw[0x20] = 0x40;
    for (slot, size) in sizes.iter().enumerate() {
        put(&mut raw, 0x28 + 8 * slot, &size.to_le_bytes());
    }
    put(&mut raw, 0x40, pairs);
    raw
}

/// An entry of a folder's index with a name of `letter`s; `child` for an inner node.
pub(super) fn entry(file: u64, letter: char, child: Option<u64>) -> Vec<u8> {
    let mut raw = vec![0; 0x10 + 0x42 + 2 * 3];
    raw.resize(raw.len().next_multiple_of(8), 0);
    put(&mut raw, 0, &file.to_le_bytes());
    raw[0x0A] = 0x48;
    let information: Vec<u8> = (0x18..0x50).collect();
    put(&mut raw, 0x18, &information);
    raw[0x50] = 3;
    for slot in 0..3 {
        raw[0x52 + 2 * slot] = letter as u8;
    }
    closed(raw, child, 0)
}

/// An entry of a view: a key, and behind it data.
pub(super) fn view_entry(key: &[u8], data: &[u8], child: Option<u64>) -> Vec<u8> {
    let mut raw = vec![0; 0x10];
    raw.extend_from_slice(key);
    put(&mut raw, 0, &((0x10 + key.len()) as u16).to_le_bytes());
    put(&mut raw, 2, &(data.len() as u16).to_le_bytes());
    raw[0x0A] = key.len() as u8;
    raw.extend_from_slice(data);
    raw.resize(raw.len().next_multiple_of(8), 0);
    closed(raw, child, 0)
}

/// The entry that ends a node.
pub(super) fn end_entry(child: Option<u64>) -> Vec<u8> {
    closed(vec![0; 0x10], child, 2)
}

fn closed(mut raw: Vec<u8>, child: Option<u64>, flags: u8) -> Vec<u8> {
    raw[0x0C] = flags | u8::from(child.is_some());
    raw.extend(child.map(u64::to_le_bytes).into_iter().flatten());
    let len = raw.len() as u16;
    put(&mut raw, 8, &len.to_le_bytes());
    raw
}

/// The value of an $INDEX_ROOT with these entries.
pub(super) fn root(entries: &[Vec<u8>]) -> Vec<u8> {
    let all = entries.concat();
    let inner = entries.last().unwrap()[0x0C] & 1;
    let mut value = vec![0x30, 0, 0, 0, 1, 0, 0, 0, 0, 0x10, 0, 0, 1, 0, 0, 0];
    let len = (0x10 + all.len()) as u32;
    value.extend(0x10_u32.to_le_bytes());
    value.extend(len.to_le_bytes());
    value.extend(len.to_le_bytes());
    value.extend([inner, 0, 0, 0]);
    value.extend(all);
    value
}

/// A block of an index of `len` bytes in memory.
pub(super) fn block(len: usize, vcn: u64, entries: &[Vec<u8>]) -> Vec<u8> {
    let all = entries.concat();
    let first = (0x28 + 2 * (len / 512 + 1) - 0x18).next_multiple_of(8);
    let mut raw = vec![0; len];
    put(&mut raw, 0, b"INDX\x28\0");
    put(&mut raw, 6, &((len / 512 + 1) as u16).to_le_bytes());
    put(&mut raw, 8, &1_u64.to_le_bytes());
    put(&mut raw, 0x10, &vcn.to_le_bytes());
    put(&mut raw, 0x18, &(first as u32).to_le_bytes());
    put(&mut raw, 0x1C, &((first + all.len()) as u32).to_le_bytes());
    put(&mut raw, 0x20, &((len - 0x18) as u32).to_le_bytes());
    raw[0x24] = entries.last().unwrap()[0x0C] & 1;
    put(&mut raw, 0x18 + first, &all);
    raw
}

/// Where the entries of a block of this length begin.
pub(super) fn first_entry(len: usize) -> usize {
    0x18 + (0x28 + 2 * (len / 512 + 1) - 0x18).next_multiple_of(8)
}
