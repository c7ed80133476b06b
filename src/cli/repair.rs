// SPDX-License-Identifier: GPL-2.0-or-later
//! `coldfix repair`: diagnose, show the plan, ask, apply, verify, print the undo command.

use std::path::PathBuf;

use super::operation::Session;
use super::output::Output;
use super::{Common, FINDINGS, HEALTHY, Writing};
use crate::checks::{self, Facts, Finding, PRESETS, Severity};
use crate::edit::Edit;
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::report::{Report, Verdict, text};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Disk or volume image, block device or folder
    target: PathBuf,
    /// A fix to apply, NAME or NAME=VALUE; may be repeated. Without --fix, --preset and --plan: whatever
    /// the diagnosis found broken
    #[arg(long, value_name = "NAME[=VALUE]", conflicts_with = "plan")]
    fix: Vec<String>,
    /// A named bundle of fixes; may be repeated. `coldfix checks` lists them
    #[arg(long, value_name = "NAME", conflicts_with = "plan")]
    preset: Vec<String>,
    /// Apply exactly this saved plan, or refuse because the target has changed
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Save the plan as JSON
    #[arg(long, value_name = "FILE")]
    plan_out: Option<PathBuf>,
    #[command(flatten)]
    writing: Writing,
}

pub(super) fn run(
    common: &Common,
    arguments: &Arguments,
    output: &mut Output,
) -> anyhow::Result<u8> {
    let saved = match &arguments.plan {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(Error::io(format!("reading the plan {}", path.display())))?;
            Some(Plan::parse(&text)?)
        }
        None => None,
    };
    let mut session = Session::open(common, &arguments.writing, &arguments.target)?;
    if let Some(plan) = &saved {
        plan.check_disk(session.target.disk_id().as_deref())?;
    }
    let partition = common
        .partition
        .or(saved.as_ref().and_then(|plan| plan.partition));
    let mut installation = session.target.installation(partition)?;
    let mut report = Report::new(&session.target);
    report.add_installation(&session.target, &installation);

    let facts = Facts::gather(&installation)?;
    let findings = checks::diagnose(&facts);
    let (edits, command) = match &saved {
        Some(plan) => {
            plan.check_unchanged(&installation)?;
            let edits = plan
                .steps
                .iter()
                .map(|step| (step.edit.clone(), step.reason.clone()))
                .collect();
            (edits, "repair --plan".to_owned())
        }
        None => wanted(arguments, &facts, &findings, &mut report.notes)?,
    };
    if output.is_text() {
        output.text(&text::header(&report))?;
        output.text(&text::findings(&findings))?;
    }
    let steps = session.apply(&mut installation, &edits)?;
    if let Some(plan) = &saved
        && steps != plan.steps
    {
        return Err(Error::refused(
            "the plan no longer says what it would change",
            "make the plan again with --dry-run --plan-out",
        )
        .into());
    }
    if let Some(file) = &arguments.plan_out {
        session.save_plan(file, &installation, &steps)?;
    }
    let notes_before = report.notes.len();
    let done = session.carry_out(&mut installation, &steps, &command, &mut report, output)?;
    if done.code != HEALTHY {
        output.remark("\nnothing was written\n")?;
        return Ok(done.code);
    }

    // What remains is judged on the result: on the target itself after a commit, in memory otherwise.
    let again = session.target.reopen()?;
    let repaired = again.installation(partition)?;
    report.set_findings(checks::diagnose(&Facts::gather(&repaired)?));
    report.operation = done.operation;
    if output.is_text() {
        for note in report.notes.iter().skip(notes_before) {
            output.text(&format!("\nnote: {note}\n"))?;
        }
        output.text(&conclusion(&session, &report))?;
    } else {
        output.json(&report)?;
    }
    // What was asked for by name is done and verified; other findings are shown, and are for the next run.
    let named = saved.is_some() || !arguments.fix.is_empty() || !arguments.preset.is_empty();
    Ok(if named || report.verdict == Verdict::Healthy {
        HEALTHY
    } else {
        FINDINGS
    })
}

/// The edits to make, each with its reason, and what the journal calls the operation.
fn wanted(
    arguments: &Arguments,
    facts: &Facts<'_>,
    findings: &[Finding],
    notes: &mut Vec<String>,
) -> Result<(Vec<(Edit, String)>, String)> {
    let mut edits = Vec::new();
    let mut command = String::from("repair");
    for name in &arguments.preset {
        let preset = PRESETS
            .iter()
            .find(|preset| preset.name == name)
            .ok_or_else(|| {
                let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
                Error::unsupported(
                    format!("there is no preset named {name:?}"),
                    format!("the presets are: {}", names.join(", ")),
                )
            })?;
        command.push_str(&format!(" --preset {name}"));
        for fix in preset.fixes {
            propose(fix, facts, &mut edits, notes)?;
        }
        for left_out in preset.left_out {
            notes.push(format!(
                "preset {name}: this version does not do {left_out}"
            ));
        }
    }
    for fix in &arguments.fix {
        command.push_str(&format!(" --fix {fix}"));
        propose(fix, facts, &mut edits, notes)?;
    }
    if arguments.fix.is_empty() && arguments.preset.is_empty() {
        for finding in findings {
            // A fault in a fallback control set alone is cured along with the rest.
            if finding.severity >= Severity::Risk {
                let cure = finding.cure.iter();
                edits.extend(cure.map(|edit| (edit.clone(), finding.id.to_owned())));
            }
        }
    }
    Ok((edits, command))
}

fn propose(
    argument: &str,
    facts: &Facts<'_>,
    edits: &mut Vec<(Edit, String)>,
    notes: &mut Vec<String>,
) -> Result<()> {
    let (fix, value) = checks::fix(argument)?;
    let proposal = (fix.edits)(facts, value)?;
    edits.extend(
        proposal
            .edits
            .into_iter()
            .map(|edit| (edit, argument.to_owned())),
    );
    notes.extend(
        proposal
            .notes
            .into_iter()
            .map(|note| format!("{argument}: {note}")),
    );
    Ok(())
}

fn conclusion(session: &Session, report: &Report) -> String {
    let path = &report.target.path;
    let mut out = String::from("\n");
    let remaining: Vec<&Finding> = report
        .findings
        .iter()
        .filter(|finding| finding.severity > Severity::Notice)
        .collect();
    for finding in &remaining {
        let cures: Vec<String> = finding
            .fixes
            .iter()
            .map(|fix| format!("--fix {fix}"))
            .collect();
        let cure = if cures.is_empty() {
            "no fix of coldfix cures it".to_owned()
        } else {
            format!("cured by {}", cures.join(" or "))
        };
        out.push_str(&format!(
            "remains: {} [{}], {cure}\n",
            finding.title, finding.id
        ));
    }
    let left = match remaining.len() {
        0 => "nothing found any more".to_owned(),
        count => format!("{} left", text::count(count as u64, "finding")),
    };
    let summary = match &report.operation {
        None => format!("{path}: nothing to change; {left}"),
        Some(operation) => match &operation.id {
            None => format!(
                "{path}: dry run, {} verified in memory, nothing written; {left}",
                text::count(operation.edits.len() as u64, "change")
            ),
            Some(id) => {
                out.push_str(&format!("undo: {}\n", session.undo_command(id)));
                format!(
                    "{path}: repaired and verified, {}; {left}; operation {id}",
                    text::count(operation.edits.len() as u64, "change")
                )
            }
        },
    };
    out.push_str(&text::shorten(&summary));
    out.push('\n');
    out
}
