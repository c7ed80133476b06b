// SPDX-License-Identifier: GPL-2.0-or-later
//! The checkpoint of `$LogFile` and the four tables it points to.
//!
//! ```text
//! checkpoint:  0 u32 major   8 u64 start LSN   10, 18, 20, 28 u64 LSN of: open attributes, names, dirty pages, transactions
//!              30, 34, 38, 3C u32 their lengths (0 = no table)   50 u32 bytes per cluster
//! table, 18:   0 u16 entry size   2 u16 entries   4 u16 in use   C u32 free goal   10 u32 first free   14 u32 last free
//! entry:       0 u32 FFFFFFFF = in use, else the next free one; its offset in the table is its name
//!
//! major 1   open attribute, 28: 4 u32 bytes in an index block   8 u32 type   10 u64 file   18 u64 LSN
//!           dirty page:         C u32 n   10 u64 VCN   18 u64 LSN   20 LCN[n]
//! major 0   open attribute, 2C: 8 u64 file   10 u64 LSN   1C u32 type   28 u32 bytes in an index block
//!           dirty page:         C u32 n   14 u64 VCN   1C u64 LSN   24 LCN[n]
//! transaction, 28:  4 u8 state   8 u64 first LSN   10 u64 previous LSN   18 u64 undo-next LSN
//! names:       { u16 entry   u16 bytes   UTF-16   u16 0 } ..., entry 0 ends
//! ```
//!
//! Source: the Linux driver ntfs3 (fslog.c) and ntfs-3g (logfile.h).

use std::collections::BTreeMap;

use super::operation;
use super::pages::Chain;
use super::record::{Kind, LogRecord};
use crate::bytes;
use crate::error::{Error, Result};
use crate::volume::ntfs::format::FileReference;
use crate::volume::ntfs::record::utf16;

/// Bytes of a table's header.
const TABLE_HEADER: usize = 0x18;
/// Bytes of a transaction's entry.
const TRANSACTION_ENTRY: usize = 0x28;
/// Bytes of a page of the cache, in which dirty clusters are counted.
const CACHE_PAGE: u32 = 0x1000;

/// A checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// 0 up to Windows 7, 1 since Windows 10: the shape of the entries.
    pub(super) major: u32,
    /// The analysis starts with the record after this one; 0: with the checkpoint.
    pub(super) start: u64,
    /// LSN and length of the four tables.
    tables: [(u64, u32); 4],
}

/// An entry of the open attribute table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenAttribute {
    /// The attribute's type.
    pub(super) kind: u32,
    /// The file it belongs to.
    pub(super) file: FileReference,
    /// Its records are newer than this.
    pub(super) opened: u64,
    /// Bytes in a block, of an index.
    pub(super) block_len: u32,
    /// Its name.
    pub(super) name: String,
}

/// An entry of the dirty page table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DirtyPage {
    /// Older records are on disk already.
    pub(super) oldest: u64,
    /// Where the page's clusters are; 0 where that is not known, [`FREED`] for those that were freed.
    pub(super) lcns: Vec<u64>,
}

/// The place of a cluster that was freed since.
pub(super) const FREED: u64 = u64::MAX;

/// An entry of the transaction table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Transaction {
    /// 1 active, 2 prepared, 3 committed.
    pub(super) state: u8,
    /// Its first record.
    pub(super) first: u64,
    /// Where its undo begins.
    pub(super) undo_next: u64,
}

/// Offset of a page's attribute in the open attribute table, and the page's first VCN.
pub(super) type PageKey = (u16, u64);

/// The four tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tables {
    /// Open attributes by the offset of their entry.
    pub(super) attributes: BTreeMap<u16, OpenAttribute>,
    /// Dirty pages.
    pub(super) pages: BTreeMap<PageKey, DirtyPage>,
    /// Transactions by the offset of their entry.
    pub(super) transactions: BTreeMap<u32, Transaction>,
}

/// Clusters that share an entry of the dirty page table.
pub(super) fn clusters_per_page(cluster_size: u32) -> u64 {
    u64::from(CACHE_PAGE.checked_div(cluster_size).unwrap_or(1).max(1))
}

impl Checkpoint {
    /// Reads the checkpoint at `lsn`. `cluster_size` is what the boot sector says, in bytes.
    pub(super) fn read(chain: &Chain<'_>, lsn: u64, cluster_size: u32) -> Result<Checkpoint> {
        let record = LogRecord::read(chain, lsn)?;
        let bad = |expected: &str, found: String| damaged("checkpoint", lsn, expected, found);
        if record.kind != Kind::Checkpoint || record.data.len() < 0x68 {
            let found = format!("{:?}, {:#x} bytes", record.kind, record.data.len());
            return Err(bad("a checkpoint of at least 0x68 bytes", found));
        }
        let u32 = |at| bytes::u32_le(&record.data, at).unwrap_or(0);
        let u64 = |at| bytes::u64_le(&record.data, at).unwrap_or(0);
        if u32(0) > 1 {
            return Err(bad("version 0 or 1", u32(0).to_string()));
        }
        let clusters = u32(0x50);
        if clusters != 0 && clusters != cluster_size {
            let expected = format!("clusters of {cluster_size} bytes, as in the boot sector");
            return Err(bad(&expected, clusters.to_string()));
        }
        let table = |at: usize, len: usize| (u64(at), u32(len));
        Ok(Checkpoint {
            major: u32(0),
            start: u64(8),
            tables: [
                table(0x10, 0x30),
                table(0x18, 0x34),
                table(0x20, 0x38),
                table(0x28, 0x3C),
            ],
        })
    }

