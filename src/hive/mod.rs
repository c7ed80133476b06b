// SPDX-License-Identifier: GPL-2.0-or-later
//! Registry hives (regf): pure bytes in, bytes out; no I/O, no path, no clock.
//!
//! ```text
//! image -> base_block   version, sizes, sequence numbers
//!       -> bins         the bins and cells of the image; every change of bytes, and taking it back
//!       -> format       the records in the cells; names: how they are compared and sorted
//!       -> key, value   reading            key_edit, subkey_list, value_edit, security: editing
//!       -> cells        free cells: taking, giving back, growing
//!       -> check        every fault of the structure, with its place
//! ```
//!
//! Versions 1.3 to 1.6. An edit changes what it must and nothing else: it uses free cells before it grows
//! the hive, and grows into the slack of the file before it lengthens the file. It happens as a whole or
//! not at all. Times are FILETIMEs (units of 100 ns since 1601) that the caller gives.
//!
//! The order of use: replay the logs when the base block is dirty, [`Hive::parse`], [`Hive::check`], edit,
//! [`Hive::seal`], [`Hive::check`], write [`Hive::bytes`].

pub mod base_block;
pub mod check;
pub mod key;
pub mod log;
pub mod marvin32;
pub mod names;
pub mod second_opinion;
pub mod value;

mod bins;
mod cells;
mod format;
mod key_edit;
mod security;
mod subkey_list;
mod upcase;
mod value_edit;

pub use base_block::BaseBlock;
pub use check::Fault;
pub use key::Key;
pub use names::Name;
pub use second_opinion::{SecondOpinion, second_opinion};
pub use value::Value;

use crate::bytes::put;
use crate::error::{Error, Result};
use base_block::{BASE_BLOCK_SIZE, FileType};
use bins::Bins;
use cells::FreeCells;
use format::{BIN_HEADER, CellOffset, PAGE, damaged, key_node, key_security};
use names::NewName;

/// A hive: the bytes of its file, and what is known of them.
#[derive(Debug)]
pub struct Hive {
    bins: Bins,
    base_block: BaseBlock,
    free: Option<FreeCells>,
}

impl Hive {
    /// Takes the bytes of a hive file, with whatever slack follows the bins.
    ///
    /// Only what is needed to walk safely is looked at: version, file type, and how the bins lie. A bin
    /// that is broken or missing does not fail this; its keys then cannot be read, and [`Hive::check`]
    /// says why. Whether the hive is dirty is not this function's question.
    ///
    /// # Errors
    /// `Damaged` when the base block or all bins are missing or the base block contradicts itself;
    /// `Unsupported` for a version other than 1.3 to 1.6 and for a transaction log.
    pub fn parse(image: Vec<u8>) -> Result<Hive> {
        let base_block = BaseBlock::parse(&image)?;
        let BaseBlock { major, minor, .. } = base_block;
        let wrong = |expected: &str, found: String| {
            Err(Error::damaged("hive base block", 0, expected, found))
        };
        if major != 1 || !(3..=6).contains(&minor) {
            let version = format!("{major}.{minor}");
            if !base_block.checksum_valid() {
                return wrong("version 1.3 to 1.6", version);
            }
            let what = format!("hive version {version}");
            return Err(Error::unsupported(what, "versions 1.3 to 1.6 are handled"));
        }
        if base_block.file_type != FileType::Primary {
            let what = format!("a transaction log ({:?}), not a hive", base_block.file_type);
            return Err(Error::unsupported(what, "name the hive file beside it"));
        }
        if base_block.format != 1 {
            return wrong("file format 1", base_block.format.to_string());
        }
        let bins_size = base_block.bins_size;
        if bins_size == 0 || !bins_size.is_multiple_of(PAGE) || i32::try_from(bins_size).is_err() {
            let expected = "hive bins data of whole pages below 2 GiB";
            return wrong(expected, format!("{bins_size:#x} bytes"));
        }
        let bins = Bins::walk(image, bins_size);
        if bins.bins().is_empty() {
            return match bins.faults().first() {
                Some(fault) => Err(fault.to_error()),
                None => wrong("a hive bin", "none".into()),
            };
        }
        Ok(Hive {
            bins,
            base_block,
            free: None,
        })
    }

