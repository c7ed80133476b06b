// SPDX-License-Identifier: GPL-2.0-or-later
//! Folders: records of 32 bytes, a long name in the records before the one it belongs to.
//!
//! ```text
//! 0 name, 11 bytes (E5 deleted, 00 the end)   11 attributes   12 lower-case flags   20, 26 first cluster   28 length
//! long:  0 number from the end, 40 for the first   1 5 units   11 0F   13 checksum   14 6 units   28 2 units
//! ```
//!
//! A long name counts only when its parts are complete, in order, and carry the short name's checksum. Bytes above
//! 7F of a short name depend on a code page that the volume does not name; they are shown as U+FFFD.

use super::boot_sector::{Geometry, Width};
use super::table::Table;
use crate::bytes::{array, slice, u16_le, u32_le};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::volume::EntryKind;

/// The longest folder that the specification allows: 65536 records.
const LONGEST: u64 = 65_536 * 32;

const DIRECTORY: u8 = 0x10;
const VOLUME_LABEL: u8 = 0x08;
const LONG_NAME: u8 = 0x0f;

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The long name where there is one, else the short one.
    pub(super) name: String,
    /// The short name.
    pub(super) short: String,
    pub(super) attributes: u8,
    pub(super) first_cluster: u32,
    /// Length in bytes; 0 for folders.
    pub(super) len: u64,
    /// Where the record lies on the volume.
    pub(super) offset: u64,
}

impl Record {
    pub(super) fn kind(&self) -> EntryKind {
        match self.attributes & DIRECTORY {
            0 => EntryKind::File,
            _ => EntryKind::Directory,
        }
    }

    /// True when it goes by this name, without regard to case.
    fn is_called(&self, name: &str) -> bool {
        let same = |own: &str| {
            own.chars()
                .flat_map(char::to_uppercase)
                .eq(name.chars().flat_map(char::to_uppercase))
        };
        same(&self.name) || same(&self.short)
    }
}

/// A folder's content.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub(super) records: Vec<Record>,
    /// The root folder: the volume's label.
    pub(super) label: Option<String>,
    /// It has records that other readers may take for parts of a long name, and so give a file another name.
    pub(super) is_ambiguous: bool,
}

impl Folder {
    pub(super) fn find(&self, name: &str) -> Option<&Record> {
        self.records.iter().find(|record| record.is_called(name))
    }
}

/// Reads the root folder.
pub(super) fn read_root(device: &dyn Device, geometry: &Geometry) -> Result<Folder> {
    if geometry.width == Width::Fat32 {
        return read(device, geometry, geometry.root_cluster);
    }
    let len = usize::try_from(geometry.root_len).unwrap_or(usize::MAX);
    let mut content = vec![0; len];
    device.read_at(geometry.root_offset, &mut content)?;
    let root = geometry.root_offset;
    Ok(parse(&content, geometry, &|inside| {
        root.saturating_add(inside)
    }))
}

/// Reads the folder whose first cluster this is.
///
/// # Errors
/// `Damaged` when its chain is, or when it is longer than a folder can be.
pub(super) fn read(device: &dyn Device, geometry: &Geometry, first: u32) -> Result<Folder> {
    let cluster_size = u64::from(geometry.cluster_size);
    let most = LONGEST.div_ceil(cluster_size).saturating_add(1);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let chain = Table::new(device, geometry).chain(first, most)?;
    if chain.len() >= most {
        return Err(Error::damaged(
            format!("folder at cluster {first}"),
            geometry.offset_of(first),
            "at most 65536 records",
            "more",
        ));
    }
    let size = usize::try_from(cluster_size).unwrap_or(usize::MAX);
    let mut content = vec![0; size.saturating_mul(chain.len())];
    for (cluster, part) in chain.iter().zip(content.chunks_mut(size)) {
        device.read_at(geometry.offset_of(*cluster), part)?;
    }
    Ok(parse(&content, geometry, &|inside| {
        let number = inside.checked_div(cluster_size).unwrap_or(0);
        let cluster = usize::try_from(number).ok().and_then(|at| chain.get(at));
        let start = cluster.map_or(0, |cluster| geometry.offset_of(*cluster));
        start.saturating_add(inside.checked_rem(cluster_size).unwrap_or(0))
    }))
}

