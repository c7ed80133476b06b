// SPDX-License-Identifier: GPL-2.0-or-later
//! From a path to a file: walks the folders and says what is found.
//!
//! ```text
//! path -> part -> $I30 of the folder -> file reference -> record -> kind: file, folder, link
//! ```
//!
//! Names are compared with the volume's own $UpCase table. Where names differ in case only (folders with
//! case sensitivity), the exact one is meant, or the path is refused. Links are never followed.
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::{Error, Result, ResultExt};
use crate::volume::path;
use crate::volume::{Entry, EntryKind};

use super::find_files::LastNames;
use super::format::{attribute_type, record_number};
use super::index::{Directory, FileName, IndexEntry, namespace};
use super::mft::Mft;
use super::record::Record;
use super::reparse::{NOT_HERE, RECALL_ON_OPEN, Reparse, file_attributes};
use super::stream::Stream;
use super::upcase::Upcase;

/// A file or folder that a path led to.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Its base record.
    pub(super) record: Arc<Record>,
    /// Its name as stored, the long one where there are two; empty for the root.
    pub(super) name: String,
    /// What it is.
    pub(super) kind: EntryKind,
    /// Its reparse point.
    pub(super) reparse: Option<Reparse>,
}

/// The folders of a volume.
#[derive(Debug)]
pub(super) struct Tree {
    /// Where records are found.
    pub(super) mft: Mft,
    /// How names are compared.
    pub(super) upcase: Upcase,
    /// The names of the large folder that was read last.
    pub(super) last_names: LastNames,
}

impl Tree {
    /// What `path` leads to; `None` when a part of it does not exist.
    pub(super) fn resolve(&self, path: &str) -> Result<Option<Node>> {
        Ok(self.resolve_spelt(path)?.map(|(node, _)| node))
    }

    /// What `path` leads to, and the names on the way as they are stored.
    fn resolve_spelt(&self, path: &str) -> Result<Option<(Node, Vec<String>)>> {
        let mut names = Vec::new();
        let root = Arc::new(self.mft.system(record_number::ROOT, "the root folder")?);
        let mut node = self.node(root, String::new())?;
        for part in path::parts(path) {
            match node.kind {
                EntryKind::Directory => {}
                EntryKind::File => return Ok(None),
                EntryKind::Other => return Err(link_on_the_way(path, &node.name)),
            }
            let name: Vec<u16> = part.encode_utf16().collect();
            let directory = Directory::open(&self.mft, &node.record)?;
            let found = directory.find(&self.upcase, &name)?;
            let Some(entry) = choose(&name, found).context(|| path)? else {
                return Ok(None);
            };
            let record = self
                .mft
                .resolve(entry.file)
                .context(|| format!("following {path} at {part}"))?;
            let record = Arc::new(record);
            let name = self.long_name(&record, &entry.name)?;
            names.push(name.clone());
            node = self.node(record, name)?;
        }
        Ok(Some((node, names)))
    }

    /// What `path` leads to; an error when it does not exist.
    pub(super) fn expect(&self, path: &str) -> Result<Node> {
        self.resolve(path)?.ok_or_else(|| path::not_found(path))
    }

    /// What `path` leads to, and the names on the way as they are stored; an error when it does not exist.
    pub(super) fn expect_spelt(&self, path: &str) -> Result<(Node, Vec<String>)> {
        self.resolve_spelt(path)?
            .ok_or_else(|| path::not_found(path))
    }

    /// The entries of a folder, sorted by name.
    pub(super) fn list(&self, path: &str) -> Result<Vec<Entry>> {
        let node = self.expect(path)?;
        if node.kind != EntryKind::Directory {
            return Err(Error::unsupported(
                format!("{path} is not a folder"),
                "give the path of a folder",
            ));
        }
        let mut entries = Vec::new();
        for entry in Directory::open(&self.mft, &node.record)?.entries()? {
            // The root holds itself under the name `.`.
            if entry.name.namespace == namespace::DOS || entry.file == node.record.reference() {
                continue;
            }
            entries.push(self.listed(&entry)?);
        }
        entries.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(entries)
    }

    /// The entry for one name of a folder. A file whose record is bad is listed as `Other`: one bad file
    /// must not hide the others, and whoever opens it is told.
    fn listed(&self, entry: &IndexEntry) -> Result<Entry> {
        let name = String::from_utf16_lossy(&entry.name.name);
        let found = self
            .mft
            .resolve(entry.file)
            .and_then(|record| self.node(Arc::new(record), name.clone()))
            .and_then(|node| self.entry(&node));
        match found {
            Err(Error::Damaged { .. }) => Ok(Entry {
                name,
                kind: EntryKind::Other,
                len: 0,
            }),
            other => other,
        }
    }

    /// What callers see of a node.
    pub(super) fn entry(&self, node: &Node) -> Result<Entry> {
        let len = match node.kind {
            EntryKind::Directory => 0,
            _ => self.data(&node.record)?.map_or(0, |stream| stream.len()),
        };
        Ok(Entry {
            name: node.name.clone(),
            kind: node.kind,
            len,
        })
    }

