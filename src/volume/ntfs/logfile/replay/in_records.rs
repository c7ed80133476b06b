// SPDX-License-Identifier: GPL-2.0-or-later
//! Operations on records of $MFT. R: the record offset of the action, A: the attribute offset, z: its bytes, L of them.
//!
//! ```text
//! 02 InitializeFileRecordSegment   z over the record from R on (0)          03 Deallocate...  not in use, next sequence number
//! 04 WriteEndOfFileRecordSegment   z, which ends the record, at R           25 ZeroEndOf...   L zeros at R + A
//! 05 CreateAttribute               z before what begins at R                06 DeleteAttribute  what begins at R
//! 07 UpdateResidentValue           z at R + A; other lengths: ends there    09 UpdateMappingPairs  z at R + A, ends there
//! 0B SetNewAttributeSizes          z: allocated, initialised, data [, total allocated]
//! 0C, 0D Add, DeleteIndexEntryRoot z before the entry at R + A; the entry   11 SetIndexEntryVcnRoot  its child
//! 13 UpdateFileNameRoot            its times, sizes and flags               21 UpdateRecordDataRoot  its data
//! ```
//!
//! Source: the Linux driver ntfs3 (fslog.c) and ntfs-3g (playlog.c). Stricter than both: what does not fit is an error. In 0B the
//! second number is the initialised size, as real journals show by the order in which a file grows.

use super::in_entries::InEntry;
use super::{Mismatch, Outcome, in_entries, mismatch};
use crate::bytes;
use crate::volume::ntfs::format::attribute_type;
use crate::volume::ntfs::index::{EntryPlace, ROOT_HEADER, entry_places};
use crate::volume::ntfs::logfile::record::Change;
use crate::volume::ntfs::record::{Attribute, Form, Record};
use crate::volume::ntfs::runs;

/// Bytes from the start of an attribute to: its length, and the fields of a resident and a non-resident one.
const LENGTH: usize = 4;
const VALUE_LEN: usize = 0x10;
const INDEXED: usize = 0x16;
const HIGHEST_VCN: usize = 0x18;

/// Does `change` to `record`.
pub(super) fn apply(record: &mut Record, change: &Change<'_>) -> Outcome {
    match change.code {
        0x03 => deallocate(record),
        0x04 => write_end(record, change),
        0x05 => create_attribute(record, change),
        0x06 => delete_attribute(record, change),
        0x07 => update_resident_value(record, change),
        0x09 => update_mapping_pairs(record, change),
        0x0B => set_sizes(record, change),
        0x0C => add_root_entry(record, change),
        0x0D => delete_root_entry(record, change),
        0x11 => in_root_entry(record, change, in_entries::child),
        0x13 => in_root_entry(record, change, in_entries::file_name),
        0x21 => in_root_entry(record, change, in_entries::data),
        0x25 => zero_end(record, change),
        code => Err(mismatch("an operation on records", format!("{code:#x}"))),
    }
}

/// 02: the record is `z`, as it was prepared in memory; what it does not reach stays. `memory` is the record before, or
/// zeros where there was none. Done as undo of 03 it is only the header.
pub(super) fn initialize(
    number: u64,
    mut memory: Vec<u8>,
    change: &Change<'_>,
) -> Result<Record, Mismatch> {
    let payload = change.bytes();
    let at = change.record_offset;
    let begins = at != 0 || payload.starts_with(b"FILE");
    if !begins || !bytes::put(&mut memory, at, &payload) {
        let found = format!("{:#x} bytes at {at:#x}", change.len);
        return Err(mismatch("the bytes of a record", found));
    }
    Record::in_memory(number, memory)
        .map_err(|fault| mismatch("the bytes of a record", fault.to_string()))
}

/// 03: not in use any more.
fn deallocate(record: &mut Record) -> Outcome {
    done(record.set_free(), "a record header", "none")
}

