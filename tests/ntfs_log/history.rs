// SPDX-License-Identifier: GPL-2.0-or-later
//! Histories: what happened on a volume, record by record, with the volume as it would be found after a power cut at any moment.
//!
//! Every page of the cache reaches the disk at moments of its own; the journal tells at which moment of its own it ends. What the
//! volume has to be afterwards is worked out from the transactions that were over by then.

use std::collections::{BTreeMap, BTreeSet};

use super::Random;
use super::changes::{Effect, Step, between};
use super::editor::comparable;
use super::image::{Parts, Target};
use super::writer::{
    Action, DirtyPage, Log, Newest, OpenAttribute, Payload, Record, Restart, Tables, Transaction,
    Version, attribute_at, protect, put,
};

/// Bytes of a page of the cache.
const PAGE: usize = 0x1000;

/// What one record of the log is.
#[derive(Clone, Debug)]
enum Moment {
    /// An action of a transaction and what it does.
    Step(u32, Step),
    /// The end of a transaction.
    Forget(u32),
    /// A checkpoint or one of its tables, or an attribute opened.
    Other,
}

/// A page of the cache: the target and its number.
type Page = (Target, usize);

/// A checkpoint of a history.
#[derive(Clone, Debug)]
struct Checkpoint {
    /// How many records there were then, itself among them.
    behind: usize,
    lsn: u64,
    /// The oldest LSN that it needs.
    oldest: u64,
    /// The moment up to which each page was on the disk.
    flushed: BTreeMap<Page, usize>,
}

/// A history.
#[derive(Clone, Debug)]
pub struct History {
    base: Vec<u8>,
    pub parts: Parts,
    version: Version,
    major: u32,
    /// Where each target is, also those that came to be on the way.
    places: Parts,
    targets: Vec<(Target, u64)>,
    records: Vec<Record>,
    lsns: Vec<u64>,
    moments: Vec<Moment>,
    log: Log,
    empty: Log,
    checkpoints: Vec<Checkpoint>,
    /// The moment up to which each page was on the disk at the last checkpoint.
    flushed: BTreeMap<Page, usize>,
    /// Content of files, which is not logged: when, where, what.
    content: Vec<(usize, usize, Vec<u8>)>,
    /// First and last record of open transactions, and where taking them back begins.
    open: BTreeMap<u32, (u64, u64, u64)>,
}

/// A volume after a power cut.
pub struct Crash {
    /// As it lies on the disk.
    pub image: Vec<u8>,
    /// As it has to be afterwards, apart from what does not count.
    pub expected: Vec<u8>,
    /// The file of the journal's shape, for those who change it.
    pub log: Log,
    pub restart: Restart,
    pub newest: Newest,
}

impl History {
    /// Nothing has happened yet. The log begins with this page of the circular area.
    pub fn new(base: Vec<u8>, version: Version, usable: u64, first: u64, major: u32) -> History {
        let parts = Parts::of(&base);
        let log = Log::new(version, usable, first, 2);
        let mut history = History {
            base,
            places: parts.clone(),
            parts,
            version,
            major,
            targets: Vec::new(),
            records: Vec::new(),
            lsns: Vec::new(),
            moments: Vec::new(),
            empty: log.clone(),
            log,
            checkpoints: Vec::new(),
            flushed: BTreeMap::new(),
            content: Vec::new(),
            open: BTreeMap::new(),
        };
        let targets: Vec<Target> = history.parts.runs.keys().cloned().collect();
        history.targets = targets.into_iter().map(|target| (target, 1)).collect();
        history.checkpoint(&mut Random(1));
        history
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.moments.len()
    }

    fn push(&mut self, record: Record, moment: Moment) -> u64 {
        let lsn = self.log.add(&record);
        self.records.push(record);
        self.lsns.push(lsn);
        self.moments.push(moment);
        lsn
    }

    fn slot(&self, target: &Target) -> u16 {
        let slot = self
            .targets
            .iter()
            .position(|found| found.0 == *target)
            .unwrap();
        attribute_at(self.major, slot as u16)
    }

