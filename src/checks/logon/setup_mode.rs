// SPDX-License-Identifier: GPL-2.0-or-later
//! Setup mode: Windows runs one command instead of letting anybody log on.

use crate::edit::{Edit, HiveName};
use crate::windows::{Presence, Reading, value};

use super::super::{Facts, Gathered, Problem, Severity, Stage, shown, system_path, unjudged};
use super::{FIX, Found, SOURCE, UNCLEAR, search_path};

const KEY: &str = "Setup";
const TYPE: &str = "SetupType";
const COMMAND: &str = "CmdLine";

pub(super) const DANGLING: Problem = Problem {
    id: "logon.setup-mode",
    title: "Windows is in setup mode and has no command to run",
    severity: Severity::Broken,
    stage: Stage::Start,
    trigger: "SetupType of SYSTEM\\Setup is not 0, and CmdLine is absent, empty, or names a program that is certainly not on the volume.",
    cause: "Windows waits for a command that is not there, and nobody can log on. It starts over again, or stops with an error about its setup.",
    fixes: &[FIX.name],
};

pub(super) const RUNNING: Problem = Problem {
    id: "logon.setup-command",
    title: "Windows will run a setup command when it starts",
    severity: Severity::Risk,
    stage: Stage::Start,
    trigger: "SetupType of SYSTEM\\Setup is not 0, and CmdLine names a program that is there, or that cannot be looked up.",
    cause: "Nobody can log on until the command has ended. An image that was generalised and a Windows that is being upgraded are in this state for good reasons, so it is left alone.",
    fixes: &[],
};

pub(super) fn judge(facts: &Facts<'_>) -> Found {
    let mut found = Found::default();
    let mut dangling = Gathered::new(&DANGLING, SOURCE);
    let mut running = Gathered::new(&RUNNING, SOURCE);
    let kind = match facts.system_dword(KEY, TYPE) {
        Reading::Found(0) | Reading::NoValue | Reading::NoKey | Reading::Unreadable(_) => {
            return found;
        }
        Reading::Malformed(text) => {
            let place = system_path(KEY, TYPE);
            let finding = unjudged(&UNCLEAR, place, text, "REG_DWORD 0x0", SOURCE);
            found.unclear.push(finding);
            return found;
        }
        Reading::Found(kind) => kind,
    };
    let place = system_path(KEY, COMMAND);
    let command = match facts.registry().text(HiveName::System, KEY, COMMAND) {
        Reading::Found(command) => command,
        Reading::NoValue => String::new(),
        Reading::Malformed(text) | Reading::Unreadable(text) => {
            let finding = unjudged(&UNCLEAR, place, text, "REG_SZ, empty", SOURCE);
            found.unclear.push(finding);
            return found;
        }
        Reading::NoKey => return found,
    };
    let program = match command.trim().is_empty() {
        true => Presence::Missing,
        false => facts
            .installation
            .program_presence(&command, &search_path(facts)),
    };
    let says = format!(
        "SetupType {}, CmdLine \"{}\": {}",
        shown(kind),
        value::printable(&command),
        program.describe()
    );
    if program == Presence::Missing {
        let cure = [
            Edit::dword(HiveName::System, KEY, TYPE, 0),
            Edit::text(HiveName::System, KEY, COMMAND, value::SZ, ""),
        ];
        dangling.add(true, place, says, "SetupType 0 and no command", cure);
    } else {
        running.add(true, place, says, "SetupType 0 and no command", []);
    }
    found.gathered.extend([dangling, running]);
    found
}
