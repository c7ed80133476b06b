// SPDX-License-Identifier: GPL-2.0-or-later
//! `$SDS`: the stream of $Secure that holds each descriptor once, and once more.
//!
//! ```text
//! block 0 (40000 bytes)   entry, entry, ...      each: 20 bytes (see `place`), descriptor, up to 16 bytes
//! block 1                 the same again         an entry at X is at X + 40000 too, and says X in both
//! block 2                 entry, ...             no entry reaches from one block into the next
//! block 3                 ...
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. The data size ends where the second copy of
//! the last entry does. What lies between the last entry and the end of a block was never written by
//! Windows, and is anything: which bytes are entries, only the indexes say.

use std::sync::Arc;

use crate::error::{Error, Result};

use super::super::format::{attribute_type, record_number};
use super::super::grow::{grow_stream, reserve};
use super::super::mft::Mft;
use super::super::record::Record;
use super::super::stream::{Content, Stream, zeroed};
use super::super::stream_edit::write_stream;
use super::descriptor;
use super::place::{self, Place};

/// The name of the stream.
const NAME: &str = "$SDS";

/// An even block has entries, the odd one after it has them again.
pub(super) const BLOCK: u64 = 0x4_0000;

/// Where clusters are needed they are taken for so many bytes at a time. Ours: the record of $Secure has room for some forty runs of its
/// three streams, and entry by entry, between the blocks of the indexes, a thousand descriptors would fill it.
pub(super) const AHEAD: u64 = 64 << 10;

/// Entries begin at multiples of this.
const ALIGN: u64 = 16;

/// The stream, with both its copies.
#[derive(Debug)]
pub(super) struct Sds<'v> {
    mft: &'v Mft,
    stream: Stream,
}

/// What was read, and what had to be passed over for it.
pub(super) struct Read {
    /// The descriptor.
    pub(super) descriptor: Vec<u8>,
    /// Why it is that of the second copy; `None` when the first one is good.
    pub(super) first_copy: Option<Error>,
}

