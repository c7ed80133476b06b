// SPDX-License-Identifier: GPL-2.0-or-later
//! A target, a command that changes it, and what may be found there afterwards.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest as _, Sha256};

use super::support;

/// The hash of what is in a file or, by path, in the files of a folder, and of their descriptors. Where nothing but zeros is makes no difference.
pub(crate) type State = BTreeMap<PathBuf, [u8; 32]>;

pub(crate) fn state(target: &Path) -> State {
    let mut state = State::new();
    let mut open = vec![target.to_owned()];
    let mut descriptor = vec![0; 1 << 16];
    while let Some(path) = open.pop() {
        // What ntfs-3g shows of permissions.
        if let Ok(len) = rustix::fs::lgetxattr(&path, "system.ntfs_acl", &mut descriptor[..]) {
            let hash = Sha256::digest(&descriptor[..len]);
            state.insert(path.join("descriptor"), hash.into());
        }
        if path.is_dir() {
            open.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.exists() {
            let hash = content(&path);
            state.insert(path, hash);
        }
    }
    state
}

/// Holes are passed over: a disk of 100 MiB holds a few.
fn content(path: &Path) -> [u8; 32] {
    const BLOCK: usize = 64 << 10;
    let mut file = File::open(path).unwrap();
    let len = file.metadata().unwrap().len();
    let mut hash = Sha256::new();
    hash.update(len.to_le_bytes());
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    while at < len {
        match rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => at = data / BLOCK as u64 * BLOCK as u64,
            Err(rustix::io::Errno::NXIO) => break,
            Err(error) => panic!("{}: {error}", path.display()),
        }
        let part = &mut block[..BLOCK.min((len - at) as usize)];
        file.seek(SeekFrom::Start(at)).unwrap();
        file.read_exact(part).unwrap();
        if part.iter().any(|byte| *byte != 0) {
            hash.update(at.to_le_bytes());
            hash.update(&part);
        }
        at += BLOCK as u64;
    }
    hash.finalize().into()
}

/// Numbers that look random and are the same each time.
pub(crate) struct Random(u64);

impl Random {
    /// Of this test, and of the seed in the environment.
    pub(crate) fn new(test: &str) -> Random {
        let seed = std::env::var("COLDFIX_SEED").unwrap_or_default();
        let hash = Sha256::digest(format!("{test} {seed}"));
        Random(u64::from_le_bytes(hash[..8].try_into().unwrap()) | 1)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    /// `count` of them, in the order that they had.
    pub(crate) fn some<T>(&mut self, mut all: Vec<T>, count: usize) -> Vec<T> {
        while all.len() > count {
            all.remove(self.below(all.len()));
        }
        all
    }
}

/// True when everything is to be tried.
pub(crate) fn all() -> bool {
    std::env::var_os("COLDFIX_FAULTS").is_some_and(|value| value == "all")
}

/// A target in a folder of its own.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) target: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) old: State,
    /// A copy of it, to begin again with.
    made: tempfile::TempDir,
}

impl Bench {
    /// A copy of a fixture, and the command that changes it; its second word is to be left out for the target.
    pub(crate) fn new(fixture: &str, arguments: &[&str]) -> Option<Bench> {
        let folder = support::temporary();
        let made = support::fixtures(&[fixture])?.join(fixture);
        let target = folder.path().join("disk");
        support::copy(&made, &target);
        let mut bench = Bench {
            old: State::new(),
            folder,
            target,
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
            made: support::temporary(),
        };
        bench.begin();
        Some(bench)
    }

    /// From here on the target is old as it is now.
    pub(crate) fn begin(&mut self) {
        self.forget();
        self.old = self.state();
        let copy = self.made.path().join("copy");
        let _ = fs::remove_dir_all(&copy);
        let _ = fs::remove_file(&copy);
        support::copy(&self.target, &copy);
    }

    /// Begins again, after a fault that was not settled.
    pub(crate) fn reset(&self) {
        match self.target.is_dir() {
            true => fs::remove_dir_all(&self.target).unwrap(),
            false => fs::remove_file(&self.target).unwrap(),
        }
        support::copy(&self.made.path().join("copy"), &self.target);
        assert!(self.state() == self.old);
        self.forget();
    }

    /// The command that changes the target.
    pub(crate) fn command(&self) -> Command {
        self.command_on(&self.target)
    }

    /// The same command on another target.
    pub(crate) fn command_on(&self, target: &Path) -> Command {
        let words: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.ours_on(target, &words)
    }

    pub(crate) fn ours(&self, arguments: &[&str]) -> Command {
        self.ours_on(&self.target, arguments)
    }

    /// The program on the target by another name.
    pub(crate) fn ours_on(&self, target: &Path, arguments: &[&str]) -> Command {
        let (command, rest) = arguments.split_first().unwrap();
        let mut run = support::coldfix(&self.folder.path().join("state"));
        // Times in the hive come from the clock; this one makes every run the same to the bit. One thread makes every call the
        // same of its name in every run, and a fault happen once.
        run.args(command.split(' '))
            .arg(target)
            .args(rest)
            .env("SOURCE_DATE_EPOCH", "1800000000")
            .env("RAYON_NUM_THREADS", "1");
        run
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.ours(arguments).output().expect("run coldfix")
    }

    pub(crate) fn state(&self) -> State {
        state(&self.target)
    }

    /// Makes the change and takes it back; what it makes of the target.
    pub(crate) fn new_state(&self) -> State {
        support::ends(&self.command().output().unwrap(), 0);
        let new = self.state();
        assert!(new != self.old, "the command changes something");
        self.take_back();
        new
    }

