// SPDX-License-Identifier: GPL-2.0-or-later
//! Codes of the operations that records of `$LogFile` describe, and what the analysis must know of each.
//!
//! Source: the Linux driver ntfs3 (fslog.c) and ntfs-3g (logfile.h). Codes 23 and 24 have no known format.

/// Takes an action back; its undo-next LSN skips what is undone already.
pub(super) const COMPENSATION: u16 = 0x01;
/// Overwrites a part of a non-resident attribute.
pub(super) const UPDATE_NONRESIDENT_VALUE: u16 = 0x08;
/// Clusters were freed: pages in them need nothing any more.
pub(super) const DELETE_DIRTY_CLUSTERS: u16 = 0x0A;
/// Sets bits, from a byte of a bitmap on.
pub(super) const SET_BITS: u16 = 0x15;
/// Clears them.
pub(super) const CLEAR_BITS: u16 = 0x16;
/// A bad cluster was replaced.
pub(super) const HOT_FIX: u16 = 0x17;
/// Ends a nested action, whose effect stays.
pub(super) const END_TOP_LEVEL_ACTION: u16 = 0x18;
/// The transaction is prepared.
pub(super) const PREPARE: u16 = 0x19;
/// The transaction is committed.
pub(super) const COMMIT: u16 = 0x1A;
/// The transaction is over.
pub(super) const FORGET: u16 = 0x1B;
/// A new entry of the open attribute table.
pub(super) const OPEN_ATTRIBUTE: u16 = 0x1C;
/// The open attribute table of a checkpoint.
pub(super) const OPEN_ATTRIBUTE_TABLE: u16 = 0x1D;
/// The attribute names of a checkpoint.
pub(super) const ATTRIBUTE_NAMES: u16 = 0x1E;
/// The dirty page table of a checkpoint.
pub(super) const DIRTY_PAGE_TABLE: u16 = 0x1F;
/// The transaction table of a checkpoint.
pub(super) const TRANSACTION_TABLE: u16 = 0x20;

/// The operation changes clusters: it is redone and undone, and makes their page dirty.
pub(super) fn changes_clusters(code: u16) -> bool {
    matches!(code, 0x02..=0x09 | 0x0B..=0x16 | 0x21..=0x25)
}

/// The operation's format is known.
pub(super) fn is_known(code: u16) -> bool {
    matches!(code, 0..=0x22 | 0x25)
}
