// SPDX-License-Identifier: GPL-2.0-or-later
//! The records of a hive after its base block, in the specification's order, and the checks each of them
//! passes before anything else looks at it.
//!
//! ```text
//! hive bin   0 "hbin" | 4 own offset | 8 size | 12 reserved | 20 FILETIME | 28 spare | 32 cells ...
//! cell       0 i32 size with these 4 bytes: negative in use, positive free | 4 data
//! nk         0 "nk" | 2 flags | 4 FILETIME | 12 access | 16 parent | 20 subkeys | 24 volatile subkeys
//!            28 subkey list | 32 volatile list | 36 values | 40 value list | 44 sk | 48 class
//!            52 longest subkey name (u16) | 54 flags | 56 longest class | 60 longest value name
//!            64 largest value data | 68 work variable | 72 name length | 74 class length | 76 name
//! li lf lh   0 signature | 2 count | 4 elements: key (u32), in lf a hint and in lh a hash after it
//! ri         0 "ri" | 2 count | 4 offsets of leaves
//! vk         0 "vk" | 2 name length | 4 data size | 8 data | 12 type | 16 flags | 18 spare | 20 name
//! db         0 "db" | 2 segments | 4 offset of the segment list
//! sk         0 "sk" | 2 reserved | 4 next | 8 previous | 12 references | 16 size | 20 descriptor
//! ```
//!
//! Offsets of records are inside their cell's data. Numbers are little-endian. Source: msuhanov/regf.
//! Not handled: the key node's volatile fields, which mean nothing on disk.

use super::base_block::BASE_BLOCK_SIZE;
use super::names::Name;
use crate::bytes::{slice, u16_le, u32_le, u64_le};
use crate::error::{Error, Result};

/// Where a cell begins: bytes from the first hive bin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CellOffset(pub(crate) u32);

impl CellOffset {
    /// "No cell".
    pub(crate) const NIL: CellOffset = CellOffset(u32::MAX);

    /// True for "no cell".
    pub(crate) fn is_nil(self) -> bool {
        self == Self::NIL
    }

    /// Bytes from the start of the file.
    pub(crate) fn in_file(self) -> u64 {
        u64::from(self.0).saturating_add(BASE_BLOCK_SIZE as u64)
    }
}

/// Hive bins are a multiple of this many bytes.
pub(crate) const PAGE: u32 = 4096;
/// Bytes of a hive bin's header.
pub(crate) const BIN_HEADER: u32 = 32;
/// Bytes of a cell's header.
pub(crate) const CELL_HEADER: u32 = 4;
/// Deepest nesting of keys (Windows' limit).
pub(crate) const MAX_DEPTH: usize = 512;

/// Places of a hive bin header's fields.
pub(crate) mod bin {
    pub(crate) const SIGNATURE: &[u8; 4] = b"hbin";
    pub(crate) const OFFSET: usize = 4;
    pub(crate) const SIZE: usize = 8;
}

/// Places and numbers of a key node (nk).
pub(crate) mod key_node {
    pub(crate) const SIGNATURE: &[u8; 2] = b"nk";
    pub(crate) const FLAGS: usize = 2;
    pub(crate) const LAST_WRITTEN: usize = 4;
    pub(crate) const PARENT: usize = 16;
    pub(crate) const SUBKEY_COUNT: usize = 20;
    pub(crate) const SUBKEY_LIST: usize = 28;
    pub(crate) const VOLATILE_LIST: usize = 32;
    pub(crate) const VALUE_COUNT: usize = 36;
    pub(crate) const VALUE_LIST: usize = 40;
    pub(crate) const SECURITY: usize = 44;
    pub(crate) const CLASS: usize = 48;
    pub(crate) const MAX_SUBKEY_NAME: usize = 52;
    pub(crate) const MAX_VALUE_NAME: usize = 60;
    pub(crate) const MAX_VALUE_DATA: usize = 64;
    pub(crate) const NAME_LENGTH: usize = 72;
    pub(crate) const CLASS_LENGTH: usize = 74;
    pub(crate) const NAME: usize = 76;

