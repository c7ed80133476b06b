// SPDX-License-Identifier: GPL-2.0-or-later
//! The certificate of Remote Desktop: the one that Windows makes itself, or one that somebody pinned.
//!
//! Windows makes a certificate, its store and its key when its services start and any of them is missing, so nothing
//! missing is a fault. What it does not heal: a certificate whose key is gone, a store that it may not write to, and
//! often one that expired. A certificate is deleted only when its key is in Remote Desktop's own container and no pin
//! names it; anything else may be an administrator's.

use std::collections::HashSet;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::certificate::Certificate;
use crate::certificate::container::REMOTE_DESKTOP;
use crate::certificate::element::Thumbprint;
use crate::edit::{Edit, HiveName};
use crate::error::{Error, Result};
use crate::windows::certificates::{self, Content, Stored};
use crate::windows::{KeyFile, Reading, value};

use super::{
    Check, Evidence, EvidenceKind, Facts, Finding, Fix, Problem, Proposal, Run, Severity, unjudged,
    unknown_value,
};

mod access;
mod keys;
mod pins;
mod problems;

use keys::Key;
use problems::*;

const SOURCE: &[&str] = &[
    "Azure/repair-script-library win-fix-rdp-certificate",
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/event-id-troubleshoot-vm-rdp-connecton",
    "https://learn.microsoft.com/azure/virtual-machines/windows/prepare-for-upload-vhd-image",
];

pub(super) const CHECK: Check = Check {
    id: "rdp-certificate",
    title: "Remote Desktop has a certificate that it can use, or can make one",
    looks_at: "The store Remote Desktop (certificates, their last day, where their keys lie; permissions of its keys), the listener's and the policy's SSLCertificateSHA1Hash, SelfSignedCertificate, CertTemplateName, and the names of the files in MachineKeys and, for keys of CNG, in Crypto\\Keys and Crypto\\SystemKeys.",
    healthy: "A missing store, certificate, key or MachineKeys folder is healthy: Windows makes them. A key of CNG that is not the machine's, or not in a file (a chip, a card), is not judged, and neither is one whose folder cannot be listed; of CNG that is told.",
    problems: &[
        &EXPIRED,
        &EXPIRED_SINCE,
        &ORPHANED,
        &KEY_OF_ANOTHER,
        &LEFT_ALONE,
        &KEY_NOT_JUDGED,
        &UNREADABLE,
        &STORE_DENIED,
        &STORE_DENIED_ABOVE,
        &STORE_UNREADABLE,
        &PINNED,
        &PIN_EXPIRED,
        &PIN_DANGLING,
        &UNCLEAR,
    ],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: problems::FIX,
    values: "renew or unpin; nothing for what is wrong",
    title: "Make Windows use a new certificate for Remote Desktop",
    explanation: "Alone: deletes certificates of Windows' own making (container TSSecKeySet1, in the store Remote Desktop) that have expired or whose key file is missing, and removes entries that deny SYSTEM to change the store. renew: the same, and deletes those that look sound too. Windows makes a new certificate at its next start. A pinned certificate, one with another key container and one that cannot be read are left alone. unpin: deletes the listener's SSLCertificateSHA1Hash in every control set that Select names, so that Windows uses a certificate of its own making; the pinned certificate itself stays.",
    source: SOURCE,
    edits,
};

/// What a certificate comes to.
enum State {
    /// Windows' own, past its last day.
    Expired,
    /// Windows' own, without a key file.
    Orphaned,
    /// Windows' own, with key files of other machines only.
    KeyOfAnother(Vec<String>),
    /// Windows' own, and as it should be.
    Sound,
    /// Not Windows' own, or pinned: expired, or without a key file.
    NotOursAndUnusable(String),
    /// Not Windows' own, or pinned.
    NotOurs,
}

/// What is known of all certificates.
struct Store {
    certificates: Vec<Stored>,
    /// Named by a pin, so not to be deleted; `None` when a pin cannot be read and so any may be.
    pinned: Option<HashSet<Thumbprint>>,
}

impl Store {
    fn read(facts: &Facts<'_>) -> Result<Store, String> {
        let registry = facts.registry();
        let mut pinned = Some(HashSet::new());
        for pin in pins::pins(facts) {
            match pin.thumbprint {
                Reading::Found(thumbprint) => {
                    if let Some(pinned) = &mut pinned {
                        pinned.insert(thumbprint);
                    }
                }
                Reading::Malformed(_) | Reading::Unreadable(_) => pinned = None,
                Reading::NoValue | Reading::NoKey => {}
            }
        }
        Ok(Store {
            certificates: certificates::certificates(registry, certificates::REMOTE_DESKTOP)?,
            pinned,
        })
    }

    fn may_be_pinned(&self, thumbprint: Thumbprint) -> bool {
        self.pinned
            .as_ref()
            .is_none_or(|pinned| pinned.contains(&thumbprint))
    }

