// SPDX-License-Identifier: GPL-2.0-or-later
//! The event logs of an installation that tell of Remote Desktop, newest first.
//!
//! Bounded for each log, so that a log of gigabytes, or one made to cost much, ends soon: so many bytes of its newest
//! chunks are read, a megabyte at a time; so many events and so much text are kept; and what is much older than the log's
//! newest record is left. Ages count from there, because the clock of this host says nothing of a disk from a shelf.

use std::collections::HashSet;
use std::ops::Range;

use jiff::{SignedDuration, Timestamp};

use crate::error::Result;
use crate::evtx::{self, CHUNK_HEADER_LEN, CHUNK_LEN, ChunkHeader, Event, HEADER_LEN, chunk};
use crate::volume::Volume;

use super::Installation;

/// Where the logs lie, below the Windows folder.
const FOLDER: &str = "System32/winevt/Logs";

/// The logs, and how many bytes of each are read: ours. Windows keeps 20 MiB of System, 20 to 128 of Security and 1 of
/// the others.
const LOGS: [(&str, &str, u64); 6] = [
    ("System", "System.evtx", 64 << 20),
    ("Security", "Security.evtx", 64 << 20),
    ("Application", "Application.evtx", 32 << 20),
    (
        "RemoteConnectionManager",
        "Microsoft-Windows-TerminalServices-RemoteConnectionManager%4Operational.evtx",
        8 << 20,
    ),
    (
        "LocalSessionManager",
        "Microsoft-Windows-TerminalServices-LocalSessionManager%4Operational.evtx",
        8 << 20,
    ),
    (
        "RdpCoreTS",
        "Microsoft-Windows-RemoteDesktopServices-RdpCoreTS%4Operational.evtx",
        8 << 20,
    ),
];

/// How many chunks of a log are looked at: 4 GiB, the longest that Windows makes.
const MOST_CHUNKS: u64 = 65_536;
/// How many chunks are read at a time.
const CHUNKS_AT_ONCE: usize = 16;
/// How many events of a log are kept. Ours: enough to count the attempts of some days.
const MOST_EVENTS: usize = 20_000;
/// How many bytes of text the events of a log may keep.
const MOST_TEXT: usize = 24 << 20;
/// What is older than this, counted from the log's newest record, is left: ours.
const OLDEST: SignedDuration = SignedDuration::from_hours(24 * 180);

/// An event and the log it was found in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEvent {
    /// The log's short name, such as `System`.
    pub log: &'static str,
    /// When it was written.
    pub time: Timestamp,
    /// The event.
    pub event: Event,
}

/// What came of reading a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogState {
    /// There is none.
    Absent,
    /// It was read.
    Read(LogExtent),
    /// It cannot be read; the text says why.
    Unreadable(String),
}

/// How much of a log was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogExtent {
    /// Whole records that were met.
    pub records: u64,
    /// Records that could not be read.
    pub damaged_records: u64,
    /// Chunks that could not be read.
    pub damaged_chunks: u64,
    /// When its newest record was written.
    pub newest: Option<Timestamp>,
    /// False when older records were left because of the bounds; see the module.
    pub complete: bool,
}

/// The logs of an installation.
#[derive(Debug, Default)]
pub struct EventLogs {
    /// Each log's short name, its path on the volume, and what came of it.
    pub logs: Vec<(&'static str, String, LogState)>,
    /// The events that were wanted, newest first.
    pub events: Vec<LoggedEvent>,
}

impl EventLogs {
    /// Reads the logs of an installation for events that `wanted` asks for, by provider and id. A log that cannot be read
    /// is told by its state and costs the others nothing.
    pub fn read(installation: &Installation, wanted: &dyn Fn(&str, u32) -> bool) -> EventLogs {
        let mut found = EventLogs::default();
        for (log, file, most) in LOGS {
            let path = format!("{}/{FOLDER}/{file}", installation.directory);
            let volume = installation.volume.as_ref();
            let mut events = Vec::new();
            let state = match read_log(volume, &path, most, wanted, &mut events) {
                Ok(state) => state,
                Err(error) => LogState::Unreadable(error.to_string()),
            };
            found.logs.push((log, path, state));
            found.events.extend(events.into_iter().filter_map(|event| {
                Some(LoggedEvent {
                    log,
                    time: evtx::timestamp(event.time)?,
                    event,
                })
            }));
        }
        // Stable: within a log the higher record stays first where the times are equal.
        found
            .events
            .sort_by_key(|event| std::cmp::Reverse(event.time));
        found
    }

