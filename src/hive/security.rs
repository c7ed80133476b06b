// SPDX-License-Identifier: GPL-2.0-or-later
//! Key security records (sk): descriptors that keys share.
//!
//! ```text
//! key node --\
//! key node ---> sk (references 3) <-> sk (references 1) <-> ... back to the first
//! key node --/
//! ```
//!
//! All records of a hive form one ring. Each counts the key nodes that use it; the one whose count falls to
//! zero is taken out of the ring and freed. A key that gets a descriptor that some record already holds
//! shares that record.

use super::Hive;
use super::format::{CellOffset, KeySecurity, damaged, key_node, key_security};
use crate::bytes::{put, slice, u16_le, u32_le};
use crate::error::{Error, Result};

/// In a descriptor's control field: offsets are relative to its start.
const SELF_RELATIVE: u16 = 0x8000;
/// Fewest bytes a key security record's cell has.
const LEAST_SECURITY: u32 = 24;

impl Hive {
    /// The security record in the cell at `offset`.
    pub(crate) fn key_security(&self, offset: CellOffset) -> Result<KeySecurity> {
        let cell = self.bins.cell("key security (sk)", offset)?;
        KeySecurity::read(offset, cell)
    }

    /// The descriptor in the security record at `offset`.
    pub(crate) fn descriptor(&self, offset: CellOffset) -> Result<&[u8]> {
        let cell = self.bins.cell("key security (sk)", offset)?;
        let security = KeySecurity::read(offset, cell)?;
        security.descriptor(cell).ok_or_else(|| {
            let expected = "a descriptor inside the cell";
            damaged("key security (sk)", offset, expected, "a longer one")
        })
    }

    /// Gives the key at `path` this self-relative security descriptor. Setting the one it has changes
    /// nothing. `now` is a FILETIME.
    ///
    /// # Errors
    /// `Refused` when the key does not exist or the descriptor is not a valid one; `Damaged` when the
    /// ring of security records is not sound. The hive is then unchanged.
    pub fn set_security(&mut self, path: &str, descriptor: &[u8], now: u64) -> Result<()> {
        if let Err((expected, found)) = check_descriptor(descriptor) {
            let what = format!("not a security descriptor: expected {expected}, found {found}");
            return Err(Error::refused(what, "give a self-relative descriptor"));
        }
        let Some(key) = self.key(path)? else {
            let what = format!("the key {path:?} does not exist");
            return Err(Error::refused(what, "create the key first"));
        };
        if key.security()? == descriptor {
            return Ok(());
        }
        let (offset, old) = (key.cell_offset(), key.node.security);
        self.edit(|hive| {
            let new = match hive.find_security(old, descriptor)? {
                Some(found) => {
                    hive.reference_security(found)?;
                    found
                }
                None => hive.add_security(old, descriptor)?,
            };
            hive.bins.write_u32(offset, key_node::SECURITY, new.0)?;
            hive.release_security(old)?;
            hive.touch_key(offset, now)
        })
    }

    /// Counts one more user of a security record.
    pub(crate) fn reference_security(&mut self, offset: CellOffset) -> Result<()> {
        let references = self.key_security(offset)?.references.checked_add(1);
        let references = references.ok_or_else(|| {
            let expected = "a count of references";
            damaged("key security (sk)", offset, expected, "the largest number")
        })?;
        self.bins
            .write_u32(offset, key_security::REFERENCES, references)
    }

    /// Counts one user of a security record less; the last one frees it.
    pub(crate) fn release_security(&mut self, offset: CellOffset) -> Result<()> {
        let security = self.key_security(offset)?;
        match security.references {
            0 => {
                let expected = "at least one reference";
                Err(damaged("key security (sk)", offset, expected, "none"))
            }
            1 if security.next == offset => {
                let expected = "another record in the ring";
                Err(damaged("key security (sk)", offset, expected, "itself"))
            }
            1 => {
                self.check_neighbours(offset, &security)?;
                let (next, previous) = (security.next, security.previous);
                self.bins.write_u32(previous, key_security::NEXT, next.0)?;
                self.bins
                    .write_u32(next, key_security::PREVIOUS, previous.0)?;
                self.release(offset)
            }
            references => {
                let left = references.saturating_sub(1);
                self.bins.write_u32(offset, key_security::REFERENCES, left)
            }
        }
    }

    /// The record with this descriptor in the ring that `start` is part of.
    fn find_security(&self, start: CellOffset, descriptor: &[u8]) -> Result<Option<CellOffset>> {
        let most = self.bins.size().checked_div(LEAST_SECURITY).unwrap_or(0);
        let mut offset = start;
        for _ in 0..most {
            if self.descriptor(offset)? == descriptor {
                return Ok(Some(offset));
            }
            offset = self.key_security(offset)?.next;
            if offset == start {
                return Ok(None);
            }
        }
        let expected = "a ring that comes back to its start";
        Err(damaged("key security (sk)", start, expected, "none"))
    }

    /// Adds a record with one reference to the ring, after `after`.
    fn add_security(&mut self, after: CellOffset, descriptor: &[u8]) -> Result<CellOffset> {
        let security = self.key_security(after)?;
        self.check_neighbours(after, &security)?;
        let record = security_record(descriptor)?;
        let new = self.allocate_with(&record)?;
        self.bins
            .write_u32(new, key_security::NEXT, security.next.0)?;
        self.bins.write_u32(new, key_security::PREVIOUS, after.0)?;
        self.bins
            .write_u32(security.next, key_security::PREVIOUS, new.0)?;
        self.bins.write_u32(after, key_security::NEXT, new.0)?;
        Ok(new)
    }

