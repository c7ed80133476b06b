// SPDX-License-Identifier: GPL-2.0-or-later
//! What Windows keeps of a crash.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::{Reading, value};

use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Severity, Stage, shown, system_path,
    unknown_value,
};

const KEY: &str = r"Control\CrashControl";

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/troubleshoot-rdp-internal-error",
    "https://learn.microsoft.com/azure/virtual-machines/windows/prepare-for-upload-vhd-image",
];

const OFF: Problem = Problem {
    id: "crash-dump.off",
    title: "Windows keeps no dump when it crashes",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "CrashDumpEnabled is 0 in the control set that starts.",
    cause: "The next crash will leave nothing to look at.",
    fixes: &[FIX.name],
};

pub(super) const CHECK: Check = Check {
    id: "crash-dump",
    title: "Windows keeps a dump when it crashes",
    looks_at: "CrashDumpEnabled in Control\\CrashControl.",
    healthy: "1 (full), 2 (kernel), 3 (small) or 7 (automatic).",
    problems: &[&OFF],
    source: SOURCE,
    run,
};

pub(super) const FIX: Fix = Fix {
    name: "crash-dump",
    values: "full, kernel or automatic; full when nothing is said",
    title: "Keep a memory dump when Windows crashes",
    explanation: "Sets CrashDumpEnabled (full 1, kernel 2, automatic 7), DumpFile to %SystemRoot%\\MEMORY.DMP and NMICrashDump to 1 in every control set that Select names. A full dump needs a page file as large as the memory.",
    source: SOURCE,
    edits,
};

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut none = Gathered::new(&OFF, SOURCE);
    for set in facts.sets().iter().filter(|set| set.is_active()) {
        let key = set.path(KEY);
        if let Reading::Found(0) = facts.system_dword(&key, "CrashDumpEnabled") {
            none.add(
                true,
                system_path(&key, "CrashDumpEnabled"),
                shown(0),
                "REG_DWORD 0x1, 0x2, 0x3 or 0x7",
                [],
            );
        }
    }
    none.into_finding().into_iter().collect()
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    let kind = match value {
        None | Some("full") => 1,
        Some("kernel") => 2,
        Some("automatic") => 7,
        Some(other) => return Err(unknown_value(&FIX, other)),
    };
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        let key = set.path(KEY);
        proposal.edits.extend([
            Edit::dword(HiveName::System, &key, "CrashDumpEnabled", kind),
            Edit::text(
                HiveName::System,
                &key,
                "DumpFile",
                value::EXPAND_SZ,
                r"%SystemRoot%\MEMORY.DMP",
            ),
            Edit::dword(HiveName::System, &key, "NMICrashDump", 1),
        ]);
    }
    Ok(proposal)
}
