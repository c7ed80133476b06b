// SPDX-License-Identifier: GPL-2.0-or-later
//! The store and the entry that start the installation, and edits of them.

use uuid::Uuid;

use super::super::{Facts, Proposal};
use crate::bcd::format::element;
use crate::bcd::text::View;
use crate::bcd::{ElementType, ObjectType, Store, Value};
use crate::edit::{BootChange, BootEdit, Edit, HexBytes, StorePlace};
use crate::error::{Error, Result};

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

    /// What is to be known of the choice: why this store, when the entry is not the one that starts by itself, and which
    /// other Windows entries stay as they are.
    pub(super) fn note(&self, facts: &Facts<'_>, proposal: &mut Proposal) {
        let installation = facts.installation;
        let boot = &installation.boot;
        if let Ok(store) = boot.store(&self.place) {
            let why = boot.explain(store, installation.partition, &installation.directory);
            proposal.notes.extend(why);
        }
        if !self.is_default {
            proposal.notes.push(format!(
                "the entry {} starts this Windows, and is not the boot manager's default",
                self.store.identifier(self.loader, false)
            ));
        }
        let view = View {
            store: &self.store,
            verbose: false,
            number: &|id| boot.number(id),
        };
        for other in &self.store.objects {
            if other.kind == ObjectType::LOADER && other.id != self.loader {
                proposal.notes.push(format!(
                    "the entry {} ({}, {}) is left as it is",
                    self.store.identifier(other.id, false),
                    other.text(element::DESCRIPTION).unwrap_or_default(),
                    view.values(other, element::OS_DEVICE).join(", ")
                ));
            }
        }
    }
}
