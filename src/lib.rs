// SPDX-License-Identifier: GPL-2.0-or-later
//! Repairs a Windows disk that does not boot or cannot be reached, without booting it.
//!
//! ```text
//! TARGET (image, device, folder)
//!   -> device      host bytes                                  \
//!   -> container   raw | VHD | VHDX         -> the virtual disk | one small trait: Device
//!   -> partition   MBR | GPT | bare volume  -> volumes         /
//!   -> volume      NTFS | FAT | mounted folder -> files
//!   -> windows     an installation: its hives, control sets, build; permissions of its files
//!   -> checks      facts -> findings, each with evidence and the edits that would cure it
//!   -> plan        edits applied to the overlay: every value before and after
//!   -> commit      journal -> write -> flush -> read back -> done
//!   -> report      one serde type; text, JSON and HTML print it
//! ```
//!
//! `hive`, `security`, `sam`, `bcd`, `firewall`, `registry_policy`, `certificate` and `evtx` stand beside this road: pure bytes
//! in, bytes out; no I/O, no path, no clock.
//! Modules are listed in layer order; a layer uses only those above it in this list.

pub mod bytes;
pub mod error;

pub mod device;

pub mod container;

pub mod partition;

pub mod volume;

pub mod hive;

pub mod security;

pub mod sam;

pub mod bcd;

pub mod firewall;

pub mod registry_policy;

pub mod certificate;

pub mod evtx;

pub mod edit;

pub mod permissions;

pub mod windows;

pub mod checks;

pub mod plan;

pub mod commit;

pub mod target;

pub mod verify;

pub mod report;

pub mod cli;
