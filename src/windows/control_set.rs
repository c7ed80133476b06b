// SPDX-License-Identifier: GPL-2.0-or-later
//! `SYSTEM\Select` and the control sets it names.
//!
//! The boot loader starts the set that `Default` names (`LastKnownGood` when the user asks for it) and
//! records it in `Current`; `CurrentControlSet` is a link made at run time and is not in the file. A repair
//! writes to every set that Select names and that exists. None is ever invented: a written
//! `ControlSet002` that was not there would be a skeleton that Windows may one day start.

use crate::edit::HiveName;
use crate::error::{Error, Result};

use super::registry::{Reading, Registry};

/// One existing control set and what Select calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlSet {
    /// Its number.
    pub number: u32,
    /// The roles Select gives it, of `Current`, `Default`, `LastKnownGood`.
    pub roles: Vec<&'static str>,
}

impl ControlSet {
    /// The key below the root of SYSTEM: `ControlSet001`.
    pub fn key(&self) -> String {
        format!("ControlSet{:03}", self.number)
    }

    /// A key path inside this set.
    pub fn path(&self, below: &str) -> String {
        format!("{}\\{below}", self.key())
    }

    /// True for the set that Windows starts next, or started last.
    pub fn is_active(&self) -> bool {
        self.roles.contains(&"Default") || self.roles.contains(&"Current")
    }
}

/// `SYSTEM\Select`, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Select {
    /// The set Windows ran last.
    pub current: u32,
    /// The set the boot loader will start.
    pub default: u32,
    /// The sets that Select names and that exist: the default one first.
    pub sets: Vec<ControlSet>,
}

impl Select {
    /// Reads Select. A missing or malformed one is an error: without it nobody knows which set counts.
    pub fn read(registry: &Registry) -> Result<Select> {
        registry.required(HiveName::System)?;
        let role = |name: &'static str| -> Result<Option<u32>> {
            match registry.dword(HiveName::System, "Select", name) {
                Reading::Found(number) => Ok(Some(number)),
                Reading::NoValue => Ok(None),
                Reading::NoKey => Err(damaged("the key Select", "none")),
                Reading::Malformed(found) | Reading::Unreadable(found) => {
                    Err(damaged(format!("a REG_DWORD Select\\{name}"), found))
                }
            }
        };
        let current = role("Current")?;
        let default = role("Default")?;
        let last_known_good = role("LastKnownGood")?;
        let Some(boots) = default.or(current) else {
            return Err(damaged("Select\\Default or Select\\Current", "neither"));
        };

        let mut sets: Vec<ControlSet> = Vec::new();
        for (name, number) in [
            ("Default", default),
            ("Current", current),
            ("LastKnownGood", last_known_good),
        ] {
            let Some(number) = number else { continue };
            if let Some(known) = sets.iter_mut().find(|set| set.number == number) {
                known.roles.push(name);
                continue;
            }
            let set = ControlSet {
                number,
                roles: vec![name],
            };
            match registry.has_key(HiveName::System, &set.key()) {
                Ok(true) => sets.push(set),
                Ok(false) => {}
                Err(error) => return Err(damaged(format!("the key {}", set.key()), error)),
            }
        }
        if !sets.iter().any(|set| set.number == boots) {
            return Err(damaged(
                format!("the key ControlSet{boots:03} that Select names"),
                "none",
            ));
        }
        Ok(Select {
            current: current.unwrap_or(boots),
            default: boots,
            sets,
        })
    }

    /// The set that `CurrentControlSet` will stand for when Windows next starts.
    pub fn next(&self) -> ControlSet {
        let found = self.sets.iter().find(|set| set.number == self.default);
        found.cloned().unwrap_or(ControlSet {
            number: self.default,
            roles: Vec::new(),
        })
    }

    /// `key` with a leading `CurrentControlSet` replaced by the set it stands for.
    pub fn resolve(&self, key: &str) -> String {
        let (first, rest) = key.split_once('\\').unwrap_or((key, ""));
        if !first.eq_ignore_ascii_case("CurrentControlSet") {
            return key.to_owned();
        }
        if rest.is_empty() {
            self.next().key()
        } else {
            self.next().path(rest)
        }
    }
}

fn damaged(expected: impl Into<String>, found: impl Into<String>) -> Error {
    Error::damaged("hive SYSTEM", 0, expected, found).with_hint(
        "the control set cannot be determined",
        "restore SYSTEM from a backup (System32\\config\\RegBack, a snapshot); coldfix does not guess a control set",
    )
}
