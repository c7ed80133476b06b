// SPDX-License-Identifier: GPL-2.0-or-later
//! Names in a mounted folder: how Windows compares them, and which are to change.
//!
//! ```text
//! folder on the host   stored    shown
//! /mnt/win/Windows     Temp      Temp
//!                      Logs      Logs.old     renamed, and not yet on the host
//!                      x.log     -            to be removed
//!                      -         SAM.old      to be made
//! ```
//!
//! What is renamed keeps its place on the host until a commit, so that everything else goes by host paths.
//! Source: "Naming Files, Paths, and Namespaces" (Microsoft Learn).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The names that are to change.
#[derive(Debug, Default)]
pub(super) struct NameChanges {
    /// By the host's folder.
    renamed: BTreeMap<PathBuf, Vec<Renamed>>,
    /// Files that are to be made: by the host's folder, each name and the length of the file.
    made: BTreeMap<PathBuf, BTreeMap<String, u64>>,
    /// Files that are to be removed.
    removed: BTreeSet<PathBuf>,
}

/// A name on the host, and what it is to be.
#[derive(Debug)]
struct Renamed {
    stored: String,
    shown: String,
}

impl NameChanges {
    /// Whether any name in this folder is to change.
    pub(super) fn are_in(&self, folder: &Path) -> bool {
        self.renamed.contains_key(folder)
            || self.made.contains_key(folder)
            || self
                .removed
                .iter()
                .any(|file| file.parent() == Some(folder))
    }

    /// How a name that the host's folder stores is shown; `None` when it is to be removed.
    pub(super) fn shown<'n>(&'n self, folder: &Path, stored: &'n str) -> Option<&'n str> {
        if !self.removed.is_empty() && self.removed.contains(&folder.join(stored)) {
            return None;
        }
        let renamed = self.renamed.get(folder).map_or(&[][..], Vec::as_slice);
        match renamed.iter().find(|renamed| renamed.stored == stored) {
            Some(renamed) => Some(&renamed.shown),
            None => Some(stored),
        }
    }

    /// The files that are to be made in a folder of the host, each with its length.
    pub(super) fn made_in(&self, folder: &Path) -> impl Iterator<Item = (&str, u64)> {
        let made = self.made.get(folder).into_iter().flatten();
        made.map(|(name, len)| (name.as_str(), *len))
    }

    /// The length of a file that is to be made; `None` for any other.
    pub(super) fn made(&self, host: &Path) -> Option<u64> {
        let name = host.file_name()?.to_str()?;
        self.made.get(host.parent()?)?.get(name).copied()
    }

    /// Whether this or a folder above it is to have another name.
    pub(super) fn is_moved(&self, host: &Path) -> bool {
        host.ancestors().any(|part| {
            let folder = part.parent().and_then(|folder| self.renamed.get(folder));
            let stored = part.file_name().and_then(std::ffi::OsStr::to_str);
            folder.is_some_and(|renamed| {
                renamed
                    .iter()
                    .any(|renamed| Some(renamed.stored.as_str()) == stored)
            })
        })
    }

    /// Shows a stored name as `shown` from now on.
    pub(super) fn set(&mut self, folder: &Path, stored: &str, shown: &str) {
        let renamed = self.renamed.entry(folder.to_owned()).or_default();
        renamed.retain(|renamed| renamed.stored != stored);
        if shown != stored {
            renamed.push(Renamed {
                stored: stored.to_owned(),
                shown: shown.to_owned(),
            });
        }
        if renamed.is_empty() {
            self.renamed.remove(folder);
        }
    }

    /// Shows a file that is not on the host yet.
    pub(super) fn make(&mut self, host: &Path, len: u64) {
        if let (Some(folder), Some(name)) = (host.parent(), host.file_name()) {
            let made = self.made.entry(folder.to_owned()).or_default();
            made.insert(name.to_string_lossy().into_owned(), len);
        }
    }

