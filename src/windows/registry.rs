// SPDX-License-Identifier: GPL-2.0-or-later
//! The registry of an installation: its hives, each loaded when it is first asked for.
//!
//! Reading a value has more than two outcomes, and merging them misleads: a value that is *absent* is
//! often healthy, one that is *malformed* (wrong type or length) or *unreadable* is reported and never
//! overwritten. [`Reading`] keeps them apart.

use std::sync::{Arc, OnceLock};

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use crate::bytes;
use crate::edit::{Edit, HexBytes, HiveName};
use crate::error::{Error, Result};
use crate::security::Descriptor;
use crate::volume::Volume;

use super::HiveFile;
use super::value;

/// What came of reading one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading<T> {
    /// It is there, with the right type and length.
    Found(T),
    /// The key is there, the value is not.
    NoValue,
    /// The key is not there.
    NoKey,
    /// It is there, but not of the type or length that Windows reads; the text shows it.
    Malformed(String),
    /// It could not be read; the text says why.
    Unreadable(String),
}

impl<T> Reading<T> {
    /// The value, when it was found.
    pub fn found(self) -> Option<T> {
        match self {
            Reading::Found(value) => Some(value),
            _ => None,
        }
    }

    /// True when there is certainly no such value.
    pub fn is_absent(&self) -> bool {
        matches!(self, Reading::NoValue | Reading::NoKey)
    }
}

#[derive(Debug)]
enum Slot {
    Absent,
    Loaded(Box<HiveFile>),
    Broken(Error),
}

/// The hives of one installation.
#[derive(Debug)]
pub struct Registry {
    volume: Arc<dyn Volume>,
    config: String,
    slots: [OnceLock<Slot>; HiveName::ALL.len()],
}

impl Registry {
    /// The registry whose hive files lie in the folder `config` of `volume`.
    pub fn new(volume: Arc<dyn Volume>, config: impl Into<String>) -> Registry {
        Registry {
            volume,
            config: config.into(),
            slots: Default::default(),
        }
    }

    /// Where on its volume a hive lies, or would.
    pub fn path(&self, name: HiveName) -> String {
        format!("{}/{}", self.config, name.file_name())
    }

    fn slot(&self, name: HiveName) -> &Slot {
        static NONE: Slot = Slot::Absent;
        let position = HiveName::ALL.iter().position(|hive| *hive == name);
        let Some(cell) = position.and_then(|position| self.slots.get(position)) else {
            return &NONE;
        };
        cell.get_or_init(
            || match HiveFile::load(self.volume.as_ref(), &self.config, name) {
                Ok(None) => Slot::Absent,
                Ok(Some(file)) => Slot::Loaded(Box::new(file)),
                Err(error) => Slot::Broken(error),
            },
        )
    }

    /// Loads all hives and checks their structure, side by side. What is asked for later is then at hand.
    pub fn load(&self) {
        HiveName::ALL.into_par_iter().for_each(|name| {
            if let Slot::Loaded(file) = self.slot(name) {
                file.faults();
            }
        });
    }

    /// Takes over the hives of `before`, a registry of the same files that was edited and stored since it was loaded.
    ///
    /// That the files hold what `before` has stored, and that nothing else was done to them, is for the caller to know.
    pub fn take(&mut self, before: Registry) {
        self.slots = before.slots;
        for slot in self.slots.iter_mut().filter_map(OnceLock::get_mut) {
            if let Slot::Loaded(file) = slot {
                file.settle();
            }
        }
    }

    /// The hive, `None` when there is no such file, or why it cannot be loaded.
    pub fn hive(&self, name: HiveName) -> Result<Option<&HiveFile>, &Error> {
        match self.slot(name) {
            Slot::Absent => Ok(None),
            Slot::Loaded(file) => Ok(Some(file)),
            Slot::Broken(error) => Err(error),
        }
    }

