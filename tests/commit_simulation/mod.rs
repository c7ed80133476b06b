// SPDX-License-Identifier: GPL-2.0-or-later
//! A machine that loses power: the target's files and the journal folder, with one clock over both.
//!
//! Every step (a write, a change of length, a flush, a descriptor set, a file made, a rename, a folder synced)
//! is counted. After a given number the power goes: the step at hand may be cut off in its middle, every later
//! one fails. [`Machine::crash`] then decides what of the unflushed steps reached the disk.
//!
//! The target is a tree (`tree`). What [`Machine::files`] shows of it: content by path, and descriptors by path
//! with `:security` behind it.

pub mod explore;
mod tree;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use coldfix::commit::{
    FileIdentity, JournalDir, LockedDir, OperationHeader, Store, Target, TargetFile,
    TargetIdentity, TargetKind,
};
use coldfix::device::{Change, FileCopy, Patch};
use coldfix::error::{Error, Result};
pub use tree::SECURITY;
use tree::Tree;

/// What becomes of the steps that no flush covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The process was killed, the host lives: nothing is lost but the rest of the step at hand.
    Nothing,
    /// The power went and the cache with it.
    Everything,
    /// Any sectors, names and lengths reached the disk, and any sector tore; the seed says which.
    Some(u64),
}

/// A host that does not keep its word, to show that the tests would notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lies {
    pub target_flush: bool,
    pub target_length: bool,
    pub journal_content_sync: bool,
    pub journal_folder_sync: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Clone, Debug, Default)]
struct SimulatedFile {
    durable: Vec<u8>,
    now: Vec<u8>,
    pending: Vec<Step>,
}

