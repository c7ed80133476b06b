// SPDX-License-Identifier: GPL-2.0-or-later
//! `$LogFile`, the journal of the volume: is it clean, and if not, what waits in it, and what comes of it?
//!
//! ```text
//! restart    restart pages, LSN arithmetic        pages     which pages hold the log, where it ends
//! record     records across pages, their action   operation codes of actions
//! tables     checkpoint and its four tables       analysis  what was not on disk when Windows stopped
//! pending    how much of it, and what it concerns replay    does it, takes back what was not finished
//! close      the restart page of a closed journal
//! ```
//!
//! [`judge`] gives one of four verdicts. `Clean`: nothing to do. `Idle`: left open, but all was on disk.
//! `Pending`: some was not. `Refused`: it cannot be told. Nothing is written here but what [`Journal::replay`] writes to the
//! device that it is given.
//!
//! Source: the Linux driver ntfs3 (fslog.c) and ntfs-3g (logfile.c). Stricter than both
//! where they leave a choice: version 2.0 is never clean, for Windows writes 1.1 when it lets go of a
//! volume; and of a clean page whose fellow is bad it is not believed that it is the newer one.

mod analysis;
mod close;
mod operation;
mod pages;
mod pending;
mod record;
mod replay;
mod restart;
mod tables;

use crate::error::Result;

pub(super) use analysis::Geometry;
pub(super) use close::{End, closed_page};
pub(super) use operation::name_of;
pub(super) use pages::Source;
pub(super) use pending::Pending;
pub(super) use replay::{Disk, Replayed};

use analysis::Analysis;
use pages::Chain;
use record::walk;
use restart::{PAGE, PAGE_LEN, RestartPage};

/// MFT records that a text names before it only counts them.
const NAMED_MAX: usize = 12;

/// What is to be thought of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Windows let go of the volume.
    Clean,
    /// Left open, but everything was on disk.
    Idle,
    /// Something was not on disk.
    Pending(Pending),
    /// It cannot be told; nothing may be concluded from the journal. Says why.
    Refused(String),
}

/// The journal, judged.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    /// What is to be thought of it.
    pub(super) verdict: Verdict,
    /// In what way it was left open; `None` when it is clean, or that is not known.
    pub(super) how: Option<String>,
    /// Records since the start of the last checkpoint, where they could be read.
    pub(super) records: usize,
    /// The last record, where all records that are needed could be read.
    pub(super) end: Option<End>,
    newest: Option<RestartPage>,
}

impl Journal {
    /// A journal of which nothing is known but why.
    pub(super) fn refused(reason: String) -> Journal {
        Journal {
            verdict: Verdict::Refused(reason),
            how: None,
            records: 0,
            end: None,
            newest: None,
        }
    }

    /// Major and minor version of the newest restart page.
    pub(super) fn version(&self) -> Option<(u16, u16)> {
        self.newest.as_ref().map(|page| page.version)
    }

    /// The verdict in words; `None` when the journal is clean.
    pub(super) fn uncleanness(&self) -> Option<String> {
        let text = match &self.verdict {
            Verdict::Clean => return None,
            Verdict::Idle => format!(
                "idle: nothing is pending, 0 transactions, 0 pages ({} since the last checkpoint)",
                counted(self.records, "record")
            ),
            Verdict::Pending(pending) => format!(
                "pending: {}, {}, records: {} to redo, {} to undo{}{}",
                counted(pending.open.len(), "transaction"),
                counted(pending.pages, "page"),
                pending.redo,
                pending.undo,
                files(pending),
                match &pending.reach.everything {
                    Some(why) => format!("; every file may be concerned: {why}"),
                    None => String::new(),
                }
            ),
            Verdict::Refused(reason) => format!("cannot be analysed: {reason}"),
        };
        Some(match &self.how {
            Some(how) => format!("{text}; {how}"),
            None => text,
        })
    }
}

/// A number and a word for what is counted.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The MFT records concerned.
fn files(pending: &Pending) -> String {
    if pending.files.is_empty() {
        return String::new();
    }
    let named = pending.files.iter().take(NAMED_MAX);
    let named: Vec<String> = named.map(u64::to_string).collect();
    let more = match pending.files.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let concerned = counted(pending.files.len(), "MFT record");
    format!("; {concerned} concerned: {}{more}", named.join(", "))
}

