// SPDX-License-Identifier: GPL-2.0-or-later
//! Doors to the parsers of this module for the targets in `fuzz/` and for `benches/`, with the feature `fuzzing` alone.
//!
//! Each takes any bytes, must come back, and asserts what holds of whatever was accepted: what is written reads the
//! same, an edited record reads as it was left. A structure with torn-write protection is given as it is in memory
//! and protected here; a mutated byte would else be refused before anything looks at it.

use crate::bytes;
use crate::device::memory::MemoryDevice;
use crate::error::{Error, Result};

use super::index::node_round_trip;
use super::logfile::{Disk, Geometry, Source, Verdict, closed_page, judge};
use super::multi_sector;
use super::record::{Form, Record, resident};
use super::runs;
use super::secure::place_round_trip;
use super::upcase::Upcase;

/// More clusters than any input maps.
const CLUSTERS: u64 = 1 << 40;
/// The length of a page of the journal.
const PAGE: usize = 4096;

/// An MFT record, taken apart, edited and put together.
pub fn record(memory: &[u8]) {
    let number = u64::from(bytes::u32_le(memory, 0x2C).unwrap_or(0));
    let mut disk = memory.to_vec();
    let _protected = multi_sector::protect(&mut disk);
    let Ok(record) = Record::parse(number, disk.clone()) else {
        return;
    };
    same_on_disk(&record, &disk);
    for attribute in record.attributes() {
        let _ = (record.value(attribute), record.room(attribute));
        if let Form::NonResident {
            lowest, highest, ..
        } = attribute.form
            && let Some(pairs) = record.mapping_pairs(attribute)
        {
            mapping(pairs, lowest, highest);
        }
        let mut without = record.clone();
        if without.remove(attribute) {
            same_on_disk(&without, &disk);
        }
        let mut longer = record.clone();
        if let Some(value) = record.value(attribute) {
            let mut value = value.to_vec();
            value.extend([7; 9]);
            if longer.set_value(attribute, &value) {
                same_on_disk(&longer, &disk);
            }
        }
    }
    let mut more = record;
    if let Some(instance) = more.next_instance()
        && let Some(new) = resident(0x80, &[0x61], instance, false, &[1; 20])
        && more.insert(&Upcase::ascii(), &new)
    {
        same_on_disk(&more, &disk);
    }
}

/// What goes to the disk is the record, and what is read from there goes back as it is.
fn same_on_disk(record: &Record, old: &[u8]) {
    let Ok(disk) = record.to_disk(old) else {
        return;
    };
    let again = Record::parse(record.number(), disk.clone());
    let same = again.as_ref().is_ok_and(|again| {
        let values = |record: &Record| -> Vec<Option<Vec<u8>>> {
            let attributes = record.attributes().iter();
            attributes
                .map(|found| record.value(found).map(<[u8]>::to_vec))
                .collect()
        };
        again.attributes() == record.attributes()
            && values(again) == values(record)
            && again.to_disk(&disk).is_ok_and(|twice| twice == disk)
    });
    assert!(same, "{record:?} became {again:?}");
}

/// Mapping pairs: 8 bytes for the lowest VCN, 8 for the highest, and the pairs.
pub fn mapping_pairs(input: &[u8]) {
    if let (Some(lowest), Some(highest), Some(pairs)) = (
        bytes::u64_le(input, 0),
        bytes::u64_le(input, 8),
        input.get(16..),
    ) {
        mapping(pairs, lowest, highest);
    }
}

fn mapping(pairs: &[u8], lowest: u64, highest: u64) {
    let Ok(found) = runs::decode(pairs, lowest, highest, CLUSTERS, "input", 0) else {
        return;
    };
    let mut list = runs::RunList::new(4096);
    if list.extend(found.clone()) {
        let _ = (list.pieces(0, list.len()), list.pieces(4095, 2));
    }
    let encoded = runs::encode(&found);
    let again = encoded.map(|pairs| runs::decode(&pairs, lowest, highest, CLUSTERS, "again", 0));
    assert!(
        matches!(&again, Some(Ok(again)) if *again == found),
        "{found:?} became {again:?}"
    );
}

/// A node of an index, as in `$INDEX_ROOT` and as in a block.
pub fn index_node(memory: &[u8]) {
    node_round_trip(memory);
}

/// What stands before each descriptor in `$SDS`, and whether a descriptor holds together.
pub fn security_entry(entry: &[u8]) {
    place_round_trip(entry);
}

/// The hash by which a descriptor is found in `$SDH`; any bytes have one.
pub fn descriptor_hash(descriptor: &[u8]) -> u32 {
    super::secure::descriptor_hash(descriptor)
}

/// A journal: what waits in it, its replay on a volume of zeros, and the page that closes it.
pub fn logfile(memory: &[u8]) {
    /// Clusters of the volume of zeros.
    const SMALL: usize = 1024;

    let mut pages = memory.to_vec();
    for page in pages.chunks_exact_mut(PAGE) {
        let _protected = multi_sector::protect(page);
    }
    let geometry = Geometry {
        cluster_size: 4096,
        record_size: 1024,
        clusters: CLUSTERS,
    };
    let journal = judge(&Bytes(&pages), geometry);
    let _ = journal.uncleanness();
    let small = Geometry {
        clusters: u64::try_from(SMALL).unwrap_or(0),
        ..geometry
    };
    if let Verdict::Pending(_) = judge(&Bytes(&pages), small).verdict {
        let disk = Disk {
            device: &MemoryDevice::new(vec![0; SMALL.saturating_mul(PAGE)]),
            log: &[(1000, 1010)],
            mapping: &|_, _, _, _| None,
        };
        if let Ok(done) = judge(&Bytes(&pages), small).replay(&Bytes(&pages), small, &disk) {
            let mut log = vec![0; 10_usize.saturating_mul(PAGE)];
            let read = disk.device.read_at(1000_u64.saturating_mul(4096), &mut log);
            assert!(
                read.is_ok() && log.iter().all(|byte| *byte == 0),
                "{done:?}"
            );
        }
    }
    let Ok(closed) = closed_page(&journal, &Bytes(&pages)) else {
        return;
    };
    for page in pages.chunks_exact_mut(PAGE).take(2) {
        page.copy_from_slice(&closed);
    }
    let again = judge(&Bytes(&pages), geometry);
    assert!(
        again.verdict == Verdict::Clean,
        "{journal:?} was closed: {again:?}"
    );
}

/// A journal in memory.
struct Bytes<'a>(&'a [u8]);

impl Source for Bytes<'_> {
    fn len(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let place = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = bytes::slice(self.0, place, buffer.len());
        let found = found.ok_or_else(|| Error::damaged("input", offset, "bytes", "its end"))?;
        buffer.copy_from_slice(found);
        Ok(())
    }
}

/// LZNT1: a compressed unit.
pub fn compressed(packed: &[u8]) {
    let mut plain = vec![0; 16 << 12];
    let _ = super::compression::unpack(packed, &mut plain);
}
