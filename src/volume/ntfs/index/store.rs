// SPDX-License-Identifier: GPL-2.0-or-later
//! Where the nodes of an index are on the volume.
//!
//! ```text
//! $INDEX_ROOT        the root, in an MFT record
//! $INDEX_ALLOCATION  blocks: number 0, 1, ... at VCN 0, 1 x step, ...      missing in a small index
//! $BITMAP            one bit for each block: it is used                    missing in a small index
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's index.c. A root that gets smaller is written before what then has
//! room in its record: the attributes that come with the first block, and mapping pairs. Where there is room
//! anyway, the clusters come first, so that a full volume is refused before anything is written.

use crate::bytes;
use crate::error::{Error, Result};
use crate::volume::ntfs::format::attribute_type;
use crate::volume::ntfs::grow::grow_stream;
use crate::volume::ntfs::mft::{Found, Mft};
use crate::volume::ntfs::multi_sector;
use crate::volume::ntfs::stream::{Content, Stream};
use crate::volume::ntfs::stream_edit::{
    base_record, create_attribute, create_stream, full, set_value, write_stream,
};

use super::block::{RootHeader, find_root, read_block, unit};
use super::node::{BLOCK_HEADER, Node, ROOT_HEADER, block_room, new_block};
use super::tree::{Changes, Store};

/// What the record of the root needs for one more run of $INDEX_ALLOCATION: two numbers of up to 8 bytes, on 8 bytes.
const LONGER_PAIRS: usize = 24;

/// What it needs for the attributes that a small index has not: both headers with a name, one run, 64 bits.
const NEW_ATTRIBUTES: usize = 0x80;

/// The longest $BITMAP that is read, in bytes. Ours: bounds memory; its blocks would hold 500 GB of names.
const MOST_BITS: u64 = 16 << 20;

/// An index in the attributes of a file.
#[derive(Debug)]
pub(super) struct Attributes<'v> {
    mft: &'v Mft,
    base: u64,
    name: String,
    what: String,
    root: Found,
    allocation: Option<Stream>,
    /// The last extent of $INDEX_ALLOCATION is in the record of the root.
    grows_beside_root: bool,
    bitmap: Option<Stream>,
    /// The bits of all blocks.
    bits: Vec<u8>,
    block_len: u64,
}

