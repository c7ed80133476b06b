// SPDX-License-Identifier: GPL-2.0-or-later
//! Verification: the target is opened anew from the bottom, through the changes, and every edit is read
//! back; by our own readers, and by the crates `nt-hive`, `ntfs` and `fatfs` as second opinions on the hives and on
//! the volumes.
//!
//! The structure of an edited hive is checked when it is stored. Verification makes sure that the files of the
//! stack opened anew hold these very bytes, and reads the edits back from them. Our own checks have accepted a
//! hive and walked a volume before those crates see them, because both panic on some damaged input.

mod boot;
mod files;
mod second;

use std::collections::HashSet;

use crate::edit::{Edit, HiveName};
use crate::error::{Error, Result};
use crate::hive::second_opinion::{second_opinion, security_to_second_reader};
use crate::plan::{self, Step};
use crate::target::Target;
use crate::windows::{Installation, Reading};

use second::{Second, Wanted, second, unconfirmed};

/// Checks that a target, opened anew, says what `steps` made it say. Returns, in plain words, what the second reader
/// could not confirm.
///
/// # Errors
/// Damaged, naming the place, when it does not: a defect of coldfix. Nothing has been written yet when
/// this runs before a commit.
pub fn verify(target: &Target, installation: &Installation, steps: &[Step]) -> Result<Vec<String>> {
    let again = target.reopen()?;
    let place = installation.describe();
    let volume = again
        .volume(installation.partition)
        .ok_or_else(|| failed(&place, "the volume", "none after the change"))?;
    files::verify(volume.as_ref(), steps)?;
    if steps.iter().any(|step| step.edit.hive().is_some()) {
        let found = again.installations()?;
        let found = found.iter().find(|found| {
            found.partition == installation.partition && found.directory == installation.directory
        });
        if found.is_none() {
            return Err(failed(&place, "the installation", "none after the change"));
        }
    }
    for touched in plan::touched(installation, steps)? {
        let file = touched.file;
        let volume = again
            .volume(touched.partition)
            .ok_or_else(|| failed(&file.path, "its volume", "none after the change"))?;
        let block = file.hive.base_block();
        if block.is_dirty() {
            return Err(failed(&file.path, "a clean hive", "one that is not closed"));
        }
        for (path, content) in file.stored() {
            if !volume.holds(path, &content)? {
                return Err(failed(path, "the content that was stored", "other content"));
            }
            if volume.second_reader_agrees(path, &content) == Some(false) {
                return Err(failed(
                    path,
                    "the same content for a second reader",
                    "other content",
                ));
            }
        }
    }
    let mut notes = boot::verify(installation, steps)?;
    // The last edit of a place decides what is there. So from the last one back, and past what a later one
    // has overruled.
    let mut later = Later::default();
    for step in steps.iter().rev() {
        let Some((hive, key)) = step.edit.registry_key() else {
            continue;
        };
        let key = key.to_lowercase();
        if !later.overrules(&step.edit, hive, &key) {
            notes.extend(read_back(installation, &step.edit, hive)?);
        }
        later.add(&step.edit, hive, key);
    }
    Ok(notes)
}

/// What the edits after the one at hand have done, with names in lower case.
#[derive(Debug, Default)]
struct Later {
    /// Values that were set or deleted: hive, key, name.
    values: HashSet<(HiveName, String, String)>,
    /// Keys that got another descriptor.
    secured: HashSet<(HiveName, String)>,
    /// Keys that were deleted, with everything below them.
    deleted: HashSet<(HiveName, String)>,
    /// Keys that were made, and the keys above them: there again, if an earlier edit deleted them.
    there: HashSet<(HiveName, String)>,
}

impl Later {
    /// Whether they overrule `edit`, of this key in lower case.
    fn overrules(&self, edit: &Edit, hive: HiveName, key: &str) -> bool {
        if with_parents(key).any(|key| self.deleted.contains(&(hive, key.to_owned()))) {
            return true;
        }
        match edit {
            Edit::CreateKey { .. } => false,
            Edit::DeleteKey { .. } => self.there.contains(&(hive, key.to_owned())),
            Edit::SetValue { name, .. } | Edit::DeleteValue { name, .. } => {
                let value = (hive, key.to_owned(), name.to_lowercase());
                self.values.contains(&value)
            }
            Edit::SetKeySecurity { .. } => self.secured.contains(&(hive, key.to_owned())),
            Edit::SetSecurity { .. }
            | Edit::Rename { .. }
            | Edit::CopyFile { .. }
            | Edit::DeleteFile { .. }
            | Edit::Boot(_) => false,
        }
    }

