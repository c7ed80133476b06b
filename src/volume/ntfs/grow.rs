// SPDX-License-Identifier: GPL-2.0-or-later
//! Growing an attribute.
//!
//! ```text
//! resident, fits its record         zeros behind the value
//! resident, does not                clusters get the value; the attribute in the record becomes non-resident
//! non-resident, inside its clusters  sizes
//! non-resident, beyond               free clusters -> $Bitmap, last extent's mapping pairs and highest VCN, sizes
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. The sizes are kept in the extent with lowest VCN 0, the
//! mapping pairs grow in the last extent; the two may be different records. A further extent is never made:
//! where the record of the last one is full, growing is refused before anything is written.

use crate::error::{Error, Result};

use super::allocate::{self, Purpose};
use super::bitmap::Bitmap;
use super::clusters;
use super::format::{Lcn, attribute_type, record_number};
use super::mft::{Found, Mft};
use super::record::{Record, Sizes};
use super::runs::{Run, RunList, encode};
use super::stream::{Content, Stream};
use super::stream_edit::{base_record, check_plain, expect, full};

/// Makes the attribute `kind`, `name` of the file with this base record `len` bytes long, all initialised; the
/// new bytes are zeros. `len` is at least what it is.
///
/// `Refused`, before anything is written, when the volume or a record is full.
pub(super) fn grow_stream(mft: &Mft, base: u64, kind: u32, name: &str, len: u64) -> Result<()> {
    grow_size(mft, base, kind, name, len)?;
    let stream = expect(mft, base, kind, name)?;
    let Content::NonResident { map, sizes, .. } = &stream.content else {
        return Ok(());
    };
    if sizes.initialised >= len {
        return Ok(());
    }
    // To the end of the last cluster, so that nothing old is left in it.
    let end = len
        .checked_next_multiple_of(u64::from(mft.boot.cluster_size))
        .unwrap_or(len)
        .min(map.len());
    let rest = end.saturating_sub(sizes.initialised);
    mft.clear_pieces(&map.pieces(sizes.initialised, rest).unwrap_or_default())?;
    let sizes = Sizes {
        initialised: len,
        ..*sizes
    };
    store_sizes(mft, base, &stream.head, sizes)
}

/// Like [`grow_stream`], but the initialised size of a non-resident attribute stays, so that the new bytes read as
/// zeros whatever their clusters hold.
pub(super) fn grow_size(mft: &Mft, base: u64, kind: u32, name: &str, len: u64) -> Result<()> {
    let stream = expect(mft, base, kind, name)?;
    check_plain(&stream)?;
    if len <= stream.len() {
        return match len == stream.len() {
            true => Ok(()),
            false => Err(Error::damaged(
                stream.what(),
                0,
                format!("a new length of at least {} bytes", stream.len()),
                len.to_string(),
            )),
        };
    }
    match &stream.content {
        Content::Resident(value) => grow_resident(mft, &stream, value, len),
        Content::NonResident { sizes, .. } if len <= sizes.allocated => {
            let sizes = Sizes {
                data: len,
                ..*sizes
            };
            store_sizes(mft, base, &stream.head, sizes)
        }
        Content::NonResident { map, sizes, .. } => {
            clusters::check(mft, map, base)?;
            let sizes = Sizes {
                data: len,
                ..*sizes
            };
            grow_clusters(mft, base, kind, name, map, sizes, len)
        }
    }
}

