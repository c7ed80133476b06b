// SPDX-License-Identifier: GPL-2.0-or-later
//! `coldfix reg`: the registry of an offline installation, as reg.exe reads and writes it.
//!
//! The target comes first, then reg.exe's own order; its switches are taken with `/` as well as `-`.
//!
//! Names and data are the disk's, and need not be text. In the text form control characters are shown as
//! `\u{...}`, and so are units of a name that are no valid UTF-16; a note on standard error names each such
//! name. JSON holds control characters as they are, and the exact units of a name that is no text in
//! `name_utf16`. An export leaves out what a `.reg` file has no form for, says so in the file and on standard
//! error, and ends with 1.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

mod data;
mod query;

use data::typed_data;

use super::opening;
use super::operation::Session;
use super::output::{Output, warn, write_file};
use super::{Common, FINDINGS, HEALTHY, Writing};
use crate::edit::{Edit, HexBytes, HiveName};
use crate::error::{Error, Result};
use crate::report::text;
use crate::windows::{Installation, RegAction, RegFile, export, value};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show a key's values and subkeys
    Query(Query),
    /// Make a key, or set a value
    Add(Add),
    /// Delete a value, or a key with everything below it
    Delete(Delete),
    /// Write a key and everything below it to a .reg file
    Export(Export),
    /// Apply a .reg file
    Import(Import),
}

#[derive(Debug, clap::Args)]
struct Query {
    /// Disk or volume image, block device or folder
    target: PathBuf,
    /// Such as 'HKLM\SYSTEM\CurrentControlSet\Services\TermService'
    key: String,
    /// Only this value
    #[arg(
        short = 'v',
        value_name = "NAME",
        allow_hyphen_values = true,
        conflicts_with = "ve"
    )]
    value: Option<String>,
    /// Only the default value
    #[arg(long)]
    ve: bool,
    /// All keys below too
    #[arg(short = 's')]
    recursive: bool,
}

#[derive(Debug, clap::Args)]
struct Add {
    /// Disk or volume image, block device or folder
    target: PathBuf,
    /// The key; it is made when it is not there
    key: String,
    /// The value's name
    #[arg(
        short = 'v',
        value_name = "NAME",
        allow_hyphen_values = true,
        conflicts_with = "ve"
    )]
    value: Option<String>,
    /// The default value
    #[arg(long)]
    ve: bool,
    /// The type, such as REG_DWORD
    #[arg(short = 't', value_name = "TYPE", default_value = "REG_SZ")]
    kind: String,
    /// What separates the parts of a REG_MULTI_SZ
    #[arg(short = 's', value_name = "SEPARATOR", default_value = "\\0")]
    separator: String,
    /// The data
    #[arg(short = 'd', value_name = "DATA", allow_hyphen_values = true)]
    data: Option<String>,
    /// Do not ask (the same as --yes)
    #[arg(short = 'f')]
    force: bool,
    #[command(flatten)]
    writing: Writing,
}

#[derive(Debug, clap::Args)]
struct Delete {
    /// Disk or volume image, block device or folder
    target: PathBuf,
    /// The key
    key: String,
    /// Only this value
    #[arg(short = 'v', value_name = "NAME", allow_hyphen_values = true, conflicts_with_all = ["ve", "va"])]
    value: Option<String>,
    /// Only the default value
    #[arg(long, conflicts_with = "va")]
    ve: bool,
    /// All values of this key, not the key
    #[arg(long)]
    va: bool,
    /// Do not ask (the same as --yes)
    #[arg(short = 'f')]
    force: bool,
    #[command(flatten)]
    writing: Writing,
}

#[derive(Debug, clap::Args)]
struct Export {
    /// Disk or volume image, block device or folder
    target: PathBuf,
    /// The key
    key: String,
    /// The .reg file to write
    file: PathBuf,
    /// Overwrite FILE
    #[arg(short = 'y')]
    overwrite: bool,
}

#[derive(Debug, clap::Args)]
struct Import {
    /// Disk or volume image, block device or folder
    target: PathBuf,
    /// The .reg file, version 5 (UTF-16 or UTF-8) or REGEDIT4
    file: PathBuf,
    /// Pass over lines that cannot be read, as Windows does, and list them
    #[arg(long)]
    lenient: bool,
    #[command(flatten)]
    writing: Writing,
}

/// reg.exe's switches as we take them: `/v` becomes `-v`, and `-ve`, `/ve` become `--ve` (which would
/// otherwise read as `-v e`). Only exact switches after `reg QUERY TARGET` are touched.
pub(super) fn with_slashes(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let Some(reg) = arguments.iter().position(|argument| argument == "reg") else {
        return arguments;
    };
    let mut is_data = false;
    for argument in arguments.iter_mut().skip(reg + 3) {
        if std::mem::take(&mut is_data) {
            continue;
        }
        let switch = argument
            .to_str()
            .and_then(|text| text.strip_prefix(['/', '-']));
        let replaced = match switch.map(str::to_ascii_lowercase).as_deref() {
            Some("ve") => "--ve",
            Some("va") => "--va",
            Some("v") => "-v",
            Some("t") => "-t",
            Some("d") => "-d",
            Some("s") => "-s",
            Some("f") => "-f",
            Some("y") => "-y",
            _ => continue,
        };
        // What follows these is a name or data, whatever it looks like.
        is_data = matches!(replaced, "-v" | "-d" | "-t");
        *argument = OsStr::new(replaced).to_owned();
    }
    arguments
}

