// SPDX-License-Identifier: GPL-2.0-or-later
//! Local policies that keep programs from running, Windows' own among them.
//!
//! ```text
//!   SOFTWARE\Policies\Microsoft\Windows\Safer\CodeIdentifiers   DefaultLevel 0: nothing runs that no rule allows
//!   SOFTWARE\Policies\Microsoft\Windows\SrpV2\<kind>            AppLocker: rules, and EnforcementMode (0: watch only)
//!   System32\GroupPolicy\...\scripts.ini                        commands at start-up and logon
//! ```
//! All three are in use on healthy machines. They block a logon where nothing lets the programs in the Windows
//! folder run; that the policy files are there is no evidence. They are somebody's security: taken away by name only.

use crate::edit::{Edit, HiveName, windows_path};
use crate::error::Result;
use crate::volume::{EntryKind, Volume};
use crate::windows::{Reading, value};

use super::{
    Check, Evidence, EvidenceKind, Facts, Finding, Fix, Problem, Proposal, Run, Severity, Stage,
    shown, unjudged, unknown_value,
};

const SAFER: &str = r"Policies\Microsoft\Windows\Safer\CodeIdentifiers";
const LEVEL: &str = "DefaultLevel";
/// Nothing runs without a rule.
const DISALLOWED: u32 = 0;
/// The level of rules that let run without restriction, which is also the name of their key.
const UNRESTRICTED: &str = "262144";
const APPLOCKER: &str = r"Policies\Microsoft\Windows\SrpV2";
const MODE: &str = "EnforcementMode";
/// The collections that a logon depends on.
const PROGRAMS: [&str; 2] = ["Exe", "Dll"];
/// Folders that hold local policies, below System32.
const FOLDERS: [&str; 3] = ["GroupPolicy", "GroupPolicyUsers", APPLOCKER_FOLDER];
const APPLOCKER_FOLDER: &str = "AppLocker";
/// A policy's script lists are a few hundred bytes; this is ours.
const LARGEST_LIST: u64 = 1 << 20;
/// How many names are tried for a folder that is put aside.
const MOST_NAMES: u32 = 20;

const SOURCE: &[&str] = &[
    "Azure/repair-script-library win-reset-group-policy",
    "https://learn.microsoft.com/windows/security/application-security/application-control/app-control-for-business/applocker/applocker-overview",
];

const BLOCKED: Problem = Problem {
    id: "policy-block.programs",
    title: "A policy may keep Windows' own programs from running",
    severity: Severity::Risk,
    stage: Stage::Logon,
    trigger: "DefaultLevel of Safer is 0, or AppLocker's collection Exe or Dll has rules and no EnforcementMode 0, and no rule lets the Windows folder run.",
    cause: "Then the programs that log a user on are refused, and nobody gets a session. The policy is somebody's security, so it is taken away only when asked for by name.",
    fixes: &[FIX.name],
};

const LIMITS: Problem = Problem {
    id: "policy-block.limits",
    title: "A policy limits which programs run",
    severity: Severity::Notice,
    stage: Stage::Logon,
    trigger: "DefaultLevel of Safer is 0, or a collection of AppLocker has rules and no EnforcementMode 0, and its rules let the Windows folder run or concern other files than programs.",
    cause: "Windows' own programs run. What a user's session needs besides them may be refused.",
    fixes: &[FIX.name],
};

const SCRIPTS: Problem = Problem {
    id: "policy-block.scripts",
    title: "A local policy runs commands at start-up or logon",
    severity: Severity::Notice,
    stage: Stage::Logon,
    trigger: "A numbered CmdLine under [Startup] or [Logon] in scripts.ini or psscripts.ini of a local policy.",
    cause: "Windows waits for them. One that does not end keeps everybody from logging on.",
    fixes: &[FIX.name],
};

const UNCLEAR: Problem = Problem::unclear("policy-block.unclear", Stage::Logon);

