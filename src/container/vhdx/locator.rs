// SPDX-License-Identifier: GPL-2.0-or-later
//! The parent locator: how a differencing VHDX names its parent.
//!
//! ```text
//!  0 locator type GUID   16 reserved   18 key-value count
//! 20 entries of 12 bytes:   0 key offset   4 value offset   8 key length   10 value length
//!    keys and values in UTF-16, not terminated, anywhere in the item:
//!    parent_linkage       {the parent's data write GUID}
//!    relative_path        .\base.vhdx
//!    volume_path          \\?\Volume{...}\VMs\base.vhdx
//!    absolute_win32_path  C:\VMs\base.vhdx
//! ```
//!
//! [MS-VHDX] 2.6.2.6. Windows writes parent_linkage2 too, which may hold a second GUID that the parent may have.

use uuid::Uuid;

use super::format::*;
use crate::bytes;
use crate::container::parent::StoredPath;
use crate::error::{Error, Result};

/// What a differencing disk says about its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ParentLocator {
    /// Where it stands in the file.
    pub(super) place: u64,
    /// The parent's data write GUID.
    pub(super) linkage: Uuid,
    /// Another one that counts as well.
    pub(super) linkage_2: Option<Uuid>,
    /// Best first.
    pub(super) paths: Vec<StoredPath>,
}

impl ParentLocator {
    /// Parses the item `locator`, which stands at `place` in the file.
    pub(super) fn parse(locator: &[u8], place: u64) -> Result<ParentLocator> {
        let damaged = |at: usize, expected: &str, found: String| {
            let at = place.saturating_add(u64::try_from(at).unwrap_or(0));
            Error::damaged("VHDX parent locator", at, expected, found)
                .with_hint("opening the VHDX", super::DAMAGED_HINT)
        };
        let kind = bytes::array(locator, 0).map(Uuid::from_bytes_le);
        if kind != Some(LOCATOR_TYPE) {
            let found = kind.map_or("an end".to_owned(), |kind| format!("{{{kind}}}"));
            return Err(Error::unsupported(
                format!(
                    "the parent of this VHDX is named in a way that only its maker knows: {found}"
                ),
                "merge it with its parent by the program that made it, and use the merged disk",
            ));
        }
        let count = bytes::u16_le(locator, LOCATOR_COUNT)
            .ok_or_else(|| damaged(18, "a number of entries", "an end".into()))?;
        let mut found = Vec::new();
        for (index, entry) in locator
            .get(LOCATOR_ENTRIES..)
            .unwrap_or_default()
            .chunks_exact(LOCATOR_ENTRY_LEN)
            .take(usize::from(count))
            .enumerate()
        {
            let text = |offset: usize, length: usize| {
                let offset = usize::try_from(bytes::u32_le(entry, offset)?).ok()?;
                let length = usize::from(bytes::u16_le(entry, length)?);
                let (pairs, rest) = bytes::slice(locator, offset, length)?.as_chunks::<2>();
                let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
                String::from_utf16(&units).ok().filter(|_| rest.is_empty())
            };
            match (text(0, 8), text(4, 10)) {
                (Some(key), Some(value)) => found.push((key, value)),
                _ => {
                    let at =
                        LOCATOR_ENTRIES.saturating_add(index.saturating_mul(LOCATOR_ENTRY_LEN));
                    return Err(damaged(
                        at,
                        "a key and a value in UTF-16 inside the locator",
                        "another".into(),
                    ));
                }
            }
        }
        if found.len() != usize::from(count) {
            return Err(damaged(
                18,
                "as many entries as there are",
                count.to_string(),
            ));
        }
        let value = |key: &str| {
            let mut same = found.iter().filter(|(found, _)| found == key);
            same.next()
                .map(|(_, value)| value.trim_end_matches('\0').to_owned())
        };
        let guid = |key: &str| value(key).and_then(|text| Uuid::parse_str(&text).ok());
        let linkage = guid(PARENT_LINKAGE).ok_or_else(|| {
            damaged(
                0,
                "the parent's data write GUID under \"parent_linkage\"",
                "none".into(),
            )
        })?;
        let paths = [
            value(RELATIVE_PATH).map(StoredPath::Relative),
            value(ABSOLUTE_WIN32_PATH).map(StoredPath::Absolute),
            value(VOLUME_PATH).map(StoredPath::Absolute),
        ];
        Ok(ParentLocator {
            place,
            linkage,
            linkage_2: guid(PARENT_LINKAGE_2).filter(|guid| !guid.is_nil()),
            paths: paths.into_iter().flatten().collect(),
        })
    }
}
