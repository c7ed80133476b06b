// SPDX-License-Identifier: GPL-2.0-or-later
//! Plans: edits applied to an installation in memory, each with what it changes from what to what and with
//! the edits that take it back.
//!
//! ```text
//!   edits -> apply (the only caller of the hive's editors, and of the volume's for files) -> steps
//!         -> store (hives through the volume, into the overlay)   -> patches, for commit
//!   steps -> Plan (JSON)  -> reviewed by a person -> applied exactly, or refused
//!   steps -> inverse edits -> `undo --revert`, after Windows has run and moved things
//! ```

use serde::{Deserialize, Serialize};

use crate::edit::{Edit, HiveName, StorePlace, sha256, windows_path};
use crate::error::{Error, Result, ResultExt};
use crate::volume::Volume;
use crate::windows::{HiveFile, Installation};

mod boot;
mod file_content;
mod files;
mod key_security;
mod registry;
mod revert;
mod value_text;

pub(crate) use boot::key;
pub(crate) use files::{renamed, shown};
pub use revert::{Reverted, revert};
pub(crate) use value_text::value_text;

/// The `schema` of a saved plan.
pub const SCHEMA: &str = "coldfix.plan/1";

/// One edit with its consequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What is changed.
    pub edit: Edit,
    /// The fix or command that asked for it.
    pub reason: String,
    /// What is there before, for a person.
    pub before: String,
    /// What is there after, for a person.
    pub after: String,
    /// The edits that bring the old state back, in order. Empty when that cannot be expressed as edits.
    pub inverse: Vec<Edit>,
}

/// A file that a plan was made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The partition, where it is a file of another volume than that of Windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// Path on its volume.
    pub path: String,
    /// SHA-256 of the content, in hexadecimal digits.
    pub sha256: String,
}

/// A plan as it is saved for review.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`SCHEMA`].
    pub schema: String,
    /// The version of coldfix that made it.
    pub tool_version: String,
    /// GPT disk GUID, MBR signature or volume serial; `None` for a folder.
    pub disk_id: Option<String>,
    /// The partition; `None` for a folder.
    pub partition: Option<u32>,
    /// The Windows folder.
    pub windows_directory: String,
    /// The hive files and boot configuration stores, with their logs, as they were when the plan was made.
    pub files: Vec<Fingerprint>,
    /// What will be changed.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The plan for `steps` on an installation. Call it before the steps are stored.
    pub fn new(
        installation: &Installation,
        disk_id: Option<String>,
        tool_version: &str,
        steps: &[Step],
    ) -> Result<Plan> {
        Ok(Plan {
            schema: SCHEMA.to_owned(),
            tool_version: tool_version.to_owned(),
            disk_id,
            partition: installation.partition,
            windows_directory: installation.directory.clone(),
            files: fingerprints(installation, steps)?,
            steps: steps.to_vec(),
        })
    }

    /// Reads a saved plan.
    pub fn parse(text: &str) -> Result<Plan> {
        let plan: Plan = serde_json::from_str(text).map_err(|error| {
            Error::unsupported(
                format!("this is not a plan that coldfix wrote: {error}"),
                "make one with `coldfix repair TARGET --dry-run --plan-out FILE`",
            )
        })?;
        if plan.schema != SCHEMA {
            return Err(Error::unsupported(
                format!(
                    "the plan's schema is {:?}, this version reads {SCHEMA:?}",
                    plan.schema
                ),
                "make the plan again with this version",
            ));
        }
        Ok(plan)
    }

    /// `Err(Refused)` unless the target is the disk, or a folder, that the plan was made for.
    pub fn check_disk(&self, disk_id: Option<&str>) -> Result<()> {
        if self.disk_id.as_deref() == disk_id {
            return Ok(());
        }
        Err(refused(format!(
            "the plan was made for the disk {}, this is {}",
            self.disk_id.as_deref().unwrap_or("(a folder)"),
            disk_id.unwrap_or("(a folder)")
        )))
    }

    /// `Err(Refused)` unless the installation is still as it was when the plan was made.
    pub fn check_unchanged(&self, installation: &Installation) -> Result<()> {
        if self.partition != installation.partition {
            return Err(refused(
                "the plan was made for another partition".to_owned(),
            ));
        }
        if !self
            .windows_directory
            .eq_ignore_ascii_case(&installation.directory)
        {
            return Err(refused(format!(
                "the plan was made for the folder {}, this is {}",
                self.windows_directory, installation.directory
            )));
        }
        let now = fingerprints(installation, &self.steps)?;
        for planned in &self.files {
            if !now.contains(planned) {
                return Err(refused(format!(
                    "{} has changed since the plan was made",
                    planned.path.replace('/', "\\")
                )));
            }
        }
        if now.len() != self.files.len() {
            return Err(refused(
                "the hive's logs have changed since the plan was made".to_owned(),
            ));
        }
        Ok(())
    }
}

fn refused(what: String) -> Error {
    Error::refused(
        what,
        "make the plan again with --dry-run --plan-out, review it, then apply it",
    )
}

/// The hives that steps change.
fn hives_of(steps: &[Step]) -> Vec<HiveName> {
    HiveName::ALL
        .into_iter()
        .filter(|name| steps.iter().any(|step| step.edit.hive() == Some(*name)))
        .collect()
}

/// The stores that steps change.
fn stores_of(steps: &[Step]) -> Vec<StorePlace> {
    let mut places: Vec<StorePlace> = Vec::new();
    for place in steps.iter().filter_map(|step| step.edit.store()) {
        if !places.contains(place) {
            places.push(place.clone());
        }
    }
    places
}

