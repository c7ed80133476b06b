// SPDX-License-Identifier: GPL-2.0-or-later
//! User rights: whether the security policy lets anybody log on through Remote Desktop.

use std::collections::BTreeMap;

use crate::edit::{Edit, HiveName};
use crate::error::{Error, Result};
use crate::security::Sid;
use crate::windows::UserRights;
use crate::windows::user_rights::{self, mask_text, right};

use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage, unknown_value,
};

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/windows-server/remote/deny-user-permissions-to-logon-to-rd-session-host",
    "https://learn.microsoft.com/windows/security/threat-protection/security-policy-settings/allow-log-on-through-remote-desktop-services",
    "Azure/repair-script-library win-fix-user-rights",
];

/// The name of the right in security templates.
const RDP_RIGHT: &str = "SeRemoteInteractiveLogonRight";

/// `ALL SERVICES` came with Vista.
const FIRST_BUILD_WITH_SERVICE_SIDS: u32 = 6000;

/// Groups that hold everybody, or everybody who may use Remote Desktop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Broad {
    Everyone,
    AuthenticatedUsers,
    Administrators,
    Users,
    RemoteDesktopUsers,
}

impl Broad {
    const ALL: [Broad; 5] = [
        Broad::Everyone,
        Broad::AuthenticatedUsers,
        Broad::Administrators,
        Broad::Users,
        Broad::RemoteDesktopUsers,
    ];

    fn sid(self) -> Option<Sid> {
        let (authority, parts): (u64, &[u32]) = match self {
            Broad::Everyone => (1, &[0]),
            Broad::AuthenticatedUsers => (5, &[11]),
            Broad::Administrators => (5, &[32, 544]),
            Broad::Users => (5, &[32, 545]),
            Broad::RemoteDesktopUsers => (5, &[32, 555]),
        };
        Sid::new(authority, parts)
    }
}

const DENIED: Problem = Problem {
    id: "user-rights.denied",
    title: "The security policy denies Remote Desktop or network logon to everybody",
    severity: Severity::Broken,
    stage: Stage::Logon,
    trigger: "Everyone, Authenticated Users, Administrators, Users or Remote Desktop Users holds \"deny log on through Remote Desktop\" or \"deny access to this computer from the network\".",
    cause: "A denied right overrides every granted one, and Network Level Authentication is a network logon. A domain's group policy may bring the entry back.",
    fixes: &[FIX.name],
};

const CONSOLE_DENIED: Problem = Problem {
    id: "user-rights.console-denied",
    title: "The security policy denies local logon to everybody",
    severity: Severity::Risk,
    stage: Stage::Logon,
    trigger: "Everyone, Authenticated Users, Administrators, Users or Remote Desktop Users holds \"deny log on locally\".",
    cause: "Nobody can log on at the console, the way back in when Remote Desktop fails.",
    fixes: &[FIX.name],
};

const NOBODY: Problem = Problem {
    id: "user-rights.nobody",
    title: "The security policy lets nobody log on through Remote Desktop",
    severity: Severity::Broken,
    stage: Stage::Logon,
    trigger: "None of Administrators, Remote Desktop Users, Users, Authenticated Users and Everyone holds \"allow log on through Remote Desktop Services\".",
    cause: "The logon is refused: \"to sign in remotely, you need the right to sign in through Remote Desktop Services\". A policy replaces the list of holders; one with a wrong list leaves nobody. A domain's group policy may do so again.",
    fixes: &[FIX.name],
};

const NOBODY_LOCALLY: Problem = Problem {
    id: "user-rights.nobody-locally",
    title: "The security policy lets nobody log on at the console",
    severity: Severity::Risk,
    stage: Stage::Logon,
    trigger: "None of Administrators, Users, Authenticated Users and Everyone holds \"allow log on locally\".",
    cause: "Nobody can log on at the console, the way back in when Remote Desktop fails.",
    fixes: &[FIX.name],
};

const SERVICES: Problem = Problem {
    id: "user-rights.services",
    title: "The security policy does not let services log on",
    severity: Severity::Risk,
    stage: Stage::Listener,
    trigger: "ALL SERVICES (S-1-5-80-0) does not hold \"log on as a service\", or is denied it, on Windows Vista or newer.",
    cause: "Services that run under an account of their own do not start.",
    fixes: &[FIX.name],
};

const UNCLEAR: Problem = Problem {
    id: "user-rights.unclear",
    title: "The user rights cannot be judged",
    severity: Severity::Risk,
    stage: Stage::Logon,
    trigger: "There is no Policy\\Accounts in SECURITY, or a mask in it is not four bytes of type REG_NONE.",
    cause: "coldfix judges and changes no right while an entry cannot be read: a wrong entry in this database keeps Windows from starting.",
    fixes: &[],
};

