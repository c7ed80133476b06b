// SPDX-License-Identifier: GPL-2.0-or-later
//! The real program under `strace`, which lists its system calls, and makes one of them fail or be met by a signal.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::Pid;

use super::support;

/// One call of a run: its name, which of this name it is in its thread (from 1), and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) number: u64,
    pub(crate) line: String,
}

/// What happens at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// It is not made, and gives this error.
    Error(&'static str),
    /// This signal arrives with it.
    Signal(&'static str),
    /// It is not made, and claims to be done.
    Lie,
}

impl Call {
    /// The option of `strace` that makes it fail.
    pub(crate) fn with(&self, fault: Fault) -> String {
        let (name, number) = (&self.name, self.number);
        let what = match fault {
            Fault::Error(error) => format!("error={error}"),
            Fault::Signal(signal) => format!("signal={signal}"),
            // Of what this is used for, only a write says how much it has done.
            Fault::Lie if name == "pwrite64" => {
                let (_, done) = self.line.rsplit_once("= ").expect("a result");
                format!("retval={done}")
            }
            Fault::Lie => "retval=0".to_owned(),
        };
        format!("inject={name}:{what}:when={number}")
    }

    /// The errors that the manual pages name for this call, and that a host can make up at any moment.
    pub(crate) fn faults(&self) -> &'static [Fault] {
        use Fault::{Error, Lie, Signal};
        const KILL: Fault = Signal("SIGKILL");
        match self.name.as_str() {
            "pwrite64" => &[
                KILL,
                Error("EIO"),
                Error("ENOSPC"),
                Error("EDQUOT"),
                Error("EINTR"),
                Lie,
                Signal("SIGINT"),
                Signal("SIGTERM"),
            ],
            "write" => &[
                KILL,
                Error("EIO"),
                Error("ENOSPC"),
                Error("EINTR"),
                Error("EPIPE"),
            ],
            "fsync" | "fdatasync" | "syncfs" => &[
                KILL,
                Error("EIO"),
                Error("ENOSPC"),
                Error("EDQUOT"),
                Error("EINTR"),
                Signal("SIGHUP"),
            ],
            "ftruncate" => &[
                KILL,
                Error("EIO"),
                Error("ENOSPC"),
                Error("EFBIG"),
                Error("EINTR"),
                Signal("SIGTERM"),
            ],
            "openat" => &[
                KILL,
                Error("EIO"),
                Error("EMFILE"),
                Error("EACCES"),
                Error("EROFS"),
                Error("ENOSPC"),
                Error("EINTR"),
            ],
            "rename" | "renameat" | "renameat2" | "mkdir" | "unlink" | "unlinkat" | "linkat"
            | "link" => &[
                KILL,
                Error("EIO"),
                Error("ENOSPC"),
                Error("EROFS"),
                Signal("SIGINT"),
            ],
            "pread64" | "read" | "getdents64" => &[KILL, Error("EIO"), Error("EINTR")],
            "fsetxattr" | "fgetxattr" | "setxattr" | "getxattr" | "lsetxattr" | "lgetxattr" => {
                &[KILL, Error("EIO"), Error("ENOSPC")]
            }
            "statx" | "fstat" | "newfstatat" | "lseek" | "fcntl" | "flock" | "fadvise64"
            | "fstatfs" | "madvise" | "readlink" | "readlinkat" | "ioctl" | "fchmod" => {
                &[KILL, Error("EIO")]
            }
            // It has no other errors that a program can meet: an old kernel, a strict sandbox.
            "getrandom" => &[KILL, Error("ENOSYS"), Error("EINTR")],
            _ => &[KILL],
        }
    }
}

/// `strace` over a command of [`support::coldfix`], as a child of which the program runs itself.
pub(crate) fn under(command: &Command, options: &[&str]) -> Command {
    let mut run = support::program("strace");
    // Detached, the tracer is a grandchild: who waits for the command waits for the program.
    run.args(["-D", "-f", "-q", "-s", "0"]).args(options);
    run.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => run.env(name, value),
            None => run.env_remove(name),
        };
    }
    run.stdin(Stdio::null());
    run
}

