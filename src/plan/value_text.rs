// SPDX-License-Identifier: GPL-2.0-or-later
//! Values of the account database and of the security policy as plans and reports show them.
//!
//! What holds password hashes or other secrets is not shown, encrypted as they are. Where a type field carries a number
//! and data is a structure, what it says is shown instead of its bytes.

use crate::bytes::u32_le;
use crate::edit::HiveName;
use crate::sam::{Alias, User};
use crate::windows::{accounts, filetime_text, user_rights, value};

/// A value for a person.
pub(crate) fn value_text(hive: HiveName, key: &str, name: &str, kind: u32, data: &[u8]) -> String {
    let known = match hive {
        HiveName::Sam => sam(key, name, kind, data),
        HiveName::Security => security(key, kind, data),
        _ => None,
    };
    known.unwrap_or_else(|| value::describe(kind, data))
}

fn secret(kind: u32, data: &[u8]) -> Option<String> {
    Some(format!(
        "{} (secret), {}",
        value::type_name(kind),
        count(data.len(), "byte")
    ))
}

fn count(number: usize, word: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {word}{ending}")
}

/// The rest of a key's path below another key.
fn below<'a>(key: &'a str, parent: &str) -> Option<&'a str> {
    let (head, rest) = key.split_at_checked(parent.len())?;
    let rest = match rest {
        "" => rest,
        _ => rest.strip_prefix('\\')?,
    };
    head.eq_ignore_ascii_case(parent).then_some(rest)
}

fn sam(key: &str, name: &str, kind: u32, data: &[u8]) -> Option<String> {
    let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
    if key.eq_ignore_ascii_case(accounts::DOMAIN) && is("F") {
        return secret(kind, data);
    }
    if let Some(user) = below(key, accounts::USERS) {
        let rid = u32::from_str_radix(user, 16).ok();
        let user = rid.filter(|_| is("F")).map(|rid| User::parse(data, rid));
        return match user {
            Some(Ok(user)) => Some(format!(
                "account control {}; {} bad passwords; password set: {}; expires: {}",
                user.control_text(),
                user.bad_password_count(),
                filetime_text(user.password_last_set()),
                user.expires().map_or("never".to_owned(), filetime_text)
            )),
            Some(Err(_)) => None,
            // The keys of names hold nothing but a number.
            None if data.is_empty() => None,
            None => secret(kind, data),
        };
    }
    let rest = below(key, accounts::ALIASES)?;
    if let Some(member) = below(rest, "Members").filter(|_| name.is_empty()) {
        return match member.split_once('\\') {
            Some(_) => {
                let (groups, rest) = data.as_chunks::<4>();
                let is_list = rest.is_empty() && u32::try_from(groups.len()) == Ok(kind);
                let groups: Vec<String> = groups
                    .iter()
                    .map(|rid| format!("{:#x}", u32::from_le_bytes(*rid)))
                    .collect();
                is_list
                    .then(|| format!("in {}: {}", count(groups.len(), "group"), groups.join(", ")))
            }
            None => data
                .is_empty()
                .then(|| count(usize::try_from(kind).unwrap_or(usize::MAX), "account")),
        };
    }
    let alias = Alias::parse(data).ok().filter(|_| is("C"))?;
    let members: Vec<String> = alias.members().iter().map(|sid| sid.to_string()).collect();
    Some(match members.is_empty() {
        true => "no members".to_owned(),
        false => format!("members: {}", members.join(", ")),
    })
}

fn security(key: &str, kind: u32, data: &[u8]) -> Option<String> {
    let secrets = [
        r"Policy\Secrets",
        r"Policy\PolEKList",
        r"Policy\PolSecretEncryptionKey",
        "Cache",
    ];
    if secrets.iter().any(|parent| below(key, parent).is_some()) && !data.is_empty() {
        return secret(kind, data);
    }
    let account = below(key, user_rights::ACCOUNTS)?;
    let (_, part) = account.rsplit_once('\\')?;
    let is_mask = part.eq_ignore_ascii_case("ActSysAc") && kind == 0 && data.len() == 4;
    let mask = u32_le(data, 0).filter(|_| is_mask)?;
    Some(format!("REG_NONE {}", user_rights::mask_text(mask)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_not_shown() {
        let user = r"SAM\Domains\Account\Users\000003E8";
        let text =
            |key: &str, name: &str, data: &[u8]| value_text(HiveName::Sam, key, name, 3, data);
        assert_eq!(text(user, "V", b"secret"), "REG_BINARY (secret), 6 bytes");
        assert_eq!(
            text(&user.to_lowercase(), "v", b"x"),
            "REG_BINARY (secret), 1 byte"
        );
        let supplemental = text(user, "SupplementalCredentials", b"abc");
        assert_eq!(supplemental, "REG_BINARY (secret), 3 bytes");
        assert_eq!(
            text(accounts::DOMAIN, "F", b"k"),
            "REG_BINARY (secret), 1 byte"
        );
        assert_eq!(text(accounts::DOMAIN, "V", b"k"), "REG_BINARY 6B");
        let lsa = value_text(
            HiveName::Security,
            r"Policy\Secrets\DPAPI\CurrVal",
            "",
            0,
            b"k",
        );
        assert_eq!(lsa, "REG_NONE (secret), 1 byte");
        let mut f = vec![0; 80];
        f[0x30..0x32].copy_from_slice(&[0xe8, 3]);
        f[0x38] = 0x11;
        assert_eq!(
            text(user, "F", &f),
            "account control 0x11 (disabled, normal account); 0 bad passwords; password set: never; expires: never"
        );
    }

    #[test]
    fn numbers_in_the_place_of_types_are_told_as_numbers() {
        let tree = r"SAM\Domains\Builtin\Aliases\Members\S-1-5";
        let text = |key: &str, kind, data: &[u8]| value_text(HiveName::Sam, key, "", kind, data);
        assert_eq!(text(tree, 4, b""), "4 accounts");
        let member = format!(r"{tree}\0000000B");
        assert_eq!(text(&member, 1, &[0x21, 2, 0, 0]), "in 1 group: 0x221");
        assert_eq!(text(&member, 1, &[0x21, 2, 0]), "REG_SZ \"210200\"");
        let act = r"Policy\Accounts\S-1-1-0\ActSysAc";
        let mask = value_text(HiveName::Security, act, "", 0, &[2, 0, 0, 0]);
        assert_eq!(mask, "REG_NONE 0x2 (access from the network)");
    }
}
