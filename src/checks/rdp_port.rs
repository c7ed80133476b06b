// SPDX-License-Identifier: GPL-2.0-or-later
//! The port of the listener.
//!
//! Setting it also opens it in the firewall: Windows' own rule opens 3389 and nothing else, so a listener on
//! another port without a rule of its own answers nobody.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::{ControlSet, Reading};

use super::rdp_listener::LISTENER;
use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage, firewall, shown,
    system_path, unjudged, unknown_value,
};

const NAME: &str = "PortNumber";
/// The port that Remote Desktop has unless somebody moves it.
pub(super) const STANDARD: u16 = 3389;

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/azure/virtual-machines/windows/prepare-for-upload-vhd-image",
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/enable-disable-firewall-rule-guest-os",
    "Azure/repair-script-library win-fix-rdp-connectivity",
];

const INVALID: Problem = Problem {
    id: "rdp-port.invalid",
    title: "The listener's port is not a port",
    severity: Severity::Broken,
    stage: Stage::Listener,
    trigger: "PortNumber is 0 or above 65535.",
    cause: "Windows cannot listen on this number.",
    fixes: &[FIX.name],
};

const MOVED: Problem = Problem {
    id: "rdp-port.moved",
    title: "The listener uses another port than 3389",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "PortNumber is not 3389.",
    cause: "Whoever connects has to name the port, and network rules outside the machine have to allow it. Somebody may have meant it, so it is changed only when asked for by name.",
    fixes: &[FIX.name],
};

const UNCLEAR: Problem = Problem::unclear("rdp-port.unclear", Stage::Listener);

pub(super) const CHECK: Check = Check {
    id: "rdp-port",
    title: "The listener's port is valid",
    looks_at: "PortNumber of the listener.",
    healthy: "No value (3389), or a port from 1 to 65535.",
    problems: &[&INVALID, &MOVED, &UNCLEAR],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: "rdp-port",
    values: "a port from 1 to 65535; 3389 when nothing is said",
    title: "Set the listener's port and open it in the firewall",
    explanation: "Sets PortNumber in every control set that Select names. For 3389 it activates Windows' own Remote Desktop rule (a lost one is copied from the machine's stock rules); for another port it adds a rule of its own, RDP-Repair-In-TCP-<port>. Nothing is added where an active rule already allows the port.",
    source: SOURCE,
    edits,
};

/// The listener's port in one control set.
enum Port {
    Valid(u16),
    Invalid(u32),
    /// The listener or the value cannot be judged; other checks report why.
    Unknown,
}

fn port_of(facts: &Facts<'_>, set: &ControlSet) -> Port {
    match facts.system_dword(&set.path(LISTENER), NAME) {
        Reading::Found(number) => match u16::try_from(number) {
            Ok(port) if port != 0 => Port::Valid(port),
            _ => Port::Invalid(number),
        },
        Reading::NoValue => Port::Valid(STANDARD),
        Reading::NoKey | Reading::Malformed(_) | Reading::Unreadable(_) => Port::Unknown,
    }
}

/// The port that the listener has, or will have once an invalid number is cured; `None` when it is not known.
pub(super) fn expected_port(facts: &Facts<'_>, set: &ControlSet) -> Option<u16> {
    match port_of(facts, set) {
        Port::Valid(port) => Some(port),
        Port::Invalid(_) => Some(STANDARD),
        Port::Unknown => None,
    }
}

/// The same, and the standard port where the listener has no key.
pub(super) fn expected_or_standard_port(facts: &Facts<'_>, set: &ControlSet) -> Option<u16> {
    match facts.system_dword(&set.path(LISTENER), NAME) {
        Reading::NoKey => Some(STANDARD),
        _ => expected_port(facts, set),
    }
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut invalid = Gathered::new(&INVALID, SOURCE);
    let mut moved = Gathered::new(&MOVED, SOURCE);

    for set in facts.sets() {
        let key = set.path(LISTENER);
        let location = system_path(&key, NAME);
        let port = match port_of(facts, set) {
            Port::Valid(port) => port,
            Port::Invalid(number) => {
                invalid.add(
                    set.is_active(),
                    location,
                    shown(number),
                    &shown(STANDARD.into()),
                    [Edit::dword(HiveName::System, &key, NAME, STANDARD.into())],
                );
                continue;
            }
            Port::Unknown => {
                if let Reading::Malformed(found) = facts.system_dword(&key, NAME) {
                    findings.push(unjudged(
                        &UNCLEAR,
                        location,
                        found,
                        &shown(STANDARD.into()),
                        SOURCE,
                    ));
                }
                continue;
            }
        };
        if port != STANDARD {
            moved.add(
                set.is_active(),
                location.clone(),
                format!("{} ({port})", shown(port.into())),
                &format!("{} ({STANDARD})", shown(STANDARD.into())),
                [],
            );
        }
    }
    for gathered in [invalid, moved] {
        findings.extend(gathered.into_finding());
    }
    findings
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    let port = match value {
        None => STANDARD,
        Some(text) => match text.parse::<u16>() {
            Ok(port) if port != 0 => port,
            _ => return Err(unknown_value(&FIX, text)),
        },
    };
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
        proposal
            .edits
            .push(Edit::dword(HiveName::System, &key, NAME, port.into()));
        proposal.edits.extend(firewall::open_port(facts, set, port));
    }
    if port != STANDARD {
        proposal.notes.push(format!(
            "network rules outside this machine (a cloud security group, a router) must allow TCP {port} too"
        ));
    }
    Ok(proposal)
}
