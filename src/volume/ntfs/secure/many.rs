// SPDX-License-Identifier: GPL-2.0-or-later
//! The descriptors of one file or of a hundred thousand.
//!
//! ```text
//! read:   paths -> file references (folder by folder) -> records in the order of $MFT -> ids -> descriptors
//! write:  the same, then those records that say something else
//!           id in $STANDARD_INFORMATION    two fields of the first sector, many records in one go
//!           a descriptor of their own      it goes, the id comes: record by record
//! ```
//!
//! Each descriptor is read once. What cannot be done is seen before the first write. Windows also counts what the
//! files of an owner take (quotas); an owner that changes is not moved there, which Windows does when it counts
//! anew.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::{Error, Result, ResultExt};

use super::super::format::{FileReference, record_number};
use super::super::mft::Mft;
use super::super::record::Record;
use super::super::walk::Tree;
use super::Secure;
use super::descriptor;
use super::file::{self, Change, Own};

/// The descriptors of the files at `paths`, in their order. `notes` gets what the person should know of reading them.
pub(in super::super) fn read(
    tree: &Tree,
    paths: &[&str],
    notes: &mut Vec<String>,
) -> Result<Vec<Arc<[u8]>>> {
    let files = tree.find_files(paths)?;
    let found = of_files(tree, &files, notes)?.into_iter().enumerate();
    found
        .map(|(index, found)| found.context(|| path(paths, index)))
        .collect()
}

/// The descriptor of each of `files`, or why it cannot be read.
pub(in super::super) fn of_files(
    tree: &Tree,
    files: &[FileReference],
    notes: &mut Vec<String>,
) -> Result<Vec<Result<Arc<[u8]>>>> {
    let secure = Secure::open(&tree.mft)?;
    let mut shared = Shared::default();
    let mut found: Vec<Result<Arc<[u8]>>> = Vec::new();
    found.resize_with(files.len(), || Ok(Arc::default()));
    tree.mft.for_each(files, |index, record| {
        let read = || {
            let record = Arc::new(record?);
            match file::own(&tree.mft, &record)? {
                Own::Id(id) => secure.descriptor(id),
                Own::Private(descriptor) => Ok(descriptor.into()),
                Own::Nothing => Err(file::nothing(&record)),
            }
        };
        if let Some(place) = found.get_mut(index) {
            *place = read().map(|descriptor| shared.one(descriptor));
        }
        Ok(())
    })?;
    notes.extend(secure.into_notes());
    Ok(found)
}

/// Gives the files at `paths` this descriptor, and the time `now` as that of their last change, where they have
/// another, or none that can be read. `notes` gets what the person should know.
pub(in super::super) fn write(
    tree: &Tree,
    descriptor: &[u8],
    paths: &[&str],
    now: u64,
    notes: &mut Vec<String>,
) -> Result<()> {
    descriptor::check_new(descriptor)?;
    let files = tree.find_files(paths)?;
    let mut secure = Secure::open(&tree.mft)?;
    let mut in_place: Vec<(u64, usize)> = Vec::new();
    let mut one_by_one: Vec<(u64, usize)> = Vec::new();
    tree.mft.for_each(&files, |index, record| {
        let path = path(paths, index);
        let judge = || {
            let record = Arc::new(record?);
            check_users(tree, &record, path)?;
            if current(&tree.mft, &secure, &record)?.as_deref() == Some(descriptor) {
                return Ok(());
            }
            match file::change(&tree.mft, &record)? {
                Change::InPlace(offset) => in_place.push((record.number(), offset)),
                Change::Whole => one_by_one.push((record.number(), index)),
            }
            Ok(())
        };
        judge().context(|| path)
    })?;
    // One file may be there under several names.
    in_place.dedup();
    one_by_one.dedup_by_key(|(number, _)| *number);
    if in_place.is_empty() && one_by_one.is_empty() {
        notes.extend(secure.into_notes());
        return Ok(());
    }
    let id = secure.id_for(descriptor)?;
    notes.extend(secure.into_notes());
    for (number, index) in one_by_one {
        file::set(&tree.mft, number, id, now).context(|| path(paths, index))?;
    }
    let (id, now) = (id.to_le_bytes(), now.to_le_bytes());
    let fields: [(usize, &[u8]); 2] = [(file::SECURITY_ID, &id), (file::MFT_CHANGED, &now)];
    tree.mft.overwrite_all(&in_place, &fields)
}

/// The descriptor of the file with this base record; `None` when it has none that makes sense: an id that nobody gave,
/// or bytes that are no descriptor. A file like that can be given another one.
fn current(mft: &Mft, secure: &Secure<'_>, record: &Arc<Record>) -> Result<Option<Arc<[u8]>>> {
    match file::own(mft, record) {
        Ok(Own::Id(id)) => secure.descriptor_if_any(id),
        Ok(Own::Private(descriptor)) => Ok(Some(descriptor.into())),
        Ok(Own::Nothing) | Err(Error::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Files of the file system itself are left alone; its root folder is not one of them.
fn check_users(tree: &Tree, record: &Record, path: &str) -> Result<()> {
    let number = record.number();
    let system = number < record_number::FIRST_USER && number != record_number::ROOT;
    if system || record.is_in_extend() || tree.is_in_extend(path) {
        return Err(Error::refused(
            format!("{path} belongs to the file system itself"),
            "check that the path names the file you mean",
        ));
    }
    Ok(())
}

/// What a path is called in errors.
fn path<'p>(paths: &[&'p str], index: usize) -> &'p str {
    match paths.get(index) {
        None | Some(&"") => "the root folder",
        Some(path) => path,
    }
}

/// Equal descriptors, kept once.
#[derive(Default)]
struct Shared {
    all: HashSet<Arc<[u8]>>,
    /// The last one that came, and the one that is kept for it: many files in a row have the same.
    last: Option<Last>,
}

struct Last {
    came: Arc<[u8]>,
    kept: Arc<[u8]>,
}

impl Shared {
    fn one(&mut self, descriptor: Arc<[u8]>) -> Arc<[u8]> {
        if let Some(last) = &self.last
            && Arc::ptr_eq(&last.came, &descriptor)
        {
            return Arc::clone(&last.kept);
        }
        let kept = match self.all.get(&descriptor) {
            Some(known) => Arc::clone(known),
            None => {
                self.all.insert(Arc::clone(&descriptor));
                Arc::clone(&descriptor)
            }
        };
        self.last = Some(Last {
            came: descriptor,
            kept: Arc::clone(&kept),
        });
        kept
    }
}
