// SPDX-License-Identifier: GPL-2.0-or-later
//! What a reader that is not ours, the crate nt-hive, finds in a hive.
//!
//! ```text
//! our editors -> image -> our check() accepts it -> nt-hive reads the same key and value -> equal?
//! ```
//!
//! Only for images that [`Hive::check`](super::Hive::check) has accepted: nt-hive 0.3 panics on some broken
//! ones. It refuses dirty hives. It takes every value of more than 16344 bytes for big data, which hives
//! before version 1.4 do not have, and does not know types above 11; on these it has no opinion.

use nt_hive::{KeyNode, KeyValueDataType, NtHiveError, NtHiveNameString};

use crate::bytes::{slice, u32_le};
use crate::error::{Error, Result};

/// What nt-hive finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecondOpinion {
    /// The key or the value is not there.
    Absent,
    /// The key is there; no value was asked for.
    Key,
    /// The value is there.
    Value {
        /// Its type; `None` for a number that nt-hive does not know.
        kind: Option<u32>,
        /// Its data as stored.
        data: Vec<u8>,
    },
    /// The value is there, but nt-hive cannot read it for the reason given.
    CannotSay(String),
}

/// Asks nt-hive for the key at `path` (`""`: the root), or for one of its values (`""`: the default value),
/// in the hive whose file is `image`.
///
/// # Errors
/// `Damaged` when nt-hive does not accept the hive, or a record on the way.
pub fn second_opinion(image: &[u8], path: &str, value: Option<&str>) -> Result<SecondOpinion> {
    let hive = nt_hive::Hive::new(image).map_err(|error| damaged(&error))?;
    let root = hive.root_key_node().map_err(|error| damaged(&error))?;
    let key = match root.subpath(path) {
        None => return Ok(SecondOpinion::Absent),
        Some(key) => key.map_err(|error| damaged(&error))?,
    };
    match value {
        None => Ok(SecondOpinion::Key),
        Some(name) => read_value(&key, name, hive.minor_version()),
    }
}

/// The security descriptor of the key at `path`; `None` when there is no such key. nt-hive finds the key but does not
/// show its descriptor; from where it sees the key's name, the record is read here, without our reader of hives.
///
/// # Errors
/// `Damaged` when nt-hive does not accept the hive or a record on the way, or a record lies elsewhere.
pub fn security_to_second_reader<'i>(image: &'i [u8], path: &str) -> Result<Option<&'i [u8]>> {
    /// Where the hive bins begin, from which offsets count.
    const BINS: usize = 0x1000;
    /// In a key node: the name, and the offset of the security record.
    const NAME: usize = 76;
    const SECURITY: usize = 44;
    let hive = nt_hive::Hive::new(image).map_err(|error| damaged(&error))?;
    let root = hive.root_key_node().map_err(|error| damaged(&error))?;
    let key = match root.subpath(path) {
        None => return Ok(None),
        Some(key) => key.map_err(|error| damaged(&error))?,
    };
    let name = match key.name().map_err(|error| damaged(&error))? {
        NtHiveNameString::Latin1(bytes) | NtHiveNameString::Utf16LE(bytes) => bytes,
    };
    let descriptor = || {
        let name = name.as_ptr().addr().checked_sub(image.as_ptr().addr())?;
        let node = image.get(name.checked_sub(NAME)?..)?;
        let record = usize::try_from(u32_le(node, SECURITY)?).ok()?;
        // The cell's size comes before its data.
        let record = image.get(record.checked_add(BINS)?.checked_add(4)?..)?;
        if !node.starts_with(b"nk") || !record.starts_with(b"sk") {
            return None;
        }
        slice(record, 20, usize::try_from(u32_le(record, 16)?).ok()?)
    };
    descriptor().map(Some).ok_or_else(|| {
        let expected = "a key with a security record";
        Error::damaged("hive (second opinion)", 0, expected, "something else")
    })
}

fn read_value(key: &KeyNode<'_, &[u8]>, name: &str, minor: u32) -> Result<SecondOpinion> {
    let value = match key.value(name) {
        None => return Ok(SecondOpinion::Absent),
        Some(value) => value.map_err(|error| damaged(&error))?,
    };
    let size = value.data_size();
    if size > 16344 && minor < 4 {
        let why = format!("nt-hive takes {size} bytes for big data in a hive of version 1.{minor}");
        return Ok(SecondOpinion::CannotSay(why));
    }
    let data = match size {
        // It would look for a cell that need not exist.
        0 => Vec::new(),
        _ => value
            .data()
            .and_then(nt_hive::KeyValueData::into_vec)
            .map_err(|error| damaged(&error))?,
    };
    let kind = value.data_type().ok().map(number);
    Ok(SecondOpinion::Value { kind, data })
}

