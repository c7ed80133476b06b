// SPDX-License-Identifier: GPL-2.0-or-later
//! What lowers security, found and put back.
//!
//! Repairs that are carried out only by name lower security for a time. Each of them, and others to the same effect,
//! is a notice here while it is in force; `harden` takes them back. It knows the defaults of Windows, not what the
//! machine had: `coldfix undo` knows that.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::rdp_settings::{
    Decides, MIN_ENCRYPTION_LEVEL, SECURITY_LAYER, Setting, USER_AUTHENTICATION,
};
use crate::windows::{ControlSet, Reading};

use super::authentication::{ORACLE, ORACLE_KEYS};
use super::twins::{self, deletion_note};
use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage, firewall,
    group_policy, machine_keys, shown, system_path, unknown_value,
};

const LSA: &str = r"Control\Lsa";
const PROTOCOLS: &str = r"Control\SecurityProviders\SCHANNEL\Protocols";
const OLD_PROTOCOLS: [&str; 4] = ["SSL 2.0", "SSL 3.0", "TLS 1.0", "TLS 1.1"];

/// From here on Windows sets SecurityLayer to 2; before, to 1.
const FIRST_BUILD_OF_10: u32 = 10240;
/// The stock encryption level on every Windows from XP to 10.
const STOCK_LEVEL: u32 = 2;

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/windows-server/security/tls/tls-registry-settings",
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/credssp-encryption-oracle-remediation",
    "https://learn.microsoft.com/azure/virtual-machines/windows/prepare-for-upload-vhd-image",
];

const NLA: Problem = Problem {
    id: "harden.nla",
    title: "Security is lowered: Network Level Authentication is off",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "UserAuthentication in force (the policy, else the listener's own) is 0.",
    cause: "Anybody who reaches the port gets a logon screen before proving who they are.",
    fixes: &[FIX.name, "nla=on"],
};

const ENCRYPTION: Problem = Problem {
    id: "harden.encryption",
    title: "Security is lowered: Remote Desktop is encrypted weakly",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "SecurityLayer in force is 0 (RDP's own security, without TLS), or MinEncryptionLevel in force is 1 (what the server sends is not encrypted).",
    cause: "The server does not prove who it is, or a listener on the network can read what is sent.",
    fixes: &[FIX.name],
};

const OLD_TLS: Problem = Problem {
    id: "harden.old-tls",
    title: "Security is lowered: obsolete versions of TLS or SSL are switched on",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "In Server of SSL 2.0, SSL 3.0, TLS 1.0 or TLS 1.1, Enabled is there and not 0, or DisabledByDefault is 0 and Enabled is not there.",
    cause: "Clients that know nothing better can connect, and others can be talked into the old version. Without these values Windows follows its own default.",
    fixes: &[FIX.name],
};

const CREDSSP: Problem = Problem {
    id: "harden.credssp",
    title: "Security is lowered: the CredSSP weakness of 2018 is open",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "AllowEncryptionOracle is 2.",
    cause: "Sessions can be taken over as CVE-2018-0886 describes. Update the other end instead.",
    fixes: &[FIX.name],
};

const BLANK_PASSWORDS: Problem = Problem {
    id: "harden.blank-passwords",
    title: "Security is lowered: accounts without a password may log on over the network",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "LimitBlankPasswordUse in Control\\Lsa is 0.",
    cause: "Windows limits such accounts to the console, unless told otherwise.",
    fixes: &[FIX.name],
};

const MACHINE_KEYS: Problem = Problem {
    id: "harden.machine-keys",
    title: "Security is lowered: NETWORK SERVICE may use the folder of private keys",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "An entry in the permissions of MachineKeys grants NETWORK SERVICE something.",
    cause: "The procedure of Microsoft's article grants it on the folder and every key in it. The folder and Remote Desktop's key are put back; for the other keys use `coldfix undo`, or `coldfix acl restore` with a saved list: what each of them had is not known from the disk.",
    fixes: &[FIX.name, "machine-keys"],
};

