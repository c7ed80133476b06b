// SPDX-License-Identifier: GPL-2.0-or-later
//! The Session Manager: what it runs before anything else, and the subsystem without which nothing runs.

use crate::edit::{Edit, HexBytes, HiveName};
use crate::windows::{ControlSet, Presence, Reading, value};

use super::super::{Facts, Gathered, Problem, Severity, Stage, system_path, unjudged};
use super::{FIX, Found, SOURCE, UNCLEAR, bounded};

const KEY: &str = r"Control\Session Manager";
const SUBSYSTEMS: &str = r"Control\Session Manager\SubSystems";
const SUBSYSTEM: &str = "Windows";
const AUTOCHECK: &str = "autocheck autochk *";
/// Words before the program in an entry, which say how to run it.
const MODES: [&str; 3] = ["autocheck", "async", "debug"];

pub(super) const CSRSS: Problem = Problem {
    id: "logon.csrss",
    title: "The Windows subsystem cannot start",
    severity: Severity::Broken,
    stage: Stage::Start,
    trigger: "SubSystems\\Windows is absent, has variables but not the type REG_EXPAND_SZ, or names a program that is missing or empty.",
    cause: "Without csrss.exe Windows stops at boot (0xC000021A). Its command line is taken from the last known good control set where that one is sound; coldfix does not invent one.",
    fixes: &[FIX.name],
};

pub(super) const CSRSS_UNCLEAR: Problem = Problem {
    id: "logon.csrss-unclear",
    title: "The command line of the Windows subsystem is no text",
    severity: Severity::Broken,
    stage: Stage::Start,
    trigger: "SubSystems\\Windows has another type than REG_EXPAND_SZ and REG_SZ, or is no text.",
    cause: "Windows stops at boot (0xC000021A). coldfix does not overwrite what it cannot read; set the value by hand, as on a machine of the same build.",
    fixes: &[],
};

pub(super) const BOOT_EXECUTE: Problem = Problem {
    id: "logon.boot-execute",
    title: "A program that is run at boot is missing",
    severity: Severity::Risk,
    stage: Stage::Start,
    trigger: "An entry of BootExecute other than autocheck autochk names a program that is certainly not on the volume.",
    cause: "Left behind by a program that was removed. Windows looks for it at every boot.",
    fixes: &[FIX.name],
};

pub(super) const NO_AUTOCHECK: Problem = Problem {
    id: "logon.no-autocheck",
    title: "Windows does not check its disks at boot",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "No entry of BootExecute begins with autocheck autochk, and autochk.exe is there.",
    cause: "A damaged volume is not repaired when Windows starts.",
    fixes: &[FIX.name],
};

pub(super) const NO_AUTOCHK: Problem = Problem {
    id: "logon.autochk-missing",
    title: "The program that checks disks at boot is missing",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "autochk.exe is certainly not in System32.",
    cause: "A component of Windows is damaged. Repair the component store (DISM /Image, sfc /offwindir).",
    fixes: &[],
};

pub(super) const SETUP_EXECUTE: Problem = Problem {
    id: "logon.setup-execute",
    title: "A program that is to be run once at boot is missing",
    severity: Severity::Risk,
    stage: Stage::Start,
    trigger: "An entry of SetupExecute names a program that is certainly not on the volume.",
    cause: "Left behind by an installation that did not end. Windows looks for it at every boot.",
    fixes: &[FIX.name],
};

pub(super) const EXCLUDED: Problem = Problem {
    id: "logon.known-dlls",
    title: "Libraries of Windows are taken from other folders",
    severity: Severity::Notice,
    stage: Stage::Start,
    trigger: "ExcludeFromKnownDlls names a library.",
    cause: "Each program then looks for the library in its own folder first. Stock lists are empty; a wrong library of this name keeps programs from starting.",
    fixes: &[],
};

