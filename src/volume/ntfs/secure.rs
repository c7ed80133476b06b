// SPDX-License-Identifier: GPL-2.0-or-later
//! `$Secure` (record 9): every different security descriptor of the volume once, under a number.
//!
//! ```text
//! file: $STANDARD_INFORMATION, 34 u32 security id
//!   -> $SII  id         -> offset and length  \
//!                                              $SDS: the descriptor, twice
//!   -> $SDH  hash, id   -> offset and length  /
//!
//! entry of $SII (28 bytes):  0 u16 14  2 u16 14  8 u16 28  A u16 4  10 id          14 place (see `place`)
//! entry of $SDH (30 bytes):  0 u16 18  2 u16 14  8 u16 30  A u16 8  10 hash 14 id  18 place  2C "II" in UTF-16
//! ```
//!
//! A descriptor is found by its id for reading, and by its hash for being used again. Source: the Linux-NTFS
//! documentation and ntfs-3g's layout.h. Ids are never given back and no descriptor is ever removed: Windows
//! does that (chkdsk), nobody else needs it.

pub(super) mod check;
mod descriptor;
mod file;
pub(super) mod many;
mod place;
mod sds;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::bytes;
use crate::error::{Error, Result};

use super::format::{attribute_type, record_number};
use super::grow::reserve;
use super::index::{Collation, Index};
use super::mft::Mft;
use super::stream::Stream;
use super::stream_edit::base_record;
use place::Place;
use sds::Sds;

/// The first id that Windows gives.
const FIRST_ID: u32 = 0x100;

const BY_ID: &str = "$SII";
const BY_HASH: &str = "$SDH";

/// $Secure, open.
#[derive(Debug)]
pub(super) struct Secure<'v> {
    mft: &'v Mft,
    sds: Sds<'v>,
    by_id: Index<'v>,
    by_hash: Index<'v>,
    known: RefCell<HashMap<u32, Arc<[u8]>>>,
    notes: RefCell<Vec<String>>,
}