    /// An error unless both neighbours in the ring point back at the record.
    fn check_neighbours(&self, offset: CellOffset, security: &KeySecurity) -> Result<()> {
        let after = self.key_security(security.next)?.previous;
        let before = self.key_security(security.previous)?.next;
        if after != offset || before != offset {
            let found = format!("{:#x} and {:#x}", after.0, before.0);
            let expected = format!("neighbours that point back to {:#x}", offset.0);
            return Err(damaged("key security (sk)", offset, expected, found));
        }
        Ok(())
    }
}

/// A security record with one reference and no neighbours yet.
pub(crate) fn security_record(descriptor: &[u8]) -> Result<Vec<u8>> {
    use key_security::*;
    let size = u32::try_from(descriptor.len()).unwrap_or(u32::MAX);
    let mut record = vec![0; DESCRIPTOR];
    let whole = put(&mut record, 0, SIGNATURE)
        && put(&mut record, REFERENCES, &1_u32.to_le_bytes())
        && put(&mut record, SIZE, &size.to_le_bytes());
    if !whole {
        return Err(damaged(
            "key security (sk)",
            CellOffset(0),
            "20 bytes",
            "fewer",
        ));
    }
    record.extend_from_slice(descriptor);
    Ok(record)
}

/// Checks a self-relative security descriptor as far as its own structure goes: offsets, SIDs, and access
/// control lists whose entries fill them. On failure: what was expected, what was found.
pub(crate) fn check_descriptor(bytes: &[u8]) -> std::result::Result<(), (String, String)> {
    let fault = |expected: &str, found: String| Err((expected.to_owned(), found));
    if bytes.len() < 20 || bytes.first() != Some(&1) {
        let found = format!("{} bytes, revision {:?}", bytes.len(), bytes.first());
        return fault("a descriptor of revision 1", found);
    }
    let control = u16_le(bytes, 2).unwrap_or(0);
    if control & SELF_RELATIVE == 0 {
        return fault(
            "a self-relative descriptor",
            format!("control {control:#x}"),
        );
    }
    for (place, what) in [(4, "owner"), (8, "group")] {
        let offset = u32_le(bytes, place).unwrap_or(0);
        if offset != 0 && tail(bytes, offset).and_then(sid_len).is_none() {
            return fault(&format!("a SID as {what}"), format!("offset {offset:#x}"));
        }
    }
    for (place, present, what) in [(12, 0x10, "SACL"), (16, 0x04, "DACL")] {
        let offset = u32_le(bytes, place).unwrap_or(0);
        let used = offset != 0 && control & present != 0;
        if used && tail(bytes, offset).and_then(check_acl).is_none() {
            return fault(&format!("a sound {what}"), format!("offset {offset:#x}"));
        }
    }
    Ok(())
}

fn tail(bytes: &[u8], offset: u32) -> Option<&[u8]> {
    bytes.get(usize::try_from(offset).ok()?..)
}

/// Bytes of the SID at the start of `bytes`.
fn sid_len(bytes: &[u8]) -> Option<usize> {
    let count = usize::from(*bytes.get(1)?);
    let len = count.checked_mul(4)?.checked_add(8)?;
    (bytes.first() == Some(&1) && count <= 15 && bytes.len() >= len).then_some(len)
}

/// `Some` when the access control list at the start of `bytes` is sound.
fn check_acl(bytes: &[u8]) -> Option<()> {
    let revision = *bytes.first()?;
    let acl = slice(bytes, 0, u16_le(bytes, 2)?.into())?;
    let mut place = 8_usize;
    for _ in 0..u16_le(acl, 4)? {
        let size = usize::from(u16_le(acl, place.checked_add(2)?)?);
        slice(acl, place, size)?;
        place = place.checked_add(size)?;
        if size < 8 {
            return None;
        }
    }
    ((2..=4).contains(&revision) && place <= acl.len()).then_some(())
}

/// The descriptor of a new hive's root: full control for SYSTEM and the administrators, who own it, reading
/// for everyone; all of it inherited by subkeys.
pub(crate) fn default_descriptor() -> Vec<u8> {
    // S-1-5-32-544, S-1-5-18, S-1-1-0
    let administrators: &[u8] = &[1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0];
    let system: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
    let everyone: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    // Allow; inherited by containers; size; mask.
    let entry = |size: u8, mask: u32, sid: &[u8]| {
        let mut entry = vec![0, 2, size, 0];
        entry.extend(mask.to_le_bytes());
        entry.extend_from_slice(sid);
        entry
    };
    let entries = [
        entry(20, 0xf003f, system),
        entry(24, 0xf003f, administrators),
        entry(20, 0x20019, everyone),
    ]
    .concat();
    // Header: revision, control (self-relative, DACL present and protected), owner, group, no SACL, DACL.
    let mut descriptor = vec![
        1, 0, 4, 0x90, 92, 0, 0, 0, 108, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0,
    ];
    descriptor.extend([2, 0, 72, 0, 3, 0, 0, 0]);
    descriptor.extend(entries);
    descriptor.extend_from_slice(administrators);
    descriptor.extend_from_slice(system);
    descriptor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_descriptor_is_sound_and_every_truncation_is_not() {
        let descriptor = default_descriptor();
        assert_eq!(descriptor.len(), 120);
        assert_eq!(check_descriptor(&descriptor), Ok(()));
        for len in 0..descriptor.len() {
            assert!(check_descriptor(&descriptor[..len]).is_err(), "{len}");
        }
    }
}
