// SPDX-License-Identifier: GPL-2.0-or-later
//! Permissions of a folder with everything in it: listed, saved, and changed as one edit.
//!
//! ```text
//! tree -> descriptors -> change, a folder before what is in it -> Edit::SetSecurity
//!                          |
//!                          what the folder hands down has changed: its unprotected children inherit again
//! ```
//! As on a running Windows, a folder's inheritable entries reach what is below it without being asked for. Each
//! distinct descriptor in a folder is worked out once, so that 100,000 files cost little more than one.

use std::collections::HashMap;
use std::io::Write;

use crate::edit::{Edit, HexBytes, SecurityGroup, windows_path};
use crate::error::{Error, Result};
use crate::security::change::{hands_down_the_same, inherit_again};
use crate::security::{Descriptor, Names, display, saved, sddl};
use crate::volume::{EntryKind, Security, TreeEntry, Volume};

/// How many paths are named one by one when they are left alone.
const NAMED: usize = 20;

/// What a descriptor becomes: it, the one of the folder above after its change, and whether it is a folder's.
pub type Change<'c> = dyn Fn(&Descriptor, Option<&Descriptor>, bool) -> Result<Descriptor> + 'c;

/// A change of permissions, worked out.
#[derive(Clone, Debug, Default)]
pub struct TreeChange {
    /// `None` when nothing has to change.
    pub edit: Option<Edit>,
    /// What it does not touch, in plain words.
    pub left_alone: Vec<String>,
}

impl Listed {
    /// As [`write_listing`] takes it.
    pub fn line(&self) -> (&str, Result<&[u8], &str>) {
        let descriptor = self.descriptor.as_deref().map_err(String::as_str);
        (&self.entry.path, descriptor)
    }
}

impl TreeChange {
    /// Works `change` out for the file or folder at `root` and, with `recursive`, for everything below. Links, and
    /// what `change` refuses, are left alone; for `root` itself that is the error.
    pub fn new(
        volume: &dyn Volume,
        root: &str,
        recursive: bool,
        change: &Change<'_>,
    ) -> Result<TreeChange> {
        let mut work = Work {
            recursive,
            change,
            left_alone: Vec::new(),
            more: 0,
            groups: Vec::new(),
            places: HashMap::new(),
            folders: Vec::new(),
        };
        let above = above(volume, root)?;
        let entry = volume.entry(root)?.ok_or_else(|| not_there(root))?;
        let is_folder = entry.kind == EntryKind::Directory;
        let [current] =
            <[_; 1]>::try_from(volume.security(&[root])?).map_err(|_| not_there(root))?;
        let old = Descriptor::parse(&current)?;
        let new = change(&old, above.as_ref(), is_folder)?;
        let handed_down = hands_down_the_same(&old, &new);
        work.take(root.to_owned(), &new)?;
        if is_folder && (recursive || !handed_down) {
            work.folders.push(Folder {
                path: root.to_owned(),
                new,
                same: handed_down,
            });
            work.below(volume, root)?;
        }
        if work.more > 0 {
            work.left_alone
                .push(format!("left alone: {} more", work.more));
        }
        let mut groups = work.groups;
        groups.retain(|group| !group.paths.is_empty());
        // The longest descriptor last: ntfssecaudit (2022.10.3) looks past the end of $SDS for one more entry and takes
        // what an earlier, longer one has left in its buffer for it.
        groups.sort_by_key(|group| group.descriptor.0.len());
        Ok(TreeChange {
            edit: (!groups.is_empty()).then_some(Edit::SetSecurity { groups }),
            left_alone: work.left_alone,
        })
    }
}

/// Files that belong to an NTFS volume itself; Windows does not show them, and their permissions are nobody's business.
const OWN_FILES: [&str; 11] = [
    "$MFT", "$MFTMirr", "$LogFile", "$Volume", "$AttrDef", "$Bitmap", "$Boot", "$BadClus",
    "$Secure", "$UpCase", "$Extend",
];

/// The file or folder at `root` and everything below, without what belongs to the volume itself.
fn tree(volume: &dyn Volume, root: &str) -> Result<Vec<(TreeEntry, Security)>> {
    let mut entries = volume.tree_with_security(root)?;
    if root.is_empty() {
        entries.retain(|(entry, _)| {
            let first = entry.path.split('/').next().unwrap_or_default();
            !OWN_FILES.contains(&first)
        });
    }
    Ok(entries)
}

/// The descriptor of the folder above `path`; `None` for the root of the volume.
fn above(volume: &dyn Volume, path: &str) -> Result<Option<Descriptor>> {
    if path.is_empty() {
        return Ok(None);
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let found = volume.security(&[folder])?;
    // It matters only to what inherits from it; a damaged one is that one's fault.
    Ok(found
        .first()
        .and_then(|bytes| Descriptor::parse(bytes).ok()))
}

fn not_there(path: &str) -> Error {
    Error::unsupported(
        format!("{} is not there", windows_path(path)),
        "check the path, which counts from the volume's root",
    )
}

/// A folder on the way from the root to the entry at hand.
struct Folder {
    path: String,
    /// Its descriptor after the change.
    new: Descriptor,
    /// It hands down what it did before.
    same: bool,
}

struct Work<'c> {
    recursive: bool,
    change: &'c Change<'c>,
    left_alone: Vec<String>,
    more: usize,
    groups: Vec<SecurityGroup>,
    /// Which group a descriptor has become.
    places: HashMap<Vec<u8>, usize>,
    /// Open folders, the outermost first.
    folders: Vec<Folder>,
}

