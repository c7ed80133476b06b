// SPDX-License-Identifier: GPL-2.0-or-later
//! Writes `$LogFile` as Windows lays it out: restart pages, record pages and their copies, records across pages and
//! across the end of the circular area, checkpoints with their tables.
//!
//! Shared by the unit tests of the journal and the tests of whole volumes; it knows nothing of the code that reads it.
//! Numbers are those of the format: see `src/volume/ntfs/logfile.rs` and the files beside it.

#![allow(
    missing_docs,
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

pub use super::checkpoint::{DirtyPage, OpenAttribute, Tables, Transaction, attribute_at};
use super::checkpoint::{attribute_len, table};

pub const PAGE: usize = 0x1000;
const DATA: usize = 0x40;
const HEADER: usize = 0x30;
const AREA: usize = 0x30;
const CLIENT: usize = AREA + 0x40;

/// The shape of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 1.1: two tail pages.
    Tail,
    /// 2.0: two banks of 16 fast pages.
    Fast,
}

impl Version {
    /// The first circular page.
    pub fn first(self) -> u64 {
        match self {
            Version::Tail => 0x4000,
            Version::Fast => 0x2_2000,
        }
    }
}

/// One record.
#[derive(Clone, Debug)]
pub struct Record {
    pub checkpoint: bool,
    pub transaction: u32,
    pub previous: u64,
    pub undo_next: u64,
    pub flags: u16,
    pub data: Vec<u8>,
}

/// The bytes of one direction of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    None,
    Bytes(Vec<u8>),
    /// So many bytes that are not stored, as the record's flags say.
    Absent(u16),
    /// So many bytes that are said to lie past the end of the record.
    Beyond(u16),
    /// Undo only: the very bytes of the redo.
    Shared,
}

impl Payload {
    pub fn of(bytes: &[u8]) -> Payload {
        match bytes.is_empty() {
            true => Payload::None,
            false => Payload::Bytes(bytes.to_vec()),
        }
    }
}

/// An action: the client data of a record.
#[derive(Clone, Debug)]
pub struct Action {
    pub redo: (u16, Payload),
    pub undo: (u16, Payload),
    pub target: u16,
    pub vcn: u64,
    pub lcns: Vec<u64>,
    pub record_offset: u16,
    pub attribute_offset: u16,
    /// In units of 512 bytes.
    pub cluster_offset: u16,
}

impl Action {
    /// An action without target.
    pub fn bare(redo: u16, undo: u16) -> Action {
        Action {
            redo: (redo, Payload::None),
            undo: (undo, Payload::None),
            target: 0,
            vcn: 0,
            lcns: Vec::new(),
            record_offset: 0,
            attribute_offset: 0,
            cluster_offset: 0,
        }
    }

    /// The record of a transaction.
    pub fn record(&self, transaction: u32, previous: u64, undo_next: u64) -> Record {
        let mut data = vec![0; 0x20 + 8 * self.lcns.len().max(1)];
        let mut flags = 0;
        put(&mut data, 0, &self.redo.0.to_le_bytes());
        put(&mut data, 2, &self.undo.0.to_le_bytes());
        put(&mut data, 0x0C, &self.target.to_le_bytes());
        put(&mut data, 0x0E, &(self.lcns.len() as u16).to_le_bytes());
        put(&mut data, 0x10, &self.record_offset.to_le_bytes());
        put(&mut data, 0x12, &self.attribute_offset.to_le_bytes());
        put(&mut data, 0x14, &self.cluster_offset.to_le_bytes());
        put(&mut data, 0x18, &self.vcn.to_le_bytes());
        for (slot, lcn) in self.lcns.iter().enumerate() {
            put(&mut data, 0x20 + 8 * slot, &lcn.to_le_bytes());
        }
        let mut of_redo = (0, 0);
        for (field, payload, absent) in [(4, &self.redo.1, 2), (8, &self.undo.1, 4)] {
            let (at, len) = match payload {
                Payload::None => (0, 0),
                Payload::Bytes(bytes) => {
                    let at = data.len();
                    data.extend_from_slice(bytes);
                    data.resize(data.len().next_multiple_of(8), 0);
                    (at, bytes.len())
                }
                Payload::Absent(len) => {
                    flags |= absent;
                    (data.len(), usize::from(*len))
                }
                Payload::Beyond(len) => (0xFF00, usize::from(*len)),
                Payload::Shared => of_redo,
            };
            of_redo = (at, len);
            put(&mut data, field, &(at as u16).to_le_bytes());
            put(&mut data, field + 2, &(len as u16).to_le_bytes());
        }
        Record {
            checkpoint: false,
            transaction,
            previous,
            undo_next,
            flags,
            data,
        }
    }
}

