// SPDX-License-Identifier: GPL-2.0-or-later
//! Reading `.reg` files, as `reg import` does; `reg_export` writes them.
//!
//! ```text
//!   Windows Registry Editor Version 5.00     (or REGEDIT4: 8-bit text in hex(2) and hex(7))
//!
//!   [HKEY_LOCAL_MACHINE\SYSTEM\Key]          create the key
//!   "name"="text"                            @ or "" is the default value
//!   "name"=dword:0000001f
//!   "name"=hex(7):61,00,\                    type in hexadecimal; `,\` continues
//!     00,00
//!   "name"=-                                 delete the value
//!   [-HKEY_LOCAL_MACHINE\SYSTEM\Gone]        delete the key
//! ```
//!
//! Windows passes over lines it does not understand and reports success. [`RegFile::parse`] passes over the
//! same lines, but lists each with its number so that the caller can refuse.

use crate::edit::utf16_with_terminator;
use crate::error::{Error, Result};

use super::value;

/// What one line of a `.reg` file asks for. Paths are full registry paths as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegAction {
    /// `[path]`
    CreateKey {
        /// Full path.
        path: String,
    },
    /// `[-path]`
    DeleteKey {
        /// Full path.
        path: String,
    },
    /// `"name"=data`
    SetValue {
        /// Full path of the key.
        path: String,
        /// Name, empty for the default value.
        name: String,
        /// Registry type number.
        kind: u32,
        /// The bytes.
        data: Vec<u8>,
    },
    /// `"name"=-`
    DeleteValue {
        /// Full path of the key.
        path: String,
        /// Name, empty for the default value.
        name: String,
    },
}

impl RegAction {
    /// Full path of the key, as written.
    pub fn path(&self) -> &str {
        match self {
            RegAction::CreateKey { path }
            | RegAction::DeleteKey { path }
            | RegAction::SetValue { path, .. }
            | RegAction::DeleteValue { path, .. } => path,
        }
    }
}

/// A line that Windows would pass over in silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedLine {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: &'static str,
}

/// A parsed `.reg` file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegFile {
    /// In the order of the file.
    pub actions: Vec<RegAction>,
    /// Lines passed over.
    pub skipped: Vec<SkippedLine>,
}

impl RegFile {
    /// Reads a `.reg` file: UTF-16 with a byte order mark, or UTF-8 with or without one; in a REGEDIT4
    /// file bytes that are not UTF-8 are taken as Latin-1.
    pub fn parse(bytes: &[u8]) -> Result<RegFile> {
        let text = decode(bytes)?;
        let lines: Vec<&str> = text
            .split('\n')
            .map(|line| line.strip_suffix('\r').unwrap_or(line))
            .collect();
        let first = lines.first().copied().unwrap_or_default();
        let header = first.trim_start();
        let eight_bit = if header.starts_with("Windows Registry Editor Version 5.00") {
            false
        } else if header
            .strip_prefix("REGEDIT4")
            .is_some_and(|rest| rest.trim().is_empty())
        {
            true
        } else {
            return Err(Error::unsupported(
                "this is not a registry file: its first line is neither \"Windows Registry Editor Version 5.00\" nor \"REGEDIT4\"",
                "export the keys with `coldfix reg export` or regedit and edit that file",
            ));
        };
        Ok(Parser {
            lines,
            next: 1,
            eight_bit,
            file: RegFile::default(),
        }
        .run())
    }
}

fn decode(bytes: &[u8]) -> Result<String> {
    let not_text = || {
        Error::unsupported(
            "this is not a registry file: it is neither UTF-16 nor UTF-8 text",
            "save it as \"Unicode\" (UTF-16) or UTF-8 and try again",
        )
    };
    if let Some(rest) = bytes.strip_prefix(&[0xff, 0xfe]) {
        let (pairs, odd) = rest.as_chunks::<2>();
        if !odd.is_empty() {
            return Err(not_text());
        }
        let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
        return String::from_utf16(&units).map_err(|_| not_text());
    }
    let bytes = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) if bytes.trim_ascii_start().starts_with(b"REGEDIT4") => {
            Ok(bytes.iter().map(|byte| char::from(*byte)).collect())
        }
        Err(_) => Err(not_text()),
    }
}

struct Parser<'a> {
    lines: Vec<&'a str>,
    next: usize,
    eight_bit: bool,
    file: RegFile,
}

