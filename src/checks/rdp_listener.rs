// SPDX-License-Identifier: GPL-2.0-or-later
//! The listener `WinStations\RDP-Tcp`.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::{ControlSet, Reading};

use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Severity, Stage, shown, system_path,
    unjudged, unknown_value,
};

pub(super) const LISTENER: &str = r"Control\Terminal Server\WinStations\RDP-Tcp";

/// Windows' own listener since 8.1.
const OWN_PROTOCOL: &str = "{5828227c-20cf-4408-b73f-73ab70b8849f}";
/// Windows 7's.
const OWN_PROTOCOL_7: &str = "{18b726bb-6fe6-4fb9-9276-ed57ce7c7cb2}";

const SOURCE: &[&str] = &[
    "Azure/repair-script-library win-fix-rdp-connectivity",
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/cannot-connect-rdp-azure-vm",
    "https://learn.microsoft.com/windows/win32/termserv/win32-tsgeneralsetting-setsecuritylayer",
];

/// A value of the listener that is judged by a range: name, the healthy values, the target.
struct Ranged {
    name: &'static str,
    healthy: &'static [u32],
    target: u32,
}

const RANGED: [Ranged; 4] = [
    Ranged {
        name: "fEnableWinStation",
        healthy: &[1],
        target: 1,
    },
    Ranged {
        name: "fLogonDisabled",
        healthy: &[0],
        target: 0,
    },
    Ranged {
        name: "SecurityLayer",
        healthy: &[0, 1, 2],
        target: 2,
    },
    Ranged {
        name: "MinEncryptionLevel",
        healthy: &[1, 2, 3, 4],
        target: 3,
    },
];

impl Ranged {
    fn expected(&self) -> String {
        let values: Vec<String> = self
            .healthy
            .iter()
            .map(|value| format!("{value:#x}"))
            .collect();
        format!("REG_DWORD {}", values.join(" or "))
    }
}

const MISSING: Problem = Problem {
    id: "rdp-listener.missing",
    title: "The listener RDP-Tcp is missing",
    severity: Severity::Broken,
    stage: Stage::Listener,
    trigger: "The key is not there.",
    cause: "Windows has nothing that listens for Remote Desktop. Import the key from a machine of the same version (`coldfix reg export` there, `coldfix reg import` here); coldfix does not invent it.",
    fixes: &[],
};

const INVALID: Problem = Problem {
    id: "rdp-listener.invalid",
    title: "The listener RDP-Tcp is off or has an invalid setting",
    severity: Severity::Broken,
    stage: Stage::Listener,
    trigger: "fEnableWinStation is not 1, fLogonDisabled is not 0, or SecurityLayer or MinEncryptionLevel is out of its range: Windows does not clamp them.",
    cause: "With these values the listener does not accept connections, or ends them at once.",
    fixes: &[FIX.name],
};

const ADAPTER: Problem = Problem {
    id: "rdp-listener.adapter",
    title: "The listener is bound to one network adapter",
    severity: Severity::Risk,
    stage: Stage::Listener,
    trigger: "LanAdapter is not 0.",
    cause: "Remote Desktop answers on one adapter only. After a move to another machine that adapter may not exist.",
    fixes: &[FIX.name],
};

const ENCRYPTION: Problem = Problem {
    id: "rdp-listener.encryption",
    title: "Security layer and encryption level do not go together",
    severity: Severity::Risk,
    stage: Stage::Handshake,
    trigger: "SecurityLayer is 2 and MinEncryptionLevel is 1.",
    cause: "With TLS (SecurityLayer 2) the encryption level 1 is not valid.",
    fixes: &[],
};

const THIRD_PARTY: Problem = Problem {
    id: "rdp-listener.third-party",
    title: "Another product handles the listener",
    severity: Severity::Risk,
    stage: Stage::Listener,
    trigger: "LoadableProtocol_Object is not that of Windows, or Citrix keeps a copy of it beside it.",
    cause: "The protocol driver of RDP-Tcp is not Windows' own. If that product is broken or gone, Remote Desktop does not answer.",
    fixes: &[],
};

const UNCLEAR: Problem = Problem::unclear("rdp-listener.unclear", Stage::Listener);

pub(super) const CHECK: Check = Check {
    id: "rdp-listener",
    title: "The listener RDP-Tcp is on and its settings are valid",
    looks_at: "The key WinStations\\RDP-Tcp: fEnableWinStation, fLogonDisabled, SecurityLayer, MinEncryptionLevel, LanAdapter, SSLCertificateSHA1Hash and the protocol driver.",
    healthy: "fEnableWinStation 1, fLogonDisabled 0, SecurityLayer 0 to 2, MinEncryptionLevel 1 to 4, LanAdapter 0. Absent values are the defaults of Windows.",
    problems: &[
        &MISSING,
        &INVALID,
        &ADAPTER,
        &ENCRYPTION,
        &THIRD_PARTY,
        &UNCLEAR,
    ],
    source: SOURCE,
    run,
};

