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
