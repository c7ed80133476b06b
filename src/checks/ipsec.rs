// SPDX-License-Identifier: GPL-2.0-or-later
//! Connection security rules that demand IPsec of whoever connects to Remote Desktop.

use std::collections::HashSet;

use crate::edit::Edit;
use crate::error::Result;
use crate::firewall::consec::{Judgement, Surroundings};
use crate::firewall::store::ConsecValue;
use crate::firewall::{ConnectionSecurityRule, Effective, Origin, Profile, Setting};
use crate::windows::firewall::{self, Unreadable};
use crate::windows::{ControlSet, value};

use super::firewall::consec_key;
use super::{
    Check, Evidence, EvidenceKind, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity,
    Stage, rdp_port, unknown_value,
};

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/openspecs/windows_protocols/ms-gpfas/885f236b-39f5-4a83-bac8-3c5459e88a9a",
    "Azure/repair-script-library win-fix-ipsec-rdp-block",
];

const FROM_POLICY: &str = "A rule of Group Policy comes back at the next refresh, unless the policy itself is changed; `--fix group-policy=hold` keeps it from being applied until then.";

const BLOCKS: Problem = Problem {
    id: "ipsec.blocks",
    title: "An IPsec rule drops Remote Desktop connections that are not secured by IPsec",
    severity: Severity::Broken,
    stage: Stage::Firewall,
    trigger: "A connection security rule is in force, its action is Secure or SecureServer, its protocol and its local ports include TCP to the listener's port, and nothing narrows it that is not known on a machine that is switched off.",
    cause: "Whoever connects without IPsec is dropped without a word, before the firewall's rules are asked. The rule is switched off, not deleted.",
    fixes: &[FIX.name],
};

const UNCLEAR: Problem = Problem {
    id: "ipsec.unclear",
    title: "An IPsec rule may drop Remote Desktop connections",
    severity: Severity::Risk,
    stage: Stage::Firewall,
    trigger: "A connection security rule that demands IPsec is narrowed by addresses, remote ports, interfaces, tunnels, fields that are not known or profiles in which policy drops it; or it does not follow the grammar, or is no REG_SZ, and may be in force.",
    cause: "Whether it concerns a connection depends on what is not known here. It is left alone; `--fix ipsec=ID` switches off the rule of that id.",
    fixes: &[],
};

pub(super) const CHECK: Check = Check {
    id: "ipsec",
    title: "No IPsec rule drops Remote Desktop connections",
    looks_at: "The connection security rules of the machine's own store and of policy, AllowLocalIPsecPolicyMerge, and PortNumber of the listener.",
    healthy: "No key ConSecRules, which is how Windows comes; or rules that are off, that only request security, or that concern other protocols and ports.",
    problems: &[&BLOCKS, &UNCLEAR],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: "ipsec",
    values: "the id of a rule; every rule that drops Remote Desktop when nothing is said",
    title: "Switch off IPsec rules that drop Remote Desktop",
    explanation: "Replaces Active=TRUE by Active=FALSE in the connection security rules, own and of policy, that drop connections to the listener which are not secured; every other byte stays. With an id it does so in that rule.",
    source: SOURCE,
    edits,
};

/// A rule of a store that is not plainly harmless.
struct Suspect<'a> {
    origin: Origin,
    name: &'a str,
    rule: Option<&'a ConnectionSecurityRule>,
    judgement: Judgement,
}

/// The rules of a control set and of policy that block, or may.
fn suspects<'a>(facts: &Facts<'_>, set: &ControlSet, effective: &'a Effective) -> Vec<Suspect<'a>> {
    let port = rdp_port::expected_or_standard_port(facts, set);
    let mut suspects = Vec::new();
    for (origin, store) in [
        (Origin::Local, &effective.local),
        (Origin::Policy, &effective.policy),
    ] {
        let around = match origin {
            Origin::Local => around(effective, port),
            Origin::Policy | Origin::Management => Surroundings {
                port,
                ..Surroundings::default()
            },
        };
        for named in &store.consec {
            let (rule, judgement) = match &named.rule {
                ConsecValue::Rule(rule) => (Some(rule), rule.judge(&around)),
                ConsecValue::Malformed { active: false, .. } => (None, Judgement::Inert),
                ConsecValue::Malformed { fault, .. } => {
                    (None, Judgement::Unclear(vec![fault.to_string()]))
                }
                ConsecValue::Unclear(found) => (None, Judgement::Unclear(vec![found.clone()])),
            };
            if matches!(judgement, Judgement::Blocking | Judgement::Unclear(_)) {
                suspects.push(Suspect {
                    origin,
                    name: &named.name,
                    rule,
                    judgement,
                });
            }
        }
    }
    suspects
}

