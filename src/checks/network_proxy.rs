// SPDX-License-Identifier: GPL-2.0-or-later
//! The proxy for the whole machine.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::{Reading, value};

use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage, shown, unjudged,
    unknown_value,
};

const KEYS: [&str; 2] = [
    r"Microsoft\Windows\CurrentVersion\Internet Settings",
    r"Wow6432Node\Microsoft\Windows\CurrentVersion\Internet Settings",
];

const SOURCE: &[&str] = &["Azure/repair-script-library win-fix-network-connectivity"];

const ON: Problem = Problem {
    id: "network-proxy.on",
    title: "A proxy is set for the whole machine",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "ProxyEnable is 1, or AutoConfigURL names a script.",
    cause: "Remote Desktop does not use it. Agents and sign-in with cloud accounts do, and fail where it cannot be reached.",
    fixes: &[FIX.name],
};

const UNCLEAR: Problem = Problem::unclear("network-proxy.unclear", Stage::Upkeep);

pub(super) const CHECK: Check = Check {
    id: "network-proxy",
    title: "No proxy is set for the whole machine",
    looks_at: "ProxyEnable and AutoConfigURL in Internet Settings of SOFTWARE and of its 32-bit twin.",
    healthy: "A ProxyServer is inert while ProxyEnable is 0 or absent.",
    problems: &[&ON, &UNCLEAR],
    source: SOURCE,
    run: Run::Hive(HiveName::Software, run),
};

pub(super) const FIX: Fix = Fix {
    name: "network-proxy",
    values: "",
    title: "Take the proxy for the whole machine away",
    explanation: "Where a proxy or a script is set: sets ProxyEnable to 0 and deletes ProxyServer, ProxyOverride and AutoConfigURL, in Internet Settings of SOFTWARE and of its 32-bit twin.",
    source: SOURCE,
    edits,
};

/// What is set in a key: the value's name and what it says.
fn set_in(facts: &Facts<'_>, key: &str) -> (Vec<(&'static str, String)>, Vec<Finding>) {
    let (mut found, mut unclear) = (Vec::new(), Vec::new());
    let place = |name: &str| format!(r"{}\{name}", HiveName::Software.full_path(key));
    match facts.software_dword(key, "ProxyEnable") {
        Reading::Found(1) => found.push(("ProxyEnable", shown(1))),
        Reading::Malformed(text) => {
            let place = place("ProxyEnable");
            unclear.push(unjudged(&UNCLEAR, place, text, "REG_DWORD 0x0", SOURCE));
        }
        _ => {}
    }
    match facts
        .registry()
        .text(HiveName::Software, key, "AutoConfigURL")
    {
        Reading::Found(script) if !script.trim().is_empty() => {
            found.push(("AutoConfigURL", script));
        }
        Reading::Malformed(text) => {
            let place = place("AutoConfigURL");
            unclear.push(unjudged(&UNCLEAR, place, text, "no value", SOURCE));
        }
        _ => {}
    }
    (found, unclear)
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut on = Gathered::new(&ON, SOURCE);
    let mut findings = Vec::new();
    for key in KEYS {
        let (found, unclear) = set_in(facts, key);
        findings.extend(unclear);
        for (name, said) in found {
            let place = format!(r"{}\{name}", HiveName::Software.full_path(key));
            on.add(true, place, said, "no proxy", []);
        }
    }
    findings.extend(on.into_finding());
    findings
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    if let Some(value) = value {
        return Err(unknown_value(&FIX, value));
    }
    let mut proposal = Proposal::default();
    for key in KEYS {
        if set_in(facts, key).0.is_empty() {
            continue;
        }
        if facts.software_dword(key, "ProxyEnable").found().is_some() {
            let off = Edit::dword(HiveName::Software, key, "ProxyEnable", 0);
            proposal.edits.push(off);
        }
        for name in ["ProxyServer", "ProxyOverride", "AutoConfigURL"] {
            let raw = facts.registry().raw(HiveName::Software, key, name);
            if let Reading::Found((kind, data)) = raw {
                let said = value::describe(kind, &data);
                proposal.notes.push(format!("{name} was {said}"));
            }
            proposal.edits.push(Edit::DeleteValue {
                hive: HiveName::Software,
                key: key.to_owned(),
                name: name.to_owned(),
            });
        }
    }
    Ok(proposal)
}
