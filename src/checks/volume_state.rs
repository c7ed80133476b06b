// SPDX-License-Identifier: GPL-2.0-or-later
//! The state in which Windows left its volume.

use super::{Check, Evidence, EvidenceKind, Facts, Finding, Severity};

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/windows-server/administration/windows-commands/fsutil-dirty",
    "https://learn.microsoft.com/windows-hardware/drivers/kernel/distinguishing-fast-startup-from-wake-from-hibernation",
];

pub(super) const CHECK: Check = Check {
    id: "volume",
    title: "Windows left its volume in order",
    explanation: "A volume that is hibernated, or was shut down with fast start-up, must not be written: Windows resumes from memory that does not know of the change. A journal that is not clean is normal after a power-off; it is reported, and a repair is refused while it is so. A volume marked dirty will be checked by Windows at its next start.",
    source: SOURCE,
    run,
};

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let state = facts.installation.volume.state();
    let place = facts.installation.describe();
    let finding =
        |id, title: &str, severity, cause: &str, location: &str, found: &str, expected: &str| {
            Finding {
                id,
                title: title.to_owned(),
                severity,
                cause: cause.to_owned(),
                evidence: vec![Evidence {
                    kind: EvidenceKind::Volume,
                    location: format!("{place}, {location}"),
                    found: found.to_owned(),
                    expected: expected.to_owned(),
                }],
                fixes: Vec::new(),
                source: SOURCE.iter().map(|source| (*source).to_owned()).collect(),
                cure: Vec::new(),
            }
        };
    let mut findings = Vec::new();
    if state.hibernated {
        findings.push(finding(
            "volume.hibernated",
            "Windows is hibernated, or was shut down with fast start-up",
            Severity::Risk,
            "Windows will resume from the memory image in hiberfil.sys. Anything written to the volume before that would damage it, so a repair is refused. Start Windows and shut it down fully (shutdown /s /t 0), or give up the hibernated session.",
            "hiberfil.sys",
            "a live memory image",
            "none",
        ));
    }
    if let Some(journal) = &state.unclean_journal {
        findings.push(finding(
            "volume.journal",
            "The volume's journal is not clean",
            Severity::Notice,
            "As after a power-off. Windows deals with it at its next start; the evidence says whether changes to files and folders still wait in it. A repair is refused while it is so.",
            "$LogFile",
            journal,
            "a journal that was closed",
        ));
    }
    if state.dirty {
        findings.push(finding(
            "volume.dirty",
            "The volume is marked dirty",
            Severity::Notice,
            "Windows will check the volume (autochk) when it starts.",
            "$Volume",
            "the dirty flag",
            "no flag",
        ));
    }
    findings
}
