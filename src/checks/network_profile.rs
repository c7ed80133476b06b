// SPDX-License-Identifier: GPL-2.0-or-later
//! The profile of the network that the machine was in last.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::firewall::Profile;
use crate::windows::firewall::{NETWORKS, last_network};

use super::{Facts, Fix, Proposal, unknown_value};

/// `Category` of a private network.
const PRIVATE: u32 = 1;

pub(super) const FIX: Fix = Fix {
    name: "network-profile",
    values: "private",
    title: "Mark the network that the machine was in last private",
    explanation: "Sets Category to 1 in the key below NetworkList\\Profiles that was connected to last, where that network is public: Windows takes a network that it does not recognise any more for public, and rules that hold in private networks no longer count. A domain's network is left alone.",
    source: &[
        "https://learn.microsoft.com/powershell/module/netconnection/set-netconnectionprofile",
    ],
    edits,
};

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    if value != Some("private") {
        return Err(unknown_value(&FIX, value.unwrap_or_default()));
    }
    let mut proposal = Proposal::default();
    match last_network(facts.registry()) {
        None => proposal.notes.push(format!(
            "{} names no network with a profile and a date",
            HiveName::Software.full_path(NETWORKS)
        )),
        Some(network) if network.profile == Profile::Public => {
            let edit = Edit::dword(HiveName::Software, &network.key, "Category", PRIVATE);
            proposal.edits.push(edit);
            proposal.lowers_security.push(format!(
                "the network {:?} gets what private networks are trusted with, such as file sharing",
                network.name
            ));
        }
        Some(network) => proposal.notes.push(format!(
            "the network {:?}, the last one, is not public: it is left alone",
            network.name
        )),
    }
    Ok(proposal)
}
