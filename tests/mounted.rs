// SPDX-License-Identifier: GPL-2.0-or-later
//! Mounted folders: names, links, what is replaced, the gates, and real mounts by ntfs-3g.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
#![cfg(unix)]

mod mounted_support;
mod support;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use coldfix::error::Kind;
use coldfix::volume::mounted::MountedFolder;
use coldfix::volume::{EntryKind, Volume as _};
use mounted_support::{Mount, alone, assert_refused, commit_all, ntfs_image, undo_one};
use tempfile::TempDir;

const CONFIG: &str = "Windows/System32/config";
const SYSTEM: &str = "Windows/System32/config/SYSTEM";
const LIMIT: u64 = 1 << 30;

/// Bytes without a period of 512, and no zeros.
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251 + 1) as u8).collect()
}

/// A folder with a SYSTEM of 5000 bytes.
fn folder() -> TempDir {
    let folder = support::temporary();
    fs::create_dir_all(folder.path().join(CONFIG)).unwrap();
    fs::write(folder.path().join(SYSTEM), content(5000)).unwrap();
    folder
}

fn open(folder: &TempDir) -> MountedFolder {
    MountedFolder::open(folder.path()).unwrap()
}

/// Fails the test, and does not hang with it, when `job` takes too long.
fn within_seconds<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(job()));
    receiver
        .recv_timeout(Duration::from_secs(20))
        .expect("it hangs or has panicked")
}

// --- names

#[test]
fn names_are_found_in_any_case_and_given_as_stored() {
    let folder = folder();
    fs::write(folder.path().join(CONFIG).join("Überprüfung"), b"u").unwrap();
    let volume = open(&folder);
    for path in [
        SYSTEM,
        "windows/SYSTEM32/Config/system",
        r"\WINDOWS\system32\CONFIG\System",
        "/Windows//./System32/config/SYSTEM",
    ] {
        let entry = volume.entry(path).unwrap().unwrap();
        assert_eq!(
            (entry.name.as_str(), entry.kind, entry.len),
            ("SYSTEM", EntryKind::File, 5000),
            "{path}"
        );
        assert_eq!(volume.read(path, LIMIT).unwrap(), content(5000), "{path}");
    }
    let found = volume.read("windows/system32/config/üBERPRÜFUNG", LIMIT);
    assert_eq!(found.unwrap(), b"u");

    let root = volume.entry("").unwrap().unwrap();
    assert_eq!(
        (root.name.as_str(), root.kind, root.len),
        ("", EntryKind::Directory, 0)
    );
    let listed = volume.list("windows/system32").unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].name.as_str(), listed[0].kind, listed[0].len),
        ("config", EntryKind::Directory, 0)
    );
    assert_eq!(volume.capacity(SYSTEM).unwrap(), u64::MAX);
}

#[test]
fn what_is_not_there_is_not_found() {
    let folder = folder();
    let volume = open(&folder);
    let long = "x".repeat(300);
    for path in [
        "Windows/System32/config/SYSTE",
        "Windows/System32/config/SYSTEM/below a file",
        "Windowsx/System32",
        "Windows/a\0b",
        &long,
    ] {
        assert_eq!(volume.entry(path).unwrap(), None, "{path:?}");
        let error = volume.read(path, LIMIT).unwrap_err();
        assert_eq!(error.kind(), Kind::Io, "{error}");
        assert!(volume.list(path).is_err());
        assert!(volume.capacity(path).is_err());
        assert!(volume.replace(path, b"x").is_err());
    }
    assert!(volume.patches().unwrap().is_empty());
    assert!(!folder.path().join("Windowsx").exists());
}

#[test]
fn dots_do_not_lead_out() {
    let outer = support::temporary();
    fs::create_dir_all(outer.path().join("root/Windows")).unwrap();
    fs::write(outer.path().join("secret"), b"secret").unwrap();
    fs::write(outer.path().join("root/inside"), b"inside").unwrap();
    let volume = MountedFolder::open(&outer.path().join("root")).unwrap();
    for path in [
        "../secret",
        r"..\secret",
        "Windows/../../secret",
        "Windows/../inside",
        "..",
    ] {
        assert_eq!(volume.entry(path).unwrap(), None, "{path}");
        assert!(volume.read(path, LIMIT).is_err(), "{path}");
        assert!(volume.replace(path, b"x").is_err(), "{path}");
    }
    assert_eq!(volume.read("/inside", LIMIT).unwrap(), b"inside");
}

