// SPDX-License-Identifier: GPL-2.0-or-later
//! `$Secure` (record 9): every different security descriptor of the volume once, under a number.
//!
//! ```text
//! file: $STANDARD_INFORMATION, 34 u32 security id
//!   -> $SII  id         -> offset and length  \
//!                                              $SDS: the descriptor, twice
//!   -> $SDH  hash, id   -> offset and length  /
//! ```
//!
//! A descriptor is found by its id for reading, and by its hash for being used again. Source: the Linux-NTFS
//! documentation and ntfs-3g's layout.h. Ids are never given back and no descriptor is ever removed: Windows
//! does that (chkdsk), nobody else needs it.

mod descriptor;
mod file;
pub(super) mod many;
mod place;
mod sds;
mod view;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::error::{Error, Result};

use super::format::record_number;
use super::mft::Mft;
use place::Place;
use sds::Sds;
use view::View;

/// The first id that Windows gives.
const FIRST_ID: u32 = 0x100;

/// $Secure, open.
#[derive(Debug)]
pub(super) struct Secure<'v> {
    sds: Sds<'v>,
    by_id: View,
    by_hash: View,
    known: RefCell<HashMap<u32, Arc<[u8]>>>,
    notes: RefCell<Vec<String>>,
}

impl<'v> Secure<'v> {
    /// Opens $Secure.
    pub(super) fn open(mft: &'v Mft) -> Result<Secure<'v>> {
        let base = Arc::new(mft.system(record_number::SECURE, "$Secure")?);
        Ok(Secure {
            sds: Sds::open(mft, &base)?,
            by_id: View::open(mft, &base, "$SII")?,
            by_hash: View::open(mft, &base, "$SDH")?,
            known: RefCell::default(),
            notes: RefCell::default(),
        })
    }

    /// The descriptor with this id.
    pub(super) fn descriptor(&self, id: u32) -> Result<Arc<[u8]>> {
        if let Some(known) = self.known.borrow().get(&id) {
            return Ok(Arc::clone(known));
        }
        let place = self.place(id)?.ok_or_else(|| {
            let expected = format!("an entry for security id {id:#x}, which a file has");
            Error::damaged("$SII", 0, expected, "none")
        })?;
        let read = self.sds.read(&place)?;
        if let Some(fault) = read.first_copy {
            self.notes.borrow_mut().push(format!(
                "security id {id:#x} was read from the second copy in $SDS, for the first one is bad: {fault}"
            ));
        }
        let descriptor: Arc<[u8]> = read.descriptor.into();
        self.known.borrow_mut().insert(id, Arc::clone(&descriptor));
        Ok(descriptor)
    }

    /// The id under which exactly these bytes are stored; the lowest one, where there are several.
    pub(super) fn find(&self, descriptor: &[u8]) -> Result<Option<u32>> {
        let hash = place::hash(descriptor);
        for entry in &self.by_hash.entries {
            let place = parse("$SDH", &entry.data)?;
            if place.hash == hash && *self.descriptor(place.id)? == *descriptor {
                return Ok(Some(place.id));
            }
        }
        Ok(None)
    }

    /// The id for this descriptor: the one it has, or a new one. `Refused`, before anything is written, when the
    /// descriptor is none that Windows would store, or when there is no room.
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
        let place = self.sds.append(id, descriptor, end)?;
        todo!("{place:?}");
        Ok(id)
    }

    /// The highest id, and where in $SDS the entries end.
    fn end(&self) -> Result<(u32, u64)> {
        let Some(last) = self.by_id.last()? else {
            return Ok((FIRST_ID.saturating_sub(1), 0));
        };
        let last = parse("$SII", &last.data)?;
        let copy_end = last.end().saturating_add(sds::BLOCK);
        if copy_end == self.sds.len() {
            return Ok((last.id, last.end()));
        }
        // Something else has changed $SDS. Then the last id need not be the last entry: look at all of them.
        let mut end = 0;
        for entry in &self.by_id.entries {
            end = end.max(parse("$SII", &entry.data)?.end());
        }
        let copy_end = end.saturating_add(sds::BLOCK);
        if copy_end > self.sds.len() {
            let expected = format!("{copy_end:#x} bytes, to the end of the last copy");
            let found = format!("{:#x}", self.sds.len());
            return Err(Error::damaged("$SDS", 0, expected, found));
        }
        Ok((last.id, end))
    }

    /// What the reading met that the person should know of.
    pub(super) fn into_notes(self) -> Vec<String> {
        self.notes.into_inner()
    }

    /// What $SII says of an id.
    fn place(&self, id: u32) -> Result<Option<Place>> {
        let Some(entry) = self.by_id.find(&id.to_le_bytes())? else {
            return Ok(None);
        };
        let place = parse("$SII", &entry.data)?;
        if place.id != id {
            let expected = format!("security id {id:#x}, the key");
            return Err(Error::damaged("$SII", 4, expected, format!("{place:x?}")));
        }
        Ok(Some(place))
    }
}

/// The id for this descriptor: the one it has, or a new one; see [`Secure::id_for`].
pub(super) fn id_for(mft: &Mft, descriptor: &[u8]) -> Result<u32> {
    Secure::open(mft)?.id_for(descriptor)
}

/// The data of an index entry.
fn parse(index: &str, data: &[u8]) -> Result<Place> {
    Place::parse(data).ok_or_else(|| {
        let found = format!("{} bytes", data.len());
        Error::damaged(index, 0, "20 bytes of data", found)
    })
}
