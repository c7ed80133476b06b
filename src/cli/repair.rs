// SPDX-License-Identifier: GPL-2.0-or-later
//! `coldfix repair`: diagnose, show the plan, ask, apply, verify, print the undo command.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::operation::Session;
use super::output::{Format, Output, write_file_with};
use super::typed;
use super::{Common, FINDINGS, HEALTHY, Writing, secret};
use crate::checks::{self, Facts, Finding, PRESETS, Severity};
use crate::edit::Edit;
use crate::error::{Error, Result};
use crate::permissions;
use crate::plan::{Plan, Step};
use crate::report::{Report, Verdict, html, text};
use crate::windows::Installation;

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
    /// Read the new password for --fix password=NAME from this file descriptor (its first line), instead of the
    /// environment variable COLDFIX_PASSWORD or the terminal
    #[arg(long, value_name = "N")]
    password_fd: Option<u32>,
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
    installation.registry.load();
    let mut report = Report::new(&session.target);
    report.add_installation(&session.target, &installation);

    let now = session.now.timestamp();
    let secrets = secret::Source::new(arguments.password_fd);
    let of_files = is_of_files(arguments, saved.as_ref());
    let (facts, checks::Diagnosis { findings, .. }) = look(&installation, now, of_files)?;
    let facts = facts.with_secrets(&secrets);
    report.events = checks::timeline(&facts, &findings);
    let Wanted {
        edits,
        command,
        listing,
    } = match &saved {
        Some(plan) => {
            plan.check_unchanged(&installation)?;
            let edits = plan
                .steps
                .iter()
                .map(|step| (step.edit.clone(), step.reason.clone()))
                .collect();
            Wanted {
                edits,
                command: "repair --plan".to_owned(),
                listing: None,
            }
        }
        None => wanted(arguments, &facts, &findings, &mut report)?,
    };
    if output.is_text() {
        output.text(&text::header(&report, output.page()))?;
        output.text(&text::findings(&findings, output.page()))?;
    }
    let steps = session.apply(&mut installation, &edits);
    let steps = steps.map_err(|error| match saved {
        // A plan may name what is not on this disk, and the reader of files cannot know that it is one that asks.
        Some(_) if error.hint().is_none() => error.with_hint(
            "applying the plan",
            "check what it names; make it again with --dry-run --plan-out",
        ),
        _ => error,
    })?;
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
    let mut repaired = again.installation(partition)?;
    // Verification has compared the stored hives with the files, and the others were not touched: none needs to be read again,
    // unless files were replaced, which may be hives.
    if steps.iter().all(|step| step.edit.file().is_none()) {
        repaired.registry.take(installation.registry);
    }
    if let (Some(folder), Some(operation)) = (&listing, &done.operation) {
        let place = match (output.file(), &operation.journal) {
            (Some(file), _) => Some(file.to_owned()),
            (None, Some(journal)) => Some(PathBuf::from(journal)),
            (None, None) => None,
        };
        let note = match place {
            Some(place) => listings(&place, folder, &repaired, &steps)?,
            None => "the permissions before and after are listed in files beside the report when -o FILE names one"
                .to_owned(),
        };
        report.notes.push(note);
    }
    report.set_diagnosis(look(&repaired, now, of_files)?.1);
    report.operation = done.operation;
    report.commands = typed::cures(&session.target.path, common, &report.findings);
    let undo = report.operation.as_ref().and_then(|operation| {
        let id = operation.id.as_ref()?;
        Some(session.undo_command(id))
    });
    let page = output.page();
    match output.format() {
        Format::Text => {
            for note in report.notes.iter().skip(notes_before) {
                output.text(&format!("\nnote: {note}\n"))?;
            }
            output.text(&text::conclusion(&report, undo.as_deref(), page))?;
        }
        Format::Json | Format::Jsonl => output.json(&report)?,
        Format::Html => {
            let repair = html::Repair {
                before: &findings,
                undo: undo.as_deref(),
            };
            let page = html::page(&report, Some(&repair), page.language);
            output.bytes(page.as_bytes())?;
        }
    }
    // What was asked for by name is done and verified; other findings are shown, and are for the next run.
    let named = saved.is_some() || !arguments.fix.is_empty() || !arguments.preset.is_empty();
    Ok(if named || report.verdict == Verdict::Healthy {
        HEALTHY
    } else {
        FINDINGS
    })
}

/// Whether nothing but files is looked at and changed, so that it can be done where SYSTEM cannot be read.
fn is_of_files(arguments: &Arguments, saved: Option<&Plan>) -> bool {
    if let Some(plan) = saved {
        return plan.steps.iter().all(|step| step.edit.file().is_some());
    }
    let mut fixes = arguments.fix.iter();
    arguments.preset.is_empty()
        && !arguments.fix.is_empty()
        && fixes.all(|fix| checks::fix(fix).is_ok_and(|(fix, _)| fix.is_of_files()))
}

