// SPDX-License-Identifier: GPL-2.0-or-later
//! `coldfix acl`: owners and permissions of files and folders, as icacls shows and changes them.
//!
//! The target comes first, then a path from the volume's root (a drive letter before it is passed over). `/t` is taken
//! for `-r`. Text is icacls' own layout; `--sddl` prints one line an object, and so does JSON.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::opening;
use super::operation::Session;
use super::output::{Output, warn, write_file};
use super::{Common, FINDINGS, HEALTHY, Writing};
use crate::error::{Error, Result};
use crate::permissions::{self, Change, TreeChange};
use crate::report::text;
use crate::security::change::{self, Grant};
use crate::security::{Descriptor, saved};
use crate::volume::EntryKind;
use crate::windows::Installation;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show owner and permissions
    Show(Show),
    /// Replace permissions by what the folder above hands down
    Reset(Reset),
    /// Grant rights in addition to what is there
    Grant(GrantArguments),
    /// Write permissions to a file that icacls /restore takes too
    Save(Save),
    /// Apply permissions that acl save or icacls /save wrote
    Restore(Restore),
}

/// What every subcommand begins with.
#[derive(Debug, clap::Args)]
struct Place {
    /// Disk or volume image, block device or folder
    target: PathBuf,
    /// A file or folder, such as 'ProgramData\Microsoft\Crypto\RSA\MachineKeys'
    path: String,
}

#[derive(Debug, clap::Args)]
struct Show {
    #[command(flatten)]
    place: Place,
    /// Everything below too
    #[arg(short = 'r', long)]
    recursive: bool,
    /// One line of SDDL an object, owner and group included
    #[arg(long)]
    sddl: bool,
}

#[derive(Debug, clap::Args)]
struct Reset {
    #[command(flatten)]
    place: Place,
    /// Everything below too
    #[arg(short = 'r', long)]
    recursive: bool,
    #[command(flatten)]
    writing: Writing,
}

#[derive(Debug, clap::Args)]
struct GrantArguments {
    #[command(flatten)]
    place: Place,
    /// Who gets what, as icacls spells it: 'NETWORK SERVICE:R', '*S-1-5-32-544:(OI)(CI)F'
    #[arg(value_name = "WHO:RIGHTS", required_unless_present = "owner")]
    grants: Vec<String>,
    /// In place of everything that these accounts were granted explicitly, as /grant:r
    #[arg(long)]
    replace: bool,
    /// Make WHO the owner first, as takeown does; Administrators when WHO is left out
    #[arg(
        long,
        value_name = "WHO",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "BUILTIN\\Administrators"
    )]
    owner: Option<String>,
    /// Everything below too
    #[arg(short = 'r', long)]
    recursive: bool,
    #[command(flatten)]
    writing: Writing,
}

#[derive(Debug, clap::Args)]
struct Save {
    #[command(flatten)]
    place: Place,
    /// The file to write
    file: PathBuf,
    /// Everything below too
    #[arg(short = 'r', long)]
    recursive: bool,
    /// Overwrite FILE
    #[arg(short = 'y')]
    overwrite: bool,
}

#[derive(Debug, clap::Args)]
struct Restore {
    /// Disk or volume image, block device or folder
    target: PathBuf,
    /// The folder above the one that was saved, as for icacls /restore; '' or '\' is the root
    path: String,
    /// The file that was saved
    file: PathBuf,
    #[command(flatten)]
    writing: Writing,
}

/// icacls' switch for "everything below" as we take it: `/t` becomes `-r`. Only after `acl COMMAND TARGET PATH`.
pub(super) fn with_slashes(arguments: Vec<OsString>) -> Vec<OsString> {
    let mut arguments = arguments;
    if let Some(acl) = arguments.iter().position(|argument| argument == "acl") {
        for argument in arguments.iter_mut().skip(acl + 4) {
            if argument == "/t" || argument == "/T" {
                *argument = OsStr::new("-r").to_owned();
            }
        }
    }
    arguments
}

pub(super) fn run(
    common: &Common,
    arguments: Arguments,
    output: &mut Output,
) -> anyhow::Result<u8> {
    match arguments.command {
        Command::Show(show) => run_show(common, &show, output),
        Command::Reset(reset) => run_reset(common, &reset, output),
        Command::Grant(grant) => run_grant(common, &grant, output),
        Command::Save(save) => run_save(common, &save, output),
        Command::Restore(restore) => run_restore(common, &restore, output),
    }
}

