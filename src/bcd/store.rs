// SPDX-License-Identifier: GPL-2.0-or-later
//! A store as a whole: its objects with their elements, what an identifier stands for, what is inherited.
//!
//! ```text
//! {bootmgr} --23000003--> the default loader         24000001 --> the menu's entries
//! loader    --14000006--> {bootloadersettings} --14000006--> {globalsettings} --> {emssettings} ...
//! ```
//!
//! Everything is read at once, for stores are small. Keys that are no objects, and objects without a type, are
//! told in [`Store::notes`] and left alone. {current} is the entry of the Windows that runs: offline there is none.

use std::collections::{BTreeMap, HashSet};

use uuid::Uuid;

use super::format::{
    self, BOOTMGR, ElementType, ObjectType, WELL_KNOWN, braced, element, parse_guid, well_known,
};
use super::value::Value;
use crate::bytes::u32_le;
use crate::error::{Error, Result};
use crate::hive::{Hive, Key};

/// REG_DWORD.
const DWORD: u32 = 4;

/// How many objects a store may have: ours. Those of Windows have some dozens.
const MOST_OBJECTS: usize = 4096;

/// How many objects are looked for, on from one, in what it inherits: ours. Those of Windows inherit fewer than ten.
const MOST_INHERITED: usize = 64;

/// An element as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// The registry type.
    pub kind: u32,
    /// The bytes.
    pub data: Vec<u8>,
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its GUID.
    pub id: Uuid,
    /// Its type.
    pub kind: ObjectType,
    /// Its elements, by number.
    pub elements: BTreeMap<ElementType, Element>,
    /// It has values or keys that `coldfix` could not make again, such as the firmware's variable.
    pub has_more: bool,
}

impl Object {
    /// The value of one of its own elements.
    pub fn value(&self, element: ElementType) -> Option<Value> {
        let found = self.elements.get(&element)?;
        Some(Value::decode(element, found.kind, &found.data))
    }

    /// Its own text.
    pub fn text(&self, element: ElementType) -> Option<String> {
        match self.value(element)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Its own yes-or-no; no where it is absent.
    pub fn is_set(&self, element: ElementType) -> bool {
        self.value(element) == Some(Value::Boolean(true))
    }

    /// Its own list of objects; empty where there is none.
    pub fn list(&self, element: ElementType) -> Vec<Uuid> {
        match self.value(element) {
            Some(Value::ObjectList(ids)) => ids,
            _ => Vec::new(),
        }
    }
}

/// A store, read.
#[derive(Clone, Debug)]
pub struct Store {
    /// Its objects, in the order of the hive, which is that of their GUIDs.
    pub objects: Vec<Object>,
    /// What was found and left alone, in plain words.
    pub notes: Vec<String>,
}

impl Store {
    /// Reads the store in `hive`.
    ///
    /// # Errors
    /// `Unsupported` when the hive is no BCD store, or one of more than 4096 objects; `Damaged` when its keys cannot
    /// be walked, or share cells.
    pub fn read(hive: &Hive) -> Result<Store> {
        check_is_store(hive)?;
        let mut store = Store {
            objects: Vec::new(),
            notes: Vec::new(),
        };
        let Some(objects) = hive.key("Objects")? else {
            store
                .notes
                .push("the store has no key Objects, and so no objects".to_owned());
            return Ok(store);
        };
        let keys = objects.subkeys()?;
        if keys.len() > MOST_OBJECTS {
            return Err(Error::unsupported(
                format!("a store of {} objects", keys.len()),
                "`coldfix reg query` shows what is in it",
            ));
        }
        // Cells that several keys share would make a small hive a large store.
        let mut room = hive.bytes().len();
        for key in keys {
            let name = key.name().to_string();
            let Some(id) = parse_guid(&name).filter(|_| name.starts_with('{')) else {
                store
                    .notes
                    .push(format!("the key Objects\\{name} is no object"));
                continue;
            };
            match read_object(&key, id, &mut room, &mut store.notes) {
                Ok(Some(object)) => store.objects.push(object),
                Ok(None) => store
                    .notes
                    .push(format!("the object {} has no type", braced(id))),
                Err(error) => store
                    .notes
                    .push(format!("the object {} cannot be read: {error}", braced(id))),
            }
        }
        Ok(store)
    }