/// The records of a folder; `place` turns an offset in it into one on the volume.
fn parse(content: &[u8], geometry: &Geometry, place: &dyn Fn(u64) -> u64) -> Folder {
    let mut folder = Folder::default();
    let mut long = LongName::default();
    for (record, inside) in content.chunks_exact(32).zip((0_u64..).step_by(32)) {
        let [first] = array(record, 0).unwrap_or_default();
        let [attributes] = array(record, 11).unwrap_or_default();
        match first {
            0 => break,
            0xe5 => long = LongName::default(),
            _ if attributes & 0x3f == LONG_NAME => long.add(record),
            _ if attributes & VOLUME_LABEL != 0 => {
                folder.is_ambiguous |= attributes & LONG_NAME == LONG_NAME;
                long = LongName::default();
                let label = record.get(..11).unwrap_or_default();
                folder.label = folder.label.or_else(|| Some(oem(label)));
            }
            _ => {
                let name = std::mem::take(&mut long).finish(record);
                if let Some(found) = parse_short(record, name, geometry, place(inside)) {
                    folder.records.push(found);
                }
            }
        }
    }
    folder
}

/// A short record; `None` for `.` and `..`.
fn parse_short(
    record: &[u8],
    long: Option<String>,
    geometry: &Geometry,
    offset: u64,
) -> Option<Record> {
    let mut stem: [u8; 8] = array(record, 0)?;
    let ending: [u8; 3] = array(record, 8)?;
    if stem[0] == b'.' {
        return None;
    }
    // 05 stands for the letter E5, which would mean a deleted record.
    if stem[0] == 5 {
        stem[0] = 0xe5;
    }
    let [case] = array(record, 12)?;
    let letters = |bytes: &[u8], lower: bool| match lower {
        true => oem(bytes).to_lowercase(),
        false => oem(bytes),
    };
    let mut short = letters(&stem, case & 0x08 != 0);
    let ending = letters(&ending, case & 0x10 != 0);
    if !ending.is_empty() {
        short.push('.');
        short.push_str(&ending);
    }
    let [attributes] = array(record, 11)?;
    let high = match geometry.width {
        Width::Fat32 => u32::from(u16_le(record, 20)?),
        _ => 0,
    };
    let len = match attributes & DIRECTORY {
        0 => u64::from(u32_le(record, 28)?),
        _ => 0,
    };
    Some(Record {
        name: long.unwrap_or_else(|| short.clone()),
        short,
        attributes,
        first_cluster: high << 16 | u32::from(u16_le(record, 26)?),
        len,
        offset,
    })
}

/// Text of a code page that is not known, without the blanks that fill it up.
pub(super) fn oem(bytes: &[u8]) -> String {
    let letters = bytes.iter().map(|&byte| match byte {
        0x20..=0x7e => char::from(byte),
        _ => char::REPLACEMENT_CHARACTER,
    });
    letters.collect::<String>().trim_end().to_owned()
}

/// A long name that is being put together, from its end to its beginning.
#[derive(Debug, Default)]
struct LongName {
    /// The number that the next record must have; 0 when the name is complete.
    next: u8,
    checksum: u8,
    /// Its parts, the last one first.
    parts: Vec<[u16; 13]>,
}

impl LongName {
    fn add(&mut self, record: &[u8]) {
        const FIRST: u8 = 0x40;
        /// 255 units in parts of 13.
        const MOST: u8 = 20;
        let ([number], [checksum]) = (
            array(record, 0).unwrap_or_default(),
            array(record, 13).unwrap_or_default(),
        );
        if number & FIRST != 0 {
            *self = LongName {
                next: number & !FIRST,
                checksum,
                parts: Vec::new(),
            };
        }
        let expected = self.next;
        let fits = (1..=MOST).contains(&expected)
            && number & !FIRST == expected
            && checksum == self.checksum;
        if !fits {
            *self = LongName::default();
            return;
        }
        let mut part = [0; 13];
        let places = (1..11)
            .step_by(2)
            .chain((14..26).step_by(2))
            .chain([28, 30]);
        for (unit, place) in part.iter_mut().zip(places) {
            *unit = u16_le(record, place).unwrap_or_default();
        }
        self.parts.push(part);
        self.next = expected.saturating_sub(1);
    }

    /// The name, when it is whole and belongs to this short record.
    fn finish(self, record: &[u8]) -> Option<String> {
        let short = slice(record, 0, 11)?;
        let sum = short
            .iter()
            .fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        if self.parts.is_empty() || self.next != 0 || sum != self.checksum {
            return None;
        }
        let units = self.parts.iter().rev().flatten().copied();
        let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
        String::from_utf16(&units)
            .ok()
            .filter(|name| !name.is_empty())
    }
}
