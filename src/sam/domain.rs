// SPDX-License-Identifier: GPL-2.0-or-later
//! The domain of the machine's own accounts: the values F and V of `SAM\Domains\Account`.
//!
//! ```text
//! V  attributes: security descriptor, SID, two more      F  0x18 i64 longest password age
//!                                                            0x30 i64 duration of a lockout
//!                                                            0x38 i64 window in which bad passwords count
//!                                                            0x54 u16 bad passwords that lock
//!                                                            0x68 the hash key, see keys
//! ```
//! Intervals are negative FILETIMEs; the most negative one, and zero, mean: for ever.
//!
//! F has 240 bytes on Windows 7 and 8.1 and 368 from 10 on.

use crate::bytes::{slice, u16_le, u64_le};
use crate::error::{Error, Result};
use crate::security::Sid;

use super::attributes::{Attributes, Layout};
use super::user::User;

static LAYOUT: Layout = Layout {
    what: "value V of the domain Account",
    fixed: 0,
    count: 4,
};
const SID: usize = 1;
const WHAT: &str = "value F of the domain Account";
/// Where the hash key begins: what is read lies before it.
const KEY: usize = 0x68;

/// The machine SID, `S-1-5-21-a-b-c`, from the value V.
///
/// # Errors
/// `Damaged` when V does not hold such a SID.
pub fn machine_sid(v: &[u8]) -> Result<Sid> {
    let attributes = Attributes::parse(&LAYOUT, v)?;
    let bytes = attributes.get(SID);
    let sid = Sid::parse(bytes, 0)?;
    let is_machine = sid.authority() == 5
        && matches!(sid.sub_authorities(), [21, _, _, _])
        && sid.size() == bytes.len();
    if !is_machine {
        let expected = "a machine SID, S-1-5-21-a-b-c";
        return Err(Error::damaged(LAYOUT.what, 0, expected, sid.to_string()));
    }
    Ok(sid)
}

/// What the value F says of passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct DomainPolicy {
    bytes: Vec<u8>,
}

impl DomainPolicy {
    /// Reads the value F.
    ///
    /// # Errors
    /// `Damaged` when it ends before the policy does.
    pub fn parse(f: &[u8]) -> Result<DomainPolicy> {
        match slice(f, 0, KEY) {
            Some(bytes) => Ok(DomainPolicy {
                bytes: bytes.to_vec(),
            }),
            None => {
                let found = format!("{} bytes", f.len());
                Err(Error::damaged(WHAT, 0, "104 bytes or more", found))
            }
        }
    }

    /// An interval in units of 100 ns; None means for ever.
    fn interval(&self, at: usize) -> Option<u64> {
        let number = u64_le(&self.bytes, at).unwrap_or_default();
        // Two's complement: -n is stored, n is meant.
        let length = number.wrapping_neg();
        (number != 0 && length < 1 << 63).then_some(length)
    }

    /// How old a password may become; None: as old as it likes.
    pub fn password_age(&self) -> Option<u64> {
        self.interval(0x18)
    }

    /// How long a lockout lasts; None: until somebody takes it back.
    pub fn lockout_duration(&self) -> Option<u64> {
        self.interval(0x30)
    }

    /// How many bad passwords lock an account; 0: none ever does.
    pub fn lockout_threshold(&self) -> u16 {
        u16_le(&self.bytes, 0x54).unwrap_or_default()
    }

    /// Until when an account is locked out: FILETIME, `u64::MAX` without an end; None when it is not.
    ///
    /// `now` is a FILETIME. The bit for it is not stored: Windows computes it from count and time.
    pub fn locked_until(&self, user: &User, now: u64) -> Option<u64> {
        let threshold = self.lockout_threshold();
        if threshold == 0 || user.bad_password_count() < threshold {
            return None;
        }
        let Some(duration) = self.lockout_duration() else {
            return Some(u64::MAX);
        };
        let until = user.last_bad_password().saturating_add(duration);
        (now < until).then_some(until)
    }

    /// Since when a user's password is too old: FILETIME; None when it is not.
    pub fn password_expired_at(&self, user: &User, now: u64) -> Option<u64> {
        if user.has(super::user::control::PASSWORD_NEVER_EXPIRES) {
            return None;
        }
        let at = user.password_last_set().checked_add(self.password_age()?)?;
        (user.password_last_set() != 0 && at <= now).then_some(at)
    }
}

impl std::fmt::Debug for DomainPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DomainPolicy")
            .field("password_age", &self.password_age())
            .field("lockout_duration", &self.lockout_duration())
            .field("lockout_threshold", &self.lockout_threshold())
            .finish()
    }
}