/// Gives a non-resident attribute clusters for `len` bytes ahead of time, where the volume and the record have plenty
/// of room; its sizes but for the allocated one stay. What grows by little and often gets fewer runs that way.
pub(super) fn reserve(mft: &Mft, base: u64, kind: u32, name: &str, len: u64) -> Result<()> {
    /// Ours: so many times what is taken has to be free in all.
    const PLENTY: u64 = 16;
    let stream = expect(mft, base, kind, name)?;
    check_plain(&stream)?;
    let Content::NonResident { map, sizes, .. } = &stream.content else {
        return Ok(());
    };
    let more = clusters_for(mft, len).saturating_sub(map.clusters());
    let plenty = more.saturating_mul(PLENTY);
    if more == 0 || allocate::choose(mft, Purpose::File, None, 0, plenty).is_err() {
        return Ok(());
    }
    clusters::check(mft, map, base)?;
    match grow_clusters(mft, base, kind, name, map, *sizes, len) {
        // What is really needed may be there all the same.
        Err(Error::Refused { .. }) => Ok(()),
        grown => grown,
    }
}

/// Grows a resident attribute in its record, or moves its value to clusters.
fn grow_resident(mft: &Mft, stream: &Stream, value: &[u8], len: u64) -> Result<()> {
    let Found { record, attribute } = &stream.head;
    let room = record.room(attribute).unwrap_or(0);
    if let Some(len) = usize::try_from(len).ok().filter(|len| *len <= room) {
        let mut longer = value.to_vec();
        longer.resize(len, 0);
        let mut record = Record::clone(record);
        if record.set_value(attribute, &longer) {
            return mft.store(&record);
        }
    }
    let kind = attribute.kind;
    if !MAY_LEAVE_ITS_RECORD.contains(&kind) {
        return Err(full(record, &format!("attribute {kind:#x} of {len} bytes")));
    }
    let runs = allocate::choose(mft, Purpose::File, None, 0, clusters_for(mft, len))?;
    let map = map_of(mft, &runs)?;
    let sizes = Sizes {
        allocated: map.len(),
        data: len,
        initialised: stream.len(),
    };
    let mut changed = Record::clone(record);
    if !changed.set_non_resident(attribute, &pairs(&runs)?, map.clusters(), sizes) {
        return Err(full(record, &format!("attribute {kind:#x} of {len} bytes")));
    }
    take(mft, &runs)?;
    // The value, and zeros to the end of its last cluster.
    let first = clusters_for(mft, stream.len());
    let mut content = value.to_vec();
    let cluster_size = usize::try_from(mft.boot.cluster_size).unwrap_or(0);
    let whole = usize::try_from(first)
        .unwrap_or(0)
        .saturating_mul(cluster_size);
    content.resize(whole.max(content.len()), 0);
    let content_len = u64::try_from(content.len()).unwrap_or(0);
    let pieces = map.pieces(0, content_len).unwrap_or_default();
    mft.write_pieces(&pieces, &content)?;
    mft.store(&changed)
}

/// Attributes that may be resident or not; the others have to be resident (source: $AttrDef).
const MAY_LEAVE_ITS_RECORD: [u32; 5] = [
    attribute_type::SECURITY_DESCRIPTOR,
    attribute_type::DATA,
    attribute_type::BITMAP,
    attribute_type::REPARSE_POINT,
    attribute_type::EA,
];

/// Gives a non-resident attribute clusters for `len` bytes, and these sizes with them.
fn grow_clusters(
    mft: &Mft,
    base: u64,
    kind: u32,
    name: &str,
    map: &RunList,
    sizes: Sizes,
    len: u64,
) -> Result<()> {
    let record = base_record(mft, base)?;
    let name: Vec<u16> = name.encode_utf16().collect();
    let extents = mft.collect(&record, kind, Some(&name))?;
    let (Some(head), Some(last)) = (extents.first(), extents.last()) else {
        return Ok(());
    };
    let purpose = match (base, kind) {
        (record_number::MFT, attribute_type::DATA) => Purpose::Mft,
        _ => Purpose::File,
    };
    let near = map.runs().last().and_then(|run| {
        let Lcn(first) = run.lcn?;
        Some(first.saturating_add(run.clusters))
    });
    let more = clusters_for(mft, len).saturating_sub(map.clusters());
    let new = allocate::choose(mft, purpose, near, map.clusters(), more)?;

    let mut runs = mft.runs(&last.record, &last.attribute)?;
    runs.extend(&new);
    let runs = joined(runs);
    let end = runs
        .last()
        .map_or(0, |run| run.vcn.saturating_add(run.clusters));
    let clusters = end.saturating_sub(last.attribute.lowest());
    let mut changed = Record::clone(&last.record);
    if !changed.set_mapping(&last.attribute, &pairs(&runs)?, clusters) {
        return Err(full(
            &last.record,
            &format!("the mapping pairs of {} runs", runs.len()),
        ));
    }
    let sizes = Sizes {
        allocated: end.saturating_mul(u64::from(mft.boot.cluster_size)),
        ..sizes
    };
    if head.record.number() == last.record.number() {
        // The head comes first in the record, so it has not moved.
        set_sizes(&mut changed, head, sizes)?;
        take(mft, &new)?;
        mft.store(&changed)?;
    } else {
        let mut first = Record::clone(&head.record);
        set_sizes(&mut first, head, sizes)?;
        take(mft, &new)?;
        mft.store(&changed)?;
        mft.store(&first)?;
    }
    if base == record_number::MFT {
        mft.reopen()?;
    }
    Ok(())
}

