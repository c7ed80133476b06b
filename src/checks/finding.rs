// SPDX-License-Identifier: GPL-2.0-or-later
//! What can be wrong, and what was found wrong, with the evidence and the cure.

use serde::Serialize;

use crate::edit::Edit;

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
    pub(super) const fn unclear(id: &'static str, stage: Stage) -> Problem {
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
            files: Vec::new(),
        }
    }
}

/// Fixed sentences, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentences(Vec<&'static str>);

impl Sentences {
    /// Adds what is to be said in this case.
    pub(super) fn add(&mut self, sentence: &'static str) {
        if !self.0.contains(&sentence) {
            self.0.push(sentence);
        }
    }

    /// Takes back what turned out not to be the whole of it.
    pub(super) fn remove(&mut self, sentence: &str) {
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
    /// Files of the volume that somebody needs for a cure by hand.
    #[serde(skip)]
    pub files: Vec<String>,
}

impl Finding {
    /// The sentence that a verdict is made of.
    pub fn sentence(&self) -> &'static str {
        self.sentence.unwrap_or(self.title)
    }
}

/// Findings of one problem gathered over the control sets, so that one fault in two sets is one finding.
pub(super) struct Gathered {
    pub(super) finding: Finding,
    pub(super) active: bool,
}

impl Gathered {
    pub(super) fn new(problem: &'static Problem, source: &[&str]) -> Gathered {
        Gathered {
            finding: problem.found(source, Vec::new()),
            active: false,
        }
    }

    /// Evidence from the registry, with the edits that cure this part. `active` tells whether it weighs
    /// on the set that Windows starts; faults in other sets alone are a risk, not the cause.
    pub(super) fn add(
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
    pub(super) fn into_finding(self) -> Option<Finding> {
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

/// A finding of an unclear value.
pub(super) fn unjudged(
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
