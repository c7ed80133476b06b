// SPDX-License-Identifier: GPL-2.0-or-later
//! A folder where the host has mounted a Windows volume, or a copy of one: its files are the host's files.
//!
//! ```text
//! path -> walk -> host file --read--> content, and a fingerprint of it is kept
//!                     |                  |
//!                     |              replace: the new content stays here, in memory
//!                     v                  v
//!                  patches: the file, still what it was, against the new content -> 512-byte ranges
//!
//! set_security, rename, create, remove: what the host is to do stays here too -> operations
//! ```
//!
//! Nothing is ever written here: a commit writes the patches and has the host do the operations. It compares
//! only the ranges that change, so that [`MountedFolder::patches`] checks the whole file against its
//! fingerprint: an edit of a file that has changed since it was read is refused. Until then everything that is
//! asked is answered as if it had been written.
//!
//! Links lead nowhere (see `walk`). Not handled: making and removing folders, alternate data streams; what
//! the host's file system knows of the volume (label, dirty flag, $LogFile) is not asked, because a mounted
//! volume is in the host's care. Hosts other than Unix are not asked whether the folder can be written; there
//! the commit finds out, before it writes.

mod difference;
mod file;
mod fingerprint;
mod lookup;
mod names;
mod security;
mod walk;
mod whole_files;

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::device::{ChangeSet, FileCopy, HostOperation, Patch};
use crate::error::{Error, Result, ResultExt};
use crate::volume::{Entry, EntryKind, State, TreeEntry, Volume, hibernated, name, path};

use difference::Difference;
use fingerprint::Fingerprint;
use lookup::Lookup;
use security::{Descriptors, not_offered};
use walk::{Node, Tree};
use whole_files::WholeFiles;

/// The longest file that is replaced, in bytes; ours. Hives, the longest files that are edited, end at 2 GiB.
const LONGEST: u64 = 1 << 32;

/// The mode of a file that is made without another's to go by.
const NEW_FILE: u32 = 0o644;

/// What is looked at of hiberfil.sys: its header.
const HIBERNATION_HEADER_LEN: usize = 4096;

/// A mounted Windows volume. See the module.
#[derive(Debug)]
pub struct MountedFolder {
    tree: Tree,
    state: State,
    hibernation: Option<String>,
    /// By absolute host path: every file whose content was read or replaced.
    files: Mutex<BTreeMap<PathBuf, Known>>,
    descriptors: Mutex<Descriptors>,
    whole: Mutex<WholeFiles>,
    /// What a person should know of the changes, by the host path concerned.
    notes: Mutex<BTreeMap<PathBuf, String>>,
}

/// What is known of a file's content.
#[derive(Debug)]
struct Known {
    /// What was on the host when it was first read.
    before: Fingerprint,
    /// What is to become of that; `None` when nothing is.
    patch: Option<Patch>,
}

impl MountedFolder {
    /// Opens the folder at `root`, for reading; [`Volume::check_writable`] judges whether more is safe.
    ///
    /// `Io` when there is nothing at `root`, `Unsupported` when it is no folder.
    pub fn open(root: &Path) -> Result<MountedFolder> {
        let tree = Tree::open(root)?;
        let hibernation = hibernation(&tree);
        Ok(MountedFolder {
            state: State {
                file_system: "folder",
                hibernated: hibernation.is_some(),
                ..State::default()
            },
            tree,
            hibernation,
            files: Mutex::default(),
            descriptors: Mutex::default(),
            whole: Mutex::default(),
            notes: Mutex::default(),
        })
    }

    /// What is to be written: one patch for each file whose new content differs from the old one, sorted by
    /// file; [`Patch::file`] is the absolute host path. Empty when nothing was replaced.
    ///
    /// `Refused` when one of the files is no longer what it was when it was read.
    pub fn patches(&self) -> Result<Vec<Patch>> {
        let files = self.files();
        let mut patches = Vec::new();
        for (file, known) in files.iter() {
            let Some(patch) = &known.patch else {
                continue;
            };
            let mut before = Fingerprint::default();
            file::pieces(file, LONGEST, |piece| before.add(piece))
                .context(|| format!("looking again at {}", file.display()))?;
            if before != known.before {
                return Err(changed(&file.display().to_string()));
            }
            patches.push(patch.clone());
        }
        Ok(patches)
    }

