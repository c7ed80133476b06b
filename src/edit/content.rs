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
    /// Copies `content`, which is what `from` holds, and keeps nothing of what is replaced.
    pub fn copy_file(from: &str, to: &str, content: &[u8]) -> Edit {
        Edit::CopyFile {
            from: from.to_owned(),
            to: to.to_owned(),
            length: u64::try_from(content.len()).unwrap_or(u64::MAX),
            sha256: sha256(content),
            keep: None,
            along: Vec::new(),
        }
    }

    /// The same, and what is replaced gets another name: the file itself, and those beside it with these endings.
    pub fn copy_file_and_keep(
        from: &str,
        to: &str,
        content: &[u8],
        name: String,
        endings: Vec<String>,
    ) -> Edit {
        let mut edit = Edit::copy_file(from, to, content);
        if let Edit::CopyFile { keep, along, .. } = &mut edit {
            *keep = Some(name);
            *along = endings;
        }
        edit
    }
}
