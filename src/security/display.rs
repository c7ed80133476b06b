// SPDX-License-Identifier: GPL-2.0-or-later
//! The lines that icacls prints for an object.
//!
//! ```text
//! C:\data\key.txt NT AUTHORITY\SYSTEM:(I)(F)
//!                 BUILTIN\Users:(OI)(CI)(RX)
//!                 Mandatory Label\High Mandatory Level:(NW)
//! ```
//! The order is the ACL's. Types that icacls does not name are shown by number, so that nothing is left out.

use super::ace::{Ace, Effect, flag, kind};
use super::descriptor::{AclField, Descriptor};
use super::names::Names;
use super::rights;

/// The lines for one object, without the blank line after it and without line ends: its name with the first of
/// [`entries`], and the others below it; the name alone where there is none.
pub fn lines(object: &str, descriptor: &Descriptor, names: &Names) -> Vec<String> {
    let entries = entries(descriptor, names);
    if entries.is_empty() {
        return vec![object.to_owned()];
    }
    let indent = " ".repeat(object.chars().count());
    let starts = std::iter::once(object).chain(std::iter::repeat(indent.as_str()));
    starts
        .zip(entries)
        .map(|(start, entry)| format!("{start} {entry}"))
        .collect()
}

/// The entries of the DACL and the integrity label, as icacls shows them behind an object's name.
///
/// Without a DACL that is `Everyone:(F)`, which is what that means; with an empty one there are none.
pub fn entries(descriptor: &Descriptor, names: &Names) -> Vec<String> {
    let mut entries = Vec::new();
    match &descriptor.dacl {
        AclField::Absent | AclField::Null => entries.push("Everyone:(F)".to_owned()),
        AclField::Present(acl) => entries.extend(acl.aces.iter().map(|ace| entry(ace, names))),
    }
    if let AclField::Present(acl) = &descriptor.sacl {
        let labels = acl.aces.iter();
        let labels = labels.filter(|ace| ace.kind() == kind::MANDATORY_LABEL);
        entries.extend(labels.map(|ace| entry(ace, names)));
    }
    entries
}

/// One entry: `BUILTIN\Users:(I)(OI)(CI)(RX)`.
pub fn entry(ace: &Ace, names: &Names) -> String {
    let Some(content) = ace.content() else {
        return format!("(type {:#04x}, {} bytes)", ace.kind(), ace.size());
    };
    let mut line = format!("{}:", names.display(&content.sid));
    for (bit, word) in [
        (flag::INHERITED, "(I)"),
        (flag::OBJECT_INHERIT, "(OI)"),
        (flag::CONTAINER_INHERIT, "(CI)"),
        (flag::NO_PROPAGATE, "(NP)"),
        (flag::INHERIT_ONLY, "(IO)"),
    ] {
        if ace.flags & bit != 0 {
            line.push_str(word);
        }
    }
    if ace.kind() == kind::MANDATORY_LABEL {
        line.push_str(&format!("({})", label(content.mask)));
        return line;
    }
    let deny = ace.effect() == Effect::Deny;
    let letters = rights::letters(content.mask, deny);
    if ace.is_object() || ace.is_conditional() || ace.effect() == Effect::Other {
        line.push_str(&format!("(type {:#04x})", ace.kind()));
    }
    if deny && letters != "N" {
        line.push_str("(DENY)");
    }
    line.push_str(&format!("({letters})"));
    line
}

/// The policy of an integrity label: no write up, no read up, no execute up.
fn label(mask: u32) -> String {
    let mut words = Vec::new();
    let mut left = mask;
    for (bit, word) in [(1, "NW"), (2, "NR"), (4, "NX")] {
        if left & bit != 0 {
            left &= !bit;
            words.push(word.to_owned());
        }
    }
    if left != 0 {
        words.push(format!("{left:#x}"));
    }
    words.join(",")
}
