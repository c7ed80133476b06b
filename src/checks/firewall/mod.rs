// SPDX-License-Identifier: GPL-2.0-or-later
//! Whether Windows Firewall lets connections to the listener in.
//!
//! Each profile is judged by what its two stores come to ([`crate::firewall::effective`]). Where every profile for
//! which the firewall is on drops connections, that is the cause; where some do, it depends on the network that the
//! machine finds, of which the disk knows only the last one.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::firewall::{Listener, Origin};
use crate::windows::ControlSet;
use crate::windows::firewall::{CONSEC, LOCAL, MANAGEMENT, POLICY, RULES};

use super::{Check, Facts, Fix, Problem, Run, Severity, Stage, rdp_port, unknown_value};

mod judge;
mod open;
mod switch;

pub(super) use open::open_port;
pub(super) use switch::{OFF, ON};

/// Before this build a driver listens, not the service.
const FIRST_BUILD_OF_8: u32 = 9200;

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/enable-disable-firewall-rule-guest-os",
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/guest-os-firewall-blocking-inbound-traffic",
    "https://learn.microsoft.com/openspecs/windows_protocols/ms-gpfas/2efe0b76-7b4a-41ff-9050-1023f8196d16",
    "https://learn.microsoft.com/openspecs/windows_protocols/ms-fasp/5a6e0d39-802d-456b-b483-c7360566fcdd",
];

/// Said where a value of policy is among the evidence.
const FROM_POLICY: &str = "Group Policy puts its values back at the next refresh, unless the policy itself is changed; `--fix group-policy=hold` keeps it from being applied until then.";

/// Said where a rule of device management is among the evidence.
const FROM_MANAGEMENT: &str = "Device management puts its rules back when the machine next synchronises, unless they are changed there.";

/// What is to be said of a store whose content comes back.
fn returns(origin: Origin) -> Option<&'static str> {
    match origin {
        Origin::Local => None,
        Origin::Policy => Some(FROM_POLICY),
        Origin::Management => Some(FROM_MANAGEMENT),
    }
}

const RULE_OFF: Problem = Problem {
    id: "firewall.rule-off",
    title: "The firewall's Remote Desktop rule is switched off",
    severity: Severity::Broken,
    stage: Stage::Firewall,
    trigger: "In every profile the firewall is on and no active rule lets TCP in to the listener's port for termservice, and a rule of Windows for it is there with Active=FALSE.",
    cause: "The firewall drops connections to the port that Remote Desktop listens on.",
    fixes: &[FIX.name],
};

const RULE_MISSING: Problem = Problem {
    id: "firewall.rule-missing",
    title: "The firewall's Remote Desktop rule is missing",
    severity: Severity::Broken,
    stage: Stage::Firewall,
    trigger: "In every profile the firewall is on and no active rule lets TCP in to port 3389 for termservice, and the rule of Windows for it is gone or altered.",
    cause: "The firewall drops connections to the port that Remote Desktop listens on. The rule as Windows came with it is still on the disk, as a rule, and is copied from there.",
    fixes: &[FIX.name],
};

const PORT_CLOSED: Problem = Problem {
    id: "firewall.port-closed",
    title: "The firewall has no rule for the port that the listener was moved to",
    severity: Severity::Broken,
    stage: Stage::Firewall,
    trigger: "PortNumber is not 3389, and in every profile the firewall is on and no active rule lets TCP in to it for termservice.",
    cause: "The rule of Windows opens 3389 only. Either the listener goes back there, or its port gets a rule; which, is for the machine's owner to say.",
    fixes: &["rdp-port=3389", FIX.name],
};

const BLOCK_RULE: Problem = Problem {
    id: "firewall.block-rule",
    title: "A firewall rule blocks Remote Desktop",
    severity: Severity::Broken,
    stage: Stage::Firewall,
    trigger: "An active inbound rule with Action=Block covers TCP to the listener's port for termservice from anybody, and no profile lets connections in.",
    cause: "A rule that blocks beats every rule that allows.",
    fixes: &[FIX.name],
};

const NO_EXCEPTIONS: Problem = Problem {
    id: "firewall.no-exceptions",
    title: "The firewall blocks all incoming connections, whatever its rules say",
    severity: Severity::Broken,
    stage: Stage::Firewall,
    trigger: "DoNotAllowExceptions is not 0, in the machine's own store or in policy, and no profile lets connections in.",
    cause: "While this is set, no rule of the firewall counts for what comes in.",
    fixes: &[FIX.name],
};

const OWN_RULES_DROPPED: Problem = Problem {
    id: "firewall.own-rules-dropped",
    title: "Policy drops the machine's own firewall rules",
    severity: Severity::Broken,
    stage: Stage::Firewall,
    trigger: "AllowLocalPolicyMerge is 0 in policy, policy has no rule that lets TCP in to the listener's port, and no profile lets connections in.",
    cause: "Only the rules of Group Policy count, and none of them lets Remote Desktop in. It may be meant so, so it is changed only when asked for by name.",
    fixes: &[FIX.name],
};

const LAST_PROFILE: Problem = Problem {
    id: "firewall.profile-in-force",
    title: "The firewall drops Remote Desktop in the network that the machine was in last",
    severity: Severity::Risk,
    stage: Stage::Firewall,
    trigger: "Some profiles let connections to the listener in; the one of the network last connected to (NetworkList\\Profiles, Category) does not.",
    cause: "If the machine finds itself in such a network again, connections are dropped. A network that was private or the domain's may have become public; `--fix network-profile=private` marks it private again.",
    fixes: &[FIX.name, "network-profile=private"],
};