pub(super) const CHECK: Check = Check {
    id: "policy-block",
    title: "No local policy keeps a user from being logged on",
    looks_at: "DefaultLevel in Policies\\Microsoft\\Windows\\Safer\\CodeIdentifiers and its rules, the collections of SrpV2 with their EnforcementMode and rules, and the script lists of the local policies.",
    healthy: "No DefaultLevel, or another than 0; collections without rules, or with EnforcementMode 0. The files of a policy alone (gpt.ini, Registry.pol) mean nothing.",
    problems: &[&BLOCKED, &LIMITS, &SCRIPTS, &UNCLEAR],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: "policy-block",
    values: "",
    title: "Take local policies away that can keep a user from being logged on",
    explanation: "Only where the check finds one: deletes DefaultLevel of Safer where it is 0, and the enforced collections of SrpV2; renames GroupPolicy, GroupPolicyUsers and AppLocker in System32 where they hold a file, to the same name with .old (AppLocker only where programs are limited). Certificates and cryptography policies are never touched. A domain's policies come back when they are applied next.",
    source: SOURCE,
    edits,
};

/// A place that limits programs.
struct Limit {
    /// What takes it away.
    cure: Edit,
    found: String,
    expected: &'static str,
    /// Nothing lets Windows' own programs run.
    blocks: bool,
}

fn limits(facts: &Facts<'_>) -> (Vec<Limit>, Vec<Finding>) {
    let (mut found, mut unclear) = (Vec::new(), Vec::new());
    let place = |key: &str, name: &str| format!(r"{}\{name}", HiveName::Software.full_path(key));
    match facts.software_dword(SAFER, LEVEL) {
        Reading::Found(DISALLOWED) => found.push(Limit {
            cure: Edit::DeleteValue {
                hive: HiveName::Software,
                key: SAFER.to_owned(),
                name: LEVEL.to_owned(),
            },
            found: shown(DISALLOWED),
            expected: "no value, or REG_DWORD 0x40000",
            blocks: !safer_allows_windows(facts),
        }),
        Reading::Malformed(text) => {
            let expected = "no value, or REG_DWORD 0x40000";
            unclear.push(unjudged(
                &UNCLEAR,
                place(SAFER, LEVEL),
                text,
                expected,
                SOURCE,
            ));
        }
        _ => {}
    }
    for collection in facts.registry().subkey_names(HiveName::Software, APPLOCKER) {
        let key = format!(r"{APPLOCKER}\{collection}");
        let rules = facts.registry().subkey_names(HiveName::Software, &key);
        if rules.is_empty() {
            continue;
        }
        let mode = match facts.software_dword(&key, MODE) {
            Reading::Found(0) => continue,
            Reading::Found(mode) => shown(mode),
            Reading::NoValue | Reading::NoKey => "no value".to_owned(),
            Reading::Malformed(text) | Reading::Unreadable(text) => {
                let expected = "REG_DWORD 0x0 or 0x1";
                unclear.push(unjudged(
                    &UNCLEAR,
                    place(&key, MODE),
                    text,
                    expected,
                    SOURCE,
                ));
                continue;
            }
        };
        let concerns_programs = PROGRAMS
            .iter()
            .any(|program| program.eq_ignore_ascii_case(&collection));
        let allowed = rules
            .iter()
            .any(|rule| applocker_allows_windows(facts, &format!(r"{key}\{rule}")));
        found.push(Limit {
            found: format!("{} rules, {MODE}: {mode}", rules.len()),
            expected: "no rules, or EnforcementMode 0",
            blocks: concerns_programs && !allowed,
            cure: Edit::DeleteKey {
                hive: HiveName::Software,
                key,
            },
        });
    }
    (found, unclear)
}

