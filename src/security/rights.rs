// SPDX-License-Identifier: GPL-2.0-or-later
//! What access masks of files mean: icacls' letters, the canonical order of entries, effective rights.
//!
//! ```text
//! 31 GR  30 GW  29 GE  28 GA | 25 MA  24 AS | 20 S  19 WO  18 WDAC  17 Rc  16 D | 15..0 of the file
//! ```
//! Specification: [MS-DTYP] 2.4.3, 2.5.3; the letters are those of icacls. Not handled: conditions (an allow
//! entry with one is taken as not met, a deny entry as met) and what the owner may always do.

use crate::error::{Error, Result};

use super::ace::{Ace, Effect};
use super::acl::Acl;
use super::descriptor::AclField;
use super::names::from_letters;
use super::sid::{Sid, number};

/// Everything (F).
pub const FULL: u32 = 0x001f_01ff;
/// Read, write, run and delete (M).
pub const MODIFY: u32 = 0x0013_01bf;
/// Read and run (RX).
pub const READ_EXECUTE: u32 = 0x0012_00a9;
/// Read (R).
pub const READ: u32 = 0x0012_0089;
/// Write (W), as icacls understands it: without reading the descriptor.
pub const WRITE: u32 = 0x0010_0116;
/// Waiting for the handle (S). icacls leaves it out of deny entries.
pub const SYNCHRONIZE: u32 = 0x0010_0000;

const SIMPLE: [(&str, u32); 5] = [
    ("F", FULL),
    ("M", MODIFY),
    ("RX", READ_EXECUTE),
    ("R", READ),
    ("W", WRITE),
];

const SPECIFIC: [(&str, u32); 20] = [
    ("D", 0x0001_0000),
    ("Rc", 0x0002_0000),
    ("WDAC", 0x0004_0000),
    ("WO", 0x0008_0000),
    ("S", SYNCHRONIZE),
    ("AS", 0x0100_0000),
    ("MA", 0x0200_0000),
    ("GR", 0x8000_0000),
    ("GW", 0x4000_0000),
    ("GE", 0x2000_0000),
    ("GA", 0x1000_0000),
    ("RD", 0x1),
    ("WD", 0x2),
    ("AD", 0x4),
    ("REA", 0x8),
    ("WEA", 0x10),
    ("X", 0x20),
    ("DC", 0x40),
    ("RA", 0x80),
    ("WA", 0x100),
];

/// A simple right's mask in an allow or a deny entry.
fn simple(mask: u32, deny: bool) -> u32 {
    if deny { mask & !SYNCHRONIZE } else { mask }
}