    /// Reads the tables.
    pub(super) fn tables(&self, chain: &Chain<'_>, cluster_size: u32) -> Result<Tables> {
        let [attributes, names, pages, transactions] = self.tables;
        let mut tables = Tables::default();
        let (lsn, data) = dump(chain, attributes, operation::OPEN_ATTRIBUTE_TABLE)?;
        for (at, entry) in entries(&data, lsn)? {
            let at = u16::try_from(at).map_err(|_| {
                damaged(
                    "open attribute table",
                    lsn,
                    "an entry below 0x10000",
                    at.to_string(),
                )
            })?;
            tables
                .attributes
                .insert(at, open_attribute(entry, self.major, lsn)?);
        }
        let (lsn, data) = dump(chain, names, operation::ATTRIBUTE_NAMES)?;
        for (at, name) in attribute_names(&data, lsn)? {
            let attribute = tables.attributes.get_mut(&at).ok_or_else(|| {
                damaged(
                    "attribute names",
                    lsn,
                    "the name of an open attribute",
                    at.to_string(),
                )
            })?;
            attribute.name = name;
        }
        let (lsn, data) = dump(chain, pages, operation::DIRTY_PAGE_TABLE)?;
        for (_, entry) in entries(&data, lsn)? {
            let (key, page) = dirty_page(entry, self.major, cluster_size, lsn)?;
            if !tables.attributes.contains_key(&key.0) {
                let found = format!("{:#x}", key.0);
                return Err(damaged("dirty page table", lsn, "an open attribute", found));
            }
            // Clusters beyond a page of the cache have several entries.
            let known = tables.pages.entry(key).or_insert_with(|| page.clone());
            known.oldest = known.oldest.min(page.oldest);
        }
        let (lsn, data) = dump(chain, transactions, operation::TRANSACTION_TABLE)?;
        for (at, entry) in entries(&data, lsn)? {
            let u64 = |at| bytes::u64_le(entry, at).unwrap_or(0);
            let state = entry.get(4).copied().unwrap_or(0);
            if entry.len() != TRANSACTION_ENTRY || state > 3 {
                let found = format!("{:#x} bytes, state {state}", entry.len());
                return Err(damaged(
                    "transaction table",
                    lsn,
                    "entries of 0x28 bytes",
                    found,
                ));
            }
            // State 0 is no transaction yet: nothing was written for it.
            if state != 0 {
                let transaction = Transaction {
                    state,
                    first: u64(8),
                    undo_next: u64(0x18),
                };
                tables.transactions.insert(at, transaction);
            }
        }
        Ok(tables)
    }
}

/// The bytes of the table in the record `place`, with its LSN; none when the checkpoint gives it no length.
fn dump(chain: &Chain<'_>, place: (u64, u32), code: u16) -> Result<(u64, Vec<u8>)> {
    let (lsn, len) = place;
    if len == 0 {
        return Ok((lsn, Vec::new()));
    }
    let record = LogRecord::read(chain, lsn)?;
    if record.kind != Kind::Action {
        return Err(damaged(
            "table of the checkpoint",
            lsn,
            "an action",
            "a checkpoint".into(),
        ));
    }
    let action = record.action()?;
    let data = action.redo_data.unwrap_or_default();
    if action.redo != code || Some(data.len()) != usize::try_from(len).ok() {
        let found = format!("operation {:#x}, {:#x} bytes", action.redo, data.len());
        let expected = format!("operation {code:#x}, {len:#x} bytes");
        return Err(damaged("table of the checkpoint", lsn, &expected, found));
    }
    Ok((lsn, data.to_vec()))
}