    /// The key lives in memory only; must not be on disk.
    pub(crate) const FLAG_VOLATILE: u16 = 0x01;
    /// Root of the hive.
    pub(crate) const FLAG_ROOT: u16 = 0x04;
    /// The key may not be deleted.
    pub(crate) const FLAG_NO_DELETE: u16 = 0x08;
    /// The value `SymbolicLinkValue` names the key that is meant.
    pub(crate) const FLAG_SYMLINK: u16 = 0x10;
    /// The name is Latin-1.
    pub(crate) const FLAG_LATIN1: u16 = 0x20;
    /// The value fields hold a predefined handle instead of a list.
    pub(crate) const FLAG_PREDEFINED_HANDLE: u16 = 0x40;

    /// Longest name, in UTF-16 units (Windows' limit).
    pub(crate) const MAX_NAME: usize = 255;
}

/// Places and numbers of a key value (vk).
pub(crate) mod key_value {
    pub(crate) const SIGNATURE: &[u8; 2] = b"vk";
    pub(crate) const NAME_LENGTH: usize = 2;
    pub(crate) const DATA_SIZE: usize = 4;
    pub(crate) const DATA: usize = 8;
    pub(crate) const KIND: usize = 12;
    pub(crate) const FLAGS: usize = 16;
    pub(crate) const NAME: usize = 20;

    /// The name is Latin-1.
    pub(crate) const FLAG_LATIN1: u16 = 1;
    /// In the data size: the data are in the record itself.
    pub(crate) const INLINE: u32 = 0x8000_0000;
    /// Longest inline data in bytes.
    pub(crate) const MAX_INLINE: usize = 4;
    /// Longest name, in UTF-16 units (Windows' limit).
    pub(crate) const MAX_NAME: usize = 16383;
}

/// Places and numbers of big data (db).
pub(crate) mod big_data {
    pub(crate) const SIGNATURE: &[u8; 2] = b"db";
    pub(crate) const COUNT: usize = 2;
    pub(crate) const LIST: usize = 4;

    /// Bytes in every segment but the last; longer data are big data from [`MINOR`] on.
    pub(crate) const SEGMENT: usize = 16344;
    /// First minor version that has big data.
    pub(crate) const MINOR: u32 = 4;
}

/// Places of a key security record (sk).
pub(crate) mod key_security {
    pub(crate) const SIGNATURE: &[u8; 2] = b"sk";
    pub(crate) const NEXT: usize = 4;
    pub(crate) const PREVIOUS: usize = 8;
    pub(crate) const REFERENCES: usize = 12;
    pub(crate) const SIZE: usize = 16;
    pub(crate) const DESCRIPTOR: usize = 20;
}

/// A `Damaged` for the record in the cell at `offset`.
pub(crate) fn damaged(
    what: &str,
    offset: CellOffset,
    expected: impl Into<String>,
    found: impl Into<String>,
) -> Error {
    Error::damaged(what, offset.in_file(), expected, found)
}

/// The signature at the start of a record, for an error message.
fn shown(cell: &[u8]) -> String {
    format!("\"{}\"", cell.get(..2).unwrap_or(cell).escape_ascii())
}

fn check_signature(
    what: &str,
    offset: CellOffset,
    cell: &[u8],
    signature: &[u8; 2],
    least: usize,
) -> Result<()> {
    if !cell.starts_with(signature) {
        let expected = format!("\"{}\"", signature.escape_ascii());
        return Err(damaged(what, offset, expected, shown(cell)));
    }
    if cell.len() < least {
        let (expected, found) = (format!("{least} bytes"), format!("{} bytes", cell.len()));
        return Err(damaged(what, offset, expected, found));
    }
    Ok(())
}

