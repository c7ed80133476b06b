// SPDX-License-Identifier: GPL-2.0-or-later
//! Edits of the registry: keys and values, applied to the hives in memory.

use crate::edit::{Edit, HexBytes, HiveName};
use crate::error::{Error, Result};
use crate::hive::Key;
use crate::windows::{Registry, value};

use super::{Step, key_security, value_text};

/// A key deleted with more values and keys below it than this cannot be taken back by `--revert` (exact
/// undo still can): the inverse is kept in the journal, and that has to stay readable.
const LARGEST_INVERSE: usize = 20_000;

/// Applies an edit of a hive, in memory. Every other edit changes nothing here.
pub(super) fn apply(
    registry: &mut Registry,
    hive: HiveName,
    edit: &Edit,
    reason: &str,
    now: u64,
) -> Result<Option<Step>> {
    const NO_VALUE: &str = "no value";
    const NO_KEY: &str = "no key";
    let hive = &mut registry.editable(hive)?.hive;
    let step = |before: String, after: String, inverse| {
        Some(Step {
            edit: edit.clone(),
            reason: reason.to_owned(),
            before,
            after,
            inverse,
        })
    };
    let current =
        |hive: &crate::hive::Hive, key: &str, name: &str| -> Result<Option<(u32, Vec<u8>)>> {
            let Some(key) = hive.key(key)? else {
                return Ok(None);
            };
            let value = key.value(name)?;
            value
                .map(|value| Ok((value.kind(), value.data()?.into_owned())))
                .transpose()
        };
    match edit {
        Edit::CreateKey { hive: name, key } => {
            if hive.key(key)?.is_some() {
                return Ok(None);
            }
            // The inverse deletes each key that this creates, the deepest first.
            let mut created = Vec::new();
            let mut path = key.as_str();
            while !path.is_empty() && hive.key(path)?.is_none() {
                created.push(Edit::DeleteKey {
                    hive: *name,
                    key: path.to_owned(),
                });
                path = path.rsplit_once('\\').map_or("", |(parent, _)| parent);
            }
            hive.create_key(key, now)?;
            Ok(step(NO_KEY.to_owned(), "the key".to_owned(), created))
        }
        Edit::DeleteKey { hive: name, key } => {
            let Some(found) = hive.key(key)? else {
                return Ok(None);
            };
            let above = key.rsplit_once('\\').map_or("", |(above, _)| above);
            let inverse = recreate(hive.key(above)?, &found, *name, key)?.unwrap_or_default();
            let before = format!(
                "the key with {} values and {} subkeys",
                found.value_count(),
                found.subkey_count()
            );
            hive.delete_key(key, now)?;
            Ok(step(before, NO_KEY.to_owned(), inverse))
        }
        Edit::SetValue {
            hive: hive_name,
            key,
            name,
            kind,
            data,
        } => {
            if hive.key(key)?.is_none() {
                return Err(Error::refused(
                    format!(
                        "the key {} is not there; it is not invented",
                        hive_name.full_path(key)
                    ),
                    "if it really has to be made, make it first with `coldfix reg add`",
                ));
            }
            let before = current(hive, key, name)?;
            if before
                .as_ref()
                .is_some_and(|(old, bytes)| old == kind && *bytes == data.0)
            {
                return Ok(None);
            }
            hive.set_value(key, name, *kind, &data.0, now)?;
            let inverse = match &before {
                Some((kind, bytes)) => Edit::SetValue {
                    hive: *hive_name,
                    key: key.clone(),
                    name: name.clone(),
                    kind: *kind,
                    data: HexBytes(bytes.clone()),
                },
                None => Edit::DeleteValue {
                    hive: *hive_name,
                    key: key.clone(),
                    name: name.clone(),
                },
            };
            let shown = |kind, bytes: &[u8]| value_text(*hive_name, key, name, kind, bytes);
            let before = before.map_or(NO_VALUE.to_owned(), |(kind, bytes)| shown(kind, &bytes));
            Ok(step(before, shown(*kind, &data.0), vec![inverse]))
        }
        Edit::DeleteValue {
            hive: hive_name,
            key,
            name,
        } => {
            let Some((kind, bytes)) = current(hive, key, name)? else {
                return Ok(None);
            };
            hive.delete_value(key, name, now)?;
            let before = value_text(*hive_name, key, name, kind, &bytes);
            let inverse = Edit::SetValue {
                hive: *hive_name,
                key: key.clone(),
                name: name.clone(),
                kind,
                data: HexBytes(bytes),
            };
            Ok(step(before, NO_VALUE.to_owned(), vec![inverse]))
        }
        Edit::SetKeySecurity {
            hive: hive_name,
            key,
            descriptor,
        } => key_security::apply(hive, edit, (*hive_name, key, descriptor), reason, now),
        // Files and stores are not the registry's.
        Edit::SetSecurity { .. }
        | Edit::Rename { .. }
        | Edit::CopyFile { .. }
        | Edit::DeleteFile { .. }
        | Edit::Boot(_) => Ok(None),
    }
}

/// The edits that make a key again with all values and keys below it; `None` when there are too many, or
/// when a name is no text and an edit could only name another one.
/// Class names are not part of it. A key gets its descriptor back where that is not the one of the key above, which
/// a new key has.
fn recreate(
    above: Option<Key<'_>>,
    key: &Key<'_>,
    hive: HiveName,
    path: &str,
) -> Result<Option<Vec<Edit>>> {
    let mut edits = Vec::new();
    let mut pending = vec![(above, *key, path.to_owned())];
    while let Some((above, key, path)) = pending.pop() {
        edits.push(Edit::CreateKey {
            hive,
            key: path.clone(),
        });
        if let Some(descriptor) = key_security::of_its_own(&key, above.as_ref()) {
            edits.push(Edit::SetKeySecurity {
                hive,
                key: path.clone(),
                descriptor,
            });
        }
        for value in key.values()? {
            let Some(name) = value::exact_name(value.name()) else {
                return Ok(None);
            };
            edits.push(Edit::SetValue {
                hive,
                key: path.clone(),
                name,
                kind: value.kind(),
                data: HexBytes(value.data()?.into_owned()),
            });
        }
        for subkey in key.subkeys()? {
            let Some(name) = value::exact_name(subkey.name()) else {
                return Ok(None);
            };
            pending.push((Some(key), subkey, format!("{path}\\{name}")));
        }
        if edits.len() > LARGEST_INVERSE {
            return Ok(None);
        }
    }
    Ok(Some(edits))
}
