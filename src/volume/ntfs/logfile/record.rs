// SPDX-License-Identifier: GPL-2.0-or-later
//! Records of `$LogFile`, read across pages, and the action that a record describes.
//!
//! ```text
//! header, 30:  0 u64 this LSN   8 u64 previous LSN   10 u64 undo-next LSN   18 u32 client data length
//!              20 u32 type (1 action, 2 checkpoint)   24 u32 transaction   28 u16 flags (2 no redo data, 4 no undo data)
//! action:      0 u16 redo   2 u16 undo   4, 6 u16 redo offset, length   8, A u16 undo offset, length
//!              C u16 target attribute   E u16 LCNs   10 u16 record offset   12 u16 attribute offset
//!              14 u16 cluster offset / 512   18 u64 target VCN   20 u64 LCN[]
//! ```
//!
//! A header is never split; the client data go on at 40 of the next page. Source: the Linux driver ntfs3
//! (fslog.c) and ntfs-3g (logfile.h).

use std::borrow::Cow;

use super::pages::Chain;
use super::restart::{DATA_OFFSET, PAGE_LEN};
use crate::bytes;
use crate::error::{Error, Result};

/// Bytes of a record's header.
const HEADER: u64 = 0x30;
/// Flag of a record: no redo data are stored, the redo length counts zeros.
const NO_REDO_DATA: u16 = 2;
/// The same of the undo data.
const NO_UNDO_DATA: u16 = 4;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A change, or a table of a checkpoint.
    Action,
    /// A checkpoint.
    Checkpoint,
}

/// One record.
#[derive(Clone, Debug)]
pub(super) struct LogRecord {
    /// Its LSN.
    pub(super) lsn: u64,
    /// Which record of the transaction to undo after this one; 0 for none.
    pub(super) undo_next: u64,
    /// What it is.
    pub(super) kind: Kind,
    /// Its transaction: the offset of an entry in the transaction table.
    pub(super) transaction: u32,
    flags: u16,
    /// What the client wrote.
    pub(super) data: Vec<u8>,
    /// The LSN of the record after it, if there is one.
    pub(super) next: u64,
}

