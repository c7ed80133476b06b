// SPDX-License-Identifier: GPL-2.0-or-later
//! Whether Windows Firewall lets connections to the listener in.
//!
//! Each profile is judged by what its two stores come to ([`crate::firewall::effective`]). Where every profile for
//! which the firewall is on drops connections, that is the cause; where some do, it depends on the network that the
//! machine finds, of which the disk knows only the last one.

use std::collections::BTreeMap;

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::firewall::{
    Effective, Listener, Match, Obstacle, Origin, Placed, Profile, Setting, Verdict, words,
};
use crate::windows::ControlSet;
use crate::windows::firewall::{self, CONSEC, LOCAL, POLICY, RULES, Unreadable};

use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Severity, Stage, rdp_port, shown, unknown_value,
};

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
    looks_at: "For each profile, in the machine's own store and in policy: EnableFirewall, DoNotAllowExceptions, DefaultInboundAction, AllowLocalPolicyMerge, every firewall rule, and policy's exceptions of XP's kind; the network last connected to.",
    healthy: "An active rule, own or of policy, lets TCP in to the listener's port and none blocks it; or the firewall is off. Rules for programs and app packages do not matter.",
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
    run,
};

pub(super) const FIX: Fix = Fix {
    name: "firewall-rule",
    values: "rdp, ping or agent; rdp when nothing is said",
    title: "Let Remote Desktop through the firewall",
    explanation: "rdp: activates the rules of the group Remote Desktop in every profile (TCP, UDP and shadowing; lost ones are copied from the machine's stock rules; a moved port gets a rule of its own, RDP-Repair-In-TCP-<port>), switches off rules that block the port from everywhere, deletes DoNotAllowExceptions, and, where policy alone stands in the way, changes the policy's value in the registry. ping: activates FPS-ICMP4-ERQ-In. agent: lets Azure's platform address 168.63.129.16 in and out.",
    source: SOURCE,
    edits: fix,
};

fn fix(facts: &Facts<'_>, value: Option<&str>) -> Result<super::Proposal> {
    match value.unwrap_or("rdp") {
        "rdp" => Ok(open::remote_desktop(facts)),
        "ping" => Ok(open::ping(facts)),
        "agent" => Ok(open::agent(facts)),
        other => Err(unknown_value(&FIX, other)),
    }
}

/// The listener of one control set; `None` when its port is not known.
pub(super) fn listener(facts: &Facts<'_>, set: &ControlSet) -> Option<Listener> {
    Some(listener_on(facts, rdp_port::expected_port(facts, set)?))
}

/// A listener on a port, of the kind that this Windows has.
fn listener_on(facts: &Facts<'_>, port: u16) -> Listener {
    Listener {
        port,
        in_kernel: facts.build.is_some_and(|build| build < FIRST_BUILD_OF_8),
    }
}

/// The hive that a store lies in.
fn hive_of(origin: Origin) -> HiveName {
    match origin {
        Origin::Local => HiveName::System,
        Origin::Policy => HiveName::Software,
    }
}

/// A key of a store.
fn store_key(origin: Origin, set: &ControlSet, below: &str) -> String {
    match origin {
        Origin::Local => set.path(&format!(r"{LOCAL}\{below}")),
        Origin::Policy => format!(r"{POLICY}\{below}"),
    }
}

/// The edit that puts a rule in the place of one, or adds it.
fn set_rule(origin: Origin, set: &ControlSet, name: &str, text: &str) -> Edit {
    let key = store_key(origin, set, RULES);
    Edit::text(hive_of(origin), key, name, crate::windows::value::SZ, text)
}

/// The place of a rule as evidence names it.
fn rule_location(set: &ControlSet, placed: Placed<'_>) -> String {
    let key = store_key(placed.origin, set, RULES);
    format!(
        "{}\\{}",
        hive_of(placed.origin).full_path(&key),
        placed.named.name
    )
}

/// A rule as evidence shows it, with the profiles in question.
fn rule_shown(placed: Placed<'_>, profiles: &[Profile]) -> String {
    let text: String = placed.named.rule.to_text().chars().take(240).collect();
    format!("{text} ({})", words(profiles))
}

/// What is gathered over the control sets.
#[derive(Default)]
struct Found {
    problems: BTreeMap<&'static str, Gathered>,
    /// Ids of those with a value of policy in them.
    of_policy: Vec<&'static str>,
}

