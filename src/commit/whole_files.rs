// SPDX-License-Identifier: GPL-2.0-or-later
//! Files that a host makes or removes for us: how each stands, doing it, taking it back.
//!
//! ```text
//! made        not there -> old     there, with this content and descriptor -> new    else foreign
//! removed     the other way round
//! either      NAME.coldfix-part is there -> torn
//! ```
//!
//! A file is made under a name of its own, made durable, and then renamed: under its name it is there whole or not at
//! all. What a crash leaves of the part is removed when the operation is taken back. Removing is the host's own single
//! step; taking it back makes the file again. Dates, a short (8.3) name and other streams are not kept: the volume says
//! so, or refuses, before.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::operations::Standing;
use super::target::Target;
use crate::device::attribute::LONGEST;
use crate::device::{ChangeSet, FileCopy, HostOperation};
use crate::error::{Error, Result, ResultExt};

/// Behind the name of a file that is being made.
const PART: &str = ".coldfix-part";

/// A file that is made or removed.
#[derive(Clone, Copy, Debug)]
pub(super) struct WholeFile<'a> {
    pub(super) file: &'a Path,
    copy: &'a FileCopy,
    made: bool,
}

/// Those among the operations.
pub(super) fn of(operations: &[HostOperation]) -> impl Iterator<Item = WholeFile<'_>> {
    operations.iter().filter_map(|operation| {
        let (file, copy, made) = match operation {
            HostOperation::Make { file, copy } => (file, copy, true),
            HostOperation::Remove { file, copy } => (file, copy, false),
            HostOperation::SetSecurity { .. } | HostOperation::Rename { .. } => return None,
        };
        Some(WholeFile { file, copy, made })
    })
}

/// Why they cannot be right, in words. `renamed` says whether a path is one that a rename leads from or to: those
/// change what a path means, so nothing is made or removed below them.
pub(super) fn check(
    changes: &ChangeSet,
    renamed: impl Fn(&Path) -> bool,
) -> std::result::Result<(), String> {
    let mut files = BTreeSet::new();
    for WholeFile { file, copy, .. } in of(&changes.operations) {
        let named = file.file_name().and_then(std::ffi::OsStr::to_str);
        if named.is_none_or(|name| name.ends_with(PART)) {
            return Err(format!("no name for a file: {}", file.display()));
        }
        if !files.insert(file) {
            return Err(format!("{} made or removed twice", file.display()));
        }
        let fits = |bytes: &[u8]| !bytes.is_empty() && bytes.len() <= LONGEST;
        if copy.descriptor.as_ref().is_some_and(|bytes| !fits(bytes)) {
            return Err(format!("no descriptor for {}", file.display()));
        }
        if file.ancestors().any(&renamed) {
            return Err(format!(
                "{} made or removed, and a rename there",
                file.display()
            ));
        }
    }
    let patched = changes.patches.iter().map(|patch| patch.file.as_path());
    let secured = changes.operations.iter().filter_map(|operation| {
        let secures = matches!(operation, HostOperation::SetSecurity { .. });
        secures.then(|| operation.file())
    });
    match patched.chain(secured).find(|file| files.contains(*file)) {
        None => Ok(()),
        Some(file) => Err(format!(
            "{} made or removed, and changed as well",
            file.display()
        )),
    }
}

impl WholeFile<'_> {
    /// The name under which it is made.
    fn part(&self) -> PathBuf {
        let mut name = self.file.file_name().unwrap_or_default().to_owned();
        name.push(PART);
        self.file.with_file_name(name)
    }

    /// Whether it is there as it was noted; `None` when something else is.
    fn is_there(&self, target: &dyn Target) -> Result<Option<bool>> {
        let Some(found) = target.copy_of(self.file, self.copy.content.len())? else {
            return Ok(Some(false));
        };
        let same_descriptor = match &self.copy.descriptor {
            None => true,
            wanted => *wanted == found.descriptor,
        };
        let same = same_descriptor && found.content == self.copy.content;
        Ok(same.then_some(true))
    }

    pub(super) fn standing(&self, target: &dyn Target) -> Result<Standing> {
        let Some(there) = self.is_there(target)? else {
            return Ok(Standing::Foreign(format!(
                "{} holds something else",
                self.file.display()
            )));
        };
        if target.identity(&self.part())?.is_some() {
            return Ok(Standing::Torn("has been made in part"));
        }
        Ok(match there == self.made {
            true => Standing::After,
            false => Standing::Before,
        })
    }

    pub(super) fn apply(&self, target: &dyn Target) -> Result<()> {
        match self.made {
            true => self.make(target),
            false => target
                .remove_file(self.file)
                .context(|| format!("removing {}", self.file.display())),
        }
    }

    fn make(&self, target: &dyn Target) -> Result<()> {
        let making = || format!("making {}", self.file.display());
        let part = self.part();
        target.write_file(&part, self.copy).context(making)?;
        let name = self.file.file_name().and_then(std::ffi::OsStr::to_str);
        let name = name.ok_or_else(|| {
            Error::refused(
                format!("no name for a file: {}", self.file.display()),
                "nothing was changed; the journal does not belong to this target",
            )
        })?;
        target.rename(&part, name).context(making)
    }

    /// Takes it back, however far it was. The caller has made sure that nothing foreign is there.
    pub(super) fn take_back(&self, target: &dyn Target) -> Result<()> {
        let taking = || format!("taking {} back", self.file.display());
        let part = self.part();
        if target.identity(&part).context(taking)?.is_some() {
            target.remove_file(&part).context(taking)?;
        }
        match (self.made, self.is_there(target).context(taking)?) {
            (true, Some(true)) => target.remove_file(self.file).context(taking),
            (false, Some(false)) => self.make(target),
            _ => Ok(()),
        }
    }
}
