// SPDX-License-Identifier: GPL-2.0-or-later
//! What is looked at, what is wrong, and the edits that cure it.
//!
//! One Windows component per file. A [`Check`] reads facts and returns findings; a [`Fix`] returns the
//! edits that bring about its documented target when somebody asks for it by name. The two are kept apart:
//! the *trigger* of a finding is evidence that Remote Desktop is prevented, the *target* of a fix is the
//! documented value, and a disk on which no trigger fires gets no write at all.
//!
//! Nothing here writes. Findings carry their cure as [`Edit`]s.

use crate::edit::{Edit, HiveName};
use crate::error::{Error, Result};
use crate::windows::Installation;

mod account_fixes;
mod accounts;
mod authentication;
mod boot;
mod cipher_policy;
mod clock;
mod cloud;
mod control_set;
mod crash_dump;
mod edition;
mod events;
mod facts;
mod finding;
mod firewall;
mod firewall_service;
mod group_policy;
mod harden;
mod hive_state;
mod ipsec;
mod logon;
mod machine_keys;
mod migration;
mod network_adapters;
mod network_dhcp;
mod network_dns;
mod network_mtu;
mod network_profile;
mod network_provider;
mod network_proxy;
mod nla;
mod password;
mod policy_block;
mod port_holder;
mod preset;
mod process_dumps;
mod rdp_certificate;
mod rdp_enable;
mod rdp_licensing;
mod rdp_listener;
mod rdp_port;
mod rdp_sessions;
mod registry_backup;
mod registry_restore;
mod rpc_host;
mod services;
mod temp_folder;
mod tls;
mod transaction_logs;
mod twins;
mod updates;
mod user_rights;
mod volume_state;

pub use events::TimelineEvent;
pub use facts::Facts;
pub use finding::{Evidence, EvidenceKind, Finding, Problem, Sentences, Severity, Stage};
pub use password::{NewPassword, Secrets};
pub use preset::{PRESETS, Preset};
pub use updates::refuses_duplicate_sid;

use finding::{Gathered, unjudged};

/// A check.
#[derive(Debug)]
pub struct Check {
    /// Stable name, also the prefix of its findings' ids.
    pub id: &'static str,
    /// One line.
    pub title: &'static str,
    /// The facts it looks at, in plain words.
    pub looks_at: &'static str,
    /// What is healthy, where that is not plain from the problems.
    pub healthy: &'static str,
    /// What it can find.
    pub problems: &'static [&'static Problem],
    /// Where the knowledge comes from.
    pub source: &'static [&'static str],
    /// Looks.
    pub run: Run,
}

