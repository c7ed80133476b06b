// SPDX-License-Identifier: GPL-2.0-or-later
//! Security descriptors as text (SDDL), both ways.
//!
//! ```text
//! O:owner G:group D:flags(type;flags;rights;object GUID;inherited object GUID;SID)... S:flags(...)
//! ```
//! Specification: [MS-DTYP] 2.5.1. Rights are written as Windows does: one of FA FR FW FX KA KR KW where the
//! mask is exactly that, else letters where they cover it, else hex. Not handled: conditions, attributes,
//! and types that SDDL has no letters for; `format` then refuses rather than lose something.

use uuid::Uuid;

use crate::error::{Error, Result};

use super::ace::{Ace, kind};
use super::acl::Acl;
use super::descriptor::{AclField, Descriptor, control};
use super::names;
use super::sid::{Sid, number};

const TYPES: [(&str, u8); 11] = [
    ("A", kind::ALLOWED),
    ("D", kind::DENIED),
    ("AU", kind::AUDIT),
    ("AL", kind::ALARM),
    ("OA", kind::ALLOWED_OBJECT),
    ("OD", kind::DENIED_OBJECT),
    ("OU", kind::AUDIT_OBJECT),
    ("OL", kind::ALARM_OBJECT),
    ("ML", kind::MANDATORY_LABEL),
    ("SP", kind::SCOPED_POLICY),
    ("TL", kind::PROCESS_TRUST_LABEL),
];

/// Types whose letters are known but whose conditions and attributes are not read.
const CONDITIONAL: [&str; 6] = ["XA", "XD", "XU", "ZA", "RA", "FL"];

/// In the order in which Windows writes them.
const FLAGS: [(&str, u8); 9] = [
    ("OI", 0x01),
    ("CI", 0x02),
    ("NP", 0x04),
    ("IO", 0x08),
    ("ID", 0x10),
    ("CR", 0x20),
    ("SA", 0x40),
    ("FA", 0x80),
    ("TP", 0x40),
];

/// Masks that have a name of their own.
const WHOLE: [(&str, u32); 8] = [
    ("FA", 0x001f_01ff),
    ("FR", 0x0012_0089),
    ("FW", 0x0012_0116),
    ("FX", 0x0012_00a0),
    ("KA", 0x000f_003f),
    ("KR", 0x0002_0019),
    ("KW", 0x0002_0006),
    ("KX", 0x0002_0019),
];

/// Single rights, in the order in which Windows writes them.
const BITS: [(&str, u32); 17] = [
    ("CC", 0x1),
    ("DC", 0x2),
    ("LC", 0x4),
    ("SW", 0x8),
    ("RP", 0x10),
    ("WP", 0x20),
    ("DT", 0x40),
    ("LO", 0x80),
    ("CR", 0x100),
    ("SD", 0x0001_0000),
    ("RC", 0x0002_0000),
    ("WD", 0x0004_0000),
    ("WO", 0x0008_0000),
    ("GA", 0x1000_0000),
    ("GX", 0x2000_0000),
    ("GW", 0x4000_0000),
    ("GR", 0x8000_0000),
];

/// The policy of an integrity label.
const LABEL: [(&str, u32); 3] = [("NW", 1), ("NR", 2), ("NX", 4)];

const NULL_ACL: &str = "NO_ACCESS_CONTROL";

/// The control bits of one kind of ACL, in the order in which Windows writes them.
const DACL_FLAGS: [(&str, u16); 3] = [
    ("P", control::DACL_PROTECTED),
    ("AR", control::DACL_AUTO_INHERIT_REQ),
    ("AI", control::DACL_AUTO_INHERITED),
];
const SACL_FLAGS: [(&str, u16); 3] = [
    ("P", control::SACL_PROTECTED),
    ("AR", control::SACL_AUTO_INHERIT_REQ),
    ("AI", control::SACL_AUTO_INHERITED),
];

/// Writes a descriptor as text. `domain` is the SID of the machine or domain whose accounts get two letters.
/// The resource manager control, "defaulted" bits, flags of a list that is not there, slack and padding have
/// no text and are left out.
///
/// # Errors
/// `Unsupported` for entries that this module has no text for.
pub fn format(descriptor: &Descriptor, domain: Option<&Sid>) -> Result<String> {
    let mut text = String::new();
    for (name, sid) in [("O:", &descriptor.owner), ("G:", &descriptor.group)] {
        if let Some(sid) = sid {
            text.push_str(name);
            text.push_str(&sid_text(sid, domain));
        }
    }
    for (name, field, flags) in [
        ("D:", &descriptor.dacl, DACL_FLAGS),
        ("S:", &descriptor.sacl, SACL_FLAGS),
    ] {
        if *field == AclField::Absent {
            continue;
        }
        text.push_str(name);
        for (letters, bit) in flags {
            if descriptor.control & bit != 0 {
                text.push_str(letters);
            }
        }
        match field.acl() {
            None => text.push_str(NULL_ACL),
            Some(acl) => {
                for ace in &acl.aces {
                    text.push_str(&format_ace(ace, domain)?);
                }
            }
        }
    }
    Ok(text)
}