/// Reads the journal and says what is in it.
pub(super) fn judge(source: &dyn Source, geometry: Geometry) -> Journal {
    let (first, second) = match (page(source, 0), page(source, PAGE_LEN)) {
        (Ok(first), Ok(second)) => (first, second),
        _ if source.len() < PAGE_LEN.saturating_mul(2) => {
            return Journal::refused("it is shorter than its two restart pages".into());
        }
        (Err(fault), _) | (_, Err(fault)) => return Journal::refused(fault.to_string()),
    };
    let empty = |page: &[u8; PAGE]| page.iter().all(|byte| *byte == 0xFF);
    if empty(&first) && empty(&second) {
        // What mkntfs and ntfs-3g leave. Windows makes a new journal of it.
        let erased = Journal::refused("its restart pages are erased, but not its records".into());
        return match rest_is_empty(source) {
            true => Journal {
                verdict: Verdict::Clean,
                ..erased
            },
            false => erased,
        };
    }
    let (newest, fellow) = match (RestartPage::parse(&first), RestartPage::parse(&second)) {
        (Ok(first), Ok(second)) if second.current_lsn > first.current_lsn => (second, None),
        (Ok(first), Ok(_)) => (first, None),
        (Err(first), Err(second)) => {
            let reason = format!("no good restart page (first: {first}; second: {second})");
            return Journal::refused(reason);
        }
        (Ok(good), Err(fault)) => (
            good,
            Some(format!("the second restart page is bad: {fault}")),
        ),
        (Err(fault), Ok(good)) => (
            good,
            Some(format!("the first restart page is bad: {fault}")),
        ),
    };
    let mut journal = Journal::refused(String::new());
    journal.how = newest.uncleanness();
    journal.verdict = match (&mut journal.how, fellow) {
        (None, None) => Verdict::Clean,
        (None, Some(fellow)) => Verdict::Refused(fellow),
        (Some(how), fellow) => {
            how.extend(fellow.map(|fellow| format!("; {fellow}")));
            match journal.analyse(&newest, source, geometry) {
                Ok(pending) if pending.is_empty() => Verdict::Idle,
                Ok(pending) => Verdict::Pending(pending),
                Err(fault) => Verdict::Refused(fault.to_string()),
            }
        }
    };
    journal.newest = Some(newest);
    journal
}

impl Journal {
    /// What waits; sets the end of the log and the number of records on the way.
    fn analyse(
        &mut self,
        newest: &RestartPage,
        source: &dyn Source,
        geometry: Geometry,
    ) -> Result<Pending> {
        let records = &mut self.records;
        analysed(newest, source, geometry, &mut self.end, |analysis| {
            *records = analysis.records;
            analysis.pending()
        })
    }

    /// Does on `disk`, an overlay, what waits in the journal, which was read from `source`. On an error `disk` is half
    /// changed and must be dropped.
    pub(super) fn replay(
        &self,
        source: &dyn Source,
        geometry: Geometry,
        disk: &Disk<'_>,
    ) -> Result<Replayed> {
        match &self.newest {
            Some(newest) => analysed(newest, source, geometry, &mut None, |analysis| {
                replay::replay(analysis, disk)
            }),
            None => Ok(Replayed::default()),
        }
    }
}

/// Runs the analysis pass and gives its result to `with`; sets `end` to the last record once all could be read.
fn analysed<T>(
    newest: &RestartPage,
    source: &dyn Source,
    geometry: Geometry,
    end: &mut Option<End>,
    with: impl FnOnce(&Analysis<'_>) -> Result<T>,
) -> Result<T> {
    let restart = newest.restart(source.len())?;
    let from = restart.oldest_lsn.min(restart.restart_lsn);
    let chain = Chain::build(source, &restart, from)?;
    // Every record that is needed must be readable, up to the last.
    let mut last = None;
    walk(&chain, from, |record| {
        let data_len = u32::try_from(record.data.len()).unwrap_or(u32::MAX);
        last = Some(End {
            lsn: record.lsn,
            data_len,
        });
        Ok(())
    })?;
    *end = last;
    with(&Analysis::run(&chain, restart.restart_lsn, geometry)?)
}

fn page(source: &dyn Source, offset: u64) -> Result<[u8; PAGE]> {
    let mut page = [0; PAGE];
    source.read_at(offset, &mut page)?;
    Ok(page)
}

/// The pages behind the restart pages hold nothing but FF, as far as looked at: those at each power of two.
/// The whole file can be 64 MiB and more.
fn rest_is_empty(source: &dyn Source) -> bool {
    let mut offset = PAGE_LEN.saturating_mul(2);
    while offset
        .checked_add(PAGE_LEN)
        .is_some_and(|end| end <= source.len())
    {
        if !page(source, offset).is_ok_and(|page| page.iter().all(|byte| *byte == 0xFF)) {
            return false;
        }
        offset = offset.saturating_mul(2);
    }
    true
}

#[cfg(test)]
mod tests;