/// Whether a rule of Safer lets the Windows folder, or everything, run.
fn safer_allows_windows(facts: &Facts<'_>) -> bool {
    let key = format!(r"{SAFER}\{UNRESTRICTED}\Paths");
    let rules = facts.registry().subkey_names(HiveName::Software, &key);
    rules.iter().any(|rule| {
        let rule = format!(r"{key}\{rule}");
        let path = facts.registry().text(HiveName::Software, &rule, "ItemData");
        path.found().is_some_and(|path| names_windows(facts, &path))
    })
}

/// Whether a path of a Safer rule is the Windows folder or one above it.
fn names_windows(facts: &Facts<'_>, path: &str) -> bool {
    const BY_REGISTRY: &str =
        r"%HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\SystemRoot%";
    let path = path.trim().trim_end_matches(['\\', '*']).to_lowercase();
    let own = facts.installation.system_root().unwrap_or_default();
    path == BY_REGISTRY.to_lowercase()
        || path.is_empty()
        || ["%systemroot%", "%windir%", "%systemdrive%"].contains(&path.as_str())
        || (!own.is_empty() && path == own.to_lowercase())
}

/// Whether a rule of AppLocker lets the Windows folder, or everything, run.
fn applocker_allows_windows(facts: &Facts<'_>, rule: &str) -> bool {
    let Some(text) = facts
        .registry()
        .text(HiveName::Software, rule, "Value")
        .found()
    else {
        return false;
    };
    let text = text.to_lowercase();
    // By path, or by who signed them.
    let conditions = [
        r#"path="%windir%\*""#,
        r#"path="%system32%\*""#,
        r#"path="*""#,
        r#"path="%osdrive%\*""#,
        r#"publishername="*""#,
        r#"publishername="o=microsoft corporation,"#,
    ];
    let mut conditions = conditions.iter();
    text.contains(r#"action="allow""#) && conditions.any(|condition| text.contains(condition))
}

/// The script lists that are there: path and the commands they run at start-up and logon.
fn scripts(facts: &Facts<'_>) -> Vec<(String, Vec<String>)> {
    let system = format!("{}/System32", facts.installation.directory);
    let volume = facts.installation.volume.as_ref();
    let mut places = vec![
        format!("{system}/GroupPolicy/Machine/Scripts"),
        format!("{system}/GroupPolicy/User/Scripts"),
    ];
    let users = format!("{system}/GroupPolicyUsers");
    let folders = volume.list(&users).unwrap_or_default();
    places.extend(
        folders
            .iter()
            .filter(|entry| entry.kind == EntryKind::Directory)
            .map(|entry| format!("{users}/{}/User/Scripts", entry.name)),
    );
    let mut found = Vec::new();
    for place in places {
        for list in ["scripts.ini", "psscripts.ini"] {
            let path = format!("{place}/{list}");
            if !matches!(volume.entry(&path), Ok(Some(_))) {
                continue;
            }
            let commands = match volume.read(&path, LARGEST_LIST) {
                Ok(bytes) => commands(&text_of(&bytes)),
                Err(_) => continue,
            };
            if !commands.is_empty() {
                found.push((path, commands));
            }
        }
    }
    found
}

/// The text of a list: UTF-16 as Windows writes it, with or without a mark, else bytes.
fn text_of(bytes: &[u8]) -> String {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let marked = bytes.starts_with(&[0xff, 0xfe]);
    let wide = rest.is_empty() && pairs.first().is_some_and(|[_, high]| *high == 0);
    if !marked && !wide {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let units: Vec<u16> = pairs
        .iter()
        .skip(usize::from(marked))
        .map(|pair| u16::from_le_bytes(*pair))
        .collect();
    String::from_utf16_lossy(&units)
}

/// The commands under `[Startup]` and `[Logon]`.
fn commands(text: &str) -> Vec<String> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = name.trim().to_ascii_lowercase();
            continue;
        }
        let Some((name, command)) = line.split_once('=') else {
            continue;
        };
        let name = name.trim().to_ascii_lowercase();
        let number = name.strip_suffix("cmdline").unwrap_or_default();
        let numbered = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
        let waits = ["startup", "logon"].contains(&section.as_str());
        if waits && numbered && !command.trim().is_empty() {
            found.push(value::printable(command.trim()).into_owned());
        }
    }
    found
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let (limits, mut findings) = limits(facts);
    for (problem, blocks) in [(&BLOCKED, true), (&LIMITS, false)] {
        let evidence: Vec<Evidence> = limits
            .iter()
            .filter(|limit| limit.blocks == blocks)
            .map(|limit| Evidence {
                kind: EvidenceKind::Registry,
                location: limit.cure.location(),
                found: limit.found.clone(),
                expected: limit.expected.to_owned(),
            })
            .collect();
        if !evidence.is_empty() {
            findings.push(problem.found(SOURCE, evidence));
        }
    }
    let evidence: Vec<Evidence> = scripts(facts)
        .into_iter()
        .map(|(path, commands)| Evidence {
            kind: EvidenceKind::File,
            location: windows_path(&path),
            found: commands.join("; "),
            expected: "no command".to_owned(),
        })
        .collect();
    if !evidence.is_empty() {
        findings.push(SCRIPTS.found(SOURCE, evidence));
    }
    findings
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    if let Some(value) = value {
        return Err(unknown_value(&FIX, value));
    }
    let mut proposal = Proposal::default();
    let (limits, _) = limits(facts);
    if limits.is_empty() && scripts(facts).is_empty() {
        return Ok(proposal);
    }
    let limits_found = !limits.is_empty();
    if limits_found {
        proposal.lowers_security.push(
            "software restriction and AppLocker no longer limit which programs run; set the policy again once the machine can be reached".to_owned(),
        );
    }
    proposal
        .edits
        .extend(limits.into_iter().map(|limit| limit.cure));
    let volume = facts.installation.volume.as_ref();
    // AppLocker's folder holds no scripts.
    let folders = FOLDERS
        .iter()
        .filter(|folder| limits_found || **folder != APPLOCKER_FOLDER);
    for folder in folders {
        let path = format!("{}/System32/{folder}", facts.installation.directory);
        if holds_a_file(volume, &path)?
            && let Some(name) = free_name(volume, &path, folder)?
        {
            proposal.edits.push(Edit::Rename { path, name });
        }
    }
    Ok(proposal)
}

