// SPDX-License-Identifier: GPL-2.0-or-later
//! Record pages of `$LogFile`: which pages hold the log, and where it ends.
//!
//! ```text
//! 0 "RCRD"   8 u64 last LSN (that starts here; a 1.1 tail page: the target offset)   10 u32 flags (1 = a record ends here)
//! 18 u16 next record offset   20 u64 last end LSN (that ends here)   3C u32 target offset (2.0 fast pages)   40 data
//!
//! 1.1:  restart restart tail tail | circular ...
//! 2.0:  restart restart 16 fast pages, 16 fast pages | circular ...
//! ```
//!
//! The newest state of a page is often only in a copy (tail or fast page). The chain is built forward from
//! the oldest page that is needed, with the best copy of each page. It is refused when it does not reach the
//! restart page's current LSN: then the newest page is lost, and nothing older may stand in for it.
//! It is refused too when pages or copies behind its end are newer than the end.
//!
//! Source: the Linux driver ntfs3 (fslog.c) and ntfs-3g (logfile.c); the way the chain is built is our own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::restart::{PAGE, PAGE_LEN, Restart};
use crate::bytes;
use crate::error::{Error, Result};
use crate::volume::ntfs::multi_sector;

/// Flag of a page: some record ends here.
const RECORD_END: u32 = 1;

/// Where the bytes of `$LogFile` come from.
pub(in crate::volume::ntfs) trait Source {
    /// Length of the file in bytes.
    fn len(&self) -> u64;

    /// Fills `buffer` from `offset` (bytes from the start of the file).
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;
}

/// The header of an intact record page, after a tail page's fields were put right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// The last record that starts here, or the one that fills the page.
    pub(super) last_lsn: u64,
    /// The last record that ends here.
    pub(super) last_end_lsn: u64,
    /// Some record ends here.
    pub(super) record_ends: bool,
    next_record: u16,
}

/// One page of the chain.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChainPage {
    /// Where the bytes are: in place, or in a copy.
    pub(super) source: u64,
    /// The sequence of LSNs in this page.
    pub(super) sequence: u64,
    /// Its header.
    pub(super) header: PageHeader,
}

/// A copy of a record page in the tail or fast pages.
#[derive(Clone, Copy, Debug)]
struct PageCopy {
    target: u64,
    source: u64,
    header: PageHeader,
}

/// The pages that hold the log, from the oldest one needed to its end.
pub(super) struct Chain<'a> {
    source: &'a dyn Source,
    /// The restart page that it was built for.
    pub(super) restart: Restart,
    pages: BTreeMap<u64, ChainPage>,
    /// The last record that is wholly there.
    pub(super) end: u64,
    last_read: RefCell<Option<(u64, Rc<Vec<u8>>)>>,
}

