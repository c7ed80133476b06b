// SPDX-License-Identifier: GPL-2.0-or-later
//! Where the policies of a machine come from, and so which of them come back after they were deleted.
//!
//! ```text
//! Windows\System32\GroupPolicy\Machine\Registry.pol                      the local policy
//! Windows\System32\GroupPolicy\DataStore\0\sysvol\DOMAIN\Policies\{GUID}\Machine\Registry.pol
//!                                                                        copies of the domain's (8.1 and later)
//! ProgramData\ntuser.pol                                                 what was applied last, from all of them
//! SECURITY\Policy\PolPrDmS, PolDnDDN, PolPrDmN                           the domain that the machine is a member of
//! ```
//! At each refresh Windows deletes what `ntuser.pol` lists and no policy sets any more, and sets what the policies say.
//! A value that none of these files knows was written by something else and stays as it is. A domain's policy that
//! is not among the copies can be told only by the record.

use crate::bytes::{slice, u16_le, u32_le};
use crate::edit::{HiveName, windows_path};
use crate::registry_policy::{Effect, PolicyFile};
use crate::volume::EntryKind;

use super::{Installation, Reading, value};

/// How much of policy files is read in all: ours. Real ones have a few dozen KiB each.
const MOST_BYTES: u64 = 8 << 20;
/// How many of a domain's policies are looked at: ours. Windows applies at most 999; a hundred are many.
const MOST_COPIES: usize = 1000;

/// What a policy file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The machine's own policy.
    Local,
    /// A copy of a policy of the domain.
    Domain,
    /// The record of what was applied last.
    Applied,
}

/// One policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What it is.
    pub role: Role,
    /// Its path as Windows writes it, from the volume's root.
    pub path: String,
    /// Its content, or why it cannot be read.
    pub file: Result<PolicyFile, String>,
}

/// Whether the machine is a member of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Membership {
    /// A member of this domain.
    Domain(String),
    /// In a workgroup.
    Workgroup,
    /// SECURITY does not tell.
    Unknown,
}

/// The policies of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPolicy {
    /// The files that are there.
    pub sources: Vec<Source>,
    /// The machine's domain.
    pub membership: Membership,
}

/// What is known of where one value of policy comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comes<'g> {
    /// A policy file on the disk sets it.
    FromFile(&'g Source),
    /// It was applied from a policy that is not on the disk: the domain's.
    FromDomain(&'g str),
    /// Not known: a file cannot be read, or the machine is in a domain and there is no record.
    Unknown,
    /// From no policy that is known: it does not come back.
    FromNowhere,
}

impl GroupPolicy {
    /// Where the value `key\name` of SOFTWARE comes from. `key` is given below the hive's root.
    pub fn origin(&self, key: &str, name: &str) -> Comes<'_> {
        let sets = |source: &&Source| {
            let effect = effect(source, key, name);
            matches!(effect, Some(Effect::Set { .. }))
        };
        let given = |source: &&Source| source.role != Role::Applied;
        if let Some(source) = self.sources.iter().filter(given).find(sets) {
            return Comes::FromFile(source);
        }
        if self.sources.iter().any(|source| source.file.is_err()) {
            return Comes::Unknown;
        }
        let mut records = self.sources.iter().filter(|source| !given(source));
        let known = records.clone().next().is_some();
        let recorded = records.any(|source| sets(&source));
        match &self.membership {
            Membership::Workgroup => Comes::FromNowhere,
            Membership::Domain(domain) if recorded => Comes::FromDomain(domain),
            Membership::Domain(_) if !known => Comes::Unknown,
            Membership::Unknown if recorded => Comes::Unknown,
            Membership::Domain(_) | Membership::Unknown => Comes::FromNowhere,
        }
    }

    /// The number that the next refresh sets `key\name` of SOFTWARE to, and the file that says so.
    pub fn next(&self, key: &str, name: &str) -> Option<(u32, &Source)> {
        // The local policy is applied first, so one of the domain that speaks of the value beats it.
        let order = [Role::Domain, Role::Local];
        order.iter().find_map(|role| {
            let mut sources = self.sources.iter().filter(|source| source.role == *role);
            sources.find_map(|source| Some((effect(source, key, name)?.dword()?, source)))
        })
    }
}

fn effect<'s>(source: &'s Source, key: &str, name: &str) -> Option<Effect<'s>> {
    let file = source.file.as_ref().ok()?;
    file.effect(&format!(r"Software\{key}"), name)
}

impl Installation {
    /// Looks for policy files and for the machine's domain.
    pub fn group_policy(&self) -> GroupPolicy {
        let mut files = vec![(
            Role::Local,
            format!(
                "{}/System32/GroupPolicy/Machine/Registry.pol",
                self.directory
            ),
        )];
        files.extend(self.copies().into_iter().map(|path| (Role::Domain, path)));
        if let Ok(data) = self.program_data() {
            files.push((Role::Applied, format!("{data}/ntuser.pol")));
        }
        let mut left = MOST_BYTES;
        let sources = files
            .into_iter()
            .filter_map(|(role, path)| {
                let entry = self.volume.entry(&path).ok()??;
                if entry.kind != EntryKind::File {
                    return None;
                }
                let read = self.volume.read(&path, left);
                left = left.saturating_sub(entry.len);
                let file = read.and_then(|bytes| PolicyFile::parse(&bytes));
                Some(Source {
                    role,
                    path: windows_path(&path),
                    file: file.map_err(|error| error.to_string()),
                })
            })
            .collect();
        GroupPolicy {
            sources,
            membership: self.membership(),
        }
    }

