// SPDX-License-Identifier: GPL-2.0-or-later
//! The report: one type for every command that speaks of a target. Text, JSON and HTML print it.
//!
//! `docs/report.schema.json` publishes its shape; field names stay, new ones may come.
#![allow(clippy::arithmetic_side_effects)] // column and size arithmetic on what the layers below checked

use std::collections::BTreeMap;

use serde::Serialize;

use crate::checks::{CHECKS, Check, Diagnosis, Finding, Severity, TimelineEvent};
use crate::error::{Error, Kind};
use crate::partition::Table;
use crate::plan::Step;
use crate::target::Target;
use crate::windows::{Installation, Release};

pub mod catalogue;
pub mod clones;
pub mod html;
pub mod language;
mod summary;
pub mod text;
pub(crate) mod words;

pub use language::Language;
pub use summary::last_line;

/// The `schema` of a report.
pub const SCHEMA: &str = "coldfix.report/1";

/// The JSON Schema of [`Report`], as `docs/report.schema.json` publishes it.
pub fn schema() -> schemars::Schema {
    schemars::generate::SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<Report>()
}

/// What is said of one target.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Report {
    /// The name and version of this shape.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: &'static str,
    /// The version of coldfix that wrote it.
    pub tool_version: &'static str,
    /// What was looked at.
    pub target: TargetReport,
    /// The Windows installations on it.
    pub installations: Vec<InstallationReport>,
    /// The one word.
    pub verdict: Verdict,
    /// One sentence that tells what to do about; not there when nothing was judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// The checks that found nothing at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub healthy: Vec<HealthyCheck>,
    /// The checks that could not look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedCheck>,
    /// The commands that cure what was found, the most urgent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<CureCommand>,
    /// What the event logs tell of Remote Desktop, newest first; at most 200 events.
    pub events: Vec<TimelineEvent>,
    /// What was done, or with `--dry-run` would be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationReport>,
    /// Why there is nothing to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorReport>,
    /// What was noticed on the way, in plain words.
    pub notes: Vec<String>,
    /// How what was asked for lowers security, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lowers_security: Vec<String>,
}

/// The one word for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing prevents Remote Desktop, as far as it was checked.
    Healthy,
    /// Nothing prevents it for certain; something may.
    AtRisk,
    /// Something prevents it.
    Broken,
    /// It could not be judged.
    Error,
}

impl Verdict {
    /// The verdict that findings amount to. Notices do not count.
    pub fn of(findings: &[Finding]) -> Verdict {
        match findings.iter().map(|finding| finding.severity).max() {
            Some(Severity::Broken) => Verdict::Broken,
            Some(Severity::Risk) => Verdict::AtRisk,
            Some(Severity::Notice) | None => Verdict::Healthy,
        }
    }
}

/// A check that found nothing.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct HealthyCheck {
    /// Its id.
    pub id: &'static str,
    /// What it says is so.
    pub title: &'static str,
}

/// A check that could not look.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct SkippedCheck {
    /// Its id.
    pub id: &'static str,
    /// What it would say is so.
    pub title: &'static str,
    /// The hive that it needs, which is missing or cannot be used: `SYSTEM`.
    pub needs: &'static str,
}

/// A command that cures findings, or is the next step to a cure by hand.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct CureCommand {
    /// How bad the findings are that it cures; `notice` for one that only copies out what a cure by hand needs.
    pub severity: Severity,
    /// The ids of those findings.
    pub findings: Vec<&'static str>,
    /// The command as it can be typed.
    pub command: String,
}

/// The target.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct TargetReport {
    /// As the user named it.
    pub path: String,
    /// `raw`, `vhd-fixed`, `vhd-dynamic`, `vhd-differencing`, `vhdx-fixed`, `vhdx-dynamic`, `vhdx-differencing`,
    /// `folder`; `None` when it could not be opened.
    pub container: Option<String>,
    /// Length of the virtual disk in bytes; `None` for a folder.
    pub size: Option<u64>,
    /// Logical sector size in bytes.
    pub sector_size: Option<u32>,
    /// GPT disk GUID or MBR signature.
    pub disk_id: Option<String>,
    /// Its partitions.
    pub partitions: Vec<PartitionReport>,
}

