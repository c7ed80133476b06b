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
use super::super::record::{Attribute, Record};
use super::super::stream::Stream;
use super::descriptor;

/// The length of $STANDARD_INFORMATION that has a security id.
const LEN: usize = 0x48;
/// Its length without.
const SHORT_LEN: usize = 0x30;
const SECURITY_ID: usize = 0x34;

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