    /// Shows a file no more, whether it is on the host or not.
    pub(super) fn remove(&mut self, host: &Path) {
        let (Some(folder), Some(name)) = (host.parent(), host.file_name()) else {
            return;
        };
        if let Some(made) = self.made.get_mut(folder)
            && made.remove(&*name.to_string_lossy()).is_some()
        {
            if made.is_empty() {
                self.made.remove(folder);
            }
            return;
        }
        self.removed.insert(host.to_owned());
    }

    /// Every file or folder that is to have another name, by its host path, and the name.
    pub(super) fn renamed(&self) -> impl Iterator<Item = (PathBuf, &str)> {
        self.renamed.iter().flat_map(|(folder, renamed)| {
            let renamed = renamed.iter();
            renamed.map(|renamed| (folder.join(&renamed.stored), renamed.shown.as_str()))
        })
    }
}

/// Whether Windows takes both for one name.
pub(super) fn same_without_case(left: &str, right: &str) -> bool {
    left.chars().map(upcase).eq(right.chars().map(upcase))
}

/// The name in upper case, the same for all names that Windows takes for one.
pub(super) fn upcased(name: &str) -> String {
    name.chars().map(upcase).collect()
}

/// One character in upper case, as Windows does it: one for one, so that "ß" stays; and only where the way
/// back leads to the same character, so that "ı" and "ſ" stay, which are letters of their own to Windows.
fn upcase(character: char) -> char {
    let single =
        |mut mapped: std::char::ToUppercase| mapped.next().filter(|_| mapped.next().is_none());
    match single(character.to_uppercase()) {
        Some(upper) if upper.to_lowercase().eq([character]) => upper,
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compare_as_in_windows() {
        assert!(same_without_case("system32", "SYSTEM32"));
        assert!(same_without_case("Überprüfung", "üBERPRÜFUNG"));
        assert!(same_without_case("систем", "СИСТЕМ"));
        assert!(!same_without_case("straße", "STRASSE"));
        assert!(!same_without_case("ſystem", "SYSTEM"));
        assert!(!same_without_case("wındows", "WINDOWS"));
        assert!(!same_without_case("SYSTEM", "SYSTEM1"));
        assert!(!same_without_case("SYSTEM1", "SYSTEM"));
        assert_eq!(upcased("Überprüfung"), upcased("üBERPRÜFUNG"));
    }

    #[test]
    fn renaming_twice_and_back() {
        let mut renames = NameChanges::default();
        let folder = Path::new("/r");
        renames.set(folder, "a", "b");
        renames.set(folder, "a", "c");
        renames.set(folder, "x", "y");
        assert_eq!(renames.shown(folder, "a"), Some("c"));
        assert_eq!(renames.shown(folder, "b"), Some("b"));
        assert_eq!(renames.shown(Path::new("/s"), "a"), Some("a"));
        let all: Vec<(PathBuf, &str)> = renames.renamed().collect();
        assert_eq!(all, [("/r/a".into(), "c"), ("/r/x".into(), "y")]);
        renames.set(folder, "a", "a");
        renames.set(folder, "x", "x");
        assert!(!renames.are_in(folder));
    }

    #[test]
    fn made_and_removed() {
        let mut changes = NameChanges::default();
        let folder = Path::new("/r");
        changes.remove(Path::new("/r/gone"));
        changes.make(Path::new("/r/new"), 7);
        assert_eq!(changes.shown(folder, "gone"), None);
        assert_eq!(changes.shown(folder, "other"), Some("other"));
        assert_eq!(changes.made_in(folder).collect::<Vec<_>>(), [("new", 7)]);
        assert_eq!(changes.made(Path::new("/r/new")), Some(7));
        changes.remove(Path::new("/r/new"));
        assert_eq!(changes.made(Path::new("/r/new")), None);
        assert_eq!(changes.shown(folder, "new"), Some("new"));
        changes.set(Path::new("/"), "r", "s");
        assert!(changes.is_moved(Path::new("/r/gone")));
        assert!(!changes.is_moved(Path::new("/s")));
    }
}
