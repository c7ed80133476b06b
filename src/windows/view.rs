// SPDX-License-Identifier: GPL-2.0-or-later
//! The registry as it will be after edits that are proposed and not made yet.
//!
//! A value such as a group's member list is written as a whole. Who proposes a change of it has to see what was
//! proposed before, else the second change takes the first one back.

use crate::edit::{Edit, HiveName};

use super::{Reading, Registry};

/// A registry and the edits on top of it: values set and keys made. Deleted keys are not followed.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    registry: &'a Registry,
    edits: &'a [Edit],
}

impl<'a> View<'a> {
    /// The registry with these edits on top.
    pub fn new(registry: &'a Registry, edits: &'a [Edit]) -> View<'a> {
        View { registry, edits }
    }

    /// Whether a key exists, as [`Registry::has_key`].
    pub fn has_key(self, hive: HiveName, key: &str) -> Result<bool, String> {
        if self.makes(hive, key) {
            return Ok(true);
        }
        self.registry.has_key(hive, key)
    }

    /// Whether an edit makes the key, or one below it.
    fn makes(self, hive: HiveName, wanted: &str) -> bool {
        let wanted = wanted.to_lowercase();
        self.edits.iter().any(|edit| match edit {
            Edit::CreateKey { hive: of, key } if *of == hive => {
                let key = key.to_lowercase();
                let rest = key.strip_prefix(&wanted);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('\\'))
            }
            _ => false,
        })
    }

    /// The names of the subkeys that are there already, as [`Registry::subkey_names`].
    pub fn subkey_names(self, hive: HiveName, key: &str) -> Vec<String> {
        self.registry.subkey_names(hive, key)
    }

    /// A value's type and bytes, as [`Registry::raw`].
    pub fn raw(self, hive: HiveName, wanted_key: &str, wanted: &str) -> Reading<(u32, Vec<u8>)> {
        let same = |one: &str, other: &str| one.to_lowercase() == other.to_lowercase();
        for edit in self.edits.iter().rev() {
            match edit {
                Edit::SetValue {
                    hive: of,
                    key,
                    name,
                    kind,
                    data,
                } if *of == hive && same(key, wanted_key) && same(name, wanted) => {
                    return Reading::Found((*kind, data.0.clone()));
                }
                Edit::DeleteValue {
                    hive: of,
                    key,
                    name,
                } if *of == hive && same(key, wanted_key) && same(name, wanted) => {
                    return Reading::NoValue;
                }
                _ => {}
            }
        }
        match self.registry.raw(hive, wanted_key, wanted) {
            Reading::NoKey if self.makes(hive, wanted_key) => Reading::NoValue,
            found => found,
        }
    }
}
