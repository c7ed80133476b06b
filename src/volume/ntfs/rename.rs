// SPDX-License-Identifier: GPL-2.0-or-later
//! Another name for a file or folder, in the folder where it is.
//!
//! ```text
//! record of the file:    $FILE_NAME of this folder (Win32, Win32 and DOS, or POSIX) -> the new name
//!                        a separate DOS name stays;   MFT changed = now
//! $I30 of the folder:    entry of the old name goes, entry of the new name comes; that of a DOS name: MFT changed
//! record of the folder:  modified, MFT changed = now
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. The short name need not be made of the long one, so it may
//! stay. A name that was both and is to be no 8.3 name becomes POSIX: Windows gives that namespace to all names
//! where it makes no short ones. What is in a folder knows its record number, not its name. All that can be
//! refused is refused before the first write.

use std::sync::Arc;

use crate::bytes;
use crate::error::{Error, Result};
use crate::volume::name;
use crate::volume::path;

use super::format::{FileReference, attribute_type, record_number};
use super::index::{Collation, Directory, FileName, Index, key_of, name_key, namespace};
use super::mft::Found;
use super::record::Record;
use super::times::set_times;
use super::walk::{Tree, choose};

/// Where the key begins in an index entry.
const KEY: usize = 0x10;

/// Where the name begins in a $FILE_NAME value.
const NAME: usize = 0x42;

/// Where the time of the last change to the record is in it.
const CHANGED: usize = 0x18;

/// Gives the file or folder at `path` the name `new`. `now` is a FILETIME.
pub(super) fn rename(tree: &Tree, path: &str, new: &str, now: u64) -> Result<()> {
    let new = name::check(new)?;
    let mft = &tree.mft;
    let place = Place::find(tree, path)?;
    if place.name.name == new {
        return Ok(());
    }
    place.check_free(tree, &new)?;

    let folder = place.folder.number();
    let index = Index::open(mft, folder, "$I30", Collation::FileName(&tree.upcase))?;
    let old = place.entry(&index)?;
    let key = new_key(&key_of(&old), &new, place.new_namespace(&new), now)?;
    let records = place.new_records(path, &key, now)?;
    set_times(&mut Record::clone(&place.folder), now, true)?;
    let plan = index.plan_replacement(&key_of(&old), &new_entry(&old, &key)?)?;

    let short = place.short_key(tree, &index)?;

    // What is refused after all, for want of free clusters, comes first.
    plan.write()?;
    if let Some(short) = short {
        index.overwrite(&short, KEY.saturating_add(CHANGED), &now.to_le_bytes())?;
    }
    for record in &records {
        mft.store(record)?;
    }
    // Read anew: the root of the index is in it, too.
    let mut folder = mft.system(folder, "the folder")?;
    set_times(&mut folder, now, true)?;
    mft.store(&folder)
}

/// A name of a file in a folder.
struct Place {
    /// The base record of the folder.
    folder: Arc<Record>,
    /// The base record of the file.
    file: Arc<Record>,
    /// The name, the long one where there are two.
    name: FileName,
    /// The $FILE_NAME that holds it.
    holder: Found,
}

impl Place {
    fn find(tree: &Tree, path: &str) -> Result<Place> {
        // Says what is wrong with the path, if something is.
        tree.expect(path)?;
        let parts: Vec<&str> = path::parts(path).collect();
        let Some((last, above)) = parts.split_last() else {
            return Err(Error::refused(
                "the root folder of a volume has no name",
                "give the path of a file or folder in it",
            ));
        };
        let folder = tree.expect(&above.join("/"))?.record;
        let units: Vec<u16> = last.encode_utf16().collect();
        let found = Directory::open(&tree.mft, &folder)?.find(&tree.upcase, &units)?;
        let entry = choose(&units, found)?.ok_or_else(|| path::not_found(path))?;
        let file = Arc::new(tree.mft.resolve(entry.file)?);
        if file.is_system() || (folder.is_system() && folder.number() != record_number::ROOT) {
            return Err(Error::refused(
                format!("{path} belongs to the file system itself"),
                "check that the path names the file you mean",
            ));
        }
        let (name, holder) = find_name(tree, &folder, &file, &entry.name)?;
        Ok(Place {
            folder,
            file,
            name,
            holder,
        })
    }

    /// No other file may have the new name, and this one not under another.
    fn check_free(&self, tree: &Tree, new: &[u16]) -> Result<()> {
        let directory = Directory::open(&tree.mft, &self.folder)?;
        for other in directory.find(&tree.upcase, new)? {
            let same = other.file == self.file.reference();
            if same && other.name.name == self.name.name {
                continue;
            }
            let name = String::from_utf16_lossy(&other.name.name);
            let whose = match same {
                true => "as another name of the same file, such as its short one",
                false => "for another file",
            };
            return Err(Error::refused(
                format!("{name} exists in this folder already, {whose}"),
                "choose another name",
            ));
        }
        Ok(())
    }

