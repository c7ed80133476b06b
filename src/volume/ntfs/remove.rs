// SPDX-License-Identifier: GPL-2.0-or-later
//! Removing a file or an empty folder.
//!
//! ```text
//! $I30 of the folder:       the entry goes, and that of the short name that belongs to it
//! another name is left:     $FILE_NAME goes from the record, links - 1 (two for a name with a short one)
//! it was the last one:      clusters -> free in $Bitmap; record -> not in use, sequence number + 1, free in $BITMAP
//! record of the folder:     modified, MFT changed = now
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's dir.c. What another index of the volume points to is refused: files
//! with a reparse point (\$Extend\$Reparse) or an object id (\$Extend\$ObjId). $UsnJrnl is not told.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::volume::path;

use super::clusters;
use super::format::{attribute_type, record_number};
use super::grow::{give_back, map_of};
use super::index::{Collation, Directory, FileName, Index, name_key, namespace};
use super::mft::Mft;
use super::record::{Attribute, Record};
use super::records::free_record;
use super::runs::Run;
use super::times::set_times;
use super::walk::{Tree, choose};

/// What is to be removed, once nothing speaks against it.
struct Removal {
    folder: Arc<Record>,
    file: Arc<Record>,
    /// The names that go.
    gone: Vec<FileName>,
    /// The record without them; `None` when no other name is left.
    record: Option<Record>,
    /// The clusters that become free.
    used: Vec<Vec<Run>>,
}

/// `Err` when what is at `path` cannot be removed.
pub(super) fn check(tree: &Tree, path: &str) -> Result<()> {
    // The time is not looked at: nothing is written.
    examine(tree, path, 0).map(drop)
}

/// Removes what is at `path`. `now` is a FILETIME.
pub(super) fn remove(tree: &Tree, path: &str, now: u64) -> Result<()> {
    let mft = &tree.mft;
    let Removal {
        folder,
        file,
        gone,
        record,
        used,
    } = examine(tree, path, now)?;
    for name in &gone {
        remove_entry(tree, &folder, &file, name)?;
    }
    match record {
        Some(record) => mft.store(&record)?,
        None => {
            for runs in used {
                give_back(mft, &runs)?;
            }
            free_record(mft, Record::clone(&file))?;
        }
    }
    let mut folder = mft.system(folder.number(), "the folder")?;
    set_times(&mut folder, now, true)?;
    mft.store(&folder)
}

/// Every refusal, before anything is written.
fn examine(tree: &Tree, path: &str, now: u64) -> Result<Removal> {
    let mft = &tree.mft;
    let parts: Vec<&str> = path::parts(path).collect();
    let folder = parts.split_last().map(|(_, above)| above.join("/"));
    let folder = match &folder {
        Some(above) => tree.expect(above)?.record,
        None => return Err(system(path)),
    };
    let node = tree.expect(path)?;
    let entry = {
        let units: Vec<u16> = parts.last().unwrap_or(&"").encode_utf16().collect();
        let found = Directory::open(mft, &folder)?.find(&tree.upcase, &units)?;
        choose(&units, found)?.ok_or_else(|| path::not_found(path))?
    };
    let file = node.record;
    let of_system = folder.is_system() && folder.number() != record_number::ROOT;
    if file.is_system() || of_system || entry.file != file.reference() {
        return Err(system(path));
    }
    check_plain(mft, path, &file)?;
    if file.is_directory() && !Directory::open(mft, &file)?.entries()?.is_empty() {
        return Err(Error::refused(
            format!("{path} is a folder with something in it"),
            "remove what is in it first",
        ));
    }

    let names = names(&file)?;
    let (gone, left): (Vec<_>, Vec<_>) = names
        .into_iter()
        .partition(|(_, name)| belong_together(&entry.name, name));
    if !gone.iter().any(|(_, name)| is_same(&entry.name, name)) {
        return Err(Error::damaged(
            format!("MFT record {}", file.number()),
            0,
            format!("the name under which {path} is found"),
            "no such $FILE_NAME",
        ));
    }
    let last = left.is_empty();
    let record = match last {
        true => None,
        false => Some(without(&file, &gone, now)?),
    };
    let used = if last {
        clusters_of(mft, &file)?
    } else {
        Vec::new()
    };
    Ok(Removal {
        folder,
        file,
        gone: gone.into_iter().map(|(_, name)| name).collect(),
        record,
        used,
    })
}

