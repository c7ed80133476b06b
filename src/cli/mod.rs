// SPDX-License-Identifier: GPL-2.0-or-later
//! The command line: what was typed becomes what is meant, one file per command, no format knowledge.
//!
//! Only this room prints, reads the environment and asks the clock.
#![allow(clippy::arithmetic_side_effects)] // counts of things that the layers below have checked

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::error::{Error, Kind};
use crate::target::Target;

mod acl;
mod bcd;
mod checks;
mod clock;
mod completions;
mod diagnose;
mod files;
mod inspect;
mod log;
mod man;
mod many;
mod opening;
mod operation;
mod output;
mod random;
mod reg;
mod repair;
mod resume;
mod secret;
mod typed;
mod undo;

use output::{Format, Lang, Output};

/// Everything healthy, or repaired and verified.
const HEALTHY: u8 = 0;
/// Findings remain.
const FINDINGS: u8 = 1;
/// An error.
const ERROR: u8 = 2;
/// Refused for safety.
const REFUSED: u8 = 3;
/// Ended by Ctrl-C, as shells count it.
const INTERRUPTED: u8 = 130;

/// What TARGET may be, as the help and the manual page say it.
const TARGETS: &str = "\
TARGET is a disk or volume image (raw, VHD or VHDX), a block device such as /dev/sdc, or a folder where a Windows volume \
is mounted. On Windows it may also be a drive such as F: or a disk such as \\\\.\\PhysicalDrive2. The kind is found by \
content.";
/// What the codes above mean, likewise.
const EXIT_CODES: &str = "\
0 healthy, or repaired and verified; 1 findings remain; 2 error; 3 refused for safety; 130 ended by Ctrl-C.";

/// Repairs a Windows disk that does not boot or cannot be reached, without booting it.
#[derive(Debug, Parser)]
#[command(name = "coldfix", version, max_term_width = 100)]
#[command(after_help = format!("{TARGETS}\n\nExit codes: {EXIT_CODES}"))]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
struct Common {
    /// How to print: text or html for people, json or jsonl for programs
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The language of reports for people: what COLDFIX_LANG, LC_ALL, LC_MESSAGES or LANG say, else English. What
    /// programs read is always English
    #[arg(long, global = true, value_enum)]
    lang: Option<Lang>,
    /// Write the result to FILE instead of standard output
    #[arg(short = 'o', global = true, value_name = "FILE", id = "output_file")]
    output: Option<PathBuf>,
    /// The partition to work on, when several hold a Windows installation
    #[arg(long, global = true, value_name = "N")]
    partition: Option<u32>,
    /// The boot configuration store to work with: PARTITION:PATH on a disk; in a folder a path in it, or a file or
    /// folder of another mounted volume
    #[arg(long, global = true, value_name = "PATH")]
    bcd: Option<String>,
    /// Refuse every command that would write
    #[arg(long, global = true)]
    read_only: bool,
    /// What waits in a volume's journal ($LogFile): on carries it out in memory before anything is read, and on the disk with
    /// the first change; off reads the disk as it was left, and changes only what the waiting changes do not concern
    #[arg(long, global = true, value_enum, value_name = "HOW", default_value_t = Replay::On)]
    replay_journal: Replay,
}

/// What to do with a journal in which changes wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Replay {
    On,
    Off,
}

impl Common {
    /// Whether what waits in the journals of volumes is carried out.
    fn replays(&self) -> bool {
        self.replay_journal == Replay::On
    }

    /// The target with the boot configuration store that the user named.
    fn with_store(&self, mut target: Target) -> Target {
        target.set_store(self.bcd.as_deref());
        target
    }
}

