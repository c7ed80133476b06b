// SPDX-License-Identifier: GPL-2.0-or-later
//! Local accounts: whether anybody is left who could log on through Remote Desktop.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::edit::HiveName;
use crate::sam::HashKey;
use crate::sam::alias::{ADMINISTRATORS, REMOTE_DESKTOP_USERS};
use crate::sam::user::control;
use crate::security::Sid;
use crate::windows::accounts::{ALIASES, Fault};
use crate::windows::user_rights::right;
use crate::windows::{
    Account, Accounts, Reading, UserRights, View, filetime, filetime_text, membership,
};

use super::{
    Check, Facts, Finding, Gathered, Problem, Run, Severity, Stage, account_fixes, shown,
    system_path,
};

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/windows-server/remote/deny-user-permissions-to-logon-to-rd-session-host",
    "https://learn.microsoft.com/windows/security/threat-protection/security-policy-settings/accounts-limit-local-account-use-of-blank-passwords-to-console-logon-only",
    "https://learn.microsoft.com/openspecs/windows_protocols/ms-samr/",
];

/// The built-in Administrator.
const ADMINISTRATOR: u32 = 500;
/// Guest, DefaultAccount and WDAGUtilityAccount: never used by people.
const NOT_PEOPLE: [u32; 3] = [501, 503, 504];

const NOBODY: Problem = Problem {
    id: "accounts.nobody",
    title: "No account is left that could log on through Remote Desktop",
    severity: Severity::Broken,
    stage: Stage::Logon,
    trigger: "The machine is in no domain, Windows' setup is over, and each local account with the right to log on through Remote Desktop is disabled, expired, locked without end, or has a blank password that the network may not use; or there is no such account.",
    cause: "Nobody can log on, whatever else is right. Whom to let in is a decision: name an account.",
    fixes: &[
        account_fixes::ACCOUNT.name,
        account_fixes::RDP_USERS.name,
        super::password::FIX.name,
    ],
};

const DISABLED: Problem = Problem {
    id: "accounts.disabled",
    title: "An account that may use Remote Desktop is disabled",
    severity: Severity::Notice,
    stage: Stage::Logon,
    trigger: "A member of Administrators or Remote Desktop Users is disabled; the built-in Administrator counts on servers only.",
    cause: "Its user is refused. Somebody may have meant it.",
    fixes: &[account_fixes::ACCOUNT.name],
};

const LOCKED: Problem = Problem {
    id: "accounts.locked",
    title: "An account that may use Remote Desktop is locked out",
    severity: Severity::Notice,
    stage: Stage::Logon,
    trigger: "A member of Administrators or Remote Desktop Users has given as many bad passwords as the policy allows, and the lockout has not ended.",
    cause: "Its user is refused even with the right password. Something may be trying passwords.",
    fixes: &[account_fixes::ACCOUNT.name],
};

const EXPIRED: Problem = Problem {
    id: "accounts.expired",
    title: "An account that may use Remote Desktop has expired",
    severity: Severity::Notice,
    stage: Stage::Logon,
    trigger: "The day on which a member of Administrators or Remote Desktop Users expires is past.",
    cause: "Its user is refused. Somebody may have meant it.",
    fixes: &[account_fixes::ACCOUNT.name],
};

const BLANK: Problem = Problem {
    id: "accounts.blank-password",
    title: "An account that may use Remote Desktop has a blank password",
    severity: Severity::Notice,
    stage: Stage::Logon,
    trigger: "An enabled member of Administrators or Remote Desktop Users has no password, and LimitBlankPasswordUse is not 0.",
    cause: "Windows takes a blank password at the console only.",
    fixes: &[super::password::FIX.name],
};

const PASSWORD_EXPIRED: Problem = Problem {
    id: "accounts.password-expired",
    title: "An account that may use Remote Desktop has to change its password",
    severity: Severity::Notice,
    stage: Stage::Logon,
    trigger: "The password of an enabled member of Administrators or Remote Desktop Users is older than the policy allows, or has to be changed at the next logon.",
    cause: "With Network Level Authentication the password cannot be changed while connecting: clients report that it has to be changed first.",
    fixes: &[super::password::FIX.name],
};

const UNCLEAR: Problem = Problem {
    id: "accounts.unclear",
    title: "Part of the account database cannot be judged",
    severity: Severity::Risk,
    stage: Stage::Logon,
    trigger: "A key or value of SAM that is looked at is missing, unreadable, or not of the form that Windows keeps there; or LimitBlankPasswordUse is no REG_DWORD.",
    cause: "Its accounts or groups are not judged, and coldfix does not change them. Restore SAM from a backup if accounts do not work.",
    fixes: &[],
};

