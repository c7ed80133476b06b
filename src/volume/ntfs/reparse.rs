// SPDX-License-Identifier: GPL-2.0-or-later
//! Reparse points: which of them are links, and which only mark how a file's content is kept.
//!
//! ```text
//! $REPARSE_POINT value:  0 u32 tag  4 u16 data length  ...
//! ```
//!
//! Tags: [MS-FSCC] 2.1.2.1. Links and everything unknown are never followed.

use std::sync::Arc;

use crate::bytes;
use crate::error::{Error, Result};

use super::format::attribute_type;
use super::mft::Mft;
use super::record::Record;

/// What a reparse point means for the one who wants the file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reparse {
    /// Compressed by the Windows Overlay Filter ("compact /exe"): the plain stream is empty.
    Wof,
    /// Deduplicated by Windows Server: the plain stream is empty.
    Deduplicated,
    /// Managed by a cloud provider such as OneDrive; the content may be here or not.
    Cloud,
    /// A link, junction, mount point or something unknown.
    Other(u32),
}

impl Reparse {
    /// The reparse point of the file with this base record.
    pub(super) fn of(mft: &Mft, record: &Arc<Record>) -> Result<Option<Reparse>> {
        let found = mft.collect(record, attribute_type::REPARSE_POINT, None)?;
        let Some(found) = found.first() else {
            return Ok(None);
        };
        // Windows keeps them resident or not; links of some length are not.
        let tag = match found.record.value(&found.attribute) {
            Some(value) => bytes::u32_le(value, 0),
            None => {
                let stream =
                    super::stream::Stream::find(mft, record, attribute_type::REPARSE_POINT, "")?;
                let mut tag = [0; 4];
                stream
                    .map(|stream| stream.read_at(mft, 0, &mut tag))
                    .transpose()?
                    .map(|()| u32::from_le_bytes(tag))
            }
        };
        let tag = tag.ok_or_else(|| {
            let what = format!("$REPARSE_POINT of MFT record {}", record.number());
            Error::damaged(what, 0, "a tag", "the end of the value")
        })?;
        Ok(Some(Reparse::from_tag(tag)))
    }

    pub(super) fn from_tag(tag: u32) -> Reparse {
        // IO_REPARSE_TAG_CLOUD and CLOUD_1 to CLOUD_F differ in these four bits.
        const CLOUD_VARIANT: u32 = 0x0000_F000;
        match tag {
            0x8000_0017 => Reparse::Wof,
            0x8000_0013 => Reparse::Deduplicated,
            tag if tag & !CLOUD_VARIANT == 0x9000_001A => Reparse::Cloud,
            tag => Reparse::Other(tag),
        }
    }
}

/// The attributes in $STANDARD_INFORMATION; 0 when there are none.
pub(super) fn file_attributes(record: &Record) -> u32 {
    record
        .first(attribute_type::STANDARD_INFORMATION)
        .and_then(|attribute| record.value(attribute))
        .and_then(|value| bytes::u32_le(value, 0x20))
        .unwrap_or(0)
}

/// The file attribute of a folder whose entries are not all here.
pub(super) const RECALL_ON_OPEN: u32 = 0x0004_0000;

/// File attributes that say "the content is not here": OFFLINE, RECALL_ON_OPEN, RECALL_ON_DATA_ACCESS.
pub(super) const NOT_HERE: u32 = 0x0000_1000 | RECALL_ON_OPEN | 0x0040_0000;

#[cfg(test)]
mod tests {
    use super::Reparse;

    #[test]
    fn tags() {
        assert_eq!(Reparse::from_tag(0x8000_0017), Reparse::Wof);
        assert_eq!(Reparse::from_tag(0x9000_001A), Reparse::Cloud);
        assert_eq!(Reparse::from_tag(0x9000_601A), Reparse::Cloud);
        assert_eq!(Reparse::from_tag(0xA000_0003), Reparse::Other(0xA000_0003));
        assert_eq!(Reparse::from_tag(0xA000_000C), Reparse::Other(0xA000_000C));
    }
}
