// SPDX-License-Identifier: GPL-2.0-or-later
//! The process that RPC and its endpoint mapper share.
//!
//! Both services say which process they run in, and it has to be the same one. Windows compares without case,
//! and stock machines differ in case only (`-k rpcss` and `-k RPCSS`).

use crate::edit::{Edit, HiveName};
use crate::error::{Error, Result};
use crate::windows::{ControlSet, Reading, value};

use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage, system_path,
    unknown_value,
};

const SHARED: u32 = 0x20;
const AUTOMATIC: u32 = 2;
const ACCOUNT: &str = r"NT Authority\NetworkService";
const GROUP: &str = "COM Infrastructure";
/// What RpcSs runs in, before and since 10 1607.
const HOSTS: [&str; 2] = [
    r"%SystemRoot%\system32\svchost.exe -k rpcss",
    r"%SystemRoot%\system32\svchost.exe -k rpcss -p",
];

const SOURCE: &[&str] = &["Azure/repair-script-library win-fix-logon-subsystem"];

const DIFFERENT: Problem = Problem {
    id: "rpc-host.different",
    title: "RPC and its endpoint mapper run in different processes",
    severity: Severity::Broken,
    stage: Stage::Logon,
    trigger: "After expanding %SystemRoot%, and without regard to case, ImagePath of RpcEptMapper is not that of RpcSs, and everything else about both is as Windows makes it.",
    cause: "The services of the logon screen end as soon as they start, over and over, and nobody can log on.",
    fixes: &[FIX.name],
};

const UNCLEAR: Problem = Problem {
    id: "rpc-host.unclear",
    title: "RPC and its endpoint mapper may run in different processes",
    severity: Severity::Risk,
    stage: Stage::Logon,
    trigger: "ImagePath of RpcEptMapper is not that of RpcSs, and one of them is otherwise not as Windows makes it (type 0x20, automatic, NetworkService, group COM Infrastructure), or both were changed.",
    cause: "If they really do, nobody can log on. Which of the values is right cannot be told from them; compare both keys with those of a machine of the same build.",
    fixes: &[],
};

pub(super) const CHECK: Check = Check {
    id: "rpc-host",
    title: "RPC and its endpoint mapper share a process",
    looks_at: "ImagePath, Type, Start, ObjectName and Group of RpcSs and RpcEptMapper.",
    healthy: "Equal paths but for upper and lower case. Windows before 7 has no RpcEptMapper.",
    problems: &[&DIFFERENT, &UNCLEAR],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: "rpc-host",
    values: "",
    title: "Let RPC's endpoint mapper run in the process of RPC",
    explanation: "Copies ImagePath of RpcSs to RpcEptMapper, where they differ and both services are otherwise as Windows makes them.",
    source: SOURCE,
    edits,
};

/// What came of comparing the two in one control set.
enum Judged {
    Healthy,
    /// The mapper's key and path, and the path of RPC.
    Different(String, String, String),
    Unclear(String, String, String),
}

fn judge(facts: &Facts<'_>, set: &ControlSet) -> Judged {
    let rpc = set.path(r"Services\RpcSs");
    let mapper = set.path(r"Services\RpcEptMapper");
    let text = |key: &str, name: &str| facts.registry().text(HiveName::System, key, name);
    let (Reading::Found(host), Reading::Found(found)) =
        (text(&rpc, "ImagePath"), text(&mapper, "ImagePath"))
    else {
        return Judged::Healthy;
    };
    // Where SOFTWARE does not tell what the variable stands for, the texts alone are compared.
    let expanded = |path: &str| {
        let expanded = facts.installation.expand_system_root(path);
        expanded
            .unwrap_or_else(|| path.to_owned())
            .trim()
            .to_lowercase()
    };
    if expanded(&host) == expanded(&found) {
        return Judged::Healthy;
    }
    let stock = |key: &str| {
        let same = |name: &str, wanted: &str| {
            text(key, name)
                .found()
                .is_some_and(|found| found.eq_ignore_ascii_case(wanted))
        };
        facts.system_dword(key, "Type") == Reading::Found(SHARED)
            && facts.system_dword(key, "Start") == Reading::Found(AUTOMATIC)
            && same("ObjectName", ACCOUNT)
            && same("Group", GROUP)
    };
    let known = HOSTS.iter().any(|known| expanded(known) == expanded(&host));
    let protected = |path: &str| {
        path.split_whitespace()
            .any(|part| part.eq_ignore_ascii_case("-p"))
    };
    match stock(&rpc) && stock(&mapper) && known && protected(&host) == protected(&found) {
        true => Judged::Different(mapper, found, host),
        false => Judged::Unclear(mapper, found, host),
    }
}

fn cure(key: &str, host: &str) -> Edit {
    Edit::text(HiveName::System, key, "ImagePath", value::EXPAND_SZ, host)
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut different = Gathered::new(&DIFFERENT, SOURCE);
    let mut unclear = Gathered::new(&UNCLEAR, SOURCE);
    for set in facts.sets() {
        let active = set.is_active();
        match judge(facts, set) {
            Judged::Healthy => {}
            Judged::Different(key, found, host) => {
                let place = system_path(&key, "ImagePath");
                different.add(active, place, found, &host, [cure(&key, &host)]);
            }
            Judged::Unclear(key, found, host) => {
                unclear.add(active, system_path(&key, "ImagePath"), found, &host, []);
            }
        }
    }
    let all = [different, unclear].into_iter();
    all.filter_map(Gathered::into_finding).collect()
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    if let Some(value) = value {
        return Err(unknown_value(&FIX, value));
    }
    let mut proposal = Proposal::default();
    for set in facts.sets() {
        match judge(facts, set) {
            Judged::Healthy => {}
            Judged::Different(key, _, host) => proposal.edits.push(cure(&key, &host)),
            Judged::Unclear(key, found, host) => {
                return Err(Error::refused(
                    format!(
                        "{} is {found:?}, RpcSs says {host:?}, and one of the two services is otherwise not as Windows makes it",
                        system_path(&key, "ImagePath")
                    ),
                    "compare both keys with those of a machine of the same build, then set the value with `coldfix reg add`",
                ));
            }
        }
    }
    Ok(proposal)
}
