// SPDX-License-Identifier: GPL-2.0-or-later
//! `coldfix undo`: an operation taken back, bit for bit; or with `--revert` edit by edit, after Windows has
//! run.

use std::path::PathBuf;

use super::operation::{Session, ask};
use super::output::Output;
use super::{Common, FINDINGS, HEALTHY, REFUSED, Writing};
use crate::commit::{self, Entry, Status};
use crate::error::{Error, Result};
use crate::plan::{self, Step};
use crate::report::{OperationReport, Report, text};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Disk or volume image, block device or folder
    target: PathBuf,
    /// The operation, as `coldfix log` lists it; the latest one when left out
    id: Option<String>,
    /// Take back the logical edits one by one, where Windows has run since and moved things
    #[arg(long)]
    revert: bool,
    #[command(flatten)]
    writing: Writing,
}

pub(super) fn run(
    common: &Common,
    arguments: &Arguments,
    output: &mut Output,
) -> anyhow::Result<u8> {
    if arguments.writing.output.is_some() {
        return Err(Error::refused(
            "undo takes an operation back where it was done, not in a new disk",
            "leave --output out; or throw the new disk away and keep the one that it was made of",
        )
        .into());
    }
    let mut session = Session::open(common, &arguments.writing, &arguments.target)?;
    let entry = choose(&session, arguments.id.as_deref())?;
    if arguments.revert {
        return revert(common, &mut session, &entry, output);
    }
    let id = entry.header.id.clone();
    let path = session.target.path.display().to_string();
    if output.is_text() {
        output.text(&format!(
            "{id}: {} of {}: {} go back to what they were\n",
            entry.header.command,
            entry.header.started,
            text::extent(entry.ranges, entry.bytes, entry.operations)
        ))?;
    }
    let Some(locked) = session.locked() else {
        let (identity, mut sink) = (session.target.identity(), session.target.sink());
        commit::check_undo(session.dir(), &id, &identity, sink.as_mut())?;
        let summary = format!(
            "{path}: dry run, operation {id} can be undone, bit for bit; nothing was written"
        );
        if output.is_text() {
            output.text(&format!("{}\n", text::shorten(&summary)))?;
        } else {
            let mut report = Report::new(&session.target);
            report.notes.push("dry run: nothing was written".to_owned());
            report.operation = Some(OperationReport {
                id: None,
                edits: Vec::new(),
                ranges: entry.ranges,
                bytes: entry.bytes,
                host_operations: entry.operations,
                journal: None,
                verified: true,
            });
            output.json(&report)?;
        }
        return Ok(HEALTHY);
    };
    if !arguments.writing.yes && !ask("Take this operation back?")? {
        output.remark("nothing was written\n")?;
        return Ok(REFUSED);
    }
    let header = session.header(&format!("undo {id}"), None)?;
    let mut sink = session.target.sink();
    let committed = commit::undo(locked, &id, header, sink.as_mut(), &mut |_| {})?;
    output.set_written(
        format!("operation {id} is undone, bit for bit, and read back"),
        "the target is as it was before that operation".to_owned(),
    );
    if output.is_text() {
        output.text(&text::shorten(&format!(
            "{path}: operation {id} is undone, bit for bit, and read back; this undo is operation {}",
            committed.id
        )))?;
        output.text("\n")?;
    } else {
        let mut report = Report::new(&session.target);
        report.operation = Some(OperationReport {
            id: Some(committed.id),
            edits: Vec::new(),
            ranges: committed.ranges,
            bytes: committed.bytes,
            host_operations: committed.operations,
            journal: Some(committed.journal.display().to_string()),
            verified: true,
        });
        output.json(&report)?;
    }
    Ok(HEALTHY)
}

/// The operation to take back: the one named, or the latest that stands and is not itself an undo.
fn choose(session: &Session, id: Option<&str>) -> Result<Entry> {
    let identity = session.target.identity();
    let listing = session.dir().list()?;
    let found = match id {
        Some(id) => listing.on(&identity).find(|entry| entry.header.id == id),
        None => listing.newest_to_undo(&identity),
    };
    found.cloned().ok_or_else(|| {
        let what = match id {
            Some(id) => format!("there is no operation {id} on this target"),
            None => "there is no operation to take back on this target".to_owned(),
        };
        Error::unsupported(
            what,
            format!(
                "the journals were looked for in {}; `coldfix log` lists the operations, --journal-dir names another folder",
                session.dir().path().display()
            ),
        )
    })
}

fn revert(
    common: &Common,
    session: &mut Session,
    entry: &Entry,
    output: &mut Output,
) -> anyhow::Result<u8> {
    let id = &entry.header.id;
    if let Status::Undone { by } = &entry.status {
        return Err(Error::refused(
            format!("operation {id} is already undone, by {by}"),
            "there is nothing to take back; `coldfix log` lists the operations",
        )
        .into());
    }
    if let Some(undone) = &entry.header.undoes {
        return Err(Error::refused(
            format!("operation {id} is itself the undo of {undone}, and holds no edits of its own"),
            "undo it without --revert, which does that operation again, or make the changes anew",
        )
        .into());
    }
    let steps = entry
        .header
        .edits
        .iter()
        .map(|edit| serde_json::from_value::<Step>(edit.clone()))
        .collect::<Result<Vec<Step>, _>>()
        .map_err(|error| {
            Error::unsupported(
                format!("the edits of operation {id} cannot be read: {error}"),
                "use the version of coldfix that made it, or the exact undo",
            )
        })?;
    let mut installation = match steps.iter().all(|step| step.edit.store().is_some()) {
        true => session.target.boot_installation(common.partition)?,
        false => session.target.installation(common.partition)?,
    };
    plan::check_writable(&installation, steps.iter().map(|step| &step.edit))?;
    let command = format!("undo {id} --revert");
    let reverted = plan::revert(&mut installation, &steps, &command, session.now.filetime())?;
    let mut report = Report::new(&session.target);
    report.add_installation(&session.target, &installation);
    report.notes.extend(reverted.left_alone.iter().cloned());
    let done = session.carry_out(
        &mut installation,
        &reverted.steps,
        &command,
        &mut report,
        output,
    )?;
    if done.code != HEALTHY {
        output.remark("nothing was written\n")?;
        return Ok(done.code);
    }
    let taken_back = reverted.steps.len() as u64;
    let operation = done
        .operation
        .as_ref()
        .and_then(|operation| operation.id.clone());
    report.operation = done.operation;
    if output.is_text() {
        for left in &reverted.left_alone {
            output.text(&format!("left alone: {left}\n"))?;
        }
        if let Some(id) = &operation {
            output.text(&format!("undo: {}\n", session.undo_command(id)))?;
        }
        output.text(&text::shorten(&format!(
            "{}: {} {}taken back, {} left alone",
            session.target.path.display(),
            text::count(taken_back, "edit"),
            if operation.is_none() && taken_back > 0 {
                "would be "
            } else {
                ""
            },
            reverted.left_alone.len()
        )))?;
        output.text("\n")?;
    } else {
        output.json(&report)?;
    }
    Ok(if reverted.left_alone.is_empty() {
        HEALTHY
    } else {
        FINDINGS
    })
}
