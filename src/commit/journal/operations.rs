// SPDX-License-Identifier: GPL-2.0-or-later
//! The sections of version 2: what a host does on a mounted folder, with the state before and after.
//!
//! ```text
//! "DESC"  a security descriptor; the first is number 0. Each is here once, however many files have it
//! "SECD"  number of the descriptor before 4 | of the one after 4 | path              \  in any order,
//! "NAME"  length of the new name 4 | new name, UTF-8 | path with the old name        /  after all DESC
//! ```

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::{FRAME, Head, Reader, VERSION, Writer, as_u64, path_bytes, path_from_bytes};
use crate::bytes::{slice, u32_le};
use crate::device::HostOperation;
use crate::error::Result;

const DESCRIPTOR: &[u8; 4] = b"DESC";
const SECURITY: &[u8; 4] = b"SECD";
const NAME: &[u8; 4] = b"NAME";

/// The operations as they are written.
pub(super) struct Host<'a> {
    /// Each descriptor once, in the order of their numbers.
    pub(super) descriptors: Vec<&'a [u8]>,
    operations: Vec<Section<'a>>,
}

/// One operation: the fixed fields, the new name where there is one, and the path.
struct Section<'a> {
    tag: &'static [u8; 4],
    fields: Vec<u8>,
    name: &'a [u8],
    path: Vec<u8>,
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
                    name: &[],
                    path,
                },
                HostOperation::Rename { name, .. } => Section {
                    tag: NAME,
                    fields: u32::try_from(name.len())
                        .map_err(io::Error::other)?
                        .to_le_bytes()
                        .to_vec(),
                    name: name.as_bytes(),
                    path,
                },
            });
        }
        Ok(Host {
            descriptors,
            operations: sections,
        })
    }

    /// How many bytes all sections have.
    pub(super) fn length(&self) -> u64 {
        let descriptors = self.descriptors.iter().map(|bytes| as_u64(bytes.len()));
        let operations = self.operations.iter().map(|section| {
            as_u64(section.fields.len())
                .saturating_add(as_u64(section.name.len()))
                .saturating_add(as_u64(section.path.len()))
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
            writer.section(section.tag, &[&section.fields, section.name, &section.path])?;
        }
        Ok(())
    }
}

impl Reader<'_> {
    /// The operations of the host; none in a journal of the first version.
    pub(super) fn operations(&mut self, head: &Head) -> Result<Vec<HostOperation>> {
        if self.version < VERSION {
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
                _ => None,
            };
            let Some(operation) = operation else {
                let what = format!("section {}", tag.escape_ascii());
                let expected = "SECD with two descriptors of this journal, or NAME with a name";
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
