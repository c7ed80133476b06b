// SPDX-License-Identifier: GPL-2.0-or-later
//! A file of reports, one a line, that an earlier run has begun: what is in it, and lines added to it.
//!
//! A run that was killed leaves a last line that is not whole; it is cut off, and its target is diagnosed again. A file
//! with any other line that is not a report is somebody else's and is not touched.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::report::{self, clones};

/// The longest line that is taken for a report; ours.
const LONGEST_LINE: u64 = 64 << 20;

/// What is needed of a line.
#[derive(Deserialize)]
struct Line {
    schema: String,
    #[serde(default)]
    target: Option<Target>,
    #[serde(default)]
    verdict: String,
    #[serde(default)]
    error: Option<Failure>,
    #[serde(default)]
    installations: Vec<Machine>,
}

#[derive(Deserialize)]
struct Target {
    path: String,
}

#[derive(Deserialize)]
struct Failure {
    kind: String,
}

#[derive(Deserialize)]
struct Machine {
    machine_sid: Option<String>,
    build: Option<String>,
}

/// The file, ready for more lines, and what is in it.
#[derive(Debug)]
pub(super) struct Resumed {
    file: File,
    what: String,
    /// The targets that need not be diagnosed again.
    pub(super) done: HashSet<String>,
    /// Their machine SIDs.
    pub(super) seen: clones::Seen,
    /// The worst of their exit codes.
    pub(super) code: u8,
}

impl Resumed {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path) -> Result<Resumed> {
        let what = format!("resuming {}", path.display());
        let io = || Error::io(what.clone());
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io())?;
        if !file.metadata().map_err(io())?.is_file() {
            return Err(Error::refused(
                format!("{} is not a file", path.display()),
                "name a file that `coldfix diagnose --format jsonl` has written, or a new one",
            ));
        }
        if let Err(std::fs::TryLockError::WouldBlock) = file.try_lock() {
            return Err(Error::refused(
                format!("another run is writing to {}", path.display()),
                "wait until it has ended",
            ));
        }
        let mut resumed = Resumed {
            file,
            what: what.clone(),
            done: HashSet::new(),
            seen: clones::Seen::default(),
            code: 0,
        };
        let reader = resumed.file.try_clone().map_err(io())?;
        let (end, whole) = resumed.read(path, BufReader::new(reader))?;
        resumed.file.set_len(end).map_err(io())?;
        resumed.file.seek(SeekFrom::Start(end)).map_err(io())?;
        if !whole {
            resumed.line(b"\n")?;
        }
        Ok(resumed)
    }

    /// Reads what is there. Gives how much of it stays, and whether that ends with the end of a line.
    fn read(&mut self, path: &Path, mut reader: impl BufRead) -> Result<(u64, bool)> {
        // The groups of clones are told anew at the end.
        let (mut end, mut position) = (0_u64, 0_u64);
        let mut text = Vec::new();
        let mut number = 0_u64;
        loop {
            text.clear();
            let length = reader
                .by_ref()
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut text)
                .map_err(Error::io(self.what.clone()))?;
            if length == 0 {
                return Ok((end, true));
            }
            number += 1;
            position += length as u64;
            let whole = text.ends_with(b"\n") || length as u64 == LONGEST_LINE;
            match self.add(&text) {
                Some(true) => end = position,
                Some(false) => {}
                None if !whole && is_torn(&text) => return Ok((end, true)),
                None => {
                    return Err(Error::refused(
                        format!("line {number} of {} is not a report", path.display()),
                        "name a file that `coldfix diagnose --format jsonl` has written, or a new one",
                    ));
                }
            }
            if !whole {
                return Ok((end, end != position));
            }
        }
    }

    /// Takes note of a line: true for a report, false for the groups of clones, `None` for anything else.
    fn add(&mut self, text: &[u8]) -> Option<bool> {
        let line: Line = serde_json::from_slice(text).ok()?;
        if line.schema == clones::SCHEMA {
            return Some(false);
        }
        let target = line.target?;
        if line.schema != report::SCHEMA {
            return None;
        }
        let code = match (line.error, line.verdict.as_str()) {
            (Some(failure), _) if failure.kind == "refused" => super::REFUSED,
            (Some(_), _) | (None, "error") => super::ERROR,
            (None, "healthy") => super::HEALTHY,
            (None, _) => super::FINDINGS,
        };
        self.code = self.code.max(code);
        for machine in &line.installations {
            if let Some(sid) = &machine.machine_sid {
                self.seen.add(&target.path, sid, machine.build.as_deref());
            }
        }
        self.done.insert(target.path);
        Some(true)
    }

    /// Adds a line, in one write.
    pub(super) fn line(&mut self, text: &[u8]) -> Result<()> {
        self.file
            .write_all(text)
            .map_err(Error::io(self.what.clone()))
    }
}

