// SPDX-License-Identifier: GPL-2.0-or-later
//! Reports as one page that needs no network: for one target or for many, on a screen, light or dark, or on paper.
//!
//! What a disk holds is hostile. The template escapes every text; a content security policy forbids scripts, pictures
//! and every load, and lets no style but the page's own (by its hash) apply.

use base64::Engine;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::clones::Clones;
use super::language::Language;
use super::{EditReport, OperationReport, Report, Verdict, summary, text, words};
use crate::checks::{Finding, Severity};
use crate::windows::value::printable;

mod map;
mod timeline;

const STYLE: &str = include_str!("style.css");

/// What a page of a repair tells beside what is left.
#[derive(Debug)]
pub struct Repair<'a> {
    /// What was found before it.
    pub before: &'a [Finding],
    /// The command that takes it back.
    pub undo: Option<&'a str>,
}

/// A line of the overview of many targets.
#[derive(Debug)]
pub struct Row {
    path: String,
    verdict: Verdict,
    sentence: String,
}

impl Row {
    /// The line of a report, its sentence in the language of the page.
    pub fn new(report: &Report, language: Language) -> Row {
        Row {
            path: report.target.path.clone(),
            verdict: report.verdict,
            sentence: summary::sentence(report, language),
        }
    }
}

/// The page of one target.
pub fn page(report: &Report, repair: Option<&Repair<'_>>, language: Language) -> String {
    let mut out = begin(language);
    out.push_str(&article(report, repair, language));
    out.push_str(&end(&[], None, language));
    out
}

/// The beginning of a page, up to the first article.
pub fn begin(language: Language) -> String {
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'"
    );
    let title = language.say(words::PAGE_TITLE);
    let head = html! {
        head {
            meta charset="utf-8";
            meta http-equiv="Content-Security-Policy" content=(policy);
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="referrer" content="no-referrer";
            title { (title) }
            style { (PreEscaped(STYLE)) }
        }
    };
    let doctype = DOCTYPE.into_string();
    let code = language.code();
    let heading = html! { h1 { (title) } };
    format!(
        "{doctype}\n<html lang=\"{code}\">{}<body><main>{}",
        head.into_string(),
        heading.into_string()
    )
}

/// The end of a page, with an overview where it holds several targets.
pub fn end(rows: &[Row], clones: Option<&Clones>, language: Language) -> String {
    let say = |text| language.say(text);
    let overview = html! {
        @if let Some(clones) = clones {
            section {
                h3 { (say(words::CLONES_HEADING)) }
                @for group in &clones.groups {
                    p {
                        (label(group.severity, language)) " "
                        (language.fill(words::SAME_SID, &[
                            ("n", &group.targets.len().to_string()),
                            ("sid", &group.machine_sid),
                        ]))
                    }
                    p { (say(group.cause)) }
                    ul { @for target in &group.targets { li { (disk(target)) } } }
                }
            }
        }
        @if !rows.is_empty() {
            section {
                h3 { (say(words::OVERVIEW)) }
                table {
                    thead { tr {
                        th scope="col" { (say(words::TARGET)) }
                        th scope="col" { (say(words::VERDICT)) }
                        th scope="col" { (say(words::SUMMARY)) }
                    } }
                    tbody { @for row in rows { tr {
                        td { (disk(&row.path)) }
                        td { strong class=(class(row.verdict)) { (say(row.verdict.word())) } }
                        td { (disk(&row.sentence)) }
                    } } }
                }
            }
        }
        footer { (language.fill(words::MADE_BY, &[("version", env!("CARGO_PKG_VERSION"))])) }
    };
    format!("{}</main></body></html>\n", overview.into_string())
}

