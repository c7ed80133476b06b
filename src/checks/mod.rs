// SPDX-License-Identifier: GPL-2.0-or-later
//! What is looked at, what is wrong, and the edits that cure it.
//!
//! One Windows component per file. A [`Check`] reads facts and returns findings; a [`Fix`] returns the
//! edits that bring about its documented target when somebody asks for it by name. The two are kept apart:
//! the *trigger* of a finding is evidence that Remote Desktop is prevented, the *target* of a fix is the
//! documented value, and a disk on which no trigger fires gets no write at all.
//!
//! Nothing here writes. Findings carry their cure as [`Edit`]s.

use std::cell::{OnceCell, RefCell};

use jiff::Timestamp;
use serde::Serialize;

use crate::edit::{Edit, HiveName};
use crate::error::{Error, Result};
use crate::windows::{
    ControlSet, EventLogs, GroupPolicy, Installation, KeyFiles, Reading, Registry, Select,
};

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
mod rpc_host;
mod services;
mod temp_folder;
mod tls;
mod twins;
mod updates;
mod user_rights;
mod volume_state;

pub use events::TimelineEvent;
pub use password::{NewPassword, Secrets};
pub use preset::{PRESETS, Preset};
pub use updates::refuses_duplicate_sid;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; prevents nothing.
    Notice,
    /// Does not prevent Remote Desktop by itself, or not certainly.
    Risk,
    /// Prevents Remote Desktop.
    Broken,
}

/// What kind of place evidence was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EvidenceKind {
    /// A registry key or value.
    Registry,
    /// A file.
    File,
    /// The security descriptor of a file or folder.
    Security,
    /// The volume itself.
    Volume,
    /// A boot configuration store.
    Bcd,
    /// A certificate.
    Certificate,
    /// An event log.
    Event,
}

/// How far a connection gets before the problem stops it. Of two problems that are equally bad, the one that
/// stops it earlier is the cause to look at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// This Windows cannot host Remote Desktop at all.
    Platform,
    /// Windows does not start, or not as it should.
    Start,
    /// The machine is not on the network.
    Network,
    /// The connection is dropped on the way in.
    Firewall,
    /// Nothing listens.
    Listener,
    /// Client and server do not agree on security.
    Handshake,
    /// The user is not let in.
    Logon,
    /// The session does not last.
    Session,
    /// Nothing stops a connection.
    Upkeep,
}

/// A kind of finding: everything that is known of it before a disk is looked at. What varies from disk to disk
/// is evidence, so that the kinds can be listed, documented and translated.
#[derive(Debug)]
pub struct Problem {
    /// Stable: `tls.disabled`. Begins with the check's id.
    pub id: &'static str,
    /// A short line.
    pub title: &'static str,
    /// How bad it is; a fault of a control set that is not started weighs less.
    pub severity: Severity,
    /// Where it stops a connection.
    pub stage: Stage,
    /// The exact condition, in plain words.
    pub trigger: &'static str,
    /// What it does and what to do, in plain words.
    pub cause: &'static str,
    /// Arguments for `--fix` that cure it; the first is the one proposed.
    pub fixes: &'static [&'static str],
}

impl Problem {
    /// A value that is there but cannot be judged: reported, never overwritten.
    const fn unclear(id: &'static str, stage: Stage) -> Problem {
        Problem {
            id,
            title: "A value cannot be judged",
            severity: Severity::Risk,
            stage,
            trigger: "A value that is looked at has a type or length that Windows does not use there.",
            cause: "The value has a type or length that Windows does not use there. coldfix reports it and leaves it alone; set it by hand with `coldfix reg add` once you know what put it there.",
            fixes: &[],
        }
    }

