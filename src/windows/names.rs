// SPDX-License-Identifier: GPL-2.0-or-later
//! The names of an installation's accounts and services, for showing and for finding SIDs.
//!
//! ```text
//! SAM\Domains\Account\Users\Names\ann      the type number of its default value is the RID
//! SAM\Domains\Account\Aliases\Names\team   likewise
//! SYSTEM\ControlSet00N\Services\TermService
//! ```
//! Whatever cannot be read has no name, and its SID is shown instead.

use crate::edit::HiveName;
use crate::security::{Names, Sid};

use super::{Installation, Reading};

impl Installation {
    /// The well-known names with those of this installation's local accounts, groups and services.
    pub fn names(&self) -> Names {
        let mut names = Names::new();
        if let Ok(select) = self.select() {
            let services = select.next().path("Services");
            for service in self.registry.subkey_names(HiveName::System, &services) {
                names.add_service(&service);
            }
        }
        let machine = self.machine_sid().and_then(|sid| sid.parse::<Sid>().ok());
        if let Some(machine) = machine {
            let computer = self.release().computer_name;
            for kind in ["Users", "Aliases"] {
                let key = format!(r"SAM\Domains\Account\{kind}\Names");
                for account in self.registry.subkey_names(HiveName::Sam, &key) {
                    let place = format!(r"{key}\{account}");
                    let default = self.registry.raw(HiveName::Sam, &place, "");
                    if let Reading::Found((rid, _)) = default
                        && let Some(sid) = machine.with_rid(rid)
                    {
                        let name = match &computer {
                            Some(computer) => format!(r"{computer}\{account}"),
                            None => account,
                        };
                        names.add(sid, name);
                    }
                }
            }
        }
        names
    }
}