/// One record page, as it is in memory.
#[derive(Clone, Debug)]
struct LogPage {
    place: u64,
    bytes: Vec<u8>,
    last: u64,
    last_end: u64,
    ends: bool,
    next: usize,
}

/// Where the newest record page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newest {
    /// In place, whole.
    InPlace,
    /// Only as a copy, in this tail or fast page; in place there is nothing.
    Copy(usize),
    /// As a copy; the write in place was torn.
    TornInPlace(usize),
    /// In place; the write of the copy was torn.
    TornCopy(usize),
    /// The write in place was torn, and there is no copy: it is lost.
    Lost,
}

/// The fields of a restart page that differ from log to log.
#[derive(Clone, Copy, Debug)]
pub struct Restart {
    pub current: u64,
    pub oldest: u64,
    pub checkpoint: u64,
    pub in_use: u16,
    pub flags: u16,
}

impl Restart {
    /// A log that was left open.
    pub fn open(current: u64, oldest: u64, checkpoint: u64) -> Restart {
        Restart {
            current,
            oldest,
            checkpoint,
            in_use: 0,
            flags: 0,
        }
    }
}

/// A log that grows record by record.
#[derive(Clone, Debug)]
pub struct Log {
    pub version: Version,
    pub usable: u64,
    /// Bits of an LSN that hold the place.
    pub place_bits: u32,
    pages: Vec<LogPage>,
    /// Where the next page goes, and its sequence.
    next_page: (u64, u64),
    sequence: u64,
    /// LSN of every record, in order.
    pub lsns: Vec<u64>,
}

impl Log {
    /// An empty log whose first record page is number `first` of the circular area, in this sequence.
    pub fn new(version: Version, usable: u64, first: u64, sequence: u64) -> Log {
        assert!(usable.is_multiple_of(PAGE as u64) && usable >= 0x3_2000);
        let bit_length = 64 - usable.leading_zeros();
        Log {
            version,
            usable,
            place_bits: 64 - (67 - bit_length),
            pages: Vec::new(),
            next_page: (version.first() + first * PAGE as u64, sequence),
            sequence,
            lsns: Vec::new(),
        }
    }

    /// The newest record.
    pub fn end(&self) -> u64 {
        self.lsns.last().copied().unwrap_or(0)
    }

    /// How many record pages there are.
    pub fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// Where the newest page belongs.
    pub fn newest_place(&self) -> u64 {
        self.pages.last().unwrap().place
    }

    fn turn_page(&mut self) {
        let (place, sequence) = self.next_page;
        self.sequence = sequence;
        self.next_page = match place + PAGE as u64 {
            next if next < self.usable => (next, sequence),
            _ => (self.version.first(), sequence + 1),
        };
        self.pages.retain(|page| page.place != place);
        let mut bytes = vec![0; PAGE];
        put(&mut bytes, 0, b"RCRD\x28\0\x09\0");
        self.pages.push(LogPage {
            place,
            bytes,
            last: 0,
            last_end: 0,
            ends: false,
            next: DATA,
        });
    }

    /// Adds a record; its LSN.
    pub fn add(&mut self, record: &Record) -> u64 {
        assert!(record.data.len().is_multiple_of(8));
        if self
            .pages
            .last()
            .is_none_or(|page| page.next + HEADER > PAGE)
        {
            self.turn_page();
        }
        let page = self.pages.last().unwrap();
        let lsn = (page.place + page.next as u64) >> 3 | self.sequence << self.place_bits;
        let mut bytes = vec![0; HEADER];
        put(&mut bytes, 0, &lsn.to_le_bytes());
        put(&mut bytes, 8, &record.previous.to_le_bytes());
        put(&mut bytes, 0x10, &record.undo_next.to_le_bytes());
        put(&mut bytes, 0x18, &(record.data.len() as u32).to_le_bytes());
        put(&mut bytes, 0x20, &[if record.checkpoint { 2 } else { 1 }]);
        put(&mut bytes, 0x24, &record.transaction.to_le_bytes());
        bytes.extend_from_slice(&record.data);
        let mut rest: &[u8] = &bytes;
        let mut pages = 0;
        loop {
            let page = self.pages.last_mut().unwrap();
            let len = rest.len().min(PAGE - page.next);
            put(&mut page.bytes, page.next, &rest[..len]);
            page.next += len;
            page.last = lsn;
            rest = &rest[len..];
            pages += 1;
            if rest.is_empty() {
                page.last_end = lsn;
                page.ends = true;
                page.next = page.next.next_multiple_of(8);
                break;
            }
            self.turn_page();
        }
        let flags = record.flags | u16::from(pages > 1);
        let first = self.pages.len() - pages;
        let at = ((lsn << 3) & (PAGE as u64 - 1)) as usize;
        put(
            &mut self.pages[first].bytes,
            at + 0x28,
            &flags.to_le_bytes(),
        );
        self.lsns.push(lsn);
        lsn
    }

