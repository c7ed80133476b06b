// SPDX-License-Identifier: GPL-2.0-or-later
//! Reports as text for a person. Colours are escape codes here; the stream they are written to drops them
//! where nobody would see them.

use std::borrow::Cow;
use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use super::language::Language;
use super::{EditReport, OperationReport, Report, Verdict, words};
use crate::checks::{Finding, Severity};
use crate::windows::value::printable;

mod layout;

pub use super::summary::shorten;
pub use layout::{count, size};
use layout::{pad, widest, wrap};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const GREEN: Style = AnsiColor::Green.on_default().bold();
const CYAN: Style = AnsiColor::Cyan.on_default();

/// Column at which the text of a report begins; labels stand before it.
const TEXT: usize = 9;
/// Column at which the parts of evidence begin.
const PART: usize = 11;

/// The words before a diagnosis' places to look at elsewhere.
const OUTSIDE: [&str; 5] = [
    words::OUTSIDE_NETWORK,
    words::OUTSIDE_AGENT,
    words::OUTSIDE_CLIENT,
    words::OUTSIDE_ADDRESS,
    words::OUTSIDE_ROUTE,
];

/// What text is written on.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// How many columns there are.
    pub width: usize,
    /// True for a terminal: changes are shown as a table. A file or a program gets them line by line.
    pub terminal: bool,
    /// What it is written in.
    pub language: Language,
}

impl Default for Page {
    /// A file, in English.
    fn default() -> Page {
        Page {
            width: 100,
            terminal: false,
            language: Language::English,
        }
    }
}

// Writing to a String cannot fail, so the results of write! are dropped throughout.
macro_rules! line {
    ($out:expr, $($arguments:tt)*) => {{ let _ = writeln!($out, $($arguments)*); }};
}

