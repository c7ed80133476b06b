// SPDX-License-Identifier: GPL-2.0-or-later
//! `$LogFile` of this volume: reads it, says what is known of it, and writes the little that closing it takes.
//!
//! ```text
//! MFT record 2 -> $DATA -> logfile::judge -> verdict -> JournalState, with the names of the files concerned
//! closed page  -> the clusters of its first 2000 bytes
//! what waits   -> logfile::replay on an overlay, see `replay`
//! $Volume      -> $VOLUME_INFORMATION, flag 1 (dirty) -> MFT record 3 and its copy in $MFTMirr
//! ```
//!
//! Names are those that the volume has as it is read: replayed, or as it was left.
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::volume::{
    ConcernedFile, EntryKind, JournalState, JournalVerdict, OpenTransaction, Replay, ReplayVerdict,
    TransactionState, WaitingOperation,
};

use super::format::{FileReference, attribute_type, record_number};
use super::index::{FileName, namespace};
use super::logfile::{self, Verdict};
use super::mft::Mft;
use super::record::Form;
use super::replay::Outcome;
use super::runs::Piece;
use super::stream::{Content, Stream};
use super::walk::Tree;
use super::{clusters, state};

/// The bytes of `$LogFile`.
struct Bytes<'a> {
    mft: &'a Mft,
    stream: Stream,
}

impl logfile::Source for Bytes<'_> {
    fn len(&self) -> u64 {
        self.stream.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.stream.read_at(self.mft, offset, buffer)
    }
}

fn open(mft: &Mft) -> Result<Option<Bytes<'_>>> {
    let record = Arc::new(mft.system(record_number::LOG_FILE, "$LogFile")?);
    let stream = Stream::find(mft, &record, attribute_type::DATA, "")?;
    Ok(stream.map(|stream| Bytes { mft, stream }))
}

fn geometry(mft: &Mft) -> logfile::Geometry {
    logfile::Geometry {
        cluster_size: mft.boot.cluster_size,
        record_size: mft.boot.record_size,
        clusters: mft.boot.clusters,
    }
}

/// Reads the journal and judges it; what cannot be read is refused.
pub(super) fn judge(mft: &Mft) -> logfile::Journal {
    match open(mft) {
        Ok(Some(bytes)) => logfile::judge(&bytes, geometry(mft)),
        Ok(None) => logfile::Journal::refused("it has no content".into()),
        Err(fault) => logfile::Journal::refused(format!("it cannot be read ({fault})")),
    }
}

/// The clusters of the journal: first and the one after the last.
pub(super) fn clusters(mft: &Mft) -> Result<Vec<(u64, u64)>> {
    Ok(match open(mft)?.map(|bytes| bytes.stream.content) {
        Some(Content::NonResident { map, .. }) => clusters::ranges(map.runs()).collect(),
        _ => Vec::new(),
    })
}

/// Does what waits in the journal on `disk`; see [`logfile::Journal::replay`].
pub(super) fn replay(
    mft: &Mft,
    journal: &logfile::Journal,
    disk: &logfile::Disk<'_>,
) -> Result<logfile::Replayed> {
    let bytes = open(mft)?.ok_or_else(|| Error::damaged("$LogFile", 0, "content", "none"))?;
    journal.replay(&bytes, geometry(mft), disk)
}

