// SPDX-License-Identifier: GPL-2.0-or-later
//! Objects as `bcdedit /enum` prints them.
//!
//! ```text
//! (blank line)
//! Windows Boot Manager
//! --------------------
//! identifier              {bootmgr}
//! device                  partition=1
//! displayorder            {default}
//!                         {7619dcc9-fafe-11d9-b411-000476eba25f}
//! timeout                 30
//! ```
//!
//! Elements come in the order of their numbers. A drive letter means nothing offline: a partition is shown by its
//! number on this disk, or by the ids that the store has for it.

use uuid::Uuid;

use super::device::{Device, PartitionId};
use super::elements::shown_name;
use super::format::{BOOTMGR, ElementType, ObjectType, WELL_KNOWN, element, well_known};
use super::store::{Object, Store};

/// Where the values of a listing begin.
const COLUMN: usize = 24;

/// How a store is shown.
pub struct View<'a> {
    /// The store.
    pub store: &'a Store,
    /// GUIDs instead of names, and hidden elements: `/v`.
    pub verbose: bool,
    /// A partition's number on this disk.
    pub number: &'a dyn Fn(PartitionId) -> Option<u32>,
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("verbose", &self.verbose)
            .finish_non_exhaustive()
    }
}

/// Which objects are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The boot managers and what their menus show.
    Active,
    /// Everything.
    All,
    /// One object.
    One(Uuid),
    /// The objects of these types.
    Kinds(&'static [ObjectType]),
}

impl Selection {
    /// The selection that `bcdedit /enum` has under this name; `None` when it is none of them.
    pub fn by_name(name: &str) -> Option<Selection> {
        let kinds: &'static [ObjectType] = match name.to_ascii_lowercase().as_str() {
            "active" => return Some(Selection::Active),
            "all" => return Some(Selection::All),
            "firmware" => &[
                ObjectType::FIRMWARE_BOOT_MANAGER,
                ObjectType::FIRMWARE_APPLICATION,
                ObjectType::BOOT_MANAGER,
            ],
            "bootapp" => &[ObjectType::MEMORY_TESTER],
            "bootmgr" => &[ObjectType::BOOT_MANAGER],
            "osloader" => &[ObjectType::LOADER],
            "resume" => &[ObjectType::RESUME],
            "inherit" => &[
                ObjectType::INHERITED,
                ObjectType::LOADER_SETTINGS,
                ObjectType::RESUME_SETTINGS,
            ],
            _ => return None,
        };
        Some(Selection::Kinds(kinds))
    }
}

/// The types of objects in the order of `bcdedit /enum all`.
const ORDER: [ObjectType; 12] = [
    ObjectType::FIRMWARE_BOOT_MANAGER,
    ObjectType::BOOT_MANAGER,
    ObjectType::FIRMWARE_APPLICATION,
    ObjectType::LOADER,
    ObjectType::RESUME,
    ObjectType::MEMORY_TESTER,
    ObjectType::LEGACY_LOADER,
    ObjectType::BOOT_SECTOR,
    ObjectType::INHERITED,
    ObjectType::LOADER_SETTINGS,
    ObjectType::RESUME_SETTINGS,
    ObjectType::DEVICE_OPTIONS,
];

impl Store {
    /// The objects of a selection in `bcdedit`'s order.
    pub fn select(&self, selection: &Selection) -> Vec<&Object> {
        let mut found: Vec<&Object> = match selection {
            Selection::One(id) => return self.object(*id).into_iter().collect(),
            Selection::Active => return self.active(),
            Selection::All => self.objects.iter().collect(),
            Selection::Kinds(kinds) => {
                let objects = self.objects.iter();
                objects
                    .filter(|object| kinds.contains(&object.kind))
                    .collect()
            }
        };
        let place = |object: &Object| {
            let kind = ORDER.iter().position(|kind| *kind == object.kind);
            // What has no place comes before the options of devices, which end the list.
            let kind = kind.unwrap_or(ORDER.len().saturating_sub(1));
            let known = WELL_KNOWN.iter().position(|known| known.id == object.id);
            (kind, known.unwrap_or(WELL_KNOWN.len()), object.id)
        };
        found.sort_by_key(|object| place(object));
        found
    }

