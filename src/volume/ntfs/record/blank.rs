// SPDX-License-Identifier: GPL-2.0-or-later
//! A record without attributes: what a new record of $MFT holds until a file takes it.
//!
//! ```text
//! 00 "FILE"  04 where the update sequence is, as in record 0  10 sequence number  14 first attribute, behind it
//! 16 flags   18 used: the end mark   1C allocated: all of it   28 next instance 0  2C record number (3.1)
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's mft.c. Record 0 is the model for where the update sequence begins:
//! at 30 with a record number in the header (NTFS 3.1), at 2A without (3.0).

use crate::bytes;
use crate::error::{Error, Result};
use crate::volume::ntfs::format::attribute_type;
use crate::volume::ntfs::multi_sector;

use super::{Record, attributes};

/// Record `number`, free, with sequence number 1; `model` is record 0 of the same $MFT.
pub(in super::super) fn blank(number: u64, model: &Record) -> Result<Record> {
    made(number, model).ok_or_else(|| {
        Error::damaged(
            format!("MFT record {}", model.number()),
            4,
            "a record that others can be made like",
            "another",
        )
    })
}

fn made(number: u64, model: &Record) -> Option<Record> {
    let size = model.bytes.len();
    let array = model.u16(4);
    let entries = u16::try_from(size.checked_div(multi_sector::STRIDE)?.checked_add(1)?).ok()?;
    let first = array
        .checked_add(entries.checked_mul(2)?)?
        .checked_next_multiple_of(8)?;
    let used = u32::from(first).checked_add(8)?;
    let mut bytes = vec![0; size];
    let put = bytes::put(&mut bytes, 0, b"FILE")
        && bytes::put(&mut bytes, 4, &array.to_le_bytes())
        && bytes::put(&mut bytes, 6, &entries.to_le_bytes())
        && bytes::put(&mut bytes, 0x10, &[1])
        && bytes::put(&mut bytes, 0x14, &first.to_le_bytes())
        && bytes::put(&mut bytes, 0x18, &used.to_le_bytes())
        && bytes::put(&mut bytes, 0x1C, &u32::try_from(size).ok()?.to_le_bytes())
        && bytes::put(
            &mut bytes,
            usize::from(first),
            &attribute_type::END.to_le_bytes(),
        );
    let low = u32::try_from(number & 0xFFFF_FFFF).ok()?;
    let numbered = array < 0x30 || bytes::put(&mut bytes, 0x2C, &low.to_le_bytes());
    let attributes = attributes(&bytes).ok()?;
    (put && numbered).then_some(Record {
        number,
        bytes,
        attributes,
    })
}
