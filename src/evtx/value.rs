// SPDX-License-Identifier: GPL-2.0-or-later
//! Typed values of binary XML, as text.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::bytes;
use crate::security::Sid;

/// A value that fills a hole of a template.
pub(super) struct Value<'c> {
    /// Its type; 0x80 on top means a list of it.
    pub(super) kind: u8,
    pub(super) raw: &'c [u8],
    /// Where it lies in the chunk.
    pub(super) at: usize,
}

const STRING: u8 = 0x01;
const LIST: u8 = 0x80;

impl Value<'_> {
    /// It is binary XML itself.
    pub(super) fn is_fragment(&self) -> bool {
        self.kind == 0x21
    }

    /// The texts of a list of strings, of at most `room` bytes; `None` where it is something else.
    pub(super) fn list(&self, room: usize) -> Option<Vec<String>> {
        if self.kind != STRING | LIST {
            return None;
        }
        /// What an entry costs besides its text, so that empty ones are bounded too.
        const ENTRY: usize = 8;
        let mut texts = Vec::new();
        let mut room = room;
        let (pairs, _) = self.raw.as_chunks::<2>();
        for part in pairs.split_inclusive(|pair| *pair == [0, 0]) {
            let text = utf16(part.as_flattened());
            let Some(left) = room.checked_sub(text.len().saturating_add(ENTRY)) else {
                break;
            };
            room = left;
            texts.push(text);
        }
        Some(texts)
    }

    /// The value as text of about `room` bytes at most.
    pub(super) fn text(&self, room: usize) -> String {
        let raw = self.raw;
        if self.kind & LIST != 0 {
            return hexadecimal(raw, room);
        }
        let read = match self.kind {
            0x00 => Some(String::new()),
            STRING => Some(utf16(raw.get(..room.saturating_mul(2)).unwrap_or(raw))),
            0x02 => {
                let raw = raw.get(..room).unwrap_or(raw);
                let text = raw.split(|byte| *byte == 0).next().unwrap_or_default();
                Some(text.iter().map(|byte| char::from(*byte)).collect())
            }
            0x03 => bytes::array(raw, 0).map(|raw| i8::from_le_bytes(raw).to_string()),
            0x04 => raw.first().map(u8::to_string),
            0x05 => bytes::array(raw, 0).map(|raw| i16::from_le_bytes(raw).to_string()),
            0x06 => bytes::u16_le(raw, 0).map(|number| number.to_string()),
            0x07 => bytes::i32_le(raw, 0).map(|number| number.to_string()),
            0x08 => bytes::u32_le(raw, 0).map(|number| number.to_string()),
            0x09 => bytes::array(raw, 0).map(|raw| i64::from_le_bytes(raw).to_string()),
            0x0a => bytes::u64_le(raw, 0).map(|number| number.to_string()),
            0x0b => bytes::array(raw, 0).map(|raw| f32::from_le_bytes(raw).to_string()),
            0x0c => bytes::array(raw, 0).map(|raw| f64::from_le_bytes(raw).to_string()),
            0x0d => raw.first().map(|byte| (*byte != 0).to_string()),
            0x0f => guid(raw),
            0x11 => bytes::u64_le(raw, 0).map(|time| match timestamp(time) {
                Some(time) => time.to_string(),
                None => time.to_string(),
            }),
            0x13 => Sid::parse(raw, 0).ok().map(|sid| sid.to_string()),
            // A size, and numbers that are shown in hexadecimal.
            0x10 | 0x14 | 0x15 => match raw.len() {
                4 => bytes::u32_le(raw, 0).map(|number| format!("{number:#x}")),
                _ => bytes::u64_le(raw, 0).map(|number| format!("{number:#x}")),
            },
            _ => None,
        };
        read.unwrap_or_else(|| hexadecimal(raw, room))
    }
}

/// The instant of a FILETIME (100 nanoseconds since 1601); `None` where no calendar has it.
pub(super) fn timestamp(time: u64) -> Option<Timestamp> {
    /// From 1601 to 1970.
    const EPOCH: i128 = 11_644_473_600_000_000_000;
    let nanoseconds = i128::from(time).checked_mul(100)?.checked_sub(EPOCH)?;
    Timestamp::from_nanosecond(nanoseconds).ok()
}

/// UTF-16 up to a terminating zero.
pub(super) fn utf16(raw: &[u8]) -> String {
    let (pairs, _) = raw.as_chunks::<2>();
    let units = pairs.iter().map(|pair| u16::from_le_bytes(*pair));
    char::decode_utf16(units.take_while(|unit| *unit != 0))
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

fn guid(raw: &[u8]) -> Option<String> {
    let guid = uuid::Uuid::from_bytes_le(bytes::array(raw, 0)?);
    Some(guid.hyphenated().to_string().to_uppercase())
}

/// Two digits a byte, of about `room` bytes at most.
fn hexadecimal(raw: &[u8], room: usize) -> String {
    let mut text = String::new();
    for byte in raw.iter().take(room.div_ceil(2)) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02X}");
    }
    text
}
