// SPDX-License-Identifier: GPL-2.0-or-later
//! What waits in `$LogFile`: how much, in which transactions, and which MFT records and clusters it concerns.
//!
//! ```text
//! redo, undo records -> target attribute, VCN -> MFT record that is changed, or whose attribute is
//!                    -> LCNs, in the record and in the dirty page -> clusters
//!                    -> bits of $Bitmap set or cleared            -> clusters
//! freed clusters, replaced bad clusters                           -> clusters
//! ```
//!
//! The content of a file whose MFT records and clusters are not concerned is its own whatever becomes of what
//! waits: users' data are never in the log. Where that cannot be told ([`Reach::everything`]), all counts as
//! concerned. Clusters rather too many than too few.
//!
//! Source: the Linux driver ntfs3 (fslog.c).

use std::collections::{BTreeMap, BTreeSet};

use super::analysis::{Analysis, freed_clusters};
use super::operation;
use super::record::{Action, Kind, LogRecord, walk};
use super::tables::damaged;
use crate::bytes;
use crate::error::{Error, Result};
use crate::volume::ntfs::format::{attribute_type, record_number};

/// State of a transaction that is prepared: neither committed nor to be taken back.
const PREPARED: u8 = 2;

/// What waits in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::volume::ntfs) struct Pending {
    /// Pages that may not be on disk.
    pub(in crate::volume::ntfs) pages: usize,
    /// Records to do again, as far as their page does not hold them already.
    pub(in crate::volume::ntfs) redo: usize,
    /// Records to take back.
    pub(in crate::volume::ntfs) undo: usize,
    /// How often each operation is to be done again, and to be taken back.
    pub(in crate::volume::ntfs) operations: BTreeMap<u16, (usize, usize)>,
    /// Transactions that are not over: with records to take back, or prepared.
    pub(in crate::volume::ntfs) open: Vec<OpenTransaction>,
    /// MFT records concerned: those that are changed, and the owners of other attributes that are.
    pub(in crate::volume::ntfs) files: BTreeSet<u64>,
    /// Clusters concerned.
    pub(in crate::volume::ntfs) reach: Reach,
}

/// A transaction that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::volume::ntfs) struct OpenTransaction {
    /// Offset of its entry in the transaction table.
    pub(in crate::volume::ntfs) id: u32,
    /// It is prepared; else active.
    pub(in crate::volume::ntfs) prepared: bool,
    /// The record from which it is taken back.
    pub(in crate::volume::ntfs) undo_next: u64,
}

impl Pending {
    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.pages == 0 && self.undo == 0 && self.open.is_empty()
    }
}

/// The clusters that pending records concern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::volume::ntfs) struct Reach {
    /// Why everything counts as concerned.
    pub(in crate::volume::ntfs) everything: Option<String>,
    /// First cluster and the one after the last; sorted and apart from each other up to `sorted`.
    ranges: Vec<(u64, u64)>,
    sorted: usize,
}

impl Reach {
    /// Adds clusters, the last of them before `end`.
    pub(super) fn add(&mut self, first: u64, end: u64) {
        /// Ranges that are kept; ours, bounds memory.
        const MOST: usize = 1 << 20;
        if first >= end || self.everything.is_some() {
            return;
        }
        self.ranges.push((first, end));
        if self.ranges.len() < MOST.saturating_add(self.sorted) {
            return;
        }
        self.sort();
        if self.ranges.len() >= MOST {
            self.everything = Some("it concerns more clusters than can be kept".into());
            self.ranges = Vec::new();
            self.sorted = 0;
        }
    }

    /// Brings the ranges into order.
    pub(super) fn sort(&mut self) {
        self.ranges.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (first, end) in self.ranges.drain(..) {
            match merged.last_mut() {
                Some(last) if first <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((first, end)),
            }
        }
        self.sorted = merged.len();
        self.ranges = merged;
    }

    /// One of the clusters from `first` on, before `end`, that is concerned.
    pub(in crate::volume::ntfs) fn find(&self, first: u64, end: u64) -> Option<u64> {
        let at = self.ranges.partition_point(|range| range.1 <= first);
        let range = self.ranges.get(at).filter(|range| range.0 < end)?;
        Some(range.0.max(first))
    }
}

