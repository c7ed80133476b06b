// SPDX-License-Identifier: GPL-2.0-or-later
//! What others leave for coldfix to find: journal folders, journals, plans and links. None of them leads to a write
//! that was not asked for, and what coldfix leaves is for its owner only.
//!
//! At the level of the library the same is in `commit_files.rs`, `mounted*.rs`; here it is the program.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use coldfix::commit::{OperationHeader, TargetIdentity, TargetKind, journal};
use coldfix::device::{Change, ChangeSet, HostOperation, Patch};
use coldfix::security::sddl;
use serde_json::{Value, json};

use super::support::machine::Machine;
use super::support::{self, coldfix, ends};

/// Nobody's number here.
const STRANGER: u32 = 54_321;
const ID: &str = "20250101T000000.000000Z-00000001";

fn header(path: &Path, len: u64, kind: TargetKind) -> OperationHeader {
    OperationHeader {
        id: ID.into(),
        started: "2025-01-01T00:00:00Z".into(),
        tool_version: "0.1.0".into(),
        command: "repair".into(),
        target: TargetIdentity {
            path: path.canonicalize().unwrap().to_str().unwrap().into(),
            container: "raw".into(),
            len,
            len_after: None,
            disk_id: None,
            kind,
        },
        edits: Vec::new(),
        undoes: None,
        new_disk: false,
    }
}

/// A journal folder with one journal, whose operation is done or was interrupted.
fn forge(folder: &Path, header: &OperationHeader, changes: &ChangeSet, done: bool) {
    fs::create_dir_all(folder).unwrap();
    let mut bytes = Vec::new();
    journal::write(header, changes, &mut bytes).unwrap();
    fs::write(folder.join(format!("{ID}.journal")), bytes).unwrap();
    if done {
        fs::write(folder.join(format!("{ID}.done")), []).unwrap();
    }
}

/// A journal of an operation that looks as if it was cut off half way: taking it back writes what the forger likes.
/// It names another file.
fn evil(disk: &Path, victim: &Path) -> (OperationHeader, ChangeSet) {
    let content = fs::read(disk).unwrap();
    let len = content.len() as u64;
    // Behind the file's identifier lies who made it: room that nobody reads.
    let (done, open) = (&content[1024..1536], &content[2048..2560]);
    let change = |offset, before: &[u8], after: &[u8]| Change {
        offset,
        before: before.to_vec(),
        after: after.to_vec(),
    };
    let patch = Patch {
        file: victim.to_owned(),
        before_len: len,
        after_len: len,
        changes: vec![
            change(1024, &[0xE1; 512], done),
            change(2048, open, &[0xE2; 512]),
        ],
    };
    (
        header(disk, len, TargetKind::Image),
        ChangeSet::from(vec![patch]),
    )
}

/// Every file of the machine by its hash; links are not followed, for what they lead to is changed by the test.
fn sums(machine: &Machine) -> BTreeMap<PathBuf, String> {
    let mut sums = BTreeMap::new();
    let mut open = vec![machine.target.clone()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                sums.insert(entry.path(), support::sha256(&entry.path()));
            }
        }
    }
    sums
}

fn is_root() -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !root {
        support::skip("root, to give a folder away");
    }
    root
}

