// SPDX-License-Identifier: GPL-2.0-or-later
//! `coldfix man`: a manual page for each command, from the definitions of the command line.
//!
//! `coldfix.1` has what holds for all of them; `coldfix-reg-query.1` is the page of `coldfix reg query`.

use std::path::{Path, PathBuf};

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use serde::Serialize;

use super::clock::Now;
use super::output::{Output, write_file};
use super::{EXIT_CODES, HEALTHY, TARGETS};
use crate::error::{Error, Result};

/// What the program reads beside its arguments.
const ENVIRONMENT: [(&str, &str); 4] = [
    (
        "COLDFIX_LANG",
        "The language of reports for people, such as ja; before LC_ALL, LC_MESSAGES and LANG.",
    ),
    (
        "COLDFIX_PASSWORD",
        "The new password for --fix password=NAME. Without it and without --password-fd the terminal is asked.",
    ),
    ("NO_COLOR", "When set and not empty, text has no colours."),
    (
        "XDG_STATE_HOME",
        "Where the journals of block devices and folders lie, in coldfix below it; ~/.local/state when it is not set. \
         On Windows LOCALAPPDATA.",
    ),
];

/// What the program leaves.
const FILES: [(&str, &str); 1] = [(
    "IMAGE.coldfix/",
    "The journals of the operations on IMAGE, which undo needs. They hold pieces of the disk.",
)];

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder to write the pages to; it has to be there
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    folder: PathBuf,
}

#[derive(Serialize)]
struct Pages {
    schema: &'static str,
    pages: Vec<String>,
}

pub(super) fn run(
    arguments: &Arguments,
    command: Command,
    output: &mut Output,
) -> anyhow::Result<u8> {
    if !arguments.folder.is_dir() {
        return Err(Error::unsupported(
            format!("{} is not a folder", arguments.folder.display()),
            "make the folder first",
        )
        .into());
    }
    // Pages of `help` would repeat the others.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let command = readable(command);
    let mut pages = Vec::new();
    write_pages(&command, None, &arguments.folder, &mut pages)?;
    if output.is_text() {
        output.text(&format!(
            "{} manual pages in {}\n",
            pages.len(),
            arguments.folder.display()
        ))?;
    } else {
        output.json(&Pages {
            schema: "coldfix.pages/1",
            pages,
        })?;
    }
    Ok(HEALTHY)
}

/// The page of a command and those of the commands below it; as deep as the command line is.
fn write_pages(
    command: &Command,
    parent: Option<&str>,
    folder: &Path,
    pages: &mut Vec<String>,
) -> Result<()> {
    let man = Man::new(command.clone())
        .date(Now::read().date())
        .source(concat!("coldfix ", env!("CARGO_PKG_VERSION")));
    let name = man.get_filename();
    let page = page(&man, command, parent).map_err(Error::io(format!("making {name}")))?;
    write_file(&folder.join(&name), &page)?;
    pages.push(name);
    for below in command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
    {
        write_pages(below, Some(page_name(command)), folder, pages)?;
    }
    Ok(())
}

fn page_name(command: &Command) -> &str {
    command.get_display_name().unwrap_or(command.get_name())
}

fn page(man: &Man, command: &Command, parent: Option<&str>) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut roff = Roff::new();
    if parent.is_none() {
        roff.control("SH", ["TARGETS"]);
        roff.text([roman(TARGETS)]);
        definitions(&mut roff, "ENVIRONMENT", &ENVIRONMENT);
        definitions(&mut roff, "FILES", &FILES);
    }
    roff.control("SH", ["EXIT STATUS"]);
    roff.text([roman(EXIT_CODES)]);
    if let Some(parent) = parent {
        roff.control("SH", ["SEE ALSO"]);
        roff.text([bold(parent), roman("(1)")]);
    }
    roff.to_writer(&mut page)?;
    // A backslash as every formatter knows it; `\\\\` means it in some places only.
    Ok(String::from_utf8_lossy(&page).replace(r"\\", r"\e").into())
}

/// The definitions as a page wants them: the usage line of the help, and what an option takes within its text.
fn readable(mut command: Command) -> Command {
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let names: Vec<String> = command
        .get_subcommands()
        .map(|below| below.get_name().to_owned())
        .collect();
    let mut command = command.override_usage(usage).mut_args(|option| {
        let values = option.get_possible_values();
        let takes: Vec<String> = values
            .iter()
            .map(|value| match value.get_help() {
                Some(help) => format!("{} ({help})", value.get_name()),
                None => value.get_name().to_owned(),
            })
            .collect();
        if takes.is_empty() {
            return option;
        }
        let help = option.get_long_help().or(option.get_help());
        let help = help.map(ToString::to_string).unwrap_or_default();
        option
            .long_help(format!("{help}. One of: {}", takes.join("; ")))
            .hide_possible_values(true)
    });
    for name in names {
        command = command.mut_subcommand(name, readable);
    }
    command
}

fn definitions(roff: &mut Roff, heading: &str, list: &[(&str, &str)]) {
    roff.control("SH", [heading]);
    for (name, meaning) in list {
        roff.control("TP", []);
        roff.text([bold(*name)]);
        roff.text([roman(*meaning)]);
    }
}