/// 04: the end of the record's attributes.
fn write_end(record: &mut Record, change: &Change<'_>) -> Outcome {
    let at = boundary(record, change.record_offset)?;
    let Some(len) = record
        .end_mark()
        .checked_add(8)
        .and_then(|end| end.checked_sub(at))
    else {
        return Err(mismatch("a place before the end", format!("{at:#x}")));
    };
    let mut end = change.bytes().into_owned();
    end.resize(end.len().next_multiple_of(8), 0);
    done(
        record.replace(at, len, &end),
        "attributes up to the end mark",
        "others",
    )
}

/// 05: one more attribute.
fn create_attribute(record: &mut Record, change: &Change<'_>) -> Outcome {
    let at = boundary(record, change.record_offset)?;
    let payload = change.bytes();
    let len = bytes::u32_le(&payload, LENGTH).and_then(|len| usize::try_from(len).ok());
    let attribute = len.and_then(|len| payload.get(..len));
    let Some(attribute) = attribute.filter(|found| found.len() >= 0x18 && found.len() % 8 == 0)
    else {
        return Err(mismatch("an attribute", format!("length {len:x?}")));
    };
    let indexed = is_indexed(attribute);
    let instance = bytes::u16_le(attribute, 0x0E).unwrap_or(0);
    let links = record.links();
    let links = links.checked_add(u16::from(indexed));
    let made = record.replace(at, 0, attribute)
        && record.pass_instance(instance)
        && links.is_some_and(|links| record.set_links(links));
    done(made, "room for the attribute", "less, or no attribute")
}

/// 06: one attribute less.
fn delete_attribute(record: &mut Record, change: &Change<'_>) -> Outcome {
    let attribute = attribute(record, change)?;
    let raw = bytes::slice(record.memory(), attribute.offset, attribute.len).unwrap_or_default();
    let links = record.links().checked_sub(u16::from(is_indexed(raw)));
    let gone = record.remove(&attribute) && links.is_some_and(|links| record.set_links(links));
    done(
        gone,
        "an attribute that can go",
        "the last name, or another",
    )
}

/// 07: bytes of an attribute; where the two lengths differ, the value ends with them.
fn update_resident_value(record: &mut Record, change: &Change<'_>) -> Outcome {
    let attribute = attribute(record, change)?;
    let payload = change.bytes();
    let offset = change.attribute_offset;
    if change.len == change.other_len {
        let inside = offset
            .checked_add(change.len)
            .is_some_and(|end| end <= attribute.len);
        let written = inside && record.patch(change.place(), &payload);
        return done(written, "bytes of the attribute", "more");
    }
    let Form::Resident { offset: value, .. } = attribute.form else {
        return Err(mismatch("a resident attribute", "another".into()));
    };
    let head = value.saturating_sub(attribute.offset);
    let end = offset.saturating_add(payload.len());
    let value_len = end.checked_sub(head).filter(|_| offset >= head);
    let value_len = value_len.and_then(|len| u32::try_from(len).ok());
    let Some(value_len) = value_len else {
        return Err(mismatch("a place in the value", format!("{offset:#x}")));
    };
    let changed = cut_and_put(record, &attribute, offset, &payload);
    let changed = changed.filter(|_| offset <= attribute.len);
    let put = changed.is_some_and(|mut changed| {
        bytes::put(&mut changed, VALUE_LEN, &value_len.to_le_bytes())
            && record.replace(attribute.offset, attribute.len, &changed)
    });
    done(put, "room for the value", "less")
}