#[test]
fn a_journal_folder_that_somebody_else_put_there_is_refused() {
    if !is_root() {
        return;
    }
    let folder = support::temporary();
    let disk = support::shipped_disk(folder.path());
    let victim = folder.path().join("victim");
    fs::write(&victim, "untouched").unwrap();
    let before = support::sha256(&disk);
    let journals = folder.path().join("broken-server.vhdx.coldfix");
    let (header, changes) = evil(&disk, &victim);
    forge(&journals, &header, &changes, false);
    chown(&journals, Some(STRANGER), None).unwrap();

    let run = |arguments: &[&str]| {
        let (command, rest) = arguments.split_first().unwrap();
        coldfix(folder.path())
            .arg(command)
            .arg(&disk)
            .args(rest)
            .output()
            .unwrap()
    };
    for arguments in [
        &["repair", "--yes"][..],
        &["undo", "--yes"],
        &["undo", "--yes", ID],
        &["log"],
    ] {
        let said = ends(&run(arguments), 3);
        assert!(
            said.contains("belongs to the user with the id 54321"),
            "{arguments:?}: {said}"
        );
        assert_eq!(support::sha256(&disk), before, "{arguments:?}");
    }
    // Looking is no harm, and does not believe it either.
    let said = ends(&run(&["diagnose"]), 1);
    assert!(!said.contains("interrupted"), "{said}");
    assert_eq!(support::sha256(&disk), before);
    // A link of theirs is no better.
    let elsewhere = folder.path().join("elsewhere");
    fs::rename(&journals, &elsewhere).unwrap();
    chown(&elsewhere, Some(0), None).unwrap();
    symlink(&elsewhere, &journals).unwrap();
    lchown(&journals, Some(STRANGER), None).unwrap();
    let said = ends(&run(&["repair", "--yes"]), 3);
    assert!(
        said.contains("is a link of the user with the id 54321"),
        "{said}"
    );
    assert_eq!(support::sha256(&disk), before);
    // The way out that is named.
    let other = folder.path().join("own journals");
    ends(
        &run(&[
            "repair",
            "--yes",
            "--fix",
            "nla",
            "--journal-dir",
            other.to_str().unwrap(),
        ]),
        0,
    );
    ends(
        &run(&["undo", "--yes", "--journal-dir", other.to_str().unwrap()]),
        0,
    );
    assert_eq!(support::sha256(&disk), before);
    // Theirs in a folder of theirs, as when root works on a user's image, is believed, and so is what is ours: the
    // forgery is one that would have worked, on the disk, and on no other file.
    fs::remove_file(&journals).unwrap();
    fs::rename(&elsewhere, &journals).unwrap();
    chown(&journals, Some(STRANGER), None).unwrap();
    chown(folder.path(), Some(STRANGER), None).unwrap();
    let said = ends(&run(&["repair", "--yes", "--fix", "nla"]), 0);
    assert!(said.contains("taken back"), "{said}");
    assert_ne!(support::sha256(&disk), before);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
}

#[test]
fn a_forged_journal_of_a_folder_leads_nowhere_else() {
    let Some(machine) = Machine::new("tls12-off") else {
        return;
    };
    let place = support::temporary();
    let victim = place.path().join("victim");
    let content = [7; 600];
    fs::write(&victim, content).unwrap();
    symlink(place.path(), machine.target.join("Windows/link")).unwrap();
    symlink(&victim, machine.target.join("Windows/file")).unwrap();
    let before = sums(&machine);
    let up = "../".repeat(machine.target.components().count());
    let through_root = PathBuf::from(format!("{up}{}", victim.display()));
    let patch = |file: PathBuf| Patch {
        file,
        before_len: 600,
        after_len: 600,
        changes: vec![Change {
            offset: 0,
            before: vec![0xE1; 600],
            after: content.to_vec(),
        }],
    };
    let descriptor = |text| sddl::parse(text, None).unwrap().to_bytes().unwrap().into();
    let mut sets: Vec<ChangeSet> = [
        victim.clone(),
        through_root,
        "Windows/link/victim".into(),
        "Windows/file".into(),
    ]
    .into_iter()
    .map(|file| ChangeSet::from(vec![patch(file)]))
    .collect();
    for file in [
        victim.clone(),
        PathBuf::from("../victim"),
        "Windows/link/victim".into(),
    ] {
        for operation in [
            HostOperation::Rename {
                file: file.clone(),
                name: "gone".into(),
            },
            HostOperation::SetSecurity {
                file,
                before: descriptor("O:BAG:SYD:P"),
                after: descriptor("O:BAG:SYD:"),
            },
        ] {
            sets.push(ChangeSet {
                patches: Vec::new(),
                operations: vec![operation],
            });
        }
    }
    let header = header(&machine.target, 0, TargetKind::Folder);
    for (number, changes) in sets.iter().enumerate() {
        for done in [true, false] {
            let journals = place.path().join(format!("journals-{number}-{done}"));
            forge(&journals, &header, changes, done);
            let journals = journals.to_str().unwrap();
            let undone = machine.run(&["undo", "--yes", "--journal-dir", journals, ID]);
            let repaired = machine.repair(&["--dry-run", "--journal-dir", journals]);
            for output in [undone, repaired]
                .into_iter()
                .take(if done { 1 } else { 2 })
            {
                let code = output.status.code();
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(matches!(code, Some(2 | 3)), "{changes:?}: {code:?} {said}");
                assert!(!said.contains("panicked"), "{said}");
            }
            if !done {
                // The way on which it would be taken back without a question.
                let settled = machine.repair(&["--journal-dir", journals]);
                let said = String::from_utf8_lossy(&settled.stderr);
                assert!(
                    matches!(settled.status.code(), Some(2 | 3)),
                    "{changes:?}: {said}"
                );
            }
        }
    }
    assert_eq!(fs::read(&victim).unwrap(), content);
    let names = fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name == "gone"));
    assert!(sums(&machine) == before);
}

