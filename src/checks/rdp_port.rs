// SPDX-License-Identifier: GPL-2.0-or-later
//! The port of the listener and the firewall rule that opens it.
//!
//! The two belong together: Windows' own rule opens 3389 and nothing else, so a listener on another port
//! without a rule of its own answers nobody.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::firewall::{Profile, Rule};
use crate::windows::{ControlSet, Reading, value};

use super::rdp_listener::LISTENER;
use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Severity, Stage, shown, system_path,
    unjudged, unknown_value,
};

const NAME: &str = "PortNumber";
const STANDARD: u16 = 3389;
const RULES: &str = r"Services\SharedAccess\Parameters\FirewallPolicy\FirewallRules";
const DEFAULT_RULES: &str = r"Services\SharedAccess\Defaults\FirewallPolicy\FirewallRules";
const LOCAL_PROFILES: &str = r"Services\SharedAccess\Parameters\FirewallPolicy";
const POLICY: &str = r"Policies\Microsoft\WindowsFirewall";

/// Windows' own rule for TCP 3389 since 8 and Server 2012; on 7 that name belongs to RemoteFX.
const RULE: &str = "RemoteDesktop-UserMode-In-TCP";
const RULE_BEFORE_8: &str = "RemoteDesktop-In-TCP";
const FIRST_BUILD_OF_8: u32 = 9200;

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/azure/virtual-machines/windows/prepare-for-upload-vhd-image",
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/enable-disable-firewall-rule-guest-os",
    "Azure/repair-script-library win-fix-rdp-connectivity",
];

const INVALID: Problem = Problem {
    id: "rdp-port.invalid",
    title: "The listener's port is not a port",
    severity: Severity::Broken,
    stage: Stage::Listener,
    trigger: "PortNumber is 0 or above 65535.",
    cause: "Windows cannot listen on this number.",
    fixes: &[FIX.name],
};

const BLOCKED: Problem = Problem {
    id: "rdp-port.blocked",
    title: "The firewall has no active rule for the listener's port",
    severity: Severity::Broken,
    stage: Stage::Firewall,
    trigger: "The firewall is on, and in no profile an active rule allows TCP to the port for termservice.",
    cause: "The firewall is on and drops connections to the port that Remote Desktop listens on.",
    // Named when the port is known.
    fixes: &[],
};

const MOVED: Problem = Problem {
    id: "rdp-port.moved",
    title: "The listener uses another port than 3389",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "PortNumber is not 3389.",
    cause: "Whoever connects has to name the port, and network rules outside the machine have to allow it. Somebody may have meant it, so it is changed only when asked for by name.",
    fixes: &[FIX.name],
};

const PROFILE: Problem = Problem {
    id: "rdp-port.profile",
    title: "The firewall lets Remote Desktop through in some network profiles only",
    severity: Severity::Notice,
    stage: Stage::Firewall,
    trigger: "An active rule allows the port in some of the profiles for which the firewall is on.",
    cause: "Which profile Windows picks is decided when it starts. If it picks another one, connections are dropped.",
    fixes: &[FIX.name],
};

const UNCLEAR: Problem = Problem::unclear("rdp-port.unclear", Stage::Listener);

pub(super) const CHECK: Check = Check {
    id: "rdp-port",
    title: "The listener's port is valid and the firewall lets it through",
    looks_at: "PortNumber of the listener, and the rules, profiles and policies of the firewall for that port.",
    healthy: "No value (3389) or a port from 1 to 65535, and an active inbound rule that allows it, where the firewall is on.",
    problems: &[&INVALID, &BLOCKED, &MOVED, &PROFILE, &UNCLEAR],
    source: SOURCE,
    run,
};

pub(super) const FIX: Fix = Fix {
    name: "rdp-port",
    values: "a port from 1 to 65535; 3389 when nothing is said",
    title: "Set the listener's port and open it in the firewall",
    explanation: "Sets PortNumber in every control set that Select names. For 3389 it activates Windows' own Remote Desktop rule (a lost one is copied from the machine's stock rules); for another port it adds a rule of its own, RDP-Repair-In-TCP-<port>. Nothing is added where an active rule already allows the port.",
    source: SOURCE,
    edits,
};

/// The listener's port in one control set.
enum Port {
    Valid(u16),
    Invalid(u32),
    /// The listener or the value cannot be judged; other checks report why.
    Unknown,
}

fn port_of(facts: &Facts<'_>, set: &ControlSet) -> Port {
    match facts.system_dword(&set.path(LISTENER), NAME) {
        Reading::Found(number) => match u16::try_from(number) {
            Ok(port) if port != 0 => Port::Valid(port),
            _ => Port::Invalid(number),
        },
        Reading::NoValue => Port::Valid(STANDARD),
        Reading::NoKey | Reading::Malformed(_) | Reading::Unreadable(_) => Port::Unknown,
    }
}

