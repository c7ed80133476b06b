// SPDX-License-Identifier: GPL-2.0-or-later
//! What the event logs say of Remote Desktop.
//!
//! An event tells what was, and not what is: whatever was repaired since then is not in the log. So an event alone is a
//! notice, and joins a finding that it proves as one more piece of evidence. Only events of the last 30 days that the
//! logs know count, and of faults only those after the last sign-in by Remote Desktop. The time of this host plays no part.

mod logons;
mod signs;
mod timeline;

use jiff::{SignedDuration, Timestamp};

use crate::windows::{EventLogs, LogState, LoggedEvent};

use super::{Check, Evidence, EvidenceKind, Facts, Finding, Problem, Run, Severity, Stage};

use logons::Failures;
use signs::Why;
pub(super) use signs::{Firewall, Service, Sign};
pub use timeline::TimelineEvent;
pub(super) use timeline::timeline;

/// How long before the newest record events count; ours.
const RECENT: SignedDuration = SignedDuration::from_hours(24 * 30);

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/event-id-troubleshoot-vm-rdp-connecton",
    "https://learn.microsoft.com/previous-versions/windows/it-pro/windows-10/security/threat-protection/auditing/event-4625",
];

const CERTIFICATE: Problem = Problem {
    id: "events.certificate",
    title: "The log says that a certificate or its key could not be used",
    severity: Severity::Notice,
    stage: Stage::Handshake,
    trigger: "Events 1057, 1058 or 1064 of TerminalServices-RemoteConnectionManager, or 36870 of Schannel for a server, and no finding explains them.",
    cause: "Without its certificate's key Remote Desktop cannot set up TLS, and clients report an internal error. Other servers on this machine log the same of their certificates.",
    fixes: &["machine-keys"],
};

const TLS: Problem = Problem {
    id: "events.tls",
    title: "The log says that a TLS server could not be set up",
    severity: Severity::Notice,
    stage: Stage::Handshake,
    trigger: "Events 36871 or 36874 of Schannel that are not those of a client, and no finding explains them.",
    cause: "The settings of TLS leave a server on this machine, perhaps Remote Desktop, no version or no cipher suite that its client knows.",
    fixes: &[],
};

const RDP_SERVICE: Problem = Problem {
    id: "events.rdp-service",
    title: "The log says that a service of Remote Desktop failed",
    severity: Severity::Notice,
    stage: Stage::Listener,
    trigger: "Events 7000, 7001, 7023, 7024, 7031, 7034 or 7038 of the Service Control Manager that name TermService, SessionEnv, UmRdpService, CryptSvc, KeyIso or CertPropSvc, and no finding explains them.",
    cause: "While the service is down nothing answers Remote Desktop. The error in the event tells why.",
    fixes: &[],
};

const FIREWALL_SERVICE: Problem = Problem {
    id: "events.firewall-service",
    title: "The log says that the firewall service failed",
    severity: Severity::Notice,
    stage: Stage::Firewall,
    trigger: "The same events name MpsSvc or BFE, and no finding explains them.",
    cause: "While the firewall service is down, the filters of the start may drop everything from outside.",
    fixes: &[],
};

const NETWORK_SERVICE: Problem = Problem {
    id: "events.network-service",
    title: "The log says that a service of the network failed",
    severity: Severity::Notice,
    stage: Stage::Network,
    trigger: "The same events name a service or driver that the network needs, and no finding explains them.",
    cause: "While it is down the machine has no working network.",
    fixes: &[],
};

const DUPLICATE_SID: Problem = Problem {
    id: "events.duplicate-sid",
    title: "The log says that a sign-in was refused because two machines share a SID",
    severity: Severity::Notice,
    stage: Stage::Logon,
    trigger: "Event 6167 of LsaSrv, and no finding explains it.",
    cause: "This machine and the one that connects were copied from one disk without sysprep. Since the updates of September 2025 Windows 11 24H2 and Windows Server 2025 refuse such sign-ins. Make one of them anew with sysprep.",
    fixes: &[],
};