impl<'v> Secure<'v> {
    /// Opens $Secure.
    pub(super) fn open(mft: &'v Mft) -> Result<Secure<'v>> {
        let number = record_number::SECURE;
        let base = Arc::new(mft.system(number, "$Secure")?);
        Ok(Secure {
            mft,
            sds: Sds::open(mft, &base)?,
            by_id: Index::open(mft, number, BY_ID, Collation::Ulong)?,
            by_hash: Index::open(mft, number, BY_HASH, Collation::SecurityHash)?,
            known: RefCell::default(),
            notes: RefCell::default(),
        })
    }

    /// The descriptor with this id.
    pub(super) fn descriptor(&self, id: u32) -> Result<Arc<[u8]>> {
        self.descriptor_if_any(id)?.ok_or_else(|| {
            let expected = format!("an entry for security id {id:#x}, which a file has");
            Error::damaged(BY_ID, 0, expected, "none")
        })
    }

    /// The descriptor with this id; `None` when there is no such id.
    pub(super) fn descriptor_if_any(&self, id: u32) -> Result<Option<Arc<[u8]>>> {
        if let Some(known) = self.known.borrow().get(&id) {
            return Ok(Some(Arc::clone(known)));
        }
        let Some(place) = self.place(id)? else {
            return Ok(None);
        };
        let read = self.sds.read(&place)?;
        if let Some(fault) = read.first_copy {
            self.notes.borrow_mut().push(format!(
                "security id {id:#x} was read from the second copy in $SDS, for the first one is bad: {fault}"
            ));
        }
        let descriptor: Arc<[u8]> = read.descriptor.into();
        self.known.borrow_mut().insert(id, Arc::clone(&descriptor));
        Ok(Some(descriptor))
    }

    /// The id under which exactly these bytes are stored; the lowest one, where there are several.
    pub(super) fn find(&self, descriptor: &[u8]) -> Result<Option<u32>> {
        /// Far more than there are descriptors with one hash, but for a volume that was made so.
        const MOST: usize = 1000;
        let hash = place::hash(descriptor);
        let first = place::hash_key(hash, 0);
        for entry in self.by_hash.entries_from(&first, MOST)? {
            let place = parse(BY_HASH, &entry)?;
            if place.hash != hash {
                break;
            }
            if *self.descriptor(place.id)? == *descriptor {
                return Ok(Some(place.id));
            }
        }
        Ok(None)
    }

    /// The id for this descriptor: the one it has, or a new one. `Refused` when the descriptor is none that Windows
    /// would store, before anything is written, and when there is no room.
    pub(super) fn id_for(&mut self, descriptor: &[u8]) -> Result<u32> {
        descriptor::check_new(descriptor)?;
        if let Some(id) = self.find(descriptor)? {
            return Ok(id);
        }
        let (highest, end) = self.end()?;
        let id = highest.checked_add(1).ok_or_else(|| {
            Error::refused(
                "all security ids of the volume are given away",
                "attach the disk to a Windows computer and run `chkdsk X: /f`",
            )
        })?;
        // If this fails after $SDS has it, or $SII alone: nothing refers to it, and all is dropped anyway.
        let place = self.sds.append(id, descriptor, end)?;
        self.insert(&self.by_id, BY_ID, &id_entry(&place))?;
        self.insert(&self.by_hash, BY_HASH, &hash_entry(&place))?;
        Ok(id)
    }

    /// Inserts an entry. Where that took a new block, clusters for some more are taken too, see [`sds::AHEAD`].
    fn insert(&self, index: &Index<'_>, name: &str, entry: &[u8]) -> Result<()> {
        let (number, kind) = (record_number::SECURE, attribute_type::INDEX_ALLOCATION);
        let len = || -> Result<u64> {
            let base = base_record(self.mft, number)?;
            let blocks = Stream::find(self.mft, &base, kind, name)?;
            Ok(blocks.map_or(0, |blocks| blocks.len()))
        };
        let before = len()?;
        index.insert(entry)?;
        let after = len()?;
        if after == before {
            return Ok(());
        }
        let ahead = after.checked_next_multiple_of(sds::AHEAD).unwrap_or(after);
        reserve(self.mft, number, kind, name, ahead)
    }

    /// The highest id, and where in $SDS the entries end.
    fn end(&self) -> Result<(u32, u64)> {
        let Some(last) = self.by_id.last()? else {
            return Ok((FIRST_ID.saturating_sub(1), 0));
        };
        let last = parse(BY_ID, &last)?;
        let size = self.sds.len();
        if last.end().saturating_add(sds::BLOCK) == size {
            return Ok((last.id, last.end()));
        }
        // Something else has changed $SDS. Then the last id need not be the last entry: look at all of them.
        let all = self.all(&self.by_id, BY_ID)?;
        let end = all.iter().map(Place::end).max().unwrap_or(0);
        let copy_end = end.saturating_add(sds::BLOCK);
        if copy_end > size {
            let expected = format!("{copy_end:#x} bytes, to the end of the last copy");
            return Err(Error::damaged("$SDS", 0, expected, format!("{size:#x}")));
        }
        Ok((last.id, end))
    }

    /// What the reading met that the person should know of.
    pub(super) fn into_notes(self) -> Vec<String> {
        self.notes.into_inner()
    }

    /// What $SII says of an id.
    fn place(&self, id: u32) -> Result<Option<Place>> {
        let entry = self.by_id.find(&id.to_le_bytes())?;
        entry.map(|entry| parse(BY_ID, &entry)).transpose()
    }

    /// All that an index says, in its order.
    fn all(&self, index: &Index<'_>, name: &str) -> Result<Vec<Place>> {
        /// Ours: how many entries are read at a time.
        const PAGE: usize = 10_000;
        let mut all: Vec<Place> = Vec::new();
        let mut from = vec![0; if name == BY_ID { 4 } else { 8 }];
        loop {
            let page = index.entries_from(&from, PAGE)?;
            let before = all.len();
            for entry in &page {
                let place = parse(name, entry)?;
                // The page begins with the last entry of the one before.
                if all.last() != Some(&place) {
                    all.push(place);
                }
            }
            if all.len() == before || page.len() < PAGE {
                return Ok(all);
            }
            if let Some(last) = all.last() {
                from = if name == BY_ID {
                    last.id_key().to_vec()
                } else {
                    last.hash_key().to_vec()
                };
            }
        }
    }
}

/// The id for this descriptor: the one it has, or a new one; see [`Secure::id_for`].
pub(super) fn id_for(mft: &Mft, descriptor: &[u8]) -> Result<u32> {
    Secure::open(mft)?.id_for(descriptor)
}

/// The place in an entry of one of the indexes, which must be that of its key.
fn parse(index: &str, entry: &[u8]) -> Result<Place> {
    const KEY: usize = 0x10;
    let field = |at: usize| bytes::u16_le(entry, at).map(usize::from);
    let data = || bytes::slice(entry, field(0)?, field(2)?).filter(|data| data.len() == place::LEN);
    let key = || bytes::slice(entry, KEY, field(0xA)?);
    let place = data().and_then(Place::parse);
    place
        .zip(key())
        .filter(|(place, key)| match index {
            BY_ID => *key == place.id_key(),
            _ => *key == place.hash_key(),
        })
        .map(|(place, _)| place)
        .ok_or_else(|| {
            let found = format!("{entry:02x?}");
            Error::damaged(
                index,
                0,
                "entries with the place of their key in $SDS",
                found,
            )
        })
}

/// The entry of $SII, as it stands in a leaf.
fn id_entry(place: &Place) -> Vec<u8> {
    let mut entry = header(0x14, 0x28, 4);
    entry.extend(place.id_key());
    entry.extend(place.to_bytes());
    entry
}

/// The entry of $SDH, as it stands in a leaf.
fn hash_entry(place: &Place) -> Vec<u8> {
    let mut entry = header(0x18, 0x30, 8);
    entry.extend(place.hash_key());
    entry.extend(place.to_bytes());
    // Windows fills it up with "II".
    entry.extend(*b"I\0I\0");
    entry
}

/// The header of an entry with 20 bytes of data.
fn header(data: u8, len: u8, key_len: u8) -> Vec<u8> {
    vec![data, 0, 20, 0, 0, 0, 0, 0, len, 0, key_len, 0, 0, 0, 0, 0]
}

/// The hash of a descriptor; see `fuzzing`.
#[cfg(feature = "fuzzing")]
pub(super) fn descriptor_hash(descriptor: &[u8]) -> u32 {
    place::hash(descriptor)
}

/// An entry of $SDS: what stands before the descriptor, and the descriptor; see `fuzzing`.
#[cfg(feature = "fuzzing")]
pub(super) fn place_round_trip(entry: &[u8]) {
    let Some(place) = Place::parse(entry) else {
        return;
    };
    assert!(entry.starts_with(&place.to_bytes()), "{place:?}");
    let _ = (place.end(), place.id_key(), place.hash_key());
    let descriptor = entry.get(place::LEN..).unwrap_or_default();
    let _ = place::hash(descriptor);
    // What may be stored anew holds together.
    if descriptor::check_new(descriptor).is_ok() {
        let checked = descriptor::check(descriptor, "input");
        assert!(checked.is_ok(), "{checked:?}");
    }
}