impl std::fmt::Debug for Chain<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Chain")
            .field("restart", &self.restart)
            .field("pages", &self.pages.len())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl<'a> Chain<'a> {
    /// Builds the chain from the page of the record `from`, and checks its end.
    pub(super) fn build(source: &'a dyn Source, restart: &Restart, from: u64) -> Result<Chain<'a>> {
        let copies = copies(source, restart)?;
        let mut chain = Chain {
            source,
            restart: restart.clone(),
            pages: BTreeMap::new(),
            end: 0,
            last_read: RefCell::new(None),
        };
        let (mut page, mut sequence) = (restart.page(from), restart.sequence(from));
        let mut previous = 0;
        for _ in 0..restart.circular_pages() {
            let in_place = intact(source, page)?.map(|(header, _)| (header, page));
            let of_copies = copies
                .iter()
                .filter(|copy| copy.target == page)
                .map(|copy| (copy.header, copy.source));
            let best = in_place
                .into_iter()
                .chain(of_copies)
                .filter(|(header, _)| {
                    let lsn = header.last_lsn;
                    let here = restart.sequence(lsn) == sequence && restart.page(lsn) == page;
                    (here || (previous != 0 && lsn == previous)) && lsn >= previous
                })
                // In place before a copy: the later of equals would win, the lower offset must.
                .max_by_key(|(header, at)| {
                    let order = (header.last_end_lsn, header.last_lsn, header.next_record);
                    (order, *at == page)
                });
            let Some((header, at)) = best else { break };
            let found = ChainPage {
                source: at,
                sequence,
                header,
            };
            chain.pages.insert(page, found);
            if header.record_ends {
                chain.end = header.last_end_lsn;
            }
            previous = header.last_lsn;
            (page, sequence) = restart.next_page(page, sequence);
        }
        chain.check_end((page, sequence), &copies)?;
        Ok(chain)
    }

    /// Nothing newer than the end may exist: neither in the restart page nor behind the end.
    fn check_end(&self, stop: (u64, u64), copies: &[PageCopy]) -> Result<()> {
        let (stop, sequence) = stop;
        let current = self.restart.current_lsn;
        if self.end < current {
            return Err(Error::damaged(
                "$LogFile",
                stop,
                format!("records up to LSN {current:#x}, as the restart page says"),
                format!(
                    "their end at LSN {:#x}: the newest page is lost or torn",
                    self.end
                ),
            ));
        }
        let continues = |place: u64, lsn: u64| {
            Error::damaged(
                "$LogFile",
                place,
                format!("nothing newer than the end of the log, LSN {:#x}", self.end),
                format!("LSN {lsn:#x}: a page between is lost or torn"),
            )
        };
        for copy in copies {
            let lsn = copy.header.last_end_lsn;
            if !self.pages.contains_key(&copy.target) && lsn > self.end {
                return Err(continues(copy.source, lsn));
            }
        }
        let mut page = self.restart.first_page();
        while page < self.restart.usable {
            if !self.pages.contains_key(&page)
                && let Some((header, _)) = intact(self.source, page)?
            {
                let expected = match page < stop {
                    true => sequence.wrapping_add(1),
                    false => sequence,
                };
                if self.restart.sequence(header.last_lsn) >= expected {
                    return Err(continues(page, header.last_lsn));
                }
            }
            page = page.saturating_add(PAGE_LEN);
        }
        Ok(())
    }

    /// The page in which the record `lsn` lies; an error when the chain does not hold it.
    pub(super) fn page(&self, offset: u64, sequence: u64) -> Result<&ChainPage> {
        self.pages
            .get(&offset)
            .filter(|page| page.sequence == sequence)
            .ok_or_else(|| {
                let expected = format!("a page of the log with sequence {sequence:#x}");
                Error::damaged("$LogFile", offset, expected, "none")
            })
    }

    /// The content of a page of the chain, its sectors' ends put back.
    pub(super) fn content(&self, page: &ChainPage) -> Result<Rc<Vec<u8>>> {
        if let Some((source, content)) = self.last_read.borrow().as_ref()
            && *source == page.source
        {
            return Ok(Rc::clone(content));
        }
        let Some((_, content)) = intact(self.source, page.source)? else {
            return Err(Error::damaged(
                "$LogFile",
                page.source,
                "the page read before",
                "another",
            ));
        };
        let content = Rc::new(content);
        *self.last_read.borrow_mut() = Some((page.source, Rc::clone(&content)));
        Ok(content)
    }
}

/// The record page at `offset` of the file; `None` when it is torn or no record page.
pub(super) fn intact(source: &dyn Source, offset: u64) -> Result<Option<(PageHeader, Vec<u8>)>> {
    let mut page = vec![0; PAGE];
    source.read_at(offset, &mut page)?;
    if multi_sector::restore(&mut page, b"RCRD", "record page", offset).is_err() {
        return Ok(None);
    }
    let u64 = |at| bytes::u64_le(&page, at).unwrap_or(0);
    let header = PageHeader {
        last_lsn: u64(8),
        last_end_lsn: u64(0x20),
        record_ends: bytes::u32_le(&page, 0x10).unwrap_or(0) & RECORD_END != 0,
        next_record: bytes::u16_le(&page, 0x18).unwrap_or(0),
    };
    Ok(Some((header, page)))
}

/// All copies that can stand for a page of the circular area.
fn copies(source: &dyn Source, restart: &Restart) -> Result<Vec<PageCopy>> {
    let mut copies = Vec::new();
    let mut at = 2_u64.saturating_mul(PAGE_LEN);
    let last = match restart.fast_pages {
        true => restart.first_page(),
        false => 4_u64.saturating_mul(PAGE_LEN),
    };
    while at < last {
        if let Some((mut header, page)) = intact(source, at)? {
            let target = if restart.fast_pages {
                bytes::u32_le(&page, 0x3C).map_or(0, u64::from)
            } else {
                // A tail page has its target where the last LSN was.
                std::mem::replace(&mut header.last_lsn, header.last_end_lsn)
            };
            // Whether the LSN fits the target is asked where the chain is built.
            let inside = (restart.first_page()..restart.usable).contains(&target);
            if inside && target.is_multiple_of(PAGE_LEN) {
                copies.push(PageCopy {
                    target,
                    source: at,
                    header,
                });
            }
        }
        at = at.saturating_add(PAGE_LEN);
    }
    Ok(copies)
}
