// SPDX-License-Identifier: GPL-2.0-or-later
//! Network Level Authentication.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::Reading;

use super::rdp_listener::LISTENER;
use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Severity, Stage, shown, system_path,
    unjudged, unknown_value,
};

const NAME: &str = "UserAuthentication";
const POLICY: &str = r"Policies\Microsoft\Windows NT\Terminal Services";

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/troubleshoot-rdp-internal-error",
    "Azure/repair-script-library win-fix-rdp-connectivity",
];

const INVALID: Problem = Problem {
    id: "nla.invalid",
    title: "Network Level Authentication has an invalid setting",
    severity: Severity::Broken,
    stage: Stage::Handshake,
    trigger: "UserAuthentication is neither 0 nor 1.",
    cause: "Windows knows only 0 and 1 here.",
    fixes: &[FIX.name],
};

const UNCLEAR: Problem = Problem::unclear("nla.unclear", Stage::Handshake);

pub(super) const CHECK: Check = Check {
    id: "nla",
    title: "Network Level Authentication has a valid setting",
    looks_at: "UserAuthentication of the listener.",
    healthy: "No value, 0 or 1: NLA on is never a fault, NLA off is a choice.",
    problems: &[&INVALID, &UNCLEAR],
    source: SOURCE,
    run,
};

pub(super) const FIX: Fix = Fix {
    name: "nla",
    values: "on or off",
    title: "Switch Network Level Authentication on (or off)",
    explanation: "Sets UserAuthentication of the listener to 1 (0 for off) in every control set that Select names. Off lowers security: anybody who reaches the port gets a logon screen. Use it only while no domain controller can be reached, and switch it on again.",
    source: SOURCE,
    edits,
};

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut invalid = Gathered::new(&INVALID, SOURCE);
    for set in facts.sets() {
        let key = set.path(LISTENER);
        match facts.system_dword(&key, NAME) {
            Reading::Found(value) if value > 1 => invalid.add(
                set.is_active(),
                system_path(&key, NAME),
                shown(value),
                "REG_DWORD 0x1 or 0x0",
                [Edit::dword(HiveName::System, &key, NAME, 1)],
            ),
            Reading::Malformed(found) => findings.push(unjudged(
                &UNCLEAR,
                system_path(&key, NAME),
                found,
                "REG_DWORD 0x1 or 0x0",
                SOURCE,
            )),
            _ => {}
        }
    }
    findings.extend(invalid.into_finding());
    findings
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
        proposal
            .edits
            .push(Edit::dword(HiveName::System, &key, NAME, target));
    }
    if target == 0 {
        proposal.lowers_security.push(
            "without NLA anybody who reaches the port gets a logon screen; switch it on again with --fix nla=on"
                .to_owned(),
        );
    }
    if let Reading::Found(policy) = facts.software_dword(POLICY, NAME)
        && policy != target
    {
        proposal.notes.push(format!(
            "the policy {}\\{NAME} is {policy} and overrides this setting; it is left alone (delete it with `coldfix reg delete` if it is in the way)",
            HiveName::Software.full_path(POLICY)
        ));
    }
    Ok(proposal)
}
