// SPDX-License-Identifier: GPL-2.0-or-later
//! Reports as text for a person. Colours are escape codes here; the stream they are written to drops them
//! where nobody would see them.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use super::{OperationReport, Report, Verdict};
use crate::checks::{Finding, Severity};
use crate::windows::value::printable;

/// The longest last line: remote runners keep only the tail of the output.
const LONGEST_SUMMARY: usize = 200;
/// Text is wrapped at this column.
const WIDTH: usize = 100;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const GREEN: Style = AnsiColor::Green.on_default().bold();
const CYAN: Style = AnsiColor::Cyan.on_default();

// Writing to a String cannot fail, so the results of write! are dropped throughout.
macro_rules! line {
    ($out:expr, $($arguments:tt)*) => {{ let _ = writeln!($out, $($arguments)*); }};
}

/// What was looked at: target and installations.
pub fn header(report: &Report) -> String {
    let mut out = String::new();
    let target = &report.target;
    let mut facts = vec![
        target
            .container
            .clone()
            .unwrap_or_else(|| "not opened".to_owned()),
    ];
    if let Some(size) = target.size {
        facts.push(self::size(size));
    }
    match target.partitions.len() {
        0 => {}
        1 => facts.push("1 partition".to_owned()),
        count => facts.push(format!("{count} partitions")),
    }
    line!(
        out,
        "{BOLD}Target{BOLD:#}   {} ({})",
        target.path,
        facts.join(", ")
    );
    for installation in &report.installations {
        let release = &installation.release;
        let mut facts = Vec::new();
        facts.extend(release.product_name.clone());
        facts.extend(release.display_version.clone());
        facts.extend(release.build.as_ref().map(|build| format!("build {build}")));
        facts.extend(
            release
                .computer_name
                .as_ref()
                .map(|name| format!("computer {name}")),
        );
        facts.extend(
            installation
                .control_set
                .map(|set| format!("ControlSet{set:03}")),
        );
        let place = match installation.partition {
            Some(number) => format!("{} on partition {number}", installation.windows_directory),
            None => installation.windows_directory.clone(),
        };
        let text = format!("{place}: {}", facts.join(", "));
        line!(out, "{BOLD}Windows{BOLD:#}  {}", printable(&text));
    }
    for note in &report.notes {
        line!(out, "{BOLD}Note{BOLD:#}     {}", wrap(&printable(note), 9));
    }
    for sentence in &report.lowers_security {
        let sentence = format!("this lowers security: {sentence}");
        line!(
            out,
            "{YELLOW}Caution{YELLOW:#}  {}",
            wrap(&printable(&sentence), 9)
        );
    }
    out
}

/// The findings, each with its evidence.
pub fn findings(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let (style, word) = match finding.severity {
            Severity::Broken => (RED, "BROKEN"),
            Severity::Risk => (YELLOW, "RISK"),
            Severity::Notice => (CYAN, "NOTICE"),
        };
        line!(
            out,
            "\n{style}{word:<7}{style:#}  {BOLD}{}{BOLD:#} {DIM}[{}]{DIM:#}",
            finding.title,
            finding.id
        );
        line!(out, "         {}", wrap(&finding.cause.to_string(), 9));
        for evidence in &finding.evidence {
            line!(out, "         {}", printable(&evidence.location));
            line!(out, "           found     {}", printable(&evidence.found));
            line!(
                out,
                "           expected  {}",
                printable(&evidence.expected)
            );
        }
        if !finding.fixes.is_empty() {
            let fixes: Vec<String> = finding
                .fixes
                .iter()
                .map(|fix| format!("--fix {fix}"))
                .collect();
            line!(out, "           cure      {}", fixes.join(" or "));
        }
        if let Some(source) = finding.source.first() {
            line!(out, "           {DIM}source    {source}{DIM:#}");
        }
    }
    out
}

