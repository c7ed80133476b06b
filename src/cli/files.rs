// SPDX-License-Identifier: GPL-2.0-or-later
//! `coldfix ls` and `coldfix get`: files of the Windows volume looked at and copied out, without mounting it.

use std::io::{IsTerminal, stdout};
use std::path::PathBuf;

use serde::Serialize;

use super::acl::spelt;
use super::opening;
use super::output::Output;
use super::{Common, HEALTHY};
use crate::edit::windows_path;
use crate::error::{Error, Result};
use crate::report::text::size;
use crate::volume::{Entry, EntryKind, Volume};
use crate::windows::value::printable;

/// How much of a file is held at once: ours.
const PIECE: u64 = 8 << 20;
/// A file that the volume reads only as a whole: ours, far above what coldfix is asked for.
const MOST_AT_ONCE: u64 = 512 << 20;
/// Folders inside folders: ours, above what paths of Windows allow in practice.
const DEEPEST: usize = 256;

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Disk or volume image, block device or folder
    target: PathBuf,
    /// A file or folder; the volume's root when left out
    #[arg(default_value = "")]
    path: String,
    /// Everything below too
    #[arg(short = 'r', long)]
    recursive: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Get {
    /// Disk or volume image, block device or folder
    target: PathBuf,
    /// A file, such as 'Windows\System32\config\SYSTEM'; -o names the copy
    path: String,
}

#[derive(Serialize)]
struct Listing {
    schema: &'static str,
    entries: Vec<Line>,
}

/// A file or folder as JSON shows it.
#[derive(Serialize)]
struct Line {
    path: String,
    kind: EntryKind,
    /// Length of the content in bytes.
    size: u64,
}

pub(super) fn list(common: &Common, arguments: &List, output: &mut Output) -> anyhow::Result<u8> {
    let target = opening::look(&arguments.target, None, common.replays())?;
    let installation = target.files(common.partition)?;
    let volume = installation.volume.as_ref();
    let path = spelt(&installation, &arguments.path)?;
    let mut lines = Vec::new();
    let mut each = |path: &str, entry: &Entry| {
        let line = Line {
            path: windows_path(path),
            kind: entry.kind,
            size: entry.len,
        };
        lines.push(line);
    };
    match volume.entry(&path)? {
        Some(entry) if entry.kind != EntryKind::Directory => each(&path, &entry),
        _ => walk(volume, &path, arguments.recursive, &mut each)?,
    }
    if !output.is_text() {
        output.json(&Listing {
            schema: "coldfix.files/1",
            entries: lines,
        })?;
        return Ok(HEALTHY);
    }
    for line in &lines {
        let what = match line.kind {
            EntryKind::File => size(line.size),
            EntryKind::Directory => "folder".to_owned(),
            EntryKind::Other => "link".to_owned(),
        };
        output.text(&format!("{what:>10}  {}\n", printable(&line.path)))?;
        if output.is_closed() {
            break;
        }
    }
    Ok(HEALTHY)
}

/// Every entry of a folder, and with `below` of those in it, each before what it holds.
fn walk(
    volume: &dyn Volume,
    folder: &str,
    below: bool,
    each: &mut dyn FnMut(&str, &Entry),
) -> Result<()> {
    // The folders that are open, each with what is still to come, the last entry first.
    let mut open = vec![(folder.to_owned(), reversed(volume, folder)?)];
    while let Some((folder, entries)) = open.last_mut() {
        let Some(entry) = entries.pop() else {
            open.pop();
            continue;
        };
        let path = match folder.as_str() {
            "" => entry.name.clone(),
            folder => format!("{folder}/{}", entry.name),
        };
        each(&path, &entry);
        if below && entry.kind == EntryKind::Directory {
            if open.len() >= DEEPEST {
                return Err(Error::unsupported(
                    format!(
                        "{}: folders lie more than {DEEPEST} deep",
                        windows_path(&path)
                    ),
                    "name a folder further down; the volume may be damaged (chkdsk)",
                ));
            }
            let entries = reversed(volume, &path)?;
            open.push((path, entries));
        }
    }
    Ok(())
}

fn reversed(volume: &dyn Volume, folder: &str) -> Result<Vec<Entry>> {
    let mut entries = volume.list(folder)?;
    entries.reverse();
    Ok(entries)
}

pub(super) fn get(common: &Common, arguments: &Get, output: &mut Output) -> anyhow::Result<u8> {
    let target = opening::look(&arguments.target, None, common.replays())?;
    let installation = target.files(common.partition)?;
    let volume = installation.volume.as_ref();
    let path = spelt(&installation, &arguments.path)?;
    let len = match volume.entry(&path)? {
        Some(entry) if entry.kind == EntryKind::File => entry.len,
        _ => {
            return Err(Error::unsupported(
                format!("{} is not a file", windows_path(&path)),
                "name a file; `coldfix ls` lists what is there",
            )
            .into());
        }
    };
    if output.file().is_none() && stdout().is_terminal() {
        return Err(Error::unsupported(
            "a file is not written to a terminal",
            "name the copy with -o FILE",
        )
        .into());
    }
    let mut start = 0_u64;
    while start < len && !output.is_closed() {
        let end = start.saturating_add(PIECE).min(len);
        let piece = match volume.read_ranges(&path, std::slice::from_ref(&(start..end))) {
            Ok(pieces) => pieces.concat(),
            // A volume that offers whole files only.
            Err(_) if start == 0 => {
                output.bytes(&volume.read(&path, MOST_AT_ONCE)?)?;
                return Ok(HEALTHY);
            }
            Err(error) => return Err(error.into()),
        };
        if piece.len() as u64 != end - start {
            return Err(Error::refused(
                format!("{} changed while it was being read", windows_path(&path)),
                "make sure that nothing else writes to the target, then try again",
            )
            .into());
        }
        output.bytes(&piece)?;
        start = end;
    }
    if len == 0 {
        output.bytes(&[])?;
    }
    Ok(HEALTHY)
}
