// SPDX-License-Identifier: GPL-2.0-or-later
//! What the targets do with an input: take it apart as coldfix does, and assert what must hold of all that was
//! accepted. A refusal is always a good answer.
//!
//! ```text
//! hives         hive, its logs, boot configuration: edits that fail change nothing, those that do not leave it sound
//! containers    VHD, VHDX, partition tables: what is written reads back, and undoing it leaves nothing
//! volumes       FAT, NTFS, whole disks: damage to a disk that was made, see tests/hostile/damage.rs
//! permissions   descriptors, SDDL, saved permissions: bytes and text and back
//! texts         .reg, Registry.pol, firewall rules, plans
//! values        certificates, event logs, accounts, journals
//! ```
//!
//! The parsers inside the NTFS module have doors of their own: `coldfix::volume::ntfs::fuzzing`.

pub mod containers;
pub mod hives;
pub mod permissions;
pub mod texts;
pub mod values;
pub mod volumes;

#[allow(
    dead_code,
    reason = "the test draws its recipes at random and counts; here the fuzzer does"
)]
#[path = "../../tests/hostile/damage.rs"]
mod damage;
#[path = "../../tests/hostile/structures.rs"]
mod structures;

/// A short part of an input, whose length its first byte says, and the rest.
fn split(input: &[u8]) -> (&[u8], &[u8]) {
    let Some((len, rest)) = input.split_first() else {
        return (input, input);
    };
    rest.split_at(usize::from(*len).min(rest.len()))
}
