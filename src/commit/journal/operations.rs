// SPDX-License-Identifier: GPL-2.0-or-later
//! The sections of versions 2 and 3: what a host does on a mounted folder, with the state before and after.
//!
//! ```text
//! "DESC"  a security descriptor; the first is number 0. Each is here once, however many files have it
//! "SECD"  number of the descriptor before 4 | of the one after 4 | path              \  in any order,
//! "NAME"  length of the new name 4 | new name, UTF-8 | path with the old name         >  after all DESC
//! "MAKE"  number of the descriptor 4 | mode 4 | length of the path 4 | path | content |   (version 3)
//! "GONE"  the same, of a file that is removed                                        /
//! ```
//!
//! A file without a descriptor has the number FFFFFFFF.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::{
    FRAME, HOST_VERSION, Head, Reader, VERSION, Writer, as_u64, path_bytes, path_from_bytes,
};
use crate::bytes::{slice, u32_le};
use crate::device::{FileCopy, HostOperation};
use crate::error::Result;

const DESCRIPTOR: &[u8; 4] = b"DESC";
const SECURITY: &[u8; 4] = b"SECD";
const NAME: &[u8; 4] = b"NAME";
const MADE: &[u8; 4] = b"MAKE";
const GONE: &[u8; 4] = b"GONE";
/// In place of a descriptor's number.
const NONE: u32 = u32::MAX;

/// The operations as they are written.
pub(super) struct Host<'a> {
    /// Each descriptor once, in the order of their numbers.
    pub(super) descriptors: Vec<&'a [u8]>,
    operations: Vec<Section<'a>>,
}

/// One operation: the fixed fields, and the two things of any length behind them.
struct Section<'a> {
    tag: &'static [u8; 4],
    fields: Vec<u8>,
    first: Cow<'a, [u8]>,
    last: Cow<'a, [u8]>,
}

impl<'a> Host<'a> {
    pub(super) fn of(operations: &'a [HostOperation]) -> io::Result<Host<'a>> {
        let mut numbers: BTreeMap<&[u8], u32> = BTreeMap::new();
        let mut descriptors = Vec::new();
        let mut number = |descriptor: &'a [u8]| -> io::Result<[u8; 4]> {
            let next = u32::try_from(numbers.len()).map_err(io::Error::other)?;
            let number = *numbers.entry(descriptor).or_insert_with(|| {
                descriptors.push(descriptor);
                next
            });
            Ok(number.to_le_bytes())
        };
        let mut sections = Vec::with_capacity(operations.len());
        for operation in operations {
            let path = path_bytes(operation.file())?;
            sections.push(match operation {
                HostOperation::SetSecurity { before, after, .. } => Section {
                    tag: SECURITY,
                    fields: [number(before)?, number(after)?].concat(),
                    first: Cow::Borrowed(&[]),
                    last: path.into(),
                },
                HostOperation::Rename { name, .. } => Section {
                    tag: NAME,
                    fields: length(name.as_bytes())?.to_vec(),
                    first: name.as_bytes().into(),
                    last: path.into(),
                },
                HostOperation::Make { copy, .. } | HostOperation::Remove { copy, .. } => {
                    let descriptor = match &copy.descriptor {
                        Some(descriptor) => number(descriptor)?,
                        None => NONE.to_le_bytes(),
                    };
                    Section {
                        tag: match operation {
                            HostOperation::Make { .. } => MADE,
                            _ => GONE,
                        },
                        fields: [descriptor, copy.mode.to_le_bytes(), length(&path)?].concat(),
                        first: path.into(),
                        last: copy.content.as_slice().into(),
                    }
                }
            });
        }
        Ok(Host {
            descriptors,
            operations: sections,
        })
    }

    /// Whether files are made or removed.
    pub(super) fn has_files(&self) -> bool {
        let mut tags = self.operations.iter().map(|section| section.tag);
        tags.any(|tag| tag == MADE || tag == GONE)
    }