    fn judge(&self, facts: &Facts<'_>, content: &Content) -> State {
        let expired = content.certificate.not_after < now(facts);
        let key = Key::of(facts, content);
        if !is_own(content) || self.may_be_pinned(content.certificate.thumbprint) {
            return match (expired, key) {
                (_, Key::File(KeyFile::Absent, place)) => {
                    State::NotOursAndUnusable(format!("without a key file in {place}"))
                }
                (true, _) => State::NotOursAndUnusable("expired".to_owned()),
                (false, _) => State::NotOurs,
            };
        }
        match key {
            Key::File(KeyFile::Absent, _) => State::Orphaned,
            _ if expired => State::Expired,
            Key::File(KeyFile::OfOtherMachines(names), _) => State::KeyOfAnother(names),
            Key::File(KeyFile::Present(_), _) | Key::NotJudged(_) | Key::Unknown => State::Sound,
        }
    }
}

/// Whether Windows made it for Remote Desktop: its key is in that container of the older interface.
fn is_own(content: &Content) -> bool {
    content.provider.as_ref().is_some_and(|provider| {
        provider.is_capi() && provider.container.eq_ignore_ascii_case(REMOTE_DESKTOP)
    })
}

fn now(facts: &Facts<'_>) -> DateTime {
    facts.now.to_zoned(TimeZone::UTC).datetime()
}

