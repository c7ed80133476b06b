// SPDX-License-Identifier: GPL-2.0-or-later
//! How the machine lets users prove who they are: what of it can refuse Remote Desktop.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::Reading;

use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage, shown,
    system_path, unjudged, unknown_value,
};

const LSA: &str = r"Control\Lsa";
const FIPS_POLICY: &str = r"Control\Lsa\FIPSAlgorithmPolicy";
const NTLM: &str = r"Control\Lsa\MSV1_0";
/// Where the remediation of CVE-2018-0886 is chosen; the second is where a policy was seen to put it.
pub(super) const ORACLE_KEYS: [&str; 2] = [
    r"Microsoft\Windows\CurrentVersion\Policies\System\CredSSP\Parameters",
    r"Policies\Microsoft\Windows\CredentialsDelegation",
];
pub(super) const ORACLE: &str = "AllowEncryptionOracle";

/// XP treats network logons in a workgroup as Guest by default.
const FIRST_BUILD_OF_VISTA: u32 = 6000;

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/cannot-connect-rdp-azure-vm",
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/credssp-encryption-oracle-remediation",
];

const ONLY_FIPS: Problem = Problem {
    id: "authentication.fips",
    title: "Only FIPS algorithms are allowed",
    severity: Severity::Notice,
    stage: Stage::Handshake,
    trigger: "Enabled in Control\\Lsa\\FIPSAlgorithmPolicy is not 0.",
    cause: "Clients that do not know these algorithms cannot connect. It is a choice; switch it off only if the client is one of them.",
    fixes: &["fips=off"],
};

const NO_STORED_CREDENTIALS: Problem = Problem {
    id: "authentication.stored-credentials",
    title: "Windows keeps no passwords for network logons",
    severity: Severity::Notice,
    stage: Stage::Logon,
    trigger: "disabledomaincreds in Control\\Lsa is not 0.",
    cause: "A choice of hardening. Microsoft's article on connections that fail asks for 0.",
    fixes: &[DOMAIN_CREDENTIALS.name],
};

const GUEST: Problem = Problem {
    id: "authentication.guest",
    title: "Network logons of local accounts count as Guest",
    severity: Severity::Risk,
    stage: Stage::Logon,
    trigger: "ForceGuest in Control\\Lsa is not 0, since Vista.",
    cause: "Network Level Authentication is a network logon: as Guest, no local account is let in. A domain member ignores it.",
    fixes: &[GUEST_LOGONS.name],
};

const AUDIT: Problem = Problem {
    id: "authentication.audit-full",
    title: "Only administrators may log on, because the security log is full",
    severity: Severity::Risk,
    stage: Stage::Logon,
    trigger: "CrashOnAuditFail in Control\\Lsa is 2.",
    cause: "Windows stopped because it could not write to the security log, and lets only administrators in until one of them has saved the log and set the value back. coldfix reports it and leaves it alone.",
    fixes: &[],
};

const NO_NTLM: Problem = Problem {
    id: "authentication.ntlm",
    title: "The machine refuses NTLM",
    severity: Severity::Risk,
    stage: Stage::Logon,
    trigger: "RestrictReceivingNTLMTraffic in Control\\Lsa\\MSV1_0 is 2.",
    cause: "Without NTLM local accounts, and clients that reach the machine by its address, cannot pass Network Level Authentication; only Kerberos is left. It is a choice of hardening, so coldfix reports it and leaves it alone.",
    fixes: &[],
};

const ORACLE_STRICT: Problem = Problem {
    id: "authentication.credssp-strict",
    title: "Clients without the CredSSP update of 2018 are refused",
    severity: Severity::Notice,
    stage: Stage::Handshake,
    trigger: "AllowEncryptionOracle is 0.",
    cause: "The strictest setting: both ends need the update for CVE-2018-0886. Update the client; coldfix never writes this value.",
    fixes: &[],
};

const UNCLEAR: Problem = Problem::unclear("authentication.unclear", Stage::Logon);

