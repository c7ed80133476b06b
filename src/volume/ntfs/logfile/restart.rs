// SPDX-License-Identifier: GPL-2.0-or-later
//! Restart pages of `$LogFile`, and the arithmetic of log sequence numbers (LSN) that they define.
//!
//! ```text
//! page, at 0 and at 1000:  0 "RSTR" ("CHKD" after chkdsk)   10 u32 page size   14 u32 log page size
//!                          18 u16 restart area   1A i16 minor version   1C i16 major version
//! restart area:  0 u64 current LSN   8 u16 clients   C u16 in-use list (FFFF = none)
//!                E u16 flags (2 = volume clean)   10 u32 bits of the sequence   14 u16 area length
//!                16 u16 client array   18 u64 usable size   24 u16 record header length   26 u16 data offset
//! client:        0 u64 oldest LSN   8 u64 restart LSN   1C u32 name length   20 "NTFS"
//!
//! LSN:  [ sequence, `bits of the sequence` wide ][ file offset / 8 ]
//! ```
//!
//! Source: the Linux driver ntfs3 (fslog.c) and ntfs-3g (logfile.c). Handled: versions 1.1 and 2.0, pages of
//! 4096 bytes, one client. The fields that say whether the journal is clean are read first and alone, the
//! others only when the records must be read.

use crate::bytes;
use crate::error::{Error, Result};
use crate::volume::ntfs::multi_sector;

/// Bytes of every page of the journal.
pub(super) const PAGE: usize = 0x1000;
/// The same for file offsets.
pub(super) const PAGE_LEN: u64 = 0x1000;
/// Where the data of a record page begin.
pub(super) const DATA_OFFSET: u64 = 0x40;
/// The longest journal that is analysed, in bytes. Windows makes 64 MiB unless told otherwise.
const USABLE_MAX: u64 = 0x2000_0000;

/// The fields of a restart page that say whether the journal is clean, and the page itself.
#[derive(Clone, Debug)]
pub(super) struct RestartPage {
    /// The page, the original bytes back in place.
    pub(super) page: Vec<u8>,
    /// Where the restart area begins in it.
    pub(super) area: usize,
    /// chkdsk ran after the last record.
    checked: bool,
    /// Major and minor version.
    pub(super) version: (u16, u16),
    /// The newest LSN that the page knows.
    pub(super) current_lsn: u64,
    in_use: u16,
    flags: u16,
}

impl RestartPage {
    /// Reads one restart page as it is on disk. The error says in words what is wrong with it.
    pub(super) fn parse(page: &[u8; PAGE]) -> Result<RestartPage, String> {
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
        let version = (u16(0x1C)?, u16(0x1A)?);
        let current_lsn = bytes::u64_le(&page, area).ok_or_else(cut)?;
        let in_use = u16(area.saturating_add(0x0C))?;
        let flags = u16(area.saturating_add(0x0E))?;
        Ok(RestartPage {
            page,
            area,
            checked,
            version,
            current_lsn,
            in_use,
            flags,
        })
    }

