// SPDX-License-Identifier: GPL-2.0-or-later
//! Giving a file another content: in place, or after it has grown.
//!
//! ```text
//! resident:      new value -> record, and its copy in $MFTMirr where there is one
//! non-resident:  differing sectors -> the file's own clusters; when a size changes -> record
//! either:        when the length changes -> the sizes in the folder's index entries
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. Everything is worked out first, in memory; only then is the
//! first byte written. A content of unchanged length touches no metadata at all (but a resident one, which
//! is metadata). Only a content that is longer than what the file has makes it grow first ([`super::grow`]); clusters
//! are never freed or moved, a shorter content keeps them.
//!
//! The index entries of a folder repeat the length of a file, once for each of its names. Windows takes
//! the record's word and tolerates old sizes there (links in other folders always have them), but `dir` and
//! a search show them, so they are brought up to date as ntfs-3g does. Times, $LogFile and $UsnJrnl are
//! left alone; the $FILE_NAME in the record keeps the sizes of its creation, as under Windows.

use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;

use crate::bytes;
use crate::error::{Error, Result};

use super::clusters;
use super::format::attribute_type;
use super::grow;
use super::index::{Block, Directory};
use super::mft::Mft;
use super::multi_sector;
use super::record::{Record, Sizes};
use super::runs::{Piece, RunList};
use super::stream::{Content, Stream};
use super::stream_edit;
use super::walk::{Node, Tree};

/// How much of a file is compared at a time, in bytes. Ours: bounds memory, and stays in the processor's cache.
const CHUNK: u64 = 256 << 10;

/// How many bytes the stream can hold without allocating.
pub(super) fn capacity(path: &str, node: &Node, stream: &Stream) -> Result<u64> {
    check_plain(path, node, stream)?;
    Ok(match &stream.content {
        Content::Resident(_) => {
            let room = stream.head.record.room(&stream.head.attribute);
            room.and_then(|room| u64::try_from(room).ok()).unwrap_or(0)
        }
        Content::NonResident { sizes, .. } => sizes.allocated,
    })
}

/// What is about to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Bytes in clusters that the file has, and nothing else.
    Content,
    /// More than that.
    Metadata,
}

/// Makes `content` the content of the file, which grows where it has to.
///
/// All refusals come before the first write; the last one to be asked is `begin`, and only where something is to
/// be written.
pub(super) fn replace(
    tree: &Tree,
    path: &str,
    node: &Node,
    stream: &Stream,
    content: &[u8],
    begin: &dyn Fn(Change) -> Result<()>,
) -> Result<()> {
    let needed = u64::try_from(content.len()).unwrap_or(u64::MAX);
    let grown = if needed > capacity(path, node, stream)? {
        Some(grow_for(tree, node, needed, begin)?)
    } else {
        None
    };
    let (old, stream) = (stream, grown.as_ref().unwrap_or(stream));
    let mut plan = Plan::new(&tree.mft);
    let allocated = match &stream.content {
        Content::Resident(_) => plan.resident(stream, content)?,
        Content::NonResident { map, sizes, .. } => {
            plan.non_resident(stream, map, *sizes, content)?
        }
    };
    if needed != old.len() {
        plan.index_entries(tree, node, needed, allocated)?;
    }
    if let Some(change) = plan.change() {
        begin(change)?;
    }
    plan.carry_out()
}

/// Gives the content of a file room for `needed` bytes.
fn grow_for(
    tree: &Tree,
    node: &Node,
    needed: u64,
    begin: &dyn Fn(Change) -> Result<()>,
) -> Result<Stream> {
    let (mft, base) = (&tree.mft, node.record.number());
    // Can the folders be told? Asked before anything is written; what is planned here is dropped.
    Plan::new(mft).index_entries(tree, node, needed, needed)?;
    begin(Change::Metadata)?;
    grow::grow_size(mft, base, attribute_type::DATA, "", needed)?;
    stream_edit::expect(mft, base, attribute_type::DATA, "")
}

/// Only plain files of users are written.
fn check_plain(path: &str, node: &Node, stream: &Stream) -> Result<()> {
    if node.record.is_system() {
        return Err(Error::refused(
            format!("{path} belongs to the file system itself"),
            "check that the path names the file you mean",
        ));
    }
    if stream.is_compressed() {
        return Err(Error::unsupported(
            format!("{path} is compressed (NTFS): compressed files are not written"),
            "run `compact /u` on it in Windows",
        ));
    }
    if stream.is_sparse() || stream.has_holes() {
        return Err(Error::unsupported(
            format!("{path} is sparse: sparse files are not written"),
            "copy it in Windows and put the copy in its place",
        ));
    }
    Ok(())
}

