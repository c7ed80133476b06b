// SPDX-License-Identifier: GPL-2.0-or-later
//! `coldfix diagnose`: every check on every target; writes nothing.

use std::io::{BufRead, IsTerminal};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;

use super::clock::Now;
use super::many::{self, End};
use super::opening;
use super::output::{Format, Output, json, warn};
use super::resume::Resumed;
use super::typed;
use super::{Common, FINDINGS, HEALTHY, INTERRUPTED};
use crate::checks::{self, Facts};
use crate::error::{Error, Result};
use crate::report::clones::Seen;
use crate::report::text::{self, Page};
use crate::report::{Report, Verdict, html};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Disk or volume images, block devices, folders
    #[arg(required_unless_present = "targets_from", value_name = "TARGET")]
    targets: Vec<PathBuf>,
    /// Read more targets from FILE, one a line; - is standard input
    #[arg(long, value_name = "FILE")]
    targets_from: Option<PathBuf>,
    /// How many targets to look at at once. Default: as many as there are processors
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Print each report as soon as it is there, in whatever order
    #[arg(long)]
    unordered: bool,
    /// Add the reports to FILE (--format jsonl) and leave out the targets that are in it already
    #[arg(long, value_name = "FILE", conflicts_with = "output_file")]
    resume: Option<PathBuf>,
}

pub(super) fn run(
    common: &Common,
    arguments: &Arguments,
    output: &mut Output,
) -> anyhow::Result<u8> {
    let now = Now::read().timestamp();
    if arguments.resume.is_some() && output.format() != Format::Jsonl {
        return Err(Error::unsupported(
            "--resume adds lines to a file of lines",
            "use it with --format jsonl",
        )
        .into());
    }
    let listed = arguments.targets_from.as_deref().map(targets).transpose()?;
    let mut targets = arguments.targets.clone();
    let single = listed.is_none() && arguments.resume.is_none();
    targets.extend(listed.unwrap_or_default());
    if let ([path], true) = (targets.as_slice(), single) {
        return one(path, common, now, output);
    }
    Run::new(common, arguments, output)?.go(targets, now)
}

/// The targets that a file lists.
fn targets(file: &Path) -> Result<Vec<PathBuf>> {
    let what = format!("reading the targets from {}", file.display());
    let reader: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        let file = std::fs::File::open(file).map_err(Error::io(what.clone()))?;
        Box::new(std::io::BufReader::new(file))
    };
    let mut targets = Vec::new();
    for line in reader.split(b'\n') {
        let mut line = line.map_err(Error::io(what.clone()))?;
        if line.ends_with(b"\r") {
            line.pop();
        }
        if !line.is_empty() {
            targets.push(path(line, &what)?);
        }
    }
    Ok(targets)
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere a path is text")]
fn path(line: Vec<u8>, _what: &str) -> Result<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    Ok(std::ffi::OsString::from_vec(line).into())
}

#[cfg(not(unix))]
fn path(line: Vec<u8>, what: &str) -> Result<PathBuf> {
    String::from_utf8(line).map(PathBuf::from).map_err(|_| {
        Error::unsupported(
            format!("{what}: a line is not UTF-8"),
            "write the file in UTF-8",
        )
    })
}

/// One target: for a person a failure is an error like any other command's.
fn one(path: &Path, common: &Common, now: Timestamp, output: &mut Output) -> anyhow::Result<u8> {
    let report = match (report(path, common, now), output.format()) {
        (Err(error), Format::Text) => return Err(error.into()),
        (result, _) => result.unwrap_or_else(|error| failed(path, &error)),
    };
    match output.format() {
        Format::Text => output.text(&text::diagnosis(&report, output.page()))?,
        Format::Json | Format::Jsonl => output.json(&report)?,
        Format::Html => {
            output.bytes(html::page(&report, None, output.page().language).as_bytes())?;
        }
    }
    Ok(report.exit_code())
}

/// What is kept of a report once it has been put into the words that are printed.
struct Told {
    text: String,
    code: u8,
    seen: Seen,
    row: Option<html::Row>,
}