pub(super) fn run(
    common: &Common,
    arguments: Arguments,
    output: &mut Output,
) -> anyhow::Result<u8> {
    match arguments.command {
        Command::Query(query) => query::run(common, &query, output),
        Command::Add(add) => run_add(common, add, output),
        Command::Delete(delete) => run_delete(common, delete, output),
        Command::Export(export) => run_export(common, &export, output),
        Command::Import(import) => run_import(common, &import, output),
    }
}

/// A key as the user wrote it: which hive, and the path with `CurrentControlSet` resolved.
struct Place {
    hive: HiveName,
    key: String,
}

impl Place {
    fn find(installation: &Installation, path: &str) -> Result<Place> {
        let (hive, key) = HiveName::split(path).ok_or_else(|| {
            Error::unsupported(
                format!("{path} is in none of the hives of an offline installation"),
                r"name a key below HKLM\SYSTEM, HKLM\SOFTWARE, HKLM\SAM, HKLM\SECURITY or HKU\.DEFAULT",
            )
        })?;
        let first = key.split('\\').next().unwrap_or_default();
        let key = if hive == HiveName::System && first.eq_ignore_ascii_case("CurrentControlSet") {
            installation.select()?.resolve(&key)
        } else {
            key
        };
        Ok(Place { hive, key })
    }

    /// A whole control set is not deleted, by number or as `CurrentControlSet` (which is no key of its own in
    /// the hive, but stands for one): Windows starts from it.
    fn check_deletable(&self) -> Result<()> {
        let name = self.key.to_ascii_lowercase();
        let number = name.strip_prefix("controlset").unwrap_or_default();
        let is_set = number.len() == 3 && number.chars().all(|c| c.is_ascii_digit());
        if self.hive == HiveName::System && is_set {
            return Err(Error::refused(
                format!(
                    "{} is a control set; Windows starts from it",
                    self.hive.full_path(&self.key)
                ),
                "name a key below it",
            ));
        }
        Ok(())
    }

    fn missing(&self) -> Error {
        Error::unsupported(
            format!(
                "the key or value is not there: {}",
                self.hive.full_path(&self.key)
            ),
            "look at the keys above it with `coldfix reg query`",
        )
    }
}

fn run_add(common: &Common, mut add: Add, output: &mut Output) -> anyhow::Result<u8> {
    add.writing.yes |= add.force;
    let mut session = Session::open(common, &add.writing, &add.target)?;
    let installation = session.target.installation(common.partition)?;
    let Place { hive, key } = Place::find(&installation, &add.key)?;
    let mut edits = vec![Edit::CreateKey {
        hive,
        key: key.clone(),
    }];
    let name = if add.ve {
        Some(String::new())
    } else {
        add.value
    };
    if name.is_some() || add.data.is_some() {
        let kind = value::type_number(&add.kind).ok_or_else(|| {
            Error::unsupported(
                format!("{:?} is not a registry type", add.kind),
                "use REG_SZ, REG_EXPAND_SZ, REG_MULTI_SZ, REG_DWORD, REG_QWORD, REG_BINARY or REG_NONE",
            )
        })?;
        edits.push(Edit::SetValue {
            hive,
            key,
            name: name.unwrap_or_default(),
            kind,
            data: HexBytes(typed_data(kind, add.data.as_deref(), &add.separator)?),
        });
    }
    session.change(
        installation,
        edits,
        &format!("reg add {}", add.key),
        Vec::new(),
        output,
    )
}

fn run_delete(common: &Common, mut delete: Delete, output: &mut Output) -> anyhow::Result<u8> {
    delete.writing.yes |= delete.force;
    let mut session = Session::open(common, &delete.writing, &delete.target)?;
    let installation = session.target.installation(common.partition)?;
    let place = Place::find(&installation, &delete.key)?;
    let file = installation.registry.required(place.hive)?;
    let key = file.hive.key(&place.key)?.ok_or_else(|| place.missing())?;
    let value_edit = |name: String| Edit::DeleteValue {
        hive: place.hive,
        key: place.key.clone(),
        name,
    };
    let name = if delete.ve {
        Some(String::new())
    } else {
        delete.value
    };
    let edits: Vec<Edit> = if let Some(name) = name {
        if key.value(&name)?.is_none() {
            return Err(place.missing().into());
        }
        vec![value_edit(name)]
    } else if delete.va {
        let mut edits = Vec::new();
        for found in key.values()? {
            let name = value::exact_name(found.name()).ok_or_else(|| {
                Error::unsupported(
                    format!("the value {} has a name that is no text", found.name()),
                    "name the other values one by one; deleting the whole key takes this one along",
                )
            })?;
            edits.push(value_edit(name));
        }
        edits
    } else if place.key.is_empty() {
        return Err(Error::refused(
            format!("{} is the root of a hive", place.hive.mount_point()),
            "name a key below it",
        )
        .into());
    } else {
        place.check_deletable()?;
        vec![Edit::DeleteKey {
            hive: place.hive,
            key: place.key.clone(),
        }]
    };
    session.change(
        installation,
        edits,
        &format!("reg delete {}", delete.key),
        Vec::new(),
        output,
    )
}

