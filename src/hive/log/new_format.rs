// SPDX-License-Identifier: GPL-2.0-or-later
//! A transaction log of Windows 8.1 and later: a base block of type 6, then a chain of log entries.
//!
//! ```text
//!    0 base block, 512 bytes | 512 entry | entry | ... | entries of earlier runs | zeros
//! entry, at a multiple of 512:
//!    0 "HvLE" |  4 size, a multiple of 512 |  8 flags | 12 sequence number
//!   16 hive bins data size after it        | 20 number of pages
//!   24 hash-1: Marvin32 of bytes 40..size  | 32 hash-2: Marvin32 of bytes 0..32
//!   40 for each page: offset from the first hive bin, size | the pages, back to back | zeros
//! ```
//!
//! Source: msuhanov/regf, "New format". Windows writes a new run over the old one from the start, so what
//! follows the chain is usually a remnant: whole, correctly hashed entries with lower numbers. The chain
//! therefore ends at the first entry that is not whole or does not have the next number.

use super::Page;
use crate::bytes::{array, slice, u32_le, u64_le};
use crate::hive::base_block::{BaseBlock, SECTOR_SIZE};
use crate::hive::marvin32::marvin32;

/// The first four bytes of a log entry.
const SIGNATURE: [u8; 4] = *b"HvLE";
/// Bytes before the page references; hash-1 covers all that follows.
const HEADER_SIZE: usize = 40;
/// Bytes of one page reference.
const REFERENCE_SIZE: usize = 8;
/// Bit 0 of the entry's flags is the only one that is kept; it goes to bit 0 of the base block's flags.
const FLAG_PENDING_TRANSACTIONS: u32 = 1;

/// One whole log entry: sizes and both hashes are right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    /// The number the hive has once this entry is applied.
    pub(super) sequence: u32,
    /// The hive bins data size once this entry is applied: a multiple of 4096, within the format's limit.
    pub(super) bins_size: u32,
    /// Bit 0 of the base block's flags once this entry is applied.
    pub(super) pending_transactions: bool,
    page_count: u32,
    /// The entry's bytes, all `size` of them.
    pub(super) bytes: &'a [u8],
}

/// Why a chain has no further entry.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    /// Nothing there: the end of the file, zeros or anything else that is no entry.
    End,
    /// An entry is there, but not whole; says what is wrong.
    Broken(String),
}

/// The entries of a log that follow on each other from its base block's number.
#[derive(Debug)]
pub(super) struct Chain<'a> {
    /// In order; the numbers are consecutive (wrapping).
    pub(super) entries: Vec<Entry<'a>>,
    /// What a person should know about what follows the last entry.
    pub(super) notes: Vec<String>,
}

/// Reads the chain that begins after the base block of `log`.
pub(super) fn read_chain<'a>(log: &'a [u8], base: &BaseBlock) -> Chain<'a> {
    let mut entries = Vec::new();
    let mut notes = Vec::new();
    let mut at = SECTOR_SIZE;
    let mut expected = base.primary_sequence;
    loop {
        match read_entry(log, at) {
            Ok(entry) if entry.sequence == expected => {
                at = at.saturating_add(entry.bytes.len());
                expected = expected.wrapping_add(1);
                entries.push(entry);
            }
            Ok(entry) => {
                if !super::is_before(entry.sequence, expected) {
                    notes.push(format!(
                        "entry {expected} is missing at offset {at:#x}: entry {} stands there and was not applied",
                        entry.sequence
                    ));
                }
                break;
            }
            Err(Stop::Broken(why)) => {
                notes.push(format!("the entry at offset {at:#x}, where entry {expected} could stand, was not applied: {why}"));
                break;
            }
            Err(Stop::End) => break,
        }
    }
    let remnants = sequence_numbers(log, at).count();
    if remnants != 0 {
        notes.push(format!(
            "{remnants} entries of other runs after offset {at:#x} were left alone"
        ));
    }
    Chain { entries, notes }
}

