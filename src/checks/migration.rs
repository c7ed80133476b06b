// SPDX-License-Identifier: GPL-2.0-or-later
//! Drivers and services of another virtualisation platform than the one the machine runs on.

use crate::edit::{Edit, HiveName};
use crate::error::{Error, Result};
use crate::windows::{ControlSet, Reading, View, value};

use super::cloud::{cloud, manufacturer};
use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage, shown,
    system_path, unknown_value,
};

/// A platform of virtual machines.
struct Platform {
    name: &'static str,
    /// The services that its tools install. Windows itself comes with drivers for VMware's hardware; these come with
    /// the tools only.
    services: &'static [&'static str],
}

/// The platforms. The name is also what their firmware calls the manufacturer.
const PLATFORMS: [Platform; 2] = [
    Platform {
        name: "VMware",
        services: &[
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
    },
    Platform {
        name: "Parallels",
        services: &[
            "prl_boot",
            "prl_dd",
            "prl_fs",
            "prl_pv32",
            "prl_pv64",
            "prl_scsi",
            "prl_sound",
            "prl_strg",
            "prl_tg",
            "prl_time",
            "prl_uprof",
            "prl_va",
            "prl_eth5",
            "prl_memdev",
            "prl_mouf",
            "PRLUPTIME",
            "Parallels Tools Service",
            "Parallels Coherence Service",
        ],
    },
];
/// Red Hat's old SCSI driver, which virt-v2v switches off too.
const OLD_DRIVER: &str = "rhelscsi";

/// The classes of devices, below a control set, and their lists of drivers that stand above and below each device's own.
const CLASSES: &str = r"Control\Class";
const FILTERS: [&str; 2] = ["LowerFilters", "UpperFilters"];
/// The start type that switches a service off.
const DISABLED: u32 = 4;

/// The start types with which a service starts by itself: boot, system, automatic.
const LAST_BY_ITSELF: u32 = 2;

const SOURCE: &[&str] = &["libguestfs/virt-v2v convert/convert_windows.ml"];

const LEFT: Problem = Problem {
    id: "migration.left-over",
    title: "Tools of another virtualisation platform still start",
    severity: Severity::Notice,
    stage: Stage::Start,
    trigger: "A service of VMware's or Parallels' tools, or rhelscsi, starts by itself, and the machine ran on other hardware last, by HardwareConfig or by the signs of a cloud.",
    cause: "Left behind by a migration. Most do nothing here; some stop Windows with a blue screen or keep their network providers waiting. If the machine does not start, have them switched off by name, and uninstall the tools once it runs.",
    fixes: &[FIX.name],
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

pub(super) const FIX: Fix = Fix {
    name: "migration",
    values: "VMware or Parallels; when nothing is said, those that the machine does not run on, by HardwareConfig or the signs of a cloud",
    title: "Switch off what the tools of another virtualisation platform start",
    explanation: "Sets Start to 4 for the services of these tools, and for rhelscsi, that start by themselves, and takes their names out of LowerFilters and UpperFilters of every class of devices, in every control set that Select names. No driver is installed, and no tool is removed.",
    source: SOURCE,
    edits,
};

/// A service of another platform that starts by itself.
struct LeftOver {
    service: &'static str,
    /// Its key in SYSTEM.
    key: String,
    start: u32,
    whose: &'static str,
}

/// What the machine is, as far as the disk tells.
fn here(facts: &Facts<'_>) -> Option<String> {
    match cloud(facts) {
        Some(cloud) => Some(format!("{}, by {}", cloud.name, cloud.sign)),
        None => manufacturer(facts),
    }
}

/// The platforms that are not this one.
fn others(here: &str) -> Vec<&'static Platform> {
    let here = here.to_ascii_lowercase();
    let is_here = |platform: &&Platform| here.contains(&platform.name.to_ascii_lowercase());
    PLATFORMS
        .iter()
        .filter(|platform| !is_here(platform))
        .collect()
}

/// What of these platforms starts by itself in a control set.
fn left_over(
    facts: &Facts<'_>,
    set: &ControlSet,
    platforms: &[&'static Platform],
) -> Vec<LeftOver> {
    let named = platforms.iter().flat_map(|platform| {
        let services = platform.services.iter();
        services.map(|service| (*service, platform.name))
    });
    let mut found = Vec::new();
    for (service, whose) in named.chain([(OLD_DRIVER, "Red Hat")]) {
        let key = set.path(&format!(r"Services\{service}"));
        if let Reading::Found(start) = facts.system_dword(&key, "Start")
            && start <= LAST_BY_ITSELF
        {
            found.push(LeftOver {
                service,
                key,
                start,
                whose,
            });
        }
    }
    found
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut left = Gathered::new(&LEFT, SOURCE);
    let Some(here) = here(facts) else {
        return Vec::new();
    };
    for set in facts.sets().iter().filter(|set| set.is_active()) {
        for service in left_over(facts, set, &others(&here)) {
            let place = system_path(&service.key, "Start");
            let (start, whose) = (shown(service.start), service.whose);
            let found = format!("{start} ({whose}; this machine is {here})");
            left.add(true, place, found, "REG_DWORD 0x4, or no service", []);
        }
    }
    left.into_finding().into_iter().collect()
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    let here = here(facts);
    let platforms = match (value, &here) {
        (Some(name), _) => {
            let mut known = PLATFORMS.iter();
            let named = known.find(|platform| platform.name.eq_ignore_ascii_case(name));
            vec![named.ok_or_else(|| unknown_value(&FIX, name))?]
        }
        (None, Some(here)) => others(here),
        (None, None) => {
            return Err(Error::refused(
                "nothing on the disk tells which platform the machine runs on",
                "name the one that it came from: --fix migration=VMware or --fix migration=Parallels",
            ));
        }
    };
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        let left = left_over(facts, set, &platforms);
        for service in &left {
            proposal.edits.push(Edit::dword(
                HiveName::System,
                &service.key,
                "Start",
                DISABLED,
            ));
        }
        let off: Vec<&str> = left.iter().map(|service| service.service).collect();
        if !off.is_empty() {
            unfilter(facts, set, &off, &mut proposal)?;
        }
    }
    if proposal.edits.is_empty() {
        let named = platforms.iter().map(|platform| platform.name);
        proposal.notes.push(format!(
            "no service of {} starts by itself",
            named.collect::<Vec<_>>().join(" or ")
        ));
    }
    Ok(proposal)
}

/// Takes drivers that are switched off out of the filters of every class of devices: a device whose filter cannot be
/// loaded does not start, and without the disk neither does Windows.
fn unfilter(
    facts: &Facts<'_>,
    set: &ControlSet,
    off: &[&str],
    proposal: &mut Proposal,
) -> Result<()> {
    let classes = set.path(CLASSES);
    let unreadable = |why: String| {
        Error::refused(
            format!(
                "{} cannot be read, so the drivers are not switched off: {why}",
                HiveName::System.full_path(&classes)
            ),
            "`coldfix diagnose` tells what is wrong with the hive",
        )
    };
    let view = View::new(facts.registry(), &[]);
    let subkeys = view
        .subkeys(HiveName::System, &classes)
        .map_err(unreadable)?;
    for (name, class) in subkeys.unwrap_or_default() {
        let key = format!(r"{classes}\{name}");
        for filters in FILTERS {
            let (kind, data) = match view.raw_of(HiveName::System, &key, class, filters) {
                Reading::Found(found) => found,
                Reading::NoValue | Reading::NoKey => continue,
                Reading::Malformed(why) | Reading::Unreadable(why) => {
                    return Err(unreadable(format!("{name}\\{filters}: {why}")));
                }
            };
            let listed = (kind == value::MULTI_SZ).then(|| value::multi_text(&data));
            let Some(listed) = listed.flatten() else {
                proposal.notes.push(format!(
                    "{} is no list of names; it is left alone",
                    system_path(&key, filters)
                ));
                continue;
            };
            let is_off = |name: &String| off.iter().any(|off| off.eq_ignore_ascii_case(name));
            let kept: Vec<String> = listed
                .iter()
                .filter(|name| !is_off(name))
                .cloned()
                .collect();
            if kept.len() == listed.len() {
                continue;
            }
            proposal.edits.push(match kept.is_empty() {
                true => Edit::DeleteValue {
                    hive: HiveName::System,
                    key: key.clone(),
                    name: filters.to_owned(),
                },
                false => Edit::multi_text(HiveName::System, &key, filters, &kept),
            });
        }
    }
    Ok(())
}
