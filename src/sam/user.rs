// SPDX-License-Identifier: GPL-2.0-or-later
//! A user's fixed fields: the value F of `SAM\Domains\Account\Users\<RID>`, 80 bytes.
//!
//! ```text
//! 0x08 u64 last logon               0x30 u32 RID
//! 0x18 u64 password last set        0x38 u32 account control
//! 0x20 u64 account expires          0x40 u16 bad passwords
//! 0x28 u64 last bad password        0x42 u16 logons
//! ```
//! "Password last set" 0 means: to be changed at the next logon. "Account expires" 0 and 2^63-1 mean never.

use crate::bytes::{array, put, u16_le, u32_le, u64_le};
use crate::error::{Error, Result};

const WHAT: &str = "value F of a user";
const LEN: usize = 80;
const LAST_LOGON: usize = 0x08;
const PASSWORD_LAST_SET: usize = 0x18;
const EXPIRES: usize = 0x20;
const LAST_BAD_PASSWORD: usize = 0x28;
const RID: usize = 0x30;
const CONTROL: usize = 0x38;
const BAD_PASSWORDS: usize = 0x40;
/// Never, as Windows writes it.
const NEVER: u64 = 0x7fff_ffff_ffff_ffff;

/// Account control bits, [MS-SAMR] 2.2.1.12.
pub mod control {
    /// The account is disabled.
    pub const DISABLED: u32 = 0x0001;
    /// A blank password is allowed.
    pub const PASSWORD_NOT_REQUIRED: u32 = 0x0004;
    /// An ordinary account.
    pub const NORMAL: u32 = 0x0010;
    /// The password never expires.
    pub const PASSWORD_NEVER_EXPIRES: u32 = 0x0200;
    /// Locked out by bad passwords.
    pub const LOCKED: u32 = 0x0400;
    /// Logs on with a smart card only.
    pub const SMART_CARD_REQUIRED: u32 = 0x1000;
    /// The password has expired.
    pub const PASSWORD_EXPIRED: u32 = 0x20000;

    /// Names as reports show them.
    pub(super) const WORDS: [(u32, &str); 7] = [
        (DISABLED, "disabled"),
        (PASSWORD_NOT_REQUIRED, "password not required"),
        (NORMAL, "normal account"),
        (PASSWORD_NEVER_EXPIRES, "password never expires"),
        (LOCKED, "locked"),
        (SMART_CARD_REQUIRED, "smart card required"),
        (PASSWORD_EXPIRED, "password expired"),
    ];
}

/// A user's fixed fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    bytes: [u8; LEN],
}

impl User {
    /// Reads the value F of the user whose key is named after `rid`.
    ///
    /// # Errors
    /// `Damaged` when it has not 80 bytes or another user's RID.
    pub fn parse(f: &[u8], rid: u32) -> Result<User> {
        if f.len() != LEN {
            let found = format!("{} bytes", f.len());
            return Err(Error::damaged(WHAT, 0, "80 bytes", found));
        }
        let user = User {
            bytes: array(f, 0).unwrap_or([0; LEN]),
        };
        if user.rid() != rid {
            let found = format!("{:#x}", user.rid());
            return Err(Error::damaged(WHAT, 0x30, format!("RID {rid:#x}"), found));
        }
        Ok(user)
    }

    fn long(&self, at: usize) -> u64 {
        u64_le(&self.bytes, at).unwrap_or_default()
    }

    fn write(&mut self, at: usize, data: &[u8]) {
        // The offsets are constants inside 80 bytes.
        let _ = put(&mut self.bytes, at, data);
    }

    /// The RID.
    pub fn rid(&self) -> u32 {
        u32_le(&self.bytes, RID).unwrap_or_default()
    }

    /// When the user last logged on: FILETIME, 0 for never.
    pub fn last_logon(&self) -> u64 {
        self.long(LAST_LOGON)
    }

    /// When the password was set: FILETIME, 0 when it must be changed at the next logon.
    pub fn password_last_set(&self) -> u64 {
        self.long(PASSWORD_LAST_SET)
    }

    /// When the account expires: FILETIME; None when never.
    pub fn expires(&self) -> Option<u64> {
        Some(self.long(EXPIRES)).filter(|at| *at != 0 && *at < NEVER)
    }

    /// When a bad password was last given: FILETIME.
    pub fn last_bad_password(&self) -> u64 {
        self.long(LAST_BAD_PASSWORD)
    }

    /// The account control bits.
    pub fn control(&self) -> u32 {
        u32_le(&self.bytes, CONTROL).unwrap_or_default()
    }

    /// Whether all these control bits are set.
    pub fn has(&self, bits: u32) -> bool {
        self.control() & bits == bits
    }

    /// The control bits with their names: `0x211 (disabled, normal account, password never expires)`.
    pub fn control_text(&self) -> String {
        let words: Vec<&str> = control::WORDS
            .iter()
            .filter(|(bit, _)| self.has(*bit))
            .map(|(_, word)| *word)
            .collect();
        match words.is_empty() {
            true => format!("{:#x}", self.control()),
            false => format!("{:#x} ({})", self.control(), words.join(", ")),
        }
    }

    /// How many bad passwords were given in a row.
    pub fn bad_password_count(&self) -> u16 {
        u16_le(&self.bytes, BAD_PASSWORDS).unwrap_or_default()
    }

    fn clear(&mut self, bits: u32) {
        let control = self.control() & !bits;
        self.write(CONTROL, &control.to_le_bytes());
    }

    /// Lets the account be used: no longer disabled.
    pub fn enable(&mut self) {
        self.clear(control::DISABLED);
    }

    /// Takes a lockout back.
    pub fn unlock(&mut self) {
        self.clear(control::LOCKED);
        self.write(BAD_PASSWORDS, &0_u16.to_le_bytes());
    }

    /// Lets the account expire never.
    pub fn never_expires(&mut self) {
        self.write(EXPIRES, &NEVER.to_le_bytes());
    }

    /// Records that a password was set at `now` (FILETIME): it is neither expired nor to be changed.
    pub fn password_was_set(&mut self, now: u64) {
        self.write(PASSWORD_LAST_SET, &now.to_le_bytes());
        self.clear(control::PASSWORD_EXPIRED);
    }

    /// The bytes of the value.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes.to_vec()
    }
}