/// True for the beginning of a line that this program writes.
fn is_torn(text: &[u8]) -> bool {
    let begins = b"{\"schema\":\"coldfix.";
    text.starts_with(begins) || begins.starts_with(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(path: &str, verdict: &str, sid: &str) -> String {
        format!(
            "{{\"schema\":\"coldfix.report/1\",\"target\":{{\"path\":\"{path}\"}},\"verdict\":\"{verdict}\",\"installations\":[{{\"machine_sid\":\"{sid}\",\"build\":\"26100.7000\"}}]}}\n"
        )
    }

    const CLONES: &str = "{\"schema\":\"coldfix.clones/1\",\"groups\":[]}\n";

    /// What becomes of a file when a line is added.
    fn resumed(content: &str) -> (String, Vec<String>, u8) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("reports");
        std::fs::write(&path, content).expect("write");
        let mut resumed = Resumed::open(&path).expect("open");
        resumed.line(b"{\"new\":1}\n").expect("add");
        let mut done: Vec<String> = resumed.done.iter().cloned().collect();
        done.sort();
        let text = std::fs::read_to_string(&path).expect("read");
        (text, done, resumed.code)
    }

    #[test]
    fn a_torn_line_is_cut_off_wherever_it_is_torn() {
        let (one, two) = (report("a", "healthy", "S"), report("b", "broken", "S"));
        for cut in 0..two.len() {
            let torn = format!("{one}{}", two.get(..cut).expect("ASCII"));
            let (text, done, code) = resumed(&torn);
            if cut + 1 < two.len() {
                assert_eq!(text, format!("{one}{{\"new\":1}}\n"), "{cut}");
                assert_eq!((done, code), (vec!["a".to_owned()], 0));
            } else {
                // All of it but the end of the line: it stays.
                assert_eq!(text, format!("{one}{two}{{\"new\":1}}\n"));
                assert_eq!((done, code), (vec!["a".to_owned(), "b".to_owned()], 1));
            }
        }
    }

    #[test]
    fn groups_of_clones_at_the_end_are_cut_off_and_those_before_reports_stay() {
        let one = report("a", "healthy", "S");
        for groups in [CLONES, CLONES.trim_end()] {
            let (text, ..) = resumed(&format!("{one}{groups}"));
            assert_eq!(text, format!("{one}{{\"new\":1}}\n"));
        }
        let (text, ..) = resumed(&format!("{CLONES}{one}"));
        assert_eq!(text, format!("{CLONES}{one}{{\"new\":1}}\n"));
    }

    #[test]
    fn a_file_of_something_else_is_not_touched() {
        for content in [
            "precious\n".to_owned(),
            "precious, without the end of a line".to_owned(),
            "{\"schema\":\"precious\"".to_owned(),
            format!("{}x\n", report("a", "healthy", "S")),
            "{\"schema\":\"coldfix.report/2\",\"target\":{\"path\":\"a\"}}\n".to_owned(),
            format!("\n{}", report("a", "healthy", "S")),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("file");
            std::fs::write(&path, &content).expect("write");
            let error = Resumed::open(&path).expect_err("refused");
            assert_eq!(error.kind(), crate::error::Kind::Refused);
            assert_eq!(std::fs::read_to_string(&path).expect("read"), content);
        }
    }

    #[test]
    fn two_runs_do_not_write_to_one_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let first = Resumed::open(&path).expect("open");
        assert!(Resumed::open(&path).is_err());
        drop(first);
        assert!(Resumed::open(&path).is_ok());
    }
}
