// SPDX-License-Identifier: GPL-2.0-or-later
//! Services that Remote Desktop and the network need.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::{ControlSet, Reading, value};

use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage, shown,
    system_path, unjudged, unknown_value,
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

/// The start type that Windows gives a service.
#[derive(Clone, Copy)]
enum Start {
    /// On every build, as measured on Server 2022 and read from stock hives of 7, 8.1 and 10.
    Always(u32),
    /// 3 up to 10 1709, 1 from 10 2004 on; in between it is not known, and 3 harms nothing.
    CaptureDriver,
    /// 2 on 10 1709 alone, else 3.
    WanArp,
    /// 2 on members of a domain, else 3.
    Netlogon,
}

/// Builds of 10 1709 and 10 2004.
const BUILD_1709: u32 = 16299;
const BUILD_2004: u32 = 19041;

/// What is judged. A service that a build does not have (WfpLwfs and netvsc before 8, wanarp on 8.1, sacsvr on
/// clients) is no fault. RemoteRegistry and SharedAccess, which are disabled on stock clients, are not judged.
const SERVICES: [(&str, Start, Role); 39] = [
    ("TermService", Start::Always(3), Role::RemoteDesktop),
    ("SessionEnv", Start::Always(3), Role::RemoteDesktop),
    ("UmRdpService", Start::Always(3), Role::RemoteDesktop),
    ("CryptSvc", Start::Always(2), Role::RemoteDesktop),
    ("KeyIso", Start::Always(3), Role::RemoteDesktop),
    ("CertPropSvc", Start::Always(3), Role::RemoteDesktop),
    ("RpcSs", Start::Always(2), Role::Network),
    ("DcomLaunch", Start::Always(2), Role::Network),
    ("RpcEptMapper", Start::Always(2), Role::Network),
    ("Tcpip", Start::Always(0), Role::Network),
    ("NDIS", Start::Always(0), Role::Network),
    ("Afd", Start::Always(1), Role::Network),
    ("nsiproxy", Start::Always(1), Role::Network),
    ("nsi", Start::Always(2), Role::Network),
    ("Dhcp", Start::Always(2), Role::Network),
    ("BFE", Start::Always(2), Role::Network),
    ("mpssvc", Start::Always(2), Role::Network),
    ("netvsc", Start::Always(3), Role::Network),
    ("Dnscache", Start::Always(2), Role::Other),
    ("WfpLwfs", Start::Always(0), Role::Other),
    ("NlaSvc", Start::Always(2), Role::Other),
    ("netprofm", Start::Always(3), Role::Other),
    ("NetBT", Start::Always(1), Role::Other),
    ("Tcpip6", Start::Always(3), Role::Other),
    ("LanmanWorkstation", Start::Always(2), Role::Other),
    ("LanmanServer", Start::Always(2), Role::Other),
    ("iphlpsvc", Start::Always(2), Role::Other),
    ("IKEEXT", Start::Always(3), Role::Other),
    ("Netlogon", Start::Netlogon, Role::Other),
    ("Netman", Start::Always(3), Role::Other),
    ("WinHttpAutoProxySvc", Start::Always(3), Role::Other),
    ("NdisWan", Start::Always(3), Role::Other),
    ("ndiscap", Start::CaptureDriver, Role::Other),
    ("wanarp", Start::WanArp, Role::Other),
    ("tunnel", Start::Always(3), Role::Other),
    ("IpNat", Start::Always(3), Role::Other),
    ("W32Time", Start::Always(3), Role::Other),
    ("WerSvc", Start::Always(3), Role::Other),
    ("sacsvr", Start::Always(2), Role::Other),
];

impl Start {
    fn of(self, facts: &Facts<'_>) -> u32 {
        match self {
            Start::Always(start) => start,
            Start::CaptureDriver => match facts.build {
                Some(build) if build >= BUILD_2004 => 1,
                _ => 3,
            },
            Start::WanArp => match facts.build {
                Some(BUILD_1709) => 2,
                _ => 3,
            },
            Start::Netlogon => match is_domain_member(facts) {
                true => 2,
                false => 3,
            },
        }
    }
}

