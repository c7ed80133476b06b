// SPDX-License-Identifier: GPL-2.0-or-later
//! What the machine's hardware clock shows.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::Reading;

use super::cloud::cloud;
use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage, shown,
    system_path, unknown_value,
};

const KEY: &str = r"Control\TimeZoneInformation";
const VALUE: &str = "RealTimeIsUniversal";

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/azure/virtual-machines/windows/prepare-for-upload-vhd-image",
    "https://docs.aws.amazon.com/AWSEC2/latest/WindowsGuide/ec2rw-cli.html",
];

const LOCAL: Problem = Problem {
    id: "clock.local",
    title: "Windows takes the clock of a cloud machine for local time",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "The disk tells that it comes from a cloud, RealTimeIsUniversal is 0 or absent, and the time zone is not UTC.",
    cause: "The clock of a cloud machine shows UTC. Until the time service has corrected it, the machine's time is off by its time zone, and Kerberos and certificates refuse.",
    fixes: &["clock=utc"],
};

pub(super) const CHECK: Check = Check {
    id: "clock",
    title: "Windows knows what the clock of a cloud machine shows",
    looks_at: "RealTimeIsUniversal, Bias and ActiveTimeBias in Control\\TimeZoneInformation, on disks that tell that they come from a cloud.",
    healthy: "1, or a time zone without difference to UTC. On premises 0 or absent is normal.",
    problems: &[&LOCAL],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: "clock",
    values: "utc or local; utc when nothing is said",
    title: "Say what the hardware clock shows",
    explanation: "utc sets RealTimeIsUniversal to 1, local deletes it, in every control set that Select names.",
    source: SOURCE,
    edits,
};

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut local = Gathered::new(&LOCAL, SOURCE);
    let Some(cloud) = cloud(facts) else {
        return Vec::new();
    };
    for set in facts.sets().iter().filter(|set| set.is_active()) {
        let key = set.path(KEY);
        let found = match facts.system_dword(&key, VALUE) {
            Reading::Found(0) => shown(0),
            Reading::NoValue => "no value".to_owned(),
            _ => continue,
        };
        let differs = ["Bias", "ActiveTimeBias"]
            .iter()
            .any(|name| matches!(facts.system_dword(&key, name), Reading::Found(minutes) if minutes != 0));
        if differs {
            let found = format!("{found} ({}, by {})", cloud.name, cloud.sign);
            local.add(true, system_path(&key, VALUE), found, "REG_DWORD 0x1", []);
        }
    }
    local.into_finding().into_iter().collect()
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        let key = set.path(KEY);
        proposal.edits.push(match value {
            None | Some("utc") => Edit::dword(HiveName::System, key, VALUE, 1),
            Some("local") => Edit::DeleteValue {
                hive: HiveName::System,
                key,
                name: VALUE.to_owned(),
            },
            Some(other) => return Err(unknown_value(&FIX, other)),
        });
    }
    Ok(proposal)
}
