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
    /// How many whole records were met, wanted or not.
    pub records: u64,
    /// How many records could not be read, whole or cut off.
    pub damaged: u64,
    /// When the last record was written, wanted or not, as a FILETIME; 0 without records.
    pub last_time: u64,
}

/// The events of a chunk that `wanted` asks for, by provider and id. Records follow each other with rising numbers, also
/// behind what the chunk's head says is used, for the head is written later than they are; what an earlier use of the
/// chunk left there has lower numbers and is not taken. Behind a record that is cut off the next whole one is looked for.
///
/// Bounded: a chunk costs a number of steps, each event an amount of text, whatever their bytes say; what goes beyond
/// that counts as damaged.
pub fn events(chunk: &[u8], wanted: &dyn Fn(&str, u32) -> bool) -> ChunkEvents {
    /// Behind the chunk's head and its tables of names and templates.
    const FIRST_RECORD: usize = 512;
    let chunk = chunk.get(..CHUNK_LEN).unwrap_or(chunk);
    let free = bytes::u32_le(chunk, 48).and_then(|free| usize::try_from(free).ok());
    let is_free = |at| free.is_none_or(|free| at >= free);
    let mut walk = Walk::new(chunk);
    let mut found = ChunkEvents::default();
    let mut at = FIRST_RECORD;
    let mut last = None;
    loop {
        let Some(record) = Record::parse(chunk, at) else {
            let cut_off = bytes::u32_le(chunk, at) == Some(Record::SIGNATURE);
            if !cut_off && is_free(at) {
                break;
            }
            found.damaged = found.damaged.saturating_add(1);
            match Record::find(chunk, at) {
                Some(next) => at = next,
                None => break,
            }
            continue;
        };
        if is_free(at) && last.is_some_and(|last| record.id <= last) {
            break;
        }
        last = Some(record.id);
        found.last_time = record.time;
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
    const SIGNATURE: u32 = 0x2a2a;

    /// The place of the first whole record behind `at`.
    fn find(chunk: &[u8], at: usize) -> Option<usize> {
        /// Records begin at multiples of it.
        const STEP: usize = 8;
        let first = at.checked_next_multiple_of(STEP)?;
        (first..chunk.len())
            .step_by(STEP)
            .skip_while(|place| *place <= at)
            .find(|place| Record::parse(chunk, *place).is_some())
    }

    /// The record at `at`; `None` where none is.
    fn parse(chunk: &[u8], at: usize) -> Option<Record> {
        const HEAD: usize = 24;
        if bytes::u32_le(chunk, at)? != Record::SIGNATURE {
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
