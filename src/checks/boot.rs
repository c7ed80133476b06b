// SPDX-License-Identifier: GPL-2.0-or-later
//! What starts Windows: the boot configuration store, its loader, and settings that keep Remote Desktop away.

use crate::bcd::format::{BOOTMGR, element};
use crate::bcd::text::View;
use crate::bcd::{Device, ElementType, Object, Value};
use crate::windows::boot::UEFI_STORE;

use super::{Check, Evidence, EvidenceKind, Facts, Finding, Run};

mod problems;
mod serial_console;
mod start_modes;
mod started;

pub(super) use serial_console::SERIAL_CONSOLE;
pub(super) use start_modes::{IMAGE, RECOVERY_LOOP, SAFE_MODE};

use problems::{
    DEBUG, IMC, IN_SAFE_MODE, LOADER_MISSING, LOADER_PATH, MANAGER_DEVICE, NO_STORE, NOT_DEFAULT,
    NOT_STARTED, SEQUENCE, SEVERAL_STORES, UNREADABLE,
};
use start_modes::{image_elements, leave_safe_mode};
use started::Started;

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/boot-error-0xc000000f",
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/troubleshoot-rdp-safe-mode",
    "Azure/repair-script-library win-fix-bcd",
];

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
    run: Run::System(run),
};

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
        let mut found = IN_SAFE_MODE.found(
            SOURCE,
            vec![show.element(loader, element::SAFE_BOOT, "not set")],
        );
        found.cure = leave_safe_mode(started, loader);
        findings.push(found);
    }
    let images = image_elements(loader);
    if !images.is_empty() {
        let parts = images.iter();
        let mut found = IMC.found(
            SOURCE,
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
        findings.push(DEBUG.found(
            SOURCE,
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
        findings.push(SEQUENCE.found(
            SOURCE,
            vec![show.element(manager, element::BOOT_SEQUENCE, "not set")],
        ));
    }
    if !started.is_default {
        let expected = started.store.identifier(started.loader, false);
        findings.push(NOT_DEFAULT.found(
            SOURCE,
            vec![show.element(manager, element::DEFAULT, &expected)],
        ));
    }
    if let Some(Value::Device(Device::Partition(id))) = manager.value(element::DEVICE)
        && boot.knows_partitions()
        && boot.number(id).is_none()
    {
        findings.push(MANAGER_DEVICE.found(
            SOURCE,
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
