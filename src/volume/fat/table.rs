// SPDX-License-Identifier: GPL-2.0-or-later
//! The file allocation table: which cluster follows which.
//!
//! ```text
//! entry 0, 1     the medium; flags of the volume's state
//! entry n        0 free | the next cluster | ...f7 bad | ...f8 to ...ff the last one
//! FAT12          two entries in three bytes: b0 | (b1 & f) << 8,  b1 >> 4 | b2 << 4
//! FAT32          28 bits; the upper four are kept
//! ```
//!
//! A chain is followed only as far as its caller has use for it, never twice through one cluster, and never out of
//! the table. Both copies of the table are written; where they differ, nothing is allocated.

use std::collections::HashSet;

use super::boot_sector::{Geometry, Width};
use crate::bytes::{array, put, u16_le, u32_le};
use crate::device::Device;
use crate::error::{Error, Result};

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Free,
    Cluster(u32),
    Bad,
    End,
}

/// How much of a table is read at once: little, because most chains are short. No entry of any width crosses a multiple of it.
const WINDOW: usize = 12 << 10;

/// The table of a volume, read through a window.
#[derive(Debug)]
pub(super) struct Table<'v> {
    device: &'v dyn Device,
    geometry: &'v Geometry,
    window: Vec<u8>,
    /// Where the window begins in the table.
    window_at: Option<u64>,
}

impl<'v> Table<'v> {
    pub(super) fn new(device: &'v dyn Device, geometry: &'v Geometry) -> Table<'v> {
        Table {
            device,
            geometry,
            window: Vec::new(),
            window_at: None,
        }
    }

    /// Where the entry of a cluster begins in a table, and how many bytes hold it.
    fn place(&self, cluster: u32) -> (u64, usize) {
        let cluster = u64::from(cluster);
        match self.geometry.width {
            Width::Fat12 => (cluster.saturating_add(cluster >> 1), 2),
            Width::Fat16 => (cluster.saturating_mul(2), 2),
            Width::Fat32 => (cluster.saturating_mul(4), 4),
        }
    }

    /// True for a cluster that exists.
    fn exists(&self, cluster: u32) -> bool {
        cluster >= 2 && cluster.saturating_sub(2) < self.geometry.clusters
    }

    /// The raw entry of a cluster that exists, or of 0 or 1, in the first table.
    fn raw(&mut self, cluster: u32) -> Result<u32> {
        let table = self.geometry.tables.first().copied().unwrap_or_default();
        let (offset, len) = self.place(cluster);
        let window = u64::try_from(WINDOW).unwrap_or(u64::MAX);
        let at = offset.saturating_sub(offset.checked_rem(window).unwrap_or(0));
        if self.window_at != Some(at) {
            let start = table.saturating_add(at);
            let room = self.device.len().saturating_sub(start);
            let len = usize::try_from(room).map_or(WINDOW, |room| room.min(WINDOW));
            self.window_at = None;
            self.window.resize(len, 0);
            self.device.read_at(start, &mut self.window)?;
            self.window_at = Some(at);
        }
        let inside = usize::try_from(offset.saturating_sub(at)).unwrap_or(usize::MAX);
        let value = match len {
            2 => u16_le(&self.window, inside).map(u32::from),
            _ => u32_le(&self.window, inside),
        };
        value.ok_or_else(|| {
            Error::damaged(
                "FAT",
                table.saturating_add(offset),
                "an entry inside the volume",
                "its end",
            )
        })
    }

    /// The entry of a cluster, without the bits that are not its own.
    fn value(&self, cluster: u32, raw: u32) -> u32 {
        match self.geometry.width {
            Width::Fat12 if cluster & 1 != 0 => raw >> 4,
            Width::Fat12 => raw & 0xfff,
            Width::Fat16 => raw,
            Width::Fat32 => raw & 0x0fff_ffff,
        }
    }

    /// The mark of a chain's end.
    fn end(&self) -> u32 {
        match self.geometry.width {
            Width::Fat12 => 0xfff,
            Width::Fat16 => 0xffff,
            Width::Fat32 => 0x0fff_ffff,
        }
    }

    /// What the entry of an existing cluster says.
    pub(super) fn next(&mut self, cluster: u32) -> Result<Next> {
        let raw = self.raw(cluster)?;
        let value = self.value(cluster, raw);
        let end = self.end();
        Ok(match value {
            0 => Next::Free,
            value if value >= end.saturating_sub(7) => Next::End,
            value if value == end.saturating_sub(8) => Next::Bad,
            value => Next::Cluster(value),
        })
    }

    /// True when the table says that the volume was not closed. FAT12 has no such flag.
    pub(super) fn is_dirty(&mut self) -> Result<bool> {
        let raw = self.raw(1)?;
        Ok(match self.geometry.width {
            Width::Fat12 => false,
            Width::Fat16 => raw & 0x8000 == 0,
            Width::Fat32 => raw & 0x0800_0000 == 0,
        })
    }

    /// The clusters of the chain that begins at `first`, at most `most` of them.
    ///
    /// # Errors
    /// `Damaged` for a chain that leaves the table, ends in nothing, or comes back to itself.
    pub(super) fn chain(&mut self, first: u32, most: usize) -> Result<Vec<u32>> {
        let mut chain = Vec::new();
        let mut visited = HashSet::new();
        let mut cluster = first;
        while chain.len() < most {
            let fault = |found: String| {
                Err(Error::damaged(
                    format!("chain of clusters from {first}"),
                    self.geometry.tables.first().copied().unwrap_or_default(),
                    "clusters of this volume, each once, up to an end",
                    found,
                ))
            };
            if !self.exists(cluster) {
                return fault(format!("cluster {cluster}"));
            }
            if !visited.insert(cluster) {
                return fault(format!("cluster {cluster} a second time"));
            }
            chain.push(cluster);
            match self.next(cluster)? {
                Next::Cluster(next) => cluster = next,
                Next::End => break,
                Next::Free => return fault(format!("a free cluster after {cluster}")),
                Next::Bad => return fault(format!("a bad cluster after {cluster}")),
            }
        }
        Ok(chain)
    }

    /// The whole chain of a file, which has at most as many clusters as its length of 32 bits can need.
    pub(super) fn file_chain(&mut self, first: u32) -> Result<Vec<u32>> {
        let size = u64::from(self.geometry.cluster_size);
        let most = (1_u64 << 32).div_ceil(size);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let chain = self.chain(first, most.saturating_add(1))?;
        if chain.len() > most {
            return Err(Error::damaged(
                format!("chain of clusters from {first}"),
                self.geometry.tables.first().copied().unwrap_or_default(),
                format!("at most {most} clusters, for 4 GiB"),
                "more",
            ));
        }
        Ok(chain)
    }

    /// `count` free clusters, looked for from `from` on and then from the start; fewer when there are no more.
    pub(super) fn find_free(&mut self, from: u32, count: usize) -> Result<Vec<u32>> {
        let end = self.geometry.clusters.saturating_add(2);
        let from = from.clamp(2, end);
        let mut found = Vec::new();
        for cluster in (from..end).chain(2..from) {
            if found.len() >= count {
                break;
            }
            if self.next(cluster)? == Next::Free {
                self.check_copies(cluster)?;
                found.push(cluster);
            }
        }
        Ok(found)
    }

    /// `Damaged` unless all tables say the same of a cluster.
    pub(super) fn check_copies(&mut self, cluster: u32) -> Result<()> {
        let raw = self.raw(cluster)?;
        let first = self.value(cluster, raw);
        let (offset, len) = self.place(cluster);
        for table in self.geometry.tables.iter().skip(1) {
            let mut entry = [0; 4];
            let place = table.saturating_add(offset);
            self.device
                .read_at(place, entry.get_mut(..len).unwrap_or_default())?;
            let copy = self.value(cluster, u32::from_le_bytes(entry));
            if copy != first {
                return Err(Error::damaged(
                    format!("second FAT, entry of cluster {cluster}"),
                    place,
                    format!("{first:#x}, as the first FAT has it"),
                    format!("{copy:#x}"),
                )
                .with_hint(
                    "changing the length of a file",
                    "the copies of the FAT differ: check the volume with fsck.fat or chkdsk first",
                ));
            }
        }
        Ok(())
    }

    /// Writes the entry of a cluster into all tables.
    pub(super) fn set(&mut self, cluster: u32, next: Next) -> Result<()> {
        let value = match next {
            Next::Free => 0,
            Next::Cluster(next) => next,
            Next::Bad => self.end().saturating_sub(8),
            Next::End => self.end(),
        };
        let (offset, len) = self.place(cluster);
        for table in &self.geometry.tables {
            let mut entry = [0; 4];
            let place = table.saturating_add(offset);
            let part = entry.get_mut(..len).unwrap_or_default();
            self.device.read_at(place, part)?;
            let old = u32::from_le_bytes(entry);
            let new = match self.geometry.width {
                Width::Fat12 if cluster & 1 != 0 => old & 0xf | value << 4,
                Width::Fat12 => old & 0xf000 | value & 0xfff,
                Width::Fat16 => value,
                Width::Fat32 => old & 0xf000_0000 | value & 0x0fff_ffff,
            };
            let bytes = new.to_le_bytes();
            self.device
                .write_at(place, bytes.get(..len).unwrap_or_default())?;
        }
        self.window_at = None;
        Ok(())
    }
}

