// SPDX-License-Identifier: GPL-2.0-or-later
//! Names of the files in which private keys of the machine lie.
//!
//! ```text
//! ProgramData\Microsoft\Crypto\RSA\MachineKeys\f686aace6942fb7f7ceb231212eef4a4_<MachineGuid>
//!                                              ^ of the container TSSecKeySet1 of the older interface (CAPI)
//! ProgramData\Microsoft\Crypto\Keys\7096db7aeb75c0d3497ecd56d355a695_<MachineGuid>
//!                                   ^ of the key "Google Chromekey1" of the newer one (CNG)
//! ```
//! The first part is the MD5 of the container's or key's name in lower case with its terminating zero, as four
//! little-endian words: of CAPI one byte a character, of CNG UTF-16.

use md5::{Digest as _, Md5};

use crate::bytes::u32_le;

/// The container of Remote Desktop's own certificate.
pub const REMOTE_DESKTOP: &str = "TSSecKeySet1";

/// The first part of the name of its file.
pub const REMOTE_DESKTOP_STEM: &str = "f686aace6942fb7f7ceb231212eef4a4";

/// The first part of the name of a container's file. `None` for a name beyond ASCII, whose bytes depend on the code
/// page of the machine.
pub fn file_stem(container: &str) -> Option<String> {
    stem(container, |byte| vec![byte])
}

/// The first part of the name of the file of a CNG key. `None` for a name beyond ASCII: how Windows lowers its letters
/// is not known.
pub fn cng_file_stem(key: &str) -> Option<String> {
    stem(key, |byte| vec![byte, 0])
}

fn stem(name: &str, unit: fn(u8) -> Vec<u8>) -> Option<String> {
    if !name.is_ascii() {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let bytes: Vec<u8> = name.bytes().chain([0]).flat_map(unit).collect();
    let digest = Md5::digest(&bytes);
    let words = digest.chunks_exact(4).filter_map(|word| u32_le(word, 0));
    Some(words.map(|word| format!("{word:08x}")).collect())
}

/// The whole name of a container's file on the machine with this `MachineGuid`.
pub fn file_name(container: &str, machine_guid: &str) -> Option<String> {
    Some(format!("{}_{machine_guid}", file_stem(container)?))
}
