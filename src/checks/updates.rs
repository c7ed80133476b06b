// SPDX-License-Identifier: GPL-2.0-or-later
//! Updates that are known to disturb Remote Desktop.
//!
//! They are data: `updates.json` says for each between which update levels its fault lies, what it does and what cures it.
//! The level (build and UBR) judges; the list of packages is asked where there is no UBR, and is named as evidence. Nothing
//! is removed or installed: that is for Windows.

use serde::Deserialize;

use crate::edit::HiveName;

use super::{Check, Evidence, EvidenceKind, Facts, Finding, Problem, Run, Severity, Stage};

const VERSION: &str = r"Microsoft\Windows NT\CurrentVersion";
const PACKAGES: &str = r"Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages";

const SOURCE: &[&str] = &["https://learn.microsoft.com/windows/release-health/"];

const KNOWN_FAULT: Problem = Problem {
    id: "updates.known-fault",
    title: "This update level is known to disturb Remote Desktop",
    severity: Severity::Risk,
    stage: Stage::Session,
    trigger: "Build and UBR lie in a range in which a fault of the host is known, and for a fault of a role (domain controller, gateway) this machine has it.",
    cause: "Not every machine with this level shows the fault. Install the update that cures it once the machine can be reached, or by servicing the disk.",
    fixes: &[],
};

const AS_CLIENT: Problem = Problem {
    id: "updates.as-client",
    title: "This update level disturbs connections from this machine to others",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "Build and UBR lie in a range in which a fault of the connecting side is known.",
    cause: "Connections to this machine are not concerned. It matters where this machine is the one that connects.",
    fixes: &[],
};

const UNCONFIRMED: Problem = Problem {
    id: "updates.unconfirmed",
    title: "This update level is said to disturb Remote Desktop",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "Build and UBR lie in a range for which single reports exist, or whose end is not known for certain.",
    cause: "There are reports, and nothing certain. Any newer cumulative update is past it.",
    fixes: &[],
};

pub(super) const CHECK: Check = Check {
    id: "updates",
    title: "No update that is known to disturb Remote Desktop",
    looks_at: "CurrentBuild and UBR, and the packages of the Component Based Servicing where there is no UBR.",
    healthy: "A level outside the ranges of known faults. Builds that are not in the list are not judged.",
    problems: &[&KNOWN_FAULT, &AS_CLIENT, &UNCONFIRMED],
    source: SOURCE,
    run: Run::Hive(HiveName::Software, run),
};

/// One known fault.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    /// What brought it, and when.
    update: String,
    side: Side,
    severity: Weight,
    /// Only reports, nothing certain.
    #[serde(default)]
    unconfirmed: bool,
    ranges: Vec<Levels>,
    symptom: String,
    cure: String,
    source: Vec<String>,
}

/// Whom a fault concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Side {
    Host,
    Client,
    DomainController,
    Gateway,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Weight {
    Notice,
    Risk,
}

/// Update levels of one build: from the first that has the fault to the first that has it no more.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Levels {
    build: u32,
    from: u32,
    cured: u32,
}

impl Levels {
    fn contain(self, level: Level) -> bool {
        self.build == level.build && (self.from..self.cured).contains(&level.revision)
    }
}

/// A build and its update level (UBR).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Level {
    build: u32,
    revision: u32,
}

/// Whether a Windows of this build and update level (UBR) refuses sign-ins from a machine with the same SID: since
/// KB5065426 of September 2025 on Windows 11 24H2, 25H2 and Windows Server 2025.
pub fn refuses_duplicate_sid(build: u32, revision: u32) -> bool {
    const SINCE: u32 = 6584;
    match build {
        26_100 | 26_200 => revision >= SINCE,
        _ => build > 26_200,
    }
}

fn faults() -> Vec<Fault> {
    // That the file is sound is tested.
    serde_json::from_str(include_str!("updates.json")).unwrap_or_default()
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let packages = packages(facts);
    let Some((level, location)) = level(facts, &packages) else {
        return Vec::new();
    };
    let mut findings: Vec<Finding> = Vec::new();
    for fault in faults() {
        if !fault.ranges.iter().any(|levels| levels.contain(level)) || !concerns(facts, fault.side)
        {
            continue;
        }
        let problem = match (fault.unconfirmed, fault.side, fault.severity) {
            (true, ..) => &UNCONFIRMED,
            (_, Side::Client, _) => &AS_CLIENT,
            (_, _, Weight::Risk) => &KNOWN_FAULT,
            (_, _, Weight::Notice) => &UNCONFIRMED,
        };
        let package = packages.iter().find(|(known, _)| *known == level);
        let package = package.map_or(String::new(), |(_, name)| format!("; package {name}"));
        let evidence = Evidence {
            kind: EvidenceKind::Registry,
            location: location.clone(),
            found: format!(
                "{}.{}, {}: {}{package}",
                level.build, level.revision, fault.update, fault.symptom
            ),
            expected: fault.cure,
        };
        let source: Vec<&str> = fault.source.iter().map(String::as_str).collect();
        match findings.iter_mut().find(|known| known.id == problem.id) {
            Some(known) => {
                known.evidence.push(evidence);
                known.source.extend(fault.source);
            }
            None => findings.push(problem.found(&source, vec![evidence])),
        }
    }
    findings
}

