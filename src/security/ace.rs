// SPDX-License-Identifier: GPL-2.0-or-later
//! Access control entries: one line of an ACL.
//!
//! ```text
//! 0  u8  type                        object types only:
//! 1  u8  flags                       8  u32 which GUIDs follow: 1 object type, 2 inherited object type
//! 2  u16 size, a multiple of 4       12 GUID object type, GUID inherited object type, each where present
//! 4  u32 access mask
//! 8  SID (objects: after the GUIDs), then application data up to the size
//! ```
//! Specification: [MS-DTYP] 2.4.4. An entry is kept as its bytes, so that types not understood here, and
//! padding, stay as they were; [`Ace::content`] reads the known ones. Not handled: compound entries (type
//! 4, never written by Windows) and what conditions and resource attributes say.

use uuid::Uuid;

use crate::bytes::{array, slice, u32_le};
use crate::error::{Error, Result};

use super::sid::Sid;

/// The numbers of the types, [MS-DTYP] 2.4.4.1.
pub mod kind {
    /// Grants.
    pub const ALLOWED: u8 = 0x00;
    /// Denies.
    pub const DENIED: u8 = 0x01;
    /// Writes an event.
    pub const AUDIT: u8 = 0x02;
    /// Reserved by Windows.
    pub const ALARM: u8 = 0x03;
    /// Grants, for objects with GUIDs.
    pub const ALLOWED_OBJECT: u8 = 0x05;
    /// Denies, for objects with GUIDs.
    pub const DENIED_OBJECT: u8 = 0x06;
    /// Writes an event, for objects with GUIDs.
    pub const AUDIT_OBJECT: u8 = 0x07;
    /// Reserved by Windows.
    pub const ALARM_OBJECT: u8 = 0x08;
    /// Grants under a condition (the application data).
    pub const ALLOWED_CALLBACK: u8 = 0x09;
    /// Denies under a condition.
    pub const DENIED_CALLBACK: u8 = 0x0a;
    /// Grants under a condition, for objects with GUIDs.
    pub const ALLOWED_CALLBACK_OBJECT: u8 = 0x0b;
    /// Denies under a condition, for objects with GUIDs.
    pub const DENIED_CALLBACK_OBJECT: u8 = 0x0c;
    /// Writes an event under a condition.
    pub const AUDIT_CALLBACK: u8 = 0x0d;
    /// Reserved by Windows.
    pub const ALARM_CALLBACK: u8 = 0x0e;
    /// Writes an event under a condition, for objects with GUIDs.
    pub const AUDIT_CALLBACK_OBJECT: u8 = 0x0f;
    /// Reserved by Windows.
    pub const ALARM_CALLBACK_OBJECT: u8 = 0x10;
    /// The integrity level of the object.
    pub const MANDATORY_LABEL: u8 = 0x11;
    /// An attribute of the object (the application data).
    pub const RESOURCE_ATTRIBUTE: u8 = 0x12;
    /// A central access policy.
    pub const SCOPED_POLICY: u8 = 0x13;
    /// The protection level that a process needs.
    pub const PROCESS_TRUST_LABEL: u8 = 0x14;
    /// Narrows what others are granted, under a condition.
    pub const ACCESS_FILTER: u8 = 0x15;
}

/// The bits of an entry's flags, [MS-DTYP] 2.4.4.1.
pub mod flag {
    /// Files in the folder inherit it (OI).
    pub const OBJECT_INHERIT: u8 = 0x01;
    /// Folders in the folder inherit it (CI).
    pub const CONTAINER_INHERIT: u8 = 0x02;
    /// Those who inherit it do not pass it on (NP).
    pub const NO_PROPAGATE: u8 = 0x04;
    /// It does not count for the folder itself (IO).
    pub const INHERIT_ONLY: u8 = 0x08;
    /// It was inherited (I).
    pub const INHERITED: u8 = 0x10;
    /// It may not be taken away by the application (CR).
    pub const CRITICAL: u8 = 0x20;
    /// Audit: write an event on success (SA). Access filter: the trust label decides (TP).
    pub const SUCCESSFUL_ACCESS: u8 = 0x40;
    /// Audit: write an event on failure (FA).
    pub const FAILED_ACCESS: u8 = 0x80;
}

