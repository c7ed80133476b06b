// SPDX-License-Identifier: GPL-2.0-or-later
//! Taking and giving back records of $MFT.
//!
//! ```text
//! 0..16 the file system   16..24 for $MFT itself   24..64 $Extend and, where nothing else is free, files   64.. files
//! take:       first free bit of $MFT's $BITMAP -> bit set; the record keeps its sequence number
//! give back:  not in use, sequence number + 1  -> bit cleared
//! none free:  $MFT grows: data, $BITMAP, blank records "FILE", not in use, sequence number 1
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's mft.c. A record of $MFT is never given away without its being
//! looked at: one that says it is in use, or cannot be read, while its bit says free, is a damaged volume.

use std::ops::ControlFlow;

use crate::error::{Error, Result};

use super::allocate::{self, Purpose};
use super::bitmap::Bitmap;
use super::format::{FileReference, attribute_type, record_number};
use super::grow::{clusters_for, grow_stream};
use super::mft::Mft;
use super::record::{Record, blank};
use super::stream::Content;
use super::stream_edit::{expect, write_stream};

/// Where files of users begin by custom (ntfs-3g), so that those below can become files of the system.
const FIRST_FILE: u64 = 64;

/// How many records $MFT gets at a time. Windows' own custom.
const MORE: u64 = 64;

/// Takes a free record: its number, and the sequence number that the file in it has to carry. Its bit is set; the
/// record is still to be written. $MFT grows when no record is free.
pub(super) fn take_record(mft: &Mft) -> Result<FileReference> {
    let free = match find_free(mft)? {
        Some(free) => free,
        None => {
            grow_mft(mft)?;
            find_free(mft)?.ok_or_else(|| damaged(mft.records(), "a free record", "none"))?
        }
    };
    Bitmap::records(mft)?.set(free.record, 1, true)?;
    Ok(FileReference {
        sequence: free.sequence.max(1),
        ..free
    })
}

/// Gives a record back, as it is but for being in use.
pub(super) fn free_record(mft: &Mft, mut record: Record) -> Result<()> {
    let number = record.number();
    if number < record_number::FIRST_USER || !record.set_free() {
        return Err(damaged(number, "a record of a file", "another"));
    }
    mft.store(&record)?;
    Bitmap::records(mft)?.set(number, 1, false)
}

/// The first free record that can be read, as it is. One that cannot is left alone; it is nobody's.
fn find_free(mft: &Mft) -> Result<Option<FileReference>> {
    /// Ours: bounds the search through a table that is damaged all over.
    const MOST_BAD: u64 = 1000;
    let bitmap = Bitmap::records(mft)?;
    let mut candidates: Vec<u64> = Vec::new();
    for (from, to) in [
        (FIRST_FILE, bitmap.len()),
        (record_number::FIRST_USER, FIRST_FILE),
    ] {
        bitmap.free_runs(from, to, &mut |first, count| {
            candidates.extend(first..first.saturating_add(count.min(MOST_BAD)));
            match u64::try_from(candidates.len()) {
                Ok(found) if found < MOST_BAD => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        })?;
    }
    for number in candidates {
        match mft.read(number) {
            Ok(record) if !record.is_in_use() => return Ok(Some(record.reference())),
            Err(Error::Damaged { .. }) => {}
            Err(error) => return Err(error),
            Ok(_) => {
                let error = damaged(number, "a free record, as $BITMAP says", "one in use");
                return Err(error.with_hint(
                    "looking for a free record",
                    "let Windows repair the volume: attach the disk to a Windows computer and run `chkdsk X: /f`",
                ));
            }
        }
    }
    Ok(None)
}

/// Gives $MFT more records, all free.
fn grow_mft(mft: &Mft) -> Result<()> {
    let (base, data) = (record_number::MFT, attribute_type::DATA);
    let size = u64::from(mft.boot.record_size);
    let old = mft.records();
    let Content::NonResident { map, sizes, .. } = expect(mft, base, data, "")?.content else {
        return Err(damaged(base, "$MFT in clusters", "a resident one"));
    };
    let allocated = sizes.allocated.checked_div(size).unwrap_or(0);
    let new = if allocated > old {
        allocated.min(old.saturating_add(MORE))
    } else {
        let more = |records: u64| {
            let len = old.saturating_add(records).saturating_mul(size);
            let clusters = clusters_for(mft, len);
            let records = clusters.saturating_mul(u64::from(mft.boot.cluster_size));
            (
                clusters.saturating_sub(map.clusters()),
                records.checked_div(size).unwrap_or(0),
            )
        };
        // On a volume that is nearly full, as few as there can be.
        let (clusters, many) = more(MORE);
        match allocate::choose(mft, Purpose::Mft, None, 0, clusters) {
            Ok(_) => many,
            Err(_) => more(1).1,
        }
    };
    // The bitmap comes in pieces of 8 bytes, as Windows makes it. Bits past the end of $MFT count for nothing, so
    // those of the new records may be set.
    let bits = attribute_type::BITMAP;
    let len = new.div_ceil(64).saturating_mul(8);
    if len > expect(mft, base, bits, "")?.len() {
        grow_stream(mft, base, bits, "", len)?;
    }
    grow_stream(mft, base, data, "", new.saturating_mul(size))?;
    if mft.records() != new {
        return Err(damaged(new, "the end of $MFT", "another"));
    }
    let first = mft.read(record_number::MFT)?;
    for number in old..new {
        mft.store(&blank(number, &first)?)?;
    }
    clear_bits(mft, old, new)
}

/// Marks records as free, whatever their bits were.
fn clear_bits(mft: &Mft, from: u64, to: u64) -> Result<()> {
    let stream = expect(mft, record_number::MFT, attribute_type::BITMAP, "")?;
    let first = from / 8;
    let len = to.div_ceil(8).saturating_sub(first);
    let mut bits = vec![0; usize::try_from(len).unwrap_or(0)];
    stream.read_at(mft, first, &mut bits)?;
    super::bitmap::fill(&mut bits, first.saturating_mul(8), from, to, false);
    let (base, kind) = (record_number::MFT, attribute_type::BITMAP);
    write_stream(mft, base, kind, "", first, &bits)
}

fn damaged(record: u64, expected: &str, found: &str) -> Error {
    Error::damaged(format!("MFT record {record}"), 0, expected, found)
}

#[cfg(test)]
mod tests;
