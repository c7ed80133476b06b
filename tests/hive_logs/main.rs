// SPDX-License-Identifier: GPL-2.0-or-later
//! Recovery of dirty hives from their transaction logs: hives that Windows left dirty, logs made here for
//! the cases that real files do not show, and hostile bytes.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod hostile;
mod new_format;
mod old_format;
mod real;
mod support;
mod writer;
