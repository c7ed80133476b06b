// SPDX-License-Identifier: GPL-2.0-or-later
//! Edits of the security descriptors of registry keys.
//!
//! As with files, a descriptor counts as changed when it says something else: another layout of the same is left
//! alone. One that cannot be read is never overwritten.

use crate::edit::{Edit, HexBytes, HiveName};
use crate::error::{Error, Result};
use crate::hive::{Hive, Key};
use crate::security::Descriptor;
use crate::windows::Registry;

use super::revert::Verdict;
use super::{Step, files};

/// Gives the key at `path` a descriptor where it says something else now.
pub(super) fn apply(
    hive: &mut Hive,
    edit: &Edit,
    (name, path, descriptor): (HiveName, &str, &HexBytes),
    reason: &str,
    now: u64,
) -> Result<Option<Step>> {
    let wanted = Descriptor::parse(&descriptor.0)?;
    let place = || name.full_path(path);
    let Some(key) = hive.key(path)? else {
        return Err(Error::refused(
            format!("the key {} is not there, so it has no permissions", place()),
            "check the path with `coldfix reg query`",
        ));
    };
    let before = key.security()?.to_vec();
    let current = Descriptor::parse(&before).map_err(|error| error.context(place()))?;
    if current.says_the_same(&wanted) {
        return Ok(None);
    }
    hive.set_security(path, &descriptor.0, now)?;
    Ok(Some(Step {
        edit: edit.clone(),
        reason: reason.to_owned(),
        before: files::shown(&before),
        after: files::shown(&descriptor.0),
        inverse: vec![Edit::SetKeySecurity {
            hive: name,
            key: path.to_owned(),
            descriptor: HexBytes(before),
        }],
    }))
}

/// The descriptor that a key made again needs, where it differs from that of the key above, which it would get.
pub(super) fn of_its_own(key: &Key<'_>, above: Option<&Key<'_>>) -> Option<HexBytes> {
    // What cannot be read cannot be kept either.
    let own = key.security().ok()?;
    let inherits = above
        .and_then(|above| above.security().ok())
        .is_some_and(|above| above == own);
    (!inherits && Descriptor::parse(own).is_ok()).then(|| HexBytes(own.to_vec()))
}

/// Whether a key still has the descriptor that a step gave it.
pub(super) fn judge(
    registry: &Registry,
    (hive, key, given): (HiveName, &str, &HexBytes),
    inverse: &[Edit],
) -> Verdict {
    let says = |now: &Descriptor, other: &HexBytes| {
        Descriptor::parse(&other.0).is_ok_and(|other| now.says_the_same(&other))
    };
    match registry.key_security(hive, key) {
        Err(why) => Verdict::LeaveAlone(why),
        Ok(None) => Verdict::LeaveAlone("its key has been deleted since".to_owned()),
        Ok(Some(now)) if says(&now, given) => Verdict::TakeBack,
        Ok(Some(now)) => match inverse {
            [Edit::SetKeySecurity { descriptor, .. }] if says(&now, descriptor) => {
                Verdict::AlreadyBack
            }
            _ => Verdict::LeaveAlone("its permissions have been changed since".to_owned()),
        },
    }
}
