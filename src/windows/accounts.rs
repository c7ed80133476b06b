// SPDX-License-Identifier: GPL-2.0-or-later
//! The local accounts and groups of an installation.
//!
//! ```text
//! SAM\Domains\Account                        F policy and keys, V machine SID
//!                    \Users\000003E8         F times and control, V name and hashes
//! SAM\Domains\Builtin\Aliases\0000022B       C members
//! SYSTEM\...\Control\ProductOptions          ProductType: LanmanNT on a domain controller
//! ```
//! What cannot be read is kept as a fault beside what can: one damaged account does not hide the others.

use crate::edit::HiveName;
use crate::error::Error;
use crate::hive::Key;
use crate::sam::{Alias, DomainPolicy, HashBlob, HashKey, NtHash, User, UserValues, machine_sid};
use crate::security::Sid;

use super::{Installation, Reading, View};

/// The key of the machine's own domain.
pub const DOMAIN: &str = r"SAM\Domains\Account";
/// The key of the local accounts.
pub const USERS: &str = r"SAM\Domains\Account\Users";
/// The key of the built-in groups.
pub const ALIASES: &str = r"SAM\Domains\Builtin\Aliases";
/// Keys of these names hold names and members, not accounts.
const NOT_RIDS: [&str; 2] = ["Names", "Members"];
/// Ours: accounts or groups that are read. A machine has some dozens, a host of many customers some thousands.
const MOST: usize = 20_000;
/// Ours: members of all groups together.
const MOST_MEMBERS: usize = 400_000;
/// Ours: the longest V; several times what Windows allows its parts to take.
const LONGEST_V: usize = 64 << 10;
/// Ours: names that an error lists.
const MOST_NAMES: usize = 20;

/// A local account.
#[derive(Clone, Debug)]
pub struct Account {
    /// The relative identifier.
    pub rid: u32,
    /// Its SID.
    pub sid: Sid,
    /// The key below the root of SAM.
    pub key: String,
    /// The name.
    pub name: String,
    /// Times and control bits.
    pub user: User,
    /// The hash of the password as it is stored; None when it cannot be judged.
    pub hash: Option<HashBlob>,
    /// The Microsoft account that it belongs to, where it does.
    pub online: Option<String>,
}

impl Account {
    /// Whether the password is blank: there is no hash, or `key` shows it to be that of an empty password. None when
    /// the stored hash cannot be judged.
    pub fn is_blank(&self, key: Option<&HashKey>) -> Option<bool> {
        let stored = self.hash.as_ref()?;
        if stored.is_blank() {
            return Some(true);
        }
        let hash = key?.decrypt(stored, self.rid).ok()?;
        Some(hash == Some(NtHash::of("")))
    }

    /// Where it is, for a person.
    pub fn location(&self) -> String {
        HiveName::Sam.full_path(&self.key)
    }
}

/// A built-in local group.
#[derive(Clone, Debug)]
pub struct Group {
    /// The relative identifier, such as 0x22b.
    pub rid: u32,
    /// The key below the root of SAM.
    pub key: String,
    /// Name and members.
    pub alias: Alias,
}

/// What of the database cannot be read or judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The place, for a person.
    pub location: String,
    /// What is there, or why it cannot be read.
    pub found: String,
    /// What should be there.
    pub expected: &'static str,
}

/// The local accounts and groups.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// The machine SID.
    pub machine: Sid,
    /// Lockout and password age; None when F of the domain is among the faults.
    pub policy: Option<DomainPolicy>,
    /// The accounts.
    pub users: Vec<Account>,
    /// The built-in groups.
    pub groups: Vec<Group>,
    /// What cannot be read.
    pub faults: Vec<Fault>,
}