#[test]
fn names_that_differ_in_case_only_must_be_written_exactly() {
    let folder = folder();
    let config = folder.path().join(CONFIG);
    fs::write(config.join("system"), b"the small one").unwrap();
    let volume = open(&folder);
    assert_eq!(volume.read(SYSTEM, LIMIT).unwrap(), content(5000));
    let small = volume.read("windows/system32/config/system", LIMIT);
    assert_eq!(small.unwrap(), b"the small one");
    for path in [
        "Windows/System32/config/System",
        "windows/system32/config/sYSTEM",
    ] {
        let error = volume.read(path, LIMIT).unwrap_err();
        assert_refused(&error, Kind::Refused, "upper and lower case");
        assert_refused(
            &volume.replace(path, b"x").unwrap_err(),
            Kind::Refused,
            "case",
        );
        assert!(volume.entry(path).is_err());
    }
    // Each one keeps its own content.
    volume
        .replace("Windows/System32/config/system", b"new")
        .unwrap();
    assert_eq!(volume.read(SYSTEM, LIMIT).unwrap(), content(5000));
    let patches = volume.patches().unwrap();
    assert_eq!(patches.len(), 1);
    assert!(patches[0].file.ends_with("Windows/System32/config/system"));
}

#[test]
fn names_that_are_not_unicode_are_listed() {
    let folder = folder();
    let name = OsStr::from_bytes(b"bad\xff\xfename");
    fs::write(folder.path().join(CONFIG).join(name), b"content").unwrap();
    let volume = open(&folder);
    let listed = volume.list(CONFIG).unwrap();
    let names: Vec<&str> = listed.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["SYSTEM", "bad\u{fffd}\u{fffd}name"]);
    assert_eq!(listed[1].len, 7);
    // Searching goes past it, and what is shown for it reaches nothing.
    assert!(volume.entry("windows/system32/config/system").is_ok());
    let shown = format!("{CONFIG}/bad\u{fffd}\u{fffd}name");
    assert_eq!(volume.entry(&shown).unwrap(), None);
}

// --- what is not a plain file

#[test]
fn links_are_shown_and_not_followed() {
    let outside = support::temporary();
    fs::create_dir(outside.path().join("config")).unwrap();
    fs::write(outside.path().join("config/SAM"), b"outside").unwrap();
    let folder = folder();
    let config = folder.path().join(CONFIG);
    symlink(outside.path().join("config"), config.join("linked")).unwrap();
    symlink(outside.path().join("config/SAM"), config.join("SAM")).unwrap();
    symlink("SYSTEM", config.join("inside")).unwrap();
    symlink("nowhere", config.join("dangling")).unwrap();
    symlink("loop", config.join("loop")).unwrap();

    let volume = open(&folder);
    let listed = volume.list(CONFIG).unwrap();
    let kind = |name: &str| {
        let found = listed.iter().find(|entry| entry.name == name).unwrap();
        (found.kind, found.len)
    };
    assert_eq!(kind("SYSTEM"), (EntryKind::File, 5000));
    for name in ["SAM", "dangling", "inside", "linked", "loop"] {
        assert_eq!(kind(name), (EntryKind::Other, 0), "{name}");
        let path = format!("{CONFIG}/{name}");
        let entry = volume.entry(&path).unwrap().unwrap();
        assert_eq!(entry.kind, EntryKind::Other);
        for error in [
            volume.read(&path, LIMIT).unwrap_err(),
            volume.replace(&path, b"x").unwrap_err(),
            volume.capacity(&path).unwrap_err(),
            volume.list(&path).unwrap_err(),
            volume.entry(&format!("{path}/SAM")).unwrap_err(),
        ] {
            assert_refused(&error, Kind::Unsupported, "link");
        }
    }
    assert!(volume.patches().unwrap().is_empty());
    assert_eq!(
        fs::read(outside.path().join("config/SAM")).unwrap(),
        b"outside"
    );
}