/// Puts a report into words, on the thread that made it.
fn tell(report: &Report, format: Format, page: Page) -> Result<Told> {
    let mut seen = Seen::default();
    seen.add_report(report);
    let text = match format {
        Format::Text => format!("{}\n", text::diagnosis(report, page)),
        Format::Json | Format::Jsonl => json(report, format)?,
        Format::Html => html::article(report, None, page.language),
    };
    Ok(Told {
        text,
        code: report.exit_code(),
        seen,
        row: (format == Format::Html).then(|| html::Row::new(report, page.language)),
    })
}

/// A run over many targets.
struct Run<'a> {
    common: &'a Common,
    threads: usize,
    ordered: bool,
    output: &'a mut Output,
    resumed: Option<Resumed>,
    progress: indicatif::ProgressBar,
    seen: Seen,
    rows: Vec<html::Row>,
    printed: u64,
    /// How many ended healthy, with findings, not judged.
    ended: [u64; 3],
    code: u8,
}

impl<'a> Run<'a> {
    fn new(common: &'a Common, arguments: &Arguments, output: &'a mut Output) -> Result<Run<'a>> {
        let mut resumed = arguments.resume.as_deref().map(Resumed::open).transpose()?;
        let (seen, code) = match &mut resumed {
            Some(resumed) => (std::mem::take(&mut resumed.seen), resumed.code),
            None => (Seen::default(), HEALTHY),
        };
        Ok(Run {
            common,
            threads: match arguments.jobs {
                Some(jobs) => jobs.get(),
                None => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            },
            ordered: !arguments.unordered,
            output,
            resumed,
            progress: indicatif::ProgressBar::hidden(),
            seen,
            rows: Vec::new(),
            printed: 0,
            ended: [0; 3],
            code,
        })
    }

    fn go(mut self, mut targets: Vec<PathBuf>, now: Timestamp) -> anyhow::Result<u8> {
        if let Some(resumed) = &self.resumed {
            targets.retain(|path| !resumed.done.contains(&path.display().to_string()));
        }
        let count = targets.len();
        self.progress = progress(count as u64);
        let interrupted = watch_interrupts()?;
        let (format, page) = (self.output.format(), self.output.page());
        match format {
            Format::Json => self.print("[\n")?,
            Format::Html => self.print(&html::begin(page.language))?,
            Format::Text | Format::Jsonl => {}
        }
        let common = self.common.clone();
        let names = targets.clone();
        let ended = many::run(
            count,
            self.threads,
            self.ordered,
            move |number| {
                let path = targets.get(number).map_or(Path::new(""), PathBuf::as_path);
                let report =
                    report(path, &common, now).unwrap_or_else(|error| failed(path, &error));
                tell(&report, format, page)
            },
            move |number, message| {
                let path = names.get(number).map_or(Path::new(""), PathBuf::as_path);
                let error = Error::unsupported(
                    format!("coldfix has a fault that this target brings out: {message}"),
                    "please report it; the other targets are not affected",
                );
                tell(&failed(path, &error), format, page)
            },
            || interrupted.load(Ordering::Relaxed),
            |_, told| {
                self.receive(told?)?;
                Ok(!self.output.is_closed())
            },
        )?;
        self.progress.finish_and_clear();
        if ended == End::Stopped && !self.output.is_closed() {
            warn(&format!(
                "interrupted: {} of {count} targets are done\n",
                self.printed
            ));
            return Ok(INTERRUPTED);
        }
        self.end(page)
    }

    fn receive(&mut self, told: Told) -> Result<()> {
        let text = match self.output.format() {
            // An array as one document would have it.
            Format::Json => element(&told.text, self.printed > 0),
            _ => told.text,
        };
        self.print(&text)?;
        self.printed += 1;
        self.seen.append(told.seen);
        self.rows.extend(told.row);
        let kind = usize::from(told.code.min(FINDINGS + 1));
        if let Some(ended) = self.ended.get_mut(kind) {
            *ended += 1;
        }
        // The worst of all: a refusal outweighs an error here, an error findings.
        self.code = self.code.max(told.code);
        self.progress.inc(1);
        Ok(())
    }

    /// What is said when all targets are done.
    fn end(mut self, page: Page) -> anyhow::Result<u8> {
        let clones = std::mem::take(&mut self.seen).clones();
        if let Some(clones) = clones.as_ref().filter(|clones| clones.is_risk()) {
            debug_assert!(!clones.groups.is_empty());
            self.code = self.code.max(FINDINGS);
        }
        match self.output.format() {
            Format::Text => {
                if let Some(clones) = &clones {
                    let text = format!("{}\n", clones.text(page));
                    self.print(&text)?;
                }
                let line = text::many(self.printed, self.ended, page.language);
                self.print(&line)?;
            }
            Format::Jsonl => {
                if let Some(clones) = &clones {
                    self.print(&json(clones, Format::Jsonl)?)?;
                }
            }
            Format::Json => {
                if let Some(clones) = &clones {
                    let text = element(&json(clones, Format::Json)?, self.printed > 0);
                    self.print(&text)?;
                }
                self.print("\n]\n")?;
            }
            Format::Html => {
                let text = html::end(&self.rows, clones.as_ref(), page.language);
                self.print(&text)?;
            }
        }
        Ok(self.code)
    }

    fn print(&mut self, text: &str) -> Result<()> {
        let (output, resumed) = (&mut *self.output, self.resumed.as_mut());
        self.progress.suspend(|| match (resumed, output.format()) {
            (Some(file), _) => file.line(text.as_bytes()),
            (None, Format::Text) => output.text(text),
            (None, _) => output.bytes(text.as_bytes()),
        })
    }
}