    fn attribute(&self, slot: usize) -> OpenAttribute {
        let (target, opened) = &self.targets[slot];
        let (kind, file, block_len, name) = match target {
            Target::Mft => (0x80, 1 << 48, 0, String::new()),
            Target::Clusters => (0x80, 6 | 6 << 48, 0, String::new()),
            Target::Records => (0xB0, 1 << 48, 0, String::new()),
            Target::Descriptors => (0x80, 9 | 9 << 48, 0, "$SDS".into()),
            Target::Index(file, name) => {
                (0xA0, *file, self.places.blocks[target] as u32, name.clone())
            }
        };
        OpenAttribute {
            at: attribute_at(self.major, slot as u16),
            kind,
            file,
            opened: *opened,
            block_len,
            name,
        }
    }

    fn page(&self, step: &Step) -> Page {
        (step.target.clone(), step.at / PAGE.max(self.parts.cluster))
    }

    /// All pages that a moment after `from` and up to `to` changes.
    fn pages(&self, to: usize) -> BTreeSet<Page> {
        let steps = self.moments[..to].iter().filter_map(|moment| match moment {
            Moment::Step(_, step) if step.effect != Effect::Nothing => Some(self.page(step)),
            _ => None,
        });
        steps.collect()
    }

    /// A checkpoint: some pages have reached the disk by now, up to some moment, others have not.
    pub fn checkpoint(&mut self, random: &mut Random) {
        let now = self.moments.len();
        let mut pages = Vec::new();
        let clusters = (PAGE / self.parts.cluster).max(1);
        for page in self.pages(now) {
            let last = self.flushed.get(&page).copied().unwrap_or(0);
            let until = match random.below(3) {
                0 => now,
                1 => last,
                _ => last + random.below(now - last + 1),
            };
            self.flushed.insert(page.clone(), until);
            let missing = (until..now).find(|at| match &self.moments[*at] {
                Moment::Step(_, step) => step.effect != Effect::Nothing && self.page(step) == page,
                _ => false,
            });
            if let Some(missing) = missing {
                let vcn = (page.1 * PAGE.max(self.parts.cluster) / self.parts.cluster) as u64;
                let end = (self.places.len(&page.0) / self.parts.cluster) as u64;
                let lcns = (vcn..vcn + clusters as u64).map(|vcn| match vcn < end {
                    true => self.places.lcn(&page.0, vcn),
                    false => 0,
                });
                pages.push(DirtyPage {
                    target: self.slot(&page.0),
                    vcn,
                    oldest: self.lsns[missing],
                    lcns: lcns.collect(),
                });
            }
        }
        let transactions = self
            .open
            .iter()
            .map(|(id, (first, last, undo))| Transaction {
                id: *id,
                state: 1,
                first: *first,
                previous: *last,
                undo_next: *undo,
            });
        let tables = Tables {
            attributes: (0..self.targets.len())
                .map(|slot| self.attribute(slot))
                .collect(),
            transactions: transactions.collect(),
            pages,
        };
        let start = self.log.end();
        let oldest = tables.pages.iter().map(|page| page.oldest);
        let oldest = oldest.chain(tables.transactions.iter().map(|found| found.first));
        let before = self.log.clone();
        let lsn = self
            .log
            .checkpoint(self.major, start, &tables, self.parts.cluster as u32);
        // The same records again, one by one.
        let added = self.log.lsns[before.lsns.len()..].to_vec();
        self.log = before;
        let all = Log::checkpoint_records(
            self.major,
            start,
            &tables,
            self.parts.cluster as u32,
            &added,
        );
        for record in all {
            self.push(record, Moment::Other);
        }
        assert_eq!(self.log.end(), lsn);
        let oldest = oldest
            .chain([if start == 0 { self.lsns[0] } else { start }])
            .min()
            .unwrap();
        self.checkpoints.push(Checkpoint {
            behind: self.moments.len(),
            lsn,
            oldest,
            flushed: self.flushed.clone(),
        });
    }

