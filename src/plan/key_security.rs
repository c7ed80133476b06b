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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::sddl;

    const PLACE: HiveName = HiveName::Software;

    fn bytes(text: &str) -> HexBytes {
        HexBytes(sddl::parse(text, None).unwrap().to_bytes().unwrap())
    }

    fn set(hive: &mut Hive, key: &str, descriptor: &HexBytes) -> Result<Option<Step>> {
        let edit = Edit::SetKeySecurity {
            hive: PLACE,
            key: key.to_owned(),
            descriptor: descriptor.clone(),
        };
        apply(hive, &edit, (PLACE, key, descriptor), "test", 7)
    }

    fn hive() -> Hive {
        let mut hive = Hive::create(5, "ROOT", 1).unwrap();
        hive.create_key("One\\Two", 2).unwrap();
        hive
    }

    #[test]
    fn a_step_and_its_inverse_restore_what_was_said() {
        let mut hive = hive();
        let wanted = bytes("O:BAG:SYD:P(A;CI;KA;;;SY)(D;;0x6;;;BG)");
        let old = hive
            .key("One")
            .unwrap()
            .unwrap()
            .security()
            .unwrap()
            .to_vec();
        let step = set(&mut hive, "one", &wanted).unwrap().unwrap();
        assert_eq!(step.after, "O:BAG:SYD:P(A;CI;KA;;;SY)(D;;DCLC;;;BG)");
        assert!(step.before.contains("KA"), "{}", step.before);
        assert_eq!(
            hive.key("One").unwrap().unwrap().security().unwrap(),
            wanted.0
        );
        // The key below keeps what it has.
        assert_eq!(
            hive.key("One\\Two").unwrap().unwrap().security().unwrap(),
            old
        );
        assert_eq!(hive.check(), []);
        assert_eq!(set(&mut hive, "One", &wanted).unwrap(), None);
        let [Edit::SetKeySecurity { descriptor, .. }] = step.inverse.as_slice() else {
            panic!("{:?}", step.inverse);
        };
        set(&mut hive, "One", descriptor).unwrap().unwrap();
        assert_eq!(hive.key("One").unwrap().unwrap().security().unwrap(), old);
        assert_eq!(hive.check(), []);
    }

    #[test]
    fn another_layout_of_the_same_is_left_alone() {
        let mut hive = hive();
        let first = bytes("O:BAG:SYD:P(A;CI;KA;;;SY)");
        set(&mut hive, "One", &first).unwrap().unwrap();
        // The owner's SID before the list.
        let list = first.0[20..first.0.len() - 28].to_vec();
        let mut other = first.0[..20].to_vec();
        other.extend(&first.0[first.0.len() - 28..]);
        other.extend(&list);
        for (field, offset) in [(4, 20_u32), (8, 36), (16, 48)] {
            other[field..field + 4].copy_from_slice(&offset.to_le_bytes());
        }
        assert_ne!(other, first.0);
        assert_eq!(set(&mut hive, "One", &HexBytes(other)).unwrap(), None);
    }

    #[test]
    fn what_is_damaged_or_missing_is_not_overwritten() {
        let mut hive = hive();
        let wanted = bytes("O:BAG:SYD:P(A;CI;KA;;;SY)");
        assert!(set(&mut hive, "Three", &wanted).is_err());
        assert!(set(&mut hive, "One", &HexBytes(vec![1, 2, 3])).is_err());
        let own = hive
            .key("One")
            .unwrap()
            .unwrap()
            .security()
            .unwrap()
            .to_vec();
        let mut image = hive.into_bytes();
        let place = image
            .windows(own.len())
            .position(|part| part == own)
            .unwrap();
        image[place] = 9;
        let mut damaged = Hive::parse(image.clone()).unwrap();
        assert!(set(&mut damaged, "One", &wanted).is_err());
        assert!(damaged.bytes() == image);
    }

    #[test]
    fn a_key_made_again_needs_only_what_differs_from_above() {
        let mut hive = hive();
        let wanted = bytes("O:BAG:SYD:P(A;CI;KA;;;SY)");
        set(&mut hive, "One", &wanted).unwrap();
        let key = |path| hive.key(path).unwrap();
        let (root, one, two) = (key(""), key("One"), key("One\\Two"));
        assert_eq!(of_its_own(&one.unwrap(), root.as_ref()), Some(wanted));
        assert!(of_its_own(&two.unwrap(), one.as_ref()).is_some());
        assert_eq!(of_its_own(&two.unwrap(), root.as_ref()), None);
    }
}
