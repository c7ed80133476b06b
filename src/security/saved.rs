// SPDX-License-Identifier: GPL-2.0-or-later
//! The file of `icacls /save`, both ways.
//!
//! ```text
//! FF FE                                 UTF-16, little-endian, lines end in CR LF
//! keys                                  a name, relative to the folder above the one that was saved
//! D:PAI(A;OICI;FA;;;BA)                 its DACL with its flags; no owner, group or SACL
//! keys\sub\a.bin
//! D:AI(A;ID;0x1200a9;;;AU)
//! ```
//! Read with and without the mark, and as UTF-8. `D:NO_ACCESS_CONTROL` is "no DACL". An empty name, which icacls
//! writes for a path that ends in a backslash and cannot restore, is neither written nor taken.

use crate::error::{Error, Result};

use super::descriptor::{AclField, Descriptor, control};
use super::sddl;

/// One line pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The name, parts separated by `\`.
    pub name: String,
    /// The DACL and its control bits; nothing else of this descriptor counts.
    pub dacl: Descriptor,
}

/// The control bits that belong to the DACL.
const DACL_BITS: u16 = control::DACL_PRESENT
    | control::DACL_DEFAULTED
    | control::DACL_AUTO_INHERIT_REQ
    | control::DACL_AUTO_INHERITED
    | control::DACL_PROTECTED;

/// The text of one DACL, as a line of the file.
///
/// # Errors
/// `Unsupported` for entries without a text form.
pub fn dacl_text(descriptor: &Descriptor) -> Result<String> {
    let dacl = match &descriptor.dacl {
        AclField::Absent => AclField::Null,
        other => other.clone(),
    };
    let alone = Descriptor {
        control: descriptor.control & DACL_BITS,
        dacl,
        ..Descriptor::default()
    };
    sddl::format(&alone, None)
}

/// The file of these names and texts of DACLs.
pub fn write<'a>(lines: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xfe];
    for (name, dacl) in lines {
        for part in [name, "\r\n", dacl, "\r\n"] {
            bytes.extend(part.encode_utf16().flat_map(u16::to_le_bytes));
        }
    }
    bytes
}

/// Reads a file.
///
/// # Errors
/// `Refused`, with the line, for an empty name, a name without its DACL, or text that is not SDDL.
pub fn parse(bytes: &[u8]) -> Result<Vec<Saved>> {
    let text = decode(bytes)?;
    let mut found = Vec::new();
    let mut lines = (1_usize..).zip(text.lines());
    while let Some((number, name)) = lines.next() {
        let name = name.trim_end_matches('\r');
        if name.is_empty() {
            if lines.clone().all(|(_, line)| line.trim().is_empty()) {
                break;
            }
            return Err(wrong(
                number,
                "an empty name",
                "save the folder without a backslash at its end",
            ));
        }
        let Some((number, dacl)) = lines.next() else {
            return Err(wrong(
                number,
                &format!("no DACL for {name}"),
                "the file is cut off: save it anew",
            ));
        };
        let dacl =
            sddl::parse(dacl, None).map_err(|error| error.context(format!("line {number}")))?;
        if dacl.dacl == AclField::Absent {
            return Err(wrong(
                number,
                &format!("no DACL for {name}"),
                "a line of the form D:... must follow each name",
            ));
        }
        found.push(Saved {
            name: name.to_owned(),
            dacl,
        });
    }
    Ok(found)
}

/// The descriptor with the saved DACL in place of its own.
pub fn restore(descriptor: &Descriptor, saved: &Saved) -> Descriptor {
    Descriptor {
        control: descriptor.control & !DACL_BITS | saved.dacl.control & DACL_BITS,
        dacl: saved.dacl.dacl.clone(),
        ..descriptor.clone()
    }
}

fn wrong(line: usize, what: &str, next: &str) -> Error {
    Error::refused(format!("saved permissions, line {line}: {what}"), next)
}

/// UTF-16 with or without its mark, or UTF-8.
fn decode(bytes: &[u8]) -> Result<String> {
    let utf16 = |bytes: &[u8]| {
        let (units, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = units.iter().copied().map(u16::from_le_bytes).collect();
        let text = String::from_utf16(&units).ok();
        text.filter(|_| rest.is_empty())
    };
    let text = if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        utf16(rest)
    } else if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        String::from_utf8(rest.to_vec()).ok()
    } else if bytes.get(1) == Some(&0) {
        utf16(bytes)
    } else {
        String::from_utf8(bytes.to_vec()).ok()
    };
    text.ok_or_else(|| {
        Error::refused(
            "this is no text in UTF-16 or UTF-8",
            "give a file that `icacls /save` or `coldfix acl save` wrote",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [(&str, &str); 3] = [
        ("keys", "D:PAI(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)"),
        (r"keys\sub\ä.bin", "D:AI(A;ID;0x1200a9;;;AU)(A;ID;FA;;;BA)"),
        (r"keys\open", "D:NO_ACCESS_CONTROL"),
    ];

    #[test]
    fn both_ways_in_every_encoding() {
        let file = write(LINES);
        assert!(file.starts_with(b"\xff\xfek\0"));
        let text: String = LINES
            .map(|(name, dacl)| format!("{name}\n{dacl}\n"))
            .concat();
        let marked = [b"\xef\xbb\xbf", text.as_bytes()].concat();
        for bytes in [&file[..], &file[2..], text.as_bytes(), &marked] {
            let read = parse(bytes).unwrap();
            let again: Vec<(String, String)> = read
                .iter()
                .map(|saved| (saved.name.clone(), dacl_text(&saved.dacl).unwrap()))
                .collect();
            let again: Vec<(&str, &str)> = again
                .iter()
                .map(|(name, dacl)| (name.as_str(), dacl.as_str()))
                .collect();
            assert_eq!(again, LINES);
        }
    }

    #[test]
    fn only_the_dacl_is_restored() {
        let own = sddl::parse("O:SYG:BAD:AI(A;ID;FR;;;WD)S:(AU;SA;FA;;;WD)", None).unwrap();
        let saved = parse(b"a\nD:P(A;;FA;;;BA)\n").unwrap();
        let restored = sddl::format(&restore(&own, &saved[0]), None).unwrap();
        assert_eq!(restored, "O:SYG:BAD:P(A;;FA;;;BA)S:(AU;SA;FA;;;WD)");
    }

    #[test]
    fn faults_name_their_line() {
        for (bytes, line) in [
            (&b"\nD:P\n"[..], "line 1"),
            (b"a\n", "line 1"),
            (b"a\nD:P\nb\nO:SY\n", "line 4"),
            (b"a\nnonsense\n", "line 2"),
        ] {
            let error = parse(bytes).unwrap_err().to_string();
            assert!(error.contains(line), "{error}");
        }
        assert!(parse(b"\xff\xfe\0").is_err());
        assert_eq!(parse(b"").unwrap(), []);
        assert_eq!(parse(b"a\nD:P\n\n").unwrap().len(), 1);
    }
}
