// SPDX-License-Identifier: GPL-2.0-or-later
//! `coldfix log`: the operations done on a target.

use std::path::PathBuf;

use serde::Serialize;

use super::opening::{journal_dir, look};
use super::output::Output;
use super::{FINDINGS, HEALTHY};
use crate::commit::{JournalDir, Status};
use crate::error::Result;
use crate::report::text;
use crate::target::Target;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Disk or volume image, block device or folder
    target: PathBuf,
    /// Where the journals lie
    #[arg(long, value_name = "DIR")]
    journal_dir: Option<PathBuf>,
}

#[derive(Serialize)]
struct Log {
    schema: &'static str,
    target: String,
    operations: Vec<Operation>,
    damaged: Vec<Damaged>,
}

#[derive(Serialize)]
struct Operation {
    id: String,
    started: String,
    status: Status,
    command: String,
    undoes: Option<String>,
    edits: usize,
    ranges: u64,
    bytes: u64,
    host_operations: u64,
    journal: String,
}

#[derive(Serialize)]
struct Damaged {
    id: String,
    journal: String,
    error: String,
}

pub(super) fn run(arguments: &Arguments, output: &mut Output) -> anyhow::Result<u8> {
    let target = look(&arguments.target, arguments.journal_dir.as_deref(), true)?;
    let dir = journal_dir(arguments.journal_dir.as_deref(), &target);
    let log = gather(&target, &dir)?;
    let code = if log.damaged.is_empty() {
        HEALTHY
    } else {
        FINDINGS
    };
    if output.is_text() {
        output.text(&print(&log))?;
    } else {
        output.json(&log)?;
    }
    Ok(code)
}

fn gather(target: &Target, dir: &JournalDir) -> Result<Log> {
    let listing = dir.list()?;
    let identity = target.identity();
    let operations = listing
        .on(&identity)
        .map(|entry| Operation {
            id: entry.header.id.clone(),
            started: entry.header.started.clone(),
            status: entry.status.clone(),
            command: entry.header.command.clone(),
            undoes: entry.header.undoes.clone(),
            edits: entry.header.edits.len(),
            ranges: entry.ranges,
            bytes: entry.bytes,
            host_operations: entry.operations,
            journal: entry.journal.display().to_string(),
        })
        .collect();
    let damaged = listing
        .damaged
        .into_iter()
        .map(|damaged| Damaged {
            id: damaged.id,
            journal: damaged.journal.display().to_string(),
            error: damaged.error.to_string(),
        })
        .collect();
    Ok(Log {
        schema: "coldfix.log/1",
        target: identity.path,
        operations,
        damaged,
    })
}

fn print(log: &Log) -> String {
    let mut out = String::new();
    for operation in &log.operations {
        let status = match &operation.status {
            Status::Interrupted => "interrupted".to_owned(),
            Status::Done => "done".to_owned(),
            Status::TakenBack => "taken back after an interruption".to_owned(),
            Status::Undone { by } => format!("undone by {by}"),
        };
        out.push_str(&format!(
            "{}  {status}\n  {}  {} ({}, {})\n",
            operation.id,
            operation.started,
            operation.command,
            text::count(operation.edits as u64, "edit"),
            text::extent(operation.ranges, operation.bytes, operation.host_operations),
        ));
    }
    for damaged in &log.damaged {
        out.push_str(&format!(
            "{}  damaged journal: {}\n",
            damaged.id, damaged.error
        ));
    }
    out.push_str(&text::shorten(&format!(
        "{}: {}",
        log.target,
        text::count(log.operations.len() as u64, "operation")
    )));
    out.push('\n');
    out
}
