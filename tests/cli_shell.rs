// SPDX-License-Identifier: GPL-2.0-or-later
//! What is made from the definitions of the command line: completions that the shells themselves take and use, manual
//! pages that groff and mandoc format without a warning, and both know every command and option of the help.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use support::help::{self, Help};

/// The script of a shell, in a file.
fn script(folder: &Path, shell: &str) -> PathBuf {
    let file = folder.join(shell);
    let mut command = support::coldfix(folder);
    command.args(["completions", shell, "-o"]).arg(&file);
    let output = support::run(&mut command);
    assert!(output.stdout.is_empty());
    let printed = support::run(support::coldfix(folder).args(["completions", shell]));
    assert!(printed.stdout == fs::read(&file).unwrap(), "{shell}");
    file
}

/// What a shell prints, a word a line.
fn words(program: &str, arguments: &[&str]) -> Vec<String> {
    let output = support::run(support::program(program).args(arguments));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_fixes_and_files() {
    if !support::require("bash") {
        return;
    }
    let folder = support::temporary();
    let file = script(folder.path(), "bash");
    let file = file.to_str().unwrap();
    support::run(support::program("bash").args(["-n", file]));
    let complete = |line: &[&str]| {
        // As readline calls the function: the words of the line, and the number of the one that is completed.
        let call = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
            _coldfix coldfix \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; \
            printf '%s\\n' \"${COMPREPLY[@]}\"";
        let mut arguments = vec!["-c", call, "bash", file];
        arguments.extend(line);
        words("bash", &arguments)
    };
    assert_eq!(complete(&["coldfix", "re"]), ["reg", "repair"]);
    assert_eq!(complete(&["coldfix", "bcd", "e"]), ["enum"]);
    assert_eq!(
        complete(&["coldfix", "repair", "disk.vhd", "--pl"]),
        ["--plan", "--plan-out"]
    );
    let fixes = complete(&["coldfix", "repair", "disk.vhd", "--fix", "machine"]);
    assert_eq!(fixes, ["machine-keys"]);
    let presets = complete(&["coldfix", "repair", "disk.vhd", "--preset", "azure"]);
    assert_eq!(presets, ["azure-internal-error"]);
    assert_eq!(complete(&["coldfix", "checks", "volu"]), ["volume"]);
    let plan = folder.path().join("plan.json");
    fs::write(&plan, "").unwrap();
    let start = folder.path().join("pla");
    let start = start.to_str().unwrap();
    let files = complete(&["coldfix", "repair", "disk.vhd", "--plan", start]);
    assert_eq!(files, [plan.to_str().unwrap()]);
}

#[test]
fn fish_completes_commands_options_and_fixes() {
    if !support::require("fish") {
        return;
    }
    let folder = support::temporary();
    let file = script(folder.path(), "fish");
    let file = file.to_str().unwrap();
    support::run(support::program("fish").args(["--no-execute", file]));
    let complete = |line: &str| {
        let call = format!("source '{file}'; complete -C '{line}'");
        let mut command = support::program("fish");
        command.env("HOME", folder.path());
        let output = support::run(command.args(["--no-config", "-c", &call]));
        let text = String::from_utf8(output.stdout).unwrap();
        let first = |line: &str| line.split('\t').next().unwrap().to_owned();
        text.lines().map(first).collect::<Vec<_>>()
    };
    assert_eq!(complete("coldfix re"), ["reg", "repair"]);
    assert_eq!(complete("coldfix repair --pl"), ["--plan", "--plan-out"]);
    assert_eq!(complete("coldfix repair --fix machine"), ["machine-keys"]);
}

#[test]
fn zsh_completes_commands_and_fixes() {
    if !support::require("zsh") {
        return;
    }
    let folder = support::temporary();
    let file = script(folder.path(), "zsh");
    support::run(support::program("zsh").arg("-n").arg(&file));
    fs::rename(&file, folder.path().join("_coldfix")).unwrap();
    // zsh completes at a terminal only, so it gets one of its own, and is given a minute to show what is expected there.
    let call = "zmodload zsh/zpty; zpty z zsh -f -i; \
        zpty -w z \"PS1=; unsetopt zle_bracketed_paste; setopt no_list_beep\"; \
        zpty -w z \"fpath=($1 \\$fpath); autoload -U compinit; compinit -u -D\"; \
        zpty -w z \"bindkey '^I' complete-word\"; \
        zpty -w z 'print REA''DY'; zpty -r -m z line '*READY*'; \
        zpty -w -n z \"$2\"$'\\t'; zpty -r -m z line \"*$3*\"";
    let complete = |line: &str, expected: &str| {
        let place = folder.path().to_str().unwrap();
        let mut command = support::program("timeout");
        command.env("TERM", "dumb").env("HOME", folder.path());
        command.args(["60", "zsh", "-f", "-c", call, "zsh", place, line, expected]);
        command.status().unwrap().success()
    };
    assert!(complete("coldfix insp", "coldfix inspect"));
    let machine_keys = "coldfix repair disk.vhd --fix machine-k";
    assert!(complete(machine_keys, "--fix machine-keys"));
}

#[test]
fn the_other_shells_get_a_script_too() {
    let folder = support::temporary();
    for shell in ["elvish", "powershell"] {
        let text = fs::read_to_string(script(folder.path(), shell)).unwrap();
        for word in ["diagnose", "--plan-out", "completions"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
    let output = support::coldfix(folder.path())
        .args(["completions", "tcsh"])
        .output()
        .unwrap();
    support::ends(&output, 2);
}

/// The pages, by name, as a formatter prints them in plain text.
fn pages(folder: &Path, help: &BTreeMap<String, Help>) -> Option<BTreeMap<String, String>> {
    if !(support::require("groff") && support::require("mandoc")) {
        return None;
    }
    let mut command = support::coldfix(folder);
    command.env("SOURCE_DATE_EPOCH", "1772236800");
    let output = support::run(command.arg("man").arg(folder));
    let text = String::from_utf8(output.stdout).unwrap();
    let expected = format!("{} manual pages in {}\n", help.len(), folder.display());
    assert_eq!(text, expected);
    let mut pages = BTreeMap::new();
    for command in help.keys() {
        let name = format!("{}.1", command.replace(' ', "-"));
        let page = folder.join(&name);
        for (program, arguments) in [
            ("groff", ["-man", "-ww", "-z"].as_slice()),
            ("mandoc", &["-T", "lint", "-W", "warning"]),
        ] {
            let output = support::run(support::program(program).args(arguments).arg(&page));
            let said = [output.stdout, output.stderr].concat();
            assert!(
                said.is_empty(),
                "{program}: {}",
                String::from_utf8_lossy(&said)
            );
        }
        let mut format = support::program("mandoc");
        format.args(["-T", "ascii", "-O", "width=100"]).arg(&page);
        let output = support::run(&mut format);
        // Bold and underlined letters are struck twice.
        let mut plain = String::new();
        for letter in String::from_utf8(output.stdout).unwrap().chars() {
            match letter {
                '\u{8}' => drop(plain.pop()),
                other => plain.push(other),
            }
        }
        pages.insert(name, plain);
    }
    Some(pages)
}

#[test]
fn every_command_has_a_manual_page_with_every_option() {
    let folder = support::temporary();
    let help = help::all(folder.path());
    assert!(help.len() > 25, "{}", help.len());
    let Some(pages) = pages(folder.path(), &help) else {
        return;
    };
    let written = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(written, pages.len());
    for (command, help) in &help {
        let name = command.replace(' ', "-");
        let page = &pages[&format!("{name}.1")];
        assert!(page.contains("2026-02-28"), "{name}");
        for option in &help.options {
            assert!(page.contains(option), "{name}: {option}\n{page}");
        }
        for below in &help.commands {
            assert!(page.contains(&format!("{name}-{below}(1)")), "{below}");
        }
        assert!(page.contains("EXIT STATUS"), "{name}");
    }
    assert!(pages["coldfix.1"].contains(r"\\.\PhysicalDrive2"));
    assert!(pages["coldfix-reg-query.1"].contains(r"HKLM\SYSTEM\CurrentControlSet"));
    assert!(pages["coldfix-reg-query.1"].contains("coldfix reg query [OPTIONS] <TARGET> <KEY>"));
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let folder = support::temporary();
    let output = support::coldfix(folder.path())
        .args(["man", "missing"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    support::ends(&output, 2);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("make the folder first"), "{text}");
}
