// SPDX-License-Identifier: GPL-2.0-or-later
//! Windows Firewall as the registry keeps it: rules, connection security rules, and what the stores come to.
//!
//! ```text
//!   SYSTEM  ...\SharedAccess\Parameters\FirewallPolicy        the machine's own store
//!   SOFTWARE  Policies\Microsoft\WindowsFirewall              the store that Group Policy fills
//!             \DomainProfile, \PublicProfile, ...   settings  -> store    one store
//!             \FirewallRules                        rules     -> rule
//!             \ConSecRules                          IPsec     -> consec
//!   all stores + the listener                       -> effective: does a connection get through, and why (not)
//! ```
//!
//! Grammar: [MS-GPFAS] 2.2.2.19 and 2.2.6.2; how the stores merge: [MS-FASP] 2.2.38. Pure text in, text out: who
//! reads the hives is `windows::firewall`. Not judged: filters that other programs set in the filtering platform,
//! the rules of app containers and service hardening, and the settings (not the rules) of device management (MDM).

pub mod consec;
pub mod effective;
mod fields;
pub mod rule;
pub mod store;

#[cfg(test)]
mod properties;

pub use consec::ConnectionSecurityRule;
pub use effective::{Effective, Listener, Obstacle, Placed, Verdict};
pub use fields::{Fields, Malformed};
pub use rule::{Match, Rule};
pub use store::{LegacyException, Named, Origin, Setting, Settings, Store};

/// A network profile that rules and settings are kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// The machine sees its domain.
    Domain,
    /// A network marked private.
    Private,
    /// Any other network.
    Public,
}

impl Profile {
    /// All of them.
    pub const ALL: [Profile; 3] = [Profile::Domain, Profile::Private, Profile::Public];

    /// The word in a rule's `Profile=` field.
    pub fn word(self) -> &'static str {
        match self {
            Profile::Domain => "Domain",
            Profile::Private => "Private",
            Profile::Public => "Public",
        }
    }

    /// The profile that a `Profile=` field names.
    pub fn from_word(word: &str) -> Option<Profile> {
        Profile::ALL
            .into_iter()
            .find(|profile| profile.word().eq_ignore_ascii_case(word))
    }

    /// The key of its settings in the machine's own store, which calls the private profile Standard.
    pub fn local_key(self) -> &'static str {
        match self {
            Profile::Domain => "DomainProfile",
            Profile::Private => "StandardProfile",
            Profile::Public => "PublicProfile",
        }
    }

    /// The keys of its settings in the policy store, the one that counts first: what XP's policies say of the
    /// standard profile holds for every network that is not the domain's.
    pub fn policy_keys(self) -> &'static [&'static str] {
        match self {
            Profile::Domain => &["DomainProfile"],
            Profile::Private => &["PrivateProfile", "StandardProfile"],
            Profile::Public => &["PublicProfile", "StandardProfile"],
        }
    }
}

/// The words of some profiles, as evidence lists them.
pub fn words(profiles: &[Profile]) -> String {
    let words: Vec<&str> = profiles.iter().map(|profile| profile.word()).collect();
    words.join(", ")
}