fn day(date: DateTime) -> String {
    date.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `CN=host, RSA 2048, from 2011-12-02T20:06:00Z to 2012-06-02T20:06:00Z, key in TSSecKeySet1 (Microsoft ...)`.
fn shown(content: &Content) -> String {
    let Certificate {
        subject,
        key,
        not_before,
        not_after,
        ..
    } = &content.certificate;
    let mut text = value::printable(subject).into_owned();
    if let Some(key) = key {
        text.push_str(&format!(", {key}"));
    }
    text.push_str(&format!(
        ", from {} to {}",
        day(*not_before),
        day(*not_after)
    ));
    match &content.provider {
        Some(provider) => text.push_str(&format!(
            ", key in {} ({})",
            value::printable(&provider.container),
            value::printable(&provider.provider)
        )),
        None => text.push_str(", no private key named"),
    }
    if !content.certificate.is_for_remote_desktop() {
        text.push_str(", not for servers");
    }
    text
}

fn evidence(stored: &Stored, found: String, expected: String) -> Evidence {
    Evidence {
        kind: EvidenceKind::Certificate,
        location: HiveName::Software.full_path(&stored.key),
        found,
        expected,
    }
}

/// That Windows has a certificate which is good for today, so that it needs no new one yet.
fn has_sound_one(facts: &Facts<'_>, store: &Store) -> bool {
    store.certificates.iter().any(|stored| {
        matches!(&stored.content, Reading::Found(content)
            if matches!(store.judge(facts, content), State::Sound | State::NotOurs)
                && content.certificate.not_before <= now(facts)
                && now(facts) <= content.certificate.not_after)
    })
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = access::judge(facts);
    match Store::read(facts) {
        Ok(store) => {
            if has_sound_one(facts, &store) {
                for finding in &mut findings {
                    if finding.id == STORE_DENIED.id {
                        finding.severity = Severity::Risk;
                        finding.cause.add("A certificate that is still good is there; the next one cannot be made.");
                    }
                }
            }
            findings.extend(judge_store(facts, &store));
        }
        Err(why) => {
            let place = HiveName::Software.full_path(certificates::REMOTE_DESKTOP);
            findings.push(unjudged(
                &STORE_UNREADABLE,
                place,
                why,
                "keys that can be read",
                SOURCE,
            ));
        }
    }
    findings.extend(pins::judge_pins(facts));
    // By policy another certificate may be in use: worth knowing with every fault.
    if let (place, Reading::Found(template)) = certificates::policy_template(facts.registry())
        && !template.is_empty()
    {
        for finding in &mut findings {
            finding.evidence.push(Evidence {
                kind: EvidenceKind::Registry,
                location: place.clone(),
                found: format!("REG_SZ {:?}", value::printable(&template)),
                expected:
                    "no value; with one, Remote Desktop enrols a certificate by this template"
                        .to_owned(),
            });
        }
    }
    findings
}

fn judge_store(facts: &Facts<'_>, store: &Store) -> Vec<Finding> {
    let finding = |problem: &'static Problem| problem.found(SOURCE, Vec::new());
    let (mut expired, mut since) = (finding(&EXPIRED), finding(&EXPIRED_SINCE));
    let (mut orphaned, mut clone) = (finding(&ORPHANED), finding(&KEY_OF_ANOTHER));
    let (mut other, mut unreadable) = (finding(&LEFT_ALONE), finding(&UNREADABLE));
    let mut not_judged = finding(&KEY_NOT_JUDGED);
    let last_run = facts
        .installation
        .last_run(&facts.select.next())
        .map(|run| run.to_zoned(TimeZone::UTC).datetime());
    let in_use: HashSet<Thumbprint> = facts
        .sets()
        .iter()
        .flat_map(|set| certificates::self_signed(facts.registry(), set))
        .filter_map(|named| named.thumbprint.found())
        .collect();
    for stored in &store.certificates {
        let sound = "a certificate of this SHA-1".to_owned();
        let content = match &stored.content {
            Reading::Found(content) => content,
            Reading::NoValue => {
                unreadable
                    .evidence
                    .push(evidence(stored, "no value Blob".to_owned(), sound));
                continue;
            }
            Reading::Malformed(why) | Reading::Unreadable(why) => {
                unreadable
                    .evidence
                    .push(evidence(stored, why.clone(), sound));
                continue;
            }
            // Deleted between two looks: it cannot be, in memory.
            Reading::NoKey => continue,
        };
        let delete = || Edit::DeleteKey {
            hive: HiveName::Software,
            key: stored.key.clone(),
        };
        let mut found = shown(content);
        if let Key::NotJudged(place) = Key::of(facts, content) {
            let expected = format!("a key that Remote Desktop can read; it lies {place}");
            not_judged
                .evidence
                .push(evidence(stored, found.clone(), expected));
        }
        if in_use.contains(&content.certificate.thumbprint) {
            found.push_str("; SelfSignedCertificate names it");
        }
        match store.judge(facts, content) {
            State::Sound | State::NotOurs => {}
            State::Expired => {
                let kept = last_run.filter(|run| content.certificate.not_after < *run);
                let still = format!(
                    "still valid at {} (the clock of this host)",
                    day(now(facts))
                );
                match (kept, last_run) {
                    (Some(run), _) => {
                        let expected =
                            format!("{still}; Windows ran at {} by its own clock", day(run));
                        expired.evidence.push(evidence(stored, found, expected));
                        expired.cure.push(delete());
                    }
                    (None, run) => {
                        let run = run
                            .map_or("it is not known when Windows ran last".to_owned(), |run| {
                                format!("Windows last ran at {}, as far as is known", day(run))
                            });
                        since
                            .evidence
                            .push(evidence(stored, found, format!("{still}; {run}")));
                    }
                }
            }
            State::Orphaned => {
                let expected =
                    "a key file in MachineKeys, f686aace6942fb7f7ceb231212eef4a4_<MachineGuid>";
                orphaned
                    .evidence
                    .push(evidence(stored, found, expected.to_owned()));
                orphaned.cure.push(delete());
            }
            State::KeyOfAnother(names) => {
                let expected = format!(
                    "a key file with this machine's GUID, not {}",
                    names.join(", ")
                );
                clone.evidence.push(evidence(stored, found, expected));
            }
            State::NotOursAndUnusable(why) => {
                let expected =
                    format!("a certificate that is not {why} (now: {})", day(now(facts)));
                other.evidence.push(evidence(stored, found, expected));
            }
        }
    }
    [
        orphaned, expired, clone, unreadable, since, other, not_judged,
    ]
    .into_iter()
    .filter(|finding| !finding.evidence.is_empty())
    .collect()
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    match value {
        None => own(facts, false),
        Some("renew") => own(facts, true),
        Some("unpin") => Ok(pins::unpin(facts)),
        Some(other) => Err(unknown_value(&FIX, other)),
    }
}

/// Lets Windows make a certificate of its own.
fn own(facts: &Facts<'_>, sound_ones_too: bool) -> Result<Proposal> {
    let cannot = |why: String| {
        Error::refused(
            format!("the store of Remote Desktop's certificates cannot be read: {why}"),
            "nothing of it is changed; look at it with `coldfix reg query`",
        )
    };
    let mut proposal = Proposal {
        edits: access::lift(facts.registry()).map_err(cannot)?,
        ..Proposal::default()
    };
    let store = Store::read(facts).map_err(cannot)?;
    for stored in &store.certificates {
        let place = HiveName::Software.full_path(&stored.key);
        let content = match &stored.content {
            Reading::Found(content) => content,
            _ => {
                proposal
                    .notes
                    .push(format!("{place} cannot be read and is left alone"));
                continue;
            }
        };
        let gone = match store.judge(facts, content) {
            State::Expired | State::Orphaned => true,
            State::Sound | State::KeyOfAnother(_) => sound_ones_too,
            State::NotOurs | State::NotOursAndUnusable(_) => {
                proposal.notes.push(format!(
                    "{place} ({}) is pinned or not of Windows' own making, and is left alone",
                    value::printable(&content.certificate.subject)
                ));
                false
            }
        };
        if gone {
            proposal.edits.push(Edit::DeleteKey {
                hive: HiveName::Software,
                key: stored.key.clone(),
            });
        }
    }
    if proposal.edits.is_empty() {
        proposal.notes.push(format!(
            "{} holds nothing that has to go, and Windows may change it",
            HiveName::Software.full_path(certificates::REMOTE_DESKTOP)
        ));
    }
    Ok(proposal)
}
