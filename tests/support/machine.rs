// SPDX-License-Identifier: GPL-2.0-or-later
//! A machine in a folder: a copy of a fixture, changed at will, and what the program says of it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::foreign::{self, Reader};
use super::{coldfix, ends, fixture, root, sha256_tree, temporary};

/// The folder, and a place for journals.
pub struct Machine {
    folder: tempfile::TempDir,
    state: tempfile::TempDir,
    /// The folder that stands for the volume.
    pub target: PathBuf,
}

impl Machine {
    /// A copy of `folder/NAME`.
    pub fn new(name: &str) -> Option<Machine> {
        let (folder, state) = (temporary(), temporary());
        let target = fixture(&format!("folder/{name}"), folder.path())?;
        Some(Machine {
            folder,
            state,
            target,
        })
    }

    /// A healthy one with these keys and values, a `.reg` text without its first line.
    pub fn with(text: &str) -> Option<Machine> {
        let machine = Machine::new("healthy")?;
        machine.import(text);
        Some(machine)
    }

    /// Imports a `.reg` text without its first line.
    #[track_caller]
    pub fn import(&self, text: &str) {
        let file = self.folder.path().join("import.reg");
        let text = format!("Windows Registry Editor Version 5.00\n{text}");
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let import = ["reg", "import", "TARGET", file, "--yes"];
        ends(&self.run(&import), 0);
    }

    /// The program on this machine; a second word `TARGET`, or the place behind the first word, is the folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = coldfix(self.state.path());
        if arguments.contains(&"TARGET") {
            for argument in arguments {
                match *argument {
                    "TARGET" => command.arg(&self.target),
                    other => command.arg(other),
                };
            }
        } else {
            command
                .arg(arguments[0])
                .arg(&self.target)
                .args(&arguments[1..]);
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("run coldfix")
    }

    /// `repair --yes` with more arguments.
    pub fn repair(&self, arguments: &[&str]) -> Output {
        self.run(&[&["repair", "--yes"], arguments].concat())
    }

    pub fn report(&self) -> Value {
        let output = self.run(&["diagnose", "--format", "json"]);
        let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
        assert!(report["error"].is_null(), "{}", report["error"]);
        report
    }

    /// The ids of what is found, in the report's order; without notices unless asked for.
    pub fn found(&self, with_notices: bool) -> Vec<String> {
        let report = self.report();
        let findings = report["findings"].as_array().unwrap().iter();
        findings
            .filter(|finding| with_notices || finding["severity"] != "notice")
            .map(|finding| finding["id"].as_str().unwrap().to_owned())
            .collect()
    }

    pub fn hive(&self, name: &str) -> PathBuf {
        self.target.join("Windows/System32/config").join(name)
    }

    /// A REG_DWORD as hivex reads it.
    pub fn dword(&self, hive: &str, key: &str, name: &str) -> Option<u32> {
        foreign::hivex_value(&self.hive(hive), key, name).map(|value| value.dword())
    }

    /// Everything in SYSTEM and SOFTWARE as hivex reads it.
    pub fn dumps(&self) -> [foreign::Dump; 2] {
        ["SYSTEM", "SOFTWARE"].map(|name| foreign::dump(Reader::Hivex, &self.hive(name)))
    }

    pub fn sums(&self) -> std::collections::BTreeMap<PathBuf, String> {
        sha256_tree(&self.target)
    }
}

/// One finding of a report.
#[track_caller]
pub fn finding<'a>(report: &'a Value, id: &str) -> &'a Value {
    let mut findings = report["findings"].as_array().unwrap().iter();
    let found = findings.find(|finding| finding["id"] == id);
    found.unwrap_or_else(|| panic!("no {id} in {report:#}"))
}

/// An instruction of a registry policy file: key, value, type, data.
pub type Instruction = (String, String, u32, Vec<u8>);

/// Answers of Samba's reader and writer of registry policy files.
pub fn samba_policy(questions: &[Value]) -> Vec<Value> {
    let mut child = Command::new(foreign::python("samba"))
        .arg(root().join("tests/oracles/registry_pol.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let text: String = questions.iter().map(|line| format!("{line}\n")).collect();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What Samba is asked to write a file.
pub fn write_policy(path: &Path, instructions: &[Instruction]) -> Value {
    let entries: Vec<Value> = instructions
        .iter()
        .map(|(key, value, kind, data)| {
            let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
            json!([key, value, kind, hex])
        })
        .collect();
    json!({"write": path.to_str().unwrap(), "entries": entries})
}
