// SPDX-License-Identifier: GPL-2.0-or-later
//! A broken Windows in a folder or on a disk, and our binary at work on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use super::foreign;

/// A target of one's own.
pub struct Bench {
    folder: tempfile::TempDir,
    state: tempfile::TempDir,
    /// The disk or folder.
    pub target: PathBuf,
}

impl Bench {
    /// A copy of a fixture; None, and counted, when it cannot be made.
    pub fn new(fixture: &str) -> Option<Bench> {
        let (folder, state) = (super::temporary(), super::temporary());
        let target = super::fixture(fixture, folder.path())?;
        Some(Bench {
            folder,
            state,
            target,
        })
    }

    /// A copy of what `super::fixtures` has made.
    pub fn copy_of(made: &Path) -> Bench {
        let (folder, state) = (super::temporary(), super::temporary());
        let target = folder.path().join(made.file_name().expect("a name"));
        super::copy(made, &target);
        Bench {
            folder,
            state,
            target,
        }
    }

    /// How many files are kept to undo repairs, beside a disk or in the user's folders.
    pub fn kept(&self) -> usize {
        let beside = super::sha256_tree(self.folder.path()).into_keys();
        let beside = beside.filter(|path| !path.starts_with(&self.target));
        beside.count() + super::sha256_tree(self.state.path()).len()
    }

    /// An empty folder.
    pub fn empty() -> Bench {
        let (folder, state) = (super::temporary(), super::temporary());
        let target = folder.path().join("disk");
        std::fs::create_dir(&target).expect("make a folder");
        Bench {
            folder,
            state,
            target,
        }
    }

    /// Puts a file into a target that is a folder.
    pub fn put(&self, path: &str, content: &[u8]) {
        let path = self.target.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("make a folder");
        std::fs::write(path, content).expect("write a file");
    }

    /// `coldfix COMMAND TARGET ARGUMENTS...`
    pub fn run(&self, command: &str, arguments: &[&str]) -> Output {
        super::coldfix(self.state.path())
            .args(command.split(' '))
            .arg(&self.target)
            .args(arguments)
            .output()
            .expect("run coldfix")
    }

    /// What a diagnosis finds, worst first, and as which code it ends.
    #[track_caller]
    pub fn findings(&self) -> (i32, Vec<serde_json::Value>) {
        let output = self.run("diagnose", &["--format", "json"]);
        let report: serde_json::Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        let findings = report["findings"].as_array().expect("findings").clone();
        (output.status.code().expect("an exit code"), findings)
    }

    /// The findings as `severity id`, in order.
    #[track_caller]
    pub fn found(&self) -> Vec<String> {
        let findings = self.findings().1;
        findings.iter().map(named).collect()
    }

    /// The hash of the disk, or of every file of the folder.
    pub fn sum(&self) -> BTreeMap<PathBuf, String> {
        match self.target.is_dir() {
            true => super::sha256_tree(&self.target),
            false => BTreeMap::from([(self.target.clone(), super::sha256(&self.target))]),
        }
    }

    /// A hive as a file, taken out of a bare volume with sleuthkit.
    pub fn hive(&self, name: &str) -> PathBuf {
        let path = format!("Windows/System32/config/{name}");
        if self.target.is_dir() {
            return self.target.join(path);
        }
        let copy = self.folder.path().join(format!("extracted-{name}"));
        std::fs::write(&copy, foreign::icat(&self.target, 0, &path)).expect("write the hive");
        copy
    }
}

/// `severity id`
pub fn named(finding: &serde_json::Value) -> String {
    let text = |name: &str| finding[name].as_str().expect(name).to_owned();
    format!("{} {}", text("severity"), text("id"))
}

/// A value as hivex and python-registry read it: type and text, or the number of a DWORD. None when both say that it is
/// not there.
#[track_caller]
pub fn read(hive: &Path, key: &str, name: &str) -> Option<(u32, String)> {
    let value = foreign::hivex_value(hive, key, name);
    let other = foreign::value(foreign::Reader::PythonRegistry, hive, key, name);
    assert_eq!(value, other, "{key}\\{name}");
    let value = value?;
    let shown = match value.kind {
        4 => format!("{:#x}", value.dword()),
        7 => value.text().replace('\0', "|"),
        1 | 2 => value.text(),
        _ => format!("{:02x?}", value.data),
    };
    Some((value.kind, shown))
}

/// The road of one fault: this finding first, cured, a second diagnosis without it, a second repair without a write, and
/// undone to the bit. `look` reads what was written.
#[track_caller]
pub fn cured(bench: &Bench, first: &str, arguments: &[&str], look: impl FnOnce(&Bench)) {
    let before = bench.sum();
    let found = bench.found();
    assert_eq!(found.first().map(String::as_str), Some(first), "{found:?}");
    assert!(bench.sum() == before, "diagnose writes nothing");
    let arguments = [arguments, &["--yes"]].concat();
    super::ends(&bench.run("repair", &arguments), 0);
    let repaired = bench.sum();
    assert!(repaired != before, "something was written");
    look(bench);
    let left = bench.found();
    assert!(!left.contains(&first.to_owned()), "{left:?}");
    super::ends(&bench.run("repair", &arguments), 0);
    assert!(bench.sum() == repaired, "a second repair writes nothing");
    super::ends(&bench.run("undo", &["--yes"]), 0);
    assert!(bench.sum() == before, "undo gives every bit back");
}
