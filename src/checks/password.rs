// SPDX-License-Identifier: GPL-2.0-or-later
//! A new password for a local account, when the old one is lost.
//!
//! The password reaches this file through [`Secrets`], which the command line implements, and goes no further than
//! its hash, encrypted with the key of this very disk. It is wiped from memory afterwards.

use zeroize::Zeroizing;

use crate::edit::HiveName;
use crate::error::{Error, Result};
use crate::sam::alias::{ADMINISTRATORS, REMOTE_DESKTOP_USERS};
use crate::sam::user::control;
use crate::sam::{HashBlob, HashKey, NtHash};
use crate::windows::{Account, Accounts, Reading, View, filetime};

use super::account_fixes::{editable, set};
use super::{Facts, Fix, Proposal, unknown_value};

/// The longest password that Windows' own dialogues take, in UTF-16 units.
const LONGEST: usize = 127;

/// A new password, with the random bytes that go with it.
pub struct NewPassword {
    /// The password.
    pub text: Zeroizing<String>,
    /// Random.
    pub salt: [u8; 16],
}

/// Nothing of it is shown.
impl std::fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewPassword(secret)")
    }
}

/// Where new passwords come from.
pub trait Secrets: std::fmt::Debug {
    /// The new password of an account; asked for only when nothing else stands in the way of setting it.
    ///
    /// # Errors
    /// `Refused` when nobody can be asked.
    fn new_password(&self, account: &str) -> Result<NewPassword>;
}

impl<'a> Facts<'a> {
    /// The facts with somebody to ask for new passwords.
    pub fn with_secrets(mut self, secrets: &'a dyn Secrets) -> Facts<'a> {
        self.secrets = Some(secrets);
        self
    }
}

pub(super) const FIX: Fix = Fix {
    name: "password",
    values: "the name, RID or SID of a local account; the password itself is asked for, or read from --password-fd or the environment variable COLDFIX_PASSWORD",
    title: "Set the password of a local account",
    explanation: "Writes the hash of a new password, encrypted as this Windows does it (both generations, RC4 and AES), and marks the password as set now, not expired, and the account as not locked. The password never appears on the command line, in the report, a plan or a journal; plans and journals hold the encrypted hash, which the key on the same disk opens, so keep them as carefully as the disk. What the user encrypted with EFS or stored with DPAPI (saved passwords, certificates) can no longer be read. Refused on domain controllers, for Microsoft accounts, and where the key is not on the disk.",
    source: &[
        "https://learn.microsoft.com/openspecs/windows_protocols/ms-samr/",
        "fortra/impacket secretsdump",
    ],
    edits,
};

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    let name = value.unwrap_or_default();
    if name.is_empty() {
        return Err(unknown_value(&FIX, name));
    }
    let earlier = facts.earlier();
    let accounts = editable(facts, &earlier)?;
    let account = accounts.find(name)?;
    if let Some(online) = &account.online {
        return Err(Error::refused(
            format!(
                "{} belongs to the Microsoft account {online}, whose password is checked by Microsoft, not by this disk",
                account.name
            ),
            "reset the password of the Microsoft account, or let another local account in",
        ));
    }
    let mut values = Accounts::values(View::new(facts.registry(), &earlier), account)?;
    let old = values.nt_hash()?;
    let key = hash_key(facts, &accounts)?;
    let Some(secrets) = facts.secrets else {
        return Err(Error::refused(
            "a new password is needed, and there is nobody to ask for it",
            "set passwords with `coldfix repair`",
        ));
    };
    let new = secrets.new_password(&account.name)?;
    check_password(&new.text)?;

    let hash = NtHash::of(&new.text);
    let stored = key.encrypt(&hash, account.rid, &old, new.salt);
    values.set_nt_hash(&stored)?;
    values.clear_lm_hash()?;
    let mut user = account.user.clone();
    user.password_was_set(filetime(facts.now));
    user.unlock();
    Ok(Proposal {
        edits: vec![
            set(account, "V", values.to_bytes()),
            set(account, "F", user.to_bytes()),
        ],
        notes: notes(facts, &accounts, account),
        ..Proposal::default()
    })
}

/// The key of hashes, checked against the hashes that are there.
fn hash_key(facts: &Facts<'_>, accounts: &Accounts) -> Result<HashKey> {
    let key = facts.installation.hash_key()?;
    // Hashes of the newer generation tell whether a key opens them: if none of several opens, the key is wrong.
    let mut opened = accounts.users.iter().filter_map(|account| {
        let hash = account.hash.as_ref()?;
        let tells = matches!(hash, HashBlob::Aes { data: Some(_), .. });
        tells.then(|| key.decrypt(hash, account.rid).is_ok())
    });
    let (first, others) = (opened.next(), opened.any(|opened| opened));
    if first == Some(false) && !others {
        return Err(Error::refused(
            "the key in SYSTEM opens none of the hashes in SAM: the two are not of the same machine",
            "restore SAM and SYSTEM from the same backup",
        ));
    }
    Ok(key)
}

fn check_password(text: &str) -> Result<()> {
    let wrong = |what: String| {
        Err(Error::refused(
            what,
            "nothing was changed; choose another password",
        ))
    };
    let length = text.encode_utf16().count();
    if length == 0 {
        return wrong(
            "the new password is empty: Windows takes a blank password at the console only"
                .to_owned(),
        );
    }
    if length > LONGEST {
        return wrong(format!(
            "the new password has {length} characters, Windows' logon takes {LONGEST}"
        ));
    }
    if text.contains(char::is_control) {
        return wrong("the new password holds a character that cannot be typed".to_owned());
    }
    Ok(())
}

fn notes(facts: &Facts<'_>, accounts: &Accounts, account: &Account) -> Vec<String> {
    let mut notes = vec![
        "what the user encrypted with EFS or stored with DPAPI under the old password (files, saved passwords, certificates) can no longer be read; the old password still opens it"
            .to_owned(),
    ];
    if account.user.has(control::DISABLED) {
        notes.push(format!(
            "{} is disabled; `--fix account={}:enable` enables it",
            account.name, account.rid
        ));
    }
    let is_in = |rid| {
        let group = accounts.group(rid);
        group.is_some_and(|group| group.alias.members().contains(&account.sid))
    };
    if !is_in(ADMINISTRATORS) && !is_in(REMOTE_DESKTOP_USERS) {
        notes.push(format!(
            "{} is neither in Administrators nor in Remote Desktop Users; `--fix rdp-users={}` adds it",
            account.name, account.rid
        ));
    }
    let view = View::new(facts.registry(), &[]);
    let reset = view.raw(HiveName::Sam, &account.key, "ForcePasswordReset");
    if matches!(reset, Reading::Found((_, data)) if data.iter().any(|byte| *byte != 0)) {
        notes.push(format!(
            "{} is marked to reset its password at the next logon (ForcePasswordReset); that is left as it is",
            account.name
        ));
    }
    notes
}
