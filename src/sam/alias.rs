// SPDX-License-Identifier: GPL-2.0-or-later
//! A local group ("alias"): the value C of `SAM\Domains\{Builtin,Account}\Aliases\<RID>`.
//!
//! ```text
//! 0x00 u32 RID
//! 0x04 entries of attributes: security descriptor, name, comment, members
//! 0x34 their data; the members are SIDs back to back, the last thing in the value,
//!      and the qualifier of their entry is how many they are
//! ```
//! Names are localised: a group is always meant by its RID. What a group may do is decided by the second record of
//! the same fact, the tree `Aliases\Members` (who is in which groups); `windows::accounts` keeps the two together.

use crate::bytes::u32_le;
use crate::error::{Error, Result};
use crate::security::Sid;

use super::attributes::{Attributes, Layout};

/// The RID of Administrators in the domain Builtin.
pub const ADMINISTRATORS: u32 = 0x220;
/// The RID of Users.
pub const USERS: u32 = 0x221;
/// The RID of Remote Desktop Users.
pub const REMOTE_DESKTOP_USERS: u32 = 0x22b;

const WHAT: &str = "value C of a group";
static LAYOUT: Layout = Layout {
    what: WHAT,
    fixed: 4,
    count: 4,
};
const NAME: usize = 1;
const MEMBERS: usize = 3;

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    attributes: Attributes,
    members: Vec<Sid>,
}

impl Alias {
    /// Reads the value.
    ///
    /// # Errors
    /// `Damaged` when a part lies outside, the members are no SIDs, are not as many as is said, or are not last.
    pub fn parse(bytes: &[u8]) -> Result<Alias> {
        let attributes = Attributes::parse(&LAYOUT, bytes)?;
        let wrong = |expected: &str, found: String| Error::damaged(WHAT, 0x28, expected, found);
        let mut rest = attributes.get(MEMBERS);
        let mut members = Vec::new();
        while !rest.is_empty() {
            let at = attributes.get(MEMBERS).len().saturating_sub(rest.len());
            let sid = Sid::parse(rest, u64::try_from(at).unwrap_or(u64::MAX))?;
            rest = rest.get(sid.size()..).unwrap_or_default();
            members.push(sid);
        }
        let said = attributes.qualifier(MEMBERS);
        if u32::try_from(members.len()) != Ok(said) {
            return Err(wrong(&format!("{said} members"), members.len().to_string()));
        }
        if attributes.end_of(MEMBERS) != Some(bytes.len()) {
            return Err(wrong(
                "members at the end of the value",
                "them elsewhere".to_owned(),
            ));
        }
        Ok(Alias {
            attributes,
            members,
        })
    }

    /// The RID that the value itself holds.
    pub fn rid(&self) -> u32 {
        u32_le(self.attributes.bytes(), 0).unwrap_or_default()
    }

    /// The name, in the language of the Windows.
    pub fn name(&self) -> String {
        super::user_values::text(self.attributes.get(NAME))
    }

    /// The members.
    pub fn members(&self) -> &[Sid] {
        &self.members
    }

    /// Adds a member at the end; false when it is one already.
    ///
    /// # Errors
    /// `Refused` when the value would become too long.
    pub fn add(&mut self, member: &Sid) -> Result<bool> {
        if self.members.contains(member) {
            return Ok(false);
        }
        let mut data = self.attributes.get(MEMBERS).to_vec();
        data.extend(member.to_bytes());
        let count = u32::try_from(self.members.len().saturating_add(1)).unwrap_or(u32::MAX);
        self.attributes.set(MEMBERS, &data, count)?;
        self.members.push(member.clone());
        Ok(true)
    }

    /// The bytes of the value.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.attributes.bytes().to_vec()
    }
}
