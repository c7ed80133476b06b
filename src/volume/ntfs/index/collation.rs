// SPDX-License-Identifier: GPL-2.0-or-later
//! The order of the keys of an index.
//!
//! ```text
//! $I30   FILE_NAME      1    a $FILE_NAME value: names in upper case unit by unit, the shorter first, then as stored
//! $SII   ULONG          10   u32 security id
//! $SDH   SECURITY_HASH  12   u32 hash, then u32 security id
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. Windows never puts two names that differ in case only into
//! a folder, unless the folder is case-sensitive; between such names the first unit that differs decides.

use std::cmp::Ordering;

use crate::bytes;

use super::super::format::attribute_type;
use super::super::upcase::Upcase;

/// Where the name begins in a $FILE_NAME value.
pub(super) const NAME: usize = 0x42;

/// How the keys of an index are compared.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Collation<'v> {
    /// Names of a folder, with the volume's upper-case table.
    FileName(&'v Upcase),
    /// One number.
    Ulong,
    /// A hash and a security id.
    SecurityHash,
}

impl Collation<'_> {
    /// The attribute type and the collation rule that $INDEX_ROOT has for such an index.
    pub(super) fn numbers(&self) -> (u32, u32) {
        match self {
            Collation::FileName(_) => (attribute_type::FILE_NAME, 1),
            Collation::Ulong => (0, 0x10),
            Collation::SecurityHash => (0, 0x12),
        }
    }

    /// The key is one that can be compared.
    pub(super) fn is_key(&self, key: &[u8]) -> bool {
        match self {
            Collation::FileName(_) => {
                let units = key.get(NAME.saturating_sub(2)).map_or(0, |len| *len);
                units > 0 && key.len() == NAME.saturating_add(usize::from(units).saturating_mul(2))
            }
            Collation::Ulong => key.len() == 4,
            Collation::SecurityHash => key.len() == 8,
        }
    }

    /// Compares two keys, both of which [`Collation::is_key`].
    pub(super) fn compare(&self, left: &[u8], right: &[u8]) -> Ordering {
        let number = |key: &[u8], offset| bytes::u32_le(key, offset).unwrap_or(0);
        match self {
            Collation::FileName(_) => {
                let exact = || units(left).cmp(units(right));
                self.compare_loosely(left, right).then_with(exact)
            }
            Collation::Ulong => number(left, 0).cmp(&number(right, 0)),
            Collation::SecurityHash => {
                let pair = |key| (number(key, 0), number(key, 4));
                pair(left).cmp(&pair(right))
            }
        }
    }

    /// The same, but names that differ in case only are equal.
    pub(super) fn compare_loosely(&self, left: &[u8], right: &[u8]) -> Ordering {
        match self {
            Collation::FileName(upcase) => upcase.compare_units(units(left), units(right)),
            _ => self.compare(left, right),
        }
    }
}

/// The units of the name in a $FILE_NAME value.
fn units(key: &[u8]) -> impl Iterator<Item = u16> + '_ {
    let (pairs, _) = key.get(NAME..).unwrap_or_default().as_chunks::<2>();
    pairs.iter().copied().map(u16::from_le_bytes)
}

/// A key for [`Collation::FileName`] that finds this name; `None` for one that no file can have.
pub(in super::super) fn name_key(name: &[u16]) -> Option<Vec<u8>> {
    let len = u8::try_from(name.len()).ok().filter(|len| *len > 0)?;
    let mut key = vec![0; NAME];
    *key.get_mut(NAME.checked_sub(2)?)? = len;
    key.extend(name.iter().flat_map(|unit| unit.to_le_bytes()));
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_in_case_last() {
        let upcase = Upcase::ascii();
        let collation = Collation::FileName(&upcase);
        let key = |name: &str| name_key(&name.encode_utf16().collect::<Vec<_>>()).unwrap();
        // Ascending; what stands on one line differs in case only.
        let order: [&[&str]; 5] = [
            &["AB", "Ab", "aB", "ab"],
            &["ABC", "abc"],
            &["b", "b "],
            &["B_"],
            &["é"],
        ];
        let flat: Vec<&str> = order.iter().flat_map(|line| line.iter().copied()).collect();
        for (i, left) in flat.iter().enumerate() {
            for (j, right) in flat.iter().enumerate() {
                let compare = collation.compare(&key(left), &key(right));
                assert_eq!(compare, i.cmp(&j), "{left} {right}");
            }
        }
        for line in [order[0], order[1]] {
            for name in line {
                let compare = collation.compare_loosely(&key(name), &key(line[0]));
                assert_eq!(compare, Ordering::Equal);
            }
        }
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        let key = |low: u32, high: u32| {
            let mut key = low.to_le_bytes().to_vec();
            key.extend(high.to_le_bytes());
            key
        };
        let hash = Collation::SecurityHash;
        assert_eq!(
            hash.compare(&key(0x100, 9), &key(0xFF, 1)),
            Ordering::Greater
        );
        assert_eq!(
            hash.compare(&key(7, 0x100), &key(7, 0xFF)),
            Ordering::Greater
        );
        assert_eq!(hash.compare(&key(7, 7), &key(7, 7)), Ordering::Equal);
        let one = |id: u32| id.to_le_bytes();
        assert_eq!(
            Collation::Ulong.compare(&one(0x100), &one(0xFF)),
            Ordering::Greater
        );
    }

    #[test]
    fn keys_of_another_length_are_none() {
        let upcase = Upcase::ascii();
        let names = Collation::FileName(&upcase);
        let good = name_key(&[65, 66]).unwrap();
        assert!(names.is_key(&good));
        for len in 0..good.len() {
            assert!(!names.is_key(&good[..len]), "{len}");
        }
        assert!(!names.is_key(&[&good[..], &[0]].concat()));
        assert!(!names.is_key(&[0; NAME]));
        assert!(name_key(&[]).is_none() && name_key(&[65; 256]).is_none());
        assert!(names.is_key(&name_key(&[65; 255]).unwrap()));
        for len in 0..12 {
            assert_eq!(Collation::Ulong.is_key(&vec![0; len]), len == 4);
            assert_eq!(Collation::SecurityHash.is_key(&vec![0; len]), len == 8);
        }
    }
}
