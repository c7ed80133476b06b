// SPDX-License-Identifier: GPL-2.0-or-later
//! Whether the bytes of a security descriptor hold together; what they mean is for others to say.
//!
//! ```text
//! 0 u8 revision, 1   2 u16 control   4 u32 owner   8 u32 group   C u32 SACL   10 u32 DACL (0: none)
//! SID:  0 u8 revision, 1   1 u8 sub-authorities, at most 15   8 one u32 for each
//! ACL:  0 u8 revision, 2 to 4   2 u16 length   4 u16 entries   8 entries: 0 u8 type  2 u16 length
//! ```
//!
//! Specification: [MS-DTYP] 2.4.2, 2.4.4.1, 2.4.5 and 2.4.6. What a disk holds is checked before it is handed
//! on, and what is to be written before it gets there: Windows denies all access to a file whose descriptor
//! it cannot read.

use crate::bytes;
use crate::error::{Error, Result};

/// The longest descriptor that is stored for a file. Windows takes 64 KiB for an entry of $SDS; ours for both
/// ways of storing.
pub(super) const MAX: usize = 0x1_0000;

const HEADER: usize = 20;
const DACL_PRESENT: u16 = 0x0004;
const SACL_PRESENT: u16 = 0x0010;
const SELF_RELATIVE: u16 = 0x8000;

/// What is wrong with a descriptor.
struct Fault {
    offset: usize,
    expected: &'static str,
    found: String,
}

/// Checks a descriptor that is on the disk; `what` says whose it is.
pub(super) fn check(descriptor: &[u8], what: &str) -> Result<()> {
    match faults(descriptor) {
        None => Ok(()),
        Some(fault) => Err(Error::damaged(
            format!("security descriptor of {what}"),
            u64::try_from(fault.offset).unwrap_or(0),
            fault.expected,
            fault.found,
        )),
    }
}

/// Checks a descriptor that is to be stored: sound, not too long, and with an owner and a group, without
/// which Windows stores none.
pub(super) fn check_new(descriptor: &[u8]) -> Result<()> {
    let refused = |why: String| {
        Err(Error::refused(
            format!("the security descriptor is not stored: {why}"),
            "give a self-relative descriptor of at most 64 KiB with an owner and a group",
        ))
    };
    if descriptor.len() > MAX.saturating_sub(HEADER) {
        let max = MAX.saturating_sub(HEADER);
        return refused(format!(
            "it has {} bytes, and {max} are the most",
            descriptor.len()
        ));
    }
    // All parts are made of u32; readers do not agree on the hash of anything else.
    if !descriptor.len().is_multiple_of(4) {
        let len = descriptor.len();
        return refused(format!("it has {len} bytes, which is no multiple of 4"));
    }
    if let Some(fault) = faults(descriptor) {
        return refused(format!(
            "at offset {:#x} it needs {}, but there is {}",
            fault.offset, fault.expected, fault.found
        ));
    }
    for (offset, name) in [(4, "owner"), (8, "group")] {
        if bytes::u32_le(descriptor, offset) == Some(0) {
            return refused(format!("it has no {name}"));
        }
    }
    Ok(())
}

/// The first thing that is wrong.
fn faults(descriptor: &[u8]) -> Option<Fault> {
    let fault = |offset, expected, found: String| {
        Some(Fault {
            offset,
            expected,
            found,
        })
    };
    if !(HEADER..=MAX).contains(&descriptor.len()) {
        let found = format!("{} bytes", descriptor.len());
        return fault(0, "20 to 65536 bytes", found);
    }
    if descriptor.first() != Some(&1) {
        return fault(0, "revision 1", format!("{:?}", descriptor.first()));
    }
    let control = bytes::u16_le(descriptor, 2).unwrap_or(0);
    if control & SELF_RELATIVE == 0 {
        let found = format!("control {control:#06x}");
        return fault(2, "a self-relative descriptor", found);
    }
    let parts = [
        (
            4,
            true,
            sid_len as fn(&[u8]) -> Option<usize>,
            "a whole SID",
        ),
        (8, true, sid_len, "a whole SID"),
        (0xC, control & SACL_PRESENT != 0, acl_len, "a whole ACL"),
        (0x10, control & DACL_PRESENT != 0, acl_len, "a whole ACL"),
    ];
    for (field, counts, len, expected) in parts {
        let offset = bytes::u32_le(descriptor, field).unwrap_or(0);
        if offset == 0 || !counts {
            continue;
        }
        let part = usize::try_from(offset)
            .ok()
            .filter(|offset| *offset >= HEADER)
            .and_then(|offset| descriptor.get(offset..));
        if part.and_then(len).is_none() {
            return fault(field, expected, format!("offset {offset:#x}"));
        }
    }
    None
}

