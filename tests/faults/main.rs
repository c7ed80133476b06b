// SPDX-License-Identifier: GPL-2.0-or-later
//! Faults under the real program: system calls that fail, signals, disks that are full or vanish, images that are cut,
//! two runs at once, journals that are cut. Whatever happens, the target is old or new; after the next step that the
//! program itself names, for certain.
//!
//! How much is tried is a sample by seed; `COLDFIX_FAULTS=all` tries every fault at every place. `COLDFIX_SEED` takes
//! another sample. Each test says how many faults there were (`support::proof`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod bench;
mod calls;
mod cut;
mod full;
mod journals;
#[path = "../mounted_support/mod.rs"]
mod mounted_support;
mod new_disk;
mod short;
mod signals;
mod strace;
#[path = "../support/mod.rs"]
mod support;
mod together;
mod vanish;
