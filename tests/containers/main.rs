// SPDX-License-Identifier: GPL-2.0-or-later
//! Dynamic and differencing VHD, and VHDX: files that Windows, Hyper-V, qemu and others made, files made here for
//! the cases that real ones do not show, and hostile bytes; what we read and write is held against qemu-img and
//! libvhdi.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod build;
mod child;
mod disks;
mod hostile;
mod parents;
mod properties;
#[path = "../support/mod.rs"]
mod support;
mod vhd;
mod vhdx;
mod vhdx_log;
mod vhdx_states;

/// No real image is left out: each is in a list that tests compare and write in full, but for the one that must be refused.
#[test]
fn every_real_image_is_tested() {
    let listed = vhd::REAL.iter().chain(&vhdx::REAL).map(|(name, _)| *name);
    let listed = listed.chain(vhdx::DIRTY).chain([parents::ORPHAN]);
    let mut listed: Vec<String> = listed.map(|name| format!("{name}.xz")).collect();
    listed.sort();
    let there = support::data_files("vhd").into_iter();
    let there: Vec<String> = there
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert!(there.is_empty() || there == listed, "{there:?}");
}
