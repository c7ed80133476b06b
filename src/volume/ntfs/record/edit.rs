// SPDX-License-Identifier: GPL-2.0-or-later
//! Changing an MFT record in memory: attributes come, go, grow and shrink.
//!
//! ```text
//! header | $10 ... | $30 ... | $80 ... | FFFFFFFF 0 | free      attributes by type, then name, then lowest VCN
//!                            ^ splice: what is behind moves, the end mark with it; what becomes free is zeroed
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. Nothing here reads or writes the disk. Each edit is made in
//! a copy, taken apart again, and only then in force: when one does not fit, or would leave a record that is none,
//! it answers `false` and the record is as it was.

use std::cmp::Ordering;

use crate::bytes;
use crate::volume::ntfs::upcase::Upcase;

use super::{Attribute, DIRECTORY, Form, IN_USE, Record, Sizes, attribute, attributes};

impl Record {
    /// Gives a resident attribute another value. False when it does not fit.
    #[must_use]
    pub(in super::super) fn set_value(&mut self, attribute: &Attribute, value: &[u8]) -> bool {
        self.try_set_value(attribute, value).is_some()
    }

    fn try_set_value(&mut self, attribute: &Attribute, value: &[u8]) -> Option<()> {
        let Form::Resident { offset, .. } = attribute.form else {
            return None;
        };
        let mut changed = bytes::slice(
            &self.bytes,
            attribute.offset,
            offset.checked_sub(attribute.offset)?,
        )?
        .to_vec();
        changed.extend_from_slice(value);
        let len = u32::try_from(value.len()).ok()?;
        finish(&mut changed)?;
        bytes::put(&mut changed, 0x10, &len.to_le_bytes()).then_some(())?;
        self.splice(attribute.offset, attribute.len, &changed)
    }

    /// Sets the sizes of a non-resident attribute. False when it has none.
    #[must_use]
    pub(in super::super) fn set_sizes(&mut self, attribute: &Attribute, sizes: Sizes) -> bool {
        let Form::NonResident { sizes: Some(_), .. } = attribute.form else {
            return false;
        };
        let fields = [
            (0x28, sizes.allocated),
            (0x30, sizes.data),
            (0x38, sizes.initialised),
        ];
        self.edit(|record| {
            fields.iter().all(|(field, size)| {
                let at = attribute.offset.saturating_add(*field);
                bytes::put(record, at, &size.to_le_bytes())
            })
        })
    }

    /// Gives a non-resident attribute, or this extent of it, other mapping pairs. `clusters` is how many they
    /// map. False when they do not fit.
    #[must_use]
    pub(in super::super) fn set_mapping(
        &mut self,
        attribute: &Attribute,
        pairs: &[u8],
        clusters: u64,
    ) -> bool {
        self.try_set_mapping(attribute, pairs, clusters).is_some()
    }

    fn try_set_mapping(
        &mut self,
        attribute: &Attribute,
        pairs: &[u8],
        clusters: u64,
    ) -> Option<()> {
        let Form::NonResident {
            lowest, pairs: at, ..
        } = attribute.form
        else {
            return None;
        };
        let header = at.checked_sub(attribute.offset)?;
        let mut changed = bytes::slice(&self.bytes, attribute.offset, header)?.to_vec();
        changed.extend_from_slice(pairs);
        finish(&mut changed)?;
        let highest = lowest.checked_add(clusters)?.wrapping_sub(1);
        bytes::put(&mut changed, 0x18, &highest.to_le_bytes()).then_some(())?;
        self.splice(attribute.offset, attribute.len, &changed)
    }

    /// Turns a resident attribute into one whose value lies in the clusters that `pairs` map. False when that
    /// does not fit.
    #[must_use]
    pub(in super::super) fn set_non_resident(
        &mut self,
        old: &Attribute,
        pairs: &[u8],
        clusters: u64,
        sizes: Sizes,
    ) -> bool {
        let new =
            attribute::non_resident(old.kind, &old.name, old.instance, pairs, clusters, sizes);
        new.and_then(|new| self.splice(old.offset, old.len, &new))
            .is_some()
    }

    /// Adds an attribute, as [`attribute::resident`] and [`attribute::non_resident`] make it, at its place in the
    /// order. False when it does not fit.
    #[must_use]
    pub(in super::super) fn insert(&mut self, upcase: &Upcase, attribute: &[u8]) -> bool {
        self.try_insert(upcase, attribute).is_some()
    }