/// A key node's fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyNode {
    pub(crate) flags: u16,
    pub(crate) last_written: u64,
    pub(crate) parent: CellOffset,
    pub(crate) subkey_count: u32,
    pub(crate) subkey_list: CellOffset,
    pub(crate) value_count: u32,
    pub(crate) value_list: CellOffset,
    pub(crate) security: CellOffset,
    pub(crate) class: CellOffset,
    pub(crate) max_subkey_name: u16,
    pub(crate) max_value_name: u32,
    pub(crate) max_value_data: u32,
    pub(crate) name_length: u16,
    pub(crate) class_length: u16,
}

impl KeyNode {
    const WHAT: &str = "key node (nk)";

    /// Reads the key node in `cell`: its signature is right, its name is not empty and fits.
    pub(crate) fn read(offset: CellOffset, cell: &[u8]) -> Result<KeyNode> {
        Self::read_name(offset, cell)?;
        Self::fields(cell).ok_or_else(|| damaged(Self::WHAT, offset, "76 bytes", "fewer bytes"))
    }

    /// Reads only the name of the key node in `cell`, after the same checks.
    pub(crate) fn read_name(offset: CellOffset, cell: &[u8]) -> Result<Name<'_>> {
        use key_node::*;
        check_signature(Self::WHAT, offset, cell, SIGNATURE, NAME)?;
        let length = u16_le(cell, NAME_LENGTH).unwrap_or(0);
        let latin1 = u16_le(cell, FLAGS).unwrap_or(0) & FLAG_LATIN1 != 0;
        if length == 0 {
            return Err(damaged(Self::WHAT, offset, "a name", "name length 0"));
        }
        let bytes = slice(cell, NAME, length.into()).ok_or_else(|| {
            let found = format!("name length {length} in a cell of {}", cell.len());
            damaged(Self::WHAT, offset, "a name inside the cell", found)
        })?;
        if !latin1 && !length.is_multiple_of(2) {
            let found = format!("name length {length}");
            return Err(damaged(Self::WHAT, offset, "whole UTF-16 units", found));
        }
        Ok(Name::stored(bytes, latin1))
    }

    fn fields(cell: &[u8]) -> Option<KeyNode> {
        use key_node::*;
        let cell_at = |place| u32_le(cell, place).map(CellOffset);
        Some(KeyNode {
            flags: u16_le(cell, FLAGS)?,
            last_written: u64_le(cell, LAST_WRITTEN)?,
            parent: cell_at(PARENT)?,
            subkey_count: u32_le(cell, SUBKEY_COUNT)?,
            subkey_list: cell_at(SUBKEY_LIST)?,
            value_count: u32_le(cell, VALUE_COUNT)?,
            value_list: cell_at(VALUE_LIST)?,
            security: cell_at(SECURITY)?,
            class: cell_at(CLASS)?,
            max_subkey_name: u16_le(cell, MAX_SUBKEY_NAME)?,
            max_value_name: u32_le(cell, MAX_VALUE_NAME)?,
            max_value_data: u32_le(cell, MAX_VALUE_DATA)?,
            name_length: u16_le(cell, NAME_LENGTH)?,
            class_length: u16_le(cell, CLASS_LENGTH)?,
        })
    }

    /// The name in `cell`, the cell this node was read from.
    pub(crate) fn name<'a>(&self, cell: &'a [u8]) -> Name<'a> {
        let bytes = slice(cell, key_node::NAME, self.name_length.into()).unwrap_or_default();
        Name::stored(bytes, self.has(key_node::FLAG_LATIN1))
    }

    /// True when all bits of `flag` are set.
    pub(crate) fn has(&self, flag: u16) -> bool {
        self.flags & flag == flag
    }
}

/// A key value's fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyValue {
    pub(crate) name_length: u16,
    /// As stored, with [`key_value::INLINE`].
    pub(crate) data_size: u32,
    pub(crate) data: CellOffset,
    pub(crate) kind: u32,
    pub(crate) flags: u16,
}

