// SPDX-License-Identifier: GPL-2.0-or-later
//! Formats that are recognised by their first bytes so that they can be refused by name, with the way to an
//! image that can be opened.

use crate::bytes;
use crate::error::Error;

struct Format {
    signature: &'static [u8],
    offset: usize,
    name: &'static str,
    next: Next,
}

#[derive(Clone, Copy)]
enum Next {
    /// qemu-img reads it.
    Convert,
    /// libewf's tools read it.
    Export,
    /// It has to be unpacked.
    Unpack,
}

const CONVERT: &str = "convert it with `qemu-img convert -O raw IMAGE disk.raw`, repair disk.raw, and convert that \
                       back the same way (`-O vhdx`, `-O vpc`, `-O qcow2` or `-O vmdk`)";

/// Signatures that no boot sector begins with.
const CONTAINERS: &[Format] = &[
    format(b"QFI\xfb", 0, "a QCOW2 image", Next::Convert),
    format(b"KDMV", 0, "a VMDK image (sparse)", Next::Convert),
    format(b"COWD", 0, "a VMDK image (ESX sparse)", Next::Convert),
    format(
        b"# Disk DescriptorFile",
        0,
        "a VMDK descriptor",
        Next::Convert,
    ),
    format(b"\x7f\x10\xda\xbe", 64, "a VDI image", Next::Convert),
    format(b"QED\0", 0, "a QED image", Next::Convert),
    format(b"WithoutFreeSpace", 0, "a Parallels image", Next::Convert),
    format(b"WithouFreSpacExt", 0, "a Parallels image", Next::Convert),
    format(
        b"EVF\x09\x0d\x0a\xff\x00",
        0,
        "an EnCase (E01) image",
        Next::Export,
    ),
    format(
        b"EVF2\x0d\x0a\x81\x00",
        0,
        "an EnCase (Ex01) image",
        Next::Export,
    ),
    format(
        b"LVF\x09\x0d\x0a\xff\x00",
        0,
        "an EnCase logical (L01) image",
        Next::Export,
    ),
    format(b"MSWIM\0\0\0", 0, "a WIM archive", Next::Unpack),
];

/// Signatures so short that a boot sector's code may begin with them; they count only without the boot
/// sector's own mark.
const PACKED: &[Format] = &[
    format(b"\x1f\x8b\x08", 0, "a gzip file", Next::Unpack),
    format(b"\xfd7zXZ\0", 0, "an xz file", Next::Unpack),
    format(b"BZh", 0, "a bzip2 file", Next::Unpack),
    format(b"\x28\xb5\x2f\xfd", 0, "a zstd file", Next::Unpack),
    format(b"PK\x03\x04", 0, "a ZIP archive", Next::Unpack),
    format(b"7z\xbc\xaf\x27\x1c", 0, "a 7z archive", Next::Unpack),
];

const fn format(signature: &'static [u8], offset: usize, name: &'static str, next: Next) -> Format {
    Format {
        signature,
        offset,
        name,
        next,
    }
}

/// `Unsupported` when the image that begins with `head` (its first sector) is of a known other format.
pub(super) fn recognise(head: &[u8]) -> Option<Error> {
    let is = |format: &&Format| {
        bytes::slice(head, format.offset, format.signature.len()) == Some(format.signature)
    };
    // The VDI signature stands where a boot sector has code, so it too gives way to the mark.
    let marked = bytes::array(head, 510) == Some([0x55, 0xaa]);
    let found = CONTAINERS
        .iter()
        .find(|format| is(format) && (format.offset == 0 || !marked))
        .or_else(|| PACKED.iter().find(is).filter(|_| !marked))?;
    let next = match found.next {
        Next::Convert => CONVERT,
        Next::Export => "export a raw image with `ewfexport -f raw IMAGE` and repair that",
        Next::Unpack => "unpack it and give coldfix the disk image inside",
    };
    Some(Error::unsupported(
        format!("this is {}, which coldfix does not open", found.name),
        next,
    ))
}
