// SPDX-License-Identifier: GPL-2.0-or-later
//! What a store has for an installation: the loader that starts it, or what speaks against each.
//!
//! A loader starts a Windows when its device and osdevice are that partition, and its systemroot that folder. Where the
//! volumes' identity is not known (a folder, a volume without its disk), the folder alone decides.

use uuid::Uuid;

use super::Boot;
use super::store::BootStore;
use crate::bcd::format::element;
use crate::bcd::{Device, Object, ObjectType, Store, Value};
use crate::error::Result;

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

impl Boot {
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
                Device::File { .. } | Device::Vhd { .. } => Some("a virtual disk".to_owned()),
                Device::Unknown { .. } => Some("not understood".to_owned()),
            };
            if let Some(why) = why {
                return Some(format!("its {name} is {why}"));
            }
        }
        None
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

/// `PLACE starts it`, or what speaks against it.
pub(super) fn describe(store: &BootStore, judgement: &Judgement) -> String {
    let reasons = judgement.reasons.join(", ");
    match (judgement.loader, reasons.as_str()) {
        (Some(_), "") => format!("{} starts it", store.place),
        (Some(_), reasons) => format!("{} would start it, but {reasons}", store.place),
        (None, reasons) => format!("{} does not start it: {reasons}", store.place),
    }
}
