// SPDX-License-Identifier: GPL-2.0-or-later
//! Data on the command line, by registry type.

use crate::edit::{hex_digits, utf16_with_terminator};
use crate::error::{Error, Result};
use crate::windows::value;

/// Data as reg.exe takes it after `/d`.
pub(super) fn typed_data(kind: u32, data: Option<&str>, separator: &str) -> Result<Vec<u8>> {
    let wrong = |what: &str| {
        Error::unsupported(
            format!("{:?} is not {what}", data.unwrap_or_default()),
            "give the data after -d in the form of the type after -t",
        )
    };
    let number = || -> Option<u64> {
        let text = data.unwrap_or("0").trim();
        let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => (digits, 16),
            None => (text, 10),
        };
        // A sign would be taken otherwise.
        digits
            .chars()
            .all(|digit| digit.is_ascii_hexdigit())
            .then(|| u64::from_str_radix(digits, radix).ok())
            .flatten()
    };
    let narrow = || number().and_then(|number| u32::try_from(number).ok());
    Ok(match kind {
        value::SZ | value::EXPAND_SZ => utf16_with_terminator(data.unwrap_or_default()),
        value::DWORD => narrow()
            .ok_or_else(|| wrong("a 32-bit number"))?
            .to_le_bytes()
            .to_vec(),
        5 => narrow()
            .ok_or_else(|| wrong("a 32-bit number"))?
            .to_be_bytes()
            .to_vec(),
        value::QWORD => number()
            .ok_or_else(|| wrong("a 64-bit number"))?
            .to_le_bytes()
            .to_vec(),
        value::MULTI_SZ => {
            // A separator at the end adds nothing; an empty part would end the list for every reader.
            let text = data.unwrap_or_default();
            let mut parts: Vec<&str> = match separator {
                "" => vec![text],
                _ => text.split(separator).collect(),
            };
            while parts.last().is_some_and(|part| part.is_empty()) {
                parts.pop();
            }
            if parts.iter().any(|part| part.is_empty()) {
                return Err(wrong("a list without empty parts"));
            }
            let mut bytes: Vec<u8> = parts.into_iter().flat_map(utf16_with_terminator).collect();
            bytes.extend([0, 0]);
            bytes
        }
        6 => data
            .unwrap_or_default()
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect(),
        _ => hex_digits(data.unwrap_or_default())
            .ok_or_else(|| wrong("an even run of hexadecimal digits"))?,
    })
}