/// All that is to be written, worked out before the first byte is.
struct Plan<'v> {
    mft: &'v Mft,
    /// Content: bytes on the device and what is to be there. In order, apart from each other.
    data: Vec<(u64, Vec<u8>)>,
    records: BTreeMap<u64, Record>,
    /// By the record of the folder and the VCN.
    blocks: BTreeMap<(u64, u64), Block>,
}

impl<'v> Plan<'v> {
    fn new(mft: &'v Mft) -> Self {
        Plan {
            mft,
            data: Vec::new(),
            records: BTreeMap::new(),
            blocks: BTreeMap::new(),
        }
    }

    /// What is to be written; `None` where nothing is.
    fn change(&self) -> Option<Change> {
        match self.records.is_empty() && self.blocks.is_empty() {
            true if self.data.is_empty() => None,
            true => Some(Change::Content),
            false => Some(Change::Metadata),
        }
    }

    /// A new value in the record. Returns the size that Windows calls allocated.
    fn resident(&mut self, stream: &Stream, content: &[u8]) -> Result<u64> {
        if !matches!(&stream.content, Content::Resident(value) if value == content) {
            let record = self.record(&stream.head.record);
            if !record.set_value(&stream.head.attribute, content) {
                let what = format!("MFT record {}", record.number());
                return Err(Error::damaged(
                    what,
                    0,
                    "room for the value",
                    "less than it claims",
                ));
            }
        }
        let len = u64::try_from(content.len()).unwrap_or(u64::MAX);
        Ok(len.checked_next_multiple_of(8).unwrap_or(len))
    }

    /// New bytes in the file's clusters. Returns the allocated size, which stays.
    fn non_resident(
        &mut self,
        stream: &Stream,
        map: &RunList,
        sizes: Sizes,
        content: &[u8],
    ) -> Result<u64> {
        let len = u64::try_from(content.len()).unwrap_or(u64::MAX);
        // What is past the initialised size reads as zeros whatever is there; zeros need not be written.
        let beyond = usize::try_from(sizes.initialised)
            .ok()
            .and_then(|initialised| content.get(initialised..))
            .unwrap_or_default();
        let initialised = if beyond.iter().all(|byte| *byte == 0) {
            len.min(sizes.initialised)
        } else {
            len
        };
        let mut writer = Differences::new(self.mft, content, initialised);
        let sector = u64::from(self.mft.boot.bytes_per_sector);
        let end = initialised
            .checked_next_multiple_of(sector)
            .unwrap_or(initialised);
        let pieces = map.pieces(0, end.min(map.len())).unwrap_or_default();
        for piece in pieces {
            writer.compare(piece)?;
        }
        self.data = writer.found;
        if !self.data.is_empty() {
            clusters::check(self.mft, map, stream.head.record.number())?;
        }
        if (len, initialised) != (sizes.data, sizes.initialised) {
            let record = self.record(&stream.head.record);
            let sizes = Sizes {
                data: len,
                initialised,
                ..sizes
            };
            if !record.set_sizes(&stream.head.attribute, sizes) {
                let what = format!("MFT record {}", record.number());
                return Err(Error::damaged(what, 0, "the sizes of the stream", "none"));
            }
        }
        Ok(sizes.allocated)
    }

    /// The sizes in the entries of the folders that hold the file.
    fn index_entries(&mut self, tree: &Tree, node: &Node, data: u64, allocated: u64) -> Result<()> {
        let file = node.record.reference();
        for name in tree.names(&node.record)? {
            let parent = Arc::new(self.mft.resolve(name.parent)?);
            let directory = Directory::open(self.mft, &parent)?;
            let found = directory.find(&tree.upcase, &name.name)?;
            let entry = found
                .iter()
                .find(|entry| entry.file == file && entry.name.name == name.name)
                .ok_or_else(|| {
                    Error::damaged(
                        format!("$I30 of MFT record {}", parent.number()),
                        0,
                        format!("the name {}", String::from_utf16_lossy(&name.name)),
                        "no such entry",
                    )
                })?;
            let mut sizes = allocated.to_le_bytes().to_vec();
            sizes.extend_from_slice(&data.to_le_bytes());
            let at = entry.place.offset.saturating_add(0x28);
            let done = match entry.place.block {
                None => {
                    let at = directory.root_offset().saturating_add(at);
                    self.record(&directory.root.record).patch(at, &sizes)
                }
                Some(vcn) => {
                    let block = match self.blocks.entry((parent.number(), vcn)) {
                        btree_map::Entry::Occupied(block) => block.into_mut(),
                        btree_map::Entry::Vacant(place) => place.insert(directory.block(vcn)?),
                    };
                    bytes::put(&mut block.bytes, at, &sizes)
                }
            };
            if !done {
                let what = format!("$I30 of MFT record {}", parent.number());
                return Err(Error::damaged(what, 0, "a whole key", "a shorter one"));
            }
        }
        Ok(())
    }

