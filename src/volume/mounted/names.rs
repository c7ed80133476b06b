// SPDX-License-Identifier: GPL-2.0-or-later
//! Names as Windows takes them: how they compare, which are allowed, and which are to change.
//!
//! ```text
//! folder on the host   stored    shown
//! /mnt/win/Windows     Temp      Temp
//!                      Logs      Logs.old     renamed, and not yet on the host
//! ```
//!
//! What is renamed keeps its place on the host until a commit, so that everything else goes by host paths.
//! Source: "Naming Files, Paths, and Namespaces" (Microsoft Learn) for what a name may be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// NTFS's limit, in UTF-16 units.
const LONGEST: usize = 255;

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

/// Refuses what Windows does not take for a name.
pub(super) fn check_new(name: &str) -> Result<()> {
    let wrong = if name.is_empty() {
        "it is empty"
    } else if name.contains(|c: char| c < ' ' || "<>:\"/\\|?*".contains(c)) {
        "it has a control character or one of < > : \" / \\ | ? *"
    } else if name.ends_with(['.', ' ']) {
        "it ends in a dot or a space"
    } else if is_device(name) {
        "it is the name of a device"
    } else if name.encode_utf16().count() > LONGEST {
        "it is longer than 255 characters"
    } else {
        return Ok(());
    };
    Err(Error::refused(
        format!("Windows takes no file or folder named {name:?}: {wrong}"),
        "choose another name",
    ))
}

/// `NUL`, `com1`, `lpt3.txt`: devices in every folder.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    let stem = stem.to_uppercase();
    let numbered = |prefix| {
        let number = stem.strip_prefix(prefix).unwrap_or_default();
        number.chars().count() == 1 && number.contains(|c: char| "123456789¹²³".contains(c))
    };
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem.as_str())
        || numbered("COM")
        || numbered("LPT")
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
    fn windows_takes_some_names_and_not_others() {
        let longest = "ä".repeat(255);
        for name in [
            "a",
            "SoftwareDistribution.old",
            ".x",
            "a b",
            "COM",
            "COM10",
            "CONF",
            "nul1",
        ] {
            check_new(name).unwrap();
        }
        check_new(&longest).unwrap();
        let too_long = format!("{longest}x");
        let wide = "😀".repeat(128);
        for name in [
            "",
            ".",
            "..",
            "a.",
            "a ",
            " ",
            "a/b",
            r"a\b",
            "a:b",
            "a*",
            "a?",
            "a\"",
            "<",
            ">",
            "|",
            "a\0",
            "a\u{1f}",
            "CON",
            "con",
            "NUL.txt",
            "nul .txt",
            "COM1",
            "lpt9.log",
            "COM¹",
            "CONIN$",
            "Aux.tar.gz",
            &too_long,
            &wide,
        ] {
            let error = check_new(name).unwrap_err();
            assert_eq!(error.kind(), crate::error::Kind::Refused, "{name:?}");
            assert!(error.hint().is_some());
        }
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
