// SPDX-License-Identifier: GPL-2.0-or-later
//! What starts Windows: the boot configuration store, its loader, and settings that keep Remote Desktop away.

use uuid::Uuid;

use crate::bcd::format::{BOOTMGR, EMS_SETTINGS, element};
use crate::bcd::text::View;
use crate::bcd::{Device, ElementType, Object, ObjectType, Store, Value};
use crate::edit::{BootChange, BootEdit, Edit, HexBytes, StorePlace};
use crate::error::{Error, Result};
use crate::windows::boot::UEFI_STORE;

use super::{
    Check, Evidence, EvidenceKind, Facts, Finding, Fix, Problem, Proposal, Severity, Stage,
    unknown_value,
};

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/boot-error-0xc000000f",
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/troubleshoot-rdp-safe-mode",
    "Azure/repair-script-library win-fix-bcd",
];

const SERIAL_SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/troubleshoot-rdp-internal-error",
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/serial-console-windows",
];

const NO_STORE: Problem = Problem {
    id: "boot.no-store",
    title: "The disk has no boot configuration",
    severity: Severity::Risk,
    stage: Stage::Start,
    trigger: "No volume that can be read holds \\EFI\\Microsoft\\Boot\\BCD or \\Boot\\BCD, and the partition table is known.",
    cause: "Neither \\EFI\\Microsoft\\Boot\\BCD nor \\Boot\\BCD is on any volume that can be read. Unless another disk starts this Windows, the firmware finds nothing to start. A store is made anew with bcdboot on a Windows machine.",
    fixes: &[],
};

const UNREADABLE: Problem = Problem {
    id: "boot.unreadable",
    title: "A boot configuration store cannot be read",
    severity: Severity::Risk,
    stage: Stage::Start,
    trigger: "A store is there and cannot be read as a registry hive with boot objects.",
    cause: "The boot manager stops (0xc0000098, 0xc000000f) where it needs this store. It is made anew with bcdboot on a Windows machine.",
    fixes: &[],
};

const NOT_STARTED: Problem = Problem {
    id: "boot.not-started",
    title: "No boot configuration starts this Windows",
    severity: Severity::Broken,
    stage: Stage::Start,
    trigger: "Of the stores that can be read none has a loader whose device, osdevice and systemroot are this partition and folder.",
    cause: "The entries name another partition, another folder, or a disk that this is not any more: Windows stops with 0xc000000e or 0xc000000f, or another Windows starts. coldfix does not write devices; mend it with bcdboot, or bcdedit /set device and osdevice, on a Windows machine that has the disk attached.",
    fixes: &[],
};

const SEVERAL_STORES: Problem = Problem {
    id: "boot.several-stores",
    title: "Several boot configuration stores start this Windows",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "More than one store that the firmware may read has such a loader.",
    cause: "Which of them counts depends on the firmware, BIOS or UEFI. Name one with --bcd PARTITION:PATH to change it.",
    fixes: &[],
};

const IN_SAFE_MODE: Problem = Problem {
    id: "boot.safe-mode",
    title: "Windows is set to start in safe mode",
    severity: Severity::Broken,
    stage: Stage::Start,
    trigger: "The entry that starts this Windows has safeboot.",
    cause: "Remote Desktop does not start in safe mode, neither minimal nor with network.",
    fixes: &["safe-mode=off"],
};

const IMC: Problem = Problem {
    id: "boot.imc",
    title: "The entry loads a hive that stops Windows",
    severity: Severity::Broken,
    stage: Stage::Start,
    trigger: "The entry has imcdevice or imchivename.",
    cause: "imcdevice and imchivename belong to a state of Windows that is set up with an image; left behind, Windows stops with 0x67.",
    fixes: &[],
};

const DEBUG: Problem = Problem {
    id: "boot.debug",
    title: "Kernel debugging is switched on",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "The entry has debug set.",
    cause: "Windows talks to a debugger over the port of {dbgsettings}. A serial port that is debugged is not there for the serial console.",
    fixes: &[],
};

const SEQUENCE: Problem = Problem {
    id: "boot.sequence",
    title: "A one-time boot sequence is waiting",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "{bootmgr} has bootsequence.",
    cause: "The boot manager starts it once instead of its default entry.",
    fixes: &[],
};

