// SPDX-License-Identifier: GPL-2.0-or-later
//! The journal file of one operation: what the target held before, and what it is to hold after.
//!
//! ```text
//! offset  bytes
//! 0       8     "cfJOURNL"
//! 8       4     version: 1, 2 where there are operations of the host, 3 where it makes or removes files
//! 12      8     length of the whole file
//! 20      4     CRC-32 of the 20 bytes above
//! 24            sections: | tag 4 | length of payload 8 | payload | CRC-32 of all of it 4 |
//!               "HEAD"  JSON: the operation's header, and the totals of what follows
//!               "FILE"  length before 8 | length after 8 | number of changes 8 | path    \  once for
//!               "CHNG"  offset 8 | bytes before | as many bytes after                    /  each file
//!               (from version 2 on: descriptors and operations of the host, see `operations`)
//!               "TAIL"  SHA-256 of every byte above this section; the file ends with it
//! ```
//!
//! Numbers are little-endian. `CHNG` sections follow their `FILE`, sorted by offset. Paths are in the
//! host's own bytes on Unix and UTF-8 elsewhere. The file is never changed once it has its name; what
//! became of the operation is said by empty files beside it. Every section is checked before it is
//! used, and nothing is allocated that the file's real length does not cover.
//!
//! What an earlier version can hold is written as that, so that the coldfix that only knows it can undo it.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{OperationHeader, compare};
use crate::bytes::{array, slice, u32_le, u64_le};
use crate::device::{Change, ChangeSet, Patch};
use crate::error::{Error, Result, ResultExt};

mod operations;

use operations::Host;

const MAGIC: &[u8; 8] = b"cfJOURNL";
/// Patches only.
const FIRST_VERSION: u32 = 1;
/// With operations of the host.
const HOST_VERSION: u32 = 2;
/// With files that are made or removed.
const VERSION: u32 = 3;
const PREFIX: usize = 24;
/// Tag, length and CRC of a section.
const FRAME: u64 = 16;

const HEAD: &[u8; 4] = b"HEAD";
const FILE: &[u8; 4] = b"FILE";
const CHANGE: &[u8; 4] = b"CHNG";
const TAIL: &[u8; 4] = b"TAIL";
const DIGEST: u64 = 32;

/// The `HEAD` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The operation.
    pub header: OperationHeader,
    /// How many files the operation changes.
    pub files: u64,
    /// How many ranges.
    pub ranges: u64,
    /// How many bytes they hold.
    pub bytes: u64,
    /// How many different security descriptors there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub descriptors: u64,
    /// How many operations of the host.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub operations: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde hands it over
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Writes the journal of an operation. Returns the host's errors only; `changes` are already checked.
pub fn write(
    header: &OperationHeader,
    changes: &ChangeSet,
    output: &mut dyn Write,
) -> io::Result<()> {
    let (ranges, bytes) = changes.totals();
    let host = Host::of(&changes.operations)?;
    let head = serde_json::to_vec(&Head {
        header: header.clone(),
        files: as_u64(changes.patches.len()),
        ranges,
        bytes,
        descriptors: as_u64(host.descriptors.len()),
        operations: as_u64(changes.operations.len()),
    })?;
    let mut paths = Vec::new();
    let mut length = as_u64(PREFIX)
        .saturating_add(as_u64(head.len()).saturating_add(FRAME))
        .saturating_add(host.length())
        .saturating_add(DIGEST.saturating_add(FRAME));
    for patch in &changes.patches {
        let path = path_bytes(&patch.file)?;
        length = length.saturating_add(as_u64(path.len()).saturating_add(24).saturating_add(FRAME));
        for change in &patch.changes {
            let data = as_u64(change.before.len()).saturating_mul(2);
            length = length.saturating_add(data.saturating_add(8).saturating_add(FRAME));
        }
        paths.push(path);
    }

    let mut writer = Writer {
        output,
        digest: Sha256::new(),
    };
    let version = match changes.operations.is_empty() {
        true => FIRST_VERSION,
        false if host.has_files() => VERSION,
        false => HOST_VERSION,
    };
    let mut prefix = Vec::with_capacity(PREFIX);
    prefix.extend_from_slice(MAGIC);
    prefix.extend_from_slice(&version.to_le_bytes());
    prefix.extend_from_slice(&length.to_le_bytes());
    prefix.extend_from_slice(&crc32fast::hash(&prefix).to_le_bytes());
    writer.put(&prefix)?;
    writer.section(HEAD, &[&head])?;
    for (patch, path) in changes.patches.iter().zip(paths) {
        let count = as_u64(patch.changes.len());
        writer.section(
            FILE,
            &[
                &patch.before_len.to_le_bytes(),
                &patch.after_len.to_le_bytes(),
                &count.to_le_bytes(),
                &path,
            ],
        )?;
        for change in &patch.changes {
            let offset = change.offset.to_le_bytes();
            writer.section(CHANGE, &[&offset, &change.before, &change.after])?;
        }
    }
    host.write(&mut writer)?;
    let digest = writer.digest.clone().finalize();
    writer.section(TAIL, &[&digest])
}

