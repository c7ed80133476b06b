// SPDX-License-Identifier: GPL-2.0-or-later
//! Letting a local account in: into the group Remote Desktop Users, enabled, unlocked. No password is touched.

use crate::edit::{Edit, HexBytes, HiveName};
use crate::error::{Error, Result};
use crate::sam::alias::{ADMINISTRATORS, REMOTE_DESKTOP_USERS};
use crate::sam::user::control;
use crate::security::Sid;
use crate::windows::user_rights::right;
use crate::windows::{Account, Accounts, UserRights, View, membership, value};

use super::{Facts, Fix, Proposal, unknown_value};

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/openspecs/windows_protocols/ms-samr/",
    "https://learn.microsoft.com/troubleshoot/windows-server/remote/deny-user-permissions-to-logon-to-rd-session-host",
];

pub(super) const RDP_USERS: Fix = Fix {
    name: "rdp-users",
    values: "the name, RID or SID of an account; the SID of a domain's account or group",
    title: "Add an account to the group Remote Desktop Users",
    explanation: "Adds the SID to the members of the built-in group of RID 0x22B, whatever it is called in the language of this Windows, and the group to the account's own list in Aliases\\Members: Windows keeps both, and both are written, or neither. Refused on domain controllers.",
    source: SOURCE,
    edits: rdp_users,
};

pub(super) const ACCOUNT: Fix = Fix {
    name: "account",
    values: "NAME:ACTIONS, the name, RID or SID of a local account and enable, unlock, never-expires, or several of them with commas",
    title: "Enable or unlock a local account",
    explanation: "enable clears the bit that disables the account; unlock sets the number of bad passwords to 0, which ends a lockout; never-expires takes the day of expiry away. Nothing else of the account is changed. Refused on domain controllers.",
    source: SOURCE,
    edits: account,
};

impl Facts<'_> {
    /// Takes note of edits that will be made: a fix that writes part of a value builds on them.
    pub fn remember(&self, edits: &[Edit]) {
        self.earlier.borrow_mut().extend_from_slice(edits);
    }

    /// The edits that were remembered.
    pub(super) fn earlier(&self) -> Vec<Edit> {
        self.earlier.borrow().clone()
    }
}

/// The accounts, as the fixes named before on the same command line will leave them.
pub(super) fn editable(facts: &Facts<'_>, earlier: &[Edit]) -> Result<Accounts> {
    if let Some(why) = facts.installation.domain_controller() {
        return Err(Error::refused(
            format!(
                "this is a domain controller ({why}): its accounts are in Active Directory, not in SAM"
            ),
            "use the directory's own means, such as `ntdsutil` in Directory Services Restore Mode",
        ));
    }
    Accounts::read(View::new(facts.registry(), earlier)).map_err(|fault| {
        Error::refused(
            format!(
                "the account database cannot be read: {}: {}, expected {}",
                fault.location, fault.found, fault.expected
            ),
            "nothing was changed; restore SAM from a backup",
        )
    })
}

/// Sets a value of an account.
pub(super) fn set(account: &Account, name: &str, data: Vec<u8>) -> Edit {
    Edit::SetValue {
        hive: HiveName::Sam,
        key: account.key.clone(),
        name: name.to_owned(),
        kind: value::BINARY,
        data: HexBytes(data),
    }
}

fn account(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    let value = value.unwrap_or_default();
    let Some((name, actions)) = value.rsplit_once(':').filter(|(name, _)| !name.is_empty()) else {
        return Err(unknown_value(&ACCOUNT, value));
    };
    let earlier = facts.earlier();
    let accounts = editable(facts, &earlier)?;
    let account = accounts.find(name)?;
    let mut user = account.user.clone();
    let mut proposal = Proposal::default();
    for action in actions.split(',') {
        match action {
            "enable" => user.enable(),
            "unlock" => user.unlock(),
            "never-expires" => user.never_expires(),
            _ => return Err(unknown_value(&ACCOUNT, value)),
        }
        let key = facts.installation.hash_key().ok();
        let is_blank = account.is_blank(key.as_ref()) == Some(true) && account.online.is_none();
        if action == "enable" && is_blank {
            proposal.notes.push(format!(
                "{} has a blank password, which Windows takes at the console only; `--fix password={}` sets one",
                account.name, account.rid
            ));
        }
    }
    proposal.edits.push(set(account, "F", user.to_bytes()));
    Ok(proposal)
}