    fn try_insert(&mut self, upcase: &Upcase, new: &[u8]) -> Option<()> {
        let kind = bytes::u32_le(new, 0)?;
        let parsed = super::attribute(new, 0, kind).ok()?;
        let before = |found: &&Attribute| order(upcase, found, &parsed) != Ordering::Greater;
        let at = match self.attributes.iter().rev().find(before) {
            Some(found) => found.offset.checked_add(found.len)?,
            None => usize::from(self.u16(0x14)),
        };
        // The next instance number stays ahead of all that were given.
        let next = parsed.instance.checked_add(1)?;
        let mut record = self.clone();
        record.splice(at, 0, new)?;
        if record.u16(0x28) < next {
            bytes::put(&mut record.bytes, 0x28, &next.to_le_bytes()).then_some(())?;
        }
        *self = record;
        Some(())
    }

    /// Takes an attribute away.
    #[must_use]
    pub(in super::super) fn remove(&mut self, attribute: &Attribute) -> bool {
        self.splice(attribute.offset, attribute.len, &[]).is_some()
    }

    /// A number for the next attribute that no other one of this record has.
    pub(in super::super) fn next_instance(&self) -> Option<u16> {
        let free = |instance: &u16| {
            // The last number is left out, so that the one after it can be stored.
            *instance < u16::MAX
                && self
                    .attributes
                    .iter()
                    .all(|found| found.instance != *instance)
        };
        let next = self.u16(0x28);
        Some(next).filter(free).or_else(|| (0..u16::MAX).find(free))
    }

    /// Overwrites bytes in place, such as a part of a resident value. False when they do not lie in the record.
    #[must_use]
    pub(in super::super) fn patch(&mut self, offset: usize, data: &[u8]) -> bool {
        self.edit(|record| bytes::put(record, offset, data))
    }

    /// Sets the number of names that the file has.
    #[must_use]
    pub(in super::super) fn set_links(&mut self, links: u16) -> bool {
        self.patch(0x12, &links.to_le_bytes())
    }

    /// How many names the file has.
    pub(in super::super) fn links(&self) -> u16 {
        self.u16(0x12)
    }

    /// Makes an empty record that of a file or folder with one name.
    #[must_use]
    pub(in super::super) fn set_new(&mut self, sequence: u16, directory: bool) -> bool {
        let flags = if directory {
            IN_USE | DIRECTORY
        } else {
            IN_USE
        };
        self.patch(0x10, &sequence.to_le_bytes())
            && self.set_links(1)
            && self.patch(0x16, &flags.to_le_bytes())
    }

    /// Gives the record up: not in use, and the next file in it has another sequence number, so that old
    /// references to it are seen to be old.
    #[must_use]
    pub(in super::super) fn set_free(&mut self) -> bool {
        let flags = self.u16(0x16) & !IN_USE;
        // 0 would mean "not to be checked" in a reference.
        let sequence = self.u16(0x10).wrapping_add(1).max(1);
        self.patch(0x16, &flags.to_le_bytes()) && self.patch(0x10, &sequence.to_le_bytes())
    }

    /// Replaces `len` bytes at `at`, which begin and end with an attribute, by `new`.
    pub(super) fn splice(&mut self, at: usize, len: usize, new: &[u8]) -> Option<()> {
        let (used, allocated) = (self.used()?, self.allocated()?);
        let behind = self.bytes.get(at.checked_add(len)?..used)?.to_vec();
        let new_end = at.checked_add(new.len())?;
        let new_used = new_end.checked_add(behind.len())?;
        if new_used > allocated {
            return None;
        }
        let new_used_field = u32::try_from(new_used).ok()?.to_le_bytes();
        let done = self.edit(|record| {
            if let Some(changed) = record.get_mut(at..used.max(new_used)) {
                changed.fill(0);
            }
            bytes::put(record, at, new)
                && bytes::put(record, new_end, &behind)
                && bytes::put(record, 0x18, &new_used_field)
        });
        done.then_some(())
    }

    /// Makes an edit in a copy, and puts it in force when it succeeded and what results is a record.
    fn edit(&mut self, edit: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        let mut record = self.bytes.clone();
        if !edit(&mut record) {
            return false;
        }
        match attributes(&record) {
            Ok(attributes) => {
                self.attributes = attributes;
                self.bytes = record;
                true
            }
            Err(_) => false,
        }
    }
}

/// Fills an attribute up to a multiple of 8 bytes and sets its length.
fn finish(attribute: &mut Vec<u8>) -> Option<()> {
    let len = attribute.len().checked_next_multiple_of(8)?;
    attribute.resize(len, 0);
    let len = u32::try_from(len).ok()?;
    bytes::put(attribute, 4, &len.to_le_bytes()).then_some(())
}

/// The order of attributes in a record: by type, then name as the volume's indexes order names, then lowest VCN.
fn order(upcase: &Upcase, left: &Attribute, right: &Attribute) -> Ordering {
    let by_name = || {
        let by_letter = upcase.compare(&left.name, &right.name);
        by_letter.then_with(|| left.name.cmp(&right.name))
    };
    left.kind
        .cmp(&right.kind)
        .then_with(by_name)
        .then_with(|| left.lowest().cmp(&right.lowest()))
}

#[cfg(test)]
mod tests;