impl LogRecord {
    /// Reads the record with this LSN.
    pub(super) fn read(chain: &Chain<'_>, lsn: u64) -> Result<LogRecord> {
        let restart = &chain.restart;
        let start = restart.offset(lsn);
        let bad = |expected: &str, found: String| {
            Error::damaged(
                format!("record {lsn:#x} of $LogFile"),
                start,
                expected,
                found,
            )
        };
        if !restart.holds(lsn) {
            return Err(bad("an LSN inside the circular area", format!("{lsn:#x}")));
        }
        let (mut place, mut sequence) = (restart.page(lsn), restart.sequence(lsn));
        let mut page = chain.page(place, sequence)?;
        let mut content = chain.content(page)?;
        let at = index(start & 0xFFF);
        let header = bytes::array::<0x30>(&content, at)
            .ok_or_else(|| bad("a header inside its page", "its end".into()))?;
        let u64 = |at| bytes::u64_le(&header, at).unwrap_or(0);
        let u32 = |at| bytes::u32_le(&header, at).unwrap_or(0);
        if u64(0) != lsn {
            return Err(bad("its own LSN", format!("{:#x}", u64(0))));
        }
        let kind = match u32(0x20) {
            1 => Kind::Action,
            2 => Kind::Checkpoint,
            other => return Err(bad("type 1 or 2", other.to_string())),
        };
        if bytes::u32_le(&header, 0x1C).is_none_or(|client| client.wrapping_shr(16) != 0) {
            return Err(bad("client 0", format!("{:#x}", u32(0x1C))));
        }
        let len = u32(0x18);
        if !len.is_multiple_of(8) || u64::from(len) >= restart.usable {
            return Err(bad(
                "a length in steps of 8, inside the log",
                format!("{len:#x}"),
            ));
        }
        // The pages of the chain bound this: each is passed at most once, the data grow with them.
        let mut data = Vec::new();
        let mut left = index(u64::from(len));
        let mut from = index((start & 0xFFF).saturating_add(HEADER));
        loop {
            let part = content.get(from..).unwrap_or_default();
            let part = part.get(..left.min(part.len())).unwrap_or_default();
            data.extend_from_slice(part);
            left = left.saturating_sub(part.len());
            from = from.saturating_add(part.len());
            if left == 0 {
                break;
            }
            if page.header.last_lsn == page.header.last_end_lsn {
                return Err(bad(
                    "a page that says a record goes on",
                    format!("{place:#x}"),
                ));
            }
            (place, sequence) = restart.next_page(place, sequence);
            page = chain.page(place, sequence)?;
            if page.header.last_lsn < lsn {
                return Err(bad("a following page that is newer", format!("{place:#x}")));
            }
            content = chain.content(page)?;
            from = index(DATA_OFFSET);
        }
        if !page.header.record_ends || page.header.last_end_lsn < lsn {
            return Err(bad("a page in which it ends", format!("{place:#x}")));
        }
        let next = if page.header.last_lsn == lsn {
            let (place, sequence) = restart.next_page(place, sequence);
            restart.lsn(place.saturating_add(DATA_OFFSET), sequence)
        } else {
            let after = u64::try_from(from).unwrap_or(PAGE_LEN).next_multiple_of(8);
            restart.lsn(place.saturating_add(after), sequence)
        };
        if next <= lsn {
            return Err(bad("a following LSN that is greater", format!("{next:#x}")));
        }
        Ok(LogRecord {
            lsn,
            undo_next: u64(0x10),
            kind,
            transaction: u32(0x24),
            flags: bytes::u16_le(&header, 0x28).unwrap_or(0),
            data,
            next,
        })
    }

    /// The action of a record of type 1.
    pub(super) fn action(&self) -> Result<Action<'_>> {
        let bad = |expected: &str, found: String| {
            Error::damaged(
                format!("record {:#x} of $LogFile", self.lsn),
                0,
                expected,
                found,
            )
        };
        let u16 = |at| bytes::u16_le(&self.data, at).unwrap_or(0);
        if self.data.len() < 0x20 {
            return Err(bad(
                "an action of 0x20 bytes",
                format!("{:#x} bytes", self.data.len()),
            ));
        }
        let count = usize::from(u16(0x0E));
        let lcns = bytes::slice(&self.data, 0x20, count.saturating_mul(8))
            .ok_or_else(|| bad("its LCNs", format!("{count} of them, past its end")))?;
        let (lcns, _) = lcns.as_chunks::<8>();
        let lcns: Vec<u64> = lcns.iter().map(|lcn| u64::from_le_bytes(*lcn)).collect();
        let vcn = bytes::u64_le(&self.data, 0x18).unwrap_or(0);
        if vcn.checked_add(u64::from(u16(0x0E))).is_none() {
            return Err(bad("a VCN", format!("{vcn:#x}")));
        }
        let len = |at: usize| usize::from(u16(at));
        let payload = |at: usize, len: usize, absent: u16| {
            // Data that are said to reach past the record are not there: the length counts zeros.
            match self.flags & absent != 0 || len == 0 {
                true => None,
                false => bytes::slice(&self.data, usize::from(u16(at)), len),
            }
        };
        Ok(Action {
            redo: u16(0),
            undo: u16(2),
            target: u16(0x0C),
            vcn,
            lcns,
            cluster_offset: u64::from(u16(0x14)).saturating_mul(512),
            record_offset: u16(0x10),
            attribute_offset: u16(0x12),
            redo_len: len(6),
            redo_data: payload(4, len(6), NO_REDO_DATA),
            undo_len: len(0x0A),
            undo_data: payload(8, len(0x0A), NO_UNDO_DATA),
        })
    }
}

