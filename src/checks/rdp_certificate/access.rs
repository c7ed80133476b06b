// SPDX-License-Identifier: GPL-2.0-or-later
//! Whether Windows may change the store of Remote Desktop's certificates.
//!
//! ```text
//! SystemCertificates                      shared by all stores: what it hands down is not ours to change
//!   Remote Desktop                        judged
//!     Certificates                        judged
//!       <SHA-1>                           what it inherits goes with the entry above
//! ```
//! Offline nobody passes a change on to the keys below, as Windows' own tools do; so it is done here.

use crate::edit::{Edit, HexBytes, HiveName};
use crate::security::ace::{Effect, flag};
use crate::security::{Ace, Descriptor, Sid, change, sddl};
use crate::windows::certificates::REMOTE_DESKTOP;
use crate::windows::{Registry, value};

use super::super::{Evidence, EvidenceKind, Facts, Finding};
use super::SOURCE;
use super::problems::{STORE_DENIED, STORE_DENIED_ABOVE, STORE_UNREADABLE};

/// Set values, create subkeys: what making a certificate needs.
const CHANGE: u32 = 0x0006;
/// Ours: no store has as many keys.
const MOST_KEYS: usize = 20_000;
const EXPECTED: &str = "no entry that denies SYSTEM (SY) 0x6";

/// SYSTEM.
fn system() -> Option<Sid> {
    Sid::new(5, &[18])
}

/// Entries that deny SYSTEM something, own or inherited ones.
fn denies<'d>(descriptor: &'d Descriptor, who: &Sid, inherited: bool) -> Vec<&'d Ace> {
    let aces = descriptor.dacl.acl().map(|acl| acl.aces.as_slice());
    let aces = aces.unwrap_or_default().iter();
    aces.filter(|ace| change::denies(ace, who) && ace.is_inherited() == inherited)
        .collect()
}

/// Whether what the keys below inherit of SYSTEM's denies comes from this key's own entries, and so goes with them.
fn hands_down(own: &[&Ace], from_above: &[&Ace]) -> bool {
    let passes_on = |ace: &&Ace| ace.flags & flag::CONTAINER_INHERIT != 0;
    own.iter().any(|ace| counts_here(ace))
        && own.iter().any(passes_on)
        && !from_above.iter().any(passes_on)
}

/// Whether an entry takes away the right to change this key itself.
fn counts_here(ace: &Ace) -> bool {
    ace.effect() == Effect::Deny
        && ace.flags & flag::INHERIT_ONLY == 0
        && ace
            .content()
            .is_some_and(|content| content.mask & CHANGE != 0)
}

fn evidence(key: &str, found: String, expected: &str) -> Evidence {
    Evidence {
        kind: EvidenceKind::Security,
        location: HiveName::Software.full_path(key),
        found,
        expected: expected.to_owned(),
    }
}

fn shown(descriptor: &Descriptor) -> String {
    sddl::format(descriptor, None).unwrap_or_else(|error| error.to_string())
}

/// The findings; those of denies carry their cure.
pub(super) fn judge(facts: &Facts<'_>) -> Vec<Finding> {
    let registry = facts.registry();
    let Some(system) = system() else {
        return Vec::new();
    };
    let mut denied = STORE_DENIED.found(SOURCE, Vec::new());
    let mut above = STORE_DENIED_ABOVE.found(SOURCE, Vec::new());
    let mut unreadable = STORE_UNREADABLE.found(SOURCE, Vec::new());
    let mut covered = false;
    for key in judged() {
        let descriptor = match registry.key_security(HiveName::Software, &key) {
            Ok(Some(descriptor)) => descriptor,
            // Windows makes a store that is not there.
            Ok(None) => continue,
            Err(why) => {
                unreadable
                    .evidence
                    .push(evidence(&key, why, "permissions that can be read"));
                continue;
            }
        };
        let own = denies(&descriptor, &system, false);
        let from_above = denies(&descriptor, &system, true);
        if own.iter().any(|ace| counts_here(ace)) {
            denied
                .evidence
                .push(evidence(&key, shown(&descriptor), EXPECTED));
        }
        if !covered && from_above.iter().any(|ace| counts_here(ace)) {
            above
                .evidence
                .push(evidence(&key, shown(&descriptor), EXPECTED));
        }
        covered |= hands_down(&own, &from_above);
    }
    if !denied.evidence.is_empty() {
        match lift(registry) {
            Ok(edits) => denied.cure = edits,
            Err(why) => unreadable.evidence.push(evidence(
                REMOTE_DESKTOP,
                why,
                "keys whose permissions can be read",
            )),
        }
    }
    [denied, above, unreadable]
        .into_iter()
        .filter(|finding| !finding.evidence.is_empty())
        .collect()
}

/// The keys that are judged.
fn judged() -> [String; 2] {
    [
        REMOTE_DESKTOP.to_owned(),
        format!(r"{REMOTE_DESKTOP}\Certificates"),
    ]
}

