// SPDX-License-Identifier: GPL-2.0-or-later
//! Who else refers to a cluster: what a damaged volume may hold, and what a change must not run into.
//!
//! ```text
//! sound    record -> a -> b -> end          each cluster has one reference: a record's, or a table entry's
//! shared   record -> a -> b -> end          b has two: freeing it would take it from another file,
//!          record -> c ------^              and writing it would change that file
//! taken    record -> d, entry of d is free  d looks free, and is a file's
//! ```
//!
//! References are counted in the whole table and in the records of all folders. No chain is followed, so a lost one that
//! runs into a file's counts as well. A folder that cannot be read leaves the count unknown.

use std::collections::{HashMap, HashSet};

use super::boot_sector::Geometry;
use super::directory::Folder;
use super::table::{Next, Table};
use super::{FatVolume, LARGEST_TREE};
use crate::error::{Error, Result, ResultExt};
use crate::volume::EntryKind;

/// How often clusters are referred to.
#[derive(Debug)]
pub(super) struct References {
    counts: HashMap<u32, u32>,
    /// Why it may be more often: a folder cannot be read.
    pub(super) unknown: Option<Error>,
}

impl References {
    /// `Damaged` unless each of these clusters is referred to at most `most` times.
    pub(super) fn check(&self, geometry: &Geometry, clusters: &[u32], most: u32) -> Result<()> {
        let count = |cluster: &u32| self.counts.get(cluster).copied().unwrap_or(0);
        let Some(cluster) = clusters.iter().find(|cluster| count(cluster) > most) else {
            return Ok(());
        };
        let expected = match most {
            0 => "a cluster that is free, and no file's".to_owned(),
            _ => "a cluster of one file".to_owned(),
        };
        Err(Error::damaged(
            format!("cluster {cluster}"),
            geometry.offset_of(*cluster),
            expected,
            match count(cluster) {
                1 => "a reference to it".to_owned(),
                many => format!("{many} references to it"),
            },
        )
        .with_hint(
            "making sure that no other file is in the same clusters",
            "nothing was written; check the volume with fsck.fat or chkdsk first, on a copy",
        ))
    }
}

impl FatVolume {
    /// Counts the references to these clusters.
    pub(super) fn references<'c>(
        &self,
        clusters: impl IntoIterator<Item = &'c u32>,
    ) -> Result<References> {
        let clusters = clusters.into_iter();
        let mut counts: HashMap<u32, u32> = clusters.map(|cluster| (*cluster, 0)).collect();
        self.count_in_table(&mut counts)?;
        let unknown = self.count_in_folders(&mut counts).err();
        Ok(References { counts, unknown })
    }

    /// Adds the table's entries that name one of these clusters as the next.
    fn count_in_table(&self, counts: &mut HashMap<u32, u32>) -> Result<()> {
        let mut table = Table::new(self.device.as_ref(), &self.geometry);
        let end = self.geometry.clusters.saturating_add(2);
        for cluster in 2..end {
            if let Next::Cluster(next) = table.next(cluster)? {
                add(counts, next);
            }
        }
        Ok(())
    }

    /// Adds the records that begin at one of these clusters, of every folder that is reached from the root.
    fn count_in_folders(&self, counts: &mut HashMap<u32, u32>) -> Result<()> {
        add(counts, self.geometry.root_cluster);
        let mut seen = 0_usize;
        let mut entered = HashSet::from([self.geometry.root_cluster]);
        let mut pending: Vec<Folder> = vec![self.root()?];
        while let Some(folder) = pending.pop() {
            seen = seen.saturating_add(folder.records.len());
            if seen > LARGEST_TREE {
                return Err(Error::unsupported(
                    "a volume of more than a million files and folders",
                    "check it with fsck.fat or chkdsk, and leave the length of its files alone",
                ));
            }
            for record in &folder.records {
                add(counts, record.first_cluster);
                if record.kind() == EntryKind::Directory && entered.insert(record.first_cluster) {
                    let below = self.folder(record);
                    pending.push(below.context(|| format!("reading the folder {}", record.name))?);
                }
            }
        }
        Ok(())
    }
}

fn add(counts: &mut HashMap<u32, u32>, cluster: u32) {
    if let Some(count) = counts.get_mut(&cluster) {
        *count = count.saturating_add(1);
    }
}
