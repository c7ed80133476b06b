// SPDX-License-Identifier: GPL-2.0-or-later
//! Taking logical edits back after Windows has run: `undo --revert`.
//!
//! Windows has rewritten the hives since, so the physical undo no longer fits. Steps are taken back last
//! first, each only where the registry still says what the step made it say; what somebody has changed
//! since is left alone and reported.

use crate::edit::Edit;
use crate::error::Result;
use crate::windows::{Reading, Registry};

use super::{Step, apply};

/// What taking back a list of steps amounted to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reverted {
    /// What was changed, as steps of their own.
    pub steps: Vec<Step>,
    /// Steps left alone, each with the reason.
    pub left_alone: Vec<String>,
}

/// Takes back `steps` on the registry as it is now, in memory. `now` is a FILETIME.
pub fn revert(registry: &mut Registry, steps: &[Step], reason: &str, now: u64) -> Result<Reverted> {
    let mut result = Reverted::default();
    for step in steps.iter().rev() {
        match judge(registry, step) {
            Verdict::AlreadyBack => {}
            Verdict::LeaveAlone(why) => {
                let place = step.edit.location();
                result.left_alone.push(format!("{place}: {why}"));
            }
            Verdict::TakeBack => {
                for edit in &step.inverse {
                    let created = matches!(step.edit, Edit::CreateKey { .. });
                    if created && holds_something(registry, edit) {
                        let place = edit.location();
                        result
                            .left_alone
                            .push(format!("{place}: something has been put into it since"));
                        break;
                    }
                    let edit = (edit.clone(), reason.to_owned());
                    result.steps.extend(apply(registry, &[edit], now)?);
                }
            }
        }
    }
    Ok(result)
}

enum Verdict {
    TakeBack,
    AlreadyBack,
    LeaveAlone(String),
}

fn judge(registry: &Registry, step: &Step) -> Verdict {
    if step.inverse.is_empty() {
        return Verdict::LeaveAlone(
            "the deleted key held too much, or a name that is no text, to be kept as edits"
                .to_owned(),
        );
    }
    match &step.edit {
        Edit::SetValue {
            hive,
            key,
            name,
            kind,
            data,
        } => {
            let now = registry.raw(*hive, key, name);
            if now == Reading::Found((*kind, data.0.clone())) {
                Verdict::TakeBack
            } else if is_old_state(&now, step) {
                Verdict::AlreadyBack
            } else {
                Verdict::LeaveAlone("its value has been changed since".to_owned())
            }
        }
        Edit::DeleteValue { hive, key, name } => match registry.raw(*hive, key, name) {
            Reading::NoValue => Verdict::TakeBack,
            Reading::NoKey => Verdict::LeaveAlone("its key has been deleted since".to_owned()),
            now if is_old_state(&now, step) => Verdict::AlreadyBack,
            _ => Verdict::LeaveAlone("it has been set again since".to_owned()),
        },
        Edit::CreateKey { hive, key } => match registry.has_key(*hive, key) {
            Ok(true) => Verdict::TakeBack,
            Ok(false) => Verdict::AlreadyBack,
            Err(error) => Verdict::LeaveAlone(error),
        },
        Edit::DeleteKey { hive, key } => match registry.has_key(*hive, key) {
            Ok(false) => Verdict::TakeBack,
            Ok(true) => Verdict::LeaveAlone("the key has been made again since".to_owned()),
            Err(error) => Verdict::LeaveAlone(error),
        },
    }
}

/// True when the registry already says what the inverse would write.
fn is_old_state(now: &Reading<(u32, Vec<u8>)>, step: &Step) -> bool {
    match step.inverse.as_slice() {
        [Edit::SetValue { kind, data, .. }] => *now == Reading::Found((*kind, data.0.clone())),
        [Edit::DeleteValue { .. }] => now.is_absent(),
        _ => false,
    }
}

/// True when deleting a key would take along something that is not the operation's own.
fn holds_something(registry: &Registry, edit: &Edit) -> bool {
    let Edit::DeleteKey { hive, key } = edit else {
        return false;
    };
    !registry.subkey_names(*hive, key).is_empty() || !registry.values(*hive, key).is_empty()
}
