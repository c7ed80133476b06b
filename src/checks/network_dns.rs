// SPDX-License-Identifier: GPL-2.0-or-later
//! Name servers set by hand.

use std::collections::BTreeSet;

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::{ControlSet, Reading, value};

use super::network_dhcp::interfaces;
use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage, system_path,
    unjudged, unknown_value,
};

const PARAMETERS: &str = r"Services\Tcpip\Parameters";

const SOURCE: &[&str] = &["Azure/repair-script-library win-fix-network-connectivity"];

const BY_HAND: Problem = Problem {
    id: "network-dns.by-hand",
    title: "Name servers are set by hand",
    severity: Severity::Notice,
    stage: Stage::Logon,
    trigger: "NameServer names servers, and not the same ones as DhcpNameServer.",
    cause: "This is normal on members of a domain. Where these servers cannot be reached, domain accounts cannot log on.",
    fixes: &[FIX.name],
};

const UNCLEAR: Problem = Problem::unclear("network-dns.unclear", Stage::Logon);

pub(super) const CHECK: Check = Check {
    id: "network-dns",
    title: "Name servers come from DHCP",
    looks_at: "NameServer and DhcpNameServer in Tcpip\\Parameters and of every adapter.",
    healthy: "No NameServer, an empty one, or the same servers that DHCP gave, in any order.",
    problems: &[&BY_HAND, &UNCLEAR],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: "network-dns",
    values: "",
    title: "Take name servers that were set by hand away",
    explanation: "Empties NameServer where it names other servers than DHCP gave. Members of a domain often need theirs: they find their domain by it.",
    source: SOURCE,
    edits,
};

/// The places of a control set that name other servers than DHCP: the key, and what stands there.
fn by_hand(facts: &Facts<'_>, set: &ControlSet) -> (Vec<(String, String)>, Vec<Finding>) {
    let (mut found, mut unclear) = (Vec::new(), Vec::new());
    let mut keys = vec![set.path(PARAMETERS)];
    keys.extend(interfaces(facts, set));
    for key in keys {
        let text = |name: &str| facts.registry().text(HiveName::System, &key, name);
        match text("NameServer") {
            Reading::Found(servers) => {
                let given = text("DhcpNameServer").found().unwrap_or_default();
                if !names(&servers).is_empty() && names(&servers) != names(&given) {
                    found.push((key, servers));
                }
            }
            Reading::Malformed(text) => {
                let place = system_path(&key, "NameServer");
                unclear.push(unjudged(&UNCLEAR, place, text, "REG_SZ", SOURCE));
            }
            _ => {}
        }
    }
    (found, unclear)
}

fn names(servers: &str) -> BTreeSet<&str> {
    let parts = servers.split([' ', ',', '\t']);
    parts.filter(|part| !part.is_empty()).collect()
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut gathered = Gathered::new(&BY_HAND, SOURCE);
    let mut findings = Vec::new();
    for set in facts.sets() {
        let (found, unclear) = by_hand(facts, set);
        findings.extend(unclear);
        for (key, servers) in found {
            let place = system_path(&key, "NameServer");
            gathered.add(
                set.is_active(),
                place,
                servers,
                "none, or those of DHCP",
                [],
            );
        }
    }
    findings.extend(gathered.into_finding());
    findings
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    if let Some(value) = value {
        return Err(unknown_value(&FIX, value));
    }
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        for (key, servers) in by_hand(facts, set).0 {
            let place = system_path(&key, "NameServer");
            proposal.notes.push(format!("{place} was {servers}"));
            let empty = Edit::text(HiveName::System, &key, "NameServer", value::SZ, "");
            proposal.edits.push(empty);
        }
    }
    Ok(proposal)
}