impl<'v> Attributes<'v> {
    /// Opens the index with this name, which must index attributes of this type with this collation rule.
    pub(super) fn open(
        mft: &'v Mft,
        base: u64,
        name: &str,
        (indexed, collation): (u32, u32),
    ) -> Result<Attributes<'v>> {
        let what = format!("{name} of MFT record {base}");
        let record = base_record(mft, base)?;
        let root = find_root(mft, &record, name, &what)?;
        let value = root.record.value(&root.attribute).unwrap_or_default();
        let header = RootHeader::parse(value, &what)?;
        if (header.indexed, header.collation) != (indexed, collation) {
            let expected = format!("an index of type {indexed:#x} with collation {collation:#x}");
            let found = format!(
                "type {:#x}, collation {:#x}",
                header.indexed, header.collation
            );
            return Err(Error::damaged(what, 0, expected, found));
        }
        let block_len = header.block_len;
        let allocation = Stream::find(mft, &record, attribute_type::INDEX_ALLOCATION, name)?;
        let units: Vec<u16> = name.encode_utf16().collect();
        let extents = mft.collect(&record, attribute_type::INDEX_ALLOCATION, Some(&units))?;
        let last = extents.last();
        let mut store = Attributes {
            mft,
            base,
            name: name.to_owned(),
            grows_beside_root: last.is_none_or(|last| last.record.number() == root.record.number()),
            root,
            allocation,
            bitmap: Stream::find(mft, &record, attribute_type::BITMAP, name)?,
            bits: Vec::new(),
            block_len,
            what,
        };
        if let Some(bitmap) = &store.bitmap {
            let len = bitmap.len().min(store.blocks().div_ceil(8));
            if len > MOST_BITS {
                let expected = format!("at most {MOST_BITS} bytes");
                return Err(Error::damaged(bitmap.what(), 0, expected, len.to_string()));
            }
            let mut bits = vec![0; usize::try_from(len).unwrap_or(0)];
            bitmap.read_at(mft, 0, &mut bits)?;
            store.bits = bits;
        }
        Ok(store)
    }

    fn root_value(&self) -> &[u8] {
        let value = self.root.record.value(&self.root.attribute);
        value.unwrap_or_default()
    }

    /// How many bytes the entries of the root take.
    fn root_entries(&self) -> usize {
        self.root_value()
            .len()
            .saturating_sub(ROOT_HEADER.saturating_mul(2))
    }

    /// How many bytes records may need for this many blocks, besides those of the root.
    fn growth(&self, blocks: u64) -> usize {
        match &self.allocation {
            _ if blocks <= self.blocks() => 0,
            None => NEW_ATTRIBUTES,
            Some(_) => LONGER_PAIRS,
        }
    }

    /// The bytes of a block in use, with the original bytes in place.
    fn block_bytes(&self, vcn: u64) -> Result<Vec<u8>> {
        let what = format!("{}, block {vcn}", self.what);
        if !vcn.is_multiple_of(self.step()) {
            let expected = format!("a multiple of {}", self.step());
            return Err(Error::damaged(what, 0x10, expected, "another VCN"));
        }
        let allocation = self.allocation.as_ref();
        let block = read_block(self.mft, allocation, self.block_len, vcn, &self.what)?.bytes;
        let allocated = bytes::u32_le(&block, BLOCK_HEADER.saturating_add(8));
        let expected = block.len().saturating_sub(BLOCK_HEADER);
        if allocated.and_then(|len| usize::try_from(len).ok()) != Some(expected) {
            let expected = format!("{expected:#x} bytes allocated");
            return Err(Error::damaged(
                what,
                0x20,
                expected,
                format!("{allocated:?}"),
            ));
        }
        Ok(block)
    }

    /// The bytes for the disk of a block that changes.
    fn new_bytes(&self, vcn: u64, node: &Node, fresh: bool) -> Result<Vec<u8>> {
        let mut block = match fresh {
            true => {
                let len = usize::try_from(self.block_len).unwrap_or(0);
                new_block(len, vcn).unwrap_or_default()
            }
            false => self.block_bytes(vcn)?,
        };
        if node.write(&mut block, BLOCK_HEADER) && multi_sector::protect(&mut block) {
            return Ok(block);
        }
        let what = format!("{}, block {vcn}", self.what);
        Err(Error::damaged(
            what,
            0,
            "room for its entries",
            "less than it claims",
        ))
    }

    /// Gives $INDEX_ALLOCATION and $BITMAP this many blocks; makes them where there are none.
    fn grow_to(&self, blocks: u64) -> Result<()> {
        let (mft, base, name) = (self.mft, self.base, self.name.as_str());
        let kind = attribute_type::INDEX_ALLOCATION;
        let len = blocks.saturating_mul(self.block_len);
        match &self.allocation {
            None => create_stream(mft, base, kind, name, len)?,
            Some(stream) if stream.len() < len => grow_stream(mft, base, kind, name, len)?,
            Some(_) => {}
        }
        let len = blocks.div_ceil(8).next_multiple_of(8);
        let kind = attribute_type::BITMAP;
        match &self.bitmap {
            None => {
                let bits = vec![0; usize::try_from(len).unwrap_or(0)];
                create_attribute(mft, base, kind, name, &bits, false)
            }
            Some(stream) if stream.len() < len => grow_stream(mft, base, kind, name, len),
            Some(_) => Ok(()),
        }
    }

    /// Writes the bits of these blocks.
    fn mark(&self, marks: impl IntoIterator<Item = (u64, bool)>) -> Result<()> {
        let mut bits = self.bits.clone();
        let (mut first, mut end) = (usize::MAX, 0_usize);
        for (block, used) in marks {
            let byte = usize::try_from(block >> 3).unwrap_or(usize::MAX);
            let mask = 1_u8.wrapping_shl(u32::try_from(block & 7).unwrap_or(0));
            if bits.len() <= byte {
                bits.resize(byte.saturating_add(1), 0);
            }
            if let Some(byte) = bits.get_mut(byte) {
                *byte = if used { *byte | mask } else { *byte & !mask };
            }
            first = first.min(byte);
            end = end.max(byte.saturating_add(1));
        }
        let Some(changed) = bits.get(first..end) else {
            return Ok(());
        };
        let at = u64::try_from(first).unwrap_or(u64::MAX);
        let kind = attribute_type::BITMAP;
        write_stream(self.mft, self.base, kind, &self.name, at, changed)
    }
}