#[test]
fn the_root_itself_may_be_reached_through_a_link() {
    let _turn = alone();
    let folder = folder();
    let link = support::temporary();
    let link = link.path().join("mnt");
    symlink(folder.path(), &link).unwrap();
    let volume = MountedFolder::open(&link).unwrap();
    volume.replace(SYSTEM, b"new").unwrap();
    let real = folder.path().canonicalize().unwrap().join(SYSTEM);
    assert_eq!(volume.patches().unwrap()[0].file, real);
    apply_and_undo(&volume, &link, || {
        assert_eq!(fs::read(&real).unwrap(), b"new");
    });
    assert_eq!(fs::read(&real).unwrap(), content(5000));
}

#[test]
fn a_root_that_is_no_folder() {
    let folder = folder();
    let file = MountedFolder::open(&folder.path().join(SYSTEM)).unwrap_err();
    assert_refused(&file, Kind::Unsupported, "not a folder");
    let nothing = MountedFolder::open(&folder.path().join("nothing")).unwrap_err();
    assert_eq!(nothing.kind(), Kind::Io);
}

#[test]
fn pipes_and_folders_in_place_of_a_hive() {
    let _turn = alone();
    let folder = folder();
    let config = folder.path().join(CONFIG);
    support::run(support::program("mkfifo").arg(config.join("SAM")));
    support::run(support::program("mkfifo").arg(folder.path().join("hiberfil.sys")));
    fs::create_dir(config.join("SECURITY")).unwrap();
    within_seconds(move || {
        let volume = open(&folder);
        // What cannot be looked at counts as hibernated.
        assert!(volume.state().hibernated);
        let error = volume.check_writable().unwrap_err();
        assert_refused(&error, Kind::Refused, "cannot be read");
        fs::remove_file(folder.path().join("hiberfil.sys")).unwrap();

        let volume = open(&folder);
        let pipe = format!("{CONFIG}/SAM");
        let error = volume.read(&pipe, LIMIT).unwrap_err();
        assert_refused(&error, Kind::Unsupported, "neither file nor folder");
        assert!(volume.replace(&pipe, b"x").is_err());
        let sub = format!("{CONFIG}/SECURITY");
        let error = volume.read(&sub, LIMIT).unwrap_err();
        assert_refused(&error, Kind::Unsupported, "is a folder");
        let error = volume.replace(&sub, b"x").unwrap_err();
        assert_refused(&error, Kind::Unsupported, "is a folder");
        let error = volume.list(SYSTEM).unwrap_err();
        assert_refused(&error, Kind::Unsupported, "not a folder");
        assert!(volume.patches().unwrap().is_empty());

        // And one that takes the place of a file after it was looked at.
        volume.replace(SYSTEM, b"new").unwrap();
        fs::remove_file(config.join("SYSTEM")).unwrap();
        support::run(support::program("mkfifo").arg(config.join("SYSTEM")));
        let error = volume.patches().unwrap_err();
        assert_refused(&error, Kind::Unsupported, "not a plain file");
    });
}

#[test]
fn a_file_over_the_limit_is_not_read() {
    let folder = folder();
    let huge = File::create(folder.path().join("huge")).unwrap();
    huge.set_len(1 << 40).unwrap();
    let volume = open(&folder);
    assert_eq!(volume.read(SYSTEM, 5000).unwrap().len(), 5000);
    let error = volume.read(SYSTEM, 4999).unwrap_err();
    assert_refused(&error, Kind::Unsupported, "5000 bytes long");
    let error = volume.read("huge", LIMIT).unwrap_err();
    assert_refused(&error, Kind::Unsupported, "1099511627776 bytes long");
    let error = volume.replace("huge", b"x").unwrap_err();
    assert_refused(&error, Kind::Unsupported, "1099511627776 bytes long");
    // The limit holds for what is to be written, too.
    volume.replace(SYSTEM, &content(6000)).unwrap();
    let error = volume.read(SYSTEM, 5999).unwrap_err();
    assert_refused(&error, Kind::Unsupported, "6000 bytes long");
    assert_eq!(volume.read(SYSTEM, 6000).unwrap(), content(6000));
}

// --- replacing

