// SPDX-License-Identifier: GPL-2.0-or-later
//! Taking logical edits back after Windows has run: `undo --revert`.
//!
//! Windows has rewritten the hives since, so the physical undo no longer fits. Steps are taken back last
//! first, each only where the registry still says what the step made it say; what somebody has changed
//! since is left alone and reported.

use std::collections::{HashMap, HashSet};

use crate::edit::{Edit, SecurityGroup};
use crate::error::Result;
use crate::security::Descriptor;
use crate::volume::Volume;
use crate::windows::{Installation, Reading, Registry};

use super::{Step, apply, file_content, files};

/// What taking back a list of steps amounted to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reverted {
    /// What was changed, as steps of their own.
    pub steps: Vec<Step>,
    /// Steps left alone, each with the reason.
    pub left_alone: Vec<String>,
}

/// Takes back `steps` on the installation as it is now, in memory. `now` is a FILETIME.
pub fn revert(
    installation: &mut Installation,
    steps: &[Step],
    reason: &str,
    now: u64,
) -> Result<Reverted> {
    let mut result = Reverted::default();
    for step in steps.iter().rev() {
        if let (Edit::SetSecurity { groups }, Some(Edit::SetSecurity { groups: inverse })) =
            (&step.edit, step.inverse.first())
        {
            let volume = installation.volume.as_ref();
            let back = still_as_set(volume, groups, inverse, &mut result.left_alone)?;
            if let Some(edit) = back {
                let edit = (edit, reason.to_owned());
                result.steps.extend(apply(installation, &[edit], now)?);
            }
            continue;
        }
        match judge(installation, step) {
            Verdict::AlreadyBack => {}
            Verdict::LeaveAlone(why) => {
                let place = step.edit.location();
                result.left_alone.push(format!("{place}: {why}"));
            }
            Verdict::TakeBack => {
                for edit in &step.inverse {
                    let created = matches!(step.edit, Edit::CreateKey { .. });
                    if created && holds_something(&installation.registry, edit) {
                        let place = edit.location();
                        result
                            .left_alone
                            .push(format!("{place}: something has been put into it since"));
                        break;
                    }
                    let edit = (edit.clone(), reason.to_owned());
                    result.steps.extend(apply(installation, &[edit], now)?);
                }
            }
        }
    }
    Ok(result)
}

/// How many paths are named one by one when they are left alone.
const NAMED: usize = 20;

/// The old descriptors for those paths that still have what the step gave them.
fn still_as_set(
    volume: &dyn Volume,
    set: &[SecurityGroup],
    before: &[SecurityGroup],
    left_alone: &mut Vec<String>,
) -> Result<Option<Edit>> {
    let old = before.iter().flat_map(|group| {
        let descriptor = group.descriptor.0.as_slice();
        group
            .paths
            .iter()
            .map(move |path| (path.as_str(), descriptor))
    });
    let old: HashMap<&str, &[u8]> = old.collect();
    let mut as_set = HashSet::new();
    let mut others = 0_usize;
    let mut leave = |path: &str, why: &str| {
        others = others.saturating_add(1);
        if others <= NAMED {
            left_alone.push(format!("{}: {why}", crate::edit::windows_path(path)));
        }
    };
    for group in set {
        let mut there = Vec::new();
        for path in &group.paths {
            match volume.entry(path) {
                Ok(Some(_)) => there.push(path.as_str()),
                _ => leave(path, "it is not there any more"),
            }
        }
        let given = Descriptor::parse(&group.descriptor.0)?;
        for (path, now) in there.iter().zip(volume.security(&there)?) {
            if files::same(&now, &given) {
                as_set.insert(*path);
            } else if !old.get(path).is_some_and(|old| is_back(&now, old)) {
                leave(path, "its permissions have been changed since");
            }
        }
    }
    if others > NAMED {
        left_alone.push(format!("and {} more", others.saturating_sub(NAMED)));
    }
    let mut groups = Vec::new();
    for group in before {
        let paths = group
            .paths
            .iter()
            .filter(|path| as_set.contains(path.as_str()));
        let paths: Vec<String> = paths.cloned().collect();
        if !paths.is_empty() {
            groups.push(SecurityGroup {
                descriptor: group.descriptor.clone(),
                paths,
            });
        }
    }
    Ok((!groups.is_empty()).then_some(Edit::SetSecurity { groups }))
}

/// Whether a file has its old descriptor again.
fn is_back(now: &[u8], old: &[u8]) -> bool {
    now == old || Descriptor::parse(old).is_ok_and(|old| files::same(now, &old))
}

pub(super) enum Verdict {
    TakeBack,
    AlreadyBack,
    LeaveAlone(String),
}

fn judge(installation: &Installation, step: &Step) -> Verdict {
    let registry = &installation.registry;
    if matches!(step.edit, Edit::Boot(_)) && step.inverse.is_empty() {
        return Verdict::LeaveAlone(
            "the deleted object held more than elements, which no edit makes again".to_owned(),
        );
    }
    if let Some(verdict) = file_content::judge(installation.volume.as_ref(), step) {
        return verdict;
    }
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
        Edit::SetKeySecurity {
            hive,
            key,
            descriptor,
        } => super::key_security::judge(registry, (*hive, key, descriptor), &step.inverse),
        Edit::Rename { path, name } => {
            let volume = installation.volume.as_ref();
            let there = |path: &str| matches!(volume.entry(path), Ok(Some(_)));
            match (there(&files::renamed(path, name)), there(path)) {
                (true, false) => Verdict::TakeBack,
                (false, true) => Verdict::AlreadyBack,
                (false, false) => Verdict::LeaveAlone("it is not there any more".to_owned()),
                (true, true) => Verdict::LeaveAlone(
                    "something has been made under its old name since; move that away first"
                        .to_owned(),
                ),
            }
        }
        Edit::Boot(edit) => super::boot::judge(&installation.boot, edit, &step.inverse),
        // Judged path by path, see `still_as_set`.
        Edit::SetSecurity { .. } => Verdict::LeaveAlone("it has no old permissions".to_owned()),
        // Judged above.
        Edit::CopyFile { .. } | Edit::DeleteFile { .. } => Verdict::AlreadyBack,
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