pub(super) const CHECK: Check = Check {
    id: "accounts",
    title: "Somebody can log on",
    looks_at: "The accounts and groups in SAM: control bits, expiry, lockout, whether the password is blank, who is in Administrators and Remote Desktop Users; LimitBlankPasswordUse in Control\\Lsa. Not on domain controllers, whose accounts are elsewhere.",
    healthy: "A disabled built-in Administrator is the default on clients; Guest and the other built-in accounts are disabled everywhere.",
    problems: &[
        &NOBODY,
        &DISABLED,
        &LOCKED,
        &EXPIRED,
        &BLANK,
        &PASSWORD_EXPIRED,
        &UNCLEAR,
    ],
    source: SOURCE,
    run: Run::Hive(HiveName::Sam, run),
};

/// Everything the check needs, read once.
struct Situation<'a> {
    facts: &'a Facts<'a>,
    accounts: Accounts,
    now: u64,
    /// Blank passwords are for the console only; None when that cannot be judged.
    limits_blank: Option<bool>,
    /// The accounts of this machine that are in each built-in group, by either of its records.
    members: HashMap<u32, HashSet<u32>>,
    /// Opens hashes, where the disk has the key.
    key: Option<HashKey>,
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let absent = matches!(facts.registry().hive(HiveName::Sam), Ok(None));
    if absent || facts.installation.domain_controller().is_some() {
        return Vec::new();
    }
    let mut unclear = Gathered::new(&UNCLEAR, SOURCE);
    let accounts = match Accounts::read(View::new(facts.registry(), &[])) {
        Ok(accounts) => accounts,
        Err(fault) => {
            unclear.add(true, fault.location, fault.found, fault.expected, []);
            return unclear.into_finding().into_iter().collect();
        }
    };
    add_faults(&mut unclear, &accounts.faults);
    let lsa = facts.select.next().path(r"Control\Lsa");
    let limits_blank = match facts.system_dword(&lsa, "LimitBlankPasswordUse") {
        Reading::Found(number) => Some(number != 0),
        Reading::NoValue => Some(true),
        Reading::Malformed(found) => {
            let place = system_path(&lsa, "LimitBlankPasswordUse");
            unclear.add(true, place, found, &shown(1), []);
            None
        }
        Reading::NoKey | Reading::Unreadable(_) => None,
    };
    let situation = Situation {
        facts,
        members: members(facts, &accounts),
        accounts,
        now: filetime(facts.now),
        limits_blank,
        key: facts.installation.hash_key().ok(),
    };
    let mut findings: Vec<Finding> = unclear.into_finding().into_iter().collect();
    findings.extend(situation.nobody());
    findings.extend(situation.notices());
    findings
}

/// Places that cannot be judged, as evidence: the first of them.
pub(super) fn add_faults(unclear: &mut Gathered, faults: &[Fault]) {
    /// Ours: one damaged list can make thousands.
    const MOST: usize = 8;
    for (place, fault) in faults.iter().enumerate().take(MOST) {
        let more = faults.len().saturating_sub(MOST);
        let found = match place.saturating_add(1) == MOST && more > 0 {
            true => format!("{}; {more} more places are not listed", fault.found),
            false => fault.found.clone(),
        };
        unclear.add(true, fault.location.clone(), found, fault.expected, []);
    }
}

fn members(facts: &Facts<'_>, accounts: &Accounts) -> HashMap<u32, HashSet<u32>> {
    let mut members: HashMap<u32, HashSet<u32>> = HashMap::new();
    for group in &accounts.groups {
        let rids = group.alias.members().iter().filter_map(|member| {
            let (domain, rid) = member.split_rid()?;
            (domain == accounts.machine).then_some(rid)
        });
        members.entry(group.rid).or_default().extend(rids);
    }
    // A list that is not understood is the repair's business; the group's own record is there.
    let view = View::new(facts.registry(), &[]);
    for (rid, groups) in membership::groups_of_all(view, &accounts.machine) {
        for group in groups {
            members.entry(group).or_default().insert(rid);
        }
    }
    members
}

/// Groups of which one has the right wherever somebody may use Remote Desktop at all.
fn is_broad(sid: &Sid) -> bool {
    matches!(
        (sid.authority(), sid.sub_authorities()),
        (1, [0]) | (5, [11] | [32, 544 | 545 | 555])
    )
}

/// How an account is named in `--fix`: by its name where a shell takes that, else by its RID.
fn argument(account: &Account) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match !account.name.is_empty() && account.name.chars().all(plain) {
        true => account.name.clone(),
        false => account.rid.to_string(),
    }
}