    /// Says in what way the journal was left open; `None` when it is clean.
    ///
    /// Stricter than ntfs3 and ntfs-3g: version 2.0 is never clean, for Windows writes 1.1 when it lets go
    /// of a volume.
    pub(super) fn uncleanness(&self) -> Option<String> {
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

    /// Where things are in the file, checked. `file_len` is the length of `$LogFile` in bytes.
    pub(super) fn layout(&self, file_len: u64) -> Result<Layout> {
        let fast_pages = match self.version {
            (1, 1) => false,
            (2, 0) => true,
            (major, minor) => {
                return Err(Error::unsupported(
                    format!("$LogFile has version {major}.{minor}"),
                    "let Windows close it: attach the disk to a Windows computer",
                ));
            }
        };
        let (area_len, client) = (usize::from(self.u16(0x14)), usize::from(self.u16(0x16)));
        need(
            client >= 0x28 && client.is_multiple_of(8) && client.saturating_add(0xA0) <= area_len,
            "a client array inside the restart area",
            format!("offset {client:#x} in {area_len:#x} bytes"),
        )?;
        let lens = (self.u16(0x24), self.u16(0x26));
        need(
            lens == (0x30, 0x40),
            "record header length 0x30 and data offset 0x40",
            format!("{:#x} and {:#x}", lens.0, lens.1),
        )?;
        let usable = self.u64(0x18);
        let smallest = PAGE_LEN.saturating_mul(0x32);
        need(
            usable.is_multiple_of(PAGE_LEN) && (smallest..=file_len).contains(&usable),
            "a usable size of whole pages inside the file",
            format!("{usable:#x} bytes of {file_len:#x}"),
        )?;
        let sequence_bits = self.u32(0x10);
        let expected = 67_u32.saturating_sub(u64::BITS.saturating_sub(usable.leading_zeros()));
        need(
            sequence_bits == expected,
            "as many bits for the sequence as the usable size leaves",
            format!("{sequence_bits} instead of {expected}"),
        )?;
        let name = self.area.saturating_add(client.saturating_add(0x20));
        let name = bytes::array::<8>(&self.page, name);
        need(
            self.u32(client.saturating_add(0x1C)) == 8 && name.as_ref() == Some(b"N\0T\0F\0S\0"),
            "the client \"NTFS\"",
            "another name".into(),
        )?;
        Ok(Layout {
            fast_pages,
            usable,
            offset_bits: u64::BITS.saturating_sub(sequence_bits),
            client,
        })
    }

    /// All that is needed to read the records, checked. `file_len` is the length of `$LogFile` in bytes.
    pub(super) fn restart(&self, file_len: u64) -> Result<Restart> {
        let layout = self.layout(file_len)?;
        let (free, in_use) = (self.u16(0x0A), self.in_use);
        need(
            in_use == 0 && (free == 0 || free == 0xFFFF),
            "its one client in use",
            format!("in-use list {in_use:#06x}, free list {free:#06x}"),
        )?;
        if layout.usable > USABLE_MAX {
            return Err(Error::unsupported(
                format!(
                    "$LogFile has {:#x} bytes, more than the {USABLE_MAX:#x} that are analysed",
                    layout.usable
                ),
                "let Windows close it: attach the disk to a Windows computer",
            ));
        }
        let restart = Restart {
            current_lsn: self.current_lsn,
            oldest_lsn: self.u64(layout.client),
            restart_lsn: self.u64(layout.client.saturating_add(8)),
            layout,
        };
        for (what, lsn) in [
            ("oldest", restart.oldest_lsn),
            ("restart", restart.restart_lsn),
            ("current", restart.current_lsn),
        ] {
            need(
                lsn <= restart.current_lsn && restart.holds(lsn),
                "LSNs of records, none above the current one",
                format!("{what} LSN {lsn:#x}, current {:#x}", restart.current_lsn),
            )?;
        }
        Ok(restart)
    }

    /// A field of the restart area.
    fn u16(&self, at: usize) -> u16 {
        bytes::u16_le(&self.page, self.area.saturating_add(at)).unwrap_or(0)
    }

    /// A field of the restart area.
    pub(super) fn u32(&self, at: usize) -> u32 {
        bytes::u32_le(&self.page, self.area.saturating_add(at)).unwrap_or(0)
    }

    /// A field of the restart area.
    fn u64(&self, at: usize) -> u64 {
        bytes::u64_le(&self.page, self.area.saturating_add(at)).unwrap_or(0)
    }
}

/// An error about the restart page unless `good`.
fn need(good: bool, expected: &str, found: String) -> Result<()> {
    good.then_some(())
        .ok_or_else(|| Error::damaged("restart page of $LogFile", 0, expected, found))
}

/// Where pages are in the file and how LSNs are made; also of a journal that is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Version 2.0: two banks of fast pages. Else 1.1: two tail pages.
    pub(super) fast_pages: bool,
    /// End of the circular area: bytes from the start of the file.
    pub(super) usable: u64,
    /// Bits of an LSN that hold the file offset divided by 8.
    pub(super) offset_bits: u32,
    /// Where the client's record begins: bytes from the restart area.
    pub(super) client: usize,
}

/// Where the records are and how their LSNs are made: a restart page with all its checks passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Restart {
    /// Where pages are and how LSNs are made.
    layout: Layout,
    /// The newest LSN that the page knows; the log reaches at least so far.
    pub(super) current_lsn: u64,
    /// The oldest LSN that the client needs.
    pub(super) oldest_lsn: u64,
    /// The client's last checkpoint.
    pub(super) restart_lsn: u64,
}

impl std::ops::Deref for Restart {
    type Target = Layout;

    fn deref(&self) -> &Layout {
        &self.layout
    }
}

impl Layout {
    /// The first page of the circular area: bytes from the start of the file.
    pub(super) fn first_page(&self) -> u64 {
        if self.fast_pages { 0x2_2000 } else { 0x4000 }
    }

    /// Pages of the circular area.
    pub(super) fn circular_pages(&self) -> u64 {
        let len = self.usable.saturating_sub(self.first_page());
        len.checked_div(PAGE_LEN).unwrap_or(0)
    }

    /// The file offset of the record with this LSN.
    pub(super) fn offset(&self, lsn: u64) -> u64 {
        let mask = 1_u64
            .checked_shl(self.offset_bits)
            .unwrap_or(0)
            .wrapping_sub(1);
        (lsn & mask).wrapping_mul(8)
    }

    /// How often the log had gone round when this LSN was given.
    pub(super) fn sequence(&self, lsn: u64) -> u64 {
        lsn.checked_shr(self.offset_bits).unwrap_or(0)
    }

    /// The page in which the record with this LSN begins.
    pub(super) fn page(&self, lsn: u64) -> u64 {
        self.offset(lsn) & !0xFFF
    }

    /// The LSN of a record at this file offset.
    pub(super) fn lsn(&self, offset: u64, sequence: u64) -> u64 {
        offset.wrapping_shr(3) | sequence.checked_shl(self.offset_bits).unwrap_or(0)
    }

    /// The page after this one and its sequence.
    pub(super) fn next_page(&self, page: u64, sequence: u64) -> (u64, u64) {
        match page.checked_add(PAGE_LEN) {
            Some(next) if next < self.usable => (next, sequence),
            _ => (self.first_page(), sequence.wrapping_add(1)),
        }
    }

    /// A record header with this LSN would lie in the circular area.
    pub(super) fn holds(&self, lsn: u64) -> bool {
        let offset = self.offset(lsn);
        let in_page = offset & 0xFFF;
        (self.first_page()..self.usable).contains(&offset)
            && (DATA_OFFSET..=0xFD0).contains(&in_page)
    }
}
