// SPDX-License-Identifier: GPL-2.0-or-later
//! Renames on a mounted folder: what is seen of them before they are done, done, undone, cut off and forged.
//! On a plain folder of this host, and on NTFS mounted by ntfs-3g.

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

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use coldfix::commit::{Outcome, Status, commit};
use coldfix::device::{Access, ChangeSet, HostOperation};
use coldfix::error::Kind;
use coldfix::target::Target;
use coldfix::volume::mounted::MountedFolder;
use coldfix::volume::{EntryKind, Volume as _};
use mounted_support::{
    Mount, alone, assert_refused, commit_all, finish, forge, header, interrupt, journal_dir, mount,
    ntfs_image, setfattr, try_commit, try_recover, try_undo, undo_one,
};
use tempfile::TempDir;

const LIMIT: u64 = 1 << 20;

/// A folder like a Windows volume, with the update store that one renames to have it made anew.
fn make(root: &Path) {
    let store = root.join("Windows/SoftwareDistribution");
    fs::create_dir_all(store.join("Download/part")).unwrap();
    fs::write(store.join("ReportingEvents.log"), b"events").unwrap();
    fs::write(store.join("Download/part/file"), [7; 3000]).unwrap();
    fs::write(root.join("Windows/win.ini"), b"[ini]").unwrap();
}

fn folder() -> TempDir {
    let folder = support::temporary();
    make(folder.path());
    folder
}

fn open(root: &Path) -> MountedFolder {
    MountedFolder::open(root).unwrap()
}

fn names(volume: &MountedFolder, path: &str) -> Vec<String> {
    let listed = volume.list(path).unwrap();
    listed.into_iter().map(|entry| entry.name).collect()
}

fn tree(volume: &MountedFolder, path: &str) -> Vec<String> {
    let tree = volume.tree(path).unwrap();
    tree.into_iter().map(|entry| entry.path).collect()
}

fn rename(file: &str, name: &str) -> HostOperation {
    HostOperation::Rename {
        file: file.into(),
        name: name.into(),
    }
}

fn operations(operations: Vec<HostOperation>) -> ChangeSet {
    ChangeSet {
        patches: Vec::new(),
        operations,
    }
}

#[test]
fn a_tree_is_listed_with_links_and_not_beyond_them() {
    let folder = folder();
    let root = folder.path();
    let outside = support::temporary();
    fs::write(outside.path().join("secret"), b"secret").unwrap();
    symlink(outside.path(), root.join("Windows/out")).unwrap();
    symlink("..", root.join("Windows/SoftwareDistribution/up")).unwrap();
    let volume = open(root);
    let store = [
        "Windows/SoftwareDistribution",
        "Windows/SoftwareDistribution/Download",
        "Windows/SoftwareDistribution/Download/part",
        "Windows/SoftwareDistribution/Download/part/file",
        "Windows/SoftwareDistribution/ReportingEvents.log",
        "Windows/SoftwareDistribution/up",
    ];
    assert_eq!(tree(&volume, r"WINDOWS\softwaredistribution"), store);
    let whole = tree(&volume, "");
    assert_eq!(whole[..2], ["", "Windows"]);
    assert_eq!(whole[2..8], store);
    assert_eq!(whole[8..], ["Windows/out", "Windows/win.ini"]);
    let kinds = volume.tree("Windows").unwrap();
    let kind = |path: &str| kinds.iter().find(|entry| entry.path == path).unwrap().kind;
    assert_eq!(kind("Windows/out"), EntryKind::Other);
    assert_eq!(kind("Windows/win.ini"), EntryKind::File);
    assert_eq!(kind(store[1]), EntryKind::Directory);
    assert_eq!(tree(&volume, "Windows/win.ini"), ["Windows/win.ini"]);
    assert_eq!(tree(&volume, "Windows/out"), ["Windows/out"]);
    assert_eq!(volume.tree("Windows/none").unwrap_err().kind(), Kind::Io);
}

