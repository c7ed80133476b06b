// SPDX-License-Identifier: GPL-2.0-or-later
//! A stream: one attribute put together from all its extents, and its content.
//!
//! ```text
//! 0 .. initialised size   from the clusters (a hole reads as zeros)
//!   .. data size          zeros, whatever the clusters hold (the valid-data length of Windows)
//!   .. allocated size     slack, never shown
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. Compressed streams are read by
//! [`super::compression`]; encrypted ones cannot be.

use std::sync::Arc;

use rayon::iter::{IndexedParallelIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSliceMut as _;

use crate::error::{Error, Result};
use crate::volume::buffer;

use super::compression;
use super::format::attribute_flag;
use super::mft::{Found, Mft, gap};
use super::record::{Form, Record, Sizes};
use super::runs::RunList;

/// Where the content of a stream is.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// In the record that heads the stream.
    Resident(Vec<u8>),
    /// In clusters.
    NonResident {
        /// All clusters, from VCN 0 on.
        map: RunList,
        /// The sizes in bytes.
        sizes: Sizes,
        /// Clusters in a compression unit, as a power of two.
        compression_unit: u8,
    },
}

/// One stream of a file.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    /// The attribute that holds the value or, with lowest VCN 0, the sizes.
    pub(super) head: Found,
    /// Where the content is.
    pub(super) content: Content,
    /// What it is called in errors.
    what: String,
}

impl Stream {
    /// The stream of this type and name; `None` when the file has none.
    pub(super) fn find(
        mft: &Mft,
        base: &Arc<Record>,
        kind: u32,
        name: &str,
    ) -> Result<Option<Stream>> {
        let what = match name {
            "" => format!("attribute {kind:#x} of MFT record {}", base.number()),
            name => format!("attribute {kind:#x} {name} of MFT record {}", base.number()),
        };
        let name: Vec<u16> = name.encode_utf16().collect();
        let extents = mft.collect(base, kind, Some(&name))?;
        let Some(head) = extents.first().cloned() else {
            return Ok(None);
        };
        let content = match head.attribute.form {
            Form::Resident { .. } => {
                let value = head.record.value(&head.attribute).unwrap_or_default();
                Content::Resident(value.to_vec())
            }
            Form::NonResident {
                sizes,
                compression_unit,
                ..
            } => {
                let mut map = RunList::new(mft.boot.cluster_size);
                for extent in &extents {
                    let runs = mft.runs(&extent.record, &extent.attribute)?;
                    let lowest = extent.attribute.lowest();
                    if lowest != map.clusters() || !map.extend(runs) {
                        return Err(gap(&what, lowest, map.clusters()));
                    }
                }
                let Some(sizes) = sizes.filter(|sizes| sizes.allocated == map.len()) else {
                    let expected = sizes.map_or(0, |sizes| sizes.allocated);
                    let expected = format!("{expected} bytes mapped, the allocated size");
                    return Err(Error::damaged(what, 0, expected, map.len().to_string()));
                };
                Content::NonResident {
                    map,
                    sizes,
                    compression_unit,
                }
            }
        };
        Ok(Some(Stream {
            head,
            content,
            what,
        }))
    }

    /// What it is called in errors.
    pub(super) fn what(&self) -> String {
        self.what.clone()
    }

    /// Length of the content in bytes.
    pub(super) fn len(&self) -> u64 {
        match &self.content {
            Content::Resident(value) => u64::try_from(value.len()).unwrap_or(u64::MAX),
            Content::NonResident { sizes, .. } => sizes.data,
        }
    }

    /// Its clusters are compressed.
    pub(super) fn is_compressed(&self) -> bool {
        self.head.attribute.flags & attribute_flag::COMPRESSED != 0
    }

