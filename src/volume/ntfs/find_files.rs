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
use std::hash::{BuildHasherDefault, DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Result, ResultExt};
use crate::volume::EntryKind;
use crate::volume::path;

use super::format::FileReference;
use super::index::Directory;
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
                true => Some(self.all_names(&index, record.reference())?),
                false => None,
            };
            let mut units = Vec::new();
            let mut scratch = Vec::new();
            for (place, name) in names {
                units.clear();
                units.extend(name.encode_utf16());
                let one = whole
                    .as_ref()
                    .map(|whole| whole.find(&self.upcase, &units, &mut scratch));
                if let Some(Found::One(file)) = one {
                    put(&mut files, place, file);
                    continue;
                }
                let path = paths.get(place).copied().unwrap_or_default();
                // None, or several that differ in case only: looked at as for a single path.
                let found = index.find(&self.upcase, &units)?;
                let entry = choose(&units, found).context(|| path)?;
                let entry = entry.ok_or_else(|| path::not_found(path))?;
                put(&mut files, place, entry.file);
            }
        }
        let all: Option<Vec<FileReference>> = files.into_iter().collect();
        all.ok_or_else(|| path::not_found("a path"))
    }

    /// All names of a folder: those that were read last, where no index has changed since.
    fn all_names(&self, index: &Directory<'_>, folder: FileReference) -> Result<Arc<Names>> {
        let changes = self.mft.index_changes();
        let mut last = self
            .last_names
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last.as_ref()
            && (last.folder, last.changes) == (folder, changes)
        {
            return Ok(Arc::clone(&last.names));
        }
        let names = Arc::new(Names::read(index, &self.upcase)?);
        *last = Some(Last {
            folder,
            changes,
            names: Arc::clone(&names),
        });
        Ok(names)
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

/// The names of one folder that were read last.
#[derive(Debug, Default)]
pub(super) struct LastNames(Mutex<Option<Last>>);

#[derive(Debug)]
struct Last {
    folder: FileReference,
    /// After how many changes of indexes they were read.
    changes: u64,
    names: Arc<Names>,
}

/// All names of a folder.
#[derive(Debug)]
struct Names {
    /// The names one behind the other.
    units: Vec<u16>,
    /// By a hash of the name in upper case: the first of those that have it.
    first: HashMap<u64, usize, BuildHasherDefault<AsItIs>>,
    names: Vec<Named>,
}

#[derive(Debug)]
struct Named {
    file: FileReference,
    /// Where its name begins and ends.
    start: usize,
    end: usize,
    /// The next one with the same hash.
    next: Option<usize>,
}

/// Hashes what is a hash already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = crate::bytes::u64_le(bytes, 0).unwrap_or(0);
    }
}

/// What a search among all names gives.
enum Found {
    /// One file has the name.
    One(FileReference),
    /// None has it, or several have.
    Other,
}

impl Names {
    fn read(index: &Directory<'_>, upcase: &Upcase) -> Result<Names> {
        let mut names = Names {
            units: Vec::new(),
            first: HashMap::default(),
            names: Vec::new(),
        };
        let mut scratch = Vec::new();
        for entry in index.entries()? {
            let start = names.units.len();
            names.units.extend_from_slice(&entry.name.name);
            let hash = hash(upcase, &entry.name.name, &mut scratch);
            let next = names.first.insert(hash, names.names.len());
            names.names.push(Named {
                file: entry.file,
                start,
                end: names.units.len(),
                next,
            });
        }
        Ok(names)
    }

    /// The file whose name is `name`, case apart.
    fn find(&self, upcase: &Upcase, name: &[u16], scratch: &mut Vec<u8>) -> Found {
        let mut next = self.first.get(&hash(upcase, name, scratch)).copied();
        let mut file = None;
        while let Some(named) = next.and_then(|at| self.names.get(at)) {
            let found = self.units.get(named.start..named.end).unwrap_or_default();
            if upcase.compare(name, found).is_eq() && file.replace(named.file).is_some() {
                return Found::Other;
            }
            next = named.next;
        }
        file.map_or(Found::Other, Found::One)
    }
}

/// The hash of a name in upper case. `scratch` is for its bytes, so that they are hashed in one go.
fn hash(upcase: &Upcase, name: &[u16], scratch: &mut Vec<u8>) -> u64 {
    scratch.clear();
    scratch.extend(
        name.iter()
            .flat_map(|unit| upcase.upper(*unit).to_le_bytes()),
    );
    let mut hasher = DefaultHasher::new();
    hasher.write(scratch);
    hasher.finish()
}
