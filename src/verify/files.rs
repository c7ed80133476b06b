// SPDX-License-Identifier: GPL-2.0-or-later
//! Reading back what edits made of files: their security descriptors, names and contents.
//!
//! Later edits overrule earlier ones, and a renamed folder takes along what is in it. So the edits are played
//! through on what is expected first, and the outcome is read.

use std::collections::BTreeMap;

use crate::edit::{Edit, sha256, windows_path};
use crate::error::Result;
use crate::plan::{Step, renamed};
use crate::volume::Volume;

use super::failed;

/// How many of the files with one new descriptor the second reader looks at; ours. It differs from our reader, if at
/// all, in how it reads a kind of record, not in the ten thousandth of them.
const SECOND_OPINIONS: usize = 1000;

/// What is to be found once all edits are done. Paths are in lower case, parts separated by `/`.
#[derive(Debug, Default)]
struct Expected<'s> {
    /// By path: its spelling, and the descriptor that it was given last.
    descriptors: BTreeMap<String, (String, &'s [u8])>,
    /// By path: whether something is there under this name.
    names: BTreeMap<String, Option<String>>,
    /// By path: length and SHA-256 of the content that it was given last.
    contents: BTreeMap<String, (u64, &'s str)>,
    /// Files that were made, by path, and those whose permissions they got.
    made: BTreeMap<String, String>,
}

impl<'s> Expected<'s> {
    fn play(&mut self, step: &'s Step) {
        match &step.edit {
            Edit::SetSecurity { groups } => {
                for group in groups {
                    for path in &group.paths {
                        let wanted = (path.clone(), group.descriptor.0.as_slice());
                        self.descriptors.insert(folded(path), wanted);
                    }
                }
            }
            Edit::Rename { path, name } => self.play_rename(path, name),
            Edit::CopyFile {
                from: source,
                to,
                length,
                sha256,
                ..
            } => {
                self.names.remove(&folded(to));
                self.contents.insert(folded(to), (*length, sha256));
                // The inverse also tells what was renamed along with it.
                for edit in &step.inverse {
                    if let Edit::Rename { path, name } = edit {
                        let now = path.rsplit('/').next().unwrap_or(path);
                        self.play_rename(&renamed(path, name), now);
                    }
                }
                if let Some(Edit::DeleteFile { .. }) = step.inverse.first() {
                    self.made.insert(folded(to), folded(source));
                }
                // What the file held before is what the inverse would copy back.
                if let Some(Edit::CopyFile {
                    from,
                    length,
                    sha256,
                    ..
                }) = step.inverse.first()
                {
                    self.names.remove(&folded(from));
                    self.contents.insert(folded(from), (*length, sha256));
                    self.made.insert(folded(from), folded(to));
                }
            }
            Edit::DeleteFile { path } => {
                self.descriptors.remove(&folded(path));
                self.contents.remove(&folded(path));
                self.forget_made(&folded(path));
                self.names.insert(folded(path), None);
            }
            Edit::CreateKey { .. }
            | Edit::DeleteKey { .. }
            | Edit::SetValue { .. }
            | Edit::DeleteValue { .. }
            | Edit::SetKeySecurity { .. }
            | Edit::Boot(_) => {}
        }
    }

    fn play_rename(&mut self, path: &str, name: &str) {
        let (from, to) = (folded(path), renamed(path, name));
        let below = format!("{from}/");
        let moved: Vec<String> = self
            .descriptors
            .keys()
            .filter(|key| **key == from || key.starts_with(&below))
            .cloned()
            .collect();
        for key in moved {
            if let Some((spelt, descriptor)) = self.descriptors.remove(&key) {
                let rest = spelt.get(path.len()..).unwrap_or_default();
                let spelt = format!("{to}{rest}");
                self.descriptors.insert(folded(&spelt), (spelt, descriptor));
            }
        }
        let moved: Vec<String> = self
            .contents
            .keys()
            .filter(|key| **key == from || key.starts_with(&below))
            .cloned()
            .collect();
        for key in moved {
            if let Some(content) = self.contents.remove(&key) {
                let rest = key.get(from.len()..).unwrap_or_default();
                self.contents
                    .insert(format!("{}{rest}", folded(&to)), content);
            }
        }
        self.forget_made(&from);
        self.names.insert(from, None);
        self.names.insert(folded(&to), Some(name.to_owned()));
    }

    /// What is renamed or gone is compared with nothing.
    fn forget_made(&mut self, path: &str) {
        let below = format!("{path}/");
        let same = |other: &str| other == path || other.starts_with(&below);
        self.made.retain(|made, like| !same(made) && !same(like));
    }
}

fn folded(path: &str) -> String {
    path.replace('\\', "/").to_lowercase()
}

/// Checks that a file that was made has the permissions of the one that it was to have them of.
fn made_like(volume: &dyn Volume, path: &str, like: &str) -> Result<()> {
    let read = match volume.security(&[like, path]) {
        Ok(read) => read,
        // A plain folder of the host has none.
        Err(_) if volume.state().file_system == "folder" => return Ok(()),
        Err(error) => return Err(error),
    };
    let [wanted, found] = read.as_slice() else {
        return Err(failed(&windows_path(path), "permissions", "none"));
    };
    let same = wanted == found;
    if !same || volume.second_reader_agrees_on_security(&[path], wanted) == Some(false) {
        let shown = crate::plan::shown;
        return Err(failed(&windows_path(path), &shown(wanted), &shown(found)));
    }
    Ok(())
}

/// Checks that the volume, opened anew, shows what the steps made of its files.
pub(super) fn verify(volume: &dyn Volume, steps: &[Step]) -> Result<()> {
    let mut expected = Expected::default();
    for step in steps {
        expected.play(step);
    }
    for (path, name) in &expected.names {
        let found = volume.entry(path)?.map(|entry| entry.name);
        if found != *name {
            let shown = |name: &Option<String>| name.clone().unwrap_or("nothing there".to_owned());
            return Err(failed(&windows_path(path), &shown(name), &shown(&found)));
        }
    }
    for (path, (length, wanted)) in &expected.contents {
        let shown = |length: u64, sha256: &str| format!("{length} bytes, SHA-256 {sha256}");
        let wanted = shown(*length, wanted);
        let content = volume.read(path, *length)?;
        let found = shown(
            u64::try_from(content.len()).unwrap_or(u64::MAX),
            &sha256(&content),
        );
        if found != wanted {
            return Err(failed(&windows_path(path), &wanted, &found));
        }
        if volume.second_reader_agrees(path, &content) == Some(false) {
            let wanted = format!("{wanted}, to a second reader too");
            return Err(failed(&windows_path(path), &wanted, "other content"));
        }
    }
    let paths: Vec<&str> = expected
        .descriptors
        .values()
        .map(|(path, _)| path.as_str())
        .collect();
    if paths.is_empty() && expected.made.is_empty() {
        return Ok(());
    }
    for (path, like) in &expected.made {
        made_like(volume, path, like)?;
    }
    let faults = volume.check_security()?;
    if let Some(first) = faults.first() {
        return Err(failed(
            "the security descriptors ($Secure)",
            "no fault",
            first,
        ));
    }
    // By descriptor, for the second reader looks at many files at once.
    let mut same: BTreeMap<&[u8], Vec<&str>> = BTreeMap::new();
    for (path, wanted) in expected.descriptors.values() {
        same.entry(wanted).or_default().push(path);
    }
    for (wanted, paths) in &same {
        let every = paths.len().div_ceil(SECOND_OPINIONS).max(1);
        let paths: Vec<&str> = paths.iter().copied().step_by(every).collect();
        if volume.second_reader_agrees_on_security(&paths, wanted) == Some(false) {
            let first = paths.first().copied().unwrap_or_default();
            return Err(failed(
                &windows_path(first),
                &format!("{} to a second NTFS reader too", crate::plan::shown(wanted)),
                "another descriptor",
            ));
        }
    }
    let found = volume.security(&paths)?;
    for ((path, wanted), found) in expected.descriptors.values().zip(&found) {
        if **found != **wanted {
            return Err(failed(
                &windows_path(path),
                &crate::plan::shown(wanted),
                &crate::plan::shown(found),
            ));
        }
    }
    Ok(())
}