pub(super) const FIX: Fix = Fix {
    name: "rdp-listener",
    values: "",
    title: "Bring the listener RDP-Tcp back to valid settings",
    explanation: "Sets fEnableWinStation to 1, fLogonDisabled to 0 and LanAdapter to 0 (all adapters); SecurityLayer to 2 and MinEncryptionLevel to 3 only where they are out of range. A missing listener key is not invented.",
    source: SOURCE,
    edits,
};

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut missing = Gathered::new(&MISSING, SOURCE);
    let mut invalid = Gathered::new(&INVALID, SOURCE);
    let mut bound = Gathered::new(&ADAPTER, SOURCE);
    let mut foreign = Gathered::new(
        &THIRD_PARTY,
        &["https://github.com/aliyun/alibabacloud-ecs-troubleshoot-skills"],
    );
    let mut weak = Gathered::new(&ENCRYPTION, SOURCE);

    for set in facts.sets() {
        let key = set.path(LISTENER);
        match facts.registry().has_key(HiveName::System, &key) {
            Ok(true) => {}
            Ok(false) => {
                missing.add(
                    set.is_active(),
                    HiveName::System.full_path(&key),
                    "no key".to_owned(),
                    "the key",
                    [],
                );
                continue;
            }
            // An unreadable hive is reported as a whole by its own check.
            Err(_) => continue,
        }
        for ranged in &RANGED {
            let location = system_path(&key, ranged.name);
            match facts.system_dword(&key, ranged.name) {
                Reading::Found(value) if !ranged.healthy.contains(&value) => invalid.add(
                    set.is_active(),
                    location,
                    shown(value),
                    &ranged.expected(),
                    [Edit::dword(
                        HiveName::System,
                        &key,
                        ranged.name,
                        ranged.target,
                    )],
                ),
                Reading::Malformed(found) => findings.push(unjudged(
                    &UNCLEAR,
                    location,
                    found,
                    &ranged.expected(),
                    SOURCE,
                )),
                _ => {}
            }
        }
        let number = |name| facts.system_dword(&key, name).found();
        if let Some(adapter) = number("LanAdapter").filter(|adapter| *adapter != 0) {
            bound.add(
                set.is_active(),
                system_path(&key, "LanAdapter"),
                shown(adapter),
                "REG_DWORD 0x0",
                [],
            );
        }
        if number("SecurityLayer") == Some(2) && number("MinEncryptionLevel") == Some(1) {
            weak.add(
                set.is_active(),
                system_path(&key, "MinEncryptionLevel"),
                shown(1),
                "REG_DWORD 0x2 or 0x3",
                [],
            );
        }
        look_at_protocol(facts, set, &key, &mut foreign);
    }
    for gathered in [missing, invalid, bound, weak, foreign] {
        findings.extend(gathered.into_finding());
    }
    findings
}

fn look_at_protocol(facts: &Facts<'_>, set: &ControlSet, key: &str, foreign: &mut Gathered) {
    const OBJECT: &str = "LoadableProtocol_Object";
    const BACKUP: &str = "CitrixBackupRdpTcpLoadableProtocolObject";
    let registry = facts.registry();
    if let Reading::Found(object) = registry.text(HiveName::System, key, OBJECT)
        && !object.eq_ignore_ascii_case(OWN_PROTOCOL)
        && !object.eq_ignore_ascii_case(OWN_PROTOCOL_7)
    {
        foreign.add(
            set.is_active(),
            system_path(key, OBJECT),
            object,
            OWN_PROTOCOL,
            [],
        );
    }
    if let Reading::Found(object) = registry.text(HiveName::System, key, BACKUP) {
        foreign.add(
            set.is_active(),
            system_path(key, BACKUP),
            object,
            "no value",
            [],
        );
    }
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    if let Some(value) = value {
        return Err(unknown_value(&FIX, value));
    }
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        let key = set.path(LISTENER);
        if facts.registry().has_key(HiveName::System, &key) != Ok(true) {
            proposal.notes.push(format!(
                "{} is not there; it is not invented",
                HiveName::System.full_path(&key)
            ));
            continue;
        }
        for (name, target) in [
            ("fEnableWinStation", 1),
            ("fLogonDisabled", 0),
            ("LanAdapter", 0),
        ] {
            proposal
                .edits
                .push(Edit::dword(HiveName::System, &key, name, target));
        }
        for ranged in RANGED.iter().filter(|ranged| ranged.healthy.len() > 1) {
            if let Reading::Found(value) = facts.system_dword(&key, ranged.name)
                && !ranged.healthy.contains(&value)
            {
                proposal.edits.push(Edit::dword(
                    HiveName::System,
                    &key,
                    ranged.name,
                    ranged.target,
                ));
            }
        }
    }
    Ok(proposal)
}
