// SPDX-License-Identifier: GPL-2.0-or-later
//! What starts Windows: the boot configuration store, its loader, and settings that keep Remote Desktop away.

use crate::bcd::format::{BOOTMGR, element};
use crate::bcd::text::View;
use crate::bcd::{Device, ElementType, Object, Value};
use crate::windows::boot::UEFI_STORE;

use super::{Check, Evidence, EvidenceKind, Facts, Finding, Severity};

mod serial_console;
mod start_modes;
mod started;

pub(super) use serial_console::SERIAL_CONSOLE;
pub(super) use start_modes::{RECOVERY_LOOP, SAFE_MODE};

use start_modes::leave_safe_mode;
use started::Started;

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/boot-error-0xc000000f",
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/troubleshoot-rdp-safe-mode",
    "Azure/repair-script-library win-fix-bcd",
];

pub(super) const CHECK: Check = Check {
    id: "boot",
    title: "The boot configuration starts this Windows, and not in safe mode",
    explanation: "Finds the boot configuration (BCD) stores of the disk and compares their loaders with this installation: device and osdevice with the partition's identity, systemroot with the folder, path with the file. Remote Desktop does not start in safe mode. A one-time boot sequence, a kernel debugger and another default entry are told. Without the disk's partition table (a mounted folder, a single volume) nothing is said of a missing store.",
    source: SOURCE,
    run,
};