    /// It is encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        self.head.attribute.flags & attribute_flag::ENCRYPTED != 0
    }

    /// It may have holes.
    pub(super) fn is_sparse(&self) -> bool {
        self.head.attribute.flags & attribute_flag::SPARSE != 0
    }

    /// There is at least one cluster of the content that is not stored.
    pub(super) fn has_holes(&self) -> bool {
        match &self.content {
            Content::Resident(_) => false,
            Content::NonResident { map, .. } => map.runs().iter().any(|run| run.lcn.is_none()),
        }
    }

    /// Every byte of the content was written once.
    pub(super) fn is_all_initialised(&self) -> bool {
        match &self.content {
            Content::Resident(_) => true,
            Content::NonResident { sizes, .. } => sizes.initialised == sizes.data,
        }
    }

    /// Fills `buffer` from `offset` (bytes), which must all lie inside the content.
    pub(super) fn read_at(&self, mft: &Mft, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let len = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        if offset.checked_add(len).is_none_or(|end| end > self.len()) {
            let expected = format!("{len} bytes inside its {}", self.len());
            return Err(Error::damaged(&self.what, offset, expected, "its end"));
        }
        if self.is_encrypted() {
            return Err(Error::unsupported(
                format!("{} is encrypted (EFS)", self.what),
                "its content can only be read by Windows, signed in as the user who encrypted it",
            ));
        }
        match &self.content {
            Content::Resident(value) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                if let Some(value) = value
                    .get(start..)
                    .and_then(|value| value.get(..buffer.len()))
                {
                    buffer.copy_from_slice(value);
                }
                Ok(())
            }
            Content::NonResident {
                map,
                sizes,
                compression_unit,
            } => {
                let stored = sizes.initialised.saturating_sub(offset).min(len);
                let stored = usize::try_from(stored).unwrap_or(usize::MAX);
                let Some((stored, rest)) = buffer.split_at_mut_checked(stored) else {
                    return Ok(());
                };
                rest.fill(0);
                if self.is_compressed() {
                    let unit = compression::Unit::new(
                        mft.boot.cluster_size,
                        *compression_unit,
                        &self.what,
                    )?;
                    return unit.read_at(mft.device.as_ref(), map, offset, stored, &self.what);
                }
                map.read_at(mft.device.as_ref(), offset, stored, &self.what)
            }
        }
    }

    /// The whole content; the caller has looked at [`Stream::len`].
    pub(super) fn read(&self, mft: &Mft) -> Result<Vec<u8>> {
        /// Ours: below it two threads are not worth their start. Whole compression units.
        const PIECE: usize = 4 << 20;
        let mut content = zeroed(self.len(), &self.what)?;
        // Most of the time goes into memory that the host has to provide first: several processors do that side by side.
        let read: Vec<Result<()>> = content
            .par_chunks_mut(PIECE)
            .enumerate()
            .map(|(number, piece)| {
                let offset = number.saturating_mul(PIECE);
                self.read_at(mft, u64::try_from(offset).unwrap_or(u64::MAX), piece)
            })
            .collect();
        read.into_iter().collect::<Result<()>>()?;
        Ok(content)
    }

    /// Whether the whole content is `content`; read a piece at a time.
    pub(super) fn holds(&self, mft: &Mft, content: &[u8]) -> Result<bool> {
        /// Ours: bounds memory, and stays in the processor's cache.
        const PIECE: usize = 256 << 10;
        if u64::try_from(content.len()) != Ok(self.len()) {
            return Ok(false);
        }
        let mut buffer = vec![0; PIECE.min(content.len())];
        let mut offset = 0_u64;
        for expected in content.chunks(PIECE) {
            let read = buffer.get_mut(..expected.len()).unwrap_or_default();
            self.read_at(mft, offset, read)?;
            if *read != *expected {
                return Ok(false);
            }
            offset = offset.saturating_add(u64::try_from(expected.len()).unwrap_or(u64::MAX));
        }
        Ok(true)
    }
}

/// `len` zero bytes, or an error where memory does not suffice.
pub(super) fn zeroed(len: u64, what: &str) -> Result<Vec<u8>> {
    usize::try_from(len)
        .ok()
        .and_then(|len| buffer::zeroed(len).ok())
        .ok_or_else(|| Error::Io {
            what: format!("reading {what}, {len} bytes"),
            source: std::io::ErrorKind::OutOfMemory.into(),
        })
}
