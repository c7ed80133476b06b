// SPDX-License-Identifier: GPL-2.0-or-later
//! Values of elements: from bytes, to bytes, and from what a person writes.
//!
//! Reading is lenient where Windows is and old tools wrote it so: a number of one to eight bytes, a yes-or-no of
//! any length from one byte on. What fits no form is kept as [`Value::Malformed`], shown and never guessed.
//! Writing uses the one form that `bcdedit` writes.

use uuid::Uuid;

use super::device::Device;
use super::elements::{self, Spelling};
use super::format::{ElementType, Format, ObjectType, braced};
use crate::bytes::{u16_le, u64_le};
use crate::error::{Error, Result};

/// REG_SZ.
pub const SZ: u32 = 1;
/// REG_EXPAND_SZ, which some tools write for text.
const EXPAND_SZ: u32 = 2;
/// REG_BINARY.
pub const BINARY: u32 = 3;
/// REG_MULTI_SZ.
pub const MULTI_SZ: u32 = 7;

/// The value of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A device.
    Device(Device),
    /// Text.
    Text(String),
    /// Another object.
    Object(Uuid),
    /// Other objects.
    ObjectList(Vec<Uuid>),
    /// A number.
    Integer(u64),
    /// Yes or no.
    Boolean(bool),
    /// Numbers.
    IntegerList(Vec<u64>),
    /// Bytes that do not fit the element's format, with their registry type.
    Malformed {
        /// The registry type.
        kind: u32,
        /// The bytes.
        data: Vec<u8>,
    },
}

impl Value {
    /// The value that `data` of the registry type `kind` has in `element`.
    pub fn decode(element: ElementType, kind: u32, data: &[u8]) -> Value {
        let is_text = kind == SZ || kind == EXPAND_SZ;
        let read = || match element.format() {
            Format::Device if kind == BINARY => Some(Value::Device(Device::parse(data))),
            Format::Text if is_text => text(data).map(Value::Text),
            Format::Object if is_text => {
                super::format::parse_guid(text(data)?.as_str()).map(Value::Object)
            }
            Format::ObjectList if kind == MULTI_SZ => {
                let parts = parts(data)?;
                let ids = parts.iter().map(|part| super::format::parse_guid(part));
                ids.collect::<Option<_>>().map(Value::ObjectList)
            }
            Format::Integer if kind == BINARY => number(data).map(Value::Integer),
            Format::Boolean if kind == BINARY && !data.is_empty() => {
                Some(Value::Boolean(data.iter().any(|byte| *byte != 0)))
            }
            Format::IntegerList if kind == BINARY => {
                let (numbers, rest) = data.as_chunks::<8>();
                let numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
                rest.is_empty()
                    .then(|| Value::IntegerList(numbers.collect()))
            }
            _ => None,
        };
        read().unwrap_or_else(|| Value::Malformed {
            kind,
            data: data.to_vec(),
        })
    }

    /// Registry type and bytes as `bcdedit` writes them; `None` for what is not written anew: devices and bytes
    /// that were not understood.
    pub fn encode(&self) -> Option<(u32, Vec<u8>)> {
        Some(match self {
            Value::Text(text) => (SZ, terminated(text)),
            Value::Object(id) => (SZ, terminated(&braced(*id))),
            Value::ObjectList(ids) => {
                let mut data: Vec<u8> =
                    ids.iter().flat_map(|id| terminated(&braced(*id))).collect();
                data.extend([0, 0]);
                (MULTI_SZ, data)
            }
            Value::Integer(number) => (BINARY, number.to_le_bytes().to_vec()),
            Value::Boolean(yes) => (BINARY, vec![u8::from(*yes)]),
            Value::IntegerList(numbers) => {
                let data = numbers.iter().flat_map(|number| number.to_le_bytes());
                (BINARY, data.collect())
            }
            Value::Device(_) | Value::Malformed { .. } => return None,
        })
    }

    /// The value that a person writes for `element` of an object of type `kind`. `words` are the arguments behind
    /// the name; `object` resolves an identifier such as `{memdiag}`.
    ///
    /// # Errors
    /// `Unsupported` for a value that the element does not take, naming those that it does; `Refused` for a device.
    pub fn parse(
        kind: ObjectType,
        element: ElementType,
        words: &[String],
        object: &dyn Fn(&str) -> Result<Uuid>,
    ) -> Result<Value> {
        let name = elements::shown_name(kind, element);
        let joined = words.join(" ");
        let wrong = |takes: &str| {
            Err(Error::unsupported(
                format!("{name} cannot be {joined:?}"),
                format!("it takes {takes}"),
            ))
        };
        let numbers = |text: &str| -> Vec<String> {
            text.split([' ', ',', '\t'])
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect()
        };
        match element.format() {
            Format::Text if words.is_empty() => wrong("a text"),
            Format::Text => match joined.contains('\0') {
                true => wrong("a text without zero characters"),
                false => Ok(Value::Text(joined)),
            },
            Format::Boolean => match yes_or_no(&joined) {
                Some(yes) => Ok(Value::Boolean(yes)),
                None => wrong("yes or no (on or off, true or false, 1 or 0)"),
            },
            Format::Integer => {
                let spelling = elements::by_number(kind, element).map(|named| named.spelling);
                let known = match spelling {
                    Some(Spelling::Words(known)) => known,
                    _ => &[],
                };
                let word = known
                    .iter()
                    .position(|word| word.eq_ignore_ascii_case(&joined))
                    .and_then(|place| u64::try_from(place).ok());
                match word.or_else(|| parse_number(&joined)) {
                    Some(number) => Ok(Value::Integer(number)),
                    None if known.is_empty() => wrong("a number, decimal or 0x and hexadecimal"),
                    None => wrong(&format!("{} or its number", known.join(", "))),
                }
            }
            Format::IntegerList => {
                let parsed: Option<Vec<u64>> = numbers(&joined)
                    .iter()
                    .map(|part| parse_number(part))
                    .collect();
                match parsed {
                    Some(list) => Ok(Value::IntegerList(list)),
                    None => wrong("numbers with blanks between, decimal or 0x and hexadecimal"),
                }
            }
            Format::Object => match numbers(&joined).as_slice() {
                [one] => Ok(Value::Object(object(one)?)),
                _ => wrong("one identifier"),
            },
            Format::ObjectList => {
                let ids: Vec<Uuid> = numbers(&joined)
                    .iter()
                    .map(|part| object(part))
                    .collect::<Result<_>>()?;
                match ids.is_empty() {
                    true => wrong("identifiers with blanks between"),
                    false => Ok(Value::ObjectList(ids)),
                }
            }
            Format::Device => Err(Error::refused(
                format!("{name} is a device, and devices are not written by this version"),
                "set it with bcdedit or bcdboot on a Windows machine that has the disk attached",
            )),
            Format::Other => Err(Error::unsupported(
                format!("{name} has a format that Windows does not use"),
                "check the element's number",
            )),
        }
    }

