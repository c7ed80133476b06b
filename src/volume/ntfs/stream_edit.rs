// SPDX-License-Identifier: GPL-2.0-or-later
//! Changing attributes of a file: overwriting, new values, making and removing.
//!
//! ```text
//! file (base record), type, name -> the record that holds the attribute -> edit in memory -> Mft::store
//!                                -> its clusters                        -> written or given back
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. Records are read anew by each function, so their callers
//! keep numbers, not records. All that can be refused is refused before the first write. Compressed, encrypted
//! and sparse attributes are not changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bytes;
use crate::error::{Error, Result};

use super::allocate::{self, Purpose};
use super::clusters;
use super::format::attribute_type;
use super::grow::{clusters_for, give_back, map_of, pairs, store_sizes, take};
use super::mft::{Found, ListEntry, Mft, gap};
use super::record::{self, Attribute, Form, Record, Sizes};
use super::records::free_record;
use super::runs::{Piece, RunList};
use super::stream::{Content, Stream};

/// Overwrites `data` at `offset` (bytes) inside the attribute `kind`, `name` of the file with this base record. What
/// lies between the initialised size and `offset` becomes zeros on disk too.
pub(super) fn write_stream(
    mft: &Mft,
    base: u64,
    kind: u32,
    name: &str,
    offset: u64,
    data: &[u8],
) -> Result<()> {
    let stream = expect(mft, base, kind, name)?;
    check_plain(&stream)?;
    let len = u64::try_from(data.len()).unwrap_or(u64::MAX);
    let end = offset.checked_add(len).filter(|end| *end <= stream.len());
    let Some(end) = end else {
        return Err(Error::damaged(
            stream.what(),
            offset,
            format!("{len} bytes inside its {}", stream.len()),
            "its end",
        ));
    };
    if data.is_empty() {
        return Ok(());
    }
    match &stream.content {
        Content::Resident(value) => {
            let mut value = value.clone();
            let at = usize::try_from(offset).unwrap_or(usize::MAX);
            if !bytes::put(&mut value, at, data) {
                return Err(full(&stream.head.record, &stream.what()));
            }
            store_value(mft, &stream.head, &value)
        }
        Content::NonResident { map, sizes, .. } => {
            clusters::check(mft, map, base)?;
            let pieces = |from: u64, to: u64| {
                let pieces = map.pieces(from, to.saturating_sub(from));
                pieces.unwrap_or_default()
            };
            mft.clear_pieces(&pieces(sizes.initialised.min(offset), offset))?;
            mft.write_pieces(&pieces(offset, end), data)?;
            if end <= sizes.initialised {
                return Ok(());
            }
            let sizes = Sizes {
                initialised: end,
                ..*sizes
            };
            store_sizes(mft, base, &stream.head, sizes)
        }
    }
}

/// Gives a resident attribute another value. `Refused`, and nothing written, when its record has no room.
pub(super) fn set_value(mft: &Mft, base: u64, kind: u32, name: &str, value: &[u8]) -> Result<()> {
    let record = base_record(mft, base)?;
    let units: Vec<u16> = name.encode_utf16().collect();
    let found = mft.collect(&record, kind, Some(&units))?;
    match found.as_slice() {
        [found] if matches!(found.attribute.form, Form::Resident { .. }) => {
            store_value(mft, found, value)
        }
        found => Err(Error::damaged(
            describe(base, kind, name),
            0,
            "one resident attribute",
            format!("{} attributes, or one in clusters", found.len()),
        )),
    }
}

/// Makes a resident attribute in the base record.
///
/// `Refused`, and nothing written, when the record or the attribute list has no room, or when the attribute exists
/// ($FILE_NAME may several times).
pub(super) fn create_attribute(
    mft: &Mft,
    base: u64,
    kind: u32,
    name: &str,
    value: &[u8],
    indexed: bool,
) -> Result<()> {
    let addition = Addition::prepare(mft, base, kind, name)?;
    let new = record::resident(kind, &addition.name, addition.instance, indexed, value);
    let len = u64::try_from(value.len()).unwrap_or(u64::MAX);
    addition.insert(mft, kind, new, len)?.store(mft)
}

