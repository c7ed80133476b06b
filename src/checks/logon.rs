// SPDX-License-Identifier: GPL-2.0-or-later
//! What Windows starts between its kernel and a user's desktop.
//!
//! ```text
//!   Session Manager    BootExecute, SetupExecute, then csrss (SubSystems\Windows)     logon/session_manager.rs
//!   Setup              SetupType and CmdLine instead of a logon                       logon/setup_mode.rs
//!   Winlogon           Userinit, which starts Shell                                   logon/winlogon.rs
//!   profile            ProfileList\<SID>                                              logon/profiles.rs
//! ```
//! A program is missing only when the volume certainly does not hold it; no command line is invented.

use crate::edit::Edit;
use crate::error::Result;
use crate::windows::Reading;

use super::{Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, unknown_value};

mod profiles;
mod session_manager;
mod setup_mode;
mod winlogon;

const SOURCE: &[&str] = &["Azure/repair-script-library win-fix-logon-subsystem"];

pub(super) const CHECK: Check = Check {
    id: "logon",
    title: "What leads to a user's session is in place",
    looks_at: "SubSystems\\Windows, BootExecute, SetupExecute and ExcludeFromKnownDlls of the Session Manager, SetupType and CmdLine of Setup, Userinit and Shell of Winlogon, the list of profiles, and whether the programs they name are on the volume.",
    healthy: "csrss.exe, autocheck autochk *, no SetupExecute, SetupType 0, userinit.exe, explorer.exe, one key for each user's profile. A program that cannot be looked up (another drive, the network, hives without the rest of Windows) is not missing.",
    problems: &[
        &session_manager::CSRSS,
        &session_manager::CSRSS_UNCLEAR,
        &session_manager::BOOT_EXECUTE,
        &session_manager::NO_AUTOCHECK,
        &session_manager::NO_AUTOCHK,
        &session_manager::SETUP_EXECUTE,
        &session_manager::EXCLUDED,
        &setup_mode::DANGLING,
        &setup_mode::RUNNING,
        &winlogon::MISSING_KEY,
        &winlogon::USERINIT,
        &winlogon::SHELL,
        &winlogon::OTHER_SHELL,
        &winlogon::EXTRA,
        &profiles::TWIN,
        &profiles::TWIN_LEFT,
        &profiles::TEMPORARY,
        &profiles::TEMPORARY_LEFT,
        &UNCLEAR,
    ],
    source: SOURCE,
    run: Run::System(run),
};

const UNCLEAR: Problem = Problem::unclear("logon.unclear", super::Stage::Logon);

pub(super) const FIX: Fix = Fix {
    name: "logon",
    values: "",
    title: "Put right what leads to a user's session",
    explanation: "Only where the check finds a fault: takes SubSystems\\Windows from the last known good control set; drops entries of BootExecute, SetupExecute, Userinit and Shell whose program is not there, and adds autocheck autochk *, userinit.exe and explorer.exe where they lack; leaves setup mode; gives a user the profile key that ends in .bak back (the other one is kept as .old) and takes the mark of a temporary profile away.",
    source: SOURCE,
    edits,
};

/// How many commands of one list are judged: ours; stock lists have one. A longer list is left alone.
const MOST_COMMANDS: usize = 32;

/// A list that is longer than what is judged is one that cannot be judged.
fn bounded<T>(list: Reading<T>, count: impl FnOnce(&T) -> usize) -> Reading<T> {
    match list {
        Reading::Found(list) => match count(&list) {
            0..=MOST_COMMANDS => Reading::Found(list),
            more => Reading::Malformed(format!("a list of {more} commands")),
        },
        other => other,
    }
}

/// What one part finds: gathered findings, and others.
#[derive(Default)]
struct Found {
    gathered: Vec<Gathered>,
    unclear: Vec<Finding>,
}

fn judge(facts: &Facts<'_>) -> Found {
    let mut all = Found::default();
    for found in [
        session_manager::judge(facts),
        setup_mode::judge(facts),
        winlogon::judge(facts),
        profiles::judge(facts),
    ] {
        all.gathered.extend(found.gathered);
        all.unclear.extend(found.unclear);
    }
    for gathered in &mut all.gathered {
        // Where nothing certain can be put in its place, no fix is promised.
        if gathered.finding.cure.is_empty() {
            gathered.finding.fixes.clear();
        }
    }
    all
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let found = judge(facts);
    let gathered = found.gathered.into_iter();
    let findings = gathered.filter_map(Gathered::into_finding);
    findings.chain(found.unclear).collect()
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    if let Some(value) = value {
        return Err(unknown_value(&FIX, value));
    }
    let found = judge(facts);
    let edits: Vec<Edit> = found
        .gathered
        .into_iter()
        .flat_map(|gathered| gathered.finding.cure)
        .collect();
    Ok(Proposal {
        edits,
        ..Proposal::default()
    })
}

/// The search path of services, of the control set that starts.
fn search_path(facts: &Facts<'_>) -> String {
    const KEY: &str = r"Control\Session Manager\Environment";
    let key = facts.select.next().path(KEY);
    let path = facts
        .registry()
        .text(crate::edit::HiveName::System, &key, "Path");
    path.found().unwrap_or_default()
}
