// SPDX-License-Identifier: GPL-2.0-or-later
//! Reading a folder: its names in the index `$I30`.
//!
//! ```text
//! key ($FILE_NAME):   0 parent  28 allocated size  30 data size  38 attributes  3C reparse tag  40 u8 length
//!                     41 u8 space  42 name
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. Only read here, and as much as possible of a folder that
//! is in disorder; [`crate::volume::ntfs::write`] overwrites the sizes in a key. A block is visited once at most, so
//! a tree that bites its tail ends in an error.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use crate::bytes;
use crate::error::{Error, Result};
use crate::volume::EntryKind;
use crate::volume::ntfs::format::{FileReference, attribute_type};
use crate::volume::ntfs::mft::{Found, Mft};
use crate::volume::ntfs::record::{Form, Record, utf16};
use crate::volume::ntfs::reparse::Reparse;
use crate::volume::ntfs::stream::Stream;
use crate::volume::ntfs::upcase::Upcase;

use super::block::{Block, RootHeader, find_root, read_block};

const HAS_CHILD: u16 = 1;
const END: u16 = 2;

/// The namespaces of a name.
pub(in super::super) mod namespace {
    /// Any name; Windows gives it to all where it makes no 8.3 names.
    pub(in super::super::super) const POSIX: u8 = 0;
    /// The long name of a file that has an 8.3 name too.
    pub(in super::super::super) const WIN32: u8 = 1;
    /// The 8.3 name of a file that has a long one too.
    pub(in super::super::super) const DOS: u8 = 2;
    /// A name that is its own 8.3 name.
    pub(in super::super::super) const WIN32_AND_DOS: u8 = 3;
}

/// A `$FILE_NAME` value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct FileName {
    /// The folder it is in.
    pub(in super::super) parent: FileReference,
    /// See [`namespace`].
    pub(in super::super) namespace: u8,
    /// The name in UTF-16.
    pub(in super::super) name: Vec<u16>,
    /// File attributes, and bits of the record's flags.
    attributes: u32,
    /// The tag of the reparse point, where the attributes say that there is one.
    tag: u32,
}

impl FileName {
    /// Takes a value or an index key apart.
    pub(in super::super) fn parse(value: &[u8]) -> Option<FileName> {
        let len = usize::from(*value.get(0x40)?).checked_mul(2)?;
        Some(FileName {
            parent: FileReference::from_packed(bytes::u64_le(value, 0)?),
            namespace: *value.get(0x41)?,
            name: utf16(bytes::slice(value, 0x42, len)?),
            attributes: bytes::u32_le(value, 0x38)?,
            tag: bytes::u32_le(value, 0x3C)?,
        })
    }

    /// What the file is; `None` when only its record can say.
    pub(in super::super) fn kind(&self) -> Option<EntryKind> {
        const DIRECTORY: u32 = 0x1000_0000;
        const REPARSE_POINT: u32 = 0x400;
        let directory = self.attributes & DIRECTORY != 0;
        if self.attributes & REPARSE_POINT == 0 {
            return Some(match directory {
                true => EntryKind::Directory,
                false => EntryKind::File,
            });
        }
        match Reparse::from_tag(self.tag) {
            Reparse::Wof | Reparse::Deduplicated if !directory => Some(EntryKind::File),
            Reparse::Other(tag) if tag != 0 => Some(EntryKind::Other),
            _ => None,
        }
    }
}

/// Where an entry's key is, for overwriting it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct KeyPlace {
    /// The block that holds it; `None` for the root, which is in a record.
    pub(in super::super) block: Option<u64>,
    /// Bytes from the start of the block, or of the value of $INDEX_ROOT.
    pub(in super::super) offset: usize,
}

/// One name in a folder.
#[derive(Clone, Debug)]
pub(in super::super) struct IndexEntry {
    /// The file.
    pub(in super::super) file: FileReference,
    /// The name, the key of the entry.
    pub(in super::super) name: FileName,
    /// Where the key is.
    pub(in super::super) place: KeyPlace,
}

/// An open folder.
#[derive(Debug)]
pub(in super::super) struct Directory<'v> {
    mft: &'v Mft,
    what: String,
    /// The attribute $INDEX_ROOT.
    pub(in super::super) root: Found,
    allocation: Option<Stream>,
    block_len: u64,
}

/// What [`Directory::visit`] shall do about a name.
enum Direction {
    /// The names that are sought come before it: look into its child, then stop with this node.
    Before,
    /// It is one of those sought, and its child may hold more.
    Here,
    /// They come after it: go on, and leave its child out.
    After,
}

