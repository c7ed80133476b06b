// SPDX-License-Identifier: GPL-2.0-or-later
//! Whether Remote Desktop is switched on.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::{Reading, value};

use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Severity, Stage, shown, system_path,
    unjudged, unknown_value,
};

const TERMINAL_SERVER: &str = r"Control\Terminal Server";
const POLICY: &str = r"Policies\Microsoft\Windows NT\Terminal Services";
const DENY: &str = "fDenyTSConnections";

/// Value, what it must be, and what another value does.
const SWITCHES: [(&str, u32, &str); 3] = [
    ("TSEnabled", 1, "0 switches Terminal Services off"),
    ("TSServerDrainMode", 0, "drain mode refuses new sessions"),
    ("TSUserEnabled", 0, "1 refuses user logons"),
];

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/troubleshoot-rdp-general-error",
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

const OFF: Problem = Problem {
    id: "rdp-enable.off",
    title: "Remote Desktop is switched off",
    severity: Severity::Broken,
    stage: Stage::Listener,
    trigger: "fDenyTSConnections is not 0 or not there, its policy copy is there and not 0, or one of the others has the wrong value.",
    cause: "Windows does not listen for Remote Desktop connections while this is set.",
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
    looks_at: "fDenyTSConnections, TSEnabled, TSServerDrainMode and TSUserEnabled in Control\\Terminal Server, and the policy copy of fDenyTSConnections in SOFTWARE, which overrides it.",
    healthy: "fDenyTSConnections 0, no policy copy or one that is 0. The three others are absent on most machines and matter only where they are there.",
    problems: &[&KEY_MISSING, &OFF, &STATIONS_DISABLED, &UNCLEAR],
    source: SOURCE,
    run,
};

pub(super) const FIX: Fix = Fix {
    name: "rdp-enable",
    values: "",
    title: "Switch Remote Desktop on",
    explanation: "Sets fDenyTSConnections to 0 in every control set that Select names and deletes the policy copy in SOFTWARE when that denies. Sets TSEnabled to 1, TSServerDrainMode and TSUserEnabled to 0 where they are there with another value. A domain's group policy may bring the policy copy back.",
    source: SOURCE,
    edits,
};

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut off = Gathered::new(&OFF, SOURCE);
    let mut findings = Vec::new();
    let mut missing = Gathered::new(&KEY_MISSING, SOURCE);
    for set in facts.sets() {
        let key = set.path(TERMINAL_SERVER);
        let location = system_path(&key, DENY);
        let cure = [Edit::dword(HiveName::System, &key, DENY, 0)];
        match facts.system_dword(&key, DENY) {
            Reading::Found(0) => {}
            Reading::Found(value) => off.add(
                set.is_active(),
                location,
                shown(value),
                "REG_DWORD 0x0",
                cure,
            ),
            Reading::NoValue => off.add(
                set.is_active(),
                location,
                "no value".to_owned(),
                "REG_DWORD 0x0",
                cure,
            ),
            // An unreadable hive is reported as a whole by its own check.
            Reading::Unreadable(_) => {}
            Reading::NoKey => missing.add(
                set.is_active(),
                HiveName::System.full_path(&key),
                "no key".to_owned(),
                "the key",
                [],
            ),
            Reading::Malformed(found) => {
                findings.push(unjudged(&UNCLEAR, location, found, "REG_DWORD 0x0", SOURCE));
            }
        }
        for (name, target, _) in SWITCHES {
            if let Reading::Found(value) = facts.system_dword(&key, name)
                && value != target
            {
                off.add(
                    set.is_active(),
                    system_path(&key, name),
                    shown(value),
                    &format!("REG_DWORD {target:#x}, or no value"),
                    [Edit::dword(HiveName::System, &key, name, target)],
                );
            }
        }
    }
    let policy = format!("{}\\{DENY}", HiveName::Software.full_path(POLICY));
    match facts.software_dword(POLICY, DENY) {
        Reading::Found(0) | Reading::NoKey | Reading::NoValue => {}
        Reading::Found(value) => {
            off.add(
                true,
                policy,
                shown(value),
                "no value, or REG_DWORD 0x0",
                [delete_policy()],
            );
            off.finding.cause.add(
                "The policy copy overrides the setting itself; a domain's group policy may bring it back.",
            );
        }
        Reading::Malformed(found) => {
            findings.push(unjudged(&UNCLEAR, policy, found, "no value", SOURCE));
        }
        // SOFTWARE as a whole is reported by the check of the hives.
        Reading::Unreadable(_) => {}
    }
    findings.extend(missing.into_finding());
    findings.extend(off.into_finding());
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

fn delete_policy() -> Edit {
    Edit::DeleteValue {
        hive: HiveName::Software,
        key: POLICY.to_owned(),
        name: DENY.to_owned(),
    }
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    if let Some(value) = value {
        return Err(unknown_value(&FIX, value));
    }
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        let key = set.path(TERMINAL_SERVER);
        proposal
            .edits
            .push(Edit::dword(HiveName::System, &key, DENY, 0));
        for (name, target, _) in SWITCHES {
            if let Reading::Found(value) = facts.system_dword(&key, name)
                && value != target
            {
                proposal
                    .edits
                    .push(Edit::dword(HiveName::System, &key, name, target));
            }
        }
    }
    match facts.software_dword(POLICY, DENY) {
        Reading::Found(0) | Reading::NoKey | Reading::NoValue => {}
        Reading::Found(_) | Reading::Malformed(_) => proposal.edits.push(delete_policy()),
        Reading::Unreadable(error) => proposal.notes.push(format!(
            "SOFTWARE cannot be read ({error}), so a policy that overrides this setting may remain"
        )),
    }
    Ok(proposal)
}
