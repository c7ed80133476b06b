// SPDX-License-Identifier: GPL-2.0-or-later
//! The hives themselves: damaged, or not closed cleanly.

use crate::edit::HiveName;
use crate::hive::log::State;

use super::{Check, Evidence, EvidenceKind, Facts, Finding, Severity};

/// At most this many faults of one hive go into the evidence; `inspect` shows them all.
const MOST_FAULTS: usize = 8;

const SOURCE: &[&str] = &[
    "https://github.com/msuhanov/regf/blob/master/Windows%20registry%20file%20format%20specification.md",
    "Azure/repair-script-library win-fix-registry-corruption",
];

pub(super) const CHECK: Check = Check {
    id: "hive",
    title: "The registry hives SYSTEM and SOFTWARE can be read and are sound",
    explanation: "Walks every structure of SYSTEM and SOFTWARE after replaying their transaction logs. A damaged SYSTEM stops Windows at boot (0xC0000218, 0x74). A hive that was not closed cleanly but has its logs is normal after a power-off: Windows replays them, and so does coldfix before it judges or edits.",
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
    let finding = |id, title: String, severity, cause: &str, evidence| Finding {
        id,
        title,
        severity,
        cause: cause.to_owned(),
        evidence,
        fixes: Vec::new(),
        source: SOURCE.iter().map(|source| (*source).to_owned()).collect(),
        cure: Vec::new(),
    };
    let path = format!(
        "{}\\System32\\config\\{}",
        facts.installation.directory,
        name.file_name()
    );
    let file = match facts.registry().hive(name) {
        Ok(Some(file)) => file,
        Ok(None) => {
            return Some(finding(
                "hive.missing",
                format!("The hive {} is missing", name.file_name()),
                Severity::Broken,
                "Windows does not start without this file. Restore it from a backup (System32\\config\\RegBack, a snapshot).",
                vec![evidence(path, "no such file".to_owned(), "a registry hive")],
            ));
        }
        Err(error) => {
            return Some(finding(
                "hive.unreadable",
                format!("The hive {} cannot be read", name.file_name()),
                Severity::Broken,
                "Windows does not start when it cannot load this file. Restore it from a backup (System32\\config\\RegBack, a snapshot).",
                vec![evidence(path, error.to_string(), "a sound registry hive")],
            ));
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
        return Some(finding(
            "hive.damaged",
            format!("The hive {} is damaged", name.file_name()),
            Severity::Broken,
            "Windows deletes what it cannot read, or stops at boot. coldfix does not edit a damaged hive; restore it from a backup (System32\\config\\RegBack, a snapshot).",
            fatal,
        ));
    }
    match file.state {
        State::Clean => None,
        State::Replayed => Some(finding(
            "hive.unclean",
            format!("The hive {} was not closed cleanly", name.file_name()),
            Severity::Notice,
            "Its latest changes are in its transaction logs only, as after a power-off. They were replayed in memory for this report; Windows does the same when it starts. A repair writes the replayed hive.",
            vec![evidence(
                path,
                file.notes.join("; "),
                "equal sequence numbers",
            )],
        )),
        State::DirtyWithoutUsableLog => Some(finding(
            "hive.log-lost",
            format!(
                "The hive {} was not closed cleanly and its logs are lost",
                name.file_name()
            ),
            Severity::Risk,
            "The changes that complete it are missing. What is shown may be older than what Windows last had. coldfix does not edit it: put the hive's .LOG1 and .LOG2 files back, or restore it from a backup.",
            vec![evidence(
                path,
                file.notes.join("; "),
                "usable .LOG1 and .LOG2 files beside it",
            )],
        )),
    }
}