impl KeyValue {
    const WHAT: &str = "key value (vk)";

    /// Reads the key value in `cell`: its signature is right, its name fits, inline data are not too long.
    pub(crate) fn read(offset: CellOffset, cell: &[u8]) -> Result<KeyValue> {
        use key_value::*;
        check_signature(Self::WHAT, offset, cell, SIGNATURE, NAME)?;
        let value = Self::fields(cell)
            .ok_or_else(|| damaged(Self::WHAT, offset, "20 bytes", "fewer bytes"))?;
        if slice(cell, NAME, value.name_length.into()).is_none() {
            let found = format!(
                "name length {} in a cell of {}",
                value.name_length,
                cell.len()
            );
            return Err(damaged(Self::WHAT, offset, "a name inside the cell", found));
        }
        if value.flags & FLAG_LATIN1 == 0 && value.name_length % 2 != 0 {
            let found = format!("name length {}", value.name_length);
            return Err(damaged(Self::WHAT, offset, "whole UTF-16 units", found));
        }
        if value.is_inline() && value.len() > MAX_INLINE {
            let found = format!("{} bytes", value.len());
            return Err(damaged(Self::WHAT, offset, "at most 4 inline bytes", found));
        }
        Ok(value)
    }

    fn fields(cell: &[u8]) -> Option<KeyValue> {
        use key_value::*;
        Some(KeyValue {
            name_length: u16_le(cell, NAME_LENGTH)?,
            data_size: u32_le(cell, DATA_SIZE)?,
            data: CellOffset(u32_le(cell, DATA)?),
            kind: u32_le(cell, KIND)?,
            flags: u16_le(cell, FLAGS)?,
        })
    }

    /// The name in `cell`, the cell this value was read from.
    pub(crate) fn name<'a>(&self, cell: &'a [u8]) -> Name<'a> {
        let bytes = slice(cell, key_value::NAME, self.name_length.into()).unwrap_or_default();
        Name::stored(bytes, self.flags & key_value::FLAG_LATIN1 != 0)
    }

    /// True when the data are in the record itself.
    pub(crate) fn is_inline(&self) -> bool {
        self.data_size & key_value::INLINE != 0
    }

    /// Bytes of data.
    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.data_size & !key_value::INLINE).unwrap_or(usize::MAX)
    }
}

/// The four kinds of subkey list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListKind {
    /// li: bare offsets.
    IndexLeaf,
    /// lf: the first four characters beside each offset.
    FastLeaf,
    /// lh: a hash of the name beside each offset.
    HashLeaf,
    /// ri: offsets of leaves.
    IndexRoot,
}

impl ListKind {
    /// The kind that begins with this signature.
    pub(crate) fn of(cell: &[u8]) -> Option<ListKind> {
        match cell.get(..2)? {
            b"li" => Some(ListKind::IndexLeaf),
            b"lf" => Some(ListKind::FastLeaf),
            b"lh" => Some(ListKind::HashLeaf),
            b"ri" => Some(ListKind::IndexRoot),
            _ => None,
        }
    }

    /// The signature.
    pub(crate) fn signature(self) -> &'static [u8; 2] {
        match self {
            ListKind::IndexLeaf => b"li",
            ListKind::FastLeaf => b"lf",
            ListKind::HashLeaf => b"lh",
            ListKind::IndexRoot => b"ri",
        }
    }

    /// Bytes of an element.
    pub(crate) fn element(self) -> usize {
        match self {
            ListKind::IndexLeaf | ListKind::IndexRoot => 4,
            ListKind::FastLeaf | ListKind::HashLeaf => 8,
        }
    }

    /// How many elements Windows puts into one list. An lf stays inside a page: (4096 - 40) / 8. The others
    /// share one number, (4096 - 40) / 4 - 1, although an lh of that many takes two pages: the hives of
    /// Windows 7 and 10 have lh leaves of up to 932 elements, and of 506 where one of 1013 was halved.
    pub(crate) fn capacity(self) -> usize {
        match self {
            ListKind::FastLeaf => 507,
            ListKind::IndexLeaf | ListKind::HashLeaf | ListKind::IndexRoot => 1013,
        }
    }
}

