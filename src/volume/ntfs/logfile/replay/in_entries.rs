// SPDX-License-Identifier: GPL-2.0-or-later
//! What the operations on index entries share, wherever the entry is: in a root or in a block.
//!
//! ```text
//! entry:  0 u16 data offset (of a view)   8 u16 length   C u16 flags   18 times, sizes and flags of a name   -8 child
//! ```
//!
//! Source: the Linux driver ntfs3 (fslog.c).

use super::{Mismatch, mismatch};
use crate::bytes;
use crate::volume::ntfs::index::EntryPlace;

/// Times, sizes and flags in an entry of a folder: where they begin and how many bytes they are.
const INFORMATION: (usize, usize) = (0x18, 0x38);

/// Where a payload goes in an entry of a node; the node's bytes come first, the payload last.
pub(super) type InEntry = fn(&[u8], &EntryPlace, &[u8]) -> Result<usize, Mismatch>;

/// The entry that begins at `offset`.
pub(super) fn at(places: &[EntryPlace], offset: usize) -> Result<EntryPlace, Mismatch> {
    let found = places.iter().find(|place| place.offset == offset);
    found
        .copied()
        .ok_or_else(|| mismatch("a place where an entry begins", format!("{offset:#x}")))
}

/// The entry that a payload begins with.
pub(super) fn entry(payload: &[u8]) -> Result<&[u8], Mismatch> {
    let len = bytes::u16_le(payload, 8).map_or(0, usize::from);
    let end = bytes::u16_le(payload, 0x0C).is_some_and(|flags| flags & 2 != 0);
    let entry = payload
        .get(..len)
        .filter(|_| len >= 0x10 && len.is_multiple_of(8) && !end);
    entry.ok_or_else(|| mismatch("an index entry", format!("length {len:#x}")))
}

/// Where the VCN of its child is, which is the payload.
pub(super) fn child(_: &[u8], entry: &EntryPlace, payload: &[u8]) -> Result<usize, Mismatch> {
    let at = entry.offset.saturating_add(entry.len).saturating_sub(8);
    match entry.has_child() && payload.len() == 8 {
        true => Ok(at),
        false => Err(mismatch(
            "8 bytes for an entry with a child",
            format!("{:#x}", payload.len()),
        )),
    }
}

/// Where the times, sizes and flags of its name are, which are the payload.
pub(super) fn file_name(_: &[u8], entry: &EntryPlace, payload: &[u8]) -> Result<usize, Mismatch> {
    let (start, len) = INFORMATION;
    let room = !entry.is_end() && entry.len >= start.saturating_add(len);
    match room && payload.len() == len {
        true => Ok(entry.offset.saturating_add(start)),
        false => Err(mismatch(
            "38 bytes for the entry of a name",
            format!("{:#x}", payload.len()),
        )),
    }
}

/// Where its data are, with which the payload begins.
pub(super) fn data(node: &[u8], entry: &EntryPlace, payload: &[u8]) -> Result<usize, Mismatch> {
    let start = bytes::u16_le(node, entry.offset).map_or(0, usize::from);
    let end = start.checked_add(payload.len());
    let inside = start >= 0x10 && !entry.is_end() && end.is_some_and(|end| end <= entry.len);
    match inside {
        true => Ok(entry.offset.saturating_add(start)),
        false => Err(mismatch(
            "data inside their entry",
            format!("{:#x} at {start:#x}", payload.len()),
        )),
    }
}