/// The calls that a run makes, from the first one that names `target` on. The run has to end with `code`.
pub(crate) fn calls(command: &Command, target: &Path, code: i32) -> Vec<Call> {
    let folder = support::temporary();
    let list = folder.path().join("calls");
    let list_text = list.to_str().expect("a path of text");
    let output = under(command, &["-o", list_text]).output().expect("strace");
    support::ends(&output, code);
    let text = finished(&list);
    let target = target.to_str().expect("a path of text");
    let mut numbers: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let (mut calls, mut begun) = (Vec::new(), false);
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        let Some((name, _)) = rest.split_once('(') else {
            continue;
        };
        if !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            continue; // `<... resumed>`, `+++ exited +++`
        }
        let number = numbers.entry((thread, name)).or_default();
        *number += 1;
        begun |= rest.contains(target) && name == "openat";
        if begun {
            calls.push(Call {
                name: name.to_owned(),
                number: *number,
                line: rest.to_owned(),
            });
        }
    }
    assert!(calls.len() > 20, "strace shows the run: {text}");
    calls
}

/// The list, when the tracer has written the end of it: the program's end is told before that.
fn finished(list: &Path) -> String {
    for _ in 0..6000 {
        let text = fs::read_to_string(list).unwrap_or_default();
        if text.contains("+++ exited") || text.contains("+++ killed") {
            return text;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("strace did not come to an end");
}

/// Whose faults are all tried, and of whose only a sample: the calls from the first that writes anything on, and those
/// before it, which only read.
pub(crate) fn first_write(calls: &[Call]) -> usize {
    let writes = ["pwrite64", "mkdir", "ftruncate", "rename", "fsync"];
    calls
        .iter()
        .position(|call| {
            writes.contains(&call.name.as_str())
                || call.name == "openat" && call.line.contains("O_CREAT")
        })
        .expect("something is written")
}

/// The names of calls that occur.
pub(crate) fn names(calls: &[Call]) -> BTreeSet<&str> {
    calls.iter().map(|call| call.name.as_str()).collect()
}

/// A run with one fault, and whether it came to that.
pub(crate) fn inject(command: &Command, call: &Call, fault: Fault) -> (Output, bool) {
    let folder = support::temporary();
    let list = folder.path().join("calls");
    let list_text = list.to_str().expect("a path of text");
    let trace = format!("trace={}", call.name);
    let with = call.with(fault);
    let options = ["-o", list_text, "-e", &trace, "-e", &with];
    let output = under(command, &options).output().expect("strace");
    let injected = match fault {
        Fault::Signal(_) => output.status.signal().is_some(),
        _ => finished(&list).contains("(INJECTED)"),
    };
    (output, injected)
}

/// The number of a signal.
pub(crate) fn signal(name: &str) -> i32 {
    match name {
        "SIGHUP" => 1,
        "SIGINT" => 2,
        "SIGKILL" => 9,
        "SIGTERM" => 15,
        _ => panic!("{name}"),
    }
}

/// A run that stands still.
pub(crate) struct Paused {
    run: Option<Child>,
    _folder: tempfile::TempDir,
}

/// A test that has failed leaves nobody standing there.
impl Drop for Paused {
    fn drop(&mut self) {
        if let Some(run) = &mut self.run {
            let _ = run.kill();
            let _ = run.wait();
        }
    }
}

/// Starts the command and stops it behind this call; `None` when it did not come to that.
pub(crate) fn pause(command: &Command, call: &Call) -> Option<Paused> {
    let folder = support::temporary();
    let list = folder.path().join("calls");
    let list_text = list.to_str().expect("a path of text");
    let trace = format!("trace={}", call.name);
    let with = call.with(Fault::Signal("SIGSTOP"));
    let options = ["-o", list_text, "-e", &trace, "-e", &with];
    let mut run = under(command, &options)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("strace");
    for _ in 0..24_000 {
        if fs::read_to_string(&list).is_ok_and(|text| text.contains("--- stopped by SIGSTOP ---")) {
            return Some(Paused {
                run: Some(run),
                _folder: folder,
            });
        }
        if run.try_wait().expect("wait").is_some() {
            return None;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let _ = run.kill();
    panic!("the run neither stops nor ends");
}

impl Paused {
    /// Lets it go on, to its end.
    pub(crate) fn go_on(mut self) -> Output {
        let mut run = self.run.take().expect("it stands still");
        let id = Pid::from_raw(run.id().try_into().expect("an id")).expect("an id");
        for _ in 0..12_000 {
            // Again and again: every thread stands still at its call of that number.
            rustix::process::kill_process(id, rustix::process::Signal::CONT).expect("continue");
            if run.try_wait().expect("wait").is_some() {
                return run.wait_with_output().expect("wait");
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let _ = run.kill();
        panic!("the run does not end");
    }
}
