// SPDX-License-Identifier: GPL-2.0-or-later
//! The state in which Windows left its volume.

use super::{Check, Evidence, EvidenceKind, Finding, Problem, Run, Severity, Stage};
use crate::volume::JournalVerdict;
use crate::windows::Installation;

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/windows-server/administration/windows-commands/fsutil-dirty",
    "https://learn.microsoft.com/windows-hardware/drivers/kernel/distinguishing-fast-startup-from-wake-from-hibernation",
];

const HIBERNATED: Problem = Problem {
    id: "volume.hibernated",
    title: "Windows is hibernated, or was shut down with fast start-up",
    severity: Severity::Risk,
    stage: Stage::Start,
    trigger: "hiberfil.sys holds a live memory image.",
    cause: "Windows will resume from the memory image in hiberfil.sys. Anything written to the volume before that would damage it, so a repair is refused. Start Windows and shut it down fully (shutdown /s /t 0), or give up the hibernated session.",
    fixes: &[],
};

const JOURNAL_OPEN: Problem = Problem {
    id: "volume.journal",
    title: "The volume's journal was left open",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "$LogFile was not closed, and nothing waits in it.",
    cause: "As after a power-off in a quiet moment: nothing waits in it. It will be closed by the repair, as Windows does when it shuts down.",
    fixes: &[],
};

const JOURNAL_REPLAYED: Problem = Problem {
    id: "volume.journal-pending",
    title: "Changes wait in the volume's journal",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "$LogFile was not closed, and it holds changes that are not on the disk, which can be carried out.",
    cause: "As after a power-off: changes to files, folders or permissions were not on the disk yet, and Windows carries them out at its next start. Here they are carried out in memory, so that this report shows what Windows would find. A repair carries them out on the disk first, and closes the journal; undo takes that back too.",
    fixes: &[],
};

const JOURNAL_PENDING: Problem = Problem {
    id: "volume.journal-not-replayed",
    title: "Changes wait in the volume's journal and were not carried out",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "$LogFile was not closed, and it holds changes that are not on the disk and cannot be carried out, or were not to be.",
    cause: "As after a power-off: changes to files, folders or permissions were not on the disk yet, and Windows carries them out at its next start. This report shows the disk without them. Until then a repair can overwrite only files that they do not concern, without changing their length; making, renaming, removing and growing files and changing permissions is refused. To go on, let Windows finish: start it once and shut it down fully, or attach the disk to a Windows computer. If that is impossible, --discard-journal throws the waiting changes away and lets Windows check the volume at its next start.",
    fixes: &[],
};

const JOURNAL_REFUSED: Problem = Problem {
    id: "volume.journal-unknown",
    title: "The volume's journal cannot be analysed",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "$LogFile was not closed, and what it holds cannot be told.",
    cause: "It is not known what waits in it, so that every change to the volume is refused. To go on, let Windows deal with it: start it once and shut it down fully, or attach the disk to a Windows computer and run chkdsk. If that is impossible, --discard-journal throws the journal away and lets Windows check the volume at its next start.",
    fixes: &[],
};

const DIRTY: Problem = Problem {
    id: "volume.dirty",
    title: "The volume is marked dirty",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "The dirty flag is set in $Volume.",
    cause: "Windows will check the volume (autochk) when it starts.",
    fixes: &[],
};

pub(super) const CHECK: Check = Check {
    id: "volume",
    title: "Windows left its volume in order",
    looks_at: "hiberfil.sys, the journal ($LogFile) and the dirty flag of the volume.",
    healthy: "A journal that is not clean is normal after a power-off. A volume that is hibernated, or was shut down with fast start-up, must not be written: Windows resumes from memory that does not know of the change.",
    problems: &[
        &HIBERNATED,
        &JOURNAL_OPEN,
        &JOURNAL_REPLAYED,
        &JOURNAL_PENDING,
        &JOURNAL_REFUSED,
        &DIRTY,
    ],
    source: SOURCE,
    run: Run::Files(run),
};

fn run(installation: &Installation) -> Vec<Finding> {
    let state = installation.volume.state();
    let place = installation.describe();
    let finding = |problem: &'static Problem, location: &str, found: &str, expected: &str| {
        let evidence = Evidence {
            kind: EvidenceKind::Volume,
            location: format!("{place}, {location}"),
            found: found.to_owned(),
            expected: expected.to_owned(),
        };
        problem.found(SOURCE, vec![evidence])
    };
    let mut findings = Vec::new();
    if state.hibernated {
        findings.push(finding(
            &HIBERNATED,
            "hiberfil.sys",
            "a live memory image",
            "none",
        ));
    }
    if let (Some(journal), Some(how)) = (&state.journal, &state.unclean_journal) {
        let problem = match journal.verdict {
            JournalVerdict::Clean | JournalVerdict::Idle => &JOURNAL_OPEN,
            JournalVerdict::Pending if journal.is_replayed() => &JOURNAL_REPLAYED,
            JournalVerdict::Pending => &JOURNAL_PENDING,
            JournalVerdict::Refused => &JOURNAL_REFUSED,
        };
        findings.push(finding(
            problem,
            "$LogFile",
            how,
            "a journal that was closed",
        ));
    }
    if state.dirty {
        findings.push(finding(&DIRTY, "$Volume", "the dirty flag", "no flag"));
    }
    findings
}
