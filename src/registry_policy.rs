// SPDX-License-Identifier: GPL-2.0-or-later
//! `Registry.pol`: the registry settings of a group policy ([MS-GPREG] 2.2.1).
//!
//! ```text
//! "PReg"  u32 version (1)
//! "[" key 0 ";" value 0 ";" u32 type ";" u32 size ";" data (size bytes) "]"      any number of times
//! ```
//! Brackets, semicolons, text and its terminators are UTF-16LE units; numbers are little-endian. The instructions are
//! carried out in order, so the last one that touches a value decides. A value's name that begins with `**` is a
//! command:
//!
//! ```text
//! **del.NAME              delete one value        **deletevalues   those listed in the data, `;` between
//! **delvals. or **delvals delete all of the key   **deletekeys     the subkeys listed in the data
//! **soft.NAME             set where it is absent  others           nothing that concerns a value
//! ```
//! Windows keeps the same format in `ProgramData\ntuser.pol`, as its record of what it has applied. Only reading; what
//! an instruction means for one value is the question that is answered here.

use crate::bytes::{slice, u16_le, u32_le};
use crate::error::{Error, Result};

/// What the file begins with.
const SIGNATURE: &[u8] = b"PReg";
/// The only version there is.
const VERSION: u32 = 1;

const OPEN: u16 = 0x5b;
const CLOSE: u16 = 0x5d;
const SEPARATOR: u16 = 0x3b;

/// REG_DWORD.
const DWORD: u32 = 4;

/// One instruction as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The key, without a root.
    pub key: String,
    /// The value's name, or a command.
    pub value: String,
    /// The registry type number.
    pub kind: u32,
    /// The value's bytes.
    pub data: Vec<u8>,
}

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyFile {
    /// Its instructions, in order.
    pub instructions: Vec<Instruction>,
}

/// What a file does to one value when it is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// Sets it.
    Set {
        /// The registry type number.
        kind: u32,
        /// The bytes.
        data: &'a [u8],
    },
    /// Deletes it.
    Delete,
}

impl Effect<'_> {
    /// The number that it sets, when it sets a REG_DWORD of four bytes.
    pub fn dword(self) -> Option<u32> {
        match self {
            Effect::Set { kind: DWORD, data } if data.len() == 4 => u32_le(data, 0),
            _ => None,
        }
    }
}

impl PolicyFile {
    /// Reads a file. One bad instruction makes the whole of it bad: what follows cannot be trusted to be what it
    /// seems.
    pub fn parse(bytes: &[u8]) -> Result<PolicyFile> {
        let mut reader = Reader { bytes, at: 0 };
        match slice(bytes, 0, SIGNATURE.len()) {
            Some(signature) if signature == SIGNATURE => reader.at = SIGNATURE.len(),
            _ => return Err(reader.damaged("the signature PReg", "something else")),
        }
        let version = reader.number()?;
        if version != VERSION {
            reader.at = SIGNATURE.len();
            return Err(reader.damaged("version 1", version.to_string()));
        }
        let mut instructions = Vec::new();
        while reader.at < bytes.len() {
            reader.unit(OPEN)?;
            let key = reader.text()?;
            reader.unit(SEPARATOR)?;
            let value = reader.text()?;
            reader.unit(SEPARATOR)?;
            let kind = reader.number()?;
            reader.unit(SEPARATOR)?;
            let size = reader.number()?;
            reader.unit(SEPARATOR)?;
            let data = reader.data(size)?.to_vec();
            reader.unit(CLOSE)?;
            instructions.push(Instruction {
                key,
                value,
                kind,
                data,
            });
        }
        Ok(PolicyFile { instructions })
    }

    /// What the file does to one value; `None` when it does not touch it. Names are compared without case.
    pub fn effect(&self, key: &str, value: &str) -> Option<Effect<'_>> {
        let mut effect = None;
        for instruction in &self.instructions {
            if let Some(found) = instruction.on(key, value, effect.is_some()) {
                effect = Some(found);
            }
        }
        effect
    }
}