fn rdp_users(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    let text = value.unwrap_or_default();
    if text.is_empty() {
        return Err(unknown_value(&RDP_USERS, text));
    }
    let earlier = facts.earlier();
    let accounts = editable(facts, &earlier)?;
    let mut proposal = Proposal::default();
    let account = accounts.find(text);
    let sid = match &account {
        Ok(account) => account.sid.clone(),
        Err(_) => match facts.installation.names().find(text) {
            Ok(sid) => sid,
            // The names of accounts help more than those of groups.
            Err(_) => return account.map(|_| proposal),
        },
    };
    check_can_be_member(&sid, &accounts)?;
    if let Ok(account) = account {
        if account.user.has(control::DISABLED) {
            proposal.notes.push(format!(
                "{} is disabled; `--fix account={}:enable` enables it",
                account.name, account.rid
            ));
        }
        let admins = accounts.group(ADMINISTRATORS);
        if admins.is_some_and(|group| group.alias.members().contains(&account.sid)) {
            proposal.notes.push(format!(
                "{} is in Administrators, who may use Remote Desktop anyway",
                account.name
            ));
        }
    } else if is_everybody(&sid) {
        proposal.lowers_security.push(format!(
            "everybody with an account may log on through Remote Desktop: {} is let in",
            facts.installation.names().display(&sid)
        ));
    }
    let group = accounts.group(REMOTE_DESKTOP_USERS).ok_or_else(|| {
        let fault = accounts
            .faults
            .iter()
            .find(|fault| fault.location.to_lowercase().contains("\\0000022b"));
        let why = fault.map_or("it is not there".to_owned(), |fault| fault.found.clone());
        Error::refused(
            format!("the group Remote Desktop Users (RID 0x22b) cannot be read: {why}"),
            "nothing was changed; restore SAM from a backup",
        )
    })?;
    let view = View::new(facts.registry(), &earlier);
    proposal.edits = membership::add(view, group, &sid)?;
    let right_is_there = UserRights::read(facts.registry()).is_ok_and(|rights| {
        Sid::new(5, &[32, REMOTE_DESKTOP_USERS])
            .is_some_and(|group| rights.mask(&group) & right::REMOTE_INTERACTIVE != 0)
    });
    if !right_is_there {
        proposal.notes.push(
            "the group itself does not have the right to log on through Remote Desktop; `--fix user-rights` gives it"
                .to_owned(),
        );
    }
    Ok(proposal)
}

fn is_everybody(sid: &Sid) -> bool {
    matches!(
        (sid.authority(), sid.sub_authorities()),
        (1, [0]) | (5, [4 | 11 | 13 | 14 | 113])
    )
}

/// Local groups have no local groups in them, and an account of this machine has to exist.
fn check_can_be_member(sid: &Sid, accounts: &Accounts) -> Result<()> {
    let domain = sid.split_rid().map(|(domain, _)| domain);
    let is_local_group = matches!((sid.authority(), sid.sub_authorities()), (5, [32, _]));
    if is_local_group {
        return Err(Error::refused(
            format!("{sid} is a local group, and a local group cannot be in another one"),
            "name the accounts that are in it",
        ));
    }
    if domain.as_ref() == Some(&accounts.machine) && accounts.by_sid(sid).is_none() {
        return Err(Error::refused(
            format!("there is no account {sid} on this machine"),
            "`coldfix repair --fix rdp-users=NAME` takes the name of one that is there",
        ));
    }
    Ok(())
}
