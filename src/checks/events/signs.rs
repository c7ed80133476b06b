// SPDX-License-Identifier: GPL-2.0-or-later
//! Which events tell something of Remote Desktop, and what.

use crate::evtx::Event;
use crate::windows::LoggedEvent;

/// What an event is a sign of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Sign {
    /// The certificate of Remote Desktop, or its key, cannot be used.
    Certificate,
    /// There is no certificate for a TLS server.
    NoCertificate,
    /// A TLS server cannot be set up because of its settings.
    Tls,
    /// A service failed.
    ServiceFailed(Service),
    /// A sign-in was refused because the other machine has the same SID.
    DuplicateSid,
    /// A sign-in over the network or by Remote Desktop failed.
    LogonFailed(Why),
    /// A session of Remote Desktop was refused before that, for a wrong password.
    ConnectionRefused,
    /// A user has a session by Remote Desktop.
    SignedIn,
    /// A connection was let in: with NLA its user was recognised, without it nobody was asked yet.
    LetIn,
    /// A connection reached the listener.
    Connected,
    /// The listener began to listen.
    Listening,
    /// The listener or a session of it failed.
    ListenerFailed,
    /// A certificate was made.
    CertificateMade,
    /// Windows started.
    Started,
    /// Windows was shut down.
    Stopped,
    /// Windows stopped without having been shut down.
    Crashed,
    /// The sign-in screen's process ended.
    WinlogonEnded,
}

/// Why a sign-in failed, as far as another finding may explain it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Why {
    /// The account is disabled.
    Disabled,
    /// It is locked.
    Locked,
    /// It has expired.
    Expired,
    /// Its password has.
    PasswordExpired,
    /// It is restricted, for example because its password is blank.
    Restricted,
    /// It lacks the right to sign in this way.
    Right,
    /// A wrong password, no such account, or anything else.
    Other,
}

/// A service that Remote Desktop needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Service {
    /// Remote Desktop's own, or one that its certificate needs.
    RemoteDesktop,
    /// The firewall.
    Firewall(Firewall),
    /// The network.
    Network,
}

/// The two services of the firewall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Firewall {
    /// mpssvc.
    Service,
    /// BFE.
    Engine,
}

/// Services by name and by the name that English logs show. Newer logs carry the name in their binary data, whatever
/// the language.
const SERVICES: [(&str, &str, Service); 20] = {
    use Service::{Network, RemoteDesktop};
    const SERVICE: Service = Service::Firewall(Firewall::Service);
    const ENGINE: Service = Service::Firewall(Firewall::Engine);
    [
        ("TermService", "Remote Desktop Services", RemoteDesktop),
        ("TermService", "Terminal Services", RemoteDesktop),
        ("SessionEnv", "Remote Desktop Configuration", RemoteDesktop),
        (
            "UmRdpService",
            "Remote Desktop Services UserMode Port Redirector",
            RemoteDesktop,
        ),
        ("CryptSvc", "Cryptographic Services", RemoteDesktop),
        ("KeyIso", "CNG Key Isolation", RemoteDesktop),
        ("CertPropSvc", "Certificate Propagation", RemoteDesktop),
        ("MpsSvc", "Windows Firewall", SERVICE),
        ("MpsSvc", "Windows Defender Firewall", SERVICE),
        ("BFE", "Base Filtering Engine", ENGINE),
        ("RpcSs", "Remote Procedure Call (RPC)", Network),
        ("RpcEptMapper", "RPC Endpoint Mapper", Network),
        ("DcomLaunch", "DCOM Server Process Launcher", Network),
        ("Dhcp", "DHCP Client", Network),
        ("nsi", "Network Store Interface Service", Network),
        ("NlaSvc", "Network Location Awareness", Network),
        ("Tcpip", "TCP/IP Protocol Driver", Network),
        ("NDIS", "NDIS System Driver", Network),
        ("Afd", "Ancillary Function Driver for Winsock", Network),
        ("nsiproxy", "NSI Proxy Service Driver", Network),
    ]
};

const CONNECTION_MANAGER: &str = "Microsoft-Windows-TerminalServices-RemoteConnectionManager";
const SESSION_MANAGER: &str = "Microsoft-Windows-TerminalServices-LocalSessionManager";
const RDP_CORE: &str = "Microsoft-Windows-RemoteDesktopServices-RdpCoreTS";
const SERVICES_LOG: &str = "Service Control Manager";
const AUDIT: &str = "Microsoft-Windows-Security-Auditing";

/// Whether events of this provider and id are looked at.
pub(super) fn is_wanted(provider: &str, id: u32) -> bool {
    match provider {
        CONNECTION_MANAGER => {
            matches!(id, 258 | 261 | 1035 | 1036 | 1056..=1058 | 1064 | 1149)
        }
        SESSION_MANAGER => matches!(id, 21 | 25),
        RDP_CORE => matches!(id, 131 | 140),
        SERVICES_LOG => matches!(id, 7000 | 7001 | 7023 | 7024 | 7031 | 7034 | 7038),
        AUDIT => id == 4625,
        "Schannel" => matches!(id, 36870 | 36871 | 36872 | 36874),
        "LsaSrv" | "Microsoft-Windows-LSA" => id == 6167,
        "EventLog" => id == 6008,
        "Microsoft-Windows-Kernel-Power" => id == 41,
        "Microsoft-Windows-Kernel-General" => matches!(id, 12 | 13),
        "Microsoft-Windows-Winlogon" => id == 4005,
        "TermDD" => matches!(id, 50 | 56),
        _ => false,
    }
}

