// SPDX-License-Identifier: GPL-2.0-or-later
//! Finding Windows installations and telling their release.

use std::sync::Arc;

use serde::Serialize;

use crate::edit::HiveName;
use crate::error::{Error, Result};
use crate::volume::{EntryKind, Volume};

use super::boot::Boot;
use super::control_set::Select;
use super::registry::Registry;

/// How many folders at a volume's root are looked at: ours, far above what any root holds.
const MOST_ROOT_FOLDERS: usize = 4096;

/// A Windows folder on a volume.
#[derive(Debug)]
pub struct Installation {
    /// The partition's number; `None` in a mounted folder.
    pub partition: Option<u32>,
    /// The Windows folder as it is spelt on the disk, such as `Windows`.
    pub directory: String,
    /// The volume it lies on.
    pub volume: Arc<dyn Volume>,
    /// Its registry.
    pub registry: Registry,
    /// The boot configuration stores that may start it. Empty until its target gives them.
    pub boot: Boot,
}

/// What the registry says of the installed release. Everything is as found; nothing is guessed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Release {
    /// `Windows Server 2022 Datacenter`.
    pub product_name: Option<String>,
    /// `ServerDatacenter`, `Professional`, `Core`.
    pub edition: Option<String>,
    /// Build and update level, `20348.2582`.
    pub build: Option<String>,
    /// `24H2`, `1809`: the release's own name, since Windows 10.
    pub display_version: Option<String>,
    /// `Client`, `Server`, `Server Core`.
    pub installation_type: Option<String>,
    /// The computer's name.
    pub computer_name: Option<String>,
}

/// All installations on a volume: every folder at its root that holds `System32\config`.
pub fn find(volume: &Arc<dyn Volume>, partition: Option<u32>) -> Result<Vec<Installation>> {
    let mut found = Vec::new();
    let folders = volume
        .list("")?
        .into_iter()
        .filter(|entry| entry.kind == EntryKind::Directory)
        .take(MOST_ROOT_FOLDERS);
    for folder in folders {
        let config = format!("{}/System32/config", folder.name);
        // A folder that cannot be walked is no installation that could be repaired; the volume's own
        // faults are reported by its state and its check.
        let Ok(Some(entry)) = volume.entry(&config) else {
            continue;
        };
        if entry.kind == EntryKind::Directory {
            found.push(Installation {
                partition,
                directory: folder.name.clone(),
                volume: Arc::clone(volume),
                registry: Registry::new(Arc::clone(volume), config),
                boot: Boot::default(),
            });
        }
    }
    Ok(found)
}

impl Installation {
    /// A volume without Windows, for those who want its files only: every hive is absent.
    pub fn without_windows(volume: Arc<dyn Volume>, partition: Option<u32>) -> Installation {
        Installation {
            partition,
            directory: String::new(),
            registry: Registry::new(Arc::clone(&volume), "Windows/System32/config"),
            boot: Boot::default(),
            volume,
        }
    }

    /// Its control sets.
    pub fn select(&self) -> Result<Select> {
        Select::read(&self.registry)
    }

    /// What the registry says of the release.
    pub fn release(&self) -> Release {
        const VERSION: &str = r"Microsoft\Windows NT\CurrentVersion";
        let text = |name: &str| {
            self.registry
                .text(HiveName::Software, VERSION, name)
                .found()
                .filter(|text| !text.is_empty())
        };
        let build = text("CurrentBuild")
            .or_else(|| text("CurrentBuildNumber"))
            .map(|build| {
                match self
                    .registry
                    .dword(HiveName::Software, VERSION, "UBR")
                    .found()
                {
                    Some(revision) => format!("{build}.{revision}"),
                    None => build,
                }
            });
        let computer_name = self.select().ok().and_then(|select| {
            self.registry
                .text(
                    HiveName::System,
                    &select.next().path(r"Control\ComputerName\ComputerName"),
                    "ComputerName",
                )
                .found()
        });
        Release {
            product_name: text("ProductName"),
            edition: text("EditionID"),
            build,
            display_version: text("DisplayVersion").or_else(|| text("ReleaseId")),
            installation_type: text("InstallationType"),
            computer_name,
        }
    }

    /// The machine SID, `S-1-5-21-a-b-c`: from `SAM\Domains\Account`. `None` when SAM does not tell.
    pub fn machine_sid(&self) -> Option<String> {
        let domain = super::accounts::DOMAIN;
        let (_, value) = self.registry.raw(HiveName::Sam, domain, "V").found()?;
        let sid = crate::sam::machine_sid(&value).ok()?;
        Some(sid.to_string())
    }

    /// The build number alone, such as 20348; `None` when SOFTWARE does not tell.
    pub fn build_number(&self) -> Option<u32> {
        let release = self.release();
        let build = release.build?;
        build.split('.').next()?.parse().ok()
    }

    /// A one-line name for messages: `Windows on partition 3`.
    pub fn describe(&self) -> String {
        let directory = match self.directory.as_str() {
            "" => "a volume without Windows",
            directory => directory,
        };
        match self.partition {
            Some(number) => format!("{directory} on partition {number}"),
            None => directory.to_owned(),
        }
    }

    /// Checks that SYSTEM is there and can be read, because nothing works without it.
    pub fn check_usable(&self) -> Result<()> {
        self.registry
            .required(HiveName::System)
            .map(|_| ())
            .map_err(|error: Error| {
                let next = "restore SYSTEM from a backup; `coldfix diagnose` tells what copies of it Windows has kept";
                error.with_hint(self.describe(), next)
            })
    }
}
