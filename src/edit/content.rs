// SPDX-License-Identifier: GPL-2.0-or-later
//! Contents of files, told by their length and SHA-256.

use sha2::{Digest, Sha256};

use super::Edit;

/// The SHA-256 of a content, in hexadecimal digits.
pub fn sha256(content: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for byte in Sha256::digest(content) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl Edit {
    /// Copies `content`, which is what `from` holds.
    pub fn copy_file(from: &str, to: &str, content: &[u8], keep: Option<String>) -> Edit {
        Edit::CopyFile {
            from: from.to_owned(),
            to: to.to_owned(),
            length: u64::try_from(content.len()).unwrap_or(u64::MAX),
            sha256: sha256(content),
            keep,
        }
    }
}