/// What an event is a sign of; `None` where it is one of those looked at, but not in this case.
pub(super) fn sign(logged: &LoggedEvent) -> Option<Sign> {
    let event = &logged.event;
    Some(match (event.provider.as_str(), event.id) {
        (CONNECTION_MANAGER, 1057 | 1058 | 1064) => Sign::Certificate,
        (CONNECTION_MANAGER, 1056) => Sign::CertificateMade,
        (CONNECTION_MANAGER, 1035 | 1036) | ("TermDD", _) => Sign::ListenerFailed,
        (CONNECTION_MANAGER, 1149) => Sign::LetIn,
        // The console's sessions are logged too, with LOCAL, or its translation, for an address.
        (SESSION_MANAGER, _) if event.field("Address").contains(['.', ':']) => Sign::SignedIn,
        (CONNECTION_MANAGER, 261) | (RDP_CORE, 131) => Sign::Connected,
        (CONNECTION_MANAGER, 258) => Sign::Listening,
        (RDP_CORE, 140) => Sign::ConnectionRefused,
        // Programs that connect out log the same with "client"; that is common and says nothing of the listener.
        ("Schannel", _) if is_of_client(event) => return None,
        ("Schannel", 36870) => Sign::Certificate,
        ("Schannel", 36872) => Sign::NoCertificate,
        ("Schannel", _) => Sign::Tls,
        (SERVICES_LOG, _) => Sign::ServiceFailed(service(event)?.1),
        // 3 network (also the first step of Remote Desktop with NLA), 7 unlock, 10 Remote Desktop.
        (AUDIT, _) if matches!(event.field("LogonType"), "3" | "7" | "10") => {
            Sign::LogonFailed(super::logons::why(event))
        }
        ("LsaSrv" | "Microsoft-Windows-LSA", _) => Sign::DuplicateSid,
        ("EventLog", _) | ("Microsoft-Windows-Kernel-Power", _) => Sign::Crashed,
        ("Microsoft-Windows-Kernel-General", 12) => Sign::Started,
        ("Microsoft-Windows-Kernel-General", _) => Sign::Stopped,
        ("Microsoft-Windows-Winlogon", _) => Sign::WinlogonEnded,
        _ => return None,
    })
}

/// Whether Schannel speaks of a program that connects out; the field has no name in older logs.
fn is_of_client(event: &Event) -> bool {
    let mut texts = event.data.iter().map(|(_, text)| text.trim());
    texts.any(|text| text.eq_ignore_ascii_case("client"))
}

/// The service that an event of the service control manager names, where it is one that Remote Desktop needs.
fn service(event: &Event) -> Option<(&'static str, Service)> {
    let shown = event.field("param1");
    let name = service_name(event.field("Binary"));
    SERVICES
        .iter()
        .find(|(key, display, _)| {
            let same =
                |text: &str| text.eq_ignore_ascii_case(key) || text.eq_ignore_ascii_case(display);
            same(shown) || name.as_deref().is_some_and(same)
        })
        .map(|(key, _, service)| (*key, *service))
}

/// The name in binary data: UTF-16 as hexadecimal digits, up to a zero or a slash.
fn service_name(digits: &str) -> Option<String> {
    /// Ours; names of services end at 256 characters.
    const LONGEST: usize = 1024;
    let digits = digits.get(..LONGEST.min(digits.len()))?;
    let bytes = crate::edit::hex_digits(digits)?;
    let (pairs, _) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| u16::from_le_bytes(*pair));
    let end = |unit: &u16| *unit != 0 && *unit != u16::from(b'/');
    let name: Result<String, _> = char::decode_utf16(units.take_while(end)).collect();
    name.ok().filter(|name| !name.is_empty())
}

