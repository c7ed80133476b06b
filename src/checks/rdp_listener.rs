// SPDX-License-Identifier: GPL-2.0-or-later
//! The listener `WinStations\RDP-Tcp`.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::rdp_settings::{Decides, MIN_ENCRYPTION_LEVEL, SECURITY_LAYER};
use crate::windows::{ControlSet, Reading};

use super::twins::{self, LAYER, LEVEL, Twins, deletion_note};
use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage, shown,
    system_path, unjudged, unknown_value,
};

pub(super) use crate::windows::rdp_settings::LISTENER;

/// Windows' own listener since 8.1.
const OWN_PROTOCOL: &str = "{5828227c-20cf-4408-b73f-73ab70b8849f}";
/// Windows 7's.
const OWN_PROTOCOL_7: &str = "{18b726bb-6fe6-4fb9-9276-ed57ce7c7cb2}";

const SOURCE: &[&str] = &[
    "Azure/repair-script-library win-fix-rdp-connectivity",
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/cannot-connect-rdp-azure-vm",
    "https://learn.microsoft.com/windows/win32/termserv/win32-tsgeneralsetting-setsecuritylayer",
];

/// Values of the listener that must be right where they are there, and what is right.
const SWITCHES: [(&str, u32); 2] = [("fEnableWinStation", 1), ("fLogonDisabled", 0)];

/// The stock encryption level on every Windows from XP to 10.
const STOCK_LEVEL: u32 = 2;

/// The network adapter that is listened on; 0 for all. Somebody's choice, so it is cured only by name.
const ADAPTER_NAME: &str = "LanAdapter";
/// Client and server agree on the security protocol unless this is 0; stock since Vista.
const NEGOTIATE: &str = "fAllowSecProtocolNegotiation";

const MISSING: Problem = Problem {
    id: "rdp-listener.missing",
    title: "The listener RDP-Tcp is missing",
    severity: Severity::Broken,
    stage: Stage::Listener,
    trigger: "The key is not there.",
    cause: "Windows has nothing that listens for Remote Desktop. Import the key from a machine of the same version (`coldfix reg export` there, `coldfix reg import` here); coldfix does not invent it.",
    fixes: &[],
};

const POLICY: Problem = Problem {
    id: "rdp-listener.policy",
    title: "A policy gives the listener an invalid setting",
    severity: Severity::Broken,
    stage: Stage::Listener,
    trigger: "SecurityLayer (0 to 2) or MinEncryptionLevel (1 to 4) is there in SOFTWARE\\Policies\\Microsoft\\Windows NT\\Terminal Services, and out of its range.",
    cause: "With this value the listener ends connections at once, whatever its own setting says: the policy overrides it.",
    fixes: &[FIX.name],
};

const OVERRIDDEN: Problem = Problem {
    id: "rdp-listener.overridden",
    title: "An invalid setting of the listener is overridden by policy",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "SecurityLayer or MinEncryptionLevel of the listener is out of its range, and a policy gives a valid one.",
    cause: "The policy holds, and the listener's own setting does not. It does once the policy is gone.",
    fixes: &[FIX.name],
};

const NOT_NEGOTIATED: Problem = Problem {
    id: "rdp-listener.negotiation",
    title: "The listener does not negotiate the security protocol",
    severity: Severity::Risk,
    stage: Stage::Handshake,
    trigger: "fAllowSecProtocolNegotiation is 0.",
    cause: "Client and server cannot agree on TLS or Network Level Authentication. Windows sets 1.",
    fixes: &[FIX.name],
};

const INVALID: Problem = Problem {
    id: "rdp-listener.invalid",
    title: "The listener RDP-Tcp is off or has an invalid setting",
    severity: Severity::Broken,
    stage: Stage::Listener,
    trigger: "fEnableWinStation is not 1, fLogonDisabled is not 0, or SecurityLayer or MinEncryptionLevel is out of its range and no policy overrides it: Windows does not clamp them.",
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
    trigger: "SecurityLayer in force is 2 and MinEncryptionLevel in force is 1.",
    cause: "With TLS (SecurityLayer 2) the encryption level 1 is not valid.",
    fixes: &[FIX.name],
};

const THIRD_PARTY: Problem = Problem {
    id: "rdp-listener.third-party",
    title: "Another product handles the listener",
    severity: Severity::Risk,
    stage: Stage::Listener,
    trigger: "LoadableProtocol_Object is not that of Windows, WdName does not begin with \"Microsoft RDP\", or Citrix keeps a copy of the former beside it.",
    cause: "The protocol driver of RDP-Tcp is not Windows' own. If that product is broken or gone, Remote Desktop does not answer.",
    fixes: &[],
};

const UNCLEAR: Problem = Problem::unclear("rdp-listener.unclear", Stage::Listener);

