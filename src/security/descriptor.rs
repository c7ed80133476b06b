// SPDX-License-Identifier: GPL-2.0-or-later
//! Self-relative security descriptors.
//!
//! ```text
//! 0  u8  revision, 1                     8  u32 offset of the group, or 0
//! 1  u8  resource manager control        12 u32 offset of the SACL, or 0
//! 2  u16 control                         16 u32 offset of the DACL, or 0
//! 4  u32 offset of the owner, or 0       20 what they point to, each at a multiple of 4
//! ```
//! Specification: [MS-DTYP] 2.4.6. Written in the order that Windows writes: header, SACL, DACL, owner,
//! group. Another order means the same and is read; building such a descriptor again gives other bytes.
//! Parts may overlap, as they may for Windows. Not handled: absolute descriptors (memory of a process).

use crate::bytes::{array, u16_le, u32_le};
use crate::error::{Error, Result};

use super::acl::Acl;
use super::sid::Sid;

/// The bits of a descriptor's control, [MS-DTYP] 2.4.6.
pub mod control {
    /// The owner was given by default.
    pub const OWNER_DEFAULTED: u16 = 0x0001;
    /// The group was given by default.
    pub const GROUP_DEFAULTED: u16 = 0x0002;
    /// There is a DACL, or a null one.
    pub const DACL_PRESENT: u16 = 0x0004;
    /// The DACL was given by default.
    pub const DACL_DEFAULTED: u16 = 0x0008;
    /// There is a SACL, or a null one.
    pub const SACL_PRESENT: u16 = 0x0010;
    /// The SACL was given by default.
    pub const SACL_DEFAULTED: u16 = 0x0020;
    /// The DACL is to be inherited (AR).
    pub const DACL_AUTO_INHERIT_REQ: u16 = 0x0100;
    /// The SACL is to be inherited (AR).
    pub const SACL_AUTO_INHERIT_REQ: u16 = 0x0200;
    /// The DACL was made by inheritance (AI).
    pub const DACL_AUTO_INHERITED: u16 = 0x0400;
    /// The SACL was made by inheritance (AI).
    pub const SACL_AUTO_INHERITED: u16 = 0x0800;
    /// The DACL inherits nothing (P).
    pub const DACL_PROTECTED: u16 = 0x1000;
    /// The SACL inherits nothing (P).
    pub const SACL_PROTECTED: u16 = 0x2000;
    /// The field at offset 1 counts.
    pub const RM_CONTROL_VALID: u16 = 0x4000;
    /// Offsets, not pointers.
    pub const SELF_RELATIVE: u16 = 0x8000;
}

const HEADER: usize = 20;
/// Header, two ACLs with padding, two SIDs: no descriptor that says something is longer.
const MAX_SIZE: usize = HEADER + 2 * 65_536 + 2 * 68;

/// Whether a descriptor has an ACL. Absent and null both mean: as if there were no control at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum AclField {
    /// The control says that there is none.
    #[default]
    Absent,
    /// The control says that there is one, and the offset is 0. As DACL: everyone may do everything.
    Null,
    /// A list. As DACL without entries: nobody may do anything.
    Present(Acl),
}

impl AclField {
    /// The list, where there is one.
    pub fn acl(&self) -> Option<&Acl> {
        match self {
            AclField::Present(acl) => Some(acl),
            AclField::Absent | AclField::Null => None,
        }
    }
}

/// A security descriptor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Descriptor {
    /// The control bits, see [`control`]. When bytes are built, the bits for "present" follow the fields
    /// and "self-relative" is set, whatever stands here.
    pub control: u16,
    /// The resource manager control, the byte at offset 1; mostly 0.
    pub resource_manager: u8,
    /// The owner, who may always read and change the DACL.
    pub owner: Option<Sid>,
    /// The primary group.
    pub group: Option<Sid>,
    /// Audit entries and the integrity label.
    pub sacl: AclField,
    /// Who may do what.
    pub dacl: AclField,
}

