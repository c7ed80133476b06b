// SPDX-License-Identifier: GPL-2.0-or-later
//! One store of the firewall: the settings of three profiles and the rules.
//!
//! The own store of the machine and the one of Group Policy have the same shape; keys and files are the reader's
//! business. A setting that is there and cannot be judged is neither set nor absent: [`Setting::Unclear`].

use super::{ConnectionSecurityRule, Malformed, Profile, Rule};

/// Which store something stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The machine's own.
    Local,
    /// Group Policy's: what stands here comes back at the next refresh.
    Policy,
    /// That of device management (MDM): it comes back likewise, and is as good as policy's.
    Management,
}

/// One setting of a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Setting {
    /// Not there.
    #[default]
    Absent,
    /// There.
    Set {
        /// Its number.
        value: u32,
        /// The key that it was found in, as the store's reader names it.
        key: String,
    },
    /// There, but of a type or length that Windows does not use, or not readable.
    Unclear {
        /// The key.
        key: String,
        /// What is there, or why it cannot be read.
        found: String,
    },
}

impl Setting {
    /// The number, when it is set.
    pub fn value(&self) -> Option<u32> {
        match self {
            Setting::Set { value, .. } => Some(*value),
            Setting::Absent | Setting::Unclear { .. } => None,
        }
    }
}

/// The settings of one profile that decide about a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `EnableFirewall`: 0 is off.
    pub enable: Setting,
    /// `DefaultInboundAction`: 0 lets in what no rule is about.
    pub default_inbound: Setting,
    /// `DoNotAllowExceptions`: anything but 0 drops everything, whatever the rules say.
    pub no_exceptions: Setting,
    /// `AllowLocalPolicyMerge`, in the policy store alone: 0 drops the machine's own rules.
    pub local_rules: Setting,
    /// `AllowLocalIPsecPolicyMerge`, in the policy store alone: 0 drops its own connection security rules.
    pub local_ipsec: Setting,
    /// Exceptions of the kind that XP's policies make, which later Windows still take.
    pub legacy: Vec<LegacyException>,
}

/// An exception for Remote Desktop of the kind that XP's policies make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyException {
    /// Its key.
    pub key: String,
    /// The addresses it is for; `*` is anybody.
    pub addresses: String,
    /// The port it opens.
    pub port: u16,
}

impl Settings {
    /// Its settings by the names of their values.
    pub fn by_name(&self) -> [(&'static str, &Setting); 5] {
        [
            ("EnableFirewall", &self.enable),
            ("DefaultInboundAction", &self.default_inbound),
            ("DoNotAllowExceptions", &self.no_exceptions),
            ("AllowLocalPolicyMerge", &self.local_rules),
            ("AllowLocalIPsecPolicyMerge", &self.local_ipsec),
        ]
    }
}

/// A rule with the name of its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<T> {
    /// The value's name, which is the rule's id.
    pub name: String,
    /// The rule.
    pub rule: T,
}

/// A store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    /// The settings of the profiles, in the order of [`Profile::ALL`].
    pub profiles: [Settings; 3],
    /// The rules that follow the grammar, in their order.
    pub rules: Vec<Named<Rule>>,
    /// Values below `FirewallRules` that do not, with what is wrong with them.
    pub malformed: Vec<Named<String>>,
    /// The connection security rules, with what does not follow the grammar among them.
    pub consec: Vec<Named<ConsecValue>>,
}

/// A value below `ConSecRules`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsecValue {
    /// A rule.
    Rule(ConnectionSecurityRule),
    /// A string that does not follow the grammar, and whether it has `Active=TRUE` in it.
    Malformed {
        /// What is wrong.
        fault: Malformed,
        /// Whether it would be in force if Windows reads it all the same.
        active: bool,
    },
    /// No string at all, or not readable.
    Unclear(String),
}

impl Store {
    /// The settings of a profile.
    pub fn settings(&self, profile: Profile) -> &Settings {
        let [domain, private, public] = &self.profiles;
        match profile {
            Profile::Domain => domain,
            Profile::Private => private,
            Profile::Public => public,
        }
    }

    /// The version token that most of the rules carry: an older Windows passes over newer ones.
    pub fn usual_version(&self) -> Option<&str> {
        let mut counts = std::collections::BTreeMap::<&str, usize>::new();
        for named in &self.rules {
            let count = counts.entry(named.rule.version()).or_default();
            *count = count.saturating_add(1);
        }
        counts
            .into_iter()
            .max_by_key(|(_, count)| *count)
            .map(|(version, _)| version)
    }
}
