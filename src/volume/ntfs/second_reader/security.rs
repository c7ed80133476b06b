// SPDX-License-Identifier: GPL-2.0-or-later
//! What the crate `ntfs` reads of security descriptors.
//!
//! ```text
//! record -> $STANDARD_INFORMATION, security id -> $SII, its own search in the B-tree -> $SDS at that offset
//! ```
//!
//! The crate knows nothing of $Secure, but has what it takes: records, streams and the search in an index. What
//! is ours here is the layout of one key and of 20 bytes. No opinion: where $Secure has an attribute list or the
//! clusters are larger than an index block (the crate counts both otherwise), and on descriptors that a file keeps
//! for itself outside its record.

use std::collections::HashMap;
use std::io::{BufReader, Read, SeekFrom};

use ntfs::indexes::{
    NtfsIndexEntryData, NtfsIndexEntryHasData, NtfsIndexEntryKey, NtfsIndexEntryType,
};
use ntfs::structured_values::NtfsStandardInformation;
use ntfs::types::NtfsPosition;
use ntfs::{Ntfs, NtfsAttributeItem, NtfsAttributeType, NtfsFile, NtfsIndex, NtfsReadSeek};

use crate::bytes;
use crate::device::SharedDevice;
use crate::volume::second_reader::ask;

use super::super::format::record_number;
use super::{Source, has_attribute_list};

type Reader<'d> = BufReader<Source<'d>>;

/// Whether the crate finds `descriptor` for each of these records; `None` where it has no opinion on one, and says
/// `false` of none.
pub(in super::super) fn agrees(
    device: &SharedDevice,
    records: &[u64],
    descriptor: &[u8],
) -> Option<bool> {
    ask(|| compare(device, records, descriptor))
}

fn compare(device: &SharedDevice, records: &[u64], descriptor: &[u8]) -> Option<bool> {
    let mut source = BufReader::with_capacity(4 << 10, Source::new(device));
    let volume = Ntfs::new(&mut source).ok()?;
    let mut stored: HashMap<u32, Option<bool>> = HashMap::new();
    let mut opinion = Some(true);
    for record in records {
        let file = volume.file(&mut source, *record).ok()?;
        let info: NtfsStandardInformation = file.info().ok()?;
        let same = match info.security_id().filter(|id| *id != 0) {
            Some(id) => match stored.get(&id) {
                Some(known) => *known,
                None => {
                    let same = in_secure(&volume, &mut source, id, descriptor);
                    stored.insert(id, same);
                    same
                }
            },
            None => in_file(&mut source, &file, descriptor),
        };
        match same {
            Some(false) => return Some(false),
            Some(true) => {}
            None => opinion = None,
        }
    }
    opinion
}

/// Whether $Secure has `descriptor` under this id.
fn in_secure(volume: &Ntfs, source: &mut Reader<'_>, id: u32, descriptor: &[u8]) -> Option<bool> {
    let secure = volume.file(source, record_number::SECURE).ok()?;
    if has_attribute_list(&secure) {
        return None;
    }
    let root = find(&secure, source, NtfsAttributeType::IndexRoot, "$SII")?;
    let blocks = find(&secure, source, NtfsAttributeType::IndexAllocation, "$SII");
    let index: NtfsIndex<'_, '_, ById> = NtfsIndex::new(root, blocks).ok()?;
    let mut finder = index.finder();
    let Some(entry) = finder.find(source, |key: &Id| id.cmp(&key.0)) else {
        return Some(false);
    };
    let place: Place = entry.ok()?.data()?.ok()?;

    let stream = find(&secure, source, NtfsAttributeType::Data, "$SDS")?;
    let stream = stream.to_attribute().ok()?;
    let mut value = stream.value(source).ok()?;
    let len = usize::try_from(place.len).ok()?.checked_sub(HEADER)?;
    if len != descriptor.len() {
        return Some(false);
    }
    let mut entry = vec![0; len.checked_add(HEADER)?];
    value.seek(source, SeekFrom::Start(place.offset)).ok()?;
    value.read_exact(source, &mut entry).ok()?;
    let own = bytes::u32_le(&entry, 4) == Some(id);
    Some(own && entry.get(HEADER..) == Some(descriptor))
}

/// Whether the file keeps `descriptor` for itself, in its record.
fn in_file(source: &mut Reader<'_>, file: &NtfsFile<'_>, descriptor: &[u8]) -> Option<bool> {
    let own = find(file, source, NtfsAttributeType::SecurityDescriptor, "")?;
    let own = own.to_attribute().ok().filter(|own| own.is_resident())?;
    let mut found = Vec::new();
    own.value(source)
        .ok()?
        .attach(source)
        .read_to_end(&mut found)
        .ok()?;
    Some(found == descriptor)
}

/// The attribute of this type and name.
fn find<'n, 'f>(
    file: &'f NtfsFile<'n>,
    source: &mut Reader<'_>,
    kind: NtfsAttributeType,
    name: &str,
) -> Option<NtfsAttributeItem<'n, 'f>> {
    let mut attributes = file.attributes();
    while let Some(item) = attributes.next(source) {
        let item = item.ok()?;
        let attribute = item.to_attribute().ok()?;
        let found = attribute.ty().ok() == Some(kind) && attribute.name().ok()? == name;
        if found {
            return Some(item);
        }
    }
    None
}

/// The bytes before a descriptor in $SDS, which are the data of an index entry too.
const HEADER: usize = 20;

/// `$SII`.
#[derive(Clone, Debug)]
struct ById;

/// Its key.
#[derive(Debug)]
struct Id(u32);

/// Its data, as far as it is needed.
#[derive(Debug)]
struct Place {
    offset: u64,
    len: u32,
}

impl NtfsIndexEntryType for ById {
    type KeyType = Id;
}

impl NtfsIndexEntryHasData for ById {
    type DataType = Place;
}

impl NtfsIndexEntryKey for Id {
    fn key_from_slice(slice: &[u8], position: NtfsPosition) -> ntfs::Result<Id> {
        bytes::u32_le(slice, 0)
            .map(Id)
            .ok_or_else(|| short(position, slice))
    }
}

impl NtfsIndexEntryData for Place {
    fn data_from_slice(slice: &[u8], position: NtfsPosition) -> ntfs::Result<Place> {
        let place = bytes::u64_le(slice, 8).zip(bytes::u32_le(slice, 0x10));
        place
            .map(|(offset, len)| Place { offset, len })
            .ok_or_else(|| short(position, slice))
    }
}

fn short(position: NtfsPosition, slice: &[u8]) -> ntfs::NtfsError {
    ntfs::NtfsError::InvalidStructuredValueSize {
        position,
        ty: NtfsAttributeType::IndexRoot,
        expected: u64::try_from(HEADER).unwrap_or(0),
        actual: u64::try_from(slice.len()).unwrap_or(0),
    }
}