    /// The unnamed data of a file; `None` when it has none.
    pub(super) fn data(&self, record: &Arc<Record>) -> Result<Option<Stream>> {
        Stream::find(&self.mft, record, attribute_type::DATA, "")
    }

    /// The content of a file that holds it plainly enough to be read.
    pub(super) fn content(&self, path: &str, node: &Node) -> Result<Stream> {
        let unsupported =
            |why: &str, next: &str| Err(Error::unsupported(format!("{path} {why}"), next));
        match (node.kind, node.reparse) {
            (EntryKind::Directory, _) => {
                return unsupported("is a folder", "give the path of a file in it");
            }
            (_, Some(Reparse::Wof)) => {
                return unsupported(
                    "is compressed by Windows (WOF, \"compact /exe\")",
                    "run `compact /u /exe` on it in Windows",
                );
            }
            (_, Some(Reparse::Deduplicated)) => {
                return unsupported(
                    "is deduplicated by Windows Server",
                    "run `Expand-DedupFile` on it in Windows",
                );
            }
            (EntryKind::Other, Some(Reparse::Cloud)) => {
                return unsupported(
                    "is kept in the cloud (OneDrive), not on this disk",
                    "let Windows fetch it (\"Always keep on this device\")",
                );
            }
            (EntryKind::Other, _) => {
                return unsupported(
                    "is a link, which is not followed",
                    "give the path that it points to",
                );
            }
            (EntryKind::File, _) => {}
        }
        let Some(stream) = self.data(&node.record)? else {
            return unsupported(
                "has no unnamed data",
                "check that the path names the file you mean",
            );
        };
        if stream.is_encrypted() {
            return unsupported(
                "is encrypted (EFS)",
                "decrypt it in Windows, signed in as the user who encrypted it",
            );
        }
        Ok(stream)
    }

    /// What the file with this base record is.
    pub(super) fn node(&self, record: Arc<Record>, name: String) -> Result<Node> {
        let reparse = Reparse::of(&self.mft, &record)?;
        let kind = match (reparse, record.is_directory()) {
            (None, true) => EntryKind::Directory,
            (None | Some(Reparse::Wof | Reparse::Deduplicated), false) => EntryKind::File,
            (Some(Reparse::Cloud), true) if file_attributes(&record) & RECALL_ON_OPEN == 0 => {
                EntryKind::Directory
            }
            (Some(Reparse::Cloud), false) if self.is_here(&record)? => EntryKind::File,
            _ => EntryKind::Other,
        };
        Ok(Node {
            record,
            name,
            kind,
            reparse,
        })
    }

    /// The content of this cloud file is all on the disk.
    fn is_here(&self, record: &Arc<Record>) -> Result<bool> {
        let here = self.data(record)?.is_some_and(|stream| !stream.has_holes());
        Ok(here && file_attributes(record) & NOT_HERE == 0)
    }

    /// The long name of a file that was found under its 8.3 name; else the name it was found under.
    fn long_name(&self, record: &Arc<Record>, found: &FileName) -> Result<String> {
        let mut long = None;
        if found.namespace == namespace::DOS {
            long = self
                .names(record)?
                .into_iter()
                .find(|name| name.namespace != namespace::DOS && name.parent == found.parent);
        }
        Ok(String::from_utf16_lossy(
            &long.as_ref().unwrap_or(found).name,
        ))
    }

    /// All names of a file, in all folders.
    pub(super) fn names(&self, record: &Arc<Record>) -> Result<Vec<FileName>> {
        let found = self.mft.collect(record, attribute_type::FILE_NAME, None)?;
        found
            .iter()
            .map(|found| {
                let value = found.record.value(&found.attribute);
                value.and_then(FileName::parse).ok_or_else(|| {
                    let what = format!("$FILE_NAME of MFT record {}", record.number());
                    Error::damaged(what, 0, "a resident file name", "something else")
                })
            })
            .collect()
    }
}

/// The error for a path that leads through a link.
pub(super) fn link_on_the_way(path: &str, link: &str) -> Error {
    Error::unsupported(
        format!("{path}: {link} is a link, which is not followed"),
        "give the path that it points to",
    )
}

/// The entry that `name` means among those that differ from it in case at most.
pub(super) fn choose(name: &[u16], found: Vec<IndexEntry>) -> Result<Option<IndexEntry>> {
    if found.len() < 2 {
        return Ok(found.into_iter().next());
    }
    let files: HashSet<u64> = found.iter().map(|entry| entry.file.record).collect();
    if files.len() > 1 {
        let exact = found.into_iter().find(|entry| entry.name.name == name);
        return match exact {
            Some(entry) => Ok(Some(entry)),
            None => Err(Error::refused(
                "several names here differ in upper and lower case only",
                "write the name exactly as it is stored",
            )),
        };
    }
    Ok(found.into_iter().next())
}
