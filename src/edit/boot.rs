// SPDX-License-Identifier: GPL-2.0-or-later
//! Changes of boot configuration (BCD) stores.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{HexBytes, windows_path};
use crate::bcd::elements::shown_name;
use crate::bcd::format::{braced, well_known};
use crate::bcd::{ElementType, ObjectType};

/// Where a boot configuration store lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StorePlace {
    /// The partition; `None` in a mounted folder.
    pub partition: Option<u32>,
    /// Path from the volume's root, parts separated by `/`.
    pub path: String,
}

/// `\EFI\Microsoft\Boot\BCD on partition 1`.
impl std::fmt::Display for StorePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&windows_path(self.path.trim_start_matches('/')))?;
        match self.partition {
            Some(number) => write!(f, " on partition {number}"),
            None => Ok(()),
        }
    }
}

/// A change of one object of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootEdit {
    /// Which store.
    pub store: StorePlace,
    /// Which object.
    pub object: Uuid,
    /// What is done to it.
    #[serde(flatten)]
    pub change: BootChange,
}

/// What is done to an object of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum BootChange {
    /// Set an element.
    SetElement {
        /// The object's type, which decides what the element means.
        object_type: ObjectType,
        /// Which element.
        element: ElementType,
        /// The registry type number.
        #[serde(rename = "type")]
        kind: u32,
        /// The bytes, as the store keeps them.
        data: HexBytes,
    },
    /// Delete an element.
    DeleteElement {
        /// The object's type, which decides what the element means.
        object_type: ObjectType,
        /// Which element.
        element: ElementType,
    },
    /// Make the object, without elements.
    CreateObject {
        /// Its type.
        object_type: ObjectType,
    },
    /// Delete the object with all its elements.
    DeleteObject,
}

impl BootEdit {
    /// The object by its name where it has one, else its GUID.
    pub fn object_name(&self) -> String {
        well_known(self.object).map_or_else(
            || braced(self.object),
            |known| format!("{{{}}}", known.name),
        )
    }

    /// `{bootmgr} bootems`, or the object alone.
    pub(super) fn what(&self) -> String {
        let object = self.object_name();
        match &self.change {
            BootChange::SetElement {
                object_type,
                element,
                ..
            }
            | BootChange::DeleteElement {
                object_type,
                element,
            } => format!("{object} {}", shown_name(*object_type, *element)),
            BootChange::CreateObject { .. } | BootChange::DeleteObject => object,
        }
    }
}