impl Found {
    fn of(&mut self, problem: &'static Problem) -> &mut Gathered {
        let new = || Gathered::new(problem, SOURCE);
        self.problems.entry(problem.id).or_insert_with(new)
    }

    fn policy(&mut self, problem: &'static Problem, origin: Origin) {
        if origin == Origin::Policy {
            self.of_policy.push(problem.id);
        }
    }

    fn into_findings(mut self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for problem in CHECK.problems {
            let gathered = self.problems.remove(problem.id);
            if let Some(mut finding) = gathered.and_then(Gathered::into_finding) {
                if self.of_policy.contains(&problem.id) {
                    finding.cause.add(FROM_POLICY);
                }
                findings.push(finding);
            }
        }
        findings
    }
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut found = Found::default();
    for set in facts.sets() {
        match firewall::read(facts.registry(), set) {
            Err(Unreadable { location, why }) => {
                found.of(&UNCLEAR).add(
                    set.is_active(),
                    location,
                    why,
                    "a key that can be read",
                    [],
                );
            }
            // Of XP's kind, without rules: not judged.
            Ok(None) => {}
            Ok(Some(effective)) => {
                judge_values(&mut found, set, &effective);
                // Without a port another check has reported why.
                if let Some(listener) = listener(facts, set) {
                    judge(facts, &mut found, set, &effective, listener);
                }
            }
        }
    }
    found.into_findings()
}

/// Settings and rules that cannot be judged.
fn judge_values(found: &mut Found, set: &ControlSet, effective: &Effective) {
    for (origin, store) in [
        (Origin::Local, &effective.local),
        (Origin::Policy, &effective.policy),
    ] {
        for (name, setting) in store.profiles.iter().flat_map(|profile| profile.by_name()) {
            if let Setting::Unclear { key, found: shown } = setting {
                let location = format!("{}\\{name}", hive_of(origin).full_path(key));
                let expected = "a REG_DWORD, or no value";
                let active = set.is_active();
                found
                    .of(&UNCLEAR)
                    .add(active, location, shown.clone(), expected, []);
            }
        }
        let key = hive_of(origin).full_path(&store_key(origin, set, RULES));
        for value in &store.malformed {
            found.of(&MALFORMED).add(
                set.is_active(),
                format!("{key}\\{}", value.name),
                value.rule.clone(),
                "REG_SZ \"v2.31|Action=...|\"",
                [],
            );
        }
    }
}

fn judge(
    facts: &Facts<'_>,
    found: &mut Found,
    set: &ControlSet,
    effective: &Effective,
    listener: Listener,
) {
    let verdicts = Profile::ALL.map(|profile| (profile, effective.verdict(profile, listener)));
    let which = |state: Option<bool>| -> Vec<Profile> {
        let same = verdicts
            .iter()
            .filter(|(_, verdict)| verdict.is_open() == state);
        same.map(|(profile, _)| *profile).collect()
    };
    let (open, closed, unknown) = (which(Some(true)), which(Some(false)), which(None));
    judge_wide_open(found, set, effective, &verdicts);
    if closed.is_empty() {
        judge_sources(found, set, effective, listener, &open);
    } else if open.is_empty() && unknown.is_empty() {
        for obstacle in obstacles(&verdicts) {
            judge_obstacle(facts, found, set, effective, listener, obstacle);
        }
    } else {
        judge_some_profiles(facts, found, set, effective, listener, &verdicts);
    }
}

