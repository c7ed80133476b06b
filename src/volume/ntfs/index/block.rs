// SPDX-License-Identifier: GPL-2.0-or-later
//! What an index consists of on the disk: the header of its root, and its blocks.
//!
//! ```text
//! $INDEX_ROOT value:     0 u32 type of the attribute that is indexed, 0 for a view   4 u32 collation rule
//!                        8 u32 block size   10 node
//! $INDEX_ALLOCATION:     INDX blocks, numbered in clusters, or in 512 bytes where a block is smaller than a cluster
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h and index.c (for the unit of the VCNs).

use std::sync::Arc;

use crate::bytes;
use crate::error::{Error, Result};
use crate::volume::ntfs::format::attribute_type;
use crate::volume::ntfs::mft::{Found, Mft};
use crate::volume::ntfs::multi_sector;
use crate::volume::ntfs::record::Record;
use crate::volume::ntfs::runs::Piece;
use crate::volume::ntfs::stream::{Content, Stream};

/// The attribute $INDEX_ROOT of the index with this name.
pub(super) fn find_root(mft: &Mft, base: &Arc<Record>, name: &str, what: &str) -> Result<Found> {
    let name: Vec<u16> = name.encode_utf16().collect();
    let roots = mft.collect(base, attribute_type::INDEX_ROOT, Some(&name))?;
    let root = roots.into_iter().next();
    root.ok_or_else(|| Error::damaged(what, 0, "an $INDEX_ROOT", "none"))
}

/// What is before the node in a value of $INDEX_ROOT.
pub(super) struct RootHeader {
    /// The type of the attribute that is indexed; 0 for a view.
    pub(super) indexed: u32,
    /// The collation rule.
    pub(super) collation: u32,
    /// Length of a block in bytes.
    pub(super) block_len: u64,
}

impl RootHeader {
    /// Takes the header apart.
    pub(super) fn parse(value: &[u8], what: &str) -> Result<RootHeader> {
        let field = |offset| bytes::u32_le(value, offset).unwrap_or(0);
        let block_len = field(8);
        // 4096 with Windows; the other powers of two cost nothing.
        if !block_len.is_power_of_two() || !(512..=0x1_0000).contains(&block_len) {
            return Err(Error::damaged(
                what,
                8,
                "a block size of 512 to 65536 bytes",
                block_len.to_string(),
            ));
        }
        Ok(RootHeader {
            indexed: field(0),
            collation: field(4),
            block_len: u64::from(block_len),
        })
    }
}

/// How many bytes a VCN counts in an index with blocks of this length.
pub(super) fn unit(mft: &Mft, block_len: u64) -> u64 {
    let cluster_size = u64::from(mft.boot.cluster_size);
    if block_len >= cluster_size {
        cluster_size
    } else {
        512
    }
}

/// A block of an index, as on disk but with the original bytes back in place.
#[derive(Clone, Debug)]
pub(in super::super) struct Block {
    /// Where it lies on the device.
    pub(in super::super) pieces: Vec<Piece>,
    /// Its bytes.
    pub(in super::super) bytes: Vec<u8>,
}

/// Reads the block with this VCN from $INDEX_ALLOCATION.
pub(super) fn read_block(
    mft: &Mft,
    allocation: Option<&Stream>,
    block_len: u64,
    vcn: u64,
    what: &str,
) -> Result<Block> {
    let what = format!("{what}, block {vcn}");
    let missing = || Error::damaged(&what, 0, "a block in $INDEX_ALLOCATION", "no such block");
    let Some(Stream {
        content: Content::NonResident { map, sizes, .. },
        ..
    }) = allocation
    else {
        return Err(missing());
    };
    let pieces = vcn
        .checked_mul(unit(mft, block_len))
        .filter(|offset| {
            let end = offset.checked_add(block_len);
            end.is_some_and(|end| end <= sizes.initialised)
        })
        .and_then(|offset| map.pieces(offset, block_len))
        .filter(|pieces| pieces.iter().all(|piece| piece.place.is_some()))
        .ok_or_else(missing)?;
    let mut block = vec![0; usize::try_from(block_len).unwrap_or(0)];
    let mut rest = block.as_mut_slice();
    for piece in &pieces {
        let len = usize::try_from(piece.len).unwrap_or(usize::MAX);
        let Some(((part, after), place)) = rest.split_at_mut_checked(len).zip(piece.place) else {
            break;
        };
        mft.device.read_at(place, part)?;
        rest = after;
    }
    multi_sector::restore(&mut block, b"INDX", &what, 0)?;
    match bytes::u64_le(&block, 0x10) {
        Some(own) if own == vcn => Ok(Block {
            pieces,
            bytes: block,
        }),
        own => Err(Error::damaged(
            what,
            0x10,
            vcn.to_string(),
            format!("{own:?}"),
        )),
    }
}
