// SPDX-License-Identifier: GPL-2.0-or-later
//! The base block: the first sector of a hive and of each of its transaction logs.
//!
//! ```text
//!   0 "regf" |   4 primary sequence |   8 secondary sequence | 12 last written (FILETIME, 8 bytes)
//!  20 major  |  24 minor            |  28 file type          | 32 format
//!  36 root cell offset              |  40 hive bins data size | 44 clustering factor
//!  48 file name, 64 bytes of UTF-16 | 112 .. 507 GUIDs, flags (144), reserved
//! 508 checksum: XOR of the 127 words before it, never 0 and never 0xffffffff
//! ```
//!
//! The block is 4096 bytes long in a hive; everything that has a meaning on disk lies in the first 512.
//! Numbers are little-endian. Source: msuhanov/regf, "Base block". Bytes that have no name here (GUIDs,
//! the time of the last reorganisation, the writer's signature) are kept byte for byte by every setter.

use crate::bytes::{array, put, u32_le, u64_le};
use crate::error::{Error, Result};

/// Bytes of a hive before the first hive bin; cell offsets count from here.
pub const BASE_BLOCK_SIZE: usize = 4096;
/// Bytes of the base block that carry a meaning and that the checksum covers (with the checksum itself).
pub const SECTOR_SIZE: usize = 512;
/// The first four bytes.
pub const SIGNATURE: [u8; 4] = *b"regf";
/// Bit 0 of [`BaseBlock::flags`]: the kernel transaction manager has transactions pending on this hive.
pub const FLAG_PENDING_TRANSACTIONS: u32 = 1;

const PRIMARY_SEQUENCE: usize = 4;
const SECONDARY_SEQUENCE: usize = 8;
const LAST_WRITTEN: usize = 12;
const MAJOR: usize = 20;
const MINOR: usize = 24;
const FILE_TYPE: usize = 28;
const FORMAT: usize = 32;
const ROOT_OFFSET: usize = 36;
const BINS_SIZE: usize = 40;
const CLUSTERING: usize = 44;
const FILE_NAME: usize = 48;
const FLAGS: usize = 144;
const CHECKSUM: usize = 508;

/// What a file that begins with a base block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// 0: the hive itself.
    Primary,
    /// 1 or 2: a transaction log of the old format, a bitmap of dirty sectors (Windows 2000 to 8).
    OldLog(u32),
    /// 6: a transaction log of the new format, a chain of entries (Windows 8.1 and later).
    NewLog,
    /// A number the specification does not name.
    Other(u32),
}

impl From<u32> for FileType {
    fn from(number: u32) -> Self {
        match number {
            0 => FileType::Primary,
            1 | 2 => FileType::OldLog(number),
            6 => FileType::NewLog,
            other => FileType::Other(other),
        }
    }
}

impl From<FileType> for u32 {
    fn from(file_type: FileType) -> Self {
        match file_type {
            FileType::Primary => 0,
            FileType::NewLog => 6,
            FileType::OldLog(number) | FileType::Other(number) => number,
        }
    }
}

/// The fields of a base block, as they are stored: nothing but the signature has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseBlock {
    /// Raised before a write of the hive begins.
    pub primary_sequence: u32,
    /// Raised to the primary sequence number once the write is complete.
    pub secondary_sequence: u32,
    /// When the hive was last written: FILETIME (units of 100 ns since 1601). Windows 8.1 and later leave
    /// it alone; a log of the old format is matched to its hive by it.
    pub last_written: u64,
    /// Major version; 1.
    pub major: u32,
    /// Minor version; 3 to 6 in use.
    pub minor: u32,
    /// Hive or log.
    pub file_type: FileType,
    /// File format; 1 ("direct memory load").
    pub format: u32,
    /// Root key node: bytes from the first hive bin.
    pub root_offset: u32,
    /// Bytes of all hive bins together; a multiple of 4096.
    pub bins_size: u32,
    /// Logical sector size divided by 512; 1 in practice.
    pub clustering: u32,
    /// The last 32 UTF-16 units of the hive's path, up to the first NUL; information only, may be rubbish.
    pub file_name: String,
    /// Bit 0: [`FLAG_PENDING_TRANSACTIONS`]; bit 1: defragmented, or layered keys in use.
    pub flags: u32,
    /// The stored checksum.
    pub checksum: u32,
    /// The checksum that the bytes demand.
    pub computed_checksum: u32,
}

