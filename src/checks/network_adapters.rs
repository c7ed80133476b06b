// SPDX-License-Identifier: GPL-2.0-or-later
//! Network adapters: drivers that are known not to work, and adapters that the machine may no longer have.

use std::collections::BTreeMap;

use crate::edit::HiveName;
use crate::windows::ControlSet;

use super::{Check, Facts, Finding, Gathered, Problem, Run, Severity, Stage};

/// The device class of network adapters.
const CLASS: &str = "{4d36e972-e325-11ce-bfc1-08002be10318}";
const CLASSES: &str = r"Control\Class";
/// Builds of Hyper-V's adapter driver with which machines lose their network.
const BROKEN: [&str; 2] = ["10.0.14393.594", "10.0.15063.0"];
/// Buses of devices that can be taken away.
const BUSES: [&str; 3] = ["VMBUS", "PCI", "XEN"];
/// How many devices of one bus are looked at: ours, far above what machines carry.
const MOST_DEVICES: usize = 4096;

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/troubleshoot-rdp-driver-netvsc",
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/reset-network-interface",
];

const DRIVER: Problem = Problem {
    id: "network-adapter.driver",
    title: "The driver of the Hyper-V network adapter is one that loses the network",
    severity: Severity::Risk,
    stage: Stage::Network,
    trigger: "DriverVersion of a Hyper-V network adapter is 10.0.14393.594 or 10.0.15063.0.",
    cause: "With this version of netvsc machines drop off the network. Install a newer cumulative update into the image (DISM /Image:... /Add-Package), or start the machine with another kind of adapter and update it.",
    fixes: &[],
};

const SEVERAL: Problem = Problem {
    id: "network-adapter.several",
    title: "Windows knows several network adapters of the same kind",
    severity: Severity::Notice,
    stage: Stage::Network,
    trigger: "Below Enum, VMBUS, PCI or XEN holds more than one network adapter of the same hardware id.",
    cause: "Which of them the machine still has cannot be told from the disk. Those that are gone keep their settings; an address set by hand on one of them is refused to the adapter that took its place. Remove them in Device Manager (show hidden devices).",
    fixes: &[],
};

pub(super) const CHECK: Check = Check {
    id: "network-adapter",
    title: "Network adapters have working drivers and are there once",
    looks_at: "DriverDesc, DriverVersion and ComponentId of the class of network adapters, and the network adapters below Enum\\VMBUS, PCI and XEN.",
    healthy: "One adapter of each hardware id. A machine with several network cards has several, which is no fault.",
    problems: &[&DRIVER, &SEVERAL],
    source: SOURCE,
    run: Run::System(run),
};

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut driver = Gathered::new(&DRIVER, SOURCE);
    let mut several = Gathered::new(&SEVERAL, SOURCE);
    for set in facts.sets().iter().filter(|set| set.is_active()) {
        judge_drivers(facts, set, &mut driver);
        judge_devices(facts, set, &mut several);
    }
    let all = [driver, several].into_iter();
    all.filter_map(Gathered::into_finding).collect()
}

fn judge_drivers(facts: &Facts<'_>, set: &ControlSet, driver: &mut Gathered) {
    let class = set.path(&format!(r"{CLASSES}\{CLASS}"));
    for name in facts.registry().subkey_names(HiveName::System, &class) {
        let key = format!(r"{class}\{name}");
        let text = |value: &str| {
            let text = facts.registry().text(HiveName::System, &key, value);
            text.found().unwrap_or_default()
        };
        // Hyper-V's adapter is a device of the bus VMBUS.
        let is_hyper_v = text("ComponentId")
            .to_ascii_lowercase()
            .starts_with(r"vmbus\")
            || text("DriverDesc").contains("Hyper-V");
        let version = text("DriverVersion");
        if is_hyper_v && BROKEN.contains(&version.as_str()) {
            let place = format!(r"{}\DriverVersion", HiveName::System.full_path(&key));
            driver.add(true, place, version, "a newer version", []);
        }
    }
}

fn judge_devices(facts: &Facts<'_>, set: &ControlSet, several: &mut Gathered) {
    for bus in BUSES {
        let bus = set.path(&format!(r"Enum\{bus}"));
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for device in below(facts, &bus) {
            for instance in below(facts, &device) {
                let text = |value: &str| {
                    let text = facts.registry().text(HiveName::System, &instance, value);
                    text.found().unwrap_or_default()
                };
                let is_network = text("ClassGUID").eq_ignore_ascii_case(CLASS);
                if is_network {
                    let kind = device.rsplit('\\').next().unwrap_or_default();
                    found
                        .entry(kind.to_ascii_lowercase())
                        .or_default()
                        .push(instance);
                }
            }
        }
        for instances in found.into_values().filter(|instances| instances.len() > 1) {
            for instance in instances {
                let name = facts
                    .registry()
                    .text(HiveName::System, &instance, "FriendlyName")
                    .found()
                    .unwrap_or_else(|| "a network adapter".to_owned());
                let place = HiveName::System.full_path(&instance);
                several.add(true, place, name, "one of its kind", []);
            }
        }
    }
}

/// The paths of the keys below a key.
fn below(facts: &Facts<'_>, key: &str) -> Vec<String> {
    let names = facts.registry().subkey_names(HiveName::System, key);
    names
        .into_iter()
        .take(MOST_DEVICES)
        .map(|name| format!(r"{key}\{name}"))
        .collect()
}