impl<'v> Sds<'v> {
    /// Opens the stream of $Secure, which is `base`. `Unsupported` where there is none.
    pub(super) fn open(mft: &'v Mft, base: &Arc<Record>) -> Result<Sds<'v>> {
        let stream = Stream::find(mft, base, attribute_type::DATA, NAME)?;
        let stream = stream.ok_or_else(|| {
            Error::unsupported(
                "the volume has no place for the security descriptors of all files ($Secure has no $SDS): it is older \
                 than NTFS 3.0, or damaged",
                "attach the disk to a Windows computer, which brings it up to date, and run `chkdsk X: /f` there",
            )
        })?;
        Ok(Sds { mft, stream })
    }

    /// The data size in bytes.
    pub(super) fn len(&self) -> u64 {
        self.stream.len()
    }

    /// The size of its clusters in bytes.
    fn allocated(&self) -> u64 {
        match &self.stream.content {
            Content::Resident(_) => 0,
            Content::NonResident { sizes, .. } => sizes.allocated,
        }
    }

    /// The descriptor that an index says is at `place`: its first copy, or the second where that is bad.
    pub(super) fn read(&self, place: &Place) -> Result<Read> {
        let first = match self.read_copy(place, place.offset) {
            Ok(descriptor) => {
                return Ok(Read {
                    descriptor,
                    first_copy: None,
                });
            }
            Err(error @ Error::Damaged { .. }) => error,
            Err(error) => return Err(error),
        };
        match self.read_copy(place, place.offset.saturating_add(BLOCK)) {
            Ok(descriptor) => Ok(Read {
                descriptor,
                first_copy: Some(first),
            }),
            // The first copy's fault says more.
            Err(Error::Damaged { .. }) => Err(first),
            Err(error) => Err(error),
        }
    }

    /// Adds an entry, in both copies, behind what ends at `end`. Growing the stream where that is needed;
    /// `Refused`, and nothing written, when the volume or the record of $Secure is full.
    pub(super) fn append(&mut self, id: u32, descriptor: &[u8], end: u64) -> Result<Place> {
        let too_long = || {
            let expected = "room for one more entry".to_owned();
            damaged(end, expected, format!("{} bytes", descriptor.len()))
        };
        let len = descriptor.len().saturating_add(place::LEN);
        let len = u32::try_from(len).map_err(|_| too_long())?;
        let offset = next_offset(end, u64::from(len)).ok_or_else(too_long)?;
        let place = Place {
            hash: place::hash(descriptor),
            id,
            offset,
            len,
        };
        check_place(&place)?;
        let copy = offset.checked_add(BLOCK).ok_or_else(too_long)?;
        let size = place.end().saturating_add(BLOCK).max(self.len());
        let (secure, data) = (record_number::SECURE, attribute_type::DATA);
        if size > self.allocated() {
            let ahead = size.checked_next_multiple_of(AHEAD).unwrap_or(size);
            reserve(self.mft, secure, data, NAME, ahead)?;
        }
        grow_stream(self.mft, secure, data, NAME, size)?;

        // From the end of the entry before it, where that is near: Windows leaves a few old bytes between.
        let gap = offset.saturating_sub(end).min(offset);
        let gap = if gap < ALIGN { gap } else { 0 };
        let mut entry = vec![0; usize::try_from(gap).unwrap_or(0)];
        entry.extend(place.to_bytes());
        entry.extend(descriptor);
        for offset in [offset, copy] {
            let start = offset.saturating_sub(gap);
            write_stream(self.mft, secure, data, NAME, start, &entry)?;
        }
        let base = Arc::new(self.mft.system(record_number::SECURE, "$Secure")?);
        *self = Sds::open(self.mft, &base)?;
        Ok(place)
    }

    /// The descriptor of the copy at `offset`, which must be what `place` says.
    pub(super) fn read_copy(&self, place: &Place, offset: u64) -> Result<Vec<u8>> {
        check_place(place)?;
        let mut entry = zeroed(u64::from(place.len), NAME)?;
        self.stream.read_at(self.mft, offset, &mut entry)?;
        let found = Place::parse(&entry);
        if found.as_ref() != Some(place) {
            let expected = format!("what the index says: {place:x?}");
            return Err(damaged(offset, expected, format!("{found:x?}")));
        }
        let descriptor = entry.get(place::LEN..).unwrap_or_default();
        let hash = place::hash(descriptor);
        if hash != place.hash {
            let expected = format!("a descriptor with the hash {:08x}", place.hash);
            return Err(damaged(offset, expected, format!("{hash:08x}")));
        }
        descriptor::check(descriptor, &format!("security id {:#x}", place.id))?;
        Ok(descriptor.to_vec())
    }
}

/// Where an entry of this length goes when those before it end at `end`.
pub(super) fn next_offset(end: u64, len: u64) -> Option<u64> {
    let offset = end.checked_next_multiple_of(ALIGN)?;
    let last = offset.checked_add(len.checked_sub(1)?)?;
    if last & BLOCK == 0 {
        return Some(offset);
    }
    // It would reach into a block of copies, or begin there: the block after that one.
    (last | (BLOCK - 1)).checked_add(1)
}

/// An entry lies in one even block, aligned, and is as long as an entry can be.
fn check_place(place: &Place) -> Result<()> {
    let shortest = place::LEN.saturating_add(20);
    let longest = place::LEN.saturating_add(descriptor::MAX);
    let len = usize::try_from(place.len).unwrap_or(usize::MAX);
    if !(shortest..=longest).contains(&len) {
        let expected = format!("an entry of {shortest} to {longest} bytes");
        return Err(damaged(place.offset, expected, format!("one of {len}")));
    }
    let block = |offset: u64| offset.checked_div(BLOCK).unwrap_or(0);
    let first = block(place.offset);
    let last = block(place.end().saturating_sub(1));
    if first != last || !first.is_multiple_of(2) || !place.offset.is_multiple_of(ALIGN) {
        let expected = format!("an aligned entry inside one even block of {BLOCK:#x} bytes");
        return Err(damaged(place.offset, expected, format!("{place:x?}")));
    }
    Ok(())
}

fn damaged(offset: u64, expected: String, found: String) -> Error {
    Error::damaged(NAME, offset, expected, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_never_reaches_into_a_block_of_copies() {
        for (end, len, offset) in [
            (0, 0x78, 0),
            (0xFC, 0x78, 0x100),
            // Up to the last byte of the block, and one byte more.
            (0x3_FF00, 0x100, 0x3_FF00),
            (0x3_FF00, 0x101, 0x8_0000),
            (0x3_FEF1, 0x100, 0x3_FF00),
            (0x3_FF01, 0xF0, 0x3_FF10),
            (0x3_FF01, 0xF1, 0x8_0000),
            // The last entry ends one byte before the block does, with it, or (no entry does) after it.
            (0x3_FFFF, 0x28, 0x8_0000),
            (0x4_0000, 0x28, 0x8_0000),
            (0x4_0001, 0x28, 0x8_0000),
            (0x3_FFFF, 1, 0x8_0000),
            (0x7_FFFF, 0x28, 0x8_0000),
            (0x8_0001, 0x28, 0x8_0010),
            (0xB_FFF0, 0x10, 0xB_FFF0),
            (0xB_FFF0, 0x11, 0x10_0000),
            (0x3_0000, 0x1_0000, 0x3_0000),
            (0x3_0001, 0x1_0000, 0x8_0000),
        ] {
            let found = next_offset(end, len).unwrap();
            assert_eq!(found, offset, "{end:#x} {len:#x}: {found:#x}");
            let place = Place {
                hash: 0,
                id: 0x100,
                offset: found,
                len: u32::try_from(len.max(0x28)).unwrap(),
            };
            assert!(len < 0x28 || check_place(&place).is_ok(), "{place:x?}");
        }
        assert_eq!(next_offset(u64::MAX, 0x28), None);
        assert_eq!(next_offset(u64::MAX - 0x40, 0x41), None);
    }

    #[test]
    fn places_that_no_entry_can_have() {
        let good = Place {
            hash: 0,
            id: 0x100,
            offset: 0x8_0000,
            len: 0x78,
        };
        check_place(&good).unwrap();
        for (offset, len) in [
            (0x8_0008, 0x78),
            (0x4_0000, 0x78),
            (0x3_FFF0, 0x78),
            (0xC_0000, 0x78),
            (0, 0x27),
            (0, 0x1_0015),
            (!15, 0x78),
        ] {
            let place = Place {
                offset,
                len,
                ..good
            };
            assert!(check_place(&place).is_err(), "{place:x?}");
        }
    }
}