/// Marks clusters as used.
pub(super) fn take(mft: &Mft, runs: &[Run]) -> Result<()> {
    set_marks(mft, runs, true)
}

/// Gives clusters back.
pub(super) fn give_back(mft: &Mft, runs: &[Run]) -> Result<()> {
    set_marks(mft, runs, false)
}

fn set_marks(mft: &Mft, runs: &[Run], used: bool) -> Result<()> {
    let mut bitmap = Bitmap::clusters(mft)?;
    for run in runs {
        if let Some(Lcn(first)) = run.lcn {
            bitmap.set(first, run.clusters, used)?;
        }
    }
    Ok(())
}

/// Writes the sizes of a non-resident attribute into the record that has them.
pub(super) fn store_sizes(mft: &Mft, base: u64, head: &Found, sizes: Sizes) -> Result<()> {
    let mut record = Record::clone(&head.record);
    set_sizes(&mut record, head, sizes)?;
    mft.store(&record)?;
    if base == record_number::MFT {
        mft.reopen()?;
    }
    Ok(())
}

fn set_sizes(record: &mut Record, head: &Found, sizes: Sizes) -> Result<()> {
    if record.set_sizes(&head.attribute, sizes) {
        return Ok(());
    }
    Err(Error::damaged(
        format!("MFT record {}", record.number()),
        u64::try_from(head.attribute.offset).unwrap_or(0),
        "the sizes of the attribute",
        "none",
    ))
}

/// How many clusters hold `len` bytes.
pub(super) fn clusters_for(mft: &Mft, len: u64) -> u64 {
    len.div_ceil(u64::from(mft.boot.cluster_size))
}

/// A list of these runs, which begin with VCN 0.
pub(super) fn map_of(mft: &Mft, runs: &[Run]) -> Result<RunList> {
    let mut map = RunList::new(mft.boot.cluster_size);
    if map.extend(runs.to_vec()) {
        return Ok(map);
    }
    Err(super::mft::gap("the chosen clusters", 0, 0))
}

/// The mapping pairs of runs inside the volume, which can always be encoded.
pub(super) fn pairs(runs: &[Run]) -> Result<Vec<u8>> {
    encode(runs)
        .ok_or_else(|| Error::damaged("mapping pairs", 0, "clusters inside the volume", "others"))
}

/// Runs that follow each other on the volume too become one.
fn joined(runs: Vec<Run>) -> Vec<Run> {
    let mut joined: Vec<Run> = Vec::new();
    for run in runs {
        if let Some(last) = joined.last_mut()
            && let (Some(Lcn(first)), Some(Lcn(next))) = (last.lcn, run.lcn)
            && first.checked_add(last.clusters) == Some(next)
        {
            last.clusters = last.clusters.saturating_add(run.clusters);
            continue;
        }
        joined.push(run);
    }
    joined
}
