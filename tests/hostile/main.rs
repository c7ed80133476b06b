// SPDX-License-Identifier: GPL-2.0-or-later
//! Hostile input: disks damaged at random through the command line's own code, inputs that a fuzzer found, and the
//! seeds that it starts from.
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

mod batch;
#[allow(dead_code, reason = "the tests of containers make more of them")]
#[path = "../containers/build.rs"]
mod build;
mod damage;
#[path = "../support/event_log.rs"]
mod event_log;
mod found;
#[allow(dead_code, reason = "the tests of logs make more of them")]
#[path = "../hive_logs/writer.rs"]
mod hive_log;
mod mutations;
#[path = "../ntfs_support/mod.rs"]
mod ntfs_support;
mod seeds;
mod strangers;
mod structures;
#[path = "../support/mod.rs"]
mod support;