/// Makes an attribute in clusters, `len` zero bytes long, in the base record. Refused as with [`create_attribute`],
/// and when the volume is full.
pub(super) fn create_stream(mft: &Mft, base: u64, kind: u32, name: &str, len: u64) -> Result<()> {
    let addition = Addition::prepare(mft, base, kind, name)?;
    let runs = allocate::choose(mft, Purpose::File, None, 0, clusters_for(mft, len))?;
    let map = map_of(mft, &runs)?;
    let sizes = Sizes {
        allocated: map.len(),
        data: len,
        initialised: len,
    };
    let pairs = pairs(&runs)?;
    let clusters = map.clusters();
    let new = record::non_resident(
        kind,
        &addition.name,
        addition.instance,
        &pairs,
        clusters,
        sizes,
    );
    let addition = addition.insert(mft, kind, new, len)?;
    take(mft, &runs)?;
    mft.clear_pieces(&map.pieces(0, map.len()).unwrap_or_default())?;
    addition.store(mft)
}

/// A new attribute on its way into the base record.
struct Addition {
    record: Record,
    name: Vec<u16>,
    instance: u16,
    /// What changes in the clusters of the attribute list.
    list: Vec<(Vec<Piece>, Vec<u8>)>,
}

impl Addition {
    fn prepare(mft: &Mft, base: u64, kind: u32, name: &str) -> Result<Addition> {
        let record = base_record(mft, base)?;
        let what = || describe(base, kind, name);
        let name: Vec<u16> = name.encode_utf16().collect();
        let exists = kind != attribute_type::FILE_NAME
            && !mft.collect(&record, kind, Some(&name))?.is_empty();
        if exists {
            return Err(Error::refused(
                format!("{} exists already", what()),
                "let Windows check the volume: attach the disk to a Windows computer and run `chkdsk X: /f`",
            ));
        }
        let instance = record.next_instance();
        let instance = instance.ok_or_else(|| full(&record, &what()))?;
        Ok(Addition {
            record: Record::clone(&record),
            name,
            instance,
            list: Vec::new(),
        })
    }

    /// Puts the bytes of the attribute into the record, and its entry into the attribute list where there is one.
    fn insert(mut self, mft: &Mft, kind: u32, new: Option<Vec<u8>>, len: u64) -> Result<Addition> {
        let upcase = mft.upcase()?;
        let entry = ListEntry {
            kind,
            lowest: 0,
            holder: self.record.reference(),
            instance: self.instance,
            name: self.name.clone(),
        };
        let listed = mft.add_to_list(&mut self.record, &entry, &mut self.list)?;
        if listed && new.is_some_and(|new| self.record.insert(upcase, &new)) {
            return Ok(self);
        }
        let name = String::from_utf16_lossy(&self.name);
        let what = describe(self.record.number(), kind, &name);
        Err(full(&self.record, &format!("{what}, of {len} bytes")))
    }

    fn store(self, mft: &Mft) -> Result<()> {
        for (pieces, bytes) in &self.list {
            mft.write_pieces(pieces, bytes)?;
        }
        mft.store(&self.record)
    }
}