/// The edits that remove every deny of SYSTEM that the two keys have of their own, where one of them counts, and what
/// the keys below inherit from these.
///
/// # Errors
/// Why permissions cannot be read, in plain words; then nothing is to be changed.
pub(super) fn lift(registry: &Registry) -> Result<Vec<Edit>, String> {
    let Some(system) = system() else {
        return Ok(Vec::new());
    };
    let mut edits = Vec::new();
    // By the key whose entry they come from: what the keys below it have inherited.
    let mut handed_down: Option<String> = None;
    for key in judged() {
        let Some(descriptor) = registry.key_security(HiveName::Software, &key)? else {
            continue;
        };
        let own = denies(&descriptor, &system, false);
        if !own.iter().any(|ace| counts_here(ace)) {
            continue;
        }
        let from_above = denies(&descriptor, &system, true);
        if handed_down.is_none() && hands_down(&own, &from_above) {
            handed_down = Some(key.clone());
        }
        edits.push((key, change::remove_denies(&descriptor, &system, false)));
    }
    if let Some(top) = handed_down {
        for key in below(registry, &top)? {
            let done = edits.iter().position(|(known, _)| *known == key);
            let now = match done.and_then(|place| edits.get(place)) {
                Some((_, changed)) => changed.clone(),
                None => match registry.key_security(HiveName::Software, &key)? {
                    Some(now) => now,
                    None => continue,
                },
            };
            if denies(&now, &system, true).is_empty() {
                continue;
            }
            let changed = change::remove_denies(&now, &system, true);
            match done.and_then(|place| edits.get_mut(place)) {
                Some(known) => known.1 = changed,
                None => edits.push((key, changed)),
            }
        }
    }
    edits
        .into_iter()
        .map(|(key, descriptor)| {
            Ok(Edit::SetKeySecurity {
                hive: HiveName::Software,
                key,
                descriptor: HexBytes(descriptor.to_bytes().map_err(|error| error.to_string())?),
            })
        })
        .collect()
}

/// Every key below one of SOFTWARE.
fn below(registry: &Registry, top: &str) -> Result<Vec<String>, String> {
    let wrong = |error: crate::error::Error| error.to_string();
    let file = registry.hive(HiveName::Software);
    let Some(file) = file.map_err(ToString::to_string)? else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    let mut pending = Vec::new();
    if let Some(key) = file.hive.key(top).map_err(wrong)? {
        pending.push((key, top.to_owned()));
    }
    while let Some((key, path)) = pending.pop() {
        for subkey in key.subkeys().map_err(wrong)? {
            let Some(name) = value::exact_name(subkey.name()) else {
                return Err(format!("a key below {path} has a name that is no text"));
            };
            if found.len() >= MOST_KEYS {
                return Err(format!("there are more than {MOST_KEYS} keys below {top}"));
            }
            let path = format!(r"{path}\{name}");
            found.push(path.clone());
            pending.push((subkey, path));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Descriptor {
        sddl::parse(text, None).unwrap()
    }

    #[test]
    fn what_counts_as_a_deny() {
        let counts = |text: &str, inherited| {
            let read = read(text);
            denies(&read, &system().unwrap(), inherited)
                .into_iter()
                .any(counts_here)
        };
        for own in [
            "D:(D;;0x2;;;SY)",
            "D:(D;CI;0x4;;;SY)(A;;KA;;;SY)",
            "D:PAI(A;;KA;;;SY)(D;;KA;;;SY)",
            "D:(OD;;0x6;ab721a53-1e2f-11d0-9819-00aa0040529b;;SY)",
        ] {
            assert!(counts(own, false), "{own}");
            assert!(!counts(own, true), "{own}");
        }
        for none in [
            "D:",
            "D:NO_ACCESS_CONTROL",
            "O:SYG:SY",
            "D:(D;;0x20019;;;SY)",
            "D:(D;;0x6;;;BA)(D;;0x6;;;WD)",
            "D:(D;CIIO;0x6;;;SY)",
            "D:(A;;KR;;;SY)",
        ] {
            assert!(!counts(none, false) && !counts(none, true), "{none}");
        }
        assert!(counts("D:(D;CIID;0x6;;;SY)", true));
        assert!(!counts("D:(D;CIID;0x6;;;SY)", false));
    }

    #[test]
    fn what_is_inherited_goes_only_with_its_origin() {
        let down = |text: &str| {
            let read = read(text);
            let system = system().unwrap();
            hands_down(
                &denies(&read, &system, false),
                &denies(&read, &system, true),
            )
        };
        assert!(down("D:(D;CI;0x6;;;SY)(A;CI;KA;;;SY)"));
        assert!(down("D:(D;;0x6;;;SY)(D;CIIO;0x6;;;SY)"));
        assert!(!down("D:(D;;0x6;;;SY)"));
        assert!(!down("D:(D;CI;0x10000;;;SY)"));
        assert!(!down("D:(D;CI;0x6;;;SY)(D;CIID;0x2;;;SY)"));
    }

    #[test]
    fn everything_else_stays() {
        let before = read(
            "O:BAG:SYD:PAI(D;;0x10000;;;SY)(D;;0x6;;;BG)(D;;0x6;;;SY)(A;;KA;;;SY)S:(AU;SA;KA;;;WD)",
        );
        let after = change::remove_denies(&before, &system().unwrap(), false);
        assert_eq!(
            sddl::format(&after, None).unwrap(),
            "O:BAG:SYD:PAI(D;;DCLC;;;BG)(A;;KA;;;SY)S:(AU;SA;KA;;;WD)"
        );
        let null = read("D:NO_ACCESS_CONTROL");
        assert_eq!(
            change::remove_denies(&null, &system().unwrap(), false),
            null
        );
    }
}
