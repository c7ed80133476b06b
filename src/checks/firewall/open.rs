// SPDX-License-Identifier: GPL-2.0-or-later
//! The edits that let something through the firewall.

use std::collections::HashSet;

use crate::edit::Edit;
use crate::firewall::rule::Action;
use crate::firewall::{Effective, Listener, Named, Obstacle, Origin, Profile, Rule, Verdict};
use crate::windows::ControlSet;
use crate::windows::firewall;

use super::super::{Facts, Proposal};
use super::judge::obstacles;
use super::{delete, listener, listener_on, returns, set_rule};

/// Windows' own rule for TCP 3389 since 8 and Server 2012; on 7 that name belongs to RemoteFX.
const RULE: &str = "RemoteDesktop-UserMode-In-TCP";
const RULE_BEFORE_8: &str = "RemoteDesktop-In-TCP";
/// The group that "Remote Desktop" is in the firewall's own list.
const GROUP: &str = "@FirewallAPI.dll,-28752";
/// Echo requests over IPv4.
const PING: &str = "FPS-ICMP4-ERQ-In";
/// What Azure's platform calls a machine from, and its agent calls.
const AZURE_PLATFORM: &str = "168.63.129.16";

/// The name of Windows' own rule for the listener.
pub(super) fn base_name(facts: &Facts<'_>) -> &'static str {
    match listener_on(facts, 0).in_kernel {
        true => RULE_BEFORE_8,
        false => RULE,
    }
}

/// Windows' own rule and the copies it splits off per profile (`<base>_1`), where they carry the port.
pub(super) fn family<'a>(
    facts: &Facts<'_>,
    effective: &'a Effective,
    listener: Listener,
) -> Vec<&'a Named<Rule>> {
    let base = base_name(facts);
    let rules = effective.local.rules.iter();
    rules
        .filter(|named| is_of_family(&named.name, base) && named.rule.can_allow(listener))
        .collect()
}

/// True for `base` and `base_<digits>`.
fn is_of_family(name: &str, base: &str) -> bool {
    let Some((start, rest)) = name.split_at_checked(base.len()) else {
        return false;
    };
    let number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    start.eq_ignore_ascii_case(base)
        && (rest.is_empty() || rest.strip_prefix('_').is_some_and(number))
}

/// True when a store has a value of this name, whatever it is.
fn has_value(effective: &Effective, name: &str) -> bool {
    let store = &effective.local;
    let rules = store.rules.iter().map(|named| &named.name);
    let malformed = store.malformed.iter().map(|named| &named.name);
    rules
        .chain(malformed)
        .any(|known| known.eq_ignore_ascii_case(name))
}

/// The edits that bring an own rule for the listener into force: Windows' own, a copy of its stock form, or for
/// another port than it has a new one. What is there under its name and is no such rule stays.
pub(super) fn activate(
    facts: &Facts<'_>,
    set: &ControlSet,
    effective: &Effective,
    listener: Listener,
) -> Vec<Edit> {
    let own = |name: &str, rule: &Rule| set_rule(Origin::Local, set, name, &rule.to_text());
    let family = family(facts, effective, listener);
    if !family.is_empty() {
        return family
            .into_iter()
            .filter(|named| !named.rule.is_active())
            .filter_map(|named| Some(own(&named.name, &named.rule.activated()?)))
            .collect();
    }
    let base = base_name(facts);
    if !has_value(effective, base) {
        let stock = firewall::stock_rules(facts.registry(), set).unwrap_or_default();
        let lost = stock
            .iter()
            .find(|named| named.name.eq_ignore_ascii_case(base) && named.rule.can_allow(listener));
        if let Some(active) = lost.and_then(|named| named.rule.activated()) {
            return vec![own(base, &active)];
        }
    }
    let name = format!("RDP-Repair-In-TCP-{}", listener.port);
    vec![own(&name, &new_rule(effective, listener))]
}

/// A rule of our own for the listener.
fn new_rule(effective: &Effective, listener: Listener) -> Rule {
    let port = listener.port.to_string();
    let display = format!("Remote Desktop (TCP {port})");
    let mut fields = vec![
        ("Action", "Allow"),
        ("Active", "TRUE"),
        ("Dir", "In"),
        ("Protocol", "6"),
        ("LPort", port.as_str()),
    ];
    if listener.in_kernel {
        fields.push(("App", "System"));
    } else {
        fields.push(("App", r"%SystemRoot%\system32\svchost.exe"));
        fields.push(("Svc", "termservice"));
    }
    fields.push(("Name", &display));
    Rule::new(version(effective), &fields)
}