/// A partition.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct PartitionReport {
    /// As the operating systems count them.
    pub number: u32,
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// What it holds.
    pub content: crate::partition::Content,
    /// Partition type.
    pub type_name: String,
    /// Partition name (GPT).
    pub name: Option<String>,
    /// What is known of the volume in it.
    pub volume: Option<crate::volume::State>,
    /// Why the volume cannot be opened.
    pub error: Option<String>,
}

/// An installation.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct InstallationReport {
    /// The partition; `None` in a folder.
    pub partition: Option<u32>,
    /// The Windows folder.
    pub windows_directory: String,
    /// What the registry says of the release.
    #[serde(flatten)]
    pub release: Release,
    /// The control set that Windows starts next.
    pub control_set: Option<u32>,
    /// The machine SID, `S-1-5-21-a-b-c`.
    pub machine_sid: Option<String>,
    /// `bios` or `uefi`, where the disk tells.
    pub boot: Option<&'static str>,
}

/// What was done.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct OperationReport {
    /// Its id; `None` with `--dry-run`.
    pub id: Option<String>,
    /// The edits.
    pub edits: Vec<EditReport>,
    /// How many ranges of the target they change.
    pub ranges: u64,
    /// How many bytes those hold.
    pub bytes: u64,
    /// How many permissions and names the file system of a mounted folder sets for us.
    pub host_operations: u64,
    /// The journal file.
    pub journal: Option<String>,
    /// True when everything was read back as intended.
    pub verified: bool,
}

/// One edit.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct EditReport {
    /// `create-key`, `delete-key`, `set-value`, `delete-value`, `set-key-security`, `set-security`, `rename`,
    /// `copy-file`, `delete-file`, `set-element`, `delete-element`, `create-object`, `delete-object`.
    pub kind: &'static str,
    /// The place.
    pub location: String,
    /// What was there.
    pub before: String,
    /// What is there.
    pub after: String,
    /// The fix or command that asked for it.
    pub reason: String,
}

impl EditReport {
    /// The report of one step.
    pub fn new(step: &Step) -> EditReport {
        use crate::edit::{BootChange, BootEdit, Edit};
        EditReport {
            kind: match step.edit {
                Edit::CreateKey { .. } => "create-key",
                Edit::DeleteKey { .. } => "delete-key",
                Edit::SetValue { .. } => "set-value",
                Edit::DeleteValue { .. } => "delete-value",
                Edit::SetKeySecurity { .. } => "set-key-security",
                Edit::SetSecurity { .. } => "set-security",
                Edit::Rename { .. } => "rename",
                Edit::CopyFile { .. } => "copy-file",
                Edit::DeleteFile { .. } => "delete-file",
                Edit::Boot(BootEdit { ref change, .. }) => match change {
                    BootChange::SetElement { .. } => "set-element",
                    BootChange::DeleteElement { .. } => "delete-element",
                    BootChange::CreateObject { .. } => "create-object",
                    BootChange::DeleteObject => "delete-object",
                },
            },
            location: step.edit.location(),
            before: step.before.clone(),
            after: step.after.clone(),
            reason: step.reason.clone(),
        }
    }
}

/// Why a target could not be judged.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct ErrorReport {
    /// The kind of failure.
    pub kind: Kind,
    /// What happened.
    pub message: String,
    /// The next step.
    pub hint: Option<String>,
}

impl ErrorReport {
    /// The report of an error.
    pub fn new(error: &Error) -> ErrorReport {
        ErrorReport {
            kind: error.kind(),
            message: error.to_string(),
            hint: error.hint().map(str::to_owned),
        }
    }
}

