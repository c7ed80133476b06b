// SPDX-License-Identifier: GPL-2.0-or-later
//! Writing `.reg` files, as `reg export` does. The form is drawn in [`super::reg_file`], which reads them.
//!
//! Where the format has no form for a name, that name is left out and listed, never mangled.

use std::fmt::Write;

use crate::edit::utf16_with_terminator;
use crate::error::Result;
use crate::hive::{Key, Name};

use super::value;

/// What [`export`] made of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Export {
    /// The `.reg` text, version 5, with CRLF line ends and without a byte order mark.
    pub text: String,
    /// Full paths of values and keys (with everything below them) that the text does not hold, because
    /// their names hold a NUL, a line break or an unpaired surrogate, for which the format has no form.
    pub left_out: Vec<String>,
}

/// The `.reg` text of a key and everything below it. `path` is the full path to print for `key`.
pub fn export(key: &Key<'_>, path: &str) -> Result<Export> {
    let mut out = String::from("Windows Registry Editor Version 5.00\r\n\r\n");
    let mut left_out = Vec::new();
    // Depth first, subkeys in their stored (sorted) order, values in stored order.
    let mut pending = vec![(*key, path.to_owned())];
    while let Some((key, path)) = pending.pop() {
        let _ = write!(out, "[{path}]\r\n");
        for value in key.values()? {
            match writable_name(value.name()) {
                Some(name) => export_value(&mut out, &name, value.kind(), &value.data()?),
                None => leave_out(&mut out, &mut left_out, &path, value.name()),
            }
        }
        out.push_str("\r\n");
        for subkey in key.subkeys()?.into_iter().rev() {
            match writable_name(subkey.name()) {
                Some(name) => pending.push((subkey, format!("{path}\\{name}"))),
                None => leave_out(&mut out, &mut left_out, &path, subkey.name()),
            }
        }
    }
    let text = out;
    Ok(Export { text, left_out })
}

/// The name, if a line of a `.reg` file can hold it.
fn writable_name(name: Name<'_>) -> Option<String> {
    value::exact_name(name).filter(|name| !name.contains(['\0', '\r', '\n']))
}

/// Says in the file, too, that something is missing from it.
fn leave_out(out: &mut String, left_out: &mut Vec<String>, path: &str, name: Name<'_>) {
    let place = format!("{path}\\{name}");
    let _ = write!(
        out,
        "; left out, its name cannot be written here: {}\r\n",
        value::printable(&place)
    );
    left_out.push(place);
}

fn export_value(out: &mut String, name: &str, kind: u32, data: &[u8]) {
    let mut line = if name.is_empty() {
        "@=".to_owned()
    } else {
        format!("\"{}\"=", escape(name))
    };
    if kind == value::DWORD
        && let Some(number) = <[u8; 4]>::try_from(data).ok().map(u32::from_le_bytes)
    {
        let _ = write!(line, "dword:{number:08x}");
    } else if kind == value::SZ
        && let Some(text) = plain_text(data)
    {
        let _ = write!(line, "\"{}\"", escape(&text));
    } else {
        if kind == value::BINARY {
            line.push_str("hex:");
        } else {
            let _ = write!(line, "hex({kind:x}):");
        }
        let mut column = line.encode_utf16().count();
        for (position, byte) in data.iter().enumerate() {
            let last = position.saturating_add(1) == data.len();
            let _ = write!(line, "{byte:02x}{}", if last { "" } else { "," });
            column = column.saturating_add(3);
            // reg.exe wraps after the byte that reaches column 77.
            if !last && column >= 77 {
                line.push_str("\\\r\n  ");
                column = 2;
            }
        }
    }
    out.push_str(&line);
    out.push_str("\r\n");
}

/// A REG_SZ that survives the way through quotes: text, one terminator at its end, no line breaks.
/// reg.exe writes zero-length data as `""` too, which comes back two bytes longer; ours is `hex(1):`.
fn plain_text(data: &[u8]) -> Option<String> {
    let text = value::text(data)?;
    let exact = utf16_with_terminator(&text) == data;
    (exact && !text.contains(['\r', '\n'])).then_some(text)
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_data_wraps_where_reg_exe_wraps() {
        let mut out = String::new();
        export_value(&mut out, "b", value::BINARY, &[0xab; 60]);
        let widths: Vec<usize> = out
            .lines()
            .map(|line| line.trim_end_matches('\\').len())
            .collect();
        // "b"=hex: is 8 columns; 23 bytes of 3 reach 77; continuation lines hold 25 bytes.
        assert_eq!(widths.first(), Some(&77));
        assert_eq!(widths.get(1), Some(&77));
    }
}
