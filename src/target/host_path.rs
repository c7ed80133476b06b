// SPDX-License-Identifier: GPL-2.0-or-later
//! A target's path on the host: what it is stored as, and what to say where nothing is found.

use std::path::{Path, PathBuf};

use crate::device::windows::name;
use crate::error::Error;

/// Why nothing is found at `path`, with what to name instead.
pub(super) fn missing(path: &Path, error: std::io::Error) -> Error {
    let hint = match name::parse(path) {
        Some(_) => {
            "this is what Windows calls a drive: here, name the block device (`lsblk` lists them: /dev/sdX), or the \
             folder where the volume is mounted"
        }
        None if cfg!(windows) => "check the path, and that you may read it",
        None => "check the path, and that you may read it (block devices need root)",
    };
    Error::io("looking for it")(error).with_hint(path.display().to_string(), hint)
}

/// Without links, also where only the folder is there yet.
fn canonical(path: &Path) -> PathBuf {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    path.canonicalize()
        .unwrap_or_else(|_| match (folder.canonicalize(), path.file_name()) {
            (Ok(folder), Some(name)) => folder.join(name),
            _ => path.to_owned(),
        })
}

/// The path as the journal stores it: absolute, links resolved, so that the same target is recognised from
/// any working folder. A drive or disk of Windows by its one full name: as a file it has none.
pub(super) fn absolute(path: &Path) -> String {
    if cfg!(windows)
        && let Some(named) = name::parse(path)
    {
        return named.device().to_owned();
    }
    let text = canonical(path).display().to_string();
    // Windows answers with the form that has no limit of length, which a person would not recognise.
    match text.strip_prefix(r"\\?\") {
        Some(plain) if cfg!(windows) && plain.get(1..2) == Some(":") => plain.to_owned(),
        _ => text,
    }
}