impl<'v> Directory<'v> {
    /// Opens the folder with this base record.
    pub(in super::super) fn open(mft: &'v Mft, record: &Arc<Record>) -> Result<Directory<'v>> {
        let what = format!("$I30 of MFT record {}", record.number());
        let root = find_root(mft, record, "$I30", &what)?;
        let value = root.record.value(&root.attribute).unwrap_or_default();
        let header = RootHeader::parse(value, &what)?;
        if header.indexed != attribute_type::FILE_NAME {
            let found = format!("one of attribute {:#x}", header.indexed);
            return Err(Error::damaged(what, 0, "an index of file names", found));
        }
        let allocation = Stream::find(mft, record, attribute_type::INDEX_ALLOCATION, "$I30")?;
        Ok(Directory {
            mft,
            what,
            root,
            allocation,
            block_len: header.block_len,
        })
    }

    /// The entries whose name is `name`, case apart: none, one, or several where names differ in case only.
    pub(in super::super) fn find(&self, upcase: &Upcase, name: &[u16]) -> Result<Vec<IndexEntry>> {
        self.visit(Some(upcase), |found| match upcase.compare(name, found) {
            Ordering::Less => Direction::Before,
            Ordering::Equal => Direction::Here,
            Ordering::Greater => Direction::After,
        })
    }

    /// About how many blocks it has.
    pub(in super::super) fn blocks(&self) -> usize {
        let len = self.allocation.as_ref().map_or(0, Stream::len);
        let blocks = len.checked_div(self.block_len).unwrap_or(0);
        usize::try_from(blocks).unwrap_or(usize::MAX)
    }

    /// All entries.
    pub(in super::super) fn entries(&self) -> Result<Vec<IndexEntry>> {
        self.visit(None, |_| Direction::Here)
    }

    /// Walks the tree and returns the entries that `direct` says are `Here`.
    ///
    /// With `order`, the names in each visited node have to ascend: else a search could miss one.
    fn visit(
        &self,
        order: Option<&Upcase>,
        direct: impl Fn(&[u16]) -> Direction,
    ) -> Result<Vec<IndexEntry>> {
        let root = self
            .root
            .record
            .value(&self.root.attribute)
            .unwrap_or_default();
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let mut children = self.node(None, root, 0x10, order, &direct, &mut found)?;
        while let Some(vcn) = children.pop() {
            if !seen.insert(vcn) {
                return Err(self.damaged(Some(vcn), 0, "a tree", "a block that is reached twice"));
            }
            let block = self.block(vcn)?;
            let more = self.node(Some(vcn), &block.bytes, 0x18, order, &direct, &mut found)?;
            children.extend(more);
        }
        Ok(found)
    }

    /// Reads the entries of one node, whose header is at `header` in `node`; returns the children to visit.
    fn node(
        &self,
        block: Option<u64>,
        node: &[u8],
        header: usize,
        order: Option<&Upcase>,
        direct: &impl Fn(&[u16]) -> Direction,
        found: &mut Vec<IndexEntry>,
    ) -> Result<Vec<u64>> {
        let field = |offset: usize| {
            let offset = header.checked_add(offset)?;
            header.checked_add(usize::try_from(bytes::u32_le(node, offset)?).ok()?)
        };
        let Some((first, used)) = field(0).zip(field(4).and_then(|end| node.get(..end))) else {
            return Err(self.damaged(
                block,
                header,
                "a node inside its block",
                "one that leaves it",
            ));
        };
        let mut children = Vec::new();
        let mut previous: Option<Vec<u16>> = None;
        let mut at = first;
        loop {
            let Some(entry) = Entry::parse(used, at) else {
                return Err(self.damaged(
                    block,
                    at,
                    "an index entry inside its node",
                    "one that leaves it",
                ));
            };
            let Some(key) = entry.key else {
                children.extend(entry.child);
                return Ok(children);
            };
            let Some(name) = FileName::parse(key) else {
                return Err(self.damaged(block, at, "a file name", "a shorter key"));
            };
            if let (Some(upcase), Some(previous)) = (order, &previous)
                && upcase.compare(previous, &name.name) == Ordering::Greater
            {
                return Err(self.damaged(
                    block,
                    at,
                    "names in ascending order",
                    "one out of order",
                ));
            }
            match direct(&name.name) {
                Direction::Before => {
                    children.extend(entry.child);
                    return Ok(children);
                }
                Direction::Here => {
                    children.extend(entry.child);
                    found.push(IndexEntry {
                        file: entry.file,
                        name: name.clone(),
                        place: KeyPlace {
                            block,
                            offset: at.saturating_add(0x10),
                        },
                    });
                }
                Direction::After => {}
            }
            previous = Some(name.name);
            at = entry.end;
        }
    }

    /// Reads the index block with this VCN.
    pub(in super::super) fn block(&self, vcn: u64) -> Result<Block> {
        read_block(
            self.mft,
            self.allocation.as_ref(),
            self.block_len,
            vcn,
            &self.what,
        )
    }

    /// Where the value of $INDEX_ROOT begins in its record.
    pub(in super::super) fn root_offset(&self) -> usize {
        match self.root.attribute.form {
            Form::Resident { offset, .. } => offset,
            Form::NonResident { .. } => 0,
        }
    }

    fn damaged(&self, block: Option<u64>, offset: usize, expected: &str, found: &str) -> Error {
        let what = match block {
            Some(vcn) => format!("{}, block {vcn}", self.what),
            None => format!("{}, root", self.what),
        };
        Error::damaged(what, u64::try_from(offset).unwrap_or(0), expected, found)
    }
}

/// An index entry, taken apart.
struct Entry<'n> {
    file: FileReference,
    /// `None` for the end entry.
    key: Option<&'n [u8]>,
    child: Option<u64>,
    /// Where the next one begins.
    end: usize,
}

impl Entry<'_> {
    /// The entry at `at`; `node` ends with the node's used bytes.
    fn parse(node: &[u8], at: usize) -> Option<Entry<'_>> {
        let len = usize::from(bytes::u16_le(node, at.checked_add(8)?)?);
        let entry = bytes::slice(node, at, len).filter(|_| len >= 0x10 && len.is_multiple_of(8))?;
        let flags = bytes::u16_le(entry, 0x0C)?;
        let (body, child) = if flags & HAS_CHILD == 0 {
            (entry, None)
        } else {
            let vcn = len.checked_sub(8).filter(|vcn| *vcn >= 0x10)?;
            (entry.get(..vcn)?, Some(bytes::u64_le(entry, vcn)?))
        };
        let key_len = usize::from(bytes::u16_le(entry, 0x0A)?);
        let key = match flags & END {
            0 => Some(bytes::slice(body, 0x10, key_len)?),
            _ => None,
        };
        Some(Entry {
            file: FileReference::from_packed(bytes::u64_le(entry, 0)?),
            key,
            child,
            end: at.checked_add(len)?,
        })
    }
}
