// SPDX-License-Identifier: GPL-2.0-or-later
//! How many sessions there may be, how long they last, and what carries them.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::Reading;
use crate::windows::rdp_settings::{
    Decides, LISTENER, MAX_CONNECTION_TIME, MAX_DISCONNECTION_TIME, MAX_IDLE_TIME,
    MAX_INSTANCE_COUNT, POLICY, Setting,
};

use super::twins::{self, deletion_note, tell_origin};
use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage, shown, unjudged,
    unknown_value,
};

/// Any number of sessions: a REG_DWORD is unsigned.
const NO_LIMIT: u32 = u32::MAX;

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/troubleshoot-rdp-intermittent-connectivity",
    "https://learn.microsoft.com/azure/virtual-machines/windows/prepare-for-upload-vhd-image",
];

const NONE: Problem = Problem {
    id: "rdp-sessions.none",
    title: "The listener is allowed no session",
    severity: Severity::Risk,
    stage: Stage::Session,
    trigger: "MaxInstanceCount in force (the policy, else the listener's own) is 0.",
    cause: "The number of sessions that may be open at once is 0. Windows sets 4294967295, which is no limit.",
    fixes: &[FIX.name],
};

const LIMITED: Problem = Problem {
    id: "rdp-sessions.limited",
    title: "Sessions are limited in number or time",
    severity: Severity::Notice,
    stage: Stage::Session,
    trigger: "MaxInstanceCount in force is neither 0 nor 4294967295; or MaxIdleTime, MaxConnectionTime or MaxDisconnectionTime is not 0, in policy, or of a listener that does not leave it to the user's account.",
    cause: "Sessions that end by themselves, or that are refused while others are open, may be meant so.",
    fixes: &[FIX.name],
};

const UNCLEAR: Problem = Problem::unclear("rdp-sessions.unclear", Stage::Session);

pub(super) const CHECK: Check = Check {
    id: "rdp-sessions",
    title: "Sessions are not limited",
    looks_at: "MaxInstanceCount, MaxIdleTime, MaxConnectionTime and MaxDisconnectionTime of the listener, and the policies that override them.",
    healthy: "MaxInstanceCount 4294967295, the others 0, or no value. Time limits are in milliseconds.",
    problems: &[&NONE, &LIMITED, &UNCLEAR],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: "rdp-sessions",
    values: "",
    title: "Lift the limits of sessions and keep connections alive",
    explanation: "The settings of Microsoft's article on connections that drop now and then, with its mistakes corrected. Listener, in every control set that Select names: KeepAliveTimeout 1, fInheritReconnectSame 1 and fReconnectSame 0 (the article says the opposite of Windows' default), fInheritMaxSessionTime, fInheritMaxDisconnectionTime and fInheritMaxIdleTime 1, MaxConnectionTime, MaxDisconnectionTime and MaxIdleTime 0, MaxInstanceCount 4294967295, fQueryUserConfigFromLocalMachine 1. SecurityLayer, which the article lowers, stays. Policy: KeepAliveEnable 1, KeepAliveInterval 1, fDisableAutoReconnect 0; policies that limit sessions are deleted. Nothing is done where the listener is missing.",
    source: SOURCE,
    edits,
};

pub(super) const UDP_TRANSPORT: Fix = Fix {
    name: "udp-transport",
    values: "off or on; off when nothing is said",
    title: "Carry Remote Desktop over TCP alone, or over UDP too",
    explanation: "off sets the policy SelectTransport to 1 (TCP only), which ends sessions that drop about a minute after they began because a network swallows UDP; on deletes it.",
    source: &[
        "https://learn.microsoft.com/windows/client-management/mdm/policy-csp-admx-terminalserver",
    ],
    edits: udp_transport,
};

pub(super) const KEEP_ALIVE: Fix = Fix {
    name: "keep-alive",
    values: "minutes from 1 to 5, or off; 1 when nothing is said",
    title: "Send keep-alive messages through idle sessions",
    explanation: "Sets the policies KeepAliveEnable to 1 and KeepAliveInterval to the minutes between two messages, so that routers do not forget an idle connection; off deletes both.",
    source: &[
        "https://learn.microsoft.com/windows/client-management/mdm/policy-csp-admx-terminalserver",
    ],
    edits: keep_alive,
};

/// What the listener gets.
const OF_LISTENER: [(&str, u32); 11] = [
    ("KeepAliveTimeout", 1),
    ("fInheritReconnectSame", 1),
    ("fReconnectSame", 0),
    ("fInheritMaxSessionTime", 1),
    ("fInheritMaxDisconnectionTime", 1),
    ("MaxDisconnectionTime", 0),
    ("MaxConnectionTime", 0),
    ("fInheritMaxIdleTime", 1),
    ("MaxIdleTime", 0),
    ("MaxInstanceCount", NO_LIMIT),
    ("fQueryUserConfigFromLocalMachine", 1),
];

