// SPDX-License-Identifier: GPL-2.0-or-later
//! Changing an MFT record by place, as `$LogFile` describes changes: not by what an attribute is, but by where it begins.
//!
//! Source: the Linux driver ntfs3 (fslog.c). What is asked of every record after such a change is more than what a reader
//! needs: attributes in order, the end mark exactly at the end of the used bytes, and numbers below the next one.

use crate::error::{Error, Result};

use super::{Attribute, Record, attributes};

impl Record {
    /// Record `number` as it is in memory: with the original bytes in place of the update sequence numbers.
    pub(in super::super) fn in_memory(number: u64, bytes: Vec<u8>) -> Result<Record> {
        let attributes = attributes(&bytes).map_err(|fault| {
            let offset = u64::try_from(fault.offset).unwrap_or(0);
            let what = format!("MFT record {number}");
            Error::damaged(what, offset, fault.expected, fault.found)
        })?;
        Ok(Record {
            number,
            bytes,
            attributes,
        })
    }

    /// Its bytes as they are in memory.
    pub(in super::super) fn memory(&self) -> &[u8] {
        &self.bytes
    }

    /// The attribute that begins at `offset`.
    pub(in super::super) fn begins_at(&self, offset: usize) -> Option<&Attribute> {
        self.attributes.iter().find(|found| found.offset == offset)
    }

    /// Where the end mark is.
    pub(in super::super) fn end_mark(&self) -> usize {
        let last = self.attributes.last();
        last.map_or(usize::from(self.u16(0x14)), |last| {
            last.offset.saturating_add(last.len)
        })
    }

    /// Replaces `len` bytes at `at`, which begin and end with an attribute, by `new`, and moves what is behind. False, and
    /// nothing done, when that does not fit, or would leave no record.
    #[must_use]
    pub(in super::super) fn replace(&mut self, at: usize, len: usize, new: &[u8]) -> bool {
        self.splice(at, len, new).is_some()
    }

    /// The number that the next attribute gets is above `instance`.
    #[must_use]
    pub(in super::super) fn pass_instance(&mut self, instance: u16) -> bool {
        match instance.checked_add(1) {
            Some(next) if self.u16(0x28) < next => self.patch(0x28, &next.to_le_bytes()),
            _ => true,
        }
    }

    /// An error unless attributes are in the order of their types, their numbers are below the next one, and the used
    /// bytes end with the end mark.
    pub(in super::super) fn check_logged(&self) -> Result<()> {
        let bad = |offset: usize, expected: &str, found: String| {
            let offset = u64::try_from(offset).unwrap_or(0);
            Error::damaged(
                format!("MFT record {}", self.number),
                offset,
                expected,
                found,
            )
        };
        let end = self.end_mark().saturating_add(8);
        if self.used() != Some(end) {
            let found = format!("{:#x?}", self.used());
            return Err(bad(
                0x18,
                &format!("{end:#x} bytes used, up to the end mark"),
                found,
            ));
        }
        let pairs = self.attributes.iter().zip(self.attributes.iter().skip(1));
        for (one, next) in pairs {
            if one.kind > next.kind {
                let found = format!("{:#x} before {:#x}", one.kind, next.kind);
                return Err(bad(
                    next.offset,
                    "attributes in the order of their types",
                    found,
                ));
            }
        }
        // After 65535 attributes the numbers begin anew.
        let next = self.u16(0x28);
        let above = self.attributes.iter().find(|found| found.instance >= next);
        let wrapped = next < 0x100 && above.is_some_and(|above| above.instance > 0xFF00);
        match above.filter(|_| !wrapped && self.is_in_use()) {
            Some(above) => Err(bad(
                above.offset,
                "a number below that of the next attribute",
                format!("{}, next {next}", above.instance),
            )),
            None => Ok(()),
        }
    }
}
