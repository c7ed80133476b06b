// SPDX-License-Identifier: GPL-2.0-or-later
//! Security identifiers: who an entry is about.
//!
//! ```text
//! 0  u8  revision, 1          8  u32 sub-authority, `count` times, little-endian
//! 1  u8  count, 0 to 15
//! 2  u48 authority, big-endian
//! ```
//! Text: `S-1-authority-sub-sub...`, the authority in decimal, from 2^32 on as 0x and twelve hex digits.
//! Specification: [MS-DTYP] 2.4.2.

use std::fmt;
use std::str::FromStr;

use sha1::{Digest as _, Sha1};

use crate::bytes::{slice, u32_le};
use crate::error::{Error, Result};

/// The specification's limit of sub-authorities.
const MAX_SUB_AUTHORITIES: usize = 15;
/// Bytes before the first sub-authority.
const HEADER: usize = 8;
/// The authority has 48 bits.
const MAX_AUTHORITY: u64 = (1 << 48) - 1;
/// The authority `NT AUTHORITY`.
const NT: u64 = 5;

/// A security identifier of revision 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sid {
    authority: u64,
    sub_authorities: Vec<u32>,
}

impl Sid {
    /// The identifier of an authority (48 bits) and at most 15 sub-authorities; None beyond these.
    pub fn new(authority: u64, sub_authorities: &[u32]) -> Option<Sid> {
        if authority > MAX_AUTHORITY || sub_authorities.len() > MAX_SUB_AUTHORITIES {
            return None;
        }
        Some(Sid {
            authority,
            sub_authorities: sub_authorities.to_vec(),
        })
    }

    /// The identifier at the start of `bytes`; [`Sid::size`] says how many of them it took. `offset` is where
    /// `bytes` begin in what the caller reads, for the error.
    ///
    /// # Errors
    /// `Damaged` when it is cut off, of another revision or has more than 15 sub-authorities.
    pub fn parse(bytes: &[u8], offset: u64) -> Result<Sid> {
        let wrong = |expected: &str, found: String| Error::damaged("SID", offset, expected, found);
        let Some(&[revision, count, a, b, c, d, e, f]) = bytes.first_chunk::<HEADER>() else {
            return Err(wrong("8 bytes or more", bytes.len().to_string()));
        };
        if revision != 1 {
            return Err(wrong("revision 1", revision.to_string()));
        }
        if usize::from(count) > MAX_SUB_AUTHORITIES {
            return Err(wrong("15 sub-authorities or fewer", count.to_string()));
        }
        let size = usize::from(count).saturating_mul(4);
        let Some(tail) = slice(bytes, HEADER, size) else {
            let expected = format!("{} bytes", size.saturating_add(HEADER));
            return Err(wrong(&expected, bytes.len().to_string()));
        };
        Ok(Sid {
            authority: u64::from_be_bytes([0, 0, a, b, c, d, e, f]),
            sub_authorities: tail
                .chunks_exact(4)
                .filter_map(|sub| u32_le(sub, 0))
                .collect(),
        })
    }

    /// The bytes, [`Sid::size`] of them.
    pub fn to_bytes(&self) -> Vec<u8> {
        // At most 15, see `new` and `parse`.
        let count = u8::try_from(self.sub_authorities.len()).unwrap_or(u8::MAX);
        let mut bytes = vec![1, count];
        bytes.extend(self.authority.to_be_bytes().iter().skip(2));
        for sub in &self.sub_authorities {
            bytes.extend(sub.to_le_bytes());
        }
        bytes
    }

    /// How many bytes the identifier takes: 8 to 68.
    pub fn size(&self) -> usize {
        self.sub_authorities
            .len()
            .saturating_mul(4)
            .saturating_add(HEADER)
    }

    /// The authority, 48 bits.
    pub fn authority(&self) -> u64 {
        self.authority
    }

    /// The sub-authorities; the last is called the relative identifier.
    pub fn sub_authorities(&self) -> &[u32] {
        &self.sub_authorities
    }

    /// The identifier with one more sub-authority: an account of the domain that `self` is.
    /// None when there are already 15.
    pub fn with_rid(&self, rid: u32) -> Option<Sid> {
        let mut sub_authorities = self.sub_authorities.clone();
        sub_authorities.push(rid);
        Sid::new(self.authority, &sub_authorities)
    }

    /// The domain and the relative identifier of an account; None without sub-authorities.
    pub fn split_rid(&self) -> Option<(Sid, u32)> {
        let (&rid, domain) = self.sub_authorities.split_last()?;
        Some((Sid::new(self.authority, domain)?, rid))
    }

    /// The identifier of a service: S-1-5-80 and the SHA-1 of the upper-case name in UTF-16LE as five
    /// little-endian numbers.
    ///
    /// Windows raises letters one by one; letters whose upper case is more than one letter stay.
    pub fn service(name: &str) -> Sid {
        let mut hash = Sha1::new();
        for letter in name.chars() {
            let mut upper = letter.to_uppercase();
            let letter = match (upper.next(), upper.next()) {
                (Some(upper), None) => upper,
                _ => letter,
            };
            for unit in letter.encode_utf16(&mut [0; 2]) {
                hash.update(unit.to_le_bytes());
            }
        }
        let digest = hash.finalize();
        let mut sub_authorities = vec![80];
        sub_authorities.extend(digest.chunks_exact(4).filter_map(|part| u32_le(part, 0)));
        Sid {
            authority: NT,
            sub_authorities,
        }
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if u32::try_from(self.authority).is_ok() {
            write!(f, "S-1-{}", self.authority)?;
        } else {
            write!(f, "S-1-{:#014x}", self.authority)?;
        }
        for sub in &self.sub_authorities {
            write!(f, "-{sub}")?;
        }
        Ok(())
    }
}

impl FromStr for Sid {
    type Err = Error;

    /// Reads `S-1-...`, numbers in decimal or with 0x in hex, `s` in either case.
    fn from_str(text: &str) -> Result<Sid> {
        read(text).ok_or_else(|| {
            let what = format!("`{}` is not a SID", text.escape_debug());
            Error::refused(what, "write it as S-1-5-32-544")
        })
    }
}

fn read(text: &str) -> Option<Sid> {
    let mut parts = text.split('-');
    if !parts.next()?.eq_ignore_ascii_case("S") || number(parts.next()?)? != 1 {
        return None;
    }
    let authority = number(parts.next()?)?;
    let mut sub_authorities = Vec::new();
    for part in parts {
        if sub_authorities.len() == MAX_SUB_AUTHORITIES {
            return None;
        }
        sub_authorities.push(u32::try_from(number(part)?).ok()?);
    }
    Sid::new(authority, &sub_authorities)
}

/// A number without sign, in decimal or after 0x in hex.
pub(crate) fn number(text: &str) -> Option<u64> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match hex {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    // `from_str_radix` would take a sign.
    if !digits.starts_with(|first: char| first.is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}
