// SPDX-License-Identifier: GPL-2.0-or-later
//! Whether Remote Desktop is switched on.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::rdp_settings::{DENY, TERMINAL_SERVER};
use crate::windows::{Reading, value};

use super::twins::{NOT_DENIED, Twins, deletion_note};
use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage, shown,
    system_path, unjudged, unknown_value,
};

/// Values that matter only where they are there, and what they must be.
const SWITCHES: [(&str, u32); 3] = [
    // 0 switches Terminal Services off
    ("TSEnabled", 1),
    // drain mode refuses new sessions
    ("TSServerDrainMode", 0),
    // 1 refuses user logons
    ("TSUserEnabled", 0),
];

const BY_POLICY: &str =
    "Remote Desktop is switched off by Group Policy; the local setting is right";

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/troubleshoot-rdp-general-error",
    "https://learn.microsoft.com/troubleshoot/windows-server/remote/rdp-error-general-troubleshooting",
    "Azure/repair-script-library win-fix-rdp-connectivity",
];

const KEY_MISSING: Problem = Problem {
    id: "rdp-enable.key-missing",
    title: "The key of Terminal Services is missing",
    severity: Severity::Broken,
    stage: Stage::Listener,
    trigger: "The key Control\\Terminal Server is not there.",
    cause: "The installation is damaged: this key is part of every Windows. coldfix does not invent it; restore SYSTEM from a backup.",
    fixes: &[],
};

const POLICY: Problem = Problem {
    id: "rdp-enable.policy",
    title: "Remote Desktop is switched off by Group Policy",
    severity: Severity::Broken,
    stage: Stage::Listener,
    trigger: "fDenyTSConnections is there in SOFTWARE\\Policies\\Microsoft\\Windows NT\\Terminal Services and not 0.",
    cause: "The policy overrides the machine's own setting, whatever that says.",
    fixes: &[FIX.name],
};

const OFF: Problem = Problem {
    id: "rdp-enable.off",
    title: "Remote Desktop is switched off",
    severity: Severity::Broken,
    stage: Stage::Listener,
    trigger: "fDenyTSConnections is not 0 or not there and no policy says 0, or TSEnabled, TSServerDrainMode or TSUserEnabled is there with the wrong value.",
    cause: "Windows does not listen for Remote Desktop connections while this is set.",
    fixes: &[FIX.name],
};

const OVERRIDDEN: Problem = Problem {
    id: "rdp-enable.overridden",
    title: "Only a policy keeps Remote Desktop on",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "fDenyTSConnections is not 0 or not there, and a policy says 0.",
    cause: "The policy overrides the machine's own setting, which would switch Remote Desktop off. It does so once the policy is gone.",
    fixes: &[FIX.name],
};

const STATIONS_DISABLED: Problem = Problem {
    id: "rdp-enable.stations-disabled",
    title: "Remote sessions are disabled at logon",
    severity: Severity::Risk,
    stage: Stage::Listener,
    trigger: "WinStationsDisabled in Winlogon is \"1\".",
    cause: "WinStationsDisabled is said to refuse every remote session. This rests on general knowledge; coldfix reports it and leaves it alone.",
    fixes: &[],
};

const UNCLEAR: Problem = Problem::unclear("rdp-enable.unclear", Stage::Listener);

