// SPDX-License-Identifier: GPL-2.0-or-later
//! From a path to a host file: walks the host's folders, comparing names as Windows does.
//!
//! ```text
//! path -> part -> the name as written    -> there: that one
//!                 names in another case  -> one: that one; several: refused
//! ```
//!
//! At each step the entry itself is looked at, never what a link points to: a link (ntfs-3g shows junctions
//! and other reparse points as links too) is `Other` and not walked through, and `..` is no name. So a
//! path cannot leave the root. Names that are not UTF-8 are listed with replacement characters and cannot be
//! reached.
//!
//! Names that are about to change (`names`) are looked for and shown as they are to be.
//!
//! A host folder may itself compare without case (vfat, `lowntfs-3g`, macOS, Windows). Then the name as
//! written would be found in any case, and one file would go by two names; so there the folder is searched.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::names::{NameChanges, same_without_case};
use crate::error::{Error, Result};
use crate::volume::{EntryKind, TreeEntry, path};

/// The mounted folder.
#[derive(Debug)]
pub(super) struct Tree {
    /// Absolute, without links.
    root: PathBuf,
    changes: RwLock<NameChanges>,
}

/// A file or folder that a path led to.
#[derive(Debug)]
pub(super) struct Node {
    /// Where it is on the host.
    pub(super) host: PathBuf,
    /// Its path from the root, parts separated by `/`, each as stored or as it is to be.
    pub(super) path: String,
    /// What it is.
    pub(super) kind: EntryKind,
    /// Length in bytes on the host.
    pub(super) len: u64,
}

impl Node {
    fn new(host: PathBuf, path: String, metadata: &Metadata) -> Node {
        let kind = match metadata.file_type() {
            kind if kind.is_file() => EntryKind::File,
            kind if kind.is_dir() => EntryKind::Directory,
            _ => EntryKind::Other,
        };
        Node {
            host,
            path,
            kind,
            len: if kind == EntryKind::File {
                metadata.len()
            } else {
                0
            },
        }
    }

    /// A file that is not on the host yet.
    fn made(host: PathBuf, path: String, len: u64) -> Node {
        Node {
            host,
            path,
            kind: EntryKind::File,
            len,
        }
    }

    /// Its name; empty for the root.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The path of what has this name in it.
    fn below(&self, name: &str) -> String {
        match self.path.is_empty() {
            true => name.to_owned(),
            false => format!("{}/{name}", self.path),
        }
    }
}

impl Tree {
    /// The tree below `root`, which may be reached through links.
    pub(super) fn open(root: &Path) -> Result<Tree> {
        let opening = || Error::io(format!("opening {}", root.display()));
        let real = root.canonicalize().map_err(opening())?;
        if !fs::metadata(&real).map_err(opening())?.is_dir() {
            return Err(Error::unsupported(
                format!("{} is not a folder", root.display()),
                "give the folder where the Windows volume is mounted",
            ));
        }
        Ok(Tree {
            root: real,
            changes: RwLock::default(),
        })
    }

    /// The names that are to change.
    pub(super) fn changes(&self) -> RwLockReadGuard<'_, NameChanges> {
        self.changes.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, to change more of them.
    pub(super) fn changes_mut(&self) -> RwLockWriteGuard<'_, NameChanges> {
        self.changes.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder's absolute path.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// What `path` leads to; `None` when a part of it does not exist.
    pub(super) fn resolve(&self, path: &str) -> Result<Option<Node>> {
        let looking = Error::io(format!("looking for {path}"));
        let metadata = fs::symlink_metadata(&self.root).map_err(looking)?;
        let mut node = Node::new(self.root.clone(), String::new(), &metadata);
        let changes = self.changes();
        for part in path::parts(path) {
            match node.kind {
                EntryKind::Directory => {}
                EntryKind::File => return Ok(None),
                EntryKind::Other => return Err(not_followed(path, node.name())),
            }
            let Some((name, stored)) = find_name(&changes, path, &node.host, part)? else {
                return Ok(None);
            };
            let host = node.host.join(&stored);
            if let Some(len) = changes.made(&host) {
                node = Node::made(host, node.below(&name), len);
                continue;
            }
            let Some(metadata) = look(&host).map_err(Error::io(format!("looking for {path}")))?
            else {
                return Ok(None);
            };
            node = Node::new(host, node.below(&name), &metadata);
        }
        Ok(Some(node))
    }

    /// What `path` leads to; an error when it does not exist.
    fn expect(&self, path: &str) -> Result<Node> {
        self.resolve(path)?.ok_or_else(|| path::not_found(path))
    }

    /// The plain file that `path` leads to.
    pub(super) fn expect_file(&self, path: &str) -> Result<Node> {
        let node = self.expect(path)?;
        match node.kind {
            EntryKind::File => Ok(node),
            EntryKind::Directory => Err(Error::unsupported(
                format!("{path} is a folder"),
                "give the path of a file in it",
            )),
            EntryKind::Other => Err(not_followed(path, node.name())),
        }
    }

    /// What the folder at `path` holds, in no order.
    pub(super) fn list(&self, path: &str) -> Result<Vec<Node>> {
        let node = self.expect(path)?;
        match node.kind {
            EntryKind::Directory => {}
            EntryKind::File => {
                return Err(Error::unsupported(
                    format!("{path} is not a folder"),
                    "give the path of a folder",
                ));
            }
            EntryKind::Other => return Err(not_followed(path, node.name())),
        }
        self.list_folder(&node)
    }

