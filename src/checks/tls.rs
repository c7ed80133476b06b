// SPDX-License-Identifier: GPL-2.0-or-later
//! The server side of TLS in Schannel.

use crate::edit::{Edit, HiveName};
use crate::error::{Error, Result};
use crate::windows::Reading;

use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage, shown,
    system_path, unjudged, unknown_value,
};

const PROTOCOLS: &str = r"Control\SecurityProviders\SCHANNEL\Protocols";

/// Schannel knows TLS 1.3 from Server 2022 on; Microsoft does not support the setting below.
const FIRST_BUILD_WITH_TLS_13: u32 = 20348;

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/troubleshoot-rdp-internal-error",
    "https://learn.microsoft.com/windows-server/security/tls/tls-registry-settings",
    "Azure/repair-script-library win-fix-rdp-connectivity",
];

const DISABLED: Problem = Problem {
    id: "tls.disabled",
    title: "TLS 1.2 is disabled for servers",
    severity: Severity::Broken,
    stage: Stage::Handshake,
    trigger: "Enabled is 0, or DisabledByDefault is not 0.",
    cause: "The Remote Desktop listener cannot agree on TLS with current clients; they report an internal error.",
    fixes: &[FIX.name],
};

const UNCLEAR: Problem = Problem::unclear("tls.unclear", Stage::Handshake);

pub(super) const CHECK: Check = Check {
    id: "tls",
    title: "TLS 1.2 is available to the Remote Desktop listener",
    looks_at: "Enabled and DisabledByDefault in SCHANNEL\\Protocols\\TLS 1.2\\Server.",
    healthy: "Absent keys and values are the default of Windows. TLS 1.0 and 1.1 and the client side do not matter here.",
    problems: &[&DISABLED, &UNCLEAR],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: "tls",
    values: "a list of 1.0, 1.1, 1.2, 1.3, or all; 1.2 when nothing is said",
    title: "Enable TLS versions for servers",
    explanation: "Sets Enabled to 1 and DisabledByDefault to 0 in SCHANNEL\\Protocols\\TLS x.y\\Server, creating the keys, in every control set that Select names. all means 1.0, 1.1 and 1.2, and 1.3 where the build knows it (20348 and later). TLS 1.0 and 1.1 lower security and are enabled only when named.",
    source: SOURCE,
    edits,
};

fn server_key(version: &str) -> String {
    format!(r"{PROTOCOLS}\TLS {version}\Server")
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut disabled = Gathered::new(&DISABLED, SOURCE);
    for set in facts.sets() {
        let key = set.path(&server_key("1.2"));
        type Healthy = fn(u32) -> bool;
        let judged: [(&str, Healthy, &str, u32); 2] = [
            ("Enabled", |value| value != 0, "no value, or not 0x0", 1),
            (
                "DisabledByDefault",
                |value| value == 0,
                "no value, or REG_DWORD 0x0",
                0,
            ),
        ];
        for (name, healthy, expected, target) in judged {
            match facts.system_dword(&key, name) {
                Reading::Found(value) if !healthy(value) => disabled.add(
                    set.is_active(),
                    system_path(&key, name),
                    shown(value),
                    expected,
                    [Edit::dword(HiveName::System, &key, name, target)],
                ),
                Reading::Malformed(found) => findings.push(unjudged(
                    &UNCLEAR,
                    system_path(&key, name),
                    found,
                    expected,
                    SOURCE,
                )),
                _ => {}
            }
        }
    }
    findings.extend(disabled.into_finding());
    findings
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    let knows_13 = facts
        .build
        .is_some_and(|build| build >= FIRST_BUILD_WITH_TLS_13);
    let versions: Vec<&str> = match value.unwrap_or("1.2") {
        "all" if knows_13 => vec!["1.0", "1.1", "1.2", "1.3"],
        "all" => vec!["1.0", "1.1", "1.2"],
        list => list.split(',').collect(),
    };
    let mut proposal = Proposal::default();
    for version in &versions {
        if !["1.0", "1.1", "1.2", "1.3"].contains(version) {
            return Err(unknown_value(&FIX, version));
        }
        if *version == "1.3" && !knows_13 {
            let build = facts
                .build
                .map_or("unknown".to_owned(), |build| build.to_string());
            return Err(Error::unsupported(
                format!("this Windows (build {build}) does not know TLS 1.3"),
                format!("it came with build {FIRST_BUILD_WITH_TLS_13}; use --fix tls=1.2"),
            ));
        }
    }
    for set in facts.sets() {
        for version in &versions {
            let key = set.path(&server_key(version));
            proposal.edits.push(Edit::CreateKey {
                hive: HiveName::System,
                key: key.clone(),
            });
            proposal
                .edits
                .push(Edit::dword(HiveName::System, &key, "Enabled", 1));
            proposal
                .edits
                .push(Edit::dword(HiveName::System, &key, "DisabledByDefault", 0));
        }
    }
    if versions.contains(&"1.0") || versions.contains(&"1.1") {
        proposal.lowers_security.push(
            "TLS 1.0 and 1.1 are obsolete; delete their keys again once current clients connect"
                .to_owned(),
        );
    }
    Ok(proposal)
}
