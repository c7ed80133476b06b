// SPDX-License-Identifier: GPL-2.0-or-later
//! The replay of `$LogFile`: does what was not on disk yet, and takes back what was never finished.
//!
//! ```text
//! redo, in order        a page that is dirty, a record that it may lack -> FILE, INDX: only where the structure's LSN is older
//!                                                                       -> bytes and bits: always, the last one wins
//! undo, newest first    transactions without an end                     -> always: after the redo the page has everything
//!
//! structure   where its clusters are -> read, sectors' ends put back -> the operation -> checked -> its LSN -> written
//!             places                                                    in_records, in_blocks, in_entries, in_bytes
//! ```
//!
//! Clusters are those of the dirty page table, for a file's own mapping can be older; where it does not have one of a
//! structure, the mapping is asked. Everything goes to the device given, which is an overlay: on the first thing that does not
//! fit the caller drops it, and nothing has happened. A structure that is torn or is none stops the replay, but for one that an
//! operation fills anew, now or later.
//!
//! Source: the Linux driver ntfs3 (fslog.c). Unlike it, a length without bytes is zeros, and a check that fails ends everything.
//! Not handled: operations 23 and 24, whose format nobody knows.

mod in_blocks;
mod in_bytes;
mod in_entries;
mod in_records;
mod places;

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, HashSet};

use super::analysis::Analysis;
use super::operation::{self, Changes};
use super::record::{Action, Change, LogRecord};
use super::tables::OpenAttribute;
use crate::bytes;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::volume::ntfs::format::{FileReference, attribute_type, record_number};
use crate::volume::ntfs::record::Record;
use places::Structure;

/// Sectors of 512 bytes that may be changed; ours, bounds memory. Twice the journal that Windows makes.
const SECTORS_MAX: usize = 0x4_0000;

/// Clusters whose place is looked up in the mapping of their file, which is read anew each time; ours, bounds time. Windows
/// logs the clusters of nearly all that it changes.
const LOOKUPS_MAX: usize = 0x4000;

/// The volume, as far as a replay must know it.
pub(in crate::volume::ntfs) struct Disk<'a> {
    /// Its clusters; an overlay.
    pub(in crate::volume::ntfs) device: &'a dyn Device,
    /// The clusters of `$LogFile`: the first and the one after the last.
    pub(in crate::volume::ntfs) log: &'a [(u64, u64)],
    /// Where a cluster of an attribute is by the file's own mapping, as it stands now.
    pub(in crate::volume::ntfs) mapping: &'a dyn Fn(FileReference, u32, &str, u64) -> Option<u64>,
}

/// What a replay did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::volume::ntfs) struct Replayed {
    /// Records done again.
    pub(in crate::volume::ntfs) redone: usize,
    /// Records whose change the disk had already.
    pub(in crate::volume::ntfs) on_disk: usize,
    /// Records whose clusters were freed since, or are filled anew later.
    pub(in crate::volume::ntfs) void: usize,
    /// Records taken back.
    pub(in crate::volume::ntfs) undone: usize,
    /// MFT records that were changed, or found to have been.
    pub(in crate::volume::ntfs) records: BTreeSet<u64>,
    /// Indexes of which blocks were changed, or found to have been: their file and name.
    pub(in crate::volume::ntfs) indexes: BTreeSet<(FileReference, String)>,
    /// Files whose content in the MFT record was written and never logged: zeros are there now.
    pub(in crate::volume::ntfs) unlogged: BTreeSet<u64>,
}

/// What an operation expected, and what it found.
struct Mismatch {
    expected: String,
    found: String,
}

/// What comes of an operation on a structure.
type Outcome = Result<(), Mismatch>;

fn mismatch(expected: &str, found: String) -> Mismatch {
    let expected = expected.to_owned();
    Mismatch { expected, found }
}

/// In which of the two passes a record is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Redo,
    Undo,
}

/// Replays what `analysis` found on `disk`.
pub(super) fn replay(analysis: &Analysis<'_>, disk: &Disk<'_>) -> Result<Replayed> {
    let mut replay = Replay {
        analysis,
        disk,
        filled: filled(analysis)?,
        sectors: HashSet::new(),
        lookups: Cell::new(0),
        done: Replayed::default(),
    };
    analysis.redo(|record, action| replay.step(record, action, Pass::Redo))?;
    analysis.undo(|_, record, action| replay.step(record, action, Pass::Undo))?;
    Ok(replay.done)
}

