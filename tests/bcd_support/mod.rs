// SPDX-License-Identifier: GPL-2.0-or-later
//! Running `coldfix bcd` on the fixtures.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::path::Path;
use std::process::Output;

use crate::support;
use crate::support::boot_store::START;

/// The loader of the second Windows of a fixture.
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

pub fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)))
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