    /// What a folder holds, in no order.
    fn list_folder(&self, folder: &Node) -> Result<Vec<Node>> {
        let listing = || Error::io(format!("listing {}", folder.host.display()));
        let changes = self.changes();
        let mut nodes = Vec::new();
        for entry in fs::read_dir(&folder.host).map_err(listing())? {
            let entry = entry.map_err(listing())?;
            let stored = entry.file_name();
            let stored = stored.to_string_lossy();
            let Some(shown) = changes.shown(&folder.host, &stored) else {
                continue;
            };
            let path = folder.below(shown);
            match look(&entry.path()) {
                Ok(Some(metadata)) => nodes.push(Node::new(entry.path(), path, &metadata)),
                Ok(None) => {} // deleted meanwhile
                // One bad entry must not hide the others; whoever opens it is told.
                Err(_) => nodes.push(Node {
                    host: entry.path(),
                    path,
                    kind: EntryKind::Other,
                    len: 0,
                }),
            }
        }
        for (name, len) in changes.made_in(&folder.host) {
            let host = folder.host.join(name);
            nodes.push(Node::made(host, folder.below(name), len));
        }
        Ok(nodes)
    }

    /// What `path` leads to and everything below it, each folder before what is in it, sorted by name within it.
    /// Links are listed and not entered.
    pub(super) fn tree(&self, path: &str) -> Result<Vec<TreeEntry>> {
        let mut found = Vec::new();
        let mut open = vec![self.expect(path)?];
        while let Some(node) = open.pop() {
            if node.kind == EntryKind::Directory {
                let mut below = self.list_folder(&node)?;
                below.sort_by(|left, right| right.path.cmp(&left.path));
                open.extend(below);
            }
            found.push(TreeEntry {
                path: node.path,
                kind: node.kind,
            });
        }
        Ok(found)
    }
}

/// The name that `part` means in a folder of the host: as it is shown, and as it is stored.
fn find_name(
    changes: &NameChanges,
    path: &str,
    folder: &Path,
    part: &str,
) -> Result<Option<(String, String)>> {
    if !changes.are_in(folder) {
        let stored = stored_name(path, folder, part)?;
        return Ok(stored.map(|stored| (stored.clone(), stored)));
    }
    let looking = || Error::io(format!("looking for {path}"));
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(looking())? {
        if let Ok(stored) = entry.map_err(looking())?.file_name().into_string() {
            let shown = changes.shown(folder, &stored).map(str::to_owned);
            names.extend(shown.map(|shown| (shown, stored)));
        }
    }
    let made = changes.made_in(folder);
    names.extend(made.map(|(name, _)| (name.to_owned(), name.to_owned())));
    one_of(path, part, names)
}

/// The name that `part` means, of several. Each may come with what else is known of it.
fn one_of<T>(
    path: &str,
    part: &str,
    names: impl IntoIterator<Item = (String, T)>,
) -> Result<Option<(String, T)>> {
    let mut found = None;
    let mut several = false;
    for (name, rest) in names {
        if name == part {
            return Ok(Some((name, rest)));
        }
        if same_without_case(&name, part) {
            several |= found.is_some();
            found = Some((name, rest));
        }
    }
    if several {
        return Err(ambiguous(path, part));
    }
    Ok(found)
}

/// The error for a name that stands for several.
pub(super) fn ambiguous(path: &str, part: &str) -> Error {
    Error::refused(
        format!("{path}: several names differ from {part} in upper and lower case only"),
        "write the name exactly as it is stored",
    )
}

pub(super) fn not_followed(path: &str, name: &str) -> Error {
    Error::unsupported(
        format!(
            "{path}: {name} is a link or another thing that is neither file nor folder; it is not followed"
        ),
        "give the path that it points to",
    )
}

/// What lies at `host`, itself and not what it points to; `None` when nothing does.
pub(super) fn look(host: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(host) {
        Ok(metadata) => Ok(Some(metadata)),
        // Names that the host cannot have: with a zero, or too long.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::InvalidFilename
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The name in `folder` that `part` means, as it is stored; `None` when there is none.
fn stored_name(path: &str, folder: &Path, part: &str) -> Result<Option<String>> {
    if part == ".." {
        return Ok(None);
    }
    let looking = || Error::io(format!("looking for {path}"));
    if is_stored_exactly(folder, part).map_err(looking())? {
        return Ok(Some(part.to_owned()));
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(looking())? {
        if let Ok(name) = entry.map_err(looking())?.file_name().into_string() {
            names.push((name, ()));
        }
    }
    Ok(one_of(path, part, names)?.map(|(name, ())| name))
}

/// True when `folder` surely stores the name `part` as it is written; found without searching the folder,
/// which may hold many thousands of names.
#[cfg(unix)]
fn is_stored_exactly(folder: &Path, part: &str) -> io::Result<bool> {
    if look(&folder.join(part))?.is_none() {
        return Ok(false);
    }
    let mut other = part.to_uppercase();
    if other == part {
        other = part.to_lowercase();
    }
    // Found in both spellings: there are two, or the folder compares without case.
    Ok(other == part || look(&folder.join(other))?.is_none())
}

/// Never sure here: the host would also find 8.3 names, devices and names with dots at the end.
#[cfg(not(unix))]
fn is_stored_exactly(_folder: &Path, _part: &str) -> io::Result<bool> {
    Ok(false)
}
