// SPDX-License-Identifier: GPL-2.0-or-later
//! `coldfix diagnose`: every check on every target; writes nothing.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rayon::prelude::*;

use super::clock::Now;
use super::output::Output;
use super::{Common, FINDINGS, HEALTHY, opening};
use crate::checks::{self, Facts};
use crate::error::Result;
use crate::report::{Report, text};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Disk or volume images, block devices, folders
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<PathBuf>,
}

pub(super) fn run(
    common: &Common,
    arguments: &Arguments,
    output: &mut Output,
) -> anyhow::Result<u8> {
    let now = Now::read().timestamp();
    if let ([path], true) = (arguments.targets.as_slice(), output.is_text()) {
        // One target, for a person: a failure is an error like any other command's.
        let report = report(path, common, now)?;
        output.text(&print(&report))?;
        return Ok(report.exit_code());
    }
    let reports: Vec<Report> = arguments
        .targets
        .par_iter()
        .map(|path| {
            report(path, common, now)
                .unwrap_or_else(|error| Report::failed(&path.display().to_string(), &error))
        })
        .collect();
    if output.is_text() {
        for report in &reports {
            output.text(&print(report))?;
            output.text("\n")?;
        }
        let bad = reports
            .iter()
            .filter(|report| report.exit_code() == FINDINGS)
            .count();
        let failed = reports
            .iter()
            .filter(|report| report.exit_code() > FINDINGS)
            .count();
        output.text(&format!(
            "{} targets: {} healthy, {bad} with findings, {failed} not judged\n",
            reports.len(),
            reports.len() - bad - failed
        ))?;
    } else {
        output.json_many(&reports)?;
    }
    // The worst of all: an error outweighs a refusal here, a refusal findings.
    Ok(reports
        .iter()
        .map(Report::exit_code)
        .max()
        .unwrap_or(HEALTHY))
}

fn print(report: &Report) -> String {
    let mut out = text::header(report);
    out.push_str(&text::findings(&report.findings));
    if let Some(hint) = report.error.as_ref().and_then(|error| error.hint.as_ref()) {
        out.push_str(&format!("next: {hint}\n"));
    }
    out.push('\n');
    out.push_str(&text::diagnosis_summary(report));
    out.push('\n');
    out
}

/// Diagnoses one target.
fn report(path: &Path, common: &Common, now: Timestamp) -> Result<Report> {
    let target = common.with_store(opening::look(path, None)?);
    let mut report = Report::new(&target);
    report.notes.extend(opening::interrupted_note(&target));
    let installation = target.installation(common.partition)?;
    report.add_installation(&target, &installation);
    if let Err(error) = installation.volume.check_writable() {
        report
            .notes
            .push(format!("a repair would be refused: {error}"));
    }
    let facts = Facts::gather(&installation, now)?;
    report.set_findings(checks::diagnose(&facts));
    report.events = checks::timeline(&facts, &report.findings);
    Ok(report)
}