/// The length of the SID at the start of `part`; `None` when it is not whole.
fn sid_len(part: &[u8]) -> Option<usize> {
    const MOST: u8 = 15;
    let [revision, count] = bytes::array(part, 0)?;
    let len = usize::from(count).checked_mul(4)?.checked_add(8)?;
    (revision == 1 && count <= MOST && len <= part.len()).then_some(len)
}

/// The length of the ACL at the start of `part`; `None` when it or one of its entries is not whole.
fn acl_len(part: &[u8]) -> Option<usize> {
    let revision = *part.first()?;
    let len = usize::from(bytes::u16_le(part, 2)?);
    let acl = part.get(..len)?;
    let mut at = 8_usize;
    for _ in 0..bytes::u16_le(acl, 4)? {
        let ace = usize::from(bytes::u16_le(acl, at.checked_add(2)?)?);
        at = at.checked_add(ace).filter(|_| ace >= 4)?;
    }
    ((2..=4).contains(&revision) && at <= len).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Owner and group SYSTEM, a DACL that lets everyone read.
    fn sample() -> Vec<u8> {
        let mut bytes = vec![
            1, 0, 4, 0x80, 48, 0, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0,
        ];
        bytes.extend([2, 0, 28, 0, 1, 0, 0, 0]);
        bytes.extend([0, 0, 20, 0, 0x89, 0, 0x12, 0]);
        bytes.extend([1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
        for _ in 0..2 {
            bytes.extend([1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0]);
        }
        bytes
    }

    #[test]
    fn every_cut_and_every_bad_field_is_seen() {
        let good = sample();
        check(&good, "sample").unwrap();
        check_new(&good).unwrap();
        for len in 0..good.len() {
            assert!(check(&good[..len], "cut").is_err(), "{len}");
        }
        for (place, value, why) in [
            (0, 2, "revision"),
            (3, 0, "absolute"),
            (4, 70, "owner past the end"),
            (5, 1, "owner far past the end"),
            (8, 19, "group inside the header"),
            (16, 3, "DACL inside the header"),
            (20, 1, "ACL revision"),
            (22, 255, "ACL longer than the rest"),
            (22, 20, "ACL shorter than its entry"),
            (24, 2, "one entry more than there are"),
            (30, 3, "an entry shorter than its header"),
            (48, 2, "SID revision"),
            (61, 16, "sub-authorities"),
        ] {
            let mut bad = good.clone();
            bad[place] = value;
            let error = check(&bad, "sample").unwrap_err();
            assert!(error.to_string().contains("sample"), "{why}: {error}");
            assert!(check_new(&bad).is_err(), "{why}");
        }
    }

    #[test]
    fn what_is_stored_has_owner_and_group_and_fits() {
        for field in [4, 8] {
            let mut bad = sample();
            bad[field] = 0;
            check(&bad, "sample").unwrap();
            let error = check_new(&bad).unwrap_err();
            assert!(error.to_string().contains("has no"), "{error}");
        }
        // No DACL at all, and a null one.
        for control in [0_u8, 4] {
            let mut bytes = sample();
            bytes[2] = control;
            bytes[16] = 0;
            check_new(&bytes).unwrap();
        }
        // An offset that the control does not count.
        let mut bytes = sample();
        bytes[12..16].copy_from_slice(&[0xFF; 4]);
        check_new(&bytes).unwrap();
        let mut long = sample();
        long.resize(MAX - 20, 0);
        check_new(&long).unwrap();
        long.push(0);
        assert!(check_new(&long).is_err());
        assert!(check_new(&long[..long.len() - 2]).is_err());
        long.resize(MAX, 0);
        check(&long, "sample").unwrap();
        long.push(0);
        assert!(check(&long, "sample").is_err());
    }
}