impl Situation<'_> {
    fn is_member(&self, account: &Account, group: u32) -> bool {
        self.members
            .get(&group)
            .is_some_and(|rids| rids.contains(&account.rid))
    }

    fn may_use_remote_desktop(&self, account: &Account) -> bool {
        [ADMINISTRATORS, REMOTE_DESKTOP_USERS]
            .into_iter()
            .any(|rid| self.is_member(account, rid))
    }

    fn locked_until(&self, account: &Account) -> Option<u64> {
        let policy = self.accounts.policy.as_ref()?;
        policy.locked_until(&account.user, self.now)
    }

    fn has_expired(&self, account: &Account) -> Option<u64> {
        account.user.expires().filter(|at| *at <= self.now)
    }

    fn is_blank(&self, account: &Account) -> bool {
        account.online.is_none() && account.is_blank(self.key.as_ref()) == Some(true)
    }

    /// Why an account cannot log on through Remote Desktop for certain; with the fix for it.
    fn hindrance(&self, account: &Account) -> Option<(String, String)> {
        let name = argument(account);
        let fix = |action: &str| format!("{}={name}:{action}", account_fixes::ACCOUNT.name);
        if account.user.has(control::DISABLED) {
            return Some(("disabled".to_owned(), fix("enable")));
        }
        if let Some(at) = self.has_expired(account) {
            let text = format!("expired on {}", filetime_text(at));
            return Some((text, fix("never-expires")));
        }
        if self.locked_until(account) == Some(u64::MAX) {
            return Some(("locked until it is unlocked".to_owned(), fix("unlock")));
        }
        if self.is_blank(account) && self.limits_blank == Some(true) {
            let fix = format!("{}={name}", super::password::FIX.name);
            return Some(("a blank password".to_owned(), fix));
        }
        None
    }

    /// Whether Windows' setup is still to come, which makes accounts.
    fn is_in_setup(&self) -> bool {
        const STATE: &str = r"Microsoft\Windows\CurrentVersion\Setup\State";
        let set = |name: &str| {
            !matches!(
                self.facts.system_dword("Setup", name),
                Reading::Found(0) | Reading::NoValue
            )
        };
        let state = self
            .facts
            .registry()
            .text(HiveName::Software, STATE, "ImageState");
        set("SystemSetupInProgress")
            || set("OOBEInProgress")
            || set("SetupType")
            || matches!(state, Reading::Found(state) if state != "IMAGE_STATE_COMPLETE")
    }

    /// The accounts that may log on through Remote Desktop; None when others than local accounts may, or it cannot be
    /// told.
    fn candidates(&self) -> Option<Vec<&Account>> {
        let rights = UserRights::read(self.facts.registry()).ok()?;
        if !rights.faults.is_empty() || !self.accounts.faults.is_empty() {
            return None;
        }
        let by_rid: BTreeMap<u32, &Account> = self
            .accounts
            .users
            .iter()
            .map(|account| (account.rid, account))
            .collect();
        let mut found: BTreeMap<u32, &Account> = BTreeMap::new();
        // Whoever is not of this machine may be anybody. A member that was deleted from it is nobody.
        let mut add = |sid: &Sid| -> Option<()> {
            let (domain, rid) = sid.split_rid()?;
            let account = by_rid.get(&rid).map(|account| (rid, *account));
            found.extend(account);
            (domain == self.accounts.machine).then_some(())
        };
        let mut holders: Vec<Sid> = rights
            .masks
            .into_iter()
            .filter(|(_, mask)| mask & right::REMOTE_INTERACTIVE != 0)
            .map(|(sid, _)| sid)
            .collect();
        // That no group has the right is the finding of another check; here it counts as given back.
        if !holders.iter().any(is_broad) {
            let groups = [ADMINISTRATORS, REMOTE_DESKTOP_USERS];
            holders.extend(groups.iter().filter_map(|rid| Sid::new(5, &[32, *rid])));
        }
        let mut groups = Vec::new();
        for sid in &holders {
            match sid.sub_authorities() {
                [32, rid] if sid.authority() == 5 => {
                    for member in self.accounts.group(*rid)?.alias.members() {
                        add(member)?;
                    }
                    groups.push(*rid);
                }
                _ => add(sid)?,
            }
        }
        for account in &self.accounts.users {
            if groups.iter().any(|rid| self.is_member(account, *rid)) {
                found.insert(account.rid, account);
            }
        }
        Some(found.into_values().collect())
    }

    fn nobody(&self) -> Option<Finding> {
        if self.is_in_setup() {
            return None;
        }
        let candidates = self.candidates()?;
        let hindered: Vec<_> = candidates
            .iter()
            .filter_map(|account| Some((account, self.hindrance(account)?)))
            .collect();
        if hindered.len() < candidates.len() {
            return None;
        }
        let mut gathered = Gathered::new(&NOBODY, SOURCE);
        let mut fixes = Vec::new();
        for (account, (found, fix)) in hindered {
            if NOT_PEOPLE.contains(&account.rid) {
                continue;
            }
            gathered.add(
                true,
                account.location(),
                format!("{}: {found}", account.name),
                "an account that can log on",
                [],
            );
            fixes.push(fix);
        }
        if gathered.finding.evidence.is_empty() {
            let place = HiveName::Sam.full_path(&format!(r"{ALIASES}\{REMOTE_DESKTOP_USERS:08X}"));
            let found = "no local account in a group that may use Remote Desktop".to_owned();
            gathered.add(true, place, found, "a member", []);
            let users = self.accounts.users.iter();
            let usable = users.filter(|user| self.hindrance(user).is_none());
            fixes.extend(
                usable.map(|user| format!("{}={}", account_fixes::RDP_USERS.name, argument(user))),
            );
        }
        let mut finding = gathered.into_finding()?;
        if !fixes.is_empty() {
            finding.fixes = fixes;
        }
        Some(finding)
    }

    fn notices(&self) -> Vec<Finding> {
        let mut disabled = Gathered::new(&DISABLED, SOURCE);
        let mut locked = Gathered::new(&LOCKED, SOURCE);
        let mut expired = Gathered::new(&EXPIRED, SOURCE);
        let mut blank = Gathered::new(&BLANK, SOURCE);
        let mut password_expired = Gathered::new(&PASSWORD_EXPIRED, SOURCE);
        for account in &self.accounts.users {
            if NOT_PEOPLE.contains(&account.rid) || !self.may_use_remote_desktop(account) {
                continue;
            }
            let name = argument(account);
            let note = |gathered: &mut Gathered, found: String, expected: &str, fix: String| {
                if gathered.finding.evidence.is_empty() {
                    gathered.finding.fixes.clear();
                }
                gathered.finding.fixes.push(fix);
                let found = format!("{}: {found}", account.name);
                gathered.add(true, account.location(), found, expected, []);
            };
            let fix = |action: &str| format!("{}={name}:{action}", account_fixes::ACCOUNT.name);
            let password = || format!("{}={name}", super::password::FIX.name);
            if account.user.has(control::DISABLED) {
                if account.rid != ADMINISTRATOR || self.is_server() {
                    let found = format!("account control {}", account.user.control_text());
                    note(&mut disabled, found, "an enabled account", fix("enable"));
                }
                continue;
            }
            if let Some(until) = self.locked_until(account) {
                let count = account.user.bad_password_count();
                let end = match until {
                    u64::MAX => "until it is unlocked".to_owned(),
                    until => format!("until {}", filetime_text(until)),
                };
                let found = format!("{count} bad passwords, locked {end}");
                note(&mut locked, found, "fewer bad passwords", fix("unlock"));
            }
            if let Some(at) = self.has_expired(account) {
                let found = format!("expired on {}", filetime_text(at));
                note(&mut expired, found, "a later day", fix("never-expires"));
            }
            if self.is_blank(account) && self.limits_blank == Some(true) {
                let found = "a blank password".to_owned();
                note(&mut blank, found, "a password", password());
            } else if let Some(found) = self.password_has_expired(account) {
                let expected = "a password that is still good";
                note(&mut password_expired, found, expected, password());
            }
        }
        [disabled, locked, expired, blank, password_expired]
            .into_iter()
            .filter_map(Gathered::into_finding)
            .collect()
    }

    fn password_has_expired(&self, account: &Account) -> Option<String> {
        if account.user.has(control::PASSWORD_EXPIRED) {
            return Some("the password has expired".to_owned());
        }
        let never = account.user.has(control::PASSWORD_NEVER_EXPIRES);
        if account.user.password_last_set() == 0 && !never {
            return Some("the password has to be changed at the next logon".to_owned());
        }
        let policy = self.accounts.policy.as_ref()?;
        let at = policy.password_expired_at(&account.user, self.now)?;
        Some(format!("the password expired on {}", filetime_text(at)))
    }

    fn is_server(&self) -> bool {
        let key = self.facts.select.next().path(r"Control\ProductOptions");
        let kind = self
            .facts
            .registry()
            .text(HiveName::System, &key, "ProductType");
        matches!(kind, Reading::Found(kind) if !kind.eq_ignore_ascii_case("WinNT"))
    }
}
