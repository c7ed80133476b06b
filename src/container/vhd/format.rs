// SPDX-License-Identifier: GPL-2.0-or-later
//! Every number of the VHD format, in the order of its specification. Big-endian.
//!
//! Source: Virtual Hard Disk Image Format Specification 1.0 (Microsoft, 2006). What is not in it, but in what
//! Windows writes, says so.

// Hard disk footer: at the end of every VHD; dynamic and differencing ones have a copy at offset 0.

/// Bytes of a footer.
pub(super) const FOOTER_LEN: usize = 512;
/// Bytes of a footer that Virtual PC before 2004 wrote.
pub(super) const OLD_FOOTER_LEN: usize = 511;
/// Cookie, at 0.
pub(super) const FOOTER_COOKIE: &[u8; 8] = b"conectix";
/// Features, at 8: bit 1 is always set, bit 0 means temporary.
pub(super) const FOOTER_FEATURES: usize = 8;
pub(super) const FEATURE_RESERVED: u32 = 2;
/// File format version, at 12.
pub(super) const FOOTER_VERSION: usize = 12;
pub(super) const VERSION: u32 = 0x0001_0000;
/// Data offset, at 16: where the dynamic disk header is; all ones for fixed disks.
pub(super) const FOOTER_DATA_OFFSET: usize = 16;
/// Time stamp, at 24: seconds since 2000-01-01 00:00 UTC.
pub(super) const FOOTER_TIME_STAMP: usize = 24;
/// That moment in seconds since 1970.
pub(in crate::container) const EPOCH: u64 = 946_684_800;
/// Creator application, its version and its host, at 28.
pub(super) const FOOTER_CREATOR: usize = 28;
pub(super) const FOOTER_CREATOR_VERSION: usize = 32;
pub(super) const FOOTER_CREATOR_HOST: usize = 36;
/// Original size in bytes, at 40, and current size, at 48.
pub(super) const FOOTER_ORIGINAL_SIZE: usize = 40;
pub(super) const FOOTER_CURRENT_SIZE: usize = 48;
/// Disk geometry, at 56: cylinders (2 bytes), heads, sectors per track.
pub(super) const FOOTER_GEOMETRY: usize = 56;
/// Disk type, at 60.
pub(super) const FOOTER_DISK_TYPE: usize = 60;
pub(super) const FIXED: u32 = 2;
pub(super) const DYNAMIC: u32 = 3;
pub(super) const DIFFERENCING: u32 = 4;
/// Checksum, at 64: the complement of the sum of all bytes but its own four.
pub(super) const FOOTER_CHECKSUM: usize = 64;
/// Unique id, at 68: 16 bytes.
pub(super) const FOOTER_UNIQUE_ID: usize = 68;
/// Saved state, at 84: one byte. Zeros follow.
pub(super) const FOOTER_SAVED_STATE: usize = 84;

// Dynamic disk header.

/// Bytes of a dynamic disk header.
pub(super) const HEADER_LEN: usize = 1024;
/// Cookie, at 0; the data offset at 8 is all ones.
pub(super) const HEADER_COOKIE: &[u8; 8] = b"cxsparse";
/// Table offset, at 16: where the block allocation table is.
pub(super) const HEADER_TABLE_OFFSET: usize = 16;
/// Header version, at 24: the same number as the footer's.
pub(super) const HEADER_VERSION: usize = 24;
/// Max table entries, at 28.
pub(super) const HEADER_MAX_ENTRIES: usize = 28;
/// Block size in bytes, at 32, without the sector bitmap.
pub(super) const HEADER_BLOCK_SIZE: usize = 32;
/// What everybody writes.
pub(super) const DEFAULT_BLOCK_SIZE: u32 = 2 << 20;
/// Ours; Virtual Server knew 512 KiB and 2 MiB. Smaller blocks would make tables that no real disk has.
pub(super) const MIN_BLOCK_SIZE: u32 = 512 << 10;
pub(super) const MAX_BLOCK_SIZE: u32 = 256 << 20;
/// Checksum, at 36, as the footer's.
pub(super) const HEADER_CHECKSUM: usize = 36;
/// Parent unique id, at 40, and parent time stamp, at 56.
pub(super) const HEADER_PARENT_ID: usize = 40;
pub(super) const HEADER_PARENT_TIME_STAMP: usize = 56;
/// Parent Unicode name, at 64: 512 bytes of UTF-16, big-endian.
pub(super) const HEADER_PARENT_NAME: usize = 64;
pub(super) const PARENT_NAME_LEN: usize = 512;
/// Parent locator entries, at 576: eight of 24 bytes.
pub(super) const HEADER_LOCATORS: usize = 576;
pub(super) const LOCATORS: usize = 8;
pub(super) const LOCATOR_LEN: usize = 24;
/// In a locator entry: platform code at 0, data space at 4, data length at 8, data offset at 16.
pub(super) const LOCATOR_SPACE: usize = 4;
pub(super) const LOCATOR_DATA_LEN: usize = 8;
pub(super) const LOCATOR_DATA_OFFSET: usize = 16;
/// Platform codes: Windows paths in UTF-16, little-endian; relative and absolute.
pub(super) const RELATIVE_PATH: &[u8; 4] = b"W2ru";
pub(super) const ABSOLUTE_PATH: &[u8; 4] = b"W2ku";
/// Bytes of a locator's path: ours, twice what Windows allows (32,767 characters).
pub(super) const MAX_LOCATOR_DATA: u32 = 128 << 10;

// Block allocation table: 4 bytes an entry, the sector where a block begins.

pub(super) const SECTOR: u64 = 512;
/// The entry of a block that is not in the file.
pub(super) const ABSENT: u32 = u32::MAX;

// Sector bitmap, before each block's data: one bit a sector, the first sector in the highest bit.

/// No VHD file is longer: Windows' own limit.
pub(super) const MAX_FILE_LEN: u64 = 2040 << 30;
/// Windows places the data of a block, and the end of the file, at multiples of this.
pub(super) const ALIGNMENT: u64 = 4096;
