// SPDX-License-Identifier: GPL-2.0-or-later
//! Dumps of programs that crash, by Windows Error Reporting.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::value;

use super::{Facts, Fix, Proposal, unknown_value};

const KEY: &str = r"Microsoft\Windows\Windows Error Reporting\LocalDumps";

pub(super) const FIX: Fix = Fix {
    name: "process-dumps",
    values: "on or off; on when nothing is said",
    title: "Keep dumps of programs and services that crash",
    explanation: "on sets DumpFolder to C:\\CrashDumps, DumpCount to 10 and DumpType to 2 (full) in SOFTWARE\\Microsoft\\Windows\\Windows Error Reporting\\LocalDumps (Microsoft's article on preparing disks calls the second CrashCount, which Windows does not read). off deletes these values. Dumps hold what was in memory, passwords included.",
    source: &[
        "https://learn.microsoft.com/azure/virtual-machines/windows/prepare-for-upload-vhd-image",
        "https://learn.microsoft.com/windows/win32/wer/collecting-user-mode-dumps",
    ],
    edits,
};

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    let mut proposal = Proposal::default();
    match value {
        None | Some("on") => proposal.edits.extend([
            Edit::CreateKey {
                hive: HiveName::Software,
                key: KEY.to_owned(),
            },
            Edit::text(
                HiveName::Software,
                KEY,
                "DumpFolder",
                value::EXPAND_SZ,
                r"C:\CrashDumps",
            ),
            Edit::dword(HiveName::Software, KEY, "DumpCount", 10),
            Edit::dword(HiveName::Software, KEY, "DumpType", 2),
        ]),
        Some("off") => {
            let registry = facts.registry();
            for name in ["DumpFolder", "DumpCount", "DumpType"] {
                if !registry.raw(HiveName::Software, KEY, name).is_absent() {
                    proposal.edits.push(Edit::DeleteValue {
                        hive: HiveName::Software,
                        key: KEY.to_owned(),
                        name: name.to_owned(),
                    });
                }
            }
        }
        Some(other) => return Err(unknown_value(&FIX, other)),
    }
    Ok(proposal)
}