/// What is known of an installation, and what is wrong with it. Where SYSTEM cannot be read, that is an error unless
/// nothing but files is asked for.
fn look(
    installation: &Installation,
    now: Timestamp,
    of_files: bool,
) -> Result<(Facts<'_>, checks::Diagnosis)> {
    match Facts::gather(installation, now) {
        Ok(facts) => {
            let diagnosis = checks::diagnose(&facts);
            Ok((facts, diagnosis))
        }
        Err(_) if of_files => Ok((
            Facts::of_files(installation, now),
            checks::diagnose_files(installation),
        )),
        Err(error) => Err(error),
    }
}

/// Lists the permissions of `folder` and everything in it, before and after, in two files beside `place`.
fn listings(place: &Path, folder: &str, repaired: &Installation, steps: &[Step]) -> Result<String> {
    // What the steps found is what was there before; everything else is still the same.
    let inverse = steps.iter().rev().flat_map(|step| &step.inverse);
    let mut before: HashMap<&str, &[u8]> = HashMap::new();
    for edit in inverse {
        if let Edit::SetSecurity { groups } = edit {
            for group in groups {
                let paths = group.paths.iter();
                before.extend(paths.map(|path| (path.as_str(), group.descriptor.0.as_slice())));
            }
        }
    }
    let names = repaired.names();
    let listed = permissions::list(repaired.volume.as_ref(), folder, true)?;
    let file = |when: &str| place.with_extension(format!("permissions-{when}.txt"));
    let (old, new) = (file("before"), file("after"));
    let write = |file: &Path, before: Option<&HashMap<&str, &[u8]>>| {
        write_file_with(file, |out| {
            let lines = listed.iter().map(|listed| {
                let (path, now) = listed.line();
                let then = before.and_then(|before| before.get(path).copied());
                (path, then.map_or(now, Ok))
            });
            permissions::write_listing(lines, &names, out).map(drop)
        })
    };
    // They are long where there are many files, and do not depend on each other.
    let (first, second) = rayon::join(|| write(&old, Some(&before)), || write(&new, None));
    first.and(second)?;
    Ok(format!(
        "the permissions before and after are listed in {} and {}",
        old.display(),
        new.display()
    ))
}

/// What was asked for.
struct Wanted {
    /// The edits to make, each with its reason.
    edits: Vec<(Edit, String)>,
    /// What the journal calls the operation.
    command: String,
    /// A folder whose permissions are to be listed before and after.
    listing: Option<String>,
}

/// The edits that the arguments ask for, or that cure what was found.
fn wanted(
    arguments: &Arguments,
    facts: &Facts<'_>,
    findings: &[Finding],
    report: &mut Report,
) -> Result<Wanted> {
    let mut wanted = Wanted {
        edits: Vec::new(),
        command: String::from("repair"),
        listing: None,
    };
    let command = &mut wanted.command;
    // Each with the preset that may do without it.
    let mut fixes: Vec<(&str, Option<&str>)> = Vec::new();
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
        let optional = |fix: &str| preset.where_possible.contains(&fix).then_some(preset.name);
        fixes.extend(preset.fixes.iter().map(|fix| (*fix, optional(fix))));
        for left_out in preset.left_out {
            report.notes.push(format!(
                "preset {name}: this version does not do {left_out}"
            ));
        }
    }
    for fix in &arguments.fix {
        command.push_str(&format!(" --fix {fix}"));
        fixes.push((fix, None));
    }
    for (fix, optional) in fixes {
        match (propose(fix, facts, &mut wanted, report), optional) {
            (Ok(()), _) => {}
            (Err(error), Some(preset)) => {
                report
                    .notes
                    .push(format!("preset {preset}: {fix} is left out: {error}"));
            }
            (Err(error), None) => return Err(error),
        }
    }
    if arguments.fix.is_empty() && arguments.preset.is_empty() {
        for finding in findings {
            // A risk may be somebody's wish, so its cure is asked for by name. A fault's goes to every control set
            // that has it.
            if finding.severity == Severity::Broken {
                let cure = finding.cure.iter();
                let edits = cure.map(|edit| (edit.clone(), finding.id.to_owned()));
                wanted.edits.extend(edits);
            }
        }
    }
    Ok(wanted)
}

fn propose(
    argument: &str,
    facts: &Facts<'_>,
    wanted: &mut Wanted,
    report: &mut Report,
) -> Result<()> {
    let (fix, value) = checks::fix(argument)?;
    let proposal = (fix.edits)(facts, value)?;
    facts.remember(&proposal.edits);
    if proposal.listing.is_some() {
        wanted.listing = proposal.listing;
    }
    wanted.edits.extend(
        proposal
            .edits
            .into_iter()
            .map(|edit| (edit, argument.to_owned())),
    );
    let named = |text: String| format!("{argument}: {text}");
    report.notes.extend(proposal.notes.into_iter().map(named));
    report
        .lowers_security
        .extend(proposal.lowers_security.into_iter().map(named));
    Ok(())
}