/// The rules under `key` that follow the grammar, by name.
fn rules(facts: &Facts<'_>, hive: HiveName, key: &str) -> Vec<(String, Rule)> {
    facts
        .registry()
        .values(hive, key)
        .into_iter()
        .filter_map(|(name, _, data)| Some((name, Rule::parse(&value::text(&data)?)?)))
        .collect()
}

/// What the firewall does with the listener's port in one control set.
struct Firewall {
    /// Profiles in which the firewall is on.
    on: Vec<Profile>,
    /// Of those, the ones in which an active rule lets the port through.
    open: Vec<Profile>,
}

fn firewall(facts: &Facts<'_>, set: &ControlSet, port: u16) -> Option<Firewall> {
    let local = set.path(RULES);
    // Without this key the firewall is of the old kind (XP), which is not judged.
    if facts.registry().has_key(HiveName::System, &local) != Ok(true) {
        return None;
    }
    let allowing = |hive, key: &str| -> Vec<Rule> {
        rules(facts, hive, key)
            .into_iter()
            .map(|(_, rule)| rule)
            .filter(|rule| rule.is_active() && rule.allows_remote_desktop(port))
            .collect()
    };
    let own = allowing(HiveName::System, &local);
    let policy = allowing(HiveName::Software, &format!(r"{POLICY}\FirewallRules"));
    let mut result = Firewall {
        on: Vec::new(),
        open: Vec::new(),
    };
    for profile in Profile::ALL {
        let policy_key = format!(r"{POLICY}\{}Profile", profile.word());
        let local_word = match profile {
            Profile::Private => "Standard",
            other => other.word(),
        };
        let local_key = set.path(&format!(r"{LOCAL_PROFILES}\{local_word}Profile"));
        let enabled = facts
            .software_dword(&policy_key, "EnableFirewall")
            .found()
            .or_else(|| facts.system_dword(&local_key, "EnableFirewall").found());
        if enabled == Some(0) {
            continue;
        }
        result.on.push(profile);
        let merges = facts
            .software_dword(&policy_key, "AllowLocalPolicyMerge")
            .found()
            != Some(0);
        let counts = |rule: &Rule| rule.profiles().contains(&profile);
        if policy.iter().any(counts) || (merges && own.iter().any(counts)) {
            result.open.push(profile);
        }
    }
    Some(result)
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut invalid = Gathered::new(&INVALID, SOURCE);
    let mut moved = Gathered::new(&MOVED, SOURCE);
    let mut blocked = Gathered::new(&BLOCKED, SOURCE);
    let mut partly = Gathered::new(&PROFILE, SOURCE);

    for set in facts.sets() {
        let key = set.path(LISTENER);
        let location = system_path(&key, NAME);
        let port = match port_of(facts, set) {
            Port::Valid(port) => port,
            Port::Invalid(number) => {
                invalid.add(
                    set.is_active(),
                    location,
                    shown(number),
                    &shown(STANDARD.into()),
                    [Edit::dword(HiveName::System, &key, NAME, STANDARD.into())],
                );
                continue;
            }
            Port::Unknown => {
                if let Reading::Malformed(found) = facts.system_dword(&key, NAME) {
                    findings.push(unjudged(
                        &UNCLEAR,
                        location,
                        found,
                        &shown(STANDARD.into()),
                        SOURCE,
                    ));
                }
                continue;
            }
        };
        if port != STANDARD {
            moved.add(
                set.is_active(),
                location.clone(),
                format!("{} ({port})", shown(port.into())),
                &format!("{} ({STANDARD})", shown(STANDARD.into())),
                [],
            );
        }
        let Some(firewall) = firewall(facts, set, port) else {
            continue;
        };
        let rules_path = HiveName::System.full_path(&set.path(RULES));
        let words = |profiles: &[Profile]| -> String {
            let words: Vec<&str> = profiles.iter().map(|profile| profile.word()).collect();
            words.join(", ")
        };
        if firewall.open.is_empty() && !firewall.on.is_empty() {
            let cure = if port == STANDARD {
                open_port(facts, set, port)
            } else {
                Vec::new()
            };
            for argument in if port == STANDARD {
                vec![FIX.name.to_owned()]
            } else {
                vec![
                    format!("{}={STANDARD}", FIX.name),
                    format!("{}={port}", FIX.name),
                ]
            } {
                if !blocked.finding.fixes.contains(&argument) {
                    blocked.finding.fixes.push(argument);
                }
            }
            blocked.add(
                set.is_active(),
                rules_path,
                format!(
                    "no active inbound rule for TCP {port}; firewall on for {}",
                    words(&firewall.on)
                ),
                &format!("an active rule that allows TCP {port} to termservice"),
                cure,
            );
        } else if firewall.open.len() < firewall.on.len() {
            partly.add(
                set.is_active(),
                rules_path,
                format!(
                    "TCP {port} allowed for {} of {}",
                    words(&firewall.open),
                    words(&firewall.on)
                ),
                "a rule for every profile",
                [],
            );
        }
    }
    for gathered in [invalid, blocked, moved, partly] {
        findings.extend(gathered.into_finding());
    }
    findings
}