fn number(kind: KeyValueDataType) -> u32 {
    match kind {
        KeyValueDataType::RegNone => 0,
        KeyValueDataType::RegSZ => 1,
        KeyValueDataType::RegExpandSZ => 2,
        KeyValueDataType::RegBinary => 3,
        KeyValueDataType::RegDWord => 4,
        KeyValueDataType::RegDWordBigEndian => 5,
        KeyValueDataType::RegLink => 6,
        KeyValueDataType::RegMultiSZ => 7,
        KeyValueDataType::RegResourceList => 8,
        KeyValueDataType::RegFullResourceDescriptor => 9,
        KeyValueDataType::RegResourceRequirementsList => 10,
        KeyValueDataType::RegQWord => 11,
    }
}

fn damaged(error: &NtHiveError) -> Error {
    let expected = "a hive that nt-hive reads";
    Error::damaged("hive (second opinion)", 0, expected, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::Hive;
    use super::*;

    #[test]
    fn both_readers_agree_on_what_we_write() {
        for minor in 3..=6 {
            let mut hive = Hive::create(minor, "ROOT", 1).unwrap();
            for key in 0..1200 {
                hive.create_key(&format!("many\\k{}", key * 7919 % 1200), 2)
                    .unwrap();
            }
            hive.create_key("many\\k7\\Größe\\Привет", 2).unwrap();
            let path = "many\\K7\\GRÖSSE\\привет".replace("GRÖSSE", "GRÖßE");
            for (kind, len) in [0, 1, 4, 5, 16343, 16344, 16345, 40_000]
                .into_iter()
                .enumerate()
            {
                let kind = u32::try_from(kind).unwrap();
                let data: Vec<u8> = (0..=255).cycle().take(len).collect();
                hive.set_value(&path, "Value", kind, &data, 3).unwrap();
                let opinion = second_opinion(hive.bytes(), &path, Some("vALUE")).unwrap();
                match minor < 4 && len > 16344 {
                    true => assert!(matches!(opinion, SecondOpinion::CannotSay(_))),
                    false => assert_eq!(
                        opinion,
                        SecondOpinion::Value {
                            kind: Some(kind),
                            data
                        }
                    ),
                }
            }
            hive.set_value("", "", 4711, b"abc", 3).unwrap();
            let data = b"abc".to_vec();
            assert_eq!(
                second_opinion(hive.bytes(), "", Some("")).unwrap(),
                SecondOpinion::Value { kind: None, data }
            );
            for key in 0..1200 {
                let found = second_opinion(hive.bytes(), &format!("MANY\\K{key}"), None);
                assert_eq!(found.unwrap(), SecondOpinion::Key, "1.{minor} {key}");
            }
            hive.delete_key("many\\k7", 4).unwrap();
            let absent = second_opinion(hive.bytes(), "many\\k7", None).unwrap();
            assert_eq!(absent, SecondOpinion::Absent);
            let absent = second_opinion(hive.bytes(), "", Some("none")).unwrap();
            assert_eq!(absent, SecondOpinion::Absent);
        }
    }

    #[test]
    fn both_readers_see_the_same_descriptor() {
        let mut hive = Hive::create(5, "ROOT", 1).unwrap();
        hive.create_key("one\\Größe", 2).unwrap();
        hive.create_key("one\\Привет", 2).unwrap();
        let root = hive.root().unwrap().security().unwrap().to_vec();
        // The entries in another order: another descriptor of the same length.
        let mut other = root.clone();
        let (first, second) = (root[28..48].to_vec(), root[48..72].to_vec());
        other[28..52].copy_from_slice(&second);
        other[52..72].copy_from_slice(&first);
        hive.set_security("one\\Привет", &other, 3).unwrap();
        for (path, wanted) in [
            ("", Some(&root)),
            ("one", Some(&root)),
            ("ONE\\größe", Some(&root)),
            ("one\\привет", Some(&other)),
            ("two", None),
        ] {
            let found = security_to_second_reader(hive.bytes(), path).unwrap();
            assert_eq!(found, wanted.map(Vec::as_slice), "{path}");
        }
    }

    #[test]
    fn a_dirty_hive_is_not_accepted() {
        let mut image = Hive::create(5, "ROOT", 1).unwrap().into_bytes();
        image[4] ^= 1;
        assert!(second_opinion(&image, "", None).is_err());
    }
}
