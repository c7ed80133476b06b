// SPDX-License-Identifier: GPL-2.0-or-later
//! Multi-sector transfer: how FILE, INDX and RSTR structures show a torn write.
//!
//! ```text
//! 0 magic   4 u16 offset of the update sequence array   6 u16 its entries: 1 + length / 512
//! array: [update sequence number][original last two bytes of sector 0][... of sector 1] ...
//! disk:  every 512 bytes end in the update sequence number
//! ```
//!
//! The stride is 512 bytes also where sectors have 4096. Source: the Linux-NTFS documentation and ntfs-3g's layout.h.

use crate::bytes;
use crate::error::{Error, Result};

/// Bytes that each entry of the update sequence array guards.
pub(super) const STRIDE: usize = 512;

/// Checks a structure as it is on disk and puts the original bytes back.
///
/// `what` and `offset` (bytes from the volume's start, or wherever `what` counts from) go into the error.
pub(super) fn restore(
    structure: &mut [u8],
    magic: &[u8; 4],
    what: &str,
    offset: u64,
) -> Result<()> {
    let damaged = |expected: String, found: String| Error::damaged(what, offset, expected, found);
    let found = bytes::array::<4>(structure, 0).unwrap_or_default();
    if &found != magic {
        return Err(damaged(
            format!("\"{}\"", magic.escape_ascii()),
            format!("\"{}\"", found.escape_ascii()),
        ));
    }
    let Some((number, originals)) = array(structure) else {
        let count = structure.len().checked_div(STRIDE).unwrap_or(0);
        return Err(damaged(
            format!("an update sequence array for {count} sectors, inside the first"),
            format!(
                "offset {:#x}, {} entries",
                bytes::u16_le(structure, 4).unwrap_or(0),
                bytes::u16_le(structure, 6).unwrap_or(0)
            ),
        ));
    };
    // First look at all sectors, so that a torn structure is left as it is.
    for (index, sector) in structure.chunks_exact(STRIDE).enumerate() {
        let tail = sector.last_chunk::<2>().copied().unwrap_or_default();
        if tail != number {
            return Err(damaged(
                format!("update sequence number {number:02x?} at the end of sector {index}"),
                format!("{tail:02x?} (the last write was torn)"),
            ));
        }
    }
    for (sector, original) in structure.chunks_exact_mut(STRIDE).zip(originals) {
        if let Some(tail) = sector.last_chunk_mut::<2>() {
            *tail = original;
        }
    }
    Ok(())
}

/// Turns a restored structure into what goes on disk, with the next update sequence number.
///
/// False, and nothing changed, when there is no proper update sequence array.
#[must_use]
pub(super) fn protect(structure: &mut [u8]) -> bool {
    let Some(number) = number(structure) else {
        return false;
    };
    protect_as(structure, next(number))
}

/// The number after `number`.
pub(super) fn next(number: [u8; 2]) -> [u8; 2] {
    // 0 and FFFF are never used as numbers.
    let next = match u16::from_le_bytes(number) {
        0xFFFE | 0xFFFF => 1,
        number => number.wrapping_add(1),
    };
    next.to_le_bytes()
}

/// The update sequence number of a structure; `None` when it has no proper update sequence array.
pub(super) fn number(structure: &[u8]) -> Option<[u8; 2]> {
    array(structure).map(|(number, _)| number)
}

/// Like [`protect`], under a given number.
#[must_use]
pub(super) fn protect_as(structure: &mut [u8], number: [u8; 2]) -> bool {
    if array(structure).is_none() {
        return false;
    }
    let mut entries = number.to_vec();
    for sector in structure.chunks_exact_mut(STRIDE) {
        if let Some(tail) = sector.last_chunk_mut::<2>() {
            entries.extend_from_slice(tail);
            *tail = number;
        }
    }
    let at = bytes::u16_le(structure, 4).map_or(0, usize::from);
    bytes::put(structure, at, &entries)
}

/// The update sequence number and the saved bytes of each sector.
fn array(structure: &[u8]) -> Option<([u8; 2], Vec<[u8; 2]>)> {
    let offset = usize::from(bytes::u16_le(structure, 4)?);
    let entries = usize::from(bytes::u16_le(structure, 6)?);
    let sectors = structure.len().checked_div(STRIDE)?;
    let whole = structure.len().is_multiple_of(STRIDE) && sectors > 0;
    // The array may not reach the place that it guards itself, nor the fields that point to it.
    let end = offset.checked_add(entries.checked_mul(2)?)?;
    let placed = offset >= 8 && offset.is_multiple_of(2) && end <= STRIDE.checked_sub(2)?;
    if !whole || !placed || entries != sectors.checked_add(1)? {
        return None;
    }
    let (pairs, _) = bytes::slice(structure, offset, end.checked_sub(offset)?)?.as_chunks::<2>();
    let (number, originals) = pairs.split_first()?;
    Some((*number, originals.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 1024-byte FILE structure with distinct bytes, as it is in memory.
    fn sample() -> Vec<u8> {
        let mut record: Vec<u8> = (0..1024_u32).map(|i| (i % 251) as u8).collect();
        record[..8].copy_from_slice(b"FILE\x30\0\x03\0");
        record[0x30..0x32].copy_from_slice(&0x1234_u16.to_le_bytes());
        record
    }

    #[test]
    fn protect_then_restore_gives_the_bytes_back() {
        let plain = sample();
        let mut disk = plain.clone();
        assert!(protect(&mut disk));
        assert_eq!(&disk[510..512], [0x35, 0x12]);
        assert_eq!(&disk[1022..], [0x35, 0x12]);
        assert_eq!(&disk[0x32..0x34], &plain[510..512]);
        restore(&mut disk, b"FILE", "record", 0).unwrap();
        assert_eq!(disk[0x36..], plain[0x36..]);
    }

    #[test]
    fn numbers_skip_zero_and_ffff() {
        for (before, after) in [(0xFFFD_u16, 0xFFFE_u16), (0xFFFE, 1), (0xFFFF, 1), (0, 1)] {
            let mut record = sample();
            record[0x30..0x32].copy_from_slice(&before.to_le_bytes());
            assert!(protect(&mut record));
            assert_eq!(bytes::u16_le(&record, 0x30), Some(after));
        }
    }

    #[test]
    fn torn_and_malformed_structures_are_refused_and_left_alone() {
        let mut good = sample();
        assert!(protect(&mut good));
        let faults: [(&str, usize, &[u8]); 7] = [
            ("magic", 0, b"BAAD"),
            ("torn", 1022, b"\0\0"),
            ("count too small", 6, &[2, 0]),
            ("count too large", 6, &[4, 0]),
            ("odd offset", 4, &[0x31, 0]),
            ("offset over the guarded bytes", 4, &[0xFA, 1]),
            ("offset past the end", 4, &[0xFF, 0xFF]),
        ];
        for (name, offset, fault) in faults {
            let mut bad = good.clone();
            bad[offset..offset + fault.len()].copy_from_slice(fault);
            let before = bad.clone();
            assert!(restore(&mut bad, b"FILE", "record", 0).is_err(), "{name}");
            assert_eq!(bad, before, "{name}");
        }
        for len in [0, 1, 7, 511, 513] {
            assert!(restore(&mut good.clone()[..len], b"FILE", "record", 0).is_err());
        }
    }
}