/// How a check looks, and what it cannot do without.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// At the volume and the files of the registry, whether these can be read or not.
    Files(fn(&Installation) -> Vec<Finding>),
    /// At the control sets of SYSTEM, and whatever else is there.
    System(fn(&Facts<'_>) -> Vec<Finding>),
    /// At one more hive, without which it knows nothing.
    Hive(HiveName, fn(&Facts<'_>) -> Vec<Finding>),
}

/// A repair that can be asked for by name.
#[derive(Debug)]
pub struct Fix {
    /// The name for `--fix`.
    pub name: &'static str,
    /// The values it takes after `=`, for help; empty when it takes none.
    pub values: &'static str,
    /// One line.
    pub title: &'static str,
    /// What it writes, in plain words.
    pub explanation: &'static str,
    /// Where the knowledge comes from.
    pub source: &'static [&'static str],
    /// The edits for a value after `=`, if one was given.
    pub edits: fn(&Facts<'_>, Option<&str>) -> Result<Proposal>,
}

/// What a fix proposes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal {
    /// The edits, in order. Those that change nothing are dropped when they are applied.
    pub edits: Vec<Edit>,
    /// What the user should know before agreeing, such as a part left alone.
    pub notes: Vec<String>,
    /// How it lowers security, one sentence each. Such a fix is carried out only when it is named.
    pub lowers_security: Vec<String>,
    /// A folder whose permissions, with everything in it, are to be listed before and after.
    pub listing: Option<String>,
}

impl Check {
    /// True for a finding of this check.
    pub fn found(&self, finding: &Finding) -> bool {
        self.problems.iter().any(|problem| problem.id == finding.id)
    }
}

/// Every check, in the order in which it is reported.
pub const CHECKS: &[&Check] = &[
    &volume_state::CHECK,
    &hive_state::CHECK,
    &registry_backup::CHECK,
    &control_set::CHECK,
    &edition::CHECK,
    &boot::CHECK,
    &rdp_enable::CHECK,
    &rdp_listener::CHECK,
    &rdp_port::CHECK,
    &firewall::CHECK,
    &ipsec::CHECK,
    &nla::CHECK,
    &tls::CHECK,
    &cipher_policy::CHECK,
    &authentication::CHECK,
    &services::CHECK,
    &rpc_host::CHECK,
    &logon::CHECK,
    &policy_block::CHECK,
    &network_dhcp::CHECK,
    &network_dns::CHECK,
    &network_provider::CHECK,
    &network_adapters::CHECK,
    &network_mtu::CHECK,
    &network_proxy::CHECK,
    &port_holder::CHECK,
    &migration::CHECK,
    &cloud::CHECK,
    &clock::CHECK,
    &temp_folder::CHECK,
    &machine_keys::CHECK,
    &rdp_sessions::CHECK,
    &rdp_licensing::CHECK,
    &user_rights::CHECK,
    &accounts::CHECK,
    &rdp_certificate::CHECK,
    &group_policy::CHECK,
    &harden::CHECK,
    &crash_dump::CHECK,
    &firewall_service::CHECK,
    &updates::CHECK,
    &events::CHECK,
];

/// Every fix.
pub const FIXES: &[&Fix] = &[
    &tls::FIX,
    &nla::FIX,
    &rdp_port::FIX,
    &firewall::FIX,
    &firewall::OFF,
    &firewall::ON,
    &ipsec::FIX,
    &network_profile::FIX,
    &rdp_enable::FIX,
    &rdp_listener::FIX,
    &services::FIX,
    &rpc_host::FIX,
    &logon::FIX,
    &policy_block::FIX,
    &control_set::FIX,
    &registry_backup::FIX,
    &registry_restore::FIX,
    &transaction_logs::FIX,
    &migration::FIX,
    &network_dhcp::FIX,
    &network_dns::FIX,
    &network_provider::FIX,
    &network_proxy::FIX,
    &network_mtu::FIX,
    &clock::FIX,
    &temp_folder::FIX,
    &machine_keys::FIX,
    &cipher_policy::FIX,
    &authentication::FIPS,
    &authentication::DOMAIN_CREDENTIALS,
    &authentication::GUEST_LOGONS,
    &rdp_sessions::FIX,
    &rdp_sessions::UDP_TRANSPORT,
    &rdp_sessions::KEEP_ALIVE,
    &user_rights::FIX,
    &account_fixes::RDP_USERS,
    &account_fixes::ACCOUNT,
    &password::FIX,
    &rdp_certificate::FIX,
    &crash_dump::FIX,
    &crash_dump::RESTART,
    &crash_dump::DEDICATED_DUMP,
    &process_dumps::FIX,
    &firewall_service::FIX,
    &group_policy::FIX,
    &harden::FIX,
    &boot::SERIAL_CONSOLE,
    &boot::SAFE_MODE,
    &boot::IMAGE,
    &boot::RECOVERY_LOOP,
];

/// The fixes that look at files only.
const OF_FILES: [&Fix; 2] = [&registry_restore::FIX, &transaction_logs::FIX];

impl Fix {
    /// Whether it can be carried out where SYSTEM cannot be read, with [`Facts::of_files`].
    pub fn is_of_files(&self) -> bool {
        OF_FILES.iter().any(|fix| fix.name == self.name)
    }
}

/// What came of looking.
#[derive(Debug, Default)]
pub struct Diagnosis {
    /// What was found: the worst first, and of equally bad ones those that stop a connection earliest.
    pub findings: Vec<Finding>,
    /// The checks that could not look, each with the hive that is missing or cannot be used.
    pub skipped: Vec<(&'static Check, HiveName)>,
}

/// Runs every check. Findings of the same id become one with all their evidence.
pub fn diagnose(facts: &Facts<'_>) -> Diagnosis {
    let mut diagnosis = look(facts.installation, Some(facts));
    events::join(facts, &mut diagnosis.findings);
    sort(&mut diagnosis.findings);
    diagnosis
}

/// Runs the checks that go without SYSTEM: what is left to be done where [`Facts::gather`] fails.
pub fn diagnose_files(installation: &Installation) -> Diagnosis {
    let mut diagnosis = look(installation, None);
    sort(&mut diagnosis.findings);
    diagnosis
}

fn look(installation: &Installation, facts: Option<&Facts<'_>>) -> Diagnosis {
    let mut diagnosis = Diagnosis::default();
    for check in CHECKS {
        let found = match (check.run, facts) {
            (Run::Files(run), _) => run(installation),
            (Run::System(_) | Run::Hive(..), None) => {
                diagnosis.skipped.push((check, HiveName::System));
                continue;
            }
            (Run::System(run), Some(facts)) => run(facts),
            (Run::Hive(name, run), Some(facts)) => match installation.registry.hive(name) {
                Ok(Some(_)) => run(facts),
                Ok(None) | Err(_) => {
                    diagnosis.skipped.push((check, name));
                    continue;
                }
            },
        };
        for finding in found {
            debug_assert!(
                check.found(&finding),
                "{} is not listed by its check",
                finding.id
            );
            add(&mut diagnosis.findings, finding);
        }
    }
    diagnosis
}

fn add(findings: &mut Vec<Finding>, finding: Finding) {
    match findings.iter_mut().find(|known| known.id == finding.id) {
        Some(known) => {
            known.severity = known.severity.max(finding.severity);
            if known.sentence != finding.sentence {
                known.sentence = None;
            }
            known.evidence.extend(finding.evidence);
            known.cure.extend(finding.cure);
        }
        None => findings.push(finding),
    }
}

fn sort(findings: &mut [Finding]) {
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.stage));
}

/// The events that tell of Remote Desktop, newest first, each with the finding of [`diagnose`] that it proves.
pub fn timeline(facts: &Facts<'_>, findings: &[Finding]) -> Vec<TimelineEvent> {
    events::timeline(facts, findings)
}

/// The fix that `NAME[=VALUE]` names, and its value.
pub fn fix(argument: &str) -> Result<(&'static Fix, Option<&str>)> {
    let (name, value) = match argument.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (argument, None),
    };
    let fix = FIXES.iter().find(|fix| fix.name == name).ok_or_else(|| {
        let names: Vec<&str> = FIXES.iter().map(|fix| fix.name).collect();
        Error::unsupported(
            format!("there is no fix named {name:?}"),
            format!(
                "the fixes are: {}; `coldfix checks` explains them",
                names.join(", ")
            ),
        )
    })?;
    Ok((fix, value))
}

/// The error for a value that a fix does not take.
fn unknown_value(fix: &Fix, value: &str) -> Error {
    let takes = if fix.values.is_empty() {
        "it takes no value".to_owned()
    } else {
        format!("it takes {}", fix.values)
    };
    Error::unsupported(
        format!("--fix {}={value}: this value is not known", fix.name),
        takes,
    )
}

/// The full path of a value of SYSTEM.
fn system_path(key: &str, name: &str) -> String {
    format!("{}\\{name}", HiveName::System.full_path(key))
}

/// A DWORD as evidence shows it.
fn shown(value: u32) -> String {
    format!("REG_DWORD {value:#x}")
}