    /// Everything that is to be done: [`MountedFolder::patches`], and what the host is to do. That descriptors and
    /// names are still what they were is seen by the commit.
    pub fn changes(&self) -> Result<ChangeSet> {
        let mut operations = lock(&self.descriptors).operations();
        let names = self.tree.changes();
        operations.extend(names.renamed().map(|(file, name)| HostOperation::Rename {
            file,
            name: name.to_owned(),
        }));
        drop(names);
        operations.extend(lock(&self.whole).operations());
        Ok(ChangeSet {
            patches: self.patches()?,
            operations,
        })
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Known>> {
        lock(&self.files)
    }

    /// What is to become of the content of the file at `host`.
    fn patch(&self, host: &Path) -> Option<Patch> {
        self.files().get(host).and_then(|known| known.patch.clone())
    }

    /// What callers see of a node.
    fn entry_of(&self, node: &Node) -> Entry {
        let files = self.files();
        let pending = files.get(&node.host).and_then(|known| known.patch.as_ref());
        Entry {
            name: node.name().to_owned(),
            kind: node.kind,
            len: match (node.kind, pending) {
                (EntryKind::Directory, _) => 0,
                (_, Some(patch)) => patch.after_len,
                (_, None) => node.len,
            },
        }
    }
}

impl Volume for MountedFolder {
    fn state(&self) -> &State {
        &self.state
    }

    fn check_writable(&self) -> Result<()> {
        if let Some(how) = &self.hibernation {
            return Err(hibernated(how));
        }
        file::check_mounted_for_writing(self.tree.root())
    }

    fn entry(&self, path: &str) -> Result<Option<Entry>> {
        let node = self.tree.resolve(path)?;
        Ok(node.map(|node| self.entry_of(&node)))
    }

    fn list(&self, path: &str) -> Result<Vec<Entry>> {
        let nodes = self.tree.list(path)?;
        let mut entries: Vec<Entry> = nodes.iter().map(|node| self.entry_of(node)).collect();
        entries.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(entries)
    }

    fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>> {
        let host = self.tree.expect_file(path)?.host;
        if let Some(made) = lock(&self.whole).made(&host) {
            if len(&made.content) > limit {
                return Err(path::too_long(path, len(&made.content), limit));
            }
            return Ok(made.content.clone());
        }
        let patch = self.patch(&host);
        let longest = match &patch {
            Some(patch) if patch.after_len > limit => {
                return Err(path::too_long(path, patch.after_len, limit));
            }
            Some(patch) => patch.before_len,
            None => limit,
        };
        let mut content = file::read(&host, longest).context(|| format!("reading {path}"))?;
        let before = Fingerprint::of(&content);
        let mut files = self.files();
        // The first reading counts: an edit may stand on it, whatever a later one finds.
        let known = files.entry(host).or_insert(Known {
            before,
            patch: None,
        });
        if let Some(patch) = patch {
            if known.before != before {
                return Err(changed(path));
            }
            difference::apply(&patch, &mut content);
        }
        Ok(content)
    }

    fn holds(&self, path: &str, content: &[u8]) -> Result<bool> {
        let host = self.tree.expect_file(path)?.host;
        if let Some(made) = lock(&self.whole).made(&host) {
            return Ok(made.content == content);
        }
        let patch = self.patch(&host);
        let mut difference = Difference::new(content);
        file::pieces(&host, LONGEST, |piece| difference.piece(piece))
            .context(|| format!("reading {path}"))?;
        Ok(difference.finish(&host) == patch)
    }

    fn read_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Vec<Vec<u8>>> {
        let host = self.tree.expect_file(path)?.host;
        if let Some(made) = lock(&self.whole).made(&host) {
            return Ok(parts(&made.content, ranges));
        }
        if self.patch(&host).is_some() {
            return Ok(parts(&self.read(path, LONGEST)?, ranges));
        }
        file::read_ranges(&host, ranges).context(|| format!("reading {path}"))
    }

