// SPDX-License-Identifier: GPL-2.0-or-later
//! Network Level Authentication.

use crate::error::Result;
use crate::windows::Reading;
use crate::windows::rdp_settings::{LISTENER, USER_AUTHENTICATION};

use super::twins::{NLA, Twins, deletion_note, policy_differs};
use super::{Check, Facts, Finding, Fix, Problem, Proposal, Run, Severity, Stage, unknown_value};
use crate::edit::HiveName;

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/troubleshoot-rdp-internal-error",
    "Azure/repair-script-library win-fix-rdp-connectivity",
];

const POLICY: Problem = Problem {
    id: "nla.policy",
    title: "A policy gives Network Level Authentication an invalid setting",
    severity: Severity::Broken,
    stage: Stage::Handshake,
    trigger: "UserAuthentication is there in SOFTWARE\\Policies\\Microsoft\\Windows NT\\Terminal Services, and neither 0 nor 1.",
    cause: "Windows knows only 0 and 1 here, and the policy overrides the listener's own setting.",
    fixes: &[FIX.name],
};

const INVALID: Problem = Problem {
    id: "nla.invalid",
    title: "Network Level Authentication has an invalid setting",
    severity: Severity::Broken,
    stage: Stage::Handshake,
    trigger: "UserAuthentication of the listener is neither 0 nor 1, and no policy overrides it.",
    cause: "Windows knows only 0 and 1 here.",
    fixes: &[FIX.name],
};

const OVERRIDDEN: Problem = Problem {
    id: "nla.overridden",
    title: "An invalid setting of Network Level Authentication is overridden by policy",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "UserAuthentication of the listener is neither 0 nor 1, and a policy is.",
    cause: "The policy holds, and the listener's own setting does not. It does once the policy is gone.",
    fixes: &[FIX.name],
};

const UNCLEAR: Problem = Problem::unclear("nla.unclear", Stage::Handshake);

pub(super) const CHECK: Check = Check {
    id: "nla",
    title: "Network Level Authentication has a valid setting",
    looks_at: "UserAuthentication of the listener, and the policy that overrides it.",
    healthy: "No value, 0 or 1: NLA on is never a fault, NLA off is a choice.",
    problems: &[&POLICY, &INVALID, &OVERRIDDEN, &UNCLEAR],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: "nla",
    values: "on or off",
    title: "Switch Network Level Authentication on (or off)",
    explanation: "Sets UserAuthentication of the listener to 1 (0 for off) in every control set that Select names, and deletes the policy where that says otherwise. Off lowers security: anybody who reaches the port gets a logon screen. Use it only while no domain controller can be reached, and switch it on again.",
    source: SOURCE,
    edits,
};

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut twins = Twins::new([&POLICY, &INVALID, &OVERRIDDEN, &UNCLEAR], SOURCE);
    twins.judge_policy(facts, &NLA);
    for set in facts.sets() {
        twins.judge_machine(facts, set, &NLA);
    }
    twins.into_findings()
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    let target = match value {
        None | Some("on") => 1,
        Some("off") => 0,
        Some(other) => return Err(unknown_value(&FIX, other)),
    };
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        let key = set.path(LISTENER);
        if facts.registry().has_key(HiveName::System, &key) == Ok(true) {
            proposal.edits.push(USER_AUTHENTICATION.set(set, target));
        } else {
            proposal.notes.push(format!(
                "{} is not there; it is not invented",
                HiveName::System.full_path(&key)
            ));
        }
    }
    if target == 0 {
        proposal.lowers_security.push(
            "without NLA anybody who reaches the port gets a logon screen; switch it on again with --fix nla=on"
                .to_owned(),
        );
    }
    if policy_differs(facts, &USER_AUTHENTICATION, target) {
        proposal.edits.push(USER_AUTHENTICATION.delete_policy());
        proposal
            .notes
            .push(deletion_note(facts, &USER_AUTHENTICATION));
    } else if let Reading::Malformed(found) = USER_AUTHENTICATION.read_policy(facts.registry()) {
        proposal.notes.push(format!(
            "{} is {found}, which cannot be judged; it is left alone",
            USER_AUTHENTICATION.policy_path()
        ));
    }
    Ok(proposal)
}
