// SPDX-License-Identifier: GPL-2.0-or-later
//! What a report says: the verdict's sentence, the commands, the language, colours, and where pages are made.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::path::Path;
use std::process::Output;

use serde_json::Value;

fn run(state: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    support::coldfix(state)
        .env_remove("COLDFIX_LANG")
        .env_remove("LC_ALL")
        .env_remove("LC_MESSAGES")
        .env_remove("LANG")
        .envs(variables.iter().copied())
        .args(arguments)
        .output()
        .unwrap()
}

fn report(state: &Path, arguments: &[&str]) -> Value {
    let output = run(
        state,
        &[&["--format", "json", "diagnose"], arguments].concat(),
        &[],
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_policy_against_a_right_setting_is_told_as_one() {
    let state = support::temporary();
    let Some(made) = support::fixtures(&["folder/rdp-denied-by-policy", "folder/rdp-denied"])
    else {
        return;
    };
    let summary = |name: &str| {
        let found = report(state.path(), &[made.join(name).to_str().unwrap()]);
        found["summary"].as_str().unwrap().to_owned()
    };
    let policy = "Remote Desktop is switched off by Group Policy; the local setting is right";
    assert_eq!(summary("folder/rdp-denied-by-policy"), policy);
    assert_eq!(
        summary("folder/rdp-denied"),
        "Remote Desktop is switched off"
    );
}

#[test]
fn the_commands_that_are_shown_cure() {
    let state = support::temporary();
    let folder = state.path().join("my disks");
    std::fs::create_dir(&folder).unwrap();
    let Some(disk) = support::fixture("gpt-two-windows.raw", &folder) else {
        return;
    };
    let disk = disk.to_str().unwrap();
    let two = report(state.path(), &[disk]);
    assert!(
        two["summary"]
            .as_str()
            .unwrap()
            .starts_with("It could not be judged: "),
        "{two}"
    );
    let hint =
        two["error"]["message"].as_str().unwrap().to_owned() + &two["error"]["hint"].to_string();
    let broken = (1..9)
        .filter(|number| hint.contains(&number.to_string()))
        .map(|number| {
            (
                number,
                report(state.path(), &["--partition", &number.to_string(), disk]),
            )
        })
        .find(|(_, report)| report["verdict"] == "broken");
    let (number, broken) = broken.expect("one of the two is broken");
    let command = broken["commands"][0]["command"].as_str().unwrap();
    assert!(
        command.contains(&format!("' --partition {number} --fix ")),
        "{command}"
    );
    let ids: Vec<&Value> = broken["commands"][0]["findings"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    assert!(ids.contains(&&broken["findings"][0]["id"]), "{command}");
    // As a person would, with the program that is tested.
    let shell = command.replacen("coldfix", "\"$COLDFIX\"", 1);
    let output = support::program("sh")
        .env("COLDFIX", env!("CARGO_BIN_EXE_coldfix"))
        .env("HOME", state.path())
        .env("XDG_STATE_HOME", state.path())
        .args(["-c", &format!("{shell} --yes")])
        .output()
        .unwrap();
    support::ends(&output, 0);
    let cured = report(state.path(), &["--partition", &number.to_string(), disk]);
    for finding in cured["findings"].as_array().unwrap() {
        assert_ne!(finding["severity"], "broken", "{finding}");
    }
}

#[test]
fn the_language_is_that_of_the_option_then_of_the_environment() {
    let state = support::temporary();
    let Some(made) = support::fixtures(&["folder/demo"]) else {
        return;
    };
    let demo = made.join("folder/demo");
    let demo = demo.to_str().unwrap();
    let is_japanese = |arguments: &[&str], variables: &[(&str, &str)]| {
        let output = run(
            state.path(),
            &[&["diagnose", demo], arguments].concat(),
            variables,
        );
        let text = support::ends(&output, 1);
        let (japanese, english) = (
            text.contains("サーバー用の TLS 1.2 が無効になっています"),
            text.contains("TLS 1.2 is disabled for servers"),
        );
        assert_ne!(japanese, english, "{text}");
        assert!(text.contains("[tls.disabled]") && text.contains("REG_DWORD 0x0"));
        japanese
    };
    for (arguments, variables, japanese) in [
        (&[][..], &[][..], false),
        (&[], &[("LANG", "ja_JP.UTF-8")], true),
        (&[], &[("LANG", "ja_JP.UTF-8"), ("LC_MESSAGES", "C")], false),
        (&[], &[("LC_MESSAGES", "ja_JP"), ("LC_ALL", "en_GB")], false),
        (&[], &[("LC_ALL", ""), ("LC_MESSAGES", "ja_JP")], true),
        (&[], &[("LC_ALL", "en_GB"), ("COLDFIX_LANG", "ja")], true),
        (&["--lang", "en"], &[("COLDFIX_LANG", "ja")], false),
        (&["--lang", "ja"], &[("COLDFIX_LANG", "en")], true),
    ] {
        assert_eq!(
            is_japanese(arguments, variables),
            japanese,
            "{arguments:?} {variables:?}"
        );
    }
    let english = run(state.path(), &["--format", "json", "diagnose", demo], &[]);
    let japanese = run(
        state.path(),
        &["--format", "json", "--lang", "ja", "diagnose", demo],
        &[],
    );
    assert_eq!(
        english.stdout, japanese.stdout,
        "what programs read is English"
    );
}

#[test]
fn a_pipe_gets_no_colours_and_the_last_line_stands_alone() {
    let state = support::temporary();
    let Some(made) = support::fixtures(&["folder/demo"]) else {
        return;
    };
    let demo = made.join("folder/demo");
    for lang in ["en", "ja"] {
        let output = support::coldfix(state.path())
            .env_remove("NO_COLOR")
            .args(["--lang", lang, "diagnose"])
            .arg(&demo)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains('\u{1b}'), "{text}");
        let last = text.lines().last().unwrap();
        assert!(last.starts_with(demo.to_str().unwrap()), "{last}");
        assert!(last.chars().count() <= 200, "{last}");
    }
}

#[test]
fn only_diagnoses_and_repairs_make_pages() {
    let state = support::temporary();
    for arguments in [
        &["inspect", "x"][..],
        &["log", "x"],
        &["checks"],
        &["reg", "query", "x", "HKLM\\SYSTEM"],
    ] {
        let output = run(
            state.path(),
            &[arguments, &["--format", "html"]].concat(),
            &[],
        );
        assert!(support::ends(&output, 2).contains("make a page"));
    }
}
