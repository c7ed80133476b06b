// SPDX-License-Identifier: GPL-2.0-or-later
//! Names of files: which ones Windows takes.
//!
//! ```text
//! 1 to 255 UTF-16 units      not "." or ".."      no trailing dot or space
//! none of  " * / : < > ? \ |  nor units below 20
//! not CON PRN AUX NUL COM1..9 LPT1..9 CONIN$ CONOUT$, also not with an extension
//! short (8.3): 1 to 8 and, behind a dot, 1 to 3 of  A-Z 0-9 ! # $ % & ' ( ) - @ ^ _ ` { } ~
//! ```
//!
//! Source: Microsoft, "Naming Files, Paths, and Namespaces", and [MS-FSCC] 2.1.5 for short names. NTFS itself would store
//! almost anything; a name that Windows does not take could never be opened or deleted there.

use crate::error::{Error, Result};

/// The units of `name`, when it is one that Windows takes for a file or folder.
pub(in crate::volume) fn check(name: &str) -> Result<Vec<u16>> {
    /// The format's: the length is stored in a byte.
    const MOST: usize = 255;
    let units: Vec<u16> = name.encode_utf16().collect();
    let refuse = |why: String| {
        Err(Error::refused(
            format!(
                "\"{}\" is no name for a file in Windows: {why}",
                name.escape_debug()
            ),
            "choose another name",
        ))
    };
    if name.is_empty() || name == "." || name == ".." {
        return refuse("it is empty, or stands for a folder itself".into());
    }
    if units.len() > MOST {
        return refuse(format!(
            "it has {} units, and {MOST} is the most",
            units.len()
        ));
    }
    if let Some(bad) = name.chars().find(|found| is_forbidden(*found)) {
        return refuse(format!("it contains '{}'", bad.escape_default()));
    }
    if name.ends_with(['.', ' ']) {
        return refuse("it ends with a dot or a space".into());
    }
    if is_device(name) {
        return refuse("it is that of a device".into());
    }
    Ok(units)
}

fn is_forbidden(character: char) -> bool {
    character < ' ' || r#""*/:<>?\|"#.contains(character)
}

/// Names of devices; what follows the first dot does not count.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    let stem = stem.trim_end_matches(' ').to_uppercase();
    const PLAIN: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
    // The superscript digits are digits to Windows too.
    const DIGITS: &str = "123456789\u{b9}\u{b2}\u{b3}";
    let numbered = stem
        .strip_prefix("COM")
        .or_else(|| stem.strip_prefix("LPT"))
        .and_then(|digit| {
            let mut digits = digit.chars();
            digits.next().filter(|_| digits.next().is_none())
        });
    PLAIN.contains(&stem.as_str()) || numbered.is_some_and(|digit| DIGITS.contains(digit))
}

/// The name is its own short one, so that the file needs no second name for DOS.
pub(in crate::volume) fn is_short(name: &[u16]) -> bool {
    let ascii: Option<Vec<u8>> = name.iter().map(|unit| u8::try_from(*unit).ok()).collect();
    let Some(ascii) = ascii else {
        return false;
    };
    let may = |byte: &u8| {
        byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"!#$%&'()-@^_`{}~".contains(byte)
    };
    let part = |part: &[u8], most: usize| (1..=most).contains(&part.len()) && part.iter().all(may);
    let mut parts = ascii.splitn(2, |byte| *byte == b'.');
    parts.next().is_some_and(|stem| part(stem, 8))
        && parts.next().is_none_or(|extension| part(extension, 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_windows_takes() {
        for name in [
            "a",
            "MachineKeys",
            ".ssh",
            " leading",
            "a.b.c",
            "COM0",
            "COM10",
            "CONSOLE",
            "LPT",
            "nul1",
            "SoftwareDistribution.old",
            "日本 😀",
            "x~1",
            "a\u{7f}",
        ] {
            assert!(check(name).is_ok(), "{name}");
        }
        assert!(check(&"x".repeat(255)).is_ok());
        assert!(check(&"😀".repeat(127)).is_ok());
    }

    #[test]
    fn names_that_it_does_not() {
        let bad = [
            "",
            ".",
            "..",
            "a.",
            "a ",
            "...",
            "a/b",
            "a\\b",
            "a:b",
            "a*",
            "a?",
            "a\"",
            "<",
            ">",
            "|",
            "a\u{1f}",
            "\0",
            "con",
            "CON",
            "Prn.txt",
            "aux ",
            "NUL.tar.gz",
            "com1",
            "LPT9.log",
            "COM\u{b9}",
            "conin$",
            "nul .txt",
            " ",
            "lpt9.log",
        ];
        for name in bad {
            let error = check(name).unwrap_err();
            assert_eq!(error.kind(), crate::error::Kind::Refused, "{name:?}");
        }
        assert!(check(&"x".repeat(256)).is_err());
        assert!(check(&"😀".repeat(128)).is_err());
    }

    #[test]
    fn short_names() {
        let short = |name: &str| is_short(&name.encode_utf16().collect::<Vec<u16>>());
        for name in ["A", "PAGEFILE.SYS", "12345678.123", "A-B_C~1", "$MFT"] {
            assert!(short(name), "{name}");
        }
        for name in [
            "",
            ".",
            "a",
            "Pagefile.sys",
            "123456789",
            "A.1234",
            "A.",
            ".A",
            "A.B.C",
            "A B",
            "Ä",
            "A+B",
            "日",
        ] {
            assert!(!short(name), "{name}");
        }
    }
}
