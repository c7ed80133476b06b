// SPDX-License-Identifier: GPL-2.0-or-later
//! Choosing free clusters.
//!
//! ```text
//! 1  right behind the last cluster of the file, as many as are free there
//! 2  the first free run that holds all the others: from there to the end, then from the start, not in the MFT zone
//! 3  the largest free runs outside the MFT zone, in the order of the volume
//! 4  the MFT zone too
//! ```
//!
//! The MFT zone is kept free for $MFT to grow in one piece: an eighth of the volume from the start of $MFT, as with
//! ntfs-3g (volume.c); it is a custom, not a part of the format. Nothing is written here. Source for $Bitmap: the
//! Linux-NTFS documentation and ntfs-3g's layout.h.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::{ControlFlow, Range};

use crate::error::{Error, Result};

use super::bitmap::Bitmap;
use super::clusters;
use super::format::Lcn;
use super::mft::Mft;
use super::runs::Run;

/// More runs than the mapping pairs of one record can hold: at two bytes and a header each, in 4096 bytes.
const MOST_RUNS: usize = 2048;

/// What the clusters are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A file, or an index.
    File,
    /// $MFT itself, for which the MFT zone is.
    Mft,
}

/// Chooses `wanted` free clusters for the VCNs from `vcn` on, near the cluster `near`.
///
/// `Refused` when the volume is full, or so fragmented that no record could hold the runs.
pub(super) fn choose(
    mft: &Mft,
    purpose: Purpose,
    near: Option<u64>,
    vcn: u64,
    wanted: u64,
) -> Result<Vec<Run>> {
    let bitmap = Bitmap::clusters(mft)?;
    let mut chosen = Vec::new();
    let mut left = wanted;
    let mut taken = 0..0;
    if let Some(near) = near {
        let behind = bitmap.free_at(near, left)?;
        taken = near..near.saturating_add(behind);
        if behind > 0 {
            chosen.push((near, behind));
            left = left.saturating_sub(behind);
        }
    }
    if left > 0 {
        let zone = match purpose {
            Purpose::File => zone(mft),
            Purpose::Mft => 0..0,
        };
        chosen.extend(search(&bitmap, &zone, &taken, left)?);
    }
    let mut runs = Vec::new();
    let mut vcn = vcn;
    for (first, clusters) in chosen {
        runs.push(Run {
            vcn,
            lcn: Some(Lcn(first)),
            clusters,
        });
        vcn = vcn.saturating_add(clusters);
    }
    clusters::check_new(mft, &runs)?;
    Ok(runs)
}

/// Where $MFT is expected to grow.
fn zone(mft: &Mft) -> Range<u64> {
    let start = mft.boot.mft.0;
    start..start.saturating_add(mft.boot.clusters / 8)
}

/// The free runs met so far: the largest ones, outside and inside the zone.
#[derive(Default)]
struct Candidates {
    outside: BinaryHeap<Reverse<(u64, u64)>>,
    inside: BinaryHeap<Reverse<(u64, u64)>>,
    free: u64,
}

impl Candidates {
    fn add(&mut self, inside: bool, first: u64, clusters: u64) {
        self.free = self.free.saturating_add(clusters);
        let heap = if inside {
            &mut self.inside
        } else {
            &mut self.outside
        };
        heap.push(Reverse((clusters, first)));
        if heap.len() > MOST_RUNS {
            heap.pop();
        }
    }
}

/// Steps 2 to 4: `wanted` clusters, not those that were taken in step 1.
fn search(
    bitmap: &Bitmap<'_>,
    zone: &Range<u64>,
    taken: &Range<u64>,
    wanted: u64,
) -> Result<Vec<(u64, u64)>> {
    // What lies outside the zone, behind what was taken and then before it; then the zone, in the same way.
    let outside = |range: Range<u64>| {
        let before = range.start..range.end.min(zone.start);
        let behind = range.start.max(zone.end)..range.end;
        [before, behind]
    };
    let mut parts = Vec::new();
    parts.extend(outside(taken.end..bitmap.len()).map(|part| (false, part)));
    parts.extend(outside(0..taken.start).map(|part| (false, part)));
    parts.push((true, zone.start.max(taken.end)..zone.end));
    parts.push((true, zone.start..zone.end.min(taken.start)));

    let mut candidates = Candidates::default();
    for (inside, part) in parts {
        let mut whole = None;
        bitmap.free_runs(part.start, part.end, &mut |first, clusters| {
            if clusters >= wanted {
                whole = Some((first, wanted));
                return ControlFlow::Break(());
            }
            candidates.add(inside, first, clusters);
            ControlFlow::Continue(())
        })?;
        if let Some(whole) = whole {
            return Ok(vec![whole]);
        }
    }
    if candidates.free < wanted {
        return Err(Error::refused(
            format!(
                "the volume is full: {wanted} more clusters are needed, and {} are free",
                candidates.free
            ),
            "free some space on it first, for example by deleting files in Windows",
        ));
    }
    let mut chosen = Vec::new();
    let mut left = wanted;
    for heap in [candidates.outside, candidates.inside] {
        // Sorted by `Reverse`: the largest come first.
        for Reverse((clusters, first)) in heap.into_sorted_vec() {
            if left == 0 {
                break;
            }
            let clusters = clusters.min(left);
            chosen.push((first, clusters));
            left = left.saturating_sub(clusters);
        }
    }
    if left > 0 {
        return Err(Error::refused(
            format!(
                "the free space of the volume is in too many pieces: {wanted} more clusters are needed, and \
                 even its {MOST_RUNS} largest free runs hold only {}",
                wanted.saturating_sub(left)
            ),
            "attach the disk to a Windows computer and run `defrag X:`, or free some space",
        ));
    }
    chosen.sort_unstable();
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_runs_are_kept_and_come_first() {
        let mut candidates = Candidates::default();
        for run in 0..3000_u64 {
            candidates.add(false, run * 10_000, run % 1000 + 1);
        }
        let kept = candidates.outside.into_sorted_vec();
        assert_eq!(kept.len(), MOST_RUNS);
        let sizes: Vec<u64> = kept
            .iter()
            .map(|Reverse((clusters, _))| *clusters)
            .collect();
        assert!(sizes.is_sorted_by(|left, right| left >= right));
        assert_eq!((sizes.first(), sizes.last()), (Some(&1000), Some(&318)));
        assert_eq!(candidates.free, 3 * 500_500);
    }
}
