// SPDX-License-Identifier: GPL-2.0-or-later
//! Where the private key of a certificate lies: `CRYPT_KEY_PROV_INFO`, property 2.
//!
//! ```text
//! 0  u32 offset of the container's name    16 u32 how many parameters
//! 4  u32 offset of the provider's name     20 u32 offset of the parameters
//! 8  u32 provider type; 0: CNG             24 u32 key spec; 1 exchange, 2 signature
//! 12 u32 flags; 0x20: of the machine       28 the names, UTF-16 with terminators
//! ```
//! Specification: [MS-GPEF] 2.2.1.1.1.1. Offsets count from the start of the property. Parameters, which no stored
//! key of the machine has, are not handled.

use crate::bytes::{u16_le, u32_le};
use crate::error::{Error, Result};

/// Ours: no container's or provider's name comes near it.
const LONGEST_NAME: usize = 4096;

/// Windows' own provider of CNG that keeps keys in files.
const SOFTWARE: &str = "Microsoft Software Key Storage Provider";
/// The flag of a key of the machine.
const OF_MACHINE: u32 = 0x20;

/// Where a private key lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyProvider {
    /// The container's name; of a CNG key, the key's name.
    pub container: String,
    /// The provider's name.
    pub provider: String,
    /// The provider's type; 0 for a CNG key storage provider.
    pub kind: u32,
    /// The flags; 0x20: the machine's keys, not a user's.
    pub flags: u32,
    /// Which of a container's two keys; 0xFFFFFFFF for CNG.
    pub key_spec: u32,
}

impl KeyProvider {
    /// Reads the property's bytes.
    ///
    /// # Errors
    /// `Damaged` when a field or a name does not lie inside, does not end, or is no text.
    pub fn parse(data: &[u8]) -> Result<KeyProvider> {
        let field = |at: usize| {
            u32_le(data, at).ok_or_else(|| wrong(0, "28 bytes", format!("{} bytes", data.len())))
        };
        Ok(KeyProvider {
            container: name(data, field(0)?)?,
            provider: name(data, field(4)?)?,
            kind: field(8)?,
            flags: field(12)?,
            key_spec: field(24)?,
        })
    }

    /// True for a key of the older interface (CAPI), whose containers are files in MachineKeys; false for one of
    /// CNG.
    pub fn is_capi(&self) -> bool {
        self.kind != 0
    }

    /// True for a key of the machine that CNG keeps in a file; false for those of users, chips and cards too.
    pub fn is_cng_file(&self) -> bool {
        let is_software = self.provider.eq_ignore_ascii_case(SOFTWARE);
        !self.is_capi() && is_software && self.flags & OF_MACHINE != 0
    }
}

/// The text at `offset`, up to its terminator.
fn name(data: &[u8], offset: u32) -> Result<String> {
    // A name that is not there has no place.
    if offset == 0 {
        return Ok(String::new());
    }
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let mut units = Vec::new();
    loop {
        let place = units
            .len()
            .checked_mul(2)
            .and_then(|done| start.checked_add(done));
        match place.and_then(|place| u16_le(data, place)) {
            Some(0) => break,
            Some(unit) if units.len() < LONGEST_NAME => units.push(unit),
            Some(_) => return Err(wrong(offset, "a name", "one of thousands of characters")),
            None => return Err(wrong(offset, "a name that ends inside", "its end outside")),
        }
    }
    String::from_utf16(&units).map_err(|_| wrong(offset, "a name", "unpaired surrogates"))
}

fn wrong(offset: u32, expected: &str, found: impl Into<String>) -> Error {
    Error::damaged("key provider (property 2)", offset.into(), expected, found)
}
