// SPDX-License-Identifier: GPL-2.0-or-later
//! Reading back what edits made of boot configuration stores, with our reader and with nt-hive.
//!
//! That the store's file holds these very bytes has been seen before. The last edit of an element or object decides
//! what is there, so they are looked at from the last one back.

use std::collections::HashSet;

use uuid::Uuid;

use crate::bcd::ElementType;
use crate::edit::{BootChange, BootEdit, Edit, StorePlace};
use crate::error::Result;
use crate::hive::second_opinion::second_opinion;
use crate::plan::{Step, key};
use crate::windows::Installation;

use super::failed;
use super::second::{Second, Wanted, second, unconfirmed};

/// Checks that the stores say what the steps made them say; returns what only one reader could tell.
pub(super) fn verify(installation: &Installation, steps: &[Step]) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    let mut elements: HashSet<(&StorePlace, Uuid, ElementType)> = HashSet::new();
    let mut objects: HashSet<(&StorePlace, Uuid)> = HashSet::new();
    for step in steps.iter().rev() {
        let Edit::Boot(edit) = &step.edit else {
            continue;
        };
        let object = (&edit.store, edit.object);
        let overruled = match &edit.change {
            BootChange::SetElement { element, .. } | BootChange::DeleteElement { element, .. } => {
                objects.contains(&object) || !elements.insert((&edit.store, edit.object, *element))
            }
            BootChange::CreateObject { .. } | BootChange::DeleteObject => !objects.insert(object),
        };
        if !overruled {
            notes.extend(read_back(installation, edit, &step.edit.location())?);
        }
    }
    Ok(notes)
}

fn read_back(installation: &Installation, edit: &BootEdit, place: &str) -> Result<Option<String>> {
    let store = installation.boot.store(&edit.store)?;
    let content = store.store()?;
    let object = content.object(edit.object);
    let image = store
        .file
        .as_ref()
        .map_or(&[][..], |file| file.hive.bytes());
    let (key, is_element) = key(edit.object, &edit.change);
    let opinion = second_opinion(image, &key, is_element.then_some("Element"))?;
    let (wanted, found) = match &edit.change {
        BootChange::SetElement {
            element,
            kind,
            data,
            ..
        } => {
            let found = object.and_then(|object| object.elements.get(element));
            let same = found.is_some_and(|found| found.kind == *kind && found.data == data.0);
            (Wanted::Value(*kind, &data.0), same)
        }
        BootChange::DeleteElement { element, .. } => {
            let found = object.is_some_and(|object| object.elements.contains_key(element));
            (Wanted::Nothing, !found)
        }
        BootChange::CreateObject { object_type } => {
            let found = object.is_some_and(|object| object.kind == *object_type);
            (Wanted::Key, found)
        }
        BootChange::DeleteObject => (Wanted::Nothing, object.is_none()),
    };
    let (expected, otherwise) = match wanted {
        Wanted::Nothing => ("not there", "there"),
        Wanted::Key | Wanted::Value(..) => ("there", "not there, or something else"),
    };
    if !found {
        return Err(failed(place, expected, otherwise));
    }
    match second(opinion, wanted) {
        Second::Confirms => Ok(None),
        Second::CannotSay(why) => Ok(Some(unconfirmed(place, &why))),
        Second::Denies => {
            let found = format!("{otherwise}, to a second reader");
            Err(failed(place, expected, &found))
        }
    }
}
