// SPDX-License-Identifier: GPL-2.0-or-later
//! Closing `$LogFile`: the restart page that says that the volume was let go of.
//!
//! ```text
//! page:    0 "RSTR"   8 u64 chkdsk LSN = 0   1A, 1C version = 1.1
//! area:    0 u64 current LSN = end of the log   A u16 free list = 0   C u16 in-use list = FFFF
//!          E u16 flags = 2 (volume clean)   20 u32 data length of the record at the end   28 u32 open count + 1
//! client:  0 u64 oldest LSN = end   8 u64 restart LSN = 0   10, 12 u16 neighbours in the list = FFFF
//! ```
//!
//! The same page goes to 0 and to 1000; everything else stays as it is, for nobody looks at records when
//! no client is in use. The LSN is kept, so that later records get greater ones than all that is on the disk;
//! ntfs-3g, which fills the file with FF, gives that up. Version 1.1 because Windows itself goes back to it
//! when it lets go of a volume, and ntfs-3g mounts no other.
//!
//! Where the end cannot be told (and what waits is thrown away) the current LSN is the start of the file in the
//! next sequence, greater than any before: a place in front of all records, which the driver takes as "begin
//! with the first page".
//!
//! Source: the Linux driver ntfs3 (fslog.c).

use super::Journal;
use super::pages::{Source, intact};
use super::restart::{PAGE, PAGE_LEN, RestartPage};
use crate::bytes;
use crate::error::{Error, Result};
use crate::volume::ntfs::multi_sector;

/// The last record of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::volume::ntfs) struct End {
    /// Its LSN.
    pub(in crate::volume::ntfs) lsn: u64,
    /// Bytes of what the client wrote in it.
    pub(super) data_len: u32,
}

/// The page that closes the journal, for both places. `source` is what `journal` was read from.
///
/// An error when no restart page tells how the file is laid out.
pub(in crate::volume::ntfs) fn closed_page(
    journal: &Journal,
    source: &dyn Source,
) -> Result<[u8; PAGE]> {
    let newest = journal.newest.as_ref().ok_or_else(|| {
        Error::refused(
            "the journal ($LogFile) cannot be closed: it has no good restart page, which tells how it goes on",
            "let Windows repair it: attach the disk to a Windows computer and run `chkdsk X: /f`",
        )
    })?;
    let layout = newest.layout(source.len())?;
    let end = match journal.end {
        Some(end) => end,
        None => next_sequence(newest, source)?,
    };
    let client = newest.area.saturating_add(layout.client);
    let open_count = newest.u32(0x28).wrapping_add(1);
    let area = |at: usize| newest.area.saturating_add(at);
    let fields: [(usize, &[u8]); 14] = [
        (0, b"RSTR"),
        (8, &[0; 8]),
        (0x1A, &1_u16.to_le_bytes()),
        (0x1C, &1_u16.to_le_bytes()),
        (area(0), &end.lsn.to_le_bytes()),
        (area(0x0A), &0_u16.to_le_bytes()),
        (area(0x0C), &u16::MAX.to_le_bytes()),
        (area(0x0E), &2_u16.to_le_bytes()),
        (area(0x20), &end.data_len.to_le_bytes()),
        (area(0x28), &open_count.to_le_bytes()),
        (client, &end.lsn.to_le_bytes()),
        (client.saturating_add(8), &[0; 8]),
        (client.saturating_add(0x10), &u16::MAX.to_le_bytes()),
        (client.saturating_add(0x12), &u16::MAX.to_le_bytes()),
    ];
    let mut page = newest.page.clone();
    let put = fields
        .iter()
        .all(|(at, field)| bytes::put(&mut page, *at, field));
    let protected = put && multi_sector::protect(&mut page);
    let page = page.first_chunk::<PAGE>().filter(|_| protected).copied();
    page.ok_or_else(|| {
        let expected = "the fields of a restart page";
        Error::damaged("restart page of $LogFile", 0, expected, "its end")
    })
}

/// A place in front of the first record page, with the sequence after the greatest that any page has.
fn next_sequence(newest: &RestartPage, source: &dyn Source) -> Result<End> {
    let layout = newest.layout(source.len())?;
    let mut greatest = layout.sequence(newest.current_lsn);
    let mut at = PAGE_LEN.saturating_mul(2);
    while at < layout.usable {
        if let Some((header, _)) = intact(source, at)? {
            greatest = greatest.max(layout.sequence(header.last_end_lsn));
        }
        at = at.saturating_add(PAGE_LEN);
    }
    // LSNs are compared as signed numbers.
    let most = (u64::MAX >> 1).checked_shr(layout.offset_bits).unwrap_or(0);
    if greatest >= most {
        return Err(Error::damaged(
            "$LogFile",
            0,
            format!("sequences below {most:#x}"),
            format!("{greatest:#x}"),
        ));
    }
    Ok(End {
        lsn: layout.lsn(0, greatest.saturating_add(1)),
        data_len: 0,
    })
}
