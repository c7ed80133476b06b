// SPDX-License-Identifier: GPL-2.0-or-later
//! What is known of a volume's journal before anything is done to it, as reports show it.
//!
//! ```text
//! clean     closed                                  every change is possible
//! idle      left open, nothing waits in it          the first change closes it
//! pending   changes of metadata wait in it          they are carried out in memory when the volume is opened, and on the disk
//!                                                   by the first change; not replayed: contents that they do not concern can be
//!                                                   overwritten
//! refused   it cannot be told what waits            nothing is changed
//! ```
//!
//! [`Volume::discard_journal`](super::Volume::discard_journal) lifts the last two where nothing was replayed, at a price.

use serde::Serialize;

/// What is to be thought of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JournalVerdict {
    /// Windows let go of the volume.
    Clean,
    /// Left open, but everything was on disk: it is closed by the first change.
    Idle,
    /// Changes of files, folders or permissions were not on disk when Windows stopped.
    Pending,
    /// It cannot be told what waits in it.
    Refused,
}

/// The state of a transaction that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TransactionState {
    /// It is to be taken back.
    Active,
    /// It is neither committed nor to be taken back.
    Prepared,
}

/// A transaction that was not over when Windows stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct OpenTransaction {
    /// Its number: the offset of its entry in the transaction table.
    pub id: u32,
    /// How far it got.
    pub state: TransactionState,
    /// The LSN of the record from which it is taken back, as `0x` and hexadecimal digits.
    pub undo_next_lsn: String,
}

/// How often an operation waits in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct WaitingOperation {
    /// Its name, such as `CreateAttribute`.
    pub name: String,
    /// Records to do again, as far as their page does not hold them already.
    pub redo: u64,
    /// Records to take back.
    pub undo: u64,
}

/// What became of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReplayVerdict {
    /// All that waited is carried out in what is read.
    Done,
    /// It could not be carried out; what is read is what was left on the disk.
    #[default]
    Refused,
}

/// What came of replaying a pending journal in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Replay {
    /// What became of it.
    pub verdict: ReplayVerdict,
    /// Why it was refused, and by which record.
    pub reason: Option<String>,
    /// Records done again.
    pub redone: u64,
    /// Records whose change the disk had already.
    pub on_disk: u64,
    /// Records whose clusters were freed since, or filled anew later.
    pub void: u64,
    /// Records taken back.
    pub undone: u64,
    /// Files whose content, inside their MFT record, was written and never logged: zeros may be there now.
    pub unlogged: Vec<ConcernedFile>,
}

/// An MFT record that changes in the journal concern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct ConcernedFile {
    /// The number of the MFT record.
    pub record: u64,
    /// The path of its file, as the volume is read; `null` where that cannot be told.
    pub path: Option<String>,
}

/// What is known of a volume's journal (NTFS: `$LogFile`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct JournalState {
    /// What is to be thought of it.
    pub verdict: JournalVerdict,
    /// In what way it was left open; `null` when it was closed, or that is not known.
    pub how: Option<String>,
    /// Why nothing may be changed: with the verdict `refused`, why it cannot be told what waits; with
    /// `pending`, why that may concern every file, or `null` where it does not.
    pub reason: Option<String>,
    /// What to think of before the volume is changed, beyond the verdict.
    pub warning: Option<String>,
    /// Its version, such as `2.0`; `null` where no part of it tells.
    pub version: Option<String>,
    /// The LSN of its last record, as `0x` and hexadecimal digits; `null` where it was not looked for or not found.
    pub end_lsn: Option<String>,
    /// Records since the start of the last checkpoint, as far as they could be read.
    pub records: u64,
    /// Transactions that are not over.
    pub transactions: u64,
    /// Pages that may not be on disk.
    pub pages: u64,
    /// Records to do again, as far as their page does not hold them already.
    pub redo: u64,
    /// Records to take back.
    pub undo: u64,
    /// The transactions that are not over; the first thousand.
    pub open_transactions: Vec<OpenTransaction>,
    /// The operations that wait.
    pub operations: Vec<WaitingOperation>,
    /// The MFT records concerned; the first thousand.
    pub files: Vec<ConcernedFile>,
    /// How many MFT records are concerned.
    pub concerned: u64,
    /// What came of replaying it; `null` where nothing waits, or that was not wanted.
    pub replay: Option<Replay>,
}

impl JournalState {
    /// What waited is carried out in what is read.
    pub fn is_replayed(&self) -> bool {
        let replay = self.replay.as_ref();
        replay.is_some_and(|replay| replay.verdict == ReplayVerdict::Done)
    }

    /// Why it could not be replayed.
    pub fn replay_refusal(&self) -> Option<&str> {
        self.replay.as_ref()?.reason.as_deref()
    }

    /// What waits, in numbers: `0 transactions, 11 pages; 47 records to do again, 0 to take back`.
    pub fn numbers(&self) -> String {
        let counted = |count: u64, what: &str| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{count} {what}{plural}")
        };
        format!(
            "{}, {}; {} to do again, {} to take back",
            counted(self.transactions, "transaction"),
            counted(self.pages, "page"),
            counted(self.redo, "record"),
            self.undo
        )
    }

    /// The first files concerned, in words: paths, else record numbers; empty when none is.
    pub fn names(&self, most: usize) -> String {
        let name = |file: &ConcernedFile| match &file.path {
            Some(path) => path.clone(),
            None => format!("MFT record {}", file.record),
        };
        let named: Vec<String> = self.files.iter().take(most).map(name).collect();
        let shown = u64::try_from(named.len()).unwrap_or(u64::MAX);
        match self.concerned.saturating_sub(shown) {
            0 => named.join(", "),
            more => format!("{} and {more} more", named.join(", ")),
        }
    }
}
