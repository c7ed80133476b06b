// SPDX-License-Identifier: GPL-2.0-or-later
//! What is to be done to a target, as data: bytes in place, and what only the host can do for us.
//!
//! ```text
//! ChangeSet   patches      one for the image, or one for each changed file of a mounted folder
//!             operations   on a mounted folder: a security descriptor, a name, a file made or removed
//! ```
//!
//! All paths are those from before the change set: of an operation below a folder that is itself renamed,
//! the path still has the folder's old name. Both sides are kept of everything, so that it can be undone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One contiguous change: `before` and `after` have the same length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where, in bytes from the start of the device or file.
    pub offset: u64,
    /// The bytes that were there.
    pub before: Vec<u8>,
    /// The bytes that are to be there.
    pub after: Vec<u8>,
}

/// All changes to one host file: the image, or one file of a mounted folder.
///
/// A file that grows has `after_len > before_len`; the bytes past `before_len` count as zeros in
/// `before`. Changes are sorted by offset and do not overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The host file or block device.
    pub file: PathBuf,
    /// Its length in bytes before.
    pub before_len: u64,
    /// Its length in bytes after.
    pub after_len: u64,
    /// What changes in it.
    pub changes: Vec<Change>,
}

/// A whole file, as far as a host gives and takes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileCopy {
    /// What it holds.
    pub content: Vec<u8>,
    /// Its security descriptor, where the host's file system offers one.
    pub descriptor: Option<Arc<[u8]>>,
    /// Its permission bits on a Unix host; 0 elsewhere.
    pub mode: u32,
}

/// What a host is asked to do with a file or folder of a mounted folder. Links are meant themselves, never
/// what they point to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostOperation {
    /// Gives it another security descriptor.
    SetSecurity {
        /// The file or folder.
        file: PathBuf,
        /// The descriptor it has, self-relative.
        before: Arc<[u8]>,
        /// The one it is to have.
        after: Arc<[u8]>,
    },
    /// Gives it another name in the same folder.
    Rename {
        /// The file or folder, under its old name.
        file: PathBuf,
        /// Its new name, without a path.
        name: String,
    },
    /// Makes a file. Nothing above it is renamed in the same change set.
    Make {
        /// The file.
        file: PathBuf,
        /// What it is to be.
        copy: Arc<FileCopy>,
    },
    /// Removes a file. Nothing above it is renamed in the same change set.
    Remove {
        /// The file.
        file: PathBuf,
        /// What it was.
        copy: Arc<FileCopy>,
    },
}

impl HostOperation {
    /// The file or folder, by its path from before.
    pub fn file(&self) -> &Path {
        match self {
            HostOperation::SetSecurity { file, .. }
            | HostOperation::Rename { file, .. }
            | HostOperation::Make { file, .. }
            | HostOperation::Remove { file, .. } => file,
        }
    }
}

/// Everything that one operation does to a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeSet {
    /// Bytes in place.
    pub patches: Vec<Patch>,
    /// What the host does, in no order.
    pub operations: Vec<HostOperation>,
}

impl ChangeSet {
    /// True when there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.patches.is_empty() && self.operations.is_empty()
    }

    /// How many ranges the patches write, and how many bytes they hold.
    pub fn totals(&self) -> (u64, u64) {
        let changes = self.patches.iter().flat_map(|patch| &patch.changes);
        changes.fold((0, 0), |(ranges, bytes), change| {
            let more = u64::try_from(change.after.len()).unwrap_or(u64::MAX);
            (ranges.saturating_add(1), bytes.saturating_add(more))
        })
    }
}

impl From<Vec<Patch>> for ChangeSet {
    fn from(patches: Vec<Patch>) -> Self {
        ChangeSet {
            patches,
            operations: Vec::new(),
        }
    }
}