/// What an entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It grants rights.
    Allow,
    /// It takes rights.
    Deny,
    /// It belongs to a SACL: audit, alarm, label, attribute, policy, filter; or its type is not known.
    Other,
}

/// The fields of an entry of a known type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content<'a> {
    /// The access mask.
    pub mask: u32,
    /// The kind of object or property it is about; only object types have it.
    pub object_type: Option<Uuid>,
    /// The kind of object that inherits it; only object types have it.
    pub inherited_object_type: Option<Uuid>,
    /// Who it is about.
    pub sid: Sid,
    /// What follows the SID: a condition, an attribute, or padding.
    pub application_data: &'a [u8],
}

/// One entry, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ace {
    kind: u8,
    /// The flags, see [`flag`].
    pub flags: u8,
    body: Vec<u8>,
}

/// Type, flags, size.
const HEADER: usize = 4;
const OBJECT_TYPE_PRESENT: u32 = 1;
const INHERITED_OBJECT_TYPE_PRESENT: u32 = 2;

impl Ace {
    /// The entry at the start of `bytes`. `offset` is where `bytes` begin, for the error.
    ///
    /// # Errors
    /// `Damaged` when its size is below 4, not a multiple of 4 or leads out of `bytes`, or when the fields
    /// of a known type do not fit into it.
    pub fn parse(bytes: &[u8], offset: u64) -> Result<Ace> {
        let wrong = |expected: &str, found: String| Error::damaged("ACE", offset, expected, found);
        let Some(&[kind, flags, low, high]) = bytes.first_chunk::<HEADER>() else {
            return Err(wrong("4 bytes or more", bytes.len().to_string()));
        };
        let size = usize::from(u16::from_le_bytes([low, high]));
        if size < HEADER || !size.is_multiple_of(4) {
            let expected = "a size of 4 or more, a multiple of 4";
            return Err(wrong(expected, size.to_string()));
        }
        let Some(body) = bytes.get(HEADER..size) else {
            let expected = format!("a size of at most {}", bytes.len());
            return Err(wrong(&expected, size.to_string()));
        };
        let ace = Ace {
            kind,
            flags,
            body: body.to_vec(),
        };
        ace.read(offset)?;
        Ok(ace)
    }

    /// An entry of a type without GUIDs.
    ///
    /// # Errors
    /// `Refused` for object types and types that are not known.
    pub fn new(kind: u8, flags: u8, mask: u32, sid: &Sid) -> Result<Ace> {
        if form(kind) != Form::Plain {
            return Err(no_such_form(kind));
        }
        let mut body = mask.to_le_bytes().to_vec();
        body.extend(sid.to_bytes());
        Ok(Ace { kind, flags, body })
    }

    /// An entry of a type with GUIDs.
    ///
    /// # Errors
    /// `Refused` for types that are not object types.
    pub fn new_object(
        kind: u8,
        flags: u8,
        mask: u32,
        object_type: Option<Uuid>,
        inherited_object_type: Option<Uuid>,
        sid: &Sid,
    ) -> Result<Ace> {
        if form(kind) != Form::Object {
            return Err(no_such_form(kind));
        }
        let mut present = 0;
        if object_type.is_some() {
            present |= OBJECT_TYPE_PRESENT;
        }
        if inherited_object_type.is_some() {
            present |= INHERITED_OBJECT_TYPE_PRESENT;
        }
        let mut body = mask.to_le_bytes().to_vec();
        body.extend(present.to_le_bytes());
        for guid in [object_type, inherited_object_type].into_iter().flatten() {
            body.extend(guid.to_bytes_le());
        }
        body.extend(sid.to_bytes());
        Ok(Ace { kind, flags, body })
    }

    /// The type, see [`kind`].
    pub fn kind(&self) -> u8 {
        self.kind
    }