#[test]
fn a_rename_is_seen_before_the_host_does_it() {
    let folder = folder();
    let volume = open(folder.path());
    volume
        .rename("windows/softwaredistribution", "Store.old", 0)
        .unwrap();
    volume
        .rename("Windows/store.OLD/download", "Download.old", 0)
        .unwrap();
    assert_eq!(names(&volume, "Windows"), ["Store.old", "win.ini"]);
    assert_eq!(
        names(&volume, "Windows/Store.old"),
        ["Download.old", "ReportingEvents.log"]
    );
    for gone in [
        "Windows/SoftwareDistribution",
        "Windows/SoftwareDistribution/ReportingEvents.log",
        "Windows/Store.old/Download/part/file",
    ] {
        assert_eq!(volume.entry(gone).unwrap(), None, "{gone}");
        assert!(volume.read(gone, LIMIT).is_err(), "{gone}");
    }
    let entry = volume.entry("windows/STORE.OLD").unwrap().unwrap();
    assert_eq!(
        (entry.name.as_str(), entry.kind),
        ("Store.old", EntryKind::Directory)
    );
    let file = "Windows/Store.old/Download.old/part/file";
    assert_eq!(volume.read(file, LIMIT).unwrap(), [7; 3000]);
    assert_eq!(
        tree(&volume, "Windows/Store.old"),
        [
            "Windows/Store.old",
            "Windows/Store.old/Download.old",
            "Windows/Store.old/Download.old/part",
            file,
            "Windows/Store.old/ReportingEvents.log",
        ]
    );
    // The host has not been touched.
    assert!(folder.path().join("Windows/SoftwareDistribution").is_dir());
    assert_eq!(volume.changes().unwrap().operations.len(), 2);

    // Renamed once more, it is still one rename; renamed back, none.
    volume
        .rename("Windows/Store.old", "Store.older", 0)
        .unwrap();
    assert_eq!(volume.changes().unwrap().operations.len(), 2);
    assert_eq!(names(&volume, "Windows"), ["Store.older", "win.ini"]);
    volume
        .rename("Windows/Store.older/Download.old", "Download", 0)
        .unwrap();
    volume
        .rename("Windows/Store.older", "SoftwareDistribution", 0)
        .unwrap();
    assert!(volume.changes().unwrap().is_empty());
    assert_eq!(
        names(&volume, "Windows"),
        ["SoftwareDistribution", "win.ini"]
    );
}

#[test]
fn names_that_are_taken_or_no_names_are_refused() {
    let folder = folder();
    let root = folder.path();
    fs::write(root.join("Windows/Überholt"), b"").unwrap();
    let volume = open(root);
    let store = "Windows/SoftwareDistribution";
    for (name, says) in [
        ("win.ini", "there is win.ini"),
        ("WIN.INI", "there is win.ini"),
        ("üBERHOLT", "there is Überholt"),
        ("softwaredistribution", "there is SoftwareDistribution"),
        ("a/b", "takes no file or folder named"),
        ("..", "takes no file or folder named"),
        ("", "takes no file or folder named"),
        ("x:y", "takes no file or folder named"),
        ("x.", "takes no file or folder named"),
        ("com1", "takes no file or folder named"),
    ] {
        let error = volume.rename(store, name, 0).unwrap_err();
        assert_refused(&error, Kind::Refused, says);
    }
    let error = volume.rename("", "x", 0).unwrap_err();
    assert_refused(&error, Kind::Refused, "the root of a volume");
    let error = volume.rename("Windows/none", "x", 0).unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    assert!(volume.rename("Windows/../Windows", "x", 0).is_err());

    // What is renamed away is still on the host, and what is renamed to is promised.
    volume.rename("Windows/win.ini", "old.ini", 0).unwrap();
    let error = volume.rename(store, "win.ini", 0).unwrap_err();
    assert_refused(&error, Kind::Refused, "there is win.ini");
    let error = volume.rename(store, "OLD.ini", 0).unwrap_err();
    assert_refused(&error, Kind::Refused, "there is old.ini");
    // The old name is nobody's now.
    assert!(volume.rename("Windows/win.ini", "x", 0).is_err());
    assert_eq!(volume.changes().unwrap().operations.len(), 1);
}