/// The version token for a new rule: 7's, which every later Windows takes, where no other rule tells.
fn version(effective: &Effective) -> &str {
    effective.local.usual_version().unwrap_or("v2.10")
}

/// The edits that open a port, which the listener is about to have, in one control set; none where it is open in
/// every profile, or where the firewall is not of this kind.
pub(in super::super) fn open_port(facts: &Facts<'_>, set: &ControlSet, port: u16) -> Vec<Edit> {
    let Ok(Some(effective)) = firewall::read(facts.registry(), set) else {
        return Vec::new();
    };
    let listener = listener_on(facts, port);
    let closed = Profile::ALL
        .into_iter()
        .any(|profile| effective.verdict(profile, listener).is_open() == Some(false));
    match closed {
        true => activate(facts, set, &effective, listener),
        false => Vec::new(),
    }
}

/// Everything that stands in the way of Remote Desktop, in every profile and control set; on this port, which the
/// listener is about to have, or on the one that it has.
pub(super) fn remote_desktop(facts: &Facts<'_>, port: Option<u16>) -> Proposal {
    let mut proposal = Proposal::default();
    let mut edits = Vec::new();
    for set in facts.sets() {
        let Some(effective) = readable(facts, set, &mut proposal) else {
            continue;
        };
        let expected = match port {
            Some(port) => Some(listener_on(facts, port)),
            None => listener(facts, set),
        };
        let Some(listener) = expected else {
            proposal
                .notes
                .push(format!("{}: the listener's port is not known", set.key()));
            continue;
        };
        let verdicts = Profile::ALL.map(|profile| (profile, effective.verdict(profile, listener)));
        for (obstacle, _) in obstacles(&verdicts) {
            edits.extend(clear(set, &obstacle, &mut proposal));
        }
        let closed = |(_, verdict): &(Profile, Verdict<'_>)| verdict.is_open() == Some(false);
        if verdicts.iter().any(closed) {
            edits.extend(everywhere(facts, set, &effective, listener));
        }
        edits.extend(group(facts, set, &effective));
    }
    // The policy store is met once for each control set, a rule of the group twice: the first one counts.
    let mut places = HashSet::new();
    edits.retain(|edit| places.insert(edit.location().to_lowercase()));
    proposal.edits = edits;
    proposal
}

/// The rules of a store that can be read, or why there are none.
fn readable(facts: &Facts<'_>, set: &ControlSet, proposal: &mut Proposal) -> Option<Effective> {
    match firewall::read(facts.registry(), set) {
        Ok(Some(effective)) => Some(effective),
        Ok(None) => {
            let note = format!("{} has no firewall rules: an older firewall", set.key());
            proposal.notes.push(note);
            None
        }
        Err(unreadable) => {
            let note = format!("{} cannot be read: {}", unreadable.location, unreadable.why);
            proposal.notes.push(note);
            None
        }
    }
}

/// Takes one obstacle out of the way; a rule that is missing is not one of these.
fn clear(set: &ControlSet, obstacle: &Obstacle<'_>, proposal: &mut Proposal) -> Option<Edit> {
    let (origin, edit) = match obstacle {
        Obstacle::NoExceptions(origin, key) => {
            (*origin, Some(delete(*origin, key, "DoNotAllowExceptions")))
        }
        Obstacle::Blocked(placed) => {
            let off = placed.named.rule.deactivated();
            let edit =
                off.map(|rule| set_rule(placed.origin, set, &placed.named.name, &rule.to_text()));
            (placed.origin, edit)
        }
        Obstacle::OwnRulesDropped(key) => {
            let origin = Origin::Policy;
            (origin, Some(delete(origin, key, "AllowLocalPolicyMerge")))
        }
        Obstacle::NoRule => return None,
    };
    let note = returns(origin).map(str::to_owned);
    let new = note.filter(|note| !proposal.notes.contains(note));
    proposal.notes.extend(new);
    edit
}

/// As [`activate`], for every profile: the network that the machine will find is not known.
fn everywhere(
    facts: &Facts<'_>,
    set: &ControlSet,
    effective: &Effective,
    listener: Listener,
) -> Vec<Edit> {
    let mut edits = activate(facts, set, effective, listener);
    let family = family(facts, effective, listener);
    let active = effective
        .local
        .rules
        .iter()
        .filter(|named| named.rule.is_active() && named.rule.can_allow(listener));
    let rules: Vec<&Named<Rule>> = family.iter().copied().chain(active).collect();
    let covered = |profile| {
        rules
            .iter()
            .any(|named| named.rule.profiles().contains(profile))
    };
    // A family that leaves a profile out: its first rule is made to hold in all of them.
    if let Some(first) = family.first()
        && !Profile::ALL.iter().all(covered)
        && let Some(rule) = first.rule.activated()
    {
        let text = rule.for_every_profile().to_text();
        let whole = set_rule(Origin::Local, set, &first.name, &text);
        let (hive_key, name) = (whole.registry_key(), &first.name);
        edits.retain(|edit| {
            edit.registry_key() != hive_key
                || !matches!(edit, Edit::SetValue { name: other, .. } if other == name)
        });
        edits.push(whole);
    }
    edits
}

/// The rules of the group Remote Desktop (TCP, UDP, shadowing), active; lost ones from the stock.
fn group(facts: &Facts<'_>, set: &ControlSet, effective: &Effective) -> Vec<Edit> {
    let store = &effective.local;
    let rules = store.rules.iter().map(|named| &named.name);
    let malformed = store.malformed.iter().map(|named| &named.name);
    let taken: HashSet<String> = rules
        .chain(malformed)
        .map(|name| name.to_lowercase())
        .collect();
    let stock = firewall::stock_rules(facts.registry(), set).unwrap_or_default();
    let off = store.rules.iter().filter(|named| !named.rule.is_active());
    let lost = stock
        .iter()
        .filter(|named| !taken.contains(&named.name.to_lowercase()));
    off.chain(lost)
        .filter(|named| named.rule.group() == Some(GROUP))
        .filter(|named| named.rule.action() == Some(Action::Allow))
        .filter_map(|named| {
            let text = named.rule.activated()?.to_text();
            Some(set_rule(Origin::Local, set, &named.name, &text))
        })
        .collect()
}

/// Echo requests.
pub(super) fn ping(facts: &Facts<'_>) -> Proposal {
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        let Some(effective) = readable(facts, set, &mut proposal) else {
            continue;
        };
        let rules = effective.local.rules.iter();
        let mut found: Vec<Named<Rule>> = rules
            .filter(|named| is_of_family(&named.name, PING))
            .cloned()
            .collect();
        if found.is_empty() && !has_value(&effective, PING) {
            let stock = firewall::stock_rules(facts.registry(), set).unwrap_or_default();
            found.extend(stock.into_iter().filter(|named| named.name == PING));
        }
        if found.is_empty() {
            let note = format!("{}: there is no rule {PING}", set.key());
            proposal.notes.push(note);
        }
        for named in found {
            if let Some(rule) = named.rule.activated() {
                let edit = set_rule(Origin::Local, set, &named.name, &rule.to_text());
                proposal.edits.push(edit);
            }
        }
    }
    proposal
}