impl Descriptor {
    /// Reads the descriptor at the start of `bytes`; what follows its last part is not looked at. Offsets
    /// in errors count from the start of `bytes`. An offset of an ACL that the control calls absent is
    /// passed over, as Windows does.
    ///
    /// # Errors
    /// `Damaged` when anything is cut off, of another revision or misplaced, and for a size above what two
    /// ACLs and two SIDs can fill.
    pub fn parse(bytes: &[u8]) -> Result<Descriptor> {
        let wrong = |offset: u64, expected: &str, found: String| {
            Error::damaged("security descriptor", offset, expected, found)
        };
        if !(HEADER..=MAX_SIZE).contains(&bytes.len()) {
            let expected = format!("{HEADER} to {MAX_SIZE} bytes");
            return Err(wrong(0, &expected, bytes.len().to_string()));
        }
        let short = || wrong(0, "a header of 20 bytes", bytes.len().to_string());
        let [revision, resource_manager] = array(bytes, 0).ok_or_else(short)?;
        let flags = u16_le(bytes, 2).ok_or_else(short)?;
        if revision != 1 {
            return Err(wrong(0, "revision 1", revision.to_string()));
        }
        if flags & control::SELF_RELATIVE == 0 {
            return Err(wrong(
                2,
                "a self-relative one",
                format!("control {flags:#06x}"),
            ));
        }
        let part = |field: usize, name: &str| -> Result<Option<(&[u8], u64)>> {
            let offset = u32_le(bytes, field).ok_or_else(short)?;
            if offset == 0 {
                return Ok(None);
            }
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            match bytes.get(start..) {
                Some(part) if start >= HEADER && start.is_multiple_of(4) && !part.is_empty() => {
                    Ok(Some((part, u64::from(offset))))
                }
                _ => {
                    let expected = format!(
                        "the offset of the {name}: a multiple of 4 from 20 to {}",
                        bytes.len()
                    );
                    let place = u64::try_from(field).unwrap_or(0);
                    Err(wrong(place, &expected, format!("{offset:#x}")))
                }
            }
        };
        let sid = |field, name: &str| match part(field, name)? {
            Some((bytes, offset)) => Sid::parse(bytes, offset)
                .map(Some)
                .map_err(|error| error.context(name)),
            None => Ok(None),
        };
        let acl = |field, name: &str, present: u16| {
            if flags & present == 0 {
                return Ok(AclField::Absent);
            }
            match part(field, name)? {
                Some((bytes, offset)) => Acl::parse(bytes, offset)
                    .map(AclField::Present)
                    .map_err(|error| error.context(name)),
                None => Ok(AclField::Null),
            }
        };
        Ok(Descriptor {
            control: flags,
            resource_manager,
            owner: sid(4, "owner")?,
            group: sid(8, "group")?,
            sacl: acl(12, "SACL", control::SACL_PRESENT)?,
            dacl: acl(16, "DACL", control::DACL_PRESENT)?,
        })
    }

    /// The bytes in Windows' order: header, SACL, DACL, owner, group.
    ///
    /// # Errors
    /// `Refused` when an ACL is longer than the format allows.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        let mut place = |part: Option<Vec<u8>>| {
            let Some(part) = part else { return 0 };
            // At most `MAX_SIZE`, as each ACL has at most 65,535 bytes.
            let offset = u32::try_from(body.len().saturating_add(HEADER)).unwrap_or(0);
            body.extend(part);
            body.resize(body.len().next_multiple_of(4), 0);
            offset
        };
        let bytes = |field: &AclField| field.acl().map(Acl::to_bytes).transpose();
        let sacl = place(bytes(&self.sacl)?);
        let dacl = place(bytes(&self.dacl)?);
        let owner = place(self.owner.as_ref().map(Sid::to_bytes));
        let group = place(self.group.as_ref().map(Sid::to_bytes));
        let mut descriptor = vec![1, self.resource_manager];
        descriptor.extend(self.effective_control().to_le_bytes());
        for offset in [owner, group, sacl, dacl] {
            descriptor.extend(offset.to_le_bytes());
        }
        descriptor.extend(body);
        Ok(descriptor)
    }

    /// Whether both say the same: owner, group, control and entries. Layout, slack, revisions of lists and fields that
    /// mean nothing may differ.
    pub fn says_the_same(&self, other: &Descriptor) -> bool {
        let entries = |one: &AclField, other: &AclField| match (one, other) {
            (AclField::Present(one), AclField::Present(other)) => one.aces == other.aces,
            (one, other) => one == other,
        };
        self.owner == other.owner
            && self.group == other.group
            && self.effective_control() == other.effective_control()
            && self.resource_manager == other.resource_manager
            && entries(&self.dacl, &other.dacl)
            && entries(&self.sacl, &other.sacl)
    }

    /// The control as it is written: the bits for "present" follow the fields, "self-relative" is set.
    pub fn effective_control(&self) -> u16 {
        let mut flags = self.control | control::SELF_RELATIVE;
        for (field, bit) in [
            (&self.dacl, control::DACL_PRESENT),
            (&self.sacl, control::SACL_PRESENT),
        ] {
            flags &= !bit;
            if *field != AclField::Absent {
                flags |= bit;
            }
        }
        flags
    }
}
