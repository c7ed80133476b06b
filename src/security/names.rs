// SPDX-License-Identifier: GPL-2.0-or-later
//! Names of security identifiers, both ways: well-known ones, SDDL's two letters, services, and what the
//! caller adds (the image's own accounts and services).
//!
//! Specification: [MS-DTYP] 2.4.2.4 (well-known SIDs) and 2.5.1.1 (two letters). Names are those of English
//! Windows. A name is never guessed: a SID without one stays a SID.

use std::collections::HashMap;

use crate::error::{Error, Result};

use super::sid::Sid;

/// Two letters or nothing, authority, sub-authorities, name.
type Known = (&'static str, u64, &'static [u32], &'static str);

/// What is the same on every Windows.
const KNOWN: &[Known] = &[
    ("", 0, &[0], "NULL SID"),
    ("WD", 1, &[0], "Everyone"),
    ("", 2, &[0], "LOCAL"),
    ("", 2, &[1], "CONSOLE LOGON"),
    ("CO", 3, &[0], "CREATOR OWNER"),
    ("CG", 3, &[1], "CREATOR GROUP"),
    ("", 3, &[2], "CREATOR OWNER SERVER"),
    ("", 3, &[3], "CREATOR GROUP SERVER"),
    ("OW", 3, &[4], "OWNER RIGHTS"),
    ("", 5, &[1], "NT AUTHORITY\\DIALUP"),
    ("NU", 5, &[2], "NT AUTHORITY\\NETWORK"),
    ("", 5, &[3], "NT AUTHORITY\\BATCH"),
    ("IU", 5, &[4], "NT AUTHORITY\\INTERACTIVE"),
    ("SU", 5, &[6], "NT AUTHORITY\\SERVICE"),
    ("AN", 5, &[7], "NT AUTHORITY\\ANONYMOUS LOGON"),
    ("", 5, &[8], "NT AUTHORITY\\PROXY"),
    ("ED", 5, &[9], "NT AUTHORITY\\ENTERPRISE DOMAIN CONTROLLERS"),
    ("PS", 5, &[10], "NT AUTHORITY\\SELF"),
    ("AU", 5, &[11], "NT AUTHORITY\\Authenticated Users"),
    ("RC", 5, &[12], "NT AUTHORITY\\RESTRICTED"),
    ("", 5, &[13], "NT AUTHORITY\\TERMINAL SERVER USER"),
    ("", 5, &[14], "NT AUTHORITY\\REMOTE INTERACTIVE LOGON"),
    ("", 5, &[15], "NT AUTHORITY\\This Organization"),
    ("", 5, &[17], "NT AUTHORITY\\IUSR"),
    ("SY", 5, &[18], "NT AUTHORITY\\SYSTEM"),
    ("LS", 5, &[19], "NT AUTHORITY\\LOCAL SERVICE"),
    ("NS", 5, &[20], "NT AUTHORITY\\NETWORK SERVICE"),
    ("WR", 5, &[33], "NT AUTHORITY\\WRITE RESTRICTED"),
    ("", 5, &[113], "NT AUTHORITY\\Local account"),
    (
        "",
        5,
        &[114],
        "NT AUTHORITY\\Local account and member of Administrators group",
    ),
    (
        "UD",
        5,
        &[84, 0, 0, 0, 0, 0],
        "NT AUTHORITY\\USER MODE DRIVERS",
    ),
    ("", 5, &[80, 0], "NT SERVICE\\ALL SERVICES"),
    ("", 5, &[83, 0], "NT VIRTUAL MACHINE\\Virtual Machines"),
    ("BA", 5, &[32, 544], "BUILTIN\\Administrators"),
    ("BU", 5, &[32, 545], "BUILTIN\\Users"),
    ("BG", 5, &[32, 546], "BUILTIN\\Guests"),
    ("PU", 5, &[32, 547], "BUILTIN\\Power Users"),
    ("AO", 5, &[32, 548], "BUILTIN\\Account Operators"),
    ("SO", 5, &[32, 549], "BUILTIN\\Server Operators"),
    ("PO", 5, &[32, 550], "BUILTIN\\Print Operators"),
    ("BO", 5, &[32, 551], "BUILTIN\\Backup Operators"),
    ("RE", 5, &[32, 552], "BUILTIN\\Replicator"),
    (
        "RU",
        5,
        &[32, 554],
        "BUILTIN\\Pre-Windows 2000 Compatible Access",
    ),
    ("RD", 5, &[32, 555], "BUILTIN\\Remote Desktop Users"),
    (
        "NO",
        5,
        &[32, 556],
        "BUILTIN\\Network Configuration Operators",
    ),
    ("", 5, &[32, 557], "BUILTIN\\Incoming Forest Trust Builders"),
    ("MU", 5, &[32, 558], "BUILTIN\\Performance Monitor Users"),
    ("LU", 5, &[32, 559], "BUILTIN\\Performance Log Users"),
    (
        "",
        5,
        &[32, 560],
        "BUILTIN\\Windows Authorization Access Group",
    ),
    (
        "",
        5,
        &[32, 561],
        "BUILTIN\\Terminal Server License Servers",
    ),
    ("", 5, &[32, 562], "BUILTIN\\Distributed COM Users"),
    ("IS", 5, &[32, 568], "BUILTIN\\IIS_IUSRS"),
    ("CY", 5, &[32, 569], "BUILTIN\\Cryptographic Operators"),
    ("ER", 5, &[32, 573], "BUILTIN\\Event Log Readers"),
    (
        "CD",
        5,
        &[32, 574],
        "BUILTIN\\Certificate Service DCOM Access",
    ),
    ("RA", 5, &[32, 575], "BUILTIN\\RDS Remote Access Servers"),
    ("ES", 5, &[32, 576], "BUILTIN\\RDS Endpoint Servers"),
    ("MS", 5, &[32, 577], "BUILTIN\\RDS Management Servers"),
    ("HA", 5, &[32, 578], "BUILTIN\\Hyper-V Administrators"),
    (
        "AA",
        5,
        &[32, 579],
        "BUILTIN\\Access Control Assistance Operators",
    ),
    ("RM", 5, &[32, 580], "BUILTIN\\Remote Management Users"),
    ("", 5, &[32, 581], "BUILTIN\\System Managed Accounts Group"),
    ("", 5, &[32, 582], "BUILTIN\\Storage Replica Administrators"),
    (
        "AC",
        15,
        &[2, 1],
        "APPLICATION PACKAGE AUTHORITY\\ALL APPLICATION PACKAGES",
    ),
    (
        "",
        15,
        &[2, 2],
        "APPLICATION PACKAGE AUTHORITY\\ALL RESTRICTED APPLICATION PACKAGES",
    ),
    ("", 16, &[0], "Mandatory Label\\Untrusted Mandatory Level"),
    ("LW", 16, &[4096], "Mandatory Label\\Low Mandatory Level"),
    ("ME", 16, &[8192], "Mandatory Label\\Medium Mandatory Level"),
    (
        "MP",
        16,
        &[8448],
        "Mandatory Label\\Medium Plus Mandatory Level",
    ),
    ("HI", 16, &[12288], "Mandatory Label\\High Mandatory Level"),
    (
        "SI",
        16,
        &[16384],
        "Mandatory Label\\System Mandatory Level",
    ),
    ("AS", 18, &[1], "Authentication authority asserted identity"),
    ("SS", 18, &[2], "Service asserted identity"),
];

/// Two letters that mean an account of a domain (or, for LA and LG, of the machine): its relative identifier.
const DOMAIN: &[(&str, u32)] = &[
    ("RO", 498),
    ("LA", 500),
    ("LG", 501),
    ("DA", 512),
    ("DU", 513),
    ("DG", 514),
    ("DC", 515),
    ("DD", 516),
    ("CA", 517),
    ("SA", 518),
    ("EA", 519),
    ("PA", 520),
    ("CN", 522),
    ("AP", 525),
    ("KA", 526),
    ("EK", 527),
    ("RS", 553),
];

/// Services that own things everywhere, so that they have a name without the image's list of services.
const SERVICES: &[&str] = &[
    "TrustedInstaller",
    "SessionEnv",
    "TermService",
    "WdiServiceHost",
];

const SERVICE_DOMAIN: &str = "NT SERVICE\\";

fn find(is: impl Fn(&Known) -> bool) -> Option<&'static Known> {
    KNOWN.iter().find(|known| is(known))
}

