// SPDX-License-Identifier: GPL-2.0-or-later
//! The records of one chunk.

use crate::bytes;

use super::walk::{Outcome, Walk};
use super::{CHUNK_LEN, Event};

/// What a chunk held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkEvents {
    /// The events that were wanted, in the order of the chunk, oldest first.
    pub events: Vec<Event>,
    /// How many records were met, wanted or not.
    pub records: u64,
    /// How many of them could not be read.
    pub damaged: u64,
}

/// The events of a chunk that `wanted` asks for, by provider and id. Records are followed for as long as each begins
/// where the one before it ends and has a higher number; what an earlier use of the chunk left behind has not.
///
/// Bounded: a chunk costs a number of steps, each event an amount of text, whatever their bytes say; what goes beyond
/// that counts as damaged.
pub fn events(chunk: &[u8], wanted: &dyn Fn(&str, u32) -> bool) -> ChunkEvents {
    /// Behind the chunk's head and its tables of names and templates.
    const FIRST_RECORD: usize = 512;
    let chunk = chunk.get(..CHUNK_LEN).unwrap_or(chunk);
    let mut walk = Walk::new(chunk);
    let mut found = ChunkEvents::default();
    let mut at = FIRST_RECORD;
    let mut last = None;
    while let Some(record) = Record::parse(chunk, at) {
        if last.is_some_and(|last| record.id <= last) {
            break;
        }
        last = Some(record.id);
        found.records = found.records.saturating_add(1);
        let event = Event {
            record: record.id,
            time: record.time,
            ..Event::default()
        };
        match walk.record(event, record.content, record.end, wanted) {
            Outcome::Event(event) => found.events.push(event),
            Outcome::Unwanted => {}
            Outcome::Damaged => found.damaged = found.damaged.saturating_add(1),
        }
        at = record.next;
    }
    found
}

/// Where one record lies; places count from the chunk's start.
struct Record {
    id: u64,
    time: u64,
    /// Its binary XML.
    content: usize,
    end: usize,
    next: usize,
}

impl Record {
    /// The record at `at`; `None` where none is.
    fn parse(chunk: &[u8], at: usize) -> Option<Record> {
        const SIGNATURE: u32 = 0x2a2a;
        const HEAD: usize = 24;
        if bytes::u32_le(chunk, at)? != SIGNATURE {
            return None;
        }
        let size = bytes::u32_le(chunk, at.checked_add(4)?)?;
        let content = at.checked_add(HEAD)?;
        let next = at.checked_add(usize::try_from(size).ok()?)?;
        let end = next.checked_sub(4)?;
        if end < content || bytes::u32_le(chunk, end)? != size {
            return None;
        }
        Some(Record {
            id: bytes::u64_le(chunk, at.checked_add(8)?)?,
            time: bytes::u64_le(chunk, at.checked_add(16)?)?,
            content,
            end,
            next,
        })
    }
}
