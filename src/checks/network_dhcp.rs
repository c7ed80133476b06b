// SPDX-License-Identifier: GPL-2.0-or-later
//! Addresses of the network adapters: given by DHCP, or set by hand.
//!
//! An address set by hand is normal on premises and a cause of silence in a cloud, which gives each machine its
//! address and routes no other to it. So it is a fault only where the disk tells that it comes from a cloud.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::{ControlSet, Reading};

use super::cloud::cloud;
use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage, system_path,
    unjudged, unknown_value,
};

pub(super) const INTERFACES: &str = r"Services\Tcpip\Parameters\Interfaces";
/// What makes up an address set by hand. What DHCP gives has names that begin with Dhcp.
const ADDRESS: [&str; 4] = [
    "IPAddress",
    "SubnetMask",
    "DefaultGateway",
    "DefaultGatewayMetric",
];
/// Stands for no address.
const PLACEHOLDER: &str = "0.0.0.0";

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/troubleshoot-rdp-static-ip",
    "Azure/repair-script-library win-fix-network-connectivity",
];

const STATIC_IN_CLOUD: Problem = Problem {
    id: "network-dhcp.static-in-cloud",
    title: "A network adapter of a cloud machine has an address set by hand",
    severity: Severity::Risk,
    stage: Stage::Network,
    trigger: "The disk tells that it comes from a cloud, and an adapter has EnableDHCP 0 and one address other than 0.0.0.0.",
    cause: "The cloud gives the machine its address and lets no other through. As soon as the two differ, after a move or a new network card, nothing reaches the machine.",
    fixes: &[FIX.name],
};

const SEVERAL_IN_CLOUD: Problem = Problem {
    id: "network-dhcp.several-in-cloud",
    title: "A network adapter of a cloud machine has several addresses set by hand",
    severity: Severity::Notice,
    stage: Stage::Network,
    trigger: "The disk tells that it comes from a cloud, and an adapter has EnableDHCP 0 and more than one address.",
    cause: "This is how further addresses are given to an adapter. If they are not those that the cloud knows for it, nothing reaches the machine.",
    fixes: &[FIX.name],
};

const STATIC: Problem = Problem {
    id: "network-dhcp.static",
    title: "A network adapter has an address set by hand",
    severity: Severity::Notice,
    stage: Stage::Network,
    trigger: "An adapter has EnableDHCP 0 and an address other than 0.0.0.0, and nothing tells that the disk comes from a cloud.",
    cause: "This is normal on premises. On another network than the one it was made for, the machine cannot be reached.",
    fixes: &[FIX.name],
};

const UNCLEAR: Problem = Problem::unclear("network-dhcp.unclear", Stage::Network);

pub(super) const CHECK: Check = Check {
    id: "network-dhcp",
    title: "Network adapters have addresses that fit where the machine runs",
    looks_at: "EnableDHCP and IPAddress of every adapter below Tcpip\\Parameters\\Interfaces. A cloud is told by the services of its agent (WindowsAzureGuestAgent, RdAgent, Ec2Config, Amazon EC2Launch, AWSLiteAgent, GCEAgent) or by the manufacturer in HardwareConfig (Amazon EC2, Google).",
    healthy: "EnableDHCP 1. No value is left alone, and 0.0.0.0 is no address.",
    problems: &[&STATIC_IN_CLOUD, &SEVERAL_IN_CLOUD, &STATIC, &UNCLEAR],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: "network-dhcp",
    values: "",
    title: "Let DHCP give the network adapters their addresses",
    explanation: "On every adapter with EnableDHCP 0 and an address: sets EnableDHCP to 1 and deletes IPAddress, SubnetMask, DefaultGateway and DefaultGatewayMetric. DNS servers set by hand stay; see network-dns.",
    source: SOURCE,
    edits,
};

/// An adapter with an address set by hand.
struct Static {
    key: String,
    addresses: Vec<String>,
}

/// The adapters of a control set, as keys.
pub(super) fn interfaces(facts: &Facts<'_>, set: &ControlSet) -> Vec<String> {
    let key = set.path(INTERFACES);
    let names = facts.registry().subkey_names(HiveName::System, &key);
    names
        .into_iter()
        .map(|name| format!(r"{key}\{name}"))
        .collect()
}

/// The adapters with addresses set by hand, and findings of what cannot be judged.
fn judge(facts: &Facts<'_>, set: &ControlSet) -> (Vec<Static>, Vec<Finding>) {
    let (mut found, mut unclear) = (Vec::new(), Vec::new());
    for key in interfaces(facts, set) {
        match facts.system_dword(&key, "EnableDHCP") {
            Reading::Found(0) => {}
            Reading::Malformed(text) => {
                let place = system_path(&key, "EnableDHCP");
                unclear.push(unjudged(&UNCLEAR, place, text, "REG_DWORD 0x1", SOURCE));
                continue;
            }
            _ => continue,
        }
        match facts
            .registry()
            .multi_text(HiveName::System, &key, "IPAddress")
        {
            Reading::Found(mut addresses) => {
                addresses.retain(|address| {
                    let address = address.trim();
                    !address.is_empty() && address != PLACEHOLDER
                });
                if !addresses.is_empty() {
                    found.push(Static { key, addresses });
                }
            }
            Reading::Malformed(text) => {
                let place = system_path(&key, "IPAddress");
                unclear.push(unjudged(&UNCLEAR, place, text, "REG_MULTI_SZ", SOURCE));
            }
            _ => {}
        }
    }
    (found, unclear)
}

fn cure(adapter: &Static) -> Vec<Edit> {
    let mut edits = vec![Edit::dword(HiveName::System, &adapter.key, "EnableDHCP", 1)];
    edits.extend(ADDRESS.map(|name| Edit::DeleteValue {
        hive: HiveName::System,
        key: adapter.key.clone(),
        name: name.to_owned(),
    }));
    edits
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let cloud = cloud(facts);
    let mut in_cloud = Gathered::new(&STATIC_IN_CLOUD, SOURCE);
    let mut several = Gathered::new(&SEVERAL_IN_CLOUD, SOURCE);
    let mut on_premises = Gathered::new(&STATIC, SOURCE);
    let mut findings = Vec::new();
    for set in facts.sets() {
        let (found, unclear) = judge(facts, set);
        findings.extend(unclear);
        for adapter in found {
            let place = system_path(&adapter.key, "IPAddress");
            let addresses = adapter.addresses.join(", ");
            let active = set.is_active();
            match &cloud {
                Some(cloud) => {
                    let found = format!("{addresses} ({}, by {})", cloud.name, cloud.sign);
                    match adapter.addresses.len() {
                        1 => in_cloud.add(active, place, found, "EnableDHCP 1", cure(&adapter)),
                        _ => several.add(active, place, found, "EnableDHCP 1", []),
                    }
                }
                None => on_premises.add(
                    active,
                    place,
                    addresses,
                    "EnableDHCP 1, or an address of the network it is on",
                    [],
                ),
            }
        }
    }
    for gathered in [in_cloud, several, on_premises] {
        findings.extend(gathered.into_finding());
    }
    findings
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    if let Some(value) = value {
        return Err(unknown_value(&FIX, value));
    }
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        for adapter in judge(facts, set).0 {
            proposal.notes.push(format!(
                "{} was {}",
                system_path(&adapter.key, "IPAddress"),
                adapter.addresses.join(", ")
            ));
            proposal.edits.extend(cure(&adapter));
        }
    }
    if !proposal.edits.is_empty() {
        proposal.notes.push(
            "a route to the old gateway that was made to last may stay; it does nothing".to_owned(),
        );
    }
    Ok(proposal)
}