    /// The object with this GUID.
    pub fn object(&self, id: Uuid) -> Option<&Object> {
        self.objects.iter().find(|object| object.id == id)
    }

    /// The boot manager's default entry, where that is in the store.
    pub fn default_entry(&self) -> Option<&Object> {
        match self.object(BOOTMGR)?.value(element::DEFAULT)? {
            Value::Object(id) => self.object(id),
            _ => None,
        }
    }

    /// The GUID that an identifier stands for: `{bootmgr}`, `{default}`, a GUID; in any case, with braces or without.
    /// The object need not be there.
    ///
    /// # Errors
    /// `Refused` for {current}; `Unsupported` for what is no identifier, and for {default} in a store without one.
    pub fn resolve(&self, identifier: &str) -> Result<Uuid> {
        let name = identifier
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
            .unwrap_or(identifier);
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        let id = if is("legacy") {
            parse_known("ntldr")
        } else {
            parse_known(name).or_else(|| parse_guid(identifier))
        };
        if is("current") || id == Some(format::CURRENT) {
            return Err(Error::refused(
                "{current} is the entry that the running Windows was started from; this one does not run",
                "write {default}, or the entry's own identifier: `coldfix bcd enum TARGET all -v` lists them",
            ));
        }
        if is("default") || id == Some(format::DEFAULT) {
            let entry = self.default_entry().map(|entry| entry.id);
            return entry.ok_or_else(|| {
                Error::unsupported(
                    "the boot manager of this store has no default entry that exists",
                    "write the entry's own identifier: `coldfix bcd enum TARGET all -v` lists them",
                )
            });
        }
        id.ok_or_else(|| {
            let names: Vec<&str> = WELL_KNOWN.iter().map(|known| known.name).collect();
            Error::unsupported(
                format!("{identifier:?} is no identifier of a boot entry"),
                format!(
                    "write a GUID in braces, {{default}}, or one of {}",
                    names.join(", ")
                ),
            )
        })
    }

    /// The object that an identifier names, which must be there.
    pub fn find(&self, identifier: &str) -> Result<&Object> {
        let id = self.resolve(identifier)?;
        self.object(id).ok_or_else(|| {
            Error::unsupported(
                format!("the store has no object {}", self.identifier(id, false)),
                "`coldfix bcd enum TARGET all -v` lists what it has",
            )
        })
    }

    /// How an identifier is shown: by its name where it has one and `plain` is false, else as a GUID.
    pub fn identifier(&self, id: Uuid, plain: bool) -> String {
        if plain {
            return braced(id);
        }
        if let Some(known) = well_known(id) {
            return format!("{{{}}}", known.name);
        }
        match self.default_entry() {
            Some(entry) if entry.id == id => "{default}".to_owned(),
            _ => braced(id),
        }
    }

    /// The value that counts for an object: its own, else the first that it inherits, and from which object.
    pub fn effective(&self, object: &Object, element: ElementType) -> Option<(Uuid, Value)> {
        let mut visited = HashSet::from([object.id]);
        self.inherited(object, element, &mut visited)
    }

    fn inherited(
        &self,
        object: &Object,
        wanted: ElementType,
        visited: &mut HashSet<Uuid>,
    ) -> Option<(Uuid, Value)> {
        if let Some(value) = object.value(wanted) {
            return Some((object.id, value));
        }
        let parents = object.list(element::INHERIT);
        parents.into_iter().take(MOST_INHERITED).find_map(|id| {
            // What was looked for bounds the depth too, and a cycle of objects.
            if visited.len() > MOST_INHERITED || !visited.insert(id) {
                return None;
            }
            self.inherited(self.object(id)?, wanted, visited)
        })
    }

