// SPDX-License-Identifier: GPL-2.0-or-later
//! MFT records and the attributes in them.
//!
//! ```text
//! 00 "FILE"  04 update sequence  10 u16 sequence  12 u16 links  14 u16 first attribute  16 u16 flags
//! 18 u32 bytes used  1C u32 bytes allocated  20 u64 base record  2C u32 record number (3.1)
//! attribute: 0 u32 type  4 u32 length  8 non-resident  9 name length  A name offset  C flags  E instance
//!   resident:      10 u32 value length  14 u16 value offset
//!   non-resident:  10 u64 lowest VCN  18 u64 highest  20 u16 mapping pairs  22 u8 compression unit
//!                  28 u64 allocated  30 u64 data size  38 u64 initialised (only when lowest VCN is 0)
//! FFFFFFFF ends the attributes; bytes used = its offset + 8
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. A record is taken apart once, completely, when it is
//! read; nothing after that meets an unchecked offset. Version 3.0 records (no record number) are read.

use crate::bytes;
use crate::error::{Error, Result};

use super::format::{FileReference, attribute_type, record_number};
use super::multi_sector;

mod attribute;
mod blank;
mod edit;
mod logged;

pub(super) use attribute::{non_resident, resident};
pub(super) use blank::blank;

const IN_USE: u16 = 1;
const DIRECTORY: u16 = 2;
const IN_EXTEND: u16 = 4;

/// The sizes of a non-resident attribute, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Size of the clusters, holes included.
    pub(super) allocated: u64,
    /// Length of the content.
    pub(super) data: u64,
    /// How much of it was ever written; the rest reads as zeros.
    pub(super) initialised: u64,
}

/// How an attribute holds its value. Offsets are bytes from the start of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// In the record.
    Resident {
        /// Where the value begins.
        offset: usize,
        /// Its length in bytes.
        len: usize,
    },
    /// In clusters.
    NonResident {
        /// First VCN mapped here.
        lowest: u64,
        /// Last VCN mapped here (`lowest - 1` when none is).
        highest: u64,
        /// Where the mapping pairs begin.
        pairs: usize,
        /// Clusters in a compression unit, as a power of two; 0 for none.
        compression_unit: u8,
        /// Present in the extent with lowest VCN 0.
        sizes: Option<Sizes>,
    },
}

/// One attribute of a record, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attribute {
    /// Where it begins, in bytes from the start of the record.
    pub(super) offset: usize,
    /// Its length in bytes, header included.
    pub(super) len: usize,
    /// Its type, see [`attribute_type`].
    pub(super) kind: u32,
    /// Its name in UTF-16; empty for none.
    pub(super) name: Vec<u16>,
    /// See [`super::format::attribute_flag`].
    pub(super) flags: u16,
    /// Its number inside the record.
    pub(super) instance: u16,
    /// How it holds its value.
    pub(super) form: Form,
}

impl Attribute {
    /// The lowest VCN that it maps; 0 for a resident one.
    pub(super) fn lowest(&self) -> u64 {
        match self.form {
            Form::Resident { .. } => 0,
            Form::NonResident { lowest, .. } => lowest,
        }
    }
}

/// An MFT record in memory, with the original bytes in place of the update sequence numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    number: u64,
    bytes: Vec<u8>,
    attributes: Vec<Attribute>,
}

impl Record {
    /// Takes record `number` apart, as its bytes are on disk.
    pub(super) fn parse(number: u64, mut disk: Vec<u8>) -> Result<Record> {
        let what = format!("MFT record {number}");
        multi_sector::restore(&mut disk, b"FILE", &what, 0)?;
        let record = Record::in_memory(number, disk)?;
        // Version 3.1 keeps the number after the header; the array then begins behind it. mkntfs gives none to
        // records that are free.
        let own = u64::from(record.u32(0x2C));
        if record.is_in_use() && record.u16(4) >= 0x30 && own != number & 0xFFFF_FFFF {
            return Err(Error::damaged(
                what,
                0x2C,
                format!("record number {number}"),
                own.to_string(),
            ));
        }
        Ok(record)
    }

    /// Its index in $MFT.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The reference that a directory or an extension has to use for it.
    pub(super) fn reference(&self) -> FileReference {
        FileReference {
            record: self.number,
            sequence: self.u16(0x10),
        }
    }

    /// It describes an existing file.
    pub(super) fn is_in_use(&self) -> bool {
        self.u16(0x16) & IN_USE != 0
    }

    /// It has an index of names.
    pub(super) fn is_directory(&self) -> bool {
        self.u16(0x16) & DIRECTORY != 0
    }

    /// It belongs to the file system, in the folder `$Extend`.
    pub(super) fn is_in_extend(&self) -> bool {
        self.u16(0x16) & IN_EXTEND != 0
    }

    /// It is one of the file system's own files, which are not edited like those of users.
    pub(super) fn is_system(&self) -> bool {
        self.number < record_number::FIRST_USER || self.is_in_extend()
    }