    /// The hive, which must be there.
    pub fn required(&self, name: HiveName) -> Result<&HiveFile> {
        match self.slot(name) {
            Slot::Loaded(file) => Ok(file),
            Slot::Absent => Err(self.missing(name)),
            // The stored error is kept for later readers; a caller that owns one reads again.
            Slot::Broken(_) => match HiveFile::load(self.volume.as_ref(), &self.config, name) {
                Err(error) => Err(error),
                Ok(_) => Err(Error::refused(
                    format!("hive {} changed while it was being read", name.file_name()),
                    "make sure that nothing else writes to the target, then try again",
                )),
            },
        }
    }

    /// The hive to edit, which must be there and sound.
    pub fn editable(&mut self, name: HiveName) -> Result<&mut HiveFile> {
        self.required(name)?.check_editable()?;
        let missing = self.missing(name);
        let position = HiveName::ALL.iter().position(|hive| *hive == name);
        let slot = position
            .and_then(|position| self.slots.get_mut(position))
            .and_then(OnceLock::get_mut);
        match slot {
            Some(Slot::Loaded(file)) => Ok(file),
            _ => Err(missing),
        }
    }

    fn missing(&self, name: HiveName) -> Error {
        Error::damaged(
            format!("folder {}", self.config.replace('/', "\\")),
            0,
            format!("the hive file {}", name.file_name()),
            "none",
        )
        .with_hint(
            "the Windows installation is incomplete",
            format!(
                "restore {} from a backup (System32\\config\\RegBack, a snapshot), then try again",
                name.file_name()
            ),
        )
    }

    /// Whether a key exists. Unreadable counts as an error, not as absent.
    pub fn has_key(&self, name: HiveName, key: &str) -> Result<bool, String> {
        match self.hive(name) {
            Err(error) => Err(error.to_string()),
            Ok(None) => Ok(false),
            Ok(Some(file)) => match file.hive.key(key) {
                Ok(found) => Ok(found.is_some()),
                Err(error) => Err(error.to_string()),
            },
        }
    }

    /// The security descriptor of a key; `None` when the key is absent.
    ///
    /// # Errors
    /// Why it cannot be read, in plain words.
    pub fn key_security(&self, name: HiveName, key: &str) -> Result<Option<Descriptor>, String> {
        let Some(file) = self.hive(name).map_err(Error::to_string)? else {
            return Ok(None);
        };
        let read = || -> Result<Option<Descriptor>> {
            let Some(key) = file.hive.key(key)? else {
                return Ok(None);
            };
            Descriptor::parse(key.security()?).map(Some)
        };
        read().map_err(|error| error.to_string())
    }

    /// When a key was last written: FILETIME. `None` when it is absent or unreadable.
    pub fn last_written(&self, name: HiveName, key: &str) -> Option<u64> {
        let file = self.hive(name).ok().flatten()?;
        let key = file.hive.key(key).ok().flatten()?;
        Some(key.last_written())
    }

    /// The names of a key's subkeys; empty when the key is absent or unreadable.
    pub fn subkey_names(&self, name: HiveName, key: &str) -> Vec<String> {
        let Ok(Some(file)) = self.hive(name) else {
            return Vec::new();
        };
        let Ok(Some(key)) = file.hive.key(key) else {
            return Vec::new();
        };
        key.subkeys()
            .map(|keys| {
                keys.iter()
                    .map(|key| key.name().to_string_lossy())
                    .collect()
            })
            .unwrap_or_default()
    }

    /// All values of a key as (name, type, data); empty when the key is absent or unreadable.
    pub fn values(&self, name: HiveName, key: &str) -> Vec<(String, u32, Vec<u8>)> {
        let Ok(Some(file)) = self.hive(name) else {
            return Vec::new();
        };
        let Ok(Some(key)) = file.hive.key(key) else {
            return Vec::new();
        };
        let Ok(values) = key.values() else {
            return Vec::new();
        };
        values
            .iter()
            .filter_map(|value| {
                let data = value.data().ok()?.into_owned();
                Some((value.name().to_string_lossy(), value.kind(), data))
            })
            .collect()
    }

