// SPDX-License-Identifier: GPL-2.0-or-later
//! The one error type of the library.
//!
//! Every layer reports through the same five variants, because callers ask every layer the same three
//! questions: how bad is it ([`Kind`], which also decides the exit code), where is it (structure and byte
//! offset, what was expected, what was found), and what should the person do next ([`Error::hint`]).

use std::io;

/// How a failure is to be taken. Decides tone, the `error.kind` of a JSON report and the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The data is bad. Exit code 2.
    Damaged,
    /// The data is valid, but coldfix does not handle it. Exit code 2.
    Unsupported,
    /// coldfix could go on, but it is not safe. Exit code 3.
    Refused,
    /// The host failed to read or write. Exit code 2.
    Io,
}

/// An error of any layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A structure does not hold what its format demands.
    #[error("{what} at offset {offset:#x}: expected {expected}, found {found}")]
    Damaged {
        /// The structure, by its specification's name, and what it belongs to.
        what: String,
        /// Where it begins: bytes from the start of what `what` names (file, volume or disk).
        offset: u64,
        /// What the format demands.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Valid input that coldfix does not handle.
    #[error("{what}")]
    Unsupported {
        /// What it is.
        what: String,
        /// The next step for the person.
        next: String,
    },
    /// Possible, but not safe.
    #[error("{what}")]
    Refused {
        /// What would be unsafe, and why.
        what: String,
        /// The next step for the person, naming the overriding flag where one exists.
        next: String,
    },
    /// The host's own I/O failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done to which file.
        what: String,
        /// The host's error.
        #[source]
        source: io::Error,
    },
    /// An error seen from further up: what was being done when it happened.
    #[error("{context}: {source}")]
    Context {
        /// What was being done, or in which file, partition or hive.
        context: String,
        /// A hint that replaces the inner one, when the outer layer knows better.
        hint: Option<String>,
        /// The error itself.
        source: Box<Error>,
    },
}

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A [`Error::Damaged`].
    pub fn damaged(
        what: impl Into<String>,
        offset: u64,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Error::Damaged {
            what: what.into(),
            offset,
            expected: expected.into(),
            found: found.into(),
        }
    }

    /// A [`Error::Unsupported`].
    pub fn unsupported(what: impl Into<String>, next: impl Into<String>) -> Self {
        Error::Unsupported {
            what: what.into(),
            next: next.into(),
        }
    }

    /// A [`Error::Refused`].
    pub fn refused(what: impl Into<String>, next: impl Into<String>) -> Self {
        Error::Refused {
            what: what.into(),
            next: next.into(),
        }
    }

    /// A [`Error::Io`]; for `map_err(Error::io("reading disk.raw"))`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Error::Io { what, source }
    }

    /// The error seen from one level up.
    pub fn context(self, context: impl Into<String>) -> Self {
        Error::Context {
            context: context.into(),
            hint: None,
            source: Box::new(self),
        }
    }

    /// The error with a hint that replaces its own.
    pub fn with_hint(self, context: impl Into<String>, hint: impl Into<String>) -> Self {
        Error::Context {
            context: context.into(),
            hint: Some(hint.into()),
            source: Box::new(self),
        }
    }

    /// How the failure is to be taken.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Damaged { .. } => Kind::Damaged,
            Error::Unsupported { .. } => Kind::Unsupported,
            Error::Refused { .. } => Kind::Refused,
            Error::Io { .. } => Kind::Io,
            Error::Context { source, .. } => source.kind(),
        }
    }

    /// What the person should do next, where the error knows.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Error::Unsupported { next, .. } | Error::Refused { next, .. } => Some(next),
            Error::Context {
                hint: Some(hint), ..
            } => Some(hint),
            Error::Context { source, .. } => source.hint(),
            Error::Damaged { .. } | Error::Io { .. } => None,
        }
    }
}

/// Adds context to a result.
pub trait ResultExt<T> {
    /// Wraps the error with what was being done; the closure runs only on failure.
    fn context<S: Into<String>>(self, context: impl FnOnce() -> S) -> Result<T>;
}

impl<T> ResultExt<T> for Result<T> {
    fn context<S: Into<String>>(self, context: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.context(context()))
    }
}
