// SPDX-License-Identifier: GPL-2.0-or-later
//! The list of users' profiles.
//!
//! Windows renames the key of a profile that it could not load to `<SID>.bak` and makes a new one; from then on
//! the user gets a temporary profile, or none.

use std::collections::HashSet;

use crate::edit::{Edit, HiveName};
use crate::volume::EntryKind;
use crate::windows::Reading;

use super::super::{Facts, Gathered, Problem, Severity, Stage, shown};
use super::{FIX, Found, SOURCE};

const LIST: &str = r"Microsoft\Windows NT\CurrentVersion\ProfileList";
const BACKUP: &str = ".bak";
const ASIDE: &str = ".old";
/// The bit of State that says: temporary.
const TEMPORARY_BIT: u32 = 0x8;

pub(super) const TWIN: Problem = Problem {
    id: "logon.profile-twin",
    title: "A user's profile was put aside",
    severity: Severity::Risk,
    stage: Stage::Session,
    trigger: "ProfileList has both a key of a user and the same with .bak.",
    cause: "Windows could not load the profile once, and gives the user a temporary one, or none, since.",
    fixes: &[FIX.name],
};

pub(super) const TWIN_LEFT: Problem = Problem {
    id: "logon.profile-twin-left",
    title: "A user's profile was put aside and cannot be put back",
    severity: Severity::Risk,
    stage: Stage::Session,
    trigger: "ProfileList has both a key of a user and the same with .bak, and one with .old too, or they cannot be copied.",
    cause: "Somebody has tried to repair this before. Decide which of the keys is right, and rename them by hand.",
    fixes: &[],
};

pub(super) const TEMPORARY: Problem = Problem {
    id: "logon.profile-temporary",
    title: "A user's profile is marked as temporary",
    severity: Severity::Risk,
    stage: Stage::Session,
    trigger: "State of a profile has the bit 0x8, and the profile's folder is there.",
    cause: "What the user does is thrown away at the end of the session.",
    fixes: &[FIX.name],
};

pub(super) const TEMPORARY_LEFT: Problem = Problem {
    id: "logon.profile-temporary-left",
    title: "A user's profile is marked as temporary and its folder is not found",
    severity: Severity::Risk,
    stage: Stage::Session,
    trigger: "State of a profile has the bit 0x8, and the profile's folder is not there or cannot be looked up.",
    cause: "Whether the user's files can be had elsewhere is for somebody to find out before the mark is taken away.",
    fixes: &[],
};

pub(super) fn judge(facts: &Facts<'_>) -> Found {
    let mut found = Found::default();
    let mut twin = Gathered::new(&TWIN, SOURCE);
    let mut twin_left = Gathered::new(&TWIN_LEFT, SOURCE);
    let mut temporary = Gathered::new(&TEMPORARY, SOURCE);
    let mut temporary_left = Gathered::new(&TEMPORARY_LEFT, SOURCE);
    let names = facts.registry().subkey_names(HiveName::Software, LIST);
    let known: HashSet<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let has = |wanted: &str| known.contains(&wanted.to_ascii_lowercase());
    for name in &names {
        let key = format!(r"{LIST}\{name}");
        if let Some(user) = without_ending(name, BACKUP) {
            if has(user) {
                let place = HiveName::Software.full_path(&key);
                let says = "a second key of this user".to_owned();
                let aside = format!("{user}{ASIDE}");
                match swap(facts, user, &key).filter(|_| !has(&aside)) {
                    Some(cure) => twin.add(true, place, says, "one key", cure),
                    None => twin_left.add(true, place, says, "one key", []),
                }
            }
            continue;
        }
        // The marks of a key that is about to be replaced, or that was put aside, do not count.
        if has(&format!("{name}{BACKUP}")) || without_ending(name, ASIDE).is_some() {
            continue;
        }
        let Reading::Found(state) = facts.software_dword(&key, "State") else {
            continue;
        };
        if state & TEMPORARY_BIT == 0 {
            continue;
        }
        let place = format!(r"{}\State", HiveName::Software.full_path(&key));
        let expected = "the bit 0x8 not set";
        match has_folder(facts, &key) {
            true => {
                let cure = settle(&key, state);
                temporary.add(true, place, shown(state), expected, cure);
            }
            false => temporary_left.add(true, place, shown(state), expected, []),
        }
    }
    found
        .gathered
        .extend([twin, twin_left, temporary, temporary_left]);
    found
}

fn without_ending<'a>(name: &'a str, ending: &str) -> Option<&'a str> {
    let (start, end) = name.split_at_checked(name.len().checked_sub(ending.len())?)?;
    (end.eq_ignore_ascii_case(ending) && !start.is_empty()).then_some(start)
}

/// State without its mark, and nobody using it.
fn settle(key: &str, state: u32) -> [Edit; 2] {
    [
        Edit::dword(HiveName::Software, key, "State", state & !TEMPORARY_BIT),
        Edit::dword(HiveName::Software, key, "RefCount", 0),
    ]
}

/// The edits that put the user's key aside and the one that ends in .bak in its place.
fn swap(facts: &Facts<'_>, user: &str, backup: &str) -> Option<Vec<Edit>> {
    let primary = format!(r"{LIST}\{user}");
    let state = facts.software_dword(backup, "State").found().unwrap_or(0);
    let move_key = |from: &str, to: &str| {
        let mut edits = facts.registry().copy_of_key(HiveName::Software, from, to)?;
        edits.push(Edit::DeleteKey {
            hive: HiveName::Software,
            key: from.to_owned(),
        });
        Some(edits)
    };
    let mut edits = move_key(&primary, &format!("{primary}{ASIDE}"))?;
    edits.extend(move_key(backup, &primary)?);
    edits.extend(settle(&primary, state));
    Some(edits)
}

/// Whether the profile's folder is certainly there.
fn has_folder(facts: &Facts<'_>, key: &str) -> bool {
    let place = facts
        .registry()
        .text(HiveName::Software, key, "ProfileImagePath");
    let path = place
        .found()
        .and_then(|place| facts.installation.on_volume(&place));
    let entry = path.and_then(|path| facts.installation.volume.entry(&path).ok().flatten());
    entry.is_some_and(|entry| entry.kind == EntryKind::Directory)
}