    /// True when the object has `other` among what it inherits, directly or not.
    pub fn inherits(&self, object: &Object, other: Uuid) -> bool {
        let mut visited = HashSet::new();
        let mut pending = vec![object.id];
        while let Some(id) = pending.pop() {
            if id == other {
                return true;
            }
            if visited.len() < MOST_INHERITED
                && visited.insert(id)
                && let Some(object) = self.object(id)
            {
                let parents = object.list(element::INHERIT);
                pending.extend(parents.into_iter().take(MOST_INHERITED));
            }
        }
        false
    }
}

/// The name of a well-known object, in any case, as its GUID.
fn parse_known(name: &str) -> Option<Uuid> {
    let mut found = WELL_KNOWN.iter();
    found
        .find(|known| known.name.eq_ignore_ascii_case(name))
        .map(|known| known.id)
}

/// A store's key `Description` has the name under which Windows mounts it: BCD00000000, or another number where it
/// was made for another place.
fn check_is_store(hive: &Hive) -> Result<()> {
    let no_store = |found: String| {
        Err(Error::unsupported(
            format!("the hive is no BCD store: {found}"),
            "name the file that is called BCD, such as \\EFI\\Microsoft\\Boot\\BCD or \\Boot\\BCD",
        ))
    };
    let Some(description) = hive.key("Description")? else {
        return no_store("it has no key Description".to_owned());
    };
    let Some(value) = description.value("KeyName")? else {
        return no_store("its key Description has no value KeyName".to_owned());
    };
    let data = value.data()?;
    let name = Value::decode(ElementType(0x1200_0000), value.kind(), &data);
    match name {
        Value::Text(name)
            if name.len() == 11
                && name
                    .get(..3)
                    .is_some_and(|head| head.eq_ignore_ascii_case("BCD"))
                && name.chars().skip(3).all(|c| c.is_ascii_hexdigit()) =>
        {
            Ok(())
        }
        Value::Text(name) => no_store(format!("its KeyName is {name:?}, not BCD00000000")),
        _ => no_store("its KeyName is no text".to_owned()),
    }
}

/// Counts what an element takes against the length of the hive, where each has cells of its own.
fn take(room: &mut usize, bytes: usize) -> Result<()> {
    *room = room.checked_sub(bytes).ok_or_else(|| {
        Error::damaged(
            "a boot configuration store",
            0,
            "keys and values with cells of their own",
            "elements that are longer than the hive, and so share cells",
        )
    })?;
    Ok(())
}

/// The object below `key`; `None` when it has no type.
fn read_object(
    key: &Key<'_>,
    id: Uuid,
    room: &mut usize,
    notes: &mut Vec<String>,
) -> Result<Option<Object>> {
    let Some(description) = key.subkey("Description")? else {
        return Ok(None);
    };
    let kind = match description.value("Type")? {
        Some(value) if value.kind() == DWORD => u32_le(&value.data()?, 0),
        _ => None,
    };
    let Some(kind) = kind else {
        return Ok(None);
    };
    let mut object = Object {
        id,
        kind: ObjectType(kind),
        elements: BTreeMap::new(),
        has_more: description.values()?.len() > 1
            || !description.subkeys()?.is_empty()
            || !key.values()?.is_empty(),
    };
    for part in key.subkeys()? {
        let name = part.name();
        if !name.eq_ignore_case("Description") && !name.eq_ignore_case("Elements") {
            object.has_more = true;
        }
    }
    let Some(elements) = key.subkey("Elements")? else {
        return Ok(Some(object));
    };
    for key in elements.subkeys()? {
        let name = key.name().to_string();
        take(room, name.len())?;
        let element = ElementType::parse(&name).filter(|_| name.len() == 8);
        let (Some(element), Some(value)) = (element, key.value("Element")?) else {
            object.has_more = true;
            notes.push(format!(
                "{} has a key {name} that is no element",
                braced(id)
            ));
            continue;
        };
        object.has_more |= key.values()?.len() > 1 || !key.subkeys()?.is_empty();
        let data = value.data()?;
        take(room, data.len())?;
        object.elements.insert(
            element,
            Element {
                kind: value.kind(),
                data: data.into_owned(),
            },
        );
    }
    Ok(Some(object))
}
