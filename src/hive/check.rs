// SPDX-License-Identifier: GPL-2.0-or-later
//! The structural check of a hive: every fault with its place, not only the first.
//!
//! ```text
//! base block   checksum
//! hive bins    signature, own offset, size; cells tile every bin
//! keys         from the root down: each cell is used once; parent, name, depth, flags
//! lists        signature, leaves only below an ri, order, hash and hint, count
//! values       record, name, data cells, big data
//! security     descriptor, ring, references
//! the rest     cells in use that nothing points to
//! ```
//!
//! It asks what Windows asks when it loads a hive (and answers with a failed load or by deleting the
//! offending key), and what our editors rely on. A fault is *fatal* when an edit could make things worse or
//! Windows would not load the hive; the others are blemishes that the writer of the hive, often Windows
//! itself, left behind. Time and memory are linear in the hive's size; at most [`MAX_FAULTS`] are listed.

mod records;

use std::collections::HashMap;

use super::Hive;
use super::format::{BIN_HEADER, CellOffset, PAGE, damaged};
use super::key::Key;
use crate::error::{Error, Result};

/// How many faults are listed; a last one says when there are more.
pub const MAX_FAULTS: usize = 1000;

/// Something in a hive that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// Where the structure begins: bytes from the start of the file.
    pub offset: u64,
    /// The structure, by its specification's name.
    pub structure: String,
    /// The key it belongs to, as a path below the root, where that is known.
    pub key: Option<String>,
    /// What the format demands.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// True when the hive must not be edited before this is repaired.
    pub fatal: bool,
}

impl Fault {
    /// A fatal fault that belongs to no key.
    pub(crate) fn fatal(
        offset: u64,
        structure: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Fault {
        Fault {
            offset,
            structure: structure.to_owned(),
            key: None,
            expected: expected.into(),
            found: found.into(),
            fatal: true,
        }
    }

    /// The fault that a reader met; `None` for errors that are not about the data.
    pub(crate) fn from_error(error: Error, fatal: bool) -> Option<Fault> {
        let Error::Damaged {
            what,
            offset,
            expected,
            found,
        } = error
        else {
            return None;
        };
        Some(Fault {
            offset,
            structure: what,
            key: None,
            expected,
            found,
            fatal,
        })
    }

    /// The fault as an error.
    pub fn to_error(&self) -> Error {
        let what = match &self.key {
            Some(key) => format!("{} of {key:?}", self.structure),
            None => self.structure.clone(),
        };
        Error::damaged(what, self.offset, &self.expected, &self.found)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.to_error())
    }
}

/// See [`Hive::check`].
pub(crate) fn check(hive: &Hive) -> Vec<Fault> {
    let pages = hive.bins.size().checked_div(PAGE).unwrap_or(0);
    let mut check = Check {
        hive,
        faults: hive.bins.faults().to_vec(),
        more: 0,
        cells: Bits::new(pages),
        seen: Bits::new(pages),
        references: HashMap::new(),
    };
    check.base_block();
    check.tile();
    check.tree();
    check.ring();
    check.unused();
    let mut faults = check.faults;
    if check.more > 0 {
        let found = format!("{} more", check.more);
        faults.push(Fault::fatal(0, "hive", "no further faults", found));
    }
    faults
}

/// One bit for every place where a cell can begin.
struct Bits(Vec<u64>);

impl Bits {
    fn new(pages: u32) -> Bits {
        // 4096 / 8 places in a page, 64 bits in a word.
        let words = usize::try_from(pages).unwrap_or(0).saturating_mul(8);
        Bits(vec![0; words])
    }

    fn place(offset: CellOffset) -> (usize, u64) {
        let place = offset.0 >> 3;
        let word = usize::try_from(place >> 6).unwrap_or(usize::MAX);
        (word, 1_u64.rotate_left(place & 63))
    }

    fn get(&self, offset: CellOffset) -> bool {
        let (word, bit) = Self::place(offset);
        offset.0.is_multiple_of(8) && self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    fn set(&mut self, offset: CellOffset) {
        let (word, bit) = Self::place(offset);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }
}

struct Check<'a> {
    hive: &'a Hive,
    faults: Vec<Fault>,
    more: usize,
    /// Where cells in use begin.
    cells: Bits,
    /// Where cells begin that something points to.
    seen: Bits,
    /// How many keys use each security record.
    references: HashMap<CellOffset, u32>,
}

