// SPDX-License-Identifier: GPL-2.0-or-later
//! The store and the entry that start the installation, and edits of them.

use uuid::Uuid;

use super::super::{Facts, Proposal};
use crate::bcd::format::element;
use crate::bcd::text::View;
use crate::bcd::{ElementType, ObjectType, Store, Value};
use crate::edit::{BootChange, BootEdit, Edit, HexBytes, StorePlace};
use crate::error::{Error, Result};
use crate::windows::value::printable;

/// The store and the loader that start the installation.
pub(super) struct Started {
    pub(super) place: StorePlace,
    pub(super) store: Store,
    pub(super) loader: Uuid,
    pub(super) is_default: bool,
}

impl Started {
    pub(super) fn find(facts: &Facts<'_>) -> Result<Started> {
        let installation = facts.installation;
        let (store, judgement) = installation
            .boot
            .find(installation.partition, &installation.directory)?;
        let loader = judgement.loader.ok_or_else(|| {
            Error::refused(
                format!("{} starts no Windows of this disk", store.place),
                "look at it with `coldfix bcd enum TARGET all -v`",
            )
        })?;
        Ok(Started {
            place: store.place.clone(),
            store: store.store()?,
            loader,
            is_default: judgement.is_default,
        })
    }

    pub(super) fn edit(&self, object: Uuid, change: BootChange) -> Edit {
        Edit::Boot(BootEdit {
            store: self.place.clone(),
            object,
            change,
        })
    }

    /// Sets an element of an object that is there or, of this type, will be.
    pub(super) fn set(
        &self,
        object: Uuid,
        kind: ObjectType,
        element: ElementType,
        value: &Value,
    ) -> Edit {
        let object_type = self.store.object(object).map_or(kind, |object| object.kind);
        let (kind, data) = value.encode().unwrap_or_default();
        self.edit(
            object,
            BootChange::SetElement {
                object_type,
                element,
                kind,
                data: HexBytes(data),
            },
        )
    }

    pub(super) fn set_loader(&self, element: ElementType, value: &Value) -> Edit {
        self.set(self.loader, ObjectType::LOADER, element, value)
    }

    pub(super) fn delete_of_loader(&self, element: ElementType) -> Edit {
        self.edit(
            self.loader,
            BootChange::DeleteElement {
                object_type: ObjectType::LOADER,
                element,
            },
        )
    }

    /// What is to be known of the choice: why this store, which entry, and which others stay as they are.
    pub(super) fn note(&self, facts: &Facts<'_>, proposal: &mut Proposal) {
        let installation = facts.installation;
        let boot = &installation.boot;
        if let Ok(store) = boot.store(&self.place) {
            let why = boot.explain(store, installation.partition, &installation.directory);
            proposal.notes.extend(why);
        }
        let view = View {
            store: &self.store,
            verbose: false,
            number: &|id| boot.number(id),
        };
        for entry in &self.store.objects {
            if entry.kind != ObjectType::LOADER {
                continue;
            }
            let what = match (entry.id == self.loader, self.is_default) {
                (true, true) => "starts this Windows",
                (true, false) => "starts this Windows; it is not the boot manager's default",
                (false, _) => "is left as it is",
            };
            let mut shown = vec![self.store.identifier(entry.id, false)];
            shown.extend(entry.text(element::DESCRIPTION));
            shown.extend(view.values(entry, element::OS_DEVICE));
            let note = format!("the entry {} {what}", shown.join(", "));
            proposal.notes.push(printable(&note).into_owned());
        }
    }
}