#[test]
fn a_plan_leads_nowhere_else() {
    let Some(machine) = Machine::new("tls12-off") else {
        return;
    };
    let place = support::temporary();
    fs::write(place.path().join("victim"), "untouched").unwrap();
    symlink(place.path(), machine.target.join("Windows/link")).unwrap();
    let plan = place.path().join("plan.json");
    let words = [
        "--dry-run",
        "--fix",
        "tls",
        "--plan-out",
        plan.to_str().unwrap(),
    ];
    ends(&machine.repair(&words), 0);
    let saved: Value = serde_json::from_slice(&fs::read(&plan).unwrap()).unwrap();
    let before = sums(&machine);
    let up = "../".repeat(machine.target.components().count());
    let outside = [
        format!("{}/victim", place.path().display()),
        format!("{up}{}/victim", place.path().display()),
        "Windows/link/victim".to_owned(),
        r"Windows\..\..\victim".to_owned(),
    ];
    let step = |edit: Value| json!({"edit": edit, "reason": "tls", "before": "", "after": "", "inverse": []});
    let hash = support::sha256(&place.path().join("victim"));
    let program = support::sha256(&machine.target.join("Windows/explorer.exe"));
    let mut plans = Vec::new();
    for path in &outside {
        let edits = [
            json!({"action": "rename", "path": path, "name": "gone"}),
            json!({"action": "rename", "path": "Windows/INF", "name": path}),
            json!({"action": "delete-file", "path": path}),
            json!({"action": "copy-file", "from": path, "to": "Windows/explorer.exe", "length": 9, "sha256": hash}),
            json!({"action": "copy-file", "from": "Windows/explorer.exe", "to": path, "length": 512, "sha256": program}),
            json!({"action": "copy-file", "from": "Windows/explorer.exe", "to": "Windows/System32/cmd.exe", "length": 512,
                   "sha256": program, "keep": path}),
            json!({"action": "set-security", "groups": [{"descriptor": "0100048000000000000000000000000000000000", "paths": [path]}]}),
            json!({"action": "boot", "store": {"partition": null, "path": path},
                   "object": "9dea862c-5cdd-4e70-acc1-f32b344d4795", "change": "delete-object"}),
        ];
        for edit in edits {
            let mut other = saved.clone();
            other["steps"] = json!([step(edit)]);
            // Those of hives that the step does not change would be refused before it is looked at.
            other["files"] = json!([]);
            plans.push(other);
        }
        let mut other = saved.clone();
        other["windows_directory"] = path.clone().into();
        plans.push(other);
        let mut other = saved.clone();
        other["files"][0]["path"] = path.clone().into();
        plans.push(other);
    }
    for plan in plans {
        let file = place.path().join("edited.json");
        fs::write(&file, plan.to_string()).unwrap();
        let output = machine.repair(&["--plan", file.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            matches!(output.status.code(), Some(2 | 3)),
            "{plan:#}: {said}"
        );
        assert!(
            said.contains("next:") && !said.contains("panicked"),
            "{plan:#}: {said}"
        );
        assert!(sums(&machine) == before, "{plan:#}");
    }
    assert_eq!(
        fs::read_to_string(place.path().join("victim")).unwrap(),
        "untouched"
    );
    assert!(!place.path().join("gone").exists());
}

#[test]
fn what_is_left_is_for_its_owner_only() {
    let Some(machine) = Machine::new("tls12-off") else {
        return;
    };
    let place = support::temporary();
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    // A link at the place of a plan is replaced; what it leads to stays.
    let victim = place.path().join("victim");
    fs::write(&victim, "untouched").unwrap();
    let plan = place.path().join("plan.json");
    symlink(&victim, &plan).unwrap();
    let words = [
        "--dry-run",
        "--fix",
        "tls",
        "--plan-out",
        plan.to_str().unwrap(),
    ];
    ends(&machine.repair(&words), 0);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert!(fs::symlink_metadata(&plan).unwrap().is_file());
    assert_eq!(mode(&plan), 0o600);

    let disk = support::shipped_disk(place.path());
    let repair = |target: &Path| {
        let mut command = coldfix(place.path());
        command
            .arg("repair")
            .arg(target)
            .args(["--yes", "--fix", "tls"]);
        ends(&command.output().unwrap(), 0);
    };
    repair(&disk);
    repair(&machine.target);
    // Beside the image, and for a folder in the user's own.
    let state = place.path().join("coldfix");
    let own = fs::read_dir(&state)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    for folder in [place.path().join("broken-server.vhdx.coldfix"), state, own] {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let expected = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode(&path), expected, "{}", path.display());
        }
    }
}
