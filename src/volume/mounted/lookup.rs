// SPDX-License-Identifier: GPL-2.0-or-later
//! Many paths at once: each folder on the way is listed once, and then every name in it is known.
//!
//! Resolving a hundred thousand paths one by one (`walk`) would ask the host for each part of each path, and
//! ntfs-3g takes its time over every answer.
//!
//! Only listed names count. A host also finds files under names that it does not list, their short (8.3)
//! ones: one file would go by two paths, and a rename would lose the long name. So those are refused.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::names::{same_without_case, upcased};
use super::walk::{Tree, ambiguous, look, not_followed};
use crate::error::{Error, Result};
use crate::volume::path;

/// The folders listed so far.
#[derive(Debug)]
pub(super) struct Lookup<'a> {
    tree: &'a Tree,
    /// By host path.
    folders: HashMap<PathBuf, Folder>,
}

/// The names in a folder, by their upper case.
#[derive(Debug, Default)]
pub(super) struct Folder(HashMap<String, Vec<Name>>);

#[derive(Debug)]
pub(super) struct Name {
    pub(super) shown: String,
    /// As the host has it.
    pub(super) stored: String,
}

impl Folder {
    /// The names that Windows takes for this one.
    pub(super) fn same(&self, name: &str) -> &[Name] {
        self.0.get(&upcased(name)).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, shown: String, stored: String) {
        let same = self.0.entry(upcased(&shown)).or_default();
        same.push(Name { shown, stored });
    }

    /// Everything in it.
    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        self.0.values().flatten()
    }
}

impl<'a> Lookup<'a> {
    pub(super) fn new(tree: &'a Tree) -> Lookup<'a> {
        Lookup {
            tree,
            folders: HashMap::new(),
        }
    }

    /// Where `path` leads on the host; an error when it does not exist.
    pub(super) fn find(&mut self, path: &str) -> Result<PathBuf> {
        let mut host = self.tree.root().to_owned();
        for part in path::parts(path) {
            let folder = self.folder(path, &host)?;
            let same = folder.same(part);
            let found = match same {
                [] => None,
                [name] => Some(name),
                names => names.iter().find(|name| name.shown == part),
            };
            let Some(found) = found else {
                return Err(match same.is_empty() {
                    true => not_listed(path, &host, part),
                    false => ambiguous(path, part),
                });
            };
            host.push(&found.stored);
        }
        Ok(host)
    }

    /// Refuses unless `name` is free in a folder of the host for what is stored there as `stored`: neither on
    /// the host now, also not as a short name, nor by what is to change.
    pub(super) fn check_free(
        &mut self,
        path: &str,
        folder: &Path,
        stored: &str,
        name: &str,
    ) -> Result<()> {
        if name == stored {
            return Ok(()); // back to what it is on the host
        }
        match self.taken(path, folder, Some(stored), name)? {
            Some(taken) => Err(Error::refused(
                format!("{path} cannot be renamed to {name}: there is {taken}"),
                "choose another name",
            )),
            None => Ok(()),
        }
    }

    /// What has the name already, for what is stored as `stored` if it is there at all.
    pub(super) fn taken(
        &mut self,
        path: &str,
        folder: &Path,
        stored: Option<&str>,
        name: &str,
    ) -> Result<Option<String>> {
        for other in self.folder(path, folder)?.names() {
            if same_without_case(&other.stored, name) {
                return Ok(Some(other.stored.clone()));
            }
            if Some(other.stored.as_str()) != stored && same_without_case(&other.shown, name) {
                return Ok(Some(other.shown.clone()));
            }
        }
        let looking = Error::io(format!("looking for {name}"));
        let there = look(&folder.join(name)).map_err(looking)?;
        Ok(there.map(|_| {
            "a file or folder that has it as its short (8.3) name, or is about to lose it"
                .to_owned()
        }))
    }

    /// What a folder of the host holds; `path` is for messages.
    pub(super) fn folder(&mut self, path: &str, host: &Path) -> Result<&Folder> {
        if !self.folders.contains_key(host) {
            let folder = self.list(path, host)?;
            self.folders.insert(host.to_owned(), folder);
        }
        self.folders.get(host).ok_or_else(|| path::not_found(path))
    }

    fn list(&self, path: &str, host: &Path) -> Result<Folder> {
        let looking = || Error::io(format!("looking for {path}"));
        match look(host).map_err(looking())? {
            Some(metadata) if metadata.is_dir() => {}
            Some(metadata) if metadata.is_file() => return Err(path::not_found(path)),
            Some(_) => {
                let name = host.file_name().unwrap_or_default();
                return Err(not_followed(path, &name.to_string_lossy()));
            }
            None => return Err(path::not_found(path)),
        }
        let changes = self.tree.changes();
        let mut folder = Folder::default();
        for entry in fs::read_dir(host).map_err(looking())? {
            // A name that is not Unicode cannot be asked for.
            let Ok(stored) = entry.map_err(looking())?.file_name().into_string() else {
                continue;
            };
            if let Some(shown) = changes.shown(host, &stored).map(str::to_owned) {
                folder.add(shown, stored);
            }
        }
        for (name, _) in changes.made_in(host) {
            folder.add(name.to_owned(), name.to_owned());
        }
        Ok(folder)
    }
}

/// Why a name is not among those of its folder.
fn not_listed(path: &str, folder: &Path, part: &str) -> Error {
    if part.contains(char::REPLACEMENT_CHARACTER) {
        return Error::unsupported(
            format!("{path}: a name that is not Unicode cannot be reached through the folder"),
            "give coldfix the disk itself, or its image, instead of the mounted folder",
        );
    }
    if part != ".." && matches!(look(&folder.join(part)), Ok(Some(_))) {
        return Error::refused(
            format!("{path}: {part} is a short (8.3) name, or one that is about to change"),
            "give the name as the folder lists it",
        );
    }
    path::not_found(path)
}