    /// The edits that make a key `to`, beside the key `from`, with its values, its keys and their permissions; `None`
    /// when it is not there, cannot be read, has names that are no text, or is larger than what is copied.
    /// Class names are not part of it.
    pub fn copy_of_key(&self, hive: HiveName, from: &str, to: &str) -> Option<Vec<Edit>> {
        const LARGEST: usize = 4096; // ours: what is copied this way has a dozen values
        let file = self.hive(hive).ok()??;
        let above = from.rsplit_once('\\').map_or("", |(above, _)| above);
        let above = file.hive.key(above).ok()??.security().ok()?;
        let mut pending = vec![(above, file.hive.key(from).ok()??, to.to_owned())];
        let mut edits = Vec::new();
        while let Some((above, key, path)) = pending.pop() {
            edits.push(Edit::CreateKey {
                hive,
                key: path.clone(),
            });
            // A new key has the descriptor of the key above it.
            let own = key.security().ok()?;
            if own != above {
                edits.push(Edit::SetKeySecurity {
                    hive,
                    key: path.clone(),
                    descriptor: HexBytes(own.to_vec()),
                });
            }
            for value in key.values().ok()? {
                edits.push(Edit::SetValue {
                    hive,
                    key: path.clone(),
                    name: value::exact_name(value.name())?,
                    kind: value.kind(),
                    data: HexBytes(value.data().ok()?.into_owned()),
                });
            }
            for subkey in key.subkeys().ok()? {
                let name = value::exact_name(subkey.name())?;
                pending.push((own, subkey, format!(r"{path}\{name}")));
            }
            if edits.len() > LARGEST {
                return None;
            }
        }
        Some(edits)
    }

    /// A value's type and bytes, whatever they are.
    pub fn raw(&self, name: HiveName, key: &str, value: &str) -> Reading<(u32, Vec<u8>)> {
        let file = match self.hive(name) {
            Err(error) => return Reading::Unreadable(error.to_string()),
            Ok(None) => return Reading::NoKey,
            Ok(Some(file)) => file,
        };
        let found = match file.hive.key(key) {
            Err(error) => return Reading::Unreadable(error.to_string()),
            Ok(None) => return Reading::NoKey,
            Ok(Some(key)) => key.value(value).and_then(|found| {
                found
                    .map(|found| Ok((found.kind(), found.data()?.into_owned())))
                    .transpose()
            }),
        };
        match found {
            Err(error) => Reading::Unreadable(error.to_string()),
            Ok(None) => Reading::NoValue,
            Ok(Some(raw)) => Reading::Found(raw),
        }
    }

    fn typed<T>(
        &self,
        name: HiveName,
        key: &str,
        value: &str,
        convert: impl FnOnce(u32, &[u8]) -> Option<T>,
    ) -> Reading<T> {
        match self.raw(name, key, value) {
            Reading::Found((kind, data)) => match convert(kind, &data) {
                Some(converted) => Reading::Found(converted),
                None => Reading::Malformed(value::describe(kind, &data)),
            },
            Reading::NoValue => Reading::NoValue,
            Reading::NoKey => Reading::NoKey,
            Reading::Malformed(text) => Reading::Malformed(text),
            Reading::Unreadable(text) => Reading::Unreadable(text),
        }
    }

    /// A REG_DWORD of four bytes.
    pub fn dword(&self, name: HiveName, key: &str, value: &str) -> Reading<u32> {
        self.typed(name, key, value, |kind, data| {
            (kind == value::DWORD && data.len() == 4)
                .then(|| bytes::u32_le(data, 0))
                .flatten()
        })
    }

    /// A REG_SZ or REG_EXPAND_SZ, unexpanded.
    pub fn text(&self, name: HiveName, key: &str, value: &str) -> Reading<String> {
        self.typed(name, key, value, |kind, data| {
            (kind == value::SZ || kind == value::EXPAND_SZ)
                .then(|| value::text(data))
                .flatten()
        })
    }

    /// A REG_MULTI_SZ, in its parts.
    pub fn multi_text(&self, name: HiveName, key: &str, value: &str) -> Reading<Vec<String>> {
        self.typed(name, key, value, |kind, data| {
            (kind == value::MULTI_SZ)
                .then(|| value::multi_text(data))
                .flatten()
        })
    }
}
