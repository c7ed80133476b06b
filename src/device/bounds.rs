// SPDX-License-Identifier: GPL-2.0-or-later
//! The one range check that every device makes before it touches a byte.
//!
//! A structure that points past the end of its device is damage in the data that held the pointer (or a
//! device that was cut short), so that is what the error says.

use std::fmt::Display;
use std::ops::Range;

use crate::error::{Error, Result};

/// The bytes `offset..offset + len` as a range, when they lie inside `device_len`.
///
/// `what` names the device in the error: `Damaged`, at `offset`.
pub(crate) fn check(
    what: impl Display,
    device_len: u64,
    offset: u64,
    len: usize,
) -> Result<Range<u64>> {
    let end = u64::try_from(len)
        .ok()
        .and_then(|len| offset.checked_add(len));
    match end {
        Some(end) if end <= device_len => Ok(offset..end),
        _ => Err(Error::damaged(
            what.to_string(),
            offset,
            format!("{len} bytes there"),
            format!("an end at {device_len:#x}"),
        )),
    }
}

/// The same as indices into memory. `Damaged` also where the host cannot address the range.
pub(super) fn check_in_memory(
    what: impl Display,
    memory_len: usize,
    offset: u64,
    len: usize,
) -> Result<Range<usize>> {
    let device_len = u64::try_from(memory_len).unwrap_or(u64::MAX);
    let range = check(&what, device_len, offset, len)?;
    match (usize::try_from(range.start), usize::try_from(range.end)) {
        (Ok(start), Ok(end)) => Ok(start..end),
        _ => Err(Error::damaged(
            what.to_string(),
            offset,
            "an offset this machine can address",
            "a larger one",
        )),
    }
}
