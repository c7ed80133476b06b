// SPDX-License-Identifier: GPL-2.0-or-later
//! What a host does for us on a mounted folder: how each operation stands, doing it, taking it back.
//!
//! ```text
//! a descriptor    the old one -> old     the new one -> new     another, or nothing there -> foreign
//! a rename        the old name -> old    the new name -> new    both, of one file -> torn    else foreign
//! a whole file    see `whole_files`
//! ```
//!
//! Each is old or new and nothing between, with one exception: ntfs-3g renames by adding the new name and
//! then removing the old one, so that a crash can leave both. Then the new one is removed.
//!
//! Paths are those from before the change set. Renames therefore come last, the deepest first, so that each
//! finds its file under the path that it has written down; and are taken back first, in the reverse order.
//! Where an operation was cut off, [`Moved`] leads from a path to where its file is now.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::target::Target;
use super::whole_files;
use crate::device::attribute::LONGEST;
use crate::device::{ChangeSet, HostOperation};
use crate::error::{Error, Result, ResultExt};

/// How many files a message names.
const NAMED: usize = 8;
/// How many bytes of a descriptor a message shows.
const SHOWN: usize = 16;

/// Why the operations cannot be right, in words.
pub(super) fn check(changes: &ChangeSet) -> Result<(), String> {
    let mut secured = BTreeSet::new();
    let mut renamed = BTreeSet::new();
    let mut new_names = BTreeSet::new();
    for operation in &changes.operations {
        let file = operation.file();
        match operation {
            HostOperation::SetSecurity { before, after, .. } => {
                if !secured.insert(file) {
                    return Err(format!("two descriptors for {}", file.display()));
                }
                let fits = |bytes: &[u8]| !bytes.is_empty() && bytes.len() <= LONGEST;
                if !fits(before) || !fits(after) || before == after {
                    return Err(format!(
                        "no two different descriptors for {}",
                        file.display()
                    ));
                }
            }
            HostOperation::Rename { name, .. } => {
                let old = file.file_name().and_then(std::ffi::OsStr::to_str);
                let is_name = |name: &str| {
                    !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', '\0'])
                };
                if !old.is_some_and(|old| is_name(old) && old != name) || !is_name(name) {
                    return Err(format!("no new name for {}", file.display()));
                }
                if !renamed.insert(file) || !new_names.insert(file.with_file_name(name)) {
                    return Err(format!("two renames of, or to, {}", file.display()));
                }
            }
            HostOperation::Make { .. } | HostOperation::Remove { .. } => {}
        }
    }
    whole_files::check(changes, |file| {
        renamed.contains(file) || new_names.contains(file)
    })?;
    // What is renamed away frees its name only for the next change set: here it is still to be seen.
    let files = changes.patches.iter().map(|patch| patch.file.as_path());
    let named = changes.operations.iter().map(HostOperation::file);
    match files.chain(named).find(|file| new_names.contains(*file)) {
        None => Ok(()),
        Some(file) => Err(format!("a rename to {}, which exists", file.display())),
    }
}

/// Where files are now, by what has been renamed: old path to new name.
#[derive(Debug, Default)]
pub(super) struct Moved<'a>(BTreeMap<&'a Path, &'a str>);

impl<'a> Moved<'a> {
    /// As after all of them.
    pub(super) fn all(operations: &'a [HostOperation]) -> Moved<'a> {
        Moved(renames(operations).into_iter().collect())
    }

    /// The present path of the file that had this one before.
    pub(super) fn locate<'p>(&self, path: &'p Path) -> Cow<'p, Path> {
        if self.0.is_empty() {
            return Cow::Borrowed(path);
        }
        let (mut before, mut now) = (PathBuf::new(), PathBuf::new());
        for part in path.components() {
            before.push(part);
            match self.0.get(before.as_path()) {
                Some(name) => now.push(name),
                None => now.push(part),
            }
        }
        Cow::Owned(now)
    }
}

/// The renames, each after those of the folders above it.
fn renames(operations: &[HostOperation]) -> Vec<(&Path, &str)> {
    let mut renames: Vec<(&Path, &str)> = operations
        .iter()
        .filter_map(|operation| match operation {
            HostOperation::Rename { file, name } => Some((file.as_path(), name.as_str())),
            HostOperation::SetSecurity { .. }
            | HostOperation::Make { .. }
            | HostOperation::Remove { .. } => None,
        })
        .collect();
    renames.sort_by_key(|(file, _)| (file.components().count(), *file));
    renames
}