/// All of one target.
pub fn article(report: &Report, repair: Option<&Repair<'_>>, language: Language) -> String {
    let say = |text| language.say(text);
    let serious = report
        .findings
        .iter()
        .any(|finding| finding.severity > Severity::Notice);
    let markup = html! {
        article {
            h2 { (disk(&report.target.path)) }
            @if report.summary.is_some() {
                p class={ "verdict " (class(report.verdict)) } {
                    strong { (say(report.verdict.word())) }
                    span { (disk(&summary::sentence(report, language))) }
                }
            }
            (facts(report, language))
            @if let Some(hint) = report.error.as_ref().and_then(|error| error.hint.as_ref()) {
                p class="lead" { (disk(&language.fill(words::NEXT, &[("hint", hint)]))) }
            }
            @if !report.commands.is_empty() {
                h3 { (say(words::COMMANDS)) }
                @for command in &report.commands {
                    p class="lead" { (say(text::cures(command.severity))) }
                    pre { code { (printable(&command.command)) } }
                }
                @if text::can_be_tried(report) {
                    p class="quiet" { (say(words::DRY_RUN)) }
                }
            }
            @if let Some(operation) = &report.operation {
                (changes(operation, language))
            }
            @if let Some(repair) = repair {
                @if let Some(undo) = repair.undo {
                    p { (say(words::TAKE_BACK)) }
                    pre { code { (printable(undo)) } }
                }
                (before(repair.before, &report.findings, language))
            }
            @for severity in [Severity::Broken, Severity::Risk, Severity::Notice] {
                (findings(&report.findings, severity, language))
            }
            @if report.summary.is_some() && report.error.is_none() && !serious {
                h3 { (say(words::OUTSIDE)) }
                ul { @for place in text::outside() { li { (say(place)) } } }
            }
            (map::section(report, language))
            (timeline::section(&report.events, language))
            @if !report.healthy.is_empty() {
                h3 { (say(words::LOOKED_AT)) }
                ul class="columns" { @for check in &report.healthy { li { (say(check.title)) } } }
            }
            @for (hive, titles) in report.skipped_by_hive() {
                h3 { (language.fill(words::NOT_LOOKED_AT, &[("hive", hive)])) }
                ul class="columns" { @for title in titles { li { (say(title)) } } }
            }
        }
    };
    markup.into_string()
}

/// A text that a disk, or the host, has given: on one line, and with its own direction of writing.
fn disk(text: &str) -> Markup {
    html! { bdi { (printable(text)) } }
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Healthy => "healthy",
        Verdict::AtRisk => "risk",
        Verdict::Broken | Verdict::Error => "broken",
    }
}

fn severity_class(severity: Severity) -> &'static str {
    match severity {
        Severity::Broken => "broken",
        Severity::Risk => "risk",
        Severity::Notice => "notice",
    }
}

fn label(severity: Severity, language: Language) -> Markup {
    let (label, _) = text::severity_words(severity);
    html! { span class={ "label " (severity_class(severity)) } { (language.say(label)) } }
}

/// What was looked at, and what was noticed on the way.
fn facts(report: &Report, language: Language) -> Markup {
    let say = |text| language.say(text);
    let target = &report.target;
    html! {
        dl {
            @if let Some(container) = &target.container {
                dt { (say(words::CONTAINER)) } dd { (disk(container)) }
            }
            @if let Some(size) = target.size {
                dt { (say(words::SIZE)) } dd { (text::size(size)) }
            }
            @if let Some(id) = &target.disk_id {
                dt { (say(words::DISK_ID)) } dd { code { (disk(id)) } }
            }
            @for line in text::installations(report, language) {
                dt { (say(words::WINDOWS)) } dd { (disk(&line)) }
            }
            @for installation in &report.installations {
                @if let Some(sid) = &installation.machine_sid {
                    dt { (say(words::MACHINE_SID)) } dd { code { (disk(sid)) } }
                }
            }
            @for note in &report.notes {
                dt { (say(words::NOTE)) } dd { (disk(note)) }
            }
            @for sentence in &report.lowers_security {
                dt class="risk" { (say(words::CAUTION)) }
                dd { (disk(&language.fill(words::LOWERS_SECURITY, &[("sentence", sentence)]))) }
            }
        }
    }
}