impl Store for Attributes<'_> {
    fn what(&self) -> String {
        self.what.clone()
    }

    fn root(&self) -> Result<Node> {
        Node::parse(self.root_value(), ROOT_HEADER, &self.what)
    }

    fn block(&self, vcn: u64) -> Result<Node> {
        let what = format!("{}, block {vcn}", self.what);
        Node::parse(&self.block_bytes(vcn)?, BLOCK_HEADER, &what)
    }

    fn root_room(&self, blocks: u64) -> usize {
        let room = self.root.record.room(&self.root.attribute).unwrap_or(0);
        let growth = match self.grows_beside_root {
            true => self.growth(blocks),
            false => 0,
        };
        // The node header comes off, too.
        room.saturating_sub(ROOT_HEADER.saturating_mul(2))
            .saturating_sub(growth)
    }

    fn block_room(&self) -> usize {
        usize::try_from(self.block_len).map_or(0, block_room)
    }

    fn step(&self) -> u64 {
        let step = self.block_len.checked_div(unit(self.mft, self.block_len));
        step.unwrap_or(1).max(1)
    }

    fn blocks(&self) -> u64 {
        let len = match &self.allocation {
            Some(Stream {
                content: Content::NonResident { sizes, .. },
                ..
            }) => sizes.data,
            _ => 0,
        };
        len.checked_div(self.block_len).unwrap_or(0)
    }

    fn is_used(&self, block: u64) -> bool {
        let byte = usize::try_from(block >> 3).ok();
        let byte = byte.and_then(|byte| self.bits.get(byte)).copied();
        let mask = 1_u8.wrapping_shl(u32::try_from(block & 7).unwrap_or(0));
        byte.unwrap_or(0) & mask != 0
    }

    fn check(&self, change: &Changes) -> Result<()> {
        let needed = self.growth(change.blocks());
        let base = base_record(self.mft, self.base)?;
        let free = base.free().unwrap_or(0);
        let gained = match &change.root {
            // Only there does a smaller root make room for what is needed.
            Some(root) if base.number() == self.root.record.number() => {
                self.root_entries().saturating_sub(root.len())
            }
            _ => 0,
        };
        if self.allocation.is_none() && needed > free.saturating_add(gained) {
            return Err(full(&base, &format!("index blocks of {}", self.what)));
        }
        Ok(())
    }

    fn write(&mut self, change: Changes) -> Result<()> {
        self.mft.index_changed();
        let mut blocks = Vec::new();
        for (vcn, (node, fresh)) in &change.blocks {
            blocks.push((*vcn, self.new_bytes(*vcn, node, *fresh)?));
        }
        // Some readers look at all blocks, used or not: a free one must not go on showing its old entries.
        for (block, _) in change.marks.iter().filter(|mark| !mark.1) {
            let vcn = block.saturating_mul(self.step());
            blocks.push((vcn, self.new_bytes(vcn, &Node::empty(), true)?));
        }
        let root = match &change.root {
            None => None,
            Some(root) => {
                let value = root.to_root(self.root_value());
                let missing = || Error::damaged(&self.what, 0, "a root of its size", "another");
                Some(value.ok_or_else(missing)?)
            }
        };
        let (mft, base, name) = (self.mft, self.base, self.name.as_str());
        let mut root = root.as_deref();
        let mut set_root = || match root.take() {
            Some(root) => set_value(mft, base, attribute_type::INDEX_ROOT, name, root),
            None => Ok(()),
        };
        let smaller = change
            .root
            .as_ref()
            .is_some_and(|root| root.len() <= self.root_entries());
        let needed = self.growth(change.blocks());
        if smaller && needed > self.root.record.free().unwrap_or(0) {
            set_root()?;
        }
        if change.blocks() > 0 {
            self.grow_to(change.blocks().max(self.blocks()))?;
        }
        if !change.marks.is_empty() {
            self.mark(change.marks)?;
        }
        let kind = attribute_type::INDEX_ALLOCATION;
        for (vcn, bytes) in blocks {
            let at = vcn.saturating_mul(unit(mft, self.block_len));
            write_stream(mft, base, kind, name, at, &bytes)?;
        }
        set_root()
    }
}
