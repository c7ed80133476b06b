// SPDX-License-Identifier: GPL-2.0-or-later
//! The way of every command that writes: recover, open, edit in memory, verify, show, ask, commit.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::clock::Now;
use super::output::{Output, write_file};
use super::{Common, HEALTHY, Writing};
use crate::commit::{
    self, JournalDir, LockedDir, OperationHeader, Outcome, Status, TargetIdentity, TargetKind,
};
use crate::container;
use crate::device::Access;
use crate::edit::{Edit, HiveName};
use crate::error::{Error, Result, ResultExt};
use crate::hive::log::State;
use crate::plan::{self, Plan, Step};
use crate::report::{EditReport, OperationReport, Report, text};
use crate::target::Target;
use crate::verify;
use crate::windows::Installation;

/// A target opened for a command that writes.
pub(super) struct Session {
    /// The target; its host file is locked unless this is a dry run.
    pub(super) target: Target,
    /// The moment of the run.
    pub(super) now: Now,
    dir: JournalDir,
    /// Held from the start when there is something to settle, else from the first write on: a run that
    /// has nothing to write leaves no folder behind.
    locked: Option<LockedDir>,
    writing: Writing,
}

/// What a command made of the session.
pub(super) struct Done {
    /// The exit code so far: 0, or 3 when the user said no.
    pub(super) code: u8,
    /// What was done; `None` when nothing was to do or the user said no.
    pub(super) operation: Option<OperationReport>,
}

impl Session {
    /// Opens `path` for writing, after settling whatever an interrupted run left.
    pub(super) fn open(common: &Common, writing: &Writing, path: &Path) -> Result<Session> {
        if common.read_only && !writing.dry_run {
            return Err(Error::refused(
                "--read-only refuses every command that writes",
                "leave --read-only out, or add --dry-run to see what would be done",
            ));
        }
        let now = Now::read();
        if writing.dry_run {
            let target = Target::open(path, Access::Read)?;
            let dir = journal_dir(writing.journal_dir.as_deref(), &target);
            if let Some(note) = interrupted(&dir, &target.identity())? {
                return Err(Error::refused(
                    note,
                    "run the command without --dry-run, which takes the interrupted operation back first, or `coldfix undo`",
                ));
            }
            return Ok(Session {
                target,
                now,
                dir,
                locked: None,
                writing: writing.clone(),
            });
        }
        let mut target = Target::open(path, Access::Write)?;
        if let Some(disk) = &target.disk {
            container::check_no_children(path, &disk.host)?;
        }
        let dir = journal_dir(writing.journal_dir.as_deref(), &target);
        let locked = if dir.has_operations()? {
            let locked = dir.clone().lock()?;
            if settle(&locked, &target)? {
                // What was read before may be what the interrupted run left.
                drop(target);
                target = Target::open(path, Access::Write)?;
            }
            Some(locked)
        } else {
            None
        };
        Ok(Session {
            target,
            now,
            dir,
            locked,
            writing: writing.clone(),
        })
    }

    /// Applies edits to the installation in memory, and checks that the volume may be written.
    pub(super) fn apply(
        &self,
        installation: &mut Installation,
        edits: &[(Edit, String)],
    ) -> Result<Vec<Step>> {
        if self.writing.discard_journal {
            installation.volume.discard_journal()?;
        }
        installation
            .volume
            .check_writable()
            .context(|| installation.describe())?;
        plan::apply(installation, edits, self.now.filetime())
    }

    /// Stores the steps, verifies them, shows them, asks, and commits.
    ///
    /// `command` is what the journal calls the operation; `undoes` is for the report alone.
    pub(super) fn carry_out(
        &mut self,
        installation: &mut Installation,
        steps: &[Step],
        command: &str,
        report: &mut Report,
        output: &mut Output,
    ) -> Result<Done> {
        if steps.is_empty() {
            return Ok(Done {
                code: HEALTHY,
                operation: None,
            });
        }
        report.notes.extend(replays(installation, steps));
        report.notes.extend(growth(installation, steps)?);
        plan::store(installation, steps, self.now.filetime())?;
        report.notes.extend(installation.volume.notes());
        let changes = self.target.changes()?;
        verify::verify(&self.target, installation, steps)?;
        let (ranges, bytes) = changes.totals();
        let mut operation = OperationReport {
            id: None,
            edits: steps.iter().map(EditReport::new).collect(),
            ranges,
            bytes,
            host_operations: changes.operations.len() as u64,
            journal: None,
            verified: true,
        };
        if output.is_text() {
            output.text(&text::operation(&operation))?;
        }
        if self.writing.dry_run {
            report.notes.push("dry run: nothing was written".to_owned());
            return Ok(Done {
                code: HEALTHY,
                operation: Some(operation),
            });
        }
        if !self.writing.yes && !ask("Write these changes?")? {
            return Ok(Done {
                code: super::REFUSED,
                operation: None,
            });
        }
        let mut sink = self.target.sink();
        let header = self.header(command, Some(steps))?;
        let locked = match self.locked.take() {
            Some(locked) => locked,
            None => self.dir.clone().lock()?,
        };
        let locked = &*self.locked.insert(locked);
        let committed = commit::commit(locked, header, &changes, sink.as_mut(), &mut |_| {})?;
        operation.id = Some(committed.id);
        operation.ranges = committed.ranges;
        operation.bytes = committed.bytes;
        operation.host_operations = committed.operations;
        operation.journal = Some(committed.journal.display().to_string());
        Ok(Done {
            code: HEALTHY,
            operation: Some(operation),
        })
    }

