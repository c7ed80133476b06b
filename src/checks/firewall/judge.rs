// SPDX-License-Identifier: GPL-2.0-or-later
//! From what the stores come to, to findings.

use std::collections::{BTreeMap, HashMap};

use crate::edit::{Edit, HiveName};
use crate::firewall::{
    Effective, Listener, Match, Obstacle, Origin, Placed, Profile, Setting, Verdict, words,
};
use crate::windows::ControlSet;
use crate::windows::firewall::{self, RULES, Unreadable};

use super::super::{Facts, Finding, Gathered, Problem, rdp_port, shown};
use super::{
    BLOCK_RULE, CHECK, LAST_PROFILE, MALFORMED, NO_EXCEPTIONS, OWN_RULES_DROPPED, PORT_CLOSED,
    RULE_MISSING, RULE_OFF, SOME_PROFILES, SOME_SOURCES, SOURCE, UNCLEAR, WIDE_OPEN, delete,
    hive_of, listener, open, returns, set_rule, store_key,
};

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

/// So many places of one problem are shown; of the others it is said how many there are.
const MOST_SHOWN: usize = 16; // ours: a block list has thousands of rules

/// What is gathered over the control sets.
#[derive(Default)]
struct Found {
    problems: BTreeMap<&'static str, Gathered>,
    /// How many places of a problem are not shown.
    more: BTreeMap<&'static str, usize>,
    /// What is to be said of them besides: by whom values are put back.
    more_to_say: BTreeMap<&'static str, Vec<&'static str>>,
}

impl Found {
    fn add(
        &mut self,
        problem: &'static Problem,
        active: bool,
        (location, found): (String, String),
        expected: &str,
        cure: impl IntoIterator<Item = Edit>,
    ) {
        let new = || Gathered::new(problem, SOURCE);
        let gathered = self.problems.entry(problem.id).or_insert_with(new);
        if gathered.finding.evidence.len() < MOST_SHOWN {
            gathered.add(active, location, found, expected, cure);
        } else {
            gathered.active |= active;
            gathered.finding.cure.extend(cure);
            let more = self.more.entry(problem.id).or_default();
            *more = more.saturating_add(1);
        }
    }

    fn came_from(&mut self, problem: &'static Problem, origin: Origin) {
        let sentences = self.more_to_say.entry(problem.id).or_default();
        sentences.extend(returns(origin).filter(|new| !sentences.contains(new)));
    }

    fn into_findings(mut self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for problem in CHECK.problems {
            let gathered = self.problems.remove(problem.id);
            if let Some(mut finding) = gathered.and_then(Gathered::into_finding) {
                for sentence in self.more_to_say.get(problem.id).into_iter().flatten() {
                    finding.cause.add(sentence);
                }
                if let (Some(more), Some(last)) =
                    (self.more.get(problem.id), finding.evidence.last_mut())
                {
                    last.found
                        .push_str(&format!("; and {more} more like these"));
                }
                findings.push(finding);
            }
        }
        findings
    }
}

