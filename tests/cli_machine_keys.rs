// SPDX-License-Identifier: GPL-2.0-or-later
//! The MachineKeys folder, damaged in every way we know, as a user repairs it; judged by dissect, Samba, ntfs-3g's
//! auditors and a real mount.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use support::ends;
use support::keys::{FOLDER, IIS_KEY, RDP_KEY, audit, descriptors, judges, key, samba};

/// What Samba says of the descriptors that Windows gives: owner and group SYSTEM, protected, in this order.
const FOLDER_HAS: &str =
    "O:S-1-5-18G:S-1-5-18C:0x9404D:(0;0x0;0x12019f;S-1-1-0)(0;0x0;0x1f01ff;S-1-5-32-544)";
const KEY_HAS: &str = "O:S-1-5-18G:S-1-5-18C:0x9404D:(0;0x0;0x1f01ff;S-1-5-18)(0;0x0;0x120089;S-1-5-20)\
    (0;0x0;0x1f01ff;S-1-5-80-4022436659-1090538466-1613889075-870485073-3428993833)";

fn coldfix(state: &Path, arguments: &[&str], target: &Path) -> Output {
    support::coldfix(state)
        .arg(arguments[0])
        .arg(target)
        .args(&arguments[1..])
        .output()
        .expect("run coldfix")
}

/// An ntfs-3g mount that ends with the value.
struct Mount {
    folder: tempfile::TempDir,
    driver: std::process::Child,
}