    /// The record as it will be, for changing.
    fn record(&mut self, record: &Record) -> &mut Record {
        self.records
            .entry(record.number())
            .or_insert_with(|| record.clone())
    }

    /// Writes: content first, then what says how long it is.
    fn carry_out(self) -> Result<()> {
        for (place, bytes) in &self.data {
            self.mft.write_bytes(*place, bytes)?;
        }
        for record in self.records.values() {
            self.mft.store(record)?;
        }
        for ((folder, vcn), mut block) in self.blocks {
            if !multi_sector::protect(&mut block.bytes) {
                let what = format!("$I30 of MFT record {folder}, block {vcn}");
                return Err(Error::damaged(what, 4, "an update sequence array", "none"));
            }
            self.mft.write_pieces(&block.pieces, &block.bytes)?;
        }
        Ok(())
    }
}

/// Finds the sectors whose bytes are to change.
struct Differences<'v> {
    mft: &'v Mft,
    content: &'v [u8],
    /// How far into the file the content counts.
    initialised: u64,
    /// How far into the file the comparison is.
    at: u64,
    found: Vec<(u64, Vec<u8>)>,
    /// What the device has, a piece at a time: one buffer for the whole file.
    old: Vec<u8>,
}

impl<'v> Differences<'v> {
    fn new(mft: &'v Mft, content: &'v [u8], initialised: u64) -> Self {
        Differences {
            mft,
            content,
            initialised,
            at: 0,
            found: Vec::new(),
            old: Vec::new(),
        }
    }

    /// Compares the next piece of the file, which begins and ends with a sector.
    fn compare(&mut self, piece: Piece) -> Result<()> {
        let (Some(mut place), mut left) = (piece.place, piece.len) else {
            return Err(Error::damaged(
                "mapping pairs",
                self.at,
                "clusters without holes",
                "a hole",
            ));
        };
        while left > 0 {
            let len = left.min(CHUNK);
            self.compare_chunk(place, usize::try_from(len).unwrap_or(0))?;
            place = place.saturating_add(len);
            left = left.saturating_sub(len);
        }
        Ok(())
    }

    fn compare_chunk(&mut self, place: u64, len: usize) -> Result<()> {
        let mut old = std::mem::take(&mut self.old);
        old.resize(len, 0);
        self.mft.device.read_at(place, &mut old)?;
        let start = usize::try_from(self.at).unwrap_or(usize::MAX);
        let end = usize::try_from(self.initialised).unwrap_or(usize::MAX);
        let wanted = self
            .content
            .get(..end)
            .and_then(|content| content.get(start..))
            .unwrap_or_default();
        let wanted = wanted.get(..len.min(wanted.len())).unwrap_or_default();
        if old.get(..wanted.len()) != Some(wanted) {
            self.add_differences(place, &old, wanted);
        }
        self.at = self.at.saturating_add(u64::try_from(len).unwrap_or(0));
        self.old = old;
        Ok(())
    }

    /// Adds the sectors of `old`, which lies at `place`, that `wanted` changes. Slack in the last sector
    /// stays as it is.
    fn add_differences(&mut self, place: u64, old: &[u8], wanted: &[u8]) {
        let mut new = old.to_vec();
        for (byte, wanted) in new.iter_mut().zip(wanted) {
            *byte = *wanted;
        }
        let sector = usize::try_from(self.mft.boot.bytes_per_sector).unwrap_or(512);
        let mut at = place;
        for (old, new) in old.chunks(sector).zip(new.chunks(sector)) {
            if old != new {
                self.add(at, new);
            }
            at = at.saturating_add(u64::try_from(new.len()).unwrap_or(0));
        }
    }

    /// Adds a sector; neighbours become one write.
    fn add(&mut self, place: u64, sector: &[u8]) {
        if let Some((start, bytes)) = self.found.last_mut() {
            let end = start.saturating_add(u64::try_from(bytes.len()).unwrap_or(0));
            if end == place {
                bytes.extend_from_slice(sector);
                return;
            }
        }
        self.found.push((place, sector.to_vec()));
    }
}
