// SPDX-License-Identifier: GPL-2.0-or-later
//! Interim: the entries of a view index, all read at once.

use std::collections::HashSet;
use std::sync::Arc;

use crate::bytes;
use crate::error::{Error, Result};

use super::super::format::attribute_type;
use super::super::mft::Mft;
use super::super::multi_sector;
use super::super::record::Record;
use super::super::stream::Stream;

#[derive(Debug)]
pub(super) struct View {
    pub(super) entries: Vec<Vec<u8>>,
}

impl View {
    pub(super) fn open(mft: &Mft, base: &Arc<Record>, name: &str) -> Result<View> {
        let root = Stream::find(mft, base, attribute_type::INDEX_ROOT, name)?;
        let bad = || Error::damaged(name, 0, "an index", "none");
        let root = root.ok_or_else(bad)?.read(mft)?;
        let allocation = Stream::find(mft, base, attribute_type::INDEX_ALLOCATION, name)?;
        let block_len = bytes::u32_le(&root, 8).ok_or_else(bad)?;
        let mut view = View {
            entries: Vec::new(),
        };
        let mut children = view.node(&root, 0x10).ok_or_else(bad)?;
        let mut seen = HashSet::new();
        while let Some(vcn) = children.pop() {
            if !seen.insert(vcn) {
                return Err(bad());
            }
            let unit = u64::from(if block_len >= mft.boot.cluster_size {
                mft.boot.cluster_size
            } else {
                512
            });
            let mut block = vec![0; usize::try_from(block_len.min(0x1_0000)).unwrap_or(0)];
            let stream = allocation.as_ref().ok_or_else(bad)?;
            stream.read_at(mft, vcn.saturating_mul(unit), &mut block)?;
            multi_sector::restore(&mut block, b"INDX", name, 0)?;
            children.extend(view.node(&block, 0x18).ok_or_else(bad)?);
        }
        view.entries.sort_by_key(|entry| key(entry));
        Ok(view)
    }

    fn node(&mut self, node: &[u8], header: usize) -> Option<Vec<u64>> {
        let field = |at: usize| usize::try_from(bytes::u32_le(node, header.checked_add(at)?)?).ok();
        let mut at = header.checked_add(field(0)?)?;
        let used = header.checked_add(field(4)?)?;
        let node = node.get(..used)?;
        let mut children = Vec::new();
        loop {
            let len = usize::from(bytes::u16_le(node, at.checked_add(8)?)?);
            let entry = bytes::slice(node, at, len).filter(|_| len >= 0x10)?;
            let flags = bytes::u16_le(entry, 0xC)?;
            if flags & 1 != 0 {
                children.push(bytes::u64_le(entry, len.checked_sub(8)?)?);
            }
            if flags & 2 != 0 {
                return Some(children);
            }
            self.entries.push(entry.to_vec());
            at = at.checked_add(len)?;
        }
    }

    pub(super) fn find(&self, wanted: &[u8]) -> Result<Option<Vec<u8>>> {
        let id = bytes::u32_le(wanted, 0);
        let found = self
            .entries
            .iter()
            .find(|entry| bytes::u32_le(entry, 0x10) == id);
        Ok(found.cloned())
    }

    pub(super) fn entries_from(&self, from: &[u8], most: usize) -> Result<Vec<Vec<u8>>> {
        let mut wanted = vec![
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0x10 + from.len() as u8 - 16,
            0,
            0,
            0,
            0,
            0,
        ];
        wanted.extend(from);
        let all = self
            .entries
            .iter()
            .filter(|entry| key(entry) >= key(&wanted));
        Ok(all.take(most).cloned().collect())
    }

    pub(super) fn last(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.entries.last().cloned())
    }

    pub(super) fn insert(&mut self, _entry: &[u8]) -> Result<()> {
        todo!()
    }
}

fn key(entry: &[u8]) -> (Option<u32>, Option<u32>) {
    let long = entry.get(0xA) == Some(&8);
    (
        bytes::u32_le(entry, 0x10),
        bytes::u32_le(entry, 0x14).filter(|_| long),
    )
}