pub(super) const CHECK: Check = Check {
    id: "rdp-listener",
    title: "The listener RDP-Tcp is on and its settings are valid",
    looks_at: "The key WinStations\\RDP-Tcp: fEnableWinStation, fLogonDisabled, SecurityLayer and MinEncryptionLevel with the policies that override them, fAllowSecProtocolNegotiation, LanAdapter and the protocol driver.",
    healthy: "fEnableWinStation 1, fLogonDisabled 0, SecurityLayer 0 to 2, MinEncryptionLevel 1 to 4, fAllowSecProtocolNegotiation 1, LanAdapter 0. Absent values are the defaults of Windows.",
    problems: &[
        &MISSING,
        &POLICY,
        &INVALID,
        &OVERRIDDEN,
        &ADAPTER,
        &NOT_NEGOTIATED,
        &ENCRYPTION,
        &THIRD_PARTY,
        &UNCLEAR,
    ],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: "rdp-listener",
    values: "",
    title: "Bring the listener RDP-Tcp back to valid settings",
    explanation: "Sets fEnableWinStation to 1, fLogonDisabled to 0 and LanAdapter to 0 (all adapters), and fAllowSecProtocolNegotiation to 1 where it is there; SecurityLayer to 2 and MinEncryptionLevel to 3 only where they are out of range, and MinEncryptionLevel to 2 where SecurityLayer does not allow what it is. Policies out of range are deleted. A missing listener key is not invented.",
    source: SOURCE,
    edits,
};

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut twins = Twins::new([&POLICY, &INVALID, &OVERRIDDEN, &UNCLEAR], SOURCE);
    let mut findings = Vec::new();
    let mut missing = Gathered::new(&MISSING, SOURCE);
    let mut bound = Gathered::new(&ADAPTER, SOURCE);
    let mut silent = Gathered::new(&NOT_NEGOTIATED, SOURCE);
    let mut foreign = Gathered::new(
        &THIRD_PARTY,
        &["https://github.com/aliyun/alibabacloud-ecs-troubleshoot-skills"],
    );
    let mut weak = Gathered::new(&ENCRYPTION, SOURCE);

    twins.judge_policy(facts, &LAYER);
    twins.judge_policy(facts, &LEVEL);
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
        twins.judge_machine(facts, set, &LAYER);
        twins.judge_machine(facts, set, &LEVEL);
        let others = [(ADAPTER_NAME, 0), (NEGOTIATE, 1)];
        for (name, right) in SWITCHES.into_iter().chain(others) {
            let gathered = match name {
                ADAPTER_NAME => &mut bound,
                NEGOTIATE => &mut silent,
                _ => &mut twins.machine,
            };
            let location = system_path(&key, name);
            match facts.system_dword(&key, name) {
                Reading::Found(value) if value != right => {
                    let cure = Edit::dword(HiveName::System, &key, name, right);
                    gathered.add(
                        set.is_active(),
                        location,
                        shown(value),
                        &shown(right),
                        (name != ADAPTER_NAME).then_some(cure),
                    );
                }
                Reading::Malformed(found) => {
                    let expected = shown(right);
                    findings.push(unjudged(&UNCLEAR, location, found, &expected, SOURCE));
                }
                _ => {}
            }
        }
        if let Some((path, cure)) = too_weak(facts, set) {
            weak.add(
                set.is_active(),
                path,
                shown(1),
                "REG_DWORD 0x2 or 0x3",
                cure,
            );
        }
        look_at_protocol(facts, set, &key, &mut foreign);
    }
    findings.extend(missing.into_finding());
    findings.extend(twins.into_findings());
    for gathered in [bound, silent, weak, foreign] {
        findings.extend(gathered.into_finding());
    }
    findings
}

/// Where an encryption level is set that the security layer does not allow, and what cures it: the policy is deleted,
/// and the listener's own level, which holds then, is raised where it is as low.
fn too_weak(facts: &Facts<'_>, set: &ControlSet) -> Option<(String, Vec<Edit>)> {
    let (layer, _, _) = twins::in_force(facts, set, &SECURITY_LAYER)?;
    let (level, decides, path) = twins::in_force(facts, set, &MIN_ENCRYPTION_LEVEL)?;
    if (layer, level) != (2, 1) {
        return None;
    }
    let own = MIN_ENCRYPTION_LEVEL.read(facts.registry(), set).machine;
    let raise = (own == Reading::Found(level)).then(|| MIN_ENCRYPTION_LEVEL.set(set, STOCK_LEVEL));
    let delete = (decides == Decides::Policy).then(|| MIN_ENCRYPTION_LEVEL.delete_policy());
    Some((path, delete.into_iter().chain(raise).collect()))
}

fn look_at_protocol(facts: &Facts<'_>, set: &ControlSet, key: &str, foreign: &mut Gathered) {
    const OBJECT: &str = "LoadableProtocol_Object";
    const DRIVER: &str = "WdName";
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
    // A driver of its own is what products of before 8 put here.
    if let Reading::Found(driver) = registry.text(HiveName::System, key, DRIVER)
        && !driver.is_empty()
        && !driver.starts_with("Microsoft RDP")
    {
        foreign.add(
            set.is_active(),
            system_path(key, DRIVER),
            driver,
            "Microsoft RDP",
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
        for (name, target) in SWITCHES.into_iter().chain([(ADAPTER_NAME, 0)]) {
            proposal
                .edits
                .push(Edit::dword(HiveName::System, &key, name, target));
        }
        if facts.system_dword(&key, NEGOTIATE).found() == Some(0) {
            let edit = Edit::dword(HiveName::System, &key, NEGOTIATE, 1);
            proposal.edits.push(edit);
        }
        for judged in [&LAYER, &LEVEL] {
            let twin = judged.setting.read(facts.registry(), set);
            if let Reading::Found(value) = twin.machine
                && !(judged.right)(value)
            {
                proposal.edits.push(judged.setting.set(set, judged.target));
            }
        }
        if let Some((_, cure)) = too_weak(facts, set) {
            proposal.edits.extend(cure);
        }
    }
    for judged in [&LAYER, &LEVEL] {
        if let Reading::Found(value) = judged.setting.read_policy(facts.registry())
            && !(judged.right)(value)
        {
            proposal.edits.push(judged.setting.delete_policy());
            proposal.notes.push(deletion_note(facts, &judged.setting));
        }
    }
    Ok(proposal)
}