    /// The lines that `bcdedit` prints for the value in an object of type `kind`. `id` writes an identifier,
    /// `device` a device.
    pub fn display(
        &self,
        kind: ObjectType,
        element: ElementType,
        id: &dyn Fn(Uuid) -> String,
        device: &dyn Fn(&Device) -> String,
    ) -> Vec<String> {
        let spelling = elements::by_number(kind, element).map(|named| named.spelling);
        let number = |number: u64| match spelling {
            Some(Spelling::Hexadecimal) => format!("{number:#x}"),
            Some(Spelling::Words(words)) => usize::try_from(number)
                .ok()
                .and_then(|place| words.get(place))
                .map_or_else(|| number.to_string(), |word| (*word).to_owned()),
            _ => number.to_string(),
        };
        match self {
            Value::Device(found) => vec![device(found)],
            Value::Text(text) => vec![text.clone()],
            Value::Object(object) => vec![id(*object)],
            Value::ObjectList(ids) => ids.iter().map(|object| id(*object)).collect(),
            Value::Integer(value) => vec![number(*value)],
            Value::Boolean(yes) => vec![if *yes { "Yes" } else { "No" }.to_owned()],
            // Lists are masks and addresses: hexadecimal, whatever they are called.
            Value::IntegerList(list) => list.iter().map(|value| format!("{value:#x}")).collect(),
            Value::Malformed { kind, data } => vec![malformed(*kind, data)],
        }
    }
}

/// Bytes that were not understood, for one line: their registry type and how they begin.
fn malformed(kind: u32, data: &[u8]) -> String {
    use std::fmt::Write;
    const SHOWN: usize = 32;
    let mut line = format!("malformed (type {kind}, {} bytes) ", data.len());
    for byte in data.iter().take(SHOWN) {
        let _ = write!(line, "{byte:02x}");
    }
    if data.len() > SHOWN {
        line.push_str("...");
    }
    line
}

/// `yes`, `on`, `true`, `1` and their opposites, in any case.
fn yes_or_no(text: &str) -> Option<bool> {
    const YES: [&str; 4] = ["yes", "on", "true", "1"];
    const NO: [&str; 4] = ["no", "off", "false", "0"];
    let among = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    match (among(&YES), among(&NO)) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

fn parse_number(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    match digits {
        // Without this, "+1" would be a number.
        Some(digits) if digits.starts_with(|c: char| c.is_ascii_hexdigit()) => {
            u64::from_str_radix(digits, 16).ok()
        }
        Some(_) => None,
        None if text.starts_with(|c: char| c.is_ascii_digit()) => text.parse().ok(),
        None => None,
    }
}

/// A number of one to eight bytes: stores made by other tools have shorter ones than Windows writes.
fn number(data: &[u8]) -> Option<u64> {
    if data.is_empty() || data.len() > 8 {
        return None;
    }
    let mut whole = data.to_vec();
    whole.resize(8, 0);
    u64_le(&whole, 0)
}

fn units(data: &[u8]) -> Option<Vec<u16>> {
    if !data.len().is_multiple_of(2) {
        return None;
    }
    let units = data.chunks_exact(2);
    Some(units.filter_map(|unit| u16_le(unit, 0)).collect())
}

/// Text up to its terminator; `None` when the bytes are not text.
fn text(data: &[u8]) -> Option<String> {
    let units = units(data)?;
    let text: Vec<u16> = units.into_iter().take_while(|unit| *unit != 0).collect();
    String::from_utf16(&text).ok()
}

/// The texts of a REG_MULTI_SZ; empty ones end it.
fn parts(data: &[u8]) -> Option<Vec<String>> {
    let units = units(data)?;
    let parts = units.split(|unit| *unit == 0);
    let parts = parts.take_while(|part| !part.is_empty());
    parts.map(|part| String::from_utf16(part).ok()).collect()
}

fn terminated(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().chain(std::iter::once(0));
    units.flat_map(u16::to_le_bytes).collect()
}
