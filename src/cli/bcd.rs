// SPDX-License-Identifier: GPL-2.0-or-later
//! `coldfix bcd`: the boot configuration of an offline installation, as bcdedit reads and writes it.
//!
//! The target comes first; names, identifiers and values are bcdedit's. `{current}` does not exist offline, and an
//! identifier that is left out means `{default}` instead, which is said. Which store is meant is found out: the only
//! one, else the one that starts the installation, else the one that `--bcd` names.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;
use uuid::Uuid;

use super::opening;
use super::operation::Session;
use super::output::Output;
use super::{Common, HEALTHY, Writing};
use crate::bcd::elements::{by_name, shown_name};
use crate::bcd::format::{braced, well_known};
use crate::bcd::text::{Selection, View, heading};
use crate::bcd::{ElementType, Object, ObjectType, Store, Value};
use crate::edit::{BootChange, BootEdit, Edit, HexBytes, StorePlace};
use crate::error::{Error, Result};
use crate::report::text;
use crate::target::Target;
use crate::windows::value::printable;
use crate::windows::{BootStore, Installation};

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
struct Enum {
    /// Disk or volume image, block device or folder
    target: PathBuf,
    /// active, all, firmware, bootapp, bootmgr, osloader, resume, inherit, or an identifier such as '{bootmgr}'
    #[arg(default_value = "active")]
    what: String,
    /// GUIDs instead of names, and hidden elements
    #[arg(short = 'v')]
    verbose: bool,
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

/// A listing, for programs.
#[derive(Serialize)]
struct Listing {
    schema: &'static str,
    target: String,
    stores: Vec<StoreListing>,
}

#[derive(Serialize)]
struct StoreListing {
    store: StorePlace,
    /// The one that `set` and `delete` change.
    chosen: bool,
    /// The entry that starts the installation.
    loader: Option<String>,
    /// What speaks against the store or its loaders.
    reasons: Vec<String>,
    objects: Vec<ObjectListing>,
    notes: Vec<String>,
    /// Which installation it starts, for the summary.
    #[serde(skip)]
    starts: String,
    /// How many objects the store has.
    #[serde(skip)]
    entries: u64,
}

#[derive(Serialize)]
struct ObjectListing {
    identifier: String,
    guid: String,
    #[serde(rename = "type")]
    kind: ObjectType,
    heading: String,
    elements: Vec<ElementListing>,
}

#[derive(Serialize)]
struct ElementListing {
    name: String,
    element: ElementType,
    values: Vec<String>,
    #[serde(rename = "type")]
    kind: u32,
    data: HexBytes,
}

fn run_enum(common: &Common, wanted: &Enum, output: &mut Output) -> anyhow::Result<u8> {
    let target = common.with_store(opening::look(&wanted.target, None)?);
    let installation = target.boot_installation(common.partition)?;
    let boot = &installation.boot;
    // To look at, all of them; a change needs a choice.
    let (chosen, none) = match chosen(&installation) {
        Ok(store) => (Some(store), None),
        Err(error) if boot.stores().len() > 1 => (None, Some(error)),
        Err(error) => return Err(error.into()),
    };
    let others = boot.stores().iter().filter(|store| {
        let is_chosen = chosen.is_some_and(|chosen| chosen.place == store.place);
        !is_chosen
    });
    let stores: Vec<&BootStore> = chosen.into_iter().chain(others).collect();
    let mut listing = Listing {
        schema: "coldfix.bcd/1",
        target: wanted.target.display().to_string(),
        stores: Vec::new(),
    };
    let mut summaries = Vec::new();
    let mut failure = None;
    for store in &stores {
        let looked = look_at(store, wanted, &installation);
        let (listed, text) = match looked {
            Ok(looked) => looked,
            // One bad store does not hide the others.
            Err(error) if stores.len() > 1 => {
                let place = &store.place;
                if output.is_text() {
                    let error = error.to_string();
                    output.text(&format!(
                        "\nStore    {place}\n\nnote: {}\n",
                        printable(&error)
                    ))?;
                }
                summaries.push(format!("{place}: nothing shown"));
                failure.get_or_insert(error);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if output.is_text() {
            if stores.len() > 1 {
                let state = match chosen {
                    Some(chosen) if chosen.place == store.place => "  (the one that is changed)",
                    _ => "",
                };
                output.text(&format!("\nStore    {}{state}\n", store.place))?;
            }
            output.text(&text)?;
            for note in listed.reasons.iter().chain(&listed.notes) {
                output.text(&format!("\nnote: {}\n", printable(note)))?;
            }
        }
        summaries.push(format!(
            "{} of {} in {}; {}",
            listed.objects.len(),
            text::count(listed.entries, "entry").replace("entrys", "entries"),
            store.place,
            listed.starts
        ));
        listing.stores.push(StoreListing {
            chosen: chosen.is_some_and(|chosen| chosen.place == store.place),
            ..listed
        });
    }
    if let Some(error) = failure
        && listing.stores.is_empty()
    {
        return Err(error.into());
    }
    if output.is_text() {
        let choice = match (chosen, none) {
            (Some(store), _) => {
                boot.explain(store, installation.partition, &installation.directory)
            }
            (None, none) => none.map(|error| {
                let hint = error.hint().unwrap_or_default().to_owned();
                format!("none of them is taken for a change: {error}; {hint}")
            }),
        };
        if let Some(choice) = choice {
            output.text(&format!("\nnote: {}\n", printable(&choice)))?;
        }
        let summary = format!("{}: {}", wanted.target.display(), summaries.join("; "));
        output.text(&format!("\n{}\n", text::shorten(&summary)))?;
    } else {
        output.json(&listing)?;
    }
    Ok(HEALTHY)
}

/// What is shown of one store: for programs, and the paragraphs of its entries.
fn look_at(
    store: &BootStore,
    wanted: &Enum,
    installation: &Installation,
) -> Result<(StoreListing, String)> {
    let boot = &installation.boot;
    let content = store.store()?;
    let selection = match Selection::by_name(&wanted.what) {
        Some(selection) => selection,
        None => Selection::One(content.find(&wanted.what)?.id),
    };
    let view = View {
        store: &content,
        verbose: wanted.verbose,
        number: &|id| boot.number(id),
    };
    let objects = content.select(&selection);
    let mut judgement = boot.judge(store, installation.partition, &installation.directory)?;
    if installation.directory.is_empty() {
        // There is nothing that a loader could be compared with.
        judgement.loader = None;
        judgement.reasons.clear();
    }
    let starts = match judgement.loader {
        Some(loader) if store.unreached.is_none() => format!(
            "{} starts {}",
            content.identifier(loader, false),
            installation.describe()
        ),
        _ if installation.directory.is_empty() => "no single installation to start".to_owned(),
        _ => format!("does not start {}", installation.describe()),
    };
    let mut text = String::new();
    for object in &objects {
        let paragraph = view.paragraph(object);
        let lines: Vec<_> = paragraph.lines().map(printable).collect();
        text.push_str(&lines.join("\n"));
        text.push('\n');
    }
    let listing = StoreListing {
        store: store.place.clone(),
        chosen: false,
        loader: judgement.loader.map(braced),
        reasons: judgement.reasons,
        objects: objects
            .iter()
            .map(|object| object_listing(object, &view))
            .collect(),
        notes: content.notes.clone(),
        starts,
        entries: content.objects.len() as u64,
    };
    Ok((listing, text))
}

fn object_listing(object: &Object, view: &View<'_>) -> ObjectListing {
    ObjectListing {
        identifier: view.store.identifier(object.id, false),
        guid: braced(object.id),
        kind: object.kind,
        heading: heading(object),
        elements: view
            .elements(object)
            .into_iter()
            .filter_map(|shown| {
                let stored = object.elements.get(&shown.element)?;
                Some(ElementListing {
                    name: shown.name,
                    element: shown.element,
                    values: shown.values,
                    kind: stored.kind,
                    data: HexBytes(stored.data.clone()),
                })
            })
            .collect(),
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