pub(super) const CHECK: Check = Check {
    id: "user-rights",
    title: "The security policy lets somebody log on",
    looks_at: "The logon rights of every account in SECURITY\\Policy\\Accounts: the masks ActSysAc.",
    healthy: "Administrators hold 0x407, Remote Desktop Users 0x400, Users 0x3, Everyone 0x2, ALL SERVICES 0x10. Whatever is narrower than that, but leaves somebody, is hardening and stays; so do denials of single accounts and of guests.",
    problems: &[
        &DENIED,
        &CONSOLE_DENIED,
        &NOBODY,
        &NOBODY_LOCALLY,
        &SERVICES,
        &UNCLEAR,
    ],
    source: SOURCE,
    run: Run::Hive(HiveName::Security, run),
};

pub(super) const FIX: Fix = Fix {
    name: "user-rights",
    values: "",
    title: "Give back the rights to log on",
    explanation: "Grants \"log on through Remote Desktop\" to Administrators and Remote Desktop Users (to those of them that the security template of this Windows, INF\\defltbase.inf or defltdc.inf, gives it to, where it is on the disk). Takes \"deny\" rights for Remote Desktop, network and local logon from Everyone, Authenticated Users, Administrators, Users and Remote Desktop Users. Where nobody may log on locally, Administrators may; where services may not log on, ALL SERVICES may. A missing entry is made as Windows makes it, after the pattern of another one.",
    source: SOURCE,
    edits,
};

/// The rights, and the masks that they should become.
struct Rights<'a> {
    facts: &'a Facts<'a>,
    rights: UserRights,
    /// The masks that cures ask for, over all triggers: an entry is written once.
    wanted: BTreeMap<Sid, u32>,
}

impl Rights<'_> {
    fn mask(&self, broad: Broad) -> u32 {
        broad.sid().map_or(0, |sid| self.rights.mask(&sid))
    }

    fn none_holds(&self, bit: u32, of: &[Broad]) -> bool {
        of.iter().all(|broad| self.mask(*broad) & bit == 0)
    }

    /// Asks for a mask with these bits set and those cleared.
    fn want(&mut self, sid: &Sid, set: u32, clear: u32) {
        let now = self.rights.mask(sid);
        let mask = self.wanted.entry(sid.clone()).or_insert(now);
        *mask = (*mask | set) & !clear;
    }

    /// Who of Administrators and Remote Desktop Users should hold the right of Remote Desktop.
    fn rdp_holders(&self) -> Vec<Sid> {
        let groups = [Broad::Administrators, Broad::RemoteDesktopUsers];
        let template = user_rights::template(self.facts.installation, RDP_RIGHT);
        let is_controller = self.facts.installation.domain_controller().is_some();
        groups
            .into_iter()
            .filter_map(|group| {
                let sid = group.sid()?;
                let holds = match &template {
                    Some(holders) => holders.contains(&sid),
                    // Windows' documented default.
                    None => group == Broad::Administrators || !is_controller,
                };
                holds.then_some(sid)
            })
            .collect()
    }
}

