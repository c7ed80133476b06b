// SPDX-License-Identifier: GPL-2.0-or-later
//! The copies of the registry that Windows may have kept, when the registry itself is damaged.

use crate::edit::{Edit, HiveName, windows_path};
use crate::error::Result;
use crate::windows::{HiveFile, from_filetime};

use super::{
    Check, Evidence, EvidenceKind, Facts, Finding, Fix, Problem, Proposal, Severity, Stage,
    registry_restore, transaction_logs, unknown_value,
};

const MANAGER: &str = r"Control\Session Manager\Configuration Manager";
const PERIODIC: &str = "EnablePeriodicBackup";

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/windows-client/installing-updates-features-roles/system-registry-no-backed-up-regback-folder",
    "Azure/repair-script-library win-fix-registry-corruption, win-fix-transaction-logs",
];

const USABLE: Problem = Problem {
    id: "registry-backup.usable",
    title: "Windows has kept copies of its registry that can be read",
    severity: Severity::Notice,
    stage: Stage::Start,
    trigger: "SYSTEM or SOFTWARE is missing or damaged, and RegBack holds sound copies of both.",
    cause: "A damaged hive can be replaced by its copy, which is done by name only: everything that changed after the day of the copy is lost. SAM and SECURITY are replaced as a pair, and only when one of them is damaged too: passwords become those of that day, and a member of a domain may have to join again.",
    fixes: &[registry_restore::FIX.name],
};

const NONE: Problem = Problem {
    id: "registry-backup.none",
    title: "Windows has kept no usable copy of its registry",
    severity: Severity::Notice,
    stage: Stage::Start,
    trigger: "SYSTEM or SOFTWARE is missing or damaged, and RegBack does not hold sound copies of both.",
    cause: "Since Windows 10 1803 RegBack stays empty unless EnablePeriodicBackup is set. What is left are snapshots and backups of the whole disk.",
    fixes: &[],
};

pub(super) const CHECK: Check = Check {
    id: "registry-backup",
    title: "When the registry is damaged, copies of it are found",
    looks_at: "The files in System32\\config\\RegBack, and the transaction logs in System32\\config\\TxR, when SYSTEM or SOFTWARE is missing or damaged.",
    healthy: "A sound registry: then nothing is looked at. RegBack is empty on stock Windows 10 1803 and later.",
    problems: &[&USABLE, &NONE],
    source: SOURCE,
    run,
};

pub(super) const FIX: Fix = Fix {
    name: "registry-backup",
    values: "periodic; periodic when nothing is said",
    title: "Let Windows keep copies of its registry",
    explanation: "Sets EnablePeriodicBackup to 1 in every control set that Select names, so that Windows fills RegBack again.",
    source: SOURCE,
    edits,
};

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let damaged = [HiveName::System, HiveName::Software]
        .into_iter()
        .any(|name| match facts.registry().hive(name) {
            Ok(Some(file)) => file.faults().iter().any(|fault| fault.fatal),
            Ok(None) | Err(_) => true,
        });
    if !damaged {
        return Vec::new();
    }
    let config = format!("{}/System32/config", facts.installation.directory);
    let copies = HiveName::ALL.map(|name| (name, copy(facts, &config, name)));
    let sound = |wanted: HiveName| {
        let mut copies = copies.iter();
        copies.any(|(name, copy)| *name == wanted && copy.sound)
    };
    let problem = match sound(HiveName::System) && sound(HiveName::Software) {
        true => &USABLE,
        false => &NONE,
    };
    let mut evidence: Vec<Evidence> = copies
        .iter()
        .map(|(name, copy)| Evidence {
            kind: EvidenceKind::File,
            location: windows_path(&format!("{config}/RegBack/{}", name.file_name())),
            found: copy.found.clone(),
            expected: "a sound hive".to_owned(),
        })
        .collect();
    evidence.extend(transaction_log_state(facts));
    vec![problem.found(SOURCE, evidence)]
}

/// What is in RegBack of one hive.
struct Copy {
    sound: bool,
    found: String,
}

fn copy(facts: &Facts<'_>, config: &str, name: HiveName) -> Copy {
    let path = format!("{config}/RegBack/{}", name.file_name());
    let volume = facts.installation.volume.as_ref();
    let unusable = |found: String| Copy {
        sound: false,
        found,
    };
    match volume.entry(&path) {
        Ok(None) => return unusable("no such file".to_owned()),
        Ok(Some(entry)) if entry.len == 0 => return unusable("an empty file".to_owned()),
        Ok(Some(_)) => {}
        Err(error) => return unusable(error.to_string()),
    }
    match HiveFile::open(volume, &path) {
        Ok(Some(file)) => {
            let when = from_filetime(file.hive.base_block().last_written)
                .map_or_else(|| "at no known time".to_owned(), |time| time.to_string());
            match file.faults().iter().find(|fault| fault.fatal) {
                Some(fault) => unusable(format!("damaged: {fault}; written {when}")),
                None => Copy {
                    sound: true,
                    found: format!("{} bytes, written {when}", file.hive.bytes().len()),
                },
            }
        }
        Ok(None) => unusable("no such file".to_owned()),
        Err(error) => unusable(error.to_string()),
    }
}

/// The transaction logs of the registry, in one line: a start that ends with 0x800719e4 says that they are full.
fn transaction_log_state(facts: &Facts<'_>) -> Option<Evidence> {
    let logs = transaction_logs::logs(facts.installation).ok()?;
    let bytes = logs
        .iter()
        .fold(0_u64, |bytes, entry| bytes.saturating_add(entry.len));
    Some(Evidence {
        kind: EvidenceKind::File,
        location: windows_path(&transaction_logs::folder(facts.installation)),
        found: format!("{} transaction logs of {bytes} bytes", logs.len()),
        expected: "logs that are not full (Windows says 0x800719e4 when they are; --fix transaction-logs lets it make them anew)".to_owned(),
    })
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    match value {
        None | Some("periodic") => {}
        Some(other) => return Err(unknown_value(&FIX, other)),
    }
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        let key = set.path(MANAGER);
        if facts.registry().has_key(HiveName::System, &key) == Ok(true) {
            proposal
                .edits
                .push(Edit::dword(HiveName::System, key, PERIODIC, 1));
        } else {
            proposal.notes.push(format!(
                "{} is not there; it is not invented",
                HiveName::System.full_path(&key)
            ));
        }
    }
    Ok(proposal)
}
