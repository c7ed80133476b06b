// SPDX-License-Identifier: GPL-2.0-or-later
//! What one asks for when one changes permissions: grants, owners, and what a folder hands down.
//!
//! ```text
//! folder's entry     to a file          to a folder
//! (OI)               (I)                (I)(OI)(IO)
//! (CI)               -                  (I)(CI)
//! (OI)(CI)           (I)                (I)(OI)(CI)
//! with (NP)          as above           (I), nothing further down
//! ```
//! CREATOR OWNER, CREATOR GROUP and generic rights become the owner, the group and a file's rights where they
//! count, and stand beside that once more where they are to be handed down. Specification: [MS-DTYP] 2.5.3.4.
//! Not handled: entries for objects of one GUID, which files do not have, are not handed down.

use crate::error::{Error, Result};

use super::ace::{Ace, Effect, flag, kind};
use super::acl::Acl;
use super::descriptor::{AclField, Descriptor, control};
use super::names::Names;
use super::rights::{map_generic, parse_letters};
use super::sid::Sid;

/// The flags that say what is handed down, and how.
const HANDED_DOWN: u8 = flag::OBJECT_INHERIT | flag::CONTAINER_INHERIT;

/// An entry that somebody is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who.
    pub sid: Sid,
    /// The access mask.
    pub mask: u32,
    /// The flags that say who inherits it, see [`flag`]; files take none.
    pub flags: u8,
    /// In place of everything that the account was granted explicitly so far.
    pub replace: bool,
}

impl Grant {
    /// Reads `WHO:RIGHTS` as icacls spells it: `*S-1-5-20:R`, `BUILTIN\Users:(OI)(CI)(RX,W)`, `ann:(OI)(CI)F`.
    ///
    /// # Errors
    /// `Refused` when nobody is meant, for rights that are not known, for `(I)`, which only Windows gives, and for
    /// `(IO)` without `(OI)` or `(CI)`.
    pub fn parse(text: &str, names: &Names) -> Result<Grant> {
        let wrong = |what: &str| {
            Error::refused(
                format!("`{}`: {what}", text.escape_debug()),
                "write it as icacls does, such as 'NT AUTHORITY\\NETWORK SERVICE:R' or '*S-1-5-32-544:(OI)(CI)F'",
            )
        };
        let (who, mut rights) = text
            .split_once(':')
            .ok_or_else(|| wrong("no rights after a colon"))?;
        let mut flags = 0;
        while let Some((word, rest)) = rights
            .strip_prefix('(')
            .and_then(|text| text.split_once(')'))
        {
            let bit = match word.to_ascii_uppercase().as_str() {
                "OI" => flag::OBJECT_INHERIT,
                "CI" => flag::CONTAINER_INHERIT,
                "IO" => flag::INHERIT_ONLY,
                "NP" => flag::NO_PROPAGATE,
                "I" => return Err(wrong("(I) marks what is inherited and cannot be given")),
                _ => break,
            };
            flags |= bit;
            rights = rest;
        }
        if rights.is_empty() {
            return Err(wrong("no rights"));
        }
        if flags & flag::INHERIT_ONLY != 0 && flags & HANDED_DOWN == 0 {
            return Err(wrong("(IO) needs (OI) or (CI)"));
        }
        Ok(Grant {
            sid: names.find(who)?,
            mask: parse_letters(rights, false)?,
            flags,
            replace: false,
        })
    }
}

