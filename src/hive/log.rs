// SPDX-License-Identifier: GPL-2.0-or-later
//! Transaction logs: bringing a dirty hive to the state Windows would give it, and making sure that
//! Windows never replays an old log over an edit of ours.
//!
//! A hive is *dirty* when its base block's checksum is wrong or its two sequence numbers differ. Only then
//! are its logs looked at: up to three files beside it, .LOG1, .LOG2 and .LOG, in one of two formats that
//! the log's own base block tells apart (modules `new_format`, `old_format`). Since Windows 8.1 recent
//! changes may stand in the logs alone for up to an hour: an edit of an unrecovered hive is made on stale
//! data.
//!
//! # Why an old log cannot come back over an edit
//! After [`recover`], a caller edits the image, sets both sequence numbers to [`Recovered::next_sequence`],
//! and overwrites every log with [`neutralised`].
//! 1. Windows reads logs only for a dirty hive; what we leave is clean.
//! 2. A write that is cut short, ours or a later one by Windows, leaves the hive dirty, with a secondary
//!    number of at least `next_sequence - 1`. A log of the new format takes part only if its base block's
//!    number is not below that, and an entry only if it has exactly the next number. `next_sequence - 1` is
//!    above every number in any log, remnants included (one lower, and a log whose run began with the last
//!    entry would still take part), so no entry that exists today can be applied, neither alone nor behind
//!    a new one.
//! 3. A log of the old format is matched by its time of writing, not by numbers. Once a log's first sector
//!    is zero it has no base block, hence no time that could match, and its bitmap is gone as well. Where
//!    the hive's logs are of this format, a caller should also give the base block, and its copy in the
//!    first hive bin, a new time, so that an old copy of a log does not match either.
//! 4. A hive whose base block is damaged later has no number to compare with: Windows then takes the base
//!    block of the log with the latest entries. Against that, only the cleared first sectors help.
//! 5. Order on disk: hive, flush, logs, flush. If only the hive was written, 2 and the new time of 3
//!    hold until the logs are cleared. Zeroing the logs first could lose the only copy of the changes in them.
//!
//! Not handled: transactions of the kernel transaction manager that are still pending (.blf and
//! .regtrans-ms files); a note reports the flag.
//!
//! Source: msuhanov/regf, "Format of transaction log files" and "Dirty state of a hive".

mod choose;
mod new_format;
mod old_format;
mod replay;

use crate::error::{Error, Result};
use crate::hive::base_block::{BASE_BLOCK_SIZE, BaseBlock, FileType};
use choose::{Body, Log, Primary};
use replay::{Plan, bin_header, first_bin_fault};

/// The hive bins of a hive end below this: bit 31 of a cell's offset marks volatile cells. The format's.
const BINS_SIZE_LIMIT: u32 = 0x8000_0000;
/// The bytes of a log that [`neutralised`] clears: its base block and the head of what follows.
const NEUTRALISED_SIZE: usize = 1024;

/// A log file beside a hive, whole.
#[derive(Clone, Copy, Debug)]
pub struct LogFile<'a> {
    /// The file's name, for reports, and to tell .LOG1 and .LOG2, a pair, from .LOG.
    pub name: &'a str,
    /// Its content.
    pub bytes: &'a [u8],
}

/// What [`recover`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The hive was clean; the logs were not looked at, and the image is as it was.
    Clean,
    /// The hive was dirty; the image is what the logs make of it, and clean.
    Replayed,
    /// The hive was dirty and no log fits; the image is as it was. Windows would try to heal it, which may
    /// lose data.
    DirtyWithoutUsableLog,
}

/// What was taken from one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The log's name.
    pub log: String,
    /// The number of the first entry, or of a log of the old format.
    pub first_sequence: u32,
    /// The number of the last entry.
    pub last_sequence: u32,
    /// How many entries; 1 for a log of the old format.
    pub entries: usize,
    /// How many pages (of any size).
    pub pages: usize,
    /// How many bytes those pages have.
    pub bytes: u64,
}

/// A hive after [`recover`].
#[derive(Debug)]
pub struct Recovered {
    /// The hive. After [`State::Replayed`] its base block is valid: both sequence numbers are the last
    /// applied, type 0, sizes and checksum fit. Otherwise it is exactly the primary file.
    pub image: Vec<u8>,
    /// What was found.
    pub state: State,
    /// The logs that were applied, in their order.
    pub applied: Vec<Applied>,
    /// What a person should know, in plain words: what was ignored and why, gaps, damage.
    pub notes: Vec<String>,
    /// The sequence number for the next write: it and the number before it are above every number in the
    /// hive and in all its logs, remnants of earlier runs included. It wraps.
    pub next_sequence: u32,
}

