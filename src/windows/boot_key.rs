// SPDX-License-Identifier: GPL-2.0-or-later
//! The boot key: four class names in SYSTEM, where `Lsa\SecureBoot` says that it is kept there; and the key of hashes
//! that it opens in SAM.

use crate::edit::HiveName;
use crate::error::{Error, Result};
use crate::sam::{BootKey, HashKey};

use super::accounts::DOMAIN;
use super::{Installation, Reading};

impl Installation {
    /// The boot key of the control set that Windows starts.
    ///
    /// # Errors
    /// `Refused` when it is not on the disk: a start-up password or a floppy holds it. `Damaged` when it is not
    /// whole.
    pub fn boot_key(&self) -> Result<BootKey> {
        let lsa = self.select()?.next().path(r"Control\Lsa");
        let place = HiveName::System.full_path(&lsa);
        match self.registry.dword(HiveName::System, &lsa, "SecureBoot") {
            // Absent is kept in the registry too.
            Reading::Found(1) | Reading::NoValue => {}
            Reading::Found(kind @ (2 | 3)) => {
                let holder = match kind {
                    2 => "a password that is typed at start",
                    _ => "a floppy disk",
                };
                return Err(Error::refused(
                    format!(
                        r"{place}\SecureBoot is {kind}: the key to the account database comes from {holder}"
                    ),
                    "set the password with Windows' own means; without the key no password can be set offline",
                ));
            }
            Reading::Found(kind) => {
                return Err(Error::damaged(
                    format!(r"{place}\SecureBoot"),
                    0,
                    "1, 2 or 3",
                    kind.to_string(),
                ));
            }
            Reading::NoKey => return Err(Error::damaged(place, 0, "the key", "none")),
            Reading::Malformed(found) | Reading::Unreadable(found) => {
                let what = format!(r"{place}\SecureBoot");
                return Err(Error::damaged(what, 0, "a REG_DWORD", found));
            }
        }
        let mut classes = Vec::new();
        let hive = &self.registry.required(HiveName::System)?.hive;
        for name in ["JD", "Skew1", "GBG", "Data"] {
            let key = hive.key(&format!(r"{lsa}\{name}"))?;
            let class = key.map(|key| key.class()).transpose()?.flatten();
            classes.push(class.ok_or_else(|| {
                let what = format!(r"{place}\{name}");
                Error::damaged(what, 0, "a class name", "none")
            })?);
        }
        match classes.as_slice() {
            [a, b, c, d] => BootKey::from_class_names([a, b, c, d]),
            // Four names were asked for.
            _ => Err(Error::damaged(place, 0, "four class names", "others")),
        }
    }
    /// The key that the hashes in SAM are encrypted with.
    ///
    /// # Errors
    /// As [`Installation::boot_key`], and `Damaged` when SAM has no key that it opens.
    pub fn hash_key(&self) -> Result<HashKey> {
        let boot = self.boot_key()?;
        match self.registry.raw(HiveName::Sam, DOMAIN, "F") {
            Reading::Found((_, f)) => HashKey::unlock(&f, &boot),
            _ => {
                let what = format!(r"{}\F", HiveName::Sam.full_path(DOMAIN));
                Err(Error::damaged(what, 0, "the key of hashes", "none"))
            }
        }
    }
}