/// The changes, before and after.
pub fn operation(operation: &OperationReport) -> String {
    let mut out = String::new();
    line!(out, "\n{BOLD}Changes{BOLD:#}");
    let mut reason = None;
    for edit in &operation.edits {
        if reason != Some(&edit.reason) {
            line!(out, "  {DIM}{}{DIM:#}", edit.reason);
            reason = Some(&edit.reason);
        }
        line!(out, "    {}", edit.location);
        line!(out, "      {RED}-{RED:#} {}", edit.before);
        line!(out, "      {GREEN}+{GREEN:#} {}", edit.after);
    }
    let extent = extent(operation.ranges, operation.bytes, operation.host_operations);
    line!(out, "  {extent} on the target");
    out
}

/// How much of the target an operation changes.
pub fn extent(ranges: u64, bytes: u64, host_operations: u64) -> String {
    let bytes = format!("{} in {}", size(bytes), count(ranges, "range"));
    let host = format!(
        "{} set by the mounted file system",
        count(host_operations, "permission or name")
    )
    .replace("permission or names", "permissions or names");
    match (ranges, host_operations) {
        (_, 0) => bytes,
        (0, _) => host,
        (_, _) => format!("{bytes}, {host}"),
    }
}

/// The line that stands alone for a diagnosis.
pub fn diagnosis_summary(report: &Report) -> String {
    let path = &report.target.path;
    if let Some(error) = &report.error {
        return shorten(&format!("{path}: {}", error.message));
    }
    let of = |severity| {
        let found = report
            .findings
            .iter()
            .filter(|finding| finding.severity == severity);
        found.count() as u64
    };
    let mut parts = Vec::new();
    for (severity, word) in [
        (Severity::Broken, "fault"),
        (Severity::Risk, "risk"),
        (Severity::Notice, "notice"),
    ] {
        if of(severity) > 0 {
            parts.push(count(of(severity), word));
        }
    }
    let details = if parts.is_empty() {
        "nothing found".to_owned()
    } else {
        parts.join(", ")
    };
    let curable = report
        .findings
        .iter()
        .any(|finding| !finding.cure.is_empty());
    let next = match report.verdict {
        Verdict::Broken if curable => format!("; next: coldfix repair {path}"),
        _ => String::new(),
    };
    shorten(&format!(
        "{path}: {} ({details}){next}",
        report.verdict.word()
    ))
}

/// Cuts a summary to what remote runners keep.
pub fn shorten(text: &str) -> String {
    if text.chars().count() <= LONGEST_SUMMARY {
        return text.to_owned();
    }
    text.chars()
        .take(LONGEST_SUMMARY - 3)
        .chain("...".chars())
        .collect()
}

/// `1 fault`, `2 faults`.
pub fn count(number: u64, word: &str) -> String {
    if number == 1 {
        format!("1 {word}")
    } else {
        format!("{number} {word}s")
    }
}

/// A number of bytes in the unit that suits it.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return count(bytes, "byte");
    }
    let mut value = bytes as f64;
    let mut unit = "KiB";
    for next in UNITS {
        value /= 1024.0;
        unit = next;
        if value < 1024.0 {
            break;
        }
    }
    format!("{value:.1} {unit}")
}

/// Breaks `text` at blanks so that no line passes the width; further lines are indented.
fn wrap(text: &str, indent: usize) -> String {
    let mut out = String::new();
    let mut column = indent;
    for (position, word) in text.split(' ').enumerate() {
        let width = word.chars().count();
        if position > 0 {
            if column + 1 + width > WIDTH {
                out.push('\n');
                out.push_str(&" ".repeat(indent));
                column = indent;
            } else {
                out.push(' ');
                column += 1;
            }
        }
        out.push_str(word);
        column += width;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        assert_eq!(size(1), "1 byte");
        assert_eq!(size(512), "512 bytes");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(64 << 20), "64.0 MiB");
    }

    #[test]
    fn text_wraps_at_blanks() {
        let text = "word ".repeat(40);
        let wrapped = wrap(text.trim_end(), 9);
        assert!(wrapped.lines().all(|line| line.len() <= WIDTH));
        assert_eq!(wrapped.split_whitespace().count(), 40);
    }

    #[test]
    fn summaries_stay_short() {
        assert_eq!(shorten(&"x".repeat(300)).chars().count(), LONGEST_SUMMARY);
    }
}
