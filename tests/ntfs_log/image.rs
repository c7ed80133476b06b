// SPDX-License-Identifier: GPL-2.0-or-later
//! Where the structures of a small volume are, found without the code under test: MFT records, blocks of indexes, bitmaps, $SDS.

use std::collections::BTreeMap;

use super::writer::restore;

/// What a log record can be about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Records of $MFT.
    Mft,
    /// $Bitmap.
    Clusters,
    /// The bitmap of $MFT.
    Records,
    /// $SDS.
    Descriptors,
    /// Blocks of an index: the file with its sequence number, and the name.
    Index(u64, String),
}

/// Clusters in order: the first and how many.
pub type Runs = Vec<(u64, u64)>;

/// A volume, taken apart.
#[derive(Clone, Debug)]
pub struct Parts {
    pub cluster: usize,
    pub record: usize,
    /// Where each target is.
    pub runs: BTreeMap<Target, Runs>,
    /// Length of an index block of each index.
    pub blocks: BTreeMap<Target, usize>,
    /// Which blocks of each index are used.
    pub used: BTreeMap<Target, Vec<bool>>,
    /// Clusters of $LogFile.
    pub journal: Runs,
    /// Clusters of $MFTMirr.
    pub mirror: Runs,
}

pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Where the attributes of a record are: offset and length of each. Nothing where there is no record in memory.
pub fn attributes(record: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = usize::from(u16_at(record, 0x14));
    while u32_at(record, at) != u32::MAX {
        let len = u32_at(record, at + 4) as usize;
        found.push((at, len));
        at += len;
    }
    found
}

/// The name of an attribute.
pub fn name(attribute: &[u8]) -> String {
    let at = usize::from(u16_at(attribute, 0x0A));
    let units = (0..usize::from(attribute[9])).map(|slot| u16_at(attribute, at + 2 * slot));
    String::from_utf16_lossy(&units.collect::<Vec<_>>())
}

/// The value of a resident attribute.
pub fn value(attribute: &[u8]) -> &[u8] {
    let at = usize::from(u16_at(attribute, 0x14));
    &attribute[at..at + u32_at(attribute, 0x10) as usize]
}

/// The clusters of a non-resident attribute.
pub fn runs(attribute: &[u8]) -> Runs {
    let mut at = usize::from(u16_at(attribute, 0x20));
    let (mut found, mut lcn) = (Vec::new(), 0_i64);
    while at < attribute.len() && attribute[at] != 0 {
        let (length, offset) = (
            usize::from(attribute[at] & 15),
            usize::from(attribute[at] >> 4),
        );
        let number = |at: usize, len: usize, signed: bool| {
            let mut bytes = [0; 8];
            bytes[..len].copy_from_slice(&attribute[at..at + len]);
            if signed && len > 0 && attribute[at + len - 1] & 0x80 != 0 {
                bytes[len..].fill(0xFF);
            }
            i64::from_le_bytes(bytes)
        };
        lcn += number(at + 1 + length, offset, true);
        if offset > 0 {
            found.push((
                lcn.cast_unsigned(),
                number(at + 1, length, false).cast_unsigned(),
            ));
        }
        at += 1 + length + offset;
    }
    found
}

/// `len` bytes at byte `at` of what these clusters hold.
pub fn pieces(runs: &[(u64, u64)], cluster: usize, at: usize, len: usize) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut start = 0;
    for (lcn, count) in runs {
        let end = start + *count as usize * cluster;
        let (from, to) = (at.max(start), (at + len).min(end));
        if from < to {
            found.push((*lcn as usize * cluster + from - start, to - from));
        }
        start = end;
    }
    found
}

