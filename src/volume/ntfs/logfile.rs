// SPDX-License-Identifier: GPL-2.0-or-later
//! `$LogFile`: is the journal clean? Nothing here replays it.
//!
//! ```text
//! restart page, at 0 and at 1000:  0 "RSTR" ("CHKD" after chkdsk)  10 u32 page size  14 u32 log page size
//!                                  18 u16 restart area  1A i16 minor version  1C i16 major version
//! restart area:  0 u64 current LSN  8 u16 clients  C u16 in-use list (FFFF = none)
//!                E u16 flags (2 = volume clean)
//! ```
//!
//! Source: the Linux driver ntfs3 (fslog.c) and ntfs-3g (logfile.c). Stricter than both
//! where they leave a choice: version 2.0 is never clean, for Windows writes 1.1 when it lets go of a
//! volume; and a single readable restart page is not trusted to be the newer one.

use crate::bytes;

use super::multi_sector;

const PAGE: usize = 0x1000;

/// Bytes from the start of `$LogFile` that hold both restart pages.
pub(super) const RESTART_PAGES_LEN: u64 = 0x2000;

/// Says in what way the journal is not clean; `None` when it is.
///
/// `start` is the beginning of the file, both restart pages; `rest_is_empty` is asked whether all that
/// follows is FF bytes, when the restart pages are.
pub(super) fn uncleanness(start: &[u8], rest_is_empty: impl FnOnce() -> bool) -> Option<String> {
    let (pages, _) = start.as_chunks::<PAGE>();
    let Some((first, second)) = pages.first().zip(pages.get(1)) else {
        return Some("it is shorter than its two restart pages".into());
    };
    let empty = |page: &[u8; PAGE]| page.iter().all(|byte| *byte == 0xFF);
    if empty(first) && empty(second) {
        // What mkntfs and ntfs-3g leave. Windows makes a new journal of it.
        return (!rest_is_empty())
            .then(|| "its restart pages are erased, but not its records".into());
    }
    match (RestartPage::parse(first), RestartPage::parse(second)) {
        (Ok(first), Ok(second)) => {
            let newer = if second.current_lsn > first.current_lsn {
                second
            } else {
                first
            };
            newer.uncleanness()
        }
        (Err(first), Err(second)) => Some(format!(
            "no good restart page (first: {first}; second: {second})"
        )),
        (Ok(_), Err(fault)) => Some(format!("the second restart page is bad: {fault}")),
        (Err(fault), Ok(_)) => Some(format!("the first restart page is bad: {fault}")),
    }
}

/// The fields of a restart page that decide.
struct RestartPage {
    checked: bool,
    version: (u16, u16),
    current_lsn: u64,
    in_use: u16,
    flags: u16,
}

impl RestartPage {
    fn parse(page: &[u8; PAGE]) -> Result<RestartPage, String> {
        let mut page = page.to_vec();
        let checked = page.starts_with(b"CHKD");
        let magic = if checked { b"CHKD" } else { b"RSTR" };
        multi_sector::restore(&mut page, magic, "restart page", 0)
            .map_err(|fault| fault.to_string())?;
        let cut = || "cut off".to_owned();
        let u16 = |offset: usize| bytes::u16_le(&page, offset).ok_or_else(cut);
        let sizes = (bytes::u32_le(&page, 0x10), bytes::u32_le(&page, 0x14));
        if sizes != (Some(0x1000), Some(0x1000)) {
            return Err(format!("page sizes {sizes:?}, not 4096"));
        }
        let area = usize::from(u16(0x18)?);
        let clients = u16(area.saturating_add(8))?;
        let area_len = usize::from(u16(area.saturating_add(0x14))?);
        if area < 0x30 || !area.is_multiple_of(8) || area.saturating_add(area_len) > PAGE {
            return Err(format!("restart area at {area:#x}, {area_len:#x} bytes"));
        }
        // A page of chkdsk has no client.
        if clients != 1 && !checked {
            return Err(format!("{clients} clients"));
        }
        Ok(RestartPage {
            checked,
            version: (u16(0x1C)?, u16(0x1A)?),
            current_lsn: bytes::u64_le(&page, area).ok_or_else(cut)?,
            in_use: u16(area.saturating_add(0x0C))?,
            flags: u16(area.saturating_add(0x0E))?,
        })
    }

    fn uncleanness(&self) -> Option<String> {
        const NONE: u16 = 0xFFFF;
        const VOLUME_CLEAN: u16 = 2;
        if self.checked {
            // chkdsk ran after the last record: the records are void.
            return None;
        }
        match self.version {
            (1, 1) => {}
            (2, 0) => {
                return Some(
                    "version 2.0: Windows did not let go of the volume (crash, power cut, fast start-up, \
                     or a snapshot of a running machine)"
                        .into(),
                );
            }
            (major, minor) => return Some(format!("version {major}.{minor}, which is not known")),
        }
        if self.in_use == NONE || self.flags & VOLUME_CLEAN != 0 {
            return None;
        }
        Some(format!(
            "it is in use (in-use list {:#06x}, flags {:#06x}): the volume was not dismounted",
            self.in_use, self.flags
        ))
    }
}

#[cfg(test)]
mod tests;
