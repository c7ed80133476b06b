// SPDX-License-Identifier: GPL-2.0-or-later
//! How the entry starts Windows: in safe mode or not, and what failed starts lead to.

use super::super::{Facts, Fix, Proposal, unknown_value};
use super::SOURCE;
use super::started::Started;
use crate::bcd::format::element;
use crate::bcd::{ElementType, Object, Value};
use crate::edit::Edit;
use crate::error::{Error, Result};

pub(in crate::checks) const SAFE_MODE: Fix = Fix {
    name: "safe-mode",
    values: "off",
    title: "Leave safe mode",
    explanation: "Deletes safeboot and safebootalternateshell from the entry that starts this Windows.",
    source: SOURCE,
    edits: safe_mode,
};

pub(in crate::checks) const IMAGE: Fix = Fix {
    name: "boot-imc",
    values: "",
    title: "Load no hive of an image at boot",
    explanation: "Deletes imcdevice and imchivename from the entry that starts this Windows.",
    source: SOURCE,
    edits: image,
};

pub(in crate::checks) const RECOVERY_LOOP: Fix = Fix {
    name: "recovery-loop",
    values: "off or on; off when nothing is said",
    title: "Start Windows also after failed starts, instead of the recovery environment",
    explanation: "off sets recoveryenabled no, bootstatuspolicy IgnoreAllFailures and integrityservices Enable for the entry that starts this Windows, as a machine without a screen needs it; on sets recoveryenabled yes and deletes bootstatuspolicy.",
    source: SOURCE,
    edits: recovery_loop,
};

pub(super) fn leave_safe_mode(started: &Started, loader: &Object) -> Vec<Edit> {
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
    started.note(facts, &mut proposal);
    Ok(proposal)
}

/// What of an image the entry has.
pub(super) fn image_elements(loader: &Object) -> Vec<ElementType> {
    [element::IMC_DEVICE, element::IMC_HIVE_NAME]
        .into_iter()
        .filter(|element| loader.elements.contains_key(element))
        .collect()
}

fn image(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    if let Some(value) = value {
        return Err(unknown_value(&IMAGE, value));
    }
    let started = Started::find(facts)?;
    let mut proposal = Proposal::default();
    if let Some(loader) = started.store.object(started.loader) {
        let deleted = image_elements(loader).into_iter();
        proposal.edits = deleted
            .map(|element| started.delete_of_loader(element))
            .collect();
    }
    started.note(facts, &mut proposal);
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
    started.note(facts, &mut proposal);
    Ok(proposal)
}