fn sid_text(sid: &Sid, domain: Option<&Sid>) -> String {
    names::letters(sid, domain).map_or_else(|| sid.to_string(), str::to_owned)
}

/// Writes one entry as text, with its parentheses.
///
/// # Errors
/// `Unsupported` for types, conditions and attributes that this module has no text for.
pub fn format_ace(ace: &Ace, domain: Option<&Sid>) -> Result<String> {
    let letters = TYPES.iter().find(|(_, kind)| *kind == ace.kind());
    let (Some((letters, _)), Some(content)) = (letters, ace.content()) else {
        return Err(no_text(ace, "its type"));
    };
    if content.application_data.iter().any(|&byte| byte != 0) {
        return Err(no_text(ace, "the data after its SID"));
    }
    let mut flags = String::new();
    let mut left = ace.flags;
    for (name, bit) in FLAGS {
        if left & bit != 0 {
            left &= !bit;
            flags.push_str(name);
        }
    }
    let guid = |guid: Option<Uuid>| guid.map(|guid| guid.to_string()).unwrap_or_default();
    Ok(format!(
        "({letters};{flags};{};{};{};{})",
        rights(content.mask, ace.kind()),
        guid(content.object_type),
        guid(content.inherited_object_type),
        sid_text(&content.sid, domain)
    ))
}

fn no_text(ace: &Ace, why: &str) -> Error {
    Error::unsupported(
        format!(
            "an access control entry of type {:#04x}: {why} has no SDDL text here",
            ace.kind()
        ),
        "keep the descriptor as bytes",
    )
}

fn rights(mask: u32, kind: u8) -> String {
    let bits: &[(&str, u32)] = if kind == kind::MANDATORY_LABEL {
        &LABEL
    } else if let Some((name, _)) = WHOLE.iter().find(|(_, whole)| *whole == mask) {
        return (*name).to_owned();
    } else {
        &BITS
    };
    let mut text = String::new();
    let mut left = mask;
    for (name, bit) in bits {
        if left & bit != 0 {
            left &= !bit;
            text.push_str(name);
        }
    }
    if left != 0 || mask == 0 {
        return format!("{mask:#x}");
    }
    text
}

/// Reads a descriptor. `domain` is the SID of the machine or domain that two letters such as LA and DA mean.
///
/// # Errors
/// `Refused` for text that is not SDDL, saying where; `Unsupported` for conditions and attributes.
pub fn parse(text: &str, domain: Option<&Sid>) -> Result<Descriptor> {
    let mut descriptor = Descriptor {
        control: control::SELF_RELATIVE,
        ..Descriptor::default()
    };
    let mut seen = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let at = text.len().saturating_sub(rest.len());
        let (name, after) = rest
            .split_once(':')
            .ok_or_else(|| wrong(rest, at, "O:, G:, D: or S:"))?;
        let name = name.trim().to_ascii_uppercase();
        if seen.contains(&name) {
            return Err(wrong(rest, at, "each part once"));
        }
        rest = match name.as_str() {
            "O" | "G" => {
                let (sid, after) = split_sid(after);
                let sid = Some(parse_sid(sid, domain)?);
                if name == "O" {
                    descriptor.owner = sid;
                } else {
                    descriptor.group = sid;
                }
                after
            }
            "D" => {
                let (field, flags, after) = parse_acl(after, &DACL_FLAGS, domain)?;
                descriptor.dacl = field;
                descriptor.control |= flags;
                after
            }
            "S" => {
                let (field, flags, after) = parse_acl(after, &SACL_FLAGS, domain)?;
                descriptor.sacl = field;
                descriptor.control |= flags;
                after
            }
            _ => return Err(wrong(rest, at, "O:, G:, D: or S:")),
        };
        rest = rest.trim_start();
        seen.push(name);
    }
    descriptor.control = descriptor.effective_control();
    Ok(descriptor)
}

fn wrong(text: &str, at: usize, expected: &str) -> Error {
    let shown: String = text.chars().take(20).collect();
    Error::refused(
        format!("SDDL at character {at}: `{}`", shown.escape_debug()),
        format!("expected {expected}"),
    )
}

