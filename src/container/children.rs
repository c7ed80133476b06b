// SPDX-License-Identifier: GPL-2.0-or-later
//! Differencing disks (checkpoints) that stand on a disk.
//!
//! ```text
//! VHD    child    |footer: 16 header's offset, 60 type 4|header: 0 "cxsparse", 40 PARENT'S UNIQUE ID|...
//!        parent   |disk ......................................................|footer: 68 UNIQUE ID|
//! VHDX   child    |metadata: parent locator: "parent_linkage" = "{PARENT'S DATA WRITE GUID}"|...
//!        parent   |header: 32 DATA WRITE GUID|...
//! ```
//!
//! A child holds only what changed since; everything else it reads from its parent. Changing the parent
//! changes what every child sees, in the middle of its files: the children's volumes are ruined. So whoever
//! writes to a disk asks here first. Children are looked for in the parent's own folder, where Hyper-V puts them
//! unless told otherwise, by their content, in files named `*.vhd`, `*.avhd`, `*.vhdx` or `*.avhdx`. Children
//! elsewhere are not seen.

use std::fs::{DirEntry, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::parent::Identity;
use super::{vhd, vhdx};
use crate::device::{Device, SharedDevice};
use crate::error::{Error, Result};

/// What children are named.
const EXTENSIONS: [&str; 4] = ["vhd", "avhd", "vhdx", "avhdx"];

/// `Refused` when the image file at `path`, opened as `device`, is a VHD or VHDX and a differencing disk in the
/// same folder has it as its parent; `Io` when that folder cannot be listed. To be asked before writing.
pub fn check_no_children(path: &Path, device: &SharedDevice) -> Result<()> {
    let Some(identity) = identity(device)? else {
        return Ok(());
    };
    // The folder of the file itself, not of a link to it.
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = real.parent().unwrap_or(Path::new("."));
    let children = find_children(folder, &real, identity).map_err(Error::io(format!(
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
            "{} is the parent of a differencing disk (a checkpoint): {}. Changing it would ruin that one",
            path.display(),
            names.join(", ")
        ),
        "repair the newest checkpoint instead (give coldfix that file); or merge the checkpoints first (delete \
         them in Hyper-V Manager, or `Merge-VHD`); or, if they are no longer wanted, move them out of the folder",
    ))
}

/// By what children know the disk on `device`; `None` for what cannot have any.
fn identity(device: &SharedDevice) -> Result<Option<Identity>> {
    if starts_a_vhdx(device)? {
        return vhdx::data_write_guid(device).map(|guid| Some(Identity::Vhdx(guid)));
    }
    Ok(vhd::unique_id(device)?.map(Identity::Vhd))
}

fn starts_a_vhdx(device: &SharedDevice) -> Result<bool> {
    let mut head = [0; 8];
    if device.len() < 8 {
        return Ok(false);
    }
    device.read_at(0, &mut head)?;
    Ok(vhdx::is_vhdx(&head))
}

fn find_children(folder: &Path, parent: &Path, id: Identity) -> io::Result<Vec<PathBuf>> {
    let entries: Vec<DirEntry> = std::fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    let mut children: Vec<PathBuf> = entries
        .iter()
        .map(|entry| entry.path())
        .filter(|path| {
            let extension = path.extension().unwrap_or_default();
            EXTENSIONS
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        })
        // A named pipe would wait for its other end.
        .filter(|path| path.is_file() && path != parent)
        // What cannot be read as a differencing disk is none that could be ruined.
        .filter(|path| parents_of(path).is_ok_and(|parents| parents.contains(&id)))
        .collect();
    children.sort();
    Ok(children)
}

/// By what the differencing disk at `path` knows its parent; nothing when it is none.
fn parents_of(path: &Path) -> Result<Vec<Identity>> {
    let device: SharedDevice = Arc::new(Unlocked::open(path)?);
    if starts_a_vhdx(&device)? {
        let linkages = vhdx::parent_linkages(&device)?;
        return Ok(linkages.into_iter().map(Identity::Vhdx).collect());
    }
    let id = vhd::parent_id(&device)?;
    Ok(id.into_iter().map(Identity::Vhd).collect())
}

/// A file that somebody else may have locked, for a look at its first structures.
#[derive(Debug)]
struct Unlocked {
    file: Mutex<File>,
    len: u64,
}

impl Unlocked {
    fn open(path: &Path) -> Result<Unlocked> {
        let reading = || format!("reading {}", path.display());
        let mut file = File::open(path).map_err(Error::io(reading()))?;
        let len = file.seek(SeekFrom::End(0)).map_err(Error::io(reading()))?;
        Ok(Unlocked {
            file: Mutex::new(file),
            len,
        })
    }
}

impl Device for Unlocked {
    fn len(&self) -> u64 {
        self.len
    }

    fn sector_size(&self) -> u32 {
        512
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_exact(buffer))
            .map_err(Error::io("reading a file that may be a checkpoint"))
    }

    fn write_at(&self, _offset: u64, _data: &[u8]) -> Result<()> {
        Err(Error::refused(
            "a file that may be a checkpoint was opened for a look only",
            "nothing was written; this is a fault in coldfix, please report it",
        ))
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}