pub(super) const CHECK: Check = Check {
    id: "authentication",
    title: "Nothing refuses the users of Remote Desktop as such",
    looks_at: "FIPSAlgorithmPolicy, disabledomaincreds, ForceGuest and CrashOnAuditFail in Control\\Lsa, RestrictReceivingNTLMTraffic in MSV1_0, and AllowEncryptionOracle in SOFTWARE.",
    healthy: "0 or no value; on XP ForceGuest is 1 by default. AllowEncryptionOracle 1 or no value.",
    problems: &[
        &ONLY_FIPS,
        &NO_STORED_CREDENTIALS,
        &GUEST,
        &AUDIT,
        &NO_NTLM,
        &ORACLE_STRICT,
        &UNCLEAR,
    ],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIPS: Fix = Fix {
    name: "fips",
    values: "off or on; off when nothing is said",
    title: "Allow other algorithms than those of FIPS, or no others again",
    explanation: "Sets Enabled in Control\\Lsa\\FIPSAlgorithmPolicy to 0 (1 for on) in every control set that Select names. Off lowers security where FIPS was asked for.",
    source: SOURCE,
    edits: fips,
};

pub(super) const DOMAIN_CREDENTIALS: Fix = Fix {
    name: "domain-credentials",
    values: "",
    title: "Let Windows keep passwords for network logons",
    explanation: "Sets disabledomaincreds in Control\\Lsa to 0 in every control set that Select names where it is there. Lowers security where it was set on purpose.",
    source: SOURCE,
    edits: domain_credentials,
};

pub(super) const GUEST_LOGONS: Fix = Fix {
    name: "guest-logons",
    values: "",
    title: "Let local accounts log on over the network as themselves",
    explanation: "Sets ForceGuest in Control\\Lsa to 0 in every control set that Select names where it is there.",
    source: SOURCE,
    edits: guest_logons,
};

/// One value of a control set, and when it is a finding.
struct Look {
    problem: &'static Problem,
    key: &'static str,
    name: &'static str,
    wrong: fn(&Facts<'_>, u32) -> bool,
    expected: &'static str,
    cure: Option<u32>,
}

const LOOKS: [Look; 5] = [
    Look {
        problem: &ONLY_FIPS,
        key: FIPS_POLICY,
        name: "Enabled",
        wrong: |_, value| value != 0,
        expected: "no value, or REG_DWORD 0x0",
        cure: None,
    },
    Look {
        problem: &NO_STORED_CREDENTIALS,
        key: LSA,
        name: "disabledomaincreds",
        wrong: |_, value| value != 0,
        expected: "no value, or REG_DWORD 0x0",
        cure: None,
    },
    Look {
        problem: &GUEST,
        key: LSA,
        name: "ForceGuest",
        wrong: |facts, value| {
            value != 0
                && facts
                    .build
                    .is_some_and(|build| build >= FIRST_BUILD_OF_VISTA)
        },
        expected: "no value, or REG_DWORD 0x0",
        cure: Some(0),
    },
    Look {
        problem: &AUDIT,
        key: LSA,
        name: "CrashOnAuditFail",
        wrong: |_, value| value == 2,
        expected: "REG_DWORD 0x0 or 0x1",
        cure: None,
    },
    Look {
        problem: &NO_NTLM,
        key: NTLM,
        name: "RestrictReceivingNTLMTraffic",
        wrong: |_, value| value == 2,
        expected: "no value, or REG_DWORD 0x0 or 0x1",
        cure: None,
    },
];

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for look in &LOOKS {
        let mut gathered = Gathered::new(look.problem, SOURCE);
        for set in facts.sets() {
            let key = set.path(look.key);
            let location = system_path(&key, look.name);
            match facts.system_dword(&key, look.name) {
                Reading::Found(value) if (look.wrong)(facts, value) => gathered.add(
                    set.is_active(),
                    location,
                    shown(value),
                    look.expected,
                    look.cure
                        .map(|cure| Edit::dword(HiveName::System, &key, look.name, cure)),
                ),
                Reading::Malformed(found) => {
                    findings.push(unjudged(&UNCLEAR, location, found, look.expected, SOURCE))
                }
                _ => {}
            }
        }
        findings.extend(gathered.into_finding());
    }
    let mut strict = Gathered::new(&ORACLE_STRICT, SOURCE);
    for key in ORACLE_KEYS {
        if facts.software_dword(key, ORACLE) == Reading::Found(0) {
            strict.add(
                true,
                format!(r"{}\{ORACLE}", HiveName::Software.full_path(key)),
                shown(0),
                "no value, or REG_DWORD 0x1",
                [],
            );
        }
    }
    findings.extend(strict.into_finding());
    findings
}

/// Sets a value of every control set where it is there with another number.
fn set_where_there(facts: &Facts<'_>, key: &str, name: &str, target: u32) -> Proposal {
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        let key = set.path(key);
        match facts.system_dword(&key, name) {
            Reading::Found(value) if value != target => {
                let edit = Edit::dword(HiveName::System, &key, name, target);
                proposal.edits.push(edit);
            }
            Reading::Malformed(found) => proposal.notes.push(format!(
                "{} is {found}, which cannot be judged; it is left alone",
                system_path(&key, name)
            )),
            _ => {}
        }
    }
    proposal
}

fn fips(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    let target = match value {
        None | Some("off") => 0,
        Some("on") => 1,
        Some(other) => return Err(unknown_value(&FIPS, other)),
    };
    let mut proposal = set_where_there(facts, FIPS_POLICY, "Enabled", target);
    if target == 0 && !proposal.edits.is_empty() {
        proposal.lowers_security.push(
            "other algorithms than those of FIPS are allowed; take it back with --fix fips=on"
                .to_owned(),
        );
    }
    Ok(proposal)
}

fn domain_credentials(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    if let Some(value) = value {
        return Err(unknown_value(&DOMAIN_CREDENTIALS, value));
    }
    let mut proposal = set_where_there(facts, LSA, "disabledomaincreds", 0);
    if !proposal.edits.is_empty() {
        proposal
            .lowers_security
            .push("Windows may keep passwords for network logons".to_owned());
    }
    Ok(proposal)
}

fn guest_logons(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    match value {
        Some(value) => Err(unknown_value(&GUEST_LOGONS, value)),
        None => Ok(set_where_there(facts, LSA, "ForceGuest", 0)),
    }
}
