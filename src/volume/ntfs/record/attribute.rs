// SPDX-License-Identifier: GPL-2.0-or-later
//! The bytes of a new attribute.
//!
//! ```text
//! resident:      18 name   then, on 8 bytes, value
//! non-resident:  40 name   then, on 8 bytes, mapping pairs
//! ```
//!
//! The fields of the headers are drawn in [`super`]. Source: the Linux-NTFS documentation and ntfs-3g's layout.h. Every
//! part begins on 8 bytes and the length is a multiple of 8. Compressed and sparse attributes, whose header is
//! longer, are not made.

use crate::bytes;

use super::Sizes;

/// Length of a resident header.
const RESIDENT: usize = 0x18;
/// Length of a non-resident header without a compressed size.
const NON_RESIDENT: usize = 0x40;

/// A resident attribute; `None` when it is too long for any record.
pub(in super::super) fn resident(
    kind: u32,
    name: &[u16],
    instance: u16,
    indexed: bool,
    value: &[u8],
) -> Option<Vec<u8>> {
    let (mut attribute, body) = begin(kind, name, instance, RESIDENT, value)?;
    let len = u32::try_from(value.len()).ok()?;
    let put = bytes::put(&mut attribute, 0x10, &len.to_le_bytes())
        && bytes::put(&mut attribute, 0x14, &body.to_le_bytes())
        && bytes::put(&mut attribute, 0x16, &[u8::from(indexed)]);
    put.then_some(attribute)
}

/// A non-resident attribute, all of whose clusters `pairs` map; `None` when it is too long for any record.
pub(in super::super) fn non_resident(
    kind: u32,
    name: &[u16],
    instance: u16,
    pairs: &[u8],
    clusters: u64,
    sizes: Sizes,
) -> Option<Vec<u8>> {
    let (mut attribute, body) = begin(kind, name, instance, NON_RESIDENT, pairs)?;
    // The highest VCN of an attribute without clusters is -1.
    let highest = clusters.wrapping_sub(1);
    let put = bytes::put(&mut attribute, 8, &[1])
        && bytes::put(&mut attribute, 0x18, &highest.to_le_bytes())
        && bytes::put(&mut attribute, 0x20, &body.to_le_bytes())
        && bytes::put(&mut attribute, 0x28, &sizes.allocated.to_le_bytes())
        && bytes::put(&mut attribute, 0x30, &sizes.data.to_le_bytes())
        && bytes::put(&mut attribute, 0x38, &sizes.initialised.to_le_bytes());
    put.then_some(attribute)
}

/// The common part of both, and where `body` went.
fn begin(
    kind: u32,
    name: &[u16],
    instance: u16,
    header: usize,
    body: &[u8],
) -> Option<(Vec<u8>, u16)> {
    let name_len = u8::try_from(name.len()).ok()?;
    let name: Vec<u8> = name.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let body_at = header
        .checked_add(name.len())?
        .checked_next_multiple_of(8)?;
    let len = body_at
        .checked_add(body.len())?
        .checked_next_multiple_of(8)?;
    let header = u16::try_from(header).ok()?;
    // Longer than the longest record: nobody needs the bytes.
    let mut attribute = vec![0; usize::from(u16::try_from(len).ok()?)];
    let put = bytes::put(&mut attribute, 0, &kind.to_le_bytes())
        && bytes::put(&mut attribute, 4, &u32::try_from(len).ok()?.to_le_bytes())
        && bytes::put(&mut attribute, 9, &[name_len])
        && bytes::put(&mut attribute, 0x0A, &header.to_le_bytes())
        && bytes::put(&mut attribute, 0x0E, &instance.to_le_bytes())
        && bytes::put(&mut attribute, usize::from(header), &name)
        && bytes::put(&mut attribute, body_at, body);
    put.then_some((attribute, u16::try_from(body_at).ok()?))
}