/// What became of one descriptor in one folder: its group and, for folders, the descriptor; or why it is left alone.
type Outcome = Result<(usize, Option<(Descriptor, bool)>), String>;

impl Work<'_> {
    fn below(&mut self, volume: &dyn Volume, root: &str) -> Result<()> {
        let mut entries = tree(volume, root)?;
        entries.retain(|(entry, _)| entry.path != root);
        let (links, entries): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|(entry, _)| entry.kind == EntryKind::Other);
        for (link, _) in &links {
            self.leave(&link.path, "a link");
        }
        // By the folder's depth and the descriptor's address (equal ones are shared); emptied when another folder takes
        // its place.
        let mut known: HashMap<(usize, usize, bool), Outcome> = HashMap::new();
        for (entry, current) in &entries {
            let is_folder = entry.kind == EntryKind::Directory;
            let is_in = |folder: &Folder| {
                let rest = entry.path.strip_prefix(&folder.path);
                folder.path.is_empty() || rest.is_some_and(|rest| rest.starts_with('/'))
            };
            while self.folders.last().is_some_and(|folder| !is_in(folder)) {
                let depth = self.folders.len();
                self.folders.pop();
                known.retain(|(known, ..), _| *known < depth);
            }
            let depth = self.folders.len();
            let current = match current {
                Ok(current) => current,
                Err(why) => {
                    self.leave(&entry.path, why);
                    continue;
                }
            };
            let key = (depth, current.as_ptr().addr(), is_folder);
            let outcome = known
                .entry(key)
                .or_insert_with(|| self.outcome(current, is_folder));
            match outcome {
                Ok((place, folder)) => {
                    if let Some((new, same)) = folder {
                        self.folders.push(Folder {
                            path: entry.path.clone(),
                            new: new.clone(),
                            same: *same,
                        });
                    }
                    if let Some(group) = self.groups.get_mut(*place) {
                        group.paths.push(entry.path.clone());
                    }
                }
                Err(why) => {
                    let why = why.clone();
                    self.leave(&entry.path, &why);
                }
            }
        }
        Ok(())
    }

    /// What one descriptor becomes in the innermost open folder.
    fn outcome(&mut self, current: &[u8], is_folder: bool) -> Outcome {
        let text = |error: Error| error.to_string();
        let old = Descriptor::parse(current).map_err(text)?;
        let parent = self.folders.last();
        let mut new = if self.recursive {
            (self.change)(&old, parent.map(|parent| &parent.new), is_folder).map_err(text)?
        } else {
            old.clone()
        };
        if let Some(parent) = parent
            && !parent.same
            && let Some(inherited) = inherit_again(&new, &parent.new, is_folder)
        {
            new = inherited;
        }
        let place = self.place(&new).map_err(text)?;
        let folder = is_folder.then(|| {
            let same = hands_down_the_same(&old, &new);
            (new, same)
        });
        Ok((place, folder))
    }

    fn take(&mut self, path: String, new: &Descriptor) -> Result<()> {
        let place = self.place(new)?;
        if let Some(group) = self.groups.get_mut(place) {
            group.paths.push(path);
        }
        Ok(())
    }

    /// The group of a descriptor.
    fn place(&mut self, new: &Descriptor) -> Result<usize> {
        let groups = &mut self.groups;
        let place = self
            .places
            .entry(new.to_bytes()?)
            .or_insert_with_key(|bytes| {
                groups.push(SecurityGroup {
                    descriptor: HexBytes(bytes.clone()),
                    paths: Vec::new(),
                });
                groups.len().saturating_sub(1)
            });
        Ok(*place)
    }

    fn leave(&mut self, path: &str, why: &str) {
        if self.left_alone.len() < NAMED {
            self.left_alone
                .push(format!("left alone: {}: {why}", windows_path(path)));
        } else {
            self.more = self.more.saturating_add(1);
        }
    }
}

/// A file or folder with its descriptor.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its path and kind.
    pub entry: TreeEntry,
    /// Its self-relative descriptor, or why it cannot be read.
    pub descriptor: Security,
}

/// The file or folder at `root` and, with `recursive`, everything below, each with its descriptor.
pub fn list(volume: &dyn Volume, root: &str, recursive: bool) -> Result<Vec<Listed>> {
    let found = volume.entry(root)?.ok_or_else(|| not_there(root))?;
    let listed = if recursive && found.kind == EntryKind::Directory {
        tree(volume, root)?
    } else {
        let entry = TreeEntry {
            path: root.to_owned(),
            kind: found.kind,
        };
        let security = volume.security(&[root]);
        let security = security?.into_iter().next();
        vec![(entry, security.ok_or_else(|| "it was not read".to_owned()))]
    };
    Ok(listed
        .into_iter()
        .map(|(entry, descriptor)| Listed { entry, descriptor })
        .collect())
}

