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

use std::sync::Arc;

use crate::bytes;
use crate::error::{Error, Result};

use super::allocate::{self, Purpose};
use super::clusters;
use super::format::{attribute_type, record_number};
use super::grow::{clusters_for, give_back, map_of, pairs, store_sizes, take};
use super::mft::{Found, Mft};
use super::record::{self, Form, Record, Sizes};
use super::runs::RunList;
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
                return Err(full(&stream.head.record, &stream.what(), end));
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
/// `Refused`, and nothing written, when the record has no room, when the attribute exists ($FILE_NAME may several
/// times), or when the file has an attribute list.
pub(super) fn create_attribute(
    mft: &Mft,
    base: u64,
    kind: u32,
    name: &str,
    value: &[u8],
    indexed: bool,
) -> Result<()> {
    let (mut record, instance) = prepare(mft, base, kind, name)?;
    let units: Vec<u16> = name.encode_utf16().collect();
    let new = record::resident(kind, &units, instance, indexed, value);
    if !new.is_some_and(|new| mft.upcase().is_ok_and(|upcase| record.insert(upcase, &new))) {
        let len = u64::try_from(value.len()).unwrap_or(u64::MAX);
        return Err(full(&record, &describe(base, kind, name), len));
    }
    mft.store(&record)
}

/// Makes an attribute in clusters, `len` zero bytes long, in the base record. Refused as with [`create_attribute`],
/// and when the volume is full.
pub(super) fn create_stream(mft: &Mft, base: u64, kind: u32, name: &str, len: u64) -> Result<()> {
    let (mut record, instance) = prepare(mft, base, kind, name)?;
    let units: Vec<u16> = name.encode_utf16().collect();
    let runs = allocate::choose(mft, Purpose::File, None, 0, clusters_for(mft, len))?;
    let map = map_of(mft, &runs)?;
    let sizes = Sizes {
        allocated: map.len(),
        data: len,
        initialised: len,
    };
    let pairs = pairs(&runs)?;
    let new = record::non_resident(kind, &units, instance, &pairs, map.clusters(), sizes);
    let upcase = mft.upcase()?;
    if !new.is_some_and(|new| record.insert(upcase, &new)) {
        return Err(full(&record, &describe(base, kind, name), len));
    }
    take(mft, &runs)?;
    mft.clear_pieces(&map.pieces(0, map.len()).unwrap_or_default())?;
    mft.store(&record)
}

/// Removes an attribute and gives its clusters back. `Refused` when the file has an attribute list.
pub(super) fn remove_attribute(mft: &Mft, base: u64, kind: u32, name: &str) -> Result<()> {
    let record = base_record(mft, base)?;
    check_no_list(&record)?;
    let units: Vec<u16> = name.encode_utf16().collect();
    let found = mft.collect(&record, kind, Some(&units))?;
    let [found] = found.as_slice() else {
        return Err(Error::damaged(
            describe(base, kind, name),
            0,
            "one attribute",
            format!("{} of them", found.len()),
        ));
    };
    let runs = mft.runs(&record, &found.attribute)?;
    let map: RunList = map_of(mft, &runs)?;
    clusters::check(mft, &map, base)?;
    let mut changed = Record::clone(&record);
    if !changed.remove(&found.attribute) {
        return Err(full(&record, &describe(base, kind, name), 0));
    }
    give_back(mft, &runs)?;
    mft.store(&changed)
}

/// The base record for a new attribute, and the instance number that it gets.
fn prepare(mft: &Mft, base: u64, kind: u32, name: &str) -> Result<(Record, u16)> {
    let record = base_record(mft, base)?;
    check_no_list(&record)?;
    let units: Vec<u16> = name.encode_utf16().collect();
    let exists =
        kind != attribute_type::FILE_NAME && !mft.collect(&record, kind, Some(&units))?.is_empty();
    if exists {
        return Err(Error::refused(
            format!("{} exists already", describe(base, kind, name)),
            "let Windows check the volume: attach the disk to a Windows computer and run `chkdsk X: /f`",
        ));
    }
    let instance = record
        .next_instance()
        .ok_or_else(|| full(&record, &describe(base, kind, name), 0))?;
    Ok((Record::clone(&record), instance))
}

fn check_no_list(record: &Record) -> Result<()> {
    if record.first(attribute_type::ATTRIBUTE_LIST).is_none() {
        return Ok(());
    }
    Err(Error::refused(
        format!(
            "the attributes of MFT record {} are spread over several records, which is only changed inside what it has",
            record.number()
        ),
        "mount the volume (for example with ntfs-3g) and give coldfix the folder it is mounted at",
    ))
}

/// Writes the new value of a resident attribute.
pub(super) fn store_value(mft: &Mft, found: &Found, value: &[u8]) -> Result<()> {
    let mut record = Record::clone(&found.record);
    if !record.set_value(&found.attribute, value) {
        let len = u64::try_from(value.len()).unwrap_or(u64::MAX);
        let what = format!("attribute {:#x}", found.attribute.kind);
        return Err(full(&record, &what, len));
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

/// The refusal where a record has no room for `what`, which is to be `len` bytes long.
pub(super) fn full(record: &Record, what: &str, len: u64) -> Error {
    let number = record.number();
    let free = record.free().unwrap_or(0);
    let next = if number < record_number::FIRST_USER {
        "attach the disk to a Windows computer and run `chkdsk X: /f`, then `defrag X:`"
    } else {
        "mount the volume (for example with ntfs-3g) and give coldfix the folder it is mounted at, or defragment \
         it: attach the disk to a Windows computer and run `defrag X:`"
    };
    Error::refused(
        format!(
            "MFT record {number} is full: {free} bytes are free in it, not enough for {what} with {len} bytes"
        ),
        next,
    )
}

fn describe(base: u64, kind: u32, name: &str) -> String {
    match name {
        "" => format!("attribute {kind:#x} of MFT record {base}"),
        name => format!("attribute {kind:#x} {name} of MFT record {base}"),
    }
}
