// SPDX-License-Identifier: GPL-2.0-or-later
//! Targets with the same machine SID: copies of one disk, made without sysprep.
//!
//! It is one more document after the reports of many targets; `docs/clones.schema.json` publishes its shape.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Report, words};
use crate::checks::{Severity, refuses_duplicate_sid};

/// The `schema` of the document.
pub const SCHEMA: &str = "coldfix.clones/1";

/// How many targets of a group text lists; ours.
const LISTED: usize = 10;

/// The JSON Schema of [`Clones`], as `docs/clones.schema.json` publishes it.
pub fn schema() -> schemars::Schema {
    schemars::generate::SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<Clones>()
}

/// Which of many targets carry the same machine SID.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Clones {
    /// The name and version of this shape.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: &'static str,
    /// The version of coldfix that wrote it.
    pub tool_version: &'static str,
    /// The groups, by SID.
    pub groups: Vec<Group>,
}

/// Targets with one machine SID.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Group {
    /// The machine SID, `S-1-5-21-a-b-c`.
    pub machine_sid: String,
    /// A risk where the Windows on one of them refuses sign-ins from a machine with its own SID, else a notice.
    pub severity: Severity,
    /// What it does, in plain words.
    pub cause: &'static str,
    /// The targets, as the user named them.
    pub targets: Vec<String>,
}

/// What is kept of each target until all have been seen.
#[derive(Debug, Default)]
pub struct Seen {
    by_sid: BTreeMap<String, Members>,
}

#[derive(Debug, Default)]
struct Members {
    targets: BTreeSet<String>,
    refuses: bool,
}

impl Seen {
    /// Takes note of what is needed of a report.
    pub fn add_report(&mut self, report: &Report) {
        for installation in &report.installations {
            if let Some(sid) = &installation.machine_sid {
                self.add(
                    &report.target.path,
                    sid,
                    installation.release.build.as_deref(),
                );
            }
        }
    }

    /// Takes note of a target with its SID and build (`26100.7627`).
    pub fn add(&mut self, target: &str, sid: &str, build: Option<&str>) {
        let members = self.by_sid.entry(sid.to_owned()).or_default();
        members.targets.insert(target.to_owned());
        members.refuses |= build.is_some_and(|build| {
            let (build, revision) = build.split_once('.').unwrap_or((build, "0"));
            match (build.parse(), revision.parse()) {
                (Ok(build), Ok(revision)) => refuses_duplicate_sid(build, revision),
                _ => false,
            }
        });
    }

    /// Adds what others have seen.
    pub fn append(&mut self, other: Seen) {
        for (sid, mut members) in other.by_sid {
            let known = self.by_sid.entry(sid).or_default();
            known.targets.append(&mut members.targets);
            known.refuses |= members.refuses;
        }
    }

    /// The groups of two and more; `None` when there are none.
    pub fn clones(self) -> Option<Clones> {
        let groups: Vec<Group> = self
            .by_sid
            .into_iter()
            .filter(|(_, members)| members.targets.len() > 1)
            .map(|(machine_sid, members)| Group {
                machine_sid,
                severity: if members.refuses {
                    Severity::Risk
                } else {
                    Severity::Notice
                },
                cause: if members.refuses {
                    words::CLONES_REFUSED
                } else {
                    words::CLONES
                },
                targets: members.targets.into_iter().collect(),
            })
            .collect();
        if groups.is_empty() {
            return None;
        }
        Some(Clones {
            schema: SCHEMA,
            tool_version: env!("CARGO_PKG_VERSION"),
            groups,
        })
    }
}

impl Clones {
    /// True when sign-ins between some of them are refused.
    pub fn is_risk(&self) -> bool {
        self.groups
            .iter()
            .any(|group| group.severity > Severity::Notice)
    }

    /// Lines of text.
    pub fn text(&self, page: super::text::Page) -> String {
        let mut out = String::new();
        for group in &self.groups {
            out.push_str(&super::text::clones(group, LISTED, page));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_grouped_by_their_sid_and_judged_by_their_build() {
        let mut seen = Seen::default();
        seen.add("b", "S-1-5-21-1-2-3", Some("20348.1"));
        seen.add("a", "S-1-5-21-1-2-3", Some("20348.1"));
        seen.add("a", "S-1-5-21-1-2-3", Some("20348.1"));
        seen.add("c", "S-1-5-21-1-2-4", Some("26100.6584"));
        seen.add("d", "S-1-5-21-1-2-4", None);
        seen.add("alone", "S-1-5-21-1-2-5", Some("26100.6584"));
        seen.add("twice", "S-1-5-21-1-2-6", None);
        seen.add("twice", "S-1-5-21-1-2-6", None);
        let clones = seen.clones().expect("two groups");
        let told: Vec<_> = clones
            .groups
            .iter()
            .map(|group| (group.severity, group.targets.join(" ")))
            .collect();
        assert_eq!(
            told,
            [
                (Severity::Notice, "a b".to_owned()),
                (Severity::Risk, "c d".to_owned())
            ]
        );
        assert!(clones.is_risk());
    }

    #[test]
    fn no_two_alike_is_no_document() {
        let mut seen = Seen::default();
        seen.add("a", "S-1-5-21-1-2-3", None);
        assert!(seen.clones().is_none());
    }

    #[test]
    fn a_build_that_is_no_number_refuses_nothing() {
        for build in ["", ".", "26100.x", "x.7000", "99999999999.1", "26100"] {
            let mut seen = Seen::default();
            seen.add("a", "S", Some(build));
            seen.add("b", "S", None);
            assert!(!seen.clones().expect("a group").is_risk(), "{build}");
        }
    }
}
