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
//! A large hive is checked in parts at the same time: its bins, then its keys, dealt out below the root.

mod records;

use std::collections::HashMap;
use std::ops::Range;

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSlice as _;

use super::Hive;
use super::format::{CellOffset, damaged};
use super::key::Key;
use crate::error::{Error, Result};
use records::Pending;

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

/// Hives of at least so many bytes are checked in [`PARTS`] at the same time. Both are ours; that the parts are always as
/// many makes the list of faults the same on every machine.
const LARGE: u32 = 2 << 20;
const PARTS: usize = 8;
/// Keys for each part at least, when the tree is dealt out.
const KEYS_A_PART: usize = if cfg!(test) { 1 } else { 32 };

/// See [`Hive::check`].
pub(crate) fn check(hive: &Hive) -> Vec<Fault> {
    let parts = if hive.bins.size() < LARGE { 1 } else { PARTS };
    let faults = in_parts(hive, parts).or_else(|| in_parts(hive, 1));
    faults.unwrap_or_default()
}

/// The faults; `None` when several parts had to do with the same cell, or found more than is listed: then one walk has to tell
/// what came first.
pub(super) fn in_parts(hive: &Hive, parts: usize) -> Option<Vec<Fault>> {
    let (cells, tiling) = tile(hive, parts);
    let mut check = Check::new(hive, &cells);
    for fault in hive.bins.faults() {
        check.push(fault.clone());
    }
    check.base_block();
    for error in tiling {
        check.note(error, None);
    }
    let mut pending = check.root();
    while parts > 1 && !pending.is_empty() && pending.len() < parts.saturating_mul(KEYS_A_PART) {
        for next in std::mem::take(&mut pending) {
            check.visit(&next, &mut pending);
        }
    }
    if parts > 1 {
        // Neighbours together: what lies below them is mostly near by, too.
        let share = pending.len().div_ceil(parts).max(1);
        let walk = |share: &[Pending]| {
            let mut part = Check::new(hive, &cells);
            part.walk(share.to_vec());
            part
        };
        let walked: Vec<Check<'_>> = pending.par_chunks(share).map(walk).collect();
        for part in walked {
            check.join(part)?;
        }
        if check.is_ordered {
            return None;
        }
    } else {
        check.walk(pending);
    }
    check.ring();
    check.unused();
    let Check {
        mut faults, more, ..
    } = check;
    if more > 0 {
        if parts > 1 {
            return None;
        }
        let found = format!("{more} more");
        faults.push(Fault::fatal(0, "hive", "no further faults", found));
    }
    Some(faults)
}

/// Where cells in use begin, and what keeps cells from tiling their bins.
fn tile(hive: &Hive, parts: usize) -> (Bits, Vec<Error>) {
    let mut cells = Bits::new(hive.bins.size());
    let bins = hive.bins.bins();
    let mut left = cells.words.as_mut_slice();
    let mut shares = Vec::new();
    let mut begin = 0;
    for share in bins.chunks(bins.len().div_ceil(parts).max(1)) {
        let end = share.last().map_or(begin, |bin| bin.end);
        let words = Bits::count(end.saturating_sub(begin)).min(left.len());
        let (own, rest) = std::mem::take(&mut left).split_at_mut(words);
        shares.push((begin, share, own));
        (left, begin) = (rest, end);
    }
    let walked: Vec<Vec<Error>> = shares
        .into_par_iter()
        .map(|(begin, bins, words)| {
            let mut faults = Vec::new();
            for cell in bins.iter().flat_map(|bin| hive.bins.cells(*bin)) {
                match cell {
                    Ok((offset, _, true)) => {
                        let inside = CellOffset(offset.0.saturating_sub(begin));
                        let (word, bit) = Bits::place(inside);
                        if let Some(word) = words.get_mut(word) {
                            *word |= bit;
                        }
                    }
                    Ok((_, _, false)) => {}
                    Err(error) => faults.push(error),
                }
            }
            faults
        })
        .collect();
    cells.touch(0..cells.words.len());
    (cells, walked.into_iter().flatten().collect())
}

/// One bit for every place where a cell can begin.
struct Bits {
    words: Vec<u64>,
    /// The words outside of these are zero.
    touched: Range<usize>,
}

impl Bits {
    /// For hive bins data of `size` bytes, whole pages.
    fn new(size: u32) -> Bits {
        let words = vec![0; Bits::count(size)];
        Bits {
            words,
            touched: 0..0,
        }
    }

    /// Words for `size` bytes, whole pages: 8 bytes for each place, 64 bits in a word.
    fn count(size: u32) -> usize {
        usize::try_from(size >> 9).unwrap_or(0)
    }

    fn place(offset: CellOffset) -> (usize, u64) {
        let place = offset.0 >> 3;
        let word = usize::try_from(place >> 6).unwrap_or(usize::MAX);
        (word, 1_u64.rotate_left(place & 63))
    }

    fn get(&self, offset: CellOffset) -> bool {
        let (word, bit) = Self::place(offset);
        offset.0.is_multiple_of(8) && self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    fn set(&mut self, offset: CellOffset) {
        let (place, bit) = Self::place(offset);
        if let Some(word) = self.words.get_mut(place) {
            *word |= bit;
            self.touch(place..place.saturating_add(1));
        }
    }

    fn touch(&mut self, words: Range<usize>) {
        self.touched = match (self.touched.is_empty(), words.is_empty()) {
            (true, _) => words,
            (_, true) => return,
            _ => self.touched.start.min(words.start)..self.touched.end.max(words.end),
        };
    }

    /// Adds what is set in `other`; false when something was set in both.
    fn add(&mut self, other: &Bits) -> bool {
        let own = self.words.get_mut(other.touched.clone());
        let others = other.words.get(other.touched.clone());
        let mut apart = true;
        for (word, other) in own.into_iter().flatten().zip(others.into_iter().flatten()) {
            apart &= *word & other == 0;
            *word |= other;
        }
        self.touch(other.touched.clone());
        apart
    }
}

/// The check of a part of the tree.
struct Check<'a> {
    hive: &'a Hive,
    faults: Vec<Fault>,
    more: usize,
    /// Where cells in use begin.
    cells: &'a Bits,
    /// Where cells begin that something points to.
    seen: Bits,
    /// How many keys use each security record.
    references: HashMap<CellOffset, u32>,
    /// There is a fault that is listed with whoever comes first: a cell used twice, a bad security record.
    is_ordered: bool,
}

impl<'a> Check<'a> {
    fn new(hive: &'a Hive, cells: &'a Bits) -> Check<'a> {
        Check {
            hive,
            faults: Vec::new(),
            more: 0,
            cells,
            seen: Bits::new(hive.bins.size()),
            references: HashMap::new(),
            is_ordered: false,
        }
    }

    /// Takes over what another part has found; `None` when both had to do with the same cell, or one walk has to tell.
    fn join(&mut self, part: Check<'a>) -> Option<()> {
        if self.is_ordered || part.is_ordered {
            return None;
        }
        self.more = self.more.saturating_add(part.more);
        for fault in part.faults {
            self.push(fault);
        }
        for (offset, count) in part.references {
            let known = self.references.entry(offset).or_insert(0);
            *known = known.saturating_add(count);
        }
        self.seen.add(&part.seen).then_some(())
    }

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
            self.is_ordered = true;
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
        let words = self.cells.words.iter().zip(&self.seen.words).enumerate();
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