    /// The record that it extends; `None` for a base record.
    pub(super) fn base(&self) -> Option<FileReference> {
        let packed = bytes::u64_le(&self.bytes, 0x20).filter(|packed| *packed != 0)?;
        Some(FileReference::from_packed(packed))
    }

    /// Its attributes, in stored order.
    pub(super) fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// The first attribute of this type, whatever its name.
    pub(super) fn first(&self, kind: u32) -> Option<&Attribute> {
        self.attributes.iter().find(|found| found.kind == kind)
    }

    /// The value of a resident attribute of this record; `None` for a non-resident one.
    pub(super) fn value(&self, attribute: &Attribute) -> Option<&[u8]> {
        match attribute.form {
            Form::Resident { offset, len } => bytes::slice(&self.bytes, offset, len),
            Form::NonResident { .. } => None,
        }
    }

    /// The bytes of a non-resident attribute from its mapping pairs on.
    pub(super) fn mapping_pairs(&self, attribute: &Attribute) -> Option<&[u8]> {
        let Form::NonResident { pairs, .. } = attribute.form else {
            return None;
        };
        let end = attribute.offset.checked_add(attribute.len)?;
        self.bytes.get(pairs..end)
    }

    /// How many bytes its attributes can still grow by.
    pub(super) fn free(&self) -> Option<usize> {
        Some(self.allocated()?.checked_sub(self.used()?)? & !7)
    }

    /// How long the value of this resident attribute can be made in this record, in bytes.
    pub(super) fn room(&self, attribute: &Attribute) -> Option<usize> {
        let Form::Resident { offset, .. } = attribute.form else {
            return None;
        };
        let end = attribute.offset.checked_add(attribute.len)?;
        end.checked_sub(offset)?.checked_add(self.free()?)
    }

    /// The bytes for the place where the disk has `old` now.
    ///
    /// An update sequence number tells a reader that a structure was torn: that some of its sectors were written
    /// and others were not. Where only one sector differs from what is on the disk there is nothing to tear, so
    /// the number stays, and with it the bytes of the other sectors; a new number would change the last two bytes
    /// of each. If this write is lost, the old record is there; if it is not, the new one is. Where two sectors
    /// or more differ, all are written under the next number.
    pub(super) fn to_disk(&self, old: &[u8]) -> Result<Vec<u8>> {
        // A record that was made anew goes on counting where the one that it replaces was.
        let number = multi_sector::number(old).or_else(|| multi_sector::number(&self.bytes));
        let mut disk = self.bytes.clone();
        if let Some(number) = number
            && multi_sector::protect_as(&mut disk, number)
        {
            let sectors = disk
                .chunks(multi_sector::STRIDE)
                .zip(old.chunks(multi_sector::STRIDE));
            let same = disk.len() == old.len();
            if same && sectors.filter(|(new, old)| new != old).count() <= 1 {
                return Ok(disk);
            }
            disk.copy_from_slice(&self.bytes);
            if multi_sector::protect_as(&mut disk, multi_sector::next(number)) {
                return Ok(disk);
            }
        }
        Err(Error::damaged(
            format!("MFT record {}", self.number),
            4,
            "an update sequence array",
            "none",
        ))
    }

    fn used(&self) -> Option<usize> {
        usize::try_from(bytes::u32_le(&self.bytes, 0x18)?).ok()
    }

    fn allocated(&self) -> Option<usize> {
        let claimed = usize::try_from(bytes::u32_le(&self.bytes, 0x1C)?).ok()?;
        Some(claimed.min(self.bytes.len()))
    }

    /// A header field; the record is at least two sectors long, so it is always there.
    fn u16(&self, offset: usize) -> u16 {
        bytes::u16_le(&self.bytes, offset).unwrap_or(0)
    }

    fn u32(&self, offset: usize) -> u32 {
        bytes::u32_le(&self.bytes, offset).unwrap_or(0)
    }
}

/// What is wrong with a record, before it is known which one it is.
struct Fault {
    offset: usize,
    expected: String,
    found: String,
}

fn fault(offset: usize, expected: impl Into<String>, found: impl std::fmt::Display) -> Fault {
    Fault {
        offset,
        expected: expected.into(),
        found: found.to_string(),
    }
}

