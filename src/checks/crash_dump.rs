// SPDX-License-Identifier: GPL-2.0-or-later
//! What Windows keeps of a crash.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::{ControlSet, Reading, value};

use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage, shown,
    system_path, unknown_value,
};

const KEY: &str = r"Control\CrashControl";
const RESTARTS: &str = "AutoReboot";
const DEDICATED: &str = "DedicatedDumpFile";

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

const STAYS: Problem = Problem {
    id: "crash-dump.stays",
    title: "Windows does not restart after a crash",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "AutoReboot is 0 in the control set that starts.",
    cause: "After the next crash the machine stays at the blue screen and is not reached again until somebody restarts it.",
    fixes: &[RESTART.name],
};

pub(super) const CHECK: Check = Check {
    id: "crash-dump",
    title: "Windows keeps a dump when it crashes, and restarts",
    looks_at: "CrashDumpEnabled and AutoReboot in Control\\CrashControl.",
    healthy: "CrashDumpEnabled 1 (full), 2 (kernel), 3 (small) or 7 (automatic); AutoReboot 1 or no value.",
    problems: &[&OFF, &STAYS],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: "crash-dump",
    values: "full, kernel, small or automatic; full when nothing is said",
    title: "Keep a memory dump when Windows crashes",
    explanation: "Sets CrashDumpEnabled (full 1, kernel 2, small 3, automatic 7), DumpFile to %SystemRoot%\\MEMORY.DMP and NMICrashDump to 1 in every control set that Select names. A full dump needs a page file as large as the memory. DedicatedDumpFile, a file that takes the page file's place, and AutoReboot are left alone and told where they matter.",
    source: SOURCE,
    edits,
};

pub(super) const RESTART: Fix = Fix {
    name: "crash-restart",
    values: "on or off; on when nothing is said",
    title: "Restart Windows after a crash, or let it show its blue screen",
    explanation: "Sets AutoReboot in Control\\CrashControl to 1 (0 for off, to read the stop code on a console) in every control set that Select names.",
    source: &[
        "https://learn.microsoft.com/troubleshoot/windows-server/performance/memory-dump-file-options",
    ],
    edits: restart,
};

pub(super) const DEDICATED_DUMP: Fix = Fix {
    name: "dedicated-dump",
    values: "a path such as D:\\dump.sys, or none",
    title: "Prepare crash dumps in a file of their own, or in the page file again",
    explanation: "Sets DedicatedDumpFile in Control\\CrashControl to the path, as Windows sees it, in every control set that Select names; none deletes it. For machines whose page file is too small, or on a temporary disk.",
    source: &["Azure/repair-script-library win-dumpconfigurator"],
    edits: dedicated_dump,
};

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut stays = Gathered::new(&STAYS, SOURCE);
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
        if let Reading::Found(0) = facts.system_dword(&key, RESTARTS) {
            stays.add(
                true,
                system_path(&key, RESTARTS),
                shown(0),
                "REG_DWORD 0x1",
                [],
            );
        }
    }
    [none, stays]
        .into_iter()
        .filter_map(Gathered::into_finding)
        .collect()
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    let kind = match value {
        None | Some("full") => 1,
        Some("kernel") => 2,
        Some("small") => 3,
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
        if let Reading::Found(file) = facts.registry().text(HiveName::System, &key, DEDICATED) {
            proposal.notes.push(format!(
                "{} is {file}: Windows prepares the dump there, on a drive that must have the room for it",
                system_path(&key, DEDICATED)
            ));
        }
        if let Reading::Found(0) = facts.system_dword(&key, RESTARTS) {
            proposal.notes.push(format!(
                "{} is 0: after a crash the machine waits at the blue screen (--fix {} changes that)",
                system_path(&key, RESTARTS),
                RESTART.name
            ));
        }
    }
    Ok(proposal)
}

fn restart(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    let target = match value {
        None | Some("on") => 1,
        Some("off") => 0,
        Some(other) => return Err(unknown_value(&RESTART, other)),
    };
    let set = |set: &ControlSet| Edit::dword(HiveName::System, set.path(KEY), RESTARTS, target);
    Ok(Proposal {
        edits: facts.sets().iter().map(set).collect(),
        ..Proposal::default()
    })
}

fn dedicated_dump(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    let path = value.unwrap_or_default();
    let is_path = path
        .chars()
        .next()
        .is_some_and(|drive| drive.is_ascii_alphabetic())
        && path.get(1..3) == Some(r":\")
        && path.len() > 3
        && !path.contains(char::is_control);
    if path != "none" && !is_path {
        return Err(unknown_value(&DEDICATED_DUMP, path));
    }
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        let (hive, key) = (HiveName::System, set.path(KEY));
        if is_path {
            let edit = Edit::text(hive, key, DEDICATED, value::SZ, path);
            proposal.edits.push(edit);
        } else if !facts.registry().raw(hive, &key, DEDICATED).is_absent() {
            let name = DEDICATED.to_owned();
            proposal.edits.push(Edit::DeleteValue { hive, key, name });
        }
    }
    Ok(proposal)
}