impl Parser<'_> {
    fn run(mut self) -> RegFile {
        let mut key: Option<String> = None;
        let mut seen_key = false;
        while let Some(line) = self.lines.get(self.next).copied() {
            self.next = self.next.saturating_add(1);
            let number = self.next;
            let trimmed = line.trim_start_matches([' ', '\t']);
            if trimmed.is_empty() || trimmed.starts_with([';', '#']) {
                continue;
            }
            if trimmed.contains('\0') {
                self.skip(
                    number,
                    "a NUL character, at which Windows would cut the line",
                );
                continue;
            }
            if let Some(inner) = trimmed.strip_prefix('[') {
                seen_key = true;
                key = self.key_line(inner, number);
                continue;
            }
            match (&key, seen_key) {
                (Some(path), _) => {
                    let path = path.clone();
                    if let Err(why) = self.value_line(&path, trimmed) {
                        self.skip(number, why);
                    }
                }
                // After a deleted key Windows ignores values until the next key; ours are listed.
                (None, true) => self.skip(number, "a value below a key that is deleted or invalid"),
                (None, false) => self.skip(number, "a value before the first key"),
            }
        }
        self.file
    }

    fn skip(&mut self, line: usize, why: &'static str) {
        self.file.skipped.push(SkippedLine { line, why });
    }

    /// Handles `[...]`; the key that following values belong to.
    fn key_line(&mut self, inner: &str, number: usize) -> Option<String> {
        let Some(end) = inner.rfind(']') else {
            self.skip(number, "a key without its closing bracket");
            return None;
        };
        let name = inner.get(..end).unwrap_or_default();
        let (delete, name) = match name.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, name),
        };
        if name.is_empty() || name.starts_with([' ', '\t']) {
            self.skip(number, "a key whose name is empty or begins with a blank");
            return None;
        }
        let path = name.to_owned();
        if delete {
            self.file.actions.push(RegAction::DeleteKey { path });
            None
        } else {
            self.file
                .actions
                .push(RegAction::CreateKey { path: path.clone() });
            Some(path)
        }
    }

    fn value_line(&mut self, path: &str, line: &str) -> Result<(), &'static str> {
        let (name, rest) = if let Some(rest) = line.strip_prefix('@') {
            (String::new(), rest)
        } else if let Some(rest) = line.strip_prefix('"') {
            quoted(rest).ok_or("a value name without its closing quote")?
        } else {
            return Err("neither a key, a value nor a comment");
        };
        let data = rest
            .trim_start_matches([' ', '\t'])
            .strip_prefix('=')
            .ok_or("a value name without \"=\"")?
            .trim_start_matches([' ', '\t']);
        let path = path.to_owned();
        if let Some(after) = data.strip_prefix('-') {
            only_comment(after)?;
            self.file
                .actions
                .push(RegAction::DeleteValue { path, name });
            return Ok(());
        }
        let (kind, data) = if let Some(rest) = data.strip_prefix('"') {
            let (text, after) = quoted(rest).ok_or("a string without its closing quote")?;
            only_comment(after)?;
            (value::SZ, utf16_with_terminator(&text))
        } else if let Some(rest) = data.strip_prefix("dword:") {
            (value::DWORD, dword(rest)?.to_le_bytes().to_vec())
        } else if let Some(rest) = data.strip_prefix("hex:") {
            (value::BINARY, self.hex_bytes(rest)?)
        } else if let Some(rest) = data.strip_prefix("hex(") {
            let (kind, rest) = rest.split_once("):").ok_or("hex( without \"):\"")?;
            let kind = hexadecimal(kind).ok_or("a type that is not a hexadecimal number")?;
            let bytes = self.hex_bytes(rest)?;
            (kind, self.widened(kind, bytes))
        } else {
            return Err("data of no known form");
        };
        self.file.actions.push(RegAction::SetValue {
            path,
            name,
            kind,
            data,
        });
        Ok(())
    }

    /// In REGEDIT4 files strings in hexadecimal are 8-bit text: widen them, and add the terminator.
    fn widened(&self, kind: u32, bytes: Vec<u8>) -> Vec<u8> {
        if !self.eight_bit || !matches!(kind, value::EXPAND_SZ | value::MULTI_SZ) {
            return bytes;
        }
        let terminated = bytes.last() == Some(&0);
        bytes
            .into_iter()
            .chain((!terminated).then_some(0))
            .flat_map(|byte| u16::from(byte).to_le_bytes())
            .collect()
    }

    /// Comma-separated bytes that may go on over lines ending in `,\`.
    fn hex_bytes(&mut self, first: &str) -> Result<Vec<u8>, &'static str> {
        let mut bytes = Vec::new();
        let mut rest = first.to_owned();
        loop {
            let content = rest.split(';').next().unwrap_or_default().trim_end();
            // `\;comment` may follow the continuation mark, so it is looked for before the comment.
            let continued = content.ends_with('\\');
            let content = content.strip_suffix('\\').unwrap_or(content).trim();
            let complete = content.is_empty() || content.ends_with(',');
            for byte in content.strip_suffix(',').unwrap_or(content).split(',') {
                let byte = byte.trim_start();
                if byte.is_empty() && content.is_empty() {
                    continue;
                }
                bytes.push(
                    hexadecimal(byte)
                        .filter(|_| byte.len() <= 2)
                        .and_then(|byte| u8::try_from(byte).ok())
                        .ok_or("bytes that are not one or two hexadecimal digits between commas")?,
                );
            }
            if !continued {
                return Ok(bytes);
            }
            if !complete {
                return Err("a line continued without a comma before the backslash");
            }
            rest = loop {
                let Some(line) = self.lines.get(self.next).copied() else {
                    return Ok(bytes);
                };
                let trimmed = line.trim();
                if trimmed.starts_with(['[', '"', '@']) {
                    return Err("a continued line that is not followed by bytes");
                }
                self.next = self.next.saturating_add(1);
                if !trimmed.is_empty() && !trimmed.starts_with(';') {
                    break trimmed.to_owned();
                }
            };
        }
    }
}

