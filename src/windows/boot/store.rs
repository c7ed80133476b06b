// SPDX-License-Identifier: GPL-2.0-or-later
//! One boot configuration store: where it lies, its file with its logs, whether it can be read and changed.

use std::sync::Arc;

use crate::bcd::Store;
use crate::edit::StorePlace;
use crate::error::{Error, Result};
use crate::volume::Volume;
use crate::windows::HiveFile;

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
    pub(super) fn load(
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