    /// When the newest record of all logs was written: the last time that this Windows is known to have run.
    pub fn newest(&self) -> Option<Timestamp> {
        let newest = self.logs.iter().filter_map(|(_, _, state)| match state {
            LogState::Read(extent) => extent.newest,
            _ => None,
        });
        newest.max()
    }
}

/// Reads one log, newest chunk first; see the module for the bounds.
fn read_log(
    volume: &dyn Volume,
    path: &str,
    most: u64,
    wanted: &dyn Fn(&str, u32) -> bool,
    events: &mut Vec<Event>,
) -> Result<LogState> {
    let Some(entry) = volume.entry(path)? else {
        return Ok(LogState::Absent);
    };
    let chunk_len = len_u64(CHUNK_LEN);
    let count = entry
        .len
        .saturating_sub(len_u64(HEADER_LEN))
        .div_ceil(chunk_len);
    let place = |number: u64| len_u64(HEADER_LEN).saturating_add(number.saturating_mul(chunk_len));
    let range = |number: u64, len: usize| -> Range<u64> {
        let start = place(number);
        start..start.saturating_add(len_u64(len))
    };
    let headers: Vec<Range<u64>> = std::iter::once(0..len_u64(HEADER_LEN))
        .chain((0..count.min(MOST_CHUNKS)).map(|number| range(number, CHUNK_HEADER_LEN)))
        .collect();
    let mut headers = volume.read_ranges(path, &headers)?.into_iter();
    if !headers.next().is_some_and(|header| evtx::is_log(&header)) {
        return Ok(LogState::Unreadable("it is no event log".to_owned()));
    }

    let mut extent = LogExtent {
        complete: count <= MOST_CHUNKS,
        ..LogExtent::default()
    };
    let mut chunks = Vec::new();
    for (number, header) in (0_u64..).zip(headers) {
        match ChunkHeader::parse(&header) {
            ChunkHeader::Records { last, .. } => chunks.push((last, number)),
            ChunkHeader::Damaged => {
                extent.damaged_chunks = extent.damaged_chunks.saturating_add(1);
            }
            ChunkHeader::Empty => {}
        }
    }
    chunks.sort_unstable_by(|left, right| right.cmp(left));
    let most = usize::try_from(most.div_ceil(chunk_len)).unwrap_or(usize::MAX);
    if chunks.len() > most {
        extent.complete = false;
        chunks.truncate(most);
    }

    let mut kept = Kept {
        events,
        seen: HashSet::new(),
        text: 0,
    };
    for group in chunks.chunks(CHUNKS_AT_ONCE) {
        let ranges: Vec<Range<u64>> = group
            .iter()
            .map(|(_, number)| range(*number, CHUNK_LEN))
            .collect();
        for bytes in volume.read_ranges(path, &ranges)? {
            let found = chunk::events(&bytes, wanted);
            extent.records = extent.records.saturating_add(found.records);
            extent.damaged_records = extent.damaged_records.saturating_add(found.damaged);
            let time = evtx::timestamp(found.last_time).filter(|_| found.records > 0);
            // Of the chunk with the highest numbers, not the highest time: a clock that was wrong once stays out.
            extent.newest = extent.newest.or(time);
            let is_old = match (extent.newest, time) {
                (Some(newest), Some(time)) => newest.duration_since(time) > OLDEST,
                _ => false,
            };
            if is_old || !kept.take(found.events) {
                extent.complete = false;
                return Ok(LogState::Read(extent));
            }
        }
    }
    Ok(LogState::Read(extent))
}

/// The events of one log so far.
struct Kept<'e> {
    events: &'e mut Vec<Event>,
    /// Numbers of records: a chunk that is in a file twice counts once.
    seen: HashSet<u64>,
    text: usize,
}

impl Kept<'_> {
    /// Takes the events of a chunk, oldest first as they are; false when that was enough.
    fn take(&mut self, events: Vec<Event>) -> bool {
        for event in events.into_iter().rev() {
            if !self.seen.insert(event.record) {
                continue;
            }
            let data = event
                .data
                .iter()
                .map(|(name, text)| name.len().saturating_add(text.len()));
            let text = data.fold(event.computer.len(), usize::saturating_add);
            self.text = self.text.saturating_add(text);
            if self.events.len() >= MOST_EVENTS || self.text > MOST_TEXT {
                return false;
            }
            self.events.push(event);
        }
        true
    }
}

fn len_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
