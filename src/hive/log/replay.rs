// SPDX-License-Identifier: GPL-2.0-or-later
//! Puts what a log holds into the hive's image: checked as a whole first, then written.
//!
//! A step is one log entry, or the dirty sectors of an old log. All steps of a plan are checked against the
//! image's length before the first byte changes, so that a log which turns out impossible half-way leaves
//! the image as it was. The image only ever grows by bytes that a log holds: memory stays bounded by the
//! files themselves, whatever sizes the logs claim.

use super::Page;
use super::new_format::Entry;
use super::old_format::DirtySectors;
use crate::bytes::{array, put, u32_le};
use crate::error::Result;
use crate::hive::base_block::{self, BASE_BLOCK_SIZE, BaseBlock, FileType, SECTOR_SIZE};

/// The smallest hive bin, and what every bin's size is a multiple of.
const BIN_ALIGNMENT: u32 = 4096;

/// Pages that belong together.
#[derive(Debug)]
pub(super) enum Step<'a> {
    /// A log entry of the new format.
    Entry(Entry<'a>),
    /// The whole body of a log of the old format, with its hive bins data size.
    Sectors(DirtySectors<'a>, u32),
}

/// What is taken from one log.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) name: &'a str,
    pub(super) first_sequence: u32,
    pub(super) last_sequence: u32,
    pub(super) steps: Vec<Step<'a>>,
}

/// Everything that is to be done to a dirty hive.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// The log whose base block replaces the hive's first 512 bytes, where those are not to be trusted.
    pub(super) base_from: Option<&'a [u8]>,
    pub(super) runs: Vec<Run<'a>>,
    /// Both sequence numbers of the result.
    pub(super) sequence: u32,
}

impl<'a> Step<'a> {
    /// The hive bins data size once this step is applied.
    pub(super) fn bins_size(&self) -> u32 {
        match self {
            Step::Entry(entry) => entry.bins_size,
            Step::Sectors(_, bins_size) => *bins_size,
        }
    }

    pub(super) fn pages(&self) -> Box<dyn Iterator<Item = Result<Page<'a>, String>> + 'a> {
        match self {
            Step::Entry(entry) => Box::new(entry.pages()),
            Step::Sectors(sectors, _) => Box::new(sectors.pages().map(Ok)),
        }
    }

    /// The length of the image after this step, when it has `length` bytes before; the error says in plain
    /// words why the step cannot be right.
    fn check(&self, length: usize) -> Result<usize, String> {
        let bins_size = self.bins_size();
        let needed = file_position(bins_size).ok_or("the hive would not fit into memory")?;
        // Places past the present end that pages fill: start and end, bytes in the file.
        let mut grown: Vec<(usize, usize)> = Vec::new();
        for page in self.pages() {
            let page = page?;
            let start = file_position(page.offset);
            let range = start.and_then(|start| Some((start, start.checked_add(page.bytes.len())?)));
            match range {
                Some((start, end)) if end <= needed => {
                    if end > length {
                        grown.push((start, end));
                    }
                }
                _ => {
                    return Err(format!(
                        "a page of {} bytes at {:#x} reaches past the {bins_size:#x} bytes of hive bins",
                        page.bytes.len(),
                        page.offset
                    ));
                }
            }
        }
        grown.sort_unstable();
        let mut filled = length;
        for (start, end) in grown {
            if start > filled {
                break;
            }
            filled = filled.max(end);
        }
        if filled < needed {
            return Err(format!(
                "the hive bins reach to {needed:#x}, but the file and the log's pages only to {filled:#x}"
            ));
        }
        Ok(filled)
    }
}

impl Plan<'_> {
    /// True when the whole plan can be applied to an image of `length` bytes; the error names the log.
    pub(super) fn check(&self, mut length: usize) -> Result<(), String> {
        for run in &self.runs {
            for step in &run.steps {
                length = step
                    .check(length)
                    .map_err(|why| format!("{}: {why}", run.name))?;
            }
        }
        Ok(())
    }

    /// Applies a plan that [`Plan::check`] has passed.
    ///
    /// # Errors
    /// `Damaged` when there is no base block to write into.
    pub(super) fn apply(&self, image: &mut Vec<u8>) -> Result<()> {
        if let Some(sector) = self.base_from.and_then(|log| log.get(..SECTOR_SIZE))
            && let Some(place) = image.get_mut(..SECTOR_SIZE)
        {
            place.copy_from_slice(sector);
        }
        for step in self.runs.iter().flat_map(|run| &run.steps) {
            for page in step.pages().flatten() {
                let Some(start) = file_position(page.offset) else {
                    continue;
                };
                let end = start.saturating_add(page.bytes.len());
                if image.len() < end {
                    image.resize(end, 0);
                }
                // In range by the line above.
                let _ = put(image, start, page.bytes);
            }
            base_block::set_bins_size(image, step.bins_size())?;
            if let Step::Entry(entry) = step {
                let flags = BaseBlock::parse(image)?.flags;
                let pending = base_block::FLAG_PENDING_TRANSACTIONS;
                let flags = match entry.pending_transactions {
                    true => flags | pending,
                    false => flags & !pending,
                };
                base_block::set_flags(image, flags)?;
            }
        }
        base_block::set_file_type(image, FileType::Primary)?;
        base_block::set_sequences(image, self.sequence, self.sequence)
    }
}

/// Where byte `offset` of the hive bins lies in the file.
fn file_position(offset: u32) -> Option<usize> {
    BASE_BLOCK_SIZE.checked_add(usize::try_from(offset).ok()?)
}

/// The first hive bin whose header is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BinFault {
    /// Bytes from the first hive bin.
    pub(super) offset: u32,
    pub(super) what: &'static str,
}

/// Walks the hive bins by their headers. `header` gives the first 12 bytes of the bin at an offset, and is
/// asked in ascending order.
pub(super) fn first_bin_fault(
    bins_size: u32,
    mut header: impl FnMut(u32) -> Option<[u8; 12]>,
) -> Option<BinFault> {
    let mut offset = 0;
    while offset < bins_size {
        let fault = |what| Some(BinFault { offset, what });
        let Some(bin) = header(offset) else {
            return fault("it is cut off");
        };
        if !bin.starts_with(b"hbin") {
            return fault("its signature is not \"hbin\"");
        }
        if u32_le(&bin, 4) != Some(offset) {
            return fault("its offset field names another place");
        }
        let size = u32_le(&bin, 8).unwrap_or_default();
        if size == 0 || size.checked_rem(BIN_ALIGNMENT) != Some(0) {
            return fault("its size is not a multiple of 4096");
        }
        match offset.checked_add(size) {
            Some(next) if next <= bins_size => offset = next,
            _ => return fault("it reaches past the hive bins"),
        }
    }
    None
}

/// The header of the bin at `offset` of the hive bins, in a whole image.
pub(super) fn bin_header(image: &[u8], offset: u32) -> Option<[u8; 12]> {
    array(image, file_position(offset)?)
}
