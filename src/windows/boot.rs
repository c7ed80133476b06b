// SPDX-License-Identifier: GPL-2.0-or-later
//! The boot configuration stores of a disk, and which of them starts an installation.
//!
//! ```text
//! UEFI  firmware -> EFI system partition   \EFI\Microsoft\Boot\BCD
//! BIOS  boot record -> active partition    \Boot\BCD
//!       store -> {bootmgr} -> loader -> osdevice + systemroot = this installation?
//! ```
//!
//! A converted disk has two stores, a second Windows a loader of its own in the same one. So each store is judged:
//! it starts an installation when firmware comes to it (`firmware`) and one of its loaders names that volume and folder
//! (`judgement`). Loaders of Windows PE and of RAM disks are passed over. Where more than one store is left, none is
//! taken: the user names it.
//!
//! Stores are looked for when they are first asked for, on every volume: two look-ups each.

use std::cell::OnceCell;
use std::sync::Arc;

use crate::bcd::PartitionId;
use crate::edit::StorePlace;
use crate::error::{Error, Result};
use crate::partition::{Partition, Scheme, Table};
use crate::volume::{EntryKind, Volume};

mod firmware;
mod judgement;
mod store;

pub use firmware::identity;
pub use judgement::Judgement;
pub use store::BootStore;

use judgement::describe;

/// Where UEFI's boot manager has its store.
pub const UEFI_STORE: &str = "EFI/Microsoft/Boot/BCD";
/// Where the BIOS's boot manager has its store.
pub const BIOS_STORE: &str = "Boot/BCD";

/// A volume that may hold a store.
#[derive(Clone, Debug)]
pub struct BootVolume {
    /// Its partition; `None` for a mounted folder.
    pub partition: Option<Partition>,
    /// The volume.
    pub volume: Arc<dyn Volume>,
}

/// The stores of a target. See the module.
#[derive(Debug, Default)]
pub struct Boot {
    volumes: Vec<BootVolume>,
    /// How the disk is divided; `None` for a mounted folder.
    scheme: Option<Scheme>,
    /// What the store's devices are compared with: each partition's identity, and its number.
    ids: Vec<(PartitionId, u32)>,
    stores: OnceCell<Vec<BootStore>>,
}

impl Boot {
    /// The stores on these volumes, whose partitions are in `table`.
    pub fn new(volumes: Vec<BootVolume>, table: Option<&Table>) -> Boot {
        let ids = table.map_or_else(Vec::new, |table| {
            let partitions = table.partitions.iter();
            partitions
                .filter_map(|partition| Some((identity(table, partition)?, partition.number)))
                .collect()
        });
        Boot {
            volumes,
            scheme: table.map(|table| table.scheme),
            ids,
            ..Boot::default()
        }
    }

    /// Leaves only the store that the user names: `N:PATH` on a disk, a path from the volume's root in a folder.
    ///
    /// # Errors
    /// `Unsupported` when it is not there.
    pub fn choose_given(&mut self, given: &StorePlace) -> Result<()> {
        let found = self
            .volumes
            .iter()
            .find(|volume| number_of(volume) == given.partition)
            .and_then(|volume| BootStore::load(given.clone(), &volume.volume, None));
        let found = found.ok_or_else(|| {
            Error::unsupported(
                format!("there is no boot configuration store {given}"),
                format!(
                    "on a disk write --bcd PARTITION:PATH, such as --bcd '1:\\EFI\\Microsoft\\Boot\\BCD'; found: {}",
                    self.describe()
                ),
            )
        })?;
        self.set_given(found);
        Ok(())
    }

    /// Leaves only this store.
    pub fn set_given(&mut self, store: BootStore) {
        self.stores = OnceCell::from(vec![store]);
    }

    /// `Err(Refused)` with the reason when the store at this place must not be changed: because of its own volume, or
    /// because a Windows of this target is hibernated, which has the store open.
    pub fn check_writable(&self, place: &StorePlace) -> Result<()> {
        for volume in &self.volumes {
            if volume.volume.state().hibernated {
                let number = number_of(volume).map_or("the folder".to_owned(), |number| {
                    format!("partition {number}")
                });
                volume
                    .volume
                    .check_writable()
                    .map_err(|error| error.context(number))?;
            }
        }
        let store = self.store(place)?;
        store
            .volume
            .check_writable()
            .map_err(|error| error.context(place.to_string()))
    }

    /// Every store that was found, in the order of the partitions.
    pub fn stores(&self) -> &[BootStore] {
        self.stores.get_or_init(|| {
            let mut found = Vec::new();
            for volume in &self.volumes {
                for path in [UEFI_STORE, BIOS_STORE] {
                    let is_file = matches!(
                        volume.volume.entry(path),
                        Ok(Some(entry)) if entry.kind == EntryKind::File
                    );
                    if !is_file {
                        continue;
                    }
                    let place = StorePlace {
                        partition: number_of(volume),
                        path: path.to_owned(),
                    };
                    let unreached = self.scheme.zip(volume.partition.as_ref()).and_then(
                        |(scheme, partition)| firmware::unreached(scheme, partition, path),
                    );
                    found.extend(BootStore::load(place, &volume.volume, unreached));
                }
            }
            found
        })
    }

