// SPDX-License-Identifier: GPL-2.0-or-later
//! $ATTRIBUTE_LIST: in which records the attributes of a file are, when one record does not hold them all.
//!
//! ```text
//! entry: 0 u32 type  4 u16 length  6 u8 name length  7 u8 name offset  8 u64 lowest VCN
//!        10 u64 reference of the record that holds it  18 u16 instance  1A name    by type, name, lowest VCN
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. The list is in the base record or in clusters, and does not
//! list itself. Edits are made on its bytes, which are kept where nothing changes; a list in clusters changes inside
//! the clusters that it has.

use std::cmp::Ordering;

use crate::bytes;
use crate::error::{Error, Result};
use crate::volume::ntfs::format::{FileReference, attribute_type};
use crate::volume::ntfs::record::{Attribute, Form, Record, Sizes, utf16};
use crate::volume::ntfs::runs::{Piece, RunList};
use crate::volume::ntfs::upcase::Upcase;

use super::{Mft, gap};

/// The longest attribute list that Windows makes, in bytes.
const MAX: u64 = 0x4_0000;

/// Where the name begins in an entry.
const NAME: usize = 0x1A;

/// One entry of an attribute list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct ListEntry {
    /// Type of the attribute.
    pub(in super::super) kind: u32,
    /// Its lowest VCN; 0 for a resident one.
    pub(in super::super) lowest: u64,
    /// The record that holds it.
    pub(in super::super) holder: FileReference,
    /// Its number in that record.
    pub(in super::super) instance: u16,
    /// Its name.
    pub(in super::super) name: Vec<u16>,
}

impl ListEntry {
    fn to_bytes(&self) -> Option<Vec<u8>> {
        let name: Vec<u8> = self.name.iter().flat_map(|u| u.to_le_bytes()).collect();
        let len = NAME.checked_add(name.len())?.checked_next_multiple_of(8)?;
        let mut entry = vec![0; len];
        let put = bytes::put(&mut entry, 0, &self.kind.to_le_bytes())
            && bytes::put(&mut entry, 4, &u16::try_from(len).ok()?.to_le_bytes())
            && bytes::put(&mut entry, 6, &[u8::try_from(self.name.len()).ok()?])
            && bytes::put(&mut entry, 7, &[u8::try_from(NAME).ok()?])
            && bytes::put(&mut entry, 8, &self.lowest.to_le_bytes())
            && bytes::put(&mut entry, 0x10, &self.holder.to_packed().to_le_bytes())
            && bytes::put(&mut entry, 0x18, &self.instance.to_le_bytes())
            && bytes::put(&mut entry, NAME, &name);
        put.then_some(entry)
    }

    fn order(&self, upcase: &Upcase, other: &ListEntry) -> Ordering {
        let name = || {
            let letters = upcase.compare(&self.name, &other.name);
            letters.then_with(|| self.name.cmp(&other.name))
        };
        let kind = self.kind.cmp(&other.kind);
        kind.then_with(name)
            .then_with(|| self.lowest.cmp(&other.lowest))
    }
}

impl Mft {
    /// The file's attribute list; `None` when all attributes are in the base record.
    pub(in super::super) fn attribute_list(&self, base: &Record) -> Result<Option<Vec<ListEntry>>> {
        let Some(attribute) = base.first(attribute_type::ATTRIBUTE_LIST) else {
            return Ok(None);
        };
        let value = self.list_value(base, attribute)?;
        let entries = parse(&value, &describe(base))?;
        Ok(Some(entries.into_iter().map(|(entry, _)| entry).collect()))
    }

    /// The bytes of the list.
    fn list_value(&self, base: &Record, attribute: &Attribute) -> Result<Vec<u8>> {
        let what = describe(base);
        let Form::NonResident { sizes, .. } = attribute.form else {
            return Ok(base.value(attribute).unwrap_or_default().to_vec());
        };
        let sizes = sizes.filter(|sizes| sizes.initialised == sizes.data);
        let len = sizes.map_or(0, |sizes| sizes.data);
        if len == 0 || len > MAX {
            let expected = format!("1 to {MAX} bytes, all initialised");
            return Err(Error::damaged(what, 0, expected, len.to_string()));
        }
        let map = self.list_map(base, attribute)?;
        let mut value = vec![0; usize::try_from(len).unwrap_or(0)];
        map.read_at(self.device.as_ref(), 0, &mut value, &what)?;
        Ok(value)
    }

    fn list_map(&self, base: &Record, attribute: &Attribute) -> Result<RunList> {
        let mut map = RunList::new(self.boot.cluster_size);
        if !map.extend(self.runs(base, attribute)?) {
            return Err(gap(&describe(base), attribute.lowest(), 0));
        }
        Ok(map)
    }

