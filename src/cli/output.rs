// SPDX-License-Identifier: GPL-2.0-or-later
//! Where results go: standard output, or a file that appears whole or not at all.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;

use crate::error::{Error, Result};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For a person
    Text,
    /// For programs: one document
    Json,
    /// For programs: one line a target
    Jsonl,
}

/// The sink of a command's result. Errors and questions go to stderr and are not its business.
#[derive(Debug)]
pub(super) struct Output {
    format: Format,
    file: Option<(PathBuf, Vec<u8>)>,
}

impl Output {
    pub(super) fn new(format: Format, file: Option<&Path>) -> Output {
        Output {
            format,
            file: file.map(|path| (path.to_owned(), Vec::new())),
        }
    }

    /// True when text for a person is wanted.
    pub(super) fn is_text(&self) -> bool {
        self.format == Format::Text
    }

    /// Writes text. Colours are dropped where the sink is not a terminal or `NO_COLOR` is set.
    pub(super) fn text(&mut self, text: &str) -> Result<()> {
        match &mut self.file {
            Some((_, buffer)) => {
                buffer.extend_from_slice(anstream::adapter::strip_str(text).to_string().as_bytes());
                Ok(())
            }
            None => {
                let mut stdout = anstream::stdout();
                ended(
                    stdout
                        .write_all(text.as_bytes())
                        .and_then(|()| stdout.flush()),
                )
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
        match &mut self.file {
            Some((_, buffer)) => {
                buffer.extend_from_slice(bytes);
                Ok(())
            }
            None => {
                let mut stdout = std::io::stdout().lock();
                ended(stdout.write_all(bytes).and_then(|()| stdout.flush()))
            }
        }
    }

    /// Writes a document in the wanted JSON form.
    pub(super) fn json<T: Serialize>(&mut self, value: &T) -> Result<()> {
        let text = if self.format == Format::Jsonl {
            serde_json::to_string(value)
        } else {
            serde_json::to_string_pretty(value)
        };
        let mut text = text.map_err(|error| Error::Io {
            what: "writing JSON".to_owned(),
            source: error.into(),
        })?;
        text.push('\n');
        self.bytes(text.as_bytes())
    }

    /// Writes one document for many targets: lines for jsonl, else one document, an array when there are
    /// several.
    pub(super) fn json_many<T: Serialize>(&mut self, values: &[T]) -> Result<()> {
        match values {
            _ if self.format == Format::Jsonl => {
                values.iter().try_for_each(|value| self.json(value))
            }
            [one] => self.json(one),
            many => self.json(&many),
        }
    }

    /// The file that the result goes to.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|(path, _)| path.as_path())
    }

    /// Puts the file in place, when the result goes to one.
    pub(super) fn finish(self) -> Result<()> {
        match self.file {
            Some((path, buffer)) => write_file(&path, &buffer),
            None => Ok(()),
        }
    }
}

/// Says something on standard error. Nothing is left to tell when that is gone.
pub(super) fn warn(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}

/// A reader that has seen enough closes the pipe; that is no failure of ours.
fn ended(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Error::io("writing to standard output")),
    }
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
    let what = format!("writing {}", path.display());
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        let mut buffered = std::io::BufWriter::with_capacity(1 << 16, file.as_file_mut());
        content(&mut buffered)?;
        buffered.flush()?;
        drop(buffered);
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        #[cfg(unix)]
        std::fs::File::open(folder)?.sync_all()?;
        Ok(())
    };
    write().map_err(Error::io(what))
}