/// The obstacles of all profiles, each once, with the profiles that have it.
fn obstacles<'a>(verdicts: &[(Profile, Verdict<'a>)]) -> Vec<(Obstacle<'a>, Vec<Profile>)> {
    let mut all: Vec<(Obstacle<'a>, Vec<Profile>)> = Vec::new();
    for (profile, verdict) in verdicts {
        let Verdict::Dropped(obstacles) = verdict else {
            continue;
        };
        for obstacle in obstacles {
            match all.iter_mut().find(|(known, _)| known == obstacle) {
                Some((_, profiles)) => profiles.push(*profile),
                None => all.push((obstacle.clone(), vec![*profile])),
            }
        }
    }
    all
}

fn judge_obstacle(
    facts: &Facts<'_>,
    found: &mut Found,
    set: &ControlSet,
    effective: &Effective,
    listener: Listener,
    (obstacle, profiles): (Obstacle<'_>, Vec<Profile>),
) {
    let active = set.is_active();
    match obstacle {
        Obstacle::NoExceptions(origin, key) => {
            let (location, value) = setting(effective, origin, &profiles, "DoNotAllowExceptions");
            let own = origin == Origin::Local;
            let cure = own.then(|| delete(origin, key, "DoNotAllowExceptions"));
            found.policy(&NO_EXCEPTIONS, origin);
            let expected = "no value, or REG_DWORD 0x0";
            found
                .of(&NO_EXCEPTIONS)
                .add(active, location, value, expected, cure);
        }
        Obstacle::Blocked(placed) => {
            let own = placed.origin == Origin::Local;
            let off = placed.named.rule.deactivated().filter(|_| own);
            let cure =
                off.map(|rule| set_rule(placed.origin, set, &placed.named.name, &rule.to_text()));
            found.policy(&BLOCK_RULE, placed.origin);
            found.of(&BLOCK_RULE).add(
                active,
                rule_location(set, placed),
                rule_shown(placed, &profiles),
                "Active=FALSE",
                cure,
            );
        }
        Obstacle::OwnRulesDropped(_) => {
            let name = "AllowLocalPolicyMerge";
            let (location, value) = setting(effective, Origin::Policy, &profiles, name);
            found.policy(&OWN_RULES_DROPPED, Origin::Policy);
            found.of(&OWN_RULES_DROPPED).add(
                active,
                location,
                value,
                "no value, or a rule of policy for Remote Desktop",
                [],
            );
        }
        Obstacle::NoRule => {
            let (problem, location, shown) = no_rule(facts, set, effective, listener, &profiles);
            let moved = listener.port != rdp_port::STANDARD;
            let cure = match moved {
                true => Vec::new(),
                false => open::activate(facts, set, effective, listener),
            };
            found.of(problem).add(
                active,
                location,
                shown,
                &format!(
                    "an active rule that lets TCP {} in to termservice",
                    listener.port
                ),
                cure,
            );
        }
    }
}

/// A setting that the first of some profiles has: its place, and what is there.
fn setting(
    effective: &Effective,
    origin: Origin,
    profiles: &[Profile],
    name: &str,
) -> (String, String) {
    let store = match origin {
        Origin::Local => &effective.local,
        Origin::Policy => &effective.policy,
    };
    let mut settings = profiles
        .iter()
        .flat_map(|profile| store.settings(*profile).by_name());
    let set = settings.find_map(|(known, setting)| match setting {
        Setting::Set { value, key } if known == name => Some((key.as_str(), *value)),
        _ => None,
    });
    let (key, value) = set.unwrap_or_default();
    let location = format!("{}\\{name}", hive_of(origin).full_path(key));
    (location, format!("{} ({})", shown(value), words(profiles)))
}

/// The edit that deletes a value of a store.
fn delete(origin: Origin, key: &str, name: &str) -> Edit {
    Edit::DeleteValue {
        hive: hive_of(origin),
        key: key.to_owned(),
        name: name.to_owned(),
    }
}

/// Which problem it is that no rule lets connections in, where, and what is there.
fn no_rule(
    facts: &Facts<'_>,
    set: &ControlSet,
    effective: &Effective,
    listener: Listener,
    profiles: &[Profile],
) -> (&'static Problem, String, String) {
    let rules = HiveName::System.full_path(&store_key(Origin::Local, set, RULES));
    if listener.port != rdp_port::STANDARD {
        let shown = format!("no rule for TCP {} ({})", listener.port, words(profiles));
        return (&PORT_CLOSED, rules, shown);
    }
    let family = open::family(facts, effective, listener);
    match family.into_iter().find(|named| !named.rule.is_active()) {
        Some(named) => {
            let placed = Placed {
                origin: Origin::Local,
                named,
            };
            let shown = rule_shown(placed, profiles);
            (&RULE_OFF, rule_location(set, placed), shown)
        }
        None => {
            let base = open::base_name(facts);
            let shown = format!("no rule {base} for TCP 3389 ({})", words(profiles));
            (&RULE_MISSING, rules, shown)
        }
    }
}

/// Some profiles let connections in, others do not.
fn judge_some_profiles(
    facts: &Facts<'_>,
    found: &mut Found,
    set: &ControlSet,
    effective: &Effective,
    listener: Listener,
    verdicts: &[(Profile, Verdict<'_>)],
) {
    let network = firewall::last_network(facts.registry());
    let closed_there = |profile: Profile| {
        let mut same = verdicts.iter().filter(|(known, _)| *known == profile);
        same.any(|(_, verdict)| verdict.is_open() == Some(false))
    };
    let last = network.filter(|network| closed_there(network.profile));
    let problem = match last {
        Some(_) => &LAST_PROFILE,
        None => &SOME_PROFILES,
    };
    let active = set.is_active();
    let expected = format!("TCP {} let in", listener.port);
    if let Some(network) = &last {
        let location = format!("{}\\Category", HiveName::Software.full_path(&network.key));
        let shown = format!("{} ({})", network.name, network.profile.word());
        let expected = "a network whose profile lets Remote Desktop in";
        found.of(problem).add(active, location, shown, expected, []);
    }
    for (obstacle, profiles) in obstacles(verdicts) {
        let (origin, (location, shown)) = match obstacle {
            Obstacle::NoExceptions(origin, _) => {
                let name = "DoNotAllowExceptions";
                (origin, setting(effective, origin, &profiles, name))
            }
            Obstacle::OwnRulesDropped(_) => {
                let name = "AllowLocalPolicyMerge";
                let origin = Origin::Policy;
                (origin, setting(effective, origin, &profiles, name))
            }
            Obstacle::Blocked(placed) => {
                let text = rule_shown(placed, &profiles);
                (placed.origin, (rule_location(set, placed), text))
            }
            Obstacle::NoRule => {
                let key = store_key(Origin::Local, set, RULES);
                let rules = HiveName::System.full_path(&key);
                let shown = format!("no active rule ({})", words(&profiles));
                (Origin::Local, (rules, shown))
            }
        };
        found.policy(problem, origin);
        found
            .of(problem)
            .add(active, location, shown, &expected, []);
    }
}

/// Open, but not from everywhere.
fn judge_sources(
    found: &mut Found,
    set: &ControlSet,
    effective: &Effective,
    listener: Listener,
    open: &[Profile],
) {
    let mut said: Vec<(Placed<'_>, Vec<Profile>)> = Vec::new();
    let mut say = |placed, profile| match said.iter_mut().find(|(known, _)| *known == placed) {
        Some((_, profiles)) => profiles.push(profile),
        None => said.push((placed, vec![profile])),
    };
    for profile in open {
        if matches!(effective.verdict(*profile, listener), Verdict::Allowed(_)) {
            let allowing = effective.allowing(*profile, listener);
            let limited = |placed: &Placed<'_>| !placed.named.rule.remote_addresses().is_empty();
            if allowing.iter().all(limited) {
                allowing
                    .into_iter()
                    .for_each(|placed| say(placed, *profile));
            }
            let blocking = effective.blocking(*profile, listener).into_iter();
            for (placed, blocks) in blocking {
                if matches!(blocks, Match::Partly(_)) && limited(&placed) {
                    say(placed, *profile);
                }
            }
        }
    }
    for (placed, profiles) in said {
        found.policy(&SOME_SOURCES, placed.origin);
        found.of(&SOME_SOURCES).add(
            set.is_active(),
            rule_location(set, placed),
            rule_shown(placed, &profiles),
            "no RA4, RA6",
            [],
        );
    }
}

fn judge_wide_open(
    found: &mut Found,
    set: &ControlSet,
    effective: &Effective,
    verdicts: &[(Profile, Verdict<'_>)],
) {
    for (profile, verdict) in verdicts {
        let (origin, name) = match verdict {
            Verdict::Off(origin) => (*origin, "EnableFirewall"),
            Verdict::OpenByDefault(origin) => (*origin, "DefaultInboundAction"),
            _ => continue,
        };
        let (location, value) = setting(effective, origin, &[*profile], name);
        found.policy(&WIDE_OPEN, origin);
        found
            .of(&WIDE_OPEN)
            .add(set.is_active(), location, value, &shown(1), []);
    }
}

/// The key of the connection security rules of a store.
pub(super) fn consec_key(origin: Origin, set: &ControlSet) -> (HiveName, String) {
    (hive_of(origin), store_key(origin, set, CONSEC))
}
