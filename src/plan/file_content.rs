// SPDX-License-Identifier: GPL-2.0-or-later
//! Edits of whole files: one gets the content of another, one is deleted.
//!
//! ```text
//! copy   to is there   keep <- what it held, with its permissions     to <- the content
//!        to is not     made, with the permissions of from
//!        to + ending   renamed to keep + ending
//! ```
//!
//! Contents are told by length and SHA-256, in the edits as in what a step says of before and after: so a saved plan is
//! refused when one of the files has changed, and `--revert` sees what was written since.

use crate::edit::{Edit, sha256, windows_path};
use crate::error::{Error, Result};
use crate::volume::{EntryKind, Volume};

use super::Step;
use super::files::renamed;
use super::revert::Verdict;

/// The longest file that is copied or deleted, in bytes; ours, to bound memory. As for hives.
const LONGEST: u64 = 1 << 30;

const NO_FILE: &str = "no file";

/// A content for a person.
fn shown(length: u64, sha256: &str) -> String {
    format!("{length} bytes, SHA-256 {sha256}")
}

fn shown_content(content: &[u8]) -> String {
    shown(
        u64::try_from(content.len()).unwrap_or(u64::MAX),
        &sha256(content),
    )
}

/// What is in a plain file; `None` when there is no such file.
fn content(volume: &dyn Volume, path: &str) -> Result<Option<Vec<u8>>> {
    match volume.entry(path)?.map(|entry| entry.kind) {
        None => Ok(None),
        Some(EntryKind::File) => volume.read(path, LONGEST).map(Some),
        Some(kind) => Err(Error::refused(
            format!(
                "{} is {}, not a plain file",
                windows_path(path),
                match kind {
                    EntryKind::Directory => "a folder",
                    EntryKind::File | EntryKind::Other => "a link or another reparse point",
                }
            ),
            "check what put it there; coldfix copies and deletes plain files only",
        )),
    }
}

/// Gives a file the content of another. `edit` is an [`Edit::CopyFile`].
pub(super) fn copy(
    volume: &dyn Volume,
    edit: &Edit,
    reason: &str,
    now: u64,
) -> Result<Option<Step>> {
    let Edit::CopyFile {
        from,
        to,
        length,
        sha256: wanted,
        keep,
        along,
    } = edit
    else {
        return Ok(None);
    };
    let odd = |ending: &&String| !ending.starts_with('.') || ending.contains(['/', '\\']);
    if let Some(ending) = along.iter().find(odd) {
        return Err(Error::refused(
            format!("{ending:?} is no ending of a file's name"),
            "make the plan again with --dry-run --plan-out",
        ));
    }
    let source = content(volume, from)?;
    let found = source.as_deref().map(shown_content);
    let after = shown(*length, wanted);
    let (Some(source), true) = (source, found.as_ref() == Some(&after)) else {
        return Err(Error::refused(
            format!(
                "{} holds {}, not {after}",
                windows_path(from),
                found.as_deref().unwrap_or("nothing: there is no such file")
            ),
            "it has changed since it was looked at; diagnose the target again",
        ));
    };
    let target = content(volume, to)?;
    if target.as_ref() == Some(&source) {
        return Ok(None);
    }
    let kept = keep.as_ref().map(|name| renamed(to, name));
    let mut inverse = Vec::new();
    let before = match &target {
        None => {
            volume.create_file_like(to, &source, from, now)?;
            inverse.push(Edit::DeleteFile { path: to.clone() });
            NO_FILE.to_owned()
        }
        Some(old) => {
            if let Some(kept) = &kept {
                volume.create_file_like(kept, old, to, now)?;
                inverse.push(Edit::copy_file(kept, to, old));
                inverse.push(Edit::DeleteFile { path: kept.clone() });
            }
            volume.replace(to, &source)?;
            shown_content(old)
        }
    };
    if let (Some(kept), Some(keep)) = (&kept, keep) {
        for ending in along {
            let path = format!("{to}{ending}");
            if let Some(entry) = volume.entry(&path)? {
                volume.rename(&path, &format!("{keep}{ending}"), now)?;
                inverse.push(Edit::Rename {
                    path: format!("{kept}{ending}"),
                    name: entry.name,
                });
            }
        }
    }
    let mut after = after;
    if let Some(name) = keep.as_ref().filter(|_| target.is_some()) {
        after.push_str(&format!("; what it held is kept as {name}"));
    }
    for edit in &inverse {
        if let Edit::Rename { path, name } = edit {
            let now = path.rsplit('/').next().unwrap_or(path);
            after.push_str(&format!("; {name} becomes {now}"));
        }
    }
    Ok(Some(Step {
        edit: edit.clone(),
        reason: reason.to_owned(),
        before,
        after,
        inverse,
    }))
}