/// Takes the attributes apart. `record` holds the original bytes.
fn attributes(record: &[u8]) -> Result<Vec<Attribute>, Fault> {
    let cut = || {
        fault(
            0,
            "a whole record header",
            format!("{} bytes", record.len()),
        )
    };
    let header = |offset| bytes::u32_le(record, offset).and_then(|n| usize::try_from(n).ok());
    let used = header(0x18).ok_or_else(cut)?;
    let allocated = header(0x1C).ok_or_else(cut)?;
    let first = bytes::u16_le(record, 0x14)
        .map(usize::from)
        .ok_or_else(cut)?;
    let array = bytes::u16_le(record, 4).map(usize::from).ok_or_else(cut)?;
    let array_len = bytes::u16_le(record, 6).map(usize::from).ok_or_else(cut)?;
    let array_end = array.saturating_add(array_len.saturating_mul(2));
    if allocated > record.len() || used > allocated {
        let expected = format!("at most {} bytes used and allocated", record.len());
        return Err(fault(
            0x18,
            expected,
            format!("{used} used, {allocated} allocated"),
        ));
    }
    if first < array_end || !first.is_multiple_of(8) {
        let expected = format!("a first attribute at {array_end:#x} or after, on 8 bytes");
        return Err(fault(0x14, expected, format!("{first:#x}")));
    }
    let used_bytes = record.get(..used).unwrap_or_default();
    let mut found = Vec::new();
    let mut at = first;
    loop {
        let kind = bytes::u32_le(used_bytes, at).ok_or_else(|| {
            fault(
                at,
                "an attribute or the end mark",
                "the end of the used bytes",
            )
        })?;
        if kind == attribute_type::END {
            return Ok(found);
        }
        let next = attribute(used_bytes, at, kind)?;
        at = at.saturating_add(next.len);
        found.push(next);
    }
}

/// Takes the attribute at `at` apart. `record` ends with the used bytes.
fn attribute(record: &[u8], at: usize, kind: u32) -> Result<Attribute, Fault> {
    let len = bytes::u32_le(record, at.saturating_add(4))
        .and_then(|len| usize::try_from(len).ok())
        .unwrap_or(0);
    let body = bytes::slice(record, at, len)
        .filter(|_| len >= 0x18 && len.is_multiple_of(8))
        .ok_or_else(|| {
            let expected = format!(
                "an attribute length from 0x18, a multiple of 8, up to {:#x}",
                record.len()
            );
            fault(at.saturating_add(4), expected, format!("{len:#x}"))
        })?;
    let cut = |what: &str| {
        fault(
            at,
            format!("{what} inside the attribute"),
            format!("length {len:#x}"),
        )
    };
    let non_resident = bytes::slice(body, 8, 1) != Some(&[0]);
    let flags = bytes::u16_le(body, 0x0C).unwrap_or(0);
    let instance = bytes::u16_le(body, 0x0E).unwrap_or(0);
    let name_len = body.get(9).copied().map_or(0, usize::from);
    let name = if name_len == 0 {
        Vec::new()
    } else {
        let offset = bytes::u16_le(body, 0x0A).map_or(0, usize::from);
        let raw =
            bytes::slice(body, offset, name_len.saturating_mul(2)).ok_or_else(|| cut("a name"))?;
        utf16(raw)
    };
    let form = if non_resident {
        non_resident_form(body, at).ok_or_else(|| cut("a non-resident header"))?
    } else {
        let value_len = bytes::u32_le(body, 0x10).and_then(|len| usize::try_from(len).ok());
        let value = bytes::u16_le(body, 0x14).map(usize::from);
        let (Some(value_len), Some(value)) = (value_len, value) else {
            return Err(cut("a resident header"));
        };
        if value < 0x18 || bytes::slice(body, value, value_len).is_none() {
            return Err(cut("a value"));
        }
        Form::Resident {
            offset: at.saturating_add(value),
            len: value_len,
        }
    };
    if let Form::NonResident {
        sizes: Some(sizes), ..
    } = form
        && (sizes.data > sizes.allocated || sizes.initialised > sizes.data)
    {
        let found = format!(
            "initialised {}, data {}, allocated {}",
            sizes.initialised, sizes.data, sizes.allocated
        );
        let expected = "initialised size <= data size <= allocated size";
        return Err(fault(at.saturating_add(0x28), expected, found));
    }
    Ok(Attribute {
        offset: at,
        len,
        kind,
        name,
        flags,
        instance,
        form,
    })
}

/// The non-resident part of the header of the attribute `body`, which lies at `at` in its record.
fn non_resident_form(body: &[u8], at: usize) -> Option<Form> {
    // Without the sizes that follow 0x40 only in compressed and sparse attributes.
    const HEADER: usize = 0x40;
    let lowest = bytes::u64_le(body, 0x10)?;
    let highest = bytes::u64_le(body, 0x18)?;
    let pairs = usize::from(bytes::u16_le(body, 0x20)?);
    let compression_unit = *body.get(0x22)?;
    if pairs < HEADER || pairs > body.len() {
        return None;
    }
    let sizes = Sizes {
        allocated: bytes::u64_le(body, 0x28)?,
        data: bytes::u64_le(body, 0x30)?,
        initialised: bytes::u64_le(body, 0x38)?,
    };
    Some(Form::NonResident {
        lowest,
        highest,
        pairs: at.checked_add(pairs)?,
        compression_unit,
        sizes: (lowest == 0).then_some(sizes),
    })
}

/// UTF-16 code units from little-endian bytes.
pub(super) fn utf16(raw: &[u8]) -> Vec<u16> {
    let (pairs, _) = raw.as_chunks::<2>();
    pairs.iter().copied().map(u16::from_le_bytes).collect()
}

#[cfg(test)]
mod tests;
