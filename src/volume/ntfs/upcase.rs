// SPDX-License-Identifier: GPL-2.0-or-later
//! `$UpCase`: how this volume turns names into upper case, and so what order its indexes have.
//!
//! The file (record 10) is a table of 65536 UTF-16 code units. Each volume has its own, from the Windows
//! that formatted it. Source: the Linux-NTFS documentation and ntfs-3g's layout.h (FILENAME collation).

use std::cmp::Ordering;
use std::sync::Arc;

use crate::error::{Error, Result};

use super::format::{attribute_type, record_number};
use super::mft::Mft;
use super::record::utf16;
use super::stream::Stream;

/// The volume's upper-case table.
#[derive(Clone, Debug)]
pub(super) struct Upcase(Vec<u16>);

impl Upcase {
    /// Reads the table.
    pub(super) fn read(mft: &Mft) -> Result<Upcase> {
        const LEN: u64 = 2 * 0x1_0000;
        let record = Arc::new(mft.system(record_number::UPCASE, "$UpCase")?);
        let stream = Stream::find(mft, &record, attribute_type::DATA, "")?;
        let Some(stream) = stream.filter(|stream| stream.len() == LEN) else {
            return Err(Error::damaged(
                "$UpCase",
                0,
                format!("{LEN} bytes"),
                "another length",
            ));
        };
        Ok(Upcase(utf16(&stream.read(mft)?)))
    }

    /// Compares two names as the volume's indexes do, case apart.
    pub(super) fn compare(&self, left: &[u16], right: &[u16]) -> Ordering {
        self.compare_units(left.iter().copied(), right.iter().copied())
    }

    /// The same, for names given unit by unit.
    pub(super) fn compare_units(
        &self,
        left: impl Iterator<Item = u16>,
        right: impl Iterator<Item = u16>,
    ) -> Ordering {
        let upper = |unit: u16| self.upper(unit);
        left.map(upper).cmp(right.map(upper))
    }

    /// A code unit in upper case.
    pub(super) fn upper(&self, unit: u16) -> u16 {
        self.0.get(usize::from(unit)).copied().unwrap_or(unit)
    }

    /// A table for tests: ASCII letters only.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn ascii() -> Upcase {
        let upper =
            |unit: u16| u8::try_from(unit).map_or(unit, |byte| byte.to_ascii_uppercase().into());
        Upcase((0..=u16::MAX).map(upper).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shorter_names_come_first_and_case_does_not_count() {
        let upcase = Upcase::ascii();
        let compare = |left: &str, right: &str| {
            let left: Vec<u16> = left.encode_utf16().collect();
            let right: Vec<u16> = right.encode_utf16().collect();
            upcase.compare(&left, &right)
        };
        assert_eq!(compare("system32", "System32"), Ordering::Equal);
        assert_eq!(compare("System", "system32"), Ordering::Less);
        // `_` lies between the upper and the lower case letters: upper case decides.
        assert_eq!(compare("a_", "aB"), Ordering::Greater);
        assert_eq!(compare("a_", "ab"), Ordering::Greater);
    }
}
