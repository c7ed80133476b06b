// SPDX-License-Identifier: GPL-2.0-or-later
//! The settings of Remote Desktop that a policy can override, and which of the two holds.
//!
//! ```text
//! SOFTWARE\Policies\Microsoft\Windows NT\Terminal Services     the policy, where it has the value
//! SYSTEM\ControlSetNNN\Control\Terminal Server[...]            else the machine's own setting
//! neither                                                      else the default of Windows
//! ```
//! The names are those of the administrative templates (TerminalServer.admx); the listener's port has no policy. Some
//! of the machine's own limits count only where the listener does not leave them to the user's account
//! (`fInherit...` is 0).

use crate::edit::{Edit, HiveName};

use super::{ControlSet, Reading, Registry};

/// The key of the policies, in SOFTWARE.
pub const POLICY: &str = r"Policies\Microsoft\Windows NT\Terminal Services";
/// The key of Remote Desktop as a whole, below a control set.
pub const TERMINAL_SERVER: &str = r"Control\Terminal Server";
/// The key of the listener, below a control set.
pub const LISTENER: &str = r"Control\Terminal Server\WinStations\RDP-Tcp";

/// A REG_DWORD that is both a setting of the machine and a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name, the same in both places.
    pub name: &'static str,
    /// Where the machine keeps its own, below a control set.
    pub key: &'static str,
    /// The value of the listener that, unless it is 0, leaves this one to the user's account.
    pub inherited_by: Option<&'static str>,
}

const fn of_listener(name: &'static str) -> Setting {
    Setting {
        name,
        key: LISTENER,
        inherited_by: None,
    }
}

const fn limit(name: &'static str, inherited_by: &'static str) -> Setting {
    Setting {
        name,
        key: LISTENER,
        inherited_by: Some(inherited_by),
    }
}

/// Not 0: Remote Desktop is off.
pub const DENY: Setting = Setting {
    name: "fDenyTSConnections",
    key: TERMINAL_SERVER,
    inherited_by: None,
};
/// 1: Network Level Authentication is asked for.
pub const USER_AUTHENTICATION: Setting = of_listener("UserAuthentication");
/// 0 RDP's own security, 1 negotiated, 2 TLS.
pub const SECURITY_LAYER: Setting = of_listener("SecurityLayer");
/// 1 low, 2 as the client can, 3 high, 4 FIPS.
pub const MIN_ENCRYPTION_LEVEL: Setting = of_listener("MinEncryptionLevel");
/// How many sessions there may be.
pub const MAX_INSTANCE_COUNT: Setting = of_listener("MaxInstanceCount");
/// Milliseconds without input after which a session ends; 0 for never.
pub const MAX_IDLE_TIME: Setting = limit("MaxIdleTime", "fInheritMaxIdleTime");
/// Milliseconds after which a session ends; 0 for never.
pub const MAX_CONNECTION_TIME: Setting = limit("MaxConnectionTime", "fInheritMaxSessionTime");
/// Milliseconds after which a disconnected session ends; 0 for never.
pub const MAX_DISCONNECTION_TIME: Setting =
    limit("MaxDisconnectionTime", "fInheritMaxDisconnectionTime");

/// Who decides a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decides {
    /// The policy.
    Policy,
    /// The machine's own setting.
    Machine,
}

/// A setting as it is found in one control set, with its policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twin {
    /// The policy.
    pub policy: Reading<u32>,
    /// The machine's own.
    pub machine: Reading<u32>,
    /// The machine's own setting gives way to that of the user's account.
    pub inherited: bool,
}

impl Twin {
    /// The number that holds and who decides it; `None` where the default of Windows does.
    pub fn in_force(&self) -> Option<(u32, Decides)> {
        match (&self.policy, &self.machine) {
            (Reading::Found(policy), _) => Some((*policy, Decides::Policy)),
            (_, Reading::Found(machine)) if !self.inherited => Some((*machine, Decides::Machine)),
            _ => None,
        }
    }
}

impl Setting {
    /// Reads the setting in one control set, and its policy.
    pub fn read(&self, registry: &Registry, set: &ControlSet) -> Twin {
        let own = |key: &str, name| registry.dword(HiveName::System, &set.path(key), name);
        let inherited = self
            .inherited_by
            .is_some_and(|name| own(LISTENER, name).found() != Some(0));
        Twin {
            policy: self.read_policy(registry),
            machine: own(self.key, self.name),
            inherited,
        }
    }

    /// Reads the policy alone.
    pub fn read_policy(&self, registry: &Registry) -> Reading<u32> {
        registry.dword(HiveName::Software, POLICY, self.name)
    }

    /// The full path of the machine's own setting in one control set.
    pub fn machine_path(&self, set: &ControlSet) -> String {
        format!(
            r"{}\{}",
            HiveName::System.full_path(&set.path(self.key)),
            self.name
        )
    }

    /// The full path of the policy.
    pub fn policy_path(&self) -> String {
        format!(r"{}\{}", HiveName::Software.full_path(POLICY), self.name)
    }

    /// Sets the machine's own setting in one control set.
    pub fn set(&self, set: &ControlSet, value: u32) -> Edit {
        Edit::dword(HiveName::System, set.path(self.key), self.name, value)
    }

    /// Deletes the policy, so that the machine's own setting holds.
    pub fn delete_policy(&self) -> Edit {
        Edit::DeleteValue {
            hive: HiveName::Software,
            key: POLICY.to_owned(),
            name: self.name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_over_machine_over_default() {
        let twin = |policy, machine, inherited| {
            let read = |value: Option<u32>| value.map_or(Reading::NoValue, Reading::Found);
            let twin = Twin {
                policy: read(policy),
                machine: read(machine),
                inherited,
            };
            twin.in_force()
        };
        assert_eq!(twin(Some(1), Some(0), false), Some((1, Decides::Policy)));
        assert_eq!(twin(Some(0), None, true), Some((0, Decides::Policy)));
        assert_eq!(twin(None, Some(5), false), Some((5, Decides::Machine)));
        assert_eq!(twin(None, Some(5), true), None);
        assert_eq!(twin(None, None, false), None);
    }
}