impl Page {
    fn say(self, english: &'static str) -> &'static str {
        self.language.say(english)
    }

    /// A text behind a label.
    fn labelled(self, out: &mut String, style: Style, label: &'static str, text: &str) {
        let label = pad(self.say(label), TEXT);
        line!(
            out,
            "{style}{label}{style:#}{}",
            wrap(&printable(text), TEXT, self.width)
        );
    }
}

/// What was looked at: target and installations.
pub fn header(report: &Report, page: Page) -> String {
    let mut out = String::new();
    let target = &report.target;
    let mut facts = vec![match &target.container {
        Some(container) => container.clone(),
        None => page.say(words::NOT_OPENED).to_owned(),
    }];
    facts.extend(target.size.map(size));
    if !target.partitions.is_empty() {
        let number = target.partitions.len() as u64;
        facts.push(
            page.language
                .count(number, words::PARTITION, words::PARTITIONS),
        );
    }
    let text = format!("{} ({})", target.path, facts.join(", "));
    page.labelled(&mut out, BOLD, words::TARGET, &text);
    for text in installations(report, page.language) {
        page.labelled(&mut out, BOLD, words::WINDOWS, &text);
    }
    for note in &report.notes {
        page.labelled(&mut out, BOLD, words::NOTE, note);
    }
    for sentence in &report.lowers_security {
        let values = [("sentence", sentence.as_str())];
        let sentence = page.language.fill(words::LOWERS_SECURITY, &values);
        page.labelled(&mut out, YELLOW, words::CAUTION, &sentence);
    }
    out
}

/// The installations, a line each.
pub(super) fn installations(report: &Report, language: Language) -> Vec<String> {
    let line = |installation: &super::InstallationReport| {
        let release = &installation.release;
        let mut facts = Vec::new();
        facts.extend(release.product_name.clone());
        facts.extend(release.display_version.clone());
        let build = release.build.as_ref();
        facts.extend(build.map(|build| language.fill(words::BUILD, &[("build", build)])));
        let name = release.computer_name.as_ref();
        facts.extend(name.map(|name| language.fill(words::COMPUTER, &[("name", name)])));
        let set = installation.control_set;
        facts.extend(set.map(|set| format!("ControlSet{set:03}")));
        let folder = &installation.windows_directory;
        let place = match installation.partition {
            Some(number) => language.fill(
                words::ON_PARTITION,
                &[("folder", folder), ("n", &number.to_string())],
            ),
            None => folder.clone(),
        };
        format!("{place}: {}", facts.join(", "))
    };
    report.installations.iter().map(line).collect()
}

fn style(severity: Severity) -> Style {
    match severity {
        Severity::Broken => RED,
        Severity::Risk => YELLOW,
        Severity::Notice => CYAN,
    }
}

/// The words for a severity: the label of a finding, and the heading of all such findings.
pub(super) fn severity_words(severity: Severity) -> (&'static str, &'static str) {
    match severity {
        Severity::Broken => (words::LABEL_BROKEN, words::CERTAIN),
        Severity::Risk => (words::LABEL_RISK, words::RISKY),
        Severity::Notice => (words::LABEL_NOTICE, words::WORTH_KNOWING),
    }
}

/// The findings, each with its evidence, under headings that tell how sure they are.
pub fn findings(findings: &[Finding], page: Page) -> String {
    let mut out = String::new();
    let say = |text| page.say(text);
    let parts = [words::FOUND, words::EXPECTED, words::CURE, words::SOURCE].map(say);
    let part_width = widest(&parts).saturating_add(2);
    let [found, expected, cure, source] = parts.map(|part| pad(part, part_width));
    let indent = " ".repeat(TEXT);
    let part = " ".repeat(PART);
    let mut last = None;
    for finding in findings {
        let style = style(finding.severity);
        let (label, heading) = severity_words(finding.severity);
        if last != Some(finding.severity) {
            last = Some(finding.severity);
            line!(out, "\n{BOLD}{}{BOLD:#}", say(heading));
        }
        let title = wrap(say(finding.title), TEXT, page.width);
        line!(
            out,
            "\n{style}{}{style:#}{BOLD}{title}{BOLD:#} {DIM}[{}]{DIM:#}",
            pad(say(label), TEXT),
            finding.id
        );
        let cause = cause(finding, page.language);
        line!(out, "{indent}{}", wrap(&cause, TEXT, page.width));
        for evidence in &finding.evidence {
            line!(out, "{indent}{}", printable(&evidence.location));
            line!(out, "{part}{found}{}", printable(&evidence.found));
            line!(out, "{part}{expected}{}", printable(&evidence.expected));
        }
        if !finding.fixes.is_empty() {
            line!(out, "{part}{cure}{}", fixes(finding, page.language));
        }
        if let Some(url) = finding.source.first() {
            line!(out, "{part}{DIM}{source}{url}{DIM:#}");
        }
    }
    out
}

/// The cause, each of its sentences translated.
pub(super) fn cause(finding: &Finding, language: Language) -> String {
    let sentences: Vec<&str> = finding
        .cause
        .parts()
        .iter()
        .map(|sentence| language.say(sentence))
        .collect();
    sentences.join(match language {
        Language::English => " ",
        Language::Japanese => "",
    })
}

/// The options that cure a finding.
pub(super) fn fixes(finding: &Finding, language: Language) -> String {
    let fixes: Vec<String> = finding
        .fixes
        .iter()
        .map(|fix| format!("--fix {fix}"))
        .collect();
    fixes.join(&format!(" {} ", language.say(words::OR)))
}

/// The whole diagnosis: what was looked at, the verdict, the findings, what is healthy, what to type, and the last line.
pub fn diagnosis(report: &Report, page: Page) -> String {
    let mut out = header(report, page);
    let language = page.language;
    if report.summary.is_some() && report.error.is_none() {
        let sentence = super::summary::sentence(report, language);
        page.labelled(
            &mut out,
            verdict_style(report.verdict),
            words::VERDICT,
            &sentence,
        );
    }
    out.push_str(&findings(&report.findings, page));
    if !report.healthy.is_empty() {
        let titles = report.healthy.iter().map(|check| check.title);
        let heading = page.say(words::LOOKED_AT);
        out.push_str(&list(heading, titles, page));
    }
    for (hive, titles) in report.skipped_by_hive() {
        let heading = language.fill(words::NOT_LOOKED_AT, &[("hive", hive)]);
        out.push_str(&list(&heading, titles.into_iter(), page));
    }
    out.push_str(&commands(report, page));
    if report.error.is_none() && report.verdict == Verdict::Healthy {
        line!(out, "\n{BOLD}{}{BOLD:#}", page.say(words::OUTSIDE));
        for place in OUTSIDE {
            let place = wrap(page.say(place), TEXT, page.width);
            line!(out, "{}{place}", pad("       -", TEXT));
        }
    }
    if let Some(hint) = report.error.as_ref().and_then(|error| error.hint.as_ref()) {
        line!(out, "{}", language.fill(words::NEXT, &[("hint", hint)]));
    }
    line!(out, "\n{}", super::last_line(report, language));
    out
}

/// Titles of checks, one behind the other.
fn list(heading: &str, titles: impl Iterator<Item = &'static str>, page: Page) -> String {
    let titles: Vec<&str> = titles.map(|title| page.say(title)).collect();
    let titles = match page.language {
        Language::English => titles.join("; "),
        Language::Japanese => format!("{}。", titles.join("。")),
    };
    let indent = " ".repeat(TEXT);
    let titles = wrap(&titles, TEXT, page.width);
    format!("\n{BOLD}{heading}{BOLD:#}\n{indent}{titles}\n")
}

fn verdict_style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Healthy => GREEN,
        Verdict::AtRisk => YELLOW,
        Verdict::Broken | Verdict::Error => RED,
    }
}