const NOT_DEFAULT: Problem = Problem {
    id: "boot.not-default",
    title: "Another entry than this Windows starts by default",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "The default of {bootmgr} is another entry.",
    cause: "Somebody has to choose this Windows in the boot menu.",
    fixes: &[],
};

const MANAGER_DEVICE: Problem = Problem {
    id: "boot.manager-device",
    title: "The boot manager's own device is not on this disk",
    severity: Severity::Risk,
    stage: Stage::Start,
    trigger: "The device of {bootmgr} names a partition that this disk does not have.",
    cause: "Its device names a partition that this disk does not have, as after the disk was copied to another one or its signature changed. A BIOS boot manager then stops with 0xc000000e. Mend it with bcdboot, or bcdedit /set {bootmgr} device, on a Windows machine that has the disk attached.",
    fixes: &[],
};

const LOADER_PATH: Problem = Problem {
    id: "boot.loader-path",
    title: "The entry's path is not that of a loader for this firmware",
    severity: Severity::Broken,
    stage: Stage::Start,
    trigger: "The path of the entry is empty, or does not end as the firmware of the store needs: .efi or .exe.",
    cause: "UEFI starts winload.efi, a BIOS winload.exe. Set the path with `coldfix bcd set`.",
    fixes: &[],
};

const LOADER_MISSING: Problem = Problem {
    id: "boot.loader-missing",
    title: "The loader that the entry names is not there",
    severity: Severity::Broken,
    stage: Stage::Start,
    trigger: "The file that the path names is not on the volume.",
    cause: "The boot manager stops with 0xc000000f or 0xc0000225. Copy the file from Windows\\System32\\Boot or from an installation of the same build.",
    fixes: &[],
};

pub(super) const CHECK: Check = Check {
    id: "boot",
    title: "The boot configuration starts this Windows, and not in safe mode",
    looks_at: "The boot configuration (BCD) stores of the disk. Their loaders are compared with this installation: device and osdevice with the identity of the partition, systemroot with the folder, path with the file.",
    healthy: "One store has a loader for this Windows, and it is not in safe mode. Without the partition table of the disk (a mounted folder, a single volume) nothing is said of a missing store.",
    problems: &[
        &NO_STORE,
        &UNREADABLE,
        &NOT_STARTED,
        &SEVERAL_STORES,
        &IN_SAFE_MODE,
        &IMC,
        &DEBUG,
        &SEQUENCE,
        &NOT_DEFAULT,
        &MANAGER_DEVICE,
        &LOADER_PATH,
        &LOADER_MISSING,
    ],
    source: SOURCE,
    run,
};

pub(super) const SERIAL_CONSOLE: Fix = Fix {
    name: "serial-console",
    values: "port:1 and baud:115200, with a comma between; these when nothing is said",
    title: "Let the serial console reach boot manager and Windows",
    explanation: "Five settings of Microsoft's procedure: {bootmgr} displaybootmenu yes, timeout 5 and bootems yes; ems on for the entry that starts this Windows; emsport and emsbaudrate in {emssettings}, which is made where it is missing. Windows itself answers (SAC) on servers only.",
    source: SERIAL_SOURCE,
    edits: serial_console,
};

pub(super) const SAFE_MODE: Fix = Fix {
    name: "safe-mode",
    values: "off",
    title: "Leave safe mode",
    explanation: "Deletes safeboot and safebootalternateshell from the entry that starts this Windows.",
    source: SOURCE,
    edits: safe_mode,
};

pub(super) const RECOVERY_LOOP: Fix = Fix {
    name: "recovery-loop",
    values: "off or on; off when nothing is said",
    title: "Start Windows also after failed starts, instead of the recovery environment",
    explanation: "off sets recoveryenabled no, bootstatuspolicy IgnoreAllFailures and integrityservices Enable for the entry that starts this Windows, as a machine without a screen needs it; on sets recoveryenabled yes and deletes bootstatuspolicy.",
    source: SOURCE,
    edits: recovery_loop,
};

/// The store and the loader that start the installation.
struct Started {
    place: StorePlace,
    store: Store,
    loader: Uuid,
    is_default: bool,
}

impl Started {
    fn find(facts: &Facts<'_>) -> Result<Started> {
        let installation = facts.installation;
        let (store, judgement) = installation
            .boot
            .find(installation.partition, &installation.directory)?;
        let loader = judgement.loader.ok_or_else(|| {
            Error::refused(
                format!("{} starts no Windows of this disk", store.place),
                "look at it with `coldfix bcd enum TARGET all -v`",
            )
        })?;
        Ok(Started {
            place: store.place.clone(),
            store: store.store()?,
            loader,
            is_default: judgement.is_default,
        })
    }