/// What policy says of the machine's own connection security rules.
fn around(effective: &Effective, port: Option<u16>) -> Surroundings {
    let of = |wanted: fn(&Setting) -> bool| -> Vec<Profile> {
        let profiles = Profile::ALL.into_iter();
        profiles
            .filter(|profile| wanted(&effective.policy.settings(*profile).local_ipsec))
            .collect()
    };
    Surroundings {
        port,
        dropped: of(|setting| setting.value() == Some(0)),
        unknown: of(|setting| matches!(setting, Setting::Unclear { .. })),
    }
}

/// The edit that switches a rule off.
fn switch_off(
    origin: Origin,
    set: &ControlSet,
    name: &str,
    rule: &ConnectionSecurityRule,
) -> Option<Edit> {
    let (hive, key) = consec_key(origin, set);
    let text = rule.deactivated()?.to_text();
    Some(Edit::text(hive, key, name, value::SZ, &text))
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut blocks = Gathered::new(&BLOCKS, SOURCE);
    let mut unclear = Gathered::new(&UNCLEAR, SOURCE);
    let (mut of_policy, mut seen) = (false, HashSet::new());
    for set in facts.sets() {
        let effective = match firewall::read(facts.registry(), set) {
            Ok(Some(effective)) => effective,
            // Reported by the firewall's check, or of XP's kind.
            Err(Unreadable { .. }) | Ok(None) => continue,
        };
        for suspect in suspects(facts, set, &effective) {
            let (hive, key) = consec_key(suspect.origin, set);
            let location = format!("{}\\{}", hive.full_path(&key), suspect.name);
            // Policy's store is the same for every control set.
            if !seen.insert(location.clone()) {
                continue;
            }
            let text = suspect.rule.map(ConnectionSecurityRule::to_text);
            let text: String = text.unwrap_or_default().chars().take(240).collect();
            match suspect.judgement {
                Judgement::Blocking => {
                    of_policy |= suspect.origin == Origin::Policy;
                    let cure = suspect
                        .rule
                        .and_then(|rule| switch_off(suspect.origin, set, suspect.name, rule));
                    let active = set.is_active() || suspect.origin == Origin::Policy;
                    blocks.add(active, location, text, "Active=FALSE", cure);
                }
                Judgement::Unclear(reasons) => {
                    let evidence = Evidence {
                        kind: EvidenceKind::Registry,
                        location,
                        found: format!("{text} ({})", reasons.join("; ")).trim().to_owned(),
                        expected: "no rule that demands IPsec of the listener's port".to_owned(),
                    };
                    unclear.finding.evidence.push(evidence);
                }
                _ => {}
            }
        }
    }
    let mut findings: Vec<Finding> = Vec::new();
    if let Some(mut finding) = blocks.into_finding() {
        if of_policy {
            finding.cause.add(FROM_POLICY);
        }
        findings.push(finding);
    }
    findings.extend(unclear.into_finding());
    findings
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    let mut proposal = Proposal::default();
    let (mut found, mut of_policy, mut seen) = (false, false, HashSet::new());
    for set in facts.sets() {
        let Ok(Some(effective)) = firewall::read(facts.registry(), set) else {
            continue;
        };
        for suspect in suspects(facts, set, &effective) {
            let named = value.is_some_and(|id| id.eq_ignore_ascii_case(suspect.name));
            if !named && (value.is_some() || suspect.judgement != Judgement::Blocking) {
                continue;
            }
            found = true;
            let edit = suspect
                .rule
                .and_then(|rule| switch_off(suspect.origin, set, suspect.name, rule));
            match edit {
                Some(edit) if !seen.insert(edit.location()) => {}
                Some(edit) => proposal.edits.push(edit),
                None => proposal.notes.push(format!(
                    "{} does not follow the grammar: it is left alone",
                    suspect.name
                )),
            }
            of_policy |= suspect.origin == Origin::Policy;
        }
    }
    if of_policy {
        proposal.notes.push(FROM_POLICY.to_owned());
    }
    match value {
        Some(id) if !found => Err(unknown_value(&FIX, id)),
        _ => Ok(proposal),
    }
}