impl BaseBlock {
    /// Reads the base block at the start of `bytes`, which may be a hive, a log, or their first 512 bytes.
    ///
    /// Only the signature must be right, so that damage can be described; see [`BaseBlock::checksum_valid`]
    /// and [`BaseBlock::is_dirty`].
    ///
    /// # Errors
    /// `Damaged` when there are fewer than 512 bytes or they do not begin with "regf".
    pub fn parse(bytes: &[u8]) -> Result<BaseBlock> {
        let too_short = || damaged(0, "512 bytes", format!("{} bytes", bytes.len()));
        let sector: [u8; SECTOR_SIZE] = array(bytes, 0).ok_or_else(too_short)?;
        if !sector.starts_with(&SIGNATURE) {
            let found = String::from_utf8_lossy(sector.get(..4).unwrap_or_default());
            return Err(damaged(0, "\"regf\"", format!("{found:?}")));
        }
        let word = |offset| u32_le(&sector, offset).ok_or_else(too_short);
        Ok(BaseBlock {
            primary_sequence: word(PRIMARY_SEQUENCE)?,
            secondary_sequence: word(SECONDARY_SEQUENCE)?,
            last_written: u64_le(&sector, LAST_WRITTEN).ok_or_else(too_short)?,
            major: word(MAJOR)?,
            minor: word(MINOR)?,
            file_type: word(FILE_TYPE)?.into(),
            format: word(FORMAT)?,
            root_offset: word(ROOT_OFFSET)?,
            bins_size: word(BINS_SIZE)?,
            clustering: word(CLUSTERING)?,
            file_name: file_name(&sector),
            flags: word(FLAGS)?,
            checksum: word(CHECKSUM)?,
            computed_checksum: checksum(&sector).ok_or_else(too_short)?,
        })
    }

    /// True when the stored checksum fits the bytes.
    pub fn checksum_valid(&self) -> bool {
        self.checksum == self.computed_checksum
    }

    /// True when Windows would look at the transaction logs: a write was begun and not finished, or the
    /// block itself is damaged.
    pub fn is_dirty(&self) -> bool {
        !self.checksum_valid() || self.primary_sequence != self.secondary_sequence
    }

    /// True when transactions are pending in the hive's `.blf` and `.regtrans-ms` files.
    pub fn has_pending_transactions(&self) -> bool {
        self.flags & FLAG_PENDING_TRANSACTIONS != 0
    }
}

/// The checksum that a base block's first 508 bytes demand; `None` when there are fewer.
pub fn checksum(bytes: &[u8]) -> Option<u32> {
    let words = bytes.get(..CHECKSUM)?.chunks_exact(4);
    let folded = words
        .filter_map(|word| u32_le(word, 0))
        .fold(0, |a, b| a ^ b);
    // Windows never stores the two trivial values.
    Some(match folded {
        0 => 1,
        u32::MAX => u32::MAX - 1,
        other => other,
    })
}

/// Sets both sequence numbers, then the checksum.
///
/// # Errors
/// As [`BaseBlock::parse`]; nothing is written then.
pub fn set_sequences(image: &mut [u8], primary: u32, secondary: u32) -> Result<()> {
    let mut both = [0; 8];
    let (first, second) = both.split_at_mut(4);
    first.copy_from_slice(&primary.to_le_bytes());
    second.copy_from_slice(&secondary.to_le_bytes());
    set(image, PRIMARY_SEQUENCE, &both)
}

/// Sets the size of the hive bins data (bytes; the caller answers for the multiple of 4096), then the
/// checksum.
///
/// # Errors
/// As [`BaseBlock::parse`]; nothing is written then.
pub fn set_bins_size(image: &mut [u8], bins_size: u32) -> Result<()> {
    set(image, BINS_SIZE, &bins_size.to_le_bytes())
}

/// Sets the file type, then the checksum.
///
/// # Errors
/// As [`BaseBlock::parse`]; nothing is written then.
pub fn set_file_type(image: &mut [u8], file_type: FileType) -> Result<()> {
    set(image, FILE_TYPE, &u32::from(file_type).to_le_bytes())
}

/// Sets the time of the last write (FILETIME), then the checksum.
///
/// # Errors
/// As [`BaseBlock::parse`]; nothing is written then.
pub fn set_last_written(image: &mut [u8], last_written: u64) -> Result<()> {
    set(image, LAST_WRITTEN, &last_written.to_le_bytes())
}

/// Sets the flags, then the checksum.
///
/// # Errors
/// As [`BaseBlock::parse`]; nothing is written then.
pub fn set_flags(image: &mut [u8], flags: u32) -> Result<()> {
    set(image, FLAGS, &flags.to_le_bytes())
}

/// Makes the stored checksum fit the bytes. The setters above do so themselves.
///
/// # Errors
/// As [`BaseBlock::parse`]; nothing is written then.
pub fn update_checksum(image: &mut [u8]) -> Result<()> {
    set(image, 0, &SIGNATURE)
}

/// Writes `field` at `offset` and the checksum after it, once the block is known to be one.
fn set(image: &mut [u8], offset: usize, field: &[u8]) -> Result<()> {
    BaseBlock::parse(image)?;
    let written = put(image, offset, field)
        && checksum(image).is_some_and(|sum| put(image, CHECKSUM, &sum.to_le_bytes()));
    match written {
        true => Ok(()),
        false => Err(damaged(0, "512 bytes", format!("{} bytes", image.len()))),
    }
}

/// The file name field up to its first NUL.
fn file_name(sector: &[u8; SECTOR_SIZE]) -> String {
    let field: [u8; 64] = array(sector, FILE_NAME).unwrap_or([0; 64]);
    let units = field
        .chunks_exact(2)
        .filter_map(|unit| crate::bytes::u16_le(unit, 0));
    let name: Vec<u16> = units.take_while(|&unit| unit != 0).collect();
    String::from_utf16_lossy(&name)
}

fn damaged(offset: u64, expected: &str, found: String) -> Error {
    Error::damaged("hive base block", offset, expected, found)
}

#[cfg(test)]
mod tests;