/// The edits that let `port` through the machine's own firewall in one control set; none when there is no
/// firewall to open or it is open already.
fn open_port(facts: &Facts<'_>, set: &ControlSet, port: u16) -> Vec<Edit> {
    let Some(state) = firewall(facts, set, port) else {
        return Vec::new();
    };
    if state.open.len() == state.on.len() {
        return Vec::new();
    }
    let key = set.path(RULES);
    let set_rule = |name: &str, rule: &Rule| {
        Edit::text(HiveName::System, &key, name, value::SZ, &rule.to_text())
    };
    let own = rules(facts, HiveName::System, &key);
    let old_kernel_listener = facts.build.is_some_and(|build| build < FIRST_BUILD_OF_8);
    let base = if old_kernel_listener {
        RULE_BEFORE_8
    } else {
        RULE
    };

    // Windows' own rule and the copies it splits off per profile (`<base>_1`), where they carry the port.
    let family: Vec<&(String, Rule)> = own
        .iter()
        .filter(|(name, rule)| is_of_family(name, base) && rule.allows_remote_desktop(port))
        .collect();
    if !family.is_empty() {
        return family
            .into_iter()
            .filter(|(_, rule)| !rule.is_active())
            .map(|(name, rule)| set_rule(name, &rule.activated()))
            .collect();
    }
    // A lost rule: the stock copy on the same disk.
    let stock = rules(facts, HiveName::System, &set.path(DEFAULT_RULES));
    if let Some((name, rule)) = stock
        .iter()
        .find(|(name, rule)| name.eq_ignore_ascii_case(base) && rule.allows_remote_desktop(port))
    {
        return vec![set_rule(name, &rule.activated())];
    }
    let version = most_common_version(&own).unwrap_or("v2.10");
    let text = port.to_string();
    let display = format!("Remote Desktop (TCP {port})");
    let mut fields = vec![
        ("Action", "Allow"),
        ("Active", "TRUE"),
        ("Dir", "In"),
        ("Protocol", "6"),
        ("LPort", text.as_str()),
    ];
    if old_kernel_listener {
        fields.push(("App", "System"));
    } else {
        fields.push(("App", r"%SystemRoot%\system32\svchost.exe"));
        fields.push(("Svc", "termservice"));
    }
    fields.push(("Name", &display));
    vec![set_rule(
        &format!("RDP-Repair-In-TCP-{port}"),
        &Rule::new(version, &fields),
    )]
}

/// True for `base` and `base_<digits>`.
fn is_of_family(name: &str, base: &str) -> bool {
    let Some(start) = name.get(..base.len()) else {
        return false;
    };
    if !start.eq_ignore_ascii_case(base) {
        return false;
    }
    match name.get(base.len()..) {
        Some("") => true,
        Some(rest) => rest
            .strip_prefix('_')
            .is_some_and(|digits| !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())),
        None => false,
    }
}

/// The version token that most of the machine's rules carry: an older Windows passes over newer ones.
fn most_common_version(rules: &[(String, Rule)]) -> Option<&str> {
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for (_, rule) in rules {
        let count = counts.entry(rule.version()).or_default();
        *count = count.saturating_add(1);
    }
    counts
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .map(|(version, _)| version)
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    let port = match value {
        None => STANDARD,
        Some(text) => match text.parse::<u16>() {
            Ok(port) if port != 0 => port,
            _ => return Err(unknown_value(&FIX, text)),
        },
    };
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        let key = set.path(LISTENER);
        if facts.registry().has_key(HiveName::System, &key) != Ok(true) {
            proposal.notes.push(format!(
                "{} is not there; it is not invented",
                HiveName::System.full_path(&key)
            ));
            continue;
        }
        proposal
            .edits
            .push(Edit::dword(HiveName::System, &key, NAME, port.into()));
        proposal.edits.extend(open_port(facts, set, port));
    }
    if port != STANDARD {
        proposal.notes.push(format!(
            "network rules outside this machine (a cloud security group, a router) must allow TCP {port} too"
        ));
    }
    Ok(proposal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_rules_belong_to_their_family() {
        assert!(is_of_family("RemoteDesktop-In-TCP", RULE_BEFORE_8));
        assert!(is_of_family("remotedesktop-in-tcp_1", RULE_BEFORE_8));
        assert!(!is_of_family("RemoteDesktop-In-TCP-WS", RULE_BEFORE_8));
        assert!(!is_of_family("RemoteDesktop-In-TCP_", RULE_BEFORE_8));
        assert!(!is_of_family("Remote", RULE_BEFORE_8));
    }
}