/// Whether SECURITY names a domain that this machine belongs to.
fn is_domain_member(facts: &Facts<'_>) -> bool {
    const SHORTEST_DOMAIN_SID: usize = 24;
    let domain = facts
        .registry()
        .raw(HiveName::Security, r"Policy\PolPrDmS", "")
        .found();
    domain.is_some_and(|(_, sid)| sid.len() >= SHORTEST_DOMAIN_SID)
}

/// Accounts since Vista. XP runs TermService as LocalSystem.
const ACCOUNTS: [(&str, &str, &Problem); 2] = [
    ("TermService", r"NT Authority\NetworkService", &ACCOUNT),
    ("Dhcp", r"NT Authority\LocalService", &DHCP_ACCOUNT),
];
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

const DHCP_ACCOUNT: Problem = Problem {
    id: "services.dhcp-account",
    title: "The DHCP client runs under another account",
    severity: Severity::Broken,
    stage: Stage::Network,
    trigger: "Since Vista: ObjectName of Dhcp is not NT Authority\\LocalService.",
    cause: "Under another account the service does not start, and the machine gets no address.",
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
    looks_at: "Start of the services and drivers that Remote Desktop and the network need, and the accounts of TermService and Dhcp.",
    healthy: "Every start type but 4 (disabled) is a choice. A service that is absent is no fault, except those of Remote Desktop itself.",
    problems: &[
        &MISSING,
        &RDP_DISABLED,
        &ACCOUNT,
        &DHCP_ACCOUNT,
        &NETWORK_DISABLED,
        &OTHER_DISABLED,
        &UNCLEAR,
    ],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: "services",
    values: "",
    title: "Give disabled services their start type back",
    explanation: "Sets Start to Windows' own value where it is 4 (disabled): TermService, SessionEnv, UmRdpService, KeyIso, CertPropSvc 3, CryptSvc 2, and the services and drivers the network needs, by build where builds differ. Sets the accounts of TermService and Dhcp where they are others. Never changes a service's type. Services with any other start type, and missing ones, are left alone.",
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
    let mut accounts = ACCOUNTS.map(|(_, _, problem)| Gathered::new(problem, SOURCE));

    for set in facts.sets() {
        for (service, start, role) in SERVICES {
            let key = key_of(set, service);
            let location = system_path(&key, "Start");
            match facts.system_dword(&key, "Start") {
                Reading::Found(DISABLED) => {
                    let start = start.of(facts);
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
                    let expected = shown(start.of(facts));
                    findings.push(unjudged(&UNCLEAR, location, found, &expected, SOURCE));
                }
                _ => {}
            }
        }
        for (gathered, (service, account, _)) in accounts.iter_mut().zip(ACCOUNTS) {
            if let Some((key, found)) = wrong_account(facts, set, service, account) {
                gathered.add(
                    set.is_active(),
                    system_path(&key, "ObjectName"),
                    found,
                    account,
                    [set_account(&key, account)],
                );
            }
        }
    }
    let all = [missing, remote].into_iter().chain(accounts);
    for gathered in all.chain([network, other]) {
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

/// The service's key and account, when it is not Windows' own one.
fn wrong_account(
    facts: &Facts<'_>,
    set: &ControlSet,
    service: &str,
    account: &str,
) -> Option<(String, String)> {
    let key = key_of(set, service);
    let found = facts
        .registry()
        .text(HiveName::System, &key, "ObjectName")
        .found()?;
    let wrong = is_vista_or_later(facts) && !found.eq_ignore_ascii_case(account);
    wrong.then_some((key, found))
}

fn set_account(key: &str, account: &str) -> Edit {
    Edit::text(HiveName::System, key, "ObjectName", value::SZ, account)
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
                let start = start.of(facts);
                proposal
                    .edits
                    .push(Edit::dword(HiveName::System, &key, "Start", start));
            }
        }
        for (service, account, _) in ACCOUNTS {
            if let Some((key, _)) = wrong_account(facts, set, service, account) {
                proposal.edits.push(set_account(&key, account));
            }
        }
    }
    Ok(proposal)
}