/// Deletes a file.
pub(super) fn delete(
    volume: &dyn Volume,
    path: &str,
    reason: &str,
    now: u64,
) -> Result<Option<Step>> {
    let Some(content) = content(volume, path)? else {
        return Ok(None);
    };
    volume.remove(path, now)?;
    Ok(Some(Step {
        edit: Edit::DeleteFile {
            path: path.to_owned(),
        },
        reason: reason.to_owned(),
        before: shown_content(&content),
        after: NO_FILE.to_owned(),
        inverse: Vec::new(),
    }))
}

/// Whether a copy or a deletion can be taken back; `None` for a step of another kind.
pub(super) fn judge(volume: &dyn Volume, step: &Step) -> Option<Verdict> {
    let leave = |why: &str| Some(Verdict::LeaveAlone(why.to_owned()));
    let found = |path: &str| content(volume, path).map(|found| found.as_deref().map(shown_content));
    match &step.edit {
        Edit::CopyFile {
            to, length, sha256, ..
        } => {
            let now = match found(to) {
                Ok(now) => now,
                Err(error) => return Some(Verdict::LeaveAlone(error.to_string())),
            };
            let made = step.before == NO_FILE;
            if now.as_ref() == Some(&shown(*length, sha256)) {
                return match step.inverse.first() {
                    None => leave("what it held before is kept in the journal only"),
                    Some(Edit::CopyFile {
                        from,
                        length,
                        sha256,
                        ..
                    }) if found(from).ok().flatten() != Some(shown(*length, sha256)) => {
                        leave("the copy of what it held before is gone or has been changed")
                    }
                    Some(_) if in_the_way(volume, &step.inverse) => leave(
                        "files that belong to what it held before have been made anew, or are gone",
                    ),
                    Some(_) => Some(Verdict::TakeBack),
                };
            }
            match now {
                None if made => Some(Verdict::AlreadyBack),
                Some(now) if now == step.before => Some(Verdict::AlreadyBack),
                None => leave("it is not there any more"),
                Some(_) => leave("its content has been changed since"),
            }
        }
        Edit::DeleteFile { path } => match volume.entry(path) {
            Ok(None) => {
                leave("what a deleted file held is kept in the journal only, for an exact undo")
            }
            Ok(Some(_)) => leave("a file has been made under its name since"),
            Err(error) => Some(Verdict::LeaveAlone(error.to_string())),
        },
        Edit::CreateKey { .. }
        | Edit::DeleteKey { .. }
        | Edit::SetValue { .. }
        | Edit::DeleteValue { .. }
        | Edit::SetKeySecurity { .. }
        | Edit::SetSecurity { .. }
        | Edit::Rename { .. }
        | Edit::Boot(_) => None,
    }
}

/// Whether a rename among these edits has nothing to rename, or leads to a name that is taken.
fn in_the_way(volume: &dyn Volume, inverse: &[Edit]) -> bool {
    let there = |path: &str| !matches!(volume.entry(path), Ok(None));
    inverse.iter().any(|edit| match edit {
        Edit::Rename { path, name } => !there(path) || there(&renamed(path, name)),
        _ => false,
    })
}