/// The findings of one severity.
fn findings(findings: &[Finding], severity: Severity, language: Language) -> Markup {
    let say = |text| language.say(text);
    let (_, heading) = text::severity_words(severity);
    let findings: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.severity == severity)
        .collect();
    html! {
        @if !findings.is_empty() {
            h3 { (say(heading)) }
            @for finding in findings {
                section class={ "finding " (severity_class(severity)) } {
                    header {
                        (label(severity, language))
                        h4 { (say(finding.title)) }
                        code class="quiet" { (finding.id) }
                    }
                    p { (text::cause(finding, language)) }
                    (evidence(finding, language))
                    @if !finding.fixes.is_empty() {
                        p { (say(words::CURE)) ": " code { (text::fixes(finding, language)) } }
                    }
                    @for source in &finding.source {
                        p class="quiet source" {
                            (say(words::SOURCE)) ": "
                            @if source.starts_with("https://") {
                                a href=(source) rel="noreferrer" { (source) }
                            } @else { (source) }
                        }
                    }
                }
            }
        }
    }
}

fn evidence(finding: &Finding, language: Language) -> Markup {
    let say = |text| language.say(text);
    html! {
        @if !finding.evidence.is_empty() {
            table class="changes" {
                thead { tr {
                    th scope="col" { (say(words::PLACE)) }
                    th scope="col" { (say(words::FOUND)) }
                    th scope="col" { (say(words::EXPECTED)) }
                } }
                tbody { @for evidence in &finding.evidence { tr {
                    td { code { (disk(&evidence.location)) } }
                    td { code { (disk(&evidence.found)) } }
                    td { code { (disk(&evidence.expected)) } }
                } } }
            }
        }
    }
}

/// What an operation changed, before and after.
fn changes(operation: &OperationReport, language: Language) -> Markup {
    let say = |text| language.say(text);
    let extent = text::extent_in(
        operation.ranges,
        operation.bytes,
        operation.host_operations,
        language,
    );
    let row = |edit: &EditReport| {
        html! { tr {
            td { code { (disk(&edit.location)) } br; span class="quiet" { (disk(&edit.reason)) } }
            td { code { (disk(&edit.before)) } }
            td { code { (disk(&edit.after)) } }
        } }
    };
    html! {
        h3 { (say(words::CHANGES)) }
        p class="quiet" {
            (language.fill(words::ON_TARGET, &[("extent", &extent)])) br;
            @if operation.id.is_none() { (say(words::NOTHING_WRITTEN)) }
            @else if operation.verified { (say(words::READ_BACK)) }
        }
        table class="changes" {
            thead { tr {
                th scope="col" { (say(words::PLACE)) }
                th scope="col" { (say(words::BEFORE)) }
                th scope="col" { (say(words::AFTER)) }
            } }
            tbody { @for edit in &operation.edits { (row(edit)) } }
        }
    }
}

/// What was found before a repair, and what became of it.
fn before(before: &[Finding], after: &[Finding], language: Language) -> Markup {
    let say = |text| language.say(text);
    html! {
        @if !before.is_empty() {
            h3 { (say(words::FOUND_BEFORE)) }
            table {
                thead { tr {
                    th scope="col" { (say(words::SEVERITY)) }
                    th scope="col" { (say(words::FINDING)) }
                    th scope="col" { (say(words::AFTERWARDS)) }
                } }
                tbody { @for finding in before { tr {
                    td { (label(finding.severity, language)) }
                    td { (say(finding.title)) " " code class="quiet" { (finding.id) } }
                    td {
                        @if after.iter().any(|left| left.id == finding.id) { (say(words::STILL_THERE)) }
                        @else { span class="healthy" { (say(words::GONE)) } }
                    }
                } } }
            }
        }
    }
}

#[cfg(test)]
mod tests;