const LOGON_FAILURES: Problem = Problem {
    id: "events.logon-failures",
    title: "The log tells of sign-ins that failed",
    severity: Severity::Notice,
    stage: Stage::Logon,
    trigger: "Events 4625 of the Security log for sign-ins over the network or by Remote Desktop, or 140 of RdpCoreTS, the last of them after the last sign-in by Remote Desktop.",
    cause: "The connection came as far as the sign-in, so network, firewall and listener worked then. The reasons tell what to look at: the password, the account, or its rights.",
    fixes: &[],
};

const GUESSES: Problem = Problem {
    id: "events.guessed-passwords",
    title: "Somebody guesses passwords",
    severity: Severity::Notice,
    stage: Stage::Logon,
    trigger: "At least 50 failed sign-ins, 50 of them from one address, or from ten addresses, or for ten accounts.",
    cause: "Remote Desktop is open to the Internet or to a machine that attacks. That can lock accounts and keep the listener busy. Let only known addresses reach the port.",
    fixes: &[],
};

const UNREAD: Problem = Problem {
    id: "events.unread",
    title: "A part of the event logs cannot be read",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "A log cannot be opened, or has chunks or records that are damaged.",
    cause: "Windows starts a new log by itself where it needs to. What stands in the damaged part is not known here.",
    fixes: &[],
};

pub(super) const CHECK: Check = Check {
    id: "events",
    title: "The event logs tell of no trouble with Remote Desktop",
    looks_at: "The newest events in System, Security, Application and the logs of Remote Desktop (RemoteConnectionManager, LocalSessionManager, RdpCoreTS): at most 64 MiB of a log and half a year. Those that prove another finding are listed with it.",
    healthy: "No such events in the last 30 days that the logs know, or a sign-in by Remote Desktop after them.",
    problems: &[
        &CERTIFICATE,
        &TLS,
        &RDP_SERVICE,
        &FIREWALL_SERVICE,
        &NETWORK_SERVICE,
        &DUPLICATE_SID,
        &LOGON_FAILURES,
        &GUESSES,
        &UNREAD,
    ],
    source: SOURCE,
    run: Run::System(run),
};

/// What signs lead to.
struct Join {
    is_sign: fn(Sign) -> bool,
    /// The problem where nothing else explains them; `None` where they are then nothing to speak of.
    problem: Option<&'static Problem>,
    /// Beginnings of the ids of findings that explain them.
    explained_by: &'static [&'static str],
}

const JOINS: [Join; 13] = [
    Join {
        is_sign: |sign| sign == Sign::Certificate,
        problem: Some(&CERTIFICATE),
        explained_by: &["machine-keys.", "rdp-certificate."],
    },
    // Servers without a certificate of their own log it at each start.
    Join {
        is_sign: |sign| sign == Sign::NoCertificate,
        problem: None,
        explained_by: &["machine-keys.", "rdp-certificate."],
    },
    Join {
        is_sign: |sign| sign == Sign::Tls,
        problem: Some(&TLS),
        explained_by: &["tls.", "cipher-policy."],
    },
    Join {
        is_sign: |sign| sign == Sign::ServiceFailed(Service::RemoteDesktop),
        problem: Some(&RDP_SERVICE),
        explained_by: &[
            "services.rdp-disabled",
            "services.account",
            "services.missing",
        ],
    },
    Join {
        is_sign: |sign| matches!(sign, Sign::ServiceFailed(Service::Firewall(_))),
        problem: Some(&FIREWALL_SERVICE),
        explained_by: &["firewall-service.", "services.network-disabled"],
    },
    Join {
        is_sign: |sign| sign == Sign::ServiceFailed(Service::Network),
        problem: Some(&NETWORK_SERVICE),
        explained_by: &["services.network-disabled"],
    },
    Join {
        is_sign: |sign| sign == Sign::DuplicateSid,
        problem: Some(&DUPLICATE_SID),
        explained_by: &["machine-sid."],
    },
    // Failed sign-ins have a finding of their own, which counts them.
    Join {
        is_sign: |sign| sign == Sign::LogonFailed(Why::Disabled),
        problem: None,
        explained_by: &["accounts.disabled"],
    },
    Join {
        is_sign: |sign| sign == Sign::LogonFailed(Why::Locked),
        problem: None,
        explained_by: &["accounts.locked"],
    },
    Join {
        is_sign: |sign| sign == Sign::LogonFailed(Why::Expired),
        problem: None,
        explained_by: &["accounts.expired"],
    },
    Join {
        is_sign: |sign| sign == Sign::LogonFailed(Why::PasswordExpired),
        problem: None,
        explained_by: &["accounts.password-expired"],
    },
    Join {
        is_sign: |sign| sign == Sign::LogonFailed(Why::Restricted),
        problem: None,
        explained_by: &["accounts.blank-password"],
    },
    Join {
        is_sign: |sign| sign == Sign::LogonFailed(Why::Right),
        problem: None,
        explained_by: &["user-rights."],
    },
];

