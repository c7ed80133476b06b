// SPDX-License-Identifier: GPL-2.0-or-later
//! Event logs (`.evtx`): bytes in, events out.
//!
//! ```text
//! 0      file header, 4096 bytes   "ElfFile\0"
//! 4096   chunk 0, 64 KiB           "ElfChnk\0", u64 +24 first record id, u64 +32 last
//!          +512  records           2A 2A 00 00, u32 size, u64 id, u64 time (FILETIME), binary XML, u32 size
//! 69632  chunk 1 ...               a ring: a full log goes on in its oldest chunk
//! ```
//! A chunk stands alone: names and templates are told by offsets within it. So each is judged alone, a damaged one costs
//! only itself, and a record that cannot be read only itself. Checksums are not asked: the chunk that Windows was writing
//! when the power failed has none that holds, and its events are the ones that tell. Every field is checked instead, and
//! how much one chunk may cost is bounded ([`chunk::events`]).
//!
//! Not handled: texts of messages, which lie in the programs that log them and not in the log; the older form (`.evt`)
//! of XP and Server 2003.
//!
//! Source: libevtx's documentation of the format (libyal); [MS-EVEN6] 2.2.12 for binary XML.

pub mod chunk;
mod value;
mod walk;

use crate::bytes;

/// Length of the file header, and so where the first chunk lies.
pub const HEADER_LEN: usize = 4096;
/// Length of a chunk.
pub const CHUNK_LEN: usize = 64 << 10;
/// How much of a chunk [`ChunkHeader::parse`] wants.
pub const CHUNK_HEADER_LEN: usize = 128;

/// One event, with the fields that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its number in the log; counts up.
    pub record: u64,
    /// When it was written, as a FILETIME.
    pub time: u64,
    /// Who logged it, such as `Service Control Manager`.
    pub provider: String,
    /// Which of the provider's events.
    pub id: u32,
    /// 1 critical, 2 error, 3 warning, 4 information, 0 always logged.
    pub level: u32,
    /// The computer's name when it was written.
    pub computer: String,
    /// Its data: names and texts, in their order. The name is empty where it has none.
    pub data: Vec<(String, String)>,
}

impl Event {
    /// The text of the field of this name, without regard to case; empty when there is none.
    pub fn field(&self, name: &str) -> &str {
        self.data
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map_or("", |(_, text)| text)
    }
}

/// The instant of a FILETIME, as events carry it; `None` where no calendar has it.
pub fn timestamp(time: u64) -> Option<jiff::Timestamp> {
    value::timestamp(time)
}

/// Whether these are the first bytes of an event log.
pub fn is_log(header: &[u8]) -> bool {
    const SIGNATURE: &[u8] = b"ElfFile\0";
    const CHUNKS_AT: Option<u16> = Some(4096);
    header.starts_with(SIGNATURE) && bytes::u16_le(header, 40) == CHUNKS_AT
}

/// What the head of a chunk says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkHeader {
    /// Never used.
    Empty,
    /// Neither unused nor a chunk.
    Damaged,
    /// Holds the records with these ids.
    Records {
        /// The lowest.
        first: u64,
        /// The highest.
        last: u64,
    },
}

impl ChunkHeader {
    /// Judges the first [`CHUNK_HEADER_LEN`] bytes of a chunk.
    pub fn parse(header: &[u8]) -> ChunkHeader {
        const SIGNATURE: &[u8] = b"ElfChnk\0";
        if !header.starts_with(SIGNATURE) {
            let unused = header.iter().all(|byte| *byte == 0);
            return if unused {
                ChunkHeader::Empty
            } else {
                ChunkHeader::Damaged
            };
        }
        match (bytes::u64_le(header, 24), bytes::u64_le(header, 32)) {
            // What Windows writes into a chunk before its first record.
            (Some(u64::MAX), Some(_)) => ChunkHeader::Empty,
            (Some(first), Some(last)) if first <= last => ChunkHeader::Records { first, last },
            _ => ChunkHeader::Damaged,
        }
    }
}
