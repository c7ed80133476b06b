// SPDX-License-Identifier: GPL-2.0-or-later
//! A few clusters and a log of our own making that is replayed on them.

#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

pub(super) use super::structures::*;
use super::writer::{
    Action, DirtyPage, Log, Newest, OpenAttribute, Payload, Restart as Pages, Tables, Transaction,
    Version, attribute_at, protect, put, restore,
};
use super::*;
use crate::device::memory::MemoryDevice;
use crate::volume::ntfs::format::FileReference;

/// What can be the target of a record: the entries of the open attribute table, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The records of $MFT.
    Mft,
    /// Blocks of the index of a folder.
    Index,
    /// $Bitmap.
    Bitmap,
    /// The bitmap of $MFT.
    Records,
    /// $SDS, whose bytes are logged.
    Bytes,
    /// A file of a user.
    User,
}

const TARGETS: [Target; 6] = [
    Target::Mft,
    Target::Index,
    Target::Bitmap,
    Target::Records,
    Target::Bytes,
    Target::User,
];

/// Bytes that each target has at least.
const EACH: usize = 0x1_0000;

/// The transaction that the tests use unless they use several.
pub(super) const ID: u32 = 0x40;

/// The clusters, and the log as it grows.
#[derive(Clone)]
pub(super) struct Bench {
    pub(super) cluster: usize,
    pub(super) record: usize,
    pub(super) block: usize,
    pub(super) major: u32,
    pub(super) disk: Vec<u8>,
    pub(super) log: Log,
    pub(super) checkpoint: u64,
    pub(super) oldest: u64,
    pub(super) newest: Newest,
    /// Clusters of the journal.
    pub(super) own: Vec<(u64, u64)>,
}

impl Bench {
    /// Clusters of this size, records of this size, index blocks of 4096 bytes.
    pub(super) fn new(cluster: usize, record: usize) -> Bench {
        let mut bench = Bench {
            cluster,
            record,
            block: 0x1000,
            major: 1,
            disk: Vec::new(),
            log: Log::new(Version::Fast, 0x4_0000, 0, 3),
            checkpoint: 0,
            oldest: 0,
            newest: Newest::Copy(0),
            own: Vec::new(),
        };
        let end = bench.first() + bench.each() * TARGETS.len() as u64;
        bench.disk = vec![0xA5; end as usize * cluster];
        bench
    }

    /// Clusters of a target.
    fn each(&self) -> u64 {
        EACH.div_ceil(self.cluster) as u64
    }

    /// The first cluster that is not of $Boot.
    fn first(&self) -> u64 {
        0x2000_u64.div_ceil(self.cluster as u64) + 1
    }

    /// The first cluster of a target.
    pub(super) fn lcn(&self, target: Target) -> u64 {
        let slot = TARGETS.iter().position(|found| *found == target).unwrap();
        self.first() + slot as u64 * self.each()
    }

    /// Where byte `at` of a target is on the disk.
    pub(super) fn place(&self, target: Target, at: usize) -> usize {
        self.lcn(target) as usize * self.cluster + at
    }

    fn opened(&self) -> Vec<OpenAttribute> {
        let entry = |slot: usize, target: &Target| {
            let (kind, record, name) = match target {
                Target::Mft => (0x80, 0, ""),
                Target::Index => (0xA0, 30, "$I30"),
                Target::Bitmap => (0x80, 6, ""),
                Target::Records => (0xB0, 0, ""),
                Target::Bytes => (0x80, 9, "$SDS"),
                Target::User => (0x80, 40, ""),
            };
            OpenAttribute {
                at: attribute_at(self.major, slot as u16),
                kind,
                file: record | 1 << 48,
                opened: 1,
                block_len: if kind == 0xA0 { self.block as u32 } else { 0 },
                name: name.to_owned(),
            }
        };
        TARGETS
            .iter()
            .enumerate()
            .map(|(slot, target)| entry(slot, target))
            .collect()
    }