/// 09: mapping pairs, from somewhere in them on.
fn update_mapping_pairs(record: &mut Record, change: &Change<'_>) -> Outcome {
    let attribute = attribute(record, change)?;
    let Form::NonResident { lowest, pairs, .. } = attribute.form else {
        return Err(mismatch("a non-resident attribute", "another".into()));
    };
    let head = pairs.saturating_sub(attribute.offset);
    let offset = change.attribute_offset;
    if !(head..=attribute.len).contains(&offset) {
        return Err(mismatch(
            "a place in the mapping pairs",
            format!("{offset:#x}"),
        ));
    }
    let changed = cut_and_put(record, &attribute, offset, &change.bytes());
    let highest = changed.as_ref().and_then(|changed| {
        let mapped = runs::mapped(changed.get(head..)?)?;
        lowest.checked_add(mapped)
    });
    let put = changed.zip(highest).is_some_and(|(mut changed, end)| {
        bytes::put(
            &mut changed,
            HIGHEST_VCN,
            &end.wrapping_sub(1).to_le_bytes(),
        ) && record.replace(attribute.offset, attribute.len, &changed)
    });
    done(put, "room for mapping pairs", "less, or none")
}

/// 0B: the sizes of a non-resident attribute.
fn set_sizes(record: &mut Record, change: &Change<'_>) -> Outcome {
    let attribute = attribute(record, change)?;
    let Form::NonResident {
        sizes: Some(_),
        pairs,
        ..
    } = attribute.form
    else {
        return Err(mismatch(
            "a non-resident attribute with sizes",
            "another".into(),
        ));
    };
    let payload = change.bytes();
    let (numbers, rest) = payload.as_chunks::<8>();
    // Allocated, data, initialised; then what is really allocated of a compressed or sparse attribute.
    let places: &[usize] = match numbers.len() {
        3 => &[0x28, 0x38, 0x30],
        4 if pairs.saturating_sub(attribute.offset) >= 0x48 => &[0x28, 0x38, 0x30, 0x40],
        _ => &[],
    };
    if places.is_empty() || !rest.is_empty() {
        return Err(mismatch(
            "three or four sizes",
            format!("{:#x} bytes", change.len),
        ));
    }
    let begin = bytes::slice(record.memory(), attribute.offset, attribute.len);
    let mut changed = begin.unwrap_or_default().to_vec();
    let put = places
        .iter()
        .zip(numbers)
        .all(|(place, size)| bytes::put(&mut changed, *place, size));
    let put = put && record.replace(attribute.offset, attribute.len, &changed);
    done(put, "sizes that contain each other", "others")
}

/// 25: zeros, wherever in the record.
fn zero_end(record: &mut Record, change: &Change<'_>) -> Outcome {
    let zeroed = record.patch(change.place(), &vec![0; change.len]);
    done(zeroed, "bytes behind the attributes", "others")
}

/// 0C: one more entry in the root of an index.
fn add_root_entry(record: &mut Record, change: &Change<'_>) -> Outcome {
    let (attribute, places) = root(record, change)?;
    let place = place_of(&places, change)?;
    let payload = change.bytes();
    let entry = in_entries::entry(&payload)?;
    splice_root(record, &attribute, place.offset, 0, entry)
}

/// 0D: one entry less.
fn delete_root_entry(record: &mut Record, change: &Change<'_>) -> Outcome {
    let (attribute, places) = root(record, change)?;
    let place = place_of(&places, change)?;
    if place.is_end() {
        return Err(mismatch("an entry", "the end of the node".into()));
    }
    splice_root(record, &attribute, place.offset, place.len, &[])
}

/// 11, 13, 21: bytes of an entry of the root.
fn in_root_entry(record: &mut Record, change: &Change<'_>, place: InEntry) -> Outcome {
    let (_, places) = root(record, change)?;
    let entry = place_of(&places, change)?;
    let payload = change.bytes();
    let at = place(record.memory(), &entry, &payload)?;
    done(record.patch(at, &payload), "bytes of the entry", "others")
}