/// The descriptor with the grant merged into it, as `icacls /grant` does: an explicit allow entry of the account with
/// the same flags gets the rights too, else a new entry comes before the other explicit allow entries. Denies stay.
///
/// # Errors
/// `Refused` where there is no DACL: everyone may do everything, and an entry would take that away.
pub fn grant(descriptor: &Descriptor, grant: &Grant, is_folder: bool) -> Result<Descriptor> {
    let Some(acl) = descriptor.dacl.acl() else {
        return Err(Error::refused(
            "it has no access control list: everyone may do everything, and a grant would take that away",
            "give it one first, with `coldfix acl reset`",
        ));
    };
    let flags = if is_folder { grant.flags } else { 0 };
    let mut aces = acl.aces.clone();
    let is_theirs = |ace: &Ace| {
        ace.kind() == kind::ALLOWED
            && !ace.is_inherited()
            && ace
                .content()
                .is_some_and(|content| content.sid == grant.sid)
    };
    if grant.replace {
        aces.retain(|ace| !is_theirs(ace));
    }
    let present = aces
        .iter_mut()
        .find(|ace| is_theirs(ace) && ace.flags == flags);
    match present {
        Some(ace) => {
            let mask = ace.content().map_or(0, |content| content.mask) | grant.mask;
            *ace = Ace::new(kind::ALLOWED, flags, mask, &grant.sid)?;
        }
        None => {
            let place = aces
                .iter()
                .position(|ace| ace.is_inherited() || ace.effect() != Effect::Deny);
            let ace = Ace::new(kind::ALLOWED, flags, grant.mask, &grant.sid)?;
            aces.insert(place.unwrap_or(aces.len()), ace);
        }
    }
    Ok(with_entries(descriptor, aces))
}

/// Whether an entry denies this account something.
pub fn denies(ace: &Ace, who: &Sid) -> bool {
    ace.effect() == Effect::Deny && ace.content().is_some_and(|content| content.sid == *who)
}

/// The descriptor without the entries that deny this account something: its own ones, or those that it inherited.
pub fn remove_denies(descriptor: &Descriptor, who: &Sid, inherited: bool) -> Descriptor {
    let Some(acl) = descriptor.dacl.acl() else {
        return descriptor.clone();
    };
    let mut aces = acl.aces.clone();
    aces.retain(|ace| !(denies(ace, who) && ace.is_inherited() == inherited));
    with_entries(descriptor, aces)
}

/// The descriptor with another owner.
pub fn set_owner(descriptor: &Descriptor, owner: &Sid) -> Descriptor {
    Descriptor {
        owner: Some(owner.clone()),
        control: descriptor.control & !control::OWNER_DEFAULTED,
        ..descriptor.clone()
    }
}

/// The descriptor with nothing but what the folder above hands down, as `icacls /reset` does.
pub fn reset(descriptor: &Descriptor, parent: &Descriptor, is_folder: bool) -> Descriptor {
    let mut fresh = with_entries(descriptor, handed_down(parent, descriptor, is_folder));
    fresh.control &= !(control::DACL_PROTECTED | control::DACL_DEFAULTED);
    fresh.control |= control::DACL_AUTO_INHERITED;
    fresh
}

/// The descriptor with its inherited entries made anew from the folder above; `None` when it takes nothing from
/// there (protected, or without a DACL).
pub fn inherit_again(
    descriptor: &Descriptor,
    parent: &Descriptor,
    is_folder: bool,
) -> Option<Descriptor> {
    let acl = descriptor.dacl.acl()?;
    if descriptor.control & control::DACL_PROTECTED != 0 {
        return None;
    }
    let explicit = acl.aces.iter().filter(|ace| !ace.is_inherited()).cloned();
    let inherited = handed_down(parent, descriptor, is_folder);
    let mut fresh = with_entries(descriptor, explicit.chain(inherited).collect());
    fresh.control |= control::DACL_AUTO_INHERITED;
    Some(fresh)
}

/// Whether a folder hands down the same under both descriptors.
pub fn hands_down_the_same(one: &Descriptor, other: &Descriptor) -> bool {
    let inheritable = |descriptor: &Descriptor| -> Vec<Ace> {
        let aces = descriptor.dacl.acl().map(|acl| acl.aces.as_slice());
        let aces = aces.unwrap_or_default().iter();
        aces.filter(|ace| ace.flags & HANDED_DOWN != 0)
            .cloned()
            .map(|mut ace| {
                // Where the folder has it from is not handed down.
                ace.flags &= !flag::INHERITED;
                ace
            })
            .collect()
    };
    inheritable(one) == inheritable(other)
}