/// How one operation stands.
pub(super) enum Standing {
    Before,
    After,
    /// Between the two, as a crash leaves it; in words.
    Torn(&'static str),
    /// In words.
    Foreign(String),
}

/// Some of the files that a message is about, and how many more there are.
#[derive(Debug, Default)]
pub(super) struct Named {
    named: Vec<String>,
    more: u64,
}

impl Named {
    fn add(&mut self, text: impl FnOnce() -> String) {
        if self.named.len() < NAMED {
            self.named.push(text());
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// What there is to say, if anything.
    pub(super) fn describe(&self) -> Option<String> {
        let more = match self.more {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        (!self.named.is_empty()).then(|| format!("{}{more}", self.named.join("; ")))
    }
}

/// All operations compared with what is there.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) not_before: Named,
    pub(super) not_after: Named,
    pub(super) foreign: Named,
}

impl Comparison {
    fn add(&mut self, file: &Path, standing: Standing) {
        let text = |what: &str| format!("{} {what}", file.display());
        match standing {
            Standing::Before => self.not_after.add(|| text("is as before")),
            Standing::After => self.not_before.add(|| text("is as after")),
            Standing::Torn(how) => {
                self.not_before.add(|| text(how));
                self.not_after.add(|| text(how));
            }
            Standing::Foreign(what) => {
                self.not_before.add(|| what.clone());
                self.not_after.add(|| what.clone());
                self.foreign.add(|| what);
            }
        }
    }
}

/// The operations of one change set, and the folder they are for.
#[derive(Debug)]
pub(super) struct Operations<'a> {
    list: &'a [HostOperation],
    target: &'a dyn Target,
}

impl<'a> Operations<'a> {
    pub(super) fn new(list: &'a [HostOperation], target: &'a dyn Target) -> Operations<'a> {
        Operations { list, target }
    }

    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    /// How each stands; `looked` is called after each.
    pub(super) fn compare(&self, looked: &mut dyn FnMut()) -> Result<Comparison> {
        let mut comparison = Comparison::default();
        let moved = visit_renames(self.list, self.target, &mut |file, standing| {
            comparison.add(file, standing);
            looked();
        })?;
        for (file, before, after) in self.descriptors() {
            let standing = self
                .standing(&moved.locate(file), before, after)
                .context(|| format!("comparing the permissions of {}", file.display()))?;
            comparison.add(file, standing);
            looked();
        }
        for whole in whole_files::of(self.list) {
            let standing = whole
                .standing(self.target)
                .context(|| format!("comparing {}", whole.file.display()))?;
            comparison.add(whole.file, standing);
            looked();
        }
        Ok(comparison)
    }

    fn descriptors(&self) -> impl Iterator<Item = (&'a Path, &'a [u8], &'a [u8])> {
        self.list.iter().filter_map(|operation| match operation {
            HostOperation::SetSecurity {
                file,
                before,
                after,
            } => Some((file.as_path(), &before[..], &after[..])),
            HostOperation::Rename { .. }
            | HostOperation::Make { .. }
            | HostOperation::Remove { .. } => None,
        })
    }

    fn standing(&self, file: &Path, before: &[u8], after: &[u8]) -> Result<Standing> {
        Ok(match self.target.security(file)? {
            Some(present) if present == before => Standing::Before,
            Some(present) if present == after => Standing::After,
            Some(_) => Standing::Foreign(format!("the permissions of {}", file.display())),
            None => Standing::Foreign(format!("{} is not there", file.display())),
        })
    }

    /// Does all of them; `done` is called after each. After an error some are done.
    pub(super) fn apply(&self, done: &mut dyn FnMut()) -> Result<()> {
        self.rehearse()?;
        for (file, _, after) in self.descriptors() {
            self.set_security(file, after)?;
            done();
        }
        for whole in whole_files::of(self.list) {
            whole.apply(self.target)?;
            done();
        }
        for (file, name) in renames(self.list).into_iter().rev() {
            self.target
                .rename(file, name)
                .context(|| format!("renaming {} to {name}", file.display()))?;
            done();
        }
        Ok(())
    }

    /// Gives one file of each descriptor the descriptor that it has. A host that does not take it as it gave
    /// it could not take the operation back, so it must say so before anything has changed.
    fn rehearse(&self) -> Result<()> {
        let mut tried = BTreeSet::new();
        for (file, before, _) in self.descriptors() {
            if tried.insert(before) {
                self.set_security(file, before)
                    .context(|| "the present permissions could not be restored later")?;
            }
        }
        Ok(())
    }