    /// Adds an entry to the list of the file with this base record, at its place. False when there is no room for
    /// it. What goes into clusters is added to `writes`; the rest is changed in `base`.
    pub(in super::super) fn add_to_list(
        &self,
        base: &mut Record,
        entry: &ListEntry,
        writes: &mut Vec<(Vec<Piece>, Vec<u8>)>,
    ) -> Result<bool> {
        let upcase = self.upcase()?;
        self.edit_list(base, writes, |value, entries| {
            let behind = entries
                .iter()
                .find(|(other, _)| other.order(upcase, entry) == Ordering::Greater);
            let at = behind.map_or(value.len(), |(_, range)| range.start);
            let bytes = entry.to_bytes()?;
            let (before, after) = value.split_at_checked(at)?;
            Some([before, &bytes, after].concat())
        })
    }

    /// Takes the entries of an attribute off the list, as [`Mft::add_to_list`] adds them.
    pub(in super::super) fn remove_from_list(
        &self,
        base: &mut Record,
        kind: u32,
        name: &[u16],
        writes: &mut Vec<(Vec<Piece>, Vec<u8>)>,
    ) -> Result<bool> {
        self.edit_list(base, writes, |value, entries| {
            let kept = entries
                .iter()
                .filter(|(entry, _)| entry.kind != kind || entry.name != name);
            kept.map(|(_, range)| value.get(range.clone()))
                .collect::<Option<Vec<&[u8]>>>()
                .map(|kept| kept.concat())
        })
    }

    fn edit_list(
        &self,
        base: &mut Record,
        writes: &mut Vec<(Vec<Piece>, Vec<u8>)>,
        edit: impl FnOnce(&[u8], &[(ListEntry, std::ops::Range<usize>)]) -> Option<Vec<u8>>,
    ) -> Result<bool> {
        let Some(attribute) = base.first(attribute_type::ATTRIBUTE_LIST).cloned() else {
            return Ok(true);
        };
        let old = self.list_value(base, &attribute)?;
        let entries = parse(&old, &describe(base))?;
        let Some(new) = edit(&old, &entries) else {
            return Ok(false);
        };
        let Form::NonResident {
            sizes: Some(sizes), ..
        } = attribute.form
        else {
            return Ok(base.set_value(&attribute, &new));
        };
        let len = u64::try_from(new.len()).unwrap_or(u64::MAX);
        if len > sizes.allocated.min(MAX) {
            return Ok(false);
        }
        let sizes = Sizes {
            data: len,
            initialised: len,
            ..sizes
        };
        let pieces = self.list_map(base, &attribute)?.pieces(0, len);
        writes.extend(pieces.map(|pieces| (pieces, new)));
        Ok(base.set_sizes(&attribute, sizes))
    }
}

fn describe(base: &Record) -> String {
    format!("$ATTRIBUTE_LIST of record {}", base.number())
}

/// Takes an attribute list apart: its entries, and where each of them lies.
fn parse(value: &[u8], what: &str) -> Result<Vec<(ListEntry, std::ops::Range<usize>)>> {
    let mut entries = Vec::new();
    let mut at = 0;
    while at < value.len() {
        let rest = value.get(at..).unwrap_or_default();
        let (entry, len) = list_entry(rest).ok_or_else(|| {
            let len = bytes::u16_le(rest, 4).map_or(0, usize::from);
            Error::damaged(
                what,
                u64::try_from(at).unwrap_or(0),
                "an entry of at least 0x1A bytes with its name inside",
                format!("length {len:#x} where {:#x} are left", rest.len()),
            )
        })?;
        let end = at.saturating_add(len);
        entries.push((entry, at..end));
        at = end;
    }
    Ok(entries)
}

/// The entry at the start of `rest`, and its length.
fn list_entry(rest: &[u8]) -> Option<(ListEntry, usize)> {
    let len = usize::from(bytes::u16_le(rest, 4)?);
    let entry = bytes::slice(rest, 0, len).filter(|entry| entry.len() >= NAME)?;
    let name_len = usize::from(*entry.get(6)?).checked_mul(2)?;
    let name = match name_len {
        0 => Vec::new(),
        _ => utf16(bytes::slice(entry, usize::from(*entry.get(7)?), name_len)?),
    };
    let entry = ListEntry {
        kind: bytes::u32_le(entry, 0)?,
        lowest: bytes::u64_le(entry, 8)?,
        holder: FileReference::from_packed(bytes::u64_le(entry, 0x10)?),
        instance: bytes::u16_le(entry, 0x18)?,
        name,
    };
    Some((entry, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_round_trip() {
        for name in ["", "$I30", "a longer name"] {
            let entry = ListEntry {
                kind: 0xA0,
                lowest: 0x1234_5678_9ABC,
                holder: FileReference {
                    record: 0x1234_5678_9ABC,
                    sequence: 0xDEF0,
                },
                instance: 7,
                name: name.encode_utf16().collect(),
            };
            let bytes = entry.to_bytes().unwrap();
            assert!(bytes.len().is_multiple_of(8));
            let parsed = parse(&bytes, "sample").unwrap();
            assert_eq!(parsed, [(entry, 0..bytes.len())]);
        }
    }
}
