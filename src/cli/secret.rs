// SPDX-License-Identifier: GPL-2.0-or-later
//! New passwords: from a file descriptor, the environment, or the terminal. Never from the command line, which other
//! users of the host can see and shells remember.

use std::cell::Cell;
use std::fs::File;
use std::io::Read;

use console::Term;
use zeroize::Zeroizing;

use super::random;
use crate::checks::{NewPassword, Secrets};
use crate::error::{Error, Result};

const VARIABLE: &str = "COLDFIX_PASSWORD";
/// Ours: far more than Windows takes.
const MOST: u64 = 4096;

/// Where this run takes new passwords from.
#[derive(Debug)]
pub(super) struct Source {
    fd: Option<u32>,
    fd_was_read: Cell<bool>,
}

impl Source {
    /// From the descriptor, if one was named.
    pub(super) fn new(fd: Option<u32>) -> Source {
        Source {
            fd,
            fd_was_read: Cell::new(false),
        }
    }

    fn text(&self, account: &str) -> Result<Zeroizing<String>> {
        if let Some(fd) = self.fd {
            if self.fd_was_read.replace(true) {
                return Err(Error::refused(
                    "--password-fd gives one password, and two accounts want one",
                    "set one password in a run",
                ));
            }
            return from_descriptor(fd);
        }
        match std::env::var(VARIABLE) {
            Ok(text) if !text.is_empty() => return Ok(Zeroizing::new(text)),
            Err(std::env::VarError::NotUnicode(_)) => {
                return Err(Error::refused(
                    format!("{VARIABLE} is no text"),
                    "give the password in UTF-8",
                ));
            }
            _ => {}
        }
        from_terminal(account)
    }
}

impl Secrets for Source {
    fn new_password(&self, account: &str) -> Result<NewPassword> {
        Ok(NewPassword {
            text: self.text(account)?,
            salt: random::uuid()?.into_bytes(),
        })
    }
}

/// The first line of what a descriptor of this process gives.
fn from_descriptor(fd: u32) -> Result<Zeroizing<String>> {
    if cfg!(windows) {
        return Err(Error::unsupported(
            "--password-fd needs file descriptors, which Windows does not have",
            format!("put the password into the environment variable {VARIABLE}"),
        ));
    }
    let path = format!("/dev/fd/{fd}");
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    File::open(&path)
        .and_then(|file| file.take(MOST).read_to_end(&mut bytes))
        .map_err(Error::io(format!("reading the password from {path}")))?;
    let line = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(Error::refused(
            format!("what {path} gives is no text"),
            "give the password in UTF-8",
        )),
    }
}

/// Asked for twice, without echo.
fn from_terminal(account: &str) -> Result<Zeroizing<String>> {
    let term = Term::stderr();
    if !term.is_term() {
        return Err(Error::refused(
            format!("there is no terminal to ask on for the new password of {account}"),
            format!(
                "nothing was written; use --password-fd N or the environment variable {VARIABLE}"
            ),
        ));
    }
    let ask = |question: &str| {
        term.write_str(&format!("{question}: "))
            .and_then(|()| term.read_secure_line())
            .map(Zeroizing::new)
            .map_err(Error::io("reading the password from the terminal"))
    };
    let account = crate::windows::value::printable(account);
    let first = ask(&format!("New password for {account}"))?;
    let second = ask("The same again")?;
    if first != second {
        return Err(Error::refused(
            "the two passwords differ",
            "nothing was written; run the command again",
        ));
    }
    Ok(first)
}
