// SPDX-License-Identifier: GPL-2.0-or-later
//! What holds together, and every way in which it does not.

use super::*;
use crate::volume::ntfs::index::sound::check_nodes;

/// A root above two inner blocks with two leaves each, all of 512 bytes. Block n is at VCN n.
fn sound() -> Memory {
    let mut index = Memory::new(512, 0x100);
    for vcn in 0..6 {
        let children = match vcn {
            0 => Some([2, 3]),
            1 => Some([4, 5]),
            _ => None,
        };
        index.blocks.push(block(vcn, children.as_ref()));
        index.used.push(true);
    }
    set_root(&mut index, &[0, 1]);
    index
}

/// An entry without key before this child.
fn entry(child: Option<u64>, end: bool) -> Vec<u8> {
    let mut entry = vec![0; 0x10];
    entry[0x0C] = u8::from(child.is_some()) | if end { 2 } else { 0 };
    entry.extend(child.map(u64::to_le_bytes).into_iter().flatten());
    entry[8] = u8::try_from(entry.len()).unwrap();
    entry
}

fn entries(children: Option<&[u64; 2]>) -> Vec<u8> {
    match children {
        Some([first, second]) => [entry(Some(*first), false), entry(Some(*second), true)].concat(),
        None => entry(None, true),
    }
}

/// A block as it is on the disk.
fn block(vcn: u64, children: Option<&[u64; 2]>) -> Vec<u8> {
    let body = entries(children);
    let mut block = vec![0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"INDX\x28\0\x02\0");
    put(0x10, &vcn.to_le_bytes());
    put(0x18, &0x18_u32.to_le_bytes());
    put(
        0x1C,
        &(0x18 + u32::try_from(body.len()).unwrap()).to_le_bytes(),
    );
    put(0x20, &(512_u32 - 0x18).to_le_bytes());
    put(0x24, &[u8::from(children.is_some())]);
    put(0x30, &body);
    assert!(multi_sector::protect(&mut block));
    block
}

fn set_root(index: &mut Memory, children: &[u64; 2]) {
    let body = entries(Some(children));
    let len = (0x10 + u32::try_from(body.len()).unwrap()).to_le_bytes();
    index.root.truncate(0x10);
    index.root.extend([0x10, 0, 0, 0]);
    index.root.extend(len);
    index.root.extend(len);
    index.root.extend([1, 0, 0, 0]);
    index.root.extend(body);
}

fn fault(index: &Memory) -> String {
    check_nodes(index).unwrap_err().to_string()
}

#[test]
fn an_index_that_holds_together() {
    check_nodes(&Memory::new(512, 0x100)).unwrap();
    check_nodes(&sound()).unwrap();
    // A block that nobody points to is no fault of the index.
    let mut spare = sound();
    spare.blocks.push(vec![0; 512]);
    spare.used.push(true);
    check_nodes(&spare).unwrap();
}

#[test]
fn every_block_has_one_parent() {
    // The same child twice: of the root, of one block, of two, and rings.
    let mut twice = sound();
    set_root(&mut twice, &[1, 1]);
    assert!(fault(&twice).contains("block 1"), "{}", fault(&twice));
    for (vcn, children) in [
        (1, [4, 4]),
        (1, [4, 2]),
        (1, [4, 0]),
        (1, [1, 5]),
        (0, [2, 1]),
    ] {
        let mut index = sound();
        index.blocks[usize::try_from(vcn).unwrap()] = block(vcn, Some(&children));
        assert!(fault(&index).contains("two parents"), "{}", fault(&index));
    }
}

#[test]
fn every_block_is_in_use_and_is_one() {
    for vcn in 0..6 {
        let mut free = sound();
        free.used[vcn] = false;
        let text = fault(&free);
        assert!(
            text.contains("says is free") && text.contains(&format!("block {vcn}")),
            "{text}"
        );
        let mut torn = sound();
        torn.blocks[vcn][0x1FF] ^= 1;
        assert!(fault(&torn).contains("torn"), "{}", fault(&torn));
        // Of another place.
        let mut moved = sound();
        moved.blocks[vcn] = block(9, None);
        assert!(check_nodes(&moved).is_err());
    }
    for child in [6, 99, u64::MAX] {
        let mut outside = sound();
        outside.blocks[1] = block(1, Some(&[4, child]));
        assert!(check_nodes(&outside).is_err(), "{child}");
    }
    // Leaf and inner node in one.
    let mut mixed = sound();
    let mut raw = mixed.blocks[0].clone();
    multi_sector::restore(&mut raw, b"INDX", "", 0).unwrap();
    raw[0x24] = 0;
    assert!(multi_sector::protect(&mut raw));
    mixed.blocks[0] = raw;
    assert!(check_nodes(&mixed).is_err());
    let mut root = sound();
    root.root[0x1C] = 0;
    assert!(check_nodes(&root).is_err());
}