fn with_entries(descriptor: &Descriptor, aces: Vec<Ace>) -> Descriptor {
    Descriptor {
        dacl: AclField::Present(Acl::new(aces)),
        control: descriptor.control | control::DACL_PRESENT,
        ..descriptor.clone()
    }
}

/// What `child` (a folder or a file) gets from the DACL of the folder above it.
fn handed_down(parent: &Descriptor, child: &Descriptor, is_folder: bool) -> Vec<Ace> {
    let aces = parent.dacl.acl().map(|acl| acl.aces.as_slice());
    let mut inherited = Vec::new();
    for ace in aces.unwrap_or_default() {
        if ace.effect() == Effect::Other || ace.is_object() {
            continue;
        }
        let to_files = ace.flags & flag::OBJECT_INHERIT != 0;
        let to_folders = ace.flags & flag::CONTAINER_INHERIT != 0;
        let further = match ace.flags & flag::NO_PROPAGATE {
            0 if is_folder => ace.flags & HANDED_DOWN,
            _ => 0,
        };
        let kept = ace.flags & !(HANDED_DOWN | flag::NO_PROPAGATE | flag::INHERIT_ONLY);
        let own = kept | flag::INHERITED;
        let with_flags = |flags| {
            let mut copy = ace.clone();
            copy.flags = flags;
            copy
        };
        if (is_folder && to_folders) || (!is_folder && to_files) {
            match counting(ace, child, own) {
                // The folder's own entry says who; what goes further down must still say "the creator".
                Some(counting) => {
                    inherited.push(counting);
                    if further != 0 {
                        inherited.push(with_flags(own | further | flag::INHERIT_ONLY));
                    }
                }
                None => inherited.push(with_flags(own | further)),
            }
        } else if further != 0 {
            inherited.push(with_flags(own | further | flag::INHERIT_ONLY));
        }
    }
    inherited
}

