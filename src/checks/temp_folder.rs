// SPDX-License-Identifier: GPL-2.0-or-later
//! Where Windows itself keeps temporary files.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::{Reading, value};

use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage, system_path,
    unjudged, unknown_value,
};

const KEY: &str = r"Control\Session Manager\Environment";
const NAMES: [&str; 2] = ["TEMP", "TMP"];
const FOLDER: &str = r"%SystemRoot%\TEMP";

const SOURCE: &[&str] =
    &["https://learn.microsoft.com/azure/virtual-machines/windows/prepare-for-upload-vhd-image"];

const MOVED: Problem = Problem {
    id: "temp-folder.moved",
    title: "Windows' folder for temporary files is another one",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "TEMP or TMP of the machine is absent, or another folder than that of Windows.",
    cause: "On a drive that is not there, such as the temporary disk of a cloud machine, services and updates fail. Somebody may have meant it.",
    fixes: &[FIX.name],
};

const UNCLEAR: Problem = Problem::unclear("temp-folder.unclear", Stage::Upkeep);

pub(super) const CHECK: Check = Check {
    id: "temp-folder",
    title: "Windows keeps temporary files in its own folder",
    looks_at: "TEMP and TMP in Session Manager\\Environment.",
    healthy: "%SystemRoot%\\TEMP, in any spelling.",
    problems: &[&MOVED, &UNCLEAR],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: "temp-folder",
    values: "",
    title: "Let Windows keep temporary files in its own folder",
    explanation: "Sets TEMP and TMP of the machine to %SystemRoot%\\TEMP in every control set that Select names.",
    source: SOURCE,
    edits,
};

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut moved = Gathered::new(&MOVED, SOURCE);
    let mut findings = Vec::new();
    let expanded = |text: &str| {
        let expanded = facts.installation.expand_system_root(text);
        expanded.unwrap_or_else(|| text.to_owned()).to_lowercase()
    };
    for set in facts.sets().iter().filter(|set| set.is_active()) {
        let key = set.path(KEY);
        for name in NAMES {
            let place = system_path(&key, name);
            match facts.registry().text(HiveName::System, &key, name) {
                Reading::Found(folder) if expanded(&folder) != expanded(FOLDER) => {
                    moved.add(true, place, folder, FOLDER, []);
                }
                Reading::NoValue => {
                    moved.add(true, place, "no value".to_owned(), FOLDER, []);
                }
                Reading::Malformed(found) => {
                    findings.push(unjudged(&UNCLEAR, place, found, FOLDER, SOURCE));
                }
                _ => {}
            }
        }
    }
    findings.extend(moved.into_finding());
    findings
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    if let Some(value) = value {
        return Err(unknown_value(&FIX, value));
    }
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        let key = set.path(KEY);
        proposal.edits.extend(
            NAMES.map(|name| Edit::text(HiveName::System, &key, name, value::EXPAND_SZ, FOLDER)),
        );
    }
    Ok(proposal)
}