pub(super) fn judge(facts: &Facts<'_>) -> Found {
    let mut found = Found::default();
    let mut csrss = Gathered::new(&CSRSS, SOURCE);
    let mut no_text = Gathered::new(&CSRSS_UNCLEAR, SOURCE);
    let mut boot = Gathered::new(&BOOT_EXECUTE, SOURCE);
    let mut unchecked = Gathered::new(&NO_AUTOCHECK, SOURCE);
    let mut setup = Gathered::new(&SETUP_EXECUTE, SOURCE);
    let mut excluded = Gathered::new(&EXCLUDED, SOURCE);
    let autochk = facts.installation.file_presence("autochk.exe");
    for set in facts.sets() {
        judge_subsystem(facts, set, &mut csrss, &mut no_text);
        judge_boot(facts, set, &autochk, &mut boot, &mut unchecked, &mut found);
        judge_setup(facts, set, &mut setup, &mut found);
        judge_known(facts, set, &mut excluded);
    }
    let mut missing = Gathered::new(&NO_AUTOCHK, SOURCE);
    if autochk == Presence::Missing {
        let place = format!(r"\{}\System32\autochk.exe", facts.installation.directory);
        missing.add(true, place, autochk.describe(), "the program", []);
        if let Some(evidence) = missing.finding.evidence.last_mut() {
            evidence.kind = super::super::EvidenceKind::File;
        }
    }
    let all = [csrss, no_text, boot, unchecked, missing, setup, excluded];
    found.gathered.extend(all);
    found
}

/// What is wrong with the subsystem's command line in a control set.
fn subsystem_fault(facts: &Facts<'_>, key: &str) -> Option<String> {
    match facts.registry().raw(HiveName::System, key, SUBSYSTEM) {
        Reading::NoValue => Some("no value".to_owned()),
        Reading::Found((kind, data)) if [value::SZ, value::EXPAND_SZ].contains(&kind) => {
            let shown = value::describe(kind, &data);
            let text = value::text(&data)?;
            if kind == value::SZ && text.contains('%') {
                return Some(shown);
            }
            let program = facts.installation.program_presence(&text, "");
            (text.trim().is_empty() || program.is_missing_or_empty())
                .then(|| format!("{shown}: {}", program.describe()))
        }
        _ => None,
    }
}

fn judge_subsystem(
    facts: &Facts<'_>,
    set: &ControlSet,
    csrss: &mut Gathered,
    no_text: &mut Gathered,
) {
    const EXPECTED: &str = r"REG_EXPAND_SZ %SystemRoot%\system32\csrss.exe ...";
    let key = set.path(SUBSYSTEMS);
    let place = system_path(&key, SUBSYSTEM);
    let active = set.is_active();
    if let Reading::Found((kind, data)) = facts.registry().raw(HiveName::System, &key, SUBSYSTEM) {
        let is_text = [value::SZ, value::EXPAND_SZ].contains(&kind);
        if !is_text || value::text(&data).is_none() {
            let found = value::describe(kind, &data);
            no_text.add(active, place.clone(), found, EXPECTED, []);
        }
    }
    if let Some(fault) = subsystem_fault(facts, &key) {
        csrss.add(active, place, fault, EXPECTED, donor(facts, set, &key));
    }
}

/// The command line of the last known good control set, where it is another set and sound.
fn donor(facts: &Facts<'_>, set: &ControlSet, key: &str) -> Option<Edit> {
    let good = facts
        .sets()
        .iter()
        .find(|other| other.roles.contains(&"LastKnownGood"))
        .filter(|other| other.number != set.number)?;
    let from = good.path(SUBSYSTEMS);
    let Reading::Found((value::EXPAND_SZ, data)) =
        facts.registry().raw(HiveName::System, &from, SUBSYSTEM)
    else {
        return None;
    };
    let text = value::text(&data)?;
    match facts.installation.program_presence(&text, "") {
        Presence::Present(length) if length > 0 => Some(Edit::SetValue {
            hive: HiveName::System,
            key: key.to_owned(),
            name: SUBSYSTEM.to_owned(),
            kind: value::EXPAND_SZ,
            data: HexBytes(data),
        }),
        _ => None,
    }
}

fn is_autocheck(entry: &str) -> bool {
    let mut words = entry.split_whitespace();
    let mut next_is = |wanted: &str| {
        let word = words.next();
        word.is_some_and(|word| word.eq_ignore_ascii_case(wanted))
    };
    next_is("autocheck") && next_is("autochk")
}

