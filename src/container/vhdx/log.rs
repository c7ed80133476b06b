// SPDX-License-Identifier: GPL-2.0-or-later
//! The log: what a writer that was interrupted had still to do to BAT, bitmaps and metadata.
//!
//! ```text
//! log      |entry n|entry n+1|entry n+2|....stale....|     circular, in sectors of 4096 bytes
//!           ^ tail of n+2                 the newest complete run that contains its last entry's tail counts
//! ```
//!
//! [MS-VHDX] 2.3.2 and 2.3.3. Entries (`log_entry`) are found by looking at every sector. What a replay may do is
//! checked for the whole run before the first byte is written.

use std::collections::BTreeMap;

use super::format::*;
use super::header::Header;
use super::log_entry::{Descriptor, Entry, Log};
use crate::bytes;
use crate::device::SharedDevice;
use crate::error::{Error, Result, ResultExt};

/// The longest log that is replayed: ours. Windows makes them 1 MiB.
const MAX_LOG: u32 = 128 << 20;
/// How much the zero descriptors of a log may clear: ours.
const MAX_ZEROS: u64 = 1 << 30;
/// The longest file that a log may ask for: 64 TiB and as much again for the tables, rounded up.
const MAX_FILE_LEN: u64 = 128 << 40;

/// What a replay did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Replayed {
    pub(super) entries: usize,
    /// Bytes restored, zeros included.
    pub(super) bytes: u64,
}

/// Replays the log that `header` names into `device`, and writes the headers without it. `None`, and nothing
/// done, when there is nothing to replay.
///
/// `Damaged` when there should be entries and none are whole, or the file is shorter than they need;
/// `Unsupported` for a log so large that it would not fit in memory.
pub(super) fn replay(device: &SharedDevice, header: &Header) -> Result<Option<Replayed>> {
    if header.log_guid.is_nil() {
        return Ok(None);
    }
    if header.log_length > MAX_LOG {
        return Err(Error::unsupported(
            format!(
                "the VHDX was not closed cleanly, and its log is {} bytes long, more than coldfix replays",
                header.log_length
            ),
            "attach the disk once on a Windows machine (`Mount-VHD`, then `Dismount-VHD`), which replays the log",
        ));
    }
    let log = Log {
        device,
        offset: header.log_offset,
        length: u64::from(header.log_length),
        guid: header.log_guid,
    };
    let sequence = log.active_sequence()?;
    log.check_targets(&sequence)?;
    let mut bytes = 0_u64;
    for entry in &sequence {
        if device.len() < entry.last {
            device.set_length(entry.last)?;
        }
        for descriptor in &entry.descriptors {
            let written = log
                .apply(*descriptor)
                .context(|| format!("replaying log entry {}", entry.sequence))?;
            bytes = bytes.saturating_add(written);
        }
    }
    header.write_both(device, header.file_write_guid, header.data_write_guid)?;
    Ok(Some(Replayed {
        entries: sequence.len(),
        bytes,
    }))
}

