// SPDX-License-Identifier: GPL-2.0-or-later
//! What a person reads.

use unicode_width::UnicodeWidthStr;

use super::*;
use crate::checks::{CHECKS, Diagnosis, Problem};
use crate::error::Error;
use crate::report::{CureCommand, OperationReport, last_line};

fn problem(id: &str) -> &'static Problem {
    let problems = CHECKS.iter().flat_map(|check| check.problems);
    problems
        .copied()
        .find(|problem| problem.id == id)
        .expect("a known problem")
}

/// A report of these problems.
fn report(ids: &[&str]) -> Report {
    let mut report = Report::failed("disk.vhdx", &Error::unsupported("", ""));
    report.error = None;
    let findings = ids
        .iter()
        .map(|id| problem(id).found(&["source"], Vec::new()));
    report.set_diagnosis(Diagnosis {
        findings: findings.collect(),
        ..Diagnosis::default()
    });
    report
}

fn summary(ids: &[&str]) -> String {
    report(ids).summary.expect("a summary")
}

#[test]
fn the_summary_is_the_leading_finding_and_what_else_there_is() {
    assert_eq!(
        summary(&["tls.disabled"]),
        "TLS 1.2 is disabled for servers"
    );
    assert_eq!(
        summary(&["tls.disabled", "nla.invalid"]),
        "TLS 1.2 is disabled for servers; also: Network Level Authentication has an invalid setting"
    );
    assert_eq!(
        summary(&[
            "tls.disabled",
            "nla.invalid",
            "rdp-enable.off",
            "tls.unclear"
        ]),
        "TLS 1.2 is disabled for servers; also: 2 more faults, 1 risk"
    );
    assert_eq!(
        summary(&["rdp-enable.key-missing"]),
        "The key of Terminal Services is missing; coldfix has no fix for it"
    );
    assert_eq!(
        summary(&["tls.unclear"]),
        "Nothing prevents Remote Desktop for certain; suspected: A value cannot be judged; coldfix has no fix for it"
    );
    let healthy = "Nothing on this disk prevents Remote Desktop; look outside it next";
    assert_eq!(summary(&[]), healthy);
    assert_eq!(summary(&["group-policy.held"]), healthy);
}

#[test]
fn a_sentence_of_the_evidence_takes_the_place_of_the_title() {
    let mut finding = problem("rdp-enable.off").found(&[], Vec::new());
    finding.sentence =
        Some("Remote Desktop is switched off by Group Policy; the local setting is right");
    let mut report = report(&[]);
    report.set_diagnosis(Diagnosis {
        findings: vec![finding],
        ..Diagnosis::default()
    });
    let line = last_line(&report, Language::Japanese);
    assert!(line.contains("グループ ポリシーでオフ"), "{line}");
}

#[test]
fn the_last_line_stands_alone_and_stays_short() {
    let mut report = report(&["tls.disabled"]);
    let command = |command: &str| CureCommand {
        severity: Severity::Broken,
        findings: vec!["tls.disabled"],
        command: command.to_owned(),
    };
    report.commands = vec![command("coldfix repair disk.vhdx --fix tls")];
    assert_eq!(
        last_line(&report, Language::English),
        "disk.vhdx: broken (1 fault): TLS 1.2 is disabled for servers; next: coldfix repair disk.vhdx --fix tls"
    );
    // A command is there whole or not at all.
    report.commands = vec![command(&"x".repeat(150))];
    assert_eq!(
        last_line(&report, Language::English),
        "disk.vhdx: broken (1 fault): TLS 1.2 is disabled for servers"
    );
    report.target.path = "p".repeat(300);
    for language in [Language::English, Language::Japanese] {
        assert_eq!(last_line(&report, language).chars().count(), 200);
    }
}

#[test]
fn a_name_with_line_breaks_stays_on_its_line() {
    let mut report = report(&[]);
    report.target.path = "a\nhealthy\u{1b}[2J".to_owned();
    let text = diagnosis(&report, Page::default());
    assert!(!text.contains("a\nhealthy") && !text.contains("\u{1b}[2J"));
    assert!(text.contains("a\\u{a}healthy\\u{1b}[2J"));
}

#[test]
fn prose_fits_every_width_in_both_languages() {
    let all: Vec<&str> = CHECKS
        .iter()
        .flat_map(|check| check.problems)
        .map(|problem| problem.id)
        .collect();
    let report = report(&all);
    for language in [Language::English, Language::Japanese] {
        for width in [60, 80, 100, 160] {
            let page = Page {
                width,
                terminal: true,
                language,
            };
            let text = anstream::adapter::strip_str(&diagnosis(&report, page)).to_string();
            for line in text.lines() {
                // Titles carry their id behind them; the last line is for machines.
                let prose = line.starts_with("         ")
                    && !line.contains(['[', '`'])
                    && !line.contains("--");
                let unbroken = line.split_whitespace().any(|word| word.width() > 40);
                if prose && !unbroken {
                    assert!(line.width() <= width, "{width}: {line}");
                }
            }
        }
    }
}

fn an_operation() -> OperationReport {
    OperationReport {
        id: None,
        edits: vec![EditReport {
            kind: "set-value",
            location: r"HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001\Services\TermService\Start"
                .to_owned(),
            before: "REG_DWORD 0x4".to_owned(),
            after: "REG_DWORD 0x3".to_owned(),
            reason: "services".to_owned(),
        }],
        ranges: 1,
        bytes: 512,
        host_operations: 0,
        journal: None,
        verified: true,
    }
}

#[test]
fn changes_are_a_table_on_a_terminal_and_lines_elsewhere() {
    let lines =
        anstream::adapter::strip_str(&operation(&an_operation(), Page::default())).to_string();
    assert!(
        lines.contains("\n      - REG_DWORD 0x4\n      + REG_DWORD 0x3\n"),
        "{lines}"
    );
    assert!(
        lines.contains("512 bytes in 1 range on the target"),
        "{lines}"
    );
    let page = Page {
        width: 70,
        terminal: true,
        language: Language::Japanese,
    };
    let table = anstream::adapter::strip_str(&operation(&an_operation(), page)).to_string();
    let row = |text: &str| {
        table
            .lines()
            .any(|line| line.contains(text) && line.contains('│'))
    };
    assert!(row("変更前") && row("REG_DWORD 0x4"), "{table}");
    assert!(table.lines().all(|line| line.width() <= 70), "{table}");
}

#[test]
fn a_healthy_disk_sends_one_outside_and_a_broken_one_does_not() {
    let outside = "Where to look outside this disk";
    let healthy = diagnosis(&report(&[]), Page::default());
    assert!(healthy.contains(outside) && healthy.contains("network security group"));
    assert!(healthy.contains("Looked at and healthy"));
    assert!(!diagnosis(&report(&["tls.disabled"]), Page::default()).contains(outside));
}