    /// The finding, with its evidence.
    pub(crate) fn found(&'static self, source: &[&str], evidence: Vec<Evidence>) -> Finding {
        Finding {
            id: self.id,
            title: self.title,
            sentence: None,
            severity: self.severity,
            stage: self.stage,
            cause: Sentences(vec![self.cause]),
            evidence,
            fixes: self.fixes.iter().map(|fix| (*fix).to_owned()).collect(),
            source: source.iter().map(|source| (*source).to_owned()).collect(),
            cure: Vec::new(),
        }
    }
}

/// Fixed sentences, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentences(Vec<&'static str>);

impl Sentences {
    /// Adds what is to be said in this case.
    fn add(&mut self, sentence: &'static str) {
        if !self.0.contains(&sentence) {
            self.0.push(sentence);
        }
    }

    /// Takes back what turned out not to be the whole of it.
    fn remove(&mut self, sentence: &str) {
        self.0.retain(|known| *known != sentence);
    }

    /// Each of them as it was written, for a translation.
    pub fn parts(&self) -> &[&'static str] {
        &self.0
    }
}

impl std::fmt::Display for Sentences {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

impl Serialize for Sentences {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One fact that supports a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Evidence {
    /// What kind of place.
    pub kind: EvidenceKind,
    /// The place, such as a full registry path.
    pub location: String,
    /// What is there.
    pub found: String,
    /// What a healthy machine has there.
    pub expected: String,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Finding {
    /// Stable: `tls.disabled`.
    pub id: &'static str,
    /// A short line.
    pub title: &'static str,
    /// What to tell of this disk instead of the title, where the evidence lets more be said.
    #[serde(skip)]
    pub sentence: Option<&'static str>,
    /// How bad it is.
    pub severity: Severity,
    /// Where it stops a connection.
    pub stage: Stage,
    /// The cause in plain words.
    #[schemars(with = "String")]
    pub cause: Sentences,
    /// The facts.
    pub evidence: Vec<Evidence>,
    /// Arguments for `--fix` that cure it; the first is the one proposed.
    pub fixes: Vec<String>,
    /// Where the knowledge comes from.
    pub source: Vec<String>,
    /// The edits that cure it without being asked for by name; empty when it needs a decision.
    #[serde(skip)]
    pub cure: Vec<Edit>,
}

impl Finding {
    /// The sentence that a verdict is made of.
    pub fn sentence(&self) -> &'static str {
        self.sentence.unwrap_or(self.title)
    }
}

/// What checks may look at.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The installation.
    pub installation: &'a Installation,
    /// Its control sets.
    pub select: Select,
    /// The build number, such as 20348, where SOFTWARE tells it.
    pub build: Option<u32>,
    /// What time it is; certificates expire.
    pub now: Timestamp,
    /// The policy files and the domain, once asked for.
    group_policy: OnceCell<GroupPolicy>,
    /// The files in the MachineKeys folder, once asked for; there can be many.
    key_files: OnceCell<Result<Option<KeyFiles>>>,
    /// Remote Desktop's own key and its folder, once asked for.
    machine_keys: OnceCell<Result<Option<machine_keys::Keys>>>,
    /// Where new passwords come from; only who asks for fixes gives one.
    secrets: Option<&'a dyn Secrets>,
    /// The edits of the fixes that were proposed before in this run.
    earlier: RefCell<Vec<Edit>>,
    /// The event logs, once asked for; they can be large.
    events: OnceCell<EventLogs>,
}

impl<'a> Facts<'a> {
    /// Gathers what every check needs.
    pub fn gather(installation: &'a Installation, now: Timestamp) -> Result<Facts<'a>> {
        installation.check_usable()?;
        Ok(Facts {
            installation,
            select: installation.select()?,
            build: installation.build_number(),
            now,
            group_policy: OnceCell::new(),
            key_files: OnceCell::new(),
            machine_keys: OnceCell::new(),
            secrets: None,
            earlier: RefCell::default(),
            events: OnceCell::new(),
        })
    }

    /// The events that tell of Remote Desktop.
    fn events(&self) -> &EventLogs {
        self.events.get_or_init(|| events::read(self.installation))
    }

    fn registry(&self) -> &Registry {
        &self.installation.registry
    }

    /// Where policies come from, looked at once.
    fn group_policy(&self) -> &GroupPolicy {
        self.group_policy
            .get_or_init(|| self.installation.group_policy())
    }

    /// The files in MachineKeys, listed once; `None` when there is no such folder. An error is asked for again,
    /// because it is given away.
    fn key_files(&self) -> Result<Option<&KeyFiles>> {
        let list = || self.installation.key_files();
        match self.key_files.get_or_init(list) {
            Ok(files) => Ok(files.as_ref()),
            Err(_) => match list() {
                Err(error) => Err(error),
                Ok(_) => Err(Error::refused(
                    "the MachineKeys folder changed while it was being read",
                    "make sure that nothing else writes to the target, then try again",
                )),
            },
        }
    }

    /// The control sets to judge and to repair.
    fn sets(&self) -> &[ControlSet] {
        &self.select.sets
    }

    /// A DWORD of SYSTEM.
    fn system_dword(&self, key: &str, name: &str) -> Reading<u32> {
        self.registry().dword(HiveName::System, key, name)
    }

    /// A DWORD of SOFTWARE.
    fn software_dword(&self, key: &str, name: &str) -> Reading<u32> {
        self.registry().dword(HiveName::Software, key, name)
    }
}

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
    pub run: fn(&Facts<'_>) -> Vec<Finding>,
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

/// Runs every check. Findings of the same id become one with all their evidence; the worst come first, and of
/// equally bad ones those that stop a connection earliest.
pub fn diagnose(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for check in CHECKS {
        for finding in (check.run)(facts) {
            debug_assert!(
                check.found(&finding),
                "{} is not listed by its check",
                finding.id
            );
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
    }
    events::join(facts, &mut findings);
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.stage));
    findings
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

/// Findings of one problem gathered over the control sets, so that one fault in two sets is one finding.
struct Gathered {
    finding: Finding,
    active: bool,
}

impl Gathered {
    fn new(problem: &'static Problem, source: &[&str]) -> Gathered {
        Gathered {
            finding: problem.found(source, Vec::new()),
            active: false,
        }
    }

    /// Evidence from the registry, with the edits that cure this part. `active` tells whether it weighs
    /// on the set that Windows starts; faults in other sets alone are a risk, not the cause.
    fn add(
        &mut self,
        active: bool,
        location: String,
        found: String,
        expected: &str,
        cure: impl IntoIterator<Item = Edit>,
    ) {
        self.active |= active;
        self.finding.evidence.push(Evidence {
            kind: EvidenceKind::Registry,
            location,
            found,
            expected: expected.to_owned(),
        });
        self.finding.cure.extend(cure);
    }

    /// The finding, if there is any evidence.
    fn into_finding(self) -> Option<Finding> {
        let Gathered {
            mut finding,
            active,
        } = self;
        if finding.evidence.is_empty() {
            return None;
        }
        if !active && finding.severity == Severity::Broken {
            finding.severity = Severity::Risk;
            finding
                .cause
                .add("Only a control set that Windows would start as a fallback is affected.");
        }
        Some(finding)
    }
}

/// The full path of a value of SYSTEM.
fn system_path(key: &str, name: &str) -> String {
    format!("{}\\{name}", HiveName::System.full_path(key))
}

/// A DWORD as evidence shows it.
fn shown(value: u32) -> String {
    format!("REG_DWORD {value:#x}")
}

/// A finding of an unclear value.
fn unjudged(
    problem: &'static Problem,
    location: String,
    found: String,
    expected: &str,
    source: &[&str],
) -> Finding {
    let evidence = Evidence {
        kind: EvidenceKind::Registry,
        location,
        found,
        expected: expected.to_owned(),
    };
    problem.found(source, vec![evidence])
}