#[test]
fn what_may_not_be_written_is_not_renamed() {
    let _turn = alone();
    let folder = folder();
    let root = folder.path();
    fs::write(
        root.join("hiberfil.sys"),
        [b"hibr".to_vec(), vec![0; 8192]].concat(),
    )
    .unwrap();
    let error = open(root).rename("Windows", "x", 0).unwrap_err();
    assert_refused(&error, Kind::Refused, "hibernated");
    fs::remove_file(root.join("hiberfil.sys")).unwrap();

    let store = root.join("Windows/SoftwareDistribution");
    let Some(below) = Mount::with(&["-t", "tmpfs", "tmpfs"], &store) else {
        return;
    };
    fs::write(store.join("file"), b"x").unwrap();
    let volume = open(root);
    let error = volume
        .rename("Windows/SoftwareDistribution", "x", 0)
        .unwrap_err();
    assert_refused(&error, Kind::Refused, "another file system is mounted");
    support::run(
        support::program("mount")
            .args(["-o", "remount,ro"])
            .arg(&store),
    );
    let error = volume
        .rename("Windows/SoftwareDistribution/file", "x", 0)
        .unwrap_err();
    assert_refused(&error, Kind::Refused, "mounted read-only");
    assert!(volume.changes().unwrap().is_empty());
    drop(below);
}

/// Renames two folders, one in the other, and changes and lengthens a file below both.
fn rename_and_replace(volume: &MountedFolder) {
    let file = "Windows/SoftwareDistribution/Download/part/file";
    volume.replace(file, &[8; 4000]).unwrap();
    volume
        .rename(
            "Windows/SoftwareDistribution",
            "SoftwareDistribution.old",
            0,
        )
        .unwrap();
    volume
        .rename(
            "Windows/SoftwareDistribution.old/Download",
            "Download.old",
            0,
        )
        .unwrap();
    let file = "Windows/SoftwareDistribution.old/Download.old/part/file";
    assert_eq!(volume.read(file, LIMIT).unwrap(), [8; 4000]);
    let mut changed = vec![8; 4000];
    changed[0] = 9;
    volume.replace(file, &changed).unwrap();
}

/// That it was done; or else, that nothing was.
fn check(root: &Path, done: bool) {
    let store = root.join("Windows/SoftwareDistribution");
    let renamed = root.join("Windows/SoftwareDistribution.old");
    if done {
        assert!(!store.exists());
        assert_eq!(
            fs::read(renamed.join("ReportingEvents.log")).unwrap(),
            b"events"
        );
        let content = fs::read(renamed.join("Download.old/part/file")).unwrap();
        assert_eq!((content.len(), content[0], content[3999]), (4000, 9, 8));
        assert!(!renamed.join("Download").exists());
    } else {
        assert!(!renamed.exists());
        assert_eq!(
            fs::read(store.join("Download/part/file")).unwrap(),
            [7; 3000]
        );
        assert!(!store.join("Download.old").exists());
    }
}

#[test]
fn folders_in_folders_are_renamed_with_a_changed_file_and_undone() {
    let _turn = alone();
    let folder = folder();
    let root = folder.path();
    let before = support::sha256_tree(root);
    let journals = support::temporary();
    let volume = open(root);
    rename_and_replace(&volume);
    let id = commit_all(&volume, root, journals.path());
    check(root, true);
    // An undo is an operation: undone, it does the first one again.
    undo_one(root, journals.path(), &id);
    check(root, false);
    assert_eq!(support::sha256_tree(root), before);
    let listing = journal_dir(journals.path()).list().unwrap();
    let undo = &listing.operations[1];
    assert_eq!((undo.operations, undo.status.clone()), (2, Status::Done));
    undo_one(root, journals.path(), &undo.header.id.clone());
    check(root, true);
}

/// The way of a command: through the opened target, which is opened anew to verify what is to be done.
#[test]
fn a_target_that_is_opened_anew_has_what_is_to_be_done() {
    let _turn = alone();
    let folder = folder();
    let journals = support::temporary();
    let target = Target::open(folder.path(), Access::Write).unwrap();
    let volume = |target: &Target| match &target.volumes[0].volume {
        Some(Ok(volume)) => std::sync::Arc::clone(volume),
        other => panic!("{other:?}"),
    };
    assert!(target.changes().unwrap().is_empty());
    volume(&target)
        .rename("Windows/SoftwareDistribution", "Store", 0)
        .unwrap();
    let again = target.reopen().unwrap();
    let entry = volume(&again).entry("windows/store").unwrap().unwrap();
    assert_eq!(entry.name, "Store");
    let changes = again.changes().unwrap();
    assert_eq!((changes.patches.len(), changes.operations.len()), (0, 1));
    let dir = journal_dir(journals.path()).lock().unwrap();
    let header = header(folder.path(), &dir);
    let done = commit(&dir, header, &changes, target.sink().as_mut(), &mut |_| {}).unwrap();
    assert_eq!((done.ranges, done.bytes, done.operations), (0, 0, 1));
    assert!(folder.path().join("Windows/Store/Download").is_dir());
}

