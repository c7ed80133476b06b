// SPDX-License-Identifier: GPL-2.0-or-later
//! The way of every command that writes: recover, open, edit in memory, verify, show, ask, commit.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use super::clock::Now;
use super::opening::{interrupted, journal_dir, look, settle, settle_unread};
use super::output::{Output, write_file};
use super::random;
use super::typed::quoted;
use super::{Common, HEALTHY, Writing};
use crate::commit::{self, JournalDir, LockedDir, NewFile, OperationHeader};
use crate::container;
use crate::container::child::Fresh;
use crate::device::Access;
use crate::edit::Edit;
use crate::error::{Error, Result};
use crate::hive::log::State;
use crate::plan::{self, Plan, Step, Touched};
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
    /// The new disk that holds the change, in place of the one that was named; it gets its name when that is
    /// committed to it, and is gone again otherwise.
    made: Option<NewFile>,
    /// What the user should know of how the target was opened.
    opening: Vec<String>,
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
        if let (Some(file), false) = (&writing.output, writing.dry_run) {
            return Session::open_new(common, writing, path, file, now);
        }
        Session::open_at(common, writing, path, path, now)
    }

    /// Opens what lies at `place` and is to be known as `path`, which is the same but for a new disk.
    fn open_at(
        common: &Common,
        writing: &Writing,
        path: &Path,
        place: &Path,
        now: Now,
    ) -> Result<Session> {
        if writing.dry_run {
            let target = common.with_store(look(
                path,
                writing.journal_dir.as_deref(),
                common.replays(),
            )?);
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
                made: None,
                opening: Vec::new(),
            });
        }
        let open = || {
            let target = Target::open_with(place, Access::Write, common.replays())?;
            Ok(common.with_store(target.known_as(path)))
        };
        let mut target = open().or_else(|error| {
            settle_unread(path, writing, error)?;
            open()
        })?;
        if let Some(disk) = &target.disk {
            container::check_no_children(place, &disk.host)?;
        }
        let dir = journal_dir(writing.journal_dir.as_deref(), &target);
        target.check_journal_folder(dir.path())?;
        let locked = if dir.has_operations()? {
            let locked = dir.clone().lock()?;
            if settle(&locked, &target.identity(), target.sink().as_mut())? {
                // What was read before may be what the interrupted run left.
                drop(target);
                target = open()?;
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
            made: None,
            opening: Vec::new(),
        })
    }

    /// Makes the disk that `--output` names, and opens that.
    fn open_new(
        common: &Common,
        writing: &Writing,
        path: &Path,
        file: &Path,
        now: Now,
    ) -> Result<Session> {
        let seconds = u64::try_from(now.timestamp().as_second()).unwrap_or(0);
        let fresh = Fresh {
            ids: [random::uuid()?, random::uuid()?, random::uuid()?],
            now: seconds,
        };
        let source = look(path, writing.journal_dir.as_deref(), common.replays())?;
        let (made, what) = source.make_output(file, writing.full_copy, &fresh)?;
        drop(source);
        let writing = Writing {
            output: None,
            full_copy: false,
            ..writing.clone()
        };
        let mut session = Session::open_at(common, &writing, file, made.place(), now)?;
        session.made = Some(made);
        session
            .opening
            .push(format!("{what}; {} is untouched", path.display()));
        Ok(session)
    }

    /// Applies edits to the installation in memory, and checks that the volumes that they change may be written.
    pub(super) fn apply(
        &self,
        installation: &mut Installation,
        edits: &[(Edit, String)],
    ) -> Result<Vec<Step>> {
        if self.writing.discard_journal {
            discard_journals(installation, edits)?;
        }
        plan::check_writable(installation, edits.iter().map(|(edit, _)| edit))?;
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
        report.notes.append(&mut self.opening);
        let touched = plan::touched(installation, steps)?;
        report.notes.extend(replays(&touched));
        report.notes.extend(growth(&touched)?);
        plan::store(installation, steps, self.now.filetime())?;
        report.notes.extend(installation.volume.notes());
        for touched in plan::touched(installation, steps)? {
            if touched.is_store && touched.partition != installation.partition {
                report.notes.extend(touched.volume.notes());
            }
        }
        let changes = self.target.changes()?;
        report
            .notes
            .extend(verify::verify(&self.target, installation, steps)?);
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
            output.text(&text::operation(&operation, output.page()))?;
        }
        if self.writing.dry_run {
            report.notes.push("dry run: nothing was written".to_owned());
            if let Some(file) = &self.writing.output {
                report
                    .notes
                    .push(format!("{} was not made", file.display()));
            }
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
        if let Some(made) = self.made.take() {
            made.keep()?;
        }
        output.set_written(
            format!("operation {} is written and verified", committed.id),
            format!(
                "the target is as it should be; `{}` takes that back",
                self.undo_command(&committed.id)
            ),
        );
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
        let id = random::uuid()?;
        let (random, ..) = id.as_fields();
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
            new_disk: self.made.is_some(),
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

/// Agrees to discard the journals of the volumes that the edits change.
fn discard_journals(installation: &Installation, edits: &[(Edit, String)]) -> Result<()> {
    let mut done = Vec::new();
    if edits.iter().any(|(edit, _)| edit.store().is_none()) {
        installation.volume.discard_journal()?;
        done.push(installation.partition);
    }
    for place in edits.iter().filter_map(|(edit, _)| edit.store()) {
        let store = installation.boot.store(place)?;
        // FAT has no journal.
        let has_journal = store.volume.state().journal.is_some();
        if has_journal && !done.contains(&place.partition) {
            store.volume.discard_journal()?;
            done.push(place.partition);
        }
    }
    Ok(())
}

/// What must be allocated: hives that no longer fit into their clusters.
fn growth(touched: &[Touched<'_>]) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for Touched { file, volume, .. } in touched {
        let needed = file.hive.bytes().len() as u64;
        let capacity = volume.capacity(&file.path)?;
        if needed > capacity {
            notes.push(format!(
                "{} grows past its clusters, from {capacity} to {needed} bytes: clusters are allocated to it",
                file.file_name()
            ));
        }
    }
    Ok(notes)
}

/// What is written besides the edits: hives that were not closed cleanly are written as replayed.
fn replays(touched: &[Touched<'_>]) -> Vec<String> {
    touched
        .iter()
        .filter(|touched| touched.file.state == State::Replayed)
        .map(|touched| {
            format!(
                "{} was not closed cleanly: the hive with its logs replayed is written, and the logs are emptied",
                touched.file.file_name()
            )
        })
        .collect()
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
