// SPDX-License-Identifier: GPL-2.0-or-later
//! The MachineKeys folder of a disk of `scripts/make-fixtures`, and descriptors as programs that are not ours read them.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{foreign, program, root, run};

/// The folder.
pub const FOLDER: &str = "ProgramData/Microsoft/Crypto/RSA/MachineKeys";
/// Remote Desktop's own key in it.
pub const RDP_KEY: &str = "f686aace6942fb7f7ceb231212eef4a4_7f0c0e52-3c5d-4b8e-9f6a-52a1c7e0d3b4";
/// Another one.
pub const IIS_KEY: &str = "6de9cb26d2b98c01ec4e9e8b34824aa2_7f0c0e52-3c5d-4b8e-9f6a-52a1c7e0d3b4";

/// The path of a key.
pub fn key(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

/// The foreign programs that judge descriptors.
pub fn judges() -> bool {
    ["ntfssecaudit", "ntfsresize", "ntfsfix", "fls"]
        .iter()
        .all(|tool| super::require(tool))
        && super::require_python("dissect.ntfs")
        && super::require_python("samba")
}

/// Descriptors of files on an NTFS volume, as dissect finds them and Samba reads them.
pub fn descriptors(volume: &Path, paths: &[&str]) -> Vec<String> {
    let script = root().join("tests/oracles/descriptors.py");
    let found = run(Command::new(foreign::python("dissect.ntfs"))
        .arg(script)
        .arg(volume)
        .arg("0")
        .args(paths));
    let found = String::from_utf8(found.stdout).unwrap();
    let hex: Vec<&str> = found
        .lines()
        .map(|line| line.split_once('\t').unwrap().1)
        .collect();
    samba(&hex)
}

/// Descriptors in hexadecimal as Samba reads them.
pub fn samba(hex: &[&str]) -> Vec<String> {
    let script = root().join("tests/oracles/sddl.py");
    let mut child = Command::new("/usr/bin/python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(hex.join("\n").as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Foreign auditors find the volume sound.
#[track_caller]
pub fn audit(volume: &Path) {
    foreign::ntfssecaudit(volume);
    for (tool, arguments) in [
        ("ntfsresize", &["-i", "-f"][..]),
        ("ntfsfix", &["-n"]),
        ("fls", &["-r"]),
    ] {
        run(program(tool).args(arguments).arg(volume));
    }
}
