// SPDX-License-Identifier: GPL-2.0-or-later
//! Repairs that change files as a whole: copies of hives put back, logs of transactions deleted; on an NTFS image, on the
//! same mounted by ntfs-3g, and on a plain folder.
#![cfg(target_os = "linux")]
#![allow(
    missing_docs,
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::string_slice
)]

mod mounted_support;
mod ntfs_support;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::foreign::{self, Reader};
use support::{ends, sha256, temporary};

const CONFIG: &str = "Windows/System32/config";
const RESTORE: [&str; 3] = ["repair", "--fix", "registry-restore"];
const LOGS: [&str; 3] = ["repair", "--fix", "transaction-logs"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A volume in an image, written by coldfix itself.
    Image,
    /// The same, mounted by ntfs-3g.
    Mounted,
    /// A folder of the host.
    Folder,
}

const KINDS: [Kind; 3] = [Kind::Image, Kind::Mounted, Kind::Folder];

/// A healthy Windows, changed by hand, and a place for journals.
struct Bench {
    state: tempfile::TempDir,
    kind: Kind,
    image: Option<PathBuf>,
    mount: Option<mounted_support::Mount>,
    target: PathBuf,
}

impl Bench {
    /// `prepare` is given the root of the volume.
    fn new(kind: Kind, prepare: impl Fn(&Path)) -> Option<Bench> {
        let state = temporary();
        if kind == Kind::Folder {
            let target = support::fixture("folder/healthy", state.path())?;
            prepare(&target);
            return Some(Bench {
                state,
                kind,
                image: None,
                mount: None,
                target,
            });
        }
        let image = support::fixture("bare-healthy.raw", state.path())?;
        let at = state.path().join("mounted");
        let mount = mounted_support::mount(&image, &at)?;
        prepare(&at);
        drop(mount);
        let mount = match kind {
            Kind::Mounted => Some(mounted_support::mount(&image, &at)?),
            _ => None,
        };
        Some(Bench {
            target: if kind == Kind::Mounted {
                at
            } else {
                image.clone()
            },
            image: Some(image),
            mount,
            state,
            kind,
        })
    }

    fn run(&self, arguments: &[&str]) -> std::process::Output {
        let (command, rest) = arguments.split_first().unwrap();
        support::coldfix(self.state.path())
            .arg(command)
            .arg(&self.target)
            .args(rest)
            .args(["--journal-dir"])
            .arg(self.state.path().join("journal"))
            .output()
            .expect("run coldfix")
    }

    #[track_caller]
    fn ends(&self, arguments: &[&[&str]], code: i32) -> String {
        ends(&self.run(&arguments.concat()), code)
    }

    #[track_caller]
    fn json(&self, arguments: &[&[&str]], code: i32) -> Value {
        let arguments = [&arguments.concat()[..], &["--format", "json"]].concat();
        let output = self.run(&arguments);
        let shown = ends(&output, code);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {shown}"))
    }

    /// The bytes of the image, or of every file of the folder.
    fn bytes(&self) -> BTreeMap<PathBuf, String> {
        match self.kind {
            Kind::Image => BTreeMap::from([(self.target.clone(), sha256(&self.target))]),
            _ => support::sha256_tree(&self.target),
        }
    }

    /// The names in a folder, as foreign readers list them.
    fn names(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = if self.kind == Kind::Image {
            let listed = support::run(
                support::program("ntfsls")
                    .args(["-p", &format!("/{folder}")])
                    .arg(self.image.as_ref().unwrap()),
            );
            let listed = String::from_utf8(listed.stdout).unwrap();
            listed.lines().map(str::to_owned).collect()
        } else {
            let listed = fs::read_dir(self.target.join(folder)).unwrap();
            listed
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        };
        names.retain(|name| !matches!(name.as_str(), "." | ".."));
        names.sort();
        names
    }

