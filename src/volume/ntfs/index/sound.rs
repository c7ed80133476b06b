// SPDX-License-Identifier: GPL-2.0-or-later
//! Whether an index holds together, whatever its keys are: every node is one, has one parent, and its block is in use.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::volume::ntfs::mft::Mft;
use crate::volume::ntfs::stream_edit::base_record;

use super::block::{RootHeader, find_root};
use super::store::Attributes;
use super::tree::Store;

/// An error where the index `name` of the file with this base record does not hold together.
pub(in super::super) fn check(mft: &Mft, base: u64, name: &str) -> Result<()> {
    let what = format!("{name} of MFT record {base}");
    let record = base_record(mft, base)?;
    let root = find_root(mft, &record, name, &what)?;
    let value = root.record.value(&root.attribute).unwrap_or_default();
    let header = RootHeader::parse(value, &what)?;
    check_nodes(&Attributes::open(
        mft,
        base,
        name,
        (header.indexed, header.collation),
    )?)
}

/// The same of an index wherever its nodes are.
pub(super) fn check_nodes(store: &impl Store) -> Result<()> {
    let mut waiting: Vec<u64> = store.root()?.children().collect();
    let mut seen = HashSet::new();
    while let Some(vcn) = waiting.pop() {
        let block = vcn.checked_div(store.step()).unwrap_or(0);
        let fault = match seen.insert(vcn) {
            false => "one that has two parents",
            true if !store.is_used(block) => "one that its $BITMAP says is free",
            true => {
                waiting.extend(store.block(vcn)?.children());
                continue;
            }
        };
        return Err(Error::damaged(
            format!("{}, block {vcn}", store.what()),
            0,
            "a block of its own, in use",
            fault,
        ));
    }
    Ok(())
}
