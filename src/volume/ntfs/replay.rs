// SPDX-License-Identifier: GPL-2.0-or-later
//! The journal of this volume, replayed when it is opened, and what is looked at before that is believed.
//!
//! ```text
//! $LogFile, pending -> logfile::replay on an overlay -> $MFTMirr made equal -> checks -> Deferred, on which the volume is opened
//!                      any fault: the overlay is dropped, the volume is opened as it was left
//!
//! checks: each MFT record that was changed,    its bit in $MFT's $BITMAP is as it says, its clusters are in use in $Bitmap
//!         or found to have been
//!         each index of which a block was, or  every node is one, has one parent, its block is in use
//!         the record of its root
//! ```
//!
//! Source: the Linux driver ntfs3 (fslog.c) for the copy in $MFTMirr. The checks are our own: whatever the log said, a volume
//! that does not agree with itself afterwards is not written.

use std::sync::Arc;

use crate::device::SharedDevice;
use crate::device::deferred::Deferred;
use crate::device::overlay::Overlay;
use crate::error::{Error, Result, ResultExt};

use super::bitmap::Bitmap;
use super::clusters;
use super::format::{FileReference, attribute_type, record_number};
use super::index;
use super::journal;
use super::logfile::{Disk, Journal, Replayed, Verdict};
use super::mft::Mft;
use super::record::{Form, Record};
use super::runs::Run;
use super::state;
use super::stream::{Content, Stream};
use super::upcase::Upcase;

/// What became of a pending journal when the volume was opened.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// Nothing waits, or it cannot be told what does.
    NotNeeded,
    /// It was not asked for.
    Off,
    /// Everything that waited is done, on the device that the volume is read from.
    Done(Replayed),
    /// It could not be done; says why. The volume is as it was left.
    Refused(String),
}

impl Outcome {
    /// What waited is done.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Outcome::Done(_))
    }

    /// `how` the journal was left, with what became of it.
    pub(super) fn add_to(&self, how: Option<String>) -> Option<String> {
        let how = how?;
        Some(match self {
            Outcome::NotNeeded => how,
            Outcome::Off => format!("{how}; not replayed, as was asked for"),
            Outcome::Done(done) => format!(
                "{how}; replayed in memory: {} done again, {} found on the disk, {} taken back",
                done.redone, done.on_disk, done.undone
            ),
            Outcome::Refused(reason) => format!("{how}; it cannot be replayed: {reason}"),
        })
    }
}

/// Replays what waits, where something does and `wanted` says so. Gives $MFT as it is afterwards.
pub(super) fn replay(mft: Mft, journal: &Journal, wanted: bool) -> (Mft, Outcome) {
    match (&journal.verdict, wanted) {
        (Verdict::Pending(_), true) => match replayed(&mft, journal) {
            Ok((mft, done)) => (mft, Outcome::Done(done)),
            Err(error) => (mft, Outcome::Refused(error.to_string())),
        },
        (Verdict::Pending(_), false) => (mft, Outcome::Off),
        _ => (mft, Outcome::NotNeeded),
    }
}

fn replayed(mft: &Mft, journal: &Journal) -> Result<(Mft, Replayed)> {
    let overlay = Arc::new(Overlay::new(Arc::clone(&mft.device)));
    let shared = || Arc::clone(&overlay) as SharedDevice;
    let log = journal::clusters(mft)?;
    let mapping = |file: FileReference, kind: u32, name: &str, vcn: u64| {
        let mft = Mft::open(shared(), mft.boot.clone()).ok()?;
        mapped(&mft, file, kind, name, vcn)
    };
    let disk = Disk {
        device: overlay.as_ref(),
        log: &log,
        mapping: &mapping,
    };
    let done = journal::replay(mft, journal, &disk)?;
    let after = Mft::open(shared(), mft.boot.clone()).context(|| "after the replay")?;
    repeat_in_mirror(&after).context(|| "after the replay")?;
    check(&after, &done).context(|| "after the replay")?;
    Upcase::read(&after).context(|| "after the replay")?;
    drop(after);
    let Some(overlay) = Arc::into_inner(overlay) else {
        return Err(Error::refused(
            "the changes are still in use",
            "report this",
        ));
    };
    let device = Arc::new(Deferred::new(overlay));
    Ok((Mft::open(device, mft.boot.clone())?, done))
}

