// SPDX-License-Identifier: GPL-2.0-or-later
//! What state Windows left the volume in, and the gates that follow from it.
//!
//! ```text
//! gate                  where it is read                                 order
//! BitLocker             boot sector (the volume does not even open)        0
//! hibernated            \hiberfil.sys, first 4 bytes "hibr"                1
//! unclean journal       $LogFile, see `gate`                               2
//! interrupted chkdsk    $Volume, $VOLUME_INFORMATION, flag 4000            3
//! no signature          boot sector, 55 AA at 1FE                          4
//! $MFTMirr differs      first four records of $MFT                         5
//! dirty flag            $VOLUME_INFORMATION, flag 1: reported only
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. Nothing here stops reading: a volume in any of
//! these states can be diagnosed, but what is read may be older than what Windows had in mind.

use std::sync::Arc;

use crate::bytes;
use crate::error::{Error, Result, ResultExt};
use crate::volume::{EntryKind, State, hibernated};

use super::format::{attribute_type, record_number};
use super::journal;
use super::logfile::Journal;
use super::mft::Mft;
use super::record::{Record, utf16};
use super::replay::Outcome;
use super::runs::RunList;
use super::stream::{Content, Stream};
use super::walk::Tree;

/// Flag of the volume: it is to be checked.
pub(super) const DIRTY: u16 = 1;
const CHKDSK_UNDERWAY: u16 = 0x4000;

/// Records that $MFTMirr always repeats.
pub(super) const MIRRORED: u64 = 4;

/// The volume's state with what only the gates need.
#[derive(Debug)]
pub(super) struct Condition {
    /// What callers see.
    pub(super) state: State,
    /// The journal, when the volume was opened.
    pub(super) journal: Journal,
    /// What became of it.
    pub(super) replay: Outcome,
    hibernation: Option<String>,
    chkdsk_underway: bool,
}

/// The flags in $VOLUME_INFORMATION of the record of $Volume.
pub(super) fn volume_flags(volume: &Record) -> Result<u16> {
    let information = volume.first(attribute_type::VOLUME_INFORMATION);
    information
        .and_then(|found| bytes::u16_le(volume.value(found)?, 0x0A))
        .ok_or_else(|| Error::damaged("$Volume", 0, "a $VOLUME_INFORMATION of 12 bytes", "none"))
}

impl Condition {
    /// Reads the state of a volume with this journal.
    pub(super) fn read(tree: &Tree, journal: Journal, replay: Outcome) -> Result<Condition> {
        let mft = &tree.mft;
        let volume = mft.system(record_number::VOLUME, "$Volume")?;
        let flags = volume_flags(&volume)?;
        let label = volume
            .first(attribute_type::VOLUME_NAME)
            .and_then(|found| volume.value(found))
            .map(|value| String::from_utf16_lossy(&utf16(value)))
            .filter(|label| !label.is_empty());
        let hibernation = hibernation(tree);
        Ok(Condition {
            state: State {
                file_system: "ntfs",
                label,
                serial: Some(format!("{:016X}", mft.boot.serial)),
                cluster_size: Some(mft.boot.cluster_size),
                dirty: flags & DIRTY != 0,
                hibernated: hibernation.is_some(),
                unclean_journal: replay.add_to(journal.uncleanness()),
                journal: Some(journal::describe(tree, &journal, &replay)),
            },
            journal,
            replay,
            hibernation,
            chkdsk_underway: flags & CHKDSK_UNDERWAY != 0,
        })
    }

    /// The gate before all others: nothing may change under a Windows that sleeps.
    pub(super) fn check_awake(&self) -> Result<()> {
        match &self.hibernation {
            Some(how) => Err(hibernated(how)),
            None => Ok(()),
        }
    }

    /// The gates behind the journal, in order.
    pub(super) fn check_sound(&self, mft: &Mft) -> Result<()> {
        if self.chkdsk_underway {
            return Err(Error::refused(
                "chkdsk was interrupted on this volume",
                "let it finish: attach the disk to a Windows computer and run `chkdsk X: /f`",
            ));
        }
        if !mft.boot.signed {
            return Err(Error::damaged(
                "NTFS boot sector",
                0x1FE,
                "signature 55 AA",
                "other bytes",
            ));
        }
        check_mirror(mft)
    }
}

/// Says why Windows may be hibernated here; `None` when it is not.
fn hibernation(tree: &Tree) -> Option<String> {
    // ntfs-3g's rule: a file too short for a header comes from another volume's hibernation.
    const HEADER_LEN: usize = 4096;
    let header = || -> Result<Option<Vec<u8>>> {
        let Some(node) = tree.resolve("hiberfil.sys")? else {
            return Ok(None);
        };
        if node.kind == EntryKind::Directory {
            return Ok(None);
        }
        let stream = tree.content("hiberfil.sys", &node)?;
        let len = stream.len().min(HEADER_LEN.try_into().unwrap_or(0));
        let mut header = vec![0; usize::try_from(len).unwrap_or(0)];
        stream.read_at(&tree.mft, 0, &mut header)?;
        Ok(Some(header))
    };
    match header() {
        Ok(None) => None,
        Ok(Some(header)) => crate::volume::hibernation(&header, HEADER_LEN),
        Err(fault) => Some(format!("hiberfil.sys cannot be read ({fault})")),
    }
}

/// Where $MFTMirr lies and how many bytes of it there are.
pub(super) fn mirror(mft: &Mft) -> Result<(RunList, u64)> {
    let record = Arc::new(mft.system(record_number::MFT_MIRROR, "$MFTMirr")?);
    let stream = Stream::find(mft, &record, attribute_type::DATA, "")?;
    let needed = MIRRORED.saturating_mul(u64::from(mft.boot.record_size));
    let found = match stream.map(|stream| stream.content) {
        Some(Content::NonResident { map, sizes, .. }) if sizes.initialised >= needed => {
            Some((map, sizes))
        }
        _ => None,
    };
    found
        .filter(|(map, _)| {
            let first = map.runs().first().and_then(|run| run.lcn);
            first == Some(mft.boot.mft_mirror)
        })
        .map(|(map, sizes)| (map, sizes.initialised))
        .ok_or_else(|| {
            let expected = format!("{needed} bytes where the boot sector says");
            Error::damaged("$MFTMirr", 0, expected, "something else")
        })
}

/// The records that $MFTMirr repeats must be the same in both.
fn check_mirror(mft: &Mft) -> Result<()> {
    let (map, _) = mirror(mft)?;
    let record_size = u64::from(mft.boot.record_size);
    for number in 0..MIRRORED {
        let main = mft.read_raw(number)?;
        let mut copy = vec![0; main.len()];
        let offset = number.saturating_mul(record_size);
        map.read_at(mft.device.as_ref(), offset, &mut copy, "$MFTMirr")
            .context(|| "reading $MFTMirr")?;
        if main != copy {
            return Err(Error::damaged(
                "$MFTMirr",
                offset,
                format!("the same bytes as record {number} of $MFT"),
                "others",
            )
            .with_hint(
                "checking the volume before writing",
                "let Windows repair it: attach the disk to a Windows computer and run `chkdsk X: /f`",
            ));
        }
    }
    Ok(())
}
