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
//! it starts an installation when firmware comes to it and one of its loaders names that volume and folder. Loaders of
//! Windows PE and of RAM disks are passed over. Where the volumes' identity is not known (a folder, a volume without
//! its disk), the folder alone decides.
//!
//! Stores are looked for when they are first asked for, on every volume: two look-ups each.

use std::cell::OnceCell;
use std::sync::Arc;

use uuid::Uuid;

use crate::bcd::format::{element, parse_guid};
use crate::bcd::{Device, Object, ObjectType, PartitionId, Store, Value};
use crate::edit::StorePlace;
use crate::error::{Error, Result};
use crate::partition::{Partition, Scheme, Table};
use crate::volume::{EntryKind, Volume};

use super::HiveFile;

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

/// A store that was found.
#[derive(Debug)]
pub struct BootStore {
    /// Where.
    pub place: StorePlace,
    /// The volume it lies on.
    pub volume: Arc<dyn Volume>,
    /// Why no firmware comes to it; `None` when one does, or when it is not known.
    pub unreached: Option<String>,
    /// Its file with its logs, or why that cannot be read.
    pub file: Result<HiveFile>,
    /// Lies outside the target, so that it can be read and not changed.
    pub outside: bool,
    /// Path on its volume.
    path: String,
}

impl BootStore {
    fn load(
        place: StorePlace,
        volume: &Arc<dyn Volume>,
        unreached: Option<String>,
    ) -> Option<BootStore> {
        let file = match open(volume.as_ref(), &place.path) {
            Ok(None) => return None,
            Ok(Some(file)) => Ok(file),
            Err(error) => Err(error),
        };
        Some(BootStore {
            path: place.path.clone(),
            place,
            volume: Arc::clone(volume),
            unreached,
            file,
            outside: false,
        })
    }

    /// A store outside the target: the file at `path` of a folder of the host, shown as `shown`.
    pub fn outside(volume: &Arc<dyn Volume>, path: &str, shown: &str) -> Option<BootStore> {
        let place = StorePlace {
            partition: None,
            path: path.to_owned(),
        };
        let mut store = BootStore::load(place, volume, None)?;
        shown.clone_into(&mut store.place.path);
        store.path = path.to_owned();
        store.outside = true;
        Some(store)
    }

    /// The store's content.
    ///
    /// # Errors
    /// Why it cannot be read, with its place.
    pub fn store(&self) -> Result<Store> {
        let place = || self.place.to_string();
        match &self.file {
            Ok(file) => Store::read(&file.hive).map_err(|error| error.context(place())),
            // Read again, because the stored error is not ours to give away.
            Err(_) => match open(self.volume.as_ref(), &self.path) {
                Err(error) => Err(error.context(place())),
                Ok(_) => Err(Error::refused(
                    format!("{} changed while it was being read", self.place),
                    "make sure that nothing else writes to the target, then try again",
                )),
            },
        }
    }

    /// The file to edit.
    pub fn editable(&mut self) -> Result<&mut HiveFile> {
        if self.outside {
            return Err(Error::refused(
                format!("{} lies outside the target", self.place.path),
                "nothing was changed; give the folder that holds the store as the target, for example \
                 `coldfix bcd set FOLDER '{bootmgr}' bootems yes`",
            ));
        }
        self.store()?;
        match &mut self.file {
            Ok(file) => {
                file.check_editable()?;
                Ok(file)
            }
            Err(error) => Err(Error::refused(
                format!("{} cannot be read: {error}", self.place),
                "restore it, for example with bcdboot on a Windows machine",
            )),
        }
    }
}

/// What a store has for an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The loader that starts it, where there is one.
    pub loader: Option<Uuid>,
    /// The store's default entry is this loader.
    pub is_default: bool,
    /// What speaks against the store or its loaders, in plain words.
    pub reasons: Vec<String>,
}