#[test]
fn what_was_replaced_is_read_back_and_the_host_keeps_the_old() {
    let folder = folder();
    let volume = open(&folder);
    let mut new = volume.read(SYSTEM, LIMIT).unwrap();
    new[600] = 0;
    volume.replace(SYSTEM, &new).unwrap();
    // Under another spelling it is the same file.
    let read = volume.read(r"WINDOWS\system32\config\system", LIMIT);
    assert_eq!(read.unwrap(), new);
    let ranges = volume.read_ranges(SYSTEM, &[598..602, 4998..6000]);
    assert_eq!(ranges.unwrap(), [&new[598..602], &new[4998..]]);
    assert!(volume.holds(SYSTEM, &new).unwrap());
    assert!(!volume.holds(SYSTEM, &content(5000)).unwrap());
    assert_eq!(fs::read(folder.path().join(SYSTEM)).unwrap(), content(5000));

    let patches = volume.patches().unwrap();
    assert_eq!(patches.len(), 1);
    let patch = &patches[0];
    assert_eq!(
        patch.file,
        folder.path().canonicalize().unwrap().join(SYSTEM)
    );
    assert_eq!((patch.before_len, patch.after_len), (5000, 5000));
    assert_eq!(patch.changes.len(), 1);
    assert_eq!(patch.changes[0].offset, 512);
    assert_eq!(patch.changes[0].before, &content(5000)[512..1024]);
    assert_eq!(patch.changes[0].after, &new[512..1024]);

    // Replaced twice, it is one patch from the host's content.
    new[4999] = 0;
    volume
        .replace("windows/system32/config/system", &new)
        .unwrap();
    let patches = volume.patches().unwrap();
    assert_eq!(patches.len(), 1);
    let offsets: Vec<u64> = patches[0]
        .changes
        .iter()
        .map(|change| change.offset)
        .collect();
    assert_eq!(offsets, [512, 4608]);
    assert_eq!(patches[0].changes[1].after.len(), 392);
}

#[test]
fn the_same_content_is_no_patch() {
    let folder = folder();
    let volume = open(&folder);
    assert!(volume.patches().unwrap().is_empty());
    volume.replace(SYSTEM, &content(5000)).unwrap();
    assert!(volume.patches().unwrap().is_empty());
    // Changed, and changed back.
    volume.replace(SYSTEM, b"other").unwrap();
    assert_eq!(volume.patches().unwrap().len(), 1);
    volume.replace(SYSTEM, &content(5000)).unwrap();
    assert!(volume.patches().unwrap().is_empty());
    assert_eq!(volume.read(SYSTEM, LIMIT).unwrap(), content(5000));
}

#[test]
fn lengths_follow_the_new_content() {
    let folder = folder();
    let volume = open(&folder);
    for len in [9000, 100, 0] {
        volume.replace(SYSTEM, &content(len)).unwrap();
        let patch = volume.patches().unwrap().remove(0);
        assert_eq!((patch.before_len, patch.after_len), (5000, len as u64));
        assert_eq!(volume.entry(SYSTEM).unwrap().unwrap().len, len as u64);
        assert_eq!(volume.list(CONFIG).unwrap()[0].len, len as u64);
    }
}

#[test]
fn a_file_that_changed_since_it_was_read_is_refused() {
    let folder = folder();
    let host = folder.path().join(SYSTEM);
    let spoil = || {
        let file = File::options().write(true).open(&host).unwrap();
        file.write_all_at(b"!", 4000).unwrap();
    };
    // Between reading and replacing.
    let volume = open(&folder);
    let mut new = volume.read(SYSTEM, LIMIT).unwrap();
    new[0] = b'n';
    spoil();
    // Reading it again does not make the first reading undone.
    assert_eq!(volume.read(SYSTEM, LIMIT).unwrap()[4000], b'!');
    let error = volume.replace(SYSTEM, &new).unwrap_err();
    assert_refused(&error, Kind::Refused, "has changed since it was read");
    assert!(volume.patches().unwrap().is_empty());

    // Between replacing and asking for the patches, in a range that no change covers.
    fs::write(&host, content(5000)).unwrap();
    let volume = open(&folder);
    volume.replace(SYSTEM, &new).unwrap();
    assert_eq!(volume.patches().unwrap().len(), 1);
    spoil();
    let error = volume.read(SYSTEM, LIMIT).unwrap_err();
    assert_refused(&error, Kind::Refused, "has changed since it was read");
    let error = volume.patches().unwrap_err();
    assert_refused(&error, Kind::Refused, "has changed since it was read");

    // Longer, and gone.
    let file = File::options().write(true).open(&host).unwrap();
    file.write_all_at(b"longer", 5000).unwrap();
    let error = volume.patches().unwrap_err();
    assert_refused(&error, Kind::Refused, "has changed since it was read");
    fs::remove_file(&host).unwrap();
    assert_eq!(volume.patches().unwrap_err().kind(), Kind::Io);
    // A link that has taken its place is not followed.
    let other = folder.path().join("other");
    fs::write(&other, content(5000)).unwrap();
    symlink(&other, &host).unwrap();
    assert_eq!(volume.patches().unwrap_err().kind(), Kind::Io);
}

