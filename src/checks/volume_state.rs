// SPDX-License-Identifier: GPL-2.0-or-later
//! The state in which Windows left its volume.

use super::{Check, Evidence, EvidenceKind, Facts, Finding, Severity};
use crate::volume::JournalVerdict;

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/windows-server/administration/windows-commands/fsutil-dirty",
    "https://learn.microsoft.com/windows-hardware/drivers/kernel/distinguishing-fast-startup-from-wake-from-hibernation",
];

pub(super) const CHECK: Check = Check {
    id: "volume",
    title: "Windows left its volume in order",
    explanation: "A volume that is hibernated, or was shut down with fast start-up, must not be written: Windows resumes from memory that does not know of the change. A journal that is not clean is normal after a power-off. Where nothing waits in it, a repair closes it; where changes wait, only contents that they do not concern are overwritten; where it cannot be told, nothing is changed. A volume marked dirty will be checked by Windows at its next start.",
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
    if let (Some(journal), Some(how)) = (&state.journal, &state.unclean_journal) {
        let (title, cause) = journal_words(journal.verdict);
        findings.push(finding(
            "volume.journal",
            title,
            Severity::Notice,
            cause,
            "$LogFile",
            how,
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

/// Title and cause of the finding about a journal that is not clean.
fn journal_words(verdict: JournalVerdict) -> (&'static str, &'static str) {
    match verdict {
        JournalVerdict::Clean | JournalVerdict::Idle => (
            "The volume's journal was left open",
            "As after a power-off in a quiet moment: nothing waits in it. It will be closed by the repair, as Windows does when it shuts down.",
        ),
        JournalVerdict::Pending => (
            "Changes wait in the volume's journal",
            "As after a power-off: changes to files, folders or permissions were not on the disk yet, and Windows carries them out at its next start. Until then a repair can overwrite only files that they do not concern, without changing their length; making, renaming, removing and growing files and changing permissions is refused. To go on, let Windows finish: start it once and shut it down fully, or attach the disk to a Windows computer. If that is impossible, --discard-journal throws the waiting changes away and lets Windows check the volume at its next start.",
        ),
        JournalVerdict::Refused => (
            "The volume's journal cannot be analysed",
            "It is not known what waits in it, so that every change to the volume is refused. To go on, let Windows deal with it: start it once and shut it down fully, or attach the disk to a Windows computer and run chkdsk. If that is impossible, --discard-journal throws the journal away and lets Windows check the volume at its next start.",
        ),
    }
}
