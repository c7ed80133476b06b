// SPDX-License-Identifier: GPL-2.0-or-later
//! Whether this edition of Windows can be reached by Remote Desktop at all.

use crate::edit::HiveName;
use crate::windows::Reading;

use super::{Check, Evidence, EvidenceKind, Facts, Finding, Problem, Run, Severity, Stage};

const VERSION: &str = r"Microsoft\Windows NT\CurrentVersion";

/// The home editions: of 8 and later, then of Vista and 7. Each has variants (N, E, K, KN, ARM) behind its name.
const HOME: [&str; 7] = [
    "Core",
    "CoreSingleLanguage",
    "CoreCountrySpecific",
    "CoreConnected",
    "HomeBasic",
    "HomePremium",
    "Starter",
];
const VARIANTS: [&str; 6] = ["", "N", "E", "K", "KN", "ARM"];

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/windows-server/remote/remote-desktop-services/clients/remote-desktop-supported-config",
    "https://support.microsoft.com/windows/how-to-use-remote-desktop-5fe128d5-8fb1-7a23-3b8a-41e636865e8c",
];

const HOME_EDITION: Problem = Problem {
    id: "edition.home",
    title: "This edition of Windows cannot host Remote Desktop",
    severity: Severity::Broken,
    stage: Stage::Platform,
    trigger: "EditionID is that of a Home edition: Core and its variants, or HomeBasic, HomePremium and Starter of Vista and 7.",
    cause: "Home editions connect to other machines but accept no connection. No setting changes that: upgrade this Windows to Pro, or reach it with other software.",
    fixes: &[],
};

pub(super) const CHECK: Check = Check {
    id: "edition",
    title: "The edition of Windows can host Remote Desktop",
    looks_at: "EditionID in SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion.",
    healthy: "Every edition but the Home editions. A name that is not known, or absent, is not judged.",
    problems: &[&HOME_EDITION],
    source: SOURCE,
    run: Run::Hive(HiveName::Software, run),
};

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let edition = facts
        .registry()
        .text(HiveName::Software, VERSION, "EditionID");
    let Reading::Found(edition) = edition else {
        return Vec::new();
    };
    if !is_home(&edition) {
        return Vec::new();
    }
    let evidence = Evidence {
        kind: EvidenceKind::Registry,
        location: format!("{}\\EditionID", HiveName::Software.full_path(VERSION)),
        found: edition,
        expected: "an edition with Remote Desktop, such as Professional, Enterprise, Education or a Server"
            .to_owned(),
    };
    vec![HOME_EDITION.found(SOURCE, vec![evidence])]
}

fn is_home(edition: &str) -> bool {
    let edition = edition.to_ascii_lowercase();
    HOME.iter().any(|home| {
        edition
            .strip_prefix(&home.to_ascii_lowercase())
            .is_some_and(|variant| {
                VARIANTS
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(variant))
            })
    })
}

#[cfg(test)]
mod tests {
    use super::is_home;

    #[test]
    fn home_editions_are_told_from_others() {
        for home in [
            "Core",
            "CoreN",
            "coresinglelanguage",
            "CoreCountrySpecific",
            "CoreARM",
            "HomePremiumN",
            "Starter",
        ] {
            assert!(is_home(home), "{home}");
        }
        // Names of SKUs that begin alike.
        for other in [
            "Professional",
            "ProfessionalN",
            "Enterprise",
            "ServerDatacenter",
            "ServerDatacenterCor",
            "CoreSystemServer",
            "HomeServer",
            "",
        ] {
            assert!(!is_home(other), "{other}");
        }
    }
}
