// SPDX-License-Identifier: GPL-2.0-or-later
//! Putting back the copies of the registry that Windows has kept.
//!
//! ```text
//! config\SYSTEM        damaged    -> the content of RegBack\SYSTEM
//!                                    what it held: SYSTEM.coldfix-old
//! config\SYSTEM.LOG1   of the old -> SYSTEM.coldfix-old.LOG1
//! ```
//!
//! The logs go with the hive that they belong to. Beside the restored one they would be a danger: were it ever torn,
//! Windows would look into them for what completes it. Without any it makes new ones. A copy that needs logs of its own is
//! not used, because it is the file alone that is copied.

use jiff::{SignedDuration, Timestamp};

use crate::edit::{Edit, HiveName, windows_path};
use crate::error::{Error, Result};
use crate::hive::log::State;
use crate::windows::{HiveFile, Installation, from_filetime};

use super::{Facts, Fix, Proposal, hive_state, unknown_value};

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/windows-client/installing-updates-features-roles/system-registry-no-backed-up-regback-folder",
    "Azure/repair-script-library win-fix-registry-corruption",
    "EC2Rescue /restore:regback",
];

pub(super) const FIX: Fix = Fix {
    name: "registry-restore",
    values: "",
    title: "Put the copies of the registry that Windows has kept in the place of damaged hives",
    explanation: "Copies from System32\\config\\RegBack each hive that is missing, damaged, or not closed cleanly with its logs lost; SAM and SECURITY only together. A sound hive is never replaced, and a copy is used only when it is closed and sound, when its pair is too (SYSTEM and SOFTWARE, SAM and SECURITY), and when all of them are of the same day. What a hive held is kept beside it as NAME.coldfix-old, with its logs. Drivers, services and settings become those of the day of the copy; with SAM and SECURITY also the accounts, their passwords and the machine's own password, so that a member of a domain may have to join it again.",
    source: SOURCE,
    edits,
};

/// How far apart the files of two copies may have been written; ours. Windows makes them in one go, once in ten days.
const SAME_DAY: SignedDuration = SignedDuration::from_hours(24);
/// The endings of the logs beside a hive.
const LOGS: [&str; 3] = [".LOG", ".LOG1", ".LOG2"];
/// How many names are tried for what is kept.
const MOST_KEPT: u32 = 99;
/// The longest copy that is read; as for hives themselves.
const LONGEST: u64 = 1 << 30;

/// A copy that may be used.
struct Copy {
    path: String,
    content: Vec<u8>,
    written: Option<Timestamp>,
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    match value {
        None => restore(facts.installation),
        Some(other) => Err(unknown_value(&FIX, other)),
    }
}

/// What puts the copies back; nothing but files is looked at.
fn restore(installation: &Installation) -> Result<Proposal> {
    let lost = hive_state::lost(installation);
    let needs_it = |name: &HiveName| {
        lost.contains(name)
            || matches!(installation.registry.hive(*name), Ok(Some(file))
                if file.state == State::DirtyWithoutUsableLog)
    };
    let needing: Vec<HiveName> = HiveName::ALL.into_iter().filter(needs_it).collect();
    if needing.is_empty() {
        return Err(Error::refused(
            "no hive is missing or damaged, and a sound one is never replaced by an older copy",
            "`coldfix diagnose` tells what else is wrong",
        ));
    }
    // Each with its pair: the copies have to be of one backup, also where only one of the two is replaced.
    let mut copies: Vec<(HiveName, Copy)> = Vec::new();
    for name in HiveName::ALL {
        if needing.iter().any(|needing| pair(*needing).contains(&name)) {
            let copy = usable(installation, name)?;
            if let Some((first, known)) = copies.first() {
                check_same_day(*first, known, &copy)?;
            }
            copies.push((name, copy));
        }
    }
    let mut proposal = Proposal::default();
    let accounts = [HiveName::Sam, HiveName::Security];
    for (name, copy) in &copies {
        if !needing.contains(name) {
            if !accounts.contains(name) {
                continue;
            }
            proposal.notes.push(format!(
                "{} is replaced too: SAM and SECURITY belong together",
                name.file_name()
            ));
        }
        proposal.notes.push(format!(
            "{} becomes its copy, last written {}: what was changed later is not in it",
            name.file_name(),
            shown(copy.written)
        ));
        add(installation, *name, copy, &mut proposal)?;
    }
    if copies.iter().any(|(name, _)| accounts.contains(name)) {
        proposal.notes.push(
            "accounts, their passwords and the machine's own password become those of the day of the copies: a member \
             of a domain may have to join it again"
                .to_owned(),
        );
    }
    Ok(proposal)
}