/// A structure: the entry of its attribute, its cluster there, and where it is from that on.
type StructureKey = (u16, u64, u64);

/// The last record that fills each structure anew.
fn filled(analysis: &Analysis<'_>) -> Result<HashMap<StructureKey, u64>> {
    let mut filled = HashMap::new();
    analysis.redo(|record, action| {
        if fills(&action.redo_change()) {
            filled.insert(key(action), record.lsn);
        }
        Ok(())
    })?;
    Ok(filled)
}

fn key(action: &Action<'_>) -> StructureKey {
    (action.target, action.vcn, action.cluster_offset)
}

/// The structure need not be one before.
fn fills(change: &Change<'_>) -> bool {
    let magic: &[u8] = match change.code {
        operation::INITIALIZE_RECORD => b"FILE",
        operation::UPDATE_NONRESIDENT_VALUE => b"INDX",
        _ => return false,
    };
    change.place() == 0 && change.bytes().starts_with(magic)
}

struct Replay<'a> {
    analysis: &'a Analysis<'a>,
    disk: &'a Disk<'a>,
    filled: HashMap<StructureKey, u64>,
    /// Sectors written so far.
    sectors: HashSet<u64>,
    /// Clusters looked up so far.
    lookups: Cell<usize>,
    done: Replayed,
}

impl Replay<'_> {
    /// Does one record, or takes it back.
    fn step(&mut self, record: &LogRecord, action: &Action<'_>, pass: Pass) -> Result<()> {
        let change = match pass {
            Pass::Redo => action.redo_change(),
            Pass::Undo => action.undo_change(),
        };
        let doing = Doing {
            lsn: record.lsn,
            action,
            change,
            attribute: self.analysis.attribute_of(record.lsn, action)?,
            pass,
        };
        let done = match operation::changes(change.code) {
            Changes::Record => self.in_record(&doing),
            Changes::Block => self.in_block(&doing),
            Changes::Value if doing.is_in_index() => self.in_block(&doing),
            Changes::Value => self.in_value(&doing),
            Changes::Bits => self.in_bits(&doing),
            Changes::Nothing | Changes::Unknown => {
                Err(doing.refused("a known operation", "another"))
            }
        }?;
        let count = match (done, pass) {
            (Step::Done, Pass::Redo) => &mut self.done.redone,
            (Step::Done, Pass::Undo) => &mut self.done.undone,
            (Step::OnDisk, _) => &mut self.done.on_disk,
            (Step::Void, _) => &mut self.done.void,
        };
        *count = count.saturating_add(1);
        Ok(())
    }

    /// An operation on a record of $MFT.
    fn in_record(&mut self, doing: &Doing<'_>) -> Result<Step> {
        let bad = |expected: &str, found: &str| doing.refused(expected, found);
        let (action, change, attribute) = (doing.action, &doing.change, doing.attribute);
        let is_mft = attribute.file.record == record_number::MFT
            && attribute.kind == attribute_type::DATA
            && attribute.name.is_empty();
        let geometry = &self.analysis.geometry;
        let size = u64::from(geometry.record_size);
        let place = action.vcn.checked_mul(u64::from(geometry.cluster_size));
        let place = place.and_then(|place| place.checked_add(action.cluster_offset));
        let number = place
            .filter(|place| is_mft && place.is_multiple_of(size))
            .and_then(|place| place.checked_div(size));
        let Some(number) = number else {
            return Err(bad("a record of $MFT as its target", "another place"));
        };
        let structure = match self.structure(doing, size)? {
            Ok(structure) => structure,
            Err(step) => {
                if step == Step::OnDisk {
                    self.done.records.insert(number);
                }
                return Ok(step);
            }
        };
        let named = |mismatch: Mismatch| {
            let what = format!("MFT record {number}");
            doing.refused_in(&what, &mismatch.expected, &mismatch.found)
        };
        let mut new = if change.code == operation::INITIALIZE_RECORD {
            in_records::initialize(number, structure.memory.clone(), change).map_err(named)?
        } else {
            let mut record = Record::in_memory(number, structure.memory.clone())
                .map_err(|fault| named(mismatch("a sound record", fault.to_string())))?;
            in_records::apply(&mut record, change).map_err(named)?;
            record
        };
        if !new.patch(8, &doing.new_lsn(&structure).to_le_bytes()) {
            return Err(bad("a record header", "none"));
        }
        new.check_logged()
            .map_err(|fault| named(mismatch("a sound record afterwards", fault.to_string())))?;
        if change.code == operation::UPDATE_RESIDENT_VALUE && change.is_unlogged() {
            let changed = new.begins_at(change.record_offset);
            if changed.is_some_and(|found| found.kind == attribute_type::DATA) {
                self.done.unlogged.insert(number);
            }
        }
        self.done.records.insert(number);
        let new = structure.protected(new.memory().to_vec());
        let new = new.ok_or_else(|| bad("an update sequence array", "none"))?;
        self.write(&structure, &new)?;
        Ok(Step::Done)
    }

    /// An operation on a block of an index.
    fn in_block(&mut self, doing: &Doing<'_>) -> Result<Step> {
        let bad = |expected: &str, found: &str| doing.refused(expected, found);
        let (change, attribute) = (&doing.change, doing.attribute);
        let len = attribute.block_len;
        if !doing.is_in_index() || !len.is_power_of_two() || !(512..=0x1_0000).contains(&len) {
            let found = format!("attribute {:#x}, blocks of {len:#x} bytes", attribute.kind);
            return Err(bad("a block of an index as its target", &found));
        }
        let index = (attribute.file, attribute.name.clone());
        let structure = match self.structure(doing, u64::from(len))? {
            Ok(structure) => structure,
            Err(step) => {
                if step == Step::OnDisk {
                    self.done.indexes.insert(index);
                }
                return Ok(step);
            }
        };
        let named = |mismatch: Mismatch| bad(&mismatch.expected, &mismatch.found);
        let mut new = structure.memory.clone();
        in_blocks::apply(&mut new, change).map_err(named)?;
        in_blocks::check(&new).map_err(named)?;
        let new_lsn = doing.new_lsn(&structure).to_le_bytes();
        if !new.starts_with(b"INDX") || !bytes::put(&mut new, 8, &new_lsn) {
            return Err(bad("the header of an index block", "another"));
        }
        self.done.indexes.insert(index);
        let new = structure.protected(new);
        let new = new.ok_or_else(|| bad("an update sequence array", "none"))?;
        self.write(&structure, &new)?;
        Ok(Step::Done)
    }
}