    fn modified(&self, path: &str) -> Result<Option<u64>> {
        /// 1601 to 1970, in units of 100 ns.
        const UNIX_EPOCH: i128 = 116_444_736_000_000_000;
        let host = self.tree.expect_file(path)?.host;
        let looking = Error::io(format!("looking at {path}"));
        let Some(metadata) = walk::look(&host).map_err(looking)? else {
            return Ok(None);
        };
        // A host that keeps no such time.
        let Ok(moment) = metadata.modified() else {
            return Ok(None);
        };
        let units = match moment.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => i128::try_from(since.as_nanos() / 100).ok(),
            Err(before) => i128::try_from(before.duration().as_nanos() / 100)
                .ok()
                .map(|units| 0_i128.saturating_sub(units)),
        };
        let filetime = units.and_then(|units| UNIX_EPOCH.checked_add(units));
        Ok(filetime.and_then(|filetime| u64::try_from(filetime).ok()))
    }

    fn capacity(&self, path: &str) -> Result<u64> {
        self.tree.expect_file(path)?;
        Ok(u64::MAX)
    }

    fn replace(&self, path: &str, content: &[u8]) -> Result<()> {
        self.check_writable()?;
        let host = self.tree.expect_file(path)?.host;
        if len(content) > LONGEST {
            return Err(path::too_long(path, len(content), LONGEST));
        }
        if lock(&self.whole).replace(&host, content) {
            self.tree.changes_mut().make(&host, len(content));
            return Ok(());
        }
        let mut before = Fingerprint::default();
        let mut difference = Difference::new(content);
        let handle = file::pieces(&host, LONGEST, |piece| {
            before.add(piece);
            difference.piece(piece);
        })
        .context(|| format!("reading {path} to replace it"))?;
        // Another file system may be mounted below the root.
        file::check_mounted_for_writing(&handle)?;
        let patch = difference.finish(&host);
        let mut files = self.files();
        let known = files.entry(host).or_insert(Known {
            before,
            patch: None,
        });
        if known.before != before {
            return Err(changed(path));
        }
        known.patch = patch;
        Ok(())
    }

    fn tree(&self, path: &str) -> Result<Vec<TreeEntry>> {
        self.tree.tree(path)
    }

    fn security(&self, paths: &[&str]) -> Result<Vec<Arc<[u8]>>> {
        let mut lookup = Lookup::new(&self.tree);
        let mut descriptors = lock(&self.descriptors);
        let mut found = Vec::with_capacity(paths.len());
        for path in paths {
            let host = lookup.find(path)?;
            found.push(match lock(&self.whole).made(&host) {
                Some(made) => made.descriptor.clone().ok_or_else(|| not_offered(path))?,
                None => descriptors.get(path, host)?,
            });
        }
        Ok(found)
    }

    /// `now` plays no part: the host keeps the time of the change.
    fn set_security(&self, descriptor: &[u8], paths: &[&str], _now: u64) -> Result<()> {
        self.check_writable()?;
        security::check(descriptor)?;
        let mut lookup = Lookup::new(&self.tree);
        let mut folders = HashSet::new();
        let mut descriptors = lock(&self.descriptors);
        let mut hosts = Vec::with_capacity(paths.len());
        for path in paths {
            let host = lookup.find(path)?;
            self.check_not_made(path, &host)?;
            // Another file system may be mounted below the root.
            if host != self.tree.root()
                && let Some(folder) = host.parent()
                && !folders.contains(folder)
            {
                file::check_mounted_for_writing(folder)?;
                folders.insert(folder.to_owned());
            }
            hosts.push(descriptors.check(path, host)?);
        }
        // Nothing can fail from here on.
        descriptors.set(descriptor, hosts);
        Ok(())
    }

