// SPDX-License-Identifier: GPL-2.0-or-later
//! A user's variable fields: the value V of `SAM\Domains\Account\Users\<RID>`.
//!
//! ```text
//! 0x00 17 entries of attributes: 0 security descriptor, 1 name, 2 full name, 3 comment, ... 13 LM hash,
//!      14 NT hash, 15 NT history, 16 LM history
//! 0xcc their data
//! ```

use crate::error::Result;

use super::attributes::{Attributes, Layout};
use super::hash::HashBlob;

static LAYOUT: Layout = Layout {
    what: "value V of a user",
    fixed: 0,
    count: 17,
};
const NAME: usize = 1;
const FULL_NAME: usize = 2;
const LM_HASH: usize = 13;
const NT_HASH: usize = 14;

/// A user's variable fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserValues {
    attributes: Attributes,
}

impl UserValues {
    /// Reads the value V.
    ///
    /// # Errors
    /// `Damaged` when a part lies outside of it.
    pub fn parse(v: &[u8]) -> Result<UserValues> {
        Ok(UserValues {
            attributes: Attributes::parse(&LAYOUT, v)?,
        })
    }

    /// The account's name.
    pub fn name(&self) -> String {
        text(self.attributes.get(NAME))
    }

    /// The full name.
    pub fn full_name(&self) -> String {
        text(self.attributes.get(FULL_NAME))
    }

    /// The NT hash as it is stored.
    ///
    /// # Errors
    /// `Damaged` when it has neither generation's form.
    pub fn nt_hash(&self) -> Result<HashBlob> {
        HashBlob::parse(self.attributes.get(NT_HASH))
    }

    /// Replaces the NT hash.
    ///
    /// # Errors
    /// `Refused` when the value would become too long.
    pub fn set_nt_hash(&mut self, hash: &HashBlob) -> Result<()> {
        let qualifier = self.attributes.qualifier(NT_HASH);
        self.attributes.set(NT_HASH, &hash.to_bytes(), qualifier)
    }

    /// Empties the LM hash where there is one: it would go on belonging to the old password.
    ///
    /// # Errors
    /// `Damaged` when it has neither generation's form.
    pub fn clear_lm_hash(&mut self) -> Result<()> {
        let empty = match HashBlob::parse(self.attributes.get(LM_HASH))? {
            HashBlob::Rc4 {
                key_id,
                data: Some(_),
            } => HashBlob::Rc4 { key_id, data: None },
            HashBlob::Aes {
                key_id,
                salt,
                data: Some(_),
            } => HashBlob::Aes {
                key_id,
                salt,
                data: None,
            },
            _ => return Ok(()),
        };
        let qualifier = self.attributes.qualifier(LM_HASH);
        self.attributes.set(LM_HASH, &empty.to_bytes(), qualifier)
    }

    /// The bytes of the value.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.attributes.bytes().to_vec()
    }
}

/// UTF-16LE as text; what is none becomes U+FFFD.
pub(super) fn text(bytes: &[u8]) -> String {
    let (units, _) = bytes.as_chunks::<2>();
    let units = units.iter().map(|unit| u16::from_le_bytes(*unit));
    char::decode_utf16(units)
        .map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}
