// SPDX-License-Identifier: GPL-2.0-or-later
//! Where the bytes are that a record of the log is about, and the structures there.
//!
//! ```text
//! cluster of the attribute -> dirty page table: its place, freed, or its page has the record already
//!                          -> undo: the place that the record itself names
//!                          -> a structure: the mapping of the file
//! structure: its clusters -> sectors' ends put back -> its LSN says whether the record is in it
//! ```
//!
//! Source: the Linux driver ntfs3 (fslog.c).

use super::{Doing, LOOKUPS_MAX, Pass, Replay, SECTORS_MAX, Step, fills, key};
use crate::bytes;
use crate::error::{Error, Result};
use crate::volume::ntfs::logfile::operation::{self, Changes};
use crate::volume::ntfs::logfile::tables::{FREED, damaged};
use crate::volume::ntfs::multi_sector;

/// A piece of what a record changes.
pub(super) enum Part {
    /// Where it is: bytes from the start of the volume.
    At(u64),
    /// It is on the disk as it is to be, and not to be touched.
    OnDisk,
    /// Its cluster was freed.
    Freed,
    /// It is not known where it is.
    Unknown,
}

/// Where a cluster is.
enum Cluster {
    At(u64),
    OnDisk,
    Freed,
    Unknown,
}

/// A FILE or INDX structure on the disk.
pub(super) struct Structure {
    /// Where its pieces are, and how long they are.
    pub(super) places: Vec<(u64, usize)>,
    /// Its bytes there.
    pub(super) disk: Vec<u8>,
    /// The same with the sectors' ends put back; zeros where it is to be filled anew.
    pub(super) memory: Vec<u8>,
    /// The last record that it has.
    pub(super) lsn: u64,
}

impl Structure {
    /// What goes to the disk for `memory`: under the update sequence number after the one there.
    pub(super) fn protected(&self, mut memory: Vec<u8>) -> Option<Vec<u8>> {
        let number = multi_sector::number(&self.disk).or_else(|| multi_sector::number(&memory));
        multi_sector::protect_as(&mut memory, multi_sector::next(number?)).then_some(memory)
    }
}