impl Analysis<'_> {
    /// Counts what waits and tells what it concerns, and checks what the records point to.
    pub(super) fn pending(&self) -> Result<Pending> {
        let mut pending = Pending {
            pages: self.tables.pages.len(),
            ..Pending::default()
        };
        self.redo(|record, action| {
            pending.redo = pending.redo.saturating_add(1);
            let (redo, _) = pending.operations.entry(action.redo).or_default();
            *redo = redo.saturating_add(1);
            self.concerns(record, action, action.redo, action.redo_data, &mut pending)
        })?;
        let mut open = BTreeSet::new();
        self.undo(|id, record, action| {
            pending.undo = pending.undo.saturating_add(1);
            let (_, undo) = pending.operations.entry(action.undo).or_default();
            *undo = undo.saturating_add(1);
            open.insert(id);
            self.concerns(record, action, action.undo, action.undo_data, &mut pending)
        })?;
        for (id, transaction) in &self.tables.transactions {
            let prepared = transaction.state == PREPARED;
            if prepared || open.contains(id) {
                pending.open.push(OpenTransaction {
                    id: *id,
                    prepared,
                    undo_next: transaction.undo_next,
                });
            }
        }
        if !pending.is_empty() {
            self.moved_clusters(&mut pending.reach)?;
        }
        pending.reach.sort();
        Ok(pending)
    }

    /// Clusters that were freed or replaced since the first record that is needed.
    fn moved_clusters(&self, reach: &mut Reach) -> Result<()> {
        walk(self.chain, self.redo_lsn, |record| {
            if record.kind == Kind::Checkpoint {
                return Ok(());
            }
            let action = record.action()?;
            match action.redo {
                operation::DELETE_DIRTY_CLUSTERS => {
                    for (first, end) in freed_clusters(record.lsn, &action)? {
                        reach.add(first, end);
                    }
                }
                operation::HOT_FIX => {
                    for lcn in &action.lcns {
                        reach.add(*lcn, lcn.saturating_add(1));
                    }
                }
                _ => {}
            }
            Ok(())
        })
    }

    /// Adds what one record concerns when `code` is done with `data`.
    fn concerns(
        &self,
        record: &LogRecord,
        action: &Action<'_>,
        code: u16,
        data: Option<&[u8]>,
        pending: &mut Pending,
    ) -> Result<()> {
        let reach = &mut pending.reach;
        pending
            .files
            .insert(self.target(record, action, code, reach)?);
        for (vcn, lcn) in (action.vcn..).zip(&action.lcns) {
            for lcn in [Some(*lcn), self.dirty_lcn(action.target, vcn)] {
                let lcn = lcn.filter(|lcn| *lcn != 0);
                lcn.into_iter()
                    .for_each(|lcn| reach.add(lcn, lcn.saturating_add(1)));
            }
        }
        if matches!(code, operation::SET_BITS | operation::CLEAR_BITS) {
            self.bits(record, action, data, reach)?;
        }
        Ok(())
    }

    /// Adds the clusters whose bits in $Bitmap a record sets or clears.
    fn bits(
        &self,
        record: &LogRecord,
        action: &Action<'_>,
        data: Option<&[u8]>,
        reach: &mut Reach,
    ) -> Result<()> {
        let attribute = self.attribute_of(record.lsn, action)?;
        if attribute.file.record != record_number::BITMAP {
            return Ok(());
        }
        let data = data.unwrap_or_default();
        let (first, count) = (bytes::u32_le(data, 0), bytes::u32_le(data, 4));
        // Bits count from a byte of the target cluster.
        let range = || {
            let byte = action.vcn.checked_mul(self.geometry.cluster_size.into())?;
            let byte = byte.checked_add(action.cluster_offset)?;
            let byte = byte.checked_add(action.record_offset.into())?;
            let first = byte.checked_mul(8)?.checked_add(first?.into())?;
            Some((first, first.checked_add(count?.into())?))
        };
        let (first, end) = range().ok_or_else(|| {
            let found = format!("{} bytes, VCN {:#x}", data.len(), action.vcn);
            damaged("action", record.lsn, "a range of bits of $Bitmap", found)
        })?;
        reach.add(first, end);
        Ok(())
    }

    /// The MFT record that a record changes, or whose attribute it changes.
    fn target(
        &self,
        record: &LogRecord,
        action: &Action<'_>,
        code: u16,
        reach: &mut Reach,
    ) -> Result<u64> {
        let bad = |expected: &str, found: String| damaged("action", record.lsn, expected, found);
        let cluster = u64::from(self.geometry.cluster_size);
        for lcn in &action.lcns {
            self.geometry.check_cluster("action", record.lsn, *lcn)?;
        }
        let attribute = self.attribute_of(record.lsn, action)?;
        let file = attribute.file.record;
        let unnamed = attribute.kind == attribute_type::DATA && attribute.name.is_empty();
        if unnamed && file == record_number::MFT {
            let place = action.vcn.checked_mul(cluster);
            let place = place.and_then(|place| place.checked_add(action.cluster_offset));
            let number =
                place.and_then(|place| place.checked_div(u64::from(self.geometry.record_size)));
            let number =
                number.ok_or_else(|| bad("a place in $MFT", format!("VCN {:#x}", action.vcn)))?;
            let everything = match (number, code) {
                (record_number::MFT, _) => Some("where $MFT itself lies may change"),
                (_, operation::UPDATE_NONRESIDENT_VALUE) => {
                    Some("bytes of $MFT are overwritten regardless of records")
                }
                _ => None,
            };
            if let (None, Some(why)) = (&reach.everything, everything) {
                reach.everything = Some(format!("{why} (record {:#x} of $LogFile)", record.lsn));
            }
            return Ok(number);
        }
        if unnamed
            && file >= record_number::FIRST_USER
            && code == operation::UPDATE_NONRESIDENT_VALUE
        {
            // Windows does not log users' data: the table of open attributes cannot be right.
            return Err(Error::refused(
                format!(
                    "record {:#x} of $LogFile would overwrite the content of the file in MFT record {file}",
                    record.lsn
                ),
                "let Windows close the journal: attach the disk to a Windows computer",
            ));
        }
        Ok(file)
    }
}
