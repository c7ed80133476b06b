// SPDX-License-Identifier: GPL-2.0-or-later
//! Running `coldfix bcd` on the fixtures, and the stores as foreign readers see them.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support;
use crate::support::foreign::{self, Dump, Reader};

pub const MIB: u64 = 1 << 20;
/// The ESP and the System Reserved volume are the first partition of the fixtures.
pub const START: u64 = MIB;
pub const ESP_LEN: u64 = 34 * MIB;
pub const ESP_STORE: &str = "EFI/Microsoft/Boot/BCD";
pub const MANAGER: &str = "{9dea862c-5cdd-4e70-acc1-f32b344d4795}";
pub const EMS: &str = "{0ce4991b-e6b3-4b16-b23c-5e0d9250e5d9}";
pub const LOADER: &str = "{c01df1c5-b007-11ee-8000-000000000001}";
pub const SECOND: &str = "{c01df1c5-b007-11ee-8000-000000000002}";

pub fn coldfix(state: &Path, arguments: &[&str], target: &Path) -> Output {
    let words = match arguments[0] {
        "bcd" => 2,
        _ => 1,
    };
    support::coldfix(state)
        .args(&arguments[..words])
        .arg(target)
        .args(&arguments[words..])
        .output()
        .expect("run coldfix")
}

#[track_caller]
pub fn ends(output: &Output, code: i32) -> String {
    let shown = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(code), "{shown}");
    shown
}

pub fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)))
}

pub fn tools() -> bool {
    let programs = ["fsck.fat", "mcopy", "icat", "ifind", "sgdisk"];
    programs.into_iter().all(support::require)
        && [Reader::Hivex, Reader::PythonRegistry]
            .into_iter()
            .all(Reader::available)
}

/// The volume that holds the store, on its own; an ESP is judged by fsck.fat.
pub fn volume(disk: &Path, folder: &Path) -> PathBuf {
    let cut = folder.join("esp");
    foreign::cut_volume(disk, START, ESP_LEN, &cut);
    let output = support::program("fsck.fat")
        .args(["-n", "-v"])
        .arg(&cut)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    cut
}

pub fn mcopy(arguments: &[&str], image: &Path) {
    support::run(
        support::program("mcopy")
            .env("MTOOLS_SKIP_CHECK", "1")
            .arg("-i")
            .arg(format!("{}@@{START}", image.display()))
            .arg("-o")
            .args(arguments),
    );
}

/// The store of a fixture, in a file: from an ESP by mtools, from NTFS by sleuthkit.
pub fn extract(disk: &Path, folder: &Path, uefi: bool) -> PathBuf {
    let file = folder.join("extracted-BCD");
    match uefi {
        true => {
            let cut = volume(disk, folder);
            let copied = support::run(
                support::program("mcopy")
                    .env("MTOOLS_SKIP_CHECK", "1")
                    .arg("-i")
                    .arg(&cut)
                    .args([&format!("::/{ESP_STORE}"), "-"]),
            );
            std::fs::write(&file, copied.stdout).unwrap();
        }
        false => std::fs::write(&file, foreign::icat(disk, START, "Boot/BCD")).unwrap(),
    }
    file
}

/// What both readers find; they agree.
pub fn dump(file: &Path) -> Dump {
    let hivex = foreign::dump(Reader::Hivex, file);
    let other = foreign::dump(Reader::PythonRegistry, file);
    assert_eq!(foreign::differences(&hivex, &other), [""; 0]);
    hivex
}

/// The elements that two dumps differ in: `object element: bytes`, or `object element: none`.
pub fn changed(before: &Dump, after: &Dump) -> Vec<String> {
    let mut found = Vec::new();
    let element = |dump: &Dump, path: &str| {
        let key = dump.get(path)?;
        let value = key.values.iter().find(|value| value.name == "Element")?;
        Some(value.data.clone())
    };
    let paths: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for path in paths {
        if element(before, path) != element(after, path) {
            let short = path.replace("Objects\\", "").replace("\\Elements\\", " ");
            let value = element(after, path).map_or("none".to_owned(), |data| {
                data.iter().map(|byte| format!("{byte:02x}")).collect()
            });
            found.push(format!("{short}: {value}"));
        } else if before.contains_key(path) != after.contains_key(path) {
            found.push(format!("{path} made or gone"));
        }
    }
    found
}

/// The five settings of Microsoft's procedure, as the store keeps them.
pub fn five(loader: &str) -> Vec<String> {
    let mut lines = vec![
        format!("{EMS} 15000022: 0100000000000000"),
        format!("{EMS} 15000023: 00c2010000000000"),
        format!("{MANAGER} 16000020: 01"),
        format!("{MANAGER} 25000004: 0500000000000000"),
        format!("{MANAGER} 26000020: 01"),
        format!("{loader} 260000b0: 01"),
    ];
    lines.sort();
    lines
}