    /// A record's client data for `len` bytes at byte `at` of a target.
    pub(super) fn action(&self, target: Target, at: usize, len: usize) -> Action {
        let slot = TARGETS.iter().position(|found| *found == target).unwrap();
        let first = at / self.cluster;
        let count = (at % self.cluster + len).div_ceil(self.cluster).max(1);
        let lcn = self.lcn(target) + first as u64;
        Action {
            target: attribute_at(self.major, slot as u16),
            vcn: first as u64,
            lcns: (lcn..lcn + count as u64).collect(),
            cluster_offset: (at % self.cluster / 512) as u16,
            ..Action::bare(0, 0)
        }
    }

    /// Puts a structure on the disk as it is in memory.
    pub(super) fn lay(&mut self, target: Target, at: usize, memory: &[u8]) {
        let mut disk = memory.to_vec();
        protect(&mut disk, 0x77);
        let place = self.place(target, at);
        put(&mut self.disk, place, &disk);
    }

    /// A checkpoint with these tables besides the open attributes, from which the log is read.
    pub(super) fn begin(&mut self, pages: Vec<DirtyPage>, transactions: Vec<Transaction>) -> u64 {
        let tables = Tables {
            attributes: self.opened(),
            pages,
            transactions,
        };
        let start = self.log.end();
        self.checkpoint = self
            .log
            .checkpoint(self.major, start, &tables, self.cluster as u32);
        if self.oldest == 0 {
            self.oldest = self.log.lsns[0];
        }
        self.checkpoint
    }

    /// Adds a record of a transaction.
    pub(super) fn add(&mut self, action: &Action, id: u32, previous: u64) -> u64 {
        self.log.add(&action.record(id, previous, previous))
    }

    /// Ends a transaction.
    pub(super) fn forget(&mut self, id: u32) -> u64 {
        self.log.add(&Action::bare(0x1B, 1).record(id, 0, 0))
    }

    /// The file of the journal.
    pub(super) fn file(&self) -> Vec<u8> {
        let pages = Pages::open(self.checkpoint, self.oldest, self.checkpoint);
        self.log.file(&pages, self.newest)
    }

    pub(super) fn geometry(&self) -> Geometry {
        Geometry {
            cluster_size: self.cluster as u32,
            record_size: self.record as u32,
            clusters: (self.disk.len() / self.cluster) as u64,
        }
    }

    /// What the journal says, and the disk after it was replayed.
    pub(super) fn replay(&self) -> Result<(Vec<u8>, Replayed), String> {
        self.replay_file(self.file())
    }

    /// The same with another journal.
    pub(super) fn replay_file(&self, file: Vec<u8>) -> Result<(Vec<u8>, Replayed), String> {
        let log = Bytes(file);
        let journal = judge(&log, self.geometry());
        if let Verdict::Refused(why) = &journal.verdict {
            return Err(why.clone());
        }
        assert_eq!(journal.end.unwrap().lsn, self.log.end());
        let device = MemoryDevice::new(self.disk.clone());
        let mapping = |_: FileReference, _: u32, _: &str, _: u64| None;
        let disk = Disk {
            device: &device,
            log: &self.own,
            mapping: &mapping,
        };
        let done = journal.replay(&log, self.geometry(), &disk);
        let done = done.map_err(|fault| fault.to_string())?;
        Ok((device.contents(), done))
    }

    /// The structure of `len` bytes at byte `at` of a target on `disk`, in memory.
    pub(super) fn found(&self, disk: &[u8], target: Target, at: usize, len: usize) -> Vec<u8> {
        let place = self.place(target, at);
        let mut found = disk[place..place + len].to_vec();
        assert!(restore(&mut found), "torn");
        found
    }

    /// Nothing but `len` bytes at byte `at` of a target differs from before.
    pub(super) fn only(&self, disk: &[u8], target: Target, at: usize, len: usize) {
        let place = self.place(target, at);
        let differs = disk
            .iter()
            .zip(&self.disk)
            .position(|(new, old)| new != old);
        let last = disk
            .iter()
            .zip(&self.disk)
            .rposition(|(new, old)| new != old);
        if let (Some(first), Some(last)) = (differs, last) {
            assert!(
                first >= place && last < place + len,
                "{first:#x}..{last:#x}"
            );
        }
    }
}

