// SPDX-License-Identifier: GPL-2.0-or-later
//! What `docs` has from the code is current: the JSON Schemas, and the list of checks. What the program prints is valid
//! for a validator that is not ours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod support;

use std::fs;
use std::process::Output;

use support::foreign;

/// Reads the schema and lines of JSON; prints each fault. With `strict`, a field that the schema does not know is one.
const VALIDATE: &str = r#"
import json, sys
from jsonschema import Draft202012Validator
schema = json.load(open(sys.argv[1]))
Draft202012Validator.check_schema(schema)
def close(part):
    if isinstance(part, dict):
        if "properties" in part:
            part["additionalProperties"] = False
        for below in part.values():
            close(below)
    elif isinstance(part, list):
        for below in part:
            close(below)
if sys.argv[3:] == ["strict"]:
    close(schema)
validator = Draft202012Validator(schema)
for number, line in enumerate(open(sys.argv[2]), 1):
    for error in validator.iter_errors(json.loads(line)):
        print(f"line {number}: {error.json_path}: {error.message[:300]}")
"#;

const REPORT: &str = "docs/report.schema.json";
const CLONES: &str = "docs/clones.schema.json";

/// Compares a document with what the code makes of it; writes it where `variable` says so.
fn is_current(name: &str, text: &str, variable: &str) {
    let path = support::root().join(name);
    if std::env::var_os(variable).is_some_and(|value| !value.is_empty()) {
        fs::write(&path, text).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == text,
        "{name} is stale: run this test with {variable}=1 and look at what has changed"
    );
}

#[test]
fn the_published_schemas_are_those_of_the_code() {
    for (name, schema) in [
        (REPORT, coldfix::report::schema()),
        (CLONES, coldfix::report::clones::schema()),
    ] {
        let mut text = serde_json::to_string_pretty(&schema).unwrap();
        text.push('\n');
        is_current(name, &text, "COLDFIX_WRITE_SCHEMA");
    }
}

#[test]
fn the_list_of_checks_is_that_of_the_code() {
    let text = coldfix::report::catalogue::markdown();
    is_current("docs/checks.md", &text, "COLDFIX_WRITE_CHECKS");
    let state = support::temporary();
    let printed = support::run(support::coldfix(state.path()).args(["checks", "--markdown"]));
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), text);
}

/// The faults that the validator finds in lines of JSON; None without it.
fn faults(schema: &str, lines: &str, strict: bool) -> Option<String> {
    if !support::require_python("jsonschema") {
        return None;
    }
    let folder = support::temporary();
    let file = folder.path().join("lines");
    fs::write(&file, lines).unwrap();
    let mut command = std::process::Command::new(foreign::python("jsonschema"));
    command
        .args(["-c", VALIDATE])
        .arg(support::root().join(schema))
        .arg(file);
    if strict {
        command.arg("strict");
    }
    Some(String::from_utf8(support::run(&mut command).stdout).unwrap())
}

#[test]
fn what_is_printed_is_valid() {
    let names = [
        "folder/healthy",
        "folder/demo",
        "folder/nla-off",
        "folder/termservice-missing",
        "folder/firewall-rule-lost",
        "folder/select-missing",
        "gpt-broken.raw",
        "gpt-two-windows.raw",
        "mbr-logical.raw",
        "vhd-broken.vhd",
        "vhdx-dynamic.vhdx",
        "bad/text.txt",
        "bad/bitlocker.raw",
        "bad/hibernated.raw",
        "bad/unclean-log.raw",
        "bad/damaged-system-hive.raw",
        "bad/no-system-hive.raw",
        "bad/truncated.vhd",
    ];
    let Some(made) = support::fixtures(&names) else {
        return;
    };
    let state = support::temporary();
    let run = |arguments: &[&str], targets: &[&str]| -> Output {
        support::coldfix(state.path())
            .args(arguments)
            .args(targets.iter().map(|name| made.join(name)))
            .output()
            .unwrap()
    };
    let mut lines =
        String::from_utf8(run(&["--format", "jsonl", "diagnose"], &names).stdout).unwrap();
    // The fixtures are made from one disk: a line for each target, and one for the clones.
    let clones = lines.split_off(lines.trim_end().rfind('\n').unwrap() + 1);
    assert!(clones.contains("\"coldfix.clones/1\""), "{clones}");
    assert_eq!(lines.lines().count(), names.len(), "a line for each target");
    // One target as one document, and an operation.
    for arguments in [
        &["--format", "json", "diagnose"][..],
        &["--format", "json", "repair", "--dry-run", "--fix", "tls"],
    ] {
        let output = run(arguments, &["folder/demo"]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        lines.push_str(&format!("{report}\n"));
    }
    for verdict in ["healthy", "broken", "error"] {
        assert!(
            lines.contains(&format!("\"verdict\":\"{verdict}\"")),
            "{verdict}"
        );
    }
    assert!(lines.contains("\"set-value\""), "an operation");
    let Some(found) = faults(REPORT, &lines, true) else {
        return;
    };
    assert_eq!(found, "");
    assert_eq!(faults(CLONES, &clones, true).unwrap(), "");
    assert_ne!(faults(REPORT, &clones, false).unwrap(), "");
    let wrong = clones
        .replace("\"notice\"", "\"unimportant\"")
        .replace("\"risk\"", "\"bad\"");
    assert_ne!(faults(CLONES, &wrong, false).unwrap(), "");

    // The validator finds what is wrong, and lets new fields pass: field names stay, new ones may come.
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let broken = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut other = first.clone();
        change(&mut other);
        format!("{other}\n")
    };
    let wrong = [
        broken(&|report| report["schema"] = "coldfix.report/2".into()),
        broken(&|report| report["verdict"] = "fine".into()),
        broken(&|report| {
            report.as_object_mut().unwrap().remove("findings");
        }),
        broken(&|report| report["target"]["path"] = 1.into()),
    ];
    for line in &wrong {
        assert_ne!(faults(REPORT, line, false).unwrap(), "", "{line}");
    }
    let new = broken(&|report| report["later"] = 1.into());
    assert_eq!(faults(REPORT, &new, false).unwrap(), "");
    assert_ne!(faults(REPORT, &new, true).unwrap(), "");
}
