// SPDX-License-Identifier: GPL-2.0-or-later
//! Where $SDS holds a descriptor: 20 bytes that stand before it there, and again in both indexes.
//!
//! ```text
//! 0 u32 hash   4 u32 security id   8 u64 offset in $SDS (first copy)   10 u32 length, these 20 included
//! hash: 0 at first; for each u32 of the descriptor, rotated left by 3 and the u32 added
//! key of $SII: the id                              key of $SDH: hash, id
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h.

use crate::bytes;

/// The length of what is described here.
pub(super) const LEN: usize = 20;

/// Where a descriptor is, by which id and with which hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Place {
    /// Of the descriptor, see [`hash`].
    pub(super) hash: u32,
    /// The security id.
    pub(super) id: u32,
    /// Bytes from the start of $SDS.
    pub(super) offset: u64,
    /// Bytes of the entry: [`LEN`] and the descriptor.
    pub(super) len: u32,
}

impl Place {
    /// Reads the first 20 bytes.
    pub(super) fn parse(entry: &[u8]) -> Option<Place> {
        Some(Place {
            hash: bytes::u32_le(entry, 0)?,
            id: bytes::u32_le(entry, 4)?,
            offset: bytes::u64_le(entry, 8)?,
            len: bytes::u32_le(entry, 0x10)?,
        })
    }

    /// The 20 bytes.
    pub(super) fn to_bytes(self) -> [u8; LEN] {
        let mut entry = [0; LEN];
        let fields: [(usize, &[u8]); 4] = [
            (0, &self.hash.to_le_bytes()),
            (4, &self.id.to_le_bytes()),
            (8, &self.offset.to_le_bytes()),
            (0x10, &self.len.to_le_bytes()),
        ];
        for (offset, field) in fields {
            let _fits = bytes::put(&mut entry, offset, field);
        }
        entry
    }

    /// The byte after the entry.
    pub(super) fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.len))
    }

    /// Its key in $SII.
    pub(super) fn id_key(&self) -> [u8; 4] {
        self.id.to_le_bytes()
    }

    /// Its key in $SDH.
    pub(super) fn hash_key(&self) -> [u8; 8] {
        hash_key(self.hash, self.id)
    }
}

/// The key in $SDH of the descriptor with this hash and id.
pub(super) fn hash_key(hash: u32, id: u32) -> [u8; 8] {
    let [a, b, c, d] = hash.to_le_bytes();
    let [e, f, g, h] = id.to_le_bytes();
    [a, b, c, d, e, f, g, h]
}

/// The hash of a descriptor. Bytes past the last whole u32 do not count.
pub(super) fn hash(descriptor: &[u8]) -> u32 {
    let (words, _) = descriptor.as_chunks::<4>();
    words.iter().fold(0_u32, |hash, word| {
        u32::from_le_bytes(*word).wrapping_add(hash.rotate_left(3))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_windows() {
        let Some(sds) = crate::volume::ntfs::parts::part("sds.bin.xz") else {
            return;
        };
        let mut at = 0;
        let mut seen = 0;
        while let Some(place) = Place::parse(&sds[at..]).filter(|place| place.len != 0) {
            let end = at + place.len as usize;
            assert_eq!(hash(&sds[at + LEN..end]), place.hash, "{place:x?}");
            assert_eq!(place.to_bytes(), sds[at..at + LEN]);
            assert_eq!(place.offset, at as u64);
            at = end.next_multiple_of(16);
            seen += 1;
            if at + LEN > sds.len() {
                break;
            }
        }
        assert!(seen > 5, "{seen}");
    }

    #[test]
    fn a_hash_worked_out_by_hand() {
        assert_eq!(hash(&[]), 0);
        assert_eq!(hash(&[1, 0, 0, 0]), 1);
        assert_eq!(hash(&[1, 0, 0, 0x80, 2, 0, 0, 0, 9, 9]), 8 + 4 + 2);
    }
}