#[test]
fn what_was_cut_off_is_taken_back_from_every_state() {
    let _turn = alone();
    let windows = |root: &Path| root.join("Windows");
    type Cut = fn(&Path);
    let cuts: [(&str, Cut); 4] = [
        ("outer one missing", |windows| {
            fs::rename(
                windows.join("SoftwareDistribution.old"),
                windows.join("SoftwareDistribution"),
            )
            .unwrap();
        }),
        ("inner one missing", |windows| {
            let store = windows.join("SoftwareDistribution.old");
            fs::rename(store.join("Download.old"), store.join("Download")).unwrap();
        }),
        ("a byte missing", |windows| {
            let file = windows.join("SoftwareDistribution.old/Download.old/part/file");
            let mut content = fs::read(&file).unwrap();
            content[100] = 7;
            fs::write(&file, content).unwrap();
        }),
        ("both names missing", |windows| {
            let store = windows.join("SoftwareDistribution.old");
            fs::rename(store.join("Download.old"), store.join("Download")).unwrap();
            fs::rename(store, windows.join("SoftwareDistribution")).unwrap();
        }),
    ];
    for (name, cut) in cuts {
        let folder = folder();
        let root = folder.path();
        let journals = support::temporary();
        let volume = open(root);
        rename_and_replace(&volume);
        let id = commit_all(&volume, root, journals.path());
        interrupt(journals.path(), &id);
        cut(&windows(root));
        let outcomes = try_recover(root, journals.path()).unwrap();
        assert_eq!(outcomes, [Outcome::TakenBack], "{name}");
        check(root, false);
    }
    // Nothing missing but the marker.
    let folder = folder();
    let root = folder.path();
    let journals = support::temporary();
    let volume = open(root);
    rename_and_replace(&volume);
    let id = commit_all(&volume, root, journals.path());
    interrupt(journals.path(), &id);
    let outcomes = try_recover(root, journals.path()).unwrap();
    assert_eq!(outcomes, [Outcome::Completed]);
    check(root, true);
}

#[test]
fn what_no_crash_explains_is_refused() {
    let _turn = alone();
    let folder = folder();
    let root = folder.path();
    let journals = support::temporary();
    let volume = open(root);
    volume
        .rename("Windows/SoftwareDistribution", "Store.old", 0)
        .unwrap();

    // Somebody takes the new name between the reading and the commit.
    let changes = volume.changes().unwrap();
    fs::create_dir(root.join("Windows/Store.old")).unwrap();
    let error = try_commit(&changes, root, journals.path()).unwrap_err();
    assert_refused(&error, Kind::Refused, "both exist");
    assert!(root.join("Windows/SoftwareDistribution/Download").is_dir());
    fs::remove_dir(root.join("Windows/Store.old")).unwrap();

    let id = try_commit(&changes, root, journals.path()).unwrap();
    // Windows has made the folder anew: undo would put one over the other.
    fs::create_dir(root.join("Windows/SoftwareDistribution")).unwrap();
    let before = support::sha256_tree(root);
    let error = try_undo(root, journals.path(), &id).unwrap_err();
    assert_refused(&error, Kind::Refused, "both exist");
    assert_eq!(support::sha256_tree(root), before);
    interrupt(journals.path(), &id);
    let error = try_recover(root, journals.path()).unwrap_err();
    assert_refused(&error, Kind::Refused, "both exist");
    // Both gone.
    fs::remove_dir(root.join("Windows/SoftwareDistribution")).unwrap();
    fs::rename(root.join("Windows/Store.old"), root.join("elsewhere")).unwrap();
    let error = try_recover(root, journals.path()).unwrap_err();
    assert_refused(&error, Kind::Refused, "neither");
    fs::rename(root.join("elsewhere"), root.join("Windows/Store.old")).unwrap();
    let outcomes = try_recover(root, journals.path()).unwrap();
    assert_eq!(outcomes, [Outcome::Completed]);
    undo_one(root, journals.path(), &id);
    assert!(root.join("Windows/SoftwareDistribution/Download").is_dir());
}