    /// Adds a checkpoint and the dumps of its tables; the LSN of the checkpoint. `start`: what the log's end was when it
    /// began, 0 for the first one.
    pub fn checkpoint(&mut self, major: u32, start: u64, tables: &Tables, cluster: u32) -> u64 {
        // The checkpoint names the LSNs of its tables, which are known once they are there.
        let mut lsns = Vec::new();
        loop {
            let records = Log::checkpoint_records(major, start, tables, cluster, &lsns);
            let lsn = self.add(&records[lsns.len()]);
            if lsns.len() + 1 == records.len() {
                return lsn;
            }
            lsns.push(lsn);
        }
    }

    /// The records of a checkpoint, the checkpoint last, where the dumps of its tables have these LSNs.
    pub fn checkpoint_records(
        major: u32,
        start: u64,
        tables: &Tables,
        cluster: u32,
        lsns: &[u64],
    ) -> Vec<Record> {
        let attributes = tables.attributes.iter();
        let attributes = attributes.map(|found| (usize::from(found.at), found.entry(major)));
        let attributes = attributes.collect::<Vec<_>>();
        let mut names = Vec::new();
        for found in tables
            .attributes
            .iter()
            .filter(|found| !found.name.is_empty())
        {
            let name = found.utf16();
            names.extend(found.at.to_le_bytes());
            names.extend((name.len() as u16).to_le_bytes());
            names.extend(name);
            names.extend([0, 0]);
        }
        if !names.is_empty() {
            names.extend([0; 4]);
        }
        let pages: Vec<Vec<u8>> = tables.pages.iter().map(|page| page.entry(major)).collect();
        let page_len = pages.first().map_or(0, Vec::len);
        let pages = pages.into_iter().enumerate();
        let pages: Vec<_> = pages
            .map(|(slot, page)| (0x18 + slot * page_len, page))
            .collect();
        let transactions = tables.transactions.iter();
        let transactions = transactions.map(|found| (found.id as usize, found.entry()));
        let transactions = transactions.collect::<Vec<_>>();
        let of = |entries: &[(usize, Vec<u8>)], len: usize| match entries.is_empty() {
            true => Vec::new(),
            false => table(entries, len),
        };
        let dumps = [
            (0x1D, of(&attributes, usize::from(attribute_len(major)))),
            (0x1E, names),
            (0x1F, of(&pages, page_len)),
            (0x20, of(&transactions, 0x28)),
        ];
        let mut data = vec![0; 0x70];
        put(&mut data, 0, &major.to_le_bytes());
        put(&mut data, 8, &start.to_le_bytes());
        put(&mut data, 0x50, &cluster.to_le_bytes());
        // The dumps have the number of a transaction that is free.
        let number = (0..).map(|slot| 0x18 + slot * 0x28);
        let busy = |id: &u32| tables.transactions.iter().any(|found| found.id == *id);
        let number = number.into_iter().find(|id| !busy(id)).unwrap();
        let mut records = Vec::new();
        for (slot, (code, dump)) in dumps.iter().enumerate() {
            if dump.is_empty() {
                continue;
            }
            let lsn = lsns.get(records.len()).copied().unwrap_or(0);
            put(&mut data, 0x10 + 8 * slot, &lsn.to_le_bytes());
            put(
                &mut data,
                0x30 + 4 * slot,
                &(dump.len() as u32).to_le_bytes(),
            );
            let mut action = Action::bare(*code, 0);
            action.redo.1 = Payload::of(dump);
            records.push(action.record(number, 0, 0));
        }
        records.push(Record {
            checkpoint: true,
            transaction: 0,
            previous: 0,
            undo_next: 0,
            flags: 0,
            data,
        });
        records
    }

    /// The file: both restart pages the same, the newest record page where `newest` says, FF wherever nothing was
    /// written.
    pub fn file(&self, restart: &Restart, newest: Newest) -> Vec<u8> {
        let mut file = vec![0xFF; self.usable as usize];
        let page = self.restart_page(restart);
        put(&mut file, 0, &page);
        put(&mut file, PAGE, &page);
        let Some((last, before)) = self.pages.split_last() else {
            return file;
        };
        for page in before {
            put(&mut file, page.place as usize, &page.protected(None));
        }
        let copy_at = |slot: usize| (2 + slot) * PAGE;
        let tear = |page: &mut Vec<u8>| page[PAGE - 1] ^= 0x55;
        let mut in_place = last.protected(None);
        let mut copy = last.protected(Some(self.version));
        match newest {
            Newest::InPlace => put(&mut file, last.place as usize, &in_place),
            Newest::Copy(slot) => put(&mut file, copy_at(slot), &copy),
            Newest::TornInPlace(slot) => {
                tear(&mut in_place);
                put(&mut file, last.place as usize, &in_place);
                put(&mut file, copy_at(slot), &copy);
            }
            Newest::TornCopy(slot) => {
                tear(&mut copy);
                put(&mut file, last.place as usize, &in_place);
                put(&mut file, copy_at(slot), &copy);
            }
            Newest::Lost => {
                tear(&mut in_place);
                put(&mut file, last.place as usize, &in_place);
            }
        }
        file
    }

