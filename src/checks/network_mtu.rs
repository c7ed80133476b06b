// SPDX-License-Identifier: GPL-2.0-or-later
//! The longest packet that an adapter sends.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::Reading;

use super::network_dhcp::interfaces;
use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage, shown,
    system_path, unjudged, unknown_value,
};

/// What every host has to accept (RFC 791), and what Ethernet carries.
const SMALLEST: u32 = 576;
const LARGEST: u32 = 1500;

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/windows-client/networking/tcpip-and-nbt-configuration-parameters",
    "https://www.rfc-editor.org/rfc/rfc791",
];

const UNUSUAL: Problem = Problem {
    id: "network-mtu.unusual",
    title: "A network adapter has an unusual packet length",
    severity: Severity::Notice,
    stage: Stage::Session,
    trigger: "MTU of an adapter is below 576 or above 1500.",
    cause: "Packets that are longer than the way allows are lost, and the session hangs as soon as it has much to send. Longer ones than 1500 need a network made for them.",
    fixes: &[FIX.name],
};

const UNCLEAR: Problem = Problem::unclear("network-mtu.unclear", Stage::Session);

pub(super) const CHECK: Check = Check {
    id: "network-mtu",
    title: "Network adapters send packets of usual length",
    looks_at: "MTU of every adapter below Tcpip\\Parameters\\Interfaces.",
    healthy: "No value (what the adapter says), or 576 to 1500.",
    problems: &[&UNUSUAL, &UNCLEAR],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: "mtu",
    values: "a length from 576 to 1500, such as 1300, or default",
    title: "Set the longest packet of the network adapters",
    explanation: "Sets MTU on every adapter with addresses below Tcpip\\Parameters\\Interfaces, in every control set that Select names; default deletes the value. Sessions that hang through a VPN or a tunnel often need a shorter one.",
    source: SOURCE,
    edits,
};

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut unusual = Gathered::new(&UNUSUAL, SOURCE);
    let mut findings = Vec::new();
    for set in facts.sets() {
        for key in interfaces(facts, set) {
            let place = system_path(&key, "MTU");
            match facts.system_dword(&key, "MTU") {
                Reading::Found(length) if !(SMALLEST..=LARGEST).contains(&length) => {
                    unusual.add(set.is_active(), place, shown(length), "576 to 1500", []);
                }
                Reading::Malformed(found) => {
                    findings.push(unjudged(&UNCLEAR, place, found, "REG_DWORD", SOURCE));
                }
                _ => {}
            }
        }
    }
    findings.extend(unusual.into_finding());
    findings
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    let length = match value {
        Some("default") => None,
        Some(text) => match text.parse::<u32>() {
            Ok(length) if (SMALLEST..=LARGEST).contains(&length) => Some(length),
            _ => return Err(unknown_value(&FIX, text)),
        },
        None => return Err(unknown_value(&FIX, "")),
    };
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        for key in interfaces(facts, set) {
            match length {
                // Keys without it are bindings, not adapters.
                Some(length) if !facts.system_dword(&key, "EnableDHCP").is_absent() => {
                    let edit = Edit::dword(HiveName::System, &key, "MTU", length);
                    proposal.edits.push(edit);
                }
                Some(_) => {}
                None => proposal.edits.push(Edit::DeleteValue {
                    hive: HiveName::System,
                    key,
                    name: "MTU".to_owned(),
                }),
            }
        }
    }
    Ok(proposal)
}
