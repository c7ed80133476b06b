// SPDX-License-Identifier: GPL-2.0-or-later
//! `coldfix completions`: what a shell completes, from the definitions of the command line.

use clap::Command;
use clap::builder::PossibleValuesParser;
use clap_complete::Shell;

use super::HEALTHY;
use super::output::Output;
use crate::checks::{CHECKS, FIXES, PRESETS};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell; the script goes to standard output, or to the file of -o
    shell: Shell,
}

pub(super) fn run(
    arguments: &Arguments,
    command: Command,
    output: &mut Output,
) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    let mut command = with_names(command);
    let name = command.get_name().to_owned();
    clap_complete::generate(arguments.shell, &mut command, name, &mut script);
    output.bytes(&script)?;
    Ok(HEALTHY)
}

/// The names of checks, fixes and presets, which the parser itself takes as text: a fix may carry a value, and a wrong
/// name is answered with more than a list.
fn with_names(command: Command) -> Command {
    let fixes = || FIXES.iter().map(|fix| fix.name);
    let presets = || PRESETS.iter().map(|preset| preset.name);
    let checks = CHECKS.iter().map(|check| check.id);
    let all: Vec<&str> = checks.chain(fixes()).chain(presets()).collect();
    command
        .mut_subcommand("repair", |repair| {
            repair
                .mut_arg("fix", |fix| {
                    fix.value_parser(PossibleValuesParser::new(fixes()))
                })
                .mut_arg("preset", |preset| {
                    preset.value_parser(PossibleValuesParser::new(presets()))
                })
        })
        .mut_subcommand("checks", |checks| {
            checks.mut_arg("id", |id| id.value_parser(PossibleValuesParser::new(all)))
        })
}
