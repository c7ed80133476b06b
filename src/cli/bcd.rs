// SPDX-License-Identifier: GPL-2.0-or-later
//! `coldfix bcd`: the boot configuration of an offline installation, as bcdedit reads and writes it.
//!
//! The target comes first; names, identifiers and values are bcdedit's. `{current}` does not exist offline, and an
//! identifier that is left out means `{default}` instead, which is said. Which store is meant is found out: the only
//! one, else the one that starts the installation, else the one that `--bcd` names.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::Subcommand;
use uuid::Uuid;

use super::operation::Session;
use super::output::Output;
use super::{Common, Writing};
use crate::bcd::elements::{by_name, shown_name};
use crate::bcd::format::{braced, well_known};
use crate::bcd::{ElementType, ObjectType, Store, Value};
use crate::edit::{BootChange, BootEdit, Edit, HexBytes};
use crate::error::{Error, Result};
use crate::target::Target;
use crate::windows::{BootStore, Installation};

use listing::{Enum, run_enum};

mod listing;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the entries of the boot configuration
    Enum(Enum),
    /// Set an element of an entry
    Set(Set),
    /// Delete an element of an entry, or a whole entry with the references to it
    Delete(Delete),
}

#[derive(Debug, clap::Args)]
struct Set {
    /// Disk or volume image, block device or folder
    target: PathBuf,
    /// Identifier, element and value, such as '{bootmgr}' timeout 5. Without an identifier: {default}
    #[arg(required = true, num_args = 2.., value_name = "[ID] ELEMENT VALUE")]
    words: Vec<String>,
    #[command(flatten)]
    writing: Writing,
}

#[derive(Debug, clap::Args)]
struct Delete {
    /// Disk or volume image, block device or folder
    target: PathBuf,
    /// Identifier of the entry, such as '{default}'
    id: String,
    /// The element to delete; without one, the whole entry
    element: Option<String>,
    /// Also delete an entry that has a name of its own, such as {memdiag}
    #[arg(short = 'f')]
    force: bool,
    #[command(flatten)]
    writing: Writing,
}

/// bcdedit's `/v` and `/f` as we take them, behind `bcd COMMAND TARGET`.
pub(super) fn with_slashes(arguments: Vec<OsString>) -> Vec<OsString> {
    let mut arguments = arguments;
    let Some(bcd) = arguments.iter().position(|argument| argument == "bcd") else {
        return arguments;
    };
    for argument in arguments.iter_mut().skip(bcd + 3) {
        let replaced = match argument.to_str().map(str::to_ascii_lowercase).as_deref() {
            Some("/v") => "-v",
            Some("/f") => "-f",
            _ => continue,
        };
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
        Command::Enum(wanted) => run_enum(common, &wanted, output),
        Command::Set(set) => run_set(common, set, output),
        Command::Delete(delete) => run_delete(common, &delete, output),
    }
}

fn chosen(installation: &Installation) -> Result<&BootStore> {
    installation
        .boot
        .only(installation.partition, &installation.directory)
}

/// What the user should know before any change.
fn warnings(target: &Target, installation: &Installation, store: &BootStore) -> Vec<String> {
    let mut notes = Vec::new();
    for number in target.encrypted() {
        notes.push(format!(
            "partition {number} is encrypted with BitLocker; a change of its boot configuration can make it ask for the \
             recovery key, so have that at hand"
        ));
    }
    let boot = &installation.boot;
    notes.extend(boot.explain(store, installation.partition, &installation.directory));
    let judged = boot.judge(store, installation.partition, &installation.directory);
    if let Ok(judgement) = judged
        && judgement.loader.is_none()
        && !installation.directory.is_empty()
    {
        notes.push(format!(
            "{} does not start {}: {}",
            store.place,
            installation.describe(),
            judgement.reasons.join(", ")
        ));
    }
    notes
}

/// The element that a name means in an object.
fn element(kind: ObjectType, name: &str) -> Result<ElementType> {
    by_name(kind, name).ok_or_else(|| {
        Error::unsupported(
            format!(
                "{name:?}: the element data type specified is not recognized, or does not apply to the specified entry"
            ),
            "the names are those of bcdedit /set for this kind of entry; any element can be written by its number, as \
             custom:26000022",
        )
    })
}

