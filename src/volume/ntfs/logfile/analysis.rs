// SPDX-License-Identifier: GPL-2.0-or-later
//! The analysis pass over `$LogFile`: what was not on disk yet when Windows stopped.
//!
//! ```text
//! last checkpoint -> open attributes, dirty pages, transactions
//! each record behind it: its transaction goes on or is over, its pages are dirty from here on
//! what is left: redo = records not older than their dirty page; undo = records of transactions without an end
//! ```
//!
//! Nothing is changed here. The replay goes over the same records: [`Analysis::redo`] gives them in order with
//! their page, [`Analysis::undo`] gives those to take back. All work is bounded by the log's length.
//!
//! Source: the Linux driver ntfs3 (fslog.c). Stricter: what does not fit refuses the whole log.

use super::operation;
use super::pages::Chain;
use super::record::{Action, Kind, LogRecord, walk};
use super::tables::{
    Checkpoint, DirtyPage, FREED, OpenAttribute, Tables, Transaction, clusters_per_page, damaged,
    open_attribute,
};
use crate::error::Result;

/// Most dirty pages that are kept: 4 GiB of dirty cache.
const PAGES_MAX: usize = 0x10_0000;
/// Most transactions that are kept: their table's count has 16 bits.
const TRANSACTIONS_MAX: usize = 0x1_0000;
/// Most looks at a cluster of a dirty page for being freed; ours, bounds time to some seconds.
const LOOKS_MAX: u64 = 0x400_0000;

/// What the analysis must know of the volume.
#[derive(Clone, Copy, Debug)]
pub(in crate::volume::ntfs) struct Geometry {
    /// Bytes in a cluster.
    pub(in crate::volume::ntfs) cluster_size: u32,
    /// Bytes in a record of $MFT.
    pub(in crate::volume::ntfs) record_size: u32,
    /// Clusters of the volume.
    pub(in crate::volume::ntfs) clusters: u64,
}

impl Geometry {
    /// Clusters of the boot sector and its code, 8 KiB, which are never logged.
    pub(super) fn boot_clusters(&self) -> u64 {
        0x2000_u64.div_ceil(u64::from(self.cluster_size.max(1)))
    }

    /// An error unless a record, or a dirty page, can have this cluster; 0 stands for none.
    pub(super) fn check_cluster(&self, what: &str, lsn: u64, lcn: u64) -> Result<()> {
        if lcn == 0 || (self.boot_clusters()..self.clusters).contains(&lcn) {
            return Ok(());
        }
        let expected = "clusters of the volume behind $Boot";
        Err(damaged(what, lsn, expected, format!("LCN {lcn:#x}")))
    }
}

/// The result of the analysis pass.
#[derive(Debug)]
pub(super) struct Analysis<'a> {
    /// The records.
    pub(super) chain: &'a Chain<'a>,
    /// What is known of the volume.
    pub(super) geometry: Geometry,
    /// The tables as they were when Windows stopped.
    pub(super) tables: Tables,
    /// Records behind the start of the checkpoint.
    pub(super) records: usize,
    /// Where the redo pass begins.
    pub(super) redo_lsn: u64,
    /// Looks at clusters of dirty pages so far.
    looks: u64,
}