    /// Applies, stores, verifies, shows and commits `edits`, and says how it ended: the whole way of a command that
    /// does one thing. `notes` are what the user should know before agreeing.
    pub(super) fn change(
        &mut self,
        mut installation: Installation,
        edits: Vec<Edit>,
        command: &str,
        notes: Vec<String>,
        output: &mut Output,
    ) -> anyhow::Result<u8> {
        let edits: Vec<(Edit, String)> = edits
            .into_iter()
            .map(|edit| (edit, command.to_owned()))
            .collect();
        let mut report = Report::new(&self.target);
        for note in &notes {
            output.remark(&format!("note: {note}\n"))?;
        }
        report.notes.extend(notes);
        let said = report.notes.len();
        let steps = self.apply(&mut installation, &edits)?;
        let done = self.carry_out(&mut installation, &steps, command, &mut report, output)?;
        if done.code != HEALTHY {
            output.remark("nothing was written\n")?;
            return Ok(done.code);
        }
        report.operation = done.operation;
        if !output.is_text() {
            output.json(&report)?;
            return Ok(HEALTHY);
        }
        for note in report.notes.iter().skip(said) {
            output.text(&format!("note: {note}\n"))?;
        }
        let path = self.target.path.display();
        let summary = match &report.operation {
            None => format!("{path}: nothing to change, it is so already"),
            Some(operation) => match &operation.id {
                None => format!("{path}: dry run, verified in memory, nothing written"),
                Some(id) => {
                    output.text(&format!("undo: {}\n", self.undo_command(id)))?;
                    format!(
                        "{path}: {} written and verified; operation {id}",
                        text::count(operation.edits.len() as u64, "change")
                    )
                }
            },
        };
        output.text(&text::shorten(&summary))?;
        output.text("\n")?;
        Ok(HEALTHY)
    }

