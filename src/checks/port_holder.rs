// SPDX-License-Identifier: GPL-2.0-or-later
//! Who else wants the listener's port.

use crate::edit::HiveName;
use crate::windows::Reading;

use super::rdp_listener::LISTENER;
use super::{Check, Facts, Finding, Gathered, Problem, Severity, Stage, system_path};

const RESERVATIONS: &str = r"Services\HTTP\Parameters\UrlAclInfo";
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

pub(super) const CHECK: Check = Check {
    id: "port-holder",
    title: "No web service has reserved the listener's port",
    looks_at: "PortNumber of the listener, and the URL reservations of HTTP.sys.",
    healthy: "Windows reserves 80, 443, 2869, 3387, 3392, 5357, 5358, 5985, 5986, 10243 to 10247 and 47001 for itself.",
    problems: &[&RESERVED],
    source: SOURCE,
    run,
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

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut reserved = Gathered::new(&RESERVED, SOURCE);
    for set in facts.sets().iter().filter(|set| set.is_active()) {
        let listener = match facts.system_dword(&set.path(LISTENER), "PortNumber") {
            Reading::Found(port) => port,
            Reading::NoValue => STANDARD,
            _ => continue,
        };
        let key = set.path(RESERVATIONS);
        for (url, _, _) in facts.registry().values(HiveName::System, &key) {
            if port(&url) == Some(listener) {
                reserved.add(
                    true,
                    system_path(&key, &url),
                    "a reservation".to_owned(),
                    "no reservation of this port",
                    [],
                );
            }
        }
    }
    reserved.into_finding().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::port;

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
}
