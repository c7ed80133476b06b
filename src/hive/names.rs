// SPDX-License-Identifier: GPL-2.0-or-later
//! Names of keys and values: how they are stored, compared, sorted and hashed.
//!
//! A name is a string of UTF-16 units, which need not be valid UTF-16. It is stored as Latin-1 (one byte a
//! unit, "compressed", marked by a flag in its record) when every unit is below 256, else as UTF-16LE.
//! Keys are sorted by their upper-cased units, the shorter first on a common prefix.
//!
//! ```text
//! lf hint  the first four units as bytes, as they are written; 0 past the end, for one above 255, and for
//!          those before it
//! lh hash  h = 0; for every upper-cased unit: h = h * 37 + unit (wrapping, 32 bits)
//! ```
//!
//! Source: msuhanov/regf, "Fast leaf" and "Hash leaf".

use std::cmp::Ordering;
use std::fmt;

use super::format::key_node;
use super::upcase::{is_certain, upcase};
use crate::error::{Error, Result};

/// A name as it is stored in a hive.
#[derive(Clone, Copy)]
pub struct Name<'a> {
    bytes: &'a [u8],
    latin1: bool,
}

impl<'a> Name<'a> {
    /// The name stored in `bytes`: Latin-1, or UTF-16LE.
    pub(crate) fn stored(bytes: &'a [u8], latin1: bool) -> Name<'a> {
        Name { bytes, latin1 }
    }

    /// The UTF-16 units.
    pub fn units(self) -> impl Iterator<Item = u16> + use<'a> {
        let width = if self.latin1 { 1 } else { 2 };
        self.bytes.chunks_exact(width).map(|unit| match *unit {
            [byte] => byte.into(),
            [low, high] => u16::from_le_bytes([low, high]),
            _ => 0,
        })
    }

    /// How many UTF-16 units.
    pub fn len(self) -> usize {
        match self.latin1 {
            true => self.bytes.len(),
            false => self.bytes.len() >> 1,
        }
    }

    /// True for the empty name, which a key's default value has.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The name as text; units that are no valid UTF-16 become U+FFFD. For a form that never loses
    /// anything, print the name with `{}`.
    pub fn to_string_lossy(self) -> String {
        char::decode_utf16(self.units())
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect()
    }

    /// True when Windows takes both for the same name.
    pub fn eq_ignore_case(self, other: &str) -> bool {
        self.units()
            .map(upcase)
            .eq(other.encode_utf16().map(upcase))
    }

    /// Windows' order of two names.
    pub fn cmp_ignore_case(self, other: Name<'_>) -> Ordering {
        self.units().map(upcase).cmp(other.units().map(upcase))
    }

    /// The hash that an lh list holds beside the key of this name.
    pub fn hash(self) -> u32 {
        self.units().map(upcase).fold(0_u32, |hash, unit| {
            hash.wrapping_mul(37).wrapping_add(unit.into())
        })
    }

    /// The hint that an lf list holds beside the key of this name.
    pub fn hint(self) -> [u8; 4] {
        let mut hint = [0; 4];
        for (index, unit) in self.units().take(4).enumerate() {
            match u8::try_from(unit) {
                Ok(byte) => {
                    let _fits = crate::bytes::put(&mut hint, index, &[byte]);
                }
                // Windows fills the hint from its end and stops at such a unit.
                Err(_) => hint = [0; 4],
            }
        }
        hint
    }
}