/// The address that Azure's platform has, in and out.
pub(super) fn agent(facts: &Facts<'_>) -> Proposal {
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        let Some(effective) = readable(facts, set, &mut proposal) else {
            continue;
        };
        for direction in ["In", "Out"] {
            let fields = [
                ("Action", "Allow"),
                ("Active", "TRUE"),
                ("Dir", direction),
                ("RA4", AZURE_PLATFORM),
                ("Name", "AzurePlatform"),
            ];
            let rule = Rule::new(version(&effective), &fields);
            let name = format!("AzurePlatform-{direction}");
            let edit = set_rule(Origin::Local, set, &name, &rule.to_text());
            proposal.edits.push(edit);
        }
    }
    proposal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_rules_belong_to_their_family() {
        assert!(is_of_family("RemoteDesktop-In-TCP", RULE_BEFORE_8));
        assert!(is_of_family("remotedesktop-in-tcp_1", RULE_BEFORE_8));
        assert!(!is_of_family("RemoteDesktop-In-TCP-WS", RULE_BEFORE_8));
        assert!(!is_of_family("RemoteDesktop-In-TCP_", RULE_BEFORE_8));
        assert!(!is_of_family("RemoteDesktop-In-TC€", RULE_BEFORE_8));
        assert!(!is_of_family("Remote", RULE_BEFORE_8));
    }
}
