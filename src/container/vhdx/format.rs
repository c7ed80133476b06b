// SPDX-License-Identifier: GPL-2.0-or-later
//! Every number, GUID and bit of the VHDX format, in the order of its specification. Little-endian.
//!
//! ```text
//! 0        64 KiB    128 KiB   192 KiB   256 KiB          1 MiB
//! |file id |header 1 |header 2 |regions 1|regions 2|......|log, BAT, metadata, blocks: each at whole MiB ...
//! ```
//!
//! Source: [MS-VHDX] Virtual Hard Disk v2 (VHDX) File Format. Sections are given for each group.

use uuid::{Uuid, uuid};

/// Everything behind the first MiB begins, and is long, whole MiB (2.1).
pub(super) const MIB: u64 = 1 << 20;
/// Log entries and their sectors, and all that they restore (2.3).
pub(super) const LOG_SECTOR: u64 = 4096;

// 2.2.1 File type identifier.

/// At 0; the creator's name in UTF-16 follows.
pub(super) const FILE_SIGNATURE: &[u8; 8] = b"vhdxfile";

// 2.2.2 Headers.

/// Where the two headers are.
pub(super) const HEADERS: [u64; 2] = [64 << 10, 128 << 10];
/// Bytes of a header that are read, written and covered by its checksum.
pub(super) const HEADER_LEN: usize = 4096;
pub(super) const HEADER_SIGNATURE: &[u8; 4] = b"head";
/// CRC-32C of the header (log entry, region table), with these four bytes as zeros. The same place in all three.
pub(super) const CHECKSUM: usize = 4;
pub(super) const HEADER_SEQUENCE: usize = 8;
pub(super) const HEADER_FILE_WRITE_GUID: usize = 16;
pub(super) const HEADER_DATA_WRITE_GUID: usize = 32;
pub(super) const HEADER_LOG_GUID: usize = 48;
pub(super) const HEADER_LOG_VERSION: usize = 64;
pub(super) const HEADER_VERSION: usize = 66;
pub(super) const HEADER_LOG_LENGTH: usize = 68;
pub(super) const HEADER_LOG_OFFSET: usize = 72;
pub(super) const LOG_VERSION: u16 = 0;
pub(super) const VERSION: u16 = 1;

// 2.2.3 Region table.

/// Where the two copies are, each of this many bytes.
pub(super) const REGION_TABLES: [u64; 2] = [192 << 10, 256 << 10];
pub(super) const REGION_TABLE_LEN: usize = 64 << 10;
pub(super) const REGION_SIGNATURE: &[u8; 4] = b"regi";
pub(super) const REGION_COUNT: usize = 8;
pub(super) const REGION_ENTRIES: usize = 16;
pub(super) const REGION_ENTRY_LEN: usize = 32;
pub(super) const MAX_REGIONS: u32 = 2047;
/// In an entry: GUID at 0, then these.
pub(super) const REGION_OFFSET: usize = 16;
pub(super) const REGION_LENGTH: usize = 24;
pub(super) const REGION_FLAGS: usize = 28;
pub(super) const REGION_REQUIRED: u32 = 1;
pub(super) const BAT_REGION: Uuid = uuid!("2dc27766-f623-4200-9d64-115e9bfd4a08");
pub(super) const METADATA_REGION: Uuid = uuid!("8b7ca206-4790-4b9a-b8fe-575f050f886e");

// 2.3.1 Log entries.

pub(super) const ENTRY_SIGNATURE: &[u8; 4] = b"loge";
pub(super) const ENTRY_HEADER_LEN: usize = 64;
pub(super) const ENTRY_LENGTH: usize = 8;
pub(super) const ENTRY_TAIL: usize = 12;
pub(super) const ENTRY_SEQUENCE: usize = 16;
pub(super) const ENTRY_DESCRIPTORS: usize = 24;
pub(super) const ENTRY_LOG_GUID: usize = 32;
pub(super) const ENTRY_FLUSHED_FILE_OFFSET: usize = 48;
pub(super) const ENTRY_LAST_FILE_OFFSET: usize = 56;
/// Descriptors follow the entry's header: zero and data descriptors.
pub(super) const DESCRIPTOR_LEN: usize = 32;
pub(super) const ZERO_SIGNATURE: &[u8; 4] = b"zero";
pub(super) const ZERO_LENGTH: usize = 8;
pub(super) const DATA_SIGNATURE: &[u8; 4] = b"desc";
pub(super) const DATA_TRAILING: usize = 4;
pub(super) const DATA_LEADING: usize = 8;
pub(super) const DESCRIPTOR_FILE_OFFSET: usize = 16;
pub(super) const DESCRIPTOR_SEQUENCE: usize = 24;
/// Data sectors: 4084 bytes between a head of 8 and a tail of 4 that the descriptor keeps.
pub(super) const SECTOR_SIGNATURE: &[u8; 4] = b"data";
pub(super) const SECTOR_SEQUENCE_HIGH: usize = 4;
pub(super) const SECTOR_DATA: usize = 8;
pub(super) const SECTOR_DATA_LEN: usize = 4084;
pub(super) const SECTOR_SEQUENCE_LOW: usize = 4092;

