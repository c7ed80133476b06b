// SPDX-License-Identifier: GPL-2.0-or-later
//! Windows' upper-casing of one UTF-16 unit.
//!
//! The registry sorts, hashes and compares names by it: one unit in, one unit out, never a change of
//! length, and fixed since Windows Vista, so that Unicode's own tables (which expand "ß" and grow every
//! year) give wrong answers. The numbers are those of the $UpCase file that Windows puts on every NTFS
//! volume; the four volumes looked at (Vista to Windows 10) have the same one, and its 973 mapped units
//! fold into the ranges below. That the registry uses the same numbers is [S]: both are
//! RtlUpcaseUnicodeChar.

/// Ranges of units with the same distance to their upper-case unit: first, last, step, distance.
const RANGES: [(u16, u16, u16, i32); 134] = [
    (0x0061, 0x007a, 1, -32),
    (0x00e0, 0x00f6, 1, -32),
    (0x00f8, 0x00fe, 1, -32),
    (0x00ff, 0x00ff, 1, 121),
    (0x0101, 0x012f, 2, -1),
    (0x0133, 0x0137, 2, -1),
    (0x013a, 0x0148, 2, -1),
    (0x014b, 0x0177, 2, -1),
    (0x017a, 0x017e, 2, -1),
    (0x0180, 0x0180, 1, 195),
    (0x0183, 0x0185, 2, -1),
    (0x0188, 0x0188, 1, -1),
    (0x018c, 0x018c, 1, -1),
    (0x0192, 0x0192, 1, -1),
    (0x0195, 0x0195, 1, 97),
    (0x0199, 0x0199, 1, -1),
    (0x019a, 0x019a, 1, 163),
    (0x019e, 0x019e, 1, 130),
    (0x01a1, 0x01a5, 2, -1),
    (0x01a8, 0x01a8, 1, -1),
    (0x01ad, 0x01ad, 1, -1),
    (0x01b0, 0x01b0, 1, -1),
    (0x01b4, 0x01b6, 2, -1),
    (0x01b9, 0x01b9, 1, -1),
    (0x01bd, 0x01bd, 1, -1),
    (0x01bf, 0x01bf, 1, 56),
    (0x01c6, 0x01c6, 1, -2),
    (0x01c9, 0x01c9, 1, -2),
    (0x01cc, 0x01cc, 1, -2),
    (0x01ce, 0x01dc, 2, -1),
    (0x01dd, 0x01dd, 1, -79),
    (0x01df, 0x01ef, 2, -1),
    (0x01f3, 0x01f3, 1, -2),
    (0x01f5, 0x01f5, 1, -1),
    (0x01f9, 0x021f, 2, -1),
    (0x0223, 0x0233, 2, -1),
    (0x023c, 0x023c, 1, -1),
    (0x0242, 0x0242, 1, -1),
    (0x0247, 0x024f, 2, -1),
    (0x0250, 0x0250, 1, 10783),
    (0x0251, 0x0251, 1, 10780),
    (0x0253, 0x0253, 1, -210),
    (0x0254, 0x0254, 1, -206),
    (0x0256, 0x0257, 1, -205),
    (0x0259, 0x0259, 1, -202),
    (0x025b, 0x025b, 1, -203),
    (0x0260, 0x0260, 1, -205),
    (0x0263, 0x0263, 1, -207),
    (0x0268, 0x0268, 1, -209),
    (0x0269, 0x0269, 1, -211),
    (0x026b, 0x026b, 1, 10743),
    (0x026f, 0x026f, 1, -211),
    (0x0271, 0x0271, 1, 10749),
    (0x0272, 0x0272, 1, -213),
    (0x0275, 0x0275, 1, -214),
    (0x027d, 0x027d, 1, 10727),
    (0x0280, 0x0280, 1, -218),
    (0x0283, 0x0283, 1, -218),
    (0x0288, 0x0288, 1, -218),
    (0x0289, 0x0289, 1, -69),
    (0x028a, 0x028b, 1, -217),
    (0x028c, 0x028c, 1, -71),
    (0x0292, 0x0292, 1, -219),
    (0x0371, 0x0373, 2, -1),
    (0x0377, 0x0377, 1, -1),
    (0x037b, 0x037d, 1, 130),
    (0x03ac, 0x03ac, 1, -38),
    (0x03ad, 0x03af, 1, -37),
    (0x03b1, 0x03c1, 1, -32),
    (0x03c3, 0x03cb, 1, -32),
    (0x03cc, 0x03cc, 1, -64),
    (0x03cd, 0x03ce, 1, -63),
    (0x03d7, 0x03d7, 1, -8),
    (0x03d9, 0x03ef, 2, -1),
    (0x03f2, 0x03f2, 1, 7),
    (0x03f8, 0x03f8, 1, -1),
    (0x03fb, 0x03fb, 1, -1),
    (0x0430, 0x044f, 1, -32),
    (0x0450, 0x045f, 1, -80),
    (0x0461, 0x0481, 2, -1),
    (0x048b, 0x04bf, 2, -1),
    (0x04c2, 0x04ce, 2, -1),
    (0x04cf, 0x04cf, 1, -15),
    (0x04d1, 0x0523, 2, -1),
    (0x0561, 0x0586, 1, -48),
    (0x1d79, 0x1d79, 1, 35332),
    (0x1d7d, 0x1d7d, 1, 3814),
    (0x1e01, 0x1e95, 2, -1),
    (0x1ea1, 0x1eff, 2, -1),
    (0x1f00, 0x1f07, 1, 8),
    (0x1f10, 0x1f15, 1, 8),
    (0x1f20, 0x1f27, 1, 8),
    (0x1f30, 0x1f37, 1, 8),
    (0x1f40, 0x1f45, 1, 8),
    (0x1f51, 0x1f57, 2, 8),
    (0x1f60, 0x1f67, 1, 8),
    (0x1f70, 0x1f71, 1, 74),
    (0x1f72, 0x1f75, 1, 86),
    (0x1f76, 0x1f77, 1, 100),
    (0x1f78, 0x1f79, 1, 128),
    (0x1f7a, 0x1f7b, 1, 112),
    (0x1f7c, 0x1f7d, 1, 126),
    (0x1f80, 0x1f87, 1, 8),
    (0x1f90, 0x1f97, 1, 8),
    (0x1fa0, 0x1fa7, 1, 8),
    (0x1fb0, 0x1fb1, 1, 8),
    (0x1fb3, 0x1fb3, 1, 9),
    (0x1fc3, 0x1fc3, 1, 9),
    (0x1fd0, 0x1fd1, 1, 8),
    (0x1fe0, 0x1fe1, 1, 8),
    (0x1fe5, 0x1fe5, 1, 7),
    (0x1ff3, 0x1ff3, 1, 9),
    (0x214e, 0x214e, 1, -28),
    (0x2170, 0x217f, 1, -16),
    (0x2184, 0x2184, 1, -1),
    (0x24d0, 0x24e9, 1, -26),
    (0x2c30, 0x2c5e, 1, -48),
    (0x2c61, 0x2c61, 1, -1),
    (0x2c65, 0x2c65, 1, -10795),
    (0x2c66, 0x2c66, 1, -10792),
    (0x2c68, 0x2c6c, 2, -1),
    (0x2c73, 0x2c73, 1, -1),
    (0x2c76, 0x2c76, 1, -1),
    (0x2c81, 0x2ce3, 2, -1),
    (0x2d00, 0x2d25, 1, -7264),
    (0xa641, 0xa65f, 2, -1),
    (0xa663, 0xa66d, 2, -1),
    (0xa681, 0xa697, 2, -1),
    (0xa723, 0xa72f, 2, -1),
    (0xa733, 0xa76f, 2, -1),
    (0xa77a, 0xa77c, 2, -1),
    (0xa77f, 0xa787, 2, -1),
    (0xa78c, 0xa78c, 1, -1),
    (0xff41, 0xff5a, 1, -32),
];