pub(super) fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut found = Found::default();
    for set in facts.sets() {
        match firewall::read(facts.registry(), set) {
            Err(Unreadable { location, why }) => {
                found.add(
                    &UNCLEAR,
                    set.is_active(),
                    (location, why),
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
    for origin in [Origin::Local, Origin::Policy, Origin::Management] {
        let store = effective.store(origin);
        for (name, setting) in store.profiles.iter().flat_map(|profile| profile.by_name()) {
            if let Setting::Unclear { key, found: shown } = setting {
                let location = format!("{}\\{name}", hive_of(origin).full_path(key));
                let expected = "a REG_DWORD, or no value";
                let active = set.is_active();
                found.add(&UNCLEAR, active, (location, shown.clone()), expected, []);
            }
        }
        let key = hive_of(origin).full_path(&store_key(origin, set, RULES));
        for value in &store.malformed {
            found.add(
                &MALFORMED,
                set.is_active(),
                (format!("{key}\\{}", value.name), value.rule.clone()),
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
pub(super) fn obstacles<'a>(
    verdicts: &[(Profile, Verdict<'a>)],
) -> Vec<(Obstacle<'a>, Vec<Profile>)> {
    let mut all: Vec<(Obstacle<'a>, Vec<Profile>)> = Vec::new();
    // Where rules are in the list; there may be thousands. Of the other kinds there are few.
    let mut rules: HashMap<(Origin, &str), usize> = HashMap::new();
    for (profile, verdict) in verdicts {
        let Verdict::Dropped(obstacles) = verdict else {
            continue;
        };
        for obstacle in obstacles {
            let next = all.len();
            let at = match obstacle {
                Obstacle::Blocked(placed) => *rules
                    .entry((placed.origin, placed.named.name.as_str()))
                    .or_insert(next),
                other => {
                    let known = all.iter().position(|(known, _)| {
                        !matches!(known, Obstacle::Blocked(_)) && known == other
                    });
                    known.unwrap_or(next)
                }
            };
            match all.get_mut(at) {
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
            found.came_from(&NO_EXCEPTIONS, origin);
            let expected = "no value, or REG_DWORD 0x0";
            found.add(&NO_EXCEPTIONS, active, (location, value), expected, cure);
        }
        Obstacle::Blocked(placed) => {
            let own = placed.origin == Origin::Local;
            let off = placed.named.rule.deactivated().filter(|_| own);
            let cure =
                off.map(|rule| set_rule(placed.origin, set, &placed.named.name, &rule.to_text()));
            found.came_from(&BLOCK_RULE, placed.origin);
            found.add(
                &BLOCK_RULE,
                active,
                (rule_location(set, placed), rule_shown(placed, &profiles)),
                "Active=FALSE",
                cure,
            );
        }
        Obstacle::OwnRulesDropped(_) => {
            let name = "AllowLocalPolicyMerge";
            let (location, value) = setting(effective, Origin::Policy, &profiles, name);
            found.came_from(&OWN_RULES_DROPPED, Origin::Policy);
            found.add(
                &OWN_RULES_DROPPED,
                active,
                (location, value),
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
            found.add(
                problem,
                active,
                (location, shown),
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
    let store = effective.store(origin);
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
        found.add(problem, active, (location, shown), expected, []);
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
        found.came_from(problem, origin);
        found.add(problem, active, (location, shown), &expected, []);
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
    let mut places: HashMap<(Origin, &str), usize> = HashMap::new();
    for (placed, profile) in limits(effective, listener, open) {
        let next = said.len();
        let name = placed.named.name.as_str();
        let at = *places.entry((placed.origin, name)).or_insert(next);
        match said.get_mut(at) {
            Some((_, profiles)) => profiles.push(profile),
            None => said.push((placed, vec![profile])),
        }
    }
    for (placed, profiles) in said {
        found.came_from(&SOME_SOURCES, placed.origin);
        let place = (rule_location(set, placed), rule_shown(placed, &profiles));
        found.add(&SOME_SOURCES, set.is_active(), place, "no RA4, RA6", []);
    }
}

/// The rules by which addresses matter where a profile is open, with that profile.
fn limits<'a>(
    effective: &'a Effective,
    listener: Listener,
    open: &[Profile],
) -> Vec<(Placed<'a>, Profile)> {
    let mut found = Vec::new();
    for profile in open {
        if matches!(effective.verdict(*profile, listener), Verdict::Allowed(_)) {
            let allowing = effective.allowing(*profile, listener);
            let limited = |placed: &Placed<'_>| !placed.named.rule.remote_addresses().is_empty();
            if allowing.iter().all(limited) {
                found.extend(allowing.into_iter().map(|placed| (placed, *profile)));
            }
            let blocking = effective.blocking(*profile, listener).into_iter();
            for (placed, blocks) in blocking {
                if matches!(blocks, Match::Partly(_)) && limited(&placed) {
                    found.push((placed, *profile));
                }
            }
        }
    }
    found
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
        found.came_from(&WIDE_OPEN, origin);
        found.add(
            &WIDE_OPEN,
            set.is_active(),
            (location, value),
            &shown(1),
            [],
        );
    }
}

#[cfg(test)]
mod tests;
