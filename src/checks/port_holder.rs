// SPDX-License-Identifier: GPL-2.0-or-later
//! Who else wants the listener's port: what the disk tells of that. What listens is known to the running machine only.

use crate::edit::HiveName;
use crate::windows::{Reading, value};

use super::rdp_listener::LISTENER;
use super::{Check, Facts, Finding, Gathered, Problem, Run, Severity, Stage, system_path};

const RESERVATIONS: &str = r"Services\HTTP\Parameters\UrlAclInfo";
/// Where `netsh interface portproxy` keeps what it forwards: value names are listening address and port.
const FORWARDED: [&str; 4] = ["v4tov4", "v4tov6", "v6tov4", "v6tov6"];
const STANDARD: u32 = 3389;

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/windows/win32/http/namespace-reservations-registrations-and-routing",
];

const RESERVED: Problem = Problem {
    id: "port-holder.reserved",
    title: "The listener's port is reserved for a web service",
    severity: Severity::Notice,
    stage: Stage::Listener,
    trigger: "A URL in HTTP\\Parameters\\UrlAclInfo names the port of the listener.",
    cause: "A service that opens this address takes the port, and Remote Desktop then has none. Whether one does cannot be told from the disk; find the program that made the reservation, or move one of the two.",
    fixes: &[],
};

const FORWARDS: Problem = Problem {
    id: "port-holder.forwarded",
    title: "The listener's port is forwarded elsewhere",
    severity: Severity::Notice,
    stage: Stage::Listener,
    trigger: "A value of Services\\PortProxy listens on the port of the listener.",
    cause: "The IP Helper service takes the port and passes connections on to another machine or port. Somebody has set this with netsh interface portproxy; delete the value with `coldfix reg delete` if Remote Desktop of this machine is wanted.",
    fixes: &[],
};

const NAMED: Problem = Problem {
    id: "port-holder.service",
    title: "A service's command line names the listener's port",
    severity: Severity::Notice,
    stage: Stage::Listener,
    trigger: "ImagePath of a service that is not disabled holds the number of the listener's port.",
    cause: "If it listens there, Remote Desktop has no port. Whether it does cannot be told from the disk.",
    fixes: &[],
};

pub(super) const CHECK: Check = Check {
    id: "port-holder",
    title: "Nobody else wants the listener's port",
    looks_at: "PortNumber of the listener, the URL reservations of HTTP.sys, what netsh interface portproxy forwards, and the command lines of services.",
    healthy: "Windows reserves 80, 443, 2869, 3387, 3392, 5357, 5358, 5985, 5986, 10243 to 10247 and 47001 for itself.",
    problems: &[&RESERVED, &FORWARDS, &NAMED],
    source: SOURCE,
    run: Run::System(run),
};

/// The port of a URL such as `https://+:443/path/` or `http://[::1]:80/`.
fn port(url: &str) -> Option<u32> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split('/').next()?;
    let behind_address = host.rsplit(']').next()?;
    match behind_address.rsplit_once(':') {
        Some((_, port)) => port.parse().ok(),
        None if scheme.eq_ignore_ascii_case("https") => Some(443),
        None => Some(80),
    }
}

/// Whether a text holds the number, and not as a part of a longer one.
fn names(text: &str, port: u32) -> bool {
    let wanted = port.to_string();
    text.split(|letter: char| !letter.is_ascii_digit())
        .any(|number| number == wanted)
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    const DISABLED: u32 = 4;
    let mut reserved = Gathered::new(&RESERVED, SOURCE);
    let mut forwards = Gathered::new(&FORWARDS, SOURCE);
    let mut named = Gathered::new(&NAMED, SOURCE);
    let registry = facts.registry();
    for set in facts.sets().iter().filter(|set| set.is_active()) {
        let listener = match facts.system_dword(&set.path(LISTENER), "PortNumber") {
            Reading::Found(port) => port,
            Reading::NoValue => STANDARD,
            _ => continue,
        };
        let key = set.path(RESERVATIONS);
        for (url, _, _) in registry.values(HiveName::System, &key) {
            if port(&url) == Some(listener) {
                let place = system_path(&key, &url);
                let found = "a reservation".to_owned();
                reserved.add(true, place, found, "no reservation of this port", []);
            }
        }
        for kind in FORWARDED {
            let key = set.path(&format!(r"Services\PortProxy\{kind}\tcp"));
            for (listens, kind, data) in registry.values(HiveName::System, &key) {
                let at = listens.rsplit_once('/');
                if at.and_then(|(_, port)| port.parse().ok()) == Some(listener) {
                    let place = system_path(&key, &listens);
                    let found = value::describe(kind, &data);
                    forwards.add(true, place, found, "no value", []);
                }
            }
        }
        let services = set.path("Services");
        for service in registry.subkey_names(HiveName::System, &services) {
            let key = format!(r"{services}\{service}");
            let command = registry.text(HiveName::System, &key, "ImagePath");
            if let Reading::Found(command) = command
                && names(&command, listener)
                && facts.system_dword(&key, "Start") != Reading::Found(DISABLED)
            {
                let place = system_path(&key, "ImagePath");
                let found = value::printable(&command).into_owned();
                named.add(true, place, found, "another port", []);
            }
        }
    }
    let all = [reserved, forwards, named].into_iter();
    all.filter_map(Gathered::into_finding).collect()
}

#[cfg(test)]
mod tests {
    use super::{names, port};

    #[test]
    fn ports_of_reservations() {
        assert_eq!(port("https://+:3392/rdp/"), Some(3392));
        assert_eq!(port("http://*:3389/"), Some(3389));
        assert_eq!(port("http://[::1]:3389/a:b/"), Some(3389));
        assert_eq!(port("http://[::1]/"), Some(80));
        assert_eq!(port("HTTPS://host/3389/"), Some(443));
        assert_eq!(port("http://+:x/"), None);
        assert_eq!(port("3389"), None);
    }

    #[test]
    fn numbers_in_command_lines() {
        assert!(names("relay.exe -l 0.0.0.0:3389 -t 10.0.0.9:22", 3389));
        assert!(names("relay.exe --port=3389", 3389));
        assert!(!names("relay.exe 13389 33890", 3389));
        assert!(!names(r"C:\kb3389a\x.exe", 338));
    }
}
