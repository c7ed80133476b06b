// SPDX-License-Identifier: GPL-2.0-or-later
//! Changes of a store: keys and values in its hive, as `bcdedit` makes them.
//!
//! ```text
//! set element     Objects\{guid}\Elements\16000020  Element = ...    the keys that are missing are made
//! delete element  the whole key 16000020
//! create object   Objects\{guid}\Description  Type = ...;  Objects\{guid}\Elements
//! delete object   the whole key {guid}
//! ```
//!
//! New keys inherit the security descriptor of the key above them. `now` is a FILETIME.

use uuid::Uuid;

use super::format::{ElementType, Format, ObjectType, braced};
use super::store::Store;
use super::value::Value;
use crate::error::{Error, Result};
use crate::hive::Hive;

/// Path of an object's key.
pub fn object_key(object: Uuid) -> String {
    format!("Objects\\{}", braced(object))
}

/// Path of an element's key. Its value is called `Element`.
pub fn element_key(object: Uuid, element: ElementType) -> String {
    format!("{}\\Elements\\{element}", object_key(object))
}

/// The name of an element's value.
pub const ELEMENT: &str = "Element";

/// Sets an element of an object that is there: registry type and bytes.
///
/// # Errors
/// `Refused` when the object is not there; what the hive's editor says otherwise.
pub fn set_element(
    hive: &mut Hive,
    object: Uuid,
    element: ElementType,
    kind: u32,
    data: &[u8],
    now: u64,
) -> Result<()> {
    if hive.key(&object_key(object))?.is_none() {
        return Err(Error::refused(
            format!("the store has no object {}", braced(object)),
            "`coldfix bcd enum TARGET all -v` lists what it has",
        ));
    }
    let key = element_key(object, element);
    hive.create_key(&key, now)?;
    hive.set_value(&key, ELEMENT, kind, data, now)?;
    Ok(())
}

/// Deletes an element. False when it is not there.
pub fn delete_element(
    hive: &mut Hive,
    object: Uuid,
    element: ElementType,
    now: u64,
) -> Result<bool> {
    hive.delete_key(&element_key(object, element), now)
}

/// Makes an object without elements. False when it is there.
///
/// # Errors
/// `Refused` when one of this GUID but another type is there.
pub fn create_object(hive: &mut Hive, object: Uuid, kind: ObjectType, now: u64) -> Result<bool> {
    if let Some(found) = Store::read(hive)?.object(object) {
        return match found.kind == kind {
            true => Ok(false),
            false => Err(Error::refused(
                format!(
                    "{} is there already, with the type {} instead of {kind}",
                    braced(object),
                    found.kind
                ),
                "look at it with `coldfix bcd enum TARGET all -v`",
            )),
        };
    }
    let key = object_key(object);
    let description = format!("{key}\\Description");
    hive.create_key(&description, now)?;
    hive.create_key(&format!("{key}\\Elements"), now)?;
    hive.set_value(&description, "Type", 4, &kind.0.to_le_bytes(), now)?;
    Ok(true)
}

/// Deletes an object with its elements. False when it is not there.
pub fn delete_object(hive: &mut Hive, object: Uuid, now: u64) -> Result<bool> {
    hive.delete_key(&object_key(object), now)
}

/// Whether two ways to store an element's value mean the same, so that a change would change nothing.
pub fn same(element: ElementType, one: (u32, &[u8]), other: (u32, &[u8])) -> bool {
    if one == other {
        return true;
    }
    // Opaque ones are the same only byte for byte.
    let is_opaque = |value: &Value| matches!(value, Value::Device(_) | Value::Malformed { .. });
    let [one, other] = [one, other].map(|(kind, data)| Value::decode(element, kind, data));
    !is_opaque(&one) && one == other && element.format() != Format::Other
}
