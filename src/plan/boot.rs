// SPDX-License-Identifier: GPL-2.0-or-later
//! Edits of boot configuration stores, applied in memory; and whether they still stand when they are taken back.
//!
//! A store that means the same already is left alone: a yes-or-no of two bytes is not made one of one byte.

use uuid::Uuid;

use crate::bcd::change::{self, element_key, object_key};
use crate::bcd::text::View;
use crate::bcd::{ElementType, Object, ObjectType, Store};
use crate::edit::{BootChange, BootEdit, Edit, HexBytes};
use crate::error::{Error, Result};
use crate::windows::{Boot, BootStore};

use super::Step;
use super::revert::Verdict;

/// Applies an edit to the store in memory. `now` is a FILETIME.
pub(super) fn apply(
    boot: &mut Boot,
    edit: &BootEdit,
    reason: &str,
    now: u64,
) -> Result<Option<Step>> {
    let store = boot.store(&edit.store)?;
    let content = store.store()?;
    let object = content.object(edit.object);
    let Some((before, inverse)) = plan(boot, &content, object, edit)? else {
        return Ok(None);
    };
    let hive = &mut boot.store_mut(&edit.store)?.editable()?.hive;
    match &edit.change {
        BootChange::SetElement {
            element,
            kind,
            data,
            ..
        } => change::set_element(hive, edit.object, *element, *kind, &data.0, now)?,
        BootChange::DeleteElement { element, .. } => {
            change::delete_element(hive, edit.object, *element, now)?;
        }
        BootChange::CreateObject { object_type } => {
            change::create_object(hive, edit.object, *object_type, now)?;
        }
        BootChange::DeleteObject => {
            change::delete_object(hive, edit.object, now)?;
        }
    }
    let content = boot.store(&edit.store)?.store()?;
    let after = match (&edit.change, content.object(edit.object)) {
        (
            BootChange::SetElement { element, .. } | BootChange::DeleteElement { element, .. },
            Some(object),
        ) => shown(boot, &content, object, *element),
        (_, Some(object)) => described(object),
        (_, None) => NO_OBJECT.to_owned(),
    };
    Ok(Some(Step {
        edit: Edit::Boot(edit.clone()),
        reason: reason.to_owned(),
        before,
        after,
        inverse,
    }))
}

const NO_OBJECT: &str = "no object";
const NO_ELEMENT: &str = "not set";

/// What is there before, for a person, and the edits that bring it back; `None` when the edit changes nothing.
fn plan(
    boot: &Boot,
    content: &Store,
    object: Option<&Object>,
    edit: &BootEdit,
) -> Result<Option<(String, Vec<Edit>)>> {
    let inverse = |change: BootChange| {
        Edit::Boot(BootEdit {
            store: edit.store.clone(),
            object: edit.object,
            change,
        })
    };
    let missing = || {
        Error::refused(
            format!("{} has no object {}", edit.store, edit.object_name()),
            "it is not invented; `coldfix bcd enum TARGET all -v` lists what is there",
        )
    };
    match &edit.change {
        BootChange::SetElement {
            object_type,
            element,
            kind,
            data,
        } => {
            let object = object.ok_or_else(missing)?;
            check_type(edit, object, *object_type)?;
            let old = object.elements.get(element);
            if let Some(old) = old
                && change::same(*element, (old.kind, &old.data), (*kind, &data.0))
            {
                return Ok(None);
            }
            let back = match old {
                Some(old) => set(object, *element, old),
                None => BootChange::DeleteElement {
                    object_type: *object_type,
                    element: *element,
                },
            };
            let before = shown(boot, content, object, *element);
            Ok(Some((before, vec![inverse(back)])))
        }
        BootChange::DeleteElement {
            object_type,
            element,
        } => {
            let Some(object) = object else {
                return Ok(None);
            };
            check_type(edit, object, *object_type)?;
            let Some(old) = object.elements.get(element) else {
                return Ok(None);
            };
            let before = shown(boot, content, object, *element);
            Ok(Some((before, vec![inverse(set(object, *element, old))])))
        }
        BootChange::CreateObject { object_type } => match object {
            Some(object) => check_type(edit, object, *object_type).map(|()| None),
            None => {
                let back = inverse(BootChange::DeleteObject);
                Ok(Some((NO_OBJECT.to_owned(), vec![back])))
            }
        },
        BootChange::DeleteObject => {
            let Some(object) = object else {
                return Ok(None);
            };
            // What holds more than elements cannot be made again from edits.
            let mut back = Vec::new();
            if !object.has_more {
                back.push(inverse(BootChange::CreateObject {
                    object_type: object.kind,
                }));
                let elements = object.elements.iter();
                back.extend(elements.map(|(element, old)| inverse(set(object, *element, old))));
            }
            Ok(Some((described(object), back)))
        }
    }
}