pub(super) const CHECK: Check = Check {
    id: "rdp-enable",
    title: "Remote Desktop is switched on",
    looks_at: "fDenyTSConnections, TSEnabled, TSServerDrainMode and TSUserEnabled in Control\\Terminal Server, the policy that overrides fDenyTSConnections, and the policy files that set it.",
    healthy: "fDenyTSConnections 0, no policy or one that is 0. The three others are absent on most machines and matter only where they are there.",
    problems: &[
        &KEY_MISSING,
        &POLICY,
        &OFF,
        &OVERRIDDEN,
        &STATIONS_DISABLED,
        &UNCLEAR,
    ],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: "rdp-enable",
    values: "",
    title: "Switch Remote Desktop on",
    explanation: "Sets fDenyTSConnections to 0 in every control set that Select names and deletes the policy in SOFTWARE when that denies. Sets TSEnabled to 1, TSServerDrainMode and TSUserEnabled to 0 where they are there with another value. Group policy may bring the policy back: --fix group-policy=hold prevents that for the time being.",
    source: SOURCE,
    edits,
};

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut twins = Twins::new([&POLICY, &OFF, &OVERRIDDEN, &UNCLEAR], SOURCE);
    let mut findings = Vec::new();
    let mut missing = Gathered::new(&KEY_MISSING, SOURCE);
    twins.judge_policy(facts, &NOT_DENIED);
    for set in facts.sets() {
        let key = set.path(TERMINAL_SERVER);
        if facts.registry().has_key(HiveName::System, &key) == Ok(false) {
            missing.add(
                set.is_active(),
                HiveName::System.full_path(&key),
                "no key".to_owned(),
                "the key",
                [],
            );
            continue;
        }
        twins.judge_machine(facts, set, &NOT_DENIED);
        for (name, target) in SWITCHES {
            let expected = format!("REG_DWORD {target:#x}, or no value");
            match facts.system_dword(&key, name) {
                Reading::Found(value) if value != target => twins.machine.add(
                    set.is_active(),
                    system_path(&key, name),
                    shown(value),
                    &expected,
                    [Edit::dword(HiveName::System, &key, name, target)],
                ),
                Reading::Malformed(found) => findings.push(unjudged(
                    &UNCLEAR,
                    system_path(&key, name),
                    found,
                    &expected,
                    SOURCE,
                )),
                _ => {}
            }
        }
    }
    findings.extend(missing.into_finding());
    let mut judged = twins.into_findings();
    if let ([one], true) = (judged.as_mut_slice(), findings.is_empty())
        && one.id == POLICY.id
    {
        one.sentence = Some(BY_POLICY);
    }
    findings.append(&mut judged);
    findings.extend(disabled_stations(facts));
    findings
}

/// `WinStationsDisabled` "1" refuses all remote sessions; the sources are weak, so it is only shown.
fn disabled_stations(facts: &Facts<'_>) -> Option<Finding> {
    const WINLOGON: &str = r"Microsoft\Windows NT\CurrentVersion\Winlogon";
    let text = facts
        .registry()
        .text(HiveName::Software, WINLOGON, "WinStationsDisabled")
        .found()?;
    if text.trim() != "1" {
        return None;
    }
    let mut gathered = Gathered::new(&STATIONS_DISABLED, SOURCE);
    gathered.add(
        true,
        format!(
            "{}\\WinStationsDisabled",
            HiveName::Software.full_path(WINLOGON)
        ),
        value::describe(value::SZ, &crate::edit::utf16_with_terminator(&text)),
        "REG_SZ \"0\"",
        [],
    );
    gathered.into_finding()
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    if let Some(value) = value {
        return Err(unknown_value(&FIX, value));
    }
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        let key = set.path(TERMINAL_SERVER);
        if facts.registry().has_key(HiveName::System, &key) != Ok(true) {
            proposal.notes.push(format!(
                "{} is not there; it is not invented",
                HiveName::System.full_path(&key)
            ));
            continue;
        }
        proposal.edits.push(DENY.set(set, 0));
        for (name, target) in SWITCHES {
            if let Reading::Found(value) = facts.system_dword(&key, name)
                && value != target
            {
                proposal
                    .edits
                    .push(Edit::dword(HiveName::System, &key, name, target));
            }
        }
    }
    match DENY.read_policy(facts.registry()) {
        Reading::Found(0) | Reading::NoKey | Reading::NoValue => {}
        Reading::Found(_) => {
            proposal.edits.push(DENY.delete_policy());
            proposal.notes.push(deletion_note(facts, &DENY));
        }
        Reading::Malformed(found) => proposal.notes.push(format!(
            "{} is {found}, which cannot be judged; it is left alone",
            DENY.policy_path()
        )),
        Reading::Unreadable(error) => proposal.notes.push(format!(
            "SOFTWARE cannot be read ({error}), so a policy that overrides this setting may remain"
        )),
    }
    Ok(proposal)
}