/// Commits, lets `check` look at it, and undoes it.
fn apply_and_undo(volume: &MountedFolder, root: &Path, check: impl FnOnce()) {
    let journals = support::temporary();
    let id = commit_all(volume, root, journals.path());
    check();
    undo_one(root, journals.path(), &id);
}

#[test]
fn patches_are_committed_and_undone_to_the_last_byte() {
    let _turn = alone();
    for (system, sam) in [
        (9000, 300),
        (5120, 512),
        (4096, 0),
        (5001, 299),
        (0, 70_000),
    ] {
        let folder = folder();
        let root = folder.path();
        fs::write(root.join(CONFIG).join("SAM"), content(300)).unwrap();
        fs::write(root.join("empty"), b"").unwrap();
        let before = support::sha256_tree(root);
        let inode = fs::metadata(root.join(SYSTEM)).unwrap().ino();

        let volume = open(&folder);
        let mut new = content(system);
        new.reverse();
        volume.replace(SYSTEM, &new).unwrap();
        volume
            .replace("windows/system32/config/sam", &content(sam))
            .unwrap();
        volume.replace("EMPTY", b"no longer").unwrap();
        apply_and_undo(&volume, root, || {
            assert_eq!(fs::read(root.join(SYSTEM)).unwrap(), new);
            let found = fs::read(root.join(CONFIG).join("SAM")).unwrap();
            assert_eq!(found, content(sam));
            assert_eq!(fs::read(root.join("empty")).unwrap(), b"no longer");
            // In place: the same file.
            assert_eq!(fs::metadata(root.join(SYSTEM)).unwrap().ino(), inode);
        });
        assert_eq!(support::sha256_tree(root), before);
    }
}

#[test]
fn an_empty_file_is_read_and_grows() {
    let _turn = alone();
    let folder = folder();
    fs::write(folder.path().join(SYSTEM), b"").unwrap();
    let volume = open(&folder);
    assert_eq!(volume.read(SYSTEM, 0).unwrap(), b"");
    // Zeros only: a length without a change.
    volume.replace(SYSTEM, &[0; 1000]).unwrap();
    let patch = volume.patches().unwrap().remove(0);
    assert_eq!((patch.before_len, patch.after_len), (0, 1000));
    assert!(patch.changes.is_empty());
    apply_and_undo(&volume, folder.path(), || {
        assert_eq!(fs::read(folder.path().join(SYSTEM)).unwrap(), [0; 1000]);
    });
    assert_eq!(fs::read(folder.path().join(SYSTEM)).unwrap(), b"");
}

// --- the gates