    fn edit(&self, object: Uuid, change: BootChange) -> Edit {
        Edit::Boot(BootEdit {
            store: self.place.clone(),
            object,
            change,
        })
    }

    /// Sets an element of an object that is there or, of this type, will be.
    fn set(&self, object: Uuid, kind: ObjectType, element: ElementType, value: &Value) -> Edit {
        let object_type = self.store.object(object).map_or(kind, |object| object.kind);
        let (kind, data) = value.encode().unwrap_or_default();
        self.edit(
            object,
            BootChange::SetElement {
                object_type,
                element,
                kind,
                data: HexBytes(data),
            },
        )
    }

    fn set_loader(&self, element: ElementType, value: &Value) -> Edit {
        self.set(self.loader, ObjectType::LOADER, element, value)
    }

    fn delete_of_loader(&self, element: ElementType) -> Edit {
        self.edit(
            self.loader,
            BootChange::DeleteElement {
                object_type: ObjectType::LOADER,
                element,
            },
        )
    }

    /// What is to be known when the entry is not the one that starts by itself.
    fn note(&self, proposal: &mut Proposal) {
        if !self.is_default {
            proposal.notes.push(format!(
                "the entry {} starts this Windows, and is not the boot manager's default",
                self.store.identifier(self.loader, false)
            ));
        }
    }
}

fn evidence(location: String, found: impl Into<String>, expected: &str) -> Evidence {
    Evidence {
        kind: EvidenceKind::Bcd,
        location,
        found: found.into(),
        expected: expected.to_owned(),
    }
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let installation = facts.installation;
    let boot = &installation.boot;
    let mut findings = Vec::new();
    if boot.stores().is_empty() {
        if boot.knows_partitions() {
            findings.push(NO_STORE.found(
                SOURCE,
                vec![evidence(
                    "all volumes".to_owned(),
                    "no store",
                    "a boot configuration store",
                )],
            ));
        }
        return findings;
    }
    for store in boot.stores() {
        if let Err(error) = store.store() {
            findings.push(UNREADABLE.found(
                SOURCE,
                vec![evidence(
                    store.place.to_string(),
                    error.to_string(),
                    "a sound store",
                )],
            ));
        }
    }
    match Started::find(facts) {
        Ok(started) => findings.extend(judge(facts, &started)),
        Err(_) => findings.extend(not_started(facts)),
    }
    findings
}

/// No store, or more than one, starts this Windows.
fn not_started(facts: &Facts<'_>) -> Option<Finding> {
    let installation = facts.installation;
    let boot = &installation.boot;
    let mut parts = Vec::new();
    let mut starting = 0_usize;
    for store in boot.stores() {
        let judged = boot.judge(store, installation.partition, &installation.directory);
        let Ok(judgement) = judged else {
            continue;
        };
        if judgement.loader.is_some() && store.unreached.is_none() {
            starting = starting.saturating_add(1);
        }
        let found = match judgement.reasons.is_empty() {
            true => "starts it".to_owned(),
            false => judgement.reasons.join("; "),
        };
        let expected = "a loader with this partition and folder";
        parts.push(evidence(store.place.to_string(), found, expected));
    }
    match (parts.is_empty(), starting) {
        (true, _) => None,
        (false, 0) => Some(NOT_STARTED.found(SOURCE, parts)),
        (false, _) => Some(SEVERAL_STORES.found(SOURCE, parts)),
    }
}

