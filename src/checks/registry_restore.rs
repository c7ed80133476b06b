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

use super::{Facts, Fix, Proposal, unknown_value};

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/windows-client/installing-updates-features-roles/system-registry-no-backed-up-regback-folder",
    "Azure/repair-script-library win-fix-registry-corruption",
    "EC2Rescue /restore:regback",
];

pub(super) const FIX: Fix = Fix {
    name: "registry-restore",
    values: "",
    title: "Put the copies of the registry that Windows has kept in the place of damaged hives",
    explanation: "Copies from System32\\config\\RegBack each hive that is missing, damaged, or not closed cleanly with its logs lost; SAM and SECURITY only together. A sound hive is never replaced, and a copy is used only when it is closed, sound, and of the same day as the copies of SYSTEM and SOFTWARE, which must both be there. What a hive held is kept beside it as NAME.coldfix-old, with its logs. Drivers, services and settings become those of the day of the copy; with SAM and SECURITY also the accounts, their passwords and the machine's own password, so that a member of a domain may have to join it again.",
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
    let mut wanted: Vec<HiveName> = HiveName::ALL
        .into_iter()
        .filter(|name| needs_it(installation, *name))
        .collect();
    if wanted.is_empty() {
        return Err(Error::refused(
            "no hive is missing or damaged, and a sound one is never replaced by an older copy",
            "`coldfix diagnose` tells what else is wrong",
        ));
    }
    let pair = [HiveName::Sam, HiveName::Security];
    let mut proposal = Proposal::default();
    if wanted.iter().any(|name| pair.contains(name)) {
        for name in pair {
            if !wanted.contains(&name) {
                wanted.push(name);
                proposal.notes.push(format!(
                    "{} is replaced too: SAM and SECURITY belong together",
                    name.file_name()
                ));
            }
        }
        proposal.notes.push(
            "accounts, their passwords and the machine's own password become those of the day of the copies: a member \
             of a domain may have to join it again"
                .to_owned(),
        );
    }
    // The core has to be there even where only something else is replaced: by it the copies are judged.
    let core = [HiveName::System, HiveName::Software];
    let core = core.map(|name| usable(installation, name));
    let [system, software] = core;
    let (system, software) = (system?, software?);
    let core_written = system.written;
    check_same_day(core_written, &software)?;
    let (mut system, mut software) = (Some(system), Some(software));
    for name in wanted {
        let already = match name {
            HiveName::System => system.take(),
            HiveName::Software => software.take(),
            HiveName::Sam | HiveName::Security | HiveName::Default => None,
        };
        let copy = match already {
            Some(copy) => copy,
            None => usable(installation, name)?,
        };
        check_same_day(core_written, &copy)?;
        let when = copy
            .written
            .map_or_else(|| "at no known time".to_owned(), |time| time.to_string());
        proposal.notes.push(format!(
            "{} becomes its copy, last written {when}: what was changed later is not in it",
            name.file_name()
        ));
        add(installation, name, &copy, &mut proposal)?;
    }
    Ok(proposal)
}

/// Whether a hive is such that Windows could do nothing with it.
fn needs_it(installation: &Installation, name: HiveName) -> bool {
    match installation.registry.hive(name) {
        Ok(Some(file)) => {
            file.state == State::DirtyWithoutUsableLog
                || file.faults().iter().any(|fault| fault.fatal)
        }
        Ok(None) | Err(_) => true,
    }
}

fn config(installation: &Installation) -> String {
    format!("{}/System32/config", installation.directory)
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

fn check_same_day(core: Option<Timestamp>, copy: &Copy) -> Result<()> {
    let apart = core
        .zip(copy.written)
        .map(|(one, other)| one.duration_since(other).abs());
    if apart.is_some_and(|apart| apart <= SAME_DAY) {
        return Ok(());
    }
    let shown = |time: Option<Timestamp>| {
        time.map_or_else(|| "at no known time".to_owned(), |time| time.to_string())
    };
    Err(Error::refused(
        format!(
            "{} was written {}, the copy of SYSTEM {}: they are not of one backup",
            windows_path(&copy.path),
            shown(copy.written),
            shown(core)
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