impl Replay<'_> {
    /// The structure of `len` bytes that a record changes, or why it is not to be changed.
    pub(super) fn structure(&self, doing: &Doing<'_>, len: u64) -> Result<Result<Structure, Step>> {
        let Doing { lsn, pass, .. } = *doing;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let mut places = Vec::new();
        for (part, len) in self.parts(doing, (doing.action.cluster_offset, len))? {
            match part {
                Part::At(place) => places.push((place, len)),
                // Whether a structure is on the disk is told by its LSN.
                Part::OnDisk => return Ok(Err(Step::OnDisk)),
                Part::Freed => return Ok(Err(Step::Void)),
                Part::Unknown => {
                    let expected = "clusters that are known";
                    return Err(doing.refused(expected, "one that is not"));
                }
            }
        }
        let mut disk = Vec::new();
        for (place, len) in &places {
            let start = disk.len();
            disk.resize(start.saturating_add(*len), 0);
            let part = disk.get_mut(start..).unwrap_or_default();
            self.disk.device.read_at(*place, part)?;
        }
        let (magic, what) = match doing.is_in_index() {
            true => (b"INDX", "an index block"),
            false => (b"FILE", "a record"),
        };
        let mut memory = disk.clone();
        if let Err(fault) = multi_sector::restore(&mut memory, magic, what, 0) {
            if pass == Pass::Redo && fills(&doing.change) {
                let memory = vec![0; disk.len()];
                return Ok(Ok(Structure {
                    places,
                    disk,
                    memory,
                    lsn: 0,
                }));
            }
            let later = self.filled.get(&key(doing.action)).copied().unwrap_or(0);
            if pass == Pass::Redo && later > lsn {
                return Ok(Err(Step::Void));
            }
            let expected = format!("{what} that is whole");
            return Err(doing.refused(&expected, &fault.to_string()));
        }
        let own = bytes::u64_le(&memory, 8).unwrap_or(0);
        let end = self.analysis.chain.end;
        if own > end {
            let expected = format!("no LSN above the end of the log, {end:#x}");
            let found = format!("{own:#x}: the volume was used with another log");
            return Err(doing.refused(&expected, &found));
        }
        match pass {
            Pass::Redo if own >= lsn => Ok(Err(Step::OnDisk)),
            _ => Ok(Ok(Structure {
                places,
                disk,
                memory,
                lsn: own,
            })),
        }
    }

    /// Where the bytes are that a record is about: `from` bytes behind the start of its target, and how many.
    pub(super) fn parts(
        &self,
        doing: &Doing<'_>,
        (from, len): (u64, usize),
    ) -> Result<Vec<(Part, usize)>> {
        let cluster_size = u64::from(self.analysis.geometry.cluster_size);
        let mut parts = Vec::new();
        let mut at = from;
        let mut left = u64::try_from(len).unwrap_or(u64::MAX);
        while left > 0 {
            let (slot, inside) = (
                at.checked_div(cluster_size).unwrap_or(0),
                at.checked_rem(cluster_size).unwrap_or(0),
            );
            let len = left.min(cluster_size.saturating_sub(inside));
            let part = match self.cluster(doing, slot) {
                Cluster::At(lcn) => {
                    self.check_cluster(doing.lsn, lcn)?;
                    Part::At(lcn.saturating_mul(cluster_size).saturating_add(inside))
                }
                Cluster::OnDisk => Part::OnDisk,
                Cluster::Freed => Part::Freed,
                Cluster::Unknown => Part::Unknown,
            };
            parts.push((part, usize::try_from(len).unwrap_or(usize::MAX)));
            at = at.saturating_add(len);
            left = left.saturating_sub(len);
        }
        Ok(parts)
    }

    /// Where a cluster of the target is: the first has slot 0.
    fn cluster(&self, doing: &Doing<'_>, slot: u64) -> Cluster {
        let Doing {
            lsn,
            action,
            attribute,
            pass,
            ..
        } = *doing;
        let vcn = action.vcn.saturating_add(slot);
        let own = usize::try_from(slot)
            .ok()
            .and_then(|slot| action.lcns.get(slot).copied());
        let dirty = self.analysis.dirty_cluster(action.target, vcn);
        let structured =
            operation::changes(doing.change.code) == Changes::Record || doing.is_in_index();
        match (dirty, own) {
            (Some((_, FREED)), _) => Cluster::Freed,
            // Bytes have no LSN: what is on the disk must not be laid over by what is older.
            (Some((oldest, _)), _) if pass == Pass::Redo && !structured && lsn < oldest => {
                Cluster::OnDisk
            }
            (Some((_, lcn)), _) if lcn != 0 => Cluster::At(lcn),
            (_, Some(lcn)) if lcn != 0 && pass == Pass::Undo => Cluster::At(lcn),
            _ if structured && self.lookups.get() < LOOKUPS_MAX => {
                self.lookups.set(self.lookups.get().saturating_add(1));
                let file = attribute.file;
                match (self.disk.mapping)(file, attribute.kind, &attribute.name, vcn) {
                    Some(lcn) => Cluster::At(lcn),
                    None => Cluster::Unknown,
                }
            }
            _ => Cluster::Unknown,
        }
    }

    /// A cluster that may be written: of the volume, and neither of $Boot nor of `$LogFile`.
    fn check_cluster(&self, lsn: u64, lcn: u64) -> Result<()> {
        let geometry = &self.analysis.geometry;
        let inside = (geometry.boot_clusters()..geometry.clusters).contains(&lcn);
        let log = self
            .disk
            .log
            .iter()
            .any(|(first, end)| (*first..*end).contains(&lcn));
        if inside && !log {
            return Ok(());
        }
        let expected = "clusters of the volume apart from $Boot and $LogFile";
        Err(damaged("action", lsn, expected, format!("LCN {lcn:#x}")))
    }

    /// Writes a structure.
    pub(super) fn write(&mut self, structure: &Structure, new: &[u8]) -> Result<()> {
        let mut rest = new;
        for (place, len) in &structure.places {
            let Some((part, after)) = rest.split_at_checked(*len) else {
                break;
            };
            self.write_bytes(*place, part)?;
            rest = after;
        }
        Ok(())
    }

    pub(super) fn write_bytes(&mut self, place: u64, data: &[u8]) -> Result<()> {
        let end = place.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        self.sectors.extend(place / 512..end.div_ceil(512));
        if self.sectors.len() > SECTORS_MAX {
            return Err(Error::unsupported(
                "$LogFile holds more changes than are replayed",
                "let Windows carry them out: attach the disk to a Windows computer",
            ));
        }
        self.disk.device.write_at(place, data)
    }
}
