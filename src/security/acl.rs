// SPDX-License-Identifier: GPL-2.0-or-later
//! Access control lists.
//!
//! ```text
//! 0  u8  revision: 2, 3, or 4 with object entries      4  u16 count of entries
//! 1  u8  zero                                          6  u16 zero
//! 2  u16 size of the whole list                        8  entries, then slack up to the size
//! ```
//! Specification: [MS-DTYP] 2.4.5. The slack and the two reserved fields are kept as they were.

use crate::bytes::{array, u16_le};
use crate::error::{Error, Result};

use super::ace::Ace;

const HEADER: usize = 8;
/// The revision that Windows gives lists without object entries.
const REVISION: u8 = 2;
/// The revision that object entries need.
const REVISION_DS: u8 = 4;

/// A list of entries, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Acl {
    /// The revision: 2, 3 or 4.
    pub revision: u8,
    /// The entries, in their order.
    pub aces: Vec<Ace>,
    reserved: (u8, u16),
    slack: Vec<u8>,
}

impl Default for Acl {
    fn default() -> Self {
        Acl::new(Vec::new())
    }
}

impl Acl {
    /// A list of these entries, of the revision that they need, without slack.
    pub fn new(aces: Vec<Ace>) -> Acl {
        let object = aces.iter().any(Ace::is_object);
        Acl {
            revision: if object { REVISION_DS } else { REVISION },
            aces,
            reserved: (0, 0),
            slack: Vec::new(),
        }
    }

    /// The list at the start of `bytes`. `offset` is where `bytes` begin, for the error.
    ///
    /// # Errors
    /// `Damaged` when it is cut off, of a revision other than 2 to 4, or its entries do not fit.
    pub fn parse(bytes: &[u8], offset: u64) -> Result<Acl> {
        let wrong = |expected: &str, found: String| Error::damaged("ACL", offset, expected, found);
        let short = || wrong("8 bytes or more", bytes.len().to_string());
        let [revision, reserved] = array(bytes, 0).ok_or_else(short)?;
        let size = usize::from(u16_le(bytes, 2).ok_or_else(short)?);
        let count = u16_le(bytes, 4).ok_or_else(short)?;
        let reserved = (reserved, u16_le(bytes, 6).ok_or_else(short)?);
        if !(REVISION..=REVISION_DS).contains(&revision) {
            return Err(wrong("revision 2 to 4", revision.to_string()));
        }
        if size < HEADER {
            return Err(wrong("a size of 8 or more", size.to_string()));
        }
        let Some(mut rest) = bytes.get(HEADER..size) else {
            let expected = format!("a size of at most {}", bytes.len());
            return Err(wrong(&expected, size.to_string()));
        };
        let mut aces = Vec::new();
        let mut place = offset.saturating_add(8);
        for index in 0..count {
            let ace = Ace::parse(rest, place)
                .map_err(|error| error.context(format!("entry {index} of {count}")))?;
            rest = rest.get(ace.size()..).unwrap_or_default();
            place = place.saturating_add(u64::try_from(ace.size()).unwrap_or(0));
            aces.push(ace);
        }
        Ok(Acl {
            revision,
            aces,
            reserved,
            slack: rest.to_vec(),
        })
    }

    /// The bytes, with the slack that was read.
    ///
    /// # Errors
    /// `Refused` when the list is longer than its 16 bits of size allow.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        for ace in &self.aces {
            body.extend(ace.to_bytes());
        }
        body.extend(&self.slack);
        let size = u16::try_from(body.len().saturating_add(HEADER));
        let (Ok(size), Ok(count)) = (size, u16::try_from(self.aces.len())) else {
            let what = format!("an access control list of {} bytes", body.len());
            return Err(Error::refused(what, "65,535 bytes is the format's limit"));
        };
        let (first, second) = self.reserved;
        let mut bytes = vec![self.revision, first];
        bytes.extend(size.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(second.to_le_bytes());
        bytes.extend(body);
        Ok(bytes)
    }
}