/// What callers see of the journal, and of what became of it.
pub(super) fn describe(tree: &Tree, journal: &logfile::Journal, outcome: &Outcome) -> JournalState {
    /// How many transactions and files are listed; ours.
    const LISTED: usize = 1000;
    let none = logfile::Pending::default();
    let (verdict, reason, pending) = match &journal.verdict {
        Verdict::Clean => (JournalVerdict::Clean, None, &none),
        Verdict::Idle => (JournalVerdict::Idle, None, &none),
        Verdict::Pending(pending) => (
            JournalVerdict::Pending,
            pending.reach.everything.clone(),
            pending,
        ),
        Verdict::Refused(reason) => (JournalVerdict::Refused, Some(reason.clone()), &none),
    };
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let mut names = Names::new(tree);
    let mut concerned = |records: &BTreeSet<u64>| -> Vec<ConcernedFile> {
        let listed = records.iter().take(LISTED);
        let concerned = listed.map(|record| ConcernedFile {
            record: *record,
            path: names.path(*record),
        });
        concerned.collect()
    };
    let replay = match outcome {
        Outcome::NotNeeded | Outcome::Off => None,
        Outcome::Done(done) => Some(Replay {
            verdict: ReplayVerdict::Done,
            reason: None,
            redone: count(done.redone),
            on_disk: count(done.on_disk),
            void: count(done.void),
            undone: count(done.undone),
            unlogged: concerned(&done.unlogged),
        }),
        Outcome::Refused(reason) => Some(Replay {
            verdict: ReplayVerdict::Refused,
            reason: Some(reason.clone()),
            ..Replay::default()
        }),
    };
    let operations = pending.operations.iter();
    JournalState {
        verdict,
        how: journal.how.clone(),
        reason,
        warning: warning(tree, journal),
        version: journal
            .version()
            .map(|(major, minor)| format!("{major}.{minor}")),
        end_lsn: journal.end.map(|end| format!("{:#x}", end.lsn)),
        records: count(journal.records),
        transactions: count(pending.open.len()),
        pages: count(pending.pages),
        redo: count(pending.redo),
        undo: count(pending.undo),
        open_transactions: pending
            .open
            .iter()
            .take(LISTED)
            .map(|open| OpenTransaction {
                id: open.id,
                state: match open.prepared {
                    true => TransactionState::Prepared,
                    false => TransactionState::Active,
                },
                undo_next_lsn: format!("{:#x}", open.undo_next),
            })
            .collect(),
        operations: operations
            .map(|(code, (redo, undo))| WaitingOperation {
                name: logfile::name_of(*code),
                redo: count(*redo),
                undo: count(*undo),
            })
            .collect(),
        files: concerned(&pending.files),
        concerned: count(pending.files.len()),
        replay,
    }
}

/// A Windows that has its system on another volume can be hibernated without a trace on this one but the version.
fn warning(tree: &Tree, journal: &logfile::Journal) -> Option<String> {
    if journal.version() != Some((2, 0)) {
        return None;
    }
    let windows = tree.resolve("Windows/System32");
    if windows.is_ok_and(|node| node.is_some_and(|node| node.kind == EntryKind::Directory)) {
        return None;
    }
    Some(
        "the journal has version 2.0 and this volume has no Windows of its own: the Windows that used it may be \
         hibernated, or shut down with fast start-up, on another volume; if so, what is changed here is lost or \
         does damage when it resumes"
            .into(),
    )
}

/// Finds the paths of MFT records; each folder is looked up once.
struct Names<'a> {
    tree: &'a Tree,
    /// Folder and name of a record, by its number and sequence number.
    known: HashMap<(u64, u16), Option<(FileReference, String)>>,
}