/// Options of every command that writes.
#[derive(Clone, Debug, Args)]
struct Writing {
    /// Go the whole way in memory, verification included, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before writing
    #[arg(long)]
    yes: bool,
    /// Where the journals lie, which undo needs. Default: TARGET.coldfix beside an image, else the
    /// user's state folder
    #[arg(long, value_name = "DIR")]
    journal_dir: Option<PathBuf>,
    /// Leave TARGET untouched and make a new disk at FILE that holds the change: a differencing child (.vhd, .vhdx) of
    /// a VHD or VHDX; of a raw disk a full copy
    #[arg(long, value_name = "FILE", id = "new_disk")]
    output: Option<PathBuf>,
    /// With --output: a whole copy (.vhdx, .vhd, .raw) instead of a child
    #[arg(long, requires = "new_disk")]
    full_copy: bool,
    /// Where changes of files and folders wait in the volume's journal ($LogFile) and cannot be carried out: throw them away,
    /// close the journal, and mark the volume dirty so that Windows checks it when it starts. Files can be lost by that;
    /// let Windows finish its work instead wherever it can. With --replay-journal=off also where they could be carried out
    #[arg(long)]
    discard_journal: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what is wrong, with evidence; writes nothing
    Diagnose(diagnose::Arguments),
    /// Diagnose, show the plan (before -> after), ask, apply, verify, print the undo command
    Repair(repair::Arguments),
    /// List the operations done on a target
    Log(log::Arguments),
    /// Take an operation back, bit for bit
    Undo(undo::Arguments),
    /// Read and edit the registry, as reg.exe does
    Reg(reg::Arguments),
    /// Read and edit the boot configuration, as bcdedit does
    Bcd(bcd::Arguments),
    /// Show, change, save and restore permissions, as icacls does
    Acl(acl::Arguments),
    /// List files and folders of the Windows volume
    Ls(files::List),
    /// Copy a file out of the Windows volume
    Get(files::Get),
    /// Show container, partitions, volumes, installations, hives and their state
    Inspect(inspect::Arguments),
    /// Explain every check, fix and preset
    Checks(checks::Arguments),
    /// Print what a shell needs to complete coldfix's commands
    Completions(completions::Arguments),
    /// Write the manual pages to a folder
    Man(man::Arguments),
}

/// Runs the command line and gives the process's exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(bcd::with_slashes(acl::with_slashes(
        reg::with_slashes(arguments),
    ))) {
        Ok(arguments) => arguments,
        Err(error) => {
            // clap prints help and version to stdout and mistakes to stderr.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { ERROR } else { HEALTHY });
        }
    };
    match run(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => ExitCode::from(print_error(&error)),
    }
}

fn run(Arguments { common, command }: Arguments) -> anyhow::Result<u8> {
    if common.format == Format::Html
        && !matches!(command, Command::Diagnose(_) | Command::Repair(_))
    {
        return Err(Error::unsupported(
            "only `coldfix diagnose` and `coldfix repair` make a page",
            "use --format text, json or jsonl",
        )
        .into());
    }
    // This thread takes its share of what is done side by side: on one processor no other is started. An error would mean that
    // there are such threads already, which do as well.
    let _ = rayon::ThreadPoolBuilder::new()
        .use_current_thread()
        .build_global();
    let language = Lang::choose(common.lang);
    let mut output = Output::new(common.format, common.output.as_deref(), language);
    let ended = dispatch(&common, command, &mut output);
    let written = output.take_written();
    let ended = ended.and_then(|code| {
        // A file appears whole or not at all.
        if code != INTERRUPTED {
            output.finish()?;
        }
        Ok(code)
    });
    ended.map_err(|error| match written {
        Some(written) => written.told_with(error),
        None => error,
    })
}

fn dispatch(common: &Common, command: Command, output: &mut Output) -> anyhow::Result<u8> {
    match command {
        Command::Diagnose(arguments) => diagnose::run(common, &arguments, output),
        Command::Repair(arguments) => repair::run(common, &arguments, output),
        Command::Log(arguments) => log::run(&arguments, output),
        Command::Undo(arguments) => undo::run(common, &arguments, output),
        Command::Reg(arguments) => reg::run(common, arguments, output),
        Command::Bcd(arguments) => bcd::run(common, arguments, output),
        Command::Acl(arguments) => acl::run(common, arguments, output),
        Command::Ls(arguments) => files::list(common, &arguments, output),
        Command::Get(arguments) => files::get(common, &arguments, output),
        Command::Inspect(arguments) => inspect::run(common, &arguments, output),
        Command::Checks(arguments) => checks::run(&arguments, output),
        Command::Completions(arguments) => {
            completions::run(&arguments, Arguments::command(), output)
        }
        Command::Man(arguments) => man::run(&arguments, Arguments::command(), output),
    }
}

/// Prints an error with its hint, once; the exit code it stands for.
fn print_error(error: &anyhow::Error) -> u8 {
    use std::io::Write;
    let mut stderr = anstream::stderr();
    let known = error.downcast_ref::<Error>();
    // A library error's text already holds its sources'.
    let message = match known {
        Some(error) => error.to_string(),
        None => format!("{error:#}"),
    };
    let red = anstyle::AnsiColor::Red.on_default().bold();
    // Nothing is left to tell when stderr is gone.
    let _ = writeln!(stderr, "{red}error:{red:#} {message}");
    if let Some(hint) = known.and_then(Error::hint) {
        let _ = writeln!(stderr, "next:  {hint}");
    }
    match known.map(Error::kind) {
        Some(Kind::Refused) => REFUSED,
        _ => ERROR,
    }
}