impl Instruction {
    /// What this instruction does to the value; `set_before` tells whether an earlier one has decided already.
    fn on(&self, key: &str, value: &str, set_before: bool) -> Option<Effect<'_>> {
        let set = Effect::Set {
            kind: self.kind,
            data: &self.data,
        };
        let name = self.value.as_str();
        if let Some(listed) = after(name, "**deletekeys") {
            let gone = |subkey: &str| {
                let whole = format!(r"{}\{subkey}", self.key);
                key.eq_ignore_ascii_case(&whole)
                    || after(key, &whole).is_some_and(|rest| rest.starts_with('\\'))
            };
            // A dot or nothing may follow the command.
            return (listed.trim_matches('.').is_empty() && self.list().any(|part| gone(&part)))
                .then_some(Effect::Delete);
        }
        if !self.key.eq_ignore_ascii_case(key) {
            return None;
        }
        if name.eq_ignore_ascii_case(value) {
            return Some(set);
        }
        let named = |command| after(name, command).is_some_and(|of| of.eq_ignore_ascii_case(value));
        if named("**del.") || after(name, "**delvals").is_some() {
            return Some(Effect::Delete);
        }
        if after(name, "**deletevalues").is_some() {
            let mut listed = self.list();
            let found = listed.any(|part| part.eq_ignore_ascii_case(value));
            return found.then_some(Effect::Delete);
        }
        (named("**soft.") && !set_before).then_some(set)
    }

    /// The data as a list with `;` between.
    fn list(&self) -> impl Iterator<Item = String> {
        let (pairs, _) = self.data.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
        let text = String::from_utf16_lossy(&units);
        let text = text.trim_end_matches('\0').to_owned();
        text.split(';')
            .map(|part| part.trim().to_owned())
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .into_iter()
    }
}

/// What follows `start`, compared without case.
fn after<'t>(text: &'t str, start: &str) -> Option<&'t str> {
    let (head, rest) = text.split_at_checked(start.len())?;
    head.eq_ignore_ascii_case(start).then_some(rest)
}

/// The bytes and how far they are read.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn damaged(&self, expected: impl Into<String>, found: impl Into<String>) -> Error {
        let offset = u64::try_from(self.at).unwrap_or(u64::MAX);
        Error::damaged("registry policy file", offset, expected, found)
    }

    fn ends(&self, expected: &str) -> Error {
        self.damaged(expected, "the end of the file")
    }

    fn take(&mut self, len: usize, expected: &str) -> Result<&'a [u8]> {
        let taken = slice(self.bytes, self.at, len).ok_or_else(|| self.ends(expected))?;
        self.at = self.at.saturating_add(len);
        Ok(taken)
    }

    fn unit(&mut self, wanted: u16) -> Result<()> {
        let shown = char::from_u32(wanted.into()).unwrap_or(' ').to_string();
        match u16_le(self.bytes, self.at) {
            Some(unit) if unit == wanted => {
                self.at = self.at.saturating_add(2);
                Ok(())
            }
            Some(unit) => Err(self.damaged(shown, format!("{unit:#06x}"))),
            None => Err(self.ends(&shown)),
        }
    }

    fn number(&mut self) -> Result<u32> {
        let taken = self.take(4, "a number of four bytes")?;
        u32_le(taken, 0).ok_or_else(|| self.ends("a number of four bytes"))
    }

    fn text(&mut self) -> Result<String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (pairs, _) = rest.as_chunks::<2>();
        let units: Vec<u16> = pairs
            .iter()
            .map(|pair| u16::from_le_bytes(*pair))
            .take_while(|unit| *unit != 0)
            .collect();
        let len = units.len().saturating_add(1).saturating_mul(2);
        self.take(len, "text with its terminator")?;
        Ok(String::from_utf16_lossy(&units))
    }

    fn data(&mut self, size: u32) -> Result<&'a [u8]> {
        let len = usize::try_from(size).unwrap_or(usize::MAX);
        self.take(len, "as many bytes of data as the size says")
    }
}

#[cfg(test)]
mod tests;
