// SPDX-License-Identifier: GPL-2.0-or-later
//! What the program's own `--help` says: its commands and their options.

use std::collections::BTreeMap;
use std::path::Path;

/// The help of one command.
#[derive(Debug)]
pub struct Help {
    /// The commands below it, without `help`.
    pub commands: Vec<String>,
    /// Its options, such as `--fix` or `-v`; of those with two names both.
    pub options: Vec<String>,
    /// Those of every command among them.
    pub common: Vec<String>,
}

/// The help of `coldfix` and of every command below it, by its words: `coldfix reg query`.
pub fn all(state: &Path) -> BTreeMap<String, Help> {
    let mut found = BTreeMap::new();
    let mut open = vec![vec!["coldfix".to_owned()]];
    while let Some(words) = open.pop() {
        let mut command = super::coldfix(state);
        let output = super::run(command.args(&words[1..]).arg("--help"));
        let help = read(&String::from_utf8(output.stdout).expect("help is text"));
        for below in &help.commands {
            let mut words = words.clone();
            words.push(below.clone());
            open.push(words);
        }
        found.insert(words.join(" "), help);
    }
    found
}

fn read(text: &str) -> Help {
    let mut help = Help {
        commands: Vec::new(),
        options: Vec::new(),
        common: Vec::new(),
    };
    let mut heading = "";
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let Some(first) = line.split_whitespace().next() else {
            continue;
        };
        match indent {
            0 => heading = line,
            2 if heading == "Commands:" && first != "help" => {
                help.commands.push(first.to_owned());
            }
            2 | 6 if heading.starts_with("Options") && first.starts_with('-') => {
                for name in line
                    .split_whitespace()
                    .take_while(|word| word.starts_with('-'))
                {
                    // `--owner[=<WHO>]`
                    let end = name.find(['[', ',']).unwrap_or(name.len());
                    let name = name[..end].to_owned();
                    if heading == "Options of every command:" {
                        help.common.push(name.clone());
                    }
                    help.options.push(name);
                }
            }
            _ => {}
        }
    }
    help
}
