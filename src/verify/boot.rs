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
use crate::hive::second_opinion::{SecondOpinion, second_opinion};
use crate::plan::{Step, key};
use crate::windows::Installation;

use super::failed;

/// Checks that the stores say what the steps made them say.
pub(super) fn verify(installation: &Installation, steps: &[Step]) -> Result<()> {
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
            read_back(installation, edit, &step.edit.location())?;
        }
    }
    Ok(())
}

fn read_back(installation: &Installation, edit: &BootEdit, place: &str) -> Result<()> {
    let store = installation.boot.store(&edit.store)?;
    let content = store.store()?;
    let object = content.object(edit.object);
    let image = store
        .file
        .as_ref()
        .map_or(&[][..], |file| file.hive.bytes());
    let (key, is_element) = key(edit.object, &edit.change);
    let opinion = second_opinion(image, &key, is_element.then_some("Element"))?;
    let words = |there: bool| if there { "there" } else { "not there" };
    let (wanted, found, second) = match &edit.change {
        BootChange::SetElement {
            element,
            kind,
            data,
            ..
        } => {
            let found = object.and_then(|object| object.elements.get(element));
            let found = found.is_some_and(|found| found.kind == *kind && found.data == data.0);
            let second = match &opinion {
                SecondOpinion::Value {
                    kind: other,
                    data: bytes,
                } => other.is_none_or(|other| other == *kind) && *bytes == data.0,
                SecondOpinion::CannotSay(_) => true,
                SecondOpinion::Absent | SecondOpinion::Key => false,
            };
            (true, found, second)
        }
        BootChange::DeleteElement { element, .. } => {
            let found = object.is_some_and(|object| object.elements.contains_key(element));
            (false, found, opinion != SecondOpinion::Absent)
        }
        BootChange::CreateObject { object_type } => {
            let found = object.is_some_and(|object| object.kind == *object_type);
            (true, found, opinion == SecondOpinion::Key)
        }
        BootChange::DeleteObject => (false, object.is_some(), opinion != SecondOpinion::Absent),
    };
    if found != wanted {
        return Err(failed(place, words(wanted), words(found)));
    }
    if second != wanted {
        let found = format!("{} to a second reader", words(second));
        return Err(failed(place, words(wanted), &found));
    }
    Ok(())
}