/// A piece of the hive bins that a log holds.
#[derive(Clone, Copy, Debug)]
struct Page<'a> {
    /// Bytes from the first hive bin.
    offset: u32,
    bytes: &'a [u8],
}

/// Recovers the hive in `primary` from its logs, which may come in any order. Whatever the logs hold, the
/// image grows only by bytes that they hold, and is either recovered as a whole or left alone.
///
/// # Errors
/// `Damaged` when `primary` is no hive: shorter than a base block; a log itself; or without a base block
/// and hive bins that a log could complete.
pub fn recover(primary: Vec<u8>, logs: &[LogFile<'_>]) -> Result<Recovered> {
    if primary.len() < BASE_BLOCK_SIZE {
        let found = format!("{} bytes", primary.len());
        return Err(Error::damaged(
            "hive",
            0,
            "a base block of 4096 bytes",
            found,
        ));
    }
    let parsed = BaseBlock::parse(&primary);
    let valid = parsed.as_ref().ok().filter(|base| base.checksum_valid());
    if let Some(base) = valid
        && base.file_type != FileType::Primary
    {
        let number = u32::from(base.file_type);
        let found = format!("type {number}, a transaction log");
        return Err(Error::damaged(
            "hive base block",
            28,
            "type 0, a hive",
            found,
        ));
    }
    let mut files = logs.to_vec();
    // .LOG1 before .LOG2 before .LOG: the order in which Windows prefers them.
    files.sort_by_key(|file| {
        let name = file.name.to_ascii_lowercase();
        (name.ends_with(".log"), name)
    });
    let mut notes = Vec::new();
    let dirty = valid.is_none_or(BaseBlock::is_dirty);
    let sound = examine(&files, dirty, &mut notes);
    let plan = match dirty {
        true => {
            let primary = Primary {
                image: &primary,
                base: valid,
            };
            choose::choose(primary, &sound, &mut notes)
        }
        false => None,
    };
    let mut numbers = log_numbers(&files);
    numbers.extend(
        valid
            .iter()
            .flat_map(|base| [base.primary_sequence, base.secondary_sequence]),
    );
    match plan {
        Some(plan) => replayed(primary, &plan, numbers, notes),
        None => {
            // Without a base block and without a log to restore it from, this is no hive.
            let base = parsed?;
            let state = match dirty {
                true => State::DirtyWithoutUsableLog,
                false => State::Clean,
            };
            if base.has_pending_transactions() {
                notes.push(pending_transactions());
            }
            Ok(Recovered {
                state,
                applied: Vec::new(),
                notes,
                next_sequence: next_sequence(base.primary_sequence, &numbers),
                image: primary,
            })
        }
    }
}

/// Applies the plan and says what was done.
fn replayed(
    mut image: Vec<u8>,
    plan: &Plan<'_>,
    numbers: Vec<u32>,
    mut notes: Vec<String>,
) -> Result<Recovered> {
    if plan.base_from.is_some() {
        notes.push(String::from(
            "the hive's base block was restored from a log",
        ));
    }
    plan.apply(&mut image)?;
    let base = BaseBlock::parse(&image)?;
    let fault = first_bin_fault(base.bins_size, |offset| bin_header(&image, offset));
    if let Some(fault) = fault {
        let place = u64::from(fault.offset).saturating_add(0x1000);
        if plan.base_from.is_some() && fault.offset == 0 {
            // Nothing but the log speaks for this file being the hive that the log belongs to.
            return Err(Error::damaged(
                "first hive bin",
                place,
                "\"hbin\"",
                fault.what,
            ));
        }
        notes.push(format!(
            "the hive bin at offset {place:#x} is damaged: {}",
            fault.what
        ));
    }
    if base.has_pending_transactions() {
        notes.push(pending_transactions());
    }
    let applied = plan.runs.iter().map(|run| {
        let pages = run.steps.iter().flat_map(|step| step.pages().flatten());
        let (pages, bytes) = pages.fold((0_usize, 0_u64), |(pages, bytes), page| {
            let size = u64::try_from(page.bytes.len()).unwrap_or(u64::MAX);
            (pages.saturating_add(1), bytes.saturating_add(size))
        });
        Applied {
            log: run.name.to_owned(),
            first_sequence: run.first_sequence,
            last_sequence: run.last_sequence,
            entries: run.steps.len(),
            pages,
            bytes,
        }
    });
    Ok(Recovered {
        state: State::Replayed,
        applied: applied.collect(),
        notes,
        next_sequence: next_sequence(base.primary_sequence, &numbers),
        image,
    })
}

/// The logs whose base block is sound and whose body can be read; the others are noted.
fn examine<'a>(files: &[LogFile<'a>], dirty: bool, notes: &mut Vec<String>) -> Vec<Log<'a>> {
    let mut logs = Vec::new();
    for &LogFile { name, bytes } in files {
        match examine_one(name, bytes) {
            Ok(log) => {
                if let Body::New(chain) = &log.body {
                    if !dirty && !chain.entries.is_empty() {
                        notes.push(format!(
                            "{name}: its entries were ignored: the hive is clean"
                        ));
                    }
                    if dirty {
                        notes.extend(chain.notes.iter().map(|note| format!("{name}: {note}")));
                    }
                }
                logs.push(log);
            }
            // On a clean hive, a log in any state is none of our business.
            Err(_) if !dirty => {}
            Err(why) if bytes.iter().all(|&byte| byte == 0) => {
                notes.push(format!("{name}: not used: {why}"));
            }
            Err(why) => notes.push(format!(
                "{name}: not usable: {why}; changes that stand in it alone are missing"
            )),
        }
    }
    logs
}