    fn add(&mut self, edit: &Edit, hive: HiveName, key: String) {
        match edit {
            Edit::CreateKey { .. } => {
                let keys = with_parents(&key).map(|key| (hive, key.to_owned()));
                self.there.extend(keys);
            }
            Edit::DeleteKey { .. } => {
                self.deleted.insert((hive, key));
            }
            Edit::SetValue { name, .. } | Edit::DeleteValue { name, .. } => {
                self.values.insert((hive, key, name.to_lowercase()));
            }
            Edit::SetKeySecurity { .. } => {
                self.secured.insert((hive, key));
            }
            Edit::SetSecurity { .. }
            | Edit::Rename { .. }
            | Edit::CopyFile { .. }
            | Edit::DeleteFile { .. }
            | Edit::Boot(_) => {}
        }
    }
}

/// A path and those of the keys above it, without the root.
fn with_parents(key: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(key), |key| {
        key.rsplit_once('\\').map(|(parent, _)| parent)
    })
}

fn read_back(installation: &Installation, edit: &Edit, hive: HiveName) -> Result<Option<String>> {
    let registry = &installation.registry;
    let place = edit.location();
    let image = registry.required(hive)?.hive.bytes();
    let (opinion, wanted, expected, otherwise) = match edit {
        Edit::CreateKey { hive, key } | Edit::DeleteKey { hive, key } => {
            let (wanted, expected, otherwise) = match edit {
                Edit::CreateKey { .. } => (Wanted::Key, "the key", "no key"),
                _ => (Wanted::Nothing, "no key", "the key"),
            };
            let found = registry
                .has_key(*hive, key)
                .map_err(|error| failed(&place, expected, &error))?;
            if found != matches!(wanted, Wanted::Key) {
                return Err(failed(&place, expected, otherwise));
            }
            let opinion = second_opinion(image, key, None)?;
            (opinion, wanted, expected.to_owned(), otherwise)
        }
        Edit::SetValue {
            hive,
            key,
            name,
            kind,
            data,
        } => {
            let shown = |kind, data: &[u8]| plan::value_text(*hive, key, name, kind, data);
            let expected = shown(*kind, &data.0);
            let found = registry.raw(*hive, key, name);
            if found != Reading::Found((*kind, data.0.clone())) {
                let found = match found {
                    Reading::Found((kind, data)) => shown(kind, &data),
                    found => format!("{found:?}"),
                };
                return Err(failed(&place, &expected, &found));
            }
            let opinion = second_opinion(image, key, Some(name))?;
            (
                opinion,
                Wanted::Value(*kind, &data.0),
                expected,
                "something else",
            )
        }
        Edit::DeleteValue { hive, key, name } => {
            let found = registry.raw(*hive, key, name);
            if !found.is_absent() {
                return Err(failed(&place, "no value", &format!("{found:?}")));
            }
            // A key that is gone too has no value either.
            let opinion = second_opinion(image, key, Some(name))?;
            (opinion, Wanted::Nothing, "no value".to_owned(), "one")
        }
        Edit::SetKeySecurity {
            hive,
            key,
            descriptor,
        } => {
            let expected = plan::shown(&descriptor.0);
            let read = registry.required(*hive)?.hive.key(key)?;
            let found = match &read {
                Some(key) => Some(key.security()?),
                None => None,
            };
            for (found, reader) in [
                (found, ""),
                (
                    security_to_second_reader(image, key)?,
                    ", to a second reader",
                ),
            ] {
                if found != Some(descriptor.0.as_slice()) {
                    let shown = found.map_or("no key".to_owned(), plan::shown);
                    return Err(failed(&place, &expected, &format!("{shown}{reader}")));
                }
            }
            return Ok(None);
        }
        // Read back by `files` and `boot`.
        Edit::SetSecurity { .. }
        | Edit::Rename { .. }
        | Edit::CopyFile { .. }
        | Edit::DeleteFile { .. }
        | Edit::Boot(_) => return Ok(None),
    };
    match second(opinion, wanted) {
        Second::Confirms => Ok(None),
        Second::CannotSay(why) => Ok(Some(unconfirmed(&place, &why))),
        Second::Denies => {
            let found = format!("{otherwise}, to a second reader");
            Err(failed(&place, &expected, &found))
        }
    }
}

fn failed(place: &str, expected: &str, found: &str) -> Error {
    Error::damaged(
        format!("verification of {place}"),
        0,
        expected,
        found,
    )
    .with_hint(
        "the change does not read back as intended, so it was not written",
        "nothing on the target was changed; this is a defect of coldfix, please report it with the output of `coldfix inspect`",
    )
}
