// SPDX-License-Identifier: GPL-2.0-or-later
//! Where the structures of a disk are, and what makes each of them whole again after it was damaged: checksums and
//! torn-write protection. Damage that is not sealed is refused at the door, and nothing behind it is tried.

/// What a disk is read and written through.
pub trait Bytes {
    /// Length in bytes.
    fn len(&self) -> u64;
    /// Fills `buffer` with what is at `offset`.
    fn read(&self, offset: u64, buffer: &mut [u8]);
    /// Overwrites what is at `offset`.
    fn write(&mut self, offset: u64, data: &[u8]);
}

/// A kind of structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Without a checksum: a boot sector, a table of blocks, a FAT, descriptors in `$SDS`.
    Plain,
    /// `FILE`, with torn-write protection.
    MftRecord,
    /// `INDX`, the same.
    IndexBlock,
    /// `RSTR` and `RCRD`, the same.
    JournalPage,
    /// `regf`: the words of the first 508 bytes, combined, in the next.
    HiveBase,
    /// `hbin`.
    HiveBin,
    /// `ElfFile` and `ElfChnk`, whose checksums nobody asks for.
    EventLog,
    /// `conectix`: the complement of the sum of its bytes at 64.
    VhdFooter,
    /// `cxsparse`: the same at 36.
    VhdHeader,
    /// `head`, `regi` and `loge` of a VHDX: CRC-32C at 4.
    VhdxChecked,
    /// `EFI PART` with its entries: CRC-32 of the entries at 88 of the header, and of the header at 16. Where both are
    /// in the place.
    Gpt {
        /// The header.
        header: usize,
        /// The entries.
        entries: usize,
    },
}

/// A structure on a disk.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub kind: Kind,
    pub offset: u64,
    pub len: usize,
}

const SECTOR: usize = 512;
/// More of one structure is not damaged.
const LONGEST: usize = 64 << 10;