    /// The entry of the name in the index of the folder.
    fn entry(&self, index: &Index<'_>) -> Result<Vec<u8>> {
        let found = match name_key(&self.name.name) {
            Some(key) => index.find(&key)?,
            None => None,
        };
        let meant = |entry: &Vec<u8>| {
            let file = bytes::u64_le(entry, 0).map(FileReference::from_packed);
            file == Some(self.file.reference())
        };
        found.filter(meant).ok_or_else(|| {
            Error::damaged(
                format!("$I30 of MFT record {}", self.folder.number()),
                0,
                format!("{} as in MFT record {}", self.text(), self.file.number()),
                "no such entry",
            )
        })
    }

    /// The key of the short name that belongs to a long one; `None` when it has none.
    fn short_key(&self, tree: &Tree, index: &Index<'_>) -> Result<Option<Vec<u8>>> {
        if self.name.namespace != namespace::WIN32 {
            return Ok(None);
        }
        let names = tree.names(&self.file)?;
        let short = names.into_iter().find(|name| {
            name.namespace == namespace::DOS && name.parent == self.folder.reference()
        });
        let Some(key) = short.and_then(|short| name_key(&short.name)) else {
            return Ok(None);
        };
        Ok(index.find(&key)?.map(|entry| key_of(&entry)))
    }

    fn text(&self) -> String {
        String::from_utf16_lossy(&self.name.name)
    }

    fn new_namespace(&self, new: &[u16]) -> u8 {
        let upper = |unit: &u16| match u8::try_from(*unit) {
            Ok(byte) => u16::from(byte.to_ascii_uppercase()),
            Err(_) => *unit,
        };
        let short = name::is_short(&new.iter().map(upper).collect::<Vec<_>>());
        match self.name.namespace {
            namespace::WIN32_AND_DOS if !short => namespace::POSIX,
            other => other,
        }
    }

    /// The records of the file with the new value of $FILE_NAME, and the time of the change.
    fn new_records(&self, path: &str, key: &[u8], now: u64) -> Result<Vec<Record>> {
        let mut holder = Record::clone(&self.holder.record);
        if !holder.set_value(&self.holder.attribute, key) {
            let room = holder.room(&self.holder.attribute).unwrap_or(0);
            let units = room.saturating_sub(NAME) / 2;
            return Err(Error::refused(
                format!(
                    "MFT record {} of {path} has room for a name of {units} characters, and the new one is longer",
                    holder.number()
                ),
                format!("choose a name of at most {units} characters"),
            ));
        }
        if holder.number() == self.file.number() {
            set_times(&mut holder, now, false)?;
            return Ok(vec![holder]);
        }
        let mut base = Record::clone(&self.file);
        set_times(&mut base, now, false)?;
        Ok(vec![holder, base])
    }
}

/// The $FILE_NAME of the file that belongs to an entry of the folder; the long name's where the entry is a short one.
fn find_name(
    tree: &Tree,
    folder: &Record,
    file: &Arc<Record>,
    entry: &FileName,
) -> Result<(FileName, Found)> {
    let mut fitting = Vec::new();
    for found in tree.mft.collect(file, attribute_type::FILE_NAME, None)? {
        let value = found.record.value(&found.attribute);
        let Some(name) = value.and_then(FileName::parse) else {
            continue;
        };
        let long = match entry.namespace {
            namespace::DOS => name.namespace == namespace::WIN32,
            space => name.namespace == space && name.name == entry.name,
        };
        if long && name.parent == folder.reference() {
            fitting.push((name, found));
        }
    }
    match fitting.pop() {
        Some(one) if fitting.is_empty() => Ok(one),
        _ => Err(Error::damaged(
            format!("MFT record {}", file.number()),
            0,
            format!(
                "one $FILE_NAME for {} in its folder",
                String::from_utf16_lossy(&entry.name)
            ),
            "none, or several",
        )),
    }
}

/// The value of $FILE_NAME, which is the key in the index too, made of the old key.
fn new_key(old: &[u8], name: &[u16], space: u8, now: u64) -> Result<Vec<u8>> {
    let make = || {
        let mut key = old.get(..NAME.checked_sub(2)?)?.to_vec();
        bytes::put(&mut key, CHANGED, &now.to_le_bytes()).then_some(())?;
        key.extend([u8::try_from(name.len()).ok()?, space]);
        key.extend(name.iter().flat_map(|unit| unit.to_le_bytes()));
        Some(key)
    };
    make().ok_or_else(|| Error::damaged("$FILE_NAME", 0, "a whole value", "less"))
}

/// The index entry with this key for the same file.
fn new_entry(old: &[u8], key: &[u8]) -> Result<Vec<u8>> {
    let make = || {
        let len = KEY.checked_add(key.len())?.checked_next_multiple_of(8)?;
        let mut entry = old.get(..8)?.to_vec();
        entry.extend(u16::try_from(len).ok()?.to_le_bytes());
        entry.extend(u16::try_from(key.len()).ok()?.to_le_bytes());
        entry.resize(KEY, 0);
        entry.extend_from_slice(key);
        entry.resize(len, 0);
        Some(entry)
    };
    make().ok_or_else(|| Error::damaged("an index entry", 0, "a whole one", "less"))
}
