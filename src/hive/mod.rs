// SPDX-License-Identifier: GPL-2.0-or-later
//! Registry hives (regf): pure bytes in, bytes out; no I/O, no path, no clock.

pub mod base_block;
