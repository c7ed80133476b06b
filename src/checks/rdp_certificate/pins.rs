// SPDX-License-Identifier: GPL-2.0-or-later
//! Certificates that somebody chose for the listener: pins.
//!
//! A pin is somebody's decision. It is reported, and removed only when that is named.

use crate::edit::{Edit, HiveName};
use crate::windows::certificates::{self, Named, Stored};
use crate::windows::{KeyFile, Reading};

use super::super::{Facts, Finding, Gathered, Proposal, unjudged};
use super::keys::Key;
use super::problems::{PIN_DANGLING, PIN_EXPIRED, PINNED, UNCLEAR};
use super::{SOURCE, day, now, shown};

const UNPINNED: &str =
    "no value, or the SHA-1 of a valid certificate in the store MY or Remote Desktop";

/// The pins of the control sets and of policy.
pub(super) fn pins(facts: &Facts<'_>) -> Vec<Named> {
    let registry = facts.registry();
    facts
        .sets()
        .iter()
        .map(|set| certificates::pin(registry, set))
        .chain([certificates::policy_pin(registry)])
        .collect()
}

/// What the pins of all control sets and of policy come to.
pub(super) fn judge_pins(facts: &Facts<'_>) -> Vec<Finding> {
    let registry = facts.registry();
    let mut findings = Vec::new();
    let mut pinned = Gathered::new(&PINNED, SOURCE);
    let mut expired = Gathered::new(&PIN_EXPIRED, SOURCE);
    let mut dangling = Gathered::new(&PIN_DANGLING, SOURCE);
    let sets = facts.sets().iter();
    let listed = sets.map(|set| {
        (
            HiveName::System,
            set.is_active(),
            certificates::pin(registry, set),
        )
    });
    let policy = (HiveName::Software, true, certificates::policy_pin(registry));
    for (hive, active, pin) in listed.chain([policy]) {
        let location = format!(r"{}\{}", hive.full_path(&pin.key), pin.value);
        let thumbprint = match pin.thumbprint {
            Reading::Found(thumbprint) => thumbprint,
            Reading::Malformed(found) => {
                findings.push(unjudged(&UNCLEAR, location, found, UNPINNED, SOURCE));
                continue;
            }
            _ => continue,
        };
        let (gathered, why) = match certificates::find(registry, thumbprint) {
            Err(why) => (&mut pinned, format!("which cannot be looked for: {why}")),
            Ok(found) => judge_pin(facts, &found, [&mut pinned, &mut expired, &mut dangling]),
        };
        gathered.add(
            active,
            location,
            format!("{thumbprint}, {why}"),
            UNPINNED,
            [],
        );
    }
    let gathered = [dangling, expired, pinned];
    findings.extend(gathered.into_iter().filter_map(Gathered::into_finding));
    findings
}

/// Which of pinned, expired and dangling a pin is, and what to say of it.
fn judge_pin<'g>(
    facts: &Facts<'_>,
    found: &[Stored],
    [pinned, expired, dangling]: [&'g mut Gathered; 3],
) -> (&'g mut Gathered, String) {
    let readable = found.iter().find_map(|stored| match &stored.content {
        Reading::Found(content) => Some(content),
        _ => None,
    });
    match (found, readable) {
        ([], _) => (
            dangling,
            "which is in neither of the stores MY and Remote Desktop".to_owned(),
        ),
        (_, None) => (pinned, "which cannot be read".to_owned()),
        (_, Some(content)) => {
            let text = shown(content);
            match Key::of(facts, content) {
                Key::File(KeyFile::Absent, place) => {
                    (dangling, format!("{text}; no key file in {place}"))
                }
                _ if content.certificate.not_after < now(facts) => {
                    (expired, format!("{text}; now: {}", day(now(facts))))
                }
                Key::File(KeyFile::OfOtherMachines(names), _) => (
                    pinned,
                    format!(
                        "{text}; its key file has another machine's GUID: {}",
                        names.join(", ")
                    ),
                ),
                Key::NotJudged(place) => (
                    pinned,
                    format!("{text}; its key was not judged, it lies {place}"),
                ),
                _ => (pinned, text),
            }
        }
    }
}

/// Takes the pins away.
pub(super) fn unpin(facts: &Facts<'_>) -> Proposal {
    let registry = facts.registry();
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        let pin = certificates::pin(registry, set);
        if !pin.thumbprint.is_absent() {
            proposal.edits.push(Edit::DeleteValue {
                hive: HiveName::System,
                key: pin.key,
                name: pin.value.to_owned(),
            });
        }
    }
    let policy = certificates::policy_pin(registry);
    if !policy.thumbprint.is_absent() {
        proposal.notes.push(format!(
            r"{}\{} comes from policy and is left alone: it would come back",
            HiveName::Software.full_path(&policy.key),
            policy.value
        ));
    }
    if proposal.edits.is_empty() {
        proposal
            .notes
            .push("no listener is pinned to a certificate".to_owned());
    } else {
        proposal.notes.push(
            "Windows then uses a certificate of its own making, which clients do not know: they warn once".to_owned(),
        );
    }
    proposal
}
