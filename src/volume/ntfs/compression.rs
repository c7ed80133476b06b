// SPDX-License-Identifier: GPL-2.0-or-later
//! LZNT1: reads the content of compressed streams.
//!
//! ```text
//! stream: compression units of (usually) 16 clusters, each stored in one of three ways
//!   16 holes            zeros
//!   16 clusters         plain
//!   n clusters, holes   compressed, in chunks that give 4096 bytes each
//! chunk:  u16 header: bits 0-11 length of the rest - 1, 12-14 = 3, 15 compressed; 0000 ends the unit
//!   then groups: one byte of flags, low bit first: 0 a literal byte; 1 a u16 {distance - 1 | length - 3}
//!   whose distance takes as many high bits (4 to 12) as the place in the chunk needs
//! ```
//!
//! Source: [MS-XCA] 2.5; the Linux-NTFS documentation and ntfs-3g's layout.h. Reading only: a compressed file is never written.

use crate::bytes;
use crate::device::Device;
use crate::error::{Error, Result};

use super::runs::RunList;

/// Bytes that a chunk gives, but for the last one of a unit.
const CHUNK: usize = 4096;

/// The geometry of a compressed stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit {
    clusters: u64,
    cluster_size: u64,
    len: usize,
}

impl Unit {
    /// For `1 << exponent` clusters a unit.
    pub(super) fn new(cluster_size: u32, exponent: u8, what: &str) -> Result<Unit> {
        // Windows makes units of 16 clusters of at most 4 KiB.
        const MAX: u64 = 1 << 20;
        let clusters = 1_u64.checked_shl(u32::from(exponent)).unwrap_or(0);
        let cluster_size = u64::from(cluster_size);
        let len = clusters
            .checked_mul(cluster_size)
            .filter(|len| exponent > 0 && *len <= MAX)
            .and_then(|len| usize::try_from(len).ok())
            .ok_or_else(|| {
                let expected = format!("a compression unit of 2 clusters to {MAX} bytes");
                Error::damaged(what, 0x22, expected, format!("2^{exponent} clusters"))
            })?;
        Ok(Unit {
            clusters,
            cluster_size,
            len,
        })
    }

    /// Fills `buffer` with the plain content from `offset` (bytes).
    pub(super) fn read_at(
        &self,
        device: &dyn Device,
        map: &RunList,
        offset: u64,
        buffer: &mut [u8],
        what: &str,
    ) -> Result<()> {
        let unit_len = u64::try_from(self.len).unwrap_or(u64::MAX);
        let mut index = offset.checked_div(unit_len).unwrap_or(0);
        let mut skip = offset
            .checked_rem(unit_len)
            .and_then(|skip| usize::try_from(skip).ok())
            .unwrap_or(0);
        let mut rest = buffer;
        while !rest.is_empty() {
            let plain = self.read_unit(device, map, index, what)?;
            let ready = plain.get(skip..).unwrap_or_default();
            let take = ready.len().min(rest.len());
            let Some(((part, after), ready)) =
                rest.split_at_mut_checked(take).zip(ready.get(..take))
            else {
                break;
            };
            part.copy_from_slice(ready);
            rest = after;
            skip = 0;
            index = index.saturating_add(1);
        }
        Ok(())
    }

    /// The plain content of one whole unit.
    fn read_unit(
        &self,
        device: &dyn Device,
        map: &RunList,
        index: u64,
        what: &str,
    ) -> Result<Vec<u8>> {
        let unit_len = u64::try_from(self.len).unwrap_or(u64::MAX);
        let start = index.saturating_mul(unit_len);
        let fault = |found: &str| {
            let expected = "a compression unit stored whole, compressed or not at all";
            Error::damaged(what, start, expected, found)
        };
        let pieces = map
            .pieces(start, unit_len)
            .ok_or_else(|| fault("its clusters are not all mapped"))?;
        let mut plain = vec![0; self.len];
        let stored: u64 = pieces
            .iter()
            .filter(|piece| piece.place.is_some())
            .fold(0, |sum, piece| sum.saturating_add(piece.len));
        if stored == 0 {
            return Ok(plain);
        }
        let first_hole = pieces.iter().position(|piece| piece.place.is_none());
        let holes_last = pieces
            .iter()
            .skip(first_hole.unwrap_or(pieces.len()))
            .all(|piece| piece.place.is_none());
        if !holes_last {
            return Err(fault("clusters after a hole"));
        }
        if stored == unit_len {
            map.read_at(device, start, &mut plain, what)?;
            return Ok(plain);
        }
        let clusters = stored.checked_div(self.cluster_size).unwrap_or(0);
        debug_assert!(clusters < self.clusters);
        let mut packed = vec![0; usize::try_from(stored).unwrap_or(0)];
        map.read_at(device, start, &mut packed, what)?;
        if unpack(&packed, &mut plain).is_none() {
            return Err(fault("bytes that do not unpack"));
        }
        Ok(plain)
    }
}