pub(super) const CHECK: Check = Check {
    id: "harden",
    title: "Nothing lowers security that Windows has higher by default",
    looks_at: "Network Level Authentication, security layer and encryption level in force, the server side of SSL 2.0 to TLS 1.1, AllowEncryptionOracle, LimitBlankPasswordUse, and the permissions of MachineKeys.",
    healthy: "Whatever Windows comes with. A lowered setting prevents nothing, so each is a notice.",
    problems: &[
        &NLA,
        &ENCRYPTION,
        &OLD_TLS,
        &CREDSSP,
        &BLANK_PASSWORDS,
        &MACHINE_KEYS,
    ],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: "harden",
    values: "",
    title: "Put back what lowers security",
    explanation: "Where it is lowered, in every control set that Select names: Network Level Authentication on; SecurityLayer to Windows' own value (2, before Windows 10 1) and MinEncryptionLevel to 2; Enabled and DisabledByDefault of SSL 2.0 to TLS 1.1 deleted where they switch a version on, with keys that hold nothing else; AllowEncryptionOracle 2 deleted; LimitBlankPasswordUse 1; the firewall on in every profile where it is off; the group policy client released; permissions of MachineKeys and Remote Desktop's key as Windows makes them. Policies that lower a setting are deleted. It does not know what the machine had before: FIPS, stored credentials and permissions of other keys are not put back; `coldfix undo` does that.",
    source: SOURCE,
    edits,
};

/// Adds what it finds, with what puts it back.
type Look = fn(&Facts<'_>, &mut Gathered);
/// What is looked at.
const LOOKS: [(&Problem, Look); 6] = [
    (&NLA, nla),
    (&ENCRYPTION, encryption),
    (&OLD_TLS, old_tls),
    (&CREDSSP, credssp),
    (&BLANK_PASSWORDS, blank_passwords),
    (&MACHINE_KEYS, keys),
];

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    LOOKS
        .into_iter()
        .filter_map(|(problem, look)| {
            let mut gathered = Gathered::new(problem, SOURCE);
            look(facts, &mut gathered);
            gathered.into_finding()
        })
        .collect()
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    if let Some(value) = value {
        return Err(unknown_value(&FIX, value));
    }
    let mut proposal = Proposal {
        edits: group_policy::release(facts),
        ..Proposal::default()
    };
    let firewall = (firewall::ON.edits)(facts, None)?.edits.into_iter();
    let off = firewall.filter(|edit| switched_off(facts, edit));
    proposal.edits.extend(off);
    for finding in run(facts) {
        if finding.id == MACHINE_KEYS.id {
            proposal.notes.push(
                "other keys in MachineKeys keep the permissions they have: what they had before is not known from the disk"
                    .to_owned(),
            );
        }
        proposal.edits.extend(finding.cure);
    }
    for setting in [&USER_AUTHENTICATION, &SECURITY_LAYER, &MIN_ENCRYPTION_LEVEL] {
        if proposal.edits.contains(&setting.delete_policy()) {
            proposal.notes.push(deletion_note(facts, setting));
        }
    }
    Ok(proposal)
}

/// True where the edit sets a number that is 0 now; what is absent is left to the default of Windows.
fn switched_off(facts: &Facts<'_>, edit: &Edit) -> bool {
    match edit {
        Edit::SetValue {
            hive, key, name, ..
        } => facts.registry().dword(*hive, key, name) == Reading::Found(0),
        _ => false,
    }
}

/// A setting with a policy is lowered when the number in force is `low`.
fn lowered(facts: &Facts<'_>, setting: &Setting, low: u32, stock: u32, gathered: &mut Gathered) {
    for set in facts.sets() {
        let Some((value, decides, path)) = twins::in_force(facts, set, setting) else {
            continue;
        };
        if value != low {
            continue;
        }
        let machine = setting.read(facts.registry(), set).machine;
        let own = (machine == Reading::Found(low)).then(|| setting.set(set, stock));
        let policy = (decides == Decides::Policy).then(|| setting.delete_policy());
        let known = gathered.finding.evidence.iter();
        if known.clone().any(|evidence| evidence.location == path) {
            // The policy, told for another control set already.
            gathered.finding.cure.extend(own);
            continue;
        }
        gathered.add(
            set.is_active(),
            path,
            shown(value),
            &shown(stock),
            policy.into_iter().chain(own),
        );
    }
}

