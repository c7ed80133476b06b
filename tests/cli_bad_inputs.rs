// SPDX-License-Identifier: GPL-2.0-or-later
//! What is no disk, what is damaged, and what must not be written: each gives one clear error with the next step
//! and the documented exit code, and nothing changes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const HEALTHY: i32 = 0;
const FINDINGS: i32 = 1;
const ERROR: i32 = 2;
const REFUSED: i32 = 3;

/// A fixture, what a repair of it must end with, and what a diagnosis must end with.
struct Case {
    name: &'static str,
    repair: &'static [i32],
    diagnose: &'static [i32],
    /// Words of which the error must hold at least one: it is about this, and not about something else.
    about: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "bad/text.txt",
        repair: &[ERROR],
        diagnose: &[ERROR],
        about: &["partition", "disk", "NTFS", "volume"],
    },
    Case {
        name: "bad/empty.raw",
        repair: &[ERROR],
        diagnose: &[ERROR],
        about: &["empty", "0 bytes", "too small", "short"],
    },
    Case {
        name: "bad/fat.raw",
        repair: &[ERROR],
        diagnose: &[ERROR],
        about: &["FAT"],
    },
    Case {
        name: "bad/truncated.vhd",
        repair: &[ERROR],
        diagnose: &[ERROR],
        about: &["truncated", "end", "past", "beyond"],
    },
    Case {
        name: "bad/short.vhd",
        repair: &[ERROR],
        diagnose: &[ERROR],
        about: &["VHD", "footer", "truncated"],
    },
    Case {
        name: "bad/child-alone.vhd",
        repair: &[REFUSED],
        diagnose: &[REFUSED],
        about: &["base server.vhd"],
    },
    Case {
        name: "bad/bitlocker.raw",
        repair: &[REFUSED],
        diagnose: &[ERROR, REFUSED],
        about: &["BitLocker"],
    },
    Case {
        name: "bad/bitlocker-disk.raw",
        repair: &[REFUSED],
        diagnose: &[ERROR, REFUSED],
        about: &["BitLocker"],
    },
    Case {
        name: "bad/hibernated.raw",
        repair: &[REFUSED],
        diagnose: &[FINDINGS],
        about: &["hibernat", "fast start"],
    },
    Case {
        name: "bad/unclean-log.raw",
        repair: &[REFUSED],
        diagnose: &[FINDINGS],
        about: &["$LogFile", "journal", "unclean"],
    },
    Case {
        name: "bad/compressed-hive.raw",
        repair: &[ERROR, REFUSED],
        // Reading it is no trouble.
        diagnose: &[FINDINGS],
        about: &["compress"],
    },
    Case {
        name: "bad/no-windows.raw",
        repair: &[ERROR],
        diagnose: &[ERROR],
        about: &["Windows"],
    },
    Case {
        name: "bad/no-system-hive.raw",
        repair: &[ERROR],
        diagnose: &[FINDINGS],
        about: &["SYSTEM"],
    },
    Case {
        name: "bad/damaged-system-hive.raw",
        repair: &[ERROR],
        diagnose: &[FINDINGS],
        about: &["SYSTEM", "bin", "hbin"],
    },
];

/// Everything in `folder` but the journals beside an image, by hash.
fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut sums = support::sha256_tree(folder);
    sums.retain(|path, _| {
        !path
            .components()
            .any(|part| Path::new(&part).extension().is_some_and(|e| e == "coldfix"))
    });
    sums
}

/// The error as a person sees it: once, with a next step, and not a panic.
fn check_error(output: &Output, codes: &[i32], about: &[&str], what: &str) {
    let text = String::from_utf8(output.stderr.clone()).expect("UTF-8 on stderr");
    let shown = format!(
        "{what}: {:?}\n{}{text}",
        output.status,
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(
        output
            .status
            .code()
            .is_some_and(|code| codes.contains(&code)),
        "{shown}"
    );
    assert!(!text.contains("panicked"), "{shown}");
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("error:"))
            .count(),
        1,
        "one error: {shown}"
    );
    let next = text.lines().find_map(|line| line.strip_prefix("next:"));
    assert!(
        next.is_some_and(|step| step.trim().len() > 10),
        "no next step: {shown}"
    );
    assert!(
        about
            .iter()
            .any(|word| text.to_lowercase().contains(&word.to_lowercase())),
        "not about any of {about:?}: {shown}"
    );
}

