// SPDX-License-Identifier: GPL-2.0-or-later
//! Names and descriptors of the simulated target, as they are now and as they are on the disk.
//!
//! A file or folder is known by the path that it had at first. A name lies in a folder and leads to one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Loss;

/// What is behind the path of a descriptor in what [`super::Machine::files`] shows.
pub const SECURITY: &str = ":security";

/// By folder and name, what is there.
type Names = BTreeMap<(PathBuf, String), PathBuf>;

#[derive(Clone, Debug)]
enum Step {
    Add(PathBuf, String, PathBuf),
    Remove(PathBuf, String),
    Rename(PathBuf, String, String),
    /// A name, and the file with it where it was the last one.
    Delete(PathBuf, String),
}

impl Step {
    fn folder(&self) -> &Path {
        match self {
            Step::Add(folder, ..)
            | Step::Remove(folder, _)
            | Step::Rename(folder, ..)
            | Step::Delete(folder, _) => folder,
        }
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Step::Add(folder, name, id) => {
                names.insert((folder.clone(), name.clone()), id.clone());
            }
            Step::Remove(folder, name) | Step::Delete(folder, name) => {
                names.remove(&(folder.clone(), name.clone()));
            }
            Step::Rename(folder, from, to) => {
                if let Some(id) = names.remove(&(folder.clone(), from.clone())) {
                    names.insert((folder.clone(), to.clone()), id);
                }
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Descriptor {
    durable: Vec<u8>,
    now: Vec<u8>,
    pending: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    names: Names,
    durable: Names,
    pending: Vec<Step>,
    descriptors: BTreeMap<PathBuf, Descriptor>,
}

pub(super) fn is_security(path: &Path) -> bool {
    path.to_str().unwrap().ends_with(SECURITY)
}

impl Tree {
    /// From contents by path, and descriptors by path with `SECURITY` behind it.
    pub(super) fn new(files: &BTreeMap<PathBuf, Vec<u8>>) -> Tree {
        let mut tree = Tree::default();
        for (path, bytes) in files {
            let text = path.to_str().unwrap();
            let path = Path::new(text.strip_suffix(SECURITY).unwrap_or(text));
            if is_security(Path::new(text)) {
                let descriptor = Descriptor {
                    durable: bytes.clone(),
                    now: bytes.clone(),
                    pending: Vec::new(),
                };
                tree.descriptors.insert(path.to_owned(), descriptor);
            }
            for id in path.ancestors().filter(|id| id.file_name().is_some()) {
                let name = id.file_name().unwrap().to_str().unwrap();
                let key = (id.parent().unwrap().to_owned(), name.to_owned());
                tree.names.insert(key, id.to_owned());
            }
        }
        tree.durable = tree.names.clone();
        tree
    }

    /// Where the folder and the name are that a path ends in.
    fn place(&self, path: &Path) -> Option<(PathBuf, String)> {
        let name = path.file_name()?.to_str()?.to_owned();
        let mut folder = PathBuf::new();
        for part in path.parent()? {
            let key = (folder, part.to_str()?.to_owned());
            folder = self.names.get(&key)?.clone();
        }
        Some((folder, name))
    }

    pub(super) fn find(&self, path: &Path) -> Option<PathBuf> {
        self.names.get(&self.place(path)?).cloned()
    }

    /// A number of its own for each.
    pub(super) fn number(&self, id: &Path) -> u64 {
        let mut ids: Vec<&PathBuf> = self.names.values().collect();
        ids.sort();
        ids.dedup();
        ids.iter().position(|other| *other == id).unwrap() as u64
    }

    fn step(&mut self, step: Step) {
        step.apply(&mut self.names);
        self.pending.push(step);
    }

    /// Another folder than any that had this path before.
    pub(super) fn make(&mut self, path: &Path) {
        let (folder, name) = self.place(path).unwrap();
        let id = PathBuf::from(format!("another {}", path.display()));
        self.step(Step::Add(folder, name, id));
    }

    pub(super) fn rename(&mut self, path: &Path, name: &str) {
        let (folder, old) = self.place(path).unwrap();
        self.step(Step::Rename(folder, old, name.to_owned()));
    }

    pub(super) fn add_name(&mut self, path: &Path, name: &str) {
        let id = self.find(path).unwrap();
        let (folder, _) = self.place(path).unwrap();
        self.step(Step::Add(folder, name.to_owned(), id));
    }

    /// Never the only one.
    pub(super) fn remove_name(&mut self, path: &Path) {
        let id = self.find(path).unwrap();
        let names = self.names.values().filter(|other| **other == id).count();
        assert!(names > 1, "{path:?} is the only name");
        let (folder, name) = self.place(path).unwrap();
        self.step(Step::Remove(folder, name));
    }

    pub(super) fn create(&mut self, path: &Path, id: &Path) {
        let (folder, name) = self.place(path).unwrap();
        self.step(Step::Add(folder, name, id.to_owned()));
    }

    pub(super) fn delete(&mut self, path: &Path) {
        assert!(self.find(path).is_some(), "{path:?} is not there");
        let (folder, name) = self.place(path).unwrap();
        self.step(Step::Delete(folder, name));
    }

    /// The descriptor of what has one.
    pub(super) fn own_security(&self, id: &Path) -> Option<Vec<u8>> {
        self.descriptors.get(id).map(|found| found.now.clone())
    }

    pub(super) fn flush_security(&mut self, id: &Path) {
        if let Some(descriptor) = self.descriptors.get_mut(id) {
            descriptor.durable = descriptor.now.clone();
            descriptor.pending.clear();
        }
    }

    pub(super) fn security(&self, id: &Path) -> Vec<u8> {
        self.descriptors[id].now.clone()
    }

    pub(super) fn set_security(&mut self, id: &Path, bytes: &[u8]) {
        let descriptor = self.descriptors.entry(id.to_owned()).or_default();
        descriptor.now = bytes.to_owned();
        descriptor.pending.push(bytes.to_owned());
    }

    /// Makes durable what was done to this file: its descriptor, and the names in its folder.
    pub(super) fn flush(&mut self, path: &Path) {
        if let Some(id) = self.find(path) {
            self.flush_security(&id);
        }
        let folder = self.place(path).unwrap().0;
        let (flushed, rest): (Vec<Step>, Vec<Step>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|step| step.folder() == folder);
        for step in flushed {
            step.apply(&mut self.durable);
        }
        self.pending = rest;
    }

    pub(super) fn crash(&mut self, loss: Loss, random: &mut dyn FnMut(u64) -> u64) {
        for descriptor in self.descriptors.values_mut() {
            for pending in std::mem::take(&mut descriptor.pending) {
                if matches!(loss, Loss::Some(_)) && random(2) == 0 {
                    descriptor.durable = pending;
                }
            }
            match loss {
                Loss::Nothing => descriptor.durable = descriptor.now.clone(),
                _ => descriptor.now = descriptor.durable.clone(),
            }
        }
        let pending = std::mem::take(&mut self.pending);
        if loss == Loss::Nothing {
            self.durable = self.names.clone();
            return;
        }
        for step in pending {
            if loss == Loss::Everything || random(2) == 0 {
                continue;
            }
            // A host that loses the only name of a file loses the file; that is beyond us.
            let mut after = self.durable.clone();
            step.apply(&mut after);
            let there = |names: &Names, id: &PathBuf| names.values().any(|other| other == id);
            let meant = matches!(step, Step::Delete(..));
            if meant || self.durable.values().all(|id| there(&after, id)) {
                self.durable = after;
            }
        }
        self.names = self.durable.clone();
    }

    /// Contents and descriptors by every path that leads to them.
    pub(super) fn show(
        &self,
        content: &dyn Fn(&Path) -> Option<Vec<u8>>,
    ) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut shown = BTreeMap::new();
        let mut open = vec![(PathBuf::new(), PathBuf::new())];
        while let Some((folder, path)) = open.pop() {
            for ((_, name), id) in self.names.iter().filter(|((of, _), _)| *of == folder) {
                let path = path.join(name);
                if let Some(content) = content(id) {
                    shown.insert(path.clone(), content);
                }
                if let Some(descriptor) = self.descriptors.get(id) {
                    let text = format!("{}{SECURITY}", path.display());
                    shown.insert(text.into(), descriptor.now.clone());
                }
                open.push((id.clone(), path));
            }
        }
        shown
    }
}
