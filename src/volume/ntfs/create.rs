// SPDX-License-Identifier: GPL-2.0-or-later
//! Making a file or a folder.
//!
//! ```text
//! record, taken from $MFT:  $10 $STANDARD_INFORMATION: times, attributes, security id
//!                           $30 $FILE_NAME: folder, times, sizes, name        indexed
//!                           $80 $DATA of a file, or $90 $INDEX_ROOT $I30 of a folder: an end entry
//! $I30 of the folder:       entry: reference of the record, the same $FILE_NAME
//! record of the folder:     modified, MFT changed = now
//!
//! $STANDARD_INFORMATION:  0 created  8 modified  10 MFT changed  18 accessed  20 attributes  34 security id
//! $FILE_NAME:  0 folder  8..28 times  28 allocated  30 data size  38 attributes  40 length  41 namespace  42 name
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's dir.c. A name that is its own short one serves Win32 and DOS; any
//! other becomes a POSIX name, as with ntfs-3g: no short name is made up. $UsnJrnl is not told.

use std::sync::Arc;

use crate::bytes;
use crate::error::{Error, Result};
use crate::volume::EntryKind;
use crate::volume::name;
use crate::volume::path;

use super::allocate::{self, Purpose};
use super::format::{FileReference, attribute_type, record_number};
use super::grow::{clusters_for, grow_size};
use super::index::{Collation, Directory, Index, namespace};
use super::mft::Mft;
use super::record::{self, Record, blank};
use super::records::take_record;
use super::stream_edit::{full, write_stream};
use super::times::set_times;
use super::walk::Tree;

/// File attributes: a file that was changed since it was last backed up, as every new one.
const ARCHIVE: u32 = 0x20;
/// In $FILE_NAME only: the file has an index of names.
const HAS_NAMES: u32 = 0x1000_0000;

/// What is made.
#[derive(Clone, Copy, Debug)]
pub(super) enum New<'c> {
    /// An empty folder.
    Directory,
    /// A file with this content.
    File(&'c [u8]),
}

/// Makes what `path` names, whose folder must exist. `security_id` is asked for when all else is known to be right.
pub(super) fn create(
    tree: &Tree,
    path: &str,
    new: New<'_>,
    security_id: impl FnOnce() -> Result<u32>,
    now: u64,
) -> Result<()> {
    let mft = &tree.mft;
    let (folder, name) = place(tree, path)?;
    let root = root_of(mft, &folder)?;
    // Whether there is room, before the first write.
    if let New::File(content) = new {
        let len = u64::try_from(content.len()).unwrap_or(u64::MAX);
        if len > u64::from(mft.boot.record_size) {
            allocate::choose(mft, Purpose::File, None, 0, clusters_for(mft, len))?;
        }
    }
    let draft = Draft {
        name,
        folder: folder.reference(),
        security_id: security_id()?,
        now,
    };
    let file = take_record(mft)?;
    let model = mft.read(record_number::MFT)?;
    let mut record = blank(file.record, &model)?;
    let key = draft.fill(mft, &mut record, file, new, &root)?;
    mft.store(&record)?;
    if let New::File(content) = new {
        let stream = (file.record, attribute_type::DATA);
        let held = record.first(stream.1).and_then(|data| record.value(data));
        if held != Some(content) {
            let len = u64::try_from(content.len()).unwrap_or(u64::MAX);
            grow_size(mft, stream.0, stream.1, "", len)?;
            write_stream(mft, stream.0, stream.1, "", 0, content)?;
        }
    }
    let index = Index::open(
        mft,
        folder.number(),
        "$I30",
        Collation::FileName(&tree.upcase),
    )?;
    index.insert(&entry(file, &key)?)?;
    // Read anew: the root of the index is in it, too.
    let mut folder = mft.system(folder.number(), "the folder")?;
    set_times(&mut folder, now, true)?;
    mft.store(&folder)
}

/// The folder that `path` leads to and the name that is to be in it, which must be free.
fn place(tree: &Tree, path: &str) -> Result<(Arc<Record>, Vec<u16>)> {
    let parts: Vec<&str> = path::parts(path).collect();
    let Some((name, above)) = parts.split_last() else {
        return Err(Error::refused(
            "the root folder exists on every volume",
            "give the path of something in it",
        ));
    };
    let name = name::check(name)?;
    let above = above.join("/");
    let folder = tree.expect(&above)?;
    if folder.kind != EntryKind::Directory {
        return Err(Error::unsupported(
            format!("{above} is not a folder"),
            "give a path in a folder",
        ));
    }
    let folder = folder.record;
    if folder.is_system() && folder.number() != record_number::ROOT {
        return Err(Error::refused(
            format!("{above} belongs to the file system itself"),
            "give a path in another folder",
        ));
    }
    let found = Directory::open(&tree.mft, &folder)?.find(&tree.upcase, &name)?;
    if let Some(found) = found.first() {
        let found = String::from_utf16_lossy(&found.name.name);
        return Err(Error::refused(
            format!("{path} exists already (as {found})"),
            "choose another name, or remove the old one first",
        ));
    }
    Ok((folder, name))
}

