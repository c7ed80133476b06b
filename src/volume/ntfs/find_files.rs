// SPDX-License-Identifier: GPL-2.0-or-later
//! Many paths at once: each folder is looked up once, and where many of its names are wanted, its index is
//! read once.
//!
//! ```text
//! a/b/x  a/b/y  a/z   ->   a/b: x, y    a: z   ->   file references, in the order of the paths
//! ```
//!
//! The rules are those of a single path: names without case, no link on the way. The last name may be a
//! link; it is the link that is meant.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use crate::error::{Result, ResultExt};
use crate::volume::EntryKind;
use crate::volume::path;

use super::format::FileReference;
use super::index::{Directory, IndexEntry};
use super::record::Record;
use super::upcase::Upcase;
use super::walk::{Node, Tree, choose, link_on_the_way};

/// An index is read as a whole when it has fewer blocks than this for each name that is sought in it. A search
/// reads two to four blocks.
const BLOCKS_FOR_A_NAME: usize = 4;

impl Tree {
    /// The files and folders that `paths` lead to, in their order; an error when one does not exist.
    pub(super) fn find_files(&self, paths: &[&str]) -> Result<Vec<FileReference>> {
        let mut folders: BTreeMap<&str, Vec<(usize, &str)>> = BTreeMap::new();
        let mut files = vec![None; paths.len()];
        for (index, path) in paths.iter().enumerate() {
            match split(path) {
                Some((folder, name)) => folders.entry(folder).or_default().push((index, name)),
                None => put(&mut files, index, self.expect(path)?.record.reference()),
            }
        }
        let mut known = HashMap::new();
        for (folder, names) in folders {
            let missing = || {
                let first = names.first().and_then(|(index, _)| paths.get(*index));
                path::not_found(first.unwrap_or(&folder))
            };
            let record = self.folder(folder, &mut known)?.ok_or_else(missing)?;
            let index = Directory::open(&self.mft, &record)?;
            let whole = index.blocks() <= names.len().saturating_mul(BLOCKS_FOR_A_NAME);
            let whole = match whole && names.len() > 1 {
                true => Some(Names::read(&index, &self.upcase)?),
                false => None,
            };
            for (place, name) in names {
                let path = paths.get(place).copied().unwrap_or_default();
                let name: Vec<u16> = name.encode_utf16().collect();
                let found = match &whole {
                    Some(whole) => whole.find(&self.upcase, &name),
                    None => index.find(&self.upcase, &name)?,
                };
                let entry = choose(&name, found).context(|| path)?;
                let entry = entry.ok_or_else(|| path::not_found(path))?;
                put(&mut files, place, entry.file);
            }
        }
        let all: Option<Vec<FileReference>> = files.into_iter().collect();
        all.ok_or_else(|| path::not_found("a path"))
    }

    /// Whether `path` is that of the file system's folder `$Extend`, or leads into it.
    pub(super) fn is_in_extend(&self, path: &str) -> bool {
        let first = path::parts(path).next().unwrap_or_default();
        let (first, extend) = (first.encode_utf16(), "$Extend".encode_utf16());
        self.upcase.compare_units(first, extend).is_eq()
    }

    /// The folder at `path`; `None` where there is none. Each folder on the way is looked up once.
    fn folder<'p>(
        &self,
        path: &'p str,
        known: &mut HashMap<&'p str, Arc<Record>>,
    ) -> Result<Option<Arc<Record>>> {
        // From the longest part of the path that is known, down.
        let mut todo = vec![path];
        let mut record = None;
        while let Some(folder) = todo.last().copied() {
            if let Some(found) = known.get(folder) {
                record = Some(Arc::clone(found));
                todo.pop();
                break;
            }
            match split(folder) {
                Some((above, _)) => todo.push(above),
                None => break,
            }
        }
        while let Some(folder) = todo.pop() {
            let node = match (record.take(), split(folder)) {
                (Some(above), Some((_, name))) => self.child(&above, name).context(|| folder)?,
                _ => self.resolve(folder)?,
            };
            let Some(node) = node else { return Ok(None) };
            match node.kind {
                EntryKind::Directory => {}
                EntryKind::File => return Ok(None),
                EntryKind::Other => return Err(link_on_the_way(path, &node.name)),
            }
            known.insert(folder, Arc::clone(&node.record));
            record = Some(node.record);
        }
        Ok(record)
    }

    /// The file or folder with this name in a folder.
    fn child(&self, folder: &Arc<Record>, name: &str) -> Result<Option<Node>> {
        let name: Vec<u16> = name.encode_utf16().collect();
        let found = Directory::open(&self.mft, folder)?.find(&self.upcase, &name)?;
        let Some(entry) = choose(&name, found)? else {
            return Ok(None);
        };
        let record = Arc::new(self.mft.resolve(entry.file)?);
        let name = String::from_utf16_lossy(&entry.name.name);
        self.node(record, name).map(Some)
    }
}

/// The folder and the last name of a path; `None` for the root and for paths with anything odd at their end.
fn split(path: &str) -> Option<(&str, &str)> {
    let path = path.trim_end_matches(['/', '\\']);
    let (folder, name) = path.rsplit_once(['/', '\\']).unwrap_or(("", path));
    (!name.is_empty() && name != ".").then_some((folder, name))
}

fn put(files: &mut [Option<FileReference>], index: usize, file: FileReference) {
    if let Some(place) = files.get_mut(index) {
        *place = Some(file);
    }
}

/// All names of a folder.
struct Names {
    entries: Vec<IndexEntry>,
    /// A hash of each name in upper case, and which of the entries it is; in order.
    hashes: Vec<(u64, usize)>,
}

impl Names {
    fn read(index: &Directory<'_>, upcase: &Upcase) -> Result<Names> {
        let entries = index.entries()?;
        let mut hashes: Vec<(u64, usize)> = entries
            .iter()
            .enumerate()
            .map(|(place, entry)| (hash(upcase, &entry.name.name), place))
            .collect();
        hashes.sort_unstable();
        Ok(Names { entries, hashes })
    }

    /// The entries whose name is `name`, case apart.
    fn find(&self, upcase: &Upcase, name: &[u16]) -> Vec<IndexEntry> {
        let wanted = hash(upcase, name);
        let first = self.hashes.partition_point(|(hash, _)| *hash < wanted);
        let same = self.hashes.get(first..).unwrap_or_default().iter();
        same.take_while(|(hash, _)| *hash == wanted)
            .filter_map(|(_, place)| self.entries.get(*place))
            .filter(|entry| upcase.compare(name, &entry.name.name).is_eq())
            .cloned()
            .collect()
    }
}

fn hash(upcase: &Upcase, name: &[u16]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for unit in name {
        hasher.write_u16(upcase.upper(*unit));
    }
    hasher.finish()
}
