// SPDX-License-Identifier: GPL-2.0-or-later
//! Variable-length attributes: how V and C values hold what has no fixed length.
//!
//! ```text
//! 0         fixed part        `fixed` bytes: none in V, the RID in C
//! fixed     table             `count` entries of 12 bytes: u32 offset, u32 length, u32 qualifier
//! table end data              offsets count from here
//! ```
//! Windows lays the data down in the order of the table, each part padded to 4 bytes, one behind the other, also
//! behind empty ones. A part that changes its length is written in that form again, which leaves nothing of the
//! old part behind. What lies in another order is read all the same.

use crate::bytes::{put, slice, u32_le};
use crate::error::{Error, Result};

/// Bytes of a table entry.
const ENTRY: usize = 12;
/// Ours: several times what Windows allows a value of SAM to hold.
const LARGEST: usize = 1 << 20;

/// Where the table of a kind of value is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// The value, for errors.
    pub(super) what: &'static str,
    /// Bytes before the table.
    pub(super) fixed: usize,
    /// Entries of the table.
    pub(super) count: usize,
}

impl Layout {
    fn entry(&self, index: usize) -> usize {
        index.saturating_mul(ENTRY).saturating_add(self.fixed)
    }

    fn table_end(&self) -> usize {
        self.entry(self.count)
    }
}

/// A value with its parts, all of which lie inside it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Attributes {
    layout: &'static Layout,
    bytes: Vec<u8>,
}

impl Attributes {
    /// Reads a value.
    ///
    /// # Errors
    /// `Damaged` when a part does not lie inside it.
    pub(super) fn parse(layout: &'static Layout, bytes: &[u8]) -> Result<Attributes> {
        let wrong = |at: usize, expected: &str, found: String| {
            let at = u64::try_from(at).unwrap_or(u64::MAX);
            Error::damaged(layout.what, at, expected, found)
        };
        if bytes.len() > LARGEST {
            let found = format!("{} bytes", bytes.len());
            return Err(wrong(0, "1 MiB or less", found));
        }
        let attributes = Attributes {
            layout,
            bytes: bytes.to_vec(),
        };
        for index in 0..layout.count {
            if attributes.find(index).is_none() {
                let found = format!("part {index} outside of {} bytes", bytes.len());
                let expected = "a part inside the value";
                return Err(wrong(layout.entry(index), expected, found));
            }
        }
        Ok(attributes)
    }

    fn find(&self, index: usize) -> Option<&[u8]> {
        let entry = self.layout.entry(index);
        let offset = usize::try_from(u32_le(&self.bytes, entry)?).ok()?;
        let length = usize::try_from(u32_le(&self.bytes, entry.checked_add(4)?)?).ok()?;
        let start = self.layout.table_end().checked_add(offset)?;
        slice(&self.bytes, start, length)
    }

    /// The part at `index`; empty when the layout has none.
    pub(super) fn get(&self, index: usize) -> &[u8] {
        self.find(index).unwrap_or_default()
    }

    /// The third field of an entry.
    pub(super) fn qualifier(&self, index: usize) -> u32 {
        let entry = self.layout.entry(index);
        u32_le(&self.bytes, entry.saturating_add(8)).unwrap_or_default()
    }

    /// The whole value.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the data of the last part ends, from the start of the value.
    pub(super) fn end_of(&self, index: usize) -> Option<usize> {
        let entry = self.layout.entry(index);
        let offset = usize::try_from(u32_le(&self.bytes, entry)?).ok()?;
        let start = self.layout.table_end().checked_add(offset)?;
        start.checked_add(self.get(index).len())
    }

    /// Replaces a part: in place when its length stays, else the whole is laid down again.
    ///
    /// # Errors
    /// `Refused` when the value would become too long; `Damaged` cannot happen for what [`Attributes::parse`]
    /// accepted.
    pub(super) fn set(&mut self, index: usize, data: &[u8], qualifier: u32) -> Result<()> {
        let entry = self.layout.entry(index);
        let mut bytes = self.bytes.clone();
        if data.len() == self.get(index).len() {
            let start = self
                .end_of(index)
                .and_then(|end| end.checked_sub(data.len()));
            let written = start.is_some_and(|start| put(&mut bytes, start, data));
            if !written
                || !put(
                    &mut bytes,
                    entry.saturating_add(8),
                    &qualifier.to_le_bytes(),
                )
            {
                return Err(self.too_long());
            }
            self.bytes = bytes;
            return Ok(());
        }
        bytes.truncate(self.layout.table_end());
        for position in 0..self.layout.count {
            let offset = bytes.len().saturating_sub(self.layout.table_end());
            let (part, qualifier) = match position == index {
                true => (data, qualifier),
                false => (self.get(position), self.qualifier(position)),
            };
            let at = self.layout.entry(position);
            let (Ok(offset), Ok(length)) = (u32::try_from(offset), u32::try_from(part.len()))
            else {
                return Err(self.too_long());
            };
            let fields = [offset, length, qualifier];
            for (field, number) in fields.into_iter().enumerate() {
                let place = field.saturating_mul(4).saturating_add(at);
                if !put(&mut bytes, place, &number.to_le_bytes()) {
                    return Err(self.too_long());
                }
            }
            bytes.extend_from_slice(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            if bytes.len() > LARGEST {
                return Err(self.too_long());
            }
        }
        self.bytes = bytes;
        Ok(())
    }

    fn too_long(&self) -> Error {
        Error::refused(
            format!("{} would become longer than 1 MiB", self.layout.what),
            "nothing was changed; this value cannot take more",
        )
    }
}

/// Lengths alone: a V value holds hashes.
impl std::fmt::Debug for Attributes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attributes")
            .field("what", &self.layout.what)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}
