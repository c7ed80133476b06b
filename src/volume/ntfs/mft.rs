// SPDX-License-Identifier: GPL-2.0-or-later
//! The master file table: finds records by number and attributes by type and name.
//!
//! $MFT describes itself, so it is opened in steps: the boot sector leads to record 0; record 0 maps the
//! first part of $MFT; when $MFT has an attribute list, each further part is described by a record that
//! lies in a part already mapped.
//!
//! ```text
//! boot sector -> record 0 -> $DATA, first extent
//!                         -> $ATTRIBUTE_LIST -> record 15, 16, ... -> $DATA, next extents
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. $MFTMirr is compared before writing, never read
//! from in place of $MFT.

mod list;
mod store;

pub(super) use list::ListEntry;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use crate::device::SharedDevice;
use crate::error::{Error, Result, ResultExt};

use super::format::{BootSector, FileReference, attribute_type, record_number};
use super::record::{Attribute, Form, Record};
use super::runs::{self, Piece, RunList};
use super::upcase::Upcase;

/// An attribute, or one extent of it, and the record that holds it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The record: the base record or one that extends it.
    pub(super) record: Arc<Record>,
    /// The attribute in it.
    pub(super) attribute: Attribute,
}

/// $MFT, and the device with its geometry for whoever reads clusters.
#[derive(Debug)]
pub(super) struct Mft {
    /// The volume's device; offset 0 is the boot sector.
    pub(super) device: SharedDevice,
    /// The volume's geometry.
    pub(super) boot: BootSector,
    /// Changes when $MFT grows.
    layout: RwLock<Layout>,
    /// $MFTMirr, once asked for: where it lies and how many bytes of it there are. It never moves or grows.
    mirror: OnceLock<(RunList, u64)>,
    /// $UpCase, once asked for.
    upcase: OnceLock<Upcase>,
    /// How often an index was changed: what was read of one before is old then.
    index_changes: AtomicU64,
}

/// Where the records are.
#[derive(Clone, Debug)]
struct Layout {
    map: RunList,
    /// How many records there are.
    records: u64,
}

impl Mft {
    /// Opens $MFT of the volume that `boot` describes.
    pub(super) fn open(device: SharedDevice, boot: BootSector) -> Result<Mft> {
        let record_size = usize::try_from(boot.record_size).unwrap_or(0);
        let mut disk = vec![0; record_size];
        let place = boot.mft.0.saturating_mul(u64::from(boot.cluster_size));
        device
            .read_at(place, &mut disk)
            .context(|| "reading the first record of $MFT")?;
        let base = Record::parse(record_number::MFT, disk)?;
        let cluster_size = boot.cluster_size;
        let mut mft = Mft {
            device,
            boot,
            layout: RwLock::new(Layout {
                map: RunList::new(cluster_size),
                records: u64::MAX,
            }),
            mirror: OnceLock::new(),
            upcase: OnceLock::new(),
            index_changes: AtomicU64::new(0),
        };
        mft.map_itself(&base).context(|| "opening $MFT")?;
        Ok(mft)
    }

    /// Looks again where the records are, after $MFT has grown.
    pub(super) fn reopen(&self) -> Result<()> {
        let fresh = Mft::open(Arc::clone(&self.device), self.boot.clone())?;
        let layout = fresh
            .layout
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        *self.layout.write().unwrap_or_else(PoisonError::into_inner) = layout;
        Ok(())
    }

    fn layout(&self) -> RwLockReadGuard<'_, Layout> {
        self.layout.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many records there are.
    pub(super) fn records(&self) -> u64 {
        self.layout().records
    }

    /// The volume's upper-case table.
    pub(super) fn upcase(&self) -> Result<&Upcase> {
        if let Some(upcase) = self.upcase.get() {
            return Ok(upcase);
        }
        let upcase = Upcase::read(self)?;
        Ok(self.upcase.get_or_init(|| upcase))
    }

