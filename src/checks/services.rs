// SPDX-License-Identifier: GPL-2.0-or-later
//! Services that Remote Desktop and the network need.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::{ControlSet, Reading, value};

use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Severity, Stage, shown, system_path,
    unjudged, unknown_value,
};

/// The start type that switches a service off. Every other one is somebody's choice.
const DISABLED: u32 = 4;

/// What a disabled service prevents.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Remote Desktop does not answer.
    RemoteDesktop,
    /// Nothing on the network answers.
    Network,
    /// Not in the way of Remote Desktop with a local account: reported.
    Other,
}

/// Service, the start type to restore, and what it is for. The start types are those measured on Server
/// 2022 and read from stock hives of 7, 8.1 and 10; services whose healthy type differs between builds
/// (ndiscap, wanarp) or that are disabled on stock clients (RemoteRegistry, SharedAccess) are not judged.
const SERVICES: [(&str, u32, Role); 30] = [
    ("TermService", 3, Role::RemoteDesktop),
    ("SessionEnv", 3, Role::RemoteDesktop),
    ("UmRdpService", 3, Role::RemoteDesktop),
    ("CryptSvc", 2, Role::RemoteDesktop),
    ("KeyIso", 3, Role::RemoteDesktop),
    ("CertPropSvc", 3, Role::RemoteDesktop),
    ("RpcSs", 2, Role::Network),
    ("DcomLaunch", 2, Role::Network),
    ("RpcEptMapper", 2, Role::Network),
    ("Tcpip", 0, Role::Network),
    ("NDIS", 0, Role::Network),
    ("Afd", 1, Role::Network),
    ("nsiproxy", 1, Role::Network),
    ("nsi", 2, Role::Network),
    ("Dhcp", 2, Role::Network),
    ("Dnscache", 2, Role::Other),
    ("BFE", 2, Role::Network),
    ("mpssvc", 2, Role::Network),
    ("netvsc", 3, Role::Network),
    ("WfpLwfs", 0, Role::Other),
    ("NlaSvc", 2, Role::Other),
    ("netprofm", 3, Role::Other),
    ("NetBT", 1, Role::Other),
    ("Tcpip6", 3, Role::Other),
    ("LanmanWorkstation", 2, Role::Other),
    ("LanmanServer", 2, Role::Other),
    ("iphlpsvc", 2, Role::Other),
    ("IKEEXT", 3, Role::Other),
    ("Netlogon", 3, Role::Other),
    ("Netman", 3, Role::Other),
];

/// The account of TermService since Vista. XP runs it as LocalSystem.
const TERM_SERVICE_ACCOUNT: &str = r"NT Authority\NetworkService";
const FIRST_BUILD_OF_VISTA: u32 = 6000;

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/troubleshoot-remote-desktop-services-issues",
    "Azure/repair-script-library win-fix-rdp-connectivity, win-fix-network-connectivity, win-fix-firewall-service",
];

const MISSING: Problem = Problem {
    id: "services.missing",
    title: "A service of Remote Desktop is missing",
    severity: Severity::Broken,
    stage: Stage::Listener,
    trigger: "The key of TermService is not there, nor, since Vista, that of SessionEnv or UmRdpService.",
    cause: "The installation is damaged: these services are part of every Windows. coldfix does not invent them; import the key from a machine of the same build.",
    fixes: &[],
};

const RDP_DISABLED: Problem = Problem {
    id: "services.rdp-disabled",
    title: "A service that Remote Desktop needs is disabled",
    severity: Severity::Broken,
    stage: Stage::Listener,
    trigger: "Start is 4 on TermService, SessionEnv, UmRdpService, CryptSvc, KeyIso or CertPropSvc.",
    cause: "Windows does not start a disabled service, so nothing answers Remote Desktop.",
    fixes: &[FIX.name],
};

const ACCOUNT: Problem = Problem {
    id: "services.account",
    title: "TermService runs under another account",
    severity: Severity::Broken,
    stage: Stage::Listener,
    trigger: "Since Vista: ObjectName of TermService is not NT Authority\\NetworkService.",
    cause: "Under another account the service does not start, or cannot read its key.",
    fixes: &[FIX.name],
};

const NETWORK_DISABLED: Problem = Problem {
    id: "services.network-disabled",
    title: "A service that the network needs is disabled",
    severity: Severity::Broken,
    stage: Stage::Network,
    trigger: "Start is 4 on a service that the network needs, or on the firewall or its filter engine.",
    cause: "Without it the machine has no working network (a disabled firewall service leaves the boot-time filters in place, which drop everything).",
    fixes: &[FIX.name],
};

const OTHER_DISABLED: Problem = Problem {
    id: "services.other-disabled",
    title: "A network service is disabled",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "Start is 4 on another service of the network.",
    cause: "It is not in the path of Remote Desktop with a local account; somebody may have meant it.",
    fixes: &[FIX.name],
};