impl Parts {
    pub fn of(image: &[u8]) -> Parts {
        let cluster = usize::from(u16_at(image, 0x0B)) * usize::from(image[0x0D]);
        let record = match image[0x40].cast_signed() {
            clusters @ 1.. => clusters.unsigned_abs() as usize * cluster,
            power => 1 << power.unsigned_abs(),
        };
        let start = u64_at(image, 0x30) as usize * cluster;
        let mut parts = Parts {
            cluster,
            record,
            runs: BTreeMap::from([(Target::Mft, vec![(start as u64 / cluster as u64, 8)])]),
            blocks: BTreeMap::new(),
            used: BTreeMap::new(),
            journal: Vec::new(),
            mirror: Vec::new(),
        };
        let first = parts.record(image, 0).unwrap();
        parts
            .runs
            .insert(Target::Mft, of(&first, 0x80, "").unwrap());
        parts
            .runs
            .insert(Target::Records, of(&first, 0xB0, "").unwrap());
        let runs = |number, name| of(&parts.record(image, number).unwrap(), 0x80, name).unwrap();
        let (bitmap, descriptors) = (runs(6, ""), runs(9, "$SDS"));
        (parts.mirror, parts.journal) = (runs(1, ""), runs(2, ""));
        parts.runs.insert(Target::Clusters, bitmap);
        parts.runs.insert(Target::Descriptors, descriptors);
        for number in 0..parts.records() {
            let Some(found) = parts.record(image, number) else {
                continue;
            };
            if u16_at(&found, 0x16) & 1 == 0 {
                continue;
            }
            for (at, len) in attributes(&found) {
                let attribute = &found[at..at + len];
                if u32_at(attribute, 0) != 0x90 {
                    continue;
                }
                let name = name(attribute);
                let file = number as u64 | u64::from(u16_at(&found, 0x10)) << 48;
                let target = Target::Index(file, name.clone());
                let Some(allocation) = of(&found, 0xA0, &name) else {
                    continue;
                };
                let block = u32_at(value(attribute), 8) as usize;
                let bits = bits(image, &found, &name, cluster);
                let count =
                    allocation.iter().map(|run| run.1 as usize).sum::<usize>() * cluster / block;
                let used = (0..count).map(|slot| {
                    bits.get(slot / 8)
                        .is_some_and(|byte| byte >> (slot % 8) & 1 != 0)
                });
                parts.used.insert(target.clone(), used.collect());
                parts.blocks.insert(target.clone(), block);
                parts.runs.insert(target, allocation);
            }
        }
        parts
    }

    /// How many records $MFT has.
    pub fn records(&self) -> usize {
        self.len(&Target::Mft) / self.record
    }

    /// Bytes in the clusters of a target.
    pub fn len(&self, target: &Target) -> usize {
        self.runs[target]
            .iter()
            .map(|run| run.1 as usize)
            .sum::<usize>()
            * self.cluster
    }

    /// The bytes of a target.
    pub fn read(&self, image: &[u8], target: &Target, at: usize, len: usize) -> Vec<u8> {
        let all = pieces(&self.runs[target], self.cluster, at, len);
        all.iter()
            .flat_map(|(at, len)| image[*at..at + len].to_vec())
            .collect()
    }

    /// Overwrites them.
    pub fn write(&self, image: &mut [u8], target: &Target, at: usize, data: &[u8]) {
        let mut rest = data;
        for (at, len) in pieces(&self.runs[target], self.cluster, at, data.len()) {
            image[at..at + len].copy_from_slice(&rest[..len]);
            rest = &rest[len..];
        }
        assert!(rest.is_empty());
    }

    /// The LCN of a cluster of a target.
    pub fn lcn(&self, target: &Target, vcn: u64) -> u64 {
        let place = pieces(
            &self.runs[target],
            self.cluster,
            vcn as usize * self.cluster,
            1,
        )[0]
        .0;
        (place / self.cluster) as u64
    }

    /// A structure in memory; `None` where there is none, or a torn one.
    pub fn structure(&self, image: &[u8], target: &Target, at: usize) -> Option<Vec<u8>> {
        let (len, magic) = match target {
            Target::Mft => (self.record, b"FILE"),
            _ => (self.blocks[target], b"INDX"),
        };
        let mut found = self.read(image, target, at, len);
        let good = found.len() == len && found.starts_with(magic) && restore(&mut found);
        good.then_some(found)
    }

    /// A record in memory.
    pub fn record(&self, image: &[u8], number: usize) -> Option<Vec<u8>> {
        self.structure(image, &Target::Mft, number * self.record)
    }

    /// What is at each byte of the volume that a log can be about: nothing at the bytes of the journal and of files.
    pub fn known(&self, len: usize) -> Vec<bool> {
        let mut known = vec![false; len];
        for runs in self.runs.values().chain([&self.mirror, &self.journal]) {
            for (lcn, count) in runs {
                let at = *lcn as usize * self.cluster;
                known[at..at + *count as usize * self.cluster].fill(true);
            }
        }
        known
    }
}

/// The clusters of an attribute of a record; `None` where it has none in clusters.
fn of(record: &[u8], kind: u32, wanted: &str) -> Option<Runs> {
    attributes(record).into_iter().find_map(|(at, len)| {
        let attribute = &record[at..at + len];
        let found = u32_at(attribute, 0) == kind && attribute[8] == 1 && name(attribute) == wanted;
        found.then(|| runs(attribute))
    })
}

/// The bits of the blocks of an index.
fn bits(image: &[u8], record: &[u8], wanted: &str, cluster: usize) -> Vec<u8> {
    for (at, len) in attributes(record) {
        let attribute = &record[at..at + len];
        if u32_at(attribute, 0) != 0xB0 || name(attribute) != wanted {
            continue;
        }
        if attribute[8] == 0 {
            return value(attribute).to_vec();
        }
        let runs = runs(attribute);
        let all = pieces(&runs, cluster, 0, u64_at(attribute, 0x30) as usize);
        return all
            .iter()
            .flat_map(|(at, len)| image[*at..at + len].to_vec())
            .collect();
    }
    Vec::new()
}
