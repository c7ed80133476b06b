// SPDX-License-Identifier: GPL-2.0-or-later
//! Damage, told by a string of bytes: which structures, where in them, what. The same string does the same damage, so
//! a fuzzer can work on it, and a seed is enough to repeat it.
//!
//! ```text
//! edit   kind u8  place u16  how u8  offset u16  more 8 bytes     up to eight, one after the other
//! how    00-07 what is done   20 in the head of the structure   40 at a multiple of four   80 not sealed
//! ```

use super::structures::{Bytes, Kind, Place, seal, unseal};

/// The most edits of one damage.
const EDITS: usize = 8;
/// The length of an edit; zeros follow one that is cut off.
const EDIT: usize = 14;
/// What misleads: limits of fields, signs, what is one too many.
const VALUES: [u64; 16] = [
    0,
    1,
    2,
    7,
    8,
    0x7F,
    0xFF,
    0x200,
    0x1000,
    0xFFFF,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFF8,
    0xFFFF_FFFF,
    0x7FFF_FFFF_FFFF_FFFF,
    u64::MAX,
];

/// The structures of one disk, and what to damage in them.
#[derive(Debug)]
pub struct Subject {
    places: Vec<Place>,
    /// Where each kind begins and ends in `places`.
    kinds: Vec<(usize, usize)>,
}

impl Subject {
    /// For the structures of a disk, sorted by kind.
    pub fn new(places: Vec<Place>) -> Subject {
        let mut kinds: Vec<(usize, usize)> = Vec::new();
        for (index, place) in places.iter().enumerate() {
            let same = |at: usize| kind_of(places[at].kind) == kind_of(place.kind);
            match kinds.last_mut() {
                Some((first, end)) if same(*first) => *end = index + 1,
                _ => kinds.push((index, index + 1)),
            }
        }
        Subject { places, kinds }
    }

    /// How many structures there are, of how many kinds.
    pub fn counts(&self) -> (usize, usize) {
        (self.places.len(), self.kinds.len())
    }

    /// Does to `disk` what `recipe` says; the ranges that were written.
    pub fn damage(&self, disk: &mut dyn Bytes, recipe: &[u8]) -> Vec<(u64, usize)> {
        let mut touched = Vec::new();
        if self.kinds.is_empty() {
            return touched;
        }
        for edit in recipe.chunks(EDIT).take(EDITS) {
            let mut recipe = Recipe(edit);
            let (first, end) = self.kinds[usize::from(recipe.u8()) % self.kinds.len()];
            let pick = |number: u16| self.places[first + usize::from(number) % (end - first)];
            let place = pick(recipe.u16());
            let mut bytes = vec![0; place.len];
            disk.read(place.offset, &mut bytes);
            let how = recipe.u8();
            if how & 0x80 == 0 {
                unseal(place.kind, &mut bytes);
            }
            let reach = if how & 0x20 == 0 {
                place.len
            } else {
                128.min(place.len)
            };
            let mut at = usize::from(recipe.u16()) % reach;
            if how & 0x40 != 0 {
                at -= at % 4;
            }
            let mut put = |data: &[u8]| {
                let len = data.len().min(bytes.len() - at);
                bytes[at..at + len].copy_from_slice(&data[..len]);
            };
            match how & 7 {
                0 => {
                    let len = usize::from(recipe.u8()) % 7 + 1;
                    put(&recipe.take(len));
                }
                1 | 2 => {
                    let value = VALUES[usize::from(recipe.u8()) % VALUES.len()];
                    let width = [1, 2, 4, 8][usize::from(recipe.u8()) % 4];
                    put(&value.to_le_bytes()[..width]);
                }
                3 => bytes[at] ^= 1 << (recipe.u8() % 8),
                4 => {
                    // A little more or less than it was.
                    let delta = i32::from(recipe.u8()) - 128;
                    let width = [1, 2, 4, 8][usize::from(recipe.u8()) % 4];
                    let mut old = [0; 8];
                    let len = width.min(bytes.len() - at);
                    old[..len].copy_from_slice(&bytes[at..at + len]);
                    let new = u64::from_le_bytes(old).wrapping_add_signed(delta.into());
                    bytes[at..at + len].copy_from_slice(&new.to_le_bytes()[..len]);
                }
                5 => {
                    // A piece of another structure of the kind, where it does not belong.
                    let other = pick(recipe.u16());
                    let len = usize::from(recipe.u8()).min(other.len);
                    let mut piece = vec![0; other.len];
                    disk.read(other.offset, &mut piece);
                    let from = usize::from(recipe.u16()) % (other.len - len + 1);
                    put(&piece[from..from + len]);
                }
                6 => {
                    let fill = [0, 0xFF][usize::from(recipe.u8()) % 2];
                    put(&vec![fill; usize::from(recipe.u8()) + 1]);
                }
                _ => {
                    // The whole of another one.
                    let other = pick(recipe.u16());
                    disk.read(other.offset, &mut bytes[..other.len.min(place.len)]);
                    if how & 0x80 == 0 && other.len == place.len {
                        unseal(place.kind, &mut bytes);
                    }
                }
            }
            if how & 0x80 == 0 {
                seal(place.kind, &mut bytes);
            }
            disk.write(place.offset, &bytes);
            touched.push((place.offset, place.len));
        }
        touched
    }
}

/// The kind without where its parts are.
fn kind_of(kind: Kind) -> Kind {
    match kind {
        Kind::Gpt { .. } => Kind::Gpt {
            header: 0,
            entries: 0,
        },
        kind => kind,
    }
}

/// What is left of an edit; zeros after its end.
struct Recipe<'r>(&'r [u8]);

impl Recipe<'_> {
    fn take(&mut self, len: usize) -> Vec<u8> {
        let there = len.min(self.0.len());
        let (taken, rest) = self.0.split_at(there);
        self.0 = rest;
        let mut taken = taken.to_vec();
        taken.resize(len, 0);
        taken
    }

    fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn u16(&mut self) -> u16 {
        let two = self.take(2);
        u16::from_le_bytes([two[0], two[1]])
    }
}

/// Numbers that differ from call to call, but not from run to run.
pub struct Random(u64);

impl Random {
    /// For a seed, a subject and a number: none of them alike gives alike numbers.
    pub fn new(seed: u64, subject: &str, number: u64) -> Random {
        let start = subject
            .bytes()
            .fold(seed ^ 0x9E37_79B9_7F4A_7C15, |state, byte| {
                (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
            });
        let mut random = Random(start.wrapping_add(number.wrapping_mul(0xD134_2543_DE82_EF95)));
        let _ = (random.next(), random.next());
        random
    }

    /// The next one (splitmix64).
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A recipe of one to four edits, one in four of which is not sealed.
    pub fn recipe(&mut self) -> Vec<u8> {
        let mut recipe = Vec::new();
        for _ in 0..=self.next() % 4 {
            let [kind, low, high, how, at, above, sealed, _] = self.next().to_le_bytes();
            let how = how & 0x67 | if sealed % 4 == 0 { 0x80 } else { 0 };
            recipe.extend([kind, low, high, how, at, above]);
            recipe.extend(self.next().to_le_bytes());
        }
        recipe
    }
}