/// Where the hive is not there at all, or the rights can be judged.
fn read<'a>(facts: &'a Facts<'a>) -> Result<Option<Rights<'a>>, UserRights> {
    if matches!(facts.registry().hive(HiveName::Security), Ok(None)) {
        return Ok(None);
    }
    let rights = match UserRights::read(facts.registry()) {
        Ok(rights) if rights.faults.is_empty() => rights,
        Ok(rights) => return Err(rights),
        Err(fault) => {
            return Err(UserRights {
                masks: Vec::new(),
                faults: vec![fault],
            });
        }
    };
    Ok(Some(Rights {
        facts,
        rights,
        wanted: BTreeMap::new(),
    }))
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut rights = match read(facts) {
        Ok(Some(rights)) => rights,
        Ok(None) => return Vec::new(),
        Err(unclear) => {
            let mut gathered = Gathered::new(&UNCLEAR, SOURCE);
            super::accounts::add_faults(&mut gathered, &unclear.faults);
            return gathered.into_finding().into_iter().collect();
        }
    };
    let mut found: Vec<(&'static Problem, Missing)> = Vec::new();
    for (problem, bits) in DENIALS {
        let places = denied(&rights, bits);
        if !places.is_empty() {
            let changes = places.iter().map(|sid| (sid.clone(), 0, bits)).collect();
            let expected = "no denied logon for so many";
            found.push((
                problem,
                Missing {
                    places,
                    expected,
                    changes,
                },
            ));
        }
    }
    let missing = [
        (&NOBODY, nobody_remotely(&rights)),
        (&NOBODY_LOCALLY, nobody_locally(&rights)),
        (&SERVICES, services(&rights)),
    ];
    found.extend(
        missing
            .into_iter()
            .filter_map(|(problem, missing)| Some((problem, missing?))),
    );
    if found.is_empty() {
        return Vec::new();
    }
    for (sid, set, clear) in found.iter().flat_map(|(_, missing)| &missing.changes) {
        rights.want(sid, *set, *clear);
    }
    // Several findings may change one entry, so each has the cure of all: an entry is written once. Where one entry
    // cannot be made whole, none is touched.
    let cure = cure(&rights).unwrap_or_default();
    let names = facts.installation.names();
    found
        .into_iter()
        .filter_map(|(problem, missing)| {
            let mut gathered = Gathered::new(problem, SOURCE);
            for sid in missing.places {
                let known = rights.rights.masks.iter().find(|(known, _)| *known == sid);
                let mask = known.map_or("no rights".to_owned(), |(_, mask)| mask_text(*mask));
                let found = format!("{}: {mask}", names.display(&sid));
                let location = UserRights::location(&sid);
                gathered.add(true, location, found, missing.expected, []);
            }
            if !missing.changes.is_empty() {
                gathered.finding.cure.clone_from(&cure);
            }
            gathered.into_finding()
        })
        .collect()
}

/// What may be denied to nobody, and how bad it is.
const DENIALS: [(&Problem, u32); 2] = [
    (
        &DENIED,
        right::DENY_NETWORK | right::DENY_REMOTE_INTERACTIVE,
    ),
    (&CONSOLE_DENIED, right::DENY_INTERACTIVE),
];

/// The broad groups that are denied one of `bits`.
fn denied(rights: &Rights<'_>, bits: u32) -> Vec<Sid> {
    Broad::ALL
        .into_iter()
        .filter(|broad| rights.mask(*broad) & bits != 0)
        .filter_map(Broad::sid)
        .collect()
}

/// What one trigger found.
struct Missing {
    places: Vec<Sid>,
    expected: &'static str,
    /// SID, bits to set, bits to clear.
    changes: Vec<(Sid, u32, u32)>,
}

fn nobody_remotely(rights: &Rights<'_>) -> Option<Missing> {
    let bit = right::REMOTE_INTERACTIVE;
    rights.none_holds(bit, &Broad::ALL).then(|| Missing {
        places: Broad::ALL.into_iter().filter_map(Broad::sid).collect(),
        expected: "the right to log on through Remote Desktop, 0x400, for one of these",
        changes: rights
            .rdp_holders()
            .into_iter()
            .map(|sid| (sid, bit, 0))
            .collect(),
    })
}

fn nobody_locally(rights: &Rights<'_>) -> Option<Missing> {
    let of = [
        Broad::Administrators,
        Broad::Users,
        Broad::AuthenticatedUsers,
        Broad::Everyone,
    ];
    let bit = right::INTERACTIVE;
    rights.none_holds(bit, &of).then(|| Missing {
        places: of.into_iter().filter_map(Broad::sid).collect(),
        expected: "the right to log on locally, 0x1, for one of these",
        changes: Broad::Administrators
            .sid()
            .map(|sid| (sid, bit, 0))
            .into_iter()
            .collect(),
    })
}

fn services(rights: &Rights<'_>) -> Option<Missing> {
    let all_services = Sid::new(5, &[80, 0])?;
    let knows_them = rights
        .facts
        .build
        .is_some_and(|build| build >= FIRST_BUILD_WITH_SERVICE_SIDS);
    let mask = rights.rights.mask(&all_services);
    let healthy = mask & right::SERVICE != 0 && mask & right::DENY_SERVICE == 0;
    (knows_them && !healthy).then(|| Missing {
        places: vec![all_services.clone()],
        expected: "0x10 (log on as a service)",
        changes: vec![(all_services, right::SERVICE, right::DENY_SERVICE)],
    })
}

/// The edits for all wanted masks, or why none is made: an entry that cannot be made whole.
fn cure(rights: &Rights<'_>) -> Result<Vec<Edit>, String> {
    let mut edits = Vec::new();
    for (sid, mask) in &rights.wanted {
        if *mask != rights.rights.mask(sid) {
            edits.extend(user_rights::set(rights.facts.registry(), sid, *mask)?);
        }
    }
    Ok(edits)
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    if let Some(value) = value {
        return Err(unknown_value(&FIX, value));
    }
    let mut rights = match read(facts) {
        Ok(Some(rights)) => rights,
        Ok(None) => {
            return Err(Error::refused(
                "there is no hive SECURITY",
                "restore it from a backup (System32\\config\\RegBack, a snapshot)",
            ));
        }
        Err(unclear) => {
            let fault = unclear.faults.first();
            let what = fault.map_or_else(String::new, |fault| {
                format!("{}: {}", fault.location, fault.found)
            });
            return Err(Error::refused(
                format!("the user rights cannot be judged: {what}"),
                "nothing was changed; restore SECURITY from a backup, or set the value by hand with `coldfix reg add`",
            ));
        }
    };
    for (_, bits) in DENIALS {
        for sid in denied(&rights, bits) {
            rights.want(&sid, 0, bits);
        }
    }
    for sid in rights.rdp_holders() {
        rights.want(&sid, right::REMOTE_INTERACTIVE, 0);
    }
    for missing in [nobody_locally(&rights), services(&rights)] {
        for (sid, set, clear) in missing.into_iter().flat_map(|missing| missing.changes) {
            rights.want(&sid, set, clear);
        }
    }
    let edits = cure(&rights).map_err(|why| {
        Error::refused(
            format!("the rights cannot be given back: {why}"),
            "nothing was changed; restore SECURITY from a backup",
        )
    })?;
    let mut proposal = Proposal {
        edits,
        ..Proposal::default()
    };
    if !proposal.edits.is_empty() {
        proposal
            .notes
            .push("a domain's group policy may set the rights again".to_owned());
    }
    Ok(proposal)
}