/// An operation as a case: what it is about and its bytes.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) code: u16,
    /// Bytes from the structure to the attribute, and from there to what is changed.
    pub(super) at: (usize, usize),
    pub(super) payload: Payload,
    /// The same in the other direction, of which only the length counts.
    pub(super) other: usize,
}

impl Case {
    pub(super) fn new(code: u16, at: (usize, usize), payload: &[u8]) -> Case {
        Case {
            code,
            at,
            payload: Payload::of(payload),
            other: payload.len(),
        }
    }

    /// With another length in the other direction.
    pub(super) fn other(self, other: usize) -> Case {
        Case { other, ..self }
    }

    pub(super) fn payload(self, payload: Payload) -> Case {
        Case { payload, ..self }
    }

    fn action(
        &self,
        bench: &Bench,
        target: Target,
        (at, len): (usize, usize),
        undo: bool,
    ) -> Action {
        let own = (self.code, self.payload.clone());
        // Noop in the other direction: its length alone is looked at.
        let other = (0, Payload::of(&vec![0xEE; self.other]));
        let (redo, undo) = if undo { (other, own) } else { (own, other) };
        Action {
            redo,
            undo,
            record_offset: self.at.0 as u16,
            attribute_offset: self.at.1 as u16,
            ..bench.action(target, at, len)
        }
    }
}

/// `before` on the disk becomes `after`, done again as well as taken back, and nothing else changes.
pub(super) fn becomes(bench: &Bench, target: Target, case: &Case, before: &[u8], after: &[u8]) {
    for undo in [false, true] {
        let at = before.len() * 3;
        let mut bench = bench.clone();
        bench.lay(target, at, before);
        bench.begin(Vec::new(), Vec::new());
        let action = case.action(&bench, target, (at, before.len()), undo);
        let lsn = bench.add(&action, ID, 0);
        if !undo {
            bench.forget(ID);
        }
        let what = format!("{:#x} {}", case.code, if undo { "undo" } else { "redo" });
        let (disk, done) = bench.replay().unwrap_or_else(|why| panic!("{what}: {why}"));
        let found = bench.found(&disk, target, at, before.len());
        assert!(
            used(&found) == used(after),
            "{what}:\n{:02x?}\n{:02x?}",
            used(&found),
            used(after)
        );
        bench.only(&disk, target, at, before.len());
        let (redone, undone) = if undo { (0, 1) } else { (1, 0) };
        assert_eq!((done.redone, done.undone), (redone, undone), "{what}");
        // Redone, the structure has the record; taken back, it is as old as it was.
        let expected = if undo { lsn_of(before) } else { lsn };
        assert_eq!(lsn_of(&found), expected, "{what}");
        if undo {
            continue;
        }
        // A second time nothing is done.
        bench.disk = disk.clone();
        let (again, done) = bench.replay().unwrap();
        assert!(
            again == disk && done.redone == 0 && done.on_disk == 1,
            "{what}"
        );
    }
}

/// Neither done again nor taken back on `before`, and why.
pub(super) fn refused(bench: &Bench, target: Target, case: &Case, before: &[u8], why: &str) {
    for undo in [false, true] {
        let at = before.len() * 3;
        let mut bench = bench.clone();
        bench.lay(target, at, before);
        bench.begin(Vec::new(), Vec::new());
        let action = case.action(&bench, target, (at, before.len()), undo);
        bench.add(&action, ID, 0);
        if !undo {
            bench.forget(ID);
        }
        let error = match bench.replay() {
            Err(error) => error,
            Ok(_) => panic!("{case:x?} undo {undo}: done, not refused with {why}"),
        };
        assert!(error.contains(why), "{case:x?} undo {undo}: {error}");
    }
}