/// The entry as it counts for `child`, where that differs from how it is handed down.
fn counting(ace: &Ace, child: &Descriptor, flags: u8) -> Option<Ace> {
    if ace.is_conditional() {
        return None;
    }
    let content = ace.content()?;
    let creator = |rid: u32| Sid::new(3, &[rid]).is_some_and(|creator| creator == content.sid);
    let sid = match (creator(0), creator(1)) {
        (true, _) => child.owner.clone()?,
        (_, true) => child.group.clone()?,
        _ => content.sid.clone(),
    };
    let mask = map_generic(content.mask);
    if sid == content.sid && mask == content.mask {
        return None;
    }
    Ace::new(ace.kind(), flags, mask, &sid).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::sddl;

    fn read(text: &str) -> Descriptor {
        sddl::parse(text, None).unwrap()
    }

    fn shown(descriptor: &Descriptor) -> String {
        sddl::format(descriptor, None).unwrap()
    }

    fn granted(text: &str, sid: &str, mask: u32, flags: u8) -> String {
        let wanted = Grant {
            sid: sid.parse().unwrap(),
            mask,
            flags,
            replace: false,
        };
        shown(&grant(&read(text), &wanted, true).unwrap())
    }

    #[test]
    fn grants_merge_into_what_is_there() {
        // New: behind the denies, before the other grants.
        assert_eq!(
            granted(
                "D:PAI(D;;FR;;;AN)(A;;FA;;;BA)(A;ID;FR;;;WD)",
                "S-1-5-20",
                0x12_0089,
                0
            ),
            "D:PAI(D;;FR;;;AN)(A;;FR;;;NS)(A;;FA;;;BA)(A;ID;FR;;;WD)"
        );
        // The same account with the same flags: one entry.
        assert_eq!(
            granted("D:(A;;FR;;;NS)(A;OICI;FR;;;NS)", "S-1-5-20", 0x12_0116, 0),
            "D:(A;;0x12019f;;;NS)(A;OICI;FR;;;NS)"
        );
        // An inherited one is not merged into; an empty list takes it.
        assert_eq!(
            granted("D:AI(A;ID;FA;;;SY)", "S-1-5-18", 0x1f_01ff, 0),
            "D:AI(A;;FA;;;SY)(A;ID;FA;;;SY)"
        );
        assert_eq!(
            granted("D:P", "S-1-5-18", 0x1f_01ff, 3),
            "D:P(A;OICI;FA;;;SY)"
        );
        let wanted = Grant {
            sid: "S-1-5-18".parse().unwrap(),
            mask: 1,
            flags: 3,
            replace: true,
        };
        let replaced = grant(&read("D:(A;OICI;FA;;;SY)(A;;FR;;;SY)"), &wanted, false);
        assert_eq!(shown(&replaced.unwrap()), "D:(A;;CC;;;SY)");
        assert!(grant(&read("D:NO_ACCESS_CONTROL"), &wanted, false).is_err());
        assert!(grant(&read("O:SY"), &wanted, false).is_err());
    }

    #[test]
    fn folders_hand_down() {
        let parent = read(
            "D:P(A;OICI;FA;;;SY)(A;CI;FR;;;BU)(A;OI;FR;;;AU)(A;OICINP;FW;;;BG)(A;;FA;;;BA)(A;OICIIO;GA;;;CO)",
        );
        let child = read("O:S-1-5-21-1-2-3-500G:BAD:P(A;;FR;;;WD)");
        assert_eq!(
            shown(&reset(&child, &parent, true)),
            "O:S-1-5-21-1-2-3-500G:BAD:AI(A;OICIID;FA;;;SY)(A;CIID;FR;;;BU)(A;OIIOID;FR;;;AU)(A;ID;FW;;;BG)\
             (A;ID;FA;;;S-1-5-21-1-2-3-500)(A;OICIIOID;GA;;;CO)"
        );
        assert_eq!(
            shown(&reset(&child, &parent, false)),
            "O:S-1-5-21-1-2-3-500G:BAD:AI(A;ID;FA;;;SY)(A;ID;FR;;;AU)(A;ID;FW;;;BG)\
             (A;ID;FA;;;S-1-5-21-1-2-3-500)"
        );
        assert_eq!(inherit_again(&child, &parent, false), None);
        let open = read("O:SYD:AI(D;;FR;;;AN)(A;ID;FR;;;WD)");
        assert_eq!(
            shown(&inherit_again(&open, &read("D:(A;OI;GR;;;BU)"), false).unwrap()),
            "O:SYD:AI(D;;FR;;;AN)(A;ID;FR;;;BU)"
        );
    }

    #[test]
    fn grants_are_spelt_as_for_icacls() {
        let names = Names::new();
        let read = |text| {
            let grant = Grant::parse(text, &names).unwrap();
            (grant.sid.to_string(), grant.mask, grant.flags)
        };
        let network = "S-1-5-20".to_owned();
        assert_eq!(read("NETWORK SERVICE:R"), (network.clone(), 0x12_0089, 0));
        assert_eq!(
            read(r"nt authority\network service:(R)"),
            (network, 0x12_0089, 0)
        );
        assert_eq!(
            read("*S-1-5-32-544:(oi)(CI)f"),
            ("S-1-5-32-544".to_owned(), 0x1f_01ff, 3)
        );
        assert_eq!(
            read("Everyone:(OI)(IO)(D,WDAC)"),
            ("S-1-1-0".to_owned(), 0x5_0000, 9)
        );
        for wrong in [
            "Everyone",
            "Everyone:",
            "Everyone:(I)F",
            "Everyone:(IO)F",
            "x:F",
            "Everyone:Q",
        ] {
            assert!(Grant::parse(wrong, &names).is_err(), "{wrong}");
        }
    }

    #[test]
    fn owners() {
        let owner = "S-1-5-32-544".parse().unwrap();
        assert_eq!(
            shown(&set_owner(&read("O:SYG:SYD:P"), &owner)),
            "O:BAG:SYD:P"
        );
    }
}