#[derive(Clone, Debug)]
enum NameStep {
    Add(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Steps left before the power goes.
    left: Option<u64>,
    steps: u64,
    stopped: bool,
    random: u64,
    /// By the path that each had at first, which is what the tree knows it by.
    files: BTreeMap<PathBuf, SimulatedFile>,
    tree: Tree,
    /// Contents of the journal folder: durable and present.
    contents: Vec<(Vec<u8>, Vec<u8>)>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending_names: Vec<NameStep>,
    lies: Lies,
    /// The journal folder is full after this many bytes.
    space: Option<usize>,
    /// Fails every write of the target at or past this offset, while the power stays.
    bad_from: Option<u64>,
    /// A rename adds the new name and then removes the old one, as ntfs-3g does it.
    rename_in_two: bool,
    /// The host does not take this descriptor.
    refused: Option<Vec<u8>>,
    /// The host keeps something else instead of this descriptor.
    altered: Option<Vec<u8>>,
    /// The next flush of the target fails, and the cache keeps what never reached the disk.
    failing_flush: bool,
    /// First write to the target while no journal was durable.
    pub write_without_journal: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Machine {
    state: Arc<Mutex<State>>,
}

fn power() -> io::Error {
    io::Error::other("the power is gone")
}

impl State {
    /// Counts one step; true when the power goes in its middle.
    fn step(&mut self) -> io::Result<bool> {
        if self.stopped {
            return Err(power());
        }
        self.steps += 1;
        match &mut self.left {
            Some(0) => {
                self.stopped = true;
                Ok(true)
            }
            Some(left) => {
                *left -= 1;
                Ok(false)
            }
            None => Ok(false),
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        // xorshift64*
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
    }

    fn journal_is_durable(&self) -> bool {
        let mut journals = self
            .names
            .iter()
            .filter(|(name, _)| name.ends_with(".journal"));
        let durable = |(name, content): (&String, &usize)| {
            let (durable, now) = &self.contents[*content];
            self.durable_names.get(name) == Some(content) && durable == now
        };
        journals.clone().count() > 0 && journals.all(durable)
    }
}

fn apply(content: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Length(length) => content.resize(*length as usize, 0),
        Step::Write(offset, data) => {
            let (start, end) = (*offset as usize, *offset as usize + data.len());
            if content.len() < end {
                content.resize(end, 0);
            }
            content[start..end].copy_from_slice(data);
        }
    }
}

/// Cuts a write at sector boundaries.
fn sectors(offset: u64, data: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut parts = Vec::new();
    let (mut offset, mut rest) = (offset, data);
    while !rest.is_empty() {
        let cut = rest.len().min((512 - offset % 512) as usize);
        parts.push((offset, rest[..cut].to_vec()));
        offset += cut as u64;
        rest = &rest[cut..];
    }
    parts
}

impl Machine {
    pub fn new(files: &BTreeMap<PathBuf, Vec<u8>>) -> Self {
        let machine = Machine::default();
        machine.state().tree = Tree::new(files);
        machine.state().files = files
            .iter()
            .filter(|(path, _)| !tree::is_security(path))
            .map(|(path, content)| {
                let file = SimulatedFile {
                    durable: content.clone(),
                    now: content.clone(),
                    pending: Vec::new(),
                };
                (path.clone(), file)
            })
            .collect();
        machine
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// An independent copy.
    pub fn fork(&self) -> Machine {
        Machine {
            state: Arc::new(Mutex::new(self.state().clone())),
        }
    }

    pub fn lie(&self, lies: Lies) {
        self.state().lies = lies;
    }

    pub fn journal_space(&self, bytes: Option<usize>) {
        self.state().space = bytes;
    }

    pub fn bad_from(&self, offset: Option<u64>) {
        self.state().bad_from = offset;
    }

    pub fn fail_next_flush(&self) {
        self.state().failing_flush = true;
    }

    /// Lets `steps` more steps through, then cuts the next one off.
    pub fn stop_after(&self, steps: u64) {
        self.state().left = Some(steps);
    }

    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    pub fn wrote_without_journal(&self) -> bool {
        self.state().write_without_journal
    }

    /// What the files hold now, under every name that they have, and their descriptors.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state();
        state
            .tree
            .show(&|id| state.files.get(id).map(|file| file.now.clone()))
    }

    /// Makes a folder as another program would, durably.
    pub fn make(&self, folder: &Path) {
        let mut state = self.state();
        state.tree.make(folder);
        state.tree.crash(Loss::Nothing, &mut |_| unreachable!());
    }

    pub fn rename_in_two(&self) {
        self.state().rename_in_two = true;
    }

    pub fn refuse_descriptor(&self, descriptor: &[u8]) {
        self.state().refused = Some(descriptor.to_owned());
    }

    pub fn alter_descriptor(&self, descriptor: &[u8]) {
        self.state().altered = Some(descriptor.to_owned());
    }

    /// Sets a descriptor as another program would, durably.
    pub fn overwrite_descriptor(&self, file: &Path, descriptor: &[u8]) {
        let mut state = self.state();
        let id = state.tree.find(file).unwrap();
        state.tree.set_security(&id, descriptor);
        state.tree.crash(Loss::Nothing, &mut |_| unreachable!());
    }

    /// Changes a file as another program would, durably.
    pub fn overwrite(&self, file: &Path, offset: usize, data: &[u8]) {
        let mut state = self.state();
        let file = state.files.get_mut(file).unwrap();
        file.now[offset..offset + data.len()].copy_from_slice(data);
        file.durable = file.now.clone();
    }

    /// The names in the journal folder.
    pub fn journal_names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// Power is back: decides what reached the disk, and lets steps through again.
    pub fn crash(&self, loss: Loss) {
        let mut state = self.state();
        if let Loss::Some(seed) = loss {
            state.random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        }
        let paths: Vec<PathBuf> = state.files.keys().cloned().collect();
        for path in paths {
            let mut file = state.files[&path].clone();
            let mut content = match loss {
                Loss::Nothing => file.now.clone(),
                _ => file.durable.clone(),
            };
            if let Loss::Some(_) = loss {
                for step in &file.pending {
                    match step {
                        Step::Length(_) if state.random(2) == 0 => {}
                        Step::Length(_) => apply(&mut content, step),
                        Step::Write(offset, data) => {
                            for (offset, data) in sectors(*offset, data) {
                                let cut = state.random(data.len() as u64 + 1) as usize;
                                let kept = match state.random(4) {
                                    0 => continue,
                                    1 => Step::Write(offset, data),
                                    2 => Step::Write(offset, data[..cut].to_vec()),
                                    _ => Step::Write(offset + cut as u64, data[cut..].to_vec()),
                                };
                                apply(&mut content, &kept);
                            }
                        }
                    }
                }
            }
            file = SimulatedFile {
                durable: content.clone(),
                now: content,
                pending: Vec::new(),
            };
            state.files.insert(path, file);
        }

        let mut tree = std::mem::take(&mut state.tree);
        tree.crash(loss, &mut |below| state.random(below));
        state.tree = tree;

        for content in 0..state.contents.len() {
            let (durable, now) = state.contents[content].clone();
            let kept = match loss {
                Loss::Nothing => now,
                Loss::Everything => durable,
                Loss::Some(_) if durable == now => now,
                Loss::Some(_) => {
                    let cut = state.random(now.len() as u64 + 1) as usize;
                    let mut kept = now[..cut].to_vec();
                    if state.random(2) == 0 {
                        kept.resize(now.len(), 0); // the length reached the disk, the rest did not
                    }
                    kept
                }
            };
            state.contents[content] = (kept.clone(), kept);
        }
        if loss != Loss::Nothing {
            let mut names = state.durable_names.clone();
            for step in std::mem::take(&mut state.pending_names) {
                if loss == Loss::Everything || state.random(2) == 0 {
                    continue;
                }
                apply_name(&mut names, &step);
            }
            state.names = names;
        }
        state.pending_names.clear();
        state.durable_names = state.names.clone();
        state.left = None;
        state.stopped = false;
        state.steps = 0;
    }

    pub fn dir(&self) -> Result<LockedDir> {
        JournalDir::over(Arc::new(self.clone())).lock()
    }

    pub fn target(&self) -> SimulatedTarget {
        SimulatedTarget {
            machine: self.clone(),
        }
    }
}

fn apply_name(names: &mut BTreeMap<String, usize>, step: &NameStep) {
    match step {
        NameStep::Add(name, content) => {
            names.insert(name.clone(), *content);
        }
        NameStep::Rename(from, to) => {
            if let Some(content) = names.remove(from) {
                names.insert(to.clone(), content);
            }
        }
        NameStep::Remove(name) => {
            names.remove(name);
        }
    }
}

impl Machine {
    fn name_step(&self, step: NameStep) -> io::Result<()> {
        let mut state = self.state();
        let cut = state.step()?;
        apply_name(&mut state.names, &step);
        state.pending_names.push(step);
        if cut { Err(power()) } else { Ok(()) }
    }
}

impl Store for Machine {
    fn place(&self) -> &Path {
        Path::new("/simulated/journals")
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        Ok(Box::new(()))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.journal_names())
    }

    fn open(&self, name: &str) -> io::Result<(Box<dyn Read>, u64)> {
        let state = self.state();
        let content = state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        let bytes = state.contents[*content].1.clone();
        let length = bytes.len() as u64;
        Ok((Box::new(Cursor::new(bytes)), length))
    }

    fn create(
        &self,
        name: &str,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        write(&mut bytes)?;
        let mut state = self.state();
        assert!(!state.names.contains_key(name), "{name} exists");
        let cut = state.step()?;
        let full = state.space.is_some_and(|space| bytes.len() > space);
        if cut || full {
            bytes.truncate(bytes.len() / 2);
        }
        let content = state.contents.len();
        state.contents.push((Vec::new(), bytes.clone()));
        state.names.insert(name.into(), content);
        state
            .pending_names
            .push(NameStep::Add(name.into(), content));
        if cut {
            return Err(power());
        }
        if full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if state.step()? {
            return Err(power());
        }
        if !state.lies.journal_content_sync {
            state.contents[content].0 = bytes;
        }
        Ok(())
    }

    fn create_empty(&self, name: &str) -> io::Result<()> {
        let content = {
            let mut state = self.state();
            state.contents.push((Vec::new(), Vec::new()));
            state.contents.len() - 1
        };
        self.name_step(NameStep::Add(name.into(), content))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.name_step(NameStep::Rename(from.into(), to.into()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.name_step(NameStep::Remove(name.into()))
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.step()? {
            return Err(power());
        }
        if !state.lies.journal_folder_sync {
            state.durable_names = state.names.clone();
            state.pending_names.clear();
        }
        Ok(())
    }
}

#[derive(Debug)]
pub struct SimulatedTarget {
    machine: Machine,
}

#[derive(Debug)]
struct Handle {
    machine: Machine,
    path: PathBuf,
}

impl Target for SimulatedTarget {
    fn open(&mut self, file: &Path) -> Result<Box<dyn TargetFile>> {
        let id = self.machine.state().tree.find(file);
        assert!(id.is_some(), "{file:?} is not there");
        let path = id.unwrap();
        assert!(self.machine.state().files.contains_key(&path), "{file:?}");
        Ok(Box::new(Handle {
            machine: self.machine.clone(),
            path,
        }))
    }

    fn security(&self, file: &Path) -> Result<Option<Vec<u8>>> {
        let state = self.machine.state();
        if state.stopped {
            return Err(Error::io("reading a descriptor")(power()));
        }
        let id = state.tree.find(file);
        Ok(id.map(|id| state.tree.security(&id)))
    }

    fn set_security(&self, file: &Path, descriptor: &[u8]) -> Result<()> {
        self.step("setting a descriptor", |state| {
            let id = state.tree.find(file).unwrap();
            if state.refused.as_deref() == Some(descriptor) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let mut kept = descriptor.to_owned();
            if state.altered.as_deref() == Some(descriptor) {
                kept.push(0);
            }
            state.tree.set_security(&id, &kept);
            Ok(())
        })
    }

    fn identity(&self, file: &Path) -> Result<Option<FileIdentity>> {
        let state = self.machine.state();
        if state.stopped {
            return Err(Error::io("looking at a name")(power()));
        }
        let id = state.tree.find(file);
        Ok(id.map(|id| FileIdentity {
            device: 1,
            inode: state.tree.number(&id),
        }))
    }

    fn rename(&self, file: &Path, name: &str) -> Result<()> {
        let in_two = self.machine.state().rename_in_two;
        let new = file.with_file_name(name);
        let free = || self.machine.state().tree.find(&new).is_none();
        assert!(free(), "{new:?} exists");
        if !in_two {
            return self.step("renaming", |state| {
                state.tree.rename(file, name);
                Ok(())
            });
        }
        self.step("adding a name", |state| {
            state.tree.add_name(file, name);
            Ok(())
        })?;
        self.step("removing a name", |state| {
            state.tree.remove_name(file);
            Ok(())
        })
    }

    fn remove_name(&self, file: &Path) -> Result<()> {
        self.step("removing a name", |state| {
            state.tree.remove_name(file);
            Ok(())
        })
    }

    fn copy_of(&self, file: &Path, longest: usize) -> Result<Option<FileCopy>> {
        let state = self.machine.state();
        if state.stopped {
            return Err(Error::io("reading a file")(power()));
        }
        let Some(id) = state.tree.find(file) else {
            return Ok(None);
        };
        let mut content = state.files[&id].now.clone();
        content.truncate(longest + 1);
        Ok(Some(FileCopy {
            content,
            descriptor: state.tree.own_security(&id).map(Into::into),
            mode: 0,
        }))
    }

    fn write_file(&self, file: &Path, copy: &FileCopy) -> Result<()> {
        assert!(
            self.machine.state().tree.find(file).is_none(),
            "{file:?} exists"
        );
        let id = PathBuf::from(format!(
            "made {} {}",
            self.machine.state().files.len(),
            file.display()
        ));
        self.step("making a name", |state| {
            state.files.insert(id.clone(), SimulatedFile::default());
            state.tree.create(file, &id);
            Ok(())
        })?;
        let handle = Handle {
            machine: self.machine.clone(),
            path: id.clone(),
        };
        handle
            .change(Step::Write(0, copy.content.clone()))
            .map_err(Error::io("writing"))?;
        if let Some(descriptor) = &copy.descriptor {
            self.step("setting a descriptor", |state| {
                state.tree.set_security(&id, descriptor);
                Ok(())
            })?;
        }
        handle.flush()?;
        self.machine.state().tree.flush_security(&id);
        Ok(())
    }

    fn remove_file(&self, file: &Path) -> Result<()> {
        self.step("removing a file", |state| {
            state.tree.delete(file);
            Ok(())
        })
    }

    fn flush_entries(&self, files: &BTreeSet<PathBuf>) -> Result<()> {
        let mut state = self.machine.state();
        let cut = state.step().map_err(Error::io("flushing a folder"))?;
        if cut {
            return Err(Error::io("flushing a folder")(power()));
        }
        if !state.lies.target_flush {
            for file in files {
                state.tree.flush(file);
            }
        }
        Ok(())
    }
}

impl SimulatedTarget {
    fn step(&self, what: &str, act: impl FnOnce(&mut State) -> io::Result<()>) -> Result<()> {
        let mut state = self.machine.state();
        let cut = state.step().map_err(Error::io(what))?;
        if !state.journal_is_durable() {
            state.write_without_journal = true;
        }
        act(&mut state).map_err(Error::io(what))?;
        if cut {
            Err(Error::io(what)(power()))
        } else {
            Ok(())
        }
    }
}

impl Handle {
    fn change(&self, step: Step) -> io::Result<()> {
        let mut state = self.machine.state();
        let cut = state.step()?;
        if let (Step::Write(offset, _), Some(bad)) = (&step, state.bad_from)
            && *offset >= bad
        {
            return Err(io::Error::other("bad sector"));
        }
        if !state.journal_is_durable() {
            state.write_without_journal = true;
        }
        let step = match step {
            Step::Write(offset, data) if cut => {
                Step::Write(offset, data[..data.len() / 2].to_vec())
            }
            other => other,
        };
        let file = state.files.get_mut(&self.path).unwrap();
        apply(&mut file.now, &step);
        file.pending.push(step);
        if cut { Err(power()) } else { Ok(()) }
    }
}

impl TargetFile for Handle {
    fn length(&self) -> Result<u64> {
        Ok(self.machine.state().files[&self.path].now.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let state = self.machine.state();
        if state.stopped {
            return Err(Error::io("reading")(power()));
        }
        let content = &state.files[&self.path].now;
        let start = offset as usize;
        buffer.copy_from_slice(&content[start..start + buffer.len()]);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        let length = self.machine.state().files[&self.path].now.len();
        assert!(offset as usize + data.len() <= length, "write past the end");
        self.change(Step::Write(offset, data.to_vec()))
            .map_err(Error::io("writing"))
    }

    fn set_length(&self, length: u64) -> Result<()> {
        if self.machine.state().lies.target_length {
            return Ok(());
        }
        self.change(Step::Length(length))
            .map_err(Error::io("changing the length"))
    }

    fn flush(&self) -> Result<()> {
        let mut state = self.machine.state();
        let cut = state.step().map_err(Error::io("flushing"))?;
        if cut {
            return Err(Error::io("flushing")(power()));
        }
        let fails = std::mem::take(&mut state.failing_flush);
        let lies = state.lies.target_flush;
        let file = state.files.get_mut(&self.path).unwrap();
        if fails {
            // As Linux does it: the pages count as clean from now on, and the disk never sees them.
            file.pending.clear();
            return Err(Error::io("flushing")(io::Error::other("lost pages")));
        }
        if !lies {
            let pending = std::mem::take(&mut file.pending);
            for step in &pending {
                apply(&mut file.durable, step);
            }
        }
        Ok(())
    }

    fn forget_cached(&self, _offset: u64, _len: u64) {
        let mut state = self.machine.state();
        let file = state.files.get_mut(&self.path).unwrap();
        if file.pending.is_empty() {
            file.now = file.durable.clone();
        }
    }
}

pub fn identity() -> TargetIdentity {
    TargetIdentity {
        path: "/simulated/target".into(),
        container: "raw".into(),
        len: 0,
        len_after: None,
        disk_id: None,
        kind: TargetKind::Image,
    }
}

pub fn header(id: &str) -> OperationHeader {
    OperationHeader {
        id: id.into(),
        started: "2026-01-31T10:15:00Z".into(),
        tool_version: "0.1.0".into(),
        command: "coldfix repair disk.raw".into(),
        target: identity(),
        edits: vec![serde_json::json!({"kind": "registry"})],
        undoes: None,
        new_disk: false,
    }
}

/// Bytes that look like nothing in particular.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = State {
        random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        ..State::default()
    };
    (0..length).map(|_| state.random(256) as u8).collect()
}

/// The patch that writes each of `changes` over `content` and makes it `after_len` long; and the
/// content after it.
pub fn patch(
    file: &str,
    content: &[u8],
    after_len: usize,
    changes: &[(usize, Vec<u8>)],
) -> (Patch, Vec<u8>) {
    let longest = content.len().max(after_len);
    let mut old = content.to_vec();
    old.resize(longest, 0);
    let mut new = old.clone();
    for (offset, data) in changes {
        new[*offset..offset + data.len()].copy_from_slice(data);
    }
    let changes = changes
        .iter()
        .map(|(offset, data)| Change {
            offset: *offset as u64,
            before: old[*offset..offset + data.len()].to_vec(),
            after: data.clone(),
        })
        .collect();
    let patch = Patch {
        file: file.into(),
        before_len: content.len() as u64,
        after_len: after_len as u64,
        changes,
    };
    new.truncate(after_len);
    (patch, new)
}
