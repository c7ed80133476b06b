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

/// A fresh volume of 4 MiB from mkntfs with clusters of this size; `None`, after saying so, without mkntfs.
pub(in crate::volume) fn fresh(cluster: u32, sector: u32) -> Option<Vec<u8>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(4 << 20).unwrap();
    let (cluster, sector) = (cluster.to_string(), sector.to_string());
    let made = foreign(
        "mkntfs",
        &["-q", "-Q", "-F", "-c", &cluster, "-s", &sector],
        file.path(),
    )?;
    assert!(made.status.success(), "{made:?}");
    Some(std::fs::read(file.path()).unwrap())
}

/// Runs a foreign program on an image; `None`, after saying so, where there is none.
pub(in crate::volume) fn foreign(
    tool: &str,
    arguments: &[&str],
    image: &Path,
) -> Option<std::process::Output> {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(tool)
        .args(arguments)
        .arg(image)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .output();
    if output.is_err() {
        let ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
        assert!(!ci, "no {tool}");
        eprintln!("SKIPPED: no {tool}");
    }
    output.ok()
}
