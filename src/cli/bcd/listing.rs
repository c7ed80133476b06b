// SPDX-License-Identifier: GPL-2.0-or-later
//! `coldfix bcd enum`: the entries of every store, as bcdedit /enum shows them.

use std::path::PathBuf;

use serde::Serialize;

use super::chosen;
use crate::bcd::format::braced;
use crate::bcd::text::{Selection, View, heading};
use crate::bcd::{ElementType, Object, ObjectType};
use crate::cli::output::Output;
use crate::cli::{Common, HEALTHY, opening};
use crate::edit::{HexBytes, StorePlace};
use crate::error::Result;
use crate::report::text;
use crate::windows::value::printable;
use crate::windows::{BootStore, Installation};

#[derive(Debug, clap::Args)]
pub(super) struct Enum {
    /// Disk or volume image, block device or folder
    target: PathBuf,
    /// active, all, firmware, bootapp, bootmgr, osloader, resume, inherit, or an identifier such as '{bootmgr}'
    #[arg(default_value = "active")]
    what: String,
    /// GUIDs instead of names, and hidden elements
    #[arg(short = 'v')]
    verbose: bool,
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

pub(super) fn run_enum(common: &Common, wanted: &Enum, output: &mut Output) -> anyhow::Result<u8> {
    let target = common.with_store(opening::look(&wanted.target, None, common.replays())?);
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
