// SPDX-License-Identifier: GPL-2.0-or-later
//! The serial console: boot manager and Windows speak over a serial port (EMS).

use super::super::{Facts, Fix, Proposal, unknown_value};
use super::started::Started;
use crate::bcd::format::{BOOTMGR, EMS_SETTINGS, element};
use crate::bcd::{ObjectType, Value};
use crate::edit::BootChange;
use crate::error::Result;

const SERIAL_SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/troubleshoot-rdp-internal-error",
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/serial-console-windows",
];

pub(in crate::checks) const SERIAL_CONSOLE: Fix = Fix {
    name: "serial-console",
    values: "port:1 and baud:115200, with a comma between; these when nothing is said",
    title: "Let the serial console reach boot manager and Windows",
    explanation: "Five settings of Microsoft's procedure: {bootmgr} displaybootmenu yes, timeout 5 and bootems yes; ems on for the entry that starts this Windows; emsport and emsbaudrate in {emssettings}, which is made where it is missing. Windows itself answers (SAC) on servers only.",
    source: SERIAL_SOURCE,
    edits: serial_console,
};

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
    started.note(facts, &mut proposal);
    Ok(proposal)
}