/// Reads the logs of an installation for the events that are known here.
pub(super) fn read(installation: &crate::windows::Installation) -> EventLogs {
    EventLogs::read(installation, &signs::is_wanted)
}

/// Which events count.
struct Window {
    /// The last time that this Windows is known to have run.
    newest: Option<Timestamp>,
    /// When somebody last signed in by Remote Desktop.
    signed_in: Option<Timestamp>,
}

impl Window {
    fn of(logs: &EventLogs) -> Window {
        let signed_in = logs
            .events
            .iter()
            .find(|event| signs::sign(event) == Some(Sign::SignedIn));
        Window {
            newest: logs.newest(),
            signed_in: signed_in.map(|event| event.time),
        }
    }

    fn is_recent(&self, event: &LoggedEvent) -> bool {
        self.newest
            .is_some_and(|newest| newest.duration_since(event.time) <= RECENT)
    }

    /// Recent, and nobody signed in by Remote Desktop after it.
    fn counts(&self, event: &LoggedEvent) -> bool {
        self.is_recent(event) && self.signed_in.is_none_or(|after| event.time > after)
    }
}

/// The events with a sign, newest first.
fn signs_of(logs: &EventLogs) -> impl Iterator<Item = (Sign, &LoggedEvent)> {
    let with_sign = |event| Some((signs::sign(event)?, event));
    logs.events.iter().filter_map(with_sign)
}

/// Evidence of the newest event that `wanted` takes, by its sign and id, among those that count.
pub(super) fn unrefuted(facts: &Facts<'_>, wanted: impl Fn(Sign, u32) -> bool) -> Option<Evidence> {
    let window = Window::of(facts.events());
    let mut events = signs_of(facts.events())
        .filter(|(sign, event)| wanted(*sign, event.event.id) && window.counts(event))
        .map(|(_, event)| event);
    let newest = events.next()?;
    let (mut count, mut oldest) = (1_u64, newest);
    for event in events {
        count = count.saturating_add(1);
        oldest = event;
    }
    let mut found = format!(
        "{}{}: {}",
        time_text(newest.time),
        age_text(window.newest, newest.time),
        signs::text(newest)
    );
    if count > 1 {
        found.push_str(&format!(
            " ({count} such events since {})",
            time_text(oldest.time)
        ));
    }
    Some(Evidence {
        kind: EvidenceKind::Event,
        location: location(newest),
        found,
        expected: "no such event".to_owned(),
    })
}

fn location(event: &LoggedEvent) -> String {
    format!(
        "{} log, {} {}",
        event.log, event.event.provider, event.event.id
    )
}

/// To the second, as everywhere in reports.
fn time_text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How long before the newest record, where that is long enough to matter.
fn age_text(newest: Option<Timestamp>, time: Timestamp) -> String {
    let hours = newest.map_or(0, |newest| newest.duration_since(time).as_hours());
    match hours {
        ..1 => String::new(),
        1..48 => format!(", {hours} hours before the newest record"),
        _ => format!(", {} days before the newest record", hours / 24),
    }
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = failed_logons(facts);
    findings.extend(unread(facts.events()));
    findings
}