/// Whether an entry names a program that is certainly not there.
fn is_dangling(facts: &Facts<'_>, entry: &str) -> bool {
    let mut command = entry.trim();
    while let Some((word, rest)) = command.split_once([' ', '\t']) {
        if !MODES.iter().any(|mode| mode.eq_ignore_ascii_case(word)) {
            break;
        }
        command = rest.trim_start();
    }
    !command.is_empty() && facts.installation.program_presence(command, "") == Presence::Missing
}

fn judge_boot(
    facts: &Facts<'_>,
    set: &ControlSet,
    autochk: &Presence,
    boot: &mut Gathered,
    unchecked: &mut Gathered,
    found: &mut Found,
) {
    const NAME: &str = "BootExecute";
    let key = set.path(KEY);
    let place = system_path(&key, NAME);
    let list = facts.registry().multi_text(HiveName::System, &key, NAME);
    let entries = match bounded(list, Vec::len) {
        Reading::Found(entries) => entries,
        Reading::NoValue => Vec::new(),
        Reading::Malformed(text) => {
            let expected = "REG_MULTI_SZ autocheck autochk *";
            found
                .unclear
                .push(unjudged(&UNCLEAR, place, text, expected, SOURCE));
            return;
        }
        Reading::NoKey | Reading::Unreadable(_) => return,
    };
    let (dangling, mut kept): (Vec<String>, Vec<String>) = entries
        .into_iter()
        .partition(|entry| !is_autocheck(entry) && is_dangling(facts, entry));
    let checks = kept.iter().any(|entry| is_autocheck(entry));
    let can_check = !autochk.is_missing_or_empty();
    let adds = !checks && matches!(autochk, Presence::Present(length) if *length > 0);
    if adds || (kept.is_empty() && can_check) {
        kept.insert(0, AUTOCHECK.to_owned());
    }
    let cure = Edit::multi_text(HiveName::System, &key, NAME, &kept);
    let active = set.is_active();
    if !dangling.is_empty() {
        let missing = format!("{}: no such program", dangling.join("; "));
        let expected = "programs that are there";
        boot.add(active, place, missing, expected, [cure]);
    } else if adds {
        let others: Vec<&str> = kept.iter().skip(1).map(String::as_str).collect();
        let has = match others.is_empty() {
            true => "nothing".to_owned(),
            false => others.join("; "),
        };
        unchecked.add(active, place, has, AUTOCHECK, [cure]);
    }
}

fn judge_setup(facts: &Facts<'_>, set: &ControlSet, setup: &mut Gathered, found: &mut Found) {
    const NAME: &str = "SetupExecute";
    let key = set.path(KEY);
    let place = system_path(&key, NAME);
    let list = facts.registry().multi_text(HiveName::System, &key, NAME);
    let entries = match bounded(list, Vec::len) {
        Reading::Found(entries) => entries,
        Reading::Malformed(text) => {
            let expected = "no entry";
            found
                .unclear
                .push(unjudged(&UNCLEAR, place, text, expected, SOURCE));
            return;
        }
        _ => return,
    };
    let (dangling, kept): (Vec<String>, Vec<String>) = entries
        .into_iter()
        .partition(|entry| is_dangling(facts, entry));
    if dangling.is_empty() {
        return;
    }
    let cure = match kept.is_empty() {
        true => Edit::DeleteValue {
            hive: HiveName::System,
            key,
            name: NAME.to_owned(),
        },
        false => Edit::multi_text(HiveName::System, &key, NAME, &kept),
    };
    let missing = format!("{}: no such program", dangling.join("; "));
    setup.add(set.is_active(), place, missing, "no entry", [cure]);
}

fn judge_known(facts: &Facts<'_>, set: &ControlSet, excluded: &mut Gathered) {
    const NAME: &str = "ExcludeFromKnownDlls";
    let key = set.path(KEY);
    let raw = facts.registry().raw(HiveName::System, &key, NAME);
    let names = facts
        .registry()
        .multi_text(HiveName::System, &key, NAME)
        .found()
        .unwrap_or_default();
    if let Reading::Found((kind, data)) = raw
        && names.iter().any(|name| !name.trim().is_empty())
    {
        let place = system_path(&key, NAME);
        let shown = value::describe(kind, &data);
        excluded.add(set.is_active(), place, shown, "no name", []);
    }
}
