// SPDX-License-Identifier: GPL-2.0-or-later
//! Mapping pairs: where the clusters of a non-resident attribute lie.
//!
//! ```text
//! one run:  [F|L] [L bytes: clusters, signed, > 0] [F bytes: LCN minus the previous LCN, signed]
//! F = 0: a hole (sparse).  A byte 00 ends the list.
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. A list is accepted only when it covers exactly the clusters
//! that its attribute header promises and stays inside the volume. That two files share no cluster is
//! the volume checker's business; that one file does not map a cluster twice is checked before writing.

use crate::bytes;
use crate::device::Device;
use crate::error::{Error, Result};

use super::format::Lcn;

mod encode;

pub(super) use encode::encode;

/// Consecutive clusters of an attribute that are consecutive on the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// First cluster of the attribute that it maps (VCN).
    pub(super) vcn: u64,
    /// Where that cluster is on the volume; `None` for a hole.
    pub(super) lcn: Option<Lcn>,
    /// How many clusters, at least 1.
    pub(super) clusters: u64,
}

impl Run {
    /// The VCN after the last one mapped.
    fn end(&self) -> u64 {
        self.vcn.saturating_add(self.clusters)
    }
}

/// Decodes one attribute's mapping pairs.
///
/// `lowest` and `highest` are the VCNs of the attribute header (`highest` is `lowest - 1` when nothing is
/// mapped), `volume_clusters` the clusters of the volume. `what` and `offset` say where the pairs are.
pub(super) fn decode(
    pairs: &[u8],
    lowest: u64,
    highest: u64,
    volume_clusters: u64,
    what: &str,
    offset: u64,
) -> Result<Vec<Run>> {
    let damaged = |at: usize, expected: &str, found: String| {
        let at = offset.saturating_add(u64::try_from(at).unwrap_or(0));
        Error::damaged(format!("{what}: mapping pairs"), at, expected, found)
    };
    let end = highest.wrapping_add(1);
    if end < lowest {
        let found = format!("{highest:#x}");
        return Err(damaged(0, "a highest VCN not below the lowest", found));
    }
    let mut runs = Vec::new();
    let (mut vcn, mut lcn, mut at) = (lowest, 0_i64, 0_usize);
    while let Some(&header) = pairs.get(at).filter(|header| **header != 0) {
        let place = at;
        let mut take = |width: u8| {
            let width = usize::from(width);
            let start = at.checked_add(1)?;
            let value = signed(bytes::slice(pairs, start, width)?)?;
            at = at.checked_add(width)?;
            Some(value)
        };
        let length = take(header & 0x0F);
        let delta = take(header >> 4);
        let (Some(length), Some(delta)) = (length, delta) else {
            return Err(damaged(
                place,
                "a run of at most 8 + 8 bytes",
                format!("{header:#04x}"),
            ));
        };
        at = at.saturating_add(1);
        let clusters = u64::try_from(length).unwrap_or(0);
        let run_end = vcn.checked_add(clusters).filter(|run_end| *run_end <= end);
        let (Some(run_end), true) = (run_end, clusters > 0) else {
            let expected = format!("1 to {} clusters", end.saturating_sub(vcn));
            return Err(damaged(place, &expected, length.to_string()));
        };
        let place_on_volume = if header >> 4 == 0 {
            None
        } else {
            lcn = lcn.saturating_add(delta);
            let first = u64::try_from(lcn).ok();
            let inside = first.filter(|first| {
                first
                    .checked_add(clusters)
                    .is_some_and(|last| last <= volume_clusters)
            });
            let Some(first) = inside else {
                let expected = format!("clusters below {volume_clusters}");
                return Err(damaged(place, &expected, format!("{clusters} at {lcn}")));
            };
            Some(Lcn(first))
        };
        runs.push(Run {
            vcn,
            lcn: place_on_volume,
            clusters,
        });
        vcn = run_end;
    }
    if vcn != end {
        let found = format!("{} clusters", vcn.saturating_sub(lowest));
        let expected = format!("{} clusters", end.saturating_sub(lowest));
        return Err(damaged(at, &expected, found));
    }
    Ok(runs)
}