fn run_export(common: &Common, arguments: &Export, output: &mut Output) -> anyhow::Result<u8> {
    let target = opening::look(&arguments.target, None, common.replays())?;
    let installation = target.installation(common.partition)?;
    let place = Place::find(&installation, &arguments.key)?;
    let file = installation.registry.required(place.hive)?;
    let key = file.hive.key(&place.key)?.ok_or_else(|| place.missing())?;
    if arguments.file.exists() && !arguments.overwrite {
        return Err(Error::refused(
            format!("{} is there already", arguments.file.display()),
            "add -y to overwrite it, or name another file",
        )
        .into());
    }
    let exported = export(&key, &place.hive.full_path(&place.key))?;
    let mut bytes = vec![0xff, 0xfe];
    bytes.extend(exported.text.encode_utf16().flat_map(u16::to_le_bytes));
    write_file(&arguments.file, &bytes)?;
    for place in &exported.left_out {
        warn(&format!(
            "left out: {}: a .reg file cannot hold its name\n",
            value::printable(place)
        ));
    }
    if !output.is_text() {
        output.json(&ExportReport {
            schema: "coldfix.registry-export/1",
            file: arguments.file.display().to_string(),
            left_out: &exported.left_out,
        })?;
    } else if exported.left_out.is_empty() {
        output.text("The operation completed successfully.\n")?;
    } else {
        output.text(&format!(
            "{}: written, but {} left out: see the names on standard error\n",
            arguments.file.display(),
            text::count(exported.left_out.len() as u64, "name")
        ))?;
    }
    Ok(if exported.left_out.is_empty() {
        HEALTHY
    } else {
        FINDINGS
    })
}

#[derive(Serialize)]
struct ExportReport<'a> {
    schema: &'static str,
    file: String,
    left_out: &'a [String],
}

fn run_import(common: &Common, import: &Import, output: &mut Output) -> anyhow::Result<u8> {
    let bytes = std::fs::read(&import.file)
        .map_err(Error::io(format!("reading {}", import.file.display())))?;
    let file =
        RegFile::parse(&bytes).map_err(|error| error.context(import.file.display().to_string()))?;
    if !file.skipped.is_empty() {
        let list: Vec<String> = file
            .skipped
            .iter()
            .map(|skipped| format!("line {}: {}", skipped.line, skipped.why))
            .collect();
        let list = format!("{}: {}", import.file.display(), list.join("; "));
        if !import.lenient {
            return Err(Error::unsupported(
                list,
                "correct the file; Windows would pass over these lines in silence, and so does --lenient",
            )
            .into());
        }
        output.remark(&format!("passed over: {list}\n"))?;
    }
    let mut session = Session::open(common, &import.writing, &import.target)?;
    let installation = session.target.installation(common.partition)?;
    let mut edits = Vec::new();
    for action in file.actions {
        let path = action.path();
        let elsewhere = HiveName::split(path).is_none();
        if elsewhere && import.lenient {
            // Each key once, not once more for every value in it.
            if matches!(
                action,
                RegAction::CreateKey { .. } | RegAction::DeleteKey { .. }
            ) {
                output.remark(&format!(
                    "passed over: {}: in none of the hives of an offline installation\n",
                    value::printable(path)
                ))?;
            }
            continue;
        }
        let place = Place::find(&installation, path)?;
        if matches!(action, RegAction::DeleteKey { .. }) {
            place.check_deletable()?;
        }
        let Place { hive, key } = place;
        edits.push(match action {
            RegAction::CreateKey { .. } => Edit::CreateKey { hive, key },
            RegAction::DeleteKey { .. } => Edit::DeleteKey { hive, key },
            RegAction::SetValue {
                name, kind, data, ..
            } => Edit::SetValue {
                hive,
                key,
                name,
                kind,
                data: HexBytes(data),
            },
            RegAction::DeleteValue { name, .. } => Edit::DeleteValue { hive, key, name },
        });
    }
    let name = import
        .file
        .file_name()
        .map(Path::new)
        .unwrap_or(&import.file);
    let command = format!("reg import {}", name.display());
    session.change(installation, edits, &command, Vec::new(), output)
}
