// SPDX-License-Identifier: GPL-2.0-or-later
//! Stops an operation after every single step, in every way that a power cut can go, and recovers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coldfix::commit::{Status, commit, recover, undo};
use coldfix::device::{ChangeSet, FileCopy, HostOperation};
use coldfix::error::Result;

use super::{Lies, Loss, Machine, SECURITY, header, identity, patch};

pub type Files = BTreeMap<PathBuf, Vec<u8>>;
pub type Changes = Vec<(usize, Vec<u8>)>;

pub const FIRST: &str = "20260131T101500.000000Z-00000001";
pub const SECOND: &str = "20260131T101500.000001Z-00000002";

#[derive(Clone, Debug)]
pub struct Scenario {
    pub changes: ChangeSet,
    pub old: Files,
    pub new: Files,
}

impl Scenario {
    /// From (name, old content, length after, changes).
    pub fn new(files: Vec<(&str, Vec<u8>, usize, Changes)>) -> Self {
        let mut scenario = Scenario {
            changes: ChangeSet::default(),
            old: Files::new(),
            new: Files::new(),
        };
        for (name, content, after_len, changes) in files {
            let (patch, after) = patch(name, &content, after_len, &changes);
            scenario.changes.patches.push(patch);
            scenario.old.insert(name.into(), content);
            scenario.new.insert(name.into(), after);
        }
        scenario
    }

    /// The file or folder gets another descriptor.
    pub fn secured(mut self, file: &str, before: &[u8], after: &[u8]) -> Self {
        self.changes.operations.push(HostOperation::SetSecurity {
            file: file.into(),
            before: before.into(),
            after: after.into(),
        });
        let path = PathBuf::from(format!("{file}{SECURITY}"));
        self.old.insert(path.clone(), before.to_owned());
        self.new.insert(path, after.to_owned());
        self
    }

    /// The file or folder gets another name. Inner ones first, and after every `secured`.
    pub fn renamed(mut self, file: &str, name: &str) -> Self {
        self.changes.operations.push(HostOperation::Rename {
            file: file.into(),
            name: name.into(),
        });
        let to = Path::new(file).with_file_name(name);
        let moved = |path: PathBuf| {
            let text = path.to_str().unwrap();
            match text.strip_prefix(file) {
                Some(rest) if rest.is_empty() || rest.starts_with(['/', ':']) => {
                    PathBuf::from(format!("{}{rest}", to.display()))
                }
                _ => path,
            }
        };
        let new = std::mem::take(&mut self.new).into_iter();
        self.new = new.map(|(path, bytes)| (moved(path), bytes)).collect();
        self
    }

    /// A file is made.
    pub fn made(mut self, file: &str, content: &[u8], descriptor: Option<&[u8]>) -> Self {
        self.changes.operations.push(HostOperation::Make {
            file: file.into(),
            copy: whole(content, descriptor),
        });
        show(&mut self.new, file, content, descriptor);
        self
    }

    /// A file is removed.
    pub fn removed(mut self, file: &str, content: &[u8], descriptor: Option<&[u8]>) -> Self {
        self.changes.operations.push(HostOperation::Remove {
            file: file.into(),
            copy: whole(content, descriptor),
        });
        show(&mut self.old, file, content, descriptor);
        self
    }

    pub fn commit(&self, machine: &Machine) -> Result<()> {
        commit(
            &machine.dir()?,
            header(FIRST),
            &self.changes,
            &mut machine.target(),
            &mut |_| {},
        )
        .map(drop)
    }
}

fn whole(content: &[u8], descriptor: Option<&[u8]>) -> Arc<FileCopy> {
    Arc::new(FileCopy {
        content: content.to_owned(),
        descriptor: descriptor.map(Into::into),
        mode: 0,
    })
}

fn show(files: &mut Files, file: &str, content: &[u8], descriptor: Option<&[u8]>) {
    files.insert(file.into(), content.to_owned());
    if let Some(descriptor) = descriptor {
        let path = PathBuf::from(format!("{file}{SECURITY}"));
        files.insert(path, descriptor.to_owned());
    }
}

pub fn undo_first(machine: &Machine) -> Result<()> {
    undo(
        &machine.dir()?,
        FIRST,
        header(SECOND),
        &mut machine.target(),
        &mut |_| {},
    )
    .map(drop)
}