/// The root that begins at R, and where its entries are in the record.
fn root(record: &Record, change: &Change<'_>) -> Result<(Attribute, Vec<EntryPlace>), Mismatch> {
    let attribute = attribute(record, change)?;
    let places = match attribute.form {
        Form::Resident { offset, len } if attribute.kind == attribute_type::INDEX_ROOT => {
            let value = record.memory().get(..offset.saturating_add(len));
            value.and_then(|value| entry_places(value, offset.saturating_add(ROOT_HEADER)))
        }
        _ => None,
    };
    match places {
        Some(places) => Ok((attribute, places)),
        None => Err(mismatch(
            "the root of an index",
            format!("{:#x}", attribute.kind),
        )),
    }
}

/// The entry that begins at R + A.
fn place_of(places: &[EntryPlace], change: &Change<'_>) -> Result<EntryPlace, Mismatch> {
    in_entries::at(places, change.place())
}

/// Replaces bytes of a root, which begin and end with an entry, by `new`; all lengths follow.
fn splice_root(
    record: &mut Record,
    attribute: &Attribute,
    at: usize,
    len: usize,
    new: &[u8],
) -> Outcome {
    let changed = || {
        let Form::Resident {
            offset: value,
            len: value_len,
        } = attribute.form
        else {
            return None;
        };
        let raw = bytes::slice(record.memory(), attribute.offset, attribute.len)?;
        let (before, after) = raw.split_at_checked(at.checked_sub(attribute.offset)?)?;
        let mut changed = [before, new, after.get(len..)?].concat();
        let other = |old: usize| {
            let new = old.checked_sub(len)?.checked_add(new.len())?;
            u32::try_from(new).ok()
        };
        let header = value
            .checked_sub(attribute.offset)?
            .checked_add(ROOT_HEADER)?;
        let mut fields = vec![(LENGTH, attribute.len), (VALUE_LEN, value_len)];
        for field in [4_usize, 8] {
            let field = header.checked_add(field)?;
            fields.push((field, usize::try_from(bytes::u32_le(raw, field)?).ok()?));
        }
        for (field, old) in fields {
            bytes::put(&mut changed, field, &other(old)?.to_le_bytes()).then_some(())?;
        }
        Some(changed)
    };
    let put = changed().is_some_and(|new| record.replace(attribute.offset, attribute.len, &new));
    done(put, "room for the entry", "less")
}

/// An attribute cut off at `offset` with `payload` behind it, filled up to 8 bytes, its length set.
fn cut_and_put(
    record: &Record,
    attribute: &Attribute,
    offset: usize,
    payload: &[u8],
) -> Option<Vec<u8>> {
    let raw = bytes::slice(record.memory(), attribute.offset, attribute.len)?;
    let mut changed = raw.get(..offset)?.to_vec();
    changed.extend_from_slice(payload);
    changed.resize(changed.len().checked_next_multiple_of(8)?, 0);
    let len = u32::try_from(changed.len()).ok()?;
    bytes::put(&mut changed, LENGTH, &len.to_le_bytes()).then_some(changed)
}

/// The attribute that begins at R.
fn attribute(record: &Record, change: &Change<'_>) -> Result<Attribute, Mismatch> {
    let at = change.record_offset;
    record
        .begins_at(at)
        .cloned()
        .ok_or_else(|| mismatch("a place where an attribute begins", format!("{at:#x}")))
}

/// A place where an attribute begins or the attributes end.
fn boundary(record: &Record, at: usize) -> Result<usize, Mismatch> {
    match record.begins_at(at).is_some() || record.end_mark() == at {
        true => Ok(at),
        false => Err(mismatch(
            "a place where an attribute begins",
            format!("{at:#x}"),
        )),
    }
}

/// A resident attribute that is a key of an index: a name of the file.
fn is_indexed(attribute: &[u8]) -> bool {
    attribute.get(8) == Some(&0) && attribute.get(INDEXED).is_some_and(|flags| flags & 1 != 0)
}

/// What came of a change that the record took or did not take.
fn done(done: bool, expected: &str, found: &str) -> Outcome {
    done.then_some(())
        .ok_or_else(|| mismatch(expected, found.into()))
}