/// The exact commands that cure. They are not broken into lines, so that they can be copied.
fn commands(report: &Report, page: Page) -> String {
    let mut out = String::new();
    if report.commands.is_empty() {
        return out;
    }
    line!(out, "\n{BOLD}{}{BOLD:#}", page.say(words::COMMANDS));
    let indent = " ".repeat(TEXT);
    for commands in report
        .commands
        .chunk_by(|one, next| one.severity == next.severity)
    {
        for (number, command) in commands.iter().enumerate() {
            if number == 0 {
                line!(out, "{indent}{}", page.say(cures(command.severity)));
            }
            line!(out, "{}{}", " ".repeat(PART), printable(&command.command));
        }
    }
    if can_be_tried(report) {
        line!(out, "{indent}{}", page.say(words::DRY_RUN));
    }
    out
}

/// What a command for findings of this severity does.
pub(super) fn cures(severity: Severity) -> &'static str {
    match severity {
        Severity::Broken => words::CURE_CERTAIN,
        Severity::Risk => words::CURE_SUSPECTED,
        Severity::Notice => words::COPY_OUT,
    }
}

/// Whether one of the commands repairs.
pub(super) fn can_be_tried(report: &Report) -> bool {
    report
        .commands
        .iter()
        .any(|command| command.severity > Severity::Notice)
}

/// The places to look at when the disk is healthy.
pub(super) fn outside() -> &'static [&'static str] {
    &OUTSIDE
}

/// A group of targets with one machine SID; the first of them are listed.
pub(super) fn clones(group: &super::clones::Group, listed: usize, page: Page) -> String {
    let mut out = String::new();
    let (label, _) = severity_words(group.severity);
    let number = group.targets.len() as u64;
    let values = [("n", &*number.to_string()), ("sid", &group.machine_sid)];
    line!(
        out,
        "{style}{}{style:#}{BOLD}{}{BOLD:#}",
        pad(page.say(label), TEXT),
        page.language.fill(words::SAME_SID, &values),
        style = style(group.severity),
    );
    let indent = " ".repeat(TEXT);
    line!(
        out,
        "{indent}{}",
        wrap(page.say(group.cause), TEXT, page.width)
    );
    for target in group.targets.iter().take(listed) {
        line!(out, "{}{}", " ".repeat(PART), printable(target));
    }
    let more = number.saturating_sub(listed as u64);
    if more > 0 {
        let text = page
            .language
            .fill(words::AND_MORE, &[("n", &more.to_string())]);
        line!(out, "{}{text}", " ".repeat(PART));
    }
    out
}

/// The last line for many targets: how many ended healthy, with findings, not judged.
pub fn many(count: u64, ended: [u64; 3], language: Language) -> String {
    let [healthy, found, failed] = ended.map(|number| number.to_string());
    let values = [
        ("n", &*count.to_string()),
        ("healthy", &*healthy),
        ("found", &*found),
        ("failed", &*failed),
    ];
    format!("{}\n", language.fill(words::MANY, &values))
}

