// SPDX-License-Identifier: GPL-2.0-or-later
//! Drivers and services of another virtualisation platform than the one the machine runs on.

use crate::edit::HiveName;
use crate::windows::Reading;

use super::cloud::{cloud, manufacturer};
use super::{Check, Facts, Finding, Gathered, Problem, Run, Severity, Stage, shown, system_path};

/// A platform: what its firmware calls the manufacturer, and the services that its tools install. Windows
/// itself comes with drivers for VMware's hardware; those of the list come with the tools only.
const PLATFORMS: [(&str, &[&str], &[&str]); 2] = [
    (
        "VMware",
        &["VMware"],
        &[
            "vmci",
            "vsock",
            "vmhgfs",
            "vmmemctl",
            "vmrawdsk",
            "vm3dmp",
            "vm3dservice",
            "VMTools",
            "VGAuthService",
            "vmdebug",
            "VMUpgradeHelper",
            "GISvc",
        ],
    ),
    (
        "Parallels",
        &["Parallels"],
        &[
            "prl_boot",
            "prl_fs",
            "prl_strg",
            "prl_tg",
            "prl_eth5",
            "prl_memdev",
            "prl_mouf",
            "PRLUPTIME",
            "Parallels Tools Service",
            "Parallels Coherence Service",
        ],
    ),
];
/// Red Hat's old SCSI driver, which virt-v2v switches off too.
const OLD_DRIVER: &str = "rhelscsi";

/// The start types with which a service starts by itself: boot, system, automatic.
const LAST_BY_ITSELF: u32 = 2;

const SOURCE: &[&str] = &["libguestfs/virt-v2v convert/convert_windows.ml"];

const LEFT: Problem = Problem {
    id: "migration.left-over",
    title: "Tools of another virtualisation platform still start",
    severity: Severity::Notice,
    stage: Stage::Start,
    trigger: "A service of VMware's or Parallels' tools, or rhelscsi, starts by itself, and the machine ran on other hardware last, by HardwareConfig or by the signs of a cloud.",
    cause: "Left behind by a migration. Most do nothing here; some stop Windows with a blue screen or keep their network providers waiting. If the machine does not start, set their Start to 4 with `coldfix reg add`, and uninstall the tools once it runs.",
    fixes: &[],
};

pub(super) const CHECK: Check = Check {
    id: "migration",
    title: "No tools of another virtualisation platform start",
    looks_at: "Start of the services of VMware's and Parallels' tools, the manufacturer in HardwareConfig, and the signs of a cloud.",
    healthy: "On the platform they belong to, and where nothing tells the platform, they are left alone.",
    problems: &[&LEFT],
    source: SOURCE,
    run: Run::System(run),
};

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut left = Gathered::new(&LEFT, SOURCE);
    let here = match (cloud(facts), manufacturer(facts)) {
        (Some(cloud), _) => format!("{}, by {}", cloud.name, cloud.sign),
        (None, Some(maker)) => maker,
        (None, None) => return Vec::new(),
    };
    for set in facts.sets().iter().filter(|set| set.is_active()) {
        for (platform, makers, services) in PLATFORMS {
            let lower = here.to_ascii_lowercase();
            if makers
                .iter()
                .any(|maker| lower.contains(&maker.to_ascii_lowercase()))
            {
                continue;
            }
            for service in services.iter().chain([&OLD_DRIVER]) {
                let key = set.path(&format!(r"Services\{service}"));
                if let Reading::Found(start) = facts.system_dword(&key, "Start")
                    && start <= LAST_BY_ITSELF
                    && facts.registry().has_key(HiveName::System, &key) == Ok(true)
                {
                    let place = system_path(&key, "Start");
                    let what = if *service == OLD_DRIVER {
                        "Red Hat"
                    } else {
                        platform
                    };
                    let found = format!("{} ({what}; this machine is {here})", shown(start));
                    if !left
                        .finding
                        .evidence
                        .iter()
                        .any(|known| known.location == place)
                    {
                        left.add(true, place, found, "REG_DWORD 0x4, or no service", []);
                    }
                }
            }
        }
    }
    left.into_finding().into_iter().collect()
}
