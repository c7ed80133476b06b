// SPDX-License-Identifier: GPL-2.0-or-later
//! Names in a mounted folder: how Windows compares them, and which are to change.
//!
//! ```text
//! folder on the host   stored    shown
//! /mnt/win/Windows     Temp      Temp
//!                      Logs      Logs.old     renamed, and not yet on the host
//! ```
//!
//! What is renamed keeps its place on the host until a commit, so that everything else goes by host paths.
//! Source: "Naming Files, Paths, and Namespaces" (Microsoft Learn).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The names that are to change, by the host's folder.
#[derive(Debug, Default)]
pub(super) struct Renames(BTreeMap<PathBuf, Vec<Renamed>>);

/// A name on the host, and what it is to be.
#[derive(Debug)]
struct Renamed {
    stored: String,
    shown: String,
}

impl Renames {
    /// Whether any name in this folder is to change.
    pub(super) fn are_in(&self, folder: &Path) -> bool {
        self.0.contains_key(folder)
    }

    /// How a name that the host's folder stores is shown.
    pub(super) fn shown<'n>(&'n self, folder: &Path, stored: &'n str) -> &'n str {
        let renamed = self.0.get(folder).map_or(&[][..], Vec::as_slice);
        match renamed.iter().find(|renamed| renamed.stored == stored) {
            Some(renamed) => &renamed.shown,
            None => stored,
        }
    }

    /// Shows a stored name as `shown` from now on.
    pub(super) fn set(&mut self, folder: &Path, stored: &str, shown: &str) {
        let renamed = self.0.entry(folder.to_owned()).or_default();
        renamed.retain(|renamed| renamed.stored != stored);
        if shown != stored {
            renamed.push(Renamed {
                stored: stored.to_owned(),
                shown: shown.to_owned(),
            });
        }
        if renamed.is_empty() {
            self.0.remove(folder);
        }
    }

    /// Every file or folder that is to have another name, by its host path, and the name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PathBuf, &str)> {
        self.0.iter().flat_map(|(folder, renamed)| {
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
        let mut renames = Renames::default();
        let folder = Path::new("/r");
        renames.set(folder, "a", "b");
        renames.set(folder, "a", "c");
        renames.set(folder, "x", "y");
        assert_eq!(renames.shown(folder, "a"), "c");
        assert_eq!(renames.shown(folder, "b"), "b");
        assert_eq!(renames.shown(Path::new("/s"), "a"), "a");
        let all: Vec<(PathBuf, &str)> = renames.iter().collect();
        assert_eq!(all, [("/r/a".into(), "c"), ("/r/x".into(), "y")]);
        renames.set(folder, "a", "a");
        renames.set(folder, "x", "x");
        assert!(!renames.are_in(folder));
    }
}