fn run_set(common: &Common, set: Set, output: &mut Output) -> anyhow::Result<u8> {
    let mut session = Session::open(common, &set.writing, &set.target)?;
    let installation = session.target.boot_installation(common.partition)?;
    let store = chosen(&installation)?;
    let content = store.store()?;
    let mut notes = warnings(&session.target, &installation, store);
    let place = store.place.clone();
    let edit = |object: Uuid, change: BootChange| {
        Edit::Boot(BootEdit {
            store: place.clone(),
            object,
            change,
        })
    };
    let mut words = set.words;
    let first = words.first().map(String::as_str).unwrap_or_default();
    // What is in braces is an identifier, right or wrong; a bare word may be one or an element's name.
    let is_id = first.starts_with('{')
        || first.eq_ignore_ascii_case("current")
        || (words.len() > 2
            && content.resolve(first).is_ok()
            && by_name(ObjectType::LOADER, first).is_none());
    let id = match is_id {
        true => content.resolve(&words.remove(0))?,
        false => {
            notes.push("no identifier was given: {default} is meant".to_owned());
            content.resolve("{default}")?
        }
    };
    let mut edits = Vec::new();
    let kind = match (content.object(id), well_known(id)) {
        (Some(object), _) => object.kind,
        // Settings with a name are made when they are first set, as bcdedit /emssettings does.
        (None, Some(known)) if known.kind == ObjectType::INHERITED => {
            edits.push(edit(
                id,
                BootChange::CreateObject {
                    object_type: known.kind,
                },
            ));
            known.kind
        }
        (None, _) => content.find(&braced(id))?.kind,
    };
    if words.len() < 2 {
        return Err(Error::unsupported(
            "an element and its value are missing",
            "write `coldfix bcd set TARGET '{bootmgr}' timeout 5`",
        )
        .into());
    }
    let name = words.remove(0);
    let element = element(kind, &name)?;
    let value = Value::parse(kind, element, &words, &|text| content.resolve(text))?;
    for missing in dangling(&content, &value) {
        notes.push(format!("the store has no object {missing}"));
    }
    let (registry_type, data) = value.encode().ok_or_else(|| {
        Error::refused(
            format!("{name} cannot be written"),
            "set it with bcdedit on a Windows machine",
        )
    })?;
    edits.push(edit(
        id,
        BootChange::SetElement {
            object_type: kind,
            element,
            kind: registry_type,
            data: HexBytes(data),
        },
    ));
    let command = format!(
        "bcd set {} {} {}",
        content.identifier(id, false),
        shown_name(kind, element),
        words.join(" ")
    );
    session.change(installation, edits, &command, notes, output)
}

/// The objects that a value names and the store does not have.
fn dangling(content: &Store, value: &Value) -> Vec<String> {
    let ids = match value {
        Value::Object(id) => vec![*id],
        Value::ObjectList(ids) => ids.clone(),
        _ => Vec::new(),
    };
    let missing = ids.into_iter().filter(|id| content.object(*id).is_none());
    missing.map(|id| content.identifier(id, false)).collect()
}

fn run_delete(common: &Common, delete: &Delete, output: &mut Output) -> anyhow::Result<u8> {
    let mut session = Session::open(common, &delete.writing, &delete.target)?;
    let installation = session.target.boot_installation(common.partition)?;
    let store = chosen(&installation)?;
    let content = store.store()?;
    let notes = warnings(&session.target, &installation, store);
    let object = content.find(&delete.id)?;
    let place = store.place.clone();
    let edit = |object: Uuid, change: BootChange| {
        Edit::Boot(BootEdit {
            store: place.clone(),
            object,
            change,
        })
    };
    let identifier = content.identifier(object.id, false);
    let (edits, command) = match &delete.element {
        Some(name) => {
            let element = element(object.kind, name)?;
            let change = BootChange::DeleteElement {
                object_type: object.kind,
                element,
            };
            let name = shown_name(object.kind, element);
            (
                vec![edit(object.id, change)],
                format!("bcd delete {identifier} {name}"),
            )
        }
        None => {
            if let Some(known) = well_known(object.id).filter(|_| !delete.force) {
                return Err(Error::refused(
                    format!(
                        "{{{}}} has a name of its own; others count on it",
                        known.name
                    ),
                    "add -f to delete it nevertheless",
                )
                .into());
            }
            let mut edits: Vec<Edit> = references(&content, object.id)
                .into_iter()
                .map(|(other, change)| edit(other, change))
                .collect();
            edits.push(edit(object.id, BootChange::DeleteObject));
            (edits, format!("bcd delete {identifier}"))
        }
    };
    session.change(installation, edits, &command, notes, output)
}

/// The changes that take every reference to an object out of the others, as `bcdedit /delete` does.
fn references(content: &Store, id: Uuid) -> Vec<(Uuid, BootChange)> {
    let mut changes = Vec::new();
    for object in content.objects.iter().filter(|object| object.id != id) {
        for element in object.elements.keys().copied() {
            let object_type = object.kind;
            let delete = BootChange::DeleteElement {
                object_type,
                element,
            };
            match object.value(element) {
                Some(Value::Object(other)) if other == id => changes.push((object.id, delete)),
                Some(Value::ObjectList(ids)) if ids.contains(&id) => {
                    let left: Vec<Uuid> = ids.into_iter().filter(|other| *other != id).collect();
                    let change = match Value::ObjectList(left.clone()).encode() {
                        Some((kind, data)) if !left.is_empty() => BootChange::SetElement {
                            object_type,
                            element,
                            kind,
                            data: HexBytes(data),
                        },
                        _ => delete,
                    };
                    changes.push((object.id, change));
                }
                _ => {}
            }
        }
    }
    changes
}
