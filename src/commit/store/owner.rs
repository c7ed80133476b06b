// SPDX-License-Identifier: GPL-2.0-or-later
//! Whose the journal folder is. An operation that was interrupted is taken back without a question, with the bytes that
//! its journal holds: whoever can put a folder beside an image, as in `/tmp`, could so have any bytes written to it.
//!
//! Three are believed: the user who runs this, root, and the owner of the folder around it, who can put another image
//! in the place of this one anyway. The same goes for a link that leads to the folder.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

const ROOT: u32 = 0;

/// Who the folder at `path`, or a link there, belongs to when that is somebody else.
pub(super) fn stranger(path: &Path) -> io::Result<Option<String>> {
    let link = match std::fs::symlink_metadata(path) {
        Ok(link) => link,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let around = std::fs::metadata(super::parent_of(path))?.uid();
    let me = rustix::process::geteuid().as_raw();
    let strange =
        |found: &Metadata| (![me, ROOT, around].contains(&found.uid())).then(|| found.uid());
    if let Some(id) = strange(&link) {
        let what = if link.is_symlink() {
            "is a link of"
        } else {
            "belongs to"
        };
        return Ok(Some(format!("{what} the user with the id {id}")));
    }
    if !link.is_symlink() {
        return Ok(None);
    }
    // Where a link of ours leads, the folder around it is that of its place.
    let place = std::fs::canonicalize(path)?;
    match place == path {
        true => Ok(None),
        false => stranger(&place),
    }
}
