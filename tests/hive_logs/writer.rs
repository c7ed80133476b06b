// SPDX-License-Identifier: GPL-2.0-or-later
//! Writes small hives and logs of both formats. Their hive bins hold a header each and one marker byte
//! throughout: enough to see which page came from where.

use coldfix::hive::base_block;
use coldfix::hive::log::{LogFile, Recovered, recover};
use coldfix::hive::marvin32::marvin32;

pub(crate) const PAGE: usize = 4096;

/// A hive bin of one page whose 4064 bytes after the header are `marker`.
pub(crate) fn bin(index: usize, marker: u8) -> Vec<u8> {
    let mut bin = vec![marker; PAGE];
    bin[..32].fill(0);
    bin[..4].copy_from_slice(b"hbin");
    bin[4..8].copy_from_slice(&((index * PAGE) as u32).to_le_bytes());
    bin[8..12].copy_from_slice(&(PAGE as u32).to_le_bytes());
    bin
}

pub(crate) fn put32(bytes: &mut [u8], offset: usize, value: u32) {
    bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
}

/// The first sector of a hive or log.
pub(crate) fn base(file_type: u32, sequences: (u32, u32), bins: usize) -> Vec<u8> {
    let mut base = vec![0; 512];
    base[..4].copy_from_slice(b"regf");
    for (offset, value) in [
        (20, 1),
        (24, 5),
        (28, file_type),
        (32, 1),
        (36, 32),
        (44, 1),
    ] {
        put32(&mut base, offset, value);
    }
    put32(&mut base, 40, (bins * PAGE) as u32);
    base_block::set_sequences(&mut base, sequences.0, sequences.1).unwrap();
    base
}

/// A hive with one bin for each marker.
pub(crate) fn hive(sequences: (u32, u32), markers: &[u8]) -> Vec<u8> {
    let mut hive = base(0, sequences, markers.len());
    hive.resize(PAGE, 0);
    for (index, &marker) in markers.iter().enumerate() {
        hive.extend(bin(index, marker));
    }
    hive
}

/// One log entry; `pages` are (index of the bin, marker).
pub(crate) fn entry(sequence: u32, bins: usize, pages: &[(usize, u8)]) -> Vec<u8> {
    let pages: Vec<(u32, Vec<u8>)> = pages
        .iter()
        .map(|&(index, marker)| ((index * PAGE) as u32, bin(index, marker)))
        .collect();
    entry_of(sequence, (bins * PAGE) as u32, 0, &pages)
}

/// One log entry, from raw fields.
pub(crate) fn entry_of(
    sequence: u32,
    bins_size: u32,
    flags: u32,
    pages: &[(u32, Vec<u8>)],
) -> Vec<u8> {
    let mut entry = vec![0; 40];
    for (offset, page) in pages {
        entry.extend(offset.to_le_bytes());
        entry.extend((page.len() as u32).to_le_bytes());
    }
    for (_, page) in pages {
        entry.extend(page);
    }
    entry.resize(entry.len().next_multiple_of(512), 0);
    let size = entry.len() as u32;
    entry[..4].copy_from_slice(b"HvLE");
    let fields = [size, flags, sequence, bins_size, pages.len() as u32];
    for (index, field) in fields.into_iter().enumerate() {
        put32(&mut entry, 4 + 4 * index, field);
    }
    hash(&mut entry);
    entry
}

/// Makes both hashes of an entry right.
pub(crate) fn hash(entry: &mut [u8]) {
    let pages = marvin32(&entry[40..]);
    entry[24..32].copy_from_slice(&pages.to_le_bytes());
    let header = marvin32(&entry[..32]);
    entry[32..40].copy_from_slice(&header.to_le_bytes());
}

/// A log of the new format.
pub(crate) fn new_log(sequence: u32, entries: &[Vec<u8>]) -> Vec<u8> {
    let mut log = base(6, (sequence, sequence), 1);
    log.extend(entries.concat());
    log
}

/// A log of the old format with whole bins: (index of the bin, marker), ascending.
pub(crate) fn old_log(sequence: u32, time: u64, bins: usize, pages: &[(usize, u8)]) -> Vec<u8> {
    let mut log = base(1, (sequence, sequence), bins);
    base_block::set_last_written(&mut log, time).unwrap();
    log.extend(b"DIRT");
    let mut bitmap = vec![0; bins];
    for &(index, _) in pages {
        bitmap[index] = 0xff;
    }
    log.extend(bitmap);
    log.resize(log.len().next_multiple_of(512), 0);
    for &(index, marker) in pages {
        let mut bin = bin(index, marker);
        if index == 0 {
            bin[20..28].copy_from_slice(&time.to_le_bytes());
        }
        log.extend(bin);
    }
    log
}

/// The marker of every bin, up to the hive bins data size.
pub(crate) fn markers(image: &[u8]) -> Vec<u8> {
    let size = u32::from_le_bytes(image[40..44].try_into().unwrap()) as usize;
    let bins = image[PAGE..PAGE + size].chunks(PAGE);
    bins.map(|bin| {
        assert!(bin[32..].iter().all(|&byte| byte == bin[32]), "a mixed bin");
        bin[32]
    })
    .collect()
}

/// Both sequence numbers, after checking that the base block is sound and the hive's.
pub(crate) fn sequences(image: &[u8]) -> (u32, u32) {
    let base = base_block::BaseBlock::parse(image).unwrap();
    assert!(base.checksum_valid());
    assert_eq!(u32::from(base.file_type), 0);
    (base.primary_sequence, base.secondary_sequence)
}

/// Recovers with the logs in every order; the outcome must not depend on it.
pub(crate) fn recovered(primary: &[u8], logs: &[(&str, &[u8])]) -> Recovered {
    let mut outcomes = Vec::new();
    for order in orders(logs.len()) {
        let files: Vec<LogFile<'_>> = order
            .iter()
            .map(|&index| LogFile {
                name: logs[index].0,
                bytes: logs[index].1,
            })
            .collect();
        outcomes.push(recover(primary.to_vec(), &files).unwrap());
    }
    let first = outcomes.swap_remove(0);
    for other in &outcomes {
        assert_eq!(other.state, first.state);
        assert_eq!(other.applied, first.applied);
        assert_eq!(other.notes, first.notes);
        assert_eq!(other.next_sequence, first.next_sequence);
        assert!(other.image == first.image, "images differ");
    }
    first
}

/// Every order of `count` things (up to three).
fn orders(count: usize) -> Vec<Vec<usize>> {
    match count {
        0 | 1 => vec![(0..count).collect()],
        2 => vec![vec![0, 1], vec![1, 0]],
        _ => vec![
            vec![0, 1, 2],
            vec![0, 2, 1],
            vec![1, 0, 2],
            vec![1, 2, 0],
            vec![2, 0, 1],
            vec![2, 1, 0],
        ],
    }
}

/// Asserts that a note contains all of `words`.
pub(crate) fn assert_noted(recovered: &Recovered, words: &[&str]) {
    let found = recovered
        .notes
        .iter()
        .any(|note| words.iter().all(|word| note.contains(word)));
    assert!(found, "no note with {words:?} in {:#?}", recovered.notes);
}