    fn active(&self) -> Vec<&Object> {
        let Some(manager) = self.object(BOOTMGR) else {
            let loaders = self.objects.iter();
            return loaders
                .filter(|object| object.kind == ObjectType::LOADER)
                .collect();
        };
        let mut found = vec![manager];
        for id in manager.list(element::DISPLAY_ORDER) {
            if let Some(entry) = self.object(id)
                && found.iter().all(|known| known.id != id)
            {
                found.push(entry);
            }
        }
        found
    }
}

/// The heading above an object.
pub fn heading(object: &Object) -> String {
    if let Some(heading) = well_known(object.id)
        .filter(|known| known.kind == object.kind)
        .and_then(|known| known.heading)
    {
        return heading.to_owned();
    }
    match object.kind {
        ObjectType::FIRMWARE_BOOT_MANAGER => "Firmware Boot Manager".to_owned(),
        ObjectType::FIRMWARE_APPLICATION => format!("Firmware Application ({})", object.kind),
        ObjectType::BOOT_MANAGER => "Windows Boot Manager".to_owned(),
        ObjectType::LOADER => "Windows Boot Loader".to_owned(),
        ObjectType::RESUME => "Resume from Hibernate".to_owned(),
        ObjectType::MEMORY_TESTER => "Windows Memory Tester".to_owned(),
        ObjectType::LEGACY_LOADER => "Windows Legacy OS Loader".to_owned(),
        ObjectType::BOOT_SECTOR => "Real-mode Boot Sector".to_owned(),
        ObjectType::DEVICE_OPTIONS => "Device options".to_owned(),
        other => format!("Unknown ({other})"),
    }
}

/// One line of a listing: the element, its name, and its value's lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The number.
    pub element: ElementType,
    /// The name.
    pub name: String,
    /// The value, a line for each item of a list.
    pub values: Vec<String>,
}

impl View<'_> {
    /// The elements of an object that are shown, in order.
    pub fn elements(&self, object: &Object) -> Vec<Shown> {
        let shown = object.elements.keys().copied();
        shown
            .filter(|element| self.verbose || !element.is_hidden())
            .map(|element| Shown {
                element,
                name: shown_name(object.kind, element),
                values: self.values(object, element),
            })
            .collect()
    }

    /// The lines of one element's value; empty when the object does not have it.
    pub fn values(&self, object: &Object, element: ElementType) -> Vec<String> {
        let id = |id: Uuid| self.store.identifier(id, self.verbose);
        let path_of = |element: ElementType| object.text(element);
        let device = |device: &Device| device.display(self.number, &path_of);
        object
            .value(element)
            .map(|value| value.display(object.kind, element, &id, &device))
            .unwrap_or_default()
    }

    /// An object's paragraph, with the blank line before it.
    pub fn paragraph(&self, object: &Object) -> String {
        let heading = heading(object);
        let line = "-".repeat(heading.chars().count());
        let mut out = format!("\n{heading}\n{line}\n");
        let mut entry = |name: &str, values: &[String]| {
            // Also a name that fills the column has a blank behind it.
            let mut name = format!("{name:<width$} ", width = COLUMN.saturating_sub(1));
            for value in values {
                out.push_str(&format!("{name}{value}\n"));
                name = " ".repeat(COLUMN);
            }
            if values.is_empty() {
                out.push_str(name.trim_end());
                out.push('\n');
            }
        };
        let id = self.store.identifier(object.id, self.verbose);
        entry("identifier", &[id]);
        for shown in self.elements(object) {
            entry(&shown.name, &shown.values);
        }
        out
    }
}