    /// `now` plays no part: the host keeps the time of the change.
    fn rename(&self, path: &str, name: &str, _now: u64) -> Result<()> {
        self.check_writable()?;
        name::check(name)?;
        let mut lookup = Lookup::new(&self.tree);
        let host = lookup.find(path)?;
        self.check_not_made(path, &host)?;
        let (Some(folder), Some(stored)) = (
            host.parent().filter(|_| host != self.tree.root()),
            host.file_name().and_then(std::ffi::OsStr::to_str),
        ) else {
            return Err(Error::refused(
                "the root of a volume has no name to change",
                "give the path of a file or folder in it",
            ));
        };
        file::check_mounted_for_writing(folder)?;
        file::check_not_mounted_on(path, folder, &host)?;
        file::check_spelling(path, folder, stored)?;
        lookup.check_free(path, folder, stored, name)?;
        let note = file::short_name(&host).map(|short| {
            format!(
                "{path}: the host's file system drops the short (8.3) name {short} with the rename, and an undo does \
                 not give it back"
            )
        });
        self.check_nothing_made_below(path, &host)?;
        self.tree.changes_mut().set(folder, stored, name);
        let mut notes = lock(&self.notes);
        match note.filter(|_| stored != name) {
            Some(note) => notes.insert(host, note),
            None => notes.remove(&host),
        };
        Ok(())
    }

    fn create_file(&self, path: &str, content: &[u8], descriptor: &[u8], _now: u64) -> Result<()> {
        security::check(descriptor)?;
        let copy = FileCopy {
            content: content.to_vec(),
            descriptor: Some(descriptor.into()),
            mode: NEW_FILE,
        };
        self.make(path, copy)
    }

    fn create_file_like(&self, path: &str, content: &[u8], like: &str, _now: u64) -> Result<()> {
        let host = self.tree.expect_file(like)?.host;
        let whole = lock(&self.whole);
        let (descriptor, mode) = match whole.made(&host) {
            Some(made) => (made.descriptor.clone(), made.mode),
            None => whole_files::permissions(like, &host)?,
        };
        drop(whole);
        let copy = FileCopy {
            content: content.to_vec(),
            descriptor,
            mode,
        };
        self.make(path, copy)
    }

    fn check_removable(&self, path: &str) -> Result<()> {
        self.removal(path).map(drop)
    }

    /// `now` plays no part: the host keeps the time of the change.
    fn remove(&self, path: &str, _now: u64) -> Result<()> {
        self.check_writable()?;
        let (host, copy) = self.removal(path)?;
        self.tree.changes_mut().remove(&host);
        if lock(&self.whole).remove(&host, copy) {
            let note = format!(
                "{path}: an undo makes the removed file again with its content and permissions, not with its dates or \
                 its short (8.3) name"
            );
            lock(&self.notes).insert(host, note);
        }
        Ok(())
    }

    fn notes(&self) -> Vec<String> {
        lock(&self.notes).values().cloned().collect()
    }
}

/// A lock that another thread's panic does not spoil: what is kept here is whole between any two changes.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says why Windows may be hibernated here; `None` when it is not.
fn hibernation(tree: &Tree) -> Option<String> {
    let header = || -> Result<Option<Vec<u8>>> {
        let Some(node) = tree.resolve("hiberfil.sys")? else {
            return Ok(None);
        };
        if node.kind == EntryKind::Directory {
            return Ok(None);
        }
        let host = tree.expect_file("hiberfil.sys")?.host;
        file::read_start(&host, HIBERNATION_HEADER_LEN).map(Some)
    };
    match header() {
        Ok(None) => None,
        Ok(Some(header)) => crate::volume::hibernation(&header, HIBERNATION_HEADER_LEN),
        Err(fault) => Some(format!("hiberfil.sys cannot be read ({fault})")),
    }
}

fn changed(path: &str) -> Error {
    Error::refused(
        format!("{path} has changed since it was read"),
        "nothing was changed; close whatever else uses the folder and run the command again",
    )
}

/// The bytes of `content` in each of these ranges, shortened at its end.
fn parts(content: &[u8], ranges: &[Range<u64>]) -> Vec<Vec<u8>> {
    let place = |at: u64| usize::try_from(at.min(len(content))).unwrap_or(usize::MAX);
    let part = |range: &Range<u64>| content.get(place(range.start)..place(range.end));
    ranges
        .iter()
        .map(|range| part(range).unwrap_or_default().to_vec())
        .collect()
}

fn len(content: &[u8]) -> u64 {
    u64::try_from(content.len()).unwrap_or(u64::MAX)
}
