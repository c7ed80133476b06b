// SPDX-License-Identifier: GPL-2.0-or-later
//! The Group Policy client, held while a repair settles.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::Reading;

use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Severity, Stage, shown, system_path,
    unknown_value,
};

const KEY: &str = r"Services\gpsvc";

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/troubleshoot-rdp-internal-error",
];

const HELD: Problem = Problem {
    id: "group-policy.held",
    title: "The Group Policy client is switched off",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "Start is 4 in the control set that starts.",
    cause: "No group policy is applied while this is so. It prevents nothing; release it when the repair has held.",
    fixes: &["group-policy=release"],
};

pub(super) const CHECK: Check = Check {
    id: "group-policy",
    title: "The Group Policy client is not left switched off",
    looks_at: "Start of the service gpsvc.",
    healthy: "2. 4 is a known temporary measure against policies that take a repair back.",
    problems: &[&HELD],
    source: SOURCE,
    run,
};

pub(super) const FIX: Fix = Fix {
    name: "group-policy",
    values: "hold or release; hold when nothing is said",
    title: "Hold group policy back, or release it again",
    explanation: "hold sets Start of gpsvc to 4 so that a policy cannot take the repair back at the next start; release sets it to 2. Temporary: release it once the machine can be reached.",
    source: SOURCE,
    edits,
};

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut held = Gathered::new(&HELD, SOURCE);
    for set in facts.sets().iter().filter(|set| set.is_active()) {
        let key = set.path(KEY);
        if let Reading::Found(4) = facts.system_dword(&key, "Start") {
            held.add(
                true,
                system_path(&key, "Start"),
                shown(4),
                "REG_DWORD 0x2",
                [],
            );
        }
    }
    held.into_finding().into_iter().collect()
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    let start = match value {
        None | Some("hold") => 4,
        Some("release") => 2,
        Some(other) => return Err(unknown_value(&FIX, other)),
    };
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        let key = set.path(KEY);
        if facts.registry().has_key(HiveName::System, &key) == Ok(true) {
            proposal
                .edits
                .push(Edit::dword(HiveName::System, &key, "Start", start));
        } else {
            proposal.notes.push(format!(
                "{} is not there; it is not invented",
                HiveName::System.full_path(&key)
            ));
        }
    }
    if start == 4 {
        proposal.notes.push(
            "group policy is held until you release it: --fix group-policy=release".to_owned(),
        );
    }
    Ok(proposal)
}