/// The log, or in plain words why it is none.
fn examine_one<'a>(name: &'a str, bytes: &'a [u8]) -> Result<Log<'a>, String> {
    if bytes.is_empty() {
        return Err(String::from("it is empty"));
    }
    if bytes.iter().all(|&byte| byte == 0) {
        return Err(String::from("it is all zeros"));
    }
    let base = BaseBlock::parse(bytes).map_err(|error| error.to_string())?;
    if !base.checksum_valid() {
        return Err(format!(
            "the checksum of its base block is {:#010x}, but should be {:#010x}",
            base.checksum, base.computed_checksum
        ));
    }
    if base.primary_sequence != base.secondary_sequence {
        return Err(format!(
            "it was being written when the system stopped (sequence numbers {} and {})",
            base.primary_sequence, base.secondary_sequence
        ));
    }
    let body = match base.file_type {
        FileType::NewLog => Body::New(new_format::read_chain(bytes, &base)),
        FileType::OldLog(_) => Body::Old(old_format::DirtySectors::read(bytes, &base)?),
        FileType::Primary | FileType::Other(_) => {
            let number = u32::from(base.file_type);
            return Err(format!("its file type is {number}, which is no log's"));
        }
    };
    Ok(Log {
        name,
        bytes,
        base,
        body,
    })
}

/// Every sequence number that stands anywhere in the logs and is not plain rubbish.
fn log_numbers(files: &[LogFile<'_>]) -> Vec<u32> {
    let mut numbers = Vec::new();
    for file in files {
        let base = BaseBlock::parse(file.bytes).ok();
        let base = base.filter(BaseBlock::checksum_valid);
        numbers.extend(
            base.iter()
                .flat_map(|base| [base.primary_sequence, base.secondary_sequence]),
        );
        numbers.extend(new_format::sequence_numbers(file.bytes, 0));
    }
    numbers
}

/// Two above the furthest of `numbers` and `current`, where "further" is less than half of all numbers
/// ahead of `current`.
fn next_sequence(current: u32, numbers: &[u32]) -> u32 {
    let ahead = numbers.iter().map(|&number| number.wrapping_sub(current));
    let furthest = ahead.filter(|&ahead| ahead < 1 << 31).max();
    let furthest = current.wrapping_add(furthest.unwrap_or_default());
    furthest.wrapping_add(2)
}

/// The content that a log is to be overwritten with once the hive has been edited: the same length, with
/// the first 1024 bytes zero, so that it has no base block. See the head of this module.
pub fn neutralised(log: &[u8]) -> Vec<u8> {
    let mut neutral = log.to_vec();
    neutral
        .iter_mut()
        .take(NEUTRALISED_SIZE)
        .for_each(|byte| *byte = 0);
    neutral
}

/// True when `a` comes before `b` as sequence numbers wrap.
fn is_before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) >= 1 << 31
}

/// Why a hive bins data size cannot be one.
fn bins_size_fault(bins_size: u32) -> Option<String> {
    let whole = bins_size != 0 && bins_size.checked_rem(4096) == Some(0);
    (!whole || bins_size > BINS_SIZE_LIMIT).then(|| {
        format!("its hive bins data size, {bins_size:#x}, is not a multiple of 4096 up to 2 GiB")
    })
}

fn pending_transactions() -> String {
    String::from(
        "the transaction manager had this hive open: transactions in its .blf and .regtrans-ms files are not looked at",
    )
}