/// How many clusters mapping pairs map; `None` when they are none.
pub(super) fn mapped(pairs: &[u8]) -> Option<u64> {
    let (mut clusters, mut at) = (0_u64, 0_usize);
    while let Some(&header) = pairs.get(at).filter(|header| **header != 0) {
        let (length, place) = (usize::from(header & 0x0F), usize::from(header >> 4));
        at = at.checked_add(1)?;
        let run = u64::try_from(signed(bytes::slice(pairs, at, length)?)?).ok()?;
        clusters = clusters.checked_add(run).filter(|_| run > 0)?;
        at = at.checked_add(length)?;
        bytes::slice(pairs, at, place)?;
        at = at.checked_add(place)?;
    }
    Some(clusters)
}

/// A little-endian two's complement number of 0 to 8 bytes.
fn signed(digits: &[u8]) -> Option<i64> {
    let fill = match digits.last() {
        Some(top) if *top >= 0x80 => 0xFF,
        _ => 0,
    };
    let mut wide = [fill; 8];
    wide.get_mut(..digits.len())?.copy_from_slice(digits);
    Some(i64::from_le_bytes(wide))
}

/// A contiguous piece of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where it is: bytes from the start of the volume; `None` in a hole.
    pub(super) place: Option<u64>,
    /// Its length in bytes, at least 1.
    pub(super) len: u64,
}

/// The most runs of one attribute. Windows stops at about 1.5 million, when the attribute list is full.
const MOST_RUNS: usize = 2_000_000;

/// All clusters of an attribute: its runs from VCN 0 without gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RunList {
    runs: Vec<Run>,
    cluster_size: u32,
}

impl RunList {
    /// An empty list for clusters of `cluster_size` bytes.
    pub(super) fn new(cluster_size: u32) -> Self {
        RunList {
            runs: Vec::new(),
            cluster_size,
        }
    }

    /// Adds the runs of the attribute's next extent. False when they do not continue this list, or when there
    /// are more than [`MOST_RUNS`].
    #[must_use]
    pub(super) fn extend(&mut self, more: Vec<Run>) -> bool {
        let continues = more.first().is_none_or(|run| run.vcn == self.clusters());
        if !continues || self.runs.len().saturating_add(more.len()) > MOST_RUNS {
            return false;
        }
        self.runs.extend(more);
        true
    }

    /// Mapped clusters, holes included.
    pub(super) fn clusters(&self) -> u64 {
        self.runs.last().map_or(0, Run::end)
    }

    /// Mapped bytes, holes included.
    pub(super) fn len(&self) -> u64 {
        self.clusters().saturating_mul(u64::from(self.cluster_size))
    }

    /// The runs, in the attribute's order.
    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Cuts `len` bytes at `offset` (bytes of the attribute) into contiguous pieces.
    ///
    /// `None` when they are not all mapped.
    pub(super) fn pieces(&self, offset: u64, len: u64) -> Option<Vec<Piece>> {
        let cluster_size = u64::from(self.cluster_size);
        let end = offset.checked_add(len).filter(|end| *end <= self.len())?;
        let first = offset.checked_div(cluster_size)?;
        let index = self.runs.partition_point(|run| run.end() <= first);
        let mut pieces = Vec::new();
        let mut at = offset;
        for run in self.runs.get(index..)? {
            if at >= end {
                break;
            }
            let into = at.checked_sub(run.vcn.checked_mul(cluster_size)?)?;
            let rest = run.clusters.checked_mul(cluster_size)?.checked_sub(into)?;
            let len = rest.min(end.checked_sub(at)?);
            let place = match run.lcn {
                Some(lcn) => Some(lcn.0.checked_mul(cluster_size)?.checked_add(into)?),
                None => None,
            };
            pieces.push(Piece { place, len });
            at = at.checked_add(len)?;
        }
        Some(pieces)
    }