fn known_sid(known: &Known) -> Option<Sid> {
    Sid::new(known.1, known.2)
}

fn known(sid: &Sid) -> Option<&'static Known> {
    find(|known| known.1 == sid.authority() && known.2 == sid.sub_authorities())
}

/// What SDDL's two letters mean; any case.
///
/// # Errors
/// `Refused` for letters that are not known, and for those of a domain when none is given.
pub fn from_letters(letters: &str, domain: Option<&Sid>) -> Result<Sid> {
    let known = find(|known| !known.0.is_empty() && known.0.eq_ignore_ascii_case(letters));
    if let Some(sid) = known.and_then(known_sid) {
        return Ok(sid);
    }
    let rid = DOMAIN
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(letters));
    let what = format!("the account `{}` of SDDL", letters.escape_debug());
    match (rid, domain) {
        (Some((_, rid)), Some(domain)) => domain
            .with_rid(*rid)
            .ok_or_else(|| Error::refused(what, "the domain's SID is too long for it")),
        (Some(_), None) => Err(Error::refused(
            format!("{what} means an account of a domain, and none is known"),
            "write the account as S-1-5-21-...",
        )),
        (None, _) => Err(Error::refused(
            format!("{what} is not known"),
            "write the account as S-1-...",
        )),
    }
}

