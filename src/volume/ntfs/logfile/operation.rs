// SPDX-License-Identifier: GPL-2.0-or-later
//! Codes of the operations that records of `$LogFile` describe: their names, and what each of them changes.
//!
//! Source: the Linux driver ntfs3 (fslog.c) and ntfs-3g (logfile.h). Codes 23 and 24 have no known format.

/// Takes an action back; its undo-next LSN skips what is undone already.
pub(super) const COMPENSATION: u16 = 0x01;
/// Fills a record of $MFT anew.
pub(super) const INITIALIZE_RECORD: u16 = 0x02;
/// Overwrites a part of a resident attribute.
pub(super) const UPDATE_RESIDENT_VALUE: u16 = 0x07;
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

/// What an operation changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changes {
    /// No cluster.
    Nothing,
    /// A record of $MFT.
    Record,
    /// A block of an index.
    Block,
    /// Bytes of a non-resident attribute, which in an index are those of a block.
    Value,
    /// Bits of a non-resident bitmap.
    Bits,
    /// It is not known what.
    Unknown,
}

/// The operations by their code.
const OPERATIONS: [(&str, Changes); 0x26] = [
    ("Noop", Changes::Nothing),
    ("CompensationLogRecord", Changes::Nothing),
    ("InitializeFileRecordSegment", Changes::Record),
    ("DeallocateFileRecordSegment", Changes::Record),
    ("WriteEndOfFileRecordSegment", Changes::Record),
    ("CreateAttribute", Changes::Record),
    ("DeleteAttribute", Changes::Record),
    ("UpdateResidentValue", Changes::Record),
    ("UpdateNonresidentValue", Changes::Value),
    ("UpdateMappingPairs", Changes::Record),
    ("DeleteDirtyClusters", Changes::Nothing),
    ("SetNewAttributeSizes", Changes::Record),
    ("AddIndexEntryRoot", Changes::Record),
    ("DeleteIndexEntryRoot", Changes::Record),
    ("AddIndexEntryAllocation", Changes::Block),
    ("DeleteIndexEntryAllocation", Changes::Block),
    ("WriteEndOfIndexBuffer", Changes::Block),
    ("SetIndexEntryVcnRoot", Changes::Record),
    ("SetIndexEntryVcnAllocation", Changes::Block),
    ("UpdateFileNameRoot", Changes::Record),
    ("UpdateFileNameAllocation", Changes::Block),
    ("SetBitsInNonresidentBitMap", Changes::Bits),
    ("ClearBitsInNonresidentBitMap", Changes::Bits),
    ("HotFix", Changes::Nothing),
    ("EndTopLevelAction", Changes::Nothing),
    ("PrepareTransaction", Changes::Nothing),
    ("CommitTransaction", Changes::Nothing),
    ("ForgetTransaction", Changes::Nothing),
    ("OpenNonresidentAttribute", Changes::Nothing),
    ("OpenAttributeTableDump", Changes::Nothing),
    ("AttributeNamesDump", Changes::Nothing),
    ("DirtyPageTableDump", Changes::Nothing),
    ("TransactionTableDump", Changes::Nothing),
    ("UpdateRecordDataRoot", Changes::Record),
    ("UpdateRecordDataAllocation", Changes::Block),
    ("UpdateRelativeDataInIndex", Changes::Unknown),
    ("UpdateRelativeDataInAllocation", Changes::Unknown),
    ("ZeroEndOfFileRecord", Changes::Record),
];

/// What the operation changes.
pub(super) fn changes(code: u16) -> Changes {
    let found = OPERATIONS.get(usize::from(code));
    found.map_or(Changes::Unknown, |(_, changes)| *changes)
}

/// The operation's name and code, such as `CreateAttribute (0x5)`.
pub(super) fn describe(code: u16) -> String {
    match OPERATIONS.get(usize::from(code)) {
        Some((name, _)) => format!("{name} ({code:#x})"),
        None => format!("{code:#x}, which has no name"),
    }
}

/// The operation's name; its code where it has none.
pub(in crate::volume::ntfs) fn name_of(code: u16) -> String {
    let found = OPERATIONS.get(usize::from(code));
    found.map_or_else(|| format!("{code:#x}"), |(name, _)| (*name).to_owned())
}

/// The operation changes clusters: it is redone and undone, and makes their page dirty.
pub(super) fn changes_clusters(code: u16) -> bool {
    changes(code) != Changes::Nothing
}

/// The operation's format is known.
pub(super) fn is_known(code: u16) -> bool {
    changes(code) != Changes::Unknown
}