fn system(path: &str) -> Error {
    Error::refused(
        format!("{path} belongs to the file system itself"),
        "check that the path names the file you mean",
    )
}

/// Only files that nothing but their folders point to.
fn check_plain(mft: &Mft, path: &str, file: &Arc<Record>) -> Result<()> {
    let why = [
        (
            attribute_type::ATTRIBUTE_LIST,
            "its attributes are spread over several records",
        ),
        (
            attribute_type::REPARSE_POINT,
            "it is a link, or has another reparse point",
        ),
        (attribute_type::OBJECT_ID, "it has an object id"),
    ];
    for (kind, why) in why {
        if file.first(kind).is_some() || !mft.collect(file, kind, None)?.is_empty() {
            return Err(Error::unsupported(
                format!("{path} is not removed: {why}"),
                "mount the volume (for example with ntfs-3g) and remove it there, or rename it",
            ));
        }
    }
    Ok(())
}

/// The names of a file whose attributes are all in this record.
fn names(file: &Record) -> Result<Vec<(Attribute, FileName)>> {
    let found = file.attributes().iter();
    found
        .filter(|found| found.kind == attribute_type::FILE_NAME)
        .map(|found| {
            let name = file.value(found).and_then(FileName::parse);
            name.map(|name| (found.clone(), name)).ok_or_else(|| {
                let what = format!("$FILE_NAME of MFT record {}", file.number());
                Error::damaged(what, 0, "a resident file name", "something else")
            })
        })
        .collect()
}

/// Both are the same name. Only what belongs to the name: the rest may be out of date in the folder.
fn is_same(name: &FileName, other: &FileName) -> bool {
    (name.parent, name.namespace, &name.name) == (other.parent, other.namespace, &other.name)
}

/// `other` is the name itself, or its short or long form: a file has at most one of these pairs.
fn belong_together(name: &FileName, other: &FileName) -> bool {
    let pair = [namespace::WIN32, namespace::DOS];
    let paired = name.namespace != other.namespace
        && pair.contains(&name.namespace)
        && pair.contains(&other.namespace);
    is_same(name, other) || (paired && name.parent == other.parent)
}

/// The record without these names.
fn without(file: &Record, gone: &[(Attribute, FileName)], now: u64) -> Result<Record> {
    let mut record = file.clone();
    for (attribute, _) in gone.iter().rev() {
        // From the last one on, so that those before it stay where they are.
        let links = record.links().checked_sub(1).filter(|links| *links > 0);
        let done = links.is_some_and(|links| record.set_links(links)) && record.remove(attribute);
        if !done {
            return Err(Error::damaged(
                format!("MFT record {}", file.number()),
                0x12,
                "as many links as names",
                file.links().to_string(),
            ));
        }
    }
    set_times(&mut record, now, false)?;
    Ok(record)
}

/// The clusters of all attributes, checked to be the file's own.
fn clusters_of(mft: &Mft, file: &Record) -> Result<Vec<Vec<Run>>> {
    let mut all = Vec::new();
    let mut together = Vec::new();
    for attribute in file.attributes() {
        let runs = mft.runs(file, attribute)?;
        clusters::check(mft, &map_of(mft, &runs)?, file.number())?;
        together.extend(runs.iter().copied());
        all.push(runs);
    }
    clusters::check_apart(mft, &together, Some(file.number()))?;
    Ok(all)
}

/// Takes the entry of one name out of the folder.
fn remove_entry(tree: &Tree, folder: &Arc<Record>, file: &Record, name: &FileName) -> Result<()> {
    let mft = &tree.mft;
    let missing = || {
        Error::damaged(
            format!("$I30 of MFT record {}", folder.number()),
            0,
            format!("the name {}", String::from_utf16_lossy(&name.name)),
            "no such entry of this file",
        )
    };
    let fresh = Arc::new(mft.system(folder.number(), "the folder")?);
    let found = Directory::open(mft, &fresh)?.find(&tree.upcase, &name.name)?;
    let meant = |entry: &super::index::IndexEntry| {
        entry.name.name == name.name && entry.file == file.reference()
    };
    if !found.iter().any(meant) {
        return Err(missing());
    }
    let collation = Collation::FileName(&tree.upcase);
    let index = Index::open(mft, folder.number(), "$I30", collation)?;
    let key = name_key(&name.name).ok_or_else(missing)?;
    match index.remove(&key)? {
        true => Ok(()),
        false => Err(missing()),
    }
}