/// The name as text that tells any two names apart: control characters and units that are no valid UTF-16
/// are written `\u{...}`, and so is a backslash that would otherwise look like the start of that.
impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut units = char::decode_utf16(self.units()).peekable();
        while let Some(unit) = units.next() {
            match unit {
                Ok('\\') if matches!(units.peek(), Some(Ok('u'))) => write!(f, "\\u{{5c}}")?,
                Ok(c) if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                Ok(c) => write!(f, "{c}")?,
                Err(lone) => write!(f, "\\u{{{:x}}}", lone.unpaired_surrogate())?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A name on its way into a hive, or into a comparison.
#[derive(Clone, Debug)]
pub(crate) struct NewName {
    bytes: Vec<u8>,
    latin1: bool,
}

impl NewName {
    /// Any name, stored as Latin-1 where possible.
    pub(crate) fn new(text: &str) -> NewName {
        let narrow: Option<Vec<u8>> = text
            .encode_utf16()
            .map(|unit| u8::try_from(unit).ok())
            .collect();
        match narrow {
            Some(bytes) => NewName {
                bytes,
                latin1: true,
            },
            None => NewName {
                bytes: text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                latin1: false,
            },
        }
    }

    /// A name for a new key.
    ///
    /// Refused: an empty name, one longer than 255 units, one with a backslash or a NUL, and one with a
    /// character whose upper-case form is not the same everywhere: a key that is sorted wrongly is
    /// invisible to Windows, and Windows damages the list on its next change.
    pub(crate) fn for_key(text: &str) -> Result<NewName> {
        let refuse = |why: String| {
            let what = format!("the key name {text:?} {why}");
            Err(Error::refused(what, "choose another name"))
        };
        let name = NewName::new(text);
        let len = name.as_name().len();
        if len == 0 || len > key_node::MAX_NAME {
            return refuse(format!("has {len} UTF-16 units; 1 to 255 are possible"));
        }
        if let Some(bad) = text.chars().find(|&c| c == '\\' || c == '\0') {
            return refuse(format!("holds {bad:?}"));
        }
        if name.as_name().units().any(|unit| !is_certain(unit)) {
            return refuse(
                "holds a character that not every Windows upper-cases the same way".into(),
            );
        }
        Ok(name)
    }

    /// The same as a stored name.
    pub(crate) fn as_name(&self) -> Name<'_> {
        Name::stored(&self.bytes, self.latin1)
    }

    /// The bytes to store.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// True when the bytes are Latin-1.
    pub(crate) fn is_latin1(&self) -> bool {
        self.latin1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn hashes_as_windows_does() {
        for (name, hash) in [
            ("ControlSet001", 0x8F3B_A9A2),
            ("Elements", 0xA8E7_AE39),
            ("TermService", 0x455C_87E1),
            ("RDP-Tcp", 0x1E55_7F52),
            ("rdp-tcp", 0x1E55_7F52),
        ] {
            assert_eq!(NewName::new(name).as_name().hash(), hash, "{name}");
            let wide = utf16(name);
            assert_eq!(Name::stored(&wide, false).hash(), hash, "{name}");
        }
    }

    #[test]
    fn hints_keep_case_and_stop_at_wide_units() {
        assert_eq!(NewName::new("Select").as_name().hint(), *b"Sele");
        assert_eq!(NewName::new("ab").as_name().hint(), *b"ab\0\0");
        assert_eq!(NewName::new("keyЯ").as_name().hint(), [0; 4]);
        assert_eq!(NewName::new("aЯbc").as_name().hint(), *b"\0\0bc");
    }

    #[test]
    fn orders_by_upper_case_and_shorter_first() {
        let order = |a: &str, b: &str| {
            NewName::new(a)
                .as_name()
                .cmp_ignore_case(NewName::new(b).as_name())
        };
        assert_eq!(order("a", "B"), Ordering::Less);
        assert_eq!(order("_", "a"), Ordering::Greater); // '_' comes after 'A', before 'a'
        assert_eq!(order("abc", "ABCD"), Ordering::Less);
        assert_eq!(order("straße", "STRASSE"), Ordering::Greater);
        assert_eq!(order("Привет", "пРИВЕТ"), Ordering::Equal);
    }

    #[test]
    fn equality_ignores_case_across_both_encodings() {
        let wide = utf16("Größe");
        assert!(Name::stored(&wide, false).eq_ignore_case("GRÖßE"));
        assert!(!Name::stored(&wide, false).eq_ignore_case("GRÖSSE"));
        assert!(!Name::stored(&wide, false).eq_ignore_case("Größ"));
    }

    #[test]
    fn display_tells_names_apart() {
        let shown = |units: &[u16]| {
            let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
            Name::stored(&bytes, false).to_string()
        };
        assert_eq!(shown(&[0x61, 0]), "a\\u{0}");
        assert_eq!(shown(&[0xd800]), "\\u{d800}");
        assert_eq!(shown(&[0xd83d, 0xde00]), "😀");
        let spelt: Vec<u16> = "\\u{0}".encode_utf16().collect();
        assert_eq!(shown(&spelt), "\\u{5c}u{0}");
        let path: Vec<u16> = "C:\\Windows".encode_utf16().collect();
        assert_eq!(shown(&path), "C:\\Windows");
    }

    #[test]
    fn key_names_of_255_units_pass_and_256_do_not() {
        for (len, accepted) in [
            (0, false),
            (1, true),
            (254, true),
            (255, true),
            (256, false),
        ] {
            assert_eq!(
                NewName::for_key(&"x".repeat(len)).is_ok(),
                accepted,
                "{len}"
            );
        }
        assert!(NewName::for_key("Привет").is_ok());
        assert!(NewName::for_key("ı").is_err());
        assert!(NewName::for_key("😀").is_err());
        assert!(NewName::for_key("a\\b").is_err());
    }
}
