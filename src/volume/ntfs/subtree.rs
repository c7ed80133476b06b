// SPDX-License-Identifier: GPL-2.0-or-later
//! A folder and everything below it, from the indexes alone.
//!
//! ```text
//! $FILE_NAME in the index:  38 u32 attributes: 10000000 folder, 400 reparse point   3C u32 its tag
//! ```
//!
//! A folder of a hundred thousand files costs the reading of its index; a record is read for each folder, and
//! for each file whose reparse point does not say by its tag whether it is a link. Source: the Linux-NTFS
//! documentation and ntfs-3g's layout.h.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::{Error, Result, ResultExt};
use crate::volume::{EntryKind, TreeEntry};

use super::format::FileReference;
use super::index::{Directory, IndexEntry, namespace};
use super::walk::Tree;

/// The longest path that Windows makes, in UTF-16 units; a name counts at least one byte.
const LONGEST_PATH: usize = 32_767 * 3;

/// The most bytes of all paths together. Ours: bounds memory on a volume that was made to fill it.
const MOST_BYTES: usize = 1 << 30;

/// One file or folder that is still to be listed.
struct Waiting {
    entry: TreeEntry,
    file: FileReference,
}

impl Tree {
    /// The file or folder at `path` and everything below it: a folder before what is in it, names in order.
    pub(super) fn subtree(&self, path: &str) -> Result<Vec<TreeEntry>> {
        Ok(self.subtree_files(path)?.0)
    }

    /// The same, with the file that each is.
    pub(super) fn subtree_files(&self, path: &str) -> Result<(Vec<TreeEntry>, Vec<FileReference>)> {
        let (node, names) = self.expect_spelt(path)?;
        let mut waiting = vec![Waiting {
            entry: TreeEntry {
                path: names.join("/"),
                kind: node.kind,
            },
            file: node.record.reference(),
        }];
        let mut found = Vec::new();
        let mut files = Vec::new();
        let mut entered = HashSet::new();
        let mut bytes = 0_usize;
        while let Some(next) = waiting.pop() {
            if next.entry.kind == EntryKind::Directory {
                let inside = self.inside(&next, &mut entered);
                let inside = inside.context(|| format!("listing {}", next.entry.path))?;
                bytes = inside.iter().fold(bytes, |sum, inside| {
                    sum.saturating_add(inside.entry.path.len())
                });
                waiting.extend(inside);
            }
            if bytes > MOST_BYTES || next.entry.path.len() > LONGEST_PATH {
                return Err(Error::unsupported(
                    format!("{path} has more in it than is listed at once"),
                    "give the path of a folder further down",
                ));
            }
            found.push(next.entry);
            files.push(next.file);
        }
        Ok((found, files))
    }

    /// What is in a folder, the last name first.
    fn inside(&self, folder: &Waiting, entered: &mut HashSet<u64>) -> Result<Vec<Waiting>> {
        if !entered.insert(folder.file.record) {
            let what = format!("folder in MFT record {}", folder.file.record);
            return Err(Error::damaged(what, 0, "one way that leads to it", "two"));
        }
        let record = Arc::new(self.mft.resolve(folder.file)?);
        let mut inside = Vec::new();
        for entry in Directory::open(&self.mft, &record)?.entries()? {
            // The root holds itself under the name `.`.
            if entry.name.namespace == namespace::DOS || entry.file == folder.file {
                continue;
            }
            let name = String::from_utf16_lossy(&entry.name.name);
            let path = match folder.entry.path.as_str() {
                "" => name,
                folder => format!("{folder}/{name}"),
            };
            let kind = self.kind(&entry)?;
            inside.push(Waiting {
                entry: TreeEntry { path, kind },
                file: entry.file,
            });
        }
        // All paths here begin alike, so this is the order of the names.
        inside.sort_unstable_by(|left, right| right.entry.path.cmp(&left.entry.path));
        Ok(inside)
    }

    /// What an entry of a folder is. One whose record is bad is a link or worse, like in a listing.
    fn kind(&self, entry: &IndexEntry) -> Result<EntryKind> {
        if let Some(kind) = entry.name.kind() {
            return Ok(kind);
        }
        let record = self.mft.resolve(entry.file);
        match record.and_then(|record| self.node(Arc::new(record), String::new())) {
            Ok(node) => Ok(node.kind),
            Err(Error::Damaged { .. }) => Ok(EntryKind::Other),
            Err(error) => Err(error),
        }
    }
}