/// The text up to the closing quote with `\\` and `\"` resolved, and what follows the quote.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((position, character)) = chars.next() {
        match character {
            '"' => return Some((out, text.get(position.checked_add(1)?..)?)),
            '\\' => match chars.next() {
                Some((_, escaped @ ('\\' | '"'))) => out.push(escaped),
                Some((_, other)) => {
                    out.push('\\');
                    out.push(other);
                }
                None => return None,
            },
            other => out.push(other),
        }
    }
    None
}

fn only_comment(rest: &str) -> Result<(), &'static str> {
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with(';') {
        Ok(())
    } else {
        Err("text after the data")
    }
}

fn dword(rest: &str) -> Result<u32, &'static str> {
    let digits = rest.split(';').next().unwrap_or_default().trim();
    hexadecimal(digits).ok_or("a dword that is not one to eight hexadecimal digits")
}

/// One to eight hexadecimal digits and nothing else: no sign, which `from_str_radix` would take.
fn hexadecimal(digits: &str) -> Option<u32> {
    (digits.len() <= 8 && digits.chars().all(|c| c.is_ascii_hexdigit()))
        .then(|| u32::from_str_radix(digits, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> RegFile {
        RegFile::parse(format!("Windows Registry Editor Version 5.00\n{body}").as_bytes()).unwrap()
    }

    #[test]
    fn every_form_of_data_is_read() {
        let file = parse(concat!(
            "\r\n[HKEY_LOCAL_MACHINE\\SYSTEM\\A]\r\n",
            "@=\"text\" ; comment\r\n",
            "\"q\\\"\\\\\"=dword:1F\r\n",
            "\"b\"=hex:01,2,\\\r\n  ff\r\n",
            "\"m\"=hex(7):61,00,00,00,\r\n",
            "\"gone\"=-\r\n",
            "[-HKEY_LOCAL_MACHINE\\SYSTEM\\B]\r\n",
        ));
        assert_eq!(file.skipped, []);
        let key = r"HKEY_LOCAL_MACHINE\SYSTEM\A".to_owned();
        let set = |name: &str, kind, data: &[u8]| RegAction::SetValue {
            path: key.clone(),
            name: name.to_owned(),
            kind,
            data: data.to_vec(),
        };
        assert_eq!(
            file.actions,
            [
                RegAction::CreateKey { path: key.clone() },
                set("", 1, b"t\0e\0x\0t\0\0\0"),
                set("q\"\\", 4, &[0x1f, 0, 0, 0]),
                set("b", 3, &[1, 2, 0xff]),
                set("m", 7, &[0x61, 0, 0, 0]),
                RegAction::DeleteValue {
                    path: key.clone(),
                    name: "gone".to_owned()
                },
                RegAction::DeleteKey {
                    path: r"HKEY_LOCAL_MACHINE\SYSTEM\B".to_owned()
                },
            ]
        );
    }

    #[test]
    fn lines_that_windows_passes_over_are_listed() {
        for bad in [
            "\"a\"=dword:123456789",
            "\"a\"=dword:0x1",
            "\"a\"=\"text\" more",
            "\"a\"=\"text",
            "\"a\"=HEX:01",
            "\"a\"=hex:01,,02",
            "\"a\"=hex:012",
            "\"a\"=hex:+1",
            "\"a\"=hex(+1):01",
            "\"a\0b\"=dword:1",
            "\"a\"=\"b\0c\"",
            "\"a\"=hex:01\\\n  02",
            "\"a\" 1",
            "nonsense",
        ] {
            let file = parse(&format!("[HKLM\\SYSTEM]\n{bad}\n"));
            assert_eq!(file.actions.len(), 1, "{bad}");
            assert_eq!(file.skipped.first().map(|skip| skip.line), Some(3), "{bad}");
        }
        assert!(RegFile::parse(b"Windows Registry Editor Version 4.00\n").is_err());
        assert!(RegFile::parse(b"\nREGEDIT4\n").is_err());
        assert!(RegFile::parse(b"REGEDIT4X\n").is_err());
    }

    #[test]
    fn regedit4_strings_in_hexadecimal_are_widened() {
        let file = RegFile::parse(b"REGEDIT4\n[HKLM\\SYSTEM]\n\"a\"=hex(2):25,41\n").unwrap();
        assert!(matches!(
            file.actions.last(),
            Some(RegAction::SetValue { kind: 2, data, .. }) if data == b"%\0A\0\0\0"
        ));
    }

    #[test]
    fn utf16_with_a_mark_is_read() {
        let mut bytes = vec![0xff, 0xfe];
        let text = "Windows Registry Editor Version 5.00\r\n\r\n[HKLM\\SYSTEM\\\u{e9}]\r\n";
        bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        let file = RegFile::parse(&bytes).unwrap();
        assert_eq!(
            file.actions,
            [RegAction::CreateKey {
                path: "HKLM\\SYSTEM\\\u{e9}".to_owned()
            }]
        );
    }
}