// 2.5 Block allocation table. Entries of 8 bytes: state in bits 0 to 2, file offset in MiB in bits 20 to 63.

pub(super) const BAT_STATE: u64 = 7;
pub(super) const BAT_RESERVED: u64 = 0xf_fff8;
/// Payload block states (2.5.1.1).
pub(super) const NOT_PRESENT: u64 = 0;
pub(super) const UNDEFINED: u64 = 1;
pub(super) const ZERO: u64 = 2;
pub(super) const UNMAPPED: u64 = 3;
/// Unmapped, as written before version 1.0.
pub(super) const UNMAPPED_BEFORE_1_0: u64 = 5;
pub(super) const FULLY_PRESENT: u64 = 6;
pub(super) const PARTIALLY_PRESENT: u64 = 7;
/// Sector bitmap block states (2.5.1.2): not present and this.
pub(super) const BITMAP_PRESENT: u64 = 6;
/// Sectors that one sector bitmap block, of 1 MiB, describes: a chunk.
pub(super) const SECTORS_PER_CHUNK: u64 = 1 << 23;

// 2.6 Metadata region.

pub(super) const METADATA_SIGNATURE: &[u8; 8] = b"metadata";
pub(super) const METADATA_TABLE_LEN: usize = 64 << 10;
pub(super) const METADATA_COUNT: usize = 10;
pub(super) const METADATA_ENTRIES: usize = 32;
pub(super) const METADATA_ENTRY_LEN: usize = 32;
pub(super) const MAX_METADATA_ITEMS: u16 = 2047;
/// In an entry: item GUID at 0, then these.
pub(super) const ITEM_OFFSET: usize = 16;
pub(super) const ITEM_LENGTH: usize = 20;
pub(super) const ITEM_FLAGS: usize = 24;
pub(super) const ITEM_USER: u32 = 1;
pub(super) const ITEM_VIRTUAL_DISK: u32 = 2;
pub(super) const ITEM_REQUIRED: u32 = 4;
pub(super) const MAX_ITEM_LEN: u32 = 1 << 20;
pub(super) const FILE_PARAMETERS: Uuid = uuid!("caa16737-fa36-4d43-b3b6-33f0aa44e76b");
/// File parameters: block size, then these flags.
pub(super) const LEAVE_BLOCKS_ALLOCATED: u32 = 1;
pub(super) const HAS_PARENT: u32 = 2;
pub(super) const MIN_BLOCK_SIZE: u32 = 1 << 20;
pub(super) const MAX_BLOCK_SIZE: u32 = 256 << 20;
pub(super) const VIRTUAL_DISK_SIZE: Uuid = uuid!("2fa54224-cd1b-4876-b211-5dbed83bf4b8");
pub(super) const MAX_DISK_SIZE: u64 = 64 << 40;
pub(super) const VIRTUAL_DISK_ID: Uuid = uuid!("beca12ab-b2e6-4523-93ef-c309e000c746");
pub(super) const LOGICAL_SECTOR_SIZE: Uuid = uuid!("8141bf1d-a96f-4709-ba47-f233a8faab5f");
pub(super) const PHYSICAL_SECTOR_SIZE: Uuid = uuid!("cda348c7-445d-4471-9cc9-e9885251c556");
pub(super) const PARENT_LOCATOR: Uuid = uuid!("a8d35f2d-b30b-454d-abf7-d3d84834ab0c");
/// Not in the specification: what Windows leaves in a file whose creation was interrupted.
pub(super) const INCOMPLETE_FILE: Uuid = uuid!("71cc85f0-1b69-4e28-9558-c3bf83ae75d3");

// 2.6.2.6 Parent locator.

pub(super) const LOCATOR_TYPE: Uuid = uuid!("b04aefb7-d19e-4a81-b789-25b8e9445913");
pub(super) const LOCATOR_COUNT: usize = 18;
pub(super) const LOCATOR_ENTRIES: usize = 20;
pub(super) const LOCATOR_ENTRY_LEN: usize = 12;
pub(super) const PARENT_LINKAGE: &str = "parent_linkage";
/// What the parent's data write GUID may be as well.
pub(super) const PARENT_LINKAGE_2: &str = "parent_linkage2";
pub(super) const RELATIVE_PATH: &str = "relative_path";
pub(super) const VOLUME_PATH: &str = "volume_path";
pub(super) const ABSOLUTE_WIN32_PATH: &str = "absolute_win32_path";