fn holds_a_file(volume: &dyn Volume, path: &str) -> Result<bool> {
    if volume.entry(path)?.is_none() {
        return Ok(false);
    }
    let tree = volume.tree(path)?;
    Ok(tree.iter().any(|entry| entry.kind == EntryKind::File))
}

/// A name that nothing beside `path` has.
fn free_name(volume: &dyn Volume, path: &str, folder: &str) -> Result<Option<String>> {
    for number in 1..=MOST_NAMES {
        let ending = match number {
            1 => ".old".to_owned(),
            more => format!(".old{more}"),
        };
        if volume.entry(&format!("{path}{ending}"))?.is_none() {
            return Ok(Some(format!("{folder}{ending}")));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::{commands, text_of};

    #[test]
    fn only_numbered_commands_that_windows_waits_for() {
        let text = "\u{feff}\r\n[Startup]\r\n0CmdLine=a.cmd\r\n0Parameters=-x\r\nCmdLine=b\r\n\
                    [Shutdown]\r\n0CmdLine=c\r\n[ logon ]\r\n 12cmdline = d.ps1 \r\n1CmdLine=\r\n";
        assert_eq!(commands(text), ["a.cmd", "d.ps1"]);
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(commands(&text_of(&wide)), ["a.cmd", "d.ps1"]);
        assert_eq!(commands(&text_of(&wide[2..])), ["a.cmd", "d.ps1"]);
        assert_eq!(
            commands(&text_of(b"[Startup]\n0CmdLine=a\x1b[2J")),
            ["a\\u{1b}[2J"]
        );
        assert!(commands(&text_of(&[0xff, 0xfe, 0x41])).is_empty());
        assert!(commands("").is_empty());
    }
}
