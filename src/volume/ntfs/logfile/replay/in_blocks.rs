// SPDX-License-Identifier: GPL-2.0-or-later
//! Operations on blocks of an index. A: the attribute offset of the action, z: its bytes, L of them.
//!
//! ```text
//! 08 UpdateNonresidentValue      z at R + A; at 0 it is the whole block, as it was prepared in memory
//! 0E, 0F Add, DeleteIndexEntryAllocation   z before the entry at A; the entry
//! 10 WriteEndOfIndexBuffer       z, which ends the node, at A
//! 12 SetIndexEntryVcnAllocation  the child of the entry at A      14 UpdateFileNameAllocation    its times, sizes and flags
//! 22 UpdateRecordDataAllocation  its data
//! ```
//!
//! Source: the Linux driver ntfs3 (fslog.c) and ntfs-3g (playlog.c). Stricter than both: what does not fit is an error.

use super::in_entries::InEntry;
use super::{Mismatch, Outcome, in_entries, mismatch};
use crate::bytes;
use crate::volume::ntfs::index::{BLOCK_HEADER, EntryPlace, entry_places};
use crate::volume::ntfs::logfile::record::Change;

/// Does `change` to a block as it is in memory.
pub(super) fn apply(block: &mut [u8], change: &Change<'_>) -> Outcome {
    match change.code {
        0x08 => overwrite(block, change),
        0x0E => add_entry(block, change),
        0x0F => delete_entry(block, change),
        0x10 => write_end(block, change),
        0x12 => in_entry(block, change, in_entries::child),
        0x14 => in_entry(block, change, in_entries::file_name),
        0x22 => in_entry(block, change, in_entries::data),
        code => Err(mismatch(
            "an operation on index blocks",
            format!("{code:#x}"),
        )),
    }
}

/// What every block has to be after a change: entries up to the end entry, exactly in its used bytes.
pub(super) fn check(block: &[u8]) -> Outcome {
    places(block).map(drop)
}

/// 08: bytes of the block.
fn overwrite(block: &mut [u8], change: &Change<'_>) -> Outcome {
    put(block, change.place(), &change.bytes())
}

/// 0E: one more entry.
fn add_entry(block: &mut [u8], change: &Change<'_>) -> Outcome {
    let place = place_of(block, change)?;
    let payload = change.bytes();
    splice(block, place.offset, 0, in_entries::entry(&payload)?)
}

/// 0F: one entry less.
fn delete_entry(block: &mut [u8], change: &Change<'_>) -> Outcome {
    let place = place_of(block, change)?;
    if place.is_end() {
        return Err(mismatch("an entry", "the end of the node".into()));
    }
    splice(block, place.offset, place.len, &[])
}

/// 10: the end of the node, which may become shorter or longer.
fn write_end(block: &mut [u8], change: &Change<'_>) -> Outcome {
    let place = place_of(block, change)?;
    let used = used(block)?;
    splice(
        block,
        place.offset,
        used.saturating_sub(place.offset),
        &change.bytes(),
    )
}

/// 12, 14, 22: bytes of an entry.
fn in_entry(block: &mut [u8], change: &Change<'_>, place: InEntry) -> Outcome {
    let entry = place_of(block, change)?;
    let payload = change.bytes();
    let at = place(block, &entry, &payload)?;
    put(block, at, &payload)
}

/// Where the entries are.
fn places(block: &[u8]) -> Result<Vec<EntryPlace>, Mismatch> {
    entry_places(block, BLOCK_HEADER).ok_or_else(|| {
        mismatch(
            "entries up to an end entry, exactly in the used bytes",
            "others".into(),
        )
    })
}

/// The entry that begins at R + A.
fn place_of(block: &[u8], change: &Change<'_>) -> Result<EntryPlace, Mismatch> {
    in_entries::at(&places(block)?, change.place())
}

/// Where the used bytes end.
fn used(block: &[u8]) -> Result<usize, Mismatch> {
    let used = bytes::u32_le(block, BLOCK_HEADER.saturating_add(4));
    let used = used.and_then(|used| usize::try_from(used).ok());
    used.map(|used| used.saturating_add(BLOCK_HEADER))
        .ok_or_else(|| mismatch("a node header", "less".into()))
}

/// Replaces `len` used bytes at `at` by `new`, and moves what is behind.
fn splice(block: &mut [u8], at: usize, len: usize, new: &[u8]) -> Outcome {
    let old_end = used(block)?;
    let mut spliced = || {
        let behind = block.get(at.checked_add(len)?..old_end)?.to_vec();
        let new_end = at.checked_add(new.len())?;
        let end = new_end.checked_add(behind.len())?;
        let allocated = bytes::u32_le(block, BLOCK_HEADER.checked_add(8)?)?;
        let room = BLOCK_HEADER.checked_add(usize::try_from(allocated).ok()?)?;
        let used = u32::try_from(end.checked_sub(BLOCK_HEADER)?).ok()?;
        (end <= room.min(block.len())).then_some(())?;
        // What is freed keeps its bytes, as under Windows.
        let put = bytes::put(block, at, new)
            && bytes::put(block, new_end, &behind)
            && bytes::put(block, BLOCK_HEADER.checked_add(4)?, &used.to_le_bytes());
        put.then_some(())
    };
    spliced().ok_or_else(|| mismatch("room for the entries", "less".into()))
}

fn put(block: &mut [u8], at: usize, data: &[u8]) -> Outcome {
    match bytes::put(block, at, data) {
        true => Ok(()),
        false => Err(mismatch(
            "bytes of the block",
            format!("{:#x} at {at:#x}", data.len()),
        )),
    }
}
