// SPDX-License-Identifier: GPL-2.0-or-later
//! The copies of the registry that Windows may have kept, when the registry itself is damaged.

use crate::edit::{Edit, HiveName, windows_path};
use crate::error::Result;
use crate::volume::Volume;
use crate::windows::{HiveFile, Installation, from_filetime};

use super::{
    Check, Evidence, EvidenceKind, Facts, Finding, Fix, Problem, Proposal, Run, Severity, Stage,
    hive_state, registry_restore, transaction_logs, unknown_value,
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
    trigger: "A hive is missing or damaged, and RegBack holds a sound copy of it: of SYSTEM and SOFTWARE, and of SAM and SECURITY, only of both.",
    cause: "A damaged hive can be replaced by its copy, which is done by name only: everything that changed after the day of the copy is lost. SAM and SECURITY are replaced as a pair, and only when one of them is damaged too: passwords become those of that day, and a member of a domain may have to join again.",
    fixes: &[registry_restore::FIX.name],
};

const NONE: Problem = Problem {
    id: "registry-backup.none",
    title: "Windows has kept no usable copy of its registry",
    severity: Severity::Notice,
    stage: Stage::Start,
    trigger: "A hive is missing or damaged, and RegBack holds no sound copy of it, or not of both of a pair.",
    cause: "Since Windows 10 1803 RegBack stays empty unless EnablePeriodicBackup is set. What is left are snapshots and backups of the whole disk.",
    fixes: &[],
};

pub(super) const CHECK: Check = Check {
    id: "registry-backup",
    title: "When the registry is damaged, copies of it are found",
    looks_at: "The files in System32\\config\\RegBack, and the transaction logs in System32\\config\\TxR, when a hive is missing or damaged.",
    healthy: "A sound registry: then nothing is looked at. RegBack is empty on stock Windows 10 1803 and later.",
    problems: &[&USABLE, &NONE],
    source: SOURCE,
    run: Run::Files(run),
};

pub(super) const FIX: Fix = Fix {
    name: "registry-backup",
    values: "periodic; periodic when nothing is said",
    title: "Let Windows keep copies of its registry",
    explanation: "Sets EnablePeriodicBackup to 1 in every control set that Select names, so that Windows fills RegBack again.",
    source: SOURCE,
    edits,
};

fn run(installation: &Installation) -> Vec<Finding> {
    let lost = hive_state::lost(installation);
    if lost.is_empty() {
        return Vec::new();
    }
    let config = format!("{}/System32/config", installation.directory);
    let copies = HiveName::ALL.map(|name| copy(installation, &config, name));
    // Of a pair, one hive alone does not fit the other.
    let wanted: Vec<&Copy> = copies
        .iter()
        .filter(|copy| {
            let pair = registry_restore::pair(copy.name);
            lost.iter().any(|name| pair.contains(name))
        })
        .collect();
    let usable = wanted.iter().all(|copy| copy.sound);
    let evidence = copies.iter().map(|copy| Evidence {
        kind: EvidenceKind::File,
        location: windows_path(&copy.path),
        found: copy.found.clone(),
        expected: "a sound hive".to_owned(),
    });
    let evidence = evidence
        .chain(transaction_log_state(installation))
        .collect();
    let problem = if usable { &USABLE } else { &NONE };
    let mut finding = problem.found(SOURCE, evidence);
    if usable {
        finding.files = wanted.iter().map(|copy| copy.path.clone()).collect();
    }
    vec![finding]
}

/// What is in RegBack of one hive.
struct Copy {
    name: HiveName,
    path: String,
    sound: bool,
    found: String,
}

fn copy(installation: &Installation, config: &str, name: HiveName) -> Copy {
    let path = format!("{config}/RegBack/{}", name.file_name());
    let (sound, found) = match look(installation.volume.as_ref(), &path) {
        Ok(found) => (true, found),
        Err(found) => (false, found),
    };
    Copy {
        name,
        path,
        sound,
        found,
    }
}

/// Size and date of a sound hive, or what is wrong with it.
fn look(volume: &dyn Volume, path: &str) -> Result<String, String> {
    match volume.entry(path).map_err(|error| error.to_string())? {
        None => return Err("no such file".to_owned()),
        Some(entry) if entry.len == 0 => return Err("an empty file".to_owned()),
        Some(_) => {}
    }
    let Some(file) = HiveFile::open(volume, path).map_err(|error| error.to_string())? else {
        return Err("no such file".to_owned());
    };
    let when = from_filetime(file.hive.base_block().last_written)
        .map_or_else(|| "at no known time".to_owned(), |time| time.to_string());
    let about = format!("{} bytes, written {when}", file.hive.bytes().len());
    match file.faults().iter().find(|fault| fault.fatal) {
        Some(fault) => Err(format!("damaged: {fault}; {about}")),
        None => Ok(format!("sound, {about}")),
    }
}

/// The transaction logs of the registry, in one line: a start that ends with 0x800719e4 says that they are full.
fn transaction_log_state(installation: &Installation) -> Option<Evidence> {
    let logs = transaction_logs::logs(installation).ok()?;
    let bytes = logs
        .iter()
        .fold(0_u64, |bytes, entry| bytes.saturating_add(entry.len));
    Some(Evidence {
        kind: EvidenceKind::File,
        location: windows_path(&transaction_logs::folder(installation)),
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
