// SPDX-License-Identifier: GPL-2.0-or-later
//! Marvin32, the keyed checksum that Windows 8.1 and later put over each transaction log entry.
//!
//! State: two 32-bit words, set from a 64-bit seed. Each little-endian word of input is added to the low
//! half and mixed in by four rotations (20, 9, 27, 19); the last 0 to 3 bytes are closed with 0x80, as a
//! last word, and a zero word follows. Source: msuhanov/regf, "Log entries", and the published algorithm.

use crate::bytes::u32_le;

/// The registry's seed; the specification prints it as the bytes 82 EF 4D 88 7A 4E 55 C5.
pub const REGISTRY_SEED: u64 = 0x82EF_4D88_7A4E_55C5;

/// The two halves of the running state.
struct State {
    low: u32,
    high: u32,
}

impl State {
    fn mix(&mut self, word: u32) {
        self.low = self.low.wrapping_add(word);
        self.high ^= self.low;
        self.low = self.low.rotate_left(20).wrapping_add(self.high);
        self.high = self.high.rotate_left(9) ^ self.low;
        self.low = self.low.rotate_left(27).wrapping_add(self.high);
        self.high = self.high.rotate_left(19);
    }
}

/// The Marvin32 checksum of `bytes` under the registry's seed.
pub fn marvin32(bytes: &[u8]) -> u64 {
    let [a, b, c, d, e, f, g, h] = REGISTRY_SEED.to_le_bytes();
    let mut state = State {
        low: u32::from_le_bytes([a, b, c, d]),
        high: u32::from_le_bytes([e, f, g, h]),
    };
    let words = bytes.chunks_exact(4);
    let last = match *words.remainder() {
        [a, b, c] => [a, b, c, 0x80],
        [a, b] => [a, b, 0x80, 0],
        [a] => [a, 0x80, 0, 0],
        _ => [0x80, 0, 0, 0],
    };
    for word in words.filter_map(|word| u32_le(word, 0)) {
        state.mix(word);
    }
    state.mix(u32::from_le_bytes(last));
    state.mix(0);
    u64::from(state.high) << 32 | u64::from(state.low)
}

#[cfg(test)]
mod tests {
    use super::marvin32;

    #[test]
    fn known_answers() {
        // Computed with yarp, whose hashes agree with entries that Windows wrote.
        let counting: Vec<u8> = (0..32).collect();
        for (input, expected) in [
            (&b""[..], 0xB39E_FCA4_0396_6E08),
            (&[0; 4], 0x2400_585E_2D11_6FBF),
            (b"HvLE", 0x9145_2793_2CF3_36DD),
            (&counting, 0xC64F_EEE4_25C2_E24C),
        ] {
            assert_eq!(marvin32(input), expected, "{input:02x?}");
        }
    }

    #[test]
    fn the_tail_counts() {
        // The closing 0x80 stands right after the last byte, so padding by hand is a different input.
        let hashes: Vec<u64> = (0..5).map(|len| marvin32(&[0; 8][..len])).collect();
        for (index, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..index].contains(hash), "length {index}");
        }
    }
}
