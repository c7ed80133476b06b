// SPDX-License-Identifier: GPL-2.0-or-later
//! The events that a report lists.

use schemars::JsonSchema;
use serde::Serialize;

use super::signs::{self, Sign, Why};
use super::{GUESSES, JOINS, LOGON_FAILURES, Window, signs_of};
use crate::checks::{EvidenceKind, Facts, Finding};

/// How many events a report lists; ours.
const LONGEST: usize = 200;

/// An event that tells of Remote Desktop, for a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TimelineEvent {
    /// When it was written, RFC 3339 in UTC.
    pub time: String,
    /// The log's short name, such as `System`.
    pub log: &'static str,
    /// Who logged it.
    pub provider: String,
    /// Which of the provider's events.
    pub id: u32,
    /// 1 critical, 2 error, 3 warning, 4 information, 0 always logged.
    pub level: u32,
    /// What it says, in words of coldfix.
    pub text: String,
    /// The id of the finding that it proves.
    pub finding: Option<&'static str>,
}

/// The events that tell of Remote Desktop, newest first: of each sign only the newest, so that one that comes by the
/// thousands hides no other. At most 200.
pub(in super::super) fn timeline(facts: &Facts<'_>, findings: &[Finding]) -> Vec<TimelineEvent> {
    let mut taken: Vec<(Sign, usize)> = Vec::new();
    let window = Window::of(facts.events());
    let mut lines = Vec::new();
    for (sign, event) in signs_of(facts.events()) {
        match taken.iter_mut().find(|(known, _)| *known == sign) {
            Some((_, count)) if *count >= most(sign) => continue,
            Some((_, count)) => *count = count.saturating_add(1),
            None => taken.push((sign, 1)),
        }
        let is_evidence = match sign {
            Sign::LogonFailed(_) | Sign::ConnectionRefused => window.is_recent(event),
            _ => window.counts(event),
        };
        let proves = is_evidence.then(|| proved(sign, findings)).flatten();
        lines.push(TimelineEvent {
            time: event.time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            log: event.log,
            provider: event.event.provider.clone(),
            id: event.event.id,
            level: event.event.level,
            text: signs::text(event),
            finding: proves,
        });
        if lines.len() == LONGEST {
            break;
        }
    }
    lines
}

/// How many events of a sign a report lists. All of them together stay below [`LONGEST`], so that none hides another.
fn most(sign: Sign) -> usize {
    match sign {
        Sign::LogonFailed(Why::Other) => 20,
        Sign::Certificate | Sign::Tls => 15,
        Sign::ServiceFailed(_) | Sign::SignedIn | Sign::LetIn => 10,
        Sign::Connected | Sign::Listening => 3,
        _ => 5,
    }
}

/// The finding that holds the evidence of a sign.
fn proved(sign: Sign, findings: &[Finding]) -> Option<&'static str> {
    let held = |ids: &[&str]| {
        findings
            .iter()
            .find(|finding| {
                ids.iter().any(|id| finding.id.starts_with(id))
                    && finding
                        .evidence
                        .iter()
                        .any(|evidence| evidence.kind == EvidenceKind::Event)
            })
            .map(|finding| finding.id)
    };
    let join = JOINS.iter().find(|join| (join.is_sign)(sign));
    let explained = join.and_then(|join| held(join.explained_by));
    explained.or_else(|| match sign {
        Sign::LogonFailed(_) | Sign::ConnectionRefused => held(&[LOGON_FAILURES.id, GUESSES.id]),
        _ => held(&[join?.problem?.id]),
    })
}
