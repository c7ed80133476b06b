// SPDX-License-Identifier: GPL-2.0-or-later
//! The stores of Windows Firewall, read from the hives of an installation.
//!
//! ```text
//!   SYSTEM    ControlSet00N\Services\SharedAccess\Parameters\FirewallPolicy   own store
//!             ...\FirewallPolicy\Mdm                                         rules of device management
//!   SOFTWARE  Policies\Microsoft\WindowsFirewall                              policy store
//! ```
//!
//! A key that cannot be read is an error and not an empty store: "no rule" is only said of a store that was seen.

use crate::bytes;
use crate::edit::HiveName;
use crate::firewall::store::ConsecValue;
use crate::firewall::{
    ConnectionSecurityRule, Effective, LegacyException, Named, Profile, Rule, Setting, Settings,
    Store,
};

use super::value::{self, describe};
use super::{ControlSet, Reading, Registry};

/// The machine's own store, below a control set.
pub const LOCAL: &str = r"Services\SharedAccess\Parameters\FirewallPolicy";
/// The store as Windows came with it, below a control set.
pub const STOCK: &str = r"Services\SharedAccess\Defaults\FirewallPolicy";
/// The store of Group Policy, in SOFTWARE.
pub const POLICY: &str = r"Policies\Microsoft\WindowsFirewall";
/// The store of device management, below a control set.
pub const MANAGEMENT: &str = r"Services\SharedAccess\Parameters\FirewallPolicy\Mdm";
/// The rules, below a store.
pub const RULES: &str = "FirewallRules";
/// The connection security rules, below a store.
pub const CONSEC: &str = "ConSecRules";

/// A key that cannot be read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its full path.
    pub location: String,
    /// Why.
    pub why: String,
}

/// Name, type and data of a value, or why its data cannot be read.
type RawValue = (String, Result<(u32, Vec<u8>), String>);

/// The values of a key; `None` when there is no such key.
fn values(
    registry: &Registry,
    hive: HiveName,
    key: &str,
) -> Result<Option<Vec<RawValue>>, Unreadable> {
    let unreadable = |why: String| Unreadable {
        location: hive.full_path(key),
        why,
    };
    let file = match registry.hive(hive) {
        Err(error) => return Err(unreadable(error.to_string())),
        Ok(None) => return Ok(None),
        Ok(Some(file)) => file,
    };
    let found = file
        .hive
        .key(key)
        .and_then(|found| found.map(|key| key.values()).transpose())
        .map_err(|error| unreadable(error.to_string()))?;
    Ok(found.map(|found| {
        let read = |value: &crate::hive::Value<'_>| match value.data() {
            Ok(data) => Ok((value.kind(), data.into_owned())),
            Err(error) => Err(error.to_string()),
        };
        // A name that no text is the same as could not be written back: its value is not taken for a rule.
        let named = |value: &crate::hive::Value<'_>| match value::exact_name(value.name()) {
            Some(name) => (name, read(value)),
            None => (
                value::name_text(value.name()),
                Err("its name is no text".to_owned()),
            ),
        };
        found.iter().map(named).collect()
    }))
}

/// A value's text, or what is there instead.
fn text_of(raw: Result<(u32, Vec<u8>), String>) -> Result<String, String> {
    let (kind, data) = raw?;
    (kind == value::SZ)
        .then(|| value::text(&data))
        .flatten()
        .ok_or_else(|| describe(kind, &data))
}

/// The stores of a control set; `None` when its firewall is of XP's kind, which has no rules.
///
/// # Errors
/// The first key that cannot be read.
pub fn read(registry: &Registry, set: &ControlSet) -> Result<Option<Effective>, Unreadable> {
    let local = set.path(LOCAL);
    let rules = format!(r"{local}\{RULES}");
    if values(registry, HiveName::System, &rules)?.is_none() {
        return Ok(None);
    }
    let own = |profile: Profile| vec![format!(r"{local}\{}", profile.local_key())];
    let of_policy = |profile: Profile| -> Vec<String> {
        let keys = profile.policy_keys().iter();
        keys.map(|key| format!(r"{POLICY}\{key}")).collect()
    };
    let managed = set.path(&format!(r"{MANAGEMENT}\{RULES}"));
    let (rules, malformed) = self::rules(registry, HiveName::System, &managed)?;
    Ok(Some(Effective {
        management: Store {
            rules,
            malformed,
            ..Store::default()
        },
        local: store(registry, HiveName::System, &local, own)?,
        policy: store(registry, HiveName::Software, POLICY, of_policy)?,
    }))
}

/// The rules as Windows came with them, by the names of their values.
///
/// # Errors
/// The key, when it cannot be read.
pub fn stock_rules(registry: &Registry, set: &ControlSet) -> Result<Vec<Named<Rule>>, Unreadable> {
    let key = set.path(&format!(r"{STOCK}\{RULES}"));
    Ok(rules(registry, HiveName::System, &key)?.0)
}

fn store(
    registry: &Registry,
    hive: HiveName,
    root: &str,
    profile_keys: impl Fn(Profile) -> Vec<String>,
) -> Result<Store, Unreadable> {
    let (rules, malformed) = rules(registry, hive, &format!(r"{root}\{RULES}"))?;
    let consec = values(registry, hive, &format!(r"{root}\{CONSEC}"))?;
    let consec = consec.unwrap_or_default().into_iter();
    Ok(Store {
        profiles: Profile::ALL.map(|profile| settings(registry, hive, &profile_keys(profile))),
        rules,
        malformed,
        consec: consec
            .map(|(name, raw)| Named {
                name,
                rule: consec_value(raw),
            })
            .collect(),
    })
}