struct Writer<'a> {
    output: &'a mut dyn Write,
    digest: Sha256,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.output.write_all(bytes)
    }

    fn section(&mut self, tag: &[u8; 4], payload: &[&[u8]]) -> io::Result<()> {
        let length = payload
            .iter()
            .fold(0_u64, |sum, part| sum.saturating_add(as_u64(part.len())));
        let mut checksum = crc32fast::Hasher::new();
        let length = length.to_le_bytes();
        for part in [&tag[..], &length[..]].iter().chain(payload) {
            checksum.update(part);
            self.put(part)?;
        }
        self.put(&checksum.finalize().to_le_bytes())
    }
}

/// Reads a journal's `HEAD`; `length` is the file's real length and `name` is for messages.
///
/// # Errors
/// Damaged when the beginning is not sound or the file is cut off; Unsupported for a later version.
pub fn read_head(name: &str, input: &mut dyn Read, length: u64) -> Result<Head> {
    Reader::start(name, input, length)?.head()
}

/// Reads a whole journal and checks all of it. Memory is bounded by the file's length.
///
/// # Errors
/// As [`read_head`]; Damaged when any byte of the file is not what was written.
pub fn read(name: &str, input: &mut dyn Read, length: u64) -> Result<(Head, ChangeSet)> {
    let mut reader = Reader::start(name, input, length)?;
    let head = reader.head()?;
    let mut patches = Vec::new();
    for _ in 0..head.files {
        patches.push(reader.patch()?);
    }
    let operations = reader.operations(&head)?;
    reader.tail()?;
    let unsound = |found: String| {
        let what = format!("journal {name}, changes");
        Error::damaged(what, 0, "changes that agree with each other", found)
    };
    let changes = ChangeSet {
        patches,
        operations,
    };
    compare::check_changes(&changes).map_err(unsound)?;
    if changes.totals() != (head.ranges, head.bytes) {
        return Err(unsound("other totals than its header has".into()));
    }
    Ok((head, changes))
}

struct Reader<'a> {
    name: &'a str,
    input: &'a mut dyn Read,
    version: u32,
    length: u64,
    position: u64,
    digest: Sha256,
}

impl<'a> Reader<'a> {
    fn start(name: &'a str, input: &'a mut dyn Read, length: u64) -> Result<Self> {
        let mut reader = Reader {
            name,
            input,
            version: FIRST_VERSION,
            length,
            position: 0,
            digest: Sha256::new(),
        };
        let prefix = reader.take(as_u64(PREFIX), "beginning")?;
        if slice(&prefix, 0, 8) != Some(MAGIC) {
            return Err(reader.damaged("magic", "\"cfJOURNL\"", "other bytes"));
        }
        let version = u32_le(&prefix, 8);
        if let Some(version) = version
            && version > VERSION
        {
            return Err(Error::unsupported(
                format!("journal {name} is of format version {version}"),
                "use the coldfix that wrote it, or a later one",
            ));
        }
        let known = version.is_some_and(|version| (FIRST_VERSION..=VERSION).contains(&version));
        let checked = slice(&prefix, 0, 20).map(crc32fast::hash);
        if !known || checked != u32_le(&prefix, 20) {
            return Err(reader.damaged("beginning", "version 1, 2 or 3 and its CRC-32", "others"));
        }
        reader.version = version.unwrap_or(FIRST_VERSION);
        if u64_le(&prefix, 12) != Some(length) {
            let expected = format!("{} bytes", u64_le(&prefix, 12).unwrap_or(0));
            return Err(reader.damaged("length", &expected, &format!("{length} bytes")));
        }
        Ok(reader)
    }

