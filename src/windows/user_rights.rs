// SPDX-License-Identifier: GPL-2.0-or-later
//! User rights: who may log on, and how.
//!
//! ```text
//! SECURITY\Policy\Accounts\S-1-5-32-544            default value: empty, REG_BINARY
//!                                      \ActSysAc   default value: u32 mask, REG_NONE; absent without such rights
//!                                      \SecDesc    default value: a descriptor, the same on every account
//!                                      \Sid        default value: the SID
//!                                      \Privilgs   only where there are privileges
//! ```
//! An entry of another shape keeps Windows from starting, so one is made again whole, after the pattern of another
//! entry of the same hive, or not at all.

use crate::bytes::u32_le;
use crate::edit::{Edit, HexBytes, HiveName};
use crate::security::{Descriptor, Sid};

use super::accounts::Fault;
use super::{Installation, Reading, Registry, View};

/// The key of all entries.
pub const ACCOUNTS: &str = r"Policy\Accounts";
/// The registry type of the values.
const NONE: u32 = 0;
/// Ours: entries that are read. A machine has some dozens.
const MOST: usize = 4096;

/// The bits of a mask, `ntsecapi.h`.
pub mod right {
    /// Log on locally.
    pub const INTERACTIVE: u32 = 0x1;
    /// Access this computer from the network.
    pub const NETWORK: u32 = 0x2;
    /// Log on as a service.
    pub const SERVICE: u32 = 0x10;
    /// Deny log on locally.
    pub const DENY_INTERACTIVE: u32 = 0x40;
    /// Deny access from the network.
    pub const DENY_NETWORK: u32 = 0x80;
    /// Deny log on as a service.
    pub const DENY_SERVICE: u32 = 0x200;
    /// Log on through Remote Desktop.
    pub const REMOTE_INTERACTIVE: u32 = 0x400;
    /// Deny log on through Remote Desktop.
    pub const DENY_REMOTE_INTERACTIVE: u32 = 0x800;

    /// Names as security policy shows them.
    pub(super) const WORDS: [(u32, &str); 12] = [
        (INTERACTIVE, "log on locally"),
        (NETWORK, "access from the network"),
        (0x4, "log on as a batch job"),
        (SERVICE, "log on as a service"),
        (0x20, "proxy"),
        (DENY_INTERACTIVE, "deny log on locally"),
        (DENY_NETWORK, "deny access from the network"),
        (0x100, "deny log on as a batch job"),
        (DENY_SERVICE, "deny log on as a service"),
        (REMOTE_INTERACTIVE, "log on through Remote Desktop"),
        (
            DENY_REMOTE_INTERACTIVE,
            "deny log on through Remote Desktop",
        ),
        (0xffff_f000, "unknown rights"),
    ];
}

/// A mask with the names of its rights.
pub fn mask_text(mask: u32) -> String {
    let words: Vec<&str> = right::WORDS
        .iter()
        .filter(|(bits, _)| mask & bits != 0)
        .map(|(_, word)| *word)
        .collect();
    match words.is_empty() {
        true => format!("{mask:#x}"),
        false => format!("{mask:#x} ({})", words.join(", ")),
    }
}

/// Who has which rights of logging on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserRights {
    /// Everybody with a mask.
    pub masks: Vec<(Sid, u32)>,
    /// What cannot be judged.
    pub faults: Vec<Fault>,
}