/// Removes an attribute with all its extents and gives its clusters back. A record that held nothing else and is not
/// the base record becomes free.
pub(super) fn remove_attribute(mft: &Mft, base: u64, kind: u32, name: &str) -> Result<()> {
    let record = base_record(mft, base)?;
    let name: Vec<u16> = name.encode_utf16().collect();
    let found = mft.collect(&record, kind, Some(&name))?;
    let damaged = |expected: &str, found: String| {
        let what = describe(base, kind, &String::from_utf16_lossy(&name));
        Error::damaged(what, 0, expected, found)
    };
    let heads = found.iter().filter(|found| found.attribute.lowest() == 0);
    if heads.count() != 1 {
        return Err(damaged("one attribute", format!("{} parts", found.len())));
    }
    let mut map = RunList::new(mft.boot.cluster_size);
    let mut records = BTreeMap::from([(base, Record::clone(&record))]);
    for Found { record, attribute } in &found {
        if !map.extend(mft.runs(record, attribute)?) {
            return Err(gap(
                "an attribute to be removed",
                attribute.lowest(),
                map.clusters(),
            ));
        }
        let changed = records
            .entry(record.number())
            .or_insert_with(|| Record::clone(record));
        let same = |other: &&Attribute| {
            other.kind == kind && other.instance == attribute.instance && other.name == name
        };
        let now = changed.attributes().iter().find(same).cloned();
        if !now.is_some_and(|now| changed.remove(&now)) {
            return Err(damaged(
                "an attribute that can be removed",
                "another".into(),
            ));
        }
    }
    clusters::check(mft, &map, base)?;
    let mut list = Vec::new();
    if let Some(changed) = records.get_mut(&base)
        && !mft.remove_from_list(changed, kind, &name, &mut list)?
    {
        return Err(damaged(
            "an attribute list that can be changed",
            "another".into(),
        ));
    }
    give_back(mft, map.runs())?;
    for (pieces, bytes) in &list {
        mft.write_pieces(pieces, bytes)?;
    }
    for record in records.into_values() {
        if record.number() != base && record.attributes().is_empty() {
            free_record(mft, record)?;
        } else {
            mft.store(&record)?;
        }
    }
    Ok(())
}

/// Writes the new value of a resident attribute.
pub(super) fn store_value(mft: &Mft, found: &Found, value: &[u8]) -> Result<()> {
    let mut record = Record::clone(&found.record);
    if !record.set_value(&found.attribute, value) {
        let what = format!(
            "attribute {:#x} of {} bytes",
            found.attribute.kind,
            value.len()
        );
        return Err(full(&record, &what));
    }
    mft.store(&record)
}

/// The base record with this number, which must be in use.
pub(super) fn base_record(mft: &Mft, base: u64) -> Result<Arc<Record>> {
    mft.system(base, "a file").map(Arc::new)
}

/// The attribute of this type and name, which must exist.
pub(super) fn expect(mft: &Mft, base: u64, kind: u32, name: &str) -> Result<Stream> {
    let record = base_record(mft, base)?;
    Stream::find(mft, &record, kind, name)?
        .ok_or_else(|| Error::damaged(describe(base, kind, name), 0, "the attribute", "none"))
}

/// Only what is stored plainly is changed.
pub(super) fn check_plain(stream: &Stream) -> Result<()> {
    let why = match stream {
        stream if stream.is_compressed() => "compressed",
        stream if stream.is_encrypted() => "encrypted",
        stream if stream.is_sparse() || stream.has_holes() => "sparse",
        _ => return Ok(()),
    };
    Err(Error::unsupported(
        format!("{} is {why}: it is not written", stream.what()),
        "change it in Windows",
    ))
}

/// The refusal where a record has no room for `what`.
pub(super) fn full(record: &Record, what: &str) -> Error {
    let number = record.number();
    let free = record.free().unwrap_or(0);
    Error::refused(
        format!("MFT record {number} is full: {free} bytes are free in it, not enough for {what}"),
        "mount the volume (for example with ntfs-3g) and give coldfix the folder it is mounted at; or attach the \
         disk to a Windows computer and run `defrag X:`, which makes records shorter",
    )
}

fn describe(base: u64, kind: u32, name: &str) -> String {
    match name {
        "" => format!("attribute {kind:#x} of MFT record {base}"),
        name => format!("attribute {kind:#x} {name} of MFT record {base}"),
    }
}

#[cfg(test)]
pub(super) mod tests;