/// Writes what icacls prints of them: lines for each, a blank line after each, and the summary. Returns how many
/// descriptors could not be read; they are shown as such.
///
/// # Errors
/// Those of `out`.
pub fn write_listing<'l>(
    listed: impl IntoIterator<Item = (&'l str, Result<&'l [u8], &'l str>)>,
    names: &Names,
    out: &mut dyn Write,
) -> std::io::Result<usize> {
    let (mut done, mut failed) = (0_usize, 0_usize);
    // What stands behind a name of this width, by the descriptor's address: many files share one.
    let mut known: HashMap<(usize, usize), Result<String, String>> = HashMap::new();
    let mut shown = String::new();
    for (path, descriptor) in listed {
        shown.clear();
        shown.push('\\');
        let parts = path.split('/').enumerate();
        parts.for_each(|(position, part)| {
            if position > 0 {
                shown.push('\\');
            }
            shown.push_str(part);
        });
        let behind = match descriptor {
            Ok(descriptor) => {
                let width = shown.chars().count();
                known
                    .entry((descriptor.as_ptr().addr(), width))
                    .or_insert_with(|| {
                        let read = Descriptor::parse(descriptor);
                        let read = read.map_err(|error| error.to_string())?;
                        Ok(behind(&display::entries(&read, names), width))
                    })
                    .as_ref()
                    .map_err(String::as_str)
            }
            Err(why) => Err(why),
        };
        out.write_all(shown.as_bytes())?;
        match behind {
            Ok(behind) => {
                done = done.saturating_add(1);
                out.write_all(behind.as_bytes())?;
            }
            Err(why) => {
                failed = failed.saturating_add(1);
                writeln!(out, ": {why}\n")?;
            }
        }
    }
    writeln!(
        out,
        "Successfully processed {done} files; Failed processing {failed} files"
    )?;
    Ok(failed)
}

/// The entries behind a name that takes so many columns, and the blank line.
fn behind(entries: &[String], width: usize) -> String {
    let indent = format!("\n{:width$}", "");
    let mut text: String = entries.join(&format!("{indent} "));
    if !text.is_empty() {
        text.insert(0, ' ');
    }
    text.push_str("\n\n");
    text
}

/// A descriptor as SDDL; `None` for one that cannot be read or has no text.
pub fn sddl(descriptor: &[u8]) -> Option<String> {
    let read = Descriptor::parse(descriptor).ok()?;
    sddl::format(&read, None).ok()
}

/// The file of `icacls /save` for these: names relative to the folder above `root`. The lines that have no text form
/// are left out and named.
pub fn save(root: &str, listed: &[Listed]) -> (Vec<u8>, Vec<String>) {
    let above = root
        .rsplit_once('/')
        .map_or(0, |(folder, _)| folder.len().saturating_add(1));
    let mut left_out = Vec::new();
    let mut lines = Vec::new();
    let mut known: HashMap<&[u8], Option<String>> = HashMap::new();
    for Listed { entry, descriptor } in listed {
        let name = entry.path.get(above..).unwrap_or(&entry.path);
        let text = descriptor.as_ref().ok().and_then(|descriptor| {
            known
                .entry(descriptor)
                .or_insert_with(|| {
                    let read = Descriptor::parse(descriptor).ok()?;
                    saved::dacl_text(&read).ok()
                })
                .as_ref()
        });
        match text {
            Some(text) if !name.is_empty() => lines.push((name.replace('/', "\\"), text.clone())),
            _ => left_out.push(windows_path(&entry.path)),
        }
    }
    let lines = lines
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    (saved::write(lines), left_out)
}

/// The edit that gives what is below `folder` the saved DACLs. Names that are not there are left alone.
pub fn restore(volume: &dyn Volume, folder: &str, lines: &[saved::Saved]) -> Result<TreeChange> {
    let mut change = TreeChange::default();
    let mut found = Vec::new();
    for line in lines {
        let name = line.name.replace('\\', "/");
        let path = match folder {
            "" => name,
            folder => format!("{folder}/{name}"),
        };
        match volume.entry(&path)? {
            Some(_) => found.push((path, line)),
            None => change
                .left_alone
                .push(format!("left alone: {}: not there", windows_path(&path))),
        }
    }
    let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
    let current = volume.security(&paths)?;
    let mut wanted = Vec::new();
    for ((path, line), current) in found.iter().zip(current) {
        let own = Descriptor::parse(&current)?;
        wanted.push((path.clone(), saved::restore(&own, line).to_bytes()?));
    }
    change.edit = Edit::set_security(wanted);
    Ok(change)
}

#[cfg(test)]
mod tests;