impl UserRights {
    /// Reads them.
    ///
    /// # Errors
    /// What is missing or cannot be read, so that nothing can be said.
    pub fn read(registry: &Registry) -> Result<UserRights, Fault> {
        let whole = |found: String| Fault {
            location: HiveName::Security.full_path(ACCOUNTS),
            found,
            expected: "the accounts of the security policy",
        };
        let view = View::new(registry, &[]);
        let entries = match view.subkeys(HiveName::Security, ACCOUNTS) {
            Ok(Some(entries)) => entries,
            Ok(None) => return Err(whole("no key".to_owned())),
            Err(error) => return Err(whole(error)),
        };
        if entries.len() > MOST {
            return Err(whole(format!("{} entries", entries.len())));
        }
        let mut rights = UserRights::default();
        for (name, entry) in entries {
            let path = format!(r"{ACCOUNTS}\{name}\ActSysAc");
            let mut wrong = |found: String| {
                rights.faults.push(Fault {
                    location: HiveName::Security.full_path(&path),
                    found,
                    expected: "a REG_NONE of 4 bytes",
                });
            };
            let Ok(sid) = name.parse::<Sid>() else {
                wrong("a key that is not named after a SID".to_owned());
                continue;
            };
            let key = match entry.subkey("ActSysAc") {
                Ok(Some(key)) => key,
                // Privileges alone: normal.
                Ok(None) => continue,
                Err(error) => {
                    wrong(error.to_string());
                    continue;
                }
            };
            match view.raw_of(HiveName::Security, &path, key, "") {
                Reading::Found((NONE, data)) if data.len() == 4 => {
                    rights
                        .masks
                        .push((sid, u32_le(&data, 0).unwrap_or_default()));
                }
                Reading::Found((kind, data)) => wrong(super::value::describe(kind, &data)),
                Reading::NoValue | Reading::NoKey => wrong("no default value".to_owned()),
                Reading::Malformed(text) | Reading::Unreadable(text) => wrong(text),
            }
        }
        Ok(rights)
    }

    /// The mask of a SID; 0 without an entry.
    pub fn mask(&self, sid: &Sid) -> u32 {
        let found = self.masks.iter().find(|(known, _)| known == sid);
        found.map_or(0, |(_, mask)| *mask)
    }

    /// The key of a SID's mask, for a person.
    pub fn location(sid: &Sid) -> String {
        HiveName::Security.full_path(&format!(r"{ACCOUNTS}\{sid}\ActSysAc"))
    }
}

/// The edits that give `sid` exactly `mask`. An entry that is missing is made whole.
///
/// # Errors
/// Why it cannot be done safely: there is no other entry to copy, or the entry is not whole.
pub fn set(registry: &Registry, sid: &Sid, mask: u32) -> Result<Vec<Edit>, String> {
    let key = format!(r"{ACCOUNTS}\{sid}");
    let there = |path: &str| registry.has_key(HiveName::Security, path);
    let create = |key: &str| Edit::CreateKey {
        hive: HiveName::Security,
        key: key.to_owned(),
    };
    let value = |key: &str, kind: u32, data: Vec<u8>| Edit::SetValue {
        hive: HiveName::Security,
        key: key.to_owned(),
        name: String::new(),
        kind,
        data: HexBytes(data),
    };
    let act = format!(r"{key}\ActSysAc");
    let set_mask = value(&act, NONE, mask.to_le_bytes().to_vec());
    if there(&act)? {
        return Ok(vec![set_mask]);
    }
    if there(&key)? {
        // It holds privileges. What is added to it must be all that is missing.
        if !is_whole(registry, sid) {
            return Err(format!(
                "{} has no whole Sid and SecDesc, so that nothing is added to it",
                HiveName::Security.full_path(&key)
            ));
        }
        return Ok(vec![create(&act), set_mask]);
    }
    let donor = registry
        .subkey_names(HiveName::Security, ACCOUNTS)
        .into_iter()
        .take(MOST)
        .filter_map(|name| name.parse::<Sid>().ok())
        .find(|donor| is_whole(registry, donor))
        .ok_or("there is no whole entry whose descriptor could be copied")?;
    let donor_key = format!(r"{ACCOUNTS}\{donor}");
    let mut edits = vec![create(&key)];
    if let Reading::Found((kind, data)) = registry.raw(HiveName::Security, &donor_key, "") {
        edits.push(value(&key, kind, data));
    }
    let descriptor = part(registry, &donor, "SecDesc").unwrap_or_default();
    let parts = [
        ("ActSysAc", mask.to_le_bytes().to_vec()),
        ("SecDesc", descriptor),
        ("Sid", sid.to_bytes()),
    ];
    for (name, data) in parts {
        let part = format!(r"{key}\{name}");
        edits.push(create(&part));
        edits.push(value(&part, NONE, data));
    }
    Ok(edits)
}

