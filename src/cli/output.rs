// SPDX-License-Identifier: GPL-2.0-or-later
//! Where results go: standard output, or a file that appears whole or not at all.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::error::{Error, Result};
use crate::report::Language;
use crate::report::text::Page;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For a person
    Text,
    /// For programs: one document
    Json,
    /// For programs: one line a target
    Jsonl,
    /// For a person: one page that needs no network (diagnose, repair)
    Html,
}

/// The languages of `--lang`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Lang {
    /// English
    En,
    /// Japanese
    Ja,
}

impl Lang {
    /// What was asked for, else what the environment says.
    pub(super) fn choose(wanted: Option<Lang>) -> Language {
        match wanted {
            Some(Lang::En) => Language::English,
            Some(Lang::Ja) => Language::Japanese,
            None => ["COLDFIX_LANG", "LC_ALL", "LC_MESSAGES", "LANG"]
                .iter()
                .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
                .map_or(Language::English, |locale| Language::of_locale(&locale)),
        }
    }
}

/// The sink of a command's result. Errors and questions go to stderr and are not its business.
#[derive(Debug)]
pub(super) struct Output {
    format: Format,
    page: Page,
    sink: Sink,
    /// The reader has closed the pipe.
    closed: bool,
    written: Option<Written>,
}

/// What has been done to the target for good: whatever fails after that must not hide it.
#[derive(Debug)]
pub(super) struct Written {
    what: String,
    next: String,
}

impl Written {
    /// A later failure, told together with what was done before it.
    pub(super) fn told_with(self, error: anyhow::Error) -> anyhow::Error {
        let what = format!("{}, but what follows that failed", self.what);
        match error.downcast::<Error>() {
            Ok(error) => error.with_hint(what, self.next).into(),
            Err(other) => other.context(what),
        }
    }
}

#[derive(Debug)]
enum Sink {
    Stdout,
    /// A file that is put in place when the command has ended well.
    File(PathBuf, Option<BufWriter<NamedTempFile>>),
}

impl Output {
    pub(super) fn new(format: Format, file: Option<&Path>, language: Language) -> Output {
        let mut page = Page {
            language,
            ..Page::default()
        };
        let sink = match file {
            Some(path) => Sink::File(path.to_owned(), None),
            None => {
                page.terminal = std::io::stdout().is_terminal();
                if let Some((width, _)) = terminal_size::terminal_size_of(std::io::stdout()) {
                    page.width = width.0.into();
                }
                Sink::Stdout
            }
        };
        Output {
            format,
            page,
            sink,
            closed: false,
            written: None,
        }
    }

    /// Takes note of what has been done to the target, and of what may follow.
    pub(super) fn set_written(&mut self, what: String, next: String) {
        self.written = Some(Written { what, next });
    }

    /// What has been done to the target.
    pub(super) fn take_written(&mut self) -> Option<Written> {
        self.written.take()
    }

    /// True when text for a person is wanted.
    pub(super) fn is_text(&self) -> bool {
        self.format == Format::Text
    }

    /// What is wanted.
    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// What text is written on.
    pub(super) fn page(&self) -> Page {
        self.page
    }

    /// True when nobody reads the result any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Writes text. Colours are dropped where the sink is not a terminal or `NO_COLOR` is set.
    pub(super) fn text(&mut self, text: &str) -> Result<()> {
        match &mut self.sink {
            Sink::File(..) => self.bytes(anstream::adapter::strip_str(text).to_string().as_bytes()),
            Sink::Stdout => {
                let mut stdout = anstream::stdout();
                let written = stdout.write_all(text.as_bytes());
                let written = written.and_then(|()| stdout.flush());
                self.ended(written)
            }
        }
    }

    /// Says something beside the result: between the lines for a person, on standard error where a
    /// program reads the result.
    pub(super) fn remark(&mut self, text: &str) -> Result<()> {
        if self.is_text() {
            return self.text(text);
        }
        warn(text);
        Ok(())
    }

    /// Writes bytes as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.sink {
            Sink::File(path, file) => {
                let file = match file {
                    Some(file) => file,
                    None => file.insert(begin(path)?),
                };
                file.write_all(bytes).map_err(Error::io(writing(path)))
            }
            Sink::Stdout => {
                let mut stdout = std::io::stdout().lock();
                let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
                self.ended(written)
            }
        }
    }

    /// A reader that has seen enough closes the pipe; that is no failure of ours.
    fn ended(&mut self, result: std::io::Result<()>) -> Result<()> {
        match result {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            other => other.map_err(Error::io("writing to standard output")),
        }
    }

    /// Writes a document in the wanted JSON form.
    pub(super) fn json<T: Serialize>(&mut self, value: &T) -> Result<()> {
        let text = json(value, self.format)?;
        self.bytes(text.as_bytes())
    }

    /// The file that the result goes to.
    pub(super) fn file(&self) -> Option<&Path> {
        match &self.sink {
            Sink::File(path, _) => Some(path),
            Sink::Stdout => None,
        }
    }

    /// Puts the file in place, when the result goes to one.
    pub(super) fn finish(self) -> Result<()> {
        match self.sink {
            Sink::File(path, file) => {
                let file = match file {
                    Some(file) => file,
                    None => begin(&path)?,
                };
                put_in_place(&path, file)
            }
            Sink::Stdout => Ok(()),
        }
    }
}

/// A document as JSON, with the end of its line.
pub(super) fn json<T: Serialize>(value: &T, format: Format) -> Result<String> {
    let text = if format == Format::Jsonl {
        serde_json::to_string(value)
    } else {
        serde_json::to_string_pretty(value)
    };
    let mut text = text.map_err(|error| Error::Io {
        what: "writing JSON".to_owned(),
        source: error.into(),
    })?;
    text.push('\n');
    Ok(text)
}

/// Says something on standard error. Nothing is left to tell when that is gone.
pub(super) fn warn(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}

/// Writes a file so that it appears whole or not at all: beside its place first, durable, then renamed.
pub(super) fn write_file(path: &Path, content: &[u8]) -> Result<()> {
    write_file_with(path, |file| file.write_all(content))
}

/// As [`write_file`], for a content that is written piece by piece.
pub(super) fn write_file_with(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let mut file = begin(path)?;
    content(&mut file).map_err(Error::io(writing(path)))?;
    put_in_place(path, file)
}

fn writing(path: &Path) -> String {
    format!("writing {}", path.display())
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A file beside the place of another; it is gone again unless it is put in its place.
fn begin(path: &Path) -> Result<BufWriter<NamedTempFile>> {
    let file = NamedTempFile::new_in(folder(path)).map_err(Error::io(writing(path)))?;
    Ok(BufWriter::with_capacity(1 << 16, file))
}

fn put_in_place(path: &Path, file: BufWriter<NamedTempFile>) -> Result<()> {
    let put = || -> std::io::Result<()> {
        let file = file
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        #[cfg(unix)]
        std::fs::File::open(folder(path))?.sync_all()?;
        Ok(())
    };
    put().map_err(Error::io(writing(path)))
}