/// An event in a sentence of ours; the texts of Windows are not in the log.
pub(super) fn text(logged: &LoggedEvent) -> String {
    let event = &logged.event;
    let field = |name| event.field(name);
    let text = match sign(logged) {
        Some(Sign::ServiceFailed(_)) => service_text(event),
        Some(Sign::Certificate) if event.provider == "Schannel" => format!(
            "the private key of a TLS server's certificate cannot be used: {}",
            details(event)
        ),
        Some(Sign::NoCertificate) => "no certificate for a TLS server is there".to_owned(),
        Some(Sign::Certificate) => match event.id {
            1057 => format!(
                "no self-signed certificate could be made: {}",
                details(event)
            ),
            1058 => format!(
                "the self-signed certificate could not be renewed: {}",
                details(event)
            ),
            _ => format!(
                "no certificate could be had from a template: {}",
                details(event)
            ),
        },
        Some(Sign::CertificateMade) => {
            format!("a new self-signed certificate was made: {}", details(event))
        }
        Some(Sign::Tls) => match event.id {
            36871 => format!("a TLS server cannot be set up: {}", details(event)),
            _ => format!(
                "client and server have no cipher suite in common: {}",
                details(event)
            ),
        },
        Some(Sign::DuplicateSid) => format!(
            "a sign-in was refused because both machines have the same SID: {}",
            details(event)
        ),
        Some(Sign::LogonFailed(_)) => format!(
            "{} could not sign in from {}: {}",
            super::logons::account(event),
            super::logons::source(event).unwrap_or("an address that is not told"),
            super::logons::reason(event)
        ),
        Some(Sign::ConnectionRefused) => {
            format!("{}: wrong user name or password", field("IPString"))
        }
        Some(Sign::LetIn) => format!(
            "{} was let in from {}",
            qualified(field("Param2"), field("Param1")),
            field("Param3")
        ),
        Some(Sign::SignedIn) => format!(
            "{} {} by Remote Desktop from {}",
            field("User"),
            if event.id == 21 {
                "signed in"
            } else {
                "came back"
            },
            field("Address")
        ),
        Some(Sign::Connected) => match field("ClientIP") {
            "" => "a connection reached the listener".to_owned(),
            address => format!("a connection from {address} reached the listener"),
        },
        Some(Sign::Listening) => "the listener began to listen".to_owned(),
        Some(Sign::ListenerFailed) => match (event.provider.as_str(), event.id) {
            (CONNECTION_MANAGER, 1035) => format!("the listener was stopped: {}", details(event)),
            (CONNECTION_MANAGER, _) => format!("a session could not be made: {}", details(event)),
            _ => format!(
                "a connection was ended because of an error in what was sent: {}",
                details(event)
            ),
        },
        Some(Sign::Started) => "Windows started".to_owned(),
        Some(Sign::Stopped) => "Windows was shut down".to_owned(),
        Some(Sign::Crashed) => "Windows had stopped without being shut down".to_owned(),
        Some(Sign::WinlogonEnded) => "the sign-in process ended".to_owned(),
        None => details(event),
    };
    shorten(&text)
}

/// `DOMAIN\name`, or the name alone.
pub(super) fn qualified(domain: &str, name: &str) -> String {
    match domain {
        "" | "-" => name.to_owned(),
        domain => format!("{domain}\\{name}"),
    }
}

fn service_text(event: &Event) -> String {
    let param = |name| event.field(name);
    let name = match service(event) {
        Some((key, _)) if !param("param1").eq_ignore_ascii_case(key) => {
            format!("{key} ({})", param("param1"))
        }
        _ => param("param1").to_owned(),
    };
    match event.id {
        7000 => format!("{name} did not start: {}", error(param("param2"))),
        7001 => format!(
            "{name} did not start because {} did not: {}",
            param("param2"),
            error(param("param3"))
        ),
        7023 | 7024 => format!("{name} ended: {}", error(param("param2"))),
        7038 => format!(
            "{name} could not sign in as {}: {}",
            param("param2"),
            error(param("param3"))
        ),
        _ => format!(
            "{name} ended unexpectedly, {} so far",
            times(param("param2"))
        ),
    }
}

fn times(count: &str) -> String {
    match count {
        "1" => "once".to_owned(),
        count => format!("{count} times"),
    }
}

/// An error that stands in an event as `%%1058` or as a number, with what it means where that tells a cause.
fn error(code: &str) -> String {
    let number = code.trim_start_matches("%%");
    let meaning = match number {
        "" => return "no error is told".to_owned(),
        "2" => "a file is missing",
        "5" | "2147942405" => "access denied",
        "13" | "2147942413" => "the data is invalid",
        "87" | "2147942487" => "a parameter is incorrect",
        "126" => "a module is missing",
        "1053" => "it did not answer in time",
        "1058" => "it is disabled",
        "1060" => "it is not installed",
        "1068" => "what it depends on did not start",
        "1069" => "its account could not sign in",
        "1075" => "what it depends on is not there",
        "1079" => "its account is not that of the process it shares",
        "1290" => "its SID type does not fit the process it shares",
        "1297" => "it lacks a privilege that it asks for",
        _ => return format!("error {number}"),
    };
    format!("error {number} ({meaning})")
}

/// The data of an event in one line, without names.
fn details(event: &Event) -> String {
    let texts: Vec<&str> = event
        .data
        .iter()
        .filter(|(name, text)| name != "Binary" && !text.trim().is_empty())
        .map(|(_, text)| text.trim())
        .collect();
    match texts.is_empty() {
        true => "no details".to_owned(),
        false => texts.join(", "),
    }
}

/// One line that fits a report.
fn shorten(text: &str) -> String {
    const MOST: usize = 240; // ours
    let one_line = text.split_whitespace().collect::<Vec<&str>>().join(" ");
    if one_line.chars().count() <= MOST {
        return one_line;
    }
    one_line.chars().take(MOST).chain("...".chars()).collect()
}
