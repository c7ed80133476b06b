// SPDX-License-Identifier: GPL-2.0-or-later
//! How a setting that a policy can override is judged.
//!
//! ```text
//! policy   machine   finding
//! wrong    any       the policy; and the machine's own where it is wrong, because it holds once the policy is gone
//! right    wrong     a notice: it is overridden
//! none     wrong     the machine's own
//! ```
//! A policy is cured by deleting its value. Whether Windows will put it back is told from the policy files on the disk.

use crate::edit::HiveName;
use crate::windows::group_policy::{Comes, Membership, Role, Source};
use crate::windows::rdp_settings::{
    DENY, Decides, MIN_ENCRYPTION_LEVEL, POLICY, SECURITY_LAYER, Setting, USER_AUTHENTICATION,
};
use crate::windows::{ControlSet, Reading};

use super::{Evidence, EvidenceKind, Facts, Finding, Gathered, Problem, shown, unjudged};

/// The argument that keeps a policy from coming back.
pub(super) const HOLD: &str = "group-policy=hold";

const COMES_BACK: &str = "A policy file on this disk sets the value, so Windows puts it back at its next refresh: change that policy, or hold group policy back (--fix group-policy=hold) until somebody can.";
const FROM_DOMAIN: &str = "The value was applied from a policy of the domain, which puts it back at the next refresh that reaches a domain controller: have that policy changed, or hold group policy back (--fix group-policy=hold) until it is.";
const MAY_COME_BACK: &str = "What is on this disk does not tell whether a policy puts the value back; --fix group-policy=hold keeps it away until somebody has looked.";
const OWN_IS_RIGHT: &str = "The machine's own setting is right.";
const STAYS_AWAY: &str =
    "No policy on this disk sets the value, so it does not come back by itself.";

/// A setting, and what is right there.
#[derive(Debug)]
pub(super) struct Judged {
    /// The setting.
    pub setting: Setting,
    /// Whether a number is right.
    pub right: fn(u32) -> bool,
    /// What is right, as evidence says it.
    pub expected: &'static str,
    /// What the machine's own setting is cured to.
    pub target: u32,
    /// The machine's own setting must be there.
    pub required: bool,
}

pub(super) const NOT_DENIED: Judged = Judged {
    setting: DENY,
    right: |value| value == 0,
    expected: "REG_DWORD 0x0",
    target: 0,
    required: true,
};

pub(super) const NLA: Judged = Judged {
    setting: USER_AUTHENTICATION,
    right: |value| value <= 1,
    expected: "REG_DWORD 0x1 or 0x0",
    target: 1,
    required: false,
};

pub(super) const LAYER: Judged = Judged {
    setting: SECURITY_LAYER,
    right: |value| value <= 2,
    expected: "REG_DWORD 0x0 or 0x1 or 0x2",
    target: 2,
    required: false,
};

pub(super) const LEVEL: Judged = Judged {
    setting: MIN_ENCRYPTION_LEVEL,
    right: |value| matches!(value, 1..=4),
    expected: "REG_DWORD 0x1 or 0x2 or 0x3 or 0x4",
    target: 3,
    required: false,
};

/// Everything that a policy can make wrong.
pub(super) const ALL: [&Judged; 4] = [&NOT_DENIED, &NLA, &LAYER, &LEVEL];

/// Findings about settings and their policies.
pub(super) struct Twins {
    /// The policy is wrong.
    pub policy: Gathered,
    /// The machine's own setting is wrong, and holds.
    pub machine: Gathered,
    /// The machine's own setting is wrong, and does not hold.
    overridden: Gathered,
    unclear: &'static Problem,
    unjudged: Vec<Finding>,
    source: &'static [&'static str],
}

impl Twins {
    pub(super) fn new(
        [policy, machine, overridden, unclear]: [&'static Problem; 4],
        source: &'static [&'static str],
    ) -> Twins {
        Twins {
            policy: Gathered::new(policy, source),
            machine: Gathered::new(machine, source),
            overridden: Gathered::new(overridden, source),
            unclear,
            unjudged: Vec::new(),
            source,
        }
    }

    /// Judges the policy of a setting.
    pub(super) fn judge_policy(&mut self, facts: &Facts<'_>, judged: &Judged) {
        let setting = &judged.setting;
        match setting.read_policy(facts.registry()) {
            Reading::Found(value) if !(judged.right)(value) => {
                self.policy.add(
                    true,
                    setting.policy_path(),
                    shown(value),
                    &format!("no value, or {}", judged.expected),
                    [setting.delete_policy()],
                );
                tell_origin(facts, setting.name, &mut self.policy.finding);
            }
            Reading::Malformed(found) => self.unjudged(setting.policy_path(), found, "no value"),
            // SOFTWARE as a whole is reported by the check of the hives.
            _ => {}
        }
    }