fn nla(facts: &Facts<'_>, gathered: &mut Gathered) {
    lowered(facts, &USER_AUTHENTICATION, 0, 1, gathered);
}

fn encryption(facts: &Facts<'_>, gathered: &mut Gathered) {
    let layer = match facts.build {
        Some(build) if build >= FIRST_BUILD_OF_10 => 2,
        _ => 1,
    };
    lowered(facts, &SECURITY_LAYER, 0, layer, gathered);
    lowered(facts, &MIN_ENCRYPTION_LEVEL, 1, STOCK_LEVEL, gathered);
}

fn old_tls(facts: &Facts<'_>, gathered: &mut Gathered) {
    for set in facts.sets() {
        for version in OLD_PROTOCOLS {
            let protocol = set.path(&format!(r"{PROTOCOLS}\{version}"));
            let key = format!(r"{protocol}\Server");
            let enabled = facts.system_dword(&key, "Enabled");
            let by_default = facts.system_dword(&key, "DisabledByDefault");
            let (name, value) = match (&enabled, &by_default) {
                (Reading::Found(0), _) => continue,
                (Reading::Found(value), _) => ("Enabled", *value),
                (Reading::NoValue, Reading::Found(0)) => ("DisabledByDefault", 0),
                _ => continue,
            };
            gathered.add(
                set.is_active(),
                system_path(&key, name),
                shown(value),
                "no value, or 0x0 in Enabled",
                without_protocol(facts, &protocol, &key, &by_default),
            );
        }
    }
}

/// Deletes the values that switch a version on, and the keys that hold nothing else.
fn without_protocol(
    facts: &Facts<'_>,
    protocol: &str,
    server: &str,
    by_default: &Reading<u32>,
) -> Vec<Edit> {
    let registry = facts.registry();
    let goes = |name: &str| match *by_default {
        Reading::Found(0) if name.eq_ignore_ascii_case("DisabledByDefault") => true,
        _ => name.eq_ignore_ascii_case("Enabled"),
    };
    let values = registry.values(HiveName::System, server);
    let others = values.iter().any(|(name, _, _)| !goes(name));
    let below = |key: &str| registry.subkey_names(HiveName::System, key);
    if !others && below(server).is_empty() {
        let alone =
            below(protocol).len() == 1 && registry.values(HiveName::System, protocol).is_empty();
        let key = if alone { protocol } else { server };
        return vec![Edit::DeleteKey {
            hive: HiveName::System,
            key: key.to_owned(),
        }];
    }
    let delete = |name: &str| Edit::DeleteValue {
        hive: HiveName::System,
        key: server.to_owned(),
        name: name.to_owned(),
    };
    let mut edits = Vec::new();
    if !facts.system_dword(server, "Enabled").is_absent() {
        edits.push(delete("Enabled"));
    }
    if *by_default == Reading::Found(0) {
        edits.push(delete("DisabledByDefault"));
    }
    edits
}

fn credssp(facts: &Facts<'_>, gathered: &mut Gathered) {
    for key in ORACLE_KEYS {
        if facts.software_dword(key, ORACLE) == Reading::Found(2) {
            gathered.add(
                true,
                format!(r"{}\{ORACLE}", HiveName::Software.full_path(key)),
                shown(2),
                "no value",
                [Edit::DeleteValue {
                    hive: HiveName::Software,
                    key: key.to_owned(),
                    name: ORACLE.to_owned(),
                }],
            );
        }
    }
}

fn blank_passwords(facts: &Facts<'_>, gathered: &mut Gathered) {
    const NAME: &str = "LimitBlankPasswordUse";
    let lowered = |set: &&ControlSet| facts.system_dword(&set.path(LSA), NAME) == Reading::Found(0);
    for set in facts.sets().iter().filter(lowered) {
        let key = set.path(LSA);
        gathered.add(
            set.is_active(),
            system_path(&key, NAME),
            shown(0),
            "REG_DWORD 0x1",
            [Edit::dword(HiveName::System, &key, NAME, 1)],
        );
    }
}

fn keys(facts: &Facts<'_>, gathered: &mut Gathered) {
    if let Some((evidence, edits)) = machine_keys::over_broad(facts) {
        gathered.finding.evidence.push(evidence);
        gathered.finding.cure.extend(edits);
    }
}