    /// What changes from `old` to `new`, as actions; says why where that is more than is spoken of.
    pub fn changes(old: &[u8], new: &[u8]) -> Result<Vec<Vec<Step>>, String> {
        between(old, new)
    }

    /// Takes in where things are in `new`, and what files contain there.
    pub fn learn(&mut self, old: &[u8], new: &[u8]) {
        let parts = Parts::of(new);
        let known = [Parts::of(old).known(old.len()), parts.known(new.len())];
        let now = self.moments.len();
        for (at, (was, is)) in old.chunks(512).zip(new.chunks(512)).enumerate() {
            if was != is && known.iter().all(|known| !known[at * 512]) {
                self.content.push((now, at * 512, is.to_vec()));
            }
        }
        for (target, runs) in &parts.runs {
            if !self.targets.iter().any(|found| found.0 == *target) {
                self.targets.push((target.clone(), 0));
            }
            self.places.runs.insert(target.clone(), runs.clone());
            if let Some(len) = parts.blocks.get(target) {
                self.places.blocks.insert(target.clone(), *len);
            }
        }
        // Attributes that are new are opened in the log.
        for slot in 0..self.targets.len() {
            if self.targets[slot].1 == 0 {
                self.targets[slot].1 = self.log.end();
                let opening = self.attribute(slot).opening(self.major);
                let id = self.free_id();
                self.push(opening.record(id, 0, 0), Moment::Other);
                self.push(Action::bare(0x1B, 1).record(id, 0, 0), Moment::Other);
            }
        }
    }

    /// The number of no open transaction.
    pub fn free_id(&self) -> u32 {
        let ids = (0..).map(|slot| 0x18 + 0x28 * slot);
        ids.into_iter()
            .find(|id| !self.open.contains_key(id))
            .unwrap()
    }

    /// The client data of a step.
    fn action(&self, step: &Step) -> Action {
        let cluster = self.parts.cluster;
        let vcn = (step.at / cluster) as u64;
        let count = (step.at % cluster + step.len).div_ceil(cluster).max(1) as u64;
        Action {
            redo: step.redo.clone(),
            undo: step.undo.clone(),
            target: self.slot(&step.target),
            vcn,
            lcns: (vcn..vcn + count)
                .map(|vcn| self.places.lcn(&step.target, vcn))
                .collect(),
            record_offset: step.record_offset as u16,
            attribute_offset: step.attribute_offset as u16,
            cluster_offset: (step.at % cluster / 512) as u16,
        }
    }

    /// Logs one action of a transaction.
    pub fn step(&mut self, id: u32, step: Step) {
        let (_, previous, undo) = self.open.get(&id).copied().unwrap_or_default();
        let record = self.action(&step).record(id, previous, undo);
        let lsn = self.push(record, Moment::Step(id, step));
        let open = self.open.entry(id).or_insert((lsn, 0, 0));
        (open.1, open.2) = (lsn, lsn);
    }

    /// Ends a transaction.
    pub fn forget(&mut self, id: u32) {
        self.push(Action::bare(0x1B, 1).record(id, 0, 0), Moment::Forget(id));
        self.open.remove(&id);
    }

    /// Takes back the last `count` actions of a transaction, as Windows does when one fails: by records that do what their undo
    /// says, and lead past them.
    pub fn roll_back(&mut self, id: u32, count: usize) {
        for _ in 0..count {
            let (first, previous, undo) = self.open[&id];
            let Some(at) = self.lsns.iter().position(|lsn| *lsn == undo) else {
                return;
            };
            let Moment::Step(_, step) = self.moments[at].clone() else {
                return;
            };
            let next = self.records[at].undo_next;
            let payload = match &step.undo.1 {
                Payload::Shared => step.redo.1.clone(),
                payload => payload.clone(),
            };
            let back = Step {
                redo: (step.undo.0, payload),
                undo: (1, Payload::None),
                effect: step.back.clone(),
                back: Effect::Nothing,
                ..step
            };
            let record = self.action(&back).record(id, previous, next);
            let lsn = self.push(record, Moment::Step(id, back));
            self.open.insert(id, (first, lsn, next));
        }
    }

