// SPDX-License-Identifier: GPL-2.0-or-later
//! Which parts of a container file are taken, to find two structures in the same place before anything is
//! written: a write to the one would change the other.
//!
//! Memory: 8 bytes for each part. A table that lists more blocks than the file has room for must list some
//! space twice, so the number of parts is bounded by the file's length.

use crate::error::{Error, Result};

/// Taken parts of a file, in units of the container's own granularity.
#[derive(Debug)]
pub(super) struct Occupied {
    container: &'static str,
    unit: u64,
    file_len: u64,
    /// First unit, and number of units.
    parts: Vec<(u32, u32)>,
    /// Units so far.
    total: u64,
}

impl Occupied {
    /// Nothing taken yet, in a file of `file_len` bytes; places are multiples of `unit` bytes.
    pub(super) fn new(container: &'static str, unit: u64, file_len: u64) -> Occupied {
        Occupied {
            container,
            unit: unit.max(1),
            file_len,
            parts: Vec::new(),
            total: 0,
        }
    }

    /// Takes `len` bytes from `start`. `Damaged` when they are not in the file, or no room for them can be left.
    pub(super) fn add(&mut self, start: u64, len: u64) -> Result<()> {
        let end = start.checked_add(len);
        let first = u32::try_from(start.div_euclid(self.unit)).ok();
        let units = end
            .map(|end| end.div_ceil(self.unit))
            .and_then(|end| end.checked_sub(start.div_euclid(self.unit)));
        let (Some(first), Some(units)) = (first, units.and_then(|units| u32::try_from(units).ok()))
        else {
            return Err(self.error(start, "a part of the file", "one past its end"));
        };
        if end.is_none_or(|end| end > self.file_len) {
            return Err(self.error(
                start,
                &format!("{len} bytes in the file"),
                &format!("the file's end at {:#x}", self.file_len),
            ));
        }
        self.total = self.total.saturating_add(u64::from(units));
        if self.total > self.file_len.div_ceil(self.unit) {
            return Err(self.error(
                start,
                "a place of its own for every block",
                "more blocks than the file has room for",
            ));
        }
        self.parts.push((first, units));
        Ok(())
    }

    /// `Damaged` when two parts overlap.
    pub(super) fn check(mut self) -> Result<()> {
        self.parts.sort_unstable();
        for pair in self.parts.windows(2) {
            let [(first, units), (next, _)] = pair else {
                continue;
            };
            if u64::from(*first).saturating_add(u64::from(*units)) > u64::from(*next) {
                let place = |unit: u32| u64::from(unit).saturating_mul(self.unit);
                return Err(self.error(
                    place(*next),
                    "a place of its own for every block and table",
                    &format!(
                        "one that begins at {:#x} and reaches in there",
                        place(*first)
                    ),
                ));
            }
        }
        Ok(())
    }

    fn error(&self, offset: u64, expected: &str, found: &str) -> Error {
        Error::damaged(
            format!("{} file, as its block table divides it", self.container),
            offset,
            expected,
            found,
        )
        .with_hint(
            "before writing",
            "the block table is damaged, and a write could destroy other data: copy what is readable to a new \
             disk; nothing was changed",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_side_by_side_are_fine_and_a_shared_unit_is_not() {
        let occupied = |parts: &[(u64, u64)]| {
            let mut occupied = Occupied::new("test", 512, 8192);
            parts
                .iter()
                .try_for_each(|(start, len)| occupied.add(*start, *len))?;
            occupied.check()
        };
        occupied(&[]).unwrap();
        occupied(&[(4096, 4096), (0, 512), (512, 3584)]).unwrap();
        for wrong in [
            &[(0, 513), (512, 512)][..],
            &[(512, 512), (512, 512)],
            &[(0, 4096), (1024, 512)],
            &[(0, 8193)],
            &[(u64::MAX, 512)],
            &[(0, 4096), (0, 4096), (0, 4096)],
        ] {
            let error = occupied(wrong).unwrap_err();
            assert_eq!(error.kind(), crate::error::Kind::Damaged, "{error}");
        }
    }
}
