// SPDX-License-Identifier: GPL-2.0-or-later
//! Verification: the target is opened anew from the bottom, through the changes, and every edit is read
//! back; by our own readers, and by the crates `nt-hive` and `ntfs` as second opinions on the hives and on the
//! volume.
//!
//! The structure of an edited hive is checked when it is stored; verification makes sure that the same bytes
//! come back. Our own structural checks have accepted a hive and walked a volume before those crates see them, because
//! both panic on some damaged input.

use crate::edit::{Edit, HiveName};
use crate::error::{Error, Result};
use crate::hive::log::State;
use crate::hive::second_opinion::{SecondOpinion, second_opinion};
use crate::plan::Step;
use crate::target::Target;
use crate::windows::{Installation, Reading, value};

/// Checks that a target, opened anew, says what `steps` made it say.
///
/// # Errors
/// Damaged, naming the place, when it does not: a defect of coldfix. Nothing has been written yet when
/// this runs before a commit.
pub fn verify(target: &Target, installation: &Installation, steps: &[Step]) -> Result<()> {
    let again = target.reopen()?;
    let found = again
        .installations()?
        .into_iter()
        .find(|found| {
            found.partition == installation.partition && found.directory == installation.directory
        })
        .ok_or_else(|| {
            failed(
                &installation.describe(),
                "the installation",
                "none after the change",
            )
        })?;
    let touched = HiveName::ALL
        .into_iter()
        .filter(|name| steps.iter().any(|step| step.edit.hive() == *name));
    for name in touched {
        let file = found.registry.required(name)?;
        if file.state != State::Clean {
            return Err(failed(&file.path, "a clean hive", "one that is not closed"));
        }
        // The structure was checked when the hive was stored: these have to be the same bytes.
        let expected = installation.registry.required(name)?.hive.bytes();
        if file.hive.bytes() != expected {
            return Err(failed(
                &file.path,
                "the content that was stored",
                "other content",
            ));
        }
        let second = found
            .volume
            .read_independently(&file.path, expected.len() as u64);
        if second.is_some_and(|second| second != expected) {
            return Err(failed(
                &file.path,
                "the same content for a second NTFS reader",
                "other content",
            ));
        }
    }
    for (position, step) in steps.iter().enumerate() {
        // The last edit of a place decides what is there; a deleted key takes along what was set below.
        let later = steps.get(position.saturating_add(1)..).unwrap_or_default();
        if later.iter().any(|other| overrules(&other.edit, &step.edit)) {
            continue;
        }
        read_back(&found, &step.edit)?;
    }
    Ok(())
}

fn overrules(later: &Edit, earlier: &Edit) -> bool {
    if later.hive() != earlier.hive() {
        return false;
    }
    let (later_key, earlier_key) = (later.key().to_lowercase(), earlier.key().to_lowercase());
    match later {
        // A key made again after its deletion is there.
        Edit::CreateKey { .. } => {
            matches!(earlier, Edit::DeleteKey { .. })
                && (later_key == earlier_key || later_key.starts_with(&format!("{earlier_key}\\")))
        }
        Edit::DeleteKey { .. } => {
            earlier_key == later_key || earlier_key.starts_with(&format!("{later_key}\\"))
        }
        _ => later.location().eq_ignore_ascii_case(&earlier.location()),
    }
}

fn read_back(installation: &Installation, edit: &Edit) -> Result<()> {
    let registry = &installation.registry;
    let place = edit.location();
    let image = registry.required(edit.hive())?.hive.bytes();
    match edit {
        Edit::CreateKey { hive, key } | Edit::DeleteKey { hive, key } => {
            let wanted = matches!(edit, Edit::CreateKey { .. });
            let words = |there: bool| if there { "the key" } else { "no key" };
            let found = registry
                .has_key(*hive, key)
                .map_err(|error| failed(&place, words(wanted), &error))?;
            let second = second_opinion(image, key, None)? != SecondOpinion::Absent;
            if found != wanted || second != wanted {
                return Err(failed(&place, words(wanted), words(!wanted)));
            }
        }
        Edit::SetValue {
            hive,
            key,
            name,
            kind,
            data,
        } => {
            let expected = value::describe(*kind, &data.0);
            let found = registry.raw(*hive, key, name);
            if found != Reading::Found((*kind, data.0.clone())) {
                return Err(failed(&place, &expected, &format!("{found:?}")));
            }
            let agrees = match second_opinion(image, key, Some(name))? {
                SecondOpinion::Value {
                    kind: second_kind,
                    data: second_data,
                } => second_data == data.0 && second_kind.is_none_or(|second| second == *kind),
                SecondOpinion::CannotSay(_) => true,
                SecondOpinion::Absent | SecondOpinion::Key => false,
            };
            if !agrees {
                return Err(failed(
                    &place,
                    &expected,
                    "something else, to a second reader",
                ));
            }
        }
        Edit::DeleteValue { hive, key, name } => {
            let found = registry.raw(*hive, key, name);
            if !found.is_absent() {
                return Err(failed(&place, "no value", &format!("{found:?}")));
            }
            // A key that is gone too has no value either.
            match second_opinion(image, key, Some(name))? {
                SecondOpinion::Absent | SecondOpinion::Key => {}
                _ => return Err(failed(&place, "no value", "one, to a second reader")),
            }
        }
    }
    Ok(())
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
