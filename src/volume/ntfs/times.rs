// SPDX-License-Identifier: GPL-2.0-or-later
//! The times of a file in its $STANDARD_INFORMATION.
//!
//! ```text
//! 0 created   8 modified   10 MFT changed   18 accessed      FILETIME each: 100 ns since 1601
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. The copies of these times in $FILE_NAME and in folders
//! are Windows' business: it brings them up to date when it likes.

use crate::error::{Error, Result};

use super::format::attribute_type;
use super::record::{Form, Record};

const MODIFIED: usize = 8;

/// When the file's content was last changed; `None` where the record has no such time.
pub(super) fn modified(record: &Record) -> Option<u64> {
    let found = record.first(attribute_type::STANDARD_INFORMATION)?;
    crate::bytes::u64_le(record.value(found)?, MODIFIED)
}

/// Sets the time of the last change to the file's record and, when `modified`, of the last change to its content.
pub(super) fn set_times(record: &mut Record, now: u64, modified: bool) -> Result<()> {
    const CHANGED: usize = 0x10;
    let found = record.first(attribute_type::STANDARD_INFORMATION).cloned();
    let place = found.and_then(|found| match found.form {
        Form::Resident { offset, len } => (len >= 0x30).then_some(offset),
        Form::NonResident { .. } => None,
    });
    let mut set = |field: usize| {
        let at = place.and_then(|place| place.checked_add(field));
        at.is_some_and(|at| record.patch(at, &now.to_le_bytes()))
    };
    if set(CHANGED) && (!modified || set(MODIFIED)) {
        return Ok(());
    }
    Err(Error::damaged(
        format!("MFT record {}", record.number()),
        0,
        "$STANDARD_INFORMATION in the record",
        "none",
    ))
}
