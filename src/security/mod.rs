// SPDX-License-Identifier: GPL-2.0-or-later
//! Security descriptors of Windows: pure bytes in, bytes out; no I/O, no path, no clock.
//!
//! ```text
//! sid         who: S-1-5-18, its bytes            names   NT AUTHORITY\SYSTEM, BA, NT SERVICE\TermService
//! ace         one entry: type, flags, mask, who   acl     a list of them
//! descriptor  owner, group, SACL, DACL in one self-relative block
//! sddl        the same as text, both ways         rights  what the masks mean; order; effective rights
//! display     the lines that icacls prints                saved   the file of `icacls /save`
//! change      grants, owners, what a folder hands down
//! ```
//!
//! Specification: [MS-DTYP] 2.4 and 2.5.1. Every entry is kept byte for byte, also of types that are not
//! understood. Not handled: the text form of conditional expressions and of resource attributes.

pub mod ace;
pub mod acl;
pub mod change;
pub mod descriptor;
pub mod display;
pub mod names;
pub mod rights;
pub mod saved;
pub mod sddl;
pub mod sid;

#[cfg(test)]
mod tests;

pub use ace::Ace;
pub use acl::Acl;
pub use descriptor::{AclField, Descriptor};
pub use names::Names;
pub use sid::Sid;