    /// The newest page as it is on disk, in place.
    pub fn newest_page(&self) -> Vec<u8> {
        self.pages.last().unwrap().protected(None)
    }

    /// The newest page as it is on disk, as a copy.
    pub fn newest_copy(&self) -> Vec<u8> {
        self.pages.last().unwrap().protected(Some(self.version))
    }

    /// A restart page as it is on disk.
    pub fn restart_page(&self, restart: &Restart) -> Vec<u8> {
        let mut page = vec![0; PAGE];
        put(&mut page, 0, b"RSTR\x1E\0\x09\0");
        put(
            &mut page,
            0x10,
            &[0, 0x10, 0, 0, 0, 0x10, 0, 0, AREA as u8, 0],
        );
        let version: [u8; 4] = match self.version {
            Version::Tail => [1, 0, 1, 0],
            Version::Fast => [0, 0, 2, 0],
        };
        put(&mut page, 0x1A, &version);
        let area: [(usize, &[u8]); 11] = [
            (0, &restart.current.to_le_bytes()),
            (8, &[1, 0, 0xFF, 0xFF]),
            (0x0C, &restart.in_use.to_le_bytes()),
            (0x0E, &restart.flags.to_le_bytes()),
            (0x10, &(64 - self.place_bits).to_le_bytes()),
            (0x14, &[0xE0, 0, 0x40, 0]),
            (0x18, &self.usable.to_le_bytes()),
            (0x20, &0x70_u32.to_le_bytes()),
            (0x24, &[0x30, 0, 0x40, 0]),
            (0x28, &7_u32.to_le_bytes()),
            (0x2C, &[0; 4]),
        ];
        for (at, field) in area {
            put(&mut page, AREA + at, field);
        }
        put(&mut page, CLIENT, &restart.oldest.to_le_bytes());
        put(&mut page, CLIENT + 8, &restart.checkpoint.to_le_bytes());
        put(&mut page, CLIENT + 0x10, &[0xFF; 4]);
        put(&mut page, CLIENT + 0x1C, &8_u32.to_le_bytes());
        put(&mut page, CLIENT + 0x20, b"N\0T\0F\0S\0");
        protect(&mut page, 0x41);
        page
    }
}

impl LogPage {
    /// As it is on disk; as a copy for a file of this version.
    fn protected(&self, copy: Option<Version>) -> Vec<u8> {
        let mut page = self.bytes.clone();
        put(&mut page, 8, &self.last.to_le_bytes());
        put(&mut page, 0x10, &u32::from(self.ends).to_le_bytes());
        put(&mut page, 0x14, &[1, 0, 1, 0]);
        put(
            &mut page,
            0x18,
            &(self.next.min(0xFFFF) as u16).to_le_bytes(),
        );
        put(&mut page, 0x20, &self.last_end.to_le_bytes());
        match copy {
            Some(Version::Tail) => put(&mut page, 8, &self.place.to_le_bytes()),
            Some(Version::Fast) => put(&mut page, 0x3C, &(self.place as u32).to_le_bytes()),
            None => {}
        }
        protect(&mut page, 0x17);
        page
    }
}

/// Puts the update sequence number at the end of every 512 bytes.
pub fn protect(structure: &mut [u8], number: u16) {
    let array = usize::from(u16::from_le_bytes([structure[4], structure[5]]));
    put(structure, array, &number.to_le_bytes());
    for sector in 0..structure.len() / 512 {
        let tail = sector * 512 + 510;
        structure.copy_within(tail..tail + 2, array + 2 + 2 * sector);
        put(structure, tail, &number.to_le_bytes());
    }
}

/// Puts the bytes back for which the update sequence number stands; false where the structure is torn.
pub fn restore(structure: &mut [u8]) -> bool {
    let array = usize::from(u16::from_le_bytes([structure[4], structure[5]]));
    let whole = (0..structure.len() / 512).all(|sector| {
        let tail = sector * 512 + 510;
        structure[tail..tail + 2] == structure[array..array + 2]
    });
    for sector in 0..structure.len() / 512 {
        let saved = array + 2 + 2 * sector;
        structure.copy_within(saved..saved + 2, sector * 512 + 510);
    }
    whole
}

/// Overwrites bytes.
pub fn put(bytes: &mut [u8], at: usize, data: &[u8]) {
    bytes[at..at + data.len()].copy_from_slice(data);
}
