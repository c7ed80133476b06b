// SPDX-License-Identifier: GPL-2.0-or-later
//! The hives themselves: damaged, or not closed cleanly.

use crate::edit::HiveName;
use crate::hive::log::State;

use super::{Check, Evidence, EvidenceKind, Facts, Finding, Problem, Severity, Stage};

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
    trigger: "There is no file SYSTEM or SOFTWARE in System32\\config.",
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

pub(super) const CHECK: Check = Check {
    id: "hive",
    title: "The registry hives SYSTEM and SOFTWARE can be read and are sound",
    looks_at: "Every structure of SYSTEM and SOFTWARE, after their transaction logs were replayed.",
    healthy: "A hive that was not closed cleanly but has its logs is normal after a power-off. A damaged SYSTEM stops Windows at boot (0xC0000218, 0x74).",
    problems: &[&MISSING, &UNREADABLE, &DAMAGED, &UNCLEAN, &LOG_LOST],
    source: SOURCE,
    run,
};

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    [HiveName::System, HiveName::Software]
        .into_iter()
        .filter_map(|name| judge(facts, name))
        .collect()
}

fn judge(facts: &Facts<'_>, name: HiveName) -> Option<Finding> {
    let evidence = |location: String, found: String, expected: &str| Evidence {
        kind: EvidenceKind::File,
        location,
        found,
        expected: expected.to_owned(),
    };
    let finding = |problem: &'static Problem, evidence| Some(problem.found(SOURCE, evidence));
    let path = format!(
        "{}\\System32\\config\\{}",
        facts.installation.directory,
        name.file_name()
    );
    let file = match facts.registry().hive(name) {
        Ok(Some(file)) => file,
        Ok(None) => {
            let found = evidence(path, "no such file".to_owned(), "a registry hive");
            return finding(&MISSING, vec![found]);
        }
        Err(error) => {
            let found = evidence(path, error.to_string(), "a sound registry hive");
            return finding(&UNREADABLE, vec![found]);
        }
    };
    let fatal: Vec<Evidence> = file
        .faults()
        .iter()
        .filter(|fault| fault.fatal)
        .take(MOST_FAULTS)
        .map(|fault| {
            evidence(
                format!("{path}, {} at {:#x}", fault.structure, fault.offset),
                fault.found.clone(),
                &fault.expected,
            )
        })
        .collect();
    if !fatal.is_empty() {
        return finding(&DAMAGED, fatal);
    }
    let notes = file.notes.join("; ");
    match file.state {
        State::Clean => None,
        State::Replayed => finding(
            &UNCLEAN,
            vec![evidence(path, notes, "equal sequence numbers")],
        ),
        State::DirtyWithoutUsableLog => finding(
            &LOG_LOST,
            vec![evidence(
                path,
                notes,
                "usable .LOG1 and .LOG2 files beside it",
            )],
        ),
    }
}
