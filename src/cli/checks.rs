// SPDX-License-Identifier: GPL-2.0-or-later
//! `coldfix checks`: every check, fix and preset explained.

use serde::Serialize;

use super::HEALTHY;
use super::output::Output;
use crate::checks::{CHECKS, FIXES, PRESETS, Severity, Stage};
use crate::error::Error;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// One check, fix or preset; all when left out
    id: Option<String>,
}

#[derive(Serialize)]
struct Item {
    kind: &'static str,
    id: &'static str,
    title: &'static str,
    explanation: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<ProblemItem>,
    #[serde(skip_serializing_if = "str::is_empty")]
    values: &'static str,
    source: Vec<&'static str>,
}

#[derive(Serialize)]
struct ProblemItem {
    id: &'static str,
    title: &'static str,
    severity: Severity,
    stage: Stage,
    trigger: &'static str,
    cause: &'static str,
    fixes: &'static [&'static str],
}

pub(super) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<u8> {
    let mut items: Vec<Item> = Vec::new();
    items.extend(CHECKS.iter().map(|check| {
        Item {
            kind: "check",
            id: check.id,
            title: check.title,
            explanation: format!("Looks at: {} Healthy: {}", check.looks_at, check.healthy),
            problems: check
                .problems
                .iter()
                .map(|problem| ProblemItem {
                    id: problem.id,
                    title: problem.title,
                    severity: problem.severity,
                    stage: problem.stage,
                    trigger: problem.trigger,
                    cause: problem.cause,
                    fixes: problem.fixes,
                })
                .collect(),
            values: "",
            source: check.source.to_vec(),
        }
    }));
    items.extend(FIXES.iter().map(|fix| Item {
        kind: "fix",
        id: fix.name,
        title: fix.title,
        explanation: fix.explanation.to_owned(),
        problems: Vec::new(),
        values: fix.values,
        source: fix.source.to_vec(),
    }));
    items.extend(PRESETS.iter().map(|preset| {
        let mut explanation = format!("The same as --fix {}.", preset.fixes.join(" --fix "));
        for fix in preset.where_possible {
            explanation.push_str(&format!(
                " {fix} is left out, and told, where it cannot be done."
            ));
        }
        for left_out in preset.left_out {
            explanation.push_str(&format!(" This version does not do {left_out}."));
        }
        Item {
            kind: "preset",
            id: preset.name,
            title: preset.title,
            explanation,
            problems: Vec::new(),
            values: "",
            source: vec![preset.source],
        }
    }));
    if let Some(id) = &arguments.id {
        items.retain(|item| item.id == id || id.split('.').next() == Some(item.id));
        if items.is_empty() {
            return Err(Error::unsupported(
                format!("there is no check, fix or preset named {id:?}"),
                "`coldfix checks` lists them all",
            )
            .into());
        }
    }
    if !output.is_text() {
        output.json(&items)?;
        return Ok(HEALTHY);
    }
    for item in &items {
        let option = match item.kind {
            "fix" => "--fix ",
            "preset" => "--preset ",
            _ => "",
        };
        let mut text = format!("{} {option}{}: {}\n", item.kind, item.id, item.title);
        text.push_str(&format!("  {}\n", item.explanation));
        for problem in &item.problems {
            let severity = format!("{:?}", problem.severity).to_lowercase();
            text.push_str(&format!("  {severity} {}: {}\n", problem.id, problem.title));
            text.push_str(&format!("    when: {}\n", problem.trigger));
            text.push_str(&format!("    means: {}\n", problem.cause));
            if !problem.fixes.is_empty() {
                text.push_str(&format!(
                    "    cure: --fix {}\n",
                    problem.fixes.join(" or --fix ")
                ));
            }
        }
        if !item.values.is_empty() {
            text.push_str(&format!("  takes: {}\n", item.values));
        }
        for source in &item.source {
            text.push_str(&format!("  source: {source}\n"));
        }
        text.push('\n');
        output.text(&text)?;
    }
    output.text(&format!(
        "{} checks, {} fixes, {} presets\n",
        items.iter().filter(|item| item.kind == "check").count(),
        items.iter().filter(|item| item.kind == "fix").count(),
        items.iter().filter(|item| item.kind == "preset").count()
    ))?;
    Ok(HEALTHY)
}
