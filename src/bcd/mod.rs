// SPDX-License-Identifier: GPL-2.0-or-later
//! Boot configuration data (BCD): what the Windows boot manager starts, and how. Pure bytes in, bytes out; no
//! I/O, no path, no clock.
//!
//! ```text
//! a registry hive, version 1.3
//!   Description             KeyName "BCD00000000", System, TreatAsSystem, ...
//!   Objects\{guid}
//!     Description           Type (REG_DWORD): boot manager, boot loader, settings to inherit, ...
//!     Elements\16000020     Element: its bytes, in the form that the number's format says
//!
//! format    numbers of objects and elements, GUIDs with a name
//! elements  bcdedit's names of elements and of their values, both ways
//! value     bytes of an element <-> its value <-> what a person writes
//! device    device elements, read and shown; never written anew
//! store     the objects of a hive; identifiers; inheritance
//! change    elements and objects set, made and deleted in a hive
//! text      what `bcdedit /enum` prints
//! ```
//!
//! Source: Microsoft, "BCD Reference" (BcdObject, BcdElementType and the lists of element types), and
//! "BCDEdit Command-Line Options"; Geoff Chappell, "BCD Elements" and "BCD Objects".

pub mod change;
pub mod device;
pub mod elements;
pub mod format;
pub mod store;
pub mod text;
pub mod value;

pub use device::{Device, PartitionId};
pub use format::{ElementType, Format, ObjectType};
pub use store::{Element, Object, Store};
pub use value::Value;

#[cfg(test)]
mod tests;