    #[track_caller]
    pub(crate) fn take_back(&self) {
        support::ends(&self.run(&["undo", "--yes"]), 0);
        assert!(self.state() == self.old, "undo gives every bit back");
        self.forget();
    }

    /// Begins again, after a run that met no fault.
    pub(crate) fn pass_over(&self) {
        match self.state() == self.old {
            true => self.forget(),
            false => self.take_back(),
        }
    }

    /// Removes the journals.
    pub(crate) fn forget(&self) {
        let _ = fs::remove_dir_all(format!("{}.coldfix", self.target.display()));
        let _ = fs::remove_dir_all(self.folder.path().join("state"));
    }

    /// The journal folder, when there is one.
    pub(crate) fn journals(&self) -> Option<PathBuf> {
        let beside = PathBuf::from(format!("{}.coldfix", self.target.display()));
        let below = self.folder.path().join("state/coldfix");
        let first = || {
            fs::read_dir(below)
                .ok()?
                .next()?
                .ok()
                .map(|entry| entry.path())
        };
        Some(beside).filter(|path| path.is_dir()).or_else(first)
    }

    /// What must hold after a run that a fault has met: how it ended and what it said, where the target stands; and
    /// where it stands after the next step. `step` chooses which. What is wrong is the error.
    pub(crate) fn judge(&self, new: &State, met: &Met, step: usize) -> Result<(), String> {
        let undo = || self.ours(&["undo", "--yes"]);
        self.judge_by(new, met, step, &|| self.command(), &undo)
    }

    /// As [`Bench::judge`], with other commands that repair and undo.
    pub(crate) fn judge_by(
        &self,
        new: &State,
        met: &Met,
        step: usize,
        repair: &dyn Fn() -> Command,
        undo: &dyn Fn() -> Command,
    ) -> Result<(), String> {
        let said = said(&met.output);
        let stderr = String::from_utf8_lossy(&met.output.stderr);
        let fault = |what: &str| Err(format!("{what}\n{:?}\n{stderr}", met.output.status));
        if said.contains("panicked") {
            return fault("a panic");
        }
        let found = self.state();
        let (is_old, is_new) = (found == self.old, found == *new);
        match (met.output.status.code(), met.output.status.signal()) {
            (None, Some(signal)) if Some(signal) == met.signal => {}
            (Some(0), _) if is_new => {}
            (Some(0), _) => return fault("success, and not new"),
            (Some(2 | 3), _) if !said.contains("error: ") => return fault("no message"),
            (Some(2 | 3), _) if is_old || is_new => {}
            (Some(2 | 3), _) if !said.contains("was interrupted and is partly written") => {
                return fault("half-written, and it does not say so");
            }
            (Some(2 | 3), _) => {}
            _ => return fault("an end that is not documented"),
        }
        if said.contains("is as it was before") && !is_old {
            return fault("it says that all is as before, and it is not");
        }
        if met.output.status.code() == Some(2)
            && is_new
            && !["undo ", "marked as done", "was interrupted", "is undone"]
                .iter()
                .any(|words| said.contains(words))
        {
            return fault("it is done, and the message hides that");
        }
        if met.must_succeed && met.output.status.code() != Some(0) {
            return fault("this is to be tried again, and was not");
        }
        // The next step.
        let next = match step % 2 {
            0 => repair().output().unwrap(),
            _ => undo().output().unwrap(),
        };
        let then = format!("then: {}", crate::bench::said(&next));
        let found = self.state();
        match (step % 2, next.status.code()) {
            (0, Some(0)) if found == *new => {
                let undone = undo().output().unwrap();
                if undone.status.code() != Some(0) || self.state() != self.old {
                    return fault(&format!(
                        "{then}\nnot undone: {}",
                        crate::bench::said(&undone)
                    ));
                }
            }
            // Nothing to undo is an error.
            (1, Some(0 | 2)) if found == self.old => {}
            _ => return fault(&format!("the next run does not settle it; {then}")),
        }
        let mut strays = self.strays();
        if step % 2 == 1 {
            // Half a journal is removed by the next run that writes; an undo that finds no operation is none.
            strays.retain(|path| path.extension().is_none_or(|end| end != "tmp"));
        }
        if !strays.is_empty() && !met.leaves_files {
            return fault(&format!("left behind: {strays:?}"));
        }
        self.forget();
        Ok(())
    }

    /// Files that have no business in the folder or in that of the journals.
    pub(crate) fn strays(&self) -> Vec<PathBuf> {
        let journals = self.journals();
        let names = |folder: &Path| -> Vec<PathBuf> {
            let entries = fs::read_dir(folder).into_iter().flatten();
            entries.map(|entry| entry.unwrap().path()).collect()
        };
        let kept = |path: &PathBuf| {
            let end = path.extension().and_then(|end| end.to_str());
            matches!(end, Some("journal" | "done" | "taken-back")) || path.ends_with("lock")
        };
        let expected = |path: &PathBuf| {
            *path == self.target
                || journals.as_ref() == Some(path)
                || path.ends_with("state")
                || path.ends_with("disk")
                || path.file_stem().is_some_and(|name| name == "parent")
        };
        let inner = journals.as_deref().map(names).unwrap_or_default();
        let outer = names(self.folder.path()).into_iter();
        let strays = inner.into_iter().filter(|path| !kept(path));
        strays.chain(outer.filter(|path| !expected(path))).collect()
    }
}

/// A run that a fault has met.
pub(crate) struct Met {
    pub(crate) output: Output,
    /// The signal that it may have ended by.
    pub(crate) signal: Option<i32>,
    /// It has no excuse.
    pub(crate) must_succeed: bool,
    /// It may leave temporary files.
    pub(crate) leaves_files: bool,
}

pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