fn finding(
    id: &'static str,
    severity: Severity,
    title: &str,
    cause: &str,
    evidence: Vec<Evidence>,
) -> Finding {
    Finding {
        id,
        title: title.to_owned(),
        severity,
        cause: cause.to_owned(),
        evidence,
        fixes: Vec::new(),
        source: SOURCE.iter().map(|source| (*source).to_owned()).collect(),
        cure: Vec::new(),
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
            findings.push(finding(
                "boot.no-store",
                Severity::Risk,
                "The disk has no boot configuration",
                "Neither \\EFI\\Microsoft\\Boot\\BCD nor \\Boot\\BCD is on any volume that can be read. Unless another disk starts this Windows, the firmware finds nothing to start. A store is made anew with bcdboot on a Windows machine.",
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
            findings.push(finding(
                "boot.unreadable",
                Severity::Risk,
                "A boot configuration store cannot be read",
                "The boot manager stops (0xc0000098, 0xc000000f) where it needs this store. It is made anew with bcdboot on a Windows machine.",
                vec![evidence(store.place.to_string(), error.to_string(), "a sound store")],
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
        (false, 0) => Some(finding(
            "boot.not-started",
            Severity::Broken,
            "No boot configuration starts this Windows",
            "The entries name another partition, another folder, or a disk that this is not any more: Windows stops with 0xc000000e or 0xc000000f, or another Windows starts. coldfix does not write devices; mend it with bcdboot, or bcdedit /set device and osdevice, on a Windows machine that has the disk attached.",
            parts,
        )),
        (false, _) => Some(finding(
            "boot.several-stores",
            Severity::Notice,
            "Several boot configuration stores start this Windows",
            "Which of them counts depends on the firmware, BIOS or UEFI. Name one with --bcd PARTITION:PATH to change it.",
            parts,
        )),
    }
}

/// What is to be said of the loader that starts this Windows, and of its boot manager.
fn judge(facts: &Facts<'_>, started: &Started) -> Vec<Finding> {
    let boot = &facts.installation.boot;
    let view = View {
        store: &started.store,
        verbose: false,
        number: &|id| boot.number(id),
    };
    let show = Show { started, view };
    let loader = started.store.object(started.loader);
    let manager = started.store.object(BOOTMGR);
    let loader = loader.map_or_else(Vec::new, |loader| judge_loader(facts, &show, loader));
    let manager = manager.map_or_else(Vec::new, |manager| judge_manager(facts, &show, manager));
    loader.into_iter().chain(manager).collect()
}

/// Elements of the store as evidence.
struct Show<'a> {
    started: &'a Started,
    view: View<'a>,
}

impl Show<'_> {
    fn place(&self, object: &Object, element: ElementType) -> String {
        let name = crate::bcd::elements::shown_name(object.kind, element);
        let id = self.started.store.identifier(object.id, false);
        format!("{}: {id} {name}", self.started.place)
    }

    /// An element that should be otherwise.
    fn element(&self, object: &Object, element: ElementType, expected: &str) -> Evidence {
        let found = self.view.values(object, element).join(", ");
        evidence(self.place(object, element), found, expected)
    }
}

fn judge_loader(facts: &Facts<'_>, show: &Show<'_>, loader: &Object) -> Vec<Finding> {
    let started = show.started;
    let own = |element: ElementType| loader.elements.contains_key(&element);
    let mut findings = Vec::new();
    if own(element::SAFE_BOOT) {
        let mut found = finding(
            "boot.safe-mode",
            Severity::Broken,
            "Windows is set to start in safe mode",
            "Remote Desktop does not start in safe mode, neither minimal nor with network.",
            vec![show.element(loader, element::SAFE_BOOT, "not set")],
        );
        found.fixes.push("safe-mode=off".to_owned());
        found.cure = leave_safe_mode(started, loader);
        findings.push(found);
    }
    let images = [element::IMC_DEVICE, element::IMC_HIVE_NAME];
    let images: Vec<ElementType> = images.into_iter().filter(|element| own(*element)).collect();
    if !images.is_empty() {
        let parts = images.iter();
        let mut found = finding(
            "boot.imc",
            Severity::Broken,
            "The entry loads a hive that stops Windows",
            "imcdevice and imchivename belong to a state of Windows that is set up with an image; left behind, Windows stops with 0x67.",
            parts
                .map(|element| show.element(loader, *element, "not set"))
                .collect(),
        );
        let deleted = images.into_iter();
        found.cure = deleted
            .map(|element| started.delete_of_loader(element))
            .collect();
        findings.push(found);
    }
    findings.extend(loader_file(facts, show, loader));
    if loader.is_set(element::DEBUG) {
        findings.push(finding(
            "boot.debug",
            Severity::Notice,
            "Kernel debugging is switched on",
            "Windows talks to a debugger over the port of {dbgsettings}. A serial port that is debugged is not there for the serial console.",
            vec![show.element(loader, element::DEBUG, "No, or not set")],
        ));
    }
    findings
}

fn judge_manager(facts: &Facts<'_>, show: &Show<'_>, manager: &Object) -> Vec<Finding> {
    let started = show.started;
    let boot = &facts.installation.boot;
    let mut findings = Vec::new();
    if manager.elements.contains_key(&element::BOOT_SEQUENCE) {
        findings.push(finding(
            "boot.sequence",
            Severity::Notice,
            "A one-time boot sequence is waiting",
            "The boot manager starts it once instead of its default entry.",
            vec![show.element(manager, element::BOOT_SEQUENCE, "not set")],
        ));
    }
    if !started.is_default {
        let expected = started.store.identifier(started.loader, false);
        findings.push(finding(
            "boot.not-default",
            Severity::Notice,
            "Another entry than this Windows starts by default",
            "Somebody has to choose this Windows in the boot menu.",
            vec![show.element(manager, element::DEFAULT, &expected)],
        ));
    }
    if let Some(Value::Device(Device::Partition(id))) = manager.value(element::DEVICE)
        && boot.knows_partitions()
        && boot.number(id).is_none()
    {
        findings.push(finding(
            "boot.manager-device",
            Severity::Risk,
            "The boot manager's own device is not on this disk",
            "Its device names a partition that this disk does not have, as after the disk was copied to another one or its signature changed. A BIOS boot manager then stops with 0xc000000e. Mend it with bcdboot, or bcdedit /set {bootmgr} device, on a Windows machine that has the disk attached.",
            vec![show.element(manager, element::DEVICE, "a partition of this disk")],
        ));
    }
    findings
}

/// The loader's file: of the kind that the firmware starts, and there.
fn loader_file(facts: &Facts<'_>, show: &Show<'_>, loader: &Object) -> Option<Finding> {
    let started = show.started;
    let location = show.place(loader, element::PATH);
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
        return Some(finding(
            "boot.loader-path",
            Severity::Broken,
            "The entry's path is not that of a loader for this firmware",
            "UEFI starts winload.efi, a BIOS winload.exe. Set the path with `coldfix bcd set`.",
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
        finding(
            "boot.loader-missing",
            Severity::Broken,
            "The loader that the entry names is not there",
            "The boot manager stops with 0xc000000f or 0xc0000225. Copy the file from Windows\\System32\\Boot or from an installation of the same build.",
            vec![evidence(location, format!("{path}: no such file"), "the loader's file")],
        )
    })
}