/// The entries in use of a table, by their offset.
fn entries(table: &[u8], lsn: u64) -> Result<Vec<(u32, &[u8])>> {
    if table.is_empty() {
        return Ok(Vec::new());
    }
    let u16 = |at| bytes::u16_le(table, at).map_or(0, usize::from);
    let u32 = |at| bytes::u32_le(table, at).unwrap_or(u32::MAX);
    let (size, count) = (u16(0), u16(2));
    let body = table.get(TABLE_HEADER..).unwrap_or_default();
    if size < 8 || !size.is_multiple_of(4) || size.checked_mul(count) != Some(body.len()) {
        let found = format!("{count} entries of {size:#x} in {:#x} bytes", body.len());
        return Err(damaged("table", lsn, "entries that fill it", found));
    }
    let is_entry = |link: u32| {
        let at = usize::try_from(link)
            .ok()
            .and_then(|at| at.checked_sub(TABLE_HEADER));
        link == 0 || at.is_some_and(|at| at < body.len() && at.is_multiple_of(size))
    };
    let bad_link = |link: u32| damaged("table", lsn, "free links inside it", format!("{link:#x}"));
    for link in [u32(0x10), u32(0x14)] {
        if !is_entry(link) {
            return Err(bad_link(link));
        }
    }
    let mut used = Vec::new();
    let mut at = TABLE_HEADER;
    for entry in body.chunks_exact(size) {
        match bytes::u32_le(entry, 0).unwrap_or(0) {
            u32::MAX => used.push((u32::try_from(at).unwrap_or(u32::MAX), entry)),
            link if is_entry(link) => {}
            link => return Err(bad_link(link)),
        }
        at = at.saturating_add(size);
    }
    if used.len() != u16(4) {
        let found = format!("{} of {}", used.len(), u16(4));
        return Err(damaged(
            "table",
            lsn,
            "as many entries in use as it says",
            found,
        ));
    }
    Ok(used)
}

/// An entry of the open attribute table, without its name.
pub(super) fn open_attribute(entry: &[u8], major: u32, lsn: u64) -> Result<OpenAttribute> {
    let (len, kind, file, opened, block_len) = match major {
        0 => (0x2C, 0x1C, 8, 0x10, 0x28),
        _ => (0x28, 8, 0x10, 0x18, 4),
    };
    if entry.len() != len {
        let expected = format!("entries of {len:#x} bytes");
        return Err(damaged(
            "open attribute table",
            lsn,
            &expected,
            format!("{:#x}", entry.len()),
        ));
    }
    Ok(OpenAttribute {
        kind: bytes::u32_le(entry, kind).unwrap_or(0),
        file: FileReference::from_packed(bytes::u64_le(entry, file).unwrap_or(0)),
        opened: bytes::u64_le(entry, opened).unwrap_or(0),
        block_len: bytes::u32_le(entry, block_len).unwrap_or(0),
        name: String::new(),
    })
}

/// An entry of the dirty page table.
fn dirty_page(
    entry: &[u8],
    major: u32,
    cluster_size: u32,
    lsn: u64,
) -> Result<(PageKey, DirtyPage)> {
    let bad = |expected: &str, found: String| damaged("dirty page table", lsn, expected, found);
    let (vcn, oldest, lcns) = match major {
        0 => (0x14, 0x1C, 0x24),
        _ => (0x10, 0x18, 0x20),
    };
    let clusters = clusters_per_page(cluster_size);
    let count = bytes::u32_le(entry, 0x0C).unwrap_or(0);
    let len = usize::try_from(count)
        .unwrap_or(usize::MAX)
        .saturating_mul(8);
    let stored = bytes::slice(entry, lcns, len).filter(|_| u64::from(count) == clusters);
    let Some(stored) = stored else {
        return Err(bad(
            &format!("{clusters} clusters a page"),
            count.to_string(),
        ));
    };
    let (stored, _) = stored.as_chunks::<8>();
    let vcn = bytes::u64_le(entry, vcn).unwrap_or(0);
    if !vcn.is_multiple_of(clusters) {
        return Err(bad("a VCN where a page begins", format!("{vcn:#x}")));
    }
    let target = bytes::u32_le(entry, 4).unwrap_or(0);
    let target = u16::try_from(target)
        .map_err(|_| bad("the offset of an open attribute", format!("{target:#x}")))?;
    let page = DirtyPage {
        oldest: bytes::u64_le(entry, oldest).unwrap_or(0),
        lcns: stored.iter().map(|lcn| u64::from_le_bytes(*lcn)).collect(),
    };
    Ok(((target, vcn), page))
}

/// The names in a dump of attribute names, with the entries they belong to.
fn attribute_names(dump: &[u8], lsn: u64) -> Result<Vec<(u16, String)>> {
    let mut names = Vec::new();
    let mut at = 0_usize;
    while at < dump.len() {
        let cut = || {
            damaged(
                "attribute names",
                lsn,
                "names inside the table",
                format!("{at:#x}"),
            )
        };
        let entry = bytes::u16_le(dump, at).ok_or_else(cut)?;
        if entry == 0 {
            break;
        }
        let len = bytes::u16_le(dump, at.saturating_add(2)).map_or(0, usize::from);
        let name = bytes::slice(dump, at.saturating_add(4), len).ok_or_else(cut)?;
        names.push((entry, String::from_utf16_lossy(&utf16(name))));
        at = at.saturating_add(6).saturating_add(len);
    }
    Ok(names)
}

/// What is wrong with a structure in the record `lsn`.
pub(super) fn damaged(what: &str, lsn: u64, expected: &str, found: String) -> Error {
    Error::damaged(
        format!("{what} in record {lsn:#x} of $LogFile"),
        0,
        expected,
        found,
    )
}