    /// The header of a new operation.
    pub(super) fn header(&self, command: &str, steps: Option<&[Step]>) -> Result<OperationHeader> {
        let (random, ..) = uuid::Uuid::new_v4().as_fields();
        let edits = steps
            .unwrap_or_default()
            .iter()
            .map(serde_json::to_value)
            .collect::<Result<_, _>>()
            .map_err(|error| Error::Io {
                what: "writing the journal's header".to_owned(),
                source: error.into(),
            })?;
        Ok(OperationHeader {
            id: self.dir.new_id(self.now.timestamp(), random)?,
            started: self.now.rfc3339(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            command: command.to_owned(),
            target: self.target.identity(),
            edits,
            undoes: None,
        })
    }

    /// The journal folder, held by this run; `None` when it is empty or nothing will be written.
    pub(super) fn locked(&self) -> Option<&LockedDir> {
        self.locked.as_ref()
    }

    /// The journal folder.
    pub(super) fn dir(&self) -> &JournalDir {
        &self.dir
    }

    /// Saves the plan for review.
    pub(super) fn save_plan(
        &self,
        file: &Path,
        installation: &Installation,
        steps: &[Step],
    ) -> Result<()> {
        let plan = Plan::new(
            installation,
            self.target.disk_id(),
            env!("CARGO_PKG_VERSION"),
            steps,
        )?;
        let mut text = serde_json::to_string_pretty(&plan).map_err(|error| Error::Io {
            what: "writing the plan".to_owned(),
            source: error.into(),
        })?;
        text.push('\n');
        write_file(file, text.as_bytes())
    }

    /// The command that takes an operation back, as the user can type it.
    pub(super) fn undo_command(&self, id: &str) -> String {
        let mut command = format!("coldfix undo {}", quoted(&self.target.path));
        if let Some(dir) = &self.writing.journal_dir {
            command.push_str(&format!(" --journal-dir {}", quoted(dir)));
        }
        command.push(' ');
        command.push_str(id);
        command
    }
}

/// A path as a shell takes it: in quotes where it holds more than letters, figures and a few signs.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain =
        |c: char| c.is_alphanumeric() || "/:._-+,=@".contains(c) || (cfg!(windows) && c == '\\');
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else if cfg!(windows) {
        format!("\"{text}\"")
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// What must be allocated: hives that no longer fit into their clusters.
fn growth(installation: &Installation, steps: &[Step]) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for name in HiveName::ALL {
        if !steps.iter().any(|step| step.edit.hive() == Some(name)) {
            continue;
        }
        let file = installation.registry.required(name)?;
        let needed = file.hive.bytes().len() as u64;
        let capacity = installation.volume.capacity(&file.path)?;
        if needed > capacity {
            notes.push(format!(
                "{} grows past its clusters, from {capacity} to {needed} bytes: clusters are allocated to it",
                name.file_name()
            ));
        }
    }
    Ok(notes)
}

/// What is written besides the edits: hives that were not closed cleanly are written as replayed.
fn replays(installation: &Installation, steps: &[Step]) -> Vec<String> {
    HiveName::ALL
        .into_iter()
        .filter(|name| steps.iter().any(|step| step.edit.hive() == Some(*name)))
        .filter_map(|name| installation.registry.hive(name).ok().flatten())
        .filter(|file| file.state == State::Replayed)
        .map(|file| {
            format!(
                "{} was not closed cleanly: the hive with its logs replayed is written, and the logs are emptied",
                file.name.file_name()
            )
        })
        .collect()
}

/// Where the journals of a target lie.
///
/// Beside an image, so that they travel with it. A block device's and a folder's go to the user's state
/// folder; a disk's under its own id, because `/dev/sdc` may be another disk tomorrow.
pub(super) fn journal_dir(wanted: Option<&Path>, target: &Target) -> JournalDir {
    if let Some(path) = wanted {
        return JournalDir::open(path);
    }
    let identity = target.identity();
    if identity.kind == TargetKind::Image {
        let mut path = target.path.clone().into_os_string();
        path.push(".coldfix");
        return JournalDir::open(PathBuf::from(path));
    }
    let name = match &identity.disk_id {
        Some(id) => format!("disk-{id}"),
        None => format!("at{}", identity.path),
    };
    let name: String = name
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .collect();
    JournalDir::open(state_folder().join(name))
}

fn state_folder() -> PathBuf {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("LOCALAPPDATA")
        .filter(|_| cfg!(windows))
        .or_else(|| variable("XDG_STATE_HOME"))
        .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(|| PathBuf::from("."))
        .join("coldfix")
}

/// Settles interrupted operations; true when there were any.
fn settle(locked: &LockedDir, target: &Target) -> Result<bool> {
    let mut sink = target.sink();
    let recovered = commit::recover(locked, &target.identity(), sink.as_mut(), &mut |_| {})?;
    for recovery in &recovered {
        let what = match recovery.outcome {
            Outcome::TakenBack => "taken back: the target is as before it",
            Outcome::Completed => "complete: all of it had been written",
        };
        // Said at once: the rest of the run may fail.
        let _ = writeln!(
            std::io::stderr(),
            "note: the interrupted operation {} is {what}",
            recovery.id
        );
    }
    Ok(!recovered.is_empty())
}

/// Says so when an operation on this target was interrupted.
fn interrupted(dir: &JournalDir, identity: &TargetIdentity) -> Result<Option<String>> {
    let listing = dir.list()?;
    let found = listing
        .on(identity)
        .find(|entry| entry.status == Status::Interrupted);
    Ok(found.map(|entry| {
        format!(
            "operation {} of {} was interrupted: the target is neither as before it nor as after it",
            entry.header.id, entry.header.started
        )
    }))
}

/// The note for commands that only read. A journal folder that cannot be read is no reason to fail them.
pub(super) fn interrupted_note(target: &Target) -> Option<String> {
    interrupted(&journal_dir(None, target), &target.identity())
        .ok()
        .flatten()
        .map(|note| format!("{note}; the next `coldfix repair` or `coldfix undo` settles it"))
}

/// Asks a yes-or-no question on the terminal.
///
/// # Errors
/// Refused without a terminal: a script has to say `--yes`.
pub(super) fn ask(question: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Error::refused(
            "there is no terminal to ask on",
            "nothing was written; add --yes to write without asking, or --dry-run to look only",
        ));
    }
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "{question} [y/N] ");
    let _ = stderr.flush();
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(Error::io("reading the answer"))?;
    Ok(matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn paths_can_be_pasted_into_a_shell() {
        assert_eq!(quoted(Path::new("/mnt/win")), "/mnt/win");
        assert_eq!(quoted(Path::new("my disk.vhd")), "'my disk.vhd'");
        assert_eq!(quoted(Path::new("it's")), r"'it'\''s'");
        assert_eq!(quoted(Path::new("$(rm)")), "'$(rm)'");
        assert_eq!(quoted(Path::new(r"a\b")), r"'a\b'");
    }
}
