// SPDX-License-Identifier: GPL-2.0-or-later
//! Writing mapping pairs: the counterpart of [`super::decode`].
//!
//! ```text
//! [F|L] [L bytes: clusters] [F bytes: LCN minus the previous LCN] ... 00
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. Both numbers take as few bytes as a two's complement needs: a
//! count of 128 takes two, because one would read as -128. A hole has no second number and leaves the previous
//! LCN as it is.

use super::Run;

/// The mapping pairs of these runs, with the end mark. `None` when a run has a cluster behind 2^63.
pub(in super::super) fn encode(runs: &[Run]) -> Option<Vec<u8>> {
    let mut pairs = Vec::new();
    let mut previous = 0_i64;
    for run in runs {
        let (clusters, clusters_len) = shortest(i64::try_from(run.clusters).ok()?);
        let (delta, delta_len) = match run.lcn {
            None => ([0; 8], 0),
            Some(lcn) => {
                let lcn = i64::try_from(lcn.0).ok()?;
                let delta = lcn.checked_sub(previous)?;
                previous = lcn;
                shortest(delta)
            }
        };
        let widths = u8::try_from(clusters_len).ok()? | u8::try_from(delta_len).ok()? << 4;
        pairs.push(widths);
        pairs.extend_from_slice(clusters.get(..clusters_len)?);
        pairs.extend_from_slice(delta.get(..delta_len)?);
    }
    pairs.push(0);
    Some(pairs)
}

/// The little-endian bytes of a number, and how many of them tell all of it: at least one.
fn shortest(number: i64) -> ([u8; 8], usize) {
    let digits = number.to_le_bytes();
    let len = (1..8)
        .find(|len| {
            let read = digits.get(..*len).and_then(super::signed);
            read == Some(number)
        })
        .unwrap_or(8);
    (digits, len)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Lcn, decode};
    use super::*;

    fn run(vcn: u64, lcn: Option<u64>, clusters: u64) -> Run {
        Run {
            vcn,
            lcn: lcn.map(Lcn),
            clusters,
        }
    }

    #[test]
    fn widths_at_their_borders() {
        assert_eq!(encode(&[]).unwrap(), [0]);
        let cases: [(u64, u64, &[u8]); 6] = [
            (0x7F, 0x7F, &[0x11, 0x7F, 0x7F, 0]),
            (0x80, 0x7F, &[0x12, 0x80, 0, 0x7F, 0]),
            (1, 0x80, &[0x21, 1, 0x80, 0, 0]),
            (0x7FFF, 0x7FFF, &[0x22, 0xFF, 0x7F, 0xFF, 0x7F, 0]),
            (0x8000, 0x8000, &[0x33, 0, 0x80, 0, 0, 0x80, 0, 0]),
            (1, 0, &[0x11, 1, 0, 0]),
        ];
        for (clusters, lcn, expected) in cases {
            assert_eq!(encode(&[run(0, Some(lcn), clusters)]).unwrap(), expected);
        }
        // Backwards by 0x80 and by 0x81, with a hole between.
        let back = [
            run(0, Some(0x200), 1),
            run(1, Some(0x180), 1),
            run(2, None, 2),
            run(4, Some(0xFF), 1),
        ];
        let expected = [
            0x21, 1, 0, 2, 0x11, 1, 0x80, 0x01, 2, 0x21, 1, 0x7F, 0xFF, 0,
        ];
        assert_eq!(encode(&back).unwrap(), expected);
        assert_eq!(encode(&[run(0, Some(u64::MAX), 1)]), None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(
            lowest in 0_u64..1 << 40,
            runs in prop::collection::vec(
                (prop::option::weighted(0.9, 0_u64..1 << 46), 1_u64..1 << 20),
                0..60,
            )
        ) {
            let mut vcn = lowest;
            let runs: Vec<Run> = runs
                .into_iter()
                .map(|(lcn, clusters)| {
                    let next = run(vcn, lcn, clusters);
                    vcn = next.end();
                    next
                })
                .collect();
            let pairs = encode(&runs).unwrap();
            let highest = vcn.wrapping_sub(1);
            let decoded = decode(&pairs, lowest, highest, 1 << 47, "sample", 0).unwrap();
            prop_assert_eq!(decoded, runs);
        }
    }
}