fn set(object: &Object, element: ElementType, old: &crate::bcd::Element) -> BootChange {
    BootChange::SetElement {
        object_type: object.kind,
        element,
        kind: old.kind,
        data: HexBytes(old.data.clone()),
    }
}

/// `Refused` when the object is of another type than the edit was made for: its elements mean other things.
fn check_type(edit: &BootEdit, object: &Object, wanted: ObjectType) -> Result<()> {
    if object.kind == wanted {
        return Ok(());
    }
    Err(Error::refused(
        format!(
            "{} in {} has the type {}, not {wanted}",
            edit.object_name(),
            edit.store,
            object.kind
        ),
        "look at it with `coldfix bcd enum TARGET all -v`",
    ))
}

fn described(object: &Object) -> String {
    format!(
        "{} ({}) with {} elements",
        crate::bcd::text::heading(object),
        object.kind,
        object.elements.len()
    )
}

/// An element's value in one line.
fn shown(boot: &Boot, content: &Store, object: &Object, element: ElementType) -> String {
    let view = View {
        store: content,
        verbose: false,
        number: &|id| boot.number(id),
    };
    match view.values(object, element).as_slice() {
        [] => NO_ELEMENT.to_owned(),
        values => crate::windows::value::printable(&values.join(", ")).into_owned(),
    }
}

/// Whether a step's edit still stands in the store as it is now.
pub(super) fn judge(boot: &Boot, edit: &BootEdit, inverse: &[Edit]) -> Verdict {
    let content = match boot.store(&edit.store).and_then(BootStore::store) {
        Ok(content) => content,
        Err(error) => return Verdict::LeaveAlone(error.to_string()),
    };
    let object = content.object(edit.object);
    let stored = |element: ElementType| object.and_then(|object| object.elements.get(&element));
    let is_old = |element: ElementType| match inverse {
        [
            Edit::Boot(BootEdit {
                change: BootChange::SetElement { kind, data, .. },
                ..
            }),
        ] => stored(element)
            .is_some_and(|now| change::same(element, (now.kind, &now.data), (*kind, &data.0))),
        _ => stored(element).is_none(),
    };
    match &edit.change {
        BootChange::SetElement {
            element,
            kind,
            data,
            ..
        } => match stored(*element) {
            _ if object.is_none() => {
                Verdict::LeaveAlone("its object has been deleted since".to_owned())
            }
            Some(now) if change::same(*element, (now.kind, &now.data), (*kind, &data.0)) => {
                Verdict::TakeBack
            }
            _ if is_old(*element) => Verdict::AlreadyBack,
            _ => Verdict::LeaveAlone("its value has been changed since".to_owned()),
        },
        BootChange::DeleteElement { element, .. } => match stored(*element) {
            _ if object.is_none() => {
                Verdict::LeaveAlone("its object has been deleted since".to_owned())
            }
            None => Verdict::TakeBack,
            Some(_) if is_old(*element) => Verdict::AlreadyBack,
            Some(_) => Verdict::LeaveAlone("it has been set again since".to_owned()),
        },
        BootChange::CreateObject { .. } => match object {
            None => Verdict::AlreadyBack,
            Some(object) if object.elements.is_empty() && !object.has_more => Verdict::TakeBack,
            Some(_) => Verdict::LeaveAlone("something has been put into it since".to_owned()),
        },
        BootChange::DeleteObject => match object {
            None => Verdict::TakeBack,
            Some(_) => Verdict::LeaveAlone("the object has been made again since".to_owned()),
        },
    }
}

/// The key in the store's hive that shows an edit, and whether its value `Element` does.
pub(crate) fn key(object: Uuid, change: &BootChange) -> (String, bool) {
    match change {
        BootChange::SetElement { element, .. } | BootChange::DeleteElement { element, .. } => {
            (element_key(object, *element), true)
        }
        BootChange::CreateObject { .. } | BootChange::DeleteObject => (object_key(object), false),
    }
}
