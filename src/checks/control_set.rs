// SPDX-License-Identifier: GPL-2.0-or-later
//! Which control set Windows starts with.

use crate::edit::{Edit, HiveName};
use crate::error::{Error, Result};
use crate::windows::Reading;

use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage, shown,
    system_path, unknown_value,
};

const KEY: &str = "Select";

const SOURCE: &[&str] = &[
    "Azure/repair-script-library win-LKGC",
    "https://docs.aws.amazon.com/AWSEC2/latest/WindowsGuide/ec2rw-cli.html",
];

const FAILED: Problem = Problem {
    id: "control-set.failed",
    title: "Windows has given up a control set before",
    severity: Severity::Notice,
    stage: Stage::Start,
    trigger: "Select\\Failed is not 0.",
    cause: "Windows, or somebody, has chosen the last known good configuration because the set named here did not start. What was set in it since is not in use.",
    fixes: &[],
};

pub(super) const CHECK: Check = Check {
    id: "control-set",
    title: "Windows starts with its own control set",
    looks_at: "Failed in SYSTEM\\Select.",
    healthy: "0. Windows 8 and later keep no second set.",
    problems: &[&FAILED],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: "last-known-good",
    values: "the number of a control set; the one that Select\\LastKnownGood names when nothing is said",
    title: "Start Windows with another control set",
    explanation: "Sets Current and Default in Select to another control set that is there, and Failed to the one they named. Nothing is copied, and no set is made.",
    source: SOURCE,
    edits,
};

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut failed = Gathered::new(&FAILED, SOURCE);
    match facts.system_dword(KEY, "Failed") {
        Reading::Found(number) if number != 0 => {
            let place = system_path(KEY, "Failed");
            failed.add(true, place, shown(number), "REG_DWORD 0x0", []);
        }
        _ => {}
    }
    failed.into_finding().into_iter().collect()
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    let default = facts.select.default;
    let wanted = match value {
        Some(text) => match text.parse::<u32>() {
            Ok(number) if (1..=999).contains(&number) => number,
            _ => return Err(unknown_value(&FIX, text)),
        },
        None => match facts.system_dword(KEY, "LastKnownGood") {
            Reading::Found(number) => number,
            _ => return Err(none("Select names no last known good control set", facts)),
        },
    };
    let key = format!("ControlSet{wanted:03}");
    if wanted == default {
        let what = format!("Windows starts with {key} already");
        // Asked for by number it is done; the last known good one was meant to be another.
        return match value {
            Some(_) => Ok(Proposal {
                notes: vec![what],
                ..Proposal::default()
            }),
            None => Err(none(&what, facts)),
        };
    }
    let control = format!(r"{key}\Control");
    if facts.registry().has_key(HiveName::System, &control) != Ok(true) {
        return Err(none(&format!("{key} is not there"), facts));
    }
    let set = |name: &str, number| Edit::dword(HiveName::System, KEY, name, number);
    Ok(Proposal {
        edits: vec![
            set("Current", wanted),
            set("Default", wanted),
            set("Failed", default),
        ],
        notes: vec![format!(
            "what was changed in ControlSet{default:03} since {key} was kept, drivers and services too, is not in use then"
        )],
        ..Proposal::default()
    })
}

fn none(what: &str, facts: &Facts<'_>) -> Error {
    let names = facts.registry().subkey_names(HiveName::System, "");
    let sets: Vec<String> = names
        .into_iter()
        .filter(|name| name.to_ascii_lowercase().starts_with("controlset"))
        .collect();
    Error::refused(
        what,
        format!("the control sets on this disk are: {}", sets.join(", ")),
    )
}