/// What is to be said of the loader that starts this Windows, and of its boot manager.
fn judge(facts: &Facts<'_>, started: &Started) -> Vec<Finding> {
    let mut findings = Vec::new();
    let boot = &facts.installation.boot;
    let view = View {
        store: &started.store,
        verbose: false,
        number: &|id| boot.number(id),
    };
    let place = |object: &Object, element: ElementType| {
        let name = crate::bcd::elements::shown_name(object.kind, element);
        let object = started.store.identifier(object.id, false);
        format!("{}: {object} {name}", started.place)
    };
    let shown = |object: &Object, element: ElementType| view.values(object, element).join(", ");
    let Some(loader) = started.store.object(started.loader) else {
        return findings;
    };
    let own = |element: ElementType| loader.elements.contains_key(&element);

    if own(element::SAFE_BOOT) {
        let mut found = IN_SAFE_MODE.found(
            SOURCE,
            vec![evidence(
                place(loader, element::SAFE_BOOT),
                shown(loader, element::SAFE_BOOT),
                "not set",
            )],
        );
        found.cure = leave_safe_mode(started, loader);
        findings.push(found);
    }
    let images = [element::IMC_DEVICE, element::IMC_HIVE_NAME];
    let images: Vec<ElementType> = images.into_iter().filter(|element| own(*element)).collect();
    if !images.is_empty() {
        let mut found = IMC.found(
            SOURCE,
            images
                .iter()
                .map(|element| {
                    evidence(place(loader, *element), shown(loader, *element), "not set")
                })
                .collect(),
        );
        let deleted = images.into_iter();
        found.cure = deleted
            .map(|element| started.delete_of_loader(element))
            .collect();
        findings.push(found);
    }
    findings.extend(loader_file(facts, started, loader, &place));
    if loader.is_set(element::DEBUG) {
        findings.push(DEBUG.found(
            SOURCE,
            vec![evidence(
                place(loader, element::DEBUG),
                "Yes",
                "No, or not set",
            )],
        ));
    }
    let manager = started.store.object(BOOTMGR);
    if let Some(manager) = manager {
        if manager.elements.contains_key(&element::BOOT_SEQUENCE) {
            findings.push(SEQUENCE.found(
                SOURCE,
                vec![evidence(
                    place(manager, element::BOOT_SEQUENCE),
                    shown(manager, element::BOOT_SEQUENCE),
                    "not set",
                )],
            ));
        }
        if !started.is_default {
            findings.push(NOT_DEFAULT.found(
                SOURCE,
                vec![evidence(
                    place(manager, element::DEFAULT),
                    shown(manager, element::DEFAULT),
                    &started.store.identifier(started.loader, false),
                )],
            ));
        }
        if let Some(Value::Device(Device::Partition(id))) = manager.value(element::DEVICE)
            && boot.knows_partitions()
            && boot.number(id).is_none()
        {
            findings.push(MANAGER_DEVICE.found(
                SOURCE,
                vec![evidence(
                    place(manager, element::DEVICE),
                    shown(manager, element::DEVICE),
                    "a partition of this disk",
                )],
            ));
        }
    }
    findings
}

/// The loader's file: of the kind that the firmware starts, and there.
fn loader_file(
    facts: &Facts<'_>,
    started: &Started,
    loader: &Object,
    place: &dyn Fn(&Object, ElementType) -> String,
) -> Option<Finding> {
    let location = place(loader, element::PATH);
    let path = match started.store.effective(loader, element::PATH) {
        Some((_, Value::Text(path))) => path,
        _ => String::new(),
    };
    let is_uefi = started.place.path.eq_ignore_ascii_case(UEFI_STORE);
    let is_bios = !is_uefi
        && started
            .place
            .path
            .to_ascii_lowercase()
            .ends_with("boot/bcd");
    let lower = path.to_ascii_lowercase();
    let expected = match (is_uefi, is_bios) {
        (true, _) => ".efi",
        (_, true) => ".exe",
        _ => "",
    };
    if !lower.ends_with(expected) || path.is_empty() {
        return Some(LOADER_PATH.found(
            SOURCE,
            vec![evidence(
                location,
                format!("{path:?}"),
                &format!(
                    "\\{}\\system32\\winload{expected}",
                    facts.installation.directory
                ),
            )],
        ));
    }
    // An error of reading is not an absence.
    let there = facts.installation.volume.entry(&path);
    matches!(there, Ok(None)).then(|| {
        LOADER_MISSING.found(
            SOURCE,
            vec![evidence(
                location,
                format!("{path}: no such file"),
                "the loader's file",
            )],
        )
    })
}

fn leave_safe_mode(started: &Started, loader: &Object) -> Vec<Edit> {
    [element::SAFE_BOOT, element::SAFE_BOOT_SHELL]
        .into_iter()
        .filter(|element| loader.elements.contains_key(element))
        .map(|element| started.delete_of_loader(element))
        .collect()
}