#[test]
fn a_later_operation_on_the_same_names_is_undone_first() {
    let _turn = alone();
    let folder = folder();
    let root = folder.path();
    let journals = support::temporary();
    let commit = |edit: &dyn Fn(&MountedFolder)| {
        let volume = open(root);
        edit(&volume);
        commit_all(&volume, root, journals.path())
    };
    let log = "Windows/SoftwareDistribution/ReportingEvents.log";
    let first = commit(&|volume| volume.replace(log, b"EVENTS").unwrap());
    let beside = commit(&|volume| volume.replace("Windows/win.ini", b"[INI]").unwrap());
    let second = commit(&|volume| {
        volume
            .rename("Windows/SoftwareDistribution", "Store", 0)
            .unwrap();
    });
    let third = commit(&|volume| {
        volume
            .replace("Windows/Store/Download/part/file", b"short")
            .unwrap();
    });
    let refused = |id: &str, first: &str| {
        let error = try_undo(root, journals.path(), id).unwrap_err();
        assert_refused(&error, Kind::Refused, "changed the same names");
        assert_eq!(error.hint().unwrap(), format!("undo {first} first"));
    };
    // The folder of the file has another name now; and a file in the renamed folder has changed since.
    refused(&first, &second);
    refused(&second, &third);
    undo_one(root, journals.path(), &beside);
    undo_one(root, journals.path(), &third);
    undo_one(root, journals.path(), &second);
    undo_one(root, journals.path(), &first);
    let fresh = support::temporary();
    make(fresh.path());
    let relative = |root: &Path| -> Vec<(PathBuf, String)> {
        let files = support::sha256_tree(root).into_iter();
        files
            .map(|(path, sum)| (path.strip_prefix(root).unwrap().to_owned(), sum))
            .collect()
    };
    assert_eq!(relative(root), relative(fresh.path()));
}

/// A journal may come from somebody else, and so may what lies in the folder.
#[test]
fn nothing_outside_the_folder_is_renamed() {
    let _turn = alone();
    let outer = support::temporary();
    let root = outer.path().join("mnt");
    make(&root);
    fs::create_dir(outer.path().join("outside")).unwrap();
    fs::write(outer.path().join("outside/file"), b"outside").unwrap();
    symlink(outer.path().join("outside"), root.join("Windows/out")).unwrap();
    symlink("SoftwareDistribution", root.join("Windows/in")).unwrap();
    let before = support::sha256_tree(outer.path());
    let absolute = outer.path().join("outside/file");
    let hostile = [
        "../outside/file",
        "Windows/../../outside/file",
        "Windows/out/file",
        "Windows/in/ReportingEvents.log",
        absolute.to_str().unwrap(),
    ];
    for path in hostile {
        let journals = support::temporary();
        let changes = operations(vec![rename(path, "moved")]);
        let error = try_commit(&changes, &root, journals.path()).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{path}: {error}");
        // A forged journal of an operation that was never finished, and of one that was.
        let id = forge(&root, journals.path(), &changes);
        let error = try_recover(&root, journals.path()).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{path}: {error}");
        finish(journals.path(), &id);
        let error = try_undo(&root, journals.path(), &id).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{path}: {error}");
        assert_eq!(support::sha256_tree(outer.path()), before, "{path}");
    }
    // A link itself may be renamed; what it points to is not touched.
    let journals = support::temporary();
    let changes = operations(vec![rename("Windows/out", "away")]);
    let id = try_commit(&changes, &root, journals.path()).unwrap();
    assert!(fs::read_link(root.join("Windows/away")).is_ok());
    undo_one(&root, journals.path(), &id);
    assert_eq!(support::sha256_tree(outer.path()), before);
}

// --- ntfs-3g

/// An NTFS image with the folder of [`make`], and where to mount it. None, and counted, without ntfs-3g.
fn ntfs(place: &Path) -> Option<(PathBuf, PathBuf)> {
    let image = ntfs_image(place)?;
    let at = place.join("mnt");
    let mounted = mount(&image, &at)?;
    make(&at);
    drop(mounted);
    Some((image, at))
}

