// SPDX-License-Identifier: GPL-2.0-or-later
//! `coldfix diagnose` on many targets: order, streaming, interruption, resumption, clones.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const NAMES: [&str; 8] = [
    "folder/healthy",
    "folder/demo",
    "bad/text.txt",
    "gpt-broken.raw",
    "bad/truncated.vhd",
    "vhdx-dynamic.vhdx",
    "gpt-two-windows.raw",
    "folder/nla-off",
];

/// Targets of many kinds, some of which cannot be read, in this order, three times over and under other names.
fn targets(folder: &Path) -> Option<Vec<PathBuf>> {
    let made = support::fixtures(&NAMES)?;
    let mut targets = Vec::new();
    for round in 0..3 {
        for name in NAMES {
            let link = folder.join(format!("{round}-{}", name.replace('/', "-")));
            std::os::unix::fs::symlink(made.join(name), &link).unwrap();
            targets.push(link);
        }
        targets.push(folder.join(format!("{round}-is-not-there")));
    }
    Some(targets)
}

fn diagnose(state: &Path, arguments: &[&str], targets: &[PathBuf]) -> Output {
    support::coldfix(state)
        .args(["diagnose", "--format", "jsonl"])
        .args(arguments)
        .args(targets)
        .output()
        .unwrap()
}

fn lines(output: &[u8]) -> Vec<Value> {
    let text = String::from_utf8(output.to_vec()).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line is a document"))
        .collect()
}

/// The lines without the one that tells of clones: the fixtures are made from one disk.
fn reports(output: &[u8]) -> Vec<Value> {
    let mut lines = lines(output);
    let clones = lines.pop().unwrap();
    assert_eq!(clones["schema"], "coldfix.clones/1");
    lines
}

fn paths(lines: &[Value]) -> Vec<PathBuf> {
    let path = |line: &Value| PathBuf::from(line["target"]["path"].as_str().unwrap());
    lines.iter().map(path).collect()
}

#[test]
fn any_number_of_threads_gives_the_same_lines_in_the_same_order() {
    let folder = support::temporary();
    let Some(targets) = targets(folder.path()) else {
        return;
    };
    let one = diagnose(folder.path(), &["--jobs", "1"], &targets);
    // A target that is refused outweighs errors, errors outweigh findings.
    support::ends(&one, 3);
    let reports = reports(&one.stdout);
    assert_eq!(paths(&reports), targets);
    for verdict in ["healthy", "broken", "error"] {
        assert!(
            reports.iter().any(|report| report["verdict"] == verdict),
            "{verdict}"
        );
    }
    let missing = &reports[8];
    assert_eq!(missing["error"]["kind"], "io", "{missing}");
    for arguments in [&["--jobs", "4"][..], &[]] {
        let other = diagnose(folder.path(), arguments, &targets);
        assert_eq!(other.stdout, one.stdout);
        assert_eq!(
            String::from_utf8_lossy(&other.stderr),
            "",
            "no progress but on a terminal"
        );
    }
    let unordered = diagnose(folder.path(), &["--jobs", "4", "--unordered"], &targets);
    support::ends(&unordered, 3);
    let sorted = |output: &[u8]| -> BTreeSet<String> {
        lines(output).iter().map(Value::to_string).collect()
    };
    assert_eq!(sorted(&unordered.stdout), sorted(&one.stdout));
}

