// SPDX-License-Identifier: GPL-2.0-or-later
//! The policy that lists the cipher suites and elliptic curves of Schannel.
//!
//! A list with entries is normal, on cloud images too, and is somebody's choice. A list without any leaves nothing to
//! negotiate.

use crate::edit::{Edit, HiveName};
use crate::error::Result;
use crate::windows::{Reading, value};

use super::{
    Check, Facts, Finding, Fix, Gathered, Problem, Proposal, Run, Severity, Stage, unjudged,
    unknown_value,
};

const KEY: &str = r"Policies\Microsoft\Cryptography\Configuration\SSL\00010002";
const SUITES: &str = "Functions";
const CURVES: &str = "EccCurves";
const EXPECTED: &str = "no value, or a list with entries";

const SOURCE: &[&str] = &["Azure/repair-script-library win-fix-rdp-connectivity"];

const EMPTY: Problem = Problem {
    id: "cipher-policy.empty",
    title: "A policy leaves no cipher suite for TLS",
    severity: Severity::Broken,
    stage: Stage::Handshake,
    trigger: "Functions in SOFTWARE\\Policies\\Microsoft\\Cryptography\\Configuration\\SSL\\00010002 is there and names no suite.",
    cause: "The list replaces that of Windows, so client and server have nothing to agree on; every TLS connection fails.",
    fixes: &[FIX.name],
};

const NO_CURVES: Problem = Problem {
    id: "cipher-policy.curves",
    title: "A policy leaves no elliptic curve for TLS",
    severity: Severity::Risk,
    stage: Stage::Handshake,
    trigger: "EccCurves in the same key is there and names no curve.",
    cause: "Key exchange over elliptic curves, which current clients prefer, has nothing to choose from. coldfix reports it and leaves it alone; delete the value with `coldfix reg delete` if nobody means it.",
    fixes: &[],
};

const UNCLEAR: Problem = Problem::unclear("cipher-policy.unclear", Stage::Handshake);

pub(super) const CHECK: Check = Check {
    id: "cipher-policy",
    title: "The policy of cipher suites leaves some to choose from",
    looks_at: "Functions and EccCurves in SOFTWARE\\Policies\\Microsoft\\Cryptography\\Configuration\\SSL\\00010002.",
    healthy: "No key, no value, or a list with entries.",
    problems: &[&EMPTY, &NO_CURVES, &UNCLEAR],
    source: SOURCE,
    run: Run::Hive(HiveName::Software, run),
};

pub(super) const FIX: Fix = Fix {
    name: "cipher-policy",
    values: "",
    title: "Go back to the cipher suites of Windows",
    explanation: "Deletes Functions in SOFTWARE\\Policies\\Microsoft\\Cryptography\\Configuration\\SSL\\00010002, also when it names suites; the key stays. A diagnosis asks for it only when the list is empty.",
    source: SOURCE,
    edits,
};

/// The names of a list: a string with commas or semicolons between, or a list of strings.
fn names(kind: u32, data: &[u8]) -> Option<Vec<String>> {
    let parts = match kind {
        value::SZ | value::EXPAND_SZ => vec![value::text(data)?],
        value::MULTI_SZ => value::multi_text(data)?,
        _ => return None,
    };
    let names = parts
        .iter()
        .flat_map(|part| part.split([',', ';']))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty());
    Some(names.collect())
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, problem, cure) in [
        (SUITES, &EMPTY, Some(delete_suites())),
        (CURVES, &NO_CURVES, None),
    ] {
        let location = format!(r"{}\{name}", HiveName::Software.full_path(KEY));
        if let Reading::Found((kind, data)) = facts.registry().raw(HiveName::Software, KEY, name) {
            let found = value::describe(kind, &data);
            match names(kind, &data) {
                None => {
                    findings.push(unjudged(&UNCLEAR, location, found, EXPECTED, SOURCE));
                }
                Some(names) if names.is_empty() => {
                    let mut gathered = Gathered::new(problem, SOURCE);
                    gathered.add(true, location, found, EXPECTED, cure);
                    findings.extend(gathered.into_finding());
                }
                Some(_) => {}
            }
        }
    }
    findings
}

fn delete_suites() -> Edit {
    Edit::DeleteValue {
        hive: HiveName::Software,
        key: KEY.to_owned(),
        name: SUITES.to_owned(),
    }
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    if let Some(value) = value {
        return Err(unknown_value(&FIX, value));
    }
    let mut proposal = Proposal::default();
    match facts.registry().raw(HiveName::Software, KEY, SUITES) {
        Reading::Found((kind, data)) => {
            if names(kind, &data).is_some_and(|names| !names.is_empty()) {
                proposal.notes.push(
                    "the list that is deleted names cipher suites: somebody may have chosen them"
                        .to_owned(),
                );
            }
            proposal.edits.push(delete_suites());
        }
        Reading::NoValue | Reading::NoKey => {}
        Reading::Malformed(why) | Reading::Unreadable(why) => {
            proposal
                .notes
                .push(format!("SOFTWARE cannot be read: {why}"));
        }
    }
    Ok(proposal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::utf16_with_terminator;

    #[test]
    fn a_list_is_empty_when_it_names_nothing() {
        let count =
            |kind, text: &str| names(kind, &utf16_with_terminator(text)).map(|names| names.len());
        assert_eq!(count(value::SZ, ""), Some(0));
        assert_eq!(count(value::SZ, " , ;"), Some(0));
        assert_eq!(count(value::SZ, "TLS_A,TLS_B;TLS_C"), Some(3));
        assert_eq!(count(value::MULTI_SZ, "TLS_A\0TLS_B\0"), Some(2));
        assert_eq!(count(value::MULTI_SZ, "\0"), Some(0));
        assert_eq!(count(value::DWORD, "TLS_A"), None);
        assert_eq!(names(value::SZ, &[0x41]), None);
    }
}