impl Mount {
    fn new(disk: &Path, options: &str) -> Mount {
        let folder = support::temporary();
        let mut driver = support::program("ntfs-3g")
            .args(["-o", &format!("no_detach,{options}")])
            .arg(disk)
            .arg(folder.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..2000 {
            let mounted = support::program("mountpoint")
                .arg("-q")
                .arg(folder.path())
                .status()
                .unwrap();
            if mounted.success() {
                return Mount { folder, driver };
            }
            assert!(
                driver.try_wait().unwrap().is_none(),
                "ntfs-3g did not mount"
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("ntfs-3g did not mount in time");
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Descriptors as the driver gives them.
    fn descriptors(&self, paths: &[&str]) -> Vec<String> {
        let hex: Vec<String> = paths
            .iter()
            .map(|path| {
                let output = support::run(
                    support::program("getfattr")
                        .args(["--absolute-names", "--only-values", "-n", "system.ntfs_acl"])
                        .arg(self.path().join(path)),
                );
                output
                    .stdout
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect()
            })
            .collect();
        samba(&hex.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = support::program("umount").arg(self.path()).status();
        let _ = self.driver.wait();
    }
}

fn disk(name: &str, folder: &Path) -> Option<PathBuf> {
    support::fixture(&format!("keys-{name}.raw"), folder)
}

#[test]
fn each_damage_is_found_cured_exactly_and_taken_back() {
    if !judges() || !support::require("getfattr") {
        return;
    }
    for (name, found) in [
        ("healthy", None),
        ("service-missing", Some("machine-keys.key-unreadable")),
        ("denied", Some("machine-keys.key-unreadable")),
        ("inherited-denies", Some("machine-keys.key-unreadable")),
        ("owner-unknown", Some("machine-keys.key-unreadable")),
        ("empty-dacl", Some("machine-keys.key-unreadable")),
        ("folder-hardened", Some("machine-keys.folder-hardened")),
    ] {
        let (folder, state) = (support::temporary(), support::temporary());
        let Some(disk) = disk(name, folder.path()) else {
            return;
        };
        let original = support::sha256(&disk);
        let paths = [FOLDER, &key(RDP_KEY), &key(IIS_KEY)];
        let before = descriptors(&disk, &paths);

        let broken = found.is_some_and(|id| id.ends_with("unreadable"));
        let text = ends(
            &coldfix(state.path(), &["diagnose"], &disk),
            i32::from(broken),
        );
        match found {
            Some(id) => assert!(text.contains(id), "{name}: {text}"),
            None => assert!(!text.contains("machine-keys"), "{name}: {text}"),
        }
        let fix = ["repair", "--fix", "machine-keys", "--yes"];
        ends(
            &coldfix(
                state.path(),
                &["repair", "--fix", "machine-keys", "--dry-run"],
                &disk,
            ),
            0,
        );
        assert_eq!(
            support::sha256(&disk),
            original,
            "{name}: a dry run writes nothing"
        );

        ends(&coldfix(state.path(), &fix, &disk), 0);
        let after = descriptors(&disk, &paths);
        assert_eq!(after, [FOLDER_HAS, KEY_HAS, &before[2]], "{name}");
        audit(&disk);
        let repaired = support::sha256(&disk);
        assert_eq!(
            repaired == original,
            found.is_none(),
            "{name}: a healthy disk gets no write"
        );
        let text = ends(&coldfix(state.path(), &["diagnose"], &disk), 0);
        assert!(!text.contains("machine-keys"), "{name}: {text}");
        ends(&coldfix(state.path(), &fix, &disk), 0);
        assert_eq!(
            support::sha256(&disk),
            repaired,
            "{name}: the second time nothing is written"
        );

        // A mount may write to the disk: a copy of it.
        let copy = folder.path().join("mounted.raw");
        support::copy(&disk, &copy);
        let mount = Mount::new(&copy, "ro");
        assert_eq!(mount.descriptors(&paths), after, "{name}: on a mount");
        drop(mount);

        if found.is_some() {
            ends(&coldfix(state.path(), &["undo", "--yes"], &disk), 0);
        }
        assert_eq!(
            support::sha256(&disk),
            original,
            "{name}: undone to the last bit"
        );

        // Without names what prevents Remote Desktop is cured the same way, and nothing else is touched.
        ends(&coldfix(state.path(), &["repair", "--yes"], &disk), 0);
        let after = descriptors(&disk, &paths);
        match broken {
            true => assert_eq!(after, [FOLDER_HAS, KEY_HAS, &before[2]], "{name}"),
            false => assert_eq!(support::sha256(&disk), original, "{name}: nothing to cure"),
        }
    }
}

#[test]
fn a_clone_is_reported_and_its_key_left_alone() {
    if !judges() {
        return;
    }
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(disk) = disk("clone", folder.path()) else {
        return;
    };
    let original = support::sha256(&disk);
    let text = ends(&coldfix(state.path(), &["diagnose"], &disk), 0);
    assert!(text.contains("machine-keys.clone"), "{text}");
    assert!(
        text.contains("00000000-1111-2222-3333-444444444444"),
        "{text}"
    );
    let text = ends(
        &coldfix(
            state.path(),
            &["repair", "--fix", "machine-keys", "--yes"],
            &disk,
        ),
        0,
    );
    assert!(text.contains("another machine's GUID"), "{text}");
    assert_eq!(support::sha256(&disk), original);
}

#[test]
fn documented_grants_to_everything_and_lists_before_and_after() {
    if !judges() {
        return;
    }
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(disk) = disk("service-missing", folder.path()) else {
        return;
    };
    let original = support::sha256(&disk);
    let report = folder.path().join("report.json");
    let output = support::coldfix(state.path())
        .arg("repair")
        .arg(&disk)
        .args([
            "--fix",
            "machine-keys=documented",
            "--yes",
            "--format",
            "json",
            "-o",
        ])
        .arg(&report)
        .output()
        .unwrap();
    ends(&output, 0);
    let paths = [FOLDER, &key(RDP_KEY), &key(IIS_KEY)];
    let (all, read, full) = (
        "(0;0x0;0x1f01ff;S-1-5-18)",
        "(0;0x0;0x120089;S-1-5-20)",
        "(0;0x0;0x1f01ff;S-1-5-32-544)",
    );
    assert_eq!(
        descriptors(&disk, &paths),
        [
            format!("O:S-1-5-32-544G:S-1-5-18C:0x9404D:{read}{all}(0;0x0;0x12019f;S-1-1-0){full}"),
            format!("O:S-1-5-32-544G:S-1-5-18C:0x9404D:{read}{all}{full}"),
            format!(
                "O:S-1-5-32-544G:S-1-5-18C:0x9404D:{read}{all}{full}(0;0x0;0x120089;S-1-5-32-568)"
            ),
        ]
    );
    audit(&disk);
    let listing = |when: &str| {
        let path = folder.path().join(format!("report.permissions-{when}.txt"));
        std::fs::read_to_string(path).unwrap()
    };
    let (before, after) = (listing("before"), listing("after"));
    assert!(!before.contains("NETWORK SERVICE"), "{before}");
    assert_eq!(
        after.matches(r"NT AUTHORITY\NETWORK SERVICE:(R)").count(),
        3,
        "{after}"
    );
    for text in [&before, &after] {
        assert!(
            text.contains(&format!("\\{}\\{RDP_KEY} ", FOLDER.replace('/', "\\"))),
            "{text}"
        );
        assert!(text.ends_with("Successfully processed 3 files; Failed processing 0 files\n"));
    }
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    assert_eq!(json["operation"]["edits"][0]["kind"], "set-security");
    assert_eq!(json["operation"]["verified"], true);

    // Edit by edit, as after Windows has run; then exactly.
    ends(
        &coldfix(state.path(), &["undo", "--revert", "--yes"], &disk),
        0,
    );
    audit(&disk);
    let reverted = descriptors(&disk, &paths);
    assert_eq!(reverted[2].matches("S-1-5-20").count(), 0);
    ends(&coldfix(state.path(), &["undo", "--yes"], &disk), 0);
    ends(&coldfix(state.path(), &["undo", "--yes"], &disk), 0);
    assert_eq!(support::sha256(&disk), original);
}

#[test]
fn documented_does_not_take_denies_away_and_says_what_remains() {
    if !judges() {
        return;
    }
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(disk) = disk("denied", folder.path()) else {
        return;
    };
    let text = ends(
        &coldfix(
            state.path(),
            &["repair", "--fix", "machine-keys=documented", "--yes"],
            &disk,
        ),
        0,
    );
    assert!(
        text.contains("remains: Remote Desktop cannot read its private key"),
        "{text}"
    );
    ends(&coldfix(state.path(), &["diagnose"], &disk), 1);
    ends(&coldfix(state.path(), &["repair", "--yes"], &disk), 0);
    assert_eq!(descriptors(&disk, &[&key(RDP_KEY)]), [KEY_HAS]);
    audit(&disk);
}

#[test]
fn rename_puts_the_folder_aside() {
    if !judges() {
        return;
    }
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(disk) = disk("empty-dacl", folder.path()) else {
        return;
    };
    let original = support::sha256(&disk);
    let fix = ["repair", "--fix", "machine-keys=rename", "--yes"];
    let text = ends(&coldfix(state.path(), &fix, &disk), 0);
    assert!(text.contains("MachineKeys_old"), "{text}");
    let names = |disk: &Path| {
        let output = support::run(support::program("fls").args(["-r", "-p"]).arg(disk));
        String::from_utf8(output.stdout).unwrap()
    };
    let listed = names(&disk);
    assert!(
        listed.contains(&format!("RSA/MachineKeys_old/{RDP_KEY}\n")),
        "{listed}"
    );
    assert!(!listed.contains("RSA/MachineKeys/"), "{listed}");
    audit(&disk);
    let text = ends(&coldfix(state.path(), &["diagnose"], &disk), 0);
    assert!(!text.contains("machine-keys"), "{text}");
    ends(
        &coldfix(state.path(), &["undo", "--revert", "--yes"], &disk),
        0,
    );
    assert!(names(&disk).contains(&format!("RSA/MachineKeys/{RDP_KEY}\n")));
    audit(&disk);
    ends(&coldfix(state.path(), &["undo", "--yes"], &disk), 0);
    ends(&coldfix(state.path(), &["undo", "--yes"], &disk), 0);
    assert_eq!(support::sha256(&disk), original);
}

#[test]
fn a_plan_is_reviewed_and_applied_exactly_or_refused() {
    if !judges() {
        return;
    }
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(disk) = disk("service-missing", folder.path()) else {
        return;
    };
    let plan = folder.path().join("plan.json");
    let plan = plan.to_str().unwrap();
    ends(
        &coldfix(
            state.path(),
            &[
                "repair",
                "--fix",
                "machine-keys",
                "--dry-run",
                "--plan-out",
                plan,
            ],
            &disk,
        ),
        0,
    );
    let other = folder.path().join("other.raw");
    support::copy(&disk, &other);
    ends(
        &coldfix(state.path(), &["repair", "--plan", plan, "--yes"], &disk),
        0,
    );
    assert_eq!(descriptors(&disk, &[&key(RDP_KEY)]), [KEY_HAS]);
    // The same plan where the key has other permissions meanwhile.
    ends(
        &coldfix(state.path(), &["acl", "grant"], Path::new("nothing")),
        2,
    );
    let path = key(RDP_KEY);
    let grant = support::coldfix(state.path())
        .args(["acl", "grant"])
        .arg(&other)
        .args([&path, "Everyone:R", "--yes"])
        .output()
        .unwrap();
    ends(&grant, 0);
    let text = ends(
        &coldfix(state.path(), &["repair", "--plan", plan, "--yes"], &other),
        3,
    );
    assert!(
        text.contains("the plan no longer says what it would change"),
        "{text}"
    );
}

#[test]
fn a_folder_mounted_by_ntfs_3g_is_repaired_like_the_disk() {
    if !judges() || !support::require("getfattr") {
        return;
    }
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(disk) = disk("inherited-denies", folder.path()) else {
        return;
    };
    let paths = [FOLDER, &key(RDP_KEY), &key(IIS_KEY)];
    let before = descriptors(&disk, &paths);
    let mount = Mount::new(&disk, "windows_names");
    ends(&coldfix(state.path(), &["diagnose"], mount.path()), 1);
    ends(
        &coldfix(
            state.path(),
            &["repair", "--fix", "machine-keys", "--yes"],
            mount.path(),
        ),
        0,
    );
    assert_eq!(mount.descriptors(&paths), [FOLDER_HAS, KEY_HAS, &before[2]]);
    ends(&coldfix(state.path(), &["diagnose"], mount.path()), 0);
    drop(mount);
    assert_eq!(
        descriptors(&disk, &paths),
        [FOLDER_HAS, KEY_HAS, &before[2]]
    );
    audit(&disk);
    let mount = Mount::new(&disk, "windows_names");
    // The mount point is another one, and it is what a folder is known by.
    let text = ends(
        &coldfix(
            state.path(),
            &["repair", "--fix", "machine-keys=rename", "--yes"],
            mount.path(),
        ),
        0,
    );
    assert!(text.contains("undo:"), "{text}");
    assert!(
        mount
            .path()
            .join("ProgramData/Microsoft/Crypto/RSA/MachineKeys_old")
            .is_dir()
    );
    ends(&coldfix(state.path(), &["undo", "--yes"], mount.path()), 0);
    assert!(mount.path().join(FOLDER).is_dir());
    drop(mount);
    audit(&disk);
}

#[test]
fn a_copied_folder_has_no_permissions_and_says_so() {
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(windows) = support::fixture("folder/healthy", folder.path()) else {
        return;
    };
    std::fs::create_dir_all(windows.join(FOLDER)).unwrap();
    std::fs::write(windows.join(key(RDP_KEY)), b"key").unwrap();
    let text = ends(&coldfix(state.path(), &["diagnose"], &windows), 0);
    assert!(text.contains("machine-keys.unjudged"), "{text}");
    let text = ends(
        &coldfix(
            state.path(),
            &["repair", "--fix", "machine-keys", "--yes"],
            &windows,
        ),
        3,
    );
    assert!(text.contains("next:"), "{text}");
}
