// SPDX-License-Identifier: GPL-2.0-or-later
//! The hives themselves: missing, damaged, or not closed cleanly.

use crate::edit::{HiveName, windows_path};
use crate::hive::log::State;
use crate::windows::{HiveFile, Installation};

use super::{Check, Evidence, EvidenceKind, Finding, Problem, Run, Severity, Stage};

/// At most this many faults of one hive go into the evidence; `inspect` shows them all.
const MOST_FAULTS: usize = 8;

const SOURCE: &[&str] = &[
    "https://github.com/msuhanov/regf/blob/master/Windows%20registry%20file%20format%20specification.md",
    "Azure/repair-script-library win-fix-registry-corruption",
];

const MISSING: Problem = Problem {
    id: "hive.missing",
    title: "A registry hive is missing",
    severity: Severity::Broken,
    stage: Stage::Start,
    trigger: "There is no file SYSTEM or SOFTWARE in System32\\config, and the rest of Windows is there.",
    cause: "Windows does not start without this file. Restore it from a backup (System32\\config\\RegBack, a snapshot).",
    fixes: &[],
};

const UNREADABLE: Problem = Problem {
    id: "hive.unreadable",
    title: "A registry hive cannot be read",
    severity: Severity::Broken,
    stage: Stage::Start,
    trigger: "The base block, the bins or the logs cannot be made sense of.",
    cause: "Windows does not start when it cannot load this file. Restore it from a backup (System32\\config\\RegBack, a snapshot).",
    fixes: &[],
};

const DAMAGED: Problem = Problem {
    id: "hive.damaged",
    title: "A registry hive is damaged",
    severity: Severity::Broken,
    stage: Stage::Start,
    trigger: "A structure of the hive, after its logs were replayed, breaks a rule without which it cannot be read.",
    cause: "Windows deletes what it cannot read, or stops at boot. coldfix does not edit a damaged hive; restore it from a backup (System32\\config\\RegBack, a snapshot).",
    fixes: &[],
};

const UNCLEAN: Problem = Problem {
    id: "hive.unclean",
    title: "A registry hive was not closed cleanly",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "The sequence numbers differ, and the logs complete the hive.",
    cause: "Its latest changes are in its transaction logs only, as after a power-off. They were replayed in memory for this report; Windows does the same when it starts. A repair writes the replayed hive.",
    fixes: &[],
};

const LOG_LOST: Problem = Problem {
    id: "hive.log-lost",
    title: "A registry hive was not closed cleanly and its logs are lost",
    severity: Severity::Risk,
    stage: Stage::Start,
    trigger: "The sequence numbers differ, and no log completes the hive.",
    cause: "The changes that complete it are missing. What is shown may be older than what Windows last had. coldfix does not edit it: put its .LOG1 and .LOG2 files back, or restore it from a backup.",
    fixes: &[],
};

const NO_CONTROL_SET: Problem = Problem {
    id: "hive.no-control-set",
    title: "SYSTEM does not tell which control set Windows starts with",
    severity: Severity::Broken,
    stage: Stage::Start,
    trigger: "SYSTEM can be read, but Select is missing or malformed, or the control set that it names is not there.",
    cause: "Windows does not start without a control set, and coldfix does not guess one. Restore SYSTEM from a backup (System32\\config\\RegBack, a snapshot).",
    fixes: &[],
};

const LOGON_LOST: Problem = Problem {
    id: "hive.logon-lost",
    title: "A registry hive that every logon needs is missing or cannot be read",
    severity: Severity::Broken,
    stage: Stage::Logon,
    trigger: "SAM or SECURITY is missing, empty, or cannot be made sense of.",
    cause: "SAM holds the accounts, SECURITY the rights and secrets of the machine: without either nobody can log on, and Windows stops at boot (0xC0000218) where it cannot load the file. Restore both from the same backup (System32\\config\\RegBack, a snapshot): passwords become those of that day, and a member of a domain may have to join again.",
    fixes: &[],
};

const LOGON_DAMAGED: Problem = Problem {
    id: "hive.logon-damaged",
    title: "A registry hive that logons need is damaged",
    severity: Severity::Risk,
    stage: Stage::Logon,
    trigger: "A structure of SAM or SECURITY, after the logs were replayed, breaks a rule without which it cannot be read.",
    cause: "Windows deletes what it cannot read: accounts or rights may be lost. coldfix does not edit a damaged hive; restore SAM and SECURITY from the same backup (System32\\config\\RegBack, a snapshot).",
    fixes: &[],
};

const DEFAULT: Problem = Problem {
    id: "hive.default",
    title: "The registry hive of the sign-in screen is missing or damaged",
    severity: Severity::Risk,
    stage: Stage::Logon,
    trigger: "DEFAULT is missing, empty, damaged, or cannot be made sense of.",
    cause: "The sign-in screen and services take their settings from it. Windows may stop at boot (0xC0000218) where it cannot load the file. Restore it from a backup (System32\\config\\RegBack, a snapshot).",
    fixes: &[],
};

const NOT_COPIED: Problem = Problem {
    id: "hive.not-copied",
    title: "Not all registry hives are here",
    severity: Severity::Risk,
    stage: Stage::Start,
    trigger: "A hive is not there, and neither is the rest of Windows (System32\\ntdll.dll). Without SYSTEM and SOFTWARE it is a risk, without others a notice.",
    cause: "It seems that only hives were copied, and not all of them: what the missing ones tell was not judged. Copy them too, or name the whole disk.",
    fixes: &[],
};

