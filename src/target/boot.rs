// SPDX-License-Identifier: GPL-2.0-or-later
//! The boot configuration stores of the target, or the one that the user named.

use std::path::Path;
use std::sync::Arc;

use crate::edit::StorePlace;
use crate::error::{Error, Result};
use crate::partition::Scheme;
use crate::volume::Volume;
use crate::volume::mounted::MountedFolder;
use crate::windows::Installation;
use crate::windows::boot::{BIOS_STORE, Boot, BootStore, BootVolume, UEFI_STORE};

use super::Target;

impl Target {
    /// Names the boot configuration store to work with: `PARTITION:PATH` on a disk; in a folder a path in it, or a file
    /// or folder of the host outside it.
    pub fn set_store(&mut self, store: Option<&str>) {
        self.store = store.map(str::to_owned);
    }

    /// The boot configuration stores.
    ///
    /// # Errors
    /// `Unsupported` when the store that the user named is not there.
    pub fn boot(&self) -> Result<Boot> {
        let volumes = self.volumes.iter().filter_map(|opened| {
            let volume = opened.volume.as_ref()?.as_ref().ok()?;
            Some(BootVolume {
                partition: opened.partition.clone(),
                volume: Arc::clone(volume),
            })
        });
        let table = self.disk.as_ref().map(|disk| &disk.table);
        let mut boot = Boot::new(volumes.collect(), table);
        let Some(given) = &self.store else {
            return Ok(boot);
        };
        let numbered = given
            .split_once(':')
            .and_then(|(number, path)| Some((number.parse::<u32>().ok()?, path)));
        let place = match (&self.folder, numbered) {
            (None, Some((number, path))) => Some((Some(number), path)),
            (None, None) => None,
            (Some(folder), _) if matches!(folder.entry(given), Ok(Some(_))) => {
                Some((None, given.as_str()))
            }
            (Some(_), _) => {
                boot.set_given(outside(given)?);
                return Ok(boot);
            }
        };
        let (partition, path) = place.ok_or_else(|| {
            Error::unsupported(
                format!("--bcd {given}: on a disk a store is named by partition and path"),
                r"write --bcd PARTITION:PATH, such as --bcd '1:\EFI\Microsoft\Boot\BCD'",
            )
        })?;
        let parts: Vec<&str> = path
            .split(['/', '\\'])
            .filter(|part| !part.is_empty())
            .collect();
        boot.choose_given(&StorePlace {
            partition,
            path: parts.join("/"),
        })?;
        Ok(boot)
    }

    /// The installation whose boot configuration is meant. Where no single one is, a store is enough: the volume that
    /// holds it stands for the installation.
    pub fn boot_installation(&self, wanted: Option<u32>) -> Result<Installation> {
        let error = match self.installation(wanted) {
            Ok(installation) => return Ok(installation),
            Err(error) if wanted.is_some() => return Err(error),
            Err(error) => error,
        };
        let boot = self.boot()?;
        let Some(store) = boot.stores().first() else {
            return Err(error);
        };
        let partition = store.place.partition;
        let mut installation = Installation::without_windows(Arc::clone(&store.volume), partition);
        installation.boot = boot;
        Ok(installation)
    }

    /// `uefi` when there is an EFI system partition, `bios` for an MBR disk without one.
    pub fn firmware(&self) -> Option<&'static str> {
        let table = &self.disk.as_ref()?.table;
        let has_esp = table
            .partitions
            .iter()
            .any(|partition| partition.type_name.contains("EFI system"));
        match table.scheme {
            Scheme::Bare => None,
            Scheme::Gpt => Some("uefi"),
            Scheme::Mbr => Some(if has_esp { "uefi" } else { "bios" }),
        }
    }
}

/// A store outside the target: a file of the host, or the one in a folder where a boot volume is mounted.
fn outside(given: &str) -> Result<BootStore> {
    let path = Path::new(given);
    let metadata =
        std::fs::metadata(path).map_err(Error::io(format!("looking for --bcd {given}")))?;
    let (folder, names) = match (metadata.is_dir(), path.parent(), path.file_name()) {
        (true, ..) => (path, vec![UEFI_STORE.to_owned(), BIOS_STORE.to_owned()]),
        (false, Some(parent), Some(name)) => {
            let parent = match parent.as_os_str().is_empty() {
                true => Path::new("."),
                false => parent,
            };
            (parent, vec![name.to_string_lossy().into_owned()])
        }
        (false, ..) => (path, Vec::new()),
    };
    let volume: Arc<dyn Volume> = Arc::new(MountedFolder::open(folder)?);
    let mut found = names
        .iter()
        .filter_map(|name| BootStore::outside(&volume, name, given));
    found.next().ok_or_else(|| {
        Error::unsupported(
            format!("--bcd {given}: there is no boot configuration store"),
            "name the file called BCD, or the folder where its volume is mounted",
        )
    })
}