const SOME_PROFILES: Problem = Problem {
    id: "firewall.profile",
    title: "The firewall lets Remote Desktop in in some network profiles only",
    severity: Severity::Notice,
    stage: Stage::Firewall,
    trigger: "Some profiles let connections to the listener in, others do not, and the network last connected to is not known to have one of the latter.",
    cause: "Which profile holds is decided when the machine finds its network. If it is one of these, connections are dropped.",
    fixes: &[FIX.name],
};

const SOME_SOURCES: Problem = Problem {
    id: "firewall.sources",
    title: "The firewall lets Remote Desktop in from some addresses only",
    severity: Severity::Notice,
    stage: Stage::Firewall,
    trigger: "Every rule that lets connections to the listener in has remote addresses, or an active rule blocks the port for some of them.",
    cause: "Whoever connects from another address, or from a blocked one, is dropped.",
    fixes: &[],
};

const WIDE_OPEN: Problem = Problem {
    id: "firewall.off",
    title: "The firewall is off, or lets everything in",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "EnableFirewall is 0, or DefaultInboundAction is 0 and no rule decides.",
    cause: "It does not prevent Remote Desktop. A machine that faces a network should not stay so.",
    fixes: &[ON.name],
};

const MALFORMED: Problem = Problem {
    id: "firewall.malformed",
    title: "Firewall rules do not follow their grammar",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "A value below FirewallRules is no REG_SZ, or its text has no version or a part without =.",
    cause: "How Windows reads them is not known. coldfix takes them for no rules and leaves them alone.",
    fixes: &[],
};

const UNCLEAR: Problem = Problem::unclear("firewall.unclear", Stage::Firewall);

pub(super) const CHECK: Check = Check {
    id: "firewall",
    title: "The firewall lets connections to the listener in",
    looks_at: "For each profile, in the machine's own store and in policy: EnableFirewall, DoNotAllowExceptions, DefaultInboundAction, AllowLocalPolicyMerge, every firewall rule (those of device management too), and policy's exceptions of XP's kind; the network last connected to.",
    healthy: "An active rule, whoever made it, lets TCP in to the listener's port and none blocks it; or the firewall is off. Rules for programs and app packages do not matter.",
    problems: &[
        &RULE_OFF,
        &RULE_MISSING,
        &PORT_CLOSED,
        &BLOCK_RULE,
        &NO_EXCEPTIONS,
        &OWN_RULES_DROPPED,
        &LAST_PROFILE,
        &SOME_PROFILES,
        &SOME_SOURCES,
        &WIDE_OPEN,
        &MALFORMED,
        &UNCLEAR,
    ],
    source: SOURCE,
    run: Run::System(judge::run),
};

pub(super) const FIX: Fix = Fix {
    name: "firewall-rule",
    values: "rdp, a port, ping or agent; rdp when nothing is said",
    title: "Let Remote Desktop through the firewall",
    explanation: "rdp: activates the rules of the group Remote Desktop in every profile (TCP, UDP and shadowing; lost ones are copied from the machine's stock rules; a moved port gets a rule of its own, RDP-Repair-In-TCP-<port>), switches off rules that block the port from everywhere, deletes DoNotAllowExceptions, and, where policy or device management stands in the way, changes its value in the registry. A port: the same for the port that the listener is about to have. ping: activates FPS-ICMP4-ERQ-In. agent: lets Azure's platform address 168.63.129.16 in and out.",
    source: SOURCE,
    edits: fix,
};

fn fix(facts: &Facts<'_>, value: Option<&str>) -> Result<super::Proposal> {
    match value.unwrap_or("rdp") {
        "rdp" => Ok(open::remote_desktop(facts, None)),
        "ping" => Ok(open::ping(facts)),
        "agent" => Ok(open::agent(facts)),
        other => match other.parse::<u16>() {
            Ok(port) if port != 0 => Ok(open::remote_desktop(facts, Some(port))),
            _ => Err(unknown_value(&FIX, other)),
        },
    }
}

/// The listener of one control set; `None` when its port is not known.
pub(super) fn listener(facts: &Facts<'_>, set: &ControlSet) -> Option<Listener> {
    Some(listener_on(facts, rdp_port::expected_port(facts, set)?))
}

/// A listener on a port, of the kind that this Windows has.
pub(super) fn listener_on(facts: &Facts<'_>, port: u16) -> Listener {
    Listener {
        port,
        in_kernel: facts.build.is_some_and(|build| build < FIRST_BUILD_OF_8),
    }
}

/// The hive that a store lies in.
fn hive_of(origin: Origin) -> HiveName {
    match origin {
        Origin::Local | Origin::Management => HiveName::System,
        Origin::Policy => HiveName::Software,
    }
}

/// A key of a store.
fn store_key(origin: Origin, set: &ControlSet, below: &str) -> String {
    match origin {
        Origin::Local => set.path(&format!(r"{LOCAL}\{below}")),
        Origin::Policy => format!(r"{POLICY}\{below}"),
        Origin::Management => set.path(&format!(r"{MANAGEMENT}\{below}")),
    }
}

/// The edit that puts a rule in the place of one, or adds it.
fn set_rule(origin: Origin, set: &ControlSet, name: &str, text: &str) -> Edit {
    let key = store_key(origin, set, RULES);
    Edit::text(hive_of(origin), key, name, crate::windows::value::SZ, text)
}

/// The edit that deletes a value of a store.
fn delete(origin: Origin, key: &str, name: &str) -> Edit {
    Edit::DeleteValue {
        hive: hive_of(origin),
        key: key.to_owned(),
        name: name.to_owned(),
    }
}

/// The key of the connection security rules of a store.
pub(super) fn consec_key(origin: Origin, set: &ControlSet) -> (HiveName, String) {
    (hive_of(origin), store_key(origin, set, CONSEC))
}
