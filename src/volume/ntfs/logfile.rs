// SPDX-License-Identifier: GPL-2.0-or-later
//! `$LogFile`, the journal of the volume: is it clean, and if not, what waits in it? Nothing is written here.
//!
//! ```text
//! restart    restart pages, LSN arithmetic        pages     which pages hold the log, where it ends
//! record     records across pages, their action   operation codes of actions
//! tables     checkpoint and its four tables       analysis  what was not on disk when Windows stopped
//! ```
//!
//! [`judge`] gives one of four verdicts. `Clean`: nothing to do. `IdleDirty`: left open, but all was on disk.
//! `Pending`: some was not. `Refuse`: it cannot be told. Closing an idle journal and replaying a pending one
//! can start from the same [`pages::Chain`] and [`analysis::Analysis`].
//!
//! Source: the Linux driver ntfs3 (fslog.c) and ntfs-3g (logfile.c). Stricter than both
//! where they leave a choice: version 2.0 is never clean, for Windows writes 1.1 when it lets go of a
//! volume; and of a clean page whose fellow is bad it is not believed that it is the newer one.

mod analysis;
mod operation;
mod pages;
mod record;
mod restart;
mod tables;

use crate::error::Result;

pub(super) use analysis::{Geometry, Pending};
pub(super) use pages::Source;

use analysis::Analysis;
use pages::Chain;
use record::walk;
use restart::{PAGE, PAGE_LEN, Restart, RestartPage};

/// MFT records that a text names before it only counts them.
const NAMED_MAX: usize = 12;

/// What is in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Windows let go of the volume.
    Clean,
    /// Left open, but everything was on disk.
    IdleDirty {
        /// Records since the last checkpoint.
        records: usize,
        /// In what way it was left open.
        how: String,
    },
    /// Something was not on disk.
    Pending {
        /// What.
        pending: Pending,
        /// In what way it was left open.
        how: String,
    },
    /// It cannot be told; nothing may be concluded from the journal.
    Refuse {
        /// Why.
        reason: String,
        /// In what way it was left open, where that is known.
        how: Option<String>,
    },
}

impl Verdict {
    /// The verdict in words; `None` when the journal is clean.
    pub(super) fn uncleanness(&self) -> Option<String> {
        Some(match self {
            Verdict::Clean => return None,
            Verdict::IdleDirty { records, how } => format!(
                "idle: nothing is pending, 0 transactions, 0 pages ({} since the last checkpoint); {how}",
                counted(*records, "record")
            ),
            Verdict::Pending { pending, how } => format!(
                "pending: {}, {}, records: {} to redo, {} to undo{}; {how}",
                counted(pending.transactions, "transaction"),
                counted(pending.pages, "page"),
                pending.redo,
                pending.undo,
                files(pending)
            ),
            Verdict::Refuse { reason, how } => match how {
                Some(how) => format!("cannot be analysed: {reason}; {how}"),
                None => format!("cannot be analysed: {reason}"),
            },
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
pub(super) fn judge(source: &dyn Source, geometry: Geometry) -> Verdict {
    let refuse = |reason: String, how: Option<String>| Verdict::Refuse { reason, how };
    let (first, second) = match (page(source, 0), page(source, PAGE_LEN)) {
        (Ok(first), Ok(second)) => (first, second),
        _ if source.len() < PAGE_LEN.saturating_mul(2) => {
            return refuse("it is shorter than its two restart pages".into(), None);
        }
        (Err(fault), _) | (_, Err(fault)) => return refuse(fault.to_string(), None),
    };
    let empty = |page: &[u8; PAGE]| page.iter().all(|byte| *byte == 0xFF);
    if empty(&first) && empty(&second) {
        // What mkntfs and ntfs-3g leave. Windows makes a new journal of it.
        return match rest_is_empty(source) {
            true => Verdict::Clean,
            false => refuse(
                "its restart pages are erased, but not its records".into(),
                None,
            ),
        };
    }
    let (newer, fellow) = match (RestartPage::parse(&first), RestartPage::parse(&second)) {
        (Ok(first), Ok(second)) if second.current_lsn > first.current_lsn => (second, None),
        (Ok(first), Ok(_)) => (first, None),
        (Err(first), Err(second)) => {
            let reason = format!("no good restart page (first: {first}; second: {second})");
            return refuse(reason, None);
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
    let how = match (newer.uncleanness(), fellow) {
        (None, None) => return Verdict::Clean,
        (None, Some(fellow)) => return refuse(fellow, None),
        (Some(how), None) => how,
        (Some(how), Some(fellow)) => format!("{how}; {fellow}"),
    };
    let analysed = newer
        .restart(source.len())
        .and_then(|restart| pending(source, &restart, geometry));
    match analysed {
        Ok((records, pending)) if pending.pages == 0 && pending.undo == 0 => {
            Verdict::IdleDirty { records, how }
        }
        Ok((_, pending)) => Verdict::Pending { pending, how },
        Err(fault) => refuse(fault.to_string(), Some(how)),
    }
}

/// Records since the last checkpoint, and what waits.
fn pending(source: &dyn Source, restart: &Restart, geometry: Geometry) -> Result<(usize, Pending)> {
    let from = restart.oldest_lsn.min(restart.restart_lsn);
    let chain = Chain::build(source, restart, from)?;
    // Every record that is needed must be readable, up to the last.
    walk(&chain, from, |_| Ok(()))?;
    let analysis = Analysis::run(&chain, restart.restart_lsn, geometry)?;
    Ok((analysis.records, analysis.pending()?))
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