impl<'a> Check<'a> {
    fn push(&mut self, fault: Fault) {
        match self.faults.len() < MAX_FAULTS {
            true => self.faults.push(fault),
            false => self.more = self.more.saturating_add(1),
        }
    }

    /// Notes an error met while reading; it is fatal.
    fn note(&mut self, error: Error, key: Option<&Key<'_>>) {
        self.report(error, key, true);
    }

    /// Notes what an editor can live with.
    fn blemish(&mut self, error: Error, key: Option<&Key<'_>>) {
        self.report(error, key, false);
    }

    fn report(&mut self, error: Error, key: Option<&Key<'_>>, fatal: bool) {
        if let Some(mut fault) = Fault::from_error(error, fatal) {
            // Finding the path costs up to 512 steps: only for those that are listed.
            if self.faults.len() < MAX_FAULTS {
                fault.key = key.and_then(|key| key.path().ok());
            }
            self.push(fault);
        }
    }

    /// Marks the cell at `offset` as pointed to.
    fn claim(&mut self, what: &str, offset: CellOffset) -> Result<()> {
        if !self.cells.get(offset) {
            let found = format!("offset {:#x}", offset.0);
            return Err(damaged(what, offset, "the start of a cell in use", found));
        }
        if self.seen.get(offset) {
            let found = "a cell that something else uses too";
            return Err(damaged(what, offset, "a cell of its own", found));
        }
        self.seen.set(offset);
        Ok(())
    }

    fn base_block(&mut self) {
        let block = self.hive.base_block();
        if !block.checksum_valid() {
            let expected = format!("checksum {:#010x}", block.computed_checksum);
            let found = format!("{:#010x}", block.checksum);
            self.push(Fault::fatal(0, "hive base block", expected, found));
        }
    }

    fn tile(&mut self) {
        for bin in self.hive.bins.bins() {
            let mut offset = CellOffset(bin.start.saturating_add(BIN_HEADER));
            while offset.0 < bin.end {
                match self.hive.bins.cell_size("cell", offset) {
                    Ok((size, used)) => {
                        if used {
                            self.cells.set(offset);
                        }
                        offset = CellOffset(offset.0.saturating_add(size));
                    }
                    Err(error) => {
                        self.note(error, None);
                        break;
                    }
                }
            }
        }
    }

    /// The ring of security records, and how often each is used.
    fn ring(&mut self) {
        let Ok(root) = self.hive.root() else {
            return;
        };
        let start = root.node.security;
        let mut offset = start;
        loop {
            let security = self
                .claim("key security (sk)", offset)
                .and_then(|()| self.hive.key_security(offset));
            let security = match security {
                Ok(security) => security,
                Err(error) => return self.note(error, None),
            };
            let what = "key security (sk)";
            let used = self.references.remove(&offset).unwrap_or(0);
            if security.references != used {
                let expected = format!("{used} references");
                let error = damaged(what, offset, expected, security.references.to_string());
                // Too many only keep the record alive; too few free it while keys still use it.
                self.report(error, None, security.references < used);
            }
            match self.hive.key_security(security.next) {
                Ok(next) if next.previous == offset => {}
                Ok(next) => {
                    let expected = format!("previous {:#x}", offset.0);
                    let found = format!("{:#x}", next.previous.0);
                    self.note(damaged(what, security.next, expected, found), None);
                }
                Err(error) => return self.note(error, None),
            }
            offset = security.next;
            if offset == start {
                break;
            }
        }
        let mut strays: Vec<CellOffset> = self.references.keys().copied().collect();
        strays.sort();
        for stray in strays {
            self.seen.set(stray);
            let found = "a record outside it";
            self.note(
                damaged("key security (sk)", stray, "a record in the ring", found),
                None,
            );
        }
    }

    /// Cells in use that nothing points to.
    fn unused(&mut self) {
        if self.faults.iter().any(|fault| fault.fatal) {
            // What a broken structure points to cannot be known.
            return;
        }
        let words = self.cells.0.iter().zip(&self.seen.0).enumerate();
        let mut lost = Vec::new();
        for (index, (cells, seen)) in words {
            let mut left = cells & !seen;
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left.wrapping_sub(1);
                let place = u32::try_from(index).unwrap_or(0).saturating_mul(64);
                lost.push(CellOffset(place.saturating_add(bit).saturating_mul(8)));
            }
        }
        for offset in lost {
            let found = "a cell in use that nothing points to";
            self.blemish(damaged("cell", offset, "a record of the hive", found), None);
        }
    }
}
