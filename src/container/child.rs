// SPDX-License-Identifier: GPL-2.0-or-later
//! A new differencing disk: an empty child, through which the parent is seen unchanged.
//!
//! ```text
//! parent   disk.vhdx     stays as it is, and must from now on
//! child    new.vhdx      header, tables, and how the parent is found: .\disk.vhdx
//! ```
//!
//! Nothing is written here: the result says which bytes the new file has. Moment and ids come from the caller.

use std::path::{Component, Path, PathBuf};

use uuid::Uuid;

use super::vhd::{NewParent, NewVhd};
use super::vhdx::NewVhdx;
use super::{Container, Details};
use crate::error::{Error, Result};

/// What a new file must not have in common with any other.
#[derive(Clone, Copy, Debug)]
pub struct Fresh {
    /// Random ids.
    pub ids: [Uuid; 3],
    /// Now, in seconds since 1970.
    pub now: u64,
}

/// Part of a file: its offset, and its bytes.
pub type Part = (u64, Vec<u8>);

/// A file to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// Its length in bytes.
    pub len: u64,
    /// Its content. All else is zeros.
    pub parts: Vec<Part>,
}

/// The empty child, to be made at `child`, of the disk `container` in the file `parent`. Both lie in folders that
/// exist.
///
/// `Unsupported` for a parent that is no VHD or VHDX, for a child whose name does not end in the parent's
/// `.vhd` or `.vhdx`, and for paths that Windows has no words for; `Refused` for a parent that is not closed
/// cleanly, whose content would not be what its file says.
pub fn create_child(
    parent: &Path,
    container: &Container,
    child: &Path,
    fresh: &Fresh,
) -> Result<NewFile> {
    let extension = |wanted: &str| {
        let right = child
            .extension()
            .is_some_and(|found| found.eq_ignore_ascii_case(wanted));
        match right {
            true => Ok(()),
            false => Err(Error::unsupported(
                format!(
                    "{}: a child of {} is a .{wanted} file",
                    child.display(),
                    parent.display()
                ),
                format!("choose a name that ends in .{wanted}"),
            )),
        }
    };
    if container.mended {
        return Err(Error::refused(
            format!(
                "{} was not closed cleanly or is damaged: as a parent it would not be what it is now",
                parent.display()
            ),
            "attach it once on a Windows machine (`Mount-VHD`, then `Dismount-VHD`), or make a full copy",
        ));
    }
    match &container.details {
        Details::Vhd {
            geometry,
            unique_id,
        } => {
            extension("vhd")?;
            let vhd = NewVhd {
                size: container.disk.len(),
                unique_id: fresh.ids[0],
                now: fresh.now,
            };
            let new_parent = NewParent {
                unique_id: *unique_id,
                name: file_name(parent)?.to_owned(),
                relative: relative(parent, child)?,
                geometry: *geometry,
            };
            let (parts, len) = vhd.dynamic_tables(&[], 0, Some(&new_parent))?;
            Ok(NewFile { len, parts })
        }
        Details::Vhdx {
            physical_sector_size,
            disk_id,
            data_write_guid,
        } => {
            extension("vhdx")?;
            let vhdx = NewVhdx {
                size: container.disk.len(),
                logical_sector_size: container.disk.sector_size(),
                physical_sector_size: *physical_sector_size,
                disk_id: *disk_id,
                file_write_guid: fresh.ids[0],
                data_write_guid: fresh.ids[1],
                parent: Some((*data_write_guid, relative(parent, child)?)),
            };
            Ok(NewFile {
                len: vhdx.tables_end(),
                parts: vhdx.tables(&[])?,
            })
        }
        Details::Raw => Err(Error::unsupported(
            format!(
                "{} is a raw image, which cannot be the parent of a differencing disk",
                parent.display()
            ),
            "make a full copy instead",
        )),
    }
}

fn file_name(path: &Path) -> Result<&str> {
    path.file_name()
        .and_then(|name| name.to_str())
        .filter(|name| !name.contains('\\'))
        .ok_or_else(|| no_words(path))
}

fn no_words(path: &Path) -> Error {
    Error::unsupported(
        format!("Windows has no words for the path {}", path.display()),
        "rename the file or the folder: no backslash, and Unicode only",
    )
}

/// How Windows names `parent` from the folder of `child`.
fn relative(parent: &Path, child: &Path) -> Result<String> {
    let real = |path: &Path| -> Result<PathBuf> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        std::fs::canonicalize(folder)
            .map_err(Error::io(format!("looking for {}", folder.display())))
    };
    let (to, from) = (real(parent)?, real(child)?);
    let mut to_parts: Vec<Component<'_>> = to.components().collect();
    let mut from_parts: Vec<Component<'_>> = from.components().collect();
    let shared = to_parts
        .iter()
        .zip(&from_parts)
        .take_while(|(one, other)| one == other)
        .count();
    if shared == 0 {
        return Err(no_words(parent));
    }
    to_parts.drain(..shared);
    from_parts.drain(..shared);
    let mut words = match from_parts.is_empty() {
        true => vec!["."],
        false => vec![".."; from_parts.len()],
    };
    for part in &to_parts {
        let word = part.as_os_str().to_str();
        words.push(
            word.filter(|word| !word.contains('\\'))
                .ok_or_else(|| no_words(parent))?,
        );
    }
    words.push(file_name(parent)?);
    Ok(words.join("\\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_the_parent_is_found_in_windows_words() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir_all(root.join("c")).unwrap();
        let way = |parent: &str, child: &str| relative(&root.join(parent), &root.join(child));
        assert_eq!(way("a/p.vhdx", "a/x.vhdx").unwrap(), r".\p.vhdx");
        assert_eq!(way("a/p.vhdx", "a/b/x.vhdx").unwrap(), r"..\p.vhdx");
        assert_eq!(way("a/b/p.vhdx", "c/x.vhdx").unwrap(), r"..\a\b\p.vhdx");
        assert_eq!(way("a/b/p.vhdx", "x.vhdx").unwrap(), r".\a\b\p.vhdx");
        way(r"a/p\q.vhdx", "a/x.vhdx").unwrap_err();
        way("missing/p.vhdx", "a/x.vhdx").unwrap_err();
    }
}