    fn map_itself(&mut self, base: &Record) -> Result<()> {
        let is_data = |kind: u32, name: &[u16]| kind == attribute_type::DATA && name.is_empty();
        let first = base
            .attributes()
            .iter()
            .find(|found| is_data(found.kind, &found.name));
        let Some((first, sizes)) = first.and_then(|found| match found.form {
            Form::NonResident {
                sizes: Some(sizes), ..
            } => Some((found, sizes)),
            _ => None,
        }) else {
            return Err(Error::damaged(
                "$MFT",
                0,
                "its first clusters in record 0",
                "no such attribute",
            ));
        };
        let runs = self.runs(base, first)?;
        if !self.extend(runs) {
            return Err(Error::damaged("$MFT", 0, "clusters from VCN 0", "a gap"));
        }
        for entry in self.attribute_list(base)?.unwrap_or_default() {
            if !is_data(entry.kind, &entry.name) || entry.lowest == 0 {
                continue;
            }
            let record = self.extension(base, entry.holder)?;
            let runs = self.runs(&record, pick(&record, &entry)?)?;
            if !self.extend(runs) {
                return Err(gap("$MFT", entry.lowest, self.layout().map.clusters()));
            }
        }
        let mapped = self.layout().map.len();
        if mapped < sizes.allocated {
            let found = format!("{mapped} bytes mapped");
            return Err(Error::damaged(
                "$MFT",
                0,
                format!("{} bytes", sizes.allocated),
                found,
            ));
        }
        let record_size = u64::from(self.boot.record_size);
        let layout = self
            .layout
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        layout.records = sizes.initialised.checked_div(record_size).unwrap_or(0);
        Ok(())
    }

    /// Adds the next extent of $MFT to what is known of it. False when it does not continue it.
    fn extend(&mut self, runs: Vec<runs::Run>) -> bool {
        let layout = self
            .layout
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        layout.map.extend(runs)
    }

    /// How often an index was changed through this $MFT.
    pub(super) fn index_changes(&self) -> u64 {
        self.index_changes.load(Ordering::Acquire)
    }