    /// Does what a step does to the image. `lsn` goes into structures.
    fn apply(&self, image: &mut [u8], step: &Step, lsn: u64, number: u16) {
        match &step.effect {
            Effect::Nothing => {}
            Effect::Structure(memory) => {
                let mut disk = memory.clone();
                put(&mut disk, 8, &lsn.to_le_bytes());
                protect(&mut disk, number);
                self.places.write(image, &step.target, step.at, &disk);
            }
            Effect::Bytes(bytes) => {
                self.places
                    .write(image, &step.target, step.at + step.record_offset, bytes);
            }
            Effect::Bits { first, count, set } => {
                let mut bytes = self.places.read(image, &step.target, step.at, step.len);
                for bit in *first..*first + *count {
                    let (byte, mask) = (bit as usize / 8, 1 << (bit % 8));
                    match set {
                        true => bytes[byte] |= mask,
                        false => bytes[byte] &= !mask,
                    }
                }
                self.places.write(image, &step.target, step.at, &bytes);
            }
        }
    }

    /// The volume as it is with the journal cut behind record number `end` (from 1 on). Which pages had reached the disk, and
    /// how the newest page of the journal did, is for `random` to say.
    pub fn crash(&self, end: usize, random: &mut Random) -> Crash {
        let checkpoint = self
            .checkpoints
            .iter()
            .rev()
            .find(|found| found.behind <= end);
        let checkpoint = checkpoint.expect("behind a checkpoint");
        let mut until = BTreeMap::new();
        for page in self.pages(end) {
            let least = checkpoint.flushed.get(&page).copied().unwrap_or(0);
            let flushed = match random.below(4) {
                0 => end,
                1 => least,
                _ => least + random.below(end - least + 1),
            };
            until.insert(page, flushed);
        }
        let mut image = self.base.clone();
        let mut expected = self.base.clone();
        let over = self.over(end);
        for (number, moment) in self.moments[..end].iter().enumerate() {
            let Moment::Step(_, step) = moment else {
                continue;
            };
            let usn = (number % 1000 + 2) as u16;
            if step.effect != Effect::Nothing && number < until[&self.page(step)] {
                self.apply(&mut image, step, self.lsns[number], usn);
            }
            if over.contains(&number) {
                self.apply(&mut expected, step, self.lsns[number], usn);
            }
        }
        for (when, at, bytes) in self.content.iter().filter(|found| found.0 < end) {
            assert!(*when < end);
            put(&mut image, *at, bytes);
            put(&mut expected, *at, bytes);
        }
        self.repeat_in_mirror(&mut image);
        let mut log = self.empty.clone();
        for record in &self.records[..end] {
            log.add(record);
        }
        assert_eq!(log.lsns, self.lsns[..end]);
        let slot = match self.version {
            Version::Tail => random.below(2),
            Version::Fast => random.below(32),
        };
        let ways = [
            Newest::InPlace,
            Newest::Copy(slot),
            Newest::TornInPlace(slot),
            Newest::TornCopy(slot),
        ];
        let newest = ways[random.below(4)];
        let restart = Restart::open(checkpoint.lsn, checkpoint.oldest, checkpoint.lsn);
        let mut file = log.file(&restart, newest);
        if let Some(next) = self.records.get(end).filter(|_| random.below(3) == 0) {
            // The next record was being written.
            let mut more = log.clone();
            more.add(next);
            if more.page_count() == log.page_count() {
                file = more.file(&restart, Newest::TornInPlace(slot));
                put(&mut file, (2 + slot) * PAGE, &log.newest_copy());
            } else {
                file = more.file(&restart, Newest::Lost);
            }
        }
        self.lay_log(&mut image, &file);
        Crash {
            image,
            expected,
            log,
            restart,
            newest,
        }
    }