/// The changes, before and after.
pub fn operation(operation: &OperationReport, page: Page) -> String {
    let mut out = String::new();
    line!(out, "\n{BOLD}{}{BOLD:#}", page.say(words::CHANGES));
    for edits in operation
        .edits
        .chunk_by(|one, next| one.reason == next.reason)
    {
        if let Some(edit) = edits.first() {
            line!(out, "  {DIM}{}{DIM:#}", edit.reason);
        }
        if page.terminal {
            out.push_str(&table(edits, page));
        } else {
            for edit in edits {
                line!(out, "    {}", edit.location);
                line!(out, "      {RED}-{RED:#} {}", edit.before);
                line!(out, "      {GREEN}+{GREEN:#} {}", edit.after);
            }
        }
    }
    let extent = extent_in(
        operation.ranges,
        operation.bytes,
        operation.host_operations,
        page.language,
    );
    line!(
        out,
        "  {}",
        page.language.fill(words::ON_TARGET, &[("extent", &extent)])
    );
    out
}

fn table(edits: &[EditReport], page: Page) -> String {
    let head = [words::PLACE, words::BEFORE, words::AFTER].map(|word| page.say(word));
    let rows: Vec<Vec<Cow<'_, str>>> = edits
        .iter()
        .map(|edit| {
            [&edit.location, &edit.before, &edit.after]
                .map(|text| printable(text))
                .to_vec()
        })
        .collect();
    let mut table = layout::table(&head, &rows, page.width);
    table.push('\n');
    table
}

/// How much of the target an operation changes.
pub fn extent(ranges: u64, bytes: u64, host_operations: u64) -> String {
    extent_in(ranges, bytes, host_operations, Language::English)
}

pub(super) fn extent_in(
    ranges: u64,
    bytes: u64,
    host_operations: u64,
    language: Language,
) -> String {
    let text = if ranges == 1 {
        words::RANGE
    } else {
        words::RANGES
    };
    let values = [("bytes", &*size(bytes)), ("n", &*ranges.to_string())];
    let bytes = language.fill(text, &values);
    let host = language.count(host_operations, words::HOST_SET, words::HOST_SETS);
    match (ranges, host_operations) {
        (_, 0) => bytes,
        (0, _) => host,
        (_, _) => format!("{bytes}, {host}"),
    }
}

/// What remains after a repair and what cures it, how to take the repair back, and the last line.
pub fn conclusion(report: &Report, undo: Option<&str>, page: Page) -> String {
    let language = page.language;
    let mut out = String::from("\n");
    let mut remaining = 0;
    for finding in &report.findings {
        if finding.severity == Severity::Notice {
            continue;
        }
        remaining += 1;
        let cure = match finding.fixes.as_slice() {
            [] => language.say(words::NOT_CURABLE).to_owned(),
            _ => language.fill(words::CURED_BY, &[("fixes", &fixes(finding, language))]),
        };
        let values = [
            ("title", language.say(finding.title)),
            ("id", finding.id),
            ("cure", &cure),
        ];
        line!(out, "{}", language.fill(words::REMAINS, &values));
    }
    out.push_str(&commands(report, page));
    if let Some(command) = undo {
        line!(
            out,
            "{}",
            language.fill(words::UNDO, &[("command", command)])
        );
    }
    let left = match remaining {
        0 => language.say(words::NOTHING_LEFT).to_owned(),
        count => language.count(count, words::LEFT_ONE, words::LEFT),
    };
    let line = repaired(report, &left, language);
    line!(
        out,
        "{}",
        super::summary::with_next(&line, report, language)
    );
    out
}

fn repaired(report: &Report, left: &str, language: Language) -> String {
    let mut values = vec![("path", report.target.path.as_str()), ("left", left)];
    let Some(operation) = &report.operation else {
        return language.fill(words::NOTHING_TO_CHANGE, &values);
    };
    let number = operation.edits.len() as u64;
    let changes = language.count(number, words::CHANGE_ONE, words::CHANGE_MANY);
    values.push(("changes", &changes));
    match &operation.id {
        None => language.fill(words::DRY_RUN_DONE, &values),
        Some(id) => {
            values.push(("id", id));
            language.fill(words::REPAIRED, &values)
        }
    }
}

#[cfg(test)]
mod tests;