impl Accounts {
    /// Reads them; a lone fault when there is nothing to read.
    ///
    /// # Errors
    /// What of the database is missing or cannot be read, so that nothing can be said.
    pub fn read(registry: View<'_>) -> Result<Accounts, Fault> {
        let read = |name: &str, expected: &'static str| {
            judged(
                registry.raw(HiveName::Sam, DOMAIN, name),
                DOMAIN,
                name,
                expected,
            )
        };
        let v = read("V", "a machine SID")?;
        let mut accounts = Accounts {
            machine: machine_sid(&v).map_err(|error| fault(DOMAIN, "V", &error))?,
            policy: None,
            users: Vec::new(),
            groups: Vec::new(),
            faults: Vec::new(),
        };
        let policy = read("F", "the policy for passwords")
            .and_then(|f| DomainPolicy::parse(&f).map_err(|error| fault(DOMAIN, "F", &error)));
        match policy {
            Ok(policy) => accounts.policy = Some(policy),
            Err(fault) => accounts.faults.push(fault),
        }
        for (rid, path, key) in accounts.rids(registry, USERS) {
            match accounts.account(registry, rid, path, key) {
                Ok(account) => accounts.users.push(account),
                Err(fault) => accounts.faults.push(fault),
            }
        }
        let mut members = 0_usize;
        for (rid, path, key) in accounts.rids(registry, ALIASES) {
            if members > MOST_MEMBERS {
                accounts
                    .faults
                    .push(too_many(&path, "members", members, MOST_MEMBERS));
                break;
            }
            let c = registry.raw_of(HiveName::Sam, &path, key, "C");
            let alias = judged(c, &path, "C", "a group")
                .and_then(|c| Alias::parse(&c).map_err(|error| fault(&path, "C", &error)));
            match alias {
                Ok(alias) => {
                    members = members.saturating_add(alias.members().len());
                    accounts.groups.push(Group {
                        rid,
                        key: path,
                        alias,
                    });
                }
                Err(fault) => accounts.faults.push(fault),
            }
        }
        Ok(accounts)
    }

    /// The keys below `key` that are named after a RID, with their paths; the others are faults.
    fn rids<'a>(&mut self, registry: View<'a>, key: &str) -> Vec<(u32, String, Key<'a>)> {
        let subkeys = match registry.subkeys(HiveName::Sam, key) {
            Ok(Some(subkeys)) => subkeys,
            Ok(None) => {
                self.faults.push(missing(key, "the key"));
                return Vec::new();
            }
            Err(found) => {
                self.faults.push(Fault {
                    location: HiveName::Sam.full_path(key),
                    found,
                    expected: "the key",
                });
                return Vec::new();
            }
        };
        if subkeys.len() > MOST {
            self.faults.push(too_many(key, "keys", subkeys.len(), MOST));
        }
        let mut found = Vec::new();
        for (name, subkey) in subkeys.into_iter().take(MOST) {
            if NOT_RIDS
                .iter()
                .any(|other| other.eq_ignore_ascii_case(&name))
            {
                continue;
            }
            let path = format!(r"{key}\{name}");
            let digits = name.len() == 8 && name.chars().all(|c| c.is_ascii_hexdigit());
            match u32::from_str_radix(&name, 16) {
                Ok(rid) if digits => found.push((rid, path, subkey)),
                _ => self.faults.push(Fault {
                    location: HiveName::Sam.full_path(&path),
                    found: "a key of this name".to_owned(),
                    expected: "a RID of eight digits",
                }),
            }
        }
        found
    }

    fn account<'a>(
        &self,
        registry: View<'a>,
        rid: u32,
        path: String,
        key: Key<'a>,
    ) -> Result<Account, Fault> {
        let raw = |name: &str| registry.raw_of(HiveName::Sam, &path, key, name);
        let f = judged(raw("F"), &path, "F", "80 bytes")?;
        let user = User::parse(&f, rid).map_err(|error| fault(&path, "F", &error))?;
        let v = judged(raw("V"), &path, "V", "names and hashes")?;
        if v.len() > LONGEST_V {
            return Err(too_many(&path, "bytes of V", v.len(), LONGEST_V));
        }
        let values = UserValues::parse(&v).map_err(|error| fault(&path, "V", &error))?;
        let online = ["InternetUserName", "InternetName"]
            .into_iter()
            .find_map(|name| raw(name).found())
            .map(|(_, data)| super::value::text(&data).unwrap_or_default());
        let sid = self.machine.with_rid(rid);
        Ok(Account {
            rid,
            sid: sid.unwrap_or_else(|| self.machine.clone()),
            name: values.name(),
            user,
            hash: values.nt_hash().ok(),
            online,
            key: path,
        })
    }

    /// The names and hashes of an account: its value V, as a whole.
    ///
    /// # Errors
    /// `Damaged` when it is not of its form.
    pub fn values(registry: View<'_>, account: &Account) -> Result<UserValues, Error> {
        let v = registry.raw(HiveName::Sam, &account.key, "V");
        match judged(v, &account.key, "V", "names and hashes") {
            Ok(v) => UserValues::parse(&v),
            Err(fault) => Err(Error::damaged(
                fault.location,
                0,
                fault.expected,
                fault.found,
            )),
        }
    }

    /// The account of a SID.
    pub fn by_sid(&self, sid: &Sid) -> Option<&Account> {
        self.users.iter().find(|account| account.sid == *sid)
    }

    /// The built-in group of a RID.
    pub fn group(&self, rid: u32) -> Option<&Group> {
        self.groups.iter().find(|group| group.rid == rid)
    }

    /// The account that is meant by a name (also with `.\` or the computer's name before it), a SID, or a RID.
    ///
    /// # Errors
    /// `Refused`, with the names that there are, when there is no such account.
    pub fn find(&self, text: &str) -> Result<&Account, Error> {
        let same = |one: &str, other: &str| one.to_lowercase() == other.to_lowercase();
        let by_name = |name: &str| self.users.iter().find(|user| same(&user.name, name));
        let name = text.rsplit_once('\\').map_or(text, |(_, name)| name);
        if let Some(found) = by_name(text).or_else(|| by_name(name)) {
            return Ok(found);
        }
        let sid = text.strip_prefix('*').unwrap_or(text).parse::<Sid>().ok();
        let rid = match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        };
        self.users
            .iter()
            .find(|user| sid.as_ref() == Some(&user.sid) || rid == Some(user.rid))
            .ok_or_else(|| {
                let mut known: Vec<String> = self
                    .users
                    .iter()
                    .take(MOST_NAMES)
                    .map(|user| format!("{} (RID {})", user.name, user.rid))
                    .collect();
                if self.users.len() > MOST_NAMES {
                    known.push("...".to_owned());
                }
                Error::refused(
                    format!("there is no local account {}", text.escape_debug()),
                    format!("the local accounts are: {}", known.join(", ")),
                )
            })
    }
}

