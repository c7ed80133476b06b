// SPDX-License-Identifier: GPL-2.0-or-later
//! What a file says of its security: an id, or a descriptor of its own.
//!
//! ```text
//! $STANDARD_INFORMATION of 48 bytes   34 u32 security id, not 0: the descriptor is in $Secure
//!   ... with id 0, or of 30 bytes     $SECURITY_DESCRIPTOR (type 50) of the file, as before NTFS 3.0
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. Where a file has both, the id counts, as it does for ntfs-3g:
//! chkdsk leaves such files behind. ntfs-3g gives new files the second form until someone sets their
//! permissions.

use std::sync::Arc;

use crate::bytes;
use crate::error::{Error, Result};

use super::super::format::attribute_type;
use super::super::mft::Mft;
use super::super::record::{Attribute, Form, Record};
use super::super::spans::FIRST_GUARDED;
use super::super::stream::Stream;
use super::super::stream_edit::{base_record, full, remove_attribute};
use super::descriptor;

/// The length of $STANDARD_INFORMATION that has a security id.
const LEN: usize = 0x48;
/// Its length without.
const SHORT_LEN: usize = 0x30;
/// When anything about the file last changed ("MFT changed"), a FILETIME.
pub(super) const MFT_CHANGED: usize = 0x10;
/// The security id.
pub(super) const SECURITY_ID: usize = 0x34;

/// Where the descriptor of a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// In $Secure, under this id.
    Id(u32),
    /// In the file.
    Private(Vec<u8>),
    /// Nowhere.
    Nothing,
}

/// Where the descriptor of the file with this base record is.
pub(super) fn own(mft: &Mft, record: &Arc<Record>) -> Result<Own> {
    let (_, value) = standard_information(record)?;
    if let Some(id) = bytes::u32_le(value, SECURITY_ID).filter(|id| *id != 0 && value.len() >= LEN)
    {
        return Ok(Own::Id(id));
    }
    let what = format!("MFT record {}", record.number());
    let stream = Stream::find(mft, record, attribute_type::SECURITY_DESCRIPTOR, "")?;
    let Some(stream) = stream else {
        return Ok(Own::Nothing);
    };
    let max = u64::try_from(descriptor::MAX).unwrap_or(u64::MAX);
    if stream.len() > max {
        return Err(Error::damaged(
            format!("$SECURITY_DESCRIPTOR of {what}"),
            0,
            format!("at most {max} bytes"),
            stream.len().to_string(),
        ));
    }
    let descriptor = stream.read(mft)?;
    descriptor::check(&descriptor, &what)?;
    Ok(Own::Private(descriptor))
}

/// What giving a file a security id takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Two fields in the first sector of the record. What they are offset from: bytes from the record's start.
    InPlace(usize),
    /// [`set`].
    Whole,
}

/// What giving the file with this base record a security id takes. `Refused` when its record has no room.
pub(super) fn change(mft: &Mft, record: &Arc<Record>) -> Result<Change> {
    let (attribute, value) = standard_information(record)?;
    let private = mft.collect(record, attribute_type::SECURITY_DESCRIPTOR, Some(&[]))?;
    if let (Form::Resident { offset, .. }, true) = (&attribute.form, private.is_empty()) {
        let end = offset.saturating_add(SECURITY_ID).saturating_add(4);
        if value.len() >= LEN && end <= FIRST_GUARDED {
            return Ok(Change::InPlace(*offset));
        }
    }
    // Try it in memory; where there is an attribute list, removing changes more than one record.
    if record.first(attribute_type::ATTRIBUTE_LIST).is_some() {
        return Ok(Change::Whole);
    }
    let mut trial = Record::clone(record);
    let removed = private
        .first()
        .is_none_or(|private| trial.remove(&private.attribute));
    if !removed {
        return Err(full(record, "a security id"));
    }
    with_id(&mut trial, 0, 0).map(|()| Change::Whole)
}

/// Gives the file with this base record a security id instead of a descriptor of its own.
pub(super) fn set(mft: &Mft, number: u64, id: u32, now: u64) -> Result<()> {
    let record = base_record(mft, number)?;
    let kind = attribute_type::SECURITY_DESCRIPTOR;
    if !mft.collect(&record, kind, Some(&[]))?.is_empty() {
        remove_attribute(mft, number, kind, "")?;
    }
    let mut record = mft.read(number)?;
    with_id(&mut record, id, now)?;
    mft.store(&record)
}

/// Sets id and time in a record; $STANDARD_INFORMATION becomes as long as that takes. Owner, quota and journal
/// number, which come with the length, are 0: not counted.
fn with_id(record: &mut Record, id: u32, now: u64) -> Result<()> {
    let (attribute, value) = standard_information(record)?;
    let attribute = attribute.clone();
    let mut value = value.to_vec();
    value.resize(value.len().max(LEN), 0);
    let _inside = bytes::put(&mut value, SECURITY_ID, &id.to_le_bytes())
        && bytes::put(&mut value, MFT_CHANGED, &now.to_le_bytes());
    if record.set_value(&attribute, &value) {
        return Ok(());
    }
    Err(full(record, "a $STANDARD_INFORMATION with a security id"))
}

/// The attribute $STANDARD_INFORMATION of a base record, and its value.
pub(super) fn standard_information(record: &Record) -> Result<(&Attribute, &[u8])> {
    let found = record
        .first(attribute_type::STANDARD_INFORMATION)
        .and_then(|attribute| Some((attribute, record.value(attribute)?)));
    found
        .filter(|(_, value)| value.len() >= SHORT_LEN)
        .ok_or_else(|| {
            let what = format!("MFT record {}", record.number());
            let expected =
                format!("a resident $STANDARD_INFORMATION of {SHORT_LEN:#x} bytes or more");
            Error::damaged(what, 0, expected, "none")
        })
}

/// The error for a file without any descriptor.
pub(super) fn nothing(record: &Record) -> Error {
    Error::damaged(
        format!("MFT record {}", record.number()),
        0,
        "a security id or a $SECURITY_DESCRIPTOR",
        "neither",
    )
    .with_hint(
        "reading the permissions",
        "give the file new permissions, or let Windows repair the volume: attach the disk to a Windows \
         computer and run `chkdsk X: /f`",
    )
}
