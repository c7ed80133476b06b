// SPDX-License-Identifier: GPL-2.0-or-later
//! Differencing VHDs (checkpoints) that stand on a VHD.
//!
//! ```text
//! child    |footer: 16 header's offset, 60 type 4|header: 0 "cxsparse", 40 PARENT'S UNIQUE ID|...
//! parent   |disk ......................................................|footer: 68 UNIQUE ID|
//! ```
//!
//! A child holds only what changed since; everything else it reads from its parent. Changing the parent
//! changes what every child sees, in the middle of its files: the children's volumes are ruined. So whoever
//! writes to a VHD asks here first. Children are looked for in the parent's own folder, where Hyper-V puts them
//! unless told otherwise, by their content, in files named `*.vhd` or `*.avhd`. Children elsewhere are not seen.

use std::fs::{DirEntry, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::vhd;
use crate::bytes;
use crate::device::SharedDevice;
use crate::error::{Error, Result};

/// `Refused` when the image file at `path`, opened as `device`, is a VHD and a differencing VHD in the same
/// folder has it as its parent; `Io` when that folder cannot be listed. To be asked before writing.
pub fn check_no_children(path: &Path, device: &SharedDevice) -> Result<()> {
    let Some(id) = vhd::unique_id(device)? else {
        return Ok(());
    };
    // The folder of the file itself, not of a link to it.
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = real.parent().unwrap_or(Path::new("."));
    let children = find_children(folder, &real, id).map_err(Error::io(format!(
        "looking in {} for checkpoints of {}",
        folder.display(),
        path.display()
    )))?;
    if children.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = children
        .iter()
        .map(|child| child.display().to_string())
        .collect();
    Err(Error::refused(
        format!(
            "{} is the parent of a differencing VHD (a checkpoint): {}. Changing it would ruin that one",
            path.display(),
            names.join(", ")
        ),
        "merge the checkpoints first (delete them in Hyper-V Manager, or `Merge-VHD`); or, if they are no longer \
         wanted, move them out of the folder",
    ))
}

fn find_children(folder: &Path, parent: &Path, id: [u8; 16]) -> io::Result<Vec<PathBuf>> {
    let entries: Vec<DirEntry> = std::fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    let mut children: Vec<PathBuf> = entries
        .iter()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension().is_some_and(|extension| {
                extension.eq_ignore_ascii_case("vhd") || extension.eq_ignore_ascii_case("avhd")
            })
        })
        // A named pipe would wait for its other end.
        .filter(|path| path.is_file() && path != parent)
        .filter(|path| parent_of(path) == Some(id))
        .collect();
    children.sort();
    Ok(children)
}

/// The unique id of the parent of the differencing VHD at `path`; `None` when it is none, or cannot be read.
fn parent_of(path: &Path) -> Option<[u8; 16]> {
    let mut file = File::open(path).ok()?;
    let mut footer = [0; vhd::FOOTER_LEN];
    file.read_exact(&mut footer).ok()?;
    let header_offset = vhd::differencing_header(&footer)?;
    let mut header = [0; 1024];
    file.seek(SeekFrom::Start(header_offset)).ok()?;
    file.read_exact(&mut header).ok()?;
    if !header.starts_with(b"cxsparse") {
        return None;
    }
    bytes::array(&header, 40)
}
