// SPDX-License-Identifier: GPL-2.0-or-later
//! `ls` and `get`, held against ntfs-3g's and sleuthkit's readers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use support::foreign;

/// The paths of everything on a volume of a disk, as sleuthkit finds them.
fn paths(disk: &Path, start: u64) -> BTreeSet<String> {
    let sector = (start / 512).to_string();
    let output = support::run(
        support::program("fls")
            .args(["-r", "-p", "-u", "-o", &sector])
            .arg(disk),
    );
    String::from_utf8(output.stdout)
        .expect("names")
        .lines()
        .filter_map(|line| Some(line.split_once('\t')?.1.to_owned()))
        // Streams beside the content, and what sleuthkit adds of its own.
        .filter(|path| !path.contains(':') && !path.starts_with('$'))
        .collect()
}

#[test]
fn every_file_is_listed_and_copied_as_others_read_it() {
    if !["fls", "icat", "ifind", "sgdisk"]
        .into_iter()
        .all(support::require)
    {
        return;
    }
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(disk) = support::fixture("gpt-broken.raw", folder.path()) else {
        return;
    };
    let before = support::sha256(&disk);
    let run = |arguments: &[&str]| {
        let mut command = support::coldfix(state.path());
        command.arg(arguments[0]).arg(&disk).args(&arguments[1..]);
        command.output().expect("run coldfix")
    };
    let listed = run(&["ls", "-r", "--format", "json"]);
    assert!(listed.status.success());
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["schema"], "coldfix.files/1");
    let ours: BTreeSet<String> = listed["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            entry["path"]
                .as_str()
                .unwrap()
                .trim_start_matches('\\')
                .replace('\\', "/")
        })
        .collect();
    let (start, _) = foreign::partitions(&disk)[2];
    let theirs = paths(&disk, start);
    assert!(theirs.len() > 20, "{theirs:?}");
    assert_eq!(
        ours.iter()
            .filter(|path| !path.starts_with('$'))
            .cloned()
            .collect::<BTreeSet<_>>(),
        theirs
    );

    // Files of every size on it, by paths as people write them, in a file and through a pipe.
    let mut compared = 0;
    for entry in listed["entries"].as_array().unwrap() {
        let path = entry["path"].as_str().unwrap();
        if entry["kind"] != "file" || path.trim_start_matches('\\').starts_with('$') {
            continue;
        }
        let plain = path.trim_start_matches('\\').replace('\\', "/");
        let theirs = foreign::icat(&disk, start, &plain);
        assert_eq!(
            entry["size"].as_u64().unwrap(),
            theirs.len() as u64,
            "{path}"
        );
        assert_eq!(
            run(&["get", &plain.to_uppercase()]).stdout,
            theirs,
            "{path}"
        );
        let copy = folder.path().join("copy");
        let output = run(&["get", &format!("C:{path}"), "-o", copy.to_str().unwrap()]);
        assert!(output.status.success(), "{path}");
        assert_eq!(std::fs::read(&copy).unwrap(), theirs, "{path}");
        compared += 1;
    }
    assert!(compared > 10);

    let text = run(&["ls", r"Windows\System32\config"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.lines().any(|line| line.ends_with(r"\SYSTEM")),
        "{text}"
    );
    for (wrong, code) in [
        (["get", r"Windows\System32"], 2),
        (["get", "no/such/file"], 2),
        (["ls", "no/such/folder"], 2),
    ] {
        let output = run(&wrong);
        assert_eq!(output.status.code(), Some(code), "{wrong:?}");
        assert!(output.stdout.is_empty());
    }
    assert_eq!(support::sha256(&disk), before);
}
