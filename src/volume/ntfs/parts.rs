// SPDX-License-Identifier: GPL-2.0-or-later
//! Pieces of real volumes for the unit tests; only built for them.

use std::path::Path;
use std::process::Command;

/// A piece of a real volume, unpacked; `None`, after saying so, where there is no real data.
pub(in crate::volume) fn part(name: &str) -> Option<Vec<u8>> {
    let folder = std::env::var_os("COLDFIX_TEST_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        Into::into,
    );
    let path = folder.join("ntfs/parts").join(name);
    if !path.exists() {
        let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
        assert!(!ci, "no {}", path.display());
        eprintln!("SKIPPED: no {}", path.display());
        return None;
    }
    if !name.ends_with(".xz") {
        return Some(std::fs::read(path).unwrap());
    }
    let output = Command::new("xz").arg("-dc").arg(path).output().unwrap();
    assert!(output.status.success());
    Some(output.stdout)
}
