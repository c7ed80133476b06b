// SPDX-License-Identifier: GPL-2.0-or-later
//! Registry values as people write and read them: type names, and data as `reg query` prints it.

use std::fmt::Write;

use std::borrow::Cow;

use crate::bytes;
use crate::hive::Name;

/// Type numbers and names, in the order of `winnt.h`.
const TYPES: [(u32, &str); 12] = [
    (0, "REG_NONE"),
    (1, "REG_SZ"),
    (2, "REG_EXPAND_SZ"),
    (3, "REG_BINARY"),
    (4, "REG_DWORD"),
    (5, "REG_DWORD_BIG_ENDIAN"),
    (6, "REG_LINK"),
    (7, "REG_MULTI_SZ"),
    (8, "REG_RESOURCE_LIST"),
    (9, "REG_FULL_RESOURCE_DESCRIPTOR"),
    (10, "REG_RESOURCE_REQUIREMENTS_LIST"),
    (11, "REG_QWORD"),
];

/// REG_SZ.
pub const SZ: u32 = 1;
/// REG_EXPAND_SZ.
pub const EXPAND_SZ: u32 = 2;
/// REG_BINARY.
pub const BINARY: u32 = 3;
/// REG_DWORD.
pub const DWORD: u32 = 4;
/// REG_MULTI_SZ.
pub const MULTI_SZ: u32 = 7;
/// REG_QWORD.
pub const QWORD: u32 = 11;

/// The name of a registry type; numbers without one as `REG_TYPE_0x12`.
pub fn type_name(kind: u32) -> String {
    TYPES
        .iter()
        .find(|(number, _)| *number == kind)
        .map_or_else(
            || format!("REG_TYPE_{kind:#x}"),
            |(_, name)| (*name).to_owned(),
        )
}

/// The number of a registry type by the name that reg.exe takes, any case.
pub fn type_number(name: &str) -> Option<u32> {
    if name.eq_ignore_ascii_case("REG_DWORD_LITTLE_ENDIAN") {
        return Some(DWORD);
    }
    TYPES
        .iter()
        .find(|(_, known)| known.eq_ignore_ascii_case(name))
        .map(|(number, _)| *number)
}

/// The text of a string value: UTF-16LE up to its first terminator, or `None` when the bytes are not text
/// (odd length or unpaired surrogates).
pub fn text(data: &[u8]) -> Option<String> {
    let units = units(data)?;
    let end = units
        .iter()
        .position(|unit| *unit == 0)
        .unwrap_or(units.len());
    String::from_utf16(units.get(..end)?).ok()
}

/// The parts of a REG_MULTI_SZ: split at terminators, the closing empty one dropped.
pub fn multi_text(data: &[u8]) -> Option<Vec<String>> {
    let units = units(data)?;
    let mut parts = units
        .split(|unit| *unit == 0)
        .map(|part| String::from_utf16(part).ok())
        .collect::<Option<Vec<_>>>()?;
    while parts.last().is_some_and(String::is_empty) {
        parts.pop();
    }
    Some(parts)
}

fn units(data: &[u8]) -> Option<Vec<u16>> {
    let (pairs, rest) = data.as_chunks::<2>();
    rest.is_empty()
        .then(|| pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect())
}

/// Data as `reg query` prints it. Bytes that do not fit their type are printed as hexadecimal digits, so
/// that nothing is hidden.
pub fn display(kind: u32, data: &[u8]) -> String {
    let formatted = match kind {
        SZ | EXPAND_SZ => text(data),
        DWORD if data.len() == 4 => bytes::u32_le(data, 0).map(|value| format!("{value:#x}")),
        QWORD if data.len() == 8 => bytes::u64_le(data, 0).map(|value| format!("{value:#x}")),
        MULTI_SZ => multi_text(data).map(|parts| parts.join("\\0")),
        _ => None,
    };
    formatted.unwrap_or_else(|| hexadecimal(data))
}

/// Type and data in one line, for evidence, plans and messages: `REG_DWORD 0x0`. Long data is cut with
/// its length.
pub fn describe(kind: u32, data: &[u8]) -> String {
    const MOST: usize = 160; // ours: one line on a wide terminal
    let shown = display(kind, data);
    let shown = printable(&shown);
    let mut line = type_name(kind);
    line.push(' ');
    if kind == SZ || kind == EXPAND_SZ {
        let _ = write!(line, "\"{}\"", shorten(&shown, MOST));
    } else {
        line.push_str(&shorten(&shown, MOST));
    }
    if shown.chars().count() > MOST {
        let _ = write!(line, " ({} bytes)", data.len());
    }
    line
}

/// The name as text, or `None` when no text is the same: a name may hold unpaired surrogates.
pub fn exact_name(name: Name<'_>) -> Option<String> {
    char::decode_utf16(name.units())
        .collect::<Result<String, _>>()
        .ok()
}

/// The name as text, in the spelling of [`Name`]'s `Display` where no text is the same.
pub fn name_text(name: Name<'_>) -> String {
    exact_name(name).unwrap_or_else(|| name.to_string())
}

/// Text for one line of a terminal: control characters other than the tab become `\u{...}`. What a disk
/// holds must neither start a new line, which a script would take for another value, nor reach the
/// terminal as an escape sequence.
pub fn printable(text: &str) -> Cow<'_, str> {
    let unprintable = |c: char| c.is_control() && c != '\t';
    if !text.contains(unprintable) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if unprintable(character) {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most).chain("...".chars()).collect()
}

fn hexadecimal(data: &[u8]) -> String {
    let mut text = String::new();
    for byte in data {
        let _ = write!(text, "{byte:02X}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::utf16_with_terminator;

    #[test]
    fn values_print_as_reg_query_prints_them() {
        assert_eq!(display(DWORD, &[0x3d, 0x0d, 0, 0]), "0xd3d");
        assert_eq!(display(DWORD, &[0x3d, 0x0d]), "3D0D");
        assert_eq!(display(BINARY, &[0xab, 1]), "AB01");
        assert_eq!(display(SZ, &utf16_with_terminator("a b")), "a b");
        let mut multi = utf16_with_terminator("one");
        multi.extend(utf16_with_terminator("two"));
        multi.extend([0, 0]);
        assert_eq!(display(MULTI_SZ, &multi), "one\\0two");
        assert_eq!(type_name(4), "REG_DWORD");
        assert_eq!(type_name(0x12), "REG_TYPE_0x12");
        assert_eq!(type_number("reg_dword_little_endian"), Some(4));
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\tb"), "a\tb");
        assert_eq!(
            printable("a\r\n\u{1b}[2J\u{9b}"),
            "a\\u{d}\\u{a}\\u{1b}[2J\\u{9b}"
        );
        assert_eq!(
            describe(SZ, &utf16_with_terminator("a\nb")),
            "REG_SZ \"a\\u{a}b\""
        );
    }

    #[test]
    fn strings_that_are_not_text_are_not_guessed() {
        assert_eq!(text(&[0x41]), None);
        assert_eq!(text(&[0x00, 0xd8]), None);
        assert_eq!(display(SZ, &[0x41]), "41");
    }
}
