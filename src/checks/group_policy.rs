// SPDX-License-Identifier: GPL-2.0-or-later
//! The Group Policy client, held while a repair settles, and what it will do when it next runs.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::Reading;
use crate::windows::rdp_settings::POLICY;

use super::twins::{self, HOLD};
use super::{
    Check, Evidence, EvidenceKind, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity,
    Stage, shown, system_path, unknown_value,
};

const KEY: &str = r"Services\gpsvc";
const RELEASE: &str = "group-policy=release";

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
    fixes: &[RELEASE, "harden"],
};

const RETURNS: Problem = Problem {
    id: "group-policy.returns",
    title: "Group Policy will break Remote Desktop at its next refresh",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "A Registry.pol on the disk (the local policy, or a copy of one of the domain) gives fDenyTSConnections, UserAuthentication, SecurityLayer or MinEncryptionLevel a wrong value, SOFTWARE does not have it now, and gpsvc is not switched off.",
    cause: "Nothing is wrong yet, or no longer, but Windows will write the value again. Change the policy once the machine can be reached, and hold group policy back until then.",
    fixes: &[HOLD],
};

const UNREADABLE: Problem = Problem {
    id: "group-policy.unreadable",
    title: "A policy file cannot be read",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "A Registry.pol or ntuser.pol is there and cannot be read, or is not of the format of such files.",
    cause: "What policy will set is not known. coldfix leaves the file alone.",
    fixes: &[],
};

pub(super) const CHECK: Check = Check {
    id: "group-policy",
    title: "Group Policy neither stands in the way of a repair nor was left switched off",
    looks_at: "Start of the service gpsvc; System32\\GroupPolicy\\Machine\\Registry.pol, the copies of a domain's policies below System32\\GroupPolicy\\DataStore, and ProgramData\\ntuser.pol, Windows' record of what it applied.",
    healthy: "Start 2; 4 is a known temporary measure against policies that take a repair back. No policy file, or none that touches the settings of Remote Desktop.",
    problems: &[&HELD, &RETURNS, &UNREADABLE],
    source: SOURCE,
    run: Run::System(run),
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
    let mut findings: Vec<Finding> = held.into_finding().into_iter().collect();
    if findings.is_empty() {
        findings.extend(returning(facts));
    }
    findings.extend(unreadable(facts));
    findings
}

/// Wrong values that a policy file holds and SOFTWARE does not.
fn returning(facts: &Facts<'_>) -> Option<Finding> {
    let mut finding = RETURNS.found(SOURCE, Vec::new());
    for judged in twins::ALL {
        let setting = &judged.setting;
        let now = setting.read_policy(facts.registry()).found();
        let next = facts.group_policy().next(POLICY, setting.name);
        if let Some((value, source)) = next
            && !(judged.right)(value)
            && now.is_none_or(judged.right)
        {
            let says = format!("sets {} to {}", setting.name, shown(value));
            finding.evidence.push(twins::file_evidence(source, says));
        }
    }
    (!finding.evidence.is_empty()).then_some(finding)
}

fn unreadable(facts: &Facts<'_>) -> Option<Finding> {
    let sources = facts.group_policy().sources.iter();
    let evidence: Vec<Evidence> = sources
        .filter_map(|source| {
            Some(Evidence {
                kind: EvidenceKind::File,
                location: source.path.clone(),
                found: source.file.as_ref().err()?.clone(),
                expected: "a registry policy file, or none".to_owned(),
            })
        })
        .collect();
    (!evidence.is_empty()).then(|| UNREADABLE.found(SOURCE, evidence))
}

/// What releases group policy where it is held.
pub(super) fn release(facts: &Facts<'_>) -> Vec<Edit> {
    let held = facts.sets().iter().filter_map(|set| {
        let key = set.path(KEY);
        let held = facts.system_dword(&key, "Start") == Reading::Found(4);
        held.then(|| Edit::dword(HiveName::System, key, "Start", 2))
    });
    held.collect()
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