impl<'a> Names<'a> {
    fn new(tree: &'a Tree) -> Names<'a> {
        let known = HashMap::new();
        Names { tree, known }
    }

    /// The path of the file with this record; `None` where a part of it cannot be told.
    fn path(&mut self, record: u64) -> Option<String> {
        /// Folders in folders; ours. Ends a ring.
        const DEEPEST: usize = 256;
        if record == record_number::ROOT {
            return Some("the root folder".into());
        }
        let mut parts = Vec::new();
        // Sequence number 0: whatever file has the record now.
        let mut at = FileReference {
            record,
            sequence: 0,
        };
        while at.record != record_number::ROOT {
            let (folder, name) = self.step(at)?;
            parts.push(name);
            at = folder;
            if parts.len() > DEEPEST {
                return None;
            }
        }
        parts.reverse();
        Some(parts.join("/"))
    }

    /// The folder that a file is in, and its name there.
    fn step(&mut self, file: FileReference) -> Option<(FileReference, String)> {
        let key = (file.record, file.sequence);
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let found = self.read(file).ok().flatten();
        self.known.insert(key, found.clone());
        found
    }

    fn read(&self, file: FileReference) -> Result<Option<(FileReference, String)>> {
        let mft = &self.tree.mft;
        let base = match file.sequence {
            0 => mft.read(file.record)?.base().unwrap_or(file),
            _ => file,
        };
        // Only what the base record itself holds: cheap whatever an attribute list says.
        let record = mft.resolve(base)?;
        let names = record.attributes().iter();
        let names = names.filter(|found| found.kind == attribute_type::FILE_NAME);
        let names = names.filter_map(|found| FileName::parse(record.value(found)?));
        let names: Vec<FileName> = names.collect();
        let long = names
            .iter()
            .find(|name| name.namespace != namespace::DOS)
            .or(names.first());
        Ok(long.map(|name| (name.parent, String::from_utf16_lossy(&name.name))))
    }
}

/// What closing the journal takes: its restart pages, and where they lie. Everything is checked.
fn closing(tree: &Tree, journal: &logfile::Journal) -> Result<(Vec<Piece>, Vec<u8>)> {
    let bad = |expected: &str, found: &str| Error::damaged("$LogFile", 0, expected, found);
    let bytes = open(&tree.mft)?.ok_or_else(|| bad("content", "none"))?;
    let pages = logfile::closed_page(journal, &bytes)?.repeat(2);
    let len = u64::try_from(pages.len()).unwrap_or(u64::MAX);
    let stream = &bytes.stream;
    let plain = !stream.is_compressed() && !stream.is_sparse() && !stream.is_encrypted();
    let map = match &stream.content {
        Content::NonResident { map, sizes, .. } if plain && sizes.initialised >= len => map,
        _ => return Err(bad("plain content in clusters", "another kind")),
    };
    clusters::check(&tree.mft, map, record_number::LOG_FILE)?;
    let pieces = map.pieces(0, len).unwrap_or_default();
    match pieces.is_empty() || pieces.iter().any(|piece| piece.place.is_none()) {
        true => Err(bad("clusters without holes", "a hole")),
        false => Ok((pieces, pages)),
    }
}

/// An error when the journal cannot be closed.
pub(super) fn check_closable(tree: &Tree, journal: &logfile::Journal) -> Result<()> {
    closing(tree, journal).map(drop)
}

/// Writes the restart pages that close the journal. Its clusters are overwritten in place; no metadata change.
pub(super) fn close(tree: &Tree, journal: &logfile::Journal) -> Result<()> {
    let (pieces, pages) = closing(tree, journal)?;
    tree.mft.write_pieces(&pieces, &pages)?;
    match judge(&tree.mft).uncleanness() {
        None => Ok(()),
        Some(how) => {
            let expected = "a clean journal after closing it";
            Err(Error::damaged("$LogFile", 0, expected, how))
        }
    }
}

/// Marks the volume dirty: Windows checks it when it starts.
pub(super) fn mark_dirty(tree: &Tree) -> Result<()> {
    let mft = &tree.mft;
    let mut record = mft.system(record_number::VOLUME, "$Volume")?;
    let information = record.first(attribute_type::VOLUME_INFORMATION);
    let at = information.and_then(|found| match found.form {
        Form::Resident { offset, len } if len >= 0x0C => offset.checked_add(0x0A),
        _ => None,
    });
    let flags = state::volume_flags(&record)?;
    let flags = (flags | state::DIRTY).to_le_bytes();
    if !at.is_some_and(|at| record.patch(at, &flags)) {
        let expected = "a $VOLUME_INFORMATION of 12 bytes";
        return Err(Error::damaged("$Volume", 0, expected, "none"));
    }
    mft.store(&record)
}
