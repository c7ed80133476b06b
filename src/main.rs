// SPDX-License-Identifier: GPL-2.0-or-later
//! The `coldfix` command: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    coldfix::cli::main(std::env::args_os())
}