    /// A new hive of version 1.`minor` with nothing but a root key, whose security descriptor gives SYSTEM
    /// and the administrators full control and everyone reading.
    ///
    /// # Errors
    /// `Unsupported` for a minor version other than 3 to 6; `Refused` for a root name that no key can have.
    pub fn create(minor: u32, root_name: &str, now: u64) -> Result<Hive> {
        if !(3..=6).contains(&minor) {
            let what = format!("hive version 1.{minor}");
            return Err(Error::unsupported(what, "versions 1.3 to 1.6 are handled"));
        }
        let mut image = vec![0; BASE_BLOCK_SIZE];
        let root = BIN_HEADER.to_le_bytes();
        let bins_size = PAGE.to_le_bytes();
        let minor = minor.to_le_bytes();
        let fields: [(usize, &[u8]); 8] = [
            (0, &base_block::SIGNATURE),
            (4, &[1, 0, 0, 0, 1, 0, 0, 0]),
            (20, &[1, 0, 0, 0]),
            (24, &minor),
            (32, &[1, 0, 0, 0]),
            (36, &root),
            (40, &bins_size),
            (44, &[1, 0, 0, 0]),
        ];
        for (place, field) in fields {
            if !put(&mut image, place, field) {
                return Err(damaged(
                    "hive base block",
                    CellOffset(0),
                    "4096 bytes",
                    "fewer",
                ));
            }
        }
        base_block::set_last_written(&mut image, now)?;
        let base_block = BaseBlock::parse(&image)?;
        let mut hive = Hive {
            bins: Bins::walk(image, 0),
            base_block,
            free: None,
        };
        hive.bins.append_bin(PAGE)?;
        hive.refresh_base_block()?;
        let name = NewName::for_key(root_name)?;
        let flags = key_node::FLAG_ROOT | key_node::FLAG_NO_DELETE;
        let record = key_edit::key_record(&name, CellOffset::NIL, CellOffset::NIL, now)?;
        let root = hive.allocate_with(&record)?;
        let latin1 = if name.is_latin1() {
            key_node::FLAG_LATIN1
        } else {
            0
        };
        let flags = (flags | latin1).to_le_bytes();
        hive.bins.write_cell(root, key_node::FLAGS, &flags)?;
        let record = security::security_record(&security::default_descriptor())?;
        let security = hive.allocate_with(&record)?;
        hive.bins
            .write_u32(security, key_security::NEXT, security.0)?;
        hive.bins
            .write_u32(security, key_security::PREVIOUS, security.0)?;
        hive.bins.write_u32(root, key_node::SECURITY, security.0)?;
        Ok(hive)
    }

    /// The base block as it is now.
    pub fn base_block(&self) -> &BaseBlock {
        &self.base_block
    }

    /// Every fault of the structure; empty when the hive is sound. See [`check`].
    pub fn check(&self) -> Vec<Fault> {
        check::check(self)
    }

    /// Makes the hive a clean one: both sequence numbers `sequence`, last written `now` (FILETIME), and the
    /// checksum.
    ///
    /// # Errors
    /// None in practice: the base block was read before.
    pub fn seal(&mut self, sequence: u32, now: u64) -> Result<()> {
        self.edit(|hive| {
            hive.bins.edit_base_block(|image| {
                base_block::set_last_written(image, now)?;
                base_block::set_sequences(image, sequence, sequence)
            })?;
            hive.refresh_base_block()
        })
    }

    /// The content of the file: as long as it was, unless the bins have grown past its end.
    pub fn bytes(&self) -> &[u8] {
        self.bins.bytes()
    }

    /// The content of the file.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bins.into_bytes()
    }

    /// Minor version.
    fn minor(&self) -> u32 {
        self.base_block.minor
    }

    fn root_offset(&self) -> CellOffset {
        CellOffset(self.base_block.root_offset)
    }

    fn refresh_base_block(&mut self) -> Result<()> {
        self.base_block = BaseBlock::parse(self.bins.bytes())?;
        Ok(())
    }

    /// Runs an edit that happens as a whole or not at all.
    fn edit<T>(&mut self, work: impl FnOnce(&mut Hive) -> Result<T>) -> Result<T> {
        if let Some(fault) = self.bins.faults().first() {
            let next = "restore the hive from a backup; its cells cannot all be read";
            return Err(fault.to_error().with_hint("the hive is not edited", next));
        }
        let base_block = self.base_block.clone();
        self.bins.begin();
        let outcome = work(self);
        match &outcome {
            Ok(_) => self.bins.commit(),
            Err(_) => {
                self.bins.roll_back();
                self.base_block = base_block;
                self.free = None;
            }
        }
        outcome
    }
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