#[test]
fn hibernation() {
    let header = |magic: &[u8]| {
        let mut header = vec![0; 8192];
        header[..magic.len()].copy_from_slice(magic);
        header
    };
    for (name, content, hibernated) in [
        ("hiberfil.sys", header(b"hibr"), true),
        ("HIBERFIL.SYS", header(b"HIBR"), true),
        ("Hiberfil.sys", header(b"what"), true),
        ("hiberfil.sys", header(b"wake"), false),
        ("hiberfil.sys", header(b"WAKE"), false),
        ("hiberfil.sys", header(&[0; 4]), false),
        // Too short for a header: ntfs-3g's rule.
        ("hiberfil.sys", vec![0; 4095], true),
        ("hiberfil.sys", vec![0; 4096], false),
        ("hiberfil.sys", vec![], true),
    ] {
        let folder = folder();
        fs::write(folder.path().join(name), content).unwrap();
        let volume = open(&folder);
        assert_eq!(volume.state().file_system, "folder");
        assert_eq!(volume.state().hibernated, hibernated, "{name}");
        // It can be read in either case.
        let new = volume.read(SYSTEM, LIMIT).unwrap();
        if hibernated {
            let error = volume.check_writable().unwrap_err();
            assert_refused(&error, Kind::Refused, "hibernated");
            assert!(error.hint().unwrap().contains("shutdown /s"), "{error}");
            let error = volume.replace(SYSTEM, &new[1..]).unwrap_err();
            assert_refused(&error, Kind::Refused, "hibernated");
            assert!(volume.patches().unwrap().is_empty());
        } else {
            volume.check_writable().unwrap();
            volume.replace(SYSTEM, &new[1..]).unwrap();
        }
    }
    // A link in its place cannot be judged.
    let folder = folder();
    symlink("elsewhere", folder.path().join("hiberfil.sys")).unwrap();
    assert!(open(&folder).state().hibernated);
}

#[test]
fn a_folder_mounted_read_only_is_read_and_not_written() {
    let _turn = alone();
    let place = support::temporary();
    let Some(whole) = Mount::with(&["-t", "tmpfs", "tmpfs"], place.path()) else {
        return;
    };
    fs::create_dir_all(place.path().join(CONFIG)).unwrap();
    fs::write(place.path().join(SYSTEM), content(5000)).unwrap();
    MountedFolder::open(place.path())
        .unwrap()
        .check_writable()
        .unwrap();
    support::run(
        support::program("mount")
            .args(["-o", "remount,ro"])
            .arg(place.path()),
    );
    let volume = MountedFolder::open(place.path()).unwrap();
    assert_eq!(volume.read(SYSTEM, LIMIT).unwrap(), content(5000));
    let error = volume.check_writable().unwrap_err();
    assert_refused(&error, Kind::Refused, "mounted read-only");
    let error = volume.replace(SYSTEM, b"x").unwrap_err();
    assert_refused(&error, Kind::Refused, "mounted read-only");
    assert!(volume.patches().unwrap().is_empty());
    drop(whole);
}

#[test]
fn a_read_only_mount_below_the_root_is_noticed() {
    let _turn = alone();
    let folder = folder();
    let config = folder.path().join(CONFIG);
    let Some(below) = Mount::with(&["-t", "tmpfs", "tmpfs"], &config) else {
        return;
    };
    fs::write(config.join("SYSTEM"), content(700)).unwrap();
    support::run(
        support::program("mount")
            .args(["-o", "remount,ro"])
            .arg(&config),
    );
    let volume = open(&folder);
    volume.check_writable().unwrap();
    let error = volume.replace(SYSTEM, b"x").unwrap_err();
    assert_refused(&error, Kind::Refused, "mounted read-only");
    assert!(volume.patches().unwrap().is_empty());
    drop(below);
}

// --- ntfs-3g

/// An image whose SYSTEM is `content(20_000)`, and where to mount it. None, and counted, without ntfs-3g.
fn ntfs_with_system(place: &Path) -> Option<(PathBuf, PathBuf)> {
    let image = ntfs_image(place)?;
    let at = place.join("mnt");
    let mount = Mount::ntfs("ntfs-3g", "rw", &image, &at)?;
    fs::create_dir_all(at.join(CONFIG)).unwrap();
    fs::write(at.join(SYSTEM), content(20_000)).unwrap();
    drop(mount);
    assert_eq!(support::foreign::ntfscat(&image, SYSTEM), content(20_000));
    Some((image, at))
}

#[test]
fn a_volume_mounted_by_ntfs_3g_is_changed_and_undone() {
    let _turn = alone();
    let place = support::temporary();
    let Some((image, at)) = ntfs_with_system(place.path()) else {
        return;
    };
    let mount = || Mount::ntfs("ntfs-3g", "rw", &image, &at).unwrap();
    // Longer than its clusters, so that the driver allocates; shorter; and in place.
    let mut changed = content(20_000);
    changed[7000] = 0;
    for new in [content(200_000), content(300), changed] {
        let journals = support::temporary();
        let mounted = mount();
        let volume = MountedFolder::open(&at).unwrap();
        volume.check_writable().unwrap();
        let old = volume.read("WINDOWS/system32/CONFIG/system", LIMIT);
        assert_eq!(old.unwrap(), content(20_000));
        volume
            .replace("windows/system32/config/system", &new)
            .unwrap();
        let id = commit_all(&volume, &at, journals.path());
        drop(volume);
        drop(mounted);
        assert_eq!(support::foreign::ntfscat(&image, SYSTEM), new);

        let mounted = mount();
        undo_one(&at, journals.path(), &id);
        drop(mounted);
        assert_eq!(support::foreign::ntfscat(&image, SYSTEM), content(20_000));
    }
}