/// The value of the $INDEX_ROOT of an empty folder: with blocks as in `folder`.
fn root_of(mft: &Mft, folder: &Arc<Record>) -> Result<Vec<u8>> {
    /// Type, collation, length of a block, clusters of a block.
    const HEADER: usize = 0x10;
    let directory = Directory::open(mft, folder)?;
    let found = &directory.root;
    let value = found.record.value(&found.attribute).unwrap_or_default();
    let header = bytes::slice(value, 0, HEADER).ok_or_else(|| {
        let what = format!("$I30 of MFT record {}", folder.number());
        Error::damaged(what, 0, "the header of an index", "a shorter value")
    })?;
    // The node: entries from 10 to 20, all of it used. The end entry: length 10, flag 2, no key.
    let node: [u32; 8] = [0x10, 0x20, 0x20, 0, 0, 0, 0x10, 2];
    let node = node.iter().flat_map(|field| field.to_le_bytes());
    Ok(header.iter().copied().chain(node).collect())
}

/// What is known of the file before it has a record.
struct Draft {
    name: Vec<u16>,
    folder: FileReference,
    security_id: u32,
    now: u64,
}

impl Draft {
    /// Makes the record of the file out of an empty one; returns the $FILE_NAME. A content that does not fit is
    /// left out.
    fn fill(
        &self,
        mft: &Mft,
        record: &mut Record,
        file: FileReference,
        new: New<'_>,
        root: &[u8],
    ) -> Result<Vec<u8>> {
        let upcase = mft.upcase()?;
        let number = record.number();
        let too_long = |record: &Record| full(record, "the attributes of a new file");
        let directory = matches!(new, New::Directory);
        if !record.set_new(file.sequence, directory) {
            return Err(too_long(record));
        }
        let mut add = |kind: u32, name: &str, indexed: bool, value: &[u8]| {
            let name: Vec<u16> = name.encode_utf16().collect();
            let attribute = record
                .next_instance()
                .and_then(|instance| record::resident(kind, &name, instance, indexed, value));
            match attribute {
                Some(attribute) if record.insert(upcase, &attribute) => Ok(()),
                _ => Err(too_long(record)),
            }
        };
        add(
            attribute_type::STANDARD_INFORMATION,
            "",
            false,
            &self.standard_information(directory),
        )?;
        let placeholder = self.file_name(directory, 0, 0);
        add(attribute_type::FILE_NAME, "", true, &placeholder)?;
        let New::File(content) = new else {
            add(attribute_type::INDEX_ROOT, "$I30", false, root)?;
            return Ok(placeholder);
        };
        add(attribute_type::DATA, "", false, &[])?;
        let len = u64::try_from(content.len()).unwrap_or(u64::MAX);
        let data = record.first(attribute_type::DATA).cloned();
        let resident = data.is_some_and(|data| record.set_value(&data, content));
        let allocated = match resident {
            true => len.checked_next_multiple_of(8).unwrap_or(len),
            false => clusters_for(mft, len).saturating_mul(u64::from(mft.boot.cluster_size)),
        };
        let key = self.file_name(directory, allocated, len);
        let found = record.first(attribute_type::FILE_NAME).cloned();
        if found.is_some_and(|found| record.set_value(&found, &key)) {
            return Ok(key);
        }
        let what = format!("MFT record {number}");
        Err(Error::damaged(what, 0, "a $FILE_NAME", "none"))
    }

    fn standard_information(&self, directory: bool) -> Vec<u8> {
        let mut value = self.now.to_le_bytes().repeat(4);
        // That a folder is one is not said here.
        let attributes = if directory { 0 } else { ARCHIVE };
        value.extend_from_slice(&attributes.to_le_bytes());
        // Versions, class and owner.
        value.extend_from_slice(&[0; 0x10]);
        value.extend_from_slice(&self.security_id.to_le_bytes());
        // Quota and update sequence number.
        value.extend_from_slice(&[0; 0x10]);
        value
    }

    fn file_name(&self, directory: bool, allocated: u64, data: u64) -> Vec<u8> {
        let attributes = if directory { HAS_NAMES } else { ARCHIVE };
        let namespace = match name::is_short(&self.name) {
            true => namespace::WIN32_AND_DOS,
            false => namespace::POSIX,
        };
        let mut value = self.folder.to_packed().to_le_bytes().to_vec();
        value.extend(self.now.to_le_bytes().repeat(4));
        value.extend_from_slice(&allocated.to_le_bytes());
        value.extend_from_slice(&data.to_le_bytes());
        value.extend_from_slice(&attributes.to_le_bytes());
        value.extend_from_slice(&[0; 4]);
        // `name::check` allows no more than 255.
        value.push(u8::try_from(self.name.len()).unwrap_or(u8::MAX));
        value.push(namespace);
        value.extend(self.name.iter().flat_map(|unit| unit.to_le_bytes()));
        value
    }
}

/// The entry of an index for this key.
fn entry(file: FileReference, key: &[u8]) -> Result<Vec<u8>> {
    const HEADER: usize = 0x10;
    let made = || {
        let len = HEADER.checked_add(key.len())?.checked_next_multiple_of(8)?;
        let mut entry = vec![0; len];
        let put = bytes::put(&mut entry, 0, &file.to_packed().to_le_bytes())
            && bytes::put(&mut entry, 8, &u16::try_from(len).ok()?.to_le_bytes())
            && bytes::put(
                &mut entry,
                0xA,
                &u16::try_from(key.len()).ok()?.to_le_bytes(),
            )
            && bytes::put(&mut entry, HEADER, key);
        put.then_some(entry)
    };
    made().ok_or_else(|| Error::damaged("a new index entry", 0, "a file name", "a longer key"))
}
