// SPDX-License-Identifier: GPL-2.0-or-later
//! Where the real files are, how they are unpacked, and what happens when something is missing.

use std::path::PathBuf;
use std::process::Command;

/// A file or folder of the test data; `None`, and a printed line, when it is not there.
pub(crate) fn data(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("COLDFIX_TEST_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    );
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    skipped(&format!("test data {}", path.display()));
    None
}

/// The content of an xz-compressed file of the test data, or of a plain one.
pub(crate) fn read(name: &str) -> Option<Vec<u8>> {
    let path = data(name)?;
    if path.extension().is_none_or(|extension| extension != "xz") {
        return Some(std::fs::read(path).unwrap());
    }
    if !require("xz") {
        return None;
    }
    let output = Command::new("xz").arg("-dc").arg(&path).output().unwrap();
    assert!(output.status.success(), "xz -dc {}", path.display());
    Some(output.stdout)
}

/// True when the tool is installed.
pub(crate) fn require(tool: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&paths).collect();
    folders.push(PathBuf::from("/usr/sbin"));
    let found = folders.iter().any(|folder| folder.join(tool).exists());
    if !found {
        skipped(tool);
    }
    found
}

fn skipped(what: &str) {
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci.is_empty()),
        "missing: {what}"
    );
    eprintln!("SKIPPED: {what}");
}

/// What a foreign reader prints for a hive.
pub(crate) fn foreign(tool: &str, hive: &[u8]) -> Option<String> {
    if !require(tool) {
        return None;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), hive).unwrap();
    let output = Command::new(tool).arg(file.path()).output().unwrap();
    assert!(
        output.status.success(),
        "{tool}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8(output.stdout).unwrap())
}