    /// Counts a change of an index.
    pub(super) fn index_changed(&self) {
        self.index_changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Where record `number` lies on the device, in one or more pieces.
    pub(super) fn place(&self, number: u64) -> Result<Vec<Piece>> {
        self.places(number, 1)
    }

    /// Where `count` records from `number` on lie on the device, in one or more pieces.
    pub(super) fn places(&self, number: u64, count: u64) -> Result<Vec<Piece>> {
        let len = u64::from(self.boot.record_size);
        let layout = self.layout();
        let all = len.checked_mul(count);
        let end = number.checked_add(count);
        let pieces = number
            .checked_mul(len)
            .filter(|_| end.is_some_and(|end| end <= layout.records))
            .zip(all)
            .and_then(|(offset, all)| layout.map.pieces(offset, all))
            .filter(|pieces| pieces.iter().all(|piece| piece.place.is_some()));
        pieces.ok_or_else(|| {
            let end = layout.map.len().checked_div(len).unwrap_or(0);
            Error::damaged(
                "$MFT",
                number.saturating_mul(len),
                format!("a record below {}", layout.records.min(end)),
                format!("a reference to record {number}"),
            )
        })
    }

    /// The bytes of record `number` as they are on disk.
    pub(super) fn read_raw(&self, number: u64) -> Result<Vec<u8>> {
        let mut disk = vec![0; usize::try_from(self.boot.record_size).unwrap_or(0)];
        let mut rest = disk.as_mut_slice();
        for piece in self.place(number)? {
            let len = usize::try_from(piece.len).unwrap_or(usize::MAX);
            let Some(((part, after), place)) = rest.split_at_mut_checked(len).zip(piece.place)
            else {
                break;
            };
            self.device
                .read_at(place, part)
                .context(|| format!("reading MFT record {number}"))?;
            rest = after;
        }
        Ok(disk)
    }

    /// Record `number`, whatever it describes.
    pub(super) fn read(&self, number: u64) -> Result<Record> {
        Record::parse(number, self.read_raw(number)?)
    }

    /// The base record that a reference names; it must be in use, and the one that was meant.
    pub(super) fn resolve(&self, reference: FileReference) -> Result<Record> {
        let record = self.read(reference.record)?;
        check_meant(&record, reference)?;
        Ok(record)
    }

    /// The system file with this record number.
    pub(super) fn system(&self, number: u64, name: &str) -> Result<Record> {
        let record = self.read(number).context(|| format!("reading {name}"))?;
        if !record.is_in_use() || record.base().is_some() {
            let what = format!("{name}, MFT record {number}");
            return Err(Error::damaged(
                what,
                0x16,
                "a base record in use",
                "another record",
            ));
        }
        Ok(record)
    }

    /// All attributes of this type, and of this name unless it is `None`, of the file with this base record.
    ///
    /// The extents of one attribute follow each other in the order of their VCNs.
    pub(super) fn collect(
        &self,
        base: &Arc<Record>,
        kind: u32,
        name: Option<&[u16]>,
    ) -> Result<Vec<Found>> {
        let wanted = |found_kind: u32, found_name: &[u16]| {
            found_kind == kind && name.is_none_or(|name| name == found_name)
        };
        let Some(list) = self.attribute_list(base)? else {
            let found = base.attributes().iter();
            return Ok(found
                .filter(|found| wanted(found.kind, &found.name))
                .map(|attribute| Found {
                    record: Arc::clone(base),
                    attribute: attribute.clone(),
                })
                .collect());
        };
        let mut found = Vec::new();
        // Consecutive entries often lie in the same record.
        let mut last = Arc::clone(base);
        for entry in list.iter().filter(|entry| wanted(entry.kind, &entry.name)) {
            if entry.holder.record == base.number() {
                last = Arc::clone(base);
            } else if entry.holder.record != last.number() {
                last = Arc::new(self.extension(base, entry.holder)?);
            }
            let attribute = pick(&last, entry)?.clone();
            found.push(Found {
                record: Arc::clone(&last),
                attribute,
            });
        }
        Ok(found)
    }

    /// The numbers of all records that hold attributes of the file with this base record, itself included.
    pub(super) fn holders(&self, base: &Record) -> Result<BTreeSet<u64>> {
        let list = self.attribute_list(base)?.unwrap_or_default();
        let holders = list.iter().map(|entry| entry.holder.record);
        Ok(holders.chain([base.number()]).collect())
    }

    /// The runs of one extent of a non-resident attribute.
    pub(super) fn runs(&self, record: &Record, attribute: &Attribute) -> Result<Vec<runs::Run>> {
        let Form::NonResident {
            lowest,
            highest,
            pairs,
            ..
        } = attribute.form
        else {
            return Ok(Vec::new());
        };
        let place = u64::try_from(pairs).unwrap_or(0);
        let what = format!(
            "MFT record {}, attribute {:#x}",
            record.number(),
            attribute.kind
        );
        let pairs = record.mapping_pairs(attribute).unwrap_or_default();
        runs::decode(pairs, lowest, highest, self.boot.clusters, &what, place)
    }

    /// A record that extends `base`.
    pub(super) fn extension(&self, base: &Record, reference: FileReference) -> Result<Record> {
        if reference.record == base.number() {
            return Ok(base.clone());
        }
        let record = self.read(reference.record)?;
        check_sequence(&record, reference)?;
        if record.base() != Some(base.reference()) {
            return Err(Error::damaged(
                format!("MFT record {}", reference.record),
                0x20,
                format!("a record that extends record {}", base.number()),
                format!("{:?}", record.base()),
            ));
        }
        Ok(record)
    }
}

/// The attribute in `record` that a list entry means.
fn pick<'r>(record: &'r Record, entry: &ListEntry) -> Result<&'r Attribute> {
    let meant = |found: &&Attribute| {
        found.kind == entry.kind
            && found.instance == entry.instance
            && found.name == entry.name
            && found.lowest() == entry.lowest
    };
    record.attributes().iter().find(meant).ok_or_else(|| {
        Error::damaged(
            format!("MFT record {}", record.number()),
            0,
            format!(
                "attribute {:#x} with instance {} and lowest VCN {}, as the attribute list says",
                entry.kind, entry.instance, entry.lowest
            ),
            "no such attribute",
        )
    })
}

/// The record must be the base record that the reference means.
pub(super) fn check_meant(record: &Record, reference: FileReference) -> Result<()> {
    check_sequence(record, reference)?;
    if record.base().is_some() {
        let what = format!("MFT record {}", reference.record);
        return Err(Error::damaged(
            what,
            0x20,
            "a base record",
            "an extension record",
        ));
    }
    Ok(())
}

fn check_sequence(record: &Record, reference: FileReference) -> Result<()> {
    let own = record.reference();
    // Sequence 0 in a reference means that it is not to be checked.
    if record.is_in_use() && (reference.sequence == own.sequence || reference.sequence == 0) {
        return Ok(());
    }
    let state = if record.is_in_use() { "in use" } else { "free" };
    Err(Error::damaged(
        format!("MFT record {}", own.record),
        0x10,
        format!(
            "a record in use with sequence number {}",
            reference.sequence
        ),
        format!("one that is {state}, with {}", own.sequence),
    ))
}

/// The error for an extent that does not continue the one before it, or makes the runs too many.
pub(super) fn gap(what: &str, lowest: u64, expected: u64) -> Error {
    let expected = format!("an extent from VCN {expected}, of less than two million runs in all");
    Error::damaged(what, 0, expected, format!("one from VCN {lowest}"))
}
