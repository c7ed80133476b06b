// SPDX-License-Identifier: GPL-2.0-or-later
//! The replay of `$LogFile`: does what was not on disk yet, and takes back what was never finished.
//!
//! ```text
//! redo, in order        a page that is dirty, a record that it may lack -> FILE, INDX: only where the structure's LSN is older
//!                                                                       -> bytes and bits: always, the last one wins
//! undo, newest first    transactions without an end                     -> always: after the redo the page has everything
//!
//! structure   where its clusters are -> read, sectors' ends put back -> the operation -> checked -> its LSN -> written
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
mod in_entries;
mod in_records;

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, HashSet};

use super::analysis::Analysis;
use super::operation::{self, Changes};
use super::record::{Action, Change, LogRecord};
use super::tables::{FREED, OpenAttribute, damaged};
use crate::bytes;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::volume::ntfs::bitmap;
use crate::volume::ntfs::format::{FileReference, attribute_type, record_number};
use crate::volume::ntfs::multi_sector;
use crate::volume::ntfs::record::Record;

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
    /// Files with other attributes that were changed.
    pub(in crate::volume::ntfs) others: BTreeSet<u64>,
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

/// A piece of what a record changes.
enum Part {
    /// Where it is: bytes from the start of the volume.
    At(u64),
    /// It is on the disk as it is to be, and not to be touched.
    OnDisk,
    /// Its cluster was freed.
    Freed,
    /// It is not known where it is.
    Unknown,
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
        let attribute = self.analysis.attribute_of(record.lsn, action)?;
        let is_index = attribute.kind == attribute_type::INDEX_ALLOCATION;
        let done = match operation::changes(change.code) {
            Changes::Record => self.in_record(record.lsn, action, &change, attribute, pass),
            Changes::Block => self.in_block(record.lsn, action, &change, attribute, pass),
            Changes::Value if is_index => {
                self.in_block(record.lsn, action, &change, attribute, pass)
            }
            Changes::Value => self.in_value(record.lsn, action, &change, attribute, pass),
            Changes::Bits => self.in_bits(record.lsn, action, &change, attribute, pass),
            Changes::Nothing | Changes::Unknown => {
                return Err(refused(
                    record.lsn,
                    &change,
                    attribute,
                    "a known operation",
                    "another",
                ));
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
    fn in_record(
        &mut self,
        lsn: u64,
        action: &Action<'_>,
        change: &Change<'_>,
        attribute: &OpenAttribute,
        pass: Pass,
    ) -> Result<Step> {
        let bad = |expected: &str, found: &str| refused(lsn, change, attribute, expected, found);
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
        let structure = match self.structure(lsn, action, change, attribute, pass, size)? {
            Ok(structure) => structure,
            Err(step) => {
                if step == Step::OnDisk {
                    self.done.records.insert(number);
                }
                return Ok(step);
            }
        };
        let named = |mismatch: Mismatch| {
            let change = (lsn, change);
            refused_in(
                change,
                &format!("MFT record {number}"),
                &mismatch.expected,
                &mismatch.found,
            )
        };
        let old_lsn = structure.lsn;
        let mut new = if change.code == operation::INITIALIZE_RECORD {
            in_records::initialize(number, structure.memory.clone(), change).map_err(named)?
        } else {
            let mut record = Record::in_memory(number, structure.memory.clone())
                .map_err(|fault| named(mismatch("a sound record", fault.to_string())))?;
            in_records::apply(&mut record, change).map_err(named)?;
            record
        };
        // After an undo the record is as old as it was: later redo passes must not take it for newer.
        let new_lsn = if pass == Pass::Redo { lsn } else { old_lsn };
        if !new.patch(8, &new_lsn.to_le_bytes()) {
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
    fn in_block(
        &mut self,
        lsn: u64,
        action: &Action<'_>,
        change: &Change<'_>,
        attribute: &OpenAttribute,
        pass: Pass,
    ) -> Result<Step> {
        let bad = |expected: &str, found: &str| refused(lsn, change, attribute, expected, found);
        let len = attribute.block_len;
        let is_index = attribute.kind == attribute_type::INDEX_ALLOCATION;
        if !is_index || !len.is_power_of_two() || !(512..=0x1_0000).contains(&len) {
            let found = format!("attribute {:#x}, blocks of {len:#x} bytes", attribute.kind);
            return Err(bad("a block of an index as its target", &found));
        }
        let index = (attribute.file, attribute.name.clone());
        let structure =
            match self.structure(lsn, action, change, attribute, pass, u64::from(len))? {
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
        let new_lsn = if pass == Pass::Redo {
            lsn
        } else {
            structure.lsn
        };
        if !new.starts_with(b"INDX") || !bytes::put(&mut new, 8, &new_lsn.to_le_bytes()) {
            return Err(bad("the header of an index block", "another"));
        }
        self.done.indexes.insert(index);
        let new = structure.protected(new);
        let new = new.ok_or_else(|| bad("an update sequence array", "none"))?;
        self.write(&structure, &new)?;
        Ok(Step::Done)
    }

    /// 08 on what is no index: bytes of a non-resident attribute.
    fn in_value(
        &mut self,
        lsn: u64,
        action: &Action<'_>,
        change: &Change<'_>,
        attribute: &OpenAttribute,
        pass: Pass,
    ) -> Result<Step> {
        let unnamed = attribute.kind == attribute_type::DATA && attribute.name.is_empty();
        let file = attribute.file.record;
        if unnamed && (file == record_number::MFT || file >= record_number::FIRST_USER) {
            // Users' data are not logged, nor bytes of $MFT without a record: the table must be wrong.
            let expected = "an attribute whose bytes Windows logs";
            return Err(refused(
                lsn,
                change,
                attribute,
                expected,
                "the content of a file",
            ));
        }
        let from = action
            .cluster_offset
            .saturating_add(u64::try_from(change.place()).unwrap_or(u64::MAX));
        let payload = change.bytes();
        self.check_room(
            action,
            from,
            u64::try_from(payload.len()).unwrap_or(u64::MAX),
        )
        .map_err(|found| {
            let expected = "bytes inside the clusters of the record";
            refused(lsn, change, attribute, expected, &found)
        })?;
        let parts = self.parts(lsn, action, attribute, pass, (from, payload.len()))?;
        let mut rest: &[u8] = &payload;
        let mut touched = false;
        for (part, len) in parts {
            let Some((data, after)) = rest.split_at_checked(len) else {
                break;
            };
            rest = after;
            match part {
                Part::At(place) => {
                    self.write_bytes(place, data)?;
                    touched = true;
                }
                Part::OnDisk => {}
                // What is behind a freed cluster is not written either.
                Part::Freed | Part::Unknown => break,
            }
        }
        if !touched {
            return Ok(Step::Void);
        }
        self.done.others.insert(file);
        Ok(Step::Done)
    }

    /// 15, 16: bits of a bitmap, counted from a byte of the target cluster.
    fn in_bits(
        &mut self,
        lsn: u64,
        action: &Action<'_>,
        change: &Change<'_>,
        attribute: &OpenAttribute,
        pass: Pass,
    ) -> Result<Step> {
        let bad = |expected: &str, found: &str| refused(lsn, change, attribute, expected, found);
        let volume = attribute.file.record == record_number::BITMAP
            && attribute.kind == attribute_type::DATA;
        if !volume && attribute.kind != attribute_type::BITMAP {
            return Err(bad("a bitmap as its target", "another attribute"));
        }
        let payload = change.bytes();
        let (Some(first), Some(count), 8) = (
            bytes::u32_le(&payload, 0),
            bytes::u32_le(&payload, 4),
            payload.len(),
        ) else {
            return Err(bad("the first bit and how many", "something else"));
        };
        let (first, end) = (
            u64::from(first),
            u64::from(first).saturating_add(u64::from(count)),
        );
        let byte = first.checked_div(8).unwrap_or(0);
        let len = end.div_ceil(8).saturating_sub(byte);
        let from = action
            .cluster_offset
            .saturating_add(u64::try_from(change.place()).unwrap_or(u64::MAX))
            .saturating_add(byte);
        self.check_room(action, from, len)
            .map_err(|found| bad("bits inside the clusters of the record", &found))?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let parts = self.parts(lsn, action, attribute, pass, (from, len))?;
        let mut at = byte.saturating_mul(8);
        let mut touched = false;
        for (part, len) in parts {
            match part {
                Part::At(place) => {
                    let mut bits = vec![0; len];
                    self.disk.device.read_at(place, &mut bits)?;
                    bitmap::fill(
                        &mut bits,
                        at,
                        first,
                        end,
                        change.code == operation::SET_BITS,
                    );
                    self.write_bytes(place, &bits)?;
                    touched = true;
                }
                Part::OnDisk => {}
                Part::Freed | Part::Unknown => break,
            }
            at = at.saturating_add(u64::try_from(len).unwrap_or(u64::MAX).saturating_mul(8));
        }
        if !touched {
            return Ok(Step::Void);
        }
        self.done.others.insert(attribute.file.record);
        Ok(Step::Done)
    }

    /// `len` bytes, `from` bytes behind the start of the target, are in the clusters that the record names; else what they are.
    fn check_room(&self, action: &Action<'_>, from: u64, len: u64) -> Result<(), String> {
        let clusters = u64::try_from(action.lcns.len()).unwrap_or(u64::MAX);
        let room = clusters.saturating_mul(u64::from(self.analysis.geometry.cluster_size));
        match from.saturating_add(len) <= room {
            true => Ok(()),
            false => Err(format!("{len:#x} bytes at {from:#x} of {room:#x}")),
        }
    }

    /// The structure of `len` bytes that a record changes, or why it is not to be changed.
    fn structure(
        &self,
        lsn: u64,
        action: &Action<'_>,
        change: &Change<'_>,
        attribute: &OpenAttribute,
        pass: Pass,
        len: u64,
    ) -> Result<Result<Structure, Step>> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let mut places = Vec::new();
        for (part, len) in self.parts(lsn, action, attribute, pass, (action.cluster_offset, len))? {
            match part {
                Part::At(place) => places.push((place, len)),
                // Whether a structure is on the disk is told by its LSN.
                Part::OnDisk => return Ok(Err(Step::OnDisk)),
                Part::Freed => return Ok(Err(Step::Void)),
                Part::Unknown => {
                    let expected = "clusters that are known";
                    return Err(refused(lsn, change, attribute, expected, "one that is not"));
                }
            }
        }
        let mut disk = Vec::new();
        for (place, len) in &places {
            let start = disk.len();
            disk.resize(start.saturating_add(*len), 0);
            let part = disk.get_mut(start..).unwrap_or_default();
            self.disk.device.read_at(*place, part)?;
        }
        let (magic, what) = match attribute.kind {
            attribute_type::INDEX_ALLOCATION => (b"INDX", "an index block"),
            _ => (b"FILE", "a record"),
        };
        let mut memory = disk.clone();
        if let Err(fault) = multi_sector::restore(&mut memory, magic, what, 0) {
            if pass == Pass::Redo && fills(change) {
                let memory = vec![0; disk.len()];
                return Ok(Ok(Structure {
                    places,
                    disk,
                    memory,
                    lsn: 0,
                }));
            }
            let later = self.filled.get(&key(action)).copied().unwrap_or(0);
            if pass == Pass::Redo && later > lsn {
                return Ok(Err(Step::Void));
            }
            let expected = format!("{what} that is whole");
            return Err(refused(
                lsn,
                change,
                attribute,
                &expected,
                &fault.to_string(),
            ));
        }
        let own = bytes::u64_le(&memory, 8).unwrap_or(0);
        let end = self.analysis.chain.end;
        if own > end {
            let expected = format!("no LSN above the end of the log, {end:#x}");
            let found = format!("{own:#x}: the volume was used with another log");
            return Err(refused(lsn, change, attribute, &expected, &found));
        }
        match pass {
            Pass::Redo if own >= lsn => Ok(Err(Step::OnDisk)),
            _ => Ok(Ok(Structure {
                places,
                disk,
                memory,
                lsn: own,
            })),
        }
    }

    /// Where the bytes are that a record is about: `from` bytes behind the start of its target, and how many.
    fn parts(
        &self,
        lsn: u64,
        action: &Action<'_>,
        attribute: &OpenAttribute,
        pass: Pass,
        (from, len): (u64, usize),
    ) -> Result<Vec<(Part, usize)>> {
        let cluster_size = u64::from(self.analysis.geometry.cluster_size);
        let mut parts = Vec::new();
        let mut at = from;
        let mut left = u64::try_from(len).unwrap_or(u64::MAX);
        while left > 0 {
            let (slot, inside) = (
                at.checked_div(cluster_size).unwrap_or(0),
                at.checked_rem(cluster_size).unwrap_or(0),
            );
            let len = left.min(cluster_size.saturating_sub(inside));
            let part = match self.cluster(lsn, action, attribute, pass, slot) {
                Cluster::At(lcn) => {
                    self.check_cluster(lsn, lcn)?;
                    Part::At(lcn.saturating_mul(cluster_size).saturating_add(inside))
                }
                Cluster::OnDisk => Part::OnDisk,
                Cluster::Freed => Part::Freed,
                Cluster::Unknown => Part::Unknown,
            };
            parts.push((part, usize::try_from(len).unwrap_or(usize::MAX)));
            at = at.saturating_add(len);
            left = left.saturating_sub(len);
        }
        Ok(parts)
    }

    /// Where a cluster of the target is: the first has slot 0.
    fn cluster(
        &self,
        lsn: u64,
        action: &Action<'_>,
        attribute: &OpenAttribute,
        pass: Pass,
        slot: u64,
    ) -> Cluster {
        let vcn = action.vcn.saturating_add(slot);
        let own = usize::try_from(slot)
            .ok()
            .and_then(|slot| action.lcns.get(slot).copied());
        let dirty = self.analysis.dirty_cluster(action.target, vcn);
        let structured = operation::changes(match pass {
            Pass::Redo => action.redo,
            Pass::Undo => action.undo,
        }) == Changes::Record
            || attribute.kind == attribute_type::INDEX_ALLOCATION;
        match (dirty, own) {
            (Some((_, FREED)), _) => Cluster::Freed,
            // Bytes have no LSN: what is on the disk must not be laid over by what is older.
            (Some((oldest, _)), _) if pass == Pass::Redo && !structured && lsn < oldest => {
                Cluster::OnDisk
            }
            (Some((_, lcn)), _) if lcn != 0 => Cluster::At(lcn),
            (_, Some(lcn)) if lcn != 0 && pass == Pass::Undo => Cluster::At(lcn),
            _ if structured && self.lookups.get() < LOOKUPS_MAX => {
                self.lookups.set(self.lookups.get().saturating_add(1));
                let file = attribute.file;
                match (self.disk.mapping)(file, attribute.kind, &attribute.name, vcn) {
                    Some(lcn) => Cluster::At(lcn),
                    None => Cluster::Unknown,
                }
            }
            _ => Cluster::Unknown,
        }
    }

    /// A cluster that may be written: of the volume, and neither of $Boot nor of `$LogFile`.
    fn check_cluster(&self, lsn: u64, lcn: u64) -> Result<()> {
        let geometry = &self.analysis.geometry;
        let inside = (geometry.boot_clusters()..geometry.clusters).contains(&lcn);
        let log = self
            .disk
            .log
            .iter()
            .any(|(first, end)| (*first..*end).contains(&lcn));
        if inside && !log {
            return Ok(());
        }
        let expected = "clusters of the volume apart from $Boot and $LogFile";
        Err(damaged("action", lsn, expected, format!("LCN {lcn:#x}")))
    }

    /// Writes a structure.
    fn write(&mut self, structure: &Structure, new: &[u8]) -> Result<()> {
        let mut rest = new;
        for (place, len) in &structure.places {
            let Some((part, after)) = rest.split_at_checked(*len) else {
                break;
            };
            self.write_bytes(*place, part)?;
            rest = after;
        }
        Ok(())
    }

    fn write_bytes(&mut self, place: u64, data: &[u8]) -> Result<()> {
        let end = place.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        self.sectors.extend(place / 512..end.div_ceil(512));
        if self.sectors.len() > SECTORS_MAX {
            return Err(Error::unsupported(
                "$LogFile holds more changes than are replayed",
                "let Windows carry them out: attach the disk to a Windows computer",
            ));
        }
        self.disk.device.write_at(place, data)
    }
}

/// Where a cluster is.
enum Cluster {
    At(u64),
    OnDisk,
    Freed,
    Unknown,
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

/// A FILE or INDX structure on the disk.
struct Structure {
    /// Where its pieces are, and how long they are.
    places: Vec<(u64, usize)>,
    /// Its bytes there.
    disk: Vec<u8>,
    /// The same with the sectors' ends put back; zeros where it is to be filled anew.
    memory: Vec<u8>,
    /// The last record that it has.
    lsn: u64,
}

impl Structure {
    /// What goes to the disk for `memory`: under the update sequence number after the one there.
    fn protected(&self, mut memory: Vec<u8>) -> Option<Vec<u8>> {
        let number = multi_sector::number(&self.disk).or_else(|| multi_sector::number(&memory));
        multi_sector::protect_as(&mut memory, multi_sector::next(number?)).then_some(memory)
    }
}

/// The refusal of a record of the log, with what it was about.
fn refused(
    lsn: u64,
    change: &Change<'_>,
    attribute: &OpenAttribute,
    expected: &str,
    found: &str,
) -> Error {
    let name = match attribute.name.as_str() {
        "" => String::new(),
        name => format!(" {name}"),
    };
    let what = format!(
        "attribute {:#x}{name} of MFT record {}",
        attribute.kind, attribute.file.record
    );
    refused_in((lsn, change), &what, expected, found)
}

fn refused_in((lsn, change): (u64, &Change<'_>), what: &str, expected: &str, found: &str) -> Error {
    let what = format!(
        "record {lsn:#x} of $LogFile, {} in {what}",
        operation::describe(change.code)
    );
    let place = u64::try_from(change.place()).unwrap_or(0);
    Error::damaged(what, place, expected, found)
}