/// A SID goes up to the letter before the next colon.
fn split_sid(text: &str) -> (&str, &str) {
    let end = match text.find(':') {
        Some(colon) => colon.saturating_sub(1),
        None => text.len(),
    };
    // A letter of more than one byte before the colon is no part: the SID then is refused.
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn parse_sid(text: &str, domain: Option<&Sid>) -> Result<Sid> {
    let text = text.trim();
    if text.len() == 2 {
        names::from_letters(text, domain)
    } else {
        text.parse()
    }
}

type AclText<'a> = (AclField, u16, &'a str);

fn parse_acl<'a>(
    text: &'a str,
    names: &[(&str, u16)],
    domain: Option<&Sid>,
) -> Result<AclText<'a>> {
    let mut rest = text.trim_start();
    let mut flags = 0;
    let mut null = false;
    loop {
        let found = names.iter().find_map(|(name, bit)| {
            let after = strip(rest, name)?;
            Some((after, *bit))
        });
        if let Some((after, bit)) = found {
            flags |= bit;
            rest = after.trim_start();
        } else if let Some(after) = strip(rest, NULL_ACL) {
            null = true;
            rest = after.trim_start();
        } else {
            break;
        }
    }
    let mut aces = Vec::new();
    while let Some(after) = rest.strip_prefix('(') {
        let (ace, after) = after
            .split_once(')')
            .ok_or_else(|| wrong(rest, 0, "a closing parenthesis"))?;
        aces.push(parse_ace(ace, domain)?);
        rest = after.trim_start();
    }
    let field = match null {
        true if !aces.is_empty() => {
            return Err(wrong(text, 0, "no entries beside NO_ACCESS_CONTROL"));
        }
        true => AclField::Null,
        false => {
            let acl = Acl::new(aces);
            acl.to_bytes()?;
            AclField::Present(acl)
        }
    };
    Ok((field, flags, rest))
}

fn strip<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, after) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(after)
}

/// Reads one entry, without its parentheses.
fn parse_ace(text: &str, domain: Option<&Sid>) -> Result<Ace> {
    let parts: Vec<&str> = text.split(';').map(str::trim).collect();
    let letters = parts.first().copied().unwrap_or_default();
    let is = |name: &&str| name.eq_ignore_ascii_case(letters);
    if CONDITIONAL.iter().any(is) {
        return Err(Error::unsupported(
            format!("an SDDL entry of type {letters}: conditions and attributes are not read"),
            "set it on a running Windows, or give the descriptor as bytes",
        ));
    }
    let kind = TYPES.iter().find(|(name, _)| is(name)).map(|found| found.1);
    let (Some(kind), &[_, flag_text, right_text, object, inherited, sid]) = (kind, &parts[..])
    else {
        return Err(wrong(
            text,
            0,
            "type;flags;rights;object;inherited object;SID",
        ));
    };
    let mut flags = 0;
    for word in pairs(flag_text) {
        let found = FLAGS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(word));
        let found = found.ok_or_else(|| wrong(flag_text, 0, "flags such as OICI, ID"))?;
        flags |= found.1;
    }
    let mask = parse_rights(right_text)?;
    let sid = parse_sid(sid, domain)?;
    let object = parse_guid(object)?;
    let inherited = parse_guid(inherited)?;
    let ace = if matches!(kind, kind::ALLOWED_OBJECT..=kind::ALARM_OBJECT) {
        Ace::new_object(kind, flags, mask, object, inherited, &sid)?
    } else if object.is_some() || inherited.is_some() {
        return Err(wrong(text, 0, "a GUID only in object entries"));
    } else {
        Ace::new(kind, flags, mask, &sid)?
    };
    Ok(ace)
}

/// The text in twos; what does not divide so comes out as it is, and is then no word of any list.
fn pairs(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (pair, after) = rest.split_at_checked(2).unwrap_or((rest, ""));
        rest = after;
        Some(pair)
    })
}

fn parse_rights(text: &str) -> Result<u32> {
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        let mask = number(text).and_then(|mask| u32::try_from(mask).ok());
        return mask.ok_or_else(|| wrong(text, 0, "a mask of 32 bits"));
    }
    let mut mask = 0;
    for word in pairs(text) {
        let mut all = WHOLE.iter().chain(&BITS).chain(&LABEL);
        let found = all.find(|(name, _)| name.eq_ignore_ascii_case(word));
        mask |= found
            .ok_or_else(|| wrong(text, 0, "rights such as FA, FR, 0x1200a9"))?
            .1;
    }
    Ok(mask)
}

fn parse_guid(text: &str) -> Result<Option<Uuid>> {
    if text.is_empty() {
        return Ok(None);
    }
    let hyphens = text.len() == 36;
    match Uuid::try_parse(text) {
        Ok(guid) if hyphens => Ok(Some(guid)),
        _ => Err(wrong(
            text,
            0,
            "a GUID as xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
        )),
    }
}
