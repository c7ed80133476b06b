// SPDX-License-Identifier: GPL-2.0-or-later
//! Names of the files in which private keys of the older interface (CAPI) lie.
//!
//! ```text
//! ProgramData\Microsoft\Crypto\RSA\MachineKeys\f686aace6942fb7f7ceb231212eef4a4_<MachineGuid>
//!                                              ^ of the container TSSecKeySet1
//! ```
//! The first part is the MD5 of the container's name in lower case, one byte a character, with its terminating zero,
//! as four little-endian words.

use md5::{Digest as _, Md5};

use crate::bytes::u32_le;

/// The container of Remote Desktop's own certificate.
pub const REMOTE_DESKTOP: &str = "TSSecKeySet1";

/// The first part of the name of its file.
pub const REMOTE_DESKTOP_STEM: &str = "f686aace6942fb7f7ceb231212eef4a4";

/// The first part of the name of a container's file. `None` for a name beyond ASCII, whose bytes depend on the code
/// page of the machine.
pub fn file_stem(container: &str) -> Option<String> {
    if !container.is_ascii() {
        return None;
    }
    let mut name = container.to_ascii_lowercase().into_bytes();
    name.push(0);
    let digest = Md5::digest(&name);
    let words = digest.chunks_exact(4).filter_map(|word| u32_le(word, 0));
    Some(words.map(|word| format!("{word:08x}")).collect())
}

/// The whole name of a container's file on the machine with this `MachineGuid`.
pub fn file_name(container: &str, machine_guid: &str) -> Option<String> {
    Some(format!("{}_{machine_guid}", file_stem(container)?))
}