/// How far the run is, on standard error where that is a terminal.
fn progress(count: u64) -> indicatif::ProgressBar {
    if !std::io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let bar = indicatif::ProgressBar::new(count);
    let style = "{bar:30} {pos}/{len}  {elapsed} gone, {eta} to go";
    match indicatif::ProgressStyle::with_template(style) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A pretty document as an element of an array.
fn element(document: &str, follows: bool) -> String {
    let mut out = String::from(if follows { ",\n" } else { "" });
    for (number, line) in document.trim_end().lines().enumerate() {
        out.push_str(if number > 0 { "\n  " } else { "  " });
        out.push_str(line);
    }
    out
}

/// True once Ctrl-C was pressed: the line that is being written is finished first. Pressed again, it ends at once.
fn watch_interrupts() -> Result<&'static AtomicBool> {
    static PRESSED: AtomicBool = AtomicBool::new(false);
    let watching = ctrlc::set_handler(|| {
        if PRESSED.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
    });
    match watching {
        Ok(()) | Err(ctrlc::Error::MultipleHandlers) => Ok(&PRESSED),
        Err(error) => Err(Error::Io {
            what: "watching for Ctrl-C".to_owned(),
            source: std::io::Error::other(error),
        }),
    }
}

fn failed(path: &Path, error: &Error) -> Report {
    Report::failed(&path.display().to_string(), error)
}

/// Diagnoses one target.
fn report(path: &Path, common: &Common, now: Timestamp) -> Result<Report> {
    let target = common.with_store(opening::look(path, None, common.replays())?);
    let mut report = Report::new(&target);
    report.notes.extend(opening::interrupted_note(&target));
    let installation = target.installation(common.partition)?;
    // The checks need all hives.
    installation.registry.load();
    report.add_installation(&target, &installation);
    if let Err(error) = installation.volume.check_writable() {
        report
            .notes
            .push(format!("a repair would be refused: {error}"));
    }
    match Facts::gather(&installation, now) {
        Ok(facts) => {
            report.set_diagnosis(checks::diagnose(&facts));
            report.events = checks::timeline(&facts, &report.findings);
        }
        // Without SYSTEM there is still something to be said: what is wrong with it, and what copies there are.
        Err(error) => {
            report.set_diagnosis(checks::diagnose_files(&installation));
            if report.verdict == Verdict::Healthy {
                return Err(error);
            }
        }
    }
    report.commands = typed::cures(path, common, &report.findings);
    Ok(report)
}