pub fn recover_all(machine: &Machine) -> Result<()> {
    recover(
        &machine.dir()?,
        &identity(),
        &mut machine.target(),
        &mut |_| {},
    )
    .map(drop)
}

pub const LOSSES: [Loss; 8] = [
    Loss::Nothing,
    Loss::Everything,
    Loss::Some(1),
    Loss::Some(2),
    Loss::Some(3),
    Loss::Some(4),
    Loss::Some(5),
    Loss::Some(6),
];

/// The claim: the target is wholly old or wholly new, the journal folder says which, and it stays so if
/// the power goes once more.
pub fn settled(machine: &Machine, old: &Files, new: &Files, id: &str) -> Result<(), String> {
    machine.crash(Loss::Everything);
    let files = machine.files();
    let listing = machine
        .dir()
        .unwrap()
        .list()
        .map_err(|error| error.to_string())?;
    if let Some(damaged) = listing.damaged.first() {
        return Err(format!("damaged journal: {}", damaged.error));
    }
    let entry = listing
        .operations
        .iter()
        .find(|entry| entry.header.id == id);
    match entry.map(|entry| &entry.status) {
        None | Some(Status::TakenBack) if files == *old => Ok(()),
        Some(Status::Done) if files == *new => Ok(()),
        status => Err(format!(
            "status {status:?}, old {}, new {}",
            files == *old,
            files == *new
        )),
    }
}

/// Stops `action` on `start` after every step in every way; recovers, with recovery itself stopped
/// after every step. Returns how many runs there were, and what went wrong.
pub fn explore(
    start: &Machine,
    action: &dyn Fn(&Machine) -> Result<()>,
    (old, new): (&Files, &Files),
    id: &str,
) -> (u64, Vec<String>) {
    let (mut runs, mut faults) = (0, Vec::new());
    let whole = start.fork();
    whole.crash(Loss::Nothing);
    action(&whole).unwrap();
    let steps = whole.steps();
    assert!(steps >= 8, "journal, folder, write, flush, marker: {steps}");
    if let Err(fault) = settled(&whole, old, new, id) {
        faults.push(format!("not stopped: {fault}"));
    } else if whole.files() != *new {
        faults.push("reported as done, but not new".into());
    }

    for stop in 0..steps {
        for loss in LOSSES {
            let cut = start.fork();
            cut.crash(Loss::Nothing);
            cut.stop_after(stop);
            assert!(action(&cut).is_err(), "step {stop} was not cut off");
            cut.crash(loss);
            let place = format!("stopped at {stop} of {steps}, {loss:?}");

            let recovered = cut.fork();
            let outcome = recover_all(&recovered).map_err(|error| error.to_string());
            let recovery_steps = recovered.steps();
            runs += 1;
            if let Err(fault) = outcome.and_then(|()| settled(&recovered, old, new, id)) {
                faults.push(format!("{place}: {fault}"));
                continue;
            }

            for again in 0..recovery_steps {
                // The second crash in three ways, one of them another than the first.
                for second in [
                    Loss::Nothing,
                    Loss::Everything,
                    Loss::Some(stop * 31 + again),
                ] {
                    let twice = cut.fork();
                    twice.stop_after(again);
                    assert!(recover_all(&twice).is_err());
                    twice.crash(second);
                    runs += 1;
                    let outcome = recover_all(&twice).map_err(|error| error.to_string());
                    if let Err(fault) = outcome.and_then(|()| settled(&twice, old, new, id)) {
                        faults.push(format!("{place}, recovery at {again}, {second:?}: {fault}"));
                    }
                }
            }
        }
    }
    (runs, faults)
}

pub fn explore_commit(scenario: &Scenario, lies: Lies) -> (u64, Vec<String>) {
    let start = Machine::new(&scenario.old);
    start.lie(lies);
    let action = |machine: &Machine| scenario.commit(machine);
    explore(&start, &action, (&scenario.old, &scenario.new), FIRST)
}

pub fn explore_undo(scenario: &Scenario) -> (u64, Vec<String>) {
    let start = Machine::new(&scenario.old);
    scenario.commit(&start).unwrap();
    explore(&start, &undo_first, (&scenario.new, &scenario.old), SECOND)
}