fn coldfix(state: &Path, arguments: &[&str], target: &Path) -> Output {
    support::coldfix(state)
        .arg(arguments[0])
        .arg(target)
        .args(&arguments[1..])
        .output()
        .expect("run coldfix")
}

#[test]
fn a_repair_is_refused_and_changes_nothing() {
    let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
    if support::fixtures(&names).is_none() {
        return;
    }
    let mut wrong = Vec::new();
    for case in CASES {
        let (folder, state) = (support::temporary(), support::temporary());
        let target = support::fixture(case.name, folder.path()).unwrap();
        let before = files(folder.path());
        let result = std::panic::catch_unwind(|| {
            check_error(
                &coldfix(state.path(), &["repair", "--yes"], &target),
                case.repair,
                case.about,
                case.name,
            );
        });
        if let Err(panic) = result {
            wrong.push(
                panic
                    .downcast::<String>()
                    .map_or_else(|_| case.name.to_owned(), |text| *text),
            );
        }
        if files(folder.path()) != before {
            wrong.push(format!("{}: changed", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n----\n"));
}

#[test]
fn a_diagnosis_says_what_it_is_and_changes_nothing() {
    let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
    if support::fixtures(&names).is_none() {
        return;
    }
    let mut wrong = Vec::new();
    for case in CASES {
        let (folder, state) = (support::temporary(), support::temporary());
        let target = support::fixture(case.name, folder.path()).unwrap();
        let before = files(folder.path());
        let output = coldfix(state.path(), &["diagnose", "--format", "json"], &target);
        let code = output.status.code().unwrap_or(-1);
        if !case.diagnose.contains(&code) {
            wrong.push(format!(
                "{}: {:?}, not {:?}",
                case.name, output.status, case.diagnose
            ));
        }
        let report: serde_json::Value = match serde_json::from_slice(&output.stdout) {
            Ok(report) => report,
            Err(error) => {
                wrong.push(format!("{}: no report on stdout: {error}", case.name));
                continue;
            }
        };
        if report["schema"] != "coldfix.report/1" {
            wrong.push(format!("{}: schema {}", case.name, report["schema"]));
        }
        if code >= ERROR {
            let error = &report["error"];
            let kinds = if code == REFUSED {
                &["refused"][..]
            } else {
                &["damaged", "unsupported", "io"]
            };
            if !kinds.contains(&error["kind"].as_str().unwrap_or_default())
                || error["message"].as_str().unwrap_or_default().is_empty()
                || error["hint"].as_str().unwrap_or_default().is_empty()
            {
                wrong.push(format!("{}: error {error}", case.name));
            }
        }
        if files(folder.path()) != before {
            wrong.push(format!("{}: changed", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Many targets at once: the bad ones do not keep the good ones from their report.
#[test]
fn a_bad_target_among_good_ones_gets_its_own_line() {
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(good) = support::fixture("folder/healthy", folder.path()) else {
        return;
    };
    let bad = folder.path().join("notes.txt");
    fs::write(&bad, "not a disk\n").unwrap();
    let output = support::coldfix(state.path())
        .args(["diagnose", "--format", "jsonl"])
        .args([&bad, &good])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(ERROR));
    let reports: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(reports.len(), 2);
    assert!(reports[0]["error"]["message"].is_string());
    assert!(
        reports[1]
            .get("error")
            .is_none_or(serde_json::Value::is_null)
    );
    assert_eq!(reports[1]["findings"].as_array().map(Vec::len), Some(0));
}

#[test]
fn what_is_not_there_is_an_error() {
    let state = support::temporary();
    let output = coldfix(
        state.path(),
        &["repair", "--yes"],
        &state.path().join("no-such-disk.raw"),
    );
    check_error(
        &output,
        &[ERROR],
        &["no-such-disk.raw"],
        "a path that is not there",
    );
}

#[test]
fn without_a_terminal_and_without_yes_nothing_is_written() {
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(target) = support::fixture("folder/demo", folder.path()) else {
        return;
    };
    let before = files(folder.path());
    let output = coldfix(state.path(), &["repair"], &target);
    check_error(&output, &[REFUSED], &["terminal", "--yes"], "no terminal");
    assert!(files(folder.path()) == before);
}

#[test]
fn read_only_refuses_every_write() {
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(target) = support::fixture("folder/demo", folder.path()) else {
        return;
    };
    let before = files(folder.path());
    let output = coldfix(state.path(), &["repair", "--yes", "--read-only"], &target);
    check_error(&output, &[REFUSED], &["--read-only"], "--read-only");
    assert!(files(folder.path()) == before);
}

/// The gates stand before every command that writes, not before `repair` alone.
#[test]
fn a_single_value_is_not_written_to_a_hibernated_volume_either() {
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(target) = support::fixture("bad/hibernated.raw", folder.path()) else {
        return;
    };
    let before = files(folder.path());
    let output = support::coldfix(state.path())
        .args(["reg", "add"])
        .arg(&target)
        .args([
            r"HKLM\SYSTEM\Select",
            "-v",
            "Failed",
            "-t",
            "REG_DWORD",
            "-d",
            "1",
            "-f",
            "--yes",
        ])
        .output()
        .unwrap();
    check_error(&output, &[REFUSED], &["hibernat", "fast start"], "reg add");
    assert!(files(folder.path()) == before);
}

/// A volume that Windows has marked for checking is reported, and still repaired.
#[test]
fn a_dirty_volume_is_reported() {
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(target) = support::fixture("bad/dirty-flag.raw", folder.path()) else {
        return;
    };
    let output = coldfix(state.path(), &["diagnose"], &target);
    assert_eq!(output.status.code(), Some(FINDINGS));
    assert!(String::from_utf8_lossy(&output.stdout).contains("dirty"));
    assert_eq!(
        coldfix(state.path(), &["repair", "--fix", "tls", "--yes"], &target)
            .status
            .code(),
        Some(HEALTHY)
    );
}

#[test]
fn several_installations_are_listed_and_none_is_chosen() {
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(target) = support::fixture("gpt-two-windows.raw", folder.path()) else {
        return;
    };
    let before = files(folder.path());
    let output = coldfix(state.path(), &["repair", "--yes"], &target);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        matches!(output.status.code(), Some(ERROR | REFUSED)),
        "{text}"
    );
    assert!(text.contains("--partition"), "{text}");
    assert!(
        text.contains('3') && text.contains('4'),
        "both are named: {text}"
    );
    assert!(files(folder.path()) == before);

    assert_eq!(
        coldfix(state.path(), &["diagnose", "--partition", "4"], &target)
            .status
            .code(),
        Some(HEALTHY)
    );
    assert_eq!(
        coldfix(state.path(), &["diagnose", "--partition", "3"], &target)
            .status
            .code(),
        Some(FINDINGS)
    );
}

/// As a user who may not write the file. (root may write any file, whatever its mode.)
#[test]
fn a_read_only_file_is_refused() {
    let folder = support::temporary();
    let Some(target) = support::fixture("bare-broken.raw", folder.path()) else {
        return;
    };
    fs::set_permissions(&target, fs::Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let journals = folder.path().join("journals");
    fs::create_dir(&journals).unwrap();
    fs::set_permissions(&journals, fs::Permissions::from_mode(0o777)).unwrap();
    let before = files(folder.path());

    // The tree may lie where that user cannot go: take the binary along.
    let tools = support::temporary();
    let binary = tools.path().join("coldfix");
    fs::copy(env!("CARGO_BIN_EXE_coldfix"), &binary).unwrap();
    fs::set_permissions(tools.path(), fs::Permissions::from_mode(0o755)).unwrap();

    let root = support::run(Command::new("id").arg("-u")).stdout == b"0\n";
    let mut command = if root {
        if !support::require("setpriv") {
            return;
        }
        let mut command = support::program("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&binary);
        command
    } else {
        Command::new(&binary)
    };
    let output = command
        .arg("repair")
        .arg(&target)
        .arg("--yes")
        .arg("--journal-dir")
        .arg(&journals)
        .env("HOME", &journals)
        .env("XDG_STATE_HOME", &journals)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    check_error(
        &output,
        &[REFUSED],
        &["permission", "read-only", "write"],
        "a read-only file",
    );
    let mut after = files(folder.path());
    after.retain(|path, _| !path.starts_with(&journals));
    assert!(after == before);
}

/// The journal must be durable before the first byte in place: no room for it, no repair.
#[test]
fn no_room_for_the_journal_is_an_error() {
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(target) = support::fixture("bare-broken.raw", folder.path()) else {
        return;
    };
    let small = folder.path().join("small");
    fs::create_dir(&small).unwrap();
    // In a mount namespace of its own: the full file system goes away with the process.
    let script = r#"mount -t tmpfs -o size=64k none "$1" && { head -c 1M /dev/zero >"$1/fill" || :; } 2>/dev/null && shift && exec "$@""#;
    let wrapped = |arguments: &[&std::ffi::OsStr]| {
        support::program("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(&small)
            .args(arguments)
            .env("HOME", state.path())
            .env("XDG_STATE_HOME", state.path())
            .output()
            .unwrap()
    };
    if !wrapped(&["true".as_ref()]).status.success() {
        support::skip("a mount namespace with a small file system (root)");
        return;
    }
    let before = files(folder.path());
    let output = wrapped(&[
        env!("CARGO_BIN_EXE_coldfix").as_ref(),
        "repair".as_ref(),
        target.as_ref(),
        "--yes".as_ref(),
        "--journal-dir".as_ref(),
        small.as_ref(),
    ]);
    check_error(&output, &[ERROR], &["space", "journal"], "a full disk");
    assert!(files(folder.path()) == before);
}

#[test]
fn a_disk_that_another_program_holds_is_refused() {
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(target) = support::fixture("bare-broken.raw", folder.path()) else {
        return;
    };
    let before = files(folder.path());
    let held = File::open(&target).unwrap();
    held.lock_shared().unwrap();
    let output = coldfix(state.path(), &["repair", "--yes"], &target);
    check_error(
        &output,
        &[REFUSED],
        &["lock", "in use", "another"],
        "locked by another program",
    );
    assert!(files(folder.path()) == before);
}

#[test]
fn of_two_runs_at_once_one_waits_its_turn_or_is_refused() {
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(target) = support::fixture("bare-broken.raw", folder.path()) else {
        return;
    };
    let before = support::sha256(&target);
    let start = || {
        support::coldfix(state.path())
            .arg("repair")
            .arg(&target)
            .args([
                "--fix", "tls", "--fix", "nla", "--fix", "services", "--fix", "rdp-port",
            ])
            .arg("--yes")
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let runs = [start(), start()];
    let ended: Vec<Output> = runs
        .into_iter()
        .map(|run| run.wait_with_output().unwrap())
        .collect();
    let codes: Vec<_> = ended
        .iter()
        .map(|output| output.status.code().unwrap_or(-1))
        .collect();
    assert!(codes.contains(&HEALTHY), "{ended:?}");
    assert_ne!(support::sha256(&target), before, "one of them repaired it");
    assert!(
        codes.iter().all(|code| [HEALTHY, REFUSED].contains(code)),
        "{ended:?}"
    );
    assert_eq!(
        coldfix(state.path(), &["diagnose"], &target).status.code(),
        Some(HEALTHY)
    );
    assert_eq!(
        coldfix(state.path(), &["undo", "--yes"], &target)
            .status
            .code(),
        Some(HEALTHY)
    );
    assert_eq!(support::sha256(&target), before);
}
