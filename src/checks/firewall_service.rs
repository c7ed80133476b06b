// SPDX-License-Identifier: GPL-2.0-or-later
//! A value that keeps the firewall service from starting.
//!
//! `AppCs\DebugedLoopbackApps` (so spelt) lists packages that may talk to this machine itself. The service reads it when it
//! starts and ends when it is not text, or text that it cannot use. It is started again, hundreds of times; meanwhile the
//! boot-time filters drop every packet from outside.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::{ControlSet, Reading, value};

use super::events::{self, Firewall, Service, Sign};
use super::{
    Check, Evidence, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage,
    system_path, unknown_value,
};

const KEY: &str = r"Services\mpssvc\Parameters\AppCs";
const NAME: &str = "DebugedLoopbackApps";
/// What an older repair tool renamed the value to; the service does not read it.
const LEFTOVER: &str = "DebugedLoopbackApps_";
const HEALTHY: &str = "no such value, or text (REG_SZ) that the service can use";

const SOURCE: &[&str] = &["Azure/repair-script-library win-fix-firewall-service"];

const TYPE: Problem = Problem {
    id: "firewall-service.loopback-type",
    title: "The firewall service cannot start: a list it reads has the wrong type",
    severity: Severity::Broken,
    stage: Stage::Firewall,
    trigger: "DebugedLoopbackApps in Services\\mpssvc\\Parameters\\AppCs has another type than REG_SZ, whatever it holds.",
    cause: "The service ends with \"The data is invalid\" each time it is started. Until it runs, the filters of the start drop everything from outside, ping included.",
    fixes: &[FIX.name],
};

const TEXT: Problem = Problem {
    id: "firewall-service.loopback-text",
    title: "The firewall service fails, and a list that it reads is there",
    severity: Severity::Broken,
    stage: Stage::Firewall,
    trigger: "DebugedLoopbackApps is a REG_SZ, and the System log has events 7000, 7001, 7023, 7024, 7031 or 7034 of the Service Control Manager that name the firewall service, in the last 30 days that the logs know and after the last remote sign-in.",
    cause: "A list that is too long makes the service end with \"The parameter is incorrect\". No length tells which is: the log does. Until the service runs, the filters of the start drop everything from outside.",
    fixes: &[FIX.name],
};

const LEFT_OVER: Problem = Problem {
    id: "firewall-service.leftover",
    title: "An older repair left a renamed list of the firewall service behind",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "There is a value DebugedLoopbackApps_ in the same key.",
    cause: "The firewall service does not read it. It may be deleted.",
    fixes: &[],
};

pub(super) const CHECK: Check = Check {
    id: "firewall-service",
    title: "Nothing keeps the firewall service from starting",
    looks_at: "DebugedLoopbackApps in Services\\mpssvc\\Parameters\\AppCs, and what the System log says of the firewall service.",
    healthy: "No key or no value. A value of type REG_SZ, empty or not, as long as the service runs.",
    problems: &[&TYPE, &TEXT, &LEFT_OVER],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: "firewall-service",
    values: "",
    title: "Delete the list that keeps the firewall service from starting",
    explanation: "Deletes DebugedLoopbackApps in Services\\mpssvc\\Parameters\\AppCs, in every control set that Select names, whatever its type. Packages lose their permission to talk to this machine itself until they are given it again; undo brings the list back.",
    source: SOURCE,
    edits,
};

fn found(facts: &Facts<'_>, set: &ControlSet, name: &str) -> Option<(u32, Vec<u8>)> {
    let key = set.path(KEY);
    facts.registry().raw(HiveName::System, &key, name).found()
}

fn delete(set: &ControlSet) -> Edit {
    Edit::DeleteValue {
        hive: HiveName::System,
        key: set.path(KEY),
        name: NAME.to_owned(),
    }
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut of_type = Gathered::new(&TYPE, SOURCE);
    let mut text = Gathered::new(&TEXT, SOURCE);
    let mut leftover = Gathered::new(&LEFT_OVER, SOURCE);
    let mut failures = None;
    for set in facts.sets() {
        let location = |name| system_path(&set.path(KEY), name);
        if let Some((kind, data)) = found(facts, set, NAME) {
            let shown = value::describe(kind, &data);
            if kind != value::SZ {
                of_type.add(
                    set.is_active(),
                    location(NAME),
                    shown,
                    HEALTHY,
                    [delete(set)],
                );
            } else if let Some(failed) = failures.get_or_insert_with(|| failed(facts)) {
                text.add(
                    set.is_active(),
                    location(NAME),
                    shown,
                    HEALTHY,
                    [delete(set)],
                );
                if !text.finding.evidence.contains(failed) {
                    text.finding.evidence.push(failed.clone());
                }
            }
        }
        if let Some((kind, data)) = found(facts, set, LEFTOVER) {
            let shown = value::describe(kind, &data);
            leftover.add(
                set.is_active(),
                location(LEFTOVER),
                shown,
                "no such value",
                [],
            );
        }
    }
    [of_type, text, leftover]
        .into_iter()
        .filter_map(Gathered::into_finding)
        .collect()
}

/// What the log says of the firewall service, where it fails.
fn failed(facts: &Facts<'_>) -> Option<Evidence> {
    events::unrefuted(facts, |sign, id| {
        sign == Sign::ServiceFailed(Service::Firewall(Firewall::Service))
            && matches!(id, 7000 | 7001 | 7023 | 7024 | 7031 | 7034)
    })
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    if let Some(value) = value {
        return Err(unknown_value(&FIX, value));
    }
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        let key = set.path(KEY);
        match facts.registry().raw(HiveName::System, &key, NAME) {
            Reading::Found(_) => proposal.edits.push(delete(set)),
            Reading::Unreadable(why) | Reading::Malformed(why) => proposal
                .notes
                .push(format!("{} cannot be read: {why}", system_path(&key, NAME))),
            Reading::NoKey | Reading::NoValue => {}
        }
    }
    Ok(proposal)
}