/// A hive file that steps change, and the volume it lies on.
#[derive(Debug)]
pub struct Touched<'a> {
    /// The file.
    pub file: &'a HiveFile,
    /// Its volume.
    pub volume: &'a dyn Volume,
    /// The volume's partition.
    pub partition: Option<u32>,
    /// It is a boot configuration store.
    pub is_store: bool,
}

/// The hive files that steps change: those of the registry, then boot configuration stores.
pub fn touched<'a>(installation: &'a Installation, steps: &[Step]) -> Result<Vec<Touched<'a>>> {
    let mut found = Vec::new();
    for name in hives_of(steps) {
        found.push(Touched {
            file: installation.registry.required(name)?,
            volume: installation.volume.as_ref(),
            partition: installation.partition,
            is_store: false,
        });
    }
    for place in stores_of(steps) {
        let store = installation.boot.store(&place)?;
        // Nothing else gives the error away that it has.
        store.store()?;
        if let Ok(file) = &store.file {
            found.push(Touched {
                file,
                volume: store.volume.as_ref(),
                partition: store.place.partition,
                is_store: true,
            });
        }
    }
    Ok(found)
}

fn fingerprints(installation: &Installation, steps: &[Step]) -> Result<Vec<Fingerprint>> {
    let mut fingerprints = Vec::new();
    for touched in touched(installation, steps)? {
        for path in touched.file.all_paths() {
            let content = touched.volume.read(&path, u64::MAX)?;
            fingerprints.push(Fingerprint {
                partition: touched.partition.filter(|_| touched.is_store),
                path,
                sha256: sha256(&content),
            });
        }
    }
    Ok(fingerprints)
}

/// `Err(Refused)` when the volume of Windows must not be written and one of `edits` would. A boot configuration store
/// lies on a volume of its own, which [`apply`] asks.
pub fn check_writable<'e>(
    installation: &Installation,
    edits: impl IntoIterator<Item = &'e Edit>,
) -> Result<()> {
    let mut edits = edits.into_iter();
    match edits.any(|edit| edit.store().is_none()) {
        true => installation
            .volume
            .check_writable()
            .context(|| installation.describe()),
        false => Ok(()),
    }
}

/// Applies edits: to the registry and to boot configuration stores in memory, to files through the volume (into the
/// overlay). Edits that change nothing yield no step.
///
/// `edits` are pairs of edit and reason; `now` is a FILETIME. On an error the installation is half edited and
/// must be dropped.
pub fn apply(
    installation: &mut Installation,
    edits: &[(Edit, String)],
    now: u64,
) -> Result<Vec<Step>> {
    let mut stores: Vec<&StorePlace> = Vec::new();
    for place in edits.iter().filter_map(|(edit, _)| edit.store()) {
        if !stores.contains(&place) {
            installation.boot.check_writable(place)?;
            stores.push(place);
        }
    }
    let mut steps = Vec::new();
    for (edit, reason) in edits {
        let step = match edit {
            Edit::SetSecurity { groups } => {
                files::set_security(installation.volume.as_ref(), groups, reason, now)?
            }
            Edit::Rename { path, name } => {
                files::rename(installation.volume.as_ref(), path, name, reason, now)?
            }
            Edit::CopyFile { .. } => {
                file_content::copy(installation.volume.as_ref(), edit, reason, now)?
            }
            Edit::DeleteFile { path } => {
                file_content::delete(installation.volume.as_ref(), path, reason, now)?
            }
            Edit::CreateKey { hive, .. }
            | Edit::DeleteKey { hive, .. }
            | Edit::SetValue { hive, .. }
            | Edit::DeleteValue { hive, .. }
            | Edit::SetKeySecurity { hive, .. } => {
                registry::apply(&mut installation.registry, *hive, edit, reason, now)?
            }
            Edit::Boot(edit) => boot::apply(&mut installation.boot, edit, reason, now)?,
        };
        steps.extend(step);
    }
    check_apart(installation, &steps)?;
    Ok(steps)
}

/// Refuses to edit a hive and to replace, delete or rename its files in one operation: the edits are made on what is
/// in memory, which is no longer what lies under that name.
fn check_apart(installation: &Installation, steps: &[Step]) -> Result<()> {
    if !steps.iter().any(|step| step.edit.file().is_some()) {
        return Ok(());
    }
    for touched in touched(installation, steps)? {
        if touched.partition != installation.partition {
            continue;
        }
        for path in touched.file.all_paths() {
            let changed = steps.iter().filter_map(|step| step.edit.file());
            // A folder that is renamed takes its files along.
            let mut above = changed.filter(|changed| lies_in(&path, changed));
            if above.next().is_some() {
                return Err(Error::refused(
                    format!(
                        "{} would be edited and be replaced or renamed in one operation",
                        windows_path(&path)
                    ),
                    "do one after the other: first what replaces or renames it, then the rest in a run of its own",
                ));
            }
        }
    }
    Ok(())
}

/// Whether a path is another one, or that of something below it, without regard to case.
fn lies_in(path: &str, folder: &str) -> bool {
    let parts = |path: &str| -> Vec<String> {
        let parts = path.split(['/', '\\']).filter(|part| !part.is_empty());
        parts.map(str::to_lowercase).collect()
    };
    parts(path).starts_with(&parts(folder))
}

/// Writes the hives that steps changed to the volume (that is, into the overlay). `now` is a FILETIME.
pub fn store(installation: &mut Installation, steps: &[Step], now: u64) -> Result<()> {
    for name in hives_of(steps) {
        let volume = std::sync::Arc::clone(&installation.volume);
        installation
            .registry
            .editable(name)?
            .store(volume.as_ref(), now)?;
    }
    for place in stores_of(steps) {
        let store = installation.boot.store_mut(&place)?;
        let volume = std::sync::Arc::clone(&store.volume);
        store.editable()?.store(volume.as_ref(), now)?;
    }
    Ok(())
}
