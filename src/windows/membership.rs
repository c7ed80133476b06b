// SPDX-License-Identifier: GPL-2.0-or-later
//! Adding an account to a built-in group: both records of the fact, or none.
//!
//! ```text
//! Aliases\0000022B                 C: the SID among the members              what the tools show
//! Aliases\Members\S-1-5-21-a-b-c   default value: TYPE = number of accounts  what a logon looks up
//!                \000003E8         default value: TYPE = number of groups, data = u32 RIDs of groups
//! ```
//! The type field of these values carries a number, it names no type.

use crate::edit::{Edit, HexBytes, HiveName};
use crate::error::{Error, Result};
use crate::security::Sid;

use super::accounts::{ALIASES, Group};
use super::{Reading, View};

/// The groups that the tree `Members` gives a SID, or why they cannot be told. None when it has no entry.
pub fn groups_of(registry: View<'_>, member: &Sid) -> Result<Option<Vec<u32>>> {
    let Some((domain, account)) = keys(member) else {
        return Ok(None);
    };
    let key = format!(r"{domain}\{account}");
    listed(registry.raw(HiveName::Sam, &key, ""), &key)
}

/// The groups of every account of `domain` that the tree has an entry for and whose entry is understood.
pub fn groups_of_all(registry: View<'_>, domain: &Sid) -> Vec<(u32, Vec<u32>)> {
    let path = format!(r"{ALIASES}\Members\{domain}");
    let subkeys = registry.subkeys(HiveName::Sam, &path).ok().flatten();
    subkeys
        .into_iter()
        .flatten()
        .filter_map(|(name, key)| {
            let rid = u32::from_str_radix(&name, 16).ok()?;
            let path = format!(r"{path}\{name}");
            let value = registry.raw_of(HiveName::Sam, &path, key, "");
            Some((rid, listed(value, &path).ok()??))
        })
        .collect()
}

/// The groups that an entry of the tree lists.
fn listed(value: Reading<(u32, Vec<u8>)>, key: &str) -> Result<Option<Vec<u32>>> {
    match value {
        Reading::NoKey => Ok(None),
        Reading::NoValue => Err(not_understood(key, "no default value")),
        Reading::Malformed(text) | Reading::Unreadable(text) => Err(not_understood(key, &text)),
        Reading::Found((count, data)) => {
            let (groups, rest) = data.as_chunks::<4>();
            if !rest.is_empty() || u32::try_from(groups.len()) != Ok(count) {
                let found = format!("a count of {count} with {} bytes", data.len());
                return Err(not_understood(key, &found));
            }
            Ok(Some(
                groups
                    .iter()
                    .map(|group| u32::from_le_bytes(*group))
                    .collect(),
            ))
        }
    }
}

/// The edits that make `member` a member of `group` in both records. None where it is one already in both.
///
/// # Errors
/// `Refused` when the records are not understood: then neither is changed.
pub fn add(registry: View<'_>, group: &Group, member: &Sid) -> Result<Vec<Edit>> {
    let mut edits = Vec::new();
    let set = |key: &str, name: &str, kind: u32, data: Vec<u8>| Edit::SetValue {
        hive: HiveName::Sam,
        key: key.to_owned(),
        name: name.to_owned(),
        kind,
        data: HexBytes(data),
    };
    let mut alias = group.alias.clone();
    if alias.add(member)? {
        edits.push(set(&group.key, "C", super::value::BINARY, alias.to_bytes()));
    }
    let tree = format!(r"{ALIASES}\Members");
    if registry.has_key(HiveName::Sam, &tree) != Ok(true) {
        return Err(not_understood(&tree, "no such key"));
    }
    let (domain, account) = keys(member).ok_or_else(|| {
        Error::refused(
            format!("{member} names a domain, not an account"),
            "name an account or group, such as S-1-5-21-1-2-3-1001",
        )
    })?;
    let key = format!(r"{domain}\{account}");
    match groups_of(registry, member)? {
        Some(groups) if groups.contains(&group.rid) => {}
        Some(mut groups) => {
            groups.push(group.rid);
            let count = u32::try_from(groups.len()).unwrap_or(u32::MAX);
            let data = groups.iter().flat_map(|rid| rid.to_le_bytes()).collect();
            edits.push(set(&key, "", count, data));
        }
        None => {
            let count = match registry.raw(HiveName::Sam, &domain, "") {
                // How many accounts of this domain there are; nothing else is in it.
                Reading::Found((count, data)) if data.is_empty() => count.saturating_add(1),
                Reading::NoKey => 1,
                Reading::Found((kind, data)) => {
                    return Err(not_understood(
                        &domain,
                        &super::value::describe(kind, &data),
                    ));
                }
                Reading::NoValue => return Err(not_understood(&domain, "no default value")),
                Reading::Malformed(text) | Reading::Unreadable(text) => {
                    return Err(not_understood(&domain, &text));
                }
            };
            edits.push(Edit::CreateKey {
                hive: HiveName::Sam,
                key: key.clone(),
            });
            edits.push(set(&key, "", 1, group.rid.to_le_bytes().to_vec()));
            edits.push(set(&domain, "", count, Vec::new()));
        }
    }
    Ok(edits)
}

/// The keys of a member's domain and, below it, of its RID.
fn keys(member: &Sid) -> Option<(String, String)> {
    let (domain, rid) = member.split_rid()?;
    Some((format!(r"{ALIASES}\Members\{domain}"), format!("{rid:08X}")))
}

fn not_understood(key: &str, found: &str) -> Error {
    Error::refused(
        format!(
            "the record of memberships is not as Windows keeps it: {}: {found}",
            HiveName::Sam.full_path(key)
        ),
        "nothing was changed; restore SAM from a backup",
    )
}