const UNCLEAR: Problem = Problem::unclear("services.unclear", Stage::Listener);

pub(super) const CHECK: Check = Check {
    id: "services",
    title: "The services that Remote Desktop needs are not disabled",
    looks_at: "Start of the services and drivers that Remote Desktop and the network need, and the account of TermService.",
    healthy: "Every start type but 4 (disabled) is a choice. A service that is absent is no fault, except those of Remote Desktop itself.",
    problems: &[
        &MISSING,
        &RDP_DISABLED,
        &ACCOUNT,
        &NETWORK_DISABLED,
        &OTHER_DISABLED,
        &UNCLEAR,
    ],
    source: SOURCE,
    run,
};

pub(super) const FIX: Fix = Fix {
    name: "services",
    values: "",
    title: "Give disabled services their start type back",
    explanation: "Sets Start to Windows' own value where it is 4 (disabled): TermService, SessionEnv, UmRdpService, KeyIso, CertPropSvc 3, CryptSvc 2, and the services and drivers the network needs. Sets the account of TermService where it is another one. Services with any other start type, and missing ones, are left alone.",
    source: SOURCE,
    edits,
};

fn key_of(set: &ControlSet, service: &str) -> String {
    set.path(&format!(r"Services\{service}"))
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut remote = Gathered::new(&RDP_DISABLED, SOURCE);
    let mut network = Gathered::new(&NETWORK_DISABLED, SOURCE);
    let mut other = Gathered::new(&OTHER_DISABLED, SOURCE);
    let mut missing = Gathered::new(&MISSING, SOURCE);
    let mut account = Gathered::new(&ACCOUNT, SOURCE);

    for set in facts.sets() {
        for (service, start, role) in SERVICES {
            let key = key_of(set, service);
            let location = system_path(&key, "Start");
            match facts.system_dword(&key, "Start") {
                Reading::Found(DISABLED) => {
                    let cure = [Edit::dword(HiveName::System, &key, "Start", start)];
                    let (gathered, cure) = match role {
                        Role::RemoteDesktop => (&mut remote, Some(cure)),
                        Role::Network => (&mut network, Some(cure)),
                        Role::Other => (&mut other, None),
                    };
                    gathered.add(
                        set.is_active(),
                        location,
                        shown(DISABLED),
                        &shown(start),
                        cure.into_iter().flatten(),
                    );
                }
                Reading::NoKey if is_own_service(facts, service) => missing.add(
                    set.is_active(),
                    HiveName::System.full_path(&key),
                    "no key".to_owned(),
                    "the key",
                    [],
                ),
                Reading::Malformed(found) => {
                    findings.push(unjudged(&UNCLEAR, location, found, &shown(start), SOURCE))
                }
                _ => {}
            }
        }
        if let Some((key, found)) = wrong_account(facts, set) {
            account.add(
                set.is_active(),
                system_path(&key, "ObjectName"),
                found,
                TERM_SERVICE_ACCOUNT,
                [set_account(&key)],
            );
        }
    }
    for gathered in [missing, remote, account, network, other] {
        findings.extend(gathered.into_finding());
    }
    findings
}

/// Remote Desktop's own services, which every Windows has; XP has neither SessionEnv nor UmRdpService.
fn is_own_service(facts: &Facts<'_>, service: &str) -> bool {
    match service {
        "TermService" => true,
        "SessionEnv" | "UmRdpService" => is_vista_or_later(facts),
        _ => false,
    }
}

fn is_vista_or_later(facts: &Facts<'_>) -> bool {
    facts
        .build
        .is_some_and(|build| build >= FIRST_BUILD_OF_VISTA)
}

/// TermService's key and account, when it is not Windows' own one.
fn wrong_account(facts: &Facts<'_>, set: &ControlSet) -> Option<(String, String)> {
    let key = key_of(set, "TermService");
    let found = facts
        .registry()
        .text(HiveName::System, &key, "ObjectName")
        .found()?;
    let wrong = is_vista_or_later(facts) && !found.eq_ignore_ascii_case(TERM_SERVICE_ACCOUNT);
    wrong.then_some((key, found))
}

fn set_account(key: &str) -> Edit {
    Edit::text(
        HiveName::System,
        key,
        "ObjectName",
        value::SZ,
        TERM_SERVICE_ACCOUNT,
    )
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    if let Some(value) = value {
        return Err(unknown_value(&FIX, value));
    }
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        for (service, start, _) in SERVICES {
            let key = key_of(set, service);
            if facts.system_dword(&key, "Start") == Reading::Found(DISABLED) {
                proposal
                    .edits
                    .push(Edit::dword(HiveName::System, &key, "Start", start));
            }
        }
        if let Some((key, _)) = wrong_account(facts, set) {
            proposal.edits.push(set_account(&key));
        }
    }
    Ok(proposal)
}
