// SPDX-License-Identifier: GPL-2.0-or-later
//! The network providers that Windows asks, one after the other, when somebody logs on.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::{ControlSet, Presence, Reading, value};

use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage, system_path,
    unjudged, unknown_value,
};

const ORDER: &str = r"Control\NetworkProvider\Order";
const HARDWARE_ORDER: &str = r"Control\NetworkProvider\HwOrder";
const VALUE: &str = "ProviderOrder";
/// Windows' own: without its file a component is damaged, and taking it from the list cures nothing.
const OWN: [&str; 4] = ["LanmanWorkstation", "RDPNP", "webclient", "P9NP"];

const SOURCE: &[&str] = &["Azure/repair-script-library win-fix-network-connectivity"];

const ORPHAN: Problem = Problem {
    id: "network-provider.orphan",
    title: "A network provider in the list is not installed",
    severity: Severity::Broken,
    stage: Stage::Logon,
    trigger: "Order\\ProviderOrder names a provider, not one of Windows' own, whose service has no key NetworkProvider, or whose file is certainly not on the volume.",
    cause: "Left behind by a program that was removed. Logging on hangs at \"Please wait for the Network Connections\".",
    fixes: &[FIX.name],
};

const OWN_MISSING: Problem = Problem {
    id: "network-provider.damaged",
    title: "A network provider of Windows itself has lost its file",
    severity: Severity::Risk,
    stage: Stage::Logon,
    trigger: "Order\\ProviderOrder names LanmanWorkstation, RDPNP, webclient or P9NP, and its file is certainly not on the volume.",
    cause: "A component of Windows is damaged; taking it from the list would not cure that. Repair the component store (DISM /Image, sfc /offwindir).",
    fixes: &[],
};

const UNCLEAR: Problem = Problem::unclear("network-provider.unclear", Stage::Logon);

pub(super) const CHECK: Check = Check {
    id: "network-provider",
    title: "Every network provider in the list is installed",
    looks_at: "ProviderOrder in Control\\NetworkProvider\\Order, ProviderPath of each provider's service, and whether that file is on the volume.",
    healthy: "Providers of virtualisation tools (VBoxSF, vmhgfs) belong there while their tools are installed. A provider without ProviderPath, or with a path that leads elsewhere, is left alone.",
    problems: &[&ORPHAN, &OWN_MISSING, &UNCLEAR],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: "network-provider",
    values: "",
    title: "Take network providers that are not installed from the list",
    explanation: "Drops the names of providers whose service has no key NetworkProvider, or whose file is not on the volume, from ProviderOrder in Order and HwOrder. Windows' own providers stay.",
    source: SOURCE,
    edits,
};

/// What is wrong with the provider `name`, where something certainly is.
fn fault(facts: &Facts<'_>, set: &ControlSet, name: &str) -> Option<String> {
    let key = set.path(&format!(r"Services\{name}\NetworkProvider"));
    if facts.registry().has_key(HiveName::System, &key) == Ok(false) {
        return Some(format!(
            "{name}, without a key Services\\{name}\\NetworkProvider"
        ));
    }
    let path = facts
        .registry()
        .text(HiveName::System, &key, "ProviderPath")
        .found()
        .filter(|path| !path.trim().is_empty())?;
    (facts.installation.file_presence(&path) == Presence::Missing)
        .then(|| format!("{name}, whose file {path} is not there"))
}

fn is_own(name: &str) -> bool {
    OWN.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// The list of a control set. One with more names than are judged cannot be judged.
fn order(facts: &Facts<'_>, set: &ControlSet) -> Reading<String> {
    const MOST_NAMES: usize = 256; // ours: stock lists have four
    let key = set.path(ORDER);
    match facts.registry().text(HiveName::System, &key, VALUE) {
        Reading::Found(order) => match order.split(',').count() {
            0..=MOST_NAMES => Reading::Found(order),
            more => Reading::Malformed(format!("a list of {more} names")),
        },
        other => other,
    }
}

/// The names in a list; a service's name holds no backslash, so that none leads to another key.
fn listed(order: &str) -> impl Iterator<Item = &str> {
    let names = order.split(',').map(str::trim);
    names.filter(|name| !name.is_empty() && !name.contains('\\'))
}

/// The orphans of a control set, and the edits that drop them.
fn orphans(facts: &Facts<'_>, set: &ControlSet, order: &str) -> Vec<(String, String)> {
    listed(order)
        .filter(|name| !is_own(name))
        .filter_map(|name| Some((name.to_owned(), fault(facts, set, name)?)))
        .collect()
}

fn cure(facts: &Facts<'_>, set: &ControlSet, orphans: &[(String, String)]) -> Vec<Edit> {
    let mut edits = Vec::new();
    for list in [ORDER, HARDWARE_ORDER] {
        let key = set.path(list);
        let Reading::Found((kind, data)) = facts.registry().raw(HiveName::System, &key, VALUE)
        else {
            continue;
        };
        let Some(order) =
            value::text(&data).filter(|_| [value::SZ, value::EXPAND_SZ].contains(&kind))
        else {
            continue;
        };
        let is_orphan = |name: &str| {
            let mut orphans = orphans.iter();
            orphans.any(|(orphan, _)| orphan.eq_ignore_ascii_case(name.trim()))
        };
        let kept: Vec<&str> = order.split(',').filter(|name| !is_orphan(name)).collect();
        let kept = kept.join(",");
        if kept != order {
            edits.push(Edit::text(HiveName::System, &key, VALUE, kind, &kept));
        }
    }
    edits
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut orphaned = Gathered::new(&ORPHAN, SOURCE);
    let mut damaged = Gathered::new(&OWN_MISSING, SOURCE);
    let mut findings = Vec::new();
    for set in facts.sets() {
        let key = set.path(ORDER);
        let place = system_path(&key, VALUE);
        let order = match order(facts, set) {
            Reading::Found(order) => order,
            Reading::Malformed(found) => {
                findings.push(unjudged(&UNCLEAR, place, found, "REG_SZ", SOURCE));
                continue;
            }
            _ => continue,
        };
        let orphans = orphans(facts, set, &order);
        let mut cure = Some(cure(facts, set, &orphans));
        for (_, fault) in &orphans {
            // One edit for each list drops all of them.
            let edits = cure.take().unwrap_or_default();
            let active = set.is_active();
            orphaned.add(
                active,
                place.clone(),
                fault.clone(),
                "installed providers only",
                edits,
            );
        }
        for name in listed(&order).filter(|name| is_own(name)) {
            let has_key = set.path(&format!(r"Services\{name}\NetworkProvider"));
            // One without its key is not set up on this edition; it is skipped.
            if facts.registry().has_key(HiveName::System, &has_key) == Ok(true)
                && let Some(fault) = fault(facts, set, name)
            {
                let expected = "the file of each provider";
                damaged.add(set.is_active(), place.clone(), fault, expected, []);
            }
        }
    }
    for gathered in [orphaned, damaged] {
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
        if let Reading::Found(order) = order(facts, set) {
            let orphans = orphans(facts, set, &order);
            proposal.edits.extend(cure(facts, set, &orphans));
        }
    }
    Ok(proposal)
}
