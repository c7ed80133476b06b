// SPDX-License-Identifier: GPL-2.0-or-later
//! The sentence and the last line of a diagnosis.

use super::language::Language;
use super::{Report, Verdict, words};
use crate::checks::{Finding, Severity};

/// The longest last line: remote runners keep only the tail of the output.
const LONGEST_LINE: usize = 200;

/// One sentence that a tired person can act on: the leading finding, and what else there is.
pub(super) fn sentence(report: &Report, language: Language) -> String {
    if let Some(error) = &report.error {
        return language.fill(words::NOT_JUDGED, &[("message", &error.message)]);
    }
    let mut serious = report
        .findings
        .iter()
        .filter(|finding| finding.severity > Severity::Notice);
    let Some(lead) = serious.next() else {
        return language.say(words::ALL_HEALTHY).to_owned();
    };
    let others: Vec<&Finding> = serious.collect();
    let mut sentence = language.say(lead.sentence()).to_owned();
    if lead.severity < Severity::Broken {
        sentence = language.fill(words::SUSPECTED, &[("lead", &sentence)]);
    }
    if lead.fixes.is_empty() {
        sentence = language.fill(words::NO_FIX, &[("lead", &sentence)]);
    }
    let others = match others.as_slice() {
        [] => return sentence,
        [one] => language.say(one.sentence()).to_owned(),
        many => {
            let of = |severity| count(many.iter().copied(), severity);
            let parts = [
                (of(Severity::Broken), words::MORE_FAULT, words::MORE_FAULTS),
                // The first of its kind is not one more.
                match lead.severity {
                    Severity::Broken => (of(Severity::Risk), words::RISK, words::RISKS),
                    _ => (of(Severity::Risk), words::MORE_RISK, words::MORE_RISKS),
                },
            ];
            list(language, &parts)
        }
    };
    language.fill(words::ALSO, &[("lead", &sentence), ("others", &others)])
}

fn count<'a>(findings: impl Iterator<Item = &'a Finding>, severity: Severity) -> u64 {
    findings
        .filter(|finding| finding.severity == severity)
        .count() as u64
}

fn list(language: Language, parts: &[(u64, &'static str, &'static str)]) -> String {
    let parts: Vec<String> = parts
        .iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, one, many)| language.count(*number, one, many))
        .collect();
    parts.join(", ")
}

/// How many findings of each kind there are.
pub(super) fn counts(report: &Report, language: Language) -> String {
    let of = |severity| count(report.findings.iter(), severity);
    let counts = list(
        language,
        &[
            (of(Severity::Broken), words::FAULT, words::FAULTS),
            (of(Severity::Risk), words::RISK, words::RISKS),
            (of(Severity::Notice), words::NOTICE, words::NOTICES),
        ],
    );
    if counts.is_empty() {
        language.say(words::NOTHING_FOUND).to_owned()
    } else {
        counts
    }
}

impl Verdict {
    /// The word as text prints it, in English.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Healthy => words::HEALTHY,
            Verdict::AtRisk => words::AT_RISK,
            Verdict::Broken => words::BROKEN,
            Verdict::Error => words::ERROR,
        }
    }
}

/// The line that stands alone for a diagnosis: at most 200 characters, and the command to type where there is room.
pub fn last_line(report: &Report, language: Language) -> String {
    let path = &report.target.path;
    if let Some(error) = &report.error {
        return shorten(&format!("{path}: {}", error.message));
    }
    let counts = counts(report, language);
    let sentence = sentence(report, language);
    let verdict = language.say(report.verdict.word());
    let values = [
        ("path", path.as_str()),
        ("verdict", verdict),
        ("counts", &counts),
        ("sentence", &sentence),
    ];
    with_next(&language.fill(words::LAST_LINE, &values), report, language)
}

/// A last line with the first command to type, where there is room for the whole of it.
pub(super) fn with_next(line: &str, report: &Report, language: Language) -> String {
    let longer = report.commands.first().map(|command| {
        let values = [("line", line), ("command", &command.command)];
        language.fill(words::AND_NEXT, &values)
    });
    longer
        .filter(|line| line.chars().count() <= LONGEST_LINE)
        .unwrap_or_else(|| shorten(line))
}

/// Cuts a summary to what remote runners keep, and to one line.
pub fn shorten(text: &str) -> String {
    let text = crate::windows::value::printable(text);
    if text.chars().count() <= LONGEST_LINE {
        return text.into_owned();
    }
    text.chars()
        .take(LONGEST_LINE.saturating_sub(3))
        .chain("...".chars())
        .collect()
}