/// Reads the entry at `at` and checks its sizes and hashes.
fn read_entry(log: &[u8], at: usize) -> Result<Entry<'_>, Stop> {
    let header: [u8; HEADER_SIZE] = array(log, at).ok_or(Stop::End)?;
    if !header.starts_with(&SIGNATURE) {
        return Err(Stop::End);
    }
    let word = |offset| u32_le(&header, offset).unwrap_or_default();
    let (size, sequence, bins_size, page_count) = (word(4), word(12), word(16), word(20));
    let broken = |why: String| Err(Stop::Broken(why));
    if !header_hash_valid(&header) {
        return broken(String::from("the hash of its header is wrong"));
    }
    let whole = usize::try_from(size).ok();
    let Some(bytes) = whole.and_then(|size| slice(log, at, size)) else {
        return broken(format!("its {size} bytes reach past the end of the log"));
    };
    if bytes.len() < SECTOR_SIZE || bytes.len().checked_rem(SECTOR_SIZE) != Some(0) {
        return broken(format!("its size, {size}, is not a multiple of 512"));
    }
    let payload = bytes.get(HEADER_SIZE..).unwrap_or_default();
    if u64_le(&header, 24) != Some(marvin32(payload)) {
        return broken(String::from("the hash of its pages is wrong"));
    }
    if let Some(why) = super::bins_size_fault(bins_size) {
        return broken(why);
    }
    if page_count == 0 {
        return broken(String::from("it has no page"));
    }
    Ok(Entry {
        sequence,
        bins_size,
        pending_transactions: word(8) & FLAG_PENDING_TRANSACTIONS != 0,
        page_count,
        bytes,
    })
}

fn header_hash_valid(header: &[u8]) -> bool {
    let covered = header.get(..32).map(marvin32);
    covered.is_some() && covered == u64_le(header, 32)
}

/// The numbers of everything from `from` on that has an entry's header, whole or not, in this log's order.
///
/// Only the header's hash is checked: a number too many does no harm, and the cost stays linear whatever
/// sizes the headers claim.
pub(super) fn sequence_numbers(log: &[u8], from: usize) -> impl Iterator<Item = u32> {
    let sectors = log.get(from..).unwrap_or_default().chunks(SECTOR_SIZE);
    sectors.filter_map(|sector| {
        let header = sector.get(..HEADER_SIZE)?;
        let is_entry = header.starts_with(&SIGNATURE) && header_hash_valid(header);
        is_entry.then(|| u32_le(header, 12)).flatten()
    })
}

impl<'a> Entry<'a> {
    /// The pages in stored order. A page whose bytes do not lie inside the entry comes as `Err` with a
    /// description and ends the iteration.
    pub(super) fn pages(self) -> impl Iterator<Item = Result<Page<'a>, String>> + use<'a> {
        let Entry {
            bytes,
            page_count,
            sequence,
            ..
        } = self;
        let count = usize::try_from(page_count).unwrap_or(usize::MAX);
        let mut data = count
            .checked_mul(REFERENCE_SIZE)
            .and_then(|references| references.checked_add(HEADER_SIZE));
        let mut index = 0_usize;
        std::iter::from_fn(move || {
            if index >= count {
                return None;
            }
            let page = data.and_then(|start| {
                let reference = index
                    .checked_mul(REFERENCE_SIZE)?
                    .checked_add(HEADER_SIZE)?;
                let offset = u32_le(bytes, reference)?;
                let size = u32_le(bytes, reference.checked_add(4)?)?;
                let size = usize::try_from(size).ok()?;
                // The references must end before the first page begins.
                let page = slice(bytes, start, size)?;
                data = start.checked_add(size);
                Some(Page {
                    offset,
                    bytes: page,
                })
            });
            let place = index;
            index = if page.is_some() {
                index.saturating_add(1)
            } else {
                count
            };
            Some(page.ok_or_else(|| {
                format!("page {place} of entry {sequence} does not lie inside the entry")
            }))
        })
    }
}