/// Upper-case of the units of Latin-1, which nearly all names are made of.
const LATIN1: [u16; 256] = latin1();

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated at compile time: a wrong index or an overflow does not compile"
)]
const fn latin1() -> [u16; 256] {
    let mut table = [0; 256];
    let mut unit: u16 = 0;
    while unit < 256 {
        table[unit as usize] = match unit {
            0x61..=0x7a | 0xe0..=0xf6 | 0xf8..=0xfe => unit - 0x20,
            0xff => 0x178,
            other => other,
        };
        unit += 1;
    }
    table
}

/// The upper-case form of `unit`; the unit itself when it has none.
pub(crate) fn upcase(unit: u16) -> u16 {
    if let Some(&upper) = LATIN1.get(usize::from(unit)) {
        return upper;
    }
    let index = RANGES.partition_point(|&(_, last, _, _)| last < unit);
    match RANGES.get(index) {
        Some(&(first, _, step, distance))
            if unit >= first && unit.wrapping_sub(first).checked_rem(step) == Some(0) =>
        {
            i32::from(unit)
                .checked_add(distance)
                .and_then(|upper| u16::try_from(upper).ok())
                .unwrap_or(unit)
        }
        _ => unit,
    }
}

/// True when every Windows and Unicode agree on the upper-case form of `unit`, so that a new key name
/// with it is sorted where every reader looks for it. Surrogates are never certain.
pub(crate) fn is_certain(unit: u16) -> bool {
    if unit < 0x80 {
        return true;
    }
    let Some(character) = char::from_u32(unit.into()) else {
        return false;
    };
    let mut upper = character.to_uppercase();
    let single = match (upper.next(), upper.next()) {
        (Some(first), None) => u16::try_from(u32::from(first)).unwrap_or(unit),
        _ => unit,
    };
    single == upcase(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_one_unit_to_one_unit() {
        for (unit, upper) in [
            ('a', 'A'),
            ('z', 'Z'),
            ('{', '{'),
            ('ÿ', 'Ÿ'),
            ('÷', '÷'),
            ('ß', 'ß'),
            ('µ', 'µ'),
            ('ı', 'ı'),
            ('ä', 'Ä'),
            ('я', 'Я'),
            ('ѐ', 'Ѐ'),
            ('ā', 'Ā'),
            ('Ā', 'Ā'),
            ('ά', 'Ά'),
            ('ς', 'ς'),
            ('ａ', 'Ａ'),
        ] {
            assert_eq!(upcase(unit as u16), upper as u16, "{unit}");
        }
    }

    #[test]
    fn ranges_are_in_order_and_count_973_units() {
        let mapped = (0..=u16::MAX).filter(|&unit| upcase(unit) != unit).count();
        assert_eq!(mapped, 973);
        for (before, after) in RANGES.iter().zip(&RANGES[1..]) {
            assert!(before.1 < after.0, "{before:?} {after:?}");
        }
        for unit in 0..256 {
            let slow = RANGES
                .iter()
                .find(|range| range.0 <= unit && unit <= range.1);
            let slow = slow.map_or(unit, |range| {
                u16::try_from(i32::from(unit) + range.3).unwrap()
            });
            assert_eq!(upcase(unit), slow);
        }
    }

    #[test]
    fn upper_case_is_stable_and_uncertain_units_are_named() {
        for unit in 0..=u16::MAX {
            assert_eq!(upcase(upcase(unit)), upcase(unit), "{unit:#x}");
        }
        assert!("Az09äÿяΩ中".encode_utf16().all(is_certain));
        for unit in ['ı', 'ſ', 'µ', 'ა', 'ꭰ'] {
            assert!(!is_certain(unit as u16), "{unit}");
        }
        assert!(!is_certain(0xd800));
    }
}
