// SPDX-License-Identifier: GPL-2.0-or-later
//! A password hash as a V value stores it: encrypted, in one of two generations.
//!
//! ```text
//!            RC4 (to Windows 8.1)           AES (from Windows 10 1607, Server 2016)
//! 0  u16     key id                         key id
//! 2  u16     revision, 1                    revision, 2
//! 4          16 bytes; none when empty      u32 16 when filled, 0 when empty
//! 8                                         16 bytes salt
//! 24                                        32 bytes; none when empty
//! ```
//! An empty one means a blank password. Length 0 does too: older tools clear passwords so.

use crate::bytes::{array, u16_le, u32_le};
use crate::error::{Error, Result};

/// The value of the AES form's length field when there is a hash.
const FILLED: u32 = 16;

/// A stored hash.
#[derive(Clone, PartialEq, Eq)]
pub enum HashBlob {
    /// Nothing at all.
    Nothing,
    /// The older generation.
    Rc4 {
        /// Which key: 3 on Windows 7 and 8.1.
        key_id: u16,
        /// The encrypted hash; None for a blank password.
        data: Option<[u8; 16]>,
    },
    /// The newer generation.
    Aes {
        /// Which key: 2 on Windows 10.
        key_id: u16,
        /// Random.
        salt: [u8; 16],
        /// The encrypted hash with its padding; None for a blank password.
        data: Option<[u8; 32]>,
    },
}

impl HashBlob {
    /// Reads a stored hash.
    ///
    /// # Errors
    /// `Damaged` when it has neither form.
    pub fn parse(bytes: &[u8]) -> Result<HashBlob> {
        if bytes.is_empty() {
            return Ok(HashBlob::Nothing);
        }
        let key_id = u16_le(bytes, 0).unwrap_or_default();
        let blob = match (u16_le(bytes, 2), bytes.len()) {
            (Some(1), 4) => HashBlob::Rc4 { key_id, data: None },
            (Some(1), 20) => HashBlob::Rc4 {
                key_id,
                data: array(bytes, 4),
            },
            (Some(2), length @ (24 | 56)) => {
                let filled = length == 56;
                let field = u32_le(bytes, 4).unwrap_or_default();
                if field != if filled { FILLED } else { 0 } {
                    let expected = "16 when there is a hash, else 0";
                    let found = field.to_string();
                    return Err(Error::damaged("stored hash", 4, expected, found));
                }
                HashBlob::Aes {
                    key_id,
                    salt: array(bytes, 8).unwrap_or_default(),
                    data: array(bytes, 24),
                }
            }
            (revision, length) => {
                let revision = revision.map_or("none".to_owned(), |number| number.to_string());
                return Err(Error::damaged(
                    "stored hash",
                    0,
                    "revision 1 with 4 or 20 bytes, or 2 with 24 or 56",
                    format!("revision {revision} with {length} bytes"),
                ));
            }
        };
        Ok(blob)
    }

    /// True when the password is blank.
    pub fn is_blank(&self) -> bool {
        matches!(
            self,
            HashBlob::Nothing | HashBlob::Rc4 { data: None, .. } | HashBlob::Aes { data: None, .. }
        )
    }

    /// The stored form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            HashBlob::Nothing => {}
            HashBlob::Rc4 { key_id, data } => {
                bytes.extend(key_id.to_le_bytes());
                bytes.extend(1_u16.to_le_bytes());
                bytes.extend(data.iter().flatten());
            }
            HashBlob::Aes { key_id, salt, data } => {
                bytes.extend(key_id.to_le_bytes());
                bytes.extend(2_u16.to_le_bytes());
                bytes.extend(data.map_or(0, |_| FILLED).to_le_bytes());
                bytes.extend(salt);
                bytes.extend(data.iter().flatten());
            }
        }
        bytes
    }
}

/// The form alone: the bytes are a secret's.
impl std::fmt::Debug for HashBlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let generation = match self {
            HashBlob::Nothing => "Nothing",
            HashBlob::Rc4 { .. } => "Rc4",
            HashBlob::Aes { .. } => "Aes",
        };
        f.debug_struct(generation)
            .field("blank", &self.is_blank())
            .finish_non_exhaustive()
    }
}