/// The letters for a mask as icacls shows them between parentheses: `M,DC`. Bits without letters follow as
/// one hex number, which icacls does not show. A full deny is `N`. Nothing at all is the empty text.
pub fn letters(mask: u32, deny: bool) -> String {
    if deny && (mask == FULL || mask == simple(FULL, true)) {
        return "N".into();
    }
    let mut words = Vec::new();
    let mut left = mask;
    let mut reading = false;
    for (word, bits) in SIMPLE {
        // F and M hold all the others; RX holds R; W stands beside each reading.
        let useful = word == "W" || !reading;
        let small = simple(bits, deny);
        if !useful || mask & small != small || left & small == 0 {
            continue;
        }
        reading = word != "W";
        // With S where it is there, else without.
        left &= !(bits & mask);
        words.push(word.to_owned());
    }
    for (word, bit) in SPECIFIC {
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

/// The mask for letters separated by commas, any case, parentheses around them or not: `RX`, `(D,WDAC)`, `N`
/// (nothing), `0x200`. A simple right of a deny entry has no S.
///
/// # Errors
/// `Refused` for letters that are not known.
pub fn parse_letters(text: &str, deny: bool) -> Result<u32> {
    let inner = text
        .strip_prefix('(')
        .and_then(|text| text.strip_suffix(')'));
    let mut mask = 0;
    for word in inner.unwrap_or(text).split(',') {
        let is = |name: &str| name.eq_ignore_ascii_case(word);
        let found = |rights: &[(&str, u32)]| {
            rights
                .iter()
                .find(|(name, _)| is(name))
                .map(|right| right.1)
        };
        mask |= if is("N") {
            0
        } else if is("DE") {
            0x0001_0000
        } else if let Some(bits) = found(&SIMPLE) {
            simple(bits, deny)
        } else if let Some(bits) = found(&SPECIFIC) {
            bits
        } else if let Some(bits) = hex(word) {
            bits
        } else {
            return Err(Error::refused(
                format!("`{}` is not a right", word.escape_debug()),
                "rights are F, M, RX, R, W, N, or (D,Rc,WDAC,WO,S,AS,MA,GR,GW,GE,GA,RD,WD,AD,REA,WEA,X,DC,RA,WA)",
            ));
        };
    }
    Ok(mask)
}

fn hex(word: &str) -> Option<u32> {
    word.get(..2)
        .filter(|prefix| prefix.eq_ignore_ascii_case("0x"))?;
    u32::try_from(number(word)?).ok()
}

/// The mask with a file's rights in place of the generic ones.
pub fn map_generic(mask: u32) -> u32 {
    const GENERIC: [(u32, u32); 4] = [
        (0x8000_0000, READ),
        (0x4000_0000, 0x0012_0116),
        (0x2000_0000, 0x0012_00a0),
        (0x1000_0000, FULL),
    ];
    let mut mapped = mask;
    for (bit, rights) in GENERIC {
        if mask & bit != 0 {
            mapped = mapped & !bit | rights;
        }
    }
    mapped
}

/// Where an entry belongs: explicit deny, explicit allow, inherited deny, inherited allow. Entries that
/// neither grant nor deny count as allowing.
fn rank(ace: &Ace) -> (bool, bool) {
    (ace.is_inherited(), ace.effect() != Effect::Deny)
}

/// Whether the entries are in canonical order. Among the inherited ones the order of the generations
/// cannot be seen, so there a deny after an allow may be in order: this says false only where no
/// inheritance gives the order.
pub fn is_canonical(acl: &Acl) -> bool {
    acl.aces.iter().map(rank).is_sorted_by(|one, next| {
        // Parent's entries come before grandparent's, each with its denies first.
        one <= next || (one.0 && next.0)
    })
}

/// Puts the explicit entries first, among them the denying ones; otherwise the order stays, also that of
/// the inherited entries.
pub fn make_canonical(acl: &mut Acl) {
    acl.aces.sort_by_key(|ace| {
        let (inherited, allows) = rank(ace);
        (inherited, !inherited && allows)
    });
}

/// What a token may do with a file: the union of what the allow entries grant it, without everything that
/// any deny entry takes from it, wherever that stands. `token` is the account and all its groups, see
/// [`token`].
///
/// Entries for those who inherit only do not count; conditional allow entries and those for objects of
/// one GUID do not count, while such deny entries do. Without a DACL everything is granted. What results
/// is the least that Windows grants; what an owner may always do comes on top.
pub fn effective(dacl: &AclField, token: &[Sid]) -> u32 {
    let Some(acl) = dacl.acl() else { return FULL };
    let mut allowed = 0;
    let mut denied = 0;
    for ace in acl.aces.iter().filter(|ace| !ace.is_inherit_only()) {
        let Some(content) = ace.content() else {
            continue;
        };
        if !token.contains(&content.sid) {
            continue;
        }
        let mask = map_generic(content.mask);
        match ace.effect() {
            Effect::Deny => denied |= mask,
            Effect::Allow if !ace.is_conditional() && content.object_type.is_none() => {
                allowed |= mask;
            }
            Effect::Allow | Effect::Other => {}
        }
    }
    allowed & !denied
}

/// The account itself and the groups that Windows puts it into by itself: Everyone and Authenticated Users;
/// for SYSTEM the Administrators; for LOCAL SERVICE and NETWORK SERVICE also Users, SERVICE, LOCAL and This
/// Organization, which their service processes have. Memberships that are set up are the caller's.
pub fn token(sid: &Sid) -> Vec<Sid> {
    let mut token = vec![sid.clone()];
    let is = |letters| from_letters(letters, None).is_ok_and(|known| known == *sid);
    if is("AN") {
        return token;
    }
    let mut groups = vec!["WD", "AU"];
    if is("SY") {
        groups.push("BA");
    } else if is("LS") || is("NS") {
        groups.extend(["BU", "SU"]);
        token.extend(Sid::new(2, &[0]));
        token.extend(Sid::new(5, &[15]));
    }
    token.extend(
        groups
            .into_iter()
            .filter_map(|group| from_letters(group, None).ok()),
    );
    token
}