/// A value that has to be REG_BINARY.
fn judged(
    reading: Reading<(u32, Vec<u8>)>,
    key: &str,
    name: &str,
    expected: &'static str,
) -> Result<Vec<u8>, Fault> {
    let wrong = |found: String| {
        Err(Fault {
            location: format!(r"{}\{name}", HiveName::Sam.full_path(key)),
            found,
            expected,
        })
    };
    match reading {
        Reading::Found((super::value::BINARY, data)) => Ok(data),
        Reading::Found((kind, _)) => wrong(super::value::type_name(kind)),
        Reading::NoValue => wrong("no value".to_owned()),
        Reading::NoKey => Err(missing(key, expected)),
        Reading::Malformed(text) | Reading::Unreadable(text) => wrong(text),
    }
}

fn too_many(key: &str, what: &str, count: usize, most: usize) -> Fault {
    Fault {
        location: HiveName::Sam.full_path(key),
        found: format!("{count} {what}; {most} are read"),
        expected: "fewer",
    }
}

fn missing(key: &str, expected: &'static str) -> Fault {
    Fault {
        location: HiveName::Sam.full_path(key),
        found: "no key".to_owned(),
        expected,
    }
}

fn fault(key: &str, name: &str, error: &Error) -> Fault {
    Fault {
        location: format!(r"{}\{name}", HiveName::Sam.full_path(key)),
        found: error.to_string(),
        expected: "the structure that Windows keeps there",
    }
}

impl Installation {
    /// Why this is a domain controller, whose accounts are in `NTDS.dit`; None when it is none.
    pub fn domain_controller(&self) -> Option<String> {
        let select = self.select().ok()?;
        let key = select.next().path(r"Control\ProductOptions");
        let kind = self.registry.text(HiveName::System, &key, "ProductType");
        if let Reading::Found(kind) = kind
            && kind.eq_ignore_ascii_case("LanmanNT")
        {
            return Some(format!(
                r"{}\ProductType is {kind}",
                HiveName::System.full_path(&key)
            ));
        }
        let database = format!("{}/NTDS/ntds.dit", self.directory);
        match self.volume.entry(&database) {
            Ok(Some(_)) => Some(format!("{} is there", crate::edit::windows_path(&database))),
            _ => None,
        }
    }
}