#[test]
fn one_document_and_text_say_the_same_as_lines() {
    let folder = support::temporary();
    let Some(targets) = targets(folder.path()) else {
        return;
    };
    let lines = lines(&diagnose(folder.path(), &[], &targets).stdout);
    let run = |format: &str| {
        support::coldfix(folder.path())
            .args(["diagnose", "--format", format])
            .args(&targets)
            .output()
            .unwrap()
    };
    let array: Vec<Value> = serde_json::from_slice(&run("json").stdout).unwrap();
    assert_eq!(array, lines);
    let reports = &lines[..27];
    let text = String::from_utf8(run("text").stdout).unwrap();
    let last = text.lines().last().unwrap();
    let healthy = reports
        .iter()
        .filter(|report| report["verdict"] == "healthy")
        .count();
    let failed = reports
        .iter()
        .filter(|report| !report["error"].is_null())
        .count();
    let found = reports.len() - healthy - failed;
    assert_eq!(
        last,
        format!("27 targets: {healthy} healthy, {found} with findings, {failed} not judged")
    );
    let page = String::from_utf8(run("html").stdout).unwrap();
    assert_eq!(page.matches("<article>").count(), 27);
    assert!(page.ends_with("</main></body></html>\n"));
}

#[test]
fn targets_come_from_files_and_from_standard_input_too() {
    let folder = support::temporary();
    let Some(targets) = targets(folder.path()) else {
        return;
    };
    let expected = diagnose(folder.path(), &[], &targets).stdout;
    let list: Vec<String> = targets
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let file = folder.path().join("list");
    fs::write(&file, format!("{}\r\n\n{}", list[1], list[2..].join("\n"))).unwrap();
    let from = ["--targets-from", file.to_str().unwrap()];
    assert_eq!(
        diagnose(folder.path(), &from, &targets[..1]).stdout,
        expected
    );

    let mut child = support::coldfix(folder.path())
        .args(["diagnose", "--format", "jsonl", "--targets-from", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(list.join("\n").as_bytes()).unwrap();
    drop(stdin);
    assert_eq!(child.wait_with_output().unwrap().stdout, expected);
}

#[test]
fn a_run_that_was_killed_goes_on_where_it_was() {
    let folder = support::temporary();
    let Some(targets) = targets(folder.path()) else {
        return;
    };
    let whole = diagnose(folder.path(), &[], &targets).stdout;
    let file = folder.path().join("reports.jsonl");
    let resume = ["--resume", file.to_str().unwrap()];
    // Nothing yet; torn in the first line; torn in the middle of a line; at its end; all there.
    let ends: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').collect();
    for cut in [0, 20, ends[3] + 200, ends[3], ends[3] + 1, whole.len()] {
        fs::write(&file, &whole[..cut]).unwrap();
        let output = diagnose(folder.path(), &resume, &targets);
        support::ends(&output, 3);
        assert_eq!(output.stdout, b"", "the lines go to the file");
        assert!(fs::read(&file).unwrap() == whole, "cut at {cut}");
    }
    // A line in the middle that is not a report is not ours to mend.
    let mut spoiled = whole.clone();
    spoiled[ends[0] + 1] = b'x';
    fs::write(&file, &spoiled).unwrap();
    let output = diagnose(folder.path(), &resume, &targets);
    assert!(support::ends(&output, 3).contains("line 2"));
    assert!(fs::read(&file).unwrap() == spoiled);
    // Lines only.
    let mut text = support::coldfix(folder.path());
    let output = text
        .args(["diagnose", "--resume", "f", "x"])
        .output()
        .unwrap();
    assert!(support::ends(&output, 2).contains("--format jsonl"));
}

#[test]
fn ctrl_c_leaves_whole_lines_and_no_half_file() {
    let folder = support::temporary();
    let Some(made) = support::fixtures(&["folder/demo"]) else {
        return;
    };
    let list = folder.path().join("list");
    let many = 20_000;
    let target = made.join("folder/demo").display().to_string();
    fs::write(&list, format!("{target}\n").repeat(many)).unwrap();
    let run = |output: Option<&Path>| {
        let mut command = support::coldfix(folder.path());
        command
            .args(["diagnose", "--format", "jsonl", "--targets-from"])
            .arg(&list);
        if let Some(file) = output {
            command.arg("-o").arg(file);
        }
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let interrupt = |id: u32| {
        support::run(Command::new("kill").args(["-INT", &id.to_string()]));
    };

    let mut child = run(None);
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    // The first lines are there long before the last target has been looked at.
    let mut first = String::new();
    for _ in 0..5 {
        reader.read_line(&mut first).unwrap();
    }
    assert!(child.try_wait().unwrap().is_none(), "still at work");
    interrupt(child.id());
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    let code = child.wait().unwrap().code();
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(code, Some(130), "{stderr}");
    let count = 5 + lines(&rest).len();
    assert!(count < many);
    assert_eq!(
        stderr,
        format!("interrupted: {count} of {many} targets are done\n")
    );

    let file = folder.path().join("whole-or-not-at-all");
    let before = fs::read_dir(folder.path()).unwrap().count();
    let mut child = run(Some(&file));
    while fs::read_dir(folder.path()).unwrap().count() == before {
        assert!(child.try_wait().unwrap().is_none(), "still at work");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    interrupt(child.id());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before);
}

#[test]
fn clones_are_told_at_the_end() {
    let folder = support::temporary();
    let Some(packed) = support::data("hives/sam-w81.xz") else {
        return;
    };
    let Some(made) = support::fixtures(&["folder/healthy", "folder/demo"]) else {
        return;
    };
    let mut targets = Vec::new();
    for (name, from, has_sam) in [
        ("a", "folder/healthy", true),
        ("b", "folder/healthy", true),
        ("c", "folder/healthy", false),
    ] {
        let target = folder.path().join(name);
        support::copy(&made.join(from), &target);
        if has_sam {
            let sam = target.join("Windows/System32/config/SAM");
            fs::write(sam, support::unxz(&packed)).unwrap();
        }
        targets.push(target);
    }
    let output = diagnose(folder.path(), &[], &targets);
    // Server 2022 lets machines with its own SID sign in: worth knowing, no risk.
    support::ends(&output, 0);
    let lines = lines(&output.stdout);
    assert_eq!(lines.len(), 4);
    let clones = &lines[3];
    assert_eq!(clones["schema"], "coldfix.clones/1");
    let group = &clones["groups"][0];
    assert_eq!(group["severity"], "notice");
    assert_eq!(
        group["machine_sid"],
        lines[0]["installations"][0]["machine_sid"]
    );
    let expected: Vec<&str> = targets[..2]
        .iter()
        .map(|path| path.to_str().unwrap())
        .collect();
    assert_eq!(group["targets"], serde_json::json!(expected));

    // Windows Server 2025 with the updates of September 2025 does not.
    for (name, data) in [("CurrentBuild", "26100"), ("CurrentBuildNumber", "26100")] {
        reg_add(folder.path(), &targets[0], name, "REG_SZ", data);
    }
    reg_add(folder.path(), &targets[0], "UBR", "REG_DWORD", "7000");
    let file = folder.path().join("reports.jsonl");
    let resume = ["--resume", file.to_str().unwrap()];
    // One after the other, resumed: the group is told once, at the end.
    for count in [1, 3] {
        diagnose(folder.path(), &resume, &targets[..count]);
    }
    let output = diagnose(folder.path(), &resume, &targets);
    support::ends(&output, 1);
    let lines = self::lines(&fs::read(&file).unwrap());
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[3]["groups"][0]["severity"], "risk");

    let text = support::coldfix(folder.path())
        .arg("diagnose")
        .args(&targets)
        .output()
        .unwrap();
    let text = support::ends(&text, 1);
    assert!(
        text.contains("2 targets carry the machine SID S-1-5-21-"),
        "{text}"
    );
    assert!(text.contains("refuse sign-ins"), "{text}");
}

fn reg_add(state: &Path, target: &Path, name: &str, kind: &str, data: &str) {
    let key = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion";
    support::run(
        support::coldfix(state)
            .args(["reg", "add"])
            .arg(target)
            .args([key, "-v", name, "-t", kind, "-d", data, "-f", "--yes"]),
    );
}
