// SPDX-License-Identifier: GPL-2.0-or-later
//! Where the machine runs, as far as the disk tells, and the agent of Azure.
//!
//! What tells a cloud is what only that cloud's images carry: the services of its agent, or the manufacturer
//! that the firmware named at the last start. A Hyper-V network adapter tells nothing: it is the same on premises.

use crate::edit::HiveName;
use crate::windows::{ControlSet, Reading};

use super::{Check, Facts, Finding, Gathered, Problem, Run, Severity, Stage, shown, system_path};

/// The start type that switches a service off.
const DISABLED: u32 = 4;

/// The two services of Azure's agent.
const AZURE_AGENT: [&str; 2] = ["WindowsAzureGuestAgent", "RdAgent"];

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/install-vm-agent-offline",
];

/// A platform that gives its machines their addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cloud {
    pub(super) name: &'static str,
    /// Where it was read, and what was there.
    pub(super) sign: String,
}

/// The cloud that this disk comes from; `None` when nothing on it tells.
pub(super) fn cloud(facts: &Facts<'_>) -> Option<Cloud> {
    const SERVICES: [(&str, &str); 6] = [
        ("WindowsAzureGuestAgent", "Azure"),
        ("RdAgent", "Azure"),
        ("Ec2Config", "Amazon EC2"),
        ("Amazon EC2Launch", "Amazon EC2"),
        ("AWSLiteAgent", "Amazon EC2"),
        ("GCEAgent", "Google Compute Engine"),
    ];
    const MANUFACTURERS: [(&str, &str); 2] = [
        ("Amazon EC2", "Amazon EC2"),
        ("Google", "Google Compute Engine"),
    ];
    let active = facts.sets().iter().find(|set| set.is_active())?;
    for (service, name) in SERVICES {
        let key = active.path(&format!(r"Services\{service}"));
        if facts.registry().has_key(HiveName::System, &key) == Ok(true) {
            return Some(Cloud {
                name,
                sign: format!("the service {service}"),
            });
        }
    }
    let maker = manufacturer(facts)?;
    MANUFACTURERS
        .into_iter()
        .find(|(known, _)| *known == maker)
        .map(|(_, name)| Cloud {
            name,
            sign: format!("the manufacturer {maker}"),
        })
}

/// The manufacturer of the machine on which this Windows ran last, by its firmware.
pub(super) fn manufacturer(facts: &Facts<'_>) -> Option<String> {
    const KEY: &str = "HardwareConfig";
    let text = |key: &str, name: &str| facts.registry().text(HiveName::System, key, name).found();
    let last = text(KEY, "LastConfig")?;
    text(&format!(r"{KEY}\{last}"), "SystemManufacturer")
}

const DISABLED_AGENT: Problem = Problem {
    id: "azure-agent.disabled",
    title: "Azure's agent is disabled",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "On a machine that has a service of Azure's agent: Start of one is 4.",
    cause: "The machine serves Remote Desktop without it, but Azure cannot reset passwords or run commands in it.",
    fixes: &[],
};

const MISSING_AGENT: Problem = Problem {
    id: "azure-agent.missing",
    title: "A part of Azure's agent is missing",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "Of the services WindowsAzureGuestAgent and RdAgent one is there and the other is not.",
    cause: "Azure cannot reset passwords or run commands in this machine. Install the agent again, or copy its keys and its folder from a machine that has it.",
    fixes: &[],
};

pub(super) const CHECK: Check = Check {
    id: "azure-agent",
    title: "The agent of an Azure machine can start",
    looks_at: "Start of the services WindowsAzureGuestAgent and RdAgent.",
    healthy: "Neither service is there: not a machine of Azure, or one that was made without the agent.",
    problems: &[&DISABLED_AGENT, &MISSING_AGENT],
    source: SOURCE,
    run: Run::System(run),
};

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut disabled = Gathered::new(&DISABLED_AGENT, SOURCE);
    let mut missing = Gathered::new(&MISSING_AGENT, SOURCE);
    for set in facts.sets().iter().filter(|set| set.is_active()) {
        let there = |service: &str| {
            let key = service_key(set, service);
            facts.registry().has_key(HiveName::System, &key)
        };
        if !AZURE_AGENT.iter().any(|service| there(service) == Ok(true)) {
            continue;
        }
        for service in AZURE_AGENT {
            let key = service_key(set, service);
            if there(service) == Ok(false) {
                missing.add(
                    true,
                    HiveName::System.full_path(&key),
                    "no key".to_owned(),
                    "the key",
                    [],
                );
            } else if facts.system_dword(&key, "Start") == Reading::Found(DISABLED) {
                disabled.add(
                    true,
                    system_path(&key, "Start"),
                    shown(DISABLED),
                    "REG_DWORD 0x2",
                    [],
                );
            }
        }
    }
    let all = [disabled, missing].into_iter();
    all.filter_map(Gathered::into_finding).collect()
}

fn service_key(set: &ControlSet, service: &str) -> String {
    set.path(&format!(r"Services\{service}"))
}