impl<'a> Analysis<'a> {
    /// Runs the pass from `checkpoint` (an LSN) to the end of the log.
    pub(super) fn run(
        chain: &'a Chain<'a>,
        checkpoint: u64,
        geometry: Geometry,
    ) -> Result<Analysis<'a>> {
        let start = Checkpoint::read(chain, checkpoint, geometry.cluster_size)?;
        let tables = start.tables(chain, geometry.cluster_size)?;
        let first = match start.start {
            0 => checkpoint,
            lsn => LogRecord::read(chain, lsn)?.next,
        };
        if first > checkpoint {
            let found = format!("{first:#x}");
            return Err(damaged(
                "checkpoint",
                checkpoint,
                "a start before itself",
                found,
            ));
        }
        for lcn in tables.pages.values().flat_map(|page| &page.lcns) {
            geometry.check_cluster("dirty page table", checkpoint, *lcn)?;
        }
        let mut analysis = Analysis {
            chain,
            geometry,
            tables,
            records: 0,
            redo_lsn: first,
            looks: 0,
        };
        walk(chain, first, |record| {
            analysis.records = analysis.records.saturating_add(1);
            match record.kind {
                Kind::Checkpoint => Ok(()),
                Kind::Action => analysis.record(record, start.major),
            }
        })?;
        let pages = analysis.tables.pages.values().map(|page| page.oldest);
        let transactions = analysis.tables.transactions.values();
        let oldest = pages.chain(transactions.map(|transaction| transaction.first));
        let oldest = oldest.filter(|lsn| *lsn != 0).min();
        analysis.redo_lsn = oldest.map_or(first, |lsn| lsn.min(first));
        let needed = chain.restart.oldest_lsn;
        if analysis.redo_lsn < needed {
            let found = format!("LSN {:#x}", analysis.redo_lsn);
            let expected = format!("nothing needed before the oldest LSN, {needed:#x}");
            return Err(damaged("checkpoint", checkpoint, &expected, found));
        }
        Ok(analysis)
    }

    /// Takes one record into the tables.
    fn record(&mut self, record: &LogRecord, major: u32) -> Result<()> {
        let bad = |expected: &str, found: String| damaged("action", record.lsn, expected, found);
        let action = record.action()?;
        for code in [action.redo, action.undo] {
            check_known(record.lsn, code)?;
        }
        let id = record.transaction;
        if id
            .checked_sub(0x18)
            .is_none_or(|at| !at.is_multiple_of(0x28))
        {
            return Err(bad("the offset of a transaction", format!("{id:#x}")));
        }
        let transactions = &mut self.tables.transactions;
        if transactions.len() >= TRANSACTIONS_MAX && !transactions.contains_key(&id) {
            return Err(bad("at most 65536 transactions", "more".into()));
        }
        let transaction = transactions.entry(id).or_insert(Transaction {
            state: 1,
            first: record.lsn,
            undo_next: 0,
        });
        transaction.undo_next = match action.undo {
            operation::COMPENSATION => record.undo_next,
            _ => record.lsn,
        };
        match action.redo {
            operation::END_TOP_LEVEL_ACTION => transaction.undo_next = record.undo_next,
            operation::PREPARE => transaction.state = 2,
            operation::COMMIT => transaction.state = 3,
            operation::FORGET => {
                transactions.remove(&id);
            }
            operation::OPEN_ATTRIBUTE => {
                let entry = action.redo_data.unwrap_or_default();
                let mut attribute = open_attribute(entry, major, record.lsn)?;
                let name = action.undo_data.unwrap_or_default();
                attribute.name =
                    String::from_utf16_lossy(&crate::volume::ntfs::record::utf16(name));
                self.tables.attributes.insert(action.target, attribute);
            }
            operation::DELETE_DIRTY_CLUSTERS => self.freed(record.lsn, &action)?,
            operation::HOT_FIX => self.hot_fix(&action),
            code if operation::changes_clusters(code) && !action.lcns.is_empty() => {
                self.dirty(record.lsn, &action)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The record's pages are dirty from here on.
    fn dirty(&mut self, lsn: u64, action: &Action<'_>) -> Result<()> {
        self.attribute_of(lsn, action)?;
        let clusters = clusters_per_page(self.geometry.cluster_size);
        for (vcn, lcn) in (action.vcn..).zip(&action.lcns) {
            self.geometry.check_cluster("action", lsn, *lcn)?;
            let slot = vcn.checked_rem(clusters).unwrap_or(0);
            let key = (action.target, vcn.saturating_sub(slot));
            if self.tables.pages.len() >= PAGES_MAX && !self.tables.pages.contains_key(&key) {
                let found = format!("more than {PAGES_MAX}");
                return Err(damaged("action", lsn, "fewer dirty pages", found));
            }
            let page = self.tables.pages.entry(key).or_insert_with(|| DirtyPage {
                oldest: lsn,
                lcns: vec![0; usize::try_from(clusters).unwrap_or(1)],
            });
            let place = page
                .lcns
                .get_mut(usize::try_from(slot).unwrap_or(usize::MAX));
            if let Some(place) = place {
                *place = *lcn;
            }
        }
        Ok(())
    }

    /// The open attribute of a record that changes clusters, which must be older than the record.
    pub(super) fn attribute_of(&self, lsn: u64, action: &Action<'_>) -> Result<&OpenAttribute> {
        let found = self.tables.attributes.get(&action.target);
        found
            .filter(|attribute| attribute.opened < lsn)
            .ok_or_else(|| {
                let found = found.map_or("none".into(), |found| {
                    format!("one opened at LSN {:#x}", found.opened)
                });
                damaged("action", lsn, "an open attribute as its target", found)
            })
    }

    /// Dirty pages in freed clusters need nothing any more.
    fn freed(&mut self, lsn: u64, action: &Action<'_>) -> Result<()> {
        let mut freed = freed_clusters(lsn, action)?;
        freed.sort_unstable();
        // Afterwards the last range that begins at or before a cluster reaches as far as any of them.
        let mut reach = 0;
        for (_, end) in &mut freed {
            reach = reach.max(*end);
            *end = reach;
        }
        let (Some((first, _)), Some((_, last))) = (freed.first(), freed.last()) else {
            return Ok(());
        };
        let inside = *first..*last;
        let pages = u64::try_from(self.tables.pages.len()).unwrap_or(u64::MAX);
        let clusters = clusters_per_page(self.geometry.cluster_size);
        self.looks = self.looks.saturating_add(pages.saturating_mul(clusters));
        if self.looks > LOOKS_MAX {
            let found = "too many of them".into();
            return Err(damaged("action", lsn, "ranges of clusters", found));
        }
        let dirty = self.tables.pages.values_mut();
        for lcn in dirty.flat_map(|page| &mut page.lcns) {
            if !inside.contains(lcn) {
                continue;
            }
            let before = freed.partition_point(|(start, _)| *start <= *lcn);
            let range = before.checked_sub(1).and_then(|at| freed.get(at));
            if range.is_some_and(|(_, end)| *lcn < *end) {
                *lcn = FREED;
            }
        }
        Ok(())
    }

    /// A bad cluster of a dirty page was replaced.
    fn hot_fix(&mut self, action: &Action<'_>) {
        let clusters = clusters_per_page(self.geometry.cluster_size);
        let slot = action.vcn.checked_rem(clusters).unwrap_or(0);
        let key = (action.target, action.vcn.saturating_sub(slot));
        let page = self.tables.pages.get_mut(&key);
        let slot = usize::try_from(slot).unwrap_or(usize::MAX);
        if let (Some(page), Some(lcn)) = (page, action.lcns.first())
            && let Some(place) = page.lcns.get_mut(slot)
            && ![0, FREED].contains(place)
        {
            *place = *lcn;
        }
    }

    /// What the dirty pages say of this cluster of an open attribute: the oldest record that its page may lack, and where
    /// it is, as [`DirtyPage::lcns`] has it.
    pub(super) fn dirty_cluster(&self, target: u16, vcn: u64) -> Option<(u64, u64)> {
        let clusters = clusters_per_page(self.geometry.cluster_size);
        let slot = vcn.checked_rem(clusters)?;
        let page = self.tables.pages.get(&(target, vcn.checked_sub(slot)?))?;
        let lcn = page.lcns.get(usize::try_from(slot).ok()?)?;
        Some((page.oldest, *lcn))
    }

    /// Where this cluster of an open attribute is, as the dirty pages have it; `None` where they have none.
    pub(super) fn dirty_lcn(&self, target: u16, vcn: u64) -> Option<u64> {
        let (_, lcn) = self.dirty_cluster(target, vcn)?;
        Some(lcn).filter(|lcn| ![0, FREED].contains(lcn))
    }

    /// Gives each record that may have to be done again to `visit`, in order.
    pub(super) fn redo(
        &self,
        mut visit: impl FnMut(&LogRecord, &Action<'_>) -> Result<()>,
    ) -> Result<()> {
        let clusters = clusters_per_page(self.geometry.cluster_size);
        walk(self.chain, self.redo_lsn, |record| {
            if record.kind == Kind::Checkpoint {
                return Ok(());
            }
            let action = record.action()?;
            if !operation::changes_clusters(action.redo) || action.lcns.is_empty() {
                return Ok(());
            }
            let slot = action.vcn.checked_rem(clusters).unwrap_or(0);
            let key = (action.target, action.vcn.saturating_sub(slot));
            let Some(page) = self.tables.pages.get(&key) else {
                return Ok(());
            };
            // An older record is on disk; a page without cluster was deleted.
            if record.lsn < page.oldest || self.dirty_lcn(action.target, action.vcn).is_none() {
                return Ok(());
            }
            check_known(record.lsn, action.redo)?;
            visit(record, &action)
        })
    }

    /// Gives each record to take back to `visit`, with its transaction's number, newest first in each transaction.
    pub(super) fn undo(
        &self,
        mut visit: impl FnMut(u32, &LogRecord, &Action<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut read = 0_u64;
        for (id, transaction) in &self.tables.transactions {
            let mut lsn = transaction.undo_next;
            if transaction.state != 1 {
                continue;
            }
            while lsn != 0 {
                let bad =
                    |expected: &str, found: String| damaged("undo chain", lsn, expected, found);
                if lsn < self.chain.restart.oldest_lsn || lsn > self.chain.end {
                    return Err(bad(
                        "a record that the log still holds",
                        format!("{lsn:#x}"),
                    ));
                }
                let record = LogRecord::read(self.chain, lsn)?;
                // Records lie behind each other; made ones could begin anywhere in one another, and each be as long as the log.
                read = read.saturating_add(u64::try_from(record.data.len()).unwrap_or(u64::MAX));
                if read > self.chain.restart.usable {
                    let found = "more than the log has".into();
                    return Err(bad("records that lie behind each other", found));
                }
                if record.transaction != *id || record.kind != Kind::Action {
                    let found = format!("{:#x}", record.transaction);
                    return Err(bad(&format!("a record of transaction {id:#x}"), found));
                }
                // Each step goes back: no loops.
                if record.undo_next >= lsn {
                    return Err(bad(
                        "an older record next",
                        format!("{:#x}", record.undo_next),
                    ));
                }
                let action = record.action()?;
                if operation::changes_clusters(action.undo) && !action.lcns.is_empty() {
                    check_known(lsn, action.undo)?;
                    visit(*id, &record, &action)?;
                }
                lsn = record.undo_next;
            }
        }
        Ok(())
    }
}

/// An error unless the format of the operation is known.
fn check_known(lsn: u64, code: u16) -> Result<()> {
    match operation::is_known(code) {
        true => Ok(()),
        false => {
            let found = operation::describe(code);
            Err(damaged("action", lsn, "a known operation", found))
        }
    }
}

/// First cluster, and the one after the last, of each range that an action says was freed.
pub(super) fn freed_clusters(lsn: u64, action: &Action<'_>) -> Result<Vec<(u64, u64)>> {
    let bad = |found: String| damaged("action", lsn, "ranges of clusters", found);
    let (ranges, rest) = action.redo_data.unwrap_or_default().as_chunks::<16>();
    if !rest.is_empty() {
        return Err(bad(format!("{} odd bytes", rest.len())));
    }
    let range = |range: &[u8; 16]| {
        let [start, count] = [0, 8].map(|at| crate::bytes::u64_le(range, at).unwrap_or(0));
        let end = start.checked_add(count);
        let end = end.ok_or_else(|| bad(format!("{count:#x} at {start:#x}")))?;
        Ok((start, end))
    };
    ranges.iter().map(range).collect()
}