fn u16_le(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn u32_le(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_le(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Every structure of the disk, by kind. Looks at each sector once.
pub fn find(disk: &dyn Bytes) -> Vec<Place> {
    let mut found = Vec::new();
    let mut piece = vec![0; 1 << 20];
    let mut at = 0;
    while at < disk.len() {
        let len = piece.len().min((disk.len() - at) as usize);
        disk.read(at, &mut piece[..len]);
        // Most of a disk is empty.
        if piece[..len].iter().any(|byte| *byte != 0) {
            for start in (0..len.saturating_sub(SECTOR - 1)).step_by(SECTOR) {
                look(at + start as u64, &piece[start..start + SECTOR], &mut found);
            }
        }
        at += len as u64;
    }
    found.retain(|place: &Place| {
        let end = place.offset.checked_add(place.len as u64);
        place.len > 0 && end.is_some_and(|end| end <= disk.len())
    });
    found.sort_by_key(|place| (place.kind, place.offset));
    found
}

/// Looks at one sector for the start of a structure.
fn look(offset: u64, sector: &[u8], found: &mut Vec<Place>) {
    let mut add = |kind, offset, len: usize| {
        let len = len.min(LONGEST);
        found.push(Place { kind, offset, len });
    };
    match &sector[..4] {
        b"FILE" if u16_le(sector, 0x16) & 1 == 1 => {
            add(Kind::MftRecord, offset, u32_le(sector, 0x1C) as usize);
        }
        b"INDX" => add(
            Kind::IndexBlock,
            offset,
            u32_le(sector, 0x20) as usize + 0x18,
        ),
        b"RSTR" | b"RCRD" => add(Kind::JournalPage, offset, 4096),
        b"regf" => add(Kind::HiveBase, offset, SECTOR),
        b"hbin" => add(Kind::HiveBin, offset, u32_le(sector, 8) as usize),
        b"head" => add(Kind::VhdxChecked, offset, 4096),
        b"regi" => {
            add(Kind::VhdxChecked, offset, LONGEST);
            // The regions that the table names: the block table and the metadata.
            for entry in [16, 48] {
                let region = u64_le(sector, entry + 16);
                add(Kind::Plain, region, 4096);
                add(Kind::Plain, region.saturating_add(LONGEST as u64), 4096);
            }
        }
        b"loge" => add(Kind::VhdxChecked, offset, u32_le(sector, 8) as usize),
        _ => {}
    }
    match &sector[..8] {
        b"ElfFile\0" => add(Kind::EventLog, offset, 128),
        b"ElfChnk\0" => add(Kind::EventLog, offset, LONGEST),
        b"conectix" => add(Kind::VhdFooter, offset, SECTOR),
        b"cxsparse" => {
            add(Kind::VhdHeader, offset, 1024);
            let table = u64::from_be_bytes(sector[16..24].try_into().unwrap());
            add(Kind::Plain, table, SECTOR);
        }
        b"EFI PART" => {
            // The header stands behind the sector of the protective table, or in the last one.
            let own = u64_le(sector, 24);
            let sector_size = offset.checked_div(own).unwrap_or(0);
            let entries = u64_le(sector, 72).saturating_mul(sector_size);
            let len = u32_le(sector, 80).saturating_mul(u32_le(sector, 84)) as usize;
            let start = entries.min(offset);
            let kind = Kind::Gpt {
                header: (offset - start) as usize,
                entries: (entries - start) as usize,
            };
            let end = (offset + SECTOR as u64).max(entries.saturating_add(len as u64));
            if sector_size >= SECTOR as u64 && end - start <= LONGEST as u64 {
                add(kind, start, (end - start) as usize);
            }
        }
        _ => {}
    }
    // The first descriptor of $SDS has the id 256 and lies at its start.
    if u32_le(sector, 4) == 0x100 && u64_le(sector, 8) == 0 && u32_le(sector, 0) != 0 {
        add(Kind::Plain, offset, 4096);
    }
    if sector[510..] == [0x55, 0xAA] {
        add(Kind::Plain, offset, SECTOR);
        if sector[0x36..0x39] == *b"FAT" || sector[0x52..0x55] == *b"FAT" {
            let reserved = u16_le(sector, 0x0E) as u64 * SECTOR as u64;
            let tables = u64::from(sector[0x10]);
            let sectors = match u16_le(sector, 0x16) {
                0 => u64::from(u32_le(sector, 0x24)),
                sectors => sectors as u64,
            };
            let root = offset + reserved + tables * sectors * SECTOR as u64;
            add(Kind::Plain, offset + reserved, 1024);
            add(Kind::Plain, root, 4096);
        }
    }
}

/// Takes the protection off, so that what is changed is what a reader sees.
pub fn unseal(kind: Kind, bytes: &mut [u8]) {
    if !matches!(kind, Kind::MftRecord | Kind::IndexBlock | Kind::JournalPage) {
        return;
    }
    let Some(array) = sequence(bytes) else {
        return;
    };
    for (index, sector) in bytes.chunks_exact_mut(SECTOR).enumerate() {
        let from = 2 + index * 2;
        sector[SECTOR - 2..].copy_from_slice(&array[from..from + 2]);
    }
}

/// Puts protection and checksums right.
pub fn seal(kind: Kind, bytes: &mut [u8]) {
    match kind {
        Kind::Plain | Kind::HiveBin | Kind::EventLog => {}
        Kind::MftRecord | Kind::IndexBlock | Kind::JournalPage => protect(bytes),
        Kind::HiveBase => {
            let words = bytes[..508].as_chunks::<4>().0;
            let sum = words
                .iter()
                .fold(0, |sum, word| sum ^ u32::from_le_bytes(*word));
            let sum = match sum {
                0 => 1,
                u32::MAX => u32::MAX - 1,
                sum => sum,
            };
            bytes[508..512].copy_from_slice(&sum.to_le_bytes());
        }
        Kind::VhdFooter | Kind::VhdHeader => {
            let at = if kind == Kind::VhdFooter { 64 } else { 36 };
            bytes[at..at + 4].fill(0);
            let sum = bytes
                .iter()
                .fold(0_u32, |sum, byte| sum.wrapping_add((*byte).into()));
            bytes[at..at + 4].copy_from_slice(&(!sum).to_be_bytes());
        }
        Kind::VhdxChecked => {
            bytes[4..8].fill(0);
            let sum = crc32c::crc32c(bytes);
            bytes[4..8].copy_from_slice(&sum.to_le_bytes());
        }
        Kind::Gpt { header, entries } => {
            let count = u32_le(bytes, header + 80).saturating_mul(u32_le(bytes, header + 84));
            if let Some(table) = bytes.get(entries..entries.saturating_add(count as usize)) {
                let sum = crc32fast::hash(table);
                bytes[header + 88..header + 92].copy_from_slice(&sum.to_le_bytes());
            }
            let len = (u32_le(bytes, header + 12) as usize).min(bytes.len() - header);
            bytes[header + 16..header + 20].fill(0);
            let sum = crc32fast::hash(&bytes[header..header + len]);
            bytes[header + 16..header + 20].copy_from_slice(&sum.to_le_bytes());
        }
    }
}

/// The update sequence array, where there is one for all sectors.
fn sequence(bytes: &[u8]) -> Option<Vec<u8>> {
    let (at, count) = (u16_le(bytes, 4), u16_le(bytes, 6));
    let array = bytes.get(at..at + count * 2)?;
    (count == bytes.len() / SECTOR + 1 && at + count * 2 <= SECTOR - 2).then(|| array.to_vec())
}

fn protect(bytes: &mut [u8]) {
    let Some(mut array) = sequence(bytes) else {
        return;
    };
    for (index, sector) in bytes.chunks_exact_mut(SECTOR).enumerate() {
        let to = 2 + index * 2;
        array[to..to + 2].copy_from_slice(&sector[SECTOR - 2..]);
        sector[SECTOR - 2..].copy_from_slice(&array[..2]);
    }
    let at = u16_le(bytes, 4);
    bytes[at..at + array.len()].copy_from_slice(&array);
}