    /// The store at this place.
    pub fn store(&self, place: &StorePlace) -> Result<&BootStore> {
        let mut stores = self.stores().iter();
        stores
            .find(|store| same_place(&store.place, place))
            .ok_or_else(|| no_store(place))
    }

    /// The store at this place, to be changed.
    pub fn store_mut(&mut self, place: &StorePlace) -> Result<&mut BootStore> {
        // Finds them, when nobody has asked yet.
        self.stores();
        let stores = self.stores.get_mut().into_iter().flatten();
        stores
            .into_iter()
            .find(|store| same_place(&store.place, place))
            .ok_or_else(|| no_store(place))
    }

    /// True when the target has a partition table: what its stores name can be compared, and a missing one is told.
    pub fn knows_partitions(&self) -> bool {
        !self.ids.is_empty()
    }

    /// A partition's number on this disk, by what a store calls it.
    pub fn number(&self, id: PartitionId) -> Option<u32> {
        let mut ids = self.ids.iter();
        ids.find(|(known, _)| *known == id)
            .map(|(_, number)| *number)
    }

    /// The one store that starts this Windows, and its loader.
    ///
    /// # Errors
    /// `Refused`, listing the stores with what speaks against each, when none does or several do.
    pub fn find(&self, partition: Option<u32>, directory: &str) -> Result<(&BootStore, Judgement)> {
        let mut found = Vec::new();
        let mut told = Vec::new();
        for store in self.stores() {
            match self.judge(store, partition, directory) {
                Ok(judgement) => {
                    told.push(describe(store, &judgement));
                    if judgement.loader.is_some() && store.unreached.is_none() {
                        found.push((store, judgement));
                    }
                }
                Err(error) => told.push(error.to_string()),
            }
        }
        if found.len() > 1 {
            return Err(Error::refused(
                format!(
                    "several boot configuration stores start it: {}",
                    told.join("; ")
                ),
                "choose one with --bcd PARTITION:PATH",
            ));
        }
        found.pop().ok_or_else(|| match told.is_empty() {
            true => no_store_at_all(),
            false => Error::refused(
                format!(
                    "no boot configuration store starts {directory}: {}",
                    told.join("; ")
                ),
                "mend its device and osdevice with bcdboot on a Windows machine first, or name a store with --bcd \
                 PARTITION:PATH and change it with `coldfix bcd set`",
            ),
        })
    }

    /// The store to show and change when no one installation decides: the named one, the one that starts the
    /// installation, or the only one.
    pub fn only(&self, partition: Option<u32>, directory: &str) -> Result<&BootStore> {
        match self.stores() {
            [one] => Ok(one),
            [] => Err(no_store_at_all()),
            _ => match self.find(partition, directory) {
                Ok((store, _)) => Ok(store),
                Err(error) if directory.is_empty() => Err(Error::refused(
                    format!("several boot configuration stores: {}", self.describe()),
                    "choose one with --bcd PARTITION:PATH",
                )
                .context(error.to_string())),
                Err(error) => Err(error),
            },
        }
    }

    /// Why of several stores this one is taken for a Windows: what speaks against the others. `None` where there is only
    /// one.
    pub fn explain(
        &self,
        chosen: &BootStore,
        partition: Option<u32>,
        directory: &str,
    ) -> Option<String> {
        if self.stores().len() < 2 || directory.is_empty() {
            return None;
        }
        let mut told = vec![format!(
            "{} is taken, which starts this Windows",
            chosen.place
        )];
        let others = self.stores().iter();
        let others = others.filter(|store| !same_place(&store.place, &chosen.place));
        told.extend(
            others.map(|store| match self.judge(store, partition, directory) {
                Ok(judgement) => describe(store, &judgement),
                Err(error) => error.to_string(),
            }),
        );
        Some(told.join("; "))
    }

    fn describe(&self) -> String {
        let places = self.stores().iter().map(|store| store.place.to_string());
        let places: Vec<String> = places.collect();
        match places.is_empty() {
            true => "none".to_owned(),
            false => places.join(", "),
        }
    }
}

fn number_of(volume: &BootVolume) -> Option<u32> {
    volume.partition.as_ref().map(|partition| partition.number)
}

/// Paths are the same in any case and with either separator.
fn same_place(one: &StorePlace, other: &StorePlace) -> bool {
    let parts = |place: &StorePlace| -> Vec<String> {
        let parts = place.path.split(['/', '\\']);
        parts
            .filter(|part| !part.is_empty())
            .map(str::to_lowercase)
            .collect()
    };
    one.partition == other.partition && parts(one) == parts(other)
}

fn no_store(place: &StorePlace) -> Error {
    Error::refused(
        format!("the boot configuration store {place} is not there"),
        "`coldfix bcd enum TARGET` shows the store that is",
    )
}

fn no_store_at_all() -> Error {
    Error::unsupported(
        "no boot configuration store was found: neither \\EFI\\Microsoft\\Boot\\BCD nor \\Boot\\BCD on any volume",
        "give the whole disk, not one volume of it; for a mounted folder name the folder of the boot volume with --bcd \
         PATH, or as the target; a store that is lost can be made anew with bcdboot on a Windows machine",
    )
}
