// SPDX-License-Identifier: GPL-2.0-or-later
//! What a reader that is not ours, the crate `ntfs`, reads of a file.
//!
//! Verification asks it for every file that was edited. Only for volumes and paths that our own reader has
//! walked, with a bound on its reads, and with its panics caught: the crate never ends on some damaged volumes, and answers wrongly,
//! without an error, on compressed files, on `$DATA` in several records and past the valid data length. On
//! files of those kinds, and on volumes it does not open, it has no opinion.

pub(super) mod security;

use std::io::{BufReader, Read, Seek, SeekFrom};

use ntfs::indexes::NtfsFileNameIndex;
use ntfs::{Ntfs, NtfsAttributeType, NtfsFile, NtfsReadSeek};

use crate::device::SharedDevice;
use crate::volume::path;
use crate::volume::second_reader::ask;

/// How much is compared at a time.
const PIECE: usize = 256 << 10;

/// Whether the crate reads `content` from the file at `path`; `None` where it has no opinion.
///
/// `record` is the record that our own walk led to. Where names differ in case only, the crate takes one of
/// them, so another record is no opinion either.
pub(super) fn agrees(
    device: &SharedDevice,
    path: &str,
    record: u64,
    content: &[u8],
) -> Option<bool> {
    ask(|| compare(device, path, record, content))
}

fn compare(device: &SharedDevice, path: &str, record: u64, content: &[u8]) -> Option<bool> {
    // The crate reads records field by field.
    let mut source = BufReader::with_capacity(4 << 10, Source::new(device));
    let mut volume = Ntfs::new(&mut source).ok()?;
    volume.read_upcase_table(&mut source).ok()?;
    let mut file = volume.root_directory(&mut source).ok()?;
    for part in path::parts(path) {
        file = child(&volume, &mut source, &file, part)?;
    }
    if file.file_record_number() != record || has_attribute_list(&file) {
        return None;
    }
    let item = file.data(&mut source, "")?.ok()?;
    let attribute = item.to_attribute().ok()?;
    if !attribute.flags().is_empty() {
        return None;
    }
    let mut value = attribute.value(&mut source).ok()?;
    if usize::try_from(value.len()) != Ok(content.len()) {
        return Some(false);
    }
    let mut buffer = vec![0; PIECE.min(content.len())];
    for expected in content.chunks(PIECE) {
        let read = buffer.get_mut(..expected.len())?;
        value.read_exact(&mut source, read).ok()?;
        if *read != *expected {
            return Some(false);
        }
    }
    Some(true)
}

fn child<'n>(
    volume: &'n Ntfs,
    source: &mut BufReader<Source<'_>>,
    folder: &NtfsFile<'n>,
    name: &str,
) -> Option<NtfsFile<'n>> {
    let index = folder.directory_index(source).ok()?;
    let mut finder = index.finder();
    let entry = NtfsFileNameIndex::find(&mut finder, volume, source, name)?.ok()?;
    entry.file_reference().to_file(volume, source).ok()
}

fn has_attribute_list(file: &NtfsFile<'_>) -> bool {
    file.attributes_raw().any(|attribute| {
        attribute
            .and_then(|attribute| attribute.ty())
            .is_ok_and(|kind| kind == NtfsAttributeType::AttributeList)
    })
}

/// The device as a stream, which is what the crate reads from.
struct Source<'a> {
    device: &'a SharedDevice,
    position: u64,
    /// How many more reads there are.
    left: u32,
}

/// Far more reads than the walk to a file and its runs take. Ours: ends what the crate would not end.
const MOST_READS: u32 = 1 << 20;

impl<'a> Source<'a> {
    fn new(device: &'a SharedDevice) -> Source<'a> {
        Source {
            device,
            position: 0,
            left: MOST_READS,
        }
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| std::io::Error::other("too many reads"))?;
        let left = self.device.len().saturating_sub(self.position);
        let len = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let Some(part) = buffer.get_mut(..len) else {
            return Ok(0);
        };
        self.device
            .read_at(self.position, part)
            .map_err(std::io::Error::other)?;
        self.position = self.position.saturating_add(len as u64);
        Ok(len)
    }
}

impl Seek for Source<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
            SeekFrom::End(delta) => self.device.len().checked_add_signed(delta),
        };
        self.position = target.ok_or_else(|| std::io::Error::other("seek out of the volume"))?;
        Ok(self.position)
    }
}