    /// Sets a descriptor and makes sure that the host keeps it as it is.
    fn set_security(&self, file: &Path, descriptor: &[u8]) -> Result<()> {
        let setting = || format!("setting the permissions of {}", file.display());
        self.target
            .set_security(file, descriptor)
            .context(setting)?;
        match self.target.security(file).context(setting)? {
            Some(kept) if kept == descriptor => Ok(()),
            Some(kept) => Err(kept_another(file, descriptor, &kept)),
            None => Err(Error::refused(
                format!("{} is not there any more", file.display()),
                "close whatever else uses the folder and run the command again",
            )),
        }
    }

    /// Takes back whatever is done, wholly or half. The caller has made sure that nothing foreign is there.
    pub(super) fn take_back(&self) -> Result<()> {
        // The outer folders first, so that an inner file is looked for where it was before.
        for (file, name) in renames(self.list) {
            let new = file.with_file_name(name);
            let taking = || format!("renaming {} back", new.display());
            match (
                self.target.identity(file).context(taking)?,
                self.target.identity(&new).context(taking)?,
            ) {
                (None, Some(_)) => {
                    let old = file.file_name().and_then(std::ffi::OsStr::to_str);
                    self.target
                        .rename(&new, old.unwrap_or_default())
                        .context(taking)?;
                }
                (Some(one), Some(other)) if one == other => {
                    self.target.remove_name(&new).context(taking)?;
                }
                _ => {}
            }
        }
        for whole in whole_files::of(self.list) {
            whole.take_back(self.target)?;
        }
        for (file, before, _) in self.descriptors() {
            let present = self
                .target
                .security(file)
                .context(|| format!("taking the permissions of {} back", file.display()))?;
            if present.as_deref() != Some(before) {
                self.set_security(file, before)?;
            }
        }
        Ok(())
    }

    /// Makes them durable, as they are now.
    pub(super) fn flush(&self) -> Result<()> {
        if self.list.is_empty() {
            return Ok(());
        }
        let moved = moved(self.list, self.target)?;
        let files: BTreeSet<PathBuf> = self
            .list
            .iter()
            .map(|operation| moved.locate(operation.file()).into_owned())
            .collect();
        self.target.flush_entries(&files)
    }
}

/// Where files are now.
pub(super) fn moved<'o>(list: &'o [HostOperation], target: &dyn Target) -> Result<Moved<'o>> {
    visit_renames(list, target, &mut |_, _| {})
}

/// Looks at each rename, those of outer folders first, and gathers what stands as after.
fn visit_renames<'o>(
    list: &'o [HostOperation],
    target: &dyn Target,
    visit: &mut dyn FnMut(&Path, Standing),
) -> Result<Moved<'o>> {
    let mut moved = Moved::default();
    for (file, name) in renames(list) {
        let old = moved.locate(file).into_owned();
        let new = old.with_file_name(name);
        let looking = || format!("looking at the names of {}", file.display());
        let present = target.identity(&old).context(looking)?;
        let renamed = target.identity(&new).context(looking)?;
        let standing = match (present, renamed) {
            (Some(_), None) => Standing::Before,
            (None, Some(_)) => {
                moved.0.insert(file, name);
                Standing::After
            }
            (Some(one), Some(other)) if one == other => {
                Standing::Torn("has its old and its new name")
            }
            (Some(_), Some(_)) => Standing::Foreign(format!(
                "{} and {} both exist",
                old.display(),
                new.display()
            )),
            (None, None) => Standing::Foreign(format!(
                "neither {} nor {} exists",
                old.display(),
                new.display()
            )),
        };
        visit(&old, standing);
    }
    Ok(moved)
}

/// The host has made something of its own of a descriptor.
fn kept_another(file: &Path, given: &[u8], kept: &[u8]) -> Error {
    let same = given.iter().zip(kept).take_while(|(a, b)| a == b).count();
    let show = |bytes: &[u8]| -> String {
        let rest = bytes.iter().skip(same).take(SHOWN);
        let hex: Vec<String> = rest.map(|byte| format!("{byte:02x}")).collect();
        match hex.is_empty() {
            true => "nothing more".to_owned(),
            false => hex.join(" "),
        }
    };
    Error::refused(
        format!(
            "the host keeps other permissions for {} than it was given: {} bytes instead of {}, which differ from \
             byte {same} on: {} instead of {}",
            file.display(),
            kept.len(),
            given.len(),
            show(kept),
            show(given),
        ),
        "give coldfix the disk itself, or its image, instead of the mounted folder",
    )
}