/// The hives whose copies have to be there together.
pub(super) fn pair(name: HiveName) -> &'static [HiveName] {
    match name {
        HiveName::System | HiveName::Software => &[HiveName::System, HiveName::Software],
        HiveName::Sam | HiveName::Security => &[HiveName::Sam, HiveName::Security],
        HiveName::Default => &[HiveName::Default],
    }
}

fn config(installation: &Installation) -> String {
    format!("{}/System32/config", installation.directory)
}

fn shown(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "at no known time".to_owned(), |time| time.to_string())
}

/// The copy of a hive, or why it cannot be used.
fn usable(installation: &Installation, name: HiveName) -> Result<Copy> {
    let path = format!("{}/RegBack/{}", config(installation), name.file_name());
    let volume = installation.volume.as_ref();
    let unusable = |why: String| {
        Error::refused(
            format!("{} cannot be used: {why}", windows_path(&path)),
            "restore the hive from a snapshot or a backup of the disk; Windows 10 1803 and later keep no copies unless told to",
        )
    };
    let Some(file) = HiveFile::open(volume, &path).map_err(|error| unusable(error.to_string()))?
    else {
        return Err(unusable("there is no such file".to_owned()));
    };
    if file.state != State::Clean {
        return Err(unusable("it was not closed cleanly".to_owned()));
    }
    if let Some(fault) = file.faults().iter().find(|fault| fault.fatal) {
        return Err(unusable(format!("it is damaged: {fault}")));
    }
    // Not the time in the hive: newer releases of Windows leave it at 0.
    let written = volume.modified(&path)?.and_then(from_filetime);
    let content = volume.read(&path, LONGEST)?;
    Ok(Copy {
        path,
        content,
        written,
    })
}

fn check_same_day(name: HiveName, known: &Copy, copy: &Copy) -> Result<()> {
    let apart = known
        .written
        .zip(copy.written)
        .map(|(one, other)| one.duration_since(other).abs());
    if apart.is_some_and(|apart| apart <= SAME_DAY) {
        return Ok(());
    }
    Err(Error::refused(
        format!(
            "{} was written {}, the copy of {} {}: they are not of one backup",
            windows_path(&copy.path),
            shown(copy.written),
            name.file_name(),
            shown(known.written)
        ),
        "hives of different days do not fit each other; restore them from a snapshot or a backup of the disk",
    ))
}

/// The edits for one hive.
fn add(
    installation: &Installation,
    name: HiveName,
    copy: &Copy,
    proposal: &mut Proposal,
) -> Result<()> {
    let volume = installation.volume.as_ref();
    let config = config(installation);
    let place = |file: &str| format!("{config}/{file}");
    let logs: Vec<&str> = {
        let mut there = Vec::new();
        for log in LOGS {
            if volume
                .entry(&place(&format!("{}{log}", name.file_name())))?
                .is_some()
            {
                there.push(log);
            }
        }
        there
    };
    let mut kept = None;
    for number in 1..=MOST_KEPT {
        let number = match number {
            1 => String::new(),
            more => more.to_string(),
        };
        let candidate = format!("{}.coldfix-old{number}", name.file_name());
        let mut free = volume.entry(&place(&candidate))?.is_none();
        for log in &logs {
            free &= volume
                .entry(&place(&format!("{candidate}{log}")))?
                .is_none();
        }
        if free {
            kept = Some(candidate);
            break;
        }
    }
    let kept = kept.ok_or_else(|| {
        Error::refused(
            format!(
                "{} files named {}.coldfix-old are in {} already",
                MOST_KEPT,
                name.file_name(),
                windows_path(&config)
            ),
            "move them away first",
        )
    })?;
    proposal.edits.push(Edit::copy_file_and_keep(
        &copy.path,
        &place(name.file_name()),
        &copy.content,
        kept,
        logs.into_iter().map(str::to_owned).collect(),
    ));
    Ok(())
}