/// What a record of type 1 does.
#[derive(Clone, Debug)]
pub(super) struct Action<'a> {
    /// Operation to do again.
    pub(super) redo: u16,
    /// Operation that takes it back.
    pub(super) undo: u16,
    /// Offset of the target's entry in the open attribute table.
    pub(super) target: u16,
    /// First cluster of the target within its attribute.
    pub(super) vcn: u64,
    /// Where the target's clusters were when the record was written.
    pub(super) lcns: Vec<u64>,
    /// Bytes from the target's first cluster to the structure that is changed.
    pub(super) cluster_offset: u64,
    /// Bytes from there to the attribute, or to the byte from which bits are counted.
    pub(super) record_offset: u16,
    /// Bytes from the attribute to what is changed in it; in an index block, from its start.
    pub(super) attribute_offset: u16,
    /// How many bytes the redo operation is about.
    redo_len: usize,
    /// They; `None` means zeros.
    pub(super) redo_data: Option<&'a [u8]>,
    /// How many bytes the undo operation is about.
    undo_len: usize,
    /// They; `None` means zeros.
    pub(super) undo_data: Option<&'a [u8]>,
}

/// An action in one of its two directions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change<'a> {
    /// The operation.
    pub(super) code: u16,
    /// Its bytes; `None` means zeros.
    data: Option<&'a [u8]>,
    /// How many there are.
    pub(super) len: usize,
    /// How many there are in the other direction.
    pub(super) other_len: usize,
    /// Bytes from the structure to the attribute.
    pub(super) record_offset: usize,
    /// Bytes from the attribute to what is changed in it.
    pub(super) attribute_offset: usize,
}

impl<'a> Change<'a> {
    /// Its bytes.
    pub(super) fn bytes(&self) -> Cow<'a, [u8]> {
        match self.data {
            Some(data) => Cow::Borrowed(data),
            None => Cow::Owned(vec![0; self.len]),
        }
    }

    /// The log does not have its bytes: they are taken for zeros.
    pub(super) fn is_unlogged(&self) -> bool {
        self.data.is_none() && self.len > 0
    }

    /// From the structure to what is changed, in bytes.
    pub(super) fn place(&self) -> usize {
        self.record_offset.saturating_add(self.attribute_offset)
    }
}

impl<'a> Action<'a> {
    /// Doing it again.
    pub(super) fn redo_change(&self) -> Change<'a> {
        Change {
            code: self.redo,
            data: self.redo_data,
            len: self.redo_len,
            other_len: self.undo_len,
            record_offset: usize::from(self.record_offset),
            attribute_offset: usize::from(self.attribute_offset),
        }
    }

    /// Taking it back.
    pub(super) fn undo_change(&self) -> Change<'a> {
        Change {
            code: self.undo,
            data: self.undo_data,
            len: self.undo_len,
            other_len: self.redo_len,
            ..self.redo_change()
        }
    }
}

/// Reads the records from `from` on, in order, up to the end of the log, and gives each to `visit`.
///
/// `Damaged` when they do not end exactly at the end of the log.
pub(super) fn walk(
    chain: &Chain<'_>,
    from: u64,
    mut visit: impl FnMut(&LogRecord) -> Result<()>,
) -> Result<()> {
    let mut lsn = from;
    let mut last = 0;
    while lsn <= chain.end {
        let record = LogRecord::read(chain, lsn)?;
        visit(&record)?;
        last = lsn;
        lsn = record.next;
    }
    if last == chain.end || from > chain.end {
        return Ok(());
    }
    let expected = format!("the last record at LSN {:#x}", chain.end);
    let place = chain.restart.offset(last);
    Err(Error::damaged(
        "$LogFile",
        place,
        expected,
        format!("{last:#x}"),
    ))
}

/// A length or place inside a page or record as an index.
fn index(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
