// SPDX-License-Identifier: GPL-2.0-or-later
//! Files made and removed on a mounted folder: what is seen of them before the host does it, and what is refused.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod mounted_support;
mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use coldfix::error::Kind;
use coldfix::volume::mounted::MountedFolder;
use coldfix::volume::{EntryKind, Volume as _};
use mounted_support::{alone, assert_refused, commit_all, undo_one};
use tempfile::TempDir;

const LIMIT: u64 = 1 << 20;

fn folder() -> TempDir {
    let folder = support::temporary();
    let config = folder.path().join("Windows/config");
    fs::create_dir_all(config.join("TxR")).unwrap();
    fs::write(config.join("SYSTEM"), b"the hive").unwrap();
    fs::set_permissions(config.join("SYSTEM"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(config.join("TxR/one.blf"), [1; 700]).unwrap();
    fs::write(config.join("TxR/two.blf"), [2; 700]).unwrap();
    folder
}

fn open(root: &Path) -> MountedFolder {
    MountedFolder::open(root).unwrap()
}

fn names(volume: &MountedFolder, path: &str) -> Vec<String> {
    let listed = volume.list(path).unwrap();
    listed.into_iter().map(|entry| entry.name).collect()
}

#[test]
fn what_is_made_and_removed_is_seen_before_the_host_does_it() {
    let _alone = alone();
    let (folder, journals) = (folder(), support::temporary());
    let root = folder.path();
    let before = support::sha256_tree(root);
    let volume = open(root);
    volume
        .create_file_like(
            "windows/CONFIG/SYSTEM.old",
            b"kept",
            "Windows/config/system",
            0,
        )
        .unwrap();
    volume.remove("Windows/config/TXR/ONE.BLF", 0).unwrap();
    assert_eq!(
        names(&volume, "Windows/config"),
        ["SYSTEM", "SYSTEM.old", "TxR"]
    );
    assert_eq!(names(&volume, "Windows/config/TxR"), ["two.blf"]);
    let made = volume.entry("Windows/config/system.OLD").unwrap().unwrap();
    assert_eq!(
        (made.name.as_str(), made.kind, made.len),
        ("SYSTEM.old", EntryKind::File, 4)
    );
    assert_eq!(
        volume.read("Windows/config/SYSTEM.old", LIMIT).unwrap(),
        b"kept"
    );
    assert!(volume.read("Windows/config/SYSTEM.old", 3).is_err());
    let parts = volume
        .read_ranges("Windows/config/SYSTEM.old", &[1..3, 2..9, 7..9])
        .unwrap();
    assert_eq!(parts, [&b"ep"[..], b"pt", b""]);
    assert_eq!(volume.entry("Windows/config/TxR/one.blf").unwrap(), None);
    assert!(volume.read("Windows/config/TxR/one.blf", LIMIT).is_err());
    let tree: Vec<String> = volume
        .tree("Windows/config")
        .unwrap()
        .into_iter()
        .map(|entry| entry.path)
        .collect();
    let expected = ["", "/SYSTEM", "/SYSTEM.old", "/TxR", "/TxR/two.blf"];
    assert_eq!(tree, expected.map(|path| format!("Windows/config{path}")));
    // A made file can get another content, and goes without a trace.
    volume
        .replace("Windows/config/SYSTEM.old", b"kept longer")
        .unwrap();
    assert_eq!(
        volume
            .entry("Windows/config/SYSTEM.old")
            .unwrap()
            .unwrap()
            .len,
        11
    );
    volume
        .create_file_like("Windows/config/x", b"", "Windows/config/SYSTEM", 0)
        .unwrap();
    volume.remove("Windows/config/x", 0).unwrap();
    assert_eq!(volume.entry("Windows/config/x").unwrap(), None);
    assert_eq!(support::sha256_tree(root), before);
    assert_eq!(volume.notes().len(), 1, "{:?}", volume.notes());

    assert_eq!(volume.changes().unwrap().operations.len(), 2);
    let id = commit_all(&volume, root, journals.path());
    let made = root.join("Windows/config/SYSTEM.old");
    assert_eq!(fs::read(&made).unwrap(), b"kept longer");
    assert_eq!(fs::metadata(&made).unwrap().mode() & 0o777, 0o640);
    assert!(!root.join("Windows/config/TxR/one.blf").exists());
    undo_one(root, journals.path(), &id);
    assert_eq!(support::sha256_tree(root), before);
}

#[test]
fn what_could_not_be_given_back_or_is_taken_is_refused() {
    let folder = folder();
    let root = folder.path();
    let config = root.join("Windows/config");
    fs::write(config.join("TxR/three.blf"), b"3").unwrap();
    fs::hard_link(config.join("TxR/three.blf"), config.join("other")).unwrap();
    symlink("/etc/passwd", config.join("TxR/link.blf")).unwrap();
    symlink("/etc", config.join("away")).unwrap();
    let volume = open(root);
    let like = "Windows/config/SYSTEM";
    for (path, says) in [
        ("Windows/config/system", "there is SYSTEM"),
        ("Windows/config/TXR", "there is TxR"),
        ("Windows/config/a:b", "is no name for a file in Windows"),
        ("", "the root folder exists"),
    ] {
        let error = volume.create_file_like(path, b"", like, 0).unwrap_err();
        assert_refused(&error, Kind::Refused, says);
    }
    for path in [
        "Windows/none/x",
        "Windows/config/SYSTEM/x",
        "Windows/config/away/x",
        "../x",
    ] {
        assert!(
            volume.create_file_like(path, b"", like, 0).is_err(),
            "{path}"
        );
    }
    assert!(
        volume
            .create_file_like("x", b"", "Windows/config/TxR/link.blf", 0)
            .is_err()
    );
    for (path, says) in [
        ("Windows/config/TxR/three.blf", "more than one name"),
        ("Windows/config/TxR/link.blf", "is not followed"),
        ("Windows/config/TxR", "is a folder"),
    ] {
        for error in [
            volume.check_removable(path).unwrap_err(),
            volume.remove(path, 0).unwrap_err(),
        ] {
            assert!(error.to_string().contains(says), "{error}");
        }
    }
    assert!(volume.remove("Windows/config/TxR/none", 0).is_err());
    assert!(volume.remove("Windows/config/away/passwd", 0).is_err());

    // Changed, and removed or renamed, in one operation.
    volume.replace(like, b"other").unwrap();
    let error = volume.remove(like, 0).unwrap_err();
    assert_refused(&error, Kind::Refused, "changed in the same operation");
    volume
        .create_file_like("Windows/config/new", b"n", like, 0)
        .unwrap();
    let error = volume.rename("Windows/config/new", "newer", 0).unwrap_err();
    assert_refused(&error, Kind::Refused, "made in the same operation");
    let error = volume.rename("Windows/config", "config2", 0).unwrap_err();
    assert_refused(
        &error,
        Kind::Refused,
        "made or removed in the same operation",
    );
    volume.rename("Windows/config/TxR", "TxR2", 0).unwrap();
    let error = volume.remove("Windows/config/TxR2/one.blf", 0).unwrap_err();
    assert_refused(&error, Kind::Refused, "is renamed in the same operation");
    let error = volume
        .create_file_like("Windows/config/TxR2/x", b"", like, 0)
        .unwrap_err();
    assert_refused(&error, Kind::Refused, "is renamed in the same operation");
}

/// What has changed since it was read is not removed in ignorance of that.
#[test]
fn a_file_that_changed_since_it_was_read_is_not_removed() {
    let _alone = alone();
    let (folder, journals) = (folder(), support::temporary());
    let root = folder.path();
    let file = root.join("Windows/config/TxR/one.blf");
    let volume = open(root);
    volume.read("Windows/config/TxR/one.blf", LIMIT).unwrap();
    fs::write(&file, b"other").unwrap();
    let error = volume.remove("Windows/config/TxR/one.blf", 0).unwrap_err();
    assert_refused(&error, Kind::Refused, "has changed since it was read");
    // Nor what changes before the commit, nor a link that was put in its place.
    let volume = open(root);
    volume.remove("Windows/config/TxR/one.blf", 0).unwrap();
    fs::write(&file, b"again").unwrap();
    let changes = volume.changes().unwrap();
    let error = mounted_support::try_commit(&changes, root, journals.path()).unwrap_err();
    assert_refused(&error, Kind::Refused, "holds something else");
    fs::remove_file(&file).unwrap();
    let outside = support::temporary();
    let away = outside.path().join("away");
    fs::write(&away, b"other").unwrap();
    symlink(&away, &file).unwrap();
    let error = mounted_support::try_commit(&changes, root, journals.path()).unwrap_err();
    assert_refused(&error, Kind::Refused, "link");
    assert_eq!(fs::read(&away).unwrap(), b"other");
}
