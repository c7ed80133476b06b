// SPDX-License-Identifier: GPL-2.0-or-later
//! Reads and writes security descriptors on every real NTFS image and on made ones; foreign readers judge.
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

#[path = "../ntfs_support/mod.rs"]
mod ntfs_support;
#[path = "../support/mod.rs"]
mod support;

mod damage;
mod foreign;
mod made;
mod real;
mod subject;