    /// The bytes, [`Ace::size`] of them.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A body comes from an entry whose size had 16 bits, or is a few fields and a SID.
        let size = u16::try_from(self.size()).unwrap_or(u16::MAX);
        let mut bytes = vec![self.kind, self.flags];
        bytes.extend(size.to_le_bytes());
        bytes.extend(&self.body);
        bytes
    }

    /// How many bytes the entry takes.
    pub fn size(&self) -> usize {
        self.body.len().saturating_add(HEADER)
    }

    /// The fields; None when the type is not known.
    pub fn content(&self) -> Option<Content<'_>> {
        // An entry of a known type cannot be made without fields that fit.
        self.read(0).ok().flatten()
    }

    /// What the entry does.
    pub fn effect(&self) -> Effect {
        match self.kind {
            kind::ALLOWED
            | kind::ALLOWED_OBJECT
            | kind::ALLOWED_CALLBACK
            | kind::ALLOWED_CALLBACK_OBJECT => Effect::Allow,
            kind::DENIED
            | kind::DENIED_OBJECT
            | kind::DENIED_CALLBACK
            | kind::DENIED_CALLBACK_OBJECT => Effect::Deny,
            _ => Effect::Other,
        }
    }

    /// Whether the entry counts only under a condition.
    pub fn is_conditional(&self) -> bool {
        (kind::ALLOWED_CALLBACK..=kind::ALARM_CALLBACK_OBJECT).contains(&self.kind)
            || self.kind == kind::ACCESS_FILTER
    }

    /// Whether the type has GUIDs.
    pub fn is_object(&self) -> bool {
        form(self.kind) == Form::Object
    }

    /// Whether it was inherited.
    pub fn is_inherited(&self) -> bool {
        self.flags & flag::INHERITED != 0
    }

    /// Whether it counts for those who inherit it only.
    pub fn is_inherit_only(&self) -> bool {
        self.flags & flag::INHERIT_ONLY != 0
    }

    fn read(&self, offset: u64) -> Result<Option<Content<'_>>> {
        let form = form(self.kind);
        if form == Form::Unknown {
            return Ok(None);
        }
        let body = self.body.as_slice();
        let short = || {
            let expected = format!("the fields of type {:#04x}", self.kind);
            let found = format!("a size of {}", self.size());
            Error::damaged("ACE", offset, expected, found)
        };
        let mask = u32_le(body, 0).ok_or_else(short)?;
        let mut at = 4_usize;
        let mut guids = [None, None];
        if form == Form::Object {
            let present = u32_le(body, at).ok_or_else(short)?;
            at = 8;
            let bits = [OBJECT_TYPE_PRESENT, INHERITED_OBJECT_TYPE_PRESENT];
            for (guid, bit) in guids.iter_mut().zip(bits) {
                if present & bit != 0 {
                    let bytes = array::<16>(body, at).ok_or_else(short)?;
                    *guid = Some(Uuid::from_bytes_le(bytes));
                    at = at.saturating_add(16);
                }
            }
        }
        let rest = body.get(at..).ok_or_else(short)?;
        let place = offset.saturating_add(u64::try_from(at.saturating_add(HEADER)).unwrap_or(0));
        let sid = Sid::parse(rest, place)?;
        let after = rest.len().saturating_sub(sid.size());
        let application_data = slice(rest, sid.size(), after).ok_or_else(short)?;
        let [object_type, inherited_object_type] = guids;
        Ok(Some(Content {
            mask,
            object_type,
            inherited_object_type,
            sid,
            application_data,
        }))
    }
}

/// How the body of a type is laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Object,
    Unknown,
}

fn form(kind: u8) -> Form {
    match kind {
        kind::ALLOWED_OBJECT..=kind::ALARM_OBJECT
        | kind::ALLOWED_CALLBACK_OBJECT
        | kind::DENIED_CALLBACK_OBJECT
        | kind::AUDIT_CALLBACK_OBJECT
        | kind::ALARM_CALLBACK_OBJECT => Form::Object,
        kind::ALLOWED..=kind::ALARM
        | kind::ALLOWED_CALLBACK
        | kind::DENIED_CALLBACK
        | kind::AUDIT_CALLBACK
        | kind::ALARM_CALLBACK
        | kind::MANDATORY_LABEL..=kind::ACCESS_FILTER => Form::Plain,
        _ => Form::Unknown,
    }
}

fn no_such_form(kind: u8) -> Error {
    Error::refused(
        format!("an access control entry of type {kind:#04x} cannot be made from these fields"),
        "name a type that has them",
    )
}