impl Log<'_> {
    /// The entries to replay, in order: of all runs of entries with consecutive numbers, one directly behind the
    /// other, that reach back to their last entry's tail, the one with the highest last number; from that tail on.
    fn active_sequence(&self) -> Result<Vec<Entry>> {
        let mut entries: BTreeMap<u64, Entry> = BTreeMap::new();
        let mut offset = 0;
        while offset < self.length {
            if let Some(entry) = self.read_entry(offset)? {
                entries.insert(offset, entry);
            }
            offset = offset.saturating_add(LOG_SECTOR);
        }
        let end = |entry: &Entry| {
            let end = entry.offset.saturating_add(entry.length);
            end.checked_rem(self.length).unwrap_or(0)
        };
        let next = |entry: &Entry| {
            entries
                .get(&end(entry))
                .filter(|next| entry.sequence.checked_add(1) == Some(next.sequence))
        };
        let before: BTreeMap<u64, &Entry> = entries
            .values()
            .filter_map(|entry| next(entry).map(|next| (next.offset, entry)))
            .collect();
        let mut heads: Vec<&Entry> = entries
            .values()
            .filter(|entry| next(entry).is_none())
            .collect();
        heads.sort_by_key(|entry| std::cmp::Reverse(entry.sequence));
        for head in heads {
            let mut run = vec![head];
            let mut entry = head;
            // A run is as long as its numbers fall, and no longer than the log.
            while entry.offset != head.tail && run.len() <= entries.len() {
                let Some(earlier) = before.get(&entry.offset) else {
                    break;
                };
                entry = earlier;
                run.push(entry);
            }
            if entry.offset == head.tail {
                return Ok(run.into_iter().rev().cloned().collect());
            }
        }
        Err(Error::damaged(
            "VHDX log",
            self.offset,
            format!("entries of log {{{}}} that can be replayed", self.guid),
            match entries.len() {
                0 => "none".to_owned(),
                many => format!("{many}, but the first of them is missing"),
            },
        )
        .with_hint("opening the VHDX", super::DAMAGED_HINT))
    }

    /// `Damaged` when an entry would write over headers or log, or the file lost its end; `Unsupported` when it
    /// clears more than fits in memory.
    fn check_targets(&self, sequence: &[Entry]) -> Result<()> {
        let mut zeros = 0_u64;
        let mut file_len = self.device.len();
        for entry in sequence {
            let damaged = |expected: String, found: String| {
                Error::damaged(
                    format!("VHDX log entry {}", entry.sequence),
                    self.offset.saturating_add(entry.offset),
                    expected,
                    found,
                )
                .with_hint("opening the VHDX", super::DAMAGED_HINT)
            };
            if entry.flushed > self.device.len() {
                return Err(damaged(
                    format!("a file of at least {} bytes", entry.flushed),
                    format!("{}: it was cut short", self.device.len()),
                ));
            }
            if entry.last > MAX_FILE_LEN {
                return Err(damaged(
                    "a file of at most 128 TiB".into(),
                    format!("{} bytes", entry.last),
                ));
            }
            file_len = file_len.max(entry.last);
            for descriptor in &entry.descriptors {
                let (offset, length) = match *descriptor {
                    Descriptor::Data { offset, .. } => (offset, LOG_SECTOR),
                    Descriptor::Zero { offset, length } => {
                        zeros = zeros.saturating_add(length);
                        (offset, length)
                    }
                };
                let end = offset.saturating_add(length);
                let log_end = self.offset.saturating_add(self.length);
                let allowed = offset >= REGION_TABLES[0]
                    && end <= file_len
                    && (end <= self.offset || offset >= log_end);
                if !allowed {
                    return Err(damaged(
                        "changes behind the headers, outside the log, in the file".into(),
                        format!("one from {offset:#x} to {end:#x}"),
                    ));
                }
            }
        }
        if zeros > MAX_ZEROS {
            return Err(Error::unsupported(
                format!(
                    "the VHDX was not closed cleanly, and its log clears {zeros} bytes, more than coldfix replays"
                ),
                "attach the disk once on a Windows machine (`Mount-VHD`, then `Dismount-VHD`), which replays the log",
            ));
        }
        Ok(())
    }

    /// Does what a descriptor says; how many bytes that were.
    fn apply(&self, descriptor: Descriptor) -> Result<u64> {
        match descriptor {
            Descriptor::Data {
                offset,
                leading,
                trailing,
                sector,
            } => {
                let mut content = self.read_sector(sector)?;
                // The head and the tail of the sector give way to the bytes that they displaced.
                let _ = bytes::put(&mut content, 0, &leading);
                let _ = bytes::put(
                    &mut content,
                    SECTOR_DATA.saturating_add(SECTOR_DATA_LEN),
                    &trailing,
                );
                self.device.write_at(offset, &content)?;
                Ok(LOG_SECTOR)
            }
            Descriptor::Zero { offset, length } => {
                let zeros = vec![0; usize::try_from(length.min(MIB)).unwrap_or(0)];
                let mut done = 0;
                while done < length {
                    let rest = usize::try_from(length.saturating_sub(done)).unwrap_or(usize::MAX);
                    let piece = zeros.get(..rest.min(zeros.len())).unwrap_or_default();
                    self.device.write_at(offset.saturating_add(done), piece)?;
                    done = done.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                }
                Ok(length)
            }
        }
    }
}