    /// The moments that belong to transactions that are over at `end`.
    fn over(&self, end: usize) -> BTreeSet<usize> {
        let mut own: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        let mut over = BTreeSet::new();
        for (number, moment) in self.moments[..end].iter().enumerate() {
            match moment {
                Moment::Step(id, _) => own.entry(*id).or_default().push(number),
                Moment::Forget(id) => over.extend(own.remove(id).unwrap_or_default()),
                Moment::Other => {}
            }
        }
        over
    }

    /// How often each operation was logged to be done.
    pub fn operations(&self) -> BTreeMap<u16, usize> {
        let mut all = BTreeMap::new();
        for moment in &self.moments {
            if let Moment::Step(_, step) = moment {
                *all.entry(step.redo.0).or_default() += 1;
            }
        }
        all
    }

    /// Transactions that are not over at `end`.
    pub fn unfinished(&self, end: usize) -> usize {
        let over = self.over(end);
        let open =
            self.moments[..end]
                .iter()
                .enumerate()
                .filter_map(|(number, moment)| match moment {
                    Moment::Step(id, _) if !over.contains(&number) => Some(*id),
                    _ => None,
                });
        open.collect::<BTreeSet<u32>>().len()
    }

    /// Makes $MFTMirr what $MFT is.
    pub fn repeat_in_mirror(&self, image: &mut [u8]) {
        let len = (4 * self.parts.record).max(self.parts.cluster.min(4 * self.parts.record));
        let first = self.parts.read(image, &Target::Mft, 0, len);
        let mut rest: &[u8] = &first;
        for (at, len) in super::image::pieces(&self.parts.mirror, self.parts.cluster, 0, len) {
            image[at..at + len].copy_from_slice(&rest[..len]);
            rest = &rest[len..];
        }
    }

    /// Puts the file of the journal on the volume.
    pub fn lay_log(&self, image: &mut [u8], file: &[u8]) {
        let mut rest = file;
        for (at, len) in
            super::image::pieces(&self.parts.journal, self.parts.cluster, 0, file.len())
        {
            image[at..at + len].copy_from_slice(&rest[..len]);
            rest = &rest[len..];
        }
        assert!(rest.is_empty());
    }

    /// What of `found` is not as in `expected`; empty when all is.
    pub fn differences(&self, found: &[u8], expected: &[u8]) -> Vec<String> {
        let mut all = Vec::new();
        let parts = Parts::of(expected);
        for number in 0..parts.records() {
            let [is, wanted] = [found, expected].map(|image| parts.record(image, number));
            // A record that was made and taken back is free, and was none before.
            let [is, wanted] = [is, wanted].map(|record| record.map(|record| comparable(&record)));
            let free = Some(b"a free record".to_vec());
            if is != wanted && !(is == free && wanted.is_none()) {
                all.push(format!(
                    "MFT record {number}: {is:02x?}\n  instead of {wanted:02x?}"
                ));
            }
        }
        for (target, len) in &parts.blocks {
            for slot in (0..parts.used[target].len()).filter(|slot| parts.used[target][*slot]) {
                let [is, wanted] = [found, expected].map(|image| {
                    let block = parts.structure(image, target, slot * len);
                    block.map(|block| comparable(&block))
                });
                if is != wanted {
                    all.push(format!("block {slot} of {target:?}"));
                }
            }
        }
        for target in [Target::Clusters, Target::Records, Target::Descriptors] {
            let len = parts.len(&target);
            let [is, wanted] = [found, expected].map(|image| parts.read(image, &target, 0, len));
            let other = is.iter().zip(&wanted).position(|(is, wanted)| is != wanted);
            all.extend(other.map(|at| format!("byte {at:#x} of {target:?}")));
        }
        let mut mirrored = found.to_vec();
        self.repeat_in_mirror(&mut mirrored);
        if mirrored != found {
            all.push("$MFTMirr".into());
        }
        all
    }
}