    /// How many bytes all sections have.
    pub(super) fn length(&self) -> u64 {
        let descriptors = self.descriptors.iter().map(|bytes| as_u64(bytes.len()));
        let operations = self.operations.iter().map(|section| {
            as_u64(section.fields.len())
                .saturating_add(as_u64(section.first.len()))
                .saturating_add(as_u64(section.last.len()))
        });
        descriptors.chain(operations).fold(0, |sum, length| {
            sum.saturating_add(length.saturating_add(FRAME))
        })
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) -> io::Result<()> {
        for descriptor in &self.descriptors {
            writer.section(DESCRIPTOR, &[descriptor])?;
        }
        for section in &self.operations {
            writer.section(
                section.tag,
                &[&section.fields, &section.first, &section.last],
            )?;
        }
        Ok(())
    }
}

fn length(bytes: &[u8]) -> io::Result<[u8; 4]> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    Ok(length.to_le_bytes())
}

impl Reader<'_> {
    /// The operations of the host; none in a journal of the first version.
    pub(super) fn operations(&mut self, head: &Head) -> Result<Vec<HostOperation>> {
        if self.version < HOST_VERSION {
            return match (head.descriptors, head.operations) {
                (0, 0) => Ok(Vec::new()),
                _ => Err(self.damaged("header", "no operations of the host", "some")),
            };
        }
        let mut descriptors: Vec<Arc<[u8]>> = Vec::new();
        for _ in 0..head.descriptors {
            descriptors.push(self.section(DESCRIPTOR)?.into());
        }
        let mut operations = Vec::new();
        for _ in 0..head.operations {
            let (tag, payload) = self.any_section("an operation of the host")?;
            let operation = match &tag {
                SECURITY => security(&payload, &descriptors),
                NAME => rename(&payload),
                MADE | GONE if self.version >= VERSION => {
                    let file = whole_file(payload, &descriptors);
                    file.map(|(file, copy)| match &tag {
                        MADE => HostOperation::Make { file, copy },
                        _ => HostOperation::Remove { file, copy },
                    })
                }
                _ => None,
            };
            let Some(operation) = operation else {
                let what = format!("section {}", tag.escape_ascii());
                let expected = "SECD with two descriptors of this journal, NAME with a name, or MAKE or GONE with a file";
                return Err(self.damaged(&what, expected, "another"));
            };
            operations.push(operation);
        }
        Ok(operations)
    }
}

fn security(payload: &[u8], descriptors: &[Arc<[u8]>]) -> Option<HostOperation> {
    let descriptor = |offset| {
        let number = usize::try_from(u32_le(payload, offset)?).ok()?;
        descriptors.get(number).map(Arc::clone)
    };
    Some(HostOperation::SetSecurity {
        before: descriptor(0)?,
        after: descriptor(4)?,
        file: path_from_bytes(payload.get(8..)?)?,
    })
}

fn rename(payload: &[u8]) -> Option<HostOperation> {
    let length = usize::try_from(u32_le(payload, 0)?).ok()?;
    let name = std::str::from_utf8(slice(payload, 4, length)?).ok()?;
    Some(HostOperation::Rename {
        name: name.to_owned(),
        file: path_from_bytes(payload.get(length.checked_add(4)?..)?)?,
    })
}

fn whole_file(
    mut payload: Vec<u8>,
    descriptors: &[Arc<[u8]>],
) -> Option<(std::path::PathBuf, Arc<FileCopy>)> {
    /// Descriptor, mode and length of the path.
    const FIELDS: usize = 12;
    let descriptor = match u32_le(&payload, 0)? {
        NONE => None,
        number => {
            let number = usize::try_from(number).ok()?;
            Some(Arc::clone(descriptors.get(number)?))
        }
    };
    let mode = u32_le(&payload, 4)?;
    let length = usize::try_from(u32_le(&payload, 8)?).ok()?;
    let file = path_from_bytes(slice(&payload, FIELDS, length)?)?;
    payload.drain(..FIELDS.checked_add(length)?);
    let copy = FileCopy {
        content: payload,
        descriptor,
        mode,
    };
    Some((file, Arc::new(copy)))
}