    /// Fills `buffer` from `offset` (bytes of the attribute); holes read as zeros.
    pub(super) fn read_at(
        &self,
        device: &dyn Device,
        offset: u64,
        buffer: &mut [u8],
        what: &str,
    ) -> Result<()> {
        let len = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        let pieces = self.pieces(offset, len).ok_or_else(|| {
            Error::damaged(
                what,
                offset,
                format!("{len} bytes inside the {} mapped ones", self.len()),
                "nothing there",
            )
        })?;
        let mut rest = buffer;
        for piece in pieces {
            let len = usize::try_from(piece.len).unwrap_or(usize::MAX);
            let Some((part, after)) = rest.split_at_mut_checked(len) else {
                break;
            };
            match piece.place {
                Some(place) => device.read_at(place, part)?,
                None => part.fill(0),
            }
            rest = after;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(vcn: u64, lcn: Option<u64>, clusters: u64) -> Run {
        Run {
            vcn,
            lcn: lcn.map(Lcn),
            clusters,
        }
    }

    fn decode_all(pairs: &[u8], lowest: u64, highest: u64) -> Result<Vec<Run>> {
        decode(pairs, lowest, highest, 0x10000, "sample", 0x40)
    }

    #[test]
    fn forward_back_and_hole() {
        // 0x18 clusters at 0x5634; 2 clusters of hole; 0x10 clusters at 0x5634 - 0x10.
        let pairs = [0x21, 0x18, 0x34, 0x56, 0x01, 0x02, 0x11, 0x10, 0xF0, 0x00];
        assert_eq!(
            decode_all(&pairs, 0, 0x29).unwrap(),
            [
                run(0, Some(0x5634), 0x18),
                run(0x18, None, 2),
                run(0x1A, Some(0x5624), 0x10)
            ]
        );
        // As a later extent of the attribute, and without the end mark at the attribute's end.
        assert_eq!(
            decode_all(&pairs[..4], 7, 0x1E).unwrap(),
            [run(7, Some(0x5634), 0x18)]
        );
    }

    #[test]
    fn nothing_mapped() {
        assert_eq!(decode_all(&[0], 0, u64::MAX).unwrap(), []);
        assert_eq!(decode_all(&[], 0, u64::MAX).unwrap(), []);
        assert!(decode_all(&[0], 5, 3).is_err());
    }

    #[test]
    fn faults() {
        let faults: [(&str, &[u8], u64); 10] = [
            ("length negative", &[0x11, 0xFF, 0x10, 0], 0xFE),
            ("length zero", &[0x11, 0x00, 0x10, 0], 0),
            ("length missing", &[0x10, 0x10, 0], 0),
            ("longer than promised", &[0x11, 2, 0x10, 0], 0),
            ("shorter than promised", &[0x11, 2, 0x10, 0], 2),
            ("cut off", &[0x21, 2, 0x10], 1),
            (
                "nine bytes wide",
                &[0x19, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0],
                0,
            ),
            ("before the volume", &[0x11, 1, 0xF0, 0], 0),
            ("past the volume", &[0x31, 1, 0x00, 0x00, 0x01, 0], 0),
            (
                "past all numbers",
                &[0x81, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0],
                0,
            ),
        ];
        for (name, pairs, highest) in faults {
            assert!(decode_all(pairs, 0, highest).is_err(), "{name}");
        }
        // The last cluster of the volume is still inside.
        assert!(decode_all(&[0x31, 1, 0xFF, 0xFF, 0x00, 0], 0, 0).is_ok());
    }

    #[test]
    fn pieces_follow_the_runs() {
        let mut list = RunList::new(512);
        assert!(list.extend(vec![run(0, Some(10), 2), run(2, None, 1)]));
        assert!(!list.extend(vec![run(4, Some(5), 1)]));
        assert!(list.extend(vec![run(3, Some(5), 1)]));
        let many = (4..)
            .map(|vcn| run(vcn, None, 1))
            .take(MOST_RUNS - 2)
            .collect();
        assert!(!list.clone().extend(many));
        let piece = |place, len| Piece { place, len };
        assert_eq!(
            list.pieces(1000, 1000).unwrap(),
            [
                piece(Some(10 * 512 + 1000), 24),
                piece(None, 512),
                piece(Some(5 * 512), 464)
            ]
        );
        assert_eq!(list.pieces(0, 0).unwrap(), []);
        assert_eq!(list.pieces(2048, 0).unwrap(), []);
        assert!(list.pieces(2048, 1).is_none());
        assert!(list.pieces(u64::MAX, 2).is_none());
    }
}
