// SPDX-License-Identifier: GPL-2.0-or-later
//! Replacing the content of a file: in its clusters, with more of them, or with fewer.
//!
//! ```text
//! chain  a -> b -> c        content fits into two: c is freed
//!        a -> b -> c -> d   it needs four: d is found free and linked
//! record first cluster and length are changed where they differ
//! ```
//!
//! A file's chain has exactly as many clusters as its length needs, which `fsck.fat` and Windows check. Everything
//! that can be wrong is found before the first write: a cluster that another file refers to too is neither written nor
//! freed, and one that looks free and is referred to is not taken. Times and attributes stay as they are.
//!
//! A volume that was not closed is written nevertheless, with a note: FAT has nothing that waits, and whether its
//! clusters are sound has just been looked at.

use super::FatVolume;
use super::boot_sector::Width;
use super::directory::Record;
use super::table::{Next, Table, count_free};
use crate::error::{Error, Result};
use crate::volume::path;

/// A length is 32 bits wide. The specification's.
const LONGEST: u64 = 0xffff_ffff;

impl FatVolume {
    /// Makes `content` the content of the file that `record` stands for.
    pub(super) fn replace_content(
        &self,
        name: &str,
        record: &Record,
        content: &[u8],
    ) -> Result<()> {
        let len = u64::try_from(content.len()).unwrap_or(u64::MAX);
        if len > LONGEST {
            return Err(path::too_long(name, len, LONGEST));
        }
        let geometry = &self.geometry;
        let cluster_size = usize::try_from(geometry.cluster_size).unwrap_or(usize::MAX);
        let needed = content.len().div_ceil(cluster_size);
        let mut table = Table::new(self.device.as_ref(), geometry);
        let mut chain = match record.first_cluster {
            0 => Vec::new(),
            first => table.file_chain(first)?,
        };
        let had = chain.len();
        if needed != had {
            for cluster in &chain {
                table.check_copies(*cluster)?;
            }
        }
        let more = match needed > had {
            true => self.grow_chain(name, &mut table, &chain, needed)?,
            false => Vec::new(),
        };
        self.check_references(name, &chain, &more, needed != had)?;
        chain.extend(more);
        let freed = chain.split_off(needed.min(chain.len()));

        for (cluster, part) in chain.iter().zip(content.chunks(cluster_size)) {
            self.device.write_at(geometry.offset_of(*cluster), part)?;
        }
        if needed != had {
            for pair in chain.windows(2) {
                if let [this, next] = pair {
                    table.set(*this, Next::Cluster(*next))?;
                }
            }
            if let Some(last) = chain.last() {
                table.set(*last, Next::End)?;
            }
            for cluster in &freed {
                table.set(*cluster, Next::Free)?;
            }
            let count = |len: usize| i64::try_from(len).unwrap_or(i64::MAX);
            let change = count(had).saturating_sub(count(needed));
            let last = chain.last().copied().filter(|_| needed > had);
            count_free(self.device.as_ref(), geometry, change, last)?;
        }
        self.write_record(record, chain.first().copied().unwrap_or(0), len)
    }

    /// `Damaged` when another file refers to one of these clusters, or may do so and the file's length changes.
    fn check_references(
        &self,
        name: &str,
        chain: &[u32],
        more: &[u32],
        is_resized: bool,
    ) -> Result<()> {
        let references = self.references(chain.iter().chain(more))?;
        references.check(&self.geometry, chain, 1)?;
        references.check(&self.geometry, more, 0)?;
        match references.unknown {
            Some(error) if is_resized => Err(error.with_hint(
                "making sure that no other file is in the same clusters",
                "nothing was written; check the volume with fsck.fat or chkdsk first, on a copy",
            )),
            Some(error) => {
                self.note(format!(
                    "{name} was written in its own clusters; whether another file is in them too cannot be told: {error}"
                ));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The clusters that `chain` needs besides its own to be `needed` long. Nothing is written.
    fn grow_chain(
        &self,
        name: &str,
        table: &mut Table<'_>,
        chain: &[u32],
        needed: usize,
    ) -> Result<Vec<u32>> {
        let more = needed.saturating_sub(chain.len());
        // Behind its last cluster first, so that it stays in one piece where it can.
        let from = chain.last().map_or(2, |last| last.saturating_add(1));
        let found = table.find_free(from, more)?;
        if found.len() < more {
            return Err(Error::refused(
                format!(
                    "{name} needs {more} more clusters, and the volume has {} free ones",
                    found.len()
                ),
                "nothing was written; make room on the volume first",
            ));
        }
        Ok(found)
    }

    /// First cluster and length in the file's record.
    fn write_record(&self, record: &Record, first: u32, len: u64) -> Result<()> {
        let write = |offset: u64, bytes: &[u8]| {
            let place = record.offset.saturating_add(offset);
            self.device.write_at(place, bytes)
        };
        if first != record.first_cluster {
            let [a, b, c, d] = first.to_le_bytes();
            write(26, &[a, b])?;
            if self.geometry.width == Width::Fat32 {
                write(20, &[c, d])?;
            }
        }
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        write(28, &len.to_le_bytes())
    }
}