/// A path from the volume's root, parts separated by `/`, without a drive letter.
fn volume_path(path: &str) -> String {
    let mut characters = path.chars();
    let path = match (characters.next(), characters.next()) {
        (Some(letter), Some(':')) if letter.is_ascii_alphabetic() => characters.as_str(),
        _ => path,
    };
    let parts = path.split(['/', '\\']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("/")
}

/// The path as it is spelt on the disk; an error when it is not there.
pub(super) fn spelt(installation: &Installation, path: &str) -> Result<String> {
    let path = volume_path(path);
    let mut spelt: Vec<String> = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        spelt.push(part.to_owned());
        let entry = installation
            .volume
            .entry(&spelt.join("/"))?
            .ok_or_else(|| {
                Error::unsupported(
                    format!("{} is not there", crate::edit::windows_path(&path)),
                    "check the path, which counts from the volume's root",
                )
            })?;
        spelt.pop();
        spelt.push(entry.name);
    }
    Ok(spelt.join("/"))
}

fn run_show(common: &Common, show: &Show, output: &mut Output) -> anyhow::Result<u8> {
    let target = opening::look(&show.place.target, None, common.replays())?;
    let installation = target.files(common.partition)?;
    let path = spelt(&installation, &show.place.path)?;
    let listed = permissions::list(installation.volume.as_ref(), &path, show.recursive)?;
    let names = installation.names();
    if !output.is_text() {
        let objects: Vec<Object> = listed
            .iter()
            .map(|listed| Object::new(listed, &names))
            .collect();
        let failed = objects.iter().any(|object| object.error.is_some());
        output.json(&ShowReport {
            schema: "coldfix.permissions/1",
            objects,
        })?;
        return Ok(if failed { FINDINGS } else { HEALTHY });
    }
    let mut bytes = Vec::new();
    let mut failed = 0;
    if show.sddl {
        use std::io::Write;
        for listed in &listed {
            let path = crate::edit::windows_path(&listed.entry.path);
            let text = match &listed.descriptor {
                Ok(found) => permissions::sddl(found).ok_or("(no text form)"),
                Err(why) => Err(why.as_str()),
            };
            let text = text.unwrap_or_else(|why| {
                failed += 1;
                why.to_owned()
            });
            writeln!(bytes, "{path} {text}")?;
        }
    } else {
        let lines = listed.iter().map(permissions::Listed::line);
        failed = permissions::write_listing(lines, &names, &mut bytes)?;
    }
    output.bytes(&bytes)?;
    Ok(if failed == 0 { HEALTHY } else { FINDINGS })
}

#[derive(Serialize)]
struct ShowReport {
    schema: &'static str,
    objects: Vec<Object>,
}

/// An object as JSON shows it.
#[derive(Serialize)]
struct Object {
    path: String,
    kind: EntryKind,
    /// `None` where the descriptor has no owner.
    owner: Option<String>,
    owner_name: Option<String>,
    group: Option<String>,
    /// The lines of icacls.
    entries: Vec<String>,
    /// `None` where the descriptor has no text form.
    sddl: Option<String>,
    /// Why the descriptor cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Object {
    fn new(listed: &permissions::Listed, names: &crate::security::Names) -> Object {
        let mut object = Object {
            path: crate::edit::windows_path(&listed.entry.path),
            kind: listed.entry.kind,
            owner: None,
            owner_name: None,
            group: None,
            entries: Vec::new(),
            sddl: None,
            error: None,
        };
        let read = listed.descriptor.as_ref().map_err(String::clone);
        let read = read.and_then(|bytes| {
            object.sddl = permissions::sddl(bytes);
            Descriptor::parse(bytes).map_err(|error| error.to_string())
        });
        match read {
            Ok(read) => {
                object.owner = read.owner.as_ref().map(ToString::to_string);
                let name = read.owner.as_ref().and_then(|owner| names.name(owner));
                object.owner_name = name.map(str::to_owned);
                object.group = read.group.as_ref().map(ToString::to_string);
                object.entries = crate::security::display::entries(&read, names);
            }
            Err(error) => object.error = Some(error),
        }
        object
    }
}

/// Works a change out and carries it out.
fn change(
    common: &Common,
    place: &Place,
    writing: &Writing,
    recursive: bool,
    command: &str,
    how: impl FnOnce(&Installation) -> Result<Box<Change<'static>>>,
    output: &mut Output,
) -> anyhow::Result<u8> {
    let mut session = Session::open(common, writing, &place.target)?;
    let installation = session.target.files(common.partition)?;
    let path = spelt(&installation, &place.path)?;
    let how = how(&installation)?;
    let TreeChange { edit, left_alone } =
        TreeChange::new(installation.volume.as_ref(), &path, recursive, &*how)?;
    let edits = edit.into_iter().collect();
    session.change(installation, edits, command, left_alone, output)
}

fn run_reset(common: &Common, reset: &Reset, output: &mut Output) -> anyhow::Result<u8> {
    let how = |_: &Installation| -> Result<Box<Change<'static>>> {
        Ok(Box::new(|own, above, is_folder| {
            let above = above.ok_or_else(|| {
                Error::refused(
                    "the root of a volume has no folder above it to inherit from",
                    "name a file or folder in it, or use `coldfix acl grant`",
                )
            })?;
            Ok(change::reset(own, above, is_folder))
        }))
    };
    let command = format!("acl reset {}", reset.place.path);
    let (place, writing) = (&reset.place, &reset.writing);
    change(
        common,
        place,
        writing,
        reset.recursive,
        &command,
        how,
        output,
    )
}

