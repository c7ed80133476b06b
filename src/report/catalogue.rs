// SPDX-License-Identifier: GPL-2.0-or-later
//! `docs/checks.md`: every check, fix and preset as the code has them.

use std::fmt::Write;

use crate::checks::{CHECKS, FIXES, PRESETS, Problem, Severity, Stage};

// Writing to a String cannot fail.
macro_rules! line {
    ($out:expr) => {{ let _ = writeln!($out); }};
    ($out:expr, $($arguments:tt)*) => {{ let _ = writeln!($out, $($arguments)*); }};
}

/// The document.
pub fn markdown() -> String {
    let problems: usize = CHECKS.iter().map(|check| check.problems.len()).sum();
    let mut out = String::new();
    line!(out, "# Checks, fixes and presets\n");
    line!(
        out,
        "Made by `coldfix checks --markdown` from the code; `coldfix checks ID` shows one of them. There are {} checks that can find {problems} problems, {} fixes and {} presets.\n",
        CHECKS.len(),
        FIXES.len(),
        PRESETS.len()
    );
    line!(
        out,
        "A problem is *broken* when it prevents Remote Desktop, a *risk* when it may, a *notice* when it does not. Of equally bad ones the one that stops a connection earliest leads: {}.\n",
        STAGES.map(|(_, name)| name).join(", ")
    );
    line!(out, "## Checks");
    for check in CHECKS {
        line!(out, "\n### {}\n", code(check.id));
        line!(out, "{}.\n", text(check.title));
        line!(out, "Looks at: {}\n", text(check.looks_at));
        line!(out, "Healthy: {}\n", text(check.healthy));
        line!(out, "| problem | when | what it means | cure |");
        line!(out, "|---|---|---|---|");
        for problem in check.problems {
            line!(out, "{}", row(problem));
        }
        sources(&mut out, check.source);
    }
    line!(out, "\n## Fixes");
    for fix in FIXES {
        line!(out, "\n### {}\n", code(&format!("--fix {}", fix.name)));
        line!(out, "{}. {}", text(fix.title), text(fix.explanation));
        if !fix.values.is_empty() {
            line!(out, "\nValues after `=`: {}.", text(fix.values));
        }
        sources(&mut out, fix.source);
    }
    line!(out, "\n## Presets");
    for preset in PRESETS {
        line!(
            out,
            "\n### {}\n",
            code(&format!("--preset {}", preset.name))
        );
        let fixes = preset.fixes.iter().map(|fix| code(fix));
        let fixes: Vec<String> = fixes.collect();
        line!(out, "{}: {}.", text(preset.title), fixes.join(", "));
        for fix in preset.where_possible {
            line!(
                out,
                "\n{} is left out, and told, where it cannot be done.",
                code(fix)
            );
        }
        for left_out in preset.left_out {
            line!(out, "\nThis version does not do {}.", text(left_out));
        }
        sources(&mut out, &[preset.source]);
    }
    out
}

/// In the order in which they stop a connection.
const STAGES: [(Stage, &str); 9] = [
    (Stage::Platform, "platform"),
    (Stage::Start, "start"),
    (Stage::Network, "network"),
    (Stage::Firewall, "firewall"),
    (Stage::Listener, "listener"),
    (Stage::Handshake, "handshake"),
    (Stage::Logon, "logon"),
    (Stage::Session, "session"),
    (Stage::Upkeep, "upkeep"),
];

fn row(problem: &Problem) -> String {
    let severity = match problem.severity {
        Severity::Broken => "broken",
        Severity::Risk => "risk",
        Severity::Notice => "notice",
    };
    let stage = STAGES
        .iter()
        .find(|(stage, _)| *stage == problem.stage)
        .map_or("", |(_, name)| name);
    let cures: Vec<String> = problem
        .fixes
        .iter()
        .map(|fix| code(&format!("--fix {fix}")))
        .collect();
    format!(
        "| {}: {} ({severity}, {stage}) | {} | {} | {} |",
        code(problem.id),
        text(problem.title),
        text(problem.trigger),
        text(problem.cause),
        cures.join(" or ")
    )
}

fn sources(out: &mut String, sources: &[&str]) {
    line!(out);
    for source in sources {
        if source.starts_with("https://") {
            line!(out, "- <{source}>");
        } else {
            line!(out, "- {}", text(source));
        }
    }
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// A text as Markdown shows it: what Markdown would take for itself is escaped outside of back quotes.
fn text(text: &str) -> String {
    let mut out = String::new();
    let mut in_code = false;
    for character in text.chars() {
        if character == '`' {
            in_code = !in_code;
        }
        // A bar ends a cell of a table in code too.
        if character == '|' || (!in_code && "\\*_<>[]".contains(character)) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}