fn safe_mode(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    match value {
        Some("off") => {}
        Some(other) => return Err(unknown_value(&SAFE_MODE, other)),
        None => {
            return Err(Error::unsupported(
                "--fix safe-mode: it is only left, not entered",
                "write --fix safe-mode=off",
            ));
        }
    }
    let started = Started::find(facts)?;
    let mut proposal = Proposal::default();
    if let Some(loader) = started.store.object(started.loader) {
        proposal.edits = leave_safe_mode(&started, loader);
        let inherited = started.store.effective(loader, element::SAFE_BOOT);
        if let Some((owner, _)) = inherited.filter(|(owner, _)| *owner != loader.id) {
            proposal.notes.push(format!(
                "safeboot is also inherited, from {}, and stays there",
                started.store.identifier(owner, false)
            ));
        }
    }
    started.note(&mut proposal);
    Ok(proposal)
}

fn recovery_loop(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    const INTEGRITY_SERVICES: ElementType = ElementType(0x1500_004b);
    const IGNORE_ALL_FAILURES: u64 = 1;
    let on = match value {
        None | Some("off") => false,
        Some("on") => true,
        Some(other) => return Err(unknown_value(&RECOVERY_LOOP, other)),
    };
    let started = Started::find(facts)?;
    let mut proposal = Proposal::default();
    let enabled = Value::Boolean(on);
    proposal
        .edits
        .push(started.set_loader(element::RECOVERY_ENABLED, &enabled));
    if on {
        proposal
            .edits
            .push(started.delete_of_loader(element::BOOT_STATUS_POLICY));
    } else {
        proposal.edits.extend([
            started.set_loader(
                element::BOOT_STATUS_POLICY,
                &Value::Integer(IGNORE_ALL_FAILURES),
            ),
            started.set_loader(INTEGRITY_SERVICES, &Value::Integer(1)),
        ]);
    }
    started.note(&mut proposal);
    Ok(proposal)
}

/// The port and the speed in `port:1,baud:115200`.
fn port_and_speed(value: Option<&str>) -> Result<(u64, u64)> {
    let (mut port, mut baud) = (1, 115_200);
    for part in value.into_iter().flat_map(|value| value.split(',')) {
        let unknown = || unknown_value(&SERIAL_CONSOLE, value.unwrap_or_default());
        let (name, number) = part.split_once(':').ok_or_else(unknown)?;
        let number: u64 = number.parse().map_err(|_| unknown())?;
        match name {
            "port" if (1..=4).contains(&number) => port = number,
            "baud" if (9600..=115_200).contains(&number) => baud = number,
            _ => return Err(unknown()),
        }
    }
    Ok((port, baud))
}

fn serial_console(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    /// How long the menu waits: the procedure's.
    const TIMEOUT: u64 = 5;
    let (port, baud) = port_and_speed(value)?;
    let started = Started::find(facts)?;
    let yes = Value::Boolean(true);
    let mut proposal = Proposal::default();
    let manager =
        |element, value: &Value| started.set(BOOTMGR, ObjectType::BOOT_MANAGER, element, value);
    proposal.edits.extend([
        manager(element::DISPLAY_BOOT_MENU, &yes),
        manager(element::TIMEOUT, &Value::Integer(TIMEOUT)),
        manager(element::BOOT_EMS, &yes),
        started.set_loader(element::EMS, &yes),
    ]);
    if started.store.object(EMS_SETTINGS).is_none() {
        proposal.edits.push(started.edit(
            EMS_SETTINGS,
            BootChange::CreateObject {
                object_type: ObjectType::INHERITED,
            },
        ));
    }
    let settings = |element, number| {
        let value = Value::Integer(number);
        started.set(EMS_SETTINGS, ObjectType::INHERITED, element, &value)
    };
    proposal.edits.extend([
        settings(element::EMS_PORT, port),
        settings(element::EMS_BAUD_RATE, baud),
    ]);
    for id in [BOOTMGR, started.loader] {
        if let Some(object) = started.store.object(id)
            && !started.store.inherits(object, EMS_SETTINGS)
        {
            proposal.notes.push(format!(
                "{} does not inherit {{emssettings}}, so that port and speed do not reach it",
                started.store.identifier(id, false)
            ));
        }
    }
    let release = facts.installation.release();
    if release.installation_type.as_deref() == Some("Client") {
        proposal.notes.push(
            "this is a client edition of Windows: boot manager and loader speak over the serial port, the console of \
             Windows (SAC) is in servers only"
                .to_owned(),
        );
    }
    started.note(&mut proposal);
    Ok(proposal)
}