type Rules = (Vec<Named<Rule>>, Vec<Named<String>>);

/// The rules below a key, and what follows no grammar.
fn rules(registry: &Registry, hive: HiveName, key: &str) -> Result<Rules, Unreadable> {
    let (mut found, mut malformed) = (Vec::new(), Vec::new());
    for (name, raw) in values(registry, hive, key)?.unwrap_or_default() {
        let parsed = text_of(raw).and_then(|text| {
            Rule::parse(&text).map_err(|fault| format!("{fault}: {}", shortened(&text)))
        });
        match parsed {
            Ok(rule) => found.push(Named { name, rule }),
            Err(rule) => malformed.push(Named { name, rule }),
        }
    }
    Ok((found, malformed))
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

fn consec_value(raw: Result<(u32, Vec<u8>), String>) -> ConsecValue {
    match text_of(raw) {
        Err(found) => ConsecValue::Unclear(found),
        Ok(text) => match ConnectionSecurityRule::parse(&text) {
            Ok(rule) => ConsecValue::Rule(rule),
            Err(fault) => ConsecValue::Malformed {
                fault,
                active: ConnectionSecurityRule::looks_active(&text),
            },
        },
    }
}

/// The settings of a profile: each from the first of the keys that has it.
fn settings(registry: &Registry, hive: HiveName, keys: &[String]) -> Settings {
    let setting = |name: &str, keys: &[String]| {
        for key in keys {
            match registry.dword(hive, key, name) {
                Reading::Found(value) => {
                    return Setting::Set {
                        value,
                        key: key.clone(),
                    };
                }
                Reading::Malformed(found) | Reading::Unreadable(found) => {
                    return Setting::Unclear {
                        key: key.clone(),
                        found,
                    };
                }
                Reading::NoValue | Reading::NoKey => {}
            }
        }
        Setting::Absent
    };
    // XP's profile has no say in whether own rules count.
    let own = keys.get(..1).unwrap_or_default();
    Settings {
        enable: setting("EnableFirewall", keys),
        default_inbound: setting("DefaultInboundAction", keys),
        no_exceptions: setting("DoNotAllowExceptions", keys),
        local_rules: setting("AllowLocalPolicyMerge", own),
        local_ipsec: setting("AllowLocalIPsecPolicyMerge", own),
        legacy: keys
            .iter()
            .flat_map(|key| legacy(registry, hive, key))
            .collect(),
    }
}

/// Exceptions of XP's kind for TCP ports: `Services\RemoteDesktop`, which is 3389, and `GloballyOpenPorts\List`.
fn legacy(registry: &Registry, hive: HiveName, profile: &str) -> Vec<LegacyException> {
    let mut found = Vec::new();
    let service = format!(r"{profile}\Services\RemoteDesktop");
    if registry.dword(hive, &service, "Enabled") == Reading::Found(1) {
        let addresses = registry.text(hive, &service, "RemoteAddresses").found();
        found.push(LegacyException {
            key: service,
            addresses: addresses.unwrap_or_else(|| "*".to_owned()),
            port: 3389,
        });
    }
    let list = format!(r"{profile}\GloballyOpenPorts\List");
    for (_, kind, data) in registry.values(hive, &list) {
        // 3389:TCP:*:enabled:the name
        let text = text_of(Ok((kind, data))).unwrap_or_default();
        let mut parts = text.splitn(5, ':');
        let (port, protocol) = (parts.next(), parts.next());
        let (addresses, state) = (parts.next(), parts.next());
        let is =
            |part: Option<&str>, word| part.is_some_and(|part| part.eq_ignore_ascii_case(word));
        if is(protocol, "TCP")
            && is(state, "enabled")
            && let Some(port) = port.and_then(|port| port.parse().ok())
        {
            found.push(LegacyException {
                key: list.clone(),
                addresses: addresses.unwrap_or("*").to_owned(),
                port,
            });
        }
    }
    found
}

/// A network that the machine has been in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its key in SOFTWARE.
    pub key: String,
    /// Its name.
    pub name: String,
    /// The profile that it had: `Category`.
    pub profile: Profile,
    /// When the machine was last in it: year, month, day, hour, minute, second, millisecond, local time.
    connected: [u16; 7],
}

/// Where Windows keeps the networks that it has seen, in SOFTWARE.
pub const NETWORKS: &str = r"Microsoft\Windows NT\CurrentVersion\NetworkList\Profiles";

/// The network that the machine was in last, where that is known. What it will be in next is for Windows to find.
pub fn last_network(registry: &Registry) -> Option<Network> {
    let names = registry.subkey_names(HiveName::Software, NETWORKS);
    let networks = names.iter().filter_map(|name| {
        let key = format!(r"{NETWORKS}\{name}");
        let category = registry.dword(HiveName::Software, &key, "Category");
        let profile = match category.found()? {
            0 => Profile::Public,
            1 => Profile::Private,
            2 => Profile::Domain,
            _ => return None,
        };
        let raw = registry.raw(HiveName::Software, &key, "DateLastConnected");
        let (kind, data) = raw.found()?;
        // SYSTEMTIME, whose third number is the day of the week.
        if kind != value::BINARY || data.len() != 16 {
            return None;
        }
        let part = |at: usize| bytes::u16_le(&data, at);
        let connected = [
            part(0)?,
            part(2)?,
            part(6)?,
            part(8)?,
            part(10)?,
            part(12)?,
            part(14)?,
        ];
        let named = registry.text(HiveName::Software, &key, "ProfileName");
        Some(Network {
            name: named.found().unwrap_or_else(|| name.clone()),
            key,
            profile,
            connected,
        })
    });
    networks.max_by_key(|network| network.connected)
}