    /// What foreign readers find in a folder: names and SHA-256.
    fn listed(&self, folder: &str) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for name in self.names(folder) {
            if ["RegBack", "TxR"].contains(&name.as_str()) {
                continue;
            }
            let path = format!("{folder}/{name}");
            let content = match self.kind {
                Kind::Image => foreign::ntfscat(self.image.as_ref().unwrap(), &path),
                _ => fs::read(self.target.join(path)).unwrap(),
            };
            found.insert(name, ntfs_support::sha256(&content));
        }
        found
    }

    /// A file of the volume as another program reads it, in a file of its own.
    fn extract(&self, path: &str) -> PathBuf {
        let place = self.state.path().join(path.replace('/', "_"));
        let content = match self.kind {
            Kind::Image => foreign::ntfscat(self.image.as_ref().unwrap(), path),
            _ => fs::read(self.target.join(path)).unwrap(),
        };
        fs::write(&place, content).unwrap();
        place
    }

    /// What ntfs-3g's checkers say of the volume; unmounts it first.
    fn judge(&mut self) {
        self.mount = None;
        if let Some(image) = &self.image {
            ntfs_support::judge::check(image);
            foreign::ntfssecaudit(image);
        }
    }

    fn found(&self) -> Vec<String> {
        let output = support::coldfix(self.state.path())
            .arg("diagnose")
            .arg(&self.target)
            .args(["--format", "json"])
            .output()
            .expect("run coldfix");
        let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
        let findings = report["findings"].as_array().unwrap().iter();
        findings
            .map(|finding| finding["id"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// The operation's id.
#[track_caller]
fn id(report: &Value) -> String {
    report["operation"]["id"]
        .as_str()
        .expect("an id")
        .to_owned()
}

fn kinds_of_edits(report: &Value) -> Vec<(String, String)> {
    let edits = report["operation"]["edits"].as_array().unwrap().iter();
    edits
        .map(|edit| {
            let text = |name: &str| edit[name].as_str().unwrap().to_owned();
            (text("kind"), text("location"))
        })
        .collect()
}

/// Keeps copies of the hives in RegBack, as they are.
fn keep_copies(root: &Path) {
    let config = root.join(CONFIG);
    fs::create_dir_all(config.join("RegBack")).unwrap();
    for name in ["SYSTEM", "SOFTWARE", "SAM", "SECURITY", "DEFAULT"] {
        let copy = config.join("RegBack").join(name);
        fs::copy(config.join(name), &copy).unwrap();
        set_modified(&copy, 0);
    }
}

/// The file was last written so many hours after the day of the copies.
fn set_modified(file: &Path, hours: i64) {
    let day = 1_715_000_000_i64 + hours * 3600;
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(day.unsigned_abs());
    let file = fs::File::options().write(true).open(file).unwrap();
    file.set_modified(time).unwrap();
}

fn with_copies(damage: impl Fn(&Path)) -> impl Fn(&Path) {
    move |root| {
        keep_copies(root);
        damage(&root.join(CONFIG));
    }
}

type Damage = (&'static str, fn(&Path));

/// The ways in which SYSTEM does not load, or loads with what Windows would not take.
fn damages() -> Vec<Damage> {
    vec![
        ("missing", |config| {
            fs::remove_file(config.join("SYSTEM")).unwrap();
        }),
        ("empty", |config| {
            fs::write(config.join("SYSTEM"), b"").unwrap();
        }),
        ("no base block", |config| {
            let mut hive = fs::read(config.join("SYSTEM")).unwrap();
            hive[..4096].fill(0);
            fs::write(config.join("SYSTEM"), hive).unwrap();
        }),
        ("cut off", |config| {
            let hive = fs::read(config.join("SYSTEM")).unwrap();
            fs::write(config.join("SYSTEM"), &hive[..9000]).unwrap();
        }),
        ("a bin overwritten", |config| {
            let mut hive = fs::read(config.join("SYSTEM")).unwrap();
            hive[8192..12288].fill(0xEE);
            fs::write(config.join("SYSTEM"), hive).unwrap();
        }),
    ]
}

#[test]
fn a_damaged_system_is_restored_from_its_copy_and_taken_back() {
    let _alone = mounted_support::alone();
    for kind in KINDS {
        for (name, damage) in damages() {
            // Every damage on a folder, two of them elsewhere.
            if kind != Kind::Folder && !["missing", "cut off"].contains(&name) {
                continue;
            }
            let prepare = with_copies(move |config| {
                damage(config);
                fs::write(config.join("SYSTEM.LOG1"), b"log of the old hive").unwrap();
            });
            let Some(mut bench) = Bench::new(kind, prepare) else {
                return;
            };
            let what = format!("{kind:?}, {name}");
            let before = bench.bytes();
            let listed = bench.listed(CONFIG);
            let copy = bench.listed(&format!("{CONFIG}/RegBack"))["SYSTEM"].clone();

            // Nothing is done without being named, and a dry run does nothing.
            let dry = bench.json(&[&RESTORE, &["--dry-run"]], 0);
            assert_eq!(bench.bytes(), before, "{what}");
            let there = name != "missing";
            let place = r"\Windows\System32\config\SYSTEM".to_owned();
            let expected = [("copy-file".to_owned(), place)];
            assert_eq!(kinds_of_edits(&dry), expected, "{what}");
            let after = dry["operation"]["edits"][0]["after"].as_str().unwrap();
            assert!(
                after.contains("SYSTEM.LOG1 becomes SYSTEM.coldfix-old.LOG1"),
                "{after}"
            );
            assert_eq!(
                after.contains("what it held is kept as SYSTEM.coldfix-old"),
                there
            );
            let notes = dry["notes"].to_string();
            assert!(
                notes.contains("what was changed later is not in it"),
                "{notes}"
            );
            assert!(!notes.contains("machine's own password"), "{notes}");

            let done = bench.json(&[&RESTORE, &["--yes"]], 0);
            assert_eq!(done["operation"]["verified"], true, "{what}");
            // Foreign readers: the very content of the copy, what was there beside it, no log.
            let now = bench.listed(CONFIG);
            assert_eq!(now["SYSTEM"], copy, "{what}");
            assert_eq!(
                now.get("SYSTEM.coldfix-old"),
                there.then(|| &listed["SYSTEM"]),
                "{what}"
            );
            assert_eq!(now["SYSTEM.coldfix-old.LOG1"], listed["SYSTEM.LOG1"]);
            assert!(!now.contains_key("SYSTEM.LOG1") && !now.contains_key("SYSTEM.LOG2"));
            assert_eq!(now["SOFTWARE"], listed["SOFTWARE"]);
            if support::require_python("hivex") {
                let hive = bench.extract(&format!("{CONFIG}/SYSTEM"));
                let select = foreign::value(Reader::Hivex, &hive, "Select", "Current");
                assert_eq!(select.unwrap().dword(), 1);
            }
            assert!(
                !bench
                    .found()
                    .iter()
                    .any(|id| id.starts_with("hive.") || id.starts_with("registry-backup")),
                "{what}: {:?}",
                bench.found()
            );
            // Once more there is nothing to restore.
            let said = bench.ends(&[&RESTORE, &["--yes"]], 3);
            assert!(said.contains("a sound one is never replaced"), "{said}");

            if kind == Kind::Image {
                ntfs_support::judge::check(bench.image.as_ref().unwrap());
                foreign::ntfssecaudit(bench.image.as_ref().unwrap());
            }
            let done = id(&done);
            bench.ends(&[&["undo"], &[done.as_str()], &["--yes"]], 0);
            assert_eq!(bench.bytes(), before, "{what}");
            // And an undo is undone.
            let undo = newest(&bench);
            bench.ends(&[&["undo"], &[undo.as_str()], &["--yes"]], 0);
            assert_eq!(bench.listed(CONFIG), now, "{what}");
            bench.judge();
        }
    }
}

fn newest(bench: &Bench) -> String {
    let log = bench.json(&[&["log"]], 0);
    let operations = log["operations"].as_array().unwrap();
    let mut ids: Vec<&str> = operations
        .iter()
        .map(|operation| operation["id"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    ids.last().unwrap().to_string()
}

/// What the permissions of a file become, as another program reads them.
#[test]
fn what_is_made_has_the_permissions_of_what_it_is_a_copy_of() {
    let _alone = mounted_support::alone();
    for kind in [Kind::Image, Kind::Mounted] {
        let prepare = with_copies(|config| {
            let hive = fs::read(config.join("SYSTEM")).unwrap();
            fs::write(config.join("SYSTEM"), &hive[..5000]).unwrap();
            fs::remove_file(config.join("DEFAULT")).unwrap();
            // Each another one: what is kept has that of SYSTEM, what is made that of its copy.
            let sddl = |text| {
                coldfix::security::sddl::parse(text, None)
                    .unwrap()
                    .to_bytes()
                    .unwrap()
            };
            let one = sddl("O:BAG:SYD:PAI(A;;FA;;;SY)(A;;FR;;;BA)");
            let other = sddl("O:SYG:SYD:PAI(A;;FA;;;SY)(A;;FA;;;BA)(A;;FR;;;BU)");
            mounted_support::setfattr(&config.join("SYSTEM"), "system.ntfs_acl", &one);
            mounted_support::setfattr(&config.join("RegBack/DEFAULT"), "system.ntfs_acl", &other);
        });
        let Some(mut bench) = Bench::new(kind, prepare) else {
            return;
        };
        bench.ends(&[&RESTORE, &["--yes"]], 0);
        bench.mount = None;
        let image = bench.image.clone().unwrap();
        let at = bench.state.path().join("again");
        let Some(mount) = mounted_support::mount(&image, &at) else {
            return;
        };
        let acl = |file: &str| mounted_support::getfattr(&at.join(CONFIG).join(file));
        assert_eq!(acl("SYSTEM.coldfix-old"), acl("SYSTEM"), "{kind:?}");
        assert_eq!(acl("DEFAULT"), acl("RegBack/DEFAULT"), "{kind:?}");
        assert_ne!(acl("DEFAULT"), acl("SYSTEM"));
        drop(mount);
        bench.judge();
    }
}

#[test]
fn accounts_are_restored_as_a_pair_and_that_is_said() {
    let _alone = mounted_support::alone();
    let prepare = with_copies(|config| {
        fs::write(config.join("SAM"), b"").unwrap();
        // Sound, and later than its copy.
        let mut security = fs::read(config.join("SECURITY")).unwrap();
        set_written(&mut security, WRITTEN + 3600 * 10_000_000);
        fs::write(config.join("SECURITY"), security).unwrap();
    });
    let Some(bench) = Bench::new(Kind::Folder, prepare) else {
        return;
    };
    let before = bench.listed(CONFIG);
    let report = bench.json(&[&RESTORE, &["--yes"]], 0);
    let notes = report["notes"].to_string();
    assert!(notes.contains("SECURITY is replaced too"), "{notes}");
    assert!(notes.contains("the machine's own password"), "{notes}");
    let now = bench.listed(CONFIG);
    let copies = bench.listed(&format!("{CONFIG}/RegBack"));
    for hive in ["SAM", "SECURITY"] {
        assert_eq!(now[hive], copies[hive]);
        assert_eq!(now[&format!("{hive}.coldfix-old")], before[hive]);
    }
    for hive in ["SYSTEM", "SOFTWARE", "DEFAULT"] {
        assert_eq!(now[hive], before[hive]);
    }
}

/// The time in the base block of every made hive.
const WRITTEN: u64 = 133_601_596_135_897_932;

/// Another time in the base block, under its checksum.
fn set_written(hive: &mut [u8], time: u64) {
    hive[12..20].copy_from_slice(&time.to_le_bytes());
    seal(hive);
}

fn seal(hive: &mut [u8]) {
    let (words, _) = hive[..508].as_chunks::<4>();
    let sum = words
        .iter()
        .fold(0, |sum, word| sum ^ u32::from_le_bytes(*word));
    hive[508..512].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn copies_that_do_not_fit_are_refused() {
    let _alone = mounted_support::alone();
    type Change = fn(&mut Vec<u8>);
    let same: Change = |_| {};
    let cases: [(&str, &str, Change, i64, &str); 8] = [
        (
            "SYSTEM",
            "SYSTEM",
            Vec::clear,
            0,
            "RegBack\\SYSTEM cannot be used",
        ),
        (
            "SYSTEM",
            "SYSTEM",
            |hive| hive.truncate(8000),
            0,
            "RegBack\\SYSTEM cannot be used",
        ),
        (
            "SYSTEM",
            "SYSTEM",
            |hive| hive[8192..12288].fill(0xEE),
            0,
            "it is damaged",
        ),
        (
            "SYSTEM",
            "SYSTEM",
            |hive| {
                hive[4] ^= 1;
                seal(hive);
            },
            0,
            "it was not closed cleanly",
        ),
        // The other one of the core has to be there too, and all have to be of the same day.
        (
            "SYSTEM",
            "SOFTWARE",
            Vec::clear,
            0,
            "RegBack\\SOFTWARE cannot be used",
        ),
        ("SYSTEM", "SOFTWARE", same, 25, "they are not of one backup"),
        ("SAM", "SECURITY", same, -25, "they are not of one backup"),
        ("SAM", "SECURITY", same, 23, ""),
    ];
    for (broken, copy, change, hours, says) in cases {
        let prepare = with_copies(move |config| {
            fs::write(config.join(broken), b"").unwrap();
            let copy = config.join("RegBack").join(copy);
            let mut hive = fs::read(&copy).unwrap();
            change(&mut hive);
            fs::write(&copy, hive).unwrap();
            set_modified(&copy, hours);
        });
        let Some(bench) = Bench::new(Kind::Folder, prepare) else {
            return;
        };
        let before = bench.bytes();
        let code = if says.is_empty() { 0 } else { 3 };
        let said = bench.ends(&[&RESTORE, &["--yes"]], code);
        assert!(said.contains(says), "{broken}, {copy}: {said}");
        assert_eq!(bench.bytes() == before, code == 3);
    }
}

/// A reparse point that leads to `to`: a link for a file, a junction for a folder.
fn leads_to(to: &str, is_folder: bool) -> Vec<u8> {
    let name: Vec<u8> = to.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let len = name.len() as u16;
    let mut data = Vec::new();
    for field in [0, len, len + 2, 0] {
        data.extend_from_slice(&field.to_le_bytes());
    }
    if !is_folder {
        data.extend_from_slice(&0_u32.to_le_bytes());
    }
    data.extend_from_slice(&name);
    data.extend_from_slice(&[0; 4]);
    let tag: u32 = if is_folder { 0xA000_0003 } else { 0xA000_000C };
    let mut buffer = tag.to_le_bytes().to_vec();
    buffer.extend_from_slice(&(data.len() as u32).to_le_bytes());
    buffer.extend_from_slice(&data);
    buffer
}

/// What lies where the hive or its copy should is not followed: a link of the host, a reparse point of Windows.
#[test]
fn links_are_refused() {
    let _alone = mounted_support::alone();
    for place in ["SYSTEM", "RegBack/SYSTEM", "RegBack"] {
        for kind in KINDS {
            let outside = temporary();
            let prepare = |root: &Path| {
                keep_copies(root);
                let config = root.join(CONFIG);
                for hive in ["SYSTEM", "SOFTWARE"] {
                    fs::copy(config.join("RegBack").join(hive), outside.path().join(hive)).unwrap();
                }
                fs::write(config.join("SYSTEM"), b"").unwrap();
                let place = config.join(place);
                let is_folder = place.is_dir();
                if is_folder {
                    fs::remove_dir_all(&place).unwrap();
                } else {
                    fs::remove_file(&place).unwrap();
                }
                if kind == Kind::Folder {
                    let to = if is_folder {
                        outside.path().to_owned()
                    } else {
                        outside.path().join("SYSTEM")
                    };
                    return symlink(to, &place).unwrap();
                }
                if is_folder {
                    fs::create_dir(&place).unwrap();
                } else {
                    fs::write(&place, b"").unwrap();
                }
                let data = leads_to(r"\??\C:\elsewhere", is_folder);
                mounted_support::setfattr(&place, "system.ntfs_reparse_data", &data);
            };
            let Some(bench) = Bench::new(kind, prepare) else {
                return;
            };
            let outside_before = support::sha256_tree(outside.path());
            let before = match kind {
                Kind::Image => sha256(&bench.target),
                _ => String::new(),
            };
            let output = bench.run(&[&RESTORE[..], &["--yes"]].concat());
            let code = output.status.code();
            assert!(matches!(code, Some(2 | 3)), "{kind:?}, {place}: {output:?}");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                said.contains("link") || said.contains("reparse"),
                "{kind:?}, {place}: {said}"
            );
            if kind == Kind::Image {
                assert_eq!(sha256(&bench.target), before);
            }
            let names = bench.names(CONFIG);
            assert!(
                !names.iter().any(|name| name.contains("coldfix")),
                "{names:?}"
            );
            assert_eq!(support::sha256_tree(outside.path()), outside_before);
        }
    }
}

const BASE_LOG: &str = "{53b39e3e-18c4-11ea-a811-000d3aa4692b}.TM.blf";
const CONTAINER: &str =
    "{53b39e3e-18c4-11ea-a811-000d3aa4692b}.TMContainer00000000000000000001.regtrans-ms";

fn transaction_logs(root: &Path) {
    let folder = root.join(CONFIG).join("TxR");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(BASE_LOG), vec![0x15; 65536]).unwrap();
    fs::write(folder.join(CONTAINER), vec![7; 512 * 1024]).unwrap();
    fs::write(folder.join("small.BLF"), b"resident").unwrap();
    fs::write(folder.join("keep.LOG1"), b"not one of them").unwrap();
    fs::write(folder.join("keep.LOG2"), b"nor this").unwrap();
    fs::create_dir(folder.join("folder.blf")).unwrap();
}

#[test]
fn transaction_logs_are_deleted_and_come_back() {
    let _alone = mounted_support::alone();
    for kind in KINDS {
        let Some(mut bench) = Bench::new(kind, transaction_logs) else {
            return;
        };
        let folder = format!("{CONFIG}/TxR");
        let before = bench.bytes();
        assert_eq!(bench.names(&folder).len(), 6, "{kind:?}");
        let plan = bench.state.path().join("plan.json");
        let plan = plan.to_str().unwrap();
        bench.ends(&[&LOGS, &["--dry-run", "--plan-out", plan]], 0);
        assert_eq!(bench.bytes(), before, "{kind:?}");

        let report = bench.json(&[&["repair", "--plan", plan, "--yes"]], 0);
        let edits = kinds_of_edits(&report);
        assert_eq!(edits.len(), 3, "{edits:?}");
        assert!(edits.iter().all(|(kind, _)| kind == "delete-file"));
        assert_eq!(
            bench.names(&folder),
            ["folder.blf", "keep.LOG1", "keep.LOG2"],
            "{kind:?}"
        );
        if kind == Kind::Image {
            ntfs_support::judge::check(bench.image.as_ref().unwrap());
        }
        // Applied again, the plan is refused; by name there is nothing to do.
        let said = bench.ends(&[&["repair", "--plan", plan, "--yes"]], 3);
        assert!(said.contains("no longer says"), "{said}");
        let said = bench.ends(&[&LOGS, &["--yes"]], 0);
        assert!(said.contains("nothing is to be done"), "{said}");

        // Taking back edit by edit cannot give content back that no edit keeps.
        let done = id(&report);
        let output = bench.run(&["undo", &done, "--revert", "--yes"]);
        let said = ends(&output, 1);
        assert!(said.contains("kept in the journal only"), "{said}");
        assert_eq!(bench.names(&folder).len(), 3);

        bench.ends(&[&["undo"], &[done.as_str()], &["--yes"]], 0);
        assert_eq!(bench.bytes(), before, "{kind:?}");
        bench.judge();
    }
}

/// A log that has more to it than can be given back, or that another index points to, is renamed.
#[test]
fn a_log_that_cannot_be_deleted_is_renamed() {
    let _alone = mounted_support::alone();
    for kind in KINDS {
        let prepare = move |root: &Path| {
            transaction_logs(root);
            let log = root.join(CONFIG).join("TxR").join(BASE_LOG);
            match kind {
                // An object id, in $ObjId.
                Kind::Image => mounted_support::setfattr(&log, "system.ntfs_object_id", &[9; 16]),
                _ => fs::hard_link(&log, root.join("other name")).unwrap(),
            }
        };
        let Some(mut bench) = Bench::new(kind, prepare) else {
            return;
        };
        let before = bench.bytes();
        let report = bench.json(&[&LOGS, &["--yes"]], 0);
        let mut edits: Vec<String> = kinds_of_edits(&report)
            .into_iter()
            .map(|(kind, _)| kind)
            .collect();
        edits.sort();
        assert_eq!(edits, ["delete-file", "delete-file", "rename"], "{kind:?}");
        let notes = report["notes"].to_string();
        assert!(notes.contains("is renamed instead of deleted"), "{notes}");
        let kept = bench.extract(&format!("{CONFIG}/TxR/{BASE_LOG}.coldfix-old"));
        assert_eq!(fs::read(kept).unwrap(), vec![0x15; 65536]);
        let done = id(&report);
        bench.ends(&[&["undo"], &[done.as_str()], &["--yes"]], 0);
        assert_eq!(bench.bytes(), before, "{kind:?}");
        bench.judge();
    }
}

/// `--revert` after Windows has not run, has written the hive, and where somebody has put things in the way.
#[test]
fn a_restored_hive_is_taken_back_edit_by_edit_only_while_it_is_the_copy() {
    let _alone = mounted_support::alone();
    for kind in KINDS {
        let prepare = with_copies(|config| {
            let hive = fs::read(config.join("SYSTEM")).unwrap();
            fs::write(config.join("SYSTEM"), &hive[..9000]).unwrap();
        });
        let Some(mut bench) = Bench::new(kind, prepare) else {
            return;
        };
        let before = bench.listed(CONFIG);
        let report = bench.json(&[&RESTORE, &["--yes"]], 0);
        let done = id(&report);
        let said = bench.ends(&[&["undo", &done, "--revert", "--yes"]], 0);
        assert_eq!(bench.listed(CONFIG), before, "{kind:?}: {said}");
        bench.judge();
    }
    // Somebody has written the hive: as Windows does at every start.
    let prepare = with_copies(|config| fs::write(config.join("SYSTEM"), b"").unwrap());
    let Some(bench) = Bench::new(Kind::Folder, prepare) else {
        return;
    };
    let report = bench.json(&[&RESTORE, &["--yes"]], 0);
    let system = bench.target.join(CONFIG).join("SYSTEM");
    let mut hive = fs::read(&system).unwrap();
    set_written(&mut hive, WRITTEN + 1);
    fs::write(&system, &hive).unwrap();
    let done = id(&report);
    let said = bench.ends(&[&["undo", &done, "--revert", "--yes"]], 1);
    assert!(
        said.contains("its content has been changed since"),
        "{said}"
    );
    assert_eq!(fs::read(&system).unwrap(), hive);
    let said = bench.ends(&[&["undo", &done, "--yes"]], 3);
    assert!(said.contains("has changed since"), "{said}");
    assert_eq!(fs::read(&system).unwrap(), hive);
}

/// A saved plan holds no content, and is refused when any of the files is another than it was made for.
#[test]
fn a_plan_of_copies_tells_contents_by_their_hash() {
    let _alone = mounted_support::alone();
    let prepare = with_copies(|config| {
        let hive = fs::read(config.join("SYSTEM")).unwrap();
        fs::write(config.join("SYSTEM"), &hive[..9000]).unwrap();
    });
    let Some(bench) = Bench::new(Kind::Folder, prepare) else {
        return;
    };
    let plan = bench.state.path().join("plan.json");
    let name = plan.to_str().unwrap();
    bench.ends(&[&RESTORE, &["--dry-run", "--plan-out", name]], 0);
    let text = fs::read_to_string(&plan).unwrap();
    assert!(text.len() < 8000, "{} bytes", text.len());
    let copy = bench.listed(&format!("{CONFIG}/RegBack"))["SYSTEM"].clone();
    assert!(text.contains(&copy), "{text}");

    let apply = ["repair", "--plan", name, "--yes"];
    let config = bench.target.join(CONFIG);
    for (file, says) in [
        ("RegBack/SYSTEM", "it has changed since"),
        ("SYSTEM", "no longer says"),
    ] {
        let path = config.join(file);
        let held = fs::read(&path).unwrap();
        let mut other = held.clone();
        *other.last_mut().unwrap() ^= 1;
        fs::write(&path, other).unwrap();
        let before = bench.bytes();
        let said = bench.ends(&[&apply], 3);
        assert!(said.contains(says), "{file}: {said}");
        assert_eq!(bench.bytes(), before);
        fs::write(&path, held).unwrap();
    }
    // Paths that lead out of the volume lead nowhere.
    let forged = text.replace("Windows/System32/config/SYSTEM\"", "../SYSTEM\"");
    assert_ne!(forged, text);
    let other = bench.state.path().join("forged.json");
    fs::write(&other, forged).unwrap();
    let before = bench.bytes();
    let output = bench.run(&["repair", "--plan", other.to_str().unwrap(), "--yes"]);
    assert!(!output.status.success());
    assert_eq!(bench.bytes(), before);
    assert!(!bench.state.path().join("SYSTEM").exists());

    bench.ends(&[&apply], 0);
    assert_eq!(bench.listed(CONFIG)["SYSTEM"], copy);
}

/// A hive is not edited and replaced in one go: the edit would be made on what is replaced.
#[test]
fn a_hive_is_not_edited_and_replaced_at_once() {
    let _alone = mounted_support::alone();
    let prepare = with_copies(|config| {
        let copy = config.join("RegBack/SYSTEM");
        let mut hive = fs::read(&copy).unwrap();
        set_written(&mut hive, WRITTEN + 7);
        fs::write(&copy, hive).unwrap();
    });
    let Some(bench) = Bench::new(Kind::Folder, prepare) else {
        return;
    };
    let before = bench.bytes();
    let place = bench.state.path().join("plan.json");
    let name = place.to_str().unwrap();
    bench.ends(
        &[&[
            "repair",
            "--fix",
            "nla=off",
            "--dry-run",
            "--plan-out",
            name,
        ]],
        0,
    );
    let mut plan: Value = serde_json::from_slice(&fs::read(&place).unwrap()).unwrap();
    let apply = ["repair", "--plan", name, "--yes"];
    let config = bench.target.join(CONFIG);
    let copy = config.join("RegBack/SYSTEM");
    for edit in [
        serde_json::json!({"action": "copy-file", "from": format!("{CONFIG}/RegBack/SYSTEM"),
            "to": r"windows\SYSTEM32\config\system", "length": fs::metadata(&copy).unwrap().len(),
            "sha256": sha256(&copy), "keep": "SYSTEM.old"}),
        serde_json::json!({"action": "delete-file", "path": format!("{CONFIG}/SYSTEM.LOG1")}),
        serde_json::json!({"action": "rename", "path": "Windows/System32", "name": "System33"}),
    ] {
        let step = serde_json::json!({"edit": edit, "reason": "made by hand", "before": "", "after": "",
            "inverse": []});
        plan["steps"].as_array_mut().unwrap().push(step);
        fs::write(&place, plan.to_string()).unwrap();
        let said = bench.ends(&[&apply], 3);
        assert!(said.contains("in one operation"), "{said}");
        assert_eq!(bench.bytes(), before);
        plan["steps"].as_array_mut().unwrap().pop();
    }
    fs::write(&place, plan.to_string()).unwrap();
    bench.ends(&[&apply], 0);
}

/// With logs that Windows wrote for the old hive. A foreign replayer applies whatever lies beside a hive: so nothing may.
#[test]
fn the_logs_of_the_old_hive_go_with_it() {
    let _alone = mounted_support::alone();
    let data =
        |name: &str| support::data(&format!("hives/{name}.xz")).map(|path| support::unxz(&path));
    let (Some(mut old), Some(one), Some(two), Some(copy)) = (
        data("system-w10-dirty"),
        data("system-w10-dirty.LOG1"),
        data("system-w10-dirty.LOG2"),
        data("system-w10-clean"),
    ) else {
        return;
    };
    if !support::require_python("regipy") {
        return;
    }
    // More bins are damaged than the logs have.
    let pristine = old.clone();
    let half = old.len() / 2;
    for page in old.chunks_exact_mut(4096).skip(half / 4096) {
        if page.starts_with(b"hbin") {
            page[..4].fill(0);
        }
    }
    let prepare = with_copies(|config| {
        fs::write(config.join("SYSTEM"), &old).unwrap();
        fs::write(config.join("SYSTEM.LOG1"), &one).unwrap();
        fs::write(config.join("SYSTEM.LOG2"), &two).unwrap();
        fs::write(config.join("RegBack/SYSTEM"), &copy).unwrap();
        set_modified(&config.join("RegBack/SYSTEM"), 1);
    });
    let Some(bench) = Bench::new(Kind::Folder, prepare) else {
        return;
    };
    bench.ends(&[&RESTORE, &["--yes"]], 0);
    let config = bench.target.join(CONFIG);
    // What a foreign replayer makes of a hive; `None` when it gives up.
    let replay = |hive: &Path, logs: [&Path; 2]| -> Option<Vec<u8>> {
        let out = bench.state.path().join("replayed");
        let script = "import sys; from regipy.recovery import apply_transaction_logs as apply; \
                      apply(sys.argv[1], sys.argv[2], secondary_log_path=sys.argv[3], restored_hive_path=sys.argv[4])";
        let output = Command::new(foreign::python("regipy"))
            .args(["-c", script])
            .arg(hive)
            .args(logs)
            .arg(&out)
            .output()
            .unwrap();
        output.status.success().then(|| fs::read(out).unwrap())
    };
    let kept = [1, 2].map(|number| config.join(format!("SYSTEM.coldfix-old.LOG{number}")));
    // Applied to the restored hive they would not leave it what it is...
    let restored = config.join("SYSTEM");
    assert_eq!(fs::read(&restored).unwrap(), copy);
    assert_ne!(replay(&restored, [&kept[0], &kept[1]]), Some(copy));
    // ...so they are not beside it,
    let beside: Vec<String> = bench
        .listed(CONFIG)
        .into_keys()
        .filter(|name| name.to_uppercase().starts_with("SYSTEM.LOG"))
        .collect();
    assert_eq!(beside, Vec::<String>::new());
    // and are what they were beside the hive that they belong to.
    assert_eq!(fs::read(config.join("SYSTEM.coldfix-old")).unwrap(), old);
    assert_eq!(fs::read(&kept[0]).unwrap(), one);
    assert_eq!(fs::read(&kept[1]).unwrap(), two);
    let sound = bench.state.path().join("pristine");
    fs::write(&sound, &pristine).unwrap();
    let replayed = replay(&sound, [&kept[0], &kept[1]]).expect("the logs of this hive");
    assert_ne!(replayed, pristine);
}

/// What a power cut leaves of files that are made, renamed and removed, made by hand: the next run takes it back, goes
/// on to the end, or refuses what no crash explains.
#[test]
fn a_run_that_was_cut_off_is_settled() {
    let _alone = mounted_support::alone();
    type Cut = fn(&Path);
    let cuts: [(&str, Cut, &str); 8] = [
        ("everything done", |_| {}, "new"),
        (
            "a name not given",
            |config| {
                let name = |name: &str| config.join(name);
                fs::rename(name("SYSTEM.coldfix-old.LOG1"), name("SYSTEM.LOG1")).unwrap();
            },
            "old",
        ),
        (
            "a file made in part",
            |config| {
                let part = config.join("SYSTEM.coldfix-old.coldfix-part");
                fs::rename(config.join("SYSTEM.coldfix-old"), &part).unwrap();
                fs::File::options()
                    .write(true)
                    .open(&part)
                    .unwrap()
                    .set_len(77)
                    .unwrap();
            },
            "old",
        ),
        (
            "a part whose first name was not removed",
            |config| {
                let part = config.join("SYSTEM.coldfix-old.coldfix-part");
                fs::hard_link(config.join("SYSTEM.coldfix-old"), part).unwrap();
            },
            "old",
        ),
        (
            "a file not made",
            |config| fs::remove_file(config.join("SYSTEM.coldfix-old")).unwrap(),
            "old",
        ),
        (
            "a file not removed",
            |config| fs::write(config.join("TxR/small.BLF"), b"resident").unwrap(),
            "old",
        ),
        (
            "another file in place of the removed one",
            |config| fs::write(config.join("TxR/small.BLF"), b"somebody's").unwrap(),
            "refused",
        ),
        (
            "another file in place of the made one",
            |config| fs::write(config.join("SYSTEM.coldfix-old"), b"somebody's").unwrap(),
            "refused",
        ),
    ];
    for kind in [Kind::Folder, Kind::Mounted] {
        for (name, cut, outcome) in cuts {
            let prepare = |root: &Path| {
                transaction_logs(root);
                keep_copies(root);
                fs::write(root.join(CONFIG).join("SYSTEM"), b"short").unwrap();
            };
            let Some(mut bench) = Bench::new(kind, prepare) else {
                return;
            };
            let what = format!("{kind:?}, {name}");
            let old = bench.bytes();
            let both = [&RESTORE[..], &LOGS[1..], &["--yes"]].concat();
            let report = bench.json(&[&both], 0);
            let new = bench.bytes();
            let marker = format!("journal/{}.done", id(&report));
            fs::remove_file(bench.state.path().join(marker)).unwrap();
            cut(&bench.target.join(CONFIG));
            let between = bench.bytes();
            let output = bench.run(&["undo", "--yes"]);
            let now = bench.bytes();
            match outcome {
                // The operation was settled as done, and then undone like any other.
                "new" => assert!(now == old && output.status.success(), "{what}: {output:?}"),
                "old" => assert_eq!(now, old, "{what}: {output:?}"),
                _ => {
                    assert_eq!(output.status.code(), Some(3), "{what}: {output:?}");
                    assert_eq!(now, between, "{what}");
                }
            }
            assert_ne!(new, old);
            bench.judge();
        }
    }
}
