// SPDX-License-Identifier: GPL-2.0-or-later
//! The structures of a new VHD, as bytes.
//!
//! ```text
//! fixed          |disk ........................|footer|
//! dynamic        |copy|header 512|table 1536|padding|bitmap|block|..|footer|
//! child          |copy|header 512|table 1536|parent's path|padding|footer|
//! ```
//!
//! Virtual Hard Disk Image Format Specification 1.0; data of blocks and the file's end at multiples of 4096, as
//! Windows has them. The parent's time stamp stays 0, which is what Windows 10 writes, so that copying the parent
//! does not make a child doubt it.

use uuid::Uuid;

use super::footer::checksum;
use super::format::*;
use crate::bytes;
use crate::container::child::Part;
use crate::error::{Error, Result};

/// Who we are, in four letters.
const CREATOR: &[u8; 4] = b"cdfx";

/// A disk to be.
#[derive(Clone, Copy, Debug)]
pub(in crate::container) struct NewVhd {
    /// Bytes, whole sectors.
    pub(in crate::container) size: u64,
    pub(in crate::container) unique_id: Uuid,
    /// Seconds since 1970.
    pub(in crate::container) now: u64,
}

/// The parent of a child to be.
#[derive(Clone, Debug)]
pub(in crate::container) struct NewParent {
    pub(in crate::container) unique_id: Uuid,
    /// The file's name.
    pub(in crate::container) name: String,
    /// Windows path from the child's folder.
    pub(in crate::container) relative: String,
    /// Geometry of the parent's footer.
    pub(in crate::container) geometry: [u8; 4],
}

impl NewVhd {
    /// A footer of this disk type.
    fn footer(&self, disk_type: u32, geometry: [u8; 4]) -> Vec<u8> {
        let since_2000 = u32::try_from(self.now.saturating_sub(EPOCH)).unwrap_or(u32::MAX);
        let header = u64::try_from(FOOTER_LEN).unwrap_or(0);
        let data_offset = match disk_type {
            FIXED => u64::MAX,
            _ => header,
        };
        let mut footer = vec![0; FOOTER_LEN];
        put_all(
            &mut footer,
            &[
                (0, FOOTER_COOKIE),
                (FOOTER_FEATURES, &FEATURE_RESERVED.to_be_bytes()),
                (FOOTER_VERSION, &VERSION.to_be_bytes()),
                (FOOTER_DATA_OFFSET, &data_offset.to_be_bytes()),
                (FOOTER_TIME_STAMP, &since_2000.to_be_bytes()),
                (FOOTER_CREATOR, CREATOR),
                (FOOTER_CREATOR_VERSION, &VERSION.to_be_bytes()),
                (FOOTER_CREATOR_HOST, b"Wi2k"),
                (FOOTER_ORIGINAL_SIZE, &self.size.to_be_bytes()),
                (FOOTER_CURRENT_SIZE, &self.size.to_be_bytes()),
                (FOOTER_GEOMETRY, &geometry),
                (FOOTER_DISK_TYPE, &disk_type.to_be_bytes()),
                (FOOTER_UNIQUE_ID, self.unique_id.as_bytes()),
            ],
        );
        seal(&mut footer, FOOTER_CHECKSUM);
        footer
    }

    /// The footer of a fixed disk.
    pub(in crate::container) fn fixed_footer(&self) -> Vec<u8> {
        self.footer(FIXED, geometry(self.size))
    }

    /// How many blocks the disk has.
    pub(in crate::container) fn blocks(&self) -> u64 {
        self.size.div_ceil(u64::from(DEFAULT_BLOCK_SIZE))
    }

    fn table_len(&self) -> u64 {
        self.blocks().saturating_mul(4).next_multiple_of(SECTOR)
    }

    fn table_offset() -> u64 {
        u64::try_from(FOOTER_LEN.saturating_add(HEADER_LEN)).unwrap_or(0)
    }

    /// Where the first block may begin.
    pub(in crate::container) fn tables_end(&self) -> u64 {
        Self::table_offset().saturating_add(self.table_len())
    }

    /// The block that follows what ends at `end`: where its bitmap and its data begin, and where it ends.
    /// `Unsupported` when it would be past what a VHD may hold.
    pub(in crate::container) fn place_block(end: u64) -> Result<(u64, u64, u64)> {
        let places = || {
            let data = end
                .checked_add(SECTOR)?
                .checked_next_multiple_of(ALIGNMENT)?;
            let block_end = data.checked_add(u64::from(DEFAULT_BLOCK_SIZE))?;
            Some((data.checked_sub(SECTOR)?, data, block_end))
        };
        places()
            .filter(|(.., end)| end.saturating_add(ALIGNMENT) <= MAX_FILE_LEN)
            .ok_or_else(too_large)
    }