    fn head(&mut self) -> Result<Head> {
        let payload = self.section(HEAD)?;
        serde_json::from_slice(&payload)
            .map_err(|error| self.damaged("header", "the operation as JSON", &error.to_string()))
    }

    fn patch(&mut self) -> Result<Patch> {
        let payload = self.section(FILE)?;
        let numbers: Option<[u64; 3]> = (|| {
            Some([
                u64_le(&payload, 0)?,
                u64_le(&payload, 8)?,
                u64_le(&payload, 16)?,
            ])
        })();
        let path = payload.get(24..).and_then(path_from_bytes);
        let (Some([before_len, after_len, count]), Some(file)) = (numbers, path) else {
            return Err(self.damaged("section FILE", "two lengths, a count and a path", "less"));
        };
        let mut changes = Vec::new();
        for _ in 0..count {
            let payload = self.section(CHANGE)?;
            let data = payload.get(8..).filter(|data| data.len().is_multiple_of(2));
            let halves = data.and_then(|data| data.split_at_checked(data.len().div_ceil(2)));
            let (Some(offset), Some((before, after))) = (u64_le(&payload, 0), halves) else {
                return Err(self.damaged(
                    "section CHNG",
                    "an offset and two equal halves",
                    "other",
                ));
            };
            changes.push(Change {
                offset,
                before: before.to_vec(),
                after: after.to_vec(),
            });
        }
        Ok(Patch {
            file,
            before_len,
            after_len,
            changes,
        })
    }

    fn tail(&mut self) -> Result<()> {
        let computed = self.digest.clone().finalize();
        let stored = self.section(TAIL)?;
        if computed.as_slice() != stored || self.position != self.length {
            return Err(self.damaged("SHA-256", "the file's own, at its end", "another"));
        }
        Ok(())
    }

    fn section(&mut self, tag: &[u8; 4]) -> Result<Vec<u8>> {
        let (found, payload) = self.any_section(&format!("section {}", tag.escape_ascii()))?;
        if found != *tag {
            let what = format!("section {}", tag.escape_ascii());
            return Err(self.damaged(&what, "its tag", "another"));
        }
        Ok(payload)
    }

    fn any_section(&mut self, what: &str) -> Result<([u8; 4], Vec<u8>)> {
        let frame = self.take(12, what)?;
        let tag = array::<4>(&frame, 0).unwrap_or_default();
        let payload = self.take(u64_le(&frame, 4).unwrap_or(u64::MAX), what)?;
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&frame);
        checksum.update(&payload);
        let stored = self.take(4, what)?;
        if u32_le(&stored, 0) != Some(checksum.finalize()) {
            return Err(self.damaged(what, "its CRC-32", "another"));
        }
        Ok((tag, payload))
    }

    /// The next `count` bytes; allocates no more than the file is long.
    fn take(&mut self, count: u64, what: &str) -> Result<Vec<u8>> {
        let end = self.position.checked_add(count);
        let (Some(end), Ok(size)) = (
            end.filter(|end| *end <= self.length),
            usize::try_from(count),
        ) else {
            let found = format!("the end of the file at {} bytes", self.length);
            return Err(self.damaged(what, &format!("{count} bytes"), &found));
        };
        let mut bytes = vec![0; size];
        self.input
            .read_exact(&mut bytes)
            .map_err(Error::io("reading"))
            .context(|| format!("journal {}", self.name))?;
        self.digest.update(&bytes);
        self.position = end;
        Ok(bytes)
    }

    fn damaged(&self, what: &str, expected: &str, found: &str) -> Error {
        let what = format!("journal {}, {what}", self.name);
        Error::damaged(what, self.position, expected, found)
    }
}

#[cfg(unix)]
#[allow(clippy::unnecessary_wraps)] // other hosts refuse some paths
fn path_bytes(path: &Path) -> io::Result<Vec<u8>> {
    Ok(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_vec())
}

#[cfg(unix)]
fn path_from_bytes(bytes: &[u8]) -> Option<PathBuf> {
    let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(bytes);
    Some(PathBuf::from(name))
}

#[cfg(not(unix))]
fn path_bytes(path: &Path) -> io::Result<Vec<u8>> {
    match path.to_str() {
        Some(text) => Ok(text.as_bytes().to_vec()),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("the path {} is not Unicode", path.display()),
        )),
    }
}

#[cfg(not(unix))]
fn path_from_bytes(bytes: &[u8]) -> Option<PathBuf> {
    std::str::from_utf8(bytes).ok().map(PathBuf::from)
}

fn as_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