/// What the policy gets.
const OF_POLICY: [(&str, u32); 3] = [
    ("KeepAliveEnable", 1),
    ("KeepAliveInterval", 1),
    ("fDisableAutoReconnect", 0),
];

/// The limits, and the number that is none.
const LIMITS: [(&Setting, u32); 4] = [
    (&MAX_INSTANCE_COUNT, NO_LIMIT),
    (&MAX_IDLE_TIME, 0),
    (&MAX_CONNECTION_TIME, 0),
    (&MAX_DISCONNECTION_TIME, 0),
];

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut none = Gathered::new(&NONE, SOURCE);
    let mut limited = Gathered::new(&LIMITED, SOURCE);
    for (setting, unlimited) in LIMITS {
        if let Reading::Malformed(found) = setting.read_policy(facts.registry()) {
            let path = setting.policy_path();
            findings.push(unjudged(&UNCLEAR, path, found, "no value", SOURCE));
        }
        let expected = shown(unlimited);
        let mut told = false;
        for set in facts.sets() {
            let twin = setting.read(facts.registry(), set);
            if let Reading::Malformed(found) = &twin.machine {
                let (path, found) = (setting.machine_path(set), found.clone());
                findings.push(unjudged(&UNCLEAR, path, found, &expected, SOURCE));
            }
            let Some((value, decides, path)) = twins::in_force(facts, set, setting) else {
                continue;
            };
            if value == unlimited {
                continue;
            }
            // The machine's own holds once the policy is gone.
            let delete = (decides == Decides::Policy).then(|| setting.delete_policy());
            let own = matches!(twin.machine, Reading::Found(own) if own != unlimited);
            let lift = (own && !twin.inherited).then(|| setting.set(set, unlimited));
            let gathered = if *setting == MAX_INSTANCE_COUNT && value == 0 {
                &mut none
            } else {
                &mut limited
            };
            let cure = delete.into_iter().chain(lift);
            if told && decides == Decides::Policy {
                gathered.finding.cure.extend(cure);
                continue;
            }
            gathered.add(set.is_active(), path, shown(value), &expected, cure);
            if decides == Decides::Policy {
                tell_origin(facts, setting.name, &mut gathered.finding);
                told = true;
            }
        }
    }
    findings.extend(none.into_finding());
    findings.extend(limited.into_finding());
    findings
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    if let Some(value) = value {
        return Err(unknown_value(&FIX, value));
    }
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        let key = set.path(LISTENER);
        if facts.registry().has_key(HiveName::System, &key) != Ok(true) {
            proposal.notes.push(format!(
                "{} is not there; it is not invented",
                HiveName::System.full_path(&key)
            ));
            continue;
        }
        for (name, target) in OF_LISTENER {
            let edit = Edit::dword(HiveName::System, &key, name, target);
            proposal.edits.push(edit);
        }
    }
    // A policy for a listener that is not there would be left behind.
    if proposal.edits.is_empty() {
        return Ok(proposal);
    }
    proposal.edits.extend(policies(&OF_POLICY));
    for (setting, unlimited) in LIMITS {
        if twins::policy_differs(facts, setting, unlimited) {
            proposal.edits.push(setting.delete_policy());
            proposal.notes.push(deletion_note(facts, setting));
        }
    }
    Ok(proposal)
}

/// The key of the policies, and values in it.
fn policies(values: &[(&str, u32)]) -> Vec<Edit> {
    let key = Edit::CreateKey {
        hive: HiveName::Software,
        key: POLICY.to_owned(),
    };
    let values = values
        .iter()
        .map(|(name, target)| Edit::dword(HiveName::Software, POLICY, *name, *target));
    std::iter::once(key).chain(values).collect()
}

/// Deletes those values of policy that are there.
fn without(facts: &Facts<'_>, names: &[&str]) -> Vec<Edit> {
    let there = names
        .iter()
        .filter(|name| !facts.software_dword(POLICY, name).is_absent());
    there
        .map(|name| Edit::DeleteValue {
            hive: HiveName::Software,
            key: POLICY.to_owned(),
            name: (*name).to_owned(),
        })
        .collect()
}

fn udp_transport(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    const NAME: &str = "SelectTransport";
    let edits = match value {
        None | Some("off") => policies(&[(NAME, 1)]),
        Some("on") => without(facts, &[NAME]),
        Some(other) => return Err(unknown_value(&UDP_TRANSPORT, other)),
    };
    Ok(Proposal {
        edits,
        ..Proposal::default()
    })
}

fn keep_alive(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    let edits = match value {
        Some("off") => without(facts, &["KeepAliveEnable", "KeepAliveInterval"]),
        _ => {
            let minutes = match value.unwrap_or("1").parse::<u32>() {
                Ok(minutes @ 1..=5) => minutes,
                _ => return Err(unknown_value(&KEEP_ALIVE, value.unwrap_or_default())),
            };
            policies(&[("KeepAliveEnable", 1), ("KeepAliveInterval", minutes)])
        }
    };
    Ok(Proposal {
        edits,
        ..Proposal::default()
    })
}