/// The sector with the count of free clusters, kept right; left alone where it is none or does not know.
///
/// 0 "RRaA"   484 "rrAa"   488 free clusters, ffffffff for unknown   492 where to look next
pub(super) fn count_free(
    device: &dyn Device,
    geometry: &Geometry,
    change: i64,
    last: Option<u32>,
) -> Result<()> {
    const FREE: usize = 488;
    const NEXT: usize = 492;
    let Some(offset) = geometry.info_offset else {
        return Ok(());
    };
    let mut sector = [0; 512];
    device.read_at(offset, &mut sector)?;
    let signed = array(&sector, 0) == Some(*b"RRaA") && array(&sector, 484) == Some(*b"rrAa");
    let free = u32_le(&sector, FREE).unwrap_or(u32::MAX);
    if !signed || free == u32::MAX {
        return Ok(());
    }
    let free = i64::from(free).saturating_add(change);
    // A count that cannot be right becomes "unknown", which every driver counts anew.
    let free = u32::try_from(free)
        .ok()
        .filter(|free| *free <= geometry.clusters)
        .unwrap_or(u32::MAX);
    let written = put(&mut sector, FREE, &free.to_le_bytes())
        && last.is_none_or(|last| put(&mut sector, NEXT, &last.to_le_bytes()));
    match written {
        true => device.write_at(offset, &sector),
        false => Ok(()),
    }
}