    /// Judges the machine's own setting in one control set. The key is there.
    pub(super) fn judge_machine(&mut self, facts: &Facts<'_>, set: &ControlSet, judged: &Judged) {
        let setting = &judged.setting;
        let twin = setting.read(facts.registry(), set);
        let path = setting.machine_path(set);
        let found = match twin.machine {
            Reading::Found(value) if !(judged.right)(value) => shown(value),
            Reading::NoValue if judged.required => "no value".to_owned(),
            Reading::Malformed(found) => {
                self.unjudged(path, found, judged.expected);
                return;
            }
            // An unreadable hive is reported as a whole by its own check.
            _ => return,
        };
        let cure = setting.set(set, judged.target);
        let gathered = match twin.policy {
            Reading::Found(policy) if (judged.right)(policy) => &mut self.overridden,
            _ => &mut self.machine,
        };
        gathered.add(set.is_active(), path, found, judged.expected, [cure]);
        if let Reading::Found(policy) = twin.policy
            && (judged.right)(policy)
        {
            let evidence = registry_evidence(setting.policy_path(), shown(policy), "as it is");
            let known = &mut self.overridden.finding.evidence;
            if !known.contains(&evidence) {
                known.push(evidence);
            }
        }
    }

    fn unjudged(&mut self, path: String, found: String, expected: &str) {
        let finding = unjudged(self.unclear, path, found, expected, self.source);
        self.unjudged.push(finding);
    }

    /// The findings, that of the policy first.
    pub(super) fn into_findings(mut self) -> Vec<Finding> {
        if self.machine.finding.evidence.is_empty() {
            self.policy.finding.cause.add(OWN_IS_RIGHT);
        }
        let mut findings = self.unjudged;
        for gathered in [self.policy, self.machine, self.overridden] {
            findings.extend(gathered.into_finding());
        }
        findings
    }
}

fn registry_evidence(location: String, found: String, expected: &str) -> Evidence {
    Evidence {
        kind: EvidenceKind::Registry,
        location,
        found,
        expected: expected.to_owned(),
    }
}

/// What a policy file says, as evidence.
pub(super) fn file_evidence(source: &Source, found: String) -> Evidence {
    let role = match source.role {
        Role::Local => "the local policy",
        Role::Domain => "a copy of a policy of the domain",
        Role::Applied => "the record of applied policies",
    };
    Evidence {
        kind: EvidenceKind::File,
        location: source.path.clone(),
        found: format!("{role} {found}"),
        expected: "a policy that leaves it alone".to_owned(),
    }
}

/// Adds to a finding about a value of policy where it comes from, and whether it comes back.
pub(super) fn tell_origin(facts: &Facts<'_>, name: &str, finding: &mut Finding) {
    let policies = facts.group_policy();
    let sentence = match policies.origin(POLICY, name) {
        Comes::FromFile(source) => {
            let says = match policies.next(POLICY, name) {
                Some((value, next)) if next.path == source.path => {
                    format!("sets {name} to {}", shown(value))
                }
                _ => format!("sets {name}"),
            };
            finding.evidence.push(file_evidence(source, says));
            COMES_BACK
        }
        Comes::FromDomain(domain) => {
            finding.evidence.push(registry_evidence(
                HiveName::Security.full_path(r"Policy\PolPrDmS"),
                format!("a member of the domain {domain}"),
                "a domain whose policy leaves it alone",
            ));
            FROM_DOMAIN
        }
        Comes::Unknown => MAY_COME_BACK,
        Comes::FromNowhere => STAYS_AWAY,
    };
    finding.cause.add(sentence);
    if sentence != STAYS_AWAY && !finding.fixes.iter().any(|fix| fix == HOLD) {
        finding.fixes.push(HOLD.to_owned());
    }
    // Of values with different origins, the worse news is the one to tell.
    if finding.fixes.iter().any(|fix| fix == HOLD) {
        finding.cause.remove(STAYS_AWAY);
    }
}

/// What to say with a fix that deletes a value of policy.
pub(super) fn deletion_note(facts: &Facts<'_>, setting: &Setting) -> String {
    let policies = facts.group_policy();
    let path = setting.policy_path();
    match policies.origin(POLICY, setting.name) {
        Comes::FromFile(source) => format!(
            "the policy {path} is deleted; {} sets it again at the next refresh, unless that is changed or group policy held back (--fix {HOLD})",
            source.path
        ),
        Comes::FromDomain(domain) => format!(
            "the policy {path} is deleted; the domain {domain} sets it again at the next refresh, unless that is changed or group policy held back (--fix {HOLD})"
        ),
        Comes::Unknown if matches!(policies.membership, Membership::Domain(_)) => format!(
            "the policy {path} is deleted; the domain may set it again at the next refresh (--fix {HOLD} prevents that)"
        ),
        Comes::Unknown | Comes::FromNowhere => format!("the policy {path} is deleted"),
    }
}

/// True when a policy stands in the way of this number.
pub(super) fn policy_differs(facts: &Facts<'_>, setting: &Setting, target: u32) -> bool {
    matches!(setting.read_policy(facts.registry()), Reading::Found(value) if value != target)
}

/// Who decides a setting, as evidence: the path and the number.
pub(super) fn in_force(
    facts: &Facts<'_>,
    set: &ControlSet,
    setting: &Setting,
) -> Option<(u32, Decides, String)> {
    let twin = setting.read(facts.registry(), set);
    let (value, decides) = twin.in_force()?;
    let path = match decides {
        Decides::Policy => setting.policy_path(),
        Decides::Machine => setting.machine_path(set),
    };
    Some((value, decides, path))
}