/// The names in a folder of the volume, as ntfs-3g's ntfsls and sleuthkit's fls find them.
fn foreign_names(image: &Path, path: &str) -> Vec<String> {
    let lines = |output: Vec<u8>| -> Vec<String> {
        let text = String::from_utf8(output).unwrap();
        text.lines().map(str::to_owned).collect()
    };
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names.retain(|name| name != "." && name != ".."); // which only ntfsls shows
        names
    };
    let listed = support::run(
        support::program("ntfsls")
            .args(["-p", &format!("/{path}")])
            .arg(image),
    );
    let by_ntfsls = sorted(lines(listed.stdout));
    let number = support::run(
        support::program("ifind")
            .args(["-f", "ntfs", "-n", &format!("/{path}")])
            .arg(image),
    );
    let number = String::from_utf8(number.stdout).unwrap();
    let listed = support::run(
        support::program("fls")
            .args(["-f", "ntfs", "-u"])
            .arg(image)
            .arg(number.trim()),
    );
    let name = |line: &String| line.split('\t').nth(1).unwrap().to_owned();
    let by_fls = sorted(lines(listed.stdout).iter().map(name).collect());
    assert_eq!(by_ntfsls, by_fls);
    by_fls
}

/// ntfsfix finds nothing to do, and ntfsresize's check of the whole volume passes.
fn check_volume(image: &Path) {
    support::run(support::program("ntfsfix").arg("-n").arg(image));
    support::run(support::program("ntfsresize").args(["-i", "-f"]).arg(image));
}

fn require_tools() -> bool {
    let tools = [
        "ntfsls",
        "ifind",
        "fls",
        "ntfsfix",
        "ntfsresize",
        "ntfscat",
        "setfattr",
    ];
    tools.into_iter().all(support::require)
}

#[test]
fn on_ntfs_folders_are_renamed_and_undone() {
    let _turn = alone();
    let place = support::temporary();
    if !require_tools() {
        return;
    }
    let Some((image, at)) = ntfs(place.path()) else {
        return;
    };
    let journals = support::temporary();
    let mounted = mount(&image, &at).unwrap();
    let volume = open(&at);
    rename_and_replace(&volume);
    let id = commit_all(&volume, &at, journals.path());
    check(&at, true);
    drop(mounted);
    check_volume(&image);
    assert_eq!(
        foreign_names(&image, "Windows"),
        ["SoftwareDistribution.old", "win.ini"]
    );
    assert_eq!(
        foreign_names(&image, "Windows/SoftwareDistribution.old"),
        ["Download.old", "ReportingEvents.log"]
    );
    let file = "Windows/SoftwareDistribution.old/Download.old/part/file";
    let content = support::foreign::ntfscat(&image, file);
    assert_eq!((content.len(), content[0], content[3999]), (4000, 9, 8));

    let mounted = mount(&image, &at).unwrap();
    undo_one(&at, journals.path(), &id);
    check(&at, false);
    drop(mounted);
    check_volume(&image);
    assert_eq!(
        foreign_names(&image, "Windows"),
        ["SoftwareDistribution", "win.ini"]
    );
    assert_eq!(
        support::foreign::ntfscat(&image, "Windows/SoftwareDistribution/Download/part/file"),
        [7; 3000]
    );
}