    /// The paths where copies of the domain's policies may have their registry settings.
    fn copies(&self) -> Vec<String> {
        let folders = |path: &str| -> Vec<String> {
            let entries = self.volume.list(path).unwrap_or_default();
            entries
                .into_iter()
                .filter(|entry| entry.kind == EntryKind::Directory)
                .map(|entry| format!("{path}/{}", entry.name))
                .take(MOST_COPIES)
                .collect()
        };
        let store = format!("{}/System32/GroupPolicy/DataStore/0/sysvol", self.directory);
        if !matches!(self.volume.entry(&store), Ok(Some(entry)) if entry.kind == EntryKind::Directory)
        {
            return Vec::new();
        }
        folders(&store)
            .into_iter()
            .flat_map(|domain| folders(&format!("{domain}/Policies")))
            .map(|policy| format!("{policy}/Machine/Registry.pol"))
            .take(MOST_COPIES)
            .collect()
    }

    /// The domain: `PolPrDmS` holds its SID, and nothing in a workgroup.
    fn membership(&self) -> Membership {
        let raw = |key: &str| match self.registry.raw(HiveName::Security, key, "") {
            Reading::Found((_, data)) => Some(data),
            _ => None,
        };
        match raw(r"Policy\PolPrDmS") {
            Some(sid) if !sid.is_empty() => {
                let name = [r"Policy\PolDnDDN", r"Policy\PolPrDmN"];
                let name = name.iter().find_map(|key| counted_text(&raw(key)?));
                Membership::Domain(name.unwrap_or_else(|| "an unnamed domain".to_owned()))
            }
            Some(_) => Membership::Workgroup,
            None => Membership::Unknown,
        }
    }
}

/// The text of a stored UNICODE_STRING: length in bytes, space in bytes, where it begins. `None` when it is empty.
fn counted_text(data: &[u8]) -> Option<String> {
    let len = usize::from(u16_le(data, 0)?);
    let start = usize::try_from(u32_le(data, 4)?).ok()?;
    let text = value::text(slice(data, start, len)?)?;
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry_policy::Instruction;

    const KEY: &str = r"Policies\Microsoft\Windows NT\Terminal Services";

    fn source(role: Role, number: Option<u32>) -> Source {
        let set = |number: u32| Instruction {
            key: format!(r"software\{KEY}"),
            value: "x".to_owned(),
            kind: 4,
            data: number.to_le_bytes().to_vec(),
        };
        Source {
            role,
            path: format!("{role:?}"),
            file: Ok(PolicyFile {
                instructions: number.into_iter().map(set).collect(),
            }),
        }
    }

    fn policy(sources: &[Source], membership: Membership) -> GroupPolicy {
        GroupPolicy {
            sources: sources.to_vec(),
            membership,
        }
    }

    #[test]
    fn where_a_value_comes_from() {
        let domain = || Membership::Domain("d".to_owned());
        let local = source(Role::Local, Some(1));
        let silent = source(Role::Local, None);
        let applied = source(Role::Applied, Some(1));
        let idle = source(Role::Applied, None);
        let bad = Source {
            file: Err("damaged".to_owned()),
            ..silent.clone()
        };
        let from = |sources: &[Source], membership| {
            let found = policy(sources, membership);
            match found.origin(KEY, "x") {
                Comes::FromFile(source) => format!("file {}", source.path),
                Comes::FromDomain(name) => format!("domain {name}"),
                Comes::Unknown => "unknown".to_owned(),
                Comes::FromNowhere => "nowhere".to_owned(),
            }
        };
        assert_eq!(from(&[local, idle.clone()], domain()), "file Local");
        assert_eq!(
            from(&[silent.clone(), applied.clone()], domain()),
            "domain d"
        );
        assert_eq!(
            from(std::slice::from_ref(&applied), Membership::Workgroup),
            "nowhere"
        );
        assert_eq!(from(&[applied], Membership::Unknown), "unknown");
        assert_eq!(from(&[silent, idle], domain()), "nowhere");
        assert_eq!(from(&[], domain()), "unknown");
        assert_eq!(from(&[], Membership::Unknown), "nowhere");
        assert_eq!(from(&[bad], Membership::Workgroup), "unknown");
    }

    #[test]
    fn the_domain_beats_the_local_policy() {
        let sources = [source(Role::Local, Some(1)), source(Role::Domain, Some(0))];
        let found = policy(&sources, Membership::Unknown);
        assert_eq!(found.next(KEY, "x").unwrap().0, 0);
        assert_eq!(found.next(KEY, "y"), None);
        let applied = policy(&[source(Role::Applied, Some(1))], Membership::Unknown);
        assert_eq!(applied.next(KEY, "x"), None);
    }

    #[test]
    fn counted_text_stays_inside_its_value() {
        let mut data = vec![4, 0, 6, 0, 8, 0, 0, 0, b'a', 0, b'b', 0, 0, 0];
        assert_eq!(counted_text(&data).unwrap(), "ab");
        data[4] = 0xff;
        assert_eq!(counted_text(&data), None);
        assert_eq!(counted_text(&[0; 8]), None);
        assert_eq!(counted_text(&[]), None);
    }
}