/// The stores of a target. See the module.
#[derive(Debug, Default)]
pub struct Boot {
    volumes: Vec<BootVolume>,
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
                    let unreached = self.unreached(volume, path);
                    found.extend(BootStore::load(place, &volume.volume, unreached));
                }
            }
            found
        })
    }

    /// Why no firmware starts the boot manager beside a store at `path`.
    fn unreached(&self, volume: &BootVolume, path: &str) -> Option<String> {
        let partition = volume.partition.as_ref()?;
        // A volume without its disk does not tell.
        if self.ids.is_empty() {
            return None;
        }
        let number = partition.number;
        if path == UEFI_STORE {
            let is_esp = partition.type_name.contains("EFI system");
            return (!is_esp).then(|| format!("partition {number} is no EFI system partition"));
        }
        (!partition.active)
            .then(|| format!("partition {number} is not active, so that no BIOS starts from it"))
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

    /// Which of a store's loaders starts the Windows in `directory` on `partition`, and what speaks against it.
    pub fn judge(
        &self,
        store: &BootStore,
        partition: Option<u32>,
        directory: &str,
    ) -> Result<Judgement> {
        let content = store.store()?;
        let mut judgement = Judgement {
            loader: None,
            is_default: false,
            reasons: store.unreached.iter().cloned().collect(),
        };
        let default = content.default_entry().map(|entry| entry.id);
        let mut candidates: Vec<&Object> = content
            .objects
            .iter()
            .filter(|object| is_windows_loader(object))
            .collect();
        // The default first: it is what starts when nobody chooses.
        candidates.sort_by_key(|object| Some(object.id) != default);
        if candidates.is_empty() {
            judgement
                .reasons
                .push("it has no Windows boot loader".to_owned());
        }
        for loader in candidates {
            match self.mismatch(&content, store, loader, partition, directory) {
                None => {
                    judgement.loader = Some(loader.id);
                    judgement.is_default = Some(loader.id) == default;
                    break;
                }
                Some(why) => judgement.reasons.push(format!(
                    "its loader {}: {why}",
                    content.identifier(loader.id, false)
                )),
            }
        }
        Ok(judgement)
    }

    /// Why a loader does not start this Windows.
    fn mismatch(
        &self,
        content: &Store,
        store: &BootStore,
        loader: &Object,
        partition: Option<u32>,
        directory: &str,
    ) -> Option<String> {
        let root = content.effective(loader, element::SYSTEM_ROOT);
        let root = match root {
            Some((_, Value::Text(root))) => root,
            _ => return Some("it has no systemroot".to_owned()),
        };
        let folder = root.trim_matches('\\');
        if !folder.eq_ignore_ascii_case(directory) {
            return Some(format!("its systemroot is {root}, not \\{directory}"));
        }
        for (name, element) in [
            ("osdevice", element::OS_DEVICE),
            ("device", element::DEVICE),
        ] {
            let device = match content.effective(loader, element) {
                Some((_, Value::Device(device))) => device,
                _ => return Some(format!("it has no {name}")),
            };
            let why = match device {
                Device::Locate(_) => None,
                Device::Boot if store.place.partition == partition => None,
                Device::Boot => Some("the store's own volume".to_owned()),
                // Without a partition table there is nothing to compare with.
                Device::Partition(_) if self.ids.is_empty() => None,
                Device::Partition(id) => match self.number(id) {
                    number if number == partition && number.is_some() => None,
                    Some(number) => Some(format!("partition {number}")),
                    None => Some(format!("the partition {id}, which is not on this disk")),
                },
                Device::RamDisk { .. } => Some("a RAM disk".to_owned()),
                Device::Unknown { .. } => Some("not understood".to_owned()),
            };
            if let Some(why) = why {
                return Some(format!("its {name} is {why}"));
            }
        }
        None
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

    fn describe(&self) -> String {
        let places = self.stores().iter().map(|store| store.place.to_string());
        let places: Vec<String> = places.collect();
        match places.is_empty() {
            true => "none".to_owned(),
            false => places.join(", "),
        }
    }
}

/// The store's file with its logs; `None` when there is no such file.
fn open(volume: &dyn Volume, path: &str) -> Result<Option<HiveFile>> {
    /// Ours. Stores have some tens of KiB.
    const LARGEST: u64 = 64 << 20;
    match volume.entry(path)? {
        Some(entry) if entry.len > LARGEST => Err(Error::unsupported(
            format!(
                "{path} is {} bytes long, far more than a boot configuration store",
                entry.len
            ),
            "check that the path names the file you mean",
        )),
        _ => HiveFile::open(volume, path),
    }
}

/// A loader of an installed Windows: not of Windows PE, setup or recovery, which run from RAM disks.
fn is_windows_loader(object: &Object) -> bool {
    let is_ram_disk = |element| {
        matches!(
            object.value(element),
            Some(Value::Device(Device::RamDisk { .. }))
        )
    };
    object.kind == ObjectType::LOADER
        && !object.is_set(element::WIN_PE)
        && !is_ram_disk(element::OS_DEVICE)
        && !is_ram_disk(element::DEVICE)
}

/// `PLACE starts it with ...`, or what speaks against it.
fn describe(store: &BootStore, judgement: &Judgement) -> String {
    let reasons = judgement.reasons.join(", ");
    match (judgement.loader, reasons.as_str()) {
        (Some(_), "") => format!("{} does", store.place),
        (Some(_), reasons) => format!("{} would, but {reasons}", store.place),
        (None, reasons) => format!("{} does not: {reasons}", store.place),
    }
}

/// How a store names a partition of this table.
pub fn identity(table: &Table, partition: &Partition) -> Option<PartitionId> {
    match table.scheme {
        Scheme::Bare => None,
        Scheme::Gpt => Some(PartitionId::Gpt {
            partition: parse_guid(partition.id.as_deref()?)?,
            disk: parse_guid(table.disk_id.as_deref()?)?,
        }),
        Scheme::Mbr => Some(PartitionId::Mbr {
            offset: partition.offset,
            signature: u32::from_str_radix(table.disk_id.as_deref()?, 16).ok()?,
        }),
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
