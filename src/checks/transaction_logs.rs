// SPDX-License-Identifier: GPL-2.0-or-later
//! The logs of the registry's transactions, which can be full so that Windows does not start (0x800719e4).

use crate::edit::Edit;
use crate::error::Result;
use crate::volume::{Entry, EntryKind};
use crate::windows::Installation;

use super::{Facts, Fix, Proposal, unknown_value};

pub(super) const FIX: Fix = Fix {
    name: "transaction-logs",
    values: "",
    title: "Let Windows make the logs of the registry's transactions anew",
    explanation: "For a start that ends with 0x800719e4 (a log is full), which no file of the disk tells. Deletes *.blf and *.regtrans-ms in System32\\config\\TxR; one that cannot be deleted is renamed to NAME.coldfix-old. The hives and their own logs (.LOG1, .LOG2) are left alone. Transactions that were under way are lost; Windows would roll them back.",
    source: &[
        "Azure/repair-script-library win-fix-transaction-logs",
        "CrowdStrike's recovery scripts of July 2024",
    ],
    edits,
};

/// The folder of the logs.
pub(super) fn folder(installation: &Installation) -> String {
    format!("{}/System32/config/TxR", installation.directory)
}

/// The logs in it: base log files and their containers.
pub(super) fn logs(installation: &Installation) -> Result<Vec<Entry>> {
    let mut entries = installation.volume.list(&folder(installation))?;
    entries.retain(|entry| {
        let name = entry.name.to_ascii_lowercase();
        let is_log = name.ends_with(".blf") || name.ends_with(".regtrans-ms");
        entry.kind == EntryKind::File && is_log
    });
    Ok(entries)
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    if let Some(other) = value {
        return Err(unknown_value(&FIX, other));
    }
    let mut proposal = Proposal::default();
    let installation = facts.installation;
    let (folder, volume) = (folder(installation), installation.volume.as_ref());
    if volume.entry(&folder)?.is_none() {
        proposal
            .notes
            .push("there is no folder TxR: nothing is to be done".to_owned());
        return Ok(proposal);
    }
    for log in logs(installation)? {
        let path = format!("{folder}/{}", log.name);
        match volume.check_removable(&path) {
            Ok(()) => proposal.edits.push(Edit::DeleteFile { path }),
            Err(why) => {
                proposal.notes.push(format!(
                    "{} is renamed instead of deleted, which serves the same: {why}",
                    log.name
                ));
                proposal.edits.push(Edit::Rename {
                    path,
                    name: format!("{}.coldfix-old", log.name),
                });
            }
        }
    }
    if proposal.edits.is_empty() {
        proposal
            .notes
            .push("there are no logs of transactions in TxR: nothing is to be done".to_owned());
    }
    Ok(proposal)
}
