// SPDX-License-Identifier: GPL-2.0-or-later
//! Paths inside a volume: `Windows/System32\config`, relative to the root.
//!
//! `/` and `\` both separate, empty parts and `.` mean nothing, so `""`, `/` and `.` are the root.
//! `..` is no name on any volume and is refused by the reader as one that does not exist: a path can
//! only lead down.

use std::io;

use crate::error::Error;

/// The parts of `path`, from the root down.
pub(super) fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split(['/', '\\'])
        .filter(|part| !part.is_empty() && *part != ".")
}

/// The error for a path that had to exist.
pub(super) fn not_found(path: &str) -> Error {
    Error::Io {
        what: format!("looking for {path}"),
        source: io::Error::new(io::ErrorKind::NotFound, "no such file or folder"),
    }
}

/// The error for a file longer than the caller reads.
pub(super) fn too_long(path: &str, len: u64, limit: u64) -> Error {
    Error::unsupported(
        format!(
            "{path} is {len} bytes long, more than the {limit} bytes that are read of such a file"
        ),
        "check that the path names the file you mean",
    )
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn both_separators_and_empty_parts() {
        let found: Vec<&str> = parts("/Windows\\System32//config/./SAM").collect();
        assert_eq!(found, ["Windows", "System32", "config", "SAM"]);
        assert_eq!(parts("").count(), 0);
        assert_eq!(parts("\\.//").count(), 0);
        assert_eq!(parts("../x").collect::<Vec<_>>(), ["..", "x"]);
    }
}