/// Adds the evidence of events to the findings that explain them, and findings for what none explains.
pub(super) fn join(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    for join in JOINS {
        let Some(evidence) = unrefuted(facts, |sign, _| (join.is_sign)(sign)) else {
            continue;
        };
        let explanation = findings
            .iter_mut()
            .filter(|finding| explains(finding, &join))
            .max_by_key(|finding| finding.severity);
        match (explanation, join.problem) {
            (Some(finding), _) if finding.evidence.contains(&evidence) => {}
            (Some(finding), _) => finding.evidence.push(evidence),
            (None, Some(problem)) => findings.push(problem.found(SOURCE, vec![evidence])),
            (None, None) => {}
        }
    }
}

fn explains(finding: &Finding, join: &Join) -> bool {
    let is_one = join
        .explained_by
        .iter()
        .any(|id| finding.id.starts_with(id));
    // A notice explains no fault; that an account is disabled is a notice until it is seen to matter.
    is_one && (finding.severity > Severity::Notice || join.problem.is_none())
}

fn failed_logons(facts: &Facts<'_>) -> Vec<Finding> {
    let logs = facts.events();
    let window = Window::of(logs);
    let of = |wanted: fn(Sign) -> bool| {
        Failures::gather(
            signs_of(logs)
                .filter(|(sign, event)| wanted(*sign) && window.is_recent(event))
                .map(|(_, event)| event),
        )
    };
    let mut evidence = Vec::new();
    let mut guesses = false;
    for (failures, location) in [
        (
            of(|sign| matches!(sign, Sign::LogonFailed(_))),
            "Security log, Microsoft-Windows-Security-Auditing 4625",
        ),
        (
            of(|sign| sign == Sign::ConnectionRefused),
            "RdpCoreTS log, Microsoft-Windows-RemoteDesktopServices-RdpCoreTS 140",
        ),
    ] {
        let (Some(first), Some(last)) = (failures.first, failures.last) else {
            continue;
        };
        let is_guessing = failures.are_guesses();
        // Whoever signed in after all had only mistyped.
        if !is_guessing && window.signed_in.is_some_and(|after| last <= after) {
            continue;
        }
        guesses |= is_guessing;
        let mut parts = vec![format!(
            "{} from {} to {}",
            failures.count,
            time_text(first),
            time_text(last)
        )];
        for (what, counts) in [
            ("reasons", &failures.reasons),
            ("accounts", &failures.accounts),
            ("addresses", &failures.sources),
        ] {
            if counts.names() > 0 {
                parts.push(format!("{what}: {}", counts.shown()));
            }
        }
        evidence.push(Evidence {
            kind: EvidenceKind::Event,
            location: location.to_owned(),
            found: parts.join("; "),
            expected: "no such event".to_owned(),
        });
    }
    if evidence.is_empty() {
        return Vec::new();
    }
    let problem: &'static Problem = if guesses { &GUESSES } else { &LOGON_FAILURES };
    vec![problem.found(SOURCE, evidence)]
}

fn unread(logs: &EventLogs) -> Option<Finding> {
    let evidence: Vec<Evidence> = logs
        .logs
        .iter()
        .filter_map(|(_, path, state)| {
            let found = match state {
                LogState::Unreadable(why) => why.clone(),
                LogState::Read(extent)
                    if extent.damaged_chunks > 0 || extent.damaged_records > 0 =>
                {
                    format!(
                        "damaged chunks: {}, damaged records: {}, records read: {}",
                        extent.damaged_chunks, extent.damaged_records, extent.records
                    )
                }
                _ => return None,
            };
            Some(Evidence {
                kind: EvidenceKind::File,
                location: path.replace('/', "\\"),
                found,
                expected: "a log that can be read".to_owned(),
            })
        })
        .collect();
    (!evidence.is_empty()).then(|| UNREAD.found(SOURCE, evidence))
}
