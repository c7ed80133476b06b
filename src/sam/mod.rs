// SPDX-License-Identifier: GPL-2.0-or-later
//! The account database (hive SAM): pure bytes in, bytes out; no I/O, no path, no clock.
//!
//! ```text
//! SAM\Domains\Account           F  policy, keys: domain     V  machine SID: domain
//!   Users\<RID>                 F  times, control: user     V  name, hashes: user_values
//! SAM\Domains\Builtin|Account
//!   Aliases\<RID>               C  members: alias
//!
//! attributes   the table of variable-length parts that V and C values begin with
//! hash         the stored, encrypted form of a password hash, both generations
//! keys         from the boot key of SYSTEM to a hash and back
//! ```
//!
//! Times are FILETIMEs (units of 100 ns since 1601). What coldfix does not understand in a value is kept byte
//! for byte. Structure and positions were checked on the hives of Windows 7, 8.1 and 10; [MS-SAMR] names the
//! fields and bits, the layout itself is not published by Microsoft.
//!
//! Not handled: accounts of a domain (they are in NTDS.dit), password histories, supplemental credentials.

pub mod alias;
mod attributes;
pub mod domain;
pub mod hash;
pub mod keys;
pub mod user;
pub mod user_values;

#[cfg(test)]
mod tests;

pub use alias::Alias;
pub use domain::{DomainPolicy, machine_sid};
pub use hash::HashBlob;
pub use keys::{BootKey, HashKey, NtHash};
pub use user::User;
pub use user_values::UserValues;