/// What came of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Done,
    /// The disk has it already.
    OnDisk,
    /// Its clusters were freed since, or are filled anew later.
    Void,
}

/// A record of the log in one direction.
struct Doing<'a> {
    lsn: u64,
    action: &'a Action<'a>,
    /// What is done.
    change: Change<'a>,
    /// To which attribute.
    attribute: &'a OpenAttribute,
    pass: Pass,
}

impl Doing<'_> {
    /// The attribute is the blocks of an index.
    fn is_in_index(&self) -> bool {
        self.attribute.kind == attribute_type::INDEX_ALLOCATION
    }

    /// The LSN of the structure afterwards. After an undo it is as old as it was: later redo passes must not take it for newer.
    fn new_lsn(&self, structure: &Structure) -> u64 {
        match self.pass {
            Pass::Redo => self.lsn,
            Pass::Undo => structure.lsn,
        }
    }

    /// The refusal of the record, with what it was about.
    fn refused(&self, expected: &str, found: &str) -> Error {
        let name = match self.attribute.name.as_str() {
            "" => String::new(),
            name => format!(" {name}"),
        };
        let (kind, file) = (self.attribute.kind, self.attribute.file.record);
        let what = format!("attribute {kind:#x}{name} of MFT record {file}");
        self.refused_in(&what, expected, found)
    }

    /// The same, where that is known better.
    fn refused_in(&self, what: &str, expected: &str, found: &str) -> Error {
        let operation = operation::describe(self.change.code);
        let what = format!("record {:#x} of $LogFile, {operation} in {what}", self.lsn);
        let place = u64::try_from(self.change.place()).unwrap_or(0);
        Error::damaged(what, place, expected, found)
    }
}