/// ntfs-3g renames by adding a name and then removing one: between the two a file, and even a folder, has both.
#[test]
fn on_ntfs_a_rename_that_left_both_names_is_taken_back() {
    // Adds a second name to a file or folder, by ntfs-3g's library, which lets us do that to a folder too.
    const LINK: &str = "
import ctypes, ctypes.util, sys
lib = ctypes.CDLL(ctypes.util.find_library('ntfs-3g') or 'libntfs-3g.so.89', use_errno=True)
for name in ('ntfs_mount', 'ntfs_pathname_to_inode'):
    getattr(lib, name).restype = ctypes.c_void_p
image, folder, old, new = sys.argv[1:]
volume = ctypes.c_void_p(lib.ntfs_mount(image.encode(), 0))
find = lambda path: ctypes.c_void_p(lib.ntfs_pathname_to_inode(volume, None, path.encode()))
file, place = find(folder + '/' + old), find(folder)
wide = new.encode('utf-16-le')
assert file.value and place.value
assert lib.ntfs_link(file, place, wide, ctypes.c_ubyte(len(new))) == 0, ctypes.get_errno()
assert lib.ntfs_inode_close(file) == 0 and lib.ntfs_inode_close(place) == 0
assert lib.ntfs_umount(volume, 0) == 0
";
    let _turn = alone();
    let place = support::temporary();
    if !require_tools() {
        return;
    }
    let Some((image, at)) = ntfs(place.path()) else {
        return;
    };
    for (path, name) in [
        ("Windows/win.ini", "old.ini"),
        ("Windows/SoftwareDistribution", "Store"),
        ("Windows/SoftwareDistribution/Download/part/file", "old"),
    ] {
        let journals = support::temporary();
        let mounted = mount(&image, &at).unwrap();
        let volume = open(&at);
        volume.rename(path, name, 0).unwrap();
        let id = commit_all(&volume, &at, journals.path());
        drop(mounted);
        let (folder, old) = path.rsplit_once('/').unwrap();
        support::run(
            support::program("python3")
                .args(["-c", LINK])
                .arg(&image)
                .args([&format!("/{folder}"), name, old]),
        );
        let both = foreign_names(&image, folder);
        assert!(both.contains(&old.to_owned()) && both.contains(&name.to_owned()));

        interrupt(journals.path(), &id);
        let mounted = mount(&image, &at).unwrap();
        let outcomes = try_recover(&at, journals.path()).unwrap();
        assert_eq!(outcomes, [Outcome::TakenBack], "{path}");
        check(&at, false);
        assert_eq!(fs::read(at.join("Windows/win.ini")).unwrap(), b"[ini]");
        drop(mounted);
        check_volume(&image);
        let names = foreign_names(&image, folder);
        assert!(names.contains(&old.to_owned()) && !names.contains(&name.to_owned()));
    }
}

#[test]
fn on_ntfs_short_names_are_no_way_round_and_their_loss_is_told() {
    let _turn = alone();
    let place = support::temporary();
    if !require_tools() {
        return;
    }
    let Some((image, at)) = ntfs(place.path()) else {
        return;
    };
    let mounted = mount(&image, &at).unwrap();
    let store = at.join("Windows/SoftwareDistribution");
    setfattr(&store, "system.ntfs_dos_name", b"SOFTWA~1");
    // What the driver does, which this test stands on: found, and not listed.
    assert!(at.join("Windows/SOFTWA~1").exists());
    let volume = open(&at);
    assert_eq!(
        names(&volume, "Windows"),
        ["SoftwareDistribution", "win.ini"]
    );
    let error = volume.rename("Windows/SOFTWA~1", "x", 0).unwrap_err();
    assert_refused(&error, Kind::Refused, "short (8.3) name");
    let error = volume
        .rename("Windows/SOFTWA~1/Download", "x", 0)
        .unwrap_err();
    assert_refused(&error, Kind::Refused, "short (8.3) name");
    let error = volume.rename("Windows/win.ini", "SOFTWA~1", 0).unwrap_err();
    assert_refused(&error, Kind::Refused, "short (8.3) name");
    assert!(volume.notes().is_empty());
    volume
        .rename("Windows/SoftwareDistribution", "Store", 0)
        .unwrap();
    let notes = volume.notes();
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("short (8.3) name SOFTWA~1"), "{notes:?}");
    // Renamed back before anything was done, it is not lost.
    volume
        .rename("Windows/Store", "SoftwareDistribution", 0)
        .unwrap();
    assert!(volume.notes().is_empty() && volume.changes().unwrap().is_empty());
    drop(mounted);
}

/// It shows every name in small letters, so that the old one is not known.
#[test]
fn a_host_that_hides_the_spelling_does_not_rename() {
    let _turn = alone();
    let place = support::temporary();
    let Some((image, at)) = ntfs(place.path()) else {
        return;
    };
    let Some(mounted) = Mount::ntfs("lowntfs-3g", "rw,ignore_case", &image, &at) else {
        return;
    };
    let volume = open(&at);
    // What the driver does, which this test stands on.
    assert_eq!(
        names(&volume, "Windows"),
        ["softwaredistribution", "win.ini"]
    );
    let error = volume
        .rename("Windows/SoftwareDistribution", "Store", 0)
        .unwrap_err();
    assert_refused(&error, Kind::Refused, "spelt otherwise");
    assert!(error.hint().unwrap().contains("ignore_case"));
    assert!(volume.changes().unwrap().is_empty());
    drop(volume);
    drop(mounted);
}