/// Unpacks the chunks in `packed` into `plain`, which holds zeros. `None` when they are malformed.
pub(super) fn unpack(packed: &[u8], plain: &mut [u8]) -> Option<()> {
    let mut at = 0_usize;
    for output in plain.chunks_mut(CHUNK) {
        // The end may be marked, or be the end of the clusters.
        let header = match bytes::u16_le(packed, at) {
            None | Some(0) => return Some(()),
            Some(header) => header,
        };
        let len = usize::from(header & 0x0FFF).checked_add(1)?;
        let body = bytes::slice(packed, at.checked_add(2)?, len)?;
        at = at.checked_add(2)?.checked_add(len)?;
        if header & 0x7000 != 0x3000 {
            return None;
        }
        if header & 0x8000 == 0 {
            output.get_mut(..len)?.copy_from_slice(body);
        } else {
            unpack_chunk(body, output)?;
        }
    }
    Some(())
}

/// Unpacks one chunk. What it does not fill of `output` stays zero.
fn unpack_chunk(body: &[u8], output: &mut [u8]) -> Option<()> {
    let mut input = body.iter().copied();
    let mut done = 0_usize;
    while let Some(flags) = input.next() {
        for bit in 0..8_u32 {
            let Some(byte) = input.next() else {
                return Some(());
            };
            if flags & 1_u8.checked_shl(bit)? == 0 {
                *output.get_mut(done)? = byte;
                done = done.checked_add(1)?;
                continue;
            }
            let token = u16::from_le_bytes([byte, input.next()?]);
            // The further into the chunk, the more bits the distance has.
            let last = u32::try_from(done.checked_sub(1)?).ok()?;
            let distance_bits = last
                .checked_ilog2()
                .map_or(4, |log| log.saturating_add(1).max(4));
            let length_bits = 16_u32.checked_sub(distance_bits)?;
            let mask = 1_u16.checked_shl(length_bits)?.checked_sub(1)?;
            let distance = usize::from(token.checked_shr(length_bits)?).checked_add(1)?;
            let length = usize::from(token & mask).checked_add(3)?;
            let from = done.checked_sub(distance)?;
            if done.checked_add(length)? > output.len() {
                return None;
            }
            // The source may overlap what is being written: byte by byte.
            for step in 0..length {
                let copied = *output.get(from.checked_add(step)?)?;
                *output.get_mut(done.checked_add(step)?)? = copied;
            }
            done = done.checked_add(length)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification() {
        // [MS-XCA] 3.3: a compressed chunk for text of 0x8E bytes.
        let packed: [u8; 59] = [
            0x38, 0xb0, 0x88, 0x46, 0x23, 0x20, 0x00, 0x20, 0x47, 0x20, 0x41, 0x00, 0x10, 0xa2,
            0x47, 0x01, 0xa0, 0x45, 0x20, 0x44, 0x00, 0x08, 0x45, 0x01, 0x50, 0x79, 0x00, 0xc0,
            0x45, 0x20, 0x05, 0x24, 0x13, 0x88, 0x05, 0xb4, 0x02, 0x4a, 0x44, 0xef, 0x03, 0x58,
            0x02, 0x8c, 0x09, 0x16, 0x01, 0x48, 0x45, 0x00, 0xbe, 0x00, 0x9e, 0x00, 0x04, 0x01,
            0x18, 0x90, 0x00,
        ];
        let text: &[u8] = b"F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# D E F# G F# D \
            E F# G F# E D E A F# F# G A A G F# E D D E F# E D D";
        let mut plain = vec![0; 8192];
        unpack(&packed, &mut plain).unwrap();
        assert_eq!(&plain[..text.len()], text);
        assert!(plain[text.len()..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn faults_are_refused() {
        let mut plain = vec![0; 4096];
        let faults: [(&str, &[u8]); 5] = [
            ("wrong signature", &[0x01, 0x80, 0, b'a']),
            ("cut off", &[0x05, 0xB0, 0, b'a']),
            ("before the start", &[0x03, 0xB0, 0x02, b'a', 0x00, 0x10]),
            ("copy first", &[0x02, 0xB0, 0x01, 0x00, 0x00]),
            ("longer than a chunk", &[0x03, 0xB0, 0x02, b'a', 0xFF, 0x0F]),
        ];
        for (name, packed) in faults {
            let limit = if name == "longer than a chunk" {
                4000
            } else {
                4096
            };
            let result = unpack(packed, &mut plain[..limit]);
            assert!(result.is_none(), "{name}");
        }
        // A length that just fills the chunk is good.
        assert!(unpack(&[0x03, 0xB0, 0x02, b'a', 0xFC, 0x0F], &mut plain).is_some());
    }
}