/// A subkey list whose claimed elements fit its cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubkeyList<'a> {
    pub(crate) kind: ListKind,
    pub(crate) offset: CellOffset,
    elements: &'a [u8],
}

impl<'a> SubkeyList<'a> {
    const WHAT: &'static str = "subkey list";
    /// Bytes before the elements.
    pub(crate) const HEADER: usize = 4;

    /// Reads the list in `cell`.
    pub(crate) fn read(offset: CellOffset, cell: &'a [u8]) -> Result<SubkeyList<'a>> {
        let kind = ListKind::of(cell)
            .ok_or_else(|| damaged(Self::WHAT, offset, "li, lf, lh or ri", shown(cell)))?;
        let count = u16_le(cell, 2).map_or(0, usize::from);
        let elements = count
            .checked_mul(kind.element())
            .and_then(|len| slice(cell, Self::HEADER, len))
            .ok_or_else(|| {
                let found = format!("{count} elements in a cell of {}", cell.len());
                damaged(Self::WHAT, offset, "elements inside the cell", found)
            })?;
        Ok(SubkeyList {
            kind,
            offset,
            elements,
        })
    }

    /// How many elements.
    pub(crate) fn len(&self) -> usize {
        self.elements
            .len()
            .checked_div(self.kind.element())
            .unwrap_or(0)
    }

    /// The elements as stored, in order.
    pub(crate) fn elements(&self) -> std::slice::ChunksExact<'a, u8> {
        self.elements.chunks_exact(self.kind.element())
    }

    /// What the elements point at, in order.
    pub(crate) fn targets(&self) -> impl DoubleEndedIterator<Item = CellOffset> + use<'a> {
        self.elements()
            .map(|element| CellOffset(u32_le(element, 0).unwrap_or(u32::MAX)))
    }

    /// What element `index` points at.
    pub(crate) fn target(&self, index: usize) -> Option<CellOffset> {
        let place = index.checked_mul(self.kind.element())?;
        u32_le(self.elements, place).map(CellOffset)
    }
}

/// A key security record's fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeySecurity {
    pub(crate) next: CellOffset,
    pub(crate) previous: CellOffset,
    pub(crate) references: u32,
    pub(crate) size: u32,
}

impl KeySecurity {
    const WHAT: &str = "key security (sk)";

    /// Reads the record in `cell`: its signature is right and its descriptor fits.
    pub(crate) fn read(offset: CellOffset, cell: &[u8]) -> Result<KeySecurity> {
        use key_security::*;
        check_signature(Self::WHAT, offset, cell, SIGNATURE, DESCRIPTOR)?;
        let security = Self::fields(cell)
            .ok_or_else(|| damaged(Self::WHAT, offset, "20 bytes", "fewer bytes"))?;
        if security.descriptor(cell).is_none() {
            let found = format!("size {} in a cell of {}", security.size, cell.len());
            let expected = "a descriptor inside the cell";
            return Err(damaged(Self::WHAT, offset, expected, found));
        }
        Ok(security)
    }

    fn fields(cell: &[u8]) -> Option<KeySecurity> {
        use key_security::*;
        Some(KeySecurity {
            next: CellOffset(u32_le(cell, NEXT)?),
            previous: CellOffset(u32_le(cell, PREVIOUS)?),
            references: u32_le(cell, REFERENCES)?,
            size: u32_le(cell, SIZE)?,
        })
    }

    /// The self-relative security descriptor in `cell`, the cell this record was read from.
    pub(crate) fn descriptor<'a>(&self, cell: &'a [u8]) -> Option<&'a [u8]> {
        let size = usize::try_from(self.size).ok()?;
        slice(cell, key_security::DESCRIPTOR, size)
    }
}
