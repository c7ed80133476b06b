// SPDX-License-Identifier: GPL-2.0-or-later
//! Operations on what is neither a record nor an index: bytes and bits of non-resident attributes.
//!
//! ```text
//! 08 UpdateNonresidentValue                       bytes over the attribute, from the cluster offset + R + A on
//! 15, 16 Set, ClearBitsInNonresidentBitMap        first bit and count, counted from that byte
//! ```
//!
//! They have no LSN: each is done where its page may lack it, and the last one wins. Source: the Linux driver ntfs3 (fslog.c).

use super::places::Part;
use super::{Doing, Replay, Step};
use crate::bytes;
use crate::error::Result;
use crate::volume::ntfs::bitmap;
use crate::volume::ntfs::format::{attribute_type, record_number};
use crate::volume::ntfs::logfile::operation;
use crate::volume::ntfs::logfile::record::Action;

impl Replay<'_> {
    /// 08 on what is no index: bytes of a non-resident attribute.
    pub(super) fn in_value(&mut self, doing: &Doing<'_>) -> Result<Step> {
        let (action, change, attribute) = (doing.action, &doing.change, doing.attribute);
        let unnamed = attribute.kind == attribute_type::DATA && attribute.name.is_empty();
        let file = attribute.file.record;
        if unnamed && (file == record_number::MFT || file >= record_number::FIRST_USER) {
            // Users' data are not logged, nor bytes of $MFT without a record: the table must be wrong.
            let expected = "an attribute whose bytes Windows logs";
            return Err(doing.refused(expected, "the content of a file"));
        }
        let from = action
            .cluster_offset
            .saturating_add(u64::try_from(change.place()).unwrap_or(u64::MAX));
        let payload = change.bytes();
        self.check_room(
            action,
            from,
            u64::try_from(payload.len()).unwrap_or(u64::MAX),
        )
        .map_err(|found| {
            let expected = "bytes inside the clusters of the record";
            doing.refused(expected, &found)
        })?;
        let parts = self.parts(doing, (from, payload.len()))?;
        let mut rest: &[u8] = &payload;
        let mut touched = false;
        for (part, len) in parts {
            let Some((data, after)) = rest.split_at_checked(len) else {
                break;
            };
            rest = after;
            match part {
                Part::At(place) => {
                    self.write_bytes(place, data)?;
                    touched = true;
                }
                Part::OnDisk => {}
                // What is behind a freed cluster is not written either.
                Part::Freed | Part::Unknown => break,
            }
        }
        Ok(if touched { Step::Done } else { Step::Void })
    }

    /// 15, 16: bits of a bitmap, counted from a byte of the target cluster.
    pub(super) fn in_bits(&mut self, doing: &Doing<'_>) -> Result<Step> {
        let bad = |expected: &str, found: &str| doing.refused(expected, found);
        let (action, change, attribute) = (doing.action, &doing.change, doing.attribute);
        let volume = attribute.file.record == record_number::BITMAP
            && attribute.kind == attribute_type::DATA;
        if !volume && attribute.kind != attribute_type::BITMAP {
            return Err(bad("a bitmap as its target", "another attribute"));
        }
        let payload = change.bytes();
        let (Some(first), Some(count), 8) = (
            bytes::u32_le(&payload, 0),
            bytes::u32_le(&payload, 4),
            payload.len(),
        ) else {
            return Err(bad("the first bit and how many", "something else"));
        };
        let (first, end) = (
            u64::from(first),
            u64::from(first).saturating_add(u64::from(count)),
        );
        let byte = first.checked_div(8).unwrap_or(0);
        let len = end.div_ceil(8).saturating_sub(byte);
        let from = action
            .cluster_offset
            .saturating_add(u64::try_from(change.place()).unwrap_or(u64::MAX))
            .saturating_add(byte);
        self.check_room(action, from, len)
            .map_err(|found| bad("bits inside the clusters of the record", &found))?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let parts = self.parts(doing, (from, len))?;
        let mut at = byte.saturating_mul(8);
        let mut touched = false;
        for (part, len) in parts {
            match part {
                Part::At(place) => {
                    let mut bits = vec![0; len];
                    self.disk.device.read_at(place, &mut bits)?;
                    bitmap::fill(
                        &mut bits,
                        at,
                        first,
                        end,
                        change.code == operation::SET_BITS,
                    );
                    self.write_bytes(place, &bits)?;
                    touched = true;
                }
                Part::OnDisk => {}
                Part::Freed | Part::Unknown => break,
            }
            at = at.saturating_add(u64::try_from(len).unwrap_or(u64::MAX).saturating_mul(8));
        }
        Ok(if touched { Step::Done } else { Step::Void })
    }

    /// `len` bytes, `from` bytes behind the start of the target, are in the clusters that the record names; else what they are.
    fn check_room(&self, action: &Action<'_>, from: u64, len: u64) -> Result<(), String> {
        let clusters = u64::try_from(action.lcns.len()).unwrap_or(u64::MAX);
        let room = clusters.saturating_mul(u64::from(self.analysis.geometry.cluster_size));
        match from.saturating_add(len) <= room {
            true => Ok(()),
            false => Err(format!("{len:#x} bytes at {from:#x} of {room:#x}")),
        }
    }
}
