// SPDX-License-Identifier: GPL-2.0-or-later
//! The firewall as a whole, off and on.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::firewall::{Origin, Profile};
use crate::windows::Reading;
use crate::windows::firewall::POLICY;

use super::super::{Facts, Fix, Proposal, unknown_value};
use super::{FROM_POLICY, store_key};

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/disable-guest-os-firewall-windows",
    "https://learn.microsoft.com/azure/virtual-machines/windows/prepare-for-upload-vhd-image",
];

const ENABLE: &str = "EnableFirewall";

pub(in super::super) const OFF: Fix = Fix {
    name: "firewall-off",
    values: "",
    title: "Switch the firewall off",
    explanation: "Sets EnableFirewall to 0 in the three profiles of every control set that Select names, and in those keys of policy that have the value. Temporary: `--fix firewall-on` takes it back. The services of the firewall are left alone; without them the network may be shut altogether.",
    source: SOURCE,
    edits: off,
};

pub(in super::super) const ON: Fix = Fix {
    name: "firewall-on",
    values: "",
    title: "Switch the firewall on",
    explanation: "Sets EnableFirewall to 1 in the three profiles of every control set that Select names, and in those keys of policy that have another value.",
    source: SOURCE,
    edits: on,
};

fn off(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    if let Some(value) = value {
        return Err(unknown_value(&OFF, value));
    }
    let mut proposal = switched(facts, 0);
    proposal
        .lowers_security
        .push("nothing filters what reaches the machine; switch the firewall on again (--fix firewall-on) once it can be reached".to_owned());
    Ok(proposal)
}

fn on(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    match value {
        None => Ok(switched(facts, 1)),
        Some(value) => Err(unknown_value(&ON, value)),
    }
}

/// The edits that switch the firewall: the own settings, and those of policy that are there and say otherwise.
/// What cannot be judged is left alone.
fn switched(facts: &Facts<'_>, target: u32) -> Proposal {
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        for profile in Profile::ALL {
            let key = store_key(Origin::Local, set, profile.local_key());
            match facts.system_dword(&key, ENABLE) {
                Reading::Found(_) | Reading::NoValue => {
                    let edit = Edit::dword(HiveName::System, &key, ENABLE, target);
                    proposal.edits.push(edit);
                }
                Reading::NoKey | Reading::Malformed(_) | Reading::Unreadable(_) => {
                    let place = HiveName::System.full_path(&key);
                    proposal.notes.push(format!("{place} is left alone"));
                }
            }
        }
    }
    for name in [
        "DomainProfile",
        "PrivateProfile",
        "PublicProfile",
        "StandardProfile",
    ] {
        let key = format!(r"{POLICY}\{name}");
        match facts.software_dword(&key, ENABLE) {
            Reading::Found(value) if value != target => {
                let edit = Edit::dword(HiveName::Software, &key, ENABLE, target);
                proposal.edits.push(edit);
                if !proposal.notes.iter().any(|note| note == FROM_POLICY) {
                    proposal.notes.push(FROM_POLICY.to_owned());
                }
            }
            _ => {}
        }
    }
    proposal
}