#[test]
fn ntfs_3g_mounted_read_only() {
    let _turn = alone();
    let place = support::temporary();
    let Some((image, at)) = ntfs_with_system(place.path()) else {
        return;
    };
    let before = support::sha256(&image);
    let mounted = Mount::ntfs("ntfs-3g", "ro", &image, &at).unwrap();
    let volume = MountedFolder::open(&at).unwrap();
    assert_eq!(volume.read(SYSTEM, LIMIT).unwrap(), content(20_000));
    let error = volume.replace(SYSTEM, b"x").unwrap_err();
    assert_refused(&error, Kind::Refused, "mounted read-only");
    drop(volume);
    drop(mounted);
    assert_eq!(support::sha256(&image), before);
}

#[test]
fn a_host_folder_without_case_has_one_name_for_a_file() {
    let _turn = alone();
    let place = support::temporary();
    let Some((image, at)) = ntfs_with_system(place.path()) else {
        return;
    };
    let Some(mounted) = Mount::ntfs("lowntfs-3g", "rw,ignore_case", &image, &at) else {
        return;
    };
    // What the driver does, which this test stands on.
    assert!(at.join("WINDOWS/system32/Config/System").exists());
    assert!(at.join("windows/SYSTEM32/config/sYSTEM").exists());
    let volume = MountedFolder::open(&at).unwrap();
    volume.replace(SYSTEM, &content(100)).unwrap();
    let other = volume.read("windows/system32/config/sYstem", LIMIT);
    assert_eq!(other.unwrap(), content(100));
    volume
        .replace("WINDOWS/SYSTEM32/CONFIG/SYSTEM", &content(200))
        .unwrap();
    volume
        .replace("windows/system32/config/system", &content(300))
        .unwrap();
    let patches = volume.patches().unwrap();
    assert_eq!(
        patches.len(),
        1,
        "{:?}",
        patches.iter().map(|patch| &patch.file).collect::<Vec<_>>()
    );
    assert_eq!(patches[0].after_len, 300);
    drop(volume);
    drop(mounted);
}

#[test]
fn a_junction_on_ntfs_3g_is_not_followed() {
    const JUNCTION: &str = r"
import os, struct, sys
os.mkdir(sys.argv[1])
name = '\\??\\C:\\Windows\\System32\\config'.encode('utf-16-le')
paths = name + bytes(4)
data = struct.pack('<HHHH', 0, len(name), len(name) + 2, 0) + paths
os.setxattr(sys.argv[1], 'system.ntfs_reparse_data', struct.pack('<IHH', 0xA0000003, len(data), 0) + data)
";
    let _turn = alone();
    let place = support::temporary();
    let Some((image, at)) = ntfs_with_system(place.path()) else {
        return;
    };
    let mounted = Mount::ntfs("ntfs-3g", "rw", &image, &at).unwrap();
    support::run(
        support::program("python3")
            .args(["-c", JUNCTION])
            .arg(at.join("junction")),
    );
    // The kernel still takes it for the folder it was.
    drop(mounted);
    let mounted = Mount::ntfs("ntfs-3g", "rw", &image, &at).unwrap();
    assert!(fs::read_link(at.join("junction")).is_ok());
    let volume = MountedFolder::open(&at).unwrap();
    let entry = volume.entry("JUNCTION").unwrap().unwrap();
    assert_eq!(
        (entry.name.as_str(), entry.kind),
        ("junction", EntryKind::Other)
    );
    let error = volume.read("junction/SYSTEM", LIMIT).unwrap_err();
    assert_refused(&error, Kind::Unsupported, "link");
    assert!(volume.list("junction").is_err());
    drop(volume);
    drop(mounted);
}