    /// Header and table of a disk, with `blocks` where each block begins (its bitmap), and the two footers: parts
    /// of the file, and its length.
    pub(in crate::container) fn dynamic_tables(
        &self,
        blocks: &[Option<u64>],
        blocks_end: u64,
        parent: Option<&NewParent>,
    ) -> Result<(Vec<Part>, u64)> {
        if self.size > MAX_FILE_LEN {
            return Err(too_large());
        }
        let footer = match parent {
            Some(parent) => self.footer(DIFFERENCING, parent.geometry),
            None => self.footer(DYNAMIC, geometry(self.size)),
        };
        let mut table = vec![0xff; usize::try_from(self.table_len()).unwrap_or(0)];
        for (entry, block) in table.as_chunks_mut::<4>().0.iter_mut().zip(blocks) {
            if let Some(block) = block {
                let sector = u32::try_from(block.div_euclid(SECTOR)).map_err(|_| too_large())?;
                *entry = sector.to_be_bytes();
            }
        }
        let entries = u32::try_from(self.blocks()).map_err(|_| too_large())?;
        let mut header = vec![0; HEADER_LEN];
        put_all(
            &mut header,
            &[
                (0, HEADER_COOKIE),
                (8, &u64::MAX.to_be_bytes()),
                (HEADER_TABLE_OFFSET, &Self::table_offset().to_be_bytes()),
                (HEADER_VERSION, &VERSION.to_be_bytes()),
                (HEADER_MAX_ENTRIES, &entries.to_be_bytes()),
                (HEADER_BLOCK_SIZE, &DEFAULT_BLOCK_SIZE.to_be_bytes()),
            ],
        );
        let mut parts = Vec::new();
        let mut end = blocks_end.max(self.tables_end());
        if let Some(parent) = parent {
            let name: Vec<u8> = utf16(&parent.name, u16::to_be_bytes);
            let path: Vec<u8> = utf16(&parent.relative, u16::to_le_bytes);
            let space = path.len().next_multiple_of(FOOTER_LEN);
            let lengths = u32::try_from(space)
                .ok()
                .zip(u32::try_from(path.len()).ok());
            // One unit less than there is room for: the name ends with a zero.
            let (Some((space, length)), true) =
                (lengths, name.len() < PARENT_NAME_LEN.saturating_sub(1))
            else {
                return Err(Error::unsupported(
                    format!(
                        "the name of the parent is too long for a VHD: {:?}",
                        parent.name
                    ),
                    "give it a shorter one",
                ));
            };
            let locator = HEADER_LOCATORS;
            put_all(
                &mut header,
                &[
                    (HEADER_PARENT_ID, parent.unique_id.as_bytes()),
                    (HEADER_PARENT_NAME, &name),
                    (locator, RELATIVE_PATH),
                    (locator.saturating_add(LOCATOR_SPACE), &space.to_be_bytes()),
                    (
                        locator.saturating_add(LOCATOR_DATA_LEN),
                        &length.to_be_bytes(),
                    ),
                    (
                        locator.saturating_add(LOCATOR_DATA_OFFSET),
                        &end.to_be_bytes(),
                    ),
                ],
            );
            parts.push((end, path));
            end = end.saturating_add(u64::from(space));
        }
        seal(&mut header, HEADER_CHECKSUM);
        let len = end
            .saturating_add(SECTOR)
            .checked_next_multiple_of(ALIGNMENT)
            .ok_or_else(too_large)?;
        parts.push((0, footer.clone()));
        parts.push((u64::try_from(FOOTER_LEN).unwrap_or(0), header));
        parts.push((Self::table_offset(), table));
        parts.push((len.saturating_sub(SECTOR), footer));
        Ok((parts, len))
    }
}

fn too_large() -> Error {
    Error::unsupported(
        format!("no VHD can be larger than {} GiB", MAX_FILE_LEN >> 30),
        "choose a name that ends in .vhdx",
    )
}

fn put_all(place: &mut [u8], fields: &[(usize, &[u8])]) {
    for (offset, field) in fields {
        // All offsets are those of the format, inside what they are put into.
        let _ = bytes::put(place, *offset, field);
    }
}

fn seal(place: &mut [u8], at: usize) {
    let sum = checksum(place, at);
    let _ = bytes::put(place, at, &sum.to_be_bytes());
}

fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(order).collect()
}

/// Cylinders, heads and sectors of a disk, by the specification's appendix.
fn geometry(size: u64) -> [u8; 4] {
    const LARGEST: u64 = 65535 * 16 * 255;
    let total = size.div_euclid(SECTOR).min(LARGEST);
    let (heads, sectors, tracks) = if total >= 65535 * 16 * 63 {
        (16, 255, total.div_euclid(255))
    } else {
        let tracks = total.div_euclid(17);
        let heads = tracks.div_ceil(1024).max(4);
        if tracks < heads.saturating_mul(1024) && heads <= 16 {
            (heads, 17, tracks)
        } else if total.div_euclid(31) < 16 * 1024 {
            (16, 31, total.div_euclid(31))
        } else {
            (16, 63, total.div_euclid(63))
        }
    };
    let cylinders = tracks.checked_div(heads).unwrap_or(0);
    let [high, low] = u16::try_from(cylinders).unwrap_or(u16::MAX).to_be_bytes();
    let byte = |value: u64| u8::try_from(value).unwrap_or(u8::MAX);
    [high, low, byte(heads), byte(sectors)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of footers that Windows 10, Hyper-V 2012 R2 and Virtual PC wrote.
    #[test]
    fn geometry_is_that_of_windows() {
        for (size, cylinders, heads, sectors) in [
            (4_194_304, 120, 4, 17),
            (10_485_760, 301, 4, 17),
            (136_365_211_648, 65278, 16, 255),
        ] {
            let [high, low, h, s] = geometry(size);
            let found = (u16::from_be_bytes([high, low]), h, s);
            assert_eq!(found, (cylinders, heads, sectors), "{size}");
        }
    }
}