/// SDDL's two letters for a SID, where it has some.
pub fn letters(sid: &Sid, domain: Option<&Sid>) -> Option<&'static str> {
    if let Some(known) = known(sid) {
        return Some(known.0).filter(|letters| !letters.is_empty());
    }
    let (parent, rid) = sid.split_rid()?;
    if Some(&parent) != domain {
        return None;
    }
    let found = DOMAIN.iter().find(|(_, known)| *known == rid)?;
    Some(found.0)
}

/// The names in use for one image.
#[derive(Clone, Debug)]
pub struct Names {
    added: HashMap<Sid, String>,
}

impl Default for Names {
    fn default() -> Self {
        Names::new()
    }
}

impl Names {
    /// The well-known names and a few services.
    pub fn new() -> Names {
        let mut names = Names {
            added: HashMap::new(),
        };
        for service in SERVICES {
            names.add_service(service);
        }
        names
    }

    /// Adds an account, such as `DESKTOP-1\ann`. A well-known name is not replaced.
    pub fn add(&mut self, sid: Sid, name: impl Into<String>) {
        self.added.insert(sid, name.into());
    }

    /// Adds a service by the name of its key.
    pub fn add_service(&mut self, service: &str) {
        self.add(Sid::service(service), format!("{SERVICE_DOMAIN}{service}"));
    }

    /// The name of a SID; None when it has none.
    pub fn name(&self, sid: &Sid) -> Option<&str> {
        known(sid)
            .map(|known| known.3)
            .or_else(|| self.added.get(sid).map(String::as_str))
    }

    /// The name of a SID, or the SID as text.
    pub fn display(&self, sid: &Sid) -> String {
        self.name(sid)
            .map_or_else(|| sid.to_string(), str::to_owned)
    }

    /// Who is meant by `*S-1-...`, `S-1-...`, `DOMAIN\name`, `NT SERVICE\any service`, or a name without its
    /// domain when only one account has it. Any case. Two letters of SDDL are not names.
    ///
    /// # Errors
    /// `Refused` when nobody or more than one is meant.
    pub fn find(&self, text: &str) -> Result<Sid> {
        if let Some(figures) = text.strip_prefix('*') {
            return figures.parse();
        }
        if let Ok(sid) = text.parse() {
            return Ok(sid);
        }
        let same = |one: &str, other: &str| one.to_lowercase() == other.to_lowercase();
        let all = || {
            let known = KNOWN
                .iter()
                .filter_map(|known| Some((known_sid(known)?, known.3)));
            let added = self.added.iter();
            known.chain(added.map(|(sid, name)| (sid.clone(), name.as_str())))
        };
        if let Some((sid, _)) = all().find(|(_, name)| same(name, text)) {
            return Ok(sid);
        }
        let service = text
            .split_at_checked(SERVICE_DOMAIN.len())
            .filter(|(domain, name)| same(domain, SERVICE_DOMAIN) && !name.is_empty());
        if let Some((_, service)) = service {
            return Ok(Sid::service(service));
        }
        let mut found = all().filter(|(_, name)| {
            name.rsplit_once('\\')
                .is_some_and(|(_, account)| same(account, text))
        });
        let text = text.escape_debug();
        match (found.next(), found.next()) {
            (Some((sid, _)), None) => Ok(sid),
            (Some((_, one)), Some((_, other))) => Err(Error::refused(
                format!("`{text}` may be {one} or {other}"),
                "write it with its domain, or as *S-1-...",
            )),
            (None, _) => Err(Error::refused(
                format!("no account `{text}` is known"),
                "write it as *S-1-...",
            )),
        }
    }
}