/// Where a cluster of an attribute is.
pub(super) fn mapped(
    mft: &Mft,
    file: FileReference,
    kind: u32,
    name: &str,
    vcn: u64,
) -> Option<u64> {
    let record = Arc::new(mft.resolve(file).ok()?);
    let stream = Stream::find(mft, &record, kind, name).ok()??;
    let Content::NonResident { map, .. } = stream.content else {
        return None;
    };
    let run = map.runs().iter().find(|run| {
        vcn.checked_sub(run.vcn)
            .is_some_and(|into| into < run.clusters)
    })?;
    run.lcn?.0.checked_add(vcn.checked_sub(run.vcn)?)
}

/// Makes the records that $MFTMirr repeats equal in both.
///
/// With large clusters it has room for more than four. A volume of Windows 10 with clusters of 2 MiB repeats all that are not
/// users', and ntfs-3g does not mount one where these differ.
fn repeat_in_mirror(mft: &Mft) -> Result<()> {
    let (map, len) = state::mirror(mft)?;
    let record_size = u64::from(mft.boot.record_size);
    let room = len.checked_div(record_size).unwrap_or(0).min(mft.records());
    for number in 0..room.min(record_number::FIRST_USER) {
        let raw = mft.read_raw(number)?;
        let offset = number.saturating_mul(record_size);
        let mut copy = vec![0; raw.len()];
        map.read_at(mft.device.as_ref(), offset, &mut copy, "$MFTMirr")?;
        if copy != raw
            && let Some(pieces) = map.pieces(offset, record_size)
        {
            mft.write_pieces(&pieces, &raw)?;
        }
    }
    Ok(())
}

/// The volume must agree with itself wherever the log had something to change.
fn check(mft: &Mft, done: &Replayed) -> Result<()> {
    let records = Bitmap::records(mft)?;
    let clusters = Bitmap::clusters(mft)?;
    for number in &done.records {
        if *number >= mft.records() {
            return Err(Error::damaged(
                "$MFT",
                0,
                format!("record {number}, which the replay changed"),
                format!("{} records", mft.records()),
            ));
        }
        let record = mft.read(*number)?;
        let used = record.is_in_use();
        if records.find_other(*number, 1, used)?.is_some() {
            let say = |used| if used { "in use" } else { "free" };
            let expected = format!("record {number} {}, as it says itself", say(used));
            return Err(Error::damaged(
                "$BITMAP of $MFT",
                number / 8,
                expected,
                say(!used),
            ));
        }
        if used {
            check_record(mft, &clusters, &record)?;
            check_roots(mft, &record)?;
        }
    }
    for (file, name) in &done.indexes {
        // Removed since, it is nobody's any more.
        if mft.resolve(*file).is_ok() {
            index::check_sound(mft, file.record, name)?;
        }
    }
    Ok(())
}

/// Every index whose root is in the record holds together.
fn check_roots(mft: &Mft, record: &Record) -> Result<()> {
    let base = record.base().map_or(record.number(), |base| base.record);
    let roots = record.attributes().iter();
    for root in roots.filter(|found| found.kind == attribute_type::INDEX_ROOT) {
        index::check_sound(mft, base, &String::from_utf16_lossy(&root.name))?;
    }
    Ok(())
}

/// Every cluster that the record maps is marked as used.
fn check_record(mft: &Mft, bitmap: &Bitmap<'_>, record: &Record) -> Result<()> {
    for attribute in record.attributes() {
        if !matches!(attribute.form, Form::NonResident { .. }) {
            continue;
        }
        let runs: Vec<Run> = mft.runs(record, attribute)?;
        for (first, end) in clusters::ranges(&runs) {
            let count = end.saturating_sub(first);
            if let Some(cluster) = bitmap.find_other(first, count, true)? {
                let number = record.number();
                return Err(Error::damaged(
                    "$Bitmap",
                    cluster / 8,
                    format!("cluster {cluster} in use, for MFT record {number} has it"),
                    "it is free",
                ));
            }
        }
    }
    Ok(())
}