impl Report {
    /// A report of a target that was opened, without findings yet.
    pub fn new(target: &Target) -> Report {
        let table = target.disk.as_ref().map(|disk| &disk.table);
        Report {
            schema: SCHEMA,
            tool_version: env!("CARGO_PKG_VERSION"),
            target: TargetReport {
                path: target.path.display().to_string(),
                container: Some(target.container_name().to_owned()),
                size: target.disk.as_ref().map(|disk| disk.size),
                sector_size: table.map(|table: &Table| table.sector_size),
                disk_id: target.disk_id(),
                partitions: partitions(target),
            },
            installations: Vec::new(),
            verdict: Verdict::Healthy,
            summary: None,
            findings: Vec::new(),
            healthy: Vec::new(),
            skipped: Vec::new(),
            commands: Vec::new(),
            events: Vec::new(),
            operation: None,
            error: None,
            notes: target.notes.clone(),
            lowers_security: Vec::new(),
        }
    }

    /// The report of a target that could not be opened or judged.
    pub fn failed(path: &str, error: &Error) -> Report {
        let mut report = Report {
            schema: SCHEMA,
            tool_version: env!("CARGO_PKG_VERSION"),
            target: TargetReport {
                path: path.to_owned(),
                container: None,
                size: None,
                sector_size: None,
                disk_id: None,
                partitions: Vec::new(),
            },
            installations: Vec::new(),
            verdict: Verdict::Error,
            summary: None,
            findings: Vec::new(),
            healthy: Vec::new(),
            skipped: Vec::new(),
            commands: Vec::new(),
            events: Vec::new(),
            operation: None,
            error: Some(ErrorReport::new(error)),
            notes: Vec::new(),
            lowers_security: Vec::new(),
        };
        report.summary = Some(summary::sentence(&report, Language::English));
        report
    }

    /// Adds an installation.
    pub fn add_installation(&mut self, target: &Target, installation: &Installation) {
        self.installations.push(InstallationReport {
            partition: installation.partition,
            windows_directory: installation.directory.clone(),
            release: installation.release(),
            control_set: installation.select().ok().map(|select| select.default),
            machine_sid: installation.machine_sid(),
            boot: target.firmware(),
        });
    }

    /// Sets what a diagnosis came to, and the verdict.
    pub fn set_diagnosis(&mut self, diagnosis: Diagnosis) {
        let Diagnosis { findings, skipped } = diagnosis;
        self.verdict = Verdict::of(&findings);
        let is_healthy = |check: &Check| {
            !findings.iter().any(|finding| check.found(finding))
                && !skipped.iter().any(|(skipped, _)| skipped.id == check.id)
        };
        self.healthy = CHECKS
            .iter()
            .filter(|check| is_healthy(check))
            .map(|check| HealthyCheck {
                id: check.id,
                title: check.title,
            })
            .collect();
        self.skipped = skipped
            .iter()
            .map(|(check, hive)| SkippedCheck {
                id: check.id,
                title: check.title,
                needs: hive.file_name(),
            })
            .collect();
        self.findings = findings;
        self.summary = Some(summary::sentence(self, Language::English));
    }

    /// The checks that could not look, by the hive that they need.
    fn skipped_by_hive(&self) -> BTreeMap<&'static str, Vec<&'static str>> {
        let mut by_hive: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for check in &self.skipped {
            by_hive.entry(check.needs).or_default().push(check.title);
        }
        by_hive
    }

    /// The exit code that the report stands for.
    pub fn exit_code(&self) -> u8 {
        match (&self.error, self.verdict) {
            (Some(error), _) if error.kind == Kind::Refused => 3,
            (Some(_), _) | (None, Verdict::Error) => 2,
            (None, Verdict::Healthy) => 0,
            (None, Verdict::AtRisk | Verdict::Broken) => 1,
        }
    }
}

fn partitions(target: &Target) -> Vec<PartitionReport> {
    target
        .volumes
        .iter()
        .filter_map(|opened| {
            let partition = opened.partition.as_ref()?;
            let (volume, error) = match &opened.volume {
                Some(Ok(volume)) => (Some(volume.state().clone()), None),
                Some(Err(error)) => (None, Some(error.to_string())),
                None => (None, None),
            };
            Some(PartitionReport {
                number: partition.number,
                offset: partition.offset,
                len: partition.len,
                content: partition.content,
                type_name: partition.type_name.clone(),
                name: partition.name.clone(),
                volume,
                error,
            })
        })
        .collect()
}