/// The default value of a part of an entry, where it is a REG_NONE.
fn part(registry: &Registry, sid: &Sid, name: &str) -> Option<Vec<u8>> {
    let key = format!(r"{ACCOUNTS}\{sid}\{name}");
    match registry.raw(HiveName::Security, &key, "") {
        Reading::Found((NONE, data)) => Some(data),
        _ => None,
    }
}

/// Whether an entry has its SID and a descriptor.
fn is_whole(registry: &Registry, sid: &Sid) -> bool {
    part(registry, sid, "Sid").is_some_and(|data| data == sid.to_bytes())
        && part(registry, sid, "SecDesc").is_some_and(|data| Descriptor::parse(&data).is_ok())
}

/// Who has a right in the security template that came with this Windows; None when there is none on the disk, or
/// it does not say.
pub fn template(installation: &Installation, right: &str) -> Option<Vec<Sid>> {
    /// Ours: the templates are of some ten kilobytes.
    const LARGEST: u64 = 4 << 20;
    let folder = format!("{}/INF", installation.directory);
    let there = |path: &str| matches!(installation.volume.entry(path), Ok(Some(_)));
    let names: &[&str] = match installation.domain_controller() {
        Some(_) => &["defltdc.inf"],
        None => &["defltbase.inf", "defltsv.inf"],
    };
    let path = names
        .iter()
        .map(|name| format!("{folder}/{name}"))
        .find(|path| there(path))?;
    let bytes = installation.volume.read(&path, LARGEST).ok()?;
    holders(&decode(&bytes)?, right)
}

/// The text of an .inf file: UTF-16LE with its mark, else UTF-8 or what of it is ASCII.
fn decode(bytes: &[u8]) -> Option<String> {
    match bytes.strip_prefix(&[0xff, 0xfe]) {
        Some(units) => super::value::text(units),
        None => Some(String::from_utf8_lossy(bytes).into_owned()),
    }
}

/// The SIDs behind `right =` in the section `[Privilege Rights]`. Forms that name an account of the machine
/// (`*S-1-5-21&-501`) are passed over.
fn holders(text: &str, right: &str) -> Option<Vec<Sid>> {
    let mut inside = false;
    for line in text.lines() {
        let line = line.split(';').next().unwrap_or_default().trim();
        if line.starts_with('[') {
            inside = line.eq_ignore_ascii_case("[Privilege Rights]");
            continue;
        }
        let Some((name, list)) = line.split_once('=').filter(|_| inside) else {
            continue;
        };
        if name.trim().eq_ignore_ascii_case(right) {
            let entries = list.split(',').map(str::trim);
            return Some(
                entries
                    .filter_map(|entry| entry.strip_prefix('*')?.parse().ok())
                    .collect(),
            );
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_named() {
        assert_eq!(
            mask_text(0x401),
            "0x401 (log on locally, log on through Remote Desktop)"
        );
        assert_eq!(mask_text(0), "0x0");
        assert_eq!(mask_text(0x1000), "0x1000 (unknown rights)");
    }

    #[test]
    fn templates_say_who_has_a_right() {
        let text = "[Version]\r\nSeTest = *S-1-1-0\r\n[privilege rights]\r\n; SeTest = *S-1-5-11\r\n\
                    seremoteinteractivelogonright = *S-1-5-32-544 , *S-1-5-32-555,&-501,*&-500\r\nSeTest =\r\n[Other]\r\nSeX=*S-1-1-0\r\n";
        let sids = holders(text, "SeRemoteInteractiveLogonRight").unwrap();
        let sids: Vec<String> = sids.iter().map(Sid::to_string).collect();
        assert_eq!(sids, ["S-1-5-32-544", "S-1-5-32-555"]);
        assert_eq!(holders(text, "SeTest").unwrap(), []);
        assert_eq!(holders(text, "SeX"), None);
        let mut utf16 = vec![0xff, 0xfe];
        utf16.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(decode(&utf16).unwrap(), text);
        assert_eq!(decode(text.as_bytes()).unwrap(), text);
    }
}