/// The update level, and where it stands: UBR, or else the newest package that is installed.
fn level(facts: &Facts<'_>, packages: &[(Level, String)]) -> Option<(Level, String)> {
    let build = facts.build?;
    if let Some(revision) = facts.software_dword(VERSION, "UBR").found() {
        let location = format!("{}\\UBR", HiveName::Software.full_path(VERSION));
        return Some((Level { build, revision }, location));
    }
    packages
        .iter()
        .filter(|(level, _)| level.build == build)
        .max_by_key(|(level, _)| *level)
        .map(|(level, name)| {
            let key = format!(r"{PACKAGES}\{name}");
            (*level, HiveName::Software.full_path(&key))
        })
}

/// The cumulative updates that are installed, by the level they bring.
fn packages(facts: &Facts<'_>) -> Vec<(Level, String)> {
    const INSTALLED: u32 = 0x70;
    facts
        .registry()
        .subkey_names(HiveName::Software, PACKAGES)
        .into_iter()
        .filter_map(|name| Some((package_level(&name)?, name)))
        .filter(|(_, name)| {
            facts
                .software_dword(&format!(r"{PACKAGES}\{name}"), "CurrentState")
                .found()
                == Some(INSTALLED)
        })
        .collect()
}

/// The level in a name such as `Package_for_RollupFix~31bf3856ad364e35~amd64~~20348.2582.1.7`.
fn package_level(name: &str) -> Option<Level> {
    const CUMULATIVE: &str = "Package_for_RollupFix~";
    let start = name.get(..CUMULATIVE.len())?;
    if !start.eq_ignore_ascii_case(CUMULATIVE) {
        return None;
    }
    let mut numbers = name.rsplit('~').next()?.split('.');
    Some(Level {
        build: numbers.next()?.parse().ok()?,
        revision: numbers.next()?.parse().ok()?,
    })
}

/// Whether this machine is what a fault concerns.
fn concerns(facts: &Facts<'_>, side: Side) -> bool {
    let set = facts.select.next();
    match side {
        Side::Host | Side::Client => true,
        Side::DomainController => facts
            .registry()
            .text(
                HiveName::System,
                &set.path(r"Control\ProductOptions"),
                "ProductType",
            )
            .found()
            .is_some_and(|kind| kind.eq_ignore_ascii_case("LanmanNT")),
        Side::Gateway => {
            facts
                .registry()
                .has_key(HiveName::System, &set.path(r"Services\TSGateway"))
                == Ok(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sound() {
        let faults: Vec<Fault> = serde_json::from_str(include_str!("updates.json")).unwrap();
        assert!(faults.len() > 10);
        for fault in &faults {
            assert!(!fault.ranges.is_empty(), "{}", fault.update);
            for levels in &fault.ranges {
                assert!(levels.from < levels.cured, "{}", fault.update);
            }
            for text in [&fault.update, &fault.symptom, &fault.cure] {
                assert!(text.len() > 8, "{text}");
            }
            assert!(
                fault
                    .source
                    .iter()
                    .all(|source| source.starts_with("https://"))
            );
            // What is not certain, and what concerns the other side, is no risk to this one.
            if fault.unconfirmed || fault.side == Side::Client {
                assert_eq!(fault.severity, Weight::Notice, "{}", fault.update);
            }
        }
    }

    #[test]
    fn ranges_end_before_their_cure() {
        let levels = Levels {
            build: 20348,
            from: 4648,
            cured: 4650,
        };
        let level = |build, revision| Level { build, revision };
        assert!(!levels.contain(level(20348, 4647)));
        assert!(levels.contain(level(20348, 4648)));
        assert!(levels.contain(level(20348, 4649)));
        assert!(!levels.contain(level(20348, 4650)));
        assert!(!levels.contain(level(17763, 4648)));
    }

    #[test]
    fn duplicate_sids_are_refused_since_september_2025() {
        assert!(!refuses_duplicate_sid(26_100, 6583));
        assert!(refuses_duplicate_sid(26_100, 6584));
        assert!(refuses_duplicate_sid(26_100, 32_230));
        assert!(!refuses_duplicate_sid(26_200, 6583));
        assert!(refuses_duplicate_sid(26_200, 6584));
        assert!(refuses_duplicate_sid(28_000, 1));
        assert!(!refuses_duplicate_sid(20_348, 9999));
        assert!(!refuses_duplicate_sid(22_631, 9999));
    }

    #[test]
    fn packages_tell_their_level() {
        let level = package_level("Package_for_RollupFix~31bf3856ad364e35~amd64~~20348.2582.1.7");
        assert_eq!(
            level,
            Some(Level {
                build: 20348,
                revision: 2582
            })
        );
        assert_eq!(package_level("Package_for_RollupFix~~x~~1"), None);
        assert_eq!(
            package_level("Package_for_KB5032189~31bf3856ad364e35~amd64~~20348.1.1.0"),
            None
        );
        assert_eq!(package_level("Paket"), None);
    }
}
