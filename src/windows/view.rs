// SPDX-License-Identifier: GPL-2.0-or-later
//! The registry as it will be after edits that are proposed and not made yet.
//!
//! A value such as a group's member list is written as a whole. Who proposes a change of it has to see what was
//! proposed before, else the second change takes the first one back.

use crate::edit::{Edit, HiveName};
use crate::hive::Key;

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

    /// The subkeys that are there already, with their names; None when there is no such key. For going through many: a
    /// look-up by path reads the whole list each time.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub fn subkeys(
        self,
        hive: HiveName,
        key: &str,
    ) -> Result<Option<Vec<(String, Key<'a>)>>, String> {
        let Some(file) = self
            .registry
            .hive(hive)
            .map_err(|error| error.to_string())?
        else {
            return Ok(None);
        };
        let Some(key) = file.hive.key(key).map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let subkeys = key.subkeys().map_err(|error| error.to_string())?;
        let named = subkeys
            .into_iter()
            .map(|key| (key.name().to_string_lossy(), key));
        Ok(Some(named.collect()))
    }

    /// A value of a key that [`View::subkeys`] gave, whose path is `path`.
    pub fn raw_of(
        self,
        hive: HiveName,
        path: &str,
        key: Key<'a>,
        name: &str,
    ) -> Reading<(u32, Vec<u8>)> {
        if let Some(edited) = self.edited(hive, path, name) {
            return edited;
        }
        let found = key.value(name).and_then(|value| {
            value
                .map(|value| Ok((value.kind(), value.data()?.into_owned())))
                .transpose()
        });
        match found {
            Err(error) => Reading::Unreadable(error.to_string()),
            Ok(None) => Reading::NoValue,
            Ok(Some(raw)) => Reading::Found(raw),
        }
    }

    /// A value's type and bytes, as [`Registry::raw`].
    pub fn raw(self, hive: HiveName, key: &str, name: &str) -> Reading<(u32, Vec<u8>)> {
        if let Some(edited) = self.edited(hive, key, name) {
            return edited;
        }
        match self.registry.raw(hive, key, name) {
            Reading::NoKey if self.makes(hive, key) => Reading::NoValue,
            found => found,
        }
    }

    /// What the edits make of a value; None when they leave it alone.
    fn edited(
        self,
        hive: HiveName,
        wanted_key: &str,
        wanted: &str,
    ) -> Option<Reading<(u32, Vec<u8>)>> {
        let same = |one: &str, other: &str| one.to_lowercase() == other.to_lowercase();
        self.edits.iter().rev().find_map(|edit| match edit {
            Edit::SetValue {
                hive: of,
                key,
                name,
                kind,
                data,
            } if *of == hive && same(key, wanted_key) && same(name, wanted) => {
                Some(Reading::Found((*kind, data.0.clone())))
            }
            Edit::DeleteValue {
                hive: of,
                key,
                name,
            } if *of == hive && same(key, wanted_key) && same(name, wanted) => {
                Some(Reading::NoValue)
            }
            _ => None,
        })
    }
}