pub(super) const CHECK: Check = Check {
    id: "hive",
    title: "The registry hives are there, can be read and are sound",
    looks_at: "Every structure of SYSTEM, SOFTWARE, SAM, SECURITY and DEFAULT, after their transaction logs were replayed; Select in SYSTEM.",
    healthy: "A hive that was not closed cleanly but has its logs is normal after a power-off; of SYSTEM and SOFTWARE it is told. A damaged SYSTEM stops Windows at boot (0xC0000218, 0x74).",
    problems: &[
        &MISSING,
        &UNREADABLE,
        &DAMAGED,
        &UNCLEAN,
        &LOG_LOST,
        &NO_CONTROL_SET,
        &LOGON_LOST,
        &LOGON_DAMAGED,
        &DEFAULT,
        &NOT_COPIED,
    ],
    source: SOURCE,
    run: Run::Files(run),
};

/// What a hive is good for.
enum Condition<'a> {
    /// Not there, like the rest of Windows.
    NotCopied,
    /// Not there.
    Missing,
    /// There, and of no use; the text says why.
    Unusable(String),
    /// It can be read, in part.
    Damaged(&'a HiveFile),
    /// SYSTEM, sound, but without a control set; the text says why.
    NoControlSet(String),
    Sound(&'a HiveFile),
}

impl Condition<'_> {
    fn of(installation: &Installation, name: HiveName) -> Condition<'_> {
        match installation.registry.hive(name) {
            Ok(None) if installation.has_programs() => Condition::Missing,
            Ok(None) => Condition::NotCopied,
            Err(error) => Condition::Unusable(error.to_string()),
            Ok(Some(file)) if file.faults().iter().any(|fault| fault.fatal) => {
                Condition::Damaged(file)
            }
            Ok(Some(file)) => match name {
                HiveName::System => match installation.select() {
                    Ok(_) => Condition::Sound(file),
                    Err(error) => Condition::NoControlSet(error.to_string()),
                },
                _ => Condition::Sound(file),
            },
        }
    }
}

/// The hives that Windows has lost, in whole or in part.
pub(super) fn lost(installation: &Installation) -> Vec<HiveName> {
    let is_lost = |name: &HiveName| {
        !matches!(
            Condition::of(installation, *name),
            Condition::Sound(_) | Condition::NotCopied
        )
    };
    HiveName::ALL.into_iter().filter(is_lost).collect()
}

fn run(installation: &Installation) -> Vec<Finding> {
    HiveName::ALL
        .into_iter()
        .filter_map(|name| judge(installation, name))
        .collect()
}

fn judge(installation: &Installation, name: HiveName) -> Option<Finding> {
    let path = windows_path(&installation.registry.path(name));
    let evidence = |found: String, expected: &str| {
        vec![Evidence {
            kind: EvidenceKind::File,
            location: path.clone(),
            found,
            expected: expected.to_owned(),
        }]
    };
    let is_core = matches!(name, HiveName::System | HiveName::Software);
    // What it is called when Windows starts without it, when nobody can log on, and when it only lacks comfort.
    let problem = |start, logon| match name {
        HiveName::System | HiveName::Software => start,
        HiveName::Sam | HiveName::Security => logon,
        HiveName::Default => &DEFAULT,
    };
    let (problem, evidence) = match Condition::of(installation, name) {
        Condition::NotCopied => {
            let evidence = evidence("no such file".to_owned(), "a registry hive");
            let mut finding = NOT_COPIED.found(SOURCE, evidence);
            if !is_core {
                finding.severity = Severity::Notice;
            }
            return Some(finding);
        }
        Condition::Missing => (
            problem(&MISSING, &LOGON_LOST),
            evidence("no such file".to_owned(), "a registry hive"),
        ),
        Condition::Unusable(why) => (
            problem(&UNREADABLE, &LOGON_LOST),
            evidence(why, "a sound registry hive"),
        ),
        Condition::NoControlSet(why) => (
            &NO_CONTROL_SET,
            evidence(why, "Select, and the control set that it names"),
        ),
        Condition::Damaged(file) => {
            let has_root = matches!(file.hive.key(""), Ok(Some(_)));
            let logon = if has_root {
                &LOGON_DAMAGED
            } else {
                &LOGON_LOST
            };
            (problem(&DAMAGED, logon), faults(file, &path))
        }
        Condition::Sound(file) => match (file.state, is_core) {
            (State::Replayed, true) => (
                &UNCLEAN,
                evidence(file.notes.join("; "), "equal sequence numbers"),
            ),
            (State::DirtyWithoutUsableLog, true) => (
                &LOG_LOST,
                evidence(
                    file.notes.join("; "),
                    "usable .LOG1 and .LOG2 files beside it",
                ),
            ),
            (State::Clean, _) | (_, false) => return None,
        },
    };
    Some(problem.found(SOURCE, evidence))
}

/// The first of the faults that make a hive unsafe to read.
fn faults(file: &HiveFile, path: &str) -> Vec<Evidence> {
    let fatal = file.faults().iter().filter(|fault| fault.fatal);
    let shown = fatal.take(MOST_FAULTS).map(|fault| Evidence {
        kind: EvidenceKind::File,
        location: format!("{path}, {} at {:#x}", fault.structure, fault.offset),
        found: fault.found.clone(),
        expected: fault.expected.clone(),
    });
    shown.collect()
}