fn run_grant(common: &Common, grant: &GrantArguments, output: &mut Output) -> anyhow::Result<u8> {
    let how = |installation: &Installation| -> Result<Box<Change<'static>>> {
        let names = installation.names();
        let owner = grant.owner.as_deref().map(|owner| names.find(owner));
        let owner = owner.transpose()?;
        let mut grants = Vec::new();
        for text in &grant.grants {
            let mut wanted = Grant::parse(text, &names)?;
            // Only the first for an account takes the place of what was there.
            let first = !grants.iter().any(|known: &Grant| known.sid == wanted.sid);
            wanted.replace = grant.replace && first;
            grants.push(wanted);
        }
        Ok(Box::new(move |own, _, is_folder| {
            let mut changed = match &owner {
                Some(owner) => change::set_owner(own, owner),
                None => own.clone(),
            };
            for wanted in &grants {
                changed = change::grant(&changed, wanted, is_folder)?;
            }
            Ok(changed)
        }))
    };
    let command = format!("acl grant {} {}", grant.place.path, grant.grants.join(" "));
    let (place, writing) = (&grant.place, &grant.writing);
    change(
        common,
        place,
        writing,
        grant.recursive,
        command.trim_end(),
        how,
        output,
    )
}

fn run_save(common: &Common, save: &Save, output: &mut Output) -> anyhow::Result<u8> {
    let target = opening::look(&save.place.target, None, common.replays())?;
    let installation = target.files(common.partition)?;
    let path = spelt(&installation, &save.place.path)?;
    if path.is_empty() {
        return Err(Error::refused(
            "the root of a volume has no name to save it under",
            "name a file or folder in it",
        )
        .into());
    }
    if save.file.exists() && !save.overwrite {
        return Err(Error::refused(
            format!("{} is there already", save.file.display()),
            "add -y to overwrite it, or name another file",
        )
        .into());
    }
    let listed = permissions::list(installation.volume.as_ref(), &path, save.recursive)?;
    let (bytes, left_out) = permissions::save(&path, &listed);
    write_file(&save.file, &bytes)?;
    for path in &left_out {
        warn(&format!(
            "left out: {path}: its permissions have no text form\n"
        ));
    }
    let saved = (listed.len() - left_out.len()) as u64;
    if output.is_text() {
        output.text(&format!(
            "{}: permissions of {} saved, {} left out; restore them with coldfix acl restore, naming the folder above {}\n",
            save.file.display(),
            text::count(saved, "object"),
            left_out.len(),
            crate::edit::windows_path(&path)
        ))?;
    } else {
        output.json(&SaveReport {
            schema: "coldfix.permissions-save/1",
            file: save.file.display().to_string(),
            saved,
            left_out: &left_out,
        })?;
    }
    Ok(if left_out.is_empty() {
        HEALTHY
    } else {
        FINDINGS
    })
}

#[derive(Serialize)]
struct SaveReport<'a> {
    schema: &'static str,
    file: String,
    saved: u64,
    left_out: &'a [String],
}

fn run_restore(common: &Common, restore: &Restore, output: &mut Output) -> anyhow::Result<u8> {
    let doing = || format!("reading {}", restore.file.display());
    let bytes = std::fs::read(&restore.file).map_err(Error::io(doing()))?;
    let lines = saved::parse(&bytes).map_err(|error| error.context(doing()))?;
    let mut session = Session::open(common, &restore.writing, &restore.target)?;
    let installation = session.target.files(common.partition)?;
    let folder = spelt(&installation, &restore.path)?;
    let TreeChange { edit, left_alone } =
        permissions::restore(installation.volume.as_ref(), &folder, &lines)?;
    let name = restore.file.file_name().unwrap_or(restore.file.as_os_str());
    let command = format!("acl restore {} {}", restore.path, name.display());
    let some_left = !left_alone.is_empty();
    let edits = edit.into_iter().collect();
    let code = session.change(installation, edits, &command, left_alone, output)?;
    Ok(if code == HEALTHY && some_left {
        FINDINGS
    } else {
        code
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_count_from_the_root_of_the_volume() {
        assert_eq!(volume_path(r"C:\ProgramData\x\"), "ProgramData/x");
        assert_eq!(volume_path("/a//b"), "a/b");
        assert_eq!(volume_path(r"\"), "");
        assert_eq!(volume_path("Ä:x"), "Ä:x");
    }

    #[test]
    fn slash_t_is_recursive_but_never_a_path() {
        let given = ["coldfix", "acl", "show", "/t", "/t", "/t"].map(OsString::from);
        let taken = with_slashes(given.to_vec());
        assert_eq!(taken, ["coldfix", "acl", "show", "/t", "/t", "-r"]);
    }
}
